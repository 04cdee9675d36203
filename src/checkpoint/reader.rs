//! Reading a checkpoint.
//!
//! Owns: finding, decoding and checking the objects of a checkpoint, for recovery and for tools. Makes and deletes nothing.

use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use super::codec::{Record, decode};
use super::records::{CommitRecord, HASH_VERSION, KEY_GROUPS, Metadata, OffsetsRecord, RunRecord, StateFile};
use super::state_file::{self, StateRows};
use crate::error::{Error, Result};
use crate::store::CheckpointStore;

/// A commit and the checksum of its record, which the next commit names.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Commit {
    pub(crate) record: CommitRecord,
    pub(crate) checksum: u64,
}

/// Where a query stands by its checkpoint.
#[derive(Debug, Clone, Default)]
pub(crate) struct Found {
    /// The newest commits, oldest first; each names the one before.
    pub(crate) commits: Vec<Commit>,
    /// Planned and not committed: what has to run first.
    pub(crate) planned: Option<OffsetsRecord>,
    /// What each source saved, in the order in which it takes it back.
    pub(crate) saved: Vec<Vec<Vec<u8>>>,
    /// The number of the record that `saved` begins with.
    pub(crate) base: u64,
    /// The newest commit that the sinks are known to show.
    pub(crate) published: Option<u64>,
}

impl Found {
    /// The run whose plan counts: that of the newest record.
    pub(crate) fn generation(&self) -> Option<u64> {
        let planned = self.planned.as_ref().map(|planned| planned.generation);
        planned.or(self.last().map(|last| last.generation))
    }

    /// The newest commit.
    pub(crate) fn last(&self) -> Option<&CommitRecord> {
        self.commits.last().map(|commit| &commit.record)
    }
}

/// Reads the checkpoint in a store.
#[derive(Debug, Clone)]
pub(crate) struct CheckpointReader {
    store: Arc<dyn CheckpointStore>,
}

impl CheckpointReader {
    pub(crate) fn new(store: Arc<dyn CheckpointStore>) -> Self {
        Self { store }
    }

    pub(super) fn store(&self) -> &Arc<dyn CheckpointStore> {
        &self.store
    }

    /// `None` where no query has kept a checkpoint yet.
    pub(crate) fn metadata(&self) -> Result<Option<Metadata>> {
        let Some(metadata) = self.record::<Metadata>("metadata")? else { return Ok(None) };
        if (metadata.key_groups, metadata.hash_version) != (KEY_GROUPS, HASH_VERSION) {
            return Err(Error::state(format!(
                "the checkpoint in `{}` has {} key groups by hash {}, this version of millstream has {KEY_GROUPS} by hash \
                 {HASH_VERSION}; use the version that wrote it",
                self.store.location(),
                metadata.key_groups,
                metadata.hash_version
            )));
        }
        Ok(Some(metadata))
    }

    /// The runs there were, oldest first, as far as their records are kept.
    pub(crate) fn generations(&self) -> Result<Vec<u64>> {
        self.numbers("runs")
    }

    pub(crate) fn run(&self, generation: u64) -> Result<RunRecord> {
        self.needed(&format!("runs/{generation}"))
    }

    /// The commits that are kept, oldest first.
    pub(crate) fn commits(&self) -> Result<Vec<u64>> {
        self.numbers("commits")
    }

    /// The offsets that are kept, oldest first.
    pub(crate) fn offset_numbers(&self) -> Result<Vec<u64>> {
        self.numbers("offsets")
    }

    pub(crate) fn commit(&self, number: u64) -> Result<Option<Commit>> {
        let name = format!("commits/{number}");
        let commit = |bytes: Vec<u8>| Ok(Commit { record: decode(&name, &bytes)?, checksum: xxh3_64(&bytes) });
        self.store.read(&name)?.map(commit).transpose()
    }

    pub(crate) fn offsets(&self, number: u64) -> Result<Option<OffsetsRecord>> {
        self.record(&format!("offsets/{number}"))
    }

    /// The rows of a file of state.
    ///
    /// # Errors
    /// When it is missing or damaged.
    pub(crate) fn state(&self, operator: usize, file: &StateFile) -> Result<Vec<StateRows>> {
        let name = file.name(operator);
        let content = self.store.read(&name)?.ok_or_else(|| missing(&name))?;
        state_file::decode(&name, file, &content)
    }

    /// Everything a run needs to go on, the state itself excepted.
    ///
    /// # Errors
    /// When something is missing or damaged.
    pub(crate) fn find(&self) -> Result<Found> {
        let mut found = Found::default();
        for number in self.commits()?.into_iter().rev() {
            let commit = match (self.commit(number)?, found.commits.last()) {
                (Some(commit), _) => commit,
                (None, None) => return Err(missing(&format!("commits/{number}"))),
                // Another process deletes what is too old.
                (None, Some(_)) => break,
            };
            if let Some(after) = found.commits.last()
                && (number + 1, commit.checksum) != (after.record.number, after.record.previous)
            {
                // A stray: a run that was thought dead made it after the real one was deleted.
                break;
            }
            found.commits.push(commit);
        }
        found.commits.reverse();
        // A query that never committed has planned its first range at most.
        if found.commits.is_empty()
            && let Some(number) = self.offset_numbers()?.into_iter().rfind(|number| *number > 0)
        {
            return Err(missing(&format!("commits/{}", number - 1)));
        }
        let next = found.last().map_or(0, |last| last.number + 1);
        found.planned = self.offsets(next)?;
        self.find_saved(next, &mut found)?;
        Ok(found)
    }

    /// Follows the offsets back to the newest base.
    fn find_saved(&self, next: u64, found: &mut Found) -> Result<()> {
        let mut records: Vec<OffsetsRecord> = found.planned.iter().cloned().collect();
        let mut number = next;
        while number > 0 && !records.last().is_some_and(|record| record.is_base) {
            number -= 1;
            records.push(self.needed(&format!("offsets/{number}"))?);
        }
        found.published = records.iter().filter_map(|record| record.published).max();
        found.base = records.last().map_or(0, |record| record.number);
        for record in records.iter().rev() {
            for (source, saved) in record.saved.iter().enumerate() {
                if found.saved.len() <= source {
                    found.saved.push(Vec::new());
                }
                let base = saved.base.iter().filter(|_| record.number == found.base);
                found.saved[source].extend(base.chain(&saved.range).cloned());
            }
        }
        Ok(())
    }

    fn numbers(&self, directory: &str) -> Result<Vec<u64>> {
        let names = self.store.list(directory)?;
        let mut numbers: Vec<u64> = names.iter().filter_map(|name| name.parse().ok()).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    fn record<R: Record>(&self, name: &str) -> Result<Option<R>> {
        self.store.read(name)?.map(|bytes| decode(name, &bytes)).transpose()
    }

    fn needed<R: Record>(&self, name: &str) -> Result<R> {
        self.record(name)?.ok_or_else(|| missing(name))
    }
}

fn missing(name: &str) -> Error {
    Error::state(format!(
        "`{name}` of the checkpoint is missing: it was deleted, or another process goes on with this checkpoint"
    ))
}
