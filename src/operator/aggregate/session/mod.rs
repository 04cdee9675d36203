//! Aggregation over session windows: partial before the exchange, final behind it.
//!
//! Owns: which sessions there are, their columns between the halves, and when a session is final. Does not own: where a
//! row's own interval comes from (an expression over time and gap, compiled by `plan`), what a function computes
//! ([`Accumulator`](super::Accumulator)).
//!
//! One of the grouping keys is the session of a row, `[start, end)`. Sessions of one key that overlap or touch are one;
//! merging is associative, so each half merges what it sees.
//!
//! ```text
//!  rows ─▶ PartialSessions ─▶ (other keys, start, end, states) ─▶ Exchange by other keys ─▶ FinalSessions ─▶ results
//!              └─▶ late rows
//! ```

mod cold;
mod finalize;
mod judge;
mod partial;
mod table;
#[cfg(test)]
mod tests;
mod timelines;

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef, TimeUnit};
use arrow::record_batch::RecordBatch;

use super::AggregateSpec;
use crate::error::{Error, Result};
use crate::operator::{Barrier, BarrierKind, Flow, Operator, Output};
use crate::protocol::OutputMode;

pub use finalize::FinalSessions;
pub use partial::PartialSessions;

/// The sessions of a static table with their results: both halves over all rows, without watermark.
///
/// # Errors
/// When an argument or a result cannot be computed.
pub(crate) fn session_table(spec: AggregateSpec, place: usize, batches: &[RecordBatch]) -> Result<Vec<RecordBatch>> {
    let mut partial = PartialSessions::new(spec.clone(), place, false);
    let mut last = FinalSessions::new(spec, place, false, OutputMode::Complete);
    for batch in batches {
        let states = run(&mut partial, |partial, output| partial.on_batch(0, batch.clone().into(), output))?;
        take_states(&mut last, states)?;
    }
    let barrier = Barrier { epoch: 0, kind: BarrierKind::Light, has_data: true };
    let states = run(&mut partial, |partial, output| partial.on_barrier(&barrier, output))?;
    take_states(&mut last, states)?;
    run(&mut last, |last, output| last.on_barrier(&barrier, output))
}

fn take_states(last: &mut FinalSessions, states: Vec<RecordBatch>) -> Result<()> {
    states.into_iter().try_for_each(|batch| last.on_batch(0, batch.into(), &mut Output::default()).map(|_| ()))
}

/// All that `operator` puts out for `event`.
fn run<O: Operator>(
    operator: &mut O,
    event: impl FnOnce(&mut O, &mut Output) -> Result<Flow>,
) -> Result<Vec<RecordBatch>> {
    let mut output = Output::default();
    let mut flow = event(operator, &mut output)?;
    let mut batches = output.take_batches();
    while flow == Flow::More {
        flow = operator.resume(&mut output)?;
        batches.extend(output.take_batches());
    }
    Ok(batches)
}

/// The columns between the halves: the other keys, start, end, then the states of each call.
fn partial_schema(spec: &AggregateSpec, place: usize) -> SchemaRef {
    let states = spec.calls.iter().flat_map(|call| call.factory.state_fields());
    schema_of(other_fields(spec, place).into_iter().chain(times(false)).chain(states))
}

/// The columns of a snapshot: as between the halves, but all null behind the keys where a key has no session.
fn state_schema(spec: &AggregateSpec, place: usize) -> SchemaRef {
    let states = spec.calls.iter().flat_map(|call| call.factory.state_fields());
    let states = states.map(|field| Arc::new(field.as_ref().clone().with_nullable(true)));
    schema_of(other_fields(spec, place).into_iter().chain(times(true)).chain(states))
}

fn schema_of(fields: impl Iterator<Item = FieldRef>) -> SchemaRef {
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn times(nullable: bool) -> [FieldRef; 2] {
    ["session_start#", "session_end#"].map(|name| Arc::new(Field::new(name, time_type(), nullable)))
}

fn time_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// The keys beside the session.
fn other_fields(spec: &AggregateSpec, place: usize) -> Vec<FieldRef> {
    let fields = spec.key_fields.iter().enumerate();
    fields.filter(|(index, _)| *index != place).map(|(_, field)| field.clone()).collect()
}

/// The `start` and `end` that a result shows.
fn session_fields(spec: &AggregateSpec, place: usize) -> Result<&Fields> {
    let is_time = |field: &FieldRef| matches!(field.data_type(), DataType::Timestamp(TimeUnit::Microsecond, _));
    let field = spec.key_fields.get(place).ok_or_else(|| Error::internal(format!("no key {place} for sessions")))?;
    match field.data_type() {
        DataType::Struct(fields) if fields.len() == 2 && fields.iter().all(is_time) => Ok(fields),
        other => Err(Error::internal(format!("key `{}` holds {other}, not sessions", field.name()))),
    }
}
