//! Where checkpoints are kept.
//!
//! Owns: named objects that are made once, whole and durable. Does not own: what is in them (`checkpoint`).
//!
//! All that a checkpoint needs of a store is [`create`](CheckpointStore::create): durable, whole, and exclusive, so that of two
//! processes that make the same object one finds out that it came second. Objects never change.
//!
//! | location | store | what it survives |
//! |---|---|---|
//! | a path, `file:…` | [`LocalStore`]  | crashes of the process and of the machine |
//! | `memory://name`  | [`MemoryStore`] | the query's end, not the process's |
//! | `s3://…` `gs://…` `az://…` `abfss://…` `hdfs://…` | `object::ObjectCheckpointStore`, behind the features `s3` `gcs` `azure` `hdfs` | what the service survives |

mod local;
mod memory;
#[cfg(feature = "spill")]
mod spill;

#[cfg(feature = "object-store")]
pub mod object;

use std::fmt;
use std::sync::Arc;

use crate::connector::local_path;
use crate::error::{Error, Result};

pub use local::LocalStore;
pub use memory::MemoryStore;
#[cfg(feature = "spill")]
pub(crate) use spill::SpillFile;

/// What became of a [`create`](CheckpointStore::create).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Created {
    /// The object is there, durable, with this content.
    New,
    /// There was an object of this name before, which is unchanged. It may be one's own: of a try whose answer was lost.
    Exists,
}

/// Keeps a checkpoint's objects. Names are relative paths with `/`, such as `commits/17`; directories need not be made.
///
/// Called where blocking is allowed, from several threads at once.
pub trait CheckpointStore: fmt::Debug + Send + Sync + 'static {
    /// Where the objects are, for people: a path or URL.
    fn location(&self) -> String;

    /// Makes an object. Durable when it answers: it outlives a crash of the process and of the machine. Never seen half written.
    ///
    /// # Errors
    /// When the store does not answer or has no room; the object may be there or not, but not half.
    fn create(&self, name: &str, content: &[u8]) -> Result<Created>;

    /// The content of an object; `None` if there is none.
    ///
    /// # Errors
    /// When the store does not answer.
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>>;

    /// The names of the objects directly in `directory` (such as `commits`), without it, in no order; none if there is no such
    /// directory. Objects half made are not among them.
    ///
    /// # Errors
    /// When the store does not answer.
    fn list(&self, directory: &str) -> Result<Vec<String>>;

    /// Takes an object away; nothing if there is none.
    ///
    /// # Errors
    /// When the store does not answer.
    fn delete(&self, name: &str) -> Result<()>;

    /// Keeps other processes out until the guard is dropped, where the store can. That is a courtesy, which makes the mistake of
    /// starting a query twice plain at once: safety rests on [`create`](Self::create) alone.
    ///
    /// # Errors
    /// When another process holds the lock; names it if it can.
    fn lock(&self) -> Result<Option<StoreLock>> {
        Ok(None)
    }

    /// Checks, before the first object is made, that [`create`](Self::create) is really exclusive here, if that is in doubt.
    ///
    /// # Errors
    /// When it is not: exactly-once is not possible on this store.
    fn probe(&self) -> Result<()> {
        Ok(())
    }
}

/// The store a `checkpointLocation` means.
///
/// # Errors
/// When the location is empty or its scheme is not known.
pub fn open(location: &str) -> Result<Arc<dyn CheckpointStore>> {
    let path = local_path(location);
    match location.split_once("://") {
        None | Some(("file", _)) if !path.trim().is_empty() => Ok(Arc::new(LocalStore::new(path))),
        Some(("memory", name)) if !name.is_empty() => Ok(MemoryStore::named(name)),
        Some(("s3" | "s3a", _)) => service(location, "s3"),
        Some(("gs", _)) => service(location, "gcs"),
        Some(("az" | "azure" | "abfs" | "abfss", _)) => service(location, "azure"),
        Some(("hdfs", _)) => service(location, "hdfs"),
        _ => Err(Error::config(format!(
            "checkpointLocation `{location}` is no place for a checkpoint; use a directory, a URL s3://, gs://, az:// or hdfs://, \
             or memory://name for tests"
        ))),
    }
}

/// A store that is a service.
#[cfg(feature = "object-store")]
fn service(location: &str, _: &str) -> Result<Arc<dyn CheckpointStore>> {
    Ok(Arc::new(object::ObjectCheckpointStore::open(location)?))
}

#[cfg(not(feature = "object-store"))]
fn service(location: &str, feature: &str) -> Result<Arc<dyn CheckpointStore>> {
    Err(Error::config(format!(
        "checkpointLocation `{location}` needs the cargo feature `{feature}` of millstream; enable it in Cargo.toml, or use a \
         directory"
    )))
}

/// Releases a store's lock when it goes.
pub struct StoreLock(#[expect(dead_code, reason = "held for its drop")] Box<dyn Send + Sync>);

impl StoreLock {
    /// Wraps what holds the lock.
    pub fn new(guard: impl Send + Sync + 'static) -> Self {
        Self(Box::new(guard))
    }
}

impl fmt::Debug for StoreLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoreLock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_that_is_no_store_is_refused_with_those_there_are() {
        for location in ["", " ", "file:", "file://", "memory://", "ftp://host/x"] {
            let error = open(location).unwrap_err().to_string();
            assert!(error.contains("use a directory"), "{error}");
        }
        #[cfg(not(feature = "object-store"))]
        for (location, feature) in
            [("s3://b/x", "`s3`"), ("gs://b", "`gcs`"), ("abfss://c@a/x", "`azure`"), ("hdfs://n/x", "`hdfs`")]
        {
            let error = open(location).unwrap_err().to_string();
            assert!(error.contains(feature) && error.contains(location), "{error}");
        }
        assert_eq!(open("file:///x/y").unwrap().location(), "/x/y");
        assert_eq!(open("memory://a").unwrap().location(), "memory://a");
    }
}
