//! State on this machine's disk, in a B-tree of [redb](https://www.redb.org): the cargo feature `spill`.
//!
//! Owns: the file and its errors. Does not own: what a row means (operators), or when it goes there.
//!
//! The file has no name any more once it is open where the system allows that, so that it goes with the process however that ends.
//! Nothing waits for the disk: what is here can be made again from the checkpoint.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use redb::{Builder, Database, ReadableDatabase, StorageBackend, TableDefinition};

use crate::clock::lock;
use crate::error::{Error, Result};
use crate::state::ColdStore;

const ROWS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("rows");

/// Rows of one operator instance in a file of their own.
#[derive(Debug)]
pub(crate) struct SpillFile {
    database: Database,
    path: PathBuf,
}

impl SpillFile {
    /// A new file in `directory`, of which at most about `cache_bytes` are kept in memory.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(crate) fn create(directory: &Path, cache_bytes: usize) -> Result<Self> {
        let path = directory.join(format!("millstream-state-{}", uuid::Uuid::new_v4()));
        let open = OpenOptions::new().read(true).write(true).create_new(true).open(&path);
        let file = open.map_err(|error| failed(&path, "make", &error))?;
        // Elsewhere the file goes when the store is dropped.
        let _ = std::fs::remove_file(&path);
        let mut builder = Builder::new();
        builder.set_cache_size(cache_bytes);
        let backend = Unsynced(Mutex::new(file));
        let database = builder.create_with_backend(backend).map_err(|error| failed(&path, "make", &error))?;
        let store = Self { database, path };
        store.write(|_| Ok(())).map(|()| store)
    }

    fn write<T>(&self, work: impl FnOnce(&mut redb::Table<'_, &[u8], &[u8]>) -> Result<T, redb::Error>) -> Result<T> {
        let run = || -> Result<T, redb::Error> {
            let transaction = self.database.begin_write()?;
            let answer = work(&mut transaction.open_table(ROWS)?)?;
            transaction.commit()?;
            Ok(answer)
        };
        run().map_err(|error| failed(&self.path, "write", &error))
    }

    fn read<T>(
        &self,
        work: impl FnOnce(&redb::ReadOnlyTable<&'static [u8], &'static [u8]>) -> Result<T, redb::Error>,
    ) -> Result<T> {
        let run = || -> Result<T, redb::Error> { work(&self.database.begin_read()?.open_table(ROWS)?) };
        run().map_err(|error| failed(&self.path, "read", &error))
    }
}

impl Drop for SpillFile {
    fn drop(&mut self) {
        // An error means that it is gone already.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn failed(path: &Path, what: &str, error: &dyn std::fmt::Display) -> Error {
    let directory = path.parent().unwrap_or(path).display();
    Error::connector(format!(
        "cannot {what} state beyond memory in `{directory}`: {error}; make room there, or set TMPDIR to another directory"
    ))
}

impl ColdStore for SpillFile {
    fn put(&mut self, rows: &mut dyn Iterator<Item = (&[u8], &[u8])>) -> Result<u64> {
        self.write(|table| {
            let mut added = 0;
            for (key, value) in rows {
                added += u64::from(table.insert(key, value)?.is_none());
            }
            Ok(added)
        })
    }

    fn get(&mut self, keys: &mut dyn Iterator<Item = &[u8]>, found: &mut dyn FnMut(usize, &[u8])) -> Result<()> {
        self.read(|table| {
            for (number, key) in keys.enumerate() {
                if let Some(value) = table.get(key)? {
                    found(number, value.value());
                }
            }
            Ok(())
        })
    }

    fn scan(&mut self, from: &[u8], to: &[u8], most: usize, each: &mut dyn FnMut(&[u8], &[u8])) -> Result<()> {
        self.read(|table| {
            for row in table.range(from..to)?.take(most) {
                let (key, value) = row?;
                each(key.value(), value.value());
            }
            Ok(())
        })
    }

    fn remove(&mut self, from: &[u8], to: &[u8]) -> Result<()> {
        self.write(|table| Ok(table.retain_in(from..to, |_, _| false)?))
    }

    fn remove_keys(&mut self, keys: &mut dyn Iterator<Item = &[u8]>) -> Result<()> {
        self.write(|table| {
            for key in keys {
                table.remove(key)?;
            }
            Ok(())
        })
    }
}

/// A file that never waits for the disk.
#[derive(Debug)]
struct Unsynced(Mutex<File>);

impl StorageBackend for Unsynced {
    fn len(&self) -> std::io::Result<u64> {
        Ok(lock(&self.0).metadata()?.len())
    }

    #[cfg(unix)]
    fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(&*lock(&self.0), out, offset)
    }

    #[cfg(not(unix))]
    fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        use std::io::{Read, Seek};
        let mut file = lock(&self.0);
        file.seek(std::io::SeekFrom::Start(offset))?;
        file.read_exact(out)
    }

    fn set_len(&self, len: u64) -> std::io::Result<()> {
        lock(&self.0).set_len(len)
    }

    fn sync_data(&self) -> std::io::Result<()> {
        Ok(())
    }

    #[cfg(unix)]
    fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        std::os::unix::fs::FileExt::write_all_at(&*lock(&self.0), data, offset)
    }

    #[cfg(not(unix))]
    fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        use std::io::{Seek, Write};
        let mut file = lock(&self.0);
        file.seek(std::io::SeekFrom::Start(offset))?;
        file.write_all(data)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::state::MapStore;

    #[derive(Debug, Clone)]
    enum Call {
        Put(Vec<(Vec<u8>, Vec<u8>)>),
        Get(Vec<Vec<u8>>),
        Scan(Vec<u8>, Vec<u8>, usize),
        Remove(Vec<u8>, Vec<u8>),
        RemoveKeys(Vec<Vec<u8>>),
    }

    fn key() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(0..4_u8, 1..4)
    }

    fn call() -> impl Strategy<Value = Call> {
        let row = (key(), prop::collection::vec(any::<u8>(), 0..300));
        let range = || (key(), key()).prop_map(|(a, b)| if a <= b { (a, b) } else { (b, a) });
        prop_oneof![
            3 => prop::collection::vec(row, 0..40).prop_map(Call::Put),
            2 => prop::collection::vec(key(), 0..10).prop_map(Call::Get),
            2 => (range(), 1..5_usize).prop_map(|((from, to), most)| Call::Scan(from, to, most)),
            1 => range().prop_map(|(from, to)| Call::Remove(from, to)),
            1 => prop::collection::vec(key(), 0..10).prop_map(Call::RemoveKeys),
        ]
    }

    fn answer(store: &mut dyn ColdStore, call: &Call) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut answer = Vec::new();
        match call {
            Call::Put(rows) => {
                let mut rows = rows.iter().map(|(key, value)| (key.as_slice(), value.as_slice()));
                let added = store.put(&mut rows).unwrap();
                answer.push((added.to_be_bytes().to_vec(), Vec::new()));
            }
            Call::Get(keys) => {
                let mut keys = keys.iter().map(Vec::as_slice);
                let mut found =
                    |number: usize, value: &[u8]| answer.push((number.to_be_bytes().to_vec(), value.to_vec()));
                store.get(&mut keys, &mut found).unwrap();
            }
            Call::Scan(from, to, most) => {
                store.scan(from, to, *most, &mut |key, value| answer.push((key.to_vec(), value.to_vec()))).unwrap();
            }
            Call::Remove(from, to) => store.remove(from, to).unwrap(),
            Call::RemoveKeys(keys) => store.remove_keys(&mut keys.iter().map(Vec::as_slice)).unwrap(),
        }
        answer
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn a_file_answers_as_a_map_does(calls in prop::collection::vec(call(), 1..30)) {
            let directory = tempfile::tempdir().unwrap();
            let mut file = SpillFile::create(directory.path(), 1 << 20).unwrap();
            let mut map = MapStore::default();
            for call in &calls {
                prop_assert_eq!(answer(&mut file, call), answer(&mut map, call), "{:?}", call);
            }
        }
    }

    #[test]
    fn a_directory_that_is_not_there_is_named_with_a_remedy() {
        let error = SpillFile::create(Path::new("/nowhere/at/all"), 1 << 20).unwrap_err().to_string();
        assert!(error.contains("/nowhere/at/all") && error.contains("TMPDIR"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn nothing_is_left_in_the_directory() {
        let directory = tempfile::tempdir().unwrap();
        let mut file = SpillFile::create(directory.path(), 1 << 20).unwrap();
        file.put(&mut [(b"key".as_slice(), b"value".as_slice())].into_iter()).unwrap();
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
