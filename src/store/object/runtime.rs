//! Waits for asynchronous calls on threads of its own.
//!
//! Owns: the threads that talk to the store. Does not own: the calls.

use std::io;
use std::sync::mpsc;
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};

use crate::error::{Error, Result};

/// Enough that a large object under way does not hold up a small one.
const THREADS: usize = 2;

/// A small runtime of a store's own. Callers wait on a channel and not inside of it, so that a caller's own runtime does not matter.
pub(super) struct Blocking {
    /// Taken by the drop.
    runtime: Option<Runtime>,
    handle: Handle,
}

impl Blocking {
    pub(super) fn start() -> Result<Self> {
        let mut builder = Builder::new_multi_thread();
        let runtime = builder.worker_threads(THREADS).thread_name("checkpoint-store").enable_all().build();
        let runtime = runtime.map_err(no_threads)?;
        let handle = runtime.handle().clone();
        Ok(Self { runtime: Some(runtime), handle })
    }

    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Runs `call` to its end; the calling thread sleeps meanwhile.
    pub(super) fn wait<T: Send + 'static>(&self, call: impl Future<Output = T> + Send + 'static) -> Result<T> {
        let (answer, answered) = mpsc::sync_channel(1);
        self.handle.spawn(async move {
            // Nobody waits any more only if the caller's thread died.
            let _ = answer.send(call.await);
        });
        answered.recv().map_err(|_| Error::internal("the client of the checkpoint store panicked"))
    }

    pub(super) fn pause(&self, pause: Duration) -> Result<()> {
        self.wait(async move { tokio::time::sleep(pause).await })
    }
}

/// Waiting for the threads here would panic if the store is dropped on a runtime's thread.
impl Drop for Blocking {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn no_threads(error: io::Error) -> Error {
    Error::connector(format!(
        "cannot start the threads that talk to the checkpoint store: {error}; raise the limit of threads"
    ))
    .with_source(error)
}
