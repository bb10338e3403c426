//! `rehearsal mask`: a recording to one without what nobody may see.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::args::MaskArguments;
use super::exit::{Code, Failure};
use super::inspect::{counted, sound};

use super::printer::Printer;
use super::signal::raise_on_interrupt;
use super::slice::refuse_inside;
use crate::clock::Stop;
use crate::mask::{Detection, MaskError, Masker, Policy, RewriteError, Sighting, rewrite};
use crate::recording::{Mask, RecordingError};
use crate::scenario::read_policy;

pub(super) fn mask(arguments: &MaskArguments, printer: &Printer) -> Result<Code, Failure> {
    let target = arguments.spool.target(&arguments.out)?;
    let policy = policy(Some(&arguments.policy))?;
    refuse_inside(&arguments.recording, &arguments.out)?;
    let stop = Stop::new();
    raise_on_interrupt(&stop);
    let recording = sound(&arguments.recording)?;
    let heeding = stop.heed();
    let mut masker = Masker::new(policy, detection(arguments.strict_privacy));
    let bar = printer.bar("masking", Some(recording.len()));
    let report = rewrite(&recording, &mut masker, target, &mut |events| {
        bar.set_position(events);
        !stop.raised()
    });
    bar.finish_and_clear();
    drop(heeding);
    let report = report?;
    warn(&report.sightings, printer);
    // Of no events nothing could be changed.
    let mut warnings = if report.events == 0 { Vec::new() } else { masker.idle() };
    warnings.extend(masker.unread());
    warnings.extend(masker.keyless(&recording.manifest().source));
    if arguments.json {
        let masks: Vec<Json> = masker.masks().iter().map(in_json).collect();
        let personal = sightings_in_json(&report.sightings);
        printer.result(
            &json!({ "out": arguments.out.shown(), "events": report.events, "masks": masks, "personal": personal, "warnings": warnings })
                .to_string(),
        )?;
    } else {
        let changed: u64 = masker.masks().iter().filter_map(|mask| mask.count).sum();
        printer.result(&format!(
            "Masked {} of {} to {}",
            counted(changed, "part"),
            counted(report.events, "event"),
            arguments.out
        ))?;
    }
    for sentence in &warnings {
        printer.note(&format!("warning: {sentence}"));
    }
    Ok(Code::Agree)
}

/// Reads the policy of `--mask` or `--policy`, where there is one.
pub(super) fn policy(path: Option<&Path>) -> Result<Option<Arc<Policy>>, Failure> {
    Ok(path.map(read_policy).transpose()?.map(Arc::new))
}

/// What is done about what looks personal.
pub(super) fn detection(strict: bool) -> Detection {
    if strict { Detection::Refuse } else { Detection::Warn }
}

/// Warns of what looked personal and was kept.
pub(super) fn warn(sightings: &[Sighting], printer: &Printer) {
    for Sighting { topic, path, kind, count, partition, offset } in sightings {
        printer.note(&format!(
            "warning: topic {topic}: {path} holds what looks like {} ({}, first in partition {partition} at offset {offset})",
            kind.words(),
            counted(*count, "time"),
        ));
    }
    if !sightings.is_empty() {
        printer.note("  = Mask it by a policy, or list it there under [[keep]]; --strict-privacy refuses such data.");
    }
}

/// What looked personal, as `--json` prints it.
pub(super) fn sightings_in_json(sightings: &[Sighting]) -> Vec<Json> {
    let one = |Sighting { topic, path, kind, count, partition, offset }: &Sighting| json!({ "topic": topic, "path": path, "kind": kind, "count": count, "partition": partition, "offset": offset });
    sightings.iter().map(one).collect()
}

fn in_json(mask: &Mask) -> Json {
    json!({ "topic": mask.topic, "what": mask.what, "method": mask.method, "count": mask.count, "key": mask.key })
}

impl From<RewriteError> for Failure {
    fn from(error: RewriteError) -> Self {
        match error {
            RewriteError::Mask(error) => error.into(),
            RewriteError::Recording(error @ RecordingError::NotEmpty { .. }) => {
                Self::wrong(error, "Choose another folder with --out.")
            }
            RewriteError::Recording(error) => error.into(),
            error => Self::surroundings(error, "Try again."),
        }
    }
}

impl From<MaskError> for Failure {
    fn from(error: MaskError) -> Self {
        let hint = hint(&error);
        Self::wrong(error, hint)
    }
}

/// What to do about an event that must not be kept.
pub(super) fn hint(error: &MaskError) -> &'static str {
    match error {
        MaskError::Unfit { .. } => {
            "Choose a method whose result the schema takes (`redact` where null may stand, `form = \"number\"` for a token of a number), or mask the value as a whole by `value = [\"$\"]`."
        }
        MaskError::Personal { .. } => "Mask it by a rule of the policy, or list it there under [[keep]].",
        _ => "Give its topic a rule that masks it as a whole, such as `value = [\"$\"]`, or another `otherwise`.",
    }
}
