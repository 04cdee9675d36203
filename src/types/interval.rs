//! Lengths of time as Spark's strings write them: `10 minutes`, `interval 1 hour 30 minutes`.
//!
//! Owns: the grammar, and durations as users give them. Does not own: SQL's `INTERVAL '5' MINUTE` (`plan`), adding an
//! interval to a time.

use std::time::Duration;

use super::calendar::{MICROS_PER_DAY, MICROS_PER_SECOND};
use crate::error::{Error, Result, suggestion};

/// A length of time in the three parts that cannot be converted into one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Interval {
    /// Whole months; a year is twelve.
    pub months: i32,
    /// Whole days; a week is seven.
    pub days: i32,
    /// The rest in microseconds.
    pub micros: i64,
}

/// What a unit adds to an interval.
#[derive(Debug, Clone, Copy)]
enum Unit {
    Months(i64),
    Days(i64),
    Micros(i64),
}

/// The units by their Spark names, then the short forms that other programs write.
static UNITS: [(&str, Unit, &[&str]); 9] = [
    ("year", Unit::Months(12), &[]),
    ("month", Unit::Months(1), &[]),
    ("week", Unit::Days(7), &["w"]),
    ("day", Unit::Days(1), &["d"]),
    ("hour", Unit::Micros(3600 * MICROS_PER_SECOND), &["h", "hr"]),
    ("minute", Unit::Micros(60 * MICROS_PER_SECOND), &["min", "mins"]),
    ("second", Unit::Micros(MICROS_PER_SECOND), &["s", "sec", "secs"]),
    ("millisecond", Unit::Micros(1_000), &["ms"]),
    ("microsecond", Unit::Micros(1), &["us", "µs"]),
];

/// Reads a length of time that is not negative, in any case: `10 minutes`, `1 hour 30 minutes`, `1.5 seconds`,
/// `interval 2 days`. A day is 24 hours.
///
/// # Errors
/// When the text is not one, is negative, too long for microseconds in 64 bits, or has months or years, whose length
/// depends on the date.
pub fn parse_duration(text: &str) -> Result<Duration> {
    let interval = parse_interval(text)?;
    if interval.months != 0 {
        return Err(Error::plan(format!(
            "`{text}` has no fixed length, because months and years differ; write it in days or smaller units"
        )));
    }
    let micros =
        i64::from(interval.days).checked_mul(MICROS_PER_DAY).and_then(|days| days.checked_add(interval.micros));
    match micros.map(u64::try_from) {
        Some(Ok(micros)) => Ok(Duration::from_micros(micros)),
        Some(Err(_)) => Err(Error::plan(format!("the duration `{text}` is negative; write one of zero or more"))),
        None => Err(too_long(text)),
    }
}

/// Reads a length of time with months, years and signs: `-1 month 3 days`, `interval 1 year`. Fractions are for seconds
/// only, and what is smaller than a microsecond is cut off.
///
/// # Errors
/// Says what was expected, and the nearest unit.
pub fn parse_interval(text: &str) -> Result<Interval> {
    let mut rest = without_keyword(text);
    let mut interval = Interval::default();
    if rest.is_empty() {
        return Err(not_an_interval(text, "expected a number and a unit, found nothing"));
    }
    while !rest.is_empty() {
        let (negative, unsigned) = sign(rest);
        let (number, after) = split_where(unsigned, |c| !c.is_ascii_digit() && c != '.');
        let (whole, fraction) = number.split_once('.').map_or((number, None), |(whole, part)| (whole, Some(part)));
        if number.is_empty() || number == "." || fraction.is_some_and(|part| part.contains('.')) {
            return Err(not_an_interval(text, &format!("expected a number at `{unsigned}`")));
        }
        let (name, after) = split_where(after.trim_start(), |c| !c.is_alphabetic());
        let unit = find_unit(text, number, name)?;
        if fraction.is_some() && !matches!(unit, Unit::Micros(MICROS_PER_SECOND)) {
            return Err(not_an_interval(text, &format!("only seconds may have a fraction, `{name}` may not")));
        }
        let amount = Amount { negative, whole, fraction: fraction.unwrap_or("") };
        interval = add(interval, &amount, unit).ok_or_else(|| too_long(text))?;
        rest = after.trim_start();
    }
    Ok(interval)
}

/// The number of a part, as digits.
struct Amount<'a> {
    negative: bool,
    whole: &'a str,
    fraction: &'a str,
}

impl Amount<'_> {
    /// The amount times `factor`, without the fraction.
    fn times(&self, factor: i64) -> Option<i64> {
        let whole: i64 = if self.whole.is_empty() { 0 } else { self.whole.parse().ok()? };
        self.signed(whole.checked_mul(factor)?)
    }

    fn signed(&self, value: i64) -> Option<i64> {
        if self.negative { value.checked_neg() } else { Some(value) }
    }
}

/// Adds `amount` of `unit`; `None` when the sum does not fit.
fn add(mut sum: Interval, amount: &Amount<'_>, unit: Unit) -> Option<Interval> {
    match unit {
        Unit::Months(factor) => sum.months = sum.months.checked_add(i32::try_from(amount.times(factor)?).ok()?)?,
        Unit::Days(factor) => sum.days = sum.days.checked_add(i32::try_from(amount.times(factor)?).ok()?)?,
        Unit::Micros(factor) => {
            let fraction = amount.signed(micros_of(amount.fraction))?;
            sum.micros = sum.micros.checked_add(amount.times(factor)?)?.checked_add(fraction)?;
        }
    }
    Some(sum)
}

/// The text after a leading `INTERVAL`.
fn without_keyword(text: &str) -> &str {
    let text = text.trim();
    match text.split_at_checked("interval".len()) {
        Some((word, rest)) if word.eq_ignore_ascii_case("interval") && rest.starts_with(char::is_whitespace) => {
            rest.trim_start()
        }
        _ => text,
    }
}

fn sign(text: &str) -> (bool, &str) {
    match text.strip_prefix(['-', '+']) {
        Some(rest) => (text.starts_with('-'), rest.trim_start()),
        None => (false, text),
    }
}

fn split_where(text: &str, end: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(end).unwrap_or(text.len()))
}

/// The digits after the point of a number of seconds, in microseconds.
fn micros_of(fraction: &str) -> i64 {
    let digits = fraction.bytes().chain(std::iter::repeat(b'0')).take(6);
    digits.fold(0, |micros, digit| micros * 10 + i64::from(digit - b'0'))
}

fn find_unit(text: &str, number: &str, name: &str) -> Result<Unit> {
    let lower = name.to_lowercase();
    let singular = lower.strip_suffix('s').unwrap_or(&lower);
    let found = UNITS.iter().find(|(unit, _, short)| *unit == singular || short.contains(&lower.as_str()));
    found.map(|(_, unit, _)| *unit).ok_or_else(|| {
        let what = match name {
            "" => format!("expected a unit after {number}"),
            "m" => "`m` may be minutes or months, write the word".to_string(),
            _ => format!("unknown unit `{name}`{}", suggestion(name, UNITS.iter().map(|(unit, ..)| *unit))),
        };
        not_an_interval(text, &what)
    })
}

fn not_an_interval(text: &str, what: &str) -> Error {
    Error::plan(format!(
        "`{text}` is not a length of time: {what}; write for instance `10 minutes` or `1 hour 30 minutes`"
    ))
}

fn too_long(text: &str) -> Error {
    Error::plan(format!("the length of time `{text}` is too long; it must fit into microseconds in 64 bits"))
}

/// What can stand for a duration: Spark's strings and [`std::time::Duration`].
pub trait IntoDuration {
    /// The text that [`parse_duration`] reads.
    fn into_duration_text(self) -> String;
}

impl IntoDuration for &str {
    fn into_duration_text(self) -> String {
        self.to_string()
    }
}

impl IntoDuration for &String {
    fn into_duration_text(self) -> String {
        self.clone()
    }
}

impl IntoDuration for String {
    fn into_duration_text(self) -> String {
        self
    }
}

/// Whole microseconds; what is smaller is cut off.
impl IntoDuration for Duration {
    fn into_duration_text(self) -> String {
        format!("{} microseconds", self.as_micros())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_in_microseconds() {
        const MINUTE: u64 = 60_000_000;
        let cases = [
            ("10 minutes", 10 * MINUTE),
            ("1 minute", MINUTE),
            ("1 hour 30 minutes", 90 * MINUTE),
            ("500 milliseconds", 500_000),
            ("1.5 seconds", 1_500_000),
            (".5 second", 500_000),
            ("1.1234567 seconds", 1_123_456),
            ("interval 5 minutes", 5 * MINUTE),
            ("  INTERVAL\t5  MINUTES ", 5 * MINUTE),
            ("2 days", 2 * 1440 * MINUTE),
            ("1 week", 7 * 1440 * MINUTE),
            ("7 microseconds", 7),
            ("0 seconds", 0),
            ("1 hour -30 minutes", 30 * MINUTE),
            ("+ 5 seconds", 5_000_000),
            ("500ms", 500_000),
            ("10s", 10_000_000),
            ("2 h 5 min", 125 * MINUTE),
            ("1 d", 1440 * MINUTE),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_duration(text).unwrap(), Duration::from_micros(expected), "{text}");
        }
    }

    #[test]
    fn a_bad_duration_is_refused_with_the_reason() {
        let cases = [
            ("", "expected a number and a unit, found nothing"),
            ("interval", "expected a number at `interval`"),
            ("10", "expected a unit after 10"),
            ("ten minutes", "expected a number at `ten minutes`"),
            ("10 minuts", "unknown unit `minuts`; did you mean `minute`?"),
            ("10 m", "`m` may be minutes or months"),
            ("1.5 hours", "only seconds may have a fraction, `hours` may not"),
            ("1.2.3 seconds", "expected a number at `1.2.3 seconds`"),
            ("5 minutes, 3 seconds", "expected a number at `, 3 seconds`"),
            ("-5 minutes", "is negative"),
            ("1 month", "months and years differ; write it in days"),
            ("2 years", "months and years differ"),
            ("9223372036854775807 seconds", "is too long"),
            ("99999999999999999999 seconds", "is too long"),
            ("106751992 days", "is too long"),
        ];
        for (text, expected) in cases {
            let error = parse_duration(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn intervals_keep_their_parts_and_signs() {
        let interval = |months, days, micros| Interval { months, days, micros };
        let cases = [
            ("1 year 2 months", interval(14, 0, 0)),
            ("-1 month 3 days", interval(-1, 3, 0)),
            ("- 1 week 2 days", interval(0, -5, 0)),
            ("-1.5 seconds", interval(0, 0, -1_500_000)),
            ("1 day 24 hours", interval(0, 1, 86_400_000_000)),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_interval(text).unwrap(), expected, "{text}");
        }
        assert!(parse_interval("178956971 years").is_err());
    }

    #[test]
    fn a_standard_duration_is_read_back_exactly() {
        for duration in [Duration::ZERO, Duration::from_micros(1_500_001), Duration::from_hours(8_760)] {
            assert_eq!(parse_duration(&duration.into_duration_text()).unwrap(), duration);
        }
        assert_eq!(Duration::from_millis(1500).into_duration_text(), "1500000 microseconds");
        let owned = String::from("1 day");
        assert_eq!(((&owned).into_duration_text(), owned.into_duration_text()), ("1 day".into(), "1 day".into()));
        assert!(parse_duration(&Duration::MAX.into_duration_text()).is_err());
    }
}
