//! Reading a time by a pattern.
//!
//! Owns: what each letter takes from a text, and the time all of them make. Does not own: time zones of texts that name
//! none.

use chrono::NaiveDate;

use super::letters::{HALVES, Letters, MONTHS, Part, SHORT_NAME, Usage, WEEKDAYS};

/// What a text said; the beginning of 1970 where it said nothing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    year: i32,
    month: u32,
    day: u32,
    day_of_year: Option<u32>,
    hour: Option<u32>,
    /// The hour of half a day, 0 to 11.
    hour_of_half: Option<u32>,
    is_afternoon: Option<bool>,
    minute: u32,
    second: u32,
    micros: u32,
    offset_seconds: Option<i32>,
}

const EPOCH: Moment = Moment {
    year: 1970,
    month: 1,
    day: 1,
    day_of_year: None,
    hour: None,
    hour_of_half: None,
    is_afternoon: None,
    minute: 0,
    second: 0,
    micros: 0,
    offset_seconds: None,
};

impl Moment {
    /// `None` when there is no such day.
    pub(super) fn date(&self) -> Option<NaiveDate> {
        match self.day_of_year {
            Some(day) => NaiveDate::from_yo_opt(self.year, day),
            None => NaiveDate::from_ymd_opt(self.year, self.month, self.day),
        }
    }

    /// Microseconds since 1970-01-01T00:00:00 on the writer's clock; `None` when there is no such time.
    pub(super) fn local_micros(&self, usage: Usage) -> Option<i64> {
        let time = self.date()?.and_hms_micro_opt(self.hour(usage), self.minute, self.second, self.micros)?;
        Some(time.and_utc().timestamp_micros())
    }

    /// The distance from UTC that the text named, in seconds towards the east.
    pub(super) fn offset_seconds(&self) -> Option<i32> {
        self.offset_seconds
    }

    fn hour(&self, usage: Usage) -> u32 {
        let afternoon = if self.is_afternoon == Some(true) { 12 } else { 0 };
        match (usage, self.hour) {
            // Files may count to 12 with any letter of the hour.
            (Usage::Source, Some(hour)) if self.is_afternoon.is_some() => hour % 12 + afternoon,
            (Usage::Source, None) => afternoon,
            (_, hour) => hour.or_else(|| self.hour_of_half.map(|hour| hour + afternoon)).unwrap_or(0),
        }
    }
}

/// Reads a text from its beginning to its end.
pub(super) fn read(parts: &[Part], usage: Usage, text: &[u8]) -> Option<Moment> {
    let mut moment = EPOCH;
    let rest = read_parts(parts, usage, text, &mut moment)?;
    rest.is_empty().then_some(moment)
}

/// Gives back what is left of the text, as all functions below do.
fn read_parts<'a>(parts: &[Part], usage: Usage, mut text: &'a [u8], moment: &mut Moment) -> Option<&'a [u8]> {
    for part in parts {
        text = match part {
            Part::Text(expected) => without_prefix(text, expected, usage == Usage::Function)?,
            Part::Letters(letters) => read_letters(letters, usage, text, moment)?,
            Part::Optional(parts) => {
                let mut attempt = *moment;
                match read_parts(parts, usage, text, &mut attempt) {
                    Some(rest) => {
                        *moment = attempt;
                        rest
                    }
                    None => text,
                }
            }
        };
    }
    Some(text)
}

fn without_prefix<'a>(text: &'a [u8], prefix: &str, ignores_case: bool) -> Option<&'a [u8]> {
    let (start, rest) = text.split_at_checked(prefix.len())?;
    let prefix = prefix.as_bytes();
    (start == prefix || ignores_case && start.eq_ignore_ascii_case(prefix)).then_some(rest)
}

fn read_letters<'a>(letters: &Letters, usage: Usage, text: &'a [u8], moment: &mut Moment) -> Option<&'a [u8]> {
    let Letters { letter, count, .. } = *letters;
    let is_lenient = usage == Usage::Function;
    match letter {
        'M' | 'L' if count >= SHORT_NAME => {
            let (index, rest) = name(&MONTHS, count, is_lenient, text)?;
            moment.month = index + 1;
            Some(rest)
        }
        'E' => name(&WEEKDAYS, count, is_lenient, text).map(|(_, rest)| rest),
        'a' => {
            let (half, rest) = name(&HALVES, count, true, text)?;
            moment.is_afternoon = Some(half == 1);
            Some(rest)
        }
        'S' => fraction(count, text, moment),
        'X' | 'x' | 'Z' | 'O' | 'z' | 'V' if is_lenient => any_zone(text, moment),
        'X' | 'x' | 'Z' => zone(letter, count, text, moment),
        'y' | 'u' => year(letters, text, moment),
        _ => number(letters, is_lenient, text, moment),
    }
}

fn number<'a>(letters: &Letters, is_lenient: bool, text: &'a [u8], moment: &mut Moment) -> Option<&'a [u8]> {
    let (number, rest) = digits(text, letters.count, letters.most)?;
    match letters.letter {
        'M' | 'L' => moment.month = number,
        'd' => moment.day = number,
        'D' => moment.day_of_year = Some(number),
        'k' if (1..=24).contains(&number) => moment.hour = Some(number % 24),
        'K' if number < 12 => moment.hour_of_half = Some(number),
        'h' if !(1..=12).contains(&number) => return None,
        'h' if is_lenient => moment.hour_of_half = Some(number % 12),
        'H' | 'h' => moment.hour = Some(number),
        'm' => moment.minute = number,
        's' => moment.second = number,
        'Q' | 'q' if (1..=4).contains(&number) => {}
        _ => return None,
    }
    Some(rest)
}

/// `most` is at most 9, so that every number fits.
fn digits(text: &[u8], least: usize, most: usize) -> Option<(u32, &[u8])> {
    let count = text.iter().take(most).take_while(|byte| byte.is_ascii_digit()).count();
    let value = text[..count].iter().fold(0, |value, digit| value * 10 + u32::from(digit - b'0'));
    (count >= least).then_some((value, &text[count..]))
}

/// Two letters are a year from 2000 on.
fn year<'a>(letters: &Letters, text: &'a [u8], moment: &mut Moment) -> Option<&'a [u8]> {
    let (sign, text) = match text {
        [b'-', rest @ ..] if letters.is_signed => (-1, rest),
        [b'+', rest @ ..] if letters.is_signed => (1, rest),
        _ => (1, text),
    };
    let (number, rest) = digits(text, letters.count, letters.most)?;
    let start = if letters.count == 2 { 2000 } else { 0 };
    moment.year = start + sign * i32::try_from(number).ok()?;
    Some(rest)
}

/// One digit or more; those behind microseconds are dropped.
fn fraction<'a>(most: usize, text: &'a [u8], moment: &mut Moment) -> Option<&'a [u8]> {
    let (value, rest) = digits(text, 1, most)?;
    let count = u32::try_from(text.len() - rest.len()).ok()?;
    moment.micros = u32::try_from(u64::from(value) * 1_000_000 / 10_u64.pow(count)).ok()?;
    Some(rest)
}

fn name<'a>(names: &[&str], count: usize, ignores_case: bool, text: &'a [u8]) -> Option<(u32, &'a [u8])> {
    (0_u32..).zip(names).find_map(|(index, name)| {
        let name = if count > SHORT_NAME { name } else { name.get(..SHORT_NAME).unwrap_or(name) };
        without_prefix(text, name, ignores_case).map(|rest| (index, rest))
    })
}

/// `Z`, `UTC`, `GMT`, or a distance: `+8`, `+08`, `+0800`, `+08:00`, also behind `UTC` or `GMT`.
fn any_zone<'a>(text: &'a [u8], moment: &mut Moment) -> Option<&'a [u8]> {
    let named = ["UTC", "GMT", "Z"].iter().find_map(|name| without_prefix(text, name, true));
    let Some((sign, rest)) = sign(named.unwrap_or(text)) else {
        moment.offset_seconds = Some(0);
        return named;
    };
    let (hours, rest) = digits(rest, 1, 2)?;
    let (minutes, rest) = digits(rest.strip_prefix(b":").unwrap_or(rest), 2, 2).unwrap_or((0, rest));
    moment.offset_seconds = Some(sign * distance(hours, minutes)?);
    Some(rest)
}

/// A distance in the form that the letters say; only `X` and five `Z` know a `Z`.
fn zone<'a>(letter: char, count: usize, text: &'a [u8], moment: &mut Moment) -> Option<&'a [u8]> {
    let (has_z, has_colon) = (letter == 'X' || count == 5, matches!((letter, count), ('X' | 'x', 3) | ('Z', 5)));
    if let Some(rest) = text.strip_prefix(b"Z")
        && has_z
    {
        moment.offset_seconds = Some(0);
        return Some(rest);
    }
    let (sign, rest) = sign(text)?;
    let (hours, rest) = digits(rest, 2, 2)?;
    let rest = if has_colon { rest.strip_prefix(b":")? } else { rest };
    let (minutes, rest) = match digits(rest, 2, 2) {
        None if letter != 'Z' && count == 1 => (0, rest),
        read => read?,
    };
    moment.offset_seconds = Some(sign * distance(hours, minutes)?);
    Some(rest)
}

fn sign(text: &[u8]) -> Option<(i32, &[u8])> {
    match text {
        [b'+', rest @ ..] => Some((1, rest)),
        [b'-', rest @ ..] => Some((-1, rest)),
        _ => None,
    }
}

/// In seconds.
fn distance(hours: u32, minutes: u32) -> Option<i32> {
    if hours > 18 || minutes > 59 { None } else { i32::try_from(hours * 3600 + minutes * 60).ok() }
}
