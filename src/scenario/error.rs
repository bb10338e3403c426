//! Why a scenario cannot be read, checked or run.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::source::Problem;

/// Why a scenario cannot be read, checked or run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScenarioError {
    /// The file is not there or cannot be read.
    #[error("could not read the scenario {path}")]
    Unreadable {
        /// File.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The mask policy is not there or cannot be read.
    #[error("could not read the policy {path}")]
    UnreadablePolicy {
        /// File.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The fault log is not there or cannot be read.
    #[error("could not read the fault log {path}")]
    FaultLog {
        /// File.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The fault log is none, or none of this scenario.
    #[error("cannot use the fault log {path}")]
    FaultLogUnusable {
        /// File.
        path: PathBuf,
        /// What in it cannot be used.
        source: crate::plan::FaultLogError,
    },
    /// The scenario says something that cannot be used.
    #[error("{0}")]
    Problems(Problems),
    /// The folder that a run was to be written to is there already.
    #[error("{path} exists already{}", if *force { " and holds more than a run" } else { "" })]
    FolderExists {
        /// Folder.
        path: PathBuf,
        /// Whether it was to be replaced.
        force: bool,
    },
    /// The file of what was decided about patterns could not be read or written.
    #[error("could not {} {path}", if *writes { "write" } else { "read" })]
    Decisions {
        /// File.
        path: PathBuf,
        /// Whether it was to be written.
        writes: bool,
        /// What the system says.
        source: io::Error,
    },
    /// The run's folder could not be written.
    #[error("could not write {path}")]
    Folder {
        /// File or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A folder that was to hold scenarios holds none.
    #[error("{path} holds no scenario")]
    NoScenario {
        /// Folder.
        path: PathBuf,
    },
    /// A folder in which a build is to stand is not there.
    #[error("--{role}: there is no folder {path}")]
    NoFolder {
        /// The build's role, `old` or `new`.
        role: String,
        /// Folder.
        path: PathBuf,
    },
    /// Where a build is to stand may mean a folder or a revision.
    #[error("--{role}: `{place}` is a folder here and a revision of the repository")]
    Ambiguous {
        /// The build's role, `old` or `new`.
        role: String,
        /// As it was written.
        place: String,
    },
    /// A build could not be made.
    #[error("could not make the build {role}")]
    Make {
        /// Its role, `old` or `new`.
        role: String,
        /// What its commands did.
        source: Box<crate::drive::MakeError>,
    },
    /// A tree that a build is to stand in cannot be had.
    #[error(transparent)]
    Worktree(#[from] crate::worktree::WorktreeError),
    /// Further drives are named of an outcome that production wrote.
    #[error("production wrote {path}: it was not driven, so there is no further drive of it")]
    ProductionAgain {
        /// Folder of the outcome.
        path: PathBuf,
    },
    /// Somebody asked to stop ahead of all drives.
    #[error("stopped while the builds were made; nothing of what was not made to its end is left")]
    StoppedMaking,
    /// Somebody asked to stop.
    #[error("stopped before there was a verdict; what was written stands in {path}")]
    Stopped {
        /// Folder of the run.
        path: PathBuf,
    },
    /// A recording cannot be used.
    #[error(transparent)]
    Recording(#[from] crate::recording::RecordingError),
    /// No plan can be made.
    #[error(transparent)]
    Plan(#[from] crate::plan::PlanError),
    /// A build could not be driven.
    #[error(transparent)]
    Drive(#[from] crate::drive::DriveError),
    /// An outcome cannot be read or written.
    #[error(transparent)]
    Outcome(#[from] crate::outcome::OutcomeError),
    /// What does not fit in memory could not be put aside.
    #[error("could not write to the folder for temporary files")]
    Spill(#[from] io::Error),
    /// Outcomes could not be compared.
    #[error(transparent)]
    Compare(#[from] crate::compare::CompareError),
}

impl From<Vec<Problem>> for ScenarioError {
    fn from(problems: Vec<Problem>) -> Self {
        Self::Problems(Problems(problems))
    }
}

/// Everything that is wrong with one scenario, in the order of its file. Prints one below the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, problem) in self.0.iter().enumerate() {
            if number > 0 {
                f.write_str("\n\nerror: ")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}
