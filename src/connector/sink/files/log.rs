//! The manifest: which files each epoch has.
//!
//! Owns: the log of one checkpoint in the sink's directory, and its compaction. Does not own: when something is written
//! to it (`commit`).
//!
//! | file | |
//! |---|---|
//! | `17` | the files of epoch 17; made durably, exclusively, and never changed |
//! | `0-31.1` | the files of the epochs 0 to 31 from one place, made of what was in files like the one above |
//! | `0-1023.2` | the same of what was in files like that one, and so on |
//! | `.17.<uuid>` | half made |
//!
//! Once a level has `PIECES` files they are merged into one of the next level and deleted, so that there are only some
//! dozens of files however long the query runs, and an epoch is written anew only a few times in its life. A merged file
//! is durable before those in it are deleted, and a reader passes over files whose epochs another one has: so a crash
//! between any two steps changes nothing that can be read.
//!
//! Epochs without files are not in the log.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::disk::{self, Disk};
use super::{HOME, home};
use crate::error::{Error, Result};

/// So many files of one level are merged into one of the next.
const PIECES: usize = 32;

/// The format of manifests; a later one has another number.
const VERSION: u32 = 1;

/// A file that is part of the result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommittedFile {
    /// Where it is, below the sink's directory, with `/`.
    pub path: String,
    /// Its length in bytes.
    pub size: u64,
}

/// The committed files of one checkpoint's query, by epoch. Epochs without rows are missing.
///
/// The result of the query is these files: they are visible, save for an epoch whose commit is under way, and for those
/// that a reader of the directory moved away since.
///
/// # Errors
/// When the manifest cannot be read.
pub fn committed_files(directory: &Path, checkpoint: Uuid) -> Result<BTreeMap<u64, Vec<CommittedFile>>> {
    ManifestLog::new(directory, checkpoint, Disk::default()).read(|_| true)
}

/// The checkpoints whose queries wrote to a sink's directory.
///
/// # Errors
/// When the directory cannot be read.
pub fn checkpoints(directory: &Path) -> Result<Vec<Uuid>> {
    let names = disk::list(&directory.join(HOME))?;
    let mut found: Vec<Uuid> = names.iter().filter_map(|name| Uuid::try_parse(name).ok()).collect();
    found.sort_unstable();
    Ok(found)
}

#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    version: u32,
    epochs: BTreeMap<u64, Vec<CommittedFile>>,
}

/// A file of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Piece {
    first: u64,
    last: u64,
    level: u32,
}

impl Piece {
    fn of_epoch(epoch: u64) -> Self {
        Self { first: epoch, last: epoch, level: 0 }
    }

    fn parse(name: &str) -> Option<Self> {
        if let Ok(epoch) = name.parse() {
            return Some(Self::of_epoch(epoch));
        }
        let (range, level) = name.split_once('.')?;
        let (first, last) = range.split_once('-')?;
        Some(Self { first: first.parse().ok()?, last: last.parse().ok()?, level: level.parse().ok()? })
    }

    fn name(self) -> String {
        match self {
            Self { last, level: 0, .. } => last.to_string(),
            Self { first, last, level } => format!("{first}-{last}.{level}"),
        }
    }
}

/// The log of one checkpoint.
#[derive(Debug)]
pub(super) struct ManifestLog {
    home: PathBuf,
    directory: PathBuf,
    disk: Disk,
    /// Whether this process made sure of the directory.
    has_directory: bool,
}

impl ManifestLog {
    pub(super) fn new(root: &Path, checkpoint: Uuid, disk: Disk) -> Self {
        let home = home(root, checkpoint);
        Self { directory: home.join("log"), home, disk, has_directory: false }
    }

    /// The newest epoch.
    pub(super) fn last(&self) -> Result<Option<u64>> {
        Ok(self.list()?.iter().map(|piece| piece.last).max())
    }

    /// The files of an epoch; none when it is not in the log.
    pub(super) fn epoch(&self, epoch: u64) -> Result<Vec<CommittedFile>> {
        let mut epochs = self.read(|piece| (piece.first..=piece.last).contains(&epoch))?;
        Ok(epochs.remove(&epoch).unwrap_or_default())
    }

    /// Says which files an epoch has, for good, unless that is said already.
    pub(super) fn create(&mut self, epoch: u64, files: Vec<CommittedFile>) -> Result<()> {
        if !self.has_directory {
            self.disk.create_directory(&self.directory)?;
            // Whoever made it may not have come to this yet.
            self.disk.sync_directory(&self.home)?;
            self.has_directory = true;
        }
        self.create_piece(Piece::of_epoch(epoch), BTreeMap::from([(epoch, files)]))
    }

    /// Merges levels that have enough files.
    pub(super) fn compact(&self) -> Result<()> {
        for level in 0.. {
            let mut pieces = self.list()?;
            pieces.retain(|piece| piece.level == level);
            let (Some(first), Some(last)) = (pieces.first(), pieces.last()) else { break };
            if pieces.len() < PIECES {
                break;
            }
            let merged = Piece { first: first.first, last: last.last, level: level + 1 };
            // None: another process is at it.
            let Some(epochs) = self.epochs_of(&pieces)? else { break };
            self.create_piece(merged, epochs)?;
            pieces.into_iter().try_for_each(|piece| self.disk.remove(&self.path(piece)))?;
        }
        Ok(())
    }

    /// Deletes what a crash left behind: files that are merged already, and those half made for epochs up to `last`.
    pub(super) fn clean(&self, last: u64) -> Result<()> {
        // One list: between two another process could add what the first does not know of.
        let names = disk::list(&self.directory)?;
        let kept = uncovered(&names);
        for name in names {
            let half_made = name.strip_prefix('.').and_then(|name| name.rsplit_once('.')).map(|(name, _)| name);
            let is_dead = match half_made {
                Some(name) => Piece::parse(name).is_some_and(|piece| piece.last <= last),
                None => Piece::parse(&name).is_some_and(|piece| !kept.contains(&piece)),
            };
            if is_dead {
                self.disk.remove(&self.directory.join(name))?;
            }
        }
        Ok(())
    }

    /// The files of the log that are not merged into another, in the order of their epochs.
    fn list(&self) -> Result<Vec<Piece>> {
        disk::list(&self.directory).map(|names| uncovered(&names))
    }

    /// The epochs in the files that are `wanted`.
    fn read(&self, wanted: impl Fn(&Piece) -> bool) -> Result<BTreeMap<u64, Vec<CommittedFile>>> {
        loop {
            let mut pieces = self.list()?;
            pieces.retain(&wanted);
            // One that is gone by now was merged into another, which the next list has.
            if let Some(epochs) = self.epochs_of(&pieces)? {
                return Ok(epochs);
            }
        }
    }

    /// The epochs in these files; `None` when one of them is gone.
    fn epochs_of(&self, pieces: &[Piece]) -> Result<Option<BTreeMap<u64, Vec<CommittedFile>>>> {
        let mut epochs = BTreeMap::new();
        for piece in pieces {
            let Some(manifest) = self.manifest(*piece)? else { return Ok(None) };
            epochs.extend(manifest.epochs);
        }
        Ok(Some(epochs))
    }

    fn manifest(&self, piece: Piece) -> Result<Option<Manifest>> {
        let path = self.path(piece);
        let Some(content) = disk::read(&path)? else { return Ok(None) };
        let unreadable = |why: String| {
            let remedy = "restore it from a copy, or write to another directory with a new checkpoint";
            Error::state(format!("the file sink cannot read its manifest {}: {why}; {remedy}", path.display()))
        };
        let manifest: Manifest =
            serde_json::from_slice(&content).map_err(|error| unreadable(error.to_string()).with_source(error))?;
        match manifest.version {
            VERSION => Ok(Some(manifest)),
            other => Err(unreadable(format!("it has version {other}, and this is version {VERSION}"))),
        }
    }

    fn create_piece(&self, piece: Piece, epochs: BTreeMap<u64, Vec<CommittedFile>>) -> Result<()> {
        let content = serde_json::to_vec(&Manifest { version: VERSION, epochs });
        let content = content.map_err(|error| Error::internal("a manifest is no JSON").with_source(error))?;
        self.disk.create_whole(&self.path(piece), &content)
    }

    fn path(&self, piece: Piece) -> PathBuf {
        self.directory.join(piece.name())
    }
}

/// The files among `names` whose epochs no other one has, in the order of their epochs.
fn uncovered(names: &[String]) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = names.iter().filter_map(|name| Piece::parse(name)).collect();
    pieces.sort_unstable_by_key(|piece| (piece.first, u64::MAX - piece.last, u32::MAX - piece.level));
    let mut end = None;
    pieces.retain(|piece| {
        let is_covered = end.is_some_and(|end| piece.last <= end);
        end = end.max(Some(piece.last));
        !is_covered
    });
    pieces
}
