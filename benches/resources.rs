//! What queries cost while nothing happens, and what a slow sink costs while much happens.
//!
//! Run:    cargo bench --bench resources [-- --small]
//! Prints: the CPU share of one hundred idle queries; resident memory each few seconds while a fast socket feeds a sink that takes its time;
//!         the same, and the groups held, while event time moves on and every minute of it has other keys;
//!         resident memory while a join gives out millions of pairs of one key, and a hundred pairs for each row;
//!         how long a query takes to start; how long one line takes from `add` to commit
//!
//! Linux only: CPU time and memory come from /proc.

#![expect(clippy::disallowed_methods, reason = "a bench measures time")]
#![expect(clippy::cast_precision_loss, reason = "rates are estimates")]

mod support;

use std::io::Write;
use std::net::TcpListener;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use millstream::arrow::array::{ArrayRef, Int64Array, StringArray};
use millstream::prelude::*;
use support::{cpu_seconds, resident_mb};

fn main() {
    let is_small = std::env::args().any(|argument| argument == "--small");
    let seconds = if is_small { 1 } else { 10 };
    start_and_latency();
    idle_queries(seconds);
    slow_sink(seconds * 6);
    moving_time(seconds * 6);
    hot_keys(if is_small { 400 } else { 20_000 });
}

fn counts(lines: &DataFrame) -> DataFrame {
    lines.select([explode(split(col("value"), " ")).alias("word")]).group_by("word").count()
}

fn start_and_latency() {
    let session = Session::builder().build().expect("a session");
    let lines = MemoryStream::new(&session, "value STRING");
    let mut starts = Vec::new();
    for _ in 0..10 {
        let begin = Instant::now();
        let writer = counts(&lines.to_df()).write_stream().format("noop").output_mode(OutputMode::Complete);
        let query = writer.start().expect("the query starts");
        starts.push(begin.elapsed());
        query.stop().expect("the query stops");
    }
    println!("start of a word count: first {:?}, then median {:?}", starts[0], median(starts[1..].to_vec()));

    let writer = counts(&lines.to_df()).write_stream().format("noop").output_mode(OutputMode::Update);
    let query = writer.start().expect("the query starts");
    let mut times = Vec::new();
    for _ in 0..500 {
        let line: ArrayRef = Arc::new(StringArray::from(vec!["to be or not to be"]));
        let begin = Instant::now();
        lines.add_rows([line]).expect("a line fits");
        query.process_all_available().expect("the query runs");
        times.push(begin.elapsed());
    }
    query.stop().expect("the query stops");
    times.sort();
    println!(
        "one line from add to commit: median {:?}, p99 {:?}",
        times[times.len() / 2],
        times[times.len() * 99 / 100]
    );
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn idle_queries(seconds: u64) {
    let session = Session::builder().build().expect("a session");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().to_string_lossy().into_owned();
    let memory = MemoryStream::new(&session, "value STRING");
    for number in 0..100 {
        let lines = if number % 2 == 0 { memory.to_df() } else { session.read_stream().text(path.clone()) };
        let writer = counts(&lines).write_stream().format("noop").output_mode(OutputMode::Complete);
        writer.start().expect("the query starts");
    }
    sleep(Duration::from_secs(2));
    let before = cpu_seconds();
    sleep(Duration::from_secs(seconds));
    let share = (cpu_seconds() - before) / seconds as f64;
    println!("100 idle queries, half of them on a directory: {:.2} % of one core over {seconds} s", share * 100.0);
    session.stop().expect("the queries stop");
}

fn slow_sink(seconds: u64) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("the port just bound").port();
    std::thread::spawn(move || {
        let (mut peer, _) = listener.accept().expect("a connection");
        let line = "a line of some fifty bytes that goes on and on ...\n".repeat(1000);
        while peer.write_all(line.as_bytes()).is_ok() {}
    });
    let session = Session::builder().build().expect("a session");
    let lines = session.read_stream().format("socket").option("host", "127.0.0.1").option("port", port).load();
    let query = lines.write_stream().foreach_batch(|_, _| {
        sleep(Duration::from_millis(200));
        Ok::<(), Error>(())
    });
    let query = query.start().expect("the query starts");
    print!("a fast socket before a slow sink, resident MB:");
    for _ in 0..6 {
        sleep(Duration::from_secs(seconds) / 6);
        print!(" {:.0}", resident_mb());
        let _ = std::io::stdout().flush();
    }
    let rows: u64 = query.recent_progress().iter().map(|progress| progress.num_input_rows).sum();
    println!("; {rows} rows in the last {} epochs", query.recent_progress().len());
    query.stop().expect("the query stops");
}

/// Every epoch is a minute of event time with 50,000 keys of its own; a window of a minute waits two more.
fn moving_time(seconds: u64) {
    let session = Session::builder().build().expect("a session");
    let rows = session.read_stream().format("rate-micro-batch").option("rowsPerBatch", 50_000);
    let rows = rows.option("advanceMillisPerBatch", 60_000).load();
    let marked = rows.with_watermark("timestamp", "2 minutes");
    let counts = marked.group_by((window("timestamp", "1 minute"), "value")).count();
    let query = counts.write_stream().format("noop").output_mode(OutputMode::Update).start().expect("the query starts");
    print!("moving event time, thousands of groups held and resident MB:");
    for _ in 0..6 {
        sleep(Duration::from_secs(seconds) / 6);
        let held = query.last_progress().map_or(0, |progress| progress.state_operators[0].num_rows_total);
        print!(" {}/{:.0}", held / 1000, resident_mb());
        let _ = std::io::stdout().flush();
    }
    let epochs = query.last_progress().map_or(0, |progress| progress.batch_id + 1);
    println!("; {epochs} epochs, {} million keys in all", epochs * 50_000 / 1_000_000);
    query.stop().expect("the query stops");
}

/// Joins two streams of `rows` rows each: half of them with one key, then each key a hundred times.
fn hot_keys(rows: i64) {
    for (name, key) in [
        (
            "half of all rows with one key",
            Box::new(|row: i64| if row % 2 == 0 { 0 } else { row }) as Box<dyn Fn(i64) -> i64>,
        ),
        ("one hundred partners a row", Box::new(move |row: i64| row % (rows / 100))),
    ] {
        let session = Session::builder().build().expect("a session");
        let streams = ["k BIGINT, l BIGINT", "k BIGINT, r BIGINT"].map(|columns| MemoryStream::new(&session, columns));
        for stream in &streams {
            let keys: ArrayRef = Arc::new((0..rows).map(&key).collect::<Int64Array>());
            stream.add_rows([keys.clone(), keys]).expect("rows");
        }
        let joined = streams[0].to_df().join_using(&streams[1].to_df(), "k", JoinType::Inner);
        let before = resident_mb();
        let begin = Instant::now();
        let query = joined.write_stream().format("noop").trigger(Trigger::available_now()).start().expect("a query");
        let mut highest = before;
        while query.is_active() {
            highest = highest.max(resident_mb());
            sleep(Duration::from_millis(10));
        }
        let pairs: u64 = query.recent_progress().iter().map(|progress| progress.sink.num_output_rows).sum();
        let seconds = begin.elapsed().as_secs_f64();
        println!(
            "join, {name}: {rows} rows a side, {pairs} pairs in {seconds:.1} s; memory {before:.0} MB before, {highest:.0} MB at most"
        );
    }
}
