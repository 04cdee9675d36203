//! When epochs run and when they are committed: the coordinator's decisions.
//!
//! Owns: the life of an epoch and the trigger's schedule. Does not own: sources, tasks, files or a clock; each call is
//! told the time and answers with [`Command`]s that its driver carries out in order.
//!
//! ```text
//!  opening ─opened─▶ idle ─due, news─▶ asking ─rows─▶ planning ─planned─▶ running ─all acked─▶ committing
//!                     ▲ ▲               │ nothing new                                             │
//!                     │ └───────────────┘                                                         │ committed
//!                     └───────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! One epoch at a time: epoch N+1 is planned when N is committed. A stop asked for inside an epoch takes effect when
//! that epoch is committed, so what was shown was committed. An epoch that moved the watermark is followed by one without input
//! if there is no news, so that what has become final is shown now.
//!
//! With a trigger of continuous processing only some ends are durable; what the others left open is closed by an epoch without
//! input when the interval has passed, when somebody waits, and before the query ends. There a commit does not hold up the rows that
//! follow: while it is under way, epochs whose ends are not durable run, and are committed behind it.

mod schedule;
mod trigger;
mod watermark;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::checkpoint::{PlannedRange, SavedSources};
use crate::connector::{NextPoll, Offset, ReadLimit};
use crate::operator::EventTimes;
use crate::protocol::{Barrier, BarrierKind, Epoch, EpochTime};
use crate::task::{EpochAck, TaskId};

pub(crate) use schedule::{EpochSchedule, MemoryLimit};
pub use trigger::Trigger;
pub(crate) use trigger::TriggerKind;
pub(crate) use watermark::WatermarkPolicy;
pub(crate) use watermark::{NodeReport, WatermarkNodeSpec, WatermarkOptions, WatermarkTracker};

/// What happened.
#[derive(Debug)]
pub(crate) enum Event {
    /// The sources are open.
    Opened(Start),
    /// A source may have new rows.
    News,
    /// The time asked for by [`Command::Sleep`] may have come.
    Timer,
    /// What each source could deliver, in order.
    Latest(Vec<Available>),
    /// The planned epoch has begun at all sources.
    Planned,
    /// A task has done its part.
    Acked(Box<EpochAck>),
    /// The epoch is committed.
    Committed,
    /// Somebody waits, under this number, until everything available is committed.
    Drain(u64),
    /// No further epoch is wanted.
    Stop,
}

/// Where a query begins.
#[derive(Debug, Default)]
pub(crate) struct Start {
    /// The offsets of the last commit, or the initial ones.
    pub(crate) offsets: Vec<Offset>,
    /// An epoch that was planned and not committed: it runs again, over the same rows.
    pub(crate) planned: Option<Box<EpochPlan>>,
}

/// How far a source could go now.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Available {
    pub(crate) latest: Offset,
    pub(crate) next_poll: NextPoll,
}

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Command {
    /// Ask every source how far it could go from these offsets.
    AskLatest { from: Vec<Offset>, limit: ReadLimit },
    /// Make the plan durable if it must be, then begin the epoch at all sources.
    Plan(EpochPlan),
    /// Commit the epoch: the decision, the sinks, then the sources.
    Commit(Box<FinishedEpoch>),
    /// Call with [`Event::Timer`] at this time, in microseconds; replaces the last such wish.
    Sleep(i64),
    /// These waits of [`Event::Drain`] are over.
    Drained(Vec<u64>),
    /// Nothing was found at a trigger.
    Idle,
    /// End the tasks: the query is over.
    Finish,
}

/// An epoch about to run.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct EpochPlan {
    pub(crate) barrier: Barrier,
    pub(crate) time: EpochTime,
    pub(crate) from: Vec<Offset>,
    pub(crate) to: Vec<Offset>,
    /// What is committed at its end; `None` for an end that is not durable.
    pub(crate) span: Option<Span>,
    /// An earlier run planned it.
    pub(crate) is_replay: bool,
}

impl EpochPlan {
    /// What has to be kept before this epoch begins: nothing for an end that is not durable, or that an earlier run planned.
    pub(crate) fn span_to_keep(&self) -> Option<&Span> {
        self.span.as_ref().filter(|_| !self.is_replay)
    }

    /// The range to keep, with what the sources saved of it.
    pub(crate) fn range(&self, span: &Span, sources: SavedSources) -> PlannedRange {
        PlannedRange {
            epoch: self.barrier.epoch,
            from: span.from.clone(),
            to: self.to.clone(),
            has_data: span.has_data,
            watermark: span.time.query,
            processing_micros: span.time.processing_micros,
            sources,
        }
    }
}

/// Everything since the last durable end.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Span {
    pub(crate) from: Vec<Offset>,
    /// The time its first epoch ran under.
    pub(crate) time: EpochTime,
    pub(crate) has_data: bool,
}

/// An epoch whose tasks are all done.
#[derive(Debug)]
pub(crate) struct FinishedEpoch {
    pub(crate) plan: EpochPlan,
    pub(crate) acks: Vec<EpochAck>,
    /// When the epoch began, in microseconds.
    pub(crate) started_micros: i64,
    /// The event times that its watermark nodes saw; `None` for a query without such nodes.
    pub(crate) event_times: Option<EventTimes>,
    /// How long each step took so far, in microseconds, under the names of Spark's progress.
    pub(crate) durations: BTreeMap<&'static str, i64>,
}

#[derive(Debug)]
struct Running {
    epoch: FinishedEpoch,
    missing: BTreeSet<TaskId>,
    since: i64,
}

#[derive(Debug)]
enum Phase {
    Opening,
    Idle,
    /// Asked since then; a drain alone asks outside the schedule.
    Asking {
        since: i64,
        is_due: bool,
    },
    Planning(Running),
    Running(Running),
    Committing,
    Done,
}

/// So many epochs may wait for a commit that takes its time, then no further one runs.
const MOST_COMMITS: usize = 1024;

/// Decides when epochs run.
#[derive(Debug)]
pub(crate) struct EpochMachine {
    schedule: EpochSchedule,
    tasks: BTreeSet<TaskId>,
    phase: Phase,
    next_epoch: Epoch,
    offsets: Vec<Offset>,
    /// Epochs that ended since the last durable end.
    open: Option<Span>,
    watermarks: WatermarkTracker,
    /// Waits that no look at the sources has begun after.
    drains: Vec<u64>,
    /// Waits that the look under way began after.
    drains_asked: Vec<u64>,
    /// Commits under way beside the phase, oldest first: which of them are of durable ends.
    committing: VecDeque<BarrierKind>,
    is_stopping: bool,
    /// Nothing more will run: the query ends once all is committed.
    is_finishing: bool,
}

impl EpochMachine {
    /// A machine before its first epoch, which will be `next_epoch`.
    pub(crate) fn new(
        trigger: TriggerKind,
        tasks: BTreeSet<TaskId>,
        watermarks: WatermarkTracker,
        next_epoch: Epoch,
    ) -> Self {
        Self {
            schedule: EpochSchedule::new(trigger),
            tasks,
            phase: Phase::Opening,
            next_epoch,
            offsets: Vec::new(),
            open: None,
            watermarks,
            drains: Vec::new(),
            drains_asked: Vec::new(),
            committing: VecDeque::new(),
            is_stopping: false,
            is_finishing: false,
        }
    }

    /// Epochs read less at a time, and the sources rest while the query holds more state than this.
    #[must_use]
    pub(crate) fn with_memory_limit(mut self, memory: Option<MemoryLimit>) -> Self {
        self.schedule.limit_memory(memory);
        self
    }

    /// Takes note of `event` at `now` (microseconds) and says what to do.
    pub(crate) fn on(&mut self, event: Event, now: i64) -> Vec<Command> {
        match event {
            Event::Opened(start) => {
                self.offsets = start.offsets;
                self.phase = Phase::Idle;
                if let Some(plan) = start.planned {
                    self.watermarks.begin_epoch_under(plan.time.query);
                    self.schedule.kind(now);
                    return self.run(*plan, now, now);
                }
            }
            Event::News => self.schedule.news(),
            Event::Timer => {}
            Event::Drain(id) => self.drains.push(id),
            Event::Stop => self.is_stopping = true,
            Event::Latest(available) => return self.latest(available, now),
            Event::Planned => self.planned(now),
            Event::Acked(ack) => return self.acked(*ack, now),
            Event::Committed if matches!(self.phase, Phase::Committing) => {
                self.phase = Phase::Idle;
                self.schedule.epoch_ended();
            }
            Event::Committed => drop(self.committing.pop_front()),
        }
        self.consider(now)
    }

    /// The tasks that have not acknowledged the running epoch.
    pub(crate) fn missing(&self) -> Vec<TaskId> {
        match &self.phase {
            Phase::Running(running) | Phase::Planning(running) => running.missing.iter().copied().collect(),
            Phase::Opening | Phase::Idle | Phase::Asking { .. } | Phase::Committing | Phase::Done => Vec::new(),
        }
    }

    /// The epoch that runs, or the next one.
    pub(crate) fn epoch(&self) -> Epoch {
        self.next_epoch
    }

    /// How far event time has come.
    pub(crate) fn watermarks(&self) -> &WatermarkTracker {
        &self.watermarks
    }

    /// Whether a durable end is being committed. No other may begin: its state would be written for two commits at a time.
    fn commits_durably(&self) -> bool {
        self.committing.contains(&BarrierKind::Durable)
    }

    /// When to look again, if nothing happens before.
    fn sleep(&self, now: i64) -> Option<Command> {
        let idle = self.watermarks.next_idle_at(now);
        let durable = self.open.as_ref().filter(|_| !self.commits_durably()).and_then(|_| self.schedule.durable_at());
        let wake = self.schedule.wake_at().filter(|_| self.committing.len() < MOST_COMMITS);
        wake.into_iter().chain(idle).chain(durable).min().map(Command::Sleep)
    }

    /// Whether the query is between epochs and could start one.
    fn consider(&mut self, now: i64) -> Vec<Command> {
        if !matches!(self.phase, Phase::Idle) {
            return Vec::new();
        }
        if self.is_stopping || self.is_finishing || self.schedule.is_over() {
            return self.finish(now);
        }
        self.watermarks.advance(now);
        if self.open.is_some() && !self.commits_durably() && self.schedule.is_durable_due(now) {
            return self.close(now);
        }
        let is_awake = self.schedule.follows_data() && !self.schedule.rests(now);
        let is_due = self.schedule.is_due(now) || is_awake && self.wants_no_data_epoch();
        let is_due = is_due && self.committing.len() < MOST_COMMITS;
        // Who waits for everything waits for the commits under way, too.
        let is_awaited = self.committing.is_empty() && !self.drains.is_empty();
        if !is_due && !is_awaited {
            return self.sleep(now).into_iter().collect();
        }
        self.phase = Phase::Asking { since: now, is_due };
        self.drains_asked.append(&mut self.drains);
        if is_due {
            self.schedule.asked(now);
        }
        vec![Command::AskLatest { from: self.offsets.clone(), limit: self.schedule.limit() }]
    }

    fn latest(&mut self, available: Vec<Available>, now: i64) -> Vec<Command> {
        let Phase::Asking { since, is_due } = self.phase else { return Vec::new() };
        self.phase = Phase::Idle;
        let has_news = available.iter().zip(&self.offsets).any(|(available, at)| available.latest != *at);
        if self.is_stopping {
            return self.finish(now);
        }
        // Who waits for everything waits for the epoch without input too; it needs no trigger then, as there is nothing to gather.
        let may_plan = is_due || !has_news && !self.drains_asked.is_empty();
        if may_plan && (has_news || self.wants_no_data_epoch()) {
            self.drains.append(&mut self.drains_asked);
            return self.plan(available, has_news, since, now);
        }
        if !self.committing.is_empty() {
            self.drains.append(&mut self.drains_asked);
        }
        if !has_news && self.open.is_some() && !self.drains_asked.is_empty() {
            self.drains.append(&mut self.drains_asked);
            return self.close(now);
        }
        let mut commands = Vec::new();
        if has_news {
            // Only a wait asked, but the news it found is as good as a source's own.
            self.schedule.news();
            self.drains.append(&mut self.drains_asked);
        } else {
            commands.push(Command::Idle);
            if !self.drains_asked.is_empty() {
                commands.push(Command::Drained(std::mem::take(&mut self.drains_asked)));
            }
            let has_ended = available.iter().all(|available| available.next_poll == NextPoll::Ended);
            if has_ended || self.schedule.ends_without_news() {
                commands.extend(self.finish(now));
                return commands;
            }
            self.schedule.nothing_new(&available, now);
        }
        commands.extend(self.sleep(now));
        // News and waits that came while the sources were asked are looked at now.
        if self.schedule.is_due(now) || self.committing.is_empty() && !self.drains.is_empty() && !has_news {
            commands.extend(self.consider(now));
        }
        commands
    }

    /// Whether state can be freed or rows emitted although there is no input: the watermark has moved since the last epoch began.
    fn wants_no_data_epoch(&self) -> bool {
        self.schedule.runs_no_data_epochs() && self.watermarks.wants_epoch()
    }

    fn plan(&mut self, available: Vec<Available>, has_data: bool, since: i64, now: i64) -> Vec<Command> {
        let kind = if self.commits_durably() { BarrierKind::Light } else { self.schedule.kind(now) };
        let to = available.into_iter().map(|available| available.latest).collect();
        let plan = self.next_plan(kind, to, has_data, since);
        self.run(plan, since, now)
    }

    /// An epoch without input whose end is durable, for those before it whose ends were not.
    fn close(&mut self, now: i64) -> Vec<Command> {
        self.schedule.ends_durably(now);
        let plan = self.next_plan(BarrierKind::Durable, self.offsets.clone(), false, now);
        self.run(plan, now, now)
    }

    fn next_plan(&mut self, kind: BarrierKind, to: Vec<Offset>, has_data: bool, since: i64) -> EpochPlan {
        let time = EpochTime { query: self.watermarks.begin_epoch(), here: None, processing_micros: since };
        let from = self.offsets.clone();
        let open = self.open.get_or_insert_with(|| Span { from: from.clone(), time, has_data });
        open.has_data |= has_data;
        let span = match kind {
            BarrierKind::Durable => self.open.take(),
            BarrierKind::Light => None,
        };
        let barrier = Barrier { epoch: self.next_epoch, kind, has_data };
        EpochPlan { barrier, time, from, to, span, is_replay: false }
    }

    fn run(&mut self, plan: EpochPlan, since: i64, now: i64) -> Vec<Command> {
        let durations = BTreeMap::from([("latestOffset", now - since)]);
        let epoch =
            FinishedEpoch { plan: plan.clone(), acks: Vec::new(), started_micros: since, event_times: None, durations };
        self.phase = Phase::Planning(Running { epoch, missing: self.tasks.clone(), since: now });
        vec![Command::Plan(plan)]
    }

    fn planned(&mut self, now: i64) {
        match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Planning(mut running) => {
                running.epoch.durations.insert("queryPlanning", now - running.since);
                running.since = now;
                self.phase = Phase::Running(running);
            }
            other => self.phase = other,
        }
    }

    /// An acknowledgement of another epoch, of a stranger or a repeat changes nothing.
    fn acked(&mut self, ack: EpochAck, now: i64) -> Vec<Command> {
        let (Phase::Running(running) | Phase::Planning(running)) = &mut self.phase else { return Vec::new() };
        if ack.epoch != running.epoch.plan.barrier.epoch || !running.missing.remove(&ack.task) {
            return Vec::new();
        }
        running.epoch.acks.push(ack);
        if !running.missing.is_empty() {
            return Vec::new();
        }
        let overlaps = self.schedule.overlaps_commits();
        let next = if overlaps { Phase::Idle } else { Phase::Committing };
        match std::mem::replace(&mut self.phase, next) {
            Phase::Running(mut running) | Phase::Planning(mut running) => {
                running.epoch.durations.insert("addBatch", now - running.since);
                self.offsets.clone_from(&running.epoch.plan.to);
                self.watermarks.end_epoch(&running.epoch.acks, now);
                running.epoch.event_times = self.watermarks.has_nodes().then(|| self.watermarks.epoch_times().clone());
                self.next_epoch += 1;
                let held = running.epoch.acks.iter().map(|ack| ack.report.operator.state_bytes).sum();
                self.schedule.holds(held, now - running.epoch.started_micros, now);
                let kind = running.epoch.plan.barrier.kind;
                let mut commands = vec![Command::Commit(Box::new(running.epoch))];
                if overlaps {
                    self.committing.push_back(kind);
                    self.schedule.epoch_ended();
                    commands.extend(self.consider(now));
                }
                commands
            }
            other => {
                self.phase = other;
                Vec::new()
            }
        }
    }

    /// Ends the query, behind the commits under way, and behind a durable end if there are epochs without.
    fn finish(&mut self, now: i64) -> Vec<Command> {
        self.is_finishing = true;
        if !self.committing.is_empty() {
            return Vec::new();
        }
        if self.open.is_some() {
            return self.close(now);
        }
        self.phase = Phase::Done;
        vec![Command::Finish]
    }
}

#[cfg(test)]
mod tests;
