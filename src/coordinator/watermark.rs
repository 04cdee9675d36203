//! The query's watermark, from what its watermark nodes saw.
//!
//! Owns: the highest time of each node, the policy that makes one watermark of several, and what the next epoch runs
//! under. Does not own: measuring times (`operator::WatermarkNode`) or judging rows (stateful operators).
//!
//! ```text
//! node watermark   = highest event time seen, in whole milliseconds − delay; 0 for a node that saw none
//! query watermark  = the lowest of them (policy min) or the highest (max); never below 0, never going back
//! epoch N + 1      : evict = the query watermark after N, late = what N was evicted by
//! ```
//!
//! These are the rules of Spark's `WatermarkTracker` and `WatermarkPropagator`. Two options, off unless asked for, go beyond: a
//! node that has seen no row for a time may be left out here, and a node may leave out times too far in the future.

use std::time::Duration;

use crate::checkpoint::EventTimeRecord;
use crate::operator::EventTimes;
use crate::protocol::Watermark;
use crate::task::{EpochAck, TaskId};

/// Which node counts when there are several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum WatermarkPolicy {
    /// The slowest: nothing is late that a slow stream still holds open.
    #[default]
    Min,
    /// The fastest: results come earliest, and rows of slower streams may be late.
    Max,
}

/// How the watermark of a query is made.
#[derive(Debug, Clone, Default)]
pub(crate) struct WatermarkOptions {
    pub(crate) policy: WatermarkPolicy,
    /// A node without rows for so long does not hold the watermark back, as long as another has rows.
    pub(crate) idle_timeout: Option<Duration>,
    /// Run an epoch without input when only the watermark has moved.
    pub(crate) no_data_epochs: bool,
}

/// A watermark node of a query.
#[derive(Debug, Clone)]
pub(crate) struct WatermarkNodeSpec {
    pub(crate) name: String,
    pub(crate) delay: Duration,
    pub(crate) tasks: Vec<TaskId>,
}

#[derive(Debug)]
struct NodeState {
    spec: WatermarkNodeSpec,
    max_ms: Option<i64>,
    times: EventTimes,
    /// When a row was last seen, or the query started, in microseconds of processing time.
    last_row_micros: i64,
}

impl NodeState {
    fn watermark_ms(&self) -> i64 {
        let delay = i64::try_from(self.spec.delay.as_millis()).unwrap_or(i64::MAX);
        self.max_ms.map_or(0, |max| max.saturating_sub(delay))
    }
}

/// What is known of a node, for people.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct NodeReport {
    pub(crate) name: String,
    pub(crate) delay: Duration,
    /// The highest event time, in milliseconds; `None` before the first row.
    pub(crate) max_ms: Option<i64>,
    /// What it allows the query's watermark to be, in milliseconds.
    pub(crate) watermark_ms: i64,
    /// It has been without rows for longer than the time-out, and is left out.
    pub(crate) is_idle: bool,
    /// The query's watermark is this node's.
    pub(crate) decides: bool,
    /// When a row was last seen, in microseconds of processing time.
    pub(crate) last_row_micros: i64,
    /// Event times since the query started.
    pub(crate) times: EventTimes,
}

/// Follows the event time of one query.
#[derive(Debug)]
pub(crate) struct WatermarkTracker {
    options: WatermarkOptions,
    nodes: Vec<NodeState>,
    global_ms: i64,
    /// When `global_ms` was reached, in microseconds of processing time.
    since_micros: i64,
    /// What the last planned epoch was cleaned by.
    last_evict_ms: i64,
    /// Event times of the epoch whose acknowledgements came last.
    epoch: EventTimes,
}

impl WatermarkTracker {
    pub(crate) fn new(options: WatermarkOptions, nodes: Vec<WatermarkNodeSpec>, now: i64) -> Self {
        let node = |spec| NodeState { spec, max_ms: None, times: EventTimes::default(), last_row_micros: now };
        Self {
            options,
            nodes: nodes.into_iter().map(node).collect(),
            global_ms: 0,
            since_micros: now,
            last_evict_ms: 0,
            epoch: EventTimes::default(),
        }
    }

    /// What the epoch that begins now runs under.
    pub(crate) fn begin_epoch(&mut self) -> Watermark {
        let watermark = self.next();
        self.last_evict_ms = self.global_ms;
        watermark
    }

    /// The epoch that begins now runs again, under what it ran under before.
    pub(crate) fn begin_epoch_under(&mut self, watermark: Watermark) {
        self.global_ms = self.global_ms.max(watermark.evict_ms);
        self.last_evict_ms = watermark.evict_ms;
    }

    /// What a later run needs to go on behind the epoch whose acknowledgements came last.
    pub(crate) fn record(&self) -> EventTimeRecord {
        EventTimeRecord {
            global_ms: self.global_ms,
            evicted_ms: self.last_evict_ms,
            nodes: self.nodes.iter().map(|node| node.max_ms).collect(),
        }
    }

    /// Goes on where another tracker stood.
    pub(crate) fn restore(&mut self, record: &EventTimeRecord) {
        (self.global_ms, self.last_evict_ms) = (record.global_ms, record.evicted_ms);
        for (node, max_ms) in self.nodes.iter_mut().zip(&record.nodes) {
            node.max_ms = *max_ms;
        }
    }

    /// What the next epoch will run under.
    pub(crate) fn next(&self) -> Watermark {
        Watermark { late_ms: self.last_evict_ms, evict_ms: self.global_ms }
    }

    /// Takes in what the nodes saw in an epoch that ended at `now`.
    pub(crate) fn end_epoch(&mut self, acks: &[EpochAck], now: i64) {
        self.epoch = EventTimes::default();
        for node in &mut self.nodes {
            let acks = acks.iter().filter(|ack| node.spec.tasks.contains(&ack.task));
            for times in acks.filter_map(|ack| ack.report.operator.event_times.as_ref()) {
                self.epoch.merge(times);
                node.times.merge(times);
                if times.count > 0 {
                    node.last_row_micros = now;
                    node.max_ms = Some(node.max_ms.map_or(times.max_ms, |known| known.max(times.max_ms)));
                }
            }
        }
        self.advance(now);
    }

    /// Brings the query's watermark up to what the nodes allow at `now`.
    pub(crate) fn advance(&mut self, now: i64) {
        if let Some(chosen) = self.chosen(now).map(NodeState::watermark_ms)
            && chosen > self.global_ms
        {
            (self.global_ms, self.since_micros) = (chosen, now);
        }
    }

    /// The node whose watermark is the query's.
    fn chosen(&self, now: i64) -> Option<&NodeState> {
        let all_idle = self.nodes.iter().all(|node| self.is_idle(node, now));
        let counted = self.nodes.iter().filter(|node| all_idle || !self.is_idle(node, now));
        match self.options.policy {
            WatermarkPolicy::Min => counted.min_by_key(|node| node.watermark_ms()),
            WatermarkPolicy::Max => counted.max_by_key(|node| node.watermark_ms()),
        }
    }

    fn is_idle(&self, node: &NodeState, now: i64) -> bool {
        self.options.idle_timeout.is_some_and(|timeout| now >= idle_at(node, timeout))
    }

    /// When a node that holds the watermark back becomes idle, if one may.
    pub(crate) fn next_idle_at(&self, now: i64) -> Option<i64> {
        let timeout = self.options.idle_timeout?;
        if self.nodes.len() < 2 {
            return None;
        }
        self.nodes.iter().map(|node| idle_at(node, timeout)).filter(|at| *at > now).min()
    }

    /// Whether an epoch without input is due: the watermark moved since the last epoch was planned.
    pub(crate) fn wants_epoch(&self) -> bool {
        self.options.no_data_epochs && self.global_ms > self.last_evict_ms
    }

    /// Whether the query has a watermark at all.
    pub(crate) fn has_nodes(&self) -> bool {
        !self.nodes.is_empty()
    }

    /// The event times of the last epoch.
    pub(crate) fn epoch_times(&self) -> &EventTimes {
        &self.epoch
    }

    /// How the watermark is made.
    pub(crate) fn options(&self) -> &WatermarkOptions {
        &self.options
    }

    /// When the query's watermark was last moved, in microseconds of processing time.
    pub(crate) fn since_micros(&self) -> i64 {
        self.since_micros
    }

    /// What is known of each node.
    pub(crate) fn reports(&self, now: i64) -> Vec<NodeReport> {
        let chosen = self.chosen(now).map(std::ptr::from_ref);
        let report = |node: &NodeState| NodeReport {
            name: node.spec.name.clone(),
            delay: node.spec.delay,
            max_ms: node.max_ms,
            watermark_ms: node.watermark_ms(),
            is_idle: self.is_idle(node, now),
            decides: chosen == Some(std::ptr::from_ref(node)),
            last_row_micros: node.last_row_micros,
            times: node.times.clone(),
        };
        self.nodes.iter().map(report).collect()
    }
}

fn idle_at(node: &NodeState, timeout: Duration) -> i64 {
    node.last_row_micros.saturating_add(i64::try_from(timeout.as_micros()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::TaskReport;

    const SECOND: i64 = 1_000_000;

    fn tracker(options: WatermarkOptions, delays: &[u64]) -> WatermarkTracker {
        let node = |(number, delay): (u32, &u64)| WatermarkNodeSpec {
            name: format!("watermark-{number}"),
            delay: Duration::from_secs(*delay),
            tasks: vec![TaskId(number)],
        };
        WatermarkTracker::new(options, (0..).zip(delays).map(node).collect(), 0)
    }

    /// What the task saw: times in seconds.
    fn ack(task: u32, times: &[i64]) -> EpochAck {
        let mut event_times = EventTimes::default();
        if let (Some(min), Some(max)) = (times.iter().min(), times.iter().max()) {
            event_times.count = times.len() as u64;
            (event_times.min_ms, event_times.max_ms) = (min * 1000, max * 1000);
        }
        let mut report = TaskReport::default();
        report.operator.event_times = Some(event_times);
        EpochAck { task: TaskId(task), epoch: 0, report, snapshot: None, prepared: None }
    }

    /// Late and evict in seconds of the epochs whose acknowledgements are given, and of the one after.
    fn run(tracker: &mut WatermarkTracker, epochs: &[&[(u32, &[i64])]]) -> Vec<(i64, i64)> {
        let mut seen = Vec::new();
        for (number, epoch) in epochs.iter().enumerate() {
            let watermark = tracker.begin_epoch();
            seen.push((watermark.late_ms / 1000, watermark.evict_ms / 1000));
            let acks: Vec<EpochAck> = epoch.iter().map(|(task, times)| ack(*task, times)).collect();
            tracker.end_epoch(&acks, i64::try_from(number).unwrap() * 10 * SECOND);
        }
        let next = tracker.next();
        seen.push((next.late_ms / 1000, next.evict_ms / 1000));
        seen
    }

    #[test]
    fn rows_are_judged_by_what_the_epoch_before_was_cleaned_by() {
        let mut tracker = tracker(WatermarkOptions::default(), &[10]);
        let seen = run(&mut tracker, &[&[(0, &[15, 30])], &[(0, &[50])], &[(0, &[])], &[(0, &[20])]]);
        assert_eq!(seen, [(0, 0), (0, 20), (20, 40), (40, 40), (40, 40)]);
    }

    #[test]
    fn the_watermark_is_never_below_zero_and_never_goes_back() {
        let mut tracker = tracker(WatermarkOptions::default(), &[10]);
        let seen = run(&mut tracker, &[&[(0, &[-30])], &[(0, &[5])], &[(0, &[12])], &[(0, &[11])]]);
        assert_eq!(seen, [(0, 0), (0, 0), (0, 0), (0, 2), (2, 2)]);
    }

    #[test]
    fn the_slowest_node_decides_or_the_fastest_and_one_without_rows_counts_as_zero() {
        let epochs: &[&[(u32, &[i64])]] = &[&[(0, &[100]), (1, &[])], &[(0, &[]), (1, &[70])]];
        let min = run(&mut tracker(WatermarkOptions::default(), &[10, 5]), epochs);
        assert_eq!(min, [(0, 0), (0, 0), (0, 65)]);
        let options = WatermarkOptions { policy: WatermarkPolicy::Max, ..WatermarkOptions::default() };
        assert_eq!(run(&mut tracker(options, &[10, 5]), epochs), [(0, 0), (0, 90), (90, 90)]);
    }

    #[test]
    fn a_node_without_rows_for_the_time_out_does_not_hold_the_watermark() {
        let options = WatermarkOptions { idle_timeout: Some(Duration::from_secs(15)), ..WatermarkOptions::default() };
        let mut tracker = tracker(options, &[0, 0]);
        let seen = run(&mut tracker, &[&[(0, &[100]), (1, &[10])], &[(0, &[200])], &[(0, &[300])]]);
        assert_eq!(seen, [(0, 0), (0, 10), (10, 10), (10, 300)]);
        assert_eq!(tracker.next_idle_at(20 * SECOND), Some(35 * SECOND));
        let idle: Vec<bool> = tracker.reports(20 * SECOND).iter().map(|report| report.is_idle).collect();
        assert_eq!(idle, [false, true]);
        // When all are idle none is left out.
        tracker.advance(100 * SECOND);
        assert_eq!(tracker.next().evict_ms, 300_000);
    }

    #[test]
    fn an_epoch_without_input_is_due_once_when_the_watermark_moved() {
        let options = WatermarkOptions { no_data_epochs: true, ..WatermarkOptions::default() };
        let mut tracker = tracker(options, &[10]);
        run(&mut tracker, &[&[(0, &[30])]]);
        assert!(tracker.wants_epoch());
        run(&mut tracker, &[&[]]);
        assert!(!tracker.wants_epoch());
    }
}
