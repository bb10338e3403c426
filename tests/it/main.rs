//! Integration tests, a file a room.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod again;
mod business;
mod capture;
mod causes;
mod chance;
mod cli;
mod compare;
#[path = "../kafka/conformance/mod.rs"]
mod conformance;
mod crash;
mod described;
mod diffstream;
mod drive;
mod effects;
mod flags;
mod fuzz;
mod golden;
mod golden_tables;
mod import;
#[cfg(target_os = "linux")]
mod isolation;
mod kafka;
#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod kills;
mod leaders;
mod mask;
mod mask_packed;
mod masked;
mod outcome;
mod plan;
mod posted;
mod postgres;
mod processes;
mod readers;
mod recording;
mod registry;
mod report;
mod request_faults;
mod resume;
mod review;
mod revisions;
mod rules;
mod run;
mod samples;
mod scenario;
mod schema;
#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod set_back;
mod slice;
mod source;
mod stage;
mod stage_faults;
mod state;
mod store;
mod tidy;
mod values;
mod verdict;
mod walkthrough;
mod wall_clock;
mod world;

pub(crate) use stage::on_each_arm;
