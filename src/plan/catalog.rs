//! Names a session knows: temporary views, Rust functions, tables of memory sinks.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::logical::LogicalPlan;
use crate::clock::lock;
use crate::connector::BatchTable;
use crate::connector::sink::MemoryTables;
use crate::expr::ScalarUdf;

/// What a table name stands for.
pub(crate) enum NamedTable {
    View(LogicalPlan),
    Memory(Arc<dyn BatchTable>),
}

/// The names of one session, all matched without case.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    views: Mutex<BTreeMap<String, LogicalPlan>>,
    udfs: Mutex<BTreeMap<String, Arc<ScalarUdf>>>,
    /// The tables of memory sinks.
    pub(crate) tables: MemoryTables,
}

impl Catalog {
    /// Names a plan; a view of that name is replaced.
    pub(crate) fn set_view(&self, name: &str, plan: LogicalPlan) {
        lock(&self.views).insert(name.to_lowercase(), plan);
    }

    /// Names a function; one of that name is replaced.
    pub(crate) fn set_udf(&self, udf: ScalarUdf) {
        lock(&self.udfs).insert(udf.name().to_lowercase(), Arc::new(udf));
    }

    /// The function of this name.
    pub(crate) fn udf(&self, name: &str) -> Option<Arc<ScalarUdf>> {
        lock(&self.udfs).get(&name.to_lowercase()).cloned()
    }

    /// The view or memory table of this name; a view hides a table.
    pub(crate) fn table(&self, name: &str) -> Option<NamedTable> {
        if let Some(view) = lock(&self.views).get(&name.to_lowercase()) {
            return Some(NamedTable::View(view.clone()));
        }
        self.tables.get(name).map(|table| NamedTable::Memory(table as Arc<dyn BatchTable>))
    }

    /// The names of all views and tables.
    pub(crate) fn table_names(&self) -> Vec<String> {
        lock(&self.views).keys().cloned().chain(self.tables.names()).collect()
    }

    /// The names of all functions.
    pub(crate) fn udf_names(&self) -> Vec<String> {
        lock(&self.udfs).keys().cloned().collect()
    }
}
