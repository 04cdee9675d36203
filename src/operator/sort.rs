//! The rows of an epoch in order.
//!
//! Owns: collecting and sorting. Does not own: where sorting makes sense (`plan`: above an aggregation in complete
//! mode) or that all rows come by one instance (`plan` gathers them).

use std::mem;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray};
use arrow::compute::{SortColumn, SortOptions, concat, interleave_record_batch, lexsort_to_indices};
use arrow::datatypes::{DataType, Float32Type, Float64Type, SchemaRef};
use arrow::record_batch::RecordBatch;

use super::project::one_input;
use super::{Balance, Barrier, Batch, EpochTime, ExpressionRef, Flow, Operator, OperatorStats, Output, Watermark};
use crate::error::{Error, Result};

/// The most rows of one output batch.
const BATCH_ROWS: usize = 8192;

/// One key of an order.
#[derive(Debug, Clone)]
pub struct SortKey {
    /// What rows are compared by.
    pub expression: ExpressionRef,
    /// Small values first.
    pub ascending: bool,
    /// Nulls before all values, whichever way these go.
    pub nulls_first: bool,
}

/// Puts out the rows of each epoch in order, at its barrier.
///
/// | input    | output                                      | state                                 | late rows     |
/// |----------|---------------------------------------------|---------------------------------------|---------------|
/// | any rows | the epoch's rows, sorted; the first `limit` | the epoch's rows; nothing at barriers | not looked at |
///
/// The order among rows with equal keys is not fixed. NaN is above all numbers, and -0.0 equals 0.0.
#[derive(Debug, Clone)]
pub struct Sort {
    keys: Vec<SortKey>,
    limit: Option<usize>,
    time: EpochTime,
    collected: Vec<RecordBatch>,
    /// For each key, its column of each collected batch.
    key_columns: Vec<Vec<ArrayRef>>,
    /// The places (batch, row) still to be put out, from `next` on.
    order: Vec<(usize, usize)>,
    next: usize,
    balance: Balance,
}

impl Sort {
    /// Sorts by these keys, the first one first; with a `limit`, only the first rows come out.
    pub fn new(keys: Vec<SortKey>, limit: Option<usize>) -> Self {
        let key_columns = vec![Vec::new(); keys.len()];
        let (collected, order) = (Vec::new(), Vec::new());
        Self {
            keys,
            limit,
            time: EpochTime::default(),
            collected,
            key_columns,
            order,
            next: 0,
            balance: Balance::default(),
        }
    }

    /// The places of the collected rows in order.
    fn sorted(&mut self) -> Result<Vec<(usize, usize)>> {
        let mut starts = Vec::with_capacity(self.collected.len());
        let mut rows = 0;
        for batch in &self.collected {
            starts.push(rows);
            rows += batch.num_rows();
        }
        if u32::try_from(rows).is_err() {
            let message = format!("cannot sort {rows} rows of one epoch; aggregate or limit them before the sort");
            return Err(Error::data(message));
        }
        let indices = lexsort_to_indices(&self.sort_columns()?, self.limit)?;
        let place = |index: &u32| {
            let index = *index as usize;
            let batch = starts.partition_point(|start| *start <= index) - 1;
            (batch, index - starts[batch])
        };
        Ok(indices.values().iter().map(place).collect())
    }

    fn sort_columns(&mut self) -> Result<Vec<SortColumn>> {
        let mut columns = Vec::with_capacity(self.keys.len());
        for (key, parts) in self.keys.iter().zip(&mut self.key_columns) {
            let parts = mem::take(parts);
            let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
            let options = SortOptions { descending: !key.ascending, nulls_first: key.nulls_first };
            columns.push(SortColumn { values: comparable(concat(&parts)?), options: Some(options) });
        }
        Ok(columns)
    }
}

impl Operator for Sort {
    fn output_schema(&self, inputs: &[SchemaRef]) -> Result<SchemaRef> {
        if self.keys.is_empty() {
            return Err(Error::plan("a sort needs at least one key"));
        }
        one_input(inputs).cloned()
    }

    fn describe(&self) -> String {
        let key = |key: &SortKey| {
            let order = if key.ascending { "ASC" } else { "DESC" };
            let nulls = if key.nulls_first { "FIRST" } else { "LAST" };
            format!("{:?} {order} NULLS {nulls}", key.expression)
        };
        let keys = self.keys.iter().map(key).collect::<Vec<_>>().join(", ");
        self.limit.map_or_else(|| keys.clone(), |limit| format!("{keys}, first {limit}"))
    }

    fn on_watermark(&mut self, time: EpochTime, _: &mut Output) -> Result<Option<Watermark>> {
        self.time = time;
        Ok(time.here)
    }

    fn on_batch(&mut self, _: usize, batch: Batch, _: &mut Output) -> Result<Flow> {
        for (key, columns) in self.keys.iter().zip(&mut self.key_columns) {
            columns.push(key.expression.evaluate(&batch.records, self.time)?);
        }
        self.collected.push(batch.records);
        Ok(Flow::Done)
    }

    fn resume(&mut self, output: &mut Output) -> Result<Flow> {
        let batches: Vec<&RecordBatch> = self.collected.iter().collect();
        while self.next < self.order.len() {
            if output.is_full() {
                return Ok(Flow::More);
            }
            let end = (self.next + BATCH_ROWS).min(self.order.len());
            output.batch(interleave_record_batch(&batches, &self.order[self.next..end])?);
            self.next = end;
        }
        (self.collected, self.order, self.next) = (Vec::new(), Vec::new(), 0);
        Ok(Flow::Done)
    }

    fn on_barrier(&mut self, _: &Barrier, output: &mut Output) -> Result<Flow> {
        if self.collected.is_empty() {
            return Ok(Flow::Done);
        }
        self.order = self.sorted()?;
        let rows: usize = self.collected.iter().map(RecordBatch::num_rows).sum();
        self.balance.absorbed += (rows - self.order.len()) as u64;
        self.resume(output)
    }

    fn take_stats(&mut self) -> OperatorStats {
        OperatorStats { balance: Some(std::mem::take(&mut self.balance)), ..OperatorStats::default() }
    }
}

/// Floats in one form for values that Spark takes as equal, because Arrow orders by bits: -0.0 below 0.0, and NaNs by
/// sign.
fn comparable(column: ArrayRef) -> ArrayRef {
    fn mapped<T: ArrowPrimitiveType>(column: &ArrayRef, one_form: impl Fn(T::Native) -> T::Native) -> ArrayRef {
        let mapped: PrimitiveArray<T> = column.as_primitive::<T>().unary(one_form);
        Arc::new(mapped)
    }
    match column.data_type() {
        DataType::Float32 => mapped::<Float32Type>(&column, |v| if v.is_nan() { f32::NAN } else { v + 0.0 }),
        DataType::Float64 => mapped::<Float64Type>(&column, |v| if v.is_nan() { f64::NAN } else { v + 0.0 }),
        _ => column,
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use arrow::array::{Float64Array, Int64Array, StringViewArray, StructArray};
    use arrow::datatypes::Int64Type;
    use proptest::prelude::*;

    use super::super::Expression;
    use super::*;
    use crate::protocol::BarrierKind;

    #[derive(Debug)]
    struct ColumnAt(usize);

    impl Expression for ColumnAt {
        fn evaluate(&self, batch: &RecordBatch, _: EpochTime) -> Result<ArrayRef> {
            Ok(batch.column(self.0).clone())
        }
    }

    fn key(column: usize, ascending: bool, nulls_first: bool) -> SortKey {
        SortKey { expression: Arc::new(ColumnAt(column)), ascending, nulls_first }
    }

    type Row = (Option<i64>, String);

    fn batch(rows: &[Row]) -> RecordBatch {
        let numbers: ArrayRef = Arc::new(rows.iter().map(|row| row.0).collect::<Int64Array>());
        let texts: ArrayRef = Arc::new(StringViewArray::from_iter_values(rows.iter().map(|row| &row.1)));
        RecordBatch::try_from_iter_with_nullable([("n", numbers, true), ("s", texts, true)]).unwrap()
    }

    fn rows(batch: &RecordBatch) -> Vec<Row> {
        let numbers = batch.column(0).as_primitive::<Int64Type>().iter();
        numbers.zip(batch.column(1).as_string_view()).map(|(n, s)| (n, s.unwrap().to_string())).collect()
    }

    /// One epoch; the output is emptied whenever the operator asks for room.
    fn epoch(sort: &mut Sort, batches: impl IntoIterator<Item = RecordBatch>) -> Vec<RecordBatch> {
        let (mut output, mut all) = (Output::default(), Vec::new());
        for batch in batches {
            assert_eq!(sort.on_batch(0, batch.into(), &mut output).unwrap(), Flow::Done);
        }
        let barrier = Barrier { epoch: 0, kind: BarrierKind::Durable, has_data: true };
        let mut flow = sort.on_barrier(&barrier, &mut output).unwrap();
        loop {
            let out = output.take();
            assert!(out.len() <= 4, "memory stays bounded");
            all.extend(out.into_iter().map(|(_, batch)| batch.records));
            if flow == Flow::Done {
                return all;
            }
            flow = sort.resume(&mut output).unwrap();
        }
    }

    #[test]
    fn rows_come_out_at_the_barrier_and_are_not_kept() {
        let mut sort = Sort::new(vec![key(0, false, false)], None);
        let out =
            epoch(&mut sort, [batch(&[(Some(1), "a".into()), (None, "b".into())]), batch(&[(Some(2), "c".into())])]);
        assert_eq!(out.iter().flat_map(rows).map(|row| row.1).collect::<String>(), "cab");
        assert!(epoch(&mut sort, []).is_empty());
        assert_eq!(epoch(&mut sort, [batch(&[(Some(9), "z".into())])]).len(), 1);
    }

    #[test]
    fn many_rows_come_in_pieces_as_there_is_room() {
        let all: Vec<Row> = (0..50_000).rev().map(|n| (Some(n), String::new())).collect();
        let out = epoch(&mut Sort::new(vec![key(0, true, true)], None), all.chunks(7_000).map(batch));
        assert!(out.iter().all(|batch| batch.num_rows() <= BATCH_ROWS));
        let numbers: Vec<i64> = out.iter().flat_map(rows).filter_map(|row| row.0).collect();
        assert_eq!(numbers, (0..50_000).collect::<Vec<_>>());
    }

    #[test]
    fn nan_is_above_all_and_the_two_zeros_are_equal() {
        let floats: ArrayRef = Arc::new(Float64Array::from(vec![f64::NAN, 0.0, -0.0, -f64::NAN, f64::INFINITY]));
        let ties: ArrayRef = Arc::new(Int64Array::from(vec![2, 1, 2, 1, 0]));
        let input = RecordBatch::try_from_iter([("f", floats), ("tie", ties)]).unwrap();
        let out = epoch(&mut Sort::new(vec![key(0, true, true), key(1, true, true)], None), [input]);
        assert_eq!(out[0].column(1).as_primitive::<Int64Type>().values(), &[1, 2, 0, 1, 2]);
        assert!(out[0].column(0).as_primitive::<Float64Type>().value(1).is_sign_negative(), "values stay as they were");
    }

    #[test]
    fn structs_are_compared_field_by_field() {
        let inner = batch(&[(Some(2), "a".into()), (Some(1), "b".into()), (Some(1), "a".into())]);
        let window: ArrayRef = Arc::new(StructArray::from(inner));
        let input = RecordBatch::try_from_iter([("window", window)]).unwrap();
        let out = epoch(&mut Sort::new(vec![key(0, true, true)], None), [input]);
        let sorted = RecordBatch::from(out[0].column(0).as_struct());
        assert_eq!(rows(&sorted), [(Some(1), "a".into()), (Some(1), "b".into()), (Some(2), "a".into())]);
    }

    #[test]
    fn a_sort_without_keys_is_refused() {
        assert!(Sort::new(vec![], None).output_schema(&[batch(&[]).schema()]).is_err());
    }

    fn naive(mut all: Vec<Row>, ascending: bool, nulls_first: bool) -> Vec<Row> {
        let number = |a: &Option<i64>, b: &Option<i64>| match (a, b) {
            (Some(a), Some(b)) if ascending => a.cmp(b),
            (Some(a), Some(b)) => b.cmp(a),
            (None, None) => Ordering::Equal,
            (None, Some(_)) if nulls_first => Ordering::Less,
            (Some(_), None) if !nulls_first => Ordering::Less,
            _ => Ordering::Greater,
        };
        all.sort_by(|a, b| number(&a.0, &b.0).then_with(|| b.1.cmp(&a.1)));
        all
    }

    proptest! {
        #[test]
        fn any_cut_into_batches_gives_the_naive_order(
            all in prop::collection::vec((prop::option::of(-3..3_i64), "[a-cé]{0,14}"), 0..60),
            (ascending, nulls_first) in any::<(bool, bool)>(),
            limit in prop::option::of(0..70_usize),
            cut in 1..20_usize,
        ) {
            let mut sort = Sort::new(vec![key(0, ascending, nulls_first), key(1, false, true)], limit);
            let out: Vec<Row> = epoch(&mut sort, all.chunks(cut).map(batch)).iter().flat_map(rows).collect();
            let mut expected = naive(all, ascending, nulls_first);
            expected.truncate(limit.unwrap_or(usize::MAX));
            prop_assert_eq!(out, expected);
        }
    }
}
