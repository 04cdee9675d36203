//! Groups outside memory.
//!
//! Owns: what a group and its states are there, handing groups over in pages. Does not own: which groups go and come back (`results`),
//! the bytes of their keys ([`ColdRows`]).

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use arrow::row::RowConverter;

use super::AggregateSpec;
use super::groups::{GroupTable, group_range};
use crate::error::Result;
use crate::state::StateBudget;
use crate::state::cold_rows::{ColdRows, Cursor, Pieces, columns, row_format};

/// The groups of one operator instance that are not in memory, or whose states there are newer.
#[derive(Debug)]
pub(super) struct ColdGroups {
    rows: ColdRows,
    states: RowConverter,
}

/// Some groups of a slot, in columns.
pub(super) struct Page {
    /// The key columns, then the state columns.
    pub(super) columns: Vec<ArrayRef>,
    pub(super) hashes: Vec<u64>,
}

impl ColdGroups {
    /// Whether groups of `spec` can leave memory: not if there is one a slot, or a type has no bytes.
    pub(super) fn can_hold(spec: &AggregateSpec) -> bool {
        ColdRows::can_hold(&key_types(spec)) && state_format(spec).is_some()
    }

    /// Groups of `spec`; `None` if they have to stay in memory.
    pub(super) fn new(spec: &AggregateSpec, budget: StateBudget) -> Option<Self> {
        Some(Self { rows: ColdRows::new(&key_types(spec), budget)?, states: state_format(spec)? })
    }

    /// How many bytes may stay in memory.
    pub(super) fn budget(&self) -> usize {
        self.rows.budget()
    }

    /// Puts groups of a slot, or newer states of groups that are here. Answers how many were not.
    pub(super) fn put(&mut self, slot: i64, keys: &[ArrayRef], states: &[ArrayRef], hashes: &[u64]) -> Result<u64> {
        let (places, states) = (self.rows.places(keys, hashes, |_| Some(slot))?, self.states.convert_columns(states)?);
        self.rows.put(&places, |row| states.row(row).data())
    }

    /// Puts all groups of `table`.
    pub(super) fn put_all(&mut self, slot: i64, table: &mut GroupTable) -> Result<u64> {
        let (mut added, mut next) = (0, 0);
        while next < table.len() {
            let groups = group_range(next, table.len());
            next += groups.len();
            let columns = table.states(&groups)?;
            let (keys, states) = table.split(&columns)?;
            added += self.put(slot, keys, states, &table.hashes(&groups))?;
        }
        Ok(added)
    }

    /// Merges into the groups of `table` from number `first` on what is here of them, which they must not hold yet. Answers of how many
    /// there was something.
    pub(super) fn fetch(&mut self, slot: i64, table: &mut GroupTable, first: usize) -> Result<u64> {
        let (mut fetched, mut next) = (0, first);
        while next < table.len() {
            let groups = group_range(next, table.len());
            next += groups.len();
            let places = self.rows.places(&table.keys(&groups)?, &table.hashes(&groups), |_| Some(slot))?;
            let (mut found, mut values) = (Vec::new(), Pieces::default());
            self.rows.get(&places, |row, value| {
                found.push(groups[row]);
                values.push(&[value]);
            })?;
            if !found.is_empty() {
                table.merge_states(&columns(&self.states, values.iter())?, &found)?;
            }
            fetched += found.len() as u64;
        }
        Ok(fetched)
    }

    /// Before the first page of a slot.
    pub(super) fn pages(slot: i64) -> Cursor {
        Cursor::slot(slot)
    }

    /// The next page; `None` behind the last.
    pub(super) fn page(&mut self, cursor: &mut Cursor) -> Result<Option<Page>> {
        let Some(page) = self.rows.page(cursor)? else { return Ok(None) };
        let mut all = self.rows.key_columns(&page)?;
        all.extend(columns(&self.states, page.values())?);
        Ok(Some(Page { columns: all, hashes: page.hashes() }))
    }

    /// Drops all groups of a slot.
    pub(super) fn forget(&mut self, slot: i64) -> Result<()> {
        self.rows.remove_range(&Cursor::slot(slot))
    }
}

fn key_types(spec: &AggregateSpec) -> Vec<DataType> {
    spec.inner_key_fields().iter().map(|field| field.data_type().clone()).collect()
}

/// The format of the states of all calls, if there are any.
fn state_format(spec: &AggregateSpec) -> Option<RowConverter> {
    let states = spec.calls.iter().flat_map(|call| call.factory.state_fields());
    row_format(&states.map(|field| field.data_type().clone()).collect::<Vec<_>>())
}
