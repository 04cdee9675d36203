use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Int64Array, StringViewArray, StructArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{Field, Fields, Int64Type, SchemaRef};
use arrow::record_batch::RecordBatch;
use proptest::prelude::*;

use super::*;
use crate::error::ErrorKind;
use crate::operator::restarts::{self, Subject};
use crate::operator::{
    Barrier, BarrierKind, Batch, Checked, ColdStore, EpochTime, Flow, MapStore, Operator, OperatorContext, StateBudget,
    StateDelta, StatePart, Watermark,
};
use crate::protocol::key_group::hash_rows;

/// A key, an event time in microseconds, and a number that tells rows apart.
type Row = (&'static str, Option<i64>, i64);

const KEY: usize = 0;
const TIME: usize = 1;
const SECOND: i64 = 1_000_000;

fn instants(times: &[Option<i64>]) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from(times.to_vec()).with_timezone("UTC"))
}

/// Windows of five seconds with these ends.
fn windows(ends: &[Option<i64>]) -> ArrayRef {
    let starts: Vec<_> = ends.iter().map(|end| end.map(|end| end.saturating_sub(5 * SECOND))).collect();
    let columns = vec![instants(&starts), instants(ends)];
    let fields: Fields =
        ["start", "end"].map(|name| Field::new(name, columns[0].data_type().clone(), true)).to_vec().into();
    let nulls = ends.iter().map(Option::is_some).collect();
    Arc::new(StructArray::new(fields, columns, Some(nulls)))
}

fn batch_of(times: impl Fn(&[Option<i64>]) -> ArrayRef, rows: &[Row]) -> RecordBatch {
    let keys: ArrayRef = Arc::new(rows.iter().map(|row| Some(row.0)).collect::<StringViewArray>());
    let times = times(&rows.iter().map(|row| row.1).collect::<Vec<_>>());
    let numbers: ArrayRef = Arc::new(rows.iter().map(|row| row.2).collect::<Int64Array>());
    RecordBatch::try_from_iter_with_nullable([("word", keys, true), ("t", times, true), ("n", numbers, true)]).unwrap()
}

fn batch(rows: &[Row]) -> RecordBatch {
    batch_of(instants, rows)
}

/// An operator that is run epoch by epoch.
struct Run {
    operator: Checked,
    epoch: u64,
    evict_ms: i64,
    /// What it may hold, in bytes.
    budget: Option<usize>,
}

/// What one epoch did.
#[derive(Debug, Default, PartialEq, Eq)]
struct Shown {
    /// The numbers of the rows that passed.
    passed: Vec<i64>,
    late: u64,
    duplicates: u64,
    state_rows: u64,
    updated_rows: u64,
    removed_rows: u64,
}

impl Run {
    fn new(operator: impl Operator, schema: SchemaRef) -> Self {
        let mut operator = Checked::new("dedup".into(), Box::new(operator), std::slice::from_ref(&schema)).unwrap();
        let name = "dedup".to_string();
        operator.open(&OperatorContext { name, instance: 0, parallelism: 1, inputs: vec![schema] }).unwrap();
        Self { operator, epoch: 0, evict_ms: 0, budget: None }
    }

    /// The same with a budget, if there is one.
    fn limited(self, budget: Option<usize>) -> Self {
        match budget {
            Some(bytes) => self.limited_in(bytes, Box::<MapStore>::default()),
            None => self,
        }
    }

    fn limited_in(mut self, bytes: usize, store: Box<dyn ColdStore>) -> Self {
        assert!(self.operator.can_leave_memory());
        self.operator.limit_memory(StateBudget { bytes, store }).unwrap();
        Self { budget: Some(bytes), ..self }
    }

    /// One that goes on where `self` stands, with the state of these snapshots.
    fn restarted(&self, operator: impl Operator, schema: SchemaRef, snapshots: &[StateDelta]) -> Self {
        let new = Self::new(operator, schema).limited(self.budget);
        let mut run = Self { epoch: self.epoch, evict_ms: self.evict_ms, ..new };
        for (rows, hashes) in snapshots.iter().flat_map(|delta| delta.changed.iter().cloned()) {
            run.operator.restore(StatePart { rows, hashes }).unwrap();
        }
        run
    }

    /// One durable epoch that frees up to `evict_ms` and judges by what the one before freed up to.
    fn epoch(&mut self, evict_ms: i64, batches: &[RecordBatch]) -> Shown {
        let watermark = Watermark { late_ms: self.evict_ms, evict_ms };
        self.evict_ms = evict_ms;
        self.epoch_at(Some(watermark), batches)
    }

    fn epoch_at(&mut self, here: Option<Watermark>, batches: &[RecordBatch]) -> Shown {
        self.try_epoch(here, batches.iter().cloned().map(Batch::from).collect(), BarrierKind::Durable)
    }

    fn try_epoch(&mut self, here: Option<Watermark>, batches: Vec<Batch>, kind: BarrierKind) -> Shown {
        let mut output = Output::default();
        let answer = self.operator.on_watermark(EpochTime { here, ..EpochTime::default() }, &mut output).unwrap();
        assert_eq!(answer, here);
        let rows_in: usize = batches.iter().map(Batch::rows).sum();
        for batch in batches {
            assert_eq!(self.operator.on_batch(0, batch, &mut output).unwrap(), Flow::Done);
        }
        let barrier = Barrier { epoch: self.epoch, kind, has_data: true };
        assert_eq!(self.operator.on_barrier(&barrier, &mut output).unwrap(), Flow::Done);
        self.epoch += 1;
        self.shown(rows_in, &mut output)
    }

    fn shown(&mut self, rows_in: usize, output: &mut Output) -> Shown {
        let passed: Vec<i64> = output.take_batches().iter().flat_map(numbers).collect();
        let (counts, rows) = output.take_dropped();
        let count = |wanted| counts.iter().filter(|(reason, _)| *reason == wanted).map(|(_, count)| count).sum();
        let (late, duplicates): (u64, u64) = (count(reason::LATE), count(reason::DUPLICATE));
        assert_eq!(rows.iter().map(|rows| rows.records.num_rows() as u64).sum::<u64>(), late);
        assert_eq!(rows_in as u64, passed.len() as u64 + late + duplicates);
        let stats = self.operator.take_stats();
        assert!(stats.drops_duplicates && stats.balance == Some(Balance::default()));
        let (updated_rows, removed_rows) = (stats.updated_rows, stats.removed_rows);
        assert_eq!(stats.rows_outside.is_some(), self.budget.is_some());
        assert!(stats.rows_outside <= stats.state_rows);
        Shown { passed, late, duplicates, state_rows: stats.state_rows.unwrap(), updated_rows, removed_rows }
    }

    fn snapshot(&mut self) -> StateDelta {
        self.operator.snapshot().unwrap().unwrap()
    }
}

fn numbers(batch: &RecordBatch) -> Vec<i64> {
    batch.column(batch.num_columns() - 1).as_primitive::<Int64Type>().values().to_vec()
}

fn saved_rows(delta: &StateDelta) -> usize {
    delta.changed.iter().map(|(rows, _)| rows.num_rows()).sum()
}

/// Rows are equal in word and time.
fn by_word_and_time() -> Run {
    Run::new(Deduplicate::new(vec![KEY, TIME], Some(TIME), true), batch(&[]).schema())
}

/// Rows are equal in their word for two seconds.
fn within_two_seconds() -> Run {
    Run::new(within(), batch(&[]).schema())
}

fn within() -> DeduplicateWithin {
    DeduplicateWithin::new(vec![KEY], TIME, Duration::from_secs(2))
}

#[test]
fn the_first_row_of_a_key_passes_unchanged_and_in_order_and_duplicates_are_counted() {
    let mut run = Run::new(Deduplicate::new(vec![KEY], None, true), batch(&[]).schema());
    let first = [("a", None, 1), ("b", None, 2), ("a", None, 3), ("c", None, 4)];
    let shown = run.epoch(0, &[batch(&first), batch(&[("b", None, 5), ("d", None, 6)])]);
    let expected =
        Shown { passed: vec![1, 2, 4, 6], duplicates: 2, state_rows: 4, updated_rows: 4, ..Shown::default() };
    assert_eq!(shown, expected);
    let shown = run.epoch(i64::MAX / 1000, &[batch(&[("a", None, 7), ("e", None, 8)])]);
    let expected = Shown { passed: vec![8], duplicates: 1, state_rows: 5, updated_rows: 1, ..Shown::default() };
    assert_eq!(shown, expected);
}

#[test]
fn a_batch_that_passes_whole_is_not_copied() {
    let rows = batch(&[("a", None, 1), ("b", None, 2)]);
    let mut operator = Deduplicate::new(vec![KEY], None, true);
    let (name, inputs) = (String::new(), vec![rows.schema()]);
    operator.open(&OperatorContext { name, instance: 0, parallelism: 1, inputs }).unwrap();
    let mut output = Output::default();
    assert_eq!(operator.on_batch(0, rows.clone().into(), &mut output).unwrap(), Flow::Done);
    let out = output.take_batches().remove(0);
    assert!(out.column(0).to_data().ptr_eq(&rows.column(0).to_data()));
}

#[test]
fn nulls_are_one_key_as_are_zeros_and_as_are_nans() {
    let values = [None, Some(0.0), Some(f64::NAN), None, Some(-0.0), Some(-f64::NAN), Some(1.0)];
    let floats: ArrayRef = Arc::new(values.into_iter().collect::<Float64Array>());
    let numbers: ArrayRef = Arc::new((1..8).collect::<Int64Array>());
    let rows = RecordBatch::try_from_iter_with_nullable([("f", floats, true), ("n", numbers, true)]).unwrap();
    let mut run = Run::new(Deduplicate::new(vec![0], None, true), rows.schema());
    assert_eq!(run.epoch(0, &[rows]).passed, [1, 2, 3, 7]);
}

#[test]
fn without_key_columns_one_row_passes() {
    let mut run = Run::new(Deduplicate::new(vec![], None, true), batch(&[]).schema());
    assert_eq!(run.epoch(0, &[batch(&[("a", None, 1), ("b", None, 2)])]).passed, [1]);
    assert_eq!((saved_rows(&run.snapshot()), run.epoch(0, &[batch(&[("a", None, 3)])]).duplicates), (1, 1));
}

/// Rows at a watermark of 10 s: the time, whether the row is late, whether its key is still there afterwards.
const BOUNDARIES: [(i64, bool, bool); 7] = [
    (10 * SECOND - 1000, true, false),
    (10 * SECOND - 1, true, false),
    (10 * SECOND, true, false),
    (10 * SECOND + 1, false, false),
    (11 * SECOND - 1, false, false),
    (11 * SECOND, false, false),
    (11 * SECOND + 1, false, true),
];

#[test]
fn a_row_is_late_and_a_key_final_at_the_watermark_and_not_a_microsecond_later() {
    for times in [instants as fn(&[Option<i64>]) -> ArrayRef, windows] {
        for (time, is_late, is_kept) in BOUNDARIES {
            let rows = batch_of(times, &[("a", Some(time), 1)]);
            for keys in [vec![KEY, TIME], vec![TIME]] {
                let mut run = Run::new(Deduplicate::new(keys, Some(TIME), true), rows.schema());
                let shown =
                    run.epoch_at(Some(Watermark { late_ms: 10_000, evict_ms: 11_000 }), std::slice::from_ref(&rows));
                let expected = Shown {
                    passed: if is_late { vec![] } else { vec![1] },
                    late: u64::from(is_late),
                    state_rows: u64::from(is_kept),
                    updated_rows: u64::from(!is_late),
                    removed_rows: u64::from(!is_late && !is_kept),
                    ..Shown::default()
                };
                assert_eq!(shown, expected, "{time}");
            }
        }
    }
}

#[test]
fn late_rows_are_shown_with_the_times_and_the_watermark_they_were_judged_by() {
    for (times, data) in [(instants as fn(&[Option<i64>]) -> ArrayRef, "instants"), (windows, "windows")] {
        let rows = batch_of(times, &[("a", Some(12_000), 1), ("a", Some(10_000), 2), ("b", None, 3)]);
        let mut run = Run::new(Deduplicate::new(vec![KEY], Some(TIME), true), rows.schema());
        let here = Some(Watermark { late_ms: 10, evict_ms: 10 });
        run.operator.on_watermark(EpochTime { here, ..EpochTime::default() }, &mut Output::default()).unwrap();
        let mut output = Output::default();
        assert_eq!(run.operator.on_batch(0, rows.into(), &mut output).unwrap(), Flow::Done);
        assert_eq!(output.take_batches().iter().flat_map(numbers).collect::<Vec<_>>(), [1, 3], "{data}");
        let (counts, dropped) = output.take_dropped();
        assert_eq!(counts, [(reason::LATE, 1)]);
        let late = &dropped[0];
        assert_eq!((late.reason, late.watermark_ms, numbers(&late.records)), (reason::LATE, Some(10), vec![2]));
        assert_eq!(late.times.as_ref().unwrap().values().as_ref(), [10_000]);
    }
}

#[test]
fn rows_are_judged_late_also_when_the_event_time_is_no_key_but_then_no_key_is_freed() {
    let mut run = Run::new(Deduplicate::new(vec![KEY], Some(TIME), true), batch(&[]).schema());
    run.epoch(5, &[batch(&[("a", Some(1000), 1)])]);
    let shown = run.epoch(9, &[batch(&[("b", Some(5000), 2), ("a", Some(5001), 3), ("c", None, 4)])]);
    let expected =
        Shown { passed: vec![4], late: 1, duplicates: 1, state_rows: 2, updated_rows: 1, ..Shown::default() };
    assert_eq!(shown, expected);
    assert_eq!(run.operator.describe(), "by word");
}

#[test]
fn at_watermark_0_times_up_to_1970_are_late() {
    let shown = by_word_and_time().epoch(0, &[batch(&[("a", Some(0), 1), ("b", Some(-1), 2), ("c", Some(1), 3)])]);
    assert_eq!((shown.passed, shown.late), (vec![3], 2));
}

#[test]
fn without_watermark_nothing_is_late_and_nothing_freed() {
    let rows = [batch(&[("a", Some(-SECOND), 1), ("b", Some(0), 2)])];
    for mut run in [by_word_and_time(), within_two_seconds()] {
        let shown = run.epoch_at(None, &rows);
        assert_eq!((shown.passed, shown.state_rows), (vec![1, 2], 2));
    }
}

#[test]
fn an_operator_that_does_not_judge_drops_and_frees_nothing() {
    let operator = Deduplicate::new(vec![KEY, TIME], Some(TIME), false);
    assert!(!operator.uses_watermark());
    let mut run = Run::new(operator, batch(&[]).schema());
    for (number, duplicates) in [(1, 0), (2, 1)] {
        let shown = run.epoch(90_000, &[batch(&[("a", Some(SECOND), number)])]);
        assert_eq!((shown.late, shown.duplicates, shown.state_rows), (0, duplicates, 1));
    }
    assert_eq!(run.operator.describe(), "by word, t");
}

#[test]
fn keys_of_null_times_are_never_late_and_never_freed() {
    for times in [instants as fn(&[Option<i64>]) -> ArrayRef, windows] {
        let rows = |number| batch_of(times, &[("a", None, number), ("a", Some(SECOND + number), number + 10)]);
        let mut run = Run::new(Deduplicate::new(vec![KEY, TIME], Some(TIME), true), rows(0).schema());
        assert_eq!(run.epoch(90_000, &[rows(1)]).passed, [1, 11]);
        let shown = run.epoch(95_000, &[rows(2)]);
        assert_eq!((shown.late, shown.duplicates, shown.state_rows, shown.removed_rows), (1, 1, 1, 0));
    }
}

#[test]
fn within_an_epoch_a_final_key_still_stops_its_duplicates() {
    let rows = batch(&[("a", Some(SECOND), 1)]);
    let shown = by_word_and_time().epoch(5000, &[rows.clone(), rows.clone()]);
    let expected = Shown { passed: vec![1], duplicates: 1, updated_rows: 1, removed_rows: 1, ..Shown::default() };
    assert_eq!(shown, expected);
    assert_eq!(within_two_seconds().epoch(5000, &[rows.clone(), rows]), expected);
}

#[test]
fn times_at_the_ends_of_the_range_are_kept_apart() {
    let times = [i64::MIN, i64::MIN + 1, i64::MAX - 1, i64::MAX, -1, 0];
    let rows: Vec<Row> = times.iter().zip(0..).map(|(time, number)| ("a", Some(*time), number)).collect();
    for kind in [instants as fn(&[Option<i64>]) -> ArrayRef, windows] {
        let rows = batch_of(kind, &rows);
        let mut run = Run::new(Deduplicate::new(vec![KEY, TIME], Some(TIME), true), rows.schema());
        let shown = run.epoch_at(None, &[rows.clone(), rows.clone()]);
        assert_eq!((shown.passed.len(), shown.duplicates), (6, 6));
        let watermark = |ms| Some(Watermark { late_ms: ms, evict_ms: ms });
        assert_eq!(run.epoch_at(watermark(0), &[]).removed_rows, 4);
        let last = run.epoch_at(watermark(i64::MAX), &[rows]);
        assert_eq!((last.late, last.state_rows), (6, 0));
    }
}

#[test]
fn a_key_expires_a_delay_after_its_first_row_and_duplicates_do_not_put_that_off() {
    let mut run = within_two_seconds();
    let second = |word, seconds: i64, number| batch(&[(word, Some(seconds * SECOND), number)]);
    assert_eq!(run.epoch(0, &[second("a", 10, 1), second("a", 9, 2), second("b", 11, 3)]).passed, [1, 3]);
    let shown = run.epoch(11_999, &[second("a", 11, 4)]);
    assert_eq!((shown.duplicates, shown.state_rows, shown.removed_rows), (1, 2, 0));
    let shown = run.epoch(12_000, &[second("a", 13, 5)]);
    assert_eq!((shown.duplicates, shown.state_rows, shown.removed_rows), (1, 1, 1));
    let shown = run.epoch(12_000, &[second("a", 13, 6), second("b", 14, 7)]);
    assert_eq!((shown.passed, shown.duplicates, shown.state_rows), (vec![6], 1, 2));
    let shown = run.epoch(15_000, &[]);
    assert_eq!((shown.state_rows, shown.removed_rows), (0, 2));
}

#[test]
fn an_expiry_is_reached_at_its_microsecond_and_not_before() {
    for (time, is_gone) in
        [(8 * SECOND - 1000, true), (8 * SECOND - 1, true), (8 * SECOND, true), (8 * SECOND + 1, false)]
    {
        let mut run = within_two_seconds();
        let shown = run.epoch(10_000, &[batch(&[("a", Some(time), 1)])]);
        assert_eq!(shown.removed_rows, u64::from(is_gone), "{time}");
        let shown = run.epoch(10_000, &[batch(&[("a", Some(11 * SECOND), 2)])]);
        assert_eq!(shown.passed.len(), usize::from(is_gone), "{time}");
    }
}

#[test]
fn rows_within_a_delay_are_judged_late_by_the_same_boundary() {
    for (time, is_late, _) in BOUNDARIES {
        let mut run = within_two_seconds();
        let here = Some(Watermark { late_ms: 10_000, evict_ms: 11_000 });
        assert_eq!(run.epoch_at(here, &[batch(&[("a", Some(time), 1)])]).late, u64::from(is_late), "{time}");
    }
}

#[test]
fn a_null_time_counts_as_1970_for_the_expiry_and_is_never_late() {
    let mut run = within_two_seconds();
    let nulls = |number| batch(&[("a", None, number), ("a", None, number + 1)]);
    assert_eq!(run.epoch(1999, &[nulls(1)]).state_rows, 1);
    let shown = run.epoch(2000, &[nulls(3)]);
    assert_eq!((shown.duplicates, shown.removed_rows), (2, 1));
    // It has expired before it comes, but stops duplicates until the epoch ends.
    let shown = run.epoch(2000, &[nulls(5)]);
    assert_eq!((shown.passed, shown.late, shown.duplicates, shown.removed_rows), (vec![5], 0, 1, 1));
}

#[test]
fn a_window_within_a_delay_counts_by_its_end() {
    let rows = |end: i64, number| batch_of(windows, &[("a", Some(end * SECOND), number)]);
    let mut run = Run::new(within(), rows(0, 0).schema());
    assert_eq!(run.epoch(10_000, &[rows(10, 1)]).passed, [1]);
    let shown = run.epoch(12_000, &[rows(10, 2), rows(11, 3)]);
    assert_eq!((shown.late, shown.duplicates, shown.removed_rows), (1, 1, 1));
}

#[test]
fn hashes_that_come_with_rows_are_believed_only_if_they_are_said_to_be_of_the_keys() {
    let rows = batch(&[("late", Some(0), 0), ("a", Some(1), 1), ("b", Some(1), 2), ("a", Some(1), 3)]);
    let own = hash_rows(&rows.columns()[..1]);
    let other = hash_rows(&rows.columns()[2..]);
    let operator = || Deduplicate::new(vec![KEY], Some(TIME), true);
    for (operator, hashes) in [(operator().with_exchanged_keys(), own.clone()), (operator(), other)] {
        let mut run = Run::new(operator, rows.schema());
        let batch = Batch { records: rows.clone(), hashes: Some(hashes.into()) };
        let shown = run.try_epoch(Some(Watermark::default()), vec![batch], BarrierKind::Durable);
        assert_eq!((shown.passed, shown.late, shown.duplicates), (vec![1, 2], 1, 1));
        assert_eq!(run.snapshot().changed[0].1, own[1..3]);
    }
    let schema = rows.schema();
    let batch = Batch { records: rows, hashes: Some(own.into()) };
    let mut run = Run::new(within().with_exchanged_keys(), schema);
    assert_eq!(run.try_epoch(None, vec![batch], BarrierKind::Light).passed, [0, 1, 2]);
}

#[test]
fn columns_that_do_not_fit_are_refused_by_name() {
    let schema = batch(&[]).schema();
    let message = |operator: &dyn Operator| {
        let error = operator.output_schema(std::slice::from_ref(&schema)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Plan);
        error.message().to_string()
    };
    let delay = Duration::from_secs(1);
    for (error, about) in [
        (message(&Deduplicate::new(vec![0, 3], None, true)), "column 3 is the key of drop_duplicates"),
        (message(&Deduplicate::new(vec![0], Some(7), true)), "only 3: word, t, n"),
        (message(&Deduplicate::new(vec![0], Some(2), true)), "`n` is BIGINT"),
        (message(&DeduplicateWithin::new(vec![0], 0, delay)), "`word` is STRING"),
        (message(&DeduplicateWithin::new(vec![9], 1, delay)), "column 9"),
    ] {
        assert!(error.contains(about), "{error}");
    }
    assert!(within().output_schema(&[schema.clone(), schema.clone()]).is_err());
    assert_eq!(within().output_schema(std::slice::from_ref(&schema)).unwrap(), schema);
}

#[test]
fn operators_say_what_they_do() {
    let schema = batch(&[]).schema();
    let dedup = Deduplicate::new(vec![KEY, TIME], Some(TIME), true);
    assert_eq!(dedup.describe(), "by column 0, column 1; freed when column 1 is final");
    dedup.output_schema(std::slice::from_ref(&schema)).unwrap();
    assert_eq!(dedup.describe(), "by word, t; freed when t is final");
    assert!(dedup.uses_watermark() && within().uses_watermark());
    assert_eq!(within_two_seconds().operator.describe(), "by word within 2 seconds of the first");
}

#[test]
fn a_snapshot_holds_what_is_new_and_a_restart_goes_on() {
    let operator = || Deduplicate::new(vec![KEY, TIME], Some(TIME), true);
    let mut run = by_word_and_time();
    let rows = batch(&[("a", Some(SECOND), 1), ("b", Some(100 * SECOND), 2), ("c", None, 3)]);
    run.epoch(0, std::slice::from_ref(&rows));
    let first = run.snapshot();
    run.epoch(50_000, &[batch(&[("a", Some(60 * SECOND), 4), ("a", Some(SECOND), 5)])]);
    let second = run.snapshot();
    run.epoch(50_000, &[]);
    assert!(run.snapshot().changed.is_empty());
    assert_eq!((saved_rows(&first), saved_rows(&second), first.changed.len()), (3, 1, 1));

    let mut after = run.restarted(operator(), rows.schema(), &[first, second]);
    let shown = after.epoch(50_000, &[rows, batch(&[("a", Some(60 * SECOND), 6), ("d", None, 7)])]);
    let expected =
        Shown { passed: vec![7], late: 1, duplicates: 3, state_rows: 4, updated_rows: 1, ..Shown::default() };
    assert_eq!(shown, expected);
    assert_eq!(saved_rows(&after.snapshot()), 1, "what came back is saved");
}

#[test]
fn a_restart_forgets_expired_keys_and_the_last_expiry_of_a_key_counts() {
    let mut run = within_two_seconds();
    let rows = |seconds: i64| batch(&[("a", Some(seconds * SECOND), seconds), ("b", Some(9 * SECOND), 100)]);
    run.epoch(0, &[rows(1)]);
    let first = run.snapshot();
    run.epoch(4000, &[]);
    run.epoch(4000, &[rows(8)]);
    let second = run.snapshot();
    assert_eq!((saved_rows(&first), saved_rows(&second)), (2, 1));
    let schema = rows(0).schema();
    assert_eq!(first.changed[0].0.schema().field(1).name(), "expires_at");

    let mut both = run.restarted(within(), schema.clone(), &[first.clone(), second.clone()]);
    let shown = both.epoch(10_000, &[rows(9)]);
    assert_eq!((shown.duplicates, shown.state_rows, shown.removed_rows), (2, 1, 1));
    let mut only_first = run.restarted(within(), schema.clone(), &[first]);
    let shown = only_first.epoch(10_000, &[rows(9)]);
    assert_eq!((shown.passed, shown.state_rows, shown.removed_rows), (vec![9], 2, 0));
    let mut only_second = run.restarted(within(), schema, &[second]);
    assert_eq!(only_second.epoch(10_000, &[rows(9)]).passed, [100]);
}

#[test]
fn state_of_other_keys_is_refused_by_its_columns() {
    let mut run = by_word_and_time();
    run.epoch(0, &[batch(&[("a", Some(1), 1)])]);
    let (rows, hashes) = run.snapshot().changed.remove(0);
    let schema = batch(&[]).schema();
    let others: [Box<dyn Operator>; 2] = [Box::new(Deduplicate::new(vec![KEY], None, true)), Box::new(within())];
    for (mut other, is_fit) in others.into_iter().zip([false, true]) {
        let (name, inputs) = (String::new(), vec![schema.clone()]);
        other.open(&OperatorContext { name, instance: 0, parallelism: 1, inputs }).unwrap();
        // A time among the keys has the form of an expiry: the kinds of operators are told apart by the plan.
        let restored = other.restore(StatePart { rows: rows.clone(), hashes: hashes.clone() });
        assert_eq!(restored.is_ok(), is_fit);
        if let Err(error) = restored {
            assert_eq!(error.kind(), ErrorKind::State);
            assert!(error.message().contains("word Utf8View"), "{error}");
        }
        assert!(other.restore(StatePart { rows: rows.clone(), hashes: vec![] }).is_err());
    }
}

#[test]
fn a_clone_has_seen_nothing() {
    let rows = batch(&[("a", Some(1), 1)]);
    let mut operator = within();
    let (name, inputs) = (String::new(), vec![rows.schema()]);
    let context = OperatorContext { name, instance: 0, parallelism: 1, inputs };
    for _ in 0..2 {
        operator.open(&context).unwrap();
        let mut output = Output::default();
        assert_eq!(operator.on_batch(0, rows.clone().into(), &mut output).unwrap(), Flow::Done);
        assert_eq!(output.take_batches().len(), 1);
        operator = operator.clone();
    }
    assert!(operator.on_batch(0, rows.into(), &mut Output::default()).is_err(), "it is not open");
}

/// Runs epochs of a second, with 5000 keys each that are of the last three, and gives the rows and bytes of state after
/// each.
fn sizes(run: &mut Run, epochs: i64) -> Vec<(u64, u64)> {
    let words: Vec<&'static str> =
        (0..5000).map(|n| &*Box::leak(format!("a word of some length {n}").into())).collect();
    let rows = |epoch: i64| {
        let time = |n: i64| Some((epoch * 1000 - n % 3000) * 1000);
        (0..5000).map(|n| (words[usize::try_from((n * 7 + epoch) % 5000).unwrap()], time(n), n)).collect::<Vec<_>>()
    };
    let sizes = (20..20 + epochs).map(|epoch| {
        run.epoch((epoch - 10) * 1000, &[batch(&rows(epoch))]);
        run.snapshot();
        let stats = run.operator.take_stats();
        (stats.state_rows.unwrap(), stats.state_bytes)
    });
    sizes.collect()
}

#[test]
fn state_stays_of_one_size_while_time_goes_on_and_goes_when_it_has_passed() {
    for (mut run, margin) in [(by_word_and_time(), 3), (within_two_seconds(), 3)] {
        let sizes = sizes(&mut run, 120);
        let early = sizes[20..60].iter().map(|size| size.1).max().unwrap();
        let late = sizes[60..].iter().map(|size| size.1).max().unwrap();
        assert!(late <= early + early / 4, "{late} bytes after {early}");
        let rows = |range: std::ops::Range<usize>| sizes[range].iter().map(|size| size.0).max().unwrap();
        assert!(rows(60..120) <= rows(20..60) + 5000);
        run.epoch(1_000_000, &[]);
        let stats = run.operator.take_stats();
        assert_eq!(stats.state_rows, Some(0));
        assert!(stats.state_bytes * margin < late, "{} bytes of {late} stay", stats.state_bytes);
    }
}

#[test]
fn keys_are_saved_in_parts_of_even_size() {
    let words: Vec<&'static str> = (0..20_000).map(|n| &*Box::leak(format!("{n}").into())).collect();
    let rows: Vec<Row> = words.iter().zip(0..).map(|(word, n)| (*word, Some(n * SECOND), n)).collect();
    for mut run in [by_word_and_time(), within_two_seconds()] {
        run.epoch_at(None, &[batch(&rows)]);
        let delta = run.snapshot();
        assert_eq!(saved_rows(&delta), 20_000);
        assert!(delta.changed.len() <= 3, "{} parts", delta.changed.len());
        for (rows, hashes) in &delta.changed {
            let keys = if rows.schema().field(1).name() == "t" { 2 } else { 1 };
            assert_eq!(hash_rows(&rows.columns()[..keys]), *hashes);
        }
    }
}

/// A call of a store: its name, and how many keys it is about.
type Call = (&'static str, usize);

/// A store that notes what is asked of it, and holds look-ups to distinct keys in order.
#[derive(Debug, Default)]
struct Noting {
    rows: MapStore,
    calls: Arc<Mutex<Vec<Call>>>,
}

impl Noting {
    fn note(&self, name: &'static str, keys: usize) {
        self.calls.lock().unwrap().push((name, keys));
    }
}

impl ColdStore for Noting {
    fn put(&mut self, rows: &mut dyn Iterator<Item = (&[u8], &[u8])>) -> Result<u64> {
        let rows: Vec<_> = rows.collect();
        self.note("put", rows.len());
        self.rows.put(&mut rows.into_iter())
    }

    fn get(&mut self, keys: &mut dyn Iterator<Item = &[u8]>, found: &mut dyn FnMut(usize, &[u8])) -> Result<()> {
        let keys: Vec<_> = keys.collect();
        assert!(keys.windows(2).all(|pair| pair[0] < pair[1]));
        self.note("get", keys.len());
        self.rows.get(&mut keys.into_iter(), found)
    }

    fn scan(&mut self, from: &[u8], to: &[u8], most: usize, each: &mut dyn FnMut(&[u8], &[u8])) -> Result<()> {
        self.note("scan", 0);
        self.rows.scan(from, to, most, each)
    }

    fn scan_prefixes(
        &mut self,
        prefixes: &mut dyn Iterator<Item = &[u8]>,
        each: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<()> {
        self.note("scan_prefixes", 0);
        self.rows.scan_prefixes(prefixes, each)
    }

    fn remove(&mut self, from: &[u8], to: &[u8]) -> Result<()> {
        self.note("remove", 0);
        self.rows.remove(from, to)
    }

    fn remove_each(&mut self, keys: &mut dyn Iterator<Item = &[u8]>) -> Result<()> {
        let keys: Vec<_> = keys.collect();
        self.note("remove_each", keys.len());
        self.rows.remove_each(&mut keys.into_iter())
    }
}

/// One operator of each kind, whose keys are never freed, are freed with their time, or expire.
fn each_kind() -> [Run; 3] {
    let for_ever = Run::new(Deduplicate::new(vec![KEY], Some(TIME), true), batch(&[]).schema());
    [for_ever, by_word_and_time(), within_two_seconds()]
}

/// One that may hold nothing, and what it asks of its store.
fn watched(run: Run) -> (Run, impl Fn() -> Vec<Call>) {
    let store = Noting::default();
    let calls = store.calls.clone();
    (run.limited_in(0, Box::new(store)), move || std::mem::take(&mut *calls.lock().unwrap()))
}

#[test]
fn keys_outside_are_looked_up_once_a_batch_and_reading_writes_nothing() {
    for (run, (kind, rows_each)) in each_kind().into_iter().zip([("for ever", 1), ("by time", 1), ("within", 2)]) {
        let (mut run, calls) = watched(run);
        let old = [("a", Some(SECOND), 1), ("b", Some(100 * SECOND), 2), ("c", Some(200 * SECOND), 3), ("d", None, 4)];
        assert_eq!(run.epoch_at(None, &[batch(&old), batch(&old)]).passed, [1, 2, 3, 4], "{kind}");
        assert!(calls().is_empty(), "{kind}: nothing is outside, and no snapshot holds the keys");
        run.snapshot();
        let put: usize = calls().iter().map(|call| if call.0 == "put" { call.1 } else { 1000 }).sum();
        assert_eq!(put, 4 * rows_each, "{kind}");
        let stats = run.operator.take_stats();
        assert_eq!((stats.rows_outside, stats.state_rows), (Some(4), Some(4)), "{kind}");

        // Known keys of several slots twice, and new ones among them.
        let rows: Vec<Row> = [&old[..], &[("e", Some(101 * SECOND), 5), ("f", None, 6)], &old[..]].concat();
        let shown = run.epoch_at(None, &[batch(&rows)]);
        assert_eq!((shown.passed, shown.duplicates, shown.state_rows), (vec![5, 6], 8, 6), "{kind}");
        assert_eq!(calls(), [("get", 6)], "{kind}");
        let shown = run.epoch_at(None, &[batch(&rows)]);
        assert_eq!((shown.duplicates, shown.state_rows), (10, 6), "{kind}");
        assert!(calls().is_empty(), "{kind}: what was found is in memory");

        // Of what is in memory only the new keys are saved and written.
        assert_eq!(saved_rows(&run.snapshot()), 2, "{kind}");
        let put: usize = calls().iter().map(|call| if call.0 == "put" { call.1 } else { 1000 }).sum();
        assert_eq!(put, 2 * rows_each, "{kind}");
        let stats = run.operator.take_stats();
        assert_eq!((stats.rows_outside, stats.state_rows), (Some(6), Some(6)), "{kind}");
    }
}

#[test]
fn keys_of_slots_that_have_none_outside_are_not_looked_up() {
    let (mut run, calls) = watched(by_word_and_time());
    run.epoch_at(None, &[batch(&[("a", Some(SECOND), 1)])]);
    run.snapshot();
    calls();
    let shown = run.epoch_at(None, &[batch(&[("a", Some(100 * SECOND), 2), ("a", None, 3)])]);
    assert_eq!((shown.passed, calls()), (vec![2, 3], vec![]));
}

#[test]
fn keys_freed_by_time_are_freed_outside_and_come_as_new_ones_afterwards() {
    for (run, (left, removed, passed)) in
        each_kind().into_iter().zip([(3, 0, vec![]), (1, 2, vec![6, 7]), (1, 2, vec![6, 7])])
    {
        let (mut run, calls) = watched(run);
        let second = |word, seconds: i64, number| (word, Some(seconds * SECOND), number);
        run.epoch(0, &[batch(&[second("a", 10, 1), second("b", 12, 2), second("c", 40, 3)])]);
        run.snapshot();
        // A copy in memory is forgotten with what it is a copy of.
        assert_eq!(run.epoch(0, &[batch(&[second("b", 12, 4)])]).duplicates, 1);
        calls();
        let freed = run.epoch(14_000, &[]);
        assert_eq!((freed.state_rows, freed.removed_rows), (left, removed));
        assert_eq!(calls().iter().any(|call| call.0 == "remove"), removed > 0);
        let again = [second("c", 40, 5), second("a", 20, 6), second("b", 41, 7)];
        assert_eq!(run.epoch(14_000, &[batch(&again)]).passed, passed);
    }
}

#[test]
fn those_forgotten_first_leave_memory_until_half_of_the_budget_is_free() {
    let words: Vec<&'static str> = (0..20_000).map(|n| &*Box::leak(format!("a word {n}").into())).collect();
    // Twenty spans of times, not in order.
    let rows: Vec<Row> = words.iter().zip(0..).map(|(word, n)| (*word, Some((1 + n % 20 * 10) * SECOND), n)).collect();
    for run in [by_word_and_time as fn() -> Run, within_two_seconds] {
        let bytes = {
            let mut run = run();
            run.epoch_at(None, &[batch(&rows)]);
            usize::try_from(run.operator.take_stats().state_bytes).unwrap()
        };
        let fits = bytes * 2;
        for (budget, is_leaving) in [(fits, false), (bytes * 3 / 4, true)] {
            let store = Noting::default();
            let calls = store.calls.clone();
            let mut run = run().limited_in(budget, Box::new(store));
            run.epoch_at(None, &[batch(&rows)]);
            run.snapshot();
            let stats = run.operator.take_stats();
            assert_eq!((stats.rows_outside > Some(0), stats.state_rows), (is_leaving, Some(20_000)));
            let most = if is_leaving { budget / 2 } else { budget };
            assert!(stats.state_bytes <= most as u64 && stats.rows_outside < Some(18_000), "{stats:?}");
            // The first is outside, the last in memory.
            for (row, gets) in [(19, 0), (0, usize::from(is_leaving))] {
                calls.lock().unwrap().clear();
                assert_eq!(run.epoch_at(None, &[batch(&rows[row..=row])]).duplicates, 1);
                assert_eq!(calls.lock().unwrap().len(), gets);
            }
        }
    }
}

#[test]
fn all_is_saved_only_if_all_is_in_memory() {
    for run in each_kind() {
        let mut run = run.limited(Some(0));
        run.epoch_at(None, &[batch(&[("a", Some(SECOND), 1)])]);
        assert!(run.operator.save_all());
        assert_eq!(saved_rows(&run.snapshot()), 1);
        assert!(!run.operator.save_all());
        assert!(run.snapshot().changed.is_empty());
    }
}

#[test]
fn without_key_columns_the_one_key_stays_in_memory() {
    let run = Run::new(Deduplicate::new(vec![], None, true), batch(&[]).schema());
    assert!(!run.operator.can_leave_memory());
}

#[test]
fn keys_come_back_outside_memory_once_they_are_over_the_budget_and_the_last_expiry_counts() {
    let mut run = within_two_seconds();
    let rows = |seconds: i64| batch(&[("a", Some(seconds * SECOND), seconds), ("b", Some(9 * SECOND), 100)]);
    run.epoch(0, &[rows(1)]);
    let first = run.snapshot();
    run.epoch(4000, &[]);
    run.epoch(4000, &[rows(8)]);
    let second = run.snapshot();
    // The first twice: what comes last counts, once.
    let limited = run.limited(Some(0));
    let mut both = limited.restarted(within(), rows(0).schema(), &[first.clone(), first, second]);
    let stats = both.operator.take_stats();
    assert_eq!((stats.rows_outside, stats.state_rows), (Some(2), Some(2)));
    let shown = both.epoch(10_000, &[rows(9)]);
    assert_eq!((shown.duplicates, shown.state_rows, shown.removed_rows), (2, 1, 1));
    let shown = both.epoch(11_000, &[]);
    assert_eq!((shown.state_rows, shown.removed_rows), (0, 1));
}

/// Epochs for an oracle: how far the watermark moves, the batches, whether the barrier is durable, whether the
/// operator is restarted after it.
#[derive(Debug, Clone)]
struct Plan {
    moved_ms: i64,
    batches: Vec<Vec<(usize, Option<i64>)>>,
    is_durable: bool,
    is_restarted: bool,
}

const WORDS: [&str; 5] = ["a", "b", "c", "a word of over 12 bytes", ""];

fn plans() -> impl Strategy<Value = Vec<Plan>> {
    // Times around the watermark at a grain of 500 µs, so that they often hit it, and some far ahead in other slots.
    let time = prop_oneof![1 => Just(None), 9 => (-6..60_i64).prop_map(Some)];
    let batch = prop::collection::vec((0..WORDS.len(), time), 1..25);
    let moved = prop_oneof![4 => 0..6_i64, 1 => Just(10_000), 1 => Just(25_000)];
    let plan = (moved, prop::collection::vec(batch, 0..4), any::<bool>(), any::<bool>());
    let plan = plan.prop_map(|(moved_ms, batches, is_durable, is_restarted)| Plan {
        moved_ms,
        batches,
        is_durable,
        is_restarted: is_durable && is_restarted,
    });
    prop::collection::vec(plan, 1..10)
}

/// What an operator remembers, written as plainly as possible.
trait Oracle {
    /// Whether the row is the first of its key.
    fn passes(&mut self, word: usize, time: Option<i64>) -> bool;
    fn free(&mut self, final_micros: i64);
    fn keys(&self) -> usize;
}

#[derive(Default)]
struct ByTime(HashSet<(usize, Option<i64>)>);

impl Oracle for ByTime {
    fn passes(&mut self, word: usize, time: Option<i64>) -> bool {
        self.0.insert((word, time))
    }

    fn free(&mut self, final_micros: i64) {
        self.0.retain(|(_, time)| !time.is_some_and(|time| time <= final_micros));
    }

    fn keys(&self) -> usize {
        self.0.len()
    }
}

#[derive(Default)]
struct ForEver(HashSet<usize>);

impl Oracle for ForEver {
    fn passes(&mut self, word: usize, _: Option<i64>) -> bool {
        self.0.insert(word)
    }

    fn free(&mut self, _: i64) {}

    fn keys(&self) -> usize {
        self.0.len()
    }
}

#[derive(Default)]
struct ByWord(HashMap<usize, i64>);

impl Oracle for ByWord {
    fn passes(&mut self, word: usize, time: Option<i64>) -> bool {
        let is_new = !self.0.contains_key(&word);
        self.0.entry(word).or_insert(time.unwrap_or(0) + 2 * SECOND);
        is_new
    }

    fn free(&mut self, final_micros: i64) {
        self.0.retain(|_, expiry| *expiry > final_micros);
    }

    fn keys(&self) -> usize {
        self.0.len()
    }
}

/// Runs `plans` beside an oracle, with a budget and without: both do what the oracle says and save the same.
fn check(
    operator: impl Fn() -> Box<dyn Operator>,
    mut oracle: impl Oracle,
    is_windowed: bool,
    budget: usize,
    plans: &[Plan],
) {
    let times = if is_windowed { windows } else { instants };
    let schema = batch_of(times, &[]).schema();
    let run = || Run::new(Boxed(operator()), schema.clone());
    let mut runs = [run(), run().limited(Some(budget))];
    let (mut evict_ms, mut number, mut snapshots) = (0, 0, Vec::new());
    for plan in plans {
        let watermark = Watermark { late_ms: evict_ms, evict_ms: evict_ms + plan.moved_ms };
        evict_ms = watermark.evict_ms;
        let mut expected = Shown::default();
        let mut batches = Vec::new();
        for rows in &plan.batches {
            let mut batch = Vec::new();
            for (word, grain) in rows {
                let far = |grain: i64| (grain - 50).max(0) * 5 * SECOND;
                let time = grain.map(|grain| watermark.late_ms * 1000 + grain * grain.abs() * 500 + far(grain));
                number += 1;
                batch.push((WORDS[*word], time, number));
                if time.is_some_and(|time| time <= watermark.late_ms * 1000) {
                    expected.late += 1;
                } else if oracle.passes(*word, time) {
                    expected.passed.push(number);
                } else {
                    expected.duplicates += 1;
                }
            }
            batches.push(Batch::from(batch_of(times, &batch)));
        }
        let before = oracle.keys();
        oracle.free(watermark.evict_ms * 1000);
        expected.updated_rows = expected.passed.len() as u64;
        expected.removed_rows = (before - oracle.keys()) as u64;
        expected.state_rows = oracle.keys() as u64;
        let kind = if plan.is_durable { BarrierKind::Durable } else { BarrierKind::Light };
        for run in &mut runs {
            assert_eq!(run.try_epoch(Some(watermark), batches.clone(), kind), expected, "{:?}", run.budget);
        }
        if plan.is_durable {
            let [free, limited] = runs.each_mut().map(Run::snapshot);
            assert_eq!(limited.changed, free.changed);
            snapshots.push(free);
        }
        if plan.is_restarted {
            runs = runs.map(|run| run.restarted(Boxed(operator()), schema.clone(), &snapshots));
        }
    }
}

/// From nothing to some of the keys.
fn budgets() -> impl Strategy<Value = usize> {
    prop::sample::select(vec![0, 1000, 2000, 4000])
}

/// The epochs of these plans, of rows by `keys`.
fn trial(plans: &[Plan], times: fn(&[Option<i64>]) -> ArrayRef, keys: &[usize]) -> Vec<restarts::Epoch> {
    let (mut late_ms, mut number) = (0, 0);
    let of = |plan: &Plan| {
        let here = Some(Watermark { late_ms, evict_ms: late_ms + plan.moved_ms });
        let rows = plan.batches.iter().map(|rows| {
            let of = |(word, grain): &(usize, Option<i64>)| {
                number += 1;
                (WORDS[*word], grain.map(|grain| late_ms * 1000 + grain * grain.abs() * 500), number)
            };
            let rows = batch_of(times, &rows.iter().map(of).collect::<Vec<_>>());
            let columns: Vec<ArrayRef> = keys.iter().map(|key| rows.column(*key).clone()).collect();
            let mut hashes = hash_rows(&columns);
            hashes.resize(rows.num_rows(), 0);
            (0, rows, hashes)
        });
        let rows = rows.collect();
        late_ms += plan.moved_ms;
        restarts::Epoch { here, rows }
    };
    plans.iter().map(of).collect()
}

fn try_restarts(make: impl Fn() -> Box<dyn Operator>, keys: &[usize], plans: &[Plan], turns: &[restarts::Turn]) {
    for (times, carries_hashes) in [(instants as fn(&[Option<i64>]) -> ArrayRef, false), (windows, true)] {
        let inputs = vec![batch_of(times, &[]).schema()];
        let subject = Subject { make: &make, inputs, instances: 3, carries_hashes };
        restarts::check(&subject, &trial(plans, times, keys), turns);
    }
}

#[test]
fn identities_tell_keys_times_and_delays() {
    let schema = batch(&[]).schema();
    let identity = |mut operator: Box<dyn Operator>| {
        let (name, inputs) = (String::new(), vec![schema.clone()]);
        operator.open(&OperatorContext { name, instance: 0, parallelism: 1, inputs }).unwrap();
        operator.state_identity().unwrap()
    };
    for (operator, text) in [
        (Box::new(Deduplicate::new(vec![KEY], None, true)) as Box<dyn Operator>, "deduplication by word STRING"),
        (
            Box::new(Deduplicate::new(vec![KEY, TIME], Some(TIME), true)),
            "deduplication by word STRING, t TIMESTAMP; event time t TIMESTAMP, freed when final",
        ),
        (Box::new(within()), "deduplication within 2 seconds by word STRING; event time t TIMESTAMP"),
    ] {
        assert_eq!(identity(operator), text);
    }
}

/// An operator of any kind.
struct Boxed(Box<dyn Operator>);

impl Operator for Boxed {
    fn output_schema(&self, inputs: &[SchemaRef]) -> Result<SchemaRef> {
        self.0.output_schema(inputs)
    }

    fn open(&mut self, context: &OperatorContext) -> Result<()> {
        self.0.open(context)
    }

    fn on_watermark(&mut self, time: EpochTime, output: &mut Output) -> Result<Option<Watermark>> {
        self.0.on_watermark(time, output)
    }

    fn on_batch(&mut self, port: usize, batch: Batch, output: &mut Output) -> Result<Flow> {
        self.0.on_batch(port, batch, output)
    }

    fn on_barrier(&mut self, barrier: &Barrier, output: &mut Output) -> Result<Flow> {
        self.0.on_barrier(barrier, output)
    }

    fn snapshot(&mut self) -> Result<Option<StateDelta>> {
        self.0.snapshot()
    }

    fn restore(&mut self, part: StatePart) -> Result<()> {
        self.0.restore(part)
    }

    fn can_leave_memory(&self) -> bool {
        self.0.can_leave_memory()
    }

    fn limit_memory(&mut self, budget: StateBudget) -> Result<()> {
        self.0.limit_memory(budget)
    }

    fn save_all(&mut self) -> bool {
        self.0.save_all()
    }

    fn take_stats(&mut self) -> OperatorStats {
        self.0.take_stats()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn keys_with_a_time_are_remembered_as_a_set_remembers_them(plans in plans(), budget in budgets()) {
        for is_windowed in [false, true] {
            let operator = || Box::new(Deduplicate::new(vec![KEY, TIME], Some(TIME), true)) as _;
            check(operator, ByTime::default(), is_windowed, budget, &plans);
        }
    }

    #[test]
    fn keys_without_a_time_are_remembered_for_ever(plans in plans(), budget in budgets()) {
        let operator = || Box::new(Deduplicate::new(vec![KEY], Some(TIME), true)) as _;
        check(operator, ForEver::default(), false, budget, &plans);
    }

    #[test]
    fn keys_that_expire_are_remembered_as_a_map_remembers_them(plans in plans(), budget in budgets()) {
        for is_windowed in [false, true] {
            check(|| Box::new(within()) as _, ByWord::default(), is_windowed, budget, &plans);
        }
    }

    #[test]
    fn restarts_at_other_parallelisms_and_compactions_change_nothing(
        plans in plans(),
        turns in restarts::turns(),
        keys in prop::sample::select(vec![vec![KEY], vec![TIME], vec![TIME, KEY], vec![]]),
        is_judging: bool,
    ) {
        let by_key = || Box::new(Deduplicate::new(keys.clone(), Some(TIME), is_judging)) as Box<dyn Operator>;
        try_restarts(by_key, &keys, &plans, &turns);
        try_restarts(|| Box::new(within()), &[KEY], &plans, &turns);
    }
}
