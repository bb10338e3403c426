//! Holds faults at processes against how builds are driven, and how many processes they have.

use super::super::{Build, DriveRules, Payload};
use crate::plan::{CLOCK, FaultSettings, begun_by_commits, is_of_process};
use crate::settings::SettingError;

/// Refuses what this transport cannot do to a process.
///
/// # Errors
///
/// The setting that does not go with it, by its key.
pub(in crate::drive) fn check_stops(rules: &DriveRules, faults: &[FaultSettings]) -> Result<(), SettingError> {
    let cluster = rules.kafka.as_ref().is_some_and(|kafka| kafka.cluster.is_some());
    let lines = rules.kafka.is_none() && rules.http.is_none();
    for (index, fault) in faults.iter().enumerate().filter(|(_, fault)| is_of_process(&fault.kind)) {
        let wrong = |key: &str, problem: String, instead: &str| {
            Err(SettingError::new(format!("fault[{index}].{key}"), problem, instead))
        };
        if cluster && let Some(key) = begun_by_commits(fault) {
            let problem =
                format!("a commit begins this `{}`, and of a cluster's commits one hears too late", fault.kind);
            let instead = "Write `at`, `times` or `period`, or `broker = \"stage\"` under `[drive]`.";
            return wrong(key, problem, instead);
        }
        // Who is stopped and goes on has lost nothing, nor who sees another time.
        if lines && rules.payload == Payload::Value && !["freeze", CLOCK].contains(&fault.kind.as_str()) {
            let problem =
                format!("a `{}` hands over again what is not committed, and bare values commit nothing", fault.kind);
            let instead = "Leave the fault out, or write `payload = \"envelope\"` under `[drive]`.";
            return wrong("kind", problem, instead);
        }
    }
    Ok(())
}

/// Holds the processes that faults name against those that `builds`, by their roles, have.
///
/// # Errors
///
/// The fault that names a process that is not there, by its key.
pub fn check_instances(faults: &[FaultSettings], builds: &[(&str, &Build)]) -> Result<(), SettingError> {
    for (index, fault) in faults.iter().enumerate() {
        let Some(instance) = fault.instance else { continue };
        if let Some((role, build)) = builds.iter().find(|(_, build)| instance >= build.instances()) {
            let there = match build.instances() {
                1 => "one process, which is 0".to_owned(),
                many => format!("{many} processes, 0 to {}", many - 1),
            };
            let key = format!("fault[{index}].instance");
            let instead = format!("Name one of them, or write `instances` under `[{role}]`.");
            return Err(SettingError::new(key, format!("`{role}` has {there}"), instead));
        }
    }
    Ok(())
}
