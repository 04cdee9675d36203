//! The static tables that a query's operators read.
//!
//! Owns: reading and indexing them before the first epoch, and again before an epoch when they have changed. Does not own: what
//! tells that a table has changed (`connector::BatchTable::version`), or how operators find rows (`operator::StaticIndex`).
//!
//! A table that did not change costs its version for each epoch. One that did is taken away first, so that the memory of the old
//! version is free for the new one: no operator holds a table between epochs.

use std::sync::{Arc, Mutex};

use super::io_pool::contained;
use crate::clock::{Clock, lock};
use crate::connector::{BatchTable, TableVersion};
use crate::error::Result;
use crate::observability::trace::{self, ActorPath, LoadedTable};
use crate::operator::{Operator, StaticSide};
use crate::plan::topology::{Node, NodeKind, Topology};
use crate::protocol::Epoch;
use crate::types::engine_batch;

/// The tables of one run of a query, each with the slot that the instances of its operator share.
#[derive(Debug)]
pub(crate) struct StaticTables {
    tables: Vec<StaticTable>,
}

#[derive(Debug)]
struct StaticTable {
    /// The number of the node that reads it, and its name.
    index: usize,
    node: String,
    /// What the table is called.
    name: String,
    table: Arc<dyn BatchTable>,
    side: Arc<StaticSide>,
    /// What was read last.
    version: Mutex<Option<TableVersion>>,
}

impl StaticTables {
    /// The tables of `topology`, none of which is read yet.
    pub(crate) fn of(topology: &Topology) -> Self {
        let of = |(index, node): (usize, &Node)| {
            let (NodeKind::Operator(operator), Some(table)) = (&node.kind, &node.table) else { return None };
            let side = Arc::new(operator.instance().static_side()?.emptied());
            let (node, name, table) = (node.name.clone(), table.description(), Arc::clone(table));
            Some(StaticTable { index, node, name, table, side, version: Mutex::default() })
        };
        Self { tables: topology.nodes().iter().enumerate().filter_map(of).collect() }
    }

    /// Whether no operator reads a static table.
    pub(crate) fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    /// Lets an instance of the node with this number read the node's table.
    pub(crate) fn share(&self, node: usize, operator: &mut dyn Operator) {
        let table = self.tables.iter().find(|table| table.index == node);
        if let (Some(table), Some(side)) = (table, operator.static_side()) {
            *side = Arc::clone(&table.side);
        }
    }

    /// Reads the tables that have changed, before the `epoch`; without one, before the query starts. It takes long, so it is no
    /// work for an actor's thread.
    ///
    /// # Errors
    /// When a table cannot be read or indexed; the message names the table and who reads it.
    pub(crate) fn refresh(&self, path: &ActorPath, epoch: Option<Epoch>, clock: &dyn Clock) -> Result<()> {
        self.tables.iter().try_for_each(|table| {
            let refreshed = contained("reading it", || table.refresh(path, epoch, clock));
            refreshed.map_err(|error| error.context(format!("static table {} of `{}`", table.name, table.node)))
        })
    }
}

impl StaticTable {
    fn refresh(&self, path: &ActorPath, epoch: Option<Epoch>, clock: &dyn Clock) -> Result<()> {
        let started = clock.now_micros();
        // Asked before the rows are read: what changes in between is read again rather than missed.
        let version = self.table.version()?;
        if *lock(&self.version) == Some(version) {
            return Ok(());
        }
        self.side.withdraw();
        let batches = self.table.read(None)?.into_iter().map(engine_batch).collect::<Result<Vec<_>>>()?;
        let index = self.side.index(batches)?;
        let (rows, bytes) = (index.rows(), index.bytes());
        self.side.publish(index);
        *lock(&self.version) = Some(version);
        let millis = (clock.now_micros() - started) / 1000;
        trace::static_table_loaded(
            path,
            epoch,
            &LoadedTable { node: &self.node, table: &self.name, rows, bytes, millis },
        );
        Ok(())
    }
}
