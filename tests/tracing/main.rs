//! The actors' trace tells the story of an epoch in the promised grammar. A binary of its own, because a process has one logger.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::{Arc, Mutex};

use log::{LevelFilter, Log, Metadata, Record};
use millstream::arrow::array::{ArrayRef, StringArray, TimestampMicrosecondArray};
use millstream::clock::SystemClock;
use millstream::connector::BatchTable;
use millstream::connector::options::Options;
use millstream::connector::sink::Noop;
use millstream::connector::source::files::{FileFormat, FilesTable};
use millstream::operator::{JoinSide, JoinSpec, StaticJoin};
use millstream::prelude::*;
use millstream::types::Zone;

static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Keeping;

impl Log for Keeping {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "millstream::actor"
    }
    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            LINES.lock().unwrap().push(record.args().to_string());
        }
    }
    fn flush(&self) {}
}

/// The value of a key, without its quotes.
fn value<'a>(line: &'a str, key: &str) -> &'a str {
    let rest = line.split(&format!("{key}=")).nth(1).unwrap_or_else(|| panic!("no {key} in {line}"));
    rest.split(' ').next().unwrap()
}

#[test]
fn the_trace_tells_one_epoch_from_plan_to_commit_and_never_shows_rows() {
    log::set_logger(&Keeping).unwrap();
    log::set_max_level(LevelFilter::Trace);
    let session = Session::builder().parallelism(2).build().unwrap();
    let lines = MemoryStream::new(&session, "value STRING");
    let counts = lines.to_df().select([explode(split("value", " ")).alias("word")]).group_by("word").count();
    let writer = counts.write_stream().format("noop").query_name("story").output_mode(OutputMode::Complete);
    let query = writer.start().unwrap();
    lines.add_rows([Arc::new(StringArray::from(vec!["secret words"])) as ArrayRef]).unwrap();
    query.process_all_available().unwrap();
    query.stop().unwrap();

    let lines = LINES.lock().unwrap();
    for line in lines.iter() {
        assert_eq!(value(line, "query"), "story");
        assert!(value(line, "epoch") == "-" || value(line, "epoch").parse::<u64>().is_ok(), "{line}");
        assert!(value(line, "actor").starts_with("story/"), "{line}");
        assert!(!value(line, "event").is_empty(), "{line}");
        assert!(!line.contains("secret"), "{line}");
    }
    // Of an operator's two instances only one has rows; the story follows the last to tell.
    let place = |actor: &str, event: &str| {
        let is_it = |line: &String| value(line, "actor").starts_with(actor) && value(line, "event") == event;
        lines.iter().rposition(is_it).unwrap_or_else(|| panic!("{actor} never told {event}"))
    };
    let story = [
        place("story/coordinator", "query_started"),
        place("story/coordinator", "epoch_planned"),
        place("story/source", "batch_sent"),
        place("story/explode", "credit_granted"),
        place("story/explode", "barrier_sent"),
        place("story/exchange(aggregate)", "barrier_sent"),
        place("story/aggregate", "epoch_acked"),
        place("story/sink", "epoch_acked"),
        place("story/coordinator", "epoch_committed"),
        place("story/coordinator", "query_stopped"),
    ];
    assert!(story.is_sorted(), "{story:?}\n{}", lines.join("\n"));
    drop(lines);
    event_time_is_told_too(&session);
    static_tables_are_told_when_they_are_read(&session);
}

/// The watermark, who holds it, and rows that came too late.
fn event_time_is_told_too(session: &Session) {
    let events = MemoryStream::new(session, "time TIMESTAMP, word STRING");
    let marked = events.to_df().with_watermark("time", "1 second").drop_duplicates(["time", "word"]);
    let query = marked.write_stream().format("noop").query_name("timed").start().unwrap();
    for seconds in [100, 50] {
        let time = Arc::new(TimestampMicrosecondArray::from(vec![seconds * 1_000_000]).with_timezone("UTC"));
        events.add_rows([time as ArrayRef, Arc::new(StringArray::from(vec!["secret"]))]).unwrap();
        query.process_all_available().unwrap();
    }
    query.stop().unwrap();
    let lines = LINES.lock().unwrap();
    let told = |event: &str, fact: &str| {
        let is_it = |line: &&String| value(line, "event") == event && line.contains(fact);
        lines.iter().find(is_it).unwrap_or_else(|| panic!("nobody told {event} {fact}"))
    };
    told("watermark_held", "watermark_ms=99000 held_by=watermark");
    told("watermark_sent", "watermark_ms=99000 late_ms=99000");
    assert!(!told("late_rows", "1 rows came after the watermark 1970-01-01T00:01:39.000Z").contains("secret"));
}

/// A static table is told with its size when the query starts, and again with the epoch before which it was read again.
fn static_tables_are_told_when_they_are_read(session: &Session) {
    let (stream, table) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let write =
        |directory: &tempfile::TempDir, file: &str| std::fs::write(directory.path().join(file), "secret\n").unwrap();
    write(&table, "a.txt");
    let lines = TextFiles::new(&stream.path().to_string_lossy());
    let paths = [table.path().to_string_lossy().into_owned()];
    let (options, clock) = (Options::new(), Arc::new(SystemClock));
    let table_lines = FilesTable::new(FileFormat::Text, &options, None, &paths, Zone::default(), clock).unwrap();
    let columns = table_lines.schema();
    let spec = JoinSpec::new(JoinType::Inner, Vec::new(), &columns, &columns);
    let mut topology = Topology::builder("static");
    let source = topology.source("lines", lines);
    let join = StaticJoin::new(spec, JoinSide::Right, columns);
    let joined = topology.operator("join", join).reading(Arc::new(table_lines)).after(source);
    topology.sink("sink", Noop).after(joined);
    let query = session.run(topology.build().unwrap(), Trigger::default()).unwrap();
    for file in ["0", "1"] {
        write(&stream, file);
        query.process_all_available().unwrap();
    }
    write(&table, "b.txt");
    write(&stream, "2");
    query.process_all_available().unwrap();
    query.stop().unwrap();
    let lines = LINES.lock().unwrap();
    let told: Vec<&String> = lines.iter().filter(|line| value(line, "event") == "static_table_loaded").collect();
    let [first, second] = told.as_slice() else { panic!("{told:?}") };
    for (line, epoch, rows) in [(first, "-", "1"), (second, "2", "2")] {
        assert_eq!((value(line, "epoch"), value(line, "actor")), (epoch, "static/coordinator[0]"), "{line}");
        assert_eq!((value(line, "rows"), value(line, "node")), (rows, "join"), "{line}");
        assert!(line.contains("FileScan text[") && line.contains(" bytes=") && line.contains(" ms="), "{line}");
        assert!(!line.contains("secret"), "{line}");
    }
}
