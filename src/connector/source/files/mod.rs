//! Files as a stream or as a table.
//!
//! Owns: the options that all file formats share and the two ways to read files: [`FilesFactory`] makes a stream of a
//! directory, [`FilesTable`] reads what is there now. Does not own: what is in a file (`connector::format`).
//!
//! Files must appear whole: written elsewhere and then moved into the directory. A file of an epoch that runs again, after
//! a crash, must be what it was: one that is gone fails the query, or is left out, with a warning and counted as
//! `missingFiles`, with `ignoreMissingFiles`=`true`; one that has shrunk fails it; of one that has grown only the lines are
//! read that were there.

mod admission;
mod listing;
mod reader;
mod seen;
mod stream;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;

use self::listing::{ListedFile, Listing};
use self::reader::{FilePart, FilesReader, ReaderContext};
use self::stream::{FilesSource, StreamOptions};
use crate::clock::{Clock, SystemClock};
use crate::connector::format::text::Text;
use crate::connector::format::{Format, Part};
use crate::connector::options::Options;
use crate::connector::source::project_schema;
use crate::connector::{BatchTable, Source, SourceFactory, SplitReader, TableVersion};
use crate::error::{Error, Result};
use crate::types::Zone;

pub use crate::connector::format::FileFormat;

/// What a stream and a table of files have in common.
#[derive(Debug, Clone)]
struct Files {
    format: Arc<dyn Format>,
    listing: Listing,
    ignores_missing: bool,
}

impl Files {
    fn readers(&self, projection: Option<&[usize]>) -> ReaderContext {
        let all = || (0..self.format.schema().fields().len()).collect();
        ReaderContext {
            format: Arc::clone(&self.format),
            projection: projection.map_or_else(all, <[usize]>::to_vec),
            ignores_missing: self.ignores_missing,
            counters: Arc::default(),
        }
    }
}

/// Makes streams of the files that appear in a directory.
#[derive(Debug, Clone)]
pub struct FilesFactory {
    files: Files,
    options: StreamOptions,
    clock: Arc<dyn Clock>,
}

impl FilesFactory {
    /// Takes all options of a streaming file source and of its format. `zone` is for times in files without one of
    /// their own.
    ///
    /// # Errors
    /// When an option is unknown or bad, the path is missing, or there is no schema and the format needs one.
    pub fn new(
        format: FileFormat,
        options: &Options,
        schema: Option<SchemaRef>,
        paths: &[String],
        zone: Zone,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        let what = format!("the {} source", format.name());
        let listing = Listing::from_options(options, paths, &what)?;
        let format = format.configure(options, schema, zone, None)?;
        // The second is what Spark's other sources call it.
        let ignores_missing = options.flag("ignoreMissingFiles", false)? || !options.flag("failOnDataLoss", true)?;
        let stream_options = StreamOptions::from_options(options)?;
        options.finish(&what)?;
        Ok(Self { files: Files { format, listing, ignores_missing }, options: stream_options, clock })
    }
}

impl SourceFactory for FilesFactory {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.files.format.schema())
    }

    fn description(&self) -> String {
        format!("FileStreamSource[{}]", self.files.listing.paths())
    }

    fn open(&self, projection: Option<&[usize]>) -> Result<Box<dyn Source>> {
        let schema = project_schema(self.files.format.schema(), projection)?;
        let (listing, options) = (self.files.listing.clone(), self.options.clone());
        let readers = self.files.readers(projection);
        Ok(Box::new(FilesSource::new(schema, listing, options, readers, Arc::clone(&self.clock))))
    }
}

/// A stream of the lines of text files, for topologies made by hand. Its column is `value`, a STRING.
#[derive(Debug, Clone)]
pub struct TextFiles(FilesFactory);

impl TextFiles {
    /// The files in the directory `path`, those that match it as a pattern, or the one file it names.
    pub fn new(path: &str) -> Self {
        let format = Arc::new(Text::lines());
        let files = Files { format, listing: Listing::of_path(path), ignores_missing: false };
        Self(FilesFactory { files, options: StreamOptions::default(), clock: Arc::new(SystemClock) })
    }
}

impl SourceFactory for TextFiles {
    fn schema(&self) -> SchemaRef {
        SourceFactory::schema(&self.0)
    }

    fn description(&self) -> String {
        SourceFactory::description(&self.0)
    }

    fn open(&self, projection: Option<&[usize]>) -> Result<Box<dyn Source>> {
        self.0.open(projection)
    }
}

/// The files that are there when the table is read.
#[derive(Debug, Clone)]
pub struct FilesTable {
    files: Files,
    name: &'static str,
    clock: Arc<dyn Clock>,
}

impl FilesTable {
    /// Takes all options of a static file source and of its format. Without a schema it reads the files to find one.
    ///
    /// # Errors
    /// When an option is unknown or bad, the path is missing, or there is no schema to be found.
    pub fn new(
        format: FileFormat,
        options: &Options,
        schema: Option<SchemaRef>,
        paths: &[String],
        zone: Zone,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        let (name, what) = (format.name(), format!("the {} source", format.name()));
        let listing = Listing::from_options(options, paths, &what)?;
        let sample = || Ok(list(&listing, clock.as_ref())?.into_iter().map(|file| file.path).collect());
        let format = format.configure(options, schema, zone, Some(&sample))?;
        let ignores_missing = options.flag("ignoreMissingFiles", false)?;
        options.finish(&what)?;
        Ok(Self { files: Files { format, listing, ignores_missing }, name, clock })
    }
}

/// The files of a table; a pattern that matches none is a mistake there.
fn list(listing: &Listing, clock: &dyn Clock) -> Result<Vec<ListedFile>> {
    listing.check()?;
    let files = listing.list(clock)?;
    if files.is_empty() && listing.has_pattern() {
        return Err(Error::connector(format!("no file matches `{}`; correct the path", listing.paths())));
    }
    Ok(files)
}

impl BatchTable for FilesTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.files.format.schema())
    }

    fn description(&self) -> String {
        format!("FileScan {}[{}]", self.name, self.files.listing.paths())
    }

    fn read(&self, projection: Option<&[usize]>) -> Result<Vec<RecordBatch>> {
        let whole = |file: ListedFile| FilePart { part: Part::whole(&file.path), planned: None };
        let parts = list(&self.files.listing, self.clock.as_ref())?.into_iter().map(whole).collect();
        let mut reader = FilesReader::new(self.files.readers(projection), parts);
        let mut batches = Vec::new();
        while let Some(batch) = reader.next()? {
            batches.push(batch);
        }
        Ok(batches)
    }

    /// The files that are there now: their paths, sizes and times.
    fn version(&self) -> Result<TableVersion> {
        Ok(TableVersion::of(list(&self.files.listing, self.clock.as_ref())?))
    }
}
