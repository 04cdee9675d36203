//! The half of an aggregation before the exchange: rows in, one partial state for each key and epoch out.
//!
//! Owns: the groups of the running epoch and when they are flushed, and judging rows late. Does not own: groups across epochs
//! (`finalize`), what a function computes ([`Accumulator`](super::Accumulator)).
//!
//! | input    | output                                    | state                       | late rows                        |
//! |----------|-------------------------------------------|-----------------------------|----------------------------------|
//! | any rows | keys, then the state columns of each call | none: all is out by barrier | dropped, if the time is watermarked |
//!
//! Counts of the pieces of a text need no rows in between: the half cuts the texts itself and finds the group of each piece by a view
//! onto it, so that no column of pieces is made.
//!
//! Rows of windows that overlap are grouped by pane, and windows are put together when groups are put out (`panes`).
//! Rows some of whose windows are late, and all rows if a call would not give the same result to the last bit, are
//! grouped once for each window.
//!
//! Output batches carry the key hashes. A key comes out several times in an epoch that has more than [`MOST_GROUPS`]
//! keys or hardly repeats any, and for a window that is put together of panes; the other half merges them. How keys that
//! are times are laid out stands in `slots`.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};

use arrow::datatypes::SchemaRef;

use super::AggregateSpec;
use super::groups::{Coalescer, GroupColumns, GroupTable, Running, SpareTables, group_range, nothing_to_fetch};
use super::panes::{PaneFlush, Panes};
use super::slots::{NEVER, PanedRows, SlottedRows};
use crate::error::{Error, Result};
use crate::operator::explode::{PieceKeys, TextPieces, Words};
use crate::operator::{
    Balance, Barrier, Batch, EpochTime, Flow, Operator, OperatorContext, OperatorStats, Output, Watermark,
};

/// With so many groups it is judged whether more rows will find theirs.
const FLUSH_GROUPS: usize = 65_536;

/// So many are flushed without waiting for the barrier in any case. A group of a pane is one of them, in however many
/// windows that is; what windows are put together in is one more table, of at most the groups of the panes of one
/// window.
const MOST_GROUPS: usize = 4 * FLUSH_GROUPS;

/// It is judged by so many rows, and where rows hardly repeat so many groups are flushed at a time.
const TRIAL_ROWS: usize = 16_384;

/// Groups the rows of each epoch before they are exchanged by key.
#[derive(Debug, Clone)]
pub struct PartialAggregate {
    spec: AggregateSpec,
    schema: SchemaRef,
    /// Set if rows are grouped by pane.
    panes: Option<Panes>,
    /// Set if the rows are texts, whose pieces are the key.
    pieces: Option<TextPieces>,
    time: EpochTime,
    running: Running<Groups>,
}

/// The groups of the running epoch.
#[derive(Debug, Default)]
struct Groups {
    /// By slot.
    tables: BTreeMap<i64, GroupTable>,
    /// By the number of the pane.
    panes: BTreeMap<i64, GroupTable>,
    spare: SpareTables,
    /// Groups in all tables.
    count: usize,
    /// Rows taken since the last flush, those that are grouped by window once for each.
    rows: usize,
    /// Rows and groups at the last judgement.
    judged: (usize, usize),
    /// The last flush had nearly as many groups as rows, and putting panes together made them hardly fewer.
    hardly_repeats: bool,
    /// What a flush under way has still to put out, each from this group on.
    flushing: VecDeque<(i64, GroupTable, usize)>,
    flushing_panes: PaneFlush,
    small: Coalescer,
    balance: Balance,
    /// A batch of texts that is not cut to its end.
    cutting: Option<Words>,
    keys: PieceKeys,
}

impl PartialAggregate {
    /// The partial half of `spec`.
    pub fn new(spec: AggregateSpec) -> Self {
        let schema = spec.partial_schema();
        let panes = Panes::of(&spec);
        Self { spec, schema, panes, pieces: None, time: EpochTime::default(), running: Running::default() }
    }

    /// The partial half of a count of the pieces of a text column: `explode(split(…))`, a group by that alone, and calls without
    /// arguments, in one step. `spec.keys` is not evaluated.
    pub(crate) fn of_pieces(spec: AggregateSpec, column: usize, separator: &str) -> Self {
        let pieces = spec.key_fields.first().map(|key| TextPieces::new(column, separator, key.clone()));
        Self { pieces, ..Self::new(spec) }
    }

    /// The same half, which takes each row once for each of its windows.
    #[cfg(test)]
    pub(super) fn without_panes(self) -> Self {
        Self { panes: None, ..self }
    }

    fn running(&mut self) -> Result<&mut Groups> {
        self.running.get_or_make(|| Ok(Groups::default()))
    }

    fn flush(&mut self, output: &mut Output) -> Result<Flow> {
        let (spec, schema) = (&self.spec, &self.schema);
        self.running.get_or_make(|| Ok(Groups::default()))?.flush(spec, schema, output)
    }
}

impl Groups {
    fn update(&mut self, spec: &AggregateSpec, input: &SlottedRows) -> Result<()> {
        self.count += group(&mut self.tables, spec, &mut self.spare, input)?;
        self.note(input);
        Ok(())
    }

    fn update_panes(&mut self, spec: &AggregateSpec, input: &PanedRows) -> Result<()> {
        self.count += group(&mut self.panes, spec, &mut self.spare, &input.panes)?;
        self.note(&input.panes);
        input.windows.as_ref().map_or(Ok(()), |windows| self.update(spec, windows))
    }

    fn note(&mut self, input: &SlottedRows) {
        self.rows += input.count();
        self.balance.absorbed += input.count() as u64;
        self.balance.made += input.copies;
    }

    /// Counts the pieces of the batch at hand until the groups have to be put out; answers whether it is cut to its end.
    fn count_pieces(&mut self, spec: &AggregateSpec) -> Result<bool> {
        while let Some(words) = &mut self.cutting {
            words.next_keys(&mut self.keys)?;
            if self.keys.views.is_empty() {
                self.cutting = None;
                break;
            }
            let table = match self.tables.entry(NEVER) {
                Entry::Occupied(table) => table.into_mut(),
                Entry::Vacant(place) => place.insert(self.spare.take(spec)?),
            };
            table.count_pieces(&self.keys, words.buffers())?;
            self.count = table.len();
            self.rows += self.keys.views.len();
            if self.is_due() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether groups have to be put out now. Grouping pays as long as rows find their groups: what counts are the last ones, because
    /// at first every key is new.
    fn is_due(&mut self) -> bool {
        if self.count >= MOST_GROUPS || (self.hardly_repeats && self.count >= TRIAL_ROWS) {
            return true;
        }
        let (rows, groups) = (self.rows - self.judged.0, self.count - self.judged.1);
        if rows < TRIAL_ROWS {
            return false;
        }
        self.judged = (self.rows, self.count);
        self.count >= FLUSH_GROUPS && groups * 2 > rows
    }

    fn start_flush(&mut self, panes: Option<Panes>) {
        let tables = std::mem::take(&mut self.tables);
        if let Some(panes) = panes {
            self.flushing_panes.start(panes, std::mem::take(&mut self.panes));
        }
        self.hardly_repeats = self.count >= TRIAL_ROWS && self.count * 5 > self.rows * 4;
        self.flushing.extend(tables.into_iter().map(|(slot, table)| (slot, table, 0)));
        (self.rows, self.count, self.judged) = (0, 0, (0, 0));
    }

    fn flush(&mut self, spec: &AggregateSpec, schema: &SchemaRef, output: &mut Output) -> Result<Flow> {
        while let Some((slot, mut table, mut next)) = self.flushing.pop_front() {
            while next < table.len() {
                if output.is_full() {
                    self.flushing.push_front((slot, table, next));
                    return Ok(Flow::More);
                }
                let groups = group_range(next, table.len());
                next += groups.len();
                let batch = states(spec, schema, &mut table, slot, &groups)?;
                let full = self.small.push(batch.records, batch.hashes.map(|hashes| hashes.to_vec()))?;
                self.put_out(full, output);
            }
            self.spare.put(table);
        }
        if self.flush_panes(spec, schema, output)? == Flow::More {
            return Ok(Flow::More);
        }
        let rest = self.small.finish()?;
        self.put_out(rest, output);
        Ok(Flow::Done)
    }

    fn flush_panes(&mut self, spec: &AggregateSpec, schema: &SchemaRef, output: &mut Output) -> Result<Flow> {
        while !output.is_full() {
            let Some(batch) = self.flushing_panes.next(spec, schema, &mut self.spare)? else {
                // Groups that hardly repeat in a pane may still be those of the next one.
                self.hardly_repeats &= self.flushing_panes.gained_little();
                return Ok(Flow::Done);
            };
            let full = self.small.push(batch.records, batch.hashes.map(|hashes| hashes.to_vec()))?;
            self.put_out(full, output);
        }
        Ok(Flow::More)
    }

    fn put_out(&mut self, batch: Option<Batch>, output: &mut Output) {
        if let Some(batch) = batch {
            self.balance.made += batch.rows() as u64;
            output.hashed_batch(batch);
        }
    }
}

/// Takes rows into the table of each segment; answers how many groups are new.
fn group(
    tables: &mut BTreeMap<i64, GroupTable>,
    spec: &AggregateSpec,
    spare: &mut SpareTables,
    input: &SlottedRows,
) -> Result<usize> {
    let mut new = 0;
    for (slot, rows) in input.segments() {
        let table = match tables.entry(slot) {
            Entry::Occupied(table) => table.into_mut(),
            Entry::Vacant(place) => place.insert(spare.take(spec)?),
        };
        let before = table.len();
        table.update(&rows, nothing_to_fetch)?;
        new += table.len() - before;
    }
    Ok(new)
}

/// The keys, states, slot and hashes of these groups.
pub(super) fn states(
    spec: &AggregateSpec,
    schema: &SchemaRef,
    table: &mut GroupTable,
    slot: i64,
    groups: &[u32],
) -> Result<Batch> {
    GroupColumns::of(table, groups)?.in_slot(spec, schema, slot)
}

impl Operator for PartialAggregate {
    fn output_schema(&self, inputs: &[SchemaRef]) -> Result<SchemaRef> {
        one_input(inputs)?;
        Ok(self.schema.clone())
    }

    fn describe(&self) -> String {
        let pieces = self.pieces.as_ref().map(|pieces| format!("{}, ", pieces.describe())).unwrap_or_default();
        let panes = if self.panes.is_some() { ", by pane" } else { "" };
        format!("{pieces}partial {}{panes}", describe(&self.spec))
    }

    fn open(&mut self, _: &OperatorContext) -> Result<()> {
        // A key that cannot be one is refused before the query runs.
        GroupTable::new(&self.spec).map(|_| ())
    }

    fn on_watermark(&mut self, time: EpochTime, _: &mut Output) -> Result<Option<Watermark>> {
        self.time = time;
        Ok(time.here)
    }

    fn on_batch(&mut self, _: usize, batch: Batch, output: &mut Output) -> Result<Flow> {
        if let Some(pieces) = &self.pieces {
            let words = pieces.start(&batch.records)?;
            let groups = self.running()?;
            groups.balance.absorbed += batch.rows() as u64;
            groups.cutting = Some(words);
            return self.resume(output);
        }
        let (spec, records) = (&self.spec, &batch.records);
        let groups = self.running.get_or_make(|| Ok(Groups::default()))?;
        match self.panes {
            Some(panes) => {
                groups.update_panes(spec, &PanedRows::evaluate(spec, panes, records, self.time, output)?)?;
            }
            None => groups.update(spec, &SlottedRows::evaluate(spec, records, self.time, output)?)?,
        }
        if !groups.is_due() {
            return Ok(Flow::Done);
        }
        groups.start_flush(self.panes);
        self.flush(output)
    }

    fn resume(&mut self, output: &mut Output) -> Result<Flow> {
        loop {
            if self.flush(output)? == Flow::More {
                return Ok(Flow::More);
            }
            let groups = self.running.get_or_make(|| Ok(Groups::default()))?;
            if groups.count_pieces(&self.spec)? {
                return Ok(Flow::Done);
            }
            groups.start_flush(self.panes);
        }
    }

    fn on_barrier(&mut self, _: &Barrier, output: &mut Output) -> Result<Flow> {
        let panes = self.panes;
        self.running()?.start_flush(panes);
        self.flush(output)
    }

    fn depends_on_order(&self) -> bool {
        self.spec.calls.iter().any(|call| call.factory.depends_on_order())
    }

    fn dropped_columns(&self, inputs: &[SchemaRef]) -> Option<SchemaRef> {
        inputs.first().filter(|_| self.pieces.is_none()).cloned()
    }

    fn take_stats(&mut self) -> OperatorStats {
        let balance = self.running.get().map(|groups| std::mem::take(&mut groups.balance));
        OperatorStats { balance, ..OperatorStats::default() }
    }
}

pub(super) fn one_input(inputs: &[SchemaRef]) -> Result<&SchemaRef> {
    match inputs {
        [input] => Ok(input),
        _ => Err(Error::plan(format!("an aggregation reads one input, not {}; union them first", inputs.len()))),
    }
}

/// `by a, b: count(…), total` in the names of the output columns.
pub(super) fn describe(spec: &AggregateSpec) -> String {
    let keys: Vec<_> = spec.key_fields.iter().map(|field| field.name().as_str()).collect();
    let calls: Vec<_> = spec.calls.iter().map(|call| call.name.as_str()).collect();
    let by = if keys.is_empty() { "of all rows".to_string() } else { format!("by {}", keys.join(", ")) };
    if calls.is_empty() { by } else { format!("{by}: {}", calls.join(", ")) }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Array, ArrayRef, AsArray, Int64Array, StringViewArray, TimestampMicrosecondArray};
    use arrow::datatypes::{DataType, Field, Int64Type, Schema, TimeUnit};
    use arrow::record_batch::RecordBatch;
    use proptest::prelude::*;

    use super::super::{AggregateCall, NativeFunction};
    use super::*;
    use crate::operator::{BarrierKind, Explode, Expression, OperatorFactory, Route, TimeKey, TimeKind, Windows};

    #[derive(Debug)]
    struct Column(usize);

    impl Expression for Column {
        fn evaluate(&self, batch: &RecordBatch, _: EpochTime) -> Result<ArrayRef> {
            Ok(batch.column(self.0).clone())
        }
    }

    fn spec(keys: usize) -> AggregateSpec {
        let fields = [Field::new("word", DataType::Utf8View, true)];
        let argument: (crate::operator::ExpressionRef, _) = (Arc::new(Column(1)), DataType::Int64);
        AggregateSpec {
            keys: (0..keys).map(|key| Arc::new(Column(key)) as _).collect(),
            key_fields: fields.into_iter().take(keys).map(Arc::new).collect(),
            calls: vec![
                AggregateCall::native("count", NativeFunction::Count, None).unwrap(),
                AggregateCall::native("total", NativeFunction::Sum, Some(argument)).unwrap(),
            ],
            time: None,
        }
    }

    fn batch(words: impl Iterator<Item = String>) -> Batch {
        let words: StringViewArray = words.map(Some).collect();
        let numbers = Int64Array::from(vec![2; words.len()]);
        RecordBatch::try_from_iter([("word", Arc::new(words) as ArrayRef), ("number", Arc::new(numbers))])
            .unwrap()
            .into()
    }

    const BARRIER: Barrier = Barrier { epoch: 0, kind: BarrierKind::Light, has_data: true };

    /// Resumes until done; the rows of each round.
    fn drain(operator: &mut dyn Operator, mut flow: Flow, output: &mut Output) -> Vec<Vec<Batch>> {
        let mut rounds = Vec::new();
        loop {
            let batches = output.take().into_iter().map(|(route, batch)| {
                assert_eq!(route, Route::Edge);
                batch
            });
            rounds.push(batches.collect());
            match flow {
                Flow::Done => return rounds,
                Flow::More => flow = operator.resume(output).unwrap(),
            }
        }
    }

    #[test]
    fn an_epoch_comes_out_as_one_state_for_each_key_with_its_hash() {
        let mut operator = PartialAggregate::new(spec(1)).instance();
        let mut output = Output::default();
        for epoch in 0..2 {
            for _ in 0..3 {
                let words = ["a", "b", "a"].map(String::from);
                assert_eq!(operator.on_batch(0, batch(words.into_iter()), &mut output).unwrap(), Flow::Done);
            }
            let flow = operator.on_barrier(&Barrier { epoch, ..BARRIER }, &mut output).unwrap();
            let batches = drain(operator.as_mut(), flow, &mut output).concat();
            let [out] = batches.as_slice() else { panic!("one batch, not {batches:?}") };
            assert_eq!(out.records.column(0).as_ref(), &StringViewArray::from(vec!["a", "b"]) as &dyn Array);
            assert_eq!(out.records.column(1).as_primitive::<Int64Type>().values(), &[6, 3]);
            assert_eq!(out.records.column(2).as_primitive::<Int64Type>().values(), &[12, 6]);
            let hashes = crate::protocol::key_group::hash_rows(&out.records.columns()[..1]);
            assert_eq!(out.hashes.as_deref(), Some(hashes.as_slice()));
        }
    }

    #[test]
    fn without_rows_nothing_comes_out_even_without_keys() {
        for keys in [0, 1] {
            let mut operator = PartialAggregate::new(spec(keys));
            let mut output = Output::default();
            assert_eq!(operator.on_barrier(&BARRIER, &mut output).unwrap(), Flow::Done);
            assert!(output.take().is_empty());
        }
    }

    #[test]
    fn without_keys_an_epoch_comes_out_as_one_row() {
        let mut operator = PartialAggregate::new(spec(0));
        let mut output = Output::default();
        let _ = operator.on_batch(0, batch((0..5).map(|n| n.to_string())), &mut output).unwrap();
        let flow = operator.on_barrier(&BARRIER, &mut output).unwrap();
        let batches = drain(&mut operator, flow, &mut output).concat();
        assert_eq!(batches[0].records.column(0).as_primitive::<Int64Type>().values(), &[5]);
        assert_eq!(batches[0].hashes.as_deref(), Some([0].as_slice()));
    }

    #[test]
    fn rows_that_hardly_repeat_are_flushed_before_the_barrier_and_then_sooner() {
        let mut operator = PartialAggregate::new(spec(1));
        let mut output = Output::default();
        let mut sizes = Vec::new();
        for round in 0..12 {
            let words = (round * 10_000..(round + 1) * 10_000).map(|n: i64| n.to_string());
            let flow = operator.on_batch(0, batch(words), &mut output).unwrap();
            let rows: usize = drain(&mut operator, flow, &mut output).concat().iter().map(Batch::rows).sum();
            sizes.extend(Some((round, rows)).filter(|(_, rows)| *rows > 0));
        }
        assert_eq!(sizes, [(7, 80_000), (9, 20_000), (11, 20_000)]);
    }

    #[test]
    fn groups_that_rows_find_again_wait_for_the_barrier() {
        let mut operator = PartialAggregate::new(spec(1));
        let mut output = Output::default();
        for round in 0..30 {
            // Drawn from a hundred thousand keys.
            let number = |n: u64| xxhash_rust::xxh3::xxh3_64(&(n + round * 10_000).to_le_bytes()) % 100_000;
            let words = (0..10_000).map(|n| number(n).to_string());
            assert_eq!(operator.on_batch(0, batch(words), &mut output).unwrap(), Flow::Done, "round {round}");
            assert!(output.take().is_empty(), "round {round}");
        }
    }

    #[test]
    fn a_flush_of_many_groups_pauses_while_the_output_is_full() {
        let mut operator = PartialAggregate::new(spec(1));
        let mut output = Output::default();
        let mut flow = Flow::Done;
        for round in 0..3 {
            assert_eq!(flow, Flow::Done, "flushed before round {round}");
            let words = (0..40_000).map(|n| format!("{}", n + round * 40_000));
            flow = operator.on_batch(0, batch(words), &mut output).unwrap();
            if flow == Flow::More {
                break;
            }
        }
        let rounds = drain(&mut operator, flow, &mut output);
        assert_eq!(rounds.iter().map(Vec::len).collect::<Vec<_>>(), [4, 4, 2]);
        assert_eq!(rounds.concat().iter().map(Batch::rows).sum::<usize>(), 80_000);
        let flow = operator.on_barrier(&BARRIER, &mut output).unwrap();
        assert!(flow == Flow::Done && output.take().is_empty());
    }

    /// Counts by word in windows of twelve panes, of a second each.
    fn sliding() -> AggregateSpec {
        let times = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let bound = |name| Field::new(name, times.clone(), true);
        let window = DataType::Struct(vec![bound("start"), bound("end")].into());
        let windows = Windows::new(12_000_000, 1_000_000, 0).unwrap();
        let mut spec = spec(1);
        spec.keys.push(Arc::new(Column(1)));
        spec.key_fields.push(Arc::new(Field::new("window", window, true)));
        spec.calls.truncate(1);
        spec.time = Some(TimeKey { place: 1, kind: TimeKind::Windows(windows), is_watermarked: true });
        spec
    }

    /// A row for each number and second.
    fn timed(numbers: std::ops::Range<i64>, seconds: std::ops::Range<i64>) -> Batch {
        let rows: Vec<(i64, i64)> = seconds.flat_map(|second| numbers.clone().map(move |n| (n, second))).collect();
        let words: StringViewArray = rows.iter().map(|row| Some(row.0.to_string())).collect();
        let times = rows.iter().map(|row| 100_000_000 + row.1 * 1_000_000).collect::<Vec<_>>();
        let times = TimestampMicrosecondArray::from(times).with_timezone("UTC");
        RecordBatch::try_from_iter([("word", Arc::new(words) as ArrayRef), ("time", Arc::new(times))]).unwrap().into()
    }

    #[test]
    fn a_row_of_a_sliding_window_is_one_group() {
        let operator = PartialAggregate::new(sliding());
        assert_eq!(operator.describe(), "partial by word, window: count, by pane");
        for (mut operator, groups) in [(operator.clone(), 1), (operator.without_panes(), 12)] {
            let _ = operator.on_batch(0, timed(0..1, 0..1), &mut Output::default()).unwrap();
            let running = operator.running().unwrap();
            assert_eq!((running.count, running.rows), (groups, groups));
        }
    }

    #[test]
    fn rows_of_new_keys_are_flushed_sooner_unless_the_next_pane_has_the_same() {
        for (same_keys, sooner) in [(true, false), (false, true)] {
            let mut operator = PartialAggregate::new(sliding());
            let mut output = Output::default();
            let (mut flushes, mut total) = (Vec::new(), 0);
            for round in 0..9 {
                let first = if same_keys { 0 } else { round * 10_000 };
                let flow = operator.on_batch(0, timed(first..first + 10_000, round..round + 1), &mut output).unwrap();
                let batches = drain(&mut operator, flow, &mut output).concat();
                let rows: usize = batches.iter().map(Batch::rows).sum();
                let counts = batches.iter().map(|batch| batch.records.column(1).as_primitive::<Int64Type>());
                total += counts.map(|counts| counts.values().iter().sum::<i64>()).sum::<i64>();
                flushes.extend(Some((round, rows)).filter(|(_, rows)| *rows > 0));
            }
            assert_eq!(total, 12 * 80_000);
            assert_eq!(operator.running().unwrap().hardly_repeats, sooner);
            let [(7, rows)] = flushes[..] else { panic!("{flushes:?}") };
            // Panes 100 to 107 in blocks of twelve, 96 to 107: each window has a key once, as it starts in the block or
            // before it.
            let windows = 12 + 7;
            assert_eq!(rows, if same_keys { windows * 10_000 } else { 12 * 80_000 });
        }
    }

    /// The counts of all keys that come out, with their hashes.
    fn counts(operator: &mut dyn Operator, flow: Flow, output: &mut Output) -> BTreeMap<String, (i64, u64)> {
        let mut counts = BTreeMap::new();
        for batch in drain(operator, flow, output).concat() {
            let (words, hashes) = (batch.records.column(0).as_string_view().clone(), batch.hashes.unwrap());
            let numbers = batch.records.column(1).as_primitive::<Int64Type>().clone();
            for row in 0..words.len() {
                let count = counts.entry(words.value(row).to_string()).or_insert((0, hashes[row]));
                count.0 += numbers.value(row);
            }
        }
        counts
    }

    proptest! {
        #[test]
        fn pieces_are_counted_as_if_they_were_exploded_first(
            batches in prop::collection::vec(prop::collection::vec(prop::option::of("([ab]|ä|long words ){0,9}"), 0..30), 1..4),
            separator in prop::sample::select(vec![" ", "a", "ong"]),
        ) {
            let key = Arc::new(Field::new("word", DataType::Utf8View, true));
            let mut spec = spec(1);
            spec.calls.truncate(1);
            let mut straight = PartialAggregate::of_pieces(spec.clone(), 0, separator);
            let (mut explode, mut counting) = (Explode::split_literal(0, separator, key), PartialAggregate::new(spec));
            let schema = Arc::new(Schema::new(vec![Field::new("value", DataType::Utf8View, true)]));
            let context =
                OperatorContext { name: "explode".into(), instance: 0, parallelism: 1, inputs: vec![schema.clone()] };
            explode.open(&context).unwrap();
            let (mut output, mut pieces) = (Output::default(), Output::default());
            for texts in &batches {
                let column: ArrayRef = Arc::new(texts.iter().map(Option::as_deref).collect::<StringViewArray>());
                let rows = RecordBatch::try_new(schema.clone(), vec![column]).unwrap();
                prop_assert_eq!(straight.on_batch(0, rows.clone().into(), &mut output).unwrap(), Flow::Done);
                prop_assert_eq!(explode.on_batch(0, rows.into(), &mut pieces).unwrap(), Flow::Done);
                for piece in pieces.take_batches() {
                    let _ = counting.on_batch(0, piece.into(), &mut pieces).unwrap();
                }
            }
            let flow = straight.on_barrier(&BARRIER, &mut output).unwrap();
            let found = counts(&mut straight, flow, &mut output);
            let flow = counting.on_barrier(&BARRIER, &mut pieces).unwrap();
            prop_assert_eq!(found, counts(&mut counting, flow, &mut pieces));
            let rows = batches.iter().map(Vec::len).sum::<usize>() as u64;
            prop_assert_eq!(straight.take_stats().balance.unwrap().absorbed, rows);
        }
    }

    #[test]
    fn a_long_text_of_new_words_is_put_out_while_it_is_cut() {
        let key = Arc::new(Field::new("word", DataType::Utf8View, true));
        let spec = AggregateSpec { key_fields: vec![key], ..spec(1) };
        let spec = AggregateSpec { calls: spec.calls[..1].to_vec(), ..spec };
        let mut operator = PartialAggregate::of_pieces(spec, 0, " ");
        let text = (0..100_000).map(|n| n.to_string()).collect::<Vec<_>>().join(" ");
        let column: ArrayRef = Arc::new(StringViewArray::from(vec![text.as_str()]));
        let rows = RecordBatch::try_from_iter([("value", column)]).unwrap();
        let mut output = Output::default();
        let flow = operator.on_batch(0, rows.into(), &mut output).unwrap();
        assert_eq!(flow, Flow::More, "the output is full");
        let mut found = counts(&mut operator, flow, &mut output);
        let flow = operator.on_barrier(&BARRIER, &mut output).unwrap();
        found.extend(counts(&mut operator, flow, &mut output));
        assert!(found.len() == 100_000 && found.values().all(|(count, _)| *count == 1));
    }

    #[test]
    fn the_schema_and_the_description_name_the_columns() {
        let operator = PartialAggregate::new(spec(1));
        let input = Arc::new(Schema::empty());
        let schema = operator.output_schema(std::slice::from_ref(&input)).unwrap();
        let names: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        assert_eq!(names, ["word", "count", "sum"]);
        assert_eq!(operator.describe(), "partial by word: count, total");
        assert!(operator.output_schema(&[input.clone(), input]).is_err());
    }
}
