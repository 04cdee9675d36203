//! The half of a session aggregation behind the exchange: sessions kept across epochs, their results out.
//!
//! Owns: when a session is final, which keys are not yet in a snapshot. Does not own: which rows were late (`judge`, in
//! the other half), how sessions merge (`table`, `timelines`).
//!
//! A snapshot holds all sessions of every key touched since the last one, a row each. A row that is null behind the
//! keys says that its key has no sessions: those of rows before it are gone. One stands before the sessions of every key
//! that earlier snapshots hold sessions of, so rows restored in order give what there was, however they are cut. Snapshots that
//! become one keep such a row only where what came before them did not come back.

use arrow::datatypes::SchemaRef;

use super::table::SessionTable;
use super::timelines::NONE;
use super::{partial_schema, session_fields, state_schema};
use crate::error::{Error, Result};
use crate::operator::aggregate::AggregateSpec;
use crate::operator::aggregate::groups::{BATCH_ROWS, GroupSet, Running, identity as spec_identity};
use crate::operator::aggregate::partial::{describe, one_input};
use crate::operator::identity;
use crate::operator::{
    Balance, Barrier, Batch, EpochTime, Flow, Operator, OperatorContext, OperatorStats, Output, StateDelta, StatePart,
    Watermark,
};
use crate::protocol::OutputMode;
use crate::state::columns_text;

/// Keeps the sessions of each key and puts out their results.
///
/// | input                                       | output                        | state                  | late rows |
/// |---------------------------------------------|-------------------------------|------------------------|-----------|
/// | other keys, start, end, then partial states | keys, results, at the barrier | a row for each session | not seen  |
///
/// | mode     | an epoch shows                                                          |
/// |----------|-------------------------------------------------------------------------|
/// | Append   | the sessions that end at the watermark or before, which it then forgets |
/// | Complete | all sessions, if it had data                                            |
///
/// Results come by the end of their session, and of one end in the order in which their keys were first seen. Update is
/// refused: a session that grows is another row, and there is no way to take back the one it was.
#[derive(Debug, Clone)]
pub struct FinalSessions {
    spec: AggregateSpec,
    place: usize,
    /// What makes the sessions, in words.
    sessions: String,
    is_watermarked: bool,
    mode: OutputMode,
    schema: SchemaRef,
    partial_schema: SchemaRef,
    state_schema: SchemaRef,
    time: EpochTime,
    running: Running<Held>,
}

impl FinalSessions {
    /// The final half of `spec`, whose key at index `place` is the session. Without a watermark on the time of the
    /// sessions none is ever final.
    pub fn new(spec: AggregateSpec, place: usize, is_watermarked: bool, mode: OutputMode) -> Self {
        let (partial_schema, state_schema) = (partial_schema(&spec, place), state_schema(&spec, place));
        let (schema, time, running) = (spec.output_schema(), EpochTime::default(), Running::default());
        let sessions = spec.keys.get(place).map(|key| identity::expression(key)).unwrap_or_default();
        Self { spec, place, sessions, is_watermarked, mode, schema, partial_schema, state_schema, time, running }
    }

    /// Says in words what makes the sessions, such as the time and the gap: a checkpoint keeps it, and a restart is refused when it
    /// is something else. Otherwise the expression of the key is taken, which may be no more than a column.
    #[must_use]
    pub fn described(mut self, sessions: impl Into<String>) -> Self {
        self.sessions = identity::without_numbers(&sessions.into());
        self
    }

    fn running(&mut self) -> Result<&mut Held> {
        let (spec, place) = (&self.spec, self.place);
        self.running.get_or_make(|| Ok(Held::new(SessionTable::new(spec, place)?)))
    }

    /// What the epoch that ends at `barrier` shows.
    fn shown(&self, barrier: &Barrier) -> Shown {
        match self.mode {
            OutputMode::Append if self.is_watermarked => {
                let evict_ms = self.time.here.map_or(0, |here| here.evict_ms);
                Shown::Ended(evict_ms.saturating_mul(1000))
            }
            OutputMode::Complete if barrier.has_data => Shown::All,
            OutputMode::Append | OutputMode::Complete | OutputMode::Update => Shown::Nothing,
        }
    }
}

impl Operator for FinalSessions {
    fn output_schema(&self, inputs: &[SchemaRef]) -> Result<SchemaRef> {
        let (input, planned) = (one_input(inputs)?, &self.partial_schema);
        session_fields(&self.spec, self.place)?;
        if input.fields().len() != planned.fields().len() {
            return Err(Error::plan(format!(
                "a final session aggregation reads the columns ({}) of its partial half, not ({})",
                columns_text(planned),
                columns_text(input)
            )));
        }
        Ok(self.schema.clone())
    }

    fn describe(&self) -> String {
        format!("sessions {}, {}", describe(&self.spec), self.mode)
    }

    fn open(&mut self, _: &OperatorContext) -> Result<()> {
        if self.mode == OutputMode::Update {
            return Err(Error::internal("a session aggregation was planned in update mode, which the plan refuses"));
        }
        self.running().map(|_| ())
    }

    fn on_watermark(&mut self, time: EpochTime, _: &mut Output) -> Result<Option<Watermark>> {
        self.time = time;
        Ok(time.here)
    }

    fn on_batch(&mut self, _: usize, batch: Batch, _: &mut Output) -> Result<Flow> {
        self.running()?.merge(&batch)?;
        Ok(Flow::Done)
    }

    fn on_barrier(&mut self, barrier: &Barrier, output: &mut Output) -> Result<Flow> {
        let shown = self.shown(barrier);
        self.running()?.end_epoch(shown)?;
        self.resume(output)
    }

    fn resume(&mut self, output: &mut Output) -> Result<Flow> {
        let schema = self.schema.clone();
        self.running()?.show(&schema, output)
    }

    fn snapshot(&mut self) -> Result<Option<StateDelta>> {
        let schema = self.state_schema.clone();
        self.running()?.snapshot(&schema).map(Some)
    }

    fn restore(&mut self, part: StatePart) -> Result<()> {
        part.check("a session aggregation", &self.state_schema, "keys and aggregates")?;
        self.running()?.restore(&part)
    }

    fn save_all(&mut self) -> bool {
        self.running().map(Held::save_all).is_ok()
    }

    fn state_identity(&self) -> Option<String> {
        let sessions = &self.sessions;
        let freed = if self.is_watermarked && self.mode == OutputMode::Append { ", freed when final" } else { "" };
        Some(format!("aggregation {}; sessions {sessions}{freed}", spec_identity(&self.spec)))
    }

    fn uses_watermark(&self) -> bool {
        self.mode != OutputMode::Complete
    }

    fn take_stats(&mut self) -> OperatorStats {
        self.running.get().map_or_else(OperatorStats::default, Held::take_stats)
    }
}

/// Which sessions an epoch shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    Nothing,
    /// Those that end at this time or before, in microseconds; they are forgotten then.
    Ended(i64),
    All,
}

/// The sessions, and what has yet to be said about them.
#[derive(Debug)]
struct Held {
    table: SessionTable,
    /// Slots touched since the last barrier.
    touched: GroupSet,
    /// Slots from here on began after the last barrier.
    first_new: usize,
    /// Keys touched since the last snapshot.
    unsaved: GroupSet,
    /// What snapshots hold of each key; of keys past the end, nothing.
    saved: Vec<Saved>,
    /// Whether some key [came back without](Saved::is_stray) what was saved of it first.
    has_strays: bool,
    showing: Shown,
    /// The sessions to show, and how many of them are shown.
    slots: Vec<u32>,
    shown: usize,
    updated_rows: u64,
    removed_rows: u64,
    balance: Balance,
}

impl Held {
    fn new(table: SessionTable) -> Self {
        Self {
            table,
            touched: GroupSet::default(),
            first_new: 0,
            unsaved: GroupSet::default(),
            saved: Vec::new(),
            has_strays: false,
            showing: Shown::Nothing,
            slots: Vec::new(),
            shown: 0,
            updated_rows: 0,
            removed_rows: 0,
            balance: Balance::default(),
        }
    }

    fn merge(&mut self, batch: &Batch) -> Result<()> {
        self.table.merge(&batch.records, batch.hashes.as_deref())?;
        for slot in self.table.last_slots() {
            self.touched.insert(*slot);
        }
        for key in self.table.last_keys() {
            self.unsaved.insert(*key);
        }
        self.balance.absorbed += batch.rows() as u64;
        Ok(())
    }

    fn end_epoch(&mut self, showing: Shown) -> Result<()> {
        // Of sessions that become one the oldest stays, so this counts the same however the epoch was cut.
        let merged = self.table.settle()?;
        self.removed_rows += merged.iter().filter(|&&slot| (slot as usize) < self.first_new).count() as u64;
        let timelines = &mut self.table.timelines;
        self.updated_rows += self.touched.list().iter().filter(|&&slot| timelines.is_live(slot)).count() as u64;
        self.touched.clear();
        self.slots = match showing {
            Shown::Nothing => Vec::new(),
            Shown::Ended(limit) => timelines.ended(limit),
            Shown::All => timelines.all(),
        };
        (self.showing, self.shown) = (showing, 0);
        Ok(())
    }

    fn show(&mut self, schema: &SchemaRef, output: &mut Output) -> Result<Flow> {
        while self.shown < self.slots.len() {
            if output.is_full() {
                return Ok(Flow::More);
            }
            let last = self.slots.len().min(self.shown + BATCH_ROWS);
            let slots = &self.slots[self.shown..last];
            output.batch(self.table.results(slots, schema)?);
            self.balance.made += slots.len() as u64;
            self.shown = last;
        }
        if let Shown::Ended(limit) = self.showing {
            self.forget_shown(limit);
        }
        self.slots = Vec::new();
        self.drop_unused()?;
        self.first_new = self.table.timelines.len();
        Ok(Flow::Done)
    }

    fn forget_shown(&mut self, limit: i64) {
        for &slot in &self.slots {
            // The first of a key's sessions takes the others with it.
            let key = self.table.timelines.session(slot).key;
            if key != NONE {
                self.unsaved.insert(key);
                self.table.timelines.remove(key, limit);
            }
        }
        self.removed_rows += self.slots.len() as u64;
    }

    fn drop_unused(&mut self) -> Result<()> {
        self.table.drop_gone_slots()?;
        // A key without sessions is still to be reported if a snapshot holds some.
        let (unsaved, saved) = (&self.unsaved, &self.saved);
        let is_wanted = |key: u32| {
            let saved = saved_of(saved, key);
            saved.is_stray || (unsaved.contains(key) && saved.has_sessions)
        };
        let Some(kept) = self.table.drop_unused_keys(is_wanted)? else { return Ok(()) };
        let (mut unsaved, mut saved) = (GroupSet::default(), Vec::with_capacity(kept.len()));
        for (key, &old) in (0_u32..).zip(&kept) {
            saved.push(saved_of(&self.saved, old));
            if self.unsaved.contains(old) {
                unsaved.insert(key);
            }
        }
        (self.unsaved, self.saved) = (unsaved, saved);
        Ok(())
    }

    fn snapshot(&mut self, schema: &SchemaRef) -> Result<StateDelta> {
        self.saved.resize(self.table.keys(), Saved::default());
        let (mut keys, mut slots) = (Vec::new(), Vec::new());
        for &key in self.unsaved.list() {
            let timelines = &self.table.timelines;
            let saved = &mut self.saved[key as usize].has_sessions;
            let was_saved = std::mem::replace(saved, timelines.has_sessions(key));
            if was_saved {
                slots.push(NONE);
            }
            timelines.sessions_of(key, &mut slots);
            keys.resize(slots.len(), key);
        }
        self.unsaved.clear();
        if std::mem::take(&mut self.has_strays) {
            self.saved.iter_mut().for_each(|saved| saved.is_stray = false);
        }
        let chunks = keys.chunks(BATCH_ROWS).zip(slots.chunks(BATCH_ROWS));
        let changed = chunks.map(|(keys, slots)| self.table.states(keys, slots, schema)).collect::<Result<_>>()?;
        Ok(StateDelta { changed })
    }

    fn restore(&mut self, part: &StatePart) -> Result<()> {
        let are_sessions = self.table.restore(&part.rows, &part.hashes)?;
        self.saved.resize(self.table.keys(), Saved::default());
        for (row, &key) in self.table.last_keys().iter().enumerate() {
            let saved = &mut self.saved[key as usize];
            let is_first = !std::mem::replace(&mut saved.is_restored, true);
            saved.is_stray |= is_first && !are_sessions.value(row);
            self.has_strays |= saved.is_stray;
            saved.has_sessions = self.table.timelines.has_sessions(key);
        }
        self.drop_unused()?;
        self.first_new = self.table.timelines.len();
        Ok(())
    }

    /// From now on no snapshot holds any session, but for what is not known to have come back.
    fn save_all(&mut self) {
        self.saved.resize(self.table.keys(), Saved::default());
        for (key, saved) in (0..).zip(&mut self.saved) {
            saved.has_sessions = saved.is_stray;
            if saved.is_stray || self.table.timelines.has_sessions(key) {
                self.unsaved.insert(key);
            }
        }
    }

    fn take_stats(&mut self) -> OperatorStats {
        let marks = self.touched.bytes() + self.unsaved.bytes() + self.saved.capacity() * size_of::<Saved>();
        OperatorStats {
            state_rows: Some(self.table.timelines.live() as u64),
            state_bytes: (self.table.bytes() + marks) as u64,
            updated_rows: std::mem::take(&mut self.updated_rows),
            removed_rows: std::mem::take(&mut self.removed_rows),
            balance: Some(std::mem::take(&mut self.balance)),
            ..OperatorStats::default()
        }
    }
}

/// What snapshots hold of a key.
#[derive(Debug, Clone, Copy, Default)]
struct Saved {
    has_sessions: bool,
    is_restored: bool,
    /// The first that came back is that the key had no sessions any more: those are in snapshots that did not come back.
    is_stray: bool,
}

fn saved_of(saved: &[Saved], key: u32) -> Saved {
    saved.get(key as usize).copied().unwrap_or_default()
}
