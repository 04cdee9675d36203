//! The process-wide actor system: one engine thread and one worker arbiter for each core.
//!
//! Owns: starting them once, on first use, and handing out places. They live as long as the process and sleep while no
//! query runs.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use actix::{Arbiter, ArbiterHandle, System};
use crossbeam_channel::{Sender, bounded};

use super::io_pool::IoPool;
use crate::error::{Error, Result};

/// Where actors live.
pub(crate) struct Engine {
    system: ArbiterHandle,
    workers: Vec<ArbiterHandle>,
    io: IoPool,
    maintenance: IoPool,
    queries: AtomicUsize,
}

static ENGINE: OnceLock<Option<Engine>> = OnceLock::new();

impl Engine {
    /// The engine, started by the first call.
    ///
    /// # Errors
    /// When its threads cannot be started.
    pub(crate) fn get() -> Result<&'static Self> {
        ENGINE
            .get_or_init(Self::start)
            .as_ref()
            .ok_or_else(|| Error::internal("the engine's threads cannot be started"))
    }

    /// How many worker arbiters there are: one a core.
    pub(crate) fn cores() -> usize {
        thread::available_parallelism().map_or(1, usize::from)
    }

    /// The arbiter of coordinators and checkpoint actors.
    pub(super) fn system(&self) -> &ArbiterHandle {
        &self.system
    }

    /// Threads that may block.
    pub(crate) fn io(&self) -> &IoPool {
        &self.io
    }

    /// One thread for work that can wait and takes much memory for a while, such as compaction: on several threads an allocator
    /// would keep that memory for each of them, and the queries would have to share their cores with all.
    pub(super) fn maintenance(&self) -> &IoPool {
        &self.maintenance
    }

    /// A first arbiter for a new query, so that many small queries spread over the cores.
    pub(super) fn next_place(&self) -> usize {
        self.queries.fetch_add(1, Ordering::Relaxed)
    }

    /// The arbiter for instance `instance` of a query whose first place is `place`.
    pub(super) fn worker(&self, place: usize, instance: usize) -> &ArbiterHandle {
        &self.workers[(place + instance) % self.workers.len()]
    }

    fn start() -> Option<Self> {
        let (ready, started) = bounded(1);
        let engine = thread::Builder::new().name("millstream-engine".to_string());
        engine.spawn(move || run_system(&ready)).ok()?;
        let (system, workers) = started.recv().ok()?;
        Some(Self {
            system,
            workers,
            io: IoPool::new(),
            maintenance: IoPool::with_most(1),
            queries: AtomicUsize::new(0),
        })
    }
}

fn run_system(ready: &Sender<(ArbiterHandle, Vec<ArbiterHandle>)>) {
    let system = System::new();
    let workers = (0..Engine::cores()).map(|_| Arbiter::new().handle()).collect();
    if ready.send((System::current().arbiter().clone(), workers)).is_ok()
        && let Err(error) = system.run()
    {
        log::error!(target: "millstream::runtime", "the engine ended: {error}");
    }
}
