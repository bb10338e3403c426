//! Windows: edges that moved by a window or a part of one, and events at an edge that fall on its other side.

use std::collections::BTreeMap;

use xxhash_rust::xxh3::xxh3_64;

use super::super::json::Node;
use super::super::scan::mix;
use super::exact::Exact;
use super::places::places;
use super::sides::{Side, Sides};
use super::votes::{Explains, Votes};
use super::{Claim, Evidence};

/// Windows whose changes are remembered; where there are more, nothing is told of their edges.
const WINDOWS_MAX: usize = 16_384;

/// Runs of neighbouring windows that must add up to nothing: by chance so many hardly do.
const RUNS_MIN: usize = 5;

/// Names of a window's first and last moment, without their punctuation and in lower case.
const STARTS: [&str; 9] =
    ["start", "windowstart", "from", "begin", "windowbegin", "winstart", "windowfrom", "starttime", "startts"];
const ENDS: [&str; 9] = ["end", "windowend", "to", "until", "winend", "windowto", "windowuntil", "endtime", "endts"];

/// The window that an output is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) start_path: String,
    pub(super) end_path: Option<String>,
    /// In the unit of the field; microseconds where it is text.
    pub(super) start: i128,
    /// Length, where its end is known.
    pub(super) size: Option<i128>,
    /// Whether its edges are text.
    pub(super) is_text: bool,
}

/// Finds the window that a value names; none where no member is named like an edge of one.
pub(super) fn window(tree: &Node<'_>) -> Option<Window> {
    let (mut start, mut end) = (None, None);
    places(tree, &mut |path, node| {
        let side = Side::new(Some(node));
        let text = side.instant.map(|instant| i128::from(instant.us()));
        let Some(moment) = text.or_else(|| side.bare_number().and_then(|number| number.at(0))) else { return };
        let found = (path.to_owned(), moment, text.is_some());
        if start.is_none() && is_named(path, &STARTS) {
            start = Some(found);
        } else if end.is_none() && is_named(path, &ENDS) {
            end = Some(found);
        }
    });
    let (start_path, start, is_text) = start?;
    let end = end.filter(|(_, _, text)| *text == is_text).map(|(path, end, _)| (path, end - start));
    let size = end.as_ref().map(|(_, size)| *size).filter(|size| *size > 0);
    Some(Window { start_path, end_path: end.map(|(path, _)| path), start, size, is_text })
}

fn is_named(path: &str, names: &[&str]) -> bool {
    let last = path.rsplit(['.', '[']).next().unwrap_or(path);
    let plain: String = last.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
    names.contains(&plain.as_str())
}

/// An explanation of an edge that moved: by a share of the window's length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct WindowWay {
    later: bool,
    over: u32,
    under: u32,
}

impl Explains for WindowWay {
    fn kind(&self) -> u8 {
        0
    }
}

/// Finds by what part of its window an edge moved.
pub(super) fn ways(sides: &Sides<'_, '_>) -> Vec<WindowWay> {
    if !is_named(sides.path, &STARTS) && !is_named(sides.path, &ENDS) {
        return Vec::new();
    }
    let moment = |side: &Side<'_>| {
        side.instant
            .map(|instant| i128::from(instant.us()))
            .or_else(|| side.bare_number().and_then(|number| number.at(0)))
    };
    let found = moment(&sides.old).zip(moment(&sides.new)).zip(sides.whole.old_tree().and_then(window));
    let Some(((old, new), window)) = found else { return Vec::new() };
    let is_edge = sides.path == window.start_path || window.end_path.as_deref() == Some(sides.path);
    let Some(size) = window.size.filter(|_| is_edge) else { return Vec::new() };
    let by = (new - old).unsigned_abs();
    let size = size.unsigned_abs();
    let (over, under) = if by % size == 0 {
        (by / size, 1)
    } else if size % by == 0 {
        (1, size / by)
    } else {
        (0, 0)
    };
    let parts = u32::try_from(over).ok().zip(u32::try_from(under).ok());
    let told = parts.filter(|(over, under)| *over > 0 && *over <= 24 && *under <= 60);
    told.map(|(over, under)| WindowWay { later: new > old, over, under }).into_iter().collect()
}

/// Says by what part of a window edges moved.
pub(super) fn claims(votes: &Votes<WindowWay>, evidence: &Evidence<'_>) -> Vec<Claim> {
    let holding = votes.all().filter(|(_, count)| evidence.pairs >= 3 && evidence.is_enough(*count));
    holding
        .map(|(way, explains)| {
            let by = match (way.over, way.under) {
                (1, 1) => "one window".to_owned(),
                (over, 1) => format!("{over} windows"),
                (_, under) => format!("one {under}th of a window, as by one slide"),
            };
            let towards = if way.later { "later" } else { "earlier" };
            Claim { name: "window", rank: 0, explains, says: format!("new moves {} {by} {towards}", evidence.path) }
        })
        .collect()
}

/// How much a number changed, window by window.
#[derive(Debug, Clone, Default)]
pub(super) struct Edges {
    /// By what the window is of, and where it starts.
    changes: BTreeMap<(u64, i128), Exact>,
    size: Option<i128>,
    given_up: bool,
}

impl Edges {
    /// Notes what a number in a window changed by.
    pub(super) fn note(&mut self, sides: &Sides<'_, '_>) {
        if self.given_up {
            return;
        }
        let Some(by) = sides.old.number.zip(sides.new.number).and_then(|(old, new)| new.minus(old)) else { return };
        let Some(tree) = sides.whole.old_tree() else { return };
        let Some(window) = window(tree).filter(|window| window.size.is_some()) else { return };
        let is_other = self.size.is_some() && self.size != window.size;
        let mut of = 0;
        places(tree, &mut |path, node| {
            if let Node::Text(text) = node
                && Side::new(Some(node)).instant.is_none()
            {
                of ^= mix(xxh3_64(path.as_bytes()), xxh3_64(text.as_bytes()));
            }
        });
        self.size = window.size;
        self.changes.insert((of, window.start), by);
        self.given_up = self.changes.len() > WINDOWS_MAX || is_other;
        self.bound();
    }

    /// Adds what was noted elsewhere.
    pub(super) fn add(&mut self, other: &Self) {
        self.given_up |= other.given_up || (self.size.is_some() && other.size.is_some() && self.size != other.size);
        self.size = self.size.or(other.size);
        self.changes.extend(other.changes.iter().map(|(window, by)| (*window, *by)));
        self.given_up |= self.changes.len() > WINDOWS_MAX;
        self.bound();
    }

    fn bound(&mut self) {
        if self.given_up {
            self.changes.clear();
        }
    }

    /// Says that what one window loses its neighbour gains.
    pub(super) fn claim(&self, evidence: &Evidence<'_>) -> Option<Claim> {
        let size = self.size.filter(|_| !self.given_up)?;
        let all: Vec<(&(u64, i128), &Exact)> = self.changes.iter().collect();
        let follows = |one: &(u64, i128), next: &(u64, i128)| one.0 == next.0 && next.1 - one.1 <= size;
        let (mut explains, mut runs, mut later) = (0, 0, 0);
        for run in all.chunk_by(|one, next| follows(one.0, next.0)) {
            let zero = Exact::whole(0);
            let sum = run.iter().try_fold(zero, |sum, (_, by)| by.times(-1).and_then(|by| sum.minus(by)))?;
            if run.len() >= 2 && sum.digits == 0 {
                (explains, runs) = (explains + run.len() as u64, runs + 1);
                later += usize::from(run.first().is_some_and(|(_, by)| by.digits < 0));
            }
        }
        if runs < RUNS_MIN || !evidence.is_enough(explains) {
            return None;
        }
        let towards = match later {
            later if later == runs => ", always into the later one",
            0 => ", always into the earlier one",
            _ => "",
        };
        let says = format!(
            "new counts at {} in one window what old counts in its neighbour{towards}: events at the edge fall on its other side",
            evidence.path
        );
        Some(Claim { name: "window-edge", rank: 0, explains, says })
    }
}
