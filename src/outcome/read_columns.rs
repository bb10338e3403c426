//! Which columns of `outputs.parquet` are read: none that is known to hold nothing, and no more than somebody needs.

use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ArrowReaderMetadata;
use parquet::basic::Type;
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use xxhash_rust::xxh3::xxh3_64;

/// Column that holds the hash of each value, so that values which are the same need not be read to be known as such.
pub(super) const HASHES: &str = "value_xxh3";

/// Who wrote a file, as its footer says.
pub(super) const WRITER: &str = concat!("rehearsal version ", env!("CARGO_PKG_VERSION"));

/// Hash of a value, as it stands in a column beside it: XXH3 with 64 bits.
pub fn value_hash(value: &[u8]) -> u64 {
    xxh3_64(value)
}

/// Columns read for a purpose.
#[derive(Debug, Clone)]
pub(super) struct ReadColumns {
    /// All of an output.
    pub(super) whole: ProjectionMask,
    /// Hashes of values instead of values, and not when outputs arrived; none where the file has no hashes to rely on.
    pub(super) hashed: Option<ProjectionMask>,
}

impl ReadColumns {
    pub(super) fn of(file: &ArrowReaderMetadata) -> Self {
        let metadata = file.metadata();
        let without = |left_out: &[&str]| {
            let fields = file.parquet_schema().root_schema().get_fields().iter().enumerate();
            let read =
                fields.filter(|(_, field)| !left_out.contains(&field.name()) && !is_empty(metadata, field.name()));
            ProjectionMask::roots(file.parquet_schema(), read.map(|(number, _)| number))
        };
        let hashed = has_hashes(metadata).then(|| without(&["value", "arrived"]));
        Self { whole: without(&[HASHES]), hashed }
    }
}

/// Whether hashes of values are those of the values beside them: whoever writes a file anew, perhaps with other values, says so in
/// its footer.
fn has_hashes(metadata: &ParquetMetaData) -> bool {
    let columns = metadata.file_metadata().schema_descr().columns();
    let column = columns.iter().find(|column| column.path().string() == HASHES);
    is_ours(metadata) && column.is_some_and(|column| column.physical_type() == Type::INT64)
}

/// Whether the footer says that Rehearsal wrote the file.
fn is_ours(metadata: &ParquetMetaData) -> bool {
    metadata.file_metadata().created_by().is_some_and(|writer| writer.starts_with("rehearsal version "))
}

/// Leaves of columns that may well hold nothing in a whole file, by what says so.
const MAY_BE_EMPTY: [(&str, &str); 8] = [
    ("timestamp", "timestamp"),
    ("headers", "headers.list.item.name"),
    ("cause_topic", "cause_topic"),
    ("cause_partition", "cause_topic"),
    ("cause_offset", "cause_topic"),
    ("cause_attempt", "cause_topic"),
    ("cause_by", "cause_topic"),
    ("malformed", "malformed"),
];

/// Whether the footer says that no row has anything there. Of what another tool wrote, all is read: it may be refused.
fn is_empty(metadata: &ParquetMetaData, column: &str) -> bool {
    let Some((_, leaf)) = MAY_BE_EMPTY.iter().find(|(name, _)| *name == column) else { return false };
    if !is_ours(metadata) {
        return false;
    }
    let is_empty_in = |group: &RowGroupMetaData| {
        let mut leaves = group.columns().iter();
        let leaf = leaves.find(|chunk| chunk.column_path().string() == *leaf);
        let nulls = leaf.and_then(|chunk| Some((chunk.statistics()?.null_count_opt()?, chunk.num_values())));
        nulls.is_some_and(|(nulls, all)| i64::try_from(nulls) == Ok(all))
    };
    metadata.row_groups().iter().all(is_empty_in)
}
