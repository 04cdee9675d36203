//! Cutting a text column into pieces without copying the text.
//!
//! Owns: finding separators, and views onto the pieces. Does not own: what a separator means as a pattern (`plan`).
//!
//! Finding spaces costs 3 ns a word 64 bytes at a time, as a mask (ten words a row of 1 to 20 letters, optimised; 8 by `memchr`, 10 byte by
//! byte). A piece is a view onto the text: nothing is copied, and nothing is looked at again to see that it is UTF-8.

use std::iter;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringViewArray};
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::record_batch::RecordBatch;
use memchr::memmem::Finder;

use super::BATCH_ROWS;
use crate::error::{Error, Result};
use crate::protocol::key_group::hash_text;
use crate::types::{INLINE_BYTES, text_column, view_of};

/// What stands between pieces.
#[derive(Debug, Clone)]
pub(in crate::operator) enum Separator {
    /// One ASCII character: by far the most frequent.
    Byte(u8),
    /// Any other text.
    Text(Arc<Finder<'static>>),
}

/// One input batch and how far it is cut.
#[derive(Debug, Clone)]
pub(in crate::operator) struct Words {
    schema: SchemaRef,
    separator: Separator,
    texts: StringViewArray,
    /// An estimate of the pieces, to reserve memory.
    expected: usize,
    next: Place,
}

/// A row and the byte in it where the next piece starts.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    row: usize,
    start: usize,
}

impl Separator {
    pub(super) fn new(text: &str) -> Self {
        match text.as_bytes() {
            [byte] => Self::Byte(*byte),
            bytes => Self::Text(Arc::new(Finder::new(bytes).into_owned())),
        }
    }

    pub(super) fn text(&self) -> String {
        match self {
            Self::Byte(byte) => char::from(*byte).to_string(),
            Self::Text(finder) => String::from_utf8_lossy(finder.needle()).into_owned(),
        }
    }
}

impl Words {
    /// Starts on a text column of any layout.
    pub(super) fn new(column: &ArrayRef, separator: Separator, schema: SchemaRef) -> Result<Self> {
        let texts = match column.data_type() {
            DataType::Utf8View => column.as_string_view().clone(),
            DataType::Utf8 => StringViewArray::from(column.as_string::<i32>()),
            DataType::LargeUtf8 => StringViewArray::from(column.as_string::<i64>()),
            other => return Err(Error::internal(format!("a column of type {other} is split as text"))),
        };
        let bytes: usize = texts.lengths().map(|length| length as usize).sum();
        Ok(Self { schema, separator, expected: texts.len() + bytes / 4, texts, next: Place::default() })
    }

    /// The next output batch; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<RecordBatch>> {
        let (pieces, next) = match &self.separator {
            Separator::Byte(byte) => self.cut(1, |text| ByteMatches::new(text, *byte))?,
            Separator::Text(finder) => self.cut(finder.needle().len(), |text| finder.find_iter(text))?,
        };
        self.next = next;
        if pieces.is_empty() {
            return Ok(None);
        }
        Ok(Some(RecordBatch::try_new(self.schema.clone(), vec![Arc::new(pieces)])?))
    }

    /// The next pieces as keys: a view in Arrow's layout onto the buffers of the texts, and a hash, for each; none at the end.
    pub(in crate::operator) fn next_keys(&mut self, keys: &mut PieceKeys) -> Result<()> {
        keys.clear();
        self.next = match &self.separator {
            Separator::Byte(byte) => self.cut_into(keys, 1, |text| ByteMatches::new(text, *byte))?,
            Separator::Text(finder) => self.cut_into(keys, finder.needle().len(), |text| finder.find_iter(text))?,
        };
        Ok(())
    }

    /// The buffers that long pieces are in.
    pub(in crate::operator) fn buffers(&self) -> &[Buffer] {
        self.texts.data_buffers()
    }

    fn cut<'a, M: Iterator<Item = usize>>(
        &'a self,
        width: usize,
        matches: impl Fn(&'a [u8]) -> M,
    ) -> Result<(StringViewArray, Place)> {
        let mut pieces = Pieces::new(&self.texts, self.expected.min(BATCH_ROWS));
        let next = self.cut_into(&mut pieces, width, matches)?;
        Ok((pieces.finish()?, next))
    }

    /// Cuts until a batch is full. `matches` finds separators, which are `width` bytes wide.
    fn cut_into<'a, M: Iterator<Item = usize>>(
        &'a self,
        pieces: &mut impl TakesPieces,
        width: usize,
        matches: impl Fn(&'a [u8]) -> M,
    ) -> Result<Place> {
        let Place { mut row, start: mut from } = self.next;
        let mut room = BATCH_ROWS;
        while row < self.texts.len() && room > 0 {
            if self.texts.is_valid(row) {
                let text = RowText::of(&self.texts, row);
                let mut start = from;
                for at in matches(&text.text.as_bytes()[from..]) {
                    let end = from + at;
                    pieces.push(&text, start, end)?;
                    start = end + width;
                    room -= 1;
                    if room == 0 {
                        return Ok(Place { row, start });
                    }
                }
                pieces.push(&text, start, text.text.len())?;
                room -= 1;
            }
            (row, from) = (row + 1, 0);
        }
        Ok(Place { row, start: 0 })
    }
}

/// What pieces are put into.
trait TakesPieces {
    /// Takes the bytes `start..end` of `text`.
    fn push(&mut self, text: &RowText<'_>, start: usize, end: usize) -> Result<()>;
}

/// Pieces as keys of an aggregation: nothing is copied, and no column is made of them.
#[derive(Debug, Default)]
pub(in crate::operator) struct PieceKeys {
    /// Views in Arrow's layout.
    pub(in crate::operator) views: Vec<u128>,
    /// The hash of each piece as the only key.
    pub(in crate::operator) hashes: Vec<u64>,
}

impl PieceKeys {
    fn clear(&mut self) {
        self.views.clear();
        self.hashes.clear();
    }
}

impl TakesPieces for PieceKeys {
    #[expect(clippy::inline_always, reason = "once a word; a call costs a tenth of the whole")]
    #[inline(always)]
    fn push(&mut self, text: &RowText<'_>, start: usize, end: usize) -> Result<()> {
        let (buffer, place) = if end - start > INLINE_BYTES { text.place(start)? } else { (0, 0) };
        self.views.push(text.view(start, end, buffer, place));
        self.hashes.push(hash_text(&text.bytes[start..end]));
        Ok(())
    }
}

/// The text of a row, and where it is.
struct RowText<'a> {
    text: &'a str,
    /// The text and what follows it in its buffer, so that most pieces have bytes behind them.
    bytes: &'a [u8],
    view: u128,
}

impl<'a> RowText<'a> {
    fn of(texts: &'a StringViewArray, row: usize) -> Self {
        let (text, view) = (texts.value(row), texts.views()[row]);
        let (buffer, offset) = buffer_and_offset(view);
        let is_inside = text.len() <= INLINE_BYTES;
        let bytes = if is_inside { text.as_bytes() } else { &texts.data_buffers()[buffer][offset as usize..] };
        Self { text, bytes, view }
    }

    /// The piece from `start` to `end`.
    ///
    /// # Panics
    /// When that would cut a character.
    #[inline]
    fn view(&self, start: usize, end: usize, buffer: u32, place: u32) -> u128 {
        assert!(
            self.text.is_char_boundary(start) && self.text.is_char_boundary(end),
            "a piece ends between characters"
        );
        view_of(self.bytes, start, end - start, buffer, place)
    }

    /// The buffer of the text and the place in it `start` bytes behind the text's own.
    fn place(&self, start: usize) -> Result<(u32, u32)> {
        let (buffer, offset) = buffer_and_offset(self.view);
        let place = u32::try_from(start).ok().and_then(|start| start.checked_add(offset));
        match (u32::try_from(buffer), place) {
            (Ok(buffer), Some(place)) => Ok((buffer, place)),
            _ => Err(Error::data("a block of text is larger than 4 GiB and cannot be split; use smaller batches")),
        }
    }
}

/// The output batch under construction.
struct Pieces<'a> {
    texts: &'a StringViewArray,
    views: Vec<u128>,
    buffers: Vec<Buffer>,
    /// For each buffer of the input, its number in the output, once a long piece needs it. So short pieces of a large
    /// text do not keep it in memory.
    numbers: Vec<Option<u32>>,
}

impl<'a> Pieces<'a> {
    fn new(texts: &'a StringViewArray, capacity: usize) -> Self {
        let numbers = vec![None; texts.data_buffers().len()];
        Self { texts, views: Vec::with_capacity(capacity), buffers: Vec::new(), numbers }
    }

    /// The number of an input's buffer in the output.
    fn number(&mut self, buffer: u32) -> u32 {
        let known = &mut self.numbers[buffer as usize];
        *known.get_or_insert_with(|| {
            self.buffers.push(self.texts.data_buffers()[buffer as usize].clone());
            u32::try_from(self.buffers.len() - 1).unwrap_or(u32::MAX)
        })
    }

    #[expect(unsafe_code, reason = "the pieces are cut out of texts of a column")]
    fn finish(self) -> Result<StringViewArray> {
        // SAFETY: `push` cuts texts of the input column between characters, and names the buffer they are in.
        unsafe { text_column(self.views, self.buffers, None) }
    }
}

impl TakesPieces for Pieces<'_> {
    #[expect(clippy::inline_always, reason = "once a word; a call costs a tenth of the whole")]
    #[inline(always)]
    fn push(&mut self, text: &RowText<'_>, start: usize, end: usize) -> Result<()> {
        let (buffer, place) = if end - start > INLINE_BYTES { text.place(start)? } else { (0, 0) };
        let buffer = if end - start > INLINE_BYTES { self.number(buffer) } else { 0 };
        self.views.push(text.view(start, end, buffer, place));
        Ok(())
    }
}

/// Where the text of a view that is longer than [`INLINE_BYTES`] lies: the third and fourth of its 32-bit words.
#[expect(clippy::cast_possible_truncation, reason = "each word of the view is cut out")]
fn buffer_and_offset(view: u128) -> (usize, u32) {
    ((view >> 64) as u32 as usize, (view >> 96) as u32)
}

/// The places of one ASCII byte.
struct ByteMatches<'a> {
    bytes: &'a [u8],
    byte: u8,
    /// The first byte behind the block that `mask` is about.
    next: usize,
    /// The block's first byte.
    base: usize,
    /// A bit for each match of the block that is not given out.
    mask: u64,
}

impl<'a> ByteMatches<'a> {
    #[inline]
    fn new(bytes: &'a [u8], byte: u8) -> Self {
        Self { bytes, byte, next: 0, base: 0, mask: 0 }
    }
}

impl Iterator for ByteMatches<'_> {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        while self.mask == 0 {
            let end = self.bytes.len().min(self.next + 64);
            if self.next == end {
                return None;
            }
            self.mask = matches_in_block(&self.bytes[self.next..end], self.byte);
            (self.base, self.next) = (self.next, end);
        }
        let place = self.base + self.mask.trailing_zeros() as usize;
        self.mask &= self.mask - 1;
        Some(place)
    }
}

/// Bit `i` is set where `block[i]` is `byte`; the block has at most 64 bytes.
#[inline]
fn matches_in_block(block: &[u8], byte: u8) -> u64 {
    let (words, rest) = block.as_chunks::<8>();
    let mut mask = 0;
    for (index, word) in words.iter().enumerate() {
        mask |= matches_in_word(*word, byte) << (8 * index);
    }
    match block.last_chunk::<8>() {
        _ if rest.is_empty() => mask,
        // The last word overlaps the one before: the same bits are set twice.
        Some(last) => mask | (matches_in_word(*last, byte) << (block.len() - 8)),
        None => iter::zip(rest, 0..).fold(mask, |mask, (other, bit)| mask | (u64::from(*other == byte) << bit)),
    }
}

/// Bit `i` is set where `word[i]` is `byte`.
#[inline]
fn matches_in_word(word: [u8; 8], byte: u8) -> u64 {
    const LOW_BITS: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    let differing = u64::from_le_bytes(word) ^ u64::from_le_bytes([byte; 8]);
    // The top bit of each byte that is zero in `differing`; the sum cannot carry into the next byte.
    let equal = !(((differing & LOW_BITS) + LOW_BITS) | differing | LOW_BITS);
    // Moves the lowest bit of byte `i` to bit 56 + i; no two of the products meet.
    (equal >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56
}
