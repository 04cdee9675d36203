use millstream::prelude::*;

use crate::support::{assert_says, message, session, text_stream, timed_stream, words};

/// Starts a query that must be refused and answers what was said.
fn refused(frame: &DataFrame, mode: OutputMode) -> String {
    message(frame.write_stream().format("noop").output_mode(mode).start())
}

type Case<'a> = (&'a str, DataFrame, OutputMode, &'a str);

/// Every case is refused with its remedy, at the line of this file.
fn all_refused(cases: Vec<Case<'_>>) {
    for (name, frame, mode, remedy) in cases {
        let started = frame.write_stream().format("noop").output_mode(mode).start();
        let Err(error) = started else { panic!("{name}: this should have been refused") };
        let said = error.to_string();
        assert!(said.contains(remedy), "{name}: `{said}` does not say `{remedy}`");
        assert!(said.contains("refusals.rs:"), "{name}: `{said}` does not name the user's line");
    }
}

#[test]
fn every_plan_a_stream_cannot_run_is_refused_with_its_remedy() {
    let session = session(2);
    let lines = text_stream(&session).to_df();
    let counts = words(&lines).group_by("word").count();
    let table = session.sql("SELECT 'x' AS value");
    let complete = OutputMode::Complete;
    let cases: Vec<Case<'_>> = vec![
        ("append aggregation", counts.clone(), OutputMode::Append, "use update or complete mode"),
        ("complete without aggregation", lines.clone(), complete, "needs an aggregation"),
        ("distinct aggregate", words(&lines).agg(count_distinct("word")), complete, "approx_count_distinct"),
        ("rollup", words(&lines).rollup("word").count(), complete, "rollup cannot be used on a stream"),
        ("cube", words(&lines).cube("word").count(), complete, "cube cannot be used on a stream"),
        ("sort without aggregation", lines.sort("value"), OutputMode::Append, "in complete mode"),
        ("sort in update mode", counts.sort("word"), OutputMode::Update, "in complete mode"),
        ("limit in update mode", lines.limit(1), OutputMode::Update, "limit cannot be used in update mode"),
        ("offset", lines.offset(1), OutputMode::Append, "offset cannot be used on a stream"),
        ("sample", lines.sample(0.5, 1), OutputMode::Append, "sample cannot be used on a stream"),
        (
            "monotonic id",
            lines.select([expr("monotonically_increasing_id()")]),
            OutputMode::Append,
            "use a key of the data",
        ),
        ("stream and table", lines.union(&table), OutputMode::Append, "cannot be put together by union"),
        ("except", lines.except(&lines), OutputMode::Append, "except cannot be used with a stream"),
        ("intersect", lines.intersect(&table), OutputMode::Append, "intersect cannot be used with a stream"),
        ("stacked aggregation", counts.group_by("count").count(), complete, "works in append mode only"),
        ("no stream", table.clone(), OutputMode::Append, "reads no stream"),
        ("over", lines.select([expr("row_number() OVER (ORDER BY value)")]), OutputMode::Append, "analytic window"),
    ];
    all_refused(cases);
    assert!(session.streams().active().is_empty());
}

#[test]
fn every_plan_over_event_time_that_makes_no_sense_is_refused_with_its_remedy() {
    let session = session(2);
    let lines = text_stream(&session).to_df();
    let timed = timed_stream(&session).to_df();
    let marked = timed.with_watermark("time", "10 minutes");
    let windows = marked.group_by((window("time", "5 minutes"), "word")).count();
    let (append, update, complete) = (OutputMode::Append, OutputMode::Update, OutputMode::Complete);
    let bad_window =
        |size: &str, slide: &str, start: &str| timed.group_by(window_sliding_from("time", size, slide, start)).count();
    let cases: Vec<Case<'_>> = vec![
        (
            "append by an unmarked window",
            timed.group_by(window("time", "5 minutes")).count(),
            append,
            "with a watermark",
        ),
        ("append by a word", marked.group_by("word").count(), append, "with a watermark"),
        (
            "append by a cast time",
            marked.group_by(col("time").cast("timestamp").alias("t")).count(),
            append,
            "with a watermark",
        ),
        (
            "session in update mode",
            marked.group_by((session_window("time", "5 minutes"), "word")).count(),
            update,
            "use append or complete mode",
        ),
        (
            "session without a key",
            marked.group_by(session_window("time", "5 minutes")).count(),
            append,
            "another grouping key",
        ),
        ("second watermark", marked.with_watermark("time", "1 minute"), append, "a second watermark"),
        (
            "two event times",
            marked.with_column("window", window("time", "1 hour")).drop_duplicates(["window", "time"]),
            append,
            "two event-time columns",
        ),
        ("duplicates above an aggregation", windows.drop_duplicates(["word"]), update, "works in append mode only"),
        ("aggregation above windows", windows.group_by("word").count(), complete, "works in append mode only"),
        ("within without watermark", timed.drop_duplicates_within_watermark("word"), append, "needs a watermark"),
        ("watermark on text", lines.with_watermark("value", "1 minute"), append, "needs a TIMESTAMP column"),
        ("negative delay", timed.with_watermark("time", "-1 minute"), append, "negative"),
        ("delay that is none", timed.with_watermark("time", "soon"), append, "delay of with_watermark"),
        (
            "watermark on an expression",
            timed.with_watermark(expr("time + interval 1 hour"), "1 minute"),
            append,
            "needs a column",
        ),
        ("unknown event time", timed.with_watermark("tiem", "1 minute"), append, "did you mean `time`?"),
        ("window of text", lines.group_by(window("value", "5 minutes")).count(), complete, "needs a TIMESTAMP"),
        ("window of zero", timed.group_by(window("time", "0 seconds")).count(), complete, "longer than zero"),
        ("window of a month", timed.group_by(window("time", "1 month")).count(), complete, "months"),
        ("slide longer than size", bad_window("5 minutes", "6 minutes", "0 seconds"), complete, "longer than the size"),
        ("slide of zero", bad_window("5 minutes", "0 seconds", "0 seconds"), complete, "longer than zero"),
        (
            "start as long as the slide",
            bad_window("5 minutes", "5 minutes", "5 minutes"),
            complete,
            "shorter than the slide",
        ),
        (
            "two windows",
            timed.group_by((window("time", "5 minutes"), window("time", "1 hour"))).count(),
            complete,
            "window",
        ),
        ("window in a filter", timed.filter("window(time, '5 minutes').start IS NOT NULL"), append, "window"),
        ("limit of windows in update mode", windows.limit(3), update, "limit cannot be used in update mode"),
        ("sort of windows in append mode", windows.sort("window"), append, "in complete mode"),
        ("windows in complete without aggregation", marked.clone(), complete, "needs an aggregation"),
        ("distinct in complete", marked.distinct(), complete, "needs an aggregation"),
    ];
    all_refused(cases);
    assert!(session.streams().active().is_empty());
}

#[test]
fn every_join_a_stream_cannot_run_is_refused_with_its_remedy() {
    use JoinType::{Full, Inner, Left, LeftAnti, LeftSemi, Right};
    let session = session(2);
    let (append, update, complete) = (OutputMode::Append, OutputMode::Update, OutputMode::Complete);
    let stream = |names: &str| MemoryStream::new(&session, names).to_df();
    let left = stream("k STRING, t TIMESTAMP");
    let right = stream("j STRING, u TIMESTAMP");
    let table = session.sql("SELECT 'x' AS j");
    let (marked, other) = (left.with_watermark("t", "1 minute"), right.with_watermark("u", "1 minute"));
    let windows = marked.group_by((window("t", "5 minutes"), "k")).count();
    let range = "k = j AND t >= u AND t <= u + interval 1 hour";
    let cases: Vec<Case<'_>> = vec![
        ("full with a table", left.join(&table, "k = j", Full), append, "a full join of a stream with a static table"),
        ("right with a right table", left.join(&table, "k = j", Right), append, "put the stream on the right side"),
        ("left with a left table", table.join(&left, "k = j", Left), append, "left side, which is a static table"),
        ("semi with a left table", table.join(&left, "k = j", LeftSemi), append, "left side, which is a static table"),
        ("anti with a left table", table.join(&left, "k = j", LeftAnti), update, "needs a static table on the right"),
        ("update mode", left.join(&right, "k = j", Inner), update, "append mode only"),
        ("semi in update mode", marked.join(&other, range, LeftSemi), update, "append mode only"),
        ("complete mode", windows.join(&other, "k = j", Inner), complete, "append mode only"),
        ("anti of streams", marked.join(&other, range, LeftAnti), append, "use a left join"),
        ("no condition", left.cross_join(&right), append, "needs an equality"),
        ("a range alone", marked.join(&other, "t >= u", Inner), append, "needs an equality"),
        ("an equality of one side", left.join(&right, "k = k AND j = 'x'", Inner), append, "needs an equality"),
        ("left without a watermark", left.join(&right, range, Left), append, "on the right side"),
        ("left without a range", marked.join(&other, "k = j", Left), append, ".t >= right.u - INTERVAL 1 HOUR`"),
        ("left with an upper limit", marked.join(&other, "k = j AND t <= u", Left), append, "add a range condition"),
        ("right without a watermark", left.join(&other, range, Right), append, "on the left side"),
        (
            "right without a range",
            marked.join(&other, "k = j AND t >= u", Right),
            append,
            ".u >= left.t - INTERVAL 1 HOUR`",
        ),
        ("semi without a range", marked.join(&other, "k = j", LeftSemi), append, "nothing can match them any more"),
        ("full without any", marked.join(&other, "k = j", Full), append, "left or the right side"),
        ("months", marked.join(&other, "k = j AND t >= u - interval 1 month", Left), append, "add a range condition"),
        (
            "two event times on a side",
            marked.join(&other, range, Inner).join(&stream("i STRING"), "k = i", Inner),
            append,
            "two event-time columns",
        ),
        ("above an aggregation", windows.join(&right, "k = j", Inner), update, "append mode only"),
    ];
    all_refused(cases);
    let unknown = left.join(&right, "k = jj", Inner);
    assert_says(&refused(&unknown, append), &["no column `jj`", "known columns: k, t, j, u", "refusals.rs:"]);
    assert!(session.streams().active().is_empty());
}

#[test]
fn a_refusal_names_the_line_of_what_is_refused_and_not_that_of_the_start() {
    let session = session(1);
    let lines = text_stream(&session).to_df();
    let (sorted, line) = (lines.sort("value"), line!());
    let said = refused(&sorted.select(["value"]), OutputMode::Append);
    assert_says(&said, &[&format!("refusals.rs:{line}:")]);
}

#[test]
fn what_is_not_there_yet_says_so() {
    let session = session(2);
    let lines = text_stream(&session).to_df();
    assert_says(&refused(&lines.observe("n", [count("*")]), OutputMode::Append), &["not supported on streams yet"]);
}

#[test]
fn a_stream_cannot_be_collected() {
    let session = session(1);
    let lines = text_stream(&session).to_df();
    assert_says(&message(lines.collect()), &["write_stream()", "refusals.rs:"]);
    assert_says(&message(lines.write().save("/nowhere/at/all")), &["write_stream()"]);
}

#[test]
fn sql_that_only_static_tables_can_run_is_refused_on_a_stream_by_its_name() {
    let session = session(1);
    text_stream(&session).to_df().create_or_replace_temp_view("lines");
    let subquery = session.sql("SELECT value FROM lines WHERE value IN (SELECT value FROM lines)");
    assert_says(&refused(&subquery, OutputMode::Append), &["works on static tables only"]);
    let window = session.sql("SELECT row_number() OVER (ORDER BY value) AS n FROM lines");
    assert_says(&refused(&window, OutputMode::Append), &["analytic window"]);
}

#[test]
fn a_refused_start_leaves_the_table_of_the_last_query_alone() {
    let session = session(1);
    let lines = text_stream(&session);
    let query = crate::support::into_memory(&lines.to_df(), "kept", OutputMode::Append);
    lines.add_rows([crate::support::strings(&["a"])]).unwrap();
    query.process_all_available().unwrap();
    query.stop().unwrap();
    let counts = words(&lines.to_df()).group_by("word").count();
    message(counts.write_stream().format("memory").query_name("kept").start());
    let missing = session.read_stream().text("/no/such/directory");
    message(missing.write_stream().format("memory").query_name("kept").start());
    assert_eq!(crate::support::rows(&session.table("kept")), ["a"]);
}
