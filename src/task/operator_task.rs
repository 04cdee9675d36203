//! A task that runs one instance of an operator.

use std::mem;

use super::{Effect, EpochAck, InputChannel, Peer, Progress, Snapshot, TaskId, TaskReport, Wiring};
use crate::error::{Error, Result};
use crate::operator::{Barrier, BarrierKind, Checked, EpochTime, Flow, Operator, Output};
use crate::protocol::credit::{CreditLedger, Grant};
use crate::protocol::gate::{Input, InputGate};
use crate::protocol::outbox::Outbox;
use crate::protocol::{Message, Watermark};
use crate::state::StatePart;

/// What the operator is in the middle of.
#[derive(Debug, Default)]
enum Work {
    #[default]
    None,
    /// A batch that came by this channel and has this many bytes.
    Batch {
        channel: usize,
        bytes: u64,
    },
    Barrier(Barrier),
}

/// Runs an operator between its input gate and its outbox.
pub(crate) struct OperatorTask {
    id: TaskId,
    operator: Checked,
    gate: InputGate,
    ledgers: Vec<CreditLedger>,
    inputs: Vec<InputChannel>,
    outbox: Outbox,
    outputs: Vec<Peer>,
    work: Work,
    report: TaskReport,
    /// The watermark of the epoch under way.
    here: Option<Watermark>,
    /// The operator says what its state means.
    has_identity: bool,
}

impl OperatorTask {
    /// A task before its first epoch; the operator is open already.
    pub(crate) fn new(id: TaskId, operator: Checked, wiring: &Wiring) -> Self {
        Self {
            id,
            has_identity: operator.state_identity().is_some(),
            operator,
            gate: InputGate::new(&wiring.ports()),
            ledgers: wiring.inputs.iter().map(|_| CreditLedger::new(wiring.window)).collect(),
            inputs: wiring.inputs.clone(),
            outbox: Outbox::new(&wiring.receivers(), wiring.window),
            outputs: wiring.peers(),
            work: Work::None,
            report: TaskReport::default(),
            here: None,
        }
    }

    /// What the operator's state means, if it has one.
    pub(crate) fn state_identity(&self) -> Option<String> {
        self.operator.state_identity()
    }

    /// Whether rows of the operator's state can leave memory.
    #[cfg(feature = "spill")]
    pub(crate) fn can_leave_memory(&self) -> bool {
        self.operator.can_leave_memory()
    }

    /// What the operator may hold, before any state comes back.
    #[cfg(feature = "spill")]
    pub(crate) fn limit_memory(&mut self, budget: crate::state::StateBudget) -> Result<()> {
        self.operator.limit_memory(budget)
    }

    /// State of an earlier run, before the first epoch.
    pub(crate) fn restore(&mut self, part: StatePart) -> Result<()> {
        self.operator.restore(part)
    }

    #[cfg(test)]
    pub(crate) fn plant(&mut self, defect: crate::protocol::Defect) {
        self.gate.plant(defect);
        self.outbox.plant(defect);
        if defect == crate::protocol::Defect::LostCredit {
            self.ledgers.iter_mut().for_each(CreditLedger::plant_loss);
        }
    }

    /// A message arrived.
    pub(crate) fn receive(&mut self, channel: usize, message: Message) -> Result<()> {
        self.gate.receive(channel, message)
    }

    /// Credit arrived.
    pub(crate) fn refill(&mut self, channel: usize, grant: Grant) {
        self.outbox.refill(channel, grant);
    }

    /// The receivers this task waits for, and the senders whose barrier it awaits.
    pub(crate) fn waits_for(&self) -> (Vec<TaskId>, Vec<TaskId>) {
        let receivers = self.outbox.waiting_for().into_iter().map(|channel| self.outputs[channel].task).collect();
        let senders = self.gate.awaited().into_iter().map(|channel| self.inputs[channel].from.task).collect();
        (receivers, senders)
    }

    /// Does one unit of work: at most one batch, barrier or watermark.
    pub(crate) fn step(&mut self, effects: &mut Vec<Effect>) -> Result<Progress> {
        self.flush(effects);
        if self.outbox.is_blocked() {
            return Ok(Progress::Idle);
        }
        let mut output = Output::default();
        let progress = self.work(&mut output, effects)?;
        self.flush(effects);
        Ok(progress)
    }

    fn work(&mut self, output: &mut Output, effects: &mut Vec<Effect>) -> Result<Progress> {
        if !matches!(self.work, Work::None) {
            let flow = self.operator.resume(output)?;
            self.continued(flow, output, effects)?;
            return Ok(Progress::Worked);
        }
        let Some(input) = self.gate.take()? else { return Ok(Progress::Idle) };
        match input {
            Input::Open(time) => self.open(time, output)?,
            Input::Batch { channel, port, batch } => {
                self.report.rows_in += batch.rows() as u64;
                self.work = Work::Batch { channel, bytes: batch.bytes() as u64 };
                let flow = self.operator.on_batch(port, batch, output)?;
                self.continued(flow, output, effects)?;
            }
            Input::Close(barrier) => {
                self.work = Work::Barrier(barrier);
                let flow = self.operator.on_barrier(&barrier, output)?;
                self.continued(flow, output, effects)?;
            }
            Input::End => {
                self.outbox.broadcast(&Message::End);
                self.flush(effects);
                effects.push(Effect::Ended);
            }
        }
        Ok(Progress::Worked)
    }

    fn open(&mut self, time: EpochTime, output: &mut Output) -> Result<()> {
        self.here = time.here;
        let here = self.operator.on_watermark(time, output)?;
        self.outbox.broadcast(&Message::Watermark(EpochTime { here, ..time }));
        self.put_out(output)
    }

    /// Takes over what the operator put out, and closes the work it was at if that is done.
    fn continued(&mut self, flow: Flow, output: &mut Output, effects: &mut Vec<Effect>) -> Result<()> {
        self.put_out(output)?;
        if flow == Flow::More {
            return Ok(());
        }
        match mem::take(&mut self.work) {
            Work::None => {}
            Work::Batch { channel, bytes } => self.processed(channel, bytes, effects),
            Work::Barrier(barrier) => self.close(barrier, effects)?,
        }
        Ok(())
    }

    fn put_out(&mut self, output: &mut Output) -> Result<()> {
        for (route, batch) in output.take() {
            self.report.rows_out += batch.rows() as u64;
            self.outbox.batch(route, &batch)?;
        }
        let (counts, rows) = output.take_dropped();
        self.report.drop_rows(counts, rows);
        Ok(())
    }

    fn processed(&mut self, channel: usize, bytes: u64, effects: &mut Vec<Effect>) {
        let ledger = &mut self.ledgers[channel];
        ledger.processed(bytes);
        if let Some(grant) = ledger.take_due(self.gate.queued(channel) == 0) {
            effects.push(Effect::Credit(self.inputs[channel].from, grant));
        }
    }

    fn close(&mut self, barrier: Barrier, effects: &mut Vec<Effect>) -> Result<()> {
        let snapshot = match barrier.kind {
            BarrierKind::Durable => self.operator.snapshot()?,
            BarrierKind::Light => None,
        };
        if snapshot.is_some() && !self.has_identity {
            return Err(Error::user(
                "the operator hands out state in snapshot() and does not say in state_identity() what it is, so that a restart \
                 could not give it back; implement state_identity()",
            ));
        }
        let snapshot = snapshot.map(|delta| Snapshot { delta, here: self.here });
        self.outbox.broadcast(&Message::Barrier(barrier));
        self.flush(effects);
        let mut report = mem::take(&mut self.report);
        report.operator = self.operator.take_stats();
        if cfg!(debug_assertions) {
            report.check_balance()?;
        }
        effects.push(Effect::Ack(Box::new(EpochAck {
            task: self.id,
            epoch: barrier.epoch,
            report,
            snapshot,
            prepared: None,
        })));
        Ok(())
    }

    fn flush(&mut self, effects: &mut Vec<Effect>) {
        let outputs = &self.outputs;
        self.outbox.flush(|channel, message| effects.push(Effect::Send(outputs[channel], message)));
    }
}
