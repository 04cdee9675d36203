//! A source that follows a script and a sink that keeps what it is given.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use arrow::array::{ArrayRef, AsArray, Int64Array};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;

use super::Random;
use super::store::SimStore;
use crate::clock::lock;
use crate::connector::{
    Guarantee, NextPoll, Offset, Prepared, ReadLimit, Sink, SinkCommitter, SinkContext, SinkWriter, Source,
    SourceFactory, SplitReader,
};
use crate::error::{Error, Result};

/// Rows of (key, value), epoch by epoch.
pub(super) type Script = Vec<Vec<(i64, i64)>>;

/// A script of at most so many epochs over a few keys.
pub(super) fn random_script(random: &mut Random, most_epochs: usize) -> Script {
    let epochs = 1 + random.below(most_epochs);
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
        Ok(Box::new(Playing { script: self.script.clone(), random: Random::new(self.seed), known: BTreeSet::new() }))
    }
}

struct Playing {
    script: Script,
    random: Random,
    /// The ends of ranges that were found; it plans no others, so that it needs what it saved.
    known: BTreeSet<i64>,
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
        let latest = (at + 1).min(i64::try_from(self.script.len()).unwrap());
        self.known.insert(latest);
        Ok(Offset::from(latest))
    }

    fn plan(&mut self, from: &Offset, to: &Offset, parallelism: usize) -> Result<Vec<Box<dyn SplitReader>>> {
        let [from, to] = [from, to].map(|offset| offset.0.as_i64().unwrap());
        if let Some(unknown) = (from + 1..=to).find(|end| !self.known.contains(end)) {
            return Err(Error::internal(format!("the range up to {unknown} was never found nor restored")));
        }
        let range = usize::try_from(from).unwrap()..usize::try_from(to).unwrap();
        let rows = self.script[range].concat();
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

    fn save(&mut self, from: &Offset, to: &Offset) -> Result<Option<Vec<u8>>> {
        let [from, to] = [from, to].map(|offset| offset.0.as_i64().unwrap());
        Ok(Some((from + 1..=to).flat_map(i64::to_le_bytes).collect()))
    }

    fn save_all(&mut self, to: &Offset) -> Result<Option<Vec<u8>>> {
        self.save(&0.into(), to)
    }

    fn restore(&mut self, saved: &[u8]) -> Result<()> {
        self.known.extend(saved.chunks_exact(8).map(|end| i64::from_le_bytes(end.try_into().unwrap())));
        Ok(())
    }

    fn fix_end(&mut self, _: &Offset) -> Result<()> {
        Ok(())
    }

    fn next_poll(&mut self) -> NextPoll {
        NextPoll::Ended
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

/// What was staged, under the text that stands for it.
type Staged = BTreeMap<Vec<u8>, Vec<Vec<i64>>>;

/// Keeps BIGINT rows by epoch.
#[derive(Clone, Default)]
pub(super) struct KeepingSink {
    pub(super) results: Arc<Mutex<Results>>,
    /// Rows are staged and shown when they are committed, by this run of a query; otherwise they are shown as they are written.
    pub(super) run: Option<SimStore>,
    /// The sink that does the work, if it is not this one.
    pub(super) instead: Option<Arc<dyn Sink>>,
    staged: Arc<Mutex<Staged>>,
    shown: Arc<Mutex<BTreeSet<Vec<u8>>>>,
}

impl KeepingSink {
    /// What was shown, each epoch's rows sorted.
    pub(super) fn sorted(&self) -> Results {
        let mut results = lock(&self.results).clone();
        for rows in results.values_mut() {
            rows.sort();
        }
        results
    }

    /// The same sink in another run of the query.
    pub(super) fn in_run(&self, run: &SimStore) -> Self {
        Self { run: Some(run.clone()), ..self.clone() }
    }
}

impl Sink for KeepingSink {
    fn description(&self) -> String {
        "KeepingSink".to_string()
    }

    fn guarantee(&self) -> Guarantee {
        if self.run.is_some() { Guarantee::ExactlyOnce } else { Guarantee::AtLeastOnce }
    }

    fn is_parallel(&self) -> bool {
        true
    }

    fn open(&self, context: &SinkContext) -> Result<Box<dyn SinkWriter>> {
        if let Some(instead) = &self.instead {
            return instead.open(context);
        }
        let (sink, rows) = (self.clone(), Vec::new());
        Ok(Box::new(Keeping { sink, epoch: 0, rows, name: (context.generation, context.instance) }))
    }

    fn committer(&self, context: &SinkContext) -> Result<Box<dyn SinkCommitter>> {
        if let Some(instead) = &self.instead {
            return instead.committer(context);
        }
        Ok(Box::new(Showing(self.clone())))
    }
}

struct Keeping {
    sink: KeepingSink,
    epoch: u64,
    rows: Vec<Vec<i64>>,
    name: (u64, usize),
}

impl SinkWriter for Keeping {
    fn begin(&mut self, epoch: u64) -> Result<()> {
        self.epoch = epoch;
        if self.sink.run.is_none() {
            lock(&self.sink.results).entry(epoch).or_default();
        }
        Ok(())
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        for row in 0..batch.num_rows() {
            self.rows
                .push(batch.columns().iter().map(|column| column.as_primitive::<Int64Type>().value(row)).collect());
        }
        Ok(())
    }

    fn prepare(&mut self) -> Result<Prepared> {
        let rows = std::mem::take(&mut self.rows);
        let Some(run) = &self.sink.run else {
            lock(&self.sink.results).entry(self.epoch).or_default().extend(rows);
            return Ok(Prepared::default());
        };
        run.step()?;
        let token = format!("{} {:?}", self.epoch, self.name).into_bytes();
        lock(&self.sink.staged).insert(token.clone(), rows);
        Ok(Prepared(token))
    }

    fn abort(&mut self) {}
}

/// Shows what was staged, part by part.
struct Showing(KeepingSink);

impl SinkCommitter for Showing {
    fn commit(&mut self, epoch: u64, prepared: &[Prepared]) -> Result<()> {
        let Some(run) = &self.0.run else { return Ok(()) };
        for Prepared(token) in prepared {
            run.step()?;
            run.expect_decided(epoch, token);
            let rows = lock(&self.0.staged).get(token).cloned();
            let rows = rows.ok_or_else(|| Error::internal("what was prepared is gone"))?;
            let mut results = lock(&self.0.results);
            let shown = results.entry(epoch).or_default();
            if lock(&self.0.shown).insert(token.clone()) {
                shown.extend(rows);
            }
        }
        Ok(())
    }

    fn recover(&mut self, last: Option<u64>) -> Result<()> {
        let (shown, last) = (lock(&self.0.shown), last.map_or(0, |last| last + 1));
        let epoch =
            |token: &Vec<u8>| String::from_utf8_lossy(token).split(' ').next().and_then(|epoch| epoch.parse().ok());
        lock(&self.0.staged)
            .retain(|token, _| shown.contains(token) || epoch(token).is_some_and(|epoch: u64| epoch >= last));
        Ok(())
    }
}
