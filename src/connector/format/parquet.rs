//! Apache Parquet.
//!
//! Owns: finding the schema's columns in a file by name (without case) and bringing them to the engine's types. A
//! column that a file does not have is null. Does not own: the file format, which is the `parquet` crate's.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, new_null_array};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use super::blocks::BATCH_ROWS;
use super::{Counters, Format, Part, Sample};
use crate::connector::SplitReader;
use crate::error::{Error, Result};
use crate::types::{engine_type, type_name};

/// How Parquet files are read.
#[derive(Debug, Clone)]
pub(super) struct Parquet {
    schema: SchemaRef,
}

impl Parquet {
    /// Without a schema the first file of the sample gives it.
    ///
    /// # Errors
    /// When the sample is empty or cannot be read.
    pub(super) fn new(schema: Option<SchemaRef>, sample: Option<&Sample<'_>>) -> Result<Self> {
        let schema = match (schema, sample) {
            (Some(schema), _) => schema,
            (None, Some(sample)) => schema_of(&sample()?)?,
            (None, None) => return Err(Error::config("a schema must be given for a streaming parquet source")),
        };
        Ok(Self { schema })
    }
}

fn schema_of(files: &[PathBuf]) -> Result<SchemaRef> {
    let Some(path) = files.first() else {
        return Err(Error::data("there is no parquet file to find out the columns from; give them with .schema(…)"));
    };
    let file = File::open(path).map_err(|error| failed(path, &error))?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| failed(path, &error))?;
    let field = |field: &Arc<Field>| Field::new(field.name(), engine_type(field.data_type()), true);
    Ok(Arc::new(Schema::new(builder.schema().fields().iter().map(field).collect::<Vec<_>>())))
}

fn failed(path: &Path, error: &dyn std::error::Error) -> Error {
    Error::connector(format!("cannot read `{}` as parquet: {error}", path.display()))
}

impl Format for Parquet {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn can_split(&self) -> bool {
        false
    }

    fn open(&self, file: File, part: &Part, projection: &[usize], _: &Arc<Counters>) -> Result<Box<dyn SplitReader>> {
        let failed = |error| failed(&part.path, &error);
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(failed)?;
        let schema = Arc::new(self.schema.project(projection)?);
        let in_file = builder.schema().fields();
        let wanted = |name: &str| schema.fields().iter().any(|field| field.name().eq_ignore_ascii_case(name));
        let roots = (0..in_file.len()).filter(|index| wanted(in_file[*index].name()));
        let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
        let reader = builder.with_projection(mask).with_batch_size(BATCH_ROWS).build().map_err(failed)?;
        Ok(Box::new(ParquetRows { path: part.path.clone(), schema, reader }))
    }
}

struct ParquetRows {
    path: PathBuf,
    schema: SchemaRef,
    reader: ParquetRecordBatchReader,
}

impl SplitReader for ParquetRows {
    fn next(&mut self) -> Result<Option<RecordBatch>> {
        let Some(batch) = self.reader.next() else { return Ok(None) };
        let batch = batch.map_err(|error| failed(&self.path, &error))?;
        let columns = self.schema.fields().iter().map(|field| self.column(&batch, field)).collect::<Result<_>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        Ok(Some(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?))
    }
}

impl ParquetRows {
    fn column(&self, batch: &RecordBatch, field: &Field) -> Result<ArrayRef> {
        let in_file = batch.schema_ref().fields();
        let Some(index) = in_file.iter().position(|other| other.name().eq_ignore_ascii_case(field.name())) else {
            return Ok(new_null_array(field.data_type(), batch.num_rows()));
        };
        let options = CastOptions { safe: false, ..CastOptions::default() };
        cast_with_options(batch.column(index), field.data_type(), &options).map_err(|error| {
            let (name, wanted) = (field.name(), type_name(field.data_type()));
            let text = format!("{}: column `{name}` cannot be read as {wanted}: {error}", self.path.display());
            Error::data(text).with_source(error)
        })
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int32Array, StringArray};
    use arrow::datatypes::DataType;
    use parquet::arrow::ArrowWriter;

    use super::super::tests::read;
    use super::*;

    fn file() -> Vec<u8> {
        let names: ArrayRef = Arc::new(StringArray::from(vec![Some("anna"), None]));
        let batch =
            RecordBatch::try_from_iter([("Id", Arc::new(Int32Array::from(vec![1, 2])) as ArrayRef), ("name", names)]);
        let batch = batch.unwrap();
        let mut bytes = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        bytes
    }

    #[test]
    fn columns_are_found_by_name_cast_to_the_schema_and_null_when_missing() {
        let schema = Schema::new(vec![
            Field::new("name", DataType::Utf8View, true),
            Field::new("id", DataType::Int64, true),
            Field::new("age", DataType::Int32, true),
        ]);
        let format = Parquet::new(Some(Arc::new(schema)), None).unwrap();
        assert_eq!(read(&format, "a.parquet", &file()).unwrap().0, ["anna|1|NULL", "NULL|2|NULL"]);
    }

    #[test]
    fn the_first_file_gives_the_schema_in_the_engines_types() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.parquet");
        std::fs::write(&path, file()).unwrap();
        let format = Parquet::new(None, Some(&|| Ok(vec![path.clone()]))).unwrap();
        let types: Vec<_> = format.schema().fields().iter().map(|field| field.data_type().clone()).collect();
        assert_eq!(types, [DataType::Int32, DataType::Utf8View]);
        assert!(read(&format, "a.parquet", b"not parquet").unwrap_err().to_string().contains("a.parquet"));
    }
}
