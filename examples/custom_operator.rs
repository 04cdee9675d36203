//! An operator and a source of one's own, in a topology written by hand.
//!
//! Run:    cargo run --example custom_operator
//! Prints: the running mean of a made-up sensor, three readings an epoch

use std::sync::Arc;

use millstream::arrow::array::{ArrayRef, AsArray, Float64Array};
use millstream::arrow::datatypes::{DataType, Field, Float64Type, Schema, SchemaRef};
use millstream::arrow::record_batch::RecordBatch;
use millstream::connector::{Offset, ReadLimit, Source, SplitReader};
use millstream::operator::{Barrier, Batch, Flow, Operator, Output};
use millstream::prelude::*;

fn column(name: &str) -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new(name, DataType::Float64, true)]))
}

/// Nine readings, three an epoch; the offset is the number of readings so far.
#[derive(Clone)]
struct Sensor;

impl Source for Sensor {
    fn schema(&self) -> SchemaRef {
        column("celsius")
    }
    fn description(&self) -> String {
        "Sensor".to_string()
    }
    fn initial(&mut self) -> Result<Offset> {
        Ok(Offset::from(0))
    }
    fn latest(&mut self, from: &Offset, _: ReadLimit) -> Result<Offset> {
        Ok(Offset::from((from.0.as_i64().unwrap_or(0) + 3).min(9)))
    }
    fn plan(&mut self, from: &Offset, to: &Offset, _: usize) -> Result<Vec<Box<dyn SplitReader>>> {
        let range = from.0.as_u64().unwrap_or(0)..to.0.as_u64().unwrap_or(0);
        let readings: ArrayRef =
            Arc::new(range.map(|n| [20.0, 21.5, 19.0, 22.5][(n & 3) as usize]).collect::<Float64Array>());
        Ok(vec![Box::new(Once(Some(RecordBatch::try_new(self.schema(), vec![readings])?)))])
    }
    fn fix_end(&mut self, _: &Offset) -> Result<()> {
        Ok(())
    }
}

struct Once(Option<RecordBatch>);

impl SplitReader for Once {
    fn next(&mut self) -> Result<Option<RecordBatch>> {
        Ok(self.0.take())
    }
}

/// The mean of all readings so far, once an epoch.
#[derive(Clone, Default)]
struct RunningMean {
    sum: f64,
    count: f64,
}

impl Operator for RunningMean {
    fn output_schema(&self, _: &[SchemaRef]) -> Result<SchemaRef> {
        Ok(column("mean"))
    }
    fn on_batch(&mut self, _: usize, batch: Batch, _: &mut Output) -> Result<Flow> {
        for value in batch.records.column(0).as_primitive::<Float64Type>().iter().flatten() {
            self.sum += value;
            self.count += 1.0;
        }
        Ok(Flow::Done)
    }
    fn on_barrier(&mut self, _: &Barrier, output: &mut Output) -> Result<Flow> {
        let mean: ArrayRef = Arc::new(Float64Array::from(vec![self.sum / self.count]));
        output.batch(RecordBatch::try_new(column("mean"), vec![mean])?);
        Ok(Flow::Done)
    }
}

fn main() -> Result<()> {
    env_logger::init();
    let mut topology = Topology::builder("sensor-mean");
    let readings = topology.source("sensor", Sensor);
    let mean = topology.operator("mean", RunningMean::default()).gathered_from(readings);
    topology.sink("print", Console::new()).after(mean);

    let session = Session::builder().build()?;
    session.run(topology.build()?, Trigger::available_now())?.await_termination()
}
