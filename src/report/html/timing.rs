//! Latency, fidelity, and the gauges of a run.

use serde_json::Value;

use super::chart;
use super::page::Page;
use crate::compare::Latency;
use crate::report::Report;
use crate::report::answers::quantile;
use crate::report::figures::{change, count, counted, probability, share, time};
use crate::report::isolation::lines;
use crate::report::words::{self, given, or_dash};

/// Bytes of one table of gauges.
const GAUGES_BYTES: usize = 40_000;

/// Bytes of the lateness table.
const LATENESS_BYTES: usize = 30_000;

/// How deep a gauge may be nested.
const GAUGE_DEPTH_MAX: usize = 8;

/// Writes the latency section.
pub(super) fn latency(report: &Report, page: &mut Page) {
    page.section("section id=\"latency\"", "Latency", |page| {
        page.leaf("p class=\"about\"", "From the due time of the causing event to the arrival of the output. An increase counts only beyond what old differs from itself by when it is driven again: the machine's noise.");
        page.leaf("p class=\"about\"", "The increase is that of the outputs which both builds wrote.");
        let Some(latency) = &report.latency else {
            page.leaf("p", words::no_latency(report));
            return;
        };
        if report.fidelity.on_schedule == Some(false) {
            page.leaf(
                "p class=\"unsure\"",
                "The replay ran off its schedule, so these figures are shown and not judged.",
            );
        }
        chart::quantiles(latency, page);
        table(latency, page);
    });
}

fn table(latency: &Latency, page: &mut Page) {
    let (old, new) = (&latency.old, &latency.new);
    let headings =
        ["", "#old", "#new", "#increase", "#95 % interval", "#old again", "#noise floor", "#adjusted p", "judged"];
    page.table("Latency", &headings, |page| {
        for (q, old, new) in [
            (Some(0.5), old.p50_us, new.p50_us),
            (Some(0.9), old.p90_us, new.p90_us),
            (Some(0.95), old.p95_us, new.p95_us),
            (Some(0.99), old.p99_us, new.p99_us),
            (Some(0.999), old.p999_us, new.p999_us),
            (None, old.max_us, new.max_us),
        ] {
            let increase =
                latency.increases.iter().find(|increase| q.is_some_and(|q| (increase.quantile - q).abs() < 1e-9));
            page.inside("tr", |page| {
                page.leaf("th scope=\"row\"", &q.map_or("largest".to_owned(), quantile));
                page.leaf("td class=\"figure\"", &or_dash(old.map(time)));
                page.leaf("td class=\"figure\"", &or_dash(new.map(time)));
                page.leaf("td class=\"figure\"", &or_dash(increase.map(|increase| change(increase.increase))));
                let interval = increase
                    .map(|increase| format!("{} to {}", change(increase.interval.0), change(increase.interval.1)));
                page.leaf("td class=\"figure\"", &or_dash(interval));
                let noise = increase.and_then(|increase| increase.noise.as_ref());
                page.leaf("td class=\"figure\"", &or_dash(noise.map(|noise| change(noise.increase))));
                page.leaf("td class=\"figure\"", &or_dash(noise.map(|noise| share(noise.floor))));
                let adjusted = increase.and_then(|increase| increase.q_value);
                page.leaf("td class=\"figure\"", &or_dash(adjusted.map(probability)));
                match increase.map(|increase| increase.slower) {
                    Some(true) => page.leaf("td class=\"bad\"", "slower"),
                    Some(false) => page.leaf("td", "not shown to be slower"),
                    None => page.leaf("td", "–"),
                }
            });
        }
        let none = String::new;
        page.row_of_figures(
            "outputs with a cause",
            &[count(old.count), count(new.count), none(), none(), none(), none(), none(), none()],
        );
    });
}

/// Writes how well the schedule was kept.
pub(super) fn fidelity(report: &Report, page: &mut Page) {
    let fidelity = &report.fidelity;
    page.section("section id=\"fidelity\"", "Fidelity", |page| {
        page.leaf(
            "p class=\"about\"",
            "How well the replay kept its schedule: figures on timing count only where it did.",
        );
        page.inside("dl", |page| {
            let mut fact = |label: &str, text: &str| {
                page.leaf("dt", label);
                page.leaf("dd", text);
            };
            fact("Pace", given(&fidelity.pace).unwrap_or("not known"));
            let kept = match fidelity.on_schedule {
                Some(true) => "yes",
                Some(false) => "no: timing is not judged",
                None => "does not apply: no schedule was kept",
            };
            fact("On schedule", kept);
            fact("Bounds", given(&fidelity.bounds).unwrap_or("none"));
            let cut = format!(
                "{}, {} of replay time",
                counted(fidelity.gaps_cut, "silence", "silences"),
                time(fidelity.gaps_cut_us)
            );
            fact("Clock", given(&fidelity.clock).unwrap_or("not known"));
            fact("Enforced", given(&fidelity.enforced).unwrap_or("not known"));
            fact("Cut", if fidelity.gaps_cut == 0 { "nothing" } else { &cut });
        });
        if fidelity.lateness.is_empty() {
            return;
        }
        let headings = ["drive", "#p50 late", "#p99 late", "#p99.9 late", "#largest", "#beyond 5 ms", "#slow-down"];
        let mut written = usize::MAX;
        page.table("Lateness of deliveries", &headings, |page| {
            written = page.within(LATENESS_BYTES, fidelity.lateness.iter(), |page, (drive, late)| {
                let times = [late.p50_us, late.p99_us, late.p999_us, late.max_us].map(time);
                page.row_of_figures(drive, &[&times[..], &[share(late.beyond_5ms), share(late.slow_down)]].concat());
            });
        });
        page.left_out(written, fidelity.lateness.len(), "drives");
    });
}

/// Writes lag, freshness, isolation, sinks and resources, each as far as there is something to say.
pub(super) fn gauges(report: &Report, page: &mut Page) {
    page.section("section id=\"gauges\"", "Lag, freshness, isolation, sinks, resources", |page| {
        let behind = words::behind(report);
        if !behind.is_empty() {
            page.leaf("p class=\"about\"", "Lag: events that were visible and not committed. Freshness: the age of the oldest of them. p99: over time.");
            let mut headings = words::BEHIND.map(|heading| format!("#{heading}"));
            headings[0].remove(0);
            let mut written = usize::MAX;
            page.table("Lag in events and freshness", &headings.each_ref().map(String::as_str), |page| {
                written = page.within(GAUGES_BYTES, behind.iter(), |page, row| page.row_of_figures(&row[0], &row[1..]));
            });
            page.left_out(written, behind.len(), "drives");
        }
        let isolation = lines(report);
        if !isolation.is_empty() {
            page.leaf("h3", "Isolation");
            page.list(GAUGES_BYTES, "lines", &isolation, |page, (label, text)| page.text(&format!("{label}: {text}")));
        }
        let sinks = words::sinks(report);
        if !sinks.is_empty() {
            page.leaf("h3", "Sinks");
            page.list(GAUGES_BYTES, "sinks", &sinks, |page, sink| page.text(sink));
        }
        if let Some(resources) = &report.resources {
            page.leaf("h3", "Resources");
            gauge_table("Resources", resources, page);
        }
        let metrics = words::metrics(report);
        if !metrics.is_empty() {
            page.leaf("h3", "Figures of the builds");
            let mut written = usize::MAX;
            page.table("Figures that the builds offer, as each drive had them last", &["", "#old", "#new"], |page| {
                written = page.within(GAUGES_BYTES, metrics.iter(), |page, row| page.row_of_figures(&row[0], &row[1..]));
            });
            page.left_out(written, metrics.len(), "figures");
        }
        let unknown = [("lag", behind.is_empty()), ("freshness", behind.is_empty()), ("isolation", isolation.is_empty())];
        let unknown = unknown.into_iter().chain([("resources", report.resources.is_none())]);
        let missing: Vec<&str> = unknown.filter(|(_, missing)| *missing).map(|(title, _)| title).collect();
        if !missing.is_empty() {
            page.leaf("p", &format!("Not measured in this run: {}.", missing.join(", ")));
        }
    });
}

fn gauge_table(title: &str, value: &Value, page: &mut Page) {
    let mut leaves = Vec::new();
    flatten(String::new(), value, 0, &mut leaves);
    let mut written = usize::MAX;
    page.table(title, &["", "#"], |page| {
        written = page.within(GAUGES_BYTES, leaves.iter(), |page, (label, text)| {
            page.row_of_figures(label, std::slice::from_ref(text));
        });
    });
    page.left_out(written, leaves.len(), "figures");
}

/// Lists the leaves of a value with their paths.
fn flatten(path: String, value: &Value, depth: usize, leaves: &mut Vec<(String, String)>) {
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path} · {name}") };
    match value {
        Value::Object(members) if depth < GAUGE_DEPTH_MAX => {
            members
                .iter()
                .for_each(|(name, member)| flatten(below(&name.replace('_', " ")), member, depth + 1, leaves));
        }
        Value::Array(elements) if depth < GAUGE_DEPTH_MAX => {
            elements
                .iter()
                .enumerate()
                .for_each(|(index, element)| flatten(below(&(index + 1).to_string()), element, depth + 1, leaves));
        }
        Value::Number(number) => leaves.push((path, number.as_u64().map_or_else(|| number.to_string(), count))),
        Value::String(text) => leaves.push((path, text.clone())),
        other => leaves.push((path, other.to_string())),
    }
}
