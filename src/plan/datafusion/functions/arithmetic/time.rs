//! Arithmetic of dates, times and intervals.
//!
//! Owns: times moved by intervals, differences of times, intervals made longer. Does not own: numbers.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, IntervalMonthDayNanoArray};
use arrow::compute::kernels::numeric;
use arrow::datatypes::{
    DataType, Date32Type, Float64Type, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, TimeUnit,
    TimestampMicrosecondType,
};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, Operator, binary_expr, cast as arrow_cast, lit};

use super::super::call::Call;
use super::super::coerce::{INTERVAL, is_integer, is_interval, is_number, is_text, is_time, timestamp};
use super::super::kernel::{self, Kernel, two_numbers};
use crate::error::{Error, Result};
use crate::operator::Micros;
use crate::types::Zone;

/// Microseconds of a second and of a day.
const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;

/// `left ± right` where at least one is a time or an interval.
pub(super) fn plus_or_minus(call: &Call<'_>, operator: Operator, left: Expr, right: Expr) -> Result<Expr> {
    let types = [call.type_of(&left)?, call.type_of(&right)?];
    let subtract = operator == Operator::Minus;
    match (&types[0], &types[1]) {
        (DataType::Null, other) | (other, DataType::Null) => {
            Ok(lit(ScalarValue::try_from(other).map_err(super::plan_error)?))
        }
        (a, b) if is_interval(a) && is_interval(b) => {
            let (left, right) = (call.cast(left, &INTERVAL)?, call.cast(right, &INTERVAL)?);
            Ok(binary_expr(left, operator, right))
        }
        (time, b) if is_interval(b) && (is_time(time) || is_text(time)) => moved(call, operator, left, right),
        (a, time) if is_interval(a) && !subtract && (is_time(time) || is_text(time)) => {
            moved(call, operator, right, left)
        }
        (DataType::Date32, days) if is_integer(days) => days_later(call, operator, left, right),
        (days, DataType::Date32) if is_integer(days) && !subtract => days_later(call, operator, right, left),
        (a, b) if subtract && [a, b].iter().all(|side| is_time(side) || is_text(side)) => elapsed(call, left, right),
        _ => Err(call.mismatch(&types)),
    }
}

/// A date some days later or earlier.
pub(in super::super) fn days_later(call: &Call<'_>, operator: Operator, date: Expr, days: Expr) -> Result<Expr> {
    let date = arrow_cast(call.date(date)?, DataType::Int32);
    Ok(arrow_cast(binary_expr(date, operator, call.int(days)?), DataType::Date32))
}

/// A time moved by an interval. A date stays a date unless a constant interval has hours.
fn moved(call: &Call<'_>, operator: Operator, time: Expr, interval: Expr) -> Result<Expr> {
    let constant = match &interval {
        Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(value)), _) => Some(*value),
        _ => None,
    };
    let interval = call.cast(interval, &INTERVAL)?;
    let has_hours = constant.is_some_and(|value| value.nanoseconds != 0);
    let time = match call.type_of(&time)? {
        DataType::Date32 if !has_hours => return Ok(binary_expr(time, operator, interval)),
        DataType::Timestamp(_, None) => call.cast(time, &DataType::Timestamp(TimeUnit::Microsecond, None))?,
        _ => call.timestamp(time)?,
    };
    let same_everywhere = constant.is_some_and(|value| value.months == 0) || call.zone.offset_seconds() == 0;
    let returns = call.type_of(&time)?;
    if same_everywhere || matches!(returns, DataType::Timestamp(_, None)) {
        return Ok(binary_expr(time, operator, interval)); // plain, so that join conditions can look into it
    }
    let moved = MovedInZone { zone: call.zone, subtract: operator == Operator::Minus };
    Ok(kernel::call(moved, returns, vec![time, interval]))
}

/// The interval between two times.
fn elapsed(call: &Call<'_>, left: Expr, right: Expr) -> Result<Expr> {
    let dates = call.type_of(&left)? == DataType::Date32 && call.type_of(&right)? == DataType::Date32;
    let to = if dates { DataType::Date32 } else { timestamp() };
    let args = vec![call.cast(left, &to)?, call.cast(right, &to)?];
    Ok(kernel::call(Elapsed, INTERVAL, args))
}

/// An interval times (or divided by) a number.
pub(super) fn scaled(call: &Call<'_>, interval: Expr, number: Expr, divide: bool) -> Result<Expr> {
    let data_type = call.type_of(&number)?;
    if !is_number(&data_type) && !is_text(&data_type) && !data_type.is_null() {
        return Err(call.mismatch(&[INTERVAL, data_type]));
    }
    let to = if is_integer(&data_type) && !divide { DataType::Int64 } else { DataType::Float64 };
    let args = vec![call.cast(interval, &INTERVAL)?, call.cast(number, &to)?];
    Ok(kernel::call(Scaled { divide, ansi: call.ansi }, INTERVAL, args))
}

/// `time ± interval` for a constant interval without months, as a sum of microseconds: there is no calendar to ask. Any other
/// expression gives `None`.
pub(in crate::plan::datafusion) fn shifted_by_constant(expr: &Expr, schema: &DFSchema) -> Option<Expr> {
    let Expr::BinaryExpr(BinaryExpr { left, op: op @ (Operator::Plus | Operator::Minus), right }) = expr else {
        return None;
    };
    let Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(interval)), _) = right.as_ref() else { return None };
    let returns = left.get_type(schema).ok()?;
    let is_time = matches!(returns, DataType::Timestamp(TimeUnit::Microsecond, _));
    if !is_time || interval.months != 0 || interval.nanoseconds % 1000 != 0 {
        return None;
    }
    let micros = i64::from(interval.days).checked_mul(DAY)?.checked_add(interval.nanoseconds / 1000)?;
    let micros = if *op == Operator::Minus { micros.checked_neg()? } else { micros };
    Some(kernel::call(Shifted { micros }, returns, vec![left.as_ref().clone()]))
}

/// Times moved by so many microseconds.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Shifted {
    micros: i64,
}

impl Kernel for Shifted {
    fn name(&self) -> &'static str {
        "shifted"
    }

    fn evaluate(&self, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        let times = arguments[0].as_primitive::<TimestampMicrosecondType>();
        let moved = times.try_unary::<_, TimestampMicrosecondType, _>(|time| {
            time.checked_add(self.micros).ok_or_else(|| {
                Error::data(format!("a timestamp moved by {} microseconds is out of range", self.micros))
            })
        })?;
        Ok(Arc::new(moved.with_data_type(arguments[0].data_type().clone())))
    }

    fn label(&self, argument: &str) -> String {
        format!("{argument} + {}", Micros(self.micros))
    }
}

/// Months counted by the calendar of the session's zone.
#[derive(Debug, PartialEq, Eq, Hash)]
struct MovedInZone {
    zone: Zone,
    subtract: bool,
}

impl Kernel for MovedInZone {
    fn name(&self) -> &'static str {
        if self.subtract { "subtract_interval" } else { "add_interval" }
    }

    fn evaluate(&self, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        let offset = i64::from(self.zone.offset_seconds()) * SECOND;
        let times = arguments[0].as_primitive::<TimestampMicrosecondType>();
        let local = times.unary::<_, TimestampMicrosecondType>(|time| time.wrapping_add(offset));
        let moved = if self.subtract {
            numeric::sub(&local, &arguments[1].as_primitive::<IntervalMonthDayNanoType>())
        } else {
            numeric::add(&local, &arguments[1].as_primitive::<IntervalMonthDayNanoType>())
        }?;
        let moved = moved.as_primitive::<TimestampMicrosecondType>();
        let result = moved.unary::<_, TimestampMicrosecondType>(|time| time.wrapping_sub(offset));
        Ok(Arc::new(result.with_data_type(timestamp())))
    }
}

/// Whole days apart from the rest, so that no difference of two times is too long.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Elapsed;

impl Kernel for Elapsed {
    fn name(&self) -> &'static str {
        "subtract_times"
    }

    fn evaluate(&self, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        let result: IntervalMonthDayNanoArray = if let Some(left) = arguments[0].as_primitive_opt::<Date32Type>() {
            let right = arguments[1].as_primitive::<Date32Type>();
            arrow::compute::binary(left, right, |left, right| {
                IntervalMonthDayNano::new(0, left.wrapping_sub(right), 0)
            })?
        } else {
            let (left, right) = (arguments[0].as_primitive(), arguments[1].as_primitive());
            arrow::compute::binary::<TimestampMicrosecondType, TimestampMicrosecondType, _, IntervalMonthDayNanoType>(
                left,
                right,
                |left, right| {
                    let micros = left.saturating_sub(right);
                    let days = i32::try_from(micros / DAY).unwrap_or(i32::MAX);
                    IntervalMonthDayNano::new(0, days, micros % DAY * 1000)
                },
            )?
        };
        Ok(Arc::new(result))
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Scaled {
    divide: bool,
    ansi: bool,
}

impl Kernel for Scaled {
    fn name(&self) -> &'static str {
        if self.divide { "divide_interval" } else { "multiply_interval" }
    }

    fn evaluate(&self, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        let intervals = arguments[0].as_primitive::<IntervalMonthDayNanoType>();
        let result: IntervalMonthDayNanoArray = if let Some(factors) = arguments[1].as_primitive_opt::<Int64Type>() {
            two_numbers(intervals, factors, times)
        } else {
            let factors = arguments[1].as_primitive::<Float64Type>();
            let divide = self.divide;
            two_numbers(intervals, factors, move |interval, factor: f64| {
                times_fraction(interval, if divide { factor.recip() } else { factor })
            })
        };
        let given = arguments[0].logical_null_count().max(arguments[1].logical_null_count());
        if self.ansi && result.null_count() > given {
            return Err(Error::data(format!("interval out of range or division by zero in `{}`", self.name())));
        }
        Ok(Arc::new(result))
    }
}

fn times(interval: IntervalMonthDayNano, factor: i64) -> Option<IntervalMonthDayNano> {
    let small = i32::try_from(factor).ok()?;
    Some(IntervalMonthDayNano::new(
        interval.months.checked_mul(small)?,
        interval.days.checked_mul(small)?,
        interval.nanoseconds.checked_mul(factor)?,
    ))
}

/// Days that are not whole go to the hours; months that are not whole are cut.
#[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "bounds are checked before the cast")]
fn times_fraction(interval: IntervalMonthDayNano, factor: f64) -> Option<IntervalMonthDayNano> {
    let months = f64::from(interval.months) * factor;
    let days = f64::from(interval.days) * factor;
    let nanos = interval.nanoseconds as f64 * factor + days.fract() * (DAY * 1000) as f64;
    let fits = months.abs() <= f64::from(i32::MAX) && days.abs() <= f64::from(i32::MAX) && nanos.abs() < 9.2e18;
    fits.then(|| IntervalMonthDayNano::new(months as i32, days as i32, nanos.round() as i64))
}
