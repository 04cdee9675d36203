//! Writing a time by a pattern.
//!
//! Owns: the text of each letter. Does not own: what the clock shows.

use chrono::{Datelike, NaiveDateTime, Timelike};

use super::letters::{HALVES, Letters, MONTHS, Part, SHORT_NAME, WEEKDAYS, name_of};

/// Appends what a clock shows that is `offset` seconds east of UTC.
pub(super) fn write_parts(parts: &[Part], time: NaiveDateTime, offset: i32, out: &mut String) {
    for part in parts {
        match part {
            Part::Text(text) => out.push_str(text),
            Part::Letters(letters) => write_letters(letters, time, offset, out),
            Part::Optional(parts) => write_parts(parts, time, offset, out),
        }
    }
}

fn write_letters(letters: &Letters, time: NaiveDateTime, offset: i32, out: &mut String) {
    let Letters { letter, count, .. } = *letters;
    let number = match letter {
        'y' | 'u' => return write_year(letters, time.year(), out),
        'M' | 'L' if count >= SHORT_NAME => return write_name(name_of(&MONTHS, time.month0()), count, out),
        'M' | 'L' => time.month(),
        'd' => time.day(),
        'D' => time.ordinal(),
        'Q' | 'q' => return write_quarter(time.month0() / 3 + 1, count, out),
        'E' => return write_name(name_of(&WEEKDAYS, time.weekday().num_days_from_monday()), count, out),
        'a' => return out.push_str(HALVES[usize::from(time.hour() >= 12)]),
        'H' => time.hour(),
        'k' => (time.hour() + 23) % 24 + 1,
        'K' => time.hour() % 12,
        'h' => (time.hour() + 11) % 12 + 1,
        'm' => time.minute(),
        's' => time.second(),
        'S' => return write_fraction(time.nanosecond(), count, out),
        _ => return write_zone(letter, count, offset, out),
    };
    write_number(number, count, out);
}

/// At least `width` digits; `width` is at most 9.
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

fn write_year(letters: &Letters, year: i32, out: &mut String) {
    if letters.count == 2 {
        return write_number(year.rem_euclid(100).unsigned_abs(), 2, out);
    }
    match year {
        ..0 => out.push('-'),
        10_000.. if letters.is_signed && letters.count >= 4 => out.push('+'),
        _ => {}
    }
    write_number(year.unsigned_abs(), letters.count, out);
}

fn write_name(name: &str, count: usize, out: &mut String) {
    out.push_str(if count > SHORT_NAME { name } else { &name[..SHORT_NAME] });
}

fn write_quarter(quarter: u32, count: usize, out: &mut String) {
    if count < SHORT_NAME {
        return write_number(quarter, count, out);
    }
    if count == SHORT_NAME {
        out.push('Q');
    }
    write_number(quarter, 1, out);
    if count > SHORT_NAME {
        out.push_str(name_of(&["st", "nd", "rd", "th"], quarter - 1));
        out.push_str(" quarter");
    }
}

/// The first `count` digits of a fraction of a second.
fn write_fraction(nanos: u32, count: usize, out: &mut String) {
    let dropped = u32::try_from(9 - count).unwrap_or(0);
    write_number(nanos / 10_u32.pow(dropped), count, out);
}

fn write_zone(letter: char, count: usize, offset: i32, out: &mut String) {
    let is_gmt = matches!((letter, count), ('O', _) | ('Z', 4));
    if offset == 0 {
        match (letter, count) {
            ('X', _) | ('Z', 5) => return out.push('Z'),
            ('z' | 'V', _) => return out.push_str("UTC"),
            _ if is_gmt => return out.push_str("GMT"),
            _ => {}
        }
    }
    if is_gmt {
        out.push_str("GMT");
    }
    let (hours, minutes) = (offset.unsigned_abs() / 3600, offset.unsigned_abs() / 60 % 60);
    out.push(if offset < 0 { '-' } else { '+' });
    write_number(hours, if (letter, count) == ('O', 1) { 1 } else { 2 }, out);
    if minutes == 0 && matches!((letter, count), ('X' | 'x' | 'O', 1)) {
        return;
    }
    if !matches!((letter, count), ('X' | 'x', 1 | 2 | 4) | ('Z', ..=3)) {
        out.push(':');
    }
    write_number(minutes, 2, out);
}
