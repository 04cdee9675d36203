//! Tasks: one instance of a source, operator or sink, as a state machine that its driver feeds and obeys.
//!
//! Owns: the order in which a task takes input, works, sends, snapshots and acknowledges. Does not own: threads, mailboxes or
//! blocking work. The same tasks run under actix (`runtime`) and under a seeded single thread (`testing::simulation`).
//!
//! A driver calls the event methods (`receive`, `refill`, …) as things happen and then `step` until it answers
//! [`Progress::Idle`], carrying out the [`Effect`]s in order after each call.
//!
//! Why this cannot deadlock on a graph without cycles, by induction from the sinks: a task that is not blocked by its
//! outbox takes input until every channel is at its barrier, and returns credit for all of it; so its senders are never
//! blocked for ever. Barriers need no credit, so alignment always completes. Why memory is bounded: a channel holds at
//! most its window, and a task at most what one step put out.

mod operator_task;
mod sink_task;
mod source_task;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::connector::Prepared;
use crate::error::{Error, Result};
use crate::operator::{DroppedRows, OperatorStats};
use crate::protocol::credit::{Grant, Window};
use crate::protocol::{Barrier, Epoch, EpochTime, Message, Watermark};
use crate::state::StateDelta;

pub(crate) use operator_task::OperatorTask;
pub(crate) use sink_task::{SinkDone, SinkJob, SinkTask};
pub(crate) use source_task::{Fetched, Reader, SourceTask};

/// The number of a task in its query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct TaskId(pub u32);

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// One end of a channel: the task there, and the channel's number among that task's inputs or outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Peer {
    /// The task.
    pub task: TaskId,
    /// The channel's number at that task.
    pub channel: usize,
}

/// An input channel of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InputChannel {
    /// The operator's port it leads to.
    pub port: usize,
    /// The sender's end.
    pub from: Peer,
}

/// How a task is connected.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wiring {
    /// The input channels.
    pub inputs: Vec<InputChannel>,
    /// The output channels, edge by edge: the receivers' ends.
    pub outputs: Vec<Vec<Peer>>,
    /// The window of every output channel.
    pub window: Window,
}

impl Wiring {
    fn ports(&self) -> Vec<usize> {
        self.inputs.iter().map(|input| input.port).collect()
    }

    fn receivers(&self) -> Vec<usize> {
        self.outputs.iter().map(Vec::len).collect()
    }

    fn peers(&self) -> Vec<Peer> {
        self.outputs.iter().flatten().copied().collect()
    }
}

/// What a source task is told at the start of an epoch.
pub(crate) struct BeginEpoch {
    /// The time the epoch runs under.
    pub time: EpochTime,
    /// The end of the epoch.
    pub barrier: Barrier,
    /// What this task has to read in it.
    pub readers: Vec<Reader>,
}

/// Deals the readers of a source to its `tasks`, in turn.
pub(crate) fn deal(readers: Vec<Reader>, tasks: usize) -> Vec<Vec<Reader>> {
    let mut shares: Vec<Vec<Reader>> = (0..tasks).map(|_| Vec::new()).collect();
    for (number, reader) in readers.into_iter().enumerate() {
        shares[number % tasks].push(reader);
    }
    shares
}

impl fmt::Debug for BeginEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let readers = self.readers.len();
        f.debug_struct("BeginEpoch").field("barrier", &self.barrier).field("readers", &readers).finish_non_exhaustive()
    }
}

/// So many dropped rows of one task and epoch are kept to be looked at, and at most a batch more.
const KEPT_ROWS: usize = 65_536;

/// What one task did in one epoch.
#[derive(Debug, Default)]
pub(crate) struct TaskReport {
    /// Rows taken in.
    pub rows_in: u64,
    /// Rows put out.
    pub rows_out: u64,
    /// The operator's own counts.
    pub operator: OperatorStats,
    /// Rows dropped, by reason.
    pub dropped: Vec<(&'static str, u64)>,
    /// Rows dropped, as far as they are kept.
    pub dropped_rows: Vec<DroppedRows>,
    /// When a sink's writer was last handed rows, in microseconds.
    pub written_micros: Option<i64>,
}

impl TaskReport {
    /// Takes note of dropped rows. Only [`KEPT_ROWS`] of them are kept for an epoch; all are counted.
    fn drop_rows(&mut self, counts: Vec<(&'static str, u64)>, rows: Vec<DroppedRows>) {
        for (reason, count) in counts {
            match self.dropped.iter_mut().find(|(known, _)| *known == reason) {
                Some((_, sum)) => *sum += count,
                None => self.dropped.push((reason, count)),
            }
        }
        for rows in rows {
            let kept: usize = self.dropped_rows.iter().map(|kept| kept.records.num_rows()).sum();
            if kept < KEPT_ROWS {
                self.dropped_rows.push(rows);
            }
        }
    }

    /// How many rows were dropped for this reason.
    pub(crate) fn dropped_for(&self, reason: &str) -> u64 {
        self.dropped.iter().filter(|(known, _)| *known == reason).map(|(_, count)| count).sum()
    }

    /// # Errors
    /// When the operator lost or invented rows: a defect of the operator.
    fn check_balance(&self) -> Result<()> {
        let Some(balance) = self.operator.balance else { return Ok(()) };
        let dropped: u64 = self.dropped.iter().map(|(_, count)| count).sum();
        let (from, to) = (self.rows_in + balance.made, self.rows_out + balance.absorbed + dropped);
        if from == to {
            return Ok(());
        }
        Err(Error::internal(format!(
            "rows do not add up: {} in + {} made is not {} out + {} absorbed + {dropped} dropped",
            self.rows_in, balance.made, self.rows_out, balance.absorbed
        )))
    }
}

/// What an operator changed since the last durable barrier.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// The rows.
    pub delta: StateDelta,
    /// The watermark of the epoch, by which the state was cleaned.
    pub here: Option<Watermark>,
}

/// A task's word that its part of an epoch is done.
#[derive(Debug)]
pub(crate) struct EpochAck {
    /// Who.
    pub task: TaskId,
    /// Which epoch.
    pub epoch: Epoch,
    /// What was done.
    pub report: TaskReport,
    /// The operator's state changes, at a durable barrier.
    pub snapshot: Option<Snapshot>,
    /// What a sink writer prepared.
    pub prepared: Option<Prepared>,
}

/// What a driver has to carry out for a task, in order.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Carry a message to the other end of a channel; FIFO for each channel.
    Send(Peer, Message),
    /// Carry credit back to the sender of a channel.
    Credit(Peer, Grant),
    /// Tell the coordinator.
    Ack(Box<EpochAck>),
    /// Read rows where blocking is allowed, and answer with `SourceTask::fetched`.
    Fetch(Reader),
    /// Write rows where blocking is allowed, and answer with `SinkTask::written`.
    Write(SinkJob),
    /// The task has sent its last message.
    Ended,
}

/// Whether another step can do something now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Progress {
    /// Something was done; step again.
    Worked,
    /// Nothing to do until the next event.
    Idle,
}
