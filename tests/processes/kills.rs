//! Queries killed with SIGKILL over and over show in the end what an uninterrupted run shows.
//!
//! The moments are lines of the log, chosen by a seed: `KILL_SEED=<seed> cargo test --test processes kill` runs the same choices
//! again. What the process does after its line was written, the machine decides.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use millstream::arrow::record_batch::RecordBatch;
use millstream::prelude::*;
use tempfile::TempDir;

use super::example;

/// So many runs are killed before one may end.
const KILLS: u64 = 50;

/// Splitmix64.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn seed() -> u64 {
    std::env::var("KILL_SEED").map_or(7, |seed| seed.parse().unwrap())
}

/// Starts the program and kills it at the `line`-th line of its log; answers whether it ended before.
fn killed_at(program: &mut Command, line: u64) -> bool {
    let program = program.env("RUST_LOG", "millstream::actor=debug").stderr(Stdio::piped()).stdout(Stdio::null());
    let mut child: Child = program.spawn().unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let taken = lines.take(usize::try_from(line).unwrap()).count() as u64;
    if taken < line {
        assert!(child.wait().unwrap().success(), "the program failed");
        return true;
    }
    child.kill().unwrap();
    child.wait().unwrap();
    false
}

/// Kills runs of the program at lines below `most`, then lets one end.
fn kill_over_and_over(mut program: impl FnMut() -> Command, most: u64) {
    let mut random = seed();
    println!("seed {random}");
    for kill in 0..KILLS {
        let line = 1 + next(&mut random) % most;
        assert!(!killed_at(&mut program(), line), "the input was read after {kill} kills");
    }
    assert!(program().stdout(Stdio::null()).status().unwrap().success());
}

/// All lines of the files that a reader without manners would find, sorted.
fn raw_lines(directory: &Path) -> Vec<String> {
    let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|file| file.extension().is_some_and(|extension| extension == "csv"));
    let mut lines: Vec<String> = files
        .flat_map(|file| fs::read_to_string(file).unwrap().lines().map(str::to_string).collect::<Vec<_>>())
        .collect();
    lines.sort();
    lines
}

/// Of two sorted lists, shows only what one has and the other has not.
fn assert_same(found: &[String], expected: &[String]) {
    let without = |all: &[String], some: &[String]| {
        let mut rest = all.to_vec();
        for line in some {
            if let Ok(place) = rest.binary_search(line) {
                rest.remove(place);
            }
        }
        rest
    };
    let (extra, lost) = (without(found, expected), without(expected, found));
    assert!(extra.is_empty() && lost.is_empty(), "twice or wrong: {extra:?}; lost: {lost:?}");
}

#[test]
fn windowed_counts_survive_fifty_kills() {
    let (killed, whole) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let program = |directory: &TempDir| {
        let mut program = example("recovery");
        program.arg("--directory").arg(directory.path());
        program
    };
    assert!(program(&whole).stdout(Stdio::null()).status().unwrap().success());
    // The first run writes its input, which is not what is to be tested.
    fs::create_dir(killed.path().join("in")).unwrap();
    let mut files: Vec<_> = fs::read_dir(whole.path().join("in")).unwrap().map(|entry| entry.unwrap()).collect();
    // Files are read in the order of their times.
    files.sort_by_key(fs::DirEntry::file_name);
    for file in files {
        fs::copy(file.path(), killed.path().join("in").join(file.file_name())).unwrap();
    }
    kill_over_and_over(|| program(&killed), 400);
    let expected = raw_lines(&whole.path().join("out"));
    assert!(expected.len() > 300, "{} rows", expected.len());
    assert_same(&raw_lines(&killed.path().join("out")), &expected);
    let session = Session::builder().parallelism(1).build().unwrap();
    let read = |directory: &TempDir| session.read().text(directory.path().join("out").to_string_lossy().into_owned());
    let count = |frame: DataFrame| frame.collect().unwrap().iter().map(RecordBatch::num_rows).sum::<usize>();
    assert_eq!(count(read(&killed)), expected.len(), "the manifest names every row once");
}

/// The variable that tells this test binary to be the program that is killed.
const CHILD: &str = "MILLSTREAM_KILLED_JOIN";

/// Interactions and postings of one minute a file.
fn write_stream_files(directory: &Path) {
    for name in ["postings", "interactions"] {
        fs::create_dir_all(directory.join(name)).unwrap();
    }
    let mut random = 11;
    for minute in 0..150_u64 {
        let time = |minute: u64, second: u64| format!("2024-01-01 {:02}:{:02}:{second:02}", minute / 60, minute % 60);
        let posting = |id: u64| format!("{},{}\n", minute * 4 + id, time(minute, id * 10));
        fs::write(directory.join(format!("postings/{minute:04}.csv")), (0..4).map(posting).collect::<String>())
            .unwrap();
        let interactions = (0..12).map(|user| {
            let of = (minute * 4 + next(&mut random) % 4).saturating_sub(next(&mut random) % 40);
            format!("{of},{user},{}\n", time(minute, 30 + user))
        });
        fs::write(directory.join(format!("interactions/{minute:04}.csv")), interactions.collect::<String>()).unwrap();
    }
}

/// The program: every posting with the interactions of the five minutes after it, or none.
#[test]
#[ignore = "is a program for another test"]
fn joins_until_killed() {
    let Ok(directory) = std::env::var(CHILD) else { return };
    env_logger::init();
    let session = Session::builder().parallelism(2).build().unwrap();
    let stream = |name: &str, schema: &str| {
        let reader = session.read_stream().schema(schema).option("maxFilesPerTrigger", 1);
        reader.csv(format!("{directory}/{name}"))
    };
    let postings = stream("postings", "id BIGINT, posted TIMESTAMP").with_watermark("posted", "1 minute");
    let interactions =
        stream("interactions", "video BIGINT, user BIGINT, at TIMESTAMP").with_watermark("at", "1 minute");
    let soon = expr("id = video AND at >= posted AND at <= posted + interval 5 minutes");
    let query = postings
        .join(&interactions, soon, JoinType::Left)
        .write_stream()
        .format("csv")
        .option("checkpointLocation", format!("{directory}/checkpoint"))
        .query_name("join")
        .trigger(Trigger::available_now())
        .start_path(format!("{directory}/out"))
        .unwrap();
    query.await_termination().unwrap();
}

#[test]
fn a_join_of_streams_survives_fifty_kills() {
    let (killed, whole) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let program = |directory: &TempDir| {
        let mut program = Command::new(std::env::current_exe().unwrap());
        program.args(["--exact", "kills::joins_until_killed", "--ignored", "--nocapture"]).env(CHILD, directory.path());
        program
    };
    for directory in [&killed, &whole] {
        write_stream_files(directory.path());
    }
    assert!(program(&whole).stdout(Stdio::null()).status().unwrap().success());
    kill_over_and_over(|| program(&killed), 280);
    let expected = raw_lines(&whole.path().join("out"));
    assert!(expected.len() > 600, "{} rows", expected.len());
    assert_same(&raw_lines(&killed.path().join("out")), &expected);
}
