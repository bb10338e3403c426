//! A world of its own for every drive: what its build can reach, see and write.
//!
//! Everything is off by default that could leave the drive, as far as the system grants it without root. What it does not grant is
//! *not enforced*, and said so with the reason; nothing is missing in silence. The layers:
//!
//! - *network*: a user and a network namespace. Its loopback is up, so fixed ports collide with nothing; Rehearsal's own listeners are
//!   made in it. `allow` and `hosts` lead out of it, or to what Rehearsal serves; nothing else has a route.
//! - *names*: `hosts`, `resolv.conf` and `nsswitch.conf` of its own, and an answer to questions of DNS: production's names as `hosts` says,
//!   others do not exist.
//! - *sockets*: the machine's Unix sockets that are there when the drive starts are replaced by ones at which nobody serves.
//! - *temporary*: `/tmp` and `/var/tmp` lie in the drive's folder, `/dev/shm` is its own, and so are the means of System V.
//! - *processes*: it sees its own alone, and they end with it.
//! - *writes*: Landlock refuses all that changes files elsewhere than in the drive's folder.
//! - *attempts*: what leads nowhere leads to a device that notes and refuses it. Where there is none, the calls are looked at with which
//!   builds ask for it, as well as that goes.
//!
//! What this cannot know: a build that a container engine starts elsewhere, clients that connect from elsewhere, and Unix sockets that
//! are made later in folders that it sees.

mod settings;

#[cfg(target_os = "linux")]
mod asking;
#[cfg(target_os = "linux")]
mod attempts;
#[cfg(target_os = "linux")]
mod calls;
#[cfg(target_os = "linux")]
mod device;
#[cfg(target_os = "linux")]
mod joined;
#[cfg(target_os = "linux")]
mod launcher;
#[cfg(target_os = "linux")]
mod machine;
#[cfg(target_os = "linux")]
mod names;
#[cfg(target_os = "linux")]
mod namespaces;
#[cfg(target_os = "linux")]
mod network;
#[cfg(not(target_os = "linux"))]
mod nowhere;
#[cfg(target_os = "linux")]
mod outside;
#[cfg(target_os = "linux")]
mod relay;
#[cfg(target_os = "linux")]
mod words;
#[cfg(target_os = "linux")]
mod world;

pub use settings::{IsolationMode, IsolationRules, Place};

#[cfg(target_os = "linux")]
pub(super) use launcher::launcher_program;
#[cfg(target_os = "linux")]
pub use launcher::{launch_by, launch_if_asked};
#[cfg(not(target_os = "linux"))]
pub(super) use nowhere::launcher_program;
#[cfg(not(target_os = "linux"))]
pub use nowhere::{launch_by, launch_if_asked};

#[cfg(not(target_os = "linux"))]
pub(super) use nowhere::Isolation;
#[cfg(target_os = "linux")]
pub(super) use world::Isolation;

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use crate::outcome::{self, Ending, EndingReport, Layer};

/// Bytes at the end of standard error in which a refusal is looked for.
const TAIL_BYTES: u64 = 16 << 10;

/// How programs say that they may not write.
const REFUSALS: [&str; 7] = [
    "Permission denied",
    "EACCES",
    "AccessDenied",
    "permission denied",
    "Read-only file system",
    "EROFS",
    "read-only file system",
];

/// Programs that have somebody else start the build.
const ENGINES: [&str; 8] =
    ["docker", "podman", "nerdctl", "finch", "kubectl", "docker-compose", "podman-compose", "systemd-run"];

/// Why a drive has no world of its own.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IsolationError {
    /// `isolation = "required"`, and a layer is missing.
    #[error("the drive {drive} would not be isolated (`isolation = \"required\"`): {}", listed(missing))]
    Missing {
        /// Name of the drive.
        drive: String,
        /// Layers that are missing, with the reasons.
        missing: Vec<outcome::LayerState>,
    },
    /// Production's names would lead to production.
    #[error("`hosts` cannot be kept to: without the layer `{layer}` production's names lead to production ({reason})")]
    Hosts {
        /// Layer that is missing.
        layer: &'static str,
        /// Why.
        reason: String,
    },
    /// An address of `hosts` or `allow` cannot be listened at in the drive's network.
    #[error("cannot stand for {place} in the network of the drive")]
    Place {
        /// Host and port.
        place: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// The drive's own files cannot be made.
    #[error("could not make {path} for the drive")]
    Files {
        /// Which.
        path: std::path::PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
}

fn listed(missing: &[outcome::LayerState]) -> String {
    let one = |state: &outcome::LayerState| format!("{} ({})", state.layer.name(), state.reason);
    missing.iter().map(one).collect::<Vec<_>>().join("; ")
}

/// Why a build that `program` starts has no world at all, if that is so.
fn elsewhere(program: &str) -> Option<String> {
    let name = Path::new(program).file_name()?.to_str()?;
    ENGINES.contains(&name).then(|| format!("`{name}` has somebody else start the build"))
}

/// Puts into the report of a drive how far it was kept to itself, and where its build failed and speaks of what it may not do in `log`, its
/// standard error, that this may be why.
pub(super) fn report_in(report: &mut EndingReport, isolation: Option<&Arc<Isolation>>, log: &Path) {
    report.isolation = isolation.map(|isolation| isolation.report());
    let refuses = isolation.is_some_and(|isolation| isolation.enforces(Layer::Writes));
    if refuses && report.ending != Ending::Finished && speaks_of_refusal(log) {
        report.reason += "; its standard error speaks of what it may not do: writes outside of `{dir}` are refused unless `drive.writable` \
                          names where";
    }
}

fn speaks_of_refusal(log: &Path) -> bool {
    let tail = || {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut tail = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut tail)?;
        Ok::<_, std::io::Error>(String::from_utf8_lossy(&tail).into_owned())
    };
    tail().is_ok_and(|tail| REFUSALS.iter().any(|refusal| tail.contains(refusal)))
}
