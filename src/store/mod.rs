//! Where checkpoints are kept.
//!
//! Owns: named objects that are made once, whole and durable. Does not own: what is in them (`checkpoint`).
//!
//! All that a checkpoint needs of a store is [`create`](CheckpointStore::create): durable, whole, and exclusive, so that of two
//! processes that make the same object one finds out that it came second. Objects never change.

#[cfg(feature = "object-store")]
pub mod object;

use std::fmt;

use crate::error::Result;

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
