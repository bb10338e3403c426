//! What a sample build needs to call a service by HTTP.

use std::env;
use std::io;
use std::time::Duration;

use serde::Serialize;

/// How often a call is made again that the service could not serve.
const RETRIES: u32 = 4;

/// Bounds each call.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A service.
pub struct Api {
    variable: &'static str,
    url: Option<String>,
    agent: ureq::Agent,
}

impl Api {
    /// The service whose address the environment variable `variable` holds. Nothing is called yet.
    pub fn at(variable: &'static str) -> Self {
        let config = ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).http_status_as_error(false);
        Self { variable, url: env::var(variable).ok(), agent: config.build().new_agent() }
    }

    /// Posts `body` to `path` as JSON with an idempotency key, and again with the same key where the service could not serve it.
    ///
    /// # Errors
    ///
    /// Without an address, where the service cannot be reached, and where it refuses.
    pub fn post(&self, path: &str, key: &str, body: &impl Serialize) -> io::Result<()> {
        let url = self.url.as_ref().ok_or_else(|| {
            let problem = format!("no service to call: {} is not set; `[[effect]]` gives a build one", self.variable);
            io::Error::new(io::ErrorKind::NotFound, problem)
        })?;
        let body = serde_json::to_vec(body)?;
        let mut retries = RETRIES;
        loop {
            let request = self.agent.post(format!("{url}{path}"));
            let request = request.header("idempotency-key", key).content_type("application/json");
            let mut response = request.send(&body[..]).map_err(io::Error::other)?;
            // Read to its end, so that the connection serves the next call as well.
            response.body_mut().read_to_vec().map_err(io::Error::other)?;
            match response.status().as_u16() {
                200..300 => return Ok(()),
                500.. if retries > 0 => retries -= 1,
                status => return Err(io::Error::other(format!("{path} answers {status}"))),
            }
        }
    }
}
