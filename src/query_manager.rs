//! All queries of a session.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

use uuid::Uuid;

use crate::clock::lock;
use crate::error::{Error, Result};
use crate::observability::StreamingQueryListener;
use crate::query::StreamingQuery;
use crate::runtime::{ListenerBus, OnEnd};

/// The active queries of a session, and its listeners.
#[derive(Debug, Clone)]
pub struct StreamingQueryManager {
    shared: Arc<Shared>,
    listeners: ListenerBus,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    queries: Vec<Entry>,
    /// How the first query that failed since the last reset ended, or else the last; `None` while none has ended.
    ended: Option<Result<()>>,
}

#[derive(Debug, Clone)]
struct Entry {
    id: Uuid,
    name: Option<String>,
    /// `None` while the query starts.
    query: Option<StreamingQuery>,
}

/// The number by which a listener can be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ListenerId(u64);

/// A query's place among the active ones while it starts; given up when it is dropped unfilled.
pub(crate) struct Place {
    shared: Arc<Shared>,
    id: Uuid,
    is_filled: bool,
}

impl Place {
    /// The query runs.
    pub(crate) fn fill(mut self, query: &StreamingQuery) {
        self.is_filled = true;
        let mut state = lock(&self.shared.state);
        for entry in state.queries.iter_mut().filter(|entry| entry.id == self.id) {
            entry.query = Some(query.clone());
        }
        crate::interrupt::add(query);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.is_filled {
            lock(&self.shared.state).queries.retain(|entry| entry.id != self.id);
        }
    }
}

impl StreamingQueryManager {
    pub(crate) fn new() -> Self {
        Self { shared: Arc::default(), listeners: ListenerBus::default() }
    }

    /// The queries that run now.
    pub fn active(&self) -> Vec<StreamingQuery> {
        lock(&self.shared.state).queries.iter().filter_map(|entry| entry.query.clone()).collect()
    }

    /// The active query of this id.
    pub fn get(&self, id: Uuid) -> Option<StreamingQuery> {
        self.active().into_iter().find(|query| query.id() == id)
    }

    /// Waits until any query of the session has ended since the start or the last [`reset_terminated`](Self::reset_terminated).
    /// Ctrl-C ends the wait as in [`StreamingQuery::await_termination`].
    ///
    /// # Errors
    /// The error of a query that failed.
    pub fn await_any_termination(&self) -> Result<()> {
        crate::interrupt::install();
        let state = lock(&self.shared.state);
        let waited = self.shared.changed.wait_while(state, |state| state.ended.is_none());
        waited.unwrap_or_else(PoisonError::into_inner).ended.clone().unwrap_or(Ok(()))
    }

    /// Forgets the queries that have ended, so that [`await_any_termination`](Self::await_any_termination) waits for the next.
    pub fn reset_terminated(&self) {
        lock(&self.shared.state).ended = None;
    }

    /// Adds a listener for the queries of this session. It is called on a thread of its own.
    pub fn add_listener(&self, listener: Arc<dyn StreamingQueryListener>) -> ListenerId {
        ListenerId(self.listeners.add(listener))
    }

    /// Removes a listener; events already under way may still reach it.
    pub fn remove_listener(&self, id: ListenerId) {
        self.listeners.remove(id.0);
    }

    pub(crate) fn listeners(&self) -> &ListenerBus {
        &self.listeners
    }

    /// Takes a place for a query about to start.
    ///
    /// # Errors
    /// When a query of this name is active.
    pub(crate) fn reserve(&self, id: Uuid, name: Option<&str>) -> Result<Place> {
        let mut state = lock(&self.shared.state);
        if let Some(name) = name
            && state.queries.iter().any(|entry| entry.name.as_deref() == Some(name))
        {
            let remedy = "stop it first, or give this one another name";
            return Err(Error::config(format!("a query named `{name}` is active already; {remedy}")));
        }
        if state.queries.iter().any(|entry| entry.id == id) {
            return Err(Error::config(format!(
                "the query {id}, which keeps the same checkpoint, is active already; stop it first, or give this one a \
                 checkpointLocation of its own"
            )));
        }
        state.queries.push(Entry { id, name: name.map(ToString::to_string), query: None });
        Ok(Place { shared: Arc::clone(&self.shared), id, is_filled: false })
    }

    /// What to call when the query of this id is over.
    pub(crate) fn on_end(&self, id: Uuid) -> OnEnd {
        let shared = Arc::clone(&self.shared);
        Box::new(move |outcome| {
            crate::interrupt::remove(id);
            let mut state = lock(&shared.state);
            state.queries.retain(|entry| entry.id != id);
            if !matches!(state.ended, Some(Err(_))) {
                state.ended = Some(outcome.clone());
            }
            shared.changed.notify_all();
        })
    }

    pub(crate) fn stop_all(&self) -> Result<()> {
        let active = self.active();
        for query in &active {
            query.request_stop();
        }
        active.iter().try_for_each(StreamingQuery::stop)
    }
}
