//! Dates and timestamps as text, by the rules of Spark's CAST.
//!
//! Owns: text to days and microseconds, and back. Does not own: patterns such as `date_format`'s (`pattern`), and "now":
//! a time without a date is null here.

use std::fmt::Write;

use super::calendar::{MICROS_PER_DAY, MICROS_PER_SECOND, date_of, days_of};
use super::eight::seconds_of_day;
use super::number::trimmed;
use super::zone::Zone;

/// Reads a timestamp into microseconds since 1970-01-01T00:00:00Z; `None` where Spark's CAST gives null.
///
/// The forms are `[+-]yyyy[-M[-d]]`, and after a day ` ` or `T` and `H[:m[:s[.f]][zone]]`; the zone, allowed after
/// seconds only, is `Z`, `UTC`, `+08:00`, `GMT+8` and the like. Without one the text is in `zone`. Blanks around it are
/// dropped, digits below microseconds cut off. Regions such as `Europe/Paris` are not known.
pub fn parse_timestamp(text: &str, zone: Zone) -> Option<i64> {
    let stamp = Stamp::read(text)?;
    let east = stamp.zone.unwrap_or(zone).offset_micros();
    i64::try_from(stamp.local_micros() - i128::from(east)).ok()
}

/// Reads a timestamp without zone into microseconds since 1970-01-01T00:00:00; `None` where Spark's CAST gives null.
///
/// The forms are those of [`parse_timestamp`]; a zone is read and dropped.
pub fn parse_timestamp_ntz(text: &str) -> Option<i64> {
    i64::try_from(Stamp::read(text)?.local_micros()).ok()
}

/// Reads the usual form of a timestamp, `yyyy-MM-dd HH:mm:ss` with ` ` or `T`, into microseconds since 1970-01-01T00:00:00 where it was
/// written. `None` for any other text, which may be a timestamp all the same.
pub(crate) fn usual_timestamp(text: &[u8]) -> Option<i64> {
    let text: &[u8; 19] = text.try_into().ok()?;
    if text[4] != b'-' || text[7] != b'-' {
        return None;
    }
    let year = two_digits(text, 0)? * 100 + two_digits(text, 2)?;
    let days = days_of(year, two_digits(text, 5)?, two_digits(text, 8)?)?;
    Some(days * MICROS_PER_DAY + time_of_day(&text[10..])?)
}

/// Reads what follows the date in the usual form of a timestamp, ` HH:mm:ss` with ` ` or `T`, into microseconds since midnight.
#[inline]
pub(crate) fn time_of_day(text: &[u8]) -> Option<i64> {
    let (blank, time) = text.split_first()?;
    if !matches!(blank, b' ' | b'T') {
        return None;
    }
    seconds_of_day(time.try_into().ok()?).map(|seconds| seconds * MICROS_PER_SECOND)
}

#[inline]
fn two_digits<const N: usize>(text: &[u8; N], at: usize) -> Option<i64> {
    let (tens, ones) = (text[at].wrapping_sub(b'0'), text[at + 1].wrapping_sub(b'0'));
    (tens <= 9 && ones <= 9).then(|| i64::from(tens) * 10 + i64::from(ones))
}

/// Reads a date into days since 1970-01-01; `None` where Spark's CAST gives null.
///
/// The forms are `[+-]yyyy[-M[-d]]`; after a day and ` ` or `T` anything may follow and is dropped.
pub fn parse_date(text: &str) -> Option<i32> {
    let mut reader = Reader(trimmed(text));
    let (days, has_day) = reader.date(7)?;
    let rest = reader.0;
    let is_done = rest.is_empty() || (has_day && rest.starts_with([' ', 'T']));
    if is_done { i32::try_from(days).ok() } else { None }
}

/// A timestamp as written.
struct Stamp {
    days: i64,
    micros_of_day: i64,
    zone: Option<Zone>,
}

impl Stamp {
    fn read(text: &str) -> Option<Self> {
        let mut reader = Reader(trimmed(text));
        let (days, has_day) = reader.date(6)?;
        if reader.0.is_empty() {
            return Some(Self { days, micros_of_day: 0, zone: None });
        }
        if !has_day || !(reader.take(' ') || reader.take('T')) {
            return None;
        }
        let (micros_of_day, zone) = reader.time()?;
        Some(Self { days, micros_of_day, zone })
    }

    fn local_micros(&self) -> i128 {
        i128::from(self.days) * i128::from(MICROS_PER_DAY) + i128::from(self.micros_of_day)
    }
}

/// What is left to read.
struct Reader<'a>(&'a str);

impl Reader<'_> {
    fn take(&mut self, c: char) -> bool {
        let rest = self.0.strip_prefix(c);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    /// Takes all digits that follow, of which there must be `least` to `most`.
    fn number(&mut self, least: usize, most: usize) -> Option<i64> {
        let digits = self.digits();
        (least..=most).contains(&digits.len()).then(|| value_of(digits.bytes()))
    }

    fn digits(&mut self) -> &str {
        let end = self.0.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.0.len());
        let (digits, rest) = self.0.split_at(end);
        self.0 = rest;
        digits
    }

    /// Days since 1970-01-01, and whether a day was written.
    fn date(&mut self, year_digits: usize) -> Option<(i64, bool)> {
        let is_negative = self.take('-');
        if !is_negative {
            self.take('+');
        }
        let year = self.number(4, year_digits)?;
        let month = if self.take('-') { Some(self.number(1, 2)?) } else { None };
        let day = if month.is_some() && self.take('-') { Some(self.number(1, 2)?) } else { None };
        let days = days_of(if is_negative { -year } else { year }, month.unwrap_or(1), day.unwrap_or(1))?;
        Some((days, day.is_some()))
    }

    /// Microseconds since midnight and the zone, up to the end of the text.
    fn time(&mut self) -> Option<(i64, Option<Zone>)> {
        let hour = self.number(1, 2)?;
        let minute = if self.take(':') { Some(self.number(1, 2)?) } else { None };
        let second = if minute.is_some() && self.take(':') { Some(self.number(1, 2)?) } else { None };
        let micros = if second.is_some() && self.take('.') { self.micros() } else { 0 };
        let zone = match (self.0, second) {
            ("", _) => None,
            (zone, Some(_)) => Some(Zone::read(zone.trim_start())?),
            (_, None) => return None,
        };
        let (minute, second) = (minute.unwrap_or(0), second.unwrap_or(0));
        let is_time = hour < 24 && minute < 60 && second < 60;
        is_time.then_some((((hour * 60 + minute) * 60 + second) * MICROS_PER_SECOND + micros, zone))
    }

    /// The digits after the point of a number of seconds, in microseconds.
    fn micros(&mut self) -> i64 {
        value_of(self.digits().bytes().chain(std::iter::repeat(b'0')).take(6))
    }
}

fn value_of(digits: impl Iterator<Item = u8>) -> i64 {
    digits.fold(0, |value, digit| value * 10 + i64::from(digit - b'0'))
}

/// Writes days since 1970-01-01 as `yyyy-MM-dd`.
pub fn date_text(days: i32) -> String {
    let mut text = String::new();
    write_date(&mut text, i64::from(days));
    text
}

/// Writes microseconds since 1970-01-01T00:00:00Z in UTC: `yyyy-MM-dd HH:mm:ss[.f]`, no zeros at the end of `f`.
pub fn timestamp_text(micros: i64) -> String {
    timestamp_text_in(micros, Zone::UTC)
}

/// The same as [`timestamp_text`], in `zone`.
pub fn timestamp_text_in(micros: i64, zone: Zone) -> String {
    let mut text = String::new();
    write_timestamp(&mut text, micros, zone);
    text
}

/// Years above 9999 get a plus sign, as in Java. Writing to a string cannot fail.
pub(super) fn write_date(out: &mut String, days: i64) {
    let (year, month, day) = date_of(days);
    let _ = match year {
        0..=9999 => write!(out, "{year:04}-{month:02}-{day:02}"),
        _ => write!(out, "{year:+05}-{month:02}-{day:02}"),
    };
}

pub(super) fn write_timestamp(out: &mut String, micros: i64, zone: Zone) {
    let local = micros.saturating_add(zone.offset_micros());
    write_date(out, local.div_euclid(MICROS_PER_DAY));
    out.push(' ');
    write_clock(out, local.rem_euclid(MICROS_PER_DAY));
}

/// Writes a length of time as `HH:mm:ss[.f]`, no zeros at the end of `f`.
pub(super) fn write_clock(out: &mut String, micros: i64) {
    let (seconds, fraction) = (micros / MICROS_PER_SECOND, micros % MICROS_PER_SECOND);
    let _ = write!(out, "{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    if fraction != 0 {
        let _ = write!(out, ".{fraction:06}");
        out.truncate(out.trim_end_matches('0').len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = MICROS_PER_DAY;
    const HOUR: i64 = 3600 * MICROS_PER_SECOND;

    #[test]
    fn timestamps_are_read_as_sparks_cast_reads_them() {
        let noon = 19_675 * DAY + 12 * HOUR;
        let cases = [
            ("1970-01-01 00:00:00", Some(0)),
            ("1970", Some(0)),
            ("1970-2", Some(31 * DAY)),
            ("1970-1-2", Some(DAY)),
            ("2023-11-14", Some(19_675 * DAY)),
            ("2023-11-14 12", Some(noon)),
            ("2023-11-14T12:0", Some(noon)),
            ("2023-11-14 12:00:00", Some(noon)),
            ("2023-11-14T12:00:00Z", Some(noon)),
            ("\t 2023-11-14 12:00:00 \n", Some(noon)),
            ("2023-11-14 12:00:00 UTC", Some(noon)),
            ("2023-11-14 12:00:00+08:00", Some(noon - 8 * HOUR)),
            ("2023-11-14 12:00:00 +8:00", Some(noon - 8 * HOUR)),
            ("2023-11-14 12:00:00.5-0130", Some(noon + 500_000 + HOUR + HOUR / 2)),
            ("2023-11-14 12:00:00GMT-1", Some(noon + HOUR)),
            ("2023-11-14 12:00:00.", Some(noon)),
            ("2023-11-14 12:00:00.000001", Some(noon + 1)),
            ("2023-11-14 12:00:00.0000019999", Some(noon + 1)),
            ("2023-11-14 12:0:0.12", Some(noon + 120_000)),
            ("+2023-11-14", Some(19_675 * DAY)),
            ("0000-01-01", Some(-719_528 * DAY)),
            ("-0001-01-01", Some(-719_893 * DAY)),
            ("294247-01-10T04:00:54.775807Z", Some(i64::MAX)),
            ("-290308-12-21T19:59:05.224192Z", Some(i64::MIN)),
            ("294247-01-10T04:00:54.775808Z", None),
            ("1234567-01-01", None),
            ("2023-11-14 ", Some(19_675 * DAY)),
            ("2023-11-14T", None),
            ("2023-11-14  12:00", None),
            ("2023-11-14 12:00Z", None),
            ("2023-11-14Z", None),
            ("2023-11 12:00", None),
            ("2023-02-29", None),
            ("2023-13-01", None),
            ("2023-11-14 24:00:00", None),
            ("2023-11-14 23:60:00", None),
            ("2023-11-14 23:59:60", None),
            ("2023-11-14 12:00:00 Europe/Paris", None),
            ("2023-11-14 12:00:00+19:00", None),
            ("2023/11/14", None),
            ("23-11-14", None),
            ("12:00:00", None),
            ("T12:00:00", None),
            ("2023-", None),
            ("", None),
            ("   ", None),
            ("a word", None),
            ("二千年", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_timestamp(text, Zone::UTC), expected, "{text}");
        }
    }

    #[test]
    fn the_usual_form_is_read_as_any_other() {
        for text in ["2023-11-14 12:00:00", "2024-02-29T23:59:59", "0001-01-01 00:00:00", "9999-12-31 00:00:01"] {
            assert_eq!(usual_timestamp(text.as_bytes()), parse_timestamp_ntz(text), "{text}");
        }
        for text in ["2023-02-29 12:00:00", "2023-11-14 24:00:00", "2023-11-14 12:60:00", "2023-1x-14 12:00:00"] {
            assert_eq!((usual_timestamp(text.as_bytes()), parse_timestamp_ntz(text)), (None, None), "{text}");
        }
        for text in ["", "2023-11-14", "2023-11-14 12:00:0", "2023/11/14 12:00:00", "2023-11-14 12:00:00Z"] {
            assert_eq!(usual_timestamp(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn the_session_zone_is_for_timestamps_that_name_none() {
        let zone = Zone::parse("+08:00").unwrap();
        assert_eq!(parse_timestamp("1970-01-01 08:00:00", zone), Some(0));
        assert_eq!(parse_timestamp("1970-01-01", zone), Some(-8 * HOUR));
        assert_eq!(parse_timestamp("1970-01-01 00:00:00Z", zone), Some(0));
        assert_eq!(parse_timestamp_ntz("1970-01-01 01:00:00+08:00"), Some(HOUR));
        assert_eq!(parse_timestamp_ntz("01:00:00"), None);
    }

    #[test]
    fn dates_are_read_as_sparks_cast_reads_them() {
        let cases = [
            ("1970-01-01", Some(0)),
            (" 1970-1-3 ", Some(2)),
            ("1970", Some(0)),
            ("1971-02", Some(396)),
            ("2023-11-14 12:00", Some(19_675)),
            ("2023-11-14Twhatever", Some(19_675)),
            ("5881580-07-11", Some(i32::MAX)),
            ("-5877641-06-23", Some(i32::MIN)),
            ("5881580-07-12", None),
            ("2023-11T", None),
            ("2023-11-14x", None),
            ("2023-11-31", None),
            ("1-1-1", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_date(text), expected, "{text}");
        }
    }

    #[test]
    fn dates_and_timestamps_are_written_as_spark_writes_them() {
        assert_eq!(date_text(0), "1970-01-01");
        assert_eq!(date_text(i32::MAX), "+5881580-07-11");
        assert_eq!(date_text(-719_893), "-0001-01-01");
        let cases = [
            (0, "1970-01-01 00:00:00"),
            (-1, "1969-12-31 23:59:59.999999"),
            (1_500_000, "1970-01-01 00:00:01.5"),
            (120, "1970-01-01 00:00:00.00012"),
            (10_000_000, "1970-01-01 00:00:10"),
            (i64::MAX, "+294247-01-10 04:00:54.775807"),
        ];
        for (micros, expected) in cases {
            assert_eq!(timestamp_text(micros), expected);
            assert_eq!(parse_timestamp(expected, Zone::UTC), Some(micros));
        }
        assert_eq!(timestamp_text_in(0, Zone::parse("-01:30").unwrap()), "1969-12-31 22:30:00");
    }
}
