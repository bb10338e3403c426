//! Whether a producer stands: has what it needs ahead of its first event, by librdkafka's own statistics, which alone tell of it.
//!
//! It asks for its id when it hears of the brokers. Where none is up at that very instant, or one has no ids at hand yet, it asks again
//! after half a second: what is produced meanwhile waits for it.

use std::collections::BTreeMap;

use serde::Deserialize;

/// State of a producer that has its id.
const ASSIGNED: &str = "Assigned";

/// Number that stands for no partition, or for no broker.
const NONE: i32 = -1;

/// The part of librdkafka's statistics that counts here (STATISTICS.md of librdkafka).
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Statistics {
    eos: Eos,
    topics: BTreeMap<String, Topic>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Eos {
    idemp_state: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Topic {
    partitions: BTreeMap<i32, Partition>,
}

#[derive(Debug, Deserialize)]
struct Partition {
    leader: i32,
}

/// Whether a producer has its id and knows the leaders of `partitions` partitions. What are no statistics say nothing.
pub(super) fn stands(statistics: &[u8], partitions: usize) -> bool {
    let Ok(Statistics { eos, topics }) = serde_json::from_slice(statistics) else { return false };
    let all = topics.values().flat_map(|topic| &topic.partitions);
    let led = all.filter(|(number, partition)| **number != NONE && partition.leader != NONE);
    eos.idemp_state == ASSIGNED && led.count() >= partitions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_producer_stands_with_an_id_and_leaders_of_all_its_partitions() {
        let said = |state: &str, second: i32| {
            format!(
                r#"{{"name": "p", "brokers": {{}}, "topics": {{
                    "a": {{"topic": "a", "partitions": {{"0": {{"partition": 0, "leader": 1}}, "-1": {{"leader": 1}}}}}},
                    "b": {{"topic": "b", "partitions": {{"0": {{"partition": 0, "leader": {second}}}}}}}
                }}, "eos": {{"idemp_state": "{state}", "producer_id": 7}}}}"#
            )
        };
        assert!(stands(said("Assigned", 2).as_bytes(), 2));
        for (state, second, partitions) in
            [("WaitPID", 2, 2), ("WaitTransport", 2, 2), ("Assigned", -1, 2), ("Assigned", 2, 3)]
        {
            assert!(!stands(said(state, second).as_bytes(), partitions), "{state} {second} {partitions}");
        }
        for nothing in ["", "{}", "[]", r#"{"eos": {"idemp_state": 1}}"#] {
            assert!(!stands(nothing.as_bytes(), 0), "{nothing}");
        }
    }
}
