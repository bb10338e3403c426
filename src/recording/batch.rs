//! A batch of events in columns.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, DictionaryArray, Int32Array, Int64Array, ListArray, RecordBatch, StringArray,
    StructArray, TimestampMicrosecondArray, TimestampMillisecondArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int32Type, TimeUnit};

use super::schema::{self, Columns};
use super::{Event, Header, RecordingError, TimestampType};

/// A batch of events in columns (Arrow). Access by row costs no copy, a clone or a slice copies no event.
#[derive(Debug, Clone)]
pub struct EventBatch {
    pub(super) topics: DictionaryArray<Int32Type>,
    topic_names: StringArray,
    partitions: Int32Array,
    offsets: Int64Array,
    timestamps: TimestampMillisecondArray,
    timestamp_types: DictionaryArray<Int32Type>,
    timestamp_kinds: Arc<[TimestampType]>,
    captured_at: TimestampMicrosecondArray,
    keys: Option<BinaryArray>,
    values: Option<BinaryArray>,
    headers: Option<HeaderColumns>,
}

/// Headers of a batch: the list itself, and its two columns as they are reached most often.
#[derive(Debug, Clone)]
struct HeaderColumns {
    list: ListArray,
    names: StringArray,
    values: BinaryArray,
}

impl EventBatch {
    /// Takes the columns of a segment, whatever their nullability, dictionaries and list item names; unknown ones are left.
    ///
    /// Columns that `columns` leaves out may be missing. `path` is the segment that errors name.
    pub(super) fn from_arrow(batch: &RecordBatch, columns: Columns, path: &Path) -> Result<Self, RecordingError> {
        let column = |name: &'static str, wanted: &DataType, expected| column(batch, name, wanted, expected, path);
        let bytes = |name, asked: bool| {
            if !asked {
                return Ok(None);
            }
            column(name, &DataType::Binary, "Binary").and_then(|array| downcast(&array, name, path)).map(Some)
        };
        let topics: DictionaryArray<Int32Type> =
            downcast(&column(schema::TOPIC, &schema::repeated_text(), "Utf8")?, schema::TOPIC, path)?;
        let timestamp_types: DictionaryArray<Int32Type> =
            downcast(&column(schema::TIMESTAMP_TYPE, &schema::repeated_text(), "Utf8")?, schema::TIMESTAMP_TYPE, path)?;
        let batch = Self {
            topic_names: downcast(topics.values(), schema::TOPIC, path)?,
            topics,
            partitions: downcast(&column(schema::PARTITION, &DataType::Int32, "Int32")?, schema::PARTITION, path)?,
            offsets: downcast(&column(schema::OFFSET, &DataType::Int64, "Int64")?, schema::OFFSET, path)?,
            timestamps: downcast(
                &column(schema::TIMESTAMP, &schema::timestamp_type(), "Timestamp(ms, UTC)")?,
                schema::TIMESTAMP,
                path,
            )?,
            timestamp_kinds: kinds(&downcast(timestamp_types.values(), schema::TIMESTAMP_TYPE, path)?, path)?,
            timestamp_types,
            captured_at: downcast(
                &column(schema::CAPTURED_AT, &schema::captured_at_type(), "Timestamp(us, UTC)")?,
                schema::CAPTURED_AT,
                path,
            )?,
            keys: bytes(schema::KEY, columns.key)?,
            values: bytes(schema::VALUE, columns.value)?,
            headers: columns.headers.then(|| HeaderColumns::from_arrow(batch, path)).transpose()?,
        };
        batch.check_nulls(path)?;
        Ok(batch)
    }

    /// Puts columns of equal length together; `topics` and `timestamp_types` hold no null.
    pub(super) fn from_columns(parts: BatchColumns) -> Self {
        let text = |array: &ArrayRef| array.as_any().downcast_ref::<StringArray>().cloned();
        Self {
            topic_names: text(parts.topics.values()).unwrap_or_else(|| StringArray::new_null(0)),
            topics: parts.topics,
            partitions: parts.partitions,
            offsets: parts.offsets,
            timestamps: parts.timestamps,
            timestamp_types: parts.timestamp_types,
            timestamp_kinds: ALL_KINDS.into(),
            captured_at: parts.captured_at,
            keys: Some(parts.keys),
            values: Some(parts.values),
            headers: Some(HeaderColumns {
                list: parts.headers,
                names: parts.header_names,
                values: parts.header_values,
            }),
        }
    }

    /// Number of events.
    pub fn len(&self) -> usize {
        self.offsets.len()
    }

    /// Whether there is no event.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Event at `row`, borrowed.
    #[inline]
    pub fn get(&self, row: usize) -> EventView<'_> {
        EventView {
            topic: self.topic_names.value(self.topics.keys().values()[row] as usize),
            partition: self.partitions.values()[row],
            offset: self.offsets.values()[row],
            timestamp_ms: self.timestamp_ms(row),
            timestamp_type: self.timestamp_kinds[self.timestamp_types.keys().values()[row] as usize],
            captured_at_us: self.captured_at_us(row),
            key: self.key(row),
            value: self.values.as_ref().and_then(|values| values.is_valid(row).then(|| values.value(row))),
            headers: self.headers.as_ref().map_or(HeadersView::EMPTY, |headers| headers.get(row)),
        }
    }

    /// Returns the events in order, borrowed.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = EventView<'_>> {
        (0..self.len()).map(|row| self.get(row))
    }

    /// Returns the events of `rows`, sharing their bytes with this batch.
    #[must_use]
    pub fn slice(&self, rows: Range<usize>) -> Self {
        let (start, length) = (rows.start, rows.len());
        Self {
            topics: self.topics.slice(start, length),
            topic_names: self.topic_names.clone(),
            partitions: self.partitions.slice(start, length),
            offsets: self.offsets.slice(start, length),
            timestamps: self.timestamps.slice(start, length),
            timestamp_types: self.timestamp_types.slice(start, length),
            timestamp_kinds: Arc::clone(&self.timestamp_kinds),
            captured_at: self.captured_at.slice(start, length),
            keys: self.keys.as_ref().map(|keys| keys.slice(start, length)),
            values: self.values.as_ref().map(|values| values.slice(start, length)),
            headers: self.headers.as_ref().map(|headers| HeaderColumns {
                list: headers.list.slice(start, length),
                names: headers.names.clone(),
                values: headers.values.clone(),
            }),
        }
    }

    /// Returns the bytes of keys, values and headers of the first `rows` events.
    pub(super) fn payload_bytes(&self, rows: usize) -> usize {
        let bytes = |array: &Option<BinaryArray>| {
            array.as_ref().map_or(0, |array| (array.value_offsets()[rows] - array.value_offsets()[0]) as usize)
        };
        bytes(&self.keys) + bytes(&self.values) + self.headers.as_ref().map_or(0, |headers| headers.bytes(rows))
    }

    /// Returns the columns in the order of the schema; none where the batch was read without some of them.
    pub(super) fn arrays(&self) -> Option<[ArrayRef; 9]> {
        Some([
            Arc::new(self.topics.clone()),
            Arc::new(self.partitions.clone()),
            Arc::new(self.offsets.clone()),
            Arc::new(self.timestamps.clone()),
            Arc::new(self.timestamp_types.clone()),
            Arc::new(self.captured_at.clone()),
            Arc::new(self.keys.clone()?),
            Arc::new(self.values.clone()?),
            Arc::new(self.headers.as_ref()?.list.clone()),
        ])
    }

    /// Returns, for each event, the index of its topic among [`Self::topic_names`].
    pub(super) fn topic_codes(&self) -> &[i32] {
        self.topics.keys().values()
    }

    /// Returns the names that topic codes stand for; some may be unused.
    pub(super) fn topic_names(&self) -> &StringArray {
        &self.topic_names
    }

    /// Returns the partitions.
    pub(super) fn partitions(&self) -> &[i32] {
        self.partitions.values()
    }

    /// Returns the offsets.
    pub(super) fn offsets(&self) -> &[i64] {
        self.offsets.values()
    }

    /// Returns the timestamp of the event at `row`, in milliseconds.
    #[inline]
    pub(super) fn timestamp_ms(&self, row: usize) -> Option<i64> {
        self.timestamps.is_valid(row).then(|| self.timestamps.values()[row])
    }

    /// Returns when the event at `row` was captured, in microseconds.
    #[inline]
    pub(super) fn captured_at_us(&self, row: usize) -> Option<i64> {
        self.captured_at.is_valid(row).then(|| self.captured_at.values()[row])
    }

    /// Returns the key of the event at `row`.
    #[inline]
    pub(super) fn key(&self, row: usize) -> Option<&[u8]> {
        self.keys.as_ref().and_then(|keys| keys.is_valid(row).then(|| keys.value(row)))
    }

    fn check_nulls(&self, path: &Path) -> Result<(), RecordingError> {
        let columns: [(&'static str, &dyn Array); 4] = [
            (schema::TOPIC, &self.topics),
            (schema::PARTITION, &self.partitions),
            (schema::OFFSET, &self.offsets),
            (schema::TIMESTAMP_TYPE, &self.timestamp_types),
        ];
        match columns.into_iter().find(|(_, array)| array.logical_null_count() > 0) {
            Some((column, _)) => Err(RecordingError::Null { path: path.to_owned(), column }),
            None => Ok(()),
        }
    }
}

/// The columns of a batch that is complete.
pub(super) struct BatchColumns {
    pub(super) topics: DictionaryArray<Int32Type>,
    pub(super) partitions: Int32Array,
    pub(super) offsets: Int64Array,
    pub(super) timestamps: TimestampMillisecondArray,
    pub(super) timestamp_types: DictionaryArray<Int32Type>,
    pub(super) captured_at: TimestampMicrosecondArray,
    pub(super) keys: BinaryArray,
    pub(super) values: BinaryArray,
    pub(super) headers: ListArray,
    pub(super) header_names: StringArray,
    pub(super) header_values: BinaryArray,
}

/// Timestamp types in the order in which a batch that was built numbers them.
pub(super) const ALL_KINDS: [TimestampType; 3] = [TimestampType::Create, TimestampType::Append, TimestampType::None];

/// Reads the dictionary of timestamp types.
fn kinds(names: &StringArray, path: &Path) -> Result<Arc<[TimestampType]>, RecordingError> {
    let kind = |name: Option<&str>| match name {
        Some("create") => Ok(TimestampType::Create),
        Some("append") => Ok(TimestampType::Append),
        Some("none") => Ok(TimestampType::None),
        Some(found) => Err(RecordingError::TimestampType { path: path.to_owned(), found: found.to_owned() }),
        None => Err(RecordingError::Null { path: path.to_owned(), column: schema::TIMESTAMP_TYPE }),
    };
    names.iter().map(kind).collect()
}

fn column(
    batch: &RecordBatch,
    name: &'static str,
    wanted: &DataType,
    expected: &'static str,
    path: &Path,
) -> Result<ArrayRef, RecordingError> {
    let array = batch
        .column_by_name(name)
        .ok_or_else(|| RecordingError::MissingColumn { path: path.to_owned(), column: name })?;
    converted(array, name, wanted, expected, path)
}

fn converted(
    array: &ArrayRef,
    name: &'static str,
    wanted: &DataType,
    expected: &'static str,
    path: &Path,
) -> Result<ArrayRef, RecordingError> {
    if array.data_type() == wanted {
        return Ok(Arc::clone(array));
    }
    let wrong = || RecordingError::ColumnType {
        path: path.to_owned(),
        column: name,
        found: array.data_type().to_string(),
        expected,
    };
    if !kindred(array.data_type(), wanted) {
        return Err(wrong());
    }
    if let (DataType::Timestamp(from, _), DataType::Timestamp(to, _)) = (array.data_type(), wanted) {
        return rescaled(array, *from, *to).ok_or_else(wrong);
    }
    let converted = cast(array, wanted).map_err(|_| wrong())?;
    // A number that does not fit comes back as null: that is a wrong type, not a missing value.
    if converted.logical_null_count() == array.logical_null_count() { Ok(converted) } else { Err(wrong()) }
}

/// Timestamps in another unit, all of them in UTC: a part of a unit is left, towards the past. None where one does not fit.
fn rescaled(array: &ArrayRef, from: TimeUnit, to: TimeUnit) -> Option<ArrayRef> {
    let per_second = |unit| match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    };
    let raw = cast(array, &DataType::Int64).ok()?;
    let raw = raw.as_any().downcast_ref::<Int64Array>()?;
    let (from, to) = (per_second(from), per_second(to));
    let rescale = |value: i64| i64::try_from((i128::from(value) * to).div_euclid(from)).ok();
    let values: Option<Vec<Option<i64>>> =
        raw.iter().map(|value| value.map_or(Some(None), |value| rescale(value).map(Some))).collect();
    Some(if to == 1_000 {
        Arc::new(TimestampMillisecondArray::from(values?).with_timezone("UTC"))
    } else {
        Arc::new(TimestampMicrosecondArray::from(values?).with_timezone("UTC"))
    })
}

/// Checks that a column of the type `found` can be read; the batches that follow may still hold what cannot.
pub(super) fn check_column(name: &'static str, found: &DataType, path: &Path) -> Result<(), RecordingError> {
    let (wanted, expected) = match name {
        schema::TOPIC | schema::TIMESTAMP_TYPE => (schema::repeated_text(), "Utf8"),
        schema::PARTITION => (DataType::Int32, "Int32"),
        schema::OFFSET => (DataType::Int64, "Int64"),
        schema::TIMESTAMP => (schema::timestamp_type(), "Timestamp(ms, UTC)"),
        schema::CAPTURED_AT => (schema::captured_at_type(), "Timestamp(us, UTC)"),
        schema::HEADERS if matches!(found, DataType::List(_) | DataType::LargeList(_)) => return Ok(()),
        schema::HEADERS => (DataType::List(schema::header_item()), HEADERS_TYPE),
        _ => (DataType::Binary, "Binary"),
    };
    if kindred(found, &wanted) {
        return Ok(());
    }
    Err(RecordingError::ColumnType { path: path.to_owned(), column: name, found: found.to_string(), expected })
}

/// Type of `headers`, as errors name it.
const HEADERS_TYPE: &str = "List<Struct<name Utf8, value Binary>>";

/// Whether `found` says the same as `wanted` in another layout, so that converting loses nothing.
fn kindred(found: &DataType, wanted: &DataType) -> bool {
    use DataType::{
        Binary, BinaryView, Dictionary, FixedSizeBinary, LargeBinary, LargeUtf8, Timestamp, Utf8, Utf8View,
    };
    match (found, wanted) {
        (Dictionary(_, found), wanted) => kindred(found, wanted),
        (found, Dictionary(_, wanted)) => kindred(found, wanted),
        (Utf8 | LargeUtf8 | Utf8View, Utf8)
        | (Binary | LargeBinary | BinaryView | FixedSizeBinary(_) | Utf8 | LargeUtf8 | Utf8View, Binary)
        | (Timestamp(..), Timestamp(..)) => true,
        (found, wanted) => found.is_integer() && wanted.is_integer(),
    }
}

fn downcast<T: Array + Clone + 'static>(
    array: &ArrayRef,
    name: &'static str,
    path: &Path,
) -> Result<T, RecordingError> {
    array.as_any().downcast_ref::<T>().cloned().ok_or_else(|| RecordingError::ColumnType {
        path: path.to_owned(),
        column: name,
        found: array.data_type().to_string(),
        expected: "another layout",
    })
}

impl HeaderColumns {
    fn from_arrow(batch: &RecordBatch, path: &Path) -> Result<Self, RecordingError> {
        let array = batch
            .column_by_name(schema::HEADERS)
            .ok_or_else(|| RecordingError::MissingColumn { path: path.to_owned(), column: schema::HEADERS })?;
        let wrong = || RecordingError::ColumnType {
            path: path.to_owned(),
            column: schema::HEADERS,
            found: array.data_type().to_string(),
            expected: HEADERS_TYPE,
        };
        let array = match array.data_type() {
            DataType::LargeList(item) => cast(array, &DataType::List(Arc::clone(item))).map_err(|_| wrong())?,
            _ => Arc::clone(array),
        };
        let list = array.as_any().downcast_ref::<ListArray>().ok_or_else(wrong)?;
        let items = list.values().as_any().downcast_ref::<StructArray>().ok_or_else(wrong)?;
        let part = |name: &str, wanted: &DataType| -> Result<ArrayRef, RecordingError> {
            let part = items.column_by_name(name).ok_or_else(wrong)?;
            converted(part, schema::HEADERS, wanted, HEADERS_TYPE, path)
        };
        let names: StringArray = downcast(&part("name", &DataType::Utf8)?, schema::HEADERS, path)?;
        let values: BinaryArray = downcast(&part("value", &DataType::Binary)?, schema::HEADERS, path)?;
        if items.null_count() > 0 || names.null_count() > 0 {
            return Err(RecordingError::Null { path: path.to_owned(), column: schema::HEADERS });
        }
        // Put together anew, so that a list of another tool has the types with which segments are written; no list at all
        // is an event without headers.
        let list = ListArray::try_new(
            schema::header_item(),
            list.offsets().clone(),
            Arc::new(StructArray::from(vec![
                (Arc::clone(&schema::header_fields()[0]), Arc::new(names.clone()) as ArrayRef),
                (Arc::clone(&schema::header_fields()[1]), Arc::new(values.clone()) as ArrayRef),
            ])),
            None,
        )
        .map_err(|_| wrong())?;
        Ok(Self { list, names, values })
    }

    #[inline]
    fn get(&self, row: usize) -> HeadersView<'_> {
        let offsets = self.list.value_offsets();
        HeadersView::of_columns(&self.names, &self.values, offsets[row] as usize..offsets[row + 1] as usize)
    }

    fn bytes(&self, rows: usize) -> usize {
        let (start, end) = (self.list.value_offsets()[0] as usize, self.list.value_offsets()[rows] as usize);
        (self.names.value_offsets()[end] - self.names.value_offsets()[start]) as usize
            + (self.values.value_offsets()[end] - self.values.value_offsets()[start]) as usize
    }
}

/// One event of a batch, borrowed.
#[derive(Debug, Clone, Copy)]
pub struct EventView<'a> {
    /// Topic.
    pub topic: &'a str,
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
    /// Timestamp, in milliseconds since the Unix epoch.
    pub timestamp_ms: Option<i64>,
    /// Who set it.
    pub timestamp_type: TimestampType,
    /// When captured, in microseconds since the Unix epoch.
    pub captured_at_us: Option<i64>,
    /// Key.
    pub key: Option<&'a [u8]>,
    /// Value; none is a tombstone, or was not asked for.
    pub value: Option<&'a [u8]>,
    /// Headers in order.
    pub headers: HeadersView<'a>,
}

impl EventView<'_> {
    /// Copies the event out of its batch.
    pub fn to_event(&self) -> Event {
        Event {
            topic: self.topic.to_owned(),
            partition: self.partition,
            offset: self.offset,
            timestamp_ms: self.timestamp_ms,
            timestamp_type: self.timestamp_type,
            captured_at_us: self.captured_at_us,
            key: self.key.map(<[u8]>::to_vec),
            value: self.value.map(<[u8]>::to_vec),
            headers: self.headers.to_headers(),
        }
    }
}

/// Headers of one event, borrowed: an iterator of name and value.
#[derive(Debug, Clone, Copy)]
pub struct HeadersView<'a>(Headers<'a>);

#[derive(Debug, Clone, Copy)]
enum Headers<'a> {
    Columns { names: &'a StringArray, values: &'a BinaryArray, start: usize, end: usize },
    Rows(&'a [Header]),
}

impl<'a> HeadersView<'a> {
    /// No headers.
    pub const EMPTY: Self = Self(Headers::Rows(&[]));

    /// Views the headers at `range` of two columns of equal length; names are never null.
    #[inline]
    pub fn of_columns(names: &'a StringArray, values: &'a BinaryArray, range: Range<usize>) -> Self {
        Self(Headers::Columns { names, values, start: range.start, end: range.end })
    }

    /// Number of headers.
    #[inline]
    pub fn len(&self) -> usize {
        match self.0 {
            Headers::Columns { start, end, .. } => end - start,
            Headers::Rows(rows) => rows.len(),
        }
    }

    /// Whether there is no header.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Headers in order.
    #[inline]
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, Option<&'a [u8]>)> + use<'a> {
        let headers = self.0;
        (0..self.len()).map(move |index| match headers {
            Headers::Columns { names, values, start, .. } => {
                let at = start + index;
                (names.value(at), values.is_valid(at).then(|| values.value(at)))
            }
            Headers::Rows(rows) => (rows[index].name.as_str(), rows[index].value.as_deref()),
        })
    }

    /// Copies the headers.
    pub fn to_headers(&self) -> Vec<Header> {
        self.iter().map(|(name, value)| Header { name: name.to_owned(), value: value.map(<[u8]>::to_vec) }).collect()
    }
}

impl<'a> From<&'a [Header]> for HeadersView<'a> {
    fn from(headers: &'a [Header]) -> Self {
        Self(Headers::Rows(headers))
    }
}
