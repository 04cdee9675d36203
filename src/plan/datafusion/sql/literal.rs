//! Constants of SQL text.
//!
//! Owns: Spark's rules from the text of a number, a string, a time or an interval to its value.

use crate::error::{Error, Result};
use crate::expr::Literal;
use crate::types::{parse_date, parse_decimal, parse_double, parse_float, parse_interval};

/// The largest precision of a DECIMAL.
const MAX_PRECISION: usize = 38;

/// A number: INT, BIGINT or DECIMAL by its size, DECIMAL with a point, DOUBLE with an exponent, or what its suffix
/// says. SMALLINT and TINYINT constants are kept as INT.
///
/// # Errors
/// When it does not fit its type.
pub(super) fn number(text: &str) -> Result<Literal> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let literal = match &text[digits.len()..] {
        "" if digits.contains(['e', 'E']) => parse_double(digits).map(Literal::Double),
        "" if digits.contains('.') => decimal(digits),
        "" => whole(digits),
        "L" => digits.parse().ok().map(Literal::Long),
        "S" => digits.parse::<i16>().ok().map(|value| Literal::Int(value.into())),
        "Y" => digits.parse::<i8>().ok().map(|value| Literal::Int(value.into())),
        "D" => parse_double(digits).map(Literal::Double),
        "F" => parse_float(digits).map(Literal::Float),
        "BD" => decimal(digits),
        _ => None,
    };
    literal.ok_or_else(|| Error::plan(format!("SQL: the number {text} does not fit its type")))
}

fn whole(digits: &str) -> Option<Literal> {
    let int = digits.parse().ok().map(Literal::Int);
    int.or_else(|| digits.parse().ok().map(Literal::Long)).or_else(|| decimal(digits))
}

fn decimal(text: &str) -> Option<Literal> {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let places = mantissa.split_once('.').map_or(0, |(_, fraction)| fraction.len());
    let scale = i64::try_from(places).ok()?.checked_sub(exponent.parse().ok()?)?.max(0);
    let scale = u8::try_from(scale).ok().filter(|scale| usize::from(*scale) <= MAX_PRECISION)?;
    let value = parse_decimal(text, 38, i8::try_from(scale).ok()?)?;
    let precision = u8::try_from(value.unsigned_abs().to_string().len()).ok()?.max(scale);
    Some(Literal::Decimal(value, precision, i8::try_from(scale).ok()?))
}

/// A quoted string with its escapes: a doubled quote, `\n`, `\t`, `\\`, `\'`, `\u00e9`, `\101`, …; `\%` and `\_` stay
/// as they are, for LIKE, and any other letter stands for itself.
pub(super) fn string(raw: &str, quote: char) -> String {
    let mut text = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(letter) = rest.chars().next() {
        rest = &rest[letter.len_utf8()..];
        if letter == quote {
            rest = rest.strip_prefix(quote).unwrap_or(rest);
            text.push(letter);
        } else if letter == '\\' {
            rest = escape(rest, &mut text);
        } else {
            text.push(letter);
        }
    }
    text
}

/// Reads what follows a backslash and gives the rest.
fn escape<'a>(rest: &'a str, text: &mut String) -> &'a str {
    let Some(letter) = rest.chars().next() else {
        text.push('\\');
        return rest;
    };
    let coded = match letter {
        'u' => code(rest, 1, 4, 16),
        'U' => code(rest, 1, 8, 16),
        '0' | '1' => code(rest, 0, 3, 8),
        _ => None,
    };
    if let Some((letter, rest)) = coded {
        text.push(letter);
        return rest;
    }
    match letter {
        '0' => text.push('\0'),
        'b' => text.push('\u{8}'),
        'n' => text.push('\n'),
        'r' => text.push('\r'),
        't' => text.push('\t'),
        'Z' => text.push('\u{1a}'),
        '%' | '_' => text.extend(['\\', letter]),
        other => text.push(other),
    }
    &rest[letter.len_utf8()..]
}

/// The letter with the code written in `digits` digits from `start`, and the text behind it.
fn code(text: &str, start: usize, digits: usize, radix: u32) -> Option<(char, &str)> {
    let number = text.get(start..start + digits)?;
    let is_number = number.chars().all(|digit| digit.is_digit(radix));
    let letter = is_number.then(|| u32::from_str_radix(number, radix).ok().and_then(char::from_u32))??;
    Some((letter, &text[start + digits..]))
}

/// `X'1AF'`: bytes in pairs of digits; a missing first digit is 0.
///
/// # Errors
/// When a digit is none.
pub(super) fn binary(digits: &str) -> Result<Literal> {
    let padded = if digits.len().is_multiple_of(2) { digits.to_string() } else { format!("0{digits}") };
    let bytes = padded
        .as_bytes()
        .chunks(2)
        .map(|pair| std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok()));
    let bytes: Option<Vec<u8>> = bytes.collect();
    bytes
        .map(Literal::Binary)
        .ok_or_else(|| Error::plan(format!("SQL: X'{digits}' is not made of the digits 0-9 and A-F")))
}

/// `DATE '2024-01-31'`.
///
/// # Errors
/// When it is none.
pub(super) fn date(text: &str) -> Result<Literal> {
    let date = parse_date(text).map(Literal::Date);
    date.ok_or_else(|| Error::plan(format!("SQL: DATE '{text}' is not a date; write it as yyyy-MM-dd")))
}

/// Lengths with their units: `1 HOUR 5 MINUTES`.
///
/// # Errors
/// Says what was expected.
pub(super) fn interval(text: &str) -> Result<Literal> {
    let interval = parse_interval(text).map_err(|error| error.context("SQL"))?;
    Ok(Literal::Interval { months: interval.months, days: interval.days, micros: interval.micros })
}

/// The units between which `'1 02:03:04.5' DAY TO SECOND` counts, with the sign before their numbers.
const CLOCK: [(&str, char); 4] = [("DAY", ' '), ("HOUR", ' '), ("MINUTE", ':'), ("SECOND", ':')];
const CALENDAR: [(&str, char); 2] = [("YEAR", '-'), ("MONTH", '-')];

/// `INTERVAL '1 02:03:04.5' DAY TO SECOND` or `INTERVAL '1-2' YEAR TO MONTH`.
///
/// # Errors
/// When the text has not these units, or they are not in order.
pub(super) fn interval_between(text: &str, from: &str, to: &str) -> Result<Literal> {
    let lengths = units_between(&CLOCK, from, to).or_else(|| units_between(&CALENDAR, from, to));
    let lengths = lengths.and_then(|units| spelled_out(text.trim(), units));
    let lengths = lengths.ok_or_else(|| {
        let remedy = "write for instance INTERVAL '0 00:05:00' DAY TO SECOND or INTERVAL 5 MINUTES";
        Error::plan(format!("SQL: INTERVAL '{text}' {from} TO {to} is not an interval; {remedy}"))
    })?;
    interval(&lengths)
}

fn units_between<'a>(units: &'a [(&str, char)], from: &str, to: &str) -> Option<&'a [(&'a str, char)]> {
    let place = |name: &str| {
        let name = name.trim_end_matches(['s', 'S']);
        units.iter().position(|(unit, _)| unit.eq_ignore_ascii_case(name))
    };
    let (from, to) = (place(from)?, place(to)?);
    if from < to { units.get(from..=to) } else { None }
}

/// The same with the name of its unit behind each number, and the sign before each.
fn spelled_out(text: &str, units: &[(&str, char)]) -> Option<String> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let sign = if text.starts_with('-') { "-" } else { "" };
    let mut lengths = Vec::with_capacity(units.len());
    let mut rest = unsigned;
    for (place, (unit, _)) in units.iter().enumerate() {
        let number = match units.get(place + 1) {
            Some((_, separator)) => {
                let (number, after) = rest.split_once(*separator)?;
                rest = after;
                number
            }
            None => rest,
        };
        lengths.push(format!("{sign}{number} {unit}"));
    }
    Some(lengths.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_the_type_spark_gives_it() {
        let cases = [
            ("1", Literal::Int(1)),
            ("2147483647", Literal::Int(i32::MAX)),
            ("2147483648", Literal::Long(2_147_483_648)),
            ("-2147483648", Literal::Int(i32::MIN)),
            ("9223372036854775808", Literal::Decimal(9_223_372_036_854_775_808, 19, 0)),
            ("1L", Literal::Long(1)),
            ("1S", Literal::Int(1)),
            ("-128Y", Literal::Int(-128)),
            ("1.50", Literal::Decimal(150, 3, 2)),
            (".05", Literal::Decimal(5, 2, 2)),
            ("-1.5", Literal::Decimal(-15, 2, 1)),
            ("1e3", Literal::Double(1000.0)),
            ("1.5E-1", Literal::Double(0.15)),
            ("1.5D", Literal::Double(1.5)),
            ("1.5F", Literal::Float(1.5)),
            ("3BD", Literal::Decimal(3, 1, 0)),
            ("1.5e1BD", Literal::Decimal(15, 2, 0)),
        ];
        for (text, expected) in cases {
            assert_eq!(number(text).unwrap(), expected, "{text}");
        }
        for text in ["9223372036854775808L", "128Y", "40000S", "1000000000000000000000000000000000000000"] {
            let error = number(text).unwrap_err().to_string();
            assert_eq!(error, format!("SQL: the number {text} does not fit its type"));
        }
    }

    #[test]
    fn a_string_loses_its_escapes() {
        let cases = [
            ("it''s", "it's"),
            (r"it\'s", "it's"),
            (r#"a"b"#, "a\"b"),
            (r"\\s+", r"\s+"),
            (r"\s", "s"),
            (r"a\tb\n", "a\tb\n"),
            (r"\%\_", r"\%\_"),
            (r"\u00e9\U0001F600", "é😀"),
            (r"\u00g9", "u00g9"),
            (r"\101\0", "A\0"),
            ("\\", "\\"),
            ("ü", "ü"),
        ];
        for (raw, expected) in cases {
            assert_eq!(string(raw, '\''), expected, "{raw}");
        }
        assert_eq!(string(r#"a""b'c"#, '"'), "a\"b'c");
    }

    #[test]
    fn bytes_are_read_in_pairs_of_digits() {
        assert_eq!(binary("1aF").unwrap(), Literal::Binary(vec![0x01, 0xAF]));
        assert_eq!(binary("").unwrap(), Literal::Binary(vec![]));
        assert!(binary("1g").unwrap_err().to_string().contains("X'1g'"));
    }

    #[test]
    fn an_interval_between_units_keeps_its_sign() {
        const HOUR: i64 = 3_600_000_000;
        let interval = |months, days, micros| Literal::Interval { months, days, micros };
        let cases = [
            ("0 00:05:00", "DAY", "SECOND", interval(0, 0, 300_000_000)),
            ("1 02:03:04.5", "DAY", "SECOND", interval(0, 1, 2 * HOUR + 184_500_000)),
            ("-1 02", "DAY", "HOUR", interval(0, -1, -2 * HOUR)),
            ("1:30", "HOUR", "MINUTE", interval(0, 0, 3 * HOUR / 2)),
            ("01:01", "minute", "second", interval(0, 0, 61_000_000)),
            ("1-2", "YEAR", "MONTH", interval(14, 0, 0)),
            ("-1-2", "YEAR", "MONTH", interval(-14, 0, 0)),
        ];
        for (text, from, to, expected) in cases {
            assert_eq!(interval_between(text, from, to).unwrap(), expected, "{text}");
        }
        for (text, from, to) in [("1", "DAY", "HOUR"), ("1:1", "MINUTE", "HOUR"), ("1", "DAY", "MONTH")] {
            let error = interval_between(text, from, to).unwrap_err().to_string();
            assert!(error.contains("is not an interval; write for instance"), "{error}");
        }
    }
}
