//! The stream of a directory: every epoch reads the files that have appeared.
//!
//! Owns: which files belong to which offset. An offset is `{"logOffset": n}`, the number of batches of files so far
//! less one, as in Spark. A range of offsets is always the same files, because they are taken from the log
//! ([`SeenFiles`]), which goes into the checkpoint before the range is read: all of it now and then, without the files that
//! are older than `maxFileAge`, and each range by itself in between.
//!
//! After `fix_end` the directory is not listed again: what was new then is all there will ever be.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use serde::{Deserialize, Serialize};

use super::admission::Admission;
use super::listing::{ListedFile, Listing};
use super::reader::{FilesReader, ReaderContext, spread};
use super::seen::{Identity, SavedFiles, SeenFile, SeenFiles, SeenIndex};
use crate::clock::Clock;
use crate::connector::options::Options;
use crate::connector::source::parse_offset;
use crate::connector::{NextPoll, Offset, ReadLimit, Source, SplitReader};
use crate::error::{Error, Result};

const FIRST_WAIT: Duration = Duration::from_millis(10);
const LONGEST_WAIT: Duration = Duration::from_millis(500);
const DEFAULT_MAX_AGE: Duration = Duration::from_hours(7 * 24);

/// How a stream chooses files.
#[derive(Debug, Clone)]
pub(super) struct StreamOptions {
    admission: Admission,
    is_latest_first: bool,
    max_age_ms: Option<i64>,
    identity: Identity,
    max_cached_files: usize,
    discard_cached_ratio: f64,
}

impl Default for StreamOptions {
    fn default() -> Self {
        Self {
            admission: Admission::All,
            is_latest_first: false,
            max_age_ms: Some(millis(DEFAULT_MAX_AGE)),
            identity: Identity::Path,
            max_cached_files: 10_000,
            discard_cached_ratio: 0.2,
        }
    }
}

impl StreamOptions {
    /// Takes Spark's options of a streaming file source.
    ///
    /// # Errors
    /// When one is bad, or asks for files to be moved or deleted.
    pub(super) fn from_options(options: &Options) -> Result<Self> {
        refuse_cleaning(options)?;
        let default = Self::default();
        let admission = Admission::from_options(options)?;
        let is_latest_first = options.flag("latestFirst", false)?;
        let max_age = options.duration("maxFileAge")?.unwrap_or(DEFAULT_MAX_AGE);
        // With the newest first and a limit, older files would otherwise be skipped before their turn.
        let ignores_age = is_latest_first && admission != Admission::All;
        let identity = if options.flag("fileNameOnly", false)? { Identity::FileName } else { Identity::Path };
        let share = |text: &str| text.trim().parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
        Ok(Self {
            admission,
            is_latest_first,
            max_age_ms: (!ignores_age).then(|| millis(max_age)),
            identity,
            max_cached_files: options.number("maxCachedFiles")?.unwrap_or(default.max_cached_files),
            discard_cached_ratio: options
                .parsed("discardCachedInputRatio", "a number from 0 to 1", share)?
                .unwrap_or(default.discard_cached_ratio),
        })
    }
}

fn refuse_cleaning(options: &Options) -> Result<()> {
    match options.text("cleanSource") {
        Some(text) if !text.trim().eq_ignore_ascii_case("off") => Err(Error::config(format!(
            "option `cleanSource`=`{text}` is not supported: files that were read stay where they are; use `off`"
        ))),
        _ => Ok(()),
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct LogOffset {
    log_offset: i64,
}

impl LogOffset {
    fn read(offset: &Offset) -> Result<i64> {
        parse_offset::<Self>(offset, "file").map(|offset| offset.log_offset)
    }

    fn write(log_offset: i64) -> Offset {
        Offset(serde_json::json!({ "logOffset": log_offset }))
    }
}

/// A running stream of files.
pub(super) struct FilesSource {
    schema: SchemaRef,
    listing: Listing,
    options: StreamOptions,
    readers: ReaderContext,
    clock: Arc<dyn Clock>,
    seen: SeenFiles,
    index: SeenIndex,
    /// Ranges up to this offset will not be asked for again.
    committed: i64,
    /// New files that were listed and not yet taken, in the order they will be.
    unread: VecDeque<ListedFile>,
    has_fixed_end: bool,
    /// How often in a row there was nothing new.
    empty_polls: u32,
}

impl FilesSource {
    /// A stream that has read nothing. `schema` is the projected one.
    pub(super) fn new(
        schema: SchemaRef,
        listing: Listing,
        options: StreamOptions,
        readers: ReaderContext,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let index = SeenIndex::new(options.identity, options.max_age_ms);
        Self {
            schema,
            listing,
            options,
            readers,
            clock,
            seen: SeenFiles::default(),
            index,
            committed: -1,
            unread: VecDeque::new(),
            has_fixed_end: false,
            empty_polls: 0,
        }
    }

    /// The files of the next offset; none when nothing is new.
    fn take(&mut self, limit: ReadLimit) -> Result<Vec<ListedFile>> {
        let admission = match limit {
            ReadLimit::All => Admission::All,
            ReadLimit::Options => self.options.admission,
            ReadLimit::Bytes(bytes) => self.options.admission.within(bytes),
        };
        if self.has_fixed_end {
            return Ok(admission.take(&mut self.unread));
        }
        if self.unread.is_empty() || admission == Admission::All {
            self.unread = self.list_new()?;
        }
        let taken = admission.take(&mut self.unread);
        self.keep_unread(admission);
        Ok(taken)
    }

    /// Keeps some listed files for the next epochs, so that a large directory is not listed for each.
    #[expect(clippy::cast_precision_loss, reason = "a ratio of file counts needs no more")]
    fn keep_unread(&mut self, admission: Admission) {
        let too_few = match admission {
            Admission::Files(files) | Admission::FilesOfBytes(files, _) => {
                (self.unread.len() as f64) < files as f64 * self.options.discard_cached_ratio
            }
            Admission::Bytes(_) => false,
            Admission::All => true,
        };
        // The newest are only known by listing again.
        if too_few || self.options.is_latest_first {
            self.unread.clear();
        }
        self.unread.truncate(self.options.max_cached_files);
    }

    /// The files of a range of offsets.
    fn range(&self, from: &Offset, to: &Offset) -> Result<&[SeenFile]> {
        let (start, end) = (LogOffset::read(from)?, LogOffset::read(to)?);
        if self.seen.knows(start, end) { Ok(self.seen.range(start, end)) } else { Err(forgotten(to)) }
    }

    fn list_new(&self) -> Result<VecDeque<ListedFile>> {
        let mut files = self.listing.list(self.clock.as_ref())?;
        files.retain(|file| self.index.is_new(file));
        if self.options.identity == Identity::FileName {
            let mut names = std::collections::HashSet::new();
            files.retain(|file| names.insert(file.path.file_name().map(ToOwned::to_owned)));
        }
        if self.options.is_latest_first {
            files.reverse();
        }
        Ok(files.into())
    }
}

impl Source for FilesSource {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn description(&self) -> String {
        format!("FileStreamSource[{}]", self.listing.paths())
    }

    fn initial(&mut self) -> Result<Offset> {
        self.listing.check()?;
        Ok(LogOffset::write(-1))
    }

    fn latest(&mut self, from: &Offset, limit: ReadLimit) -> Result<Offset> {
        let (start, last) = (LogOffset::read(from)?, self.seen.last());
        if start > last {
            return Err(forgotten(from));
        }
        if start < last {
            return Ok(LogOffset::write(last));
        }
        let files = self.take(limit)?;
        if files.is_empty() {
            self.empty_polls += 1;
            return Ok(from.clone());
        }
        self.empty_polls = 0;
        self.index.add(files.iter().map(|file| (file.path.as_path(), file.modified_ms)));
        Ok(LogOffset::write(self.seen.push(files)))
    }

    fn plan(&mut self, from: &Offset, to: &Offset, parallelism: usize) -> Result<Vec<Box<dyn SplitReader>>> {
        let parts = spread(self.range(from, to)?, self.readers.format.can_split(), parallelism);
        let reader = |parts| Box::new(FilesReader::new(self.readers.clone(), parts)) as Box<dyn SplitReader>;
        Ok(parts.into_iter().map(reader).collect())
    }

    fn save(&mut self, from: &Offset, to: &Offset) -> Result<Option<Vec<u8>>> {
        self.range(from, to)?;
        let (start, end) = (LogOffset::read(from)?, LogOffset::read(to)?);
        self.seen.save(start, end, self.index.oldest_ms()).to_bytes().map(Some)
    }

    fn save_all(&mut self, to: &Offset) -> Result<Option<Vec<u8>>> {
        let end = LogOffset::read(to)?;
        if end > self.seen.last() {
            return Err(forgotten(to));
        }
        let oldest_ms = self.index.oldest_ms();
        self.seen.forget(self.committed.min(end), oldest_ms);
        self.seen.save(-1, end, oldest_ms).to_bytes().map(Some)
    }

    fn restore(&mut self, saved: &[u8]) -> Result<()> {
        let saved = SavedFiles::from_bytes(saved)?;
        self.index.forget_before(saved.oldest_ms);
        let added = self.seen.restore(saved)?;
        self.index.add(added.iter().map(|file| (file.path.as_path(), file.timestamp)));
        Ok(())
    }

    fn commit(&mut self, through: &Offset) -> Result<()> {
        self.committed = self.committed.max(LogOffset::read(through)?);
        Ok(())
    }

    fn fix_end(&mut self, from: &Offset) -> Result<()> {
        if LogOffset::read(from)? > self.seen.last() {
            return Err(forgotten(from));
        }
        self.unread = self.list_new()?;
        self.has_fixed_end = true;
        Ok(())
    }

    fn next_poll(&mut self) -> NextPoll {
        if self.has_fixed_end && self.unread.is_empty() {
            return NextPoll::Ended;
        }
        let doublings = self.empty_polls.saturating_sub(1).min(16);
        NextPoll::After((FIRST_WAIT * 2u32.pow(doublings)).min(LONGEST_WAIT))
    }

    fn metrics(&self) -> BTreeMap<String, u64> {
        self.readers.counters.snapshot()
    }
}

fn forgotten(offset: &Offset) -> Error {
    Error::state(format!(
        "the file source has no record of which files offset {offset} stands for; start the query with a new checkpoint"
    ))
}
