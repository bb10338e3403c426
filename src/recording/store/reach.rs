//! Whether a store answers: what is asked of it is asked again for minutes before it counts as failed, and nobody is told meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpService, ReqwestConnector,
};
use reqwest::StatusCode;

/// Whether the store that a recording is written to answered the last time that it was asked anything.
#[derive(Debug, Clone, Default)]
pub struct StoreReach {
    silent: Arc<AtomicBool>,
}

impl StoreReach {
    /// Whether it answered, or was not asked yet. An answer is also what refuses; none is one that says to ask again later.
    pub fn answers(&self) -> bool {
        !self.silent.load(Ordering::Relaxed)
    }
}

/// Makes clients that note whether what they ask is answered.
impl HttpConnector for StoreReach {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = ReqwestConnector::default().connect(options)?;
        Ok(HttpClient::new(Noting { client, reach: self.clone() }))
    }
}

#[derive(Debug)]
struct Noting {
    client: HttpClient,
    reach: StoreReach,
}

#[async_trait]
impl HttpService for Noting {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let answer = self.client.execute(request).await;
        let silent = answer.as_ref().map_or(true, |answer| {
            let status = answer.status();
            status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS || status == StatusCode::REQUEST_TIMEOUT
        });
        self.reach.silent.store(silent, Ordering::Relaxed);
        answer
    }
}
