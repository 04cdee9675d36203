//! The half of an aggregation before the exchange: rows in, one partial state for each key and epoch out.
//!
//! Owns: the groups of the running epoch, when they are flushed, and the table of groups that all aggregations share.
//! Does not own: groups across epochs (`finalize`), what a function computes ([`Accumulator`]).
//!
//! | input    | output                                       | state                       | late rows |
//! |----------|----------------------------------------------|-----------------------------|-----------|
//! | any rows | keys, then the state columns of each call    | none: all is out by barrier | not seen  |
//!
//! Output batches carry the key hashes. A key comes out several times in an epoch that has more than [`FLUSH_GROUPS`]
//! keys or hardly repeats any; the other half merges them.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use arrow::array::ArrayRef;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};

use super::{Accumulator, AggregateSpec};
use crate::error::{Error, Result};
use crate::operator::{Barrier, Batch, EpochTime, Flow, Operator, OperatorContext, Output, Watermark};
use crate::protocol::key_group::hash_rows_into;
use crate::state::KeyTable;

/// The most rows of one output batch.
pub(super) const BATCH_ROWS: usize = 8192;

/// So many groups are flushed without waiting for the barrier.
const FLUSH_GROUPS: usize = 65_536;

/// After so many rows it is judged whether grouping them before the exchange pays.
const TRIAL_ROWS: usize = 16_384;

/// Groups the rows of each epoch before they are exchanged by key.
#[derive(Debug, Clone)]
pub struct PartialAggregate {
    spec: AggregateSpec,
    schema: SchemaRef,
    time: EpochTime,
    running: Running<Groups>,
}

#[derive(Debug)]
struct Groups {
    table: GroupTable,
    /// Rows taken since the last flush.
    rows: usize,
    /// The next group to put out, while a flush is under way.
    flushing: Option<usize>,
}

impl PartialAggregate {
    /// The partial half of `spec`.
    pub fn new(spec: AggregateSpec) -> Self {
        let schema = spec.partial_schema();
        Self { spec, schema, time: EpochTime::default(), running: Running::default() }
    }

    fn running(&mut self) -> Result<&mut Groups> {
        let spec = &self.spec;
        self.running.get_or_make(|| Ok(Groups { table: GroupTable::new(spec)?, rows: 0, flushing: None }))
    }
}

impl Groups {
    fn is_due(&self) -> bool {
        let groups = self.table.len();
        groups >= FLUSH_GROUPS || (self.rows >= TRIAL_ROWS && groups * 5 > self.rows * 4)
    }

    fn flush(&mut self, schema: &SchemaRef, output: &mut Output) -> Result<Flow> {
        let Some(first) = self.flushing else { return Ok(Flow::Done) };
        let mut next = first;
        while next < self.table.len() {
            if output.is_full() {
                self.flushing = Some(next);
                return Ok(Flow::More);
            }
            let groups = group_range(next, self.table.len());
            output.hashed_batch(self.table.states(&groups, schema)?);
            next += groups.len();
        }
        self.table.clear();
        (self.rows, self.flushing) = (0, None);
        Ok(Flow::Done)
    }
}

impl Operator for PartialAggregate {
    fn output_schema(&self, inputs: &[SchemaRef]) -> Result<SchemaRef> {
        one_input(inputs)?;
        Ok(self.schema.clone())
    }

    fn describe(&self) -> String {
        format!("partial {}", describe(&self.spec))
    }

    fn open(&mut self, _: &OperatorContext) -> Result<()> {
        self.running().map(|_| ())
    }

    fn on_watermark(&mut self, time: EpochTime, _: &mut Output) -> Result<Option<Watermark>> {
        self.time = time;
        Ok(time.here)
    }

    fn on_batch(&mut self, _: usize, batch: Batch, output: &mut Output) -> Result<Flow> {
        let input = RawRows::evaluate(&self.spec, &batch.records, self.time)?;
        let groups = self.running()?;
        groups.table.update(&input)?;
        groups.rows += input.rows;
        if !groups.is_due() {
            return Ok(Flow::Done);
        }
        groups.flushing = Some(0);
        self.resume(output)
    }

    fn resume(&mut self, output: &mut Output) -> Result<Flow> {
        let schema = self.schema.clone();
        self.running()?.flush(&schema, output)
    }

    fn on_barrier(&mut self, _: &Barrier, output: &mut Output) -> Result<Flow> {
        self.running()?.flushing = Some(0);
        self.resume(output)
    }
}

/// What an operator holds while it runs. A clone of the operator is a new instance, so it starts without.
///
/// The mutex is never locked: it only makes the operator `Sync`, as one that is its own factory has to be.
pub(super) struct Running<T>(Mutex<Option<T>>);

impl<T> Running<T> {
    pub(super) fn get_or_make(&mut self, make: impl FnOnce() -> Result<T>) -> Result<&mut T> {
        let slot = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        if slot.is_none() {
            *slot = Some(make()?);
        }
        slot.as_mut().ok_or_else(|| Error::internal("a value just made is gone"))
    }

    pub(super) fn get(&mut self) -> Option<&mut T> {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner).as_mut()
    }
}

impl<T> Default for Running<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T> Clone for Running<T> {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl<T> fmt::Debug for Running<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Running")
    }
}

/// The keys and arguments of a batch of input rows.
pub(super) struct RawRows {
    keys: Vec<ArrayRef>,
    /// The arguments of each call.
    arguments: Vec<Vec<ArrayRef>>,
    pub(super) rows: usize,
}

impl RawRows {
    pub(super) fn evaluate(spec: &AggregateSpec, records: &RecordBatch, time: EpochTime) -> Result<Self> {
        let columns = |expressions: &[crate::operator::ExpressionRef]| {
            expressions.iter().map(|expression| expression.evaluate(records, time)).collect::<Result<Vec<_>>>()
        };
        let arguments = spec.calls.iter().map(|call| columns(&call.arguments)).collect::<Result<_>>()?;
        Ok(Self { keys: columns(&spec.keys)?, arguments, rows: records.num_rows() })
    }
}

/// Keys and the accumulators of each call, side by side by group number.
pub(super) struct GroupTable {
    keys: KeyTable,
    accumulators: Vec<Box<dyn Accumulator>>,
    /// How many state columns each call has.
    widths: Vec<usize>,
    hashes: Vec<u64>,
    groups: Vec<u32>,
}

impl GroupTable {
    pub(super) fn new(spec: &AggregateSpec) -> Result<Self> {
        Ok(Self {
            keys: KeyTable::new(&spec.key_fields)?,
            accumulators: spec.calls.iter().map(|call| call.factory.create()).collect::<Result<_>>()?,
            widths: spec.calls.iter().map(|call| call.factory.state_fields().len()).collect(),
            hashes: Vec::new(),
            groups: Vec::new(),
        })
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// The group of each row of the last [`update`](Self::update), [`merge`](Self::merge) or [`intern`](Self::intern).
    pub(super) fn last_groups(&self) -> &[u32] {
        &self.groups
    }

    /// Takes input rows.
    pub(super) fn update(&mut self, input: &RawRows) -> Result<()> {
        self.intern(&input.keys, input.rows, None)?;
        for (accumulator, arguments) in self.accumulators.iter_mut().zip(&input.arguments) {
            accumulator.update(arguments, &self.groups)?;
        }
        Ok(())
    }

    /// Takes keys and partial states, in the columns of the partial schema.
    pub(super) fn merge(&mut self, columns: &[ArrayRef], rows: usize, hashes: Option<&[u64]>) -> Result<()> {
        let (keys, states) = self.split(columns)?;
        self.intern(keys, rows, hashes)?;
        let groups = std::mem::take(&mut self.groups);
        let merged = self.merge_states(states, &groups);
        self.groups = groups;
        merged
    }

    /// The key columns and the state columns of the partial schema.
    pub(super) fn split<'a>(&self, columns: &'a [ArrayRef]) -> Result<(&'a [ArrayRef], &'a [ArrayRef])> {
        let states = self.widths.iter().sum::<usize>();
        let keys = columns.len().checked_sub(states);
        let keys = keys.ok_or_else(|| Error::internal(format!("{} columns for {states} of state", columns.len())))?;
        Ok(columns.split_at(keys))
    }

    /// Finds or adds the group of each row.
    pub(super) fn intern(&mut self, keys: &[ArrayRef], rows: usize, hashes: Option<&[u64]>) -> Result<()> {
        let hashes = if let Some(hashes) = hashes {
            hashes
        } else {
            hash_rows_into(keys, &mut self.hashes);
            self.hashes.resize(rows, 0);
            &self.hashes
        };
        self.keys.intern(keys, hashes, &mut self.groups)?;
        let groups = self.keys.len();
        self.accumulators.iter_mut().for_each(|accumulator| accumulator.grow(groups));
        Ok(())
    }

    /// Merges state columns into groups that are there.
    pub(super) fn merge_states(&mut self, states: &[ArrayRef], groups: &[u32]) -> Result<()> {
        let mut rest = states;
        for (accumulator, width) in self.accumulators.iter_mut().zip(&self.widths) {
            let (own, others) = rest.split_at(*width);
            accumulator.merge(own, groups)?;
            rest = others;
        }
        Ok(())
    }

    /// The keys, states and hashes of these groups.
    pub(super) fn states(&mut self, groups: &[u32], schema: &SchemaRef) -> Result<Batch> {
        let mut columns = self.keys.keys(groups)?;
        for accumulator in &mut self.accumulators {
            columns.extend(accumulator.state(groups)?);
        }
        let hashes = groups.iter().map(|&group| self.keys.hashes()[group as usize]).collect();
        Ok(Batch { records: records(schema, columns, groups.len())?, hashes: Some(hashes) })
    }

    /// The keys and results of these groups.
    pub(super) fn results(&mut self, groups: &[u32], schema: &SchemaRef) -> Result<RecordBatch> {
        let mut columns = self.keys.keys(groups)?;
        for accumulator in &mut self.accumulators {
            columns.push(accumulator.evaluate(groups)?);
        }
        records(schema, columns, groups.len())
    }

    pub(super) fn clear(&mut self) {
        self.keys.clear();
        self.accumulators.iter_mut().for_each(|accumulator| accumulator.clear());
    }

    pub(super) fn bytes(&self) -> usize {
        self.keys.bytes() + self.accumulators.iter().map(|accumulator| accumulator.bytes()).sum::<usize>()
    }
}

impl fmt::Debug for GroupTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupTable").field("groups", &self.len()).finish_non_exhaustive()
    }
}

fn records(schema: &SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(schema.clone(), columns, &options)?)
}

/// The groups of one output batch, from `first` on.
pub(super) fn group_range(first: usize, end: usize) -> Vec<u32> {
    let last = end.min(first + BATCH_ROWS);
    (first..last).map(|group| u32::try_from(group).expect("the key table bounds the number of groups")).collect()
}

pub(super) fn one_input(inputs: &[SchemaRef]) -> Result<&SchemaRef> {
    match inputs {
        [input] => Ok(input),
        _ => Err(Error::plan(format!("an aggregation reads one input, not {}; union them first", inputs.len()))),
    }
}

/// `by a, b: count(…), total` in the names of the output columns.
pub(super) fn describe(spec: &AggregateSpec) -> String {
    let keys: Vec<_> = spec.key_fields.iter().map(|field| field.name().as_str()).collect();
    let calls: Vec<_> = spec.calls.iter().map(|call| call.name.as_str()).collect();
    let by = if keys.is_empty() { "of all rows".to_string() } else { format!("by {}", keys.join(", ")) };
    if calls.is_empty() { by } else { format!("{by}: {}", calls.join(", ")) }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Array, AsArray, Int64Array, StringViewArray};
    use arrow::datatypes::{DataType, Field, Int64Type, Schema};

    use super::super::{AggregateCall, NativeFunction};
    use super::*;
    use crate::operator::{BarrierKind, Expression, OperatorFactory, Route};

    #[derive(Debug)]
    struct Column(usize);

    impl Expression for Column {
        fn evaluate(&self, batch: &RecordBatch, _: EpochTime) -> Result<ArrayRef> {
            Ok(batch.column(self.0).clone())
        }
    }

    fn spec(keys: usize) -> AggregateSpec {
        let fields = [Field::new("word", DataType::Utf8View, true)];
        let argument: (crate::operator::ExpressionRef, _) = (Arc::new(Column(1)), DataType::Int64);
        AggregateSpec {
            keys: (0..keys).map(|key| Arc::new(Column(key)) as _).collect(),
            key_fields: fields.into_iter().take(keys).map(Arc::new).collect(),
            calls: vec![
                AggregateCall::native("count", NativeFunction::Count, None).unwrap(),
                AggregateCall::native("total", NativeFunction::Sum, Some(argument)).unwrap(),
            ],
        }
    }

    fn batch(words: impl Iterator<Item = String>) -> Batch {
        let words: StringViewArray = words.map(Some).collect();
        let numbers = Int64Array::from(vec![2; words.len()]);
        RecordBatch::try_from_iter([("word", Arc::new(words) as ArrayRef), ("number", Arc::new(numbers))])
            .unwrap()
            .into()
    }

    const BARRIER: Barrier = Barrier { epoch: 0, kind: BarrierKind::Light, has_data: true };

    /// Resumes until done; the rows of each round.
    fn drain(operator: &mut dyn Operator, mut flow: Flow, output: &mut Output) -> Vec<Vec<Batch>> {
        let mut rounds = Vec::new();
        loop {
            let batches = output.take().into_iter().map(|(route, batch)| {
                assert_eq!(route, Route::Edge);
                batch
            });
            rounds.push(batches.collect());
            match flow {
                Flow::Done => return rounds,
                Flow::More => flow = operator.resume(output).unwrap(),
            }
        }
    }

    #[test]
    fn an_epoch_comes_out_as_one_state_for_each_key_with_its_hash() {
        let mut operator = PartialAggregate::new(spec(1)).instance();
        let mut output = Output::default();
        for epoch in 0..2 {
            for _ in 0..3 {
                let words = ["a", "b", "a"].map(String::from);
                assert_eq!(operator.on_batch(0, batch(words.into_iter()), &mut output).unwrap(), Flow::Done);
            }
            let flow = operator.on_barrier(&Barrier { epoch, ..BARRIER }, &mut output).unwrap();
            let batches = drain(operator.as_mut(), flow, &mut output).concat();
            let [out] = batches.as_slice() else { panic!("one batch, not {batches:?}") };
            assert_eq!(out.records.column(0).as_ref(), &StringViewArray::from(vec!["a", "b"]) as &dyn Array);
            assert_eq!(out.records.column(1).as_primitive::<Int64Type>().values(), &[6, 3]);
            assert_eq!(out.records.column(2).as_primitive::<Int64Type>().values(), &[12, 6]);
            let hashes = crate::protocol::key_group::hash_rows(&out.records.columns()[..1]);
            assert_eq!(out.hashes.as_deref(), Some(hashes.as_slice()));
        }
    }

    #[test]
    fn without_rows_nothing_comes_out_even_without_keys() {
        for keys in [0, 1] {
            let mut operator = PartialAggregate::new(spec(keys));
            let mut output = Output::default();
            assert_eq!(operator.on_barrier(&BARRIER, &mut output).unwrap(), Flow::Done);
            assert!(output.take().is_empty());
        }
    }

    #[test]
    fn without_keys_an_epoch_comes_out_as_one_row() {
        let mut operator = PartialAggregate::new(spec(0));
        let mut output = Output::default();
        let _ = operator.on_batch(0, batch((0..5).map(|n| n.to_string())), &mut output).unwrap();
        let flow = operator.on_barrier(&BARRIER, &mut output).unwrap();
        let batches = drain(&mut operator, flow, &mut output).concat();
        assert_eq!(batches[0].records.column(0).as_primitive::<Int64Type>().values(), &[5]);
        assert_eq!(batches[0].hashes.as_deref(), Some([0].as_slice()));
    }

    #[test]
    fn rows_that_hardly_repeat_are_flushed_before_the_barrier() {
        let mut operator = PartialAggregate::new(spec(1));
        let mut output = Output::default();
        let first = operator.on_batch(0, batch((0..10_000).map(|n| n.to_string())), &mut output).unwrap();
        assert!(first == Flow::Done && output.take().is_empty());
        let flow = operator.on_batch(0, batch((10_000..20_000).map(|n| n.to_string())), &mut output).unwrap();
        let rows: Vec<usize> = drain(&mut operator, flow, &mut output).concat().iter().map(Batch::rows).collect();
        assert_eq!(rows, [8192, 8192, 3616]);
    }

    #[test]
    fn a_flush_of_many_groups_pauses_while_the_output_is_full() {
        let mut operator = PartialAggregate::new(spec(1));
        let mut output = Output::default();
        let mut flow = Flow::Done;
        for round in 0..3 {
            assert_eq!(flow, Flow::Done, "flushed before round {round}");
            let words = (0..40_000).flat_map(|n| [n, n]).map(|n| format!("{}", n + round % 2 * 40_000));
            flow = operator.on_batch(0, batch(words), &mut output).unwrap();
            if flow == Flow::More {
                break;
            }
        }
        let rounds = drain(&mut operator, flow, &mut output);
        assert_eq!(rounds.iter().map(Vec::len).collect::<Vec<_>>(), [4, 4, 2]);
        assert_eq!(rounds.concat().iter().map(Batch::rows).sum::<usize>(), 80_000);
        let flow = operator.on_barrier(&BARRIER, &mut output).unwrap();
        assert!(flow == Flow::Done && output.take().is_empty());
    }

    #[test]
    fn the_schema_and_the_description_name_the_columns() {
        let operator = PartialAggregate::new(spec(1));
        let input = Arc::new(Schema::empty());
        let schema = operator.output_schema(std::slice::from_ref(&input)).unwrap();
        let names: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        assert_eq!(names, ["word", "count", "sum"]);
        assert_eq!(operator.describe(), "partial by word: count, total");
        assert!(operator.output_schema(&[input.clone(), input]).is_err());
    }
}
