//! The state of an epoch, file by file.

use std::collections::VecDeque;

use super::records::StateFile;
use crate::error::{Error, Result};

/// What is known of the epoch under way: the files of its state, and the commits `C` that wait: the first for the files, the others,
/// of epochs without state to write, for the first.
#[derive(Debug)]
pub(crate) struct Gathering<C> {
    /// Files that are being written.
    missing: usize,
    changes: Vec<Vec<StateFile>>,
    failure: Option<Error>,
    waiting: VecDeque<C>,
}

impl<C> Gathering<C> {
    /// Nothing of an epoch, for so many operators with state.
    pub(crate) fn new(operators: usize) -> Self {
        Self { missing: 0, changes: vec![Vec::new(); operators], failure: None, waiting: VecDeque::new() }
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

    /// All tasks are done with an epoch, which can be committed when nothing is missing and those before it are.
    pub(crate) fn finish(&mut self, commit: C) {
        self.waiting.push_back(commit);
    }

    /// The next commit with what was written for it, if all of that is there.
    pub(crate) fn take(&mut self) -> Option<(C, Result<Vec<Vec<StateFile>>>)> {
        if self.missing > 0 {
            return None;
        }
        let commit = self.waiting.pop_front()?;
        let none = vec![Vec::new(); self.changes.len()];
        let changes = std::mem::replace(&mut self.changes, none);
        Some((commit, self.failure.take().map_or(Ok(changes), Err)))
    }
}
