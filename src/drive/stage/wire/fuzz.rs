//! Requests of every call and version, whole, cut and bent: what the walk lets through can be decoded, and reading takes all of it.

use bytes::Bytes;
use kafka_protocol::messages::*;
use kafka_protocol::protocol::Decodable;
use proptest::prelude::*;

use super::{Api, Request};

/// Decodes a body as the call it is; returns the bytes left, or none where it cannot be decoded.
fn left(key: ApiKey, version: i16, body: &Bytes) -> Option<usize> {
    fn decode<T: Decodable>(version: i16, body: &Bytes) -> Option<usize> {
        let mut rest = body.clone();
        T::decode(&mut rest, version).ok().map(|_| rest.len())
    }
    macro_rules! decode {
        ($($key:ident => $request:ident),* $(,)?) => {
            match key {
                $(ApiKey::$key => decode::<$request>(version, body),)*
                other => panic!("{other:?} is served and not tried here"),
            }
        };
    }
    decode! {
        AddOffsetsToTxn => AddOffsetsToTxnRequest,
        AddPartitionsToTxn => AddPartitionsToTxnRequest,
        ApiVersions => ApiVersionsRequest,
        ConsumerGroupDescribe => ConsumerGroupDescribeRequest,
        ConsumerGroupHeartbeat => ConsumerGroupHeartbeatRequest,
        CreatePartitions => CreatePartitionsRequest,
        CreateTopics => CreateTopicsRequest,
        DeleteGroups => DeleteGroupsRequest,
        DeleteRecords => DeleteRecordsRequest,
        DeleteTopics => DeleteTopicsRequest,
        DescribeCluster => DescribeClusterRequest,
        DescribeConfigs => DescribeConfigsRequest,
        DescribeGroups => DescribeGroupsRequest,
        EndTxn => EndTxnRequest,
        Fetch => FetchRequest,
        FindCoordinator => FindCoordinatorRequest,
        Heartbeat => HeartbeatRequest,
        IncrementalAlterConfigs => IncrementalAlterConfigsRequest,
        InitProducerId => InitProducerIdRequest,
        JoinGroup => JoinGroupRequest,
        LeaveGroup => LeaveGroupRequest,
        ListGroups => ListGroupsRequest,
        ListOffsets => ListOffsetsRequest,
        Metadata => MetadataRequest,
        OffsetCommit => OffsetCommitRequest,
        OffsetDelete => OffsetDeleteRequest,
        OffsetFetch => OffsetFetchRequest,
        OffsetForLeaderEpoch => OffsetForLeaderEpochRequest,
        Produce => ProduceRequest,
        SyncGroup => SyncGroupRequest,
        TxnOffsetCommit => TxnOffsetCommitRequest,
    }
}

fn versions() -> Vec<(&'static Api, i16)> {
    Api::all().flat_map(|api| (api.min..=api.max).map(move |version| (api, version))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_shape_says_what_the_decoder_reads(entropy in prop::collection::vec(any::<u8>(), 200)) {
        for (api, version) in versions() {
            let mut at = 0;
            let body = api.sample(version, &mut || { at += 1; entropy[at % entropy.len()] });
            prop_assert!(api.fits(version, &body), "{:?} {}", api.key, version);
            prop_assert_eq!(left(api.key, version, &body.into()), Some(0), "{:?} {}", api.key, version);
        }
    }

    #[test]
    fn what_is_cut_or_bent_is_refused_or_decoded_and_asks_for_no_more_memory_than_it_bears(
        entropy in prop::collection::vec(any::<u8>(), 200),
        cut in any::<prop::sample::Index>(),
        bends in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        for (api, version) in versions() {
            let mut at = 0;
            let mut body = api.sample(version, &mut || { at += 1; entropy[at % entropy.len()] });
            for (place, byte) in &bends {
                let place = place.index(body.len().max(1));
                if let Some(bent) = body.get_mut(place) {
                    *bent = *byte;
                }
            }
            for body in [&body[..], &body[..cut.index(body.len() + 1)]] {
                if api.fits(version, body) {
                    left(api.key, version, &Bytes::copy_from_slice(body));
                }
            }
        }
    }

    #[test]
    fn rubbish_is_refused_or_decoded(rubbish in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(request) = Request::parse(rubbish.clone().into()) {
            let _ = Api::of(request.key).filter(|api| api.serves(request.version)).map(|api| {
                api.fits(request.version, &request.body).then(|| left(api.key, request.version, &request.body))
            });
        }
        let body = Bytes::from(rubbish);
        for (api, version) in versions() {
            if api.fits(version, &body) {
                left(api.key, version, &body);
            }
        }
    }
}

#[test]
fn a_header_is_read_in_all_its_forms() {
    let bytes = |bytes: &[u8]| Request::parse(Bytes::copy_from_slice(bytes));
    // `ApiVersions` 2: no client, no tagged fields; 3: a client and tagged fields; 99: as all have it.
    let old = bytes(&[0, 18, 0, 2, 0, 0, 0, 7, 0xff, 0xff]).unwrap();
    assert_eq!((old.key, old.version, old.correlation, old.client.as_str()), (18, 2, 7, ""));
    let new = bytes(&[0, 18, 0, 3, 0, 0, 0, 7, 0, 1, b'c', 1, 9, 1, 5, 42]).unwrap();
    assert_eq!((new.client.as_str(), &new.body[..]), ("c", &[42][..]));
    let unknown = bytes(&[0, 18, 0, 99, 0, 0, 0, 7, 0, 1, b'c', 1, 9]).unwrap();
    assert_eq!((unknown.version, unknown.body.len()), (99, 2));
    for cut in [&[0][..], &[0, 18, 0, 3, 0, 0, 0], &[0, 18, 0, 3, 0, 0, 0, 7, 0, 9, b'c']] {
        assert!(bytes(cut).is_err());
    }
}
