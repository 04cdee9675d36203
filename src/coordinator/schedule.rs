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
}

impl EpochSchedule {
    pub(crate) fn new(trigger: TriggerKind) -> Self {
        Self { trigger, next: Next::Now, epochs: 0, last_asked: i64::MIN, last_durable: None }
    }

    /// A source may have new rows. A processing-time trigger keeps its rhythm.
    pub(crate) fn news(&mut self) {
        if self.follows_data() {
            self.next = Next::Now;
        }
    }

    /// Whether the sources should be asked for an epoch now. A clock that was set back does not keep them waiting.
    pub(crate) fn is_due(&self, now: i64) -> bool {
        match self.next {
            Next::Now => true,
            Next::At(at) => now >= at || now < self.last_asked,
            Next::OnNews => false,
        }
    }

    /// When [`is_due`](Self::is_due) may become true by time alone.
    pub(crate) fn wake_at(&self) -> Option<i64> {
        match self.next {
            Next::At(at) => Some(at),
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
            | TriggerKind::Continuous(_) => ReadLimit::Options,
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
