//! One value of a column as text, as Spark's `show` prints it.
//!
//! Owns: the text of every type, nested ones in full. Does not own: boxes, padding, cutting and escaping (`table`).
//!
//! | type | text |
//! |---|---|
//! | null, at any depth | `NULL` |
//! | numbers, dates, timestamps | as in `number` and `time`; TIMESTAMP in the given zone |
//! | BINARY | `[61 62]` |
//! | ARRAY, STRUCT, MAP | `[a, b]`, `{a, b}`, `{k -> v}` |
//! | INTERVAL without months | `INTERVAL '0 00:05:00' DAY TO SECOND` |
//! | INTERVAL of months | `INTERVAL '1-2' YEAR TO MONTH` |
//! | INTERVAL of both | `1 years 2 months 3 days 4 hours` |

use std::fmt::{Display, Write};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Date32Array, Decimal128Array, DurationMicrosecondArray,
    Float32Array, Float64Array, Int8Array, Int16Array, Int32Array, Int64Array, IntervalMonthDayNanoArray,
    PrimitiveArray, StringViewArray, TimestampMicrosecondArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{ArrowPrimitiveType, DataType, IntervalMonthDayNano, IntervalUnit, TimeUnit};
use arrow::util::display::array_value_to_string;

use super::calendar::{MICROS_PER_DAY, MICROS_PER_SECOND};
use super::convert::{convert, engine_type};
use super::number::{write_decimal, write_floating};
use super::time::{write_clock, write_date, write_timestamp};
use super::zone::Zone;

/// The text of the value in `row`, with timestamps in `zone`. For many rows make one [`CellWriter`].
///
/// # Panics
/// When there is no such row.
pub fn cell_text(array: &dyn Array, row: usize, zone: Zone) -> String {
    let mut text = String::new();
    CellWriter::new(&array.slice(row, 1), zone).write(0, &mut text);
    text
}

/// Writes the values of one column as text.
///
/// Making one looks at the type once and, for a column in other than engine types, converts it; writing a cell then
/// allocates nothing but room in the text.
#[derive(Debug, Clone)]
pub struct CellWriter {
    nulls: Option<NullBuffer>,
    values: Values,
}

/// The values by how they are written.
#[derive(Debug, Clone)]
enum Values {
    Void,
    Boolean(BooleanArray),
    Int8(Int8Array),
    Int16(Int16Array),
    Int32(Int32Array),
    Int64(Int64Array),
    Float(Float32Array),
    Double(Float64Array),
    Decimal(Decimal128Array, i8),
    Text(StringViewArray),
    Binary(BinaryArray),
    Date(Date32Array),
    /// With the zone it is shown in.
    Timestamp(TimestampMicrosecondArray, Zone),
    Interval(IntervalMonthDayNanoArray),
    Duration(DurationMicrosecondArray),
    List(OffsetBuffer<i32>, Box<CellWriter>),
    Map(OffsetBuffer<i32>, Box<CellWriter>, Box<CellWriter>),
    Struct(Vec<CellWriter>),
    /// Types Spark does not have, as Arrow writes them.
    Other(ArrayRef),
}

impl CellWriter {
    /// A writer for `array`, with timestamps in `zone`.
    pub fn new(array: &ArrayRef, zone: Zone) -> Self {
        let engine = match array.data_type() {
            DataType::Duration(_) => convert(array, &DataType::Duration(TimeUnit::Microsecond)),
            other => convert(array, &engine_type(other)),
        };
        // A value the engine cannot hold can still be printed in Arrow's words.
        let values = engine.as_ref().map_or_else(|_| Values::Other(Arc::clone(array)), |array| Values::of(array, zone));
        Self { nulls: array.logical_nulls(), values }
    }

    /// Appends the text of the value in `row`.
    ///
    /// # Panics
    /// When there is no such row.
    pub fn write(&self, row: usize, out: &mut String) {
        if self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            out.push_str("NULL");
            return;
        }
        match &self.values {
            Values::Void => out.push_str("NULL"),
            Values::Boolean(values) => out.push_str(if values.value(row) { "true" } else { "false" }),
            Values::Int8(values) => write_plain(out, values, row),
            Values::Int16(values) => write_plain(out, values, row),
            Values::Int32(values) => write_plain(out, values, row),
            Values::Int64(values) => write_plain(out, values, row),
            Values::Float(values) => write_floating(out, values.value(row)),
            Values::Double(values) => write_floating(out, values.value(row)),
            Values::Decimal(values, scale) => write_decimal(out, values.value(row), *scale),
            Values::Text(values) => out.push_str(values.value(row)),
            Values::Binary(values) => write_bytes(out, values.value(row)),
            Values::Date(values) => write_date(out, i64::from(values.value(row))),
            Values::Timestamp(values, zone) => write_timestamp(out, values.value(row), *zone),
            Values::Interval(values) => write_interval(out, values.value(row)),
            Values::Duration(values) => write_day_time(out, i128::from(values.value(row))),
            Values::List(offsets, element) => {
                write_joined(out, "[]", bounds(offsets, row), |item, out| element.write(item, out));
            }
            Values::Map(offsets, key, value) => write_joined(out, "{}", bounds(offsets, row), |item, out| {
                key.write(item, out);
                out.push_str(" -> ");
                value.write(item, out);
            }),
            Values::Struct(fields) => {
                write_joined(out, "{}", 0..fields.len(), |field, out| fields[field].write(row, out));
            }
            Values::Other(array) => out.push_str(&array_value_to_string(array, row).unwrap_or_default()),
        }
    }
}

impl Values {
    /// `array` is of an engine type.
    fn of(array: &ArrayRef, zone: Zone) -> Self {
        match array.data_type() {
            DataType::Null => Self::Void,
            DataType::Boolean => Self::Boolean(array.as_boolean().clone()),
            DataType::Int8 => Self::Int8(array.as_primitive().clone()),
            DataType::Int16 => Self::Int16(array.as_primitive().clone()),
            DataType::Int32 => Self::Int32(array.as_primitive().clone()),
            DataType::Int64 => Self::Int64(array.as_primitive().clone()),
            DataType::Float32 => Self::Float(array.as_primitive().clone()),
            DataType::Float64 => Self::Double(array.as_primitive().clone()),
            DataType::Decimal128(_, scale) => Self::Decimal(array.as_primitive().clone(), *scale),
            DataType::Utf8View => Self::Text(array.as_string_view().clone()),
            DataType::Binary => Self::Binary(array.as_binary().clone()),
            DataType::Date32 => Self::Date(array.as_primitive().clone()),
            DataType::Timestamp(TimeUnit::Microsecond, stored) => {
                let zone = if stored.is_some() { zone } else { Zone::UTC };
                Self::Timestamp(array.as_primitive().clone(), zone)
            }
            DataType::Interval(IntervalUnit::MonthDayNano) => Self::Interval(array.as_primitive().clone()),
            DataType::Duration(TimeUnit::Microsecond) => Self::Duration(array.as_primitive().clone()),
            DataType::List(_) => {
                let list = array.as_list::<i32>();
                Self::List(list.offsets().clone(), Box::new(CellWriter::new(list.values(), zone)))
            }
            DataType::Map(..) => {
                let map = array.as_map();
                let part = |values| Box::new(CellWriter::new(values, zone));
                Self::Map(map.offsets().clone(), part(map.keys()), part(map.values()))
            }
            DataType::Struct(_) => {
                Self::Struct(array.as_struct().columns().iter().map(|field| CellWriter::new(field, zone)).collect())
            }
            _ => Self::Other(Arc::clone(array)),
        }
    }
}

fn write_plain<T: ArrowPrimitiveType<Native: Display>>(out: &mut String, values: &PrimitiveArray<T>, row: usize) {
    // Writing to a string cannot fail.
    let _ = write!(out, "{}", values.value(row));
}

/// Where the items of a row begin and end; offsets are never negative.
fn bounds(offsets: &OffsetBuffer<i32>, row: usize) -> std::ops::Range<usize> {
    offsets[row].cast_unsigned() as usize..offsets[row + 1].cast_unsigned() as usize
}

/// Writes items with commas between and `brackets` around them.
fn write_joined(
    out: &mut String,
    brackets: &str,
    items: std::ops::Range<usize>,
    mut write_item: impl FnMut(usize, &mut String),
) {
    out.push_str(&brackets[..1]);
    let start = items.start;
    for item in items {
        if item > start {
            out.push_str(", ");
        }
        write_item(item, out);
    }
    out.push_str(&brackets[1..]);
}

fn write_bytes(out: &mut String, bytes: &[u8]) {
    out.push('[');
    for (index, byte) in bytes.iter().enumerate() {
        let _ = write!(out, "{}{byte:02X}", if index > 0 { " " } else { "" });
    }
    out.push(']');
}

fn write_interval(out: &mut String, interval: IntervalMonthDayNano) {
    let micros = interval.nanoseconds.div_euclid(1_000);
    match (interval.months, interval.days, micros) {
        (0, days, micros) => write_day_time(out, i128::from(days) * i128::from(MICROS_PER_DAY) + i128::from(micros)),
        (months, 0, 0) => {
            let size = months.unsigned_abs();
            let sign = if months < 0 { "-" } else { "" };
            let _ = write!(out, "INTERVAL '{sign}{}-{}' YEAR TO MONTH", size / 12, size % 12);
        }
        (months, days, micros) => write_parts(out, i64::from(months), i64::from(days), micros),
    }
}

/// Writes a length of time that has no months, in microseconds.
fn write_day_time(out: &mut String, micros: i128) {
    let size = micros.unsigned_abs();
    let day = u128::from(MICROS_PER_DAY.unsigned_abs());
    let sign = if micros < 0 { "-" } else { "" };
    let _ = write!(out, "INTERVAL '{sign}{} ", size / day);
    write_clock(out, i64::try_from(size % day).unwrap_or_default());
    out.push_str("' DAY TO SECOND");
}

/// Writes each part that is not zero with its unit, as Spark writes a calendar interval.
fn write_parts(out: &mut String, months: i64, days: i64, micros: i64) {
    let start = out.len();
    let seconds = micros / MICROS_PER_SECOND;
    let parts = [
        (months / 12, "years"),
        (months % 12, "months"),
        (days, "days"),
        (seconds / 3600, "hours"),
        (seconds / 60 % 60, "minutes"),
    ];
    for (value, unit) in parts.into_iter().filter(|(value, _)| *value != 0) {
        let _ = write!(out, "{value} {unit} ");
    }
    let rest = micros % (60 * MICROS_PER_SECOND);
    if rest != 0 {
        let sign = if rest < 0 { "-" } else { "" };
        let size = rest.unsigned_abs();
        let _ = write!(out, "{sign}{}.{:06}", size / 1_000_000, size % 1_000_000);
        out.truncate(out.trim_end_matches('0').trim_end_matches('.').len());
        out.push_str(" seconds ");
    }
    out.truncate(start + out[start..].trim_end().len());
}

#[cfg(test)]
mod tests {
    use arrow::array::{
        Decimal256Array, DictionaryArray, DurationSecondArray, ListArray, MapBuilder, NullArray, StringArray,
        StringBuilder, StructArray, Time64MicrosecondArray, TimestampSecondArray, UInt64Array,
    };
    use arrow::datatypes::{Field, Int32Type};

    use super::*;

    fn texts(array: &dyn Array) -> Vec<String> {
        (0..array.len()).map(|row| cell_text(array, row, Zone::parse("+08:00").unwrap())).collect()
    }

    #[test]
    fn scalars_are_written_as_show_writes_them() {
        let cases: Vec<(ArrayRef, &[&str])> = vec![
            (Arc::new(NullArray::new(1)), &["NULL"]),
            (Arc::new(BooleanArray::from(vec![Some(true), None])), &["true", "NULL"]),
            (Arc::new(Int8Array::from(vec![-7])), &["-7"]),
            (Arc::new(UInt64Array::from(vec![u64::MAX])), &["18446744073709551615"]),
            (Arc::new(Float32Array::from(vec![0.1])), &["0.1"]),
            (Arc::new(Float64Array::from(vec![1e10])), &["1.0E10"]),
            (Arc::new(Decimal128Array::from(vec![150]).with_precision_and_scale(5, 2).unwrap()), &["1.50"]),
            (Arc::new(Decimal256Array::from_iter_values([arrow::datatypes::i256::from(5)])), &["0.0000000005"]),
            (Arc::new(StringArray::from(vec!["a word of some length"])), &["a word of some length"]),
            (Arc::new(BinaryArray::from(vec![b"a\xff".as_slice(), b""])), &["[61 FF]", "[]"]),
            (Arc::new(Date32Array::from(vec![19_675])), &["2023-11-14"]),
            (Arc::new(TimestampSecondArray::from(vec![0]).with_timezone("UTC")), &["1970-01-01 08:00:00"]),
            (Arc::new(TimestampSecondArray::from(vec![0])), &["1970-01-01 00:00:00"]),
            (Arc::new(Time64MicrosecondArray::from(vec![1_000_000])), &["00:00:01"]),
            (Arc::new(["x"].into_iter().collect::<DictionaryArray<Int32Type>>()), &["x"]),
        ];
        for (array, expected) in cases {
            assert_eq!(texts(&array), expected, "{}", array.data_type());
        }
    }

    #[test]
    fn intervals_are_written_by_the_parts_they_have() {
        let interval = |months, days, micros: i64| IntervalMonthDayNano::new(months, days, micros * 1_000);
        let cases = [
            (interval(0, 0, 300_000_000), "INTERVAL '0 00:05:00' DAY TO SECOND"),
            (interval(0, -1, -1_500_000), "INTERVAL '-1 00:00:01.5' DAY TO SECOND"),
            (interval(0, 1, -3_600_000_000), "INTERVAL '0 23:00:00' DAY TO SECOND"),
            (interval(14, 0, 0), "INTERVAL '1-2' YEAR TO MONTH"),
            (interval(-1, 0, 0), "INTERVAL '-0-1' YEAR TO MONTH"),
            (interval(13, 2, 3_661_500_000), "1 years 1 months 2 days 1 hours 1 minutes 1.5 seconds"),
            (interval(1, 0, -10_000_000), "1 months -10 seconds"),
            (interval(1, 3, 0), "1 months 3 days"),
        ];
        for (value, expected) in cases {
            assert_eq!(texts(&IntervalMonthDayNanoArray::from(vec![value])), [expected]);
        }
        let duration = DurationSecondArray::from(vec![-86_401]);
        assert_eq!(texts(&duration), ["INTERVAL '-1 00:00:01' DAY TO SECOND"]);
    }

    #[test]
    fn nested_values_are_written_in_full_with_nulls_inside() {
        let list = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), None]), Some(vec![]), None]);
        assert_eq!(texts(&list.clone()), ["[1, NULL]", "[]", "NULL"]);
        assert_eq!(texts(&list.slice(1, 2)), ["[]", "NULL"]);

        let mut map = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
        map.keys().append_value("k");
        map.values().append_value("v");
        map.keys().append_value("n");
        map.values().append_null();
        map.append(true).unwrap();
        map.append(true).unwrap();
        assert_eq!(texts(&map.finish()), ["{k -> v, n -> NULL}", "{}"]);

        let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![0, 1]).with_timezone("UTC"));
        let structs = StructArray::from(vec![
            (Arc::new(Field::new("t", times.data_type().clone(), true)), times),
            (Arc::new(Field::new("l", list.data_type().clone(), true)), Arc::new(list.slice(1, 2)) as ArrayRef),
        ]);
        assert_eq!(texts(&structs), ["{1970-01-01 08:00:00, []}", "{1970-01-01 08:00:00.000001, NULL}"]);
    }

    #[test]
    fn a_null_under_a_null_struct_is_one_null() {
        let values: ArrayRef = Arc::new(Int32Array::from(vec![5]));
        let fields = vec![Field::new("a", DataType::Int32, true)];
        let structs = StructArray::new(fields.into(), vec![values], Some(NullBuffer::from(vec![false])));
        assert_eq!(texts(&structs), ["NULL"]);
    }
}
