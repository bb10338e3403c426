//! What operators ask about groups: `DescribeGroups`, `ListGroups`, `DeleteGroups`, `OffsetDelete`.

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::offset_delete_response::{OffsetDeleteResponsePartition, OffsetDeleteResponseTopic};
use kafka_protocol::messages::{
    DeleteGroupsRequest, DeleteGroupsResponse, DescribeGroupsRequest, DescribeGroupsResponse, GroupId,
    ListGroupsRequest, ListGroupsResponse, OffsetDeleteRequest, OffsetDeleteResponse,
};

use super::{code_of, text};
use crate::drive::stage::broker::Broker;
use crate::drive::stage::wire::{Request, WireError};

/// All that may be done with a group, as bits by the number of the operation.
pub(super) const GROUP_OPERATIONS: i32 = 0b1_0100_1000;

/// The state of a group that is not there.
const DEAD: &str = "Dead";

pub(super) fn describe(broker: &Broker, request: &Request) -> Result<Bytes, WireError> {
    let asked: DescribeGroupsRequest = request.decode()?;
    let one = |id: &GroupId| {
        let found = broker.control(|control, _| {
            let group = control.groups.group(id).ok_or("not found")?;
            if group.consumers().is_some() { Err("is not a classic group") } else { Ok(group.describe()) }
        });
        let answer = DescribedGroup::default().with_group_id(id.clone());
        let group = match found {
            Ok(group) => group,
            Err(what) if request.version >= 6 => {
                let reason = format!("Group {} {what}.", id.as_str());
                return answer
                    .with_error_code(ResponseError::GroupIdNotFound.code())
                    .with_error_message(Some(text(&reason)))
                    .with_group_state(text(DEAD));
            }
            Err(_) => return answer.with_group_state(text(DEAD)),
        };
        let member = |member: crate::drive::stage::groups::DescribedMember| {
            DescribedGroupMember::default()
                .with_member_id(text(&member.identity.member))
                .with_group_instance_id(member.identity.instance.as_deref().map(text))
                .with_client_id(text(&member.client.id))
                .with_client_host(text(&member.client.host))
                .with_member_metadata(member.metadata)
                .with_member_assignment(member.assignment)
        };
        let answer = answer
            .with_group_state(text(group.state))
            .with_protocol_type(text(&group.protocol_type))
            .with_protocol_data(text(&group.protocol))
            .with_members(group.members.into_iter().map(member).collect());
        if asked.include_authorized_operations { answer.with_authorized_operations(GROUP_OPERATIONS) } else { answer }
    };
    request.answer(&DescribeGroupsResponse::default().with_groups(asked.groups.iter().map(one).collect()))
}

pub(super) fn list(broker: &Broker, request: &Request) -> Result<Bytes, WireError> {
    let asked: ListGroupsRequest = request.decode()?;
    let among = |list: &[kafka_protocol::protocol::StrBytes], value: &str| {
        list.is_empty() || list.iter().any(|one| one.eq_ignore_ascii_case(value))
    };
    let groups = broker.control(|control, _| {
        let listed = control.groups.ids().filter_map(|id| {
            let group = control.groups.group(id)?;
            let wanted = among(&asked.states_filter, group.state()) && among(&asked.types_filter, group.kind());
            let listed = ListedGroup::default()
                .with_group_id(GroupId(text(id)))
                .with_protocol_type(text(group.protocol_type()))
                .with_group_state(text(group.state()))
                .with_group_type(text(group.kind()));
            wanted.then_some(listed)
        });
        listed.collect()
    });
    request.answer(&ListGroupsResponse::default().with_groups(groups))
}

pub(super) fn delete(broker: &Broker, request: &Request) -> Result<Bytes, WireError> {
    let asked: DeleteGroupsRequest = request.decode()?;
    let one = |id: &GroupId| {
        let deleted = broker.control(|control, _| control.groups.delete(id));
        DeletableGroupResult::default().with_group_id(id.clone()).with_error_code(code_of(&deleted))
    };
    request.answer(&DeleteGroupsResponse::default().with_results(asked.groups_names.iter().map(one).collect()))
}

pub(super) fn delete_offsets(broker: &Broker, request: &Request) -> Result<Bytes, WireError> {
    let asked: OffsetDeleteRequest = request.decode()?;
    let topics = broker.control(|control, _| {
        let group = control.groups.group_mut(&asked.group_id).ok_or(ResponseError::GroupIdNotFound)?;
        if !group.is_empty() && group.protocol_type() != "consumer" {
            return Err(ResponseError::NonEmptyGroup);
        }
        let topic = |topic: &kafka_protocol::messages::offset_delete_request::OffsetDeleteRequestTopic| {
            let subscribed = group.is_subscribed(&topic.name);
            let one = |partition: &kafka_protocol::messages::offset_delete_request::OffsetDeleteRequestPartition| {
                let index = partition.partition_index;
                let error = match broker.partition(&topic.name, index) {
                    Err(error) => Some(error),
                    Ok(_) if subscribed => Some(ResponseError::GroupSubscribedToTopic),
                    Ok(_) => {
                        group.delete_offset(&topic.name, index);
                        None
                    }
                };
                OffsetDeleteResponsePartition::default().with_partition_index(index).with_error_code(super::code(error))
            };
            OffsetDeleteResponseTopic::default()
                .with_name(topic.name.clone())
                .with_partitions(topic.partitions.iter().map(one).collect())
        };
        Ok(asked.topics.iter().map(topic).collect())
    });
    let answer = OffsetDeleteResponse::default().with_error_code(code_of(&topics));
    request.answer(&answer.with_topics(topics.unwrap_or_default()))
}
