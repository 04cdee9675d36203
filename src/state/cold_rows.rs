//! Rows with key columns outside memory: what operators share that put rows into a [`ColdStore`].
//!
//! Owns: the bytes under which a row is kept there, their order, reading in pages. Does not own: which rows go and come back, what
//! their values mean (operators), or where they are ([`ColdStore`]).
//!
//! ```text
//! key = slot, or none (9 bytes) │ hash (8 bytes) │ key columns in Arrow's row format
//! ```
//!
//! So a slot is a range, slots are in the order of their numbers, rows without one are behind all others, and the rows of one key group
//! are neighbours in a slot. Floats are made one zero and one NaN first: keys that are equal in a `KeyTable` have equal bytes. The format
//! lives only as long as the query.

use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, SortField};

use super::keys::{canonical, has_floats};
use super::{ColdStore, StateBudget};
use crate::error::Result;

/// Whether there is a slot, and which.
const SLOT: usize = 1 + size_of::<i64>();

/// Slot and hash.
const PREFIX: usize = SLOT + size_of::<u64>();

/// The most rows of one page.
const PAGE_ROWS: usize = 8192;

/// The rows of one operator instance that are outside memory.
#[derive(Debug)]
pub(crate) struct ColdRows {
    store: Box<dyn ColdStore>,
    budget: usize,
    keys: RowConverter,
    /// Which key columns have floats in them.
    floats: Vec<bool>,
}

impl ColdRows {
    /// Whether rows with key columns of these types can leave memory.
    pub(crate) fn can_hold(key_types: &[DataType]) -> bool {
        row_format(key_types).is_some()
    }

    /// Rows with key columns of these types; `None` if they have to stay in memory.
    pub(crate) fn new(key_types: &[DataType], budget: StateBudget) -> Option<Self> {
        let (keys, floats) = (row_format(key_types)?, key_types.iter().map(has_floats).collect());
        Some(Self { store: budget.store, budget: budget.bytes, keys, floats })
    }

    /// How many bytes may stay in memory.
    pub(crate) fn budget(&self) -> usize {
        self.budget
    }

    /// Where rows with these keys are, or would be.
    pub(crate) fn places(
        &self,
        keys: &[ArrayRef],
        hashes: &[u64],
        slot: impl Fn(usize) -> Option<i64>,
    ) -> Result<Places> {
        let columns = keys.iter().zip(&self.floats);
        let columns =
            columns.map(|(column, has_floats)| if *has_floats { canonical(column) } else { Ok(column.clone()) });
        let rows = self.keys.convert_columns(&columns.collect::<Result<Vec<_>>>()?)?;
        let mut bytes = Pieces::with_capacity(hashes.len(), hashes.len() * PREFIX + rows.size());
        for (row, hash) in hashes.iter().enumerate() {
            bytes.push(&[&slot_bytes(slot(row)), &hash.to_be_bytes(), rows.row(row).data()]);
        }
        Ok(Places::new(bytes))
    }

    /// Puts rows, each with its value; one that is there is replaced. Answers how many were not.
    pub(crate) fn put<'a>(&mut self, places: &Places, value: impl Fn(usize) -> &'a [u8]) -> Result<u64> {
        self.store.put(&mut places.in_order().map(|(row, key)| (key, value(row))))
    }

    /// Calls `found` with the number of each row that is there, and its value.
    pub(crate) fn get(&mut self, places: &Places, mut found: impl FnMut(usize, &[u8])) -> Result<()> {
        let mut keys = places.in_order().map(|(_, key)| key);
        self.store.get(&mut keys, &mut |number, value| found(places.order[number], value))
    }

    /// The same for some `rows` of a batch with these keys; what is found is told by its place in `rows`.
    pub(crate) fn find(
        &mut self,
        keys: &[ArrayRef],
        hashes: &[u64],
        rows: &[u32],
        slot: impl Fn(usize) -> Option<i64>,
        found: impl FnMut(usize, &[u8]),
    ) -> Result<()> {
        let hashes: Vec<u64> = rows.iter().map(|row| hashes[*row as usize]).collect();
        let rows = UInt32Array::from(rows.to_vec());
        let keys = keys.iter().map(|column| take(column, &rows, None)).collect::<Result<Vec<_>, _>>()?;
        let places = self.places(&keys, &hashes, slot)?;
        self.get(&places, found)
    }

    /// Removes the rows at these places, if they are there.
    pub(crate) fn remove(&mut self, places: &Places) -> Result<()> {
        self.store.remove_each(&mut places.in_order().map(|(_, key)| key))
    }

    /// Removes the rows of a range from where it is read to.
    pub(crate) fn remove_range(&mut self, range: &Cursor) -> Result<()> {
        self.store.remove(&range.next, &range.end)
    }

    /// The next page of a range; `None` behind the last.
    pub(crate) fn page(&mut self, range: &mut Cursor) -> Result<Option<Page>> {
        let (mut keys, mut values) = (Pieces::default(), Pieces::default());
        self.store.scan(&range.next, &range.end, PAGE_ROWS, &mut |key, value| {
            keys.push(&[key]);
            values.push(&[value]);
        })?;
        let Some(last) = keys.len().checked_sub(1) else { return Ok(None) };
        range.next.clear();
        range.next.extend_from_slice(keys.get(last));
        // Right behind the last key.
        range.next.push(0);
        Ok(Some(Page { keys, values }))
    }

    /// How many rows of a range are not read yet.
    pub(crate) fn count(&mut self, range: &Cursor) -> Result<u64> {
        let mut count = 0;
        self.store.scan(&range.next, &range.end, usize::MAX, &mut |_, _| count += 1)?;
        Ok(count)
    }

    /// The key columns of a page.
    pub(crate) fn key_columns(&self, page: &Page) -> Result<Vec<ArrayRef>> {
        columns(&self.keys, page.keys.iter().map(|key| &key[PREFIX..]))
    }
}

/// Arrow's row format of columns of these types; `None` if there are no columns, or one has no bytes.
pub(crate) fn row_format(types: &[DataType]) -> Option<RowConverter> {
    let fields: Vec<_> = types.iter().cloned().map(SortField::new).collect();
    let is_possible = !fields.is_empty() && RowConverter::supports_fields(&fields);
    is_possible.then(|| RowConverter::new(fields).ok()).flatten()
}

/// The columns of rows in this format.
pub(crate) fn columns<'a>(format: &RowConverter, rows: impl Iterator<Item = &'a [u8]>) -> Result<Vec<ArrayRef>> {
    let parser = format.parser();
    Ok(format.convert_rows(rows.map(|row| parser.parse(row)))?)
}

/// The first bytes of keys: those with a slot in its order, then those without.
fn slot_bytes(slot: Option<i64>) -> [u8; SLOT] {
    let mut bytes = [0; SLOT];
    match slot {
        Some(slot) => bytes[1..].copy_from_slice(&(slot ^ i64::MIN).to_be_bytes()),
        None => bytes[0] = 1,
    }
    bytes
}

/// Where some rows are, and the order in which the store has them.
#[derive(Debug)]
pub(crate) struct Places {
    keys: Pieces,
    order: Vec<usize>,
}

impl Places {
    fn new(keys: Pieces) -> Self {
        // Of rows with one key the last is put last, and stays.
        let order = keys.sorted();
        Self { keys, order }
    }

    /// How many rows these are.
    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }

    /// Rows of the same keys in other slots.
    pub(crate) fn moved(&self, slot: impl Fn(usize) -> Option<i64>) -> Self {
        let mut keys = Pieces::with_capacity(self.keys.len(), self.keys.bytes.len());
        for (row, key) in self.keys.iter().enumerate() {
            keys.push(&[&slot_bytes(slot(row)), &key[SLOT..]]);
        }
        Self::new(keys)
    }

    /// The number and the key of each row.
    fn in_order(&self) -> impl Iterator<Item = (usize, &[u8])> {
        self.order.iter().map(|row| (*row, self.keys.get(*row)))
    }
}

/// A range of rows, and how far it is read.
#[derive(Debug)]
pub(crate) struct Cursor {
    next: Vec<u8>,
    end: Vec<u8>,
}

impl Cursor {
    /// The rows of a slot.
    pub(crate) fn slot(slot: i64) -> Self {
        Self::between(slot, slot)
    }

    /// The rows of all slots up to this one.
    pub(crate) fn until(slot: i64) -> Self {
        Self::between(i64::MIN, slot)
    }

    fn between(first: i64, last: i64) -> Self {
        Self { next: slot_bytes(Some(first)).to_vec(), end: slot_bytes(last.checked_add(1)).to_vec() }
    }
}

/// Some rows of a range.
#[derive(Debug)]
pub(crate) struct Page {
    keys: Pieces,
    values: Pieces,
}

impl Page {
    /// The value of each row.
    pub(crate) fn values(&self) -> impl Iterator<Item = &[u8]> {
        self.values.iter()
    }

    /// The hash of each row's key.
    pub(crate) fn hashes(&self) -> Vec<u64> {
        let hash = |key: &[u8]| key[SLOT..].first_chunk().map_or(0, |hash| u64::from_be_bytes(*hash));
        self.keys.iter().map(hash).collect()
    }

    /// Where the rows are.
    pub(crate) fn into_places(self) -> Places {
        Places::new(self.keys)
    }
}

/// Pieces of bytes in one buffer.
#[derive(Debug, Default)]
pub(crate) struct Pieces {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Pieces {
    fn with_capacity(pieces: usize, bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes), ends: Vec::with_capacity(pieces) }
    }

    /// Adds a piece that is made of these parts.
    pub(crate) fn push(&mut self, parts: &[&[u8]]) {
        for part in parts {
            self.add(part);
        }
        self.end();
    }

    /// Adds to a piece that is not yet ended.
    pub(crate) fn add(&mut self, part: &[u8]) {
        self.bytes.extend_from_slice(part);
    }

    /// Ends the piece.
    pub(crate) fn end(&mut self) {
        self.ends.push(self.bytes.len());
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The numbers of the pieces in the order of their bytes; equal ones in the order in which they came.
    pub(crate) fn sorted(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.len()).collect();
        order.sort_unstable_by(|&a, &b| self.get(a).cmp(self.get(b)).then(a.cmp(&b)));
        order
    }

    pub(crate) fn get(&self, number: usize) -> &[u8] {
        let start = number.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start..self.ends[number]]
    }

    /// The pieces, in the order in which they came.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).map(|number| self.get(number))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use arrow::array::{AsArray, Float64Array, Int64Array, StringViewArray};
    use arrow::datatypes::Int64Type;
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::key_group::hash_rows;
    use crate::state::MapStore;

    fn cold(types: &[DataType]) -> ColdRows {
        ColdRows::new(types, StateBudget { bytes: 0, store: Box::<MapStore>::default() }).unwrap()
    }

    type Key = (Option<i64>, Option<i64>);

    fn places(cold: &ColdRows, keys: &[Key]) -> Places {
        let columns: [ArrayRef; 1] = [Arc::new(keys.iter().map(|key| key.1).collect::<Int64Array>())];
        cold.places(&columns, &hash_rows(&columns), |row| keys[row].0).unwrap()
    }

    /// What a range holds, page by page, without the slots.
    fn read(cold: &mut ColdRows, mut range: Cursor) -> Vec<(Option<i64>, u8)> {
        let mut rows = Vec::new();
        assert_eq!(cold.count(&range).unwrap(), {
            while let Some(page) = cold.page(&mut range).unwrap() {
                let keys = cold.key_columns(&page).unwrap();
                assert_eq!(page.hashes(), hash_rows(&keys));
                let keys = keys[0].as_primitive::<Int64Type>().iter();
                rows.extend(keys.zip(page.values().map(|value| value[0])));
            }
            rows.len() as u64
        });
        rows.sort_unstable();
        rows
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn rows_are_found_read_and_removed_by_slot_as_in_a_map(
            batches in prop::collection::vec(
                (prop::collection::vec((prop::option::of(-2..3_i64), prop::option::of(-2..3_i64)), 0..12), 0..4_u8),
                1..12,
            ),
        ) {
            let (mut cold, mut oracle) = (cold(&[DataType::Int64]), BTreeMap::<Key, u8>::new());
            for (number, (keys, call)) in batches.iter().enumerate() {
                // The ends of the range of slots, too.
                let far = |slot: i64| if slot.abs() == 2 { slot.saturating_mul(i64::MAX) } else { slot };
                let keys: Vec<Key> = keys.iter().map(|key| (key.0.map(far), key.1)).collect();
                let number = u8::try_from(number).unwrap();
                let at = places(&cold, &keys);
                match call {
                    0 => {
                        let before = oracle.len();
                        oracle.extend(keys.iter().map(|key| (*key, number)));
                        let added = cold.put(&at, |_| std::slice::from_ref(&number)).unwrap();
                        prop_assert_eq!(added, (oracle.len() - before) as u64);
                    }
                    1 => {
                        for key in &keys {
                            oracle.remove(key);
                        }
                        cold.remove(&at).unwrap();
                    }
                    2 => {
                        let last = keys.first().and_then(|key| key.0).unwrap_or(1);
                        oracle.retain(|key, _| key.0.is_none_or(|slot| slot > last));
                        cold.remove_range(&Cursor::until(last)).unwrap();
                    }
                    _ => {
                        // The same keys, one slot on.
                        let next = |slot: Option<i64>| slot.map_or(Some(0), |slot| slot.checked_add(1));
                        let moved: Vec<Key> = keys.iter().map(|key| (next(key.0), key.1)).collect();
                        oracle.extend(moved.iter().map(|key| (*key, number)));
                        cold.put(&at.moved(|row| moved[row].0), |_| std::slice::from_ref(&number)).unwrap();
                    }
                }
                let mut found = Vec::new();
                cold.get(&at, |row, value| found.push((row, value[0]))).unwrap();
                found.sort_unstable();
                let known = keys.iter().enumerate().filter_map(|(row, key)| Some((row, *oracle.get(key)?)));
                prop_assert_eq!(found, known.collect::<Vec<_>>());
                for slot in [i64::MIN, -1, 0, 1, i64::MAX] {
                    let of_slot = oracle.iter().filter(|(key, _)| key.0 == Some(slot)).map(|(key, value)| (key.1, *value));
                    prop_assert_eq!(read(&mut cold, Cursor::slot(slot)), of_slot.collect::<Vec<_>>());
                }
            }
        }
    }

    #[test]
    fn a_range_of_more_than_a_page_is_read_once_and_whole() {
        let mut cold = cold(&[DataType::Int64]);
        let keys: Vec<Key> = (0..20_000).map(|n| (Some(3), Some(n))).collect();
        let at = places(&cold, &keys);
        assert_eq!(cold.put(&at, |row| if row % 2 == 0 { &[0] } else { &[1] }).unwrap(), 20_000);
        let expected: Vec<_> = (0..20_000).map(|n| (Some(n), u8::from(n % 2 == 1))).collect();
        assert_eq!(read(&mut cold, Cursor::slot(3)), expected);
    }

    #[test]
    fn some_rows_of_a_batch_are_found_by_their_place_among_them() {
        let mut cold = cold(&[DataType::Float64, DataType::Utf8View]);
        let columns = |floats: Vec<f64>| -> [ArrayRef; 2] {
            let texts = StringViewArray::from(vec!["a"; floats.len()]);
            [Arc::new(Float64Array::from(floats)), Arc::new(texts)]
        };
        let keys = columns(vec![0.0, f64::NAN]);
        let at = cold.places(&keys, &hash_rows(&keys), |_| None).unwrap();
        cold.put(&at, |row| if row == 0 { b"zero" } else { b"none" }).unwrap();
        // Zeros are one key and NaNs are one.
        let keys = columns(vec![1.0, -f64::NAN, 2.0, -0.0, 0.0]);
        let mut found = BTreeMap::new();
        let add = |number, value: &[u8]| drop(found.insert(number, value.to_vec()));
        cold.find(&keys, &hash_rows(&keys), &[0, 1, 3], |_| None, add).unwrap();
        assert_eq!(found, BTreeMap::from([(1, b"none".to_vec()), (2, b"zero".to_vec())]));
    }

    #[test]
    fn rows_without_key_columns_stay_in_memory() {
        assert!(!ColdRows::can_hold(&[]) && ColdRows::can_hold(&[DataType::Boolean]));
    }
}
