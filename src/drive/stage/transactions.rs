//! The coordinator of transactions: who may write, what a transaction spans, how it ends. Pure: time is handed in, and what an end
//! asks for is returned for others to do.
//!
//! The protocol is that of transaction version 1: producers add partitions before they write there, and keep their epoch from one
//! transaction to the next.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kafka_protocol::ResponseError;

/// Longest `transaction.timeout.ms` that a broker allows by default.
const TIMEOUT_MAX: Duration = Duration::from_secs(900);

/// Time after which markers that could not be written are tried again.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// Last epoch of a producer id; the next transaction gets another id.
const EPOCH_MAX: i16 = i16::MAX - 1;

/// A producer id with its epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Producer {
    pub(super) id: i64,
    pub(super) epoch: i16,
}

/// How a transaction is ended: markers are to be written to `partitions`, and offsets of `groups` committed or dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ending {
    /// Transactional id.
    pub(super) id: String,
    /// The epoch is that of the markers.
    pub(super) producer: Producer,
    pub(super) committed: bool,
    pub(super) partitions: BTreeSet<(String, i32)>,
    pub(super) groups: BTreeSet<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Empty,
    Ongoing {
        since: Duration,
    },
    /// Markers are missing, and are to be written then.
    Ending {
        markers_of: Producer,
        committed: bool,
        again: Duration,
    },
    Ended {
        committed: bool,
    },
}

#[derive(Debug, Clone)]
struct Transaction {
    producer: Producer,
    /// What the producer was before its epoch was last raised on its own request: a request that is repeated comes with it.
    before: Option<Producer>,
    timeout: Duration,
    state: State,
    partitions: BTreeSet<(String, i32)>,
    groups: BTreeSet<String>,
}

impl Transaction {
    /// Ends what is open, with the epoch of `markers_of`.
    fn end(&mut self, id: &str, markers_of: Producer, committed: bool) -> Ending {
        self.state = State::Ended { committed };
        Ending {
            id: id.to_owned(),
            producer: markers_of,
            committed,
            partitions: std::mem::take(&mut self.partitions),
            groups: std::mem::take(&mut self.groups),
        }
    }

    fn check(&self, producer: Producer) -> Result<(), ResponseError> {
        if producer.id != self.producer.id {
            return Err(ResponseError::InvalidProducerIdMapping);
        }
        if producer.epoch == self.producer.epoch { Ok(()) } else { Err(ResponseError::ProducerFenced) }
    }

    fn begin(&mut self, now: Duration) -> Result<(), ResponseError> {
        match self.state {
            State::Ongoing { .. } => Ok(()),
            State::Ending { .. } => Err(ResponseError::ConcurrentTransactions),
            State::Empty | State::Ended { .. } => {
                self.state = State::Ongoing { since: now };
                Ok(())
            }
        }
    }

    fn is_ongoing(&self) -> bool {
        matches!(self.state, State::Ongoing { .. })
    }
}

/// A request for a producer id.
#[derive(Debug, Clone)]
pub(super) struct Init<'a> {
    pub(super) transactional_id: Option<&'a str>,
    pub(super) timeout: Duration,
    /// What the producer has been so far, if it says.
    pub(super) known: Option<Producer>,
}

/// See the top of the file.
#[derive(Debug, Default)]
pub(super) struct Transactions {
    by_id: BTreeMap<String, Transaction>,
    /// Producer ids given so far.
    given: i64,
}

impl Transactions {
    /// Gives a producer its id, and fences whoever had it; what that left open is to be ended.
    pub(super) fn init(&mut self, init: &Init<'_>) -> Result<(Producer, Option<Ending>), ResponseError> {
        let Some(id) = init.transactional_id else {
            // Without transactions an epoch is raised by giving a new id: sequences begin anew either way.
            return Ok((self.next_producer(), None));
        };
        if id.is_empty() {
            return Err(ResponseError::InvalidRequest);
        }
        if init.timeout.is_zero() || init.timeout > TIMEOUT_MAX {
            return Err(ResponseError::InvalidTransactionTimeout);
        }
        if !self.by_id.contains_key(id) {
            // Whoever was given an id that is not known any more gets a new one.
            let producer = self.next_producer();
            let (partitions, groups) = (BTreeSet::new(), BTreeSet::new());
            let (before, timeout, state) = (None, init.timeout, State::Empty);
            let transaction = Transaction { producer, before, timeout, state, partitions, groups };
            self.by_id.insert(id.to_owned(), transaction);
            return Ok((producer, None));
        }
        let spare = self.next_producer();
        let Some(transaction) = self.by_id.get_mut(id) else { return Err(ResponseError::UnknownServerError) };
        if matches!(transaction.state, State::Ending { .. }) {
            return Err(ResponseError::ConcurrentTransactions);
        }
        if let Some(known) = init.known {
            if transaction.before == Some(known) && !transaction.is_ongoing() {
                // The answer to this request was lost: it is given again.
                return Ok((transaction.producer, None));
            }
            if known != transaction.producer {
                return Err(ResponseError::ProducerFenced);
            }
        }
        let mut ending = None;
        if transaction.is_ongoing() {
            transaction.producer.epoch = transaction.producer.epoch.saturating_add(1);
            ending = Some(transaction.end(id, transaction.producer, false));
        }
        transaction.before = init.known;
        transaction.timeout = init.timeout;
        transaction.state = State::Empty;
        transaction.producer = if transaction.producer.epoch >= EPOCH_MAX {
            spare
        } else {
            Producer { epoch: transaction.producer.epoch + 1, ..transaction.producer }
        };
        Ok((transaction.producer, ending))
    }

    fn next_producer(&mut self) -> Producer {
        self.given += 1;
        Producer { id: self.given - 1, epoch: 0 }
    }

    /// Adds partitions that the producer is about to write to.
    pub(super) fn add_partitions(
        &mut self,
        id: &str,
        producer: Producer,
        partitions: impl IntoIterator<Item = (String, i32)>,
        now: Duration,
    ) -> Result<(), ResponseError> {
        let transaction = self.of(id, producer)?;
        transaction.begin(now)?;
        transaction.partitions.extend(partitions);
        Ok(())
    }

    /// Adds a group whose offsets the producer is about to commit.
    pub(super) fn add_group(
        &mut self,
        id: &str,
        producer: Producer,
        group: &str,
        now: Duration,
    ) -> Result<(), ResponseError> {
        let transaction = self.of(id, producer)?;
        transaction.begin(now)?;
        transaction.groups.insert(group.to_owned());
        Ok(())
    }

    /// Checks that a transaction is open that spans the group.
    pub(super) fn check_group(&mut self, id: &str, producer: Producer, group: &str) -> Result<(), ResponseError> {
        let fenced =
            |error| if error == ResponseError::ProducerFenced { ResponseError::InvalidProducerEpoch } else { error };
        let transaction = self.of(id, producer).map_err(fenced)?;
        if transaction.is_ongoing() && transaction.groups.contains(group) {
            Ok(())
        } else {
            Err(ResponseError::InvalidTxnState)
        }
    }

    /// Checks that a batch may be written to a partition.
    pub(super) fn check_partition(
        &mut self,
        id: &str,
        producer: Producer,
        partition: &(String, i32),
    ) -> Result<(), ResponseError> {
        let fenced =
            |error| if error == ResponseError::ProducerFenced { ResponseError::InvalidProducerEpoch } else { error };
        let transaction = self.of(id, producer).map_err(fenced)?;
        if transaction.is_ongoing() && transaction.partitions.contains(partition) {
            Ok(())
        } else {
            Err(ResponseError::InvalidTxnState)
        }
    }

    /// Ends a transaction. One that has ended so already needs nothing done.
    pub(super) fn end(
        &mut self,
        id: &str,
        producer: Producer,
        committed: bool,
    ) -> Result<Option<Ending>, ResponseError> {
        let transaction = self.of(id, producer)?;
        match transaction.state {
            State::Ongoing { .. } => Ok(Some(transaction.end(id, producer, committed))),
            State::Ending { markers_of, committed: before, .. } if before == committed => {
                Ok(Some(transaction.end(id, markers_of, committed)))
            }
            State::Ended { committed: before } if before == committed => Ok(None),
            State::Empty | State::Ending { .. } | State::Ended { .. } => Err(ResponseError::InvalidTxnState),
        }
    }

    /// Takes an ending back: markers of the partitions it still names could not be written, and are to be tried again.
    pub(super) fn go_on_ending(&mut self, ending: Ending, now: Duration) {
        let Some(transaction) = self.by_id.get_mut(&ending.id) else { return };
        let (markers_of, committed) = (ending.producer, ending.committed);
        transaction.state = State::Ending { markers_of, committed, again: now + TRY_AGAIN };
        (transaction.partitions, transaction.groups) = (ending.partitions, ending.groups);
    }

    fn of(&mut self, id: &str, producer: Producer) -> Result<&mut Transaction, ResponseError> {
        let transaction = self.by_id.get_mut(id).ok_or(ResponseError::InvalidProducerIdMapping)?;
        transaction.check(producer)?;
        Ok(transaction)
    }

    /// Takes back transactions that have been open for too long, and fences their producers; goes on with those that are ending.
    pub(super) fn tick(&mut self, now: Duration) -> Vec<Ending> {
        let mut endings = Vec::new();
        for (id, transaction) in &mut self.by_id {
            match transaction.state {
                State::Ongoing { since } if since + transaction.timeout <= now => {
                    transaction.producer.epoch = transaction.producer.epoch.saturating_add(1);
                    // Whoever asks with an older epoch has not lost an answer: it was too slow.
                    transaction.before = None;
                    endings.push(transaction.end(id, transaction.producer, false));
                }
                State::Ending { markers_of, committed, again } if again <= now => {
                    endings.push(transaction.end(id, markers_of, committed));
                }
                _ => {}
            }
        }
        endings
    }

    /// When [`Self::tick`] is next due.
    pub(super) fn next_due(&self) -> Option<Duration> {
        let due = |transaction: &Transaction| match transaction.state {
            State::Ongoing { since } => Some(since + transaction.timeout),
            State::Ending { again, .. } => Some(again),
            State::Empty | State::Ended { .. } => None,
        };
        self.by_id.values().filter_map(due).min()
    }

    /// Number of transactions that are open, or have not ended in all partitions yet.
    pub(super) fn open(&self) -> usize {
        let open =
            |transaction: &&Transaction| matches!(transaction.state, State::Ongoing { .. } | State::Ending { .. });
        self.by_id.values().filter(open).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn init(transactions: &mut Transactions) -> Producer {
        let init = Init { transactional_id: Some("t"), timeout: MINUTE, known: None };
        transactions.init(&init).unwrap().0
    }

    fn a() -> (String, i32) {
        ("a".to_owned(), 0)
    }

    #[test]
    fn a_transaction_spans_what_was_added_and_ends_once() {
        let mut transactions = Transactions::default();
        let producer = init(&mut transactions);
        assert_eq!(transactions.end("t", producer, true), Err(ResponseError::InvalidTxnState));
        assert_eq!(transactions.check_partition("t", producer, &a()), Err(ResponseError::InvalidTxnState));
        transactions.add_partitions("t", producer, [a()], MINUTE).unwrap();
        transactions.add_group("t", producer, "g", MINUTE).unwrap();
        assert_eq!(transactions.check_partition("t", producer, &a()), Ok(()));
        assert_eq!(transactions.open(), 1);
        let ending = transactions.end("t", producer, true).unwrap().unwrap();
        assert_eq!((ending.partitions, ending.groups), (BTreeSet::from([a()]), BTreeSet::from(["g".to_owned()])));
        // The answer may have been lost.
        assert_eq!(transactions.end("t", producer, true), Ok(None));
        assert_eq!(transactions.end("t", producer, false), Err(ResponseError::InvalidTxnState));
        assert_eq!(transactions.open(), 0);
    }

    #[test]
    fn a_transaction_whose_markers_are_missing_goes_on_ending() {
        let mut transactions = Transactions::default();
        let producer = init(&mut transactions);
        transactions.add_partitions("t", producer, [a(), ("b".to_owned(), 1)], MINUTE).unwrap();
        let mut ending = transactions.end("t", producer, true).unwrap().unwrap();
        ending.partitions.remove(&a());
        transactions.go_on_ending(ending.clone(), MINUTE);
        assert_eq!((transactions.open(), transactions.next_due()), (1, Some(MINUTE + TRY_AGAIN)));
        let busy = Err(ResponseError::ConcurrentTransactions);
        assert_eq!(transactions.add_partitions("t", producer, [a()], MINUTE), busy);
        assert_eq!(transactions.add_group("t", producer, "g", MINUTE), busy);
        let again = Init { transactional_id: Some("t"), timeout: MINUTE, known: None };
        assert_eq!(transactions.init(&again), Err(ResponseError::ConcurrentTransactions));
        assert_eq!(
            transactions.check_partition("t", producer, &ending.partitions.first().unwrap().clone()),
            Err(ResponseError::InvalidTxnState)
        );
        assert_eq!(transactions.end("t", producer, false), Err(ResponseError::InvalidTxnState));
        assert_eq!(transactions.tick(MINUTE), []);
        // Whether the producer asks again or time does: the same markers are written, and no other.
        assert_eq!(transactions.end("t", producer, true), Ok(Some(ending.clone())));
        transactions.go_on_ending(ending.clone(), MINUTE);
        assert_eq!(transactions.tick(MINUTE + TRY_AGAIN), [ending]);
        assert_eq!((transactions.open(), transactions.next_due()), (0, None));
        assert_eq!(transactions.end("t", producer, true), Ok(None));
    }

    #[test]
    fn a_second_producer_fences_the_first_and_takes_back_what_it_left_open() {
        let mut transactions = Transactions::default();
        let first = init(&mut transactions);
        transactions.add_partitions("t", first, [a()], MINUTE).unwrap();
        let again = Init { transactional_id: Some("t"), timeout: MINUTE, known: None };
        let (second, ending) = transactions.init(&again).unwrap();
        let ending = ending.unwrap();
        assert!(!ending.committed && ending.producer.epoch == 1 && ending.partitions.contains(&a()));
        assert_eq!((second.id, second.epoch), (first.id, 2));
        assert_eq!(transactions.add_partitions("t", first, [a()], MINUTE), Err(ResponseError::ProducerFenced));
        assert_eq!(transactions.end("t", first, true), Err(ResponseError::ProducerFenced));
    }

    #[test]
    fn a_transaction_that_is_open_for_too_long_is_taken_back() {
        let mut transactions = Transactions::default();
        let producer = init(&mut transactions);
        transactions.add_partitions("t", producer, [a()], MINUTE).unwrap();
        assert_eq!(transactions.next_due(), Some(2 * MINUTE));
        assert_eq!(transactions.tick(Duration::from_millis(119_999)), []);
        let endings = transactions.tick(2 * MINUTE);
        assert_eq!(endings.len(), 1);
        assert!(!endings[0].committed);
        assert_eq!(transactions.end("t", producer, true), Err(ResponseError::ProducerFenced));
        assert_eq!(transactions.next_due(), None);
    }

    #[test]
    fn a_producer_that_was_too_slow_is_fenced_whatever_it_was_before() {
        let mut transactions = Transactions::default();
        let first = init(&mut transactions);
        let raise = Init { transactional_id: Some("t"), timeout: MINUTE, known: Some(first) };
        let (second, _) = transactions.init(&raise).unwrap();
        transactions.add_partitions("t", second, [a()], MINUTE).unwrap();
        assert_eq!(transactions.tick(2 * MINUTE).len(), 1);
        for known in [first, second] {
            let again = Init { known: Some(known), ..raise.clone() };
            assert_eq!(transactions.init(&again), Err(ResponseError::ProducerFenced));
        }
    }

    #[test]
    fn a_producer_that_raises_its_epoch_gets_the_same_answer_twice() {
        let mut transactions = Transactions::default();
        let first = init(&mut transactions);
        let raise = Init { transactional_id: Some("t"), timeout: MINUTE, known: Some(first) };
        let (second, _) = transactions.init(&raise).unwrap();
        assert_eq!(second.epoch, first.epoch + 1);
        assert_eq!(transactions.init(&raise).unwrap(), (second, None));
        let stranger = Producer { id: second.id, epoch: second.epoch + 1 };
        let wrong = Init { known: Some(stranger), ..raise };
        assert_eq!(transactions.init(&wrong), Err(ResponseError::ProducerFenced));
    }

    #[test]
    fn epochs_that_are_used_up_give_way_to_a_new_id() {
        let mut transactions = Transactions::default();
        let first = init(&mut transactions);
        let mut last = first;
        while last.id == first.id {
            let next = init(&mut transactions);
            assert!(next.id != last.id || next.epoch == last.epoch + 1);
            last = next;
        }
        assert_eq!(last.epoch, 0);
    }

    #[test]
    fn settings_outside_of_the_bounds_are_refused() {
        let mut transactions = Transactions::default();
        for (id, timeout, error) in [
            ("", MINUTE, ResponseError::InvalidRequest),
            ("t", Duration::ZERO, ResponseError::InvalidTransactionTimeout),
            ("t", Duration::from_secs(960), ResponseError::InvalidTransactionTimeout),
        ] {
            let init = Init { transactional_id: Some(id), timeout, known: None };
            assert_eq!(transactions.init(&init), Err(error));
        }
        let stranger = Producer { id: 5, epoch: 0 };
        assert_eq!(transactions.end("t", stranger, true), Err(ResponseError::InvalidProducerIdMapping));
    }
}
