//! Turns the texts of one column into an Arrow array.
//!
//! Owns: how numbers, booleans, dates and timestamps are written in files, and the one `match` over column types. Does
//! not own: where the texts stand (CSV fields, JSON nodes), which is a [`Leaf`], nor STRING columns
//! ([`super::strings`]).

use std::sync::Arc;

use arrow::array::builder::{BooleanBufferBuilder, NullBufferBuilder};
use arrow::array::{ArrayRef, ArrowPrimitiveType, BooleanArray, PrimitiveArray};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimeUnit, TimestampMicrosecondType,
};

use crate::connector::options::Options;
use crate::error::{Error, Result};
use crate::types::{
    Pattern, Zone, parse_date, parse_decimal, parse_timestamp, parse_timestamp_ntz, type_name, usual_timestamp,
};

/// How dates and times are written in a file.
#[derive(Debug, Clone)]
pub(super) struct TimeFormats {
    zone: Zone,
    date: Option<Pattern>,
    timestamp: Option<Pattern>,
}

impl TimeFormats {
    /// Takes the options `dateFormat` and `timestampFormat`. `zone` is for times without one of their own.
    ///
    /// # Errors
    /// When a pattern has letters this crate does not know.
    pub(super) fn from_options(options: &Options, zone: Zone) -> Result<Self> {
        let pattern = |name| options.text(name).map(|text| Pattern::of_source(name, text)).transpose();
        Ok(Self { zone, date: pattern("dateFormat")?, timestamp: pattern("timestampFormat")? })
    }

    /// Days since 1970-01-01.
    pub(super) fn parse_date(&self, text: &[u8]) -> Option<i32> {
        match &self.date {
            Some(pattern) => pattern.date(text),
            None => parse_date(std::str::from_utf8(text).ok()?),
        }
    }

    /// Whether `text` is a date and nothing more, no time of day.
    pub(super) fn is_date(&self, text: &[u8]) -> bool {
        let is_short = self.date.is_some() || text.iter().all(|byte| byte.is_ascii_digit() || *byte == b'-');
        is_short && self.parse_date(text).is_some()
    }

    /// Microseconds since 1970-01-01T00:00:00Z.
    pub(super) fn parse_timestamp(&self, text: &[u8]) -> Option<i64> {
        match &self.timestamp {
            Some(pattern) => pattern.timestamp(text, self.zone),
            None => match usual_timestamp(text) {
                Some(local) => local.checked_sub(self.zone.offset_micros()),
                None => parse_timestamp(std::str::from_utf8(text).ok()?, self.zone),
            },
        }
    }

    /// Whether timestamps are in the forms of Spark's CAST, most of them `yyyy-MM-dd HH:mm:ss`.
    pub(super) fn has_usual_timestamps(&self) -> bool {
        self.timestamp.is_none()
    }

    /// How far the zone for times without one of their own is east of UTC, in microseconds.
    pub(super) fn zone_offset_micros(&self) -> i64 {
        self.zone.offset_micros()
    }

    /// What a column of this type, with a zone or without, holds for `text`.
    pub(super) fn timestamp_of(&self, data_type: &DataType, text: &[u8]) -> Option<i64> {
        match data_type {
            DataType::Timestamp(_, None) => self.parse_local_timestamp(text),
            _ => self.parse_timestamp(text),
        }
    }

    /// Microseconds since 1970-01-01T00:00:00 on the writer's clock.
    pub(super) fn parse_local_timestamp(&self, text: &[u8]) -> Option<i64> {
        match &self.timestamp {
            Some(pattern) => pattern.local_timestamp(text),
            None => match usual_timestamp(text) {
                Some(local) => Some(local),
                None => parse_timestamp_ntz(std::str::from_utf8(text).ok()?),
            },
        }
    }
}

/// Reads one value of a format; `None` when the value is not of the type asked for.
pub(super) trait Leaf<C> {
    /// A whole number.
    fn integer(&self, cell: C) -> Option<i64>;
    /// A FLOAT.
    fn float(&self, cell: C) -> Option<f32>;
    /// A DOUBLE.
    fn double(&self, cell: C) -> Option<f64>;
    /// A BOOLEAN.
    fn boolean(&self, cell: C) -> Option<bool>;
    /// The unscaled value of a DECIMAL.
    fn decimal(&self, cell: C, precision: u8, scale: i8) -> Option<i128>;
    /// Days since 1970-01-01.
    fn date(&self, cell: C) -> Option<i32>;
    /// Microseconds since 1970-01-01T00:00:00Z.
    fn timestamp(&self, cell: C) -> Option<i64>;
    /// Microseconds since 1970-01-01T00:00:00 on the writer's clock.
    fn local_timestamp(&self, cell: C) -> Option<i64>;
}

/// Reads a column of numbers, booleans or times. `None` cells are null; of a cell that `leaf` cannot read `on_bad` is
/// told the index, and it is null.
///
/// # Errors
/// When the type is none that [`is_leaf`].
pub(super) fn column<C>(
    data_type: &DataType,
    cells: impl ExactSizeIterator<Item = Option<C>>,
    leaf: &impl Leaf<C>,
    on_bad: impl FnMut(usize),
) -> Result<ArrayRef> {
    fn narrow<T: TryFrom<i64>>(value: Option<i64>) -> Option<T> {
        value.and_then(|value| T::try_from(value).ok())
    }
    Ok(match data_type {
        DataType::Boolean => booleans(cells, |cell| leaf.boolean(cell), on_bad),
        DataType::Int8 => primitive::<Int8Type, _>(data_type, cells, |cell| narrow(leaf.integer(cell)), on_bad),
        DataType::Int16 => primitive::<Int16Type, _>(data_type, cells, |cell| narrow(leaf.integer(cell)), on_bad),
        DataType::Int32 => primitive::<Int32Type, _>(data_type, cells, |cell| narrow(leaf.integer(cell)), on_bad),
        DataType::Int64 => primitive::<Int64Type, _>(data_type, cells, |cell| leaf.integer(cell), on_bad),
        DataType::Float32 => primitive::<Float32Type, _>(data_type, cells, |cell| leaf.float(cell), on_bad),
        DataType::Float64 => primitive::<Float64Type, _>(data_type, cells, |cell| leaf.double(cell), on_bad),
        DataType::Date32 => primitive::<Date32Type, _>(data_type, cells, |cell| leaf.date(cell), on_bad),
        DataType::Decimal128(precision, scale) => {
            let parse = |cell| leaf.decimal(cell, *precision, *scale);
            primitive::<Decimal128Type, _>(data_type, cells, parse, on_bad)
        }
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => {
            primitive::<TimestampMicrosecondType, _>(data_type, cells, |cell| leaf.timestamp(cell), on_bad)
        }
        DataType::Timestamp(TimeUnit::Microsecond, None) => {
            primitive::<TimestampMicrosecondType, _>(data_type, cells, |cell| leaf.local_timestamp(cell), on_bad)
        }
        other => return Err(Error::internal(format!("no text can be read as {}", type_name(other)))),
    })
}

/// Whether `column` reads this type.
pub(super) fn is_leaf(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Boolean
            | DataType::Int8
            | DataType::Int16
            | DataType::Int32
            | DataType::Int64
            | DataType::Float32
            | DataType::Float64
            | DataType::Date32
            | DataType::Decimal128(..)
            | DataType::Timestamp(TimeUnit::Microsecond, _)
    )
}

fn primitive<T: ArrowPrimitiveType, C>(
    data_type: &DataType,
    cells: impl ExactSizeIterator<Item = Option<C>>,
    parse: impl Fn(C) -> Option<T::Native>,
    mut on_bad: impl FnMut(usize),
) -> ArrayRef {
    let mut values = Vec::with_capacity(cells.len());
    let mut nulls = NullBufferBuilder::new(cells.len());
    for (index, cell) in cells.enumerate() {
        let is_null = cell.is_none();
        let value = cell.and_then(&parse);
        values.push(value.unwrap_or_default());
        nulls.append(value.is_some());
        if value.is_none() && !is_null {
            on_bad(index);
        }
    }
    let array = PrimitiveArray::<T>::new(values.into(), nulls.finish());
    Arc::new(array.with_data_type(data_type.clone()))
}

fn booleans<C>(
    cells: impl ExactSizeIterator<Item = Option<C>>,
    parse: impl Fn(C) -> Option<bool>,
    mut on_bad: impl FnMut(usize),
) -> ArrayRef {
    let mut values = BooleanBufferBuilder::new(cells.len());
    let mut nulls = NullBufferBuilder::new(cells.len());
    for (index, cell) in cells.enumerate() {
        let is_null = cell.is_none();
        let value = cell.and_then(&parse);
        values.append(value.unwrap_or(false));
        nulls.append(value.is_some());
        if value.is_none() && !is_null {
            on_bad(index);
        }
    }
    Arc::new(BooleanArray::new(values.finish(), nulls.finish()))
}

/// Decimal digits with an optional sign, nothing else.
pub(super) fn integer(text: &[u8]) -> Option<i64> {
    let is_negative = text.first() == Some(&b'-');
    let digits = text.strip_prefix(b"-").or_else(|| text.strip_prefix(b"+")).unwrap_or(text);
    if digits.is_empty() {
        return None;
    }
    if digits.len() < 19 {
        // So few digits do not overflow.
        let mut is_number = true;
        let value = digits.iter().fold(0i64, |value, digit| {
            let digit = digit.wrapping_sub(b'0');
            is_number &= digit <= 9;
            value.wrapping_mul(10).wrapping_add(i64::from(digit))
        });
        return is_number.then_some(if is_negative { -value } else { value });
    }
    // Counts below zero, where there is room for the smallest number.
    let negative = digits.iter().try_fold(0i64, |value, digit| {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 { None } else { value.checked_mul(10)?.checked_sub(i64::from(digit)) }
    })?;
    if is_negative { Some(negative) } else { negative.checked_neg() }
}

/// A floating-point number; `NaN`, `Inf`, `Infinity` with these capitals and an optional sign.
pub(super) fn float<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    let text = std::str::from_utf8(text.trim_ascii()).ok()?;
    let name = text.trim_start_matches(['-', '+']);
    let is_number = name.bytes().all(|byte| byte.is_ascii_digit() || b".eE+-".contains(&byte));
    if is_number || matches!(name, "NaN" | "Inf" | "INF" | "Infinity") { text.parse().ok() } else { None }
}

/// `true` or `false` in any case.
pub(super) fn boolean(text: &[u8]) -> Option<bool> {
    match text {
        text if text.eq_ignore_ascii_case(b"true") => Some(true),
        text if text.eq_ignore_ascii_case(b"false") => Some(false),
        _ => None,
    }
}

/// The unscaled value of a decimal number, rounded half away from zero; `None` when it has more than `precision`
/// digits.
pub(super) fn decimal(text: &[u8], precision: u8, scale: i8) -> Option<i128> {
    parse_decimal(std::str::from_utf8(text).ok()?, precision, scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_digits_and_nothing_else() {
        for text in ["0", "-1", "+7", "9223372036854775807", "-9223372036854775808"] {
            assert_eq!(integer(text.as_bytes()), text.parse().ok(), "{text}");
        }
        for text in ["", "-", "1.0", " 1", "9223372036854775808", "1e3", "١"] {
            assert_eq!(integer(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn floats_know_their_special_names_in_one_spelling() {
        assert_eq!(float::<f64>(b" 1.5e3 "), Some(1500.0));
        assert_eq!(float::<f64>(b"-Inf"), Some(f64::NEG_INFINITY));
        assert!(float::<f32>(b"NaN").unwrap().is_nan());
        assert_eq!(float::<f64>(b"nan"), None);
        assert_eq!(float::<f64>(b""), None);
    }
}
