//! The questions that every checkpoint store must answer alike.

use std::fmt::Debug;
use std::sync::Barrier;
use std::thread;

use super::broken;
use crate::error::{Error, Result};
use crate::store::{CheckpointStore, Created};

/// Asks an empty store everything a checkpoint relies on: objects are made once, whole and by one of those that race for them;
/// listed one level deep, deleted, and come back unchanged whatever their names and sizes.
///
/// That objects outlive a crash of the machine is the one thing it cannot ask.
///
/// # Errors
/// The first wrong answer, with the question; and errors of the store.
pub fn check_store(store: &dyn CheckpointStore) -> Result<()> {
    store.probe()?;
    expect("the names in the store behind a probe", names(store, "")?, Vec::new())?;
    objects_are_made_once(store)?;
    one_of_many_that_race_makes_the_object(store)?;
    directories_are_listed_one_level_deep(store)?;
    objects_are_deleted_once_or_twice(store)?;
    large_and_empty_objects_come_back_whole(store)?;
    names_with_odd_characters_come_back(store)
}

fn expect<T: PartialEq + Debug>(what: &str, found: T, wanted: T) -> Result<()> {
    if found == wanted { Ok(()) } else { Err(broken(&format!("{what}: {found:?} instead of {wanted:?}"))) }
}

fn names(store: &dyn CheckpointStore, directory: &str) -> Result<Vec<String>> {
    let mut names = store.list(directory)?;
    names.sort();
    Ok(names)
}

fn create(store: &dyn CheckpointStore, name: &str, content: &[u8], wanted: Created) -> Result<()> {
    expect(&format!("making `{name}`"), store.create(name, content)?, wanted)
}

fn expect_content(store: &dyn CheckpointStore, name: &str, wanted: Option<&[u8]>) -> Result<()> {
    // Without the content itself, which may be large.
    let lengths = |content: Option<&[u8]>| content.map(<[u8]>::len);
    let found = store.read(name)?;
    if found.as_deref() == wanted {
        return Ok(());
    }
    expect(&format!("the length of `{name}`"), lengths(found.as_deref()), lengths(wanted))?;
    Err(broken(&format!("`{name}` has another content of the same length")))
}

fn expect_names(store: &dyn CheckpointStore, directory: &str, wanted: &[&str]) -> Result<()> {
    let wanted: Vec<String> = wanted.iter().map(ToString::to_string).collect();
    expect(&format!("the names in `{directory}`"), names(store, directory)?, wanted)
}

fn objects_are_made_once(store: &dyn CheckpointStore) -> Result<()> {
    expect_content(store, "once/1", None)?;
    create(store, "once/1", b"first", Created::New)?;
    create(store, "once/1", b"second", Created::Exists)?;
    create(store, "once/1", b"first", Created::Exists)?;
    expect_content(store, "once/1", Some(b"first"))
}

fn one_of_many_that_race_makes_the_object(store: &dyn CheckpointStore) -> Result<()> {
    const RACERS: u8 = 8;
    for round in 0..10 {
        let name = format!("race/{round}");
        let start = Barrier::new(RACERS.into());
        let race = |racer: u8| {
            start.wait();
            store.create(&name, &[racer; 1000])
        };
        let race = &race;
        let results: Vec<Result<Created>> = thread::scope(|scope| {
            let racers: Vec<_> = (0..RACERS).map(|racer| scope.spawn(move || race(racer))).collect();
            let died = || Err(Error::internal("a racer panicked"));
            racers.into_iter().map(|racer| racer.join().unwrap_or_else(|_| died())).collect()
        });
        let results = results.into_iter().collect::<Result<Vec<_>>>()?;
        let winners: Vec<u8> = (0..RACERS).filter(|&racer| results[usize::from(racer)] == Created::New).collect();
        expect("of eight that race, how many win", winners.len(), 1)?;
        expect_content(store, &name, Some(&[winners[0]; 1000]))?;
    }
    expect("the names that ten races leave", names(store, "race")?.len(), 10)
}

fn directories_are_listed_one_level_deep(store: &dyn CheckpointStore) -> Result<()> {
    expect_names(store, "tree", &[])?;
    for name in ["tree/2", "tree/10", "tree/sub/3", "tree/sub/deep/4", "tree-like/5"] {
        create(store, name, name.as_bytes(), Created::New)?;
    }
    expect_names(store, "tree", &["10", "2"])?;
    expect_names(store, "tree/sub", &["3"])?;
    expect_names(store, "tree/sub/deep", &["4"])?;
    expect_names(store, "tre", &[])
}

fn objects_are_deleted_once_or_twice(store: &dyn CheckpointStore) -> Result<()> {
    store.delete("gone/never-there")?;
    create(store, "gone/1", b"a", Created::New)?;
    store.delete("gone/1")?;
    store.delete("gone/1")?;
    expect_content(store, "gone/1", None)?;
    expect_names(store, "gone", &[])?;
    create(store, "gone/1", b"b", Created::New)?;
    expect_content(store, "gone/1", Some(b"b"))
}

fn large_and_empty_objects_come_back_whole(store: &dyn CheckpointStore) -> Result<()> {
    let large: Vec<u8> = (0..8_u32 << 20).map(|at| at.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    create(store, "size/large", &large, Created::New)?;
    expect_content(store, "size/large", Some(&large))?;
    create(store, "size/empty", b"", Created::New)?;
    expect_content(store, "size/empty", Some(b""))
}

fn names_with_odd_characters_come_back(store: &dyn CheckpointStore) -> Result<()> {
    let odd = ["100%", "%20", "a b", "a#b", "a+b&c=d", "a.b.tmp", "größe", "what?", "x=1,y='2'", "~!@$*()[]"];
    for name in odd {
        let (name, content) = (format!("odd/{name}/{name}"), name.as_bytes());
        create(store, &name, content, Created::New)?;
        create(store, &name, content, Created::Exists)?;
        expect_content(store, &name, Some(content))?;
    }
    for name in odd {
        let directory = format!("odd/{name}");
        expect_names(store, &directory, &[name])?;
        store.delete(&format!("{directory}/{name}"))?;
        expect_names(store, &directory, &[])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemoryStore;

    /// Makes objects anew that are there.
    #[derive(Debug, Default)]
    struct Overwriting(MemoryStore);

    impl CheckpointStore for Overwriting {
        fn location(&self) -> String {
            "nowhere".to_string()
        }
        fn create(&self, name: &str, content: &[u8]) -> Result<Created> {
            self.0.delete(name)?;
            self.0.create(name, content)
        }
        fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
            self.0.read(name)
        }
        fn list(&self, directory: &str) -> Result<Vec<String>> {
            self.0.list(directory)
        }
        fn delete(&self, name: &str) -> Result<()> {
            self.0.delete(name)
        }
    }

    #[test]
    fn a_store_that_overwrites_is_told_from_one_that_does_not() {
        check_store(&MemoryStore::default()).unwrap();
        let error = check_store(&Overwriting::default()).unwrap_err().to_string();
        assert!(error.contains("making `once/1`: New instead of Exists"), "{error}");
    }
}
