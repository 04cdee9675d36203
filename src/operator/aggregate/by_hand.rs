//! Counting by columns, for topologies built by hand.
//!
//! Owns: finding the columns by name. Does not own: groups and output modes (`finalize`).

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;

use super::finalize::FinalAggregate;
use super::partial::one_input;
use super::{AggregateCall, AggregateSpec, NativeFunction};
use crate::error::{Error, Result, suggestion};
use crate::operator::{
    Barrier, Batch, EpochTime, Expression, ExpressionRef, Flow, Operator, OperatorContext, OperatorStats, Output,
    StateBudget, StateDelta, StatePart, Watermark,
};
use crate::protocol::OutputMode;

/// Counts the rows of each key: the key columns and `count BIGINT`. Nulls are a key of their own.
///
/// The input must be partitioned by the same columns when there are several instances.
///
/// ```text
/// word        word  count
/// owl    ─▶   owl   2
/// cat         cat   1
/// owl
/// ```
#[derive(Debug, Clone)]
pub struct CountBy {
    columns: Vec<String>,
    mode: OutputMode,
    counts: Option<FinalAggregate>,
}

impl CountBy {
    /// Counts by one column.
    pub fn new(column: impl Into<String>) -> Self {
        Self::columns([column])
    }

    /// Counts by several columns; by none, all rows.
    pub fn columns(columns: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let columns = columns.into_iter().map(Into::into).collect();
        Self { columns, mode: OutputMode::Complete, counts: None }
    }

    /// Which counts an epoch puts out: all of them ([`OutputMode::Complete`], the default) or those that changed
    /// ([`OutputMode::Update`]).
    #[must_use]
    pub fn mode(mut self, mode: OutputMode) -> Self {
        self.mode = mode;
        self
    }

    fn plan(&self, input: &Schema) -> Result<FinalAggregate> {
        if self.mode == OutputMode::Append {
            return Err(Error::plan("counts are never final, so append mode would show none; use update or complete"));
        }
        let found = self.columns.iter().map(|name| find(name, input)).collect::<Result<Vec<_>>>()?;
        let (keys, key_fields) = found.into_iter().unzip();
        let calls = vec![AggregateCall::native("count", NativeFunction::Count, None)?];
        Ok(FinalAggregate::of_rows(AggregateSpec { keys, key_fields, calls, time: None }, self.mode))
    }

    fn counts(&mut self) -> Result<&mut FinalAggregate> {
        self.counts.as_mut().ok_or_else(|| Error::internal("an operator was used before it was opened"))
    }
}

fn find(name: &str, input: &Schema) -> Result<(ExpressionRef, FieldRef)> {
    let missing = || {
        let names = || input.fields().iter().map(|field| field.name().as_str());
        let known: Vec<_> = names().collect();
        Error::plan(format!("no column `{name}` among {}{}", known.join(", "), suggestion(name, names())))
    };
    let (index, field) = input.fields().find(name).ok_or_else(missing)?;
    Ok((Arc::new(ColumnAt(index)), field.clone()))
}

/// A column of the input as it is.
#[derive(Debug)]
struct ColumnAt(usize);

impl Expression for ColumnAt {
    fn evaluate(&self, batch: &RecordBatch, _: EpochTime) -> Result<ArrayRef> {
        Ok(batch.column(self.0).clone())
    }
}

impl Operator for CountBy {
    fn output_schema(&self, inputs: &[SchemaRef]) -> Result<SchemaRef> {
        self.plan(one_input(inputs)?)?.output_schema(inputs)
    }

    fn describe(&self) -> String {
        format!("count by {}, {}", self.columns.join(", "), self.mode)
    }

    fn open(&mut self, context: &OperatorContext) -> Result<()> {
        let counts = self.plan(one_input(&context.inputs)?)?;
        self.counts.insert(counts).open(context)
    }

    fn on_watermark(&mut self, time: EpochTime, output: &mut Output) -> Result<Option<Watermark>> {
        self.counts()?.on_watermark(time, output)
    }

    fn on_batch(&mut self, port: usize, batch: Batch, output: &mut Output) -> Result<Flow> {
        self.counts()?.on_batch(port, batch, output)
    }

    fn resume(&mut self, output: &mut Output) -> Result<Flow> {
        self.counts()?.resume(output)
    }

    fn on_barrier(&mut self, barrier: &Barrier, output: &mut Output) -> Result<Flow> {
        self.counts()?.on_barrier(barrier, output)
    }

    fn snapshot(&mut self) -> Result<Option<StateDelta>> {
        self.counts()?.snapshot()
    }

    fn restore(&mut self, part: StatePart) -> Result<()> {
        self.counts()?.restore(part)
    }

    fn can_leave_memory(&self) -> bool {
        self.counts.as_ref().is_some_and(Operator::can_leave_memory)
    }

    fn limit_memory(&mut self, budget: StateBudget) -> Result<()> {
        self.counts()?.limit_memory(budget)
    }

    fn save_all(&mut self) -> bool {
        self.counts.as_mut().is_some_and(Operator::save_all)
    }

    fn state_identity(&self) -> Option<String> {
        self.counts.as_ref()?.state_identity()
    }

    fn take_stats(&mut self) -> OperatorStats {
        self.counts.as_mut().map_or_else(OperatorStats::default, Operator::take_stats)
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, Int32Array, Int64Array, StringViewArray};
    use arrow::datatypes::{DataType, Field};

    use super::*;
    use crate::operator::{BarrierKind, OperatorFactory};

    fn input() -> SchemaRef {
        let word = Field::new("word", DataType::Utf8View, true);
        Arc::new(Schema::new(vec![Field::new("id", DataType::Int32, false), word]))
    }

    fn batch(ids: &[i32], words: &[Option<&str>]) -> Batch {
        let words: StringViewArray = words.iter().copied().collect();
        let columns: Vec<ArrayRef> = vec![Arc::new(Int32Array::from(ids.to_vec())), Arc::new(words)];
        RecordBatch::try_new(input(), columns).unwrap().into()
    }

    fn open(factory: &CountBy) -> Box<dyn Operator> {
        let mut operator = factory.instance();
        let (name, inputs) = ("count".to_string(), vec![input()]);
        operator.open(&OperatorContext { name, instance: 0, parallelism: 1, inputs }).unwrap();
        operator
    }

    fn epoch(operator: &mut dyn Operator, rows: Batch) -> Vec<Batch> {
        let mut output = Output::default();
        let barrier = Barrier { epoch: 0, kind: BarrierKind::Durable, has_data: true };
        assert_eq!(operator.on_batch(0, rows, &mut output).unwrap(), Flow::Done);
        assert_eq!(operator.on_barrier(&barrier, &mut output).unwrap(), Flow::Done);
        output.take().into_iter().map(|(_, batch)| batch).collect()
    }

    #[test]
    fn complete_shows_all_counts_and_update_those_that_changed() {
        for (mode, expected) in
            [(OutputMode::Complete, vec![(Some("a"), 3), (None, 1)]), (OutputMode::Update, vec![(Some("a"), 3)])]
        {
            let mut operator = open(&CountBy::new("word").mode(mode));
            epoch(operator.as_mut(), batch(&[1, 2, 3], &[Some("a"), None, Some("a")]));
            let shown = epoch(operator.as_mut(), batch(&[4], &[Some("a")]));
            let words: StringViewArray = expected.iter().map(|row| row.0).collect();
            let counts: Int64Array = expected.iter().map(|row| Some(row.1)).collect();
            assert_eq!(shown[0].records.column(0).as_ref(), &words as &dyn Array);
            assert_eq!(shown[0].records.column(1).as_ref(), &counts as &dyn Array);
        }
    }

    #[test]
    fn hashes_of_other_columns_do_not_split_a_key() {
        let mut operator = open(&CountBy::new("word"));
        let mut rows = batch(&[1, 2], &[Some("a"), Some("a")]);
        rows.hashes = Some([1, 2].into());
        let shown = epoch(operator.as_mut(), rows);
        assert_eq!(shown[0].records.column(1).as_ref(), &Int64Array::from(vec![2]) as &dyn Array);
    }

    #[test]
    fn counts_continue_after_a_restart() {
        let factory = CountBy::columns(["word", "id"]);
        let mut operator = open(&factory);
        epoch(operator.as_mut(), batch(&[1, 2, 1], &[Some("a"), Some("a"), Some("a")]));
        let saved = operator.snapshot().unwrap().unwrap().changed;
        let mut operator = open(&factory);
        let identity = "aggregation by word STRING, id INT: count(*) BIGINT";
        assert_eq!(operator.state_identity().as_deref(), Some(identity));
        for (rows, hashes) in saved {
            operator.restore(StatePart { rows, hashes }).unwrap();
        }
        let shown = epoch(operator.as_mut(), batch(&[2], &[Some("a")]));
        assert_eq!(shown[0].records.column(2).as_ref(), &Int64Array::from(vec![2, 2]) as &dyn Array);
        assert_eq!(operator.take_stats().state_rows, Some(2));
        let rows = |delta: StateDelta| delta.changed.iter().map(|(rows, _)| rows.num_rows()).sum::<usize>();
        assert_eq!(rows(operator.snapshot().unwrap().unwrap()), 1);
        assert!(operator.save_all());
        assert_eq!(rows(operator.snapshot().unwrap().unwrap()), 2);
    }

    #[test]
    fn the_schema_is_the_columns_and_a_count() {
        let operator = CountBy::columns(["word", "id"]);
        let schema = operator.output_schema(&[input()]).unwrap();
        let names: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        assert_eq!(names, ["word", "id", "count"]);
        assert_eq!(operator.describe(), "count by word, id, complete");
    }

    #[test]
    fn a_wrong_name_and_append_mode_are_refused_with_the_remedy() {
        let error = CountBy::new("wrod").output_schema(&[input()]).unwrap_err();
        assert_eq!(error.message(), "no column `wrod` among id, word; did you mean `word`?");
        let error = CountBy::new("word").mode(OutputMode::Append).output_schema(&[input()]).unwrap_err();
        assert!(error.message().contains("use update or complete"), "{error}");
    }
}
