//! Programs written against the documented names compile: every conversion, every method, through the prelude alone.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use millstream::prelude::*;

fn session() -> Session {
    Session::builder().app_name("api").parallelism(1).config("millstream.session.timeZone", "UTC").build().unwrap()
}

fn table(session: &Session) -> DataFrame {
    session.sql("SELECT 1 AS a, 2L AS b, 'x y' AS s, TIMESTAMP '2021-10-01 09:30:00' AS t, named_struct('f', 5) AS r")
}

#[test]
fn columns_are_given_in_every_shape() {
    let session = session();
    let frame = table(&session);
    let names = vec!["a".to_string(), "b".to_string()];
    for selected in [
        frame.select("a"),
        frame.select(["a", "b"]),
        frame.select(vec!["a"]),
        frame.select(&names),
        frame.select(names.as_slice()),
        frame.select([col("a"), lit(1)]),
        frame.select(("a", col("b") + 1, expr("a * 2 AS c"))),
        frame.select(col("r").field("f")),
        frame.select_expr("a + b AS c"),
        frame.select_expr(["a", "upper(s)"]),
        frame.group_by(()).count(),
        frame.group_by("a").sum(["b"]),
        frame.group_by(["a"]).avg("b"),
        frame.group_by(("a", length("s"))).agg((min("b"), max("b").alias("top"))),
        frame.group_by(vec![col("a")]).max(vec!["b"]),
        frame.drop_duplicates(()),
        frame.drop_duplicates(["a", "b"]),
        frame.sort((col("a").desc(), "b")),
        frame.drop(["a"]),
    ] {
        assert_eq!(selected.count_rows().unwrap(), 1, "{selected:?}");
    }
}

#[test]
fn conditions_and_values_are_given_in_every_shape() {
    let session = session();
    let frame = table(&session);
    for kept in [
        frame.filter("a = 1"),
        frame.where_(col("s").eq("x y")),
        frame.filter(col("a").eq(1).and(col("b").gt(1)).and(col("b").gt_eq(2))),
        frame.filter(col("a").lt(2).or(col("b").lt_eq(2)).and(col("a").neq(5))),
        frame.filter(col("s").like("x%").and(col("a").isin([1, 2])).and(col("a").between(0, 3))),
        frame.filter(col("s").is_not_null().and(col("s").is_null().not())),
        frame.filter(col("a").eq_null_safe(1)),
        frame.filter(!col("a").eq(2)),
        frame.filter((lit(1) - col("a")).eq(0)),
        frame.filter(when(col("a").eq(1), true).otherwise(false)),
        frame.filter(col("t").cast("string").eq("2021-10-01 09:30:00")),
        frame.filter(element_at(split(col("s"), " "), -1).eq("y")),
        frame.filter(coalesce([lit(None::<i32>), col("a")]).eq(1)),
        frame.filter(regexp_extract("s", "(.) y", 1).eq("x")),
        frame.filter(date_format("t", "yyyy").eq("2021")),
    ] {
        assert_eq!(kept.count_rows().unwrap(), 1, "{kept:?}");
    }
}

#[test]
fn event_time_plans_compile_and_say_that_they_are_to_come() {
    let session = session();
    let stream = MemoryStream::new(&session, "eventTime TIMESTAMP, word STRING").to_df();
    let marked = stream.with_watermark("eventTime", "10 minutes");
    let keyed = stream.group_by((window("eventTime", "5 minutes"), "word")).count();
    let sliding = stream.group_by(window_sliding("eventTime", Duration::from_mins(10), "5 minutes")).count();
    let shifted = stream.group_by(window_sliding_from("eventTime", "10 minutes", "5 minutes", "2 minutes")).count();
    let sessions = stream.group_by((session_window("eventTime", "5 minutes"), "word")).count();
    let deduplicated = stream.drop_duplicates_within_watermark(["word"]);
    let joined = stream.join(&table(&session), "word = s", JoinType::LeftSemi);
    for plan in [marked, keyed, sliding, shifted, sessions, deduplicated, joined, stream.observe("n", [count("*")])] {
        assert!(plan.schema().unwrap_err().message().contains("not supported on streams yet"), "{plan:?}");
    }
}

#[test]
fn a_batch_function_may_fail_with_any_error() {
    let session = session();
    let stream = MemoryStream::new(&session, "n BIGINT").to_df();
    let writer = || stream.write_stream().trigger(Trigger::available_now());
    let queries = [
        writer().foreach_batch(|_, _| Ok::<(), String>(())),
        writer().foreach_batch(|_, _| Ok::<(), std::io::Error>(())),
        writer().foreach_batch(|_, _| Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())),
        writer().foreach_batch(|batch, _epoch| -> Result<()> { batch.count_rows().map(|_| ()) }),
    ];
    for query in queries {
        query.start().unwrap().await_termination().unwrap();
    }
}

#[test]
fn handles_are_shared_between_threads_and_dropping_one_stops_nothing() {
    fn shared<T: Send + Sync + Clone + 'static>(_: &T) {}
    let session = session();
    let stream = MemoryStream::new(&session, SchemaBuilder::new().column("n", "BIGINT"));
    let query = stream.to_df().write_stream().format("noop").query_name("kept").start().unwrap();
    shared(&session);
    shared(&stream);
    shared(&query);
    shared(&stream.to_df());
    shared(session.streams());
    let id = query.id();
    drop(query);
    let again = session.streams().get(id).unwrap();
    assert!(again.is_active() && again.exception().is_none() && again.watermark().is_none());
    assert_eq!(again.name(), Some("kept"));
    assert!(again.recent_progress().is_empty() && again.last_progress().is_none());
    session.stop().unwrap();
}

#[test]
fn every_trigger_and_duration_is_accepted() {
    let session = session();
    for trigger in [
        Trigger::default(),
        Trigger::processing_time("1 hour 30 minutes"),
        Trigger::processing_time(Duration::from_millis(5)),
        Trigger::once(),
        Trigger::available_now(),
        Trigger::continuous("1 second"),
        Trigger::real_time(Duration::from_secs(1)),
    ] {
        let stream = session.read_stream().format("rate").options([("rowsPerSecond", "1")]).load();
        stream.write_stream().format("noop").trigger(trigger).start().unwrap().stop().unwrap();
    }
}
