//! Rows that an operator does not use, and why.
//!
//! Owns: the reasons. Does not own: counting (`Output`), or who gets to see the rows (`runtime`).

use arrow::array::TimestampMicrosecondArray;
use arrow::record_batch::RecordBatch;

/// Why rows are dropped: what progress counts them under.
pub mod reason {
    /// The time of the row was not above the watermark when it arrived, so its group or key may be gone already.
    pub const LATE: &str = "late";
    /// The row has no event time, so it belongs to no window.
    pub const NULL_TIME: &str = "null event time";
    /// The event time is so far in the future that its window would end after the last time there is.
    pub const TOO_FAR: &str = "event time out of range";
    /// The gap of the row's session is null, zero or negative, or the row has no event time.
    pub const NO_SESSION: &str = "no session: null event time, or gap not positive";
    /// The gap of the row's session is zero or negative.
    pub const BAD_GAP: &str = "session gap not positive";
    /// A row with the same key came before.
    pub const DUPLICATE: &str = "duplicate";
}

/// Rows dropped together.
#[derive(Debug, Clone)]
pub struct DroppedRows {
    /// One of [`reason`].
    pub reason: &'static str,
    /// The rows, with the columns the operator reads.
    pub records: RecordBatch,
    /// For each row the time it was judged by, in microseconds: its event time, or the end of its window.
    pub times: Option<TimestampMicrosecondArray>,
    /// The watermark they were judged by, in milliseconds since 1970-01-01T00:00:00Z; `None` if they were not.
    pub watermark_ms: Option<i64>,
}
