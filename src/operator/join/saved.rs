//! The rows of a join of streams as rows of state.
//!
//! Owns: the columns in which stored rows, and what became of them, leave and come back. Does not own: which rows are stored
//! (`rows`), or when they are freed (`stream_join`).
//!
//! | `is_left` | `serial`  | `what`                   | `time`                  | the left columns, then the right ones |
//! |-----------|-----------|--------------------------|-------------------------|---------------------------------------|
//! | its side  | which row | [`ROW`], [`MATCHED_ROW`] | null                    | the row; of the other side null       |
//! |           | with this | [`MATCHED`], [`REMOVED`] | when it would be freed, | null                                  |
//! |           | hash      |                          | null if never           |                                       |
//!
//! Rows that the watermark freed are not told of: the watermark frees them again when they come back.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, TimestampMicrosecondArray, UInt8Array, UInt64Array, new_null_array,
};
use arrow::buffer::BooleanBuffer;
use arrow::compute::filter;
use arrow::datatypes::{
    DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType, UInt8Type, UInt64Type,
};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};

use super::JoinSide;
use super::rows::{Change, ChangedRow, Changes, NEVER, SideRows};
use crate::error::{Error, Result};
use crate::operator::{StateDelta, StatePart};

/// A row that had no partner yet, or of which that is not asked.
const ROW: u8 = 0;
/// A row that had a partner.
const MATCHED_ROW: u8 = 1;
/// Of a row told before: it has had a partner since.
const MATCHED: u8 = 2;
/// Of a row told before: it is gone.
const REMOVED: u8 = 3;

/// The most rows of one part.
const PART_ROWS: usize = 8192;

/// The columns before those of the sides.
const OWN_COLUMNS: usize = 4;

/// The columns of the state of a join of these sides.
pub(super) fn state_schema(left: &Schema, right: &Schema) -> SchemaRef {
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let own = [
        Field::new("is_left", DataType::Boolean, false),
        Field::new("serial", DataType::UInt64, false),
        Field::new("what", DataType::UInt8, false),
        Field::new("time", time, true),
    ];
    // Both sides may have columns of one name.
    let of = |side: JoinSide, schema: &Schema| {
        let name = |(index, field): (usize, &FieldRef)| {
            Field::clone(field).with_name(format!("{}.{index}.{}", side.name(), field.name())).with_nullable(true)
        };
        schema.fields().iter().enumerate().map(name).collect::<Vec<_>>()
    };
    let sides = of(JoinSide::Left, left).into_iter().chain(of(JoinSide::Right, right));
    Arc::new(Schema::new(own.into_iter().chain(sides).collect::<Vec<_>>()))
}

/// Adds what `rows` of this side have to say to `delta`.
///
/// # Errors
/// When Arrow refuses a column: over 2 GiB in one array.
pub(super) fn save(side: JoinSide, rows: &mut SideRows, schema: &SchemaRef, delta: &mut StateDelta) -> Result<()> {
    let Changes { new, changed } = rows.take_changes();
    let nulls = NullColumns::new(schema, new.len().min(PART_ROWS));
    for new in new.chunks(PART_ROWS) {
        delta.changed.push(saved_rows(side, rows, new, &nulls)?);
    }
    for changed in changed.chunks(PART_ROWS) {
        delta.changed.push(saved_changes(side, changed, schema)?);
    }
    Ok(())
}

/// Columns of nulls in the place of each column of the sides, made once for all parts.
struct NullColumns<'a> {
    schema: &'a SchemaRef,
    columns: Vec<ArrayRef>,
}

impl<'a> NullColumns<'a> {
    fn new(schema: &'a SchemaRef, rows: usize) -> Self {
        let columns = schema.fields().iter().map(|field| new_null_array(field.data_type(), rows)).collect();
        Self { schema, columns }
    }
}

fn saved_rows(
    side: JoinSide,
    rows: &SideRows,
    numbers: &[u32],
    nulls: &NullColumns<'_>,
) -> Result<(RecordBatch, Vec<u64>)> {
    let schema = nulls.schema;
    let records = rows.records(numbers)?;
    let mut hashes = Vec::with_capacity(numbers.len());
    let mut serials = Vec::with_capacity(numbers.len());
    let mut what = Vec::with_capacity(numbers.len());
    for number in numbers {
        let (hash, serial, is_matched) = rows.identity(*number);
        hashes.push(hash);
        serials.push(serial);
        what.push(if is_matched { MATCHED_ROW } else { ROW });
    }
    let times = TimestampMicrosecondArray::new_null(numbers.len());
    let first = first_column(side, schema, records.num_columns());
    let column = |index: usize| {
        let own = index.checked_sub(first).and_then(|index| records.columns().get(index));
        own.map_or_else(|| nulls.columns[index].slice(0, numbers.len()), Arc::clone)
    };
    let sides = (OWN_COLUMNS..schema.fields().len()).map(column);
    Ok((part(side, serials, what, times, sides, schema)?, hashes))
}

fn saved_changes(side: JoinSide, changed: &[ChangedRow], schema: &SchemaRef) -> Result<(RecordBatch, Vec<u64>)> {
    let hashes = changed.iter().map(|row| row.hash).collect();
    let serials = changed.iter().map(|row| row.serial).collect();
    let what = changed.iter().map(|row| if row.what == Change::Matched { MATCHED } else { REMOVED }).collect();
    let times = changed.iter().map(|row| Some(row.time).filter(|time| *time != NEVER)).collect();
    let sides = schema.fields().iter().skip(OWN_COLUMNS);
    let sides = sides.map(|field| new_null_array(field.data_type(), changed.len()));
    Ok((part(side, serials, what, times, sides, schema)?, hashes))
}

fn part(
    side: JoinSide,
    serials: Vec<u64>,
    what: Vec<u8>,
    times: TimestampMicrosecondArray,
    sides: impl Iterator<Item = ArrayRef>,
    schema: &SchemaRef,
) -> Result<RecordBatch> {
    let rows = serials.len();
    let bits = if side == JoinSide::Left { BooleanBuffer::new_set(rows) } else { BooleanBuffer::new_unset(rows) };
    let own: [ArrayRef; OWN_COLUMNS] = [
        Arc::new(BooleanArray::new(bits, None)),
        Arc::new(UInt64Array::from(serials)),
        Arc::new(UInt8Array::from(what)),
        Arc::new(times.with_timezone("UTC")),
    ];
    Ok(RecordBatch::try_new(Arc::clone(schema), own.into_iter().chain(sides).collect())?)
}

/// Where the columns of a side begin; it has `width`.
fn first_column(side: JoinSide, schema: &Schema, width: usize) -> usize {
    side.of(OWN_COLUMNS, schema.fields().len() - width)
}

/// Rows of one side that came back.
#[derive(Debug)]
pub(super) struct RestoredRows {
    pub(super) records: RecordBatch,
    pub(super) hashes: Vec<u64>,
    pub(super) serials: Vec<u64>,
    pub(super) matched: Vec<bool>,
}

/// The parts of one side, from which its rows are put together.
#[derive(Debug)]
pub(super) struct SavedSide {
    side: JoinSide,
    /// What became of rows told before, by hash and serial.
    changes: HashMap<(u64, u64), ChangedRow>,
    /// The highest serial there is.
    last_serial: Option<u64>,
    /// The serial of the next row, if rows get new ones.
    next_serial: Option<u64>,
}

impl SavedSide {
    /// Reads what became of the rows of `side` in these parts, which were [checked](StatePart::check). With `next_serial`, for a
    /// side whose rows are never told of again, rows get new serials from that one on: those they have may be the same for two rows
    /// of one hash.
    ///
    /// # Errors
    /// When a column is not what it should be.
    pub(super) fn new(side: JoinSide, parts: &[StatePart], next_serial: Option<u64>) -> Result<Self> {
        let mut saved = Self { side, changes: HashMap::new(), last_serial: None, next_serial };
        for part in parts {
            saved.read_changes(part)?;
        }
        if let Some(next) = next_serial {
            let rows: usize = parts.iter().map(|part| part.hashes.len()).sum();
            saved.last_serial = saved.last_serial.max((next + rows as u64).checked_sub(1));
        }
        Ok(saved)
    }

    /// The highest serial that a row of this side has or will get; `None` without rows.
    pub(super) fn last_serial(&self) -> Option<u64> {
        self.last_serial
    }

    fn read_changes(&mut self, part: &StatePart) -> Result<()> {
        let own = OwnColumns::of(&part.rows)?;
        for (row, hash) in part.hashes.iter().enumerate() {
            if own.is_left.value(row) != (self.side == JoinSide::Left) {
                continue;
            }
            let (serial, what) = (own.serials.value(row), own.what.value(row));
            self.last_serial = self.last_serial.max(Some(serial));
            let time = if own.times.is_valid(row) { own.times.value(row) } else { NEVER };
            let what = match what {
                MATCHED => Change::Matched,
                REMOVED => Change::Removed,
                _ => continue,
            };
            let changed = ChangedRow { hash: *hash, serial, time, what };
            let known = self.changes.entry((*hash, serial)).or_insert(changed);
            if what == Change::Removed {
                *known = changed;
            }
        }
        Ok(())
    }

    /// The rows that this part holds and that are not gone, with the columns of `schema`; each part is to be asked for once.
    ///
    /// # Errors
    /// When a column is not what it should be.
    pub(super) fn rows(&mut self, part: &StatePart, schema: &SchemaRef) -> Result<RestoredRows> {
        let own = OwnColumns::of(&part.rows)?;
        let (mut hashes, mut serials, mut matched) = (Vec::new(), Vec::new(), Vec::new());
        let wanted = BooleanBuffer::collect_bool(part.hashes.len(), |row| {
            let is_row = matches!(own.what.value(row), ROW | MATCHED_ROW);
            if !is_row || own.is_left.value(row) != (self.side == JoinSide::Left) {
                return false;
            }
            let (hash, serial) = (part.hashes[row], own.serials.value(row));
            let change = self.changes.remove(&(hash, serial)).map(|change| change.what);
            if change == Some(Change::Removed) {
                return false;
            }
            hashes.push(hash);
            serials.push(self.next_serial.unwrap_or(serial));
            self.next_serial = self.next_serial.map(|next| next + 1);
            matched.push(change.is_some() || own.what.value(row) == MATCHED_ROW);
            true
        });
        let wanted = BooleanArray::new(wanted, None);
        let first = first_column(self.side, part.rows.schema_ref(), schema.fields().len());
        let columns = &part.rows.columns()[first..first + schema.fields().len()];
        let columns = columns.iter().map(|column| filter(column, &wanted)).collect::<Result<Vec<_>, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(hashes.len()));
        let records = RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?;
        Ok(RestoredRows { records, hashes, serials, matched })
    }

    /// What is left when all parts were asked for: what is said of rows that are in none.
    pub(super) fn strays(self) -> impl Iterator<Item = ChangedRow> {
        self.changes.into_values()
    }
}

/// The columns before those of the sides.
struct OwnColumns<'a> {
    is_left: &'a BooleanArray,
    serials: &'a UInt64Array,
    what: &'a UInt8Array,
    times: &'a TimestampMicrosecondArray,
}

impl<'a> OwnColumns<'a> {
    fn of(rows: &'a RecordBatch) -> Result<Self> {
        let wrong = || Error::internal("the state of a join was not checked before it was read");
        let [is_left, serials, what, times, ..] = rows.columns() else { return Err(wrong()) };
        Ok(Self {
            is_left: is_left.as_boolean_opt().ok_or_else(wrong)?,
            serials: serials.as_primitive_opt::<UInt64Type>().ok_or_else(wrong)?,
            what: what.as_primitive_opt::<UInt8Type>().ok_or_else(wrong)?,
            times: times.as_primitive_opt::<TimestampMicrosecondType>().ok_or_else(wrong)?,
        })
    }
}
