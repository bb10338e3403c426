//! A recording seen otherwise than it lies there: for whoever replays it as it was not.

use std::fmt::Debug;
use std::sync::Arc;

use super::{EventBatch, EventBatchBuilder, EventView, Recording};

/// What of events is seen otherwise. The same event always looks the same, and only to those who read events by place.
pub trait Lens: Debug + Send + Sync {
    /// The timestamp that an event at `timestamp_ms` is seen with.
    fn timestamp_ms(&self, timestamp_ms: i64) -> i64;

    /// The value that is seen in place of that of `event`; none where it is as it lies there.
    fn value(&self, event: &EventView<'_>) -> Option<Vec<u8>>;
}

impl Recording {
    /// The same recording whose events [`Recording::lookup`] shows through `lens`; all else is read as it lies there.
    #[must_use]
    pub fn through(&self, lens: Arc<dyn Lens>) -> Self {
        Self { inner: Arc::clone(&self.inner), lens: Some(lens) }
    }
}

/// Shows an event through `lens`.
pub(super) fn shown<T>(lens: &dyn Lens, event: EventView<'_>, take: impl FnOnce(EventView<'_>) -> T) -> T {
    let value = lens.value(&event);
    let timestamp_ms = event.timestamp_ms.map(|ms| lens.timestamp_ms(ms));
    take(EventView { timestamp_ms, value: value.as_deref().or(event.value), ..event })
}

/// Shows a batch through `lens`.
pub(super) fn all_shown(lens: &dyn Lens, batch: &EventBatch) -> EventBatch {
    let mut builder = EventBatchBuilder::new();
    for event in batch.iter() {
        shown(lens, event, |event| builder.push_view(event));
    }
    builder.finish()
}
