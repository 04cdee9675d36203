//! From a trigger to the moments at which the sources are asked.
//!
//! Owns: what is due when. Does not own: the clock; times are microseconds given by the caller.

use std::time::Duration;

use super::{Available, TriggerKind};
use crate::connector::{NextPoll, ReadLimit};
use crate::protocol::BarrierKind;

/// When to look for news next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// At once.
    Now,
    /// At this time, or with news if the trigger follows the data.
    At(i64),
    /// With news.
    OnNews,
}

/// Decides when the sources are asked and which epochs are durable.
#[derive(Debug)]
pub(crate) struct EpochSchedule {
    trigger: TriggerKind,
    next: Next,
    epochs: u64,
    /// When the sources were asked last.
    last_asked: i64,
    last_durable: Option<i64>,
    memory: Option<MemoryLimit>,
    /// The sources are left alone until then, because the query holds too much.
    rest_until: i64,
}

/// What a query may hold in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MemoryLimit {
    /// In bytes.
    pub(crate) bytes: u64,
}

impl MemoryLimit {
    /// About so much is read in one epoch: rows on their way and groups they touch take several times as much.
    pub(crate) fn epoch_bytes(self) -> u64 {
        (self.bytes / 16).max(1)
    }

    /// How long the sources are left alone after an epoch that took `took` microseconds, behind which `held` bytes of state are in
    /// memory: as long as the epoch took for each time the limit is held, at most a second.
    fn rest(self, held: u64, took: i64) -> i64 {
        if held <= self.bytes {
            return 0;
        }
        let times = i64::try_from(held / self.bytes.max(1)).unwrap_or(i64::MAX);
        took.max(1000).saturating_mul(times).min(LONGEST_REST)
    }
}

/// In microseconds.
const LONGEST_REST: i64 = 1_000_000;

impl EpochSchedule {
    pub(crate) fn new(trigger: TriggerKind) -> Self {
        let (next, memory, rest_until) = (Next::Now, None, i64::MIN);
        Self { trigger, next, epochs: 0, last_asked: i64::MIN, last_durable: None, memory, rest_until }
    }

    /// Epochs read less at a time, and rest while the query holds more than this.
    pub(crate) fn limit_memory(&mut self, memory: Option<MemoryLimit>) {
        self.memory = memory;
    }

    /// An epoch that took `took` microseconds left `held` bytes of state in memory.
    pub(crate) fn holds(&mut self, held: u64, took: i64, now: i64) {
        let rest = self.memory.map_or(0, |memory| memory.rest(held, took));
        self.rest_until = if rest > 0 { now.saturating_add(rest) } else { i64::MIN };
    }

    /// Whether the sources are left alone. A clock that was set back does not prolong that.
    pub(crate) fn rests(&self, now: i64) -> bool {
        now < self.rest_until && self.rest_until.saturating_sub(now) <= LONGEST_REST
    }

    /// A source may have new rows. A processing-time trigger keeps its rhythm.
    pub(crate) fn news(&mut self) {
        if self.follows_data() {
            self.next = Next::Now;
        }
    }

    /// Whether the sources should be asked for an epoch now. A clock that was set back does not keep them waiting.
    pub(crate) fn is_due(&self, now: i64) -> bool {
        if self.rests(now) {
            return false;
        }
        match self.next {
            Next::Now => true,
            Next::At(at) => now >= at || now < self.last_asked,
            Next::OnNews => false,
        }
    }

    /// When [`is_due`](Self::is_due) may become true by time alone.
    pub(crate) fn wake_at(&self) -> Option<i64> {
        match self.next {
            Next::At(at) => Some(at.max(self.rest_until)),
            Next::Now if self.rest_until > i64::MIN => Some(self.rest_until),
            Next::Now | Next::OnNews => None,
        }
    }

    /// The sources are asked at `now`, which is the start of the epoch if there is news.
    pub(crate) fn asked(&mut self, now: i64) {
        self.last_asked = now;
        self.next = match self.trigger {
            TriggerKind::ProcessingTime(interval) => Next::At(now.saturating_add(micros(interval))),
            TriggerKind::Default | TriggerKind::Once | TriggerKind::AvailableNow | TriggerKind::Continuous(_) => {
                Next::OnNews
            }
        };
    }

    /// An epoch was committed: a trigger that follows the data looks again at once.
    pub(crate) fn epoch_ended(&mut self) {
        self.epochs += 1;
        if self.follows_data() {
            self.next = Next::Now;
        }
    }

    /// The sources had nothing: asks again when the most impatient of them wants it.
    pub(crate) fn nothing_new(&mut self, available: &[Available], now: i64) {
        if self.next != Next::OnNews {
            return;
        }
        let polls = available.iter().filter_map(|available| match available.next_poll {
            NextPoll::After(delay) => Some(now.saturating_add(micros(delay))),
            NextPoll::OnWake | NextPoll::Ended => None,
        });
        self.next = polls.min().map_or(Next::OnNews, Next::At);
    }

    /// Whether epochs come with the data instead of at a rhythm.
    pub(crate) fn follows_data(&self) -> bool {
        !matches!(self.trigger, TriggerKind::ProcessingTime(_))
    }

    /// Whether rows flow on while an epoch is committed.
    pub(crate) fn overlaps_commits(&self) -> bool {
        matches!(self.trigger, TriggerKind::Continuous(_))
    }

    /// Whether epochs without input may run.
    pub(crate) fn runs_no_data_epochs(&self) -> bool {
        self.trigger != TriggerKind::Once
    }

    /// Whether the query is over when the sources have nothing.
    pub(crate) fn ends_without_news(&self) -> bool {
        match self.trigger {
            TriggerKind::Once | TriggerKind::AvailableNow => true,
            TriggerKind::Default | TriggerKind::ProcessingTime(_) | TriggerKind::Continuous(_) => false,
        }
    }

    /// Whether the trigger wants no further epoch whatever comes.
    pub(crate) fn is_over(&self) -> bool {
        self.trigger == TriggerKind::Once && self.epochs > 0
    }

    /// How much an epoch may take. `once` takes everything in its only epoch; what came later is left alone.
    pub(crate) fn limit(&self) -> ReadLimit {
        match self.trigger {
            TriggerKind::Once => ReadLimit::All,
            TriggerKind::Default
            | TriggerKind::ProcessingTime(_)
            | TriggerKind::AvailableNow
            | TriggerKind::Continuous(_) => {
                self.memory.map_or(ReadLimit::Options, |memory| ReadLimit::Bytes(memory.epoch_bytes()))
            }
        }
    }

    /// When the next durable end is due, if not every end is one.
    pub(crate) fn durable_at(&self) -> Option<i64> {
        match (self.trigger, self.last_durable) {
            (TriggerKind::Continuous(interval), Some(last)) => Some(last.saturating_add(micros(interval))),
            _ => None,
        }
    }

    /// Whether a durable end is due, or the clock was set back behind the last one.
    pub(crate) fn is_durable_due(&self, now: i64) -> bool {
        let is_back = self.last_durable.is_some_and(|last| now < last);
        self.durable_at().is_some_and(|at| now >= at || is_back)
    }

    /// The epoch that starts now has a durable end.
    pub(crate) fn ends_durably(&mut self, now: i64) {
        self.last_durable = Some(now);
    }

    /// Whether the epoch that starts now is made durable.
    pub(crate) fn kind(&mut self, now: i64) -> BarrierKind {
        if self.durable_at().is_some() && !self.is_durable_due(now) {
            return BarrierKind::Light;
        }
        self.ends_durably(now);
        BarrierKind::Durable
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
