use std::collections::{BTreeMap, BTreeSet};

use super::script::{KeepingSink, Results, Script, ScriptSource, random_script};
use super::*;
use crate::operator::{CountBy, Union};
use crate::protocol::OutputMode;

/// A topology under test and what it should give.
struct Case {
    name: &'static str,
    build: fn(&[Script], u64, &KeepingSink) -> Topology,
    expected: fn(&[Script]) -> Results,
    sources: usize,
}

const CASES: [Case; 4] = [
    Case { name: "count behind an exchange", build: count, expected: expect_count, sources: 1 },
    Case { name: "diamond", build: diamond, expected: expect_diamond, sources: 1 },
    Case { name: "union of two sources", build: union, expected: expect_union, sources: 2 },
    Case { name: "two exchanges", build: two_exchanges, expected: expect_two_exchanges, sources: 1 },
];

fn source(scripts: &[Script], index: usize, seed: u64) -> ScriptSource {
    ScriptSource { script: scripts[index].clone(), seed: seed.wrapping_add(index as u64) }
}

fn update(by: &str) -> CountBy {
    CountBy::new(by).mode(OutputMode::Update)
}

fn count(scripts: &[Script], seed: u64, sink: &KeepingSink) -> Topology {
    let mut topology = Topology::builder("count");
    let rows = topology.source("rows", source(scripts, 0, seed));
    let counts = topology.operator("count", update("key")).partitioned_by(rows, "key");
    topology.sink("keep", sink.clone()).after(counts);
    topology.build().unwrap()
}

fn diamond(scripts: &[Script], seed: u64, sink: &KeepingSink) -> Topology {
    let mut topology = Topology::builder("diamond");
    let rows = topology.source("rows", source(scripts, 0, seed));
    let left = topology.operator("left", Union::new(1)).after(rows);
    let right = topology.operator("right", Union::new(1)).after(rows);
    let both = topology.operator("both", Union::new(2)).after_all([left, right]);
    let counts = topology.operator("count", update("key")).partitioned_by(both, "key");
    topology.sink("keep", sink.clone()).after(counts);
    topology.build().unwrap()
}

fn union(scripts: &[Script], seed: u64, sink: &KeepingSink) -> Topology {
    let mut topology = Topology::builder("union");
    let first = topology.source("first", source(scripts, 0, seed));
    let second = topology.source("second", source(scripts, 1, seed));
    let both = topology.operator("both", Union::new(2)).after_all([first, second]);
    let counts = topology.operator("count", update("value")).partitioned_by(both, "value");
    topology.sink("keep", sink.clone()).after(counts);
    topology.build().unwrap()
}

fn two_exchanges(scripts: &[Script], seed: u64, sink: &KeepingSink) -> Topology {
    let mut topology = Topology::builder("two-exchanges");
    let rows = topology.source("rows", source(scripts, 0, seed));
    let counts = topology.operator("count", update("key")).partitioned_by(rows, "key");
    let sizes = topology.operator("sizes", update("count")).partitioned_by(counts, "count");
    // The inner count and the outer one have the same name; only the outer is shown.
    topology.sink("keep", sink.clone()).after(sizes);
    topology.build().unwrap()
}

/// Counts `keys` epoch by epoch and shows those touched, as update mode does.
fn touched_counts(epochs: impl IntoIterator<Item = Vec<i64>>) -> Results {
    let mut counts: BTreeMap<i64, i64> = BTreeMap::new();
    let mut results = Results::new();
    for (epoch, keys) in epochs.into_iter().enumerate() {
        for key in &keys {
            *counts.entry(*key).or_default() += 1;
        }
        let touched: BTreeSet<i64> = keys.into_iter().collect();
        results.insert(epoch as u64, touched.into_iter().map(|key| vec![key, counts[&key]]).collect());
    }
    results
}

fn keys(script: &Script) -> Vec<Vec<i64>> {
    script.iter().map(|rows| rows.iter().map(|row| row.0).collect()).collect()
}

fn expect_count(scripts: &[Script]) -> Results {
    touched_counts(keys(&scripts[0]))
}

fn expect_diamond(scripts: &[Script]) -> Results {
    touched_counts(keys(&scripts[0]).into_iter().map(|keys| [keys.clone(), keys].concat()))
}

fn expect_union(scripts: &[Script]) -> Results {
    let epochs = scripts.iter().map(Vec::len).max().unwrap();
    let values = |script: &Script, epoch: usize| -> Vec<i64> {
        script.get(epoch).map(|rows| rows.iter().map(|row| row.1).collect()).unwrap_or_default()
    };
    touched_counts((0..epochs).map(|epoch| scripts.iter().flat_map(|script| values(script, epoch)).collect()))
}

fn expect_two_exchanges(scripts: &[Script]) -> Results {
    let inner = touched_counts(keys(&scripts[0]));
    touched_counts(inner.into_values().map(|rows| rows.into_iter().map(|row| row[1]).collect()))
}

/// Runs one seed of one case and compares with the oracle.
fn run(case: &Case, seed: u64, defect: Option<Defect>) -> Result<()> {
    let mut random = Random::new(seed);
    let scripts: Vec<Script> = (0..case.sources).map(|_| random_script(&mut random)).collect();
    let sink = KeepingSink::default();
    let topology = (case.build)(&scripts, random.next(), &sink);
    let parallelism = [1, 2, 3, 4][random.below(4)];
    let window = Window { batches: [1, 2, 4][random.below(3)], bytes: 1 << 20 };
    let is_pipelined = random.below(2) == 0;
    simulate(&topology, SimulationOptions { seed: random.next(), parallelism, window, defect, is_pipelined })?;
    let (found, expected) = (sink.sorted(), (case.expected)(&scripts));
    if found != expected {
        return Err(Error::internal(format!("the result is {found:?} instead of {expected:?}")));
    }
    Ok(())
}

/// The seeds to run: one given by hand, or so many.
fn seeds(count: u64) -> Vec<u64> {
    match std::env::var("SIMULATION_SEED") {
        Ok(seed) => vec![seed.parse().expect("SIMULATION_SEED is a number")],
        Err(_) => (0..count).collect(),
    }
}

#[test]
fn the_result_does_not_depend_on_the_schedule() {
    for case in &CASES {
        for seed in seeds(600) {
            if let Err(error) = run(case, seed, None) {
                panic!("{}: {error}\nreplay: SIMULATION_SEED={seed} cargo test simulation", case.name);
            }
        }
    }
}

#[test]
fn every_planted_defect_is_found() {
    for defect in [Defect::NoAlignment, Defect::BarrierOvertakes, Defect::LostCredit] {
        let found = (0..600).any(|seed| CASES.iter().any(|case| run(case, seed, Some(defect)).is_err()));
        assert!(found, "{defect:?} was not found by any seed");
    }
}

#[test]
fn a_seed_replays_the_same_events() {
    let outcome = |seed| run(&CASES[1], seed, Some(Defect::NoAlignment)).map_err(|error| error.to_string());
    let failing = (0..600).find(|seed| outcome(*seed).is_err()).expect("some seed fails");
    assert_eq!(outcome(failing), outcome(failing));
}
