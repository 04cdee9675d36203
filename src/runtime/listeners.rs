//! Hands query events to listeners on a thread of their own.
//!
//! Owns: that a slow or panicking listener delays no query. Events reach every listener in the order they happened.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::thread;

use crossbeam_channel::{Receiver, Sender, unbounded};

use crate::clock::lock;
use crate::observability::{
    QueryIdleEvent, QueryStartedEvent, QueryTerminatedEvent, StreamingQueryListener, StreamingQueryProgress,
};

/// Something that happened to a query.
#[derive(Debug, Clone)]
pub(crate) enum QueryEvent {
    Started(QueryStartedEvent),
    Progress(Box<StreamingQueryProgress>),
    Idle(QueryIdleEvent),
    Terminated(QueryTerminatedEvent),
}

/// A listener under the number by which it can be removed.
type Registered = (u64, Arc<dyn StreamingQueryListener>);

/// The listeners of one session.
#[derive(Clone, Default)]
pub(crate) struct ListenerBus {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    next: u64,
    listeners: Vec<Registered>,
    /// Open while the thread runs.
    events: Option<Sender<(QueryEvent, Vec<Registered>)>>,
}

impl ListenerBus {
    /// Adds a listener and answers its number.
    pub(crate) fn add(&self, listener: Arc<dyn StreamingQueryListener>) -> u64 {
        let mut shared = lock(&self.shared);
        shared.next += 1;
        let id = shared.next;
        shared.listeners.push((id, listener));
        id
    }

    /// Removes a listener; events already under way may still reach it.
    pub(crate) fn remove(&self, id: u64) {
        lock(&self.shared).listeners.retain(|(other, _)| *other != id);
    }

    /// Queues an event for the listeners registered now.
    pub(crate) fn publish(&self, event: QueryEvent) {
        let mut shared = lock(&self.shared);
        if shared.listeners.is_empty() {
            return;
        }
        let listeners = shared.listeners.clone();
        if shared.events.is_none() {
            shared.events = start();
        }
        if let Some(events) = &shared.events {
            let _ = events.send((event, listeners));
        }
    }
}

impl fmt::Debug for ListenerBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListenerBus").field("listeners", &lock(&self.shared).listeners.len()).finish()
    }
}

/// Starts the thread; it ends when the bus is dropped.
fn start() -> Option<Sender<(QueryEvent, Vec<Registered>)>> {
    let (events, queue) = unbounded();
    let thread = thread::Builder::new().name("millstream-listeners".to_string());
    thread.spawn(move || deliver_all(&queue)).ok().map(|_| events)
}

fn deliver_all(queue: &Receiver<(QueryEvent, Vec<Registered>)>) {
    for (event, listeners) in queue {
        for (_, listener) in listeners {
            if catch_unwind(AssertUnwindSafe(|| deliver(&event, listener.as_ref()))).is_err() {
                log::warn!(target: "millstream::runtime", "a query listener panicked; it stays registered");
            }
        }
    }
}

fn deliver(event: &QueryEvent, listener: &dyn StreamingQueryListener) {
    match event {
        QueryEvent::Started(event) => listener.on_query_started(event),
        QueryEvent::Progress(progress) => listener.on_query_progress(progress),
        QueryEvent::Idle(event) => listener.on_query_idle(event),
        QueryEvent::Terminated(event) => listener.on_query_terminated(event),
    }
}
