//! The rows a query dropped, as a stream of their own.
//!
//! Owns: the columns of that stream, and putting what tasks kept of dropped rows into it once their epoch is committed. Does
//! not own: counting (progress shows all of it), or why rows are dropped (operators).
//!
//! One query may drop rows at several operators that read different columns: the stream has the columns of all of them,
//! null where a row does not have them.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, Int64Array, RecordBatchOptions, StringViewArray, TimestampMicrosecondArray, new_null_array,
};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};
use arrow::record_batch::RecordBatch;

use crate::connector::source::memory::MemoryStreamCore;
use crate::error::Result;
use crate::operator::DroppedRows;
use crate::plan::execution::ExecutionGraph;
use crate::plan::topology::{NodeId, NodeKind, Topology};
use crate::protocol::Epoch;
use crate::task::TaskId;

/// So many dropped rows are kept for readers; older ones give way, and are counted in progress all the same.
const KEPT_ROWS: usize = 1_000_000;

/// An operator that may drop rows.
#[derive(Debug)]
struct Dropper {
    /// Its name; for half an operator, that of the whole.
    name: String,
    tasks: Vec<TaskId>,
    /// For each column of its rows, the column of the stream.
    places: Vec<usize>,
    fields: Vec<FieldRef>,
}

/// Where dropped rows go.
#[derive(Debug)]
pub(crate) struct LateRows {
    droppers: Vec<Dropper>,
    /// The columns that rows have of their own.
    fields: Vec<FieldRef>,
    stream: MemoryStreamCore,
}

impl LateRows {
    /// The stream of what the operators of `topology` may drop.
    pub(crate) fn of(topology: &Topology, graph: &ExecutionGraph) -> Self {
        let mut droppers = Vec::new();
        let mut fields: Vec<FieldRef> = Vec::new();
        for (index, node) in topology.nodes().iter().enumerate() {
            let NodeKind::Operator(operator) = &node.kind else { continue };
            let inputs = topology.inputs(NodeId::at(index));
            let inputs: Vec<SchemaRef> =
                inputs.map(|edge| topology.nodes()[edge.from.index()].schema.clone()).collect();
            let Some(dropped) = operator.instance().dropped_columns(&inputs) else { continue };
            let name = node.half_of.map_or(&node.name, |whole| &topology.nodes()[whole.index()].name).clone();
            let own: Vec<FieldRef> = dropped.fields().iter().map(shown).collect();
            // Columns are shared with other operators, not with each other.
            let mut places: Vec<usize> = Vec::new();
            for field in &own {
                places.push(place(&mut fields, field, &name, &places));
            }
            let tasks = graph.instances(index).map(|task| task.id).collect();
            droppers.push(Dropper { name, tasks, places, fields: own });
        }
        let stream = MemoryStreamCore::keeping(schema(&fields), KEPT_ROWS);
        Self { droppers, fields, stream }
    }

    /// The stream, for a source over it.
    pub(crate) fn stream(&self) -> MemoryStreamCore {
        self.stream.clone()
    }

    /// Adds what tasks dropped in an epoch. It waits while sources are asked for news, so it is no work for an actor's thread.
    ///
    /// # Errors
    /// When an operator dropped rows of other columns than it reads.
    pub(crate) fn add(&self, epoch: Epoch, dropped: Vec<(TaskId, Vec<DroppedRows>)>) -> Result<()> {
        for (task, rows) in dropped {
            let Some(dropper) = self.droppers.iter().find(|dropper| dropper.tasks.contains(&task)) else {
                continue;
            };
            for rows in rows {
                self.stream.add(self.record(epoch, dropper, &rows)?)?;
            }
        }
        Ok(())
    }

    fn record(&self, epoch: Epoch, dropper: &Dropper, rows: &DroppedRows) -> Result<RecordBatch> {
        let count = rows.records.num_rows();
        let mut columns: Vec<ArrayRef> =
            self.fields.iter().map(|field| new_null_array(field.data_type(), count)).collect();
        for ((place, field), column) in dropper.places.iter().zip(&dropper.fields).zip(rows.records.columns()) {
            if column.data_type() == field.data_type() {
                columns[*place] = column.clone();
            }
        }
        columns.extend(Self::reasons(epoch, dropper, rows, count));
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        Ok(RecordBatch::try_new_with_options(self.stream.schema(), columns, &options)?)
    }

    /// The columns that say why, in the order of [`schema`].
    fn reasons(epoch: Epoch, dropper: &Dropper, rows: &DroppedRows, count: usize) -> [ArrayRef; 5] {
        let watermark = rows.watermark_ms.map(|millis| millis.saturating_mul(1000));
        let lateness: Int64Array = match (&rows.times, rows.watermark_ms) {
            (Some(times), Some(watermark_ms)) => {
                times.iter().map(|time| time.map(|time| watermark_ms.saturating_sub(time.div_euclid(1000)))).collect()
            }
            _ => Int64Array::new_null(count),
        };
        let text =
            |text: &str| -> ArrayRef { Arc::new(StringViewArray::from_iter_values(std::iter::repeat_n(text, count))) };
        let watermarks = TimestampMicrosecondArray::from(vec![watermark; count]).with_timezone("UTC");
        let epochs = Int64Array::from_value(i64::try_from(epoch).unwrap_or(i64::MAX), count);
        [text(rows.reason), Arc::new(watermarks), Arc::new(lateness), text(&dropper.name), Arc::new(epochs)]
    }
}

/// The columns of the rows, then why they were dropped.
fn schema(fields: &[FieldRef]) -> SchemaRef {
    let reasons = [
        ("reason", DataType::Utf8View),
        ("watermark", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))),
        ("lateness", DataType::Int64),
        ("operator", DataType::Utf8View),
        ("epoch", DataType::Int64),
    ];
    let mut all = fields.to_vec();
    for (name, data_type) in reasons {
        // A column of the user's goes before one of ours.
        let is_taken = |name: &str| fields.iter().any(|field| field.name().eq_ignore_ascii_case(name));
        let mut name = name.to_string();
        while is_taken(&name) {
            name.insert(0, '_');
        }
        all.push(Arc::new(Field::new(name, data_type, true)));
    }
    Arc::new(Schema::new(all))
}

/// A column under the user's name.
fn shown(field: &FieldRef) -> FieldRef {
    let name = field.name().rsplit_once('#').map_or(field.name().as_str(), |(name, _)| name);
    Arc::new(Field::new(name, field.data_type().clone(), true))
}

/// The place of a column of the stream for `field`, which is added if there is none of its name and type that is not `used`.
fn place(fields: &mut Vec<FieldRef>, field: &FieldRef, operator: &str, used: &[usize]) -> usize {
    let same_name = |name: &str, other: &FieldRef| other.name().eq_ignore_ascii_case(name);
    let fits = |other: &FieldRef| same_name(field.name(), other) && other.data_type() == field.data_type();
    let found = fields.iter().enumerate().find(|(place, other)| fits(other) && !used.contains(place));
    if let Some((place, _)) = found {
        return place;
    }
    let mut name = field.name().clone();
    while fields.iter().any(|other| same_name(&name, other)) {
        name = format!("{name} ({operator})");
    }
    fields.push(Arc::new(field.as_ref().clone().with_name(name)));
    fields.len() - 1
}
