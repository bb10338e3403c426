//! What any broker of Kafka's protocol does, each in one body that runs against a broker it is given: the stage, and Apache Kafka.
//! A body returns what it saw, which must be the same on both.

pub(crate) mod batches;
pub(crate) mod clients;
pub(crate) mod consumers;
pub(crate) mod groups;
pub(crate) mod members;
pub(crate) mod operators;
pub(crate) mod transactions;
pub(crate) mod waits;
pub(crate) mod wire;

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::BorrowedMessage;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use rehearsal::clock::{Clock, SystemClock};

/// Bounds every wait.
pub(crate) const WAIT: Duration = Duration::from_secs(30);

/// A broker under test.
#[derive(Debug, Clone)]
pub(crate) struct Arm {
    /// Where it listens.
    pub(crate) brokers: String,
}

impl Arm {
    pub(crate) fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers);
        config
    }

    pub(crate) fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.config().create().unwrap()
    }

    /// Makes a topic of its own name.
    pub(crate) fn topic(&self, name: &str, partitions: i32, settings: &[(&str, &str)]) -> String {
        let topic = unique(name);
        let mut new = NewTopic::new(&topic, partitions, TopicReplication::Fixed(1));
        for (name, value) in settings {
            new = new.set(name, value);
        }
        for made in wait(self.admin().create_topics([&new], &options())).unwrap() {
            made.unwrap();
        }
        topic
    }

    pub(crate) fn producer(&self, settings: &[(&str, &str)]) -> BaseProducer {
        let mut config = self.config();
        for (name, value) in settings {
            config.set(*name, *value);
        }
        config.create().unwrap()
    }

    /// A consumer that commits only when told to and rests at the end of nothing.
    pub(crate) fn consumer(&self, group: &str, settings: &[(&str, &str)]) -> BaseConsumer {
        let mut config = self.config();
        config
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "earliest")
            .set("session.timeout.ms", "6000")
            .set("heartbeat.interval.ms", "500");
        for (name, value) in settings {
            config.set(*name, *value);
        }
        config.create().unwrap()
    }

    /// A consumer of one partition from an offset on, without the group's help.
    pub(crate) fn reader(&self, topic: &str, partition: i32, from: Offset, settings: &[(&str, &str)]) -> BaseConsumer {
        let consumer = self.consumer(&unique("reader"), settings);
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, from).unwrap();
        consumer.assign(&list).unwrap();
        consumer
    }

    /// Produces values to a partition, and waits until the broker has them.
    pub(crate) fn fill(&self, topic: &str, partition: i32, values: &[&str]) {
        let producer = self.producer(&[]);
        for value in values {
            producer.send(BaseRecord::<str, str>::to(topic).partition(partition).payload(value)).unwrap();
        }
        producer.flush(WAIT).unwrap();
    }
}

/// A name that no other test uses.
pub(crate) fn unique(name: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{name}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

pub(crate) fn options() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(WAIT)).request_timeout(Some(WAIT))
}

pub(crate) fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// Polls until `count` events have come.
pub(crate) fn take(consumer: &BaseConsumer, count: usize) -> Vec<BorrowedMessage<'_>> {
    let clock = SystemClock::start();
    let mut taken = Vec::new();
    while taken.len() < count {
        assert!(clock.now() < WAIT, "{} of {count} events came", taken.len());
        taken.extend(consumer.poll(Duration::from_millis(100)).map(Result::unwrap));
    }
    taken
}

/// Values of events, as text.
pub(crate) fn values(events: &[BorrowedMessage<'_>]) -> Vec<String> {
    events.iter().map(|event| String::from_utf8_lossy(event.payload().unwrap_or(b"null")).into_owned()).collect()
}

/// Polls until something holds, keeping what comes.
pub(crate) fn poll_until(consumers: &[&BaseConsumer], mut holds: impl FnMut() -> bool) -> Vec<String> {
    let clock = SystemClock::start();
    let mut taken = Vec::new();
    while !holds() {
        assert!(clock.now() < WAIT, "what is waited for does not come");
        for consumer in consumers {
            if let Some(event) = consumer.poll(Duration::from_millis(20)) {
                taken.extend(values(&[event.unwrap()]));
            }
        }
    }
    taken
}

/// Makes a test of each body. `on_each_arm` is the target's own.
#[macro_export]
macro_rules! conformance {
    ($($room:ident: $($body:ident),* $(,)?;)*) => {
        $($(
            #[test]
            fn $body() {
                $crate::on_each_arm($crate::conformance::$room::$body);
            }
        )*)*
    };
}

/// All bodies, once, handed to a macro: both targets make their tests of this list.
#[macro_export]
macro_rules! every_conformance_test {
    ($make:ident) => {
        $crate::$make! {
            clients:
                events_come_back_byte_for_byte_with_every_codec,
                an_offset_is_found_by_time,
                a_consumer_that_waits_is_told_at_once,
                a_small_fetch_gets_everything_in_pieces,
                the_time_of_the_log_is_stamped,
                a_compacted_topic_takes_no_event_without_a_key,
                an_event_that_is_too_large_is_refused;
            groups:
                a_restarted_member_goes_on_where_its_group_committed,
                two_members_share_and_one_takes_over,
                offsets_are_stored_without_a_group,
                a_static_member_comes_back_to_what_it_had;
            transactions:
                what_was_aborted_is_not_seen_by_those_who_read_committed,
                a_reader_of_committed_waits_for_the_end_of_a_transaction,
                offsets_sent_to_a_transaction_count_when_it_commits,
                a_younger_producer_fences_the_older;
            operators:
                topics_are_made_described_grown_and_deleted,
                names_that_differ_by_a_dot_alone_collide,
                records_are_deleted_up_to_an_offset,
                groups_are_listed_described_and_deleted;
            batches:
                timestamps_are_held_to_the_clock,
                open_transactions_are_held_to_their_rules;
            members:
                a_static_member_that_comes_back_changes_nothing_for_the_others,
                a_member_that_changes_what_it_can_do_is_held_to_the_others,
                a_group_that_shares_anew_shows_the_shares_it_had,
                offsets_of_a_group_that_nobody_knows_are_refused_by_version;
            consumers:
                a_consumer_gives_up_what_another_is_to_have,
                consumers_are_held_to_their_epochs,
                a_static_consumer_comes_back_to_what_it_had,
                a_consumer_that_is_silent_is_put_out,
                consumers_of_their_own_protocol_share_and_take_over,
                a_group_changes_its_protocol_while_nobody_is_in_it;
            waits:
                a_fetch_waits_for_what_can_come_and_nothing_else;
            wire:
                a_version_that_is_not_known_is_answered_with_the_list,
                a_retry_after_a_lost_answer_is_not_written_twice,
                a_producer_is_held_to_its_sequence_and_epoch,
                fetches_are_bounded_and_refused_by_name,
                a_fetch_session_tells_what_changes,
                requests_in_a_row_are_answered_in_order,
                group_members_are_held_to_their_generation,
                transactions_are_held_to_their_rules,
                corrupt_batches_are_refused;
        }
    };
}
