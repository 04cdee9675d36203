//! Times among the keys: which slot of the state a row's group is in.
//!
//! Owns: the layout of keys between the halves of an aggregation, windows of rows, judging rows late. Does not own: the groups
//! of a slot (`groups`).
//!
//! State is kept by slot, because groups become final by time: freeing a window is dropping its slot, and rows of one window meet
//! a small table. A slot is
//!
//! | the time key is         | slot                      | inner keys               | behind the states |
//! |-------------------------|---------------------------|--------------------------|-------------------|
//! | none                    | [`NEVER`], the only one   | all keys                 |                   |
//! | windows over a time     | the end of the window     | the other keys           | `window_end`      |
//! | a column of windows     | the end of the window     | the others, the start    | `window_end`      |
//! | a time                  | the minute it is in       | the others, the time     |                   |
//!
//! Groups without a time are in the slot [`NEVER`], which is never final.
//!
//! The half in front of the exchange may take rows of windows that overlap by pane (`panes`). Late is judged for each
//! row and window, so a row some of whose windows are late, or that is in none, is judged window by window there, too.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StructArray, TimestampMicrosecondArray, UInt32Array};
use arrow::buffer::NullBuffer;
use arrow::compute::{take, take_record_batch};
use arrow::datatypes::{DataType, Field, FieldRef, TimeUnit, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;

use super::AggregateSpec;
use super::panes::{Pane, Panes};
use crate::error::{Error, Result};
use crate::operator::identity;
use crate::operator::watermark::window_part;
use crate::operator::{DroppedRows, EpochTime, ExpressionRef, Output, Windows, reason};

/// The slot of groups without a time.
pub(super) const NEVER: i64 = i64::MAX;

/// How many microseconds of plain times share a slot.
pub(super) const MINUTE: i64 = 60_000_000;

/// The key by which groups become final.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeKey {
    /// Which of the grouping keys it is.
    pub place: usize,
    /// What the key's expression gives.
    pub kind: TimeKind,
    /// Whether rows can be late and groups final: there is a watermark on the time, and results are not kept for ever.
    pub is_watermarked: bool,
}

/// What the expression of a [`TimeKey`] gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeKind {
    /// Times, of which each row is in all these windows that hold it; without a time it is in none and dropped.
    Windows(Windows),
    /// Windows that were made before.
    WindowColumn,
    /// Times that are themselves the key.
    Time,
}

impl TimeKey {
    /// The last microsecond of what is final under this watermark.
    pub(super) fn final_until(&self, time: EpochTime) -> Option<i64> {
        let evict = time.here.map_or(0, |here| here.evict_ms);
        self.is_watermarked.then(|| evict.saturating_mul(1000))
    }

    /// The last microsecond of what is late under this watermark.
    pub(super) fn late_until(&self, time: EpochTime) -> Option<i64> {
        let late = time.here.map_or(0, |here| here.late_ms);
        self.is_watermarked.then(|| late.saturating_mul(1000))
    }

    /// How the time is told in a checkpoint: what it is, and whether it frees groups.
    pub(super) fn identity(self, spec: &AggregateSpec) -> String {
        let key = spec.key_fields.get(self.place).map(|field| identity::without_numbers(field.name()));
        let key = key.unwrap_or_default();
        let kind = match self.kind {
            // A key that is a window made before is told by its type.
            TimeKind::WindowColumn | TimeKind::Time => String::new(),
            TimeKind::Windows(windows) => {
                let over = spec.keys.get(self.place).map(|time| identity::expression(time)).unwrap_or_default();
                format!(" of {over} in windows of {windows}")
            }
        };
        format!("; {key}{kind}{}", if self.is_watermarked { ", freed when final" } else { "" })
    }
}

impl AggregateSpec {
    /// The key fields inside a slot.
    pub(super) fn inner_key_fields(&self) -> Vec<FieldRef> {
        let Some(time) = self.time else { return self.key_fields.clone() };
        let mut fields = self.other_fields(time);
        match time.kind {
            TimeKind::Windows(_) => {}
            TimeKind::WindowColumn => fields.push(Arc::new(Field::new("window_start", micros_type(), true))),
            TimeKind::Time => fields.push(self.key_fields[time.place].clone()),
        }
        fields
    }

    fn other_fields(&self, time: TimeKey) -> Vec<FieldRef> {
        let others = self.key_fields.iter().enumerate().filter(|(index, _)| *index != time.place);
        others.map(|(_, field)| field.clone()).collect()
    }

    /// The column behind the states that holds the slot.
    pub(super) fn slot_field(&self) -> Option<FieldRef> {
        match self.time?.kind {
            TimeKind::Windows(_) | TimeKind::WindowColumn => {
                Some(Arc::new(Field::new("window_end", micros_type(), true)))
            }
            TimeKind::Time => None,
        }
    }

    /// The columns between the halves by which groups are divided among instances; none for a single group.
    pub fn exchange_columns(&self) -> Vec<usize> {
        let inner = self.inner_key_fields().len();
        match self.slot_field() {
            Some(_) if inner == 0 => vec![self.partial_schema().fields().len() - 1],
            _ => (0..inner).collect(),
        }
    }

    /// The slot of each row of state columns, of which `keys` are the inner keys and `all` are all.
    pub(super) fn slots_of(&self, keys: &[ArrayRef], all: &[ArrayRef]) -> Result<Slots> {
        let Some(time) = self.time else { return Ok(Slots::One(NEVER)) };
        let missing = || Error::internal("state of times has no column of times");
        let column = if self.slot_field().is_some() { all.last() } else { keys.last() };
        let times = column.and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>());
        let times = times.ok_or_else(missing)?;
        let slot = |micros: i64| if time.kind == TimeKind::Time { minute(micros) } else { micros };
        if times.null_count() == 0
            && let [first, rest @ ..] = times.values().as_ref()
            && rest.iter().all(|other| slot(*other) == slot(*first))
        {
            return Ok(Slots::One(slot(*first)));
        }
        Ok(Slots::Many(times.iter().map(|micros| micros.map_or(NEVER, slot)).collect()))
    }

    /// The user's key columns from those of `rows` groups in `slot`.
    pub(super) fn key_columns(&self, inner: Vec<ArrayRef>, slot: i64, rows: usize) -> Result<Vec<ArrayRef>> {
        let Some(time) = self.time else { return Ok(inner) };
        let mut others = inner;
        let key = match time.kind {
            TimeKind::Time => others.pop(),
            TimeKind::Windows(windows) => {
                let starts = TimestampMicrosecondArray::from_value(slot.saturating_sub(windows.size()), rows);
                Some(self.windows(time, &starts, slot)?)
            }
            TimeKind::WindowColumn => match others.pop() {
                Some(starts) => Some(self.windows(time, starts.as_primitive(), slot)?),
                None => None,
            },
        };
        others.insert(time.place, key.ok_or_else(|| Error::internal("groups of times have no time"))?);
        Ok(others)
    }

    /// Windows that all end with `slot`; null ones in the slot of those without a time.
    fn windows(&self, time: TimeKey, starts: &TimestampMicrosecondArray, slot: i64) -> Result<ArrayRef> {
        let DataType::Struct(fields) = self.key_fields[time.place].data_type() else {
            return Err(Error::internal("the type of a window key is no struct"));
        };
        let typed = |times: TimestampMicrosecondArray, field: &FieldRef| -> ArrayRef {
            Arc::new(times.with_data_type(field.data_type().clone()))
        };
        let ends = TimestampMicrosecondArray::from_value(slot, starts.len());
        let nulls = (slot == NEVER).then(|| NullBuffer::new_null(starts.len()));
        let columns = vec![typed(starts.clone(), &fields[0]), typed(ends, &fields[1])];
        Ok(Arc::new(StructArray::try_new(fields.clone(), columns, nulls)?))
    }

    /// The value of the slot column for `rows` groups of `slot`.
    pub(super) fn slot_column(&self, slot: i64, rows: usize) -> Option<ArrayRef> {
        self.slot_field()?;
        let ends = if slot == NEVER {
            TimestampMicrosecondArray::from(vec![None; rows])
        } else {
            TimestampMicrosecondArray::from_value(slot, rows)
        };
        Some(Arc::new(ends.with_data_type(micros_type())))
    }
}

fn micros_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// The end of the minute a time is in, the last of which is itself not in it.
fn minute(micros: i64) -> i64 {
    micros.div_euclid(MINUTE).saturating_add(1).saturating_mul(MINUTE).min(NEVER - 1)
}

/// The slot of each row.
#[derive(Debug)]
pub(super) enum Slots {
    /// All rows are in one.
    One(i64),
    Many(Vec<i64>),
}

/// Input rows of one slot: their inner keys and the arguments of each call.
#[derive(Debug, Clone)]
pub(super) struct InputRows {
    pub(super) keys: Vec<ArrayRef>,
    pub(super) arguments: Vec<Vec<ArrayRef>>,
    pub(super) count: usize,
}

impl InputRows {
    /// Computes keys and arguments of `records`. The key that is a time stands apart.
    fn evaluate(
        spec: &AggregateSpec,
        records: &RecordBatch,
        time: EpochTime,
    ) -> Result<(Self, Option<(TimeKey, ArrayRef)>)> {
        let columns = |expressions: &[ExpressionRef]| {
            expressions.iter().map(|expression| expression.evaluate(records, time)).collect::<Result<Vec<_>>>()
        };
        let arguments = spec.calls.iter().map(|call| columns(&call.arguments)).collect::<Result<_>>()?;
        let mut keys = columns(&spec.keys)?;
        let apart = spec.time.map(|key| (key, keys.remove(key.place)));
        Ok((Self { keys, arguments, count: records.num_rows() }, apart))
    }

    fn pick(&self, rows: &UInt32Array) -> Result<Self> {
        let pick = |columns: &[ArrayRef]| columns.iter().map(|column| take(column, rows, None)).collect();
        let keys = pick(&self.keys)?;
        let arguments = self.arguments.iter().map(|columns| pick(columns)).collect::<Result<_, _>>()?;
        Ok(Self { keys, arguments, count: rows.len() })
    }

    fn slice(&self, range: &Range<usize>) -> Self {
        let slice =
            |columns: &Vec<ArrayRef>| columns.iter().map(|column| column.slice(range.start, range.len())).collect();
        Self { keys: slice(&self.keys), arguments: self.arguments.iter().map(slice).collect(), count: range.len() }
    }
}

/// Input rows in order of their slots.
#[derive(Debug)]
pub(super) struct SlottedRows {
    rows: InputRows,
    segments: Vec<Segment>,
    /// How many more there are than rows were taken in and not dropped, because a row is in several windows.
    pub(super) copies: u64,
}

impl SlottedRows {
    /// Computes keys and arguments of `records`, judges the rows, and sorts those that stay by slot.
    pub(super) fn evaluate(
        spec: &AggregateSpec,
        records: &RecordBatch,
        time: EpochTime,
        output: &mut Output,
    ) -> Result<Self> {
        let (mut rows, apart) = InputRows::evaluate(spec, records, time)?;
        let Some((key, times)) = apart else {
            let segments = Slots::One(NEVER).segments(rows.count);
            return Ok(Self { rows, segments, copies: 0 });
        };
        let judged = Judged::of(key, &times, time)?;
        judged.drop_rows(records, key.late_until(time), output)?;
        match key.kind {
            TimeKind::Windows(_) => {}
            TimeKind::WindowColumn => {
                rows.keys.push(Arc::new(window_part(&times, "start")?.with_data_type(micros_type())));
            }
            TimeKind::Time => rows.keys.push(times),
        }
        judged.sort(rows)
    }

    /// The rows of each slot, in order.
    pub(super) fn segments(&self) -> impl Iterator<Item = (i64, InputRows)> + '_ {
        self.segments.iter().map(|(slot, range)| (*slot, self.rows.slice(range)))
    }

    /// How many rows there are in all slots.
    pub(super) fn count(&self) -> usize {
        self.rows.count
    }
}

/// Input rows of windows that overlap.
#[derive(Debug)]
pub(super) struct PanedRows {
    /// Rows all of whose windows are open, in order of their panes, whose numbers stand where slots do.
    pub(super) panes: SlottedRows,
    /// Of the other rows, those that stay, in order of the ends of their windows.
    pub(super) windows: Option<SlottedRows>,
}

impl PanedRows {
    /// Computes keys and arguments of `records`, judges the rows, and sorts those that stay.
    pub(super) fn evaluate(
        spec: &AggregateSpec,
        panes: Panes,
        records: &RecordBatch,
        time: EpochTime,
        output: &mut Output,
    ) -> Result<Self> {
        let (rows, apart) = InputRows::evaluate(spec, records, time)?;
        let (key, times) = apart.ok_or_else(|| Error::internal("panes of windows without a time"))?;
        let (times, late_until) = (micros(&times)?, key.late_until(time));
        let (in_panes, others) = Judged::in_panes(panes, times, late_until);
        let mut windows = None;
        if !others.is_empty() {
            let time = |row: usize| times.is_valid(row).then(|| times.value(row));
            let others = others.iter().map(|&row| (row, time(row as usize)));
            let judged = Judged::in_windows(panes.windows(), others, late_until);
            judged.drop_rows(records, late_until, output)?;
            windows = Some(judged.sort(rows.clone())?);
        }
        Ok(Self { panes: in_panes.sort(rows)?, windows })
    }
}

/// A slot, and the rows that are in it.
type Segment = (i64, Range<usize>);

/// Columns in order of their slots.
#[derive(Debug)]
pub(super) struct SlottedColumns {
    pub(super) columns: Vec<ArrayRef>,
    pub(super) hashes: Option<Vec<u64>>,
    pub(super) segments: Vec<Segment>,
}

/// Which rows stay, in which slots, and which go.
#[derive(Debug)]
struct Judged {
    /// The rows that stay, one for each slot it is in; `None` for all, once each.
    rows: Option<Vec<u32>>,
    slots: Slots,
    /// Rows without a time, which are in no window.
    timeless: Vec<u32>,
    /// Rows whose window would end after the last time there is.
    too_far: Vec<u32>,
    /// Late rows, and what they were judged by.
    late: Vec<u32>,
    late_times: Vec<i64>,
    copies: u64,
}

impl Judged {
    fn of(key: TimeKey, column: &ArrayRef, time: EpochTime) -> Result<Self> {
        let late_until = key.late_until(time);
        match key.kind {
            TimeKind::Windows(windows) => {
                let times = micros(column)?;
                Ok(Self::in_one_window(windows, times, late_until)
                    .unwrap_or_else(|| Self::in_windows(windows, (0..).zip(times), late_until)))
            }
            TimeKind::WindowColumn => Ok(Self::by_time(&window_part(column, "end")?, late_until, |end| end)),
            TimeKind::Time => Ok(Self::by_time(micros(column)?, late_until, minute)),
        }
    }

    fn staying(rows: Option<Vec<u32>>, slots: Slots) -> Self {
        Self {
            rows,
            slots,
            timeless: Vec::new(),
            too_far: Vec::new(),
            late: Vec::new(),
            late_times: Vec::new(),
            copies: 0,
        }
    }

    /// The usual case: a batch whose times are all in one window that is open. Only the lowest and highest are looked at.
    fn in_one_window(windows: Windows, times: &TimestampMicrosecondArray, late_until: Option<i64>) -> Option<Self> {
        if !windows.is_tumbling() || times.null_count() > 0 {
            return None;
        }
        let lowest = arrow::compute::min(times)?;
        let highest = arrow::compute::max(times)?;
        let end = windows.last_end(lowest);
        let is_late = late_until.is_some_and(|late| end <= late);
        (highest < end && !is_late).then(|| Self::staying(None, Slots::One(end)))
    }

    /// The rows all of whose windows are open, each once, by pane; and the others.
    fn in_panes(panes: Panes, times: &TimestampMicrosecondArray, late_until: Option<i64>) -> (Self, Vec<u32>) {
        let is_open = |first_end: i64| late_until.is_none_or(|late| late < first_end);
        if let Some(number) = in_one_pane(panes, times, is_open) {
            return (Self::staying(None, Slots::One(number)), Vec::new());
        }
        let (mut rows, mut numbers) = (Vec::with_capacity(times.len()), Vec::with_capacity(times.len()));
        let mut others = Vec::new();
        // Times mostly come in order: the last pane is likely this one's too.
        let mut last = None;
        for (row, time) in (0..).zip(times) {
            let pane = time.and_then(|time| {
                if !last.is_some_and(|pane: Pane| pane.holds(time)) {
                    last = panes.at(time).filter(|pane| is_open(pane.first_end));
                }
                last
            });
            if let Some(pane) = pane {
                rows.push(row);
                numbers.push(pane.number);
            } else {
                others.push(row);
            }
        }
        let rows = if others.is_empty() { None } else { Some(rows) };
        (Self::staying(rows, Slots::Many(numbers)), others)
    }

    fn in_windows(windows: Windows, times: impl Iterator<Item = (u32, Option<i64>)>, late_until: Option<i64>) -> Self {
        let mut judged = Self::staying(Some(Vec::new()), Slots::One(NEVER));
        let (least, _) = times.size_hint();
        let (mut rows, mut slots) = (Vec::with_capacity(least), Vec::with_capacity(least));
        // Times mostly come in order: the last window is likely this one's too, and saves a division.
        let mut last_end = i64::MIN;
        for (row, time) in times {
            let Some(time) = time else {
                judged.timeless.push(row);
                continue;
            };
            let is_known = windows.is_tumbling() && last_end.saturating_sub(windows.size()) <= time && time < last_end;
            if !is_known {
                last_end = windows.last_end(time);
            }
            let mut end = last_end;
            let mut count = 0_u64;
            while end > time {
                count += 1;
                if late_until.is_some_and(|late| end <= late) {
                    judged.late.push(row);
                    judged.late_times.push(end);
                } else {
                    rows.push(row);
                    slots.push(end);
                }
                let Some(earlier) = end.checked_sub(windows.slide()) else { break };
                end = earlier;
            }
            if count == 0 {
                judged.too_far.push(row);
            }
            judged.copies += count.saturating_sub(1);
        }
        Self { rows: Some(rows), slots: Slots::Many(slots), ..judged }
    }

    fn by_time(times: &TimestampMicrosecondArray, late_until: Option<i64>, slot: impl Fn(i64) -> i64) -> Self {
        let mut judged = Self::staying(None, Slots::One(NEVER));
        let (mut rows, mut slots) = (Vec::with_capacity(times.len()), Vec::with_capacity(times.len()));
        for (row, time) in (0..).zip(times) {
            if let (Some(time), Some(late)) = (time, late_until)
                && time <= late
            {
                judged.late.push(row);
                judged.late_times.push(time);
            } else {
                rows.push(row);
                slots.push(time.map_or(NEVER, &slot));
            }
        }
        let rows = if judged.late.is_empty() { None } else { Some(rows) };
        Self { rows, slots: Slots::Many(slots), ..judged }
    }

    /// Hands on the rows that go, with the reason.
    fn drop_rows(&self, records: &RecordBatch, late_until: Option<i64>, output: &mut Output) -> Result<()> {
        let pick = |rows: &[u32]| take_record_batch(records, &UInt32Array::from(rows.to_vec()));
        for (reason, rows) in [(reason::NULL_TIME, &self.timeless), (reason::TOO_FAR, &self.too_far)] {
            if !rows.is_empty() {
                output.drop_rows(DroppedRows { reason, records: pick(rows)?, times: None, watermark_ms: None });
            }
        }
        if !self.late.is_empty() {
            let times = Some(TimestampMicrosecondArray::from(self.late_times.clone()));
            let watermark_ms = late_until.map(|micros| micros.div_euclid(1000));
            output.drop_rows(DroppedRows { reason: reason::LATE, records: pick(&self.late)?, times, watermark_ms });
        }
        Ok(())
    }

    fn sort(self, rows: InputRows) -> Result<SlottedRows> {
        let (order, segments) = match self.slots {
            Slots::One(slot) => (None, Slots::One(slot).segments(rows.count)),
            Slots::Many(slots) => sorted(&slots),
        };
        let picked = match (self.rows, order) {
            (None, None) => None,
            (Some(picked), None) => Some(picked),
            (None, Some(order)) => Some(order),
            (Some(picked), Some(order)) => Some(order.into_iter().map(|place| picked[place as usize]).collect()),
        };
        let rows = match picked {
            None => rows,
            Some(picked) => rows.pick(&UInt32Array::from(picked))?,
        };
        Ok(SlottedRows { rows, segments, copies: self.copies })
    }
}

impl Slots {
    fn segments(&self, rows: usize) -> Vec<Segment> {
        match self {
            Self::One(_) if rows == 0 => Vec::new(),
            Self::One(slot) => vec![(*slot, 0..rows)],
            Self::Many(slots) => runs(slots.iter().copied()),
        }
    }

    /// The columns in order of their slots, and the rows of each.
    pub(super) fn split(&self, columns: &[ArrayRef], hashes: Option<&[u64]>, rows: usize) -> Result<SlottedColumns> {
        let as_they_are = |segments| {
            let hashes = hashes.map(<[u64]>::to_vec);
            Ok(SlottedColumns { columns: columns.to_vec(), hashes, segments })
        };
        let Self::Many(slots) = self else { return as_they_are(self.segments(rows)) };
        let (order, segments) = sorted(slots);
        let Some(order) = order else { return as_they_are(segments) };
        let hashes = hashes.map(|hashes| order.iter().map(|row| hashes[*row as usize]).collect());
        let order = UInt32Array::from(order);
        let columns = columns.iter().map(|column| take(column, &order, None)).collect::<Result<_, _>>()?;
        Ok(SlottedColumns { columns, hashes, segments })
    }
}

/// The order that brings equal slots together, `None` if they are; and where each is then.
fn sorted(slots: &[i64]) -> (Option<Vec<u32>>, Vec<Segment>) {
    if slots.is_sorted() {
        return (None, runs(slots.iter().copied()));
    }
    let (numbers, distinct) = numbered(slots);
    let mut places = vec![0_usize; distinct.len() + 1];
    for number in &numbers {
        places[*number as usize + 1] += 1;
    }
    for index in 1..places.len() {
        places[index] += places[index - 1];
    }
    let segments = distinct.iter().zip(places.windows(2)).map(|(slot, ends)| (*slot, ends[0]..ends[1])).collect();
    let mut order = vec![0; slots.len()];
    for (row, number) in (0..).zip(&numbers) {
        let place = &mut places[*number as usize];
        order[*place] = row;
        *place += 1;
    }
    (Some(order), segments)
}

/// The number of each row's slot among the distinct ones, in the order in which they come.
fn numbered(slots: &[i64]) -> (Vec<u32>, Vec<i64>) {
    let mut known: HashMap<i64, u32> = HashMap::new();
    let mut distinct = Vec::new();
    let mut last = (NEVER, u32::MAX);
    let number = |slot: &i64| {
        if last.1 == u32::MAX || last.0 != *slot {
            let number = *known.entry(*slot).or_insert_with(|| {
                distinct.push(*slot);
                u32::try_from(distinct.len() - 1).unwrap_or(u32::MAX)
            });
            last = (*slot, number);
        }
        last.1
    };
    (slots.iter().map(number).collect(), distinct)
}

fn runs(slots: impl Iterator<Item = i64>) -> Vec<Segment> {
    let mut runs: Vec<Segment> = Vec::new();
    for (row, slot) in slots.enumerate() {
        match runs.last_mut() {
            Some((last, range)) if *last == slot => range.end = row + 1,
            _ => runs.push((slot, row..row + 1)),
        }
    }
    runs
}

/// The pane that holds all times of a batch, if its windows are open: only the lowest and highest are looked at.
fn in_one_pane(panes: Panes, times: &TimestampMicrosecondArray, is_open: impl Fn(i64) -> bool) -> Option<i64> {
    if times.null_count() > 0 {
        return None;
    }
    let pane = panes.at(arrow::compute::min(times)?)?;
    let highest = arrow::compute::max(times)?;
    (pane.holds(highest) && is_open(pane.first_end)).then_some(pane.number)
}

fn micros(column: &ArrayRef) -> Result<&TimestampMicrosecondArray> {
    let wrong = || Error::internal(format!("{:?} stands where times should", column.data_type()));
    column.as_primitive_opt::<TimestampMicrosecondType>().ok_or_else(wrong)
}

/// The times of a key column, for judging its groups one by one.
pub(super) fn micros_of(column: &ArrayRef) -> Vec<Option<i64>> {
    column.as_primitive_opt::<TimestampMicrosecondType>().map_or_else(Vec::new, |times| times.iter().collect())
}

#[cfg(test)]
mod tests;
