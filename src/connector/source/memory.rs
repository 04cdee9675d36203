//! Rows that the program adds itself.
//!
//! Owns: what was added, for as long as somebody holds the stream; a query that restarts in this process finds all of
//! it again, so nothing is ever dropped. Does not own: the user's handle and its row types (`session`).
//!
//! A new process has a new stream. A checkpoint that is ahead of it is refused, since nothing tells which of its rows are
//! new: either the program adds the same rows again before it starts the query, or the query starts with a new checkpoint. A
//! stream that keeps only its newest rows promises less: a query that goes on in a new process reads the new stream from its
//! beginning, and what was under way of the old one is gone (at most once).
//!
//! The offset is the number of the last add, from 0; −1 before the first; of a stream that keeps only its newest rows
//! `{"stream": id, "add": n}`, so that a later one is told from it. One add is never split over two epochs.
//!
//! Several streams change together under `hold_additions`: an add takes the exclusive side of that lock, and a query
//! holds the shared side while it asks its sources how far they can go, so an epoch sees a set of adds as it was at
//! one moment.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, Weak};

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{into_readers, parse_offset, project_batch, project_schema, regroup};
use crate::clock::lock;
use crate::connector::{Offset, ReadLimit, Source, SourceFactory, SourceWaker, SplitReader};
use crate::error::{Error, Result};
use crate::types::fit_batch;

static ADDITIONS: RwLock<()> = RwLock::new(());

/// While this guard lives, no memory stream of the process takes rows. Held around asking all sources of one query.
pub(crate) fn hold_additions() -> RwLockReadGuard<'static, ()> {
    ADDITIONS.read().unwrap_or_else(PoisonError::into_inner)
}

/// A stream of added batches; clones are the same stream. Any number of queries may read it.
#[derive(Clone)]
pub struct MemoryStreamCore {
    shared: Arc<Shared>,
}

struct Shared {
    schema: SchemaRef,
    /// The most rows that are kept, besides the newest add; without, all are.
    limit: Option<usize>,
    /// Tells streams with a limit apart over restarts.
    id: Uuid,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    adds: Vec<RecordBatch>,
    /// Rows in all adds.
    rows: usize,
    /// How many of the oldest adds gave their rows up.
    released: usize,
    /// Owned by the sources, so that an ended query is not woken.
    wakers: Vec<Weak<SourceWaker>>,
}

impl MemoryStreamCore {
    /// A stream without rows, whose columns are `schema`, in the types of the engine.
    pub fn new(schema: SchemaRef) -> Self {
        Self { shared: Arc::new(Shared { schema, limit: None, id: Uuid::nil(), state: Mutex::default() }) }
    }

    /// A stream that keeps only about so many of its newest rows.
    pub fn keeping(schema: SchemaRef, rows: usize) -> Self {
        Self { shared: Arc::new(Shared { schema, limit: Some(rows), id: Uuid::new_v4(), state: Mutex::default() }) }
    }

    /// The columns.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.shared.schema)
    }

    /// Adds rows and answers the number of this add, from 0.
    ///
    /// # Errors
    /// When the rows do not fit the schema.
    pub fn add(&self, rows: RecordBatch) -> Result<i64> {
        let rows = self.fit(rows)?;
        let number = {
            let _alone = ADDITIONS.write().unwrap_or_else(PoisonError::into_inner);
            self.append(rows)
        };
        self.wake();
        Ok(number)
    }

    /// Adds rows to several streams: an epoch sees all of these adds or none.
    ///
    /// # Errors
    /// When rows do not fit their stream's schema; nothing is added then.
    pub fn add_together(adds: &[(&Self, RecordBatch)]) -> Result<()> {
        let fitted: Vec<RecordBatch> =
            adds.iter().map(|(stream, rows)| stream.fit(rows.clone())).collect::<Result<_>>()?;
        {
            let _alone = ADDITIONS.write().unwrap_or_else(PoisonError::into_inner);
            for ((stream, _), rows) in adds.iter().zip(fitted) {
                stream.append(rows);
            }
        }
        for (stream, _) in adds {
            stream.wake();
        }
        Ok(())
    }

    fn fit(&self, rows: RecordBatch) -> Result<RecordBatch> {
        fit_batch(&self.shared.schema, rows).map_err(|error| error.context("rows added to a memory stream"))
    }

    fn append(&self, rows: RecordBatch) -> i64 {
        let mut state = lock(&self.shared.state);
        state.rows += rows.num_rows();
        state.adds.push(rows);
        if let Some(limit) = self.shared.limit {
            state.release(limit);
        }
        offset_of(state.adds.len())
    }

    /// Wakes the queries that read the stream, outside all locks.
    fn wake(&self) {
        let wakers: Vec<Arc<SourceWaker>> = {
            let mut state = lock(&self.shared.state);
            state.wakers.retain(|waker| waker.strong_count() > 0);
            state.wakers.iter().filter_map(Weak::upgrade).collect()
        };
        for waker in wakers {
            waker.wake();
        }
    }

    fn last(&self) -> i64 {
        offset_of(lock(&self.shared.state).adds.len())
    }

    /// The last of the adds after `from` up to `end` that have about `most` bytes together; at least the first.
    fn add_within(&self, from: i64, end: i64, most: u64) -> i64 {
        let state = lock(&self.shared.state);
        let (first, after) = (usize::try_from(from + 1).unwrap_or(0), usize::try_from(end + 1).unwrap_or(0));
        let mut bytes = 0;
        let adds = state.adds.get(first..after).unwrap_or_default();
        let full = adds.iter().position(|add| {
            bytes += add.get_array_memory_size() as u64;
            bytes >= most
        });
        full.map_or(end, |place| offset_of(first + place + 1))
    }

    fn description(&self) -> String {
        let names: Vec<&str> = self.shared.schema.fields().iter().map(|field| field.name().as_str()).collect();
        format!("MemoryStream[{}]", names.join(", "))
    }
}

impl State {
    /// Lets the oldest adds give their rows up until at most `limit` are kept, or only those of the newest add.
    fn release(&mut self, limit: usize) {
        while self.rows > limit && self.released + 1 < self.adds.len() {
            let add = &mut self.adds[self.released];
            self.rows -= add.num_rows();
            *add = RecordBatch::new_empty(add.schema());
            self.released += 1;
        }
    }
}

impl fmt::Debug for MemoryStreamCore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.description())
    }
}

/// The offset after `adds` adds.
fn offset_of(adds: usize) -> i64 {
    i64::try_from(adds).map_or(i64::MAX, |adds| adds - 1)
}

/// Lets queries read a memory stream.
#[derive(Debug, Clone)]
pub struct MemoryStreamFactory {
    /// The stream.
    pub core: MemoryStreamCore,
}

impl SourceFactory for MemoryStreamFactory {
    fn schema(&self) -> SchemaRef {
        self.core.schema()
    }

    fn description(&self) -> String {
        self.core.description()
    }

    fn open(&self, projection: Option<&[usize]>) -> Result<Box<dyn Source>> {
        Ok(Box::new(MemorySource {
            schema: project_schema(&self.core.shared.schema, projection)?,
            projection: projection.map(<[usize]>::to_vec),
            core: self.core.clone(),
            fixed_end: None,
            waker: None,
        }))
    }
}

/// One query's view of a stream.
struct MemorySource {
    core: MemoryStreamCore,
    schema: SchemaRef,
    projection: Option<Vec<usize>>,
    fixed_end: Option<i64>,
    waker: Option<Arc<SourceWaker>>,
}

/// A place in a stream that keeps only its newest rows.
#[derive(Debug, Serialize, Deserialize)]
struct KeptPlace {
    stream: String,
    add: i64,
}

impl MemorySource {
    /// Makes sure that the stream has come as far as the checkpoint.
    fn check(&self, from: i64, last: i64) -> Result<()> {
        if last >= from {
            return Ok(());
        }
        let (stream, adds, from) = (self.core.description(), last + 1, from + 1);
        Err(Error::state(format!(
            "{stream} has {adds} adds, but the checkpoint was at {from}: a memory stream ends with its process; add the same \
             rows again before start(), or start with a new checkpoint"
        )))
    }

    fn is_kept_in_part(&self) -> bool {
        self.core.shared.limit.is_some()
    }

    fn offset(&self, add: i64) -> Offset {
        if !self.is_kept_in_part() {
            return Offset::from(add);
        }
        Offset(serde_json::json!({ "stream": self.core.shared.id.to_string(), "add": add }))
    }

    /// The number of the add in an offset; `None` if it is of an earlier stream.
    fn add_of(&self, offset: &Offset) -> Result<Option<i64>> {
        if !self.is_kept_in_part() {
            return parse_offset(offset, "memory").map(Some);
        }
        let place: KeptPlace = parse_offset(offset, "memory")?;
        Ok((place.stream == self.core.shared.id.to_string()).then_some(place.add))
    }
}

impl Source for MemorySource {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn description(&self) -> String {
        self.core.description()
    }

    fn initial(&mut self) -> Result<Offset> {
        Ok(self.offset(-1))
    }

    fn latest(&mut self, from: &Offset, limit: ReadLimit) -> Result<Offset> {
        let add = self.add_of(from)?;
        let last = self.core.last();
        self.check(add.unwrap_or(-1), last)?;
        let end = self.fixed_end.map_or(last, |end| last.min(end));
        let end = match limit {
            ReadLimit::Bytes(bytes) => self.core.add_within(add.unwrap_or(-1), end, bytes),
            ReadLimit::All | ReadLimit::Options => end,
        };
        match add {
            // Nothing has come in this stream yet: the query stays where the earlier one left it.
            None if end < 0 => Ok(from.clone()),
            None => Ok(self.offset(end)),
            Some(add) => Ok(self.offset(end.max(add))),
        }
    }

    fn plan(&mut self, from: &Offset, to: &Offset, parallelism: usize) -> Result<Vec<Box<dyn SplitReader>>> {
        let Some(to) = self.add_of(to)? else {
            log::warn!("rows of {} that an earlier process kept are gone with it", self.core.description());
            return Ok(Vec::new());
        };
        let from = self.add_of(from)?.unwrap_or(-1);
        let range = usize::try_from(from + 1).unwrap_or(0)..usize::try_from(to + 1).unwrap_or(0);
        let (adds, released) = {
            let state = lock(&self.core.shared.state);
            (state.adds.get(range.clone()).map(<[RecordBatch]>::to_vec), state.released)
        };
        if range.start < released {
            let (stream, gone) = (self.core.description(), released.min(range.end) - range.start);
            log::warn!("{gone} adds of {stream} came faster than they were read and are no longer kept");
        }
        let adds = adds.ok_or_else(|| {
            let text = format!("adds {} to {to} of {} are not there", from + 1, self.core.description());
            Error::state(format!("{text}: a memory stream ends with its process; add the rows again before start()"))
        })?;
        let wanted = adds.into_iter().map(|batch| project_batch(batch, self.projection.as_deref()));
        Ok(into_readers(regroup(wanted.collect::<Result<Vec<_>>>()?)?, parallelism))
    }

    fn fix_end(&mut self, from: &Offset) -> Result<()> {
        let last = self.core.last();
        self.check(self.add_of(from)?.unwrap_or(-1), last)?;
        self.fixed_end = Some(last);
        Ok(())
    }

    fn replays(&self) -> bool {
        !self.is_kept_in_part()
    }

    fn never_blocks(&self) -> bool {
        true
    }

    fn subscribe(&mut self, waker: SourceWaker) {
        let waker = Arc::new(waker);
        lock(&self.core.shared.state).wakers.push(Arc::downgrade(&waker));
        self.waker = Some(waker);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use arrow::array::cast::AsArray;
    use arrow::array::{Int64Array, record_batch};
    use arrow::datatypes as arrow_schema; // the name by which record_batch! knows it
    use arrow::datatypes::{DataType, Field, Int64Type, Schema};

    use super::*;

    fn stream() -> MemoryStreamCore {
        MemoryStreamCore::new(Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)])))
    }

    fn batch(numbers: &[i64]) -> RecordBatch {
        let column = Int64Array::from(numbers.to_vec());
        RecordBatch::try_new(stream().schema(), vec![Arc::new(column)]).unwrap()
    }

    fn open(stream: &MemoryStreamCore) -> Box<dyn Source> {
        MemoryStreamFactory { core: stream.clone() }.open(None).unwrap()
    }

    #[test]
    fn a_stream_with_a_limit_keeps_its_newest_rows() {
        let stream = MemoryStreamCore::keeping(stream().schema(), 3);
        for numbers in [&[1, 2][..], &[3], &[4, 5], &[6, 7, 8, 9]] {
            stream.add(batch(numbers)).unwrap();
        }
        let mut source = open(&stream);
        let start = source.initial().unwrap();
        let end = source.latest(&start, ReadLimit::Options).unwrap();
        assert_eq!(read_range(source.as_mut(), &start, &end), [6, 7, 8, 9]);
        assert_eq!(stream.add(batch(&[])).unwrap(), 4);
    }

    fn read(source: &mut dyn Source, from: i64, to: i64) -> Vec<i64> {
        read_range(source, &from.into(), &to.into())
    }

    fn read_range(source: &mut dyn Source, from: &Offset, to: &Offset) -> Vec<i64> {
        let mut numbers = Vec::new();
        for mut reader in source.plan(from, to, 2).unwrap() {
            while let Some(batch) = reader.next().unwrap() {
                numbers.extend_from_slice(batch.column(0).as_primitive::<Int64Type>().values());
            }
        }
        numbers
    }

    fn latest(source: &mut dyn Source, from: i64) -> Offset {
        source.latest(&from.into(), ReadLimit::Options).unwrap()
    }

    #[test]
    fn offsets_count_adds_and_ranges_can_be_read_again() {
        let stream = stream();
        let mut source = open(&stream);
        assert_eq!(source.initial().unwrap(), Offset::from(-1));
        assert_eq!(latest(source.as_mut(), -1), Offset::from(-1));
        assert_eq!(stream.add(batch(&[1, 2])).unwrap(), 0);
        assert_eq!(stream.add(batch(&[])).unwrap(), 1);
        assert_eq!(stream.add(batch(&[3])).unwrap(), 2);
        assert_eq!(latest(source.as_mut(), -1), Offset::from(2));
        assert_eq!(read(source.as_mut(), -1, 0), [1, 2]);
        source.commit(&2.into()).unwrap();
        assert_eq!(read(open(&stream).as_mut(), -1, 2), [1, 2, 3]);
        assert_eq!(read(source.as_mut(), 0, 2), [3]);
        assert!(source.replays());
    }

    #[test]
    fn rows_that_do_not_fit_are_refused_and_leave_nothing_behind() {
        let (a, b) = (stream(), stream());
        let wrong = record_batch!(("word", Utf8, ["x"])).unwrap();
        let error = MemoryStreamCore::add_together(&[(&a, batch(&[1])), (&b, wrong)]).unwrap_err();
        assert!(error.message().starts_with("rows added to a memory stream"), "{error}");
        assert_eq!((a.last(), b.last()), (-1, -1));
    }

    #[test]
    fn what_is_added_together_is_seen_together() {
        let (a, b) = (stream(), stream());
        let (mut left, mut right) = (open(&a), open(&b));
        let adds = thread::spawn(move || {
            for number in 0..500 {
                MemoryStreamCore::add_together(&[(&a, batch(&[number])), (&b, batch(&[number]))]).unwrap();
            }
        });
        while !adds.is_finished() {
            let _guard = hold_additions();
            assert_eq!(latest(left.as_mut(), -1), latest(right.as_mut(), -1));
        }
        adds.join().unwrap();
        assert_eq!(latest(left.as_mut(), -1), Offset::from(499));
    }

    #[test]
    fn every_reading_query_is_woken_until_it_ends() {
        let stream = stream();
        let woken = Arc::new(AtomicUsize::new(0));
        let subscribed = || {
            let mut source = open(&stream);
            let counter = Arc::clone(&woken);
            source.subscribe(SourceWaker::new(move || {
                counter.fetch_add(1, Ordering::Relaxed);
            }));
            source
        };
        let (first, _second) = (subscribed(), subscribed());
        stream.add(batch(&[1])).unwrap();
        assert_eq!(woken.load(Ordering::Relaxed), 2);
        drop(first);
        stream.add(batch(&[2])).unwrap();
        assert_eq!(woken.load(Ordering::Relaxed), 3);
        assert_eq!(lock(&stream.shared.state).wakers.len(), 1);
    }

    #[test]
    fn a_fixed_end_is_never_passed() {
        let stream = stream();
        let mut source = open(&stream);
        stream.add(batch(&[1])).unwrap();
        source.fix_end(&Offset::from(-1)).unwrap();
        stream.add(batch(&[2])).unwrap();
        assert_eq!(latest(source.as_mut(), -1), Offset::from(0));
    }

    #[test]
    fn offsets_of_an_earlier_run_of_the_same_stream_go_on() {
        let stream = stream();
        stream.add(batch(&[1])).unwrap();
        let mut first = open(&stream);
        assert_eq!(latest(first.as_mut(), -1), Offset::from(0));
        first.commit(&0.into()).unwrap();
        stream.add(batch(&[2])).unwrap();
        // Planned, not committed.
        assert_eq!(latest(first.as_mut(), 0), Offset::from(1));
        drop(first);
        stream.add(batch(&[3])).unwrap();
        let mut second = open(&stream);
        second.initial().unwrap();
        assert_eq!(read(second.as_mut(), 0, 1), [2]);
        assert_eq!(latest(second.as_mut(), 1), Offset::from(2));
        assert_eq!(read(second.as_mut(), 1, 2), [3]);
    }

    #[test]
    fn a_checkpoint_that_is_ahead_of_the_stream_is_refused() {
        let error = open(&stream()).latest(&7.into(), ReadLimit::Options).unwrap_err();
        assert!(
            error.message().contains("the checkpoint was at 8") && error.message().contains("add the same"),
            "{error}"
        );
        assert!(open(&stream()).fix_end(&7.into()).is_err());
    }

    #[test]
    fn a_stream_that_keeps_its_newest_rows_is_read_from_its_beginning_in_a_new_process() {
        let old = MemoryStreamCore::keeping(stream().schema(), 3);
        let new = MemoryStreamCore::keeping(stream().schema(), 3);
        old.add(batch(&[1])).unwrap();
        old.add(batch(&[2])).unwrap();
        let mut source = open(&old);
        let start = source.initial().unwrap();
        let stopped_at = source.latest(&start, ReadLimit::Options).unwrap();
        let mut source = open(&new);
        assert_eq!(source.latest(&stopped_at, ReadLimit::Options).unwrap(), stopped_at, "nothing has come");
        assert!(read_range(source.as_mut(), &start, &stopped_at).is_empty(), "they are gone with their process");
        new.add(batch(&[3])).unwrap();
        let now = source.latest(&stopped_at, ReadLimit::Options).unwrap();
        assert_eq!(read_range(source.as_mut(), &stopped_at, &now), [3]);
        assert!(!source.replays());
    }

    #[test]
    fn rows_of_an_earlier_process_are_missed_with_the_remedy() {
        let error = open(&stream()).plan(&0.into(), &3.into(), 1).map(|_| ()).unwrap_err();
        assert!(error.message().contains("adds 1 to 3") && error.message().contains("add the rows again"), "{error}");
    }
}
