//! Deduplication of a stream: the first row of each key passes, the others are dropped.
//!
//! Owns: which keys were seen and how long that is remembered. Does not own: that all rows of a key come to one
//! instance (`exchange`), or which columns make the key (`plan`).
//!
//! | operator              | a key is forgotten                                                        |
//! |-----------------------|---------------------------------------------------------------------------|
//! | [`Deduplicate`]       | when its event time is final, if that is one of its columns; else never   |
//! | [`DeduplicateWithin`] | when the watermark has come to the event time of its first row and a delay |
//!
//! Keys are equal as [`KeyTable`](crate::state::KeyTable) has it: nulls to each other, -0.0 to 0.0, every NaN to
//! every other.
//!
//! Both drop late rows first, because the keys of these may be forgotten already. Keys are forgotten at barriers
//! only: within an epoch the first arrival decides. Rows are judged late by what the epoch before forgot by, so a key
//! that is final and still in memory can never be met by a row; only its count has to be right at once.
//!
//! With a budget, keys leave memory behind a snapshot that has them all, those that will be forgotten first before others, until half of the
//! budget is free. They are looked up outside once a batch, for the keys that are new in memory. Reading writes nothing there, because a
//! row whose key was seen changes nothing of it: a key that is kept for ever, or as long as the time it holds, has no value, and one that
//! expires does so by its first row, whatever comes later. So a key found outside stays there as it is, the copy in memory is equal to it
//! until both are forgotten, and copies are let go without a word.

mod by_key;
mod cold;
mod columns;
mod expiring;
mod parts;
mod slots;
#[cfg(test)]
mod tests;
mod within;

use arrow::array::{BooleanArray, BooleanBufferBuilder};
use arrow::buffer::BooleanBuffer;
use arrow::compute::filter_record_batch;
use arrow::record_batch::RecordBatch;

use super::{Balance, OperatorStats, Output, reason};
use crate::error::Result;

pub use by_key::Deduplicate;
pub use within::DeduplicateWithin;

/// Keys added and freed since statistics were taken.
#[derive(Debug, Clone, Copy, Default)]
struct Changes {
    added: u64,
    freed: u64,
}

impl Changes {
    /// Sends the rows of `records` that are new and counts the others as duplicates.
    fn pass(&mut self, records: RecordBatch, new: BooleanBuffer, output: &mut Output) -> Result<()> {
        let (rows, passed) = (records.num_rows(), new.count_set_bits());
        output.count_dropped(reason::DUPLICATE, (rows - passed) as u64);
        self.added += passed as u64;
        if passed == rows {
            output.batch(records);
        } else if passed > 0 {
            output.batch(filter_record_batch(&records, &BooleanArray::new(new, None))?);
        }
        Ok(())
    }

    fn take_stats(&mut self, keys: u64, bytes: usize, outside: Option<u64>) -> OperatorStats {
        let Self { added, freed } = std::mem::take(self);
        OperatorStats {
            state_rows: Some(keys),
            state_bytes: bytes as u64,
            rows_outside: outside,
            updated_rows: added,
            removed_rows: freed,
            drops_duplicates: true,
            balance: Some(Balance::default()),
            ..OperatorStats::default()
        }
    }
}

/// The rows whose bit is set but for those that are `gone`.
fn without(rows: &BooleanBuffer, gone: impl Iterator<Item = usize>) -> BooleanBuffer {
    let mut left = BooleanBufferBuilder::new(rows.len());
    left.append_buffer(rows);
    gone.for_each(|row| left.set_bit(row, false));
    left.finish()
}

/// The last microsecond of the span of `width` microseconds that holds `time`.
fn span_end(time: i64, width: i64) -> i64 {
    time.div_euclid(width).saturating_mul(width).saturating_add(width - 1)
}

/// A watermark in microseconds.
fn micros(watermark_ms: i64) -> i64 {
    watermark_ms.saturating_mul(1000)
}

/// The number of a row of a batch, or of a key.
fn row_number(row: usize) -> u32 {
    u32::try_from(row).expect("a batch has under 2^32 rows, and a table under 2^32 keys")
}
