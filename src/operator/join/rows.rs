//! The stored rows of one side of a join of streams.
//!
//! Owns: pages of columns, chains of rows by the hash of their keys, marks of rows that had a partner, freeing rows by
//! time, which rows and marks no snapshot holds. Does not own: which rows are stored, what is put out when they are freed,
//! or the form of a snapshot (`saved`).
//!
//! ```text
//! heads   hash ─▶ the newest row with it              page (up to 8192 rows, in the order of arrival)
//! links   row  ─▶ hash, next older, next newer          pieces   columns; small ones are merged as they come
//!                                                       links, marks, times: one entry a row
//! row number = page · 8192 + place in the page           serials: one entry for each run of rows
//!                                                       low: the lowest time of its rows
//! ```
//!
//! Snapshots call a row by its hash and its serial. Serials count up as rows come, so no snapshot holds the rows from some
//! serial on, and a page of rows in the order of arrival has one run. After a restart, counting goes on above all serials
//! that came back: those of two instances may be equal, but not those of two rows with one hash, which one instance owned
//! at a time.
//!
//! A page is looked at when the watermark passes its lowest time, and goes as a whole when its last row has gone. Streams come
//! roughly in the order of time, so pages are slices of time that happen to overlap; a page that is kept half dead by stragglers
//! gives these to the youngest page. Freeing a row is unlinking it, whatever the length of its chain.

use std::collections::BTreeSet;

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
    /// A snapshot holds the row, but not that it is matched.
    pub(super) const CHANGED: u8 = 8;
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

/// The serials of the rows of a page, by runs of rows whose serials follow each other.
#[derive(Debug, Default)]
struct Serials {
    /// Where each run begins.
    places: Vec<u16>,
    /// The serial of its first row.
    firsts: Vec<u64>,
}

impl Serials {
    fn of(&self, place: usize) -> u64 {
        let run = self.places.partition_point(|begin| usize::from(*begin) <= place) - 1;
        self.after(run, place)
    }

    /// What the serial of the row at `place` is if it is in this run.
    fn after(&self, run: usize, place: usize) -> u64 {
        self.firsts[run].wrapping_add((place - usize::from(self.places[run])) as u64)
    }

    /// Notes the serials of the rows from `place` on, which come behind all others.
    fn push(&mut self, place: usize, serials: impl IntoIterator<Item = u64>) {
        for (place, serial) in (place..).zip(serials) {
            let follows = self.places.len().checked_sub(1).is_some_and(|last| self.after(last, place) == serial);
            if !follows {
                self.places.extend(u16::try_from(place));
                self.firsts.push(serial);
            }
        }
    }

    /// The places of those among so many rows whose serial is `first` or above.
    fn since(&self, first: u64, rows: usize) -> impl Iterator<Item = usize> + '_ {
        let begins = self.places.iter().map(|begin| usize::from(*begin));
        let ends = begins.clone().skip(1).chain([rows]);
        self.firsts.iter().zip(begins.zip(ends)).flat_map(move |(serial, (begin, end))| {
            let skipped = usize::try_from(first.saturating_sub(*serial)).unwrap_or(usize::MAX);
            begin.saturating_add(skipped)..end
        })
    }

    fn bytes(&self) -> usize {
        self.places.capacity() * size_of::<u16>() + self.firsts.capacity() * size_of::<u64>()
    }
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
    serials: Serials,
    /// The places of rows marked as [`mark::CHANGED`]; some may be dead.
    changed: Vec<u16>,
    live: usize,
    bytes: usize,
}

impl Page {
    fn rows(&self) -> usize {
        self.links.len()
    }

    /// The serial of a row.
    fn serial(&self, place: usize) -> u64 {
        self.serials.of(place)
    }

    fn is_live(&self, place: usize) -> bool {
        self.marks[place] & mark::LIVE != 0
    }

    /// Notes that a row is matched and a snapshot holds it as it was.
    fn note_changed(&mut self, place: usize) {
        self.marks[place] |= mark::CHANGED;
        self.changed.extend(u16::try_from(place));
    }

    /// What a snapshot has to say of a row that it holds.
    fn change(&self, place: usize, what: Change) -> ChangedRow {
        let time = self.times.get(place).copied().unwrap_or(NEVER);
        ChangedRow { hash: self.links[place].hash, serial: self.serial(place), time, what }
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
            if is_reached(*time, limit) && *marks & mark::LIVE != 0 {
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
        let serials = self.serials.bytes() + self.changed.capacity() * size_of::<u16>();
        self.bytes + self.links.capacity() * a_row + self.times.capacity() * size_of::<i64>() + serials
    }
}

/// Whether a row with this time is freed at `limit`.
fn is_reached(time: i64, limit: i64) -> bool {
    time <= limit && time != NEVER
}

/// What became of a row that a snapshot holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// It had a partner.
    Matched,
    /// It is gone, and not because of its time.
    Removed,
}

/// A row that a snapshot holds, and what became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ChangedRow {
    pub(super) hash: u64,
    pub(super) serial: u64,
    /// As in [`NewRows::times`], [`NEVER`] for a row without.
    pub(super) time: i64,
    pub(super) what: Change,
}

/// What happened since the last snapshot, beside that rows were freed by their time.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// The numbers of the rows that no snapshot holds.
    pub(super) new: Vec<u32>,
    pub(super) changed: Vec<ChangedRow>,
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
    /// The serials of rows that have some; of new rows empty.
    pub(super) serials: &'a [u64],
    /// Which are matched unlike a snapshot says; may be empty, then none is.
    pub(super) changed: &'a [bool],
}

impl<'a> NewRows<'a> {
    /// Rows that came just now, can all have a partner and had none, and are never freed.
    pub(super) fn new(records: &'a RecordBatch, hashes: &'a [u64]) -> Self {
        Self { records, hashes, times: &[], can_match: None, matched: &[], serials: &[], changed: &[] }
    }
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
    /// The serial of the next new row.
    next_serial: u64,
    /// The serial from which on no snapshot holds a row.
    unsaved_from: u64,
    /// Pages with rows that no snapshot holds as they are.
    unsaved: BTreeSet<usize>,
    /// Rows that a snapshot holds and that were removed since.
    removed: Vec<ChangedRow>,
    /// What came back without the rows it is about: these are gone, or in snapshots that did not come back.
    strays: Vec<ChangedRow>,
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
            next_serial: 0,
            unsaved_from: 0,
            unsaved: BTreeSet::new(),
            removed: Vec::new(),
            strays: Vec::new(),
        }
    }

    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// How many rows are stored.
    pub(super) fn len(&self) -> usize {
        self.live
    }

    /// Memory held, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let changed = self.removed.capacity() + self.strays.capacity();
        self.bytes + self.heads.allocation_size() + changed * size_of::<ChangedRow>()
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
        let begin = page.rows();
        page.append(new.records.slice(first, rows))?;
        let has_unsaved = if new.serials.is_empty() {
            let serial = self.next_serial;
            page.serials.push(begin, serial..serial + rows as u64);
            self.next_serial += rows as u64;
            true
        } else {
            let serials = &new.serials[first..first + rows];
            page.serials.push(begin, serials.iter().copied());
            serials.iter().any(|serial| *serial >= self.unsaved_from)
        };
        let has_changed = new.changed.get(first..first + rows).is_some_and(|changed| changed.contains(&true));
        if has_unsaved || has_changed {
            self.unsaved.insert(number_of_page);
        }
        for row in first..first + rows {
            let matched = if new.matched.get(row) == Some(&true) { mark::MATCHED } else { 0 };
            page.marks.push(mark::LIVE | matched);
            page.links.push(Link { hash: new.hashes[row], older: NO_ROW, newer: NO_ROW });
            if new.changed.get(row) == Some(&true) {
                page.note_changed(begin + row - first);
            }
        }
        if !new.times.is_empty() {
            let times = &new.times[first..first + rows];
            page.times.extend_from_slice(times);
            let low = times.iter().copied().min().unwrap_or(NEVER);
            self.lows[number_of_page] = self.lows[number_of_page].min(low);
        }
        page.live += rows;
        self.live += rows;
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
        let unsaved_from = self.unsaved_from;
        let (page, place) = self.at_mut(row);
        let before = page.marks[place];
        if before & mark::MATCHED != 0 {
            return true;
        }
        page.marks[place] = before | mark::MATCHED;
        if unsaved_from > 0 && page.serial(place) < unsaved_from {
            let bytes = page.bytes();
            page.note_changed(place);
            let (is_first, grown) = (page.changed.len() == 1, page.bytes() - bytes);
            self.bytes += grown;
            if is_first {
                self.unsaved.insert((row >> PAGE_BITS) as usize);
            }
        }
        false
    }

    /// Frees these rows, each named once.
    ///
    /// # Errors
    /// When rows that have to move cannot be put together.
    pub(super) fn remove(&mut self, rows: &[u32]) -> Result<()> {
        let mut pages = Vec::new();
        for row in rows {
            self.unlink(*row);
            let (page, place) = self.at(*row);
            let removed = page.change(place, Change::Removed);
            if removed.serial < self.unsaved_from {
                self.removed.push(removed);
            }
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
        let places: Vec<usize> = (0..page.rows()).filter(|place| page.is_live(*place)).collect();
        let rows: Vec<u32> = places.iter().map(|place| row_number(number, *place)).collect();
        let hashes: Vec<u64> = places.iter().map(|place| page.links[*place].hash).collect();
        let times: Vec<i64> =
            if page.times.is_empty() { Vec::new() } else { places.iter().map(|place| page.times[*place]).collect() };
        let has = |bit: u8| places.iter().map(move |place| page.marks[*place] & bit != 0);
        let can_match: NullBuffer = has(mark::LINKED).collect();
        let matched: Vec<bool> = has(mark::MATCHED).collect();
        let serials: Vec<u64> = places.iter().map(|place| page.serial(*place)).collect();
        let changed: Vec<bool> = has(mark::CHANGED).collect();
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
        self.unsaved.remove(&number);
        self.open = self.open.filter(|open| *open != number);
        let moved = NewRows {
            hashes: &hashes,
            times: &times,
            can_match: Some(&can_match),
            matched: &matched,
            records: &records,
            serials: &serials,
            changed: &changed,
        };
        self.add(&moved)
    }

    /// From now on no snapshot holds any row.
    pub(super) fn save_all(&mut self) {
        self.unsaved_from = 0;
        let pages = self.pages.iter().enumerate().filter(|(_, page)| page.is_some());
        self.unsaved = pages.map(|(number, _)| number).collect();
    }

    /// What the next snapshot has to say. It counts as said then.
    pub(super) fn take_changes(&mut self) -> Changes {
        let mut changes = Changes { new: Vec::new(), changed: std::mem::take(&mut self.removed) };
        let unsaved_from = std::mem::replace(&mut self.unsaved_from, self.next_serial);
        let strays = std::mem::take(&mut self.strays);
        if unsaved_from == 0 {
            // Snapshots that are put together without those before them do not lose what they say of these.
            changes.changed.extend(strays);
        }
        for number in std::mem::take(&mut self.unsaved) {
            let Some(page) = self.pages[number].as_deref_mut() else { continue };
            let bytes = page.bytes();
            let changed = std::mem::take(&mut page.changed);
            self.bytes -= bytes - page.bytes();
            for place in changed.into_iter().map(usize::from) {
                page.marks[place] &= !mark::CHANGED;
                if page.is_live(place) && page.serial(place) < unsaved_from {
                    changes.changed.push(page.change(place, Change::Matched));
                }
            }
            let new = page.serials.since(unsaved_from, page.rows()).filter(|place| page.is_live(*place));
            changes.new.extend(new.map(|place| row_number(number, place)));
        }
        changes
    }

    /// Takes note that snapshots hold rows with this serial, before rows come back.
    pub(super) fn reserve_serial(&mut self, serial: u64) {
        self.next_serial = self.next_serial.max(serial.saturating_add(1));
        self.unsaved_from = self.next_serial;
    }

    /// Keeps what snapshots say of rows that they do not hold, in case others do.
    pub(super) fn keep_strays(&mut self, strays: impl IntoIterator<Item = ChangedRow>) {
        self.strays.extend(strays);
    }

    /// Frees, without a word, rows whose time is at or before `limit`.
    ///
    /// # Errors
    /// When rows that have to move cannot be put together.
    pub(super) fn forget_until(&mut self, limit: i64) -> Result<()> {
        self.strays.retain(|row| !is_reached(row.time, limit));
        while let Some(expired) = self.expire(limit) {
            self.settle(expired.page)?;
        }
        Ok(())
    }

    /// The hash and the serial of a row, and whether it had a partner.
    pub(super) fn identity(&self, row: u32) -> (u64, u64, bool) {
        let (page, place) = self.at(row);
        (page.links[place].hash, page.serial(place), page.marks[place] & mark::MATCHED != 0)
    }

    /// All columns of these rows.
    ///
    /// # Errors
    /// When Arrow refuses a column: over 2 GiB in one array.
    pub(super) fn records(&self, rows: &[u32]) -> Result<RecordBatch> {
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
    use arrow::datatypes::Int64Type;

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
        let new = NewRows { times: numbers, ..NewRows::new(&records, &hashes) };
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

    /// The numbers of the rows told as new, and the serials of those told as changed.
    fn told(rows: &mut SideRows) -> (Vec<i64>, Vec<(u64, Change)>) {
        let changes = rows.take_changes();
        let new = rows.records(&changes.new).unwrap();
        let new = new.column(0).as_primitive::<Int64Type>().values().to_vec();
        (new, changes.changed.iter().map(|row| (row.serial, row.what)).collect())
    }

    /// The row with this key, which only one has.
    fn row_of(rows: &SideRows, key: i64) -> u32 {
        rows.first(hash_rows(&[Arc::new(Int64Array::from(vec![key])) as ArrayRef])[0])
    }

    #[test]
    fn a_snapshot_is_told_what_is_new_matched_or_removed_and_nothing_of_what_time_frees() {
        let mut rows = SideRows::new(batch(&[]).schema());
        store(&mut rows, &[1, 2, 3, 4, 5]);
        assert!(!rows.mark_matched(row_of(&rows, 2)));
        rows.remove(&[row_of(&rows, 5)]).unwrap();
        assert_eq!(told(&mut rows), (vec![1, 2, 3, 4], vec![]));
        store(&mut rows, &[6]);
        for key in [1, 2, 3, 3, 6] {
            rows.mark_matched(row_of(&rows, key));
        }
        rows.remove(&[row_of(&rows, 4)]).unwrap();
        free(&mut rows, 1);
        assert_eq!(told(&mut rows), (vec![6], vec![(3, Change::Removed), (2, Change::Matched)]));
        assert_eq!(told(&mut rows), (vec![], vec![]));
        rows.save_all();
        assert_eq!(told(&mut rows), (vec![2, 3, 6], vec![]));
        assert_eq!(told(&mut rows), (vec![], vec![]));
    }

    #[test]
    fn rows_that_move_keep_their_serials_and_are_told_once() {
        let mut rows = SideRows::new(batch(&[]).schema());
        let numbers: Vec<i64> = (0..200).map(|row| if row % 8 == 3 { 10_000 + row } else { row }).collect();
        store(&mut rows, &numbers[..100]);
        assert_eq!(told(&mut rows).0, numbers[..100]);
        store(&mut rows, &numbers[100..]);
        rows.mark_matched(row_of(&rows, 10_003));
        let stays: Vec<i64> = numbers.iter().copied().filter(|number| *number >= 10_000).collect();
        assert_eq!(free(&mut rows, 5_000), 200 - stays.len());
        assert_eq!(told(&mut rows), (stays[13..].to_vec(), vec![(3, Change::Matched)]));
        for key in &stays {
            let (_, serial, is_matched) = rows.identity(row_of(&rows, *key));
            assert_eq!((serial, is_matched), (u64::try_from(key - 10_000).unwrap(), *key == 10_003));
        }
    }

    #[test]
    fn serials_of_rows_in_the_order_of_arrival_cost_next_to_nothing() {
        let mut rows = SideRows::new(batch(&[]).schema());
        for first in 0..100 {
            store(&mut rows, &(first * 37..first * 37 + 37).collect::<Vec<_>>());
            rows.take_changes();
        }
        let runs: usize = rows.pages.iter().flatten().map(|page| page.serials.firsts.len()).sum();
        assert_eq!(runs, rows.pages.len());
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
