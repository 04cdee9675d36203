//! Which rows have a session, and which come too late for it.
//!
//! Owns: the verdict on each row. Does not own: counting what is dropped (`Output`).

use arrow::array::AsArray;
use arrow::array::{Array, ArrayRef, BooleanArray, TimestampMicrosecondArray};
use arrow::compute::{filter, filter_record_batch};
use arrow::datatypes::TimestampMicrosecondType;
use arrow::record_batch::RecordBatch;

use crate::error::Result;
use crate::operator::watermark::window_part;
use crate::operator::{DroppedRows, Output, reason};

/// Rows and the session of each, as `[start, end)` in microseconds.
pub(super) struct SessionRows {
    pub(super) records: RecordBatch,
    pub(super) starts: TimestampMicrosecondArray,
    pub(super) ends: TimestampMicrosecondArray,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Taken,
    NullTime,
    BadGap,
    Late,
}

/// The rows that have a session; the others are dropped. A row is late if its own session ends at `late_ms` or before.
pub(super) fn judge(
    records: RecordBatch,
    sessions: &ArrayRef,
    late_ms: Option<i64>,
    output: &mut Output,
) -> Result<SessionRows> {
    let rows = SessionRows { records, starts: window_part(sessions, "start")?, ends: window_part(sessions, "end")? };
    let limit = late_ms.map_or(i64::MIN, |late_ms| late_ms.saturating_mul(1000));
    if rows.are_taken(limit) {
        return Ok(rows);
    }
    let verdicts: Vec<Verdict> = (0..rows.records.num_rows()).map(|row| rows.verdict(row, limit)).collect();
    for (verdict, reason) in [(Verdict::NullTime, reason::NULL_TIME), (Verdict::BadGap, reason::BAD_GAP)] {
        let records = filter_record_batch(&rows.records, &mask(&verdicts, verdict))?;
        output.drop_rows(DroppedRows { reason, records, times: None, watermark_ms: None });
    }
    let late = rows.filter(&mask(&verdicts, Verdict::Late))?;
    let (records, times) = (late.records, Some(late.ends));
    output.drop_rows(DroppedRows { reason: reason::LATE, records, times, watermark_ms: late_ms });
    rows.filter(&mask(&verdicts, Verdict::Taken))
}

fn mask(verdicts: &[Verdict], wanted: Verdict) -> BooleanArray {
    verdicts.iter().map(|verdict| Some(*verdict == wanted)).collect()
}

impl SessionRows {
    fn are_taken(&self, limit: i64) -> bool {
        let mut times = self.starts.values().iter().zip(self.ends.values());
        let has_nulls = self.starts.null_count() + self.ends.null_count() > 0;
        !has_nulls && times.all(|(&start, &end)| end > start && end > limit)
    }

    fn verdict(&self, row: usize, limit: i64) -> Verdict {
        if self.starts.is_null(row) {
            Verdict::NullTime
        } else if self.ends.is_null(row) || self.ends.value(row) <= self.starts.value(row) {
            Verdict::BadGap
        } else if self.ends.value(row) <= limit {
            Verdict::Late
        } else {
            Verdict::Taken
        }
    }

    fn filter(&self, mask: &BooleanArray) -> Result<Self> {
        let times =
            |times| -> Result<_> { Ok(filter(times, mask)?.as_primitive::<TimestampMicrosecondType>().clone()) };
        let (starts, ends) = (times(&self.starts)?, times(&self.ends)?);
        Ok(Self { records: filter_record_batch(&self.records, mask)?, starts, ends })
    }
}
