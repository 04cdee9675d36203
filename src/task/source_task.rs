//! A task that reads one instance's share of a source.

use std::collections::VecDeque;
use std::fmt;
use std::mem;

use arrow::record_batch::RecordBatch;

use super::{BeginEpoch, Effect, EpochAck, Peer, Progress, TaskId, TaskReport, Wiring};
use crate::connector::SplitReader;
use crate::error::{Error, Result};
use crate::operator::Route;
use crate::protocol::credit::Grant;
use crate::protocol::outbox::Outbox;
use crate::protocol::{Barrier, Message};

/// A reader on its way between the task and the thread that reads.
pub(crate) struct Reader(pub Box<dyn SplitReader>);

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reader")
    }
}

/// The most batches one fetch brings, and the bytes after which it stops.
const FETCH_BATCHES: usize = 4;
const FETCH_BYTES: usize = 2 << 20;

/// The task asks for more when it holds fewer batches than this, so that reading and sending overlap.
const LOW_WATER: usize = 3;

/// What one fetch brought.
#[derive(Debug)]
pub(crate) struct Fetched {
    /// The reader, unless it came to its end.
    reader: Option<Reader>,
    batches: Vec<RecordBatch>,
}

impl Reader {
    /// Reads a few batches; blocks.
    pub(crate) fn fetch(mut self) -> Result<Fetched> {
        let mut batches = Vec::new();
        let mut bytes = 0;
        while batches.len() < FETCH_BATCHES && bytes < FETCH_BYTES {
            let Some(batch) = self.0.next()? else { return Ok(Fetched { reader: None, batches }) };
            bytes += batch.get_array_memory_size();
            batches.push(batch);
        }
        Ok(Fetched { reader: Some(self), batches })
    }
}

/// Sends the rows of its readers, epoch by epoch.
pub(crate) struct SourceTask {
    id: TaskId,
    outbox: Outbox,
    outputs: Vec<Peer>,
    epoch: Option<Barrier>,
    readers: VecDeque<Reader>,
    fetching: bool,
    ready: VecDeque<RecordBatch>,
    is_ending: bool,
    report: TaskReport,
}

impl SourceTask {
    /// A task before its first epoch.
    pub(crate) fn new(id: TaskId, wiring: &Wiring) -> Self {
        Self {
            id,
            outbox: Outbox::new(&wiring.receivers(), wiring.window),
            outputs: wiring.peers(),
            epoch: None,
            readers: VecDeque::new(),
            fetching: false,
            ready: VecDeque::new(),
            is_ending: false,
            report: TaskReport::default(),
        }
    }

    /// An epoch begins.
    pub(crate) fn begin(&mut self, begin: BeginEpoch) -> Result<()> {
        if self.epoch.is_some() {
            return Err(Error::internal(format!("{begin:?} came inside an epoch")));
        }
        self.outbox.broadcast(&Message::Watermark(begin.time));
        self.epoch = Some(begin.barrier);
        self.readers = begin.readers.into();
        Ok(())
    }

    /// No further epoch will begin.
    pub(crate) fn end(&mut self) {
        self.is_ending = true;
    }

    /// Credit arrived.
    pub(crate) fn refill(&mut self, channel: usize, grant: Grant) {
        self.outbox.refill(channel, grant);
    }

    /// A fetch came back.
    pub(crate) fn fetched(&mut self, fetched: Fetched) {
        self.fetching = false;
        if let Some(reader) = fetched.reader {
            self.readers.push_front(reader);
        }
        self.ready.extend(fetched.batches);
    }

    /// The receivers this task waits for.
    pub(crate) fn waits_for(&self) -> Vec<TaskId> {
        self.outbox.waiting_for().into_iter().map(|channel| self.outputs[channel].task).collect()
    }

    /// Whether the task waits for rows from outside.
    pub(crate) fn is_reading(&self) -> bool {
        self.fetching
    }

    /// Does one unit of work: at most one batch or barrier.
    pub(crate) fn step(&mut self, effects: &mut Vec<Effect>) -> Result<Progress> {
        self.flush(effects);
        let Some(barrier) = self.epoch else { return Ok(self.finish(effects)) };
        self.fetch_more(effects)?;
        if self.outbox.is_blocked() {
            return Ok(Progress::Idle);
        }
        if let Some(records) = self.ready.pop_front() {
            self.send(records)?;
        } else if !self.fetching && self.readers.is_empty() {
            self.close(barrier, effects);
        } else {
            return Ok(Progress::Idle);
        }
        self.flush(effects);
        Ok(Progress::Worked)
    }

    /// Between epochs: ends, once that is wanted.
    fn finish(&mut self, effects: &mut Vec<Effect>) -> Progress {
        if !mem::take(&mut self.is_ending) {
            return Progress::Idle;
        }
        self.outbox.broadcast(&Message::End);
        self.flush(effects);
        effects.push(Effect::Ended);
        Progress::Worked
    }

    fn fetch_more(&mut self, effects: &mut Vec<Effect>) -> Result<()> {
        while !self.fetching && self.ready.len() < LOW_WATER {
            let Some(reader) = self.readers.pop_front() else { break };
            if reader.0.never_blocks() {
                self.fetched(reader.fetch()?);
            } else {
                self.fetching = true;
                effects.push(Effect::Fetch(reader));
            }
        }
        Ok(())
    }

    fn send(&mut self, records: RecordBatch) -> Result<()> {
        if records.num_rows() == 0 {
            return Ok(());
        }
        self.report.rows_in += records.num_rows() as u64;
        self.report.rows_out += records.num_rows() as u64;
        self.outbox.batch(Route::Edge, &records.into())
    }

    fn close(&mut self, barrier: Barrier, effects: &mut Vec<Effect>) {
        self.epoch = None;
        self.outbox.broadcast(&Message::Barrier(barrier));
        self.flush(effects);
        let report = mem::take(&mut self.report);
        let ack = EpochAck { task: self.id, epoch: barrier.epoch, report, snapshot: None, prepared: None };
        effects.push(Effect::Ack(Box::new(ack)));
    }

    fn flush(&mut self, effects: &mut Vec<Effect>) {
        let outputs = &self.outputs;
        self.outbox.flush(|channel, message| effects.push(Effect::Send(outputs[channel], message)));
    }
}
