//! A running query as its user sees it.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use uuid::Uuid;

use crate::checkpoint::CheckpointReader;
use crate::connector::source::memory::MemoryStreamFactory;
use crate::coordinator::{MemoryLimit, Trigger, TriggerKind};
use crate::dataframe::DataFrame;
use crate::error::{Error, Result};
use crate::observability::{StreamingQueryProgress, StreamingQueryStatus, WatermarkStatus};
use crate::plan::logical::{LogicalPlan, Relation};
use crate::plan::topology::{NodeKind, Topology};
use crate::runtime::{
    CheckpointOptions, LateRows, LaunchOptions, Launched, QueryControl, QueryState, TemporaryDirectory, differences,
    launch,
};
use crate::session::Session;
use crate::settings::Settings;
use crate::store::{self, LocalStore};

/// How long `stop()` waits for the running epoch before it is given up.
const STOP_DEADLINE: Duration = Duration::from_secs(10);

/// A handle to a query. Cheap to clone; dropping it does not stop the query.
#[derive(Clone)]
pub struct StreamingQuery {
    shared: Arc<Shared>,
}

struct Shared {
    id: Uuid,
    run_id: Uuid,
    name: Option<String>,
    state: Arc<QueryState>,
    control: QueryControl,
    late_rows: Arc<LateRows>,
    delivery: String,
    session: Session,
    topology: Topology,
    explained: String,
}

/// What else a query is started with.
#[derive(Debug, Default)]
pub(crate) struct QueryStart {
    /// Where its checkpoint is to be; otherwise below the session's place, or in a temporary directory.
    pub(crate) location: Option<String>,
    /// The plan in words.
    pub(crate) explained: String,
}

/// Starts a query of `session` that runs `topology`.
pub(crate) fn start(
    session: &Session,
    topology: Topology,
    trigger: &Trigger,
    name: Option<String>,
    with: QueryStart,
) -> Result<StreamingQuery> {
    let settings = session.settings();
    let new_id = Uuid::new_v4();
    let checkpoint = checkpoint(&settings, with.location, name.as_deref(), new_id)?;
    let (id, run_id) = (checkpoint_id(&checkpoint)?.unwrap_or(new_id), Uuid::new_v4());
    let queries = session.streams();
    let place = queries.reserve(id, name.as_deref())?;
    let trigger = trigger.resolve()?;
    if matches!(trigger, TriggerKind::Continuous(_)) {
        check_continuous(&topology)?;
    }
    let location = checkpoint.temporary.is_none().then(|| checkpoint.store.location());
    let state = Arc::new(QueryState::new());
    let options = LaunchOptions {
        id,
        run_id,
        name: name.clone(),
        trigger,
        parallelism: settings.parallelism,
        watermarks: settings.watermarks,
        memory: settings.memory_limit.map(|bytes| MemoryLimit { bytes }),
        checkpoint,
        clock: Arc::clone(session.clock()),
        listeners: queries.listeners().clone(),
        on_end: queries.on_end(id),
    };
    let topology = if name.is_none() { topology.renamed(&id.to_string()[..8]) } else { topology };
    let Launched { control, late_rows, delivery } = launch(&topology, options, Arc::clone(&state))?;
    let delivery = delivery.explain(location.as_deref());
    let (session, explained) = (session.clone(), with.explained);
    let shared = Shared { id, run_id, name, state, control, late_rows, delivery, session, topology, explained };
    let query = StreamingQuery { shared: Arc::new(shared) };
    place.fill(&query);
    Ok(query)
}

/// What keeps a query that runs `topology` from going on from its checkpoint; nothing if it can, or if there is none.
pub(crate) fn checkpoint_differences(
    session: &Session,
    topology: &Topology,
    name: Option<&str>,
    location: Option<String>,
) -> Result<Vec<String>> {
    let settings = session.settings();
    let checkpoint = checkpoint(&settings, location, name, Uuid::nil())?;
    let reader = CheckpointReader::new(checkpoint.store);
    differences(topology, &reader, settings.parallelism, settings.watermarks.policy)
}

/// # Errors
/// When a sink needs epochs that come again as they were.
fn check_continuous(topology: &Topology) -> Result<()> {
    let sinks = topology.nodes().iter().filter_map(|node| match &node.kind {
        NodeKind::Sink(sink) => Some(sink),
        NodeKind::Source(_) | NodeKind::Operator(_) => None,
    });
    let mut strict = sinks.filter(|sink| sink.needs_repeatable_epochs());
    strict.next().map_or(Ok(()), |sink| {
        Err(Error::plan(format!(
            "{} cannot be used with a trigger of continuous processing: after a crash its epochs would not come again with the \
             same rows; use .foreach(…), a file sink or another trigger",
            sink.description()
        )))
    })
}

/// Where the checkpoint of a query is: where it was told to be, else a place of its own below the session's, else in a temporary
/// directory that nobody waits for (Spark's rules).
fn checkpoint(
    settings: &Settings,
    location: Option<String>,
    name: Option<&str>,
    id: Uuid,
) -> Result<CheckpointOptions> {
    let below = |root: &String| {
        let name = name.map_or_else(|| id.to_string(), ToString::to_string);
        format!("{}/{name}", root.trim_end_matches('/'))
    };
    let retain = settings.epochs_to_retain;
    if let Some(location) = location.or_else(|| settings.checkpoint_location.as_ref().map(below)) {
        return Ok(CheckpointOptions { store: store::open(&location)?, temporary: None, retain });
    }
    let temporary = TemporaryDirectory::new(&format!("millstream-{id}"));
    let store = Arc::new(LocalStore::without_sync(temporary.path()));
    Ok(CheckpointOptions { store, temporary: Some(temporary), retain })
}

/// The id of the query that keeps its checkpoint there, if there is one.
fn checkpoint_id(checkpoint: &CheckpointOptions) -> Result<Option<Uuid>> {
    let metadata = CheckpointReader::new(Arc::clone(&checkpoint.store)).metadata()?;
    Ok(metadata.map(|metadata| Uuid::from_u128(metadata.id)))
}

impl StreamingQuery {
    /// The query's id.
    pub fn id(&self) -> Uuid {
        self.shared.id
    }

    /// The id of this run of the query.
    pub fn run_id(&self) -> Uuid {
        self.shared.run_id
    }

    /// The name it was given.
    pub fn name(&self) -> Option<&str> {
        self.shared.name.as_deref()
    }

    /// Whether it still runs.
    pub fn is_active(&self) -> bool {
        self.shared.state.is_active()
    }

    /// What it is doing now.
    pub fn status(&self) -> StreamingQueryStatus {
        self.shared.state.status()
    }

    /// The progress of the newest committed epoch.
    pub fn last_progress(&self) -> Option<StreamingQueryProgress> {
        self.shared.state.last_progress()
    }

    /// The progress of the newest hundred committed epochs, oldest first.
    pub fn recent_progress(&self) -> Vec<StreamingQueryProgress> {
        self.shared.state.recent_progress()
    }

    /// Why it failed, if it did.
    pub fn exception(&self) -> Option<Error> {
        self.shared.state.exception()
    }

    /// The plan it runs: as written, as understood, and as a topology; then what it promises of each row, and which part of it sets
    /// the limit.
    pub fn explain(&self) -> String {
        let Shared { explained, topology, delivery, .. } = self.shared.as_ref();
        format!("{explained}\n== Topology ==\n{topology}\n== Delivery ==\n{delivery}\n")
    }

    /// The topology it runs.
    pub fn topology(&self) -> &Topology {
        &self.shared.topology
    }

    /// Waits until the query ends. While anybody waits, Ctrl-C and SIGTERM stop all queries of the process after their running
    /// epochs, so that a program that waits here ends cleanly; a second Ctrl-C ends it at once.
    ///
    /// # Errors
    /// The query's error, if it failed.
    pub fn await_termination(&self) -> Result<()> {
        crate::interrupt::install();
        self.shared.state.wait_for_end(None).unwrap_or(Ok(()))
    }

    /// Waits until the query ends, at most `limit`; answers whether it ended.
    ///
    /// # Errors
    /// The query's error, if it failed.
    pub fn await_termination_timeout(&self, limit: Duration) -> Result<bool> {
        match self.shared.state.wait_for_end(Some(limit)) {
            None => Ok(false),
            Some(outcome) => outcome.map(|()| true),
        }
    }

    /// Waits until everything that was available at the call is committed and visible in
    /// [`recent_progress`](Self::recent_progress), the epoch without input included that shows what the watermark has made
    /// final. Returns at once when the query has ended.
    ///
    /// # Errors
    /// The query's error, if it failed.
    pub fn process_all_available(&self) -> Result<()> {
        let id = self.shared.state.new_drain();
        self.shared.control.drain(id);
        self.shared.state.wait_for_drain(id)
    }

    /// Stops the query after its running epoch; an epoch that takes longer than ten seconds is given up. Stopping again changes
    /// nothing.
    ///
    /// # Errors
    /// None now; a query that failed before says so in [`exception`](Self::exception).
    pub fn stop(&self) -> Result<()> {
        self.stop_within(STOP_DEADLINE)
    }

    /// The same with another deadline for the running epoch.
    ///
    /// # Errors
    /// As [`stop`](Self::stop).
    pub fn stop_within(&self, deadline: Duration) -> Result<()> {
        self.shared.control.stop(deadline);
        let _ = self.shared.state.wait_for_end(None);
        Ok(())
    }

    /// Asks the query to stop without waiting for it.
    pub(crate) fn request_stop(&self) {
        self.shared.control.stop(STOP_DEADLINE);
    }

    /// The rows this query dropped, as a stream: what its operators read of them, then
    ///
    /// | column      | type      | what                                                                              |
    /// |-------------|-----------|-----------------------------------------------------------------------------------|
    /// | `reason`    | STRING    | why: one of [`operator::reason`](crate::operator::reason)                          |
    /// | `watermark` | TIMESTAMP | what the row was judged by; null if it was not                                     |
    /// | `lateness`  | BIGINT    | how many milliseconds its time, or the end of its window, was behind the watermark |
    /// | `operator`  | STRING    | the operator that dropped it                                                       |
    /// | `epoch`     | BIGINT    | the epoch it came in                                                               |
    ///
    /// A row is here once its epoch is committed, and once for each window it was too late for. If a column of the rows has one of these
    /// names, the name here has `_` in front. Where operators read different columns, a row has nulls in those of the others.
    /// Duplicates are counted in progress, not kept. The newest million rows are kept, and of one task and epoch about 65,000; all
    /// are counted.
    #[track_caller]
    pub fn late_rows(&self) -> DataFrame {
        let factory = MemoryStreamFactory { core: self.shared.late_rows.stream() };
        self.shared.session.data_frame(LogicalPlan::new(Relation::Stream(Arc::new(factory))))
    }

    /// Where the watermark stands, which stream holds it there and since when, what would move it, and how many rows other delays
    /// would have found late. `None` for a query without a watermark.
    pub fn explain_watermark(&self) -> Option<WatermarkStatus> {
        self.shared.state.watermark_status()
    }

    /// The watermark the next epoch will run under; `None` without one.
    pub fn watermark(&self) -> Option<SystemTime> {
        let millis = self.shared.state.watermark_ms()?;
        // A watermark is never below zero.
        Some(SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(millis).unwrap_or(0)))
    }
}

impl fmt::Debug for StreamingQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamingQuery")
            .field("id", &self.shared.id)
            .field("name", &self.shared.name)
            .finish_non_exhaustive()
    }
}
