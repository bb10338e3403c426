//! Landlock: where a build may write, and, where it has no network of its own, which ports it may connect to.

use std::io;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, NetPort, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, RulesetStatus,
};

/// What is refused: everything that changes files, but not what programs ask devices for, which is no write.
const CHANGES: ABI = ABI::V3;

/// The first version that knows of ports.
const PORTS: ABI = ABI::V4;

/// Refuses this process, and all that it starts from now on, to write elsewhere than below `writes` and to connect to other ports than
/// `ports`.
pub(super) fn refuse(writes: Option<&[PathBuf]>, ports: Option<&[u16]>) -> io::Result<()> {
    if writes.is_none() && ports.is_none() {
        return Ok(());
    }
    let status = restrict(writes, ports).map_err(io::Error::other)?;
    if status == RulesetStatus::NotEnforced { Err(io::ErrorKind::Unsupported.into()) } else { Ok(()) }
}

fn restrict(writes: Option<&[PathBuf]>, ports: Option<&[u16]>) -> Result<RulesetStatus, RulesetError> {
    let mut rules = Ruleset::default();
    if writes.is_some() {
        rules = rules.handle_access(AccessFs::from_write(CHANGES))?;
    }
    if ports.is_some() {
        rules = rules.handle_access(AccessNet::ConnectTcp)?;
    }
    let mut rules = rules.create()?;
    for path in writes.unwrap_or_default() {
        // What is not there cannot be written below.
        let Ok(file) = PathFd::new(path) else { continue };
        rules = rules.add_rule(PathBeneath::new(file, changes(path)))?;
    }
    for port in ports.unwrap_or_default() {
        rules = rules.add_rule(NetPort::new(*port, AccessNet::ConnectTcp))?;
    }
    Ok(rules.restrict_self()?.ruleset)
}

/// Of a file, only what can be done with one: folders can be changed otherwise, too.
fn changes(path: &Path) -> landlock::BitFlags<AccessFs> {
    let all = AccessFs::from_write(CHANGES);
    if path.is_dir() { all } else { all & AccessFs::from_file(CHANGES) }
}

/// Whether this kernel refuses writes: what it leaves open where it does, or why it does not.
pub(in super::super) fn can_refuse_writes() -> Result<&'static str, &'static str> {
    let made = |abi| {
        let hard = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
        hard.handle_access(AccessFs::from_write(abi)).and_then(Ruleset::create).is_ok()
    };
    if made(CHANGES) {
        Ok("")
    } else if made(ABI::V1) {
        Ok("this kernel, older than 6.2, does not refuse to cut files off")
    } else {
        Err("the kernel has no Landlock")
    }
}

/// Whether this kernel refuses connections by port.
pub(in super::super) fn can_refuse_ports() -> bool {
    let hard = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    hard.handle_access(AccessNet::from_all(PORTS)).and_then(Ruleset::create).is_ok()
}
