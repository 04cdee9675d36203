//! Keeps results as tables of the session.
//!
//! Owns: the tables, their rows by epoch, and which query writes which. Does not own: looking tables up in SQL
//! (`session`).
//!
//! A writer leaves the rows of an epoch beside the table (*staged*) and the committer takes them over, so a reader sees
//! whole committed epochs only. Taking over epoch N first removes what the table has of N and later epochs. So an epoch
//! that runs again, after a crash or because a new query of the same name starts at 0, is there once.

use std::collections::BTreeMap;
use std::fmt;
use std::mem;
use std::sync::{Arc, Mutex};

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;

use crate::clock::lock;
use crate::connector::options::Options;
use crate::connector::{BatchTable, Guarantee, Prepared, Sink, SinkCommitter, SinkContext, SinkWriter, TableVersion};
use crate::error::{Error, Result};
use crate::protocol::OutputMode;
use crate::types::{engine_batch, engine_schema};

/// The tables that memory sinks of one session have written, by name without case. Clones are the same set.
#[derive(Debug, Clone, Default)]
pub struct MemoryTables {
    tables: Arc<Mutex<BTreeMap<String, Arc<MemoryTable>>>>,
}

impl MemoryTables {
    /// The table that the query `name` writes or wrote.
    pub fn get(&self, name: &str) -> Option<Arc<MemoryTable>> {
        lock(&self.tables).get(&name.to_lowercase()).cloned()
    }

    /// The names of all tables, as written.
    pub fn names(&self) -> Vec<String> {
        lock(&self.tables).values().map(|table| table.name.clone()).collect()
    }

    /// Forgets a table; false when there is none. A query that
    /// writes it right now keeps it.
    pub fn remove(&self, name: &str) -> bool {
        let mut tables = lock(&self.tables);
        let key = name.to_lowercase();
        let is_idle = tables.get(&key).is_some_and(|table| !lock(&table.state).is_active);
        is_idle && tables.remove(&key).is_some()
    }

    /// The table for a writer that starts now. It is empty: no query continues another yet.
    fn open(&self, name: &str, schema: &SchemaRef) -> Result<Arc<MemoryTable>> {
        let schema = Arc::new(engine_schema(schema));
        let mut tables = lock(&self.tables);
        let key = name.to_lowercase();
        if tables.get(&key).is_some_and(|table| lock(&table.state).is_active) {
            let text = format!("another active query writes the memory table `{name}`");
            return Err(Error::config(format!("{text}; stop it or use another .query_name(…)")));
        }
        let state = Mutex::new(State { is_active: true, ..State::default() });
        let table = Arc::new(MemoryTable { name: name.to_string(), schema, state });
        tables.insert(key, Arc::clone(&table));
        Ok(table)
    }
}

/// The committed result of one query.
pub struct MemoryTable {
    name: String,
    schema: SchemaRef,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Rows by the epoch that brought them, in the types of the engine.
    committed: BTreeMap<u64, Vec<RecordBatch>>,
    staged: BTreeMap<u64, Vec<RecordBatch>>,
    /// How often rows became visible.
    commits: u64,
    is_active: bool,
}

impl MemoryTable {
    /// The name of the query that writes it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Makes the staged rows of `epoch` visible; nothing staged means that they are already.
    fn commit(&self, epoch: u64, mode: OutputMode) {
        let mut state = lock(&self.state);
        let Some(rows) = state.staged.remove(&epoch) else { return };
        state.staged = state.staged.split_off(&epoch);
        match mode {
            OutputMode::Complete => state.committed.clear(),
            OutputMode::Append | OutputMode::Update => drop(state.committed.split_off(&epoch)),
        }
        state.committed.insert(epoch, rows);
        state.commits += 1;
    }
}

impl fmt::Debug for MemoryTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.description())
    }
}

impl BatchTable for MemoryTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn description(&self) -> String {
        format!("MemoryTable[{}]", self.name)
    }

    fn read(&self, projection: Option<&[usize]>) -> Result<Vec<RecordBatch>> {
        let batches: Vec<RecordBatch> = lock(&self.state).committed.values().flatten().cloned().collect();
        match projection {
            None => Ok(batches),
            Some(columns) => batches.iter().map(|batch| Ok(batch.project(columns)?)).collect(),
        }
    }

    /// Moves with each committed epoch.
    fn version(&self) -> Result<TableVersion> {
        Ok(TableVersion::of(lock(&self.state).commits))
    }
}

/// Writes the table that has the name of its query.
#[derive(Debug, Clone)]
pub struct MemorySink {
    name: Option<String>,
    tables: MemoryTables,
}

impl MemorySink {
    /// Writes the table `name` of `tables`.
    pub fn new(name: impl Into<String>, tables: MemoryTables) -> Self {
        Self { name: Some(name.into()), tables }
    }

    /// Reads the option `queryName`; without it the table has the query's own name.
    pub(super) fn from_options(options: &Options, tables: MemoryTables) -> Result<Self> {
        let name = options.text("queryName").map(ToString::to_string);
        options.finish("the memory sink")?;
        Ok(Self { name, tables })
    }

    fn table_name(&self, context: &SinkContext) -> String {
        self.name.clone().unwrap_or_else(|| context.query.clone())
    }
}

impl Sink for MemorySink {
    fn description(&self) -> String {
        match &self.name {
            Some(name) => format!("MemorySink[{name}]"),
            None => "MemorySink".to_string(),
        }
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::ExactlyOnce
    }

    fn open(&self, context: &SinkContext) -> Result<Box<dyn SinkWriter>> {
        let table = self.tables.open(&self.table_name(context), &context.schema)?;
        Ok(Box::new(MemoryWriter { table, epoch: 0, rows: Vec::new() }))
    }

    fn committer(&self, context: &SinkContext) -> Result<Box<dyn SinkCommitter>> {
        let (tables, name) = (self.tables.clone(), self.table_name(context));
        Ok(Box::new(MemoryCommitter { tables, name, mode: context.mode }))
    }
}

struct MemoryWriter {
    table: Arc<MemoryTable>,
    epoch: u64,
    rows: Vec<RecordBatch>,
}

impl SinkWriter for MemoryWriter {
    fn begin(&mut self, epoch: u64) -> Result<()> {
        self.rows.clear();
        self.epoch = epoch;
        Ok(())
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.rows.push(engine_batch(batch.clone())?);
        Ok(())
    }

    fn prepare(&mut self) -> Result<Prepared> {
        lock(&self.table.state).staged.insert(self.epoch, mem::take(&mut self.rows));
        Ok(Prepared::default())
    }

    fn abort(&mut self) {
        self.rows.clear();
    }
}

/// Another query may write the table from now on.
impl Drop for MemoryWriter {
    fn drop(&mut self) {
        lock(&self.table.state).is_active = false;
    }
}

struct MemoryCommitter {
    tables: MemoryTables,
    name: String,
    mode: OutputMode,
}

impl SinkCommitter for MemoryCommitter {
    fn commit(&mut self, epoch: u64, _: &[Prepared]) -> Result<()> {
        // No table: an epoch of an earlier process, whose table went down with it.
        if let Some(table) = self.tables.get(&self.name) {
            table.commit(epoch, self.mode);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::cast::AsArray;
    use arrow::array::record_batch;
    use arrow::datatypes as arrow_schema; // the name by which record_batch! knows it
    use arrow::datatypes::DataType;

    use super::*;

    fn word(text: &str) -> RecordBatch {
        record_batch!(("word", Utf8, [text])).unwrap()
    }

    struct Query {
        writer: Box<dyn SinkWriter>,
        committer: Box<dyn SinkCommitter>,
    }

    impl Query {
        fn start(tables: &MemoryTables, mode: OutputMode) -> Result<Self> {
            let sink = MemorySink::new("Words", tables.clone());
            let schema = word("").schema();
            let context = SinkContext::new("other", mode, schema);
            Ok(Self { writer: sink.open(&context)?, committer: sink.committer(&context)? })
        }

        fn prepare(&mut self, epoch: u64, words: &[&str]) {
            self.writer.begin(epoch).unwrap();
            for text in words {
                self.writer.write(&word(text)).unwrap();
            }
            self.writer.prepare().unwrap();
        }

        fn commit(&mut self, epoch: u64) {
            self.committer.commit(epoch, &[]).unwrap();
        }

        fn run(&mut self, epoch: u64, words: &[&str]) {
            self.prepare(epoch, words);
            self.commit(epoch);
        }
    }

    fn words(tables: &MemoryTables) -> Vec<String> {
        let batches = tables.get("words").unwrap().read(None).unwrap();
        let texts = |batch: &RecordBatch| -> Vec<String> {
            batch.column(0).as_string_view().iter().map(|text| text.unwrap().to_string()).collect()
        };
        batches.iter().flat_map(texts).collect()
    }

    #[test]
    fn a_table_is_there_before_the_first_epoch_in_the_types_of_the_engine() {
        let tables = MemoryTables::default();
        let _query = Query::start(&tables, OutputMode::Append).unwrap();
        assert_eq!(tables.names(), ["Words"]);
        assert_eq!(tables.get("WORDS").unwrap().schema().field(0).data_type(), &DataType::Utf8View);
        assert!(words(&tables).is_empty());
    }

    #[test]
    fn rows_are_seen_once_their_epoch_is_committed_and_a_repeat_changes_nothing() {
        let tables = MemoryTables::default();
        let mut query = Query::start(&tables, OutputMode::Update).unwrap();
        query.prepare(0, &["a", "b"]);
        assert!(words(&tables).is_empty());
        query.commit(0);
        query.commit(0);
        query.run(1, &["c"]);
        query.run(1, &["c"]);
        assert_eq!(words(&tables), ["a", "b", "c"]);
    }

    #[test]
    fn each_commit_is_another_version_and_a_repeat_is_none() {
        let tables = MemoryTables::default();
        let mut query = Query::start(&tables, OutputMode::Append).unwrap();
        let version = || tables.get("words").unwrap().version().unwrap();
        let empty = version();
        query.prepare(0, &["a"]);
        assert_eq!(version(), empty);
        query.commit(0);
        let first = version();
        assert_ne!(first, empty);
        query.commit(0);
        assert_eq!(version(), first);
        query.run(1, &["b"]);
        assert!(version() != first && version() != empty);
    }

    #[test]
    fn a_complete_result_replaces_the_table() {
        let tables = MemoryTables::default();
        let mut query = Query::start(&tables, OutputMode::Complete).unwrap();
        query.run(0, &["a"]);
        query.run(1, &["b", "c"]);
        assert_eq!(words(&tables), ["b", "c"]);
    }

    #[test]
    fn an_aborted_epoch_leaves_nothing() {
        let tables = MemoryTables::default();
        let mut query = Query::start(&tables, OutputMode::Append).unwrap();
        query.writer.begin(0).unwrap();
        query.writer.write(&word("a")).unwrap();
        query.writer.abort();
        query.run(0, &["b"]);
        assert_eq!(words(&tables), ["b"]);
    }

    #[test]
    fn a_second_active_query_of_a_name_is_refused_and_a_later_one_starts_anew() {
        let tables = MemoryTables::default();
        let mut first = Query::start(&tables, OutputMode::Append).unwrap();
        first.run(0, &["a"]);
        first.prepare(1, &["b"]);
        let error = Query::start(&tables, OutputMode::Append).map(|_| ()).unwrap_err();
        assert!(error.message().contains("`Words`"), "{error}");
        assert!(!tables.remove("words"));
        drop(first);

        let mut second = Query::start(&tables, OutputMode::Append).unwrap();
        assert!(words(&tables).is_empty());
        second.run(0, &["again"]);
        assert_eq!(words(&tables), ["again"]);
        drop(second);
        assert!(tables.remove("words"));
        assert!(tables.get("words").is_none());
    }

    #[test]
    fn only_the_projected_columns_are_read() {
        let tables = MemoryTables::default();
        Query::start(&tables, OutputMode::Append).unwrap().run(0, &["a"]);
        let batches = tables.get("words").unwrap().read(Some(&[])).unwrap();
        assert_eq!((batches[0].num_columns(), batches[0].num_rows()), (0, 1));
    }
}
