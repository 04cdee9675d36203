//! Queries that go on where an earlier run stopped.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use millstream::arrow::array::{AsArray, Int64Array, StringViewArray};
use millstream::arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use millstream::arrow::record_batch::RecordBatch;
use millstream::connector::options::Options;
use millstream::connector::sink::memory::MemoryTables;
use millstream::connector::sink::{SinkEnvironment, open_sink};
use millstream::operator::{Barrier, Batch, Flow, Operator, Output, StateDelta, StatePart};
use millstream::prelude::*;
use millstream::protocol::key_group::hash_rows;
use millstream::testing::ManualClock;
use millstream::types::Zone;
use tempfile::TempDir;

use crate::support::{
    assert_says, lines, message, rows, session, sorted, strings, text_stream, timed, timed_stream, words,
};

fn place(directory: &TempDir) -> String {
    directory.path().join("checkpoint").to_string_lossy().into_owned()
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = match fs::read_dir(directory) {
        Ok(entries) => entries.map(|entry| entry.unwrap().path()).collect(),
        Err(_) => Vec::new(),
    };
    files.retain(|file| !file.file_name().unwrap().to_string_lossy().starts_with('.'));
    files.sort();
    files
}

fn timed_batch(rows: &[(i64, &str)]) -> RecordBatch {
    let [times, words] = timed(rows);
    RecordBatch::try_from_iter([("time", times), ("word", words)]).unwrap()
}

/// Each epoch with its rows.
type Epochs = Arc<Mutex<Vec<(u64, Vec<String>)>>>;

fn recorded(frame: &DataFrame, mode: OutputMode, at: &str, epochs: &Epochs) -> DataStreamWriter {
    let epochs = Arc::clone(epochs);
    let note = move |rows: DataFrame, epoch: u64| -> Result<()> {
        let mut rows = lines(&rows.collect()?);
        rows.sort();
        epochs.lock().unwrap().push((epoch, rows));
        Ok(())
    };
    frame.write_stream().output_mode(mode).option("checkpointLocation", at).foreach_batch(note)
}

#[test]
fn counts_go_on_after_a_stop_at_any_parallelism() {
    let directory = TempDir::new().unwrap();
    let first = session(2);
    let stream = text_stream(&first);
    let epochs = Epochs::default();
    let mut ids = Vec::new();
    for (parallelism, line, expected) in [
        (2, "a b a", ["a|2", "b|1"]),
        (3, "a c", ["a|3", "c|1"]),
        (1, "c b", ["b|2", "c|2"]),
        (2, "b a", ["a|4", "b|3"]),
    ] {
        first.set_config("millstream.parallelism", parallelism).unwrap();
        let counts = words(&stream.to_df()).group_by(["word"]).count();
        let query = recorded(&counts, OutputMode::Update, &place(&directory), &epochs).start().unwrap();
        stream.add_rows([strings(&[line])]).unwrap();
        query.process_all_available().unwrap();
        query.stop().unwrap();
        assert_eq!(epochs.lock().unwrap().last().unwrap().1, expected);
        ids.push(query.id());
    }
    assert!(ids.windows(2).all(|pair| pair[0] == pair[1]), "the query keeps its id");
    assert_eq!(epochs.lock().unwrap().iter().map(|epoch| epoch.0).collect::<Vec<_>>(), [0, 1, 2, 3]);
}

#[test]
fn windows_and_their_watermark_go_on_after_a_stop() {
    let batches: [&[(i64, &str)]; 5] = [
        &[(1, "a"), (12, "b")],
        &[(14, "a"), (25, "c")],
        &[(2, "late"), (16, "a"), (31, "d")],
        &[(45, "e")],
        &[(33, "late"), (60, "f")],
    ];
    let run = |restarts: bool| {
        let directory = TempDir::new().unwrap();
        let session = session(2);
        let stream = timed_stream(&session);
        let windows =
            stream.to_df().with_watermark("time", "5 seconds").group_by((window("time", "10 seconds"), "word"));
        let counts = windows.count().select(["window.end", "word", "count"]);
        let epochs = Epochs::default();
        let start = || recorded(&counts, OutputMode::Append, &place(&directory), &epochs).start().unwrap();
        let mut query = start();
        let mut late = 0;
        let dropped = |query: &StreamingQuery| {
            let progress = query.recent_progress();
            let of = |progress: &StreamingQueryProgress| -> u64 {
                progress.state_operators.iter().map(|state| state.num_rows_dropped_by_watermark).sum()
            };
            progress.iter().map(of).sum::<u64>()
        };
        for batch in batches {
            stream.add_rows(timed(batch)).unwrap();
            query.process_all_available().unwrap();
            if restarts {
                late += dropped(&query);
                query.stop().unwrap();
                query = start();
            }
        }
        late += dropped(&query);
        query.stop().unwrap();
        let epochs = epochs.lock().unwrap().clone();
        (epochs, late)
    };
    let (restarted, uninterrupted) = (run(true), run(false));
    assert_eq!(restarted, uninterrupted);
    assert_eq!(uninterrupted.1, 3, "rows were late in both");
}

#[test]
fn an_epoch_that_failed_runs_again_with_its_number_and_rows() {
    let directory = TempDir::new().unwrap();
    let session = session(2);
    let stream = text_stream(&session);
    let fails = Arc::new(AtomicBool::new(false));
    let seen = Epochs::default();
    let start = || {
        let (fails, seen) = (Arc::clone(&fails), Arc::clone(&seen));
        let note = move |rows: DataFrame, epoch: u64| -> Result<()> {
            seen.lock().unwrap().push((epoch, sorted(&rows)));
            if fails.load(Ordering::Relaxed) { Err(Error::user("the database is down")) } else { Ok(()) }
        };
        let counts = words(&stream.to_df()).group_by(["word"]).count();
        let writer = counts.write_stream().output_mode(OutputMode::Update).foreach_batch(note);
        writer.option("checkpointLocation", place(&directory)).start().unwrap()
    };
    let query = start();
    stream.add_rows([strings(&["a b"])]).unwrap();
    query.process_all_available().unwrap();
    fails.store(true, Ordering::Relaxed);
    stream.add_rows([strings(&["a c"])]).unwrap();
    assert_says(&message(query.process_all_available()), &["the database is down"]);
    fails.store(false, Ordering::Relaxed);
    stream.add_rows([strings(&["c"])]).unwrap();
    let query = start();
    query.process_all_available().unwrap();
    query.stop().unwrap();
    let epoch = |number: u64, rows: &[&str]| (number, rows.iter().map(ToString::to_string).collect::<Vec<_>>());
    let again = epoch(1, &["a|2", "c|1"]);
    assert_eq!(*seen.lock().unwrap(), [epoch(0, &["a|1", "b|1"]), again.clone(), again, epoch(2, &["c|2"])]);
}

#[test]
fn files_are_read_once_and_written_once_over_restarts() {
    let directory = TempDir::new().unwrap();
    let (input, output) = (directory.path().join("in"), directory.path().join("out"));
    fs::create_dir(&input).unwrap();
    for round in 0..4 {
        fs::write(input.join(format!("{round}.txt")), format!("a {round}\nb {round}\n")).unwrap();
        let session = session(2);
        let text = session.read_stream().text(input.to_string_lossy().into_owned());
        let writer = text.write_stream().format("text").option("checkpointLocation", place(&directory));
        let query = writer.trigger(Trigger::available_now()).start_path(output.to_string_lossy().into_owned()).unwrap();
        query.await_termination().unwrap();
        let written = session.read().text(output.to_string_lossy().into_owned());
        let expected: Vec<String> =
            ["a", "b"].iter().flat_map(|word| (0..=round).map(move |round| format!("{word} {round}"))).collect();
        assert_eq!(sorted(&written), expected);
    }
}

#[test]
fn joins_and_duplicates_go_on_after_a_stop() {
    let run = |restarts: bool| {
        let directory = TempDir::new().unwrap();
        let session = session(2);
        let (left, right) = (timed_stream(&session), timed_stream(&session));
        let left_rows = left.to_df().with_watermark("time", "10 seconds").drop_duplicates(["time", "word"]);
        let right_rows = right.to_df().with_watermark("time", "10 seconds").select_expr(["time as at", "word as name"]);
        let condition = expr("word = name AND at >= time AND at <= time + interval 5 seconds");
        let joined = left_rows.join(&right_rows, condition, JoinType::Left).select(["word", "time", "at"]);
        let epochs = Epochs::default();
        let start = || recorded(&joined, OutputMode::Append, &place(&directory), &epochs).start().unwrap();
        let mut query = start();
        for (left_rows, right_rows) in [
            (vec![(10, "a"), (10, "a"), (12, "b")], vec![]),
            (vec![(10, "a"), (13, "c")], vec![(11, "a")]),
            (vec![(40, "d")], vec![(14, "b"), (40, "x")]),
            (vec![(70, "e")], vec![(71, "e"), (80, "y")]),
        ] {
            MemoryStream::add_together([(&left, timed_batch(&left_rows)), (&right, timed_batch(&right_rows))]).unwrap();
            query.process_all_available().unwrap();
            if restarts {
                query.stop().unwrap();
                query = start();
            }
        }
        query.stop().unwrap();
        std::mem::take(&mut *epochs.lock().unwrap())
    };
    let (restarted, uninterrupted) = (run(true), run(false));
    assert_eq!(restarted, uninterrupted);
    assert!(uninterrupted.iter().flat_map(|epoch| &epoch.1).any(|row| row.contains("NULL")), "{uninterrupted:?}");
}

#[test]
fn a_changed_query_is_refused_with_the_operator_old_and_new() {
    let directory = TempDir::new().unwrap();
    let session = session(2);
    let stream = text_stream(&session);
    let start = |frame: &DataFrame| recorded(frame, OutputMode::Update, &place(&directory), &Epochs::default()).start();
    let found = words(&stream.to_df());
    start(&found.group_by(["word"]).count()).unwrap().stop().unwrap();
    stream.add_rows([strings(&["a"])]).unwrap();
    let query = start(&found.group_by(["word"]).count()).unwrap();
    query.process_all_available().unwrap();
    query.stop().unwrap();
    let other_key = found.select_expr(["upper(word) as upper"]).group_by(["upper"]).count();
    assert_says(&message(start(&other_key)), &["word STRING", "upper STRING", "use a new checkpointLocation"]);
    let other_function = found.group_by(["word"]).agg([max("word").alias("count")]);
    assert_says(&message(start(&other_function)), &["count", "max", "checkpoints.rs:"]);
    let writer = recorded(&other_function, OutputMode::Update, &place(&directory), &Epochs::default());
    assert_says(&writer.checkpoint_differences().unwrap().join("; "), &["count", "max"]);
    assert_says(&message(start(&found)), &["it had 1 operator with state", "no operators with state"]);
    // What has no state may change.
    let renamed = found.filter("word <> 'b'").group_by(["word"]).count().select_expr(["word", "count as n"]);
    let writer = recorded(&renamed, OutputMode::Update, &place(&directory), &Epochs::default());
    assert!(writer.checkpoint_differences().unwrap().is_empty());
    start(&renamed).unwrap().stop().unwrap();
}

#[test]
fn state_can_be_read_as_a_table() {
    let session = session(2);
    let stream = text_stream(&session);
    let counts = words(&stream.to_df()).group_by(["word"]).count();
    let query = recorded(&counts, OutputMode::Update, "memory://read-state", &Epochs::default()).start().unwrap();
    for line in ["a b", "b c"] {
        stream.add_rows([strings(&[line])]).unwrap();
        query.process_all_available().unwrap();
    }
    query.stop().unwrap();
    let state = session.read().format("statestore").load_path("memory://read-state");
    assert_eq!(sorted(&state.select(["commit", "word", "count"])), ["0|a|1", "0|b|1", "1|b|2", "1|c|1"]);
    let checkpoint = millstream::checkpoint::Checkpoint::open("memory://read-state").unwrap();
    assert!(checkpoint.verify().unwrap().is_empty());
    let json = checkpoint.to_json().unwrap();
    assert_says(&json, &["\"number\": 1", "\"rows\": 4", "aggregate"]);
    let none = session.read().format("statestore").option("operatorId", 1).load_path("memory://read-state");
    assert_says(&message(none.collect()), &["there is no operatorId 1"]);
    let nowhere = session.read().format("statestore").load_path("memory://nowhere");
    assert_says(&message(nowhere.collect()), &["there is no checkpoint in `memory://nowhere`"]);
}

#[test]
fn two_queries_cannot_keep_one_checkpoint() {
    let directory = TempDir::new().unwrap();
    let session = session(1);
    let stream = text_stream(&session);
    let start = |session: &Session| {
        let frame = text_stream(session).to_df();
        frame.write_stream().format("noop").option("checkpointLocation", place(&directory)).start()
    };
    let query = start(&session).unwrap();
    assert_says(&message(start(&session)), &["is active already", "checkpointLocation of its own"]);
    assert_says(&message(start(&crate::support::session(1))), &[&place(&directory)]);
    query.stop().unwrap();
    start(&session).unwrap().stop().unwrap();
    drop(stream);
}

#[test]
fn old_epochs_go_and_files_of_state_stay_few() {
    let directory = TempDir::new().unwrap();
    let session = session(1);
    session.set_config("millstream.minEpochsToRetain", 3).unwrap();
    let stream = text_stream(&session);
    let epochs = Epochs::default();
    let counts = words(&stream.to_df()).group_by(["word"]).count();
    let start = || recorded(&counts, OutputMode::Update, &place(&directory), &epochs).start().unwrap();
    let root = PathBuf::from(place(&directory));
    for run in 0..3 {
        let query = start();
        for epoch in 0..40 {
            stream.add_rows([strings(&[&format!("a w{run}-{epoch}")])]).unwrap();
            query.process_all_available().unwrap();
        }
        query.stop().unwrap();
        assert!(files(&root.join("commits")).len() <= 3, "{:?}", files(&root.join("commits")));
        assert!(files(&root.join("offsets")).len() <= 70);
        assert!(files(&root.join("state/0")).len() <= 60, "{} files", files(&root.join("state/0")).len());
    }
    assert_eq!(epochs.lock().unwrap().last().unwrap().1[0], "a|120");
}

#[test]
fn damage_is_named_and_nothing_is_guessed() {
    let directory = TempDir::new().unwrap();
    let session = session(1);
    let stream = text_stream(&session);
    let counts = words(&stream.to_df()).group_by(["word"]).count();
    let start = || recorded(&counts, OutputMode::Update, &place(&directory), &Epochs::default()).start();
    let query = start().unwrap();
    for line in ["a", "b", "c"] {
        stream.add_rows([strings(&[line])]).unwrap();
        query.process_all_available().unwrap();
    }
    query.stop().unwrap();
    let root = PathBuf::from(place(&directory));
    let state = files(&root.join("state/0"));
    for (file, named) in
        [(root.join("commits/2"), "commits/2"), (root.join("metadata"), "metadata"), (state[0].clone(), "state/0/")]
    {
        let whole = fs::read(&file).unwrap();
        let mut damaged = whole.clone();
        let middle = damaged.len() / 2;
        damaged[middle] ^= 1;
        fs::write(&file, &damaged).unwrap();
        assert_says(&message(start()), &[named, "damaged"]);
        fs::write(&file, &whole[..middle]).unwrap();
        assert_says(&message(start()), &[named, "damaged"]);
        if named.starts_with("state") {
            fs::remove_file(&file).unwrap();
            assert_says(&message(start()), &[named, "missing"]);
        }
        fs::write(&file, &whole).unwrap();
    }
    // Without its newest commit a checkpoint goes on from the one before: the epoch in between runs again.
    fs::remove_file(root.join("commits/2")).unwrap();
    let query = start().unwrap();
    query.process_all_available().unwrap();
    assert_eq!(query.recent_progress()[0].batch_id, 2);
    query.stop().unwrap();
    // Without any it does not begin anew, unasked.
    fs::remove_dir_all(root.join("commits")).unwrap();
    assert_says(&message(start()), &["commits/1", "missing"]);
}

#[test]
fn a_query_without_a_place_leaves_nothing_behind_when_it_ends_well() {
    let session = session(1);
    let stream = text_stream(&session);
    let query = stream.to_df().write_stream().format("noop").start().unwrap();
    let temporary = std::env::temp_dir().join(format!("millstream-{}", query.id()));
    stream.add_rows([strings(&["a"])]).unwrap();
    query.process_all_available().unwrap();
    assert!(temporary.is_dir());
    query.stop().unwrap();
    assert!(!temporary.exists());
    let fail = |_: DataFrame, _: u64| -> Result<()> { Err(Error::user("no")) };
    let query = stream.to_df().write_stream().foreach_batch(fail).start().unwrap();
    let temporary = std::env::temp_dir().join(format!("millstream-{}", query.id()));
    assert!(query.process_all_available().is_err());
    assert!(query.await_termination().is_err());
    assert!(temporary.is_dir(), "what is committed is kept");
    fs::remove_dir_all(temporary).unwrap();
}

#[test]
fn the_sessions_place_holds_a_directory_for_each_query() {
    let directory = TempDir::new().unwrap();
    let session = session(1);
    session.set_config("millstream.checkpointLocation", directory.path().display()).unwrap();
    let stream = text_stream(&session);
    let query = stream.to_df().write_stream().format("noop").query_name("lines").start().unwrap();
    query.stop().unwrap();
    assert!(directory.path().join("lines/metadata").is_file());
}

#[test]
fn continuous_queries_commit_at_intervals_and_lose_nothing() {
    let directory = TempDir::new().unwrap();
    let clock = Arc::new(millstream::testing::ManualClock::starting_at_millis(1_000));
    let session = Session::builder().parallelism(2).clock(clock.clone()).build().unwrap();
    let stream = text_stream(&session);
    let output = directory.path().join("out").to_string_lossy().into_owned();
    let commits = PathBuf::from(place(&directory)).join("commits");
    let start = || {
        let writer = stream.to_df().write_stream().format("text").option("checkpointLocation", place(&directory));
        writer.trigger(Trigger::continuous(Duration::from_secs(1))).start_path(output.clone()).unwrap()
    };
    let query = start();
    let written = || sorted(&session.read().text(output.clone()));
    stream.add_rows([strings(&["a"])]).unwrap();
    query.process_all_available().unwrap();
    assert_eq!(written(), ["a"]);
    let first = files(&commits).len();
    for line in ["b", "c", "d"] {
        stream.add_rows([strings(&[line])]).unwrap();
    }
    query.process_all_available().unwrap();
    assert_eq!(written(), ["a", "b", "c", "d"]);
    stream.add_rows([strings(&["e"])]).unwrap();
    query.stop().unwrap();
    assert!(files(&commits).len() > first);
    let query = start();
    query.process_all_available().unwrap();
    query.stop().unwrap();
    assert_eq!(written(), ["a", "b", "c", "d", "e"]);
}

#[test]
fn a_complete_table_is_not_replaced_by_nothing() {
    let directory = TempDir::new().unwrap();
    let session = session(1);
    let stream = text_stream(&session);
    let counts = words(&stream.to_df()).group_by(["word"]).count();
    let start = || {
        let writer = counts.write_stream().format("memory").query_name("table").output_mode(OutputMode::Complete);
        let writer = writer.option("checkpointLocation", place(&directory));
        writer.trigger(Trigger::continuous(Duration::from_hours(1))).start().unwrap()
    };
    let query = start();
    stream.add_rows([strings(&["a b a"])]).unwrap();
    query.process_all_available().unwrap();
    stream.add_rows([strings(&["b"])]).unwrap();
    query.process_all_available().unwrap();
    query.stop().unwrap();
    assert_eq!(sorted(&session.table("table")), ["a|2", "b|2"]);
    let query = start();
    query.process_all_available().unwrap();
    query.stop().unwrap();
    assert_eq!(rows(&session.table("table")).len(), 2);
}

#[test]
fn explain_says_what_is_promised_and_which_part_sets_the_limit() {
    let directory = TempDir::new().unwrap();
    let session = session(1);
    let stream = text_stream(&session).to_df();
    let explained = |writer: DataStreamWriter| {
        let query = writer.start().unwrap();
        query.stop().unwrap();
        query.explain()
    };
    let out = directory.path().join("out").display().to_string();
    let files =
        stream.write_stream().format("text").option("checkpointLocation", place(&directory)).option("path", out);
    assert_says(&explained(files), &["== Delivery ==\nexactly once", &place(&directory)]);
    let said = explained(stream.write_stream().format("console"));
    assert_says(&said, &["at least once: ", "onsole", "without a checkpointLocation"]);
}

#[test]
fn what_needs_epochs_as_they_were_is_refused_under_continuous_processing() {
    let session = session(1);
    let writer = text_stream(&session).to_df().write_stream().foreach_batch(|_, _| Ok::<(), Error>(()));
    let said = message(writer.trigger(Trigger::continuous(Duration::from_secs(1))).start());
    assert_says(&said, &["continuous processing", "foreach", "another trigger", "checkpoints.rs:"]);
}

#[test]
fn a_directory_that_cannot_be_written_is_refused_at_the_start() {
    let session = session(1);
    let start = |place: &str| {
        text_stream(&session).to_df().write_stream().format("noop").option("checkpointLocation", place).start()
    };
    let file = tempfile::NamedTempFile::new().unwrap();
    let below_a_file = file.path().join("checkpoint").display().to_string();
    assert_says(&message(start(&below_a_file)), &[&below_a_file]);
    assert_says(&message(start("ftp://host/x")), &["no place for a checkpoint"]);
    assert_says(&message(start("/proc/checkpoint")), &["/proc/checkpoint"]);
}

#[test]
fn the_gap_of_sessions_may_not_change() {
    let session = session(2);
    let stream = timed_stream(&session);
    let writer = |gap: &str| {
        let sessions =
            stream.to_df().with_watermark("time", "10 seconds").group_by((session_window("time", gap), "word"));
        recorded(&sessions.count(), OutputMode::Append, "memory://sessions", &Epochs::default())
    };
    let query = writer("5 seconds").start().unwrap();
    stream.add_rows(timed(&[(1, "a")])).unwrap();
    query.process_all_available().unwrap();
    query.stop().unwrap();
    writer("5 seconds").start().unwrap().stop().unwrap();
    let said = message(writer("6 seconds").start());
    assert_says(&said, &["sessions", "gap", "5", "6", "use a new checkpointLocation"]);
}

/// The sum of the numbers of each word so far: an operator of the user's, with state.
#[derive(Clone, Default)]
struct Sums {
    by_word: BTreeMap<String, i64>,
    changed: BTreeSet<String>,
    says_nothing: bool,
}

fn sums_schema() -> SchemaRef {
    let fields = [("word", DataType::Utf8View), ("sum", DataType::Int64)];
    Arc::new(Schema::new(fields.map(|(name, data_type)| Field::new(name, data_type, true)).to_vec()))
}

impl Sums {
    fn rows<'a>(&self, words: impl IntoIterator<Item = &'a String>) -> Result<RecordBatch> {
        let (words, sums): (Vec<&str>, Vec<i64>) =
            words.into_iter().map(|word| (word.as_str(), self.by_word[word])).unzip();
        let (words, sums) = (StringViewArray::from(words), Int64Array::from(sums));
        Ok(RecordBatch::try_new(sums_schema(), vec![Arc::new(words), Arc::new(sums)])?)
    }

    fn put(&mut self, rows: &RecordBatch, merge: impl Fn(&mut i64, i64)) {
        let (words, numbers) = (rows.column(0).as_string_view(), rows.column(1).as_primitive::<Int64Type>());
        for (word, number) in words.iter().flatten().zip(numbers.iter().flatten()) {
            assert_ne!(number, 666, "a defect of the user's");
            merge(self.by_word.entry(word.to_string()).or_default(), number);
            self.changed.insert(word.to_string());
        }
    }
}

impl Operator for Sums {
    fn output_schema(&self, _: &[SchemaRef]) -> Result<SchemaRef> {
        Ok(sums_schema())
    }
    fn on_batch(&mut self, _: usize, batch: Batch, _: &mut Output) -> Result<Flow> {
        self.put(&batch.records, |sum, number| *sum += number);
        Ok(Flow::Done)
    }
    fn on_barrier(&mut self, _: &Barrier, output: &mut Output) -> Result<Flow> {
        output.batch(self.rows(&self.changed)?);
        Ok(Flow::Done)
    }
    fn snapshot(&mut self) -> Result<Option<StateDelta>> {
        let changed = std::mem::take(&mut self.changed);
        let rows = self.rows(&changed)?;
        let hashes = hash_rows(&rows.columns()[..1]);
        Ok(Some(StateDelta { changed: vec![(rows, hashes)] }))
    }
    fn restore(&mut self, part: StatePart) -> Result<()> {
        self.put(&part.rows, |sum, restored| *sum = restored);
        self.changed.clear();
        Ok(())
    }
    fn state_identity(&self) -> Option<String> {
        (!self.says_nothing).then(|| "sums by word".to_string())
    }
}

/// A topology of the user's over a stream of words and numbers.
fn sums(files: &Path, operator: Sums, name: &str, out: &Path) -> Topology {
    let mut topology = Topology::builder(name);
    topology.output_mode(OutputMode::Update);
    let lines = topology.source("lines", TextFiles::new(&files.to_string_lossy()));
    let split = topology.operator("split", SplitNumber).after(lines);
    let sums = topology.operator("sums", operator).partitioned_by(split, "word");
    let environment =
        SinkEnvironment { zone: Zone::UTC, clock: Arc::new(ManualClock::default()), tables: MemoryTables::default() };
    let sink = open_sink("csv", &Options::new(), &[], out.to_str(), &environment).unwrap();
    topology.sink("files", crate::conformance::Shared(sink)).after(sums);
    topology.build().unwrap()
}

/// `word number` as two columns.
#[derive(Clone)]
struct SplitNumber;

impl Operator for SplitNumber {
    fn output_schema(&self, _: &[SchemaRef]) -> Result<SchemaRef> {
        Ok(sums_schema())
    }
    fn on_batch(&mut self, _: usize, batch: Batch, output: &mut Output) -> Result<Flow> {
        let lines = batch.records.column(0).as_string_view();
        let parts = lines.iter().flatten().map(|line| line.split_once(' ').unwrap());
        let (words, numbers): (Vec<&str>, Vec<i64>) =
            parts.map(|(word, number)| (word, number.parse::<i64>().unwrap())).unzip();
        let (words, numbers) = (StringViewArray::from(words), Int64Array::from(numbers));
        output.batch(RecordBatch::try_new(sums_schema(), vec![Arc::new(words), Arc::new(numbers)])?);
        Ok(Flow::Done)
    }
}

#[test]
fn an_operator_of_the_users_goes_on_after_a_panic_at_another_parallelism() {
    let directory = TempDir::new().unwrap();
    let (input, out) = (directory.path().join("in"), directory.path().join("out"));
    fs::create_dir(&input).unwrap();
    let run = |parallelism: usize, file: &str, text: &str| {
        fs::write(input.join(file), text).unwrap();
        let session = session(parallelism);
        session.set_config("millstream.checkpointLocation", directory.path().display()).unwrap();
        let topology = sums(&input, Sums::default(), "sums", &out);
        session.run(topology, Trigger::available_now()).unwrap().await_termination()
    };
    run(2, "1.txt", "a 1\nb 2\nc 3\n").unwrap();
    assert_says(&message(run(3, "2.txt", "a 10\nb 666\n")), &["a defect of the user's", "sums"]);
    // The file is mended in place, without changing its size; the epoch that was planned runs again.
    run(1, "2.txt", "a 10\nb 020\n").unwrap();
    run(2, "3.txt", "c 300\n").unwrap();
    let session = session(1);
    let written = session.read().schema("word STRING, sum BIGINT").csv(out.to_string_lossy().into_owned());
    assert_eq!(sorted(&written), ["a|1", "a|11", "b|2", "b|22", "c|3", "c|303"]);
}

#[test]
fn an_operator_with_state_it_does_not_name_is_told_so() {
    let directory = TempDir::new().unwrap();
    let (input, out) = (directory.path().join("in"), directory.path().join("out"));
    fs::create_dir(&input).unwrap();
    fs::write(input.join("1.txt"), "a 1\n").unwrap();
    let operator = Sums { says_nothing: true, ..Sums::default() };
    let query = session(1).run(sums(&input, operator, "nameless", &out), Trigger::available_now()).unwrap();
    assert_says(&message(query.await_termination()), &["sums", "implement state_identity()"]);
}
