//! How long rows take from a source to the sink: a histogram of bounded error and its percentiles.
//!
//! Owns: counting and percentiles. Does not own: when a row was read or handed over; times are given by the caller.
//!
//! Values are kept by their five highest bits (as in HdrHistogram, Tene 2012), so a percentile is at most 1/16 above the value
//! it stands for, and 1 µs and 1 hour cost the same few kilobytes.

use serde::Serialize;

/// Values below this have a bucket of their own; above, each doubling is cut into half as many.
const FINE: u64 = 32;
const HALF: u64 = FINE / 2;
/// Enough for 2⁴⁰ µs, twelve days; what is longer counts as that.
const BUCKETS: usize = 32 + 35 * 16;

/// Rows that were read together, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// When they were read from outside, in microseconds since 1970-01-01T00:00:00Z.
    pub micros: i64,
    /// How many there are.
    pub rows: u64,
}

/// How long rows took from being read by their source until what became of them was handed to the sink's writer, in milliseconds. When a
/// sink shows it is another matter: files, for one, at the next commit.
///
/// Only sources that know when they read something take part (`socket`; others by
/// [`Source::arrivals`](crate::connector::Source::arrivals)), and only epochs that put something out. Percentiles are at most 1/16
/// above the true ones.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct LatencyStats {
    /// How many rows were measured.
    pub rows: u64,
    /// The shortest.
    #[serde(rename = "P0")]
    pub min: f64,
    /// Half of the rows took no longer.
    #[serde(rename = "P50")]
    pub p50: f64,
    /// Nine of ten took no longer.
    #[serde(rename = "P90")]
    pub p90: f64,
    /// 95 of 100 took no longer.
    #[serde(rename = "P95")]
    pub p95: f64,
    /// 99 of 100 took no longer.
    #[serde(rename = "P99")]
    pub p99: f64,
    /// The longest.
    #[serde(rename = "P100")]
    pub max: f64,
}

/// Counts of latencies in microseconds.
#[derive(Debug, Clone)]
pub(crate) struct LatencyHistogram {
    counts: Vec<u64>,
    rows: u64,
    min: u64,
    max: u64,
}

impl Default for LatencyHistogram {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS], rows: 0, min: u64::MAX, max: 0 }
    }
}

impl LatencyHistogram {
    /// Counts rows that arrived and were handed to a sink at `micros`. A clock that was set back counts as no time.
    pub(crate) fn add(&mut self, arrival: Arrival, micros: i64) {
        if arrival.rows == 0 {
            return;
        }
        let took = u64::try_from(micros.saturating_sub(arrival.micros)).unwrap_or(0);
        self.counts[bucket(took)] += arrival.rows;
        self.rows += arrival.rows;
        self.min = self.min.min(took);
        self.max = self.max.max(took);
    }

    /// What was counted; `None` if nothing was.
    pub(crate) fn stats(&self) -> Option<LatencyStats> {
        (self.rows > 0).then(|| LatencyStats {
            rows: self.rows,
            min: millis(self.min),
            p50: millis(self.percentile(50)),
            p90: millis(self.percentile(90)),
            p95: millis(self.percentile(95)),
            p99: millis(self.percentile(99)),
            max: millis(self.max),
        })
    }

    /// The smallest value that `percent` of the rows did not exceed, to the upper end of its bucket.
    fn percentile(&self, percent: u64) -> u64 {
        let wanted = (u128::from(self.rows) * u128::from(percent)).div_ceil(100);
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += u128::from(*count);
            if seen >= wanted {
                return upper_end(bucket).clamp(self.min, self.max);
            }
        }
        self.max
    }
}

#[expect(clippy::cast_precision_loss, reason = "a latency of centuries need not be exact")]
fn millis(micros: u64) -> f64 {
    micros as f64 / 1000.0
}

#[expect(clippy::cast_possible_truncation, reason = "a bucket's number is small")]
fn bucket(value: u64) -> usize {
    if value < FINE {
        return value as usize;
    }
    let shift = u64::from(value.ilog2()) - 4;
    let bucket = FINE + (shift - 1) * HALF + ((value >> shift) - HALF);
    (bucket as usize).min(BUCKETS - 1)
}

/// The largest value of a bucket.
fn upper_end(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < FINE {
        return bucket;
    }
    let (shift, place) = ((bucket - FINE) / HALF + 1, (bucket - FINE) % HALF + HALF);
    ((place + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(micros: i64, rows: u64) -> Arrival {
        Arrival { micros, rows }
    }

    #[test]
    fn rows_are_weighed_and_nothing_measured_is_nothing_shown() {
        let mut histogram = LatencyHistogram::default();
        assert_eq!(histogram.stats(), None);
        histogram.add(at(1_000, 0), 9_000);
        assert_eq!(histogram.stats(), None);
        histogram.add(at(1_000, 98), 1_010);
        histogram.add(at(1_000, 2), 5_000_000);
        let stats = histogram.stats().unwrap();
        assert_eq!((stats.rows, stats.min, stats.p50, stats.p95), (100, 0.01, 0.01, 0.01));
        assert!((stats.max - 4_999.0).abs() < 1e-9 && stats.p99 > 4_600.0, "{stats:?}");
    }

    #[test]
    fn a_clock_set_back_and_a_very_long_wait_are_counted() {
        let mut histogram = LatencyHistogram::default();
        histogram.add(at(10, 1), 3);
        histogram.add(at(i64::MIN, 1), i64::MAX);
        let stats = histogram.stats().unwrap();
        assert_eq!((stats.rows, stats.min), (2, 0.0));
        assert!(stats.max > 1e12);
    }

    proptest! {
        #[test]
        fn percentiles_are_at_most_a_sixteenth_above_those_of_the_sorted_values(
            values in prop::collection::vec(0..40_000_000_i64, 1..200),
        ) {
            let mut histogram = LatencyHistogram::default();
            let mut sorted = values.clone();
            sorted.sort_unstable();
            for value in &values {
                histogram.add(at(0, 1), *value);
            }
            let stats = histogram.stats().unwrap();
            for (percent, found) in [(50, stats.p50), (90, stats.p90), (95, stats.p95), (99, stats.p99)] {
                let place = (sorted.len() * percent).div_ceil(100) - 1;
                let expected = millis(sorted[place].unsigned_abs());
                prop_assert!(found >= expected && found <= expected * (1.0 + 1.0 / 16.0), "P{percent}: {found} for {expected}");
            }
        }
    }
}
