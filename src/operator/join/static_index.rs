//! A table that does not change, by the hashes of its keys.
//!
//! Owns: how rows are laid out so that the partners of a row are found fast ([`StaticIndex`]), and the slot through which an
//! operator gets the table ([`StaticSide`]). Does not own: reading the table, or when it is read again (`runtime`).
//!
//! ```text
//! heads:   by the high bits of a hash, the first row with these or higher ones
//! hashes:  of the rows, which are sorted by them; rows of one key are neighbours, in the order of the table
//! columns: in the same order, each one array
//! ```
//!
//! Finding a row costs two misses of the cache, and walking the rows of one key none. A batch is looked up in passes over many
//! rows, so that the processor waits for several misses at once. Rows whose key equals nothing, because it is null, are left out.

use std::iter::once;
use std::sync::{Arc, Mutex};

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, UInt32Array};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer};
use arrow::compute::{concat, filter, take};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::record_batch::RecordBatch;

use super::pairs::{Chains, NO_ROW, StoredRows, equal_rows};
use crate::clock::lock;
use crate::error::{Error, Result};
use crate::operator::exchange::compacted_column;
use crate::protocol::key_group::hash_rows_into;
use crate::types::type_name;

/// Rows looked up in one pass.
const BLOCK: usize = 256;

/// So many bytes of text are shared by the rows put out; of more, each batch gets its own.
const LITTLE_TEXT: usize = 64 << 10;

/// A key column of a static table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StaticKey {
    pub(crate) column: usize,
    /// Whether null equals null; otherwise rows with a null are left out.
    pub(crate) null_safe: bool,
}

/// The slot in which an operator finds the static table it reads beside its inputs.
///
/// A query puts a slot of its own into each operator that has one, reads the table, and publishes its index before the first
/// epoch; and again between two epochs when the table has changed. All instances of the operator share the slot.
#[derive(Debug)]
pub struct StaticSide {
    schema: SchemaRef,
    keys: Vec<StaticKey>,
    /// Of the rows of one key, one is enough.
    is_distinct: bool,
    current: Mutex<Option<Arc<StaticIndex>>>,
}

impl StaticSide {
    pub(crate) fn new(schema: SchemaRef, keys: Vec<StaticKey>, is_distinct: bool) -> Self {
        Self { schema, keys, is_distinct, current: Mutex::default() }
    }

    /// Another slot for the same columns and keys, with nothing in it.
    pub(crate) fn emptied(&self) -> Self {
        Self::new(Arc::clone(&self.schema), self.keys.clone(), self.is_distinct)
    }

    /// The columns the table must have, in the types of the engine; names do not matter.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Indexes the rows of the table. This takes a while for a large one.
    ///
    /// # Errors
    /// When the columns are not those of [`schema`](Self::schema), there are 2³² rows or more, or a column does not fit into
    /// one array of Arrow.
    pub fn index(&self, batches: Vec<RecordBatch>) -> Result<StaticIndex> {
        batches.iter().try_for_each(|batch| self.check(batch))?;
        let rows = batches.iter().map(RecordBatch::num_rows).sum::<usize>();
        if rows >= NO_ROW as usize {
            return Err(Error::data(format!("it has {rows} rows, and 4294967294 can be joined; select fewer")));
        }
        StaticIndex::new(self, batches)
    }

    /// Makes the table available from the next epoch on.
    pub fn publish(&self, index: StaticIndex) {
        *lock(&self.current) = Some(Arc::new(index));
    }

    /// Takes the table out, so that its memory is free before the next version is read.
    pub(crate) fn withdraw(&self) {
        *lock(&self.current) = None;
    }

    /// The table as it was last published.
    pub fn current(&self) -> Option<Arc<StaticIndex>> {
        lock(&self.current).clone()
    }

    fn check(&self, batch: &RecordBatch) -> Result<()> {
        let (found, wanted) = (batch.columns(), self.schema.fields());
        if found.len() != wanted.len() {
            let (found, wanted) = (found.len(), wanted.len());
            return Err(Error::data(format!("it has {found} columns where {wanted} were declared")));
        }
        for (column, field) in found.iter().zip(wanted) {
            if column.data_type() != field.data_type() {
                let (name, found) = (field.name(), type_name(column.data_type()));
                let wanted = type_name(field.data_type());
                return Err(Error::data(format!("its column `{name}` is {found} where {wanted} was declared")));
            }
        }
        Ok(())
    }

    fn null_safe(&self) -> impl Iterator<Item = &StaticKey> {
        self.keys.iter().filter(|key| !key.null_safe)
    }
}

/// The rows of a static table, ready to be found.
#[derive(Debug)]
pub struct StaticIndex {
    columns: Vec<ArrayRef>,
    /// For each column whether batches put out should not share its text.
    is_heavy: Vec<bool>,
    hashes: Vec<u64>,
    heads: Vec<u32>,
    /// How far a hash is shifted to be the number of its head.
    shift: u32,
}

impl StaticIndex {
    fn new(side: &StaticSide, batches: Vec<RecordBatch>) -> Result<Self> {
        let (hashes, order) = sorted(side, &batches);
        let mut columns = gathered(side, batches, &order)?;
        drop(order);
        let hashes = if side.is_distinct { without_repeats(side, hashes, &mut columns)? } else { hashes };
        let is_heavy = columns.iter().map(|column| text_bytes(column) > LITTLE_TEXT).collect();
        let (heads, shift) = directory(&hashes);
        Ok(Self { columns, is_heavy, hashes, heads, shift })
    }

    /// How many rows can be found.
    pub fn rows(&self) -> usize {
        self.hashes.len()
    }

    /// Memory held, in bytes.
    pub fn bytes(&self) -> usize {
        let columns: usize = self.columns.iter().map(Array::get_array_memory_size).sum();
        columns + self.hashes.capacity() * size_of::<u64>() + self.heads.capacity() * size_of::<u32>()
    }

    /// Puts the first row for each hash, or [`NO_ROW`], into `firsts`, which is emptied first.
    pub(crate) fn look_up(&self, hashes: &[u64], firsts: &mut Vec<u32>) {
        firsts.clear();
        firsts.reserve(hashes.len());
        let mut places = [0; BLOCK];
        for block in hashes.chunks(BLOCK) {
            for (place, hash) in places.iter_mut().zip(block) {
                *place = self.head(*hash);
            }
            // Two steps without a branch find most rows, and the misses of all of them overlap.
            for (place, hash) in places.iter_mut().zip(block) {
                *place += usize::from(self.is_before(*place, *hash));
                *place += usize::from(self.is_before(*place, *hash));
            }
            firsts.extend(block.iter().zip(places).map(|(hash, place)| self.find(place, *hash)));
        }
    }

    /// The number of a hash's head.
    #[expect(clippy::cast_possible_truncation, reason = "it is less than the length of a vector")]
    fn bucket(&self, hash: u64) -> usize {
        (hash >> self.shift) as usize
    }

    fn head(&self, hash: u64) -> usize {
        self.heads[self.bucket(hash)] as usize
    }

    fn is_before(&self, row: usize, hash: u64) -> bool {
        self.hashes.get(row).is_some_and(|own| *own < hash)
    }

    /// The first row with this hash, which is not before `row`.
    #[expect(clippy::cast_possible_truncation, reason = "there are fewer than 2³² rows")]
    fn find(&self, mut row: usize, hash: u64) -> u32 {
        if self.is_before(row, hash) {
            row += self.hashes[row..self.end(hash)].partition_point(|own| *own < hash);
        }
        if self.hashes.get(row) == Some(&hash) { row as u32 } else { NO_ROW }
    }

    /// Where the rows end whose hashes have the same high bits.
    fn end(&self, hash: u64) -> usize {
        self.heads.get(self.bucket(hash) + 1).map_or(self.hashes.len(), |head| *head as usize)
    }
}

impl Chains for StaticIndex {
    fn first(&self, hash: u64) -> u32 {
        self.find(self.head(hash), hash)
    }

    fn next(&self, row: u32) -> u32 {
        let next = row as usize + 1;
        if self.hashes.get(next) == Some(&self.hashes[row as usize]) { row + 1 } else { NO_ROW }
    }
}

impl StoredRows for StaticIndex {
    type Places = UInt32Array;

    fn places(&self, rows: &[u32]) -> UInt32Array {
        UInt32Array::from_iter_values(rows.iter().copied())
    }

    fn gather(&self, column: usize, places: &UInt32Array) -> Result<ArrayRef> {
        Ok(take(&self.columns[column], places, None)?)
    }
}

/// The index for a batch whose first rows were looked up in advance.
pub(crate) struct LookedUp<'a> {
    pub(crate) index: &'a StaticIndex,
    /// For each probing row.
    pub(crate) firsts: &'a [u32],
}

impl Chains for LookedUp<'_> {
    fn first(&self, hash: u64) -> u32 {
        self.index.first(hash)
    }

    fn first_of(&self, probing: usize, _: u64) -> u32 {
        self.firsts[probing]
    }

    fn next(&self, row: u32) -> u32 {
        self.index.next(row)
    }
}

/// The columns of the index for rows that are put out. They do not hold on to the text of the whole table, which would count as
/// theirs on every channel they pass.
pub(crate) struct PutOut<'a>(pub(crate) &'a StaticIndex);

impl StoredRows for PutOut<'_> {
    type Places = UInt32Array;

    fn places(&self, rows: &[u32]) -> UInt32Array {
        self.0.places(rows)
    }

    fn gather(&self, column: usize, places: &UInt32Array) -> Result<ArrayRef> {
        let values = self.0.gather(column, places)?;
        Ok(if self.0.is_heavy[column] { compacted_column(&values) } else { values })
    }
}

/// The hashes of all rows that can be found, sorted, and the place of each among all rows.
fn sorted(side: &StaticSide, batches: &[RecordBatch]) -> (Vec<u64>, Vec<u32>) {
    let (mut rows, mut hashes): (Vec<(u64, u32)>, _) = (Vec::new(), Vec::new());
    let mut first = 0;
    for batch in batches {
        let keys: Vec<ArrayRef> = side.keys.iter().map(|key| Arc::clone(batch.column(key.column))).collect();
        hash_rows_into(&keys, &mut hashes);
        // Without keys, all rows are alike.
        hashes.resize(batch.num_rows(), 0);
        let nulls = side.null_safe().map(|key| batch.column(key.column).logical_nulls());
        let can_match = nulls.fold(None, |all, one| NullBuffer::union(all.as_ref(), one.as_ref()));
        let found = (first..).zip(&hashes).enumerate();
        let found = found.filter(|(place, _)| can_match.as_ref().is_none_or(|valid| valid.is_valid(*place)));
        rows.extend(found.map(|(_, (row, hash))| (*hash, row)));
        first += u32::try_from(batch.num_rows()).unwrap_or(0);
    }
    rows.sort_unstable();
    rows.into_iter().unzip()
}

/// Each column as one array, in this order.
fn gathered(side: &StaticSide, batches: Vec<RecordBatch>, order: &[u32]) -> Result<Vec<ArrayRef>> {
    let all: usize = batches.iter().map(RecordBatch::num_rows).sum();
    let mut batches: Vec<_> = batches.into_iter().map(|batch| batch.columns().to_vec().into_iter()).collect();
    let is_in_order = order.len() == all && (0..).zip(order).all(|(place, row)| place == *row);
    let order = UInt32Array::from_iter_values(order.iter().copied());
    let mut columns = Vec::new();
    for field in side.schema.fields() {
        // The pieces of a column go before the next one is put together.
        let pieces: Vec<ArrayRef> = batches.iter_mut().filter_map(Iterator::next).collect();
        let column = in_order(&pieces, field.data_type(), (!is_in_order).then_some(&order));
        let context = || format!("its column `{}` cannot be kept as one array; select fewer rows", field.name());
        columns.push(column.map_err(|error| error.context(context()))?);
    }
    Ok(columns)
}

fn in_order(pieces: &[ArrayRef], data_type: &DataType, order: Option<&UInt32Array>) -> Result<ArrayRef> {
    let empty = arrow::array::new_empty_array(data_type);
    let pieces: Vec<&dyn Array> = once(empty.as_ref()).chain(pieces.iter().map(AsRef::as_ref)).collect();
    let column = concat(&pieces)?;
    let column = match order {
        Some(order) => take(&column, order, None)?,
        None => column,
    };
    Ok(compacted_column(&column))
}

/// Leaves out rows that have the hash and the keys of the row before.
fn without_repeats(side: &StaticSide, hashes: Vec<u64>, columns: &mut [ArrayRef]) -> Result<Vec<u64>> {
    let Some(pairs) = hashes.len().checked_sub(1) else { return Ok(hashes) };
    let mut repeats = BooleanBuffer::collect_bool(pairs, |row| hashes[row] == hashes[row + 1]);
    for key in &side.keys {
        let column = &columns[key.column];
        repeats = &repeats & &equal_rows(&column.slice(0, pairs), &column.slice(1, pairs))?;
    }
    let kept: BooleanArray = once(true).chain(repeats.iter().map(|repeats| !repeats)).map(Some).collect();
    for column in columns {
        *column = filter(column, &kept)?;
    }
    Ok(kept.values().set_indices().map(|row| hashes[row]).collect())
}

/// For the high bits of hashes, the first row with these or higher ones; and how far a hash is shifted to be its high bits.
#[expect(clippy::cast_possible_truncation, reason = "there are fewer than 2³² rows")]
fn directory(hashes: &[u64]) -> (Vec<u32>, u32) {
    let size = hashes.len().next_power_of_two().max(2);
    let shift = u64::BITS - size.trailing_zeros();
    let mut heads = Vec::with_capacity(size);
    for (row, hash) in hashes.iter().enumerate() {
        while heads.len() as u64 <= hash >> shift {
            heads.push(row as u32);
        }
    }
    heads.resize(size, hashes.len() as u32);
    (heads, shift)
}

/// The bytes of text that a column keeps beside its rows.
fn text_bytes(column: &ArrayRef) -> usize {
    column.as_string_view_opt().map_or(0, |texts| texts.data_buffers().iter().map(Buffer::len).sum())
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StringViewArray, StructArray};
    use arrow::datatypes::{Field, Int64Type, Schema};
    use arrow::record_batch::RecordBatchOptions;
    use proptest::prelude::*;

    use super::*;

    fn side(data_types: &[DataType], keys: &[(usize, bool)], is_distinct: bool) -> StaticSide {
        let fields = data_types.iter().enumerate().map(|(index, of)| Field::new(format!("c{index}"), of.clone(), true));
        let keys = keys.iter().map(|(column, null_safe)| StaticKey { column: *column, null_safe: *null_safe });
        StaticSide::new(Arc::new(Schema::new(fields.collect::<Vec<_>>())), keys.collect(), is_distinct)
    }

    /// Keys, with the number of each row beside them.
    fn batch(keys: ArrayRef, first: i64) -> RecordBatch {
        let numbers: ArrayRef = Arc::new((first..).take(keys.len()).collect::<Int64Array>());
        RecordBatch::try_from_iter_with_nullable([("k", keys, true), ("n", numbers, true)]).unwrap()
    }

    fn keys(values: &[Option<i64>]) -> ArrayRef {
        Arc::new(values.iter().copied().collect::<Int64Array>())
    }

    fn hash(value: ArrayRef) -> u64 {
        crate::protocol::key_group::hash_rows(&[value])[0]
    }

    /// The numbers of the rows in the chain of this hash.
    fn chain(index: &StaticIndex, hash: u64) -> Vec<i64> {
        let mut rows = Vec::new();
        let mut row = index.first(hash);
        while row != NO_ROW {
            rows.push(row);
            row = index.next(row);
        }
        let mut firsts = Vec::new();
        index.look_up(&[hash], &mut firsts);
        assert_eq!(firsts, [index.first(hash)]);
        index.gather(1, &index.places(&rows)).unwrap().as_primitive::<Int64Type>().values().to_vec()
    }

    #[test]
    fn rows_of_one_key_are_found_in_the_order_of_the_table() {
        let side = side(&[DataType::Int64, DataType::Int64], &[(0, false)], false);
        let batches =
            vec![batch(keys(&[Some(7), Some(1), None]), 0), batch(keys(&[]), 3), batch(keys(&[Some(7), Some(2)]), 3)];
        let index = side.index(batches).unwrap();
        assert_eq!(index.rows(), 4, "a null key is equal to nothing");
        assert!(index.bytes() > 0);
        assert_eq!(chain(&index, hash(keys(&[Some(7)]))), [0, 3]);
        assert_eq!(chain(&index, hash(keys(&[Some(2)]))), [4]);
        assert!(chain(&index, hash(keys(&[None]))).is_empty());
        assert!(chain(&index, hash(keys(&[Some(3)]))).is_empty());
    }

    #[test]
    fn null_is_a_key_where_it_equals_itself() {
        let side = side(&[DataType::Int64, DataType::Int64], &[(0, true)], false);
        let index = side.index(vec![batch(keys(&[None, Some(1), None]), 0)]).unwrap();
        assert_eq!(chain(&index, hash(keys(&[None]))), [0, 2]);
    }

    #[test]
    fn without_keys_every_row_is_in_one_chain() {
        let side = side(&[DataType::Int64, DataType::Int64], &[], false);
        let index = side.index(vec![batch(keys(&[None, Some(1)]), 0), batch(keys(&[Some(1)]), 2)]).unwrap();
        assert_eq!(chain(&index, 0), [0, 1, 2]);
    }

    #[test]
    fn an_empty_table_has_no_rows_to_find() {
        let side = side(&[DataType::Int64, DataType::Int64], &[(0, false)], true);
        let index = side.index(Vec::new()).unwrap();
        assert_eq!(index.rows(), 0);
        for hash in [0, 1, u64::MAX] {
            assert!(chain(&index, hash).is_empty());
        }
    }

    #[test]
    fn a_table_without_columns_still_has_rows() {
        let options = RecordBatchOptions::new().with_row_count(Some(3));
        let batch = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options).unwrap();
        assert_eq!(side(&[], &[], false).index(vec![batch.clone()]).unwrap().rows(), 3);
        assert_eq!(side(&[], &[], true).index(vec![batch]).unwrap().rows(), 1);
    }

    #[test]
    fn of_equal_keys_the_first_row_is_kept_where_one_is_enough() {
        let side = side(&[DataType::Int64, DataType::Int64], &[(0, true)], true);
        let index = side.index(vec![batch(keys(&[Some(5), None, Some(5), Some(6), None, Some(5)]), 0)]).unwrap();
        assert_eq!(index.rows(), 3);
        assert_eq!(chain(&index, hash(keys(&[Some(5)]))), [0]);
        assert_eq!(chain(&index, hash(keys(&[None]))), [1]);
    }

    #[test]
    fn different_keys_with_one_hash_are_kept() {
        let texts = |text: &str| -> ArrayRef { Arc::new(StringViewArray::from(vec![text; 2])) };
        let mut columns = [texts("a")];
        let side = side(&[DataType::Utf8View], &[(0, false)], true);
        assert_eq!(without_repeats(&side, vec![9, 9], &mut columns).unwrap(), [9]);
        let mut columns: [ArrayRef; 1] = [Arc::new(StringViewArray::from(vec!["a", "b", "b"]))];
        assert_eq!(without_repeats(&side, vec![9, 9, 9], &mut columns).unwrap(), [9, 9]);
        assert_eq!(columns[0].len(), 2);
    }

    #[test]
    fn long_texts_are_one_block_and_batches_put_out_have_their_own() {
        let text = |row: usize| format!("a text that does not fit into a view, number {row}");
        let texts =
            |rows: std::ops::Range<usize>| -> ArrayRef { Arc::new(StringViewArray::from_iter_values(rows.map(text))) };
        let side = side(&[DataType::Utf8View, DataType::Int64], &[(0, false)], false);
        let index = side.index(vec![batch(texts(0..2000), 0), batch(texts(2000..4000), 2000)]).unwrap();
        assert_eq!(index.columns[0].as_string_view().data_buffers().len(), 1);
        let hashes = crate::protocol::key_group::hash_rows(&[texts(3000..3001)]);
        let places = index.places(&[index.first(hashes[0])]);
        let found = PutOut(&index).gather(0, &places).unwrap();
        let bytes: usize = found.as_string_view().data_buffers().iter().map(Buffer::len).sum();
        assert_eq!((found.as_string_view().value(0), bytes), (text(3000).as_str(), text(3000).len()));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let side = side(&[DataType::Utf8View, DataType::Int64], &[(0, false)], false);
        let error = side.index(vec![batch(keys(&[Some(1)]), 0)]).unwrap_err();
        assert_eq!(error.message(), "its column `c0` is BIGINT where STRING was declared");
        let one = batch(keys(&[]), 0).project(&[1]).unwrap();
        assert_eq!(side.index(vec![one]).unwrap_err().message(), "it has 1 columns where 2 were declared");
    }

    #[test]
    fn nested_keys_can_be_found() {
        let field = Arc::new(Field::new("a", DataType::Int64, true));
        let structs =
            |values: &[Option<i64>]| -> ArrayRef { Arc::new(StructArray::from(vec![(field.clone(), keys(values))])) };
        let key = structs(&[Some(1), None, Some(1)]);
        let side = side(&[key.data_type().clone(), DataType::Int64], &[(0, false)], false);
        let index = side.index(vec![batch(key, 0)]).unwrap();
        assert_eq!(chain(&index, hash(structs(&[Some(1)]))), [0, 2]);
        assert_eq!(chain(&index, hash(structs(&[None]))), [1], "a struct of nulls is not null");
    }

    #[test]
    fn what_is_published_is_seen_until_it_is_withdrawn() {
        let side = side(&[DataType::Int64, DataType::Int64], &[(0, false)], false);
        assert!(side.current().is_none());
        side.publish(side.index(vec![batch(keys(&[Some(1)]), 0)]).unwrap());
        assert_eq!(side.current().unwrap().rows(), 1);
        assert!(side.emptied().current().is_none());
        side.withdraw();
        assert!(side.current().is_none());
    }

    proptest! {
        #[test]
        fn a_directory_leads_to_the_first_row_of_each_hash(
            hashes in prop::collection::vec(prop_oneof![0..20_u64, any::<u64>(), u64::MAX - 5..=u64::MAX], 0..600),
            others in prop::collection::vec(any::<u64>(), 0..600),
        ) {
            let mut hashes = hashes;
            hashes.sort_unstable();
            let (heads, shift) = directory(&hashes);
            let index = StaticIndex { columns: vec![], is_heavy: vec![], hashes: hashes.clone(), heads, shift };
            let asked: Vec<u64> = hashes.iter().copied().chain(others).chain([0, u64::MAX]).collect();
            let expected: Vec<u32> = asked
                .iter()
                .map(|hash| hashes.iter().position(|own| own == hash).map_or(NO_ROW, |row| u32::try_from(row).unwrap()))
                .collect();
            let mut firsts = Vec::new();
            index.look_up(&asked, &mut firsts);
            prop_assert_eq!(&firsts, &expected);
            for (hash, first) in asked.iter().zip(expected) {
                prop_assert_eq!(index.first(*hash), first);
                let (mut row, mut count) = (first, 0);
                while row != NO_ROW {
                    prop_assert_eq!(index.hashes[row as usize], *hash);
                    (row, count) = (index.next(row), count + 1);
                }
                prop_assert_eq!(count, hashes.iter().filter(|own| *own == hash).count());
            }
        }
    }
}
