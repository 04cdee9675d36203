//! The exit of a task: one FIFO queue for each receiver, opened by credit.
//!
//! Owns: what was put out and could not be sent yet. Does not own: hashing rows to receivers (`operator::Exchange` does
//! that) or carrying messages.
//!
//! A barrier is put into *all* queues at one position, behind everything that came before it, and needs no credit. So a
//! queue may pass its barrier on while a slower sibling still waits for credit in front of it.

use std::collections::VecDeque;

use super::credit::{CreditAccount, Grant, Window};
use super::{Batch, Message};
use crate::error::{Error, Result};
use crate::operator::Route;

/// The channels of one edge that start at this task.
#[derive(Debug)]
struct Edge {
    /// Indices into the outbox's channels; one for a plain edge, one for each receiver behind an exchange.
    channels: Vec<usize>,
}

#[derive(Debug)]
struct Channel {
    queue: VecDeque<Message>,
    queued_batches: usize,
    account: CreditAccount,
}

/// Queues what a task sends.
#[derive(Debug)]
pub struct Outbox {
    edges: Vec<Edge>,
    channels: Vec<Channel>,
    #[cfg(test)]
    defect: Option<super::Defect>,
}

impl Outbox {
    /// An outbox with one edge for each of `receivers`, which says how many channels the edge has from here.
    pub fn new(receivers: &[usize], window: Window) -> Self {
        let mut channels = Vec::new();
        let mut edges = Vec::new();
        for count in receivers {
            edges.push(Edge { channels: (channels.len()..channels.len() + count).collect() });
            let new = || Channel { queue: VecDeque::new(), queued_batches: 0, account: CreditAccount::new(window) };
            channels.extend(std::iter::repeat_with(new).take(*count));
        }
        Self {
            edges,
            channels,
            #[cfg(test)]
            defect: None,
        }
    }

    #[cfg(test)]
    pub(crate) fn plant(&mut self, defect: super::Defect) {
        self.defect = Some(defect);
    }

    /// Puts rows into the queues they belong to: on every edge, the channel `route` names.
    ///
    /// # Errors
    /// When an edge has no such channel.
    pub fn batch(&mut self, route: Route, batch: &Batch) -> Result<()> {
        for edge in &self.edges {
            let index = match route {
                Route::Edge => 0,
                Route::Instance(instance) => instance,
            };
            let unknown = || Error::internal(format!("no channel for {route:?}"));
            let channel = *edge.channels.get(index).ok_or_else(unknown)?;
            self.channels[channel].queue.push_back(Message::Batch(batch.clone()));
            self.channels[channel].queued_batches += 1;
        }
        Ok(())
    }

    /// Puts a message that is not rows into every queue.
    pub fn broadcast(&mut self, message: &Message) {
        for channel in &mut self.channels {
            channel.queue.push_back(message.clone());
        }
    }

    /// True while rows wait for credit; the task takes no further input then.
    pub fn is_blocked(&self) -> bool {
        self.channels.iter().any(|channel| channel.queued_batches > 0)
    }

    /// The channels on which rows wait for credit.
    pub fn waiting_for(&self) -> Vec<usize> {
        (0..self.channels.len()).filter(|index| self.channels[*index].queued_batches > 0).collect()
    }

    /// Takes back credit on a channel.
    pub fn refill(&mut self, channel: usize, grant: Grant) {
        if let Some(channel) = self.channels.get_mut(channel) {
            channel.account.refill(grant);
        }
    }

    /// Hands everything that may go now to `send`, with the channel's index.
    pub fn flush(&mut self, mut send: impl FnMut(usize, Message)) {
        for (index, channel) in self.channels.iter_mut().enumerate() {
            #[cfg(test)]
            if self.defect == Some(super::Defect::BarrierOvertakes) {
                channel.queue.make_contiguous().sort_by_key(|message| !matches!(message, Message::Barrier(_)));
            }
            while let Some(front) = channel.queue.front() {
                if let Message::Batch(batch) = front {
                    if !channel.account.try_spend(batch.bytes() as u64) {
                        break;
                    }
                    channel.queued_batches -= 1;
                }
                if let Some(message) = channel.queue.pop_front() {
                    send(index, message);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array};
    use arrow::record_batch::RecordBatch;

    use super::*;
    use crate::protocol::{Barrier, BarrierKind};

    fn batch() -> Batch {
        let column: ArrayRef = Arc::new(Int64Array::from(vec![1]));
        RecordBatch::try_from_iter([("v", column)]).unwrap().into()
    }

    fn barrier() -> Message {
        Message::Barrier(Barrier { epoch: 0, kind: BarrierKind::Durable, has_data: true })
    }

    fn flushed(outbox: &mut Outbox) -> Vec<(usize, &'static str)> {
        let mut sent = Vec::new();
        outbox.flush(|channel, message| {
            sent.push((channel, if matches!(message, Message::Batch(_)) { "batch" } else { "barrier" }));
        });
        sent
    }

    #[test]
    fn a_barrier_stays_behind_rows_without_credit_and_passes_where_there_are_none() {
        let mut outbox = Outbox::new(&[2], Window { batches: 1, bytes: 1 << 20 });
        outbox.batch(Route::Instance(0), &batch()).unwrap();
        outbox.batch(Route::Instance(0), &batch()).unwrap();
        outbox.broadcast(&barrier());
        assert_eq!(flushed(&mut outbox), [(0, "batch"), (1, "barrier")]);
        assert!(outbox.is_blocked());
        outbox.refill(0, Grant { batches: 1, bytes: batch().bytes() as u64 });
        assert_eq!(flushed(&mut outbox), [(0, "batch"), (0, "barrier")]);
        assert!(!outbox.is_blocked());
    }

    #[test]
    fn every_edge_gets_every_batch() {
        let mut outbox = Outbox::new(&[1, 1], Window::default());
        outbox.batch(Route::Edge, &batch()).unwrap();
        assert_eq!(flushed(&mut outbox), [(0, "batch"), (1, "batch")]);
    }
}
