//! One event as a line tells it: what the line leaves out is still open.

use std::borrow::Cow;

use super::super::TimestampType;

/// What a line says of an event, borrowed from the line where its bytes stand there as they are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Parts<'a> {
    pub(super) topic: Option<Cow<'a, str>>,
    pub(super) partition: Option<i32>,
    pub(super) offset: Option<i64>,
    pub(super) timestamp_ms: Option<i64>,
    pub(super) timestamp_type: TimestampType,
    pub(super) key: Option<Cow<'a, [u8]>>,
    pub(super) value: Option<Cow<'a, [u8]>>,
    pub(super) headers: Vec<HeaderParts<'a>>,
}

/// One header of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HeaderParts<'a> {
    pub(super) name: Cow<'a, str>,
    pub(super) value: Option<Cow<'a, [u8]>>,
}

impl Parts<'_> {
    /// Bytes of key, value and headers.
    pub(super) fn size_bytes(&self) -> u64 {
        let length = |bytes: &Option<Cow<'_, [u8]>>| bytes.as_ref().map_or(0, |bytes| bytes.len());
        let headers: usize = self.headers.iter().map(|header| header.name.len() + length(&header.value)).sum();
        (length(&self.key) + length(&self.value) + headers) as u64
    }

    /// Whether key or value holds U+FFFD, the mark that programs leave where they replaced bytes that were no UTF-8.
    pub(super) fn is_replaced(&self) -> bool {
        let mark = "\u{fffd}".as_bytes();
        // The first byte of the mark is rare, so most bytes are looked at once.
        let marked = |bytes: &[u8]| bytes.windows(mark.len()).any(|window| window[0] == mark[0] && window == mark);
        [&self.key, &self.value].into_iter().flatten().any(|bytes| marked(bytes))
    }
}

/// Returns the type that a timestamp has unless something else is said.
pub(super) fn usual_type(timestamp_ms: Option<i64>) -> TimestampType {
    if timestamp_ms.is_some() { TimestampType::Create } else { TimestampType::None }
}
