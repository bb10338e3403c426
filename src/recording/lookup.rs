//! Events by place.

use std::sync::Arc;

use super::lens::{Lens, all_shown, shown};
use super::opened::Opened;
use super::schema::PAGE_ROWS;
use super::shelf::{Piece, PieceKey};
use super::{Columns, EventBatch, EventBatchBuilder, EventView, Place, Recording, RecordingError};

/// Pieces that a reader holds itself, so that it need not ask the shelf for each event.
const RECENT: usize = 8;

/// Bytes of keys, values and headers that one fetch copies at most.
const FETCH_BYTES_MAX: usize = 1 << 30;

/// Pieces that places of one fetch may lie in before they are read in the order of the recording: more would push each other
/// off the shelf.
const SCATTERED: usize = 32;

/// Reads events by place. Holds a few decoded pages, never a whole recording; clones of one recording share what they decoded.
#[derive(Debug)]
pub struct Lookup {
    recording: Arc<Opened>,
    lens: Option<Arc<dyn Lens>>,
    columns: Columns,
    /// The piece used last stands in front.
    recent: Vec<(PieceKey, Arc<Piece>)>,
}

impl Recording {
    /// Returns a reader of events by place.
    pub fn lookup(&self, columns: Columns) -> Lookup {
        Lookup {
            recording: Arc::clone(&self.inner),
            lens: self.lens.clone(),
            columns,
            recent: Vec::with_capacity(RECENT),
        }
    }
}

impl Lookup {
    /// Reads the events at `places`; the batch has the same length and order, repeats included. Fast where places are nearly
    /// in order; places far behind cost a page each.
    ///
    /// # Errors
    ///
    /// [`RecordingError::NoSuchPlace`] for a place that the recording does not have; [`RecordingError::TooLarge`] where the events
    /// take more than a gigabyte; otherwise names the segment that cannot be
    /// read, and the cause.
    pub fn fetch(&mut self, places: &[Place]) -> Result<EventBatch, RecordingError> {
        let batch = self.fetch_all(places)?;
        Ok(self.seen(batch))
    }

    /// Shows a batch as it is to be seen.
    fn seen(&self, batch: EventBatch) -> EventBatch {
        match &self.lens {
            Some(lens) => all_shown(&**lens, &batch),
            None => batch,
        }
    }

    /// Reads events as they lie there.
    fn fetch_all(&mut self, places: &[Place]) -> Result<EventBatch, RecordingError> {
        if let Some(batch) = self.fetch_run(places)? {
            return Ok(batch);
        }
        let batch = if self.scattered(places)? {
            self.fetch_sorted(places)?
        } else {
            self.gather(places.iter().copied(), FETCH_BYTES_MAX)?
        };
        if batch.len() < places.len() {
            return Err(RecordingError::TooLarge { path: self.recording.path.clone(), places: places.len() });
        }
        Ok(batch)
    }

    /// Shows the events at `places` to `take` one after the other, each with the index of its place. As [`Self::fetch`], but
    /// copies nothing where places are nearly in order.
    ///
    /// # Errors
    ///
    /// As [`Self::fetch`], and the first that `take` returns, after which it is not called again.
    pub fn each<E: From<RecordingError>>(
        &mut self,
        places: &[Place],
        mut take: impl FnMut(usize, EventView<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.scattered(places)? {
            return self.fetch(places)?.iter().enumerate().try_for_each(|(index, event)| take(index, event));
        }
        for (index, &place) in places.iter().enumerate() {
            let lens = self.lens.clone();
            let piece = self.piece(place)?;
            let event = piece.batch.get((place.row - piece.first_row) as usize);
            match lens {
                Some(lens) => shown(&*lens, event, |event| take(index, event))?,
                None => take(index, event)?,
            }
        }
        Ok(())
    }

    /// Reads the events at the first of `places`: as many as take `bytes_max` bytes of keys, values and headers, the last of
    /// them perhaps more; at least one where there is a place. For whoever cannot know how large events are.
    ///
    /// # Errors
    ///
    /// As [`Self::fetch`], but never [`RecordingError::TooLarge`].
    pub fn fetch_some(&mut self, places: &[Place], bytes_max: usize) -> Result<EventBatch, RecordingError> {
        if let Some(batch) = self.fetch_run(places)?
            && batch.payload_bytes(batch.len()) <= bytes_max
        {
            return Ok(self.seen(batch));
        }
        let batch = self.gather(places.iter().copied(), bytes_max.min(FETCH_BYTES_MAX))?;
        Ok(self.seen(batch))
    }

    /// Shares the bytes of a decoded piece where the places are consecutive rows of it, which is how most plans read.
    fn fetch_run(&mut self, places: &[Place]) -> Result<Option<EventBatch>, RecordingError> {
        let [first, .., last] = places else { return Ok(None) };
        let consecutive =
            |pair: &[Place]| pair[0].segment == pair[1].segment && pair[0].row.checked_add(1) == Some(pair[1].row);
        if first.segment != last.segment || !places.windows(2).all(consecutive) {
            return Ok(None);
        }
        let piece = self.piece(*first)?;
        let start = (first.row - piece.first_row) as usize;
        let end = start + places.len();
        Ok((end <= piece.batch.len()).then(|| piece.batch.slice(start..end)))
    }

    /// Whether the places lie in so many pieces that reading them in the order asked would decode pieces more than once.
    fn scattered(&self, places: &[Place]) -> Result<bool, RecordingError> {
        let mut keys = Vec::new();
        let mut last = None;
        for &place in places {
            let key = self.key(place)?;
            if last != Some(key) {
                keys.push(key);
                last = Some(key);
            }
        }
        if keys.is_sorted() {
            return Ok(false);
        }
        keys.sort_unstable();
        keys.dedup();
        Ok(keys.len() > SCATTERED)
    }

    /// Reads the places in the order of the recording, then puts the events in the order asked.
    fn fetch_sorted(&mut self, places: &[Place]) -> Result<EventBatch, RecordingError> {
        let mut order: Vec<usize> = (0..places.len()).collect();
        order.sort_by_key(|&at| places[at]);
        let sorted = self.gather(order.iter().map(|&at| places[at]), FETCH_BYTES_MAX)?;
        if sorted.len() < places.len() {
            return Ok(sorted);
        }
        let mut row_of = vec![0; places.len()];
        for (row, at) in order.into_iter().enumerate() {
            row_of[at] = row;
        }
        let mut builder = EventBatchBuilder::new();
        for row in row_of {
            builder.push_view(sorted.get(row));
        }
        Ok(builder.finish())
    }

    /// Copies the events at `places` until more than `bytes_max` bytes are copied.
    fn gather(&mut self, places: impl Iterator<Item = Place>, bytes_max: usize) -> Result<EventBatch, RecordingError> {
        let mut builder = EventBatchBuilder::new();
        for place in places {
            let piece = self.piece(place)?;
            builder.push_view(piece.batch.get((place.row - piece.first_row) as usize));
            if builder.bytes() > bytes_max {
                break;
            }
        }
        Ok(builder.finish())
    }

    /// Returns the piece that holds `place`.
    #[inline]
    fn piece(&mut self, place: Place) -> Result<&Piece, RecordingError> {
        match self.recent.iter().position(|(key, piece)| holds(*key, piece, place)) {
            Some(0) => {}
            Some(at) => self.recent[..=at].rotate_right(1),
            None => {
                let key = self.key(place)?;
                let piece = self.recording.shelf.piece(&self.recording, key)?;
                self.recent.truncate(RECENT - 1);
                self.recent.insert(0, (key, piece));
            }
        }
        Ok(&self.recent[0].1)
    }

    /// Names the piece that holds `place`.
    #[inline]
    fn key(&self, place: Place) -> Result<PieceKey, RecordingError> {
        if let Some((key, _)) = self.recent.first().filter(|(key, piece)| holds(*key, piece, place)) {
            return Ok(*key);
        }
        let missing = || RecordingError::NoSuchPlace {
            path: self.recording.path.clone(),
            segment: place.segment,
            row: place.row,
        };
        let index = self.recording.segments.get(place.segment as usize).ok_or_else(missing)?;
        let group =
            index.groups.partition_point(|group| group.first_row <= place.row).checked_sub(1).ok_or_else(missing)?;
        let row = place.row - index.groups[group].first_row;
        if row >= index.groups[group].rows {
            return Err(missing());
        }
        let piece = row / PAGE_ROWS as u32;
        Ok(PieceKey { segment: place.segment, group: group as u32, piece, columns: self.columns })
    }
}

#[inline]
fn holds(key: PieceKey, piece: &Piece, place: Place) -> bool {
    key.segment == place.segment
        && place.row.checked_sub(piece.first_row).is_some_and(|row| (row as usize) < piece.batch.len())
}
