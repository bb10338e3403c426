//! Ways of running a build under libfaketime, and what each takes.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use super::kind::Kind;

/// Variables by which programs are told; taken away where somebody outside has set them.
const OTHERS: [&str; 4] = ["FAKETIME", "FAKETIME_SHARED", "FAKETIME_XRESET", "FAKETIME_DONT_RESET"];

/// Lets Python sleep where the library breaks it.
const SITE: &str = include_str!("sitecustomize.py");

/// One way.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Profile {
    kind: &'static str,
    /// Whether the monotonic clock is the library's, too. Native programs hang that wait until a moment of it.
    monotonic: bool,
    /// Whether Python's own sleeping is replaced.
    sleeps: bool,
    /// Speed at which the clock runs, and timers with it; none where both run as the machine's, and the clock is set again and again.
    pub(super) speed: Option<f64>,
}

impl Profile {
    /// Those that come into question for a program of `kind`, the best first, where event time passes at `speed`.
    pub(super) fn all(kind: &Kind, speed: Option<f64>) -> Vec<Self> {
        let one = |monotonic, sleeps, speed| Self { kind: kind.name(), monotonic, sleeps, speed };
        match kind {
            Kind::Native | Kind::Shell | Kind::Launcher => vec![one(false, false, None)],
            Kind::Python(_) => vec![one(false, false, None), one(false, true, None)],
            Kind::Jvm(_) => {
                let sped_up = speed.filter(|speed| (speed - 1.0).abs() > f64::EPSILON);
                let sped_up = sped_up.map(|speed| one(true, false, Some(speed)));
                sped_up.into_iter().chain([one(true, false, None)]).collect()
            }
        }
    }

    /// What the report calls it.
    pub(super) fn name(self) -> String {
        let how = match (self.speed, self.sleeps) {
            (Some(speed), _) => format!("shifted and sped up {speed} times"),
            (None, true) => "shifted, with a `time.sleep` of its own".to_owned(),
            (None, false) => "shifted".to_owned(),
        };
        format!("{}, {how}", self.kind)
    }

    /// Makes in `folder` what it needs there.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub(super) fn furnish(self, folder: &Path) -> io::Result<()> {
        if self.sleeps {
            let site = folder.join("python");
            fs::create_dir_all(&site)?;
            fs::write(site.join("sitecustomize.py"), SITE)?;
        }
        Ok(())
    }

    /// Has `command` started under `library`, with `file` telling the time, and `folder` as furnished.
    pub(super) fn apply(self, command: &mut Command, library: &Path, file: &Path, folder: &Path) {
        for other in OTHERS {
            command.env_remove(other);
        }
        ahead(command, "LD_PRELOAD", library.as_os_str());
        command.env("FAKETIME_TIMESTAMP_FILE", file).env("FAKETIME_NO_CACHE", "1").env("FAKETIME_FMT", "%s");
        // Times of files are the machine's: they are compared with each other, and with what other programs see.
        command.env("NO_FAKE_STAT", "1");
        command.env("FAKETIME_DONT_FAKE_MONOTONIC", if self.monotonic { "0" } else { "1" });
        if self.sleeps {
            ahead(command, "PYTHONPATH", folder.join("python").as_os_str());
        }
    }
}

/// Puts `first` ahead of what else stands in a variable that lists paths.
fn ahead(command: &mut Command, variable: &str, first: &OsStr) {
    let own = command.get_envs().find(|(name, _)| *name == variable).map(|(_, value)| value.map(OsString::from));
    let rest = own.unwrap_or_else(|| std::env::var_os(variable)).filter(|rest| !rest.is_empty());
    let mut value = first.to_owned();
    if let Some(rest) = rest {
        value.push(":");
        value.push(rest);
    }
    command.env(variable, value);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(kind: &Kind, speed: Option<f64>) -> Vec<String> {
        Profile::all(kind, speed).into_iter().map(Profile::name).collect()
    }

    #[test]
    fn each_kind_has_its_ways_the_best_first() {
        assert_eq!(names(&Kind::Native, Some(60.0)), ["native, shifted"]);
        let python = ["Python, shifted", "Python, shifted, with a `time.sleep` of its own"];
        assert_eq!(names(&Kind::Python(Vec::new()), None), python);
        let java = Kind::Jvm("java".into());
        assert_eq!(names(&java, Some(60.0)), ["JVM, shifted and sped up 60 times", "JVM, shifted"]);
        for speed in [Some(1.0), None] {
            assert_eq!(names(&java, speed), ["JVM, shifted"], "{speed:?}");
        }
    }

    #[test]
    fn what_is_put_ahead_of_a_program_by_itself_stays_behind_it() {
        let mut command = Command::new("true");
        command.env("LD_PRELOAD", "/own.so").env("FAKETIME", "+1y");
        Profile::all(&Kind::Native, None)[0].apply(
            &mut command,
            Path::new("/lib.so"),
            Path::new("/t"),
            Path::new("/f"),
        );
        let of = |name: &str| command.get_envs().find(|(known, _)| *known == name).and_then(|(_, value)| value);
        assert_eq!(of("LD_PRELOAD"), Some(OsStr::new("/lib.so:/own.so")));
        assert_eq!((of("FAKETIME"), of("FAKETIME_DONT_FAKE_MONOTONIC")), (None, Some(OsStr::new("1"))));
    }
}
