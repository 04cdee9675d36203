use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use millstream::Uuid;
use millstream::arrow::array::RecordBatch;
use millstream::connector::{Guarantee, Prepared, Sink, SinkCommitter, SinkContext, SinkWriter};
use millstream::prelude::*;

use crate::support::{assert_says, message};

fn word_count() -> Topology {
    let mut topology = Topology::builder("by-hand");
    topology.output_mode(OutputMode::Complete);
    let lines = topology.source("lines", TextFiles::new("assets/lines"));
    let words = topology.operator("split", Explode::words("value", "word")).after(lines);
    let counts = topology.operator("count", CountBy::new("word")).partitioned_by(words, "word");
    topology.sink("print", Console::new().writer(std::sync::Arc::new(std::sync::Mutex::new(Vec::new())))).after(counts);
    topology.build().unwrap()
}

#[test]
fn a_topology_by_hand_runs() {
    for parallelism in [1, 2, 4] {
        let session = crate::support::session(parallelism);
        let query = session.run(word_count(), Trigger::available_now()).unwrap();
        query.await_termination().unwrap();
        assert_eq!(query.last_progress().unwrap().num_input_rows, 7);
        assert_eq!(query.name(), Some("by-hand"));
    }
}

#[test]
fn a_topology_draws_itself() {
    let topology = word_count();
    assert_says(&topology.to_string(), &["by-hand", "sink print", "hash word", "source lines", "word STRING"]);
    assert_says(&topology.to_mermaid(), &["flowchart LR", "-->|hash word|"]);
    assert_says(&topology.to_dot(), &["digraph", "hash word"]);
    assert_eq!(topology.nodes().len(), 4);
    assert_eq!(topology.edges().len(), 3);
}

#[test]
fn a_wrong_topology_is_named() {
    let mut unread = Topology::builder("t");
    unread.source("lines", TextFiles::new("assets/lines"));
    assert_says(&message(unread.build()), &["no sink"]);

    let mut twice = Topology::builder("t");
    let lines = twice.source("a", TextFiles::new("assets/lines"));
    twice.sink("a", Console::new()).after(lines);
    assert_says(&message(twice.build()), &["two nodes named `a`"]);

    let mut column = Topology::builder("t");
    let lines = column.source("lines", TextFiles::new("assets/lines"));
    let counts = column.operator("count", CountBy::new("value")).partitioned_by(lines, "valeu");
    column.sink("print", Console::new()).after(counts);
    assert_says(&message(column.build()), &["no column `valeu`", "did you mean `value`?"]);

    let mut operator = Topology::builder("t");
    let lines = operator.source("lines", TextFiles::new("assets/lines"));
    let words = operator.operator("split", Explode::words("line", "word")).after(lines);
    operator.sink("print", Console::new()).after(words);
    assert_says(&message(operator.build()), &["node `split`", "line"]);

    let mut loose = Topology::builder("t");
    let lines = loose.source("lines", TextFiles::new("assets/lines"));
    let _ = loose.operator("split", Explode::words("value", "word"));
    loose.sink("print", Console::new()).after(lines);
    assert_says(&message(loose.build()), &["node `split`", "reads nothing"]);
}

/// Notes the checkpoint of everyone who writes or commits.
#[derive(Clone, Default)]
struct Noting(Arc<Mutex<Vec<(&'static str, Uuid)>>>);

struct Nothing;

impl Sink for Noting {
    fn description(&self) -> String {
        "Noting".to_string()
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::AtLeastOnce
    }

    fn is_parallel(&self) -> bool {
        true
    }

    fn open(&self, context: &SinkContext) -> Result<Box<dyn SinkWriter>> {
        self.0.lock().unwrap().push(("writer", context.checkpoint));
        Ok(Box::new(Nothing))
    }

    fn committer(&self, context: &SinkContext) -> Result<Box<dyn SinkCommitter>> {
        self.0.lock().unwrap().push(("committer", context.checkpoint));
        Ok(Box::new(Nothing))
    }
}

impl SinkWriter for Nothing {
    fn begin(&mut self, _: u64) -> Result<()> {
        Ok(())
    }

    fn write(&mut self, _: &RecordBatch) -> Result<()> {
        Ok(())
    }

    fn prepare(&mut self) -> Result<Prepared> {
        Ok(Prepared::default())
    }

    fn abort(&mut self) {}
}

impl SinkCommitter for Nothing {
    fn commit(&mut self, _: u64, _: &[Prepared]) -> Result<()> {
        Ok(())
    }
}

#[test]
fn all_writers_and_the_committer_of_a_query_are_told_of_one_checkpoint() {
    let noted = Noting::default();
    let mut seen = BTreeSet::new();
    for _ in 0..2 {
        let mut topology = Topology::builder("noting");
        let lines = topology.source("lines", TextFiles::new("assets/lines"));
        topology.sink("note", noted.clone()).after(lines);
        let session = crate::support::session(2);
        session.run(topology.build().unwrap(), Trigger::available_now()).unwrap().await_termination().unwrap();
        let told = std::mem::take(&mut *noted.0.lock().unwrap());
        let roles: Vec<_> = told.iter().map(|(role, _)| *role).collect();
        assert_eq!(roles, ["committer", "writer", "writer"]);
        let checkpoints: BTreeSet<Uuid> = told.iter().map(|(_, checkpoint)| *checkpoint).collect();
        assert_eq!(checkpoints.len(), 1);
        seen.extend(checkpoints);
    }
    assert_eq!(seen.len(), 2);
}
