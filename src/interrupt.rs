//! Ctrl-C and SIGTERM: stop queries cleanly, at the second time end at once.
//!
//! Owns: the process's signal handler, installed when a program first waits for a query. A program that has a handler of
//! its own keeps it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, Once};

use crate::clock::lock;
use crate::query::StreamingQuery;

static INSTALL: Once = Once::new();
static WAS_INTERRUPTED: AtomicBool = AtomicBool::new(false);
static ACTIVE: Mutex<Vec<StreamingQuery>> = Mutex::new(Vec::new());

/// The exit code of a process ended by Ctrl-C.
const INTERRUPTED: i32 = 130;

/// A query that an interrupt must stop.
pub(crate) fn add(query: &StreamingQuery) {
    let mut active = lock(&ACTIVE);
    active.retain(StreamingQuery::is_active);
    active.push(query.clone());
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
    if WAS_INTERRUPTED.swap(true, Ordering::SeqCst) {
        std::process::exit(INTERRUPTED);
    }
    log::info!(target: "millstream::runtime", "interrupted: stopping after the running epochs; again to end at once");
    for query in lock(&ACTIVE).iter() {
        query.request_stop();
    }
}
