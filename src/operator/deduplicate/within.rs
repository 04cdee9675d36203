//! Deduplication among rows that come near each other in event time.
//!
//! Owns: when keys are added, expire, are saved and let go. Does not own: how they are kept (`expiring`).

use std::time::Duration;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{SchemaRef, TimestampMicrosecondType};

use super::columns::Columns;
use super::expiring::Expiring;
use super::parts::{self, Parts};
use super::{Changes, micros};
use crate::error::{Error, Result};
use crate::operator::window::Micros;
use crate::operator::{
    Barrier, Batch, EpochTime, Flow, Operator, OperatorContext, OperatorStats, Output, StateBudget, StateDelta,
    StatePart, Watermark,
};
use crate::state::KeyTable;

/// Passes a row, at once and unchanged, unless one with its key came shortly before; then it drops it.
///
/// | input              | output                                | state                                     | late rows |
/// |--------------------|---------------------------------------|-------------------------------------------|-----------|
/// | rows with a        | the first row of each key, and again  | the key columns of each key and when it   | dropped   |
/// | TIMESTAMP or window | once the key has expired, in order    | expires                                   |           |
///
/// A key expires when the watermark reaches the event time of its first row and a delay; duplicates do not put that
/// off. A window's time is its end. A null time counts as 1970-01-01T00:00:00Z here, and is never late, as in Spark.
#[derive(Debug)]
pub struct DeduplicateWithin {
    columns: Columns,
    event_time: usize,
    /// In microseconds.
    delay: i64,
    watermark: Option<Watermark>,
    seen: Option<Seen>,
    /// Whether state came back of which some may have expired.
    is_restored: bool,
    changes: Changes,
    hashes: Vec<u64>,
}

#[derive(Debug)]
struct Seen {
    keys: Expiring,
    schema: SchemaRef,
}

impl DeduplicateWithin {
    /// Rows are equal if they are in the columns `keys` of the input, and the watermark has not yet come `delay`
    /// beyond the time of the first in the column `event_time`.
    pub fn new(keys: Vec<usize>, event_time: usize, delay: Duration) -> Self {
        let columns = Columns::new(keys, Some(event_time));
        Self::over(columns, event_time, i64::try_from(delay.as_micros()).unwrap_or(i64::MAX))
    }

    fn over(columns: Columns, event_time: usize, delay: i64) -> Self {
        Self {
            columns,
            event_time,
            delay,
            watermark: None,
            seen: None,
            is_restored: false,
            changes: Changes::default(),
            hashes: Vec::new(),
        }
    }

    /// Hashes that come with rows are taken for those of the key columns: an exchange by exactly these, in this
    /// order, is the input.
    #[must_use]
    pub fn with_exchanged_keys(mut self) -> Self {
        self.columns.has_exchanged_keys = true;
        self
    }

    fn seen(&mut self) -> Result<&mut Seen> {
        self.seen.as_mut().ok_or_else(|| Error::internal("a deduplication was used before it was opened"))
    }

    fn free(&mut self, watermark_ms: i64) -> Result<u64> {
        self.seen()?.keys.free(micros(watermark_ms))
    }
}

/// A clone is a new instance: it has seen nothing.
impl Clone for DeduplicateWithin {
    fn clone(&self) -> Self {
        Self::over(self.columns.clone(), self.event_time, self.delay)
    }
}

impl Operator for DeduplicateWithin {
    fn output_schema(&self, inputs: &[SchemaRef]) -> Result<SchemaRef> {
        self.columns.check(inputs).cloned()
    }

    fn describe(&self) -> String {
        format!("by {} within {} of the first", self.columns.key_names(), Micros(self.delay))
    }

    fn open(&mut self, context: &OperatorContext) -> Result<()> {
        let input = self.columns.check(&context.inputs)?;
        let fields = self.columns.key_fields(input);
        let keys = Expiring::new(KeyTable::new(&fields)?);
        self.seen = Some(Seen { keys, schema: parts::expiry_schema(&fields) });
        Ok(())
    }

    fn on_watermark(&mut self, time: EpochTime, _: &mut Output) -> Result<Option<Watermark>> {
        self.watermark = time.here;
        // What the epochs before this one freed is in no snapshot as such, but it is what rows are judged late by now.
        if let Some(watermark) = self.watermark
            && std::mem::take(&mut self.is_restored)
        {
            self.free(watermark.late_ms)?;
        }
        Ok(time.here)
    }

    fn on_batch(&mut self, _: usize, batch: Batch, output: &mut Output) -> Result<Flow> {
        let arrivals = self.columns.arrive(batch, self.watermark, output)?;
        let times = arrivals.times.as_ref().ok_or_else(|| Error::internal("rows without event time"))?;
        let delay = self.delay;
        let expiry = |row| if times.is_valid(row) { times.value(row).saturating_add(delay) } else { delay };
        let mut hashes = std::mem::take(&mut self.hashes);
        let new = self.seen()?.keys.insert(&arrivals.keys, arrivals.hashes(&mut hashes), expiry)?;
        self.hashes = hashes;
        self.changes.pass(arrivals.records, new, output)?;
        Ok(Flow::Done)
    }

    fn on_barrier(&mut self, _: &Barrier, _: &mut Output) -> Result<Flow> {
        if let Some(watermark) = self.watermark {
            self.changes.freed += self.free(watermark.evict_ms)?;
        }
        Ok(Flow::Done)
    }

    fn snapshot(&mut self) -> Result<Option<StateDelta>> {
        let seen = self.seen()?;
        let mut parts = Parts::new(seen.schema.clone());
        seen.keys.save(|table, groups, expiries| parts.add(table, groups, Some(expiries)))?;
        seen.keys.leave_memory()?;
        parts.finish().map(Some)
    }

    fn restore(&mut self, part: StatePart) -> Result<()> {
        let seen = self.seen()?;
        part.check("a deduplication", &seen.schema, "its keys")?;
        let (keys, expiries) = split(part.rows.columns())?;
        seen.keys.restore(keys, &part.hashes, expiries)?;
        self.is_restored = true;
        Ok(())
    }

    fn can_leave_memory(&self) -> bool {
        self.seen.as_ref().is_some_and(|seen| seen.keys.can_leave_memory())
    }

    fn limit_memory(&mut self, budget: StateBudget) -> Result<()> {
        self.seen()?.keys.limit_memory(budget);
        Ok(())
    }

    fn save_all(&mut self) -> bool {
        self.seen().is_ok_and(|seen| seen.keys.mark_unsaved())
    }

    fn state_identity(&self) -> Option<String> {
        Some(format!("deduplication within {} {}", Micros(self.delay), self.columns.identity()))
    }

    fn uses_watermark(&self) -> bool {
        true
    }

    /// The first row of a key decides.
    fn depends_on_order(&self) -> bool {
        true
    }

    fn dropped_columns(&self, inputs: &[SchemaRef]) -> Option<SchemaRef> {
        inputs.first().cloned()
    }

    fn take_stats(&mut self) -> OperatorStats {
        let keys = self.seen.as_ref().map(|seen| &seen.keys);
        let (rows, bytes) = keys.map_or((0, 0), |keys| (keys.len(), keys.bytes()));
        self.changes.take_stats(rows, bytes, keys.and_then(Expiring::outside))
    }
}

/// The key columns of state, and when each key expires.
fn split(columns: &[ArrayRef]) -> Result<(&[ArrayRef], &[i64])> {
    let split = columns.split_last();
    let split = split.and_then(|(last, keys)| Some((keys, last.as_primitive_opt::<TimestampMicrosecondType>()?)));
    let (keys, expiries) = split.ok_or_else(|| Error::state("the state of a deduplication has no expiries"))?;
    Ok((keys, expiries.values()))
}
