//! The state of an epoch, file by file.

use super::records::StateFile;
use crate::error::{Error, Result};

/// What is known of the epoch under way: the files of its state, and the commit `C` that waits for them.
#[derive(Debug)]
pub(crate) struct Gathering<C> {
    /// Files that are being written.
    missing: usize,
    changes: Vec<Vec<StateFile>>,
    failure: Option<Error>,
    waiting: Option<C>,
}

impl<C> Gathering<C> {
    /// Nothing of an epoch, for so many operators with state.
    pub(crate) fn new(operators: usize) -> Self {
        Self { missing: 0, changes: vec![Vec::new(); operators], failure: None, waiting: None }
    }

    /// Files of an operator are being written.
    pub(crate) fn expect(&mut self) {
        self.missing += 1;
    }

    /// They are written, or could not be.
    pub(crate) fn arrived(&mut self, operator: usize, files: Result<Vec<StateFile>>) {
        self.missing = self.missing.saturating_sub(1);
        match files {
            Ok(files) => self.changes[operator].extend(files),
            Err(error) => self.failure = Some(error),
        }
    }

    /// All tasks are done with the epoch, which can be committed when nothing is missing.
    pub(crate) fn finish(&mut self, commit: C) {
        self.waiting = Some(commit);
    }

    /// The commit with what was written for it, if all of that is there; then the next epoch begins.
    pub(crate) fn take(&mut self) -> Option<(C, Result<Vec<Vec<StateFile>>>)> {
        if self.missing > 0 {
            return None;
        }
        let commit = self.waiting.take()?;
        let gathered = std::mem::replace(self, Self::new(self.changes.len()));
        Some((commit, gathered.failure.map_or(Ok(gathered.changes), Err)))
    }
}
