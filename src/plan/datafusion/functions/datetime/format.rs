//! Times to text and back by pattern.
//!
//! Owns: `date_format` and the reading half of `to_timestamp`. Does not own: the patterns themselves
//! ([`Pattern`]).

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Date32Type, TimestampMicrosecondType};
use datafusion::logical_expr::Expr;

use super::super::call::constant_text;
use super::super::coerce::timestamp;
use super::super::kernel::{Kernel, complete_rows, is_complete, text_rows, texts};
use crate::error::{Error, Result};
use crate::types::{Pattern, Zone};

/// Microseconds of a second and of a day.
const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;

/// What the clock of the zone shows, as microseconds since its own 1970; dates and times without zone are their own
/// clock.
pub(super) fn local_times(times: &ArrayRef, zone: Zone) -> Result<TimestampMicrosecondArray> {
    if let Some(days) = times.as_primitive_opt::<Date32Type>() {
        return Ok(days.unary_opt(|day| i64::from(day).checked_mul(DAY)));
    }
    let offset = match times.data_type() {
        DataType::Timestamp(_, Some(_)) => i64::from(zone.offset_seconds()) * SECOND,
        _ => 0,
    };
    let times = times.as_primitive_opt::<TimestampMicrosecondType>();
    let times = times.ok_or_else(|| Error::internal("a time is not in microseconds"))?;
    Ok(times.unary_opt(|time| time.checked_add(offset)))
}

/// A pattern known when the query is planned, or different in each row.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum TextSource {
    Constant(Pattern),
    EachRow,
}

impl TextSource {
    /// The pattern an argument of `function` stands for.
    ///
    /// # Errors
    /// When a constant one is no pattern.
    pub(super) fn of(argument: &Expr, function: &str) -> Result<Self> {
        let constant = |text: &str| Pattern::of_function(function, text).map(Self::Constant);
        constant_text(argument).map_or(Ok(Self::EachRow), constant)
    }
}

/// The pattern of the row before, to be used again as long as the text stays the same.
#[derive(Default)]
struct LastPattern<'a> {
    text: &'a str,
    pattern: Option<Pattern>,
}

impl<'a> LastPattern<'a> {
    fn get<'s>(&'s mut self, source: &'s TextSource, function: &str, text: &'a str) -> Result<&'s Pattern> {
        if let TextSource::Constant(pattern) = source {
            return Ok(pattern);
        }
        let pattern = match self.pattern.take().filter(|_| self.text == text) {
            Some(pattern) => pattern,
            None => Pattern::of_function(function, text).map_err(|error| Error::data(error.message()))?,
        };
        self.text = text;
        Ok(self.pattern.insert(pattern))
    }
}

/// `date_format(time, pattern)`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct WriteBy {
    pub(super) source: TextSource,
    pub(super) zone: Zone,
}

impl Kernel for WriteBy {
    fn name(&self) -> &'static str {
        "date_format"
    }

    fn evaluate(&self, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        let local = local_times(&arguments[0], self.zone)?;
        let (patterns, mut last) = (texts(&arguments[1]), LastPattern::default());
        let mut failure = None;
        let written = text_rows(arguments, |row, out| {
            local.is_valid(row)
                && match last.get(&self.source, self.name(), patterns.value(row)) {
                    Ok(pattern) => pattern.write_local(local.value(row), self.zone, out),
                    Err(error) => {
                        failure.get_or_insert(error);
                        false
                    }
                }
        });
        failure.map_or(Ok(written), Err)
    }
}

/// `to_timestamp(text, pattern)`: null, or an error under ANSI, where the text does not fit.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct ReadBy {
    pub(super) source: TextSource,
    pub(super) zone: Zone,
    pub(super) ansi: bool,
}

impl Kernel for ReadBy {
    fn name(&self) -> &'static str {
        "to_timestamp"
    }

    fn evaluate(&self, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        let complete = complete_rows(arguments);
        let (text, patterns) = (texts(&arguments[0]), texts(&arguments[1]));
        let (mut times, mut last) = (TimestampMicrosecondArray::builder(text.len()), LastPattern::default());
        for row in 0..text.len() {
            if !is_complete(complete.as_ref(), row) {
                times.append_null();
                continue;
            }
            let pattern = last.get(&self.source, self.name(), patterns.value(row))?;
            let time = pattern.timestamp(text.value(row).as_bytes(), self.zone);
            if time.is_none() && self.ansi {
                let (text, pattern) = (text.value(row), patterns.value(row));
                return Err(Error::data(format!(
                    "`{text}` does not fit the date pattern `{pattern}`; use try_to_timestamp to get null instead"
                )));
            }
            times.append_option(time);
        }
        Ok(Arc::new(times.finish().with_data_type(timestamp())))
    }
}
