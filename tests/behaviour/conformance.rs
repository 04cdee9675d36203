//! The connectors of the house under the kit for connectors.

use std::fs;
use std::sync::{Arc, Mutex};

use millstream::arrow::record_batch::RecordBatch;
use millstream::connector::options::Options;
use millstream::connector::sink::memory::MemoryTables;
use millstream::connector::sink::{SinkEnvironment, open_sink};
use millstream::connector::source::{SourceEnvironment, open_stream};
use millstream::connector::{Guarantee, Prepared, Sink, SinkCommitter, SinkContext, SinkWriter};
use millstream::prelude::*;
use millstream::testing::ManualClock;
use millstream::testing::conformance::{SinkUnderTest, check_sink, check_source};
use millstream::types::Zone;
use tempfile::TempDir;

use crate::support::assert_says;

/// Rows in the memory of this process, shown at their commit, with a defect.
#[derive(Clone, Default)]
struct Shelf {
    staged: Arc<Mutex<Vec<Vec<RecordBatch>>>>,
    shown: Arc<Mutex<Vec<(u64, RecordBatch)>>>,
    shows_early: bool,
    shows_again: bool,
}

struct ShelfWriter(Shelf, u64, Vec<RecordBatch>);

impl SinkWriter for ShelfWriter {
    fn begin(&mut self, epoch: u64) -> Result<()> {
        (self.1, self.2) = (epoch, Vec::new());
        Ok(())
    }
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        if self.0.shows_early {
            self.0.shown.lock().unwrap().push((self.1, batch.clone()));
        }
        self.2.push(batch.clone());
        Ok(())
    }
    fn prepare(&mut self) -> Result<Prepared> {
        let mut staged = self.0.staged.lock().unwrap();
        staged.push(std::mem::take(&mut self.2));
        Ok(Prepared(vec![u8::try_from(staged.len() - 1).unwrap()]))
    }
    fn abort(&mut self) {}
}

impl SinkCommitter for Shelf {
    fn commit(&mut self, epoch: u64, prepared: &[Prepared]) -> Result<()> {
        let mut shown = self.shown.lock().unwrap();
        if self.shows_early || !self.shows_again && shown.iter().any(|(known, _)| *known == epoch) {
            return Ok(());
        }
        for Prepared(place) in prepared {
            let staged = self.staged.lock().unwrap()[usize::from(place[0])].clone();
            shown.extend(staged.into_iter().map(|batch| (epoch, batch)));
        }
        Ok(())
    }
}

impl Sink for Shelf {
    fn description(&self) -> String {
        "Shelf".to_string()
    }
    fn guarantee(&self) -> Guarantee {
        Guarantee::ExactlyOnce
    }
    fn open(&self, _: &SinkContext) -> Result<Box<dyn SinkWriter>> {
        Ok(Box::new(ShelfWriter(self.clone(), 0, Vec::new())))
    }
    fn committer(&self, _: &SinkContext) -> Result<Box<dyn SinkCommitter>> {
        Ok(Box::new(self.clone()))
    }
}

impl SinkUnderTest for Shelf {
    fn sink(&self) -> Box<dyn Sink> {
        Box::new(self.clone())
    }
    fn rows(&self) -> Result<Vec<RecordBatch>> {
        Ok(self.shown.lock().unwrap().iter().map(|(_, batch)| batch.clone()).collect())
    }
}

#[test]
fn a_sink_that_keeps_its_promise_passes_and_one_that_does_not_is_told_when() {
    assert!(check_sink(Shelf::default).unwrap() > 30);
    let early = check_sink(|| Shelf { shows_early: true, ..Shelf::default() }).unwrap_err().to_string();
    assert_says(&early, &["before its call", "before its epoch was decided"]);
    let again = check_sink(|| Shelf { shows_again: true, ..Shelf::default() }).unwrap_err().to_string();
    assert_says(&again, &["the promise is broken", "instead of"]);
}

/// A directory of CSV files.
struct Directory {
    directory: TempDir,
    environment: SinkEnvironment,
}

impl SinkUnderTest for Directory {
    fn sink(&self) -> Box<dyn Sink> {
        let path = self.directory.path().to_string_lossy().into_owned();
        let sink = open_sink("csv", &Options::new(), &[], Some(&path), &self.environment).unwrap();
        Box::new(Shared(sink))
    }
    fn rows(&self) -> Result<Vec<RecordBatch>> {
        let session = crate::support::session(1);
        let path = self.directory.path().to_string_lossy().into_owned();
        session.read().schema("id BIGINT, name STRING").csv(path).collect()
    }
}

/// A sink behind a shared pointer.
pub(crate) struct Shared(pub(crate) Arc<dyn Sink>);

impl Sink for Shared {
    fn description(&self) -> String {
        self.0.description()
    }
    fn guarantee(&self) -> Guarantee {
        self.0.guarantee()
    }
    fn is_parallel(&self) -> bool {
        self.0.is_parallel()
    }
    fn open(&self, context: &SinkContext) -> Result<Box<dyn SinkWriter>> {
        self.0.open(context)
    }
    fn committer(&self, context: &SinkContext) -> Result<Box<dyn SinkCommitter>> {
        self.0.committer(context)
    }
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::default())
}

#[test]
fn the_file_sink_keeps_its_promise() {
    let environment = SinkEnvironment { zone: Zone::UTC, clock: clock(), tables: MemoryTables::default() };
    let make = || Directory { directory: TempDir::new().unwrap(), environment: environment.clone() };
    assert!(check_sink(make).unwrap() > 60);
}

#[test]
fn files_and_generated_rows_can_be_read_again() {
    let directory = TempDir::new().unwrap();
    for file in 0..5 {
        fs::write(directory.path().join(format!("{file}.txt")), format!("a{file}\nb{file}\n")).unwrap();
    }
    let environment = SourceEnvironment { zone: Zone::UTC, clock: clock() };
    let mut options = Options::new();
    options.set("maxFilesPerTrigger", 2);
    let path = directory.path().to_string_lossy().into_owned();
    let files = open_stream("text", &options, None, &[path], &environment).unwrap();
    assert_eq!(check_source(files.as_ref()).unwrap(), 3);
}
