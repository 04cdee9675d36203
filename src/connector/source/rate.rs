//! Numbered rows at a steady rate: `timestamp TIMESTAMP, value BIGINT`.
//!
//! Owns: how many rows each second has, and the times they carry. Does not own: the clock.
//!
//! The offset is the number of whole seconds since the query's first start, together with that start, so that any range
//! gives the same rows again after a restart: `{"seconds": 7, "startMs": 1700000000000}`. Nothing else needs to be saved.
//! A restart with another `rowsPerSecond` or `rampUpTime` numbers all rows anew, as in Spark.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatchOptions, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use serde::{Deserialize, Serialize};

use super::{parse_offset, project_schema, reader_count, timestamp_type};
use crate::clock::Clock;
use crate::connector::options::Options;
use crate::connector::{NextPoll, Offset, ReadLimit, Source, SourceFactory, SourceWaker, SplitReader};
use crate::error::{Error, Result};

/// Makes rate sources as the options say.
#[derive(Debug, Clone)]
pub struct RateFactory {
    rate: Rate,
    clock: Arc<dyn Clock>,
}

/// How many rows when.
#[derive(Debug, Clone, Copy)]
struct Rate {
    rows_per_second: u64,
    ramp_up_seconds: u64,
    max_readers: Option<u64>,
}

impl RateFactory {
    /// Reads the options `rowsPerSecond` (1), `rampUpTime` (0s) and `numPartitions` (the most readers an epoch has).
    ///
    /// # Errors
    /// When one is bad or unknown.
    pub fn new(options: &Options, clock: Arc<dyn Clock>) -> Result<Self> {
        let rate = Rate {
            rows_per_second: options.positive("rowsPerSecond")?.unwrap_or(1),
            ramp_up_seconds: options.duration("rampUpTime")?.unwrap_or_default().as_secs(),
            max_readers: options.positive("numPartitions")?,
        };
        options.finish("the rate source")?;
        Ok(Self { rate, clock })
    }
}

impl Rate {
    /// How many rows the first `seconds` seconds have.
    ///
    /// While it ramps up, second s has s times as many rows as the first; afterwards every second has the full rate.
    fn rows_until(self, seconds: i64) -> Result<i64> {
        let (seconds, ramp_up) = (i128::from(seconds.max(0)), i128::from(self.ramp_up_seconds));
        let full = i128::from(self.rows_per_second);
        let step = full / (ramp_up + 1);
        let slow = seconds.min(ramp_up);
        let rows = slow * (slow + 1) / 2 * step + (seconds - slow) * full;
        i64::try_from(rows).map_err(|_| {
            let text = format!("the rate source has no more numbers after {seconds} s at rowsPerSecond=`{full}`");
            Error::connector(format!("{text}; lower rowsPerSecond"))
        })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rows, ramp_up) = (self.rows_per_second, self.ramp_up_seconds);
        write!(f, "RateStream[rowsPerSecond: {rows}, rampUpTimeSeconds: {ramp_up}]")
    }
}

impl SourceFactory for RateFactory {
    fn schema(&self) -> SchemaRef {
        schema()
    }

    fn description(&self) -> String {
        self.rate.to_string()
    }

    fn open(&self, projection: Option<&[usize]>) -> Result<Box<dyn Source>> {
        Ok(Box::new(RateSource {
            rate: self.rate,
            clock: Arc::clone(&self.clock),
            columns: Columns::new(projection)?,
            last: None,
            fixed_end: None,
            waker: None,
        }))
    }
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct RateOffset {
    seconds: i64,
    #[serde(rename = "startMs")]
    start_ms: i64,
}

impl RateOffset {
    fn parse(offset: &Offset) -> Result<Self> {
        parse_offset(offset, "rate")
    }

    fn to_offset(self) -> Offset {
        Offset(serde_json::json!({ "seconds": self.seconds, "startMs": self.start_ms }))
    }
}

struct RateSource {
    rate: Rate,
    clock: Arc<dyn Clock>,
    columns: Columns,
    /// The last offset handed out.
    last: Option<RateOffset>,
    /// No second after this one is handed out.
    fixed_end: Option<i64>,
    /// Kept here and only lent to the clock, which never forgets a listener.
    waker: Option<Arc<SourceWaker>>,
}

impl RateSource {
    /// The last of the seconds after `from` up to `end` whose rows have about `most` bytes together; at least the first.
    fn second_within(&self, from: i64, end: i64, most: u64) -> Result<i64> {
        let first = self.rate.rows_until(from)?;
        let rows = i64::try_from(most / ROW_BYTES).unwrap_or(i64::MAX);
        let (mut low, mut high) = (from + 1, end.max(from + 1));
        while low < high {
            let middle = low + (high - low + 1) / 2;
            if self.rate.rows_until(middle)? - first <= rows { low = middle } else { high = middle - 1 }
        }
        Ok(low)
    }

    fn now_ms(&self) -> i64 {
        self.clock.now_micros().div_euclid(1000)
    }
}

impl Source for RateSource {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.columns.schema)
    }

    fn description(&self) -> String {
        self.rate.to_string()
    }

    fn initial(&mut self) -> Result<Offset> {
        let first = RateOffset { seconds: 0, start_ms: self.now_ms() };
        self.last = Some(first);
        Ok(first.to_offset())
    }

    fn latest(&mut self, from: &Offset, limit: ReadLimit) -> Result<Offset> {
        let from = RateOffset::parse(from)?;
        let now = (self.now_ms() - from.start_ms).div_euclid(1000);
        let end = self.fixed_end.map_or(now, |end| now.min(end));
        let end = match limit {
            ReadLimit::Bytes(bytes) => end.min(self.second_within(from.seconds, end, bytes)?),
            ReadLimit::All | ReadLimit::Options => end,
        };
        let latest = RateOffset { seconds: end.max(from.seconds), ..from };
        self.last = Some(latest);
        Ok(latest.to_offset())
    }

    fn plan(&mut self, from: &Offset, to: &Offset, parallelism: usize) -> Result<Vec<Box<dyn SplitReader>>> {
        let (from, to) = (RateOffset::parse(from)?, RateOffset::parse(to)?);
        let (first, end) = (self.rate.rows_until(from.seconds)?, self.rate.rows_until(to.seconds)?);
        let begin_ms = from.start_ms + from.seconds * 1000;
        let span_ms = (to.seconds - from.seconds) * 1000;
        let rows = (end - first).max(1);
        let time_of = move |value: i64| (begin_ms + spread_ms(value - first, span_ms, rows)) * 1000;
        Ok(readers(first..end, self.rate.max_readers, parallelism, &self.columns, time_of))
    }

    fn fix_end(&mut self, from: &Offset) -> Result<()> {
        let end = self.latest(from, ReadLimit::All)?;
        self.fixed_end = Some(RateOffset::parse(&end)?.seconds);
        Ok(())
    }

    fn subscribe(&mut self, waker: SourceWaker) {
        let waker = Arc::new(waker);
        let lent = Arc::downgrade(&waker);
        self.waker = Some(waker);
        self.clock.subscribe(Box::new(move || {
            if let Some(waker) = lent.upgrade() {
                waker.wake();
            }
        }));
    }

    fn next_poll(&mut self) -> NextPoll {
        let Some(last) = self.last else { return NextPoll::OnWake };
        let next_ms = last.start_ms + (last.seconds + 1) * 1000;
        self.clock.sleep_until(next_ms.saturating_mul(1000)).map_or(NextPoll::OnWake, NextPoll::After)
    }
}

/// When row `index` of `rows` comes, in milliseconds since the first, if they fill `span_ms` evenly. In floating
/// point, so that halves are rounded just as Spark does.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "numbers of one epoch are far below 2^53"
)]
fn spread_ms(index: i64, span_ms: i64, rows: i64) -> i64 {
    let ms_per_row = span_ms as f64 / rows as f64;
    (index as f64 * ms_per_row + 0.5).floor() as i64
}

fn schema() -> SchemaRef {
    let timestamp = Field::new("timestamp", timestamp_type(), true);
    Arc::new(Schema::new(vec![timestamp, Field::new("value", DataType::Int64, true)]))
}

/// Which of the columns `timestamp` and `value` are wanted.
#[derive(Debug, Clone)]
pub(super) struct Columns {
    pub(super) schema: SchemaRef,
    projection: Vec<usize>,
}

impl Columns {
    pub(super) fn new(projection: Option<&[usize]>) -> Result<Self> {
        let schema = project_schema(&schema(), projection)?;
        Ok(Self { schema, projection: projection.unwrap_or(&[0, 1]).to_vec() })
    }
}

/// Readers of the rows numbered `values`, each a stretch of them; `time_of` gives a row's time in microseconds.
pub(super) fn readers<F>(
    values: Range<i64>,
    max_readers: Option<u64>,
    parallelism: usize,
    columns: &Columns,
    time_of: F,
) -> Vec<Box<dyn SplitReader>>
where
    F: Fn(i64) -> i64 + Copy + Send + 'static,
{
    let rows = usize::try_from(values.end - values.start).unwrap_or(0);
    let most = max_readers.map_or(parallelism, |most| parallelism.min(usize::try_from(most).unwrap_or(usize::MAX)));
    let stretch = rows.div_ceil(reader_count(rows, most)).max(1);
    let reader = |start: i64| -> Box<dyn SplitReader> {
        let end = values.end.min(start.saturating_add(i64::try_from(stretch).unwrap_or(i64::MAX)));
        Box::new(NumberReader { values: start..end, columns: columns.clone(), time_of })
    };
    values.clone().step_by(stretch).map(reader).collect()
}

/// The numbers of one batch.
const BATCH_STEP: i64 = 8192;

/// A time and a number.
const ROW_BYTES: u64 = 16;

struct NumberReader<F> {
    values: Range<i64>,
    columns: Columns,
    time_of: F,
}

impl<F: Fn(i64) -> i64 + Send> SplitReader for NumberReader<F> {
    fn next(&mut self) -> Result<Option<RecordBatch>> {
        let end = self.values.end.min(self.values.start.saturating_add(BATCH_STEP));
        let values = self.values.start..end;
        self.values.start = end;
        if values.is_empty() {
            return Ok(None);
        }
        let column = |index: &usize| -> ArrayRef {
            match index {
                0 => {
                    let times = TimestampMicrosecondArray::from_iter_values(values.clone().map(&self.time_of));
                    Arc::new(times.with_timezone("UTC"))
                }
                _ => Arc::new(Int64Array::from_iter_values(values.clone())),
            }
        };
        let columns = self.columns.projection.iter().map(column).collect();
        let rows = usize::try_from(values.end - values.start).ok();
        let options = RecordBatchOptions::new().with_row_count(rows);
        Ok(Some(RecordBatch::try_new_with_options(Arc::clone(&self.columns.schema), columns, &options)?))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use arrow::array::cast::AsArray;
    use arrow::datatypes::{Int64Type, TimestampMicrosecondType};

    use super::*;
    use crate::clock::{ManualClock, SystemClock};

    fn factory(pairs: &[(&str, &str)], clock: Arc<dyn Clock>) -> RateFactory {
        let mut options = Options::new();
        for (name, value) in pairs {
            options.set(name, value);
        }
        RateFactory::new(&options, clock).unwrap()
    }

    fn clock() -> Arc<ManualClock> {
        Arc::new(ManualClock::starting_at_millis(10_500))
    }

    /// Milliseconds and number of each row.
    fn rows(source: &mut dyn Source, from: &Offset, to: &Offset, parallelism: usize) -> Vec<(i64, i64)> {
        let mut rows = Vec::new();
        for mut reader in source.plan(from, to, parallelism).unwrap() {
            while let Some(batch) = reader.next().unwrap() {
                let times = batch.column(0).as_primitive::<TimestampMicrosecondType>();
                let values = batch.column(1).as_primitive::<Int64Type>();
                rows.extend(times.values().iter().map(|t| t / 1000).zip(values.values().iter().copied()));
            }
        }
        rows
    }

    #[test]
    fn rows_are_spread_evenly_over_the_seconds_since_the_start() {
        let clock = clock();
        let mut source = factory(&[("rowsPerSecond", "3")], clock.clone()).open(None).unwrap();
        let start = source.initial().unwrap();
        assert_eq!(source.latest(&start, ReadLimit::Options).unwrap(), start);
        clock.advance(Duration::from_millis(2_999));
        let two = source.latest(&start, ReadLimit::Options).unwrap();
        assert_eq!(two.to_string(), r#"{"seconds":2,"startMs":10500}"#);
        let expected = [(10_500, 0), (10_833, 1), (11_167, 2), (11_500, 3), (11_833, 4), (12_167, 5)];
        assert_eq!(rows(source.as_mut(), &start, &two, 1), expected);
    }

    #[test]
    fn a_stored_range_gives_the_same_rows_in_a_later_run() {
        let clock = clock();
        let factory = factory(&[("rowsPerSecond", "20000")], clock.clone());
        let mut first = factory.open(None).unwrap();
        let start = first.initial().unwrap();
        clock.advance(Duration::from_secs(3));
        let end = first.latest(&start, ReadLimit::Options).unwrap();
        let expected = rows(first.as_mut(), &start, &end, 1);
        assert_eq!(expected.len(), 60_000);
        clock.advance(Duration::from_secs(100));
        let mut second = factory.open(None).unwrap();
        assert_eq!(rows(second.as_mut(), &start, &end, 4), expected);
        assert_eq!(second.plan(&start, &end, 4).unwrap().len(), 4);
    }

    #[test]
    fn the_rate_ramps_up_by_equal_steps() {
        let rate = Rate { rows_per_second: 10, ramp_up_seconds: 4, max_readers: None };
        let rows: Vec<i64> = (0..7).map(|seconds| rate.rows_until(seconds).unwrap()).collect();
        assert_eq!(rows, [0, 2, 6, 12, 20, 30, 40]);
        let fast = Rate { rows_per_second: u64::MAX, ramp_up_seconds: 0, max_readers: None };
        assert!(fast.rows_until(2).unwrap_err().message().contains("lower rowsPerSecond"));
    }

    #[test]
    fn a_running_clock_says_when_the_next_second_is_full_and_a_manual_one_wakes() {
        let clock = clock();
        let mut source = factory(&[], clock.clone()).open(None).unwrap();
        let woken = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&woken);
        source.subscribe(SourceWaker::new(move || {
            counter.fetch_add(1, Ordering::Relaxed);
        }));
        source.initial().unwrap();
        assert_eq!(source.next_poll(), NextPoll::OnWake);
        clock.advance(Duration::from_secs(1));
        drop(source);
        clock.advance(Duration::from_secs(1));
        assert_eq!(woken.load(Ordering::Relaxed), 1);

        let mut source = factory(&[], Arc::new(SystemClock)).open(None).unwrap();
        source.initial().unwrap();
        assert!(matches!(source.next_poll(), NextPoll::After(wait) if wait <= Duration::from_secs(1)));
    }

    #[test]
    fn a_fixed_end_and_a_clock_that_goes_back_are_kept_to() {
        let clock = clock();
        let mut source = factory(&[], clock.clone()).open(None).unwrap();
        let start = source.initial().unwrap();
        clock.advance(Duration::from_secs(2));
        source.fix_end(&start).unwrap();
        clock.advance(Duration::from_secs(2));
        let end = source.latest(&start, ReadLimit::All).unwrap();
        assert!(end.to_string().contains(r#""seconds":2"#), "{end}");
        let later = RateOffset { seconds: 9, start_ms: 10_500 }.to_offset();
        assert_eq!(source.latest(&later, ReadLimit::All).unwrap(), later);
    }

    #[test]
    fn without_columns_the_rows_are_still_counted() {
        let clock = clock();
        let mut source = factory(&[], clock.clone()).open(Some(&[])).unwrap();
        let start = source.initial().unwrap();
        clock.advance(Duration::from_secs(5));
        let end = source.latest(&start, ReadLimit::All).unwrap();
        let batch = source.plan(&start, &end, 1).unwrap()[0].next().unwrap().unwrap();
        assert_eq!((batch.num_rows(), batch.num_columns()), (5, 0));
    }

    #[test]
    fn a_foreign_offset_is_refused() {
        let mut source = factory(&[], clock()).open(None).unwrap();
        let error = source.latest(&Offset::from(3), ReadLimit::All).unwrap_err();
        assert!(error.message().contains("not an offset of the rate source"), "{error}");
    }
}
