//! Headers and lines of a log that carry credentials: redacted always, policy or not.

use std::sync::LazyLock;

use regex::bytes::{Captures, Regex};

use super::method::REDACTED;

/// Headers that are always redacted, in capitals or not.
pub(super) const HEADERS: [&str; 4] = ["Authorization", "Cookie", "Set-Cookie", "Proxy-Authorization"];

/// Which of [`HEADERS`] a header is.
#[inline]
pub(super) fn index(name: &str) -> Option<usize> {
    // Most names have another length.
    if !matches!(name.len(), 6 | 10 | 13 | 19) {
        return None;
    }
    HEADERS.iter().position(|header| header.eq_ignore_ascii_case(name))
}

/// A header with its value as logs write it: as a pair or beside its name (`["Authorization","Basic …"]`, `('Cookie', 'sid=…')`,
/// `{"name":"Cookie","value":"…"}`), behind a sign (`Authorization: Bearer …`, `"cookie": "…"`, `set-cookie=…`), both in texts that
/// JSON escaped as well; and a bearer's token. What ends a value is only known where it is quoted behind a sign; else all the rest
/// of the line goes.
static WRITTEN: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r#"(?xi-u)
        ((?:\b|\\[nrt]) (?:proxy-authorization|authorization|set-cookie|cookie) \\*["']\s*,\s*) [^\r\n]+
        | ((?:\b|\\[nrt]) (?:proxy-authorization|authorization|set-cookie|cookie) \\*["']?\s*[:=]\s*)
          (?:"(?:\\.|[^"\\])*"? | '(?:\\.|[^'\\])*'? | [^\r\n]+)
        | (\bbearer\s+) [a-z0-9._~+/=-]{8,}"#,
    )
    .ok()
});

/// What is called a secret and given a value, as settings, logs and queries write it: `password=…`, `"access_token": "…"`,
/// `<apiKey>…`; and the password of an address, `postgres://user:…@host`.
static NAMED: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r#"(?xi-u)
        ([a-z0-9_.-]*(?:password|passwd|passphrase|pwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|credentials?)
          \\*["']?\s*[:=]\s*)
          (?:"(?:\\.|[^"\\])*"? | '(?:\\.|[^'\\])*'? | \\+["'][^"'\\]*\\*["']? | [^\s,;&)\]}<>"'\\]+)
        | (<[a-z0-9_.:-]*(?:password|passwd|passphrase|pwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key)>) [^<]+
        | (://[^\s/:@"']*:) [^\s/@"']+ (@)"#,
    )
    .ok()
});

/// Redacts in one line of a log what is called a secret.
pub(super) fn redact_named(line: &[u8]) -> Vec<u8> {
    let Some(named) = &*NAMED else { return REDACTED.into() };
    let kept = |found: &Captures<'_>| {
        let part = |group| found.get(group).map_or(&b""[..], |part| part.as_bytes());
        [part(1), part(2), part(3), REDACTED.as_bytes(), part(4)].concat()
    };
    named.replace_all(line, kept).into_owned()
}

/// Redacts the values of such headers in one line, of a log or of what else nobody can read.
pub fn redact_line(line: &[u8]) -> Vec<u8> {
    let Some(written) = &*WRITTEN else { return REDACTED.into() };
    let kept = |found: &Captures<'_>| {
        let name = (1..=3).find_map(|group| found.get(group)).map_or(&b""[..], |name| name.as_bytes());
        [name, REDACTED.as_bytes()].concat()
    };
    written.replace_all(line, kept).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_taken_out_of_a_line_and_nothing_else() {
        for (line, expected) in [
            ("> Authorization: Bearer abcdefgh12345", "> Authorization: [redacted]"),
            ("{\"cookie\": \"sid=\\\"1\\\"; a=b\", \"n\": 1}", "{\"cookie\": [redacted], \"n\": 1}"),
            ("proxy-authorization=Basic QWxhZGRpbg==", "proxy-authorization=[redacted]"),
            ("Set-Cookie: sid=1; Path=/", "Set-Cookie: [redacted]"),
            ("token: bearer abc.def-ghi=", "token: bearer [redacted]"),
            ("[[\"Authorization\",\"Basic eHl6\"],[\"x\"]]", "[[\"Authorization\",[redacted]"),
            ("('Cookie', 'sid=1'), 2", "('Cookie', [redacted]"),
            ("[(b'set-cookie' , b'sid=1')]", "[(b'set-cookie' , [redacted]"),
            ("{\"name\":\"Authorization\",\"value\":\"x\"}", "{\"name\":\"Authorization\",[redacted]"),
            (r#"{"got":"{\"authorization\": \"Basic eHl6\"}"}"#, r#"{"got":"{\"authorization\": [redacted]"#),
            (r#"{"got":"[\"Cookie\",\"sid=1\"]"}"#, r#"{"got":"[\"Cookie\",[redacted]"#),
            (r#"{"got":"GET /\r\nCookie: sid=1"}"#, r#"{"got":"GET /\r\nCookie: [redacted]"#),
            (r"{'cookie': 'a=\'1\'; sid=1', 'n': 1}", "{'cookie': [redacted], 'n': 1}"),
            ("the authorization failed", "the authorization failed"),
            ("the authorization, then", "the authorization, then"),
            ("cookies are fine", "cookies are fine"),
            ("\"cookies\", 'fine'", "\"cookies\", 'fine'"),
        ] {
            assert_eq!(String::from_utf8(redact_line(line.as_bytes())).unwrap(), expected);
        }
        assert!(WRITTEN.is_some());
    }

    #[test]
    fn what_is_called_a_secret_goes_from_a_line_and_nothing_else() {
        for (line, expected) in [
            ("login password=hunter2 user=jo", "login password=[redacted] user=jo"),
            ("{\"password\":\"a, b\",\"n\":1}", "{\"password\":[redacted],\"n\":1}"),
            ("sasl.password = x", "sasl.password = [redacted]"),
            ("<password>x y</password>", "<password>[redacted]</password>"),
            ("to postgres://svc:pw@db/orders", "to postgres://svc:[redacted]@db/orders"),
            ("AWS_SECRET_ACCESS_KEY=wJalr/x+y", "AWS_SECRET_ACCESS_KEY=[redacted]"),
            ("{\"access_token\": 'x', refreshToken: y}", "{\"access_token\": [redacted], refreshToken: [redacted]}"),
            ("X-Api-Key: abc; apiKey=d&e=f", "X-Api-Key: [redacted]; apiKey=[redacted]&e=f"),
            (r#"{"got":"{\"client_secret\":\"x\"}"}"#, r#"{"got":"{\"client_secret\":[redacted]}"}"#),
            ("tokens: 5, secretary: x", "tokens: 5, secretary: x"),
            ("the password is wrong", "the password is wrong"),
            ("took http://host:80/a@b at 10:15", "took http://host:80/a@b at 10:15"),
        ] {
            assert_eq!(String::from_utf8(redact_named(line.as_bytes())).unwrap(), expected);
        }
        assert!(NAMED.is_some());
    }

    #[test]
    fn headers_are_known_in_capitals_or_not() {
        for name in ["authorization", "AUTHORIZATION", "Cookie", "set-cookie", "Proxy-authorization"] {
            assert!(index(name).is_some(), "{name}");
        }
        for name in ["", "source", "cookies", "authorisation", "x-authorization"] {
            assert!(index(name).is_none(), "{name}");
        }
    }
}
