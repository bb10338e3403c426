//! Lines of a log: credentials taken out always, with a policy all that looks personal or secret.

use super::credentials;
use super::detect::{Found, redact_line};

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
    detects: bool,
    line: Vec<u8>,
    found: Vec<Found>,
    /// Lines that may still belong to a private key whose block was opened.
    key_lines: usize,
    /// The line was cut, and is dropped to its end.
    skips: bool,
}

impl LogMask {
    /// Makes one that takes out credentials and, where `detects` says so, whatever looks personal or secret.
    pub fn new(detects: bool) -> Self {
        Self { detects, line: Vec::new(), found: Vec::new(), key_lines: 0, skips: false }
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
        let line = credentials::redact_line(&line);
        if self.detects { self.redact(&line) } else { line }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_come_in_pieces_are_masked_as_wholes() {
        let mut log = LogMask::new(true);
        assert_eq!(log.take(b"mail to jo@exa"), b"");
        assert_eq!(log.take(b"mple.org\nCookie: s"), b"mail to [e-mail]\n");
        assert_eq!(log.take(b"id=1"), b"");
        assert_eq!(log.finish(), b"Cookie: [redacted]");
        assert_eq!(log.finish(), b"");
    }

    #[test]
    fn a_private_key_goes_with_all_its_lines() {
        let mut log = LogMask::new(true);
        let [head, end] = [["-----BEGIN PRIV", "ATE KEY-----"].concat(), ["-----END PRIV", "ATE KEY-----"].concat()];
        let kept = log.take(format!("a\n{head}\nMIIE\nabcd\n{end}\nb\n").as_bytes());
        assert_eq!(String::from_utf8(kept).unwrap(), "a\n[secret key]b\n");
        let lines = format!("{head}\n{}", "x\n".repeat(KEY_LINES_MAX + 5));
        assert!(log.take(lines.as_bytes()).ends_with(b"x\nx\nx\nx\nx\n"));
    }

    #[test]
    fn without_a_policy_only_credentials_go() {
        let mut log = LogMask::new(false);
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
                    let mut log = LogMask::new(true);
                    let mut kept: Vec<u8> = text.as_bytes().chunks(piece).flat_map(|bytes| log.take(bytes)).collect();
                    kept.extend(log.finish());
                    let kept = String::from_utf8(kept).unwrap();
                    assert!(kept.ends_with("[cut]\nnext\n") && kept.len() > LINE_MAX - 2 * CUT_BACK, "{}", kept.len());
                    assert!(!told.iter().any(|told| kept.contains(told)), "{secret} {ahead}");
                }
            }
        }
        let mut log = LogMask::new(false);
        let token = format!("a {}", "e".repeat(LINE_MAX));
        assert_eq!(log.take(token.as_bytes()), b"a [cut]");
        assert_eq!(log.take(b"ee jo\rb\n"), b"\rb\n");
    }

    #[test]
    fn a_line_as_long_as_may_be_is_kept_whole() {
        let line = format!("{}\n", "a".repeat(LINE_MAX));
        assert!(LogMask::new(true).take(line.as_bytes()) == line.as_bytes());
    }

    #[test]
    fn lines_that_are_written_over_each_other_are_lines() {
        let mut log = LogMask::new(true);
        let bars = "42 of 10000\r".repeat(20_000);
        let kept: Vec<u8> = bars.as_bytes().chunks(50_001).flat_map(|bytes| log.take(bytes)).collect();
        assert!(bars.len() > 2 * LINE_MAX && kept == bars.as_bytes());
        assert_eq!(log.take(b"Cookie: a\r\nb\r\n"), b"Cookie: [redacted]\r\nb\r\n");
    }

    #[test]
    fn a_line_without_an_end_takes_no_more_memory_than_a_bound() {
        let mut log = LogMask::new(true);
        for _ in 0..100 {
            log.take(&[b'x'; 10_000]);
            assert!(log.line.len() <= LINE_MAX);
        }
    }
}
