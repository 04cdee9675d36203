//! Ctrl-C and SIGTERM: stop queries cleanly, at the second time end at once.
//!
//! Owns: the process's signal handler, installed when a program first waits for a query. A program that has a handler of
//! its own keeps it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, Once};

use uuid::Uuid;

use crate::clock::lock;
use crate::query::StreamingQuery;

static INSTALL: Once = Once::new();
static WAS_INTERRUPTED: AtomicBool = AtomicBool::new(false);
static ACTIVE: Mutex<Vec<StreamingQuery>> = Mutex::new(Vec::new());

/// The exit code of a process ended by Ctrl-C.
const INTERRUPTED: i32 = 130;

/// A query that an interrupt must stop. With the first after none, a past interrupt is forgotten.
pub(crate) fn add(query: &StreamingQuery) {
    let mut active = lock(&ACTIVE);
    active.retain(StreamingQuery::is_active);
    if active.is_empty() {
        WAS_INTERRUPTED.store(false, Ordering::SeqCst);
    }
    if query.is_active() {
        active.push(query.clone());
    }
}

/// The query of this id is over.
pub(crate) fn remove(id: Uuid) {
    lock(&ACTIVE).retain(|query| query.id() != id);
}

/// Installs the handler, once.
pub(crate) fn install() {
    INSTALL.call_once(|| {
        if let Err(error) = ctrlc::set_handler(interrupted) {
            log::debug!(target: "millstream::runtime", "the program handles Ctrl-C itself: {error}");
        }
    });
}

fn interrupted() {
    let active = lock(&ACTIVE).clone();
    if WAS_INTERRUPTED.swap(true, Ordering::SeqCst) || active.is_empty() {
        std::process::exit(INTERRUPTED);
    }
    log::info!(target: "millstream::runtime", "interrupted: stopping after the running epochs; again to end at once");
    for query in active {
        query.request_stop();
    }
}
