//! Tokens for `OAUTHBEARER`: of a file that somebody else keeps fresh, or unsigned ones for trying out.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rdkafka::client::OAuthToken;
use serde_json::{Value, json};

use crate::clock::{Clock, SystemClock};

/// How long an unsigned token is good for, and one that does not say it itself, in milliseconds.
const GOOD_FOR_MS: i64 = 5 * 60_000;

/// Makes the token that `config` (the property `sasl.oauthbearer.config`) tells of: `token-file=PATH`, read again whenever
/// librdkafka needs a fresh one, or `principal=NAME`, an unsigned token for clusters that ask for none better.
///
/// The error is a lowercase fragment and holds no part of a token.
pub(super) fn token(config: &str) -> Result<OAuthToken, String> {
    let now_ms = SystemClock::start().date_us() / 1_000;
    match config.split_once('=') {
        Some(("token-file", path)) => {
            let text = std::fs::read_to_string(path).map_err(|error| format!("could not read {path}: {error}"))?;
            let token = text.trim();
            if token.is_empty() || token.contains(char::is_whitespace) || token.contains(char::is_control) {
                return Err(format!("{path} holds no token: it must be one word"));
            }
            Ok(of_text(token, now_ms))
        }
        Some(("principal", name)) if !name.is_empty() => Ok(unsigned(name, now_ms)),
        _ => Err("sasl.oauthbearer.config says neither token-file=PATH nor principal=NAME".to_owned()),
    }
}

/// Reads whom a token is for and when it ends, where it is a JSON Web Token; brokers look at that themselves.
fn of_text(token: &str, now_ms: i64) -> OAuthToken {
    let claims = token.split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part.trim_end_matches('=')).ok());
    let claims: Value = claims.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
    let ends_ms = claims["exp"].as_f64().map(|seconds| (seconds * 1e3) as i64);
    OAuthToken {
        token: token.to_owned(),
        principal_name: claims["sub"].as_str().unwrap_or("token").to_owned(),
        lifetime_ms: ends_ms.unwrap_or(now_ms + GOOD_FOR_MS),
    }
}

fn unsigned(name: &str, now_ms: i64) -> OAuthToken {
    let ends_ms = now_ms + GOOD_FOR_MS;
    let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let claims = json!({ "sub": name, "iat": now_ms as f64 / 1e3, "exp": ends_ms as f64 / 1e3 });
    let token = format!("{}.{}.", part(&json!({ "alg": "none" })), part(&claims));
    OAuthToken { token, principal_name: name.to_owned(), lifetime_ms: ends_ms }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_says_whom_it_is_for_and_when_it_ends() {
        let made = unsigned("alice", 1_000);
        let read = of_text(&made.token, 0);
        assert_eq!((read.principal_name.as_str(), read.lifetime_ms), ("alice", 301_000));
        let opaque = of_text("opaque", 5);
        assert_eq!((opaque.principal_name.as_str(), opaque.lifetime_ms), ("token", 5 + GOOD_FOR_MS));
    }

    #[test]
    fn what_gives_no_token_says_so_without_showing_it() {
        let folder = tempfile::TempDir::new().unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, "hunter2 hunter2").unwrap();
        let two_words = format!("token-file={}", file.display());
        for (config, says) in
            [("", "neither"), ("principal=", "neither"), ("token-file=/gone", "/gone"), (&two_words, "one word")]
        {
            let problem = token(config).err().unwrap();
            assert!(problem.contains(says) && !problem.contains("hunter2"), "{problem}");
        }
    }
}
