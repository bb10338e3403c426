//! The calls that the stage serves, with their versions and the shapes of their requests.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use kafka_protocol::messages::ApiKey;

use super::shape::Shape;

/// Versions served, the first flexible one, and the shape. Transactions of version 2 (`Produce` adds partitions by itself, every
/// end raises the epoch) are not offered, so clients of Kafka 4 add partitions as all others do.
const TABLE: &[(ApiKey, i16, i16, i16, &str)] = &[
    (ApiKey::Produce, 3, 13, 9, "s 2 4 [{s@-12 16@13 [{4 b}]}]"),
    (
        ApiKey::Fetch,
        4,
        17,
        12,
        "4@-14 4 4 4 1 4@7 4@7 [{s@-12 16@13 [{4 4@9 8 4@12 8@5 4 #16 #8}]}] [{s@-12 16@13 [4]}]@7 s@11",
    ),
    (ApiKey::ListOffsets, 1, 10, 6, "4 1@2 [{s [{4 4@4 8}]}] 4@10"),
    (ApiKey::Metadata, 0, 13, 9, "[{16@10 s}] 1@4 1@8-10 1@8"),
    (ApiKey::OffsetCommit, 2, 9, 8, "s 4 s s@7 8@-4 [{s [{4 8 4@6 s}]}]"),
    (ApiKey::OffsetFetch, 1, 9, 6, "s@-7 [{s [4]}]@-7 [{s s@9 4@9 [{s [4]}]}]@8 1@7"),
    (ApiKey::FindCoordinator, 0, 6, 3, "s@-3 1@1 [s]@4"),
    (ApiKey::JoinGroup, 0, 9, 6, "s 4 4@1 s s@5 s [{s b}] s@8"),
    (ApiKey::Heartbeat, 0, 4, 4, "s 4 s s@3"),
    (ApiKey::LeaveGroup, 0, 5, 4, "s s@-2 [{s s s@5}]@3"),
    (ApiKey::SyncGroup, 0, 5, 4, "s 4 s s@3 s@5 s@5 [{s b}]"),
    (ApiKey::DescribeGroups, 0, 6, 5, "[s] 1@3"),
    (ApiKey::ListGroups, 0, 5, 3, "[s]@4 [s]@5"),
    (ApiKey::ApiVersions, 0, 4, 3, "s@3 s@3"),
    (ApiKey::CreateTopics, 2, 7, 5, "[{s 4 2 [{4 [4]}] [{s s}]}] 4 1"),
    (ApiKey::DeleteTopics, 1, 6, 4, "[{s 16}]@6 [s]@-5 4"),
    (ApiKey::DeleteRecords, 0, 2, 2, "[{s [{4 8}]}] 4"),
    (ApiKey::InitProducerId, 0, 5, 2, "s 4 8@3 2@3"),
    (ApiKey::OffsetForLeaderEpoch, 2, 4, 4, "4@3 [{s [{4 4 4}]}]"),
    (ApiKey::AddPartitionsToTxn, 0, 3, 3, "s 8 2 [{s [4]}]"),
    (ApiKey::AddOffsetsToTxn, 0, 4, 3, "s 8 2 s"),
    (ApiKey::EndTxn, 0, 4, 3, "s 8 2 1"),
    (ApiKey::TxnOffsetCommit, 0, 4, 3, "s s 8 2 4@3 s@3 s@3 [{s [{4 8 4@2 s}]}]"),
    (ApiKey::DescribeConfigs, 1, 4, 4, "[{1 s [s]}] 1 1@3"),
    (ApiKey::CreatePartitions, 0, 3, 2, "[{s 4 [{[4]}]}] 4 1"),
    (ApiKey::DeleteGroups, 0, 2, 2, "[s]"),
    (ApiKey::IncrementalAlterConfigs, 0, 1, 1, "[{1 s [{s 1 s}]}] 1"),
    (ApiKey::OffsetDelete, 0, 0, i16::MAX, "s [{s [{4}]}]"),
    (ApiKey::DescribeCluster, 0, 2, 0, "1 1@1 1@2"),
    (ApiKey::ConsumerGroupHeartbeat, 0, 1, 0, "s s 4 s s 4 [s] s@1 s [{16 [4]}]"),
    (ApiKey::ConsumerGroupDescribe, 0, 1, 0, "[s] 1"),
];

/// One call.
#[derive(Debug)]
pub(in crate::drive::stage) struct Api {
    pub(in crate::drive::stage) key: ApiKey,
    pub(in crate::drive::stage) min: i16,
    pub(in crate::drive::stage) max: i16,
    shape: Shape,
}

static SERVED: LazyLock<BTreeMap<i16, Api>> = LazyLock::new(|| {
    let api = |&(key, min, max, flexible_from, shape): &(ApiKey, i16, i16, i16, &str)| {
        (key as i16, Api { key, min, max, shape: Shape::parse(shape, flexible_from) })
    };
    TABLE.iter().map(api).collect()
});

impl Api {
    /// The call of this number, if it is served.
    pub(in crate::drive::stage) fn of(key: i16) -> Option<&'static Self> {
        SERVED.get(&key)
    }

    /// All calls that are served, by number.
    pub(in crate::drive::stage) fn all() -> impl Iterator<Item = &'static Self> {
        SERVED.values()
    }

    pub(in crate::drive::stage) fn serves(&self, version: i16) -> bool {
        (self.min..=self.max).contains(&version)
    }

    /// Whether `body` can be decoded without asking for more memory than its bytes bear.
    pub(super) fn fits(&self, version: i16, body: &[u8]) -> bool {
        self.shape.fits(version, body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Api {
        /// A request of this call's shape.
        pub(in crate::drive::stage::wire) fn sample(&self, version: i16, dice: &mut dyn FnMut() -> u8) -> Vec<u8> {
            self.shape.sample(version, dice)
        }
    }

    #[test]
    fn every_shape_can_be_read() {
        assert_eq!(Api::all().count(), TABLE.len());
        for api in Api::all() {
            let known = api.key.valid_versions();
            assert!(known.min <= api.min && api.max <= known.max, "{:?}", api.key);
        }
    }
}
