//! The columns a deduplication reads, and the rows of a batch that are not late.
//!
//! Owns: finding and checking the columns, hashing the keys, dropping late rows. Does not own: which keys were seen.

use std::sync::{Arc, OnceLock};

use arrow::array::{ArrayRef, AsArray, BooleanArray, TimestampMicrosecondArray};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{filter, filter_record_batch};
use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;

use crate::error::{Error, Result};
use crate::operator::identity;
use crate::operator::project::one_input;
use crate::operator::watermark::{is_event_time, judged_times, late_rows};
use crate::operator::{Batch, DroppedRows, Output, Watermark, reason};
use crate::protocol::key_group::hash_rows_into;
use crate::state::KeyTable;
use crate::types::type_name;

/// Which columns of the input are the key and the event time.
#[derive(Debug, Clone)]
pub(super) struct Columns {
    pub(super) keys: Vec<usize>,
    pub(super) event_time: Option<usize>,
    /// Whether hashes that come with a batch are of the key columns, in their order.
    pub(super) has_exchanged_keys: bool,
    /// All columns, once an input is known.
    input: OnceLock<SchemaRef>,
}

impl Columns {
    pub(super) fn new(keys: Vec<usize>, event_time: Option<usize>) -> Self {
        Self { keys, event_time, has_exchanged_keys: false, input: OnceLock::new() }
    }

    /// The one input, if it has all columns and they are of types that can be used.
    pub(super) fn check<'a>(&self, inputs: &'a [SchemaRef]) -> Result<&'a SchemaRef> {
        let input = one_input(inputs)?;
        for key in &self.keys {
            let field = field(input, *key, "the key of drop_duplicates")?;
            KeyTable::new(std::slice::from_ref(field)).map_err(|error| {
                error.context(format!(
                    "drop_duplicates by `{}`, which is {}",
                    field.name(),
                    type_name(field.data_type())
                ))
            })?;
        }
        if let Some(index) = self.event_time {
            let field = field(input, index, "the event time of drop_duplicates")?;
            if !is_event_time(field.data_type()) {
                let (name, data_type) = (field.name(), type_name(field.data_type()));
                return Err(Error::plan(format!(
                    "the event time of drop_duplicates must be a TIMESTAMP or window column, but `{name}` is \
                     {data_type}; cast it before with_watermark"
                )));
            }
        }
        self.input.get_or_init(|| Arc::clone(input));
        Ok(input)
    }

    /// The key columns of an input that was checked.
    pub(super) fn key_fields(&self, input: &Schema) -> Vec<FieldRef> {
        self.keys.iter().map(|key| input.fields()[*key].clone()).collect()
    }

    pub(super) fn name(&self, index: usize) -> String {
        let field = self.input.get().and_then(|input| input.fields().get(index));
        field.map_or_else(|| format!("column {index}"), |field| field.name().clone())
    }

    /// The columns as they are told in a checkpoint.
    pub(super) fn identity(&self) -> String {
        let Some(input) = self.input.get() else { return String::new() };
        let keys: Vec<_> = self.keys.iter().map(|key| identity::column_at(input, *key)).collect();
        let time = self.event_time.map(|time| format!("; event time {}", identity::column_at(input, time)));
        format!("by {}{}", keys.join(", "), time.unwrap_or_default())
    }

    pub(super) fn key_names(&self) -> String {
        self.keys.iter().map(|key| self.name(*key)).collect::<Vec<_>>().join(", ")
    }

    /// Drops the late rows of `batch`, if `watermark` says that any can be, and reads the columns of the others.
    pub(super) fn arrive(&self, batch: Batch, watermark: Option<Watermark>, output: &mut Output) -> Result<Arrivals> {
        let hashes = batch.hashes.filter(|_| self.has_exchanged_keys);
        let times = self.event_time.map(|index| judged_times(batch.records.column(index))).transpose()?;
        let arrivals = Arrivals { records: batch.records, keys: Vec::new(), hashes, times };
        let mut arrivals = match watermark {
            Some(watermark) => arrivals.without_late(watermark.late_ms, output)?,
            None => arrivals,
        };
        arrivals.keys = self.keys.iter().map(|key| arrivals.records.column(*key).clone()).collect();
        Ok(arrivals)
    }
}

fn field<'a>(input: &'a Schema, index: usize, role: &str) -> Result<&'a FieldRef> {
    let columns = input.fields();
    let known = || columns.iter().map(|field| field.name().as_str()).collect::<Vec<_>>().join(", ");
    columns.get(index).ok_or_else(|| {
        Error::plan(format!("column {index} is {role}, but the input has only {}: {}", columns.len(), known()))
    })
}

/// Rows that are not late.
#[derive(Debug)]
pub(super) struct Arrivals {
    pub(super) records: RecordBatch,
    pub(super) keys: Vec<ArrayRef>,
    hashes: Option<Arc<[u64]>>,
    /// The times the rows were judged by.
    pub(super) times: Option<TimestampMicrosecondArray>,
}

impl Arrivals {
    /// The key hash of each row, which takes `scratch` if it has to be computed.
    pub(super) fn hashes<'a>(&'a self, scratch: &'a mut Vec<u64>) -> &'a [u64] {
        if let Some(hashes) = &self.hashes {
            return hashes;
        }
        hash_rows_into(&self.keys, scratch);
        // Without key columns the hash of every row is 0.
        scratch.resize(self.records.num_rows(), 0);
        scratch
    }

    fn without_late(self, late_ms: i64, output: &mut Output) -> Result<Self> {
        let Some(times) = &self.times else { return Ok(self) };
        let Some(late) = late_rows(times, late_ms) else { return Ok(self) };
        let dropped = self.only(late.clone())?;
        let (records, times) = (dropped.records, dropped.times);
        output.drop_rows(DroppedRows { reason: reason::LATE, records, times, watermark_ms: Some(late_ms) });
        self.only(!&late)
    }

    /// The rows whose bit is set.
    fn only(&self, rows: BooleanBuffer) -> Result<Self> {
        let hashes = self.hashes.as_ref().map(|hashes| rows.set_indices().map(|row| hashes[row]).collect());
        let rows = BooleanArray::new(rows, None);
        let times = self.times.as_ref().map(|times| filter(times, &rows)).transpose()?;
        let times = times.map(|times| times.as_primitive().clone());
        Ok(Self { records: filter_record_batch(&self.records, &rows)?, keys: Vec::new(), hashes, times })
    }
}
