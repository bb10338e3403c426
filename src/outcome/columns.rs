//! Columns as other tools may have written them, turned into the types of the format.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow::buffer::OffsetBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int32Type, Int64Type, TimeUnit, TimestampMillisecondType};

use super::OutcomeError;
use crate::recording::HeadersView;

/// A batch of rows of the file at `path`, taken apart by column name.
pub(super) struct Columns<'a> {
    pub(super) batch: &'a RecordBatch,
    pub(super) path: &'a Path,
}

impl Columns<'_> {
    /// A column of 64-bit integers; none where the file lacks it.
    pub(super) fn long(&self, name: &str) -> Result<Option<Int64Array>, OutcomeError> {
        self.turned(name, "an integer", is_integer, &DataType::Int64)
            .map(|it| it.map(|it| it.as_primitive::<Int64Type>().clone()))
    }

    /// A column of 32-bit integers; none where the file lacks it.
    pub(super) fn int(&self, name: &str) -> Result<Option<Int32Array>, OutcomeError> {
        self.turned(name, "an integer", is_integer, &DataType::Int32)
            .map(|it| it.map(|it| it.as_primitive::<Int32Type>().clone()))
    }

    /// A column of text; none where the file lacks it.
    pub(super) fn text(&self, name: &str) -> Result<Option<StringArray>, OutcomeError> {
        self.turned(name, "text", is_text, &DataType::Utf8).map(|it| it.map(|it| it.as_string::<i32>().clone()))
    }

    /// A column of bytes; none where the file lacks it.
    pub(super) fn bytes(&self, name: &str) -> Result<Option<BinaryArray>, OutcomeError> {
        self.turned(name, "bytes or text", is_bytes, &DataType::Binary)
            .map(|it| it.map(|it| it.as_binary::<i32>().clone()))
    }

    /// A column of times in milliseconds; none where the file lacks it.
    pub(super) fn time_ms(&self, name: &str) -> Result<Option<Int64Array>, OutcomeError> {
        let wanted = DataType::Timestamp(TimeUnit::Millisecond, None);
        let is_time = |kind: &DataType| matches!(kind, DataType::Timestamp(..)) || is_integer(kind);
        let column = self.turned(name, "a time", is_time, &wanted)?;
        Ok(column.map(|it| it.as_primitive::<TimestampMillisecondType>().reinterpret_cast::<Int64Type>()))
    }

    /// A column of lists of name and value; none where the file lacks it.
    pub(super) fn headers(&self, name: &str) -> Result<Option<HeadersColumn>, OutcomeError> {
        let Some(column) = self.batch.column_by_name(name) else { return Ok(None) };
        let wrong = || self.wrong(name, "a list of name and value", column.data_type());
        let list = column.as_list_opt::<i32>().ok_or_else(wrong)?;
        let pairs = list.values().as_struct_opt().filter(|pairs| pairs.num_columns() >= 2).ok_or_else(wrong)?;
        let part = |name: &str, at: usize| Arc::clone(pairs.column_by_name(name).unwrap_or_else(|| pairs.column(at)));
        let (names, values) = (part("name", 0), part("value", 1));
        if !is_text(names.data_type()) || !is_bytes(values.data_type()) {
            return Err(wrong());
        }
        let names = self.cast(name, &names, &DataType::Utf8)?.as_string::<i32>().clone();
        let values = self.cast(name, &values, &DataType::Binary)?.as_binary::<i32>().clone();
        Ok(Some(HeadersColumn { offsets: list.offsets().clone(), names, values }))
    }

    /// A column of lists of text, each list as its own array; none where the file lacks it.
    pub(super) fn text_lists(&self, name: &str) -> Result<Option<(OffsetBuffer<i32>, StringArray)>, OutcomeError> {
        let Some(column) = self.batch.column_by_name(name) else { return Ok(None) };
        let wrong = || self.wrong(name, "a list of text", column.data_type());
        let list = column.as_list_opt::<i32>().filter(|list| is_text(list.values().data_type())).ok_or_else(wrong)?;
        let texts = self.cast(name, list.values(), &DataType::Utf8)?.as_string::<i32>().clone();
        Ok(Some((list.offsets().clone(), texts)))
    }

    /// Insists that a column is there and holds no null.
    pub(super) fn required<A: Array>(&self, name: &str, column: Option<A>) -> Result<A, OutcomeError> {
        let column = column.ok_or_else(|| self.missing(name))?;
        if column.null_count() > 0 {
            return Err(self.holds_nulls(name));
        }
        Ok(column)
    }

    pub(super) fn holds_nulls(&self, name: &str) -> OutcomeError {
        OutcomeError::format(self.path, format_args!("column `{name}` holds nulls"))
    }

    pub(super) fn missing(&self, name: &str) -> OutcomeError {
        OutcomeError::format(self.path, format_args!("column `{name}` is missing"))
    }

    fn turned(
        &self,
        name: &str,
        wanted: &str,
        fits: impl Fn(&DataType) -> bool,
        kind: &DataType,
    ) -> Result<Option<ArrayRef>, OutcomeError> {
        let Some(column) = self.batch.column_by_name(name) else { return Ok(None) };
        let inner = match column.data_type() {
            DataType::Dictionary(_, inner) => inner,
            plain => plain,
        };
        if !fits(inner) {
            return Err(self.wrong(name, wanted, inner));
        }
        self.cast(name, column, kind).map(Some)
    }

    fn cast(&self, name: &str, column: &ArrayRef, kind: &DataType) -> Result<ArrayRef, OutcomeError> {
        if column.data_type() == kind {
            return Ok(Arc::clone(column));
        }
        let turned = cast(column, kind)
            .map_err(|error| OutcomeError::format(self.path, format_args!("column `{name}`: {error}")))?;
        // The kernel turns what does not fit into null; a value that vanishes must not pass for one that was never there.
        if turned.logical_null_count() > column.logical_null_count() {
            return Err(OutcomeError::format(self.path, format_args!("column `{name}` holds values out of range")));
        }
        Ok(turned)
    }

    fn wrong(&self, name: &str, wanted: &str, found: &DataType) -> OutcomeError {
        OutcomeError::format(self.path, format_args!("column `{name}` is {found}, not {wanted}"))
    }
}

/// Headers of a batch: row n has the pairs `offsets[n]..offsets[n + 1]`.
#[derive(Debug, Clone)]
pub(super) struct HeadersColumn {
    pub(super) offsets: OffsetBuffer<i32>,
    pub(super) names: StringArray,
    pub(super) values: BinaryArray,
}

impl HeadersColumn {
    /// Headers of a row.
    pub(super) fn at(&self, row: usize) -> HeadersView<'_> {
        HeadersView::of_columns(&self.names, &self.values, self.offsets[row] as usize..self.offsets[row + 1] as usize)
    }
}

/// Whether a column of this type can stand for bytes.
pub(super) fn is_bytes(kind: &DataType) -> bool {
    is_text(kind)
        || matches!(
            kind,
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_)
        )
}

fn is_text(kind: &DataType) -> bool {
    matches!(kind, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

fn is_integer(kind: &DataType) -> bool {
    kind.is_integer()
}
