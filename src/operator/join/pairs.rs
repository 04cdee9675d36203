//! Pairs of rows: candidates by hash, judged and put out in columns.
//!
//! Owns: walking the chains of stored rows in chunks, comparing keys, evaluating the condition, gathering output. Does not
//! own: where stored rows are, or what becomes of rows without a partner.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, PrimitiveArray, UInt32Array, make_comparator,
    new_null_array,
};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::compute::kernels::cmp::not_distinct;
use arrow::compute::{SortOptions, take};
use arrow::datatypes::{DataType, Float32Type, Float64Type, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};

use super::{JoinSide, JoinSpec};
use crate::error::{Error, Result};
use crate::operator::{EpochTime, ExpressionRef};
use crate::protocol::key_group::float_word;
use crate::types::type_name;

/// The most candidate pairs that are judged at once; also the most rows of a batch put out.
pub(crate) const CHUNK: usize = if cfg!(test) { 8 } else { 8192 };

/// After so many chunks a join pauses even if it has put out little, so that candidates without end do not hold up others on the thread.
pub(crate) const CHUNKS_A_STEP: usize = 64;

/// The number of no row: the end of a chain.
pub(crate) const NO_ROW: u32 = u32::MAX;

/// Stored rows by the hash of their keys.
pub(crate) trait Chains {
    /// The first stored row with this hash, or [`NO_ROW`].
    fn first(&self, hash: u64) -> u32;
    /// The first stored row for the probing row with this number and hash, where a batch was looked up as a whole.
    fn first_of(&self, probing: usize, hash: u64) -> u32 {
        let _ = probing;
        self.first(hash)
    }
    /// The next row with the same hash, or [`NO_ROW`].
    fn next(&self, row: u32) -> u32;
}

/// The columns of stored rows.
pub(crate) trait StoredRows {
    /// Where some rows are, found once for all columns.
    type Places;

    /// Where these rows are.
    fn places(&self, rows: &[u32]) -> Self::Places;

    /// The values of a column in these places, in this order.
    ///
    /// # Errors
    /// When Arrow refuses the column: over 2 GiB in one array.
    fn gather(&self, column: usize, places: &Self::Places) -> Result<ArrayRef>;
}

/// Pairs of a probing row, by its place in the batch, and a stored row, by its number.
#[derive(Debug, Default)]
pub(crate) struct Pairs {
    pub(crate) probing: Vec<u32>,
    pub(crate) stored: Vec<u32>,
}

impl Pairs {
    pub(crate) fn len(&self) -> usize {
        self.probing.len()
    }

    pub(crate) fn clear(&mut self) {
        self.probing.clear();
        self.stored.clear();
    }

    /// Keeps the pairs for which `is_wanted` is true, which is asked once for each, in order.
    pub(crate) fn retain(&mut self, mut is_wanted: impl FnMut(u32, u32) -> bool) {
        let mut kept = 0;
        for pair in 0..self.probing.len() {
            let (probing, stored) = (self.probing[pair], self.stored[pair]);
            if is_wanted(probing, stored) {
                (self.probing[kept], self.stored[kept]) = (probing, stored);
                kept += 1;
            }
        }
        self.probing.truncate(kept);
        self.stored.truncate(kept);
    }

    fn retain_true(&mut self, bits: &BooleanBuffer) {
        let mut pair = 0;
        self.retain(|_, _| {
            pair += 1;
            bits.value(pair - 1)
        });
    }
}

/// A batch of one side on its way past the stored rows of the other.
#[derive(Debug)]
pub(crate) struct Probe {
    pub(crate) side: JoinSide,
    pub(crate) records: RecordBatch,
    pub(crate) hashes: Arc<[u64]>,
    /// Rows whose keys can equal something: no null where null equals nothing. `None`: all can.
    pub(crate) can_match: Option<NullBuffer>,
    /// Whether each row has had a partner, if that is asked.
    pub(crate) matched: Vec<bool>,
    row: usize,
    /// The next stored row of this row's chain.
    at: u32,
    is_inside_row: bool,
}

/// Whether a probe has been through all of its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Candidates {
    /// There may be more pairs.
    More,
    /// These were the last.
    Last,
}

impl Probe {
    /// Puts the next candidates, at most [`CHUNK`], into `pairs`, which is emptied first. Rows for which `is_done` holds are
    /// left out from where they are.
    pub(crate) fn candidates(
        &mut self,
        chains: &impl Chains,
        pairs: &mut Pairs,
        is_done: impl Fn(&Self, usize) -> bool,
    ) -> Candidates {
        pairs.clear();
        while self.row < self.hashes.len() {
            if !self.is_inside_row {
                let can_match = self.can_match.as_ref().is_none_or(|valid| valid.is_valid(self.row));
                self.at = if can_match { chains.first_of(self.row, self.hashes[self.row]) } else { NO_ROW };
                self.is_inside_row = true;
            } else if is_done(self, self.row) {
                self.at = NO_ROW;
            }
            let row = u32::try_from(self.row).unwrap_or(NO_ROW);
            while self.at != NO_ROW {
                if pairs.len() == CHUNK {
                    return Candidates::More;
                }
                pairs.probing.push(row);
                pairs.stored.push(self.at);
                self.at = chains.next(self.at);
            }
            self.row += 1;
            self.is_inside_row = false;
        }
        Candidates::Last
    }
}

/// A join's way from candidates to rows put out.
#[derive(Debug, Clone)]
pub(crate) struct Joiner {
    pub(crate) spec: JoinSpec,
    pub(crate) schema: SchemaRef,
    /// Equal hashes are equal keys: one key of at most 64 bits, whose hash is a permutation of these.
    is_exact: bool,
}

impl Joiner {
    /// A joiner for sides whose key columns have these types.
    pub(crate) fn new(spec: JoinSpec, key_types: &[DataType]) -> Self {
        let is_exact = match (spec.keys.as_slice(), key_types) {
            ([], _) => true,
            ([key], [data_type]) => !key.null_safe && is_word(data_type),
            _ => false,
        };
        Self { schema: spec.schema(), spec, is_exact }
    }

    /// A probe of these rows. `asks_matched`: whether it notes which rows had a partner.
    pub(crate) fn probe(&self, side: JoinSide, records: RecordBatch, hashes: Arc<[u64]>, asks_matched: bool) -> Probe {
        let keys = self.spec.keys.iter().filter(|key| !key.null_safe);
        let can_match = keys.fold(None, |valid: Option<NullBuffer>, key| {
            NullBuffer::union(valid.as_ref(), records.column(side.of(key.left, key.right)).logical_nulls().as_ref())
        });
        let matched = if asks_matched { vec![false; records.num_rows()] } else { Vec::new() };
        let can_match = can_match.filter(|valid| valid.null_count() > 0);
        Probe { side, records, hashes, can_match, matched, row: 0, at: NO_ROW, is_inside_row: false }
    }

    /// Keeps the candidates that match: equal keys, true condition.
    ///
    /// # Errors
    /// When the condition cannot be computed.
    pub(crate) fn judge(
        &self,
        probe: &Probe,
        stored: &impl StoredRows,
        pairs: &mut Pairs,
        time: EpochTime,
    ) -> Result<()> {
        if !self.is_exact && pairs.len() > 0 {
            let equal = self.equal_keys(probe, stored, pairs)?;
            pairs.retain_true(&equal);
        }
        let Some(condition) = self.spec.condition.as_ref().filter(|_| pairs.len() > 0) else { return Ok(()) };
        let (probing, places) = (ProbingRows::of(pairs), stored.places(&pairs.stored));
        let columns = condition.columns.iter().map(|(side, index)| {
            if *side == probe.side {
                probing.gather(probe.records.column(*index))
            } else {
                stored.gather(*index, &places)
            }
        });
        let options = RecordBatchOptions::new().with_row_count(Some(pairs.len()));
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let candidates = RecordBatch::try_new_with_options(Arc::clone(&condition.schema), columns, &options)?;
        pairs.retain_true(&true_rows(&condition.expression, &candidates, time)?);
        Ok(())
    }

    /// The rows put out for these pairs.
    ///
    /// # Errors
    /// When Arrow refuses a column: over 2 GiB in one array.
    pub(crate) fn joined(&self, probe: &Probe, stored: &impl StoredRows, pairs: &Pairs) -> Result<RecordBatch> {
        let (probing, places) = (ProbingRows::of(pairs), stored.places(&pairs.stored));
        self.batch(pairs.len(), |side, index| {
            if side == probe.side { probing.gather(probe.records.column(index)) } else { stored.gather(index, &places) }
        })
    }

    /// For each candidate whether its keys are equal; nulls are, because those that are not never become candidates.
    fn equal_keys(&self, probe: &Probe, stored: &impl StoredRows, pairs: &Pairs) -> Result<BooleanBuffer> {
        let (probing, places) = (ProbingRows::of(pairs), stored.places(&pairs.stored));
        let mut equal = BooleanBuffer::new_set(pairs.len());
        for key in &self.spec.keys {
            let own = probing.gather(probe.records.column(probe.side.of(key.left, key.right)))?;
            let other = stored.gather(probe.side.other().of(key.left, key.right), &places)?;
            equal = &equal & &equal_rows(&own, &other)?;
        }
        Ok(equal)
    }

    /// Rows of one side beside nulls; `column` gives the columns of that side, each of `rows` rows.
    ///
    /// # Errors
    /// Those of `column`.
    pub(crate) fn alone(
        &self,
        side: JoinSide,
        rows: usize,
        column: impl Fn(usize) -> Result<ArrayRef>,
    ) -> Result<RecordBatch> {
        let mut place = 0;
        self.batch(rows, |of, index| {
            place += 1;
            if of == side { column(index) } else { Ok(new_null_array(self.schema.field(place - 1).data_type(), rows)) }
        })
    }

    fn batch(&self, rows: usize, mut column: impl FnMut(JoinSide, usize) -> Result<ArrayRef>) -> Result<RecordBatch> {
        let columns = self.spec.columns.iter().map(|output| column(output.side, output.index));
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?)
    }
}

/// The probing rows of some pairs.
enum ProbingRows {
    /// So many one after the other, from this one on: each has one partner.
    Range(usize, usize),
    These(UInt32Array),
}

impl ProbingRows {
    fn of(pairs: &Pairs) -> Self {
        let first = pairs.probing.first().copied().unwrap_or(0);
        if (first..).zip(&pairs.probing).all(|(expected, row)| expected == *row) {
            return Self::Range(first as usize, pairs.len());
        }
        Self::These(UInt32Array::from_iter_values(pairs.probing.iter().copied()))
    }

    fn gather(&self, column: &ArrayRef) -> Result<ArrayRef> {
        Ok(match self {
            Self::Range(first, rows) => column.slice(*first, *rows),
            Self::These(rows) => take(column, rows, None)?,
        })
    }
}

/// Types whose values are words of the key hash, one to one.
fn is_word(data_type: &DataType) -> bool {
    data_type.is_integer()
        || matches!(data_type, DataType::Boolean | DataType::Float32 | DataType::Float64)
        || matches!(data_type, DataType::Date32 | DataType::Date64 | DataType::Timestamp(..) | DataType::Time64(_))
}

/// The rows for which a join's condition is true.
///
/// # Errors
/// When it cannot be computed, or is no BOOLEAN.
pub(super) fn true_rows(condition: &ExpressionRef, records: &RecordBatch, time: EpochTime) -> Result<BooleanBuffer> {
    let result = condition.evaluate(records, time)?;
    let wrong = || format!("a join's condition must be BOOLEAN, not {}", type_name(result.data_type()));
    Ok(true_bits(result.as_boolean_opt().ok_or_else(|| Error::plan(wrong()))?))
}

fn true_bits(array: &BooleanArray) -> BooleanBuffer {
    match array.nulls() {
        Some(nulls) => array.values() & nulls.inner(),
        None => array.values().clone(),
    }
}

/// Row by row: equal as keys are, so with -0.0 as 0.0 and NaN as NaN.
pub(crate) fn equal_rows(own: &ArrayRef, other: &ArrayRef) -> Result<BooleanBuffer> {
    Ok(match own.data_type() {
        DataType::Float32 => equal_floats::<Float32Type>(own.as_primitive(), other.as_primitive()),
        DataType::Float64 => equal_floats::<Float64Type>(own.as_primitive(), other.as_primitive()),
        DataType::Struct(_) => {
            let (own, other) = (own.as_struct(), other.as_struct());
            let mut equal = equal_nullity(own, other);
            for (own_field, other_field) in own.columns().iter().zip(other.columns()) {
                equal = &equal & &equal_rows(own_field, other_field)?;
            }
            // What stands in the fields of a null struct means nothing.
            match own.nulls().filter(|nulls| nulls.null_count() > 0) {
                Some(nulls) => &equal | &(&equal_nullity(own, other) & &!nulls.inner()),
                None => equal,
            }
        }
        data_type if data_type.is_nested() => {
            let compare = make_comparator(own, other, SortOptions::default())?;
            BooleanBuffer::collect_bool(own.len(), |row| compare(row, row).is_eq())
        }
        _ => true_bits(&not_distinct(own, other)?),
    })
}

fn equal_nullity(own: &dyn Array, other: &dyn Array) -> BooleanBuffer {
    BooleanBuffer::collect_bool(own.len(), |row| own.is_null(row) == other.is_null(row))
}

fn equal_floats<T>(own: &PrimitiveArray<T>, other: &PrimitiveArray<T>) -> BooleanBuffer
where
    T: ArrowPrimitiveType<Native: Into<f64>>,
{
    let word = |array: &PrimitiveArray<T>, row: usize| float_word(array.value(row).into());
    BooleanBuffer::collect_bool(own.len(), |row| match (own.is_null(row), other.is_null(row)) {
        (false, false) => word(own, row) == word(other, row),
        (own, other) => own == other,
    })
}
