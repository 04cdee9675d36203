use std::collections::{BTreeMap, BTreeSet};

use super::script::{KeepingSink, Results, Script, ScriptSource, random_script};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array};
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;

use super::*;
use crate::connector::BatchTable;
use crate::operator::aggregate::NativeFunction;
use crate::operator::{
    AggregateCall, AggregateSpec, CountBy, Deduplicate, Expression, ExpressionRef, FinalAggregate, JoinBound,
    JoinCondition, JoinInput, JoinKey, JoinSide, JoinSpec, JoinType, PartialAggregate, Project, StaticJoin, StreamJoin,
    TimeKey, TimeKind, Union, WatermarkNode, Windows,
};
use crate::protocol::OutputMode;

/// A topology under test and what it should give.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) build: fn(&[Script], u64, &KeepingSink) -> Topology,
    pub(super) expected: fn(&[Script]) -> Results,
    pub(super) sources: usize,
    /// The result depends on the watermark, which only the coordinator moves.
    pub(super) is_timed: bool,
    /// Of the results of all epochs, what does not depend on how rows are cut into epochs.
    pub(super) last: fn(Results) -> Vec<Vec<i64>>,
}

pub(super) const CASES: [Case; 8] = [
    Case {
        name: "count behind an exchange",
        build: count,
        expected: expect_count,
        sources: 1,
        is_timed: false,
        last: newest,
    },
    Case { name: "diamond", build: diamond, expected: expect_diamond, sources: 1, is_timed: false, last: newest },
    Case {
        name: "union of two sources",
        build: union,
        expected: expect_union,
        sources: 2,
        is_timed: false,
        last: newest,
    },
    Case {
        name: "two exchanges",
        build: two_exchanges,
        expected: expect_two_exchanges,
        sources: 1,
        is_timed: false,
        last: nothing,
    },
    Case { name: "windows", build: windows, expected: expect_windows, sources: 1, is_timed: true, last: all },
    Case { name: "static join", build: enriched, expected: expect_enriched, sources: 1, is_timed: false, last: all },
    Case { name: "full outer join", build: joined, expected: expect_joined, sources: 2, is_timed: true, last: all },
    Case { name: "duplicates", build: distinct, expected: expect_distinct, sources: 1, is_timed: false, last: all },
];

/// All rows.
fn all(results: Results) -> Vec<Vec<i64>> {
    let mut rows: Vec<Vec<i64>> = results.into_values().flatten().collect();
    rows.sort();
    rows
}

/// The last row of each key.
fn newest(results: Results) -> Vec<Vec<i64>> {
    let rows: BTreeMap<i64, Vec<i64>> = results.into_values().flatten().map(|row| (row[0], row)).collect();
    rows.into_values().collect()
}

/// Counts of counts shown in between depend on the cuts.
fn nothing(_: Results) -> Vec<Vec<i64>> {
    Vec::new()
}

fn source(scripts: &[Script], index: usize, seed: u64) -> ScriptSource {
    ScriptSource { script: scripts[index].clone(), seed: seed.wrapping_add(index as u64) }
}

fn update(by: &str) -> CountBy {
    CountBy::new(by).mode(OutputMode::Update)
}

fn count(scripts: &[Script], seed: u64, sink: &KeepingSink) -> Topology {
    let mut topology = Topology::builder("count");
    let rows = topology.source("rows", source(scripts, 0, seed));
    let counts = topology.operator("count", update("key")).partitioned_by(rows, "key");
    topology.sink("keep", sink.clone()).after(counts);
    topology.build().unwrap()
}

fn diamond(scripts: &[Script], seed: u64, sink: &KeepingSink) -> Topology {
    let mut topology = Topology::builder("diamond");
    let rows = topology.source("rows", source(scripts, 0, seed));
    let left = topology.operator("left", Union::new(1)).after(rows);
    let right = topology.operator("right", Union::new(1)).after(rows);
    let both = topology.operator("both", Union::new(2)).after_all([left, right]);
    let counts = topology.operator("count", update("key")).partitioned_by(both, "key");
    topology.sink("keep", sink.clone()).after(counts);
    topology.build().unwrap()
}

fn union(scripts: &[Script], seed: u64, sink: &KeepingSink) -> Topology {
    let mut topology = Topology::builder("union");
    let first = topology.source("first", source(scripts, 0, seed));
    let second = topology.source("second", source(scripts, 1, seed));
    let both = topology.operator("both", Union::new(2)).after_all([first, second]);
    let counts = topology.operator("count", update("value")).partitioned_by(both, "value");
    topology.sink("keep", sink.clone()).after(counts);
    topology.build().unwrap()
}

fn two_exchanges(scripts: &[Script], seed: u64, sink: &KeepingSink) -> Topology {
    let mut topology = Topology::builder("two-exchanges");
    let rows = topology.source("rows", source(scripts, 0, seed));
    let counts = topology.operator("count", update("key")).partitioned_by(rows, "key");
    let sizes = topology.operator("sizes", update("count")).partitioned_by(counts, "count");
    // The inner count and the outer one have the same name; only the outer is shown.
    topology.sink("keep", sink.clone()).after(sizes);
    topology.build().unwrap()
}

/// An expression that is a Rust function of the batch.
#[derive(Debug)]
struct Computed(fn(&RecordBatch) -> ArrayRef);

impl Expression for Computed {
    fn evaluate(&self, batch: &RecordBatch, _: EpochTime) -> Result<ArrayRef> {
        Ok((self.0)(batch))
    }
}

const WINDOW_SECONDS: i64 = 4;
const DELAY_SECONDS: i64 = 2;

/// The key as a time in seconds.
fn times(batch: &RecordBatch) -> ArrayRef {
    let seconds = batch.column(0).as_primitive::<Int64Type>();
    Arc::new(seconds.unary::<_, TimestampMicrosecondType>(|second| second * 1_000_000).with_timezone("UTC"))
}

/// The end of the window in seconds.
fn ends(batch: &RecordBatch) -> ArrayRef {
    let ends = batch.column(1).as_struct().column(1).as_primitive::<TimestampMicrosecondType>();
    Arc::new(ends.unary::<_, Int64Type>(|micros| micros / 1_000_000))
}

/// Counts values in windows of the keys, taken as times, in append mode.
fn windows(scripts: &[Script], seed: u64, sink: &KeepingSink) -> Topology {
    let column = |name: &str, data_type: DataType, compute| -> (FieldRef, ExpressionRef) {
        (Arc::new(Field::new(name, data_type, true)), Arc::new(Computed(compute)))
    };
    let time_type = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let bound = |name| Field::new(name, time_type.clone(), true);
    let window = DataType::Struct(vec![bound("start"), bound("end")].into());
    let spec = AggregateSpec {
        keys: vec![
            Arc::new(Computed(|batch| batch.column(1).clone())),
            Arc::new(Computed(|batch| batch.column(0).clone())),
        ],
        key_fields: vec![
            Arc::new(Field::new("value", DataType::Int64, true)),
            Arc::new(Field::new("window", window, true)),
        ],
        calls: vec![AggregateCall::native("count", NativeFunction::Count, None).unwrap()],
        time: Some(TimeKey {
            place: 1,
            kind: TimeKind::Windows(Windows::tumbling(WINDOW_SECONDS * 1_000_000).unwrap()),
            is_watermarked: true,
        }),
    };
    let mut topology = Topology::builder("windows");
    let rows = topology.source("rows", source(scripts, 0, seed));
    let timed = Project::new(vec![
        column("time", time_type.clone(), times),
        column("value", DataType::Int64, |batch| batch.column(1).clone()),
    ]);
    let timed = topology.operator("timed", timed).after(rows);
    let delay = std::time::Duration::from_secs(DELAY_SECONDS.cast_unsigned());
    let watermark = topology.operator("watermark", WatermarkNode::new(0, delay)).after(timed);
    let partial = topology.operator("partial", PartialAggregate::new(spec.clone())).after(watermark);
    let last =
        topology.operator("count", FinalAggregate::new(spec, OutputMode::Append)).partitioned_by(partial, "value");
    let shown = Project::new(vec![
        column("value", DataType::Int64, |batch| batch.column(0).clone()),
        column("end", DataType::Int64, ends),
        column("count", DataType::Int64, |batch| batch.column(2).clone()),
    ]);
    let shown = topology.operator("shown", shown).after(last);
    topology.sink("keep", sink.clone()).after(shown);
    topology.build().unwrap()
}

fn expect_windows(scripts: &[Script]) -> Results {
    let mut groups: BTreeMap<(i64, i64), i64> = BTreeMap::new();
    let (mut late, mut evict) = (0, 0);
    let mut results = Results::new();
    // An epoch without input follows the last one if that moved the watermark.
    for rows in scripts[0].iter().chain([&Vec::new()]) {
        if rows.is_empty() && late == evict {
            break;
        }
        for (second, value) in rows {
            let end = second.div_euclid(WINDOW_SECONDS) * WINDOW_SECONDS + WINDOW_SECONDS;
            if end > late {
                *groups.entry((*value, end)).or_default() += 1;
            }
        }
        let is_final = |end: i64| end <= evict;
        let shown = groups.iter().filter(|((_, end), _)| is_final(*end));
        let shown = shown.map(|((value, end), count)| vec![*value, *end, *count]).collect();
        results.insert(results.len() as u64, shown);
        groups.retain(|(_, end), _| !is_final(*end));
        let highest = rows.iter().map(|(second, _)| second - DELAY_SECONDS).max().unwrap_or(0);
        (late, evict) = (evict, evict.max(highest));
    }
    results
}

/// Rows of two sources meet if they have one value and their times are at most this far apart.
const REACH_SECONDS: i64 = 2;

/// The first two columns as times in seconds: whether they are close.
fn are_close(batch: &RecordBatch) -> ArrayRef {
    let times = [0, 1].map(|column| batch.column(column).as_primitive::<TimestampMicrosecondType>());
    let is_close = |row: usize| (times[0].value(row) - times[1].value(row)).abs() <= REACH_SECONDS * 1_000_000;
    Arc::new((0..batch.num_rows()).map(|row| Some(is_close(row))).collect::<BooleanArray>())
}

/// What stands in a column, in seconds if it is a time, and -1 for null.
fn number(batch: &RecordBatch, column: usize) -> ArrayRef {
    let column = batch.column(column);
    let value = |row: usize| match column.data_type() {
        _ if column.is_null(row) => -1,
        DataType::Int64 => column.as_primitive::<Int64Type>().value(row),
        _ => column.as_primitive::<TimestampMicrosecondType>().value(row) / 1_000_000,
    };
    Arc::new((0..column.len()).map(value).collect::<Int64Array>())
}

fn joined(scripts: &[Script], seed: u64, sink: &KeepingSink) -> Topology {
    let time_type = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let field = |name: &str, data_type: &DataType| Arc::new(Field::new(name, data_type.clone(), true));
    let side = Schema::new(vec![field("time", &time_type), field("value", &DataType::Int64)]);
    let mut topology = Topology::builder("join");
    let mut sides = Vec::new();
    for (index, name) in ["left", "right"].into_iter().enumerate() {
        let rows = topology.source(name, source(scripts, index, seed));
        let timed: Vec<(FieldRef, ExpressionRef)> = vec![
            (field("time", &time_type), Arc::new(Computed(times))),
            (field("value", &DataType::Int64), Arc::new(Computed(|batch| batch.column(1).clone()))),
        ];
        let timed = topology.operator(format!("timed-{name}"), Project::new(timed)).after(rows);
        let delay = std::time::Duration::from_secs(DELAY_SECONDS.cast_unsigned());
        sides.push(topology.operator(format!("watermark-{name}"), WatermarkNode::new(0, delay)).after(timed));
    }
    let mut spec = JoinSpec::new(JoinType::Full, vec![JoinKey { left: 1, right: 1, null_safe: false }], &side, &side);
    spec.condition = Some(JoinCondition {
        columns: vec![(JoinSide::Left, 0), (JoinSide::Right, 0)],
        schema: Arc::new(Schema::new(vec![field("l", &time_type), field("r", &time_type)])),
        expression: Arc::new(Computed(are_close)),
    });
    let bound = Some(JoinBound { column: 0, offset_ms: -1000 * REACH_SECONDS - 1 });
    let input = || JoinInput { event_time: Some(0), bound, condition: None };
    let join = StreamJoin::new(spec).with_inputs(input(), input());
    let join = topology.operator("join", join).partitioned_together([(sides[0], vec![1]), (sides[1], vec![1])]);
    let columns: [fn(&RecordBatch) -> ArrayRef; 4] =
        [|batch| number(batch, 0), |batch| number(batch, 1), |batch| number(batch, 2), |batch| number(batch, 3)];
    let shown = columns
        .map(|column| -> (FieldRef, ExpressionRef) { (field("n", &DataType::Int64), Arc::new(Computed(column))) });
    let shown = topology.operator("shown", Project::new(shown.to_vec())).after(join);
    topology.sink("keep", sink.clone()).after(shown);
    topology.build().unwrap()
}

fn expect_joined(scripts: &[Script]) -> Results {
    let mut stored: [Vec<(i64, i64, bool)>; 2] = [Vec::new(), Vec::new()];
    let (mut highest, mut late, mut evict) = ([None, None], 0, 0);
    let mut results = Results::new();
    let epochs = scripts.iter().map(Vec::len).max().unwrap();
    let row = |side: usize, own: (i64, i64), other: (i64, i64)| {
        let (left, right) = if side == 0 { (own, other) } else { (other, own) };
        vec![left.0, left.1, right.0, right.1]
    };
    for epoch in 0..=epochs {
        if epoch == epochs && late == evict {
            break;
        }
        let mut shown = Vec::new();
        for side in [0, 1] {
            for (second, value) in scripts[side].get(epoch).into_iter().flatten().copied() {
                highest[side] = highest[side].max(Some(second));
                if second <= late {
                    continue;
                }
                let mut has_met = false;
                for (other_second, other_value, other_met) in &mut stored[1 - side] {
                    if value == *other_value && (second - *other_second).abs() <= REACH_SECONDS {
                        shown.push(row(side, (second, value), (*other_second, *other_value)));
                        (has_met, *other_met) = (true, true);
                    }
                }
                stored[side].push((second, value, has_met));
            }
        }
        for (side, rows) in stored.iter_mut().enumerate() {
            let is_final = |second: i64| second * 1000 < (evict - REACH_SECONDS) * 1000;
            let alone = rows.iter().filter(|(second, _, has_met)| is_final(*second) && !has_met);
            shown.extend(alone.map(|(second, value, _)| row(side, (*second, *value), (-1, -1))));
            rows.retain(|(second, _, _)| !is_final(*second));
        }
        shown.sort();
        results.insert(epoch as u64, shown);
        let lowest = highest.iter().map(|seen| seen.map_or(0, |second| second - DELAY_SECONDS)).min().unwrap();
        (late, evict) = (evict, evict.max(lowest));
    }
    results
}

/// A key has as many partners as its square; from this one on it has none.
const PARTNERLESS_KEY: i64 = 6;

/// Pairs of a key and a number.
struct Squares;

impl BatchTable for Squares {
    fn schema(&self) -> SchemaRef {
        let field = |name| Field::new(name, DataType::Int64, true);
        Arc::new(Schema::new(vec![field("key"), field("number")]))
    }

    fn description(&self) -> String {
        "Squares".to_string()
    }

    fn read(&self, _: Option<&[usize]>) -> Result<Vec<RecordBatch>> {
        let rows = || (0..PARTNERLESS_KEY).flat_map(|key| (0..key * key).map(move |number| (key, number)));
        let (keys, numbers): (Int64Array, Int64Array) =
            (rows().map(|row| row.0).collect(), rows().map(|row| row.1).collect());
        Ok(vec![RecordBatch::try_new(self.schema(), vec![Arc::new(keys), Arc::new(numbers)])?])
    }
}

fn enriched(scripts: &[Script], seed: u64, sink: &KeepingSink) -> Topology {
    let mut topology = Topology::builder("static-join");
    let rows = topology.source("rows", source(scripts, 0, seed));
    let table = Squares.schema();
    let key = JoinKey { left: 0, right: 0, null_safe: false };
    let spec = JoinSpec::new(JoinType::Left, vec![key], &table, &table);
    let join = StaticJoin::new(spec, JoinSide::Right, table);
    let join = topology.operator("join", join).reading(Arc::new(Squares)).after(rows);
    let columns: [fn(&RecordBatch) -> ArrayRef; 2] = [|batch| number(batch, 0), |batch| number(batch, 3)];
    let shown = columns.map(|column| -> (FieldRef, ExpressionRef) {
        (Arc::new(Field::new("n", DataType::Int64, true)), Arc::new(Computed(column)))
    });
    let shown = topology.operator("shown", Project::new(shown.to_vec())).after(join);
    topology.sink("keep", sink.clone()).after(shown);
    topology.build().unwrap()
}

fn expect_enriched(scripts: &[Script]) -> Results {
    let partners = |key: i64| if (1..PARTNERLESS_KEY).contains(&key) { (0..key * key).collect() } else { vec![-1] };
    let shown = |keys: Vec<i64>| {
        let mut rows: Vec<Vec<i64>> =
            keys.into_iter().flat_map(|key| partners(key).into_iter().map(move |number| vec![key, number])).collect();
        rows.sort();
        rows
    };
    (0..).zip(keys(&scripts[0])).map(|(epoch, keys)| (epoch, shown(keys))).collect()
}

/// The keys, each once.
fn distinct(scripts: &[Script], seed: u64, sink: &KeepingSink) -> Topology {
    let mut topology = Topology::builder("duplicates");
    let rows = topology.source("rows", source(scripts, 0, seed));
    let seen = topology.operator("seen", Deduplicate::new(vec![0], None, true)).partitioned_by(rows, "key");
    let key: (FieldRef, ExpressionRef) =
        (Arc::new(Field::new("key", DataType::Int64, true)), Arc::new(Computed(|batch| number(batch, 0))));
    let shown = topology.operator("shown", Project::new(vec![key])).after(seen);
    topology.sink("keep", sink.clone()).after(shown);
    topology.build().unwrap()
}

fn expect_distinct(scripts: &[Script]) -> Results {
    let mut seen = BTreeSet::new();
    let mut new = |keys: Vec<i64>| {
        let keys: BTreeSet<i64> = keys.into_iter().collect();
        keys.into_iter().filter(|key| seen.insert(*key)).map(|key| vec![key]).collect()
    };
    (0..).zip(keys(&scripts[0])).map(|(epoch, keys)| (epoch, new(keys))).collect()
}

/// Counts `keys` epoch by epoch and shows those touched, as update mode does.
fn touched_counts(epochs: impl IntoIterator<Item = Vec<i64>>) -> Results {
    let mut counts: BTreeMap<i64, i64> = BTreeMap::new();
    let mut results = Results::new();
    for (epoch, keys) in epochs.into_iter().enumerate() {
        for key in &keys {
            *counts.entry(*key).or_default() += 1;
        }
        let touched: BTreeSet<i64> = keys.into_iter().collect();
        results.insert(epoch as u64, touched.into_iter().map(|key| vec![key, counts[&key]]).collect());
    }
    results
}

fn keys(script: &Script) -> Vec<Vec<i64>> {
    script.iter().map(|rows| rows.iter().map(|row| row.0).collect()).collect()
}

fn expect_count(scripts: &[Script]) -> Results {
    touched_counts(keys(&scripts[0]))
}

fn expect_diamond(scripts: &[Script]) -> Results {
    touched_counts(keys(&scripts[0]).into_iter().map(|keys| [keys.clone(), keys].concat()))
}

fn expect_union(scripts: &[Script]) -> Results {
    let epochs = scripts.iter().map(Vec::len).max().unwrap();
    let values = |script: &Script, epoch: usize| -> Vec<i64> {
        script.get(epoch).map(|rows| rows.iter().map(|row| row.1).collect()).unwrap_or_default()
    };
    touched_counts((0..epochs).map(|epoch| scripts.iter().flat_map(|script| values(script, epoch)).collect()))
}

fn expect_two_exchanges(scripts: &[Script]) -> Results {
    let inner = touched_counts(keys(&scripts[0]));
    touched_counts(inner.into_values().map(|rows| rows.into_iter().map(|row| row[1]).collect()))
}

/// Runs one seed of one case and compares with the oracle.
fn run(case: &Case, seed: u64, defect: Option<Defect>) -> Result<()> {
    let mut random = Random::new(seed);
    let scripts: Vec<Script> = (0..case.sources).map(|_| random_script(&mut random, 4)).collect();
    let sink = KeepingSink::default();
    let topology = (case.build)(&scripts, random.next(), &sink);
    let parallelism = [1, 2, 3, 4][random.below(4)];
    let window = Window { batches: [1, 2, 4][random.below(3)], bytes: [1, 1 << 20][random.below(2)] };
    let is_pipelined = random.below(2) == 0 && !case.is_timed;
    let seed = random.next();
    let trigger = TriggerKind::AvailableNow;
    let options = SimulationOptions { seed, parallelism, window, defect, is_pipelined, trigger, protocol_defect: None };
    simulate(&topology, options)?;
    let (found, expected) = (sink.sorted(), (case.expected)(&scripts));
    if found != expected {
        return Err(Error::internal(format!("the result is {found:?} instead of {expected:?}")));
    }
    Ok(())
}

/// The seeds to run: one given by hand, or so many.
pub(super) fn seeds(count: u64) -> Vec<u64> {
    match std::env::var("SIMULATION_SEED") {
        Ok(seed) => vec![seed.parse().expect("SIMULATION_SEED is a number")],
        Err(_) => (0..count).collect(),
    }
}

#[test]
fn the_result_does_not_depend_on_the_schedule() {
    for case in &CASES {
        for seed in seeds(600) {
            if let Err(error) = run(case, seed, None) {
                panic!("{}: {error}\nreplay: SIMULATION_SEED={seed} cargo test simulation", case.name);
            }
        }
    }
}

#[test]
fn every_planted_defect_is_found() {
    for defect in [Defect::NoAlignment, Defect::BarrierOvertakes, Defect::LostCredit] {
        let found = (0..600).any(|seed| CASES.iter().any(|case| run(case, seed, Some(defect)).is_err()));
        assert!(found, "{defect:?} was not found by any seed");
    }
}

#[test]
fn a_seed_replays_the_same_events() {
    let outcome = |seed| run(&CASES[1], seed, Some(Defect::NoAlignment)).map_err(|error| error.to_string());
    let failing = (0..600).find(|seed| outcome(*seed).is_err()).expect("some seed fails");
    assert_eq!(outcome(failing), outcome(failing));
}
