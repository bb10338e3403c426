//! What a store that refused or failed has said, in few words and without a secret.

use std::error::Error as StdError;
use std::io;

use object_store::Error;

use crate::recording::location::StoreKind;

/// Why a store did not do what it was asked. It stands in an [`io::Error`], as what is wrong with a file does.
///
/// It holds the status and the code of the answer, never more of it: answers and requests repeat keys and signatures.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The bucket does not exist.
    #[error("there is no such {bucket} ({answer})")]
    NoBucket {
        /// What a bucket is called there.
        bucket: &'static str,
        /// Status and code.
        answer: String,
    },
    /// The object does not exist.
    #[error("the store has no such object ({answer})")]
    NoObject {
        /// Status and code.
        answer: String,
    },
    /// Who asks is not known, or may not do this.
    #[error("the store refuses access ({answer})")]
    Refused {
        /// Which store.
        kind: StoreKind,
        /// Status and code.
        answer: String,
    },
    /// A condition does not hold: the object is there already, or is another one by now.
    #[error("the object is another one than before ({answer})")]
    Changed {
        /// Status and code.
        answer: String,
    },
    /// The store cannot do this.
    #[error("the store cannot {what}")]
    Unable {
        /// What.
        what: String,
    },
    /// At the address lies an object whose name has an empty part, `.` or `..`: nothing of a recording.
    #[error("there is an object with a name that none of a recording's has: a part of it is empty, `.` or `..`")]
    OtherObject,
    /// The settings in the environment are not enough to ask it.
    #[error("the store cannot be asked: {problem}")]
    Setting {
        /// Which store.
        kind: StoreKind,
        /// What is wrong with them.
        problem: String,
    },
    /// The store answered with an error, as often as it was asked.
    #[error("the store failed ({answer})")]
    Failed {
        /// Status and code.
        answer: String,
    },
    /// Nobody answered, as often as was asked.
    #[error("the store does not answer: {reason}")]
    Silent {
        /// Which store.
        kind: StoreKind,
        /// What went wrong last.
        reason: String,
    },
}

impl StoreError {
    /// Finds it in an error or behind it.
    pub fn of<'e>(error: &'e (dyn StdError + 'static)) -> Option<&'e Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            let inside = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
            if let Some(found) = inside.and_then(|inside| inside.downcast_ref::<Self>()) {
                return Some(found);
            }
            next = error.source();
        }
        None
    }

    /// Whether there is nothing where something was looked for: whoever named it can mend that.
    pub fn is_absence(&self) -> bool {
        matches!(self, Self::NoBucket { .. } | Self::NoObject { .. } | Self::OtherObject | Self::Setting { .. })
    }

    fn kind(&self) -> io::ErrorKind {
        match self {
            Self::NoBucket { .. } | Self::NoObject { .. } => io::ErrorKind::NotFound,
            Self::Refused { .. } => io::ErrorKind::PermissionDenied,
            Self::Unable { .. } => io::ErrorKind::Unsupported,
            Self::OtherObject | Self::Setting { .. } => io::ErrorKind::InvalidInput,
            Self::Changed { .. } | Self::Failed { .. } => io::ErrorKind::Other,
            Self::Silent { .. } => io::ErrorKind::NotConnected,
        }
    }
}

impl From<StoreError> for io::Error {
    fn from(error: StoreError) -> Self {
        Self::new(error.kind(), error)
    }
}

/// Says what went wrong with a request.
pub(super) fn answer(error: &Error, kind: StoreKind) -> StoreError {
    let Words { status, code, reason } = Words::of(error);
    let answer = match (&status, &code) {
        (Some(status), Some(code)) => format!("{status} {code}"),
        (Some(status), None) => status.clone(),
        (None, Some(code)) => code.clone(),
        (None, None) => String::new(),
    };
    let or = |usual: &str| if answer.is_empty() { usual.to_owned() } else { answer.clone() };
    let no_bucket = code.as_deref().is_some_and(|code| {
        ["NoSuchBucket", "ContainerNotFound", "InvalidBucketName", "ResourceNotFound"].contains(&code)
    });
    match error {
        _ if names_no_object(error) => StoreError::OtherObject,
        _ if no_bucket => StoreError::NoBucket { bucket: kind.bucket(), answer },
        Error::NotFound { .. } => StoreError::NoObject { answer: or("404") },
        Error::PermissionDenied { .. } => StoreError::Refused { kind, answer: or("403") },
        Error::Unauthenticated { .. } => StoreError::Refused { kind, answer: or("401") },
        Error::AlreadyExists { .. } | Error::Precondition { .. } => StoreError::Changed { answer: or("412") },
        Error::NotSupported { .. } | Error::NotImplemented { .. } => {
            StoreError::Unable { what: "do what it was asked".to_owned() }
        }
        // A bucket of another region redirects; a key that is not known is a bad request to some stores.
        _ if status.as_deref().is_some_and(|status| status.starts_with("401") || status.starts_with("403")) => {
            StoreError::Refused { kind, answer }
        }
        _ if status.is_some() => StoreError::Failed { answer },
        _ => StoreError::Silent { kind, reason },
    }
}

/// Whether the store does not know an upload that is to be ended, or no longer: that says nothing of whether it was ended before.
/// Google's answer comes as any other error does, and Azure knows no uploads, but blocks that were named already.
pub(super) fn knows_no_upload(error: &Error) -> bool {
    let Words { status, code, .. } = Words::of(error);
    let code = code.as_deref();
    matches!(error, Error::NotFound { .. })
        || code == Some("InvalidBlockList")
        || status.is_some_and(|status| status.starts_with("404")) && code != Some("NoSuchBucket")
}

/// Says that an upload was not ended: the store no longer knows it, and has nothing of it either.
pub(super) fn unfinished(error: &Error) -> StoreError {
    let Words { status, code, .. } = Words::of(error);
    let said = [status, code].into_iter().flatten().collect::<Vec<_>>().join(" ");
    StoreError::Failed { answer: if said.is_empty() { "404".to_owned() } else { said } }
}

/// Says why no requests can be made. What stands between the first quote and the last is left out: it may be the value of a
/// setting, which may have quotes of its own.
pub(super) fn unusable(error: &Error, kind: StoreKind) -> StoreError {
    let reason = innermost(error).to_string();
    let problem = match (reason.split_once('"'), reason.rsplit_once('"')) {
        (Some((before, _)), Some((_, behind))) if reason.matches('"').count() > 1 => format!("{before}…{behind}"),
        (Some((before, _)), _) => format!("{before}…"),
        _ => reason,
    };
    StoreError::Setting { kind, problem: without_queries(&problem) }
}

/// Whether a name in a listing is one that the store's client has no path for.
fn names_no_object(error: &Error) -> bool {
    let mut next: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = next {
        if error.is::<object_store::path::Error>() {
            return true;
        }
        next = error.source();
    }
    false
}

fn innermost(error: &Error) -> &dyn StdError {
    let mut innermost: &dyn StdError = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost
}

/// What is taken of an error: status, code, and the innermost reason.
struct Words {
    status: Option<String>,
    code: Option<String>,
    reason: String,
}

impl Words {
    fn of(error: &Error) -> Self {
        let text = error.to_string();
        let status = between(&text, "status code: ", ":").map(str::to_owned);
        let code = between(&text, "<Code>", "</Code>").or_else(|| between(&text, "\"status\": \"", "\""));
        let code = code.filter(|code| code.chars().all(|one| one.is_ascii_alphanumeric() || "-_.".contains(one)));
        Self { status, code: code.map(str::to_owned), reason: without_queries(&innermost(error).to_string()) }
    }
}

fn between<'t>(text: &'t str, start: &str, end: &str) -> Option<&'t str> {
    let rest = &text[text.find(start)? + start.len()..];
    Some(rest[..rest.find(end)?].trim())
}

/// Cuts what follows a question mark in a word: addresses of requests may be signed there.
fn without_queries(text: &str) -> String {
    let words = text.split(' ').map(|word| word.split_once('?').map_or(word, |(address, _)| address));
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: &str, body: &str) -> Error {
        let source = format!(
            "Error performing GET https://h/b?sig=SECRET in 3ms - Server returned non-2xx status code: {status}: {body}"
        );
        Error::Generic { store: "S3", source: source.into() }
    }

    #[test]
    fn an_answer_is_known_by_status_and_code_and_repeats_nothing_else() {
        let body = |code: &str| {
            format!(
                "<Error><Code>{code}</Code><AWSAccessKeyId>SECRET</AWSAccessKeyId><Message>SECRET</Message></Error>"
            )
        };
        for (error, said) in [
            (of("503 Service Unavailable", &body("SlowDown")), "the store failed (503 Service Unavailable SlowDown)"),
            (
                of("403 Forbidden", &body("InvalidAccessKeyId")),
                "the store refuses access (403 Forbidden InvalidAccessKeyId)",
            ),
            (of("404 Not Found", &body("NoSuchBucket")), "there is no such bucket (404 Not Found NoSuchBucket)"),
            (of("500 Internal", "SECRET"), "the store failed (500 Internal)"),
            (of("500 Internal", "<Code>SECRET KEY</Code>"), "the store failed (500 Internal)"),
            (
                Error::Generic { store: "S3", source: "no route to http://h/b?sig=SECRET now".into() },
                "the store does not answer: no route to http://h/b now",
            ),
            (Error::NotFound { path: "p".into(), source: "gone".into() }, "the store has no such object (404)"),
        ] {
            assert_eq!(answer(&error, StoreKind::S3).to_string(), said);
        }
    }

    #[test]
    fn of_a_setting_that_is_refused_the_name_is_told_and_the_value_never() {
        for value in
            ["SECRET", "x\"SECRET", "\"SECRET", "SECRET\"", "\"SECRET\" SECRET", "a\" b?\"SECRET", "x?SECRET y"]
        {
            let error =
                Error::Generic { store: "Config", source: format!("failed to parse \"{value}\" as boolean").into() };
            assert_eq!(
                unusable(&error, StoreKind::S3).to_string(),
                "the store cannot be asked: failed to parse … as boolean",
                "{value}"
            );
        }
        let error = Error::Generic { store: "Config", source: "failed at \"SECRET".into() };
        assert_eq!(unusable(&error, StoreKind::S3).to_string(), "the store cannot be asked: failed at …");
    }

    #[test]
    fn a_name_that_no_object_of_a_recording_has_is_no_outage() {
        let listed = || object_store::path::Path::parse("w//x").unwrap_err();
        for error in [listed().into(), Error::Generic { store: "S3", source: Box::new(Error::from(listed())) }] {
            assert_eq!(answer(&error, StoreKind::S3), StoreError::OtherObject);
        }
        assert!(StoreError::OtherObject.is_absence());
    }

    #[test]
    fn the_answer_of_a_store_is_found_behind_other_errors_and_has_the_kind_of_a_file_s() {
        let error: io::Error = StoreError::Refused { kind: StoreKind::S3, answer: "403".into() }.into();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        let outer = crate::recording::RecordingError::file("read", std::path::Path::new("s3://b/p"))(error);
        assert_eq!(StoreError::of(&outer), Some(&StoreError::Refused { kind: StoreKind::S3, answer: "403".into() }));
        assert_eq!(StoreError::of(&io::Error::other("a disk")), None);
    }
}
