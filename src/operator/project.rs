//! Row by row without memory: computing columns ([`Project`]) and keeping rows ([`Filter`]).
//!
//! Owns: calling expressions and putting their columns together. Does not own: what an expression means (`plan`).

use arrow::array::{Array, AsArray, BooleanArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};

use super::{Balance, Batch, DroppedRows, EpochTime, ExpressionRef, Flow, Operator, OperatorStats, Output, Watermark};
use crate::error::{Error, Result};
use crate::types::type_name;

/// Computes each output column from the input row.
///
/// | input    | output                              | state | late rows     |
/// |----------|-------------------------------------|-------|---------------|
/// | any rows | one row a row, the columns of `new` | none  | not looked at |
///
/// Without columns, rows keep their number.
#[derive(Debug, Clone)]
pub struct Project {
    expressions: Vec<ExpressionRef>,
    schema: SchemaRef,
    time: EpochTime,
}

impl Project {
    /// The output columns, each with what computes it.
    pub fn new(columns: Vec<(FieldRef, ExpressionRef)>) -> Self {
        let (fields, expressions): (Vec<FieldRef>, Vec<ExpressionRef>) = columns.into_iter().unzip();
        Self { expressions, schema: Schema::new(fields).into(), time: EpochTime::default() }
    }
}

impl Operator for Project {
    fn output_schema(&self, inputs: &[SchemaRef]) -> Result<SchemaRef> {
        one_input(inputs)?;
        Ok(self.schema.clone())
    }

    fn describe(&self) -> String {
        let names: Vec<&str> = self.schema.fields().iter().map(|field| field.name().as_str()).collect();
        names.join(", ")
    }

    fn on_watermark(&mut self, time: EpochTime, _: &mut Output) -> Result<Option<Watermark>> {
        self.time = time;
        Ok(time.here)
    }

    fn on_batch(&mut self, _: usize, batch: Batch, output: &mut Output) -> Result<Flow> {
        let evaluate = |expression: &ExpressionRef| expression.evaluate(&batch.records, self.time);
        let columns = self.expressions.iter().map(evaluate).collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.rows()));
        let records = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options);
        let unfit =
            |error| Error::internal(format!("computed columns are not as declared: {error}")).with_source(error);
        output.batch(records.map_err(unfit)?);
        Ok(Flow::Done)
    }

    fn take_stats(&mut self) -> OperatorStats {
        OperatorStats { balance: Some(Balance::default()), ..OperatorStats::default() }
    }
}

/// Keeps the rows for which a condition is true.
///
/// | input    | output                                | state | late rows     |
/// |----------|---------------------------------------|-------|---------------|
/// | any rows | rows whose condition is true, in order | none  | not looked at |
///
/// Rows whose condition is false or null go; that is the query's wish, so they are not counted as dropped.
#[derive(Debug, Clone)]
pub struct Filter {
    condition: ExpressionRef,
    /// What the rows that go are counted as dropped for, if they are.
    reason: Option<&'static str>,
    time: EpochTime,
    balance: Balance,
}

impl Filter {
    /// Keeps rows for which this BOOLEAN expression is true.
    pub fn new(condition: ExpressionRef) -> Self {
        Self { condition, reason: None, time: EpochTime::default(), balance: Balance::default() }
    }

    /// Counts the rows that go as dropped for this reason: where the condition is not the user's.
    #[must_use]
    pub(crate) fn counting(self, reason: &'static str) -> Self {
        Self { reason: Some(reason), ..self }
    }

    /// Takes note of the rows that go.
    fn lose(&mut self, batch: &RecordBatch, condition: &BooleanArray, output: &mut Output) -> Result<()> {
        let lost = batch.num_rows() - condition.true_count();
        match self.reason {
            _ if lost == 0 => {}
            None => self.balance.absorbed += lost as u64,
            Some(reason) => {
                let goes: BooleanArray = condition.iter().map(|keep| Some(keep != Some(true))).collect();
                let records = filter_record_batch(batch, &goes)?;
                output.drop_rows(DroppedRows { reason, records, times: None, watermark_ms: None });
            }
        }
        Ok(())
    }
}

impl Operator for Filter {
    fn output_schema(&self, inputs: &[SchemaRef]) -> Result<SchemaRef> {
        one_input(inputs).cloned()
    }

    fn describe(&self) -> String {
        format!("{:?}", self.condition)
    }

    fn on_watermark(&mut self, time: EpochTime, _: &mut Output) -> Result<Option<Watermark>> {
        self.time = time;
        Ok(time.here)
    }

    fn on_batch(&mut self, _: usize, batch: Batch, output: &mut Output) -> Result<Flow> {
        let condition = self.condition.evaluate(&batch.records, self.time)?;
        let wrong = || format!("a filter's condition must be BOOLEAN, not {}", type_name(condition.data_type()));
        let condition = condition.as_boolean_opt().ok_or_else(|| Error::plan(wrong()))?;
        self.lose(&batch.records, condition, output)?;
        match condition.true_count() {
            0 => {}
            kept if kept == batch.rows() => output.batch(batch.records),
            _ => output.batch(filter_record_batch(&batch.records, condition)?),
        }
        Ok(Flow::Done)
    }

    fn dropped_columns(&self, inputs: &[SchemaRef]) -> Option<SchemaRef> {
        self.reason.and_then(|_| inputs.first().cloned())
    }

    fn take_stats(&mut self) -> OperatorStats {
        OperatorStats { balance: Some(std::mem::take(&mut self.balance)), ..OperatorStats::default() }
    }
}

/// The input of an operator that has exactly one.
pub(super) fn one_input(inputs: &[SchemaRef]) -> Result<&SchemaRef> {
    match inputs {
        [input] => Ok(input),
        _ => Err(Error::plan(format!("this operator takes one input, not {}", inputs.len()))),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, BooleanArray, Int64Array};
    use arrow::datatypes::{DataType, Field, Int64Type};

    use super::*;

    #[derive(Debug)]
    struct Doubled;

    impl super::super::Expression for Doubled {
        fn evaluate(&self, batch: &RecordBatch, _: EpochTime) -> Result<ArrayRef> {
            let values = batch.column(0).as_primitive::<Int64Type>();
            Ok(Arc::new(values.unary::<_, Int64Type>(|value| value * 2)))
        }
    }

    #[derive(Debug)]
    struct Now;

    impl super::super::Expression for Now {
        fn evaluate(&self, batch: &RecordBatch, time: EpochTime) -> Result<ArrayRef> {
            Ok(Arc::new(Int64Array::from(vec![time.processing_micros; batch.num_rows()])))
        }
    }

    /// True for positive values, null for null.
    #[derive(Debug)]
    struct Positive;

    impl super::super::Expression for Positive {
        fn evaluate(&self, batch: &RecordBatch, _: EpochTime) -> Result<ArrayRef> {
            let values = batch.column(0).as_primitive::<Int64Type>();
            Ok(Arc::new(values.iter().map(|value| value.map(|value| value > 0)).collect::<BooleanArray>()))
        }
    }

    fn batch(values: &[Option<i64>]) -> Batch {
        let column: ArrayRef = Arc::new(Int64Array::from(values.to_vec()));
        RecordBatch::try_from_iter_with_nullable([("v", column, true)]).unwrap().into()
    }

    fn run(operator: &mut dyn Operator, batch: Batch) -> Vec<RecordBatch> {
        let mut output = Output::default();
        let time = EpochTime { processing_micros: 77, ..EpochTime::default() };
        assert_eq!(operator.on_watermark(time, &mut output).unwrap(), None);
        assert_eq!(operator.on_batch(0, batch, &mut output).unwrap(), Flow::Done);
        output.take().into_iter().map(|(_, batch)| batch.records).collect()
    }

    fn column(batch: &RecordBatch, index: usize) -> Vec<Option<i64>> {
        batch.column(index).as_primitive::<Int64Type>().iter().collect()
    }

    fn field(name: &str) -> FieldRef {
        Arc::new(Field::new(name, DataType::Int64, true))
    }

    #[test]
    fn each_column_is_computed_under_the_time_of_the_epoch() {
        let mut project = Project::new(vec![(field("d"), Arc::new(Doubled)), (field("now"), Arc::new(Now))]);
        let out = run(&mut project, batch(&[Some(1), None]));
        assert_eq!(column(&out[0], 0), [Some(2), None]);
        assert_eq!(column(&out[0], 1), [Some(77), Some(77)]);
        assert_eq!(out[0].schema(), project.output_schema(&[out[0].schema()]).unwrap());
        assert_eq!(project.describe(), "d, now");
    }

    #[test]
    fn rows_without_columns_keep_their_number() {
        let out = run(&mut Project::new(vec![]), batch(&[Some(1), None, None]));
        assert_eq!((out[0].num_rows(), out[0].num_columns()), (3, 0));
        let again = run(&mut Project::new(vec![]), out[0].clone().into());
        assert_eq!(again[0].num_rows(), 3);
    }

    #[test]
    fn a_column_of_another_type_than_declared_is_refused() {
        let wrong = Arc::new(Field::new("d", DataType::Utf8View, true));
        let mut project = Project::new(vec![(wrong, Arc::new(Doubled))]);
        let error = project.on_batch(0, batch(&[Some(1)]), &mut Output::default()).unwrap_err();
        assert_eq!(error.kind(), crate::error::ErrorKind::Internal);
    }

    #[test]
    fn a_filter_keeps_true_and_loses_false_and_null() {
        let out = run(&mut Filter::new(Arc::new(Positive)), batch(&[Some(1), Some(-1), None, Some(3)]));
        assert_eq!(column(&out[0], 0), [Some(1), Some(3)]);
        assert!(run(&mut Filter::new(Arc::new(Positive)), batch(&[None, Some(0)])).is_empty());
    }

    #[test]
    fn a_filter_passes_a_batch_that_is_kept_whole_without_copying() {
        let input = batch(&[Some(1), Some(2)]);
        let out = run(&mut Filter::new(Arc::new(Positive)), input.clone());
        assert!(Arc::ptr_eq(input.records.column(0), out[0].column(0)));
    }

    #[test]
    fn hashes_of_the_input_go_no_further() {
        let mut input = batch(&[Some(1)]);
        input.hashes = Some([9].into());
        let mut output = Output::default();
        assert_eq!(Filter::new(Arc::new(Positive)).on_batch(0, input, &mut output).unwrap(), Flow::Done);
        assert!(output.take()[0].1.hashes.is_none());
    }

    #[test]
    fn a_condition_that_is_no_boolean_is_named() {
        let error = Filter::new(Arc::new(Doubled)).on_batch(0, batch(&[Some(1)]), &mut Output::default()).unwrap_err();
        assert!(error.message().contains("must be BOOLEAN"), "{error}");
    }

    #[test]
    fn two_inputs_are_refused() {
        let schema = batch(&[]).records.schema();
        assert!(Project::new(vec![]).output_schema(&[schema.clone(), schema]).is_err());
    }
}
