//! Between the types users bring and the few the engine computes with.
//!
//! Owns: which engine type stands for which Arrow type, and arrays converted without loss of meaning. Does not own:
//! whether a batch fits a promised schema (`fit`).
//!
//! | user | engine |
//! |---|---|
//! | `Utf8`, `LargeUtf8` | `Utf8View` |
//! | `LargeBinary`, `BinaryView`, `FixedSizeBinary` | `Binary` |
//! | `Timestamp` of any unit with any zone | `Timestamp(Microsecond, "UTC")`, the same instant |
//! | `Timestamp` of any unit without zone | `Timestamp(Microsecond)` |
//! | `Date64` | `Date32` |
//! | unsigned integers | the next larger signed type; for `UInt64` `Decimal128(20, 0)` |
//! | `Float16` | `Float32` |
//! | `Decimal32`, `Decimal64` | `Decimal128` |
//! | `Interval` of any unit | `Interval(MonthDayNano)` |
//! | `LargeList`, `ListView`, `LargeListView`, `FixedSizeList` | `List` |
//! | `Dictionary`, `RunEndEncoded` | the type of its values |
//!
//! The parts of lists, structs and maps are converted the same way; list elements are called `item`, map entries
//! `entries` of `key` and `value`, so equal Spark types are equal Arrow types. Anything else stays as it is.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Int64Array, ListArray, MapArray, RecordBatchOptions, StructArray,
    TimestampMicrosecondArray,
};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type, IntervalUnit, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;

use super::name::{element_field, map_fields};
use crate::error::{Error, Result};

/// The type the engine computes with for a type users bring.
pub fn engine_type(data_type: &DataType) -> DataType {
    use DataType as T;
    match data_type {
        T::Utf8 | T::LargeUtf8 => T::Utf8View,
        T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_) => T::Binary,
        T::Timestamp(_, Some(_)) => T::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        T::Timestamp(_, None) => T::Timestamp(TimeUnit::Microsecond, None),
        T::Date64 => T::Date32,
        T::UInt8 => T::Int16,
        T::UInt16 => T::Int32,
        T::UInt32 => T::Int64,
        T::UInt64 => T::Decimal128(20, 0),
        T::Float16 => T::Float32,
        T::Decimal32(precision, scale) | T::Decimal64(precision, scale) => T::Decimal128(*precision, *scale),
        T::Interval(_) => T::Interval(IntervalUnit::MonthDayNano),
        T::Dictionary(_, values) => engine_type(values),
        T::RunEndEncoded(_, values) => engine_type(values.data_type()),
        T::Struct(fields) => T::Struct(fields.iter().map(|field| with_type(field, engine_type)).collect()),
        T::Map(entries, _) => match map_fields(entries) {
            Some((key, value)) => {
                map_type(engine_type(key.data_type()), engine_type(value.data_type()), value.is_nullable())
            }
            None => data_type.clone(),
        },
        other => match element_field(other) {
            Some(element) => T::new_list(engine_type(element.data_type()), element.is_nullable()),
            None => other.clone(),
        },
    }
}

/// The type users see for an engine type: strings are `Utf8`, everything else stays.
pub fn user_type(data_type: &DataType) -> DataType {
    use DataType as T;
    match data_type {
        T::Utf8View => T::Utf8,
        T::List(element) => T::List(with_type(element, user_type)),
        T::Map(entries, sorted) => T::Map(with_type(entries, user_type), *sorted),
        T::Struct(fields) => T::Struct(fields.iter().map(|field| with_type(field, user_type)).collect()),
        other => other.clone(),
    }
}

/// A map in the engine's form.
pub(super) fn map_type(key: DataType, value: DataType, value_nullable: bool) -> DataType {
    let fields = vec![Field::new("key", key, false), Field::new("value", value, value_nullable)];
    DataType::Map(Arc::new(Field::new("entries", DataType::Struct(fields.into()), false)), false)
}

/// The schema in engine types; names, nullability and metadata stay.
pub fn engine_schema(schema: &Schema) -> Schema {
    schema_with(schema, engine_type)
}

/// The schema in user types; names, nullability and metadata stay.
pub fn user_schema(schema: &Schema) -> Schema {
    schema_with(schema, user_type)
}

/// Converts a user's batch to engine types. Columns that have them already are shared, not copied.
///
/// # Errors
/// When a value cannot be converted, such as a timestamp beyond the range of microseconds.
pub fn engine_batch(batch: RecordBatch) -> Result<RecordBatch> {
    convert_batch(batch, engine_schema)
}

/// Converts an engine's batch to user types. Columns that have them already are shared, not copied.
///
/// # Errors
/// When the strings of a column are more than `Utf8` can hold, 2 GiB.
pub fn user_batch(batch: RecordBatch) -> Result<RecordBatch> {
    convert_batch(batch, user_schema)
}

fn convert_batch(batch: RecordBatch, schema: fn(&Schema) -> Schema) -> Result<RecordBatch> {
    let schema = schema(batch.schema_ref());
    if schema == **batch.schema_ref() { Ok(batch) } else { batch_with(Arc::new(schema), &batch) }
}

/// Converts the columns, by position, to the types of `schema`.
pub(super) fn batch_with(schema: SchemaRef, batch: &RecordBatch) -> Result<RecordBatch> {
    let columns = schema.fields().iter().zip(batch.columns()).map(|(field, column)| {
        convert(column, field.data_type())
            .map_err(|error| Error::from(error).context(format_args!("column `{}`", field.name())))
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(schema, columns, &options)?)
}

/// Converts an array to another type of the same shape. Arrow's own cast changes scalars; the parts of nested types are
/// visited here, because it refuses some of them and renames fields of others.
pub(super) fn convert(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    use DataType as T;
    match (array.data_type(), to) {
        (from, to) if from == to => Ok(Arc::clone(array)),
        (T::Dictionary(_, values), _) => convert(&cast(array, values)?, to),
        (T::RunEndEncoded(_, values), _) => convert(&cast(array, values.data_type())?, to),
        (T::Timestamp(from, _), T::Timestamp(TimeUnit::Microsecond, zone)) => {
            let micros = to_micros(&cast(array, &T::Int64)?, *from)?;
            Ok(Arc::new(micros.with_timezone_opt(zone.clone())))
        }
        (T::Struct(from), T::Struct(fields)) if from.len() == fields.len() => {
            let parts = array.as_struct().columns().iter().zip(fields).map(|(part, to)| convert(part, to.data_type()));
            let parts = parts.collect::<Result<Vec<_>, _>>()?;
            let nulls = array.nulls().cloned();
            Ok(Arc::new(StructArray::try_new_with_length(fields.clone(), parts, nulls, array.len())?))
        }
        (T::Map(..), T::Map(entries, sorted)) => convert_map(array.as_map(), entries, *sorted),
        (T::List(_), T::List(element)) => convert_list(array.as_list(), element),
        (from, T::List(element)) if element_field(from).is_some() => {
            let from = element_field(from).map(|field| Arc::new(field.clone()));
            convert_list(cast(array, &T::List(from.unwrap_or_else(|| Arc::clone(element))))?.as_list(), element)
        }
        (_, to) => cast(array, to),
    }
}

fn convert_list(list: &ListArray, element: &FieldRef) -> Result<ArrayRef, ArrowError> {
    let values = convert(list.values(), element.data_type())?;
    let nulls = list.nulls().cloned();
    Ok(Arc::new(ListArray::try_new(Arc::clone(element), list.offsets().clone(), values, nulls)?))
}

fn convert_map(map: &MapArray, entries: &FieldRef, sorted: bool) -> Result<ArrayRef, ArrowError> {
    let from: ArrayRef = Arc::new(map.entries().clone());
    let pairs = convert(&from, entries.data_type())?.as_struct().clone();
    let nulls = map.nulls().cloned();
    Ok(Arc::new(MapArray::try_new(Arc::clone(entries), map.offsets().clone(), pairs, nulls, sorted)?))
}

/// Microseconds; parts of one are cut off towards the past, as Spark does.
fn to_micros(values: &ArrayRef, unit: TimeUnit) -> Result<TimestampMicrosecondArray, ArrowError> {
    let values = values.as_primitive::<Int64Type>();
    let times = |factor: i64| {
        values.try_unary::<_, Int64Type, _>(|value| {
            value.checked_mul(factor).ok_or_else(|| {
                ArrowError::ComputeError(format!("the timestamp {value} ({unit:?}s) does not fit into microseconds"))
            })
        })
    };
    let micros: Int64Array = match unit {
        TimeUnit::Second => times(1_000_000)?,
        TimeUnit::Millisecond => times(1_000)?,
        TimeUnit::Microsecond => values.clone(),
        TimeUnit::Nanosecond => values.unary(|value| value.div_euclid(1_000)),
    };
    Ok(micros.reinterpret_cast())
}

/// Arrow's cast, with an error instead of a null for a value that does not fit.
fn cast(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    cast_with_options(array, to, &CastOptions { safe: false, ..CastOptions::default() })
}

fn schema_with(schema: &Schema, change: fn(&DataType) -> DataType) -> Schema {
    let fields: Vec<FieldRef> = schema.fields().iter().map(|field| with_type(field, change)).collect();
    Schema::new_with_metadata(fields, schema.metadata().clone())
}

/// The field with its type changed; shared when that changes nothing.
fn with_type(field: &FieldRef, change: fn(&DataType) -> DataType) -> FieldRef {
    let data_type = change(field.data_type());
    if data_type == *field.data_type() {
        Arc::clone(field)
    } else {
        Arc::new(field.as_ref().clone().with_data_type(data_type))
    }
}

#[cfg(test)]
mod tests;
