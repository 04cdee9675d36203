//! The result table of an aggregation: groups by slot, and what has yet to be said about them.
//!
//! Owns: which groups an epoch touched, which are not yet in a snapshot, showing and freeing them, which groups leave memory. Does not
//! own: what an output mode shows (`finalize`), what a slot is (`slots`), how groups are kept elsewhere (`cold`).
//!
//! With a budget, groups leave memory behind a snapshot that has them all, the oldest slots first, until half of the budget is free.
//! What is outside stays there when a group is touched again: its states are fetched before anything is added to them, and the group in
//! memory is the newer one. So reading writes nothing. Where a whole slot is shown or saved, its groups in memory are written over
//! what is outside first, and then it is read from there, page by page.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;

use super::AggregateSpec;
use super::cold::{ColdGroups, Page};
use super::groups::{BATCH_ROWS, Coalescer, GroupSet, GroupTable, group_range, nothing_to_fetch, records};
use super::partial::states;
use super::slots::{MINUTE, NEVER, SlottedColumns, SlottedRows, TimeKind, micros_of};
use crate::error::Result;
use crate::operator::{Balance, Batch, Flow, OperatorStats, Output, StateBudget, StateDelta, StatePart};
use crate::state::cold_rows::Cursor;

/// Which groups an epoch shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    Nothing,
    Touched,
    All,
}

/// The result tables of all slots.
#[derive(Debug)]
pub(super) struct ResultTables {
    spec: AggregateSpec,
    slots: BTreeMap<i64, ResultTable>,
    /// Slots with groups touched in this epoch.
    touched: BTreeSet<i64>,
    /// Slots with groups that no snapshot holds.
    unsaved: BTreeSet<i64>,
    /// What is being shown, and of which slots it is all that is left.
    showing: VecDeque<Showing>,
    small: Coalescer,
    updated_rows: u64,
    removed_rows: u64,
    balance: Balance,
    /// State that came back and is not yet in the tables.
    restored: Vec<StatePart>,
    /// Groups outside memory, if there is a budget.
    cold: Option<ColdGroups>,
}

/// Groups to show, from the `next` one on.
#[derive(Debug)]
struct Showing {
    slot: i64,
    /// The table, if it does not stay.
    leaving: Option<ResultTable>,
    shown: Shown,
    next: usize,
    /// Of a slot that is read from outside, how far.
    pages: Option<Cursor>,
}

impl ResultTables {
    pub(super) fn new(spec: AggregateSpec) -> Self {
        Self {
            spec,
            slots: BTreeMap::new(),
            touched: BTreeSet::new(),
            unsaved: BTreeSet::new(),
            showing: VecDeque::new(),
            small: Coalescer::default(),
            updated_rows: 0,
            removed_rows: 0,
            balance: Balance::default(),
            restored: Vec::new(),
            cold: None,
        }
    }

    /// Holds no more than this between epochs, as far as groups can leave memory.
    pub(super) fn limit_memory(&mut self, budget: StateBudget) {
        self.cold = ColdGroups::new(&self.spec, budget);
    }

    /// Takes partial states.
    pub(super) fn merge(&mut self, batch: &Batch) -> Result<()> {
        self.balance.absorbed += batch.rows() as u64;
        let columns = batch.records.columns();
        let SlottedColumns { columns, hashes, segments } =
            self.split(columns, batch.hashes.as_deref(), batch.rows())?;
        for (slot, range) in segments {
            let columns: Vec<_> = columns.iter().map(|column| column.slice(range.start, range.len())).collect();
            let hashes = hashes.as_deref().map(|hashes| &hashes[range.clone()]);
            let (table, cold) = self.slot(slot)?;
            let ResultTable { table: groups, outside, .. } = table;
            groups.merge(&columns, range.len(), hashes, |groups, known| outside.fetch(cold, slot, groups, known))?;
            table.touch();
        }
        Ok(())
    }

    /// The columns in order of their slots.
    fn split(&self, columns: &[ArrayRef], hashes: Option<&[u64]>, rows: usize) -> Result<SlottedColumns> {
        let keys = &columns[..self.spec.inner_key_fields().len()];
        let slots = self.spec.slots_of(keys, columns)?;
        slots.split(columns, hashes, rows)
    }

    /// Takes input rows.
    pub(super) fn update(&mut self, input: &SlottedRows) -> Result<()> {
        self.balance.absorbed += input.count() as u64;
        self.balance.made += input.copies;
        for (slot, rows) in input.segments() {
            let (table, cold) = self.slot(slot)?;
            let ResultTable { table: groups, outside, .. } = table;
            groups.update(&rows, |groups, known| outside.fetch(cold, slot, groups, known))?;
            table.touch();
        }
        Ok(())
    }

    /// Makes the one group of an aggregation without keys.
    pub(super) fn touch_global(&mut self) -> Result<()> {
        let (table, _) = self.slot(NEVER)?;
        table.table.intern(&[], 1, None)?;
        table.touch();
        Ok(())
    }

    /// The table of a slot, which is about to be touched, and what is outside memory.
    fn slot(&mut self, slot: i64) -> Result<(&mut ResultTable, &mut Option<ColdGroups>)> {
        self.touched.insert(slot);
        self.unsaved.insert(slot);
        let table = match self.slots.entry(slot) {
            Entry::Occupied(table) => table.into_mut(),
            Entry::Vacant(place) => place.insert(ResultTable::new(&self.spec)?),
        };
        Ok((table, &mut self.cold))
    }

    /// Frees what is final, and begins to show `leaving` of that and `staying` of the rest.
    pub(super) fn end_epoch(&mut self, final_until: Option<i64>, staying: Shown, leaving: Shown) -> Result<()> {
        let touched = std::mem::take(&mut self.touched);
        let count = |slot: &i64| self.slots.get(slot).map_or(0, |table| table.touched.list().len() as u64);
        self.updated_rows += touched.iter().map(count).sum::<u64>();
        for (slot, table) in self.take_final(final_until)? {
            self.removed_rows += table.rows();
            self.showing.push_back(Showing { slot, leaving: Some(table), shown: leaving, next: 0, pages: None });
        }
        let stays = |slot: &i64| Showing { slot: *slot, leaving: None, shown: staying, next: 0, pages: None };
        match staying {
            // Nothing is shown of them, but the touched ones are to be noted as dealt with.
            Shown::Nothing | Shown::Touched => self.showing.extend(touched.iter().map(stays)),
            Shown::All => self.showing.extend(self.slots.keys().map(stays)),
        }
        Ok(())
    }

    /// Takes out the groups whose time is not above `final_until`.
    fn take_final(&mut self, final_until: Option<i64>) -> Result<Vec<(i64, ResultTable)>> {
        let Some(until) = final_until else { return Ok(Vec::new()) };
        // The slot of groups without a time is never final.
        let mut ended = self.slots.split_off(&until.saturating_add(1));
        std::mem::swap(&mut self.slots, &mut ended);
        let mut ended: Vec<_> = ended.into_iter().collect();
        for (slot, _) in &ended {
            self.unsaved.remove(slot);
        }
        if self.spec.time.is_some_and(|key| key.kind == TimeKind::Time) {
            ended.extend(self.take_part_of_slot(until)?);
        }
        Ok(ended)
    }

    /// Of plain times, the slot that `until` is in may be final in part.
    fn take_part_of_slot(&mut self, until: i64) -> Result<Option<(i64, ResultTable)>> {
        let Some((&slot, table)) = self.slots.range_mut(..NEVER).next() else { return Ok(None) };
        if until < slot.saturating_sub(MINUTE) {
            return Ok(None);
        }
        if let (Some(cold), true) = (&mut self.cold, table.outside.rows > 0) {
            // A minute of groups: they are judged one by one, in memory.
            table.take_back(cold, slot)?;
        }
        let Some((ended, rest)) = table.split(&self.spec, until)? else { return Ok(None) };
        if rest.table.len() == 0 {
            self.slots.remove(&slot);
            self.unsaved.remove(&slot);
        } else {
            self.slots.insert(slot, rest);
        }
        Ok(Some((slot, ended)))
    }

    /// Frees, without a word, groups that were final before.
    pub(super) fn forget_until(&mut self, until: i64) -> Result<()> {
        for (slot, table) in self.take_final(Some(until))? {
            self.forget_outside(slot, &table)?;
        }
        Ok(())
    }

    fn forget_outside(&mut self, slot: i64, table: &ResultTable) -> Result<()> {
        match &mut self.cold {
            Some(cold) if table.outside.rows > 0 => cold.forget(slot),
            _ => Ok(()),
        }
    }

    /// Puts out what [`end_epoch`](Self::end_epoch) began to show.
    pub(super) fn show(&mut self, schema: &SchemaRef, output: &mut Output) -> Result<Flow> {
        while let Some(mut showing) = self.showing.pop_front() {
            loop {
                if output.is_full() {
                    self.showing.push_front(showing);
                    return Ok(Flow::More);
                }
                let Some(records) = self.next_shown(&mut showing, schema)? else { break };
                let full = self.small.push(records, None)?;
                self.put_out(full, output);
            }
            match &showing.leaving {
                Some(table) => self.forget_outside(showing.slot, table)?,
                None => {
                    if let Some(table) = self.slots.get_mut(&showing.slot) {
                        table.touched.clear();
                    }
                }
            }
        }
        let rest = self.small.finish()?;
        self.put_out(rest, output);
        Ok(Flow::Done)
    }

    fn next_shown(&mut self, showing: &mut Showing, schema: &SchemaRef) -> Result<Option<RecordBatch>> {
        let table = match &mut showing.leaving {
            Some(table) => Some(table),
            None => self.slots.get_mut(&showing.slot),
        };
        let Some(table) = table else { return Ok(None) };
        if let (Some(cold), Shown::All, true) = (&mut self.cold, showing.shown, table.outside.rows > 0) {
            let pages = match showing.pages.take() {
                Some(pages) => pages,
                None => table.write_over(cold, showing.slot)?,
            };
            let page = cold.page(showing.pages.insert(pages))?;
            return page.map(|page| self.shown_page(page, showing.slot, schema)).transpose();
        }
        let groups = table.shown_from(showing.shown, showing.next);
        if groups.is_empty() {
            return Ok(None);
        }
        showing.next += groups.len();
        let mut columns = self.spec.key_columns(table.table.keys(&groups)?, showing.slot, groups.len())?;
        columns.extend(table.table.results(&groups)?);
        records(schema, columns, groups.len()).map(Some)
    }

    /// The rows to show of groups outside memory.
    fn shown_page(&self, page: Page, slot: i64, schema: &SchemaRef) -> Result<RecordBatch> {
        let (mut groups, rows) = (GroupTable::new(&self.spec)?, page.hashes.len());
        groups.merge(&page.columns, rows, Some(&page.hashes), nothing_to_fetch)?;
        let all = group_range(0, rows);
        let mut columns = self.spec.key_columns(groups.keys(&all)?, slot, rows)?;
        columns.extend(groups.results(&all)?);
        records(schema, columns, rows)
    }

    fn put_out(&mut self, batch: Option<Batch>, output: &mut Output) {
        if let Some(batch) = batch {
            self.balance.made += batch.rows() as u64;
            output.batch(batch);
        }
    }

    pub(super) fn snapshot(&mut self, schema: &SchemaRef) -> Result<StateDelta> {
        let mut changed = Vec::new();
        for slot in std::mem::take(&mut self.unsaved) {
            if let Some(table) = self.slots.get_mut(&slot) {
                table.snapshot(&self.spec, schema, slot, &mut changed)?;
            }
        }
        self.leave_memory()?;
        Ok(StateDelta { changed })
    }

    /// Lets groups go until half of the budget is free, if they are over it. All of them are in a snapshot.
    fn leave_memory(&mut self) -> Result<()> {
        let Some(cold) = &mut self.cold else { return Ok(()) };
        let mut bytes: usize = self.slots.values().map(ResultTable::bytes).sum();
        if bytes <= cold.budget() {
            return Ok(());
        }
        for (slot, table) in &mut self.slots {
            if bytes <= cold.budget() / 2 {
                break;
            }
            bytes -= table.bytes();
            table.write_over(cold, *slot)?;
            let outside = Outside { newer: 0, ..table.outside };
            *table = ResultTable { outside, ..ResultTable::new(&self.spec)? };
        }
        Ok(())
    }

    /// From now on no snapshot holds any group. Not possible, and nothing is done, if some are outside memory.
    pub(super) fn save_all(&mut self) -> bool {
        if self.slots.values().any(|table| table.outside.rows > 0) {
            return false;
        }
        for (slot, table) in &mut self.slots {
            self.unsaved.insert(*slot);
            table.save_all();
        }
        true
    }

    /// Takes state back; it is put into the tables with the next use, or outside memory if it is too much.
    ///
    /// # Errors
    /// When it cannot be kept outside.
    pub(super) fn restore(&mut self, part: StatePart) -> Result<()> {
        self.restored.push(part);
        let bytes = || self.restored.iter().map(|part| part.rows.get_array_memory_size()).sum::<usize>();
        let is_too_much = self.cold.as_ref().is_some_and(|cold| bytes() > cold.budget());
        if is_too_much || self.slots.values().any(|table| table.outside.rows > 0) {
            return std::mem::take(&mut self.restored).into_iter().try_for_each(|part| self.restore_outside(part));
        }
        Ok(())
    }

    /// Rows that come later take the place of those of the same key.
    fn restore_outside(&mut self, part: StatePart) -> Result<()> {
        let (rows, keys) = (part.rows.num_rows(), self.spec.inner_key_fields().len());
        let SlottedColumns { columns, hashes, segments } = self.split(part.rows.columns(), Some(&part.hashes), rows)?;
        let hashes = hashes.unwrap_or_default();
        let states = columns.len() - keys - usize::from(self.spec.slot_field().is_some());
        for (slot, range) in segments {
            let columns: Vec<_> = columns.iter().map(|column| column.slice(range.start, range.len())).collect();
            let table = match self.slots.entry(slot) {
                Entry::Occupied(table) => table.into_mut(),
                Entry::Vacant(place) => place.insert(ResultTable::new(&self.spec)?),
            };
            if let Some(cold) = &mut self.cold {
                let (keys, states) = columns[..keys + states].split_at(keys);
                table.outside.rows += cold.put(slot, keys, states, &hashes[range])?;
            }
        }
        Ok(())
    }

    /// Puts restored state into the tables, all at once: of a key that came several times the last row counts.
    pub(super) fn settle(&mut self) -> Result<()> {
        if self.restored.is_empty() {
            return Ok(());
        }
        let mut by_slot: BTreeMap<i64, Vec<StatePart>> = BTreeMap::new();
        for part in std::mem::take(&mut self.restored) {
            let rows = part.rows.num_rows();
            let slotted = self.split(part.rows.columns(), Some(&part.hashes), rows)?;
            let SlottedColumns { columns, hashes, segments } = slotted;
            let whole = records(&part.rows.schema(), columns, rows)?;
            let hashes = hashes.unwrap_or_default();
            for (slot, range) in segments {
                let part = StatePart { rows: whole.slice(range.start, range.len()), hashes: hashes[range].to_vec() };
                by_slot.entry(slot).or_default().push(part);
            }
        }
        for (slot, parts) in by_slot {
            let mut table = ResultTable::new(&self.spec)?;
            table.settle(&parts)?;
            self.slots.insert(slot, table);
        }
        Ok(())
    }

    pub(super) fn take_stats(&mut self) -> OperatorStats {
        OperatorStats {
            state_rows: Some(self.slots.values().map(ResultTable::rows).sum()),
            rows_outside: self.cold.as_ref().map(|_| self.slots.values().map(|table| table.outside.rows).sum()),
            state_bytes: self.slots.values().map(|table| table.bytes() as u64).sum(),
            updated_rows: std::mem::take(&mut self.updated_rows),
            removed_rows: std::mem::take(&mut self.removed_rows),
            balance: Some(std::mem::take(&mut self.balance)),
            ..OperatorStats::default()
        }
    }
}

/// The groups of one slot.
#[derive(Debug)]
struct ResultTable {
    table: GroupTable,
    /// Groups touched since the last barrier; while showing, since the one before.
    touched: GroupSet,
    /// Groups touched since the last snapshot.
    unsaved: GroupSet,
    outside: Outside,
}

/// How many groups of a slot are outside memory.
#[derive(Debug, Clone, Copy, Default)]
struct Outside {
    rows: u64,
    /// Of these, how many are in memory, too, where they are newer.
    newer: u64,
}

impl Outside {
    /// Merges what is outside into the groups from number `known` on.
    fn fetch(&mut self, cold: &mut Option<ColdGroups>, slot: i64, groups: &mut GroupTable, known: usize) -> Result<()> {
        if let (Some(cold), true) = (cold, self.rows > self.newer) {
            self.newer += cold.fetch(slot, groups, known)?;
        }
        Ok(())
    }
}

impl ResultTable {
    fn new(spec: &AggregateSpec) -> Result<Self> {
        let (touched, unsaved) = (GroupSet::default(), GroupSet::default());
        Ok(Self { table: GroupTable::new(spec)?, touched, unsaved, outside: Outside::default() })
    }

    /// All groups, wherever they are.
    fn rows(&self) -> u64 {
        self.table.len() as u64 + self.outside.rows - self.outside.newer
    }

    /// Writes the groups in memory over what is outside, so that all of the slot is there; answers how to read it.
    fn write_over(&mut self, cold: &mut ColdGroups, slot: i64) -> Result<Cursor> {
        self.outside.rows += cold.put_all(slot, &mut self.table)?;
        self.outside.newer = self.table.len() as u64;
        Ok(ColdGroups::pages(slot))
    }

    /// Takes all of the slot into memory.
    fn take_back(&mut self, cold: &mut ColdGroups, slot: i64) -> Result<()> {
        let mut pages = ColdGroups::pages(slot);
        while let Some(Page { columns, hashes }) = cold.page(&mut pages)? {
            let known = self.table.len();
            let (keys, states) = self.table.split(&columns)?;
            self.table.intern(keys, hashes.len(), Some(&hashes))?;
            // Groups that were in memory are the newer ones.
            let is_new = |(_, group): &(usize, &u32)| **group as usize >= known;
            let new = self.table.last_groups().iter().enumerate().filter(is_new);
            let (rows, groups): (Vec<u32>, Vec<u32>) = new.map(|(row, group)| (row_number(row), *group)).unzip();
            let rows = UInt32Array::from(rows);
            let states = states.iter().map(|column| take(column, &rows, None)).collect::<Result<Vec<_>, _>>()?;
            self.table.merge_states(&states, &groups)?;
        }
        self.outside = Outside::default();
        cold.forget(slot)
    }

    fn touch(&mut self) {
        for &group in self.table.last_groups() {
            if self.touched.insert(group) {
                self.unsaved.insert(group);
            }
        }
    }

    fn shown_from(&self, shown: Shown, next: usize) -> Vec<u32> {
        match shown {
            Shown::Nothing => Vec::new(),
            Shown::Touched => self.touched.list()[next..].iter().copied().take(BATCH_ROWS).collect(),
            Shown::All => group_range(next, self.table.len()),
        }
    }

    /// The groups whose time is not above `until`, and the others; `None` if there are none.
    fn split(&mut self, spec: &AggregateSpec, until: i64) -> Result<Option<(Self, Self)>> {
        let mut is_final = Vec::with_capacity(self.table.len());
        let mut next = 0;
        while next < self.table.len() {
            let groups = group_range(next, self.table.len());
            next += groups.len();
            let keys = self.table.keys(&groups)?;
            let times = keys.last().map_or_else(Vec::new, micros_of);
            is_final.extend(times.into_iter().map(|time| time.is_some_and(|time| time <= until)));
        }
        if !is_final.contains(&true) {
            return Ok(None);
        }
        let ended = self.part(spec, |group| is_final[group as usize])?;
        let rest = self.part(spec, |group| !is_final[group as usize])?;
        Ok(Some((ended, rest)))
    }

    /// A table of some of the groups.
    fn part(&mut self, spec: &AggregateSpec, is_wanted: impl Fn(u32) -> bool) -> Result<Self> {
        let mut part = Self::new(spec)?;
        let mut next = 0;
        while next < self.table.len() {
            let mut groups = group_range(next, self.table.len());
            next += groups.len();
            groups.retain(|group| is_wanted(*group));
            let (columns, hashes) = (self.table.states(&groups)?, self.table.hashes(&groups));
            part.table.merge(&columns, groups.len(), Some(&hashes), nothing_to_fetch)?;
            for (old, &new) in groups.iter().zip(part.table.last_groups()) {
                if self.touched.contains(*old) {
                    part.touched.insert(new);
                }
                if self.unsaved.contains(*old) {
                    part.unsaved.insert(new);
                }
            }
        }
        Ok(part)
    }

    fn save_all(&mut self) {
        for group in (0..).take(self.table.len()) {
            self.unsaved.insert(group);
        }
    }

    fn snapshot(
        &mut self,
        spec: &AggregateSpec,
        schema: &SchemaRef,
        slot: i64,
        changed: &mut Vec<(RecordBatch, Vec<u64>)>,
    ) -> Result<()> {
        for groups in self.unsaved.list().chunks(BATCH_ROWS) {
            let batch = states(spec, schema, &mut self.table, slot, groups)?;
            changed.push((batch.records, batch.hashes.map_or_else(Vec::new, |hashes| hashes.to_vec())));
        }
        self.unsaved.clear();
        Ok(())
    }

    /// Takes restored state: of a key that came several times the last row counts.
    fn settle(&mut self, parts: &[StatePart]) -> Result<()> {
        let groups = parts.iter().map(|part| self.intern_part(part)).collect::<Result<Vec<_>>>()?;
        let mut done = GroupSet::default();
        for (part, groups) in parts.iter().zip(&groups).rev() {
            let newest = groups.iter().enumerate().rev().filter(|(_, group)| done.insert(**group));
            let (rows, groups): (Vec<u32>, Vec<u32>) = newest.map(|(row, group)| (row_number(row), *group)).unzip();
            self.fill(part, rows, &groups)?;
        }
        Ok(())
    }

    fn intern_part(&mut self, part: &StatePart) -> Result<Vec<u32>> {
        let (keys, _) = self.table.split(part.rows.columns())?;
        self.table.intern(keys, part.rows.num_rows(), Some(&part.hashes))?;
        Ok(self.table.last_groups().to_vec())
    }

    /// Merges these rows of `part` into groups that are still empty, which makes them what they were.
    fn fill(&mut self, part: &StatePart, rows: Vec<u32>, groups: &[u32]) -> Result<()> {
        let rows = UInt32Array::from(rows);
        let (_, states) = self.table.split(part.rows.columns())?;
        let states = states.iter().map(|column| take(column, &rows, None)).collect::<Result<Vec<ArrayRef>, _>>()?;
        self.table.merge_states(&states, groups)
    }

    fn bytes(&self) -> usize {
        self.table.bytes() + self.touched.bytes() + self.unsaved.bytes()
    }
}

fn row_number(row: usize) -> u32 {
    u32::try_from(row).expect("a batch of state has under 2^32 rows")
}
