//! Builds that try to leave: what each layer refuses, and how what is not enforced is told.
//!
//! What the system grants decides what can be looked at: where it grants no user namespaces, these tests say so and look at the rest.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use rehearsal::clock::{Clock, SystemClock};
use rehearsal::outcome::{AttemptKind, Ending, Isolation, Layer, Outcome};
use rehearsal::recording::{Event, EventBatchBuilder, RecordingWriter, Source, TimestampType};
use serde_json::{Value as Json, json};
use tempfile::TempDir;

/// An ordinary user, which every system has.
const NOBODY: u32 = 65_534;

/// Variable with layers that are left out.
const WITHOUT: &str = "REHEARSAL_WITHOUT_LAYERS";

/// Who drives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum User {
    /// Whoever runs the tests.
    Same,
    /// An ordinary user, where root runs the tests.
    Ordinary,
}

impl User {
    /// Those that these tests can be.
    fn all() -> Vec<Self> {
        if is_root() { vec![Self::Same, Self::Ordinary] } else { vec![Self::Same] }
    }

    fn command(self, program: &Path) -> Command {
        if self == Self::Same {
            return Command::new(program);
        }
        let mut command = Command::new("setpriv");
        command.args([&format!("--reuid={NOBODY}"), &format!("--regid={NOBODY}"), "--clear-groups", "--"]).arg(program);
        command
    }
}

fn is_root() -> bool {
    fs::read_to_string("/proc/self/status").unwrap().lines().any(|line| line.starts_with("Uid:\t0\t"))
}

/// A folder with a recording of three orders, in which drives leave their outcomes.
struct Desk {
    folder: TempDir,
    user: User,
    program: PathBuf,
}

impl Desk {
    fn new(user: User) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = RecordingWriter::create(folder.path().join("orders"), Source::default()).unwrap();
        let mut batch = EventBatchBuilder::new();
        for offset in 0..3 {
            batch.push_event(&Event {
                topic: "orders".into(),
                partition: 0,
                offset,
                timestamp_ms: Some(1_700_000_000_000 + offset * 1_000),
                timestamp_type: TimestampType::Create,
                key: Some(b"k".to_vec()),
                value: Some(json!({ "n": offset }).to_string().into_bytes()),
                ..Event::default()
            });
        }
        writer.write(&batch.finish()).unwrap();
        writer.seal().unwrap();
        let tries = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/isolation/tries.pl");
        fs::copy(tries, folder.path().join("tries.pl")).unwrap();
        let mut program = PathBuf::from(env!("CARGO_BIN_EXE_rehearsal"));
        if user == User::Ordinary {
            // Where the tests are built, others may not look.
            let copy = folder.path().join("rehearsal");
            own(folder.path());
            // Last: what is linked is the program itself, and stays whose it is.
            fs::hard_link(&program, &copy).or_else(|_| fs::copy(&program, &copy).map(drop)).unwrap();
            program = copy;
        }
        Self { folder, user, program }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn rehearsal(&self, arguments: &[&str], without: &str) -> Output {
        let mut command = self.user.command(&self.program);
        command.current_dir(self.path()).env(WITHOUT, without).args(arguments).output().unwrap()
    }

    /// Drives `command`, with `set` as under `[drive]`, and without some layers.
    fn drive(&self, name: &str, command: &[&str], set: &[&str], without: &str) -> Driven {
        let set: Vec<String> = set.iter().map(|set| format!("drive.{set}")).collect();
        let mut arguments = vec!["replay", "orders", "--out", name, "--set", "drive.payload=value"];
        for set in &set {
            arguments.extend(["--set", set]);
        }
        arguments.push("--");
        arguments.extend(command);
        let output = self.rehearsal(&arguments, without);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let outcome = Outcome::open(self.path().join(name)).unwrap_or_else(|error| panic!("{error}\n{said}"));
        Driven { dir: self.path().join(name).join("dir"), outcome, said }
    }

    /// Drives the build that tries what `asked` says.
    fn tries(&self, name: &str, asked: &[&str], set: &[&str], without: &str) -> Driven {
        let mut command = vec!["perl", "tries.pl", "{dir}/tries.json"];
        command.extend(asked);
        let driven = self.drive(name, &command, set, without);
        assert_eq!(driven.outcome.ending().ending, Ending::Finished, "{}", driven.said);
        assert_eq!(driven.outcome.ending().outputs, Some(3));
        driven
    }

    /// What the drives of this user are granted here.
    fn granted(&self) -> Isolation {
        self.drive("granted", &["cat"], &[], "").isolation().clone()
    }
}

/// Gives a folder and all in it to an ordinary user.
fn own(path: &Path) {
    if !is_root() {
        return;
    }
    chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            own(&entry.unwrap().path());
        }
    }
}

struct Driven {
    dir: PathBuf,
    outcome: Outcome,
    said: String,
}

impl Driven {
    fn isolation(&self) -> &Isolation {
        self.outcome.ending().isolation.as_ref().unwrap()
    }

    fn found(&self) -> Json {
        let text = fs::read_to_string(self.dir.join("tries.json"));
        serde_json::from_str(&text.unwrap_or_else(|error| panic!("{error}: {}", self.said))).unwrap()
    }

    fn attempts(&self, kind: AttemptKind) -> Vec<&str> {
        let all = self.isolation().attempts.iter().filter(|attempt| attempt.kind == kind);
        all.map(|attempt| attempt.target.as_str()).collect()
    }

    fn enforces(&self, layer: Layer) -> bool {
        self.isolation().enforces(layer)
    }

    fn reason(&self, layer: Layer) -> &str {
        &self.isolation().layers.iter().find(|state| state.layer == layer).unwrap().reason
    }
}

/// A folder that builds of any user see: not below the machine's temporary folders, nor below one that root keeps to itself.
fn seen_by_all() -> TempDir {
    let home = std::env::var("HOME").unwrap_or_default();
    let is_open = |folder: &Path| {
        let may_pass = |above: &Path| fs::metadata(above).is_ok_and(|about| !is_root() || about.mode() & 0o1 == 1);
        !folder.starts_with("/tmp") && !folder.starts_with("/var/tmp") && folder.ancestors().all(may_pass)
    };
    let folders = [env!("CARGO_TARGET_TMPDIR"), &*home, "/srv", "/opt", "/var/lib"].map(Path::new);
    let mut made = folders.into_iter().filter(|folder| is_open(folder)).filter_map(|at| tempfile::tempdir_in(at).ok());
    made.next().expect("there is no folder that builds see")
}

/// Somebody outside: a server that answers lines, a socket of datagrams, a Unix socket that answers, a folder that is writable.
struct Outside {
    folder: TempDir,
    tcp: String,
    udp: UdpSocket,
}

impl Outside {
    fn new() -> Self {
        let folder = seen_by_all();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let tcp = listener.local_addr().unwrap().to_string();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let mut line = [0; 6];
                if stream.read_exact(&mut line).is_ok() {
                    let _ = stream.write_all(b"served\n");
                }
            }
        });
        let sockets = UnixListener::bind(folder.path().join("socket")).unwrap();
        fs::set_permissions(folder.path().join("socket"), fs::Permissions::from_mode(0o777)).unwrap();
        thread::spawn(move || {
            for stream in sockets.incoming() {
                let Ok(mut stream) = stream else { return };
                let _ = stream.write_all(b"here\n");
            }
        });
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        udp.set_nonblocking(true).unwrap();
        Self { folder, tcp, udp }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_string_lossy().into_owned()
    }
}

#[test]
fn whatever_tries_to_leave_is_refused_and_reported() {
    for user in User::all() {
        let (desk, outside) = (Desk::new(user), Outside::new());
        let (socket, file) = (outside.path("socket"), outside.path("file"));
        let asked = ["tcp", "203.0.113.9:443", "udp", "203.0.113.9:8125", "name", "api.pay.example"];
        let asked = [&asked[..], &["socket", &socket, "write", &file, "processes", "1"]].concat();
        let driven = desk.tries("tried", &asked, &[], "");
        let found = driven.found();
        if driven.enforces(Layer::Network) {
            assert_eq!(found["tcp"], "Network is unreachable", "{user:?}");
            assert_eq!(found["udp"], "No route to host", "{user:?}");
        }
        if driven.enforces(Layer::Attempts) {
            assert_eq!(driven.attempts(AttemptKind::Tcp), ["203.0.113.9:443"], "{user:?}");
            assert_eq!(driven.attempts(AttemptKind::Udp), ["203.0.113.9:8125"], "{user:?}");
        }
        if driven.enforces(Layer::Names) {
            assert_eq!(found["name"], "unknown", "{user:?}");
            assert_eq!(driven.attempts(AttemptKind::Name), ["api.pay.example"], "{user:?}");
        }
        if driven.enforces(Layer::Sockets) {
            assert_eq!(found["socket"], "closed", "{user:?}");
            assert_eq!(driven.attempts(AttemptKind::Socket), [&*socket], "{user:?}");
        }
        if driven.enforces(Layer::Writes) {
            assert_eq!(found["write"], "Permission denied", "{user:?}");
            assert!(!Path::new(&file).exists());
        }
        if driven.enforces(Layer::Processes) {
            // The keeper, the build, and nobody else.
            assert_eq!(found["processes"], "2", "{user:?}");
        }
    }
}

#[test]
fn of_the_machines_temporary_folders_what_is_seen_is_not_written() {
    for user in User::all() {
        let desk = Desk::new(user);
        if !desk.granted().enforces(Layer::Temporary) || !desk.path().starts_with("/tmp") {
            return;
        }
        // The build's own folder, and what another drive left there.
        let (file, other) = (desk.path().join("file"), desk.path().join("granted/dir/file"));
        let cache = desk.path().join("cache");
        fs::create_dir_all(other.parent().unwrap()).unwrap();
        fs::create_dir(&cache).unwrap();
        own(desk.path());
        for (name, path) in [("own", &file), ("other", &other)] {
            let driven = desk.tries(name, &["write", &path.to_string_lossy(), "fixed", "/tmp/lock"], &[], "");
            let found = driven.found();
            assert_eq!(
                (&found["write"], &found["fixed"]),
                (&json!("Read-only file system"), &json!("made")),
                "{user:?}"
            );
            assert!(!path.exists(), "{user:?}");
        }
        let file = cache.join("file");
        let asked = ["write", &*file.to_string_lossy()];
        assert_eq!(desk.tries("refused", &asked, &[], "").found()["write"], "Read-only file system", "{user:?}");
        assert_eq!(desk.tries("let", &asked, &["writable=['cache']"], "").found()["write"], "written", "{user:?}");
        fs::remove_file(&file).unwrap();
        assert_eq!(desk.tries("left-out", &asked, &[], "writes").found()["write"], "written", "{user:?}");
    }
}

#[test]
fn each_layer_that_is_left_out_is_reported_so_and_lets_through() {
    for user in User::all() {
        let (desk, outside) = (Desk::new(user), Outside::new());
        let granted = desk.granted();
        let (socket, file, udp) =
            (outside.path("socket"), outside.path("file"), outside.udp.local_addr().unwrap().to_string());
        let shared = format!("/tmp/rehearsal-left-out-{}", std::process::id());
        let asked =
            ["tcp", &outside.tcp, "udp", &udp, "socket", &socket, "write", &file, "fixed", &shared, "processes", "1"];
        for (layer, try_of, through) in [
            (Layer::Network, "tcp", "connected served\n"),
            (Layer::Sockets, "socket", "served here\n"),
            (Layer::Writes, "write", "written"),
        ] {
            // Connections are refused by port instead, unless that is left out, too.
            let without = if layer == Layer::Network { "network,attempts,names,writes" } else { layer.name() };
            let driven = desk.tries(&format!("without-{}", layer.name()), &asked, &[], without);
            assert!(!driven.enforces(layer));
            assert!(driven.reason(layer).contains("left out"), "{}", driven.reason(layer));
            let found = driven.found();
            assert_eq!(found[try_of].as_str().unwrap().trim(), through.trim(), "{user:?} {layer:?}");
            for state in granted.layers.iter().filter(|state| state.enforced && !without.contains(state.layer.name())) {
                let reason = driven.reason(state.layer);
                assert!(driven.enforces(state.layer), "{user:?} {:?} without {layer:?}: {reason}", state.layer);
            }
        }
        let mut heard = [0; 5];
        assert!(outside.udp.recv(&mut heard).is_ok_and(|length| &heard[..length] == b"hello"), "it was sent outside");
        if granted.enforces(Layer::Temporary) {
            let driven = desk.tries("with-temporary", &asked, &[], "");
            assert_eq!((driven.found()["fixed"].as_str(), Path::new(&shared).is_dir()), (Some("made"), false));
        }
        // Where the system grants no temporary folders of their own, drives without `writes` have made it already.
        let _ = fs::remove_dir(&shared);
        let driven = desk.tries("without-temporary", &asked, &[], "temporary,writes");
        assert_eq!((driven.found()["fixed"].as_str(), Path::new(&shared).is_dir()), (Some("made"), true));
        assert!(driven.reason(Layer::Temporary).contains("left out"), "{}", driven.reason(Layer::Temporary));
        fs::remove_dir(&shared).unwrap();
        let driven = desk.tries("without-processes", &asked, &[], "processes");
        let seen: u32 = driven.found()["processes"].as_str().unwrap().parse().unwrap();
        assert!(!driven.enforces(Layer::Processes) && seen > 2, "{seen}");
        let driven = desk.tries("without-names", &["name", "localhost"], &[], "names,attempts");
        assert!(!driven.enforces(Layer::Names) && !driven.enforces(Layer::Attempts));
    }
}

#[test]
fn without_a_network_of_its_own_connections_are_refused_by_port() {
    let (desk, outside) = (Desk::new(User::Same), Outside::new());
    let driven = desk.tries("by-port", &["tcp", &outside.tcp], &[], "network");
    assert!(!driven.enforces(Layer::Network));
    if driven.reason(Layer::Network).contains("by port") {
        assert_eq!(driven.found()["tcp"], "Permission denied");
        assert_eq!(driven.attempts(AttemptKind::Tcp), [&*outside.tcp]);
        let allow = format!("allow=['{}']", outside.tcp);
        let driven = desk.tries("by-port-allowed", &["tcp", &outside.tcp], &[&allow], "network");
        assert_eq!(driven.found()["tcp"].as_str().unwrap().trim(), "connected served");
        assert_eq!(driven.attempts(AttemptKind::Tcp), [""; 0]);
    }
}

#[test]
fn without_a_device_it_is_seen_by_their_calls_what_builds_ask_to_reach() {
    for user in User::all() {
        let (mut desk, outside) = (Desk::new(user), Outside::new());
        if !desk.granted().enforces(Layer::Network) {
            return;
        }
        let script = desk.path().join("deviceless");
        let text = format!(
            "#!/bin/sh\nexec unshare --user --map-root-user --mount sh -c \
             '[ ! -e /dev/net/tun ] || mount --bind /dev/null /dev/net/tun; exec \"$0\" \"$@\"' {} \"$@\"\n",
            desk.program.display()
        );
        fs::write(&script, text).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        desk.program = script;
        let asked = ["tcp", "203.0.113.9:443", "udp", "203.0.113.9:8125", "name", "api.pay.example"];
        let driven = desk.tries("deviceless-here", &asked, &["isolation=required"], "");
        assert!(!driven.enforces(Layer::Attempts), "{user:?}");
        let reason = driven.reason(Layer::Attempts);
        assert!(reason.contains("/dev/net/tun") && reason.contains("`connect`"), "{user:?}: {reason}");
        assert_eq!(driven.attempts(AttemptKind::Tcp), ["203.0.113.9:443"], "{user:?}");
        assert_eq!(driven.attempts(AttemptKind::Udp), ["203.0.113.9:8125"], "{user:?}");
        assert_eq!(driven.attempts(AttemptKind::Name), ["api.pay.example"], "{user:?}");
        assert_eq!(
            (&driven.found()["tcp"], &driven.found()["udp"]),
            (&json!("Network is unreachable"), &json!("Network is unreachable"))
        );
        // What leads somewhere is no attempt, from whatever thread.
        let allow = format!("allow=['{}']", outside.tcp);
        let (host, port) = outside.tcp.rsplit_once(':').unwrap();
        let threads = format!(
            "import socket, sys, threading\ndef ask(port):\n    try: socket.create_connection(('{host}', port))\n    except OSError: pass\n\
             def send():\n    try: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'a', ('203.0.113.9', 53))\n    except OSError: pass\n\
             all = [threading.Thread(target=ask, args=({port},)), threading.Thread(target=send)]\n\
             for one in all: one.start()\nfor one in all: one.join()\nsys.stdout.write(sys.stdin.read())"
        );
        let driven = desk.drive("threads", &["python3", "-c", &threads], &[&allow], "");
        assert_eq!(driven.outcome.ending().outputs, Some(3), "{}", driven.said);
        assert_eq!(driven.attempts(AttemptKind::Tcp), [""; 0], "{user:?}");
        assert_eq!(driven.attempts(AttemptKind::Udp), ["203.0.113.9:53"], "{user:?}");
        assert_eq!(driven.isolation().allowed[0].connections, 1);
        // Who leaves the layer out wants nothing looked at.
        let driven = desk.tries("left-out", &asked, &[], "attempts");
        assert!(driven.attempts(AttemptKind::Tcp).is_empty() && driven.reason(Layer::Attempts).ends_with("_LAYERS`)"));
    }
}

#[test]
fn what_is_allowed_is_let_through_and_counted() {
    for user in User::all() {
        let (desk, outside) = (Desk::new(user), Outside::new());
        if !desk.granted().enforces(Layer::Network) {
            return;
        }
        let port = outside.tcp.rsplit_once(':').unwrap().1;
        for host in ["127.0.0.1", "localhost"] {
            let address = format!("{host}:{port}");
            let allow = format!("allow=['{address}']");
            let driven = desk.tries(host, &["tcp", &address], &[&allow], "");
            assert_eq!(driven.found()["tcp"].as_str().unwrap().trim(), "connected served", "{user:?}");
            let allowed = &driven.isolation().allowed[0];
            assert_eq!((&*allowed.address, allowed.connections, allowed.failed), (&*address, 1, 0));
            assert_eq!((allowed.bytes_out, allowed.bytes_in), (6, 7));
        }
        let driven = desk.tries(
            "writable",
            &["write", &outside.path("file")],
            &[&format!("writable=['{}']", outside.folder.path().display())],
            "",
        );
        assert_eq!(driven.found()["write"], "written", "{user:?}");
        // Who answers at a socket there acts outside of the drive.
        let reason = driven.reason(Layer::Sockets);
        let told = reason.contains(&format!("{} let through to", outside.path("socket")));
        assert!(driven.enforces(Layer::Sockets) && told, "{reason}");
        let without = desk.tries("without", &["write", &outside.path("file")], &[], "");
        assert!(!without.reason(Layer::Sockets).contains("let through"), "{}", without.reason(Layer::Sockets));
    }
}

#[test]
fn a_build_ends_as_it_would_without() {
    let desk = Desk::new(User::Same);
    for (name, script, code, signal) in [
        ("code", "exit 7", Some(7), None),
        ("killed", "kill -KILL $$", None, Some(9)),
        ("ended", "kill -TERM $$", None, Some(15)),
        ("crashed", "kill -SEGV $$", None, Some(11)),
    ] {
        let driven = desk.drive(name, &["sh", "-c", script], &[], "");
        let ending = driven.outcome.ending();
        assert_eq!((ending.exit_code, ending.signal), (code, signal), "{name}: {}", driven.said);
    }
    let odd = desk.path().join("odd");
    fs::write(&odd, "#!/nobody/has/this\n").unwrap();
    fs::set_permissions(&odd, fs::Permissions::from_mode(0o755)).unwrap();
    let missing = desk.rehearsal(&["replay", "orders", "--out", "missing", "--", "./odd"], "");
    let said = String::from_utf8_lossy(&missing.stderr).into_owned();
    assert!(said.contains("could not start the build") && said.contains("No such file"), "{said}");
    // It is asked to stop, not just the one who started it.
    let script = "trap 'echo asked >{dir}/asked; exit 0' TERM; exec 0<&-; while :; do sleep 0.05; done";
    let driven = desk.drive("asked", &["sh", "-c", script], &["drain-timeout=300ms"], "");
    assert_eq!(driven.outcome.ending().ending, Ending::StoppedReading, "{}", driven.said);
    assert_eq!(fs::read_to_string(driven.dir.join("asked")).unwrap(), "asked\n");
}

#[test]
fn two_drives_have_the_same_port_and_the_same_temporary_folder() {
    for user in User::all() {
        let desk = Desk::new(user);
        let granted = desk.granted();
        if !granted.enforces(Layer::Network) || !granted.enforces(Layer::Temporary) {
            return;
        }
        let folder = format!("/tmp/rehearsal-fixed-{}", std::process::id());
        let build =
            format!("command = ['perl', 'tries.pl', '{{dir}}/tries.json', 'listen', '8080', 'fixed', '{folder}']");
        let text = format!(
            "recording = 'orders'\n[old]\n{build}\n[new]\n{build}\n[drive]\npayload = 'value'\nsettle = '50ms'\n\
             [pace]\nmode = 'unpaced'\n[compare]\nidentity = ['$.n']\n"
        );
        fs::write(desk.path().join("scenario.toml"), text).unwrap();
        let ran = desk.rehearsal(&["run", "scenario.toml", "--out", "run", "--json"], "");
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert_eq!(ran.status.code(), Some(0), "{said}");
        for drive in ["old", "old-again", "new"] {
            let tries = desk.path().join("run/outcomes").join(drive).join("dir/tries.json");
            let found: Json = serde_json::from_str(&fs::read_to_string(tries).unwrap()).unwrap();
            assert_eq!((&found["listen"], &found["fixed"]), (&json!("listens"), &json!("made")), "{user:?} {drive}");
        }
        assert!(!Path::new(&folder).exists());
        let report: Json = serde_json::from_slice(&ran.stdout).unwrap();
        assert_eq!(report["isolation"]["new"]["layers"][0], json!({ "layer": "network", "enforced": true }));
    }
}

#[test]
fn required_takes_no_drive_place_without_a_layer() {
    let desk = Desk::new(User::Same);
    let arguments = ["replay", "orders", "--out", "no", "--set", "drive.isolation=required", "--", "cat"];
    let refused = desk.rehearsal(&arguments, "processes");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(3), "{said}");
    assert!(said.contains("processes (left out"), "{said}");
    assert!(!desk.path().join("no").exists(), "nothing is left of it");
    // Whatever else would keep it from taking place.
    let mut named = vec!["replay", "orders", "--out", "no", "--set", "drive.hosts={ 'flags.prod:80' = 'registry' }"];
    named.extend(&arguments[4..]);
    let refused = desk.rehearsal(&named, "network");
    assert_eq!(refused.status.code(), Some(3), "{}", String::from_utf8_lossy(&refused.stderr));
    if desk.granted().missing().next().is_none() {
        let taken = desk.rehearsal(&arguments, "");
        assert_eq!(taken.status.code(), Some(0), "{}", String::from_utf8_lossy(&taken.stderr));
    }
    let off = desk.drive("off", &["cat"], &["isolation=off"], "");
    assert!(off.isolation().layers.iter().all(|state| !state.enforced && state.reason.contains("off")));
}

#[test]
fn nothing_that_a_build_leaves_behind_outlives_its_drive() {
    let desk = Desk::new(User::Same);
    // A daemon as they are made: away from its group, its parents, its pipes and its environment.
    let script = "setsid env -i /bin/sh -c 'exec >/dev/null 2>&1 </dev/null; echo $$ >{dir}/inside; \
                  exec -a rehearsal-left-behind-$PPID sleep 1000' & sleep 0.2; cat";
    let driven =
        desk.drive("daemon", &["bash", "-c", &script.replace("$PPID", &std::process::id().to_string())], &[], "");
    assert_eq!(driven.outcome.ending().outputs, Some(3), "{}", driven.said);
    assert!(driven.dir.join("inside").exists());
    let name = format!("rehearsal-left-behind-{}", std::process::id());
    let left = fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter(|process| fs::read(process.path().join("cmdline")).is_ok_and(|text| text.starts_with(name.as_bytes())));
    assert_eq!(left.count(), 0);
}

/// A drive that goes on until its build is let go, by a file `go` in the drive's folder; killed where the test ends ahead of it.
struct Going {
    process: Child,
    /// What its build and the daemon that this left are called.
    name: String,
    dir: PathBuf,
}

impl Going {
    /// Starts one, which is let go on for ten seconds; returns once build and daemon run.
    fn start(desk: &Desk, out: &str) -> Self {
        let name = format!("rehearsal-going-{}-{out}-{:?}", std::process::id(), desk.user);
        let script = format!(
            "setsid env -i bash -c 'exec -a {name} sleep 1000' >/dev/null 2>&1 </dev/null & cat\n\
             exec -a {name} bash -c 'until [ -e {{dir}}/go ]; do sleep 0.02; done'"
        );
        let mut command = desk.user.command(&desk.program);
        command.current_dir(desk.path()).args(["replay", "orders", "--out", out, "--set", "drive.payload=value"]);
        command.args(["--set", "drive.drain-timeout=10s", "--", "bash", "-c", &script]);
        let process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let going = Self { process, name, dir: desk.path().join(out).join("dir") };
        going.wait_until(|going| going.left() == 2);
        going
    }

    /// Processes of it that are there.
    fn left(&self) -> usize {
        processes().filter(|(_, words)| words.starts_with(&self.name)).count()
    }

    /// Its launcher that plays `part`.
    fn launcher(&self, part: &str) -> u32 {
        let word = format!("--as-launcher-of-a-drive\0{part}\0");
        let ours = |number: u32| number == self.process.id() || parent(number) == Some(self.process.id());
        let mut found =
            processes().filter(|(number, words)| words.contains(&word) && parent(*number).is_some_and(ours));
        found.next().unwrap_or_else(|| panic!("there is no {part}")).0
    }

    fn wait_until(&self, done: impl Fn(&Self) -> bool) {
        let clock = SystemClock::start();
        while !done(self) {
            assert!(clock.now() < Duration::from_secs(60), "{} of {} are left", self.left(), self.name);
            thread::yield_now();
        }
    }
}

impl Drop for Going {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Processes of this machine with their command lines, words ended by a zero byte each.
fn processes() -> impl Iterator<Item = (u32, String)> {
    fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
        let number = entry.file_name().to_str()?.parse().ok()?;
        Some((number, String::from_utf8_lossy(&fs::read(entry.path().join("cmdline")).ok()?).into_owned()))
    })
}

fn parent(number: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{number}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

#[test]
fn where_the_program_is_killed_all_of_its_builds_end_with_it() {
    for user in User::all() {
        let desk = Desk::new(user);
        if !desk.granted().enforces(Layer::Processes) {
            return;
        }
        let mut going = Going::start(&desk, "killed");
        going.process.kill().unwrap();
        going.process.wait().unwrap();
        going.wait_until(|going| going.left() == 0);
    }
}

#[test]
fn where_a_launcher_is_killed_the_drive_ends_or_goes_on_and_nothing_is_left() {
    let desk = Desk::new(User::Same);
    if !desk.granted().enforces(Layer::Processes) {
        return;
    }
    for (part, ending, signal) in
        [("keeper", Ending::Died, Some(9)), ("starter", Ending::Died, Some(9)), ("maker", Ending::Finished, None)]
    {
        let mut going = Going::start(&desk, part);
        let number = going.launcher(part).to_string();
        assert!(Command::new("kill").args(["-KILL", &number]).status().unwrap().success());
        if ending == Ending::Finished {
            fs::write(going.dir.join("go"), "").unwrap();
        }
        going.process.wait().unwrap();
        let outcome = Outcome::open(desk.path().join(part)).unwrap();
        assert_eq!(
            (outcome.ending().ending, outcome.ending().signal),
            (ending, signal),
            "{part}: {:?}",
            outcome.ending()
        );
        // A build without its starter still holds what the drive reads from, and is ended with it. Whom nobody waits for any more ends a
        // moment later.
        going.wait_until(|going| going.left() == 0);
    }
}

#[test]
fn a_build_with_the_hosts_of_production_runs_on_the_stage() {
    for user in User::all() {
        let desk = Desk::new(user);
        if !desk.granted().enforces(Layer::Network) {
            let refused = desk.rehearsal(
                &[
                    "replay",
                    "orders",
                    "--out",
                    "hosts",
                    "--set",
                    "drive.transport=kafka",
                    "--set",
                    "drive.outputs=['a']",
                    "--set",
                    "drive.hosts={'kafka.prod:9092'='stage'}",
                    "--",
                    "cat",
                ],
                "",
            );
            assert_eq!(refused.status.code(), Some(4), "{}", String::from_utf8_lossy(&refused.stderr));
            continue;
        }
        let flights = desk.path().join("flights");
        rehearsal::samples::unpack_flights(&flights).unwrap();
        if user == User::Ordinary {
            own(&flights);
        }
        // Nothing of the drive's stands in its settings: they are those of production.
        let build =
            "command = ['{rehearsal}', 'sample', 'refunds-old']\nenv = { KAFKA_BOOTSTRAP_SERVERS = 'kafka.prod:9092' }";
        let text = format!(
            "recording = 'flights'\n[select]\nfrom = '2013-01-30T00:00:00Z'\nto = '2013-02-01T00:00:00Z'\n[pace]\nmode = 'unpaced'\n\
             [old]\n{build}\n[new]\n{build}\n[drive]\ntransport = 'kafka'\noutputs = ['refunds']\nsettle = '200ms'\n\
             hosts = {{ 'kafka.prod:9092' = 'stage' }}\n[compare]\nidentity = ['$.refund_id']\n"
        );
        fs::write(desk.path().join("scenario.toml"), text).unwrap();
        let ran = desk.rehearsal(&["run", "scenario.toml", "--out", "run", "--json"], "");
        assert_eq!(ran.status.code(), Some(0), "{user:?}: {}", String::from_utf8_lossy(&ran.stderr));
        let report: Json = serde_json::from_slice(&ran.stdout).unwrap();
        assert!(report["outputs"]["new"].as_u64().unwrap() > 0, "{}", report["outputs"]);
        assert_eq!(report["isolation"]["new"]["attempts"], json!([]));
    }
}

#[test]
fn a_build_with_the_address_of_productions_bank_calls_the_stub() {
    let desk = Desk::new(User::Same);
    if !desk.granted().enforces(Layer::Network) {
        return;
    }
    rehearsal::samples::unpack_flights(&desk.path().join("flights")).unwrap();
    let build = "command = ['{rehearsal}', 'sample', 'payments-old']\nenv = { BANK = 'http://api.pay.example:80' }";
    let text = format!(
        "recording = 'flights'\n[select]\nfrom = '2013-01-31T00:00:00Z'\nto = '2013-02-01T00:00:00Z'\n[pace]\nmode = 'unpaced'\n\
         [[effect]]\nname = 'bank'\n[[effect.rules]]\nmethod = 'POST'\npath = '/v1/refunds'\nstatus = 201\nbody = {{ id = 're' }}\n\
         [old]\n{build}\n[new]\n{build}\n[drive]\nsettle = '50ms'\nhosts = {{ 'api.pay.example:80' = 'effects.bank' }}\n"
    );
    fs::write(desk.path().join("scenario.toml"), &text).unwrap();
    let ran = desk.rehearsal(&["run", "scenario.toml", "--out", "run", "--json"], "");
    assert_eq!(ran.status.code(), Some(0), "{}", String::from_utf8_lossy(&ran.stderr));
    let outputs = Outcome::open(desk.path().join("run/outcomes/new")).unwrap().ending().effects["bank"].clone();
    assert!(serde_json::to_value(outputs).unwrap()["calls"].as_u64().unwrap() > 0);
    // What nothing serves is no name for a stub.
    fs::write(desk.path().join("nobody.toml"), text.replace("effects.bank'", "effects.nobody'")).unwrap();
    let refused = desk.rehearsal(&["run", "nobody.toml", "--out", "nobody"], "");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(2) && said.contains("nothing serves `effects.nobody`"), "{said}");
}

#[test]
fn drives_that_reach_the_same_address_may_share_state_and_say_nothing_of_idempotency() {
    let (desk, outside) = (Desk::new(User::Same), Outside::new());
    if !desk.granted().enforces(Layer::Network) {
        return;
    }
    let build = format!("command = ['perl', 'tries.pl', '{{dir}}/tries.json', 'tcp', '{}']", outside.tcp);
    for (shared, code) in [("false", 3), ("true", 0)] {
        let text = format!(
            "recording = 'orders'\n[[fault]]\nkind = 'duplicate'\nprobability = 1.0\n[old]\n{build}\n[new]\n{build}\n[drive]\n\
             payload = 'value'\nsettle = '50ms'\nallow = ['{}']\nshared = {shared}\n[pace]\nmode = 'unpaced'\n[compare]\n\
             identity = ['$.n']\n",
            outside.tcp
        );
        fs::write(desk.path().join("scenario.toml"), text).unwrap();
        let ran = desk.rehearsal(&["run", "scenario.toml", "--out", &format!("shared-{shared}"), "--json"], "");
        let report: Json = serde_json::from_slice(&ran.stdout).unwrap();
        assert_eq!(ran.status.code(), Some(code), "{:#}", report["reasons"]);
        let reasons = report["reasons"].to_string();
        assert_eq!(reasons.contains("idempotency cannot be judged"), code == 3, "{reasons}");
        assert_eq!(report["isolation"]["old"]["allowed"][0]["shared"], json!(code == 0));
    }
}

/// Runs a scenario as it stands, which must agree; returns its report.
fn agree(desk: &Desk, scenario: &str) -> Json {
    fs::write(desk.path().join("scenario.toml"), scenario).unwrap();
    let ran = desk.rehearsal(&["run", "scenario.toml", "--out", "run", "--json"], "");
    assert_eq!(ran.status.code(), Some(0), "{}", String::from_utf8_lossy(&ran.stderr));
    serde_json::from_slice(&ran.stdout).unwrap()
}

#[test]
fn builds_on_one_port_are_posted_their_events_side_by_side() {
    let desk = Desk::new(User::Same);
    if !desk.granted().enforces(Layer::Network) {
        return;
    }
    let server = r#"
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_): pass
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
ThreadingHTTPServer(("127.0.0.1", 8080), Handler).serve_forever()
"#;
    fs::write(desk.path().join("server.py"), server).unwrap();
    let build = "command = ['python3', 'server.py']";
    let report = agree(
        &desk,
        &format!(
            "recording = 'orders'\n[old]\n{build}\n[new]\n{build}\n[drive]\ntransport = 'http'\nurl = 'http://127.0.0.1:8080/events'\n\
             settle = '50ms'\n[pace]\nmode = 'unpaced'\n[compare]\nidentity = ['$.n']\n"
        ),
    );
    assert_eq!(report["outputs"], json!({ "new": 3, "old": 3, "old_again": 3 }));
    assert_eq!(report["isolation"]["new"]["layers"][0], json!({ "layer": "network", "enforced": true }));
}

#[test]
fn commands_beside_a_build_reach_what_serves_it_and_it_reaches_what_they_serve() {
    let desk = Desk::new(User::Same);
    if !desk.granted().enforces(Layer::Network) {
        return;
    }
    let server = "setsid python3 -c 'import socket; s = socket.create_server((\"127.0.0.1\", {port.db})); open(\"{dir}/up\", \"w\").write(\"up\"); \
                  [s.accept()[0].sendall(b\"served\") for _ in range(9)]' & until [ -s {dir}/up ]; do :; done";
    let asks = "import urllib.request as r; r.urlopen(\"{effects.bank}/v1/rates\").read(); r.urlopen(\"{registry}/subjects\").read()";
    let client = "import socket, sys; sys.stdin.read(); print(socket.create_connection((\"127.0.0.1\", {port.db})).recv(9).decode())";
    let build = format!(
        "command = ['python3', '-c', \'\'\'{client}\'\'\']\nprepare = [['sh', '-c', \'\'\'{server}\'\'\'], ['python3', '-c', \'\'\'{asks}\'\'\']]"
    );
    let report = agree(
        &desk,
        &format!(
            "recording = 'orders'\n[old]\n{build}\n[new]\n{build}\n[drive]\npayload = 'value'\nsettle = '50ms'\n[pace]\nmode = 'unpaced'\n\
             [[effect]]\nname = 'bank'\n[[effect.rules]]\npath = '/v1/rates'\nstatus = 200\nbody = 'rates'\n"
        ),
    );
    for drive in ["old", "old-again", "new"] {
        let outcome = Outcome::open(desk.path().join("run/outcomes").join(drive)).unwrap();
        let ending = outcome.ending();
        assert_eq!((ending.effects["bank"].calls, ending.registry.as_ref().unwrap().requests), (1, 1), "{drive}");
        // Its own server is no state that drives share.
        assert!(ending.isolation.as_ref().unwrap().allowed.is_empty(), "{drive}");
    }
    assert_eq!(report["outputs"]["new"], json!(1), "what it was served: the call came ahead of the schedule");
}

/// Rehearses a build in Python, `build`, beside which `prepare` starts `beside`; both are told the port `{port.own}` by the environment
/// alone, as `PORT`, and the drive's folder as their argument.
fn agree_beside(desk: &Desk, build: &str, beside: &str) -> Json {
    let words = "import os, socket, sys, time\nport, folder = int(os.environ['PORT']), sys.argv[1]\n\
                 def ask():\n    while True:\n        try: return socket.create_connection(('127.0.0.1', port)).recv(9).decode()\n        \
                 except ConnectionRefusedError: time.sleep(0.01)\n";
    fs::write(desk.path().join("build.py"), format!("{words}{build}")).unwrap();
    fs::write(desk.path().join("beside.py"), format!("{words}{beside}")).unwrap();
    let both = "command = ['python3', 'build.py', '{dir}']\nenv = { PORT = '{port.own}' }\n\
                prepare = [['sh', '-c', 'setsid python3 beside.py {dir} >/dev/null 2>&1 &']]";
    agree(
        desk,
        &format!(
            "recording = 'orders'\n[old]\n{both}\n[new]\n{both}\n[drive]\npayload = 'value'\nsettle = '50ms'\ndrain-timeout = '40s'\n\
             [pace]\nmode = 'unpaced'\n"
        ),
    )
}

#[test]
fn a_server_that_listens_only_behind_the_builds_start_keeps_its_port() {
    let desk = Desk::new(User::Same);
    if !desk.granted().enforces(Layer::Network) {
        return;
    }
    let build = "sys.stdin.read()\nopen(folder + '/started', 'w').close()\nprint(ask())\n";
    let beside = "while not os.path.exists(folder + '/started'): time.sleep(0.01)\n\
                  server = socket.create_server(('127.0.0.1', port))\nwhile True: server.accept()[0].sendall(b'served')\n";
    let report = agree_beside(&desk, build, beside);
    assert_eq!(report["outputs"], json!({ "new": 1, "old": 1, "old_again": 1 }), "{:#}", report["drives"]);
}

#[test]
fn a_build_that_listens_is_reached_from_beside_it() {
    let desk = Desk::new(User::Same);
    if !desk.granted().enforces(Layer::Network) {
        return;
    }
    let build = "server = socket.create_server(('127.0.0.1', port))\nserver.accept()[0].sendall(b'own')\n\
                 while not os.path.exists(folder + '/told'): time.sleep(0.01)\n\
                 sys.stdin.read()\nprint(open(folder + '/told').read())\n";
    let beside = "told = open(folder + '/part', 'w')\ntold.write(ask())\ntold.close()\nos.rename(folder + '/part', folder + '/told')\n";
    let report = agree_beside(&desk, build, beside);
    assert_eq!(report["outputs"], json!({ "new": 1, "old": 1, "old_again": 1 }), "{:#}", report["drives"]);
}

/// Whether the system grants `user` namespaces, asked by another program than this one.
fn namespaces_are_granted(user: User) -> bool {
    let mut command = user.command(Path::new("unshare"));
    command.args(["--user", "--map-root-user", "--net", "--mount", "--ipc", "--pid", "--fork", "true"]);
    command.output().is_ok_and(|output| output.status.success())
}

/// Layers that `user` must have here, as other programs than this one find: namespaces, Landlock, a device.
fn due(user: User) -> Vec<Layer> {
    let can = |script: &str| {
        let mut command = user.command(Path::new("sh"));
        command.args(["-c", script]).output().is_ok_and(|output| output.status.success())
    };
    let mut due = Vec::new();
    if namespaces_are_granted(user) {
        due.extend([Layer::Network, Layer::Names, Layer::Sockets, Layer::Temporary, Layer::Processes]);
        due.extend(can(": <>/dev/net/tun").then_some(Layer::Attempts));
    }
    // `landlock_create_ruleset`, asked for its version.
    due.extend(can("perl -e 'exit(syscall(444, 0, 0, 1) > 0 ? 0 : 1)'").then_some(Layer::Writes));
    due
}

#[test]
fn what_the_system_grants_is_enforced_and_what_it_does_not_is_told() {
    for user in User::all() {
        let desk = Desk::new(user);
        let (isolation, due) = (desk.granted(), due(user));
        let required = std::env::var_os("REHEARSAL_ISOLATION").is_some_and(|value| value == "required");
        assert!(due.contains(&Layer::Network) || !required, "{user:?} has no user namespaces here");
        for state in &isolation.layers {
            assert!(state.enforced || !due.contains(&state.layer), "{user:?} {:?}: {}", state.layer, state.reason);
            if !state.enforced {
                assert!(!state.reason.is_empty());
                // Past what captures the output of tests: what is left out must be seen.
                let (layer, reason, mut stderr) = (state.layer.name(), &state.reason, std::io::stderr());
                let _ = writeln!(stderr, "LEFT OUT: {user:?} has no layer `{layer}` to look at here: {reason}");
            }
        }
    }
}

#[test]
fn where_user_namespaces_are_forbidden_each_layer_says_so_and_writes_are_refused_all_the_same() {
    for user in User::all() {
        if !namespaces_are_granted(user) {
            // The others look at just that.
            return;
        }
        let (mut desk, outside) = (Desk::new(user), Outside::new());
        let granted = desk.granted();
        // A namespace in which no further one is granted.
        let script = desk.path().join("forbidden");
        let text = format!(
            "#!/bin/sh\nexec unshare --user --map-root-user sh -c 'echo 0 >/proc/sys/user/max_user_namespaces; exec \"$0\" \"$@\"' {} \"$@\"\n",
            desk.program.display()
        );
        fs::write(&script, text).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        desk.program = script;
        let file = outside.path("file");
        let driven = desk.tries("forbidden-here", &["tcp", &outside.tcp, "write", &file], &[], "");
        for state in &driven.isolation().layers {
            if state.layer == Layer::Writes {
                assert_eq!(state.enforced, granted.enforces(Layer::Writes), "{user:?}: {}", state.reason);
            } else {
                assert!(!state.enforced && state.reason.contains("no user namespace"), "{user:?} {state:?}");
            }
        }
        if granted.enforces(Layer::Writes) {
            assert_eq!(driven.found()["write"], "Permission denied", "{user:?}");
        }
        if driven.reason(Layer::Network).contains("by port") {
            assert_eq!(driven.found()["tcp"], "Permission denied", "{user:?}");
            assert_eq!(driven.attempts(AttemptKind::Tcp), [&*outside.tcp], "{user:?}");
        }
        let arguments = ["replay", "orders", "--out", "no", "--set", "drive.isolation=required", "--", "cat"];
        let refused = desk.rehearsal(&arguments, "");
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(3), "{user:?}: {said}");
        assert!(said.contains("no user namespace") && !desk.path().join("no").exists(), "{user:?}: {said}");
    }
}

#[test]
fn names_are_not_enforced_without_a_network_in_which_they_lead_somewhere() {
    let desk = Desk::new(User::Same);
    let driven = desk.drive("names", &["cat"], &["allow=['db.test:5432']"], "network");
    for layer in [Layer::Names, Layer::Attempts] {
        assert!(!driven.enforces(layer), "{layer:?}");
        if namespaces_are_granted(User::Same) {
            assert!(driven.reason(layer).starts_with("the drive has no network of its own"), "{layer:?}");
        }
    }
}
