//! A join of a stream with a static table.
//!
//! Owns: which joins can be made, and when a row's partners and a row without partner are put out. Does not own: finding
//! partners (`static_index`), judging pairs (`pairs`), or the table and its versions (`runtime`).
//!
//! An epoch sees one version of the table: the one that was published when it began. Between epochs no instance holds any, so
//! that the next version finds the memory of the last one free.

use std::sync::{Arc, OnceLock};

use arrow::array::{ArrayRef, BooleanArray};
use arrow::buffer::BooleanBuffer;
use arrow::compute::filter;
use arrow::datatypes::{DataType, SchemaRef};

use super::pairs::{CHUNK, CHUNKS_A_STEP, Candidates, Joiner, Pairs, Probe};
use super::static_index::{LookedUp, PutOut, StaticIndex, StaticKey, StaticSide};
use super::{JoinKey, JoinSide, JoinSpec, JoinType};
use crate::error::{Error, Result};
use crate::operator::project::one_input;
use crate::operator::{
    Balance, Barrier, Batch, EpochTime, Flow, Operator, OperatorContext, OperatorStats, Output, Watermark,
};
use crate::protocol::key_group::hash_rows_into;
use crate::types::type_name;

/// Joins the rows of a stream with those of a static table.
///
/// | input    | output                                                         | state | late rows     |
/// |----------|----------------------------------------------------------------|-------|---------------|
/// | any rows | each pair; of an outer join, a row without a partner beside    | none  | not looked at |
/// |          | nulls; of a semi join, a row with a partner; of an anti join,  |       |               |
/// |          | a row without                                                  |       |               |
///
/// Everything a batch gives is put out with it: first its pairs in the order of its rows, each row's partners in the order of the
/// table; then rows without. Rows need not be partitioned, because every instance sees the whole table.
#[derive(Debug)]
pub struct StaticJoin {
    joiner: Joiner,
    /// The side that is the table.
    table: JoinSide,
    side: Arc<StaticSide>,
    /// The columns of the stream, once they are known.
    stream: OnceLock<SchemaRef>,
    index: Option<Arc<StaticIndex>>,
    time: EpochTime,
    /// The batch at hand, and whether all of its pairs were found.
    probe: Option<(Probe, Candidates)>,
    candidates: Pairs,
    /// Pairs that are not yet put out: fewer than are worth a batch.
    found: Pairs,
    hashes: Vec<u64>,
    /// For each row of the probe, the first stored row with its hash.
    firsts: Vec<u32>,
    balance: Balance,
}

/// A clone is a new instance that shares the table.
impl Clone for StaticJoin {
    fn clone(&self) -> Self {
        Self { stream: self.stream.clone(), ..Self::of(self.joiner.clone(), self.table, Arc::clone(&self.side)) }
    }
}

impl StaticJoin {
    /// A join whose side `table` is a static table of these columns. Inner joins can be made, outer joins that keep the
    /// stream's rows, and left semi and left anti joins of a stream on the left.
    pub fn new(spec: JoinSpec, table: JoinSide, columns: SchemaRef) -> Self {
        let column = |key: &JoinKey| table.of(key.left, key.right);
        let types = spec.keys.iter().filter_map(|key| columns.fields().get(column(key)));
        let types: Vec<DataType> = types.map(|field| field.data_type().clone()).collect();
        let keys = spec.keys.iter().map(|key| StaticKey { column: column(key), null_safe: key.null_safe }).collect();
        let mut read = spec.condition.iter().flat_map(|condition| &condition.columns);
        let is_distinct = spec.kind.is_left_only() && read.all(|(side, _)| *side != table);
        let side = Arc::new(StaticSide::new(columns, keys, is_distinct));
        Self::of(Joiner::new(spec, &types), table, side)
    }

    fn of(joiner: Joiner, table: JoinSide, side: Arc<StaticSide>) -> Self {
        Self {
            joiner,
            table,
            side,
            stream: OnceLock::new(),
            index: None,
            time: EpochTime::default(),
            probe: None,
            candidates: Pairs::default(),
            found: Pairs::default(),
            hashes: Vec::new(),
            firsts: Vec::new(),
            balance: Balance::default(),
        }
    }

    /// Refuses what would have to wait for the end of the stream.
    fn check_kind(&self) -> Result<()> {
        let stream = self.table.other();
        let remedy = match self.joiner.spec.kind {
            JoinType::Inner => return Ok(()),
            kind if kind.keeps(stream) && !kind.keeps(self.table) => return Ok(()),
            kind if kind.is_left_only() && stream == JoinSide::Left => return Ok(()),
            JoinType::Full => "use a left or right join that keeps the stream's rows",
            _ => "put the stream on the side whose rows are kept",
        };
        let (kind, side) = (self.joiner.spec.kind, self.table.of("left", "right"));
        let message = format!("a {kind} join cannot keep the rows of the static table on its {side} side");
        Err(Error::plan(format!("{message}, because whether they match is known at the end of the stream; {remedy}")))
    }

    fn check(&self, inputs: &[SchemaRef]) -> Result<()> {
        let stream = one_input(inputs)?;
        self.check_kind()?;
        let (left, right) = self.table.of((self.side.schema(), stream), (stream, self.side.schema()));
        self.joiner.spec.check(left, right)?;
        for column in &self.joiner.spec.columns {
            let (name, wanted) = (column.field.name(), column.field.data_type());
            let found = column.side.of(left, right).field(column.index).data_type();
            if found != wanted {
                let (wanted, found) = (type_name(wanted), type_name(found));
                return Err(Error::plan(format!("a join puts out `{name}` as {wanted}, but reads it as {found}")));
            }
        }
        self.stream.get_or_init(|| Arc::clone(stream));
        Ok(())
    }

    fn asks_matched(&self) -> bool {
        let kind = self.joiner.spec.kind;
        kind.is_left_only() || kind.keeps(self.table.other())
    }

    fn index(&mut self) -> Result<Arc<StaticIndex>> {
        let current = self.index.take().or_else(|| self.side.current());
        let current = current.ok_or_else(|| Error::internal("the static table of a join was not read"))?;
        Ok(Arc::clone(self.index.insert(current)))
    }

    /// Takes a batch to where its probe begins.
    fn arrive(&mut self, batch: Batch) -> Result<()> {
        let index = self.index()?;
        self.balance.absorbed += batch.rows() as u64;
        let stream = self.table.other();
        let keys = self.joiner.spec.key_columns(stream);
        let keys: Vec<ArrayRef> = keys.into_iter().map(|key| Arc::clone(batch.records.column(key))).collect();
        hash_rows_into(&keys, &mut self.hashes);
        // Without keys, all rows are alike.
        self.hashes.resize(batch.rows(), 0);
        index.look_up(&self.hashes, &mut self.firsts);
        let hashes = self.hashes.as_slice().into();
        let probe = self.joiner.probe(stream, batch.records, hashes, self.asks_matched());
        self.probe = Some((probe, Candidates::More));
        Ok(())
    }

    /// Finds one chunk of candidates and keeps the pairs among them; puts earlier pairs out if there are too many together.
    fn meet(&mut self, probe: &mut Probe, index: &StaticIndex, output: &mut Output) -> Result<Candidates> {
        let is_left_only = self.joiner.spec.kind.is_left_only();
        let has_partner = |probe: &Probe, row: usize| is_left_only && probe.matched[row];
        let chains = LookedUp { index, firsts: &self.firsts };
        let more = probe.candidates(&chains, &mut self.candidates, has_partner);
        self.joiner.judge(probe, index, &mut self.candidates, self.time)?;
        if !probe.matched.is_empty() {
            self.candidates.probing.iter().for_each(|row| probe.matched[*row as usize] = true);
        }
        if is_left_only {
            return Ok(more);
        }
        if self.found.len() + self.candidates.len() > CHUNK {
            self.put_out_pairs(probe, index, output)?;
        }
        if self.found.len() == 0 {
            std::mem::swap(&mut self.found, &mut self.candidates);
        } else {
            self.found.probing.extend_from_slice(&self.candidates.probing);
            self.found.stored.extend_from_slice(&self.candidates.stored);
        }
        Ok(more)
    }

    fn put_out_pairs(&mut self, probe: &Probe, index: &StaticIndex, output: &mut Output) -> Result<()> {
        if self.found.len() > 0 {
            let records = self.joiner.joined(probe, &PutOut(index), &self.found)?;
            self.found.clear();
            self.put_out(records, output);
        }
        Ok(())
    }

    fn put_out(&mut self, records: impl Into<Batch>, output: &mut Output) {
        let batch = records.into();
        self.balance.made += batch.rows() as u64;
        output.batch(batch);
    }

    /// Puts out the rows of the stream that go by themselves: with a partner for a semi join, without for the others.
    fn put_out_alone(&mut self, probe: &Probe, output: &mut Output) -> Result<()> {
        let wants_matched = self.joiner.spec.kind == JoinType::LeftSemi;
        let matched = &probe.matched;
        let wanted = BooleanBuffer::collect_bool(matched.len(), |row| matched[row] == wants_matched);
        let wanted = BooleanArray::new(wanted, None);
        let rows = wanted.true_count();
        if rows == 0 {
            return Ok(());
        }
        let is_all = rows == matched.len();
        let column = |index: usize| {
            let column = probe.records.column(index);
            if is_all { Ok(Arc::clone(column)) } else { Ok(filter(column, &wanted)?) }
        };
        let records = self.joiner.alone(self.table.other(), rows, column)?;
        self.put_out(records, output);
        Ok(())
    }

    /// Takes the probe on until it is through, the output is full or others should have their turn. A step puts out two batches at
    /// most.
    fn go_on(&mut self, mut probe: Probe, mut candidates: Candidates, output: &mut Output) -> Result<Flow> {
        let index = self.index()?;
        for _ in 0..CHUNKS_A_STEP {
            if output.is_full() {
                break;
            }
            match candidates {
                Candidates::More => candidates = self.meet(&mut probe, &index, output)?,
                Candidates::Last => {
                    self.put_out_pairs(&probe, &index, output)?;
                    self.put_out_alone(&probe, output)?;
                    return Ok(Flow::Done);
                }
            }
        }
        self.probe = Some((probe, candidates));
        Ok(Flow::More)
    }
}

impl Operator for StaticJoin {
    fn output_schema(&self, inputs: &[SchemaRef]) -> Result<SchemaRef> {
        self.check(inputs)?;
        Ok(Arc::clone(&self.joiner.schema))
    }

    fn describe(&self) -> String {
        let spec = &self.joiner.spec;
        let mut text = format!("{} join", spec.kind);
        if let (Some(stream), false) = (self.stream.get(), spec.keys.is_empty()) {
            let (left, right) = self.table.of((self.side.schema(), stream), (stream, self.side.schema()));
            text += &format!(" on {}", spec.describe_keys(left, right));
        }
        if let Some(condition) = &spec.condition {
            text += &format!(" where {:?}", condition.expression);
        }
        text
    }

    fn static_side(&mut self) -> Option<&mut Arc<StaticSide>> {
        Some(&mut self.side)
    }

    fn open(&mut self, context: &OperatorContext) -> Result<()> {
        self.check(&context.inputs)
    }

    fn on_watermark(&mut self, time: EpochTime, _: &mut Output) -> Result<Option<Watermark>> {
        self.time = time;
        self.index = None;
        self.index()?;
        Ok(time.here)
    }

    fn on_batch(&mut self, _: usize, batch: Batch, output: &mut Output) -> Result<Flow> {
        self.arrive(batch)?;
        self.resume(output)
    }

    fn resume(&mut self, output: &mut Output) -> Result<Flow> {
        match self.probe.take() {
            Some((probe, candidates)) => self.go_on(probe, candidates, output),
            None => Ok(Flow::Done),
        }
    }

    fn on_barrier(&mut self, _: &Barrier, _: &mut Output) -> Result<Flow> {
        self.index = None;
        Ok(Flow::Done)
    }

    fn take_stats(&mut self) -> OperatorStats {
        OperatorStats { balance: Some(std::mem::take(&mut self.balance)), ..OperatorStats::default() }
    }
}

#[cfg(test)]
mod tests;
