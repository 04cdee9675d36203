//! The state in a checkpoint as a table.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::inspect::Checkpoint;
use super::reader::CheckpointReader;
use super::records::StateFile;
use super::state_file::StateRows;
use crate::connector::BatchTable;
use crate::connector::options::Options;
use crate::error::{Error, Result};
use crate::operator::without_numbers;
use crate::protocol::key_group::key_group;
use crate::types::{engine_batch, engine_schema};

/// The rows of an operator's state as of the newest commit, in the order in which they are restored, with the columns
///
/// | column      | type   | what                                                                              |
/// |-------------|--------|-----------------------------------------------------------------------------------|
/// | `commit`    | BIGINT | the commit the row came with, or the one after, if files were merged                |
/// | `key_group` | INT    | which of the 256 parts of the key space its key is in                               |
///
/// then those of the state: keys first. State is kept as changes, so that a key which was changed again has several rows, of
/// which the last counts; what the watermark has made final may still be among them.
pub(crate) fn open_state_table(options: &Options, has_schema: bool, paths: &[String]) -> Result<Arc<dyn BatchTable>> {
    let operator = options.number::<usize>("operatorId")?.unwrap_or(0);
    let path = options.text("path").or_else(|| paths.first().map(String::as_str));
    options.finish("the format statestore")?;
    if has_schema {
        return Err(Error::config("the format statestore has the columns of the state; remove .schema(…)"));
    }
    let missing =
        || Error::config("the format statestore needs a query's checkpointLocation; give it with .load_path(\"…\")");
    Ok(Checkpoint::open(path.ok_or_else(missing)?)?.state_table(operator)?)
}

/// The rows in the files of one operator, in the order in which they are restored.
pub(crate) struct StateTable {
    reader: CheckpointReader,
    location: String,
    operator: usize,
    files: Vec<StateFile>,
    schema: SchemaRef,
}

impl StateTable {
    /// The state of the operator with this place, as of the newest commit.
    pub(super) fn new(reader: &CheckpointReader, location: &str, operator: usize) -> Result<Self> {
        let found = reader.find()?;
        let last = found.last().ok_or_else(|| {
            Error::state(format!("the checkpoint in `{location}` has no commit yet, and so no state"))
        })?;
        let files = last.operators.get(operator).ok_or_else(|| {
            Error::config(format!(
                "the checkpoint in `{location}` has {} operators with state, counted from 0; there is no operatorId {operator}",
                last.operators.len()
            ))
        })?;
        let rows = files.first().map(|file| reader.state(operator, file)).transpose()?;
        let state = rows.and_then(|rows| Some(rows.first()?.0.schema()));
        let mut fields = vec![
            Arc::new(Field::new("commit", DataType::Int64, false)),
            Arc::new(Field::new("key_group", DataType::Int32, false)),
        ];
        for field in state.iter().flat_map(|state| engine_schema(state).fields().to_vec()) {
            // The numbers of a plan's columns tell namesakes apart, and nothing else.
            let name = without_numbers(field.name());
            let is_taken = fields.iter().any(|taken| *taken.name() == name);
            let name = if is_taken { field.name().clone() } else { name };
            fields.push(Arc::new(field.as_ref().clone().with_name(name)));
        }
        let (reader, files, schema) = (reader.clone(), files.clone(), Arc::new(Schema::new(fields)));
        Ok(Self { reader, location: location.to_string(), operator, files, schema })
    }

    fn batch(&self, file: &StateFile, (rows, hashes): StateRows) -> Result<RecordBatch> {
        let commit = i64::try_from(file.number).unwrap_or(i64::MAX);
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(vec![commit; rows.num_rows()])),
            Arc::new(hashes.iter().map(|hash| i32::from(key_group(*hash))).collect::<Int32Array>()),
        ];
        columns.extend(engine_batch(rows)?.columns().iter().cloned());
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }
}

impl BatchTable for StateTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn description(&self) -> String {
        format!("StateStore[{}, operator {}]", self.location, self.operator)
    }

    fn read(&self, projection: Option<&[usize]>) -> Result<Vec<RecordBatch>> {
        let mut batches = Vec::new();
        for file in &self.files {
            for rows in self.reader.state(self.operator, file)? {
                let batch = self.batch(file, rows)?;
                batches.push(match projection {
                    Some(columns) => batch.project(columns)?,
                    None => batch,
                });
            }
        }
        let Some(first) = batches.first() else { return Ok(Vec::new()) };
        Ok(vec![concat_batches(&first.schema(), &batches)?])
    }
}
