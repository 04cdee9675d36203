//! The coordinator actor: feeds the epoch machine and carries its commands out.
//!
//! Owns: a query's sources, the table of its tasks, its deadline for stopping, and telling the world. Does not own: when
//! epochs run (`coordinator::EpochMachine`).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, ActorContext, Addr, AsyncContext, Context, Handler, Message, SpawnHandle};

use super::checkpoint_actor::{CheckpointActor, Close, CommitEpoch, KeepPlan, KeepState};
use super::facts::{Facts, Roles};
use super::io_pool::{IoPool, contained};
use super::late_rows::LateRows;
use super::listeners::{ListenerBus, QueryEvent};
use super::post::{post, post_to};
use super::query_state::QueryState;
use super::static_tables::StaticTables;
use super::task_actor::{Abort, Begin, Finish, Inspect, SourceActor, TaskAddress};
use crate::checkpoint::{PlannedRange, SavedSources};
use crate::clock::Clock;
use crate::connector::source::memory;
use crate::connector::{Offset, ReadLimit, Source, SourceWaker};
use crate::coordinator::{Available, Command, EpochMachine, EpochPlan, Event, FinishedEpoch, Start};
use crate::error::{Error, Result};
use crate::observability::{Arrival, LatencyHistogram, WatermarkStatus, trace};
use crate::protocol::Epoch;
use crate::task::{BeginEpoch, EpochAck, Reader, TaskId, deal};

/// A task that has not reported that it is gone this long after it was told to stop is left behind: a function of the user's
/// blocks its thread.
const GRACE: Duration = Duration::from_secs(1);

/// A store or sink that does not answer keeps the checkpoint for this long at most before the query's end is told all the same: a little
/// more than it is tried for.
const CLOSING: Duration = Duration::from_secs(5);

/// With so many plans the sources save all once, so that a restart reads no more records than that.
const SOURCE_LOG: u64 = 32;

/// An epoch that gets no acknowledgement for this long is looked into.
const STALL: Duration = Duration::from_secs(10);

/// What tasks and the checkpoint actor tell the coordinator.
#[derive(Debug)]
pub(super) enum Report {
    /// A task has done its part of an epoch.
    Ack(Box<EpochAck>),
    /// A task failed; it stops by itself.
    Fault(TaskId, Error),
    /// A task's actor is gone.
    Gone(TaskId),
    /// Whom a task waits for.
    Waits(TaskId, Waits),
    /// The plan of an epoch is durable, or could not be made so.
    PlanKept(Result<()>),
    /// An epoch is committed and published, or failed to be.
    Committed(Epoch, Result<()>),
    /// The checkpoint is free for others.
    Closed,
}

/// Where a query stood when it was last looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Seen {
    epoch: Epoch,
    missing: usize,
    /// How often the sources were put to work.
    errands: u64,
    outside: Option<&'static str>,
}

/// Whom a task waits for.
#[derive(Debug, Clone, Default)]
pub(super) struct Waits {
    /// Receivers that have not returned credit.
    pub receivers: Vec<TaskId>,
    /// Senders whose barrier has not come.
    pub senders: Vec<TaskId>,
    /// Work outside the actors: `reading` or `writing`.
    pub outside: Option<&'static str>,
}

/// What handles ask of the coordinator.
#[derive(Debug, Clone, Copy)]
pub(super) enum Request {
    /// Answer through the query's state once everything available is committed.
    Drain(u64),
    /// End after the running epoch, or without it once the deadline has passed.
    Stop { deadline: Duration },
    /// A source may have new rows, or the clock was moved.
    News,
    /// The clock was moved by hand.
    ClockMoved,
}

/// The sources come back from the IO pool.
struct SourcesBack {
    sources: Vec<Box<dyn Source>>,
    answer: Result<SourceAnswer>,
}

enum SourceAnswer {
    /// They know whom to wake.
    Subscribed,
    Latest(Vec<Available>),
    Planned(PlannedSources),
    /// With the sources' own counts.
    Committed(Vec<BTreeMap<String, u64>>),
}

/// What the sources say of an epoch about to begin.
#[derive(Default)]
struct PlannedSources {
    /// The readers of each source.
    readers: Vec<Vec<Reader>>,
    /// The range to keep before they read.
    range: Option<Box<PlannedRange>>,
    /// When the rows were read from outside, as far as that is known.
    arrivals: Vec<Arrival>,
}

/// Work for the sources.
type Errand = Box<dyn FnOnce(&mut Vec<Box<dyn Source>>) -> Result<SourceAnswer> + Send>;

/// An epoch on its way to being committed.
struct Committing {
    epoch: Box<FinishedEpoch>,
    arrivals: Vec<Arrival>,
    /// Where the watermark stood behind it.
    watermark: Option<WatermarkStatus>,
    /// Since when, in microseconds.
    since: i64,
    /// How long keeping the plan took, in microseconds.
    plan_kept_micros: Option<i64>,
}

impl Message for Report {
    type Result = ();
}

impl Message for Request {
    type Result = ();
}

impl Message for SourcesBack {
    type Result = ();
}

/// A task as the coordinator knows it.
pub(super) struct TaskEntry {
    pub address: TaskAddress,
}

/// Called once with a query's outcome.
pub(crate) type OnEnd = Box<dyn FnOnce(&Result<()>) + Send>;

/// What a coordinator is made of.
pub(super) struct CoordinatorParts {
    pub machine: EpochMachine,
    pub sources: Vec<Box<dyn Source>>,
    pub start: Start,
    /// For each source, the actors of its instances.
    pub source_actors: Vec<Vec<Addr<SourceActor>>>,
    pub tasks: Vec<TaskEntry>,
    pub roles: Roles,
    pub checkpoint: Addr<CheckpointActor>,
    pub facts: Facts,
    pub late_rows: Arc<LateRows>,
    pub statics: Arc<StaticTables>,
    /// Whether each source is read by one reader at a time.
    pub reads_in_order: bool,
    pub state: Arc<QueryState>,
    pub clock: Arc<dyn Clock>,
    pub io: IoPool,
    pub listeners: ListenerBus,
    /// Called once when the query is over.
    pub on_end: OnEnd,
}

/// Runs one query.
pub(super) struct CoordinatorActor {
    parts: CoordinatorParts,
    /// `None` while the sources are at work on the IO pool.
    sources: Option<Vec<Box<dyn Source>>>,
    on_end: Option<OnEnd>,
    alive: BTreeSet<TaskId>,
    /// What waits for the sources to come back, and whether it blocks even if they do not.
    errands_waiting: VecDeque<(bool, Errand)>,
    plan: Option<EpochPlan>,
    /// What the sources will read once the plan is durable.
    planned: PlannedSources,
    /// Since when the checkpoint is keeping that plan.
    keeping_since: Option<i64>,
    plan_kept_micros: Option<i64>,
    /// Oldest first.
    committing: VecDeque<Committing>,
    /// Commits that the sources are being told of.
    noting: usize,
    /// The sources' own counts, as they last told them.
    source_metrics: Vec<BTreeMap<String, u64>>,
    /// Of the epochs since the last durable end.
    latencies: LatencyHistogram,
    outcome: Result<()>,
    is_ending: bool,
    is_closing: bool,
    /// How many durable plans there were.
    durable_plans: u64,
    was_asked_to_stop: bool,
    timer: Option<SpawnHandle>,
    waits: Vec<(TaskId, Waits)>,
    errands: u64,
}

impl CoordinatorActor {
    pub(super) fn new(mut parts: CoordinatorParts) -> Self {
        let sources = Some(std::mem::take(&mut parts.sources));
        let on_end = std::mem::replace(&mut parts.on_end, Box::new(|_| ()));
        let alive = (0..parts.tasks.len()).map(|index| TaskId(u32::try_from(index).unwrap_or(u32::MAX))).collect();
        Self {
            parts,
            sources,
            on_end: Some(on_end),
            alive,
            errands_waiting: VecDeque::new(),
            plan: None,
            planned: PlannedSources::default(),
            keeping_since: None,
            plan_kept_micros: None,
            committing: VecDeque::new(),
            noting: 0,
            source_metrics: Vec::new(),
            latencies: LatencyHistogram::default(),
            outcome: Ok(()),
            is_ending: false,
            is_closing: false,
            durable_plans: 0,
            was_asked_to_stop: false,
            timer: None,
            waits: Vec::new(),
            errands: 0,
        }
    }

    fn now(&self) -> i64 {
        self.parts.clock.now_micros()
    }

    fn tell_machine(&mut self, event: Event, ctx: &mut Context<Self>) {
        if self.is_ending {
            return;
        }
        let now = self.now();
        for command in self.parts.machine.on(event, now) {
            self.carry_out(command, ctx);
        }
    }

    fn carry_out(&mut self, command: Command, ctx: &mut Context<Self>) {
        match command {
            Command::AskLatest { from, limit } => self.ask_latest(from, limit, ctx),
            Command::Plan(plan) => self.plan(plan, ctx),
            Command::Commit(epoch) => self.commit(epoch),
            Command::Sleep(until) => self.sleep(until, ctx),
            Command::Drained(ids) => self.parts.state.drained(ids),
            Command::Idle => self.idle(),
            Command::Finish => self.finish(ctx),
        }
    }

    /// Gives every source the means to say that it has news; then the query is open.
    fn subscribe(&mut self, ctx: &mut Context<Self>) {
        let me = ctx.address();
        self.with_sources(ctx, move |sources| {
            for source in sources {
                let me = me.clone();
                source.subscribe(SourceWaker::new(move || post(&me, Request::News)));
            }
            Ok(SourceAnswer::Subscribed)
        });
    }

    fn ask_latest(&mut self, from: Vec<Offset>, limit: ReadLimit, ctx: &mut Context<Self>) {
        self.parts.state.set_status("Getting offsets from sources", false, true);
        self.with_sources(ctx, move |sources| {
            let ask = |(source, from): (&mut Box<dyn Source>, &Offset)| {
                let latest = source.latest(from, limit)?;
                Ok::<_, Error>(Available { latest, next_poll: source.next_poll() })
            };
            // Those that may take long first: while additions are held, nobody in the process can add rows.
            let mut answers: Vec<Option<Available>> = Vec::new();
            for (source, from) in sources.iter_mut().zip(&from) {
                answers.push(if source.never_blocks() { None } else { Some(ask((source, from))?) });
            }
            let _none_are_added = memory::hold_additions();
            let all = sources
                .iter_mut()
                .zip(&from)
                .zip(answers)
                .map(|(source, answer)| answer.map_or_else(|| ask(source), Ok));
            all.collect::<Result<_>>().map(SourceAnswer::Latest)
        });
    }

    fn plan(&mut self, plan: EpochPlan, ctx: &mut Context<Self>) {
        trace::epoch(&self.parts.facts.path, plan.barrier.epoch, "epoch_planned");
        self.parts.state.set_status("Processing new data", true, true);
        // Where order matters, one reader keeps it: rows of several would meet in any order behind the next exchange.
        let readers = |actors: &Vec<_>| if self.parts.reads_in_order { 1 } else { actors.len() };
        let instances: Vec<usize> = self.parts.source_actors.iter().map(readers).collect();
        let is_base = self.durable_plans.is_multiple_of(SOURCE_LOG);
        self.durable_plans += u64::from(plan.span_to_keep().is_some());
        self.plan = Some(plan.clone());
        let (statics, clock) = (Arc::clone(&self.parts.statics), Arc::clone(&self.parts.clock));
        let path = self.parts.facts.path.clone();
        self.with_sources(ctx, move |sources| {
            statics.refresh(&path, Some(plan.barrier.epoch), clock.as_ref())?;
            let (from, to) = (&plan.from, &plan.to);
            let mut planned = PlannedSources::default();
            for (index, source) in sources.iter_mut().enumerate() {
                let readers = if from[index] == to[index] {
                    Vec::new()
                } else {
                    planned.arrivals.extend(source.arrivals(&from[index], &to[index]));
                    source.plan(&from[index], &to[index], instances[index])?
                };
                planned.readers.push(readers.into_iter().map(Reader).collect());
            }
            if let Some(span) = plan.span_to_keep() {
                let saved = SavedSources::of(sources, &span.from, to, is_base)?;
                planned.range = Some(Box::new(plan.range(span, saved)));
            }
            Ok(SourceAnswer::Planned(planned))
        });
    }

    /// The sources are ready: the epoch begins, behind the range that has to be kept first.
    fn planned(&mut self, planned: PlannedSources, ctx: &mut Context<Self>) {
        self.planned = planned;
        self.plan_kept_micros = None;
        match self.planned.range.take() {
            Some(range) => {
                self.keeping_since = Some(self.now());
                post(&self.parts.checkpoint, KeepPlan(range));
            }
            None => self.begin(ctx),
        }
    }

    /// Begins the planned epoch at every instance of every source.
    fn begin(&mut self, ctx: &mut Context<Self>) {
        let Some(plan) = &self.plan else { return };
        let planned = std::mem::take(&mut self.planned.readers);
        for (actors, readers) in self.parts.source_actors.iter().zip(planned) {
            for (actor, readers) in actors.iter().zip(deal(readers, actors.len())) {
                post(actor, Begin(BeginEpoch { time: plan.time, barrier: plan.barrier, readers }));
            }
        }
        self.tell_machine(Event::Planned, ctx);
    }

    fn commit(&mut self, mut epoch: Box<FinishedEpoch>) {
        let mut prepared = vec![Vec::new(); self.parts.roles.sinks.len()];
        for ack in &mut epoch.acks {
            if let (Some(sink), Some(part)) = (self.parts.roles.sink_of(ack.task), ack.prepared.take()) {
                prepared[sink].push(part);
            }
        }
        let plan = &epoch.plan;
        let durable = plan.span.as_ref().map(|_| (plan.to.clone(), self.parts.machine.watermarks().record()));
        post(&self.parts.checkpoint, CommitEpoch { epoch: plan.barrier.epoch, prepared, durable });
        let (since, plan_kept_micros) = (self.now(), self.plan_kept_micros.take());
        let arrivals = std::mem::take(&mut self.planned.arrivals);
        let watermark = self.show_watermark(plan.barrier.epoch, since);
        self.committing.push_back(Committing { epoch, arrivals, watermark, since, plan_kept_micros });
        self.plan = None;
    }

    /// The oldest of the epochs under way to it is committed: the sources are told, if that concerns them.
    fn committed(&mut self, ctx: &mut Context<Self>) {
        let Some(committing) = self.committing.get_mut(self.noting) else { return };
        let plan = committing.epoch.plan.clone();
        let acks = committing.epoch.acks.iter_mut();
        let dropped = acks.map(|ack| (ack.task, std::mem::take(&mut ack.report.dropped_rows)));
        let dropped: Vec<_> = dropped.filter(|(_, rows)| !rows.is_empty()).collect();
        if plan.span.is_none() && dropped.is_empty() && self.noting == 0 {
            return self.epoch_done(ctx);
        }
        self.noting += 1;
        let late_rows = Arc::clone(&self.parts.late_rows);
        // Late rows are added to a stream, which waits for those who hold additions.
        let blocks = !dropped.is_empty();
        let note = move |sources: &mut Vec<Box<dyn Source>>| {
            if let Err(error) = late_rows.add(plan.barrier.epoch, dropped) {
                log::warn!(target: "millstream::runtime", "late rows could not be kept: {error}");
            }
            for (source, through) in sources.iter_mut().zip(&plan.to).filter(|_| plan.span.is_some()) {
                if let Err(error) = source.commit(through) {
                    log::warn!(target: "millstream::runtime", "{} could not note a commit: {error}", source.description());
                }
            }
            Ok(SourceAnswer::Committed(sources.iter().map(|source| source.metrics()).collect()))
        };
        self.errand(blocks, Box::new(note), ctx);
    }

    /// The oldest epoch is through: shows its progress, then lets the machine go on.
    fn epoch_done(&mut self, ctx: &mut Context<Self>) {
        if let Some(Committing { mut epoch, arrivals, watermark, since, plan_kept_micros }) =
            self.committing.pop_front()
        {
            let now = self.now();
            trace::epoch(&self.parts.facts.path, epoch.plan.barrier.epoch, "epoch_committed");
            epoch.durations.insert("commitOffsets", now - since);
            epoch.durations.extend(plan_kept_micros.map(|micros| ("walCommit", micros)));
            self.measure(&epoch, &arrivals);
            if let Some(warning) = self.parts.facts.late_warning(&epoch, &self.parts.roles, now) {
                trace::late_rows(&self.parts.facts.path, epoch.plan.barrier.epoch, &warning);
            }
            let nodes = watermark.map(|status| status.nodes).unwrap_or_default();
            let mut progress = self.parts.facts.progress(&epoch, &self.parts.roles, &self.source_metrics, nodes, now);
            if let Some(warning) = self.parts.facts.memory.about(&progress.state_operators, now) {
                trace::memory(&self.parts.facts.path, progress.batch_id, &warning);
            }
            progress.latency_ms = self.latencies.stats();
            if epoch.plan.span.is_some() {
                self.latencies = LatencyHistogram::default();
            }
            self.parts.listeners.publish(QueryEvent::Progress(Box::new(progress.clone())));
            self.parts.state.add_progress(progress);
        }
        self.tell_machine(Event::Committed, ctx);
    }

    /// How long the rows of an epoch took until the sink was last called in it; nothing of an epoch that put nothing out.
    fn measure(&mut self, epoch: &FinishedEpoch, arrivals: &[Arrival]) {
        let written = epoch.acks.iter().filter_map(|ack| ack.report.written_micros).max();
        if let Some(written) = written {
            for arrival in arrivals {
                self.latencies.add(*arrival, written);
            }
        }
    }

    /// Tells handles and the log where the watermark stands; nothing for a query without.
    fn show_watermark(&self, epoch: Epoch, now: i64) -> Option<WatermarkStatus> {
        let tracker = self.parts.machine.watermarks();
        if !tracker.has_nodes() {
            return None;
        }
        let status = Facts::watermark_status(tracker, now);
        trace::watermark(&self.parts.facts.path, epoch, &status);
        self.parts.state.set_watermark(status.clone());
        Some(status)
    }

    fn idle(&mut self) {
        self.parts.state.set_status("Waiting for data to arrive", false, false);
        let now = self.now();
        if let Some(event) = self.parts.facts.idle_event(now) {
            self.parts.listeners.publish(QueryEvent::Idle(event));
        }
    }

    fn sleep(&mut self, until: i64, ctx: &mut Context<Self>) {
        if let Some(timer) = self.timer.take() {
            ctx.cancel_future(timer);
        }
        self.timer = self.parts.clock.sleep_until(until).map(|delay| {
            ctx.run_later(delay, |me, ctx| {
                me.timer = None;
                me.tell_machine(Event::Timer, ctx);
            })
        });
    }

    /// Lets `work` use the sources where blocking is allowed, one errand after the other.
    fn with_sources(
        &mut self,
        ctx: &mut Context<Self>,
        work: impl FnOnce(&mut Vec<Box<dyn Source>>) -> Result<SourceAnswer> + Send + 'static,
    ) {
        self.errand(false, Box::new(work), ctx);
    }

    /// An errand, which may block for other reasons than the sources.
    fn errand(&mut self, blocks: bool, work: Errand, ctx: &mut Context<Self>) {
        self.errands_waiting.push_back((blocks, work));
        self.next_errand(ctx);
    }

    fn next_errand(&mut self, ctx: &mut Context<Self>) {
        let Some(mut sources) = self.sources.take() else { return };
        let Some((blocks, work)) = self.errands_waiting.pop_front() else {
            self.sources = Some(sources);
            return;
        };
        self.errands += 1;
        // A static table is read on such an errand, too.
        let never_blocks =
            !blocks && self.parts.statics.is_empty() && sources.iter().all(|source| source.never_blocks());
        if never_blocks {
            let answer = contained("a source", || work(&mut sources));
            return ctx.notify(SourcesBack { sources, answer });
        }
        let me = ctx.address();
        self.parts.io.submit(move || {
            let answer = contained("a source", || work(&mut sources));
            post(&me, SourcesBack { sources, answer });
        });
    }

    /// Nothing more will run: the end goes through the graph from the sources, and each task stops behind it. What has not
    /// stopped after a while is told to.
    fn finish(&mut self, ctx: &mut Context<Self>) {
        self.close(Ok(()), ctx);
        for actor in self.parts.source_actors.iter().flatten() {
            post(actor, Finish);
        }
        ctx.run_later(GRACE, Self::abort_all);
    }

    /// The query is over in the middle of its work: every task in the table is told to stop. The first outcome stays.
    fn end(&mut self, outcome: Result<()>, ctx: &mut Context<Self>) {
        if !self.is_ending {
            self.close(outcome, ctx);
            self.abort_all(ctx);
        }
    }

    fn close(&mut self, outcome: Result<()>, ctx: &mut Context<Self>) {
        self.is_ending = true;
        self.outcome = outcome;
        if let Some(timer) = self.timer.take() {
            ctx.cancel_future(timer);
        }
    }

    fn abort_all(&mut self, ctx: &mut Context<Self>) {
        for task in &self.parts.tasks {
            post_to(&task.address.abort, Abort);
        }
        ctx.run_later(GRACE, |me, ctx| {
            let left: Vec<String> = me.alive.iter().map(|task| me.task_name(*task)).collect();
            let story = format!("{} did not stop", left.join(", "));
            trace::stalled(&me.parts.facts.path, me.parts.machine.epoch(), &story);
            me.let_go(ctx);
        });
        self.end_when_all_are_gone(ctx);
    }

    fn end_when_all_are_gone(&mut self, ctx: &mut Context<Self>) {
        if self.is_ending && self.alive.is_empty() {
            self.let_go(ctx);
        }
    }

    /// Lets the checkpoint go, so that whoever hears of the query's end can start another on it.
    fn let_go(&mut self, ctx: &mut Context<Self>) {
        if !std::mem::replace(&mut self.is_closing, true) {
            post(&self.parts.checkpoint, Close { is_clean: self.outcome.is_ok() });
            ctx.run_later(CLOSING, |me, ctx| {
                log::warn!(target: "millstream::checkpoint", "the checkpoint is still being written; another start may have to wait");
                me.publish_end(ctx);
            });
        }
    }

    fn publish_end(&mut self, ctx: &mut Context<Self>) {
        let outcome = self.outcome.clone();
        match &outcome {
            Ok(()) => trace::lifecycle(&self.parts.facts.path, "query_stopped"),
            Err(error) => trace::failed(&self.parts.facts.path, self.parts.machine.epoch(), error),
        }
        if let Some(on_end) = self.on_end.take() {
            on_end(&outcome);
        }
        let event = self.parts.facts.terminated_event(outcome.clone().err());
        let how = if self.was_asked_to_stop { "Stopped" } else { "Ended: the sources have nothing more to give" };
        self.parts.state.end(outcome, how);
        self.parts.listeners.publish(QueryEvent::Terminated(event));
        ctx.stop();
    }

    fn task_name(&self, task: TaskId) -> String {
        self.parts.tasks.get(task.0 as usize).map_or_else(|| task.to_string(), |entry| entry.address.name.clone())
    }

    /// Looks at an epoch that has not moved for a while: asks every task that is late whom it waits for.
    fn look_for_stall(&mut self, seen: Seen, ctx: &mut Context<Self>) -> Seen {
        let missing = self.parts.machine.missing();
        let now = Seen {
            epoch: self.parts.machine.epoch(),
            missing: missing.len(),
            errands: self.errands,
            outside: self.waits_outside(),
        };
        if now != seen || self.is_ending {
            return now;
        }
        if let Some(outside) = now.outside {
            trace::stalled(&self.parts.facts.path, now.epoch, &format!("the coordinator waits for {outside}"));
        } else if !missing.is_empty() {
            for task in missing {
                if let Some(entry) = self.parts.tasks.get(task.0 as usize) {
                    post_to(&entry.address.inspect, Inspect);
                }
            }
            ctx.run_later(Duration::from_millis(200), |me, _| me.report_stall());
        }
        now
    }

    /// What the coordinator itself waits for.
    fn waits_outside(&self) -> Option<&'static str> {
        match &self.sources {
            _ if self.keeping_since.is_some() => Some("the checkpoint to keep a plan"),
            None if self.parts.statics.is_empty() => Some("a source"),
            None => Some("a source or a static table"),
            Some(_) if !self.committing.is_empty() && self.parts.machine.missing().is_empty() => {
                Some("the checkpoint or a sink to commit")
            }
            Some(_) => None,
        }
    }

    fn report_stall(&mut self) {
        let story = story(&std::mem::take(&mut self.waits), |task| self.task_name(task));
        if !story.is_empty() {
            trace::stalled(&self.parts.facts.path, self.parts.machine.epoch(), &story);
        }
    }

    fn watch(seen: Seen, ctx: &mut Context<Self>) {
        ctx.run_later(STALL, move |me, ctx| {
            let seen = me.look_for_stall(seen, ctx);
            Self::watch(seen, ctx);
        });
    }
}

/// One line that says who waits for whom.
fn story(waits: &[(TaskId, Waits)], name: impl Fn(TaskId) -> String) -> String {
    let names = |tasks: &[TaskId]| tasks.iter().map(|task| name(*task)).collect::<Vec<_>>().join(", ");
    let clause = |(task, waits): &(TaskId, Waits)| {
        let name = name(*task);
        match (waits.outside, waits.receivers.as_slice(), waits.senders.as_slice()) {
            (Some(doing), ..) => Some(format!("{name} is {doing}")),
            (None, [], []) => None,
            (None, [], senders) => Some(format!("{name} awaits the barrier of {}", names(senders))),
            (None, receivers, _) => Some(format!("{name} waits for credit of {}", names(receivers))),
        }
    };
    waits.iter().filter_map(clause).collect::<Vec<_>>().join("; ")
}

/// A second line, should the coordinator ever go without an outcome: nobody waits for ever.
impl Drop for CoordinatorActor {
    fn drop(&mut self) {
        let Some(on_end) = self.on_end.take() else { return };
        for task in &self.parts.tasks {
            post_to(&task.address.abort, Abort);
        }
        let outcome = Err(Error::internal("the coordinator disappeared"));
        on_end(&outcome);
        self.parts.state.end(outcome, "Stopped");
    }
}

impl Actor for CoordinatorActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        trace::lifecycle(&self.parts.facts.path, "query_started");
        self.parts.listeners.publish(QueryEvent::Started(self.parts.facts.started_event()));
        self.subscribe(ctx);
        Self::watch(Seen::default(), ctx);
    }
}

impl Handler<Report> for CoordinatorActor {
    type Result = ();

    fn handle(&mut self, report: Report, ctx: &mut Self::Context) {
        match report {
            Report::Ack(mut ack) => {
                if let Some(snapshot) = ack.snapshot.take() {
                    // Written while others are still at work.
                    post(&self.parts.checkpoint, KeepState { task: ack.task, snapshot });
                }
                self.tell_machine(Event::Acked(ack), ctx);
            }
            Report::Fault(task, error) => {
                let context = format!("epoch {}, actor {}", self.parts.machine.epoch(), self.task_name(task));
                self.end(Err(error.context(context)), ctx);
            }
            Report::Gone(task) => {
                self.alive.remove(&task);
                if !self.is_ending {
                    let name = self.task_name(task);
                    self.end(Err(Error::internal(format!("actor {name} disappeared"))), ctx);
                }
                self.end_when_all_are_gone(ctx);
            }
            Report::Waits(task, waits) => self.waits.push((task, waits)),
            Report::PlanKept(Ok(())) => {
                self.plan_kept_micros = self.keeping_since.take().map(|since| self.now() - since);
                self.begin(ctx);
            }
            Report::PlanKept(Err(error)) => {
                self.end(Err(error.context("the checkpoint could not keep the plan of an epoch")), ctx);
            }
            Report::Closed => self.publish_end(ctx),
            Report::Committed(epoch, result) => match result {
                Ok(()) => self.committed(ctx),
                Err(error) => self.end(Err(error.context(format!("commit of epoch {epoch}"))), ctx),
            },
        }
    }
}

impl Handler<SourcesBack> for CoordinatorActor {
    type Result = ();

    fn handle(&mut self, back: SourcesBack, ctx: &mut Self::Context) {
        self.sources = Some(back.sources);
        if self.is_ending {
            return;
        }
        self.next_errand(ctx);
        match back.answer {
            Ok(SourceAnswer::Latest(available)) => {
                self.parts.facts.latest = available.iter().map(|available| available.latest.clone()).collect();
                self.tell_machine(Event::Latest(available), ctx);
            }
            Ok(SourceAnswer::Subscribed) => {
                let start = std::mem::take(&mut self.parts.start);
                self.tell_machine(Event::Opened(start), ctx);
            }
            Ok(SourceAnswer::Planned(planned)) => self.planned(planned, ctx),
            Ok(SourceAnswer::Committed(metrics)) => {
                self.noting -= 1;
                self.source_metrics = metrics;
                self.epoch_done(ctx);
            }
            Err(error) => self.end(Err(error), ctx),
        }
    }
}

impl Handler<Request> for CoordinatorActor {
    type Result = ();

    fn handle(&mut self, request: Request, ctx: &mut Self::Context) {
        match request {
            Request::Drain(id) => self.tell_machine(Event::Drain(id), ctx),
            Request::News => self.tell_machine(Event::News, ctx),
            Request::ClockMoved => self.tell_machine(Event::Timer, ctx),
            Request::Stop { deadline } => {
                self.was_asked_to_stop = true;
                self.tell_machine(Event::Stop, ctx);
                if !self.is_ending {
                    ctx.run_later(deadline, |me, ctx| me.end(Ok(()), ctx));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stall_is_told_from_those_who_wait_to_the_one_who_works() {
        let task = TaskId;
        let waits = [
            (task(0), Waits { receivers: vec![task(2)], ..Waits::default() }),
            (task(1), Waits { senders: vec![task(0)], ..Waits::default() }),
            (task(2), Waits { outside: Some("writing"), ..Waits::default() }),
            (task(3), Waits::default()),
        ];
        let names = |task: TaskId| ["count", "sort", "sink", "idle"][task.0 as usize].to_string();
        let told = "count waits for credit of sink; sort awaits the barrier of count; sink is writing";
        assert_eq!(story(&waits, names), told);
    }
}
