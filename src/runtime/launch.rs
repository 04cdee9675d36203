//! From a topology to running actors.
//!
//! Owns: the numbered steps of a start (see `runtime`). What can fail fails here, on the caller's thread.

use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Addr, AsyncContext, Context};
use uuid::Uuid;

use super::checkpoint_actor::CheckpointActor;
use super::coordinator_actor::{CoordinatorActor, CoordinatorParts, OnEnd, Request, TaskEntry};
use super::engine::Engine;
use super::facts::{Facts, LateWarning, Roles};
use super::io_pool::contained;
use super::late_rows::LateRows;
use super::listeners::ListenerBus;
use super::post::{post, post_to};
use super::query_state::QueryState;
use super::static_tables::StaticTables;
use super::task_actor::{
    OperatorActor, SinkActor, SourceActor, TaskActor, TaskAddress, TaskContext, Wire, operator_address, sink_address,
    source_address,
};
use crate::clock::Clock;
use crate::connector::source::memory;
use crate::connector::{Offset, Sink, SinkCommitter, SinkContext, SinkWriter, Source};
use crate::coordinator::{EpochMachine, TriggerKind, WatermarkNodeSpec, WatermarkOptions, WatermarkTracker};
use crate::error::Result;
use crate::observability::trace::ActorPath;
use crate::operator::{Checked, Exchange, Operator, OperatorContext};
use crate::plan::execution::{ExecutionGraph, TaskKind, TaskSpec};
use crate::plan::topology::{NodeKind, Topology};
use crate::protocol::credit::Window;
use crate::task::{OperatorTask, SinkTask, SourceTask, TaskId};
use crate::types::user_schema;

/// What a query runs under.
pub(crate) struct LaunchOptions {
    pub(crate) id: Uuid,
    pub(crate) run_id: Uuid,
    pub(crate) name: Option<String>,
    pub(crate) trigger: TriggerKind,
    pub(crate) parallelism: usize,
    pub(crate) watermarks: WatermarkOptions,
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

/// A task ready to be put into an actor.
enum Work {
    Source(SourceTask),
    Operator(OperatorTask),
    Sink(SinkTask),
}

/// Starts a query.
///
/// # Errors
/// When a source, sink or operator cannot be opened; nothing runs then.
pub(crate) fn launch(
    topology: &Topology,
    options: LaunchOptions,
    state: Arc<QueryState>,
) -> Result<(QueryControl, Arc<LateRows>)> {
    let engine = Engine::get()?;
    let graph = ExecutionGraph::new(topology, options.parallelism, Window::default());
    let mut sources = open_sources(topology)?;
    let initial =
        contained("a source", || sources.iter_mut().map(|source| source.initial()).collect::<Result<Vec<_>>>())?;
    if options.trigger == TriggerKind::AvailableNow {
        let _none_are_added = memory::hold_additions();
        contained("a source", || sources.iter_mut().zip(&initial).try_for_each(|(source, from)| source.fix_end(from)))?;
    }
    let statics = Arc::new(StaticTables::of(topology));
    statics.refresh(&coordinator_path(topology, &options), None, options.clock.as_ref())?;
    let committers = open_committers(topology, &options)?;
    let prepared = graph.tasks.iter().map(|task| prepare(topology, task, &options, &statics));
    let work = prepared.collect::<Result<Vec<_>>>()?;
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
        initial,
        committers,
    };
    Ok((launch.start(work), late_rows))
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

/// Without a checkpoint every run is one of its own, so its id stands for the checkpoint.
fn sink_context(topology: &Topology, node: usize, options: &LaunchOptions, instance: usize) -> SinkContext {
    let schema = Arc::new(user_schema(&topology.nodes()[node].schema));
    let query = options.name.clone().unwrap_or_else(|| options.id.to_string());
    SinkContext { instance, checkpoint: options.id, ..SinkContext::new(query, topology.output_mode(), schema) }
}

fn sinks(topology: &Topology) -> impl Iterator<Item = (usize, &Arc<dyn Sink>)> {
    topology.nodes().iter().enumerate().filter_map(|(index, node)| match &node.kind {
        NodeKind::Sink(sink) => Some((index, sink)),
        NodeKind::Source(_) | NodeKind::Operator(_) => None,
    })
}

fn open_committers(topology: &Topology, options: &LaunchOptions) -> Result<Vec<Box<dyn SinkCommitter>>> {
    sinks(topology).map(|(node, sink)| sink.committer(&sink_context(topology, node, options, 0))).collect()
}

/// Makes the work of one task.
fn prepare(topology: &Topology, spec: &TaskSpec, options: &LaunchOptions, statics: &StaticTables) -> Result<Work> {
    let node = match &spec.kind {
        TaskKind::Exchange { columns, receivers, .. } => {
            let exchange = Box::new(Exchange::new(columns.clone(), *receivers));
            return prepare_operator(exchange, spec).map(Work::Operator);
        }
        TaskKind::Node(node) => *node,
    };
    match &topology.nodes()[node.index()].kind {
        NodeKind::Source(_) => Ok(Work::Source(SourceTask::new(spec.id, &spec.wiring))),
        NodeKind::Operator(operator) => {
            let mut operator = operator.instance();
            statics.share(node.index(), operator.as_mut());
            prepare_operator(operator, spec).map(Work::Operator)
        }
        NodeKind::Sink(sink) => {
            let context = sink_context(topology, node.index(), options, spec.instance);
            let writer: Box<dyn SinkWriter> = sink.open(&context)?;
            Ok(Work::Sink(SinkTask::new(spec.id, writer, &spec.wiring, 0)))
        }
    }
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
    initial: Vec<Offset>,
    committers: Vec<Box<dyn SinkCommitter>>,
}

impl Launch<'_> {
    /// Starts the actors. The coordinator's actor is made inside its own context, because the others need its address and
    /// it needs theirs.
    fn start(self, work: Vec<Work>) -> QueryControl {
        let Self { topology, graph, options, late_rows, statics, state, engine, sources, initial, committers } = self;
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
            latest: initial.clone(),
            last_idle: options.clock.now_micros(),
            last_epoch: None,
            late: LateWarning::default(),
        };
        let nodes = watermark_nodes(topology, graph);
        let mut watermarks = options.watermarks.clone();
        watermarks.no_data_epochs &= topology.uses_watermark();
        let now = options.clock.now_micros();
        let tracker = WatermarkTracker::new(watermarks, nodes, now);
        if tracker.has_nodes() {
            state.set_watermark(Facts::watermark_status(&tracker, now));
        }
        let machine = EpochMachine::new(options.trigger, graph.ids().collect(), tracker, 0, false);
        let reads_in_order = topology.depends_on_order();
        let specs: Vec<(TaskSpec, Work)> = graph.tasks.iter().cloned().zip(work).collect();
        let (clock, listeners, on_end) = (options.clock, options.listeners, options.on_end);
        let place = engine.next_place();
        let make = move |ctx: &mut Context<CoordinatorActor>| {
            let me = ctx.address();
            let clock_listener = me.clone();
            clock.subscribe(Box::new(move || post(&clock_listener, Request::ClockMoved)));
            let started = start_tasks(specs, &query, place, engine, &me);
            let checkpoint = CheckpointActor::new(committers, me, engine.io().clone()).start();
            CoordinatorActor::new(CoordinatorParts {
                machine,
                sources,
                initial,
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
    coordinator: &Addr<CoordinatorActor>,
) -> StartedTasks {
    let mut started = StartedTasks { entries: Vec::new(), sources: Vec::new() };
    for (spec, work) in specs {
        let arbiter = engine.worker(place, spec.instance);
        let path = ActorPath::new(query, &spec.name, spec.instance);
        let name = path.to_string();
        let context = TaskContext { id: spec.id, path, coordinator: coordinator.clone(), io: engine.io().clone() };
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
