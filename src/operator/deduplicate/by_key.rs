//! Deduplication whose keys are forgotten with their event time, or never.
//!
//! Owns: when keys are added, freed, saved and let go. Does not own: how they are kept (`slots`).

use arrow::datatypes::{DataType, SchemaRef};

use super::columns::Columns;
use super::parts::{self, Parts};
use super::slots::{KeyTime, Slots};
use super::{Changes, micros};
use crate::error::{Error, Result};
use crate::operator::watermark::judged_times;
use crate::operator::{
    Barrier, Batch, EpochTime, Flow, Operator, OperatorContext, OperatorStats, Output, StateBudget, StateDelta,
    StatePart, Watermark,
};
use crate::state::KeyTable;

/// Passes the first row of each key, at once and unchanged, and drops the others.
///
/// | input    | output                              | state                                                  | late rows |
/// |----------|-------------------------------------|--------------------------------------------------------|-----------|
/// | any rows | the first row of each key, in order | the key columns of each key; freed when its event time | dropped   |
/// |          |                                     | is final, if that is one of them                       |           |
///
/// Keys whose event time is null are never freed.
#[derive(Debug)]
pub struct Deduplicate {
    columns: Columns,
    is_judging: bool,
    watermark: Option<Watermark>,
    seen: Option<Seen>,
    /// Whether state came back of which some may be final.
    is_restored: bool,
    changes: Changes,
    hashes: Vec<u64>,
}

#[derive(Debug)]
struct Seen {
    keys: Slots,
    schema: SchemaRef,
}

impl Deduplicate {
    /// Rows are equal if they are in these columns of the input. `event_time` is the input's event-time column if it
    /// has one, a TIMESTAMP or a window, whether or not it is among `keys`. Without `is_judging`, for complete mode,
    /// no row is late and no key is freed.
    pub fn new(keys: Vec<usize>, event_time: Option<usize>, is_judging: bool) -> Self {
        Self {
            columns: Columns::new(keys, event_time),
            is_judging,
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

    /// The place of the event time among the key columns, if keys are freed by it.
    fn time_key(&self) -> Option<usize> {
        let event_time = self.columns.event_time.filter(|_| self.is_judging)?;
        self.columns.keys.iter().position(|key| *key == event_time)
    }

    fn seen(&mut self) -> Result<&mut Seen> {
        self.seen.as_mut().ok_or_else(|| Error::internal("a deduplication was used before it was opened"))
    }

    fn free(&mut self, watermark_ms: i64) -> Result<u64> {
        self.seen()?.keys.free(micros(watermark_ms))
    }
}

/// A clone is a new instance: it has seen nothing.
impl Clone for Deduplicate {
    fn clone(&self) -> Self {
        let new = Self::new(Vec::new(), None, self.is_judging);
        Self { columns: self.columns.clone(), ..new }
    }
}

impl Operator for Deduplicate {
    fn output_schema(&self, inputs: &[SchemaRef]) -> Result<SchemaRef> {
        self.columns.check(inputs).cloned()
    }

    fn describe(&self) -> String {
        let keys = self.columns.key_names();
        match self.time_key() {
            Some(key) => format!("by {keys}; freed when {} is final", self.columns.name(self.columns.keys[key])),
            None => format!("by {keys}"),
        }
    }

    fn open(&mut self, context: &OperatorContext) -> Result<()> {
        let input = self.columns.check(&context.inputs)?;
        let fields = self.columns.key_fields(input);
        let key_time = self.time_key().map_or(KeyTime::None, |key| match fields[key].data_type() {
            DataType::Timestamp(..) => KeyTime::Instant,
            _ => KeyTime::WindowEnd,
        });
        let keys = Slots::new(KeyTable::new(&fields)?, key_time);
        self.seen = Some(Seen { keys, schema: parts::key_schema(&fields) });
        Ok(())
    }

    fn on_watermark(&mut self, time: EpochTime, _: &mut Output) -> Result<Option<Watermark>> {
        self.watermark = time.here.filter(|_| self.is_judging);
        // What the epochs before this one freed is in no snapshot as such, but it is what they judge rows late by now.
        if let Some(watermark) = self.watermark
            && std::mem::take(&mut self.is_restored)
        {
            self.free(watermark.late_ms)?;
        }
        Ok(time.here)
    }

    fn on_batch(&mut self, _: usize, batch: Batch, output: &mut Output) -> Result<Flow> {
        let arrivals = self.columns.arrive(batch, self.watermark, output)?;
        let mut hashes = std::mem::take(&mut self.hashes);
        let keys = &mut self.seen()?.keys;
        let new = keys.insert(&arrivals.keys, arrivals.hashes(&mut hashes), arrivals.times.as_ref())?;
        self.hashes = hashes;
        self.changes.pass(arrivals.records, new, output)?;
        Ok(Flow::Done)
    }

    fn on_barrier(&mut self, _: &Barrier, _: &mut Output) -> Result<Flow> {
        if let Some(watermark) = self.watermark {
            self.changes.freed += self.free(watermark.evict_ms)?;
        }
        self.seen()?.keys.end_epoch();
        Ok(Flow::Done)
    }

    fn snapshot(&mut self) -> Result<Option<StateDelta>> {
        let seen = self.seen()?;
        let mut parts = Parts::new(seen.schema.clone());
        seen.keys.save(|table, groups| parts.add(table, groups, None))?;
        seen.keys.leave_memory()?;
        parts.finish().map(Some)
    }

    fn restore(&mut self, part: StatePart) -> Result<()> {
        let time_key = self.time_key();
        let seen = self.seen()?;
        part.check("a deduplication", &seen.schema, "its keys")?;
        let times = time_key.map(|key| judged_times(part.rows.column(key))).transpose()?;
        seen.keys.restore(part.rows.columns(), &part.hashes, times.as_ref())?;
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
        let freed = if self.time_key().is_some() { ", freed when final" } else { "" };
        Some(format!("deduplication {}{freed}", self.columns.identity()))
    }

    fn uses_watermark(&self) -> bool {
        self.is_judging
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
        self.changes.take_stats(rows, bytes, keys.and_then(Slots::outside))
    }
}
