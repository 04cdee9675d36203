//! Builds STRING columns that point into the block they were read from.
//!
//! Owns: views, and the few bytes that had to be rewritten. Does not own: the block, which the finished column shares.

use std::sync::Arc;

use arrow::array::builder::NullBufferBuilder;
use arrow::array::{ArrayRef, StringViewArray};
use arrow::buffer::{Buffer, NullBuffer};

use crate::error::Result;
use crate::types::{INLINE_BYTES, text_column, view_of};

const BLOCK: u32 = 0;
const REWRITTEN: u32 = 1;

/// A STRING column that grows row by row.
#[derive(Debug)]
pub(super) struct TextColumn {
    views: Vec<u128>,
    rewritten: Vec<u8>,
    nulls: NullBufferBuilder,
    needs_buffers: bool,
}

impl TextColumn {
    /// A column with room for `rows`.
    pub(super) fn with_capacity(rows: usize) -> Self {
        let nulls = NullBufferBuilder::new(rows);
        Self { views: Vec::with_capacity(rows), rewritten: Vec::new(), nulls, needs_buffers: false }
    }

    /// Appends text that stands in the block at `offset`.
    pub(super) fn push(&mut self, text: &[u8], offset: usize) {
        self.push_view(text, BLOCK, offset);
    }

    /// Appends text that does not stand in the block as it is.
    pub(super) fn push_rewritten(&mut self, text: &[u8]) {
        let offset = self.rewritten.len();
        self.rewritten.extend_from_slice(text);
        self.push_view(text, REWRITTEN, offset);
    }

    /// Appends a null.
    pub(super) fn push_null(&mut self) {
        self.views.push(0);
        self.nulls.append_null();
    }

    /// The column; `block` is what the offsets count in.
    ///
    /// # Errors
    /// When some text is not UTF-8, which the block's reader has ruled out.
    pub(super) fn finish(mut self, block: &Buffer) -> Result<ArrayRef> {
        if self.rewritten.is_empty() {
            return Ok(Arc::new(views_into(block, self.views, self.needs_buffers, self.nulls.finish())?));
        }
        let buffers =
            if self.needs_buffers { vec![block.clone(), Buffer::from_vec(self.rewritten)] } else { Vec::new() };
        Ok(Arc::new(StringViewArray::try_new(self.views.into(), buffers, self.nulls.finish())?))
    }

    #[expect(clippy::cast_possible_truncation, reason = "blocks are at most 2 GiB long")]
    fn push_view(&mut self, text: &[u8], buffer: u32, offset: usize) {
        self.needs_buffers |= text.len() > INLINE_BYTES;
        self.views.push(view_of(text, 0, text.len(), buffer, offset as u32));
        self.nulls.append_non_null();
    }
}

/// A column of views into `block` only, of which some may be longer than a view holds. A block is UTF-8, and its values are cut out
/// at characters of ASCII.
///
/// # Errors
/// In debug builds, when that is not so.
#[expect(unsafe_code, reason = "the block was looked at when it was read")]
pub(super) fn views_into(
    block: &Buffer,
    views: Vec<u128>,
    has_long: bool,
    nulls: Option<NullBuffer>,
) -> Result<StringViewArray> {
    let buffers = if has_long { vec![block.clone()] } else { Vec::new() };
    // SAFETY: `Blocks` lets nothing pass that is not UTF-8; separators, quotes, line ends and blanks are whole characters.
    unsafe { text_column(views, buffers, nulls) }
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;

    use super::*;

    #[test]
    fn long_text_is_shared_with_the_block_and_short_text_does_not_hold_on_to_it() {
        let block = Buffer::from(b"a long line of text;short".as_slice());
        let mut column = TextColumn::with_capacity(4);
        column.push(&block[0..19], 0);
        column.push(&block[20..25], 20);
        column.push_null();
        column.push_rewritten(b"text with \"quotes\"");
        let column = column.finish(&block).unwrap();
        let expected = [Some("a long line of text"), Some("short"), None, Some("text with \"quotes\"")];
        assert_eq!(column.as_string_view().iter().collect::<Vec<_>>(), expected);
        assert_eq!(column.as_string_view().data_buffers()[0].as_ptr(), block.as_ptr());

        let mut column = TextColumn::with_capacity(1);
        column.push(&block[20..25], 20);
        assert!(column.finish(&block).unwrap().as_string_view().data_buffers().is_empty());
    }
}
