//! Queries that die, come back, and are haunted by runs that were thought dead.
//!
//! A seed decides: at which call of the store or step of a sink a process dies (before its work is done, or after), at which event it
//! is killed, which calls fail for a while or do their work and lose the answer, with which parallelism the next run comes,
//! whether a killed run lives on unseen, and everything that the simulation of one run decides. In the end the output must be that of
//! a run that nothing happened to, epoch by epoch, and at no moment may the disk have held a checkpoint that cannot be restored.
//!
//! Replay: `SIMULATION_SEED=<seed> cargo test crashes`.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::script::KeepingSink;
use super::store::{Disk, SimStore};
use super::tests::{CASES, Case, seeds};
use super::*;
use crate::connector::options::Options;
use crate::connector::sink::memory::MemoryTables;
use crate::connector::sink::{SinkEnvironment, open_sink};
use crate::types::Zone;

/// After so many starts nothing more goes wrong.
const MOST_TROUBLE: usize = 12;

/// A run and its view of the disk.
type Run = (World, SimStore);

/// How a run ended.
enum End {
    /// It read all there is.
    Over,
    /// It died, or failed as it may.
    Died,
    /// It was killed, or so it seemed.
    Killed(Box<Run>),
}

struct Story<'a> {
    case: &'a Case,
    scripts: Vec<script::Script>,
    disk: Arc<Disk>,
    sink: KeepingSink,
    random: Random,
    defect: Option<ProtocolDefect>,
    trigger: TriggerKind,
}

impl Story<'_> {
    fn start(&mut self, attempt: usize) -> (Result<World>, SimStore) {
        let is_quiet = attempt >= MOST_TROUBLE;
        let fails = if is_quiet { 0 } else { [0, 0, 20][self.random.below(3)] };
        let dies = (!is_quiet && self.random.below(2) == 0).then(|| 1 + self.random.below(80));
        let store = SimStore::new(&self.disk, self.random.next(), fails, dies);
        let sink = self.sink.in_run(&store);
        let topology = (self.case.build)(&self.scripts, self.random.next(), &sink);
        let options = SimulationOptions {
            seed: self.random.next(),
            parallelism: 1 + self.random.below(3),
            window: Window { batches: [1, 2, 4][self.random.below(3)], bytes: [1, 1 << 20][self.random.below(2)] },
            defect: None,
            is_pipelined: false,
            trigger: self.trigger,
            protocol_defect: self.defect,
        };
        (World::new(&topology, options, Arc::new(store.clone())), store)
    }

    /// Starts runs until one comes to the end.
    fn tell(&mut self) -> Result<()> {
        let mut haunts: Vec<Run> = Vec::new();
        for attempt in 0..100 {
            let (world, store) = self.start(attempt);
            let world = match world {
                Ok(world) => world,
                Err(error) => {
                    Self::expect(&error, &store)?;
                    continue;
                }
            };
            let budget = (attempt < MOST_TROUBLE && self.random.below(2) == 0).then(|| self.random.below(400));
            match self.live((world, store), budget, &mut haunts)? {
                End::Over => return Ok(()),
                End::Killed(run) if self.random.below(2) == 0 => haunts.push(*run),
                End::Killed(_) | End::Died => {}
            }
            // More than two make no new story.
            haunts.truncate(2);
        }
        Err(Error::internal("no run came to the end"))
    }

    /// Lets a run live among those that haunt it.
    fn live(&mut self, mut run: Run, budget: Option<usize>, haunts: &mut Vec<Run>) -> Result<End> {
        for event in 0..MOST_EVENTS {
            if budget == Some(event) {
                return Ok(End::Killed(Box::new(run)));
            }
            if !haunts.is_empty() && self.random.below(2) == 0 {
                let index = self.random.below(haunts.len());
                if Self::advance(&mut haunts[index])? {
                    drop(haunts.swap_remove(index));
                }
            }
            if Self::advance(&mut run)? {
                return Ok(if run.0.is_over() { End::Over } else { End::Died });
            }
        }
        Err(Error::internal(format!("no end after {MOST_EVENTS} events")))
    }

    /// Lets one thing happen in a run; answers whether that was the last.
    fn advance((world, store): &mut Run) -> Result<bool> {
        match world.advance() {
            Ok(()) => Ok(world.is_over()),
            Err(error) => Self::expect(&error, store).map(|()| true),
        }
    }

    /// # Errors
    /// When this is not one of the ways in which a run may end early.
    fn expect(error: &Error, store: &SimStore) -> Result<()> {
        let text = error.to_string();
        let is_lost_race = text.contains("two processes run") || text.contains("another process goes on");
        if store.is_dead() || is_lost_race || error.kind() == ErrorKind::Connector {
            return Ok(());
        }
        Err(error.clone())
    }
}

/// Runs one seed of one case and compares with the oracle.
fn survive(case: &Case, seed: u64, defect: Option<ProtocolDefect>) -> Result<()> {
    let mut random = Random::new(seed);
    let scripts: Vec<script::Script> = (0..case.sources).map(|_| script::random_script(&mut random, 9)).collect();
    let disk = Arc::new(Disk::default());
    let sink = KeepingSink::default();
    let trigger = TriggerKind::AvailableNow;
    let mut story = Story { case, scripts, disk, sink, random, defect, trigger };
    story.tell()?;
    if let Some(violation) = story.disk.violations().first() {
        return Err(Error::internal(violation.clone()));
    }
    let (found, expected) = (story.sink.sorted(), (case.expected)(&story.scripts));
    if found != expected {
        return Err(Error::internal(format!("the output is {found:?} instead of {expected:?}")));
    }
    Ok(())
}

#[test]
fn output_is_that_of_an_uninterrupted_run() {
    for case in &CASES {
        for seed in seeds(400) {
            if let Err(error) = survive(case, seed, None) {
                panic!("{}: {error}\nreplay: SIMULATION_SEED={seed} cargo test crashes", case.name);
            }
        }
    }
}

/// A story of continuous processing: which epochs there are depends on it, what comes out in the end does not.
fn survive_continuously(case: &Case, seed: u64) -> Result<Vec<Vec<i64>>> {
    let mut random = Random::new(seed);
    let scripts: Vec<script::Script> = (0..case.sources).map(|_| script::random_script(&mut random, 9)).collect();
    let expected = (case.expected)(&scripts);
    // An interval in events: from every end that can be durable to the first and last only.
    let interval = [0, 5, 20, 1_000_000][random.below(4)];
    let trigger = TriggerKind::Continuous(Duration::from_micros(interval));
    let (disk, sink) = (Arc::new(Disk::default()), KeepingSink::default());
    let mut story = Story { case, scripts, disk, sink, random, defect: None, trigger };
    story.tell()?;
    if let Some(violation) = story.disk.violations().first() {
        return Err(Error::internal(violation.clone()));
    }
    let (found, expected) = ((case.last)(story.sink.sorted()), (case.last)(expected));
    if found == expected { Ok(found) } else { Err(Error::internal(format!("{found:?} instead of {expected:?}"))) }
}

/// The rows in the CSV files of a directory, whichever reader opens it, by the epoch in their names.
fn rows_in(directory: &Path) -> script::Results {
    let mut results = script::Results::new();
    for file in std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let Some(epoch) = name.strip_prefix("part-").and_then(|name| name.split('-').nth(1)?.parse().ok()) else {
            continue;
        };
        let text = std::fs::read_to_string(&file).unwrap();
        let row = |line: &str| line.split(',').map(|cell| cell.parse().unwrap()).collect();
        results.entry(epoch).or_default().extend(text.lines().map(row));
    }
    for rows in results.values_mut() {
        rows.sort();
    }
    results
}

fn survive_with_files(case: &Case, seed: u64) -> Result<()> {
    let mut random = Random::new(seed);
    let scripts: Vec<script::Script> = (0..case.sources).map(|_| script::random_script(&mut random, 5)).collect();
    // In memory where there is such a place: what a disk does at a crash the file sink's own tests ask.
    let memory = Path::new("/dev/shm");
    let root = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    let root = root.map_err(|error| Error::internal(error.to_string()))?;
    let environment =
        SinkEnvironment { zone: Zone::UTC, clock: Arc::new(ManualClock::default()), tables: MemoryTables::default() };
    let files = open_sink("csv", &Options::new(), &[], root.path().to_str(), &environment)?;
    let mut sink = KeepingSink::default();
    sink.instead = Some(files);
    let (disk, trigger) = (Arc::new(Disk::default()), TriggerKind::AvailableNow);
    let mut story = Story { case, scripts, disk, sink, random, defect: None, trigger };
    story.tell()?;
    let (found, mut expected) = (rows_in(root.path()), (case.expected)(&story.scripts));
    expected.retain(|_, rows| !rows.is_empty());
    match story.disk.violations().first() {
        Some(violation) => Err(Error::internal(violation.clone())),
        None if found == expected => Ok(()),
        None => Err(Error::internal(format!("the files have {found:?} instead of {expected:?}"))),
    }
}

#[test]
fn files_have_the_rows_of_an_uninterrupted_run() {
    for case in &CASES {
        for seed in seeds(25) {
            if let Err(error) = survive_with_files(case, seed) {
                panic!("{}: {error}\nreplay: SIMULATION_SEED={seed} cargo test crashes", case.name);
            }
        }
    }
}

#[test]
fn continuous_processing_loses_nothing_and_shows_nothing_twice() {
    for case in CASES.iter().filter(|case| !case.is_timed) {
        for seed in seeds(150) {
            if let Err(error) = survive_continuously(case, seed) {
                panic!("{}: {error}\nreplay: SIMULATION_SEED={seed} cargo test crashes", case.name);
            }
        }
    }
}

#[test]
fn every_planted_defect_of_the_protocol_is_found() {
    for defect in [
        ProtocolDefect::StateAfterCommit,
        ProtocolDefect::NoPlan,
        ProtocolDefect::IgnoresOthers,
        ProtocolDefect::ForgetsToPublish,
        ProtocolDefect::SweepsEarly,
        ProtocolDefect::PublishesFirst,
        ProtocolDefect::CompactsOutOfOrder,
        ProtocolDefect::DeletesNeeded,
        ProtocolDefect::CompactsTwice,
    ] {
        let found = (0..400).any(|seed| CASES.iter().any(|case| survive(case, seed, Some(defect)).is_err()));
        assert!(found, "{defect:?} was not found by any seed");
    }
}
