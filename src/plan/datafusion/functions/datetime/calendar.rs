//! Counting by the calendar.
//!
//! Owns: months added, ends of months, begins of units, dates out of their parts. Does not own: casts between dates
//! and times.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Date32Array, Float64Array, IntervalMonthDayNanoArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{Date32Type, Decimal128Type, IntervalMonthDayNano, TimestampMicrosecondType};
use chrono::{Datelike, Days, Months, NaiveDate};

use super::super::coerce::timestamp;
use super::super::kernel::{Kernel, complete_rows, ints, is_complete, texts, two_numbers};
use crate::error::{Error, Result};
use crate::types::Zone;

/// Microseconds.
const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

fn date_of(days: i32) -> Option<NaiveDate> {
    NaiveDate::from_epoch_days(days)
}

fn days_of(date: NaiveDate) -> i32 {
    date.to_epoch_days()
}

fn later_by_months(date: NaiveDate, months: i32) -> Option<NaiveDate> {
    let count = Months::new(months.unsigned_abs());
    if months < 0 { date.checked_sub_months(count) } else { date.checked_add_months(count) }
}

fn last_day_of(date: NaiveDate) -> Option<NaiveDate> {
    date.with_day(1)?.checked_add_months(Months::new(1))?.pred_opt()
}

/// `add_months(date, months)`; the day is the last of the month where that is shorter.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct AddMonths;

impl Kernel for AddMonths {
    fn name(&self) -> &'static str {
        "add_months"
    }

    fn evaluate(&self, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        let (dates, months) = (arguments[0].as_primitive::<Date32Type>(), ints(&arguments[1]));
        let later: Date32Array =
            two_numbers(dates, months, |date, months| later_by_months(date_of(date)?, months).map(days_of));
        Ok(Arc::new(later))
    }
}

/// `last_day(date)`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct LastDay;

impl Kernel for LastDay {
    fn name(&self) -> &'static str {
        "last_day"
    }

    fn evaluate(&self, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        let dates = arguments[0].as_primitive::<Date32Type>();
        let last: Date32Array = dates.unary_opt(|date| last_day_of(date_of(date)?).map(days_of));
        Ok(Arc::new(last))
    }
}

/// `next_day(date, 'Mon')`: the first such day after the date; null for an unknown day.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct NextDay;

impl Kernel for NextDay {
    fn name(&self) -> &'static str {
        "next_day"
    }

    fn evaluate(&self, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        let (dates, names) = (arguments[0].as_primitive::<Date32Type>(), texts(&arguments[1]));
        let next = |(date, name): (Option<i32>, Option<&str>)| {
            let (date, wanted) = (date_of(date?)?, weekday_named(name?)?);
            let ahead = (wanted + 6 - date.weekday().num_days_from_monday()) % 7 + 1;
            date.checked_add_days(Days::new(ahead.into())).map(days_of)
        };
        Ok(Arc::new(dates.iter().zip(names).map(next).collect::<Date32Array>()))
    }
}

/// 0 is Monday; two letters, three or the whole name.
fn weekday_named(name: &str) -> Option<u32> {
    let name = name.trim();
    (0..7).find(|day| {
        let full = crate::types::weekday_name(*day);
        [&full[..2], &full[..3], full].iter().any(|known| known.eq_ignore_ascii_case(name))
    })
}

/// `months_between(end, start)`: whole months where both are the same day or the last one of the month, otherwise the
/// days count as 31sts.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct MonthsBetween {
    /// To eight digits after the point.
    pub(super) rounds: bool,
    pub(super) zone: Zone,
}

impl Kernel for MonthsBetween {
    fn name(&self) -> &'static str {
        "months_between"
    }

    fn evaluate(&self, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        let offset = i64::from(self.zone.offset_seconds()) * SECOND;
        let local = |argument: &ArrayRef| {
            let times = argument.as_primitive::<TimestampMicrosecondType>();
            times.unary::<_, TimestampMicrosecondType>(|time| time.saturating_add(offset))
        };
        let months: Float64Array = two_numbers(&local(&arguments[0]), &local(&arguments[1]), |end, start| {
            let months = months_between(end, start)?;
            Some(if self.rounds { (months * 1e8).round() / 1e8 } else { months })
        });
        Ok(Arc::new(months))
    }
}

#[expect(clippy::cast_precision_loss, reason = "less than a month of seconds is exact in a double")]
fn months_between(end: i64, start: i64) -> Option<f64> {
    let date = |time: i64| date_of(i32::try_from(time.div_euclid(DAY)).ok()?);
    let (last, first) = (date(end)?, date(start)?);
    let month = |date: NaiveDate| date.year() * 12 + i32::try_from(date.month0()).unwrap_or(0);
    let months = f64::from(month(last) - month(first));
    let both_last = last_day_of(last)? == last && last_day_of(first)? == first;
    if last.day() == first.day() || both_last {
        return Some(months);
    }
    let seconds = |date: NaiveDate, time: i64| i64::from(date.day()) * (DAY / SECOND) + time.rem_euclid(DAY) / SECOND;
    let apart = seconds(last, end) - seconds(first, start);
    Some(months + apart as f64 / (31 * DAY / SECOND) as f64)
}

/// What a time is cut to the begin of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum TruncUnit {
    Year,
    Quarter,
    Month,
    /// From Monday on.
    Week,
    /// A fixed count of microseconds, a day or a part of one.
    Fixed(i64),
}

impl TruncUnit {
    /// The unit of this name, in any case.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name.to_lowercase().as_str() {
            "year" | "yyyy" | "yy" => Self::Year,
            "quarter" => Self::Quarter,
            "month" | "mon" | "mm" => Self::Month,
            "week" => Self::Week,
            "day" | "dd" => Self::Fixed(DAY),
            "hour" => Self::Fixed(HOUR),
            "minute" => Self::Fixed(MINUTE),
            "second" => Self::Fixed(SECOND),
            "millisecond" => Self::Fixed(1000),
            "microsecond" => Self::Fixed(1),
            _ => return None,
        })
    }

    /// Whether `trunc` of dates knows it.
    pub(super) fn is_for_dates(self) -> bool {
        !matches!(self, Self::Fixed(_))
    }

    /// The begin of the unit a local time is in.
    fn begin_of(self, time: i64) -> Option<i64> {
        if let Self::Fixed(unit) = self {
            return time.div_euclid(unit).checked_mul(unit);
        }
        let date = date_of(i32::try_from(time.div_euclid(DAY)).ok()?)?;
        let begin = match self {
            Self::Year => date.with_day(1)?.with_month(1)?,
            Self::Quarter => date.with_day(1)?.with_month(date.month0() / 3 * 3 + 1)?,
            Self::Month => date.with_day(1)?,
            Self::Week | Self::Fixed(_) => {
                date.checked_sub_days(Days::new(date.weekday().num_days_from_monday().into()))?
            }
        };
        i64::from(days_of(begin)).checked_mul(DAY)
    }
}

/// `date_trunc(unit, time)`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct DateTrunc {
    pub(super) unit: TruncUnit,
    pub(super) zone: Zone,
}

impl Kernel for DateTrunc {
    fn name(&self) -> &'static str {
        "date_trunc"
    }

    fn evaluate(&self, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        let offset = i64::from(self.zone.offset_seconds()) * SECOND;
        let times = arguments[0].as_primitive::<TimestampMicrosecondType>();
        let begins: TimestampMicrosecondArray =
            times.unary_opt(|time| self.unit.begin_of(time.checked_add(offset)?)?.checked_sub(offset));
        Ok(Arc::new(begins.with_data_type(timestamp())))
    }

    fn label(&self, argument: &str) -> String {
        format!("date_trunc({:?}, {argument})", self.unit).to_lowercase()
    }
}

/// A time without zone out of year, month and day, and if given hour, minute and second.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct MakeTime {
    pub(super) ansi: bool,
}

impl Kernel for MakeTime {
    fn name(&self) -> &'static str {
        "make_timestamp"
    }

    fn evaluate(&self, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        let complete = complete_rows(arguments);
        let rows = arguments[0].len();
        let mut times = TimestampMicrosecondArray::builder(rows);
        for row in 0..rows {
            let known = is_complete(complete.as_ref(), row);
            let time = if known { made_time(arguments, row) } else { None };
            if known && time.is_none() && self.ansi {
                return Err(Error::data(
                    "make_date or make_timestamp was given parts that are no time of the calendar",
                ));
            }
            times.append_option(time);
        }
        Ok(Arc::new(times.finish()))
    }
}

/// An INTERVAL out of years, months, weeks, days, hours, minutes and seconds; null where one is, or what they make is too long.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct MakeInterval;

impl Kernel for MakeInterval {
    fn name(&self) -> &'static str {
        "make_interval"
    }

    fn evaluate(&self, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        let complete = complete_rows(arguments);
        let interval = |row: usize| {
            if is_complete(complete.as_ref(), row) { made_interval(arguments, row) } else { None }
        };
        let intervals: IntervalMonthDayNanoArray = (0..arguments[0].len()).map(interval).collect();
        Ok(Arc::new(intervals))
    }
}

fn made_interval(arguments: &[ArrayRef], row: usize) -> Option<IntervalMonthDayNano> {
    let part = |index: usize| ints(&arguments[index]).value(row);
    let months = part(0).checked_mul(12)?.checked_add(part(1))?;
    let days = part(2).checked_mul(7)?.checked_add(part(3))?;
    let seconds = i64::try_from(arguments[6].as_primitive::<Decimal128Type>().value(row)).ok()?;
    let micros = (i64::from(part(4)) * HOUR + i64::from(part(5)) * MINUTE).checked_add(seconds)?;
    Some(IntervalMonthDayNano::new(months, days, micros.checked_mul(1000)?))
}

fn made_time(arguments: &[ArrayRef], row: usize) -> Option<i64> {
    let part = |index: usize| arguments.get(index).map_or(0, |argument| ints(argument).value(row));
    let positive = |index: usize| u32::try_from(part(index)).ok();
    let date = NaiveDate::from_ymd_opt(part(0), positive(1)?, positive(2)?)?;
    let (hour, minute) = (i64::from(part(3)), i64::from(part(4)));
    let seconds = arguments.get(5).map_or(0, |seconds| seconds.as_primitive::<Decimal128Type>().value(row));
    let seconds = i64::try_from(seconds).ok()?;
    // 60 seconds are allowed and are the next minute.
    if !(0..24).contains(&hour) || !(0..60).contains(&minute) || !(0..=MINUTE).contains(&seconds) {
        return None;
    }
    i64::from(days_of(date)).checked_mul(DAY)?.checked_add(hour * HOUR + minute * MINUTE + seconds)
}
