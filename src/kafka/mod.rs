//! What every client of a Kafka cluster needs, whatever it is there for: properties that users hand through, tokens, questions with a
//! bound, events many at a time.
//!
//! In come addresses and properties of librdkafka; out come answers of brokers and events as they stand there. What never happens
//! here: a value of a property is shown, a wait has no bound, a group is joined.

mod asking;
mod listening;
mod native;
mod properties;
mod token;

pub use properties::{Owner, Properties, PropertyError};

pub(crate) use asking::{AskError, ask};
pub(crate) use listening::Listening;
pub(crate) use native::{
    AskedIds, CLEANUP_POLICY, Described, NewTopic, Outgoing, Polled, Reader, Received, Refusal, Report, Writer,
    ask_for_topic_ids, configurations, create_topics, delete_group, delete_topics, members_of, reports, topic_ids,
};
pub(crate) use properties::{NO_NAME, check_brokers, fill_in, is_name, is_secret};
