//! Which types meet in an operator, and what they become.
//!
//! Owns: Spark's implicit conversions as functions from types to types. Does not own: the conversions themselves
//! (`functions::cast`).

use std::sync::Arc;

use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, Field, FieldRef, IntervalUnit, TimeUnit};

/// The digits before the point that a decimal may have beyond those after it when both do not fit: at least so many
/// digits after the point are kept.
const KEPT_SCALE: i32 = 6;

/// TIMESTAMP.
pub(super) fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// INTERVAL.
pub(super) const INTERVAL: DataType = DataType::Interval(IntervalUnit::MonthDayNano);

/// `ARRAY<item>`.
pub(super) fn array_of(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(item, true)))
}

/// The item type of an ARRAY.
pub(super) fn item_of(data_type: &DataType) -> Option<&DataType> {
    match data_type {
        DataType::List(item) => Some(item.data_type()),
        _ => None,
    }
}

/// The key and value fields of a MAP.
pub(super) fn entries_of(data_type: &DataType) -> Option<(&FieldRef, &FieldRef)> {
    let DataType::Map(entries, _) = data_type else { return None };
    match entries.data_type() {
        DataType::Struct(fields) if fields.len() == 2 => Some((&fields[0], &fields[1])),
        _ => None,
    }
}

/// STRING in any of its layouts.
pub(super) fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

/// BINARY in any of its layouts.
pub(super) fn is_binary(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Binary | DataType::LargeBinary | DataType::BinaryView)
}

/// TINYINT to BIGINT.
pub(super) fn is_integer(data_type: &DataType) -> bool {
    data_type.is_signed_integer()
}

/// FLOAT or DOUBLE.
pub(super) fn is_float(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Float32 | DataType::Float64)
}

/// DECIMAL.
pub(super) fn is_decimal(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Decimal128(..))
}

/// Any number.
pub(super) fn is_number(data_type: &DataType) -> bool {
    is_integer(data_type) || is_float(data_type) || is_decimal(data_type)
}

/// DATE, TIMESTAMP or `TIMESTAMP_NTZ`.
pub(super) fn is_time(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Date32 | DataType::Timestamp(..))
}

/// INTERVAL.
pub(super) fn is_interval(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Interval(_))
}

/// The DECIMAL that holds every value of an integer type, or the type itself when it is a DECIMAL.
pub(super) fn decimal_of(data_type: &DataType) -> Option<(u8, i8)> {
    match data_type {
        DataType::Int8 => Some((3, 0)),
        DataType::Int16 => Some((5, 0)),
        DataType::Int32 => Some((10, 0)),
        DataType::Int64 => Some((20, 0)),
        DataType::Decimal128(precision, scale) => Some((*precision, *scale)),
        _ => None,
    }
}

/// The DECIMAL with these digits, made to fit: digits after the point give way to those before it.
pub(super) fn bounded_decimal(precision: i32, scale: i32) -> DataType {
    let most = i32::from(DECIMAL128_MAX_PRECISION);
    let (precision, scale) = if precision <= most {
        (precision, scale)
    } else {
        (most, (most - (precision - scale)).max(scale.min(KEPT_SCALE)))
    };
    DataType::Decimal128(u8::try_from(precision).unwrap_or(DECIMAL128_MAX_PRECISION), i8::try_from(scale).unwrap_or(0))
}

/// The type two numbers meet in; strings count as DOUBLE.
pub(super) fn number_type(left: &DataType, right: &DataType) -> Option<DataType> {
    let widths = [DataType::Int8, DataType::Int16, DataType::Int32, DataType::Int64];
    if is_text(left) || is_text(right) {
        let number = |side| is_number(side) || is_text(side) || *side == DataType::Null;
        return (number(left) && number(right)).then_some(DataType::Float64);
    }
    match (left, right) {
        (DataType::Null, DataType::Null) => Some(DataType::Float64),
        (DataType::Null, other) | (other, DataType::Null) => is_number(other).then(|| other.clone()),
        _ if !is_number(left) || !is_number(right) => None,
        (DataType::Float64, _) | (_, DataType::Float64) => Some(DataType::Float64),
        (DataType::Float32, other) | (other, DataType::Float32) => {
            Some(if is_decimal(other) { DataType::Float64 } else { DataType::Float32 })
        }
        _ if is_decimal(left) || is_decimal(right) => wider_decimal(left, right),
        _ => widths.iter().rev().find(|width| *width == left || *width == right).cloned(),
    }
}

fn wider_decimal(left: &DataType, right: &DataType) -> Option<DataType> {
    let ((p1, s1), (p2, s2)) = (decimal_of(left)?, decimal_of(right)?);
    let (s1, s2) = (i32::from(s1), i32::from(s2));
    let whole = (i32::from(p1) - s1).max(i32::from(p2) - s2);
    let scale = s1.max(s2);
    Some(bounded_decimal(whole + scale, scale))
}

/// The type two sides of a comparison meet in: a string is read as what the other side is.
pub(super) fn comparison_type(left: &DataType, right: &DataType) -> Option<DataType> {
    let other = match (is_text(left), is_text(right)) {
        (true, false) => right,
        (false, true) => left,
        _ => return same_kind_comparison_type(left, right),
    };
    match other {
        DataType::Null => Some(DataType::Utf8View),
        DataType::Decimal128(..) => Some(DataType::Float64),
        other if is_binary(other) || other.is_nested() => None,
        other => Some(other.clone()),
    }
}

fn same_kind_comparison_type(left: &DataType, right: &DataType) -> Option<DataType> {
    match (left, right) {
        (DataType::Boolean, other) | (other, DataType::Boolean) if is_number(other) => Some(other.clone()),
        _ => common_type(left, right),
    }
}

/// The type that holds the values of both: branches of a condition, items of an array, rows of a union. A string wins
/// over every other plain type.
pub(super) fn common_type(left: &DataType, right: &DataType) -> Option<DataType> {
    if is_text(left) && is_text(right) {
        return Some(DataType::Utf8View);
    }
    match (left, right) {
        _ if left == right => Some(left.clone()),
        (DataType::Null, other) | (other, DataType::Null) => Some(other.clone()),
        (DataType::List(a), DataType::List(b)) => common_type(a.data_type(), b.data_type()).map(array_of),
        (DataType::Struct(a), DataType::Struct(b)) if a.len() == b.len() => {
            let fields = a.iter().zip(b).map(|(a, b)| common_field(a, b)).collect::<Option<Vec<_>>>()?;
            Some(DataType::Struct(fields.into()))
        }
        (DataType::Map(a, sorted), DataType::Map(b, _)) => {
            let entries = common_type(a.data_type(), b.data_type())?;
            Some(DataType::Map(Arc::new(a.as_ref().clone().with_data_type(entries)), *sorted))
        }
        (DataType::Timestamp(..) | DataType::Date32, DataType::Timestamp(_, Some(_)))
        | (DataType::Timestamp(_, Some(_)), DataType::Timestamp(..) | DataType::Date32) => Some(timestamp()),
        (time @ DataType::Timestamp(..), DataType::Date32) | (DataType::Date32, time @ DataType::Timestamp(..)) => {
            Some(time.clone())
        }
        _ if is_number(left) && is_number(right) => number_type(left, right),
        _ if is_text(left) && is_plain(right) || is_text(right) && is_plain(left) => Some(DataType::Utf8View),
        _ if is_binary(left) && is_binary(right) => Some(DataType::Binary),
        _ => None,
    }
}

fn is_plain(data_type: &DataType) -> bool {
    is_number(data_type) || is_time(data_type) || *data_type == DataType::Boolean
}

fn common_field(left: &FieldRef, right: &FieldRef) -> Option<FieldRef> {
    let data_type = common_type(left.data_type(), right.data_type())?;
    let nullable = left.is_nullable() || right.is_nullable();
    Some(Arc::new(Field::new(left.name(), data_type, nullable)))
}
