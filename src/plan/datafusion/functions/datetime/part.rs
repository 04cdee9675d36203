//! Parts of dates and times.
//!
//! Owns: fields by their Spark names and their values on the clock of a zone.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::{DatePart, date_part};
use arrow::datatypes::{DataType, Decimal128Type, Int64Type, TimestampMicrosecondType};

use super::super::kernel::Kernel;
use super::format::local_times;
use crate::error::Result;
use crate::types::Zone;

/// Microseconds of a second and of a minute.
const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;

/// What is asked of a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum TimeField {
    Year,
    /// The year the ISO week belongs to.
    YearOfWeek,
    Quarter,
    Month,
    Week,
    Day,
    /// 1 is Sunday.
    DayOfWeek,
    /// 1 is Monday.
    IsoDayOfWeek,
    /// 0 is Monday.
    Weekday,
    DayOfYear,
    Hour,
    Minute,
    Second,
    /// With six digits after the point.
    SecondWithFraction,
    /// Since 1970 in UTC, rounded down; the next two as well.
    EpochSeconds,
    EpochMillis,
    EpochMicros,
}

impl TimeField {
    /// The field `extract` and `date_part` know by this name, in lower case.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "year" | "y" | "years" | "yr" | "yrs" => Self::Year,
            "yearofweek" => Self::YearOfWeek,
            "quarter" | "qtr" => Self::Quarter,
            "month" | "mon" | "mons" | "months" => Self::Month,
            "week" | "w" | "weeks" => Self::Week,
            "day" | "d" | "days" => Self::Day,
            "dayofweek" | "dow" => Self::DayOfWeek,
            "dayofweek_iso" | "dow_iso" => Self::IsoDayOfWeek,
            "doy" => Self::DayOfYear,
            "hour" | "h" | "hours" | "hr" | "hrs" => Self::Hour,
            "minute" | "m" | "min" | "mins" | "minutes" => Self::Minute,
            "second" | "s" | "sec" | "seconds" | "secs" => Self::SecondWithFraction,
            _ => return None,
        })
    }

    /// The type of the value.
    pub(super) fn returns(self) -> DataType {
        match self {
            Self::SecondWithFraction => DataType::Decimal128(8, 6),
            Self::EpochSeconds | Self::EpochMillis | Self::EpochMicros => DataType::Int64,
            _ => DataType::Int32,
        }
    }

    /// Microseconds a unit since 1970 has.
    fn epoch_unit(self) -> Option<i64> {
        match self {
            Self::EpochSeconds => Some(SECOND),
            Self::EpochMillis => Some(1000),
            Self::EpochMicros => Some(1),
            _ => None,
        }
    }

    fn arrow_part(self) -> DatePart {
        match self {
            Self::Year => DatePart::Year,
            Self::YearOfWeek => DatePart::YearISO,
            Self::Quarter => DatePart::Quarter,
            Self::Month => DatePart::Month,
            Self::Week => DatePart::Week,
            Self::Day => DatePart::Day,
            Self::DayOfWeek => DatePart::DayOfWeekSunday1,
            Self::IsoDayOfWeek => DatePart::DayOfWeekMonday1,
            Self::Weekday => DatePart::DayOfWeekMonday0,
            Self::DayOfYear => DatePart::DayOfYear,
            Self::Hour => DatePart::Hour,
            Self::Minute => DatePart::Minute,
            _ => DatePart::Second,
        }
    }
}

/// A part of a DATE, TIMESTAMP or `TIMESTAMP_NTZ`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct TimePart {
    pub(super) field: TimeField,
    pub(super) zone: Zone,
}

impl Kernel for TimePart {
    fn name(&self) -> &'static str {
        match self.field {
            TimeField::Year => "year",
            TimeField::YearOfWeek => "yearofweek",
            TimeField::Quarter => "quarter",
            TimeField::Month => "month",
            TimeField::Week => "weekofyear",
            TimeField::Day => "day",
            TimeField::DayOfWeek => "dayofweek",
            TimeField::IsoDayOfWeek => "dayofweek_iso",
            TimeField::Weekday => "weekday",
            TimeField::DayOfYear => "dayofyear",
            TimeField::Hour => "hour",
            TimeField::Minute => "minute",
            TimeField::Second => "second",
            TimeField::SecondWithFraction => "seconds_with_fraction",
            TimeField::EpochSeconds => "unix_seconds",
            TimeField::EpochMillis => "unix_millis",
            TimeField::EpochMicros => "unix_micros",
        }
    }

    fn evaluate(&self, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        if let Some(unit) = self.field.epoch_unit() {
            let times = arguments[0].as_primitive::<TimestampMicrosecondType>();
            return Ok(Arc::new(times.unary::<_, Int64Type>(|time| time.div_euclid(unit))));
        }
        if *arguments[0].data_type() == DataType::Date32 && !self.is_of_clock() {
            return Ok(date_part(&arguments[0], self.field.arrow_part())?);
        }
        let local = local_times(&arguments[0], self.zone)?;
        if self.field == TimeField::SecondWithFraction {
            let micros = local.unary::<_, Decimal128Type>(|time| time.rem_euclid(MINUTE).into());
            return Ok(Arc::new(micros.with_precision_and_scale(8, 6)?));
        }
        Ok(date_part(&local, self.field.arrow_part())?)
    }
}

impl TimePart {
    fn is_of_clock(&self) -> bool {
        use TimeField as F;
        matches!(self.field, F::Hour | F::Minute | F::Second | F::SecondWithFraction)
    }
}
