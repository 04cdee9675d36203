//! Writes the files of one sink instance where no reader sees them.
//!
//! Owns: the files of the epoch that is being written, their names, and that they are durable once prepared. Does not
//! own: making them visible (`commit`), their bytes (`rows`, `csv`, `json`, `parquet`).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::mem;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use uuid::Uuid;

use super::commit::StagedFile;
use super::disk;
use super::log::CommittedFile;
use super::packed::Packed;
#[cfg(feature = "parquet")]
use super::parquet;
use super::partition::{Layout, Partitioner};
use super::rows::RowFormat;
use super::{FileSink, STAGED_SUFFIX, home, staging};
use crate::connector::{Prepared, SinkContext, SinkWriter};
use crate::error::{Error, Result};

pub(super) struct FileWriter {
    sink: FileSink,
    instance: usize,
    checkpoint: Uuid,
    /// The columns of the files.
    schema: SchemaRef,
    partitioner: Partitioner,
    epoch: u64,
    /// The files of this epoch, by the number of their directory.
    open: BTreeMap<usize, OpenFile>,
    /// Whether this writer made sure of the directory for staged files.
    has_staging: bool,
}

struct OpenFile {
    /// Where it is, below the sink's directory.
    staged: String,
    /// Where it will be.
    path: String,
    encoder: FileEncoder,
}

/// A file and what turns rows into its bytes.
pub(super) enum FileEncoder {
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

/// An error of a file's bytes; which file is said by whoever knows.
pub(super) fn cannot_write(error: io::Error) -> Error {
    let remedy = disk::remedy(&error);
    Error::connector(format!("{error}{remedy}")).with_source(error)
}

impl FileWriter {
    pub(super) fn new(sink: FileSink, context: &SinkContext) -> Result<Self> {
        let layout = Layout::new(&context.schema, &sink.partition_by)?;
        Ok(Self {
            instance: context.instance,
            checkpoint: context.checkpoint,
            schema: layout.data_schema(&context.schema)?,
            partitioner: Partitioner::new(layout, &context.schema, sink.zone)?,
            epoch: 0,
            open: BTreeMap::new(),
            has_staging: false,
            sink,
        })
    }

    fn path(&self, below: &str) -> PathBuf {
        self.sink.directory.join(below)
    }

    /// Makes the directory for staged files, once: if it is gone later, so are files that may be needed.
    fn create_staging(&mut self) -> Result<()> {
        if !self.has_staging {
            let (sink, home) = (&self.sink, home(&self.sink.directory, self.checkpoint));
            sink.disk.create_directory(&sink.directory.join(staging(self.checkpoint)))?;
            // Whoever made them may not have come to this yet.
            let above = home.ancestors().take_while(|path| path.starts_with(&sink.directory));
            above.into_iter().try_for_each(|directory| sink.disk.sync_directory(directory))?;
            self.has_staging = true;
        }
        Ok(())
    }

    fn open_file(&mut self, directory: usize) -> Result<OpenFile> {
        self.create_staging()?;
        let extension = self.sink.encoding.extension(&self.sink.format);
        let name = format!("part-{:05}-{}-{}.{extension}", self.instance, self.epoch, Uuid::new_v4().simple());
        let staged = format!("{}/{name}{STAGED_SUFFIX}", staging(self.checkpoint));
        let path = match self.partitioner.directory(directory) {
            "" => name,
            directory => format!("{directory}/{name}"),
        };
        let file = self.sink.disk.create(&self.path(&staged))?;
        let encoder = self.sink.encoding.start(file, &self.schema)?;
        Ok(OpenFile { staged, path, encoder })
    }

    fn write_to(&mut self, directory: usize, rows: &RecordBatch) -> Result<()> {
        if !self.open.contains_key(&directory) {
            let file = self.open_file(directory)?;
            self.open.insert(directory, file);
        }
        let Some(file) = self.open.get_mut(&directory) else { return Ok(()) };
        let written = file.encoder.write(rows);
        written.map_err(|error| self.about(directory, error))
    }

    /// Puts an open file's error into the words of the user.
    fn about(&self, directory: usize, error: Error) -> Error {
        let staged = self.open.get(&directory).map_or("", |file| &file.staged);
        error.context(format!("cannot write {}", self.path(staged).display()))
    }

    /// Makes a file whole and durable.
    fn stage(&self, open: OpenFile) -> Result<StagedFile> {
        let OpenFile { staged, path, encoder } = open;
        let place = self.path(&staged);
        let about = |error: Error| error.context(format!("cannot write {}", place.display()));
        let file = encoder.finish().map_err(about)?;
        self.sink.disk.sync(&file, &place)?;
        let size = file.metadata().map_err(|error| disk::cannot("look at", &place, error))?.len();
        Ok(StagedFile { staged, file: CommittedFile { path, size } })
    }

    fn stage_all(&self, open: BTreeMap<usize, OpenFile>) -> Result<Vec<StagedFile>> {
        let staged: Vec<StagedFile> = open.into_values().map(|file| self.stage(file)).collect::<Result<_>>()?;
        if !staged.is_empty() {
            self.sink.disk.sync_directory(&self.path(&staging(self.checkpoint)))?;
        }
        Ok(staged)
    }

    fn remove<'a>(&self, staged: impl IntoIterator<Item = &'a String>) {
        for staged in staged {
            if let Err(error) = self.sink.disk.remove(&self.path(staged)) {
                log::warn!("{error}; the file stays behind until the query is started again");
            }
        }
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
            if rows.num_rows() > 0 {
                self.write_to(directory, &rows)?;
            }
        }
        Ok(())
    }

    fn prepare(&mut self) -> Result<Prepared> {
        let open = mem::take(&mut self.open);
        let names: Vec<String> = open.values().map(|file| file.staged.clone()).collect();
        let prepared = self.stage_all(open).and_then(|staged| StagedFile::write(&staged));
        if prepared.is_err() {
            self.remove(&names);
        }
        prepared
    }

    fn abort(&mut self) {
        let open = mem::take(&mut self.open);
        self.remove(open.values().map(|file| &file.staged));
    }
}

/// Leaves no unfinished file behind.
impl Drop for FileWriter {
    fn drop(&mut self) {
        self.abort();
    }
}
