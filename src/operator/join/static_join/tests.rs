use arrow::array::{Array, AsArray, Int64Array, StringViewArray};
use arrow::datatypes::{Field, Int64Type, Schema};
use arrow::record_batch::RecordBatch;
use proptest::prelude::*;

use super::super::JoinCondition;
use super::*;
use crate::operator::{BarrierKind, Checked, Expression};

/// A row of either side: a number and a word to join by, a value to compare, and a number that tells rows apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Row {
    key: Option<i64>,
    word: Option<&'static str>,
    value: i64,
    id: i64,
}

const KEY: usize = 0;
const WORD: usize = 1;
const VALUE: usize = 2;
const ID: usize = 3;

fn batch(rows: &[Row]) -> RecordBatch {
    let columns: [(&str, ArrayRef); 4] = [
        ("key", Arc::new(rows.iter().map(|row| row.key).collect::<Int64Array>())),
        ("word", Arc::new(rows.iter().map(|row| row.word).collect::<StringViewArray>())),
        ("value", Arc::new(rows.iter().map(|row| Some(row.value)).collect::<Int64Array>())),
        ("id", Arc::new(rows.iter().map(|row| Some(row.id)).collect::<Int64Array>())),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap()
}

fn schema() -> SchemaRef {
    batch(&[]).schema()
}

/// `first column < second column`, or `first column > 0` if there is one only.
#[derive(Debug)]
struct Less;

impl Expression for Less {
    fn evaluate(&self, batch: &RecordBatch, _: EpochTime) -> Result<ArrayRef> {
        let column = |index: usize| batch.column(index).as_primitive::<Int64Type>();
        let less = |row: usize| match batch.num_columns() {
            1 => column(0).value(row) > 0,
            _ => column(0).value(row) < column(1).value(row),
        };
        Ok(Arc::new((0..batch.num_rows()).map(|row| Some(less(row))).collect::<BooleanArray>()))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Condition {
    None,
    /// The left value is less than the right one.
    Pair,
    /// The stream's value is above 0.
    Stream,
}

/// What varies between joins.
#[derive(Debug, Clone, Copy)]
struct Case {
    kind: JoinType,
    table: JoinSide,
    keys: usize,
    condition: Condition,
}

const KINDS: [(JoinType, JoinSide); 6] = [
    (JoinType::Inner, JoinSide::Left),
    (JoinType::Inner, JoinSide::Right),
    (JoinType::Left, JoinSide::Right),
    (JoinType::Right, JoinSide::Left),
    (JoinType::LeftSemi, JoinSide::Right),
    (JoinType::LeftAnti, JoinSide::Right),
];

impl Case {
    fn new(kind: JoinType, table: JoinSide) -> Self {
        Self { kind, table, keys: 0, condition: Condition::None }
    }

    fn keys(self) -> Vec<JoinKey> {
        let key = |column: usize, null_safe: bool| JoinKey { left: column, right: column, null_safe };
        match self.keys {
            0 => vec![key(KEY, false)],
            1 => vec![key(WORD, false)],
            2 => vec![key(KEY, false), key(WORD, true)],
            3 => vec![key(KEY, true)],
            _ => Vec::new(),
        }
    }

    fn condition(self) -> Option<JoinCondition> {
        let columns = match self.condition {
            Condition::None => return None,
            Condition::Pair => vec![(JoinSide::Left, VALUE), (JoinSide::Right, VALUE)],
            Condition::Stream => vec![(self.table.other(), VALUE)],
        };
        let field = |index: usize| Field::new(format!("v{index}"), DataType::Int64, true);
        let schema = Arc::new(Schema::new((0..columns.len()).map(field).collect::<Vec<_>>()));
        Some(JoinCondition { columns, schema, expression: Arc::new(Less) })
    }

    fn operator(self) -> StaticJoin {
        let mut spec = JoinSpec::new(self.kind, self.keys(), &schema(), &schema());
        spec.condition = self.condition();
        StaticJoin::new(spec, self.table, schema())
    }

    fn is_pair(self, stream: &Row, table: &Row) -> bool {
        let equal = self.keys().iter().all(|key| match (key.left, key.null_safe) {
            (KEY, false) => stream.key.is_some() && stream.key == table.key,
            (KEY, true) => stream.key == table.key,
            (_, false) => stream.word.is_some() && stream.word == table.word,
            (_, true) => stream.word == table.word,
        });
        let (left, right) = self.table.of((table, stream), (stream, table));
        equal
            && match self.condition {
                Condition::None => true,
                Condition::Pair => left.value < right.value,
                Condition::Stream => stream.value > 0,
            }
    }

    /// Nested loops: the ids of the rows put out, the stream's first, in the order they are put out for one batch.
    fn expected(self, stream: &[Row], table: &[Row]) -> Vec<Shown> {
        let mut shown = Vec::new();
        let mut alone = Vec::new();
        for row in stream {
            let partners: Vec<&Row> = table.iter().filter(|other| self.is_pair(row, other)).collect();
            if !self.kind.is_left_only() {
                shown.extend(partners.iter().map(|other| (row.id, Some(other.id))));
            }
            let goes = match self.kind {
                JoinType::LeftSemi => !partners.is_empty(),
                JoinType::Inner => false,
                _ => partners.is_empty(),
            };
            alone.extend(goes.then_some((row.id, None)));
        }
        shown.extend(alone);
        shown
    }
}

/// The id of a stream row and of a table row.
type Shown = (i64, Option<i64>);

fn shown(case: Case, records: &RecordBatch) -> Vec<Shown> {
    let ids = |side: JoinSide| {
        let width = if case.kind.is_left_only() { 0 } else { side.of(0, schema().fields().len()) };
        records.column(width + ID).as_primitive::<Int64Type>()
    };
    let table = |row: usize| {
        let ids = ids(case.table);
        (!case.kind.is_left_only() && ids.is_valid(row)).then(|| ids.value(row))
    };
    (0..records.num_rows()).map(|row| (ids(case.table.other()).value(row), table(row))).collect()
}

/// An operator at work, and what it owes to its account.
struct Running {
    operator: Checked,
    side: Arc<StaticSide>,
    rows_in: u64,
    rows_out: u64,
    epoch: u64,
}

impl Running {
    fn start(case: Case) -> Self {
        let mut operator = case.operator();
        let side = Arc::clone(operator.static_side().unwrap());
        let inputs = vec![schema()];
        let context = OperatorContext { name: "join".to_string(), instance: 0, parallelism: 1, inputs };
        let mut operator = Checked::new("join".to_string(), Box::new(operator), &[schema()]).unwrap();
        operator.open(&context).unwrap();
        Self { operator, side, rows_in: 0, rows_out: 0, epoch: 0 }
    }

    fn publish(&self, table: &[Row], cut: usize) {
        self.side.publish(self.side.index(table.chunks(cut).map(batch).collect()).unwrap());
    }

    fn begin(&mut self) {
        let answer = self.operator.on_watermark(EpochTime::default(), &mut Output::default()).unwrap();
        assert_eq!(answer, None);
    }

    /// What one batch gives. No more than a few batches wait at once.
    fn join(&mut self, records: RecordBatch) -> Vec<RecordBatch> {
        let rows = records.num_rows();
        self.rows_in += rows as u64;
        let (mut output, mut all) = (Output::default(), Vec::new());
        let mut flow = self.operator.on_batch(0, records.into(), &mut output).unwrap();
        loop {
            let batches = output.take_batches();
            assert!(batches.len() <= 5, "{} batches wait", batches.len());
            assert!(batches.iter().all(|batch| batch.num_rows() <= CHUNK.max(rows)));
            all.extend(batches);
            if flow == Flow::Done {
                break;
            }
            flow = self.operator.resume(&mut output).unwrap();
        }
        self.rows_out += all.iter().map(|batch| batch.num_rows() as u64).sum::<u64>();
        all
    }

    fn end(&mut self) {
        let barrier = Barrier { epoch: self.epoch, kind: BarrierKind::Durable, has_data: true };
        assert_eq!(self.operator.on_barrier(&barrier, &mut Output::default()).unwrap(), Flow::Done);
        assert!(self.operator.snapshot().unwrap().is_none());
        let stats = self.operator.take_stats();
        let balance = stats.balance.unwrap();
        assert_eq!(self.rows_in + balance.made, self.rows_out + balance.absorbed);
        assert_eq!(stats.state_rows, None);
        (self.rows_in, self.rows_out, self.epoch) = (0, 0, self.epoch + 1);
    }
}

fn row(key: Option<i64>, id: i64) -> Row {
    Row { key, word: None, value: id, id }
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let words = [None, Some("a"), Some("b"), Some("a word that does not fit into a view"), Some("")];
    let row = (prop::option::weighted(0.8, -2..4_i64), prop::sample::select(words.to_vec()), -2..3_i64);
    prop::collection::vec(row, 0..40).prop_map(|rows| {
        let numbered = rows.into_iter().zip(0..);
        numbered.map(|((key, word, value), id)| Row { key, word, value, id }).collect()
    })
}

fn cases() -> impl Strategy<Value = Case> {
    let conditions = [Condition::None, Condition::Pair, Condition::Stream];
    (prop::sample::select(KINDS.to_vec()), 0..5_usize, prop::sample::select(conditions.to_vec()))
        .prop_map(|((kind, table), keys, condition)| Case { kind, table, keys, condition })
}

proptest! {
    #[test]
    fn every_kind_gives_what_nested_loops_give_in_the_order_of_each_batch(
        case in cases(),
        stream in rows(),
        versions in prop::collection::vec(rows(), 1..3),
        cuts in (1..50_usize, 1..50_usize),
    ) {
        let mut running = Running::start(case);
        for table in versions {
            running.publish(&table, cuts.0);
            running.begin();
            for rows in stream.chunks(cuts.1) {
                let found: Vec<Shown> = running.join(batch(rows)).iter().flat_map(|records| shown(case, records)).collect();
                prop_assert_eq!(found, case.expected(rows, &table));
            }
            running.end();
        }
    }
}

#[test]
fn the_stream_can_have_rows_without_partners_beside_nulls() {
    let mut running = Running::start(Case::new(JoinType::Right, JoinSide::Left));
    running.publish(&[row(Some(1), 10)], 1);
    running.begin();
    let batches = running.join(batch(&[row(Some(2), 0), row(None, 1), row(Some(1), 2)]));
    assert_eq!(batches.len(), 2);
    assert_eq!(batches[1].column(ID).null_count(), 2);
    running.end();
}

#[test]
fn a_row_with_a_million_partners_comes_in_pieces() {
    const PARTNERS: i64 = 1_000_000;
    let side: ArrayRef = Arc::new((0..PARTNERS).collect::<Int64Array>());
    let keys: ArrayRef = Arc::new(std::iter::repeat_n(1, 1_000_000).collect::<Int64Array>());
    let table = RecordBatch::try_from_iter_with_nullable([("key", keys, true), ("id", side, true)]).unwrap();
    let key = JoinKey { left: 0, right: 0, null_safe: false };
    let spec = JoinSpec::new(JoinType::Left, vec![key], &table.schema(), &table.schema());
    let mut operator = StaticJoin::new(spec, JoinSide::Right, table.schema());
    let slot = operator.static_side().unwrap();
    slot.publish(slot.index(vec![table.clone()]).unwrap());
    let _ = operator.on_watermark(EpochTime::default(), &mut Output::default()).unwrap();
    let (mut output, mut rows, mut pauses) = (Output::default(), 0, 0);
    let mut flow = operator.on_batch(0, table.slice(0, 1).into(), &mut output).unwrap();
    while flow == Flow::More {
        let batches = output.take_batches();
        assert!(batches.len() <= 5 && batches.iter().all(|batch| batch.num_rows() <= CHUNK));
        rows += batches.iter().map(RecordBatch::num_rows).sum::<usize>();
        pauses += 1;
        flow = operator.resume(&mut output).unwrap();
    }
    rows += output.take_batches().iter().map(RecordBatch::num_rows).sum::<usize>();
    assert_eq!(rows, 1_000_000);
    assert!(pauses >= 1_000_000 / CHUNK / 5);
}

#[test]
fn pairs_of_many_chunks_are_put_together() {
    let case = Case { keys: 4, condition: Condition::Pair, ..Case::new(JoinType::Inner, JoinSide::Right) };
    let mut running = Running::start(case);
    // Of each stream row's partners, one in a hundred matches.
    let table: Vec<Row> = (0..100).map(|id| Row { value: if id == 50 { 1 } else { -1 }, ..row(None, id) }).collect();
    running.publish(&table, 100);
    running.begin();
    let stream: Vec<Row> = (0..).take(CHUNK).map(|id| Row { value: 0, ..row(None, id) }).collect();
    let batches = running.join(batch(&stream));
    assert_eq!(batches.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), [CHUNK]);
    running.end();
}

#[test]
fn rows_with_one_partner_each_are_not_copied() {
    let mut running = Running::start(Case::new(JoinType::Left, JoinSide::Right));
    running.publish(&[row(Some(1), 1), row(Some(2), 2)], 1);
    running.begin();
    let stream = batch(&[row(Some(2), 0), row(Some(1), 1)]);
    let batches = running.join(stream.clone());
    assert_eq!(batches.len(), 1);
    let values = |batch: &RecordBatch| batch.column(ID).as_primitive::<Int64Type>().values().as_ptr();
    assert_eq!(values(&batches[0]), values(&stream));
    running.end();
}

#[test]
fn an_epoch_sees_one_version_and_nothing_is_held_between_epochs() {
    let case = Case::new(JoinType::LeftSemi, JoinSide::Right);
    let mut running = Running::start(case);
    running.publish(&[row(Some(1), 0)], 1);
    running.begin();
    running.publish(&[row(Some(2), 0)], 1);
    let stream = [row(Some(1), 0), row(Some(2), 1)];
    let ids = |batches: &[RecordBatch]| -> Vec<i64> {
        batches.iter().flat_map(|records| shown(case, records)).map(|(id, _)| id).collect()
    };
    assert_eq!(ids(&running.join(batch(&stream))), [0]);
    running.end();
    running.begin();
    assert_eq!(ids(&running.join(batch(&stream))), [1]);
    let held = Arc::downgrade(&running.side.current().unwrap());
    running.end();
    running.side.withdraw();
    assert!(held.upgrade().is_none());
}

#[test]
fn a_table_that_was_never_read_is_an_error() {
    let mut running = Running::start(Case::new(JoinType::Inner, JoinSide::Right));
    let error = running.operator.on_watermark(EpochTime::default(), &mut Output::default()).unwrap_err();
    assert!(error.message().contains("was not read"), "{error}");
}

#[test]
fn instances_share_the_table() {
    let mut one = Case::new(JoinType::Inner, JoinSide::Right).operator();
    let mut other = one.clone();
    assert!(Arc::ptr_eq(one.static_side().unwrap(), other.static_side().unwrap()));
}

#[test]
fn the_watermark_passes() {
    let mut running = Running::start(Case::new(JoinType::Inner, JoinSide::Right));
    running.publish(&[], 1);
    let query = Watermark { late_ms: 1, evict_ms: 2 };
    let time = EpochTime { query, here: Some(query), ..EpochTime::default() };
    assert_eq!(running.operator.on_watermark(time, &mut Output::default()).unwrap(), Some(query));
}

fn refusal(case: Case) -> String {
    case.operator().output_schema(&[schema()]).unwrap_err().message().to_string()
}

#[test]
fn joins_that_keep_rows_of_the_table_are_refused() {
    let full = refusal(Case::new(JoinType::Full, JoinSide::Right));
    assert!(full.contains("a full join cannot keep the rows of the static table on its right side"), "{full}");
    for (kind, table) in [
        (JoinType::Left, JoinSide::Left),
        (JoinType::Right, JoinSide::Right),
        (JoinType::LeftSemi, JoinSide::Left),
        (JoinType::LeftAnti, JoinSide::Left),
    ] {
        let text = refusal(Case::new(kind, table));
        assert!(text.contains(&format!("a {kind} join cannot keep")) && text.contains("put the stream"), "{text}");
    }
    for (kind, table) in KINDS {
        assert!(Case::new(kind, table).operator().output_schema(&[schema()]).is_ok());
    }
}

#[test]
fn columns_that_are_not_there_or_do_not_fit_are_refused() {
    let key = |left: usize, right: usize| JoinKey { left, right, null_safe: false };
    let refused = |key: JoinKey| {
        let spec = JoinSpec::new(JoinType::Inner, vec![key], &schema(), &schema());
        let operator = StaticJoin::new(spec, JoinSide::Right, schema());
        operator.output_schema(&[schema()]).unwrap_err().message().to_string()
    };
    assert!(refused(key(9, 0)).contains("column 9"));
    assert!(refused(key(0, 9)).contains("column 9"));
    assert!(refused(key(KEY, WORD)).contains("cast one of them"));
    let other = Arc::new(schema().project(&[WORD, WORD, VALUE, ID]).unwrap());
    let text = Case { keys: 1, ..Case::new(JoinType::Inner, JoinSide::Right) }.operator().output_schema(&[other]);
    assert_eq!(text.unwrap_err().message(), "a join puts out `key` as BIGINT, but reads it as STRING");
}

#[test]
fn a_join_describes_itself() {
    let case = Case { keys: 2, condition: Condition::Stream, ..Case::new(JoinType::LeftAnti, JoinSide::Right) };
    let operator = case.operator();
    operator.output_schema(&[schema()]).unwrap();
    assert_eq!(operator.describe(), "left anti join on key = key AND word <=> word where Less");
    assert_eq!(operator.clone().describe(), operator.describe());
}
