//! The only place that asks what time it is.
//!
//! Owns: processing time. Does not own: event time, which is in the data. Triggers, time-outs and
//! `current_timestamp()` all read the session's clock, so a test that sets the clock sets the time of everything.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Called when a clock was moved by hand.
pub type ClockListener = Box<dyn Fn() + Send + Sync>;

/// Where processing time comes from.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// The present, in microseconds since 1970-01-01T00:00:00Z.
    fn now_micros(&self) -> i64;

    /// How long to sleep until `at_micros`, or `None` when this clock moves only by hand and will call its listeners.
    fn sleep_until(&self, at_micros: i64) -> Option<Duration>;

    /// Asks to be called after each move by hand. A clock that runs by itself ignores this.
    fn subscribe(&self, listener: ClockListener);
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that may ask")]
    fn now_micros(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
    }

    fn sleep_until(&self, at_micros: i64) -> Option<Duration> {
        let micros = at_micros.saturating_sub(self.now_micros()).max(0);
        Some(Duration::from_micros(micros.unsigned_abs()))
    }

    fn subscribe(&self, _: ClockListener) {}
}

/// A clock that stands still until a test moves it.
///
/// ```
/// use millstream::testing::ManualClock;
/// use millstream::prelude::*;
/// use std::{sync::Arc, time::Duration};
///
/// let clock = Arc::new(ManualClock::starting_at_millis(0));
/// let session = Session::builder().clock(clock.clone()).build()?;
/// clock.advance(Duration::from_secs(5));
/// assert_eq!(clock.now_millis(), 5_000);
/// # session.stop()?;
/// # Ok::<(), Error>(())
/// ```
#[derive(Default)]
pub struct ManualClock {
    now_micros: Mutex<i64>,
    listeners: Mutex<Vec<ClockListener>>,
}

impl ManualClock {
    /// A clock that shows `millis` milliseconds since 1970-01-01T00:00:00Z.
    pub fn starting_at_millis(millis: i64) -> Self {
        Self { now_micros: Mutex::new(millis.saturating_mul(1000)), listeners: Mutex::default() }
    }

    /// Moves the clock forward and wakes everything that waits for it.
    pub fn advance(&self, by: Duration) {
        let by = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
        {
            let mut now = lock(&self.now_micros);
            *now = now.saturating_add(by);
        }
        for listener in lock(&self.listeners).iter() {
            listener();
        }
    }

    /// The time shown, in milliseconds since 1970-01-01T00:00:00Z.
    pub fn now_millis(&self) -> i64 {
        self.now_micros().div_euclid(1000)
    }
}

impl Clock for ManualClock {
    fn now_micros(&self) -> i64 {
        *lock(&self.now_micros)
    }

    fn sleep_until(&self, _: i64) -> Option<Duration> {
        None
    }

    fn subscribe(&self, listener: ClockListener) {
        lock(&self.listeners).push(listener);
    }
}

impl fmt::Debug for ManualClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManualClock").field("now_micros", &self.now_micros()).finish_non_exhaustive()
    }
}

/// Locks even after a panic elsewhere: what these locks guard is whole at every moment.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
