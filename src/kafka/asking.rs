//! Questions to brokers, asked until there is an answer, the time is over, or it is told to stop.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult};

use super::listening::Listening;
use crate::clock::{Clock, Stop};

/// Bounds one try of a question, so that an answer of the client itself (it may not log in) is heard in between.
const TRY: Duration = Duration::from_secs(1);

/// Bounds the wait for such an answer where a try failed at once.
const BREATH: Duration = Duration::from_millis(100);

/// Why there is no answer. What librdkafka says may hold a secret: it is for [`super::Properties::scrub`].
#[derive(Debug)]
pub(crate) enum AskError {
    /// The brokers do not let the client in, or cannot be trusted.
    NoEntry(String),
    /// They did not answer.
    NoAnswer(String),
    /// It was told to stop.
    Stopped,
}

/// Asks for `timeout` in all. Whoever is not let in is told so at once: no later try is better.
pub(crate) fn ask<T>(
    consumer: &BaseConsumer<Listening>,
    timeout: Duration,
    clock: &dyn Clock,
    stop: &Stop,
    question: impl Fn(Duration) -> KafkaResult<T>,
) -> Result<T, AskError> {
    let due = clock.now().saturating_add(timeout);
    loop {
        let left = due.saturating_sub(clock.now());
        let error = match question(left.min(TRY)) {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        while consumer.poll(left.min(BREATH)).is_some() {}
        if let Some(reason) = consumer.context().refused() {
            return Err(AskError::NoEntry(reason));
        }
        if stop.raised() {
            return Err(AskError::Stopped);
        }
        if left.is_zero() || !passing(&error) {
            let heard = consumer.context().heard();
            return Err(AskError::NoAnswer(
                heard.map_or_else(|| error.to_string(), |heard| format!("{error}; {heard}")),
            ));
        }
    }
}

/// Whether another try may bring an answer.
fn passing(error: &KafkaError) -> bool {
    use rdkafka::error::RDKafkaErrorCode as Code;
    error.rdkafka_error_code().is_some_and(|code| {
        matches!(
            code,
            Code::CoordinatorLoadInProgress
                | Code::CoordinatorNotAvailable
                | Code::NotCoordinator
                | Code::WaitingForCoordinator
                | Code::OperationTimedOut
                | Code::BrokerTransportFailure
                | Code::AllBrokersDown
                | Code::RequestTimedOut
                | Code::LeaderNotAvailable
                | Code::NotLeaderForPartition
                | Code::BrokerNotAvailable
                | Code::DestroyBroker
                | Code::UnknownTopicOrPartition
                | Code::UnknownPartition
                | Code::Resolve
        )
    })
}

#[cfg(test)]
mod tests {
    use rdkafka::error::RDKafkaErrorCode as Code;

    use super::*;

    #[test]
    fn a_broker_that_is_gone_may_be_followed_by_another_and_a_refusal_by_nothing() {
        let error = |code| KafkaError::MetadataFetch(code);
        for code in [Code::DestroyBroker, Code::NotLeaderForPartition, Code::BrokerTransportFailure] {
            assert!(passing(&error(code)), "{code:?}");
        }
        for code in [Code::TopicAuthorizationFailed, Code::InvalidTopic, Code::UnsupportedVersion] {
            assert!(!passing(&error(code)), "{code:?}");
        }
        assert!(!passing(&KafkaError::Canceled));
    }
}
