//! The half of an aggregation behind the exchange: partial states in, the result table kept, what its mode shows out.
//!
//! Owns: groups across epochs, which of them an epoch touched, which are not yet in a snapshot. Does not own: what a
//! function computes ([`Accumulator`](super::Accumulator)).
//!
//! | input                       | output                      | state               | late rows         |
//! |-----------------------------|-----------------------------|---------------------|-------------------|
//! | keys, then partial states   | keys, then results, at the  | as the input: a row | dropped by the    |
//! | (or raw rows)               | barrier                     | for each key        | half in front     |
//!
//! | mode     | an epoch shows                      | and frees                    |
//! |----------|-------------------------------------|------------------------------|
//! | Update   | the groups it touched               | groups that are final        |
//! | Complete | all groups, if it had data          | nothing                      |
//! | Append   | groups that are final               | these                        |
//!
//! A group is final when its time, or the end of its window, is not above the watermark; without a watermarked time none is.
//!
//! Without keys there is one group from the first epoch on. Instance 0 shows it in every epoch, with or without rows.

use arrow::datatypes::SchemaRef;

use super::AggregateSpec;
use super::cold::ColdGroups;
use super::groups::{Running, identity};
use super::partial::{describe, one_input};
use super::results::{ResultTables, Shown};
use super::slots::SlottedRows;
use crate::error::{Error, Result};
use crate::operator::{
    Barrier, Batch, EpochTime, Flow, Operator, OperatorContext, OperatorStats, Output, StateBudget, StateDelta,
    StatePart, Watermark,
};
use crate::protocol::OutputMode;
use crate::state::columns_text;

/// Merges partial states by key and shows the result table.
#[derive(Debug, Clone)]
pub struct FinalAggregate {
    spec: AggregateSpec,
    mode: OutputMode,
    input: Input,
    schema: SchemaRef,
    state_schema: SchemaRef,
    instance: usize,
    time: EpochTime,
    /// Whether an epoch has begun.
    is_started: bool,
    running: Running<ResultTables>,
}

/// What arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Input {
    /// What a [`PartialAggregate`](super::PartialAggregate) puts out.
    Partial,
    /// Rows that no one has aggregated.
    Rows,
}

impl FinalAggregate {
    /// The final half of `spec`, showing its results in `mode`.
    pub fn new(spec: AggregateSpec, mode: OutputMode) -> Self {
        Self::over(Input::Partial, spec, mode)
    }

    /// An aggregation without a partial half: it takes the rows themselves, partitioned by key.
    pub(super) fn of_rows(spec: AggregateSpec, mode: OutputMode) -> Self {
        Self::over(Input::Rows, spec, mode)
    }

    fn over(input: Input, spec: AggregateSpec, mode: OutputMode) -> Self {
        let (schema, state_schema) = (spec.output_schema(), spec.partial_schema());
        let (time, running) = (EpochTime::default(), Running::default());
        Self { spec, mode, input, schema, state_schema, instance: 0, time, is_started: false, running }
    }

    fn running(&mut self) -> Result<&mut ResultTables> {
        let spec = &self.spec;
        let results = self.running.get_or_make(|| Ok(ResultTables::new(spec.clone())))?;
        results.settle()?;
        Ok(results)
    }

    fn is_global(&self) -> bool {
        self.spec.keys.is_empty() && self.instance == 0 && self.mode != OutputMode::Append
    }

    /// What the epoch that ends at `barrier` shows of the groups that stay, and of those that are final.
    fn shown(&self, barrier: &Barrier) -> (Shown, Shown) {
        match self.mode {
            OutputMode::Update => (Shown::Touched, Shown::Touched),
            OutputMode::Complete if barrier.has_data || self.is_global() => (Shown::All, Shown::All),
            OutputMode::Complete => (Shown::Nothing, Shown::Nothing),
            OutputMode::Append => (Shown::Nothing, Shown::All),
        }
    }
}

impl Operator for FinalAggregate {
    fn output_schema(&self, inputs: &[SchemaRef]) -> Result<SchemaRef> {
        let input = one_input(inputs)?;
        if self.input == Input::Partial && input.fields().len() != self.state_schema.fields().len() {
            return Err(Error::plan(format!(
                "a final aggregation reads the columns ({}) of its partial half, not ({})",
                columns_text(&self.state_schema),
                columns_text(input)
            )));
        }
        Ok(self.schema.clone())
    }

    fn describe(&self) -> String {
        format!("{}, {}", describe(&self.spec), self.mode)
    }

    fn open(&mut self, context: &OperatorContext) -> Result<()> {
        self.instance = context.instance;
        self.running().map(|_| ())
    }

    fn on_watermark(&mut self, time: EpochTime, _: &mut Output) -> Result<Option<Watermark>> {
        self.time = time;
        let is_first = !std::mem::replace(&mut self.is_started, true);
        if let (true, Some(late)) = (is_first, self.spec.time.and_then(|key| key.late_until(time))) {
            // State that came back may hold groups that were final before the restart.
            self.running()?.forget_until(late)?;
        }
        Ok(time.here)
    }

    fn on_batch(&mut self, _: usize, batch: Batch, output: &mut Output) -> Result<Flow> {
        match self.input {
            Input::Partial => self.running()?.merge(&batch)?,
            // Hashes that came along may be of other columns than the keys.
            Input::Rows => {
                let rows = SlottedRows::evaluate(&self.spec, &batch.records, self.time, output)?;
                self.running()?.update(&rows)?;
            }
        }
        Ok(Flow::Done)
    }

    fn on_barrier(&mut self, barrier: &Barrier, output: &mut Output) -> Result<Flow> {
        let ((staying, leaving), is_global) = (self.shown(barrier), self.is_global());
        let final_until = self.spec.time.and_then(|key| key.final_until(self.time));
        let results = self.running()?;
        if is_global {
            results.touch_global()?;
        }
        results.end_epoch(final_until, staying, leaving)?;
        self.resume(output)
    }

    fn resume(&mut self, output: &mut Output) -> Result<Flow> {
        let schema = self.schema.clone();
        self.running()?.show(&schema, output)
    }

    fn snapshot(&mut self) -> Result<Option<StateDelta>> {
        let schema = self.state_schema.clone();
        self.running()?.snapshot(&schema).map(Some)
    }

    fn restore(&mut self, part: StatePart) -> Result<()> {
        part.check("an aggregation", &self.state_schema, "keys and aggregates")?;
        let spec = &self.spec;
        self.running.get_or_make(|| Ok(ResultTables::new(spec.clone())))?.restore(part)
    }

    fn can_leave_memory(&self) -> bool {
        ColdGroups::can_hold(&self.spec)
    }

    fn limit_memory(&mut self, budget: StateBudget) -> Result<()> {
        self.running()?.limit_memory(budget);
        Ok(())
    }

    fn save_all(&mut self) -> bool {
        self.running().is_ok_and(ResultTables::save_all)
    }

    fn state_identity(&self) -> Option<String> {
        let time = self.spec.time.map(|key| key.identity(&self.spec)).unwrap_or_default();
        Some(format!("aggregation {}{time}", identity(&self.spec)))
    }

    fn uses_watermark(&self) -> bool {
        self.mode != OutputMode::Complete
    }

    fn take_stats(&mut self) -> OperatorStats {
        self.running.get().map_or_else(OperatorStats::default, ResultTables::take_stats)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::Arc;

    use arrow::array::{Array, ArrayRef, AsArray, Int64Array, StringViewArray, UInt32Array};
    use arrow::compute::{concat_batches, take_record_batch};
    use arrow::datatypes::{DataType, Field, Int64Type, Schema};
    use arrow::record_batch::RecordBatch;
    use proptest::prelude::*;

    use super::super::{AggregateCall, NativeFunction, PartialAggregate};
    use super::*;
    use crate::error::ErrorKind;
    use crate::operator::restarts::{self, Subject};
    use crate::operator::{BarrierKind, Expression, ExpressionRef};
    use crate::protocol::key_group::{instance_of, key_group};

    #[derive(Debug)]
    struct Column(usize);

    impl Expression for Column {
        fn evaluate(&self, batch: &RecordBatch, _: EpochTime) -> Result<ArrayRef> {
            Ok(batch.column(self.0).clone())
        }
    }

    /// Count, sum, max of `number` by `keys` of (`word`, `number`).
    fn spec(keys: usize) -> AggregateSpec {
        let call = |name, function| {
            let argument: (ExpressionRef, _) = (Arc::new(Column(1)), DataType::Int64);
            AggregateCall::native(name, function, Some(argument)).unwrap()
        };
        let fields = [Field::new("word", DataType::Utf8View, true), Field::new("number", DataType::Int64, true)];
        AggregateSpec {
            keys: (0..keys).map(|key| Arc::new(Column(key)) as _).collect(),
            key_fields: fields.into_iter().take(keys).map(Arc::new).collect(),
            calls: vec![
                AggregateCall::native("rows", NativeFunction::Count, None).unwrap(),
                call("sum", NativeFunction::Sum),
                call("max", NativeFunction::Max),
            ],
            time: None,
        }
    }

    type Row = (Option<String>, Option<i64>);
    type Results = BTreeMap<Vec<Option<String>>, (i64, Option<i64>, Option<i64>)>;

    fn batch(rows: &[Row]) -> Batch {
        let words: StringViewArray = rows.iter().map(|row| row.0.as_deref()).collect();
        let numbers: Int64Array = rows.iter().map(|row| row.1).collect();
        let columns: [(_, ArrayRef); 2] = [("word", Arc::new(words)), ("number", Arc::new(numbers))];
        RecordBatch::try_from_iter(columns).unwrap().into()
    }

    fn barrier(has_data: bool) -> Barrier {
        Barrier { epoch: 0, kind: BarrierKind::Durable, has_data }
    }

    fn close(operator: &mut impl Operator, has_data: bool) -> Vec<Batch> {
        let mut output = Output::default();
        let mut flow = operator.on_barrier(&barrier(has_data), &mut output).unwrap();
        let mut batches = Vec::new();
        loop {
            batches.extend(output.take().into_iter().map(|(_, batch)| batch));
            if flow == Flow::Done {
                return batches;
            }
            flow = operator.resume(&mut output).unwrap();
        }
    }

    fn feed(operator: &mut impl Operator, batch: Batch) -> Vec<Batch> {
        let mut output = Output::default();
        let mut flow = operator.on_batch(0, batch, &mut output).unwrap();
        let mut batches = Vec::new();
        loop {
            batches.extend(output.take().into_iter().map(|(_, batch)| batch));
            if flow == Flow::Done {
                return batches;
            }
            flow = operator.resume(&mut output).unwrap();
        }
    }

    fn read(batches: &[Batch], keys: usize) -> Results {
        let mut results = Results::new();
        for records in batches.iter().map(|batch| &batch.records) {
            let numbers = |column: usize| records.column(column).as_primitive::<Int64Type>();
            let number = |column: usize, row| numbers(column).is_valid(row).then(|| numbers(column).value(row));
            for row in 0..records.num_rows() {
                let word = |_| {
                    records
                        .column(0)
                        .as_string_view()
                        .is_valid(row)
                        .then(|| records.column(0).as_string_view().value(row).to_string())
                };
                let key =
                    (0..keys).map(|key| if key == 0 { word(key) } else { number(key, row).map(|n| n.to_string()) });
                let value = (numbers(keys).value(row), number(keys + 1, row), number(keys + 2, row));
                assert!(results.insert(key.collect(), value).is_none(), "a key is shown once");
            }
        }
        results
    }

    fn key_of(row: &Row, keys: usize) -> Vec<Option<String>> {
        [row.0.clone(), row.1.map(|number| number.to_string())].into_iter().take(keys).collect()
    }

    fn add(results: &mut Results, row: &Row, keys: usize) {
        let (count, sum, most) = results.entry(key_of(row, keys)).or_default();
        *count += 1;
        if let Some(number) = row.1 {
            *sum = Some(sum.unwrap_or(0) + number);
            *most = Some(most.map_or(number, |most: i64| most.max(number)));
        }
    }

    /// The rows of `batch` whose key group this instance owns.
    fn routed(batch: &Batch, instance: usize, parallelism: usize) -> Batch {
        let hashes = batch.hashes.as_ref().unwrap();
        let rows: Vec<usize> =
            (0..batch.rows()).filter(|&row| instance_of(key_group(hashes[row]), parallelism) == instance).collect();
        let indices = UInt32Array::from(rows.iter().map(|&row| u32::try_from(row).unwrap()).collect::<Vec<_>>());
        let records = take_record_batch(&batch.records, &indices).unwrap();
        Batch { records, hashes: Some(rows.iter().map(|&row| hashes[row]).collect()) }
    }

    /// One epoch of rows; where to cut it; the parallelism after a restart behind it, or none.
    #[derive(Debug, Clone)]
    struct Plan {
        rows: Vec<Row>,
        cut: usize,
        carry_hashes: bool,
        restart: Option<usize>,
        save: bool,
    }

    fn plan() -> impl Strategy<Value = Plan> {
        let word = prop_oneof![Just(None), "[ab]{0,2}".prop_map(Some), "a longer word [ab]{1,2}".prop_map(Some)];
        let row = (word, prop::option::of(-3..3_i64));
        let rows = prop::collection::vec(row, 0..40);
        (rows, 1..20_usize, any::<bool>(), prop::option::of(1..4_usize), any::<bool>())
            .prop_map(|(rows, cut, carry_hashes, restart, save)| Plan { rows, cut, carry_hashes, restart, save })
    }

    fn open(mode: OutputMode, keys: usize, instance: usize) -> FinalAggregate {
        let mut operator = FinalAggregate::new(spec(keys), mode);
        let (name, inputs) = ("count".to_string(), vec![spec(keys).partial_schema()]);
        operator.open(&OperatorContext { name, instance, parallelism: 1, inputs }).unwrap();
        operator
    }

    fn check(mode: OutputMode, keys: usize, epochs: &[Plan]) {
        let mut partials = [PartialAggregate::new(spec(keys)), PartialAggregate::new(spec(keys))];
        let mut finals = vec![open(mode, keys, 0)];
        let (mut oracle, mut saved) = (Results::new(), Vec::<(RecordBatch, Vec<u64>)>::new());
        for epoch in epochs {
            let mut states = Vec::new();
            for (index, rows) in epoch.rows.chunks(epoch.cut).enumerate() {
                states.extend(feed(&mut partials[index % 2], batch(rows)));
            }
            states.extend(partials.iter_mut().flat_map(|partial| close(partial, true)));
            let parallelism = finals.len();
            for (instance, operator) in finals.iter_mut().enumerate() {
                for state in &states {
                    let mut state = routed(state, instance, parallelism);
                    state.hashes = state.hashes.filter(|_| epoch.carry_hashes);
                    assert!(feed(operator, state).is_empty());
                }
            }
            epoch.rows.iter().for_each(|row| add(&mut oracle, row, keys));
            let touched: BTreeSet<_> = epoch.rows.iter().map(|row| key_of(row, keys)).collect();
            if keys == 0 {
                oracle.entry(vec![]).or_default();
            }
            let has_data = !epoch.rows.is_empty();
            let shown: Vec<Batch> = finals.iter_mut().flat_map(|operator| close(operator, has_data)).collect();
            let mut expected = oracle.clone();
            match mode {
                OutputMode::Update => expected.retain(|key, _| keys == 0 || touched.contains(key)),
                OutputMode::Complete => expected.retain(|_, _| keys == 0 || has_data),
                OutputMode::Append => expected.clear(),
            }
            assert_eq!(read(&shown, keys), expected);
            if epoch.save || epoch.restart.is_some() {
                let deltas = finals.iter_mut().map(|operator| operator.snapshot().unwrap().unwrap());
                saved.extend(deltas.flat_map(|delta| delta.changed));
            }
            if let Some(parallelism) = epoch.restart {
                let parallelism = if keys == 0 { 1 } else { parallelism };
                finals = (0..parallelism).map(|instance| restored(mode, keys, instance, parallelism, &saved)).collect();
            }
            let rows: u64 = finals
                .iter_mut()
                .map(|operator| {
                    operator.running().unwrap();
                    operator.take_stats().state_rows.unwrap()
                })
                .sum();
            assert_eq!(rows, oracle.len() as u64);
        }
    }

    fn restored(
        mode: OutputMode,
        keys: usize,
        instance: usize,
        parallelism: usize,
        saved: &[(RecordBatch, Vec<u64>)],
    ) -> FinalAggregate {
        let mut operator = open(mode, keys, instance);
        for (records, hashes) in saved {
            let all = Batch { records: records.clone(), hashes: Some(hashes.as_slice().into()) };
            let own = routed(&all, instance, parallelism);
            let hashes = own.hashes.unwrap().to_vec();
            operator.restore(StatePart { rows: own.records, hashes }).unwrap();
        }
        operator
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]

        #[test]
        fn every_mode_shows_what_a_map_of_all_rows_shows_whatever_is_cut_or_restarted(
            epochs in prop::collection::vec(plan(), 1..6),
            keys in 0..3_usize,
        ) {
            let mode = if keys == 0 { OutputMode::Complete } else { OutputMode::Append };
            for mode in [OutputMode::Update, OutputMode::Complete, mode] {
                check(mode, keys, &epochs);
            }
        }
    }

    /// What the half behind the exchange gets in each epoch.
    fn exchanged(keys: usize, epochs: &[Plan]) -> Vec<restarts::Epoch> {
        let mut partial = PartialAggregate::new(spec(keys));
        let of = |epoch: &Plan| {
            let mut states: Vec<Batch> =
                epoch.rows.chunks(epoch.cut).flat_map(|rows| feed(&mut partial, batch(rows))).collect();
            states.extend(close(&mut partial, true));
            let rows = states.into_iter().map(|state| (0, state.records, state.hashes.unwrap().to_vec()));
            restarts::Epoch { here: None, rows: rows.collect() }
        };
        epochs.iter().map(of).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]

        #[test]
        fn restarts_at_other_parallelisms_and_compactions_change_nothing(
            epochs in prop::collection::vec(plan(), 1..8),
            keys in 0..3_usize,
            turns in restarts::turns(),
        ) {
            let trial = exchanged(keys, &epochs);
            for mode in [OutputMode::Update, OutputMode::Complete] {
                let make = || -> Box<dyn Operator> { Box::new(FinalAggregate::new(spec(keys), mode)) };
                let inputs = vec![spec(keys).partial_schema()];
                let subject = Subject { make: &make, inputs, instances: 3, carries_hashes: false };
                restarts::check(&subject, &trial, &turns);
            }
        }
    }

    fn row(word: &str, number: i64) -> Row {
        (Some(word.to_string()), Some(number))
    }

    fn partial(keys: usize, rows: &[Row]) -> Batch {
        let mut operator = PartialAggregate::new(spec(keys));
        feed(&mut operator, batch(rows));
        close(&mut operator, true).remove(0)
    }

    #[test]
    fn a_global_aggregation_shows_its_row_before_any_input_and_only_in_instance_0() {
        for mode in [OutputMode::Update, OutputMode::Complete] {
            let mut first = open(mode, 0, 0);
            for _ in 0..2 {
                let shown = read(&close(&mut first, false), 0);
                assert_eq!(shown, Results::from([(vec![], (0, None, None))]));
            }
            assert!(close(&mut open(mode, 0, 1), false).is_empty());
        }
    }

    #[test]
    fn a_snapshot_holds_only_what_changed_and_the_last_row_of_a_key_counts() {
        let mut operator = open(OutputMode::Update, 1, 0);
        feed(&mut operator, partial(1, &[row("a", 1), row("b", 2)]));
        close(&mut operator, true);
        let first = operator.snapshot().unwrap().unwrap().changed;
        feed(&mut operator, partial(1, &[row("a", 5)]));
        close(&mut operator, true);
        let second = operator.snapshot().unwrap().unwrap().changed;
        assert_eq!((first[0].0.num_rows(), second[0].0.num_rows()), (2, 1));
        assert!(operator.snapshot().unwrap().unwrap().changed.is_empty());

        // The same rows, once as two parts and once as one.
        let together = concat_batches(first[0].0.schema_ref(), [&first[0].0, &second[0].0]).unwrap();
        let hashes = [first[0].1.clone(), second[0].1.clone()].concat();
        let expected = Results::from([
            (vec![Some("a".to_string())], (2, Some(6), Some(5))),
            (vec![Some("b".to_string())], (1, Some(2), Some(2))),
        ]);
        for saved in [[first, second].concat(), vec![(together, hashes)]] {
            let mut operator = restored(OutputMode::Complete, 1, 0, 1, &saved);
            assert_eq!(read(&close(&mut operator, true), 1), expected);
            assert!(operator.snapshot().unwrap().unwrap().changed.is_empty(), "what came back is saved");
        }
    }

    #[test]
    fn large_results_pause_while_the_output_is_full() {
        let rows: Vec<Row> = (0..50_000).map(|n| row(&n.to_string(), n)).collect();
        let mut operator = open(OutputMode::Complete, 1, 0);
        let mut sender = PartialAggregate::new(spec(1));
        let mut states = feed(&mut sender, batch(&rows));
        states.extend(close(&mut sender, true));
        for state in states {
            feed(&mut operator, state);
        }
        let mut output = Output::default();
        let mut flow = operator.on_barrier(&barrier(true), &mut output).unwrap();
        let mut rounds = vec![output.take().len()];
        while flow == Flow::More {
            flow = operator.resume(&mut output).unwrap();
            rounds.push(output.take().len());
        }
        assert_eq!(rounds, [4, 3]);
        let counts = operator.take_stats();
        assert_eq!((counts.state_rows, counts.updated_rows), (Some(50_000), 50_000));
        assert!(counts.state_bytes > 50_000 * 40);
        assert_eq!(operator.take_stats().updated_rows, 0);
    }

    #[test]
    fn keys_without_calls_are_shown_once_each() {
        let spec = AggregateSpec { calls: vec![], ..spec(1) };
        let mut partial = PartialAggregate::new(spec.clone());
        let mut last = FinalAggregate::new(spec, OutputMode::Update);
        feed(&mut partial, batch(&[row("a", 1), row("b", 1), row("a", 1)]));
        for state in close(&mut partial, true) {
            feed(&mut last, state);
        }
        let shown = close(&mut last, true);
        assert_eq!(shown[0].records.column(0).as_ref(), &StringViewArray::from(vec!["a", "b"]) as &dyn Array);
    }

    #[test]
    fn state_of_another_aggregation_is_refused_by_its_columns() {
        let part = StatePart { rows: partial(1, &[row("a", 1)]).records, hashes: vec![1] };
        let error = open(OutputMode::Update, 2, 0).restore(part).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::State);
        assert!(error.message().contains("word Utf8View, count Int64"), "{error}");
    }

    #[test]
    fn the_schema_is_keys_and_results() {
        let operator = FinalAggregate::new(spec(1), OutputMode::Update);
        let schema = operator.output_schema(&[spec(1).partial_schema()]).unwrap();
        let names: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        assert_eq!(names, ["word", "rows", "sum", "max"]);
        assert!(operator.output_schema(&[Arc::new(Schema::empty())]).is_err());
        assert_eq!(operator.describe(), "by word: rows, sum, max, update");
    }
}
