//! Where rows come from and where they go: the two traits, and the connectors of the house.
//!
//! Owns: reading outside data by offsets, writing results by epochs, and the names users give formats and options.
//! Does not own: when to read or commit (`coordinator`) or how rows travel in between.
//!
//! | source | replays | ends | | sink | guarantee |
//! |---|---|---|---|---|---|
//! | `text` `csv` `json` (`parquet`) | yes | no | | `console` | at least once |
//! | `socket` | no | when the peer closes | | `memory` | each epoch once while the process lives |
//! | `rate` `rate-micro-batch` | yes | no | | `text` `csv` `json` (`parquet`) | exactly once |
//! | `MemoryStream` | yes | no | | `foreach` `foreach_batch` | at least once |
//!
//! All methods of opened sources and sinks are called where blocking is allowed: on the thread that starts the query, then on
//! threads of the IO pool; on an actor's only if the source says that it never blocks.

mod delivery;
pub mod format;
pub mod options;
pub mod sink;
pub mod source;

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::Result;
use crate::observability::Arrival;
use crate::protocol::OutputMode;

pub(crate) use delivery::Delivery;

/// A path without the `file:` of a URL.
pub(crate) fn local_path(path: &str) -> &str {
    path.strip_prefix("file://").or_else(|| path.strip_prefix("file:")).unwrap_or(path)
}

/// A place in a source, as JSON that only the source itself understands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Offset(pub serde_json::Value);

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl From<i64> for Offset {
    fn from(value: i64) -> Self {
        Self(value.into())
    }
}

/// How much of what is available one epoch may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadLimit {
    /// Everything; the source's own rate options are ignored (`Trigger::once`).
    All,
    /// At most what the source's rate options allow.
    Options,
    /// The same, and no more than about so many bytes, but something: the query has a memory limit. A source that cannot tell bytes
    /// takes it for [`Options`](Self::Options).
    Bytes(u64),
}

/// Tells the query that its source may have new rows; cheap, from any thread, as often as one likes.
#[derive(Clone)]
pub struct SourceWaker(Arc<dyn Fn() + Send + Sync>);

impl SourceWaker {
    /// Wraps what is to be done when the source has news.
    pub fn new(wake: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Arc::new(wake))
    }

    /// Says that there may be new rows.
    pub fn wake(&self) {
        (self.0)();
    }
}

impl fmt::Debug for SourceWaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SourceWaker")
    }
}

/// When the query should ask a source again that had nothing new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextPoll {
    /// The source calls its [`SourceWaker`] by itself.
    OnWake,
    /// Ask again after this long.
    After(Duration),
    /// Nothing will ever come again: the stream has ended.
    Ended,
}

/// A stream of rows that can be read by ranges of offsets.
///
/// The query calls, in this order: [`initial`](Self::initial) once, [`restore`](Self::restore) if it continues an earlier run,
/// then for each epoch [`latest`](Self::latest), [`plan`](Self::plan) and [`save`](Self::save), and [`commit`](Self::commit) when
/// the epoch is committed. A run that continues starts from a stored offset instead of the initial one, and plans an epoch again that
/// an earlier run planned and did not commit.
pub trait Source: Send + 'static {
    /// The columns every batch has.
    fn schema(&self) -> SchemaRef;

    /// One line for progress and explain, such as `TextSocketSource[host: localhost, port: 9999]`.
    fn description(&self) -> String;

    /// The offset before the first row.
    ///
    /// # Errors
    /// When the outside world is not as the options say (no such directory, connection refused).
    fn initial(&mut self) -> Result<Offset>;

    /// The newest offset an epoch that starts at `from` may reach under `limit`; `from` itself when nothing is new.
    ///
    /// # Errors
    /// When the source failed for good; the query fails with it.
    fn latest(&mut self, from: &Offset, limit: ReadLimit) -> Result<Offset>;

    /// Splits the rows after `from` up to and including `to` into at most `parallelism` readers. The same range gives the
    /// same rows in the same order as long as the source [replays](Self::replays).
    ///
    /// # Errors
    /// When the range is not there any more.
    fn plan(&mut self, from: &Offset, to: &Offset, parallelism: usize) -> Result<Vec<Box<dyn SplitReader>>>;

    /// What a later run needs beside the offsets to plan the range after `from` up to `to` again, and to know that it was
    /// read; it is kept in the checkpoint before the range is read. Nothing for a source whose offsets say it all.
    ///
    /// # Errors
    /// When the range is not known.
    fn save(&mut self, from: &Offset, to: &Offset) -> Result<Option<Vec<u8>>> {
        let _ = (from, to);
        Ok(None)
    }

    /// The same for everything up to `to`, in as few bytes as it takes: asked for now and then, in place of all that was saved
    /// before. `None` for a source that never saves anything.
    ///
    /// # Errors
    /// As [`save`](Self::save).
    fn save_all(&mut self, to: &Offset) -> Result<Option<Vec<u8>>> {
        let _ = to;
        Ok(None)
    }

    /// Takes back what [`save_all`](Self::save_all) and [`save`](Self::save) gave, in order, after [`initial`](Self::initial) and
    /// before anything else is asked.
    ///
    /// # Errors
    /// When it is not of this source.
    fn restore(&mut self, saved: &[u8]) -> Result<()> {
        let _ = saved;
        Ok(())
    }

    /// Rows up to `through` are committed and will not be asked for again.
    ///
    /// # Errors
    /// When the source cannot record that; logged, the query goes on.
    fn commit(&mut self, through: &Offset) -> Result<()> {
        let _ = through;
        Ok(())
    }

    /// Fixes the end of the stream at what is available now; later calls of [`latest`](Self::latest) never go beyond it
    /// (`Trigger::available_now`).
    ///
    /// # Errors
    /// As [`latest`](Self::latest).
    fn fix_end(&mut self, from: &Offset) -> Result<()>;

    /// Gives the source the means to say that it has news. Called once, before the first [`latest`](Self::latest).
    fn subscribe(&mut self, waker: SourceWaker) {
        let _ = waker;
    }

    /// When to ask again after [`latest`](Self::latest) found nothing.
    fn next_poll(&mut self) -> NextPoll {
        NextPoll::OnWake
    }

    /// Whether an uncommitted range can be read again after a crash.
    fn replays(&self) -> bool {
        true
    }

    /// Counts for progress, such as malformed rows.
    fn metrics(&self) -> BTreeMap<String, u64> {
        BTreeMap::new()
    }

    /// When the rows of a range that is about to be planned were read from outside, for measuring latency; nothing from a source that does
    /// not know.
    fn arrivals(&self, from: &Offset, to: &Offset) -> Vec<Arrival> {
        let _ = (from, to);
        Vec::new()
    }

    /// Whether everything but [`initial`](Self::initial) is done in memory and never waits for the outside. Such a source is asked by
    /// the query's own actors, which saves handing it to another thread and back for each step of an epoch.
    fn never_blocks(&self) -> bool {
        false
    }
}

/// Reads one part of an epoch's rows.
pub trait SplitReader: Send {
    /// The next rows, or `None` at the end. Batches should hold a few thousand rows and at most about a megabyte.
    ///
    /// # Errors
    /// When the rows cannot be read or decoded; the query fails with it.
    fn next(&mut self) -> Result<Option<RecordBatch>>;

    /// Whether [`next`](Self::next) hands out what is in memory and never waits for the outside; then the source's actor calls it
    /// without another thread.
    fn never_blocks(&self) -> bool {
        false
    }
}

/// Makes a [`Source`] at the start of each run; what a plan or a topology holds.
///
/// Every source that is `Clone` is its own factory.
pub trait SourceFactory: Send + Sync + 'static {
    /// The columns, known before anything is opened.
    fn schema(&self) -> SchemaRef;

    /// One line for explain.
    fn description(&self) -> String;

    /// Opens the source, reading only the columns `projection` names by index, in that order; `None` is all of them.
    ///
    /// # Errors
    /// When an option is wrong.
    fn open(&self, projection: Option<&[usize]>) -> Result<Box<dyn Source>>;
}

/// Every source that is `Clone` is its own factory.
impl<S: Source + Clone + Sync> SourceFactory for S {
    fn schema(&self) -> SchemaRef {
        Source::schema(self)
    }

    fn description(&self) -> String {
        Source::description(self)
    }

    fn open(&self, projection: Option<&[usize]>) -> Result<Box<dyn Source>> {
        Ok(match projection {
            None => Box::new(self.clone()),
            Some(columns) => Box::new(Projected { source: self.clone(), columns: columns.to_vec() }),
        })
    }
}

/// A source whose batches are cut to some of their columns.
struct Projected<S> {
    source: S,
    columns: Vec<usize>,
}

struct ProjectedReader {
    reader: Box<dyn SplitReader>,
    columns: Vec<usize>,
}

impl<S: Source> Source for Projected<S> {
    fn schema(&self) -> SchemaRef {
        let schema = self.source.schema();
        schema.project(&self.columns).map_or(schema, Arc::new)
    }

    fn description(&self) -> String {
        self.source.description()
    }

    fn initial(&mut self) -> Result<Offset> {
        self.source.initial()
    }

    fn latest(&mut self, from: &Offset, limit: ReadLimit) -> Result<Offset> {
        self.source.latest(from, limit)
    }

    fn plan(&mut self, from: &Offset, to: &Offset, parallelism: usize) -> Result<Vec<Box<dyn SplitReader>>> {
        let readers = self.source.plan(from, to, parallelism)?.into_iter();
        let cut = |reader| Box::new(ProjectedReader { reader, columns: self.columns.clone() }) as Box<dyn SplitReader>;
        Ok(readers.map(cut).collect())
    }

    fn save(&mut self, from: &Offset, to: &Offset) -> Result<Option<Vec<u8>>> {
        self.source.save(from, to)
    }

    fn save_all(&mut self, to: &Offset) -> Result<Option<Vec<u8>>> {
        self.source.save_all(to)
    }

    fn restore(&mut self, saved: &[u8]) -> Result<()> {
        self.source.restore(saved)
    }

    fn commit(&mut self, through: &Offset) -> Result<()> {
        self.source.commit(through)
    }

    fn fix_end(&mut self, from: &Offset) -> Result<()> {
        self.source.fix_end(from)
    }

    fn subscribe(&mut self, waker: SourceWaker) {
        self.source.subscribe(waker);
    }

    fn next_poll(&mut self) -> NextPoll {
        self.source.next_poll()
    }

    fn replays(&self) -> bool {
        self.source.replays()
    }

    fn metrics(&self) -> BTreeMap<String, u64> {
        self.source.metrics()
    }

    fn arrivals(&self, from: &Offset, to: &Offset) -> Vec<Arrival> {
        self.source.arrivals(from, to)
    }

    fn never_blocks(&self) -> bool {
        self.source.never_blocks()
    }
}

impl SplitReader for ProjectedReader {
    fn next(&mut self) -> Result<Option<RecordBatch>> {
        self.reader.next()?.map(|batch| Ok(batch.project(&self.columns)?)).transpose()
    }

    fn never_blocks(&self) -> bool {
        self.reader.never_blocks()
    }
}

impl fmt::Debug for dyn SourceFactory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.description())
    }
}

impl fmt::Debug for dyn BatchTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.description())
    }
}

/// A table that does not grow while it is read.
///
/// A query that joins a stream with it reads it when it starts, and again between two epochs when its
/// [`version`](Self::version) has changed.
pub trait BatchTable: Send + Sync + 'static {
    /// The columns of the table.
    fn schema(&self) -> SchemaRef;

    /// One line for explain.
    fn description(&self) -> String;

    /// Reads all rows, only the columns `projection` names by index; `None` is all of them.
    ///
    /// # Errors
    /// When the data cannot be read or decoded.
    fn read(&self, projection: Option<&[usize]>) -> Result<Vec<RecordBatch>>;

    /// What tells whether reading again would give other rows. A query asks before each epoch, so this should cost little; it asks
    /// before it reads, so rows that come in between are read again rather than missed. A table that never changes needs
    /// none.
    ///
    /// # Errors
    /// When it cannot be told; the query fails with it.
    fn version(&self) -> Result<TableVersion> {
        Ok(TableVersion::default())
    }
}

/// What the rows of a [`BatchTable`] depend on: while it stays the same, so do they.
///
/// ```
/// use millstream::connector::TableVersion;
///
/// let files = [("a.csv", 120), ("b.csv", 80)];
/// assert_eq!(TableVersion::of(files), TableVersion::of(files));
/// assert_ne!(TableVersion::of(files), TableVersion::of(&files[..1]));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct TableVersion(u64);

impl TableVersion {
    /// The version that stands for `value`: a counter, the names and sizes of files, the versions of other tables. It holds
    /// for this process only.
    pub fn of(value: impl Hash) -> Self {
        let mut hasher = DefaultHasher::new();
        value.hash(&mut hasher);
        Self(hasher.finish())
    }
}

/// What a sink promises about the rows of an epoch that was run twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Guarantee {
    /// Rows of an epoch that was interrupted can appear twice.
    AtLeastOnce,
    /// Rows are staged and become visible with the commit of their epoch, once.
    ExactlyOnce,
}

/// What a sink is told when a query opens it.
#[derive(Debug, Clone)]
pub struct SinkContext {
    /// The name of the query, or its id.
    pub query: String,
    /// How the rows are to be taken: appended, merged by key, or as the whole table.
    pub mode: OutputMode,
    /// The columns of every batch. STRING columns arrive as `Utf8`.
    pub schema: SchemaRef,
    /// Which of the sink's writers this is, from 0.
    pub instance: usize,
    /// Names this sink of the query's checkpoint: the same for its writers and its committer, and in every run that continues the
    /// checkpoint; another for every other sink and query.
    pub checkpoint: Uuid,
    /// The number of the run that continues this checkpoint, from 1. Of two processes that run at once, mistakenly, each has its
    /// own.
    pub generation: u64,
    /// The number of the first epoch of this run: one that was planned and not committed, or one more than the last that is
    /// committed.
    pub first_epoch: u64,
}

impl SinkContext {
    /// The context of the only writer of a query that has no checkpoint: of a static write, or of a test.
    pub fn new(query: impl Into<String>, mode: OutputMode, schema: SchemaRef) -> Self {
        let query = query.into();
        Self { query, mode, schema, instance: 0, checkpoint: Uuid::new_v4(), generation: 1, first_epoch: 0 }
    }
}

/// What one writer has prepared for the commit of an epoch; the committer of the same sink understands it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prepared(pub Vec<u8>);

/// A place for results.
pub trait Sink: Send + Sync + 'static {
    /// One line for progress and explain.
    fn description(&self) -> String;

    /// Says whether rows of this mode and schema can be written at all; called at `start()`.
    ///
    /// # Errors
    /// When not, with the remedy.
    fn check(&self, mode: OutputMode, schema: &SchemaRef) -> Result<()> {
        let _ = (mode, schema);
        Ok(())
    }

    /// What the sink promises.
    fn guarantee(&self) -> Guarantee;

    /// Whether an epoch that was interrupted must come again with its number and its rows, because what the sink does depends on it. A
    /// query with a trigger of continuous processing cannot promise that and is refused.
    fn needs_repeatable_epochs(&self) -> bool {
        false
    }

    /// Whether several writers may work side by side; otherwise there is one, which sees all rows.
    fn is_parallel(&self) -> bool {
        false
    }

    /// Opens a writer.
    ///
    /// # Errors
    /// When the target cannot be written.
    fn open(&self, context: &SinkContext) -> Result<Box<dyn SinkWriter>>;

    /// Opens the one committer of a query.
    ///
    /// # Errors
    /// When the target cannot be written.
    fn committer(&self, context: &SinkContext) -> Result<Box<dyn SinkCommitter>> {
        let _ = context;
        Ok(Box::new(NothingToCommit))
    }
}

/// Takes the rows of one sink instance, epoch by epoch: `begin`, `write`*, then `prepare` or `abort`.
pub trait SinkWriter: Send {
    /// Rows of `epoch` follow.
    ///
    /// # Errors
    /// When the target cannot be written.
    fn begin(&mut self, epoch: u64) -> Result<()>;

    /// Takes rows.
    ///
    /// # Errors
    /// When the target cannot be written.
    fn write(&mut self, batch: &RecordBatch) -> Result<()>;

    /// All rows of the epoch were written: makes them durable, not yet visible where the sink can. Called for epochs
    /// without rows too.
    ///
    /// # Errors
    /// When the target cannot be written; the epoch is not committed then.
    fn prepare(&mut self) -> Result<Prepared>;

    /// The epoch will not be committed: forget what was written of it.
    fn abort(&mut self);

    /// Whether [`write`](Self::write) may be handed STRING and BINARY columns as views (`Utf8View`, `BinaryView`), which saves copying
    /// them. A view can keep a whole block of input in memory: what is kept for long should be copied out.
    fn takes_views(&self) -> bool {
        false
    }
}

/// Makes prepared epochs visible, in order. One a sink and query.
pub trait SinkCommitter: Send {
    /// Publishes what the writers prepared. Called again for the same epoch after a crash, so a repeat must change nothing.
    ///
    /// # Errors
    /// When the target cannot be written.
    fn commit(&mut self, epoch: u64, prepared: &[Prepared]) -> Result<()>;

    /// A run continues after `last` (`None`: from the beginning), whose commit was repeated just now if need be: what was staged
    /// for that epoch or an earlier one and not committed will never be, and can go. What is staged for later epochs must stay:
    /// another process may still be about to commit it.
    ///
    /// # Errors
    /// When the target cannot be written.
    fn recover(&mut self, last: Option<u64>) -> Result<()> {
        let _ = last;
        Ok(())
    }
}

/// The committer of sinks whose rows are out once they are written.
#[derive(Debug, Clone, Copy, Default)]
pub struct NothingToCommit;

impl SinkCommitter for NothingToCommit {
    fn commit(&mut self, _: u64, _: &[Prepared]) -> Result<()> {
        Ok(())
    }
}
