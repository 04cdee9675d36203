//! Arrays made of arrays.
//!
//! Owns: joining, cutting, counting up.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Builder, ListArray, ListBuilder, StringViewBuilder, UInt32Array};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{concat, take};
use arrow::datatypes::{DataType, Field, Int64Type};

use super::super::coerce::item_of;
use super::super::kernel::{Kernel, complete_rows, ints, is_complete, texts};
use crate::error::{Error, Result};

/// The longest array `sequence` makes.
const LONGEST_SEQUENCE: i128 = 1 << 24;

/// The items of all arguments, one after the other; null where one is.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(in super::super) struct ConcatArrays;

impl Kernel for ConcatArrays {
    fn name(&self) -> &'static str {
        "concat_arrays"
    }

    fn evaluate(&self, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        let lists: Vec<&ListArray> = arguments.iter().map(AsArray::as_list::<i32>).collect();
        let values: Vec<&dyn Array> = lists.iter().map(|list| list.values().as_ref()).collect();
        let values = concat(&values)?;
        let complete = complete_rows(arguments);
        let (mut places, mut lengths) = (Vec::new(), Vec::with_capacity(lists[0].len()));
        for row in 0..lists[0].len() {
            let before = places.len();
            let mut base = 0;
            for list in &lists {
                if is_complete(complete.as_ref(), row) {
                    places.extend(list.value_offsets()[row]..list.value_offsets()[row + 1]);
                    places[before..].iter_mut().rev().take(length_of(list, row)).for_each(|place| *place += base);
                }
                base += i32::try_from(list.values().len()).map_err(|_| too_long())?;
            }
            lengths.push(places.len() - before);
        }
        list_of(&arguments[0], &values, &places, lengths, complete)
    }
}

fn length_of(list: &ListArray, row: usize) -> usize {
    usize::try_from(list.value_length(row)).unwrap_or(0)
}

fn too_long() -> Error {
    Error::data("arrays of one batch have more than 2^31 items together")
}

/// The list of the type of `like` whose rows are these places of `values`.
fn list_of(
    like: &ArrayRef,
    values: &ArrayRef,
    places: &[i32],
    lengths: Vec<usize>,
    nulls: Option<arrow::buffer::NullBuffer>,
) -> Result<ArrayRef> {
    let places: UInt32Array = places.iter().map(|place| u32::try_from(*place).ok()).collect();
    let values = take(values, &places, None)?;
    let item = item_of(like.data_type()).cloned().unwrap_or(DataType::Null);
    let field = Arc::new(Field::new_list_field(item, true));
    Ok(Arc::new(ListArray::try_new(field, OffsetBuffer::from_lengths(lengths), values, nulls)?))
}

/// `slice(array, start, length)`: from 1, negative from the end.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Slice;

impl Kernel for Slice {
    fn name(&self) -> &'static str {
        "slice"
    }

    fn evaluate(&self, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        let (list, starts, counts) = (arguments[0].as_list::<i32>(), ints(&arguments[1]), ints(&arguments[2]));
        let complete = complete_rows(arguments);
        let (mut places, mut lengths) = (Vec::new(), Vec::with_capacity(list.len()));
        for row in 0..list.len() {
            let before = places.len();
            if is_complete(complete.as_ref(), row) {
                let (length, start, count) = (list.value_length(row), starts.value(row), counts.value(row));
                if start == 0 || count < 0 {
                    return Err(Error::data("slice counts from 1 and cannot take fewer than 0 items"));
                }
                let first = if start > 0 { start - 1 } else { length.saturating_add(start) };
                if (0..length).contains(&first) {
                    let begin = list.value_offsets()[row];
                    places.extend(begin + first..begin + first.saturating_add(count).min(length));
                }
            }
            lengths.push(places.len() - before);
        }
        list_of(&arguments[0], list.values(), &places, lengths, complete)
    }
}

/// `sequence(first, last[, step])`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Sequence;

impl Kernel for Sequence {
    fn name(&self) -> &'static str {
        "sequence"
    }

    fn evaluate(&self, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        let complete = complete_rows(arguments);
        let columns: Vec<_> = arguments.iter().map(AsArray::as_primitive::<Int64Type>).collect();
        let item = Field::new_list_field(DataType::Int64, true);
        let mut result = ListBuilder::new(Int64Builder::new()).with_field(item);
        for row in 0..arguments[0].len() {
            if !is_complete(complete.as_ref(), row) {
                result.append_null();
                continue;
            }
            let (first, last) = (columns[0].value(row), columns[1].value(row));
            let step = columns.get(2).map_or(if first <= last { 1 } else { -1 }, |steps| steps.value(row));
            let distance = i128::from(last) - i128::from(first);
            if (step == 0 && distance != 0) || (step != 0 && distance.signum() * i128::from(step.signum()) < 0) {
                return Err(Error::data(format!("sequence cannot go from {first} to {last} in steps of {step}")));
            }
            let steps = distance.checked_div(step.into()).unwrap_or(0);
            if steps >= LONGEST_SEQUENCE {
                return Err(Error::data(format!("sequence from {first} to {last} is longer than {LONGEST_SEQUENCE}")));
            }
            let items =
                (0..=i64::try_from(steps).unwrap_or(0)).map(|index| first.wrapping_add(index.wrapping_mul(step)));
            items.for_each(|item| result.values().append_value(item));
            result.append(true);
        }
        Ok(Arc::new(result.finish()))
    }
}

/// `array_join(array, separator[, text of nulls])`; nulls are left out unless they have a text.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Join;

impl Kernel for Join {
    fn name(&self) -> &'static str {
        "array_join"
    }

    fn evaluate(&self, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        let (list, separators) = (arguments[0].as_list::<i32>(), texts(&arguments[1]));
        let null_texts = arguments.get(2).map(texts);
        let items = list.values().as_string_view();
        let complete = complete_rows(arguments);
        let mut result = StringViewBuilder::with_capacity(list.len());
        let mut joined = String::new();
        for row in 0..list.len() {
            if !is_complete(complete.as_ref(), row) {
                result.append_null();
                continue;
            }
            joined.clear();
            let places = list.value_offsets()[row]..list.value_offsets()[row + 1];
            let texts = places.filter_map(|place| {
                let place = usize::try_from(place).ok()?;
                if items.is_valid(place) { Some(items.value(place)) } else { null_texts.map(|texts| texts.value(row)) }
            });
            for (index, text) in texts.enumerate() {
                if index > 0 {
                    joined.push_str(separators.value(row));
                }
                joined.push_str(text);
            }
            result.append_value(&joined);
        }
        Ok(Arc::new(result.finish()))
    }
}
