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
