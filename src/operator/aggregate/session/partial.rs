//! The half of a session aggregation before the exchange: rows in, the sessions they make in an epoch out.
//!
//! Owns: the sessions of the running epoch, and when they are flushed. Does not own: which rows are late (`judge`),
//! sessions across epochs (`finalize`).

use arrow::datatypes::SchemaRef;

use super::judge::{SessionRows, judge};
use super::table::SessionTable;
use super::{partial_schema, session_fields};
use crate::error::{Error, Result};
use crate::operator::aggregate::AggregateSpec;
use crate::operator::aggregate::groups::{BATCH_ROWS, Running};
use crate::operator::aggregate::partial::{describe, one_input};
use crate::operator::{
    Balance, Barrier, Batch, EpochTime, Flow, Operator, OperatorContext, OperatorStats, Output, Watermark,
};

/// So many sessions are flushed without waiting for the barrier.
const FLUSH_SESSIONS: usize = 65_536;

/// After so many rows it is judged whether merging them before the exchange pays.
const TRIAL_ROWS: usize = 16_384;

/// Merges the rows of each epoch into sessions before they are exchanged by their other keys.
///
/// | input    | output                         | state             | late rows                     |
/// |----------|--------------------------------|-------------------|-------------------------------|
/// | any rows | other keys, start, end, then   | none: all is out  | dropped, by the row's own end |
/// |          | the state columns of each call | by the barrier    |                               |
///
/// Rows without a time or with a gap that is not positive are dropped as well. Output batches carry the hashes of the
/// other keys. Sessions of one key come out several times in an epoch that has very many; the other half merges them.
#[derive(Debug, Clone)]
pub struct PartialSessions {
    spec: AggregateSpec,
    place: usize,
    judges_late: bool,
    schema: SchemaRef,
    time: EpochTime,
    balance: Balance,
    running: Running<Pending>,
}

#[derive(Debug)]
struct Pending {
    table: SessionTable,
    /// Rows taken since the last flush.
    rows: usize,
    /// The sessions to put out, while a flush is under way, and how many of them are out.
    flushing: Vec<u32>,
    flushed: usize,
}

impl PartialSessions {
    /// The partial half of `spec`, whose key at index `place` is the session of a row. It judges rows by the watermark
    /// where sessions become final by it: their time is watermarked and the mode is not complete.
    pub fn new(spec: AggregateSpec, place: usize, judges_late: bool) -> Self {
        let schema = partial_schema(&spec, place);
        let (time, balance, running) = (EpochTime::default(), Balance::default(), Running::default());
        Self { spec, place, judges_late, schema, time, balance, running }
    }

    /// The columns between the halves: the other keys, `session_start#`, `session_end#`, then the states of each call.
    pub fn partial_schema(spec: &AggregateSpec, place: usize) -> SchemaRef {
        partial_schema(spec, place)
    }

    /// Which of these columns the halves are exchanged by: the other keys. Without any there can be one instance only.
    pub fn key_columns(spec: &AggregateSpec) -> Vec<usize> {
        (0..spec.keys.len().saturating_sub(1)).collect()
    }

    fn running(&mut self) -> Result<&mut Pending> {
        let (spec, place) = (&self.spec, self.place);
        self.running.get_or_make(|| {
            let table = SessionTable::new(spec, place)?;
            Ok(Pending { table, rows: 0, flushing: Vec::new(), flushed: 0 })
        })
    }

    fn judge(&self, batch: Batch, output: &mut Output) -> Result<SessionRows> {
        let key = self.spec.keys.get(self.place);
        let key = key.ok_or_else(|| Error::internal(format!("no key {} for sessions", self.place)))?;
        let sessions = key.evaluate(&batch.records, self.time)?;
        let late_ms = self.time.here.filter(|_| self.judges_late).map(|here| here.late_ms);
        judge(batch.records, &sessions, late_ms, output)
    }
}

impl Pending {
    fn is_due(&self) -> bool {
        let sessions = self.table.timelines.len();
        sessions >= FLUSH_SESSIONS || (self.rows >= TRIAL_ROWS && sessions * 5 > self.rows * 4)
    }

    fn begin_flush(&mut self) -> Result<()> {
        self.table.settle()?;
        self.table.timelines.by_key(&mut self.flushing);
        Ok(())
    }

    /// Puts out what is left to flush; the rows put out count as `made`.
    fn flush(&mut self, schema: &SchemaRef, output: &mut Output, made: &mut u64) -> Result<Flow> {
        while self.flushed < self.flushing.len() {
            if output.is_full() {
                return Ok(Flow::More);
            }
            let last = self.flushing.len().min(self.flushed + BATCH_ROWS);
            let slots = &self.flushing[self.flushed..last];
            let keys: Vec<u32> = slots.iter().map(|&slot| self.table.timelines.session(slot).key).collect();
            let (records, hashes) = self.table.states(&keys, slots, schema)?;
            *made += slots.len() as u64;
            self.flushed = last;
            output.hashed_batch(Batch { records, hashes: Some(hashes.into()) });
        }
        self.table.clear();
        self.flushing.clear();
        (self.rows, self.flushed) = (0, 0);
        Ok(Flow::Done)
    }
}

impl Operator for PartialSessions {
    fn output_schema(&self, inputs: &[SchemaRef]) -> Result<SchemaRef> {
        one_input(inputs)?;
        session_fields(&self.spec, self.place)?;
        Ok(self.schema.clone())
    }

    fn describe(&self) -> String {
        format!("partial sessions {}", describe(&self.spec))
    }

    fn open(&mut self, _: &OperatorContext) -> Result<()> {
        self.running().map(|_| ())
    }

    fn on_watermark(&mut self, time: EpochTime, _: &mut Output) -> Result<Option<Watermark>> {
        self.time = time;
        Ok(time.here)
    }

    fn on_batch(&mut self, _: usize, batch: Batch, output: &mut Output) -> Result<Flow> {
        let rows = self.judge(batch, output)?;
        let count = rows.records.num_rows();
        if count == 0 {
            return Ok(Flow::Done);
        }
        self.balance.absorbed += count as u64;
        let time = self.time;
        let pending = self.running()?;
        pending.table.update(&rows, time)?;
        pending.rows += count;
        if !pending.is_due() {
            return Ok(Flow::Done);
        }
        pending.begin_flush()?;
        self.resume(output)
    }

    fn resume(&mut self, output: &mut Output) -> Result<Flow> {
        let (schema, mut made) = (self.schema.clone(), 0);
        let flow = self.running()?.flush(&schema, output, &mut made)?;
        self.balance.made += made;
        Ok(flow)
    }

    fn on_barrier(&mut self, _: &Barrier, output: &mut Output) -> Result<Flow> {
        self.running()?.begin_flush()?;
        self.resume(output)
    }

    fn depends_on_order(&self) -> bool {
        self.spec.calls.iter().any(|call| call.factory.depends_on_order())
    }

    fn dropped_columns(&self, inputs: &[SchemaRef]) -> Option<SchemaRef> {
        inputs.first().cloned()
    }

    fn take_stats(&mut self) -> OperatorStats {
        OperatorStats { balance: Some(std::mem::take(&mut self.balance)), ..OperatorStats::default() }
    }
}
