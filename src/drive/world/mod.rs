//! What one drive has of its own: a directory with a temporary folder in it, ports, addresses by name, and who starts its processes.
//!
//! Made once for each drive, before anything is started; all that a drive starts is started in it. What never happens here: two
//! drives get the same port, folder or mark.

mod errands;
mod snapshots;

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use errands::{Lingering, copy_state};

use super::build::Build;
use super::flags::Flags;
use super::isolation::{Isolation, IsolationError};
use super::leash;
use super::placeholders::{Address, Offers, Piece, pieces};
use super::wall_clock::{Course, WallClock};
use super::{DriveError, Job};
use crate::clock::{Clock, Stop};
use crate::outcome::{EndingReport, OutcomeError, OutputsWriter};

/// What a drive's copy of its build's state is called in its directory.
const STATE: &str = "state";

/// Variable by which every Java machine takes options.
const JAVA: &str = "JAVA_TOOL_OPTIONS";

/// Ports that drives of this program have: none is given twice, not even between the moment in which one is let go and that in which
/// its build takes it.
static TAKEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// Who starts a drive's processes and listens for it: this program itself, or whoever stands in the drive's isolation.
pub(super) trait Launcher: fmt::Debug + Send + Sync {
    /// Starts `command`, whose standard streams are pipes; returns with it the number of the build's own process, which is another than
    /// that of the child where somebody stands between. Called once for each process of a build, and again where one is started
    /// again.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn launch(&self, command: &mut Command) -> io::Result<(Child, u32)>;

    /// Listens at `at`, as the drive's processes see it; port 0 takes any that is free there.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn listen(&self, at: SocketAddr) -> io::Result<TcpListener>;
}

/// Starts processes beside this one, on the machine's own network.
#[derive(Debug)]
struct Beside;

impl Launcher for Beside {
    fn launch(&self, command: &mut Command) -> io::Result<(Child, u32)> {
        let child = command.spawn()?;
        let number = child.id();
        Ok((child, number))
    }

    fn listen(&self, at: SocketAddr) -> io::Result<TcpListener> {
        TcpListener::bind(at)
    }
}

/// A port of a drive, held until what is to take it is started.
#[derive(Debug)]
struct Port {
    number: u16,
    held: Option<TcpListener>,
    /// Whether a command beside the build was told of it, outside of the build's network.
    lent: bool,
}

/// What one drive has of its own.
#[derive(Debug)]
pub(super) struct World {
    drive: String,
    dir: PathBuf,
    rehearsal: PathBuf,
    mark: String,
    starts: AtomicU64,
    hidden: Option<String>,
    launcher: Box<dyn Launcher>,
    /// How far the drive is kept to itself; none where it is not.
    isolation: Option<Arc<Isolation>>,
    /// By the number of the process that it is for, and its name.
    ports: Mutex<BTreeMap<(u32, String), Port>>,
    kafka: Option<Address>,
    env: BTreeMap<String, String>,
    offered: BTreeMap<String, String>,
    flags: Option<Arc<Flags>>,
    wall_clock: Option<Arc<WallClock>>,
    /// Whether there may be something to clean up.
    unclean: AtomicBool,
    lingering: Lingering,
    /// How often a command was run that ends a process.
    kills: AtomicU64,
    /// What went wrong with them.
    complaints: Mutex<Vec<String>>,
}

impl World {
    /// Makes the one of `job`'s drive; nothing is written yet.
    ///
    /// # Errors
    ///
    /// [`DriveError::World`] where the system does not tell where this program is.
    pub(super) fn new(job: &Job<'_>, clock: &dyn Clock) -> Result<Self, DriveError> {
        let hidden = job.rules.mask.as_ref().and_then(|policy| policy.key_variable());
        Self::named(job.name, &job.out.join("dir"), hidden, clock)
            .map_err(|source| DriveError::World { drive: job.name.to_owned(), source })
    }

    /// Makes the one of the drive called `drive`, whose own directory is `dir`. The variable `hidden` of our own environment is kept
    /// from what it starts.
    fn named(drive: &str, dir: &Path, hidden: Option<&str>, clock: &dyn Clock) -> io::Result<Self> {
        Ok(Self {
            drive: drive.to_owned(),
            dir: std::path::absolute(dir)?,
            rehearsal: env::current_exe()?,
            mark: mark(clock),
            starts: AtomicU64::new(0),
            hidden: hidden.map(str::to_owned),
            launcher: Box::new(Beside),
            isolation: None,
            ports: Mutex::default(),
            kafka: None,
            env: BTreeMap::new(),
            offered: BTreeMap::new(),
            flags: None,
            wall_clock: None,
            unclean: AtomicBool::new(false),
            lingering: Lingering::default(),
            kills: AtomicU64::new(0),
            complaints: Mutex::default(),
        })
    }

    /// Makes its directory, the temporary folder in it and the build's copy of its state, and runs what the build wants run ahead of
    /// it.
    ///
    /// # Errors
    ///
    /// [`DriveError::Outcome`] where the disk refuses, [`DriveError::State`] and [`DriveError::Prepare`] for what cannot be made
    /// ready, [`DriveError::Stopped`] where `stop` is raised meanwhile.
    pub(super) fn furnish(&self, job: &Job<'_>, stop: &Stop) -> Result<(), DriveError> {
        let folder = self.temporary();
        fs::create_dir_all(&folder).map_err(|source| OutcomeError::io(&folder, source))?;
        if let Some(flags) = &self.flags {
            flags.write().map_err(|source| OutcomeError::io(flags.path(), source))?;
        }
        if let Some(state) = job.build.state() {
            copy_state(state, &self.dir.join(STATE), stop).map_err(|(path, source)| {
                let drive = job.name.to_owned();
                if stop.raised() {
                    DriveError::Stopped { drive, path: job.out.clone() }
                } else {
                    DriveError::State { drive, path, source }
                }
            })?;
        }
        self.prepare(job, stop)?;
        // Behind what may make the interpreter that it is tried with.
        self.wall_clock.as_ref().map_or(Ok(()), |wall_clock| wall_clock.prove(self, job, stop))
    }

    /// Takes the wall clock of `job`'s drive, where it has one of its own; returns the course that it takes, where it follows events.
    ///
    /// # Errors
    ///
    /// [`DriveError::WallClock`] where there can be none, and what reading the plan says.
    pub(super) fn take_wall_clock<'p>(&mut self, job: &Job<'p>) -> Result<Option<Course<'p>>, DriveError> {
        let Some((wall_clock, course)) = WallClock::of(job, &self.dir)? else { return Ok(None) };
        self.wall_clock = Some(Arc::new(wall_clock));
        Ok(course)
    }

    /// Wall clock of the drive's build, where it has one of its own.
    pub(super) fn wall_clock(&self) -> Option<Arc<WallClock>> {
        self.wall_clock.clone()
    }

    /// Takes the flags of `job`'s drive, where it has any, and tells what it starts where their file will stand: by `{flags}`, and by the
    /// variable `REHEARSAL_FLAGS`.
    ///
    /// # Errors
    ///
    /// What reading the plan says.
    pub(super) fn take_flags(&mut self, job: &Job<'_>) -> Result<(), DriveError> {
        self.flags = Flags::of(job, &self.dir)?.map(Arc::new);
        if let Some(flags) = &self.flags {
            let path = flags.path().to_string_lossy().into_owned();
            self.tell("REHEARSAL_FLAGS", path.clone());
            self.offer("flags", path);
        }
        Ok(())
    }

    /// Flags of the drive, where it has any.
    pub(super) fn flags(&self) -> Option<Arc<Flags>> {
        self.flags.clone()
    }

    /// Keeps `job`'s drive to itself: has all processes started there from here on, and all ports found there.
    ///
    /// # Errors
    ///
    /// [`DriveError::Isolation`] where the drive must not take place.
    pub(super) fn isolate(&mut self, job: &Job<'_>) -> Result<(), IsolationError> {
        let isolation = Arc::new(Isolation::start(&job.rules.isolation, job.build, &self.dir, job.name)?);
        self.launcher = Box::new(Arc::clone(&isolation));
        self.isolation = Some(isolation);
        Ok(())
    }

    /// How far the drive is kept to itself.
    pub(super) fn isolation(&self) -> Option<&Arc<Isolation>> {
        self.isolation.as_ref()
    }

    /// Looks at the sinks once the build has ended, unless the drive `failed`, and runs what the build wants run behind it. What came of
    /// it is said in `report`; outputs arrive at `arrived_us`.
    pub(super) fn wind_up(
        &self,
        job: &Job<'_>,
        report: &mut EndingReport,
        failed: &mut Option<DriveError>,
        outputs: &mut OutputsWriter,
        arrived_us: i64,
        stop: &Stop,
    ) {
        if let Some(flags) = &self.flags
            && let Some(source) = flags.take_failure()
        {
            failed.get_or_insert(OutcomeError::io(flags.path(), source).into());
        }
        if failed.is_none() {
            match self.snapshots(job, outputs, arrived_us, stop) {
                Ok(sinks) => {
                    let rows: u64 = sinks.values().map(|sink| sink.rows).sum();
                    report.outputs = report.outputs.map(|outputs| outputs + rows);
                    report.sinks = sinks;
                }
                Err(error) => *failed = Some(error),
            }
        }
        report.warnings = self.clean_up(job);
        if let Some(wall_clock) = &self.wall_clock {
            wall_clock.report(report);
        }
        if failed.is_none() && stop.raised() && !job.rules.sinks.is_empty() {
            *failed = Some(DriveError::Stopped { drive: job.name.to_owned(), path: job.out.clone() });
        }
    }

    /// Fills `{name}` with `text` from here on, such as the address of a stub.
    pub(super) fn offer(&mut self, name: impl Into<String>, text: impl Into<String>) {
        self.offered.insert(name.into(), text.into());
    }

    /// Sets a variable of the environment of all that is started from here on.
    pub(super) fn tell(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.env.insert(name.into(), value.into());
    }

    /// Tells builds where their brokers are, by placeholders and by the variables `env`.
    pub(super) fn connect(&mut self, address: Address, env: BTreeMap<String, String>) {
        self.kafka = Some(address);
        self.env.extend(env);
    }

    /// Listens for the drive at `at`: what its processes connect to.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub(super) fn listen(&self, at: SocketAddr) -> io::Result<TcpListener> {
        self.launcher.listen(at)
    }

    /// The folder inside of `{dir}` that what it starts takes for temporary files.
    pub(super) fn temporary(&self) -> PathBuf {
        self.dir.join("tmp")
    }

    /// Starts the process `instance` of `build` by its launcher, with pipes for standard streams. Returns it with the number of the
    /// build's own process, and the mark that it and all that it starts carry.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub(super) fn start(&self, build: &Build, instance: u32) -> io::Result<(Child, u32, String)> {
        let mut command = self.command(build, build.command(), instance)?;
        if let Some(wall_clock) = &self.wall_clock {
            wall_clock.dress(&mut command)?;
        }
        self.let_go(instance)?;
        self.launch(command)
    }

    /// Starts the program `words` in the world of `build`, with its environment and what `dress` adds to that.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub(super) fn start_beside(
        &self,
        build: &Build,
        words: &[OsString],
        dress: impl FnOnce(&mut Command),
    ) -> io::Result<(Child, u32, String)> {
        let (program, arguments) = words.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let name = self.fill(&program.to_string_lossy(), build.offers(), 0)?;
        let mut command = Command::new(program_of(build, name)?);
        command.args(arguments);
        self.furnish_command(&mut command, build, 0)?;
        dress(&mut command);
        self.launch(command)
    }

    fn launch(&self, mut command: Command) -> io::Result<(Child, u32, String)> {
        let number = self.starts.fetch_add(1, Ordering::Relaxed);
        let mark = format!("{}/{number}", self.mark);
        command.env(leash::VARIABLE, &mark);
        let (child, number) = self.launcher.launch(&mut command)?;
        Ok((child, number, mark))
    }

    /// Makes the command of `words` as `build` runs it: in its directory, with its environment, in a group of its own.
    fn command(&self, build: &Build, words: &[String], instance: u32) -> io::Result<Command> {
        let (program, arguments) = words.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let fill = |text: &str| self.fill(text, build.offers(), instance);
        let mut command = Command::new(program_of(build, fill(program)?)?);
        for argument in arguments {
            command.arg(fill(argument)?);
        }
        self.furnish_command(&mut command, build, instance)?;
        Ok(command)
    }

    /// Gives `command` the directory and the environment of `build`, and a group and pipes of its own.
    fn furnish_command(&self, command: &mut Command, build: &Build, instance: u32) -> io::Result<()> {
        use std::os::unix::process::CommandExt;
        if let Some(hidden) = &self.hidden {
            command.env_remove(hidden);
        }
        command.envs(&self.env).env("TMPDIR", self.temporary());
        for (name, value) in build.env() {
            command.env(name, self.fill(value, build.offers(), instance)?);
        }
        let options =
            command.get_envs().find(|(name, _)| *name == JAVA).and_then(|(_, value)| value.map(OsString::from));
        if let Some(options) = self.java_options(options.or_else(|| env::var_os(JAVA)).as_deref()) {
            command.env(JAVA, options);
        }
        command.current_dir(build.directory()).process_group(0);
        command.stdin(process::Stdio::piped()).stdout(process::Stdio::piped()).stderr(process::Stdio::piped());
        Ok(())
    }

    /// What Java machines say on standard error because of what they are told of the temporary folder; empty where they are told
    /// more than that, by `build` or by our own environment, as they would say it then in any case.
    pub(super) fn java_notice(&self, build: &Build) -> String {
        let told = build.env().contains_key(JAVA) || env::var_os(JAVA).is_some();
        let options = self.java_options(None).filter(|_| !told);
        options.map_or_else(String::new, |options| format!("Picked up {JAVA}: {}", options.to_string_lossy()))
    }

    /// What Java machines are to take behind what they take anyhow, `before`; none where that says itself where temporary files go.
    fn java_options(&self, before: Option<&OsStr>) -> Option<OsString> {
        let mut options = before.map(OsStr::to_owned).unwrap_or_default();
        if options.to_string_lossy().contains("-Djava.io.tmpdir=") {
            return None;
        }
        if !options.is_empty() {
            options.push(" ");
        }
        // Java takes the quotes off again, and nothing else.
        options.push("'-Djava.io.tmpdir=");
        options.push(self.temporary());
        options.push("'");
        Some(options)
    }

    /// Fills the placeholders of `text`, which has been checked against `offers`, for the process `instance`. The same name of a port
    /// is the same port throughout.
    pub(super) fn fill(&self, text: &str, offers: &Offers, instance: u32) -> io::Result<String> {
        let wrong = |problem| io::Error::new(io::ErrorKind::InvalidInput, problem);
        let kafka = self.kafka.as_ref();
        let mut filled = String::new();
        for piece in pieces(text, offers).map_err(|(problem, _)| wrong(problem))? {
            match piece {
                Piece::Text(text) => filled.push_str(text),
                Piece::Rehearsal => filled.push_str(&self.rehearsal.to_string_lossy()),
                Piece::Drive => filled.push_str(&self.drive),
                Piece::Instance => filled.push_str(&instance.to_string()),
                Piece::Dir => filled.push_str(&self.dir.to_string_lossy()),
                Piece::Port(name) => filled.push_str(&self.port(name, instance)?.to_string()),
                Piece::Brokers => filled.push_str(kafka.map_or("", |address| &address.brokers)),
                Piece::Group => filled.push_str(kafka.map_or("", |address| &address.group)),
                Piece::Topic(name) => filled.push_str(kafka.map_or(name, |address| address.topic(name))),
                Piece::Offered(name) => {
                    let text = self.offered.get(name);
                    filled.push_str(text.ok_or_else(|| wrong(format!("nobody fills `{{{name}}}`")))?);
                }
            }
        }
        Ok(filled)
    }

    /// Finds a free port. It stays taken until its process is started, so that nobody else gets it.
    fn port(&self, name: &str, instance: u32) -> io::Result<u16> {
        let mut ports = lock(&self.ports);
        let key = (instance, name.to_owned());
        if let Some(port) = ports.get(&key) {
            return Ok(port.number);
        }
        // What another drive was given and has let go is free for the system, and not for us.
        let mut passed = Vec::new();
        let (number, held) = loop {
            let listener = self.listen((Ipv4Addr::LOCALHOST, 0).into())?;
            let number = listener.local_addr()?.port();
            if lock(&TAKEN).insert(number) {
                break (number, listener);
            }
            passed.push(listener);
        };
        ports.insert(key, Port { number, held: Some(held), lent: false });
        Ok(number)
    }

    /// Frees the ports of `instance`, for it to take. Those that commands were told of lead to where somebody listens.
    fn let_go(&self, instance: u32) -> io::Result<()> {
        let mut ports = lock(&self.ports);
        for (_, port) in ports.iter_mut().filter(|((of, _), _)| *of == instance) {
            port.held = None;
            if std::mem::take(&mut port.lent)
                && let Some(isolation) = &self.isolation
            {
                isolation.join(port.number).map_err(io::Error::other)?;
            }
        }
        Ok(())
    }

    /// Frees the ports that a command of `words` is told, by them or by the environment of `build`, where it can listen at them.
    fn let_go_of(&self, words: &[String], build: &Build) {
        let mut ports = lock(&self.ports);
        let told = words.iter().chain(build.env().values());
        for piece in told.filter_map(|text| pieces(text, build.offers()).ok()).flatten() {
            if let Piece::Port(name) = piece
                && let Some(port) = ports.get_mut(&(0, name.to_owned()))
            {
                port.lent = self.isolation.as_ref().is_some_and(|isolation| isolation.lend(port.number));
                if !port.lent {
                    port.held = None;
                }
            }
        }
    }
}

impl Drop for World {
    /// Gives its ports back, and takes its folders away where nothing is in them.
    fn drop(&mut self) {
        for port in lock(&self.ports).values() {
            lock(&TAKEN).remove(&port.number);
        }
        // What lives there ends first.
        (self.launcher, self.isolation) = (Box::new(Beside), None);
        if let Some(flags) = &self.flags {
            flags.remove();
        }
        if let Some(wall_clock) = &self.wall_clock {
            wall_clock.remove();
        }
        for folder in [self.temporary(), self.dir.clone()] {
            // Not where something is in it.
            let _ = fs::remove_dir(folder);
        }
    }
}

/// Where the program `name` of `build` is.
fn program_of(build: &Build, name: String) -> io::Result<PathBuf> {
    // What a relative path is relative to is the system's choice; an absolute one leaves none.
    if name.contains('/') { std::path::absolute(build.directory().join(&name)) } else { Ok(name.into()) }
}

/// A text that no other drive of any program has, below that of the drive that this program runs in, if any.
pub(super) fn mark(clock: &dyn Clock) -> String {
    static DRIVES: AtomicU64 = AtomicU64::new(0);
    let number = DRIVES.fetch_add(1, Ordering::Relaxed);
    let outer = env::var(leash::VARIABLE).map(|outer| outer + "/").unwrap_or_default();
    format!("{outer}{}-{}-{number}", process::id(), clock.date_us())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use crate::drive::Transport;

    fn world() -> World {
        World::named("new", Path::new("unused"), None, &SystemClock::start()).unwrap()
    }

    #[test]
    fn each_name_of_a_port_is_a_port_of_its_own() {
        let (world, offers) = (world(), Offers::default());
        let filled = world.fill("{port} {port.a} {port} {port.a} {drive} {instance}", &offers, 0).unwrap();
        let words: Vec<_> = filled.split(' ').collect();
        assert_eq!((words[0], words[1], words[4], words[5]), (words[2], words[3], "new", "0"));
        assert_ne!(words[0], words[1]);
        assert_ne!(world.fill("{port}", &offers, 1).unwrap(), words[0], "each process has ports of its own");
    }

    #[test]
    fn a_port_that_was_let_go_is_given_to_nobody_else() {
        let (one, other) = (world(), world());
        let number = one.port("", 0).unwrap();
        one.let_go(0).unwrap();
        let held = TcpListener::bind((Ipv4Addr::LOCALHOST, number)).unwrap();
        drop(held);
        for name in 0..50 {
            assert_ne!(other.port(&name.to_string(), 0).unwrap(), number);
        }
        assert!(lock(&TAKEN).contains(&number));
        drop(one);
        assert!(!lock(&TAKEN).contains(&number));
    }

    #[test]
    fn over_kafka_a_command_learns_brokers_group_and_topics() {
        let topics = BTreeMap::from([("b".to_owned(), "there-b".to_owned())]);
        let mut world = world();
        let address = Address { brokers: "127.0.0.1:9".into(), group: "new".into(), topics };
        world.connect(address, BTreeMap::new());
        world.offer("effects.pay", "http://127.0.0.1:7");
        let offers = Offers::of(Transport::Kafka).with("effects.pay").with("registry");
        let filled = world.fill("-b {brokers} -g {group} {topic.a} {topic.b} {effects.pay}", &offers, 0).unwrap();
        assert_eq!(filled, "-b 127.0.0.1:9 -g new a there-b http://127.0.0.1:7");
        assert!(world.fill("{registry}", &offers, 0).unwrap_err().to_string().contains("{registry}"));
    }

    #[test]
    fn java_is_told_of_the_temporary_folder_behind_what_it_is_told_anyhow() {
        let world = world();
        let folder = world.temporary();
        let ours = format!("'-Djava.io.tmpdir={}'", folder.display());
        let told = |before: Option<&str>| {
            world.java_options(before.map(OsStr::new)).map(|options| options.to_string_lossy().into_owned())
        };
        assert_eq!(told(None).as_deref(), Some(&*ours));
        assert_eq!(told(Some("-Xmx1g")), Some(format!("-Xmx1g {ours}")));
        assert_eq!(told(Some("-Djava.io.tmpdir=/elsewhere")), None);
    }
}
