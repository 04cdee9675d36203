//! The stored rows of one side of a join of streams.
//!
//! Owns: a log of pages, chains of rows by the hash of their keys, marks of rows that had a partner, freeing rows by
//! time, which rows and marks no snapshot holds. Does not own: which rows are stored, what is put out when they are freed,
//! or the form of a snapshot (`saved`).
//!
//! ```text
//! heads   hash ─▶ the newest row with it              pages, the oldest first, each up to 16384 rows
//! links   row  ─▶ its hash, the next older row          pieces   columns; small ones are merged as they come
//!                 with it, marks                        links, times: one entry a row
//! row number = page · 16384 + place in the page         serials: one entry for each run of rows
//! ```
//!
//! New rows go behind the last, and memory comes back at the other end, as in the log of FASTER (Chandramouli et al., SIGMOD 2018): a
//! chain leads from newer rows to older ones, so it may end in pages that are gone, and nothing has to be unlinked when they go. Streams
//! come roughly in the order of time, so a page is a slice of time, and freeing it is one look at its times. Stragglers of a page that
//! is mostly dead, and rows that keep too many dead ones behind them, are moved to the other end. A page all of whose rows are dead keeps its
//! links until then. Rows of a batch are looked up and linked in passes, so that the processor waits for many of them at once.
//!
//! Snapshots call a row by its hash and its serial. Serials count up as rows come, so no snapshot holds the rows from some
//! serial on, and a page of rows in the order of arrival has one run. After a restart, counting goes on above all serials
//! that came back: those of two instances may be equal, but not those of two rows with one hash, which one instance owned
//! at a time.

mod heads;
mod page;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;

use arrow::array::{Array, ArrayRef, new_empty_array};
use arrow::buffer::NullBuffer;
use arrow::compute::{concat_batches, interleave};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};

use self::heads::{Head, Heads};
use self::page::{Link, PAGE_BITS, PAGE_ROWS, Page, mark};
use super::pairs::{Chains, NO_ROW, StoredRows};
use super::saved::RestoredRows;
use crate::error::{Error, Result};

/// Pages are numbered in a circle of so many; the last number there could be is that of no row.
const CIRCLE: u32 = if cfg!(test) { 1 << 10 } else { (1 << (u32::BITS - PAGE_BITS)) - 1 };

/// So many pages at most are stored, so that a number of a page that is gone is not taken for that of another.
const MOST_PAGES: usize = CIRCLE as usize / 2;

/// Heads of rows that are gone are forgotten before their numbers come again.
const PAGES_A_ROUND: u64 = CIRCLE as u64 / 4;

/// How many rows are looked up together.
const AHEAD: usize = 1024;

/// So few dead rows are not worth moving the others.
const WORTH_MOVING: usize = PAGE_ROWS / 16;

/// So few pieces of columns are copied one by one.
const FEW_PIECES: usize = 32;

/// The time of a row that is never freed.
pub(super) const NEVER: i64 = i64::MAX;

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
    /// The page, for [`SideRows::settle`].
    pub(super) page: u64,
    /// How many rows were freed.
    pub(super) rows: usize,
    /// The numbers of those that never had a partner, if that is asked; their columns can be gathered until [`SideRows::settle`].
    pub(super) unmatched: Vec<u32>,
}

/// Stored rows, by hash and by time.
#[derive(Debug)]
pub(super) struct SideRows {
    schema: SchemaRef,
    heads: Heads,
    /// What stands first in the heads for rows that are looked up together.
    ahead: Vec<Head>,
    /// The oldest first.
    pages: VecDeque<Page>,
    /// The lowest time of each page, [`NEVER`] where there is none.
    lows: VecDeque<i64>,
    /// How many pages are gone: pages are counted by when they came.
    gone: u64,
    /// Rows of pages that are gone since the table of heads was made anew.
    gone_since_rebuilt: usize,
    /// How many pages of those that are stored were looked at for what `expire` frees.
    looked_at: usize,
    live: usize,
    /// Rows that are dead and in pages with columns.
    dead: usize,
    /// Rows in pages without columns.
    hollow: usize,
    bytes: usize,
    /// The serial of the next new row.
    next_serial: u64,
    /// The serial from which on no snapshot holds a row.
    unsaved_from: u64,
    /// Pages with rows that no snapshot holds as they are.
    unsaved: BTreeSet<u64>,
    /// Rows that a snapshot holds and that were removed since.
    removed: Vec<ChangedRow>,
    /// What came back without the rows it is about: these are gone, or in snapshots that did not come back.
    strays: Vec<ChangedRow>,
}

impl SideRows {
    pub(super) fn new(schema: SchemaRef) -> Self {
        Self {
            schema,
            heads: Heads::default(),
            ahead: Vec::new(),
            pages: VecDeque::new(),
            lows: VecDeque::new(),
            gone: 0,
            gone_since_rebuilt: 0,
            looked_at: 0,
            live: 0,
            dead: 0,
            hollow: 0,
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
        self.bytes + self.heads.bytes() + changed * size_of::<ChangedRow>()
    }

    /// Stores rows.
    ///
    /// # Errors
    /// When there would be more than a billion.
    pub(super) fn add(&mut self, new: &NewRows<'_>) -> Result<()> {
        let mut done = 0;
        while done < new.hashes.len() {
            let rows = self.room_for(new.hashes.len() - done)?;
            self.append(new, done, rows)?;
            done += rows;
        }
        Ok(())
    }

    /// How many of so many new rows the last page takes now. It is closed early if that saves cutting a batch.
    fn room_for(&mut self, rows: usize) -> Result<usize> {
        let room = self.pages.back().map_or(0, |page| if page.is_hollow() { 0 } else { PAGE_ROWS - page.rows() });
        if room >= rows || (room > 0 && rows > PAGE_ROWS / 2) {
            return Ok(room.min(rows));
        }
        if self.pages.len() == MOST_PAGES {
            return Err(Error::state(
                "a side of a join holds over a billion rows in one instance; bound it by a watermark and a range condition, or \
                 raise the parallelism",
            ));
        }
        self.pages.push_back(Page::default());
        self.lows.push_back(NEVER);
        Ok(rows.min(PAGE_ROWS))
    }

    /// Stores `rows` rows of `new`, from `first` on, in the last page, which has room for them.
    fn append(&mut self, new: &NewRows<'_>, first: usize, rows: usize) -> Result<()> {
        let number_of_page = self.gone + self.pages.len() as u64 - 1;
        let Some(page) = self.pages.back_mut() else { return Err(lost()) };
        let (before, begin) = (page.bytes(), page.rows());
        page.append(new.records.slice(first, rows))?;
        let range = first..first + rows;
        let serial = |row: usize| new.serials.get(row).copied().unwrap_or(self.next_serial + (row - first) as u64);
        let is_changed = |row: usize| new.changed.get(row) == Some(&true);
        for (place, row) in (begin..).zip(range.clone()) {
            page.serials.push(place, serial(row));
            let matched = if new.matched.get(row) == Some(&true) { mark::MATCHED } else { 0 };
            page.links.push(Link { hash: new.hashes[row], older: NO_ROW, marks: mark::LIVE | matched });
            if is_changed(row) {
                page.note_changed(place);
            }
        }
        if range.clone().any(|row| is_changed(row) || serial(row) >= self.unsaved_from) {
            self.unsaved.insert(number_of_page);
        }
        if new.serials.is_empty() {
            self.next_serial += rows as u64;
        }
        if !new.times.is_empty() {
            page.times.extend_from_slice(&new.times[range.clone()]);
            if let (Some(low), Some(lowest)) = (self.lows.back_mut(), new.times[range.clone()].iter().min()) {
                *low = *lowest.min(low);
            }
        }
        page.live += rows;
        self.live += rows;
        self.bytes = self.bytes + page.bytes() - before;
        self.link(begin, new.can_match, range);
        Ok(())
    }

    /// Puts rows of the last page, from the place `begin` on, in front of their chains.
    fn link(&mut self, begin: usize, can_match: Option<&NullBuffer>, rows: Range<usize>) {
        let (circle, newest) = (self.circle(), self.gone + self.pages.len() as u64 - 1);
        let Self { heads, ahead, pages, .. } = self;
        for first in rows.clone().step_by(AHEAD) {
            let chunk = first..rows.end.min(first + AHEAD);
            let places = begin + chunk.start - rows.start..begin + chunk.end - rows.start;
            let Some(page) = pages.back_mut() else { return };
            look_ahead(heads, page.links[places.clone()].iter().map(|link| link.hash), ahead);
            // What was read may have changed by its turn: all that is wanted is that it is in the cache.
            std::hint::black_box(&mut *ahead);
            for (place, row) in places.zip(chunk) {
                if can_match.is_some_and(|valid| valid.is_null(row)) {
                    continue;
                }
                if !heads.has_room() {
                    heads.rebuild(|row| circle.place(row).is_none());
                }
                let link = &mut page.links[place];
                let older = heads.replace(link.hash, row_number(newest, place));
                link.older = if older != NO_ROW && circle.place(older).is_some() { older } else { NO_ROW };
                link.marks |= mark::LINKED;
            }
        }
    }

    /// The first row that is live for each of these hashes, or [`NO_ROW`]: as [`first`](Chains::first), for many at once.
    pub(super) fn look_up(&self, hashes: &[u64]) -> Vec<u32> {
        let mut ahead = Vec::with_capacity(AHEAD.min(hashes.len()));
        let mut found = Vec::with_capacity(hashes.len());
        for hashes in hashes.chunks(AHEAD) {
            look_ahead(&self.heads, hashes.iter().copied(), &mut ahead);
            found.extend(hashes.iter().zip(&ahead).map(|(hash, head)| match head.row {
                NO_ROW => NO_ROW,
                row if head.hash == *hash => self.live_from(row),
                _ => self.first(*hash),
            }));
        }
        found
    }

    /// Which numbers are those of pages that are stored.
    fn circle(&self) -> Circle {
        Circle { first: page_number(self.gone), pages: self.pages.len() }
    }

    /// The page of a row, and the row's place in it; `None` if it is gone.
    fn find(&self, row: u32) -> Option<(&Page, usize)> {
        let page = &self.pages[self.circle().place(row)?];
        Some((page, row as usize % PAGE_ROWS))
    }

    /// A row that is stored.
    fn at(&self, row: u32) -> (&Page, usize) {
        self.find(row).expect("only stored rows are handed out")
    }

    fn at_mut(&mut self, row: u32) -> (&mut Page, usize) {
        let place = self.circle().place(row).expect("only stored rows are handed out");
        (&mut self.pages[place], row as usize % PAGE_ROWS)
    }

    /// When the page of a stored row came.
    fn page_of(&self, row: u32) -> u64 {
        self.gone + self.circle().place(row).unwrap_or(0) as u64
    }

    /// The page that came as this one, if it is stored.
    fn page_mut(&mut self, page: u64) -> Option<&mut Page> {
        self.pages.get_mut(usize::try_from(page.checked_sub(self.gone)?).ok()?)
    }

    /// The first row of a chain, from `row` on, that is live.
    fn live_from(&self, mut row: u32) -> u32 {
        while row != NO_ROW {
            let Some((page, place)) = self.find(row) else { return NO_ROW };
            let link = &page.links[place];
            if link.has(mark::LIVE) {
                return row;
            }
            row = link.older;
        }
        NO_ROW
    }

    pub(super) fn is_matched(&self, row: u32) -> bool {
        let (page, place) = self.at(row);
        page.links[place].has(mark::MATCHED)
    }

    /// Marks a row as matched, and tells whether it was before.
    pub(super) fn mark_matched(&mut self, row: u32) -> bool {
        let unsaved_from = self.unsaved_from;
        let (page, place) = self.at_mut(row);
        if page.links[place].has(mark::MATCHED) {
            return true;
        }
        page.links[place].marks |= mark::MATCHED;
        if unsaved_from > 0 && page.serial(place) < unsaved_from {
            let (before, is_first) = (page.bytes(), !page.has_changed());
            page.note_changed(place);
            self.bytes += self.at(row).0.bytes() - before;
            if is_first {
                self.unsaved.insert(self.page_of(row));
            }
        }
        false
    }

    /// Frees these rows, each named once.
    ///
    /// # Errors
    /// When rows that have to move cannot be put together.
    pub(super) fn remove(&mut self, rows: &[u32]) -> Result<()> {
        let (mut pages, mut hashes) = (BTreeSet::new(), Vec::with_capacity(rows.len()));
        for row in rows {
            let unsaved_from = self.unsaved_from;
            let (page, place) = self.at_mut(*row);
            page.links[place].marks &= !mark::LIVE;
            page.live -= 1;
            let removed = page.change(place, Change::Removed);
            if removed.serial < unsaved_from {
                self.removed.push(removed);
            }
            hashes.push(removed.hash);
            pages.insert(self.page_of(*row));
        }
        self.live -= rows.len();
        self.dead += rows.len();
        hashes.sort_unstable();
        hashes.dedup();
        for hash in hashes {
            self.shorten(hash);
        }
        pages.into_iter().try_for_each(|page| self.settle(page))
    }

    /// Takes dead rows out of the chain of a hash: those that died while their neighbours live would be passed by each probe.
    fn shorten(&mut self, hash: u64) {
        let first = self.first(hash);
        if first == NO_ROW {
            // All of it is dead: the newest stays in the table of heads, and ends the chain.
            let newest = self.heads.find(hash);
            if newest != NO_ROW && self.find(newest).is_some() {
                let (page, place) = self.at_mut(newest);
                page.links[place].older = NO_ROW;
            }
            return;
        }
        self.heads.replace(hash, first);
        let mut row = first;
        while row != NO_ROW {
            let next = self.next(row);
            let (page, place) = self.at_mut(row);
            page.links[place].older = next;
            row = next;
        }
    }

    /// Frees the rows of one page whose time is at or before `limit`; `None` when there are none in any.
    /// [`settle`](Self::settle) has to follow.
    pub(super) fn expire(&mut self, limit: i64, asks_unmatched: bool) -> Option<Expired> {
        let Some(index) = (self.looked_at..self.lows.len()).find(|page| is_reached(self.lows[*page], limit)) else {
            self.looked_at = 0;
            return None;
        };
        self.looked_at = index;
        let page = &mut self.pages[index];
        let mut places = Vec::new();
        let rows = page.expire(limit, asks_unmatched.then_some(&mut places));
        self.lows[index] = page.low();
        self.live -= rows;
        self.dead += rows;
        let page = self.gone + index as u64;
        let unmatched = places.into_iter().map(|place| row_number(page, place)).collect();
        Some(Expired { page, rows, unmatched })
    }

    /// Gives back the memory of what was freed in a page.
    ///
    /// # Errors
    /// When rows that have to move cannot be put together.
    pub(super) fn settle(&mut self, page: u64) -> Result<()> {
        if let Some(page) = self.page_mut(page)
            && page.live == 0
            && !page.is_hollow()
        {
            let (before, rows) = (page.bytes(), page.rows());
            page.hollow();
            let freed = before - page.bytes();
            self.bytes -= freed;
            self.dead -= rows;
            self.hollow += rows;
        }
        while self.has_waste() {
            self.drop_oldest()?;
        }
        self.shrink_heads();
        Ok(())
    }

    /// Whether the oldest page should go.
    fn has_waste(&self) -> bool {
        let Some(oldest) = self.pages.front() else { return false };
        let is_mostly_dead = oldest.dead() > WORTH_MOVING && oldest.dead() > oldest.live;
        // A link is a small part of a row.
        let wasted = self.dead + self.hollow / 4;
        oldest.live == 0 || is_mostly_dead || wasted > self.live + 2 * PAGE_ROWS
    }

    /// Drops the oldest page; its rows that are still live become the newest.
    fn drop_oldest(&mut self) -> Result<()> {
        match self.pop_oldest() {
            Some(page) if page.live > 0 => self.move_rows(&page),
            _ => Ok(()),
        }
    }

    fn pop_oldest(&mut self) -> Option<Page> {
        let page = self.pages.pop_front()?;
        self.lows.pop_front();
        self.unsaved.remove(&self.gone);
        self.gone += 1;
        self.gone_since_rebuilt += page.rows();
        self.looked_at = self.looked_at.saturating_sub(1);
        self.bytes -= page.bytes();
        self.live -= page.live;
        let dead = if page.is_hollow() { &mut self.hollow } else { &mut self.dead };
        *dead -= page.dead();
        if self.gone.is_multiple_of(PAGES_A_ROUND) {
            self.rebuild_heads();
        }
        Some(page)
    }

    /// Stores the live rows of a page that is gone.
    fn move_rows(&mut self, page: &Page) -> Result<()> {
        let places = page.live_places();
        let has = |bit: u8| places.iter().map(move |place| page.links[*place].has(bit));
        let hashes: Vec<u64> = places.iter().map(|place| page.links[*place].hash).collect();
        let times: Vec<i64> =
            if page.times.is_empty() { Vec::new() } else { places.iter().map(|place| page.times[*place]).collect() };
        let can_match: NullBuffer = has(mark::LINKED).collect();
        let matched: Vec<bool> = has(mark::MATCHED).collect();
        let serials: Vec<u64> = places.iter().map(|place| page.serial(*place)).collect();
        let changed: Vec<bool> = has(mark::CHANGED).collect();
        let moved = NewRows {
            hashes: &hashes,
            times: &times,
            can_match: Some(&can_match),
            matched: &matched,
            records: &page.records(&places)?,
            serials: &serials,
            changed: &changed,
        };
        self.add(&moved)
    }

    /// Takes the rows of the oldest page away, all of which a snapshot holds as they are; `None` if there is none.
    ///
    /// # Errors
    /// When they cannot be put together.
    pub(super) fn take_oldest(&mut self) -> Result<Option<RestoredRows>> {
        let Some(page) = self.pop_oldest() else { return Ok(None) };
        self.shrink_heads();
        let places = page.live_places();
        Ok(Some(RestoredRows {
            records: if places.is_empty() {
                RecordBatch::new_empty(self.schema.clone())
            } else {
                page.records(&places)?
            },
            hashes: places.iter().map(|place| page.links[*place].hash).collect(),
            serials: places.iter().map(|place| page.serial(*place)).collect(),
            matched: places.iter().map(|place| page.links[*place].has(mark::MATCHED)).collect(),
        }))
    }

    fn rebuild_heads(&mut self) {
        let circle = self.circle();
        self.heads.rebuild(|row| circle.place(row).is_none());
        self.gone_since_rebuilt = 0;
    }

    /// Only rows that are gone since the table was made anew can make it smaller.
    fn shrink_heads(&mut self) {
        let is_large = self.heads.capacity() > PAGE_ROWS && self.live < self.heads.capacity() / 8;
        if is_large && self.gone_since_rebuilt >= self.heads.used() / 2 {
            self.rebuild_heads();
        }
    }

    /// From now on no snapshot holds any row.
    pub(super) fn save_all(&mut self) {
        self.unsaved_from = 0;
        self.unsaved = (self.gone..self.gone + self.pages.len() as u64).collect();
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
        let mut freed = 0;
        for number in std::mem::take(&mut self.unsaved) {
            let Some(page) = self.page_mut(number).filter(|page| !page.is_hollow()) else { continue };
            let before = page.bytes();
            for place in page.take_changed().into_iter().map(usize::from) {
                if page.is_live(place) && page.serial(place) < unsaved_from {
                    changes.changed.push(page.change(place, Change::Matched));
                }
            }
            let new = page.serials.since(unsaved_from, page.rows()).filter(|place| page.is_live(*place));
            changes.new.extend(new.map(|place| row_number(number, place)));
            freed += before - page.bytes();
        }
        self.bytes -= freed;
        changes
    }

    /// The serial of the next new row.
    pub(super) fn next_serial(&self) -> u64 {
        self.next_serial
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
        while let Some(expired) = self.expire(limit, false) {
            self.settle(expired.page)?;
        }
        Ok(())
    }

    /// The hash and the serial of a row, and whether it had a partner.
    pub(super) fn identity(&self, row: u32) -> (u64, u64, bool) {
        let (page, place) = self.at(row);
        let link = &page.links[place];
        (link.hash, page.serial(place), link.has(mark::MATCHED))
    }

    /// All columns of these rows. Rows that follow each other, as those of a page do, are copied together or not at all.
    ///
    /// # Errors
    /// When Arrow refuses a column: over 2 GiB in one array.
    pub(super) fn records(&self, rows: &[u32]) -> Result<RecordBatch> {
        if let Some(slices) = self.slices(rows) {
            return Ok(match slices.as_slice() {
                [one] => one.clone(),
                slices => concat_batches(&self.schema, slices)?,
            });
        }
        let places = self.places(rows);
        let columns = (0..self.schema.fields().len()).map(|column| self.gather(column, &places));
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        Ok(RecordBatch::try_new_with_options(self.schema.clone(), columns.collect::<Result<Vec<_>>>()?, &options)?)
    }

    /// The rows as a few slices of pieces, if they are.
    fn slices(&self, rows: &[u32]) -> Option<Vec<RecordBatch>> {
        let mut slices = Vec::new();
        let mut done = 0;
        while done < rows.len() {
            let (page, place) = self.at(rows[done]);
            let (piece, begin) = page.locate(place);
            let piece = &page.pieces[piece];
            let follows = |(row, offset): (&u32, u32)| rows[done].checked_add(offset) == Some(*row);
            let same_piece = rows[done..].iter().take(piece.num_rows() - begin);
            let length = same_piece.zip(0..).take_while(|row| follows(*row)).count();
            slices.push(piece.slice(begin, length));
            done += length;
            if slices.len() > FEW_PIECES {
                return None;
            }
        }
        (!slices.is_empty()).then_some(slices)
    }
}

/// The numbers of the pages that are stored.
#[derive(Debug, Clone, Copy)]
struct Circle {
    first: u32,
    pages: usize,
}

impl Circle {
    /// Which of the stored pages a row is in, from the oldest on; `None` if its page is gone.
    fn place(self, row: u32) -> Option<usize> {
        let number = row >> PAGE_BITS;
        let place = if number >= self.first { number - self.first } else { number + CIRCLE - self.first } as usize;
        (place < self.pages).then_some(place)
    }
}

/// Puts what stands first for each hash into `ahead`: loads that do not depend on each other.
fn look_ahead(heads: &Heads, hashes: impl Iterator<Item = u64>, ahead: &mut Vec<Head>) {
    ahead.clear();
    ahead.extend(hashes.map(|hash| heads.first_entry(hash)));
}

/// A side whose first rows were [looked up](SideRows::look_up) for a batch.
#[derive(Debug)]
pub(super) struct LookedUp<'a> {
    pub(super) rows: &'a SideRows,
    pub(super) firsts: &'a [u32],
}

impl Chains for LookedUp<'_> {
    fn first(&self, hash: u64) -> u32 {
        self.rows.first(hash)
    }

    fn first_of(&self, probing: usize, _: u64) -> u32 {
        self.firsts[probing]
    }

    fn next(&self, row: u32) -> u32 {
        self.rows.next(row)
    }
}

impl Chains for SideRows {
    fn first(&self, hash: u64) -> u32 {
        self.live_from(self.heads.find(hash))
    }

    fn next(&self, row: u32) -> u32 {
        let (page, place) = self.at(row);
        self.live_from(page.links[place].older)
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
        let circle = self.circle();
        let of = |row: &u32| {
            let number = circle.place(*row).expect("only stored rows are handed out");
            let page = &self.pages[number];
            if first_pieces[number] == usize::MAX {
                first_pieces[number] = pieces.len();
                pieces.extend((0..page.pieces.len()).map(|piece| (number, piece)));
            }
            let (piece, place) = page.locate(*row as usize % PAGE_ROWS);
            (first_pieces[number] + piece, place)
        };
        let rows = rows.iter().map(of).collect();
        Places { pieces, rows }
    }

    fn gather(&self, column: usize, places: &Places) -> Result<ArrayRef> {
        let piece = |(page, piece): &(usize, usize)| self.pages[*page].pieces[*piece].column(column).as_ref();
        let pieces: Vec<&dyn Array> = places.pieces.iter().map(piece).collect();
        if pieces.is_empty() {
            return Ok(new_empty_array(self.schema.field(column).data_type()));
        }
        Ok(interleave(&pieces, &places.rows)?)
    }
}

fn lost() -> Error {
    Error::internal("a page of a join's rows is gone")
}

/// The number by which rows name a page.
fn page_number(page: u64) -> u32 {
    u32::try_from(page % u64::from(CIRCLE)).unwrap_or(0)
}

fn row_number(page: u64, place: usize) -> u32 {
    (page_number(page) << PAGE_BITS) | u32::try_from(place).unwrap_or(0)
}
