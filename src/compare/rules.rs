//! The scenario's `[compare]`: which outputs stand for each other, where order counts and what does not.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json_path::JsonPath;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use super::business::Figures;
use super::declared::{AnyOfSettings, KeyedSettings, MaskRegexSettings, NormaliseSettings, Place, TopicRules};
use super::drives::Drive;
use super::expected::Expectations;
use super::golden::{Production, Side};
use super::json::NoJson;
use super::paths::{Automaton, Query};
use super::reading::{Parted, Reading};
use super::scan::{Scanned, Wanted, mix, scan};
use super::shape::{Shape, Shapes};
use crate::outcome::Channel;
use crate::schema::{SchemaText, Schemas};
use crate::settings::{SettingError, Span};

/// How outputs of two builds are compared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct CompareSettings {
    /// Paths whose values together say which outputs stand for each other, such as `["$.payment_id"]`. Default: topic and key.
    /// An output on which none of the paths is found falls back to topic and key.
    pub identity: Vec<String>,
    /// Where the order of outputs counts: `none`, `key` (within a topic and key; outputs without a key are independent) or
    /// `total`.
    pub order: Order,
    /// Paths that are left out of every comparison, such as `["$.paid_at"]`.
    pub ignore: Vec<String>,
    /// Headers that are left out of every comparison, such as `["traceparent"]`.
    pub ignore_headers: Vec<String>,
    /// Numbers that may differ a little.
    pub tolerance: Vec<ToleranceSettings>,
    /// Paths of arrays whose order does not count, such as `["$.tags"]`; how often an element stands there does.
    pub set: Vec<String>,
    /// Arrays whose elements are known by a key, wherever they stand.
    pub keyed_by: Vec<KeyedSettings>,
    /// Places at which several answers are right.
    pub any_of: Vec<AnyOfSettings>,
    /// Values that may be written in several ways.
    pub normalise: Vec<NormaliseSettings>,
    /// Texts of which a part does not count.
    pub mask_regex: Vec<MaskRegexSettings>,
    /// Rules that hold for one topic only, beside those for all.
    pub topics: BTreeMap<String, TopicRules>,
    /// How far apart in event time the same output may be written before it counts as `later` or `earlier`, and how far two
    /// given timestamps may differ before it counts as `metadata`.
    pub time_tolerance: Span,
    /// What says at which event time an output was written: the event that caused it, or its own timestamp.
    pub event_time: EventTime,
    /// Whether a timestamp given by the build is compared.
    pub timestamps: bool,
    /// Topics that carry updates of which only the last for each identity counts. Other intermediate updates are then a
    /// `refinement`, which is information; the last value is judged as everywhere.
    pub updates: Vec<String>,
    /// Topics that are the changelog of a table: of each key the last value counts, a tombstone takes it away, and what led there is
    /// not compared. Topics that the recording knows as changelogs are compared so without a word.
    pub tables: Vec<String>,
    /// Whether the same JSON in other bytes (order of fields, white space, `1.0` for `1`) is a change. By default it is counted
    /// and shown as information.
    pub bytes: bool,
    /// Memory in MiB for matching; beyond it, outputs are partitioned on disk.
    #[schemars(range(min = 16))]
    pub memory: u64,
}

impl Default for CompareSettings {
    fn default() -> Self {
        Self {
            identity: Vec::new(),
            order: Order::Key,
            ignore: Vec::new(),
            ignore_headers: Vec::new(),
            tolerance: Vec::new(),
            set: Vec::new(),
            keyed_by: Vec::new(),
            any_of: Vec::new(),
            normalise: Vec::new(),
            mask_regex: Vec::new(),
            topics: BTreeMap::new(),
            time_tolerance: Span::default(),
            event_time: EventTime::Cause,
            timestamps: true,
            updates: Vec::new(),
            tables: Vec::new(),
            bytes: false,
            memory: 256,
        }
    }
}

/// Where the order of outputs counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// Nowhere.
    None,
    /// Among outputs of one topic and key.
    #[default]
    Key,
    /// Among all outputs.
    Total,
}

/// What says at which event time an output was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EventTime {
    /// The timestamp of the event that caused it, where the build states the cause.
    #[default]
    Cause,
    /// The output's own timestamp.
    Timestamp,
}

/// A number that may differ a little.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ToleranceSettings {
    /// Path of the number, such as `$.amount` or `$.items[*].price`.
    pub path: String,
    /// Largest difference that is still equal.
    #[serde(default)]
    pub absolute: Option<f64>,
    /// Largest difference that is still equal, as a share of the larger number.
    #[serde(default)]
    pub relative: Option<f64>,
}

impl CompareSettings {
    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// Names the key, such as `compare.identity[0]`: a path that is none, a tolerance that tolerates nothing.
    pub fn check(&self) -> Result<Rules, SettingError> {
        Rules::new(self)
    }
}

/// Checked rules of a comparison.
#[derive(Debug, Clone)]
pub struct Rules {
    pub(super) settings: CompareSettings,
    pub(super) tolerances: Vec<Tolerance>,
    pub(super) ignore_headers: BTreeSet<String>,
    pub(super) updates: BTreeSet<String>,
    tables: BTreeSet<String>,
    pub(super) automaton: Automaton,
    pub(super) wanted: Wanted,
    /// What is known of production, where one side is what it wrote.
    pub(super) production: Option<Production>,
    /// Figures of the business that outputs are added up to.
    pub(super) figures: Figures,
    /// Schemas of framed values.
    schemas: Schemas,
    /// How values are read.
    reading: Reading,
    /// Topics that are known to be there, whether or not anything is written to them.
    known_topics: BTreeSet<String>,
    /// What is expected of new.
    expected: Arc<Expectations>,
    /// Whether only values count, not what stands around them.
    of_values: bool,
    /// Identity paths that need the whole value, with their place among the identity's paths.
    identity_queries: Vec<(u32, JsonPath)>,
    /// Sinks that are left out, as nothing is known of them in some drive.
    unseen_sinks: BTreeSet<String>,
    /// Ignored paths that need the whole value.
    ignore_queries: Vec<(u32, JsonPath)>,
    /// Rules that bring values into shape before they are compared.
    shapes: Shapes,
    /// Texts of the rules on `ignore`, then of those on `tolerance`.
    texts: Vec<String>,
    /// Rules of topics that have some of their own, those for all among them.
    by_topic: BTreeMap<String, Rules>,
}

impl Default for Rules {
    /// Rules that no setting changed: identity is topic and key, order counts within them.
    fn default() -> Self {
        Self {
            settings: CompareSettings::default(),
            tolerances: Vec::new(),
            ignore_headers: BTreeSet::new(),
            updates: BTreeSet::new(),
            tables: BTreeSet::new(),
            automaton: Automaton::default(),
            wanted: Wanted::default(),
            production: None,
            figures: Figures::default(),
            schemas: Schemas::default(),
            reading: Reading::default(),
            known_topics: BTreeSet::new(),
            expected: Arc::default(),
            of_values: false,
            identity_queries: Vec::new(),
            unseen_sinks: BTreeSet::new(),
            ignore_queries: Vec::new(),
            shapes: Shapes::default(),
            texts: Vec::new(),
            by_topic: BTreeMap::new(),
        }
    }
}

/// How far two numbers at a path may be apart.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tolerance {
    absolute: f64,
    relative: f64,
}

impl Tolerance {
    fn check(settings: &ToleranceSettings, key: &str) -> Result<Self, SettingError> {
        for (name, amount) in [("absolute", settings.absolute), ("relative", settings.relative)] {
            if let Some(amount) = amount.filter(|amount| !amount.is_finite() || *amount < 0.0) {
                let instead = format!("Write a positive number, such as `{name} = 0.005`.");
                return Err(SettingError::new(
                    format!("{key}.{name}"),
                    format!("{amount} is no positive number"),
                    instead,
                ));
            }
        }
        let tolerance =
            Self { absolute: settings.absolute.unwrap_or_default(), relative: settings.relative.unwrap_or_default() };
        if tolerance.absolute == 0.0 && tolerance.relative == 0.0 {
            return Err(SettingError::new(key, "tolerates nothing", "Write `absolute = 0.005` or `relative = 0.01`."));
        }
        Ok(tolerance)
    }

    /// Whether two numbers are near enough. Reaches a hair beyond the limit, as decimal fractions have no exact binary form.
    pub(super) fn allows(self, old: f64, new: f64) -> bool {
        let apart = (old - new).abs();
        let hair = 4.0 * f64::EPSILON * old.abs().max(new.abs());
        apart <= self.absolute + hair || apart <= self.relative * old.abs().max(new.abs()) + hair
    }
}

/// Number of the first ignore path and of the first tolerance in the automaton; identity paths come first.
const NUMBERS_MAX: usize = 32;

impl Rules {
    fn new(settings: &CompareSettings) -> Result<Self, SettingError> {
        if settings.memory < 16 {
            return Err(SettingError::new("compare.memory", "is too little to match in", "Write 16 (MiB) or more."));
        }
        let mut rules = Self::read(settings, &Place::new(settings, None))?;
        for (topic, own) in &settings.topics {
            let place = Place::new(settings, Some(topic));
            let reading = Reading::check(own, &place.table())?;
            let of_topic = Self { reading, ..Self::read(&settings.joined(own), &place)? };
            rules.by_topic.insert(topic.clone(), of_topic);
        }
        Ok(rules)
    }

    /// Reads rules that are written at `place`.
    fn read(settings: &CompareSettings, place: &Place<'_>) -> Result<Self, SettingError> {
        let paths = settings.identity.len() + settings.ignore.len() + settings.tolerance.len();
        let paths = paths + Shapes::count(settings);
        if paths > NUMBERS_MAX {
            let problem = format!("{paths} paths of rules, `identity` and `ignore` are too many");
            return Err(SettingError::new(
                place.table(),
                problem,
                format!("Write {NUMBERS_MAX} paths at most; `$..name` covers many."),
            ));
        }
        let mut rules = Self {
            ignore_headers: settings.ignore_headers.iter().cloned().collect(),
            updates: settings.updates.iter().cloned().collect(),
            tables: settings.tables.iter().cloned().collect(),
            settings: settings.clone(),
            ..Self::default()
        };
        let mut scans = Vec::new();
        let mut number = 0;
        for (at, text) in settings.identity.iter().enumerate() {
            match Query::read(text, &format!("compare.identity[{at}]"))? {
                query @ Query::Scan(_) if !query.is_singular() => {
                    let general = JsonPath::parse(text)
                        .map_err(|error| SettingError::new(format!("compare.identity[{at}]"), error.to_string(), ""))?;
                    rules.identity_queries.push((number, general));
                }
                Query::Scan(path) => {
                    rules.wanted.identity |= 1 << number;
                    scans.push((number, path));
                }
                Query::General(query) => rules.identity_queries.push((number, query)),
            }
            number += 1;
        }
        for (at, text) in settings.ignore.iter().enumerate() {
            rules.wanted.ignore |= 1 << number;
            rules.texts.push(place.text("ignore", at, text));
            match Query::read(text, &place.key("ignore", at))? {
                Query::Scan(path) => scans.push((number, path)),
                Query::General(query) => rules.ignore_queries.push((number, query)),
            }
            number += 1;
        }
        for (at, tolerance) in settings.tolerance.iter().enumerate() {
            let key = place.key("tolerance", at);
            rules.texts.push(place.text("tolerance", at, &tolerance.path));
            rules.tolerances.push(Tolerance::check(tolerance, &key)?);
            match Query::read(&tolerance.path, &format!("{key}.path"))? {
                Query::Scan(path) => {
                    rules.wanted.tolerance |= 1 << number;
                    scans.push((number, path));
                }
                Query::General(_) => {
                    let problem = format!("`{}` is more than names, indices and wildcards", tolerance.path);
                    return Err(SettingError::new(
                        format!("{key}.path"),
                        problem,
                        "Write a path such as `$.items[*].price`.",
                    ));
                }
            }
            number += 1;
        }
        rules.shapes = Shapes::read(settings, place, number, &mut scans)?;
        let automaton = Automaton::new(scans.iter().map(|(number, path)| (*number, path)));
        rules.automaton = automaton.ok_or_else(|| {
            SettingError::new(
                place.table(),
                "the paths have too many steps in all",
                "Write fewer or shorter paths; `$..name` covers many.",
            )
        })?;
        Ok(rules)
    }

    /// The same rules, with values that `schemas` describe compared as what they say, path by path, instead of as bytes. The ids
    /// that frame them are metadata.
    #[must_use]
    pub fn with_schemas(self, schemas: Schemas) -> Self {
        self.everywhere(schemas, |rules, schemas| {
            rules.reading.resolve(&schemas);
            rules.schemas = schemas;
        })
    }

    /// The same rules for `drives`, of which each may have schemas of its own.
    pub(super) fn for_drives<'d>(&self, drives: impl IntoIterator<Item = &'d dyn Drive>) -> Cow<'_, Self> {
        let texts: Vec<&SchemaText> = drives.into_iter().flat_map(Drive::schemas).collect();
        if texts.is_empty() {
            return Cow::Borrowed(self);
        }
        let schemas = self.schemas.and(texts);
        Cow::Owned(self.clone().with_schemas(schemas))
    }

    /// Checks that the schemas which rules of topics name are among those of [`Rules::with_schemas`].
    ///
    /// # Errors
    ///
    /// Names the key, such as `compare.topics.payouts.schema`.
    pub fn check_schemas(&self) -> Result<(), SettingError> {
        self.by_topic.values().try_for_each(|rules| rules.reading.check_schema(&self.schemas))
    }

    /// The same rules, with these topics known to be there: rules of a topic that is neither among them nor written to by any build
    /// are told as misspelled.
    #[must_use]
    pub fn with_known_topics(mut self, topics: impl IntoIterator<Item = String>) -> Self {
        self.known_topics.extend(topics);
        self
    }

    /// Topics that are known to be there.
    pub(super) fn known_topics(&self) -> &BTreeSet<String> {
        &self.known_topics
    }

    /// Why a value of `topic` is not what the scenario declares it to be; none where it is, or nothing is declared.
    pub(super) fn refusal(&self, topic: &str, value: Option<&[u8]>) -> Option<String> {
        let rules = self.by_topic.get(topic)?;
        rules.reading.refusal(value?, &rules.schemas)
    }

    /// Whether values are bytes by declaration.
    pub(super) fn is_opaque(&self) -> bool {
        self.reading.is_opaque()
    }

    /// Whether a value is a tree as it stands.
    pub(super) fn is_tree(&self, value: &[u8]) -> bool {
        self.reading.is_tree(value)
    }

    /// Whether values are text by declaration.
    pub(super) fn is_text(&self) -> bool {
        self.reading.is_text()
    }

    /// Whether the frame of a value leaves open what it frames.
    pub(super) fn is_open(&self, value: &[u8]) -> bool {
        self.reading.is_open(value, &self.schemas)
    }

    /// Changes these rules and those of each topic alike.
    fn everywhere<T: Clone>(mut self, value: T, change: fn(&mut Self, T)) -> Self {
        self.by_topic.values_mut().for_each(|rules| change(rules, value.clone()));
        change(&mut self, value);
        self
    }

    /// Rules of a topic.
    pub(super) fn of(&self, topic: &str) -> &Self {
        if self.by_topic.is_empty() { self } else { self.by_topic.get(topic).unwrap_or(self) }
    }

    /// Whether numbers may differ a little in any topic.
    pub(super) fn tolerates(&self) -> bool {
        !self.tolerances.is_empty() || self.by_topic.values().any(|rules| !rules.tolerances.is_empty())
    }

    /// Whether two values agree at a path only where they say the same there: nothing is expected of new there, no number may differ
    /// a little, and values are compared as they were written.
    pub(super) fn is_exact(&self, path: &str, names: &[String]) -> bool {
        let mut ends = (self.automaton.start(), self.root());
        for name in names {
            ends = self.automaton.name(ends.0, name);
        }
        self.keeps_shape() && ends.1 & self.wanted.tolerance == 0 && !self.expected.speaks_of_path(path)
    }

    /// The rule that an array is compared by at which the paths `ends` end.
    pub(super) fn list(&self, ends: u32) -> Option<&Shape> {
        self.shapes.list(ends)
    }

    /// Paths that end at the whole value.
    pub(super) fn root(&self) -> u32 {
        self.shapes.root
    }

    /// Whether values are compared in the shape in which they were written, whatever is left out of them.
    pub(super) fn keeps_shape(&self) -> bool {
        self.shapes.is_empty() && self.ignore_queries.is_empty() && !self.is_opaque()
    }

    /// Whether values are compared as they are written, nothing left out of them.
    pub(super) fn sees_bytes(&self) -> bool {
        self.wanted.ignore == 0 && self.shapes.is_empty()
    }

    /// Whether production stands for old, so that drives of new say what the noise is.
    pub(super) fn is_turned(&self) -> bool {
        self.production.as_ref().is_some_and(|production| production.side == Side::Old)
    }

    /// The same rules for one build against what production itself wrote. Partitions, timestamps and stated causes are not compared, and
    /// order counts within a key at most.
    #[must_use]
    pub fn against_production(mut self, production: Production) -> Self {
        self.tables.extend(production.tables.keys().cloned());
        self.production = Some(production);
        self.everywhere((), |rules, ()| {
            rules.settings.timestamps = false;
            rules.settings.event_time = EventTime::Cause;
            if rules.settings.order == Order::Total {
                rules.settings.order = Order::Key;
            }
        })
    }

    /// The same rules, with these topics compared as tables, too.
    #[must_use]
    pub fn with_tables(mut self, topics: impl IntoIterator<Item = String>) -> Self {
        self.tables.extend(topics);
        self
    }

    /// Whether outputs there are updates of a table.
    pub(super) fn is_table(&self, channel: Channel, topic: &str) -> bool {
        channel == Channel::Output && self.tables.contains(topic)
    }

    /// Whether any topic is a table.
    pub(super) fn has_tables(&self) -> bool {
        !self.tables.is_empty()
    }

    /// The same rules, with outputs added up to `figures` on the way.
    #[must_use]
    pub fn with_figures(self, figures: Figures) -> Self {
        Self { figures, ..self }
    }

    /// The same rules with what is expected of new beside old.
    #[must_use]
    pub fn with_expected(self, expected: Expectations) -> Self {
        self.everywhere(Arc::new(expected), |rules, expected| rules.expected = expected)
    }

    /// What is expected of new beside old.
    pub(super) fn expected(&self) -> &Expectations {
        &self.expected
    }

    /// What a value is shown as, where that is not itself: JSON that its schema or its form says.
    pub(super) fn shown(&self, value: &[u8]) -> Option<Vec<u8>> {
        self.reading.shown(value, &self.schemas)
    }

    /// Parts what frames a value from what it says: JSON where its schema or form is known, else the bytes as they stand.
    pub(super) fn unframed<'v>(&self, value: &'v [u8]) -> Parted<'v> {
        self.reading.parted(value, &self.schemas)
    }

    /// Settings as they were written.
    pub fn settings(&self) -> &CompareSettings {
        &self.settings
    }

    /// The same rules for a build against itself: an effect is its value, whatever timestamp, headers or cause it has.
    pub(super) fn of_values(&self) -> Self {
        let alone = Self { figures: Figures::default(), ..self.clone() };
        alone.everywhere((), |rules, ()| {
            rules.of_values = true;
            rules.expected = Arc::default();
        })
    }

    /// Whether only values count, not what stands around them.
    pub(super) fn is_of_values(&self) -> bool {
        self.of_values
    }

    /// Whether identities are read from values.
    pub(super) fn has_identity(&self) -> bool {
        !self.settings.identity.is_empty()
    }

    /// Leaves out these sinks: where the snapshot of one drive is missing, those of the others have nothing to stand against.
    #[must_use]
    pub fn without_sinks(self, sinks: BTreeSet<String>) -> Self {
        self.everywhere(sinks, |rules, sinks| rules.unseen_sinks = sinks)
    }

    pub(super) fn is_unseen_sink(&self, channel: Channel, topic: &str) -> bool {
        channel == Channel::Sink && self.unseen_sinks.contains(topic)
    }

    /// Whether order counts and its subsets are the identities themselves.
    pub(super) fn orders_identities(&self) -> bool {
        self.settings.order == Order::Key && !self.has_identity()
    }

    /// Whether each value must be scanned to know what counts in it.
    pub(super) fn reads_values(&self) -> bool {
        self.has_identity() || !self.sees_bytes()
    }

    /// Whether anything but which values are the same is asked of values, in any topic.
    pub(super) fn needs_values(&self) -> bool {
        let needs = |rules: &Self| rules.reads_values() || rules.reading.is_declared();
        let beside = !self.figures.asked.is_empty() || !self.expected.is_empty();
        beside || needs(self) || self.by_topic.values().any(needs)
    }

    pub(super) fn time_tolerance_ms(&self) -> i64 {
        self.settings.time_tolerance.us() / 1_000
    }

    /// Tolerance of the path `number`.
    pub(super) fn tolerance(&self, number: u32) -> Option<(Tolerance, String)> {
        let ignored = self.settings.ignore.len();
        let at = (number as usize).checked_sub(self.settings.identity.len() + ignored)?;
        Some((*self.tolerances.get(at)?, self.texts.get(ignored + at)?.clone()))
    }

    /// Rules that leave something out of what is compared, by their lane in [`Entry::ignored`](super::gather::Entry::ignored),
    /// with their text.
    pub(super) fn silencers(&self) -> impl Iterator<Item = (u32, &str)> {
        let ignored = self.texts.iter().take(self.settings.ignore.len()).map(String::as_str);
        (0..).zip(ignored.chain(self.shapes.texts()))
    }

    /// Number of such rules.
    pub(super) fn silencer_count(&self) -> u32 {
        (self.settings.ignore.len() + self.shapes.len()) as u32
    }

    /// Lane of the rule whose path has this number.
    pub(super) fn lane(&self, number: u32) -> u32 {
        let lane = number - self.settings.identity.len() as u32;
        if number < self.shapes.first() || self.shapes.is_empty() { lane } else { lane - self.tolerances.len() as u32 }
    }

    /// The value as it is compared: without what only a query can find, and in the shape that rules want. Borrowed where no such
    /// rule is there or the value is none that they are about. With it come hashes of what each rule made nothing of.
    pub(super) fn reduced<'v>(&self, value: &'v [u8]) -> (Cow<'v, [u8]>, Vec<(u32, u64)>) {
        if self.is_opaque() {
            return (Cow::Borrowed(value), Vec::new());
        }
        let (value, mut removed) = self.without_queried(value);
        if self.shapes.is_empty() {
            return (value, removed);
        }
        let (value, silenced) = self.shapes.shaped(value, &self.automaton, self.wanted);
        removed.extend(silenced);
        (value, removed)
    }

    fn without_queried<'v>(&self, value: &'v [u8]) -> (Cow<'v, [u8]>, Vec<(u32, u64)>) {
        if self.ignore_queries.is_empty() {
            return (Cow::Borrowed(value), Vec::new());
        }
        let Ok(mut tree) = serde_json::from_slice::<serde_json::Value>(value) else {
            return (Cow::Borrowed(value), Vec::new());
        };
        let mut removed = Vec::new();
        for (number, query) in &self.ignore_queries {
            let located = query.query_located(&tree);
            let pointers: Vec<String> =
                located.locations().map(serde_json_path::NormalizedPath::to_json_pointer).collect();
            // From the back, so that the indices of an array still hold.
            for pointer in pointers.iter().rev() {
                if let Some(gone) = remove(&mut tree, pointer) {
                    removed.push((*number, xxh3_64(gone.to_string().as_bytes())));
                }
            }
        }
        if removed.is_empty() {
            (Cow::Borrowed(value), removed)
        } else {
            (Cow::Owned(tree.to_string().into_bytes()), removed)
        }
    }

    /// Scans a value with these rules.
    pub(super) fn scan(&self, value: &[u8]) -> Result<Scanned, NoJson> {
        if self.is_opaque() {
            return Err(NoJson);
        }
        let (reduced, removed) = self.reduced(value);
        let mut found = scan(&reduced, &self.automaton, self.wanted)?;
        found.ignored.extend(removed);
        if !self.identity_queries.is_empty() {
            self.query_identity(if self.shapes.is_empty() { value } else { &reduced }, &mut found);
        }
        Ok(found)
    }

    fn query_identity(&self, value: &[u8], found: &mut Scanned) {
        let Ok(tree) = serde_json::from_slice::<serde_json::Value>(value) else { return };
        for (number, query) in &self.identity_queries {
            let nodes = query.query(&tree).all();
            if !nodes.is_empty() {
                let texts: Vec<String> = nodes.iter().map(ToString::to_string).collect();
                found.identity.push((*number, xxh3_128(texts.join("\u{0}").as_bytes())));
            }
        }
    }

    /// Joins the values of an identity; none where no path was found.
    pub(super) fn identity(found: &mut Scanned) -> Option<u128> {
        if found.identity.is_empty() {
            return None;
        }
        found.identity.sort_unstable();
        Some(found.identity.iter().fold(0x1DE_u128, |joined, (path, value)| {
            let high = mix((joined >> 64) as u64 ^ u64::from(*path), (value >> 64) as u64);
            let low = mix(joined as u64 ^ u64::from(*path), *value as u64);
            u128::from(high) << 64 | u128::from(low)
        }))
    }
}

/// Takes the value at a JSON pointer out of a tree.
fn remove(tree: &mut serde_json::Value, pointer: &str) -> Option<serde_json::Value> {
    let (parent, last) = pointer.rsplit_once('/')?;
    match tree.pointer_mut(parent)? {
        serde_json::Value::Object(members) => members.remove(&last.replace("~1", "/").replace("~0", "~")),
        serde_json::Value::Array(elements) => {
            let at: usize = last.parse().ok()?;
            (at < elements.len()).then(|| elements.remove(at))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(toml: &str) -> Result<Rules, SettingError> {
        toml::from_str::<CompareSettings>(toml).unwrap().check()
    }

    #[test]
    fn what_is_wrong_is_named_by_its_key() {
        for (toml, key) in [
            ("identity = ['payment_id']", "compare.identity[0]"),
            ("ignore = ['$.a', '$.[']", "compare.ignore[1]"),
            ("tolerance = [{ path = '$.a' }]", "compare.tolerance[0]"),
            ("tolerance = [{ path = '$.a', absolute = -1.0 }]", "compare.tolerance[0].absolute"),
            ("tolerance = [{ path = 'a', absolute = 1.0 }]", "compare.tolerance[0].path"),
            ("tolerance = [{ path = '$.a[?@.b]', absolute = 1.0 }]", "compare.tolerance[0].path"),
            ("memory = 1", "compare.memory"),
        ] {
            let error = check(toml).unwrap_err();
            assert_eq!(error.key, key, "{toml}");
            assert!(!error.instead.is_empty(), "{toml}");
        }
    }

    #[test]
    fn an_identity_is_read_by_path_and_by_query_alike() {
        let identity =
            |toml: &str, value: &str| Rules::identity(&mut check(toml).unwrap().scan(value.as_bytes()).unwrap());
        for toml in
            ["identity = ['$.id', '$.part']", "identity = ['$.items[?@.main].id']", "identity = ['$.items[*].id']"]
        {
            let one = identity(toml, r#"{"id":1,"part":2,"items":[{"main":true,"id":"a"}],"x":1}"#);
            assert!(one.is_some(), "{toml}");
            assert_eq!(one, identity(toml, r#"{"items":[{"id":"a","main":true}],"part":2.0,"id":1,"x":2}"#), "{toml}");
            assert_ne!(one, identity(toml, r#"{"id":2,"part":1,"items":[{"main":true,"id":"b"}]}"#), "{toml}");
            assert_eq!(identity(toml, "{}"), None, "{toml}");
        }
    }

    #[test]
    fn a_query_may_be_ignored() {
        let rules = check("ignore = ['$.items[?@.volatile]', '$.at']").unwrap();
        let said = |value: &str| rules.scan(value.as_bytes()).unwrap().said;
        assert_eq!(
            said(r#"{"at":1,"items":[{"volatile":1,"n":1},{"n":2},{"volatile":1,"n":3}]}"#),
            said(r#"{"items":[{"n":2}]}"#)
        );
        assert_ne!(said(r#"{"items":[{"n":2}]}"#), said(r#"{"items":[{"n":3}]}"#));
    }
}
