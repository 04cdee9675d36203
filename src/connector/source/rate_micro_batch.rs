//! The same number of rows in every epoch, whenever it runs: `timestamp TIMESTAMP, value BIGINT`.
//!
//! Owns: which rows epoch n has. Does not own: when epochs run; there are always more rows. All rows of an epoch carry
//! the time at which it starts on the source's own scale, which every epoch moves on.
//!
//! The offset is where the next epoch begins: `{"offset": 2000, "timestamp": 3000}`, a row number and milliseconds. So a
//! range gives the same rows after a restart, also with other options, and nothing else needs to be saved.

use std::fmt;

use arrow::datatypes::SchemaRef;
use serde::{Deserialize, Serialize};

use super::parse_offset;
use super::rate::{Columns, readers};
use crate::connector::options::Options;
use crate::connector::{Offset, ReadLimit, Source, SourceFactory, SplitReader};
use crate::error::{Error, Result};

/// Makes rate-micro-batch sources as the options say.
#[derive(Debug, Clone)]
pub struct RateMicroBatchFactory {
    steps: Steps,
    schema: SchemaRef,
}

/// What an epoch has.
#[derive(Debug, Clone, Copy)]
struct Steps {
    rows: i64,
    start_ms: i64,
    advance_ms: i64,
    max_readers: Option<u64>,
}

impl RateMicroBatchFactory {
    /// Reads the options `rowsPerBatch` (required), `numPartitions` (the most readers an epoch has), `startTimestamp`
    /// (0) and `advanceMillisPerBatch` (1000), both in milliseconds.
    ///
    /// # Errors
    /// When one is missing, bad or unknown.
    pub fn new(options: &Options) -> Result<Self> {
        let what = "the rate-micro-batch source";
        options.required("rowsPerBatch", what)?;
        let not_negative = |text: &str| text.trim().parse().ok().filter(|n: &i64| *n >= 0);
        let millis = "a number of milliseconds, at least 0";
        let rows =
            options.parsed("rowsPerBatch", "a whole number above 0", |text| not_negative(text).filter(|n| *n > 0))?;
        let steps = Steps {
            rows: rows.unwrap_or(1),
            start_ms: options.parsed("startTimestamp", millis, not_negative)?.unwrap_or(0),
            advance_ms: options.parsed("advanceMillisPerBatch", millis, not_negative)?.unwrap_or(1000),
            max_readers: options.positive("numPartitions")?,
        };
        options.finish(what)?;
        Ok(Self { steps, schema: Columns::new(None)?.schema })
    }
}

impl fmt::Display for Steps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rows, start_ms, advance_ms, .. } = self;
        write!(f, "RatePerMicroBatchStream[rowsPerBatch: {rows}, startTimestamp: {start_ms}, ")?;
        write!(f, "advanceMillisPerBatch: {advance_ms}]")
    }
}

impl SourceFactory for RateMicroBatchFactory {
    fn schema(&self) -> SchemaRef {
        SchemaRef::clone(&self.schema)
    }

    fn description(&self) -> String {
        self.steps.to_string()
    }

    fn open(&self, projection: Option<&[usize]>) -> Result<Box<dyn Source>> {
        let columns = Columns::new(projection)?;
        Ok(Box::new(RateMicroBatchSource { steps: self.steps, columns, fixed_end: None }))
    }
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct StepOffset {
    offset: i64,
    timestamp: i64,
}

impl StepOffset {
    fn parse(offset: &Offset) -> Result<Self> {
        parse_offset(offset, "rate-micro-batch")
    }

    fn to_offset(self) -> Offset {
        Offset(serde_json::json!({ "offset": self.offset, "timestamp": self.timestamp }))
    }
}

struct RateMicroBatchSource {
    steps: Steps,
    columns: Columns,
    fixed_end: Option<StepOffset>,
}

impl RateMicroBatchSource {
    fn next(&self, from: StepOffset) -> Result<StepOffset> {
        let offset = from.offset.checked_add(self.steps.rows);
        let timestamp = from.timestamp.checked_add(self.steps.advance_ms);
        let next = offset.zip(timestamp).map(|(offset, timestamp)| StepOffset { offset, timestamp });
        next.ok_or_else(|| Error::connector("the rate-micro-batch source has no more numbers; start a new query"))
    }
}

impl Source for RateMicroBatchSource {
    fn schema(&self) -> SchemaRef {
        SchemaRef::clone(&self.columns.schema)
    }

    fn description(&self) -> String {
        self.steps.to_string()
    }

    fn initial(&mut self) -> Result<Offset> {
        Ok(StepOffset { offset: 0, timestamp: self.steps.start_ms }.to_offset())
    }

    fn latest(&mut self, from: &Offset, _: ReadLimit) -> Result<Offset> {
        let start = StepOffset::parse(from)?;
        match self.fixed_end {
            Some(end) if end.offset <= start.offset => Ok(from.clone()),
            Some(end) => Ok(end.to_offset()),
            None => Ok(self.next(start)?.to_offset()),
        }
    }

    fn plan(&mut self, from: &Offset, to: &Offset, parallelism: usize) -> Result<Vec<Box<dyn SplitReader>>> {
        let (from, to) = (StepOffset::parse(from)?, StepOffset::parse(to)?);
        let micros = from.timestamp.saturating_mul(1000);
        let time_of = move |_| micros;
        Ok(readers(from.offset..to.offset, self.steps.max_readers, parallelism, &self.columns, time_of))
    }

    fn fix_end(&mut self, from: &Offset) -> Result<()> {
        self.fixed_end = Some(self.next(StepOffset::parse(from)?)?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::cast::AsArray;
    use arrow::datatypes::{Int64Type, TimestampMicrosecondType};

    use super::*;

    fn source(pairs: &[(&str, &str)]) -> Result<Box<dyn Source>> {
        let mut options = Options::new();
        for (name, value) in pairs {
            options.set(name, value);
        }
        RateMicroBatchFactory::new(&options)?.open(None)
    }

    #[test]
    fn every_epoch_has_the_next_rows_and_its_own_time() {
        let mut source =
            source(&[("rowsPerBatch", "2"), ("startTimestamp", "1000"), ("advanceMillisPerBatch", "50")]).unwrap();
        let mut from = source.initial().unwrap();
        let mut seen = Vec::new();
        for _ in 0..2 {
            let to = source.latest(&from, ReadLimit::All).unwrap();
            let batch = source.plan(&from, &to, 4).unwrap()[0].next().unwrap().unwrap();
            let times = batch.column(0).as_primitive::<TimestampMicrosecondType>();
            let values = batch.column(1).as_primitive::<Int64Type>();
            seen.extend((0..batch.num_rows()).map(|row| (times.value(row), values.value(row))));
            from = to;
        }
        assert_eq!(seen, [(1_000_000, 0), (1_000_000, 1), (1_050_000, 2), (1_050_000, 3)]);
        assert_eq!(from.to_string(), r#"{"offset":4,"timestamp":1100}"#);
    }

    #[test]
    fn a_stored_range_gives_the_same_rows_in_a_later_run_with_other_options() {
        let read = |source: &mut dyn Source, from: &Offset, to: &Offset| -> Vec<_> {
            source.plan(from, to, 1).unwrap().iter_mut().map(|reader| reader.next().unwrap().unwrap()).collect()
        };
        let mut first = source(&[("rowsPerBatch", "3"), ("startTimestamp", "500")]).unwrap();
        let start = first.initial().unwrap();
        let from = first.latest(&start, ReadLimit::Options).unwrap();
        let to = first.latest(&from, ReadLimit::Options).unwrap();
        let mut second = source(&[("rowsPerBatch", "7"), ("startTimestamp", "9000")]).unwrap();
        second.initial().unwrap();
        assert_eq!(read(second.as_mut(), &from, &to), read(first.as_mut(), &from, &to));
        assert_eq!(second.latest(&to, ReadLimit::Options).unwrap().to_string(), r#"{"offset":13,"timestamp":3500}"#);
    }

    #[test]
    fn a_fixed_end_leaves_one_epoch() {
        let mut source = source(&[("rowsPerBatch", "10")]).unwrap();
        let start = source.initial().unwrap();
        source.fix_end(&start).unwrap();
        let end = source.latest(&start, ReadLimit::Options).unwrap();
        assert_eq!(end.to_string(), r#"{"offset":10,"timestamp":1000}"#);
        assert_eq!(source.latest(&end, ReadLimit::Options).unwrap(), end);
    }

    #[test]
    fn the_rows_of_an_epoch_must_be_given_and_above_zero() {
        let error = |pairs| source(pairs).map(|_| ()).unwrap_err().to_string();
        assert!(error(&[]).contains("needs the option `rowsPerBatch`"));
        assert!(error(&[("rowsPerBatch", "0")]).contains("above 0"));
        assert!(error(&[("rowsPerBatch", "1"), ("startTimestamp", "-1")]).contains("at least 0"));
    }
}
