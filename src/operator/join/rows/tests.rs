use std::sync::Arc;

use arrow::array::{AsArray, Int64Array, StringViewArray};
use arrow::datatypes::Int64Type;
use proptest::prelude::*;

use super::*;
use crate::protocol::key_group::hash_rows;

fn batch(numbers: &[i64]) -> RecordBatch {
    let keys: ArrayRef = Arc::new(Int64Array::from(numbers.to_vec()));
    let text = |number: &i64| Some(format!("text of row {number}, too long for a view"));
    let texts: ArrayRef = Arc::new(numbers.iter().map(text).collect::<StringViewArray>());
    RecordBatch::try_from_iter([("k", keys), ("text", texts)]).unwrap()
}

/// Stores a row of each number; its time is the number.
fn store(rows: &mut SideRows, numbers: &[i64]) {
    let records = batch(numbers);
    let hashes = hash_rows(&[Arc::clone(records.column(0))]);
    let new = NewRows { times: numbers, ..NewRows::new(&records, &hashes) };
    rows.add(&new).unwrap();
}

fn free(rows: &mut SideRows, limit: i64) -> usize {
    let mut freed = 0;
    while let Some(expired) = rows.expire(limit, true) {
        freed += expired.rows;
        rows.settle(expired.page).unwrap();
    }
    freed
}

/// The texts of the rows with this key.
fn found(rows: &SideRows, key: i64) -> usize {
    let hash = hash_rows(&[Arc::new(Int64Array::from(vec![key])) as ArrayRef])[0];
    let mut chain = vec![rows.first(hash)];
    while let Some(row) = chain.last().filter(|row| **row != NO_ROW) {
        chain.push(rows.next(*row));
    }
    chain.pop();
    let texts = rows.gather(1, &rows.places(&chain)).unwrap();
    let wanted = format!("text of row {key}, too long for a view");
    assert!(texts.as_string_view().iter().all(|text| text == Some(wanted.as_str())));
    chain.len()
}

#[test]
fn memory_goes_with_the_rows_and_pages_are_used_again() {
    let mut rows = SideRows::new(batch(&[]).schema());
    let empty = rows.bytes();
    for round in 0..50 {
        store(&mut rows, &(round * 100..round * 100 + 100).collect::<Vec<_>>());
        assert_eq!(free(&mut rows, round * 100 + 99), 100);
        assert_eq!(rows.len(), 0);
    }
    assert!(rows.pages.len() <= 100 / PAGE_ROWS + 2, "{} pages", rows.pages.len());
    assert!(rows.bytes() < empty + 10_000, "{} bytes", rows.bytes());
}

#[test]
fn a_straggler_in_each_page_moves_and_is_found_again() {
    let mut rows = SideRows::new(batch(&[]).schema());
    let numbers: Vec<i64> = (0..400).map(|row| if row % 8 == 3 { 10_000 + row } else { row }).collect();
    store(&mut rows, &numbers);
    assert_eq!(free(&mut rows, 5_000), 350);
    assert_eq!(rows.len(), 50);
    let pages = rows.pages.len();
    assert!(pages <= 50 / PAGE_ROWS + 2, "{pages} pages for 50 rows");
    for row in 0..400 {
        assert_eq!(found(&rows, 10_000 + row), usize::from(row % 8 == 3), "{row}");
        assert_eq!(found(&rows, row), 0);
    }
}

/// The numbers of the rows told as new, and the serials of those told as changed.
fn told(rows: &mut SideRows) -> (Vec<i64>, Vec<(u64, Change)>) {
    let changes = rows.take_changes();
    let new = rows.records(&changes.new).unwrap();
    let new = new.column(0).as_primitive::<Int64Type>().values().to_vec();
    (new, changes.changed.iter().map(|row| (row.serial, row.what)).collect())
}

/// The row with this key, which only one has.
fn row_of(rows: &SideRows, key: i64) -> u32 {
    rows.first(hash_rows(&[Arc::new(Int64Array::from(vec![key])) as ArrayRef])[0])
}

#[test]
fn a_snapshot_is_told_what_is_new_matched_or_removed_and_nothing_of_what_time_frees() {
    let mut rows = SideRows::new(batch(&[]).schema());
    store(&mut rows, &[1, 2, 3, 4, 5]);
    assert!(!rows.mark_matched(row_of(&rows, 2)));
    rows.remove(&[row_of(&rows, 5)]).unwrap();
    assert_eq!(told(&mut rows), (vec![1, 2, 3, 4], vec![]));
    store(&mut rows, &[6]);
    for key in [1, 2, 3, 3, 6] {
        rows.mark_matched(row_of(&rows, key));
    }
    rows.remove(&[row_of(&rows, 4)]).unwrap();
    free(&mut rows, 1);
    assert_eq!(told(&mut rows), (vec![6], vec![(3, Change::Removed), (2, Change::Matched)]));
    assert_eq!(told(&mut rows), (vec![], vec![]));
    rows.save_all();
    assert_eq!(told(&mut rows), (vec![2, 3, 6], vec![]));
    assert_eq!(told(&mut rows), (vec![], vec![]));
}

#[test]
fn rows_that_move_keep_their_serials_and_are_told_once() {
    let mut rows = SideRows::new(batch(&[]).schema());
    let numbers: Vec<i64> = (0..200).map(|row| if row % 8 == 3 { 10_000 + row } else { row }).collect();
    store(&mut rows, &numbers[..100]);
    assert_eq!(told(&mut rows).0, numbers[..100]);
    store(&mut rows, &numbers[100..]);
    rows.mark_matched(row_of(&rows, 10_003));
    let stays: Vec<i64> = numbers.iter().copied().filter(|number| *number >= 10_000).collect();
    assert_eq!(free(&mut rows, 5_000), 200 - stays.len());
    assert_eq!(told(&mut rows), (stays[13..].to_vec(), vec![(3, Change::Matched)]));
    for key in &stays {
        let (_, serial, is_matched) = rows.identity(row_of(&rows, *key));
        assert_eq!((serial, is_matched), (u64::try_from(key - 10_000).unwrap(), *key == 10_003));
    }
}

#[test]
fn serials_of_rows_in_the_order_of_arrival_cost_next_to_nothing() {
    let mut rows = SideRows::new(batch(&[]).schema());
    for first in 0..100 {
        store(&mut rows, &(first * 37..first * 37 + 37).collect::<Vec<_>>());
        rows.take_changes();
    }
    let runs: usize = rows.pages.iter().map(|page| page.serials.runs()).sum();
    assert_eq!(runs, rows.pages.len());
}

#[test]
fn rows_without_a_time_stay_and_a_chain_loses_only_what_is_freed() {
    let mut rows = SideRows::new(batch(&[]).schema());
    store(&mut rows, &[7, 7, NEVER, 7, NEVER]);
    assert_eq!((found(&rows, 7), found(&rows, NEVER)), (3, 2));
    assert_eq!(free(&mut rows, 100), 3);
    assert_eq!((found(&rows, 7), found(&rows, NEVER)), (0, 2));
    assert_eq!(free(&mut rows, i64::MAX), 0);
}

#[test]
fn numbers_of_pages_come_again_and_old_chains_do_not() {
    let mut rows = SideRows::new(batch(&[]).schema());
    let numbers = i64::from(CIRCLE) * i64::try_from(PAGE_ROWS).unwrap();
    store(&mut rows, &[-1]);
    for first in (0..3 * numbers).step_by(100) {
        store(&mut rows, &(first..first + 100).collect::<Vec<_>>());
        free(&mut rows, first - 200);
        let is_there = [first + 99, first - 199, first - 200].map(|key| found(&rows, key));
        assert_eq!(is_there, [1, usize::from(first > 100), 0], "{first}");
        assert_eq!(found(&rows, -1), usize::from(first < 200), "{first}");
    }
    assert!(rows.heads.capacity() <= 2048, "{} heads of some 300 rows", rows.heads.capacity());
}

#[test]
fn rows_that_stay_do_not_keep_the_memory_of_those_behind_them() {
    let mut rows = SideRows::new(batch(&[]).schema());
    store(&mut rows, &[NEVER; 4 * PAGE_ROWS]);
    let before = rows.bytes();
    for round in 0..200 {
        store(&mut rows, &(round * 100..round * 100 + 100).collect::<Vec<_>>());
        assert_eq!(free(&mut rows, round * 100 + 99), 100);
    }
    assert_eq!((rows.len(), found(&rows, NEVER)), (4 * PAGE_ROWS, 4 * PAGE_ROWS));
    assert!(rows.bytes() < before + 20_000, "{} bytes, {before} before", rows.bytes());
}

#[test]
fn a_chain_that_died_among_rows_that_live_is_not_passed_again() {
    let mut rows = SideRows::new(batch(&[]).schema());
    let numbers: Vec<i64> = (0..400).map(|row| if row % 8 == 3 { -1 } else { row }).collect();
    store(&mut rows, &numbers);
    let key = |number: i64| hash_rows(&[Arc::new(Int64Array::from(vec![number])) as ArrayRef])[0];
    let mut chain = vec![rows.first(key(-1))];
    while let Some(row) = chain.last().filter(|row| **row != NO_ROW) {
        chain.push(rows.next(*row));
    }
    chain.pop();
    assert_eq!(chain.len(), 50);
    rows.remove(&chain).unwrap();
    let (page, place) = rows.at(rows.heads.find(key(-1)));
    assert_eq!(page.links[place].older, NO_ROW);
    assert_eq!((rows.first(key(-1)), found(&rows, 10), rows.len()), (NO_ROW, 1, 350));
    store(&mut rows, &[-1]);
    assert_eq!(found(&rows, -1), 1);
}

#[test]
fn rows_that_come_in_one_batch_or_in_many_take_the_same_memory() {
    let numbers: Vec<i64> = (0..2048).collect();
    let [at_once, in_pages] = [numbers.len(), PAGE_ROWS].map(|size| {
        let mut rows = SideRows::new(batch(&[]).schema());
        numbers.chunks(size).for_each(|numbers| store(&mut rows, numbers));
        rows.bytes()
    });
    assert!(at_once.abs_diff(in_pages) < in_pages / 4, "{at_once} bytes at once, {in_pages} in pages");
}

#[derive(Debug, Clone)]
enum Step {
    /// Rows with these keys and times.
    Store(Vec<(u8, i64)>),
    Free(i64),
    /// The rows of a key are removed, or marked as matched.
    Remove(u8),
    Match(u8),
}

/// A row as the model has it: key, time, whether it is matched.
type ModelRow = (u8, i64, bool);

/// Stores rows whose key is not their time.
fn store_keyed(rows: &mut SideRows, new: &[(u8, i64)]) {
    let keys: ArrayRef = Arc::new(new.iter().map(|(key, _)| Some(i64::from(*key))).collect::<Int64Array>());
    let times: ArrayRef = Arc::new(new.iter().map(|(_, time)| Some(*time)).collect::<Int64Array>());
    let records = RecordBatch::try_from_iter([("k", keys), ("time", times)]).unwrap();
    let hashes = hash_rows(&records.columns()[..1]);
    let times: Vec<i64> = new.iter().map(|(_, time)| *time).collect();
    rows.add(&NewRows { times: &times, ..NewRows::new(&records, &hashes) }).unwrap();
}

fn chain(rows: &SideRows, key: u8) -> Vec<u32> {
    let mut chain = Vec::new();
    let mut row = rows.first(hash_rows(&[Arc::new(Int64Array::from(vec![i64::from(key)])) as ArrayRef])[0]);
    while row != NO_ROW {
        chain.push(row);
        row = rows.next(row);
    }
    chain
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let time = prop_oneof![9 => 0_i64..300, 1 => Just(NEVER)];
    let row = (0_u8..6, time);
    let step = prop_oneof![
        4 => prop::collection::vec(row, 0..40).prop_map(Step::Store),
        2 => (0_i64..300).prop_map(Step::Free),
        1 => (0_u8..6).prop_map(Step::Remove),
        1 => (0_u8..6).prop_map(Step::Match),
    ];
    prop::collection::vec(step, 1..40)
}

proptest! {
    #[test]
    fn chains_hold_what_a_list_holds(steps in steps()) {
        let schema = {
            let numbers: ArrayRef = Arc::new(Int64Array::from(Vec::<i64>::new()));
            RecordBatch::try_from_iter([("k", Arc::clone(&numbers)), ("time", numbers)]).unwrap().schema()
        };
        let mut rows = SideRows::new(schema);
        let mut model: Vec<ModelRow> = Vec::new();
        for step in steps {
            match step {
                Step::Store(new) => {
                    store_keyed(&mut rows, &new);
                    model.extend(new.iter().map(|(key, time)| (*key, *time, false)));
                }
                Step::Free(limit) => {
                    let is_freed = |row: &ModelRow| row.1 <= limit && row.1 != NEVER;
                    let alone = model.iter().filter(|row| is_freed(row) && !row.2).count();
                    let before = model.len();
                    model.retain(|row| !is_freed(row));
                    let (mut freed, mut unmatched) = (0, 0);
                    while let Some(expired) = rows.expire(limit, true) {
                        freed += expired.rows;
                        unmatched += expired.unmatched.len();
                        let records = rows.records(&expired.unmatched).unwrap();
                        prop_assert!(records.column(1).as_primitive::<Int64Type>().values().iter().all(|time| *time <= limit));
                        rows.settle(expired.page).unwrap();
                    }
                    prop_assert_eq!((freed, unmatched), (before - model.len(), alone));
                }
                Step::Remove(key) => {
                    rows.remove(&chain(&rows, key)).unwrap();
                    model.retain(|row| row.0 != key);
                }
                Step::Match(key) => {
                    for row in chain(&rows, key) {
                        rows.mark_matched(row);
                    }
                    model.iter_mut().filter(|row| row.0 == key).for_each(|row| row.2 = true);
                }
            }
            prop_assert_eq!(rows.len(), model.len());
            let pages: usize = rows.pages.iter().map(Page::bytes).sum();
            prop_assert_eq!(rows.bytes, pages);
            let hashes = hash_rows(&[Arc::new(Int64Array::from_iter_values(0..6)) as ArrayRef]);
            prop_assert_eq!(rows.look_up(&hashes), hashes.iter().map(|hash| rows.first(*hash)).collect::<Vec<_>>());
            for key in 0..6 {
                let chain = chain(&rows, key);
                let records = rows.records(&chain).unwrap();
                let times = records.column(1).as_primitive::<Int64Type>().values();
                let mut found: Vec<_> = chain.iter().zip(times).map(|(row, time)| (key, *time, rows.is_matched(*row))).collect();
                let mut expected: Vec<_> = model.iter().filter(|row| row.0 == key).copied().collect();
                found.sort_unstable();
                expected.sort_unstable();
                prop_assert_eq!(found, expected);
            }
        }
    }
}
