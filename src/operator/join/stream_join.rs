//! A join of two streams.
//!
//! Owns: which rows are dropped, stored, met and freed, and what is put out beside nulls. Does not own: pages and chains
//! (`rows`), judging pairs (`pairs`), the form in which rows are saved (`saved`), or what bounds the state (`plan`).
//!
//! Every pair is found once, by whichever of its rows comes last, so results do not depend on the order in which the sides
//! come. Rows are freed at barriers only: a row that is final in an epoch still meets all rows of that epoch. Rows that
//! come later and could have met it are late.
//!
//! All rows come back that a checkpoint tells of, also those that were freed before it and whose null rows were put out
//! then. What the first epoch judges rows late by is what the last one freed by: these are freed again, without a word.

use std::sync::{Arc, OnceLock};

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, TimestampMicrosecondArray, new_null_array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{filter, filter_record_batch};
use arrow::datatypes::{Field, FieldRef, Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};

use super::cold::ColdRows;
use super::pairs::{CHUNK, CHUNKS_A_STEP, Candidates, Joiner, Pairs, Probe, StoredRows, true_rows};
use super::rows::{LookedUp, NEVER, NewRows, SideRows};
use super::saved::{self, RestoredRows, SavedSide};
use super::{JoinSide, JoinSpec, JoinType};
use crate::error::{Error, Result};
use crate::operator::identity;
use crate::operator::watermark::{is_event_time, judged_times, late_rows};
use crate::operator::{
    Balance, Barrier, Batch, DroppedRows, EpochTime, ExpressionRef, Flow, Micros, Operator, OperatorContext,
    OperatorStats, Output, SideStats, StateBudget, StateDelta, StatePart, Watermark, reason,
};
use crate::protocol::key_group::hash_rows_into;
use crate::types::type_name;

/// When the rows of one side are freed: once their time is at or before the watermark plus `offset_ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JoinBound {
    /// The column with the time: a TIMESTAMP, or a window, which counts by its end. A null time is never reached.
    pub column: usize,
    /// Milliseconds; negative when rows wait for others that come after them.
    pub offset_ms: i64,
}

/// What a join of streams has to know of one side.
#[derive(Debug, Clone, Default)]
pub struct JoinInput {
    /// The column rows are judged late by: a TIMESTAMP, or a window, which counts by its end.
    pub event_time: Option<usize>,
    /// When rows are freed; `None` is never.
    pub bound: Option<JoinBound>,
    /// A BOOLEAN expression over this side's columns. A row for which it is not true has no partner, and is not stored.
    pub condition: Option<ExpressionRef>,
}

/// Joins the rows of two streams.
///
/// | input           | output                                                          | state                        | late rows |
/// |-----------------|-----------------------------------------------------------------|------------------------------|-----------|
/// | rows, two sides | each pair, in the epoch of its later row; of an outer join, a   | the rows of both sides until | dropped   |
/// |                 | row without a partner beside nulls, when it is freed; of a left | their bound is reached       |           |
/// |                 | semi join, a left row in the epoch of its first partner         |                              |           |
///
/// Both inputs have to be partitioned by the key columns. The watermark below is the lower of the watermark above and of what
/// frees either side, because a pair can be as old as its older row (semantics of Spark 3.5 and later).
///
/// ```
/// use millstream::connector::SourceFactory;
/// use millstream::operator::{JoinKey, JoinSpec, StreamJoin};
/// use millstream::prelude::*;
///
/// let (old, new) = (TextFiles::new("assets/lines"), TextFiles::new("assets/lines"));
/// let keys = vec![JoinKey { left: 0, right: 0, null_safe: false }];
/// let spec = JoinSpec::new(JoinType::Inner, keys, &old.schema(), &new.schema());
/// let mut topology = Topology::builder("same-lines");
/// let (old, new) = (topology.source("old", old), topology.source("new", new));
/// let same = topology.operator("same", StreamJoin::new(spec));
/// let same = same.partitioned_together([(old, vec![0]), (new, vec![0])]);
/// topology.sink("print", Console::new()).after(same);
/// println!("{}", topology.build()?);
/// # Ok::<(), millstream::Error>(())
/// ```
#[derive(Debug)]
pub struct StreamJoin {
    spec: JoinSpec,
    left: JoinInput,
    right: JoinInput,
    has_exchanged_keys: bool,
    /// Whether state came back of which some may have been freed.
    is_restored: bool,
    /// The names of both sides' columns, once inputs are known.
    inputs: OnceLock<[SchemaRef; 2]>,
    state: Option<State>,
}

/// A clone is a new instance: it has seen nothing.
impl Clone for StreamJoin {
    fn clone(&self) -> Self {
        Self {
            spec: self.spec.clone(),
            left: self.left.clone(),
            right: self.right.clone(),
            has_exchanged_keys: self.has_exchanged_keys,
            is_restored: false,
            inputs: self.inputs.clone(),
            state: None,
        }
    }
}

impl StreamJoin {
    /// A join whose rows never expire, until [`with_inputs`](Self::with_inputs) says when. Inner, left, right, full and left semi
    /// joins can be made, with one key at least.
    pub fn new(spec: JoinSpec) -> Self {
        Self {
            spec,
            left: JoinInput::default(),
            right: JoinInput::default(),
            has_exchanged_keys: false,
            is_restored: false,
            inputs: OnceLock::new(),
            state: None,
        }
    }

    /// Says when rows of the sides are late, and when they are freed.
    #[must_use]
    pub fn with_inputs(self, left: JoinInput, right: JoinInput) -> Self {
        Self { left, right, ..self }
    }

    /// The hashes that come with the rows are of the key columns, in the order of the keys.
    #[must_use]
    pub(crate) fn with_exchanged_keys(self) -> Self {
        Self { has_exchanged_keys: true, ..self }
    }

    fn input(&self, side: JoinSide) -> &JoinInput {
        side.of(&self.left, &self.right)
    }

    fn check<'a>(&self, inputs: &'a [SchemaRef]) -> Result<[&'a SchemaRef; 2]> {
        let [left, right] = inputs else {
            return Err(Error::plan(format!("a join of streams takes 2 inputs, not {}", inputs.len())));
        };
        if self.spec.keys.is_empty() {
            return Err(Error::plan("a join of streams needs an equality between its sides"));
        }
        if self.spec.kind == JoinType::LeftAnti {
            return Err(Error::plan(
                "a left anti join of streams is not possible: a partner can still come; use a left join and keep what is null",
            ));
        }
        self.spec.check(left, right)?;
        for (input, schema) in [(&self.left, left), (&self.right, right)] {
            for column in input.event_time.iter().chain(input.bound.as_ref().map(|bound| &bound.column)) {
                check_time(schema, *column)?;
            }
        }
        self.inputs.get_or_init(|| [Arc::clone(left), Arc::clone(right)]);
        Ok([left, right])
    }

    /// What it holds, with all that came back.
    fn state(&mut self) -> Result<&mut State> {
        let bounds = [self.left.bound, self.right.bound];
        let state = self.state.as_mut().ok_or_else(unopened)?;
        if !state.restored.is_empty() {
            state.take_back(bounds, false)?;
        }
        Ok(state)
    }

    /// Frees, without a word, what the epochs before the restart freed.
    fn forget_freed(&mut self, late_ms: i64) -> Result<()> {
        let bounds = [self.left.bound, self.right.bound];
        let state = self.state()?;
        for side in [JoinSide::Left, JoinSide::Right] {
            if let Some(bound) = side.of(bounds[0], bounds[1]) {
                let limit = bound.limit_micros(late_ms);
                state.rows_mut(side).forget_until(limit)?;
                state.free_outside(side, limit)?;
            }
        }
        Ok(())
    }

    /// What the state has to say of one side: its columns, what is judged late and freed by what, and what is not stored.
    fn side_identity(&self, side: JoinSide, schema: &Schema) -> String {
        let input = self.input(side);
        let mut text = format!("{} ({}", side.name(), identity::columns(schema.fields()));
        if let Some(column) = input.event_time {
            text += &format!("; event time {}", identity::column_at(schema, column));
        }
        if let Some(bound) = input.bound {
            let column = identity::column_at(schema, bound.column);
            text += &format!("; freed by {column} at the watermark {:+} ms", bound.offset_ms);
        }
        if let Some(condition) = &input.condition {
            text += &format!("; where {}", identity::expression(condition));
        }
        text + ")"
    }

    /// How a bound is told: `left freed when postTime is before the watermark - 1 hour`.
    fn describe_bound(&self, side: JoinSide) -> Option<String> {
        let [left, right] = self.inputs.get()?;
        let bound = self.input(side).bound?;
        let name = side.of(left, right).field(bound.column).name();
        // A millisecond less than a whole second stems from `>=`: the row at the very second still waits.
        let is_open = (bound.offset_ms + 1) % 1000 == 0;
        let (relation, offset_ms) = if is_open { ("before", bound.offset_ms + 1) } else { ("at", bound.offset_ms) };
        let sign = if offset_ms < 0 { '-' } else { '+' };
        let distance = Micros(offset_ms.saturating_abs().saturating_mul(1000));
        let offset = if offset_ms == 0 { String::new() } else { format!(" {sign} {distance}") };
        Some(format!("{} freed when {name} is {relation} the watermark{offset}", side.of("left", "right")))
    }
}

impl JoinBound {
    /// The time at or before which rows are freed under this watermark, in microseconds.
    fn limit_micros(self, watermark_ms: i64) -> i64 {
        watermark_ms.saturating_add(self.offset_ms).saturating_mul(1000)
    }
}

fn unopened() -> Error {
    Error::internal("a join was used before it was opened")
}

fn check_time(schema: &Schema, column: usize) -> Result<()> {
    let field = schema.fields().get(column);
    let field = field.ok_or_else(|| Error::plan(format!("a join has no column {column} to take times from")))?;
    if is_event_time(field.data_type()) {
        return Ok(());
    }
    let (name, data_type) = (field.name(), type_name(field.data_type()));
    Err(Error::plan(format!("the time of a join must be a TIMESTAMP or window column, but `{name}` is {data_type}")))
}

/// What one instance holds.
#[derive(Debug)]
struct State {
    joiner: Joiner,
    left: SideRows,
    right: SideRows,
    /// The columns of dropped rows: of both sides.
    dropped: SchemaRef,
    /// Of the left side's columns, how many.
    left_width: usize,
    /// The columns of snapshots.
    saved: SchemaRef,
    /// What came back and is not yet among the rows.
    restored: Vec<StatePart>,
    /// Rows outside memory, if there is a budget.
    cold: Option<ColdRows>,
    time: EpochTime,
    work: Work,
    pairs: Pairs,
    /// Stored left rows of a semi join that this probe's rows were the first partners of.
    shown: Vec<u32>,
    /// The hashes of the batch at hand, if none came with it.
    hashes: Vec<u64>,
    balance: Balance,
    added: u64,
    freed: u64,
}

/// What the join is in the middle of.
#[derive(Debug, Default)]
enum Work {
    #[default]
    Nothing,
    /// Rows of one side on their way past the other side's.
    Probing(Box<Arrived>),
    /// The epoch is at its end; rows of this side are freed, then those of the next.
    Expiring(JoinSide),
}

/// A batch on its way past the stored rows of the other side.
#[derive(Debug)]
struct Arrived {
    probe: Probe,
    /// The times by which its rows will be freed; none if they never are.
    times: Vec<i64>,
    /// The first stored row of each row's chain.
    firsts: Vec<u32>,
}

impl State {
    fn rows(&self, side: JoinSide) -> &SideRows {
        side.of(&self.left, &self.right)
    }

    fn rows_mut(&mut self, side: JoinSide) -> &mut SideRows {
        side.of(&mut self.left, &mut self.right)
    }

    fn kind(&self) -> JoinType {
        self.joiner.spec.kind
    }

    /// Whether it matters if a row of this side has had a partner.
    fn asks_matched(&self, side: JoinSide) -> bool {
        self.kind().keeps(side) || (self.kind() == JoinType::LeftSemi && side == JoinSide::Left)
    }

    fn put_out(&mut self, records: RecordBatch, output: &mut Output) {
        self.balance.made += records.num_rows() as u64;
        output.batch(records);
    }

    /// Puts what came back so far among the rows, in memory or outside.
    fn take_back(&mut self, bounds: [Option<JoinBound>; 2], goes_outside: bool) -> Result<()> {
        let parts = std::mem::take(&mut self.restored);
        for side in [JoinSide::Left, JoinSide::Right] {
            let bound = side.of(bounds[0], bounds[1]);
            let mut saved = self.saved(side, &parts)?;
            for part in &parts {
                let rows = saved.rows(part, self.rows(side).schema())?;
                if goes_outside {
                    self.put_outside(side, &rows, bound)?;
                } else {
                    self.add_back(side, rows, bound)?;
                }
            }
            self.take_back_strays(side, saved)?;
        }
        Ok(())
    }

    /// What parts have to say of a side. Rows with one hash have different serials from then on.
    fn saved(&mut self, side: JoinSide, parts: &[StatePart]) -> Result<SavedSide> {
        let next_serial = (!self.asks_matched(side)).then(|| self.rows(side).next_serial());
        let saved = SavedSide::new(side, parts, next_serial)?;
        if let Some(serial) = saved.last_serial() {
            self.rows_mut(side).reserve_serial(serial);
        }
        Ok(saved)
    }

    /// What came back of rows that are in none of the parts may be about rows that are outside memory.
    fn take_back_strays(&mut self, side: JoinSide, saved: SavedSide) -> Result<()> {
        let mut strays = saved.strays().collect();
        if let Some(cold) = &mut self.cold {
            strays = cold.change(side, strays)?;
        }
        self.rows_mut(side).keep_strays(strays);
        Ok(())
    }

    fn put_outside(&mut self, side: JoinSide, rows: &RestoredRows, bound: Option<JoinBound>) -> Result<()> {
        let Some(cold) = self.cold.as_mut().filter(|_| !rows.hashes.is_empty()) else { return Ok(()) };
        cold.put(side, rows, &times_of(&rows.records, bound)?)
    }

    fn rows_outside(&self, side: JoinSide) -> u64 {
        self.cold.as_ref().map_or(0, |cold| cold.rows(side))
    }

    fn free_outside(&mut self, side: JoinSide, limit: i64) -> Result<u64> {
        self.cold.as_mut().map_or(Ok(0), |cold| cold.free_until(side, limit))
    }

    /// Takes the stored rows that a probe may meet back into memory.
    fn fetch(&mut self, probe: &Probe, bound: Option<JoinBound>) -> Result<()> {
        let stored = probe.side.other();
        let Some(cold) = self.cold.as_mut().filter(|cold| cold.rows(stored) > 0) else { return Ok(()) };
        let can_match = |row: usize| probe.can_match.as_ref().is_none_or(|valid| valid.is_valid(row));
        let hashes = probe.hashes.iter().enumerate().filter(|(row, _)| can_match(*row)).map(|(_, hash)| *hash);
        match cold.take(stored, hashes, bound)? {
            Some(rows) => self.add_back(stored, rows, bound),
            None => Ok(()),
        }
    }

    /// Lets rows go until half of the budget is free, if they are over it; a snapshot has all of them. The oldest go first, of the
    /// side that holds more.
    fn leave_memory(&mut self, bounds: [Option<JoinBound>; 2]) -> Result<()> {
        let Some(budget) = self.cold.as_ref().map(|cold| cold.budget) else { return Ok(()) };
        if self.left.bytes() + self.right.bytes() <= budget {
            return Ok(());
        }
        while self.left.bytes() + self.right.bytes() > budget / 2 {
            let is_left = self.left.len() > 0 && (self.right.len() == 0 || self.left.bytes() >= self.right.bytes());
            let side = if is_left { JoinSide::Left } else { JoinSide::Right };
            let Some(rows) = self.rows_mut(side).take_oldest()? else { break };
            self.put_outside(side, &rows, side.of(bounds[0], bounds[1]))?;
        }
        Ok(())
    }

    fn add_back(&mut self, side: JoinSide, rows: RestoredRows, bound: Option<JoinBound>) -> Result<()> {
        let RestoredRows { records, hashes, serials, matched } = rows;
        let times = times_of(&records, bound)?;
        // A probe knows which rows can have a partner.
        let probe = self.joiner.probe(side, records, hashes.into(), false);
        let rows = NewRows {
            times: &times,
            can_match: probe.can_match.as_ref(),
            matched: &matched,
            serials: &serials,
            ..NewRows::new(&probe.records, &probe.hashes)
        };
        self.rows_mut(side).add(&rows)
    }

    /// Drops the late rows of a batch.
    fn without_late(
        &mut self,
        side: JoinSide,
        batch: RecordBatch,
        column: Option<usize>,
        output: &mut Output,
    ) -> Result<(RecordBatch, Option<BooleanBuffer>)> {
        let (Some(column), Some(watermark)) = (column, self.time.here) else { return Ok((batch, None)) };
        let times = judged_times(batch.column(column))?;
        let Some(late) = late_rows(&times, watermark.late_ms) else { return Ok((batch, None)) };
        self.drop_late(side, &batch, &times, late.clone(), watermark.late_ms, output)?;
        let kept = !&late;
        Ok((filter_record_batch(&batch, &BooleanArray::new(kept.clone(), None))?, Some(kept)))
    }

    fn drop_late(
        &self,
        side: JoinSide,
        batch: &RecordBatch,
        times: &TimestampMicrosecondArray,
        late: BooleanBuffer,
        late_ms: i64,
        output: &mut Output,
    ) -> Result<()> {
        let late = BooleanArray::new(late, None);
        let (own, rows) = (filter_record_batch(batch, &late)?, late.true_count());
        let fields = self.dropped.fields().iter().enumerate();
        let first = side.of(0, self.left_width);
        let column = |(place, field): (usize, &FieldRef)| match place.checked_sub(first) {
            Some(index) if index < own.num_columns() => Arc::clone(own.column(index)),
            _ => new_null_array(field.data_type(), rows),
        };
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let columns: Vec<ArrayRef> = fields.map(column).collect();
        let records = RecordBatch::try_new_with_options(Arc::clone(&self.dropped), columns, &options)?;
        let times = Some(filter(times, &late)?.as_primitive().clone());
        output.drop_rows(DroppedRows { reason: reason::LATE, records, times, watermark_ms: Some(late_ms) });
        Ok(())
    }

    /// Rows for which their side's condition is not true have no partner: an outer join puts them out at once.
    fn with_condition(
        &mut self,
        side: JoinSide,
        batch: RecordBatch,
        condition: Option<&ExpressionRef>,
        output: &mut Output,
    ) -> Result<(RecordBatch, Option<BooleanBuffer>)> {
        let Some(condition) = condition else { return Ok((batch, None)) };
        let keep = true_rows(condition, &batch, self.time)?;
        if keep.count_set_bits() == batch.num_rows() {
            return Ok((batch, None));
        }
        if self.kind().keeps(side) {
            let alone = filter_record_batch(&batch, &BooleanArray::new(!&keep, None))?;
            let records = self.joiner.alone(side, alone.num_rows(), |column| Ok(Arc::clone(alone.column(column))))?;
            self.put_out(records, output);
        }
        Ok((filter_record_batch(&batch, &BooleanArray::new(keep.clone(), None))?, Some(keep)))
    }

    /// Goes on finding pairs until all are found, the output is full or others should have their turn.
    fn probe(&mut self, mut work: Box<Arrived>, output: &mut Output) -> Result<Flow> {
        for _ in 0..CHUNKS_A_STEP {
            if self.meet(&mut work, output)? == Candidates::Last {
                self.forget_shown()?;
                self.store(&work.probe, &work.times)?;
                return Ok(Flow::Done);
            }
            if output.is_full() {
                break;
            }
        }
        self.work = Work::Probing(work);
        Ok(Flow::More)
    }

    /// Finds one chunk of candidates and puts out the pairs among them.
    fn meet(&mut self, work: &mut Arrived, output: &mut Output) -> Result<Candidates> {
        let Arrived { probe, firsts, .. } = work;
        let (kind, side) = (self.kind(), probe.side);
        let mut pairs = std::mem::take(&mut self.pairs);
        let is_semi = kind == JoinType::LeftSemi;
        let stored = self.rows(side.other());
        let has_partner = |probe: &Probe, row: usize| is_semi && side == JoinSide::Left && probe.matched[row];
        let more = probe.candidates(&LookedUp { rows: stored, firsts }, &mut pairs, has_partner);
        if is_semi && side == JoinSide::Right {
            pairs.retain(|_, left| !stored.is_matched(left));
        }
        self.joiner.judge(probe, stored, &mut pairs, self.time)?;
        match (is_semi, side) {
            // A left row is put out once, with its first partner.
            (true, JoinSide::Left) => pairs.retain(|row, _| !std::mem::replace(&mut probe.matched[row as usize], true)),
            (true, JoinSide::Right) => {
                pairs.retain(|_, left| !self.left.mark_matched(left));
                self.shown.extend_from_slice(&pairs.stored);
            }
            (false, _) => self.mark(probe, &pairs),
        }
        if pairs.len() > 0 {
            let records = self.joiner.joined(probe, self.rows(side.other()), &pairs)?;
            self.put_out(records, output);
        }
        self.pairs = pairs;
        Ok(more)
    }

    /// Left rows of a semi join that were put out are not needed any more.
    fn forget_shown(&mut self) -> Result<()> {
        let shown = std::mem::take(&mut self.shown);
        self.freed += shown.len() as u64;
        self.left.remove(&shown)
    }

    /// Notes which rows of the sides that an outer join keeps have had a partner.
    fn mark(&mut self, probe: &mut Probe, pairs: &Pairs) {
        if self.kind().keeps(probe.side) {
            pairs.probing.iter().for_each(|row| probe.matched[*row as usize] = true);
        }
        if self.kind().keeps(probe.side.other()) {
            let stored = self.rows_mut(probe.side.other());
            for row in &pairs.stored {
                stored.mark_matched(*row);
            }
        }
    }

    /// Stores the rows of a probe that may still find a partner, or have to be put out without.
    fn store(&mut self, probe: &Probe, times: &[i64]) -> Result<()> {
        let side = probe.side;
        let is_kept = self.kind().keeps(side);
        let is_found = |row: usize| self.kind() == JoinType::LeftSemi && side == JoinSide::Left && probe.matched[row];
        let can_match = |row: usize| probe.can_match.as_ref().is_none_or(|valid| valid.is_valid(row));
        let is_stored = |row: usize| (is_kept || can_match(row)) && !is_found(row);
        let rows = probe.records.num_rows();
        let wanted = BooleanBuffer::collect_bool(rows, is_stored);
        let count = wanted.count_set_bits();
        self.added += count as u64;
        let all = NewRows {
            times,
            can_match: probe.can_match.as_ref(),
            matched: if is_kept { &probe.matched } else { &[] },
            ..NewRows::new(&probe.records, &probe.hashes)
        };
        if count == rows {
            return self.rows_mut(side).add(&all);
        }
        // Only rows of a side that is not kept are left out: they have no marks, and all that stay can match.
        let records = filter_record_batch(&probe.records, &BooleanArray::new(wanted.clone(), None))?;
        let hashes: Vec<u64> = wanted.set_indices().map(|row| probe.hashes[row]).collect();
        let some: Vec<i64> =
            if times.is_empty() { Vec::new() } else { wanted.set_indices().map(|row| times[row]).collect() };
        let some = NewRows { times: &some, ..NewRows::new(&records, &hashes) };
        self.rows_mut(side).add(&some)
    }

    /// Goes on freeing rows of `side`, and puts out those that an outer join keeps and that had no partner.
    fn expire(&mut self, side: JoinSide, bound: JoinBound, limit_micros: i64, output: &mut Output) -> Result<Flow> {
        let is_kept = self.kind().keeps(side);
        loop {
            while let Some(expired) = self.rows_mut(side).expire(limit_micros, is_kept) {
                self.freed += expired.rows as u64;
                for unmatched in expired.unmatched.chunks(CHUNK) {
                    let records = self.alone(side, unmatched)?;
                    self.put_out(records, output);
                }
                self.rows_mut(side).settle(expired.page)?;
                if output.is_full() {
                    return Ok(Flow::More);
                }
            }
            if !is_kept {
                self.freed += self.free_outside(side, limit_micros)?;
                return Ok(Flow::Done);
            }
            let Some(cold) = self.cold.as_mut().filter(|cold| cold.rows(side) > 0) else { return Ok(Flow::Done) };
            match cold.take_until(side, limit_micros, Some(bound))? {
                Some(rows) => self.add_back(side, rows, Some(bound))?,
                None => return Ok(Flow::Done),
            }
        }
    }

    fn alone(&self, side: JoinSide, unmatched: &[u32]) -> Result<RecordBatch> {
        let rows = self.rows(side);
        let places = rows.places(unmatched);
        self.joiner.alone(side, unmatched.len(), |column| rows.gather(column, &places))
    }
}

/// The hashes of the rows that were kept, which are all where it does not say.
fn only(hashes: Option<Arc<[u64]>>, kept: Option<&BooleanBuffer>) -> Option<Arc<[u64]>> {
    match (hashes, kept) {
        (Some(hashes), Some(kept)) => Some(kept.set_indices().map(|row| hashes[row]).collect()),
        (hashes, _) => hashes,
    }
}

impl StreamJoin {
    /// Takes a batch to where its probe begins.
    fn arrive(&mut self, side: JoinSide, batch: Batch, output: &mut Output) -> Result<Box<Arrived>> {
        let (input, other_bound) = (self.input(side).clone(), self.input(side.other()).bound);
        let keys = self.spec.key_columns(side);
        let has_exchanged_keys = self.has_exchanged_keys;
        let state = self.state()?;
        let Batch { records, hashes } = batch;
        let hashes = hashes.filter(|_| has_exchanged_keys);
        let (records, kept) = state.without_late(side, records, input.event_time, output)?;
        state.balance.absorbed += records.num_rows() as u64;
        let hashes = only(hashes, kept.as_ref());
        let (records, kept) = state.with_condition(side, records, input.condition.as_ref(), output)?;
        let hashes = only(hashes, kept.as_ref());
        let hashes = hashes.unwrap_or_else(|| {
            let columns: Vec<ArrayRef> = keys.iter().map(|key| Arc::clone(records.column(*key))).collect();
            hash_rows_into(&columns, &mut state.hashes);
            state.hashes.as_slice().into()
        });
        let times = times_of(&records, input.bound)?;
        let asks_matched = state.asks_matched(side);
        let probe = state.joiner.probe(side, records, hashes, asks_matched);
        state.fetch(&probe, other_bound)?;
        let firsts = state.rows(side.other()).look_up(&probe.hashes);
        Ok(Box::new(Arrived { probe, times, firsts }))
    }

    fn expire(&mut self, from: JoinSide, output: &mut Output) -> Result<Flow> {
        let bounds = [self.left.bound, self.right.bound];
        let state = self.state()?;
        let sides = if from == JoinSide::Left { &[JoinSide::Left, JoinSide::Right][..] } else { &[JoinSide::Right] };
        for side in sides {
            let (Some(bound), Some(watermark)) = (side.of(bounds[0], bounds[1]), state.time.here) else { continue };
            let limit = bound.limit_micros(watermark.evict_ms);
            if state.expire(*side, bound, limit, output)? == Flow::More {
                state.work = Work::Expiring(*side);
                return Ok(Flow::More);
            }
        }
        Ok(Flow::Done)
    }
}

/// The times by which rows are freed; none if they never are.
pub(super) fn times_of(records: &RecordBatch, bound: Option<JoinBound>) -> Result<Vec<i64>> {
    Ok(bound.map(|bound| freed_at(records.column(bound.column))).transpose()?.unwrap_or_default())
}

fn freed_at(column: &ArrayRef) -> Result<Vec<i64>> {
    let times = judged_times(column)?;
    if times.null_count() == 0 {
        return Ok(times.values().to_vec());
    }
    Ok(times.iter().map(|time| time.unwrap_or(NEVER)).collect())
}

impl Operator for StreamJoin {
    fn output_schema(&self, inputs: &[SchemaRef]) -> Result<SchemaRef> {
        self.check(inputs)?;
        Ok(self.spec.schema())
    }

    fn describe(&self) -> String {
        let mut text = format!("{} join", self.spec.kind);
        if let Some([left, right]) = self.inputs.get() {
            text += &format!(" on {}", self.spec.describe_keys(left, right));
        }
        if let Some(condition) = &self.spec.condition {
            text += &format!(" where {:?}", condition.expression);
        }
        for bound in [JoinSide::Left, JoinSide::Right].into_iter().filter_map(|side| self.describe_bound(side)) {
            text += &format!("; {bound}");
        }
        text
    }

    fn open(&mut self, context: &OperatorContext) -> Result<()> {
        let [left, right] = self.check(&context.inputs)?;
        let types: Vec<_> = self.spec.keys.iter().map(|key| left.field(key.left).data_type().clone()).collect();
        self.state = Some(State {
            joiner: Joiner::new(self.spec.clone(), &types),
            left: SideRows::new(Arc::clone(left)),
            right: SideRows::new(Arc::clone(right)),
            dropped: both(left, right),
            left_width: left.fields().len(),
            saved: saved::state_schema(left, right),
            restored: Vec::new(),
            cold: None,
            time: EpochTime::default(),
            work: Work::Nothing,
            pairs: Pairs::default(),
            shown: Vec::new(),
            hashes: Vec::new(),
            balance: Balance::default(),
            added: 0,
            freed: 0,
        });
        Ok(())
    }

    fn on_watermark(&mut self, time: EpochTime, _: &mut Output) -> Result<Option<Watermark>> {
        let offsets = [self.left.bound, self.right.bound].into_iter().flatten().map(|bound| bound.offset_ms);
        let offset = offsets.min().unwrap_or(0).min(0);
        if let Some(watermark) = time.here
            && std::mem::take(&mut self.is_restored)
        {
            self.forget_freed(watermark.late_ms)?;
        }
        self.state()?.time = time;
        Ok(time.here.map(|watermark| Watermark {
            late_ms: watermark.late_ms.saturating_add(offset),
            evict_ms: watermark.evict_ms.saturating_add(offset),
        }))
    }

    fn on_batch(&mut self, port: usize, batch: Batch, output: &mut Output) -> Result<Flow> {
        let side = if port == 0 { JoinSide::Left } else { JoinSide::Right };
        let probe = self.arrive(side, batch, output)?;
        self.state()?.probe(probe, output)
    }

    fn resume(&mut self, output: &mut Output) -> Result<Flow> {
        match std::mem::take(&mut self.state()?.work) {
            Work::Nothing => Ok(Flow::Done),
            Work::Probing(probe) => self.state()?.probe(probe, output),
            Work::Expiring(side) => self.expire(side, output),
        }
    }

    fn on_barrier(&mut self, _: &Barrier, output: &mut Output) -> Result<Flow> {
        self.expire(JoinSide::Left, output)
    }

    fn snapshot(&mut self) -> Result<Option<StateDelta>> {
        let bounds = [self.left.bound, self.right.bound];
        let state = self.state()?;
        let mut delta = StateDelta::default();
        saved::save(JoinSide::Left, &mut state.left, &state.saved, &mut delta)?;
        saved::save(JoinSide::Right, &mut state.right, &state.saved, &mut delta)?;
        state.leave_memory(bounds)?;
        Ok(Some(delta))
    }

    fn limit_memory(&mut self, budget: StateBudget) -> Result<()> {
        let state = self.state.as_mut().ok_or_else(unopened)?;
        state.cold = Some(ColdRows::new(state.left.schema(), state.right.schema(), budget)?);
        Ok(())
    }

    fn can_leave_memory(&self) -> bool {
        self.inputs.get().is_some_and(|inputs| inputs.iter().all(|schema| ColdRows::can_hold(schema)))
    }

    fn restore(&mut self, part: StatePart) -> Result<()> {
        let state = self.state.as_mut().ok_or_else(unopened)?;
        part.check("a join of streams", &state.saved, "the columns of its sides")?;
        state.restored.push(part);
        self.is_restored = true;
        let bytes = || state.restored.iter().map(|part| part.rows.get_array_memory_size()).sum::<usize>();
        if state.cold.as_ref().is_some_and(|cold| bytes() > cold.budget) {
            state.take_back([self.left.bound, self.right.bound], true)?;
        }
        Ok(())
    }

    fn save_all(&mut self) -> bool {
        let Ok(state) = self.state() else { return false };
        if state.rows_outside(JoinSide::Left) + state.rows_outside(JoinSide::Right) > 0 {
            return false;
        }
        state.left.save_all();
        state.right.save_all();
        true
    }

    fn state_identity(&self) -> Option<String> {
        let [left, right] = self.inputs.get()?;
        let mut text = format!("{} join of streams on {}", self.spec.kind, self.spec.key_identity(left, right));
        if let Some(condition) = &self.spec.condition {
            text += &format!(" where {}", identity::expression(&condition.expression));
        }
        for side in [JoinSide::Left, JoinSide::Right] {
            text += &format!("; {}", self.side_identity(side, side.of(left, right)));
        }
        Some(text)
    }

    fn uses_watermark(&self) -> bool {
        self.left.bound.is_some() || self.right.bound.is_some()
    }

    fn dropped_columns(&self, inputs: &[SchemaRef]) -> Option<SchemaRef> {
        let [left, right] = inputs else { return None };
        Some(both(left, right))
    }

    fn take_stats(&mut self) -> OperatorStats {
        let Some(state) = &mut self.state else { return OperatorStats::default() };
        let of = |side: JoinSide| {
            let (rows, outside) = (state.rows(side), state.rows_outside(side));
            SideStats { rows: rows.len() as u64 + outside, bytes: rows.bytes() as u64 }
        };
        let sides = [of(JoinSide::Left), of(JoinSide::Right)];
        let outside = state.rows_outside(JoinSide::Left) + state.rows_outside(JoinSide::Right);
        OperatorStats {
            state_rows: Some(sides[0].rows + sides[1].rows),
            state_bytes: sides[0].bytes + sides[1].bytes,
            sides: Some(sides),
            rows_outside: state.cold.as_ref().map(|_| outside),
            updated_rows: std::mem::take(&mut state.added),
            removed_rows: std::mem::take(&mut state.freed),
            balance: Some(std::mem::take(&mut state.balance)),
            ..OperatorStats::default()
        }
    }
}

/// The columns of the left side, then those of the right, of which a row has only its own.
fn both(left: &Schema, right: &Schema) -> SchemaRef {
    let fields = left.fields().iter().chain(right.fields());
    let nullable = |field: &FieldRef| Field::clone(field).with_nullable(true);
    Arc::new(Schema::new(fields.map(nullable).collect::<Vec<_>>()))
}
