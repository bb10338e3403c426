//! The columns of a segment, format 1, as Arrow and Parquet know them.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

pub(super) const TOPIC: &str = "topic";
pub(super) const PARTITION: &str = "partition";
pub(super) const OFFSET: &str = "offset";
pub(super) const TIMESTAMP: &str = "timestamp";
pub(super) const TIMESTAMP_TYPE: &str = "timestamp_type";
pub(super) const CAPTURED_AT: &str = "captured_at";
pub(super) const KEY: &str = "key";
pub(super) const VALUE: &str = "value";
pub(super) const HEADERS: &str = "headers";

/// All columns, in the order of the schema.
pub(super) const COLUMNS: [&str; 9] =
    [TOPIC, PARTITION, OFFSET, TIMESTAMP, TIMESTAMP_TYPE, CAPTURED_AT, KEY, VALUE, HEADERS];

/// Rows of a data page. Every column has pages of the same rows where values are small, so that reading a piece of a row group
/// decodes no page twice; a place far behind costs one such page.
pub(super) const PAGE_ROWS: usize = 2048;

/// Rows of a data page of a column that takes a few bits an event: compressing many small pages costs more than it saves.
pub(super) const COORDINATE_PAGE_ROWS: usize = 8 * PAGE_ROWS;

/// Bytes of a data page before compression: pages of large values hold fewer rows.
const PAGE_BYTES: usize = 1 << 20;

/// Which columns a reader decodes; others come back empty or null.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Columns {
    /// Decode `key`.
    pub key: bool,
    /// Decode `value`.
    pub value: bool,
    /// Decode `headers`.
    pub headers: bool,
}

impl Columns {
    /// Everything.
    pub const ALL: Self = Self { key: true, value: true, headers: true };

    /// Coordinates alone: topic, partition, offset and times.
    pub const NONE: Self = Self { key: false, value: false, headers: false };

    /// Whether the column `name` is decoded.
    pub(super) fn includes(self, name: &str) -> bool {
        match name {
            KEY => self.key,
            VALUE => self.value,
            HEADERS => self.headers,
            _ => COLUMNS.contains(&name),
        }
    }
}

/// Type of text that repeats.
pub(super) fn repeated_text() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
}

/// Fields of one header.
pub(super) fn header_fields() -> Fields {
    static FIELDS: LazyLock<Fields> = LazyLock::new(|| {
        Fields::from(vec![Field::new("name", DataType::Utf8, false), Field::new("value", DataType::Binary, true)])
    });
    FIELDS.clone()
}

/// The item of the list of headers.
pub(super) fn header_item() -> Arc<Field> {
    static ITEM: LazyLock<Arc<Field>> =
        LazyLock::new(|| Arc::new(Field::new("item", DataType::Struct(header_fields()), false)));
    Arc::clone(&ITEM)
}

/// Type of `timestamp`.
pub(super) fn timestamp_type() -> DataType {
    DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()))
}

/// Type of `captured_at`.
pub(super) fn captured_at_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// The schema that segments are written with.
pub(super) fn schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        Arc::new(Schema::new(vec![
            Field::new(TOPIC, repeated_text(), false),
            Field::new(PARTITION, DataType::Int32, false),
            Field::new(OFFSET, DataType::Int64, false),
            Field::new(TIMESTAMP, timestamp_type(), true),
            Field::new(TIMESTAMP_TYPE, repeated_text(), false),
            Field::new(CAPTURED_AT, captured_at_type(), true),
            Field::new(KEY, DataType::Binary, true),
            Field::new(VALUE, DataType::Binary, true),
            Field::new(HEADERS, DataType::List(header_item()), false),
        ]))
    });
    Arc::clone(&SCHEMA)
}

/// How segments are written: zstd level 1, small pages with an index of where they are, no dictionary for what hardly repeats.
pub(super) fn properties() -> WriterProperties {
    let mut properties = WriterProperties::builder()
        .set_created_by(super::tool())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).unwrap_or_default()))
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_data_page_size_limit(PAGE_BYTES)
        .set_write_batch_size(PAGE_ROWS);
    for name in [TOPIC, TIMESTAMP_TYPE] {
        properties = properties.set_column_dictionary_enabled(ColumnPath::from(name), true);
    }
    for path in [vec![KEY], vec![HEADERS, "list", "item", "name"], vec![HEADERS, "list", "item", "value"]] {
        let path = ColumnPath::new(path.into_iter().map(str::to_owned).collect());
        properties = properties.set_column_data_page_row_count_limit(path, 2 * PAGE_ROWS);
    }
    for name in [PARTITION, OFFSET, TIMESTAMP, CAPTURED_AT] {
        properties = properties.set_column_encoding(ColumnPath::from(name), Encoding::DELTA_BINARY_PACKED);
    }
    for name in [TOPIC, PARTITION, OFFSET, TIMESTAMP, TIMESTAMP_TYPE, CAPTURED_AT] {
        properties = properties.set_column_data_page_row_count_limit(ColumnPath::from(name), COORDINATE_PAGE_ROWS);
    }
    for name in [TOPIC, PARTITION, OFFSET, TIMESTAMP, CAPTURED_AT] {
        properties = properties.set_column_statistics_enabled(ColumnPath::from(name), EnabledStatistics::Chunk);
    }
    properties.build()
}
