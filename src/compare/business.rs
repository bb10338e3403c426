//! `[[figure]]`: what the outputs of a drive come to in the words of the business, such as how many orders were paid and how much.
//!
//! Figures are added up in the pass that reads every output once. Sums are exact; what could not be added is counted, never guessed.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json_path::{JsonPath, PathElement};

use super::Standing;
use super::drives::Row;
use super::exact::Exact;
use super::json::{Decimal, Node};
use super::paths::{Automaton, Mask, Query};
use super::rules::Rules;
use super::values::by_name;
use crate::settings::SettingError;

/// Most figures of a scenario.
const FIGURES_MAX: usize = 64;

/// What the outputs of each drive come to: a figure of the business, compared old against new.
///
/// `[gates]` limits it by its name, as `"figure.orders-paid" = 0`; without a gate it is only shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct FigureSettings {
    /// What it is called, such as `orders-paid`.
    pub name: String,
    /// Whether outputs are counted or numbers of theirs added up.
    #[serde(default)]
    pub kind: FigureKind,
    /// Topic of the outputs, or the name of an `[[effect]]` or a `[[sink]]`.
    pub topic: String,
    /// Path in the value, such as `$.amount` or `$.items[*].price`. `sum` adds all numbers that stand there; `count` counts the
    /// outputs in which anything does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Which outputs: an RFC 9535 filter in which `@` is the value, such as `@.status == 'paid'`. All where it is left out.
    #[serde(default, rename = "where", skip_serializing_if = "Option::is_none")]
    pub only: Option<String>,
}

/// What a figure does with outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FigureKind {
    /// Counts them.
    #[default]
    Count,
    /// Adds up the numbers at its path.
    Sum,
}

/// Checked figures of a scenario, in its order.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    pub(super) asked: Vec<Asked>,
}

/// One checked figure.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) settings: FigureSettings,
    path: Option<Path>,
    only: Option<JsonPath>,
}

#[derive(Debug, Clone)]
enum Path {
    /// The value itself.
    Whole,
    /// A walk follows it.
    Walk(Automaton),
    /// It needs the value as a whole.
    General(JsonPath),
}

impl Figures {
    /// Checks `[[figure]]`.
    ///
    /// # Errors
    ///
    /// Names the key, such as `figure[0].path`: a name that is none or stands twice, a path or a filter that is none, a sum without
    /// a path.
    pub fn check(settings: &[FigureSettings]) -> Result<Self, SettingError> {
        if settings.len() > FIGURES_MAX {
            let problem = format!("{} figures are too many", settings.len());
            return Err(SettingError::new("figure", problem, format!("Write {FIGURES_MAX} at most.")));
        }
        let mut names = BTreeSet::new();
        let mut asked = Vec::with_capacity(settings.len());
        for (at, figure) in settings.iter().enumerate() {
            let key = |name: &str| format!("figure[{at}].{name}");
            let plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
            if figure.name.is_empty() || !figure.name.chars().all(plain) {
                let problem = format!("`{}` is no name", figure.name.escape_debug());
                let instead = "Write letters, digits, `-`, `_` and `.`, such as `orders-paid`.";
                return Err(SettingError::new(key("name"), problem, instead));
            }
            if !names.insert(figure.name.as_str()) {
                let problem = format!("there is another figure `{}`", figure.name);
                return Err(SettingError::new(key("name"), problem, "Write a name of its own."));
            }
            if figure.topic.is_empty() {
                return Err(SettingError::new(key("topic"), "names no topic", "Write a topic that builds write."));
            }
            if figure.kind == FigureKind::Sum && figure.path.is_none() {
                let instead = "Write the path of a number, such as `path = \"$.amount\"`.";
                return Err(SettingError::new(key("path"), "nothing says which numbers are added up", instead));
            }
            let path = figure.path.as_ref().map(|path| Path::read(path, &key("path"))).transpose()?;
            let only = figure.only.as_ref().map(|only| filter(only, &key("where"))).transpose()?;
            asked.push(Asked { settings: figure.clone(), path, only });
        }
        Ok(Self { asked })
    }

    /// Returns the names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.asked.iter().map(|asked| asked.settings.name.as_str())
    }
}

/// Reads a filter expression. The query runs over an array of one, so that `@` is the value.
fn filter(expression: &str, key: &str) -> Result<JsonPath, SettingError> {
    JsonPath::parse(&format!("$[?{expression}]")).map_err(|error| {
        let problem = format!("`{expression}` is no filter: {}", error.message());
        let instead = "Write an RFC 9535 filter in which `@` is the value, such as `@.status == 'paid'`.";
        SettingError::new(key, problem, instead)
    })
}

impl Path {
    fn read(text: &str, key: &str) -> Result<Self, SettingError> {
        if text.trim() == "$" {
            return Ok(Self::Whole);
        }
        Ok(match Query::read(text, key)? {
            Query::General(query) => Self::General(query),
            Query::Scan(path) => match Automaton::new(std::iter::once((0, &path))) {
                Some(automaton) => Self::Walk(automaton),
                None => return Err(SettingError::new(key, "the path has too many steps", "Write a shorter one.")),
            },
        })
    }

    /// Shows what stands at the path to `take`.
    fn each<'n>(&self, node: &'n Node<'n>, whole: Option<&Value>, take: &mut dyn FnMut(&Node<'_>)) {
        match self {
            Self::Whole => take(node),
            Self::Walk(automaton) => walk(node, automaton, automaton.start(), take),
            Self::General(query) => {
                let located = whole.map(|whole| query.query_located(whole));
                for location in located.iter().flat_map(serde_json_path::LocatedNodeList::locations) {
                    if let Some(found) = location.iter().try_fold(node, below) {
                        take(found);
                    }
                }
            }
        }
    }
}

fn below<'n>(node: &'n Node<'n>, step: &PathElement<'_>) -> Option<&'n Node<'n>> {
    match (node, step) {
        // Of a name that stands twice the last counts, as for most readers.
        (Node::Object(members), PathElement::Name(name)) => {
            members.iter().rev().find(|(other, _)| other == name).map(|(_, value)| value)
        }
        (Node::Array(elements), PathElement::Index(index)) => elements.get(*index),
        _ => None,
    }
}

fn walk(node: &Node<'_>, automaton: &Automaton, mask: Mask, take: &mut dyn FnMut(&Node<'_>)) {
    let mut go = |value: &Node<'_>, (next, ends): (Mask, u32)| {
        if ends != 0 {
            take(value);
        }
        if next != 0 {
            walk(value, automaton, next, take);
        }
    };
    match node {
        Node::Object(members) => {
            for (name, value) in by_name(members) {
                go(value, automaton.name(mask, name));
            }
        }
        Node::Array(elements) => {
            for (index, value) in (0..).zip(elements) {
                go(value, automaton.index(mask, index));
            }
        }
        _ => {}
    }
}

/// What one figure came to in one drive so far.
#[derive(Debug, Clone, Default)]
pub(super) struct FigureTally {
    outputs: u64,
    counted: u64,
    without_path: u64,
    no_number: u64,
    unreadable: u64,
    total: Exact,
    /// The number furthest from zero that one output added.
    largest: f64,
}

/// Figures of one drive, in the order of the scenario.
#[derive(Debug, Clone, Default)]
pub(super) struct FigureTallies(Vec<FigureTally>);

impl FigureTallies {
    /// Adds one output.
    pub(super) fn take(&mut self, row: &Row<'_>, rules: &Rules) {
        let figures = &rules.figures.asked;
        self.0.resize_with(figures.len(), FigureTally::default);
        for (asked, tally) in figures.iter().zip(&mut self.0).filter(|(asked, _)| asked.settings.topic == row.topic) {
            tally.outputs += 1;
            if row.malformed {
                tally.unreadable += 1;
            } else if asked.path.is_none() && asked.only.is_none() {
                tally.count();
            } else {
                match row.value.map(|value| rules.of(row.topic).unframed(value)) {
                    Some((_, said)) => tally.look(asked, &said),
                    // A tombstone is the value null.
                    None => tally.look(asked, b"null"),
                }
            }
        }
    }
}

impl FigureTally {
    fn count(&mut self) {
        self.counted += 1;
        self.total.count();
        self.largest = self.largest.max(1.0);
    }

    fn look(&mut self, asked: &Asked, said: &[u8]) {
        let Ok(node) = Node::read(said) else {
            self.unreadable += 1;
            return;
        };
        let needs_whole = asked.only.is_some() || matches!(asked.path, Some(Path::General(_)));
        let whole = needs_whole.then(|| serde_json::from_slice::<Value>(said));
        let Ok(whole) = whole.transpose() else {
            self.unreadable += 1;
            return;
        };
        if let (Some(only), Some(whole)) = (&asked.only, &whole)
            && only.query(&Value::Array(vec![whole.clone()])).is_empty()
        {
            return;
        }
        let Some(path) = &asked.path else { return self.count() };
        let (mut found, mut numbers) = (0_u64, Vec::new());
        path.each(&node, whole.as_ref(), &mut |node| {
            found += 1;
            if let Node::Number(text) = node {
                numbers.push(Decimal::read(text));
            }
        });
        match asked.settings.kind {
            _ if found == 0 => self.without_path += 1,
            FigureKind::Count => self.count(),
            FigureKind::Sum => self.add(&numbers, found),
        }
    }

    /// Adds the numbers of one output, unless something stands among them that is none.
    fn add(&mut self, numbers: &[Decimal], found: u64) {
        let mut of_output = Exact::default();
        if numbers.len() as u64 != found || !numbers.iter().all(|number| of_output.add(number)) {
            self.no_number += 1;
            return;
        }
        self.counted += 1;
        for number in numbers {
            self.total.add(number);
        }
        self.largest = self.largest.max(of_output.about().abs());
    }

    fn result(&self) -> FigureOfDrive {
        FigureOfDrive {
            value: self.total.text(),
            outputs: self.outputs,
            counted: self.counted,
            without_path: self.without_path,
            no_number: self.no_number,
            unreadable: self.unreadable,
        }
    }
}

/// A figure of the business in every drive, and how far new is from old.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BusinessFigure {
    /// Name, as in the scenario.
    pub name: String,
    /// Whether outputs are counted or numbers added up.
    pub kind: FigureKind,
    /// Topic.
    pub topic: String,
    /// Path, as in the scenario.
    pub path: Option<String>,
    /// Filter, as in the scenario.
    #[serde(rename = "where")]
    pub only: Option<String>,
    /// What it came to by drive (`old`, `old_again`, `new`, …), warm-up left out.
    pub drives: BTreeMap<String, FigureOfDrive>,
    /// New less old, the first drive of each: an exact decimal number.
    pub deviation: String,
    /// The same as a share of old; none where old is zero.
    pub relative: Option<f64>,
    /// Largest less smallest of the drives of old: an exact decimal number; none with a single drive of old. Where old is what production
    /// wrote, of the drives of new.
    pub spread: Option<String>,
    /// What is known of the deviation; none where there is none.
    pub standing: Option<Standing>,
    /// Outputs that at least must have another part in it; none where there is no deviation.
    pub changed_at_least: Option<u64>,
    /// How likely drives of one build would lie so far apart; none where new lies within what drives of old differ by, or old was
    /// driven once. Joins the run's family of tests.
    pub p_value: Option<f64>,
    /// Benjamini-Hochberg adjusted p-value over the run's family.
    pub q_value: Option<f64>,
}

/// What a figure came to in one drive.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FigureOfDrive {
    /// The figure: an exact decimal number, such as `53402.5`.
    pub value: String,
    /// Outputs of the topic.
    pub outputs: u64,
    /// Those of them that are part of the figure.
    pub counted: u64,
    /// Chosen outputs in which nothing stands at the path.
    pub without_path: u64,
    /// Chosen outputs in which something else than numbers stands there, or a number beyond 540 places: nothing of them is added.
    pub no_number: u64,
    /// Outputs that could not be read, so that nobody knows whether they are part of it.
    pub unreadable: u64,
}

impl FigureOfDrive {
    /// Outputs that may be missing from the figure.
    pub fn left_out(&self) -> u64 {
        self.without_path + self.no_number + self.unreadable
    }
}

/// Ends counting: every figure in every drive, the first `olds` being those of old.
pub(super) fn results(tallies: &[FigureTallies], names: &[String], olds: usize, rules: &Rules) -> Vec<BusinessFigure> {
    let nothing = FigureTally::default();
    let figures = rules.figures.asked.iter().enumerate();
    // Of what production wrote there is one drive: those of new say what the noise is.
    let turned = rules.is_turned();
    let result = |(at, asked): (usize, &Asked)| {
        let FigureSettings { name, kind, topic, path, only } = asked.settings.clone();
        let of: Vec<&FigureTally> = tallies.iter().map(|drive| drive.0.get(at).unwrap_or(&nothing)).collect();
        let (old, new) = (of[0], of[olds]);
        let deviation = new.total.less(&old.total);
        let (noisy, judged) = if turned { (&of[olds..], old) } else { (&of[..olds], new) };
        let (least, most) = bounds(noisy);
        let is_equal = deviation.text() == "0";
        // One output that comes, goes or changes moves a count by one, and a sum by what it adds on one side and on the other.
        let reach = match kind {
            FigureKind::Count => 1.0,
            FigureKind::Sum => old.largest + new.largest,
        };
        let changed = (deviation.about().abs() / reach * (1.0 - 1e-9)).ceil().max(1.0) as u64;
        let base = old.total.about();
        BusinessFigure {
            name,
            kind,
            topic,
            path,
            only,
            drives: names.iter().cloned().zip(of.iter().map(|tally| tally.result())).collect(),
            deviation: deviation.text(),
            relative: (base != 0.0).then(|| deviation.about() / base.abs()),
            spread: (noisy.len() > 1).then(|| most.less(&least).text()),
            standing: None,
            changed_at_least: (!is_equal).then_some(changed),
            p_value: super::deviation::p_value(
                &noisy.iter().map(|tally| &tally.total).collect::<Vec<_>>(),
                &judged.total,
                changed,
            ),
            q_value: None,
        }
    };
    figures.map(result).collect()
}

/// Smallest and largest of what a figure came to.
fn bounds(tallies: &[&FigureTally]) -> (Exact, Exact) {
    let (mut least, mut most) = (tallies[0].total.clone(), tallies[0].total.clone());
    for tally in tallies {
        if least.is_above(&tally.total) {
            least = tally.total.clone();
        }
        if tally.total.is_above(&most) {
            most = tally.total.clone();
        }
    }
    (least, most)
}
