//! A task that feeds one writer of a sink.

use std::fmt;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{Effect, EpochAck, InputChannel, Progress, TaskId, TaskReport, Wiring};
use crate::connector::{Prepared, SinkWriter};
use crate::error::{Error, Result};
use crate::protocol::credit::CreditLedger;
use crate::protocol::gate::{Input, InputGate};
use crate::protocol::{Barrier, Batch, Message, OutputMode};
use crate::types::user_batch;

/// The most batches one job writes, so that credit flows back while a slow sink works.
const JOB_BATCHES: usize = 4;

/// A writer that is told to abort if it goes while an epoch is open: its query failed or was stopped.
pub(crate) struct OpenWriter {
    writer: Box<dyn SinkWriter>,
    is_in_epoch: bool,
}

impl Drop for OpenWriter {
    fn drop(&mut self) {
        if self.is_in_epoch {
            // A panic here must not meet one that is under way.
            let _ = catch_unwind(AssertUnwindSafe(|| self.writer.abort()));
        }
    }
}

/// What is to be done with the writer, in order.
#[derive(Debug)]
enum SinkStep {
    Begin,
    /// Rows that came by this channel.
    Write(usize, Batch),
    Prepare(Barrier),
}

/// Work for a thread that may block; gives the writer back.
pub(crate) struct SinkJob {
    writer: OpenWriter,
    epoch: u64,
    steps: Vec<SinkStep>,
}

/// What became of a [`SinkJob`].
pub(crate) struct SinkDone {
    writer: OpenWriter,
    /// Channel, rows and bytes of each batch written.
    written: Vec<(usize, u64, u64)>,
    /// When the last of them was handed to the writer, in microseconds.
    written_micros: Option<i64>,
    prepared: Option<(Barrier, Prepared)>,
}

impl SinkJob {
    /// Runs the steps; blocks. `now` tells the time in microseconds.
    ///
    /// # Errors
    /// The writer's, after it was told to abort the epoch.
    pub(crate) fn run(self, now: impl Fn() -> i64) -> Result<SinkDone> {
        let Self { writer, epoch, steps } = self;
        let mut done = SinkDone { writer, written: Vec::new(), written_micros: None, prepared: None };
        for step in steps {
            done.run_step(step, epoch, &now)?;
        }
        Ok(done)
    }
}

impl SinkDone {
    fn run_step(&mut self, step: SinkStep, epoch: u64, now: impl Fn() -> i64) -> Result<()> {
        let OpenWriter { writer, is_in_epoch } = &mut self.writer;
        match step {
            SinkStep::Begin => {
                *is_in_epoch = true;
                writer.begin(epoch)?;
            }
            SinkStep::Write(channel, batch) => {
                let (rows, bytes) = (batch.rows() as u64, batch.bytes() as u64);
                let batch = if writer.takes_views() { batch.records } else { user_batch(batch.records)? };
                self.written_micros = Some(now());
                writer.write(&batch)?;
                self.written.push((channel, rows, bytes));
            }
            SinkStep::Prepare(barrier) => {
                let prepared = writer.prepare()?;
                *is_in_epoch = false;
                self.prepared = Some((barrier, prepared));
            }
        }
        Ok(())
    }
}

impl fmt::Debug for SinkJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SinkJob").field("steps", &self.steps.len()).finish_non_exhaustive()
    }
}

impl fmt::Debug for SinkDone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SinkDone").field("written", &self.written.len()).finish_non_exhaustive()
    }
}

/// Hands rows to a writer in jobs, one job at a time.
pub(crate) struct SinkTask {
    id: TaskId,
    gate: InputGate,
    ledgers: Vec<CreditLedger>,
    inputs: Vec<InputChannel>,
    writer: Option<OpenWriter>,
    epoch: u64,
    /// In complete mode, an epoch without input would replace the table by nothing: the writer hears nothing of it.
    skips_no_data: bool,
    /// The writer does not know yet that an epoch has begun.
    is_begin_due: bool,
    report: TaskReport,
}

impl SinkTask {
    /// A task before its first epoch, whose number is `first_epoch`, of a query in this output mode.
    pub(crate) fn new(
        id: TaskId,
        writer: Box<dyn SinkWriter>,
        wiring: &Wiring,
        first_epoch: u64,
        mode: OutputMode,
    ) -> Self {
        Self {
            id,
            gate: InputGate::new(&wiring.ports()),
            ledgers: wiring.inputs.iter().map(|_| CreditLedger::new(wiring.window)).collect(),
            inputs: wiring.inputs.clone(),
            writer: Some(OpenWriter { writer, is_in_epoch: false }),
            epoch: first_epoch,
            skips_no_data: mode == OutputMode::Complete,
            is_begin_due: false,
            report: TaskReport::default(),
        }
    }

    /// A message arrived.
    pub(crate) fn receive(&mut self, channel: usize, message: Message) -> Result<()> {
        self.gate.receive(channel, message)
    }

    /// A job came back.
    pub(crate) fn written(&mut self, done: SinkDone, effects: &mut Vec<Effect>) {
        self.writer = Some(done.writer);
        for (channel, rows, bytes) in done.written {
            self.report.rows_in += rows;
            self.report.rows_out += rows;
            self.ledgers[channel].processed(bytes);
        }
        self.report.written_micros = done.written_micros.or(self.report.written_micros);
        for channel in 0..self.inputs.len() {
            if let Some(grant) = self.ledgers[channel].take_due(self.gate.queued(channel) == 0) {
                effects.push(Effect::Credit(self.inputs[channel].from, grant));
            }
        }
        if let Some((barrier, prepared)) = done.prepared {
            self.acknowledge(barrier, Some(prepared), effects);
        }
    }

    fn acknowledge(&mut self, barrier: Barrier, prepared: Option<Prepared>, effects: &mut Vec<Effect>) {
        self.epoch = barrier.epoch + 1;
        let report = mem::take(&mut self.report);
        let ack = EpochAck { task: self.id, epoch: barrier.epoch, report, snapshot: None, prepared };
        effects.push(Effect::Ack(Box::new(ack)));
    }

    fn begin(&mut self, steps: &mut Vec<SinkStep>) {
        if mem::take(&mut self.is_begin_due) {
            steps.push(SinkStep::Begin);
        }
    }

    /// The writer of an epoch that will not be finished; dropping it aborts the epoch and may block.
    pub(crate) fn take_open_writer(&mut self) -> Option<OpenWriter> {
        self.writer.take_if(|writer| writer.is_in_epoch)
    }

    /// Whether the writer is at work.
    pub(crate) fn is_writing(&self) -> bool {
        self.writer.is_none()
    }

    /// Does one unit of work: starts a job with what has arrived.
    pub(crate) fn step(&mut self, effects: &mut Vec<Effect>) -> Result<Progress> {
        if self.writer.is_none() {
            return Ok(Progress::Idle);
        }
        let mut steps = Vec::new();
        let mut batches = 0;
        while batches < JOB_BATCHES {
            match self.gate.take()? {
                None => break,
                Some(Input::Open(_)) => self.is_begin_due = true,
                Some(Input::Batch { channel, batch, .. }) => {
                    batches += 1;
                    self.begin(&mut steps);
                    steps.push(SinkStep::Write(channel, batch));
                }
                Some(Input::Close(barrier)) if self.is_begin_due && self.skips_no_data && !barrier.has_data => {
                    self.is_begin_due = false;
                    self.acknowledge(barrier, None, effects);
                    return Ok(Progress::Worked);
                }
                Some(Input::Close(barrier)) => {
                    self.begin(&mut steps);
                    steps.push(SinkStep::Prepare(barrier));
                    break;
                }
                Some(Input::End) => {
                    effects.push(Effect::Ended);
                    break;
                }
            }
        }
        self.start(steps, effects)
    }

    fn start(&mut self, steps: Vec<SinkStep>, effects: &mut Vec<Effect>) -> Result<Progress> {
        if steps.is_empty() {
            return Ok(Progress::Idle);
        }
        let writer = self.writer.take().ok_or_else(|| Error::internal("the sink's writer is at work"))?;
        effects.push(Effect::Write(SinkJob { writer, epoch: self.epoch, steps }));
        Ok(Progress::Worked)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use arrow::record_batch::RecordBatch;

    use super::*;
    use crate::protocol::BarrierKind;

    /// Counts how often it was told to abort.
    struct Counting(Arc<AtomicUsize>);

    impl SinkWriter for Counting {
        fn begin(&mut self, _: u64) -> Result<()> {
            Ok(())
        }
        fn write(&mut self, _: &RecordBatch) -> Result<()> {
            Ok(())
        }
        fn prepare(&mut self) -> Result<Prepared> {
            Ok(Prepared::default())
        }
        fn abort(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How often the writer was told to abort when it goes after these steps.
    fn aborts_after(steps: Vec<SinkStep>) -> usize {
        let count = Arc::new(AtomicUsize::new(0));
        let writer = OpenWriter { writer: Box::new(Counting(Arc::clone(&count))), is_in_epoch: false };
        drop(SinkJob { writer, epoch: 0, steps }.run(|| 0));
        count.load(Ordering::Relaxed)
    }

    #[test]
    fn a_writer_that_goes_inside_an_epoch_is_told_to_abort_and_only_then() {
        let prepare = SinkStep::Prepare(Barrier { epoch: 0, kind: BarrierKind::Light, has_data: true });
        assert_eq!(aborts_after(vec![]), 0);
        assert_eq!(aborts_after(vec![SinkStep::Begin]), 1);
        assert_eq!(aborts_after(vec![SinkStep::Begin, prepare]), 0);
    }
}
