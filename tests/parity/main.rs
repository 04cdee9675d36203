//! The same rows through the same plans as on a real Spark, epoch by epoch.
//!
//! `goldens/*.json` hold the cases and what Spark 4.3 did with them; `generate.py`, which wrote them, says what they
//! contain. Here each case is built through the public interface and run at parallelism 1, 2 and 4, its rows cut into
//! record batches at random. What is compared, for every epoch: its number, the watermark it ran under, its rows, the
//! rows of state kept afterwards, and whether rows were dropped as late.
//!
//! `PARITY_CASE=name cargo test --test parity` runs one case.
//!
//! | module | what it does |
//! |---|---|
//! | `golden` | reads the files |
//! | `pipeline` | builds a case's plan |
//! | `feed` | gives a case its rows, and collects what comes out |
//! | `render` | rows as JSON, as the generator writes them |
//! | `compare` | says where two runs differ |

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod compare;
mod feed;
mod golden;
mod pipeline;
mod render;

use std::collections::BTreeSet;
use std::thread;

use feed::Run;
use golden::Case;

/// How many cases of a group go at a time.
const SHARES: usize = 4;

/// Every parallelism, with the seed of the cuts; seed 0 leaves the rows of a step in one batch.
const RUNS: [Run; 4] = [
    Run { parallelism: 1, seed: 0 },
    Run { parallelism: 1, seed: 1 },
    Run { parallelism: 2, seed: 2 },
    Run { parallelism: 4, seed: 3 },
];

/// One test for each file of goldens.
macro_rules! groups {
    ($($group:ident)*) => {
        const GROUPS: &[&str] = &[$(stringify!($group)),*];
        $(#[test]
        fn $group() {
            check(stringify!($group));
        })*
    };
}

groups! {
    aggregates chains deduplication events filters joins late plain policies random sessions static_joins windows
}

/// Runs the cases of a group and fails with everything that differs.
fn check(group: &str) {
    let cases = golden::wanted(group);
    // A large group would otherwise keep one core busy long after the others are done.
    let share = cases.len().div_ceil(SHARES).max(1);
    let failures: Vec<String> = thread::scope(|scope| {
        let start = |cases| scope.spawn(move || <[Case]>::iter(cases).flat_map(differences).collect::<Vec<_>>());
        let shares: Vec<_> = cases.chunks(share).map(start).collect();
        shares.into_iter().flat_map(|share| share.join().unwrap()).collect()
    });
    let count = failures.len();
    assert!(failures.is_empty(), "{count} differences from Spark in `{group}`:\n\n{}", failures.join("\n\n"));
}

/// What differs, once for all runs in which it is the same.
fn differences(case: &Case) -> Vec<String> {
    let mut found: Vec<(String, Vec<String>)> = Vec::new();
    for run in RUNS {
        let Some(text) = feed::run(case, run).map_or_else(Some, |epochs| compare::difference(case, &epochs)) else {
            continue;
        };
        match found.iter_mut().find(|(known, _)| *known == text) {
            Some((_, runs)) => runs.push(run.to_string()),
            None => found.push((text, vec![run.to_string()])),
        }
    }
    if let Some(reason) = &case.compare.differs {
        // A difference that is meant has to be there, so that the mark goes when it does.
        let text = format!("case {}: no longer differs from Spark; it was said to, because {reason}", case.name);
        return if found.is_empty() { vec![text] } else { Vec::new() };
    }
    let rules = case.rules.join(" ");
    found.iter().map(|(text, runs)| format!("case {} ({rules}), {}: {text}", case.name, runs.join("; "))).collect()
}

#[test]
fn every_file_of_goldens_is_a_test() {
    let groups: BTreeSet<String> = GROUPS.iter().map(ToString::to_string).collect();
    assert_eq!(golden::groups(), groups);
}

#[test]
fn every_rule_has_cases() {
    let cases: Vec<Case> = GROUPS.iter().flat_map(|group| golden::all(group)).collect();
    let rules = [("2", 8), ("3", 6), ("4", 6), ("5", 2)];
    for rule in rules.iter().flat_map(|(section, last)| (1..=*last).map(move |number| format!("{section}.{number}"))) {
        let count = cases.iter().filter(|case| case.rules.contains(&rule)).count();
        assert!(count >= 2, "rule {rule} has {count} cases");
    }
}

#[test]
fn the_case_asked_for_is_there() {
    if let Some(name) = golden::asked_for() {
        let found = GROUPS.iter().any(|group| golden::all(group).iter().any(|case| case.name == name));
        assert!(found, "there is no case `{name}`");
    }
}
