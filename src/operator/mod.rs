//! Operators: rows in, rows out, and the state in between. Pure state machines.
//!
//! Owns: what happens to rows. Does not own: alignment, credits and routing (`protocol`), threads (`runtime`), what an
//! expression means (`plan`, which hands operators compiled [`Expression`]s). An operator never blocks, never asks the
//! time and gives the same output for the same epochs however their rows are cut into batches.

pub mod aggregate;
mod checked;
mod deduplicate;
mod dropped;
mod exchange;
mod explode;
mod identity;
mod join;
mod limit;
mod project;
#[cfg(test)]
mod restarts;
mod sort;
mod union;
mod watermark;
mod window;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::ArrayRef;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;

pub use crate::protocol::{Barrier, BarrierKind, Batch, Epoch, EpochTime, Watermark};
pub use crate::state::{ColdStore, MapStore, StateBudget, StateDelta, StatePart};
pub use aggregate::{
    AggregateCall, AggregateSpec, CountBy, FinalAggregate, FinalSessions, PartialAggregate, PartialSessions, TimeKey,
    TimeKind,
};
pub(crate) use checked::Checked;
pub use deduplicate::{Deduplicate, DeduplicateWithin};
pub use dropped::{DroppedRows, reason};
pub(crate) use exchange::Exchange;
pub use explode::Explode;
pub(crate) use identity::without_numbers;
pub use join::{
    JoinBound, JoinColumn, JoinCondition, JoinInput, JoinKey, JoinSide, JoinSpec, JoinType, StaticIndex, StaticJoin,
    StaticSide, StreamJoin,
};
pub use limit::{Limit, LimitScope};
pub use project::{Filter, Project};
pub use sort::{Sort, SortKey};
pub use union::Union;
pub(crate) use watermark::is_event_time;
pub use watermark::{Lateness, WatermarkNode};
pub(crate) use window::Micros;
pub use window::Windows;

use crate::error::Result;

/// What an operator is told when a query starts.
#[derive(Debug, Clone)]
pub struct OperatorContext {
    /// The operator's name in the topology.
    pub name: String,
    /// Which of the operator's instances this is, from 0.
    pub instance: usize,
    /// How many instances there are.
    pub parallelism: usize,
    /// The columns of each input, by port.
    pub inputs: Vec<SchemaRef>,
}

/// Whether an event is dealt with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Flow {
    /// Everything there is to say about the event was put into the output.
    Done,
    /// There is more: call [`Operator::resume`] when the output has room again.
    More,
}

/// Counts of one operator instance, for progress. Sums since the last call of [`Operator::take_stats`], except where said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OperatorStats {
    /// Rows of state now held; `None` for an operator without state.
    pub state_rows: Option<u64>,
    /// Bytes of state now held in memory.
    pub state_bytes: u64,
    /// Rows now outside memory, those included that are in memory, too; `None` for an operator without a
    /// [budget](Operator::limit_memory).
    pub rows_outside: Option<u64>,
    /// Rows of state added or changed.
    pub updated_rows: u64,
    /// Rows of state removed.
    pub removed_rows: u64,
    /// Of a join of streams, what it holds of each side.
    pub sides: Option<[SideStats; 2]>,
    /// Whether the operator drops duplicates, so that their count is worth showing even when it is 0.
    pub drops_duplicates: bool,
    /// How rows taken in relate to rows put out; `None` if the operator keeps no such account.
    pub balance: Option<Balance>,
    /// The event times of the rows that passed, from a watermark node.
    pub event_times: Option<EventTimes>,
}

/// What a join holds of one side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SideStats {
    /// Rows now held.
    pub rows: u64,
    /// Bytes now held.
    pub bytes: u64,
}

/// An operator's account of its rows: `in + made = out + absorbed + dropped`, in every epoch.
///
/// Rows dropped are counted where they are dropped, by [`Output::drop_rows`] and [`Output::count_dropped`]. Debug builds fail
/// the query when the account does not balance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Balance {
    /// Rows put out that are not, one to one, rows taken in: results, copies of a row for a second window.
    pub made: u64,
    /// Rows taken in that went into the state or into another row, or that the query did not want.
    pub absorbed: u64,
}

/// The event times of some rows, in milliseconds since 1970-01-01T00:00:00Z, rounded down. Null times do not count.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EventTimes {
    /// How many rows had a time.
    pub count: u64,
    /// The lowest; 0 without rows, as the next three.
    pub min_ms: i64,
    /// The highest.
    pub max_ms: i64,
    /// The sum.
    pub sum_ms: i128,
    /// How far the rows were behind.
    pub lateness: Lateness,
    /// Rows whose time was too far ahead of processing time; they count in nothing else.
    pub ahead: u64,
}

/// A stateless, stateful or user-written step of a topology.
///
/// One instance sees, for each epoch: [`on_watermark`](Self::on_watermark) at most once, then
/// [`on_batch`](Self::on_batch) any number of times, then [`on_barrier`](Self::on_barrier) once every input has reached
/// it, then [`snapshot`](Self::snapshot) if the barrier is durable. After [`Flow::More`], [`resume`](Self::resume) is
/// called until it answers [`Flow::Done`] before anything else.
pub trait Operator: Send + 'static {
    /// The columns of the output for these inputs, by port. Called before the query starts.
    ///
    /// # Errors
    /// When the inputs do not fit: a missing column, a wrong type, a wrong number of inputs.
    fn output_schema(&self, inputs: &[SchemaRef]) -> Result<SchemaRef>;

    /// One line for explain; the columns and parameters, not the name.
    fn describe(&self) -> String {
        String::new()
    }

    /// The slot for the static table it reads beside its inputs; `None` for an operator that reads none. Before it opens an
    /// instance, a query puts a slot of its own here, which all instances share.
    fn static_side(&mut self) -> Option<&mut Arc<StaticSide>> {
        None
    }

    /// Called once before the first epoch.
    ///
    /// # Errors
    /// When the operator cannot work in this place.
    fn open(&mut self, context: &OperatorContext) -> Result<()> {
        let _ = context;
        Ok(())
    }

    /// The epoch that begins runs under `time`. The answer is the watermark for the operators below: `time.here` or less, a pure
    /// function of it.
    ///
    /// # Errors
    /// When the operator failed; the query fails with it.
    fn on_watermark(&mut self, time: EpochTime, output: &mut Output) -> Result<Option<Watermark>> {
        let _ = output;
        Ok(time.here)
    }

    /// Takes rows that arrived on input `port`.
    ///
    /// # Errors
    /// When the operator failed; the query fails with it.
    fn on_batch(&mut self, port: usize, batch: Batch, output: &mut Output) -> Result<Flow>;

    /// Goes on where the last call answered [`Flow::More`].
    ///
    /// # Errors
    /// When the operator failed; the query fails with it.
    fn resume(&mut self, output: &mut Output) -> Result<Flow> {
        let _ = output;
        Ok(Flow::Done)
    }

    /// All rows of the epoch are in: emits what the epoch's end makes final.
    ///
    /// # Errors
    /// When the operator failed; the query fails with it.
    fn on_barrier(&mut self, barrier: &Barrier, output: &mut Output) -> Result<Flow> {
        let _ = (barrier, output);
        Ok(Flow::Done)
    }

    /// What changed in the state since the last call; `None` for an operator without state. Cheap: encoding happens
    /// elsewhere. What an operator remembers and does not hand out here is gone after a restart.
    ///
    /// # Errors
    /// When the state cannot be put into columns.
    fn snapshot(&mut self) -> Result<Option<StateDelta>> {
        Ok(None)
    }

    /// Takes back state that [`snapshot`](Self::snapshot) gave, in order, before the first epoch. What the watermark has made
    /// final since may be among it; the first [`on_watermark`](Self::on_watermark) tells what.
    ///
    /// # Errors
    /// When the state is of another operator or version.
    fn restore(&mut self, part: StatePart) -> Result<()> {
        let _ = part;
        Ok(())
    }

    /// Holds no more than `budget` behind a [`snapshot`](Self::snapshot), as far as it can: called once, after [`open`](Self::open) and before state comes back,
    /// if the query has a limit. An operator that does not implement it holds all of its state in memory.
    ///
    /// # Errors
    /// When the operator cannot begin to work with its store.
    fn limit_memory(&mut self, budget: StateBudget) -> Result<()> {
        let _ = budget;
        Ok(())
    }

    /// Whether it obeys [`limit_memory`](Self::limit_memory), so that a store is made for it.
    fn can_leave_memory(&self) -> bool {
        false
    }

    /// From now on all of the state counts as changed, so that the next [`snapshot`](Self::snapshot) is the whole of it: how many
    /// small files of changes become one. False from an operator that cannot do that; its files are kept then.
    fn save_all(&mut self) -> bool {
        false
    }

    /// What the state means, in one line: the kind of operator, its keys, what is computed. A checkpoint keeps it, and a
    /// restart is refused when the operator at the same place says something else. `None` is for an operator without state;
    /// one that has [`snapshot`](Self::snapshot)s must say.
    fn state_identity(&self) -> Option<String> {
        None
    }

    /// Whether an epoch without input may free state or emit rows once the watermark has moved.
    fn uses_watermark(&self) -> bool {
        false
    }

    /// Whether the result depends on the order in which rows of one epoch come: then each source is read by one reader at a time,
    /// so that they come in the source's order.
    fn depends_on_order(&self) -> bool {
        false
    }

    /// The columns of the rows it may hand to [`Output::drop_rows`], for these inputs, so that they can be read as a stream; `None` for
    /// an operator that drops none.
    fn dropped_columns(&self, inputs: &[SchemaRef]) -> Option<SchemaRef> {
        let _ = inputs;
        None
    }

    /// How far the watermark stays behind the times this operator reports in [`OperatorStats::event_times`]; `None` for an
    /// operator that is no watermark node.
    fn watermark_delay(&self) -> Option<Duration> {
        None
    }

    /// The counts since the last call.
    fn take_stats(&mut self) -> OperatorStats {
        OperatorStats::default()
    }
}

/// Makes one instance of an operator; what a topology holds.
///
/// Every operator that is `Clone` is its own factory.
pub trait OperatorFactory: Send + Sync + 'static {
    /// A new instance, in its initial state.
    fn instance(&self) -> Box<dyn Operator>;
}

impl<T: Operator + Clone + Sync> OperatorFactory for T {
    fn instance(&self) -> Box<dyn Operator> {
        Box::new(self.clone())
    }
}

/// Rows an operator wants to send, in order.
#[derive(Debug, Default)]
pub struct Output {
    items: Vec<(Route, Batch)>,
    dropped: Vec<DroppedRows>,
    counts: Vec<(&'static str, u64)>,
}

/// Which instances of the next operator a batch is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// Wherever the edge leads from this instance.
    Edge,
    /// This instance of the next operator; only an exchange uses it.
    Instance(usize),
}

/// How many batches an operator may put out before it should answer [`Flow::More`].
const ROOMY: usize = 4;

impl Output {
    /// Sends rows on; empty batches are left out. Key hashes that came with the rows are not passed on, because they may be of
    /// other columns than the next operator's keys.
    pub fn batch(&mut self, batch: impl Into<Batch>) {
        self.push(Route::Edge, Batch { hashes: None, ..batch.into() });
    }

    /// Sends rows on with the hashes of their leading key columns.
    pub(crate) fn hashed_batch(&mut self, batch: Batch) {
        self.push(Route::Edge, batch);
    }

    pub(crate) fn batch_to(&mut self, instance: usize, batch: Batch) {
        self.push(Route::Instance(instance), batch);
    }

    fn push(&mut self, route: Route, batch: Batch) {
        if batch.rows() > 0 {
            self.items.push((route, batch));
        }
    }

    /// True when the operator should pause with [`Flow::More`] if it has more to say, so that memory stays bounded.
    pub fn is_full(&self) -> bool {
        self.items.len() >= ROOMY
    }

    /// Takes out what was put in, in order: what a test of an operator looks at.
    pub fn take_batches(&mut self) -> Vec<RecordBatch> {
        self.take().into_iter().map(|(_, batch)| batch.records).collect()
    }

    /// Rows that will not be used, and why: they are counted, and shown to whoever reads the query's late rows. `times` are the
    /// event times they were judged by, if they were.
    pub fn drop_rows(&mut self, rows: DroppedRows) {
        self.count_dropped(rows.reason, rows.records.num_rows() as u64);
        if rows.records.num_rows() > 0 {
            self.dropped.push(rows);
        }
    }

    /// Counts rows that will not be used, for one of [`reason`].
    pub fn count_dropped(&mut self, reason: &'static str, rows: u64) {
        if rows == 0 {
            return;
        }
        match self.counts.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, count)) => *count += rows,
            None => self.counts.push((reason, rows)),
        }
    }

    /// Takes out the counts and rows of what was dropped.
    pub fn take_dropped(&mut self) -> (Vec<(&'static str, u64)>, Vec<DroppedRows>) {
        (std::mem::take(&mut self.counts), std::mem::take(&mut self.dropped))
    }

    pub(crate) fn take(&mut self) -> Vec<(Route, Batch)> {
        std::mem::take(&mut self.items)
    }
}

/// A compiled expression: a column for every batch of the schema it was compiled for.
///
/// Implemented by the planner; a user's own operators rarely need it.
pub trait Expression: fmt::Debug + Send + Sync {
    /// The value for each row.
    ///
    /// # Errors
    /// When a value cannot be computed (a failing cast under ANSI rules, a failing closure).
    fn evaluate(&self, batch: &RecordBatch, time: EpochTime) -> Result<ArrayRef>;
}

/// A shared compiled expression.
pub type ExpressionRef = Arc<dyn Expression>;
