//! Which files were read, in which epoch's batch.
//!
//! Owns: the log of read files ([`SeenFiles`], plain data that can be stored) and the question whether a file is new
//! ([`SeenIndex`], which is made from the log). A file is known by its path, or by its name with `fileNameOnly`; what
//! is written to it later is never read.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::listing::ListedFile;

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
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct SeenFiles {
    entries: Vec<SeenFile>,
}

impl SeenFiles {
    /// The newest offset; −1 before the first file.
    pub(super) fn last(&self) -> i64 {
        self.entries.last().map_or(-1, |file| file.batch_id)
    }

    /// Adds the files of the next offset and answers it.
    pub(super) fn push(&mut self, files: Vec<ListedFile>) -> i64 {
        let batch_id = self.last() + 1;
        let entry =
            |file: ListedFile| SeenFile { path: file.path, timestamp: file.modified_ms, size: file.size, batch_id };
        self.entries.extend(files.into_iter().map(entry));
        batch_id
    }

    /// The files after offset `from` up to and including `to`, in order.
    pub(super) fn range(&self, from: i64, to: i64) -> &[SeenFile] {
        let start = self.entries.partition_point(|file| file.batch_id <= from);
        let end = self.entries.partition_point(|file| file.batch_id <= to);
        &self.entries[start..end.max(start)]
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

    /// Adds the files of an epoch and forgets those that became too old.
    pub(super) fn add(&mut self, files: &[ListedFile]) {
        for file in files {
            let key = self.key(&file.path).to_path_buf();
            self.known.insert(key, file.modified_ms);
            self.newest_ms = self.newest_ms.max(file.modified_ms);
        }
        if let Some(max_age_ms) = self.max_age_ms {
            let oldest_ms = self.newest_ms.saturating_sub(max_age_ms);
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

    #[test]
    fn the_log_can_be_stored_and_gives_the_same_ranges_again() {
        let mut seen = SeenFiles::default();
        assert_eq!(
            (seen.last(), seen.push(vec![file("a", 1), file("b", 2)]), seen.push(vec![file("c", 3)])),
            (-1, 0, 1)
        );
        let stored = serde_json::to_string(&seen).unwrap();
        assert!(stored.starts_with(r#"[{"path":"a","timestamp":1,"size":1,"batchId":0},"#), "{stored}");
        let again: SeenFiles = serde_json::from_str(&stored).unwrap();
        assert_eq!(again, seen);
        let names =
            |from, to| again.range(from, to).iter().map(|file| file.path.display().to_string()).collect::<String>();
        assert_eq!(
            (names(-1, 1), names(-1, 0), names(0, 1), names(1, 1)),
            ("abc".into(), "ab".into(), "c".into(), String::new())
        );
    }

    #[test]
    fn files_that_are_too_old_are_neither_new_nor_remembered() {
        let mut index = SeenIndex::new(Identity::Path, Some(10));
        assert!(index.is_new(&file("old", 5)));
        index.add(&[file("old", 5), file("new", 20)]);
        assert_eq!(index.known.len(), 1);
        assert!(!index.is_new(&file("late", 9)) && index.is_new(&file("late", 10)) && !index.is_new(&file("new", 20)));
    }

    #[test]
    fn with_file_names_only_a_copy_elsewhere_is_the_same_file() {
        let mut index = SeenIndex::new(Identity::FileName, None);
        index.add(&[file("x/a", 1)]);
        assert!(!index.is_new(&file("y/a", 2)) && index.is_new(&file("y/b", 2)));
    }
}
