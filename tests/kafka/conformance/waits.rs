//! How long a fetch waits, and for what.

use std::time::Duration;

use kafka_protocol::messages::FetchRequest;
use rehearsal::clock::{Clock, SystemClock};

use super::Arm;
use super::wire::{Wire, fetch, offsets};

pub(crate) fn a_fetch_waits_for_what_can_come_and_nothing_else(arm: &Arm) -> Vec<String> {
    let topic = arm.topic("waits", 2, &[]);
    arm.fill(&topic, 0, &["a"]);
    arm.fill(&topic, 0, &["b"]);
    let mut wire = Wire::connect(arm);
    let mut seen = Vec::new();
    let mut show = |name: &str, request: FetchRequest, waits: bool| {
        let clock = SystemClock::start();
        // Far longer than an answer takes that waits for nothing.
        let patience = if waits { Duration::from_millis(300) } else { Duration::from_secs(20) };
        let answer = wire.call(11, &request.with_max_wait_ms(patience.as_millis() as i32));
        assert_eq!(clock.now() >= patience, waits, "{name}: {:?}", clock.now());
        let partitions = answer.responses.iter().flat_map(|topic| &topic.partitions);
        let mut errors: Vec<_> = partitions.map(|one| (one.partition_index, one.error_code)).collect();
        // Kafka tells of those that are not there last.
        errors.sort_unstable();
        seen.push(format!("{name}: {} {errors:?} {:?}", answer.error_code, offsets(&answer)));
    };
    show("one is not there", fetch(&topic, &[(7, 0), (0, 2)]), true);
    show("one is not there and one has something", fetch(&topic, &[(7, 0), (0, 1)]), false);
    show("none is there", fetch(&topic, &[(7, 0), (8, 0)]), false);
    show("no such topic", fetch("no-such-topic", &[(0, 0)]), false);
    show("one is out of range", fetch(&topic, &[(0, 9), (1, 0)]), false);
    let mut epoch = fetch(&topic, &[(0, 2), (1, 0)]);
    epoch.topics[0].partitions[0].current_leader_epoch = 5;
    show("one has another leader", epoch, false);
    show("no topic", fetch(&topic, &[]).with_topics(Vec::new()), false);
    let more = |most| fetch(&topic, &[(0, 0), (1, 0)]).with_min_bytes(10_000).with_max_bytes(most);
    show("more than there is", more(1 << 20), true);
    show("more than may come", more(10), false);
    seen
}
