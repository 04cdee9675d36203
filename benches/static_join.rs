//! What users did each hour, with their names from a table: millstream beside a purpose-written two-thread loop, in the same run.
//!
//! Run:    cargo bench --bench static_join [-- --lines 10000000] [-- --small]
//! Prints: lines a second of each, millstream's as a share of the loop's, and as a share of its own with one commit an hour; rows, peak
//!         memory, size of the checkpoint; fails when the results differ
//!
//! Input: interactions `userId,event,time` in 16 CSV files and profiles `id,name,country` in one, ten times fewer, fixed seed. Times move
//! on over a day and are up to eight minutes out of order; users by Zipf's law, four kinds of event; a user in twenty has no
//! profile. Ten million lines make about 3.5 million groups of hour, user and event.
//! Windows of one hour, watermark ten minutes, append mode, then an inner join on the user; the columns are window, name, event
//! and count. Both programs read the profiles first, and each file of interactions is an epoch. The loop reads the same files one
//! after the other: each thread counts half of every file, in tables for two parts of the users, and when windows close each thread
//! puts one part together and looks up its names. millstream runs with
//! `Trigger::continuous` and a commit a second in a directory on this machine's disk. Runs alternate; medians are shown.

mod support;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use hashbrown::HashMap;
use millstream::arrow::array::AsArray;
use millstream::arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use millstream::arrow::record_batch::RecordBatch;
use millstream::prelude::*;
use support::fields::{Fields, halves};
use support::{Checksum, Collected, DAY, EVENTS, Random, Times, Words, Zipf, compare, id, on_two_threads, rows_of};

const FILES: usize = 16;
const RUNS: usize = 3;
const WINDOW: i64 = 3600;
const DELAY: i64 = 600;
/// Times are up to so many seconds out of order.
const DISORDER: u64 = 480;

fn main() {
    let lines = support::lines(20_000, 10_000_000);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let directory = directory.path();
    generate_profiles(directory, lines / 10).expect("the profiles can be written");
    generate(directory, lines, lines / 10).expect("the interactions can be written");
    let of_loop = |rows: [Rows; 2]| checksum_of_loop(&rows);
    let millstream = |interval| millstream(directory, interval).expect("the query runs");
    compare(RUNS, lines, (|| loop_on_two_threads(directory), of_loop), (millstream, checksum_of));
}

fn profiles(directory: &Path) -> PathBuf {
    directory.join("profiles.csv")
}

fn interactions(directory: &Path) -> PathBuf {
    directory.join("interactions")
}

fn path(directory: &Path, file: usize) -> PathBuf {
    interactions(directory).join(format!("{file:02}.csv"))
}

/// Users 0, 20, 40, … have no profile; as many others have one and do nothing.
fn generate_profiles(directory: &Path, users: usize) -> std::io::Result<()> {
    let mut names = Words::new(7);
    let mut out = BufWriter::with_capacity(1 << 20, File::create(profiles(directory))?);
    out.write_all(b"id,name,country\n")?;
    for user in 0..users as u64 {
        let user = if user % 20 == 0 { user + users as u64 } else { user };
        write!(out, "{},", id(user))?;
        out.write_all(names.draw())?;
        let country = ["CN", "DE", "BR", "IN", "US"][usize::try_from(names.below(5)).expect("one of five")];
        writeln!(out, ",{country}")?;
    }
    out.flush()
}

fn generate(directory: &Path, lines: usize, users: usize) -> std::io::Result<()> {
    std::fs::create_dir(interactions(directory))?;
    let (mut random, zipf, times) = (Random(42), Zipf::new(users), Times::new(DAY + DISORDER));
    for file in 0..FILES {
        let mut out = BufWriter::with_capacity(1 << 20, File::create(path(directory, file))?);
        for line in lines * file / FILES..lines * (file + 1) / FILES {
            write!(out, "{},", id(zipf.draw(&mut random) as u64))?;
            out.write_all(random.event())?;
            out.write_all(b",")?;
            out.write_all(times.text(line as u64 * DAY / lines as u64 + random.below(DISORDER)))?;
            out.write_all(b"\n")?;
        }
        out.flush()?;
    }
    Ok(())
}

/// Half of the users: a thread counts both, and looks up the names of one.
fn part(user: i64) -> usize {
    usize::from(user >> 20 & 1 == 1)
}

/// Counts by user and event of one window, for each part of the users.
type Counts = [HashMap<(i64, u8), i64>; 2];

/// What one thread has counted. Few windows are open at a time.
#[derive(Default)]
struct Half {
    windows: Vec<(i64, Counts)>,
    highest: i64,
}

impl Half {
    fn count(&mut self, text: &[u8]) {
        let mut fields = Fields::new(text);
        while !fields.is_empty() {
            let (user, event, time) = (fields.number(), fields.event(), fields.time());
            self.highest = self.highest.max(time);
            let start = time - time.rem_euclid(WINDOW);
            let place = self.windows.iter().rposition(|(other, _)| *other == start).unwrap_or_else(|| {
                self.windows.push((start, Counts::default()));
                self.windows.len() - 1
            });
            *self.windows[place].1[part(user)].entry((user, event)).or_default() += 1;
        }
    }

    fn close(&mut self, watermark: i64) -> [Vec<Closed>; 2] {
        let mut closed = [Vec::new(), Vec::new()];
        for (start, [first, second]) in self.windows.extract_if(.., |(start, _)| *start + WINDOW <= watermark) {
            closed[0].push((start, first));
            closed[1].push((start, second));
        }
        closed
    }
}

/// A window that has ended, and the counts of one part of the users.
type Closed = (i64, HashMap<(i64, u8), i64>);

/// The names of one part of the users.
#[derive(Default)]
struct Names {
    places: HashMap<i64, (usize, usize)>,
    text: Vec<u8>,
}

impl Names {
    fn read(text: &[u8], number: usize) -> Self {
        let mut names = Self::default();
        let mut fields = Fields::new(text);
        let _header = [fields.word(), fields.word(), fields.word()];
        while !fields.is_empty() {
            let (user, name, _country) = (fields.number(), fields.word(), fields.word());
            if part(user) == number {
                let begin = names.text.len();
                names.text.extend_from_slice(name);
                names.places.insert(user, (begin, names.text.len()));
            }
        }
        names
    }

    fn get(&self, user: i64) -> Option<&[u8]> {
        self.places.get(&user).map(|(begin, end)| &self.text[*begin..*end])
    }
}

/// What the loop gives out for one part of the users: columns.
#[derive(Default)]
struct Rows {
    starts: Vec<i64>,
    names: Vec<u8>,
    ends: Vec<usize>,
    events: Vec<u8>,
    counts: Vec<i64>,
}

impl Rows {
    fn push_window(&mut self, start: i64, counts: &HashMap<(i64, u8), i64>, names: &Names) {
        for ((user, event), count) in counts {
            let Some(name) = names.get(*user) else { continue };
            self.starts.push(start);
            self.names.extend_from_slice(name);
            self.ends.push(self.names.len());
            self.events.push(*event);
            self.counts.push(*count);
        }
    }

    /// Puts together what both threads counted.
    fn push(&mut self, mut left: Vec<Closed>, right: Vec<Closed>, names: &Names) {
        for (start, counts) in right {
            match left.iter_mut().find(|(other, _)| *other == start) {
                Some((_, sums)) => counts.into_iter().for_each(|(key, count)| *sums.entry(key).or_default() += count),
                None => left.push((start, counts)),
            }
        }
        for (start, counts) in &left {
            self.push_window(*start, counts, names);
        }
    }
}

/// What one would write for this job alone.
fn loop_on_two_threads(directory: &Path) -> [Rows; 2] {
    let text = std::fs::read(profiles(directory)).expect("the profiles can be read");
    let names = on_two_threads(|| Names::read(&text, 0), || Names::read(&text, 1));
    drop(text);
    let (mut left, mut right) = (Half::default(), Half::default());
    let mut rows = [Rows::default(), Rows::default()];
    let mut watermark = 0;
    for file in 0..FILES {
        let text = std::fs::read(path(directory, file)).expect("the interactions can be read");
        let [first, second] = halves(&text);
        on_two_threads(|| left.count(first), || right.count(second));
        close(&mut left, &mut right, watermark, &names, &mut rows);
        watermark = watermark.max(left.highest.max(right.highest) - DELAY);
    }
    // The epoch without input that follows the last one.
    close(&mut left, &mut right, watermark, &names, &mut rows);
    rows
}

fn close(left: &mut Half, right: &mut Half, watermark: i64, names: &[Names; 2], [first, second]: &mut [Rows; 2]) {
    let ([left_first, left_second], [right_first, right_second]) = (left.close(watermark), right.close(watermark));
    on_two_threads(
        || first.push(left_first, right_first, &names[0]),
        || second.push(left_second, right_second, &names[1]),
    );
}

fn checksum_of_loop(parts: &[Rows; 2]) -> Checksum {
    let mut checksum = Checksum::default();
    for rows in parts {
        let mut begin = 0;
        for (row, end) in rows.ends.iter().enumerate() {
            let event = EVENTS[usize::from(rows.events[row])].as_bytes();
            checksum.add(&[rows.starts[row], rows.counts[row]], &[&rows.names[begin..*end], event]);
            begin = *end;
        }
    }
    checksum
}

fn millstream(directory: &Path, interval: Duration) -> Result<Collected> {
    let session = Session::builder().build()?;
    let people = session.read().option("header", true).schema("id BIGINT, name STRING, country STRING");
    let people = people.csv(profiles(directory).to_string_lossy());
    let interactions = session
        .read_stream()
        .format("csv")
        .schema("userId BIGINT, event STRING, time TIMESTAMP")
        .option("maxFilesPerTrigger", 1)
        .load_path(interactions(directory).to_string_lossy());
    let counts = interactions
        .with_watermark("time", "10 minutes")
        .group_by((window("time", "1 hour"), "userId", "event"))
        .count();
    let named = counts.join(&people, "userId = id", JoinType::Inner).select(["window", "name", "event", "count"]);
    let rows = rows_of(&session, &named, OutputMode::Append, interval)?;
    session.stop()?;
    Ok(rows)
}

fn checksum_of(batches: &[RecordBatch]) -> Checksum {
    let mut checksum = Checksum::default();
    for batch in batches {
        let starts = batch.column(0).as_struct().column(0).as_primitive::<TimestampMicrosecondType>().clone();
        let (names, events) = (batch.column(1).as_string::<i32>(), batch.column(2).as_string::<i32>());
        let counts = batch.column(3).as_primitive::<Int64Type>();
        for row in 0..batch.num_rows() {
            let numbers = [starts.value(row) / 1_000_000, counts.value(row)];
            checksum.add(&numbers, &[names.value(row).as_bytes(), events.value(row).as_bytes()]);
        }
    }
    checksum
}
