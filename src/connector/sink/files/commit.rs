//! Makes prepared files visible, once.
//!
//! Owns: the order of the steps of a commit, and what a new run does about leftovers. Does not own: the steps (`disk`)
//! and the manifest (`log`). Why that order is right is told in the module above.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::disk::{self, Disk};
use super::log::{CommittedFile, ManifestLog};
use super::{STAGED_SUFFIX, staging};
use crate::connector::{Prepared, SinkCommitter};
use crate::error::{Error, Result};

/// A file that is whole and durable where no reader sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StagedFile {
    /// Where it is, below the sink's directory.
    pub(super) staged: String,
    /// Where it will be, and its length.
    #[serde(flatten)]
    pub(super) file: CommittedFile,
}

impl StagedFile {
    /// What the writers of an epoch prepared.
    fn read(epoch: u64, prepared: &[Prepared]) -> Result<Vec<Self>> {
        let mut files = Vec::new();
        for Prepared(json) in prepared.iter().filter(|prepared| !prepared.0.is_empty()) {
            files.extend(serde_json::from_slice::<Vec<Self>>(json).map_err(|error| {
                let text = format!("what the file sink prepared for epoch {epoch} is unreadable");
                Error::state(format!("{text}; does the checkpoint belong to this query?")).with_source(error)
            })?);
        }
        Ok(files)
    }

    /// What a writer prepared, as its committer reads it.
    pub(super) fn write(files: &[Self]) -> Result<Prepared> {
        if files.is_empty() {
            return Ok(Prepared::default());
        }
        let json = serde_json::to_vec(files);
        Ok(Prepared(json.map_err(|error| Error::internal("names of files are no JSON").with_source(error))?))
    }
}

pub(super) struct FileCommitter {
    root: PathBuf,
    checkpoint: Uuid,
    log: ManifestLog,
    disk: Disk,
}

impl FileCommitter {
    pub(super) fn new(root: &Path, checkpoint: Uuid, disk: Disk) -> Self {
        let log = ManifestLog::new(root, checkpoint, disk.clone());
        Self { root: root.to_path_buf(), checkpoint, log, disk }
    }

    /// Says in the manifest which files the epoch has, if that was not said before, and answers them.
    fn decide(&mut self, epoch: u64, files: &[StagedFile]) -> Result<Vec<CommittedFile>> {
        if self.log.last()? < Some(epoch) {
            files.iter().try_for_each(|file| self.check(epoch, file))?;
            self.log.create(epoch, files.iter().map(|file| file.file.clone()).collect())?;
        }
        // Another process may have been quicker.
        self.log.epoch(epoch)
    }

    /// Makes sure that a file of an epoch that was never committed is there.
    fn check(&self, epoch: u64, file: &StagedFile) -> Result<()> {
        let (staged, visible) = (self.root.join(&file.staged), self.root.join(&file.file.path));
        if disk::exists(&staged)? || disk::exists(&visible)? {
            return Ok(());
        }
        let (staged, visible) = (staged.display(), visible.display());
        Err(Error::connector(format!(
            "rows of epoch {epoch} are lost: {staged} is gone, and neither {visible} nor the manifest tells that they \
             were committed; put the directory back as it was, or start the query with a new checkpoint"
        )))
    }

    /// Makes the files of an epoch visible; those that are not staged any more are, or were.
    fn publish<'a>(&self, files: impl IntoIterator<Item = (PathBuf, &'a CommittedFile)>) -> Result<()> {
        let (mut touched, mut left) = (BTreeSet::new(), BTreeSet::new());
        for (staged, file) in files {
            let visible = self.root.join(&file.path);
            if disk::exists(&staged)? {
                self.disk.create_directory(visible.parent().unwrap_or(&self.root))?;
                self.disk.rename(&staged, &visible)?;
            }
            left.extend(staged.parent().map(Path::to_path_buf));
            let below = Path::new(&file.path).ancestors().skip(1);
            touched.extend(below.map(|directory| self.root.join(directory)));
        }
        // The new names first: after a power failure a file may have both names, but not none.
        touched.iter().chain(&left).try_for_each(|directory| self.disk.sync_directory(directory))
    }

    /// The name a file has until it is visible.
    fn staged(&self, file: &CommittedFile) -> PathBuf {
        let name = file.path.rsplit('/').next().unwrap_or_default();
        self.root.join(staging(self.checkpoint)).join(format!("{name}{STAGED_SUFFIX}"))
    }

    /// The staged files of epochs up to `last`, by epoch.
    fn leftovers(&self, last: u64) -> Result<BTreeMap<u64, Vec<PathBuf>>> {
        let directory = self.root.join(staging(self.checkpoint));
        let mut found: BTreeMap<u64, Vec<PathBuf>> = BTreeMap::new();
        for name in disk::list(&directory)? {
            if let Some(epoch) = epoch_of(&name).filter(|epoch| *epoch <= last) {
                found.entry(epoch).or_default().push(directory.join(name));
            }
        }
        Ok(found)
    }
}

/// The epoch in a name `part-00003-17-….csv`.
fn epoch_of(name: &str) -> Option<u64> {
    name.strip_prefix("part-")?.split('-').nth(1)?.parse().ok()
}

impl SinkCommitter for FileCommitter {
    fn commit(&mut self, epoch: u64, prepared: &[Prepared]) -> Result<()> {
        let files = StagedFile::read(epoch, prepared)?;
        if files.is_empty() {
            return Ok(());
        }
        let committed = self.decide(epoch, &files)?;
        if committed.is_empty() {
            let root = self.root.display();
            return Err(Error::connector(format!(
                "the manifest in {root} has lost epoch {epoch}; put the directory back as it was, or start the query with a \
                 new checkpoint"
            )));
        }
        let (ours, others): (Vec<_>, Vec<_>) = files.iter().partition(|file| committed.contains(&file.file));
        if !others.is_empty() {
            let (count, root) = (others.len(), self.root.display());
            log::warn!("epoch {epoch} was committed to {root} before: {count} files of another attempt are dropped");
        }
        self.publish(ours.iter().map(|file| (self.root.join(&file.staged), &file.file)))?;
        others.iter().try_for_each(|file| self.disk.remove(&self.root.join(&file.staged)))?;
        // The epoch is committed whether or not this works; the next one tries again.
        if let Err(error) = self.log.compact() {
            log::warn!("{error}");
        }
        Ok(())
    }

    fn recover(&mut self, last: Option<u64>) -> Result<()> {
        let Some(last) = last else { return Ok(()) };
        for (epoch, leftovers) in self.leftovers(last)? {
            let committed = self.log.epoch(epoch)?;
            self.publish(committed.iter().map(|file| (self.staged(file), file)))?;
            let dead = leftovers.iter().filter(|path| committed.iter().all(|file| self.staged(file) != **path));
            dead.into_iter().try_for_each(|path| self.disk.remove(path))?;
        }
        self.log.clean(last)
    }
}
