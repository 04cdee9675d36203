//! At most so many rows.
//!
//! Owns: counting rows. Does not own: that all rows come by one instance (`plan` gathers them).

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt64Type};
use arrow::record_batch::RecordBatch;

use super::project::one_input;
use super::{Balance, Barrier, Batch, Flow, Operator, OperatorStats, Output, StateDelta, StatePart};
use crate::error::{Error, Result};

/// What a [`Limit`] counts over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LimitScope {
    /// The whole life of the query, restarts included.
    Stream,
    /// Each epoch by itself, for a result that is shown anew in each (complete mode).
    Epoch,
}

/// Passes the first rows on and loses the others.
///
/// | input    | output              | state                             | late rows     |
/// |----------|---------------------|-----------------------------------|---------------|
/// | any rows | the first `count`   | `Stream`: rows so far, in one row | not looked at |
///
/// Needs to be the only instance.
#[derive(Debug, Clone)]
pub struct Limit {
    count: u64,
    scope: LimitScope,
    passed: u64,
    /// Whether `passed` differs from the last snapshot.
    is_changed: bool,
    /// Whether `passed` changed since statistics were taken.
    is_updated: bool,
    balance: Balance,
}

impl Limit {
    /// At most `count` rows for each `scope`.
    pub fn new(count: u64, scope: LimitScope) -> Self {
        Self { count, scope, passed: 0, is_changed: false, is_updated: false, balance: Balance::default() }
    }
}

impl Operator for Limit {
    fn output_schema(&self, inputs: &[SchemaRef]) -> Result<SchemaRef> {
        one_input(inputs).cloned()
    }

    fn describe(&self) -> String {
        match self.scope {
            LimitScope::Stream => format!("{} rows", self.count),
            LimitScope::Epoch => format!("{} rows an epoch", self.count),
        }
    }

    fn on_batch(&mut self, _: usize, batch: Batch, output: &mut Output) -> Result<Flow> {
        let left = usize::try_from(self.count - self.passed).unwrap_or(usize::MAX);
        let rows = batch.rows().min(left);
        if rows > 0 {
            self.passed += rows as u64;
            (self.is_changed, self.is_updated) = (true, true);
            output.batch(batch.records.slice(0, rows));
        }
        self.balance.absorbed += (batch.rows() - rows) as u64;
        Ok(Flow::Done)
    }

    fn on_barrier(&mut self, _: &Barrier, _: &mut Output) -> Result<Flow> {
        if self.scope == LimitScope::Epoch {
            self.passed = 0;
        }
        Ok(Flow::Done)
    }

    fn snapshot(&mut self) -> Result<Option<StateDelta>> {
        if self.scope == LimitScope::Epoch {
            return Ok(None);
        }
        if !std::mem::take(&mut self.is_changed) {
            return Ok(Some(StateDelta::default()));
        }
        let schema = Schema::new(vec![Field::new("rows", DataType::UInt64, false)]);
        let rows: ArrayRef = Arc::new(UInt64Array::from(vec![self.passed]));
        Ok(Some(StateDelta { changed: vec![(RecordBatch::try_new(Arc::new(schema), vec![rows])?, vec![0])] }))
    }

    fn restore(&mut self, part: StatePart) -> Result<()> {
        let foreign =
            || Error::state("the state of a limit must be one column of row counts; this is another operator's");
        let [column] = part.rows.columns() else { return Err(foreign()) };
        let counts = column.as_primitive_opt::<UInt64Type>().filter(|counts| counts.null_count() == 0);
        // A smaller limit than before the restart is simply used up.
        if let Some(last) = counts.ok_or_else(foreign)?.values().last() {
            self.passed = (*last).min(self.count);
        }
        Ok(())
    }

    fn save_all(&mut self) -> bool {
        self.is_changed = self.passed > 0;
        true
    }

    /// The count may be another after a restart.
    fn state_identity(&self) -> Option<String> {
        (self.scope == LimitScope::Stream).then(|| "limit of the whole stream".to_string())
    }

    fn take_stats(&mut self) -> OperatorStats {
        let balance = Some(std::mem::take(&mut self.balance));
        if self.scope == LimitScope::Epoch {
            return OperatorStats { balance, ..OperatorStats::default() };
        }
        let updated_rows = u64::from(std::mem::take(&mut self.is_updated));
        OperatorStats { state_rows: Some(1), state_bytes: 8, updated_rows, balance, ..OperatorStats::default() }
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::Int64Array;
    use arrow::datatypes::Int64Type;
    use proptest::prelude::*;

    use super::*;
    use crate::operator::restarts::{self, Subject};
    use crate::protocol::BarrierKind;

    fn batch(values: &[i64]) -> Batch {
        let column: ArrayRef = Arc::new(Int64Array::from(values.to_vec()));
        RecordBatch::try_from_iter([("v", column)]).unwrap().into()
    }

    /// One epoch of these batches.
    fn epoch(limit: &mut Limit, batches: &[&[i64]]) -> Vec<i64> {
        let mut output = Output::default();
        for values in batches {
            assert_eq!(limit.on_batch(0, batch(values), &mut output).unwrap(), Flow::Done);
        }
        let barrier = Barrier { epoch: 0, kind: BarrierKind::Durable, has_data: true };
        assert_eq!(limit.on_barrier(&barrier, &mut output).unwrap(), Flow::Done);
        let out = output.take();
        out.iter().flat_map(|(_, b)| b.records.column(0).as_primitive::<Int64Type>().values().to_vec()).collect()
    }

    #[test]
    fn a_stream_limit_counts_over_epochs() {
        let mut limit = Limit::new(3, LimitScope::Stream);
        assert_eq!(epoch(&mut limit, &[&[1, 2]]), [1, 2]);
        assert_eq!(epoch(&mut limit, &[&[3, 4], &[5]]), [3]);
        assert!(epoch(&mut limit, &[&[6]]).is_empty());
    }

    #[test]
    fn an_epoch_limit_starts_anew_and_has_no_state() {
        let mut limit = Limit::new(2, LimitScope::Epoch);
        assert_eq!(epoch(&mut limit, &[&[1], &[2, 3]]), [1, 2]);
        assert_eq!(epoch(&mut limit, &[&[4]]), [4]);
        assert!(limit.snapshot().unwrap().is_none());
        let stats = limit.take_stats();
        assert_eq!((stats.state_rows, stats.balance), (None, Some(Balance { made: 0, absorbed: 1 })));
    }

    #[test]
    fn no_rows_at_all_is_a_limit_too() {
        assert!(epoch(&mut Limit::new(0, LimitScope::Stream), &[&[1]]).is_empty());
    }

    #[test]
    fn a_restart_goes_on_counting() {
        let mut before = Limit::new(5, LimitScope::Stream);
        let mut after = Limit::new(5, LimitScope::Stream);
        for values in [[1, 2], [3, 4]] {
            epoch(&mut before, &[&values]);
            for (rows, hashes) in before.snapshot().unwrap().unwrap().changed {
                after.restore(StatePart { rows, hashes }).unwrap();
            }
        }
        assert!(before.snapshot().unwrap().unwrap().changed.is_empty(), "nothing changed since");
        assert_eq!(epoch(&mut after, &[&[5, 6]]), [5]);
        assert_eq!(after.take_stats().state_rows, Some(1));
    }

    #[test]
    fn a_restart_with_a_smaller_limit_passes_nothing() {
        let mut before = Limit::new(5, LimitScope::Stream);
        epoch(&mut before, &[&[1, 2, 3]]);
        let (rows, hashes) = before.snapshot().unwrap().unwrap().changed.remove(0);
        let mut after = Limit::new(2, LimitScope::Stream);
        after.restore(StatePart { rows, hashes }).unwrap();
        assert!(epoch(&mut after, &[&[4]]).is_empty());
    }

    #[test]
    fn the_state_of_another_operator_is_refused() {
        let part = StatePart { rows: batch(&[1]).records, hashes: vec![0] };
        let error = Limit::new(1, LimitScope::Stream).restore(part).unwrap_err();
        assert_eq!(error.kind(), crate::error::ErrorKind::State);
    }

    proptest! {
        #[test]
        fn restarts_and_compactions_change_nothing(
            epochs in prop::collection::vec(prop::collection::vec(0..9_i64, 0..6), 1..9),
            limit in 0..30_u64,
            turns in restarts::turns(),
        ) {
            let make = || -> Box<dyn Operator> { Box::new(Limit::new(limit, LimitScope::Stream)) };
            let inputs = vec![batch(&[]).records.schema()];
            let subject = Subject { make: &make, inputs, instances: 1, carries_hashes: false };
            let trial = epochs.iter().map(|values| {
                restarts::Epoch { here: None, rows: vec![(0, batch(values).records, vec![0; values.len()])] }
            });
            restarts::check(&subject, &trial.collect::<Vec<_>>(), &turns);
        }

        #[test]
        fn any_cut_into_batches_gives_the_same_rows(rows in 0..40_i64, limit in 0..40_u64, cut in 1..10_usize) {
            let values: Vec<i64> = (0..rows).collect();
            let batches: Vec<&[i64]> = values.chunks(cut).collect();
            let expected: Vec<i64> = values.iter().copied().take(usize::try_from(limit).unwrap()).collect();
            prop_assert_eq!(epoch(&mut Limit::new(limit, LimitScope::Stream), &batches), expected);
        }
    }
}
