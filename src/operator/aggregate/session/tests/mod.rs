mod outside;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Int64Array, StringViewArray, StructArray, TimestampMicrosecondArray, UInt32Array,
};
use arrow::buffer::NullBuffer;
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::{DataType, Field, Fields, Int64Type, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;
use proptest::prelude::*;

use super::*;
use crate::error::ErrorKind;
use crate::operator::aggregate::{AggregateCall, NativeFunction};
use crate::operator::restarts::{self, Subject};
use crate::operator::{
    Batch, EpochTime, Expression, ExpressionRef, MapStore, OperatorContext, OperatorStats, StateBudget, StatePart,
    Watermark, reason,
};
use crate::protocol::key_group::{hash_rows, instance_of, key_group};

#[derive(Debug)]
struct Column(usize);

impl Expression for Column {
    fn evaluate(&self, batch: &RecordBatch, _: EpochTime) -> Result<ArrayRef> {
        Ok(batch.column(self.0).clone())
    }
}

/// A row of the input. Times in microseconds; a session of the row is `[start, start + gap)`.
#[derive(Debug, Clone, PartialEq)]
struct Row {
    word: Option<&'static str>,
    number: Option<i64>,
    start: Option<i64>,
    gap: Option<i64>,
}

fn row(word: &'static str, start: i64, gap: i64) -> Row {
    Row { word: Some(word), number: Some(1), start: Some(start), gap: Some(gap) }
}

impl Row {
    fn end(&self) -> Option<i64> {
        Some(self.start? + self.gap?)
    }

    fn key(&self, others: usize) -> Key {
        [self.word.map(String::from), self.number.map(|number| number.to_string())].into_iter().take(others).collect()
    }
}

fn window_type() -> Fields {
    ["start", "end"].map(|name| Field::new(name, time_type(), true)).to_vec().into()
}

fn batch(rows: &[Row]) -> Batch {
    let times = |time: fn(&Row) -> Option<i64>| -> ArrayRef {
        let times: TimestampMicrosecondArray = rows.iter().map(time).collect();
        Arc::new(times.with_timezone("UTC"))
    };
    let nulls: NullBuffer = rows.iter().map(|row| row.start.is_some()).collect();
    let windows = StructArray::new(window_type(), vec![times(|row| row.start), times(Row::end)], Some(nulls));
    let words: StringViewArray = rows.iter().map(|row| row.word).collect();
    let numbers: Int64Array = rows.iter().map(|row| row.number).collect();
    let columns: [(_, ArrayRef); 3] =
        [("word", Arc::new(words)), ("number", Arc::new(numbers)), ("session", Arc::new(windows))];
    RecordBatch::try_from_iter(columns).unwrap().into()
}

/// Where the session is among the keys: in the middle.
fn place(others: usize) -> usize {
    others / 2
}

/// Rows, sum and max of `number` by session and so many of (`word`, `number`).
fn spec(others: usize) -> AggregateSpec {
    let call = |name, function| {
        let argument: (ExpressionRef, _) = (Arc::new(Column(1)), DataType::Int64);
        AggregateCall::native(name, function, Some(argument)).unwrap()
    };
    let fields = [Field::new("word", DataType::Utf8View, true), Field::new("number", DataType::Int64, true)];
    let mut keys: Vec<ExpressionRef> = (0..others).map(|key| Arc::new(Column(key)) as _).collect();
    let mut key_fields: Vec<FieldRef> = fields.into_iter().take(others).map(Arc::new).collect();
    keys.insert(place(others), Arc::new(Column(2)));
    key_fields.insert(place(others), Arc::new(Field::new("session", DataType::Struct(window_type()), true)));
    let rows = AggregateCall::native("rows", NativeFunction::Count, None).unwrap();
    AggregateSpec {
        keys,
        key_fields,
        calls: vec![rows, call("sum", NativeFunction::Sum), call("max", NativeFunction::Max)],
        time: None,
    }
}

type Key = Vec<Option<String>>;

/// Start, end; rows, sum and max of `number`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Shown {
    key: Key,
    start: i64,
    end: i64,
    rows: i64,
    sum: Option<i64>,
    max: Option<i64>,
}

impl Shown {
    fn of(row: &Row, others: usize) -> Self {
        let (start, end) = (row.start.unwrap(), row.end().unwrap());
        Self { key: row.key(others), start, end, rows: 1, sum: row.number, max: row.number }
    }

    fn touches(&self, other: &Self) -> bool {
        self.key == other.key && self.start <= other.end && other.start <= self.end
    }

    fn take(&mut self, other: &Self) {
        (self.start, self.end) = (self.start.min(other.start), self.end.max(other.end));
        self.rows += other.rows;
        self.sum = self.sum.map_or(other.sum, |sum| Some(sum + other.sum.unwrap_or(0)));
        self.max = self.max.max(other.max);
    }
}

fn read(records: &RecordBatch, others: usize) -> Vec<Shown> {
    let long = |column: usize, row| {
        let column = records.column(column).as_primitive::<Int64Type>();
        column.is_valid(row).then(|| column.value(row))
    };
    let word = |column: usize, row| {
        let column = records.column(column).as_string_view();
        column.is_valid(row).then(|| column.value(row).to_string())
    };
    let windows = records.column(place(others)).as_struct();
    let time = |part: usize, row| windows.column(part).as_primitive::<TimestampMicrosecondType>().value(row);
    let key = |row| match others {
        0 => vec![],
        1 => vec![word(1, row)],
        _ => vec![word(0, row), long(2, row).map(|number| number.to_string())],
    };
    let calls = others + 1;
    let shown = |row| Shown {
        key: key(row),
        start: time(0, row),
        end: time(1, row),
        rows: long(calls, row).unwrap(),
        sum: long(calls + 1, row),
        max: long(calls + 2, row),
    };
    (0..records.num_rows()).map(shown).collect()
}

fn barrier(has_data: bool) -> Barrier {
    Barrier { epoch: 0, kind: BarrierKind::Durable, has_data }
}

/// What an operator put out and dropped in an epoch, checked against its account.
#[derive(Debug, Default)]
struct Outcome {
    batches: Vec<Batch>,
    rows_in: u64,
    dropped: BTreeMap<&'static str, u64>,
}

impl Outcome {
    fn run<O: Operator>(&mut self, operator: &mut O, event: impl FnOnce(&mut O, &mut Output) -> Result<Flow>) {
        let mut output = Output::default();
        let mut flow = event(operator, &mut output).unwrap();
        loop {
            self.batches.extend(output.take().into_iter().map(|(_, batch)| batch));
            for (reason, count) in output.take_dropped().0 {
                *self.dropped.entry(reason).or_default() += count;
            }
            if flow == Flow::Done {
                return;
            }
            flow = operator.resume(&mut output).unwrap();
        }
    }

    fn feed(&mut self, operator: &mut impl Operator, batch: Batch) {
        self.rows_in += batch.rows() as u64;
        self.run(operator, |operator, output| operator.on_batch(0, batch, output));
    }

    fn close(&mut self, operator: &mut impl Operator, has_data: bool) -> OperatorStats {
        self.run(operator, |operator, output| operator.on_barrier(&barrier(has_data), output));
        let stats = operator.take_stats();
        let balance = stats.balance.unwrap();
        let rows_out: u64 = self.batches.iter().map(|batch| batch.rows() as u64).sum();
        let dropped: u64 = self.dropped.values().sum();
        assert_eq!(self.rows_in + balance.made, rows_out + balance.absorbed + dropped);
        stats
    }
}

/// The rows of `batch` whose key group this instance owns.
fn routed(batch: &Batch, instance: usize, parallelism: usize) -> Batch {
    let hashes = batch.hashes.as_ref().unwrap();
    let is_own = |row: &usize| instance_of(key_group(hashes[*row]), parallelism) == instance;
    let rows: Vec<usize> = (0..batch.rows()).filter(is_own).collect();
    let indices: UInt32Array = rows.iter().map(|&row| u32::try_from(row).unwrap()).collect();
    let records = take_record_batch(&batch.records, &indices).unwrap();
    Batch { records, hashes: Some(rows.iter().map(|&row| hashes[row]).collect()) }
}

fn time(late_ms: i64, evict_ms: i64) -> EpochTime {
    EpochTime { here: Some(Watermark { late_ms, evict_ms }), ..EpochTime::default() }
}

fn open(mode: OutputMode, others: usize) -> FinalSessions {
    let mut operator = FinalSessions::new(spec(others), place(others), true, mode);
    let (name, inputs) = ("sessions".to_string(), vec![partial_schema(&spec(others), place(others))]);
    operator.open(&OperatorContext { name, instance: 0, parallelism: 1, inputs }).unwrap();
    operator
}

/// An operator that holds no more than `budget` behind a snapshot, if there is one.
fn open_limited(mode: OutputMode, others: usize, budget: Option<usize>) -> FinalSessions {
    let mut operator = open(mode, others);
    assert_eq!(operator.can_leave_memory(), others > 0);
    if let Some(bytes) = budget {
        operator.limit_memory(StateBudget { bytes, store: Box::<MapStore>::default() }).unwrap();
    }
    operator
}

type Saved = Vec<(RecordBatch, Vec<u64>)>;

/// The part of `saved` that this instance owns goes back into `operator`.
fn restore(operator: &mut FinalSessions, instance: usize, parallelism: usize, saved: &Saved) {
    for (records, hashes) in saved {
        let all = Batch { records: records.clone(), hashes: Some(hashes.as_slice().into()) };
        let own = routed(&all, instance, parallelism);
        let hashes = own.hashes.unwrap().to_vec();
        operator.restore(StatePart { rows: own.records, hashes }).unwrap();
    }
}

/// One epoch: its rows, how far it raises the watermark, where to cut it, the parallelism after a restart behind it.
#[derive(Debug, Clone)]
struct Plan {
    rows: Vec<Row>,
    advance_ms: i64,
    cut: usize,
    carry_hashes: bool,
    save: bool,
    restart: Option<usize>,
    join_parts: bool,
}

fn plan() -> impl Strategy<Value = Plan> {
    let word = prop::sample::select(vec![None, Some("a"), Some("b"), Some("a word of over 12 bytes")]);
    let start = prop_oneof![1 => Just(None), 20 => (-20..400_i64).prop_map(|half_ms| Some(half_ms * 500))];
    let gap = prop_oneof![1 => Just(None), 20 => (-1..30_i64).prop_map(|half_ms| Some(half_ms * 500))];
    let row = (word, prop::option::of(0..2_i64), start, gap);
    let row = row.prop_map(|(word, number, start, gap)| Row { word, number, start, gap });
    let rows = prop::collection::vec(row, 0..40);
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    (rows, 0..60_i64, 1..20_usize, prop::option::of(1..4_usize), flags).prop_map(
        |(rows, advance_ms, cut, restart, (carry_hashes, save, join_parts))| Plan {
            rows,
            advance_ms,
            cut,
            carry_hashes,
            save,
            restart,
            join_parts,
        },
    )
}

/// What an epoch is to do, computed row by row.
#[derive(Debug, Default)]
struct Oracle {
    sessions: Vec<Shown>,
    dropped: BTreeMap<&'static str, u64>,
    updated: u64,
    removed: u64,
}

impl Oracle {
    fn epoch(&mut self, rows: &[Row], others: usize, late_micros: Option<i64>) {
        (self.dropped, self.updated, self.removed) = Default::default();
        let old = self.sessions.len();
        let mut new = Vec::new();
        for row in rows {
            match verdict(row, late_micros) {
                Some(reason) => *self.dropped.entry(reason).or_default() += 1,
                None => new.push(Shown::of(row, others)),
            }
        }
        let before = std::mem::take(&mut self.sessions);
        self.sessions = merged(before.iter().chain(&new).cloned().collect());
        let holds_new = |session: &&Shown| new.iter().any(|row| session.touches(row));
        self.updated = self.sessions.iter().filter(holds_new).count() as u64;
        let holding_old = self.sessions.iter().filter(|session| before.iter().any(|old| session.touches(old)));
        self.removed = (old - holding_old.count()) as u64;
    }

    fn evict(&mut self, limit: i64) -> Vec<Shown> {
        let (mut ended, kept): (Vec<_>, Vec<_>) = self.sessions.drain(..).partition(|session| session.end <= limit);
        self.sessions = kept;
        self.removed += ended.len() as u64;
        ended.sort();
        ended
    }
}

fn verdict(row: &Row, late_micros: Option<i64>) -> Option<&'static str> {
    match (row.start, row.end()) {
        (None, _) => Some(reason::NULL_TIME),
        (Some(start), Some(end)) if end > start => late_micros.is_some_and(|late| end <= late).then_some(reason::LATE),
        (Some(_), _) => Some(reason::BAD_GAP),
    }
}

/// Merges until no two sessions of a key touch.
fn merged(mut sessions: Vec<Shown>) -> Vec<Shown> {
    let mut done: Vec<Shown> = Vec::new();
    while let Some(mut session) = sessions.pop() {
        while let Some(index) = done.iter().position(|other| other.touches(&session)) {
            session.take(&done.swap_remove(index));
        }
        done.push(session);
    }
    done
}

/// All sessions are outside memory, if none may stay.
fn assert_outside(operator: &mut FinalSessions, others: usize, budget: Option<usize>) {
    let stats = operator.take_stats();
    assert_eq!(stats.rows_outside.is_some(), others > 0 && budget.is_some());
    if let (Some(outside), Some(0)) = (stats.rows_outside, budget) {
        assert_eq!(stats.state_rows, Some(outside));
        assert!(outside == 0 || !operator.save_all());
    }
}

fn check(mode: OutputMode, others: usize, epochs: &[Plan], budget: Option<usize>) {
    let judges = mode == OutputMode::Append;
    let mut partials = [(); 2].map(|()| PartialSessions::new(spec(others), place(others), judges));
    let mut finals = vec![open_limited(mode, others, budget)];
    let (mut oracle, mut saved, mut late_ms) = (Oracle::default(), Saved::new(), 0);
    for epoch in epochs {
        let evict_ms = late_ms + epoch.advance_ms;
        let now = time(late_ms, evict_ms);
        oracle.epoch(&epoch.rows, others, judges.then_some(late_ms * 1000));
        late_ms = evict_ms;

        let (mut halves, mut states, mut dropped) = ([(); 2].map(|()| Outcome::default()), Vec::new(), BTreeMap::new());
        for partial in &mut partials {
            partial.on_watermark(now, &mut Output::default()).unwrap();
        }
        for (index, rows) in epoch.rows.chunks(epoch.cut).enumerate() {
            halves[index % 2].feed(&mut partials[index % 2], batch(rows));
        }
        for (half, partial) in halves.iter_mut().zip(&mut partials) {
            half.close(partial, true);
            states.append(&mut half.batches);
            half.dropped.iter().for_each(|(reason, count)| *dropped.entry(*reason).or_default() += count);
        }
        assert_eq!(dropped, oracle.dropped);

        let has_data = !epoch.rows.is_empty();
        let (mut shown, mut counts) = (Vec::new(), [0; 3]);
        let parallelism = finals.len();
        for (instance, operator) in finals.iter_mut().enumerate() {
            let mut outcome = Outcome::default();
            operator.on_watermark(now, &mut Output::default()).unwrap();
            for state in &states {
                let mut state = routed(state, instance, parallelism);
                state.hashes = state.hashes.filter(|_| epoch.carry_hashes);
                outcome.feed(operator, state);
            }
            let stats = outcome.close(operator, has_data);
            counts[0] += stats.state_rows.unwrap();
            counts[1] += stats.updated_rows;
            counts[2] += stats.removed_rows;
            let rows: Vec<Shown> = outcome.batches.iter().flat_map(|batch| read(&batch.records, others)).collect();
            let is_paged = mode == OutputMode::Complete && budget.is_some();
            assert!(is_paged || rows.is_sorted_by_key(|row| row.end), "{rows:?}");
            shown.extend(rows);
        }
        let mut expected = match mode {
            OutputMode::Append => oracle.evict(evict_ms * 1000),
            OutputMode::Complete if has_data => oracle.sessions.clone(),
            OutputMode::Complete | OutputMode::Update => vec![],
        };
        shown.sort();
        expected.sort();
        assert_eq!(shown, expected);
        assert_eq!(counts, [oracle.sessions.len() as u64, oracle.updated, oracle.removed]);

        if epoch.save || epoch.restart.is_some() {
            saved.extend(finals.iter_mut().flat_map(|operator| operator.snapshot().unwrap().unwrap().changed));
            for operator in &mut finals {
                assert_outside(operator, others, budget);
            }
        }
        if let Some(parallelism) = epoch.restart {
            if epoch.join_parts {
                saved = joined(&saved);
            }
            let parallelism = if others == 0 { 1 } else { parallelism };
            finals = (0..parallelism).map(|_| open_limited(mode, others, budget)).collect();
            for (instance, operator) in finals.iter_mut().enumerate() {
                restore(operator, instance, parallelism, &saved);
                assert_outside(operator, others, budget);
            }
        }
    }
}

/// The same rows as one part.
fn joined(saved: &Saved) -> Saved {
    let Some((first, _)) = saved.first() else { return Saved::new() };
    let rows = concat_batches(first.schema_ref(), saved.iter().map(|(rows, _)| rows)).unwrap();
    vec![(rows, saved.iter().flat_map(|(_, hashes)| hashes.clone()).collect())]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn every_mode_shows_the_sessions_of_all_rows_whatever_is_cut_saved_or_restarted(
        epochs in prop::collection::vec(plan(), 1..7),
        others in 0..3_usize,
        bytes in prop::sample::select(vec![0, 1500, 4000]),
    ) {
        for budget in [None, Some(bytes)] {
            check(OutputMode::Append, others, &epochs, budget);
            check(OutputMode::Complete, others, &epochs, budget);
        }
    }
}

/// What the half behind the exchange gets in each epoch.
fn exchanged(mode: OutputMode, others: usize, epochs: &[Plan]) -> Vec<restarts::Epoch> {
    let mut partial = PartialSessions::new(spec(others), place(others), mode == OutputMode::Append);
    let mut late_ms = 0;
    let of = |epoch: &Plan| {
        let now = time(late_ms, late_ms + epoch.advance_ms);
        late_ms += epoch.advance_ms;
        let mut outcome = Outcome::default();
        partial.on_watermark(now, &mut Output::default()).unwrap();
        epoch.rows.chunks(epoch.cut).for_each(|rows| outcome.feed(&mut partial, batch(rows)));
        outcome.close(&mut partial, true);
        let rows = outcome.batches.into_iter().map(|batch| (0, batch.records, batch.hashes.unwrap().to_vec()));
        restarts::Epoch { here: now.here, rows: rows.collect() }
    };
    epochs.iter().map(of).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn restarts_at_other_parallelisms_and_compactions_change_nothing(
        epochs in prop::collection::vec(plan(), 1..9),
        others in 0..3_usize,
        turns in restarts::turns(),
        carries_hashes: bool,
    ) {
        for mode in [OutputMode::Append, OutputMode::Complete] {
            let make = || -> Box<dyn Operator> {
                Box::new(FinalSessions::new(spec(others), place(others), true, mode))
            };
            let inputs = vec![partial_schema(&spec(others), place(others))];
            let subject = Subject { make: &make, inputs, instances: 3, carries_hashes };
            restarts::check(&subject, &exchanged(mode, others, &epochs), &turns);
        }
    }
}

#[test]
fn the_identity_tells_keys_sessions_and_calls() {
    let identity = |mode| FinalSessions::new(spec(1), place(1), true, mode).state_identity().unwrap();
    let text = "aggregation by session STRUCT<start: TIMESTAMP, end: TIMESTAMP>, word STRING: count(*) BIGINT, \
                sum(Column(1)) BIGINT, max(Column(1)) BIGINT; sessions Column(2)";
    assert_eq!(identity(OutputMode::Complete), text);
    assert_eq!(identity(OutputMode::Append), format!("{text}, freed when final"));
}

fn partial(judges_late: bool) -> PartialSessions {
    PartialSessions::new(spec(1), place(1), judges_late)
}

/// The states of `rows` as one instance puts them out.
fn states(rows: &[Row]) -> Vec<Batch> {
    let (mut operator, mut outcome) = (partial(false), Outcome::default());
    outcome.feed(&mut operator, batch(rows));
    outcome.close(&mut operator, true);
    outcome.batches
}

/// An epoch of `rows`: what it shows and its counts.
fn epoch(operator: &mut FinalSessions, rows: &[Row], evict_ms: i64) -> (Vec<Shown>, OperatorStats) {
    let mut outcome = Outcome::default();
    operator.on_watermark(time(0, evict_ms), &mut Output::default()).unwrap();
    for state in states(rows) {
        outcome.feed(operator, state);
    }
    let stats = outcome.close(operator, true);
    (outcome.batches.iter().flat_map(|batch| read(&batch.records, 1)).collect(), stats)
}

fn shown(word: &str, start: i64, end: i64, rows: i64) -> Shown {
    Shown { key: vec![Some(word.to_string())], start, end, rows, sum: Some(rows), max: Some(1) }
}

#[test]
fn a_row_bridges_sessions_of_earlier_epochs() {
    let mut operator = open(OutputMode::Append, 1);
    epoch(&mut operator, &[row("a", 1000, 1000), row("a", 4000, 1000), row("b", 2000, 1000)], 0);
    let (rows, stats) = epoch(&mut operator, &[row("a", 2000, 2000)], 0);
    assert!(rows.is_empty());
    assert_eq!((stats.state_rows, stats.updated_rows, stats.removed_rows), (Some(2), 1, 1));
    let (rows, stats) = epoch(&mut operator, &[], 5);
    assert_eq!(rows, [shown("b", 2000, 3000, 1), shown("a", 1000, 5000, 3)]);
    assert_eq!((stats.state_rows, stats.removed_rows), (Some(0), 2));
}

#[test]
fn a_session_is_final_when_its_end_is_the_watermark() {
    let mut operator = open(OutputMode::Append, 1);
    epoch(&mut operator, &[row("a", 0, 10_000), row("b", 0, 10_001)], 9);
    assert_eq!(epoch(&mut operator, &[], 10).0, [shown("a", 0, 10_000, 1)]);
    assert_eq!(epoch(&mut operator, &[], 11).0, [shown("b", 0, 10_001, 1)]);
}

#[test]
fn rows_are_late_by_their_own_end_and_dropped_rows_are_shown_with_their_reason() {
    let mut operator = partial(true);
    operator.on_watermark(time(10, 20), &mut Output::default()).unwrap();
    let (null, bad) = (Row { start: None, ..row("null", 0, 1) }, Row { gap: None, ..row("bad", 20_000, 1) });
    // The late row touches one that is kept, and is late all the same.
    let rows = [row("late", 5000, 5000), null, row("kept", 5000, 5001), bad, row("zero", 20_000, 0), row("kept", 9, 9)];
    let mut output = Output::default();
    assert_eq!(operator.on_batch(0, batch(&rows), &mut output).unwrap(), Flow::Done);
    let (counts, dropped) = output.take_dropped();
    assert_eq!(counts, [(reason::NULL_TIME, 1), (reason::BAD_GAP, 2), (reason::LATE, 2)]);
    let words: Vec<_> = dropped.iter().flat_map(|rows| rows.records.column(0).as_string_view().iter()).collect();
    assert_eq!(words, ["null", "bad", "zero", "late", "kept"].map(Some));
    assert_eq!(dropped[2].times, Some(TimestampMicrosecondArray::from(vec![10_000, 18])));
    assert_eq!((dropped[2].watermark_ms, dropped[1].watermark_ms), (Some(10), None));

    let _ = operator.on_barrier(&barrier(true), &mut output).unwrap();
    let out = output.take_batches();
    assert_eq!((out.len(), out[0].num_rows()), (1, 1));
}

#[test]
fn without_a_watermark_nothing_is_late_and_nothing_final() {
    let mut operator = partial(true);
    operator.on_watermark(EpochTime::default(), &mut Output::default()).unwrap();
    let mut outcome = Outcome::default();
    outcome.feed(&mut operator, batch(&[row("a", -5000, 1)]));
    outcome.close(&mut operator, true);
    assert_eq!(outcome.batches.len(), 1);

    let mut last = FinalSessions::new(spec(1), place(1), false, OutputMode::Append);
    assert!(epoch(&mut last, &[row("a", 0, 1)], 1000).0.is_empty());
    assert_eq!((last.uses_watermark(), open(OutputMode::Complete, 1).uses_watermark()), (true, false));
}

/// What a snapshot holds: the word and, of a session, its start and count.
fn saved(operator: &mut FinalSessions) -> Vec<(String, Option<(i64, i64)>)> {
    let changed = operator.snapshot().unwrap().unwrap().changed;
    let row = |records: &RecordBatch, row| {
        let start = records.column(1).as_primitive::<TimestampMicrosecondType>();
        let count = records.column(3).as_primitive::<Int64Type>();
        assert_eq!(start.is_valid(row), count.is_valid(row));
        let word = records.column(0).as_string_view().value(row).to_string();
        (word, start.is_valid(row).then(|| (start.value(row), count.value(row))))
    };
    let rows = changed.iter().flat_map(|(records, hashes)| {
        assert_eq!(&hash_rows(&records.columns()[..1]), hashes);
        (0..records.num_rows()).map(|at| row(records, at)).collect::<Vec<_>>()
    });
    rows.collect()
}

fn key(word: &str, session: Option<(i64, i64)>) -> (String, Option<(i64, i64)>) {
    (word.to_string(), session)
}

#[test]
fn a_snapshot_holds_all_sessions_of_the_keys_that_changed() {
    let mut operator = open(OutputMode::Append, 1);
    let mut saved = |rows: &[Row], evict_ms| {
        epoch(&mut operator, rows, evict_ms);
        saved(&mut operator)
    };
    let first = saved(&[row("a", 9000, 1000), row("a", 1000, 1000), row("b", 0, 20_000), row("gone", 0, 100)], 1);
    assert_eq!(first, [key("a", Some((1000, 1))), key("a", Some((9000, 1))), key("b", Some((0, 1)))]);
    let second = saved(&[row("a", 1500, 100)], 1);
    assert_eq!(second, [key("a", None), key("a", Some((1000, 2))), key("a", Some((9000, 1)))]);
    assert_eq!(saved(&[], 2), [key("a", None), key("a", Some((9000, 1)))]);
    assert_eq!(saved(&[], 10), [key("a", None)]);
    assert_eq!(saved(&[], 11), []);
}

fn words(count: usize) -> Vec<&'static str> {
    (0..count).map(|n| &*Box::leak(n.to_string().into_boxed_str())).collect()
}

#[test]
fn state_shrinks_when_most_sessions_are_final() {
    let mut operator = open(OutputMode::Append, 1);
    let rows: Vec<Row> = (0_i64..).zip(words(20_000)).map(|(n, word)| row(word, n * 1000, 1000)).collect();
    let (_, before) = epoch(&mut operator, &rows, 0);
    operator.snapshot().unwrap();
    let (first, _) = epoch(&mut operator, &[], 19_000);
    assert_eq!((first.len(), &first[18_999]), (19_000, &shown("18999", 18_999_000, 19_000_000, 1)));
    // The keys go when a snapshot says that their sessions are gone.
    assert_eq!(
        operator.snapshot().unwrap().unwrap().changed.iter().map(|(rows, _)| rows.num_rows()).sum::<usize>(),
        19_000
    );
    let (_, after) = epoch(&mut operator, &[row("19500", 19_500_500, 1000)], 19_000);
    assert_eq!(after.state_rows, Some(1000));
    assert!(after.state_bytes * 5 < before.state_bytes, "{} of {}", after.state_bytes, before.state_bytes);
    let changed = operator.snapshot().unwrap().unwrap().changed;
    assert_eq!(changed[0].0.num_rows(), 2, "the key is still known as saved");
    let (rest, _) = epoch(&mut operator, &[], 30_000);
    assert_eq!(rest.len(), 1000);
    assert!(rest.contains(&shown("19500", 19_500_000, 19_501_500, 2)));
}

#[test]
fn one_key_with_many_sessions_is_kept_apart_and_shown_in_order() {
    let mut operator = open(OutputMode::Complete, 1);
    let mut rows: Vec<Row> = (0..10_000).map(|n| row("a", n * 7919 % 10_000 * 10, 5)).collect();
    rows.push(row("a", 20, 25));
    for rows in rows.chunks(3000) {
        epoch(&mut operator, rows, 0);
    }
    let (shown_rows, stats) = epoch(&mut operator, &[], 0);
    assert_eq!((shown_rows.len(), stats.state_rows), (9998, Some(9998)));
    assert_eq!(shown_rows[2], shown("a", 20, 45, 4));
}

#[test]
fn rows_that_hardly_share_sessions_are_flushed_before_the_barrier_in_pauses() {
    let mut operator = partial(false);
    let words = words(40_000);
    let rows: Vec<Row> = words.iter().map(|&word| row(word, 0, 10)).collect();
    let mut output = Output::default();
    let mut flow = operator.on_batch(0, batch(&rows), &mut output).unwrap();
    let mut rounds = vec![output.take_batches().len()];
    while flow == Flow::More {
        flow = operator.resume(&mut output).unwrap();
        rounds.push(output.take_batches().len());
    }
    assert_eq!(rounds, [4, 1]);
    assert_eq!(operator.on_barrier(&barrier(true), &mut output).unwrap(), Flow::Done);
    assert!(output.take_batches().is_empty());
}

#[test]
fn large_results_pause_while_the_output_is_full() {
    for mode in [OutputMode::Append, OutputMode::Complete] {
        let mut operator = open(mode, 1);
        let rows: Vec<Row> = words(50_000).into_iter().map(|word| row(word, 0, 10)).collect();
        operator.on_watermark(time(0, 1), &mut Output::default()).unwrap();
        let mut output = Output::default();
        for state in states(&rows) {
            assert_eq!(operator.on_batch(0, state, &mut output).unwrap(), Flow::Done);
        }
        let mut flow = operator.on_barrier(&barrier(true), &mut output).unwrap();
        let mut rounds = vec![output.take_batches().len()];
        while flow == Flow::More {
            flow = operator.resume(&mut output).unwrap();
            rounds.push(output.take_batches().len());
        }
        assert_eq!(rounds, [4, 3]);
        let left = if mode == OutputMode::Append { 0 } else { 50_000 };
        assert_eq!(operator.take_stats().state_rows, Some(left));
    }
}

#[test]
fn a_static_table_has_the_sessions_of_all_its_batches() {
    let batches = [&[row("a", 0, 10), row("b", 3, 4)][..], &[], &[row("a", 20, 10), row("a", 10, 10)]];
    let batches: Vec<RecordBatch> = batches.into_iter().map(|rows| batch(rows).records).collect();
    let table = session_table(spec(1), place(1), &batches).unwrap();
    assert_eq!(table[0].schema(), spec(1).output_schema());
    let rows: Vec<Shown> = table.iter().flat_map(|records| read(records, 1)).collect();
    assert_eq!(rows, [shown("b", 3, 7, 1), shown("a", 0, 30, 3)]);
    assert!(session_table(spec(0), 0, &[]).unwrap().is_empty());
}

#[test]
fn what_cannot_be_run_is_refused() {
    let mut operator = FinalSessions::new(spec(1), place(1), true, OutputMode::Update);
    let context = OperatorContext { name: "sessions".into(), instance: 0, parallelism: 1, inputs: vec![] };
    assert_eq!(operator.open(&context).unwrap_err().kind(), ErrorKind::Internal);

    let input = batch(&[]).records.schema();
    assert_eq!(
        open(OutputMode::Append, 2).output_schema(std::slice::from_ref(&input)).unwrap_err().kind(),
        ErrorKind::Plan
    );
    let misplaced = PartialSessions::new(spec(1), 1, true).output_schema(&[input]).unwrap_err();
    assert_eq!(misplaced.message(), "key `word` holds Utf8View, not sessions");

    let mut other = open(OutputMode::Append, 2);
    let part = StatePart { rows: states(&[row("a", 0, 1)])[0].records.clone(), hashes: vec![1] };
    let error = other.restore(part).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::State);
    assert!(error.message().contains("new checkpoint"), "{error}");
}

#[test]
fn the_halves_name_their_columns_and_themselves() {
    let (first, last) = (PartialSessions::new(spec(2), place(2), true), open(OutputMode::Append, 2));
    let schema = first.output_schema(&[batch(&[]).records.schema()]).unwrap();
    let names = |schema: &SchemaRef| schema.fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>();
    assert_eq!(names(&schema), ["word", "number", "session_start#", "session_end#", "count", "sum", "max"]);
    assert_eq!(schema, PartialSessions::partial_schema(&spec(2), place(2)));
    assert_eq!(PartialSessions::key_columns(&spec(2)), [0, 1]);
    assert_eq!(PartialSessions::key_columns(&spec(0)), [0; 0]);
    let schema = last.output_schema(&[schema]).unwrap();
    assert_eq!(names(&schema), ["word", "session", "number", "rows", "sum", "max"]);
    assert_eq!(first.describe(), "partial sessions by word, session, number: rows, sum, max");
    assert_eq!(last.describe(), "sessions by word, session, number: rows, sum, max, append");
}
