//! `write()`: the rows of a static table into files.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;

use crate::connector::options::Options;
use crate::connector::sink::{SinkEnvironment, open_sink};
use crate::connector::{Sink, SinkContext};
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
        // Everything that can be wrong is found, and every row read, before anything is removed.
        let schema = self.input.schema()?;
        sink.check(OutputMode::Append, &schema)?;
        let batches = self.input.collect()?;
        let path = local_path(&target);
        if path.exists() && !self.may_write(path)? {
            return Ok(());
        }
        Self::write(sink.as_ref(), schema, &batches)
    }

    /// Whether to go on although the target is there.
    fn may_write(&self, path: &Path) -> Result<bool> {
        match self.mode {
            SaveMode::Append => Ok(true),
            SaveMode::Ignore => Ok(false),
            SaveMode::ErrorIfExists => {
                let path = path.display();
                Err(Error::connector(format!("`{path}` exists already; say .mode(SaveMode::Append) or Overwrite")))
            }
            SaveMode::Overwrite => fs::remove_dir_all(path).map(|()| true).map_err(|error| {
                Error::connector(format!("`{}` cannot be overwritten", path.display())).with_source(error)
            }),
        }
    }

    fn write(sink: &dyn Sink, schema: SchemaRef, batches: &[RecordBatch]) -> Result<()> {
        let context = SinkContext { query: "write".to_string(), mode: OutputMode::Append, schema, instance: 0 };
        let mut writer = sink.open(&context)?;
        writer.begin(0)?;
        batches.iter().try_for_each(|batch| writer.write(batch))?;
        let prepared = writer.prepare()?;
        sink.committer(&context)?.commit(0, &[prepared])
    }
}

/// The path without the prefix of local files, as the file sinks read it.
fn local_path(target: &str) -> &Path {
    Path::new(target.strip_prefix("file://").or_else(|| target.strip_prefix("file:")).unwrap_or(target))
}
