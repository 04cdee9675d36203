//! The watermark node: looks at event times on their way and passes the rows on.
//!
//! Owns: what is measured. Does not own: the query's watermark, which the coordinator derives from what all nodes report
//! (`coordinator::WatermarkTracker`), or which rows are late: stateful operators decide that.

use std::time::Duration;

use arrow::array::{Array, ArrayRef, AsArray, TimestampMicrosecondArray};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{DataType, SchemaRef, TimeUnit, TimestampMicrosecondType};

use super::project::one_input;
use super::window::Micros;
use super::{Balance, Batch, EpochTime, EventTimes, Flow, Operator, OperatorContext, OperatorStats, Output, Watermark};
use crate::error::{Error, Result};
use crate::types::type_name;

/// Reports the event times of the rows that pass; the watermark of everything below starts here.
///
/// | input                              | output             | state | late rows     |
/// |------------------------------------|--------------------|-------|---------------|
/// | rows with a TIMESTAMP or window column | the rows, unchanged | none  | not looked at |
///
/// Null times are ignored. A window counts as its end less one microsecond, the last time it holds.
#[derive(Debug, Clone)]
pub struct WatermarkNode {
    column: usize,
    delay: Duration,
    /// What lateness is counted from, in milliseconds: the highest time known when the epoch's rows are judged.
    reference_ms: i64,
    max_ahead: Option<Duration>,
    /// The highest time that counts, in milliseconds.
    limit_ms: i64,
    seen: EventTimes,
    /// The name of the column, once known.
    name: Option<String>,
}

impl WatermarkNode {
    /// Observes the column at this index; the watermark stays `delay` behind its highest time.
    pub fn new(column: usize, delay: Duration) -> Self {
        Self {
            column,
            delay,
            reference_ms: i64::MIN,
            max_ahead: None,
            limit_ms: i64::MAX,
            seen: EventTimes::default(),
            name: None,
        }
    }

    /// Times further than this ahead of processing time do not move the watermark: one clock that runs ahead would make
    /// everybody else's rows late.
    #[must_use]
    pub fn with_max_ahead(self, max_ahead: Option<Duration>) -> Self {
        Self { max_ahead, ..self }
    }
}

impl Operator for WatermarkNode {
    fn output_schema(&self, inputs: &[SchemaRef]) -> Result<SchemaRef> {
        let input = one_input(inputs)?;
        let field = input
            .fields()
            .get(self.column)
            .ok_or_else(|| Error::plan(format!("a watermark on column {} of {}", self.column, input.fields().len())))?;
        if !is_event_time(field.data_type()) {
            return Err(Error::plan(format!(
                "a watermark needs a TIMESTAMP column, but `{}` is {}; cast it first",
                field.name(),
                type_name(field.data_type())
            )));
        }
        Ok(input.clone())
    }

    fn describe(&self) -> String {
        let delay = i64::try_from(self.delay.as_micros()).unwrap_or(i64::MAX);
        let column = self.name.clone().unwrap_or_else(|| format!("column {}", self.column));
        format!("{column}, {} behind", Micros(delay))
    }

    fn open(&mut self, context: &OperatorContext) -> Result<()> {
        self.name = one_input(&context.inputs)?.fields().get(self.column).map(|field| field.name().clone());
        Ok(())
    }

    fn on_watermark(&mut self, time: EpochTime, _: &mut Output) -> Result<Option<Watermark>> {
        let delay = i64::try_from(self.delay.as_millis()).unwrap_or(i64::MAX);
        // Before the first watermark nothing is known to be late against.
        self.reference_ms = if time.query.late_ms > 0 { time.query.late_ms.saturating_add(delay) } else { i64::MIN };
        self.limit_ms = self.max_ahead.map_or(i64::MAX, |ahead| {
            let ahead = i64::try_from(ahead.as_micros()).unwrap_or(i64::MAX);
            time.processing_micros.saturating_add(ahead).div_euclid(1000)
        });
        Ok(Some(time.query))
    }

    fn on_batch(&mut self, _: usize, batch: Batch, output: &mut Output) -> Result<Flow> {
        let times = event_times(batch.records.column(self.column))?;
        self.seen.observe(&times, self.reference_ms, self.limit_ms);
        output.batch(batch.records);
        Ok(Flow::Done)
    }

    fn watermark_delay(&self) -> Option<Duration> {
        Some(self.delay)
    }

    fn take_stats(&mut self) -> OperatorStats {
        let event_times = Some(std::mem::take(&mut self.seen));
        OperatorStats { balance: Some(Balance::default()), event_times, ..OperatorStats::default() }
    }
}

/// Whether a column of this type can be an event time: TIMESTAMP, or the struct of a window.
pub(crate) fn is_event_time(data_type: &DataType) -> bool {
    match data_type {
        DataType::Timestamp(TimeUnit::Microsecond, _) => true,
        DataType::Struct(fields) => {
            let names: Vec<&str> = fields.iter().map(|field| field.name().as_str()).collect();
            names == ["start", "end"] && fields.iter().all(|field| matches!(field.data_type(), DataType::Timestamp(..)))
        }
        _ => false,
    }
}

/// The times of a TIMESTAMP column in microseconds; of windows, the last they hold.
///
/// # Errors
/// When the column is neither.
pub(crate) fn event_times(column: &ArrayRef) -> Result<TimestampMicrosecondArray> {
    if let Some(times) = column.as_primitive_opt::<TimestampMicrosecondType>() {
        return Ok(times.clone());
    }
    let ends = window_part(column, "end")?;
    let ends: TimestampMicrosecondArray = ends.unary(|end| end.saturating_sub(1));
    Ok(ends)
}

/// The times rows are judged by, in microseconds: those of a TIMESTAMP column, or the ends of windows.
pub(crate) fn judged_times(column: &ArrayRef) -> Result<TimestampMicrosecondArray> {
    match column.as_primitive_opt::<TimestampMicrosecondType>() {
        Some(times) => Ok(times.clone()),
        None => window_part(column, "end"),
    }
}

/// The rows whose time is at or before a watermark of so many milliseconds; `None` if there are none. A null time is never late.
pub(crate) fn late_rows(times: &TimestampMicrosecondArray, late_ms: i64) -> Option<BooleanBuffer> {
    let limit = late_ms.saturating_mul(1000);
    if times.values().iter().all(|time| *time > limit) {
        return None;
    }
    let late = BooleanBuffer::collect_bool(times.len(), |row| times.is_valid(row) && times.value(row) <= limit);
    (late.count_set_bits() > 0).then_some(late)
}

/// The `start` or `end` of windows; null where the window is.
///
/// # Errors
/// When the column holds no windows.
pub(crate) fn window_part(column: &ArrayRef, part: &str) -> Result<TimestampMicrosecondArray> {
    let wrong = || Error::internal(format!("{:?} stands where windows should", column.data_type()));
    let windows = column.as_struct_opt().ok_or_else(wrong)?;
    let part = windows.column_by_name(part).ok_or_else(wrong)?;
    let part = part.as_primitive_opt::<TimestampMicrosecondType>().ok_or_else(wrong)?;
    let nulls = arrow::buffer::NullBuffer::union(windows.nulls(), part.nulls());
    Ok(TimestampMicrosecondArray::new(part.values().clone(), nulls))
}

impl EventTimes {
    fn observe(&mut self, times: &TimestampMicrosecondArray, reference_ms: i64, limit_ms: i64) {
        let values = times.values();
        if times.null_count() == 0 {
            values.iter().for_each(|micros| self.add(micros.div_euclid(1000), reference_ms, limit_ms));
        } else {
            times.iter().flatten().for_each(|micros| self.add(micros.div_euclid(1000), reference_ms, limit_ms));
        }
    }

    #[inline]
    fn add(&mut self, millis: i64, reference_ms: i64, limit_ms: i64) {
        if millis > limit_ms {
            self.ahead += 1;
            return;
        }
        if self.count == 0 {
            (self.min_ms, self.max_ms) = (millis, millis);
        }
        self.min_ms = self.min_ms.min(millis);
        self.max_ms = self.max_ms.max(millis);
        self.sum_ms += i128::from(millis);
        self.count += 1;
        if millis < reference_ms {
            self.lateness.add(reference_ms.saturating_sub(millis));
        }
    }

    /// Adds what another instance saw.
    pub fn merge(&mut self, other: &Self) {
        self.ahead += other.ahead;
        if other.count == 0 {
            return;
        }
        if self.count == 0 {
            (self.min_ms, self.max_ms) = (other.min_ms, other.max_ms);
        }
        self.min_ms = self.min_ms.min(other.min_ms);
        self.max_ms = self.max_ms.max(other.max_ms);
        self.sum_ms += other.sum_ms;
        self.count += other.count;
        self.lateness.merge(&other.lateness);
    }
}

/// How many rows came how far behind the highest event time known when they were judged, in buckets of powers of two of a
/// millisecond.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lateness {
    /// `counts[b]` rows were between 2^(b-1) and 2^b - 1 milliseconds behind, `counts[0]` none.
    counts: Vec<u64>,
}

impl Lateness {
    #[inline]
    fn add(&mut self, behind_ms: i64) {
        let bucket = Self::bucket(behind_ms);
        if bucket >= self.counts.len() {
            self.counts.resize(bucket + 1, 0);
        }
        self.counts[bucket] += 1;
    }

    fn bucket(behind_ms: i64) -> usize {
        (i64::BITS - behind_ms.max(0).leading_zeros()) as usize
    }

    /// Adds the counts of `other`.
    pub fn merge(&mut self, other: &Self) {
        if self.counts.len() < other.counts.len() {
            self.counts.resize(other.counts.len(), 0);
        }
        for (own, other) in self.counts.iter_mut().zip(&other.counts) {
            *own += other;
        }
    }

    /// The rows that were behind at all.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// At most so many rows were `delay_ms` milliseconds or more behind: what a watermark with this delay would have found late, counted
    /// by whole buckets.
    pub fn at_least(&self, delay_ms: i64) -> u64 {
        self.counts.iter().skip(Self::bucket(delay_ms)).sum()
    }

    /// For each bucket that holds rows, the milliseconds it ends before and its count.
    pub fn buckets(&self) -> impl Iterator<Item = (i64, u64)> + '_ {
        let counts = self.counts.iter().enumerate().filter(|(_, count)| **count > 0);
        counts
            .map(|(bucket, count)| (1_i64.checked_shl(u32::try_from(bucket).unwrap_or(62)).unwrap_or(i64::MAX), *count))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::StructArray;
    use arrow::datatypes::{Field, Fields};
    use arrow::record_batch::RecordBatch;

    use super::*;

    fn times(values: Vec<Option<i64>>) -> Batch {
        let column: ArrayRef = Arc::new(TimestampMicrosecondArray::from(values).with_timezone("UTC"));
        RecordBatch::try_from_iter([("t", column)]).unwrap().into()
    }

    #[test]
    fn times_are_counted_in_whole_milliseconds_rounded_down_and_nulls_are_not() {
        let mut node = WatermarkNode::new(0, Duration::from_secs(10));
        let mut output = Output::default();
        let _ = node.on_batch(0, times(vec![Some(1999), None, Some(-1)]), &mut output).unwrap();
        assert_eq!(output.take_batches()[0].num_rows(), 3);
        let seen = node.take_stats().event_times.unwrap();
        assert_eq!((seen.count, seen.min_ms, seen.max_ms, seen.sum_ms), (2, -1, 1, 0));
        assert_eq!(node.take_stats().event_times.unwrap(), EventTimes::default());
    }

    #[test]
    fn a_window_counts_as_its_last_microsecond() {
        let ends: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![Some(5000), None]));
        let fields: Fields =
            ["start", "end"].map(|name| Field::new(name, ends.data_type().clone(), true)).to_vec().into();
        let windows: ArrayRef = Arc::new(StructArray::new(fields, vec![ends.clone(), ends], None));
        assert!(is_event_time(windows.data_type()));
        assert_eq!(event_times(&windows).unwrap(), TimestampMicrosecondArray::from(vec![Some(4999), None]));
    }

    #[test]
    fn the_watermark_below_the_node_is_the_query_s() {
        let mut node = WatermarkNode::new(0, Duration::from_secs(10));
        let query = Watermark { late_ms: 3, evict_ms: 7 };
        let time = EpochTime { query, ..EpochTime::default() };
        assert_eq!(node.on_watermark(time, &mut Output::default()).unwrap(), Some(query));
        assert_eq!(node.watermark_delay(), Some(Duration::from_secs(10)));
    }

    #[test]
    fn times_too_far_ahead_of_processing_time_do_not_count() {
        let mut node = WatermarkNode::new(0, Duration::ZERO).with_max_ahead(Some(Duration::from_secs(5)));
        let time = EpochTime { processing_micros: 1_000_000, ..EpochTime::default() };
        node.on_watermark(time, &mut Output::default()).unwrap();
        let _ = node.on_batch(0, times(vec![Some(6_000_000), Some(6_001_000)]), &mut Output::default()).unwrap();
        let seen = node.take_stats().event_times.unwrap();
        assert_eq!((seen.count, seen.max_ms, seen.ahead), (1, 6000, 1));
    }

    #[test]
    fn lateness_is_counted_against_the_time_known_when_rows_are_judged() {
        let mut node = WatermarkNode::new(0, Duration::from_secs(10));
        let query = Watermark { late_ms: 20_000, evict_ms: 20_000 };
        node.on_watermark(EpochTime { query, ..EpochTime::default() }, &mut Output::default()).unwrap();
        // 30 s is known; the rows are on time, 1 s, 10 s and 20 s behind.
        let seconds = [31, 29, 20, 10].map(|second| Some(second * 1_000_000)).to_vec();
        let _ = node.on_batch(0, times(seconds), &mut Output::default()).unwrap();
        let lateness = node.take_stats().event_times.unwrap().lateness;
        assert_eq!((lateness.total(), lateness.at_least(16_384), lateness.at_least(8192)), (3, 1, 2));
        assert_eq!(lateness.buckets().collect::<Vec<_>>(), [(1024, 1), (16_384, 1), (32_768, 1)]);
    }
}
