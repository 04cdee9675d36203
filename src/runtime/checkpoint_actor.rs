//! The checkpoint actor: keeps plans, state and decisions, in order, on the IO pool.
//!
//! Owns: what of a checkpoint is under way. Does not own: what is written in which order (`checkpoint::Commits`) or when epochs
//! end (`coordinator`).
//!
//! ```text
//! KeepPlan ──▶ offsets/n durable ──▶ PlanKept          each on the IO pool, one after the other
//! KeepState ─▶ one file an instance, side by side, while the epoch is still under way elsewhere
//! CommitEpoch, once all files are there ─▶ commits/n, sinks publish ──▶ Committed; then clean-up, and compaction beside it
//! ```

use std::collections::VecDeque;

use actix::{Actor, ActorContext, Addr, AsyncContext, Context, Handler, Message};

use super::coordinator_actor::{CoordinatorActor, Report};
use super::io_pool::{IoPool, contained, pause};
use super::post::post;
use super::recovery::{StatefulNode, owner};
use super::temporary::TemporaryDirectory;
use crate::checkpoint::{
    Commits, Compacted, Compaction, CompactionMemory, DurableEnd, EpochEnd, EventTimeRecord, FileKind, Gathering,
    PlannedRange, StateFile, StateWriter, encode_state, persist,
};
use crate::connector::{Offset, Prepared};
use crate::error::Result;
use crate::observability::trace::{self, ActorPath};
use crate::protocol::{Epoch, Watermark};
use crate::task::{Snapshot, TaskId};

/// Keep a range before it is read; answered by [`Report::PlanKept`].
#[derive(Debug)]
pub(super) struct KeepPlan(pub Box<PlannedRange>);

/// Keep what an instance of an operator with state changed.
#[derive(Debug)]
pub(super) struct KeepState {
    pub task: TaskId,
    pub snapshot: Snapshot,
}

/// Commit an epoch; answered by [`Report::Committed`].
#[derive(Debug)]
pub(super) struct CommitEpoch {
    pub epoch: Epoch,
    /// What each sink's writers prepared, sink by sink.
    pub prepared: Vec<Vec<Prepared>>,
    /// Of a durable end, the offsets and the event time it commits.
    pub durable: Option<(Vec<Offset>, EventTimeRecord)>,
}

/// Let go of the checkpoint; answered by [`Report::Closed`].
#[derive(Debug)]
pub(super) struct Close {
    /// The query ended without an error, so that nobody will want to go on from a temporary checkpoint.
    pub is_clean: bool,
}

/// The log comes back from the IO pool.
struct Back {
    commits: Box<Commits>,
    result: Result<()>,
    /// A commit failed: those behind it must not be made.
    has_failed: bool,
}

/// Files of an operator were written, or could not be.
struct StateKept {
    operator: usize,
    result: Result<Vec<StateFile>>,
}

/// Files of an operator were made fewer, or could not be.
struct CompactionDone {
    operator: usize,
    result: Result<Option<Compacted>>,
}

impl Message for KeepPlan {
    type Result = ();
}

impl Message for KeepState {
    type Result = ();
}

impl Message for CommitEpoch {
    type Result = ();
}

impl Message for Close {
    type Result = ();
}

impl Message for Back {
    type Result = ();
}

impl Message for StateKept {
    type Result = ();
}

impl Message for CompactionDone {
    type Result = ();
}

/// Work that needs the log.
enum Job {
    Plan(Box<PlannedRange>),
    Commit(Box<EpochEnd>),
}

/// What a checkpoint actor is made of.
pub(super) struct CheckpointParts {
    pub commits: Commits,
    pub operators: Vec<StatefulNode>,
    pub temporary: Option<TemporaryDirectory>,
    pub path: ActorPath,
    pub coordinator: Addr<CoordinatorActor>,
    pub io: IoPool,
    pub maintenance: IoPool,
    pub compaction_memory: CompactionMemory,
}

/// Keeps the checkpoint of one query.
pub(super) struct CheckpointActor {
    /// `None` while it is at work on the IO pool.
    commits: Option<Box<Commits>>,
    waiting: VecDeque<Job>,
    writer: StateWriter,
    /// The state of the epoch under way.
    gathering: Gathering<CommitEpoch>,
    operators: Vec<StatefulNode>,
    /// For each operator, what its state was cleaned by.
    evicted: Vec<Option<Watermark>>,
    /// What the log does not know yet.
    compacted: Vec<CompactionDone>,
    /// To be let go, behind what waits.
    closing: Option<Close>,
    /// Nothing more is planned or committed.
    has_failed: bool,
    temporary: Option<TemporaryDirectory>,
    path: ActorPath,
    coordinator: Addr<CoordinatorActor>,
    io: IoPool,
    maintenance: IoPool,
    compaction_memory: CompactionMemory,
}

impl CheckpointActor {
    pub(super) fn new(parts: CheckpointParts) -> Self {
        let CheckpointParts { commits, operators, temporary, path, coordinator, io, maintenance, compaction_memory } =
            parts;
        Self {
            writer: commits.log().writer(),
            commits: Some(Box::new(commits)),
            waiting: VecDeque::new(),
            gathering: Gathering::new(operators.len()),
            evicted: vec![None; operators.len()],
            operators,
            compacted: Vec::new(),
            closing: None,
            has_failed: false,
            temporary,
            path,
            coordinator,
            io,
            maintenance,
            compaction_memory,
        }
    }

    fn submit(&mut self, job: Job, ctx: &mut Context<Self>) {
        self.waiting.push_back(job);
        self.next_job(ctx);
    }

    fn next_job(&mut self, ctx: &mut Context<Self>) {
        let Some(commits) = self.commits.take() else { return };
        if self.has_failed {
            self.waiting.clear();
        }
        if let Some(job) = self.waiting.pop_front() {
            self.work(job, commits, ctx);
        } else if let Some(close) = self.closing.take() {
            self.close(commits, close.is_clean, ctx);
        } else {
            self.commits = Some(commits);
        }
    }

    fn work(&self, job: Job, mut commits: Box<Commits>, ctx: &Context<Self>) {
        let (me, coordinator) = (ctx.address(), self.coordinator.clone());
        self.io.submit(move || {
            let result = match job {
                Job::Plan(range) => {
                    let keep = || persist(pause, || commits.plan((*range).clone()));
                    post(&coordinator, Report::PlanKept(contained("keeping a plan", keep)));
                    Ok(())
                }
                Job::Commit(end) => {
                    let committed = contained("a sink's commit", || commit(&mut commits, &end));
                    let has_grown = committed.is_ok() && end.durable.is_some();
                    let has_failed = committed.is_err();
                    post(&coordinator, Report::Committed(end.epoch, committed));
                    let result = if has_grown { contained("clean-up", || commits.log_mut().clean()) } else { Ok(()) };
                    return post(&me, Back { commits, result, has_failed });
                }
            };
            post(&me, Back { commits, result, has_failed: false });
        });
    }

    /// Dropping the log gives the checkpoint free, which must have happened when the query's end is told.
    fn close(&mut self, commits: Box<Commits>, is_clean: bool, ctx: &mut Context<Self>) {
        let (coordinator, temporary) = (self.coordinator.clone(), self.temporary.take());
        self.io.submit(move || {
            drop(commits);
            if let Some(temporary) = temporary
                && !is_clean
            {
                temporary.keep();
            }
            post(&coordinator, Report::Closed);
        });
        ctx.stop();
    }

    /// Lets the log know of files that became fewer, or did not, and makes others fewer.
    fn compact(&mut self, commits: &mut Commits, ctx: &Context<Self>) {
        for CompactionDone { operator, result } in self.compacted.drain(..) {
            if let Err(error) = commits.log_mut().compacted(operator, result) {
                let name = &self.operators[operator].name;
                log::warn!(target: "millstream::checkpoint", "files of `{name}` could not be made fewer: {error}");
            }
        }
        if self.closing.is_some() {
            return;
        }
        for compaction in commits.log_mut().compactions() {
            let operator = compaction.operator;
            let (me, node, evicted) = (ctx.address(), self.operators[operator].clone(), self.evicted[operator]);
            let (reader, writer) = (commits.log().reader().clone(), commits.log().writer());
            let memory = self.compaction_memory.clone();
            self.maintenance.submit(move || {
                let run = |compaction: Compaction| {
                    compaction.run(|| node.fresh(), evicted, (&reader, &writer), &memory, pause)
                };
                let result = contained("compaction", || run(compaction));
                post(&me, CompactionDone { operator, result });
            });
        }
    }

    /// Commits the epochs that wait, once nothing of their state is missing.
    fn commit_if_complete(&mut self, ctx: &mut Context<Self>) {
        while let Some((commit, changes)) = self.gathering.take() {
            let changes = match changes {
                Ok(changes) => changes,
                Err(error) => return post(&self.coordinator, Report::Committed(commit.epoch, Err(error))),
            };
            let durable = commit.durable.map(|(to, event_time)| DurableEnd { to, event_time, changes });
            let end = EpochEnd { epoch: commit.epoch, prepared: commit.prepared, durable };
            self.submit(Job::Commit(Box::new(end)), ctx);
        }
    }
}

fn commit(commits: &mut Commits, end: &EpochEnd) -> Result<()> {
    let decided = persist(pause, || commits.decide(end));
    decided.map_err(|error| {
        error.context(
            "it may not be committed, and what was before is unharmed; the next start goes on from what is there",
        )
    })?;
    let published = persist(pause, || commits.publish(end.durable.is_some()));
    published.map_err(|error| match end.durable {
        Some(_) => error.context("it is committed, and the next start will publish it"),
        None => error,
    })
}

impl Actor for CheckpointActor {
    type Context = Context<Self>;
}

impl Handler<KeepPlan> for CheckpointActor {
    type Result = ();

    fn handle(&mut self, plan: KeepPlan, ctx: &mut Self::Context) {
        self.submit(Job::Plan(plan.0), ctx);
    }
}

impl Handler<KeepState> for CheckpointActor {
    type Result = ();

    fn handle(&mut self, state: KeepState, ctx: &mut Self::Context) {
        let KeepState { task, snapshot } = state;
        let Some((operator, instance)) = owner(&self.operators, task) else { return };
        self.evicted[operator] = snapshot.here;
        if snapshot.delta.changed.is_empty() {
            return;
        }
        self.gathering.expect();
        let (me, writer) = (ctx.address(), self.writer.clone());
        self.io.submit(move || {
            let result = contained("writing state", || {
                let encoded = encode_state(&snapshot.delta)?;
                writer.write(operator, instance, FileKind::Changes { level: 0 }, &encoded, pause)
            });
            post(&me, StateKept { operator, result });
        });
    }
}

impl Handler<CommitEpoch> for CheckpointActor {
    type Result = ();

    fn handle(&mut self, commit: CommitEpoch, ctx: &mut Self::Context) {
        self.gathering.finish(commit);
        self.commit_if_complete(ctx);
    }
}

impl Handler<StateKept> for CheckpointActor {
    type Result = ();

    fn handle(&mut self, kept: StateKept, ctx: &mut Self::Context) {
        self.gathering.arrived(kept.operator, kept.result);
        self.commit_if_complete(ctx);
    }
}

impl Handler<CompactionDone> for CheckpointActor {
    type Result = ();

    fn handle(&mut self, done: CompactionDone, ctx: &mut Self::Context) {
        if let Ok(Some(compacted)) = &done.result {
            trace::compacted(&self.path, &self.operators[done.operator].name, compacted);
        }
        self.compacted.push(done);
        if let Some(mut commits) = self.commits.take() {
            self.compact(&mut commits, ctx);
            self.commits = Some(commits);
        }
    }
}

impl Handler<Back> for CheckpointActor {
    type Result = ();

    fn handle(&mut self, back: Back, ctx: &mut Self::Context) {
        let Back { mut commits, result, has_failed } = back;
        self.has_failed |= has_failed;
        if let Err(error) = result {
            log::warn!(target: "millstream::checkpoint", "old files could not be deleted: {error}");
        }
        self.writer = commits.log().writer();
        self.compact(&mut commits, ctx);
        self.commits = Some(commits);
        self.next_job(ctx);
    }
}

impl Handler<Close> for CheckpointActor {
    type Result = ();

    fn handle(&mut self, close: Close, ctx: &mut Self::Context) {
        self.closing = Some(close);
        self.next_job(ctx);
    }
}
