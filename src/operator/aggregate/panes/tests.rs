//! Panes against windows: the same pieces of time, the same groups, the same rows dropped.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, StringViewArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type, TimeUnit, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;
use proptest::prelude::*;

use super::super::{AggregateCall, NativeFunction, PartialAggregate};
use super::*;
use crate::operator::{
    Balance, Barrier, BarrierKind, EpochTime, Expression, ExpressionRef, Flow, Operator, Output, TimeKey, Watermark,
    reason,
};
use crate::protocol::key_group::hash_rows;

const SECOND: i64 = 1_000_000;

/// Time in microseconds, word, number.
type Row = (Option<i64>, u16, i64);

#[derive(Debug)]
struct Column(usize);

impl Expression for Column {
    fn evaluate(&self, batch: &RecordBatch, _: EpochTime) -> Result<ArrayRef> {
        Ok(batch.column(self.0).clone())
    }
}

fn micros() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

fn call(function: NativeFunction, data_type: DataType) -> AggregateCall {
    let argument: (ExpressionRef, _) = (Arc::new(Column(2)), data_type);
    AggregateCall::native("call", function, Some(argument)).unwrap()
}

/// Count, sum and least number by window and, unless `alone`, by word.
fn spec(windows: Windows, alone: bool) -> AggregateSpec {
    let bound = |name| Field::new(name, micros(), true);
    let window = DataType::Struct(vec![bound("start"), bound("end")].into());
    let mut keys: Vec<ExpressionRef> = vec![Arc::new(Column(0)), Arc::new(Column(1))];
    let mut key_fields: Vec<FieldRef> =
        vec![Arc::new(Field::new("window", window, true)), Arc::new(Field::new("word", DataType::Utf8View, true))];
    keys.truncate(2 - usize::from(alone));
    key_fields.truncate(2 - usize::from(alone));
    AggregateSpec {
        time: Some(TimeKey { place: 0, kind: TimeKind::Windows(windows), is_watermarked: true }),
        keys,
        key_fields,
        calls: vec![
            AggregateCall::native("rows", NativeFunction::Count, None).unwrap(),
            call(NativeFunction::Sum, DataType::Int64),
            call(NativeFunction::Min, DataType::Int64),
        ],
    }
}

fn batch(rows: &[Row]) -> Batch {
    let times: TimestampMicrosecondArray = rows.iter().map(|row| row.0).collect();
    let words: StringViewArray = rows.iter().map(|row| Some(format!("the word {}", row.1))).collect();
    let numbers: Int64Array = rows.iter().map(|row| Some(row.2)).collect();
    let columns: [(_, ArrayRef, _); 3] = [
        ("time", Arc::new(times.with_timezone("UTC")), true),
        ("word", Arc::new(words), true),
        ("number", Arc::new(numbers), true),
    ];
    RecordBatch::try_from_iter_with_nullable(columns).unwrap().into()
}

/// Count, sum and least number by word and end of the window.
type States = BTreeMap<(Option<String>, Option<i64>), (i64, i64, i64)>;

/// What an operator says in one epoch.
struct Said {
    states: States,
    dropped: Vec<(&'static str, RecordBatch, Option<TimestampMicrosecondArray>, Option<i64>)>,
    /// The batches of each call.
    rounds: Vec<usize>,
}

fn epoch(operator: &mut PartialAggregate, late_ms: i64, batches: &[Batch]) -> Said {
    let watermark = Watermark { late_ms, evict_ms: late_ms };
    let time = EpochTime { here: Some(watermark), query: watermark, ..EpochTime::default() };
    let mut output = Output::default();
    let mut said = Said { states: States::new(), dropped: Vec::new(), rounds: Vec::new() };
    let mut out = 0;
    operator.on_watermark(time, &mut output).unwrap();
    for batch in batches {
        let flow = operator.on_batch(0, batch.clone(), &mut output).unwrap();
        out += drain(operator, flow, &mut output, &mut said);
    }
    let barrier = Barrier { epoch: 0, kind: BarrierKind::Light, has_data: true };
    let flow = operator.on_barrier(&barrier, &mut output).unwrap();
    out += drain(operator, flow, &mut output, &mut said);
    let (counts, dropped) = output.take_dropped();
    said.dropped.extend(dropped.into_iter().map(|rows| (rows.reason, rows.records, rows.times, rows.watermark_ms)));
    let taken: u64 = batches.iter().map(|batch| batch.rows() as u64).sum();
    let lost: u64 = counts.iter().map(|(_, count)| count).sum();
    let Balance { made, absorbed } = operator.take_stats().balance.unwrap_or_default();
    assert_eq!(taken + made, out + absorbed + lost, "{counts:?}");
    said
}

/// Resumes until done; answers how many rows came out.
fn drain(operator: &mut PartialAggregate, mut flow: Flow, output: &mut Output, said: &mut Said) -> u64 {
    let mut rows = 0;
    loop {
        let batches = output.take();
        said.rounds.push(batches.len());
        for (_, batch) in batches {
            rows += batch.rows() as u64;
            read(&batch, &mut said.states);
        }
        match flow {
            Flow::Done => return rows,
            Flow::More => flow = operator.resume(output).unwrap(),
        }
    }
}

/// Merges the states of a batch, whose hashes must be those of the columns it is exchanged by.
fn read(batch: &Batch, states: &mut States) {
    let (columns, hashes) = (batch.records.columns(), batch.hashes.as_deref().unwrap());
    let alone = columns.len() == 4;
    let (ends, exchanged) = (&columns[columns.len() - 1], if alone { columns.len() - 1 } else { 0 });
    assert_eq!(hash_rows(&columns[exchanged..=exchanged]), hashes);
    let ends = ends.as_primitive::<TimestampMicrosecondType>();
    let number = |place: usize| columns[columns.len() - place].as_primitive::<Int64Type>();
    for row in 0..batch.rows() {
        let word = (!alone).then(|| columns[0].as_string_view().value(row).to_string());
        let end = ends.is_valid(row).then(|| ends.value(row));
        let state = states.entry((word, end)).or_insert((0, 0, i64::MAX));
        state.0 += number(4).value(row);
        state.1 += number(3).value(row);
        state.2 = state.2.min(number(2).value(row));
    }
}

/// Both ways to group the same epochs say the same.
fn check(spec: &AggregateSpec, epochs: &[(i64, Vec<Row>)], piece: usize) {
    let mut by_pane = PartialAggregate::new(spec.clone());
    let mut by_window = PartialAggregate::new(spec.clone()).without_panes();
    assert!(by_pane.describe().ends_with("by pane") && !by_window.describe().ends_with("by pane"));
    for (late_ms, rows) in epochs {
        let batches: Vec<_> = rows.chunks(piece).map(batch).collect();
        let (found, expected) = (epoch(&mut by_pane, *late_ms, &batches), epoch(&mut by_window, *late_ms, &batches));
        assert_eq!(found.states, expected.states, "late until {late_ms} ms");
        assert_eq!(found.dropped, expected.dropped, "late until {late_ms} ms");
    }
}

/// Windows of any size, slide and start, of which those have panes that are at least twice as long as they slide.
fn windows(unit: i64) -> impl Strategy<Value = Windows> {
    let parts = (1_i64..30).prop_flat_map(|slide| (Just(slide), slide..slide * 8, 1 - slide..slide));
    parts.prop_map(move |(slide, size, start)| Windows::new(size * unit, slide * unit, start * unit).unwrap())
}

fn overlapping(unit: i64) -> impl Strategy<Value = Windows> {
    windows(unit).prop_filter("overlap", |windows| windows.size() >= 2 * windows.slide())
}

fn common_divisor(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { common_divisor(b, a % b) }
}

proptest! {
    #[test]
    fn times_of_a_pane_are_in_the_same_windows_and_those_of_its_neighbours_in_others(
        windows in windows(1),
        time in -500_i64..500,
    ) {
        let Some(panes) = Panes::of_windows(windows) else {
            prop_assert!(windows.size() < 2 * windows.slide());
            return Ok(());
        };
        let pane = panes.at(time).unwrap();
        let mut ends: Vec<_> = windows.ends(time).collect();
        ends.reverse();
        let range = panes.windows_of(pane.number);
        prop_assert_eq!(&range.map(|window| panes.end(window)).collect::<Vec<_>>(), &ends);
        prop_assert_eq!(pane.first_end, ends[0]);
        prop_assert!(pane.holds(time) && pane.holds(pane.from) && !pane.holds(pane.to));
        prop_assert_eq!((pane.to - pane.from) % common_divisor(windows.size(), windows.slide()), 0);
        for other in pane.from..pane.to {
            prop_assert_eq!(panes.at(other), Some(pane));
        }
        prop_assert_eq!(panes.at(pane.from - 1).unwrap().number, pane.number - 1);
        prop_assert_eq!(panes.at(pane.to).unwrap().number, pane.number + 1);
        for other in [pane.from - 1, pane.to] {
            prop_assert!(windows.ends(other).ne(windows.ends(time)));
        }
    }

    #[test]
    fn every_window_is_put_together_of_each_of_its_panes_once(
        windows in overlapping(1),
        numbers in prop::collection::btree_set(-60_i64..60, 1..40),
    ) {
        let panes = Panes::of_windows(windows).unwrap();
        let numbers: Vec<i64> = numbers.into_iter().collect();
        let (mut found, mut times_shown) = (Vec::new(), BTreeMap::<i64, usize>::new());
        for block in numbers.chunk_by(|a, b| a.div_euclid(panes.of_window) == b.div_euclid(panes.of_window)) {
            let (mut gathered, mut gathers) = (Vec::new(), 0);
            for step in panes.steps(block) {
                match step {
                    Step::Gather(place) => {
                        gathered.push(block[place]);
                        gathers += 1;
                    }
                    Step::Forget => gathered.clear(),
                    Step::Show(of, windows) => {
                        let shown = match of {
                            Of::Pane(place) => vec![block[place]],
                            Of::Gathered => gathered.clone(),
                        };
                        for window in windows {
                            *times_shown.entry(window).or_default() += 1;
                            found.extend(shown.iter().map(|pane| (*pane, window)));
                        }
                    }
                }
            }
            prop_assert!(gathered.is_empty() && gathers <= 2 * block.len());
            prop_assert!(block.len() > 1 || gathers == 0);
        }
        found.sort_unstable();
        let windows_of = |pane: &i64| panes.windows_of(*pane).map(|window| (*pane, window)).collect::<Vec<_>>();
        prop_assert_eq!(found, numbers.iter().flat_map(windows_of).collect::<Vec<_>>());
        prop_assert!(times_shown.values().all(|times| *times <= 2));
    }

    #[test]
    fn panes_say_what_windows_say_at_every_watermark(
        windows in overlapping(SECOND),
        alone: bool,
        epochs in prop::collection::vec((-20_000_i64..250_000, prop::collection::vec(row(), 0..60)), 1..5),
        piece in 1_usize..40,
    ) {
        check(&spec(windows, alone), &epochs, piece);
    }
}

/// Rows around 1970-01-01T00:00:00Z, at and beside whole seconds.
fn row() -> impl Strategy<Value = Row> {
    let time = (-100_i64..250, prop::sample::select(vec![0, 0, -1, 1, 499_999]));
    let time = time.prop_map(|(seconds, micros)| seconds * SECOND + micros);
    (prop::option::weighted(0.95, time), 0_u16..4, -3_i64..4)
}

#[test]
fn a_row_late_for_some_of_its_windows_is_counted_in_the_others() {
    // Size 10, slide 4: panes of two seconds, of which 8 to 10 is in the windows that end at 10, 14 and 18.
    let windows = Windows::new(10 * SECOND, 4 * SECOND, 0).unwrap();
    let pane = Panes::of_windows(windows).unwrap().at(9 * SECOND).unwrap();
    assert_eq!((pane.from, pane.to, pane.first_end), (8 * SECOND, 10 * SECOND, 10 * SECOND));
    let rows = batch(&[(Some(9 * SECOND), 1, 5)]);
    for (late_ms, ends, late) in [
        (9_999, vec![10, 14, 18], vec![]),
        (10_000, vec![14, 18], vec![10]),
        (17_999, vec![18], vec![14, 10]),
        (18_000, vec![], vec![18, 14, 10]),
    ] {
        let mut operator = PartialAggregate::new(spec(windows, false));
        let said = epoch(&mut operator, late_ms, std::slice::from_ref(&rows));
        let found: Vec<i64> = said.states.keys().map(|key| key.1.unwrap() / SECOND).collect();
        assert_eq!(found, ends, "late until {late_ms} ms");
        let times = said.dropped.iter().flat_map(|(reason, _, times, _)| {
            assert_eq!(*reason, reason::LATE);
            times.as_ref().unwrap().values().to_vec()
        });
        assert_eq!(times.map(|time| time / SECOND).collect::<Vec<_>>(), late, "late until {late_ms} ms");
    }
}

#[test]
fn times_and_windows_near_the_limits_are_taken_as_without_panes() {
    let times = [i64::MIN, i64::MIN + 1, -FAR - 1, -FAR, -FAR + 1, -1, 0, 1, FAR - 1, FAR, i64::MAX - 1, i64::MAX];
    let rows: Vec<Row> = times.into_iter().chain([i64::MAX - 7 * SECOND]).map(|time| (Some(time), 1, 1)).collect();
    for (size, slide, start) in [(10, 4, -3), (10, 5, 4), (60 * SECOND, SECOND, 0), (FAR, FAR / 3, 5)] {
        let windows = Windows::new(size, slide, start).unwrap();
        for late_ms in [i64::MIN / 1000, 0, FAR / 1000] {
            check(&spec(windows, false), &[(late_ms, rows.clone())], 5);
        }
    }
    assert_eq!(Panes::of_windows(Windows::new(FAR + 1, FAR / 3, 0).unwrap()), None);
}

#[test]
fn a_flush_of_many_panes_pauses_while_the_output_is_full_and_goes_on_where_it_was() {
    let windows = Windows::new(12 * SECOND, 2 * SECOND, 0).unwrap();
    let spec = spec(windows, false);
    // Keys of twenty panes in a row, which are blocks of six, and of one far off.
    let seconds = (0..40).chain([400]);
    let rows: Vec<Row> =
        seconds.flat_map(|second| (0..2000).map(move |n| (Some(second * SECOND), n, second))).collect();
    let batches: Vec<_> = rows.chunks(5000).map(batch).collect();
    let mut by_pane = PartialAggregate::new(spec.clone());
    let expected = epoch(&mut PartialAggregate::new(spec).without_panes(), 0, &batches);
    assert_eq!(expected.states.len(), (25 + 6) * 2000);
    for _ in 0..2 {
        let found = epoch(&mut by_pane, 0, &batches);
        assert!(found.states == expected.states, "the states differ");
        assert!(found.rounds.iter().all(|batches| *batches <= 4), "{:?}", found.rounds);
        assert!(found.rounds.iter().filter(|batches| **batches == 4).count() > 1, "{:?}", found.rounds);
    }
}

#[test]
fn calls_that_can_tell_how_rows_were_grouped_and_windows_that_gain_nothing_have_no_panes() {
    let windows = |size, slide| Windows::new(size, slide, 0).unwrap();
    let of = |calls: Vec<AggregateCall>| Panes::of(&AggregateSpec { calls, ..spec(windows(10, 5), false) });
    let long = || call(NativeFunction::Sum, DataType::Int64);
    assert!(of(vec![]).is_some() && of(vec![long(), call(NativeFunction::Max, DataType::Utf8View)]).is_some());
    assert!(of(vec![call(NativeFunction::Sum, DataType::Decimal128(20, 2))]).is_some());
    for (function, data_type) in [
        (NativeFunction::Sum, DataType::Float64),
        (NativeFunction::Avg, DataType::Int64),
        (NativeFunction::Sum, DataType::Decimal128(30, 2)),
    ] {
        assert_eq!(of(vec![long(), call(function, data_type)]), None);
    }
    for (size, slide) in [(10, 10), (19, 10)] {
        assert_eq!(Panes::of(&spec(windows(size, slide), false)), None);
    }
    let times = AggregateSpec { time: None, ..spec(windows(10, 5), false) };
    assert_eq!(Panes::of(&times), None);
}
