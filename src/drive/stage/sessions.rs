//! Fetch sessions (KIP-227): a consumer names its partitions once, and from then on only what changes.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use kafka_protocol::ResponseError;
use uuid::Uuid;

use super::partition::lock;

/// Most sessions, as Kafka's `max.incremental.fetch.session.cache.slots`.
const SESSIONS_MAX: usize = 1_000;

/// How long a session that nobody uses stays when there is no room for another.
const IDLE: Duration = Duration::from_secs(120);

/// Epoch of a request that begins a session.
const INITIAL: i32 = 0;

/// Epoch of a request that ends one, or wants none.
const FINAL: i32 = -1;

/// A topic as a request names it: by name, or from version 13 on by id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TopicKey {
    pub(super) name: String,
    pub(super) id: Uuid,
}

/// A partition that a consumer wants to read, and from where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) topic: TopicKey,
    pub(super) index: i32,
    pub(super) offset: i64,
    pub(super) bytes_max: i32,
    pub(super) leader_epoch: i32,
}

/// What a request says about sessions.
#[derive(Debug, Clone)]
pub(super) struct Opening {
    pub(super) session: i32,
    pub(super) epoch: i32,
    /// Whether topics are named by their ids.
    pub(super) by_id: bool,
    pub(super) wanted: Vec<Wanted>,
    pub(super) forgotten: Vec<(TopicKey, i32)>,
}

/// What a request is about, its session included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Opened {
    /// All partitions, in the order to read them.
    pub(super) wanted: Vec<Wanted>,
    /// The session, if there is one; its answer says it.
    pub(super) session: i32,
    /// Whether the answer leaves out what has not changed.
    pub(super) incremental: bool,
}

/// What a partition's answer was: what it takes to know whether the next one says anything new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) failed: bool,
    pub(super) has_events: bool,
    pub(super) high_watermark: i64,
    pub(super) log_start: i64,
}

/// All sessions.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    all: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    by_id: BTreeMap<i32, Session>,
    given: i32,
}

#[derive(Debug)]
struct Session {
    /// What the next request must say.
    epoch: i32,
    by_id: bool,
    used: Duration,
    /// Partitions in the order to read them: those that had events go behind the others, so that none is starved.
    queue: BTreeMap<u64, Entry>,
    places: BTreeMap<(TopicKey, i32), u64>,
    next_place: u64,
}

#[derive(Debug)]
struct Entry {
    wanted: Wanted,
    told: Option<Told>,
}

impl Sessions {
    /// Finds out what a request is about.
    ///
    /// # Errors
    ///
    /// As the protocol has them: no such session, another epoch than the next, topics named otherwise than the session does.
    pub(super) fn open(&self, opening: Opening, now: Duration) -> Result<Opened, ResponseError> {
        let mut known = lock(&self.all);
        if opening.epoch == FINAL || opening.epoch == INITIAL {
            known.by_id.remove(&opening.session);
            let wanted = opening.wanted;
            let session = if opening.epoch == INITIAL { known.begin(&wanted, opening.by_id, now) } else { 0 };
            return Ok(Opened { wanted, session, incremental: false });
        }
        let session = known.by_id.get_mut(&opening.session).ok_or(ResponseError::FetchSessionIdNotFound)?;
        if session.epoch != opening.epoch {
            return Err(ResponseError::InvalidFetchSessionEpoch);
        }
        if session.by_id != opening.by_id {
            return Err(ResponseError::FetchSessionTopicIdError);
        }
        session.change(opening.wanted, &opening.forgotten);
        session.used = now;
        session.epoch = session.epoch.checked_add(1).unwrap_or(1);
        let wanted: Vec<Wanted> = session.queue.values().map(|entry| entry.wanted.clone()).collect();
        if wanted.is_empty() {
            known.by_id.remove(&opening.session);
            return Ok(Opened { wanted, session: 0, incremental: false });
        }
        Ok(Opened { wanted, session: opening.session, incremental: true })
    }

    /// Partitions of a session; none where there is no such session.
    pub(super) fn partitions(&self, session: i32) -> Vec<(TopicKey, i32)> {
        lock(&self.all).by_id.get(&session).into_iter().flat_map(|session| session.places.keys().cloned()).collect()
    }

    /// Notes what each partition's answer was, and returns for each whether it is to be told.
    pub(super) fn told(&self, opened: &Opened, told: &[Told]) -> Vec<bool> {
        let mut known = lock(&self.all);
        let Some(session) = known.by_id.get_mut(&opened.session) else { return vec![true; told.len()] };
        let each = opened.wanted.iter().zip(told);
        each.map(|(wanted, told)| session.note(wanted, *told) || !opened.incremental).collect()
    }
}

impl Known {
    /// Makes a session; 0 where there is no room for it.
    fn begin(&mut self, wanted: &[Wanted], by_id: bool, now: Duration) -> i32 {
        if self.by_id.len() >= SESSIONS_MAX {
            let idle = self.by_id.iter().min_by_key(|(_, session)| session.used);
            match idle.filter(|(_, session)| session.used + IDLE <= now).map(|(id, _)| *id) {
                Some(id) => self.by_id.remove(&id),
                None => return 0,
            };
        }
        self.given = self.given.checked_add(1).unwrap_or(1);
        let mut session =
            Session { epoch: 1, by_id, used: now, queue: BTreeMap::new(), places: BTreeMap::new(), next_place: 0 };
        session.change(wanted.to_vec(), &[]);
        self.by_id.insert(self.given, session);
        self.given
    }
}

impl Session {
    fn change(&mut self, wanted: Vec<Wanted>, forgotten: &[(TopicKey, i32)]) {
        for wanted in wanted {
            let key = (wanted.topic.clone(), wanted.index);
            match self.places.get(&key).and_then(|place| self.queue.get_mut(place)) {
                Some(entry) => entry.wanted = wanted,
                None => self.add(key, Entry { wanted, told: None }),
            }
        }
        for key in forgotten {
            if let Some(place) = self.places.remove(key) {
                self.queue.remove(&place);
            }
        }
    }

    fn add(&mut self, key: (TopicKey, i32), entry: Entry) {
        self.places.insert(key, self.next_place);
        self.queue.insert(self.next_place, entry);
        self.next_place += 1;
    }

    /// Notes what a partition's answer was; returns whether there is anything new in it.
    fn note(&mut self, wanted: &Wanted, told: Told) -> bool {
        let key = (wanted.topic.clone(), wanted.index);
        let Some(place) = self.places.get(&key).copied() else { return true };
        let Some(entry) = self.queue.get_mut(&place) else { return true };
        let same = |earlier: Told| (earlier.high_watermark, earlier.log_start) == (told.high_watermark, told.log_start);
        let changed = told.failed || told.has_events || !entry.told.is_some_and(same);
        // What comes after an error is told even where it is as it was.
        entry.told = (!told.failed).then_some(told);
        if told.has_events
            && let Some(entry) = self.queue.remove(&place)
        {
            self.add(key, entry);
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(index: i32, offset: i64) -> Wanted {
        let topic = TopicKey { name: "t".to_owned(), id: Uuid::nil() };
        Wanted { topic, index, offset, bytes_max: 100, leader_epoch: -1 }
    }

    fn open(sessions: &Sessions, session: i32, epoch: i32, wanted: Vec<Wanted>) -> Result<Opened, ResponseError> {
        let opening = Opening { session, epoch, by_id: false, wanted, forgotten: Vec::new() };
        sessions.open(opening, Duration::ZERO)
    }

    fn quiet(high_watermark: i64) -> Told {
        Told { failed: false, has_events: false, high_watermark, log_start: 0 }
    }

    #[test]
    fn only_what_changes_is_named_and_told() {
        let sessions = Sessions::default();
        let first = open(&sessions, 0, 0, vec![wanted(0, 5), wanted(1, 6)]).unwrap();
        assert!(first.session > 0 && !first.incremental);
        assert_eq!(sessions.told(&first, &[quiet(5), quiet(6)]), [true, true]);
        let second = open(&sessions, first.session, 1, Vec::new()).unwrap();
        assert_eq!(second.wanted, first.wanted);
        assert_eq!(sessions.told(&second, &[quiet(5), quiet(6)]), [false, false]);
        // One has events: it is told, and goes behind the other.
        let events = Told { has_events: true, ..quiet(7) };
        let third = open(&sessions, first.session, 2, vec![wanted(0, 9)]).unwrap();
        assert_eq!(third.wanted, [wanted(0, 9), wanted(1, 6)]);
        assert_eq!(sessions.told(&third, &[events, quiet(6)]), [true, false]);
        let fourth = open(&sessions, first.session, 3, Vec::new()).unwrap();
        assert_eq!(fourth.wanted, [wanted(1, 6), wanted(0, 9)]);
        // After an error comes an answer, though nothing has changed.
        let failed = Told { failed: true, ..quiet(-1) };
        assert_eq!(sessions.told(&fourth, &[failed, quiet(7)]), [true, false]);
        let fifth = open(&sessions, first.session, 4, Vec::new()).unwrap();
        assert_eq!(sessions.told(&fifth, &[quiet(6), quiet(7)]), [true, false]);
    }

    #[test]
    fn a_session_is_held_to_its_epoch_and_ends_when_told_to() {
        let sessions = Sessions::default();
        let session = open(&sessions, 0, INITIAL, vec![wanted(0, 5)]).unwrap().session;
        assert_eq!(open(&sessions, session, 2, Vec::new()), Err(ResponseError::InvalidFetchSessionEpoch));
        assert_eq!(open(&sessions, session + 1, 1, Vec::new()), Err(ResponseError::FetchSessionIdNotFound));
        let other = Opening { session, epoch: 1, by_id: true, wanted: Vec::new(), forgotten: Vec::new() };
        assert_eq!(sessions.open(other, Duration::ZERO), Err(ResponseError::FetchSessionTopicIdError));
        let none = open(&sessions, session, FINAL, vec![wanted(3, 0)]).unwrap();
        assert_eq!(none, Opened { wanted: vec![wanted(3, 0)], session: 0, incremental: false });
        assert_eq!(open(&sessions, session, 1, Vec::new()), Err(ResponseError::FetchSessionIdNotFound));
        // One whose last partition is forgotten ends, too.
        let session = open(&sessions, 0, INITIAL, vec![wanted(0, 5)]).unwrap().session;
        let forgotten = vec![(wanted(0, 0).topic, 0)];
        let last = Opening { session, epoch: 1, by_id: false, wanted: Vec::new(), forgotten };
        assert_eq!(sessions.open(last, Duration::ZERO).unwrap().session, 0);
        assert_eq!(open(&sessions, session, 2, Vec::new()), Err(ResponseError::FetchSessionIdNotFound));
    }

    #[test]
    fn there_is_room_for_so_many_and_those_who_are_silent_make_room() {
        let sessions = Sessions::default();
        let begin = |now| {
            let opening =
                Opening { session: 0, epoch: 0, by_id: false, wanted: vec![wanted(0, 5)], forgotten: Vec::new() };
            sessions.open(opening, now).unwrap().session
        };
        for _ in 0..SESSIONS_MAX {
            assert!(begin(Duration::ZERO) > 0);
        }
        assert_eq!(begin(IDLE / 2), 0);
        assert!(begin(IDLE) > 0);
    }
}
