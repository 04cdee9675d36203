//! Both halves of an aggregation by time, epoch by epoch, against a naive reading of the rules.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{Int64Array, StringViewArray};
use arrow::datatypes::{Int64Type, Schema};
use proptest::prelude::*;

use super::super::{AggregateCall, FinalAggregate, NativeFunction, PartialAggregate};
use super::*;
use crate::operator::restarts::{self, Subject};
use crate::operator::{
    Barrier, BarrierKind, Batch, Expression, Flow, Operator, OperatorContext, OperatorStats, StateDelta, StatePart,
    Watermark,
};
use crate::protocol::OutputMode;

/// Time in seconds, word, number.
type Row = (Option<i64>, u8, i64);

/// A group: start and end of its window in seconds, or its time twice, and its word.
type Key = (Option<(i64, i64)>, Option<u8>);

#[derive(Debug)]
struct Column(usize);

impl Expression for Column {
    fn evaluate(&self, batch: &RecordBatch, _: EpochTime) -> Result<ArrayRef> {
        Ok(batch.column(self.0).clone())
    }
}

const SECOND: i64 = 1_000_000;

fn window_type() -> DataType {
    let field = |name| Field::new(name, micros_type(), true);
    DataType::Struct(vec![field("start"), field("end")].into())
}

/// Counts and sums by time and, unless `alone`, by word.
fn spec(kind: TimeKind, alone: bool, is_watermarked: bool) -> AggregateSpec {
    let argument: (crate::operator::ExpressionRef, _) = (Arc::new(Column(2)), DataType::Int64);
    let data_type = if kind == TimeKind::Time { micros_type() } else { window_type() };
    let mut keys: Vec<crate::operator::ExpressionRef> = vec![Arc::new(Column(1)), Arc::new(Column(0))];
    let mut key_fields: Vec<FieldRef> =
        vec![Arc::new(Field::new("word", DataType::Utf8View, true)), Arc::new(Field::new("time", data_type, true))];
    if alone {
        keys.remove(0);
        key_fields.remove(0);
    }
    AggregateSpec {
        time: Some(TimeKey { place: keys.len() - 1, kind, is_watermarked }),
        keys,
        key_fields,
        calls: vec![
            AggregateCall::native("rows", NativeFunction::Count, None).unwrap(),
            AggregateCall::native("sum", NativeFunction::Sum, Some(argument)).unwrap(),
        ],
    }
}

fn micros(values: Vec<Option<i64>>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from(values).with_timezone("UTC"))
}

/// The rows as the input of an aggregation; windows of ten seconds, if it reads windows.
fn batch(kind: TimeKind, rows: &[Row]) -> Batch {
    let times = |of: &dyn Fn(i64) -> i64| micros(rows.iter().map(|row| row.0.map(|time| of(time) * SECOND)).collect());
    let time = if kind == TimeKind::WindowColumn {
        let start = times(&|time| time.div_euclid(10) * 10);
        let end = times(&|time| time.div_euclid(10) * 10 + 10);
        let DataType::Struct(fields) = window_type() else { panic!("a struct") };
        let nulls = rows.iter().map(|row| row.0.is_some()).collect::<NullBuffer>();
        Arc::new(StructArray::new(fields, vec![start, end], Some(nulls))) as ArrayRef
    } else {
        times(&|time| time)
    };
    let words: StringViewArray = rows.iter().map(|row| Some(format!("word {}", row.1))).collect();
    let numbers: Int64Array = rows.iter().map(|row| Some(row.2)).collect();
    RecordBatch::try_from_iter_with_nullable([
        ("time", time, true),
        ("word", Arc::new(words) as ArrayRef, true),
        ("number", Arc::new(numbers) as ArrayRef, true),
    ])
    .unwrap()
    .into()
}

/// One instance of each half.
struct Halves {
    partial: PartialAggregate,
    last: FinalAggregate,
    dropped: BTreeMap<&'static str, u64>,
    stats: OperatorStats,
    taken: [(u64, u64); 2],
}

impl Halves {
    fn new(spec: AggregateSpec, mode: OutputMode) -> Self {
        let mut last = FinalAggregate::new(spec.clone(), mode);
        let partial = PartialAggregate::new(spec);
        let context = OperatorContext {
            name: "test".to_string(),
            instance: 0,
            parallelism: 1,
            inputs: vec![partial.output_schema(&[Arc::new(Schema::empty())]).unwrap()],
        };
        last.open(&context).unwrap();
        Self { partial, last, dropped: BTreeMap::new(), stats: OperatorStats::default(), taken: [(0, 0); 2] }
    }

    fn epoch(&mut self, watermark: Watermark, batches: &[Batch]) -> Vec<RecordBatch> {
        let time = EpochTime { here: Some(watermark), query: watermark, ..EpochTime::default() };
        let barrier = Barrier { epoch: 0, kind: BarrierKind::Durable, has_data: !batches.is_empty() };
        let mut output = Output::default();
        self.partial.on_watermark(time, &mut output).unwrap();
        self.last.on_watermark(time, &mut output).unwrap();
        let mut between = Vec::new();
        for batch in batches {
            self.taken[0].0 += batch.rows() as u64;
            let flow = self.partial.on_batch(0, batch.clone(), &mut output).unwrap();
            between.extend(drain(&mut self.partial, flow, &mut output));
        }
        let flow = self.partial.on_barrier(&barrier, &mut output).unwrap();
        between.extend(drain(&mut self.partial, flow, &mut output));
        let (counts, rows) = output.take_dropped();
        let shown: usize = rows.iter().map(|rows| rows.records.num_rows()).sum();
        assert_eq!(shown as u64, counts.iter().map(|(_, count)| count).sum::<u64>());
        for (reason, count) in counts {
            *self.dropped.entry(reason).or_default() += count;
        }
        self.taken[0].1 += rows_of(&between);
        self.taken[1].0 += rows_of(&between);
        for batch in between {
            assert_eq!(self.last.on_batch(0, batch, &mut output).unwrap(), Flow::Done);
        }
        let flow = self.last.on_barrier(&barrier, &mut output).unwrap();
        let shown = drain(&mut self.last, flow, &mut output);
        self.taken[1].1 += rows_of(&shown);
        self.check_balance();
        shown.into_iter().map(|batch| batch.records).collect()
    }

    /// In and out add up in both halves.
    fn check_balance(&mut self) {
        let dropped: u64 = self.dropped.values().sum();
        let [first, second] = &mut self.taken;
        let balance = self.partial.take_stats().balance.unwrap();
        first.0 += balance.made;
        first.1 += balance.absorbed;
        assert_eq!(first.0, first.1 + dropped);
        self.stats = self.last.take_stats();
        let balance = self.stats.balance.unwrap();
        second.0 += balance.made;
        second.1 += balance.absorbed;
        assert_eq!(second.0, second.1);
    }
}

fn rows_of(batches: &[Batch]) -> u64 {
    batches.iter().map(|batch| batch.rows() as u64).sum()
}

fn drain(operator: &mut dyn Operator, mut flow: Flow, output: &mut Output) -> Vec<Batch> {
    let mut batches = Vec::new();
    loop {
        batches.extend(output.take().into_iter().map(|(_, batch)| batch));
        match flow {
            Flow::Done => return batches,
            Flow::More => flow = operator.resume(output).unwrap(),
        }
    }
}

/// The shown groups, each of which may be shown once.
fn read(kind: TimeKind, alone: bool, batches: &[RecordBatch]) -> BTreeMap<Key, (i64, i64)> {
    let mut groups = BTreeMap::new();
    for records in batches {
        let time = records.column(usize::from(!alone));
        let seconds = |part: &str, row: usize| {
            let times =
                if kind == TimeKind::Time { time.as_primitive().clone() } else { window_part(time, part).unwrap() };
            times.is_valid(row).then(|| times.value(row) / SECOND)
        };
        let number = |column: usize, row: usize| records.column(column).as_primitive::<Int64Type>().value(row);
        for row in 0..records.num_rows() {
            let word = (!alone).then(|| records.column(0).as_string_view().value(row)[5..].parse().unwrap());
            let key = (seconds("start", row).zip(seconds("end", row)), word);
            let first = records.num_columns() - 2;
            assert!(groups.insert(key, (number(first, row), number(first + 1, row))).is_none(), "{key:?} came twice");
        }
    }
    groups
}

/// The rules, read naively: what is in the state, and what an epoch shows.
struct Oracle {
    kind: TimeKind,
    alone: bool,
    mode: OutputMode,
    groups: BTreeMap<Key, (i64, i64)>,
    late: u64,
    timeless: u64,
}

impl Oracle {
    fn windows(&self, time: i64) -> Vec<(i64, i64)> {
        match self.kind {
            TimeKind::Time => vec![(time, time)],
            TimeKind::WindowColumn => vec![(time.div_euclid(10) * 10, time.div_euclid(10) * 10 + 10)],
            TimeKind::Windows(windows) => {
                let ends = windows.ends(time * SECOND);
                ends.map(|end| ((end - windows.size()) / SECOND, end / SECOND)).collect()
            }
        }
    }

    fn epoch(&mut self, watermark: Watermark, rows: &[Row], is_watermarked: bool) -> BTreeMap<Key, (i64, i64)> {
        let mut touched = BTreeSet::new();
        for (time, word, number) in rows {
            let word = (!self.alone).then_some(*word);
            let windows = match time {
                Some(time) => self.windows(*time).into_iter().map(Some).collect(),
                None if matches!(self.kind, TimeKind::Windows(_)) => {
                    self.timeless += 1;
                    Vec::new()
                }
                None => vec![None],
            };
            for window in windows {
                if is_watermarked && window.is_some_and(|(_, end)| end * 1000 <= watermark.late_ms) {
                    self.late += 1;
                    continue;
                }
                let group = self.groups.entry((window, word)).or_default();
                *group = (group.0 + 1, group.1 + number);
                touched.insert((window, word));
            }
        }
        let is_final = |key: &Key| is_watermarked && key.0.is_some_and(|(_, end)| end * 1000 <= watermark.evict_ms);
        let all = self.groups.clone();
        let shown = all.into_iter().filter(|(key, _)| match self.mode {
            OutputMode::Append => is_final(key),
            OutputMode::Update => touched.contains(key),
            OutputMode::Complete => !rows.is_empty(),
        });
        let shown = shown.collect();
        self.groups.retain(|key, _| !is_final(key));
        shown
    }
}

fn kinds() -> impl Strategy<Value = TimeKind> {
    let windows = |size: i64, slide: i64, start: i64| {
        TimeKind::Windows(Windows::new(size * SECOND, slide * SECOND, start * SECOND).unwrap())
    };
    prop::sample::select(vec![
        windows(10, 10, 0),
        windows(10, 10, -3),
        windows(7, 3, 1),
        windows(10, 4, -3),
        windows(15, 10, 2),
        windows(60, 5, 0),
        TimeKind::WindowColumn,
        TimeKind::Time,
    ])
}

/// Epochs of rows around a time that moves on.
fn epochs() -> impl Strategy<Value = Vec<Vec<Row>>> {
    let row = (prop::option::weighted(0.95, -70_i64..40), 0_u8..4, -3_i64..4);
    let epochs = prop::collection::vec(prop::collection::vec(row, 0..40), 1..12);
    epochs.prop_map(|epochs| {
        let moved = |(epoch, rows): (usize, Vec<Row>)| {
            let shift = i64::try_from(epoch).unwrap() * 20;
            rows.into_iter().map(|(time, word, number)| (time.map(|time| time + shift), word, number)).collect()
        };
        epochs.into_iter().enumerate().map(moved).collect()
    })
}

fn cut(kind: TimeKind, rows: &[Row], piece: usize) -> Vec<Batch> {
    rows.chunks(piece).map(|rows| batch(kind, rows)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn every_epoch_shows_and_frees_what_the_rules_say(
        kind in kinds(),
        epochs in epochs(),
        mode in prop::sample::select(vec![OutputMode::Append, OutputMode::Update, OutputMode::Complete]),
        alone: bool,
        is_watermarked: bool,
        piece in 1_usize..30,
    ) {
        let is_watermarked = is_watermarked && mode != OutputMode::Complete;
        let mut halves = Halves::new(spec(kind, alone, is_watermarked), mode);
        let mut oracle = Oracle { kind, alone, mode, groups: BTreeMap::new(), late: 0, timeless: 0 };
        let mut watermark = Watermark::default();
        for (number, rows) in epochs.iter().enumerate() {
            let shown = halves.epoch(watermark, &cut(kind, rows, piece));
            let expected = oracle.epoch(watermark, rows, is_watermarked);
            prop_assert_eq!(read(kind, alone, &shown), expected, "epoch {} under {:?}", number, watermark);
            prop_assert_eq!(halves.stats.state_rows, Some(oracle.groups.len() as u64));
            let highest = rows.iter().filter_map(|row| row.0).max().unwrap_or(0) * 1000 - 5000;
            watermark = Watermark { late_ms: watermark.evict_ms, evict_ms: watermark.evict_ms.max(highest) };
        }
        prop_assert_eq!(halves.dropped.get(reason::LATE).copied().unwrap_or(0), oracle.late);
        prop_assert_eq!(halves.dropped.get(reason::NULL_TIME).copied().unwrap_or(0), oracle.timeless);
    }

    #[test]
    fn a_restart_after_any_epoch_changes_nothing(
        kind in kinds(),
        epochs in epochs(),
        mode in prop::sample::select(vec![OutputMode::Append, OutputMode::Update]),
        at in 0_usize..12,
    ) {
        let spec = spec(kind, false, true);
        let mut straight = Halves::new(spec.clone(), mode);
        let mut restarted = Halves::new(spec.clone(), mode);
        let mut saved: Vec<StateDelta> = Vec::new();
        let mut watermark = Watermark::default();
        for (number, rows) in epochs.iter().enumerate() {
            let batches = cut(kind, rows, 7);
            let expected = read(kind, false, &straight.epoch(watermark, &batches));
            prop_assert_eq!(read(kind, false, &restarted.epoch(watermark, &batches)), expected);
            saved.push(restarted.last.snapshot().unwrap().unwrap());
            if number == at {
                restarted = Halves::new(spec.clone(), mode);
                for (rows, hashes) in saved.iter().flat_map(|delta| delta.changed.clone()) {
                    restarted.last.restore(StatePart { rows, hashes }).unwrap();
                }
            }
            let highest = rows.iter().filter_map(|row| row.0).max().unwrap_or(0) * 1000 - 5000;
            watermark = Watermark { late_ms: watermark.evict_ms, evict_ms: watermark.evict_ms.max(highest) };
        }
        restarted.epoch(watermark, &[]);
        straight.epoch(watermark, &[]);
        prop_assert_eq!(restarted.stats.state_rows, straight.stats.state_rows);
    }
}

/// What the half behind the exchange gets in each epoch.
fn exchanged(spec: &AggregateSpec, kind: TimeKind, epochs: &[Vec<Row>]) -> Vec<restarts::Epoch> {
    let mut partial = PartialAggregate::new(spec.clone());
    let mut watermark = Watermark::default();
    let of = |rows: &Vec<Row>| {
        let time = EpochTime { here: Some(watermark), query: watermark, ..EpochTime::default() };
        let (mut output, mut batches) = (Output::default(), Vec::new());
        partial.on_watermark(time, &mut output).unwrap();
        for batch in cut(kind, rows, 11) {
            let flow = partial.on_batch(0, batch, &mut output).unwrap();
            batches.extend(drain(&mut partial, flow, &mut output));
        }
        let barrier = Barrier { epoch: 0, kind: BarrierKind::Light, has_data: true };
        let flow = partial.on_barrier(&barrier, &mut output).unwrap();
        batches.extend(drain(&mut partial, flow, &mut output));
        let rows: Vec<_> =
            batches.into_iter().map(|batch| (0, batch.records, batch.hashes.unwrap().to_vec())).collect();
        let highest = epochs_highest(&rows).unwrap_or(0) / 1000 - 5000;
        let here = Some(watermark);
        watermark = Watermark { late_ms: watermark.evict_ms, evict_ms: watermark.evict_ms.max(highest) };
        restarts::Epoch { here, rows }
    };
    epochs.iter().map(of).collect()
}

/// The highest time of state columns, in microseconds: the last of the keys or the end of the window.
fn epochs_highest(rows: &[(usize, RecordBatch, Vec<u64>)]) -> Option<i64> {
    let times = rows.iter().flat_map(|(_, records, _)| records.columns()).flat_map(micros_of);
    times.flatten().max()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn restarts_at_other_parallelisms_and_compactions_change_nothing(
        kind in kinds(),
        epochs in epochs(),
        mode in prop::sample::select(vec![OutputMode::Append, OutputMode::Update, OutputMode::Complete]),
        alone: bool,
        is_watermarked: bool,
        turns in restarts::turns(),
        carries_hashes: bool,
    ) {
        let is_watermarked = is_watermarked && mode != OutputMode::Complete;
        let spec = spec(kind, alone, is_watermarked);
        let make = || -> Box<dyn Operator> { Box::new(FinalAggregate::new(spec.clone(), mode)) };
        let subject = Subject { make: &make, inputs: vec![spec.partial_schema()], instances: 3, carries_hashes };
        let trial = exchanged(&spec, kind, &epochs);
        restarts::check(&subject, &trial, &turns);
    }
}

#[test]
fn the_identity_tells_keys_windows_and_calls_but_no_names_of_results() {
    let windows = TimeKind::Windows(Windows::new(600 * SECOND, 300 * SECOND, -2 * SECOND).unwrap());
    let identity = |kind, is_watermarked| {
        FinalAggregate::new(spec(kind, false, is_watermarked), OutputMode::Append).state_identity().unwrap()
    };
    let keys = "aggregation by word STRING, time STRUCT<start: TIMESTAMP, end: TIMESTAMP>: count(*) BIGINT, \
                sum(Column(2)) BIGINT";
    let over = "of Column(0) in windows of 10 minutes every 5 minutes from -2 seconds";
    assert_eq!(identity(windows, true), format!("{keys}; time {over}, freed when final"));
    assert_eq!(identity(TimeKind::WindowColumn, false), format!("{keys}; time"));
    let renamed = |text: &str| {
        let mut spec = spec(windows, false, true);
        spec.calls[0].name = text.to_string();
        spec.key_fields[0] = Arc::new(spec.key_fields[0].as_ref().clone().with_name(format!("word{text}")));
        FinalAggregate::new(spec, OutputMode::Append).state_identity().unwrap()
    };
    assert_eq!(renamed("#1"), renamed("#25"));
    assert_ne!(renamed("#1"), renamed("s#1"));
}

#[test]
fn rows_are_sorted_by_slot_and_keep_their_order_inside() {
    let (order, segments) = sorted(&[7, 3, 7, 3, 5]);
    assert_eq!(order, Some(vec![0, 2, 1, 3, 4]));
    assert_eq!(segments, [(7, 0..2), (3, 2..4), (5, 4..5)]);
    assert_eq!(sorted(&[3, 3, 9]), (None, vec![(3, 0..2), (9, 2..3)]));
}

#[test]
fn a_window_alone_is_exchanged_by_its_end_and_others_by_the_other_keys() {
    let windows = TimeKind::Windows(Windows::tumbling(SECOND).unwrap());
    assert_eq!(spec(windows, true, true).exchange_columns(), [2]);
    assert_eq!(spec(windows, false, true).exchange_columns(), [0]);
    assert_eq!(spec(TimeKind::WindowColumn, false, true).exchange_columns(), [0, 1]);
    assert_eq!(spec(TimeKind::Time, true, true).exchange_columns(), [0]);
}

#[test]
fn times_at_the_edge_of_what_64_bits_hold_are_in_some_group() {
    let windows = TimeKind::Windows(Windows::tumbling(10 * SECOND).unwrap());
    for kind in [windows, TimeKind::Time] {
        let mut halves = Halves::new(spec(kind, true, true), OutputMode::Update);
        let columns =
            [micros(vec![Some(i64::MIN + 1), Some(i64::MAX - 1)]), Arc::new(StringViewArray::from(vec!["word 1"; 2]))];
        let [time, word] = columns;
        let number: ArrayRef = Arc::new(Int64Array::from(vec![1, 1]));
        let rows = RecordBatch::try_from_iter([("time", time), ("word", word), ("number", number)]).unwrap();
        let watermark = Watermark { late_ms: i64::MIN, evict_ms: i64::MIN };
        let shown = halves.epoch(watermark, &[rows.into()]);
        assert_eq!(shown.iter().map(RecordBatch::num_rows).sum::<usize>(), 2, "{kind:?}");
    }
}
