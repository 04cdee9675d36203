//! The stored rows of one side of a join of streams.
//!
//! Owns: pages of columns, chains of rows by the hash of their keys, marks of rows that had a partner, freeing rows by time.
//! Does not own: which rows are stored, and what is put out when they are freed.
//!
//! ```text
//! heads   hash ─▶ the newest row with it              page (up to 8192 rows, in the order of arrival)
//! links   row  ─▶ hash, next older, next newer          pieces   columns; small ones are merged as they come
//!                                                       links, marks, times: one entry a row
//! row number = page · 8192 + place in the page           low: the lowest time of its rows
//! ```
//!
//! A page is looked at when the watermark passes its lowest time, and goes as a whole when its last row has gone. Streams come
//! roughly in the order of time, so pages are slices of time that happen to overlap; a page that is kept half dead by stragglers
//! gives these to the youngest page. Freeing a row is unlinking it, whatever the length of its chain.

use arrow::array::{Array, ArrayRef, new_empty_array};
use arrow::buffer::NullBuffer;
use arrow::compute::{concat_batches, interleave};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::pairs::{Chains, NO_ROW, StoredRows};
use crate::error::{Error, Result};
use crate::operator::exchange::compacted;
use crate::state::spread;

/// How many rows a page holds, as a power of two; few in tests, so that there are many pages.
const PAGE_BITS: u32 = if cfg!(test) { 3 } else { 13 };
const PAGE_ROWS: usize = 1 << PAGE_BITS;

/// So many pages can be numbered; the last number is that of no row.
const MOST_PAGES: usize = (1 << (u32::BITS - PAGE_BITS)) - 1;

/// So few dead rows are not worth moving the others.
const WORTH_MOVING: usize = PAGE_ROWS / 16;

/// The time of a row that is never freed.
pub(super) const NEVER: i64 = i64::MAX;

/// What is known of a stored row, in bits.
mod mark {
    pub(super) const LIVE: u8 = 1;
    pub(super) const LINKED: u8 = 2;
    pub(super) const MATCHED: u8 = 4;
}

#[derive(Debug, Clone, Copy)]
struct Link {
    hash: u64,
    /// The next older row with this hash.
    older: u32,
    /// The next newer one.
    newer: u32,
}

#[derive(Debug)]
struct Head {
    hash: u64,
    row: u32,
}

#[derive(Debug, Default)]
struct Page {
    pieces: Vec<RecordBatch>,
    /// The place of each piece's first row.
    begins: Vec<u32>,
    links: Vec<Link>,
    marks: Vec<u8>,
    /// In microseconds; empty if rows are never freed.
    times: Vec<i64>,
    live: usize,
    bytes: usize,
}

impl Page {
    fn rows(&self) -> usize {
        self.links.len()
    }

    /// Puts the columns of new rows behind the others, and merges pieces so that there are few.
    fn append(&mut self, piece: RecordBatch) -> Result<()> {
        self.begins.push(number(self.rows()));
        self.pieces.push(piece);
        let is_full = self.rows() + self.pieces.last().map_or(0, RecordBatch::num_rows) == PAGE_ROWS;
        while let [.., older, newer] = self.pieces.as_slice()
            && (is_full || older.num_rows() <= newer.num_rows())
        {
            let merged = concat_batches(&older.schema(), [older, newer])?;
            self.pieces.truncate(self.pieces.len() - 2);
            self.begins.pop();
            self.pieces.push(merged);
        }
        if is_full && let Some(whole) = self.pieces.pop() {
            self.pieces.push(compacted(&whole)?);
        }
        self.bytes = self.pieces.iter().map(RecordBatch::get_array_memory_size).sum();
        Ok(())
    }

    /// Marks the rows at or before `limit` as dead, and tells their places.
    fn expire(&mut self, limit: i64) -> Vec<u32> {
        let mut expired = Vec::new();
        for (place, (time, marks)) in (0..).zip(self.times.iter().zip(&mut self.marks)) {
            if *time <= limit && *time != NEVER && *marks & mark::LIVE != 0 {
                *marks &= !mark::LIVE;
                expired.push(place);
            }
        }
        self.live -= expired.len();
        expired
    }

    /// The lowest time of a row that is live.
    fn low(&self) -> i64 {
        let live = self.times.iter().zip(&self.marks).filter(|(_, marks)| **marks & mark::LIVE != 0);
        live.map(|(time, _)| *time).min().unwrap_or(NEVER)
    }

    /// The piece that holds a row, and the row's place in it.
    fn locate(&self, row: usize) -> (usize, usize) {
        if let [_] = self.begins.as_slice() {
            return (0, row);
        }
        let piece = self.begins.partition_point(|begin| *begin as usize <= row) - 1;
        (piece, row - self.begins[piece] as usize)
    }

    fn bytes(&self) -> usize {
        let a_row = size_of::<Link>() + size_of::<u8>();
        self.bytes + self.links.capacity() * a_row + self.times.capacity() * size_of::<i64>()
    }
}

/// Rows to be stored.
#[derive(Debug)]
pub(super) struct NewRows<'a> {
    pub(super) records: &'a RecordBatch,
    pub(super) hashes: &'a [u64],
    /// The times by which they are freed, in microseconds, [`NEVER`] for a row without; empty if no row is ever freed.
    pub(super) times: &'a [i64],
    /// Rows that can have a partner.
    pub(super) can_match: Option<&'a NullBuffer>,
    /// Which have had one; may be empty, then none has.
    pub(super) matched: &'a [bool],
}

/// Rows of a page that were freed.
#[derive(Debug)]
pub(super) struct Expired {
    pub(super) page: usize,
    /// How many rows were freed.
    pub(super) rows: usize,
    /// The numbers of those that never had a partner; their columns can be gathered until [`SideRows::settle`].
    pub(super) unmatched: Vec<u32>,
}

/// Stored rows, by hash and by time.
#[derive(Debug)]
pub(super) struct SideRows {
    schema: SchemaRef,
    heads: HashTable<Head>,
    pages: Vec<Option<Box<Page>>>,
    /// The lowest time of each page, [`NEVER`] where there is none.
    lows: Vec<i64>,
    /// Numbers of pages that can be used again.
    vacant: Vec<usize>,
    /// The page that takes new rows.
    open: Option<usize>,
    live: usize,
    bytes: usize,
}

impl SideRows {
    pub(super) fn new(schema: SchemaRef) -> Self {
        Self {
            schema,
            heads: HashTable::new(),
            pages: Vec::new(),
            lows: Vec::new(),
            vacant: Vec::new(),
            open: None,
            live: 0,
            bytes: 0,
        }
    }

    /// How many rows are stored.
    pub(super) fn len(&self) -> usize {
        self.live
    }

    /// Memory held, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes + self.heads.allocation_size()
    }

    /// Stores rows.
    ///
    /// # Errors
    /// When there would be more than four billion.
    pub(super) fn add(&mut self, new: &NewRows<'_>) -> Result<()> {
        let mut done = 0;
        while done < new.hashes.len() {
            let page = self.open_page()?;
            let room = PAGE_ROWS - self.page(page)?.rows();
            let rows = room.min(new.hashes.len() - done);
            self.add_to(page, new, done, rows)?;
            done += rows;
        }
        Ok(())
    }

    /// Stores `rows` rows of `new`, from `first` on, in a page that has room for them.
    fn add_to(&mut self, number_of_page: usize, new: &NewRows<'_>, first: usize, rows: usize) -> Result<()> {
        let Some(mut page) = self.pages[number_of_page].take() else { return Err(lost()) };
        let before = page.bytes();
        page.append(new.records.slice(first, rows))?;
        for row in first..first + rows {
            let matched = if new.matched.get(row) == Some(&true) { mark::MATCHED } else { 0 };
            page.marks.push(mark::LIVE | matched);
            page.links.push(Link { hash: new.hashes[row], older: NO_ROW, newer: NO_ROW });
        }
        if !new.times.is_empty() {
            let times = &new.times[first..first + rows];
            page.times.extend_from_slice(times);
            let low = times.iter().copied().min().unwrap_or(NEVER);
            self.lows[number_of_page] = self.lows[number_of_page].min(low);
        }
        page.live += rows;
        self.live += rows;
        let begin = page.rows() - rows;
        self.bytes = self.bytes + page.bytes() - before;
        let is_full = page.rows() == PAGE_ROWS;
        self.pages[number_of_page] = Some(page);
        for (place, row) in (first..first + rows).enumerate() {
            if new.can_match.is_none_or(|valid| valid.is_valid(row)) {
                self.link(row_number(number_of_page, begin + place));
            }
        }
        if is_full {
            self.open = None;
        }
        Ok(())
    }

    fn open_page(&mut self) -> Result<usize> {
        if let Some(open) = self.open {
            return Ok(open);
        }
        let number = match self.vacant.pop() {
            Some(number) => number,
            None if self.pages.len() == MOST_PAGES => {
                return Err(Error::state(
                    "a side of a join holds over four billion rows in one instance; bound it by a watermark and a range \
                     condition, or raise the parallelism",
                ));
            }
            None => {
                self.pages.push(None);
                self.lows.push(NEVER);
                self.pages.len() - 1
            }
        };
        self.pages[number] = Some(Box::default());
        self.open = Some(number);
        Ok(number)
    }

    fn page(&self, number: usize) -> Result<&Page> {
        self.pages[number].as_deref().ok_or_else(lost)
    }

    /// A row that is stored.
    fn at(&self, row: u32) -> (&Page, usize) {
        let page = self.pages[(row >> PAGE_BITS) as usize].as_deref();
        (page.expect("only stored rows are linked and handed out"), row as usize % PAGE_ROWS)
    }

    fn at_mut(&mut self, row: u32) -> (&mut Page, usize) {
        let page = self.pages[(row >> PAGE_BITS) as usize].as_deref_mut();
        (page.expect("only stored rows are linked and handed out"), row as usize % PAGE_ROWS)
    }

    fn link_of(&mut self, row: u32) -> &mut Link {
        let (page, place) = self.at_mut(row);
        &mut page.links[place]
    }

    /// Puts a row in front of its chain.
    fn link(&mut self, row: u32) {
        let hash = self.link_of(row).hash;
        let entry = self.heads.entry(spread(hash), |head| head.hash == hash, |head| spread(head.hash));
        let older = match entry {
            Entry::Occupied(mut entry) => std::mem::replace(&mut entry.get_mut().row, row),
            Entry::Vacant(entry) => {
                entry.insert(Head { hash, row });
                NO_ROW
            }
        };
        if older != NO_ROW {
            self.link_of(older).newer = row;
        }
        let (page, place) = self.at_mut(row);
        page.links[place].older = older;
        page.marks[place] |= mark::LINKED;
    }

    /// Takes a row out of its chain, if it is in one.
    fn unlink(&mut self, row: u32) {
        let (page, place) = self.at_mut(row);
        if page.marks[place] & mark::LINKED == 0 {
            return;
        }
        page.marks[place] &= !mark::LINKED;
        let Link { hash, older, newer } = page.links[place];
        if older != NO_ROW {
            self.link_of(older).newer = newer;
        }
        if newer != NO_ROW {
            self.link_of(newer).older = older;
        } else if let Ok(mut head) = self.heads.find_entry(spread(hash), |head| head.hash == hash) {
            if older == NO_ROW {
                head.remove();
            } else {
                head.get_mut().row = older;
            }
        }
    }

    pub(super) fn is_matched(&self, row: u32) -> bool {
        let (page, place) = self.at(row);
        page.marks[place] & mark::MATCHED != 0
    }

    /// Marks a row as matched, and tells whether it was before.
    pub(super) fn mark_matched(&mut self, row: u32) -> bool {
        let (page, place) = self.at_mut(row);
        let before = page.marks[place];
        page.marks[place] = before | mark::MATCHED;
        before & mark::MATCHED != 0
    }

    /// Frees these rows, each named once.
    ///
    /// # Errors
    /// When rows that have to move cannot be put together.
    pub(super) fn remove(&mut self, rows: &[u32]) -> Result<()> {
        let mut pages = Vec::new();
        for row in rows {
            self.unlink(*row);
            let (page, place) = self.at_mut(*row);
            page.marks[place] &= !mark::LIVE;
            page.live -= 1;
            pages.push((*row >> PAGE_BITS) as usize);
        }
        self.live -= rows.len();
        pages.sort_unstable();
        pages.dedup();
        pages.into_iter().try_for_each(|page| self.settle(page))
    }

    /// Frees the rows of one page whose time is at or before `limit`; `None` when there are none in any.
    /// [`settle`](Self::settle) has to follow.
    pub(super) fn expire(&mut self, limit: i64) -> Option<Expired> {
        let number = self.lows.iter().position(|low| *low <= limit && *low != NEVER)?;
        let page = self.pages[number].as_deref_mut()?;
        let places = page.expire(limit);
        self.live -= places.len();
        self.lows[number] = page.low();
        let is_alone = |place: &&u32| page.marks[**place as usize] & mark::MATCHED == 0;
        let unmatched = places.iter().filter(is_alone).map(|place| row_number(number, *place as usize)).collect();
        for place in &places {
            self.unlink(row_number(number, *place as usize));
        }
        Some(Expired { page: number, rows: places.len(), unmatched })
    }

    /// Gives back the memory of what was freed in a page.
    ///
    /// # Errors
    /// When rows that have to move cannot be put together.
    pub(super) fn settle(&mut self, number: usize) -> Result<()> {
        let page = self.page(number)?;
        let dead = page.rows() - page.live;
        if page.live == 0 || (dead > WORTH_MOVING && dead > page.live) {
            self.drop_page(number)?;
        }
        if self.heads.capacity() > PAGE_ROWS && self.heads.len() < self.heads.capacity() / 4 {
            self.heads.shrink_to(self.heads.len() * 2, |head| spread(head.hash));
        }
        Ok(())
    }

    /// Drops a page; its rows that are still live move to the youngest.
    fn drop_page(&mut self, number: usize) -> Result<()> {
        let page = self.page(number)?;
        let places: Vec<usize> = (0..page.rows()).filter(|place| page.marks[*place] & mark::LIVE != 0).collect();
        let rows: Vec<u32> = places.iter().map(|place| row_number(number, *place)).collect();
        let hashes: Vec<u64> = places.iter().map(|place| page.links[*place].hash).collect();
        let times: Vec<i64> =
            if page.times.is_empty() { Vec::new() } else { places.iter().map(|place| page.times[*place]).collect() };
        let has = |bit: u8| places.iter().map(move |place| page.marks[*place] & bit != 0);
        let can_match: NullBuffer = has(mark::LINKED).collect();
        let matched: Vec<bool> = has(mark::MATCHED).collect();
        let records = self.records(&rows)?;
        for row in &rows {
            self.unlink(*row);
        }
        if let Some(page) = self.pages[number].take() {
            self.bytes -= page.bytes();
            self.live -= page.live;
        }
        self.lows[number] = NEVER;
        self.vacant.push(number);
        self.open = self.open.filter(|open| *open != number);
        let moved = NewRows {
            hashes: &hashes,
            times: &times,
            can_match: Some(&can_match),
            matched: &matched,
            records: &records,
        };
        self.add(&moved)
    }

    /// All columns of these rows.
    fn records(&self, rows: &[u32]) -> Result<RecordBatch> {
        let places = self.places(rows);
        let columns = (0..self.schema.fields().len()).map(|column| self.gather(column, &places));
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        Ok(RecordBatch::try_new_with_options(self.schema.clone(), columns.collect::<Result<Vec<_>>>()?, &options)?)
    }
}

impl Chains for SideRows {
    fn first(&self, hash: u64) -> u32 {
        self.heads.find(spread(hash), |head| head.hash == hash).map_or(NO_ROW, |head| head.row)
    }

    fn next(&self, row: u32) -> u32 {
        let (page, place) = self.at(row);
        page.links[place].older
    }
}

/// Where some rows are: pieces, and for each row which of these and the place in it.
#[derive(Debug)]
pub(super) struct Places {
    /// Page and piece.
    pieces: Vec<(usize, usize)>,
    rows: Vec<(usize, usize)>,
}

impl StoredRows for SideRows {
    type Places = Places;

    fn places(&self, rows: &[u32]) -> Places {
        // For each page, where its pieces begin among those that are needed.
        let mut first_pieces = vec![usize::MAX; self.pages.len()];
        let mut pieces = Vec::new();
        let of = |row: &u32| {
            let number = (row >> PAGE_BITS) as usize;
            let (page, place) = self.at(*row);
            if first_pieces[number] == usize::MAX {
                first_pieces[number] = pieces.len();
                pieces.extend((0..page.pieces.len()).map(|piece| (number, piece)));
            }
            let (piece, place) = page.locate(place);
            (first_pieces[number] + piece, place)
        };
        let rows = rows.iter().map(of).collect();
        Places { pieces, rows }
    }

    fn gather(&self, column: usize, places: &Places) -> Result<ArrayRef> {
        let piece = |(page, piece): &(usize, usize)| Ok(self.page(*page)?.pieces[*piece].column(column).as_ref());
        let pieces = places.pieces.iter().map(piece).collect::<Result<Vec<&dyn Array>>>()?;
        if pieces.is_empty() {
            return Ok(new_empty_array(self.schema.field(column).data_type()));
        }
        Ok(interleave(&pieces, &places.rows)?)
    }
}

fn lost() -> Error {
    Error::internal("a page of a join's rows is gone")
}

fn number(rows: usize) -> u32 {
    u32::try_from(rows).unwrap_or(NO_ROW)
}

fn row_number(page: usize, place: usize) -> u32 {
    number((page << PAGE_BITS) + place)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{AsArray, Int64Array, StringViewArray};

    use super::*;
    use crate::protocol::key_group::hash_rows;

    fn batch(numbers: &[i64]) -> RecordBatch {
        let keys: ArrayRef = Arc::new(Int64Array::from(numbers.to_vec()));
        let text = |number: &i64| Some(format!("text of row {number}, too long for a view"));
        let texts: ArrayRef = Arc::new(numbers.iter().map(text).collect::<StringViewArray>());
        RecordBatch::try_from_iter([("k", keys), ("text", texts)]).unwrap()
    }

    /// Stores a row of each number; its time is the number.
    fn store(rows: &mut SideRows, numbers: &[i64]) {
        let records = batch(numbers);
        let hashes = hash_rows(&[Arc::clone(records.column(0))]);
        let new = NewRows { records: &records, hashes: &hashes, times: numbers, can_match: None, matched: &[] };
        rows.add(&new).unwrap();
    }

    fn free(rows: &mut SideRows, limit: i64) -> usize {
        let mut freed = 0;
        while let Some(expired) = rows.expire(limit) {
            freed += expired.rows;
            rows.settle(expired.page).unwrap();
        }
        freed
    }

    /// The texts of the rows with this key.
    fn found(rows: &SideRows, key: i64) -> usize {
        let hash = hash_rows(&[Arc::new(Int64Array::from(vec![key])) as ArrayRef])[0];
        let mut chain = vec![rows.first(hash)];
        while let Some(row) = chain.last().filter(|row| **row != NO_ROW) {
            chain.push(rows.next(*row));
        }
        chain.pop();
        let texts = rows.gather(1, &rows.places(&chain)).unwrap();
        let wanted = format!("text of row {key}, too long for a view");
        assert!(texts.as_string_view().iter().all(|text| text == Some(wanted.as_str())));
        chain.len()
    }

    #[test]
    fn memory_goes_with_the_rows_and_pages_are_used_again() {
        let mut rows = SideRows::new(batch(&[]).schema());
        let empty = rows.bytes();
        for round in 0..50 {
            store(&mut rows, &(round * 100..round * 100 + 100).collect::<Vec<_>>());
            assert_eq!(free(&mut rows, round * 100 + 99), 100);
            assert_eq!(rows.len(), 0);
        }
        assert!(rows.pages.len() <= 100 / PAGE_ROWS + 2, "{} pages", rows.pages.len());
        assert!(rows.bytes() < empty + 10_000, "{} bytes", rows.bytes());
    }

    #[test]
    fn a_straggler_in_each_page_moves_and_is_found_again() {
        let mut rows = SideRows::new(batch(&[]).schema());
        let numbers: Vec<i64> = (0..400).map(|row| if row % 8 == 3 { 10_000 + row } else { row }).collect();
        store(&mut rows, &numbers);
        assert_eq!(free(&mut rows, 5_000), 350);
        assert_eq!(rows.len(), 50);
        let pages = rows.pages.iter().flatten().count();
        assert!(pages <= 50 / PAGE_ROWS + 2, "{pages} pages for 50 rows");
        for row in 0..400 {
            assert_eq!(found(&rows, 10_000 + row), usize::from(row % 8 == 3), "{row}");
            assert_eq!(found(&rows, row), 0);
        }
    }

    #[test]
    fn rows_without_a_time_stay_and_a_chain_loses_only_what_is_freed() {
        let mut rows = SideRows::new(batch(&[]).schema());
        store(&mut rows, &[7, 7, NEVER, 7, NEVER]);
        assert_eq!((found(&rows, 7), found(&rows, NEVER)), (3, 2));
        assert_eq!(free(&mut rows, 100), 3);
        assert_eq!((found(&rows, 7), found(&rows, NEVER)), (0, 2));
        assert_eq!(free(&mut rows, i64::MAX), 0);
    }
}
