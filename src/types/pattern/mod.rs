//! Java's date patterns: `yyyy-MM-dd HH:mm:ss.SSS`.
//!
//! Owns: compiling a pattern, reading text by it and writing a time by it, by the rules of Spark 3 and later. Does not
//! own: times without a pattern, which are read as Spark's CAST reads them ([`time`](super::time)), and columns.
//!
//! Letters: `y u` year, `M L` month, `d` day, `D` day of the year, `Q q` quarter, `E` day of the week, `a` AM or PM, `H`
//! hour 0-23, `k` 1-24, `K` 0-11, `h` 1-12, `m` minute, `s` second, `S` fraction, `X x Z O z V` zone; text between
//! apostrophes stands for itself, `''` is an apostrophe, and `[…]` is written, but need not be there when reading.
//!
//! Functions know all of them and read leniently: names and text in any case, zones in any form. Files are read by the
//! letter, and options take fewer letters (see [`letters`]).

mod letters;
mod read;
#[cfg(test)]
mod tests;
mod write;

use chrono::NaiveDate;

pub(crate) use self::letters::weekday_name;
use self::letters::{Part, Usage, compile, known_letters};
use self::read::read;
use self::write::write_parts;
use super::Zone;
use super::calendar::MICROS_PER_SECOND;
use crate::error::{Error, Result};

/// A compiled pattern.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Pattern {
    usage: Usage,
    parts: Vec<Part>,
}

impl Pattern {
    /// Compiles an argument of `function`, to read or write by it.
    ///
    /// # Errors
    /// When a letter has no meaning here, or a quote or bracket is not closed.
    pub(crate) fn of_function(function: &str, text: &str) -> Result<Self> {
        Self::compile(Usage::Function, text)
            .map_err(|what| Error::plan(format!("function `{function}`, date pattern `{text}`: {what}")))
    }

    /// Compiles the pattern that `option` of a source holds, to read by it.
    ///
    /// # Errors
    /// As [`of_function`](Self::of_function).
    pub(crate) fn of_source(option: &str, text: &str) -> Result<Self> {
        Self::compile(Usage::Source, text).map_err(|what| bad_option(option, text, &what))
    }

    /// Compiles the pattern that `option` of a sink holds, to write by it.
    ///
    /// # Errors
    /// When a letter has no meaning here, or a quote is not closed.
    pub(crate) fn of_sink(option: &str, text: &str) -> Result<Self> {
        Self::compile(Usage::Sink, text).map_err(|what| bad_option(option, text, &what))
    }

    fn compile(usage: Usage, text: &str) -> Result<Self, String> {
        let parts = compile(text, usage).map_err(|what| {
            let known = known_letters(usage);
            format!("{what}; known letters are {known}, others go into 'quotes', such as `yyyy-MM-dd'T'HH:mm:ss`")
        })?;
        Ok(Self { usage, parts })
    }

    /// Days since 1970-01-01; a time of day is read and ignored. `None` when the text does not fit. What the pattern
    /// does not say is 1970-01-01.
    pub(crate) fn date(&self, text: &[u8]) -> Option<i32> {
        let date = read(&self.parts, self.usage, text)?.date()?;
        i32::try_from(date.signed_duration_since(NaiveDate::default()).num_days()).ok()
    }

    /// Microseconds since 1970-01-01T00:00:00Z; a time without a zone is one of `zone`. `None` when the text does not
    /// fit. What the pattern does not say is 1970-01-01 and midnight.
    pub(crate) fn timestamp(&self, text: &[u8], zone: Zone) -> Option<i64> {
        let moment = read(&self.parts, self.usage, text)?;
        let offset = moment.offset_seconds().unwrap_or(zone.offset_seconds());
        moment.local_micros(self.usage)?.checked_sub(i64::from(offset) * MICROS_PER_SECOND)
    }

    /// Microseconds since 1970-01-01T00:00:00 on the writer's clock; a zone is read and ignored.
    pub(crate) fn local_timestamp(&self, text: &[u8]) -> Option<i64> {
        read(&self.parts, self.usage, text)?.local_micros(self.usage)
    }

    /// Appends the time that is `micros` microseconds after 1970-01-01T00:00:00Z, as clocks in `zone` show it; for
    /// years beyond the calendar the number itself, which is at least true.
    pub(crate) fn write(&self, micros: i64, zone: Zone, out: &mut String) {
        if !self.write_local(micros.saturating_add(zone.offset_micros()), zone, out) {
            out.push_str(&micros.to_string());
        }
    }

    /// Appends a time given as microseconds of the clock in `zone`. False, and nothing written, for years beyond the
    /// calendar.
    pub(crate) fn write_local(&self, local_micros: i64, zone: Zone, out: &mut String) -> bool {
        let time = chrono::DateTime::from_timestamp_micros(local_micros);
        time.is_some_and(|time| {
            write_parts(&self.parts, time.naive_utc(), zone.offset_seconds(), out);
            true
        })
    }
}

fn bad_option(option: &str, text: &str, what: &str) -> Error {
    Error::config(format!("option `{option}`=`{text}`: {what}"))
}
