//! What an operator does on a cluster: topics made and deleted, groups looked at and deleted.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::ptr;
use std::time::Duration;

use rdkafka::bindings as native;
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::types::RDKafkaRespErr as Code;

use super::asked::{Answer, Asked, names};
use super::text;
use crate::kafka::listening::Listening;

/// A topic to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewTopic {
    pub(crate) name: String,
    pub(crate) partitions: i32,
    /// -1 for the brokers' own default.
    pub(crate) replication: i32,
    /// Settings in Kafka's words.
    pub(crate) configuration: Vec<(&'static str, String)>,
}

/// What a cluster would not do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// Topic or group; empty where all of the request was refused.
    pub(crate) name: String,
    /// Kafka's code, where there is one.
    pub(crate) code: Option<RDKafkaErrorCode>,
    /// In the words of broker or client.
    pub(crate) reason: String,
}

impl Refusal {
    fn of_all(reason: String) -> Vec<Self> {
        vec![Self { name: String::new(), code: None, reason }]
    }
}

/// Makes topics, and waits up to `timeout` until the cluster knows them; returns those that it would not make.
pub(crate) fn create_topics(
    consumer: &BaseConsumer<Listening>,
    topics: &[NewTopic],
    timeout: Duration,
) -> Vec<Refusal> {
    let texts: Result<Vec<_>, String> = topics.iter().map(texts).collect();
    let texts = match texts {
        Ok(texts) => texts,
        Err(reason) => return Refusal::of_all(reason),
    };
    let operation = native::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_CREATETOPICS;
    let mut refused = None;
    let asked = Asked::of(consumer, operation, None, timeout, |ask| {
        let mut why = [0; 512];
        let mut made = Vec::with_capacity(topics.len());
        // SAFETY: names and values end with a zero and are copied; `why` has the room that is said, and is zeroed ahead of its use.
        // Each topic is destroyed once, after the request, which copies it, was made.
        unsafe {
            for (topic, (name, configuration)) in topics.iter().zip(&texts) {
                let new = native::rd_kafka_NewTopic_new(
                    name.as_ptr(),
                    topic.partitions,
                    topic.replication,
                    why.as_mut_ptr(),
                    why.len(),
                );
                if new.is_null() {
                    refused = Some(Refusal { name: topic.name.clone(), code: None, reason: text(why.as_ptr()) });
                    break;
                }
                for (name, value) in configuration {
                    native::rd_kafka_NewTopic_set_config(new, name.as_ptr(), value.as_ptr());
                }
                made.push(new);
            }
            if refused.is_none() {
                set_operation_timeout(ask.options, timeout);
                native::rd_kafka_CreateTopics(ask.client, made.as_mut_ptr(), made.len(), ask.options, ask.queue);
            }
            native::rd_kafka_NewTopic_destroy_array(made.as_mut_ptr(), made.len());
        }
    });
    if let Some(refused) = refused {
        return vec![refused];
    }
    asked.wait(timeout).map_or_else(Refusal::of_all, |answer| {
        // SAFETY: the event is the answer to this request, and its results live as long as it does.
        unsafe {
            let result = native::rd_kafka_event_CreateTopics_result(answer.event);
            if result.is_null() {
                return Refusal::of_all("the answer is of another kind".to_owned());
            }
            let mut count = 0;
            let results = native::rd_kafka_CreateTopics_result_topics(result, &raw mut count);
            refused_topics(results, count)
        }
    })
}

fn texts(topic: &NewTopic) -> Result<(CString, Vec<(CString, CString)>), String> {
    let text = |text: &str| CString::new(text).map_err(|_| format!("{text:?} holds a zero byte"));
    let settings = topic.configuration.iter().map(|(name, value)| Ok((text(name)?, text(value)?)));
    Ok((text(&topic.name)?, settings.collect::<Result<_, String>>()?))
}

/// Deletes topics; returns those that it could not.
pub(crate) fn delete_topics(consumer: &BaseConsumer<Listening>, topics: &[&str], timeout: Duration) -> Vec<Refusal> {
    let names = match names(topics) {
        Ok(names) => names,
        Err(reason) => return Refusal::of_all(reason),
    };
    let operation = native::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DELETETOPICS;
    let asked = Asked::of(consumer, operation, None, timeout, |ask| {
        // SAFETY: names end with a zero and are copied; each topic is destroyed once, after the request, which copies it, was made.
        unsafe {
            let mut gone: Vec<_> = names.iter().map(|name| native::rd_kafka_DeleteTopic_new(name.as_ptr())).collect();
            set_operation_timeout(ask.options, timeout);
            native::rd_kafka_DeleteTopics(ask.client, gone.as_mut_ptr(), gone.len(), ask.options, ask.queue);
            native::rd_kafka_DeleteTopic_destroy_array(gone.as_mut_ptr(), gone.len());
        }
    });
    asked.wait(timeout).map_or_else(Refusal::of_all, |answer| {
        // SAFETY: as above.
        unsafe {
            let result = native::rd_kafka_event_DeleteTopics_result(answer.event);
            if result.is_null() {
                return Refusal::of_all("the answer is of another kind".to_owned());
            }
            let mut count = 0;
            let results = native::rd_kafka_DeleteTopics_result_topics(result, &raw mut count);
            refused_topics(results, count)
        }
    })
}

/// Deletes a group; it must have no member any more.
pub(crate) fn delete_group(consumer: &BaseConsumer<Listening>, group: &str, timeout: Duration) -> Result<(), Refusal> {
    let refuse = |code, reason| Err(Refusal { name: group.to_owned(), code, reason });
    let Ok(name) = CString::new(group) else { return refuse(None, "its name holds a zero byte".to_owned()) };
    let operation = native::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DELETEGROUPS;
    let asked = Asked::of(consumer, operation, None, timeout, |ask| {
        // SAFETY: the name ends with a zero and is copied; the group is destroyed once, after the request was made.
        unsafe {
            let mut gone = native::rd_kafka_DeleteGroup_new(name.as_ptr());
            native::rd_kafka_DeleteGroups(ask.client, &raw mut gone, 1, ask.options, ask.queue);
            native::rd_kafka_DeleteGroup_destroy(gone);
        }
    });
    let answer = asked.wait(timeout).map_err(|reason| Refusal { name: group.to_owned(), code: None, reason })?;
    // SAFETY: the event is the answer to this request, and its results live as long as it does.
    unsafe {
        let result = native::rd_kafka_event_DeleteGroups_result(answer.event);
        let mut count = 0;
        if result.is_null() {
            return refuse(None, "the answer is of another kind".to_owned());
        }
        let results = native::rd_kafka_DeleteGroups_result_groups(result, &raw mut count);
        for index in 0..count {
            let error = native::rd_kafka_group_result_error(*results.add(index));
            if !error.is_null() {
                let code = native::rd_kafka_error_code(error).into();
                return refuse(Some(code), text(native::rd_kafka_error_string(error)));
            }
        }
    }
    Ok(())
}

/// Members of a group.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Members {
    pub(crate) count: usize,
    /// Topics and partitions that they have among them.
    pub(crate) assigned: BTreeSet<(String, i32)>,
}

/// Returns the members of a group, of either protocol; none of a group that is not there.
///
/// # Errors
///
/// In words: the group's coordinator did not answer, or would not.
pub(crate) fn members_of(
    consumer: &BaseConsumer<Listening>,
    group: &str,
    timeout: Duration,
) -> Result<Members, String> {
    let names = names(&[group])?;
    let mut pointers: Vec<_> = names.iter().map(|name| name.as_ptr()).collect();
    let operation = native::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS;
    let asked = Asked::of(consumer, operation, None, timeout, |ask| {
        // SAFETY: the names outlive the call, which copies them.
        unsafe {
            native::rd_kafka_DescribeConsumerGroups(
                ask.client,
                pointers.as_mut_ptr(),
                pointers.len(),
                ask.options,
                ask.queue,
            );
        }
    });
    described(&asked.wait(timeout)?)
}

fn described(answer: &Answer) -> Result<Members, String> {
    let mut found = Members::default();
    // SAFETY: the event is the answer to this request and lives to the end of the function; groups, members and their partitions
    // belong to it, and none of them is read where it is null.
    unsafe {
        let result = native::rd_kafka_event_DescribeConsumerGroups_result(answer.event);
        if result.is_null() {
            return Err("the answer is of another kind".to_owned());
        }
        let mut count = 0;
        let groups = native::rd_kafka_DescribeConsumerGroups_result_groups(result, &raw mut count);
        for index in 0..count {
            let group = *groups.add(index);
            let error = native::rd_kafka_ConsumerGroupDescription_error(group);
            if !error.is_null() {
                let code = native::rd_kafka_error_code(error);
                if code != Code::RD_KAFKA_RESP_ERR_NO_ERROR && code != Code::RD_KAFKA_RESP_ERR_GROUP_ID_NOT_FOUND {
                    return Err(text(native::rd_kafka_error_string(error)));
                }
            }
            for member in 0..native::rd_kafka_ConsumerGroupDescription_member_count(group) {
                found.count += 1;
                let member = native::rd_kafka_ConsumerGroupDescription_member(group, member);
                let assignment = native::rd_kafka_MemberDescription_assignment(member);
                if assignment.is_null() {
                    continue;
                }
                let partitions = native::rd_kafka_MemberAssignment_partitions(assignment);
                if partitions.is_null() {
                    continue;
                }
                for at in 0..usize::try_from((*partitions).cnt).unwrap_or(0) {
                    let partition = &*(*partitions).elems.add(at);
                    found.assigned.insert((text(partition.topic), partition.partition));
                }
            }
        }
    }
    Ok(found)
}

/// # Safety
///
/// `options` are alive.
unsafe fn set_operation_timeout(options: *mut native::rd_kafka_AdminOptions_t, timeout: Duration) {
    let timeout_ms = timeout.as_millis().min(i32::MAX as u128) as i32;
    // SAFETY: said above.
    unsafe { native::rd_kafka_AdminOptions_set_operation_timeout(options, timeout_ms, ptr::null_mut(), 0) };
}

/// # Safety
///
/// `results` points to `count` results that are alive.
unsafe fn refused_topics(results: *mut *const native::rd_kafka_topic_result_t, count: usize) -> Vec<Refusal> {
    let mut refused = Vec::new();
    for index in 0..count {
        // SAFETY: said above; name and text belong to the result and end with a zero.
        unsafe {
            let result = *results.add(index);
            let code = native::rd_kafka_topic_result_error(result);
            if code != Code::RD_KAFKA_RESP_ERR_NO_ERROR {
                let said = native::rd_kafka_topic_result_error_string(result);
                let said = if said.is_null() { native::rd_kafka_err2str(code) } else { said };
                let name = text(native::rd_kafka_topic_result_name(result));
                refused.push(Refusal { name, code: Some(code.into()), reason: text(said) });
            }
        }
    }
    refused
}
