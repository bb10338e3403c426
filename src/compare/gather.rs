//! One pass over every drive: each output becomes a fixed-size entry, filed by its identity.

use std::collections::{BTreeMap, BTreeSet};

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed, xxh3_128};

use super::Causes;
use super::CompareError;
use super::buckets::{Buckets, Item, number_at};
use super::business::FigureTallies;
use super::drives::{Drive, Row, is_stated};
use super::expected::Looks;
use super::filed::Filed;
use super::golden::Production;
use super::rules::{Order, Rules};
use super::scan::mix;
use super::threads::side_by_side;
use super::topics::Topics;
use crate::outcome::{Channel, value_hash};
use crate::plan::Phase;
use crate::spill::SpillSpace;

/// One output of one drive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    /// Hash of the identity.
    pub(super) identity: u128,
    /// Hash of all that is compared: equal contents are equal outputs, and nothing of them is looked at again.
    pub(super) content: u64,
    /// Hash of the value alone; among entries by subset of what it says, however it is spelled and without tolerated places.
    pub(super) value: u64,
    /// Dependence subset (topic and key); zero for an output without a key, which depends on none.
    pub(super) subset: u64,
    /// Hashes of what each rule ignored, a lane a rule.
    pub(super) ignored: u64,
    /// Sequence in its drive.
    pub(super) sequence: i64,
    /// Topic, as numbered by [`Topics`].
    pub(super) topic: u16,
    /// Drive.
    pub(super) drive: u8,
    /// [`Entry::ANONYMOUS`], [`Entry::ECHO`], and the channel in the bits above.
    pub(super) flags: u8,
    /// Further outputs that follow it directly in its drive and are the same in all that is known here.
    pub(super) more: u32,
}

impl Entry {
    /// It has no identity but its content.
    pub(super) const ANONYMOUS: u8 = 1;
    /// The same content stands on every side; this one is beyond that.
    pub(super) const ECHO: u8 = 2;

    /// It takes the row of its key out of a table.
    pub(super) const GONE: u8 = 32;

    /// It stood in a table before the slice began.
    pub(super) const STOOD: u8 = 64;

    /// Its cause is a redelivered delivery.
    pub(super) const REDELIVERED: u8 = 16;

    /// It lacks a change that is expected of it.
    pub(super) const LACKS: u8 = 32;

    /// Channel it went to.
    pub(super) fn channel(&self) -> Channel {
        match self.flags >> 2 & 3 {
            0 => Channel::Output,
            1 => Channel::DeadLetter,
            2 => Channel::Http,
            _ => Channel::Sink,
        }
    }

    /// Whether `flag` is set.
    pub(super) fn is(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

impl Item for Entry {
    const SIZE: usize = 64;

    fn write(&self, bytes: &mut Vec<u8>) {
        let mut item = [0; Self::SIZE];
        item[..16].copy_from_slice(&self.identity.to_le_bytes());
        let numbers = [self.content, self.value, self.subset, self.ignored, self.sequence as u64];
        for (place, number) in item[16..].chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        item[56..58].copy_from_slice(&self.topic.to_le_bytes());
        [item[58], item[59]] = [self.drive, self.flags];
        item[60..].copy_from_slice(&self.more.to_le_bytes());
        bytes.extend_from_slice(&item);
    }

    fn read(bytes: &[u8]) -> Self {
        let number = |at: usize| number_at(bytes, at);
        Self {
            identity: u128::from(number(8)) << 64 | u128::from(number(0)),
            content: number(16),
            value: number(24),
            subset: number(32),
            ignored: number(40),
            sequence: number(48) as i64,
            topic: u16::from_le_bytes([bytes[56], bytes[57]]),
            drive: bytes[58],
            flags: bytes[59],
            more: u32::from_le_bytes([bytes[60], bytes[61], bytes[62], bytes[63]]),
        }
    }

    fn count(&self) -> u64 {
        u64::from(self.more) + 1
    }

    fn nth(&self, n: u64) -> Self {
        Self { sequence: self.sequence + n as i64, more: 0, ..*self }
    }

    fn join(&mut self, next: &Self) -> bool {
        let follows = self.sequence.wrapping_add(i64::from(self.more) + 1) == next.sequence && next.more == 0;
        let joins = follows && Self { sequence: self.sequence, more: self.more, ..*next } == *self;
        joins && self.more.checked_add(1).map(|more| self.more = more).is_some()
    }
}

/// Entries of all drives.
pub(super) struct Gathered<'s> {
    /// By identity.
    pub(super) identities: Filed<'s>,
    /// By dependence subset; only where subsets are not the identities themselves.
    pub(super) subsets: Option<Filed<'s>>,
    /// Updates of tables, by key; only where there are such.
    pub(super) tables: Option<Filed<'s>>,
    /// Outputs of old and new on topics that are tables which have no key, by topic.
    pub(super) keyless: BTreeMap<u16, u64>,
    /// Topics.
    pub(super) topics: Topics,
    /// Outputs of each drive, warm-up left out.
    pub(super) counts: Vec<u64>,
    /// Those of them that cannot be read.
    pub(super) unreadable: Vec<u64>,
    /// By which way the causes of the outputs of each drive are known.
    pub(super) causes: Vec<Causes>,
    /// Figures of the business, by drive.
    pub(super) figures: Vec<FigureTallies>,
    /// Outputs of the first drive beside production that nothing of production's can be held against, by topic.
    pub(super) beside: BTreeMap<String, u64>,
    /// Highest sequence of each drive.
    pub(super) last: Vec<i64>,
    /// Paths of the identity that at least one output has, a bit each.
    pub(super) identity_found: u32,
    /// What was seen of expected changes.
    pub(super) looks: Looks,
    /// Topics with rules of their own to which nothing was written.
    pub(super) unwritten: BTreeSet<String>,
}

/// Reads all `drives` once, several at a time; what comes out is the same in whatever order they are through.
pub(super) fn gather<'s>(
    drives: &[&dyn Drive],
    rules: &Rules,
    spill: &'s SpillSpace,
) -> Result<Gathered<'s>, CompareError> {
    let read = side_by_side(drives.len(), |number| {
        let mut read = Reading::new(number as u8, drives.len(), rules, spill);
        drives[number].each_hashed(&rules.ignore_headers, &mut |row| read.take(row, rules))?;
        Ok(read)
    })?;
    let mut gathered = Gathered {
        identities: Filed::default(),
        subsets: rules.has_identity().then(Filed::default),
        tables: rules.has_tables().then(Filed::default),
        keyless: BTreeMap::new(),
        topics: Topics::default(),
        counts: Vec::new(),
        unreadable: Vec::new(),
        causes: Vec::new(),
        figures: Vec::new(),
        beside: BTreeMap::new(),
        last: Vec::new(),
        identity_found: 0,
        looks: Looks::default(),
        unwritten: rules.settings.topics.keys().cloned().collect(),
    };
    read.into_iter().try_for_each(|read| gathered.add(read))?;
    Ok(gathered)
}

impl<'s> Gathered<'s> {
    /// Adds what was read of the next drive.
    fn add(&mut self, read: Reading<'s>) -> Result<(), CompareError> {
        let numbers = self.topics.add(read.topics)?;
        self.identities.add(read.identities, &numbers);
        for (filed, buckets) in [(&mut self.subsets, read.subsets), (&mut self.tables, read.tables)] {
            if let Some((filed, buckets)) = filed.as_mut().zip(buckets) {
                filed.add(buckets, &numbers);
            }
        }
        for (topic, outputs) in read.keyless {
            *self.keyless.entry(numbers[usize::from(topic)]).or_default() += outputs;
        }
        self.counts.push(read.count);
        self.unreadable.push(read.unreadable);
        self.causes.push(read.causes);
        self.figures.push(read.figures);
        self.beside.extend(read.beside);
        self.last.push(read.last);
        self.identity_found |= read.identity_found;
        self.looks.add(read.looks, &numbers);
        self.unwritten.retain(|topic| read.unwritten.contains(topic));
        Ok(())
    }
}

/// What is read of one drive, topics by its own numbers.
struct Reading<'s> {
    number: u8,
    identities: Buckets<'s, Entry>,
    subsets: Option<Buckets<'s, Entry>>,
    tables: Option<Buckets<'s, Entry>>,
    keyless: BTreeMap<u16, u64>,
    topics: Topics,
    count: u64,
    unreadable: u64,
    causes: Causes,
    figures: FigureTallies,
    beside: BTreeMap<String, u64>,
    last: i64,
    identity_found: u32,
    looks: Looks,
    unwritten: BTreeSet<String>,
}

impl<'s> Reading<'s> {
    fn new(number: u8, drives: usize, rules: &Rules, spill: &'s SpillSpace) -> Self {
        let bytes = (rules.settings.memory << 20) / drives as u64;
        let share = if rules.has_identity() { bytes * 3 / 16 } else { bytes * 3 / 8 };
        Self {
            number,
            identities: Buckets::new(share, spill),
            subsets: rules.has_identity().then(|| Buckets::new(share, spill)),
            tables: rules.has_tables().then(|| Buckets::new(bytes / 8, spill)),
            keyless: BTreeMap::new(),
            topics: Topics::default(),
            count: 0,
            unreadable: 0,
            causes: Causes::default(),
            figures: FigureTallies::default(),
            beside: BTreeMap::new(),
            last: 0,
            identity_found: 0,
            looks: Looks::default(),
            unwritten: rules.settings.topics.keys().cloned().collect(),
        }
    }

    fn take(&mut self, row: &Row<'_>, rules: &Rules) -> Result<(), CompareError> {
        if !self.unwritten.is_empty() {
            self.unwritten.remove(row.topic);
        }
        if rules.is_table(row.channel, row.topic) {
            match &rules.production {
                Some(production) if !production.covers_table(row.topic) => self.note_beside(row, production),
                _ => return self.update(row, rules),
            }
            return Ok(());
        }
        if row.phase == Phase::WarmUp || rules.is_unseen_sink(row.channel, row.topic) {
            return Ok(());
        }
        if let Some(production) = &rules.production
            && !production.covers(row.channel, row.topic)
        {
            self.note_beside(row, production);
            return Ok(());
        }
        let topic = self.topics.number(row.topic)?;
        self.topics.note(topic, self.number, row.partition);
        self.count += 1;
        self.unreadable += u64::from(row.malformed);
        self.causes.count(row.cause.map(|cause| cause.by));
        self.last = row.sequence;
        self.figures.take(row, rules);
        let (mut entry, said) = self.entry(row, topic, rules);
        entry.flags |= if self.looks.note(row, topic, usize::from(self.number), rules) { Entry::LACKS } else { 0 };
        if let Some(subsets) = self.subsets.as_mut().filter(|_| entry.subset != 0) {
            subsets.push((entry.subset >> 56) as usize, Entry { value: said, ..entry })?;
        }
        self.identities.push((entry.identity >> 120) as usize, entry)
    }

    /// Counts what nothing of production's is there for. Drives of one build differ in it by noise at most; one of them says what there
    /// is.
    fn note_beside(&mut self, row: &Row<'_>, production: &Production) {
        if self.number == production.first_driven() && row.phase != Phase::WarmUp {
            *self.beside.entry(row.topic.to_owned()).or_default() += 1;
        }
    }

    /// Takes an update of a table. Those of the warm-up count, too: rows stand until they are taken away.
    fn update(&mut self, row: &Row<'_>, rules: &Rules) -> Result<(), CompareError> {
        let topic = self.topics.number(row.topic)?;
        let paths = self.identity_found;
        let (entry, said) = self.entry(row, topic, rules);
        self.identity_found = paths;
        if entry.subset == 0 {
            *self.keyless.entry(topic).or_default() += 1;
            return Ok(());
        }
        let mut flags = if row.value.is_none() && row.value_hash.is_none() { Entry::GONE } else { 0 };
        flags |= if row.phase == Phase::WarmUp { Entry::STOOD } else { 0 };
        let entry = Entry { identity: 0, content: 0, value: said, ignored: 0, flags, ..entry };
        self.tables.as_mut().map_or(Ok(()), |tables| tables.push((entry.subset >> 56) as usize, entry))
    }

    /// Makes the entry of one output with the hash of what it says, and notes which paths of the identity it has.
    fn entry(&mut self, row: &Row<'_>, topic: u16, rules: &Rules) -> (Entry, u64) {
        // A number tells topics apart within this drive alone, the name's hash in all of them.
        let named = self.topics.hash(topic);
        let rules = rules.of(row.topic);
        let parted = row.value.filter(|_| rules.reads_values() && !row.malformed).map(|value| rules.unframed(value));
        let mut scanned = parted.as_ref().and_then(|(_, said)| rules.scan(said).ok());
        let hash = row.value_hash.or_else(|| row.value.filter(|_| scanned.is_none()).map(value_hash));
        let value = match (&scanned, row.value) {
            (Some(scanned), Some(_)) => {
                let frame = parted.as_ref().map_or(&[][..], |(frame, _)| frame);
                // Where nothing is left out of a value, its own bytes say more than what was read from them.
                let spelled = match row.value.filter(|_| rules.sees_bytes()) {
                    Some(value) => xxh3_64(&value[frame.len()..]),
                    None => scanned.spelled,
                };
                mix(mix(spelled, scanned.tolerated), xxh3_64(frame))
            }
            _ => hash.unwrap_or(1),
        };
        // Nothing says in which order a sink was filled: its rows depend on none.
        let key = row.key.filter(|_| row.channel != Channel::Sink);
        let subset = key.map_or(0, |key| xxh3_64_with_seed(key, named) | 1);
        // Which partition an output stands in, and which event a build names, is production's own.
        let is_production = rules.production.is_some();
        let partition = if is_production { 0 } else { row.partition };
        let route = mix(subset, named ^ ((row.channel as u64) << 32 | u64::from(partition as u32)));
        let timestamp = if rules.settings.timestamps { row.timestamp_ms } else { None };
        let cause = row
            .cause
            .filter(|cause| is_stated(cause.by) && !is_production)
            .map_or(0, |cause| mix(xxh3_64(cause.topic.as_bytes()), mix(cause.partition as u64, cause.offset as u64)));
        let about = if rules.is_of_values() {
            0
        } else {
            mix(row.headers, timestamp.map_or(3, |time| mix(5, time as u64)) ^ cause)
        };
        let content = mix(mix(value, route), about ^ u64::from(row.malformed));
        for (path, _) in scanned.iter().flat_map(|scanned| &scanned.identity) {
            self.identity_found |= 1 << path;
        }
        let found = scanned.as_mut().and_then(Rules::identity);
        let (identity, anonymous) = match (found, row.key) {
            _ if row.malformed => (malformed(hash.unwrap_or_else(|| value_hash(&[])), named), false),
            (Some(identity), _) => (identity, false),
            (None, Some(key)) => (xxh3_128(key) ^ u128::from(mix(named, 0x7091C)), false),
            (None, None) => (u128::from(mix(content, 11)) << 64 | u128::from(content), true),
        };
        let redelivered = if row.cause.is_some_and(|cause| cause.attempt > 0) { Entry::REDELIVERED } else { 0 };
        let channel = if row.channel == Channel::Output { 0 } else { mix(row.channel as u64, 0xC4A7) };
        let said = mix(scanned.as_ref().map_or(value, |scanned| scanned.said), channel);
        let entry = Entry {
            identity: identity ^ u128::from(channel) << 64 ^ u128::from(channel),
            content,
            value,
            subset,
            ignored: scanned.map_or(0, |scanned| lanes(&scanned.ignored, rules)),
            sequence: row.sequence,
            topic,
            drive: self.number,
            flags: u8::from(anonymous) | (row.channel as u8) << 2 | redelivered,
            more: 0,
        };
        (entry, said)
    }
}

/// Identity of an output that cannot be read, by the hashes of its value and its topic.
fn malformed(value: u64, topic: u64) -> u128 {
    u128::from(mix(value, topic)) << 64 | u128::from(mix(topic, value ^ 0xBAD))
}

/// Width in bits of a lane of [`Entry::ignored`].
fn lane_bits(rules: &Rules) -> u32 {
    64 / rules.silencer_count().clamp(1, 32)
}

/// Texts of the rules in whose lanes bits of `differing` are set.
pub(super) fn silencers(differing: u64, rules: &Rules) -> impl Iterator<Item = &str> {
    let bits = lane_bits(rules);
    let mask = if bits == 64 { u64::MAX } else { (1 << bits) - 1 };
    rules.silencers().filter(move |(lane, _)| differing >> (lane * bits) & mask != 0).map(|(_, text)| text)
}

/// Folds what each rule ignored into its lane, so that what a rule silences can be counted without reading it again.
fn lanes(ignored: &[(u32, u64)], rules: &Rules) -> u64 {
    let bits = lane_bits(rules);
    ignored.iter().fold(0, |lanes: u64, (number, hash)| {
        let lane = rules.lane(*number) * bits;
        let mask = if bits == 64 { u64::MAX } else { (1 << bits) - 1 };
        let held = lanes >> lane & mask;
        lanes & !(mask << lane) | (mix(held, *hash) & mask) << lane
    })
}

/// Whether the order of outputs of one identity counts at the group itself.
pub(super) fn is_ordered(entry: &Entry, rules: &Rules) -> bool {
    rules.orders_identities() && rules.settings.order == Order::Key && entry.subset != 0
}
