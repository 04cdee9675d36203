//! Lines of files one knows, read by hand: numbers, words and times between commas.

/// The fields of lines, one after the other; each ends with a comma or the end of its line, and is passed with it.
pub(crate) struct Fields<'a> {
    text: &'a [u8],
    at: usize,
    /// The date that was read last, and its midnight in seconds: most lines are of the same day.
    date: &'a [u8],
    midnight: i64,
}

impl<'a> Fields<'a> {
    /// From the first field of whole lines.
    pub(crate) fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0, date: b"", midnight: 0 }
    }

    /// Whether no line is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.at >= self.text.len()
    }

    /// Decimal digits.
    pub(crate) fn number(&mut self) -> i64 {
        let mut number = 0;
        while self.text[self.at].is_ascii_digit() {
            number = number * 10 + i64::from(self.text[self.at] - b'0');
            self.at += 1;
        }
        self.at += 1;
        number
    }

    /// Anything up to the comma or the end of the line.
    pub(crate) fn word(&mut self) -> &'a [u8] {
        let rest = &self.text[self.at..];
        let length = rest.iter().position(|byte| matches!(byte, b',' | b'\n')).unwrap_or(rest.len());
        self.at += length + 1;
        &rest[..length]
    }

    /// The index of one of [`EVENTS`](super::EVENTS), by its first letter.
    pub(crate) fn event(&mut self) -> u8 {
        match self.word().first() {
            Some(b'v') => 0,
            Some(b'l') => 1,
            Some(b'c') => 2,
            _ => 3,
        }
    }

    /// The seconds since 1970 of `yyyy-MM-dd HH:mm:ss`.
    pub(crate) fn time(&mut self) -> i64 {
        let text = &self.text[self.at..self.at + 19];
        if self.date != &text[..10] {
            self.date = &text[..10];
            self.midnight = midnight(self.date);
        }
        self.at += 20;
        self.midnight + time_of_day(&text[11..])
    }
}

/// The text in two halves of whole lines.
pub(crate) fn halves(text: &[u8]) -> [&[u8]; 2] {
    let middle = text.len() / 2;
    let cut = middle + text[middle..].iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    [&text[..cut], &text[cut..]]
}

/// The seconds since 1970 of `yyyy-MM-dd HH:mm:ss`.
pub(crate) fn seconds(text: &[u8]) -> i64 {
    midnight(&text[..10]) + time_of_day(&text[11..])
}

/// The seconds since 1970 of `yyyy-MM-dd`, by the days of the civil calendar.
fn midnight(date: &[u8]) -> i64 {
    let (year, month, day) = (number(&date[..4]), number(&date[5..7]), number(&date[8..10]));
    let year = if month <= 2 { year - 1 } else { year };
    let (era, month) = (year.div_euclid(400), (month + 9) % 12);
    let year_of_era = year - era * 400;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + (153 * month + 2) / 5 + day - 1;
    (era * 146_097 + day_of_era - 719_468) * 86_400
}

/// The seconds of `HH:mm:ss`.
fn time_of_day(text: &[u8]) -> i64 {
    number(&text[..2]) * 3600 + number(&text[3..5]) * 60 + number(&text[6..8])
}

fn number(digits: &[u8]) -> i64 {
    digits.iter().fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0'))
}
