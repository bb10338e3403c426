//! Gates on time: how much slower new is, how slow, and whether the replay kept its schedule.

use super::assess::Seen;
use super::figure::Figure;
use super::gates::{Gate, Gates};
use super::latency::Quantile;
use super::measures::{Measure, Measured};
use super::sentences::{counted, percent, time};
use super::verdict::{Facts, FidelityBounds, is_new, is_old, off_schedule};
use super::{Latency, Standing};
use crate::outcome::Lateness;

/// Holds the increase of a quantile against `limit`: it fails beyond the limit, chance and the machine's noise, and is a
/// suspicion beyond the limit alone. Where that noise alone is beyond the limit, staying below it says nothing.
pub(super) fn increase(facts: &Facts<'_>, gate: &Gate, bounds: FidelityBounds, quantile: Quantile, limit: f64) -> Seen {
    let latency = match measured(facts, bounds) {
        Ok(latency) => latency,
        Err(reason) => return Seen::untold(gate, &reason),
    };
    let name = quantile.name();
    let Some(found) = latency.increase_at(quantile) else {
        return Seen::untold(
            gate,
            &format!("too few pairs of outputs, or in too few stretches of time, to tell {name}"),
        );
    };
    let observed = percent(found.increase);
    let Some(noise) = &found.noise else {
        let reason = format!("old was driven once, so nothing tells how much of the {name} latency the machine makes");
        return Seen::suspected(gate, observed, &reason);
    };
    let interval = format!("95% interval {} to {}", percent(found.interval.0), percent(found.interval.1));
    let told = format!("{interval}; old again {}", grown(noise.increase));
    if found.increase > limit && found.is_proven() {
        let figures = match (latency.old.at(quantile), latency.new.at(quantile)) {
            (Some(old), Some(new)) => format!(", {} to {}", time(old), time(new)),
            _ => String::new(),
        };
        let what = format!("{name} latency grew by {observed}{figures} ({told})");
        return Seen::broken(gate, observed, Some(told), &what);
    }
    if found.increase > limit {
        let enough = found.drives_to_tell().filter(|enough| *enough as u64 > noise.drives);
        let enough = enough.map(|enough| format!("; {enough} drives of old would have told")).unwrap_or_default();
        let reason = format!("{name} latency grew by {observed}, perhaps by chance ({told}){enough}");
        return Seen::suspected(gate, observed, &reason);
    }
    // Where even the far end of the interval keeps the limit, the noise is counted in.
    if noise.floor > limit && found.interval.1 > limit {
        let reason = format!(
            "the machine is too unsteady: {name} latency of old again may be {} off by itself",
            percent(noise.floor)
        );
        return Seen::suspected(gate, observed, &reason);
    }
    Seen::kept(observed, Some(told))
}

/// `+3%` or `-3%`.
fn grown(by: f64) -> String {
    let text = percent(by);
    if text.starts_with('-') { text } else { format!("+{text}") }
}

/// Holds a quantile of the latency of new against `limit_us`: it fails beyond both the limit and the machine's noise.
pub(super) fn of_new(
    facts: &Facts<'_>,
    gate: &Gate,
    bounds: FidelityBounds,
    quantile: Quantile,
    limit_us: i64,
) -> Seen {
    let latency = match measured(facts, bounds) {
        Ok(latency) => latency,
        Err(reason) => return Seen::untold(gate, &reason),
    };
    let name = quantile.name();
    let Some(new_us) = latency.new.at(quantile) else {
        return Seen::untold(
            gate,
            &format!("{} of new are too few to tell {name}", counted(latency.new.count, "output")),
        );
    };
    let note = latency.old.at(quantile).map(|old_us| format!("{} in old", time(old_us)));
    if new_us <= limit_us {
        return Seen::kept(time(new_us), note);
    }
    // What the machine adds and takes by itself may be all that is beyond the limit.
    let noise = latency.increase_at(quantile).and_then(|increase| increase.noise.as_ref());
    if let Some(floor) = noise.map(|noise| noise.floor).filter(|floor| new_us as f64 <= limit_us as f64 * (1.0 + floor))
    {
        let reason = format!(
            "{name} latency of new is {}, perhaps by chance: that of old again may be {} off by itself",
            time(new_us),
            percent(floor)
        );
        return Seen::suspected(gate, time(new_us), &reason);
    }
    let what = format!("{name} latency of new is {}", time(new_us));
    Seen::broken(gate, time(new_us), note, &what)
}

/// Holds by how much a measure of new is worse than old's against `limit`: it fails beyond the limit, chance and what old differs from
/// itself by, and is a suspicion beyond the limit alone.
pub(super) fn worse(facts: &Facts<'_>, gate: &Gate, bounds: FidelityBounds, measure: Measure, limit: f64) -> Seen {
    if let Err(reason) = on_schedule(facts, bounds) {
        return Seen::untold(gate, &reason);
    }
    let Some(found) = facts.comparison.measures.iter().find(|found| found.measure == measure) else {
        return Seen::untold(gate, &format!("the {} of old and new is not known", measure.name()));
    };
    let (observed, what) = (percent(found.worse_by()), says(found));
    let (Some(noise), Some((_, high))) = (found.noise, found.worse_between()) else {
        let reason = format!("{what}; old was driven once, so nothing tells how much of it the machine makes");
        return Seen::suspected(gate, observed, &reason);
    };
    if found.worse_by() > limit && found.is_proven() {
        return Seen::broken(gate, observed, Some(what.clone()), &what);
    }
    if found.worse_by() > limit {
        let drives = found.drives.keys().filter(|drive| drive.starts_with("old")).count();
        let enough = found.drives_to_tell().filter(|enough| *enough > drives);
        let enough = enough.map(|enough| format!("; {enough} drives of old would have told")).unwrap_or_default();
        return Seen::suspected(gate, observed, &format!("{what}, perhaps by chance{enough}"));
    }
    if noise > limit && high > limit {
        let reason =
            format!("the machine is too unsteady: the {} of drives of old is {} apart", measure.name(), percent(noise));
        return Seen::suspected(gate, observed, &reason);
    }
    Seen::kept(observed, Some(what))
}

/// Measures that are proven to be worse and that no gate limits.
pub(super) fn worse_without_gate(facts: &Facts<'_>, gates: &Gates) -> Vec<String> {
    let measures = facts.comparison.measures.iter().filter(|_| facts.paced);
    let proven = measures.filter(|found| found.standing == Some(Standing::Proven));
    let unlimited = proven.filter(|found| gates.on(Figure::Worse(found.measure)).is_none());
    unlimited.map(|found| format!("{}, on which there is no gate", says(found))).collect()
}

/// `throughput of new is 20% lower than old's, 800 to 1,000 (95% interval 15% to 25%; drives of old 1% apart)`.
fn says(found: &Measured) -> String {
    let measure = found.measure;
    let figure = |drive: &str| found.drives.get(drive).map(|figure| measure.show(*figure)).unwrap_or_default();
    let way = if found.change < 0.0 { "lower" } else { "higher" };
    let told = match (found.worse_between(), found.noise) {
        (Some((low, high)), Some(noise)) => {
            format!(" (worse by {} to {}, 95%; drives of old {} apart)", percent(low), percent(high), percent(noise))
        }
        _ => String::new(),
    };
    let by = percent(found.change.abs());
    format!("{} of new is {by} {way} than old's, {} against {}{told}", measure.name(), figure("new"), figure("old"))
}

/// How well the replay kept its schedule: what only new's drives miss, new broke by taking its input late; what old's miss too
/// is the machine's doing and proves nothing.
pub(super) fn replay(
    facts: &Facts<'_>,
    gate: &Gate,
    limit: f64,
    figure: impl Fn(&Lateness) -> f64,
    show: impl Fn(f64) -> String,
) -> Seen {
    let worst = |chosen: fn(&str) -> bool| {
        let drives = facts.endings.iter().filter(|(drive, _)| chosen(drive));
        drives.filter_map(|(_, report)| report.lateness.as_ref().map(&figure)).max_by(f64::total_cmp)
    };
    if !facts.paced {
        return Seen::untold(gate, "the replay was not paced, so it had no schedule to keep");
    }
    let (Some(old), Some(new)) = (worst(is_old), worst(is_new)) else {
        return Seen::untold(gate, "nothing tells whether the replay kept its schedule");
    };
    let (name, note) = (gate.figure.name(), format!("{} in old, {} in new", show(old), show(new)));
    if old > limit {
        return Seen::suspected(gate, show(old.max(new)), &format!("{note}: the replay into old missed it too"));
    }
    if new > limit {
        let what = format!("{name} of the replay into new is {}, {} into old", show(new), show(old));
        return Seen::broken(gate, show(new), Some(note), &what);
    }
    Seen::kept(show(old.max(new)), Some(note))
}

/// Returns the latency of both builds, or why nothing can be said about time.
fn measured<'a>(facts: &Facts<'a>, bounds: FidelityBounds) -> Result<&'a Latency, String> {
    on_schedule(facts, bounds)?;
    facts.comparison.latency.as_ref().ok_or_else(|| "no output has a known cause with a due time".to_owned())
}

/// Says why nothing can be said about time, where that is so.
fn on_schedule(facts: &Facts<'_>, bounds: FidelityBounds) -> Result<(), String> {
    if !facts.paced {
        return Err("the replay was not paced, so it says nothing of time".to_owned());
    }
    let strayed = off_schedule(facts.endings, bounds);
    if let Some(sentence) =
        strayed.iter().find(|(drive, _)| matches!(drive.as_str(), "old" | "new")).map(|(_, text)| text)
    {
        return Err(sentence.clone());
    }
    for drive in ["old", "new"] {
        if facts.endings.get(drive).is_none_or(|report| report.lateness.is_none()) {
            return Err(format!("nothing tells whether the replay into {drive} kept its schedule"));
        }
    }
    Ok(())
}
