//! A line on standard error that is there because of us: left out, as the build says nothing by it.

use std::borrow::Cow;

/// Leaves a line out of a stream, however the stream is cut.
#[derive(Debug)]
pub(super) struct Unsaid {
    /// With its end.
    line: Vec<u8>,
    /// Bytes of it that have come; none within any other line.
    matched: Option<usize>,
}

impl Unsaid {
    /// Leaves out lines that are `line`; an empty one is none.
    pub(super) fn new(line: &str) -> Self {
        let line = if line.is_empty() { Vec::new() } else { format!("{line}\n").into_bytes() };
        Self { line, matched: Some(0) }
    }

    /// Takes what comes next; returns what is to be kept of it.
    pub(super) fn take<'b>(&mut self, bytes: &'b [u8]) -> Cow<'b, [u8]> {
        if self.line.is_empty() {
            return Cow::Borrowed(bytes);
        }
        let mut kept = Vec::with_capacity(bytes.len());
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            if let Some(matched) = self.matched.take() {
                if self.line[matched..].starts_with(part) {
                    self.matched = Some((matched + part.len()) % self.line.len());
                    continue;
                }
                kept.extend_from_slice(&self.line[..matched]);
            }
            kept.extend_from_slice(part);
            self.matched = part.ends_with(b"\n").then_some(0);
        }
        Cow::Owned(kept)
    }

    /// What was held back at the end.
    pub(super) fn finish(&mut self) -> &[u8] {
        &self.line[..self.matched.take().unwrap_or(0)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_left_out_however_the_stream_is_cut() {
        for (text, expected) in [
            ("a\npicked up\nb\n", "a\nb\n"),
            ("picked up\npicked up\n", ""),
            ("picked up!\n", "picked up!\n"),
            ("I picked up\n", "I picked up\n"),
            ("picked\npicked up", "picked\npicked up"),
            ("", ""),
        ] {
            for size in 1..=text.len().max(1) {
                let mut unsaid = Unsaid::new("picked up");
                let mut kept: Vec<u8> = Vec::new();
                text.as_bytes().chunks(size).for_each(|bytes| kept.extend(&*unsaid.take(bytes)));
                kept.extend(unsaid.finish());
                assert_eq!(String::from_utf8(kept).unwrap(), expected, "{text:?} by {size}");
            }
        }
    }
}
