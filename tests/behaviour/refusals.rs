use millstream::prelude::*;

use crate::support::{assert_says, message, session, text_stream, words};

/// Starts a query that must be refused and answers what was said.
fn refused(frame: &DataFrame, mode: OutputMode) -> String {
    message(frame.write_stream().format("noop").output_mode(mode).start())
}

#[test]
fn every_plan_a_stream_cannot_run_is_refused_with_its_remedy() {
    let session = session(2);
    let lines = text_stream(&session).to_df();
    let counts = words(&lines).group_by("word").count();
    let table = session.sql("SELECT 'x' AS value");
    let complete = OutputMode::Complete;
    let cases: [(&str, DataFrame, OutputMode, &str); 17] = [
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
    for (name, frame, mode, remedy) in cases {
        let said = refused(&frame, mode);
        assert!(said.contains(remedy), "{name}: `{said}` does not say `{remedy}`");
        assert!(said.contains("refusals.rs:"), "{name}: `{said}` does not name the user's line");
    }
    assert!(session.streams().active().is_empty());
}

#[test]
fn what_is_not_there_yet_says_so() {
    let session = session(2);
    let lines = text_stream(&session).to_df();
    let table = session.sql("SELECT 'x' AS value");
    for frame in [
        lines.distinct(),
        lines.join_using(&table, "value", JoinType::Inner),
        lines.with_watermark("value", "1 minute"),
    ] {
        assert_says(&refused(&frame, OutputMode::Append), &["not supported on streams yet"]);
    }
    let writer = lines.write_stream().format("noop").option("checkpointLocation", "/nowhere");
    assert_says(&message(writer.start()), &["checkpointLocation", "not supported yet"]);
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
