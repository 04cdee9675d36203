//! Java's date and time patterns, as the options `dateFormat` and `timestampFormat` hold them.
//!
//! Owns: reading text by a pattern of the letters `y u M d H h a m s S X x Z`, `'text'` and `[optional]` parts. Does
//! not own: times without a pattern, which are read as Spark's CAST reads them (`types`).

use chrono::{NaiveDate, NaiveDateTime};

use crate::error::{Error, Result};
use crate::types::Zone;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// A compiled pattern.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pattern(Vec<Part>);

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Literal(String),
    Number {
        field: Field,
        min: usize,
        max: usize,
    },
    /// Year of two digits, 2000 to 2099.
    ShortYear,
    MonthName {
        is_short: bool,
    },
    HalfOfDay,
    /// One to this many digits.
    Fraction(usize),
    Offset {
        has_z: bool,
        has_colon: bool,
        minutes: Minutes,
    },
    Optional(Vec<Part>),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Field {
    Year,
    Month,
    Day,
    Hour,
    HalfDayHour,
    Minute,
    Second,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Minutes {
    Optional,
    Required,
}

/// What was read so far; the beginning of 1970 where nothing was.
#[derive(Debug, Clone, Copy)]
struct Moment {
    year: i32,
    month: u32,
    day: u32,
    hour: u32,
    minute: u32,
    second: u32,
    micros: u32,
    is_afternoon: Option<bool>,
    offset_seconds: Option<i64>,
}

impl Pattern {
    /// Compiles the pattern that `option` holds.
    ///
    /// # Errors
    /// When it has a letter that means nothing here, or a quote or bracket is not closed.
    pub(super) fn parse(option: &'static str, text: &str) -> Result<Self> {
        let bad = |what: String| {
            Error::config(format!(
                "option `{option}`=`{text}`: {what}; known letters are y u M d H h a m s S X x Z, \
                 with 'text' and [optional] parts"
            ))
        };
        let mut rest = text;
        let parts = parts(&mut rest, false).map_err(bad)?;
        Ok(Self(parts))
    }

    /// Days since 1970-01-01; a time of day is read and ignored.
    pub(super) fn date(&self, text: &[u8]) -> Option<i32> {
        let date = self.read(text)?.date()?;
        i32::try_from(date.signed_duration_since(NaiveDate::default()).num_days()).ok()
    }

    /// Microseconds since 1970-01-01T00:00:00Z; a time without an offset is one of `zone`.
    pub(super) fn timestamp(&self, text: &[u8], zone: Zone) -> Option<i64> {
        let moment = self.read(text)?;
        let offset = moment.offset_seconds.unwrap_or(i64::from(zone.offset_seconds()));
        moment.local()?.and_utc().timestamp_micros().checked_sub(offset * 1_000_000)
    }

    /// Microseconds since 1970-01-01T00:00:00 on the writer's clock; an offset is ignored.
    pub(super) fn local_timestamp(&self, text: &[u8]) -> Option<i64> {
        Some(self.read(text)?.local()?.and_utc().timestamp_micros())
    }

    fn read(&self, text: &[u8]) -> Option<Moment> {
        let mut moment = Moment {
            year: 1970,
            month: 1,
            day: 1,
            hour: 0,
            minute: 0,
            second: 0,
            micros: 0,
            is_afternoon: None,
            offset_seconds: None,
        };
        let rest = read_all(&self.0, text, &mut moment)?;
        rest.is_empty().then_some(moment)
    }
}

impl Moment {
    fn date(&self) -> Option<NaiveDate> {
        NaiveDate::from_ymd_opt(self.year, self.month, self.day)
    }

    fn local(&self) -> Option<NaiveDateTime> {
        let hour = match self.is_afternoon {
            None => self.hour,
            Some(is_afternoon) => self.hour % 12 + if is_afternoon { 12 } else { 0 },
        };
        self.date()?.and_hms_micro_opt(hour, self.minute, self.second, self.micros)
    }

    fn set(&mut self, field: Field, value: u32) -> Option<()> {
        match field {
            Field::Year => self.year = i32::try_from(value).ok()?,
            Field::Month => self.month = value,
            Field::Day => self.day = value,
            Field::HalfDayHour if !(1..=12).contains(&value) => return None,
            Field::Hour | Field::HalfDayHour => self.hour = value,
            Field::Minute => self.minute = value,
            Field::Second => self.second = value,
        }
        Some(())
    }
}

/// Compiles up to the end, or up to the closing bracket of an optional part.
fn parts(rest: &mut &str, is_optional: bool) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    while let Some(letter) = rest.chars().next() {
        let run = rest.len() - rest.trim_start_matches(letter).len();
        let (taken, part) = match letter {
            '[' => {
                *rest = &rest[1..];
                (0, Part::Optional(self::parts(rest, true)?))
            }
            ']' if is_optional => {
                *rest = &rest[1..];
                return Ok(settle_widths(parts));
            }
            ']' => return Err("a `]` has no `[`".to_string()),
            '\'' => quoted(rest)?,
            _ if letter.is_ascii_alphabetic() => (run, letters(letter, run)?),
            _ => (letter.len_utf8(), Part::Literal(letter.to_string())),
        };
        *rest = &rest[taken..];
        parts.push(part);
    }
    if is_optional { Err("a `[` is not closed".to_string()) } else { Ok(settle_widths(parts)) }
}

/// `'text'`, where `''` is a quote.
fn quoted(rest: &str) -> Result<(usize, Part), String> {
    if rest.starts_with("''") {
        return Ok((2, Part::Literal("'".to_string())));
    }
    let mut literal = String::new();
    let mut at = 1;
    loop {
        let end = rest[at..].find('\'').ok_or("a quote is not closed")? + at;
        literal.push_str(&rest[at..end]);
        if !rest[end + 1..].starts_with('\'') {
            return Ok((end + 1, Part::Literal(literal)));
        }
        literal.push('\'');
        at = end + 2;
    }
}

fn letters(letter: char, run: usize) -> Result<Part, String> {
    let field = match letter {
        'y' | 'u' => Field::Year,
        'M' | 'L' => Field::Month,
        'd' => Field::Day,
        'H' => Field::Hour,
        'h' => Field::HalfDayHour,
        'm' => Field::Minute,
        's' => Field::Second,
        _ => return other_letters(letter, run),
    };
    match (field, run) {
        (Field::Year, 2) => Ok(Part::ShortYear),
        (Field::Year, 4) => Ok(Part::Number { field, min: 4, max: 4 }),
        (Field::Year, 1) => Ok(Part::Number { field, min: 1, max: 6 }),
        (Field::Month, 3 | 4) => Ok(Part::MonthName { is_short: run == 3 }),
        (Field::Year, _) | (_, 3..) => Err(format!("`{letter}` cannot stand {run} times")),
        _ => Ok(Part::Number { field, min: run, max: 2 }),
    }
}

fn other_letters(letter: char, run: usize) -> Result<Part, String> {
    let offset = |has_colon, minutes| Part::Offset { has_z: letter == 'X' || run == 5, has_colon, minutes };
    match (letter, run) {
        ('S', 1..=9) => Ok(Part::Fraction(run)),
        ('a', 1) => Ok(Part::HalfOfDay),
        ('X' | 'x', 1) => Ok(offset(false, Minutes::Optional)),
        ('X' | 'x', 2) | ('Z', 1..=3) => Ok(offset(false, Minutes::Required)),
        ('X' | 'x', 3) | ('Z', 5) => Ok(offset(true, Minutes::Required)),
        ('S' | 'a' | 'X' | 'x' | 'Z', _) => Err(format!("`{letter}` cannot stand {run} times")),
        _ => Err(format!("the letter `{letter}` is not known")),
    }
}

/// A number of one letter is as long as its digits, except right before another number.
fn settle_widths(mut parts: Vec<Part>) -> Vec<Part> {
    for index in 1..parts.len() {
        let is_before_number = matches!(parts[index], Part::Number { .. } | Part::Fraction(_) | Part::ShortYear);
        if let Part::Number { min, max, .. } = &mut parts[index - 1]
            && is_before_number
        {
            *max = *min;
        }
    }
    parts
}

fn read_all<'a>(parts: &[Part], mut text: &'a [u8], moment: &mut Moment) -> Option<&'a [u8]> {
    for part in parts {
        text = read_part(part, text, moment)?;
    }
    Some(text)
}

fn read_part<'a>(part: &Part, text: &'a [u8], moment: &mut Moment) -> Option<&'a [u8]> {
    match part {
        Part::Literal(literal) => text.strip_prefix(literal.as_bytes()),
        Part::Number { field, min, max } => {
            let (value, rest) = digits(text, *min, *max)?;
            moment.set(*field, value)?;
            Some(rest)
        }
        Part::ShortYear => {
            let (value, rest) = digits(text, 2, 2)?;
            moment.set(Field::Year, 2000 + value)?;
            Some(rest)
        }
        Part::Fraction(max) => {
            let (value, rest) = digits(text, 1, *max)?;
            let count = u32::try_from(text.len() - rest.len()).ok()?;
            moment.micros = u32::try_from(u64::from(value) * 1_000_000 / 10u64.pow(count)).ok()?;
            Some(rest)
        }
        Part::MonthName { is_short } => month_name(*is_short, text, moment),
        Part::HalfOfDay => {
            let (name, rest) = text.split_at_checked(2)?;
            moment.is_afternoon = Some(name.eq_ignore_ascii_case(b"pm"));
            (moment.is_afternoon == Some(true) || name.eq_ignore_ascii_case(b"am")).then_some(rest)
        }
        Part::Offset { has_z, has_colon, minutes } => offset(*has_z, *has_colon, *minutes, text, moment),
        Part::Optional(parts) => {
            let mut attempt = *moment;
            match read_all(parts, text, &mut attempt) {
                Some(rest) => {
                    *moment = attempt;
                    Some(rest)
                }
                None => Some(text),
            }
        }
    }
}

fn digits(text: &[u8], min: usize, max: usize) -> Option<(u32, &[u8])> {
    let count = text.iter().take(max).take_while(|byte| byte.is_ascii_digit()).count();
    let value = text[..count].iter().fold(0, |value, digit| value * 10 + u32::from(digit - b'0'));
    (count >= min).then_some((value, &text[count..]))
}

fn month_name<'a>(is_short: bool, text: &'a [u8], moment: &mut Moment) -> Option<&'a [u8]> {
    for (number, name) in (1..).zip(MONTHS) {
        let name = if is_short { &name[..3] } else { name };
        if let Some((start, rest)) = text.split_at_checked(name.len())
            && start == name.as_bytes()
        {
            moment.month = number;
            return Some(rest);
        }
    }
    None
}

fn offset<'a>(has_z: bool, has_colon: bool, minutes: Minutes, text: &'a [u8], moment: &mut Moment) -> Option<&'a [u8]> {
    if let Some(rest) = text.strip_prefix(b"Z")
        && has_z
    {
        moment.offset_seconds = Some(0);
        return Some(rest);
    }
    let (sign, rest) = match text {
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return None,
    };
    let (hours, mut rest) = digits(rest, 2, 2)?;
    if has_colon {
        rest = rest.strip_prefix(b":")?;
    }
    let (minutes, rest) = match (digits(rest, 2, 2), minutes) {
        (Some(read), _) => read,
        (None, Minutes::Optional) => (0, rest),
        (None, Minutes::Required) => return None,
    };
    moment.offset_seconds = Some(sign * (i64::from(hours) * 3600 + i64::from(minutes) * 60));
    (hours <= 18 && minutes < 60).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pattern: &str, text: &str) -> Option<String> {
        let pattern = Pattern::parse("timestampFormat", pattern).unwrap();
        let micros = pattern.timestamp(text.as_bytes(), Zone::default())?;
        Some(chrono::DateTime::from_timestamp_micros(micros)?.format("%Y-%m-%d %H:%M:%S%.f").to_string())
    }

    #[test]
    fn patterns_read_what_java_writes_with_them() {
        let table = [
            ("dd/MM/yyyy HH:mm", "31/12/2024 23:59", "2024-12-31 23:59:00"),
            ("yyyyMMddHHmmss", "20240102030405", "2024-01-02 03:04:05"),
            ("d.M.yy", "3.4.21", "2021-04-03 00:00:00"),
            ("yyyy-MM-dd'T'HH:mm:ss[.SSS][XXX]", "2024-01-02T03:04:05", "2024-01-02 03:04:05"),
            ("yyyy-MM-dd'T'HH:mm:ss[.SSS][XXX]", "2024-01-02T03:04:05.5+01:30", "2024-01-02 01:34:05.500"),
            ("yyyy-MM-dd'T'HH:mm:ss[.SSS][XXX]", "2024-01-02T03:04:05.123Z", "2024-01-02 03:04:05.123"),
            ("MMM d yyyy h:mm a", "Feb 29 2024 12:05 AM", "2024-02-29 00:05:00"),
            ("MMMM d yyyy h 'o''clock' a", "May 9 2024 1 o'clock pm", "2024-05-09 13:00:00"),
            ("HH:mm:ss.SSSSSS x", "01:02:03.000004 -05", "1970-01-01 06:02:03.000004"),
            ("uuuu Z", "2024 +0100", "2023-12-31 23:00:00"),
        ];
        for (pattern, text, expected) in table {
            assert_eq!(read(pattern, text).as_deref(), Some(expected), "{pattern} {text}");
        }
    }

    #[test]
    fn text_that_does_not_fit_is_no_time() {
        for (pattern, text) in [
            ("yyyy-MM-dd", "2024-02-30"),
            ("yyyy-MM-dd", "2024-1-02"),
            ("yyyy-MM-dd", "2024-01-02 "),
            ("hh a", "13 PM"),
            ("XXX", "+0100"),
            ("xxx", "Z"),
        ] {
            assert_eq!(read(pattern, text), None, "{pattern} {text}");
        }
    }

    #[test]
    fn letters_nobody_knows_and_open_quotes_are_refused() {
        for (pattern, what) in [
            ("yyyy-MM-dd VV", "letter `V`"),
            ("yyy", "`y` cannot stand 3 times"),
            ("yyyy'T", "quote is not closed"),
            ("[yyyy", "`[` is not closed"),
            ("yyyy]", "has no `[`"),
        ] {
            let error = Pattern::parse("dateFormat", pattern).unwrap_err().to_string();
            assert!(error.contains(what) && error.contains("`dateFormat`"), "{error}");
        }
    }

    #[test]
    fn dates_ignore_the_time_of_day() {
        let pattern = Pattern::parse("dateFormat", "dd.MM.yyyy[ HH:mm]").unwrap();
        assert_eq!(pattern.date(b"02.01.1970 10:00"), Some(1));
        assert_eq!(pattern.local_timestamp(b"01.01.1970 00:01"), Some(60_000_000));
    }
}
