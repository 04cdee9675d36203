//! From a topology to running actors.
//!
//! Owns: the numbered steps of a start (see `runtime`). What can fail fails here, on the caller's thread.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Addr, AsyncContext, Context};
use uuid::Uuid;

use super::checkpoint_actor::{CheckpointActor, CheckpointParts};
use super::coordinator_actor::{CoordinatorActor, CoordinatorParts, OnEnd, Request, TaskEntry};
use super::engine::Engine;
use super::facts::{Facts, LateWarning, MemoryWarning, Roles};
use super::io_pool::contained;
use super::late_rows::LateRows;
use super::listeners::ListenerBus;
use super::memory;
use super::post::{post, post_to};
use super::query_state::QueryState;
use super::recovery::{StatefulNode, plan_record, restore, stateful_nodes};
use super::static_tables::StaticTables;
use super::task_actor::{
    OperatorActor, SinkActor, SourceActor, TaskActor, TaskAddress, TaskContext, Wire, operator_address, sink_address,
    source_address,
};
use super::temporary::TemporaryDirectory;
use crate::checkpoint::{
    CheckpointLog, CheckpointReader, Commits, CompactionMemory, EventTimeRecord, Found, OffsetsRecord, Opening,
    PlanRecord, SinkEnd, offsets_from_text,
};
use crate::clock::Clock;
use crate::connector::source::memory::hold_additions;
use crate::connector::{Delivery, Sink, SinkContext, Source};
use crate::coordinator::{
    EpochMachine, EpochPlan, MemoryLimit, Span, Start, TriggerKind, WatermarkNodeSpec, WatermarkOptions,
    WatermarkPolicy, WatermarkTracker,
};
use crate::error::Result;
use crate::observability::trace::{self, ActorPath};
use crate::operator::{Checked, Exchange, Operator, OperatorContext};
use crate::plan::execution::{ExecutionGraph, TaskKind, TaskSpec};
use crate::plan::topology::{NodeKind, Topology};
use crate::protocol::credit::Window;
use crate::protocol::{Barrier, BarrierKind, Epoch};
use crate::store::CheckpointStore;
use crate::task::{OperatorTask, SinkTask, SourceTask, TaskId};
use crate::types::user_schema;

/// Where a query keeps its checkpoint.
pub(crate) struct CheckpointOptions {
    pub(crate) store: Arc<dyn CheckpointStore>,
    /// Set if the user named no place.
    pub(crate) temporary: Option<TemporaryDirectory>,
    /// How many commits to keep.
    pub(crate) retain: usize,
}

/// What a query runs under.
pub(crate) struct LaunchOptions {
    pub(crate) id: Uuid,
    pub(crate) run_id: Uuid,
    pub(crate) name: Option<String>,
    pub(crate) trigger: TriggerKind,
    pub(crate) parallelism: usize,
    pub(crate) watermarks: WatermarkOptions,
    pub(crate) memory: Option<MemoryLimit>,
    pub(crate) checkpoint: CheckpointOptions,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) listeners: ListenerBus,
    /// Called once, when the query is over.
    pub(crate) on_end: OnEnd,
}

/// How handles reach a running query.
#[derive(Clone)]
pub(crate) struct QueryControl {
    coordinator: Addr<CoordinatorActor>,
}

impl QueryControl {
    pub(crate) fn stop(&self, deadline: Duration) {
        post(&self.coordinator, Request::Stop { deadline });
    }

    pub(crate) fn drain(&self, id: u64) {
        post(&self.coordinator, Request::Drain(id));
    }
}

/// A query that has started.
pub(crate) struct Launched {
    pub(crate) control: QueryControl,
    pub(crate) late_rows: Arc<LateRows>,
    pub(crate) delivery: Delivery,
}

/// A task ready to be put into an actor.
enum Work {
    Source(SourceTask),
    Operator(OperatorTask),
    Sink(SinkTask),
}

/// Starts a query.
///
/// # Errors
/// When a source, sink or operator cannot be opened, or the checkpoint is of another query or not to be had; nothing runs then.
pub(crate) fn launch(topology: &Topology, mut options: LaunchOptions, state: Arc<QueryState>) -> Result<Launched> {
    let engine = Engine::get()?;
    let window = options.memory.map_or_else(Window::default, memory::window);
    let graph = ExecutionGraph::new(topology, options.parallelism, window);
    let statics = Arc::new(StaticTables::of(topology));
    let mut operators = prepare_operators(topology, &graph, &statics)?;
    if let Some(limit) = options.memory {
        memory::limit(limit, &mut operators)?;
    }
    let stateful = stateful_nodes(topology, &graph, &operators);
    let nodes = watermark_nodes(topology, &graph);
    let plan = plan_record(topology, &stateful, &nodes, options.watermarks.policy);
    let (mut log, found) = CheckpointLog::open(Arc::clone(&options.checkpoint.store), opening(plan, &options))?;
    if let Some(limit) = options.memory {
        log.limit_files(memory::pass_bytes(limit));
    }
    options.id = Uuid::from_u128(log.id());
    let (sources, start) = open_sources_at(topology, &found, options.trigger)?;
    statics.refresh(&coordinator_path(topology, &options), None, options.clock.as_ref())?;
    let next = found.last().map_or(0, |last| last.epoch + 1);
    let place = RunPlace {
        generation: log.generation(),
        first_epoch: start.planned.as_ref().map_or(next, |plan| plan.barrier.epoch),
    };
    let ends = open_committers(topology, &options, &place)?;
    let mut writers = open_writers(topology, &graph, &options, &place)?;
    let mut commits = Commits::new(log, ends);
    contained("a sink's recovery", || commits.recover(&found))?;
    restore_state(topology, &options, &found, &commits, &stateful, &mut operators)?;
    let work = graph.tasks.iter().map(|task| work_of(task, &mut operators, &mut writers)).collect();
    let late_rows = Arc::new(LateRows::of(topology, &graph));
    let launch = Launch {
        topology,
        graph: &graph,
        options,
        late_rows: Arc::clone(&late_rows),
        statics,
        state,
        engine,
        sources,
        start,
        first_epoch: place.first_epoch,
        event_time: found.last().map(|last| last.event_time.clone()),
        nodes,
        stateful,
        commits,
    };
    let delivery = launch.delivery();
    Ok(Launched { control: launch.start(work), late_rows, delivery })
}

/// What keeps a query from going on from a checkpoint; nothing if it can, or if nothing was committed there.
///
/// # Errors
/// When an operator cannot be opened or the checkpoint cannot be read.
pub(crate) fn differences(
    topology: &Topology,
    reader: &CheckpointReader,
    parallelism: usize,
    policy: WatermarkPolicy,
) -> Result<Vec<String>> {
    let graph = ExecutionGraph::new(topology, parallelism, Window::default());
    let operators = prepare_operators(topology, &graph, &StaticTables::of(topology))?;
    let stateful = stateful_nodes(topology, &graph, &operators);
    let now = plan_record(topology, &stateful, &watermark_nodes(topology, &graph), policy);
    let plan = reader.find()?.generation().map(|generation| reader.run(generation)).transpose()?;
    Ok(plan.map_or_else(Vec::new, |run| run.plan.differences(&now)))
}

fn opening(plan: PlanRecord, options: &LaunchOptions) -> Opening {
    Opening {
        new_id: options.id.as_u128(),
        host: host(),
        pid: std::process::id(),
        started_micros: options.clock.now_micros(),
        plan,
        retain: options.checkpoint.retain,
    }
}

/// The name of this machine, where it says one.
fn host() -> String {
    let named = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let named = named.or_else(|| std::env::var("HOSTNAME").ok()).or_else(|| std::env::var("COMPUTERNAME").ok());
    named.map_or_else(|| "unknown".to_string(), |name| name.trim().to_string())
}

/// Which run of a checkpoint this is.
struct RunPlace {
    generation: u64,
    first_epoch: Epoch,
}

/// Opens the sources where the checkpoint left them.
pub(crate) fn open_sources_at(
    topology: &Topology,
    found: &Found,
    trigger: TriggerKind,
) -> Result<(Vec<Box<dyn Source>>, Start)> {
    let mut sources = open_sources(topology)?;
    let initial =
        contained("a source", || sources.iter_mut().map(|source| source.initial()).collect::<Result<Vec<_>>>())?;
    for (source, saved) in sources.iter_mut().zip(&found.saved) {
        contained("a source", || saved.iter().try_for_each(|saved| source.restore(saved)))?;
    }
    let offsets = match (found.last(), &found.planned) {
        (Some(last), _) => offsets_from_text(&last.to)?,
        (None, Some(planned)) => offsets_from_text(&planned.from)?,
        (None, None) => initial,
    };
    let planned = found.planned.as_ref().map(replay).transpose()?.map(Box::new);
    if trigger == TriggerKind::AvailableNow {
        let _none_are_added = hold_additions();
        let from = planned.as_ref().map_or(&offsets, |plan| &plan.to);
        contained("a source", || sources.iter_mut().zip(from).try_for_each(|(source, from)| source.fix_end(from)))?;
    }
    Ok((sources, Start { offsets, planned }))
}

/// The epoch that an earlier run planned and did not commit.
fn replay(planned: &OffsetsRecord) -> Result<EpochPlan> {
    let (from, to) = (offsets_from_text(&planned.from)?, offsets_from_text(&planned.to)?);
    let (time, has_data) = (planned.time(), planned.has_data);
    let barrier = Barrier { epoch: planned.epoch, kind: BarrierKind::Durable, has_data };
    let span = Some(Span { from: from.clone(), time, has_data });
    Ok(EpochPlan { barrier, time, from, to, span, is_replay: true })
}

fn restore_state(
    topology: &Topology,
    options: &LaunchOptions,
    found: &Found,
    commits: &Commits,
    stateful: &[StatefulNode],
    operators: &mut BTreeMap<TaskId, OperatorTask>,
) -> Result<()> {
    let Some(last) = found.last() else { return Ok(()) };
    let started = options.clock.now_micros();
    let restored = restore(commits.log().reader(), &last.operators, stateful, operators)?;
    let millis = (options.clock.now_micros() - started) / 1000;
    trace::restored(&coordinator_path(topology, options), last, &restored, commits.log().generation(), millis);
    Ok(())
}

/// Who speaks for the whole query in the log.
fn coordinator_path(topology: &Topology, options: &LaunchOptions) -> ActorPath {
    ActorPath::new(options.name.as_deref().unwrap_or(topology.name()), "coordinator", 0)
}

fn open_sources(topology: &Topology) -> Result<Vec<Box<dyn Source>>> {
    let mut sources = Vec::new();
    for node in topology.nodes() {
        if let NodeKind::Source(factory) = &node.kind {
            let opened = contained("a source", || factory.open(node.projection.as_deref()));
            sources.push(opened.map_err(|error| error.context(format!("source `{}`", node.name)))?);
        }
    }
    Ok(sources)
}

fn sink_context(
    topology: &Topology,
    node: usize,
    options: &LaunchOptions,
    place: &RunPlace,
    instance: usize,
) -> SinkContext {
    let schema = Arc::new(user_schema(&topology.nodes()[node].schema));
    let query = options.name.clone().unwrap_or_else(|| options.id.to_string());
    let ordinal = sinks(topology).position(|(index, _)| index == node).unwrap_or_default();
    SinkContext {
        instance,
        checkpoint: Uuid::from_u128(options.id.as_u128().wrapping_add(ordinal as u128)),
        generation: place.generation,
        first_epoch: place.first_epoch,
        ..SinkContext::new(query, topology.output_mode(), schema)
    }
}

fn sinks(topology: &Topology) -> impl Iterator<Item = (usize, &Arc<dyn Sink>)> {
    topology.nodes().iter().enumerate().filter_map(|(index, node)| match &node.kind {
        NodeKind::Sink(sink) => Some((index, sink)),
        NodeKind::Source(_) | NodeKind::Operator(_) => None,
    })
}

fn open_committers(topology: &Topology, options: &LaunchOptions, place: &RunPlace) -> Result<Vec<SinkEnd>> {
    let open = |(node, sink): (usize, &Arc<dyn Sink>)| {
        let committer = sink.committer(&sink_context(topology, node, options, place, 0))?;
        Ok(SinkEnd::new(committer, sink.guarantee()))
    };
    sinks(topology).map(open).collect()
}

fn open_writers(
    topology: &Topology,
    graph: &ExecutionGraph,
    options: &LaunchOptions,
    place: &RunPlace,
) -> Result<BTreeMap<TaskId, SinkTask>> {
    let mut writers = BTreeMap::new();
    for (node, sink) in sinks(topology) {
        for task in graph.instances(node) {
            let writer = sink.open(&sink_context(topology, node, options, place, task.instance))?;
            let mode = topology.output_mode();
            writers.insert(task.id, SinkTask::new(task.id, writer, &task.wiring, place.first_epoch, mode));
        }
    }
    Ok(writers)
}

/// Opens the operators and exchanges.
pub(crate) fn prepare_operators(
    topology: &Topology,
    graph: &ExecutionGraph,
    statics: &StaticTables,
) -> Result<BTreeMap<TaskId, OperatorTask>> {
    let mut operators = BTreeMap::new();
    for spec in &graph.tasks {
        let operator: Box<dyn Operator> = match &spec.kind {
            TaskKind::Exchange { columns, receivers, .. } => Box::new(Exchange::new(columns.clone(), *receivers)),
            TaskKind::Node(node) => match &topology.nodes()[node.index()].kind {
                NodeKind::Operator(factory) => {
                    let mut operator = factory.instance();
                    statics.share(node.index(), operator.as_mut());
                    operator
                }
                NodeKind::Source(_) | NodeKind::Sink(_) => continue,
            },
        };
        operators.insert(spec.id, prepare_operator(operator, spec)?);
    }
    Ok(operators)
}

/// What the actor of a task will do: what was opened for it, or reading.
fn work_of(
    spec: &TaskSpec,
    operators: &mut BTreeMap<TaskId, OperatorTask>,
    writers: &mut BTreeMap<TaskId, SinkTask>,
) -> Work {
    let operator = operators.remove(&spec.id).map(Work::Operator);
    let work = operator.or_else(|| writers.remove(&spec.id).map(Work::Sink));
    work.unwrap_or_else(|| Work::Source(SourceTask::new(spec.id, &spec.wiring)))
}

/// Opens an operator behind its law-checking wrapper.
pub(crate) fn prepare_operator(operator: Box<dyn Operator>, spec: &TaskSpec) -> Result<OperatorTask> {
    let context = OperatorContext {
        name: spec.name.clone(),
        instance: spec.instance,
        parallelism: spec.parallelism,
        inputs: spec.inputs.clone(),
    };
    let mut checked = Checked::new(spec.name.clone(), operator, &spec.inputs)?;
    contained(&format!("operator `{}`", spec.name), || checked.open(&context))?;
    Ok(OperatorTask::new(spec.id, checked, &spec.wiring))
}

/// A start under way.
struct Launch<'a> {
    topology: &'a Topology,
    graph: &'a ExecutionGraph,
    options: LaunchOptions,
    late_rows: Arc<LateRows>,
    statics: Arc<StaticTables>,
    state: Arc<QueryState>,
    engine: &'static Engine,
    sources: Vec<Box<dyn Source>>,
    start: Start,
    first_epoch: Epoch,
    event_time: Option<EventTimeRecord>,
    nodes: Vec<WatermarkNodeSpec>,
    stateful: Vec<StatefulNode>,
    commits: Commits,
}

impl Launch<'_> {
    /// What the sources and sinks promise together.
    fn delivery(&self) -> Delivery {
        let sources = self.sources.iter().map(|source| (source.description(), source.replays()));
        let sinks = sinks(self.topology).map(|(_, sink)| (sink.description(), sink.guarantee()));
        Delivery::of(&sources.collect::<Vec<_>>(), &sinks.collect::<Vec<_>>())
    }

    /// Starts the actors. The coordinator's actor is made inside its own context, because the others need its address and
    /// it needs theirs.
    fn start(self, work: Vec<Work>) -> QueryControl {
        let Self { topology, graph, options, late_rows, statics, state, engine, sources, start, .. } = self;
        let Self { first_epoch, event_time, nodes, stateful, commits, .. } = self;
        let path = coordinator_path(topology, &options);
        let query = path.query.clone();
        let roles = roles(topology, graph);
        let facts = Facts {
            id: options.id,
            run_id: options.run_id,
            name: options.name,
            path,
            sources: sources.iter().map(|source| source.description()).collect(),
            sink: sinks(topology).map(|(_, sink)| sink.description()).collect::<Vec<_>>().join(", "),
            started_micros: options.clock.now_micros(),
            latest: start.offsets.clone(),
            last_idle: options.clock.now_micros(),
            last_epoch: None,
            late: LateWarning::default(),
            memory: MemoryWarning::new(options.memory),
        };
        let mut watermarks = options.watermarks.clone();
        watermarks.no_data_epochs &= topology.uses_watermark();
        let now = options.clock.now_micros();
        let mut tracker = WatermarkTracker::new(watermarks, nodes, now);
        if let Some(event_time) = &event_time {
            tracker.restore(event_time);
        }
        if tracker.has_nodes() {
            state.set_watermark(Facts::watermark_status(&tracker, now));
        }
        let machine = EpochMachine::new(options.trigger, graph.ids().collect(), tracker, first_epoch);
        let machine = machine.with_memory_limit(options.memory);
        let reads_in_order = topology.depends_on_order();
        let specs: Vec<(TaskSpec, Work)> = graph.tasks.iter().cloned().zip(work).collect();
        let (clock, listeners, on_end) = (options.clock, options.listeners, options.on_end);
        let place = engine.next_place();
        let temporary = options.checkpoint.temporary;
        let compaction_memory = options.memory.map_or_else(CompactionMemory::default, memory::compaction);
        let make = move |ctx: &mut Context<CoordinatorActor>| {
            let me = ctx.address();
            let clock_listener = me.clone();
            clock.subscribe(Box::new(move || post(&clock_listener, Request::ClockMoved)));
            let started = start_tasks(specs, &query, place, engine, (&me, &clock));
            let checkpoint = CheckpointActor::new(CheckpointParts {
                commits,
                operators: stateful,
                temporary,
                path: ActorPath::new(&query, "checkpoint", 0),
                coordinator: me,
                io: engine.io().clone(),
                maintenance: engine.maintenance().clone(),
                compaction_memory,
            });
            let checkpoint = checkpoint.start();
            CoordinatorActor::new(CoordinatorParts {
                machine,
                sources,
                start,
                source_actors: started.source_actors(&roles),
                tasks: started.entries,
                roles,
                checkpoint,
                facts,
                late_rows,
                statics,
                reads_in_order,
                state,
                clock,
                io: engine.io().clone(),
                listeners,
                on_end,
            })
        };
        let coordinator = CoordinatorActor::start_in_arbiter(engine.system(), make);
        QueryControl { coordinator }
    }
}

/// The nodes at which event time is observed, with their tasks.
pub(crate) fn watermark_nodes(topology: &Topology, graph: &ExecutionGraph) -> Vec<WatermarkNodeSpec> {
    let of = |(index, node): (usize, &crate::plan::topology::Node)| {
        let NodeKind::Operator(operator) = &node.kind else { return None };
        let delay = operator.instance().watermark_delay()?;
        let tasks = graph.instances(index).map(|task| task.id).collect();
        Some(WatermarkNodeSpec { name: node.name.clone(), delay, tasks })
    };
    topology.nodes().iter().enumerate().filter_map(of).collect()
}

fn roles(topology: &Topology, graph: &ExecutionGraph) -> Roles {
    let mut roles = Roles::default();
    let mut operators = Vec::new();
    for (index, node) in topology.nodes().iter().enumerate() {
        let tasks: Vec<TaskId> = graph.instances(index).map(|task| task.id).collect();
        match node.kind {
            NodeKind::Source(_) => roles.sources.push(tasks),
            NodeKind::Operator(_) => operators.push((index, node.half_of, tasks)),
            NodeKind::Sink(_) => roles.sinks.push(tasks),
        }
    }
    // The half in front of an exchange reports together with the one behind it.
    for index in topology.nodes_from_output_down() {
        let Some((_, None, tasks)) = operators.iter().find(|(operator, _, _)| *operator == index) else { continue };
        let halves = operators.iter().filter(|(_, half_of, _)| half_of.is_some_and(|of| of.index() == index));
        let tasks = tasks.iter().chain(halves.flat_map(|(_, _, tasks)| tasks)).copied().collect();
        roles.operators.push((topology.nodes()[index].name.clone(), tasks));
    }
    roles
}

/// The actors of a query, by task.
struct StartedTasks {
    entries: Vec<TaskEntry>,
    sources: Vec<(TaskId, Addr<SourceActor>)>,
}

impl StartedTasks {
    fn source_actors(&self, roles: &Roles) -> Vec<Vec<Addr<SourceActor>>> {
        let of = |task: &TaskId| self.sources.iter().find(|(id, _)| id == task).map(|(_, actor)| actor.clone());
        roles.sources.iter().map(|tasks| tasks.iter().filter_map(of).collect()).collect()
    }
}

/// Starts an actor for every task, then tells each the addresses of all.
fn start_tasks(
    specs: Vec<(TaskSpec, Work)>,
    query: &str,
    place: usize,
    engine: &'static Engine,
    (coordinator, clock): (&Addr<CoordinatorActor>, &Arc<dyn Clock>),
) -> StartedTasks {
    let mut started = StartedTasks { entries: Vec::new(), sources: Vec::new() };
    for (spec, work) in specs {
        let arbiter = engine.worker(place, spec.instance);
        let path = ActorPath::new(query, &spec.name, spec.instance);
        let name = path.to_string();
        let (coordinator, clock) = (coordinator.clone(), Arc::clone(clock));
        let context = TaskContext { id: spec.id, path, coordinator, io: engine.io().clone(), clock };
        let address: TaskAddress = match work {
            Work::Source(task) => {
                let actor = SourceActor::start_in_arbiter(arbiter, move |_| TaskActor::new(task, context));
                started.sources.push((spec.id, actor.clone()));
                source_address(name, &actor)
            }
            Work::Operator(task) => {
                let actor = OperatorActor::start_in_arbiter(arbiter, move |_| TaskActor::new(task, context));
                operator_address(name, &actor)
            }
            Work::Sink(task) => {
                let actor = SinkActor::start_in_arbiter(arbiter, move |_| TaskActor::new(task, context));
                sink_address(name, &actor)
            }
        };
        started.entries.push(TaskEntry { address });
    }
    let addresses: Arc<Vec<TaskAddress>> =
        Arc::new(started.entries.iter().map(|entry| entry.address.clone()).collect());
    for address in addresses.iter() {
        post_to(&address.wire, Wire(Arc::clone(&addresses)));
    }
    started
}
