//! How long a word takes from a socket to the sink of a running word count.
//!
//! Run:    cargo bench --bench latency [-- --rate 50000] [-- --seconds 20] [-- --small]
//! Prints: for 1000 and for 50,000 lines a second, or for the rate given: latency from the call that writes a line
//!         until the sink is handed the new count of its marker; lines sent, rows seen, CPU share of the process; then
//!         its CPU share while the socket is open and silent; fails when a marker never comes or counts do not add up
//!
//! Input: every millisecond the lines due are written at once, eight words each by Zipf's law from 100,000, fixed seed,
//! made ahead. About a thousand lines a second end with a marker, `#` and a number, instead of a word. The query counts
//! words in update mode, with `Trigger::continuous` and a checkpoint on this machine's disk each second. The first
//! tenth of the time is warm-up. The sender is part of the process and of its CPU share; how late it was at most is
//! shown, and is not part of the latency. Linux only: CPU time comes from /proc, in steps of 10 ms.

#![expect(clippy::disallowed_methods, reason = "a bench measures time")]
#![expect(clippy::cast_precision_loss, reason = "rates are estimates")]

mod support;

use std::io::Write;
use std::mem::take;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant};

use hashbrown::HashMap;
use millstream::prelude::*;
use support::{Words, cpu_seconds};
use xxhash_rust::xxh3::xxh3_64;

const WORDS_A_LINE: u64 = 8;
/// So many lines come again and again.
const LINES: usize = 1 << 16;
/// Markers are numbered up to this, then from 0 again: after 16 seconds, when the earlier one has long come.
const MARKERS: u64 = 16_384;
/// Lines are sent this often, in nanoseconds.
const TICK: u64 = 1_000_000;
const SECOND: u64 = 1_000_000_000;
/// What has not come this long after the last line will not come.
const PATIENCE: Duration = Duration::from_mins(1);

fn main() {
    let is_small = std::env::args().any(|argument| argument == "--small");
    let seconds = support::number("--seconds").unwrap_or(if is_small { 1 } else { 20 }) as u64;
    let rates = support::number("--rate").map_or_else(|| vec![1_000, 50_000], |rate| vec![rate as u64]);
    let idle = Duration::from_millis(if is_small { 500 } else { 5_000 });
    let mut words = Words::new(42);
    let lines: Vec<Line> = (0..LINES).map(|_| line(&mut words)).collect();
    for rate in rates {
        run(&lines, rate, seconds, idle);
    }
}

/// Seven words, each with the space behind it; the eighth with the end of the line.
type Line = (Vec<u8>, Vec<u8>);

fn line(words: &mut Words) -> Line {
    let mut begin = Vec::new();
    for _ in 1..WORDS_A_LINE {
        begin.extend_from_slice(words.draw());
        begin.push(b' ');
    }
    (begin, [words.draw(), b"\n"].concat())
}

/// What sender and sink have in common.
struct Shared {
    begin: Instant,
    /// When the marker of this number was sent last, in nanoseconds since `begin`.
    sent: Vec<AtomicU64>,
    found: Mutex<Found>,
}

/// What the sink was handed.
#[derive(Default)]
struct Found {
    /// The last count of each word, by the word's hash.
    counts: HashMap<u64, u64>,
    /// When each marker was sent, and how long it took, in nanoseconds.
    markers: Vec<(u64, u64)>,
    rows: u64,
}

impl Shared {
    /// Nanoseconds since the beginning.
    fn now(&self) -> u64 {
        u64::try_from(self.begin.elapsed().as_nanos()).expect("a run is short")
    }

    fn words(&self) -> u64 {
        self.found.lock().expect("nobody panics").counts.values().sum()
    }
}

/// Takes the rows of one epoch; what it saw is put where all can see it at the end, so that no row waits for a lock.
#[derive(Clone)]
struct Probe {
    shared: Arc<Shared>,
    counts: Vec<(u64, u64)>,
    markers: Vec<(u64, u64)>,
}

impl ForeachWriter for Probe {
    fn open(&mut self, _: usize, _: u64) -> bool {
        true
    }

    fn process(&mut self, row: &Row<'_>) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let word = row.get_str(0)?.unwrap_or_default();
        if let Some(marker) = word.strip_prefix('#') {
            let sent = self.shared.sent[marker.parse::<usize>()?].load(Ordering::Relaxed);
            self.markers.push((sent, self.shared.now().saturating_sub(sent)));
        }
        let count = row.get_i64(1)?.unwrap_or_default().cast_unsigned();
        self.counts.push((xxh3_64(word.as_bytes()), count));
        Ok(())
    }

    fn close(&mut self, _: Option<&Error>) {
        let mut found = self.shared.found.lock().expect("nobody panics");
        found.rows += self.counts.len() as u64;
        found.counts.extend(take(&mut self.counts));
        found.markers.append(&mut self.markers);
    }
}

fn run(lines: &[Line], rate: u64, seconds: u64, idle: Duration) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("the port just bound").port();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let sent = (0..MARKERS).map(|_| AtomicU64::new(0)).collect();
    let shared = Arc::new(Shared { begin: Instant::now(), sent, found: Mutex::default() });
    let query = start(port, directory.path(), &shared);
    let (mut peer, _) = listener.accept().expect("the query connects");
    peer.set_nodelay(true).expect("a connection whose lines go out at once");
    let (begin, cpu) = (Instant::now(), cpu_seconds());
    let sent = send(&mut peer, lines, rate, seconds, &shared);
    let (used, took) = (cpu_seconds() - cpu, begin.elapsed().as_secs_f64());
    wait_for(sent.lines * WORDS_A_LINE, &shared, &query);
    println!("{rate} lines/s for {seconds} s");
    report(&sent, &shared);
    let (share, late) = (used / took * 100.0, sent.late as f64 / 1e6);
    println!("CPU: {share:.1} % of one core; the sender was {late:.1} ms late at most");
    let commits = support::checkpoint_size(directory.path()).commits;
    println!("{commits} durable commits");
    assert!(commits as u64 >= seconds.min(2), "commits come at their interval while lines come without end");
    let cpu = cpu_seconds();
    sleep(idle);
    println!("idle: {:.2} % CPU", (cpu_seconds() - cpu) / idle.as_secs_f64() * 100.0);
    query.stop().expect("the query stops");
}

fn start(port: u16, checkpoint: &Path, shared: &Arc<Shared>) -> StreamingQuery {
    let session = Session::builder().build().expect("a session");
    let lines = session.read_stream().format("socket").option("host", "127.0.0.1").option("port", port).load();
    let words = lines.select([explode(split(col("value"), " ")).alias("word")]);
    let probe = Probe { shared: Arc::clone(shared), counts: Vec::new(), markers: Vec::new() };
    let writer = words.group_by("word").count().write_stream().output_mode(OutputMode::Update).foreach(probe);
    let writer = writer.option("checkpointLocation", checkpoint.display()).trigger(Trigger::continuous("1 second"));
    writer.start().expect("the query starts")
}

/// What was sent.
#[derive(Default)]
struct Sent {
    lines: u64,
    /// When the warm-up was over, in nanoseconds since the beginning.
    measured_from: u64,
    /// Markers sent after that.
    markers: u64,
    /// How long after its time lines were sent at most, in nanoseconds.
    late: u64,
}

fn send(peer: &mut TcpStream, lines: &[Line], rate: u64, seconds: u64, shared: &Shared) -> Sent {
    let (every, total, begin) = ((rate / 1000).max(1), rate * seconds, shared.now());
    let mut sent = Sent { measured_from: begin + seconds * SECOND / 10, ..Sent::default() };
    let mut text = Vec::new();
    while sent.lines < total {
        let before = shared.now() - begin;
        let tick = (before / TICK + 1) * TICK;
        sleep(Duration::from_nanos(tick - before));
        let due = ((shared.now() - begin) / 1000 * rate / 1_000_000).min(total);
        text.clear();
        for line in sent.lines..due {
            let (words, last) = &lines[index(line) % lines.len()];
            text.extend_from_slice(words);
            if line.is_multiple_of(every) {
                writeln!(text, "#{}", line / every % MARKERS).expect("memory takes what is written");
            } else {
                text.extend_from_slice(last);
            }
        }
        let now = shared.now();
        sent.late = sent.late.max((now - begin).saturating_sub(tick));
        for marker in sent.lines.div_ceil(every)..due.div_ceil(every) {
            shared.sent[index(marker % MARKERS)].store(now, Ordering::Relaxed);
            sent.markers += u64::from(now >= sent.measured_from);
        }
        peer.write_all(&text).expect("the query reads");
        sent.lines = due;
    }
    sent
}

fn index(number: u64) -> usize {
    usize::try_from(number).expect("few lines and markers")
}

/// Waits until so many words are counted.
fn wait_for(words: u64, shared: &Shared, query: &StreamingQuery) {
    let begin = Instant::now();
    while shared.words() < words && begin.elapsed() < PATIENCE {
        sleep(Duration::from_millis(10));
        query.process_all_available().expect("the query runs");
    }
    assert_eq!(shared.words(), words, "words counted, and words sent");
}

fn report(sent: &Sent, shared: &Shared) {
    let found = shared.found.lock().expect("nobody panics");
    let measured = found.markers.iter().filter(|(at, _)| *at >= sent.measured_from);
    let mut nanos: Vec<u64> = measured.map(|(_, took)| *took).collect();
    assert_eq!(nanos.len() as u64, sent.markers, "markers that came, and markers sent");
    nanos.sort_unstable();
    for (name, thousandths) in [("p50", 500), ("p90", 900), ("p99", 990), ("p99.9", 999), ("max", 1000)] {
        let place = (nanos.len() * thousandths / 1000).min(nanos.len() - 1);
        print!("{name} {:.2} ms  ", nanos[place] as f64 / 1e6);
    }
    println!("of {} markers; {} lines sent, {} rows seen", sent.markers, sent.lines, found.rows);
}
