//! Whole topologies on one thread, in an order that a seed decides.
//!
//! Owns: mailboxes, IO completions and the coordinator's driver, as the actor runtime has them, but with a seeded choice of
//! what happens next. The tasks, operators, gate, outbox and epoch machine are the very ones that run under actix.
//!
//! A run is over when the end has passed through every task. After every event: channels obey their laws (the gates assert it), nothing in flight exceeds its window, and as long
//! as the query is not over something can happen. The result must not depend on the seed.
//!
//! A failing seed prints itself; run it alone with `SIMULATION_SEED=<seed> cargo test simulation`.

#[cfg(test)]
mod crashes;
mod script;
mod store;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use uuid::Uuid;

use crate::checkpoint::{
    CheckpointLog, Commits, Compacted, Compaction, CompactionMemory, Defect as ProtocolDefect, DurableEnd, EpochEnd,
    EventTimeRecord, FileKind, Gathering, Opening, PlannedRange, SavedSources, Scratch, SinkEnd, encode_state, persist,
};
use crate::clock::ManualClock;
use crate::connector::{Offset, Prepared, ReadLimit, SinkContext, Source};
use crate::coordinator::{
    Available, Command, EpochMachine, EpochPlan, Event, TriggerKind, WatermarkOptions, WatermarkTracker,
};
use crate::error::{Error, ErrorKind, Result};
use crate::observability::trace::ActorPath;
use crate::plan::execution::{ExecutionGraph, TaskKind, TaskSpec};
use crate::plan::topology::{NodeKind, Topology};
use crate::protocol::credit::{Grant, Window};
use crate::protocol::{Barrier, BarrierKind, Defect, Epoch, EpochTime, Message, Watermark};
use crate::runtime::{
    StatefulNode, StaticTables, open_sources_at, owner, plan_record, prepare_operators, restore, stateful_nodes,
};
use crate::state::{ColdStore, MapStore};
use crate::store::{CheckpointStore, MemoryStore};
use crate::task::{
    BeginEpoch, Effect, EpochAck, Fetched, OperatorTask, Progress, Reader, SinkDone, SinkJob, SinkTask, Snapshot,
    SourceTask, TaskId, deal,
};

/// Splitmix64: small, seedable, good enough to pick events.
#[derive(Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }
}

enum SimTask {
    Source(SourceTask),
    Operator(OperatorTask),
    Sink(SinkTask),
}

/// What lies in a mailbox.
enum Mail {
    Packet(usize, Message),
    Credit(usize, Grant),
    Begin(BeginEpoch),
    Finish,
}

/// Blocking work under way.
enum Io {
    Fetch(TaskId, Reader),
    Write(TaskId, SinkJob),
    Plan(PlannedRange),
    State(usize, usize, Snapshot),
    Commit(Box<EpochEnd>),
    Clean,
    Compact(Compaction),
    Compacted(usize, Result<Option<Compacted>>),
}

/// An epoch that waits for the files of its state.
struct Pending {
    epoch: Epoch,
    prepared: Vec<Vec<Prepared>>,
    durable: Option<(Vec<Offset>, EventTimeRecord)>,
}

/// Something that can happen next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Choice {
    /// The head of the mailbox from one sender to one receiver arrives.
    Deliver((Option<TaskId>, TaskId)),
    /// A task that has something to do does one step.
    Step(TaskId),
    /// The n-th piece of blocking work is done.
    Complete(usize),
    /// The coordinator hears the next acknowledgement of a task.
    Hear(TaskId),
    /// The coordinator hears an answer to one of its own commands.
    Answer,
}

/// How a simulated query is run.
#[derive(Debug, Clone, Copy)]
pub(super) struct SimulationOptions {
    pub(super) seed: u64,
    pub(super) parallelism: usize,
    pub(super) window: Window,
    pub(super) defect: Option<Defect>,
    /// Sources begin the next epoch as soon as they have ended theirs, without waiting for the others: harder on alignment
    /// than the coordinator, which has one epoch under way.
    pub(super) is_pipelined: bool,
    pub(super) trigger: TriggerKind,
    pub(super) protocol_defect: Option<ProtocolDefect>,
}

/// Epochs laid out in advance for sources that do not wait.
struct Pipeline {
    begins: BTreeMap<TaskId, VecDeque<BeginEpoch>>,
    /// Acknowledgements still to come from all tasks for all epochs.
    missing: usize,
}

/// More events than this for one query mean that it makes no progress.
const MOST_EVENTS: usize = 200_000;

struct World {
    random: Random,
    tasks: Vec<SimTask>,
    mailboxes: BTreeMap<(Option<TaskId>, TaskId), VecDeque<Mail>>,
    runnable: BTreeSet<TaskId>,
    io: Vec<Io>,
    acks: BTreeMap<TaskId, VecDeque<EpochAck>>,
    answers: VecDeque<Event>,
    /// Batches under way on each channel, by the receiver's end.
    in_flight: BTreeMap<(TaskId, usize), u32>,
    /// For a sender's channel, the receiver's end.
    receivers: BTreeMap<(TaskId, usize), (TaskId, usize)>,
    window: Window,
    machine: EpochMachine,
    pipeline: Option<Pipeline>,
    sources: Vec<Box<dyn Source>>,
    source_tasks: Vec<Vec<TaskId>>,
    sink_tasks: Vec<Vec<TaskId>>,
    commits: Commits,
    stateful: Vec<StatefulNode>,
    gathering: Gathering<Pending>,
    /// What is committed once the commit under way is: one after the other.
    ends: VecDeque<Box<EpochEnd>>,
    is_committing: bool,
    /// In microseconds.
    now: i64,
    /// For each operator, what its state was cleaned by.
    evicted: Vec<Option<Watermark>>,
    /// What begins once its plan is kept.
    planned: Vec<(TaskId, BeginEpoch)>,
    durable_plans: u64,
    /// Tasks that have sent the end on.
    ended: usize,
}

/// Runs `topology` until its sources are exhausted.
pub(super) fn simulate(topology: &Topology, options: SimulationOptions) -> Result<()> {
    let mut world = World::new(topology, options, Arc::new(MemoryStore::default()))?;
    if options.is_pipelined {
        world.lay_out_pipeline()?;
    }
    let mut events = 0;
    while !world.is_over() {
        events += 1;
        if events > MOST_EVENTS {
            return Err(Error::internal(format!("no end after {MOST_EVENTS} events")));
        }
        world.advance()?;
    }
    Ok(())
}

impl World {
    /// A query that begins, or goes on from the checkpoint in `store`: the steps of `runtime::launch`.
    fn new(topology: &Topology, options: SimulationOptions, store: Arc<dyn CheckpointStore>) -> Result<Self> {
        let graph = ExecutionGraph::new(topology, options.parallelism, options.window);
        let statics = StaticTables::of(topology);
        let path = ActorPath::new(topology.name(), "coordinator", 0);
        statics.refresh(&path, None, &ManualClock::default())?;
        let mut operators = prepare_operators(topology, &graph, &statics)?;
        if let Some(defect) = options.defect {
            for task in operators.values_mut() {
                task.plant(defect);
            }
        }
        let stateful = stateful_nodes(topology, &graph, &operators);
        let nodes = crate::runtime::watermark_nodes(topology, &graph);
        let watermarks = WatermarkOptions { no_data_epochs: topology.uses_watermark(), ..WatermarkOptions::default() };
        let plan = plan_record(topology, &stateful, &nodes, watermarks.policy);
        let opening = Opening { new_id: 1, host: String::new(), pid: 0, started_micros: 0, plan, retain: 2 };
        let (mut log, found) = CheckpointLog::open(store, opening)?;
        log.set_fan_in(3);
        log.plant(options.protocol_defect);
        let (sources, start) = open_sources_at(topology, &found, options.trigger)?;
        let next = found.last().map_or(0, |last| last.epoch + 1);
        let first_epoch = start.planned.as_ref().map_or(next, |plan| plan.barrier.epoch);
        let place = (log.generation(), first_epoch);
        let (mut source_tasks, mut sink_tasks, mut ends) = (Vec::new(), Vec::new(), Vec::new());
        for (index, node) in topology.nodes().iter().enumerate() {
            let instances: Vec<TaskId> = graph.instances(index).map(|task| task.id).collect();
            match &node.kind {
                NodeKind::Source(_) => source_tasks.push(instances),
                NodeKind::Sink(sink) => {
                    let committer = sink.committer(&context(topology, index, 0, place))?;
                    ends.push(SinkEnd::new(committer, sink.guarantee()));
                    sink_tasks.push(instances);
                }
                NodeKind::Operator(_) => {}
            }
        }
        let mut commits = Commits::new(log, ends);
        commits.recover(&found)?;
        if let Some(last) = found.last() {
            restore(commits.log().reader(), &last.operators, &stateful, &mut operators)?;
        }
        let mut tracker = WatermarkTracker::new(watermarks, nodes, 0);
        if let Some(last) = found.last() {
            tracker.restore(&last.event_time);
        }
        let tasks = graph.tasks.iter().map(|spec| task(topology, spec, &mut operators, place));
        let tasks = tasks.collect::<Result<Vec<_>>>()?;
        let machine = EpochMachine::new(options.trigger, graph.ids().collect(), tracker, first_epoch);
        let mut receivers = BTreeMap::new();
        for spec in &graph.tasks {
            for (channel, peer) in spec.wiring.outputs.iter().flatten().enumerate() {
                receivers.insert((spec.id, channel), (peer.task, peer.channel));
            }
        }
        Ok(Self {
            random: Random::new(options.seed),
            tasks,
            mailboxes: BTreeMap::new(),
            runnable: BTreeSet::new(),
            io: Vec::new(),
            acks: BTreeMap::new(),
            answers: VecDeque::from([Event::Opened(start)]),
            in_flight: BTreeMap::new(),
            receivers,
            window: options.window,
            machine,
            pipeline: None,
            sources,
            source_tasks,
            sink_tasks,
            commits,
            gathering: Gathering::new(stateful.len()),
            ends: VecDeque::new(),
            is_committing: false,
            now: 0,
            evicted: vec![None; stateful.len()],
            stateful,
            planned: Vec::new(),
            durable_plans: 0,
            ended: 0,
        })
    }

    fn is_over(&self) -> bool {
        self.ended == self.tasks.len()
    }

    /// Lets one of the things happen that can happen.
    fn advance(&mut self) -> Result<()> {
        let choices = self.choices();
        let Some(choice) = choices.get(self.random.below(choices.len().max(1))).copied() else {
            let missing = self.machine.missing();
            return Err(Error::internal(format!("deadlock: tasks {missing:?} have not acknowledged")));
        };
        self.happen(choice)
    }

    fn choices(&self) -> Vec<Choice> {
        let mut choices: Vec<Choice> = self.mailboxes.keys().copied().map(Choice::Deliver).collect();
        choices.extend(self.runnable.iter().copied().map(Choice::Step));
        choices.extend((0..self.io.len()).map(Choice::Complete));
        choices.extend(self.acks.keys().copied().map(Choice::Hear));
        choices.extend((!self.answers.is_empty()).then_some(Choice::Answer));
        choices
    }

    fn happen(&mut self, choice: Choice) -> Result<()> {
        match choice {
            Choice::Deliver(link) => self.deliver(link),
            Choice::Step(task) => self.step(task),
            Choice::Complete(index) => self.complete(index),
            Choice::Hear(task) => {
                let mut ack = pop(&mut self.acks, task).ok_or_else(|| Error::internal("no acknowledgement"))?;
                self.keep_state(&mut ack);
                match &mut self.pipeline {
                    None => self.coordinate(Event::Acked(Box::new(ack))),
                    Some(pipeline) => {
                        pipeline.missing -= 1;
                        let is_last = pipeline.missing == 0;
                        self.begin_next(task);
                        if is_last {
                            self.finish();
                        }
                        Ok(())
                    }
                }
            }
            Choice::Answer => match self.answers.pop_front() {
                Some(event) => self.coordinate(event),
                None => Ok(()),
            },
        }
    }

    fn deliver(&mut self, link: (Option<TaskId>, TaskId)) -> Result<()> {
        let to = link.1;
        let Some(mail) = pop(&mut self.mailboxes, link) else { return Ok(()) };
        match (&mut self.tasks[to.0 as usize], mail) {
            (SimTask::Operator(task), Mail::Packet(channel, message)) => task.receive(channel, message)?,
            (SimTask::Sink(task), Mail::Packet(channel, message)) => task.receive(channel, message)?,
            (SimTask::Operator(task), Mail::Credit(channel, grant)) => task.refill(channel, grant),
            (SimTask::Source(task), Mail::Credit(channel, grant)) => task.refill(channel, grant),
            (SimTask::Source(task), Mail::Begin(begin)) => task.begin(begin)?,
            (SimTask::Source(task), Mail::Finish) => task.end(),
            _ => return Err(Error::internal("mail for the wrong kind of task")),
        }
        self.runnable.insert(to);
        Ok(())
    }

    fn step(&mut self, id: TaskId) -> Result<()> {
        let mut effects = Vec::new();
        let progress = match &mut self.tasks[id.0 as usize] {
            SimTask::Source(task) => task.step(&mut effects)?,
            SimTask::Operator(task) => task.step(&mut effects)?,
            SimTask::Sink(task) => task.step(&mut effects)?,
        };
        if progress == Progress::Idle {
            self.runnable.remove(&id);
        }
        self.carry_out(id, effects)
    }

    fn carry_out(&mut self, from: TaskId, effects: Vec<Effect>) -> Result<()> {
        for effect in effects {
            match effect {
                Effect::Send(to, message) => {
                    if matches!(message, Message::Batch(_)) {
                        self.note_in_flight((to.task, to.channel))?;
                    }
                    self.mail((Some(from), to.task), Mail::Packet(to.channel, message));
                }
                Effect::Credit(to, grant) => {
                    let receiver = self.receivers[&(to.task, to.channel)];
                    *self.in_flight.entry(receiver).or_default() -= grant.batches;
                    self.mail((Some(from), to.task), Mail::Credit(to.channel, grant));
                }
                Effect::Ack(ack) => self.acks.entry(from).or_default().push_back(*ack),
                Effect::Fetch(reader) => self.io.push(Io::Fetch(from, reader)),
                Effect::Write(job) => self.io.push(Io::Write(from, job)),
                Effect::Ended => self.ended += 1,
            }
        }
        Ok(())
    }

    fn note_in_flight(&mut self, channel: (TaskId, usize)) -> Result<()> {
        let count = self.in_flight.entry(channel).or_default();
        *count += 1;
        if *count > self.window.batches {
            return Err(Error::internal(format!("{count} batches are under way on {channel:?}")));
        }
        Ok(())
    }

    fn mail(&mut self, link: (Option<TaskId>, TaskId), mail: Mail) {
        self.mailboxes.entry(link).or_default().push_back(mail);
    }

    fn complete(&mut self, index: usize) -> Result<()> {
        // Slow work, so that epochs are committed meanwhile.
        if matches!(self.io[index], Io::Compact(_) | Io::Compacted(..)) && self.random.below(40) > 0 {
            return Ok(());
        }
        match self.io.swap_remove(index) {
            Io::Fetch(task, reader) => {
                let fetched: Fetched = reader.fetch()?;
                if let SimTask::Source(source) = &mut self.tasks[task.0 as usize] {
                    source.fetched(fetched);
                }
                self.runnable.insert(task);
                Ok(())
            }
            Io::Write(task, job) => {
                let done: SinkDone = job.run(|| 0)?;
                let mut effects = Vec::new();
                if let SimTask::Sink(sink) = &mut self.tasks[task.0 as usize] {
                    sink.written(done, &mut effects);
                }
                self.runnable.insert(task);
                self.carry_out(task, effects)
            }
            Io::Plan(range) => {
                persist(|_| (), || self.commits.plan(range.clone()))?;
                self.begin();
                Ok(())
            }
            Io::State(operator, instance, snapshot) => {
                let (encoded, writer) = (encode_state(&snapshot.delta)?, self.commits.log().writer());
                let kind = FileKind::Changes { level: 0 };
                let files = writer.write(operator, instance, kind, &encoded, |_| ())?;
                self.gathering.arrived(operator, Ok(files));
                self.commit_if_complete()
            }
            Io::Commit(end) => {
                let is_durable = end.durable.is_some();
                persist(|_| (), || self.commits.decide(&end))?;
                persist(|_| (), || self.commits.publish(is_durable))?;
                self.answers.push_back(Event::Committed);
                if is_durable {
                    self.io.push(Io::Clean);
                }
                self.is_committing = false;
                self.next_commit();
                Ok(())
            }
            Io::Clean => {
                let cleaned = self.commits.log_mut().clean();
                self.io.extend(self.commits.log_mut().compactions().into_iter().map(Io::Compact));
                outside(cleaned)
            }
            Io::Compact(compaction) => {
                let operator = compaction.operator;
                let way = self.random.below(4);
                let (node, log) = (&self.stateful[operator], self.commits.log());
                let result = {
                    // Sometimes part by part, with rows that wait for their part outside memory or are read again.
                    let pass_bytes = [1500, u64::MAX][way % 2];
                    let make = || -> Result<Box<dyn ColdStore>> { Ok(Box::<MapStore>::default()) };
                    let scratch = (way < 2).then(|| Arc::new(make) as Scratch);
                    let memory = CompactionMemory { pass_bytes, scratch };
                    let places = (log.reader(), &log.writer());
                    compaction.run(|| node.fresh(), self.evicted[operator], places, &memory, |_| ())
                };
                self.io.push(Io::Compacted(operator, result));
                Ok(())
            }
            Io::Compacted(operator, result) => outside(self.commits.log_mut().compacted(operator, result)),
        }
    }

    fn keep_state(&mut self, ack: &mut EpochAck) {
        let Some(snapshot) = ack.snapshot.take().filter(|_| self.pipeline.is_none()) else { return };
        if let Some((operator, instance)) = owner(&self.stateful, ack.task) {
            self.evicted[operator] = snapshot.here;
            self.gathering.expect();
            self.io.push(Io::State(operator, instance, snapshot));
        }
    }

    fn commit_if_complete(&mut self) -> Result<()> {
        while let Some((pending, changes)) = self.gathering.take() {
            let changes = changes?;
            let durable = pending.durable.map(|(to, event_time)| DurableEnd { to, event_time, changes });
            let end = EpochEnd { epoch: pending.epoch, prepared: pending.prepared, durable };
            self.ends.push_back(Box::new(end));
        }
        self.next_commit();
        Ok(())
    }

    fn next_commit(&mut self) {
        if !self.is_committing
            && let Some(end) = self.ends.pop_front()
        {
            self.is_committing = true;
            self.io.push(Io::Commit(end));
        }
    }

    fn coordinate(&mut self, event: Event) -> Result<()> {
        // Time passes, so that several ends of a story of continuous processing are durable.
        self.now += 1;
        for command in self.machine.on(event, self.now) {
            match command {
                Command::AskLatest { from, limit } => {
                    let mut available = Vec::new();
                    for (source, from) in self.sources.iter_mut().zip(&from) {
                        available
                            .push(Available { latest: source.latest(from, limit)?, next_poll: source.next_poll() });
                    }
                    self.answers.push_back(Event::Latest(available));
                }
                Command::Plan(plan) => self.plan(&plan)?,
                Command::Commit(epoch) => {
                    let prepared = |tasks: &Vec<TaskId>| {
                        let acks = epoch.acks.iter().filter(|ack| tasks.contains(&ack.task));
                        acks.filter_map(|ack| ack.prepared.clone()).collect()
                    };
                    let plan = &epoch.plan;
                    let durable = plan.span.as_ref().map(|_| (plan.to.clone(), self.machine.watermarks().record()));
                    let prepared = self.sink_tasks.iter().map(prepared).collect();
                    self.gathering.finish(Pending { epoch: plan.barrier.epoch, prepared, durable });
                    self.commit_if_complete()?;
                }
                Command::Finish => self.finish(),
                Command::Sleep(_) | Command::Drained(_) | Command::Idle => {}
            }
        }
        Ok(())
    }

    /// Plans all epochs of all sources and begins the first of each.
    fn lay_out_pipeline(&mut self) -> Result<()> {
        self.answers.clear();
        let mut at = self.sources.iter_mut().map(|source| source.initial()).collect::<Result<Vec<_>>>()?;
        let mut pipeline = Pipeline { begins: BTreeMap::new(), missing: 0 };
        for epoch in 0.. {
            let latest = self.sources.iter_mut().zip(&at).map(|(source, from)| source.latest(from, ReadLimit::Options));
            let to = latest.collect::<Result<Vec<_>>>()?;
            if to == at {
                break;
            }
            let barrier = Barrier { epoch, kind: BarrierKind::Durable, has_data: true };
            let time = EpochTime::default();
            let plan = EpochPlan { barrier, time, from: at, to: to.clone(), span: None, is_replay: false };
            for (task, begin) in self.begins(&plan)? {
                pipeline.begins.entry(task).or_default().push_back(begin);
            }
            pipeline.missing += self.tasks.len();
            at = to;
        }
        self.pipeline = Some(pipeline);
        for task in self.source_tasks.concat() {
            self.begin_next(task);
        }
        Ok(())
    }

    fn finish(&mut self) {
        for task in self.source_tasks.concat() {
            self.mail((None, task), Mail::Finish);
        }
    }

    fn begin_next(&mut self, task: TaskId) {
        let next = self.pipeline.as_mut().and_then(|pipeline| pop(&mut pipeline.begins, task));
        if let Some(begin) = next {
            self.mail((None, task), Mail::Begin(begin));
        }
    }

    /// As the coordinator actor plans.
    fn plan(&mut self, plan: &EpochPlan) -> Result<()> {
        self.planned = self.begins(plan)?;
        let Some(span) = plan.span_to_keep() else {
            self.begin();
            return Ok(());
        };
        let is_base = self.durable_plans.is_multiple_of(4);
        self.durable_plans += 1;
        let saved = SavedSources::of(&mut self.sources, &span.from, &plan.to, is_base)?;
        self.io.push(Io::Plan(plan.range(span, saved)));
        Ok(())
    }

    fn begin(&mut self) {
        for (task, begin) in std::mem::take(&mut self.planned) {
            self.mail((None, task), Mail::Begin(begin));
        }
        self.answers.push_back(Event::Planned);
    }

    fn begins(&mut self, plan: &EpochPlan) -> Result<Vec<(TaskId, BeginEpoch)>> {
        let mut begins = Vec::new();
        for index in 0..self.sources.len() {
            let tasks = self.source_tasks[index].clone();
            let mut readers = Vec::new();
            if plan.from[index] != plan.to[index] {
                let planned = self.sources[index].plan(&plan.from[index], &plan.to[index], tasks.len())?;
                readers.extend(planned.into_iter().map(Reader));
            }
            let shares = deal(readers, tasks.len());
            for (task, readers) in tasks.into_iter().zip(shares) {
                begins.push((task, BeginEpoch { time: plan.time, barrier: plan.barrier, readers }));
            }
        }
        Ok(begins)
    }
}

/// The head of a queue; an emptied queue is removed.
fn pop<K: Ord + Copy, V>(queues: &mut BTreeMap<K, VecDeque<V>>, key: K) -> Option<V> {
    let queue = queues.get_mut(&key)?;
    let item = queue.pop_front();
    if queue.is_empty() {
        queues.remove(&key);
    }
    item
}

/// What a failure of the store does that nobody has to notice.
fn outside(result: Result<()>) -> Result<()> {
    match result {
        Err(error) if error.kind() != ErrorKind::Connector => Err(error),
        _ => Ok(()),
    }
}

fn context(topology: &Topology, node: usize, instance: usize, (generation, first_epoch): (u64, Epoch)) -> SinkContext {
    let schema = topology.nodes()[node].schema.clone();
    let checkpoint = Uuid::from_u128(1);
    SinkContext {
        instance,
        checkpoint,
        generation,
        first_epoch,
        ..SinkContext::new("simulation", topology.output_mode(), schema)
    }
}

fn task(
    topology: &Topology,
    spec: &TaskSpec,
    operators: &mut BTreeMap<TaskId, OperatorTask>,
    place: (u64, Epoch),
) -> Result<SimTask> {
    if let Some(operator) = operators.remove(&spec.id) {
        return Ok(SimTask::Operator(operator));
    }
    let TaskKind::Node(node) = &spec.kind else { return Err(Error::internal("an exchange was not opened")) };
    if let NodeKind::Sink(sink) = &topology.nodes()[node.index()].kind {
        let writer = sink.open(&context(topology, node.index(), spec.instance, place))?;
        return Ok(SimTask::Sink(SinkTask::new(spec.id, writer, &spec.wiring, place.1, topology.output_mode())));
    }
    Ok(SimTask::Source(SourceTask::new(spec.id, &spec.wiring)))
}
