//! Settings in the environment, looked at ahead of the store's client: it would panic at some of them.

use std::ffi::OsString;

use object_store::aws::AmazonS3ConfigKey;
use object_store::azure::AzureConfigKey;
use object_store::gcp::GoogleConfigKey;
use reqwest::Url;

use super::StoreError;
use crate::recording::location::StoreKind;

/// Finds a setting that no requests can be made with. It is named, its value is not: most are secret.
pub(super) fn check(
    kind: StoreKind,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<(), StoreError> {
    for (name, value) in variables {
        // The store's client passes over what is no text, too.
        let (Some(name), Some(value)) = (name.to_str(), value.to_str()) else { continue };
        if is_setting(kind, name)
            && let Some(problem) = problem(name, value)
        {
            return Err(StoreError::Setting { kind, problem: format!("`{name}` {problem}") });
        }
    }
    Ok(())
}

/// Whether the store's client reads a variable.
fn is_setting(kind: StoreKind, name: &str) -> bool {
    let key = name.to_ascii_lowercase();
    match kind {
        StoreKind::S3 => name.starts_with("AWS_") && key.parse::<AmazonS3ConfigKey>().is_ok(),
        StoreKind::Gcs => name.starts_with("GOOGLE_") && key.parse::<GoogleConfigKey>().is_ok(),
        StoreKind::Azure => name.starts_with("AZURE_") && key.parse::<AzureConfigKey>().is_ok(),
    }
}

fn problem(name: &str, value: &str) -> Option<&'static str> {
    let ends = |ends: &[&str]| ends.iter().any(|end| name.ends_with(end));
    // Certificates and keys as text have several lines.
    if !ends(&["_CERTIFICATE", "_SERVICE_ACCOUNT_KEY"]) && value.chars().any(char::is_control) {
        return Some("has a line break or another control character, at its end perhaps");
    }
    let is_file = ends(&["_FILE", "_PATH", "_CREDENTIALS", "_SERVICE_ACCOUNT", "_CERTIFICATE", "_SERVICE_ACCOUNT_KEY"]);
    if !is_file && !value.is_ascii() {
        return Some("has a character that is not ASCII");
    }
    let is_part_of_host = ends(&["_REGION", "_ACCOUNT_NAME"]);
    if is_part_of_host && !value.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')) {
        return Some("has a character that is no letter, digit, `-` or `_`");
    }
    let is_url = !name.contains("_USE_")
        && (name.contains("ENDPOINT") || ends(&["_BASE_URL", "_FULL_URI", "_AUTHORITY_HOST", "_SERVICE_URL"]));
    if is_url && !is_endpoint(value) {
        return Some("is no address of a server; write http://HOST:PORT or https://HOST");
    }
    None
}

fn is_endpoint(value: &str) -> bool {
    let begins = value.starts_with("http://") || value.starts_with("https://");
    // What may stand in an address is less than what is made one of by escaping.
    let plain = value.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"<>\\^`{|}?#".contains(&byte));
    begins && plain && Url::parse(value).is_ok_and(|url| url.has_host() && url.port() != Some(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(kind: StoreKind, name: &str, value: &str) -> String {
        check(kind, [(name.into(), value.into())]).map_or_else(|error| error.to_string(), |()| String::new())
    }

    #[test]
    fn an_endpoint_is_an_address_with_a_scheme_and_a_host() {
        for good in
            ["http://localhost:9000", "https://s3.example.org", "http://[::1]:9000", "https://h/path/", "http://u:p@h"]
        {
            assert_eq!(said(StoreKind::S3, "AWS_ENDPOINT_URL", good), "", "{good}");
        }
        let bad = [
            "",
            "h",
            "h:9",
            "http:h",
            "http://",
            "http://h:x",
            "http://h:99999",
            "http://h:0",
            "http://1.2.3.4.5",
            "http://a b",
        ];
        for bad in
            bad.into_iter().chain(["https://h?x", "https://h#x", "HTTP://h", "s3://h", "http://h\\x", "http://ü"])
        {
            for (kind, name) in [
                (StoreKind::S3, "AWS_ENDPOINT"),
                (StoreKind::S3, "AWS_ENDPOINT_URL_STS"),
                (StoreKind::Gcs, "GOOGLE_BASE_URL"),
                (StoreKind::Azure, "AZURE_STORAGE_ENDPOINT"),
                (StoreKind::Azure, "AZURE_STORAGE_AUTHORITY_HOST"),
            ] {
                let said = said(kind, name, bad);
                assert!(said.contains(&format!("`{name}`")), "{name}={bad}: {said}");
            }
        }
    }

    #[test]
    fn what_a_request_cannot_hold_is_refused_and_what_is_read_otherwise_is_not() {
        for (kind, name, value) in [
            (StoreKind::S3, "AWS_SESSION_TOKEN", "s\n"),
            (StoreKind::S3, "AWS_SECRET_ACCESS_KEY", "s\0"),
            (StoreKind::S3, "AWS_WEB_IDENTITY_TOKEN_FILE", "s\n"),
            (StoreKind::Gcs, "GOOGLE_BEARER_TOKEN", "s\r"),
            (StoreKind::Azure, "AZURE_STORAGE_ACCOUNT_KEY", "s\n"),
            (StoreKind::Azure, "AZURE_STORAGE_ACCOUNT_NAME", "a/b"),
        ] {
            assert!(said(kind, name, value).contains(&format!("`{name}` ")), "{name}");
        }
        for (kind, name, value) in [
            (StoreKind::S3, "AWS_PROFILE", "s\n"),
            (StoreKind::S3, "AZURE_STORAGE_ACCOUNT_KEY", "s\n"),
            (StoreKind::S3, "AWS_WEB_IDENTITY_TOKEN_FILE", "/home/jürgen/token"),
            (StoreKind::S3, "AWS_PROXY_CA_CERTIFICATE", "-----BEGIN\nCERTIFICATE"),
            (StoreKind::Gcs, "GOOGLE_SERVICE_ACCOUNT_KEY", "{\n}"),
            (StoreKind::Azure, "AZURE_USE_FABRIC_ENDPOINT", "true"),
        ] {
            assert_eq!(said(kind, name, value), "", "{name}");
        }
    }
}
