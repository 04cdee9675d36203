//! Dates and times.
//!
//! Owns: the parts of a time, days and months counted on, texts by pattern, seconds since 1970, the present time's
//! stand-in. Does not own: arithmetic with `+` and `-`. All work on the clock of the session's zone.

mod calendar;
mod format;
mod part;

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};
use datafusion::common::{Result as PlanResult, ScalarValue, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, Expr, Operator, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility, binary_expr, cast as arrow_cast, lit,
};

use super::arithmetic::days_later;
use super::call::{Call, Function, constant_text, exactly, function, one_or_two, text_literal};
use super::coerce::{INTERVAL, is_text, is_time, timestamp};
use super::kernel::{self, apply};
use crate::error::{Error, Result};
use calendar::{AddMonths, DateTrunc, LastDay, MakeInterval, MakeTime, MonthsBetween, NextDay, TruncUnit};
use format::{ReadBy, TextSource, WriteBy};
use part::{TimeField, TimePart};

/// The name of the function that stands for the present time. Evaluating it is an error: whoever runs the expression
/// puts a column or a constant in its place first.
pub(crate) const CURRENT_TIMESTAMP: &str = "current_timestamp";

/// How Spark shows a time when no pattern is given.
const DEFAULT_PATTERN: &str = "yyyy-MM-dd HH:mm:ss";

pub(super) const FUNCTIONS: &[Function] = &[
    function(&[CURRENT_TIMESTAMP, "now"], 0, 0, |_, _| Ok(present())),
    function(&["localtimestamp"], 0, 0, |call, _| call.cast(present(), &ntz())),
    function(&["current_date", "curdate"], 0, 0, |call, _| call.date(present())),
    function(&["current_timezone"], 0, 0, |call, _| Ok(text_literal(&call.zone.to_string()))),
    function(&["year"], 1, 1, |call, args| part_of(call, args, TimeField::Year)),
    function(&["quarter"], 1, 1, |call, args| part_of(call, args, TimeField::Quarter)),
    function(&["month"], 1, 1, |call, args| part_of(call, args, TimeField::Month)),
    function(&["day", "dayofmonth"], 1, 1, |call, args| part_of(call, args, TimeField::Day)),
    function(&["dayofweek"], 1, 1, |call, args| part_of(call, args, TimeField::DayOfWeek)),
    function(&["weekday"], 1, 1, |call, args| part_of(call, args, TimeField::Weekday)),
    function(&["dayofyear"], 1, 1, |call, args| part_of(call, args, TimeField::DayOfYear)),
    function(&["weekofyear"], 1, 1, |call, args| part_of(call, args, TimeField::Week)),
    function(&["hour"], 1, 1, |call, args| part_of(call, args, TimeField::Hour)),
    function(&["minute"], 1, 1, |call, args| part_of(call, args, TimeField::Minute)),
    function(&["second"], 1, 1, |call, args| part_of(call, args, TimeField::Second)),
    function(&["date_part", "datepart", "extract"], 2, 2, date_part),
    function(&["monthname"], 1, 1, |call, args| name_of(call, args, "MMM")),
    function(&["dayname"], 1, 1, |call, args| name_of(call, args, "EEE")),
    function(&["to_timestamp"], 1, 2, |call, args| read_by(call, args, &timestamp())),
    function(&["to_timestamp_ntz"], 1, 2, |call, args| read_by(call, args, &ntz())),
    function(&["to_date"], 1, 2, |call, args| read_by(call, args, &DataType::Date32)),
    function(&["date_format"], 2, 2, date_format),
    function(&["unix_timestamp", "to_unix_timestamp"], 0, 2, unix_timestamp),
    function(&["from_unixtime"], 1, 2, from_unixtime),
    function(&["timestamp_millis"], 1, 1, |call, args| from_count(call, args, TimeUnit::Millisecond)),
    function(&["timestamp_micros"], 1, 1, |call, args| from_count(call, args, TimeUnit::Microsecond)),
    function(&["unix_seconds"], 1, 1, |call, args| to_count(call, args, TimeField::EpochSeconds)),
    function(&["unix_millis"], 1, 1, |call, args| to_count(call, args, TimeField::EpochMillis)),
    function(&["unix_micros"], 1, 1, |call, args| to_count(call, args, TimeField::EpochMicros)),
    function(&["unix_date"], 1, 1, |call, args| {
        let [date] = exactly(args);
        Ok(arrow_cast(call.date(date)?, DataType::Int32))
    }),
    function(&["date_from_unix_date"], 1, 1, |call, args| {
        let [days] = exactly(args);
        Ok(arrow_cast(call.int(days)?, DataType::Date32))
    }),
    function(&["date_add", "dateadd"], 2, 2, |call, args| add_days(call, Operator::Plus, exactly(args))),
    function(&["date_sub"], 2, 2, |call, args| add_days(call, Operator::Minus, exactly(args))),
    function(&["datediff", "date_diff"], 2, 2, datediff),
    function(&["add_months"], 2, 2, |call, args| {
        let [date, months] = exactly(args);
        Ok(kernel::call(AddMonths, DataType::Date32, vec![call.date(date)?, call.int(months)?]))
    }),
    function(&["months_between"], 2, 3, months_between),
    function(&["last_day"], 1, 1, |call, args| {
        let args = call.cast_all(args, &DataType::Date32)?;
        Ok(kernel::call(LastDay, DataType::Date32, args))
    }),
    function(&["next_day"], 2, 2, |call, args| {
        let [date, day] = exactly(args);
        Ok(kernel::call(NextDay, DataType::Date32, vec![call.date(date)?, call.text(day)?]))
    }),
    function(&["date_trunc"], 2, 2, date_trunc),
    function(&["trunc"], 2, 2, trunc),
    function(&["make_date"], 3, 3, |call, args| make_time(call, args, &DataType::Date32)),
    function(&["make_timestamp", "make_timestamp_ltz"], 6, 6, |call, args| make_time(call, args, &timestamp())),
    function(&["make_timestamp_ntz"], 6, 6, |call, args| make_time(call, args, &ntz())),
    function(&["make_interval"], 0, 7, make_interval),
];

/// `TIMESTAMP_NTZ`.
fn ntz() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, None)
}

/// The argument as a DATE, TIMESTAMP or `TIMESTAMP_NTZ`: what is none of them becomes a TIMESTAMP.
fn time(call: &Call<'_>, arg: Expr) -> Result<Expr> {
    match call.type_of(&arg)? {
        DataType::Timestamp(_, None) => call.cast(arg, &ntz()),
        DataType::Date32 => Ok(arg),
        _ => call.timestamp(arg),
    }
}

fn part_of(call: &Call<'_>, args: Vec<Expr>, field: TimeField) -> Result<Expr> {
    let [arg] = exactly(args);
    let data_type = call.type_of(&arg)?;
    if !is_time(&data_type) && !is_text(&data_type) && !data_type.is_null() {
        return Err(call.mismatch(&[data_type]));
    }
    Ok(kernel::call(TimePart { field, zone: call.zone }, field.returns(), vec![time(call, arg)?]))
}

/// `date_part('month', t)`; seconds come with their fraction.
fn date_part(call: &Call<'_>, args: Vec<Expr>) -> Result<Expr> {
    let [field, arg] = exactly(args);
    let name = constant_text(&field).unwrap_or_default().to_lowercase();
    let field = TimeField::named(&name).ok_or_else(|| {
        Error::plan(format!("`{}` has no field `{name}`; use year, month, day, hour, minute, second, …", call.name))
    })?;
    part_of(call, vec![arg], field)
}

fn name_of(call: &Call<'_>, args: Vec<Expr>, pattern: &str) -> Result<Expr> {
    let [arg] = exactly(args);
    date_format(call, vec![arg, text_literal(pattern)])
}

fn date_format(call: &Call<'_>, args: Vec<Expr>) -> Result<Expr> {
    let [arg, pattern] = exactly(args);
    let pattern = call.text(pattern)?;
    let source = TextSource::of(&pattern, call.name)?;
    Ok(kernel::call(WriteBy { source, zone: call.zone }, DataType::Utf8View, vec![time(call, arg)?, pattern]))
}

/// `to_timestamp` and `to_date`: a cast, or by a pattern when one is given and there is text to read.
fn read_by(call: &Call<'_>, args: Vec<Expr>, to: &DataType) -> Result<Expr> {
    let (arg, pattern) = one_or_two(args);
    let is_text = is_text(&call.type_of(&arg)?);
    let Some(pattern) = pattern.filter(|_| is_text) else { return call.cast(arg, to) };
    let pattern = call.text(pattern)?;
    let read = ReadBy { source: TextSource::of(&pattern, call.name)?, zone: call.zone, ansi: call.ansi };
    let time = kernel::call(read, timestamp(), vec![call.text(arg)?, pattern]);
    call.cast(time, to)
}

fn unix_timestamp(call: &Call<'_>, args: Vec<Expr>) -> Result<Expr> {
    if args.is_empty() {
        return call.long(present());
    }
    let (arg, pattern) = one_or_two(args);
    let pattern = pattern.unwrap_or_else(|| text_literal(DEFAULT_PATTERN));
    let time = read_by(call, vec![arg, pattern], &timestamp())?;
    call.long(time)
}

fn from_unixtime(call: &Call<'_>, args: Vec<Expr>) -> Result<Expr> {
    let (seconds, pattern) = one_or_two(args);
    let seconds = call.long(seconds)?;
    let time = call.timestamp(seconds)?;
    date_format(call, vec![time, pattern.unwrap_or_else(|| text_literal(DEFAULT_PATTERN))])
}

fn from_count(call: &Call<'_>, args: Vec<Expr>, unit: TimeUnit) -> Result<Expr> {
    let [count] = exactly(args);
    let time = arrow_cast(call.long(count)?, DataType::Timestamp(unit, Some("UTC".into())));
    Ok(if call.type_of(&time)? == timestamp() { time } else { arrow_cast(time, timestamp()) })
}

fn to_count(call: &Call<'_>, args: Vec<Expr>, field: TimeField) -> Result<Expr> {
    let [arg] = exactly(args);
    let time = call.timestamp(arg)?;
    Ok(kernel::call(TimePart { field, zone: call.zone }, field.returns(), vec![time]))
}

fn add_days(call: &Call<'_>, operator: Operator, [date, days]: [Expr; 2]) -> Result<Expr> {
    days_later(call, operator, date, days)
}

/// `datediff(end, start)` in days.
fn datediff(call: &Call<'_>, args: Vec<Expr>) -> Result<Expr> {
    let [end, start] = exactly(args);
    let days = |date: Expr| Ok::<_, Error>(arrow_cast(call.date(date)?, DataType::Int32));
    Ok(binary_expr(days(end)?, Operator::Minus, days(start)?))
}

/// `months_between(end, start[, round to eight digits])`.
fn months_between(call: &Call<'_>, args: Vec<Expr>) -> Result<Expr> {
    let mut args = args.into_iter();
    let (end, start) = (args.next().unwrap_or_default(), args.next().unwrap_or_default());
    let rounds = args.next().is_none_or(|rounds| rounds != lit(false));
    let times = vec![call.timestamp(end)?, call.timestamp(start)?];
    Ok(kernel::call(MonthsBetween { rounds, zone: call.zone }, DataType::Float64, times))
}

/// `date_trunc(unit, time)` is a TIMESTAMP.
fn date_trunc(call: &Call<'_>, args: Vec<Expr>) -> Result<Expr> {
    let [unit, time] = exactly(args);
    truncated(call, time, &unit, &timestamp())
}

/// `trunc(date, unit)` is a DATE.
fn trunc(call: &Call<'_>, args: Vec<Expr>) -> Result<Expr> {
    let [date, unit] = exactly(args);
    truncated(call, date, &unit, &DataType::Date32)
}

/// An unknown unit gives null, as in Spark.
fn truncated(call: &Call<'_>, time: Expr, unit: &Expr, to: &DataType) -> Result<Expr> {
    let Some(name) = constant_text(unit) else {
        return Err(Error::plan(format!("the unit of `{}` must be a constant such as 'month'", call.name)));
    };
    let zoned = if *to == DataType::Date32 { call.date(time)? } else { self::time(call, time)? };
    let zoned = call.timestamp(zoned)?;
    let unit = TruncUnit::named(name).filter(|unit| *to != DataType::Date32 || unit.is_for_dates());
    let Some(unit) = unit else {
        let null = ScalarValue::try_from(to).map_err(super::plan_error)?;
        return Ok(lit(null));
    };
    let truncated = kernel::call(DateTrunc { unit, zone: call.zone }, timestamp(), vec![zoned]);
    call.cast(truncated, to)
}

/// `make_date(y, m, d)` and `make_timestamp(y, m, d, h, min, s)`; the seconds may have a fraction.
fn make_time(call: &Call<'_>, args: Vec<Expr>, to: &DataType) -> Result<Expr> {
    let mut typed = Vec::with_capacity(args.len());
    for (index, arg) in args.into_iter().enumerate() {
        typed.push(if index == 5 { call.cast(arg, &DataType::Decimal128(16, 6))? } else { call.int(arg)? });
    }
    let time = kernel::call(MakeTime { ansi: call.ansi }, ntz(), typed);
    call.cast(time, to)
}

/// `make_interval(years, months, weeks, days, hours, mins, secs)`; what is left out is 0, the seconds may have a fraction.
fn make_interval(call: &Call<'_>, args: Vec<Expr>) -> Result<Expr> {
    let mut typed = Vec::with_capacity(7);
    let mut args = args.into_iter();
    for index in 0..7 {
        let arg = args.next().unwrap_or_else(|| lit(0_i32));
        typed.push(if index == 6 { call.cast(arg, &DataType::Decimal128(18, 6))? } else { call.int(arg)? });
    }
    Ok(kernel::call(MakeInterval, INTERVAL, typed))
}

fn present() -> Expr {
    apply(ScalarUDF::new_from_impl(CurrentTimestamp { signature: Signature::nullary(Volatility::Volatile) }), vec![])
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct CurrentTimestamp {
    signature: Signature,
}

impl ScalarUDFImpl for CurrentTimestamp {
    fn name(&self) -> &'static str {
        CURRENT_TIMESTAMP
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> PlanResult<DataType> {
        Ok(timestamp())
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs<'_>) -> PlanResult<FieldRef> {
        Ok(Arc::new(Field::new(CURRENT_TIMESTAMP, timestamp(), false)))
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> PlanResult<ColumnarValue> {
        exec_err!("current_timestamp() was not replaced by the time of the epoch")
    }
}
