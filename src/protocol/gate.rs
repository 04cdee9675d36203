//! The entrance of a task: its input channels merged into one sequence of epochs.
//!
//! Owns: queues of messages that arrived, alignment on barriers, merging of watermarks. Does not own: what the task
//! does with a row, or the credit accounts (the task returns credit when a row is processed, not when it arrives).
//!
//! Alignment (Chandy and Lamport's snapshot on FIFO channels): a channel that delivered its barrier is not read further
//! until every channel has delivered the same one; then nothing of the epoch is under way any more and the state *is* the
//! snapshot. The epoch's watermark is the minimum over the channels, known before the first row is let in, because
//! every channel opens every epoch with a watermark that needs no credit.

use std::collections::VecDeque;

#[cfg(test)]
use super::Defect;
use super::laws::ChannelLaws;
use super::{Barrier, Batch, EpochTime, Message, Watermark};
use crate::error::{Error, Result};

/// What the task has to deal with next.
#[derive(Debug, Clone)]
pub enum Input {
    /// An epoch begins under this time.
    Open(EpochTime),
    /// Rows of the epoch.
    Batch {
        /// The channel they came by, to which credit is owed.
        channel: usize,
        /// The operator's input port.
        port: usize,
        /// The rows.
        batch: Batch,
    },
    /// Every channel has delivered this barrier.
    Close(Barrier),
    /// Every channel has ended.
    End,
}

#[derive(Debug, Default)]
struct Channel {
    port: usize,
    queue: VecDeque<Message>,
    laws: ChannelLaws,
    /// The watermark that opened the current epoch on this channel.
    opened: Option<EpochTime>,
    /// The barrier that was taken from this channel; nothing more is read until all have it.
    barrier: Option<Barrier>,
    ended: bool,
}

/// Merges the input channels of one task.
#[derive(Debug)]
pub struct InputGate {
    channels: Vec<Channel>,
    is_open: bool,
    has_ended: bool,
    next: usize,
    #[cfg(test)]
    defect: Option<Defect>,
}

impl InputGate {
    /// A gate with one channel for each of `ports`, which says the operator's port the channel leads to.
    pub fn new(ports: &[usize]) -> Self {
        Self {
            channels: ports.iter().map(|port| Channel { port: *port, ..Channel::default() }).collect(),
            is_open: false,
            has_ended: false,
            next: 0,
            #[cfg(test)]
            defect: None,
        }
    }

    #[cfg(test)]
    pub(crate) fn plant(&mut self, defect: Defect) {
        self.defect = Some(defect);
    }

    /// Takes in what arrived on a channel.
    ///
    /// # Errors
    /// When the message breaks a law of the channel (debug builds).
    pub fn receive(&mut self, channel: usize, message: Message) -> Result<()> {
        let state = self.channels.get_mut(channel).ok_or_else(|| Error::internal("message on an unknown channel"))?;
        if cfg!(debug_assertions) {
            state.laws.check(&message)?;
        }
        state.queue.push_back(message);
        Ok(())
    }

    /// Batches that wait on a channel. Other messages do not count: no credit comes back for them, so that none may wait for them.
    pub fn queued(&self, channel: usize) -> usize {
        let is_batch = |message: &&Message| matches!(message, Message::Batch(_));
        self.channels.get(channel).map_or(0, |channel| channel.queue.iter().filter(is_batch).count())
    }

    /// The channels whose barrier is still awaited while another channel has delivered it.
    pub fn awaited(&self) -> Vec<usize> {
        let blocked = self.channels.iter().any(|channel| channel.barrier.is_some());
        let lagging = |(index, channel): (usize, &Channel)| channel.barrier.is_none().then_some(index);
        if blocked { self.channels.iter().enumerate().filter_map(lagging).collect() } else { Vec::new() }
    }

    /// The next thing to deal with, or `None` until more arrives.
    ///
    /// # Errors
    /// When channels disagree about the epoch.
    pub fn take(&mut self) -> Result<Option<Input>> {
        if self.has_ended {
            return Ok(None);
        }
        if !self.is_open {
            return Ok(self.open());
        }
        if let Some(batch) = self.next_batch() {
            return Ok(Some(batch));
        }
        self.close()
    }

    /// Opens the epoch once every channel has opened it, or ends once every channel has ended.
    fn open(&mut self) -> Option<Input> {
        for channel in &mut self.channels {
            if channel.opened.is_none() && !channel.ended {
                match channel.queue.pop_front() {
                    Some(Message::Watermark(time)) => channel.opened = Some(time),
                    Some(Message::End) => channel.ended = true,
                    Some(other) => channel.queue.push_front(other),
                    None => {}
                }
            }
        }
        if self.channels.iter().all(|channel| channel.ended) {
            self.has_ended = true;
            return Some(Input::End);
        }
        if !self.may_open() {
            return None;
        }
        let times = self.channels.iter().filter_map(|channel| channel.opened);
        let processing_micros = times.clone().map(|time| time.processing_micros).max()?;
        let query = times.clone().map(|time| time.query).next()?;
        // A path without a watermark node has no say.
        let here = times.filter_map(|time| time.here).reduce(Watermark::min);
        self.is_open = true;
        Some(Input::Open(EpochTime { query, here, processing_micros }))
    }

    fn may_open(&self) -> bool {
        self.channels.iter().all(|channel| channel.opened.is_some() || channel.ended)
    }

    /// The next batch of a channel that is not waiting at its barrier, each channel in turn.
    fn next_batch(&mut self) -> Option<Input> {
        let count = self.channels.len();
        for turn in 0..count {
            let index = (self.next + turn) % count;
            let aligned = self.is_aligned();
            let channel = &mut self.channels[index];
            if channel.barrier.is_some() && aligned {
                continue;
            }
            match channel.queue.pop_front() {
                Some(Message::Batch(batch)) => {
                    self.next = (index + 1) % count;
                    return Some(Input::Batch { channel: index, port: channel.port, batch });
                }
                Some(Message::Barrier(barrier)) => channel.barrier = Some(barrier),
                // Without alignment the watermark of the next epoch may turn up here.
                Some(Message::Watermark(time)) if channel.opened.is_none() || !aligned => channel.opened = Some(time),
                Some(other) => channel.queue.push_front(other),
                None => {}
            }
        }
        None
    }

    #[cfg_attr(not(test), expect(clippy::unused_self, reason = "only a test can switch alignment off"))]
    fn is_aligned(&self) -> bool {
        #[cfg(test)]
        return self.defect != Some(Defect::NoAlignment);
        #[cfg(not(test))]
        true
    }

    /// Closes the epoch once every channel has delivered its barrier.
    fn close(&mut self) -> Result<Option<Input>> {
        let mut barriers = self.channels.iter().filter(|channel| !channel.ended).map(|channel| channel.barrier);
        let Some(Some(first)) = barriers.next() else { return Ok(None) };
        for other in barriers {
            match other {
                None => return Ok(None),
                Some(other) if other != first => {
                    return Err(Error::internal(format!("channels disagree about the epoch: {first:?} and {other:?}")));
                }
                Some(_) => {}
            }
        }
        for channel in &mut self.channels {
            channel.barrier = None;
            channel.opened = None;
        }
        self.is_open = false;
        Ok(Some(Input::Close(first)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array};
    use arrow::record_batch::RecordBatch;

    use super::*;
    use crate::protocol::BarrierKind;

    fn rows(value: i64) -> Message {
        let column: ArrayRef = Arc::new(Int64Array::from(vec![value]));
        Message::Batch(RecordBatch::try_from_iter([("v", column)]).unwrap().into())
    }

    fn watermark(evict_ms: i64) -> Message {
        let here = Some(Watermark { late_ms: evict_ms - 1, evict_ms });
        Message::Watermark(EpochTime { here, ..EpochTime::default() })
    }

    fn barrier(epoch: u64) -> Message {
        Message::Barrier(Barrier { epoch, kind: BarrierKind::Durable, has_data: true })
    }

    /// What the gate lets out, one word an input.
    fn drain(gate: &mut InputGate) -> Vec<String> {
        let mut out = Vec::new();
        while let Some(input) = gate.take().unwrap() {
            out.push(match input {
                Input::Open(EpochTime { here: None, .. }) => "open".to_string(),
                Input::Open(EpochTime { here: Some(here), .. }) => format!("open {}", here.evict_ms),
                Input::Batch { channel, .. } => format!("batch from {channel}"),
                Input::Close(barrier) => format!("close {}", barrier.epoch),
                Input::End => "end".to_string(),
            });
        }
        out
    }

    #[test]
    fn a_channel_at_its_barrier_waits_for_the_others() {
        let mut gate = InputGate::new(&[0, 0]);
        for message in [watermark(0), barrier(0), watermark(0), rows(1)] {
            gate.receive(0, message).unwrap();
        }
        gate.receive(1, watermark(0)).unwrap();
        assert_eq!(drain(&mut gate), ["open 0"]);
        assert_eq!(gate.awaited(), [1]);
        gate.receive(1, rows(2)).unwrap();
        gate.receive(1, barrier(0)).unwrap();
        assert_eq!(drain(&mut gate), ["batch from 1", "close 0"]);
        gate.receive(1, watermark(0)).unwrap();
        assert_eq!(drain(&mut gate), ["open 0", "batch from 0"]);
    }

    #[test]
    fn the_watermark_is_the_smallest_and_rows_wait_for_it() {
        let mut gate = InputGate::new(&[0, 1]);
        gate.receive(0, watermark(9)).unwrap();
        gate.receive(0, rows(1)).unwrap();
        assert!(drain(&mut gate).is_empty());
        gate.receive(1, watermark(4)).unwrap();
        assert_eq!(drain(&mut gate), ["open 4", "batch from 0"]);
    }

    #[test]
    fn a_path_without_event_time_has_no_say_in_the_watermark() {
        let mut gate = InputGate::new(&[0, 1]);
        gate.receive(0, Message::Watermark(EpochTime::default())).unwrap();
        gate.receive(1, watermark(4)).unwrap();
        assert_eq!(drain(&mut gate), ["open 4"]);
        let mut gate = InputGate::new(&[0]);
        gate.receive(0, Message::Watermark(EpochTime::default())).unwrap();
        assert_eq!(drain(&mut gate), ["open"]);
    }

    #[test]
    fn the_end_comes_once_when_all_have_ended() {
        let mut gate = InputGate::new(&[0, 0]);
        for channel in [0, 1] {
            for message in [watermark(0), barrier(3), Message::End] {
                gate.receive(channel, message).unwrap();
            }
        }
        assert_eq!(drain(&mut gate), ["open 0", "close 3", "end"]);
    }
}
