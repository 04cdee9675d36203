//! Events of a query's life, for a user's own code.
//!
//! Owns: the trait and its events. Does not own: delivery (`runtime::listeners`).

use super::StreamingQueryProgress;
use crate::error::Error;

/// Is told what happens to the queries of a session.
///
/// Calls come one after the other, on a thread of their own, in the order of the events of each query: started, then
/// progress and idle, then terminated. A listener that is slow or panics delays and harms no query. Each method does
/// nothing by default.
pub trait StreamingQueryListener: Send + Sync {
    /// A query has started; it may not have run an epoch yet.
    fn on_query_started(&self, event: &QueryStartedEvent) {
        let _ = event;
    }

    /// An epoch was committed.
    fn on_query_progress(&self, progress: &StreamingQueryProgress) {
        let _ = progress;
    }

    /// A query had nothing to do for a while.
    fn on_query_idle(&self, event: &QueryIdleEvent) {
        let _ = event;
    }

    /// A query is over.
    fn on_query_terminated(&self, event: &QueryTerminatedEvent) {
        let _ = event;
    }
}

/// A query has started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryStartedEvent {
    /// The query's id, which it keeps over restarts from the same checkpoint.
    pub id: String,
    /// The id of this start.
    pub run_id: String,
    /// The name the user gave.
    pub name: Option<String>,
    /// When it started: ISO 8601, UTC, milliseconds.
    pub timestamp: String,
}

/// A query had nothing to do for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryIdleEvent {
    /// The query's id, which it keeps over restarts from the same checkpoint.
    pub id: String,
    /// The id of this start.
    pub run_id: String,
    /// When this was noticed: ISO 8601, UTC, milliseconds.
    pub timestamp: String,
}

/// A query is over.
#[derive(Debug, Clone)]
pub struct QueryTerminatedEvent {
    /// The query's id, which it keeps over restarts from the same checkpoint.
    pub id: String,
    /// The id of this start.
    pub run_id: String,
    /// Why it failed; `None` when it was stopped or came to its end.
    pub exception: Option<Error>,
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Default)]
    struct Ends(Mutex<Vec<String>>);

    impl StreamingQueryListener for Ends {
        fn on_query_terminated(&self, event: &QueryTerminatedEvent) {
            let why = event.exception.as_ref().map_or_else(String::new, ToString::to_string);
            self.0.lock().unwrap().push(why);
        }
    }

    #[test]
    fn a_listener_implements_only_what_it_wants_to_hear() {
        let listener = Ends::default();
        let (id, run_id, timestamp) = ("a".to_string(), "b".to_string(), String::new());
        listener.on_query_idle(&QueryIdleEvent { id: id.clone(), run_id: run_id.clone(), timestamp });
        listener.on_query_terminated(&QueryTerminatedEvent { id, run_id, exception: Some(Error::user("boom")) });
        assert_eq!(*listener.0.lock().unwrap(), ["boom"]);
    }
}
