use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, StringViewArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use proptest::prelude::*;

use super::*;
use crate::operator::restarts::{self, Subject};
use crate::operator::{
    Balance, Barrier, BarrierKind, Batch, Checked, EpochTime, Expression, Flow, Operator, OperatorContext, Output,
    StatePart, Watermark, reason,
};
use crate::protocol::key_group::hash_rows;

/// A row of either side: key, a second key, time in microseconds, value, and a number that tells rows apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Row {
    key: Option<i64>,
    word: Option<&'static str>,
    time: Option<i64>,
    value: i64,
    id: i64,
}

const KEY: usize = 0;
const WORD: usize = 1;
const TIME: usize = 2;
const VALUE: usize = 3;
const ID: usize = 4;
const KINDS: [JoinType; 5] = [JoinType::Inner, JoinType::Left, JoinType::Right, JoinType::Full, JoinType::LeftSemi];

fn batch(rows: &[Row]) -> RecordBatch {
    let times = rows.iter().map(|row| row.time).collect::<TimestampMicrosecondArray>().with_timezone("UTC");
    let columns: [(&str, ArrayRef); 5] = [
        ("key", Arc::new(rows.iter().map(|row| row.key).collect::<Int64Array>())),
        ("word", Arc::new(rows.iter().map(|row| row.word).collect::<StringViewArray>())),
        ("time", Arc::new(times)),
        ("value", Arc::new(rows.iter().map(|row| Some(row.value)).collect::<Int64Array>())),
        ("id", Arc::new(rows.iter().map(|row| Some(row.id)).collect::<Int64Array>())),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true))).unwrap()
}

fn schema() -> SchemaRef {
    batch(&[]).schema()
}

/// `first column < second column`, or `first column > 0` if there is one only.
#[derive(Debug)]
struct Less;

impl Expression for Less {
    fn evaluate(&self, batch: &RecordBatch, _: EpochTime) -> crate::Result<ArrayRef> {
        let column = |index: usize| batch.column(index).as_primitive::<Int64Type>();
        let less = |row: usize| match batch.num_columns() {
            1 => column(0).value(row) > 0,
            _ => column(0).value(row) < column(1).value(row),
        };
        Ok(Arc::new((0..batch.num_rows()).map(|row| Some(less(row))).collect::<BooleanArray>()))
    }
}

/// What varies between joins.
#[derive(Debug, Clone)]
struct Case {
    kind: JoinType,
    /// Joined by number, word or both; the last with null equal to null.
    keys: usize,
    /// Offsets of the bounds in milliseconds.
    bounds: [Option<i64>; 2],
    judges: [bool; 2],
    has_condition: bool,
    own_conditions: [bool; 2],
}

impl Case {
    fn keys(&self) -> Vec<JoinKey> {
        let key = |column: usize, null_safe: bool| JoinKey { left: column, right: column, null_safe };
        match self.keys {
            0 => vec![key(KEY, false)],
            1 => vec![key(WORD, false)],
            2 => vec![key(KEY, false), key(WORD, true)],
            _ => vec![key(KEY, true)],
        }
    }

    fn operator(&self) -> StreamJoin {
        let mut spec = JoinSpec::new(self.kind, self.keys(), &schema(), &schema());
        spec.condition = self.has_condition.then(|| JoinCondition {
            columns: vec![(JoinSide::Left, VALUE), (JoinSide::Right, VALUE)],
            schema: Arc::new(Schema::new(vec![
                Field::new("l", DataType::Int64, true),
                Field::new("r", DataType::Int64, true),
            ])),
            expression: Arc::new(Less),
        });
        let input = |side: usize| JoinInput {
            event_time: self.judges[side].then_some(TIME),
            bound: self.bounds[side].map(|offset_ms| JoinBound { column: TIME, offset_ms }),
            condition: self.own_conditions[side].then(|| Arc::new(Positive) as ExpressionRef),
        };
        StreamJoin::new(spec).with_inputs(input(0), input(1))
    }
}

/// The value is above 0.
#[derive(Debug)]
struct Positive;

impl Expression for Positive {
    fn evaluate(&self, batch: &RecordBatch, time: EpochTime) -> crate::Result<ArrayRef> {
        Less.evaluate(&batch.project(&[VALUE])?, time)
    }
}

/// One epoch's watermark and rows.
#[derive(Debug, Clone)]
struct Epoch {
    evict_ms: i64,
    sides: [Vec<Row>; 2],
}

/// What one epoch shows: pairs of ids, sorted, and counts.
#[derive(Debug, PartialEq, Eq, Default)]
struct Shown {
    pairs: Vec<(Option<i64>, Option<i64>)>,
    late: u64,
    state_rows: [u64; 2],
}

/// Nested loops over lists.
struct Oracle<'a> {
    case: &'a Case,
    stored: [Vec<(Row, bool)>; 2],
    late_ms: i64,
}

impl Oracle<'_> {
    fn keys_equal(&self, left: &Row, right: &Row) -> bool {
        let number = left.key.is_some() && left.key == right.key;
        match self.case.keys {
            0 => number,
            1 => left.word.is_some() && left.word == right.word,
            2 => number && left.word == right.word,
            _ => left.key == right.key,
        }
    }

    /// Whether the keys of a row can equal any.
    fn can_match(&self, row: &Row) -> bool {
        match self.case.keys {
            0 | 2 => row.key.is_some(),
            1 => row.word.is_some(),
            _ => true,
        }
    }

    fn matches(&self, left: &Row, right: &Row) -> bool {
        self.keys_equal(left, right) && (!self.case.has_condition || left.value < right.value)
    }

    fn arrive(&mut self, side: usize, row: Row, shown: &mut Shown) {
        let kind = self.case.kind;
        let own = if side == 0 { JoinSide::Left } else { JoinSide::Right };
        let is_late = |time: i64| time <= self.late_ms * 1000;
        if self.case.judges[side] && row.time.is_some_and(is_late) {
            shown.late += 1;
            return;
        }
        if self.case.own_conditions[side] && row.value <= 0 {
            if kind.keeps(own) {
                shown.pairs.push(pair(side, row.id, None));
            }
            return;
        }
        let mut matched = false;
        for index in 0..self.stored[1 - side].len() {
            let (other, other_matched) = self.stored[1 - side][index];
            let (left, right) = if side == 0 { (row, other) } else { (other, row) };
            if !self.matches(&left, &right) {
                continue;
            }
            if kind != JoinType::LeftSemi {
                shown.pairs.push((Some(left.id), Some(right.id)));
            } else if (side == 0 && !matched) || (side == 1 && !other_matched) {
                shown.pairs.push((Some(left.id), None));
            }
            matched = true;
            self.stored[1 - side][index].1 = true;
        }
        // A left row of a semi join that was put out is done.
        if kind == JoinType::LeftSemi {
            self.stored[0].retain(|(_, matched)| !matched);
        }
        let is_shown = kind == JoinType::LeftSemi && side == 0 && matched;
        if !is_shown && (self.can_match(&row) || kind.keeps(own)) {
            self.stored[side].push((row, matched));
        }
    }

    fn epoch(&mut self, epoch: &Epoch) -> Shown {
        let mut shown = Shown::default();
        for side in [0, 1] {
            epoch.sides[side].iter().for_each(|row| self.arrive(side, *row, &mut shown));
        }
        for (side, own) in [JoinSide::Left, JoinSide::Right].into_iter().enumerate() {
            let Some(offset_ms) = self.case.bounds[side] else { continue };
            let limit = (epoch.evict_ms + offset_ms) * 1000;
            let (freed, kept) =
                self.stored[side].iter().partition(|(row, _)| row.time.is_some_and(|time| time <= limit));
            let freed: Vec<(Row, bool)> = freed;
            self.stored[side] = kept;
            let alone = freed.iter().filter(|(_, matched)| !matched && self.case.kind.keeps(own));
            shown.pairs.extend(alone.map(|(row, _)| pair(side, row.id, None)));
        }
        self.late_ms = epoch.evict_ms;
        shown.state_rows = [0, 1].map(|side| self.stored[side].len() as u64);
        shown.pairs.sort_unstable();
        shown
    }
}

fn pair(side: usize, own: i64, other: Option<i64>) -> (Option<i64>, Option<i64>) {
    if side == 0 { (Some(own), other) } else { (other, Some(own)) }
}

/// The operator, fed in pieces.
struct Run {
    operator: Checked,
    late_ms: i64,
    epoch: u64,
    balance: Balance,
}

impl Run {
    fn new(operator: StreamJoin) -> Self {
        let inputs = [schema(), schema()];
        let mut operator = Checked::new("join".into(), Box::new(operator), &inputs).unwrap();
        let context = OperatorContext { name: "join".into(), instance: 0, parallelism: 1, inputs: inputs.to_vec() };
        operator.open(&context).unwrap();
        Self { operator, late_ms: 0, epoch: 0, balance: Balance::default() }
    }

    /// One epoch whose rows come in this order of side and count of rows.
    fn epoch(&mut self, epoch: &Epoch, cuts: &[(usize, usize)]) -> Shown {
        let (mut output, mut shown) = (Output::default(), Shown::default());
        let here = Some(Watermark { late_ms: self.late_ms, evict_ms: epoch.evict_ms });
        self.operator.on_watermark(EpochTime { here, ..EpochTime::default() }, &mut output).unwrap();
        let mut rest = epoch.sides.clone();
        let cuts = cuts.iter().copied().chain([(0, usize::MAX), (1, usize::MAX)]);
        for (side, count) in cuts {
            let count = count.min(rest[side].len());
            let rows: Vec<Row> = rest[side].drain(..count).collect();
            if rows.is_empty() {
                continue;
            }
            let flow = self.operator.on_batch(side, Batch::from(batch(&rows)), &mut output).unwrap();
            self.finish(flow, &mut output, &mut shown);
        }
        let barrier = Barrier { epoch: self.epoch, kind: BarrierKind::Light, has_data: true };
        let flow = self.operator.on_barrier(&barrier, &mut output).unwrap();
        self.finish(flow, &mut output, &mut shown);
        (self.epoch, self.late_ms) = (self.epoch + 1, epoch.evict_ms);
        self.account(epoch, &mut shown);
        shown
    }

    fn finish(&mut self, mut flow: Flow, output: &mut Output, shown: &mut Shown) {
        loop {
            let batches = output.take_batches();
            // A chunk a batch, but for the rows of an input batch that can have no partner.
            assert!(batches.len() <= 5 && batches.iter().all(|batch| batch.num_rows() <= pairs::CHUNK.max(30)));
            shown.pairs.extend(batches.iter().flat_map(ids));
            let (counts, rows) = output.take_dropped();
            let late: u64 = counts.iter().map(|(_, count)| count).sum();
            assert!(counts.iter().all(|(why, _)| *why == reason::LATE));
            assert_eq!(late, rows.iter().map(|rows| rows.records.num_rows() as u64).sum::<u64>());
            shown.late += late;
            if flow == Flow::Done {
                return;
            }
            flow = self.operator.resume(output).unwrap();
        }
    }

    fn account(&mut self, epoch: &Epoch, shown: &mut Shown) {
        let stats = self.operator.take_stats();
        shown.pairs.sort_unstable();
        shown.state_rows = stats.sides.unwrap().map(|side| side.rows);
        assert_eq!(stats.state_rows, Some(shown.state_rows.iter().sum()));
        let rows_in = epoch.sides.iter().map(Vec::len).sum::<usize>() as u64;
        let balance = stats.balance.unwrap();
        assert_eq!(balance, Balance { made: shown.pairs.len() as u64, absorbed: rows_in - shown.late });
        self.balance = balance;
    }
}

fn ids(batch: &RecordBatch) -> Vec<(Option<i64>, Option<i64>)> {
    let of = |column: usize, row: usize| {
        let column = batch.columns().get(column)?.as_primitive::<Int64Type>();
        column.is_valid(row).then(|| column.value(row))
    };
    (0..batch.num_rows()).map(|row| (of(ID, row), of(5 + ID, row))).collect()
}

fn row() -> impl Strategy<Value = Row> {
    let key = prop_oneof![1 => Just(None), 6 => (0..4_i64).prop_map(Some)];
    let word = prop_oneof![1 => Just(None), 5 => prop_oneof![Just("a"), Just("a word of more than twelve bytes"), Just("b")].prop_map(Some)];
    let time = prop_oneof![1 => Just(None), 12 => (-2_000_i64..20_000).prop_map(Some)];
    (key, word, time, -2..4_i64).prop_map(|(key, word, time, value)| Row { key, word, time, value, id: 0 })
}

fn case() -> impl Strategy<Value = Case> {
    let bound = || prop_oneof![1 => Just(None), 3 => (-6_i64..3).prop_map(Some)];
    let flags = || (any::<bool>(), any::<bool>()).prop_map(|(left, right)| [left, right]);
    let bounds = (bound(), bound()).prop_map(|(left, right)| [left, right]);
    (prop::sample::select(KINDS.to_vec()), 0..4_usize, bounds, flags(), any::<bool>(), flags()).prop_map(
        |(kind, keys, bounds, judges, has_condition, own_conditions)| Case {
            kind,
            keys,
            bounds,
            judges,
            has_condition,
            own_conditions,
        },
    )
}

fn epochs() -> impl Strategy<Value = Vec<Epoch>> {
    let rows = || prop::collection::vec(row(), 0..30);
    let epoch = (0..6_i64, rows(), rows()).prop_map(|(step, left, right)| (step, [left, right]));
    prop::collection::vec(epoch, 1..9).prop_map(|steps| {
        let (mut evict_ms, mut id) = (0, 0);
        let mut epochs = Vec::new();
        for (step, mut sides) in steps {
            evict_ms += step;
            for row in sides.iter_mut().flatten() {
                (row.id, id) = (id, id + 1);
            }
            epochs.push(Epoch { evict_ms, sides });
        }
        epochs
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn a_join_shows_what_nested_loops_show_however_rows_are_cut(
        case in case(),
        epochs in epochs(),
        cuts in prop::collection::vec((0..2_usize, 1..12_usize), 0..12),
    ) {
        let mut oracle = Oracle { case: &case, stored: [Vec::new(), Vec::new()], late_ms: 0 };
        let mut run = Run::new(case.operator());
        for epoch in &epochs {
            prop_assert_eq!(run.epoch(epoch, &cuts), oracle.epoch(epoch));
        }
    }
}

/// Which columns rows are divided by.
fn hashes(case: &Case, rows: &RecordBatch) -> Vec<u64> {
    let columns: Vec<ArrayRef> = case.keys().iter().map(|key| Arc::clone(rows.column(key.left))).collect();
    hash_rows(&columns)
}

/// Epochs whose watermark is what the last one saw, as a query has it.
fn trial(case: &Case, epochs: &[Epoch]) -> Vec<restarts::Epoch> {
    let mut late_ms = 0;
    let of = |epoch: &Epoch| {
        let here = Some(Watermark { late_ms, evict_ms: epoch.evict_ms });
        late_ms = epoch.evict_ms;
        // Both sides in pieces, in turn.
        let pieces = |side: usize| epoch.sides[side].chunks(7).map(move |rows| (side, batch(rows)));
        let mut rows: Vec<_> = pieces(0).zip(pieces(1)).flat_map(|(left, right)| [left, right]).collect();
        let done = rows.len() / 2;
        rows.extend(pieces(0).skip(done).chain(pieces(1).skip(done)));
        let rows = rows.into_iter().map(|(side, rows)| {
            let hashes = hashes(case, &rows);
            (side, rows, hashes)
        });
        restarts::Epoch { here, rows: rows.collect() }
    };
    epochs.iter().map(of).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_restart_changes_nothing_of_a_join(
        case in case(),
        epochs in epochs(),
        turns in restarts::turns(),
        has_watermark in prop::bool::weighted(0.9),
        carries_hashes: bool,
    ) {
        let make = || -> Box<dyn Operator> {
            let operator = case.operator();
            Box::new(if carries_hashes { operator.with_exchanged_keys() } else { operator })
        };
        let subject = Subject { make: &make, inputs: vec![schema(), schema()], instances: 3, carries_hashes };
        let mut epochs = trial(&case, &epochs);
        if !has_watermark {
            for epoch in &mut epochs {
                epoch.here = None;
            }
        }
        restarts::check(&subject, &epochs, &turns);
    }
}

/// A left join whose rows are freed by their time.
fn left_join() -> Case {
    Case {
        kind: JoinType::Left,
        keys: 0,
        bounds: [Some(0), Some(-2)],
        judges: [true, true],
        has_condition: false,
        own_conditions: [false, true],
    }
}

fn opened(case: &Case, inputs: &[SchemaRef]) -> StreamJoin {
    let mut operator = case.operator();
    let context = OperatorContext { name: "join".into(), instance: 0, parallelism: 1, inputs: inputs.to_vec() };
    operator.open(&context).unwrap();
    operator
}

#[test]
fn the_identity_tells_kind_keys_conditions_and_what_frees_rows() {
    let columns = "key BIGINT, word STRING, time TIMESTAMP, value BIGINT, id BIGINT; event time time TIMESTAMP";
    let left = format!("left ({columns}; freed by time TIMESTAMP at the watermark +0 ms)");
    let right = format!("right ({columns}; freed by time TIMESTAMP at the watermark -2 ms; where Positive)");
    let identity = |case: &Case| opened(case, &[schema(), schema()]).state_identity().unwrap();
    assert_eq!(identity(&left_join()), format!("left join of streams on key BIGINT = key BIGINT; {left}; {right}"));
    let both = Case { keys: 2, has_condition: true, ..left_join() };
    let keys = "key BIGINT = key BIGINT and word STRING <=> word STRING where Less";
    assert_eq!(identity(&both), format!("left join of streams on {keys}; {left}; {right}"));

    // The planner's numbers may change.
    let numbered = |number: usize| -> SchemaRef {
        let name = |field: &FieldRef| field.as_ref().clone().with_name(format!("{}#{number}", field.name()));
        Arc::new(Schema::new(schema().fields().iter().map(name).collect::<Vec<_>>()))
    };
    assert_eq!(
        opened(&both, &[numbered(3), numbered(14)]).state_identity(),
        opened(&both, &[schema(), schema()]).state_identity()
    );
}

#[test]
fn the_state_of_another_join_is_refused_by_its_columns() {
    let mut operator = opened(&left_join(), &[schema(), schema()]);
    let rows = [Row { key: Some(1), word: None, time: Some(9), value: 1, id: 1 }];
    assert_eq!(operator.on_batch(0, batch(&rows).into(), &mut Output::default()).unwrap(), Flow::Done);
    let (rows, hashes) = operator.snapshot().unwrap().unwrap().changed.remove(0);
    assert_eq!(rows.schema().field(4).name(), "left.0.key");
    let mut fields = schema().fields().to_vec();
    fields[ID] = Arc::new(Field::new("id", DataType::Utf8View, true));
    let mut other = opened(&left_join(), &[Arc::new(Schema::new(fields)), schema()]);
    let error = other.restore(StatePart { rows: rows.clone(), hashes: hashes.clone() }).unwrap_err();
    assert_eq!(error.kind(), crate::error::ErrorKind::State);
    assert!(error.message().contains("left.4.id Utf8View"), "{error}");
    assert!(operator.clone().restore(StatePart { rows: rows.clone(), hashes }).is_err(), "it is not open");
    assert!(opened(&left_join(), &[schema(), schema()]).restore(StatePart { rows, hashes: vec![] }).is_err());
}
