//! The checkpoint of a query that was given no place for one.

use std::fs;
use std::path::{Path, PathBuf};

/// A directory that goes with this value unless it is [kept](Self::keep).
#[derive(Debug)]
pub(crate) struct TemporaryDirectory {
    path: PathBuf,
}

impl TemporaryDirectory {
    /// One of this name among the machine's temporary files; it is made by whoever writes there first.
    pub(crate) fn new(name: &str) -> Self {
        Self { path: std::env::temp_dir().join(name) }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves it where it is, for whoever wants to go on from there.
    pub(crate) fn keep(mut self) {
        let path = std::mem::take(&mut self.path);
        log::warn!(
            target: "millstream::checkpoint",
            "what was committed is kept in {}: give that as checkpointLocation to go on from there, or remove it",
            path.display()
        );
    }
}

impl Drop for TemporaryDirectory {
    fn drop(&mut self) {
        if !self.path.as_os_str().is_empty()
            && let Err(error) = fs::remove_dir_all(&self.path)
        {
            log::debug!(target: "millstream::checkpoint", "{} could not be removed: {error}", self.path.display());
        }
    }
}
