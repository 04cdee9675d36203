//! Reads a list of files, or parts of files, one after the other.
//!
//! Owns: how files are spread over readers, and what happens when one is gone or not what it was when it was planned.
//! Does not own: what is in a file (`connector::format`).
//!
//! Of a file of lines that has grown since, the lines are read that begin in the bytes it had. Any other file that has
//! not the size it had is refused: what would be read now is not what was planned.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;

use super::seen::SeenFile;
use crate::connector::SplitReader;
use crate::connector::format::{Counters, Format, Part, is_compressed};
use crate::error::{Error, Result};

/// A file larger than this is read in parts, one for each reader.
const LARGE_FILE_BYTES: u64 = 4 << 20;

/// Up to so many bytes of an epoch, a second reader saves less than it costs.
const LITTLE_BYTES: u64 = 1 << 20;

/// What all readers of a source share.
#[derive(Debug, Clone)]
pub(super) struct ReaderContext {
    pub(super) format: Arc<dyn Format>,
    /// Column indexes.
    pub(super) projection: Vec<usize>,
    /// Whether a file that is gone is counted instead of failing the query.
    pub(super) ignores_missing: bool,
    pub(super) counters: Arc<Counters>,
}

/// A part of a file, as it was when it was planned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FilePart {
    pub(super) part: Part,
    /// Without, the part is read as it is now.
    pub(super) planned: Option<Planned>,
}

/// What was known of a file when it was given to an offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Planned {
    pub(super) offset: i64,
    /// The length of the file in bytes.
    pub(super) size: u64,
}

impl FilePart {
    /// The file and its offset, for messages.
    fn name(&self) -> String {
        let of = self.planned.map(|planned| format!(" of offset {}", planned.offset));
        format!("the file `{}`{}", self.part.path.display(), of.unwrap_or_default())
    }

    /// Makes sure that the rows of the part are those that were planned.
    fn check(&self, file: &File) -> Result<()> {
        let Some(Planned { size, .. }) = self.planned else { return Ok(()) };
        let now = file.metadata().map_err(|error| self.cannot_read(error, ""))?.len();
        let has_planned_end = self.part.end != u64::MAX;
        if now == size || (now > size && has_planned_end) {
            return Ok(());
        }
        let remedy = "put it back as it was; write files elsewhere and move them in once they are whole";
        let text = format!("{} had {size} bytes when it was planned and has {now} now; {remedy}", self.name());
        Err(Error::connector(text))
    }

    fn cannot_read(&self, error: io::Error, remedy: &str) -> Error {
        Error::connector(format!("cannot read {}: {error}{remedy}", self.name())).with_source(error)
    }
}

/// Reads parts in order.
pub(super) struct FilesReader {
    context: ReaderContext,
    parts: VecDeque<FilePart>,
    open: Option<Box<dyn SplitReader>>,
}

impl FilesReader {
    /// Reads `parts` in this order.
    pub(super) fn new(context: ReaderContext, parts: Vec<FilePart>) -> Self {
        Self { context, parts: parts.into(), open: None }
    }

    /// Opens a part; `None` when its file is gone and that is to be ignored.
    fn open(&self, part: &FilePart) -> Result<Option<Box<dyn SplitReader>>> {
        let ReaderContext { format, projection, counters, .. } = &self.context;
        match File::open(&part.part.path) {
            Ok(file) => {
                part.check(&file)?;
                format.open(file, &part.part, projection, counters).map(Some)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.skip_missing(part, error).map(|()| None),
            Err(error) => Err(part.cannot_read(error, "")),
        }
    }

    fn skip_missing(&self, part: &FilePart, error: io::Error) -> Result<()> {
        if !self.context.ignores_missing {
            let remedy =
                "; put it back, or set ignoreMissingFiles=true (or failOnDataLoss=false) to go on without its rows";
            return Err(part.cannot_read(error, remedy));
        }
        // Once a file, however many parts it has.
        if part.part.begin == 0 {
            log::warn!("{} is gone, its rows are left out (ignoreMissingFiles)", part.name());
            self.context.counters.add_missing_file();
        }
        Ok(())
    }
}

impl SplitReader for FilesReader {
    fn next(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            if let Some(open) = &mut self.open
                && let Some(batch) = open.next()?
            {
                return Ok(Some(batch));
            }
            let Some(part) = self.parts.pop_front() else {
                self.open = None;
                return Ok(None);
            };
            self.open = self.open(&part)?;
        }
    }
}

/// Spreads files over at most `parallelism` readers, each with about the same number of bytes. Each reader's parts are
/// in the order of the files. Little data goes to one reader, so that its rows also arrive in that order.
pub(super) fn spread(files: &[SeenFile], can_split: bool, parallelism: usize) -> Vec<Vec<FilePart>> {
    let is_little = files.iter().map(|file| file.size).sum::<u64>() <= LITTLE_BYTES;
    let parallelism = if is_little { 1 } else { parallelism.max(1) };
    let mut readers: Vec<(u64, Vec<FilePart>)> = Vec::new();
    readers.resize_with(parallelism, Default::default);
    for file in files {
        let has_lines = can_split && !is_compressed(&file.path);
        let is_split = has_lines && file.size > LARGE_FILE_BYTES;
        let count = if is_split { parallelism as u64 } else { 1 };
        for part in cut(file, count, has_lines) {
            // The first of those with the least to do.
            if let Some((bytes, parts)) = readers.iter_mut().min_by_key(|(bytes, parts)| (*bytes, parts.len())) {
                *bytes += file.size / count;
                parts.push(part);
            }
        }
    }
    readers.into_iter().map(|(_, parts)| parts).filter(|parts| !parts.is_empty()).collect()
}

/// Cuts a file into `count` parts of the same size. The last reaches to the end that the file has now if it can be read in
/// parts, otherwise to the end it has when it is read.
fn cut(file: &SeenFile, count: u64, has_lines: bool) -> impl Iterator<Item = FilePart> + '_ {
    let size = file.size / count;
    let last = if has_lines { file.size } else { u64::MAX };
    (0..count).map(move |index| {
        let end = if index + 1 == count { last } else { (index + 1) * size };
        let part = Part { path: file.path.clone(), begin: index * size, end };
        FilePart { part, planned: Some(Planned { offset: file.batch_id, size: file.size }) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, size: u64) -> SeenFile {
        SeenFile { path: path.into(), timestamp: 0, size, batch_id: 0 }
    }

    fn spread_text(files: &[SeenFile], can_split: bool, parallelism: usize) -> Vec<String> {
        let part = |FilePart { part, planned }: &FilePart| match (part.begin, part.end) {
            (0, u64::MAX) => format!("{}[..]", part.path.display()),
            (0, end) if end == planned.unwrap().size => part.path.display().to_string(),
            (begin, end) => format!("{}[{begin}..{end}]", part.path.display()),
        };
        let readers = spread(files, can_split, parallelism);
        readers.iter().map(|parts| parts.iter().map(part).collect::<Vec<_>>().join(" ")).collect()
    }

    #[test]
    fn files_are_spread_by_size_and_stay_in_order() {
        let mega = 1 << 20;
        let files = [file("a", 4 * mega), file("b", mega), file("c", mega), file("d", 0), file("e", 3 * mega)];
        assert_eq!(spread_text(&files, true, 2), ["a", "b c d e"]);
        assert_eq!(spread_text(&files, true, 1), ["a b c d e"]);
        assert_eq!(spread_text(&files[..1], true, 4), ["a"]);
        assert_eq!(spread_text(&[file("a", 0), file("b", mega)], true, 2), ["a b"]);
        assert!(spread(&[], true, 2).is_empty());
    }

    #[test]
    fn a_large_file_is_cut_so_that_each_reader_has_a_part_if_it_can_be() {
        let large = 100 << 20;
        assert_eq!(spread_text(&[file("a", large)], true, 2), ["a[0..52428800]", "a[52428800..104857600]"]);
        assert_eq!(spread_text(&[file("a", large)], false, 2), ["a[..]"]);
        assert_eq!(spread_text(&[file("a.gz", large)], true, 2), ["a.gz[..]"]);
        let both = spread_text(&[file("a", large), file("b", large)], true, 2);
        assert_eq!(both, ["a[0..52428800] b[0..52428800]", "a[52428800..104857600] b[52428800..104857600]"]);
        assert_eq!(spread_text(&[file("a", LARGE_FILE_BYTES)], true, 2), ["a"]);
    }
}
