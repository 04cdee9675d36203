//! Reads a list of files, or parts of files, one after the other.
//!
//! Owns: how files are spread over readers and what happens when one is gone. Does not own: what is in a file
//! (`connector::format`).

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;

use super::seen::SeenFile;
use crate::connector::SplitReader;
use crate::connector::format::{Counters, Format, Part, is_compressed};
use crate::error::{Error, Result};

/// Files larger than this are read in parts when there are more readers than files.
const LARGE_FILE_BYTES: u64 = 32 << 20;

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

/// Reads parts in order.
pub(super) struct FilesReader {
    context: ReaderContext,
    parts: VecDeque<Part>,
    open: Option<Box<dyn SplitReader>>,
}

impl FilesReader {
    /// Reads `parts` in this order.
    pub(super) fn new(context: ReaderContext, parts: Vec<Part>) -> Self {
        Self { context, parts: parts.into(), open: None }
    }

    /// Opens a part; `None` when its file is gone and that is to be ignored.
    fn open(&self, part: &Part) -> Result<Option<Box<dyn SplitReader>>> {
        let context = &self.context;
        match File::open(&part.path) {
            Ok(file) => context.format.open(file, part, &context.projection, &context.counters).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound && context.ignores_missing => {
                // Once a file, however many parts it has.
                if part.begin == 0 {
                    context.counters.add_missing_file();
                }
                Ok(None)
            }
            Err(error) => {
                let remedy = "set ignoreMissingFiles=true if files may disappear";
                let text = format!("cannot read the file `{}`: {error}; {remedy}", part.path.display());
                Err(Error::connector(text).with_source(error))
            }
        }
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
pub(super) fn spread(files: &[SeenFile], can_split: bool, parallelism: usize) -> Vec<Vec<Part>> {
    let is_little = files.iter().map(|file| file.size).sum::<u64>() <= LITTLE_BYTES;
    let parallelism = if is_little { 1 } else { parallelism.max(1) };
    let is_split = |file: &SeenFile| {
        can_split && files.len() < parallelism && file.size > LARGE_FILE_BYTES && !is_compressed(&file.path)
    };
    let mut readers: Vec<(u64, Vec<Part>)> = Vec::new();
    readers.resize_with(parallelism, Default::default);
    for file in files {
        let count = if is_split(file) { parallelism as u64 } else { 1 };
        for (part, size) in cut(file, count) {
            // The first of those with the least to do.
            if let Some((bytes, parts)) = readers.iter_mut().min_by_key(|(bytes, parts)| (*bytes, parts.len())) {
                *bytes += size;
                parts.push(part);
            }
        }
    }
    readers.into_iter().map(|(_, parts)| parts).filter(|parts| !parts.is_empty()).collect()
}

/// Cuts a file into `count` parts of the same size; the last reaches to the end, wherever that is by then.
fn cut(file: &SeenFile, count: u64) -> impl Iterator<Item = (Part, u64)> + '_ {
    let size = file.size / count;
    (0..count).map(move |index| {
        let end = if index + 1 == count { u64::MAX } else { (index + 1) * size };
        (Part { path: file.path.clone(), begin: index * size, end }, size)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, size: u64) -> SeenFile {
        SeenFile { path: path.into(), timestamp: 0, size, batch_id: 0 }
    }

    fn spread_text(files: &[SeenFile], can_split: bool, parallelism: usize) -> Vec<String> {
        let part = |part: &Part| match (part.begin, part.end) {
            (0, u64::MAX) => part.path.display().to_string(),
            (begin, u64::MAX) => format!("{}[{begin}..]", part.path.display()),
            (begin, end) => format!("{}[{begin}..{end}]", part.path.display()),
        };
        let readers = spread(files, can_split, parallelism);
        readers.iter().map(|parts| parts.iter().map(part).collect::<Vec<_>>().join(" ")).collect()
    }

    #[test]
    fn files_are_spread_by_size_and_stay_in_order() {
        let mega = 1 << 20;
        let files = [file("a", 10 * mega), file("b", mega), file("c", mega), file("d", 0), file("e", 9 * mega)];
        assert_eq!(spread_text(&files, true, 2), ["a", "b c d e"]);
        assert_eq!(spread_text(&files, true, 1), ["a b c d e"]);
        assert_eq!(spread_text(&files[..1], true, 4), ["a"]);
        assert_eq!(spread_text(&[file("a", 0), file("b", mega)], true, 2), ["a b"]);
        assert!(spread(&[], true, 2).is_empty());
    }

    #[test]
    fn a_large_file_is_cut_when_readers_would_be_idle_and_it_can_be() {
        let large = 100 << 20;
        assert_eq!(spread_text(&[file("a", large)], true, 2), ["a[0..52428800]", "a[52428800..]"]);
        assert_eq!(spread_text(&[file("a", large)], false, 2), ["a"]);
        assert_eq!(spread_text(&[file("a.gz", large)], true, 2), ["a.gz"]);
        assert_eq!(spread_text(&[file("a", large), file("b", large)], true, 2), ["a", "b"]);
        assert_eq!(spread_text(&[file("a", LARGE_FILE_BYTES)], true, 2), ["a"]);
    }
}
