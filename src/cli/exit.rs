//! Exit codes, and what stopped a command.

use std::error::Error;
use std::io;
use std::path::Path;

use crate::capture::{CaptureError, RegistryError};
use crate::compare::{CompareError, Verdict};
use crate::drive::{ClusterError, DriveError, IsolationError};
use crate::recording::{ImportError, LineProblem, RecordingError, SliceError, StoreError, StoreKind};
use crate::scenario::ScenarioError;

/// How the program ends; the number is part of what others build on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Code {
    /// Agree, or done.
    Agree = 0,
    /// Differ.
    Differ = 1,
    /// Wrong arguments, scenario or recording.
    Wrong = 2,
    /// No verdict.
    NoVerdict = 3,
    /// The surroundings failed: broker, store, disk. Another try may work.
    Surroundings = 4,
    /// A fault of ours.
    Fault = 70,
}

impl Code {
    /// Returns the graver of two codes of one command: 70 over 1 over 4 over 3 over 0. What was wrong from the start is said
    /// before anything runs and stands above all but a fault.
    pub(super) fn gravest(self, other: Self) -> Self {
        let gravity = |code| match code {
            Self::Agree => 0,
            Self::NoVerdict => 1,
            Self::Surroundings => 2,
            Self::Differ => 3,
            Self::Wrong => 4,
            Self::Fault => 5,
        };
        if gravity(other) > gravity(self) { other } else { self }
    }

    /// Turns a verdict into success for a job that only advises; errors stay errors.
    pub(super) fn advisory(self, advisory: bool) -> Self {
        if advisory && matches!(self, Self::Differ | Self::NoVerdict) { Self::Agree } else { self }
    }
}

impl From<Verdict> for Code {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Agree => Self::Agree,
            Verdict::Differ => Self::Differ,
            Verdict::NoVerdict => Self::NoVerdict,
        }
    }
}

/// What stopped a command: an error with its sources, the code it ends in, and what to do about it.
#[derive(Debug)]
pub(super) struct Failure {
    /// Exit code.
    pub(super) code: Code,
    /// The error; none where there is nothing to say, as when the reader of a pipe has gone.
    pub(super) error: Option<Box<dyn Error + Send + Sync>>,
    /// What to do, as a sentence; empty where there is nothing to add.
    pub(super) hint: String,
}

impl Failure {
    /// Makes the failure of a user's mistake.
    pub(super) fn wrong(error: impl Into<Box<dyn Error + Send + Sync>>, hint: impl Into<String>) -> Self {
        Self { code: Code::Wrong, error: Some(error.into()), hint: hint.into() }
    }

    /// Makes the failure of something outside.
    pub(super) fn surroundings(error: impl Into<Box<dyn Error + Send + Sync>>, hint: impl Into<String>) -> Self {
        Self { code: Code::Surroundings, error: Some(error.into()), hint: hint.into() }
    }

    /// Makes the failure that says nothing.
    pub(super) fn silent(code: Code) -> Self {
        Self { code, error: None, hint: String::new() }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        // `| head` has seen enough: that is no failure of anybody.
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::silent(Code::Agree);
        }
        Self::surroundings(error, "")
    }
}

impl From<RecordingError> for Failure {
    fn from(error: RecordingError) -> Self {
        let hint = match &error {
            error if StoreError::of(error).is_some() => String::new(),
            RecordingError::NoManifest { path }
            | RecordingError::Unsealed { path }
            | RecordingError::BadManifest { path, .. }
                if has_segments(path) || matches!(error, RecordingError::Unsealed { .. }) =>
            {
                format!(
                    "If nothing writes it any more, `rehearsal inspect {} --rebuild` makes it whole.",
                    path.parent().unwrap_or(path).display()
                )
            }
            RecordingError::Fenced { .. } => "Let it end, or end it; the lock goes with it.".to_owned(),
            RecordingError::Claimed { .. } => CLAIMED.to_owned(),
            RecordingError::UnderWay { path, .. } => format!(
                "Read it once that has ended. If it is gone, the same command goes on there, and `rehearsal inspect {} --rebuild` ends \
                 it where it is.",
                path.display()
            ),
            RecordingError::ClaimLost { .. } => "Start it again: it goes on where it was.".to_owned(),
            RecordingError::StaleSpool { spool, .. } => format!(
                "Both are kept. An object that is damaged, remove from the store; else move {} away if nothing in it is wanted. \
                 Then start again.",
                spool.parent().unwrap_or(spool).display()
            ),
            RecordingError::OtherSpool { .. } => "Name another folder with --spool.".to_owned(),
            RecordingError::NoSpool { .. } => "Name a folder with --spool.".to_owned(),
            RecordingError::NoSuchDirectory { path } if path.is_file() => format!(
                "That is a file: `rehearsal import {} --out RECORDING` makes a recording of it.",
                path.display()
            ),
            RecordingError::NoManifest { .. } | RecordingError::NoSuchDirectory { .. } => {
                "Name the folder or the address of a recording; `rehearsal capture` and `rehearsal import` make one."
                    .to_owned()
            }
            RecordingError::Version { .. } => {
                "Use the version of rehearsal that wrote it, or capture or import it again.".to_owned()
            }
            error if is_of_the_surroundings(error) => String::new(),
            _ => "Capture or import it again, or name another recording.".to_owned(),
        };
        Self::of(error, &hint)
    }
}

/// What to do where somebody else writes a recording in a store.
const CLAIMED: &str = "Let it end, or end it and go on where it ran; if it is gone for good, add --take-over.";

/// What to do where the cluster deleted events that a recording was to begin with or to go on with.
const OVERTAKEN: &str = "With --allow-gaps it goes on at what is left and the ledger of gaps names what is not; \
    `rehearsal inspect RECORDING --rebuild` ends one that was begun where it is.";

/// What to do where no secure connection to a registry comes about.
const REGISTRY_TLS: &str = "Name the certificate of its authority as ssl.ca.location in --registry-config; a registry without TLS \
    has an address with http://.";

/// What to do where a registry refuses who asks.
const REGISTRY_LOGIN: &str = "Write basic.auth.user.info=USER:PASSWORD to a file for --registry-config, or USER:PASSWORD to \
    REHEARSAL_REGISTRY_AUTH.";

/// Whether beside this manifest stand segments from which it could be written again.
fn has_segments(manifest: &Path) -> bool {
    manifest.with_file_name("segments").is_dir()
}

impl From<ImportError> for Failure {
    fn from(error: ImportError) -> Self {
        let hint = match &error {
            ImportError::Line { problem: LineProblem::UnknownFormat, .. } => {
                "Say what it is with `--format ndjson`, `--format kcat` or `--format csv`."
            }
            ImportError::Line { problem: LineProblem::Columns(_), .. } => {
                "Write `--topic orders --key-column order_id --time-column created_at`, say."
            }
            ImportError::Unwritable { source: RecordingError::NotEmpty { .. }, .. } => {
                "Choose another folder with --out."
            }
            ImportError::Unwritable { source: RecordingError::Claimed { .. }, .. } => CLAIMED,
            ImportError::Stopped => return Self::surroundings(error, "Run it again."),
            _ => "",
        };
        Self::of(error, hint)
    }
}

impl From<SliceError> for Failure {
    fn from(error: SliceError) -> Self {
        match error {
            SliceError::Recording(error @ RecordingError::NotEmpty { .. }) => {
                Self::wrong(error, "Choose another folder with --out.")
            }
            SliceError::Recording(error) => error.into(),
            SliceError::Nothing => {
                Self::wrong(error, "`rehearsal inspect` shows the span, the topics and the partitions.")
            }
            SliceError::Setting { setting: "--key", .. } => Self::wrong(
                error,
                "`rehearsal inspect RECORDING --events` shows keys; those of a masked recording are asked for as they stand there.",
            ),
            SliceError::Setting { setting: "slice", .. } => {
                Self::wrong(error, "Give --from and --to, --around and --span, --topic, --key or --share.")
            }
            error @ SliceError::Setting { .. } => Self::wrong(error, ""),
            SliceError::Stopped => Self::surroundings(error, "Run it again."),
        }
    }
}

impl From<CaptureError> for Failure {
    fn from(error: CaptureError) -> Self {
        // The recording is sealed: the same --out is refused from now on.
        if let CaptureError::Interrupted { source, .. } = &error
            && let CaptureError::Mask(cause) = &**source
        {
            let hint = super::mask::hint(cause);
            return Self::wrong(
                error,
                format!("{hint} Then choose another --out: what was taken until then is sealed."),
            );
        }
        if let CaptureError::Interrupted { source, .. } = &error
            && let CaptureError::Registry(cause) = &**source
        {
            let (code, hint) = registry_midway(cause);
            return Self { code, error: Some(error.into()), hint };
        }
        match error {
            CaptureError::UnknownTopic { .. } => Self::wrong(
                error,
                "Is the name right, in upper and lower case too, and is this the cluster? `--topic '^PATTERN'` takes topics by a \
                 regular expression.",
            ),
            CaptureError::NoTopic
            | CaptureError::NothingMatches { .. }
            | CaptureError::TwoRoles { .. }
            | CaptureError::UnknownPartition { .. }
            | CaptureError::StartOfNothing { .. }
            | CaptureError::Consumer { .. }
            | CaptureError::Properties(_) => Self::wrong(error, ""),
            CaptureError::EmptyWindow { .. } => Self::wrong(error, "Let --until be later than --from."),
            CaptureError::StartBehindEnd { .. } => Self::wrong(
                error,
                "Name an earlier offset; `--from TOPIC:PARTITION=OFFSET` is for one partition, `--from latest` for its end.",
            ),
            CaptureError::NoEntry { .. } => Self::wrong(
                error,
                "Set user, password and certificates with --config FILE or -X name=value: sasl.mechanism, sasl.username, \
                 sasl.password, ssl.ca.location.",
            ),
            CaptureError::Mask(error) => error.into(),
            CaptureError::Registry(error) => error.into(),
            CaptureError::Unwritable(error @ (RecordingError::NotEmpty { .. } | RecordingError::Sealed { .. })) => {
                Self::wrong(error, "Choose another folder with --out.")
            }
            CaptureError::Unwritable(error) if StoreError::of(&error).is_some() => error.into(),
            // What stands there is no recording that could be gone on with.
            CaptureError::Unwritable(error) if !is_of_the_surroundings(&error) => error.into(),
            CaptureError::Unwritable(_) => {
                Self::surroundings(error, "Once it can be written, the same command begins, or goes on where it ends.")
            }
            CaptureError::OtherCluster { .. } | CaptureError::RecreatedTopic { .. } => Self::wrong(
                error,
                "Capture to another folder with --out; `rehearsal inspect RECORDING --rebuild` ends this one where it is.",
            ),
            CaptureError::LogEndsEarlier { .. } | CaptureError::LogCut { .. } => Self::surroundings(
                error,
                "Capture to another folder with --out; `rehearsal inspect RECORDING --rebuild` ends this one where it is.",
            ),
            CaptureError::TopicLeftOut { .. } | CaptureError::PartitionLeftOut { .. } => {
                Self::wrong(error, "Name all its topics and partitions, or choose another folder with --out.")
            }
            CaptureError::BegunOtherwise { .. } => {
                Self::wrong(error, "Capture as it was begun, or choose another folder with --out.")
            }
            CaptureError::RetentionOvertook { .. } => Self::surroundings(error, OVERTAKEN),
            CaptureError::Interrupted { ref source, .. }
                if matches!(**source, CaptureError::RetentionOvertook { .. }) =>
            {
                Self::surroundings(
                    error,
                    "Capture what is left to another folder with --out; --allow-gaps goes on where it is overtaken.",
                )
            }
            CaptureError::Interrupted { ref source, .. }
                if matches!(**source, CaptureError::RecreatedTopic { .. } | CaptureError::LogEndsEarlier { .. }) =>
            {
                Self::surroundings(
                    error,
                    "Capture the new topic to another folder with --out. Where what came in the last seconds may be of it already, \
                     the manifest says so, and `rehearsal inspect` shows it.",
                )
            }
            CaptureError::Interrupted { ref source, .. } if matches!(**source, CaptureError::LogCut { .. }) => {
                Self::surroundings(
                    error,
                    "Capture what the brokers hold now to another folder with --out; this recording holds what they lost.",
                )
            }
            CaptureError::Interrupted { ref source, .. } if matches!(**source, CaptureError::DeletedTopic { .. }) => {
                Self::surroundings(error, "If it is made again, capture it to another folder with --out.")
            }
            CaptureError::Unfinished { ref out, ref source, .. } => {
                let (code, hint) = unfinished(out, source);
                Self { code, error: Some(error.into()), hint }
            }
            CaptureError::NoAnswer { .. } => {
                Self::surroundings(error, "Are the brokers up, and is --brokers right? Try again.")
            }
            error => Self::surroundings(error, "Try again."),
        }
    }
}

/// How a capture ends whose recording could not be written on, and what to do.
fn unfinished(out: &Path, cause: &RecordingError) -> (Code, String) {
    let out = out.display();
    let goes_on = format!("the same command goes on where it ends; `rehearsal inspect {out} --rebuild` ends it there.");
    match StoreError::of(cause) {
        // Refused credentials no other try mends: whoever gave them does, as where a capture begins.
        Some(refused @ StoreError::Refused { .. }) => (Code::Wrong, format!("{} Then {goes_on}", of_store(refused))),
        _ => (Code::Surroundings, format!("Once it can be written again, {goes_on}")),
    }
}

/// How a capture ends that a registry ended on its way, and what to do: the same --out is refused from now on.
fn registry_midway(cause: &RegistryError) -> (Code, String) {
    let (code, mend) = match cause {
        RegistryError::Unreachable { .. } => (Code::Surroundings, "Is the registry up, and is --registry right?"),
        RegistryError::Missing { .. } => {
            (Code::Wrong, "Register it there, or leave --require-schemas away: what it frames stays bytes then.")
        }
        RegistryError::Refused { .. } => (Code::Wrong, REGISTRY_LOGIN),
        RegistryError::Insecure { .. } => (Code::Wrong, REGISTRY_TLS),
        _ => (Code::Wrong, "Is --registry right?"),
    };
    (code, format!("{mend} Then choose another --out: what was taken until then is sealed."))
}

impl From<RegistryError> for Failure {
    fn from(error: RegistryError) -> Self {
        match error {
            RegistryError::Unreachable { .. } => {
                Self::surroundings(error, "Is the registry up, and is --registry right? Try again.")
            }
            RegistryError::Refused { .. } => Self::wrong(error, REGISTRY_LOGIN),
            RegistryError::Insecure { .. } => Self::wrong(error, REGISTRY_TLS),
            RegistryError::Strange { .. } => Self::wrong(
                error,
                "Is --registry right? Some registries stand below a path, as in http://HOST/apis/ccompat/v7.",
            ),
            error => Self::wrong(error, ""),
        }
    }
}

impl From<ScenarioError> for Failure {
    fn from(error: ScenarioError) -> Self {
        match error {
            ScenarioError::FolderExists { force, .. } => {
                let hint =
                    if force { "--force replaces a run, nothing else." } else { "Choose another, or add --force." };
                Self::wrong(error, hint)
            }
            ScenarioError::NoScenario { .. } => Self::wrong(error, "Name a file, or a folder of .toml files."),
            ScenarioError::Unreadable { ref source, .. } => {
                let hint = match source.kind() {
                    io::ErrorKind::InvalidData => "A scenario is text in UTF-8.",
                    io::ErrorKind::IsADirectory => "Name one scenario's file.",
                    io::ErrorKind::NotFound => "Name a scenario's file; `rehearsal init RECORDING` writes a first one.",
                    _ => "",
                };
                Self::of(error, hint)
            }
            ScenarioError::UnreadablePolicy { .. } => Self::of(error, "Name the file of a mask policy."),
            ScenarioError::FaultLog { .. } | ScenarioError::FaultLogUnusable { .. } => {
                Self::of(error, "Name the faults.ndjson of a run of this scenario.")
            }
            ScenarioError::Outcome(_) => {
                Self::of(error, "Name the folder of an outcome, such as outcomes/old of a run.")
            }
            ScenarioError::Problems(_) => Self::wrong(error, ""),
            ScenarioError::Stopped { .. } | ScenarioError::Compare(CompareError::Stopped) => {
                Self::surroundings(error, "Run it again for a verdict.")
            }
            ScenarioError::NoFolder { .. } => {
                Self::wrong(error, "Name a folder, or a revision of the scenario's repository, such as `main`.")
            }
            ScenarioError::Ambiguous { ref place, .. } => {
                let hint =
                    format!("Write ./{place} for the folder, or heads/{place} or tags/{place} for the revision.");
                Self::wrong(error, hint)
            }
            ScenarioError::ProductionAgain { .. } => Self::wrong(
                error,
                "Leave --old-again out: drives of new beside the one that is named say what the noise is.",
            ),
            ScenarioError::StoppedMaking => Self::surroundings(error, "Run it again: it begins with them."),
            ScenarioError::Make { .. } => Self::surroundings(
                error,
                "It runs in the build's directory, with the environment of this program. Mend what it says, and run again.",
            ),
            ScenarioError::Worktree(_) => Self::surroundings(
                error,
                "Trees of revisions are kept below $XDG_CACHE_HOME/rehearsal/builds, or ~/.cache.",
            ),
            ScenarioError::Drive(DriveError::Cluster(error)) => error.into(),
            ScenarioError::Drive(DriveError::Isolation(error)) => error.into(),
            error @ ScenarioError::Drive(DriveError::WallClock { .. }) => Self::surroundings(
                error,
                "Install libfaketime, or another version of it, or leave `clock` and faults of that kind out: builds then have the machine's.",
            ),
            error @ ScenarioError::Drive(DriveError::Prepare { .. }) => Self::surroundings(
                error,
                "It runs in the build's directory, with its environment. Mend what it says, and run again.",
            ),
            ScenarioError::Decisions { writes: true, .. } => Self::surroundings(
                error,
                "Make its folder writable, or review a copy of the scenario with `--scenario FILE`. Nothing of it was written.",
            ),
            ScenarioError::Decisions { .. } => {
                Self::wrong(error, "Make it readable, or take it away: nothing is accepted then.")
            }
            ScenarioError::Folder { .. } | ScenarioError::Spill(_) => Self::surroundings(error, ""),
            error => Self::of(error, ""),
        }
    }
}

impl From<IsolationError> for Failure {
    fn from(error: IsolationError) -> Self {
        let (code, hint) = match &error {
            IsolationError::Missing { .. } => (
                Code::NoVerdict,
                "Run it where user namespaces and Landlock are granted, or write `isolation = \"on\"`: the report says what is missing.",
            ),
            IsolationError::Hosts { .. } => (
                Code::Surroundings,
                "Run it where user namespaces are granted, or take `hosts` out and tell the builds where the stage is.",
            ),
            IsolationError::Place { .. } => {
                (Code::Surroundings, "Is the same address named twice, or is it one that nobody can have?")
            }
            _ => (Code::Surroundings, ""),
        };
        Self { code, ..Self::surroundings(error, hint) }
    }
}

impl From<ClusterError> for Failure {
    fn from(error: ClusterError) -> Self {
        let hint = match &error {
            ClusterError::Source { .. } => "Name another cluster under `broker`, or write `broker = \"stage\"`.",
            ClusterError::Unknown { .. } => {
                "Where you know that it is another one, say so: `other-cluster = true` under `[drive]`."
            }
            ClusterError::NoEntry { .. } => {
                "Set user, password and certificates under `[drive]`, as `properties` or in a file by `config`: sasl.mechanism, \
                 sasl.username, sasl.password, ssl.ca.location."
            }
            ClusterError::NoAnswer { .. } => "Are the brokers up, and is `broker` right? Try again.",
            ClusterError::NotRemoved { .. } => "Builds of a drive that was killed may go on: end them, and try again.",
            ClusterError::Event { .. } | ClusterError::SetBack { .. } => {
                "Leave it out with `[select]`, or write `broker = \"stage\"`."
            }
            ClusterError::Stopped { .. } => "Run it again for a verdict.",
            error if error.is_passing() => "Try again.",
            _ => "",
        };
        if error.is_passing() { Self::surroundings(error, hint) } else { Self::wrong(error, hint) }
    }
}

impl Failure {
    /// Makes the failure of `error`: of the surroundings where the system may do it at another time, else the user's to mend.
    fn of(error: impl Error + Send + Sync + 'static, hint: &str) -> Self {
        let hint = if hint.is_empty() { StoreError::of(&error).map_or("", of_store) } else { hint };
        // Credentials are mended by whoever gave them, as those of brokers are.
        let is_refused = matches!(StoreError::of(&error), Some(StoreError::Refused { .. }));
        if !is_refused && is_of_the_surroundings(&error) {
            Self::surroundings(error, hint)
        } else {
            Self::wrong(error, hint)
        }
    }
}

/// What to do where a store did not do what it was asked.
fn of_store(error: &StoreError) -> &'static str {
    match error {
        StoreError::NoBucket { .. } => {
            "Is the address right, and the endpoint in the environment? A bucket is never made here."
        }
        StoreError::NoObject { .. } => {
            "Is the address right? `rehearsal capture` and `rehearsal import` make a recording."
        }
        StoreError::Refused { kind, .. } => match kind {
            StoreKind::S3 => {
                "Are the credentials in the environment right (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY), and may they do this?"
            }
            StoreKind::Gcs => {
                "Are the credentials in the environment right (GOOGLE_SERVICE_ACCOUNT), and may they do this?"
            }
            StoreKind::Azure => {
                "Are the credentials in the environment right (AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY), and may \
                 they do this?"
            }
        },
        StoreError::Setting { kind, .. } => match kind {
            StoreKind::S3 => {
                "Set what it needs in the environment: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL."
            }
            StoreKind::Gcs => {
                "Set what it needs in the environment: GOOGLE_SERVICE_ACCOUNT, the file of an account's key."
            }
            StoreKind::Azure => {
                "Set what it needs in the environment: AZURE_STORAGE_ACCOUNT_NAME, AZURE_STORAGE_ACCOUNT_KEY."
            }
        },
        StoreError::OtherObject => "Name another prefix, or take that object away.",
        StoreError::Changed { .. } => "Somebody writes there at the same time. Try again.",
        StoreError::Silent { kind: StoreKind::S3, .. } => {
            "Is the store up, and the endpoint in the environment right (AWS_ENDPOINT_URL, AWS_REGION)? Try again."
        }
        StoreError::Silent { kind: StoreKind::Gcs, .. } => {
            "Is the store up, and the endpoint in the environment right, if there is one (GOOGLE_BASE_URL)? Outside of Google's \
             machines, GOOGLE_SERVICE_ACCOUNT names the file of an account's key. Try again."
        }
        StoreError::Silent { kind: StoreKind::Azure, .. } => {
            "Is the store up, and the endpoint in the environment right, if there is one (AZURE_STORAGE_ENDPOINT)? Try again."
        }
        _ => "Try again, once the store is well.",
    }
}

/// Whether somewhere in the chain of `error` stands an error of the system that another try may mend: no room, no
/// permission, a disk that fails. What is not there, or is not what it should be, is the user's to mend.
fn is_of_the_surroundings(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            use io::ErrorKind as Kind;
            return !matches!(
                error.kind(),
                Kind::NotFound
                    | Kind::NotADirectory
                    | Kind::IsADirectory
                    | Kind::InvalidData
                    | Kind::UnexpectedEof
                    | Kind::AlreadyExists
                    | Kind::InvalidInput
            );
        }
        next = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_codes_the_graver_one_stands() {
        use Code::{Agree, Differ, Fault, NoVerdict, Surroundings};
        let order = [Agree, NoVerdict, Surroundings, Differ, Fault];
        for (at, graver) in order.iter().enumerate() {
            for lighter in &order[..at] {
                assert_eq!(graver.gravest(*lighter), *graver);
                assert_eq!(lighter.gravest(*graver), *graver);
            }
        }
    }

    #[test]
    fn a_command_that_was_stopped_ends_in_one_way_whatever_it_was_at() {
        let path = Path::new("outcomes").to_owned();
        for error in [ScenarioError::Stopped { path }, CompareError::Stopped.into()] {
            let failure = Failure::from(error);
            assert_eq!((failure.code, failure.hint.as_str()), (Code::Surroundings, "Run it again for a verdict."));
            assert!(failure.error.unwrap().to_string().starts_with("stopped before there was a verdict"));
        }
    }

    #[test]
    fn a_registry_that_ends_a_capture_on_its_way_leaves_a_recording_that_is_sealed() {
        let of = |cause: RegistryError| {
            let source = Box::new(CaptureError::Registry(cause));
            Failure::from(CaptureError::Interrupted { events: 1, out: "out".into(), source })
        };
        let (url, what) = ("http://r".to_owned(), "schema 1".to_owned());
        let missing = of(RegistryError::Missing { url: url.clone(), what: what.clone() });
        assert_eq!(missing.code, Code::Wrong);
        assert!(missing.hint.contains("leave --require-schemas away"), "{}", missing.hint);
        let unreachable = of(RegistryError::Unreachable { url, what, reason: "503".to_owned() });
        assert_eq!(unreachable.code, Code::Surroundings);
        for failure in [missing, unreachable] {
            let sealed = "Then choose another --out: what was taken until then is sealed.";
            assert!(failure.hint.ends_with(sealed) && !failure.hint.contains("Try again"), "{}", failure.hint);
        }
    }

    #[test]
    fn a_store_that_refuses_ends_a_command_alike_wherever_it_is_at() {
        let of = |cause: StoreError, midway: bool| {
            let path = "s3://bucket/out".into();
            let source = RecordingError::File { action: "upload", path, source: cause.into() };
            if midway {
                let out = "s3://bucket/out".into();
                return Failure::from(CaptureError::Unfinished { acknowledged: 1, out, source });
            }
            Failure::from(source)
        };
        let refused = || StoreError::Refused { kind: StoreKind::S3, answer: "403".to_owned() };
        let failed = || StoreError::Failed { answer: "503".to_owned() };
        for midway in [true, false] {
            assert_eq!(of(refused(), midway).code, Code::Wrong);
            assert_eq!(of(failed(), midway).code, Code::Surroundings);
        }
        let hint = of(refused(), true).hint;
        assert!(hint.contains("AWS_") && hint.contains("the same command goes on where it ends"), "{hint}");
    }

    #[test]
    fn an_advisory_job_turns_verdicts_into_success_and_errors_into_nothing_else() {
        assert_eq!(Code::Differ.advisory(true), Code::Agree);
        assert_eq!(Code::NoVerdict.advisory(true), Code::Agree);
        assert_eq!(Code::Wrong.advisory(true), Code::Wrong);
        assert_eq!(Code::Surroundings.advisory(true), Code::Surroundings);
        assert_eq!(Code::Differ.advisory(false), Code::Differ);
    }
}
