//! The file sink stopped before every one of its steps.
//!
//! A run is a process that dies before its n-th step: nothing it does afterwards reaches the disk. What was prepared and
//! decided is all that a later run knows of it, as from the checkpoint.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{ArrayRef, StringArray};
use arrow::record_batch::RecordBatch;

use super::log::ManifestLog;
use super::tests::{prepare, sink, visible, words};
use super::*;
use crate::connector::{Prepared, SinkContext};

/// So many steps are never reached.
const ALIVE: usize = usize::MAX / 2;

fn dies_after(steps: usize) -> Disk {
    let left = Arc::new(AtomicUsize::new(steps));
    let take = move || left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
    Disk::with_steps(move || take().map(|_| ()).map_err(|_| io::Error::other("died")))
}

/// A checkpoint's query, run after run.
struct Query {
    directory: tempfile::TempDir,
    context: SinkContext,
}

impl Query {
    /// A query that has committed epoch 0.
    fn new() -> Self {
        let context = SinkContext::new("q", OutputMode::Append, words().schema());
        let query = Self { directory: tempfile::tempdir().unwrap(), context };
        let decided = query.prepare(ALIVE, 0).unwrap();
        query.commit(&Disk::default(), 0, &decided).unwrap();
        query
    }

    fn sink(&self, disk: Disk) -> FileSink {
        FileSink { disk, ..sink("csv", self.directory.path(), &[], &["day"]) }
    }

    fn prepare(&self, steps: usize, epoch: u64) -> Result<Vec<Prepared>> {
        self.prepare_on(&dies_after(steps), epoch)
    }

    /// Two writers prepare an epoch: the first has rows of two partitions, the second of one.
    fn prepare_on(&self, disk: &Disk, epoch: u64) -> Result<Vec<Prepared>> {
        let sink = self.sink(disk.clone());
        let rows = [rows(epoch), rows(epoch).slice(0, 1)];
        let write = |(instance, rows): (usize, &RecordBatch)| {
            let mut writer = sink.open(&SinkContext { instance, ..self.context.clone() })?;
            writer.begin(epoch)?;
            writer.write(rows)?;
            writer.prepare()
        };
        rows.iter().enumerate().map(write).collect()
    }

    fn commit(&self, disk: &Disk, epoch: u64, prepared: &[Prepared]) -> Result<()> {
        self.sink(disk.clone()).committer(&self.context)?.commit(epoch, prepared)
    }

    /// What a run that continues does first.
    fn recover(&self, disk: &Disk, last: u64, prepared: &[Prepared]) -> Result<()> {
        let mut committer = self.sink(disk.clone()).committer(&self.context)?;
        committer.commit(last, prepared)?;
        committer.recover(Some(last))
    }

    fn rows(&self) -> Vec<String> {
        let texts = visible(self.directory.path()).into_iter().map(|path| fs::read_to_string(path).unwrap());
        let mut rows: Vec<String> =
            texts.flat_map(|text| text.lines().map(ToString::to_string).collect::<Vec<_>>()).collect();
        rows.sort();
        rows
    }

    fn staged(&self) -> usize {
        let directory = self.directory.path().join(staging(self.context.checkpoint));
        fs::read_dir(directory).map_or(0, Iterator::count)
    }

    fn log_files(&self) -> usize {
        fs::read_dir(home(self.directory.path(), self.context.checkpoint).join("log")).unwrap().count()
    }

    /// The rows of these epochs are there once, the manifest names their files, and nothing else is left.
    fn assert_has(&self, epochs: u64, what: &str) {
        assert_eq!(self.rows(), all_rows(epochs), "{what}");
        assert_eq!(self.staged(), 0, "{what}");
        let committed = committed_files(self.directory.path(), self.context.checkpoint).unwrap();
        assert_eq!(committed.keys().copied().collect::<Vec<_>>(), (0..epochs).collect::<Vec<_>>(), "{what}");
        let named = committed.values().flatten().map(|file| (self.directory.path().join(&file.path), file.size));
        let seen =
            visible(self.directory.path()).into_iter().map(|path| (path.clone(), fs::metadata(path).unwrap().len()));
        assert_eq!(named.collect::<BTreeMap<_, _>>(), seen.collect::<BTreeMap<_, _>>(), "{what}");
    }
}

fn rows(epoch: u64) -> RecordBatch {
    let days: ArrayRef = Arc::new(StringArray::from(vec!["mo", "tu", "mo"]));
    let words = ["a", "b", "c"].map(|word| format!("{word}{epoch}"));
    RecordBatch::try_from_iter([("day", days), ("word", Arc::new(StringArray::from(words.to_vec())))]).unwrap()
}

fn all_rows(epochs: u64) -> Vec<String> {
    let of = |epoch| ["a", "a", "b", "c"].map(|word| format!("{word}{epoch}"));
    let mut rows: Vec<String> = (0..epochs).flat_map(of).collect();
    rows.sort();
    rows
}

/// Calls `run` with 0, 1, 2 … steps to live until it survives, and once more.
fn at_every_step(mut run: impl FnMut(usize) -> bool) -> usize {
    let steps = (0..10_000).find(|steps| run(*steps)).unwrap();
    assert!(run(ALIVE));
    steps
}

#[test]
fn an_attempt_that_was_not_decided_is_never_seen_and_goes_once_its_epoch_is_committed() {
    let steps = at_every_step(|steps| {
        let query = Query::new();
        let lost = query.prepare(steps, 1);
        assert_eq!(query.rows(), all_rows(1));
        let disk = Disk::default();
        query.recover(&disk, 0, &[]).unwrap();
        // Its process may still live and be about to decide.
        let kept = if lost.is_ok() { 3 } else { 0 };
        assert!(query.staged() >= kept, "{steps}");
        let decided = query.prepare_on(&disk, 1).unwrap();
        query.recover(&disk, 1, &decided).unwrap();
        query.assert_has(2, &format!("{steps} steps"));
        lost.is_ok()
    });
    assert!(steps > 10, "{steps}");
}

#[test]
fn a_commit_that_dies_anywhere_is_finished_by_the_next_even_if_that_dies_too() {
    at_every_step(|steps| {
        let mut has_survived = false;
        at_every_step(|again| {
            let query = Query::new();
            let decided = query.prepare(ALIVE, 1).unwrap();
            let zombie = query.prepare(ALIVE, 1).unwrap();
            has_survived = query.commit(&dies_after(steps), 1, &decided).is_ok();
            let is_recovered = query.recover(&dies_after(again), 1, &decided).is_ok();
            query.recover(&Disk::default(), 1, &decided).unwrap();
            let what = format!("died after {steps} and {again} steps");
            query.assert_has(2, &what);
            // An older run that lost the decision comes back and knows no better.
            query.commit(&Disk::default(), 1, &zombie).unwrap();
            query.recover(&Disk::default(), 1, &decided).unwrap();
            query.assert_has(2, &what);
            is_recovered
        });
        has_survived
    });
}

#[test]
fn of_two_attempts_that_both_believe_to_be_decided_the_first_in_the_manifest_wins() {
    at_every_step(|steps| {
        let query = Query::new();
        let (one, other) = (query.prepare(ALIVE, 1).unwrap(), query.prepare(ALIVE, 1).unwrap());
        let has_survived = query.commit(&dies_after(steps), 1, &one).is_ok();
        query.commit(&Disk::default(), 1, &other).unwrap();
        query.recover(&Disk::default(), 1, &one).unwrap();
        query.assert_has(2, &format!("{steps} steps"));
        has_survived
    });
}

#[test]
fn files_that_a_reader_moved_on_do_not_come_back_wherever_the_commit_died() {
    at_every_step(|steps| {
        let query = Query::new();
        let decided = query.prepare(ALIVE, 1).unwrap();
        let has_survived = query.commit(&dies_after(steps), 1, &decided).is_ok();
        let mut read = Vec::new();
        let mut consume = || {
            read.extend(query.rows());
            for path in visible(query.directory.path()) {
                fs::remove_file(path).unwrap();
            }
        };
        consume();
        query.recover(&Disk::default(), 1, &decided).unwrap();
        consume();
        query.recover(&Disk::default(), 1, &decided).unwrap();
        consume();
        read.sort();
        assert_eq!(read, all_rows(2), "{steps} steps");
        has_survived
    });
}

#[test]
fn staged_files_of_later_epochs_stay_for_a_process_that_may_still_commit_them() {
    let query = Query::new();
    let zombie = query.prepare(ALIVE, 1).unwrap();
    query.recover(&Disk::default(), 0, &[]).unwrap();
    query.commit(&Disk::default(), 1, &zombie).unwrap();
    query.assert_has(2, "the older run decided");
    let mut committer = query.sink(Disk::default()).committer(&query.context).unwrap();
    committer.recover(None).unwrap();
    query.assert_has(2, "nothing to continue");
}

/// A log of the epochs 0 to `epochs`, each with one file of its own name.
fn log_of(directory: &Path, checkpoint: Uuid, epochs: u64) -> BTreeMap<u64, Vec<CommittedFile>> {
    let mut log = ManifestLog::new(directory, checkpoint, Disk::default());
    let file = |epoch: u64| vec![CommittedFile { path: epoch.to_string(), size: epoch }];
    for epoch in 0..epochs {
        log.create(epoch, file(epoch)).unwrap();
        log.compact().unwrap();
    }
    (0..epochs).map(|epoch| (epoch, file(epoch))).collect()
}

#[test]
fn the_log_has_some_dozens_of_files_however_many_epochs_there_are() {
    let query = Query::new();
    let mut most = 0;
    let mut log = ManifestLog::new(query.directory.path(), query.context.checkpoint, Disk::default());
    for epoch in (1..1100).filter(|epoch| epoch % 10 != 7) {
        log.create(epoch, Vec::new()).unwrap();
        log.compact().unwrap();
        most = most.max(query.log_files());
        assert_eq!(log.last().unwrap(), Some(epoch));
    }
    assert!(most <= 2 * 32, "{most}");
    let committed = committed_files(query.directory.path(), query.context.checkpoint).unwrap();
    assert_eq!((committed.len(), committed[&0].len()), (990, 3));
    assert!(log.epoch(7).unwrap().is_empty());
}

#[test]
fn a_merge_that_dies_anywhere_loses_nothing_and_is_made_up_for() {
    let checkpoint = Uuid::new_v4();
    at_every_step(|steps| {
        let directory = tempfile::tempdir().unwrap();
        let mut expected = log_of(directory.path(), checkpoint, 31);
        let mut dying = ManifestLog::new(directory.path(), checkpoint, Disk::default());
        dying.create(31, Vec::new()).unwrap();
        expected.insert(31, Vec::new());
        let has_survived = ManifestLog::new(directory.path(), checkpoint, dies_after(steps)).compact().is_ok();
        assert_eq!(committed_files(directory.path(), checkpoint).unwrap(), expected, "{steps}");
        // Of an older run that was slow: merged already, or the same.
        dying.create(5, Vec::new()).unwrap();
        let log = ManifestLog::new(directory.path(), checkpoint, Disk::default());
        log.compact().unwrap();
        log.clean(31).unwrap();
        assert_eq!(committed_files(directory.path(), checkpoint).unwrap(), expected, "{steps}");
        assert_eq!(fs::read_dir(home(directory.path(), checkpoint).join("log")).unwrap().count(), 1, "{steps}");
        has_survived
    });
}

#[test]
fn an_unreadable_manifest_is_named_with_the_remedy() {
    let query = Query::new();
    let manifest = home(query.directory.path(), query.context.checkpoint).join("log/0");
    for (content, what) in [("{", "EOF"), (r#"{"version":9,"epochs":{}}"#, "version 9")] {
        fs::write(&manifest, content).unwrap();
        let error = committed_files(query.directory.path(), query.context.checkpoint).unwrap_err();
        let message = error.message();
        assert!(message.contains("log/0") && message.contains(what) && message.contains("restore it"), "{error}");
    }
}

#[test]
fn a_disk_without_room_is_an_error_with_the_remedy_and_leaves_nothing_behind() {
    let query = Query::new();
    let syncs = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&syncs);
    // Full for a moment in the middle of the second file.
    let full = Disk::with_steps(move || match counter.fetch_add(1, Ordering::Relaxed) {
        8 => Err(io::ErrorKind::StorageFull.into()),
        _ => Ok(()),
    });
    let mut writer = query.sink(full).open(&query.context).unwrap();
    writer.begin(1).unwrap();
    let failed = writer.write(&rows(1)).and_then(|()| writer.prepare().map(|_| ()));
    let error = failed.unwrap_err();
    assert!(error.message().contains("make room there") && error.message().contains("_millstream"), "{error}");
    drop(writer);
    assert_eq!(query.staged(), 0);
    let prepared = prepare(query.sink(Disk::default()).open(&query.context).unwrap().as_mut(), 1, &[rows(1)]);
    query.commit(&Disk::default(), 1, &[prepared]).unwrap();
    assert_eq!(query.rows().len(), 7);
}
