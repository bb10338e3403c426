//! What drives may have shared: addresses outside that more than one of them reached.

use std::collections::BTreeMap;

use super::sentences::{count, counted};
use crate::outcome::{EndingReport, Isolation, Layer};

/// Addresses of `allow` that several drives reached under the same name, and paths of `writable`, each with these drives in order; those that are known to be
/// shared left out.
fn addresses(endings: &BTreeMap<String, EndingReport>) -> BTreeMap<&str, Vec<&str>> {
    let mut reached: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (drive, report) in endings {
        let allowed = report.isolation.iter().flat_map(|isolation| &isolation.allowed);
        for allowed in allowed.filter(|allowed| allowed.is_reached() && !allowed.shared) {
            reached.entry(&allowed.address).or_default().push(drive);
        }
    }
    reached.retain(|_, drives| drives.len() > 1);
    reached
}

/// Why what rests on the state of drives cannot be judged, if they may have shared it.
pub(super) fn state(endings: &BTreeMap<String, EndingReport>) -> Option<String> {
    let addresses = addresses(endings);
    let (address, drives) = addresses.first_key_value()?;
    let others = match addresses.len() - 1 {
        0 => String::new(),
        number => format!(", and so it is with {} more", counted(number as u64, "address")),
    };
    Some(format!("{} had the same {address}, so what one leaves there another may find{others}", drives.join(", ")))
}

/// Layers that would have kept drives from meeting, and were not in force in several of them; none where they are not known to matter.
pub(super) fn unguarded(endings: &BTreeMap<String, EndingReport>) -> Option<String> {
    let worlds: Vec<(&str, &Isolation)> =
        endings.iter().filter_map(|(drive, report)| Some((drive.as_str(), report.isolation.as_ref()?))).collect();
    // Layers that the same drives were without stand together.
    let mut open: Vec<(Vec<&str>, Vec<&str>)> = Vec::new();
    for layer in [Layer::Network, Layer::Sockets, Layer::Temporary, Layer::Writes] {
        let is_open = |world: &Isolation| world.layers.iter().any(|state| state.layer == layer && !state.enforced);
        let without: Vec<&str> = worlds.iter().filter(|(_, world)| is_open(world)).map(|(drive, _)| *drive).collect();
        match open.iter_mut().find(|(_, drives)| *drives == without) {
            Some((layers, _)) => layers.push(layer.name()),
            None => open.push((vec![layer.name()], without)),
        }
    }
    open.retain(|(_, drives)| drives.len() > 1);
    let told =
        open.iter().map(|(layers, drives)| format!("{} not enforced ({})", layers.join(", "), drives.join(", ")));
    let told: Vec<String> = told.collect();
    let so = "so what one drive left outside of its folder another may have found";
    (!told.is_empty()).then(|| format!("{}, {so}", told.join(", ")))
}

/// What builds tried to reach and could not: worth knowing, and no verdict.
pub(super) fn refused(endings: &BTreeMap<String, EndingReport>) -> Vec<String> {
    let sentence = |(drive, report): (&String, &EndingReport)| {
        let isolation = report.isolation.as_ref()?;
        let first = isolation.attempts.iter().min_by_key(|attempt| (attempt.first_us, &attempt.target))?;
        let number = isolation.attempts.iter().map(|attempt| attempt.count).sum::<u64>() + isolation.attempts_beyond;
        let targets = match isolation.attempts.len() as u64 - 1 {
            0 => String::new(),
            more => format!(" and {} more", count(more)),
        };
        Some(format!(
            "{drive} tried to leave its isolation {} and was refused: {}{targets}",
            if number == 1 { "once".to_owned() } else { format!("{} times", count(number)) },
            first.target
        ))
    };
    endings.iter().filter_map(sentence).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::{Allowed, Ending, Isolation, LayerState};

    fn endings(drives: &[(&str, u64, u64, bool)]) -> BTreeMap<String, EndingReport> {
        let ending = |(drive, connections, failed, shared): &(&str, u64, u64, bool)| {
            let (address, connections, failed, shared) = ("db.test:5432".to_owned(), *connections, *failed, *shared);
            let allowed = vec![Allowed {
                address,
                counted: connections < 9,
                connections,
                failed,
                bytes_out: 0,
                bytes_in: 0,
                shared,
            }];
            let mut report = EndingReport::new(Ending::Finished, "");
            report.isolation = Some(Isolation { allowed, ..Isolation::default() });
            ((*drive).to_owned(), report)
        };
        drives.iter().map(ending).collect()
    }

    #[test]
    fn what_two_drives_reach_under_one_name_is_shared() {
        let reason = state(&endings(&[("old", 1, 0, false), ("new", 2, 0, false)])).unwrap();
        assert_eq!(reason, "new, old had the same db.test:5432, so what one leaves there another may find");
        let uncounted = state(&endings(&[("old", 9, 9, false), ("new", 9, 9, false)]));
        assert!(uncounted.is_some(), "what nobody counted may have been reached");
        for alone in [
            &[("old", 1, 0, false), ("new", 0, 0, false)][..],
            &[("old", 1, 0, false), ("new", 2, 2, false)],
            &[("old", 1, 0, true), ("new", 2, 0, true)],
            &[("old", 1, 0, false)],
        ] {
            assert_eq!(state(&endings(alone)), None, "{alone:?}");
        }
    }

    #[test]
    fn layers_that_several_drives_were_without_are_told_where_something_may_rest_on_them() {
        let worlds = |drives: &[(&str, &[Layer])]| {
            let ending = |(drive, open): &(&str, &[Layer])| {
                let state = |layer| LayerState { layer, enforced: !open.contains(&layer), reason: String::new() };
                let layers = Layer::ALL.into_iter().map(state).collect();
                let report = EndingReport::new(Ending::Finished, "");
                let isolation = Some(Isolation { layers, ..Isolation::default() });
                ((*drive).to_owned(), EndingReport { isolation, ..report })
            };
            unguarded(&drives.iter().map(ending).collect())
        };
        let open = &[Layer::Writes, Layer::Network, Layer::Attempts][..];
        let told = worlds(&[("old", open), ("new", open)]).unwrap();
        assert!(told.starts_with("network, writes not enforced (new, old), so"), "{told}");
        let told = worlds(&[("a", open), ("b", &[Layer::Writes]), ("c", &[Layer::Writes, Layer::Network])]).unwrap();
        assert!(told.starts_with("network not enforced (a, c), writes not enforced (a, b, c), so"), "{told}");
        // One alone meets nobody, and what only sees or hides nothing of others keeps nobody apart.
        assert_eq!(worlds(&[("old", open), ("new", &[])]), None);
        let others = &[Layer::Attempts, Layer::Names, Layer::Processes][..];
        assert_eq!(worlds(&[("old", others), ("new", others)]), None);
        assert_eq!(unguarded(&endings(&[("old", 1, 0, false), ("new", 1, 0, false)])), None);
    }
}
