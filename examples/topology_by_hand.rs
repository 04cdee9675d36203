//! The word count as a topology written by hand: named operators, explicit edges and partitioning.
//!
//! Run:    cargo run --example topology_by_hand
//! Prints: the topology as text and as a Mermaid flowchart, then the counts

use millstream::prelude::*;

fn main() -> Result<()> {
    env_logger::init();
    let mut topology = Topology::builder("word-count");
    topology.output_mode(OutputMode::Complete);
    let lines = topology.source("lines", TextFiles::new("assets/lines/wheels.txt"));
    let words = topology.operator("split", Explode::words("value", "word")).after(lines);
    let counts = topology.operator("count", CountBy::new("word")).partitioned_by(words, "word");
    topology.sink("print", Console::new()).after(counts);
    let topology = topology.build()?;
    println!("{topology}");
    println!("{}", topology.to_mermaid());

    let session = Session::builder().app_name("topology-by-hand").parallelism(1).build()?;
    let query = session.run(topology, Trigger::available_now())?;
    query.await_termination()
}
