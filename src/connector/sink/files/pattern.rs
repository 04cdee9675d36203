//! Writes times by Java's patterns, as the options `dateFormat` and `timestampFormat` hold them.
//!
//! Owns: the letters `y u M L d D E a H h m s S X x Z`; parts in brackets are always written. Does not own: reading
//! times (`connector::format`).

use chrono::{DateTime, Datelike, NaiveDateTime, Timelike};

use crate::error::{Error, Result};
use crate::types::Zone;

/// The letters that may stand this often at most, each for a number, name or distance of the time written.
const LETTERS: [(char, usize); 16] = [
    ('y', 9),
    ('u', 9),
    ('M', 4),
    ('L', 4),
    ('d', 2),
    ('D', 3),
    ('E', 4),
    ('a', 1),
    ('H', 2),
    ('h', 2),
    ('m', 2),
    ('s', 2),
    ('S', 9),
    ('X', 3),
    ('x', 3),
    ('Z', 3),
];

/// A compiled pattern.
#[derive(Debug, Clone)]
pub(super) struct TimePattern {
    parts: Vec<Part>,
}

#[derive(Debug, Clone)]
enum Part {
    Literal(char),
    Letters { letter: char, count: usize },
}

impl TimePattern {
    /// Compiles the pattern that `option` holds.
    ///
    /// # Errors
    /// When a letter has no meaning here, or a quote is not closed.
    pub(super) fn parse(option: &'static str, text: &str) -> Result<Self> {
        let bad = |what: &str| {
            let letters: Vec<String> = LETTERS.iter().map(|(letter, _)| letter.to_string()).collect();
            let known = letters.join(" ");
            Error::config(format!(
                "option `{option}`=`{text}`: {what}; known letters are {known}, others go into 'quotes'"
            ))
        };
        let mut parts = Vec::new();
        let mut chars = text.chars().peekable();
        while let Some(char) = chars.next() {
            match char {
                '[' | ']' => {}
                '\'' if chars.next_if_eq(&'\'').is_some() => parts.push(Part::Literal('\'')),
                '\'' => quoted(&mut chars, &mut parts).ok_or_else(|| bad("a quote is not closed"))?,
                letter if letter.is_ascii_alphabetic() => {
                    let mut count = 1;
                    while chars.next_if_eq(&letter).is_some() {
                        count += 1;
                    }
                    if !LETTERS.iter().any(|(known, most)| *known == letter && count <= *most) {
                        return Err(bad(&format!("`{letter}` cannot be written {count} times")));
                    }
                    parts.push(Part::Letters { letter, count });
                }
                literal => parts.push(Part::Literal(literal)),
            }
        }
        Ok(Self { parts })
    }

    /// Appends the time that is `micros` microseconds after 1970-01-01T00:00:00Z, as clocks in `zone` show it.
    pub(super) fn write(&self, micros: i64, zone: Zone, out: &mut String) {
        let offset_seconds = zone.offset_seconds();
        let local = micros.saturating_add(i64::from(offset_seconds) * 1_000_000);
        let Some(local) = DateTime::from_timestamp_micros(local) else {
            // A year no calendar here reaches; the number is at least true.
            out.push_str(&micros.to_string());
            return;
        };
        for part in &self.parts {
            match *part {
                Part::Literal(char) => out.push(char),
                Part::Letters { letter, count } => write_letters(letter, count, local.naive_utc(), offset_seconds, out),
            }
        }
    }
}

/// Takes text up to the closing quote, where `''` is a quote; `None` when it is not closed.
fn quoted(chars: &mut std::iter::Peekable<std::str::Chars<'_>>, parts: &mut Vec<Part>) -> Option<()> {
    loop {
        match chars.next()? {
            '\'' if chars.next_if_eq(&'\'').is_none() => return Some(()),
            char => parts.push(Part::Literal(char)),
        }
    }
}

fn write_letters(letter: char, count: usize, time: NaiveDateTime, offset_seconds: i32, out: &mut String) {
    let is_name = count >= 3;
    match letter {
        'y' | 'u' => write_year(time.year(), count, out),
        'M' | 'L' if is_name => out.push_str(&time.format(if count == 3 { "%b" } else { "%B" }).to_string()),
        'M' | 'L' => write_number(time.month(), count, out),
        'd' => write_number(time.day(), count, out),
        'D' => write_number(time.ordinal(), count, out),
        'E' => out.push_str(&time.format(if count < 4 { "%a" } else { "%A" }).to_string()),
        'a' => out.push_str(if time.hour12().0 { "PM" } else { "AM" }),
        'H' => write_number(time.hour(), count, out),
        'h' => write_number(time.hour12().1, count, out),
        'm' => write_number(time.minute(), count, out),
        's' => write_number(time.second(), count, out),
        'S' => write_fraction(time.nanosecond(), count, out),
        _ => write_offset(letter, count, offset_seconds, out),
    }
}

/// At least `width` digits.
fn write_number(number: u32, width: usize, out: &mut String) {
    let mut digits = [b'0'; 10];
    let mut rest = number;
    let mut start = digits.len();
    while rest > 0 || digits.len() - start < width {
        start -= 1;
        digits[start] += u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
    }
    out.extend(digits[start..].iter().map(|digit| char::from(*digit)));
}

fn write_year(year: i32, count: usize, out: &mut String) {
    if count == 2 {
        return write_number(year.rem_euclid(100).unsigned_abs(), 2, out);
    }
    if year < 0 {
        out.push('-');
    }
    write_number(year.unsigned_abs(), count, out);
}

/// The first `count` digits of a fraction of a second.
fn write_fraction(nanos: u32, count: usize, out: &mut String) {
    let dropped = u32::try_from(9 - count).unwrap_or(0);
    write_number(nanos / 10u32.pow(dropped), count, out);
}

fn write_offset(letter: char, count: usize, seconds: i32, out: &mut String) {
    if letter == 'X' && seconds == 0 {
        return out.push('Z');
    }
    out.push(if seconds < 0 { '-' } else { '+' });
    let minutes = seconds.unsigned_abs() / 60;
    write_number(minutes / 60, 2, out);
    let has_colon = letter != 'Z' && count == 3;
    if has_colon {
        out.push(':');
    }
    if letter == 'Z' || count > 1 || !minutes.is_multiple_of(60) {
        write_number(minutes % 60, 2, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Friday 2021-10-01T09:05:07.012345Z.
    const TIME: i64 = 1_633_079_107_012_345;

    fn written(pattern: &str, zone: &str) -> String {
        let mut out = String::new();
        TimePattern::parse("timestampFormat", pattern).unwrap().write(TIME, zone.parse().unwrap(), &mut out);
        out
    }

    #[test]
    fn times_are_written_as_java_writes_them() {
        let cases = [
            ("yyyy-MM-dd'T'HH:mm:ss[.SSS][XXX]", "UTC", "2021-10-01T09:05:07.012Z"),
            ("yyyy-MM-dd'T'HH:mm:ss[.SSS][XXX]", "+05:30", "2021-10-01T14:35:07.012+05:30"),
            ("d.M.yy H:m:s SSSSSS", "UTC", "1.10.21 9:5:7 012345"),
            ("EEE EEEE MMM MMMM D", "UTC", "Fri Friday Oct October 274"),
            ("hh 'o''clock' a ''", "+06:00", "03 o'clock PM '"),
            ("X XX x xxx Z", "-01:00", "-01 -0100 -01 -01:00 -0100"),
            ("x Z", "UTC", "+00 +0000"),
            ("uuuu SSSSSSSSS", "UTC", "2021 012345000"),
        ];
        for (pattern, zone, expected) in cases {
            assert_eq!(written(pattern, zone), expected, "{pattern}");
        }
    }

    #[test]
    fn unknown_letters_and_open_quotes_are_refused() {
        for (pattern, what) in [("yyyy VV", "`V` cannot be written 2 times"), ("ddd", "`d`"), ("yyyy'T", "not closed")]
        {
            let error = TimePattern::parse("dateFormat", pattern).unwrap_err();
            assert!(error.message().contains(what) && error.message().contains("`dateFormat`"), "{error}");
        }
    }
}
