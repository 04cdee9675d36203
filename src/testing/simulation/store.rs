//! A checkpoint store that fails when the seed wants it, and watches what is done to it.
//!
//! Owns: the faults (no room, answers that are lost, the death of the process at any call), and the invariants of the protocol that
//! can be seen from the store.

use std::sync::{Arc, Mutex};

use super::Random;
use crate::checkpoint::CheckpointReader;
use crate::clock::lock;
use crate::error::{Error, Result};
use crate::store::{CheckpointStore, Created, MemoryStore};

/// What all runs of a query share: the objects, and what was seen to be wrong.
#[derive(Debug, Default)]
pub(super) struct Disk {
    objects: Arc<MemoryStore>,
    violations: Mutex<Vec<String>>,
}

#[derive(Debug)]
struct Fate {
    random: Random,
    /// One call in so many fails, half of these after its work was done; 0 for none.
    fails_one_in: usize,
    /// Calls until the process dies.
    calls_left: Option<usize>,
    is_dead: bool,
    /// The last call made a commit.
    has_just_committed: bool,
}

/// The disk as one run sees it.
#[derive(Debug, Clone)]
pub(super) struct SimStore {
    disk: Arc<Disk>,
    fate: Arc<Mutex<Fate>>,
}

/// When in a call it fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Before,
    After,
}

impl SimStore {
    pub(super) fn new(disk: &Arc<Disk>, seed: u64, fails_one_in: usize, calls_left: Option<usize>) -> Self {
        let fate =
            Fate { random: Random::new(seed), fails_one_in, calls_left, is_dead: false, has_just_committed: false };
        Self { disk: Arc::clone(disk), fate: Arc::new(Mutex::new(fate)) }
    }

    /// Whether the process of this run is dead.
    pub(super) fn is_dead(&self) -> bool {
        lock(&self.fate).is_dead
    }

    /// Something outside the store happens, such as a sink's work: the process may die before.
    pub(super) fn step(&self) -> Result<()> {
        if self.fault()?.is_none() {
            return Ok(());
        }
        self.die_if_due();
        Err(self.error())
    }

    /// Only what a commit says may be shown.
    pub(super) fn expect_decided(&self, epoch: u64, token: &[u8]) {
        let reader = self.disk.reader();
        let numbers = reader.commits().unwrap_or_default();
        let mut commits = numbers.into_iter().filter_map(|number| reader.commit(number).ok().flatten());
        let names = |prepared: &crate::connector::Prepared| prepared.0 == token;
        let is_decided = commits.any(|commit| {
            let epochs = commit.record.sinks.iter().flatten();
            epochs.filter(|shown| shown.epoch == epoch).any(|shown| shown.prepared.iter().any(names))
        });
        if !is_decided {
            self.disk.violated(format!("rows of epoch {epoch} are shown and no commit says so"));
        }
    }

    fn die_if_due(&self) {
        let mut fate = lock(&self.fate);
        fate.is_dead |= fate.calls_left == Some(0);
    }

    fn error(&self) -> Error {
        if self.is_dead() { Error::internal("the process is dead") } else { Error::connector("no room on this disk") }
    }

    /// What fate has for the next call.
    fn fault(&self) -> Result<Option<Fault>> {
        let mut fate = lock(&self.fate);
        if fate.is_dead {
            return Err(Error::internal("the process is dead"));
        }
        let when = if fate.random.below(2) == 0 { Fault::Before } else { Fault::After };
        if let Some(left) = &mut fate.calls_left {
            *left = left.saturating_sub(1);
            if *left == 0 {
                fate.is_dead |= when == Fault::Before;
                return Ok(Some(when));
            }
        }
        let one_in = fate.fails_one_in;
        Ok((one_in > 0 && fate.random.below(one_in) == 0).then_some(when))
    }

    /// Does `work` unless fate is against it.
    fn call<T>(&self, work: impl FnOnce(&MemoryStore) -> Result<T>) -> Result<T> {
        let fault = self.fault()?;
        if fault == Some(Fault::Before) {
            return Err(self.error());
        }
        let done = work(&self.disk.objects)?;
        if fault == Some(Fault::After) {
            self.die_if_due();
            return Err(self.error());
        }
        Ok(done)
    }
}

impl Disk {
    fn reader(&self) -> CheckpointReader {
        CheckpointReader::new(Arc::clone(&self.objects) as Arc<dyn CheckpointStore>)
    }

    fn violated(&self, how: String) {
        lock(&self.violations).push(how);
    }

    /// What was seen to be wrong.
    pub(super) fn violations(&self) -> Vec<String> {
        lock(&self.violations).clone()
    }

    /// Every commit that is kept follows the one before, has its plan, and finds what it names.
    fn check(&self, after: &str) {
        let reader = self.reader();
        let result = reader.find().and_then(|found| {
            for commit in &found.commits {
                for (operator, files) in commit.record.operators.iter().enumerate() {
                    files.iter().try_for_each(|file| reader.state(operator, file).map(drop))?;
                }
            }
            Ok(())
        });
        if let Err(error) = result {
            self.violated(format!("after {after}: {error}"));
        }
    }
}

impl CheckpointStore for SimStore {
    fn location(&self) -> String {
        "simulation".to_string()
    }

    fn create(&self, name: &str, content: &[u8]) -> Result<Created> {
        let disk = Arc::clone(&self.disk);
        lock(&self.fate).has_just_committed = name.starts_with("commits/");
        self.call(|objects| {
            let created = objects.create(name, content)?;
            if created == Created::New && name.starts_with("commits/") {
                disk.check(&format!("create {name}"));
            }
            Ok(created)
        })
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        self.call(|objects| objects.read(name))
    }

    fn list(&self, directory: &str) -> Result<Vec<String>> {
        let mut names = self.call(|objects| objects.list(directory))?;
        // Between an answer and what is done about it another run may begin: as if it were not in the list yet. Behind a commit an
        // answer is what it is.
        let mut fate = lock(&self.fate);
        if directory == "runs" && !fate.has_just_committed && fate.random.below(2) == 0 {
            names.sort_by_key(|name| name.parse::<u64>().unwrap_or_default());
            names.pop();
        }
        Ok(names)
    }

    fn delete(&self, name: &str) -> Result<()> {
        let disk = Arc::clone(&self.disk);
        self.call(|objects| {
            objects.delete(name)?;
            disk.check(&format!("delete {name}"));
            Ok(())
        })
    }
}
