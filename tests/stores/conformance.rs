//! The questions that every checkpoint store must answer alike.

use std::sync::Barrier;
use std::thread;

use millstream::store::{CheckpointStore, Created};

/// Asks them all. The store should be empty.
pub(crate) fn conforms(store: &dyn CheckpointStore) {
    store.probe().unwrap();
    assert_eq!(names(store, ""), [""; 0], "a probe leaves nothing");
    objects_are_made_once(store);
    one_of_many_that_race_makes_the_object(store);
    directories_are_listed_one_level_deep(store);
    objects_are_deleted_once_or_twice(store);
    large_and_empty_objects_come_back_whole(store);
    names_with_odd_characters_come_back(store);
}

fn names(store: &dyn CheckpointStore, directory: &str) -> Vec<String> {
    let mut names = store.list(directory).unwrap();
    names.sort();
    names
}

fn objects_are_made_once(store: &dyn CheckpointStore) {
    assert_eq!(store.read("once/1").unwrap(), None);
    assert_eq!(store.create("once/1", b"first").unwrap(), Created::New);
    assert_eq!(store.create("once/1", b"second").unwrap(), Created::Exists);
    assert_eq!(store.create("once/1", b"first").unwrap(), Created::Exists, "also with the same content");
    assert_eq!(store.read("once/1").unwrap().unwrap(), b"first");
}

fn one_of_many_that_race_makes_the_object(store: &dyn CheckpointStore) {
    const RACERS: u8 = 8;
    for round in 0..10 {
        let name = format!("race/{round}");
        let start = Barrier::new(RACERS.into());
        let race = |racer: u8| {
            start.wait();
            store.create(&name, &[racer; 1000]).unwrap()
        };
        let race = &race;
        let results: Vec<Created> = thread::scope(|scope| {
            let racers: Vec<_> = (0..RACERS).map(|racer| scope.spawn(move || race(racer))).collect();
            racers.into_iter().map(|racer| racer.join().unwrap()).collect()
        });
        let winners: Vec<u8> = (0..RACERS).filter(|&racer| results[usize::from(racer)] == Created::New).collect();
        assert_eq!(winners.len(), 1, "round {round}: {results:?}");
        assert_eq!(store.read(&name).unwrap().unwrap(), [winners[0]; 1000], "the winner's content is kept");
    }
    assert_eq!(store.list("race").unwrap().len(), 10, "the losers leave nothing to see");
}

fn directories_are_listed_one_level_deep(store: &dyn CheckpointStore) {
    assert_eq!(names(store, "tree"), [""; 0], "a directory that is not there is empty");
    for name in ["tree/2", "tree/10", "tree/sub/3", "tree/sub/deep/4", "tree-like/5"] {
        assert_eq!(store.create(name, name.as_bytes()).unwrap(), Created::New);
    }
    assert_eq!(names(store, "tree"), ["10", "2"]);
    assert_eq!(names(store, "tree/sub"), ["3"]);
    assert_eq!(names(store, "tree/sub/deep"), ["4"]);
    assert_eq!(names(store, "tre"), [""; 0], "a part of a name is no directory");
}

fn objects_are_deleted_once_or_twice(store: &dyn CheckpointStore) {
    store.delete("gone/never-there").unwrap();
    assert_eq!(store.create("gone/1", b"a").unwrap(), Created::New);
    store.delete("gone/1").unwrap();
    store.delete("gone/1").unwrap();
    assert_eq!(store.read("gone/1").unwrap(), None);
    assert_eq!(names(store, "gone"), [""; 0]);
    assert_eq!(store.create("gone/1", b"b").unwrap(), Created::New);
    assert_eq!(store.read("gone/1").unwrap().unwrap(), b"b");
}

fn large_and_empty_objects_come_back_whole(store: &dyn CheckpointStore) {
    let large: Vec<u8> = (0..8_u32 << 20).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    assert_eq!(store.create("size/large", &large).unwrap(), Created::New);
    assert!(store.read("size/large").unwrap().unwrap() == large);
    assert_eq!(store.create("size/empty", b"").unwrap(), Created::New);
    assert_eq!(store.read("size/empty").unwrap().unwrap(), b"");
}

fn names_with_odd_characters_come_back(store: &dyn CheckpointStore) {
    let odd = ["100%", "%20", "a b", "a#b", "a+b&c=d", "a.b.tmp", "größe", "what?", "x=1,y='2'", "~!@$*()[]"];
    for name in odd {
        let (name, content) = (format!("odd/{name}/{name}"), name.as_bytes());
        assert_eq!(store.create(&name, content).unwrap(), Created::New, "{name}");
        assert_eq!(store.create(&name, content).unwrap(), Created::Exists, "{name}");
        assert_eq!(store.read(&name).unwrap().unwrap(), content, "{name}");
    }
    for name in odd {
        assert_eq!(names(store, &format!("odd/{name}")), [name]);
        store.delete(&format!("odd/{name}/{name}")).unwrap();
        assert_eq!(names(store, &format!("odd/{name}")), [""; 0]);
    }
}
