//! One TOML file made of the rooms' settings; [`run()`] is the whole pipeline on one page.
//!
//! In comes a file, out comes a run: [`Scenario::read`] → [`check`] → [`run()`]. What never happens here: a key is accepted and
//! ignored; something is started before everything was checked; something already written is overwritten.

mod accepted;
mod again;
mod against;
mod checked;
mod chosen;
mod corrupted;
mod draft;
mod draft_builds;
mod effects;
mod error;
mod facts;
mod flags;
mod folder;
mod golden;
mod golden_tables;
mod metrics;
mod origin;
mod policy;
mod read;
mod registered;
mod reuse;
mod run;
#[expect(clippy::module_inception, reason = "the room's main type stands in the file of its name")]
mod scenario;
mod settings;
mod source;
mod stand;
mod time_shift;
mod tree;
mod wall_clock;

pub use accepted::{Decisions, author, day_in_words, decisions_of, today};
pub use again::compare_outcomes;
pub use checked::{Checked, Cost, check};
pub use chosen::choose;
pub use corrupted::corrupted;
pub use draft::draft;
pub use error::{Problems, ScenarioError};
pub use folder::{Destination, RunFolder};
pub use golden::{Against, GoldenSettings};
pub use policy::read_policy;
pub use run::{Run, Watcher, replay, run, write_report};
pub use scenario::{Scenario, scenarios_in};
pub use settings::{MaskSettings, RelationSettings, ScenarioSettings, schema};
pub use source::{Problem, TextPlace};
