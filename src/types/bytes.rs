//! Sizes of memory and files as Spark's settings write them.

/// Reads a size in bytes: `64mb`, `1g`, `512k`, or plain bytes. `None` when the text is not one or does not fit.
///
/// A unit is a power of 1024, in any case, with or without its `b`.
pub fn parse_bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let unit_at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let shift = match unit.trim_start().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" => 10,
        "m" | "mb" => 20,
        "g" | "gb" => 30,
        "t" | "tb" => 40,
        "p" | "pb" => 50,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_in_powers_of_1024() {
        let cases = [
            ("0", Some(0)),
            ("17", Some(17)),
            ("17b", Some(17)),
            ("512k", Some(512 << 10)),
            (" 64MB ", Some(64 << 20)),
            ("1 g", Some(1 << 30)),
            ("2tb", Some(2 << 40)),
            ("1p", Some(1 << 50)),
            ("16384p", None),
            ("1.5g", None),
            ("-1", None),
            ("mb", None),
            ("", None),
            ("64 parsecs", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_bytes(text), expected, "{text}");
        }
    }
}
