//! Which files were read, in which epoch's batch.
//!
//! Owns: the log of read files ([`SeenFiles`]), what a checkpoint keeps of it ([`SavedFiles`]), and the question whether
//! a file is new ([`SeenIndex`], which is made from the log). A file is known by its path, or by its name with
//! `fileNameOnly`; what is written to it later is never read.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::listing::ListedFile;
use crate::error::{Error, Result};

/// The format of what is saved; a later one has another number.
const VERSION: u32 = 1;

/// A file that was given to an epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SeenFile {
    /// Where it is.
    pub(super) path: PathBuf,
    /// When it was last written, in milliseconds since 1970-01-01T00:00:00Z.
    pub(super) timestamp: i64,
    /// Its length in bytes.
    pub(super) size: u64,
    /// The offset that has this file, from 0.
    pub(super) batch_id: i64,
}

/// The log of read files, in the order of their offsets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SeenFiles {
    entries: Vec<SeenFile>,
    last: i64,
    /// The newest offset of which a file was forgotten; −1 while all are known.
    forgotten: i64,
}

/// A part of the log as a checkpoint keeps it, in JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SavedFiles {
    version: u32,
    /// The part is about the offsets after this one,
    after: i64,
    /// up to and including this one.
    last: i64,
    forgotten: i64,
    /// Files last written before this are not new, in milliseconds since 1970-01-01T00:00:00Z.
    pub(super) oldest_ms: i64,
    files: Vec<SeenFile>,
}

impl SavedFiles {
    /// # Errors
    /// When a path is not UTF-8.
    pub(super) fn to_bytes(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).map_err(|error| {
            let odd = self.files.iter().find(|file| file.path.to_str().is_none());
            let path = odd.map(|file| file.path.display().to_string()).unwrap_or_default();
            Error::data(format!("the path `{path}` cannot be kept in a checkpoint, because it is not UTF-8; rename it"))
                .with_source(error)
        })
    }

    /// # Errors
    /// When it is not of a file source, or of a later version of one.
    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let foreign = |why: String| {
            let text = format!("what the checkpoint has of a file source is unreadable ({why})");
            Error::state(format!("{text}; does the checkpoint belong to this query and this version?"))
        };
        let saved: Self = serde_json::from_slice(bytes).map_err(|error| foreign(error.to_string()))?;
        match saved.version {
            VERSION => Ok(saved),
            other => Err(foreign(format!("it has version {other}, not {VERSION}"))),
        }
    }
}

impl Default for SeenFiles {
    fn default() -> Self {
        Self { entries: Vec::new(), last: -1, forgotten: -1 }
    }
}

impl SeenFiles {
    /// The newest offset; −1 before the first file.
    pub(super) fn last(&self) -> i64 {
        self.last
    }

    /// Adds the files of the next offset and answers it.
    pub(super) fn push(&mut self, files: Vec<ListedFile>) -> i64 {
        self.last += 1;
        let batch_id = self.last;
        let entry =
            |file: ListedFile| SeenFile { path: file.path, timestamp: file.modified_ms, size: file.size, batch_id };
        self.entries.extend(files.into_iter().map(entry));
        batch_id
    }

    /// Whether all files of the offsets after `from` up to and including `to` are known.
    pub(super) fn knows(&self, from: i64, to: i64) -> bool {
        self.forgotten <= from && to <= self.last
    }

    /// The files after offset `from` up to and including `to`, in order.
    pub(super) fn range(&self, from: i64, to: i64) -> &[SeenFile] {
        let start = self.entries.partition_point(|file| file.batch_id <= from);
        let end = self.entries.partition_point(|file| file.batch_id <= to);
        &self.entries[start..end.max(start)]
    }

    /// Forgets files of offsets up to `through` that were last written before `oldest_ms`.
    pub(super) fn forget(&mut self, through: i64, oldest_ms: i64) {
        let is_old = |file: &SeenFile| file.batch_id <= through && file.timestamp < oldest_ms;
        let newest = self.entries.iter().filter(|file| is_old(file)).map(|file| file.batch_id).max();
        self.forgotten = self.forgotten.max(newest.unwrap_or(-1));
        self.entries.retain(|file| !is_old(file));
    }

    /// The part of the log after offset `after` up to and including `last`.
    pub(super) fn save(&self, after: i64, last: i64, oldest_ms: i64) -> SavedFiles {
        let files = self.range(after, last).to_vec();
        SavedFiles { version: VERSION, after, last, forgotten: self.forgotten, oldest_ms, files }
    }

    /// Adds a saved part; what is known already is not added again. Answers what was added.
    ///
    /// # Errors
    /// When it is about later offsets than the next.
    pub(super) fn restore(&mut self, saved: SavedFiles) -> Result<&[SeenFile]> {
        if saved.after > self.last {
            let (first, last) = (self.last + 1, saved.after);
            let text = format!("the checkpoint has no record of the files of offsets {first} to {last}");
            return Err(Error::state(format!("{text}; restore it from a copy, or start with a new checkpoint")));
        }
        let (known, last) = (self.entries.len(), self.last);
        self.entries.extend(saved.files.into_iter().filter(|file| file.batch_id > last));
        self.last = last.max(saved.last);
        self.forgotten = self.forgotten.max(saved.forgotten);
        Ok(&self.entries[known..])
    }
}

/// Answers whether a file is new.
#[derive(Debug)]
pub(super) struct SeenIndex {
    identity: Identity,
    /// Files this much older than the newest are neither read nor remembered; `None` keeps all.
    max_age_ms: Option<i64>,
    /// Key → time of the file in milliseconds.
    known: HashMap<PathBuf, i64>,
    newest_ms: i64,
    oldest_ms: i64,
}

/// What makes two files the same one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Identity {
    /// The whole path.
    Path,
    /// The last part of the path.
    FileName,
}

impl SeenIndex {
    /// An index of no files.
    pub(super) fn new(identity: Identity, max_age_ms: Option<i64>) -> Self {
        Self { identity, max_age_ms, known: HashMap::new(), newest_ms: 0, oldest_ms: 0 }
    }

    /// Whether a file was never added and is not too old.
    pub(super) fn is_new(&self, file: &ListedFile) -> bool {
        file.modified_ms >= self.oldest_ms && !self.known.contains_key(self.key(&file.path))
    }

    /// Adds files with the times they were last written, and forgets those that became too old.
    pub(super) fn add<'a>(&mut self, files: impl IntoIterator<Item = (&'a Path, i64)>) {
        for (path, modified_ms) in files {
            self.known.insert(self.key(path).to_path_buf(), modified_ms);
            self.newest_ms = self.newest_ms.max(modified_ms);
        }
        if let Some(max_age_ms) = self.max_age_ms {
            self.forget_before(self.newest_ms.saturating_sub(max_age_ms));
        }
    }

    /// Files last written before this are not new.
    pub(super) fn oldest_ms(&self) -> i64 {
        self.oldest_ms
    }

    /// Takes files last written before `oldest_ms` for read.
    pub(super) fn forget_before(&mut self, oldest_ms: i64) {
        if oldest_ms > self.oldest_ms {
            self.oldest_ms = oldest_ms;
            self.known.retain(|_, modified_ms| *modified_ms >= oldest_ms);
        }
    }

    fn key<'a>(&self, path: &'a Path) -> &'a Path {
        match self.identity {
            Identity::Path => path,
            Identity::FileName => path.file_name().map_or(path, Path::new),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, modified_ms: i64) -> ListedFile {
        ListedFile { path: path.into(), modified_ms, modified: None, size: 1 }
    }

    fn add(index: &mut SeenIndex, files: &[ListedFile]) {
        index.add(files.iter().map(|file| (file.path.as_path(), file.modified_ms)));
    }

    fn names(seen: &SeenFiles, from: i64, to: i64) -> String {
        seen.range(from, to).iter().map(|file| file.path.display().to_string()).collect()
    }

    #[test]
    fn the_log_can_be_saved_in_parts_and_gives_the_same_ranges_again() {
        let mut seen = SeenFiles::default();
        assert_eq!(
            (seen.last(), seen.push(vec![file("a", 1), file("b", 2)]), seen.push(vec![file("c", 3)])),
            (-1, 0, 1)
        );
        let stored = |from, to| seen.save(from, to, 0).to_bytes().unwrap();
        let text = String::from_utf8(stored(-1, 0)).unwrap();
        assert!(
            text.starts_with(r#"{"version":1,"after":-1,"last":0,"forgotten":-1,"oldestMs":0,"files":[{"path":"a""#)
        );
        assert!(text.contains(r#"{"path":"b","timestamp":2,"size":1,"batchId":0}"#), "{text}");
        let mut again = SeenFiles::default();
        for part in [stored(-1, 0), stored(0, 1), stored(-1, 1)] {
            again.restore(SavedFiles::from_bytes(&part).unwrap()).unwrap();
        }
        assert_eq!(again, seen);
        assert_eq!(
            (names(&again, -1, 1), names(&again, -1, 0), names(&again, 0, 1), names(&again, 1, 1)),
            ("abc".into(), "ab".into(), "c".into(), String::new())
        );
    }

    #[test]
    fn a_gap_between_saved_parts_and_foreign_bytes_are_refused() {
        let mut seen = SeenFiles::default();
        (0..3).for_each(|n| assert_eq!(seen.push(vec![file("a", n)]), n));
        let error = SeenFiles::default().restore(seen.save(1, 2, 0)).map(|_| ()).unwrap_err();
        assert!(error.message().contains("offsets 0 to 1"), "{error}");
        let later = SavedFiles { version: 7, ..seen.save(0, 1, 0) }.to_bytes().unwrap();
        for bytes in [&b"x"[..], &later] {
            let error = SavedFiles::from_bytes(bytes).unwrap_err();
            assert!(error.message().contains("does the checkpoint belong"), "{error}");
        }
    }

    #[test]
    fn only_files_that_are_both_old_and_through_are_forgotten_and_their_offsets_no_longer_known() {
        let mut seen = SeenFiles::default();
        for (path, second) in [("a", 1), ("b", 9), ("c", 2), ("d", 3)] {
            seen.push(vec![file(path, second)]);
        }
        seen.forget(2, 5);
        assert_eq!(names(&seen, -1, 3), "bd");
        let mut again = SeenFiles::default();
        again.restore(seen.save(-1, 3, 5)).unwrap();
        assert_eq!(again, seen);
        assert_eq!(again.push(vec![file("e", 10)]), 4);
        assert!(!again.knows(1, 3) && again.knows(2, 4) && !again.knows(2, 5));
    }

    #[test]
    fn files_that_are_too_old_are_neither_new_nor_remembered() {
        let mut index = SeenIndex::new(Identity::Path, Some(10));
        assert!(index.is_new(&file("old", 5)));
        add(&mut index, &[file("old", 5), file("new", 20)]);
        assert_eq!(index.known.len(), 1);
        assert!(!index.is_new(&file("late", 9)) && index.is_new(&file("late", 10)) && !index.is_new(&file("new", 20)));
    }

    #[test]
    fn with_file_names_only_a_copy_elsewhere_is_the_same_file() {
        let mut index = SeenIndex::new(Identity::FileName, None);
        add(&mut index, &[file("x/a", 1)]);
        assert!(!index.is_new(&file("y/a", 2)) && index.is_new(&file("y/b", 2)));
    }
}
