//! What the file sink does to a disk, one step at a time.
//!
//! Owns: how something is made durable, and errors that say what to do. Does not own: which steps are taken in which
//! order (`writer`, `commit`, `log`).

use std::fmt;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use uuid::Uuid;

use crate::error::{Error, Result};

/// Asked before a step; an error is taken for the disk's.
type BeforeStep = Arc<dyn Fn() -> io::Result<()> + Send + Sync>;

/// All steps that change a disk. A process may die before, between or after any two of them.
#[derive(Clone, Default)]
pub(super) struct Disk {
    before_step: Option<BeforeStep>,
}

impl Disk {
    /// A disk on which every step can be made to fail.
    #[cfg(test)]
    pub(super) fn with_steps(before_step: impl Fn() -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self { before_step: Some(Arc::new(before_step)) }
    }

    fn step<T>(&self, step: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        self.before_step.as_ref().map_or(Ok(()), |ask| ask())?;
        step()
    }

    /// Makes a directory and those above it, durably.
    pub(super) fn create_directory(&self, path: &Path) -> Result<()> {
        let missing: Vec<&Path> = path.ancestors().take_while(|path| is_path(path) && !path.exists()).collect();
        let created = self.step(|| fs::create_dir_all(path));
        created.map_err(|error| cannot("create the directory", path, error))?;
        let parents = missing.iter().filter_map(|path| path.parent());
        parents.into_iter().try_for_each(|parent| self.sync_directory(parent))
    }

    /// Makes a file that was not there.
    pub(super) fn create(&self, path: &Path) -> Result<File> {
        self.step(|| File::create_new(path)).map_err(|error| cannot("create", path, error))
    }

    /// Makes the content of a file durable.
    pub(super) fn sync(&self, file: &File, path: &Path) -> Result<()> {
        self.step(|| file.sync_all()).map_err(|error| cannot("sync", path, error))
    }

    /// Makes the names in a directory durable. One that was removed has none.
    pub(super) fn sync_directory(&self, path: &Path) -> Result<()> {
        let path = if is_path(path) { path } else { Path::new(".") };
        // Only Unix opens directories as files.
        match self.step(|| if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(cannot("sync", path, error)),
            _ => Ok(()),
        }
    }

    /// Makes a file that is never seen half written and outlives a crash. One that is there already stays as it is.
    pub(super) fn create_whole(&self, path: &Path, content: &[u8]) -> Result<()> {
        let temporary = temporary(path);
        let mut file = self.create(&temporary)?;
        let written = self.step(|| file.write_all(content));
        written.map_err(|error| cannot("write", &temporary, error))?;
        self.sync(&file, &temporary)?;
        match self.step(|| fs::hard_link(&temporary, path)) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(cannot("link", path, error)),
            _ => {}
        }
        // Also when it was there: whoever made it may have died before this.
        self.sync_directory(path.parent().unwrap_or(path))?;
        self.remove(&temporary)
    }

    /// Gives a file its other name, unless it does not have the first one any more.
    pub(super) fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        match self.step(|| fs::rename(from, to)) {
            Err(error) if error.kind() != ErrorKind::NotFound || from.exists() => Err(cannot("publish", to, error)),
            _ => Ok(()),
        }
    }

    /// Takes a file away, if it is there.
    pub(super) fn remove(&self, path: &Path) -> Result<()> {
        match self.step(|| fs::remove_file(path)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(cannot("remove", path, error)),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Disk")
    }
}

/// The parent of a relative path of one name is the empty path.
fn is_path(path: &Path) -> bool {
    !path.as_os_str().is_empty()
}

/// `….17.<uuid>` for a file `17`: a name that nobody else takes and `log` passes over.
fn temporary(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}", Uuid::new_v4().simple()))
}

/// Whether there is something at `path`. What cannot be looked at is an error, not an absence.
pub(super) fn exists(path: &Path) -> Result<bool> {
    path.try_exists().map_err(|error| cannot("look at", path, error))
}

/// The names in a directory; none when it is not there.
pub(super) fn list(directory: &Path) -> Result<Vec<String>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|error| cannot("list", directory, error))?,
    };
    let name = |entry: io::Result<fs::DirEntry>| entry.map(|entry| entry.file_name().to_string_lossy().into_owned());
    entries.map(name).collect::<io::Result<_>>().map_err(|error| cannot("list", directory, error))
}

/// The content of a file; `None` when it is not there.
pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(cannot("read", path, error)),
    }
}

/// The error of a step that failed at `path`.
pub(super) fn cannot(what: &str, path: &Path, error: io::Error) -> Error {
    let remedy = remedy(&error);
    Error::connector(format!("the file sink cannot {what} {}: {error}{remedy}", path.display())).with_source(error)
}

/// What to do about an error, as the end of a sentence.
pub(super) fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "; make room there, then start the query again",
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            "; let this process write there, then start the query again"
        }
        ErrorKind::NotFound => "; was the directory removed while the query ran? leave it in place and start again",
        ErrorKind::CrossesDevices => "; the sink's directory and all partitions must be on one file system",
        ErrorKind::Unsupported => "; the sink's directory must be on a file system with hard links",
        _ => "",
    }
}
