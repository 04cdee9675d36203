//! Keeps results as tables of the session.
//!
//! Owns: the tables, their rows by epoch, and which query writes which. Does not own: looking tables up in SQL
//! (`session`).
//!
//! A writer leaves the rows of an epoch beside the table (*staged*) and the committer takes them over, so a reader sees
//! whole committed epochs only. Taking over epoch N first removes what the table has of N and later epochs, and nothing is
//! left to be taken over a second time: an epoch that runs or is committed again is there once.
//!
//! A table belongs to a checkpoint. A query that continues the checkpoint in the same process, after a failure or a stop,
//! continues the table. A query with another checkpoint, or with other columns, starts an empty one.
//!
//! A table ends with its process. In append and update mode a query that continues a checkpoint in a new process thus has
//! only the rows of its own epochs, from the first it runs; the log says so. (Spark refuses to continue there.) In complete
//! mode the first epoch brings the whole table back.

use std::collections::BTreeMap;
use std::fmt;
use std::mem;
use std::sync::{Arc, Mutex};

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use uuid::Uuid;

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

    /// Forgets a table; false when there is none. A query that writes it right now keeps it.
    pub fn remove(&self, name: &str) -> bool {
        let mut tables = lock(&self.tables);
        let key = name.to_lowercase();
        let is_idle = tables.get(&key).is_some_and(|table| !lock(&table.state).is_active);
        is_idle && tables.remove(&key).is_some()
    }

    /// The table for a writer that starts now: the one its checkpoint has, or an empty one.
    fn open(&self, name: &str, context: &SinkContext) -> Result<Arc<MemoryTable>> {
        let schema = Arc::new(engine_schema(&context.schema));
        let mut tables = lock(&self.tables);
        let known = tables.get(&name.to_lowercase());
        if known.is_some_and(|table| lock(&table.state).is_active) {
            let text = format!("another active query writes the memory table `{name}`");
            return Err(Error::config(format!("{text}; stop it or use another .query_name(…)")));
        }
        if let Some(table) = known
            && table.checkpoint == context.checkpoint
            && table.schema == schema
        {
            lock(&table.state).is_active = true;
            return Ok(Arc::clone(table));
        }
        if context.first_epoch > 0 && context.mode != OutputMode::Complete {
            let first = context.first_epoch;
            log::warn!(
                "the memory table `{name}` has no rows of the epochs before {first}: they went with their process"
            );
        }
        let state = Mutex::new(State { is_active: true, ..State::default() });
        let table = Arc::new(MemoryTable { name: name.to_string(), checkpoint: context.checkpoint, schema, state });
        tables.insert(name.to_lowercase(), Arc::clone(&table));
        Ok(table)
    }
}

/// The committed result of one query.
pub struct MemoryTable {
    name: String,
    checkpoint: Uuid,
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
        let table = self.tables.open(&self.table_name(context), context)?;
        Ok(Box::new(MemoryWriter { table, epoch: 0, rows: Vec::new() }))
    }

    fn committer(&self, context: &SinkContext) -> Result<Box<dyn SinkCommitter>> {
        let (tables, name) = (self.tables.clone(), self.table_name(context));
        let continues = (context.first_epoch > 0).then_some(context.checkpoint);
        Ok(Box::new(MemoryCommitter { tables, name, continues, mode: context.mode }))
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
        let batch = engine_batch(batch.clone())?;
        let columns = batch.columns().iter().map(copied_out).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        self.rows.push(RecordBatch::try_new_with_options(batch.schema(), columns, &options)?);
        Ok(())
    }

    fn prepare(&mut self) -> Result<Prepared> {
        lock(&self.table.state).staged.insert(self.epoch, mem::take(&mut self.rows));
        Ok(Prepared::default())
    }

    fn abort(&mut self) {
        self.rows.clear();
    }

    fn takes_views(&self) -> bool {
        true
    }
}

/// The same values without a share in blocks of input, which the table would keep in memory.
fn copied_out(column: &ArrayRef) -> ArrayRef {
    match column.data_type() {
        DataType::Utf8View if !column.as_string_view().data_buffers().is_empty() => {
            Arc::new(column.as_string_view().gc())
        }
        DataType::BinaryView if !column.as_binary_view().data_buffers().is_empty() => {
            Arc::new(column.as_binary_view().gc())
        }
        _ => Arc::clone(column),
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
    /// The checkpoint of a run that may have to repeat a commit; the table may be another's until its own writer opens it.
    continues: Option<Uuid>,
    mode: OutputMode,
}

impl MemoryCommitter {
    /// The table; `None` for epochs of an earlier process, whose table went down with it.
    fn table(&self) -> Option<Arc<MemoryTable>> {
        let table = self.tables.get(&self.name)?;
        self.continues.is_none_or(|checkpoint| table.checkpoint == checkpoint).then_some(table)
    }
}

impl SinkCommitter for MemoryCommitter {
    fn commit(&mut self, epoch: u64, _: &[Prepared]) -> Result<()> {
        if let Some(table) = self.table() {
            table.commit(epoch, self.mode);
        }
        Ok(())
    }

    fn recover(&mut self, last: Option<u64>) -> Result<()> {
        if let (Some(table), Some(last)) = (self.table(), last) {
            lock(&table.state).staged.retain(|epoch, _| *epoch > last);
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
            Self::start_as(tables, &SinkContext::new("other", mode, word("").schema()))
        }

        fn start_as(tables: &MemoryTables, context: &SinkContext) -> Result<Self> {
            let sink = MemorySink::new("Words", tables.clone());
            let committer = sink.committer(context)?;
            Ok(Self { writer: sink.open(context)?, committer })
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
    fn a_query_that_continues_its_checkpoint_continues_the_table_and_repeats_a_commit_once() {
        let tables = MemoryTables::default();
        let first_run = SinkContext::new("q", OutputMode::Append, word("").schema());
        let mut first = Query::start_as(&tables, &first_run).unwrap();
        first.run(0, &["a"]);
        // Decided, not committed; and one that is not decided.
        first.prepare(1, &["b"]);
        first.prepare(2, &["lost"]);
        drop(first);
        let second_run = SinkContext { first_epoch: 2, generation: 2, ..first_run };
        let mut second = Query::start_as(&tables, &second_run).unwrap();
        for _ in 0..2 {
            second.commit(1);
            second.committer.recover(Some(1)).unwrap();
            assert_eq!(words(&tables), ["a", "b"]);
        }
        second.run(2, &["c"]);
        second.commit(1);
        second.commit(2);
        assert_eq!(words(&tables), ["a", "b", "c"]);
    }

    #[test]
    fn a_commit_is_repeated_before_the_table_is_opened_and_never_in_the_table_of_another_checkpoint() {
        let tables = MemoryTables::default();
        let mut other = Query::start(&tables, OutputMode::Append).unwrap();
        other.run(7, &["theirs"]);
        other.prepare(8, &["also theirs"]);
        let context = SinkContext::new("q", OutputMode::Append, word("").schema());
        let context = SinkContext { first_epoch: 8, ..context };
        let mut committer = MemorySink::new("words", tables.clone()).committer(&context).unwrap();
        for epoch in [7, 8] {
            committer.commit(epoch, &[]).unwrap();
            committer.recover(Some(epoch)).unwrap();
        }
        assert_eq!(words(&tables), ["theirs"]);
        other.commit(8);
        assert_eq!(words(&tables), ["theirs", "also theirs"]);
        drop(other);
        let mut query = Query::start_as(&tables, &context).unwrap();
        query.run(8, &["mine"]);
        assert_eq!(words(&tables), ["mine"]);
    }

    #[test]
    fn a_query_that_continues_with_other_columns_starts_an_empty_table() {
        let tables = MemoryTables::default();
        let context = SinkContext::new("q", OutputMode::Append, word("").schema());
        Query::start_as(&tables, &context).unwrap().run(0, &["a"]);
        let schema = record_batch!(("word", Utf8, ["b"]), ("count", Int64, [1])).unwrap().schema();
        let _query = Query::start_as(&tables, &SinkContext { schema, first_epoch: 1, ..context }).unwrap();
        assert!(words(&tables).is_empty());
        assert_eq!(tables.get("words").unwrap().schema().fields().len(), 2);
    }

    #[test]
    fn only_the_projected_columns_are_read() {
        let tables = MemoryTables::default();
        Query::start(&tables, OutputMode::Append).unwrap().run(0, &["a"]);
        let batches = tables.get("words").unwrap().read(Some(&[])).unwrap();
        assert_eq!((batches[0].num_columns(), batches[0].num_rows()), (0, 1));
    }
}
