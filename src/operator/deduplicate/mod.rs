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

mod by_key;
mod columns;
mod expiring;
mod parts;
mod slots;
#[cfg(test)]
mod tests;
mod within;

use arrow::array::BooleanArray;
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

    fn take_stats(&mut self, keys: usize, bytes: usize) -> OperatorStats {
        let Self { added, freed } = std::mem::take(self);
        OperatorStats {
            state_rows: Some(keys as u64),
            state_bytes: bytes as u64,
            updated_rows: added,
            removed_rows: freed,
            drops_duplicates: true,
            balance: Some(Balance::default()),
            ..OperatorStats::default()
        }
    }
}

/// The last microsecond of the span of `width` microseconds that holds `time`.
fn span_end(time: i64, width: i64) -> i64 {
    time.div_euclid(width).saturating_mul(width).saturating_add(width - 1)
}

/// A watermark in microseconds.
fn micros(watermark_ms: i64) -> i64 {
    watermark_ms.saturating_mul(1000)
}
