//! Which windows a time is in.
//!
//! Owns: the arithmetic of tumbling and sliding windows. Does not own: where the times come from, or what is done with the
//! windows (`aggregate`).
//!
//! Windows of length `size` start at `start + n × slide` for every whole `n`, counted from 1970-01-01T00:00:00Z, and hold the times
//! `start <= t < end` (Spark's guide, "Types of time windows"). All values are microseconds.

use std::fmt;

use crate::error::{Error, Result};

/// Windows over event time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Windows {
    size: i64,
    slide: i64,
    start: i64,
}

/// The most windows a row may be in: each is a row of its own for the aggregation.
const MOST_OVERLAPPING: i64 = 10_000;

impl Windows {
    /// Windows of `size` microseconds that begin every `slide` microseconds, `start` microseconds off 1970-01-01T00:00:00Z.
    ///
    /// # Errors
    /// Unless `0 < slide <= size <= 10,000 × slide` and `|start| < slide`.
    pub fn new(size: i64, slide: i64, start: i64) -> Result<Self> {
        let shown = |name: &str, micros: i64| format!("{name} of {}", Micros(micros));
        let refused = |what: String, remedy: &str| Err(Error::plan(format!("window(…) with a {what}: {remedy}")));
        if size <= 0 {
            return refused(shown("size", size), "it must be longer than zero");
        }
        if slide <= 0 {
            return refused(shown("slide", slide), "it must be longer than zero");
        }
        if slide > size {
            let remedy = format!("it may not be longer than the size, {}, or rows would be in no window", Micros(size));
            return refused(shown("slide", slide), &remedy);
        }
        if size / slide > MOST_OVERLAPPING {
            let remedy = format!("a row would be in over {MOST_OVERLAPPING} windows; use a longer one");
            return refused(shown("slide", slide), &remedy);
        }
        if start.unsigned_abs() >= slide.unsigned_abs() {
            let remedy = format!("it must be shorter than the slide, {}", Micros(slide));
            return refused(shown("start time", start), &remedy);
        }
        Ok(Self { size, slide, start })
    }

    /// Windows that follow each other without gap or overlap.
    ///
    /// # Errors
    /// Unless `size` is above 0.
    pub fn tumbling(size: i64) -> Result<Self> {
        Self::new(size, size, 0)
    }

    /// The length of a window in microseconds.
    pub fn size(&self) -> i64 {
        self.size
    }

    /// The distance of two starts in microseconds.
    pub fn slide(&self) -> i64 {
        self.slide
    }

    /// How far windows start off 1970-01-01T00:00:00Z, in microseconds; less than the slide, and perhaps below 0.
    pub(crate) fn start(&self) -> i64 {
        self.start
    }

    /// Whether every time is in exactly one window.
    pub fn is_tumbling(&self) -> bool {
        self.size == self.slide
    }

    /// The end of the last window that holds `time`; `time` itself or less if that is beyond what 64 bits hold.
    #[inline]
    pub fn last_end(&self, time: i64) -> i64 {
        let into = time.wrapping_sub(self.start).rem_euclid(self.slide);
        time.saturating_sub(into).saturating_add(self.size)
    }

    /// The ends of all windows that hold `time`, the last first.
    #[inline]
    pub fn ends(&self, time: i64) -> impl Iterator<Item = i64> + use<> {
        let (last, slide) = (self.last_end(time), self.slide);
        std::iter::successors(Some(last), move |end| end.checked_sub(slide)).take_while(move |end| *end > time)
    }
}

impl fmt::Display for Windows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Micros(self.size))?;
        if !self.is_tumbling() {
            write!(f, " every {}", Micros(self.slide))?;
        }
        if self.start != 0 {
            write!(f, " from {}", Micros(self.start))?;
        }
        Ok(())
    }
}

/// A length of time as people write it, in the largest unit that fits: `5 minutes`.
pub(crate) struct Micros(pub(crate) i64);

impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(86_400_000_000, "day"), (3_600_000_000, "hour"), (60_000_000, "minute"), (1_000_000, "second")];
        let units = units.into_iter().chain([(1000, "millisecond"), (1, "microsecond")]);
        let fits = |(length, _): &(i64, &str)| self.0 != 0 && self.0 % length == 0;
        let (length, unit) = units.into_iter().find(fits).unwrap_or((1_000_000, "second"));
        let count = self.0 / length;
        write!(f, "{count} {unit}{}", if count == 1 { "" } else { "s" })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ends(windows: Windows, time: i64) -> Vec<i64> {
        windows.ends(time).collect()
    }

    #[test]
    fn a_window_holds_its_start_and_not_its_end() {
        let windows = Windows::tumbling(10).unwrap();
        for (time, end) in [(0, 10), (9, 10), (10, 20), (-1, 0), (-10, 0), (-11, -10)] {
            assert_eq!(ends(windows, time), [end], "{time}");
            assert_eq!(windows.last_end(time), end, "{time}");
        }
    }

    #[test]
    fn a_slide_that_does_not_divide_the_size_puts_rows_in_a_varying_number_of_windows() {
        let windows = Windows::new(5, 3, 0).unwrap();
        assert_eq!(ends(windows, 3), [8, 5]);
        assert_eq!(ends(windows, 5), [8]);
        assert_eq!(ends(windows, -1), [2]);
    }

    #[test]
    fn the_ends_of_the_range_of_times_are_in_some_window() {
        let windows = Windows::new(10, 4, -3).unwrap();
        for time in [i64::MIN, i64::MIN + 1, i64::MAX - 1] {
            assert!(windows.ends(time).count() <= 3);
        }
    }

    #[test]
    fn windows_that_make_no_sense_are_refused_with_a_remedy() {
        for ((size, slide, start), word) in [
            ((0, 1, 0), "size"),
            ((-5, 1, 0), "size"),
            ((5, 0, 0), "slide"),
            ((5, 6, 0), "longer than the size"),
            ((5, 5, 5), "start time"),
            ((5, 5, -5), "start time"),
            ((10_001, 1, 0), "over 10000 windows"),
        ] {
            let error = Windows::new(size, slide, start).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn lengths_are_shown_in_the_largest_unit_that_fits() {
        let shown: Vec<_> = [300_000_000, 90_000_000, 1_500_000, 1, 0, 86_400_000_000]
            .map(|micros| Micros(micros).to_string())
            .to_vec();
        assert_eq!(shown, ["5 minutes", "90 seconds", "1500 milliseconds", "1 microsecond", "0 seconds", "1 day"]);
        let windows = Windows::new(300_000_000, 180_000_000, -1_000_000).unwrap();
        assert_eq!(windows.to_string(), "5 minutes every 3 minutes from -1 seconds");
    }

    proptest! {
        #[test]
        fn a_time_is_in_exactly_the_windows_that_hold_it(
            time in -1000_i64..1000,
            size in 1_i64..50,
            slide in 1_i64..50,
            start in -50_i64..50,
        ) {
            let slide = (slide - 1) % size + 1;
            let start = start % slide;
            let windows = Windows::new(size, slide, start).unwrap();
            let mut expected: Vec<i64> = (-2000..2000)
                .map(|n| start + n * slide)
                .filter(|begin| (*begin..begin + size).contains(&time))
                .map(|begin| begin + size)
                .collect();
            expected.reverse();
            prop_assert_eq!(ends(windows, time), expected);
        }
    }
}
