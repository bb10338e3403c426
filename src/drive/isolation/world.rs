//! The world of one drive, as the program that drives holds it.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::net::bind;

use super::asking::{Asking, Nowhere};
use super::attempts::Attempts;
use super::joined::Joined;
use super::launcher::{self, Part};
use super::machine::{self, folder_of, seen};
use super::names::{self, Names};
use super::namespaces::{ANSWER_TIMEOUT, Maker, Namespaces};
use super::network::{self, Network};
use super::outside::{Edges, Watcher};
use super::relay::{Behind, Relay};
use super::settings::{IsolationMode, IsolationRules, Place};
use super::words::{FILES_MAX, Setup, Start, Started, Told, receive, send};
use super::{IsolationError, elsewhere};
use crate::clock::SystemClock;
use crate::drive::build::Build;
use crate::drive::world::Launcher;
use crate::outcome::{Allowed, Isolation as Report, Layer, LayerState};

/// Ports of the machine that are tried until one is free in the world as well.
const PORTS_TRIED: u32 = 100;

/// Sockets of the machine that can be hidden: as many files as go with one word, and a few.
const SOCKETS_MAX: usize = FILES_MAX - 8;

/// Devices that may be written to.
const DEVICES: [&str; 4] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/tty"];

/// Folders of the machine in whose place the drive's own stand, and what these are called in the drive's folder.
const TEMPORARY: [(&str, &str); 2] = [("/tmp", "tmp"), ("/var/tmp", "var-tmp")];

/// The drive's own files, in its folder.
const OWN: &str = ".rehearsal";

/// The world of one drive. It ends, with all that lives in it, when dropped.
#[derive(Debug)]
pub(in crate::drive) struct Isolation {
    /// Of each layer: none where it is in force, or else why not.
    missing: BTreeMap<Layer, String>,
    remarks: BTreeMap<Layer, String>,
    attempts: Arc<Attempts>,
    names: Arc<Mutex<Names>>,
    own: PathBuf,
    /// Ports that are listened at for the build, or that it is let through to, and whether it may connect to no others.
    ports: Mutex<BTreeSet<u16>>,
    by_port: bool,
    /// What is served in the world, by its name as a target of `hosts`.
    offered: Mutex<BTreeMap<String, SocketAddr>>,
    /// Ports of the machine with the numbers of such that are listened at in the world: what runs beside the build is told these numbers, too.
    beside: Mutex<BTreeMap<u16, TcpListener>>,
    /// Ways from the machine into the world.
    openings: Mutex<Vec<Relay>>,
    /// Ports that are one on both sides.
    joined: Mutex<Vec<Joined>>,
    /// Temporary folders of the machine in whose place the drive's own stand.
    replaced: Vec<PathBuf>,
    /// Folders that are taken away again where nothing is in them.
    made: Vec<PathBuf>,
    rules: IsolationRules,
    writes: Vec<PathBuf>,
    relays: Mutex<Vec<(Place, bool, Relay)>>,
    watcher: Mutex<Option<Watcher>>,
    /// Whether there is no device to see attempts by although it was wanted, and what sees them instead, for each process.
    without_device: bool,
    asking: Mutex<Vec<Asking>>,
    /// Addresses that lead somewhere.
    led: Arc<Mutex<BTreeSet<IpAddr>>>,
    namespaces: Option<Arc<Namespaces>>,
}

impl Isolation {
    /// Makes a world for a drive named `drive` of `build`, whose own folder is `dir`.
    ///
    /// # Errors
    ///
    /// [`IsolationError`], where the drive must not take place without what cannot be had.
    pub(in crate::drive) fn start(
        rules: &IsolationRules,
        build: &Build,
        dir: &Path,
        drive: &str,
    ) -> Result<Self, IsolationError> {
        let dir = prepared(dir)?;
        let mut world = Self {
            missing: BTreeMap::new(),
            remarks: BTreeMap::new(),
            attempts: Arc::new(Attempts::new(SystemClock::start())),
            names: Arc::new(Mutex::new(Names::new(rules.hosts.keys().chain(&rules.allow)))),
            own: dir.join(OWN),
            ports: Mutex::default(),
            by_port: false,
            offered: Mutex::default(),
            beside: Mutex::default(),
            openings: Mutex::default(),
            joined: Mutex::default(),
            replaced: Vec::new(),
            made: Vec::new(),
            rules: rules.clone(),
            writes: rules.writable.clone(),
            relays: Mutex::default(),
            watcher: Mutex::default(),
            without_device: false,
            asking: Mutex::default(),
            led: Arc::new(Mutex::new(BTreeSet::from([network::OWN]))),
            namespaces: None,
        };
        let wanted = world.wanted(build);
        let made = wanted.iter().any(|layer| *layer != Layer::Writes);
        if made && let Err(error) = world.make(&wanted, build, &dir) {
            let reason = error.to_string();
            for layer in wanted.iter().filter(|layer| **layer != Layer::Writes) {
                world.missing.entry(*layer).or_insert_with(|| reason.clone());
            }
            world.namespaces = None;
        }
        world.choose_writes(&dir);
        world.choose_ports(wanted.contains(&Layer::Network));
        world.without_device = wanted.contains(&Layer::Attempts) && !world.enforces(Layer::Attempts);
        world.check(drive)?;
        world.allow()?;
        Ok(world)
    }

    /// Layers that are to be made; notes why the others are not.
    fn wanted(&mut self, build: &Build) -> Vec<Layer> {
        let program = build.command().first().map_or("", String::as_str);
        let none = if self.rules.mode == IsolationMode::Off {
            Some("`isolation = \"off\"`".to_owned())
        } else if let Some(reason) = elsewhere(program) {
            Some(reason)
        } else if !launcher::is_known() {
            Some("this program has no launcher: only `rehearsal` itself has".to_owned())
        } else {
            None
        };
        let mut wanted = Vec::new();
        for layer in Layer::ALL {
            let outside = matches!(layer, Layer::Network | Layer::Names | Layer::Sockets | Layer::Attempts);
            let reason = none.clone().or_else(|| self.rules.outside.clone().filter(|_| outside));
            let left_out =
                || self.rules.without.contains(&layer).then(|| "left out (`REHEARSAL_WITHOUT_LAYERS`)".to_owned());
            match reason.or_else(left_out) {
                Some(reason) => drop(self.missing.insert(layer, reason)),
                None => wanted.push(layer),
            }
        }
        wanted
    }

    /// Has the namespaces made.
    fn make(&mut self, wanted: &[Layer], build: &Build, dir: &Path) -> io::Result<()> {
        let own = dir.join(OWN);
        let setup = Setup {
            layers: wanted.to_vec(),
            own: own.clone(),
            temporary: self.temporary(wanted, build, dir)?,
            seen: Vec::new(),
            kept: self.kept(dir),
            sockets: if wanted.contains(&Layer::Sockets) { self.sockets(dir)? } else { Vec::new() },
        };
        let seen = seen(&setup.temporary, build, dir, &self.rules.writable);
        for (machine, own) in &setup.temporary {
            let tops = seen.iter().filter_map(|path| path.strip_prefix(machine).ok());
            self.made.extend(tops.map(|top| own.join(top)));
            self.made.push(own.clone());
        }
        let setup = Setup { seen, ..setup };
        fs::create_dir_all(own.join("sockets"))?;
        self.write_names(&own)?;
        let (maker, stands, files) = Maker::make(&setup)?;
        self.replaced.extend(setup.temporary.keys().cloned());
        let Told::Stands { missing, remarks, netlink, device, sockets } = stands else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        self.missing.extend(missing);
        for (layer, remark) in remarks {
            self.remark(layer, &remark);
        }
        let mut files = files.into_iter();
        let mut next = || files.next().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData));
        let handle = next()?;
        // Where that fails, nothing of the rest would be what it is said to be.
        let network = if netlink { Some(Network::up(next()?).map_err(|error| no_loopback(&error))?) } else { None };
        let mut edges = Edges { names: Arc::clone(&self.names), ..Edges::default() };
        if device {
            edges.device = self.lead_outside(network.as_ref(), next()?);
        }
        for index in sockets {
            let path = setup.sockets.get(index).ok_or(io::ErrorKind::InvalidData)?;
            edges.sockets.push((path.clone(), UnixListener::from(next()?)));
        }
        if !self.enforces(Layer::Network) && self.enforces(Layer::Sockets) {
            let remark = "those without a path (abstract ones) belong to the network, and stay in reach with it";
            self.remark(Layer::Sockets, remark);
        }
        let namespaces = Namespaces { handle, network, maker: Mutex::new(maker) };
        self.namespaces = Some(Arc::new(namespaces));
        edges.questions = self.questions();
        *lock(&self.watcher) = Some(Watcher::start(edges, Arc::clone(&self.attempts))?);
        Ok(())
    }

    fn lead_outside(&mut self, network: Option<&Network>, device: OwnedFd) -> Option<OwnedFd> {
        let led = network.map_or_else(|| Err(io::ErrorKind::NotConnected.into()), Network::lead_outside);
        match led {
            Ok(()) => Some(device),
            Err(error) => {
                self.missing.insert(Layer::Attempts, format!("nothing can be led to its device ({error})"));
                None
            }
        }
    }

    /// Listens for questions of names; where that cannot be, whoever asks gets no answer, which names nothing either.
    fn questions(&mut self) -> Option<UdpSocket> {
        if !self.enforces(Layer::Network) || !self.enforces(Layer::Names) {
            return None;
        }
        let bound = self.socket(names::ANSWERS, true).and_then(|socket| {
            bind(&socket, &names::ANSWERS)?;
            Ok(UdpSocket::from(socket))
        });
        bound
            .map_err(|error| {
                self.remarks.insert(Layer::Names, format!("names that are asked for are not seen ({error})"));
            })
            .ok()
    }

    /// Temporary folders of the machine, and what stands in their place.
    fn temporary(&mut self, wanted: &[Layer], build: &Build, dir: &Path) -> io::Result<BTreeMap<PathBuf, PathBuf>> {
        let mut temporary = BTreeMap::new();
        if !wanted.contains(&Layer::Temporary) {
            return Ok(temporary);
        }
        for (machine, name) in TEMPORARY {
            // One may be a link to the other.
            let Ok(machine) = fs::canonicalize(machine) else { continue };
            if folder_of(build).is_ok_and(|folder| folder == machine) {
                let remark =
                    format!("{} is the build's own working directory, and stays the machine's", machine.display());
                self.remarks.insert(Layer::Temporary, remark);
                continue;
            }
            let own = dir.join(name);
            fs::create_dir_all(&own)?;
            // As the machine's: everybody writes there, and removes their own.
            fs::set_permissions(&own, fs::Permissions::from_mode(0o1777))?;
            temporary.entry(machine).or_insert(own);
        }
        Ok(temporary)
    }

    /// What may be written although it lies beside what is only seen of a temporary folder: the drive's own folder, and what is let through to.
    fn kept(&self, dir: &Path) -> Vec<PathBuf> {
        let named = self.rules.writable.iter().filter_map(|path| fs::canonicalize(path).ok());
        let temporary: Vec<PathBuf> = TEMPORARY.iter().filter_map(|(at, _)| fs::canonicalize(at).ok()).collect();
        // A file that lies in it by itself is not seen.
        let below =
            |path: &Path, at: &Path| path != at && path.starts_with(at) && (path.is_dir() || path.parent() != Some(at));
        let lies_there = |path: &PathBuf| temporary.iter().any(|at| below(path, at));
        named.chain([dir.to_owned()]).filter(lies_there).collect()
    }

    /// Notes what a layer leaves open.
    fn remark(&mut self, layer: Layer, remark: &str) {
        let remarks = self.remarks.entry(layer);
        remarks.and_modify(|other| *other = format!("{other}; {remark}")).or_insert_with(|| remark.to_owned());
    }

    /// Sockets of the machine that are put out of reach: those of this drive, and where it may write, are not.
    fn sockets(&mut self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        let is_let_through = |path: &PathBuf| self.rules.writable.iter().any(|one| path.starts_with(one));
        let (let_through, mut sockets): (Vec<PathBuf>, Vec<PathBuf>) =
            machine::sockets(dir)?.into_iter().partition(is_let_through);
        if let Some(first) = let_through.first() {
            let more = if let_through.len() > 1 { " and others" } else { "" };
            let remark =
                format!("{}{more} let through to: what answers there may act beyond all layers", first.display());
            self.remark(Layer::Sockets, &remark);
        }
        if sockets.len() > SOCKETS_MAX {
            let beyond = sockets.len() - SOCKETS_MAX;
            self.remark(Layer::Sockets, &format!("{beyond} of the machine's sockets are too many and stay"));
            sockets.truncate(SOCKETS_MAX);
        }
        Ok(sockets)
    }

    fn write_names(&self, own: &Path) -> io::Result<()> {
        self.write_hosts()?;
        fs::write(own.join("resolv.conf"), names::RESOLV)?;
        // Of the machine's ways to look things up, those for hosts might ask somebody outside.
        if let Ok(ways) = fs::read_to_string("/etc/nsswitch.conf") {
            let way = |line: &str| {
                if line.trim_start().starts_with("hosts:") {
                    "hosts: files dns\n".to_owned()
                } else {
                    format!("{line}\n")
                }
            };
            fs::write(own.join("nsswitch.conf"), ways.lines().map(way).collect::<String>())?;
        }
        Ok(())
    }

    /// Writes `hosts`, in the file that stands in place of the machine's.
    fn write_hosts(&self) -> io::Result<()> {
        let machine = rustix::system::uname().nodename().to_string_lossy().into_owned();
        fs::write(self.own.join("hosts"), lock(&self.names).hosts(&machine))
    }

    /// Where the build may write.
    fn choose_writes(&mut self, dir: &Path) {
        if self.missing.contains_key(&Layer::Writes) {
            return;
        }
        match launcher::can_refuse_writes() {
            Ok("") => {}
            Ok(remark) => drop(self.remarks.insert(Layer::Writes, remark.to_owned())),
            Err(reason) => drop(self.missing.insert(Layer::Writes, reason.to_owned())),
        }
        self.writes.push(dir.to_owned());
        self.writes.extend(DEVICES.map(PathBuf::from));
        if self.enforces(Layer::Temporary) {
            self.writes.extend(self.replaced.iter().cloned());
            self.writes.push("/dev/shm".into());
        }
    }

    /// Where there is no network of its own although it was wanted, connections are at least refused by port: Landlock knows no
    /// addresses, and nothing of datagrams.
    fn choose_ports(&mut self, wanted: bool) {
        let left_out = self.rules.without.contains(&Layer::Network) && !self.rules.without.contains(&Layer::Writes);
        let Some(reason) = self.missing.get_mut(&Layer::Network).filter(|_| wanted || left_out) else { return };
        if launcher::can_refuse_ports() && launcher::is_known() && self.rules.mode != IsolationMode::Off {
            self.by_port = true;
            reason.push_str("; connections over TCP are let through by port only, whatever their address");
        }
    }

    /// Whether a layer is in force.
    pub(in crate::drive) fn enforces(&self, layer: Layer) -> bool {
        !self.missing.contains_key(&layer)
    }

    /// Whether the drive may take place.
    fn check(&self, drive: &str) -> Result<(), IsolationError> {
        let missing: Vec<LayerState> =
            self.layers().into_iter().filter(|state| !state.enforced && state.layer.refuses()).collect();
        if self.rules.mode == IsolationMode::Required && !missing.is_empty() {
            return Err(IsolationError::Missing { drive: drive.to_owned(), missing });
        }
        if !self.rules.hosts.is_empty() {
            for layer in [Layer::Network, Layer::Names] {
                if let Some(reason) = self.missing.get(&layer) {
                    return Err(IsolationError::Hosts { layer: layer.name(), reason: reason.clone() });
                }
            }
        }
        Ok(())
    }

    fn layers(&self) -> Vec<LayerState> {
        let state = |layer| {
            let missing = self.missing.get(&layer);
            let mut reason = missing.or_else(|| self.remarks.get(&layer)).cloned().unwrap_or_default();
            if layer == Layer::Attempts && !lock(&self.asking).is_empty() {
                reason.push_str(if self.enforces(Layer::Network) {
                    "; what was asked for by `connect` and `sendto` was seen, as well as that goes"
                } else {
                    "; connections that were refused were seen, as well as that goes: datagrams, and what nobody refused, went out unseen"
                });
            }
            LayerState { layer, enforced: missing.is_none(), reason }
        };
        Layer::ALL.into_iter().map(state).collect()
    }

    /// Leads to what is allowed. Where there is no network of its own, everything is reached anyway, and nothing is counted.
    fn allow(&self) -> Result<(), IsolationError> {
        for place in &self.rules.allow {
            self.lead(place, true, Behind::Outside(place.clone()))?;
        }
        Ok(())
    }

    /// Leads to `place`, an address outside that a build needs for the drive to take place at all.
    pub(in crate::drive) fn lead_to(&self, place: &Place) -> Result<(), IsolationError> {
        // One address may have two names, of which the brokers know one and the scenario the other.
        let address = place.address().map(|address| (address, place.port));
        let is_same = |known: &Place| {
            known == place || address.is_some() && known.address().map(|address| (address, known.port)) == address
        };
        if self.rules.allow.iter().any(is_same) || lock(&self.relays).iter().any(|(known, _, _)| is_same(known)) {
            return Ok(());
        }
        self.lead(place, false, Behind::Outside(place.clone()))
    }

    /// Has `target` of `hosts` (`stage`, `effects.pay`) be what listens at `address` in the world.
    pub(in crate::drive) fn offer(&self, target: &str, address: SocketAddr) -> Result<(), IsolationError> {
        lock(&self.offered).insert(target.to_owned(), address);
        let places = self.rules.hosts.iter().filter(|(_, named)| *named == target);
        for (place, _) in places {
            let Some(namespaces) = self.namespaces.clone() else { continue };
            let connect = move || namespaces.connect(address);
            self.lead(place, false, Behind::Inside(Box::new(connect)))?;
        }
        Ok(())
    }

    fn lead(&self, place: &Place, counted: bool, behind: Behind) -> Result<(), IsolationError> {
        let failed = |source| IsolationError::Place { place: place.to_string(), source };
        let Some(network) = self.namespaces.as_ref().and_then(|namespaces| namespaces.network.as_ref()) else {
            lock(&self.ports).insert(place.port);
            return Ok(());
        };
        if lock(&self.names).add(place) {
            self.write_hosts().map_err(failed)?;
        }
        let address = lock(&self.names).address(place);
        network.add(address.ip()).map_err(failed)?;
        lock(&self.led).insert(address.ip());
        let relay = self.listen(address).and_then(|listener| Relay::start(listener, behind)).map_err(failed)?;
        lock(&self.relays).push((place.clone(), counted, relay));
        Ok(())
    }

    /// The namespaces, where the world has a network of its own.
    fn apart(&self) -> Option<&Arc<Namespaces>> {
        self.namespaces.as_ref().filter(|_| self.enforces(Layer::Network))
    }

    /// Leads from the machine to all that is served in the world, by the same addresses: for commands that run beside the build.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub(in crate::drive) fn open(&self) -> io::Result<()> {
        let served: Vec<SocketAddr> = lock(&self.offered).values().copied().collect();
        for address in served {
            // None where it is open already, or is what the machine has.
            let held = lock(&self.beside).remove(&address.port());
            if let Some(listener) = held {
                self.open_by(listener, address)?;
            }
        }
        Ok(())
    }

    fn open_by(&self, listener: TcpListener, address: SocketAddr) -> io::Result<()> {
        let Some(namespaces) = self.apart().cloned() else { return Ok(()) };
        let behind = Behind::Inside(Box::new(move || namespaces.connect(address)));
        lock(&self.openings).push(Relay::start(listener, behind)?);
        Ok(())
    }

    /// Lets whoever runs beside the build listen at `port`, which is held for the drive there as in the world; returns whether these are
    /// two.
    pub(in crate::drive) fn lend(&self, port: u16) -> bool {
        lock(&self.beside).remove(&port);
        self.apart().is_some()
    }

    /// Makes one port of `port`, which was lent, in the world and beside it: where somebody comes to listen at it beside the build, the
    /// build is let through to them, and where the build does, they to the build.
    ///
    /// # Errors
    ///
    /// [`IsolationError::Place`] with what the system says.
    pub(in crate::drive) fn join(&self, port: u16) -> Result<(), IsolationError> {
        let Some(namespaces) = self.apart().cloned() else { return Ok(()) };
        let joined = Joined::start(namespaces, port).map_err(|source| {
            let place = Place { host: Ipv4Addr::LOCALHOST.to_string(), port };
            IsolationError::Place { place: place.to_string(), source }
        })?;
        lock(&self.joined).push(joined);
        Ok(())
    }

    /// Listens at `address` where the build sees it.
    pub(in crate::drive) fn listen(&self, address: SocketAddr) -> io::Result<TcpListener> {
        if self.apart().is_none() {
            let listener = TcpListener::bind(address)?;
            lock(&self.ports).insert(listener.local_addr()?.port());
            return Ok(listener);
        }
        if address.port() != 0 {
            return self.listen_inside(address);
        }
        // A port that is free beside the build, too: the number is told on both sides.
        for _ in 0..PORTS_TRIED {
            let beside = TcpListener::bind(address)?;
            let port = beside.local_addr()?.port();
            match self.listen_inside(SocketAddr::new(address.ip(), port)) {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                inside => {
                    lock(&self.beside).insert(port, beside);
                    return inside;
                }
            }
        }
        Err(io::ErrorKind::AddrInUse.into())
    }

    fn listen_inside(&self, address: SocketAddr) -> io::Result<TcpListener> {
        self.namespaces.as_ref().ok_or(io::ErrorKind::NotConnected)?.listen(address)
    }

    /// A socket of the world's network that is not connected yet, for whoever speaks to what the build listens at; none where that is the
    /// machine's network.
    pub(in crate::drive) fn unconnected(&self, address: SocketAddr) -> io::Result<Option<TcpStream>> {
        if self.apart().is_none() {
            return Ok(None);
        }
        self.socket(address, false).map(|socket| Some(TcpStream::from(socket)))
    }

    /// A socket of the world's network.
    fn socket(&self, address: SocketAddr, datagrams: bool) -> io::Result<OwnedFd> {
        let namespaces = self.namespaces.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        namespaces.socket(address, datagrams)
    }

    /// Starts `command` in the world, as [`Command::spawn`] would without: with three pipes, as the leader of a process group.
    /// Returns with it the number of the process itself, which is not that of the child where a launcher stands between.
    pub(in crate::drive) fn spawn(&self, command: &mut Command) -> io::Result<(Child, u32)> {
        if let Some((place, target)) =
            self.rules.hosts.iter().find(|(_, target)| !lock(&self.offered).contains_key(*target))
        {
            return Err(io::Error::other(format!("nothing serves `{target}`, which {place} of `hosts` is to be")));
        }
        let namespaces = self.namespaces.as_ref();
        if namespaces.is_none() && !self.by_port && !self.enforces(Layer::Writes) {
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
            let child = command.spawn()?;
            let number = child.id();
            return Ok((child, number));
        }
        let os = OsStr::to_owned;
        let start = Start {
            program: os(command.get_program()),
            arguments: command.get_args().map(os).collect(),
            env: command.get_envs().map(|(name, value)| (os(name), value.map(os))).collect(),
            // Whoever enters a world stands at its root.
            folder: Some(std::path::absolute(
                command.get_current_dir().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")),
            )?),
            enter: Layer::ALL.into_iter().filter(|layer| self.enforces(*layer)).collect(),
            writes: self.enforces(Layer::Writes).then(|| self.writes.clone()),
            ports: self.lets_ports_alone().then(|| lock(&self.ports).iter().copied().collect()),
            asking: self.nowhere().is_some(),
        };
        let ((stdin_read, stdin), (stdout, stdout_write), (stderr, stderr_write)) =
            (io::pipe()?, io::pipe()?, io::pipe()?);
        let (mut launching, control) = launcher::command(Part::Starter)?;
        control.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        launching.stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        // Known by the drive's mark from its first moment, as what it starts.
        let mark = OsStr::new(crate::drive::leash::VARIABLE);
        if let Some((_, Some(mark_of_drive))) = start.env.iter().find(|(name, _)| name == mark) {
            launching.env(mark, mark_of_drive);
        }
        let mut child = launching.spawn()?;
        drop(launching);
        let mut files = vec![stdin_read.as_fd(), stdout_write.as_fd(), stderr_write.as_fd()];
        files.extend(namespaces.map(|namespaces| namespaces.handle.as_fd()));
        let answer = send(&control, &start, &files).and_then(|()| receive::<Started>(&control));
        let failed = match answer {
            Ok((Started::Runs(number), files)) => {
                if let (Some(listener), Some(nowhere)) = (files.into_iter().next(), self.nowhere()) {
                    lock(&self.asking).push(Asking::start(listener, nowhere, Arc::clone(&self.attempts))?);
                }
                child.stdin = Some(ChildStdin::from(OwnedFd::from(stdin)));
                child.stdout = Some(ChildStdout::from(OwnedFd::from(stdout)));
                child.stderr = Some(ChildStderr::from(OwnedFd::from(stderr)));
                return Ok((child, number));
            }
            Ok((Started::Failed(Some(number), _), _)) => io::Error::from_raw_os_error(number),
            Ok((Started::Failed(None, reason) | Started::Unentered(reason), _)) => io::Error::other(reason),
            Err(error) => error,
        };
        let _ = child.kill();
        let _ = child.wait();
        Err(failed)
    }

    /// What leads nowhere, where it is to be seen by what builds ask for; none where a device sees it, or nothing is refused.
    fn nowhere(&self) -> Option<Nowhere> {
        if !self.without_device {
            return None;
        }
        match self.apart() {
            Some(_) => Some(Nowhere::But(Arc::clone(&self.led))),
            None => self.by_port.then(|| Nowhere::OtherPorts(lock(&self.ports).clone())),
        }
    }

    /// An address that is reached without anybody who counts.
    fn uncounted(&self, address: String) -> Allowed {
        let shared = self.rules.shared;
        Allowed { address, counted: false, connections: 0, failed: 0, bytes_out: 0, bytes_in: 0, shared }
    }

    /// Whether connections are refused by port, where there is no network to refuse them by.
    fn lets_ports_alone(&self) -> bool {
        self.by_port
    }

    /// Ends what goes on at the world's edges, and says how far the drive was kept to itself.
    pub(in crate::drive) fn report(&self) -> Report {
        drop(lock(&self.watcher).take());
        // Said ahead of their end.
        let layers = self.layers();
        lock(&self.asking).clear();
        let (attempts, attempts_beyond) = self.attempts.all();
        let count = |count: &std::sync::atomic::AtomicU64| count.load(std::sync::atomic::Ordering::SeqCst);
        let relays = lock(&self.relays);
        let allowed = relays.iter().filter(|(_, counted, _)| *counted).map(|(place, _, relay)| {
            let counts = relay.counts();
            Allowed {
                address: place.to_string(),
                counted: true,
                connections: count(&counts.connections),
                failed: count(&counts.failed),
                bytes_out: count(&counts.bytes_out),
                bytes_in: count(&counts.bytes_in),
                shared: self.rules.shared,
            }
        });
        let mut allowed: Vec<Allowed> = allowed.collect();
        if !self.enforces(Layer::Network) {
            allowed.extend(self.rules.allow.iter().map(|place| self.uncounted(place.to_string())));
        }
        allowed.extend(self.rules.writable.iter().map(|path| self.uncounted(path.display().to_string())));
        Report { layers, attempts, attempts_beyond, allowed }
    }
}

impl Launcher for Arc<Isolation> {
    fn launch(&self, command: &mut Command) -> io::Result<(Child, u32)> {
        self.spawn(command)
    }

    fn listen(&self, at: SocketAddr) -> io::Result<TcpListener> {
        Isolation::listen(self, at)
    }
}

impl Drop for Isolation {
    /// Ends all that lives in it, and takes away what was made for it and is not the build's.
    fn drop(&mut self) {
        lock(&self.openings).clear();
        lock(&self.joined).clear();
        lock(&self.relays).clear();
        drop(lock(&self.watcher).take());
        self.namespaces = None;
        lock(&self.asking).clear();
        let _ = fs::remove_dir_all(&self.own);
        for folder in &self.made {
            // Not where something is in it.
            let _ = fs::remove_dir(folder);
        }
    }
}

fn no_loopback(error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("its loopback does not come up ({error})"))
}

/// The drive's folder, there and absolute, without links: rules hold for what it is.
fn prepared(dir: &Path) -> Result<PathBuf, IsolationError> {
    let failed = |source| IsolationError::Files { path: dir.to_owned(), source };
    fs::create_dir_all(dir.join("tmp")).map_err(failed)?;
    fs::canonicalize(dir).map_err(failed)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
