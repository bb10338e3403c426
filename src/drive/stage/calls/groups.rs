//! `JoinGroup`, `SyncGroup`, `Heartbeat`, `LeaveGroup`.

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::{
    HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse,
    SyncGroupRequest, SyncGroupResponse,
};
use kafka_protocol::protocol::StrBytes;

use super::{code, code_of, text};
use crate::drive::stage::broker::Broker;
use crate::drive::stage::groups::{
    Answer, CONSUMERS, Client, Identity, Join, JoinAnswer, Leaving, Step, Sync, SyncAnswer,
};
use crate::drive::stage::wire::{Request, WireError};

/// First version in which a new member is told its id before it joins.
const ASKS_FOR_ID_FROM: i16 = 4;

/// First version in which a leader may be told to assign nothing.
const SKIPS_FROM: i16 = 9;

/// First version in which several members leave at once.
const MANY_LEAVE_FROM: i16 = 3;

pub(super) fn identity(member: &StrBytes, instance: Option<&StrBytes>) -> Identity {
    Identity { member: member.to_string(), instance: instance.map(ToString::to_string) }
}

fn millis(millis: i32) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

pub(super) fn join(broker: &Broker, request: &Request, peer: &str) -> Result<Bytes, WireError> {
    let asked: JoinGroupRequest = request.decode()?;
    let session_timeout = millis(asked.session_timeout_ms);
    // Version 0 knows no time-out of its own for rebalances.
    let rebalance_timeout = if request.version == 0 { session_timeout } else { millis(asked.rebalance_timeout_ms) };
    let protocols = asked.protocols.iter().map(|one| (one.name.to_string(), one.metadata.clone())).collect();
    let join = Join {
        identity: identity(&asked.member_id, asked.group_instance_id.as_ref()),
        client: Client { id: request.client.clone(), host: format!("/{peer}") },
        session_timeout,
        rebalance_timeout,
        protocol_type: asked.protocol_type.to_string(),
        protocols,
        asks_for_id: request.version >= ASKS_FOR_ID_FROM,
        can_skip_assignment: request.version >= SKIPS_FROM,
    };
    let member = join.identity.member.clone();
    let (step, mixed) = broker.control(|control, now| {
        let group = control.groups.group(&asked.group_id);
        let among_others = group.is_some_and(|group| group.consumers().is_some() && !group.is_empty());
        let mixed = among_others && join.protocol_type == CONSUMERS;
        (control.groups.join(&asked.group_id, join, now), mixed)
    });
    if mixed {
        broker.note_mixed(request);
    }
    let answer = match step {
        Step::Answer(answer) => answer,
        Step::Wait(ticket) => match broker.wait_for(ticket) {
            Some(Answer::Join(answer)) => answer,
            _ => JoinAnswer::refused(ResponseError::CoordinatorNotAvailable, &member),
        },
    };
    request.answer(&joined(request.version, answer))
}

fn joined(version: i16, answer: JoinAnswer) -> JoinGroupResponse {
    let member = |(identity, metadata): (Identity, Bytes)| {
        JoinGroupResponseMember::default()
            .with_member_id(text(&identity.member))
            .with_group_instance_id(identity.instance.as_deref().map(text))
            .with_metadata(metadata)
    };
    // Null stands for "none" from version 7 on; up to then it is empty.
    let none = || if version >= 7 { None } else { Some(text("")) };
    JoinGroupResponse::default()
        .with_error_code(code(answer.error))
        .with_generation_id(answer.generation)
        .with_protocol_type(answer.protocol_type.as_deref().map(text))
        .with_protocol_name(answer.protocol.as_deref().map(text).or_else(none))
        .with_leader(text(&answer.leader))
        .with_skip_assignment(answer.skip_assignment)
        .with_member_id(text(&answer.member))
        .with_members(answer.members.into_iter().map(member).collect())
}

pub(super) fn sync(broker: &Broker, request: &Request) -> Result<Bytes, WireError> {
    let asked: SyncGroupRequest = request.decode()?;
    let sync = Sync {
        identity: identity(&asked.member_id, asked.group_instance_id.as_ref()),
        generation: asked.generation_id,
        protocol_type: asked.protocol_type.as_ref().map(ToString::to_string),
        protocol: asked.protocol_name.as_ref().map(ToString::to_string),
        assignments: asked.assignments.iter().map(|one| (one.member_id.to_string(), one.assignment.clone())).collect(),
    };
    let answer = match broker.control(|control, now| control.groups.sync(&asked.group_id, sync, now)) {
        Step::Answer(answer) => answer,
        Step::Wait(ticket) => match broker.wait_for(ticket) {
            Some(Answer::Sync(answer)) => answer,
            _ => SyncAnswer::refused(ResponseError::CoordinatorNotAvailable),
        },
    };
    let answer = SyncGroupResponse::default()
        .with_error_code(code(answer.error))
        .with_protocol_type(answer.protocol_type.as_deref().map(text))
        .with_protocol_name(answer.protocol.as_deref().map(text))
        .with_assignment(answer.assignment);
    request.answer(&answer)
}

pub(super) fn heartbeat(broker: &Broker, request: &Request) -> Result<Bytes, WireError> {
    let asked: HeartbeatRequest = request.decode()?;
    let identity = identity(&asked.member_id, asked.group_instance_id.as_ref());
    let heard =
        broker.control(|control, now| control.groups.heartbeat(&asked.group_id, &identity, asked.generation_id, now));
    request.answer(&HeartbeatResponse::default().with_error_code(code_of(&heard)))
}

pub(super) fn leave(broker: &Broker, request: &Request) -> Result<Bytes, WireError> {
    let asked: LeaveGroupRequest = request.decode()?;
    let leaving: Vec<Leaving> = if request.version < MANY_LEAVE_FROM {
        vec![Leaving { member: asked.member_id.to_string(), instance: None }]
    } else {
        let one = |member: &kafka_protocol::messages::leave_group_request::MemberIdentity| Leaving {
            member: member.member_id.to_string(),
            instance: member.group_instance_id.as_ref().map(ToString::to_string),
        };
        asked.members.iter().map(one).collect()
    };
    let left = broker.control(|control, now| control.groups.leave(&asked.group_id, &leaving, now));
    let answer = LeaveGroupResponse::default();
    if request.version < MANY_LEAVE_FROM {
        let error = left.map_or_else(Some, |each| each.into_iter().find_map(Result::err));
        return request.answer(&answer.with_error_code(code(error)));
    }
    // A group that is not there has none of the members: each is told so.
    let (error, each) = match left {
        Ok(each) => (None, each),
        Err(error @ ResponseError::UnknownMemberId) => (None, vec![Err(error); leaving.len()]),
        Err(error) => (Some(error), Vec::new()),
    };
    let member = |(leaving, left): (&Leaving, Result<(), ResponseError>)| {
        MemberResponse::default()
            .with_member_id(text(&leaving.member))
            .with_group_instance_id(leaving.instance.as_deref().map(text))
            .with_error_code(code_of(&left))
    };
    request.answer(&answer.with_error_code(code(error)).with_members(leaving.iter().zip(each).map(member).collect()))
}
