//! Makes the namespaces of a drive.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use rustix::fs::CWD;
use rustix::mount::{
    MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, mount, mount_bind, mount_change, move_mount,
    open_tree,
};
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use rustix::thread::{CapabilitySet, capabilities, configure_capability_in_ambient_set, set_capabilities};

use super::super::calls;
use super::super::device;
use super::super::words::{Ask, Setup, Told, receive, send};
use super::{Part, SELF, WORD};
use crate::outcome::Layer;

/// Why what rests on a network is not there without.
const NO_NETWORK: &str = "the drive has no network of its own";

/// Makes the world, starts its first process, and waits for its end.
pub(super) fn play(control: &UnixStream) -> io::Result<()> {
    let (setup, _) = receive::<Setup>(control)?;
    if let Err(error) = unshare(CloneFlags::CLONE_NEWUSER) {
        let why = match error {
            Errno::ENOSPC => "there are as many as `user.max_user_namespaces` permits".to_owned(),
            other => io::Error::from(other).to_string(),
        };
        let reason = format!("the system grants no user namespace ({why})");
        return send(control, &Told::Refused(reason), &[]);
    }
    send(control, &Told::Unshared, &[])?;
    let (Ask::Mapped, _) = receive::<Ask>(control)? else { return Err(io::ErrorKind::InvalidData.into()) };
    let mut making = Making { setup, missing: BTreeMap::new(), remarks: BTreeMap::new(), sockets: Vec::new() };
    let network = making.network();
    let listeners = making.mounts();
    making.make(Layer::Processes, |_| Ok(unshare(CloneFlags::CLONE_NEWPID)?));
    // What is mounted is mounted by the first process of its own: `/proc` shows the processes of who mounts it.
    keep_capabilities()?;
    let (first, first_control) = UnixStream::pair()?;
    let mut keeper = Command::new(SELF)
        .args([WORD, Part::Keeper.name()])
        .stdin(OwnedFd::from(first_control))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let handle = pidfd_open(Pid::from_child(&keeper), PidfdFlags::empty())?;
    let processes = !making.missing.contains_key(&Layer::Processes) && making.wants(Layer::Processes);
    send(&first, &processes, &[control.as_fd()])?;
    let (remark, _) = receive::<Option<String>>(&first)?;
    if let Some(remark) = remark {
        making.remarks.insert(Layer::Processes, remark);
    }
    making.tell(control, &handle, &network, &listeners)?;
    // From here on the keeper speaks.
    send(&first, &true, &[])?;
    drop((network, listeners, handle, first));
    keeper.wait().map(drop)
}

/// The network's netlink socket, and its device that sees attempts.
type Network = (Option<OwnedFd>, Option<OwnedFd>);

struct Making {
    setup: Setup,
    missing: BTreeMap<Layer, String>,
    remarks: BTreeMap<Layer, String>,
    sockets: Vec<usize>,
}

impl Making {
    fn wants(&self, layer: Layer) -> bool {
        self.setup.layers.contains(&layer)
    }

    /// Makes a layer where it is wanted, and notes why it is not there; none where it is not.
    fn make<T>(&mut self, layer: Layer, how: impl FnOnce(&mut Self) -> io::Result<T>) -> Option<T> {
        if !self.wants(layer) {
            return None;
        }
        match how(self) {
            Ok(made) => Some(made),
            Err(error) => {
                self.missing.insert(layer, error.to_string());
                None
            }
        }
    }

    fn network(&mut self) -> Network {
        let netlink = self.make(Layer::Network, |_| {
            unshare(CloneFlags::CLONE_NEWNET)?;
            // Of routes, which is what its protocol is where none is named.
            let flags = SocketFlags::CLOEXEC;
            let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
            bind(&socket, &SocketAddrNetlink::new(0, 0))?;
            Ok(socket)
        });
        let none = || io::Error::other(NO_NETWORK);
        let there = netlink.is_some();
        let device = self.make(Layer::Attempts, |_| if there { device::open() } else { Err(none()) });
        (netlink, device)
    }

    /// Makes what is seen of the file system the drive's own; returns who listens in place of the machine's sockets.
    fn mounts(&mut self) -> Vec<UnixListener> {
        let layers = [Layer::Names, Layer::Sockets, Layer::Temporary, Layer::Processes];
        let begun = unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWIPC)
            .map_err(io::Error::from)
            .and_then(|()| Ok(mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?));
        if let Err(error) = begun {
            for layer in layers {
                self.make(layer, |_| {
                    Err::<(), _>(io::Error::new(error.kind(), format!("no mounts of its own: {error}")))
                });
            }
            return Vec::new();
        }
        // Ahead of what may cover the folder that they lie in.
        let apart = self.wants(Layer::Network) && !self.missing.contains_key(&Layer::Network);
        // Without, its names would lead to addresses at which nobody listens.
        self.make(Layer::Names, |making| if apart { making.names() } else { Err(io::Error::other(NO_NETWORK)) });
        let listeners = self.make(Layer::Sockets, Self::hide_sockets);
        self.make(Layer::Temporary, Self::temporary);
        listeners.unwrap_or_default()
    }

    fn names(&mut self) -> io::Result<()> {
        for name in ["hosts", "resolv.conf", "nsswitch.conf"] {
            let own = self.setup.own.join(name);
            // A link may lead elsewhere: what it leads to is what is read.
            match fs::canonicalize(Path::new("/etc").join(name)) {
                Ok(machine) if own.exists() => mount_bind(&own, &machine)?,
                Err(error) if own.exists() => {
                    return Err(io::Error::new(error.kind(), format!("/etc/{name}: {error}")));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn hide_sockets(&mut self) -> io::Result<Vec<UnixListener>> {
        let folder = self.setup.own.join("sockets");
        let mut listeners = Vec::new();
        // From inside of the folder: the whole path may be longer than an address can be.
        let before = std::env::current_dir();
        std::env::set_current_dir(&folder)?;
        for (index, path) in self.setup.sockets.iter().enumerate() {
            let own = index.to_string();
            let listener = UnixListener::bind(&own)?;
            match mount_bind(&own, path) {
                Ok(()) => {
                    self.sockets.push(index);
                    listeners.push(listener);
                }
                // It has gone meanwhile, or lies where this user cannot look.
                Err(rustix::io::Errno::NOENT | rustix::io::Errno::ACCESS) => {}
                Err(error) => {
                    return Err(io::Error::other(format!("{} cannot be hidden ({error})", path.display())));
                }
            }
        }
        if let Ok(before) = before {
            std::env::set_current_dir(before)?;
        }
        Ok(listeners)
    }

    fn temporary(&mut self) -> io::Result<()> {
        let clone = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::AT_RECURSIVE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let hold = |path: &Path| Ok::<_, io::Error>((path.to_owned(), open_tree(CWD, path, clone)?));
        let mut seen: Vec<_> = self.setup.seen.iter().map(|path| hold(path)).collect::<io::Result<_>>()?;
        if self.wants(Layer::Writes) {
            // Landlock goes by what lies above: below a temporary folder that may be written, all may.
            seen.iter().try_for_each(|(_, tree)| calls::make_read_only(tree))?;
            // Later, they lie on top.
            seen.extend(self.setup.kept.iter().map(|path| hold(path)).collect::<io::Result<Vec<_>>>()?);
        }
        let own: Vec<_> =
            self.setup.temporary.iter().map(|(at, own)| Ok((at, hold(own)?.1))).collect::<io::Result<_>>()?;
        for (at, tree) in own {
            move_mount(&tree, "", CWD, at, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
        }
        for (path, tree) in seen {
            if !path.exists() {
                fs::create_dir_all(&path)?;
            }
            move_mount(&tree, "", CWD, &path, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
        }
        if Path::new("/dev/shm").is_dir() {
            mount("tmpfs", "/dev/shm", "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, c"mode=1777")?;
        }
        Ok(())
    }

    fn tell(
        &mut self,
        control: &UnixStream,
        handle: &OwnedFd,
        network: &Network,
        listeners: &[UnixListener],
    ) -> io::Result<()> {
        let (netlink, device) = network;
        let told = Told::Stands {
            missing: std::mem::take(&mut self.missing),
            remarks: std::mem::take(&mut self.remarks),
            netlink: netlink.is_some(),
            device: device.is_some(),
            sockets: std::mem::take(&mut self.sockets),
        };
        let mut files: Vec<BorrowedFd<'_>> = vec![handle.as_fd()];
        files.extend(netlink.iter().chain(device).map(AsFd::as_fd));
        files.extend(listeners.iter().map(AsFd::as_fd));
        send(control, &told, &files)
    }
}

/// Lets the program that is started next keep what this one may in its namespaces: an ordinary user would lose it.
fn keep_capabilities() -> io::Result<()> {
    let mut sets = capabilities(None)?;
    sets.inheritable |= CapabilitySet::SYS_ADMIN;
    set_capabilities(None, sets)?;
    Ok(configure_capability_in_ambient_set(CapabilitySet::SYS_ADMIN, true)?)
}
