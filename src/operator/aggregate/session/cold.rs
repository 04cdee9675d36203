//! Sessions outside memory.
//!
//! Owns: the bytes under which the sessions of a key are kept there, finding them by key and by time, and which keys have newer
//! sessions in memory. Does not own: which keys go and when (`finalize`), or where they are ([`ColdStore`]).
//!
//! All sessions of a key are in memory, or none: a snapshot holds them together, and a row may join several. A key outside has a row
//! by itself and, where sessions become final, one by time, in one store; the first byte tells which:
//!
//! ```text
//! 0 hash key             ─▶ all sessions of the key, from the earliest to the latest: start, end, states
//! 1 first end, hash, key ─▶ nothing
//! ```
//!
//! So a look-up is one `get`, and what the watermark has reached is a range at the front of the rows by time: it is scanned without the
//! rest and removed at once, and for each key in it there is a look-up. That costs a second row for each key that leaves, among
//! neighbours that end at the same time.
//!
//! Keys in memory are the newer ones: reading removes nothing, and what is outside is a copy until the key leaves again, which writes
//! over it, or has no sessions any more, which removes it. Both know from memory when the first session of the copy ends.
//!
//! Keys and sessions are in Arrow's row format, which lives only as long as the query.

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::TimestampMicrosecondType;
use arrow::row::RowConverter;

use super::table::SessionTable;
use super::timelines::number;
use super::{other_fields, time_type};
use crate::error::{Error, Result};
use crate::operator::aggregate::AggregateSpec;
use crate::state::cold_rows::{Pieces, columns, row_format};
use crate::state::{ColdStore, StateBudget};

/// About so many sessions are written, and so many keys read, at a time. Tests reach it with few rows.
const PAGE: usize = if cfg!(test) { 3 } else { 8192 };

/// The first byte of rows by key, and how many bytes are before the key.
const BY_KEY: u8 = 0;
const BY_KEY_PREFIX: usize = 1 + size_of::<u64>();

/// The same of rows by time.
const BY_TIME: u8 = 1;
const BY_TIME_PREFIX: usize = BY_KEY_PREFIX + size_of::<i64>();

/// What stands in a row by time: all is in its key.
const NOTHING: &[u8] = &[];

/// The sessions of one operator instance that are not in memory, or whose copies there are newer.
#[derive(Debug)]
pub(super) struct ColdSessions {
    store: Box<dyn ColdStore>,
    /// How many bytes may stay in memory.
    pub(super) budget: usize,
    keys: RowConverter,
    sessions: RowConverter,
    /// Whether sessions become final, so that they have to be found by time.
    by_time: bool,
    /// What is outside of each key in memory; of keys past the end, nothing.
    copies: Vec<Copied>,
    /// How many sessions are outside, and how many of these are of keys in memory.
    rows: u64,
    copied: u64,
    /// No key that is only outside has a session that ends before this.
    first_end: i64,
    /// The keys that came back last, and the slots of their sessions.
    fetched_keys: Vec<u32>,
    fetched_slots: Vec<u32>,
}

/// What is outside of a key in memory.
#[derive(Debug, Clone, Copy, Default)]
struct Copied {
    /// 0 if the key is in memory only.
    sessions: u32,
    first_end: i64,
}

/// How far the rows by key are read.
#[derive(Debug)]
pub(super) struct Cursor(Vec<u8>);

impl ColdSessions {
    /// Whether sessions of `spec`, whose key at index `place` is the session, can leave memory: not without another key, or if a type has
    /// no bytes.
    pub(super) fn can_hold(spec: &AggregateSpec, place: usize) -> bool {
        converters(spec, place).is_some()
    }

    /// None yet; `None` if they have to stay in memory. `by_time` says whether they become final.
    pub(super) fn new(spec: &AggregateSpec, place: usize, by_time: bool, budget: StateBudget) -> Option<Self> {
        let (keys, sessions) = converters(spec, place)?;
        Some(Self {
            store: budget.store,
            budget: budget.bytes,
            keys,
            sessions,
            by_time,
            copies: Vec::new(),
            rows: 0,
            copied: 0,
            first_end: i64::MAX,
            fetched_keys: Vec::new(),
            fetched_slots: Vec::new(),
        })
    }

    /// How many sessions are outside, those included of which memory holds newer ones.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// How many sessions are of keys that are only outside.
    pub(super) fn rows_only_here(&self) -> u64 {
        self.rows - self.copied
    }

    /// The keys that came back with the last call that could take some back.
    pub(super) fn last_keys(&self) -> &[u32] {
        &self.fetched_keys
    }

    /// The slots of their sessions.
    pub(super) fn last_slots(&self) -> &[u32] {
        &self.fetched_slots
    }

    pub(super) fn has_copy(&self, key: u32) -> bool {
        self.copy_of(key).sessions > 0
    }

    fn copy_of(&self, key: u32) -> Copied {
        self.copies.get(key as usize).copied().unwrap_or_default()
    }

    /// Puts the sessions of these keys, which have some, and leaves them in memory.
    pub(super) fn put(&mut self, table: &mut SessionTable, mut keys: Vec<u32>) -> Result<()> {
        self.copies.resize(table.keys(), Copied::default());
        // In the order of the store, so that neighbours are written together.
        keys.sort_unstable_by_key(|&key| table.hash(key));
        let mut rest = keys.as_slice();
        while !rest.is_empty() {
            let (mut slots, mut counts) = (Vec::new(), Vec::new());
            while slots.len() < PAGE && counts.len() < rest.len() {
                let before = slots.len();
                table.timelines.sessions_of(rest[counts.len()], &mut slots);
                counts.push(slots.len() - before);
            }
            let (page, others) = rest.split_at(counts.len());
            self.put_page(table, page, &counts, &slots)?;
            rest = others;
        }
        Ok(())
    }

    /// Puts these keys with their `slots`, so many each as `counts` says.
    fn put_page(&mut self, table: &mut SessionTable, keys: &[u32], counts: &[usize], slots: &[u32]) -> Result<()> {
        let sessions = self.sessions.convert_columns(&table.session_columns(slots)?)?;
        let key_rows = self.keys.convert_columns(&table.key_columns(keys)?)?;
        let (mut by_key, mut values) = (Pieces::default(), Pieces::default());
        let (mut by_time, mut obsolete) = (Pieces::default(), Pieces::default());
        let mut next = 0;
        for (row, (&key, &count)) in keys.iter().zip(counts).enumerate() {
            let (hash, bytes) = (table.hash(key).to_be_bytes(), key_rows.row(row).data());
            let first_end = table.timelines.session(slots[next]).end;
            for session in next..next + count {
                push_session(&mut values, sessions.row(session).data())?;
            }
            next += count;
            values.end();
            by_key.push(&[&[BY_KEY], &hash, bytes]);
            let new = Copied { sessions: number(count), first_end };
            let old = std::mem::replace(&mut self.copies[key as usize], new);
            self.count(old, new);
            if self.by_time {
                by_time.push(&[&[BY_TIME], &time_bytes(first_end), &hash, bytes]);
                if old.sessions > 0 && old.first_end != first_end {
                    obsolete.push(&[&[BY_TIME], &time_bytes(old.first_end), &hash, bytes]);
                }
                self.first_end = self.first_end.min(first_end);
            }
        }
        let (keys_sorted, times_sorted) = (by_key.sorted(), by_time.sorted());
        let with_sessions = keys_sorted.iter().map(|&row| (by_key.get(row), values.get(row)));
        let mut rows = with_sessions.chain(times_sorted.iter().map(|&row| (by_time.get(row), NOTHING)));
        self.store.put(&mut rows)?;
        self.remove_rows(&obsolete)
    }

    /// What is outside of a key in memory is `new` now.
    fn count(&mut self, old: Copied, new: Copied) {
        let (old, new) = (u64::from(old.sessions), u64::from(new.sessions));
        self.rows = self.rows + new - old;
        self.copied = self.copied + new - old;
    }

    /// Removes what is outside of these keys, which have copies there and no sessions in memory any more.
    pub(super) fn forget(&mut self, table: &SessionTable, keys: &[u32]) -> Result<()> {
        if keys.is_empty() {
            return Ok(());
        }
        let (key_rows, mut gone) = (self.keys.convert_columns(&table.key_columns(keys)?)?, Pieces::default());
        for (row, &key) in keys.iter().enumerate() {
            let (hash, bytes) = (table.hash(key).to_be_bytes(), key_rows.row(row).data());
            let old = std::mem::take(&mut self.copies[key as usize]);
            self.count(old, Copied::default());
            gone.push(&[&[BY_KEY], &hash, bytes]);
            if self.by_time {
                gone.push(&[&[BY_TIME], &time_bytes(old.first_end), &hash, bytes]);
            }
        }
        self.remove_rows(&gone)
    }

    fn remove_rows(&mut self, rows: &Pieces) -> Result<()> {
        let sorted = rows.sorted();
        if sorted.is_empty() {
            return Ok(());
        }
        self.store.remove_each(&mut sorted.iter().map(|&row| rows.get(row)))
    }

    /// The keys of `table` have other numbers: `kept[new]` is the old one. Those that are not kept are only outside from now on.
    pub(super) fn renumber(&mut self, kept: &[u32]) {
        self.copies = kept.iter().map(|&old| self.copy_of(old)).collect();
        self.copied = self.copies.iter().map(|copy| u64::from(copy.sessions)).sum();
        (self.fetched_keys, self.fetched_slots) = (Vec::new(), Vec::new());
    }

    /// Takes back what is outside of the keys of `table` from number `known` on, which are new there and without sessions.
    pub(super) fn fetch(&mut self, table: &mut SessionTable, known: usize) -> Result<()> {
        self.clear_fetched();
        if self.rows_only_here() == 0 || known == table.keys() {
            return Ok(());
        }
        let keys: Vec<u32> = (known..table.keys()).map(number).collect();
        let (key_rows, mut wanted) = (self.keys.convert_columns(&table.key_columns(&keys)?)?, Pieces::default());
        for (row, &key) in keys.iter().enumerate() {
            wanted.push(&[&[BY_KEY], &table.hash(key).to_be_bytes(), key_rows.row(row).data()]);
        }
        let sorted = wanted.sorted();
        let (mut owners, mut sessions) = (Vec::new(), Pieces::default());
        self.store.get(&mut sorted.iter().map(|&row| wanted.get(row)), &mut |number, value| {
            split_sessions(value, &mut sessions);
            owners.resize(sessions.len(), keys[sorted[number]]);
        })?;
        if owners.is_empty() {
            return Ok(());
        }
        let columns = columns(&self.sessions, sessions.iter())?;
        self.note_copies(table.keys(), &owners, &columns)?;
        self.fetched_slots = table.take_back(&owners, &columns)?;
        Ok(())
    }

    /// What came back stays outside, too. `owners` are the keys of the sessions.
    fn note_copies(&mut self, keys: usize, owners: &[u32], columns: &[ArrayRef]) -> Result<()> {
        let ends = columns.get(1).and_then(|ends| ends.as_primitive_opt::<TimestampMicrosecondType>());
        let ends = ends.ok_or_else(|| Error::internal("sessions came back without their ends"))?.values();
        self.copies.resize(keys, Copied::default());
        for (&key, &end) in owners.iter().zip(ends) {
            let copy = &mut self.copies[key as usize];
            if copy.sessions == 0 {
                copy.first_end = end;
                self.fetched_keys.push(key);
            }
            copy.sessions += 1;
        }
        self.copied += owners.len() as u64;
        Ok(())
    }

    fn clear_fetched(&mut self) {
        self.fetched_keys.clear();
        self.fetched_slots.clear();
    }

    /// Takes keys back some of whose sessions end at `limit` or before, the earliest first and at most a page of them. If there may be
    /// more, the answer is a time before which none of these ends.
    pub(super) fn fetch_ended(&mut self, table: &mut SessionTable, limit: i64) -> Result<Option<i64>> {
        self.clear_fetched();
        if self.rows_only_here() == 0 || limit < self.first_end {
            return Ok(None);
        }
        let (mut keys, mut hashes, mut last) = (Pieces::default(), Vec::new(), Vec::new());
        self.store.scan(&[BY_TIME], &behind_time(limit), PAGE, &mut |row, _| {
            let (prefix, key) = row.split_at(BY_TIME_PREFIX.min(row.len()));
            hashes.push(prefix.last_chunk().map_or(0, |hash| u64::from_be_bytes(*hash)));
            keys.push(&[key]);
            last.clear();
            last.extend_from_slice(row);
        })?;
        let reached = if hashes.len() < PAGE { None } else { Some(time_of(&last)) };
        self.first_end = reached.unwrap_or(limit.saturating_add(1));
        if hashes.is_empty() {
            return Ok(None);
        }
        last.push(0);
        self.store.remove(&[BY_TIME], &last)?;
        let known = table.keys();
        table.intern(&columns(&self.keys, keys.iter())?, hashes.len(), Some(&hashes))?;
        self.fetch(table, known)?;
        Ok(reached)
    }

    /// Before the first page of all keys.
    pub(super) fn pages() -> Cursor {
        Cursor(vec![BY_KEY])
    }

    /// Puts the next page of keys into `table`, whatever it held before; false behind the last.
    pub(super) fn page(&mut self, cursor: &mut Cursor, table: &mut SessionTable) -> Result<bool> {
        let (mut keys, mut hashes, mut last) = (Pieces::default(), Vec::new(), Vec::new());
        let (mut owners, mut sessions) = (Vec::new(), Pieces::default());
        self.store.scan(&cursor.0, &[BY_TIME], PAGE, &mut |row, value| {
            let (prefix, key) = row.split_at(BY_KEY_PREFIX.min(row.len()));
            split_sessions(value, &mut sessions);
            owners.resize(sessions.len(), number(hashes.len()));
            hashes.push(prefix.last_chunk().map_or(0, |hash| u64::from_be_bytes(*hash)));
            keys.push(&[key]);
            last.clear();
            last.extend_from_slice(row);
        })?;
        table.clear();
        if hashes.is_empty() {
            return Ok(false);
        }
        last.push(0);
        cursor.0 = last;
        table.intern(&columns(&self.keys, keys.iter())?, hashes.len(), Some(&hashes))?;
        table.take_back(&owners, &columns(&self.sessions, sessions.iter())?)?;
        Ok(true)
    }

    /// Memory held, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let numbers = self.fetched_keys.capacity() + self.fetched_slots.capacity();
        self.copies.capacity() * size_of::<Copied>() + numbers * size_of::<u32>()
    }
}

/// What makes bytes of the keys, and of the sessions: start, end and states.
fn converters(spec: &AggregateSpec, place: usize) -> Option<(RowConverter, RowConverter)> {
    let keys: Vec<_> = other_fields(spec, place).iter().map(|field| field.data_type().clone()).collect();
    let states = spec.calls.iter().flat_map(|call| call.factory.state_fields());
    let states = states.map(|field| field.data_type().clone());
    let sessions: Vec<_> = [time_type(), time_type()].into_iter().chain(states).collect();
    Some((row_format(&keys)?, row_format(&sessions)?))
}

/// Adds a session to the row of its key: how many bytes it has, and these.
fn push_session(values: &mut Pieces, session: &[u8]) -> Result<()> {
    let length = u32::try_from(session.len());
    let length = length.map_err(|_| Error::state("the states of one session take 4 GiB or more: aggregate less"))?;
    values.add(&length.to_be_bytes());
    values.add(session);
    Ok(())
}

/// Adds each session of the row of a key to `sessions`.
fn split_sessions(value: &[u8], sessions: &mut Pieces) {
    let mut rest = value;
    while let Some((length, behind)) = rest.split_first_chunk() {
        let (session, others) = behind.split_at((u32::from_be_bytes(*length) as usize).min(behind.len()));
        sessions.push(&[session]);
        rest = others;
    }
}

/// A time in bytes that are in the order of times.
fn time_bytes(time: i64) -> [u8; 8] {
    (time ^ i64::MIN).to_be_bytes()
}

/// The time of a row by time.
fn time_of(row: &[u8]) -> i64 {
    row.get(1..).and_then(|bytes| bytes.first_chunk()).map_or(i64::MIN, |time| i64::from_be_bytes(*time) ^ i64::MIN)
}

/// Right behind all rows of `time`.
fn behind_time(time: i64) -> Vec<u8> {
    time.checked_add(1).map_or_else(|| vec![BY_TIME + 1], |next| [&[BY_TIME][..], &time_bytes(next)].concat())
}
