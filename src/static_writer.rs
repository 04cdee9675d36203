//! `write()`: the rows of a static table into files.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;

use crate::connector::options::Options;
use crate::connector::sink::{SinkEnvironment, open_sink};
use crate::connector::{Sink, SinkContext, local_path};
use crate::dataframe::DataFrame;
use crate::error::{Error, Result};
use crate::expr::IntoNames;
use crate::protocol::OutputMode;

/// What to do when the target is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SaveMode {
    /// Fail.
    #[default]
    ErrorIfExists,
    /// Add files.
    Append,
    /// Remove what is there first.
    Overwrite,
    /// Leave what is there and write nothing.
    Ignore,
}

/// Writes a static table.
#[derive(Debug, Clone)]
#[must_use = "nothing is written until save()"]
pub struct DataFrameWriter {
    input: DataFrame,
    format: String,
    options: Options,
    mode: SaveMode,
    partition_by: Vec<String>,
}

impl DataFrameWriter {
    pub(crate) fn new(input: DataFrame) -> Self {
        let (options, partition_by) = (Options::new(), Vec::new());
        Self { input, format: "csv".to_string(), options, mode: SaveMode::default(), partition_by }
    }

    /// The kind of files: `text`, `csv` (the default), `json` or `parquet`.
    pub fn format(mut self, format: impl Into<String>) -> Self {
        self.format = format.into();
        self
    }

    /// An option by Spark's name, matched without case.
    pub fn option(mut self, key: &str, value: impl ToString) -> Self {
        self.options.set(key, value);
        self
    }

    /// What to do when the target is there already.
    pub fn mode(mut self, mode: SaveMode) -> Self {
        self.mode = mode;
        self
    }

    /// Columns by whose values directories are made.
    pub fn partition_by(mut self, columns: impl IntoNames) -> Self {
        self.partition_by = columns.into_names();
        self
    }

    /// Writes the rows into files of the directory `path`.
    ///
    /// # Errors
    /// When the plan is wrong or reads a stream, a row cannot be computed, or the files cannot be written.
    #[track_caller]
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let location = std::panic::Location::caller();
        self.save_here(path.as_ref()).map_err(|error| error.at(location))
    }

    fn save_here(&self, path: &Path) -> Result<()> {
        if self.input.is_streaming() {
            return Err(crate::plan::Refusal::StreamUsedAsTable("write()").into());
        }
        let session = self.input.session();
        let (zone, clock, tables) =
            (session.settings().zone, Arc::clone(session.clock()), session.catalog().tables.clone());
        let environment = SinkEnvironment { zone, clock, tables };
        let target = path.to_string_lossy();
        let sink = open_sink(&self.format, &self.options, &self.partition_by, Some(&target), &environment)?;
        let schema = self.input.schema()?;
        sink.check(OutputMode::Append, &schema)?;
        let path = Path::new(local_path(&target));
        match self.mode {
            SaveMode::Ignore if path.exists() => return Ok(()),
            SaveMode::ErrorIfExists if path.exists() => {
                let path = path.display();
                let remedy = "say .mode(SaveMode::Append) or Overwrite";
                return Err(Error::connector(format!("`{path}` exists already; {remedy}")));
            }
            SaveMode::Ignore | SaveMode::ErrorIfExists | SaveMode::Append | SaveMode::Overwrite => {}
        }
        // Every row is there before anything is removed: the table may be read from its own target.
        let batches = self.input.collect()?;
        if self.mode == SaveMode::Overwrite && path.exists() {
            fs::remove_dir_all(path).map_err(|error| {
                Error::connector(format!("`{}` cannot be overwritten", path.display())).with_source(error)
            })?;
        }
        Self::write(sink.as_ref(), schema, &batches)
    }

    fn write(sink: &dyn Sink, schema: SchemaRef, batches: &[RecordBatch]) -> Result<()> {
        let context = SinkContext::new("write", OutputMode::Append, schema);
        let mut writer = sink.open(&context)?;
        writer.begin(0)?;
        batches.iter().try_for_each(|batch| writer.write(batch))?;
        let prepared = writer.prepare()?;
        sink.committer(&context)?.commit(0, &[prepared])
    }
}
