//! Which characters separate, quote and comment.

use super::records::Records;
use crate::connector::format::separator::Separator;
use crate::connector::options::Options;
use crate::error::{Error, Result};

/// How records and values are marked off in a CSV file.
#[derive(Debug, Clone)]
pub(crate) struct Dialect {
    /// Between values.
    pub(super) separator: u8,
    /// The last byte of a record's end.
    pub(super) newline: u8,
    pub(super) quote: Option<u8>,
    /// In a quoted value, before a quote that is part of it.
    pub(super) escape: Option<u8>,
    /// At the beginning of a line that is none.
    pub(super) comment: Option<u8>,
    pub(super) trims_start: bool,
    pub(super) trims_end: bool,
    /// Whether quoted values may hold line ends.
    pub(super) is_multi_line: bool,
}

impl Dialect {
    /// Takes the options.
    ///
    /// # Errors
    /// When one is bad.
    pub(super) fn from_options(options: &Options) -> Result<Self> {
        let separator = options.parsed("sep", ONE, one)?;
        let delimiter = options.parsed("delimiter", ONE, one)?;
        let newline = options.parsed("lineSep", "one ASCII character", one)?;
        let dialect = Self {
            separator: separator.or(delimiter).unwrap_or(b','),
            newline: newline.unwrap_or(b'\n'),
            quote: options.parsed("quote", NONE_OR_ONE, none_or_one)?.unwrap_or(Some(b'"')),
            escape: options.parsed("escape", NONE_OR_ONE, none_or_one)?.unwrap_or(Some(b'\\')),
            comment: options.parsed("comment", NONE_OR_ONE, none_or_one)?.flatten(),
            trims_start: options.flag("ignoreLeadingWhiteSpace", false)?,
            trims_end: options.flag("ignoreTrailingWhiteSpace", false)?,
            is_multi_line: options.flag("multiLine", false)?,
        };
        if [Some(dialect.newline), dialect.quote, dialect.comment].contains(&Some(dialect.separator)) {
            let separator = char::from(dialect.separator);
            return Err(Error::config(format!(
                "`{separator}` separates values and cannot also be lineSep, quote or comment"
            )));
        }
        Ok(dialect)
    }

    /// What ends a line.
    pub(super) fn line_separator(&self) -> Separator {
        if self.newline == b'\n' { Separator::Newline } else { Separator::Byte(self.newline) }
    }

    /// How many bytes from the start are records with their ends.
    pub(in crate::connector::format) fn whole_records(&self, bytes: &[u8]) -> usize {
        Records::default().whole(self, bytes)
    }

    /// Where the value that begins at `from` ends if it is not quoted.
    pub(super) fn value_end(&self, bytes: &[u8], from: usize, limit: usize) -> usize {
        memchr::memchr2(self.separator, self.newline, &bytes[from..limit]).map_or(limit, |at| from + at)
    }

    /// The end of a line's text, whose line end is at `newline`: a `\r` before `\n` is part of the line end.
    pub(super) fn line_end(&self, bytes: &[u8], start: usize, newline: usize) -> usize {
        let has_return = self.newline == b'\n' && newline > start && bytes[newline - 1] == b'\r';
        newline - usize::from(has_return)
    }

    /// The first byte from `from` on that is no blank, or a separator or line end.
    pub(super) fn skip_blanks(&self, bytes: &[u8], from: usize, limit: usize) -> usize {
        let is_blank = |byte: &u8| *byte <= b' ' && *byte != self.separator && *byte != self.newline;
        from + bytes[from..limit].iter().take_while(|byte| is_blank(byte)).count()
    }

    /// The range without the blanks that the options say to leave out.
    pub(super) fn trimmed(&self, bytes: &[u8], mut start: usize, mut end: usize) -> (usize, usize) {
        while self.trims_start && start < end && bytes[start] <= b' ' {
            start += 1;
        }
        while self.trims_end && start < end && bytes[end - 1] <= b' ' {
            end -= 1;
        }
        (start, end)
    }
}

const ONE: &str = "one ASCII character or \\t";
const NONE_OR_ONE: &str = "one ASCII character, or nothing";

fn one(text: &str) -> Option<u8> {
    match text.as_bytes() {
        b"\\t" => Some(b'\t'),
        b"\\n" => Some(b'\n'),
        b"\\\\" => Some(b'\\'),
        [byte] if byte.is_ascii() => Some(*byte),
        _ => None,
    }
}

#[expect(clippy::option_option, reason = "a bad text, no character, or one")]
fn none_or_one(text: &str) -> Option<Option<u8>> {
    if text.is_empty() || text == "\0" { Some(None) } else { one(text).map(Some) }
}
