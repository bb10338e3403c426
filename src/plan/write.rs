//! `plan.parquet`: the deliveries of a plan in columns, for any Parquet reader.

use std::io::Write;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Int32Builder, Int64Builder, ListBuilder, RecordBatch, StringBuilder, StringDictionaryBuilder,
};
use arrow::datatypes::{DataType, Field, Int32Type, Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::faults::bits;
use super::{Delivery, Phase, Plan, PlanError};

/// Deliveries of one batch.
const BATCH: usize = 8_192;

/// Writes the deliveries of `plan` as Parquet: `due` (microseconds since the schedule's start), `topic`, `partition`,
/// `offset`, `position`, `attempt`, `phase` and `faults`, in the order in which they are handed over.
///
/// # Errors
///
/// [`PlanError::Write`] where the writer fails; else what reading the plan says.
pub fn write(plan: &Plan, writer: impl Write + Send) -> Result<(), PlanError> {
    let schema = schema();
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_created_by("rehearsal".into())
        .build();
    let mut parquet = ArrowWriter::try_new(writer, Arc::clone(&schema), Some(properties))?;
    let mut columns = ColumnsOfDeliveries::default();
    for delivery in plan.deliveries() {
        columns.add(plan, &delivery?)?;
        if columns.count == BATCH {
            parquet.write(&columns.finish(&schema)?)?;
        }
    }
    parquet.write(&columns.finish(&schema)?)?;
    parquet.close()?;
    Ok(())
}

fn schema() -> SchemaRef {
    let text = || DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    Arc::new(Schema::new(vec![
        Field::new("due", DataType::Int64, false),
        Field::new("topic", text(), false),
        Field::new("partition", DataType::Int32, false),
        Field::new("offset", DataType::Int64, false),
        Field::new("position", DataType::Int64, false),
        Field::new("attempt", DataType::Int32, false),
        Field::new("phase", text(), false),
        Field::new_list("faults", Field::new("item", DataType::Utf8, true), false),
    ]))
}

#[derive(Default)]
struct ColumnsOfDeliveries {
    count: usize,
    due: Int64Builder,
    topic: StringDictionaryBuilder<Int32Type>,
    partition: Int32Builder,
    offset: Int64Builder,
    position: Int64Builder,
    attempt: Int32Builder,
    phase: StringDictionaryBuilder<Int32Type>,
    faults: ListBuilder<StringBuilder>,
}

impl ColumnsOfDeliveries {
    fn add(&mut self, plan: &Plan, delivery: &Delivery) -> Result<(), PlanError> {
        self.count += 1;
        self.due.append_value(delivery.due_us);
        self.topic.append(&plan.topics()[delivery.topic as usize])?;
        self.partition.append_value(delivery.partition);
        self.offset.append_value(delivery.offset);
        self.position.append_value(delivery.position);
        self.attempt.append_value(delivery.attempt);
        self.phase.append(match delivery.phase {
            Phase::WarmUp => "warm-up",
            Phase::Main => "main",
            Phase::Drain => "drain",
        })?;
        for fault in bits(delivery.faults) {
            self.faults.values().append_value(&plan.faults()[fault].name);
        }
        self.faults.append(true);
        Ok(())
    }

    fn finish(&mut self, schema: &SchemaRef) -> Result<RecordBatch, PlanError> {
        self.count = 0;
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.due.finish()),
            Arc::new(self.topic.finish()),
            Arc::new(self.partition.finish()),
            Arc::new(self.offset.finish()),
            Arc::new(self.position.finish()),
            Arc::new(self.attempt.finish()),
            Arc::new(self.phase.finish()),
            Arc::new(self.faults.finish()),
        ];
        RecordBatch::try_new(Arc::clone(schema), columns).map_err(|error| PlanError::Parquet(error.into()))
    }
}
