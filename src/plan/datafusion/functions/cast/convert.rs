//! Columns converted from type to type.
//!
//! Owns: what each pair of types does, nested types included, and the error for a value that has no counterpart. Does
//! not own: which pairs are allowed (the parent module).

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, Date32Array, Int64Array, ListArray, MapArray,
    PrimitiveArray, StringViewArray, StructArray, TimestampMicrosecondArray,
};
use arrow::compute::kernels::cast::{CastOptions, cast_with_options};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit, TimeUnit, TimestampMicrosecondType,
};

use super::super::coerce::{is_binary, is_float, is_integer, is_number, is_text};
use super::super::kernel::text_rows;
use crate::error::{Error, Result};
use crate::types::{
    CellWriter, Zone, cell_text, parse_boolean, parse_date, parse_decimal, parse_double, parse_float, parse_integer,
    parse_interval, parse_timestamp, parse_timestamp_ntz, type_name, usual_timestamp,
};

/// Microseconds of a second and of a day.
const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;

/// One cast.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Conversion {
    /// The target.
    pub(super) to: DataType,
    /// Where strings are read and times are shown.
    pub(super) zone: Zone,
    /// A value without counterpart is an error instead of null.
    pub(super) strict: bool,
    /// What is converted, for that error.
    pub(super) column: String,
}

impl Conversion {
    /// Converts a column.
    pub(super) fn column_of(&self, array: &ArrayRef) -> Result<ArrayRef> {
        self.convert(array, &self.to)
    }

    fn convert(&self, array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
        if array.data_type() == to {
            return Ok(Arc::clone(array));
        }
        let converted = match (array.data_type(), to) {
            (DataType::List(_), DataType::List(_)) => return self.list(array.as_list(), to),
            (DataType::Struct(_), DataType::Struct(_)) => return self.fields(array.as_struct(), to),
            (DataType::Map(..), DataType::Map(..)) => return self.entries(array.as_map(), to),
            _ => self.plain(array, to)?,
        };
        if self.strict && converted.logical_null_count() > array.logical_null_count() {
            return Err(self.bad_value(array, &converted, to));
        }
        Ok(converted)
    }

    fn bad_value(&self, array: &ArrayRef, converted: &ArrayRef, to: &DataType) -> Error {
        let (before, after) = (array.logical_nulls(), converted.logical_nulls());
        let is_null = |nulls: &Option<arrow::buffer::NullBuffer>, row| nulls.as_ref().is_some_and(|n| n.is_null(row));
        let bad = (0..array.len()).find(|row| is_null(&after, *row) && !is_null(&before, *row));
        let value = bad.map_or_else(String::new, |row| cell_text(array.as_ref(), row, self.zone));
        Error::data(format!(
            "the value `{value}` of `{}` cannot be cast to {}; use try_cast to get null instead",
            self.column,
            type_name(to)
        ))
    }

    fn plain(&self, array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
        let array = &in_microseconds(array)?;
        let from = array.data_type();
        Ok(match to {
            _ if from.is_null() => lenient(array, to)?,
            to if is_text(to) && !is_text(from) => lenient(&self.texts_of(array)?, to)?,
            to if is_text(from) && !is_text(to) => self.read(array, to)?,
            to if is_integer(to) && is_float(from) => self.truncate(&lenient(array, &DataType::Float64)?, to),
            to if is_integer(to) && matches!(from, DataType::Timestamp(..)) => self.narrow(&seconds(array), to),
            to if is_integer(to) && is_number(from) => {
                self.narrow(lenient(array, &DataType::Int64)?.as_primitive(), to)
            }
            to if is_number(to) && matches!(from, DataType::Timestamp(..)) => numbers_of_times(array, to)?,
            DataType::Boolean if matches!(from, DataType::Decimal128(..)) => {
                let values = array.as_primitive::<Decimal128Type>();
                Arc::new(BooleanArray::from_unary(values, |value| value != 0))
            }
            DataType::Timestamp(..) if is_number(from) => times_of_numbers(array, to)?,
            DataType::Timestamp(..) if *from == DataType::Date32 => self.midnights(array.as_primitive(), to)?,
            DataType::Timestamp(..) if matches!(from, DataType::Timestamp(..)) => self.shifted(array, to)?,
            DataType::Date32 if matches!(from, DataType::Timestamp(..)) => self.days(array)?,
            to => lenient(array, to)?,
        })
    }

    /// Reads text.
    fn read(&self, array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
        let text = lenient(array, &DataType::Utf8View)?;
        let text = text.as_string_view();
        Ok(match to {
            DataType::Boolean => {
                Arc::new(text.iter().map(|cell| cell.and_then(parse_boolean)).collect::<BooleanArray>())
            }
            DataType::Int8 => Arc::new(read_cells::<Int8Type>(text, parse_integer)),
            DataType::Int16 => Arc::new(read_cells::<Int16Type>(text, parse_integer)),
            DataType::Int32 => Arc::new(read_cells::<Int32Type>(text, parse_integer)),
            DataType::Int64 => Arc::new(read_cells::<Int64Type>(text, parse_integer)),
            DataType::Float32 => Arc::new(read_cells::<Float32Type>(text, parse_float)),
            DataType::Float64 => Arc::new(read_cells::<Float64Type>(text, parse_double)),
            DataType::Decimal128(precision, scale) => {
                let numbers = read_cells::<Decimal128Type>(text, |cell| parse_decimal(cell, *precision, *scale));
                Arc::new(numbers.with_precision_and_scale(*precision, *scale)?)
            }
            DataType::Date32 => Arc::new(read_cells::<Date32Type>(text, parse_date)),
            DataType::Timestamp(TimeUnit::Microsecond, None) => {
                Arc::new(read_cells::<TimestampMicrosecondType>(text, parse_timestamp_ntz))
            }
            DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => {
                let times = read_cells::<TimestampMicrosecondType>(text, |cell| {
                    // Nearly all times are in this form, and it takes no time to see that one is not.
                    let usual = usual_timestamp(cell.as_bytes()).map(|local| local - self.zone.offset_micros());
                    usual.or_else(|| parse_timestamp(cell, self.zone))
                });
                Arc::new(times.with_data_type(to.clone()))
            }
            DataType::Interval(IntervalUnit::MonthDayNano) => {
                Arc::new(read_cells::<IntervalMonthDayNanoType>(text, read_interval))
            }
            to => lenient(array, to)?,
        })
    }

    /// The text a table would show.
    fn texts_of(&self, array: &ArrayRef) -> Result<ArrayRef> {
        if is_binary(array.data_type()) {
            let bytes = lenient(array, &DataType::Binary)?;
            let cells = bytes.as_binary::<i32>().iter();
            return Ok(Arc::new(cells.map(|cell| cell.map(String::from_utf8_lossy)).collect::<StringViewArray>()));
        }
        let writer = CellWriter::new(array, self.zone);
        Ok(text_rows(std::slice::from_ref(array), |row, out| {
            writer.write(row, out);
            true
        }))
    }

    /// Cuts the digits after the point off; too large numbers become the largest ones (TINYINT and SMALLINT: those of
    /// INT, wrapped around), as in Java.
    #[expect(clippy::cast_possible_truncation, reason = "a float's cast saturates, which is what Java's does")]
    fn truncate(&self, array: &ArrayRef, to: &DataType) -> ArrayRef {
        let numbers = array.as_primitive::<Float64Type>();
        if self.strict {
            // 2^63 is the first double that BIGINT cannot hold.
            let all = -9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0;
            return whole_numbers(
                &numbers.unary_opt(|number| all.contains(&number).then_some(number as i64)),
                to,
                true,
            );
        }
        if *to == DataType::Int64 {
            return Arc::new(numbers.unary::<_, Int64Type>(|number| number as i64));
        }
        whole_numbers(&numbers.unary(|number| i64::from(number as i32)), to, false)
    }

    fn narrow(&self, numbers: &Int64Array, to: &DataType) -> ArrayRef {
        whole_numbers(numbers, to, self.strict)
    }

    fn offset(&self) -> i64 {
        i64::from(self.zone.offset_seconds()) * SECOND
    }

    /// The day a time falls on, in the zone.
    fn days(&self, array: &ArrayRef) -> Result<ArrayRef> {
        let offset = if is_zoned(array.data_type()) { self.offset() } else { 0 };
        let times = lenient(array, &DataType::Timestamp(TimeUnit::Microsecond, None))?;
        let day = |time: i64| i32::try_from(time.saturating_add(offset).div_euclid(DAY)).ok();
        Ok(Arc::new(times.as_primitive::<TimestampMicrosecondType>().unary_opt::<_, Date32Type>(day)))
    }

    /// The begin of each day, in the zone.
    fn midnights(&self, days: &Date32Array, to: &DataType) -> Result<ArrayRef> {
        let offset = if is_zoned(to) { self.offset() } else { 0 };
        let time = |day: i32| i64::from(day).checked_mul(DAY)?.checked_sub(offset);
        let times = days.unary_opt::<_, TimestampMicrosecondType>(time);
        lenient(&(Arc::new(times) as ArrayRef), &DataType::Timestamp(TimeUnit::Microsecond, None))
            .and_then(|times| relabelled(&times, to))
    }

    /// Between TIMESTAMP and `TIMESTAMP_NTZ`: the same reading of the clock in the zone.
    fn shifted(&self, array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
        let offset = match (is_zoned(array.data_type()), is_zoned(to)) {
            (true, false) => self.offset(),
            (false, true) => -self.offset(),
            _ => 0,
        };
        let times = lenient(array, &DataType::Timestamp(TimeUnit::Microsecond, None))?;
        let times = times.as_primitive::<TimestampMicrosecondType>();
        let times: ArrayRef = Arc::new(times.unary_opt::<_, TimestampMicrosecondType>(|time| time.checked_add(offset)));
        relabelled(&times, to)
    }

    fn list(&self, list: &ListArray, to: &DataType) -> Result<ArrayRef> {
        let DataType::List(item) = to else { return lenient(&(Arc::new(list.clone()) as ArrayRef), to) };
        let values = self.convert(list.values(), item.data_type())?;
        Ok(Arc::new(ListArray::try_new(Arc::clone(item), list.offsets().clone(), values, list.nulls().cloned())?))
    }

    fn fields(&self, fields: &StructArray, to: &DataType) -> Result<ArrayRef> {
        let DataType::Struct(targets) = to else { return lenient(&(Arc::new(fields.clone()) as ArrayRef), to) };
        let columns = fields.columns().iter().zip(targets).map(|(column, to)| self.convert(column, to.data_type()));
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let nulls = fields.nulls().cloned();
        Ok(Arc::new(StructArray::try_new_with_length(targets.clone(), columns, nulls, fields.len())?))
    }

    fn entries(&self, map: &MapArray, to: &DataType) -> Result<ArrayRef> {
        let DataType::Map(field, sorted) = to else { return lenient(&(Arc::new(map.clone()) as ArrayRef), to) };
        let entries = self.fields(map.entries(), field.data_type())?;
        let (offsets, nulls) = (map.offsets().clone(), map.nulls().cloned());
        Ok(Arc::new(MapArray::try_new(Arc::clone(field), offsets, entries.as_struct().clone(), nulls, *sorted)?))
    }
}

fn read_cells<T: ArrowPrimitiveType>(
    text: &StringViewArray,
    read: impl Fn(&str) -> Option<T::Native>,
) -> PrimitiveArray<T> {
    text.iter().map(|cell| cell.and_then(&read)).collect()
}

fn read_interval(text: &str) -> Option<IntervalMonthDayNano> {
    let interval = parse_interval(text).ok()?;
    Some(IntervalMonthDayNano::new(interval.months, interval.days, interval.micros.checked_mul(1000)?))
}

fn is_zoned(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Timestamp(_, Some(_)))
}

/// Arrow's cast with null for what does not fit.
fn lenient(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    let options = CastOptions { safe: true, ..CastOptions::default() };
    Ok(cast_with_options(array, to, &options)?)
}

/// Times of DataFusion's functions come in other units.
fn in_microseconds(array: &ArrayRef) -> Result<ArrayRef> {
    match array.data_type() {
        DataType::Timestamp(unit, zone) if *unit != TimeUnit::Microsecond => {
            lenient(array, &DataType::Timestamp(TimeUnit::Microsecond, zone.clone()))
        }
        _ => Ok(Arc::clone(array)),
    }
}

/// The same microseconds under another label of zone and unit.
fn relabelled(times: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    let micros = times.as_primitive::<TimestampMicrosecondType>().clone();
    if let DataType::Timestamp(TimeUnit::Microsecond, zone) = to {
        return Ok(Arc::new(micros.with_timezone_opt(zone.clone())));
    }
    let DataType::Timestamp(_, zone) = to else { return lenient(times, to) };
    lenient(&(Arc::new(micros.with_timezone_opt(zone.clone())) as ArrayRef), to)
}

/// Narrows to an integer type: what does not fit is null when `checked` and wraps around otherwise.
#[expect(clippy::cast_possible_truncation, reason = "Spark's casts wrap around")]
fn whole_numbers(numbers: &Int64Array, to: &DataType, checked: bool) -> ArrayRef {
    match to {
        DataType::Int8 => narrowed::<Int8Type>(numbers, checked, |number| number as i8),
        DataType::Int16 => narrowed::<Int16Type>(numbers, checked, |number| number as i16),
        DataType::Int32 => narrowed::<Int32Type>(numbers, checked, |number| number as i32),
        _ => Arc::new(numbers.clone()),
    }
}

fn narrowed<T>(numbers: &Int64Array, checked: bool, wrap: impl Fn(i64) -> T::Native) -> ArrayRef
where
    T: ArrowPrimitiveType,
    T::Native: TryFrom<i64>,
{
    let narrowed: PrimitiveArray<T> =
        if checked { numbers.unary_opt(|number| T::Native::try_from(number).ok()) } else { numbers.unary(wrap) };
    Arc::new(narrowed)
}

/// Whole seconds since 1970, rounded down.
fn seconds(times: &ArrayRef) -> Int64Array {
    times.as_primitive::<TimestampMicrosecondType>().unary(|time| time.div_euclid(SECOND))
}

/// Seconds since 1970 with their fraction.
#[expect(clippy::cast_precision_loss, reason = "a DOUBLE of seconds is exact to the microsecond for 285 years")]
fn numbers_of_times(times: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    let micros = times.as_primitive::<TimestampMicrosecondType>();
    if is_float(to) {
        let seconds = micros.unary::<_, Float64Type>(|time| time as f64 / SECOND as f64);
        return lenient(&(Arc::new(seconds) as ArrayRef), to);
    }
    let exact = micros.unary::<_, Decimal128Type>(i128::from).with_precision_and_scale(20, 6)?;
    lenient(&(Arc::new(exact) as ArrayRef), to)
}

/// Times out of seconds since 1970: whole ones saturate, fractions are cut at the microsecond, NaN and infinity are
/// null.
#[expect(clippy::cast_possible_truncation, reason = "a float's cast saturates, which is what Java's does")]
#[expect(clippy::cast_precision_loss, reason = "the factor is a small power of ten")]
fn times_of_numbers(numbers: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    let times: TimestampMicrosecondArray = match numbers.data_type() {
        DataType::Float32 | DataType::Float64 => {
            let numbers = lenient(numbers, &DataType::Float64)?;
            let time = |seconds: f64| seconds.is_finite().then_some((seconds * SECOND as f64) as i64);
            numbers.as_primitive::<Float64Type>().unary_opt(time)
        }
        DataType::Decimal128(..) => {
            let numbers = lenient(numbers, &DataType::Decimal128(38, 6))?;
            numbers.as_primitive::<Decimal128Type>().unary_opt(|micros| i64::try_from(micros).ok())
        }
        _ => {
            let numbers = lenient(numbers, &DataType::Int64)?;
            numbers.as_primitive::<Int64Type>().unary(|seconds| seconds.saturating_mul(SECOND))
        }
    };
    relabelled(&(Arc::new(times) as ArrayRef), to)
}
