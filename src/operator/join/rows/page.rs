//! One page of a join's stored rows.
//!
//! Owns: the columns of its rows, and their links, marks, times and serials. Does not own: which rows have one hash, or when a
//! page goes.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::buffer::Buffer;
use arrow::compute::{concat_batches, interleave_record_batch};
use arrow::datatypes::DataType;
use arrow::record_batch::RecordBatch;

use super::super::pairs::NO_ROW;
use super::{Change, ChangedRow, NEVER};
use crate::error::Result;
use crate::operator::exchange::compacted;

/// How many rows a page can hold, as a power of two; few in tests, so that there are many pages.
pub(super) const PAGE_BITS: u32 = if cfg!(test) { 3 } else { 14 };
pub(super) const PAGE_ROWS: usize = 1 << PAGE_BITS;

/// Pieces of so many rows stay as they came; smaller ones are merged.
const WORTH_KEEPING: usize = if cfg!(test) { 4 } else { 1024 };

/// What is known of a stored row, in bits.
pub(super) mod mark {
    pub(in super::super) const LIVE: u8 = 1;
    pub(in super::super) const LINKED: u8 = 2;
    pub(in super::super) const MATCHED: u8 = 4;
    /// A snapshot holds the row, but not that it is matched.
    pub(in super::super) const CHANGED: u8 = 8;
}

/// What is looked at of a row while a chain is followed, in one cache line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Link {
    pub(super) hash: u64,
    /// The next older row with this hash.
    pub(super) older: u32,
    pub(super) marks: u8,
}

impl Link {
    pub(super) fn has(&self, bit: u8) -> bool {
        self.marks & bit != 0
    }
}

/// The serials of the rows of a page, by runs of rows whose serials follow each other.
#[derive(Debug, Default)]
pub(super) struct Serials {
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

    /// Notes the serial of the row at `place`, which comes behind all others.
    pub(super) fn push(&mut self, place: usize, serial: u64) {
        let follows = self.places.len().checked_sub(1).is_some_and(|last| self.after(last, place) == serial);
        if !follows {
            self.places.extend(u16::try_from(place));
            self.firsts.push(serial);
        }
    }

    /// The places of those among so many rows whose serial is `first` or above.
    pub(super) fn since(&self, first: u64, rows: usize) -> impl Iterator<Item = usize> + '_ {
        let begins = self.places.iter().map(|begin| usize::from(*begin));
        let ends = begins.clone().skip(1).chain([rows]);
        self.firsts.iter().zip(begins.zip(ends)).flat_map(move |(serial, (begin, end))| {
            let skipped = usize::try_from(first.saturating_sub(*serial)).unwrap_or(usize::MAX);
            begin.saturating_add(skipped)..end
        })
    }

    #[cfg(test)]
    pub(super) fn runs(&self) -> usize {
        self.firsts.len()
    }

    fn bytes(&self) -> usize {
        self.places.capacity() * size_of::<u16>() + self.firsts.capacity() * size_of::<u64>()
    }
}

#[derive(Debug, Default)]
pub(super) struct Page {
    /// Columns of the rows; none in a page all of whose rows are dead.
    pub(super) pieces: Vec<RecordBatch>,
    /// The place of each piece's first row.
    begins: Vec<u32>,
    pub(super) links: Vec<Link>,
    /// In microseconds; empty if rows are never freed.
    pub(super) times: Vec<i64>,
    pub(super) serials: Serials,
    /// The places of rows marked as [`mark::CHANGED`]; some may be dead.
    changed: Vec<u16>,
    pub(super) live: usize,
    bytes: usize,
}

impl Page {
    /// Rows, live or dead.
    pub(super) fn rows(&self) -> usize {
        self.links.len()
    }

    pub(super) fn dead(&self) -> usize {
        self.rows() - self.live
    }

    pub(super) fn serial(&self, place: usize) -> u64 {
        self.serials.of(place)
    }

    pub(super) fn is_live(&self, place: usize) -> bool {
        self.links[place].has(mark::LIVE)
    }

    pub(super) fn time(&self, place: usize) -> i64 {
        self.times.get(place).copied().unwrap_or(NEVER)
    }

    /// The places of rows that are live.
    pub(super) fn live_places(&self) -> Vec<usize> {
        (0..self.rows()).filter(|place| self.is_live(*place)).collect()
    }

    /// Notes that a row is matched and a snapshot holds it as it was.
    pub(super) fn note_changed(&mut self, place: usize) {
        self.links[place].marks |= mark::CHANGED;
        self.changed.extend(u16::try_from(place));
    }

    /// Whether rows were noted since [`take_changed`](Self::take_changed).
    pub(super) fn has_changed(&self) -> bool {
        !self.changed.is_empty()
    }

    /// The places noted, which are forgotten.
    pub(super) fn take_changed(&mut self) -> Vec<u16> {
        let changed = std::mem::take(&mut self.changed);
        for place in &changed {
            self.links[usize::from(*place)].marks &= !mark::CHANGED;
        }
        changed
    }

    /// What a snapshot has to say of a row that it holds.
    pub(super) fn change(&self, place: usize, what: Change) -> ChangedRow {
        ChangedRow { hash: self.links[place].hash, serial: self.serial(place), time: self.time(place), what }
    }

    /// Puts the columns of new rows behind the others. Small pieces are merged with those before them, so that there are few.
    pub(super) fn append(&mut self, piece: RecordBatch) -> Result<()> {
        self.begins.push(number(self.rows()));
        self.pieces.push(piece);
        let mut is_new = true;
        while let [.., older, newer] = self.pieces.as_slice()
            && older.num_rows() < WORTH_KEEPING
            && older.num_rows() <= newer.num_rows()
        {
            let merged = concat_batches(&older.schema(), [older, newer])?;
            self.pieces.truncate(self.pieces.len() - 2);
            self.begins.pop();
            self.pieces.push(merged);
            is_new = false;
        }
        if let Some(last) = self.pieces.last_mut()
            && (last.num_rows() >= WORTH_KEEPING || !is_new)
        {
            *last = compacted(last)?;
        }
        self.bytes = self.pieces.iter().map(bytes_of).sum::<Result<usize>>()?;
        Ok(())
    }

    /// Marks the rows at or before `limit` as dead, adds the places of those without a partner to `unmatched`, and tells how many
    /// there are.
    pub(super) fn expire(&mut self, limit: i64, mut unmatched: Option<&mut Vec<usize>>) -> usize {
        let mut expired = 0;
        for (place, (time, link)) in self.times.iter().zip(&mut self.links).enumerate() {
            if super::is_reached(*time, limit) && link.has(mark::LIVE) {
                link.marks &= !mark::LIVE;
                expired += 1;
                if let Some(unmatched) = &mut unmatched
                    && !link.has(mark::MATCHED)
                {
                    unmatched.push(place);
                }
            }
        }
        self.live -= expired;
        expired
    }

    /// The lowest time of a row that is live.
    pub(super) fn low(&self) -> i64 {
        let live = self.times.iter().zip(&self.links).filter(|(_, link)| link.has(mark::LIVE));
        live.map(|(time, _)| *time).min().unwrap_or(NEVER)
    }

    /// All columns of the rows in these places.
    pub(super) fn records(&self, places: &[usize]) -> Result<RecordBatch> {
        let rows: Vec<_> = places.iter().map(|place| self.locate(*place)).collect();
        let pieces: Vec<_> = self.pieces.iter().collect();
        Ok(interleave_record_batch(&pieces, &rows)?)
    }

    /// Gives back what only live rows need. Links stay: chains lead through them.
    pub(super) fn hollow(&mut self) {
        *self = Self { links: std::mem::take(&mut self.links), ..Self::default() };
    }

    pub(super) fn is_hollow(&self) -> bool {
        self.begins.is_empty()
    }

    /// The piece that holds a row, and the row's place in it.
    pub(super) fn locate(&self, row: usize) -> (usize, usize) {
        if let [_] = self.begins.as_slice() {
            return (0, row);
        }
        let piece = self.begins.partition_point(|begin| *begin as usize <= row) - 1;
        (piece, row - self.begins[piece] as usize)
    }

    pub(super) fn bytes(&self) -> usize {
        let serials = self.serials.bytes() + self.changed.capacity() * size_of::<u16>();
        let a_row = self.links.capacity() * size_of::<Link>() + self.times.capacity() * size_of::<i64>();
        self.bytes + a_row + serials
    }
}

/// What the rows of a piece take: pieces of one batch share its buffers, of which each has its part.
fn bytes_of(piece: &RecordBatch) -> Result<usize> {
    let text = |column: &ArrayRef| match column.data_type() {
        DataType::Utf8View => column.as_string_view().data_buffers().iter().map(Buffer::len).sum(),
        DataType::BinaryView => column.as_binary_view().data_buffers().iter().map(Buffer::len).sum(),
        _ => 0,
    };
    let columns = piece.columns().iter();
    columns.map(|column| Ok(column.to_data().get_slice_memory_size()? + text(column))).sum()
}

fn number(rows: usize) -> u32 {
    u32::try_from(rows).unwrap_or(NO_ROW)
}
