//! Numbers and booleans as text: Spark's CAST in, Java's `toString` out.
//!
//! Owns: the text of single values. Does not own: what a bad value means (null or an error); every reader answers
//! `None` where Spark's CAST gives null.

use std::fmt::{Debug, UpperExp, Write};
use std::str::FromStr;

/// Drops blanks and control characters around a text, as Spark's casts do.
pub(super) fn trimmed(text: &str) -> &str {
    text.trim_matches(|c: char| c <= ' ' || c == '\x7f')
}

/// Reads `t true y yes 1` and `f false n no 0`, in any case.
pub fn parse_boolean(text: &str) -> Option<bool> {
    let text = trimmed(text);
    let is_one_of = |words: [&str; 5]| words.iter().any(|word| word.eq_ignore_ascii_case(text));
    if is_one_of(["t", "true", "y", "yes", "1"]) {
        Some(true)
    } else if is_one_of(["f", "false", "n", "no", "0"]) {
        Some(false)
    } else {
        None
    }
}

/// Reads an integer; digits after a point are checked and dropped, so `1.7` is 1. `None` also when it does not fit.
pub fn parse_integer<T: TryFrom<i64>>(text: &str) -> Option<T> {
    let text = trimmed(text);
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if digits.is_empty() || !fraction.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    // Summed up below zero, where there is room for one number more.
    let mut negated = 0_i64;
    for digit in whole.bytes() {
        if !digit.is_ascii_digit() {
            return None;
        }
        negated = negated.checked_mul(10)?.checked_sub(i64::from(digit - b'0'))?;
    }
    T::try_from(if text.starts_with('-') { negated } else { negated.checked_neg()? }).ok()
}

/// Reads a DOUBLE: `1.5`, `-1e3`, `2d`, `NaN`, `inf`, `-Infinity`; the words in any case.
pub fn parse_double(text: &str) -> Option<f64> {
    parse_floating(text)
}

/// Reads a FLOAT; see [`parse_double`].
pub fn parse_float(text: &str) -> Option<f32> {
    parse_floating(text)
}

fn parse_floating<T: FromStr>(text: &str) -> Option<T> {
    let text = trimmed(text);
    // Java allows a letter for the type after a number, but not after a word.
    let is_number = |text: &&str| text.ends_with(|c: char| c.is_ascii_digit() || c == '.');
    text.strip_suffix(['d', 'D', 'f', 'F']).filter(is_number).unwrap_or(text).parse().ok()
}

/// Reads a DECIMAL(precision, scale) as its unscaled number: `1.5` at scale 2 is 150. Digits beyond the scale are
/// rounded half up, an exponent is allowed. `None` also when it needs more than `precision` digits.
pub fn parse_decimal(text: &str, precision: u8, scale: i8) -> Option<i128> {
    let text = trimmed(text);
    let number = DecimalText::read(text.strip_prefix(['-', '+']).unwrap_or(text))?;
    let (count, precision) = (number.digits().count(), precision.min(38));
    if count == 0 {
        return Some(0);
    }
    // The scaled number is 0.digits times ten to the power of `places`.
    let places = i64::try_from(count).ok()? + number.exponent + i64::from(scale);
    if places < 0 {
        return Some(0);
    }
    if places > i64::from(precision) {
        return None;
    }
    let places = usize::try_from(places).ok()?;
    let padded = number.digits().chain(std::iter::repeat(b'0')).take(places);
    let cut_off = padded.fold(0, |value: i128, digit| value * 10 + i128::from(digit - b'0'));
    let rounded = cut_off + i128::from(number.digits().nth(places).is_some_and(|digit| digit >= b'5'));
    let fits = rounded < 10_i128.pow(precision.into());
    fits.then_some(if text.starts_with('-') { -rounded } else { rounded })
}

/// A decimal number without sign: its digits as a whole number times ten to the power of `exponent`.
struct DecimalText<'a> {
    whole: &'a str,
    fraction: &'a str,
    exponent: i64,
}

impl<'a> DecimalText<'a> {
    fn read(text: &'a str) -> Option<Self> {
        let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let is_number = whole.bytes().chain(fraction.bytes()).all(|digit| digit.is_ascii_digit());
        if !is_number || whole.len() + fraction.len() == 0 {
            return None;
        }
        let exponent = i64::from(exponent.parse::<i32>().ok()?) - i64::try_from(fraction.len()).ok()?;
        Some(Self { whole, fraction, exponent })
    }

    /// The digits from the first that is not zero.
    fn digits(&self) -> impl Iterator<Item = u8> {
        self.whole.bytes().chain(self.fraction.bytes()).skip_while(|digit| *digit == b'0')
    }
}

/// Writes a decimal given as its unscaled number, without exponent: 150 at scale 2 is `1.50`.
pub fn decimal_text(value: i128, scale: i8) -> String {
    let mut text = String::new();
    write_decimal(&mut text, value, scale);
    text
}

/// Writing to a string cannot fail.
pub(super) fn write_decimal(out: &mut String, value: i128, scale: i8) {
    if value < 0 {
        out.push('-');
    }
    let start = out.len();
    let after_point = usize::from(scale.max(0).unsigned_abs());
    let _ = write!(out, "{:0width$}", value.unsigned_abs(), width = after_point + 1);
    if after_point > 0 {
        out.insert(out.len() - after_point, '.');
    } else if out[start..] != *"0" {
        out.extend(std::iter::repeat_n('0', usize::from(scale.unsigned_abs())));
    }
}

/// Writes a DOUBLE as Java does: `1.0`, `1.0E10`, `1.0E-5`, `NaN`, `Infinity`.
pub fn double_text(value: f64) -> String {
    let mut text = String::new();
    write_floating(&mut text, value);
    text
}

/// Writes a FLOAT; see [`double_text`].
pub fn float_text(value: f32) -> String {
    let mut text = String::new();
    write_floating(&mut text, value);
    text
}

pub(super) fn write_floating<T: Copy + Debug + UpperExp + Into<f64>>(out: &mut String, value: T) {
    let size: f64 = value.into().abs();
    if size.is_nan() {
        out.push_str("NaN");
    } else if size.is_infinite() {
        out.push_str(if value.into() > 0.0 { "Infinity" } else { "-Infinity" });
    } else if size == 0.0 || (1e-3..1e7).contains(&size) {
        let _ = write!(out, "{value:?}");
    } else {
        let start = out.len();
        let _ = write!(out, "{value:E}");
        let written = &out[start..];
        if let (false, Some(exponent)) = (written.contains('.'), written.find('E')) {
            out.insert_str(start + exponent, ".0");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans_are_the_words_of_spark() {
        for text in ["t", "TRUE", " y ", "yes", "1"] {
            assert_eq!(parse_boolean(text), Some(true), "{text}");
        }
        for text in ["f", "False", "N", "no", "0\n"] {
            assert_eq!(parse_boolean(text), Some(false), "{text}");
        }
        for text in ["", "2", "on", "tru"] {
            assert_eq!(parse_boolean(text), None, "{text}");
        }
    }

    #[test]
    fn integers_are_cut_at_the_point_and_must_fit() {
        let cases = [
            ("17", Some(17)),
            (" -17\t", Some(-17)),
            ("+5", Some(5)),
            ("1.7", Some(1)),
            ("-1.7", Some(-1)),
            ("1.", Some(1)),
            (".5", Some(0)),
            (".", Some(0)),
            ("007", Some(7)),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("-9223372036854775809", None),
            ("1.x", None),
            ("1.2.3", None),
            ("1e5", None),
            ("1 2", None),
            ("--1", None),
            ("-", None),
            ("", None),
            ("x", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_integer::<i64>(text), expected, "{text}");
        }
        assert_eq!(parse_integer::<i8>("-128.9"), Some(-128));
        assert_eq!(parse_integer::<i8>("128"), None);
        assert_eq!(parse_integer::<i32>("2147483648"), None);
    }

    #[test]
    fn floating_numbers_are_read_as_java_reads_them() {
        let cases = [
            ("1.5", Some(1.5)),
            (" -1e3 ", Some(-1000.0)),
            ("2d", Some(2.0)),
            ("2.F", Some(2.0)),
            (".5", Some(0.5)),
            ("inf", Some(f64::INFINITY)),
            ("+Infinity", Some(f64::INFINITY)),
            ("-INF", Some(f64::NEG_INFINITY)),
            ("1e400", Some(f64::INFINITY)),
            ("", None),
            ("d", None),
            (".", None),
            ("1,5", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_double(text), expected, "{text}");
        }
        assert!(parse_double("nan").unwrap().is_nan());
        assert_eq!(parse_float("0.1"), Some(0.1_f32));
    }

    #[test]
    fn decimals_are_rounded_to_their_scale_and_must_fit() {
        let cases = [
            ("1.5", 5, 2, Some(150)),
            ("-1.005", 5, 2, Some(-101)),
            ("1.004999", 5, 2, Some(100)),
            ("999.995", 5, 2, None),
            ("1000", 5, 2, None),
            ("0.004", 5, 2, Some(0)),
            ("0.005", 5, 2, Some(1)),
            ("0.0005", 5, 2, Some(0)),
            ("1.5e3", 10, 0, Some(1500)),
            ("15E-1", 10, 0, Some(2)),
            (" +007. ", 10, 0, Some(7)),
            ("1250", 5, -2, Some(13)),
            ("0e99", 5, 2, Some(0)),
            ("99999999999999999999999999999999999999", 38, 0, Some(10_i128.pow(38) - 1)),
            ("99999999999999999999999999999999999999.5", 38, 0, None),
            ("1e99", 38, 0, None),
            ("", 5, 2, None),
            (".", 5, 2, None),
            ("1e", 5, 2, None),
            ("0ex", 5, 2, None),
            ("1.2.3", 5, 2, None),
            ("x", 5, 2, None),
        ];
        for (text, precision, scale, expected) in cases {
            assert_eq!(parse_decimal(text, precision, scale), expected, "{text}");
        }
    }

    #[test]
    fn decimals_are_written_in_full() {
        let cases = [
            (150, 2, "1.50"),
            (-5, 2, "-0.05"),
            (0, 2, "0.00"),
            (7, 0, "7"),
            (7, -2, "700"),
            (0, -2, "0"),
            (i128::MIN, 0, "-170141183460469231731687303715884105728"),
        ];
        for (value, scale, expected) in cases {
            assert_eq!(decimal_text(value, scale), expected);
        }
    }

    #[test]
    fn floating_numbers_are_written_as_java_writes_them() {
        let cases = [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (100.25, "100.25"),
            (0.001, "0.001"),
            (0.0009, "9.0E-4"),
            (1e-5, "1.0E-5"),
            (9_999_999.0, "9999999.0"),
            (1e7, "1.0E7"),
            (12_345_678.9, "1.23456789E7"),
            (-1e10, "-1.0E10"),
            (f64::MAX, "1.7976931348623157E308"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "Infinity"),
            (f64::NEG_INFINITY, "-Infinity"),
        ];
        for (value, expected) in cases {
            assert_eq!(double_text(value), expected);
        }
        assert_eq!(float_text(0.1), "0.1");
        assert_eq!(float_text(1e-3), "0.001");
        assert_eq!(float_text(1.6e7), "1.6E7");
    }
}
