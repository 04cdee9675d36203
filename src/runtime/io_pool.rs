//! Threads for everything that blocks: reading, decoding, writing, user callbacks.
//!
//! Owns: that a job which blocks for hours delays no other job. There are always at least as many threads as jobs, up
//! to a limit; idle ones end by themselves.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, unbounded};

use crate::clock::lock;
use crate::error::{Error, Result};

type Job = Box<dyn FnOnce() + Send>;

/// More blocked jobs than this wait for each other.
const MOST_THREADS: usize = 1024;
/// An idle thread ends after this long.
const IDLE: Duration = Duration::from_secs(10);

/// A pool of threads that may block.
#[derive(Clone)]
pub(crate) struct IoPool {
    jobs: Sender<Job>,
    waiting: Receiver<Job>,
    count: Arc<Mutex<Count>>,
    most_threads: usize,
}

#[derive(Debug, Default)]
struct Count {
    threads: usize,
    /// Jobs queued or running.
    jobs: usize,
}

impl IoPool {
    pub(crate) fn new() -> Self {
        Self::with_most(MOST_THREADS)
    }

    /// A pool in which more jobs than this wait for each other.
    pub(crate) fn with_most(most_threads: usize) -> Self {
        let (jobs, waiting) = unbounded();
        Self { jobs, waiting, count: Arc::default(), most_threads }
    }

    /// Runs `job` on some thread of the pool. A panic inside ends the job only.
    pub(crate) fn submit(&self, job: impl FnOnce() + Send + 'static) {
        let needs_thread = {
            let mut count = lock(&self.count);
            count.jobs += 1;
            let needed = count.jobs > count.threads && count.threads < self.most_threads;
            count.threads += usize::from(needed);
            needed
        };
        // The pool holds a receiver itself, so the channel is open.
        let _ = self.jobs.send(Box::new(job));
        if needs_thread {
            self.spawn();
        }
    }

    fn spawn(&self) {
        let pool = self.clone();
        let spawned = thread::Builder::new().name("millstream-io".to_string()).spawn(move || pool.work());
        if let Err(error) = spawned {
            lock(&self.count).threads -= 1;
            log::error!(target: "millstream::runtime", "cannot start an IO thread: {error}");
        }
    }

    fn work(&self) {
        loop {
            if let Ok(job) = self.waiting.recv_timeout(IDLE) {
                let _ = catch_unwind(AssertUnwindSafe(job));
                lock(&self.count).jobs -= 1;
                continue;
            }
            let mut count = lock(&self.count);
            if count.threads > count.jobs {
                count.threads -= 1;
                return;
            }
        }
    }
}

/// Waits before another try of something outside that failed; for threads of the pool only.
#[expect(
    clippy::disallowed_methods,
    reason = "there is no event to wait for: a disk or a network does not tell when it is well"
)]
pub(crate) fn pause(length: Duration) {
    thread::sleep(length);
}

/// Runs `work` and turns a panic into an error that says what it was doing.
pub(crate) fn contained<T>(doing: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(ToString::to_string);
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_string());
        Err(Error::user(format!("{doing} panicked: {text}")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blocked_job_delays_no_other() {
        let pool = IoPool::new();
        let (release, blocked) = unbounded::<()>();
        let (done, finished) = unbounded();
        for _ in 0..8 {
            let (blocked, done) = (blocked.clone(), done.clone());
            pool.submit(move || {
                let _ = blocked.recv();
                let _ = done.send("blocked");
            });
        }
        let quick = done.clone();
        pool.submit(move || {
            let _ = quick.send("quick");
        });
        assert_eq!(finished.recv().unwrap(), "quick");
        drop(release);
        assert_eq!((0..8).map(|_| finished.recv().unwrap()).filter(|word| *word == "blocked").count(), 8);
    }

    #[test]
    fn a_panicking_job_leaves_the_pool_whole_and_its_text_is_kept() {
        let error = contained("the closure", || -> Result<()> { panic!("boom {}", 1) }).unwrap_err();
        assert_eq!(error.message(), "the closure panicked: boom 1");
        let pool = IoPool::new();
        let (done, finished) = unbounded();
        pool.submit(|| panic!("ignored"));
        pool.submit(move || {
            let _ = done.send(());
        });
        finished.recv().unwrap();
    }
}
