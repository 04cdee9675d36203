//! From what tasks reported to what users read.
//!
//! Owns: composing progress and events. Does not own: counting (tasks and operators do).

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::connector::Offset;
use crate::coordinator::{FinishedEpoch, MemoryLimit, NodeReport, WatermarkPolicy, WatermarkTracker};
use crate::error::Error;
use crate::observability::trace::ActorPath;
use crate::observability::{
    EventTimeStats, OperatorRows, QueryIdleEvent, QueryStartedEvent, QueryTerminatedEvent, SinkProgress,
    SourceProgress, StateOperatorProgress, StreamingQueryProgress, WatermarkNodeStatus, WatermarkStatus,
};
use crate::operator::reason;
use crate::task::{TaskId, TaskReport};

/// Which tasks belong to which source, operator or sink.
#[derive(Debug, Default)]
pub(super) struct Roles {
    /// Sources in the order of their nodes.
    pub sources: Vec<Vec<TaskId>>,
    /// Operators with their names, from the output down to the sources.
    pub operators: Vec<(String, Vec<TaskId>)>,
    /// Sinks in the order of their nodes.
    pub sinks: Vec<Vec<TaskId>>,
}

impl Roles {
    /// The sink a task writes for.
    pub(super) fn sink_of(&self, task: TaskId) -> Option<usize> {
        self.sinks.iter().position(|tasks| tasks.contains(&task))
    }
}

/// What is known of a query all its life.
#[derive(Debug)]
pub(super) struct Facts {
    pub id: Uuid,
    pub run_id: Uuid,
    pub name: Option<String>,
    pub path: ActorPath,
    pub sources: Vec<String>,
    pub sink: String,
    /// When the query started, in microseconds.
    pub started_micros: i64,
    /// What the sources answered last.
    pub latest: Vec<Offset>,
    /// When an idle event was published last, in microseconds.
    pub last_idle: i64,
    /// When the last epoch started, in microseconds.
    pub last_epoch: Option<i64>,
    pub late: LateWarning,
    pub memory: MemoryWarning,
}

/// Whether the query holds more than it may, and when that was last said.
#[derive(Debug, Default)]
pub(super) struct MemoryWarning {
    limit: Option<MemoryLimit>,
    last: Option<i64>,
}

impl MemoryWarning {
    pub(super) fn new(limit: Option<MemoryLimit>) -> Self {
        Self { limit, last: None }
    }

    /// What is to be said behind an epoch, if it is time.
    pub(super) fn about(&mut self, operators: &[StateOperatorProgress], now: i64) -> Option<String> {
        let limit = self.limit?.bytes;
        let held: u64 = operators.iter().map(|operator| operator.memory_used_bytes).sum();
        if held <= limit || self.last.is_some_and(|last| now - last < WARN_EVERY) {
            return None;
        }
        self.last = Some(now);
        let share = |operator: &StateOperatorProgress| {
            format!("{} {} MB", operator.operator_name, operator.memory_used_bytes >> 20)
        };
        let shares = operators.iter().map(share).collect::<Vec<_>>().join(", ");
        let remedy = if cfg!(feature = "spill") {
            "raise millstream.memory.limit, or bound the state (explain() says by what)"
        } else {
            "enable the cargo feature `spill`, raise millstream.memory.limit, or bound the state (explain() says by what)"
        };
        Some(format!(
            "the state takes {} MB of the {} MB of millstream.memory.limit ({shares}); the sources are slowed down; {remedy}",
            held >> 20,
            limit >> 20
        ))
    }
}

/// Late rows that were not spoken of yet.
#[derive(Debug, Default)]
pub(super) struct LateWarning {
    rows: u64,
    /// When the last warning was given, in microseconds.
    last: Option<i64>,
}

/// Warnings of one kind come at most this often, in microseconds.
const WARN_EVERY: i64 = 10_000_000;

/// Idle events come at most this often, as Spark's (`spark.sql.streaming.noDataProgressEventInterval`), in microseconds.
const IDLE_EVERY: i64 = 10_000_000;

impl Facts {
    pub(super) fn started_event(&self) -> QueryStartedEvent {
        QueryStartedEvent {
            id: self.id.to_string(),
            run_id: self.run_id.to_string(),
            name: self.name.clone(),
            timestamp: timestamp(self.started_micros),
        }
    }

    pub(super) fn terminated_event(&self, exception: Option<Error>) -> QueryTerminatedEvent {
        QueryTerminatedEvent { id: self.id.to_string(), run_id: self.run_id.to_string(), exception }
    }

    pub(super) fn idle_event(&mut self, now: i64) -> Option<QueryIdleEvent> {
        if now - self.last_idle < IDLE_EVERY {
            return None;
        }
        self.last_idle = now;
        let (id, run_id) = (self.id.to_string(), self.run_id.to_string());
        Some(QueryIdleEvent { id, run_id, timestamp: timestamp(now) })
    }

    /// The progress of a committed epoch.
    pub(super) fn progress(
        &mut self,
        epoch: &FinishedEpoch,
        roles: &Roles,
        metrics: &[BTreeMap<String, u64>],
        watermark_nodes: Vec<WatermarkNodeStatus>,
        now: i64,
    ) -> StreamingQueryProgress {
        let since_last = self.last_epoch.map(|last| epoch.started_micros - last);
        self.last_epoch = Some(epoch.started_micros);
        self.last_idle = now;
        let took = now - epoch.started_micros;
        let mut duration_ms: BTreeMap<String, i64> =
            epoch.durations.iter().map(|(step, micros)| ((*step).to_string(), micros.div_euclid(1000))).collect();
        duration_ms.insert("triggerExecution".to_string(), took.div_euclid(1000));
        let sources = self.source_progress(epoch, roles, metrics, since_last, took);
        let num_input_rows = sources.iter().map(|source| source.num_input_rows).sum();
        StreamingQueryProgress {
            id: self.id.to_string(),
            run_id: self.run_id.to_string(),
            name: self.name.clone(),
            timestamp: timestamp(epoch.started_micros),
            batch_id: epoch.plan.barrier.epoch,
            batch_duration: took.div_euclid(1000),
            num_input_rows,
            input_rows_per_second: rate(num_input_rows, since_last),
            processed_rows_per_second: rate(num_input_rows, Some(took)),
            duration_ms,
            event_time: event_time(epoch),
            state_operators: state_operators(epoch, roles),
            sources,
            sink: SinkProgress {
                description: self.sink.clone(),
                num_output_rows: total(epoch, roles.sinks.iter().flatten(), |report| report.rows_in),
            },
            observed_metrics: BTreeMap::new(),
            dropped_rows: dropped(epoch),
            operator_rows: operator_rows(epoch, roles),
            watermark_nodes,
            latency_ms: None,
        }
    }

    /// What is to be said of late rows, if it is time.
    pub(super) fn late_warning(&mut self, epoch: &FinishedEpoch, roles: &Roles, now: i64) -> Option<String> {
        let late = |tasks: &Vec<TaskId>| total(epoch, tasks, |report| report.dropped_for(reason::LATE));
        let operators: Vec<&str> =
            roles.operators.iter().filter(|(_, tasks)| late(tasks) > 0).map(|(name, _)| name.as_str()).collect();
        self.late.rows += roles.operators.iter().map(|(_, tasks)| late(tasks)).sum::<u64>();
        let is_early = self.late.last.is_some_and(|last| now - last < WARN_EVERY);
        if operators.is_empty() || is_early {
            return None;
        }
        self.late.last = Some(now);
        let rows = std::mem::take(&mut self.late.rows);
        let watermark = timestamp(epoch.plan.time.query.late_ms.saturating_mul(1000));
        Some(format!(
            "{rows} rows came after the watermark {watermark} and were dropped by {}; query.late_rows() has them, a \
             longer delay in with_watermark would keep them",
            operators.join(", ")
        ))
    }

    /// Where the watermark stands, for people.
    pub(super) fn watermark_status(tracker: &WatermarkTracker, now: i64) -> WatermarkStatus {
        let millis = |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let node = |report: NodeReport| WatermarkNodeStatus {
            delay_ms: millis(report.delay),
            max_event_time_ms: report.max_ms,
            watermark_ms: report.watermark_ms,
            is_idle: report.is_idle,
            decides: report.decides,
            last_row_micros: report.last_row_micros,
            rows: report.times.count,
            rows_ahead: report.times.ahead,
            lateness: report.times.lateness.buckets().collect(),
            what_if: WatermarkNodeStatus::what_if(report.delay, &report.times),
            name: report.name,
        };
        WatermarkStatus {
            watermark_ms: tracker.next().evict_ms,
            since_micros: tracker.since_micros(),
            now_micros: now,
            is_max_policy: tracker.options().policy == WatermarkPolicy::Max,
            idle_timeout_ms: tracker.options().idle_timeout.map(millis),
            nodes: tracker.reports(now).into_iter().map(node).collect(),
        }
    }

    fn source_progress(
        &self,
        epoch: &FinishedEpoch,
        roles: &Roles,
        metrics: &[BTreeMap<String, u64>],
        since_last: Option<i64>,
        took: i64,
    ) -> Vec<SourceProgress> {
        let mut sources = Vec::new();
        for (index, description) in self.sources.iter().enumerate() {
            let metrics = metrics.get(index).cloned().unwrap_or_default();
            let rows = roles.sources.get(index).map_or(0, |tasks| total(epoch, tasks, |report| report.rows_in));
            sources.push(SourceProgress {
                description: description.clone(),
                start_offset: Some(epoch.plan.from[index].0.clone()),
                end_offset: Some(epoch.plan.to[index].0.clone()),
                latest_offset: self.latest.get(index).map(|offset| offset.0.clone()),
                num_input_rows: rows,
                input_rows_per_second: rate(rows, since_last),
                processed_rows_per_second: rate(rows, Some(took)),
                metrics: metrics.into_iter().map(|(name, count)| (name, count.to_string())).collect(),
            });
        }
        sources
    }
}

fn total<'a>(
    epoch: &FinishedEpoch,
    tasks: impl IntoIterator<Item = &'a TaskId>,
    count: impl Fn(&TaskReport) -> u64,
) -> u64 {
    let tasks: Vec<_> = tasks.into_iter().collect();
    epoch.acks.iter().filter(|ack| tasks.contains(&&ack.task)).map(|ack| count(&ack.report)).sum()
}

fn state_operators(epoch: &FinishedEpoch, roles: &Roles) -> Vec<StateOperatorProgress> {
    let mut operators = Vec::new();
    for (name, tasks) in &roles.operators {
        let is_stateful =
            |ack: &&crate::task::EpochAck| tasks.contains(&ack.task) && ack.report.operator.state_rows.is_some();
        if !epoch.acks.iter().any(|ack| is_stateful(&ack)) {
            continue;
        }
        let sum = |count: fn(&TaskReport) -> u64| total(epoch, tasks, count);
        let dropped_for = |reason: &str| total(epoch, tasks, |report| report.dropped_for(reason));
        let duplicates = dropped_for(reason::DUPLICATE);
        let is_deduplication = acks(epoch, tasks).any(|ack| ack.report.operator.drops_duplicates);
        let mut custom_metrics: BTreeMap<String, u64> =
            is_deduplication.then(|| ("numDroppedDuplicateRows".to_string(), duplicates)).into_iter().collect();
        custom_metrics.extend(side_metrics(epoch, tasks));
        let outside = acks(epoch, tasks).filter_map(|ack| ack.report.operator.rows_outside);
        custom_metrics
            .extend(outside.reduce(|sum, rows| sum + rows).map(|rows| ("rowsOutsideMemory".to_string(), rows)));
        operators.push(StateOperatorProgress {
            operator_name: name.clone(),
            num_rows_total: sum(|report| report.operator.state_rows.unwrap_or(0)),
            num_rows_updated: sum(|report| report.operator.updated_rows),
            num_rows_removed: sum(|report| report.operator.removed_rows),
            num_rows_dropped_by_watermark: dropped_for(reason::LATE),
            memory_used_bytes: sum(|report| report.operator.state_bytes),
            custom_metrics,
        });
    }
    operators
}

/// What a join of streams holds of each side; nothing for other operators.
fn side_metrics(epoch: &FinishedEpoch, tasks: &[TaskId]) -> BTreeMap<String, u64> {
    let mut metrics = BTreeMap::new();
    for sides in acks(epoch, tasks).filter_map(|ack| ack.report.operator.sides) {
        for (name, side) in ["left", "right"].into_iter().zip(sides) {
            *metrics.entry(format!("{name}Rows")).or_default() += side.rows;
            *metrics.entry(format!("{name}Bytes")).or_default() += side.bytes;
        }
    }
    metrics
}

/// The accounts of the operators that keep one.
fn operator_rows(epoch: &FinishedEpoch, roles: &Roles) -> Vec<OperatorRows> {
    let mut accounts = Vec::new();
    for (name, tasks) in &roles.operators {
        let mut account = OperatorRows {
            operator_name: name.clone(),
            rows_in: 0,
            rows_out: 0,
            rows_made: 0,
            rows_absorbed: 0,
            rows_dropped: BTreeMap::new(),
        };
        let mut is_kept = true;
        for ack in acks(epoch, tasks) {
            let Some(balance) = ack.report.operator.balance else {
                is_kept = false;
                break;
            };
            account.rows_in += ack.report.rows_in;
            account.rows_out += ack.report.rows_out;
            account.rows_made += balance.made;
            account.rows_absorbed += balance.absorbed;
            for (reason, count) in &ack.report.dropped {
                *account.rows_dropped.entry((*reason).to_string()).or_default() += count;
            }
        }
        accounts.extend(is_kept.then_some(account));
    }
    accounts
}

fn acks<'a>(epoch: &'a FinishedEpoch, tasks: &'a [TaskId]) -> impl Iterator<Item = &'a crate::task::EpochAck> {
    epoch.acks.iter().filter(|ack| tasks.contains(&ack.task))
}

/// What the watermark nodes saw, and the watermark the epoch ran under; nothing for a query without.
fn event_time(epoch: &FinishedEpoch) -> BTreeMap<String, String> {
    let Some(times) = &epoch.event_times else { return BTreeMap::new() };
    let known = |millis: i64| (times.count > 0).then(|| millis.saturating_mul(1000));
    let mean = times.sum_ms.checked_div(i128::from(times.count)).and_then(|mean| i64::try_from(mean).ok());
    let stats = EventTimeStats {
        min_micros: known(times.min_ms),
        max_micros: known(times.max_ms),
        avg_micros: mean.and_then(known),
        watermark_ms: Some(epoch.plan.time.query.evict_ms),
    };
    stats.to_map()
}

fn dropped(epoch: &FinishedEpoch) -> BTreeMap<String, u64> {
    let mut dropped = BTreeMap::new();
    for (reason, count) in epoch.acks.iter().flat_map(|ack| &ack.report.dropped) {
        *dropped.entry((*reason).to_string()).or_default() += count;
    }
    dropped
}

/// Rows a second over `micros`; nothing when no time has passed, so that the JSON holds only numbers.
#[expect(clippy::cast_precision_loss, reason = "a rate is an estimate")]
fn rate(rows: u64, micros: Option<i64>) -> Option<f64> {
    micros.filter(|micros| *micros > 0).map(|micros| rows as f64 * 1e6 / micros as f64)
}

/// ISO 8601 in UTC with milliseconds, as Spark writes.
fn timestamp(micros: i64) -> String {
    let time = chrono::DateTime::from_timestamp_micros(micros).unwrap_or_default();
    time.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}
