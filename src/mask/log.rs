//! Lines of a log: credentials taken out always, with a policy all that looks personal or secret.

use std::sync::Arc;

use serde::de::IgnoredAny;

use super::credentials;
use super::detect::{Found, redact_line};
use super::edit::{Edited, Editor};
use super::method::REDACTED;
use super::settings::{Part, Policy};

/// Bytes of a line that are looked at; what follows up to its end is dropped.
const LINE_MAX: usize = 64 << 10;

/// Bytes that are dropped ahead of a cut as well, with the word that they cut: what only the rest would have told for what it is.
const CUT_BACK: usize = 1 << 10;

/// What stands where a line was cut.
const CUT: &[u8] = b"[cut]";

/// Most lines of a private key's block; what opens one and never ends it takes no more of the log.
const KEY_LINES_MAX: usize = 120;

/// Masks what a build writes to standard error, line by line as it comes. A line ends with `\n` or `\r`; of one longer than
/// 64 KiB the beginning is kept and `[cut]`.
#[derive(Debug)]
pub struct LogMask {
    policy: Option<Arc<Policy>>,
    editor: Editor,
    line: Vec<u8>,
    found: Vec<Found>,
    /// Lines that may still belong to a private key whose block was opened.
    key_lines: usize,
    /// The line was cut, and is dropped to its end.
    skips: bool,
}

impl LogMask {
    /// Makes one that takes out credentials and, where there is a policy, what its rules name in any JSON object of a line, as if
    /// that object were a key or a value of any topic, and whatever looks personal or secret.
    pub fn new(policy: Option<Arc<Policy>>) -> Self {
        Self { policy, editor: Editor::default(), line: Vec::new(), found: Vec::new(), key_lines: 0, skips: false }
    }

    /// Takes the next bytes and returns what of them and of those before may be kept: whole lines.
    pub fn take(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut kept = Vec::new();
        for part in bytes.split_inclusive(|byte| matches!(byte, b'\n' | b'\r')) {
            let end = part.len() - usize::from(part.ends_with(b"\n") || part.ends_with(b"\r"));
            if !self.skips {
                let fits = end.min(LINE_MAX - self.line.len());
                self.line.extend_from_slice(&part[..fits]);
                if fits < end {
                    kept.extend(self.cut());
                }
            }
            if end < part.len() {
                self.line.extend_from_slice(&part[end..]);
                kept.extend(self.finish());
                self.skips = false;
            }
        }
        kept
    }

    /// Returns what of a line that is too long may be kept, and passes over the rest.
    fn cut(&mut self) -> Vec<u8> {
        self.skips = true;
        let mut line = self.finish();
        line.truncate(line.len().saturating_sub(CUT_BACK));
        let goes_on = |byte: &u8| byte.is_ascii_alphanumeric() || b"._~+/=-@%".contains(byte) || !byte.is_ascii();
        let word = line.iter().rev().take_while(|byte| goes_on(byte)).count();
        line.truncate(line.len() - word);
        [&line, CUT].concat()
    }

    /// Returns what is left without a line break.
    pub fn finish(&mut self) -> Vec<u8> {
        let line = std::mem::take(&mut self.line);
        credentials::in_plain(&line, |line| {
            // Ahead of the policy: its rules may change the name of a header or a secret, and leave the value.
            let line = credentials::redact_line(line);
            let Some(policy) = self.policy.clone() else { return line };
            let mut line = credentials::redact_named(&line);
            self.apply(&policy, &mut line);
            self.redact(&line)
        })
    }

    /// Masks the objects that stand in `line`, those inside of others too.
    fn apply(&mut self, policy: &Policy, line: &mut Vec<u8>) {
        let paths = || {
            policy.targets.iter().enumerate().filter_map(|(number, target)| match &target.part {
                Part::Value(path) | Part::KeyField(path) => Some((number, path)),
                Part::Key | Part::Header(_) => None,
            })
        };
        let mut uncounted = vec![0; policy.targets.len()];
        let breaks = line.split_off(line.trim_ascii_end().len());
        let mut start = 0;
        while let Some(ahead) = line[start..].iter().position(|byte| *byte == b'{') {
            start += ahead;
            let mut objects = serde_json::Deserializer::from_slice(&line[start..]).into_iter::<IgnoredAny>();
            match objects.next() {
                Some(Ok(_)) => {
                    let end = start + objects.byte_offset();
                    match self.editor.edit(policy, paths(), &line[start..end], None, &mut uncounted) {
                        Edited::Same => {}
                        Edited::Changed => drop(line.splice(start..end, self.editor.text().iter().copied())),
                        // Nobody can tell which of its fields the rules mean.
                        Edited::NoJson | Edited::Unfit { .. } => drop(line.splice(start..end, REDACTED.bytes())),
                    }
                }
                // An object that the line breaks off in: no path finds what it holds.
                Some(Err(error)) if error.is_eof() && paths().next().is_some() && opens(&line[start..]) => {
                    drop(line.splice(start.., REDACTED.bytes()));
                }
                _ => {}
            }
            // An object that was replaced as a whole may have left nothing.
            start = (start + 1).min(line.len());
        }
        line.extend_from_slice(&breaks);
    }

    fn redact(&mut self, line: &[u8]) -> Vec<u8> {
        let holds = |part: &[u8]| line.windows(part.len()).any(|window| window == part);
        let ends = holds(b"-----END ");
        // The second half of `\r\n` is no line of its own.
        if self.key_lines > 0 && line == b"\n" {
            return Vec::new();
        }
        if self.key_lines > 0 {
            self.key_lines = if ends { 0 } else { self.key_lines - 1 };
            return Vec::new();
        }
        if holds(b"PRIVATE KEY-----") && holds(b"-----BEGIN ") && !ends {
            self.key_lines = KEY_LINES_MAX;
        }
        redact_line(line, &mut self.found)
    }
}

/// Whether `text`, which begins with a brace, goes on as an object does that has something in it.
fn opens(text: &[u8]) -> bool {
    text[1..].iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'"')
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::settings::PolicySettings;
    use super::*;

    fn policy(rules: &str) -> Arc<Policy> {
        let settings: PolicySettings = toml::from_str(rules).unwrap();
        Arc::new(settings.check(Path::new("/")).unwrap())
    }

    #[test]
    fn lines_that_come_in_pieces_are_masked_as_wholes() {
        let mut log = LogMask::new(Some(policy("")));
        assert_eq!(log.take(b"mail to jo@exa"), b"");
        assert_eq!(log.take(b"mple.org\nCookie: s"), b"mail to [e-mail]\n");
        assert_eq!(log.take(b"id=1"), b"");
        assert_eq!(log.finish(), b"Cookie: [redacted]");
        assert_eq!(log.finish(), b"");
    }

    #[test]
    fn what_a_rule_names_goes_from_every_object_of_a_line() {
        let rules = "[[rule]]\nvalue = [\"$.iban\", \"$.person.name\"]\nkey-fields = [\"$.id\"]\nmethod = \"redact\"\n";
        let masked = |line: &str| {
            let mut log = LogMask::new(Some(policy(rules)));
            let mut kept = log.take(line.as_bytes());
            kept.extend(log.finish());
            String::from_utf8(kept).unwrap()
        };
        for (line, kept) in [
            (r#"{"iban":"x"}"#, r#"{"iban":"[redacted]"}"#),
            (
                "refused {\"iban\": \"x\", \"at\": 5}, gone on\n",
                "refused {\"iban\": \"[redacted]\", \"at\": 5}, gone on\n",
            ),
            // As a log of JSON wraps it, and two in one line.
            (
                r#"{"level":"warn","event":{"person":{"name":"Jo"},"n":1}} {"id":7}"#,
                r#"{"level":"warn","event":{"person":{"name":"[redacted]"},"n":1}} {"id":null}"#,
            ),
            // Broken off, as loggers do: nobody can tell what stands where.
            ("took {\"person\": {\"name\": \"J\r\n", "took [redacted]\r\n"),
            // No objects, and objects without what is named.
            ("fn main() {\n", "fn main() {\n"),
            ("map{iban=x}\n", "map{iban=x}\n"),
            ("{} {\"name\":\"Jo\"}", "{} {\"name\":\"Jo\"}"),
        ] {
            assert_eq!(masked(line), kept);
        }
        let long = format!("{{\"a\":\"{}\",\"iban\":\"x\"}}\n", "z".repeat(LINE_MAX));
        assert_eq!(masked(&long), "[cut]\n");
        // Deeper than anybody looks.
        let deep = format!("x {}1{}", "{\"a\":".repeat(9_000), "}".repeat(9_000));
        assert_eq!(masked(&deep), "x [redacted]");
        let mut none = LogMask::new(None);
        assert_eq!(none.take(b"{\"iban\":\"x\"}\n"), b"{\"iban\":\"x\"}\n");
        let all = policy("[[rule]]\nvalue = [\"$\"]\nmethod = \"redact\"\n");
        assert_eq!(LogMask::new(Some(all)).take(b"a {\"b\":{}} c\n"), b"a null c\n");
    }

    #[test]
    fn a_rule_for_a_name_leaves_no_credential_behind() {
        let rules = "[[rule]]\nvalue = [\"$.name\", \"$.n\"]\nmethod = \"redact\"\n";
        let mut log = LogMask::new(Some(policy(rules)));
        let kept = log.take(b"{\"name\":\"Authorization\", \"value\":\"Basic eHl6\", \"n\": 5}\n");
        assert_eq!(
            String::from_utf8(kept).unwrap(),
            "{\"name\":\"[redacted]\", \"value\":\"[redacted]\", \"n\": null}\n"
        );
        let kept = log.take(b"{\"name\":\"DB_PASSWORD\", \"value\":\"hunter2\"} {\"n\":{\"password\":\"x\"}}\n");
        assert_eq!(
            String::from_utf8(kept).unwrap(),
            "{\"name\":\"[redacted]\", \"value\":\"[redacted]\"} {\"n\":null}\n"
        );
        // Colours part what the rules and the looks are for.
        let kept = log.take(b"\x1b[1m{\"na\x1b[0mme\": \"Jo\"} jo@ex\x1b[4mample.org\x1b[0m\n");
        assert_eq!(String::from_utf8(kept).unwrap(), "{\"name\": \"[redacted]\"} [e-mail]\n");
        assert_eq!(log.take(b"\x1b[32mINFO\x1b[0m fine\n"), b"\x1b[32mINFO\x1b[0m fine\n");
    }

    #[test]
    fn a_private_key_goes_with_all_its_lines() {
        let mut log = LogMask::new(Some(policy("")));
        let [head, end] = [["-----BEGIN PRIV", "ATE KEY-----"].concat(), ["-----END PRIV", "ATE KEY-----"].concat()];
        let kept = log.take(format!("a\n{head}\nMIIE\nabcd\n{end}\nb\n").as_bytes());
        assert_eq!(String::from_utf8(kept).unwrap(), "a\n[secret key]b\n");
        let lines = format!("{head}\n{}", "x\n".repeat(KEY_LINES_MAX + 5));
        assert!(log.take(lines.as_bytes()).ends_with(b"x\nx\nx\nx\nx\n"));
    }

    #[test]
    fn without_a_policy_only_credentials_go() {
        let mut log = LogMask::new(None);
        assert_eq!(log.take(b"jo@example.org\nauthorization: x\n"), b"jo@example.org\nauthorization: [redacted]\n");
    }

    #[test]
    fn nothing_of_a_line_that_is_too_long_is_kept_behind_its_cut() {
        let secrets = [
            "mail jo@example.org",
            "card 4111 1111 1111 1111",
            "Authorization: Basic c2VzYW1lLW9wZW4=",
            r#"["Cookie","sid=sesame-open"]"#,
        ];
        let told = ["jo@", "4111", "c2Vz", "sesame"];
        for secret in secrets {
            // The cut goes through every letter of it.
            for ahead in LINE_MAX - secret.len()..=LINE_MAX + 1 {
                let text = format!("{}{secret} and more {}\nnext\n", " ".repeat(ahead), "z".repeat(9_000));
                for piece in [text.len(), 40_000] {
                    let mut log = LogMask::new(Some(policy("")));
                    let mut kept: Vec<u8> = text.as_bytes().chunks(piece).flat_map(|bytes| log.take(bytes)).collect();
                    kept.extend(log.finish());
                    let kept = String::from_utf8(kept).unwrap();
                    assert!(kept.ends_with("[cut]\nnext\n") && kept.len() > LINE_MAX - 2 * CUT_BACK, "{}", kept.len());
                    assert!(!told.iter().any(|told| kept.contains(told)), "{secret} {ahead}");
                }
            }
        }
        let mut log = LogMask::new(None);
        let token = format!("a {}", "e".repeat(LINE_MAX));
        assert_eq!(log.take(token.as_bytes()), b"a [cut]");
        assert_eq!(log.take(b"ee jo\rb\n"), b"\rb\n");
    }

    #[test]
    fn a_line_as_long_as_may_be_is_kept_whole() {
        let line = format!("{}\n", "a".repeat(LINE_MAX));
        assert!(LogMask::new(Some(policy(""))).take(line.as_bytes()) == line.as_bytes());
    }

    #[test]
    fn lines_that_are_written_over_each_other_are_lines() {
        let mut log = LogMask::new(Some(policy("")));
        let bars = "42 of 10000\r".repeat(20_000);
        let kept: Vec<u8> = bars.as_bytes().chunks(50_001).flat_map(|bytes| log.take(bytes)).collect();
        assert!(bars.len() > 2 * LINE_MAX && kept == bars.as_bytes());
        assert_eq!(log.take(b"Cookie: a\r\nb\r\n"), b"Cookie: [redacted]\r\nb\r\n");
    }

    #[test]
    fn a_line_without_an_end_takes_no_more_memory_than_a_bound() {
        let mut log = LogMask::new(Some(policy("")));
        for _ in 0..100 {
            log.take(&[b'x'; 10_000]);
            assert!(log.line.len() <= LINE_MAX);
        }
    }
}
