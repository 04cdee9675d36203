//! The laws of a channel, checked message by message.
//!
//! Owns: the grammar of [`Message`]. Does not own: what to do about a violation; that is a defect of this
//! crate and fails the query.

use super::{Epoch, EpochTime, Message, Watermark};
use crate::error::{Error, Result};

/// Where a channel is in `(Watermark Batch* Barrier)* End`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Place {
    #[default]
    BetweenEpochs,
    InEpoch,
    Ended,
}

/// Watches one channel.
#[derive(Debug, Clone, Default)]
pub struct ChannelLaws {
    place: Place,
    last_epoch: Option<Epoch>,
    last_time: Option<EpochTime>,
}

impl ChannelLaws {
    /// Takes note of the next message.
    ///
    /// # Errors
    /// When it breaks a law of the channel.
    pub fn check(&mut self, message: &Message) -> Result<()> {
        match (self.place, message) {
            (Place::BetweenEpochs, Message::Watermark(time)) => self.open(*time),
            (Place::InEpoch, Message::Batch(batch)) if batch.rows() == 0 => broken("an empty batch was sent"),
            (Place::InEpoch, Message::Batch(_)) => Ok(()),
            (Place::InEpoch, Message::Barrier(barrier)) => self.close(barrier.epoch),
            (Place::BetweenEpochs, Message::End) => {
                self.place = Place::Ended;
                Ok(())
            }
            (place, message) => broken(format!("{} arrived {place:?}", kind(message))),
        }
    }

    fn open(&mut self, time: EpochTime) -> Result<()> {
        let went_back = |last: Watermark| !time.here.is_some_and(|here| here.is_at_least(last));
        if self.last_time.and_then(|last| last.here).is_some_and(went_back) {
            return broken(format!("the watermark went back to {time:?}"));
        }
        self.last_time = Some(time);
        self.place = Place::InEpoch;
        Ok(())
    }

    fn close(&mut self, epoch: Epoch) -> Result<()> {
        if self.last_epoch.is_some_and(|last| epoch <= last) {
            return broken(format!("barrier {epoch} came after {:?}", self.last_epoch));
        }
        self.last_epoch = Some(epoch);
        self.place = Place::BetweenEpochs;
        Ok(())
    }
}

fn kind(message: &Message) -> &'static str {
    match message {
        Message::Watermark(_) => "a watermark",
        Message::Batch(_) => "a batch",
        Message::Barrier(_) => "a barrier",
        Message::End => "the end",
    }
}

fn broken(what: impl Into<String>) -> Result<()> {
    Err(Error::internal(what).context("channel law broken"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Barrier, BarrierKind};

    fn barrier(epoch: Epoch) -> Message {
        Message::Barrier(Barrier { epoch, kind: BarrierKind::Durable, has_data: true })
    }

    fn watermark(evict_ms: i64) -> Message {
        let here = Some(Watermark { late_ms: 0, evict_ms });
        Message::Watermark(EpochTime { here, ..EpochTime::default() })
    }

    fn verdict(messages: &[Message]) -> Result<()> {
        let mut laws = ChannelLaws::default();
        messages.iter().try_for_each(|message| laws.check(message))
    }

    #[test]
    fn epochs_in_order_are_lawful() {
        verdict(&[watermark(0), barrier(0), watermark(0), barrier(1), Message::End]).unwrap();
    }

    #[test]
    fn every_way_to_break_the_grammar_is_noticed() {
        for bad in [
            vec![barrier(0)],
            vec![watermark(0), watermark(0)],
            vec![watermark(0), barrier(1), watermark(0), barrier(1)],
            vec![watermark(5), barrier(0), watermark(4)],
            vec![watermark(5), barrier(0), Message::Watermark(EpochTime::default())],
            vec![watermark(0), Message::End],
            vec![Message::End, watermark(0)],
        ] {
            assert!(verdict(&bad).is_err(), "{bad:?}");
        }
    }
}
