//! A checkpoint in the memory of this process, for tests and for queries whose restart is another query of the same program.
//!
//! Owns: the stores of the process by name. They are gone when the process is.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};

use super::{CheckpointStore, Created, StoreLock};
use crate::clock::lock;
use crate::error::{Error, Result};

static STORES: Mutex<BTreeMap<String, Arc<MemoryStore>>> = Mutex::new(BTreeMap::new());

/// Keeps objects in memory.
#[derive(Debug, Default)]
pub struct MemoryStore {
    name: String,
    objects: Mutex<BTreeMap<String, Vec<u8>>>,
    /// Alive while a query runs with this store.
    holder: Mutex<Weak<()>>,
}

impl MemoryStore {
    /// The store that all of this process know as `memory://name`; empty at first.
    pub fn named(name: &str) -> Arc<Self> {
        let make = || Arc::new(Self { name: name.to_string(), ..Self::default() });
        Arc::clone(lock(&STORES).entry(name.to_string()).or_insert_with(make))
    }
}

impl CheckpointStore for MemoryStore {
    fn location(&self) -> String {
        format!("memory://{}", self.name)
    }

    fn create(&self, name: &str, content: &[u8]) -> Result<Created> {
        let mut objects = lock(&self.objects);
        if objects.contains_key(name) {
            return Ok(Created::Exists);
        }
        objects.insert(name.to_string(), content.to_vec());
        Ok(Created::New)
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        Ok(lock(&self.objects).get(name).cloned())
    }

    fn list(&self, directory: &str) -> Result<Vec<String>> {
        let within = |name: &String| {
            let rest = name.strip_prefix(directory)?.strip_prefix('/')?;
            (!rest.contains('/')).then(|| rest.to_string())
        };
        Ok(lock(&self.objects).keys().filter_map(within).collect())
    }

    fn delete(&self, name: &str) -> Result<()> {
        lock(&self.objects).remove(name);
        Ok(())
    }

    fn lock(&self) -> Result<Option<StoreLock>> {
        let mut holder = lock(&self.holder);
        if holder.strong_count() > 0 {
            let text = format!("another query of this process runs with the checkpoint {}", self.location());
            return Err(Error::state(format!("{text}; stop it, or give this query a checkpointLocation of its own")));
        }
        let guard = Arc::new(());
        *holder = Arc::downgrade(&guard);
        Ok(Some(StoreLock::new(guard)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::conformance::check_store;

    #[test]
    fn a_store_of_a_name_is_one_store_that_one_query_uses_at_a_time() {
        let store = MemoryStore::named("conformance");
        check_store(store.as_ref()).unwrap();
        let guard = store.lock().unwrap();
        assert!(MemoryStore::named("conformance").lock().is_err());
        drop(guard);
        assert!(store.lock().unwrap().is_some());
    }
}
