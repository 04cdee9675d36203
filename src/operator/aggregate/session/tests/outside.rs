//! Sessions outside memory: what is looked up there, when, and what is left.

use std::sync::{Mutex, MutexGuard};

use super::*;
use crate::operator::ColdStore;

/// A store that a test can look into.
#[derive(Debug, Clone, Default)]
struct Watched(Arc<Mutex<Calls>>);

#[derive(Debug, Default)]
struct Calls {
    store: MapStore,
    /// The keys of each look-up.
    lookups: Vec<Vec<Vec<u8>>>,
    scanned: usize,
    /// Calls of any kind.
    count: usize,
}

impl Watched {
    /// An operator for sessions by `word` that keeps `bytes` behind a snapshot, and others here.
    fn behind(&self, mode: OutputMode, bytes: usize) -> FinalSessions {
        let mut operator = open(mode, 1);
        operator.limit_memory(StateBudget { bytes, store: Box::new(self.clone()) }).unwrap();
        operator
    }

    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.0.lock().unwrap()
    }

    fn call(&self) -> MutexGuard<'_, Calls> {
        let mut calls = self.calls();
        calls.count += 1;
        calls
    }

    /// How many rows there are.
    fn rows(&self) -> usize {
        let mut rows = 0;
        self.calls().store.scan(&[], &[u8::MAX], usize::MAX, &mut |_, _| rows += 1).unwrap();
        rows
    }
}

impl ColdStore for Watched {
    fn put(&mut self, rows: &mut dyn Iterator<Item = (&[u8], &[u8])>) -> Result<u64> {
        self.call().store.put(rows)
    }

    fn get(&mut self, keys: &mut dyn Iterator<Item = &[u8]>, found: &mut dyn FnMut(usize, &[u8])) -> Result<()> {
        let keys: Vec<Vec<u8>> = keys.map(<[u8]>::to_vec).collect();
        let mut calls = self.call();
        calls.store.get(&mut keys.iter().map(Vec::as_slice), found)?;
        calls.lookups.push(keys);
        Ok(())
    }

    fn scan(&mut self, from: &[u8], to: &[u8], most: usize, each: &mut dyn FnMut(&[u8], &[u8])) -> Result<()> {
        let mut scanned = 0;
        let mut calls = self.call();
        calls.store.scan(from, to, most, &mut |key, value| {
            scanned += 1;
            each(key, value);
        })?;
        calls.scanned += scanned;
        Ok(())
    }

    fn scan_prefixes(
        &mut self,
        prefixes: &mut dyn Iterator<Item = &[u8]>,
        each: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<()> {
        self.call().store.scan_prefixes(prefixes, each)
    }

    fn remove(&mut self, from: &[u8], to: &[u8]) -> Result<()> {
        self.call().store.remove(from, to)
    }

    fn remove_each(&mut self, keys: &mut dyn Iterator<Item = &[u8]>) -> Result<()> {
        self.call().store.remove_each(keys)
    }
}

fn counts(stats: &OperatorStats) -> (Option<u64>, u64, u64) {
    (stats.state_rows, stats.updated_rows, stats.removed_rows)
}

#[test]
fn a_row_makes_one_of_sessions_that_are_outside() {
    let store = Watched::default();
    let mut operator = store.behind(OutputMode::Append, 0);
    epoch(&mut operator, &[row("a", 1000, 1000), row("a", 4000, 1000), row("a", 7000, 1000), row("b", 2000, 1000)], 0);
    saved(&mut operator);
    let stats = operator.take_stats();
    // Of each key a row by itself and one by time.
    assert_eq!((stats.state_rows, stats.rows_outside, store.rows()), (Some(4), Some(4), 4));

    let (rows, stats) = epoch(&mut operator, &[row("a", 2000, 2000)], 0);
    assert!(rows.is_empty());
    assert_eq!(counts(&stats), (Some(3), 1, 1));
    assert_eq!(saved(&mut operator), [key("a", None), key("a", Some((1000, 3))), key("a", Some((7000, 1)))]);
    assert_eq!(store.rows(), 4);

    let (rows, stats) = epoch(&mut operator, &[], 5);
    assert_eq!(rows, [shown("b", 2000, 3000, 1), shown("a", 1000, 5000, 3)]);
    assert_eq!(counts(&stats), (Some(1), 0, 2));
    assert_eq!(saved(&mut operator), [key("b", None), key("a", None), key("a", Some((7000, 1)))]);
    assert_eq!(store.rows(), 2);

    assert_eq!(epoch(&mut operator, &[], 8).0, [shown("a", 7000, 8000, 1)]);
    assert_eq!(saved(&mut operator), [key("a", None)]);
    assert_eq!((store.rows(), operator.take_stats().rows_outside), (0, Some(0)));
}

#[test]
fn a_batch_looks_up_the_keys_that_are_not_in_memory_once_in_order() {
    let store = Watched::default();
    let mut operator = store.behind(OutputMode::Append, 0);
    epoch(&mut operator, &[row("a", 0, 10), row("b", 0, 10), row("stays", 0, 10)], 0);
    assert_eq!(store.calls().count, 0, "nothing is outside");
    operator.snapshot().unwrap();

    epoch(&mut operator, &[row("b", 5, 10), row("c", 5, 10), row("b", 5000, 10), row("a", 5, 10)], 0);
    let lookups = std::mem::take(&mut store.calls().lookups);
    assert_eq!(lookups.len(), 1);
    assert_eq!(lookups[0].len(), 3);
    assert!(lookups[0].is_sorted_by(|a, b| a < b), "{lookups:?}");

    epoch(&mut operator, &[row("a", 9, 10), row("b", 9, 10)], 0);
    assert!(store.calls().lookups.is_empty(), "both came back");
    epoch(&mut operator, &[row("a", 9, 10), row("d", 9, 10)], 0);
    assert_eq!(store.calls().lookups[0].len(), 1);
}

#[test]
fn sessions_outside_end_in_order_and_the_others_are_not_read() {
    let store = Watched::default();
    let mut operator = store.behind(OutputMode::Append, 0);
    let words = words(100);
    let mut rows: Vec<Row> = (0_i64..).zip(&words).map(|(n, &word)| row(word, n / 2 * 1000, 500)).collect();
    rows.push(row(words[4], 60_000, 500));
    epoch(&mut operator, &rows, 0);
    operator.snapshot().unwrap();

    // One that is in memory ends among them.
    let (shown_rows, stats) = epoch(&mut operator, &[row("new", 2000, 600)], 10);
    let ends: Vec<i64> = shown_rows.iter().map(|row| row.end).collect();
    let expected: Vec<i64> = (0..10).flat_map(|n| [n * 1000 + 500; 2]).collect();
    assert!(ends.is_sorted());
    assert_eq!(ends.iter().filter(|end| **end != 2600).copied().collect::<Vec<_>>(), expected);
    assert_eq!((shown_rows.len(), counts(&stats)), (21, (Some(81), 1, 21)));
    assert_eq!(store.calls().scanned, 20);
    let changed = saved(&mut operator);
    assert_eq!(changed.len(), 21);
    assert!(changed.contains(&key("4", Some((60_000, 1)))));

    // Nothing new has ended.
    store.calls().lookups.clear();
    assert!(epoch(&mut operator, &[], 10).0.is_empty());
    assert!(store.calls().lookups.is_empty());
    assert_eq!(epoch(&mut operator, &[], 61).0.len(), 81);
    operator.snapshot().unwrap();
    assert_eq!(store.rows(), 0);
}

#[test]
fn what_had_rows_last_stays_in_memory_within_half_of_the_budget() {
    let store = Watched::default();
    let budget = 200_000;
    let mut operator = store.behind(OutputMode::Append, budget);
    let words = words(5000);
    let rows: Vec<Row> = (0_i64..).zip(&words).map(|(n, &word)| row(word, n, 1000)).collect();
    let (_, before) = epoch(&mut operator, &rows, 0);
    assert!(before.state_bytes > budget as u64);
    operator.snapshot().unwrap();
    let after = operator.take_stats();
    assert!(after.state_bytes <= budget as u64 / 2, "{} bytes", after.state_bytes);
    let inside = after.state_rows.unwrap() - after.rows_outside.unwrap();
    assert!(inside > 100, "{inside} sessions stay");

    let latest: Vec<Row> = words[4900..].iter().map(|&word| row(word, 5000, 1000)).collect();
    let (_, stats) = epoch(&mut operator, &latest, 0);
    assert!(store.calls().lookups.is_empty());
    assert_eq!(counts(&stats), (Some(5000), 100, 0));
}

#[test]
fn state_that_comes_back_goes_outside_and_what_it_says_is_gone_is_gone() {
    let (mut operator, mut files) = (open(OutputMode::Append, 1), Saved::new());
    for (rows, evict_ms) in [(&[row("a", 0, 9000), row("b", 0, 1000)][..], 0), (&[row("a", 20_000, 10)][..], 1)] {
        epoch(&mut operator, rows, evict_ms);
        files.extend(operator.snapshot().unwrap().unwrap().changed);
    }
    let store = Watched::default();
    let mut operator = store.behind(OutputMode::Append, 0);
    restore(&mut operator, 0, 1, &files);
    let stats = operator.take_stats();
    assert_eq!((stats.state_rows, stats.rows_outside, store.rows()), (Some(2), Some(2), 2));
    assert!(!operator.save_all());
    let (rows, _) = epoch(&mut operator, &[row("b", 500, 1000)], 9);
    assert_eq!(rows, [shown("b", 500, 1500, 1), shown("a", 0, 9000, 1)]);
    assert_eq!(saved(&mut operator), [key("a", None), key("a", Some((20_000, 1)))]);
}

#[test]
fn a_complete_result_is_read_page_by_page_and_pauses() {
    let store = Watched::default();
    let mut operator = store.behind(OutputMode::Complete, 0);
    let words = words(40);
    let rows: Vec<Row> = words.iter().map(|&word| row(word, 0, 10)).collect();
    epoch(&mut operator, &rows, 0);
    operator.snapshot().unwrap();
    assert_eq!(store.rows(), 40, "nothing is ever final, so there is nothing by time");

    operator.on_watermark(time(0, 0), &mut Output::default()).unwrap();
    let mut output = Output::default();
    for state in states(&[row(words[7], 5, 20)]) {
        assert_eq!(operator.on_batch(0, state, &mut output).unwrap(), Flow::Done);
    }
    let mut flow = operator.on_barrier(&barrier(true), &mut output).unwrap();
    assert_eq!(flow, Flow::More);
    let mut batches = output.take_batches();
    assert_eq!(batches.len(), 4);
    while flow == Flow::More {
        flow = operator.resume(&mut output).unwrap();
        batches.extend(output.take_batches());
    }
    let mut rows: Vec<Shown> = batches.iter().flat_map(|records| read(records, 1)).collect();
    let mut expected: Vec<Shown> = words.iter().map(|&word| shown(word, 0, 10, 1)).collect();
    expected[7] = shown(words[7], 0, 25, 2);
    rows.sort();
    expected.sort();
    assert_eq!(rows, expected);
    assert_eq!(operator.take_stats().state_rows, Some(40));
}
