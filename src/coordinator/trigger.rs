//! Triggers as users name them.

use std::time::Duration;

use crate::error::Result;
use crate::types::{IntoDuration, parse_duration};

/// When a query starts its epochs. The default is as soon as there is something to do.
///
/// ```
/// use millstream::prelude::*;
/// use std::time::Duration;
///
/// let every_ten_seconds = Trigger::processing_time("10 seconds");
/// let checkpoint_each_second = Trigger::continuous(Duration::from_secs(1));
/// # let _ = (every_ten_seconds, checkpoint_each_second);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Trigger(Inner);

#[derive(Debug, Clone, PartialEq, Eq, Default)]
enum Inner {
    #[default]
    Default,
    ProcessingTime(String),
    Once,
    AvailableNow,
    Continuous(String),
}

/// A trigger whose durations were understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TriggerKind {
    Default,
    ProcessingTime(Duration),
    Once,
    AvailableNow,
    Continuous(Duration),
}

impl Trigger {
    /// The first epoch at once, then one at each multiple of `interval` after the start of the last; none while there
    /// is nothing new. An interval of zero is the default trigger.
    pub fn processing_time(interval: impl IntoDuration) -> Self {
        Self(Inner::ProcessingTime(interval.into_duration_text()))
    }

    /// One epoch over everything available, rate limits ignored; then the query ends. If the checkpoint has an epoch that was planned
    /// and not committed, that one runs. Spark deprecates it in favour of [`available_now`](Self::available_now).
    pub fn once() -> Self {
        Self(Inner::Once)
    }

    /// Everything that is available at the start, in epochs within the rate limits; then the query ends.
    pub fn available_now() -> Self {
        Self(Inner::AvailableNow)
    }

    /// Rows flow through at once; `interval` is how often a checkpoint is taken, and with it the moment at which exactly-once sinks
    /// show what they got. Epochs in between are committed nowhere: after a crash their rows come again in epochs that are cut
    /// elsewhere, so that which rows are late may differ; counts and results are exactly-once all the same. Sinks that need
    /// every epoch again as it was (`foreach_batch`) are refused.
    pub fn continuous(interval: impl IntoDuration) -> Self {
        Self(Inner::Continuous(interval.into_duration_text()))
    }

    /// The same as [`continuous`](Self::continuous), under the name of Spark 4.1.
    pub fn real_time(interval: impl IntoDuration) -> Self {
        Self::continuous(interval)
    }

    pub(crate) fn resolve(&self) -> Result<TriggerKind> {
        Ok(match &self.0 {
            Inner::Default => TriggerKind::Default,
            Inner::ProcessingTime(text) => match parse_duration(text).map_err(|e| e.context("trigger"))? {
                Duration::ZERO => TriggerKind::Default,
                interval => TriggerKind::ProcessingTime(interval),
            },
            Inner::Once => TriggerKind::Once,
            Inner::AvailableNow => TriggerKind::AvailableNow,
            Inner::Continuous(text) => TriggerKind::Continuous(parse_duration(text).map_err(|e| e.context("trigger"))?),
        })
    }
}
