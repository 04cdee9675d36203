//! Functions over TIMESTAMP and DATE, and the windows of event time. Times are read and shown in the session's time
//! zone.

use super::of_one_column;
use crate::expr::{Expr, IntoOperand};
use crate::types::IntoDuration;

/// The window of this size that a time falls into: a STRUCT `window` of `start` (inclusive) and `end` (exclusive).
///
/// `group_by((window("time", "10 minutes"), "word"))` groups rows by window and word. Rows without a time are left out.
#[track_caller]
pub fn window(time: impl Into<Expr>, size: impl IntoDuration) -> Expr {
    Expr::function("window", [time.into(), duration(size)])
}

/// The windows of this size that a time falls into, when one starts every `slide`: several rows out of one when `slide`
/// is smaller than `size`.
#[track_caller]
pub fn window_sliding(time: impl Into<Expr>, size: impl IntoDuration, slide: impl IntoDuration) -> Expr {
    Expr::function("window", [time.into(), duration(size), duration(slide)])
}

/// As [`window_sliding`], with windows moved by `start`, which may be negative (`"-15 minutes"`), from 1970-01-01 00:00
/// UTC.
#[track_caller]
pub fn window_sliding_from(
    time: impl Into<Expr>,
    size: impl IntoDuration,
    slide: impl IntoDuration,
    start: impl IntoDuration,
) -> Expr {
    Expr::function("window", [time.into(), duration(size), duration(slide), duration(start)])
}

/// The session a time belongs to: a STRUCT `session_window` of `start` and `end`. A session goes on as long as rows of
/// its key come within `gap` of each other; `gap` is a duration in text, an interval, or an expression of the row. Rows
/// without a time, or whose gap is null, unreadable, zero or negative, are left out.
#[track_caller]
pub fn session_window(time: impl Into<Expr>, gap: impl IntoOperand) -> Expr {
    Expr::function("session_window", [time.into(), gap.into_operand()])
}

#[track_caller]
fn duration(duration: impl IntoDuration) -> Expr {
    duration.into_duration_text().into_operand()
}

/// The time of the epoch as TIMESTAMP, the same in all its rows.
#[track_caller]
pub fn current_timestamp() -> Expr {
    Expr::function("current_timestamp", [])
}

/// The day of the epoch as DATE, the same in all its rows.
#[track_caller]
pub fn current_date() -> Expr {
    Expr::function("current_date", [])
}

of_one_column! {
    /// The last microsecond of a window that [`window`] or [`session_window`] made, as TIMESTAMP: its event time.
    window_time => "window_time";
    /// Read as TIMESTAMP from `yyyy-MM-dd HH:mm:ss.ffffff` or a shorter form; null for another text.
    to_timestamp => "to_timestamp";
    /// Read as DATE from `yyyy-MM-dd` or a shorter form, or the day of a TIMESTAMP; null for another text.
    to_date => "to_date";
    /// The year as INT.
    year => "year";
    /// The quarter from 1 to 4 as INT.
    quarter => "quarter";
    /// The month from 1 to 12 as INT.
    month => "month";
    /// The ISO week of the year from 1 to 53 as INT.
    weekofyear => "weekofyear";
    /// The day of the month from 1 to 31 as INT.
    dayofmonth => "dayofmonth";
    /// The day of the week from 1, Sunday, to 7 as INT.
    dayofweek => "dayofweek";
    /// The day of the year from 1 to 366 as INT.
    dayofyear => "dayofyear";
    /// The hour from 0 to 23 as INT.
    hour => "hour";
    /// The minute from 0 to 59 as INT.
    minute => "minute";
    /// The second from 0 to 59 as INT.
    second => "second";
    /// The last day of the month as DATE.
    last_day => "last_day";
    /// The whole seconds since 1970-01-01 00:00 UTC as BIGINT.
    unix_timestamp => "unix_timestamp";
    /// Seconds since 1970-01-01 00:00 UTC as the text `yyyy-MM-dd HH:mm:ss`.
    from_unixtime => "from_unixtime";
}

/// Read as TIMESTAMP by a pattern of Spark's, such as `dd/MM/yyyy HH:mm`; null for another text.
#[track_caller]
pub fn to_timestamp_format(column: impl Into<Expr>, format: &str) -> Expr {
    Expr::function("to_timestamp", [column.into(), format.into_operand()])
}

/// Read as DATE by a pattern of Spark's, such as `dd/MM/yyyy`; null for another text.
#[track_caller]
pub fn to_date_format(column: impl Into<Expr>, format: &str) -> Expr {
    Expr::function("to_date", [column.into(), format.into_operand()])
}

/// Written as text by a pattern of Spark's, such as `yyyy-MM-dd`.
#[track_caller]
pub fn date_format(column: impl Into<Expr>, format: &str) -> Expr {
    Expr::function("date_format", [column.into(), format.into_operand()])
}

/// Cut down to the start of its `year`, `quarter`, `month`, `week`, `day`, `hour`, `minute`, `second`, … as TIMESTAMP.
#[track_caller]
pub fn date_trunc(unit: &str, column: impl Into<Expr>) -> Expr {
    Expr::function("date_trunc", [unit.into_operand(), column.into()])
}

/// So many days later, as DATE.
#[track_caller]
pub fn date_add(column: impl Into<Expr>, days: impl IntoOperand) -> Expr {
    Expr::function("date_add", [column.into(), days.into_operand()])
}

/// So many days earlier, as DATE.
#[track_caller]
pub fn date_sub(column: impl Into<Expr>, days: impl IntoOperand) -> Expr {
    Expr::function("date_sub", [column.into(), days.into_operand()])
}

/// So many months later, as DATE; at the end of a shorter month where the day is missing there.
#[track_caller]
pub fn add_months(column: impl Into<Expr>, months: impl IntoOperand) -> Expr {
    Expr::function("add_months", [column.into(), months.into_operand()])
}

/// The days from `start` to `end` as INT.
#[track_caller]
pub fn datediff(end: impl Into<Expr>, start: impl Into<Expr>) -> Expr {
    Expr::function("datediff", [end.into(), start.into()])
}
