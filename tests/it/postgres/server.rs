//! A PostgreSQL for tests, started for one and ended with it.

use std::fs::{self, Permissions};
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::PathBuf;
use std::process::{Command, Output};

use tempfile::TempDir;

/// Whom the server runs as where the tests run as root, which it refuses to.
const NOBODY: u32 = 65_534;

/// A server of this test's own, reached by a socket in its folder, and by a port of 127.0.0.1.
pub(crate) struct Postgres {
    folder: TempDir,
    /// Where its programs are.
    pub(crate) programs: PathBuf,
    /// Its port at 127.0.0.1.
    pub(crate) port: u16,
}

impl Postgres {
    /// Starts one, or says why not.
    pub(crate) fn start() -> Option<Self> {
        let Some(programs) = programs() else {
            let required = std::env::var_os("REHEARSAL_POSTGRES").is_some_and(|value| value == "required");
            assert!(!required, "no PostgreSQL was found: install the package postgresql");
            // Past what captures the output of tests: what is left out must be seen.
            let _ = writeln!(std::io::stderr(), "left out: no PostgreSQL is installed (package postgresql)");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        let socket = folder.path().join("socket");
        fs::create_dir(&socket).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let server = Self { folder, programs, port };
        if is_root() {
            chown(server.folder.path(), Some(NOBODY), Some(NOBODY)).unwrap();
            chown(&socket, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let data = server.folder.path().join("data");
        let data = data.to_str().unwrap();
        server.run("initdb", &["-D", data, "-A", "trust", "-U", "postgres", "--no-sync"]);
        let log = server.folder.path().join("log");
        let options = format!("-k {} -c listen_addresses=127.0.0.1 -p {port} -c fsync=off", socket.display());
        server.run("pg_ctl", &["start", "-w", "-D", data, "-l", log.to_str().unwrap(), "-o", &options]);
        Some(server)
    }

    /// Runs one of its programs as whoever it runs as.
    fn command(&self, program: &str) -> Command {
        let program = self.programs.join(program);
        let mut command = if is_root() {
            let mut command = Command::new("setpriv");
            let user = NOBODY.to_string();
            command.args(["--reuid", &user, "--regid", &user, "--clear-groups", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command.current_dir(self.folder.path()).env("PGHOST", self.socket()).env("PGUSER", "postgres");
        command.env("PGPORT", self.port.to_string());
        command
    }

    fn run(&self, program: &str, arguments: &[&str]) -> String {
        // Its server must not hold what this test reads.
        let output = self.folder.path().join("output");
        let file = fs::File::create(&output).unwrap();
        let status = self.command(program).args(arguments).stdout(file.try_clone().unwrap()).stderr(file).status();
        let said = fs::read_to_string(&output).unwrap();
        assert!(status.unwrap().success(), "{program}: {said}");
        said
    }

    /// The folder of its socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    /// Names of the databases that drives made and did not remove.
    pub(crate) fn databases(&self) -> String {
        self.run("psql", &["-Atc", "select datname from pg_database where datname like 'pay%'", "postgres"])
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let data = self.folder.path().join("data");
        let stopped: std::io::Result<Output> =
            self.command("pg_ctl").args(["stop", "-m", "immediate", "-D"]).arg(data).output();
        drop(stopped);
    }
}

fn is_root() -> bool {
    fs::read_to_string("/proc/self/status").unwrap_or_default().lines().any(|line| line.starts_with("Uid:\t0\t0"))
}

/// Where PostgreSQL's programs are: on the path, or where Debian puts a version's.
fn programs() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut places: Vec<PathBuf> = versions.map(|version| version.path().join("bin")).collect();
    places.sort();
    places.extend(std::env::split_paths(&path));
    places
        .into_iter()
        .find(|place| ["initdb", "pg_ctl", "psql", "createdb"].iter().all(|name| place.join(name).is_file()))
}
