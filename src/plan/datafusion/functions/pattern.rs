//! Java's date patterns: `yyyy-MM-dd HH:mm:ss.SSS`.
//!
//! Owns: reading a pattern, writing a time by it and reading a time back, by the rules of Spark 3 and later. Does not
//! own: columns and time zones other than the distance from UTC.
//!
//! Letters: `y u` year, `M L` month, `d` day, `D` day of the year, `Q q` quarter, `E` day of the week, `a` AM or PM, `H`
//! hour 0-23, `k` 1-24, `K` 0-11, `h` 1-12, `m` minute, `s` second, `S` fraction, `X x Z O z V` zone; text between
//! apostrophes stands for itself, `''` is an apostrophe, and `[…]` is written, but need not be there when reading.

use std::fmt::Write;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use chrono::{DateTime, Datelike, NaiveDate, Timelike};

use crate::error::{Error, Result};

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
const WEEKDAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
const HALVES: [&str; 2] = ["AM", "PM"];

/// Letters before names are written in full: `MMM` is `Jan`, `MMMM` is `January`.
const SHORT_NAME: usize = 3;
const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;
/// The most digits Java reads for a number without a width of its own.
const MOST_DIGITS: usize = 9;

/// The English name of a month, 1 to 12.
pub(super) fn month_name(month: u32) -> &'static str {
    usize::try_from(month).ok().and_then(|month| MONTHS.get(month.wrapping_sub(1))).copied().unwrap_or_default()
}

/// The English name of a day of the week, 0 is Monday.
pub(super) fn weekday_name(day: u32) -> &'static str {
    usize::try_from(day).ok().and_then(|day| WEEKDAYS.get(day)).copied().unwrap_or_default()
}

/// A date pattern. Equal ones have the same text.
#[derive(Debug, Clone)]
pub(super) struct DatePattern {
    text: String,
    items: Vec<Item>,
}

#[derive(Debug, Clone)]
enum Item {
    Text(String),
    Field {
        letter: char,
        count: usize,
        /// Whether another number follows at once, so that exactly `count` digits belong to this one.
        is_packed: bool,
    },
    Optional(Vec<Item>),
}

impl PartialEq for DatePattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for DatePattern {}

impl Hash for DatePattern {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl FromStr for DatePattern {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let characters: Vec<char> = text.chars().collect();
        let mut at = 0;
        let items = read_items(&characters, &mut at, false).map_err(|what| {
            Error::plan(format!("the date pattern `{text}` {what}; write it like `yyyy-MM-dd HH:mm:ss`"))
        })?;
        Ok(Self { text: text.to_string(), items })
    }
}

fn read_items(text: &[char], at: &mut usize, is_optional: bool) -> Result<Vec<Item>, String> {
    let mut items = Vec::new();
    while let Some(character) = text.get(*at).copied() {
        *at += 1;
        match character {
            '[' => items.push(Item::Optional(read_items(text, at, true)?)),
            ']' if is_optional => return Ok(packed(items)),
            ']' | '{' | '}' | '#' => return Err(format!("has a `{character}` without meaning")),
            '\'' => items.push(Item::Text(read_quoted(text, at)?)),
            letter if letter.is_ascii_alphabetic() => {
                let count = 1 + text[*at..].iter().take_while(|next| **next == letter).count();
                *at += count - 1;
                check_letter(letter, count)?;
                items.push(Item::Field { letter, count, is_packed: false });
            }
            other => items.push(Item::Text(other.to_string())),
        }
    }
    if is_optional { Err("lacks a `]`".to_string()) } else { Ok(packed(items)) }
}

fn read_quoted(text: &[char], at: &mut usize) -> Result<String, String> {
    let mut quoted = String::new();
    while let Some(character) = text.get(*at).copied() {
        *at += 1;
        if character != '\'' {
            quoted.push(character);
        } else if text.get(*at) == Some(&'\'') {
            quoted.push('\'');
            *at += 1;
        } else {
            return Ok(if quoted.is_empty() { "'".to_string() } else { quoted });
        }
    }
    Err("lacks a closing apostrophe".to_string())
}

fn check_letter(letter: char, count: usize) -> Result<(), String> {
    let most = match letter {
        'y' | 'u' => 6,
        'S' => 9,
        'M' | 'L' | 'Q' | 'q' | 'E' | 'O' | 'z' | 'V' => 4,
        'X' | 'x' | 'Z' => 5,
        'D' => 3,
        'd' | 'H' | 'k' | 'K' | 'h' | 'm' | 's' => 2,
        'a' => 1,
        _ => return Err(format!("has the letter `{letter}`, which is not supported")),
    };
    if count <= most { Ok(()) } else { Err(format!("has {count} letters `{letter}`, at most {most} mean something")) }
}

fn packed(mut items: Vec<Item>) -> Vec<Item> {
    for index in 1..items.len() {
        let follows = matches!(&items[index], Item::Field { letter, count, .. } if is_numeric(*letter, *count));
        if let Item::Field { is_packed, .. } = &mut items[index - 1] {
            *is_packed = follows;
        }
    }
    items
}

fn is_numeric(letter: char, count: usize) -> bool {
    match letter {
        'M' | 'L' | 'Q' | 'q' => count < SHORT_NAME,
        letter => "yudDHkKhmsS".contains(letter),
    }
}

impl DatePattern {
    /// Writes a time, given as microseconds of the local clock and the local clock's distance from UTC in seconds.
    /// False for times beyond the calendar.
    pub(super) fn write(&self, local_micros: i64, offset: i32, out: &mut String) -> bool {
        let Some(time) = DateTime::from_timestamp_micros(local_micros) else { return false };
        write_items(&self.items, &time.naive_utc(), offset, out);
        true
    }

    /// Reads a time into microseconds since 1970-01-01T00:00:00Z; a text without a zone is `offset` seconds east of
    /// UTC. What the pattern does not say is 1970-01-01 and midnight. `None` when the text does not fit.
    pub(super) fn read(&self, text: &str, offset: i32) -> Option<i64> {
        let mut parts = Parts::default();
        let rest = read_by(&self.items, text, &mut parts)?;
        if rest.is_empty() { parts.micros(offset) } else { None }
    }
}

/// Writing to a string cannot fail.
fn write_items(items: &[Item], time: &chrono::NaiveDateTime, offset: i32, out: &mut String) {
    for item in items {
        match item {
            Item::Text(text) => out.push_str(text),
            Item::Optional(items) => write_items(items, time, offset, out),
            Item::Field { letter, count, .. } => write_field(*letter, *count, time, offset, out),
        }
    }
}

fn write_field(letter: char, count: usize, time: &chrono::NaiveDateTime, offset: i32, out: &mut String) {
    let number = match letter {
        'y' | 'u' if count == 2 => i64::from(time.year().rem_euclid(100)),
        'y' | 'u' => return write_year(time.year(), count, out),
        'M' | 'L' if count >= SHORT_NAME => return write_name(month_name(time.month()), count, out),
        'M' | 'L' => time.month().into(),
        'd' => time.day().into(),
        'D' => time.ordinal().into(),
        'Q' | 'q' => return write_quarter(time.month0() / 3 + 1, count, out),
        'E' => return write_name(weekday_name(time.weekday().num_days_from_monday()), count, out),
        'a' => return out.push_str(HALVES[usize::from(time.hour() >= 12)]),
        'H' => time.hour().into(),
        'k' => i64::from((time.hour() + 23) % 24 + 1),
        'K' => i64::from(time.hour() % 12),
        'h' => i64::from((time.hour() + 11) % 12 + 1),
        'm' => time.minute().into(),
        's' => time.second().into(),
        'S' => return write_fraction(time.nanosecond(), count, out),
        _ => return write_zone(letter, count, offset, out),
    };
    let _ = write!(out, "{number:0count$}");
}

fn write_year(year: i32, count: usize, out: &mut String) {
    let sign = match year {
        ..0 => "-",
        10_000.. if count >= 4 => "+",
        _ => "",
    };
    let _ = write!(out, "{sign}{:0count$}", year.unsigned_abs());
}

fn write_name(name: &str, count: usize, out: &mut String) {
    out.push_str(if count > SHORT_NAME { name } else { &name[..SHORT_NAME] });
}

fn write_quarter(quarter: u32, count: usize, out: &mut String) {
    let ending = ["st", "nd", "rd", "th"][usize::try_from(quarter - 1).unwrap_or(0)];
    let _ = match count {
        ..SHORT_NAME => write!(out, "{quarter:0count$}"),
        SHORT_NAME => write!(out, "Q{quarter}"),
        _ => write!(out, "{quarter}{ending} quarter"),
    };
}

fn write_fraction(nanos: u32, count: usize, out: &mut String) {
    let start = out.len();
    let _ = write!(out, "{nanos:09}");
    out.truncate(start + count);
}

fn write_zone(letter: char, count: usize, offset: i32, out: &mut String) {
    let size = offset.unsigned_abs();
    let (sign, hours, minutes) = (if offset < 0 { '-' } else { '+' }, size / 3600, size / 60 % 60);
    let _ = match (letter, count) {
        ('X', _) | ('Z', 5) if offset == 0 => write!(out, "Z"),
        ('z' | 'V', _) if offset == 0 => write!(out, "UTC"),
        ('X' | 'x', 1) if minutes == 0 => write!(out, "{sign}{hours:02}"),
        ('O', _) | ('Z', 4) if offset == 0 => write!(out, "GMT"),
        ('O', 1) if minutes == 0 => write!(out, "GMT{sign}{hours}"),
        ('O', 1) => write!(out, "GMT{sign}{hours}:{minutes:02}"),
        ('O', _) | ('Z', 4) => write!(out, "GMT{sign}{hours:02}:{minutes:02}"),
        ('X' | 'x', 1 | 2 | 4) | ('Z', ..=3) => write!(out, "{sign}{hours:02}{minutes:02}"),
        _ => write!(out, "{sign}{hours:02}:{minutes:02}"),
    };
}

/// What a text said.
#[derive(Debug, Clone, Default)]
struct Parts {
    year: Option<i32>,
    month: Option<u32>,
    day: Option<u32>,
    day_of_year: Option<u32>,
    hour: Option<u32>,
    /// The hour of half a day, 0 to 11.
    hour_of_half: Option<u32>,
    is_afternoon: Option<bool>,
    minute: u32,
    second: u32,
    micros: u32,
    offset: Option<i32>,
}

impl Parts {
    fn micros(&self, offset: i32) -> Option<i64> {
        let year = self.year.unwrap_or(1970);
        let date = match self.day_of_year {
            Some(day) => NaiveDate::from_yo_opt(year, day)?,
            None => NaiveDate::from_ymd_opt(year, self.month.unwrap_or(1), self.day.unwrap_or(1))?,
        };
        let afternoon = if self.is_afternoon == Some(true) { 12 } else { 0 };
        let hour = self.hour.or_else(|| self.hour_of_half.map(|hour| hour + afternoon)).unwrap_or(0);
        if hour > 23 || self.minute > 59 || self.second > 59 {
            return None;
        }
        let days = i64::from(date.to_epoch_days());
        let seconds =
            i64::from(hour * 3600 + self.minute * 60 + self.second) - i64::from(self.offset.unwrap_or(offset));
        days.checked_mul(DAY)?.checked_add(seconds * SECOND + i64::from(self.micros))
    }
}

/// Reads by these items and gives back what is left of the text.
fn read_by<'a>(items: &[Item], mut text: &'a str, parts: &mut Parts) -> Option<&'a str> {
    for item in items {
        text = match item {
            Item::Text(expected) => without_prefix(text, expected)?,
            Item::Optional(items) => {
                let mut tried = parts.clone();
                match read_by(items, text, &mut tried) {
                    Some(rest) => {
                        *parts = tried;
                        rest
                    }
                    None => text,
                }
            }
            Item::Field { letter, count, is_packed } => read_field(*letter, *count, *is_packed, text, parts)?,
        };
    }
    Some(text)
}

/// Letters count in any case.
fn without_prefix<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let start = text.get(..prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then(|| &text[prefix.len()..])
}

fn read_field<'a>(letter: char, count: usize, is_packed: bool, text: &'a str, parts: &mut Parts) -> Option<&'a str> {
    match letter {
        'M' | 'L' if count >= SHORT_NAME => {
            let (index, rest) = read_name(&MONTHS, count, text)?;
            parts.month = Some(index + 1);
            return Some(rest);
        }
        'E' => return read_name(&WEEKDAYS, count, text).map(|(_, rest)| rest),
        'a' => {
            let (half, rest) = read_name(&HALVES, count, text)?;
            parts.is_afternoon = Some(half == 1);
            return Some(rest);
        }
        'S' => return read_fraction(count, text, parts),
        'X' | 'x' | 'Z' | 'O' | 'z' | 'V' => return read_zone(text, parts),
        'y' | 'u' => return read_year(count, is_packed, text, parts),
        _ => {}
    }
    let most = if count >= 2 || is_packed { count } else { MOST_DIGITS };
    let (number, rest) = read_number(count, most, text)?;
    match letter {
        'M' | 'L' => parts.month = Some(number),
        'd' => parts.day = Some(number),
        'D' => parts.day_of_year = Some(number),
        'H' => parts.hour = Some(number),
        'k' if (1..=24).contains(&number) => parts.hour = Some(number % 24),
        'K' if number < 12 => parts.hour_of_half = Some(number),
        'h' if (1..=12).contains(&number) => parts.hour_of_half = Some(number % 12),
        'm' => parts.minute = number,
        's' => parts.second = number,
        'Q' | 'q' if (1..=4).contains(&number) => {}
        _ => return None,
    }
    Some(rest)
}

fn read_number(least: usize, most: usize, text: &str) -> Option<(u32, &str)> {
    let digits = text.bytes().take(most).take_while(u8::is_ascii_digit).count();
    let number = if digits < least { None } else { text[..digits].parse().ok() };
    number.map(|number| (number, &text[digits..]))
}

/// `yy` is a year from 2000 on; other counts are the fewest digits, and a sign may stand before them.
fn read_year<'a>(count: usize, is_packed: bool, text: &'a str, parts: &mut Parts) -> Option<&'a str> {
    if count == 2 {
        let (number, rest) = read_number(2, 2, text)?;
        parts.year = Some(2000 + i32::try_from(number).ok()?);
        return Some(rest);
    }
    let (sign, digits) = match text.as_bytes().first()? {
        b'-' => (-1, &text[1..]),
        b'+' => (1, &text[1..]),
        _ => (1, text),
    };
    let (number, rest) = read_number(count, if is_packed { count } else { MOST_DIGITS }, digits)?;
    parts.year = Some(sign * i32::try_from(number).ok()?);
    Some(rest)
}

fn read_fraction<'a>(count: usize, text: &'a str, parts: &mut Parts) -> Option<&'a str> {
    let digits = text.bytes().take(count).take_while(u8::is_ascii_digit).count();
    if digits == 0 {
        return None;
    }
    let known = text[..digits].get(..6).unwrap_or(&text[..digits]);
    let scale = 10_u32.pow(6 - u32::try_from(known.len()).ok()?);
    parts.micros = known.parse::<u32>().ok()? * scale;
    Some(&text[digits..])
}

fn read_name<'a>(names: &[&str], count: usize, text: &'a str) -> Option<(u32, &'a str)> {
    (0_u32..).zip(names).find_map(|(index, name)| {
        let name = if count > SHORT_NAME { name } else { name.get(..SHORT_NAME).unwrap_or(name) };
        without_prefix(text, name).map(|rest| (index, rest))
    })
}

/// `Z`, `UTC`, `GMT`, or a distance: `+8`, `+08`, `+0800`, `+08:00`, also behind `UTC` or `GMT`.
fn read_zone<'a>(text: &'a str, parts: &mut Parts) -> Option<&'a str> {
    let named = ["UTC", "GMT", "Z"].iter().find_map(|name| without_prefix(text, name));
    let rest = named.unwrap_or(text);
    let sign = match rest.as_bytes().first() {
        Some(b'+') => 1,
        Some(b'-') => -1,
        _ => {
            parts.offset = Some(0);
            return named;
        }
    };
    let (hours, rest) = read_number(1, 2, &rest[1..])?;
    let after = rest.strip_prefix(':').unwrap_or(rest);
    let (minutes, rest) = read_number(2, 2, after).unwrap_or((0, rest));
    if hours > 18 || minutes > 59 {
        return None;
    }
    parts.offset = Some(sign * i32::try_from(hours * 3600 + minutes * 60).ok()?);
    Some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2024-03-05T14:07:09.012345Z, a Tuesday.
    const TIME: i64 = 1_709_647_629_012_345;

    #[test]
    fn times_are_written_by_javas_letters() {
        let cases = [
            ("yyyy-MM-dd HH:mm:ss", "2024-03-05 14:07:09"),
            ("yy/M/d h:m:s a", "24/3/5 2:7:9 PM"),
            ("yyyyMMdd'T'HHmmss.SSS", "20240305T140709.012"),
            ("EEE EEEE MMM MMMM", "Tue Tuesday Mar March"),
            ("D DDD Q QQQ QQQQ", "65 065 1 Q1 1st quarter"),
            ("k K SSSSSSSSS", "14 2 012345000"),
            ("X x XXX xxx Z z O", "Z +00 Z +00:00 +0000 UTC GMT"),
            ("'it''s' HH''", "it's 14'"),
            ("yyyy[-MM]", "2024-03"),
        ];
        for (pattern, expected) in cases {
            let mut text = String::new();
            assert!(pattern.parse::<DatePattern>().unwrap().write(TIME, 0, &mut text));
            assert_eq!(text, expected, "{pattern}");
        }
        let mut text = String::new();
        assert!("HH X XXX Z O".parse::<DatePattern>().unwrap().write(TIME, -12_600, &mut text));
        assert_eq!(text, "14 -0330 -03:30 -0330 GMT-3:30");
    }

    #[test]
    fn times_are_read_back() {
        let second = TIME - 12_345;
        let cases = [
            ("yyyy-MM-dd HH:mm:ss", "2024-03-05 14:07:09", Some(second)),
            ("yyyy-MM-dd HH:mm:ss.SSSSSS", "2024-03-05 14:07:09.012345", Some(TIME)),
            ("yyyyMMddHHmmss", "20240305140709", Some(second)),
            ("d/M/yy h:mm:ss a", "5/3/24 2:07:09 pm", Some(second)),
            ("EEE, dd MMM yyyy HH:mm:ss Z", "Tue, 05 Mar 2024 15:07:09 +0100", Some(second)),
            ("yyyy-MM-dd'T'HH:mm:ssXXX", "2024-03-05T06:07:09-08:00", Some(second)),
            ("yyyy-MM-dd[ HH:mm]", "1970-01-02", Some(DAY)),
            ("yyyy-D", "1970-3", Some(2 * DAY)),
            ("HH:mm", "01:00", Some(3600 * SECOND)),
            ("yyyy-MM-dd", "2024-13-05", None),
            ("yyyy-MM-dd", "2024-3-5", None),
            ("yyyy-MM-dd", "2024-03-05 ", None),
            ("yyyy-MM-dd", "2023-02-29", None),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(pattern.parse::<DatePattern>().unwrap().read(text, 0), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn a_pattern_that_means_nothing_is_refused_with_its_text() {
        for (pattern, expected) in
            [("yyyy-bb", "letter `b`"), ("'x", "apostrophe"), ("[yyyy", "`]`"), ("HHH", "at most 2")]
        {
            let message = pattern.parse::<DatePattern>().unwrap_err().message().to_string();
            assert!(message.contains(pattern) && message.contains(expected), "{message}");
        }
    }
}
