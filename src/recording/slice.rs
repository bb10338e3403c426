//! Part of a recording as a recording of its own: an incident becomes a scenario.
//!
//! Events keep their bytes, offsets, partitions and times. What is asked for by time, key or share of keys are the events of
//! inputs; tables and changelogs come as they stood when the slice begins, the last value of each key, and with what changed
//! them within it.

use std::collections::{BTreeMap, BTreeSet};

use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use super::accounts::Accounts;
use super::draft::Draft;
use super::opened::Opened;
use super::store::Target;
use super::{
    Columns, EventBatchBuilder, EventView, Partition, PartitionGaps, PersonalFacts, Recording, RecordingError,
    RecordingWriter, Role,
};

/// Keys of tables remembered at once: some 100 MB. Where there are more, the events ahead of the slice are read once for each
/// such part of the keys.
const KEYS_MAX: usize = 1 << 20;

/// What to keep of a recording. Everything that is asked for must hold for an event of an input.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SliceSettings {
    /// First event time kept, in microseconds since the Unix epoch.
    pub from_us: Option<i64>,
    /// Event time at which the slice ends, likewise; an event at this very time is left out.
    pub to_us: Option<i64>,
    /// Topics of inputs and outputs; empty: all. Tables and changelogs are kept beside them.
    pub topics: Vec<String>,
    /// Keys; empty: all.
    pub keys: Vec<Vec<u8>>,
    /// Share of keys, above 0 and at most 1. A key is kept in all topics or in none, and a larger share keeps what a smaller one
    /// kept. An event without a key counts as a key of its own.
    pub share: Option<f64>,
    /// Leaves tables and changelogs out.
    pub without_tables: bool,
}

/// What a slice came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SliceReport {
    /// Events looked at.
    pub read: u64,
    /// Events kept.
    pub kept: u64,
    /// Of those, events of tables and changelogs from ahead of the slice.
    pub tables: u64,
    /// Keys that were asked for and that no event within the slice has, as text.
    pub keys_missing: Vec<String>,
}

/// Why there is no slice.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SliceError {
    /// A setting does not fit.
    #[error("{setting}: {problem}")]
    Setting {
        /// Name of the option, such as `--share`.
        setting: &'static str,
        /// What is wrong, as a lowercase fragment.
        problem: String,
    },
    /// No event is left.
    #[error("no event of the recording is what was asked for")]
    Nothing,
    /// Somebody asked to stop.
    #[error("stopped before the slice was whole; nothing is left of it")]
    Stopped,
    /// The recording cannot be read, or the slice cannot be written.
    #[error(transparent)]
    Recording(#[from] RecordingError),
}

/// Writes what `settings` ask for of `recording` to a new recording in a directory or a store, which has its name only once it is
/// whole. `progress` is told now and then how far it has come, and ends the work by returning `false`.
///
/// # Errors
///
/// [`SliceError::Setting`], [`SliceError::Nothing`] and [`SliceError::Stopped`] with nothing written; [`RecordingError`] names the file and the cause.
pub fn slice(
    recording: &Recording,
    settings: &SliceSettings,
    out: impl Into<Target>,
    progress: &mut dyn FnMut(&SliceReport) -> bool,
) -> Result<SliceReport, SliceError> {
    slice_bounded(recording, settings, &out.into(), progress, KEYS_MAX)
}

fn slice_bounded(
    recording: &Recording,
    settings: &SliceSettings,
    out: &Target,
    progress: &mut dyn FnMut(&SliceReport) -> bool,
    keys_max: usize,
) -> Result<SliceReport, SliceError> {
    check(recording, settings)?;
    let draft = Draft::of(out)?;
    let lanes = lanes(recording, settings);
    let mut last = Marks::default();
    if settings.from_us.is_some() && lanes.iter().any(|lane| lane.role == LaneRole::Table) {
        last = last_values(recording, settings, &lanes, keys_max, &mut || progress(&SliceReport::default()))?;
    }
    let mut source = recording.manifest().source.clone();
    source.topics.retain(|topic| kept_topic(settings, &topic.name, topic.role) != LaneRole::Out);
    // Where capture began says nothing of where a slice does, nor does what came behind its end, before that end is reached.
    source.topics.iter_mut().for_each(|topic| topic.starts.clear());
    for topic in &mut source.topics {
        topic.held_back.clear();
        topic.deleted = false;
    }
    if settings.from_us.is_some() {
        source.topics.iter_mut().for_each(|topic| topic.windows.clear());
    }
    let mut windows = vec![Window::default(); lanes.len()];
    let mut accounts = Accounts::new(recording.manifest(), &lanes, &source);
    let (masks, masking) = (recording.manifest().masks.clone(), recording.manifest().masking.clone());
    let mut writer = RecordingWriter::create_masked(&draft.path, source, masks, masking)?;
    writer.keep_schemas_of(recording, |topic, role| kept_topic(settings, topic, role) != LaneRole::Out)?;
    carry_personal(recording, &mut writer);
    let mut batch = EventBatchBuilder::new();
    let mut report = SliceReport::default();
    let mut times = Times::new(settings, lanes.len());
    let mut keys = Keys::new(settings);
    let keyed = !settings.keys.is_empty() || settings.share.is_some();
    for (segment, group) in groups(&recording.inner) {
        // Coordinates first: most of a long recording lies outside of the slice, and its values are never decoded.
        let columns = Columns { key: keyed, ..Columns::NONE };
        let (mut keeps, mut gaps) = (Vec::new(), Vec::new());
        let mut row = recording.inner.segments[segment as usize].groups[group].first_row;
        for read in recording.inner.segment(segment)?.read_group(group, columns)? {
            for event in read?.iter() {
                let lane = lane_of(&recording.inner, event);
                let within = times.of(lane, event.timestamp_ms);
                let kept = match lanes[lane].role {
                    LaneRole::Table if within == When::Ahead && last.has(segment, row) => Keep::AheadOfIt,
                    LaneRole::Table if within == When::Within => Keep::Within,
                    LaneRole::Event if within == When::Within && keys.has(event) && is_of_share(settings, event) => {
                        Keep::Within
                    }
                    _ => Keep::Not,
                };
                keeps.push(kept);
                windows[lane].note(kept, event.offset);
                if lanes[lane].role != LaneRole::Out {
                    accounts.take(lane, event.offset, (within, kept), &mut |missing| gaps.push((lane, missing)));
                }
                row += 1;
            }
        }
        report.read += keeps.len() as u64;
        for (lane, missing) in gaps {
            writer.missing(&lanes[lane].partition.topic, lanes[lane].partition.partition, missing);
        }
        if keeps.iter().any(|keep| *keep != Keep::Not) {
            let mut keeps = keeps.into_iter();
            for read in recording.inner.segment(segment)?.read_group(group, Columns::ALL)? {
                for (event, keep) in read?.iter().zip(&mut keeps) {
                    if keep == Keep::Not {
                        continue;
                    }
                    report.kept += 1;
                    report.tables += u64::from(keep == Keep::AheadOfIt);
                    batch.push_view(event);
                    if batch.is_full() {
                        writer.write(&batch.finish())?;
                    }
                }
            }
        }
        if !progress(&report) {
            return Err(SliceError::Stopped);
        }
    }
    report.keys_missing = keys.missing();
    if !settings.keys.is_empty() && report.keys_missing.len() == settings.keys.len() {
        let named = report.keys_missing.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ");
        let problem = format!("no event of the slice has the key {named}");
        return Err(SliceError::Setting { setting: "--key", problem });
    }
    // What tables held ahead of it alone is no slice: nothing of the time that was asked for is in the recording.
    if report.kept == report.tables {
        return Err(SliceError::Nothing);
    }
    if !batch.is_empty() {
        writer.write(&batch.finish())?;
    }
    begin_where_accounted(&lanes, &windows, accounts, &mut writer);
    carry_lost(recording, &lanes, &mut writer);
    carry_ends(recording, &lanes, &times, &mut writer);
    drop_personal_of_none(&lanes, &mut writer);
    writer.seal()?;
    if draft.publish(&mut || progress(&report))? { Ok(report) } else { Err(SliceError::Stopped) }
}

/// Takes over what looks personal in the topics of the slice: of values nothing is looked at here, so all of it may be in there.
fn carry_personal(recording: &Recording, writer: &mut RecordingWriter) {
    let manifest = recording.manifest();
    let kept = |facts: &&PersonalFacts| writer.source().topics.iter().any(|topic| topic.name == facts.topic);
    let personal = manifest.personal.iter().filter(kept).cloned().collect();
    *writer.personal_mut() = personal;
    writer.set_strict_privacy(manifest.strict_privacy);
}

/// Says nothing of topics of which no event is in the slice.
fn drop_personal_of_none(lanes: &[Lane], writer: &mut RecordingWriter) {
    let has_events = |topic: &str| {
        let mut places = lanes.iter().map(|lane| &lane.partition).filter(|place| place.topic == topic);
        places.any(|place| writer.last_offset(topic, place.partition).is_some())
    };
    let mut personal = writer.personal().to_vec();
    personal.retain(|facts| has_events(&facts.topic));
    *writer.personal_mut() = personal;
}

/// Ends the accounts of all partitions, and says where each begins.
fn begin_where_accounted(lanes: &[Lane], windows: &[Window], mut accounts: Accounts<'_>, writer: &mut RecordingWriter) {
    for (number, (lane, window)) in
        lanes.iter().zip(windows).enumerate().filter(|(_, (lane, _))| lane.role != LaneRole::Out)
    {
        let Partition { topic, partition } = &lane.partition;
        accounts.end(number, &mut |missing| writer.missing(topic, *partition, missing));
        let Some(source) = writer.source_mut().topics.iter_mut().find(|source| source.name == *topic) else { continue };
        match (window.begin(), accounts.begin(number)) {
            (Some(window), begin) => {
                source.windows.insert(*partition, begin.unwrap_or(window));
            }
            (None, Some(begin)) => {
                source.starts.insert(*partition, begin);
            }
            (None, None) => {}
        }
    }
}

/// Takes over what the ledger says of partitions of which the recording has no event: what they lost may have been of any time.
fn carry_lost(recording: &Recording, lanes: &[Lane], writer: &mut RecordingWriter) {
    let manifest = recording.manifest();
    let has_events = |gaps: &PartitionGaps| {
        lanes.iter().any(|lane| lane.partition.topic == gaps.topic && lane.partition.partition == gaps.partition)
    };
    for gaps in manifest.gaps.iter().filter(|gaps| !has_events(gaps)) {
        let before = manifest.source.topics.iter().find(|topic| topic.name == gaps.topic);
        let start = before.and_then(|topic| topic.starts.get(&gaps.partition)).copied();
        let topic = writer.source_mut().topics.iter_mut().find(|topic| topic.name == gaps.topic);
        if let (Some(topic), Some(start)) = (topic, start) {
            topic.starts.insert(gaps.partition, start);
            writer.carry_gaps(std::slice::from_ref(gaps));
        }
    }
}

/// Takes over what came behind the end of the capture and is not in the recording, where the slice reaches that end.
fn carry_ends(recording: &Recording, lanes: &[Lane], times: &Times, writer: &mut RecordingWriter) {
    let is_cut = |topic: &str, partition: i32| {
        let lane = lanes.iter().position(|lane| lane.partition.topic == topic && lane.partition.partition == partition);
        lane.is_some_and(|lane| times.before[lane] == When::Behind)
    };
    let manifest = recording.manifest();
    for topic in &mut writer.source_mut().topics {
        let Some(before) = manifest.source.topics.iter().find(|before| before.name == topic.name) else { continue };
        let held_back = before.held_back.iter().filter(|(partition, _)| !is_cut(&before.name, **partition));
        topic.held_back = held_back.map(|(&partition, &offset)| (partition, offset)).collect();
        let mut partitions = lanes.iter().map(|lane| &lane.partition).filter(|place| place.topic == before.name);
        topic.deleted = before.deleted && partitions.any(|place| !is_cut(&place.topic, place.partition));
    }
    let mut kept = lanes.iter().filter(|lane| lane.role != LaneRole::Out);
    let reaches_an_end = kept.any(|lane| !is_cut(&lane.partition.topic, lane.partition.partition));
    if let Some(why) = manifest.ended_early.clone().filter(|_| reaches_an_end) {
        writer.set_ended_early(why);
    }
}

/// Where the slice of a partition begins, once what stood in a table ahead of it was kept.
#[derive(Debug, Clone, Copy, Default)]
struct Window {
    last_ahead: Option<i64>,
    first_within: Option<i64>,
}

impl Window {
    fn note(&mut self, keep: Keep, offset: i64) {
        match keep {
            // Behind an event of the slice it changes the table within it, whatever its time.
            Keep::AheadOfIt if self.first_within.is_none() => self.last_ahead = Some(offset),
            Keep::Within => self.first_within = self.first_within.or(Some(offset)),
            Keep::AheadOfIt | Keep::Not => {}
        }
    }

    /// None where the slice begins with its first event.
    fn begin(self) -> Option<i64> {
        self.last_ahead.map(|ahead| self.first_within.unwrap_or(ahead + 1))
    }
}

fn check(recording: &Recording, settings: &SliceSettings) -> Result<(), SliceError> {
    let refuse = |setting, problem: String| Err(SliceError::Setting { setting, problem });
    if *settings == (SliceSettings { without_tables: settings.without_tables, ..SliceSettings::default() }) {
        return refuse("slice", "nothing says what to keep".to_owned());
    }
    if let (Some(from_us), Some(to_us)) = (settings.from_us, settings.to_us)
        && from_us >= to_us
    {
        return refuse("--to", "the slice ends before it begins".to_owned());
    }
    if let Some(share) = settings.share
        && !(share > 0.0 && share <= 1.0)
    {
        return refuse("--share", format!("{share} is no share of keys; write a number above 0 and at most 1"));
    }
    let topics: BTreeSet<String> = recording.partitions().into_iter().map(|partition| partition.topic).collect();
    if let Some(missing) = settings.topics.iter().find(|topic| !topics.contains(*topic)) {
        let there = topics.iter().map(|topic| format!("`{topic}`")).collect::<Vec<_>>().join(", ");
        return refuse("--topic", format!("there are no events of topic `{missing}`; there are {there}"));
    }
    Ok(())
}

/// What happens to the events of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LaneRole {
    /// None is kept.
    Out,
    /// The last value of each key ahead of the slice is kept, and all within.
    Table,
    /// Those that were asked for are kept.
    Event,
}

pub(super) struct Lane {
    pub(super) partition: Partition,
    pub(super) role: LaneRole,
}

fn lanes(recording: &Recording, settings: &SliceSettings) -> Vec<Lane> {
    let topics = &recording.manifest().source.topics;
    let role = |name: &str| topics.iter().find(|topic| topic.name == name).map_or(Role::Input, |topic| topic.role);
    let lane = |partition: Partition| {
        let role = kept_topic(settings, &partition.topic, role(&partition.topic));
        Lane { partition, role }
    };
    recording.partitions().into_iter().map(lane).collect()
}

fn kept_topic(settings: &SliceSettings, topic: &str, role: Role) -> LaneRole {
    match role {
        Role::Table | Role::Changelog if settings.without_tables => LaneRole::Out,
        Role::Table | Role::Changelog => LaneRole::Table,
        _ if settings.topics.is_empty() || settings.topics.iter().any(|wanted| wanted == topic) => LaneRole::Event,
        _ => LaneRole::Out,
    }
}

fn lane_of(opened: &Opened, event: EventView<'_>) -> usize {
    let place =
        |partition: &Partition| (partition.topic.as_str(), partition.partition).cmp(&(event.topic, event.partition));
    opened.partitions.binary_search_by(place).expect("a recording's partitions are all that its events have")
}

/// Every row group with the segment it stands in.
fn groups(opened: &Opened) -> impl Iterator<Item = (u32, usize)> {
    (0_u32..)
        .zip(&opened.segments)
        .flat_map(|(segment, index)| (0..index.groups.len()).map(move |group| (segment, group)))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    Not,
    AheadOfIt,
    Within,
}

/// Where an event stands to the slice's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    Ahead,
    Within,
    Behind,
}

/// Tells for the events of each partition, in order of offset, where they stand: where their own time says, and those without a
/// time where the event ahead of them does; as a scenario's `[select]` does.
struct Times {
    from_us: Option<i64>,
    to_us: Option<i64>,
    before: Vec<When>,
}

impl Times {
    fn new(settings: &SliceSettings, lanes: usize) -> Self {
        let first = if settings.from_us.is_none() { When::Within } else { When::Ahead };
        Self { from_us: settings.from_us, to_us: settings.to_us, before: vec![first; lanes] }
    }

    fn of(&mut self, lane: usize, timestamp_ms: Option<i64>) -> When {
        let when = match timestamp_ms.map(|ms| ms.saturating_mul(1_000)) {
            None => self.before[lane],
            Some(time_us) if self.from_us.is_some_and(|from_us| time_us < from_us) => When::Ahead,
            Some(time_us) if self.to_us.is_none_or(|to_us| time_us < to_us) => When::Within,
            Some(_) => When::Behind,
        };
        self.before[lane] = when;
        when
    }
}

/// The keys that are asked for, and which of them were met.
struct Keys<'s> {
    wanted: &'s [Vec<u8>],
    met: Vec<bool>,
}

impl<'s> Keys<'s> {
    fn new(settings: &'s SliceSettings) -> Self {
        Self { wanted: &settings.keys, met: vec![false; settings.keys.len()] }
    }

    /// Whether the event has one of them, where any is asked for.
    fn has(&mut self, event: EventView<'_>) -> bool {
        if self.wanted.is_empty() {
            return true;
        }
        let Some(key) = event.key else { return false };
        let mut has = false;
        // One that is named twice is met twice.
        for (wanted, met) in self.wanted.iter().zip(&mut self.met) {
            let is_it = wanted == key;
            has |= is_it;
            *met |= is_it;
        }
        has
    }

    fn missing(self) -> Vec<String> {
        let missing = self.wanted.iter().zip(self.met).filter(|(_, met)| !met);
        missing.map(|(key, _)| String::from_utf8_lossy(key).into_owned()).collect()
    }
}

/// Whether the event's key is in the share that is asked for.
fn is_of_share(settings: &SliceSettings, event: EventView<'_>) -> bool {
    settings.share.is_none_or(|share| {
        let hash = match event.key {
            Some(key) => xxh3_64(key),
            None => xxh3_64(format!("{}/{}@{}", event.topic, event.partition, event.offset).as_bytes()),
        };
        // The upper 53 bits are all that a double holds: a number from 0 up to, not including, 1.
        ((hash >> 11) as f64) < share * 9_007_199_254_740_992.0
    })
}

/// Rows that are kept, a bit each.
#[derive(Debug, Default)]
struct Marks(BTreeMap<u32, Vec<u64>>);

impl Marks {
    fn set(&mut self, segment: u32, row: u32) {
        let words = self.0.entry(segment).or_default();
        let word = row as usize / 64;
        if words.len() <= word {
            words.resize(word + 1, 0);
        }
        words[word] |= 1 << (row % 64);
    }

    fn has(&self, segment: u32, row: u32) -> bool {
        let word = self.0.get(&segment).and_then(|words| words.get(row as usize / 64));
        word.is_some_and(|word| word >> (row % 64) & 1 == 1)
    }
}

/// Finds the last event of each key of the tables ahead of the slice; keys that were deleted have none.
fn last_values(
    recording: &Recording,
    settings: &SliceSettings,
    lanes: &[Lane],
    keys_max: usize,
    go_on: &mut dyn FnMut() -> bool,
) -> Result<Marks, SliceError> {
    let mut marks = Marks::default();
    let (mut part, mut parts) = (0, 1);
    while part < parts {
        let mut last = LastValues { part, parts, keys_max, places: BTreeMap::new() };
        if last.look_up(recording, settings, lanes, go_on)? {
            last.places.into_values().flatten().for_each(|(segment, row)| marks.set(segment, row));
            part += 1;
        } else {
            // What was found so far is found again.
            (part, parts) = (0, parts * 2);
        }
    }
    Ok(marks)
}

/// The last event of each key of one part of all keys.
struct LastValues {
    part: u128,
    parts: u128,
    keys_max: usize,
    /// Segment and row by the key's hash; none where it was deleted.
    places: BTreeMap<u128, Option<(u32, u32)>>,
}

impl LastValues {
    /// Reads all tables ahead of the slice; false where there are more keys than may be remembered.
    fn look_up(
        &mut self,
        recording: &Recording,
        settings: &SliceSettings,
        lanes: &[Lane],
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<bool, SliceError> {
        let mut times = Times::new(settings, lanes.len());
        for (segment, group) in groups(&recording.inner) {
            if !go_on() {
                return Err(SliceError::Stopped);
            }
            let index = &recording.inner.segments[segment as usize].groups[group];
            if !index.extents.iter().any(|extent| lanes[extent.partition as usize].role == LaneRole::Table) {
                continue;
            }
            let columns = Columns { key: true, value: true, headers: false };
            let mut row = index.first_row;
            for read in recording.inner.segment(segment)?.read_group(group, columns)? {
                for event in read?.iter() {
                    let lane = lane_of(&recording.inner, event);
                    let is_ahead = times.of(lane, event.timestamp_ms) == When::Ahead;
                    if let (true, LaneRole::Table, Some(key)) = (is_ahead, lanes[lane].role, event.key) {
                        let hash = hash_of(&lanes[lane].partition, key);
                        if hash % self.parts == self.part {
                            self.places.insert(hash, event.value.map(|_| (segment, row)));
                        }
                    }
                    row += 1;
                }
                if self.places.len() > self.keys_max {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }
}

fn hash_of(partition: &Partition, key: &[u8]) -> u128 {
    let mut bytes = Vec::with_capacity(partition.topic.len() + key.len() + 8);
    bytes.extend_from_slice(partition.topic.as_bytes());
    // No topic holds a zero byte, so no two pairs give the same bytes.
    bytes.push(0);
    bytes.extend_from_slice(&partition.partition.to_le_bytes());
    bytes.extend_from_slice(key);
    xxh3_128(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::{Event, Source, TopicSource};

    #[test]
    fn tables_with_more_keys_than_are_remembered_come_the_same() {
        let folder = tempfile::TempDir::new().unwrap();
        let topics = vec![TopicSource { name: "airports".to_owned(), role: Role::Table, ..TopicSource::default() }];
        let mut writer =
            RecordingWriter::create(folder.path().join("whole"), Source { topics, ..Source::default() }).unwrap();
        let mut batch = EventBatchBuilder::new();
        for offset in 0..1_000_i64 {
            batch.push_event(&Event {
                topic: "airports".to_owned(),
                offset,
                timestamp_ms: Some(offset),
                key: Some(format!("{}", offset * 7 % 130).into_bytes()),
                value: (offset % 11 > 0).then(|| b"1".to_vec()),
                ..Event::default()
            });
        }
        writer.write(&batch.finish()).unwrap();
        writer.seal().unwrap();
        let recording = Recording::open(folder.path().join("whole")).unwrap();
        let settings = SliceSettings { from_us: Some(900_000), ..SliceSettings::default() };
        let sliced = |keys_max: usize| {
            let out = folder.path().join(keys_max.to_string());
            let report = slice_bounded(&recording, &settings, &(&out).into(), &mut |_| true, keys_max).unwrap();
            let kept = Recording::open(&out).unwrap();
            let offsets: Vec<i64> = kept
                .batches(Columns::NONE)
                .flat_map(|batch| batch.unwrap().iter().map(|event| event.offset).collect::<Vec<_>>())
                .collect();
            (report, offsets)
        };
        let whole = sliced(KEYS_MAX);
        assert!(whole.0.tables > 100 && whole.0.tables < 130 && whole.0.kept == whole.0.tables + 100);
        assert_eq!(sliced(7), whole);
        assert_eq!(sliced(50), whole);
    }
}
