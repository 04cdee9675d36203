//! State as operators hand it over: columns by key group.
//!
//! Owns: the form in which state leaves and re-enters an operator. Does not own: where it is kept (`checkpoint`).

mod keys;

use arrow::record_batch::RecordBatch;

pub(crate) use keys::{KeyTable, spread};

/// The changes of one operator instance since its last snapshot.
#[derive(Debug, Clone, Default)]
pub struct StateDelta {
    /// New and changed rows: key columns first, then values. Each with the key hash of every row, which says its key group.
    pub changed: Vec<(RecordBatch, Vec<u64>)>,
}

/// State coming back, already cut to the key groups of the instance that receives it.
#[derive(Debug, Clone)]
pub struct StatePart {
    /// Rows as [`StateDelta::changed`] gave them.
    pub rows: RecordBatch,
    /// The key hash of every row.
    pub hashes: Vec<u64>,
}
