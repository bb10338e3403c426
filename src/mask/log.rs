//! Lines of a log: credentials taken out always, with a policy all that looks personal or secret.

use super::credentials;
use super::detect::{Found, redact_line};

/// Longest stretch without a line break that is looked at as one.
const LINE_MAX: usize = 64 << 10;

/// Most lines of a private key's block; what opens one and never ends it takes no more of the log.
const KEY_LINES_MAX: usize = 120;

/// Masks what a build writes to standard error, line by line as it comes.
#[derive(Debug)]
pub struct LogMask {
    detects: bool,
    line: Vec<u8>,
    found: Vec<Found>,
    /// Lines that may still belong to a private key whose block was opened.
    key_lines: usize,
}

impl LogMask {
    /// Makes one that takes out credentials and, where `detects` says so, whatever looks personal or secret.
    pub fn new(detects: bool) -> Self {
        Self { detects, line: Vec::new(), found: Vec::new(), key_lines: 0 }
    }

    /// Takes the next bytes and returns what of them and of those before may be kept: whole lines.
    pub fn take(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut kept = Vec::new();
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(part);
            if part.ends_with(b"\n") || self.line.len() > LINE_MAX {
                kept.extend(self.finish());
            }
        }
        kept
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
    fn a_line_without_an_end_takes_no_more_memory_than_a_bound() {
        let mut log = LogMask::new(true);
        for _ in 0..100 {
            log.take(&[b'x'; 10_000]);
            assert!(log.line.len() <= LINE_MAX + 10_000);
        }
    }
}
