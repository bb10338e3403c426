//! The time for which a client is throttled, put into an answer that is encoded already.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::ApiKey;

use super::super::wire::Request;

/// Calls whose answers begin with that time, and the first version in which they do. `Produce` has it at its end.
const FIRST: [(ApiKey, i16); 24] = [
    (ApiKey::Fetch, 1),
    (ApiKey::ListOffsets, 2),
    (ApiKey::Metadata, 3),
    (ApiKey::OffsetCommit, 3),
    (ApiKey::OffsetFetch, 3),
    (ApiKey::FindCoordinator, 1),
    (ApiKey::JoinGroup, 2),
    (ApiKey::Heartbeat, 1),
    (ApiKey::LeaveGroup, 1),
    (ApiKey::SyncGroup, 1),
    (ApiKey::DescribeGroups, 1),
    (ApiKey::ListGroups, 1),
    (ApiKey::CreateTopics, 2),
    (ApiKey::DeleteTopics, 1),
    (ApiKey::DeleteRecords, 0),
    (ApiKey::InitProducerId, 0),
    (ApiKey::OffsetForLeaderEpoch, 2),
    (ApiKey::AddPartitionsToTxn, 0),
    (ApiKey::AddOffsetsToTxn, 0),
    (ApiKey::EndTxn, 0),
    (ApiKey::TxnOffsetCommit, 0),
    (ApiKey::DescribeConfigs, 0),
    (ApiKey::ConsumerGroupHeartbeat, 0),
    (ApiKey::ConsumerGroupDescribe, 0),
];

/// Bytes ahead of an answer's body: length and number, and from there on a flexible header's tags.
const HEADER: usize = 8;

/// Whether an answer to this call has a place for it.
pub(super) fn can_tell(key: ApiKey) -> bool {
    key == ApiKey::Produce || FIRST.iter().any(|(first, _)| *first == key)
}

/// Puts it there; returns whether the answer has a place for it.
pub(in crate::drive::stage) fn put(request: &Request, answer: &mut [Bytes], millis: i32) -> bool {
    let Ok(key) = ApiKey::try_from(request.key) else { return false };
    let (part, from_end) = match (key, FIRST.iter().find(|(first, _)| *first == key)) {
        (ApiKey::Produce, _) => (answer.last_mut(), true),
        (_, Some((_, since))) if request.version >= *since => (answer.first_mut(), false),
        _ => return false,
    };
    let Some(part) = part else { return false };
    let flexible = key.response_header_version(request.version) >= 1;
    let at =
        if from_end { part.len().checked_sub(4 + usize::from(flexible)) } else { Some(HEADER + usize::from(flexible)) };
    let Some(at) = at.filter(|at| at + 4 <= part.len()) else { return false };
    let mut changed = BytesMut::with_capacity(part.len());
    changed.put_slice(&part[..at]);
    changed.put_i32(millis);
    changed.put_slice(&part[at + 4..]);
    *part = changed.freeze();
    true
}

#[cfg(test)]
mod tests {
    use bytes::Buf;
    use kafka_protocol::messages::*;
    use kafka_protocol::protocol::{Decodable, Encodable};

    use super::*;

    fn told<T: Default + Encodable + Decodable>(key: ApiKey, version: i16, time: impl Fn(&T) -> i32) -> i32 {
        let request = Request { key: key as i16, version, ..Request::default() };
        let mut answer = [request.answer(&T::default()).unwrap()];
        assert!(put(&request, &mut answer, 77), "{key:?} {version}");
        let mut body = answer[0].clone();
        body.advance(HEADER + usize::from(key.response_header_version(version) >= 1));
        let read = T::decode(&mut body, version).unwrap();
        assert!(body.is_empty());
        time(&read)
    }

    #[test]
    fn a_client_reads_the_time_where_its_version_has_it() {
        macro_rules! each {
            ($($key:ident $response:ident $versions:expr),* $(,)?) => {$(
                for version in $versions {
                    let time = told(ApiKey::$key, version, |read: &$response| read.throttle_time_ms);
                    assert_eq!(time, 77, "{} {version}", stringify!($key));
                }
            )*};
        }
        each! {
            Produce ProduceResponse 3..=13, Fetch FetchResponse 4..=17, ListOffsets ListOffsetsResponse 2..=10,
            Metadata MetadataResponse 3..=13, OffsetCommit OffsetCommitResponse 3..=9,
            OffsetFetch OffsetFetchResponse 3..=9, FindCoordinator FindCoordinatorResponse 1..=6,
            JoinGroup JoinGroupResponse 2..=9, Heartbeat HeartbeatResponse 1..=4, LeaveGroup LeaveGroupResponse 1..=5,
            SyncGroup SyncGroupResponse 1..=5, DescribeGroups DescribeGroupsResponse 1..=6,
            ListGroups ListGroupsResponse 1..=5, CreateTopics CreateTopicsResponse 2..=7,
            DeleteTopics DeleteTopicsResponse 1..=6, DeleteRecords DeleteRecordsResponse 0..=2,
            InitProducerId InitProducerIdResponse 0..=5, OffsetForLeaderEpoch OffsetForLeaderEpochResponse 2..=4,
            AddPartitionsToTxn AddPartitionsToTxnResponse 0..=3, AddOffsetsToTxn AddOffsetsToTxnResponse 0..=4,
            EndTxn EndTxnResponse 0..=4, TxnOffsetCommit TxnOffsetCommitResponse 0..=4,
            DescribeConfigs DescribeConfigsResponse 1..=4,
        }
    }

    #[test]
    fn an_answer_without_a_place_for_it_stays_as_it_is() {
        let request = Request { key: ApiKey::Metadata as i16, version: 2, ..Request::default() };
        let mut answer = [request.answer(&MetadataResponse::default()).unwrap()];
        let before = answer.clone();
        assert!(!put(&request, &mut answer, 77));
        assert_eq!(answer, before);
    }
}
