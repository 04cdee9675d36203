//! Files of text, CSV, JSON (and Parquet) in a directory, each epoch once.
//!
//! Owns: where files are, and which of them are results. Does not own: the bytes of a format (`rows`, `csv`, `json`,
//! `parquet`), their packing (`packed`) or the directories of partitions (`partition`).
//!
//! Each writer makes one file an epoch and partition; none for an epoch without rows.
//!
//! ```text
//! out/part-00000-17-<uuid>.csv                                   results
//! out/day=mo/part-00001-17-<uuid>.csv                            results of partition_by
//! out/_millstream/<checkpoint>/staged/part-…-18-….csv.staged     not yet results, or never
//! out/_millstream/<checkpoint>/log/17                            which files are results of epoch 17
//! ```
//!
//! Spark, Hive and the file source here pass over directories whose names begin with `_`; what matches `*.csv` wherever
//! it is passes over `.staged`. All of a checkpoint's own files are in one place, so two queries can write into one
//! directory, and a new run finds what an old one left behind without walking through all partitions.
//!
//! # How an epoch becomes visible
//!
//! 1. `write` fills a staged file. Its name has the epoch and a number that nobody else has.
//! 2. `prepare` makes it and its name durable: one fsync a file and one for the directory.
//! 3. The query decides, in its checkpoint, which attempt at the epoch counts.
//! 4. `commit` makes the manifest of the epoch, durably and exclusively. From now on the epoch has these files.
//! 5. It renames them to where readers see them, and
//! 6. makes the new names durable: one fsync for each directory touched.
//!
//! What happens if the process or the machine dies
//!
//! - before 3: nothing of this attempt was visible or ever will be. The epoch runs again, with other names.
//! - between 3 and 4: the commit is repeated and finds everything as it was.
//! - after 4: the commit is repeated and goes by the manifest. What is still staged was not renamed, or not durably, and
//!   is now. What is not staged any more was renamed before, since nothing else takes away a file that the manifest
//!   names; so it is left alone, even if a reader of the directory has moved it on or deleted it.
//! - before 4, with a staged file that is gone: someone removed it. That is an error, at each try, instead of a loss.
//!
//! A commit of an epoch that the manifest has, or one after it, changes nothing but to finish 5 and 6: files of another
//! attempt are dropped, not published. So even if two processes both believed that their attempt counts, one of them
//! would make the manifest and the other's files would never be seen.
//!
//! # What stays behind
//!
//! A new run calls `recover` with the last epoch committed. Staged files of that epoch and those before it that their
//! manifest does not name can never become visible, whoever wrote them, and are deleted. Staged files of later epochs stay:
//! another process may have them in the commit it is about to make. They go with a later recovery, once their epoch is
//! committed.
//!
//! A reader of the directory sees the files of an epoch one by one as they are renamed. Who needs all or none reads the
//! manifest: [`committed_files`].

mod commit;
mod csv;
mod disk;
mod json;
mod log;
mod packed;
#[cfg(feature = "parquet")]
mod parquet;
mod partition;
mod rows;
mod writer;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use uuid::Uuid;

use self::commit::FileCommitter;
use self::csv::Csv;
use self::disk::Disk;
use self::json::Json;
pub use self::log::{CommittedFile, checkpoints, committed_files};
use self::packed::{Compression, Packed};
use self::partition::Layout;
use self::rows::{RowFormat, Text};
use self::writer::{FileEncoder, FileWriter, cannot_write};
use crate::connector::options::Options;
use crate::connector::{Guarantee, Sink, SinkCommitter, SinkContext, SinkWriter, local_path};
use crate::error::{Error, Result};
use crate::protocol::OutputMode;
use crate::types::Zone;

/// The directory, in the sink's own, of all that is no result.
const HOME: &str = "_millstream";

/// What names of staged files end with.
const STAGED_SUFFIX: &str = ".staged";

/// The directory of what belongs to one checkpoint.
fn home(root: &Path, checkpoint: Uuid) -> PathBuf {
    root.join(HOME).join(checkpoint.to_string())
}

/// The directory of one checkpoint's staged files, below the sink's.
fn staging(checkpoint: Uuid) -> String {
    format!("{HOME}/{checkpoint}/staged")
}

/// Writes files into a directory, in append mode, each epoch once. Several writers work side by side.
#[derive(Clone)]
pub struct FileSink {
    format: String,
    directory: PathBuf,
    partition_by: Vec<String>,
    encoding: Encoding,
    zone: Zone,
    disk: Disk,
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
        let (format, partition_by, disk) = (format.to_string(), partition_by.to_vec(), Disk::default());
        Ok(Self { format, directory, partition_by, encoding, zone, disk })
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
        Guarantee::ExactlyOnce
    }

    fn is_parallel(&self) -> bool {
        true
    }

    fn open(&self, context: &SinkContext) -> Result<Box<dyn SinkWriter>> {
        self.disk.create_directory(&self.directory)?;
        Ok(Box::new(FileWriter::new(self.clone(), context)?))
    }

    fn committer(&self, context: &SinkContext) -> Result<Box<dyn SinkCommitter>> {
        Ok(Box::new(FileCommitter::new(&self.directory, context.checkpoint, self.disk.clone())))
    }
}

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod tests;
