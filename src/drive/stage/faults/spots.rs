//! Which partitions a request is about.

use kafka_protocol::messages::{
    AddPartitionsToTxnRequest, ApiKey, FetchRequest, ListOffsetsRequest, OffsetCommitRequest, ProduceRequest,
    TxnOffsetCommitRequest,
};
use uuid::Uuid;

use super::super::sessions::Sessions;
use super::super::topics::Topics;
use super::super::wire::Request;

/// Topics and partitions that a request names; none for a call that is about no partition, or cannot be read.
pub(super) fn of(topics: &Topics, sessions: &Sessions, request: &Request) -> Vec<(String, i32)> {
    read(topics, sessions, request).unwrap_or_default()
}

fn read(topics: &Topics, sessions: &Sessions, request: &Request) -> Option<Vec<(String, i32)>> {
    // A topic by its name, or by its id where the request has no names any more.
    let named = |name: &str, id: Uuid| {
        if name.is_empty() { topics.with_id(id).map(|topic| topic.name.clone()) } else { Some(name.to_owned()) }
    };
    let spots = |name: Option<String>, partitions: Vec<i32>| {
        let name = name.unwrap_or_default();
        partitions.into_iter().map(move |index| (name.clone(), index)).collect::<Vec<_>>()
    };
    let all: Vec<Vec<(String, i32)>> = match ApiKey::try_from(request.key).ok()? {
        ApiKey::Produce => {
            let asked: ProduceRequest = request.decode().ok()?;
            let each = asked.topic_data.iter().map(|topic| {
                spots(named(&topic.name, topic.topic_id), topic.partition_data.iter().map(|one| one.index).collect())
            });
            each.collect()
        }
        ApiKey::Fetch => {
            let asked: FetchRequest = request.decode().ok()?;
            let each = asked.topics.iter().map(|topic| {
                spots(named(&topic.topic, topic.topic_id), topic.partitions.iter().map(|one| one.partition).collect())
            });
            // In a session it names only what has changed.
            let known = sessions.partitions(asked.session_id);
            let known = known.into_iter().map(|(topic, index)| spots(named(&topic.name, topic.id), vec![index]));
            let mut all: Vec<Vec<(String, i32)>> = each.chain(known).collect();
            all.sort_unstable();
            all.dedup();
            all
        }
        ApiKey::ListOffsets => {
            let asked: ListOffsetsRequest = request.decode().ok()?;
            let each = asked.topics.iter().map(|topic| {
                spots(Some(topic.name.to_string()), topic.partitions.iter().map(|one| one.partition_index).collect())
            });
            each.collect()
        }
        ApiKey::OffsetCommit => {
            let asked: OffsetCommitRequest = request.decode().ok()?;
            let each = asked.topics.iter().map(|topic| {
                spots(Some(topic.name.to_string()), topic.partitions.iter().map(|one| one.partition_index).collect())
            });
            each.collect()
        }
        ApiKey::TxnOffsetCommit => {
            let asked: TxnOffsetCommitRequest = request.decode().ok()?;
            let each = asked.topics.iter().map(|topic| {
                spots(Some(topic.name.to_string()), topic.partitions.iter().map(|one| one.partition_index).collect())
            });
            each.collect()
        }
        ApiKey::AddPartitionsToTxn => {
            let asked: AddPartitionsToTxnRequest = request.decode().ok()?;
            let each = asked
                .v3_and_below_topics
                .iter()
                .map(|topic| spots(Some(topic.name.to_string()), topic.partitions.clone()));
            each.collect()
        }
        _ => Vec::new(),
    };
    Some(all.into_iter().flatten().collect())
}
