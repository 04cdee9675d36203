//! Rows to JSON and back, in the generator's words: times as ISO texts in UTC with microseconds, structs as objects,
//! doubles and decimals as texts.

use std::io::Cursor;

use millstream::arrow::array::types::{ArrowPrimitiveType, TimestampMicrosecondType};
use millstream::arrow::array::types::{
    Date32Type, Decimal128Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
};
use millstream::arrow::array::{Array, ArrayRef, AsArray};
use millstream::arrow::datatypes::{DataType, SchemaRef, TimeUnit};
use millstream::arrow::json::ReaderBuilder;
use millstream::arrow::record_batch::RecordBatch;
use serde_json::{Map, Value};

/// Each row as a list of its columns.
pub(crate) fn rows(batches: &[RecordBatch]) -> Vec<Value> {
    let of_batch = |batch: &RecordBatch| {
        let row = |index| Value::Array(batch.columns().iter().map(|column| value(column, index)).collect());
        (0..batch.num_rows()).map(row).collect::<Vec<_>>()
    };
    batches.iter().flat_map(of_batch).collect()
}

fn value(column: &ArrayRef, row: usize) -> Value {
    if column.is_null(row) {
        return Value::Null;
    }
    match column.data_type() {
        DataType::Boolean => column.as_boolean().value(row).into(),
        DataType::Int8 => primitive::<Int8Type>(column, row).into(),
        DataType::Int16 => primitive::<Int16Type>(column, row).into(),
        DataType::Int32 => primitive::<Int32Type>(column, row).into(),
        DataType::Int64 => primitive::<Int64Type>(column, row).into(),
        DataType::Float64 => format!("{:?}", primitive::<Float64Type>(column, row)).into(),
        DataType::Utf8 => column.as_string::<i32>().value(row).into(),
        DataType::Decimal128(_, _) => column.as_primitive::<Decimal128Type>().value_as_string(row).into(),
        DataType::Date32 => date(primitive::<Date32Type>(column, row)).into(),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            time(primitive::<TimestampMicrosecondType>(column, row)).into()
        }
        DataType::Struct(fields) => {
            let parts = fields.iter().zip(column.as_struct().columns());
            parts.map(|(field, part)| (field.name().clone(), value(part, row))).collect::<Map<_, _>>().into()
        }
        DataType::List(_) => {
            let items = column.as_list::<i32>().value(row);
            (0..items.len()).map(|index| value(&items, index)).collect::<Vec<_>>().into()
        }
        other => panic!("no case has a result of type {other}"),
    }
}

fn primitive<T: ArrowPrimitiveType>(column: &ArrayRef, row: usize) -> T::Native {
    column.as_primitive::<T>().value(row)
}

fn time(micros: i64) -> String {
    let time = chrono::DateTime::from_timestamp_micros(micros).unwrap();
    time.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

fn date(days: i32) -> String {
    let seconds = i64::from(days) * 86_400;
    chrono::DateTime::from_timestamp(seconds, 0).unwrap().format("%Y-%m-%d").to_string()
}

/// A line of JSON for each row.
pub(crate) fn lines(rows: &[Value]) -> String {
    rows.iter().map(Value::to_string).collect::<Vec<_>>().join("\n")
}

/// Rows given as objects, as one batch.
pub(crate) fn batch(schema: &SchemaRef, rows: &[Value]) -> RecordBatch {
    if rows.is_empty() {
        return RecordBatch::new_empty(SchemaRef::clone(schema));
    }
    let reader = ReaderBuilder::new(SchemaRef::clone(schema)).with_batch_size(rows.len());
    let mut batches = reader.build(Cursor::new(lines(rows))).unwrap();
    let batch = batches.next().unwrap().unwrap();
    assert_eq!(batch.num_rows(), rows.len());
    batch
}
