//! Credits: how a receiver bounds what its senders may have under way.
//!
//! Owns: the two ends of one channel's account. Does not own: carrying the grants.
//!
//! A sender spends one batch credit and the batch's bytes before it sends; the receiver returns both once the batch is
//! *processed*. The bytes under way are therefore at most the window, or one batch if that batch alone is larger.
//! The receiver lumps its grants to half a window to save messages, but returns everything it owes when it has nothing
//! left to process on the channel, so a sender is never left waiting by a lump.

/// How much may be under way on one channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Batches sent and not yet processed.
    pub batches: u32,
    /// Their bytes.
    pub bytes: u64,
}

impl Default for Window {
    /// Eight batches, eight MiB: enough to overlap two threads from about 50 µs of work a batch.
    fn default() -> Self {
        Self { batches: 8, bytes: 8 << 20 }
    }
}

/// Credit on its way back to the sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Grant {
    /// Batches processed.
    pub batches: u32,
    /// Their bytes.
    pub bytes: u64,
}

/// The sender's end: what it may still send.
#[derive(Debug, Clone)]
pub struct CreditAccount {
    window: Window,
    used: Grant,
}

impl CreditAccount {
    /// A full account.
    pub fn new(window: Window) -> Self {
        Self { window, used: Grant::default() }
    }

    /// Takes credit for one batch if there is enough; a batch larger than the whole window may go alone.
    pub fn try_spend(&mut self, bytes: u64) -> bool {
        let fits = self.used.batches < self.window.batches
            && (self.used.batches == 0 || self.used.bytes + bytes <= self.window.bytes);
        if fits {
            self.used.batches += 1;
            self.used.bytes += bytes;
        }
        fits
    }

    /// Takes back what the receiver has processed.
    pub fn refill(&mut self, grant: Grant) {
        debug_assert!(grant.batches <= self.used.batches && grant.bytes <= self.used.bytes, "more granted than spent");
        self.used.batches = self.used.batches.saturating_sub(grant.batches);
        self.used.bytes = self.used.bytes.saturating_sub(grant.bytes);
    }

    /// What is under way.
    pub fn in_flight(&self) -> Grant {
        self.used
    }
}

/// The receiver's end: what it owes.
#[derive(Debug, Clone)]
pub struct CreditLedger {
    owed: Grant,
    lump: u32,
    #[cfg(test)]
    loses: Option<u32>,
}

impl CreditLedger {
    /// Owes nothing yet.
    pub fn new(window: Window) -> Self {
        Self {
            owed: Grant::default(),
            lump: (window.batches / 2).max(1),
            #[cfg(test)]
            loses: None,
        }
    }

    #[cfg(test)]
    pub(crate) fn plant_loss(&mut self) {
        self.loses = Some(0);
    }

    /// Notes one processed batch.
    pub fn processed(&mut self, bytes: u64) {
        #[cfg(test)]
        if let Some(count) = &mut self.loses {
            *count += 1;
            if *count % 3 == 0 {
                return;
            }
        }
        self.owed.batches += 1;
        self.owed.bytes += bytes;
    }

    /// The grant to send now, if it is large enough or `nothing_queued` on this channel.
    pub fn take_due(&mut self, nothing_queued: bool) -> Option<Grant> {
        let due = self.owed.batches >= self.lump || (nothing_queued && self.owed.batches > 0);
        due.then(|| std::mem::take(&mut self.owed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Window = Window { batches: 4, bytes: 100 };

    #[test]
    fn a_sender_stops_at_either_limit_and_goes_on_after_a_grant() {
        let mut account = CreditAccount::new(SMALL);
        assert!(account.try_spend(60));
        assert!(!account.try_spend(60), "bytes are used up");
        assert!(account.try_spend(40));
        account.refill(Grant { batches: 1, bytes: 60 });
        assert!(account.try_spend(1) && account.try_spend(1) && account.try_spend(1));
        assert!(!account.try_spend(1), "batches are used up");
    }

    #[test]
    fn a_batch_larger_than_the_window_travels_alone() {
        let mut account = CreditAccount::new(SMALL);
        assert!(account.try_spend(1_000));
        assert!(!account.try_spend(1));
    }

    #[test]
    fn grants_are_lumped_but_never_held_back_from_an_idle_channel() {
        let mut ledger = CreditLedger::new(SMALL);
        ledger.processed(10);
        assert_eq!(ledger.take_due(false), None);
        assert_eq!(ledger.take_due(true), Some(Grant { batches: 1, bytes: 10 }));
        ledger.processed(1);
        ledger.processed(2);
        assert_eq!(ledger.take_due(false), Some(Grant { batches: 2, bytes: 3 }));
        assert_eq!(ledger.take_due(true), None);
    }
}
