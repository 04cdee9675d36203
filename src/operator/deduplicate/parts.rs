//! Keys as rows of state.
//!
//! Owns: the columns in which keys leave and come back. Does not own: which keys were seen.

use std::sync::Arc;

use arrow::array::{ArrayRef, TimestampMicrosecondArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};

use crate::error::Result;
use crate::operator::StateDelta;
use crate::state::KeyTable;

/// The most rows of one part.
pub(super) const PART_ROWS: usize = 8192;

/// The columns of state that are keys only.
pub(super) fn key_schema(keys: &[FieldRef]) -> SchemaRef {
    Arc::new(Schema::new(keys.to_vec()))
}

/// The columns of state that are keys, then when each expires.
pub(super) fn expiry_schema(keys: &[FieldRef]) -> SchemaRef {
    let expiry = Field::new("expires_at", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), false);
    Arc::new(Schema::new(keys.iter().cloned().chain([Arc::new(expiry)]).collect::<Vec<_>>()))
}

/// Collects keys of one or many tables into parts of even size.
pub(super) struct Parts {
    schema: SchemaRef,
    done: Vec<(RecordBatch, Vec<u64>)>,
    pending: Vec<RecordBatch>,
    hashes: Vec<u64>,
}

impl Parts {
    pub(super) fn new(schema: SchemaRef) -> Self {
        Self { schema, done: Vec::new(), pending: Vec::new(), hashes: Vec::new() }
    }

    /// Adds these keys of a table, and if the schema has a column for it, when each expires.
    pub(super) fn add(&mut self, table: &KeyTable, groups: &[u32], expiries: Option<&[i64]>) -> Result<()> {
        for (part, groups) in groups.chunks(PART_ROWS).enumerate() {
            let mut columns = table.keys(groups)?;
            if let Some(expiries) = expiries {
                let expiries = &expiries[part * PART_ROWS..][..groups.len()];
                let column = TimestampMicrosecondArray::from(expiries.to_vec()).with_timezone("UTC");
                columns.push(Arc::new(column) as ArrayRef);
            }
            let options = RecordBatchOptions::new().with_row_count(Some(groups.len()));
            self.pending.push(RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?);
            self.hashes.extend(groups.iter().map(|group| table.hashes()[*group as usize]));
            if self.hashes.len() >= PART_ROWS {
                self.close()?;
            }
        }
        Ok(())
    }

    fn close(&mut self) -> Result<()> {
        let pending = std::mem::take(&mut self.pending);
        if !pending.is_empty() {
            self.done.push((concat_batches(&self.schema, &pending)?, std::mem::take(&mut self.hashes)));
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<StateDelta> {
        self.close()?;
        Ok(StateDelta { changed: self.done })
    }
}
