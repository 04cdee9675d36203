//! Finds out the columns of CSV files: names from the header, types from all rows when asked.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

use super::records::{Records, Token};
use super::{Csv, Spec};
use crate::connector::format::blocks::Blocks;
use crate::connector::format::malformed::Mode;
use crate::connector::format::values::{self, TimeFormats};
use crate::connector::format::{Counters, Format, Part};
use crate::error::{Error, Result};

/// The schema of `files`. Types are STRING unless `infers_types`.
pub(super) fn schema(spec: &Spec, files: &[PathBuf], infers_types: bool) -> Result<SchemaRef> {
    let names = column_names(spec, files)?;
    let strings = names.iter().map(|name| Field::new(name, DataType::Utf8View, true));
    let strings = Arc::new(Schema::new(strings.collect::<Vec<_>>()));
    if !infers_types {
        return Ok(strings);
    }
    let untyped = Spec { schema: strings, mode: Mode::Permissive, ..spec.clone() };
    let guesses = guess_columns(&Csv(Arc::new(untyped)), names.len(), files, &spec.formats)?;
    let fields = names.iter().zip(guesses).map(|(name, guess)| Field::new(name, guess.data_type(), true));
    Ok(Arc::new(Schema::new(fields.collect::<Vec<_>>())))
}

fn column_names(spec: &Spec, files: &[PathBuf]) -> Result<Vec<String>> {
    for path in files {
        if let Some(values) = first_record(spec, path)? {
            let names = (0..).zip(values).map(|(index, value)| match value {
                Some(name) if spec.has_header => name,
                _ => format!("_c{index}"),
            });
            return Ok(distinct(names.collect()));
        }
    }
    Err(Error::data(
        "the csv files have no rows to find out the columns from; give them with .schema(\"name TYPE, …\")",
    ))
}

/// The values of the first record, `None` for empty ones.
fn first_record(spec: &Spec, path: &Path) -> Result<Option<Vec<Option<String>>>> {
    let file = open(path)?;
    let mut blocks = Blocks::open(file, &Part::whole(path), spec.framing(), &Arc::default())?;
    while let Some(block) = blocks.next()? {
        let mut records = Records::default();
        records.split(&spec.dialect, &block.text, 0, 1);
        if records.len() == 0 {
            continue;
        }
        let width = records.record(0).values;
        let mut records = Records::new(width);
        records.split(&spec.dialect, &block.text, 0, 1);
        let value = |column| match records.token(&block.text, 0, column) {
            Token::Missing | Token::Plain([], _) | Token::Quoted([], _) => None,
            Token::Plain(text, _) | Token::Quoted(text, _) | Token::Rewritten(text) => {
                Some(String::from_utf8_lossy(text).into_owned())
            }
        };
        return Ok(Some((0..width).map(value).collect()));
    }
    Ok(None)
}

/// Appends the index to names that occur more than once.
fn distinct(names: Vec<String>) -> Vec<String> {
    let lower: Vec<String> = names.iter().map(|name| name.to_lowercase()).collect();
    let is_repeated = |index: usize| lower.iter().filter(|name| **name == lower[index]).count() > 1;
    let distinct = |(index, name): (usize, String)| if is_repeated(index) { format!("{name}{index}") } else { name };
    names.into_iter().enumerate().map(distinct).collect()
}

fn guess_columns(csv: &Csv, columns: usize, files: &[PathBuf], formats: &TimeFormats) -> Result<Vec<Guess>> {
    let mut guesses = vec![Guess::Null; columns];
    let all: Vec<usize> = (0..columns).collect();
    let counters = Arc::new(Counters::default());
    for path in files {
        let mut reader = csv.open(open(path)?, &Part::whole(path), &all, &counters)?;
        while let Some(batch) = reader.next()? {
            for (guess, column) in guesses.iter_mut().zip(batch.columns()) {
                for text in column.as_string_view().iter().flatten() {
                    *guess = guess.and(text.as_bytes(), formats);
                }
            }
        }
    }
    Ok(guesses)
}

fn open(path: &Path) -> Result<File> {
    File::open(path)
        .map_err(|error| Error::connector(format!("cannot read `{}`: {error}", path.display())).with_source(error))
}

/// The narrowest type that holds all values seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Guess {
    Null,
    Int,
    BigInt,
    /// A whole number of this many digits.
    Decimal(u8),
    Double,
    Date,
    Timestamp,
    Boolean,
    Text,
}

impl Guess {
    fn of(text: &[u8], formats: &TimeFormats) -> Self {
        match values::integer(text) {
            Some(number) if i32::try_from(number).is_ok() => return Self::Int,
            Some(_) => return Self::BigInt,
            None => {}
        }
        let digits = text.strip_prefix(b"-").unwrap_or(text);
        match u8::try_from(digits.len()) {
            Ok(count @ 1..=38) if digits.iter().all(u8::is_ascii_digit) => Self::Decimal(count),
            _ if values::float::<f64>(text).is_some() => Self::Double,
            _ if formats.is_date(text) => Self::Date,
            _ if formats.parse_timestamp(text).is_some() => Self::Timestamp,
            _ if values::boolean(text).is_some() => Self::Boolean,
            _ => Self::Text,
        }
    }

    /// Takes one more value into account.
    fn and(self, text: &[u8], formats: &TimeFormats) -> Self {
        let other = match self {
            Self::Text => return Self::Text,
            Self::Timestamp if formats.parse_timestamp(text).is_some() => return Self::Timestamp,
            _ => Self::of(text, formats),
        };
        match (self, other) {
            (Self::Null, guess) | (guess, Self::Null) => guess,
            (left, right) if left == right => left,
            (left, right) if left.is_number() && right.is_number() => left.wider(right),
            (Self::Date, Self::Timestamp) | (Self::Timestamp, Self::Date) => Self::Timestamp,
            _ => Self::Text,
        }
    }

    fn is_number(self) -> bool {
        matches!(self, Self::Int | Self::BigInt | Self::Decimal(_) | Self::Double)
    }

    fn wider(self, other: Self) -> Self {
        match (self, other) {
            (Self::Double, _) | (_, Self::Double) => Self::Double,
            (Self::Decimal(left), Self::Decimal(right)) => Self::Decimal(left.max(right)),
            (Self::Decimal(digits), _) | (_, Self::Decimal(digits)) => Self::Decimal(digits.max(20)),
            _ => Self::BigInt,
        }
    }

    fn data_type(self) -> DataType {
        match self {
            Self::Null | Self::Text => DataType::Utf8View,
            Self::Int => DataType::Int32,
            Self::BigInt => DataType::Int64,
            Self::Decimal(digits) => DataType::Decimal128(digits, 0),
            Self::Double => DataType::Float64,
            Self::Date => DataType::Date32,
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::Boolean => DataType::Boolean,
        }
    }
}
