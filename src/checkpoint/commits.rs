//! The commits of one run: the log and the sinks together.
//!
//! Owns: which sinks publish when, and what a run that continues does first. The same code is driven by the checkpoint actor and by
//! the simulation.

use std::time::Duration;

#[cfg(test)]
use super::log::Defect;
use super::log::{CheckpointLog, Decision, PlannedRange};
use super::reader::Found;
use super::records::{EventTimeRecord, SinkEpoch, StateFile};
use crate::connector::{Guarantee, Offset, Prepared, SinkCommitter};
use crate::error::{ErrorKind, Result};
use crate::protocol::Epoch;

/// What is waited for before each new try of a store or sink that failed.
const PAUSES: [Duration; 5] = [
    Duration::from_millis(100),
    Duration::from_millis(200),
    Duration::from_millis(400),
    Duration::from_millis(800),
    Duration::from_millis(1600),
];

/// Tries until it works, with longer and longer pauses. What is no fault of the world outside is not tried again.
///
/// # Errors
/// Those of the last try.
pub(crate) fn persist<T>(mut pause: impl FnMut(Duration), mut work: impl FnMut() -> Result<T>) -> Result<T> {
    for length in PAUSES {
        match work() {
            Err(error) if error.kind() == ErrorKind::Connector => {
                log::warn!(target: "millstream::checkpoint", "{error}; tried again in {} ms", length.as_millis());
                pause(length);
            }
            done => return done,
        }
    }
    work()
}

/// A sink's committer and what waits for a durable end.
pub(crate) struct SinkEnd {
    committer: Box<dyn SinkCommitter>,
    guarantee: Guarantee,
    waiting: Vec<SinkEpoch>,
}

impl SinkEnd {
    pub(crate) fn new(committer: Box<dyn SinkCommitter>, guarantee: Guarantee) -> Self {
        Self { committer, guarantee, waiting: Vec::new() }
    }

    fn publish(&mut self, epochs: &[SinkEpoch]) -> Result<()> {
        epochs.iter().try_for_each(|epoch| self.committer.commit(epoch.epoch, &epoch.prepared))
    }
}

/// An epoch that all tasks have acknowledged.
#[derive(Debug, Clone)]
pub(crate) struct EpochEnd {
    pub(crate) epoch: Epoch,
    /// For each sink, what its writers prepared; nothing from a sink that left the epoch out.
    pub(crate) prepared: Vec<Vec<Prepared>>,
    /// What a durable end commits besides.
    pub(crate) durable: Option<DurableEnd>,
}

/// What a durable end commits.
#[derive(Debug, Clone)]
pub(crate) struct DurableEnd {
    pub(crate) to: Vec<Offset>,
    pub(crate) event_time: EventTimeRecord,
    /// For each operator with state, the files of what it changed.
    pub(crate) changes: Vec<Vec<StateFile>>,
}

/// Commits the epochs of one run, in order.
pub(crate) struct Commits {
    log: CheckpointLog,
    sinks: Vec<SinkEnd>,
}

impl Commits {
    pub(crate) fn new(log: CheckpointLog, sinks: Vec<SinkEnd>) -> Self {
        Self { log, sinks }
    }

    pub(crate) fn log(&self) -> &CheckpointLog {
        &self.log
    }

    pub(crate) fn log_mut(&mut self) -> &mut CheckpointLog {
        &mut self.log
    }

    /// Publishes the newest commit again unless it is known to be published, then lets sinks forget what older runs left.
    ///
    /// # Errors
    /// When a sink cannot.
    pub(crate) fn recover(&mut self, found: &Found) -> Result<()> {
        if let Some(last) = found.last() {
            let is_published = found.published == Some(last.number);
            #[cfg(test)]
            let is_published = is_published || self.log.has(Defect::ForgetsToPublish);
            if !is_published {
                let sinks = self.sinks.iter_mut().zip(&last.sinks);
                sinks.into_iter().try_for_each(|(sink, epochs)| sink.publish(epochs))?;
            }
            self.log.published();
        }
        let last = found.last().map(|last| last.epoch);
        self.sinks.iter_mut().try_for_each(|sink| sink.committer.recover(last))
    }

    /// Keeps a range before it is read.
    ///
    /// # Errors
    /// Those of [`CheckpointLog::plan`].
    pub(crate) fn plan(&mut self, range: PlannedRange) -> Result<()> {
        self.log.plan(range)
    }

    /// The epoch is through: without a durable end, sinks that may show rows twice show them now and the others wait; with one, all of
    /// that is decided. What is decided is published by [`publish`](Self::publish).
    ///
    /// # Errors
    /// When it could not be decided; calling again is safe.
    pub(crate) fn decide(&mut self, end: &EpochEnd) -> Result<()> {
        let prepared = |sink: usize| {
            let prepared = &end.prepared[sink];
            (!prepared.is_empty()).then(|| SinkEpoch { epoch: end.epoch, prepared: prepared.clone() })
        };
        #[cfg(test)]
        if self.log.has(Defect::PublishesFirst) {
            let sinks = self.sinks.iter_mut().enumerate();
            let mut epochs = sinks.filter_map(|(number, sink)| prepared(number).map(|epoch| (sink, epoch)));
            epochs.try_for_each(|(sink, epoch)| sink.publish(&[epoch]))?;
        }
        if let Some(durable) = &end.durable {
            let epochs =
                |(number, sink): (usize, &SinkEnd)| sink.waiting.iter().cloned().chain(prepared(number)).collect();
            self.log.commit(&Decision {
                epoch: end.epoch,
                to: durable.to.clone(),
                event_time: durable.event_time.clone(),
                changes: durable.changes.clone(),
                sinks: self.sinks.iter().enumerate().map(epochs).collect(),
            })?;
        }
        for (number, sink) in self.sinks.iter_mut().enumerate() {
            sink.waiting.extend(prepared(number));
        }
        Ok(())
    }

    /// Publishes what may be: everything behind a durable end.
    ///
    /// # Errors
    /// When a sink cannot; calling again is safe.
    pub(crate) fn publish(&mut self, is_durable: bool) -> Result<()> {
        for sink in &mut self.sinks {
            if is_durable || sink.guarantee == Guarantee::AtLeastOnce {
                let epochs = std::mem::take(&mut sink.waiting);
                if let Err(error) = sink.publish(&epochs) {
                    sink.waiting = epochs;
                    return Err(error);
                }
            }
        }
        if is_durable {
            self.log.published();
        }
        Ok(())
    }
}
