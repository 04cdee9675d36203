//! Tables of keys: rows of key columns to dense group numbers, in the order in which keys were first seen.
//!
//! Owns: which keys are known, their numbers and their bytes. Does not own: what belongs to a key (accumulators, rows
//! of a join), the hash (`protocol::key_group`).
//!
//! Nulls are equal to each other, -0.0 to 0.0 and every NaN to every other, as Spark groups. The hash of each row is
//! given, so a batch is hashed in one pass and probed in the next.
//!
//! | key columns                                      | a key is kept as                                         |
//! |--------------------------------------------------|----------------------------------------------------------|
//! | none                                             | nothing: there is one group                              |
//! | one `Utf8View`                                   | a view of 16 bytes; over 12 bytes the rest is in blocks  |
//! | one integer, float, boolean, date or timestamp   | a word of 8 bytes                                        |
//! | all others                                       | a row of `arrow::row`                                    |

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, Float32Array, Float64Array, PrimitiveArray,
    StringViewArray, make_array,
};
use arrow::buffer::{Buffer, NullBuffer};
use arrow::datatypes::{
    DataType, Date32Type, FieldRef, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimeUnit,
    TimestampMicrosecondType,
};
use arrow::row::{RowConverter, Rows, SortField};

use super::index::{AHEAD, Index, number};
use crate::error::{Error, Result};
use crate::protocol::key_group::float_word;
use crate::types::text_column;

/// Maps keys to the numbers 0, 1, 2, … in first-seen order.
#[derive(Debug)]
pub(crate) struct KeyTable {
    index: Index,
    keys: Keys,
    /// The planned types of the key columns.
    types: Arc<[DataType]>,
}

#[derive(Debug)]
enum Keys {
    Global,
    Text(TextKeys),
    Fixed(FixedKeys),
    Rows(RowKeys),
}

impl KeyTable {
    /// An empty table for keys of these columns.
    ///
    /// # Errors
    /// When a column's type cannot be a key.
    pub(crate) fn new(fields: &[FieldRef]) -> Result<Self> {
        let types: Arc<[_]> = fields.iter().map(|field| field.data_type().clone()).collect();
        let keys = match types.as_ref() {
            [] => Keys::Global,
            [DataType::Utf8View] => Keys::Text(TextKeys::default()),
            [one] if FixedKeys::fits(one) => Keys::Fixed(FixedKeys::default()),
            _ => Keys::Rows(RowKeys::new(&types)?),
        };
        Ok(Self { index: Index::default(), keys, types })
    }

    /// An empty table for keys of the same columns, which costs less than a [`new`](Self::new) one.
    pub(crate) fn like(&self) -> Self {
        let keys = match &self.keys {
            Keys::Global => Keys::Global,
            Keys::Text(_) => Keys::Text(TextKeys::default()),
            Keys::Fixed(_) => Keys::Fixed(FixedKeys::default()),
            Keys::Rows(keys) => Keys::Rows(keys.like()),
        };
        Self { index: Index::default(), keys, types: self.types.clone() }
    }

    /// Puts the group number of each row into `groups`, which is emptied first; unknown keys get the next numbers.
    ///
    /// # Errors
    /// When the columns are not of the planned types, or there would be more than 2³² groups.
    pub(crate) fn intern(&mut self, columns: &[ArrayRef], hashes: &[u64], groups: &mut Vec<u32>) -> Result<()> {
        self.check(columns, hashes.len())?;
        groups.clear();
        groups.reserve(hashes.len());
        match &mut self.keys {
            Keys::Global => groups.extend(hashes.iter().map(|&hash| self.index.single(hash))),
            Keys::Text(keys) => keys.intern(&mut self.index, columns[0].as_string_view(), hashes, groups),
            Keys::Fixed(keys) => keys.intern(&mut self.index, columns[0].as_ref(), hashes, groups),
            Keys::Rows(keys) => keys.intern(&mut self.index, columns, hashes, groups)?,
        }
        Ok(())
    }

    /// The same for keys that are one text and in no column yet: views in Arrow's layout, of which those of over 12 bytes say where in
    /// `buffers` they are.
    ///
    /// # Errors
    /// When keys are not one text, or there would be more than 2³² groups.
    pub(crate) fn intern_pieces(
        &mut self,
        views: &[u128],
        buffers: &[Buffer],
        hashes: &[u64],
        groups: &mut Vec<u32>,
    ) -> Result<()> {
        self.check_count(views.len())?;
        groups.clear();
        groups.reserve(views.len());
        let Keys::Text(keys) = &mut self.keys else {
            return Err(Error::internal("pieces of text where other keys were planned"));
        };
        keys.intern_pieces(&mut self.index, (views, buffers), hashes, groups);
        Ok(())
    }

    /// How many columns a key has.
    pub(crate) fn width(&self) -> usize {
        self.types.len()
    }

    /// The types of the key columns.
    pub(crate) fn types(&self) -> &[DataType] {
        &self.types
    }

    /// How many keys are known.
    pub(crate) fn len(&self) -> usize {
        self.index.hashes().len()
    }

    /// The key columns of these groups, a row each.
    ///
    /// # Errors
    /// When Arrow refuses the columns: over 2 GiB of key bytes in one call.
    pub(crate) fn keys(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        match &self.keys {
            Keys::Global => Ok(Vec::new()),
            Keys::Text(keys) => Ok(vec![keys.column(groups)?]),
            Keys::Fixed(keys) => Ok(vec![keys.column(groups, &self.types[0])]),
            Keys::Rows(keys) => keys.columns(groups),
        }
    }

    /// The hash of each key, by group number.
    pub(crate) fn hashes(&self) -> &[u64] {
        self.index.hashes()
    }

    /// Forgets all keys and keeps the memory of the table for the next ones.
    pub(crate) fn clear(&mut self) {
        self.index.clear();
        match &mut self.keys {
            Keys::Global => {}
            Keys::Text(keys) => keys.clear(),
            Keys::Fixed(keys) => keys.clear(),
            Keys::Rows(keys) => keys.rows.clear(),
        }
    }

    /// Forgets all keys but those of `groups`, which names each at most once, and numbers them 0, 1, 2, … in this order.
    /// The memory of the others is freed.
    pub(crate) fn keep(&mut self, groups: &[u32]) {
        let apart = match &mut self.keys {
            Keys::Global => Some(0),
            Keys::Text(keys) => keys.keep(groups),
            Keys::Fixed(keys) => keys.keep(groups),
            Keys::Rows(keys) => {
                keys.keep(groups);
                None
            }
        };
        self.index.keep(groups, apart);
    }

    /// Frees the memory that [`intern`](Self::intern) keeps for its next call.
    pub(crate) fn free_scratch(&mut self) {
        match &mut self.keys {
            Keys::Global | Keys::Text(_) => {}
            Keys::Fixed(keys) => keys.scratch = Vec::new(),
            Keys::Rows(keys) => keys.scratch = keys.converter.empty_rows(0, 0),
        }
    }

    /// Memory held, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let keys = match &self.keys {
            Keys::Global => 0,
            Keys::Text(keys) => keys.bytes(),
            Keys::Fixed(keys) => (keys.words.capacity() + keys.scratch.capacity()) * size_of::<u64>(),
            Keys::Rows(keys) => keys.converter.size() + keys.rows.size() + keys.scratch.size(),
        };
        self.index.bytes() + keys
    }

    fn check(&self, columns: &[ArrayRef], rows: usize) -> Result<()> {
        let fits = |(column, planned): (&ArrayRef, &DataType)| column.data_type() == planned && column.len() == rows;
        if columns.len() != self.types.len() || !columns.iter().zip(self.types.iter()).all(fits) {
            let found: Vec<_> = columns.iter().map(|column| (column.data_type(), column.len())).collect();
            let planned = &self.types;
            return Err(Error::internal(format!(
                "key columns {found:?} where {rows} rows of {planned:?} were planned"
            )));
        }
        self.check_count(rows)
    }

    fn check_count(&self, rows: usize) -> Result<()> {
        // The index counts from one.
        if self.len() + rows >= u32::MAX as usize {
            return Err(Error::state("an operator instance holds over 4294967294 keys; raise the parallelism"));
        }
        Ok(())
    }
}

/// The new number of an old group when only `groups` are kept.
fn renumbered(old: Option<u32>, groups: &[u32]) -> Option<u32> {
    let place = groups.iter().position(|&group| Some(group) == old);
    place.map(number)
}

/// How many bytes of long strings share one block.
const BLOCK_BYTES: usize = 64 * 1024;

/// The longest string that is kept inside its view.
const INLINE_BYTES: u32 = 12;

/// String keys as views in Arrow's layout; long ones point into blocks that are never changed once full.
#[derive(Debug, Default)]
struct TextKeys {
    views: Vec<u128>,
    full: Vec<Buffer>,
    /// The block being filled; its number is `full.len()`.
    open: Vec<u8>,
    null_group: Option<u32>,
    /// Scratch.
    ahead: Vec<u64>,
}

impl TextKeys {
    fn intern(&mut self, index: &mut Index, column: &StringViewArray, hashes: &[u64], groups: &mut Vec<u32>) {
        let nulls = column.nulls().filter(|nulls| nulls.null_count() > 0);
        let mut ahead = std::mem::take(&mut self.ahead);
        for (piece, hashes) in hashes.chunks(AHEAD).enumerate() {
            index.look_ahead(hashes, &mut ahead);
            let first = piece * AHEAD;
            for (row, ((&view, &hash), &ahead)) in column.views()[first..].iter().zip(hashes).zip(&ahead).enumerate() {
                let row = first + row;
                let group = if nulls.is_some_and(|nulls| nulls.is_null(row)) {
                    self.null(index, hash)
                } else if length(view) <= INLINE_BYTES {
                    self.short(index, view, hash, ahead)
                } else {
                    self.long(index, view, column.value(row).as_bytes(), hash, ahead)
                };
                groups.push(group);
            }
        }
        self.ahead = ahead;
    }

    /// The same for texts that are in no column: views as of a column with these buffers.
    fn intern_pieces(
        &mut self,
        index: &mut Index,
        (views, buffers): (&[u128], &[Buffer]),
        hashes: &[u64],
        groups: &mut Vec<u32>,
    ) {
        let mut ahead = std::mem::take(&mut self.ahead);
        for (views, hashes) in views.chunks(AHEAD).zip(hashes.chunks(AHEAD)) {
            index.look_ahead(hashes, &mut ahead);
            for ((&view, &hash), &ahead) in views.iter().zip(hashes).zip(&ahead) {
                groups.push(if length(view) <= INLINE_BYTES {
                    self.short(index, view, hash, ahead)
                } else {
                    let (buffer, offset) = place(view);
                    let bytes = &buffers[buffer][offset..offset + length(view) as usize];
                    self.long(index, view, bytes, hash, ahead)
                });
            }
        }
        self.ahead = ahead;
    }

    fn null(&mut self, index: &mut Index, hash: u64) -> u32 {
        *self.null_group.get_or_insert_with(|| {
            self.views.push(0);
            index.add_apart(hash)
        })
    }

    #[inline]
    fn short(&mut self, index: &mut Index, view: u128, hash: u64, ahead: u64) -> u32 {
        let (group, is_new) = index.find_or_add(ahead, hash, |group| self.views[group] == view);
        if is_new {
            self.views.push(view);
        }
        group
    }

    fn long(&mut self, index: &mut Index, view: u128, bytes: &[u8], hash: u64, ahead: u64) -> u32 {
        let (group, is_new) = index.find_or_add(ahead, hash, |group| self.is_long(group, view, bytes));
        if is_new {
            let view = self.store(view, bytes);
            self.views.push(view);
        }
        group
    }

    /// Whether the group's key is this string of over 12 bytes. Length and first bytes are in the views.
    fn is_long(&self, group: usize, view: u128, bytes: &[u8]) -> bool {
        let own = self.views[group];
        low_half(own) == low_half(view) && self.bytes_of(own) == bytes
    }

    fn bytes_of(&self, view: u128) -> &[u8] {
        let (block, offset) = place(view);
        let block = self.full.get(block).map_or(self.open.as_slice(), Buffer::as_slice);
        &block[offset..offset + length(view) as usize]
    }

    fn store(&mut self, view: u128, bytes: &[u8]) -> u128 {
        if !self.open.is_empty() && self.open.len() + bytes.len() > BLOCK_BYTES {
            self.full.push(Buffer::from_vec(std::mem::take(&mut self.open)));
        }
        let offset = self.open.len();
        self.open.extend_from_slice(bytes);
        at_place(view, self.full.len(), offset)
    }

    /// Full blocks are shared with the column unless it would keep over twice its own bytes alive; of the open block
    /// a copy is made.
    #[expect(unsafe_code, reason = "the keys are texts of columns")]
    fn column(&self, groups: &[u32]) -> Result<ArrayRef> {
        let mut blocks = SharedBlocks::new(self);
        let views: Vec<u128> = groups.iter().map(|&group| blocks.share(self.views[group as usize])).collect();
        let nulls = self.null_group.map(|null| groups.iter().map(|&group| group != null).collect::<NullBuffer>());
        let nulls = nulls.filter(|nulls| nulls.null_count() > 0);
        let is_sparse = blocks.used > 2 * blocks.wanted;
        // SAFETY: keys are texts of columns, copied whole into blocks of such texts.
        let column = unsafe { text_column(views, blocks.buffers, nulls)? };
        Ok(Arc::new(if is_sparse { column.gc() } else { column }))
    }

    /// Keeps these groups and answers which one was that of null.
    fn keep(&mut self, groups: &[u32]) -> Option<u32> {
        let old = std::mem::take(self);
        self.views.reserve_exact(groups.len());
        for &group in groups {
            let view = old.views[group as usize];
            let is_short = length(view) <= INLINE_BYTES;
            let view = if is_short { view } else { self.store(view, old.bytes_of(view)) };
            self.views.push(view);
        }
        self.null_group = renumbered(old.null_group, groups);
        old.null_group
    }

    fn clear(&mut self) {
        self.views.clear();
        self.full.clear();
        self.open.clear();
        self.null_group = None;
    }

    fn bytes(&self) -> usize {
        let full: usize = self.full.iter().map(Buffer::capacity).sum();
        full + self.open.capacity() + self.views.capacity() * size_of::<u128>()
    }
}

/// The blocks that an outgoing column refers to, and where they are in it.
struct SharedBlocks<'a> {
    keys: &'a TextKeys,
    /// The number in the column of each block of the table.
    numbers: Vec<Option<usize>>,
    buffers: Vec<Buffer>,
    used: usize,
    wanted: usize,
}

impl<'a> SharedBlocks<'a> {
    fn new(keys: &'a TextKeys) -> Self {
        Self { keys, numbers: vec![None; keys.full.len() + 1], buffers: Vec::new(), used: 0, wanted: 0 }
    }

    fn share(&mut self, view: u128) -> u128 {
        if length(view) <= INLINE_BYTES {
            return view;
        }
        let (block, offset) = place(view);
        self.wanted += length(view) as usize;
        let number = self.numbers[block].unwrap_or_else(|| self.add(block));
        at_place(view, number, offset)
    }

    fn add(&mut self, block: usize) -> usize {
        let full = self.keys.full.get(block).cloned();
        let buffer = full.unwrap_or_else(|| Buffer::from(self.keys.open.as_slice()));
        self.used += buffer.len();
        self.buffers.push(buffer);
        *self.numbers[block].insert(self.buffers.len() - 1)
    }
}

// An Arrow view, from the lowest bits: 32 of length, then either the bytes or 32 of prefix, block and offset each.

#[expect(clippy::cast_possible_truncation, reason = "the low 32 bits are the length")]
fn length(view: u128) -> u32 {
    view as u32
}

#[expect(clippy::cast_possible_truncation, reason = "the low 64 bits are length and prefix")]
fn low_half(view: u128) -> u64 {
    view as u64
}

#[expect(clippy::cast_possible_truncation, reason = "block and offset are 32 bits each")]
fn place(view: u128) -> (usize, usize) {
    ((view >> 64) as u32 as usize, (view >> 96) as usize)
}

fn at_place(view: u128, block: usize, offset: usize) -> u128 {
    u128::from(low_half(view)) | (block as u128) << 64 | (offset as u128) << 96
}

/// Keys of one fixed-width column as words of 64 bits.
#[derive(Debug, Default)]
struct FixedKeys {
    words: Vec<u64>,
    null_group: Option<u32>,
    scratch: Vec<u64>,
    ahead: Vec<u64>,
}

/// Runs `$body` with `$type` standing for the Arrow type of `$data_type`.
macro_rules! with_fixed_type {
    ($data_type:expr, $type:ident => $body:expr, otherwise $otherwise:expr) => {
        match $data_type {
            DataType::Int8 => {
                type $type = Int8Type;
                $body
            }
            DataType::Int16 => {
                type $type = Int16Type;
                $body
            }
            DataType::Int32 => {
                type $type = Int32Type;
                $body
            }
            DataType::Int64 => {
                type $type = Int64Type;
                $body
            }
            DataType::Float32 => {
                type $type = Float32Type;
                $body
            }
            DataType::Float64 => {
                type $type = Float64Type;
                $body
            }
            DataType::Date32 => {
                type $type = Date32Type;
                $body
            }
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                type $type = TimestampMicrosecondType;
                $body
            }
            _ => $otherwise,
        }
    };
}

impl FixedKeys {
    fn fits(data_type: &DataType) -> bool {
        with_fixed_type!(data_type, T => { let _ = T::DATA_TYPE; true }, otherwise *data_type == DataType::Boolean)
    }

    fn intern(&mut self, index: &mut Index, column: &dyn Array, hashes: &[u64], groups: &mut Vec<u32>) {
        let mut words = std::mem::take(&mut self.scratch);
        let mut ahead = std::mem::take(&mut self.ahead);
        words_of(column, &mut words);
        let nulls = column.nulls().filter(|nulls| nulls.null_count() > 0);
        for (piece, hashes) in hashes.chunks(AHEAD).enumerate() {
            index.look_ahead(hashes, &mut ahead);
            let first = piece * AHEAD;
            for (row, ((&word, &hash), &ahead)) in words[first..].iter().zip(hashes).zip(&ahead).enumerate() {
                groups.push(if nulls.is_some_and(|nulls| nulls.is_null(first + row)) {
                    self.null(index, hash)
                } else {
                    self.word(index, word, hash, ahead)
                });
            }
        }
        (self.scratch, self.ahead) = (words, ahead);
    }

    fn null(&mut self, index: &mut Index, hash: u64) -> u32 {
        *self.null_group.get_or_insert_with(|| {
            self.words.push(0);
            index.add_apart(hash)
        })
    }

    #[inline]
    fn word(&mut self, index: &mut Index, word: u64, hash: u64, ahead: u64) -> u32 {
        let (group, is_new) = index.find_or_add(ahead, hash, |group| self.words[group] == word);
        if is_new {
            self.words.push(word);
        }
        group
    }

    fn column(&self, groups: &[u32], data_type: &DataType) -> ArrayRef {
        let nulls = self.null_group.map(|null| groups.iter().map(|&group| group != null).collect::<NullBuffer>());
        let nulls = nulls.filter(|nulls| nulls.null_count() > 0);
        let words = groups.iter().map(|&group| self.words[group as usize]);
        with_fixed_type!(
            data_type,
            T => Arc::new(
                PrimitiveArray::<T>::new(words.map(Word::from_word).collect::<Vec<_>>().into(), nulls)
                    .with_data_type(data_type.clone()),
            ),
            otherwise Arc::new(BooleanArray::new(words.map(|word| word != 0).collect(), nulls))
        )
    }

    /// Keeps these groups and answers which one was that of null.
    fn keep(&mut self, groups: &[u32]) -> Option<u32> {
        let old_null = self.null_group;
        self.words = groups.iter().map(|&group| self.words[group as usize]).collect();
        self.null_group = renumbered(old_null, groups);
        old_null
    }

    fn clear(&mut self) {
        self.words.clear();
        self.null_group = None;
    }
}

fn words_of(column: &dyn Array, words: &mut Vec<u64>) {
    words.clear();
    with_fixed_type!(
        column.data_type(),
        T => words.extend(column.as_primitive::<T>().values().iter().map(|&value| value.to_word())),
        otherwise words.extend(column.as_boolean().values().iter().map(u64::from))
    );
}

/// A value as 64 bits that are equal exactly when the values are the same key.
trait Word {
    fn to_word(self) -> u64;
    fn from_word(word: u64) -> Self;
}

macro_rules! integer_words {
    ($($native:ty),*) => {$(
        impl Word for $native {
            fn to_word(self) -> u64 {
                i64::from(self).cast_unsigned()
            }

            #[allow(clippy::cast_possible_truncation, reason = "the word was made from this type")]
            fn from_word(word: u64) -> Self {
                word.cast_signed() as $native
            }
        }
    )*};
}

integer_words!(i8, i16, i32, i64);

impl Word for f64 {
    fn to_word(self) -> u64 {
        float_word(self)
    }

    fn from_word(word: u64) -> Self {
        Self::from_bits(word)
    }
}

impl Word for f32 {
    fn to_word(self) -> u64 {
        float_word(f64::from(self))
    }

    #[expect(clippy::cast_possible_truncation, reason = "the word was made from this type")]
    fn from_word(word: u64) -> Self {
        f64::from_bits(word) as Self
    }
}

/// Keys of any columns in Arrow's row format. The format lives only in memory.
#[derive(Debug)]
struct RowKeys {
    converter: Arc<RowConverter>,
    rows: Rows,
    scratch: Rows,
    ahead: Vec<u64>,
    /// Which columns have floats in them, whose bits must be made canonical first.
    floats: Arc<[bool]>,
}

impl RowKeys {
    fn new(types: &[DataType]) -> Result<Self> {
        let fields: Vec<_> = types.iter().cloned().map(SortField::new).collect();
        let converter = RowConverter::new(fields).map_err(|cause| {
            Error::plan(format!("columns of the types {types:?} cannot be keys; use columns of simpler types"))
                .with_source(cause)
        })?;
        let (rows, scratch) = (converter.empty_rows(0, 0), converter.empty_rows(0, 0));
        let (ahead, floats) = (Vec::new(), types.iter().map(has_floats).collect());
        Ok(Self { converter: Arc::new(converter), rows, scratch, ahead, floats })
    }

    fn like(&self) -> Self {
        let (converter, floats) = (self.converter.clone(), self.floats.clone());
        let (rows, scratch) = (converter.empty_rows(0, 0), converter.empty_rows(0, 0));
        Self { rows, scratch, ahead: Vec::new(), converter, floats }
    }

    fn keep(&mut self, groups: &[u32]) {
        let bytes = groups.iter().map(|&group| self.rows.row_len(group as usize)).sum();
        let mut rows = self.converter.empty_rows(groups.len(), bytes);
        for &group in groups {
            rows.push(self.rows.row(group as usize));
        }
        self.rows = rows;
    }

    fn intern(&mut self, index: &mut Index, columns: &[ArrayRef], hashes: &[u64], groups: &mut Vec<u32>) -> Result<()> {
        let columns = self.canonical(columns)?;
        self.scratch.clear();
        self.converter.append(&mut self.scratch, &columns)?;
        let mut rows = self.scratch.iter();
        for hashes in hashes.chunks(AHEAD) {
            index.look_ahead(hashes, &mut self.ahead);
            // The rows come last in the zip, which takes none of them too many.
            for ((&hash, &ahead), row) in hashes.iter().zip(&self.ahead).zip(rows.by_ref()) {
                let is_equal = |group| self.rows.row(group).data() == row.data();
                let (group, is_new) = index.find_or_add(ahead, hash, is_equal);
                if is_new {
                    self.rows.push(row);
                }
                groups.push(group);
            }
        }
        Ok(())
    }

    fn columns(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        Ok(self.converter.convert_rows(groups.iter().map(|&group| self.rows.row(group as usize)))?)
    }

    fn canonical(&self, columns: &[ArrayRef]) -> Result<Vec<ArrayRef>> {
        let columns = columns.iter().zip(self.floats.iter());
        columns.map(|(column, has_floats)| if *has_floats { canonical(column) } else { Ok(column.clone()) }).collect()
    }
}

/// Whether a column of this type has floats in it, at any depth.
pub(super) fn has_floats(data_type: &DataType) -> bool {
    match data_type {
        DataType::Float32 | DataType::Float64 => true,
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::FixedSizeList(field, _)
        | DataType::Map(field, _) => has_floats(field.data_type()),
        DataType::Struct(fields) => fields.iter().any(|field| has_floats(field.data_type())),
        _ => false,
    }
}

/// The column with one zero and one NaN, at any depth.
pub(super) fn canonical(column: &ArrayRef) -> Result<ArrayRef> {
    match column.data_type() {
        DataType::Float32 => {
            let column = column.as_primitive::<Float32Type>();
            Ok(Arc::new(column.unary::<_, Float32Type>(|value| f32::from_word(value.to_word())) as Float32Array))
        }
        DataType::Float64 => {
            let column = column.as_primitive::<Float64Type>();
            Ok(Arc::new(column.unary::<_, Float64Type>(|value| f64::from_word(value.to_word())) as Float64Array))
        }
        nested if has_floats(nested) => {
            let data = column.to_data();
            let children = data.child_data().iter().map(|child| Ok(canonical(&make_array(child.clone()))?.to_data()));
            let children = children.collect::<Result<Vec<_>>>()?;
            Ok(make_array(data.into_builder().child_data(children).build()?))
        }
        _ => Ok(column.clone()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::fmt::Debug;
    use std::hash::Hash;

    use arrow::array::{
        Decimal128Array, Int8Array, Int32Array, Int64Array, ListArray, StructArray, TimestampMicrosecondArray,
    };
    use arrow::datatypes::{Field, Fields};
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::key_group::hash_rows;

    fn table(columns: &[ArrayRef]) -> KeyTable {
        let field = |column: &ArrayRef| Arc::new(Field::new("key", column.data_type().clone(), true));
        KeyTable::new(&columns.iter().map(field).collect::<Vec<_>>()).unwrap()
    }

    /// Interns the batches one after another and compares with a map of owned rows.
    fn check<R: Clone + Eq + Hash + Debug>(batches: &[Vec<R>], build: impl Fn(&[R]) -> Vec<ArrayRef>) {
        let mut table = table(&build(&[]));
        let (mut oracle, mut order) = (HashMap::new(), Vec::new());
        let mut groups = vec![99];
        for rows in batches {
            let columns = build(rows);
            let hashes = hash_rows(&columns);
            table.intern(&columns, &hashes, &mut groups).unwrap();
            for (row, group) in rows.iter().zip(&groups) {
                let next = u32::try_from(oracle.len()).unwrap();
                let expected = *oracle.entry(row.clone()).or_insert_with(|| {
                    order.push(row.clone());
                    next
                });
                assert_eq!(*group, expected, "{row:?}");
            }
        }
        assert_eq!(table.len(), order.len());
        let all: Vec<u32> = (0..number(order.len())).rev().collect();
        order.reverse();
        assert_eq!(table.keys(&all).unwrap(), build(&order));
        let reversed: Vec<u64> = table.hashes().iter().rev().copied().collect();
        assert_eq!(hash_rows(&build(&order)), reversed);
        check_keeping(&mut table, &build, &order, &all);
        table.clear();
        assert_eq!((table.len(), table.keys(&[]).unwrap()), (0, build(&[])));
    }

    /// Keeps every other group of `all`, whose rows are `rows`: those are found again, the others are new, also in a table
    /// alike.
    fn check_keeping<R: Clone>(table: &mut KeyTable, build: impl Fn(&[R]) -> Vec<ArrayRef>, rows: &[R], all: &[u32]) {
        let halves = |odd: usize| rows.iter().skip(odd).step_by(2).cloned().collect::<Vec<_>>();
        let (kept, gone) = (halves(0), halves(1));
        table.keep(&all.iter().copied().step_by(2).collect::<Vec<_>>());
        table.free_scratch();
        assert_eq!(table.len(), kept.len());
        let columns = build(&[kept.clone(), gone].concat());
        let (mut alike, mut groups) = (table.like(), Vec::new());
        for table in [table, &mut alike] {
            table.intern(&columns, &hash_rows(&columns), &mut groups).unwrap();
            let expected: Vec<u32> = (0..number(rows.len())).collect();
            assert_eq!(groups, expected);
            assert_eq!(table.keys(&expected).unwrap(), columns);
        }
    }

    fn text() -> impl Strategy<Value = Option<String>> {
        prop_oneof![
            Just(None),
            Just(Some(String::new())),
            "[ab]{1,2}".prop_map(Some),
            "[ab]{11,14}".prop_map(Some),
            "same prefix [ab]{1,3}".prop_map(Some),
            (0..4_usize).prop_map(|n| Some("x".repeat(n * 30_000))),
        ]
    }

    fn float() -> impl Strategy<Value = Option<u64>> {
        let floats = [0.0, 1.5, f64::INFINITY, f64::from_word(float_word(f64::NAN))];
        prop_oneof![Just(None), prop::sample::select(floats.to_vec()).prop_map(|value| Some(value.to_bits()))]
    }

    fn batches<S: Strategy>(row: S) -> impl Strategy<Value = Vec<Vec<S::Value>>> {
        prop::collection::vec(prop::collection::vec(row, 0..60), 0..5)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn string_keys_are_numbered_as_a_map_numbers_them(rows in batches(text())) {
            check(&rows, |rows| vec![Arc::new(rows.iter().map(Option::as_deref).collect::<StringViewArray>())]);
        }

        #[test]
        fn integer_keys_are_numbered_as_a_map_numbers_them(rows in batches(any::<Option<i8>>())) {
            check(&rows, |rows| vec![Arc::new(rows.iter().copied().collect::<Int8Array>())]);
            check(&rows, |rows| {
                let micros = rows.iter().map(|row| row.map(|value| i64::from(value) << 50));
                vec![Arc::new(micros.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))]
            });
        }

        #[test]
        fn boolean_and_float_keys_are_numbered_as_a_map_numbers_them(
            booleans in batches(any::<Option<bool>>()),
            floats in batches(float()),
        ) {
            check(&booleans, |rows| vec![Arc::new(rows.iter().copied().collect::<BooleanArray>())]);
            check(&floats, |rows| {
                let floats = rows.iter().map(|row| row.map(f64::from_bits));
                vec![Arc::new(floats.collect::<Float64Array>())]
            });
        }

        #[test]
        fn rows_of_several_columns_are_numbered_as_a_map_numbers_them(
            rows in batches((text(), any::<Option<i8>>(), -2..2_i128)),
        ) {
            check(&rows, |rows| {
                vec![
                    Arc::new(rows.iter().map(|row| row.0.as_deref()).collect::<StringViewArray>()),
                    Arc::new(rows.iter().map(|row| row.1).collect::<Int8Array>()),
                    Arc::new(rows.iter().map(|row| row.2).collect::<Vec<_>>().into_iter().collect::<Decimal128Array>()),
                ]
            });
        }

        #[test]
        fn struct_keys_are_numbered_as_a_map_numbers_them(rows in batches((any::<i8>(), any::<bool>()))) {
            check(&rows, |rows| {
                let start: ArrayRef = Arc::new(rows.iter().map(|row| i64::from(row.0)).collect::<Int64Array>());
                let end: ArrayRef = Arc::new(rows.iter().map(|row| Some(row.1)).collect::<BooleanArray>());
                let field = |name, column: &ArrayRef| Field::new(name, column.data_type().clone(), true);
                let fields: Fields = vec![field("start", &start), field("end", &end)].into();
                vec![Arc::new(StructArray::new(fields, vec![start, end], None))]
            });
        }
    }

    #[test]
    fn a_hundred_thousand_keys_are_found_again_after_growth() {
        for width in [3, 20] {
            let words: Vec<String> = (0..100_000).map(|n| format!("{n:0width$}")).collect();
            check(&[words.clone(), words], |rows| vec![Arc::new(rows.iter().map(Some).collect::<StringViewArray>())]);
        }
        let numbers: Vec<i64> = (0..100_000).map(|n| n * 65_536).collect();
        check(&[numbers.clone(), numbers], |rows| vec![Arc::new(Int64Array::from(rows.to_vec()))]);
    }

    #[test]
    fn zeros_are_one_key_and_nans_are_one_key_at_any_depth() {
        let floats = [0.0, f64::NAN, -0.0, f64::from_bits(0xFFF8_0000_0000_0001)];
        let flat: ArrayRef = Arc::new(Float64Array::from(floats.to_vec()));
        let lists = floats.iter().map(|value| Some(vec![Some(*value)]));
        let nested: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Float64Type, _, _>(lists));
        for columns in [vec![flat.clone()], vec![nested.clone()], vec![flat, nested]] {
            let (mut table, mut groups) = (table(&columns), Vec::new());
            table.intern(&columns, &hash_rows(&columns), &mut groups).unwrap();
            assert_eq!(groups, [0, 1, 0, 1]);
        }
    }

    #[test]
    fn equal_hashes_do_not_make_equal_keys() {
        let columns: Vec<ArrayRef> = vec![Arc::new(StringViewArray::from(vec!["a", "b", "a longer key than 12", "a"]))];
        let (mut table, mut groups) = (table(&columns), Vec::new());
        table.intern(&columns, &[7; 4], &mut groups).unwrap();
        assert_eq!(groups, [0, 1, 2, 0]);
    }

    #[test]
    fn without_key_columns_all_rows_are_one_group() {
        let (mut table, mut groups) = (table(&[]), Vec::new());
        table.intern(&[], &[0, 0, 0], &mut groups).unwrap();
        assert_eq!((groups, table.len(), table.hashes()), (vec![0, 0, 0], 1, [0].as_slice()));
    }

    #[test]
    fn a_column_of_full_blocks_shares_their_bytes_and_a_sparse_one_copies() {
        let words: Vec<String> = (0..20_000).map(|n| format!("a word of 20 b {n:05}")).collect();
        let columns: Vec<ArrayRef> = vec![Arc::new(words.iter().map(Some).collect::<StringViewArray>())];
        let (mut table, mut groups) = (table(&columns), Vec::new());
        table.intern(&columns, &hash_rows(&columns), &mut groups).unwrap();
        let Keys::Text(keys) = &table.keys else { panic!("a string table") };
        let dense = table.keys(&groups).unwrap();
        assert!(dense[0].as_string_view().data_buffers()[0].ptr_eq(&keys.full[0]));
        let sparse = table.keys(&[0, 19_999]).unwrap();
        assert_eq!(sparse[0].as_string_view().data_buffers()[0].len(), 40);
        assert!(table.bytes() > 20_000 * (20 + 16 + 8));
    }

    #[test]
    fn columns_of_another_type_are_refused() {
        let mut table = table(&[Arc::new(Int64Array::from(vec![1]))]);
        let wrong: Vec<ArrayRef> = vec![Arc::new(Int32Array::from(vec![1]))];
        let error = table.intern(&wrong, &[1], &mut Vec::new()).unwrap_err();
        assert!(error.message().contains("Int32") && error.message().contains("Int64"), "{error}");
    }
}
