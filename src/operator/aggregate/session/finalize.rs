//! The half of a session aggregation behind the exchange: sessions kept across epochs, their results out.
//!
//! Owns: when a session is final, which keys are not yet in a snapshot, which leave memory. Does not own: which rows were late
//! (`judge`, in the other half), how sessions merge (`table`, `timelines`), how they are kept elsewhere (`cold`).
//!
//! A snapshot holds all sessions of every key touched since the last one, a row each. A row that is null behind the
//! keys says that its key has no sessions: those of rows before it are gone. One stands before the sessions of every key
//! that earlier snapshots hold sessions of, so rows restored in order give what there was, however they are cut. Snapshots that
//! become one keep such a row only where what came before them did not come back.
//!
//! With a budget, keys leave memory behind a snapshot that has all their sessions, those first that had no row for the longest time,
//! until half of the budget is free. They come back when a row arrives, when one of their sessions is final, page by page, and when
//! more state of theirs is restored; a complete result is read from outside without that.

use std::cmp::Reverse;

use arrow::datatypes::SchemaRef;

use super::cold::{ColdSessions, Cursor};
use super::table::SessionTable;
use super::timelines::NONE;
use super::{partial_schema, session_fields, state_schema};
use crate::error::{Error, Result};
use crate::operator::aggregate::AggregateSpec;
use crate::operator::aggregate::groups::{BATCH_ROWS, GroupSet, Running, identity as spec_identity};
use crate::operator::aggregate::partial::{describe, one_input};
use crate::operator::identity;
use crate::operator::{
    Balance, Barrier, Batch, EpochTime, Flow, Operator, OperatorContext, OperatorStats, Output, StateBudget,
    StateDelta, StatePart, Watermark,
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
/// Results come by the end of their session, and of one end in the order in which their keys were first seen. Where some are outside
/// memory those of one end come in any order, and a complete result is ordered within its pages only. Update is refused: a session that
/// grows is another row, and there is no way to take back the one it was.
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

    /// Whether sessions are final some time.
    fn frees(&self) -> bool {
        self.is_watermarked && self.mode == OutputMode::Append
    }

    /// What the epoch that ends at `barrier` shows.
    fn shown(&self, barrier: &Barrier) -> Shown {
        match self.mode {
            OutputMode::Append if self.frees() => {
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

    fn can_leave_memory(&self) -> bool {
        ColdSessions::can_hold(&self.spec, self.place)
    }

    fn limit_memory(&mut self, budget: StateBudget) -> Result<()> {
        let cold = ColdSessions::new(&self.spec, self.place, self.frees(), budget);
        self.running()?.cold = cold;
        Ok(())
    }

    fn save_all(&mut self) -> bool {
        self.running().is_ok_and(Held::save_all)
    }

    fn state_identity(&self) -> Option<String> {
        let sessions = &self.sessions;
        let freed = if self.frees() { ", freed when final" } else { "" };
        Some(format!("aggregation {}; sessions {sessions}{freed}", spec_identity(&self.spec)))
    }

    fn uses_watermark(&self) -> bool {
        self.mode != OutputMode::Complete
    }

    fn take_stats(&mut self) -> OperatorStats {
        self.running.get().map_or_else(OperatorStats::default, Held::take_stats)
    }
}

/// Which sessions an epoch has yet to find and show.
#[derive(Debug)]
enum Shown {
    Nothing,
    /// Those that end at this time or before, in microseconds; they are forgotten then.
    Ended(i64),
    All,
    /// Those outside from here on, where all are.
    Outside(Cursor),
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
    /// The sessions found to show, and how many of them are shown.
    slots: Vec<u32>,
    shown: usize,
    /// If they are forgotten then, when the last of them has ended.
    forgotten_until: Option<i64>,
    /// Sessions outside memory, if there is a budget.
    cold: Option<ColdSessions>,
    /// What holds the sessions to show that were read from there.
    page: Option<SessionTable>,
    /// Slots of sessions that came back from there since the last barrier.
    came_back: GroupSet,
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
            forgotten_until: None,
            cold: None,
            page: None,
            came_back: GroupSet::default(),
            updated_rows: 0,
            removed_rows: 0,
            balance: Balance::default(),
        }
    }

    fn merge(&mut self, batch: &Batch) -> Result<()> {
        let cold = &mut self.cold;
        let fetch = |table: &mut SessionTable, known| fetch(cold, table, known);
        self.table.merge(&batch.records, batch.hashes.as_deref(), fetch)?;
        self.note_fetched();
        for &slot in self.cold.iter().flat_map(ColdSessions::last_slots) {
            self.came_back.insert(slot);
        }
        for slot in self.table.last_slots() {
            self.touched.insert(*slot);
        }
        for key in self.table.last_keys() {
            self.unsaved.insert(*key);
        }
        self.balance.absorbed += batch.rows() as u64;
        Ok(())
    }

    /// What came back from outside memory is in a snapshot.
    fn note_fetched(&mut self) {
        let keys = self.cold.as_ref().map_or(&[][..], ColdSessions::last_keys);
        if keys.is_empty() {
            return;
        }
        self.saved.resize(self.table.keys(), Saved::default());
        for &key in keys {
            self.saved[key as usize] = Saved { has_sessions: true, is_restored: true, is_stray: false };
        }
    }

    fn end_epoch(&mut self, showing: Shown) -> Result<()> {
        // Of sessions that become one the oldest stays, so this counts the same however the epoch was cut: those of a key came
        // back before the first of the epoch.
        let merged = self.table.settle()?;
        let is_old = |slot: &&u32| (**slot as usize) < self.first_new || self.came_back.contains(**slot);
        self.removed_rows += merged.iter().filter(is_old).count() as u64;
        self.came_back.clear();
        let timelines = &mut self.table.timelines;
        self.updated_rows += self.touched.list().iter().filter(|&&slot| timelines.is_live(slot)).count() as u64;
        self.touched.clear();
        self.showing = showing;
        self.find_shown().map(|_| ())
    }

    /// Finds what to show next; false if that is nothing more.
    fn find_shown(&mut self) -> Result<bool> {
        (self.shown, self.forgotten_until) = (0, None);
        self.slots = match std::mem::replace(&mut self.showing, Shown::Nothing) {
            Shown::Nothing => return Ok(false),
            Shown::Ended(limit) => {
                let cold = self.cold.as_mut();
                let reached = cold.map_or(Ok(None), |cold| cold.fetch_ended(&mut self.table, limit))?;
                self.note_fetched();
                if reached.is_some() {
                    self.showing = Shown::Ended(limit);
                }
                let until = reached.unwrap_or(limit);
                self.forgotten_until = Some(until);
                self.table.timelines.ended(until)
            }
            Shown::All => match &mut self.cold {
                Some(cold) if cold.rows_only_here() > 0 => {
                    let keys = self.table.timelines.keys();
                    cold.put(&mut self.table, keys)?;
                    self.page = Some(self.table.like()?);
                    self.showing = Shown::Outside(ColdSessions::pages());
                    Vec::new()
                }
                _ => self.table.timelines.all(),
            },
            Shown::Outside(mut cursor) => {
                let (Some(cold), Some(page)) = (&mut self.cold, &mut self.page) else { return Ok(false) };
                if !cold.page(&mut cursor, page)? {
                    self.page = None;
                    return Ok(false);
                }
                self.showing = Shown::Outside(cursor);
                page.timelines.all()
            }
        };
        Ok(true)
    }

    fn show(&mut self, schema: &SchemaRef, output: &mut Output) -> Result<Flow> {
        loop {
            while self.shown < self.slots.len() {
                if output.is_full() {
                    return Ok(Flow::More);
                }
                let last = self.slots.len().min(self.shown + BATCH_ROWS);
                let slots = &self.slots[self.shown..last];
                output.batch(self.page.as_mut().unwrap_or(&mut self.table).results(slots, schema)?);
                self.balance.made += slots.len() as u64;
                self.shown = last;
            }
            self.forget_shown()?;
            self.slots = Vec::new();
            if !self.find_shown()? {
                break;
            }
        }
        self.drop_unused()?;
        self.first_new = self.table.timelines.len();
        Ok(Flow::Done)
    }

    fn forget_shown(&mut self) -> Result<()> {
        let Some(until) = self.forgotten_until.take() else { return Ok(()) };
        let timelines = &mut self.table.timelines;
        let mut only_outside = Vec::new();
        for &slot in &self.slots {
            // The first of a key's sessions takes the others with it.
            let key = timelines.session(slot).key;
            if key != NONE {
                self.unsaved.insert(key);
                timelines.remove(key, until);
                if !timelines.has_sessions(key) && self.cold.as_ref().is_some_and(|cold| cold.has_copy(key)) {
                    only_outside.push(key);
                }
            }
        }
        self.removed_rows += self.slots.len() as u64;
        self.forget_outside(&only_outside)?;
        self.table.drop_gone_slots()
    }

    /// What is outside of these keys is obsolete: they have no sessions any more.
    fn forget_outside(&mut self, keys: &[u32]) -> Result<()> {
        self.cold.as_mut().map_or(Ok(()), |cold| cold.forget(&self.table, keys))
    }

    fn drop_unused(&mut self) -> Result<()> {
        self.table.drop_gone_slots()?;
        // A key without sessions is still to be reported if a snapshot holds some.
        let (unsaved, saved) = (&self.unsaved, &self.saved);
        let is_wanted = |key: u32| {
            let saved = saved_of(saved, key);
            saved.is_stray || (unsaved.contains(key) && saved.has_sessions)
        };
        if let Some(kept) = self.table.drop_unused_keys(is_wanted) {
            self.renumber(&kept);
        }
        Ok(())
    }

    /// Keys have other numbers: `kept[new]` is the old one.
    fn renumber(&mut self, kept: &[u32]) {
        let (mut unsaved, mut saved) = (GroupSet::default(), Vec::with_capacity(kept.len()));
        for (key, &old) in (0_u32..).zip(kept) {
            saved.push(saved_of(&self.saved, old));
            if self.unsaved.contains(old) {
                unsaved.insert(key);
            }
        }
        (self.unsaved, self.saved) = (unsaved, saved);
        if let Some(cold) = &mut self.cold {
            cold.renumber(kept);
        }
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
        self.leave_memory()?;
        Ok(StateDelta { changed })
    }

    /// Lets keys go until half of the budget is free, if sessions are over it. All of them are in a snapshot.
    fn leave_memory(&mut self) -> Result<()> {
        let Some(budget) = self.cold.as_ref().map(|cold| cold.budget) else { return Ok(()) };
        if self.bytes() <= budget {
            return Ok(());
        }
        // Keys without sessions, now that the snapshot says so.
        self.drop_unused()?;
        while self.bytes() > budget / 2 && self.let_go(budget / 2)? {}
        self.first_new = self.table.timelines.len();
        Ok(())
    }

    /// Lets half of the sessions go, or as many as should leave so many bytes; false if none could. Sessions are of different sizes,
    /// so what is left is to be judged again.
    fn let_go(&mut self, bytes: usize) -> Result<bool> {
        let sessions = self.table.timelines.live().max(1);
        let (staying, leaving) = self.parted((bytes / (self.bytes() / sessions).max(1)).min(sessions / 2));
        let Some(cold) = self.cold.as_mut().filter(|_| !leaving.is_empty()) else { return Ok(false) };
        cold.put(&mut self.table, leaving)?;
        self.table.keep(&staying)?;
        self.renumber(&staying);
        (self.touched, self.came_back) = (GroupSet::default(), GroupSet::default());
        Ok(true)
    }

    /// The keys that stay when so many sessions may, in rising order, and those that go: the ones whose latest session ends first.
    fn parted(&self, most: usize) -> (Vec<u32>, Vec<u32>) {
        // That a key is stray is known in memory only.
        let is_stray = |key: &u32| saved_of(&self.saved, *key).is_stray;
        let mut staying: Vec<u32> = (0..).take(self.table.keys()).filter(is_stray).collect();
        let mut keys = self.table.timelines.keys();
        keys.retain(|key| !is_stray(key));
        let timelines = &self.table.timelines;
        keys.sort_unstable_by_key(|&key| Reverse((timelines.last_end(key), key)));
        let mut slots = Vec::new();
        let goes = keys.iter().position(|&key| {
            timelines.sessions_of(key, &mut slots);
            slots.len() > most
        });
        let leaving = keys.split_off(goes.unwrap_or(keys.len()));
        staying.append(&mut keys);
        staying.sort_unstable();
        (staying, leaving)
    }

    fn restore(&mut self, part: &StatePart) -> Result<()> {
        let cold = &mut self.cold;
        let fetch = |table: &mut SessionTable, known| fetch(cold, table, known);
        let are_sessions = self.table.restore(&part.rows, &part.hashes, fetch)?;
        self.note_fetched();
        self.saved.resize(self.table.keys(), Saved::default());
        let mut only_outside = Vec::new();
        for (row, &key) in self.table.last_keys().iter().enumerate() {
            let saved = &mut self.saved[key as usize];
            let is_first = !std::mem::replace(&mut saved.is_restored, true);
            saved.is_stray |= is_first && !are_sessions.value(row);
            self.has_strays |= saved.is_stray;
            saved.has_sessions = self.table.timelines.has_sessions(key);
            if !saved.has_sessions && self.cold.as_ref().is_some_and(|cold| cold.has_copy(key)) {
                only_outside.push(key);
            }
        }
        only_outside.sort_unstable();
        only_outside.dedup();
        self.forget_outside(&only_outside)?;
        self.drop_unused()?;
        self.leave_memory()?;
        self.first_new = self.table.timelines.len();
        Ok(())
    }

    /// From now on no snapshot holds any session, but for what is not known to have come back. Not possible, and nothing is done, if some
    /// are outside memory.
    fn save_all(&mut self) -> bool {
        if self.cold.as_ref().is_some_and(|cold| cold.rows() > 0) {
            return false;
        }
        self.saved.resize(self.table.keys(), Saved::default());
        for (key, saved) in (0..).zip(&mut self.saved) {
            saved.has_sessions = saved.is_stray;
            if saved.is_stray || self.table.timelines.has_sessions(key) {
                self.unsaved.insert(key);
            }
        }
        true
    }

    fn bytes(&self) -> usize {
        let marks = self.touched.bytes() + self.unsaved.bytes() + self.came_back.bytes();
        let outside = self.cold.as_ref().map_or(0, ColdSessions::bytes);
        self.table.bytes() + marks + self.saved.capacity() * size_of::<Saved>() + outside
    }

    fn take_stats(&mut self) -> OperatorStats {
        let outside = self.cold.as_ref().map_or(0, ColdSessions::rows_only_here);
        OperatorStats {
            state_rows: Some(self.table.timelines.live() as u64 + outside),
            rows_outside: self.cold.as_ref().map(ColdSessions::rows),
            state_bytes: self.bytes() as u64,
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

/// Takes back what is outside of the keys from number `known` on.
fn fetch(cold: &mut Option<ColdSessions>, table: &mut SessionTable, known: usize) -> Result<()> {
    cold.as_mut().map_or(Ok(()), |cold| cold.fetch(table, known))
}

fn saved_of(saved: &[Saved], key: u32) -> Saved {
    saved.get(key as usize).copied().unwrap_or_default()
}
