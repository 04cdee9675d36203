//! Interactions with videos within an hour of their posting: millstream beside a purpose-written two-thread loop, in the same run.
//!
//! Run:    cargo bench --bench stream_join [-- --lines 10000000] [-- --small]
//! Prints: lines a second of each, millstream's as a share of the loop's, and as a share of its own with one commit an hour; rows, peak
//!         memory, size of the checkpoint; fails when the results differ
//!
//! Input: interactions `videoId,user,event,time`, and postings `id,author,time`, twenty times fewer, in 16 CSV files each, fixed seed. Times
//! move on over a day and are up to eight minutes out of order. An interaction is about a video of the last two hours, in one case
//! of two about one in a hundred of them; so about half are within the hour, and some come before their posting.
//! Watermarks of ten minutes on both streams, so no row is late; inner join on the video and
//! `eventTime >= postTime AND eventTime <= postTime + interval 1 hour`; the columns are author, user and event. A file of each stream is an
//! epoch. The loop reads the same files: each thread parses half of them and joins one part of the videos. It knows that a video is posted
//! once: only interactions without a posting so far wait, in a list; what can match no more is freed by the same rule after each file.
//! millstream runs with
//! `Trigger::continuous` and a commit a second in a directory on this machine's disk. Runs alternate; medians are shown, and lines are those of both streams.

mod support;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use hashbrown::HashMap;
use millstream::arrow::array::AsArray;
use millstream::arrow::datatypes::Int64Type;
use millstream::arrow::record_batch::RecordBatch;
use millstream::prelude::*;
use support::fields::{Fields, halves};
use support::{Checksum, Collected, DAY, EVENTS, Random, Times, Words, compare, id, on_two_threads, rows_of};

const FILES: usize = 16;
const RUNS: usize = 3;
const LATEST: i64 = 3600;
const DELAY: i64 = 600;
/// Times are up to so many seconds out of order.
const DISORDER: u64 = 480;
/// An interaction comes at most so many seconds before its posting, as far as the order of times tells.
const EARLY: u64 = 300;

fn main() {
    let lines = support::lines(20_000, 10_000_000);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let directory = directory.path();
    let postings = lines / 20;
    generate_postings(directory, postings).expect("the postings can be written");
    generate_interactions(directory, lines, postings as u64).expect("the interactions can be written");
    let of_loop = |rows: [Rows; 2]| checksum_of_loop(&rows);
    let millstream = |interval| millstream(directory, interval).expect("the query runs");
    compare(RUNS, lines + postings, (|| loop_on_two_threads(directory), of_loop), (millstream, checksum_of));
}

fn interactions(directory: &Path) -> PathBuf {
    directory.join("interactions")
}

fn postings(directory: &Path) -> PathBuf {
    directory.join("postings")
}

fn file(directory: &Path, number: usize) -> PathBuf {
    directory.join(format!("{number:02}.csv"))
}

/// Video `v` of `count` is posted `v / count` of the day after its begin, in the order of times.
fn generate_postings(directory: &Path, count: usize) -> std::io::Result<()> {
    let directory = postings(directory);
    std::fs::create_dir(&directory)?;
    let (mut authors, times) = (Words::new(7), Times::new(DAY + DISORDER));
    for number in 0..FILES {
        let mut out = BufWriter::with_capacity(1 << 20, File::create(file(&directory, number))?);
        for video in count * number / FILES..count * (number + 1) / FILES {
            write!(out, "{},", id(video as u64))?;
            out.write_all(authors.draw())?;
            out.write_all(b",")?;
            out.write_all(times.text(video as u64 * DAY / count as u64 + authors.below(DISORDER)))?;
            out.write_all(b"\n")?;
        }
        out.flush()?;
    }
    Ok(())
}

fn generate_interactions(directory: &Path, lines: usize, videos: u64) -> std::io::Result<()> {
    let directory = interactions(directory);
    std::fs::create_dir(&directory)?;
    let (mut random, times) = (Random(42), Times::new(DAY + DISORDER));
    for number in 0..FILES {
        let mut out = BufWriter::with_capacity(1 << 20, File::create(file(&directory, number))?);
        for line in lines * number / FILES..lines * (number + 1) / FILES {
            let second = line as u64 * DAY / lines as u64;
            let video = video(&mut random, second, videos);
            write!(out, "{},{},", id(video), random.below(1_000_000))?;
            out.write_all(random.event())?;
            out.write_all(b",")?;
            out.write_all(times.text(second + random.below(DISORDER)))?;
            out.write_all(b"\n")?;
        }
        out.flush()?;
    }
    Ok(())
}

/// A video from the two hours before `second`, or shortly after it.
fn video(random: &mut Random, second: u64, videos: u64) -> u64 {
    let posted = second + EARLY - random.below((2 * LATEST.unsigned_abs()).min(second + EARLY));
    let video = (posted * videos / DAY).min(videos - 1);
    let of_these_one_is_popular = (videos / 5000).max(1);
    video - if random.below(2) == 0 { video % of_these_one_is_popular } else { 0 }
}

#[derive(Clone, Copy)]
struct Interaction {
    video: i64,
    user: i64,
    time: i64,
    event: u8,
}

struct Posting<'a> {
    video: i64,
    author: &'a [u8],
    time: i64,
}

/// Half of the videos: a thread parses both, and joins one.
fn part(video: i64) -> usize {
    usize::from(video >> 20 & 1 == 1)
}

/// What one thread has read of an epoch, by the parts of the videos.
#[derive(Default)]
struct Parsed<'a> {
    interactions: [Vec<Interaction>; 2],
    postings: [Vec<Posting<'a>>; 2],
    /// The highest times.
    interaction: i64,
    posting: i64,
}

impl<'a> Parsed<'a> {
    fn new(interactions: &[u8], postings: &'a [u8]) -> Self {
        let mut parsed = Self::default();
        let mut fields = Fields::new(interactions);
        while !fields.is_empty() {
            let (video, user, event, time) = (fields.number(), fields.number(), fields.event(), fields.time());
            parsed.interaction = parsed.interaction.max(time);
            parsed.interactions[part(video)].push(Interaction { video, user, time, event });
        }
        let mut fields = Fields::new(postings);
        while !fields.is_empty() {
            let (video, author, time) = (fields.number(), fields.word(), fields.time());
            parsed.posting = parsed.posting.max(time);
            parsed.postings[part(video)].push(Posting { video, author, time });
        }
        parsed
    }
}

/// What the loop gives out for one part of the videos: columns.
#[derive(Default)]
struct Rows {
    authors: Vec<u8>,
    ends: Vec<usize>,
    users: Vec<i64>,
    events: Vec<u8>,
}

impl Rows {
    fn push(&mut self, author: &[u8], interaction: &Interaction) {
        self.authors.extend_from_slice(author);
        self.ends.push(self.authors.len());
        self.users.push(interaction.user);
        self.events.push(interaction.event);
    }
}

/// The join of one part of the videos.
#[derive(Default)]
struct Join {
    postings: HashMap<i64, (i64, Box<[u8]>)>,
    /// Interactions whose video is not posted yet, or too long ago.
    waiting: Vec<Interaction>,
    rows: Rows,
}

impl Join {
    fn epoch(&mut self, parsed: &[Parsed<'_>; 2], part: usize, watermark: i64) {
        for posting in parsed.iter().flat_map(|parsed| &parsed.postings[part]) {
            self.postings.insert(posting.video, (posting.time, posting.author.into()));
        }
        let (postings, rows) = (&self.postings, &mut self.rows);
        let mut meet = |interaction: &Interaction| {
            let Some((posted, author)) = postings.get(&interaction.video) else { return false };
            if interaction.time >= *posted && interaction.time <= posted + LATEST {
                rows.push(author, interaction);
            }
            true
        };
        self.waiting.retain(|interaction| !meet(interaction));
        for interaction in parsed.iter().flat_map(|parsed| &parsed.interactions[part]) {
            if !meet(interaction) {
                self.waiting.push(*interaction);
            }
        }
        self.waiting.retain(|interaction| interaction.time >= watermark);
        self.postings.retain(|_, (posted, _)| *posted + LATEST >= watermark);
    }
}

/// What one would write for this job alone.
fn loop_on_two_threads(directory: &Path) -> [Rows; 2] {
    let (mut left, mut right) = (Join::default(), Join::default());
    let (mut watermark, mut interaction, mut posting) = (0, 0, 0);
    for number in 0..FILES {
        let read = |directory: PathBuf| std::fs::read(file(&directory, number)).expect("the input can be read");
        let (interactions, postings) = (read(interactions(directory)), read(postings(directory)));
        let ([first, second], [first_postings, second_postings]) = (halves(&interactions), halves(&postings));
        let parsed = on_two_threads(|| Parsed::new(first, first_postings), || Parsed::new(second, second_postings));
        on_two_threads(|| left.epoch(&parsed, 0, watermark), || right.epoch(&parsed, 1, watermark));
        for parsed in &parsed {
            (interaction, posting) = (interaction.max(parsed.interaction), posting.max(parsed.posting));
        }
        watermark = watermark.max(interaction.min(posting) - DELAY);
    }
    [left.rows, right.rows]
}

fn checksum_of_loop(parts: &[Rows; 2]) -> Checksum {
    let mut checksum = Checksum::default();
    for rows in parts {
        let mut begin = 0;
        for (row, end) in rows.ends.iter().enumerate() {
            let event = EVENTS[usize::from(rows.events[row])].as_bytes();
            checksum.add(&[rows.users[row]], &[&rows.authors[begin..*end], event]);
            begin = *end;
        }
    }
    checksum
}

fn millstream(directory: &Path, interval: Duration) -> Result<Collected> {
    let session = Session::builder().build()?;
    let stream = |schema: &str, directory: PathBuf| {
        let reader = session.read_stream().format("csv").schema(schema).option("maxFilesPerTrigger", 1);
        reader.load_path(directory.to_string_lossy())
    };
    let interactions =
        stream("videoId BIGINT, user BIGINT, event STRING, eventTime TIMESTAMP", interactions(directory))
            .with_watermark("eventTime", "10 minutes");
    let postings = stream("id BIGINT, author STRING, postTime TIMESTAMP", postings(directory))
        .with_watermark("postTime", "10 minutes");
    let within_an_hour = "videoId = id AND eventTime >= postTime AND eventTime <= postTime + interval 1 hour";
    let joined = interactions.join(&postings, within_an_hour, JoinType::Inner).select(["author", "user", "event"]);
    let rows = rows_of(&session, &joined, OutputMode::Append, interval)?;
    session.stop()?;
    Ok(rows)
}

fn checksum_of(batches: &[RecordBatch]) -> Checksum {
    let mut checksum = Checksum::default();
    for batch in batches {
        let (authors, events) = (batch.column(0).as_string::<i32>(), batch.column(2).as_string::<i32>());
        let users = batch.column(1).as_primitive::<Int64Type>();
        for row in 0..batch.num_rows() {
            checksum.add(&[users.value(row)], &[authors.value(row).as_bytes(), events.value(row).as_bytes()]);
        }
    }
    checksum
}
