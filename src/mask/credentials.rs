//! What carries credentials in a line of a log: headers are redacted always, policy or not; what is called a secret, where there is one.
//!
//! What stands in JSON is found by its place there, whatever lies around it, and the line stays JSON. All else is found by how logs
//! write it: what ends a value is only known where it is quoted behind a sign; else all the rest of the line goes.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::LazyLock;

use regex::bytes::{Captures, Regex};
use serde::de::IgnoredAny;

use super::method::REDACTED;
use super::scan::{Kind, Tape};

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

/// Whether a header of this name is always redacted.
pub fn carries_credentials(name: &str) -> bool {
    index(name).is_some()
}

/// Texts of JSON within texts of JSON that are looked into.
const DEPTH_MAX: usize = 8;

/// Braces and brackets of a line that begin no JSON and are tried all the same: each costs a look to the line's end.
const TRIES_MAX: usize = 32;

/// A header with its value: as a pair or beside its name (`["Authorization","Basic …"]`, `('Cookie', 'sid=…')`,
/// `name="Cookie" value="sid=…"`, `key = Cookie, value = …`), bare (`Cookie sid=…`), behind a sign (`Authorization: Bearer …`, `"cookie": "…"`, `set-cookie=…`, `HTTP_COOKIE=…`), as an
/// element, all of these in texts that JSON or an address escaped as well; and a bearer's token. A bare name with a colon is a header
/// as it is sent: several values may follow, quoted or not, so all the rest of the line goes.
///
/// Groups: what stays ahead of the value; the quotation mark that ends the name; the value.
static WRITTEN: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r#"(?xi-u)
        (?<pair> (?: (?:\b|\\[nrt]) (?:proxy-authorization|authorization|set-cookie|cookie) \\*["']
            | \b(?:key|name|header)\s*[:=]\s* (?:proxy-authorization|authorization|set-cookie|cookie) )
          \s*(?:,|\bvalue\b)\s*)
          [^\r\n]+
        | (?<bare> \b(?: authorization\s+(?:basic|digest|negotiate|token|apikey)\s+
            | cookie2?\s+[a-z0-9!\#$%&'*+.^_`|~-]+= ) ) [^\r\n]+
        | (?<sent> (?:authorization|cookie[s2]?) (?:[\s_-]+(?:headers?|values?|jar))? \s*:\s*) [^\r\n]+
        | (?<sign> (?:authorization|cookie[s2]?) (?:[\s_-]+(?:headers?|values?|jar))? (?:\[[^\]\r\n]*\])? (?<quote>(?:\\*["'])?) \]? (?:%22|%27)? \s* (?:[:=]|->|%3A|%3D) \s*)
          (?<value> "(?:\\.|[^"\\])*"? | '(?:\\.|[^'\\])*'? | [^\r\n]+)
        | (?<element> < [a-z0-9_.:-]* (?:authorization|cookies?) > (?:<!\[CDATA\[)?) [^<]+
        | (?<bearer> \bbearer\s+) [a-z0-9._~+/=-]{8,}"#,
    )
    .ok()
});

/// What secrets are called, at the end of a name.
const SECRETS: &str = r"(?:passwords?|passwd|passphrases?|pwd|secrets?|token|(?:api|access|private|secret)[_-]?keys?|credentials?
    |user[._-]?info|(?:ssh|user|db|ftp|smtp|mail|root|admin|key|trust)pass)";

/// What is called a secret and given a value, as settings, logs and queries write it: `password=…`, `"access_token": "…"`, `secret => …`,
/// `<apiKey>…`, `?sig=…`; as an argument, `--token …` and `-u user:…`; beside its name in quotation marks, `password "…"`,
/// `name="password" value="…"`, `('password', '…')`; and the password of an address, `postgres://user:…@host`. Of a value that begins with
/// a word and a bracket, as a language shows it (`Some("…")`, `Secret(…`), nobody knows the end: the rest of the line goes.
static NAMED: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(&format!(
        r#"(?xi-u)
        (?<sign> (?: [a-z0-9_.-]* {SECRETS} | (?:[a-z0-9_.-]*[_.-]|\b) pass
            | [?&](?:sig|signature|x-amz-(?:signature|credential|security-token)|x-goog-(?:signature|credential)) )
          (?<quote>(?:\\*["'])?) (?:%22|%27)? \s*(?::?=>?|:|->|%3A|%3D)\s*
          | \B--?[a-z0-9-]* {SECRETS} \s+
          | (?:^|\s)(?:-u|--user)[\s=]+ [^\s:"']+: )
          (?<value> [a-z]{{0,2}}(?: "(?:\\.|[^"\\])*"? | '(?:\\.|[^'\\])*'? ) | \\+["'][^"'\\]*\\*["']?
            | \[[^\]]*\]? | \{{[^}}\r\n]*\}}? | (?:new\s+)?[a-z_][a-z0-9_:.]*[(\[{{<][^\r\n]* | [^\s,;&)\]}}<>"'\\]+)
        | (?<told> \b(?:password|passwd|passphrase|secret)\s+
          | {SECRETS} \\*["'] \s+ value \s*[=:]\s*
          | \([a-z]?["'][a-z0-9_.-]* {SECRETS} ["'] \s*,\s* [a-z]? )
          (?<quoted> "[^"]+"? | '[^']+'?)
        | (?<element> <[a-z0-9_.:-]* {SECRETS} >) [^<]+
        | (?<address> ://[^\s/:@"']*:) [^\s/"']+ (?<behind>@)"#,
    ))
    .ok()
});

/// Names of secrets as [`NAMED`] has them, of members of JSON.
static SECRET: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(&format!(r"(?xi-u)(?: {SECRETS} | (?:^|[_.-])pass )$")).ok());

/// The name of a secret as a text of its own, which may stand beside its value.
static SECRET_TEXT: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(&format!(r#"(?xi-u)(?: {SECRETS} | pass )\\*["']"#)).ok());

/// Colours and the like, as terminals take them (ECMA-48), and colours as an escape in a text. What a longer command holds, such as
/// the address of a link, is text that is looked at.
static ESCAPE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r"(?x-u) \x1b (?: \[ [0-?]* [\x20-/]* [@-~] | \( [A-Z0-9] | \\ | \] )?
        | \\+ (?: u001[bB] | u\{1[bB]\} | x1[bB] | 033 | e ) \[ [0-9;:]* m",
    )
    .ok()
});

/// What is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sought {
    Headers,
    Secrets,
}

impl Sought {
    fn written(self) -> Option<&'static Regex> {
        match self {
            Self::Headers => WRITTEN.as_ref(),
            Self::Secrets => NAMED.as_ref(),
        }
    }

    /// Whether the value of a member of this name goes.
    fn is_named(self, name: &str) -> bool {
        let name = name.trim().as_bytes();
        let ends = |end: &str| {
            name.len().checked_sub(end.len()).is_some_and(|start| name[start..].eq_ignore_ascii_case(end.as_bytes()))
        };
        match self {
            Self::Headers => ends("authorization") || ends("cookie") || ends("cookies"),
            Self::Secrets => SECRET.as_ref().is_none_or(|secret| secret.is_match(name)),
        }
    }
}

/// Redacts the values of such headers in one line, of a log or of what else nobody can read. Where it redacts any, colours go, too.
pub fn redact_line(line: &[u8]) -> Vec<u8> {
    in_plain(line, |plain| redact(plain, Sought::Headers, 0))
}

/// Redacts in one line of a log what is called a secret. Where it redacts any, colours go, too.
pub fn redact_named(line: &[u8]) -> Vec<u8> {
    in_plain(line, |plain| redact(plain, Sought::Secrets, 0))
}

/// Has `change` look at a line without the colours in it, which stand within words and signs; a line that it leaves as it is keeps
/// them.
pub(super) fn in_plain(line: &[u8], change: impl FnOnce(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let Some(escape) = &*ESCAPE else { return REDACTED.into() };
    match escape.replace_all(line, &b""[..]) {
        Cow::Borrowed(_) => change(line),
        Cow::Owned(plain) => {
            let changed = change(&plain);
            if changed == plain { line.to_vec() } else { changed }
        }
    }
}

fn redact(text: &[u8], sought: Sought, depth: usize) -> Vec<u8> {
    let Some(written) = sought.written() else { return REDACTED.into() };
    // Most lines hold nothing. What JSON writes in escapes of letters is seen by its reader alone.
    let escaped = || text.windows(2).any(|pair| pair == br"\u");
    let beside = || sought == Sought::Secrets && SECRET_TEXT.as_ref().is_none_or(|name| name.is_match(text));
    if !written.is_match(text) && !escaped() && !beside() {
        return text.to_vec();
    }
    if depth == DEPTH_MAX {
        return REDACTED.into();
    }
    let (mut kept, mut at, mut tries) = (Vec::with_capacity(text.len()), 0, TRIES_MAX);
    let mut json = next_json(text, 0, &mut tries);
    let whole = |found: &Captures<'_>| found.get(0).map_or(text.len()..text.len(), |whole| whole.range());
    let mut found = written.captures(text);
    loop {
        // Each is looked for anew only where what was handled reaches into it.
        if json.as_ref().is_some_and(|json| json.start < at) {
            json = next_json(text, at, &mut tries);
        }
        if found.as_ref().is_some_and(|found| whole(found).start < at) {
            found = written.captures_at(text, at);
        }
        let range = found.as_ref().map(whole);
        match (&json, range, &found) {
            (Some(json), range, _) if range.as_ref().is_none_or(|range| json.start <= range.start) => {
                kept.extend_from_slice(&text[at..json.start]);
                kept.extend(redact_json(&text[json.clone()], sought, depth));
                at = json.end;
            }
            (_, Some(range), Some(found)) => {
                kept.extend_from_slice(&text[at..range.start]);
                kept.extend(replacement(found));
                at = range.end;
            }
            _ => {
                kept.extend_from_slice(&text[at..]);
                return kept;
            }
        }
    }
}

/// What stands for a finding: what is ahead of its value, and behind it, stays; a value that was quoted is still.
fn replacement(found: &Captures<'_>) -> Vec<u8> {
    let part = |name| found.name(name).map_or(&b""[..], |part| part.as_bytes());
    let ahead: Vec<&[u8]> = ["pair", "bare", "sent", "sign", "told", "element", "bearer", "address"].map(part).to_vec();
    let (value, name_quote) = ([part("value"), part("quoted")].concat(), part("quote"));
    let backslashes = value.iter().take_while(|byte| **byte == b'\\').count();
    let quote = match value.get(backslashes) {
        Some(b'"' | b'\'') => &value[..=backslashes],
        // A number, say, behind a name in quotation marks: a text in its place can be read as well.
        _ if found.name("address").is_none() && !value.is_empty() && value.iter().all(u8::is_ascii_graphic) => {
            name_quote
        }
        _ => b"",
    };
    [&ahead.concat(), quote, REDACTED.as_bytes(), quote, part("behind")].concat()
}

/// Finds the first object or array of JSON that begins at `from` or behind it, in so many tries at most.
fn next_json(text: &[u8], from: usize, tries: &mut usize) -> Option<Range<usize>> {
    let mut start = from;
    while *tries > 0 {
        start += text.get(start..)?.iter().position(|byte| matches!(byte, b'{' | b'['))?;
        let mut values = serde_json::Deserializer::from_slice(&text[start..]).into_iter::<IgnoredAny>();
        if let Some(Ok(_)) = values.next() {
            let end = start + values.byte_offset();
            // `headers["Cookie"] = …` holds no array.
            if !text[end..].trim_ascii_start().starts_with(b"=") {
                return Some(start..end);
            }
        }
        *tries -= 1;
        start += 1;
    }
    None
}

/// Members that name what stands beside them.
const NAMES: [&str; 6] = ["name", "key", "header", "k", "headerName", "header_name"];

/// Members that hold the value of a secret whose name stands beside them.
const VALUES: [&str; 3] = ["value", "val", "v"];

/// Redacts what a text of JSON holds by the names of its members, by names beside values, and within its texts.
fn redact_json(text: &[u8], sought: Sought, depth: usize) -> Vec<u8> {
    let mut tape = Tape::default();
    if !tape.read(text) {
        // Bytes that are no UTF-8, say.
        let Some(written) = sought.written() else { return REDACTED.into() };
        return written.replace_all(text, |found: &Captures<'_>| replacement(found)).into_owned();
    }
    let quoted = format!("\"{REDACTED}\"");
    let mut edits: Vec<(Range<usize>, Vec<u8>)> = Vec::new();
    // First child of each node that names what stands beside it.
    let mut naming: Vec<Option<usize>> = vec![None; tape.len()];
    let names_others = |node: usize| {
        let content = tape.content(text, node);
        let Ok(content) = std::str::from_utf8(&content) else { return false };
        tape.node(node).kind == Kind::Text
            && match (sought, tape.name(text, node)) {
                (Sought::Headers, name) => {
                    index(content.trim()).is_some() && name.is_none_or(|name| NAMES.contains(&&*name))
                }
                (Sought::Secrets, Some(name)) => NAMES.contains(&&*name) && sought.is_named(content),
                // The first of two alone: in longer lists names stand beside names.
                (Sought::Secrets, None) => sought.is_named(content) && is_first_of_two(&tape, node),
            }
    };
    for node in 0..tape.len() {
        if let Some(parent) = tape.parent(node).filter(|_| names_others(node)) {
            naming[parent].get_or_insert(node);
        }
    }
    // A member ahead of the name may be the value as well, an element may not.
    let stands_beside = |node: usize| {
        let found = tape.node(node);
        let names = tape.parent(node).and_then(|parent| Some((parent, naming[parent]?)));
        names.is_some_and(|(parent, name)| name < node || tape.node(parent).kind == Kind::Object)
            && matches!(found.kind, Kind::Text | Kind::Array | Kind::Object)
            && !names_others(node)
            && (sought == Sought::Headers || tape.name(text, node).is_none_or(|name| VALUES.contains(&&*name)))
    };
    let mut node = 0;
    while node < tape.len() {
        let found = *tape.node(node);
        let name = tape.name(text, node);
        let says = !matches!(found.kind, Kind::Bool | Kind::Null);
        if says && (stands_beside(node) || name.as_ref().is_some_and(|name| sought.is_named(name))) {
            edits.push((found.start..found.end, quoted.clone().into_bytes()));
            node = tape.inside(node).end;
            continue;
        }
        if let Some(name) = name {
            let kept = redact(name.as_bytes(), sought, depth + 1);
            if kept != name.as_bytes() {
                edits.push((tape.node(node).member_start()..tape.node(node).name_end(), in_json(&kept)));
            }
        }
        if found.kind == Kind::Text {
            let content = tape.content(text, node);
            let kept = redact(&content, sought, depth + 1);
            if kept != *content {
                edits.push((found.start..found.end, in_json(&kept)));
            }
        }
        node += 1;
    }
    let (mut kept, mut at) = (Vec::with_capacity(text.len()), 0);
    for (range, instead) in edits {
        kept.extend_from_slice(&text[at..range.start]);
        kept.extend(instead);
        at = range.end;
    }
    kept.extend_from_slice(&text[at..]);
    kept
}

/// Whether a node is the first of two elements.
fn is_first_of_two(tape: &Tape, node: usize) -> bool {
    let Some(parent) = tape.parent(node) else { return false };
    let next = tape.inside(node).end;
    let inside = tape.inside(parent);
    inside.start + 1 == node && next < inside.end && tape.inside(next).end == inside.end
}

fn in_json(text: &[u8]) -> Vec<u8> {
    serde_json::Value::from(String::from_utf8_lossy(text)).to_string().into_bytes()
}
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_taken_out_of_a_line_and_nothing_else() {
        for (line, expected) in [
            ("> Authorization: Bearer abcdefgh12345", "> Authorization: [redacted]"),
            ("{\"cookie\": \"sid=\\\"1\\\"; a=b\", \"n\": 1}", "{\"cookie\": \"[redacted]\", \"n\": 1}"),
            ("proxy-authorization=Basic QWxhZGRpbg==", "proxy-authorization=[redacted]"),
            ("Set-Cookie: sid=1; Path=/", "Set-Cookie: [redacted]"),
            ("token: bearer abc.def-ghi=", "token: bearer [redacted]"),
            ("[[\"Authorization\",\"Basic eHl6\"],[\"x\"]]", "[[\"Authorization\",\"[redacted]\"],[\"x\"]]"),
            ("('Cookie', 'sid=1'), 2", "('Cookie', [redacted]"),
            ("[(b'set-cookie' , b'sid=1')]", "[(b'set-cookie' , [redacted]"),
            ("{\"name\":\"Authorization\",\"value\":\"x\"}", "{\"name\":\"Authorization\",\"value\":\"[redacted]\"}"),
            (r#"{"got":"{\"authorization\": \"Basic eHl6\"}"}"#, r#"{"got":"{\"authorization\": \"[redacted]\"}"}"#),
            (r#"{"got":"[\"Cookie\",\"sid=1\"]"}"#, r#"{"got":"[\"Cookie\",\"[redacted]\"]"}"#),
            (r#"{"got":"GET /\r\nCookie: sid=1"}"#, r#"{"got":"GET /\r\nCookie: [redacted]"}"#),
            (r"{'cookie': 'a=\'1\'; sid=1', 'n': 1}", "{'cookie': '[redacted]', 'n': 1}"),
            // What comes behind a value in JSON stays, and it stays JSON, whatever the value is and where it stands.
            (r#"x {"msg":"Authorization: Basic eHl6","n":1} y"#, r#"x {"msg":"Authorization: [redacted]","n":1} y"#),
            (r#"{"authorization":["Bearer a",{"b":1}],"n":null}"#, r#"{"authorization":"[redacted]","n":null}"#),
            (
                r#"{"value":"Basic a","name":"Authorization","n":1}"#,
                r#"{"value":"[redacted]","name":"Authorization","n":1}"#,
            ),
            (r#"{"request":{"cookies":{"sid":"a"}},"ok":true}"#, r#"{"request":{"cookies":"[redacted]"},"ok":true}"#),
            (r#"["a","Cookie","b",["c"],2]"#, r#"["a","Cookie","[redacted]","[redacted]",2]"#),
            (r#"{"\u0041uthorization":"Basic a"}"#, r#"{"\u0041uthorization":"[redacted]"}"#),
            (r#"{"Cookie: sid=1":2}"#, r#"{"Cookie: [redacted]":2}"#),
            (r#"{"authorization":true,"cookie":null}"#, r#"{"authorization":true,"cookie":null}"#),
            // An object that is broken off is none.
            (r#"took {"cookie": {"sid": "a"}, "n"#, r#"took {"cookie": [redacted]"#),
            // Names as languages and servers write them.
            ("HTTP_COOKIE=sid=1", "HTTP_COOKIE=[redacted]"),
            ("http_authorization=\"Basic a b\", 1", "http_authorization=\"[redacted]\", 1"),
            ("cookies: {sid=1}", "cookies: [redacted]"),
            ("set-cookie:\"a=1; Path=/\", \"sid=1\"", "set-cookie:[redacted]"),
            ("Cookie: 'a=1'; sid=1", "Cookie: [redacted]"),
            ("headers[\"Authorization\"] = \"Basic a\", 1", "headers[\"Authorization\"] = \"[redacted]\", 1"),
            ("key: \"authorization\" value: \"Basic a\"", "key: \"authorization\" value[redacted]"),
            ("<header name=\"Cookie\" value=\"sid=1\"/>", "<header name=\"Cookie\" value[redacted]"),
            ("<Cookie><![CDATA[sid=1]]></Cookie>", "<Cookie><![CDATA[[redacted]</Cookie>"),
            // The name of a header alone says nothing of what stands beside it.
            (
                r#"{"msg":"declined","field":"Cookie","vary":"Cookie","order":"A-17"}"#,
                r#"{"msg":"declined","field":"Cookie","vary":"Cookie","order":"A-17"}"#,
            ),
            // What looks like a command of a terminal hides nothing.
            ("cwd=[D:\\e] Authorization: Basic a", "cwd=[D:\\e] Authorization: [redacted]"),
            ("\x1b]8;;https://x/?a=b Cookie: sid=1\x07link", "8;;https://x/?a=b Cookie: [redacted]"),
            (r"\u{1b}[3mauthorization\u{1b}[0m=Basic a", "authorization=[redacted]"),
            ("Authorization header: Basic a", "Authorization header: [redacted]"),
            ("Cookie[sid]=1", "Cookie[sid]=[redacted]"),
            ("authorization_header=Basic a", "authorization_header=[redacted]"),
            ("Cookie2: sid=1", "Cookie2: [redacted]"),
            ("'Cookie' => 'sid=1'", "'Cookie' =[redacted]"),
            ("%22Authorization%22%3A%22Basic%20a%22", "%22Authorization%22%3A[redacted]"),
            ("<Authorization>Basic a</Authorization>", "<Authorization>[redacted]</Authorization>"),
            // Colours stand within words and signs.
            ("\x1b[3mauthorization\x1b[0m\x1b[2m=\x1b[0mBasic a", "authorization=[redacted]"),
            ("\x1b[1mCoo\x1b[0mkie\x1b[m: sid=1", "Cookie: [redacted]"),
            (r#"{"msg":"\u001b[1mCookie\u001b[0m: sid=1"}"#, r#"{"msg":"Cookie: [redacted]"}"#),
            ("\x1b[31mred\x1b[0m", "\x1b[31mred\x1b[0m"),
            ("{\"n\":[1,2]} \\u0041 [x", "{\"n\":[1,2]} \\u0041 [x"),
            // As Kafka's own client shows what it took, in numbers of bytes, too.
            (
                "headers = [RecordHeader(key = Authorization, value = [66, 101]), RecordHeader(key = n, value = [1])]",
                "headers = [RecordHeader(key = Authorization, [redacted]",
            ),
            ("RecordHeader(key = Cookie, value = sid1)", "RecordHeader(key = Cookie, [redacted]"),
            ("set-cookie -> sid=1; Path=/", "set-cookie -> [redacted]"),
            ("got Cookie sid=1; a=b", "got Cookie sid=[redacted]"),
            ("Authorization Basic eHl6", "Authorization Basic [redacted]"),
            ("a cookie without a name", "a cookie without a name"),
            ("authorization tokens are fine", "authorization tokens are fine"),
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
            ("{\"password\":\"a, b\",\"n\":1}", "{\"password\":\"[redacted]\",\"n\":1}"),
            ("sasl.password = x", "sasl.password = [redacted]"),
            ("<password>x y</password>", "<password>[redacted]</password>"),
            ("to postgres://svc:pw@db/orders", "to postgres://svc:[redacted]@db/orders"),
            ("AWS_SECRET_ACCESS_KEY=wJalr/x+y", "AWS_SECRET_ACCESS_KEY=[redacted]"),
            ("{\"access_token\": 'x', refreshToken: y}", "{\"access_token\": '[redacted]', refreshToken: [redacted]}"),
            ("X-Api-Key: abc; apiKey=d&e=f", "X-Api-Key: [redacted]; apiKey=[redacted]&e=f"),
            (r#"{"got":"{\"client_secret\":\"x\"}"}"#, r#"{"got":"{\"client_secret\":\"[redacted]\"}"}"#),
            (r#"{"name":"DB_PASSWORD","value":"x","n":"y"}"#, r#"{"name":"DB_PASSWORD","value":"[redacted]","n":"y"}"#),
            (r#"{"secret":["x",{"y":1}],"n":1}"#, r#"{"secret":"[redacted]","n":1}"#),
            (r#"{"pwd":12345,"token":null}"#, r#"{"pwd":"[redacted]","token":null}"#),
            (r#"broken {"pwd":12345,"#, r#"broken {"pwd":"[redacted]","#),
            ("\x1b[1mpassword\x1b[0m=x", "password=[redacted]"),
            // As arguments, settings of other languages, and lists.
            ("run --password hunter2 --host h", "run --password [redacted] --host h"),
            ("run --api-key=x --token 'a b' -v", "run --api-key=[redacted] --token '[redacted]' -v"),
            ("curl -u bob:hunter2 http://h/", "curl -u bob:[redacted] http://h/"),
            ("password => \"x\", secretKey -> y", "password => \"[redacted]\", secretKey -> [redacted]"),
            ("secret-key=x DB_PASS=y pass=z", "secret-key=[redacted] DB_PASS=[redacted] pass=[redacted]"),
            ("passphrase \"a b\" given", "passphrase \"[redacted]\" given"),
            ("secret: [a, b], n: 1", "secret: [redacted], n: 1"),
            (r#"{"db_pass":"x","compass":"n"}"#, r#"{"db_pass":"[redacted]","compass":"n"}"#),
            (r#"[["password","x"],["n","y"]]"#, r#"[["password","[redacted]"],["n","y"]]"#),
            ("to amqp://u:a@b@host/v", "to amqp://u:[redacted]@host/v"),
            ("compass: n, bypass=1, passed: 3", "compass: n, bypass=1, passed: 3"),
            ("-- the password of user jo: none", "-- the password of user jo: none"),
            (r#"{"columns":["user","password","id"]}"#, r#"{"columns":["user","password","id"]}"#),
            // As languages show values, and what lies in queries, settings and elements.
            ("Config { user: \"bob\", password: Some(\"x\") }", "Config { user: \"bob\", password: [redacted]"),
            ("Config { password: Secret(\"x\") }, n", "Config { password: [redacted]"),
            ("password=Optional[x y], n", "password=[redacted]"),
            ("{'password': b'x y', 'n': 1}", "{'password': [redacted], 'n': 1}"),
            ("{'password': rb'x', 'n': 1}", "{'password': '[redacted]', 'n': 1}"),
            ("credentials={a b, c}, n=1", "credentials=[redacted], n=1"),
            ("secrets: [a, b], passwords=x", "secrets: [redacted], passwords=[redacted]"),
            ("<property name=\"password\" value=\"a b\"/>", "<property name=\"password\" value=\"[redacted]\"/>"),
            ("[('password', 'x y'), ('n', '1')]", "[('password', '[redacted]'), ('n', '1')]"),
            ("['user', 'password', 'id']", "['user', 'password', 'id']"),
            ("basic.auth.user.info=bob:x SSHPASS=y", "basic.auth.user.info=[redacted] SSHPASS=[redacted]"),
            ("GET /y?sig=a%2Bb&n=1", "GET /y?sig=[redacted]&n=1"),
            ("q=password%3Dx&n=1", "q=password%3D[redacted]&n=1"),
            ("a design=x, the tokenizer: f(x)", "a design=x, the tokenizer: f(x)"),
            ("tokens: 5, secretary: x", "tokens: 5, secretary: x"),
            ("the password is wrong", "the password is wrong"),
            ("took http://host:80/a@b at 10:15", "took http://host:80/a@b at 10:15"),
        ] {
            assert_eq!(String::from_utf8(redact_named(line.as_bytes())).unwrap(), expected);
        }
        assert!(NAMED.is_some());
    }

    #[test]
    fn no_line_makes_the_look_at_it_slow() {
        // Each of them begins something at every step that goes on to the end, which a look without bounds would follow.
        for part in ["[", "{\"a\":", "[{\"a\":1},", "Cookie\"", "\\u0041{", "\x1b[", "authorization "] {
            for ahead in ["Cookie=", ""] {
                let line = format!("{ahead}{}", part.repeat((1 << 20) / part.len()));
                redact_line(line.as_bytes());
                redact_named(line.as_bytes());
            }
        }
        // Behind so many that are none, what is written as a header is still seen, and JSON is found no more.
        let line = format!("{} {{\"cookie\":\"sid=1\",\"n\":1}}", "[x] ".repeat(TRIES_MAX + 1));
        let kept = String::from_utf8(redact_line(line.as_bytes())).unwrap();
        assert!(kept.ends_with("{\"cookie\":\"[redacted]\",\"n\":1}"), "{kept}");
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
