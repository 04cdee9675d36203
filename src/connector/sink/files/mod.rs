//! Files of text, CSV, JSON (and Parquet) in a directory.
//!
//! Owns: file names, and when a file can be seen. Does not own: the bytes of a format (`rows`, `csv`, `json`,
//! `parquet`), their packing (`packed`) or the directories of partitions (`partition`).
//!
//! Each writer makes one file an epoch and partition; none for an epoch without rows.
//!
//! 1. `write` fills `.tmp-part-…`, which readers of the directory pass over.
//! 2. `prepare` makes it durable and names it in [`Prepared`]. A crash before the epoch's commit leaves the hidden
//!    file behind, and the epoch is written again under another name.
//! 3. `commit` renames it, so readers see whole files only. A crash within is repaired by committing again: what was
//!    renamed already stays.

mod csv;
mod json;
mod packed;
#[cfg(feature = "parquet")]
mod parquet;
mod partition;
mod rows;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use self::csv::Csv;
use self::json::Json;
use self::packed::{Compression, Packed};
use self::partition::{Layout, Partitioner};
use self::rows::{RowFormat, Text};
use crate::connector::options::Options;
use crate::connector::{Guarantee, Prepared, Sink, SinkCommitter, SinkContext, SinkWriter, local_path};
use crate::error::{Error, Result};
use crate::protocol::OutputMode;
use crate::types::Zone;

/// Writes files into a directory, in append mode. Several writers work side by side.
#[derive(Clone)]
pub struct FileSink {
    format: String,
    directory: PathBuf,
    partition_by: Vec<String>,
    encoding: Encoding,
    zone: Zone,
}

/// How a file's bytes are made.
#[derive(Clone)]
enum Encoding {
    Rows(Arc<dyn RowFormat>, Compression),
    #[cfg(feature = "parquet")]
    Parquet(parquet::Parquet),
}

impl FileSink {
    /// Writes files of `format` (`text`, `csv`, `json` or `parquet`) to the directory `path`, or the option of that
    /// name. The columns `partition_by` become directories `column=value`. Times are written as of `zone`.
    ///
    /// # Errors
    /// When the format or an option is unknown or bad, or there is no directory.
    pub fn from_options(
        format: &str,
        options: &Options,
        partition_by: &[String],
        path: Option<&str>,
        zone: Zone,
    ) -> Result<Self> {
        let what = format!("the {format} sink");
        let encoding = Encoding::from_options(format, options, zone)?;
        let directory = directory(options, path, &what)?;
        options.finish(&what)?;
        Ok(Self { format: format.to_string(), directory, partition_by: partition_by.to_vec(), encoding, zone })
    }
}

impl Encoding {
    fn from_options(format: &str, options: &Options, zone: Zone) -> Result<Self> {
        let format: Arc<dyn RowFormat> = match format {
            "text" => Arc::new(Text::from_options(options)?),
            "csv" => Arc::new(Csv::from_options(options, zone)?),
            "json" => Arc::new(Json::from_options(options, zone)?),
            #[cfg(feature = "parquet")]
            "parquet" => return Ok(Self::Parquet(parquet::Parquet::from_options(options)?)),
            #[cfg(not(feature = "parquet"))]
            "parquet" => {
                let text = "writing Parquet needs the cargo feature `parquet` of millstream; enable it in Cargo.toml";
                return Err(Error::config(text));
            }
            _ => {
                return Err(Error::config(format!(
                    "no file format is called `{format}`; use text, csv, json or parquet"
                )));
            }
        };
        Ok(Self::Rows(format, Compression::from_options(options)?))
    }

    fn check(&self, schema: &SchemaRef) -> Result<()> {
        match self {
            Self::Rows(format, _) => format.check(schema),
            #[cfg(feature = "parquet")]
            Self::Parquet(_) => Ok(()),
        }
    }

    /// What names of files end with.
    fn extension(&self, format: &str) -> String {
        match self {
            Self::Rows(_, compression) => {
                let name = if format == "text" { "txt" } else { format };
                format!("{name}{}", compression.suffix())
            }
            #[cfg(feature = "parquet")]
            Self::Parquet(parquet) => parquet.extension().to_string(),
        }
    }

    fn start(&self, file: File, schema: &SchemaRef) -> Result<FileEncoder> {
        match self {
            Self::Rows(format, compression) => {
                let mut buffer = Vec::new();
                format.begin(schema, &mut buffer);
                let file = Packed::new(file, *compression).map_err(cannot_write)?;
                Ok(FileEncoder::Rows { format: Arc::clone(format), file, buffer })
            }
            #[cfg(feature = "parquet")]
            Self::Parquet(parquet) => Ok(FileEncoder::Parquet(Box::new(parquet.start(file, schema)?))),
        }
    }
}

fn directory(options: &Options, path: Option<&str>, what: &str) -> Result<PathBuf> {
    let text = match (path, options.text("path")) {
        (Some(path), None) | (None, Some(path)) => path,
        (Some(path), Some(option)) if path == option => path,
        (Some(path), Some(option)) => {
            let text = format!("{what} is given two paths, `{path}` and the option `path`=`{option}`; leave one out");
            return Err(Error::config(text));
        }
        (None, None) => {
            let text = format!("{what} needs a directory; use .start_path(\"…\") or .option(\"path\", \"…\")");
            return Err(Error::config(text));
        }
    };
    Ok(PathBuf::from(local_path(text)))
}

impl std::fmt::Debug for FileSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.description())
    }
}

impl Sink for FileSink {
    fn description(&self) -> String {
        format!("FileSink[{}: {}]", self.format, self.directory.display())
    }

    fn check(&self, mode: OutputMode, schema: &SchemaRef) -> Result<()> {
        if mode != OutputMode::Append {
            return Err(Error::plan(format!(
                "the {} sink cannot take rows back and writes in append mode only, not {mode}; use append, or \
                 foreach_batch to write each epoch's table yourself",
                self.format
            )));
        }
        let layout = Layout::new(schema, &self.partition_by)?;
        self.encoding.check(&layout.data_schema(schema)?)
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::AtLeastOnce
    }

    fn is_parallel(&self) -> bool {
        true
    }

    fn open(&self, context: &SinkContext) -> Result<Box<dyn SinkWriter>> {
        create_directory(&self.directory)?;
        let layout = Layout::new(&context.schema, &self.partition_by)?;
        Ok(Box::new(FileWriter {
            sink: self.clone(),
            instance: context.instance,
            schema: layout.data_schema(&context.schema)?,
            partitioner: Partitioner::new(layout, &context.schema, self.zone)?,
            epoch: 0,
            open: BTreeMap::new(),
        }))
    }

    fn committer(&self, _: &SinkContext) -> Result<Box<dyn SinkCommitter>> {
        Ok(Box::new(FileCommitter { directory: self.directory.clone() }))
    }
}

/// A file's hidden and final name, both relative to the sink's directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct StagedFile {
    #[serde(rename = "temp")]
    hidden: String,
    #[serde(rename = "final")]
    visible: String,
}

struct FileWriter {
    sink: FileSink,
    instance: usize,
    /// The columns of the files.
    schema: SchemaRef,
    partitioner: Partitioner,
    epoch: u64,
    /// The files of this epoch, by the number of their directory.
    open: BTreeMap<usize, OpenFile>,
}

struct OpenFile {
    name: StagedFile,
    encoder: FileEncoder,
}

enum FileEncoder {
    Rows {
        format: Arc<dyn RowFormat>,
        file: Packed,
        /// Bytes not yet handed to the file.
        buffer: Vec<u8>,
    },
    #[cfg(feature = "parquet")]
    Parquet(Box<parquet::ParquetFile>),
}

impl FileEncoder {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        match self {
            Self::Rows { format, file, buffer } => {
                format.write(batch, buffer)?;
                file.write_all(buffer).map_err(cannot_write)?;
                buffer.clear();
                Ok(())
            }
            #[cfg(feature = "parquet")]
            Self::Parquet(file) => file.write(batch),
        }
    }

    fn finish(self) -> Result<File> {
        match self {
            Self::Rows { file, .. } => file.finish().map_err(cannot_write),
            #[cfg(feature = "parquet")]
            Self::Parquet(file) => file.finish(),
        }
    }
}

fn cannot_write(error: io::Error) -> Error {
    Error::connector(error.to_string()).with_source(error)
}

impl FileWriter {
    fn open_file(&self, directory: &str) -> Result<OpenFile> {
        let extension = self.sink.encoding.extension(&self.sink.format);
        let name = format!("part-{:05}-{}-{}.{extension}", self.instance, self.epoch, Uuid::new_v4().simple());
        let below = |name: &str| if directory.is_empty() { name.to_string() } else { format!("{directory}/{name}") };
        let name = StagedFile { hidden: below(&format!(".tmp-{name}")), visible: below(&name) };
        create_directory(&self.sink.directory.join(directory))?;
        let path = self.sink.directory.join(&name.hidden);
        let file = File::create_new(&path).map_err(|error| cannot("create", &path, error))?;
        let encoder = self.sink.encoding.start(file, &self.schema)?;
        Ok(OpenFile { name, encoder })
    }

    /// Puts an open file's error into the words of the user.
    fn about(&self, name: &StagedFile, error: Error) -> Error {
        error.context(format!("cannot write {}", self.sink.directory.join(&name.hidden).display()))
    }
}

impl SinkWriter for FileWriter {
    fn begin(&mut self, epoch: u64) -> Result<()> {
        self.abort();
        self.partitioner.clear();
        self.epoch = epoch;
        Ok(())
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        for (directory, rows) in self.partitioner.split(batch)? {
            if rows.num_rows() == 0 {
                continue;
            }
            if !self.open.contains_key(&directory) {
                let file = self.open_file(self.partitioner.directory(directory))?;
                self.open.insert(directory, file);
            }
            if let Some(file) = self.open.get_mut(&directory)
                && let Err(error) = file.encoder.write(&rows)
            {
                let name = file.name.clone();
                return Err(self.about(&name, error));
            }
        }
        Ok(())
    }

    fn prepare(&mut self) -> Result<Prepared> {
        let mut staged = Vec::new();
        while let Some((_, OpenFile { name, encoder })) = self.open.pop_first() {
            let synced = encoder.finish().and_then(|file| file.sync_all().map_err(cannot_write));
            synced.map_err(|error| self.about(&name, error))?;
            staged.push(name);
        }
        if staged.is_empty() {
            return Ok(Prepared::default());
        }
        sync_directories(&self.sink.directory, &staged)?;
        let json = serde_json::to_vec(&staged);
        Ok(Prepared(json.map_err(|error| Error::internal("names of files are no JSON").with_source(error))?))
    }

    fn abort(&mut self) {
        while let Some((_, file)) = self.open.pop_first() {
            let path = self.sink.directory.join(&file.name.hidden);
            if let Err(error) = fs::remove_file(&path) {
                log::warn!("{} stays behind: {error}", path.display());
            }
        }
    }
}

/// Leaves no unfinished file behind.
impl Drop for FileWriter {
    fn drop(&mut self) {
        self.abort();
    }
}

struct FileCommitter {
    directory: PathBuf,
}

impl FileCommitter {
    fn publish(&self, file: &StagedFile) -> Result<()> {
        let (hidden, visible) = (self.directory.join(&file.hidden), self.directory.join(&file.visible));
        match fs::rename(&hidden, &visible) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if !visible.exists() {
                    // Committed in an earlier run, then moved on by whoever reads the directory.
                    log::warn!("{} is gone and taken for committed", visible.display());
                }
                Ok(())
            }
            Err(error) => Err(cannot("publish", &visible, error)),
        }
    }
}

impl SinkCommitter for FileCommitter {
    fn commit(&mut self, epoch: u64, prepared: &[Prepared]) -> Result<()> {
        for Prepared(json) in prepared.iter().filter(|prepared| !prepared.0.is_empty()) {
            let files: Vec<StagedFile> = serde_json::from_slice(json).map_err(|error| {
                let text = format!("what the file sink prepared for epoch {epoch} is unreadable");
                Error::state(format!("{text}; does the checkpoint belong to this query?")).with_source(error)
            })?;
            files.iter().try_for_each(|file| self.publish(file))?;
            sync_directories(&self.directory, &files)?;
        }
        Ok(())
    }
}

fn create_directory(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(|error| cannot("create", path, error))
}

fn cannot(what: &str, path: &Path, error: io::Error) -> Error {
    Error::connector(format!("the file sink cannot {what} {}: {error}", path.display())).with_source(error)
}

/// Makes the names of files durable, and those of the directories they are in.
fn sync_directories(root: &Path, files: &[StagedFile]) -> Result<()> {
    let mut directories = BTreeSet::from([root.to_path_buf()]);
    for file in files {
        let below = Path::new(&file.visible).ancestors().skip(1);
        directories.extend(below.map(|directory| root.join(directory)));
    }
    // Only Unix opens directories as files.
    for directory in directories.iter().filter(|_| cfg!(unix)) {
        let synced = File::open(directory).and_then(|file| file.sync_all());
        match synced {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(cannot("sync", directory, error)),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
