//! Grouped and global aggregation: partial before the exchange, final behind it.
//!
//! Owns: groups, their accumulators, and what the output modes show of them. Does not own: what an aggregate function
//! means beyond the native ones (`plan` hands in the others behind [`Accumulator`]).
//!
//! ```text
//!  rows ─▶ PartialAggregate ─▶ (keys, partial states) ─▶ Exchange by key ─▶ FinalAggregate ─▶ (keys, results)
//! ```

mod by_hand;
mod call;
mod cold;
mod finalize;
mod groups;
mod native;
mod panes;
mod partial;
mod results;
pub(crate) mod session;
mod slots;

use std::fmt;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, FieldRef, SchemaRef};

use crate::error::Result;
use crate::operator::ExpressionRef;

pub use by_hand::CountBy;
pub use call::{AggregateCall, NativeFunction};
pub use finalize::FinalAggregate;
pub use partial::PartialAggregate;
pub use session::{FinalSessions, PartialSessions};
pub use slots::{TimeKey, TimeKind};

/// The running values of one aggregate call for many groups, as columns indexed by group number.
pub trait Accumulator: Send {
    /// Makes room for groups `0..groups`; new ones start empty.
    fn grow(&mut self, groups: usize);

    /// Takes raw argument rows; `groups[row]` is the row's group.
    ///
    /// # Errors
    /// On overflow where the function forbids it, or a failing user function.
    fn update(&mut self, arguments: &[ArrayRef], groups: &[u32]) -> Result<()>;

    /// Takes partial states that [`state`](Self::state) of another accumulator of the same call gave.
    ///
    /// # Errors
    /// As [`update`](Self::update).
    fn merge(&mut self, states: &[ArrayRef], groups: &[u32]) -> Result<()>;

    /// The state columns of these groups, which stay as they are.
    ///
    /// # Errors
    /// When the state cannot be put into columns.
    fn state(&mut self, groups: &[u32]) -> Result<Vec<ArrayRef>>;

    /// The results of these groups, which stay as they are.
    ///
    /// # Errors
    /// When a result cannot be computed.
    fn evaluate(&mut self, groups: &[u32]) -> Result<ArrayRef>;

    /// Forgets all groups; the next [`grow`](Self::grow) starts from none.
    fn clear(&mut self);

    /// Memory held, in bytes.
    fn bytes(&self) -> usize;
}

/// Makes accumulators of one aggregate function; the way by which functions that are not native come in.
pub trait AccumulatorFactory: fmt::Debug + Send + Sync {
    /// A new accumulator without groups.
    ///
    /// # Errors
    /// When the function cannot be run for these types.
    fn create(&self) -> Result<Box<dyn Accumulator>>;

    /// Whether the result depends on the order of the rows, as that of the first value does.
    fn depends_on_order(&self) -> bool {
        false
    }

    /// Whether the result is the same, to the last bit, however rows are divided among states and in whatever order
    /// these are merged: then rows of windows that overlap are grouped once, and their states are merged.
    fn merges_in_any_order(&self) -> bool {
        false
    }

    /// The function and what it is run with beside its arguments, in one line that stays the same over restarts: a checkpoint
    /// keeps it, and a restart is refused when it is another.
    fn identity(&self) -> String {
        format!("{self:?}")
    }

    /// The columns of the partial state.
    fn state_fields(&self) -> Vec<FieldRef>;

    /// The type of the result.
    fn output_type(&self) -> DataType;
}

/// An aggregation, the same for its partial and its final half.
#[derive(Debug, Clone)]
pub struct AggregateSpec {
    /// The grouping keys as compiled expressions over the input; none for one group of all rows.
    pub keys: Vec<ExpressionRef>,
    /// The key columns in the output.
    pub key_fields: Vec<FieldRef>,
    /// The aggregate calls, in the order of their output columns after the keys.
    pub calls: Vec<AggregateCall>,
    /// The key that is a time, if there is one by which state is to be kept.
    pub time: Option<TimeKey>,
}

impl AggregateSpec {
    /// The columns between the halves: keys, then the states of each call, then the end of the window if one is a key.
    pub fn partial_schema(&self) -> SchemaRef {
        let states = self.calls.iter().flat_map(|call| call.factory.state_fields());
        schema_of(self.inner_key_fields().into_iter().chain(states).chain(self.slot_field()))
    }

    /// The columns of the result: keys, then one for each call.
    pub fn output_schema(&self) -> SchemaRef {
        let results = self.calls.iter().map(AggregateCall::output_field);
        schema_of(self.key_fields.iter().cloned().chain(results))
    }
}

fn schema_of(fields: impl Iterator<Item = FieldRef>) -> SchemaRef {
    Arc::new(arrow::datatypes::Schema::new(fields.collect::<Vec<_>>()))
}
