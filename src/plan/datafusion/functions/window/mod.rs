//! Windows of event time: `window`, `session_window` and `window_time`.
//!
//! Owns: the calls in a typed plan, their lengths of time, and the values they have. Does not own: where a window may
//! stand and the rows it makes (`windowing`), or which windows a time is in ([`Windows`]).
//!
//! `window` and `session_window` are marks that are never computed: `windowing` puts a column in their place.
//!
//! ```text
//! window(t, size, slide, start)  ──▶  windows(t, size, slide, start)   ARRAY<STRUCT<start, end>>; null: no time
//! session_window(t, gap)         ──▶  session_windows(t, gap)          STRUCT<start, end>; null: no time or no gap
//! ```

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, PrimitiveArray, StructArray, TimestampMicrosecondArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{
    DataType, Field, Fields, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, TimeUnit,
    TimestampMicrosecondType,
};
use chrono::{DateTime, Months};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{Expr, ExprSchemable, Volatility, lit};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;

use super::call::{Call, Function, constant_integer, exactly, function};
use super::coerce::{INTERVAL, array_of, is_interval, is_text, timestamp};
use super::kernel::{self, Kernel, texts};
use super::plan_error;
use crate::error::{Error, Result};
use crate::operator::Windows;
use crate::types::{Interval, parse_interval, type_name};

/// The mark of the windows a time is in; its arguments are the time and, as BIGINT constants in microseconds, the size,
/// the slide and the start.
pub(crate) const WINDOW: &str = "window";

/// The windows a time is in as a list; its arguments are those of [`WINDOW`].
pub(crate) const WINDOWS: &str = "windows";

/// The mark of the session of one row; its arguments are the time and the gap: a BIGINT constant in microseconds, or a
/// STRING or INTERVAL of each row.
pub(crate) const SESSION_WINDOW: &str = "session_window";

/// The session of one row; its arguments are those of [`SESSION_WINDOW`].
pub(crate) const SESSION_WINDOWS: &str = "session_windows";

/// The last time that a window holds; its argument is the window.
pub(crate) const WINDOW_TIME: &str = "window_time";

pub(super) const FUNCTIONS: &[Function] = &[
    function(&[WINDOW], 2, 4, window),
    function(&[SESSION_WINDOW], 2, 2, session_window),
    function(&[WINDOW_TIME], 1, 1, window_time),
];

/// Microseconds of a day.
const DAY: i64 = 86_400_000_000;

// Calls.

fn window(call: &Call<'_>, args: Vec<Expr>) -> Result<Expr> {
    let mut args = args.into_iter();
    let time = event_time(call, args.next().unwrap_or_default())?;
    let mut lengths = Vec::with_capacity(3);
    for (role, arg) in ["size", "slide", "start time"].into_iter().zip(args) {
        lengths.push(constant_length(call, role, &arg)?.ok_or_else(|| {
            let remedy = "write for instance '10 minutes' or INTERVAL 10 MINUTES";
            Error::plan(format!("the {role} of window(…) must be a constant length of time; {remedy}"))
        })?);
    }
    let size = lengths.first().copied().unwrap_or_default();
    let slide = lengths.get(1).copied().unwrap_or(size);
    let start = lengths.get(2).copied().unwrap_or_default();
    Windows::new(size, slide, start)?;
    let returns = window_of(&call.type_of(&time)?);
    Ok(kernel::call(Mark { name: WINDOW }, returns, vec![time, lit(size), lit(slide), lit(start)]))
}

fn session_window(call: &Call<'_>, args: Vec<Expr>) -> Result<Expr> {
    let [time, gap] = exactly(args);
    let time = event_time(call, time)?;
    let gap = match constant_interval(call, "gap", &gap)? {
        // How long a month is depends on the row.
        Some(gap) if gap.months != 0 => lit(ScalarValue::IntervalMonthDayNano(Some(stored(gap)))),
        Some(_) => lit(ScalarValue::Int64(constant_length(call, "gap", &gap)?)),
        None => gap_of_row(call, gap)?,
    };
    let returns = window_of(&call.type_of(&time)?);
    Ok(kernel::call(Mark { name: SESSION_WINDOW }, returns, vec![time, gap]))
}

fn window_time(call: &Call<'_>, args: Vec<Expr>) -> Result<Expr> {
    let [window] = exactly(args);
    let data_type = call.type_of(&window)?;
    if data_type.is_null() {
        return call.timestamp(window);
    }
    let times = times_of(&data_type).ok_or_else(|| {
        let remedy = "give it the column that window(…) or session_window(…) made";
        Error::plan(format!(
            "window_time(…) needs a window, but {} is {}; {remedy}",
            shown(&window),
            type_name(&data_type)
        ))
    })?;
    Ok(kernel::call(WindowTime, times, vec![window]))
}

/// The time of a row: a DATE is its first moment, a window the last one it holds.
fn event_time(call: &Call<'_>, time: Expr) -> Result<Expr> {
    let data_type = call.type_of(&time)?;
    match &data_type {
        DataType::Timestamp(_, None) => call.cast(time, &DataType::Timestamp(TimeUnit::Microsecond, None)),
        DataType::Timestamp(..) | DataType::Date32 | DataType::Null => call.timestamp(time),
        _ => {
            let times = times_of(&data_type).ok_or_else(|| not_a_time(call, &time, &data_type))?;
            Ok(kernel::call(WindowTime, times, vec![time]))
        }
    }
}

fn not_a_time(call: &Call<'_>, time: &Expr, data_type: &DataType) -> Error {
    let (name, column, data_type) = (call.name, shown(time), type_name(data_type));
    let remedy = "make it one first: cast(… as timestamp)";
    Error::plan(format!("{name}(…) needs a TIMESTAMP, but {column} is {data_type}; {remedy}"))
}

/// A column by the user's name; internal names end in a number (`word#3`).
fn shown(expr: &Expr) -> String {
    match expr {
        Expr::Column(column) => format!("`{}`", column.name.rsplit_once('#').map_or(&*column.name, |(name, _)| name)),
        _ => "its argument".to_string(),
    }
}

/// The gap of a session where it is no constant.
fn gap_of_row(call: &Call<'_>, gap: Expr) -> Result<Expr> {
    match call.type_of(&gap)? {
        DataType::Null => Ok(lit(ScalarValue::Int64(None))),
        text if is_text(&text) => call.text(gap),
        interval if is_interval(&interval) => call.cast(gap, &INTERVAL),
        other => {
            let remedy = "write for instance '5 minutes', or an expression of text or INTERVAL";
            let (gap, other) = (shown(&gap), type_name(&other));
            Err(Error::plan(format!(
                "the gap of session_window(…) must be a length of time, but {gap} is {other}; {remedy}"
            )))
        }
    }
}

// Lengths of time.

/// A length of time, text or INTERVAL; `None` when it is not constant, or null.
fn constant_interval(call: &Call<'_>, role: &str, expr: &Expr) -> Result<Option<Interval>> {
    let Expr::Literal(value, _) = folded(call, expr) else { return Ok(None) };
    match (&value, value.try_as_str().flatten()) {
        (ScalarValue::IntervalMonthDayNano(Some(interval)), _) => Ok(Some(plain(*interval))),
        (_, Some(text)) => {
            parse_interval(text).map(Some).map_err(|error| error.context(format!("the {role} of {}(…)", call.name)))
        }
        _ => Ok(None),
    }
}

/// The same in microseconds; one with months is refused.
fn constant_length(call: &Call<'_>, role: &str, expr: &Expr) -> Result<Option<i64>> {
    let what = || format!("the {role} of {}(…)", call.name);
    let Some(interval) = constant_interval(call, role, expr)? else { return Ok(None) };
    if interval.months != 0 {
        let reason = "whose length depends on the date; write it in days or smaller units";
        return Err(Error::plan(format!("{} has months or years, {reason}", what())));
    }
    let length = micros_of(interval);
    let too_long = || Error::plan(format!("{} is too long; it must fit into microseconds in 64 bits", what()));
    length.map(Some).ok_or_else(too_long)
}

/// The constant an expression is, or the expression.
fn folded(call: &Call<'_>, expr: &Expr) -> Expr {
    if matches!(expr, Expr::Literal(..)) {
        return expr.clone();
    }
    let context = SimplifyContext::builder().with_schema(Arc::new(call.schema.clone())).build();
    ExprSimplifier::new(context).simplify(expr.clone()).unwrap_or_else(|_| expr.clone())
}

fn plain(interval: IntervalMonthDayNano) -> Interval {
    Interval { months: interval.months, days: interval.days, micros: interval.nanoseconds / 1000 }
}

fn stored(interval: Interval) -> IntervalMonthDayNano {
    IntervalMonthDayNano::new(interval.months, interval.days, interval.micros.saturating_mul(1000))
}

/// The microseconds of an interval; `None` when they do not fit, or it has months, whose length depends on the date.
fn micros_of(interval: Interval) -> Option<i64> {
    let days = i64::from(interval.days).checked_mul(DAY)?;
    days.checked_add(interval.micros).filter(|_| interval.months == 0)
}

// Types.

/// `STRUCT<start, end>` of such times.
fn window_of(time: &DataType) -> DataType {
    DataType::Struct(window_fields(time))
}

fn window_fields(time: &DataType) -> Fields {
    [Field::new("start", time.clone(), true), Field::new("end", time.clone(), true)].into_iter().collect()
}

/// The type of the times in a window; `None` for what is no window.
fn times_of(window: &DataType) -> Option<DataType> {
    let DataType::Struct(fields) = window else { return None };
    let [start, end] = fields.as_ref() else { return None };
    let are_times = [start, end].iter().all(|field| matches!(field.data_type(), DataType::Timestamp(..)));
    (are_times && start.name() == "start" && end.name() == "end").then(|| end.data_type().clone())
}

// Plans.

/// Whether a call is one of ours: a user's function of the same name counts as volatile.
fn is_own(function: &ScalarFunction, name: &str) -> bool {
    function.func.name() == name && function.func.signature().volatility == Volatility::Immutable
}

/// The mark that an expression is: a `window(…)` or `session_window(…)` whose column is still to be made.
pub(crate) fn as_mark(expr: &Expr) -> Option<&ScalarFunction> {
    match expr {
        Expr::ScalarFunction(function) if is_own(function, WINDOW) || is_own(function, SESSION_WINDOW) => {
            Some(function)
        }
        _ => None,
    }
}

/// The call that computes what a mark stands for: [`WINDOWS`] for [`WINDOW`], [`SESSION_WINDOWS`] for
/// [`SESSION_WINDOW`].
///
/// # Errors
/// When the mark does not fit `schema`.
pub(crate) fn computed(mark: &ScalarFunction, schema: &DFSchema) -> Result<Expr> {
    let time = mark.args.first().map(|time| time.get_type(schema)).transpose().map_err(plan_error)?;
    let window = window_of(&time.unwrap_or_else(timestamp));
    Ok(if mark.func.name() == WINDOW {
        kernel::call(WindowsOfTime, array_of(window), mark.args.clone())
    } else {
        kernel::call(SessionOfRow, window, mark.args.clone())
    })
}

/// The time and the windows of a [`WINDOW`] or [`WINDOWS`] call.
pub(crate) fn windows_of(function: &ScalarFunction) -> Option<(&Expr, Windows)> {
    if !is_own(function, WINDOW) && !is_own(function, WINDOWS) {
        return None;
    }
    let [time, size, slide, start] = function.args.as_slice() else { return None };
    let [size, slide, start] = [constant_integer(size)?, constant_integer(slide)?, constant_integer(start)?];
    Some((time, Windows::new(size, slide, start).ok()?))
}

// Values.

/// A window whose column is still to be made.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Mark {
    name: &'static str,
}

impl Kernel for Mark {
    fn name(&self) -> &'static str {
        self.name
    }

    fn evaluate(&self, _: &[ArrayRef]) -> Result<ArrayRef> {
        Err(Error::internal(format!("{}(…) was not replaced by a column", self.name)))
    }
}

/// The windows of each time, the last first.
#[derive(Debug, PartialEq, Eq, Hash)]
struct WindowsOfTime;

impl Kernel for WindowsOfTime {
    fn name(&self) -> &'static str {
        WINDOWS
    }

    fn evaluate(&self, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        let times = arguments[0].as_primitive::<TimestampMicrosecondType>();
        if times.is_empty() {
            return Ok(arrow::array::new_empty_array(&array_of(window_of(times.data_type()))));
        }
        let [size, slide, start] = [1, 2, 3].map(|place| arguments[place].as_primitive::<Int64Type>().value(0));
        windows_of_times(times, Windows::new(size, slide, start)?)
    }
}

fn windows_of_times(times: &TimestampMicrosecondArray, windows: Windows) -> Result<ArrayRef> {
    let mut ends: Vec<i64> = Vec::with_capacity(most_windows(times.len(), windows)?);
    let mut offsets = Vec::with_capacity(times.len() + 1);
    offsets.push(0);
    for time in times {
        if let Some(time) = time {
            ends.extend(windows.ends(time));
        }
        offsets.push(i32::try_from(ends.len()).map_err(|_| too_many())?);
    }
    let starts: Vec<i64> = ends.iter().map(|end| end.saturating_sub(windows.size())).collect();
    let items = window_column(PrimitiveArray::from(starts), PrimitiveArray::from(ends), times.data_type(), None)?;
    let item = Arc::new(Field::new_list_field(items.data_type().clone(), true));
    let offsets = OffsetBuffer::new(offsets.into());
    Ok(Arc::new(ListArray::try_new(item, offsets, Arc::new(items), times.nulls().cloned())?))
}

/// How many windows so many rows can be in.
fn most_windows(rows: usize, windows: Windows) -> Result<usize> {
    let each = usize::try_from(windows.size().unsigned_abs().div_ceil(windows.slide().unsigned_abs()));
    let most = each.ok().and_then(|each| each.checked_mul(rows)).filter(|most| i32::try_from(*most).is_ok());
    most.ok_or_else(too_many)
}

fn too_many() -> Error {
    Error::data("window(…) makes more than 2^31 rows of one batch; use a longer slide")
}

/// Windows from `starts` to `ends`, as times of the type `time`.
fn window_column(
    starts: TimestampMicrosecondArray,
    ends: TimestampMicrosecondArray,
    time: &DataType,
    nulls: Option<NullBuffer>,
) -> Result<StructArray> {
    let times = |array: TimestampMicrosecondArray| Arc::new(array.with_data_type(time.clone())) as ArrayRef;
    Ok(StructArray::try_new(window_fields(time), vec![times(starts), times(ends)], nulls)?)
}

/// The session of each row alone, from its time to the gap later; null where one is null or the gap is not above zero.
#[derive(Debug, PartialEq, Eq, Hash)]
struct SessionOfRow;

impl Kernel for SessionOfRow {
    fn name(&self) -> &'static str {
        SESSION_WINDOWS
    }

    fn evaluate(&self, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        let times = arguments[0].as_primitive::<TimestampMicrosecondType>();
        let ends = match arguments[1].data_type() {
            DataType::Utf8View => {
                let mut gaps = RecentGaps::default();
                session_ends(times, texts(&arguments[1]).iter().map(|text| gaps.of(text?)))
            }
            DataType::Int64 => {
                let gap = |micros: Option<i64>| Some(Interval { micros: micros?, ..Interval::default() });
                session_ends(times, arguments[1].as_primitive::<Int64Type>().iter().map(gap))
            }
            _ => {
                let gaps = arguments[1].as_primitive::<IntervalMonthDayNanoType>();
                session_ends(times, gaps.iter().map(|gap| gap.map(plain)))
            }
        };
        let nulls = ends.nulls().cloned();
        Ok(Arc::new(window_column(times.clone(), ends, times.data_type(), nulls)?))
    }
}

fn session_ends(
    times: &TimestampMicrosecondArray,
    gaps: impl IntoIterator<Item = Option<Interval>>,
) -> TimestampMicrosecondArray {
    let end = |(time, gap): (Option<i64>, Option<Interval>)| {
        let time = time?;
        later(time, gap?).filter(|end| *end > time)
    };
    times.iter().zip(gaps).map(end).collect()
}

/// The time so much later; months go by the calendar in UTC, and end with a shorter month. `None` past the last time there is.
fn later(time: i64, gap: Interval) -> Option<i64> {
    let moved = if gap.months == 0 {
        time
    } else {
        let months = Months::new(gap.months.unsigned_abs());
        let time = DateTime::from_timestamp_micros(time)?;
        let moved = if gap.months < 0 { time.checked_sub_months(months) } else { time.checked_add_months(months) };
        moved?.timestamp_micros()
    };
    moved.checked_add(i64::from(gap.days).checked_mul(DAY)?)?.checked_add(gap.micros)
}

/// The gaps of the texts seen last, so that the few a column is made of are not read again in each row.
#[derive(Default)]
struct RecentGaps<'a> {
    known: Vec<(&'a str, Option<Interval>)>,
}

impl<'a> RecentGaps<'a> {
    /// How many texts are kept.
    const KEPT: usize = 8;

    /// What a text says; `None` when it is no length of time.
    fn of(&mut self, text: &'a str) -> Option<Interval> {
        if let Some((_, gap)) = self.known.iter().find(|(known, _)| *known == text) {
            return *gap;
        }
        if self.known.len() == Self::KEPT {
            self.known.clear();
        }
        let gap = parse_interval(text).ok();
        self.known.push((text, gap));
        gap
    }
}

/// The last time that each window holds.
#[derive(Debug, PartialEq, Eq, Hash)]
struct WindowTime;

impl Kernel for WindowTime {
    fn name(&self) -> &'static str {
        WINDOW_TIME
    }

    fn evaluate(&self, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        let windows = arguments[0].as_struct();
        let ends = windows.column(1).as_primitive::<TimestampMicrosecondType>();
        let times: TimestampMicrosecondArray = ends.unary(|end| end.saturating_sub(1));
        let nulls = NullBuffer::union(windows.nulls(), ends.nulls());
        let times = TimestampMicrosecondArray::new(times.values().clone(), nulls);
        Ok(Arc::new(times.with_data_type(ends.data_type().clone())))
    }
}

#[cfg(test)]
mod tests;
