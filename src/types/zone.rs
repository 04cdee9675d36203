//! The session's time zone: a fixed distance from UTC.
//!
//! Owns: reading and writing zones as Spark does. Does not own: regions with daylight saving time, which need tables
//! this crate does not carry; they are refused.

use std::fmt;
use std::str::FromStr;

use super::calendar::MICROS_PER_SECOND;
use crate::error::{Error, Result};

/// A time zone at a fixed distance from UTC.
///
/// ```
/// use millstream::types::Zone;
///
/// let zone: Zone = "GMT+8".parse()?;
/// assert_eq!(zone.to_string(), "+08:00");
/// # Ok::<(), millstream::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Zone {
    east_seconds: i32,
}

/// The farthest a zone may be from UTC: 18 hours.
const FARTHEST_SECONDS: i32 = 18 * 3600;

/// Names of UTC itself.
const UTC_NAMES: [&str; 12] = [
    "UTC",
    "Z",
    "GMT",
    "UT",
    "UCT",
    "Zulu",
    "Universal",
    "Greenwich",
    "Etc/UTC",
    "Etc/GMT",
    "Etc/UCT",
    "Etc/Universal",
];

impl Zone {
    /// UTC.
    pub const UTC: Self = Self { east_seconds: 0 };

    /// Reads `UTC`, `Z`, `+08:00`, `+8`, `-0830`, `GMT+8` and the like.
    ///
    /// # Errors
    /// For regions such as `Asia/Shanghai` and anything else.
    pub fn parse(text: &str) -> Result<Self> {
        Self::read(text.trim()).ok_or_else(|| {
            Error::config(format!(
                "time zone `{text}` is not UTC or a fixed distance from it; write the distance, such as `+08:00`, \
                 because regions are not supported"
            ))
        })
    }

    /// The distance from UTC, in seconds towards the east.
    pub fn offset_seconds(self) -> i32 {
        self.east_seconds
    }

    /// The distance from UTC, in microseconds towards the east.
    pub(crate) fn offset_micros(self) -> i64 {
        i64::from(self.east_seconds) * MICROS_PER_SECOND
    }

    /// The same as [`parse`](Self::parse), without blanks around it and without words about what is wrong.
    pub(super) fn read(text: &str) -> Option<Self> {
        if UTC_NAMES.contains(&text) {
            return Some(Self::UTC);
        }
        let distance = ["UTC", "GMT", "UT"].iter().find_map(|name| text.strip_prefix(name)).unwrap_or(text);
        let digits = distance.strip_prefix(['+', '-'])?;
        let (hours, minutes, seconds) = clock_digits(digits.as_bytes())?;
        let size = hours * 3600 + minutes * 60 + seconds;
        let fits = minutes < 60 && seconds < 60 && size <= FARTHEST_SECONDS;
        fits.then_some(Self { east_seconds: if distance.starts_with('-') { -size } else { size } })
    }
}

/// Hours, minutes and seconds of `h`, `hh`, `hhmm`, `hhmmss`, or with colons between.
fn clock_digits(text: &[u8]) -> Option<(i32, i32, i32)> {
    let number = |digits: &[u8]| {
        let is_number = matches!(digits.len(), 1 | 2) && digits.iter().all(u8::is_ascii_digit);
        is_number.then(|| digits.iter().fold(0, |number, digit| number * 10 + i32::from(digit - b'0')))
    };
    if !text.contains(&b':') && text.len() > 2 {
        return match text.len() {
            4 => Some((number(&text[..2])?, number(&text[2..])?, 0)),
            6 => Some((number(&text[..2])?, number(&text[2..4])?, number(&text[4..])?)),
            _ => None,
        };
    }
    let mut parts = text.split(|c| *c == b':').map(number);
    let hours = parts.next()??;
    let minutes = parts.next().unwrap_or(Some(0))?;
    let seconds = parts.next().unwrap_or(Some(0))?;
    parts.next().is_none().then_some((hours, minutes, seconds))
}

impl FromStr for Zone {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

/// `UTC`, or the distance such as `+08:00`.
impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.east_seconds == 0 {
            return f.write_str("UTC");
        }
        let sign = if self.east_seconds < 0 { '-' } else { '+' };
        let size = self.east_seconds.abs();
        write!(f, "{sign}{:02}:{:02}", size / 3600, size / 60 % 60)?;
        if size % 60 == 0 { Ok(()) } else { write!(f, ":{:02}", size % 60) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_are_read_in_every_form_and_written_in_one() {
        let cases = [
            ("UTC", "UTC"),
            (" Z ", "UTC"),
            ("GMT", "UTC"),
            ("Etc/UTC", "UTC"),
            ("+00:00", "UTC"),
            ("+08:00", "+08:00"),
            ("+8", "+08:00"),
            ("+08", "+08:00"),
            ("+8:00", "+08:00"),
            ("+08:5", "+08:05"),
            ("-0830", "-08:30"),
            ("-08:30:15", "-08:30:15"),
            ("+083015", "+08:30:15"),
            ("GMT+8", "+08:00"),
            ("UTC-03:30", "-03:30"),
            ("UT+1", "+01:00"),
            ("+18:00", "+18:00"),
        ];
        for (text, expected) in cases {
            assert_eq!(Zone::parse(text).unwrap().to_string(), expected, "{text}");
        }
        assert_eq!("-01:00".parse::<Zone>().unwrap().offset_seconds(), -3600);
    }

    #[test]
    fn other_zones_are_refused_with_the_way_out() {
        for text in
            ["Asia/Shanghai", "CST", "", "8", "+", "+19:00", "+18:01", "+08:60", "+123", "+08:00:00:00", "GMT 8"]
        {
            let error = Zone::parse(text).unwrap_err();
            assert_eq!(error.kind(), crate::error::ErrorKind::Config);
            assert!(error.message().contains("such as `+08:00`"), "{error}");
        }
    }
}
