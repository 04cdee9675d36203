//! What travels between tasks, and the rules of travelling: pure state machines, no threads, no clocks.
//!
//! Owns: messages and their grammar, credits, alignment, watermark merging, key groups. Does not own: who runs a task
//! or carries a message (`runtime`, `testing::simulation`), or what an operator does with rows (`operator`).

pub mod credit;
pub mod gate;
pub mod key_group;
pub mod laws;
pub mod outbox;

use arrow::record_batch::RecordBatch;

/// Deliberate defects, to show that the simulation finds such things.
#[cfg(test)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Defect {
    /// A gate lets rows that follow a barrier in before the other channels have delivered theirs.
    NoAlignment,
    /// An outbox sends a barrier although rows in front of it still wait for credit.
    BarrierOvertakes,
    /// A task forgets to return the credit of every third batch.
    LostCredit,
}

/// The number of an epoch, from 0; Spark's batch id.
pub type Epoch = u64;

/// How far event time has come, in milliseconds since 1970-01-01T00:00:00Z.
///
/// State is cleaned by what the epochs before this one saw; rows are judged by what the epoch before was cleaned by. So what an
/// operator emits when a key becomes final is not late for the operators below it (Spark's `WatermarkPropagator`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct Watermark {
    /// A row whose time is this or less is late.
    pub late_ms: i64,
    /// A key whose time is this or less is final: it is emitted and freed when the epoch ends.
    pub evict_ms: i64,
}

impl Watermark {
    /// The lower of two in each respect.
    #[must_use]
    pub fn min(self, other: Self) -> Self {
        Self { late_ms: self.late_ms.min(other.late_ms), evict_ms: self.evict_ms.min(other.evict_ms) }
    }

    /// Whether both values are at least those of `other`.
    pub fn is_at_least(self, other: Self) -> bool {
        self.late_ms >= other.late_ms && self.evict_ms >= other.evict_ms
    }
}

/// What an epoch runs under, fixed when it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EpochTime {
    /// The watermark of the query, which a watermark node hands to what is below it.
    pub query: Watermark,
    /// The watermark at this place of the graph; `None` where no watermark node lies above, and no row is ever late.
    pub here: Option<Watermark>,
    /// What `current_timestamp()` is for every row of this epoch, in microseconds since 1970-01-01T00:00:00Z.
    pub processing_micros: i64,
}

/// Whether an epoch's end is written to the checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BarrierKind {
    /// Results are flushed and watermarks move; nothing is made durable.
    Light,
    /// State and output are made durable and committed.
    Durable,
}

/// The end of an epoch on one channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Barrier {
    /// The epoch that ends here.
    pub epoch: Epoch,
    /// What has to happen at this end.
    pub kind: BarrierKind,
    /// Whether the epoch had input: complete mode shows its table only then.
    pub has_data: bool,
}

/// Rows on their way from one task to the next, with what was already computed about them.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The rows.
    pub records: RecordBatch,
    /// The key hash of each row by [`key_group::hash_rows`], when an exchange computed it.
    pub hashes: Option<std::sync::Arc<[u64]>>,
}

impl Batch {
    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.records.num_rows()
    }

    /// The memory the rows keep alive, in bytes; an upper estimate when buffers are shared.
    pub fn bytes(&self) -> usize {
        self.records.get_array_memory_size()
    }
}

impl From<RecordBatch> for Batch {
    fn from(records: RecordBatch) -> Self {
        Self { records, hashes: None }
    }
}

/// What travels on one channel, in this order: `(Watermark Batch* Barrier)* End`.
///
/// Every epoch opens with a `Watermark`, because processing time moves even when event time does not; so a task with
/// several inputs knows the time of an epoch before its first row without waiting for rows. Watermarks never go
/// back, barrier epochs rise, and nothing follows `End`. [`laws::ChannelLaws`] asserts this on every channel in debug
/// builds and tests. A `Batch` needs credit; the others need none and are bounded by the epochs in flight. Failure is not a
/// message: a task that fails reports to the coordinator, which stops the query.
#[derive(Debug, Clone)]
pub enum Message {
    /// Opens an epoch, before its first row.
    Watermark(EpochTime),
    /// Rows of the channel's schema; never empty.
    Batch(Batch),
    /// Everything since the last barrier belongs to `epoch`.
    Barrier(Barrier),
    /// The sender sends nothing more. The barrier of its last epoch came before this.
    End,
}

/// What a sink sees of the result table (Spark's guide, "Output Modes").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum OutputMode {
    /// A row is sent once, when it can no longer change.
    #[default]
    Append,
    /// Rows that are new or were touched in this epoch, keyed by the grouping.
    Update,
    /// The whole result table, in every epoch that had data.
    Complete,
}

impl std::fmt::Display for OutputMode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Append => "append",
            Self::Update => "update",
            Self::Complete => "complete",
        })
    }
}
