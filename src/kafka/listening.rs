//! What librdkafka says outside of any answer: that a broker does not let us in, that none can be reached; and the tokens that it
//! asks for.

use std::error::Error;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rdkafka::ClientContext;
use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::token::token;

/// Keeps the last of what was said. Nothing is written anywhere: librdkafka's own log may hold what is a secret.
#[derive(Debug, Default)]
pub(crate) struct Listening(Mutex<Heard>);

#[derive(Debug, Default)]
struct Heard {
    last: Option<String>,
    refused: Option<String>,
    /// No broker could be reached, as of some word since it was last looked.
    all_down: bool,
}

impl Listening {
    /// Why a broker refused the client, or was not trusted; none where it did not come to that.
    pub(crate) fn refused(&self) -> Option<String> {
        self.lock().refused.clone()
    }

    /// What was heard last.
    pub(crate) fn heard(&self) -> Option<String> {
        self.lock().last.clone()
    }

    /// Whether it was said since the last call that no broker can be reached. librdkafka says so again with each try.
    pub(crate) fn all_down(&self) -> bool {
        std::mem::take(&mut self.lock().all_down)
    }

    fn lock(&self) -> MutexGuard<'_, Heard> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Listening {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, config: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        Ok(token(config.unwrap_or_default())?)
    }

    fn log(&self, _level: RDKafkaLogLevel, _facility: &str, _message: &str) {}

    fn error(&self, error: KafkaError, reason: &str) {
        let mut heard = self.lock();
        let refused = matches!(
            error.rdkafka_error_code(),
            Some(RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SSL | RDKafkaErrorCode::SaslAuthenticationFailed)
        );
        if refused {
            heard.refused = Some(reason.to_owned());
        }
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) {
            heard.all_down = true;
        }
        heard.last = Some(reason.to_owned());
    }
}

impl ConsumerContext for Listening {}
