//! `split(text, regex[, limit])`.
//!
//! Owns: cutting strings into arrays of views that share the buffers of the strings. Does not own: regular
//! expressions ([`Pattern`]).
//!
//! No byte is copied: an item longer than twelve bytes is a view into the row's buffer, a shorter one is inside its
//! view, and no item is read again to see that it is UTF-8. Counting such words is planned as one operator that needs no array.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ByteView, ListArray, StringViewArray};
use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field};
use datafusion::logical_expr::Expr;
use regex::Regex;

use super::call::{Call, Function, constant_text, function, two_or_three};
use super::coerce::array_of;
use super::kernel::{self, Kernel, complete_rows, ints, is_complete, texts};
use super::regex::Pattern;
use crate::error::{Error, Result};
use crate::types::{text_column, view_of};

/// The name of `split` in plans; its arguments are the text, the pattern and, if given, the limit.
pub(crate) const SPLIT: &str = "split";

pub(super) const FUNCTIONS: &[Function] = &[function(&[SPLIT], 2, 3, split)];

fn split(call: &Call<'_>, args: Vec<Expr>) -> Result<Expr> {
    let (text, pattern, limit) = two_or_three(args);
    let mut typed = vec![call.text(text)?, call.text(pattern)?];
    if let Some(limit) = limit {
        typed.push(call.int(limit)?);
    }
    let separator = match constant_text(&typed[1]) {
        Some(pattern) if is_literal(pattern) => Separator::Literal(unescaped(pattern)),
        _ => Separator::Pattern(Pattern::of(&typed[1], SPLIT)?),
    };
    Ok(kernel::call(Split { separator }, array_of(DataType::Utf8View), typed))
}

/// Whether a regular expression matches only one text: no character in it has a meaning of its own, or a backslash
/// before it takes that away.
fn is_literal(pattern: &str) -> bool {
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        let plain = match character {
            '\\' => characters.next().is_some_and(|escaped| escaped.is_ascii_punctuation()),
            character => !".[]{}()*+?^$|".contains(character),
        };
        if !plain {
            return false;
        }
    }
    !pattern.is_empty()
}

fn unescaped(pattern: &str) -> String {
    let mut text = String::new();
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        text.extend(if character == '\\' { characters.next() } else { Some(character) });
    }
    text
}

/// Where a string is cut.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Separator {
    /// At every occurrence of a text that is not empty.
    Literal(String),
    /// At every match.
    Pattern(Pattern),
}

/// A limit above 0 is the most items there may be, the last one holding the rest; otherwise there is no limit. Empty
/// strings at the end are kept.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Split {
    separator: Separator,
}

impl Kernel for Split {
    fn name(&self) -> &'static str {
        SPLIT
    }

    fn evaluate(&self, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        let text = texts(&arguments[0]);
        let limits = arguments.get(2).map(ints);
        let limit = |row: usize| {
            let limit = limits.map_or(-1, |limits| limits.value(row));
            usize::try_from(limit).ok().filter(|limit| *limit > 0).unwrap_or(usize::MAX)
        };
        let mut pieces = Pieces::new(text);
        let complete = complete_rows(arguments);
        let is_complete = |row| is_complete(complete.as_ref(), row);
        match &self.separator {
            Separator::Literal(separator) => match separator.as_bytes() {
                [byte] => pieces.cut_all(is_complete, |row, cutter| {
                    memchr::memchr_iter(*byte, cutter.string)
                        .take(limit(row) - 1)
                        .for_each(|at| cutter.cut(at, at + 1));
                })?,
                separator => {
                    let finder = memchr::memmem::Finder::new(separator);
                    pieces.cut_all(is_complete, |row, cutter| {
                        let found = finder.find_iter(cutter.string).take(limit(row) - 1);
                        found.for_each(|at| cutter.cut(at, at + separator.len()));
                    })?;
                }
            },
            Separator::Pattern(pattern) => {
                let patterns = pattern.rows(&arguments[1], SPLIT)?;
                pieces.cut_all(is_complete, |row, cutter| {
                    cut_at_matches(patterns.get(row), text.value(row), limit(row), cutter);
                })?;
            }
        }
        let nulls = complete_rows(arguments);
        let (offsets, items) = pieces.finish()?;
        let item = Arc::new(Field::new_list_field(DataType::Utf8View, true));
        Ok(Arc::new(ListArray::try_new(item, offsets, Arc::new(items), nulls)?))
    }
}

/// Java's rule: an empty match at the begin cuts nothing off; one at the end leaves an empty string. Spark's own: the
/// empty pattern gives the characters, no more of them than the limit.
fn cut_at_matches(regex: &Regex, text: &str, limit: usize, cutter: &mut Cutter<'_>) {
    if regex.as_str().is_empty() {
        cutter.string = text.char_indices().nth(limit).map_or(cutter.string, |(end, _)| &cutter.string[..end]);
        text.char_indices().skip(1).take(limit - 1).for_each(|(at, _)| cutter.cut(at, at));
        return;
    }
    let matches = regex.find_iter(text).filter(|found| found.end() > 0);
    matches.take(limit - 1).for_each(|found| cutter.cut(found.start(), found.end()));
}

/// The items of all rows, being cut.
struct Pieces<'a> {
    text: &'a StringViewArray,
    /// The buffers of the text. Strings that are inside their views need none, and neither do their items.
    buffers: &'a [Buffer],
    views: Vec<u128>,
    offsets: Vec<i32>,
}

impl<'a> Pieces<'a> {
    fn new(text: &'a StringViewArray) -> Self {
        let mut offsets = Vec::with_capacity(text.len() + 1);
        offsets.push(0);
        Self { text, buffers: text.data_buffers(), views: Vec::with_capacity(4 * text.len()), offsets }
    }

    /// Lets `separate` cut every complete row; what is left of it is its last item.
    fn cut_all(
        &mut self,
        is_complete: impl Fn(usize) -> bool,
        mut separate: impl FnMut(usize, &mut Cutter<'_>),
    ) -> Result<()> {
        let text = self.text;
        for (row, view) in text.views().iter().enumerate() {
            if is_complete(row) {
                let (place, string) = (Place::of(*view), text.value(row).as_bytes());
                let mut cutter = Cutter { views: &mut self.views, place, string, begin: 0 };
                separate(row, &mut cutter);
                cutter.cut(cutter.string.len(), cutter.string.len());
            }
            let count = i32::try_from(self.views.len());
            self.offsets.push(count.map_err(|_| Error::data("`split` makes more than 2^31 items of one batch"))?);
        }
        Ok(())
    }

    #[expect(unsafe_code, reason = "the items are cut out of texts of a column")]
    fn finish(self) -> Result<(OffsetBuffer<i32>, StringViewArray)> {
        let buffers = self.buffers.to_vec();
        // SAFETY: items are cut out of texts of a column, at separators that are texts themselves.
        let items = unsafe { text_column(self.views, buffers, None)? };
        Ok((OffsetBuffer::new(ScalarBuffer::from(self.offsets)), items))
    }
}

/// One string being cut from its begin to its end.
struct Cutter<'a> {
    views: &'a mut Vec<u128>,
    place: Place,
    string: &'a [u8],
    /// The end of the last separator.
    begin: usize,
}

impl Cutter<'_> {
    /// Ends an item at the separator from `from` to `to`.
    fn cut(&mut self, from: usize, to: usize) {
        self.views.push(self.place.view(self.string, self.begin, from));
        self.begin = to;
    }
}

/// Where the bytes of one string lie: the number of its buffer and its begin in there, as its view says. A string of up
/// to twelve bytes is inside its view, and so are its items, for which no place is needed.
#[derive(Clone, Copy)]
struct Place {
    buffer: u32,
    begin: u32,
}

impl Place {
    fn of(view: u128) -> Self {
        let view = ByteView::from(view);
        Self { buffer: view.buffer_index, begin: view.offset }
    }

    /// The view of a part of the string.
    #[expect(clippy::cast_possible_truncation, reason = "a string in a view is shorter than 2^32 bytes")]
    fn view(self, string: &[u8], begin: usize, end: usize) -> u128 {
        view_of(string, begin, end - begin, self.buffer, self.begin.wrapping_add(begin as u32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_without_meaning_of_their_own_are_literals() {
        let cases =
            [(" ", true), (", ", true), (r"\|", true), (r"\.", true), ("|", false), ("", false), (r"\s", false)];
        for (pattern, expected) in cases {
            assert_eq!(is_literal(pattern), expected, "{pattern:?}");
        }
        assert_eq!(unescaped(r"a\|\\b"), r"a|\b");
    }

    #[test]
    fn items_share_the_buffers_of_the_text() {
        let text = StringViewArray::from_iter_values(["a long first item,another long item,short", "x,y"]);
        let split = Split { separator: Separator::Literal(",".to_string()) };
        let pattern: ArrayRef = Arc::new(StringViewArray::from_iter_values([",", ","]));
        let result = split.evaluate(&[Arc::new(text.clone()), pattern]).unwrap();
        let items = result.as_any().downcast_ref::<ListArray>().unwrap().values().to_data();
        let items = StringViewArray::from(items);
        let found: Vec<_> = items.iter().flatten().collect();
        assert_eq!(found, ["a long first item", "another long item", "short", "x", "y"]);
        assert_eq!(items.data_buffers()[0].as_ptr(), text.data_buffers()[0].as_ptr());
    }
}
