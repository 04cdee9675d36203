//! Reads records in their usual form in one pass, straight into columns.
//!
//! Owns: rows of as many values as there are columns, none of them quoted, each written as nearly all are. Does not own: any other
//! row: reading stops before it, and what comes next is split and read the long way ([`super::records`]).
//!
//! The long way finds the place of every value of a batch, then reads column by column. Here a number is read while its end is looked
//! for, and of a timestamp only the time of day as long as the date stays the same.

use std::sync::Arc;

use arrow::array::builder::BooleanBufferBuilder;
use arrow::array::{ArrayRef, Int8Array, Int16Array, Int32Array, Int64Array, TimestampMicrosecondArray};
use arrow::buffer::{Buffer, NullBuffer};
use arrow::datatypes::{DataType, FieldRef, TimeUnit};

use super::{Dialect, Spec};
use crate::connector::format::strings::views_into;
use crate::connector::format::values::{self, TimeFormats};
use crate::error::{Error, Result};
use crate::types::{INLINE_BYTES, find_either, leading_digits, time_of_day, usual_timestamp, view_of};

/// After a row in another form, so many batches are read the long way; twice as many each time there is another such row at once.
const FIRST_REST: u32 = 1;
const LONGEST_REST: u32 = 64;

/// Numbers of so few digits do not overflow.
const SAFE_DIGITS: usize = 18;

/// The length of `yyyy-MM-dd HH:mm:ss`.
const TIMESTAMP: usize = 19;

/// Columns that grow row by row.
#[derive(Debug)]
pub(super) struct UsualRows {
    separator: u8,
    newline: u8,
    quote: Option<u8>,
    formats: TimeFormats,
    /// One for each value of a record.
    columns: Vec<Column>,
    /// For each projected column, its value.
    projection: Vec<usize>,
    /// Batches that are read the long way before this way is tried again.
    resting: u32,
    next_rest: u32,
}

#[derive(Debug)]
struct Column {
    data_type: DataType,
    cells: Cells,
    nulls: Vec<u32>,
}

#[derive(Debug)]
enum Cells {
    /// Not projected.
    Skipped,
    /// With the lowest and the highest number of the type.
    Integers(Vec<i64>, (i64, i64)),
    Timestamps(Vec<i64>, Day),
    Texts {
        views: Vec<u128>,
        has_long: bool,
    },
    /// The places of values that are read when the batch is whole.
    Others(Vec<(u32, u32)>),
}

/// The date that was read last, and its midnight.
#[derive(Debug, Default)]
struct Day {
    text: Option<[u8; 10]>,
    midnight: i64,
    /// Microseconds east of UTC, which are taken off.
    east: i64,
}

impl UsualRows {
    /// For the columns that `projection` names; `None` if the options make every row unusual.
    pub(super) fn new(spec: &Spec, projection: &[usize]) -> Option<Self> {
        let Dialect { separator, newline, quote, comment, trims_start, trims_end, .. } = spec.dialect;
        // What may stand in a number or a time ends no value here.
        let is_mark = |byte: u8| byte.is_ascii_digit() || matches!(byte, b' ' | b'-' | b'+' | b':' | b'T');
        let has_marks = is_mark(separator) || is_mark(newline);
        let is_plain = comment.is_none() && !trims_start && !trims_end && !has_marks && spec.null_value.is_empty();
        if !is_plain || spec.corrupt.is_some() || spec.schema.fields().is_empty() {
            return None;
        }
        let column = |(index, field): (usize, &FieldRef)| {
            let cells = if projection.contains(&index) { spec.cells(field.data_type()) } else { Cells::Skipped };
            Column { data_type: field.data_type().clone(), cells, nulls: Vec::new() }
        };
        Some(Self {
            separator,
            newline,
            quote,
            formats: spec.formats.clone(),
            columns: spec.schema.fields().iter().enumerate().map(column).collect(),
            projection: projection.to_vec(),
            resting: 0,
            next_rest: FIRST_REST,
        })
    }

    /// Reads at most `most` rows of `text` from `at` on. Answers the columns, the rows and where the next row begins; `None` if the first
    /// row is in another form.
    ///
    /// # Errors
    /// When a column cannot be made, which is a defect.
    pub(super) fn read(
        &mut self,
        text: &Buffer,
        at: usize,
        most: usize,
    ) -> Result<Option<(Vec<ArrayRef>, usize, usize)>> {
        if at == text.len() {
            return Ok(None);
        }
        if self.resting > 0 {
            self.resting -= 1;
            return Ok(None);
        }
        let (mut rows, mut next) = (0, at);
        while rows < most && next < text.len() {
            let Some(end) = self.row(text, next, rows) else { break };
            (rows, next) = (rows + 1, end);
        }
        if rows == 0 {
            // Some columns may have a value of the row already.
            self.forget();
            self.rest();
            return Ok(None);
        }
        let mut columns = Vec::with_capacity(self.projection.len());
        for index in &self.projection {
            let Some(column) = self.columns[*index].take(rows, text, &self.formats)? else {
                self.forget();
                self.rest();
                return Ok(None);
            };
            columns.push(column);
        }
        self.forget();
        if rows == most || next == text.len() {
            self.next_rest = FIRST_REST;
        }
        Ok(Some((columns, rows, next)))
    }

    /// Leaves the next batches to the long way.
    fn rest(&mut self) {
        self.resting = self.next_rest;
        self.next_rest = (2 * self.next_rest).min(LONGEST_REST);
    }

    fn forget(&mut self) {
        self.columns.iter_mut().for_each(|column| column.truncate(0));
    }

    /// Reads the row at `at`, the number `row` of the batch; answers where the next begins. `None` if it is in another form; then
    /// some columns may have a value of it.
    #[inline]
    fn row(&mut self, bytes: &[u8], mut at: usize, row: usize) -> Option<usize> {
        // A blank line is no row.
        if *bytes.get(at)? <= b' ' || bytes[at] == self.newline {
            return None;
        }
        let last = self.columns.len() - 1;
        for (index, column) in self.columns.iter_mut().enumerate() {
            let (end, other) =
                if index == last { (self.newline, self.separator) } else { (self.separator, self.newline) };
            let marks = Marks { end, other, quote: self.quote };
            at = column.read(bytes, at, &marks, row, &self.formats)?;
        }
        Some(at)
    }
}

impl Spec {
    fn cells(&self, data_type: &DataType) -> Cells {
        let usual = |east| Cells::Timestamps(Vec::new(), Day { east, ..Day::default() });
        match data_type {
            DataType::Int8 => Cells::Integers(Vec::new(), (i8::MIN.into(), i8::MAX.into())),
            DataType::Int16 => Cells::Integers(Vec::new(), (i16::MIN.into(), i16::MAX.into())),
            DataType::Int32 => Cells::Integers(Vec::new(), (i32::MIN.into(), i32::MAX.into())),
            DataType::Int64 => Cells::Integers(Vec::new(), (i64::MIN, i64::MAX)),
            DataType::Utf8View => Cells::Texts { views: Vec::new(), has_long: false },
            DataType::Timestamp(TimeUnit::Microsecond, zone) if self.formats.has_usual_timestamps() => {
                usual(if zone.is_some() { self.formats.zone_offset_micros() } else { 0 })
            }
            _ => Cells::Others(Vec::new()),
        }
    }
}

/// What ends a value, and what must not be in it.
struct Marks {
    end: u8,
    /// The separator in the last value of a row, the line end in the others.
    other: u8,
    quote: Option<u8>,
}

impl Marks {
    /// Where the value at `at` ends; `None` if it is quoted or may be, or the row ends too early or too late.
    #[inline]
    fn value_end(&self, bytes: &[u8], at: usize) -> Option<usize> {
        let rest = &bytes[at..];
        let first = *rest.first()?;
        if first == self.end {
            return Some(at);
        }
        let length = find_either(rest, self.end, self.other)?;
        // A `\r` may belong to the line end, and a quote behind blanks opens a quoted value, too.
        let is_whole = rest[length] == self.end && rest[length - 1] != b'\r';
        let may_be_quoted = |quote| first == quote || first <= b' ' && rest[..length].contains(&quote);
        (is_whole && !self.quote.is_some_and(may_be_quoted)).then_some(at + length)
    }
}

impl Column {
    /// Reads the value at `at`; answers where the next begins.
    #[inline]
    fn read(&mut self, bytes: &[u8], at: usize, marks: &Marks, row: usize, formats: &TimeFormats) -> Option<usize> {
        match &mut self.cells {
            Cells::Integers(values, bounds) => {
                let (value, end) = integer(bytes, at)?;
                if *bytes.get(end)? != marks.end || value < bounds.0 || value > bounds.1 {
                    return None;
                }
                if end == at {
                    self.nulls.push(place(row));
                }
                values.push(value);
                Some(end + 1)
            }
            Cells::Timestamps(values, day) => {
                if let Some(text) = bytes.get(at..=at + TIMESTAMP)
                    && text[TIMESTAMP] == marks.end
                    && let Some(micros) = day.timestamp(&text[..TIMESTAMP])
                {
                    values.push(micros);
                    return Some(at + TIMESTAMP + 1);
                }
                let end = marks.value_end(bytes, at)?;
                let is_null = end == at;
                let micros = if is_null { 0 } else { formats.timestamp_of(&self.data_type, &bytes[at..end])? };
                values.push(micros);
                if is_null {
                    self.nulls.push(place(row));
                }
                Some(end + 1)
            }
            Cells::Texts { views, has_long } => {
                let end = marks.value_end(bytes, at)?;
                *has_long |= end - at > INLINE_BYTES;
                views.push(view_of(bytes, at, end - at, 0, place(at)));
                if end == at {
                    self.nulls.push(place(row));
                }
                Some(end + 1)
            }
            Cells::Others(places) => {
                let end = marks.value_end(bytes, at)?;
                places.push((place(at), place(end)));
                Some(end + 1)
            }
            Cells::Skipped => marks.value_end(bytes, at).map(|end| end + 1),
        }
    }

    fn truncate(&mut self, rows: usize) {
        match &mut self.cells {
            Cells::Skipped => {}
            Cells::Integers(values, _) | Cells::Timestamps(values, _) => values.truncate(rows),
            Cells::Texts { views, has_long } => {
                views.truncate(rows);
                *has_long &= rows > 0;
            }
            Cells::Others(places) => places.truncate(rows),
        }
        let kept = self.nulls.partition_point(|row| (*row as usize) < rows);
        self.nulls.truncate(kept);
    }

    /// The first `rows` values; `None` if one of them is not of the type.
    fn take(&mut self, rows: usize, text: &Buffer, formats: &TimeFormats) -> Result<Option<ArrayRef>> {
        self.truncate(rows);
        let nulls = self.null_buffer(rows);
        let column: ArrayRef = match &mut self.cells {
            Cells::Skipped => return Err(Error::internal("a column that is not read is asked for")),
            Cells::Integers(values, _) => {
                let values = std::mem::replace(values, Vec::with_capacity(rows));
                integers(&self.data_type, values, nulls)?
            }
            Cells::Timestamps(values, _) => {
                let values = std::mem::replace(values, Vec::with_capacity(rows));
                let times = TimestampMicrosecondArray::new(values.into(), nulls);
                Arc::new(times.with_data_type(self.data_type.clone()))
            }
            Cells::Texts { views, has_long } => {
                let views = std::mem::replace(views, Vec::with_capacity(rows));
                Arc::new(views_into(text, views, *has_long, nulls)?)
            }
            Cells::Others(places) => {
                let cell = |(start, end): &(u32, u32)| (start < end).then(|| &text[*start as usize..*end as usize]);
                let mut has_bad = false;
                let column = values::column(&self.data_type, places.iter().map(cell), formats, |_| has_bad = true)?;
                if has_bad {
                    return Ok(None);
                }
                column
            }
        };
        Ok(Some(column))
    }

    fn null_buffer(&self, rows: usize) -> Option<NullBuffer> {
        if self.nulls.is_empty() {
            return None;
        }
        let mut valid = BooleanBufferBuilder::new(rows);
        valid.append_n(rows, true);
        for row in &self.nulls {
            valid.set_bit(*row as usize, false);
        }
        Some(NullBuffer::new(valid.finish()))
    }
}

impl Day {
    /// Microseconds since 1970-01-01T00:00:00Z of `yyyy-MM-dd HH:mm:ss`; `None` for any other text.
    #[inline]
    fn timestamp(&mut self, text: &[u8]) -> Option<i64> {
        let (date, time) = text.split_first_chunk::<10>()?;
        if Some(*date) != self.text {
            let micros = usual_timestamp(text)?;
            self.text = Some(*date);
            self.midnight = micros - time_of_day(time)?;
        }
        Some(self.midnight + time_of_day(time)? - self.east)
    }
}

/// The digits from `at` on, with a minus in front or not, and where they end; 0 for none.
#[inline]
fn integer(bytes: &[u8], at: usize) -> Option<(i64, usize)> {
    let is_negative = *bytes.get(at)? == b'-';
    let start = at + usize::from(is_negative);
    let (value, digits) = leading_digits(&bytes[start..]);
    if digits > SAFE_DIGITS || is_negative && digits == 0 {
        return None;
    }
    Some((if is_negative { -value } else { value }, start + digits))
}

fn integers(data_type: &DataType, values: Vec<i64>, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
    fn narrow<T: TryFrom<i64> + Default>(values: &[i64]) -> Vec<T> {
        // They are within the bounds of the type.
        values.iter().map(|value| T::try_from(*value).unwrap_or_default()).collect()
    }
    Ok(match data_type {
        DataType::Int8 => Arc::new(Int8Array::new(narrow(&values).into(), nulls)),
        DataType::Int16 => Arc::new(Int16Array::new(narrow(&values).into(), nulls)),
        DataType::Int32 => Arc::new(Int32Array::new(narrow(&values).into(), nulls)),
        DataType::Int64 => Arc::new(Int64Array::new(values.into(), nulls)),
        other => return Err(Error::internal(format!("{other} is no type of whole numbers"))),
    })
}

#[expect(clippy::cast_possible_truncation, reason = "blocks are at most 2 GiB long")]
fn place(at: usize) -> u32 {
    at as u32
}
