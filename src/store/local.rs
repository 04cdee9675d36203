//! A checkpoint in a directory of this machine.
//!
//! Owns: making a file durable, whole and exclusive on a file system. Does not own: what is in it.
//!
//! | step | after a crash here |
//! |---|---|
//! | write `.tmp-…`, sync it                 | a hidden leftover, which no list shows and the next [`lock`] removes |
//! | link it under its name (fails if taken) | the object is there, whole; its name may be lost with the power |
//! | sync the directory                      | the object is durable |
//! | unlink `.tmp-…`                         | a second, hidden name of the object |
//!
//! [`lock`]: CheckpointStore::lock

use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Mutex;

use uuid::Uuid;

use super::{CheckpointStore, Created, StoreLock};
use crate::clock::lock;
use crate::error::{Error, Result};

/// What names of half made files begin with.
const HALF_MADE: &str = ".tmp-";

/// The file that the running process locks; it says who that is.
const LOCK: &str = ".lock";

/// Keeps objects as files below a directory.
#[derive(Debug)]
pub struct LocalStore {
    root: PathBuf,
    is_synced: bool,
    /// Directories whose names are known to be durable.
    durable: Mutex<BTreeSet<PathBuf>>,
}

impl LocalStore {
    /// Objects below `root`, which is made with the first of them.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), is_synced: true, durable: Mutex::default() }
    }

    /// The same without waiting for the disk: objects outlive the process, not a crash of the machine.
    pub fn without_sync(root: impl Into<PathBuf>) -> Self {
        Self { is_synced: false, ..Self::new(root) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    fn cannot(&self, what: &str, name: &str, error: io::Error) -> Error {
        let path = self.path(name);
        let remedy = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "; make room on that disk",
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                "; the checkpoint must be writable by this process"
            }
            io::ErrorKind::Unsupported => "; this file system has no hard links: put the checkpoint on another",
            _ => "",
        };
        Error::connector(format!("cannot {what} {}: {error}{remedy}", path.display())).with_source(error)
    }

    /// Makes the directory of an object durable, with those it is in. Once a directory: one that is there may still have been made by
    /// a process that crashed before its name was durable.
    fn make_directory(&self, directory: &Path) -> io::Result<()> {
        let mut durable = lock(&self.durable);
        if durable.contains(directory) {
            return Ok(());
        }
        let made = directory.ancestors().take_while(|above| !above.exists()).count();
        fs::create_dir_all(directory)?;
        for (height, above) in directory.ancestors().enumerate().skip(1) {
            if height <= made || above.starts_with(&self.root) || Some(above) == self.root.parent() {
                self.sync_directory(above)?;
            }
        }
        durable.insert(directory.to_path_buf());
        Ok(())
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        // Only Unix opens directories as files. A relative root has the empty path above it.
        if !self.is_synced || !cfg!(unix) || directory.as_os_str().is_empty() {
            return Ok(());
        }
        File::open(directory)?.sync_all()
    }

    fn write(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let mut file = File::create_new(path)?;
        file.write_all(content)?;
        if self.is_synced { file.sync_all() } else { Ok(()) }
    }

    fn try_create(&self, path: &Path, content: &[u8]) -> io::Result<Created> {
        let directory = path.parent().unwrap_or(&self.root);
        self.make_directory(directory)?;
        let half_made = directory.join(format!("{HALF_MADE}{}", Uuid::new_v4().simple()));
        let made = self.write(&half_made, content).and_then(|()| match fs::hard_link(&half_made, path) {
            Ok(()) => self.sync_directory(directory).map(|()| Created::New),
            // Whoever was first may not have synced its name yet.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.sync_directory(directory).map(|()| Created::Exists)
            }
            Err(error) => Err(error),
        });
        // Its going is not part of the object's making; what stays is removed with the next lock.
        let _ = fs::remove_file(&half_made);
        made
    }

    fn holder(&self) -> String {
        let who = fs::read_to_string(self.path(LOCK)).unwrap_or_default();
        if who.trim().is_empty() { "another process".to_string() } else { format!("process {}", who.trim()) }
    }
}

/// Removes what a process that crashed had half made.
fn sweep(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            sweep(&path);
        } else if entry.file_name().to_string_lossy().starts_with(HALF_MADE) {
            let _ = fs::remove_file(path);
        }
    }
}

impl CheckpointStore for LocalStore {
    fn location(&self) -> String {
        self.root.display().to_string()
    }

    fn create(&self, name: &str, content: &[u8]) -> Result<Created> {
        self.try_create(&self.path(name), content).map_err(|error| self.cannot("write", name, error))
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        match fs::read(self.path(name)) {
            Ok(content) => Ok(Some(content)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.cannot("read", name, error)),
        }
    }

    fn list(&self, directory: &str) -> Result<Vec<String>> {
        let failed = |error| self.cannot("list", directory, error);
        let entries = match fs::read_dir(self.path(directory)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if !name.starts_with('.') && !entry.file_type().map_err(failed)?.is_dir() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn delete(&self, name: &str) -> Result<()> {
        match fs::remove_file(self.path(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.cannot("delete", name, error)),
            _ => Ok(()),
        }
    }

    fn lock(&self) -> Result<Option<StoreLock>> {
        let failed = |error| self.cannot("lock", LOCK, error);
        self.make_directory(&self.root).map_err(failed)?;
        let opened = File::options().create(true).truncate(false).write(true).open(self.path(LOCK));
        let mut file = opened.map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let (holder, root) = (self.holder(), self.root.display());
                let text = format!("{holder} runs a query with the checkpoint {root} right now");
                return Err(Error::state(format!(
                    "{text}; stop it, or give this query a checkpointLocation of its own"
                )));
            }
            // Some network file systems have no locks; safety does not rest on them.
            Err(TryLockError::Error(error)) => {
                log::warn!("{} cannot be locked: {error}", self.root.display());
                return Ok(None);
            }
        }
        let named = file.set_len(0).and_then(|()| write!(file, "{}", process::id()));
        named.map_err(failed)?;
        sweep(&self.root);
        Ok(Some(StoreLock::new(file)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::conformance::check_store;

    #[test]
    fn a_directory_keeps_objects_whole_and_exclusive() {
        let directory = tempfile::tempdir().unwrap();
        check_store(&LocalStore::new(directory.path().join("a/b"))).unwrap();
        check_store(&LocalStore::without_sync(directory.path().join("c"))).unwrap();
    }

    #[test]
    fn what_was_half_made_is_not_listed_and_goes_with_the_next_lock() {
        let directory = tempfile::tempdir().unwrap();
        let store = LocalStore::new(directory.path());
        assert_eq!(store.create("commits/0", b"x").unwrap(), Created::New);
        let half_made = directory.path().join("commits/.tmp-1-2");
        fs::write(&half_made, b"half").unwrap();
        assert_eq!(store.list("commits").unwrap(), ["0"]);
        drop(store.lock().unwrap());
        assert!(!half_made.exists());
    }

    #[test]
    fn a_second_lock_names_who_holds_the_first() {
        let directory = tempfile::tempdir().unwrap();
        let (one, other) = (LocalStore::new(directory.path()), LocalStore::new(directory.path()));
        let lock = one.lock().unwrap();
        let error = other.lock().unwrap_err().to_string();
        assert!(error.contains(&format!("process {}", process::id())), "{error}");
        drop(lock);
        assert!(other.lock().unwrap().is_some());
    }
}
