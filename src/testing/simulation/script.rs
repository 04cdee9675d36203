//! A source that follows a script and a sink that keeps what it is given.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use arrow::array::{ArrayRef, AsArray, Int64Array};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;

use super::Random;
use crate::clock::lock;
use crate::connector::{
    Guarantee, Offset, Prepared, ReadLimit, Sink, SinkContext, SinkWriter, Source, SourceFactory, SplitReader,
};
use crate::error::Result;

/// Rows of (key, value), epoch by epoch.
pub(super) type Script = Vec<Vec<(i64, i64)>>;

/// A script of a few epochs over a few keys.
pub(super) fn random_script(random: &mut Random) -> Script {
    let epochs = 1 + random.below(4);
    (0..epochs).map(|_| random_rows(random)).collect()
}

fn random_rows(random: &mut Random) -> Vec<(i64, i64)> {
    let count = 1 + random.below(40);
    let keys = 1 + random.below(12);
    let row =
        |random: &mut Random| (i64::try_from(random.below(keys)).unwrap(), i64::try_from(random.below(5)).unwrap());
    (0..count).map(|_| row(random)).collect()
}

/// Plays a script; one epoch of it a time.
#[derive(Clone)]
pub(super) struct ScriptSource {
    pub(super) script: Script,
    pub(super) seed: u64,
}

fn schema() -> SchemaRef {
    let field = |name| Field::new(name, DataType::Int64, true);
    Arc::new(Schema::new(vec![field("key"), field("value")]))
}

impl SourceFactory for ScriptSource {
    fn schema(&self) -> SchemaRef {
        schema()
    }

    fn description(&self) -> String {
        "ScriptSource".to_string()
    }

    fn open(&self, _: Option<&[usize]>) -> Result<Box<dyn Source>> {
        Ok(Box::new(Playing { script: self.script.clone(), random: Random::new(self.seed) }))
    }
}

struct Playing {
    script: Script,
    random: Random,
}

impl Source for Playing {
    fn schema(&self) -> SchemaRef {
        schema()
    }

    fn description(&self) -> String {
        "ScriptSource".to_string()
    }

    fn initial(&mut self) -> Result<Offset> {
        Ok(0.into())
    }

    fn latest(&mut self, from: &Offset, _: ReadLimit) -> Result<Offset> {
        let at = from.0.as_i64().unwrap();
        Ok(Offset::from((at + 1).min(i64::try_from(self.script.len()).unwrap())))
    }

    fn plan(&mut self, from: &Offset, _: &Offset, parallelism: usize) -> Result<Vec<Box<dyn SplitReader>>> {
        let rows = &self.script[usize::try_from(from.0.as_i64().unwrap()).unwrap()];
        let mut parts: Vec<Vec<RecordBatch>> = vec![Vec::new(); parallelism];
        let mut rest = rows.as_slice();
        while !rest.is_empty() {
            let (cut, later) = rest.split_at(1 + self.random.below(rest.len()));
            parts[self.random.below(parallelism)].push(batch(cut));
            rest = later;
        }
        let reader = |part: Vec<RecordBatch>| Box::new(Part(part.into_iter())) as Box<dyn SplitReader>;
        Ok(parts.into_iter().map(reader).collect())
    }

    fn fix_end(&mut self, _: &Offset) -> Result<()> {
        Ok(())
    }
}

struct Part(std::vec::IntoIter<RecordBatch>);

impl SplitReader for Part {
    fn next(&mut self) -> Result<Option<RecordBatch>> {
        Ok(self.0.next())
    }
}

fn batch(rows: &[(i64, i64)]) -> RecordBatch {
    let keys: ArrayRef = Arc::new(rows.iter().map(|row| row.0).collect::<Int64Array>());
    let values: ArrayRef = Arc::new(rows.iter().map(|row| row.1).collect::<Int64Array>());
    RecordBatch::try_new(schema(), vec![keys, values]).unwrap()
}

/// Epoch → its rows, sorted.
pub(super) type Results = BTreeMap<u64, Vec<Vec<i64>>>;

/// Keeps BIGINT rows by epoch.
#[derive(Clone, Default)]
pub(super) struct KeepingSink {
    pub(super) results: Arc<Mutex<Results>>,
}

impl KeepingSink {
    /// What was written, each epoch's rows sorted.
    pub(super) fn sorted(&self) -> Results {
        let mut results = lock(&self.results).clone();
        for rows in results.values_mut() {
            rows.sort();
        }
        results
    }
}

impl Sink for KeepingSink {
    fn description(&self) -> String {
        "KeepingSink".to_string()
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::AtLeastOnce
    }

    fn is_parallel(&self) -> bool {
        true
    }

    fn open(&self, _: &SinkContext) -> Result<Box<dyn SinkWriter>> {
        Ok(Box::new(Keeping { sink: self.clone(), epoch: 0 }))
    }
}

struct Keeping {
    sink: KeepingSink,
    epoch: u64,
}

impl SinkWriter for Keeping {
    fn begin(&mut self, epoch: u64) -> Result<()> {
        self.epoch = epoch;
        lock(&self.sink.results).entry(epoch).or_default();
        Ok(())
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let mut results = lock(&self.sink.results);
        let rows = results.entry(self.epoch).or_default();
        for row in 0..batch.num_rows() {
            rows.push(batch.columns().iter().map(|column| column.as_primitive::<Int64Type>().value(row)).collect());
        }
        Ok(())
    }

    fn prepare(&mut self) -> Result<Prepared> {
        Ok(Prepared::default())
    }

    fn abort(&mut self) {}
}
