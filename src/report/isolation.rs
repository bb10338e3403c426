//! How far the drives were kept to themselves, in sentences that every format shows.

use std::collections::BTreeMap;

use super::Report;
use super::figures::{count, counted, cut, time};
use crate::outcome::{Allowed, Attempt, AttemptKind, Isolation, LayerState};

/// Attempts of one drive that have a sentence of their own; the others are summed up.
const ATTEMPTS_SHOWN: usize = 20;

/// Characters of what an attempt aimed at.
const TARGET_MAX: usize = 120;

/// One line: what it is about, and what there is to say.
pub(super) type Line = (String, String);

/// Says which layers were enforced, what builds tried to reach, and what they were let through to; nothing where nothing is known.
pub(super) fn lines(report: &Report) -> Vec<Line> {
    let Some(isolation) = &report.isolation else { return Vec::new() };
    let mut lines = layers(isolation);
    for (drive, isolation) in isolation {
        let drive = drive.replace('_', "-");
        let (shown, rest) = isolation.attempts.split_at(isolation.attempts.len().min(ATTEMPTS_SHOWN));
        lines.extend(shown.iter().map(|attempt| (drive.clone(), refused(attempt))));
        let beyond = rest.iter().map(|attempt| attempt.count).sum::<u64>() + isolation.attempts_beyond;
        if beyond > 0 {
            lines.push((
                drive.clone(),
                format!("{} more, elsewhere", counted(beyond, "refused attempt", "refused attempts")),
            ));
        }
        lines.extend(isolation.allowed.iter().map(|allowed| (drive.clone(), reached(allowed))));
    }
    lines
}

/// Layers, those first that all drives had; where drives differ, each reason with whom it concerns.
fn layers(isolation: &BTreeMap<String, Isolation>) -> Vec<Line> {
    let mut states: Vec<(&LayerState, Vec<String>)> = Vec::new();
    for (drive, isolation) in isolation {
        for state in &isolation.layers {
            match states.iter_mut().find(|(known, _)| *known == state) {
                Some((_, drives)) => drives.push(drive.replace('_', "-")),
                None => states.push((state, vec![drive.replace('_', "-")])),
            }
        }
    }
    states.sort_by_key(|(state, _)| (state.layer, !state.enforced));
    let everywhere = |drives: &[String]| drives.len() == isolation.len();
    let mut enforced: Vec<&str> = Vec::new();
    let mut lines = Vec::new();
    for (state, drives) in &states {
        let whose = if everywhere(drives) { String::new() } else { format!(" in {}", drives.join(", ")) };
        match (state.enforced, state.reason.is_empty()) {
            (true, true) if whose.is_empty() => enforced.push(state.layer.name()),
            (true, true) => lines.push((state.layer.name().to_owned(), format!("enforced{whose}"))),
            (true, false) => lines.push((state.layer.name().to_owned(), format!("enforced{whose}; {}", state.reason))),
            (false, _) => lines.push((state.layer.name().to_owned(), format!("not enforced{whose}: {}", state.reason))),
        }
    }
    if !enforced.is_empty() {
        lines.insert(0, ("enforced".to_owned(), enforced.join(", ")));
    }
    lines
}

fn refused(attempt: &Attempt) -> String {
    let target = cut(&attempt.target, TARGET_MAX);
    let what = match attempt.kind {
        AttemptKind::Tcp => format!("tried to connect to {target}"),
        AttemptKind::Udp => format!("sent to {target} (UDP)"),
        AttemptKind::Ip => format!("sent to {target} (neither TCP nor UDP)"),
        AttemptKind::Name => format!("asked for the name {target}"),
        AttemptKind::Socket => format!("tried to connect to the socket {target}"),
    };
    let times = if attempt.count == 1 { String::new() } else { format!(" {} times", count(attempt.count)) };
    format!("{what}{times}, which was refused; first after {}", time(attempt.first_us))
}

fn reached(allowed: &Allowed) -> String {
    let Allowed { address, counted: _, connections, failed, bytes_out, bytes_in, shared } = allowed;
    let shared = if *shared { ", known as shared" } else { "" };
    if !allowed.counted {
        return format!("{address} (allowed{shared}): not counted");
    }
    let lost = if *failed > 0 { format!(", {} of them not answered", count(*failed)) } else { String::new() };
    format!(
        "{address} (allowed{shared}): {}{lost}, {} out, {} in",
        counted(*connections, "connection", "connections"),
        counted(*bytes_out, "byte", "bytes"),
        counted(*bytes_in, "byte", "bytes")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Layer;

    #[test]
    fn layers_say_where_drives_differ() {
        let all = |without: Option<Layer>| {
            let state = |layer| {
                let enforced = Some(layer) != without;
                let reason = if enforced { String::new() } else { "the kernel is old".to_owned() };
                LayerState { layer, enforced, reason }
            };
            Isolation { layers: Layer::ALL.into_iter().map(state).collect(), ..Isolation::default() }
        };
        let both = BTreeMap::from([("new".to_owned(), all(None)), ("old".to_owned(), all(None))]);
        let text = "network, names, sockets, temporary, processes, writes, attempts";
        assert_eq!(layers(&both), [("enforced".to_owned(), text.to_owned())]);
        let one = BTreeMap::from([("new".to_owned(), all(None)), ("old_again".to_owned(), all(Some(Layer::Writes)))]);
        let lines = layers(&one);
        let line = |label: &str, text: &str| (label.to_owned(), text.to_owned());
        assert_eq!(lines[0].1, "network, names, sockets, temporary, processes, attempts");
        assert_eq!(
            lines[1..],
            [line("writes", "enforced in new"), line("writes", "not enforced in old-again: the kernel is old"),]
        );
    }

    #[test]
    fn attempts_and_addresses_are_sentences() {
        let attempt =
            Attempt { kind: AttemptKind::Name, target: "api.pay.example".into(), count: 3, first_us: 1_500_000 };
        assert_eq!(
            refused(&attempt),
            "asked for the name api.pay.example 3 times, which was refused; first after 1.50 s"
        );
        let allowed = Allowed {
            address: "db.test:5432".into(),
            counted: true,
            connections: 1,
            failed: 1,
            bytes_out: 1_200,
            bytes_in: 0,
            shared: true,
        };
        let text = "db.test:5432 (allowed, known as shared): 1 connection, 1 of them not answered, 1,200 bytes out, 0 bytes in";
        assert_eq!(reached(&allowed), text);
    }
}
