//! What a group has committed, and what transactions hold back yet.

use std::collections::BTreeMap;
use std::time::Duration;

use kafka_protocol::ResponseError;

use super::group::{Group, Phase};
use super::member::Identity;

/// Longest text that may be committed with an offset.
const METADATA_MAX: usize = 4_096;

/// An offset that was committed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::drive::stage) struct Committed {
    /// The next one wanted.
    pub(in crate::drive::stage) offset: i64,
    pub(in crate::drive::stage) leader_epoch: i32,
    pub(in crate::drive::stage) metadata: String,
}

#[derive(Debug, Default)]
pub(super) struct Offsets {
    committed: BTreeMap<(String, i32), Committed>,
    /// By producer id.
    held_back: BTreeMap<i64, BTreeMap<(String, i32), Committed>>,
}

impl Group {
    /// Checks who commits. A generation below zero comes from those who only store offsets: allowed while nobody is a member.
    pub(super) fn check_commit(
        &self,
        identity: &Identity,
        generation: i32,
        transactional: bool,
    ) -> Result<(), ResponseError> {
        if generation < 0 && self.is_empty() && self.phase == Phase::Empty {
            return Ok(());
        }
        let is_nobody = generation < 0 && identity.member.is_empty() && identity.instance.is_none();
        if let Some(consumers) = &self.consumers {
            return match consumers.check(identity, generation) {
                _ if transactional && is_nobody => Ok(()),
                // Producers know no epochs of members.
                Err(ResponseError::StaleMemberEpoch) if transactional => Err(ResponseError::IllegalGeneration),
                checked => checked,
            };
        }
        if !is_nobody {
            self.check(identity, generation)?;
        } else if !transactional {
            return Err(ResponseError::UnknownMemberId);
        }
        match self.phase {
            Phase::Completing { .. } if !transactional => Err(ResponseError::RebalanceInProgress),
            _ => Ok(()),
        }
    }

    /// Keeps an offset; one that belongs to a transaction is held back until that ends.
    pub(in crate::drive::stage) fn commit(
        &mut self,
        topic: &str,
        partition: i32,
        committed: Committed,
        producer_id: Option<i64>,
    ) -> Result<(), ResponseError> {
        if committed.metadata.len() > METADATA_MAX {
            return Err(ResponseError::OffsetMetadataTooLarge);
        }
        let place = match producer_id {
            None => &mut self.offsets.committed,
            Some(id) => self.offsets.held_back.entry(id).or_default(),
        };
        place.insert((topic.to_owned(), partition), committed);
        Ok(())
    }

    pub(in crate::drive::stage) fn committed(&self, topic: &str, partition: i32) -> Option<&Committed> {
        self.offsets.committed.get(&(topic.to_owned(), partition))
    }

    /// Sets what is committed back to `position` and puts all members out, who would go on otherwise; returns whether there were
    /// none.
    pub(super) fn set_back(&mut self, topic: &str, partition: i32, position: i64, now: Duration) -> bool {
        if let Some(committed) = self.offsets.committed.get_mut(&(topic.to_owned(), partition)) {
            committed.offset = position;
        }
        if let Some(consumers) = &mut self.consumers {
            return consumers.put_all_out();
        }
        let members: Vec<String> = self.members.keys().cloned().collect();
        for member in &members {
            self.remove(member, now);
        }
        members.is_empty()
    }

    /// Whether an open transaction may yet change what is committed there.
    pub(in crate::drive::stage) fn is_held_back(&self, topic: &str, partition: i32) -> bool {
        let spot = (topic.to_owned(), partition);
        self.offsets.held_back.values().any(|offsets| offsets.contains_key(&spot))
    }

    /// Everything committed, by topic and partition.
    pub(in crate::drive::stage) fn all_committed(&self) -> impl Iterator<Item = (&str, i32, &Committed)> {
        self.offsets.committed.iter().map(|((topic, partition), committed)| (topic.as_str(), *partition, committed))
    }

    /// Forgets what was committed there.
    pub(in crate::drive::stage) fn delete_offset(&mut self, topic: &str, partition: i32) {
        self.offsets.committed.remove(&(topic.to_owned(), partition));
    }

    pub(super) fn forget_topic(&mut self, topic: &str) {
        self.offsets.committed.retain(|(name, _), _| name != topic);
        for offsets in self.offsets.held_back.values_mut() {
            offsets.retain(|(name, _), _| name != topic);
        }
    }

    pub(super) fn end_transaction(&mut self, producer_id: i64, committed: bool) {
        let held = self.offsets.held_back.remove(&producer_id).unwrap_or_default();
        if committed {
            self.offsets.committed.extend(held);
        }
    }

    /// Whether any member has subscribed to the topic, as far as the group's protocol is the consumers' own.
    pub(in crate::drive::stage) fn is_subscribed(&self, topic: &str) -> bool {
        if let Some(consumers) = &self.consumers {
            return consumers.is_subscribed(topic);
        }
        let Some(protocol) = &self.protocol else { return false };
        self.members.values().any(|member| subscribed(&member.metadata(protocol)).iter().any(|name| name == topic))
    }
}

/// Topics of a consumer's subscription; none where the bytes are something else.
fn subscribed(metadata: &[u8]) -> Vec<String> {
    let mut rest = metadata.get(2..).unwrap_or_default();
    let mut topics = Vec::new();
    let Some(count) = take(&mut rest, 4) else { return topics };
    for _ in 0..u32::from_be_bytes([count[0], count[1], count[2], count[3]]) {
        let Some(size) = take(&mut rest, 2) else { return Vec::new() };
        let Some(name) = take(&mut rest, usize::from(u16::from_be_bytes([size[0], size[1]]))) else {
            return Vec::new();
        };
        topics.push(String::from_utf8_lossy(name).into_owned());
    }
    topics
}

fn take<'b>(rest: &mut &'b [u8], size: usize) -> Option<&'b [u8]> {
    let (taken, after) = rest.split_at_checked(size)?;
    *rest = after;
    Some(taken)
}
