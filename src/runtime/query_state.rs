//! What a query's handles and its coordinator share.
//!
//! Owns: status, progress and the end of the query, and waiting for them. Written by the coordinator only.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::lock;
use crate::error::{Error, Result};
use crate::observability::{StreamingQueryProgress, StreamingQueryStatus, WatermarkStatus};

/// As many progress reports are kept as Spark keeps.
const RECENT: usize = 100;

#[derive(Debug)]
struct Inner {
    status: StreamingQueryStatus,
    recent: VecDeque<StreamingQueryProgress>,
    /// `Some` once the query is over.
    outcome: Option<Result<()>>,
    /// How far event time has come, for a query that has a watermark.
    watermark: Option<WatermarkStatus>,
    next_drain: u64,
    drained: BTreeSet<u64>,
}

/// The shared state of one query.
#[derive(Debug)]
pub(crate) struct QueryState {
    inner: Mutex<Inner>,
    changed: Condvar,
}

impl QueryState {
    pub(crate) fn new() -> Self {
        let status = status_of("Initializing sources", false, false);
        let (recent, drained) = (VecDeque::new(), BTreeSet::new());
        let inner = Inner { status, recent, outcome: None, watermark: None, next_drain: 0, drained };
        Self { inner: Mutex::new(inner), changed: Condvar::new() }
    }

    pub(crate) fn is_active(&self) -> bool {
        lock(&self.inner).outcome.is_none()
    }

    pub(crate) fn status(&self) -> StreamingQueryStatus {
        lock(&self.inner).status.clone()
    }

    pub(crate) fn recent_progress(&self) -> Vec<StreamingQueryProgress> {
        lock(&self.inner).recent.iter().cloned().collect()
    }

    pub(crate) fn last_progress(&self) -> Option<StreamingQueryProgress> {
        lock(&self.inner).recent.back().cloned()
    }

    pub(crate) fn exception(&self) -> Option<Error> {
        lock(&self.inner).outcome.clone().and_then(Result::err)
    }

    /// The number under which a new wait for all available rows is known.
    pub(crate) fn new_drain(&self) -> u64 {
        let mut inner = lock(&self.inner);
        inner.next_drain += 1;
        inner.next_drain
    }

    /// Waits until the query is over, at most `limit`; `None` is the time-out.
    pub(crate) fn wait_for_end(&self, limit: Option<Duration>) -> Option<Result<()>> {
        self.wait(limit, |inner| inner.outcome.clone())
    }

    /// Waits until the drain of this number is answered or the query is over.
    pub(crate) fn wait_for_drain(&self, id: u64) -> Result<()> {
        let answer = |inner: &mut Inner| if inner.drained.remove(&id) { Some(Ok(())) } else { inner.outcome.clone() };
        self.wait(None, answer).unwrap_or(Ok(()))
    }

    fn wait<T>(&self, limit: Option<Duration>, mut answer: impl FnMut(&mut Inner) -> Option<T>) -> Option<T> {
        let inner = lock(&self.inner);
        let pending = |inner: &mut Inner, found: &mut Option<T>| {
            *found = answer(inner);
            found.is_none()
        };
        let mut found = None;
        let mut pending = pending;
        let guard: MutexGuard<'_, Inner> = match limit {
            None => self
                .changed
                .wait_while(inner, |inner| pending(inner, &mut found))
                .unwrap_or_else(PoisonError::into_inner),
            Some(limit) => {
                let waited = self.changed.wait_timeout_while(inner, limit, |inner| pending(inner, &mut found));
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
        };
        drop(guard);
        found
    }

    pub(super) fn set_status(&self, message: &str, is_data_available: bool, is_trigger_active: bool) {
        lock(&self.inner).status = status_of(message, is_data_available, is_trigger_active);
    }

    pub(super) fn add_progress(&self, progress: StreamingQueryProgress) {
        let mut inner = lock(&self.inner);
        if inner.recent.len() == RECENT {
            inner.recent.pop_front();
        }
        inner.recent.push_back(progress);
    }

    /// The watermark the next epoch will run under, in milliseconds.
    pub(crate) fn watermark_ms(&self) -> Option<i64> {
        lock(&self.inner).watermark.as_ref().map(|watermark| watermark.watermark_ms)
    }

    /// Where the watermark stands and why.
    pub(crate) fn watermark_status(&self) -> Option<WatermarkStatus> {
        lock(&self.inner).watermark.clone()
    }

    pub(super) fn set_watermark(&self, watermark: WatermarkStatus) {
        lock(&self.inner).watermark = Some(watermark);
    }

    pub(super) fn drained(&self, ids: Vec<u64>) {
        lock(&self.inner).drained.extend(ids);
        self.changed.notify_all();
    }

    /// The query is over; the first outcome stays. `how` says how it came to a good end.
    pub(super) fn end(&self, outcome: Result<()>, how: &str) {
        let mut inner = lock(&self.inner);
        if inner.outcome.is_none() {
            let failed = outcome.as_ref().err().map(|error| format!("Terminated with exception: {error}"));
            inner.status = status_of(failed.as_deref().unwrap_or(how), false, false);
            inner.outcome = Some(outcome);
        }
        drop(inner);
        self.changed.notify_all();
    }
}

fn status_of(message: &str, is_data_available: bool, is_trigger_active: bool) -> StreamingQueryStatus {
    StreamingQueryStatus { message: message.to_string(), is_data_available, is_trigger_active }
}
