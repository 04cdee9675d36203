//! Programs written against the documented names compile: every conversion, every method. The names imported beside the
//! prelude are those that it does not hold.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use millstream::arrow::array::{ArrayRef, Int64Array};
use millstream::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use millstream::arrow::record_batch::RecordBatch;
use millstream::connector::sink::Noop;
use millstream::observability::QueryTerminatedEvent;
use millstream::operator::{Batch, Flow, Operator, Output};
use millstream::prelude::*;
use millstream::testing::ManualClock;

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
fn event_time_plans_have_a_schema_and_what_is_to_come_says_so() {
    let session = session();
    let stream = MemoryStream::new(&session, "eventTime TIMESTAMP, word STRING").to_df();
    let marked = stream.with_watermark("eventTime", "10 minutes");
    let keyed = stream.group_by((window("eventTime", "5 minutes"), "word")).count();
    let sliding = stream.group_by(window_sliding("eventTime", Duration::from_mins(10), "5 minutes")).count();
    let shifted = stream.group_by(window_sliding_from("eventTime", "10 minutes", "5 minutes", "2 minutes")).count();
    let sessions = stream.group_by((session_window("eventTime", "5 minutes"), "word")).count();
    let deduplicated = marked.drop_duplicates_within_watermark(["word"]);
    for plan in [&marked, &keyed, &sliding, &shifted, &sessions, &deduplicated] {
        assert!(plan.schema().is_ok(), "{plan:?}");
    }
    let observed = stream.observe("n", [count("*")]);
    assert!(observed.schema().unwrap_err().message().contains("not supported on streams yet"), "{observed:?}");
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

#[test]
fn every_operator_of_an_expression_takes_values_and_expressions() {
    let session = session();
    let frame = table(&session);
    let a = col("a");
    let numbers = [&a + 1, &a - 1_i64, &a * 2.5, &a / &a, &a % 2, -&a, -(a.clone()), 1 + a.clone(), 2.0 * a.clone()];
    assert_eq!(frame.select(numbers.as_slice()).schema().unwrap().fields().len(), 9);
    let conditions = [
        !a.clone().gt(1),
        !&a.lt(1),
        a.gt(0).and("b = 2").or(true),
        a.cast("boolean").not(),
        col("s").ilike("X%").and(col("s").rlike("^x")),
        a.isin(vec![1_i64, 2]),
        col("s").isin(["x", "y"]),
        a.try_cast(DataType::Int8).is_not_null(),
    ];
    for condition in conditions {
        frame.filter(&condition).schema().unwrap_or_else(|error| panic!("{condition}: {error}"));
    }
    let sorted = frame.sort([a.asc(), a.desc(), a.asc_nulls_last(), a.desc_nulls_first()]);
    assert_eq!(sorted.count_rows().unwrap(), 1);
}

#[test]
fn every_scalar_function_of_the_prelude_has_a_type() {
    let session = session();
    let functions = [
        col("a"),
        lit("a"),
        expr("a + 1 AS c"),
        element_at(split("s", " "), 1),
        explode(array(["a", "a"])),
        current_timestamp(),
        to_timestamp("s"),
        date_format(col("t"), "yyyy-MM-dd"),
        concat(("s", lit("!"))),
        lower("s"),
        upper(col("s")),
        length("s"),
        substring("s", 1, 2),
        regexp_extract("s", "(x)", 1),
        when("a = 1", "one").when(col("a").eq(2), "two").otherwise(lit(None::<&str>)),
        coalesce(("s", lit("none"))),
        struct_(("a", col("b").alias("c"))),
        array(("a", 1 + col("a"))),
        size(split(col("s"), " ")),
        not("a = 1"),
    ];
    for function in functions {
        table(&session).select([&function]).schema().unwrap_or_else(|error| panic!("{function}: {error}"));
    }
    let exploded = session.sql("SELECT array() AS none").select([explode_outer("none")]);
    assert_eq!(exploded.count_rows().unwrap(), 1);
}

#[test]
fn every_aggregate_function_of_the_prelude_has_a_type() {
    let session = session();
    let aggregates = [
        count("a"),
        count("*"),
        count_all(),
        sum("a"),
        avg(col("a")),
        min("s"),
        max("s"),
        first("s"),
        last("s"),
        collect_list("a"),
        collect_set("a"),
        approx_count_distinct("a"),
        stddev("a"),
        variance("a"),
    ];
    assert_eq!(table(&session).agg(aggregates.as_slice()).schema().unwrap().fields().len(), 14);
    assert_eq!(table(&session).group_by("s").agg(aggregates.to_vec()).count_rows().unwrap(), 1);
}

#[test]
fn a_static_table_has_every_method() {
    let session = session();
    let frame = table(&session);
    let other = session.sql("SELECT 1 AS a, 'right' AS side");
    for kind in
        [JoinType::Inner, JoinType::Left, JoinType::Right, JoinType::Full, JoinType::LeftSemi, JoinType::LeftAnti]
    {
        frame.join_using(&other, ["a"], kind).collect().unwrap();
        frame.alias("l").join(&other.alias("r"), "l.a = r.a", kind).collect().unwrap();
        frame.alias("l").join(&other.alias("r"), col("l.a").eq(col("r.a")), kind).collect().unwrap();
    }
    for grown in [
        frame.with_column("c", col("a") + 1).with_column_renamed("c", "d"),
        frame.union(&frame).union_by_name(&frame).distinct(),
        frame.drop_duplicates("a"),
        frame.intersect(&frame),
        frame.limit(1).offset(0),
        frame.select("*").filter(true).where_("a > 0"),
        frame.rollup(()).count(),
        frame.cube(()).count(),
    ] {
        assert_eq!(grown.count_rows().unwrap(), 1, "{grown:?}");
    }
    assert_eq!(frame.except(&frame).count_rows().unwrap(), 0);
    let _: DataFrame = frame.sample(0.5, 1);
    assert!(!frame.is_streaming());
    assert!(frame.explain().unwrap().contains("Analyzed plan"));
    frame.print_schema().unwrap();
    frame.show().unwrap();
    frame.create_or_replace_temp_view("frame");
    assert_eq!(session.table("frame").count_rows().unwrap(), 1);
    assert_eq!(session.read().table("frame").count_rows().unwrap(), 1);
    let batches: Vec<RecordBatch> = frame.collect().unwrap();
    assert_eq!(session.create_data_frame(batches).count_rows().unwrap(), 1);
}

#[test]
fn a_static_table_is_written_and_read_in_the_text_formats() {
    let directory = tempfile::tempdir().unwrap();
    let session = session();
    let path = |name: &str| directory.path().join(name).to_string_lossy().into_owned();
    let frame = session.sql("SELECT 'a' AS value");
    for format in ["text", "csv", "json"] {
        frame.write().format(format).mode(SaveMode::Overwrite).save(path(format)).unwrap();
    }
    let schema = "value STRING";
    for read in [
        session.read().text(path("text")),
        session.read().schema(schema).csv(path("csv")),
        session.read().schema(schema).json(path("json")),
        session.read().format("csv").schema(schema).option("path", path("csv")).load(),
        session.read().format("json").options([("mode", "PERMISSIVE")]).schema(schema).load_path(path("json")),
    ] {
        assert_eq!(read.count_rows().unwrap(), 1, "{read:?}");
    }
    for stream in [
        session.read_stream().text(path("text")),
        session.read_stream().schema(schema).option("maxFilesPerTrigger", 1).csv(path("csv")),
        session.read_stream().schema(schema).json(path("json")),
        session.read_stream().format("text").load_path(path("text")),
        session.read_stream().format("socket").option("host", "localhost").option("port", 9999).load(),
        session.read_stream().format("rate-micro-batch").option("rowsPerBatch", 2).load(),
    ] {
        assert!(stream.is_streaming(), "{stream:?}: {:?}", stream.schema());
    }
    let parquet = [session.read().parquet(path("p")), session.read_stream().schema(schema).parquet(path("p"))];
    assert!(parquet.iter().all(|frame| frame.schema().is_err() || cfg!(feature = "parquet")));
}

#[test]
fn a_schema_is_given_in_every_shape() {
    let session = session();
    let arrow = Schema::new(vec![Field::new("n", DataType::Int64, true)]);
    for stream in [
        MemoryStream::new(&session, "n BIGINT"),
        MemoryStream::new(&session, String::from("n BIGINT")),
        MemoryStream::new(&session, &arrow),
        MemoryStream::new(&session, Arc::new(arrow.clone())),
        MemoryStream::new(&session, SchemaBuilder::new().column("n", "BIGINT")),
        MemoryStream::new(&session, arrow),
    ] {
        assert_eq!(stream.to_df().schema().unwrap().field(0).data_type(), &DataType::Int64);
    }
    let every_type = "a BOOLEAN, b TINYINT, c SMALLINT, d INT, e BIGINT, f FLOAT, g DOUBLE, h DECIMAL(9,2), i STRING, \
                      j BINARY, k DATE, l TIMESTAMP, m TIMESTAMP_NTZ, n INTERVAL, o ARRAY<INT>, p STRUCT<x: INT>, \
                      q MAP<STRING, INT>";
    assert_eq!(MemoryStream::new(&session, every_type).to_df().schema().unwrap().fields().len(), 17);
}

#[test]
fn a_function_in_rust_is_called_from_both_languages() {
    let session = session();
    let same = ScalarUdf::new("same", vec![DataType::Int64], DataType::Int64, |columns| Ok(columns[0].clone()));
    session.register_udf(same);
    let frame = table(&session).select((call_udf("same", "a").alias("x"), expr("same(b) AS y")));
    assert_eq!(frame.filter("x = 1 AND y = 2").count_rows().unwrap(), 1);
}

fn numbers(values: &[i64]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

fn batch(values: &[i64]) -> RecordBatch {
    RecordBatch::try_from_iter([("n", numbers(values))]).unwrap()
}

#[test]
fn a_running_query_answers_every_question() {
    let session = session();
    let (left, right) = (MemoryStream::new(&session, "n BIGINT"), MemoryStream::new(&session, "n BIGINT"));
    let counts = left.to_df().union(&right.to_df()).group_by("n").count();
    let writer = counts.write_stream().format("memory").query_name("counts").output_mode(OutputMode::Complete);
    let query = writer.start().unwrap();
    MemoryStream::add_together([(&left, batch(&[1, 2])), (&right, batch(&[2]))]).unwrap();
    left.add(batch(&[3])).unwrap();
    right.add_rows([numbers(&[3])]).unwrap();
    query.process_all_available().unwrap();
    assert_eq!(session.table("counts").count_rows().unwrap(), 3);
    assert_ne!(query.id(), query.run_id());
    assert!(!query.status().message.is_empty());
    assert!(query.explain().contains("Topology"));
    assert!(!query.await_termination_timeout(Duration::ZERO).unwrap());
    assert_eq!(query.recent_progress().last(), query.last_progress().as_ref());
    query.stop().unwrap();
    query.stop().unwrap();
    assert!(!query.is_active());
    query.await_termination().unwrap();
    query.process_all_available().unwrap();
}

#[test]
fn progress_has_every_field_and_sparks_names_in_json() {
    let session = session();
    let stream = MemoryStream::new(&session, "n BIGINT");
    let counts = stream.to_df().group_by("n").count();
    let query = counts.write_stream().format("noop").output_mode(OutputMode::Update).start().unwrap();
    stream.add(batch(&[1, 1])).unwrap();
    query.process_all_available().unwrap();
    let progress: StreamingQueryProgress = query.last_progress().unwrap();
    let (source, state) = (&progress.sources[0], &progress.state_operators[0]);
    assert_eq!((progress.batch_id, source.num_input_rows, progress.sink.num_output_rows), (0, 2, 1));
    assert_eq!((state.num_rows_total, state.num_rows_updated, state.num_rows_removed), (1, 1, 0));
    assert_eq!((state.num_rows_dropped_by_watermark, state.custom_metrics.len()), (0, 0));
    assert!(progress.event_time.is_empty() && progress.observed_metrics.is_empty());
    let json = serde_json::to_value(&progress).unwrap();
    for name in ["id", "runId", "name", "timestamp", "batchId", "batchDuration", "durationMs", "stateOperators"] {
        assert!(json.get(name).is_some(), "{name}");
    }
    for name in ["description", "startOffset", "endOffset", "latestOffset", "numInputRows", "processedRowsPerSecond"] {
        assert!(json["sources"][0].get(name).is_some(), "{name}");
    }
    for name in ["operatorName", "numRowsTotal", "numRowsDroppedByWatermark", "memoryUsedBytes", "customMetrics"] {
        assert!(json["stateOperators"][0].get(name).is_some(), "{name}");
    }
    query.stop().unwrap();
}

/// Tells over a channel which queries ended.
struct Ends(Sender<String>);

impl StreamingQueryListener for Ends {
    fn on_query_terminated(&self, event: &QueryTerminatedEvent) {
        // The test may be over by now.
        let _ = self.0.send(event.id.clone());
    }
}

#[test]
fn the_manager_knows_the_queries_and_tells_listeners() {
    let session = session();
    let (sender, ended) = channel();
    let manager: StreamingQueryManager = session.streams().clone();
    let listener = manager.add_listener(Arc::new(Ends(sender)));
    let stream = MemoryStream::new(&session, "n BIGINT").to_df();
    let query = stream.write_stream().format("noop").start().unwrap();
    assert_eq!(manager.active().len(), 1);
    assert_eq!(manager.get(query.id()).map(|query| query.id()), Some(query.id()));
    query.stop().unwrap();
    manager.await_any_termination().unwrap();
    manager.reset_terminated();
    assert_eq!(ended.recv().unwrap(), query.id().to_string());
    manager.remove_listener(listener);
    assert!(manager.active().is_empty());
}

/// Adds up the first column over all epochs.
#[derive(Clone, Default)]
struct Adding(Arc<AtomicI64>);

impl ForeachWriter for Adding {
    fn open(&mut self, _partition: usize, _epoch: u64) -> bool {
        true
    }
    fn process(&mut self, row: &Row<'_>) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let number = row.get_i64("n")?.unwrap_or_default();
        self.0.fetch_add(number, Ordering::Relaxed);
        Ok(())
    }
    fn close(&mut self, _error: Option<&Error>) {}
}

#[test]
fn a_row_writer_of_the_users_sees_every_row() {
    let session = session();
    let stream = MemoryStream::new(&session, "n BIGINT");
    stream.add(batch(&[1, 2, 3])).unwrap();
    let adding = Adding::default();
    let writer = stream.to_df().write_stream().trigger(Trigger::once()).foreach(adding.clone());
    writer.start().unwrap().await_termination().unwrap();
    assert_eq!(adding.0.load(Ordering::Relaxed), 6);
}

#[test]
fn the_error_of_a_batch_function_fails_the_query_with_its_text() {
    let session = session();
    let stream = MemoryStream::new(&session, "n BIGINT");
    stream.add(batch(&[1])).unwrap();
    let writer = || stream.to_df().write_stream().trigger(Trigger::available_now());
    let no_disk = || std::io::Error::other("no disk");
    for writer in [
        writer().foreach_batch(|_, _| Err("no disk".to_string())),
        writer().foreach_batch(move |_, _| Err(no_disk())),
        writer().foreach_batch(|_, _| Err(Box::<dyn std::error::Error + Send + Sync>::from("no disk"))),
        writer().foreach_batch(|_, _| Err(Error::user("no disk"))),
    ] {
        let query = writer.start().unwrap();
        assert!(query.await_termination().unwrap_err().message().contains("no disk"));
        assert_eq!(query.exception().unwrap().kind(), ErrorKind::User);
    }
}

#[test]
fn a_stream_is_written_into_files_by_partition() {
    let directory = tempfile::tempdir().unwrap();
    let session = session();
    let stream = MemoryStream::new(&session, "n BIGINT, k BIGINT");
    stream.add_rows([numbers(&[1, 2]), numbers(&[7, 7])]).unwrap();
    let writer = stream.to_df().write_stream().format("csv").options([("header", true)]).partition_by(["k"]);
    let query = writer.trigger(Trigger::available_now()).start_path(directory.path().to_string_lossy()).unwrap();
    query.await_termination().unwrap();
    assert!(directory.path().join("k=7").is_dir());
}

#[test]
fn what_is_to_come_is_built_and_refused_at_the_start() {
    let session = session();
    let stream = MemoryStream::new(&session, "t TIMESTAMP, word STRING").to_df();
    stream.create_or_replace_temp_view("events");
    let observed = stream.observe("n", count_all().alias("rows")).write_stream().format("noop").start();
    assert!(observed.unwrap_err().message().contains("not supported"));
}

#[test]
fn streams_are_joined_with_tables_and_with_streams_as_documented() {
    let session = session();
    let stream = |columns: &str| MemoryStream::new(&session, columns).to_df();
    let postings = stream("id BIGINT, postTime TIMESTAMP").with_watermark("postTime", "1 hour");
    let seen = stream("videoId BIGINT, eventTime TIMESTAMP").with_watermark("eventTime", "1 hour");
    let table = session.sql("SELECT bigint(1) AS id, 'Ada' AS name");
    let text = "videoId = id AND eventTime >= postTime AND eventTime <= postTime + interval 1 hour";
    let built = col("videoId").eq(col("id")).and(col("eventTime").gt_eq(col("postTime")));
    for plan in [
        seen.join(&postings, expr(text), JoinType::LeftSemi),
        seen.join(&postings, text, JoinType::Full),
        seen.join(&postings, built, JoinType::Inner),
        postings.join_using(&table, ["id"], JoinType::Left),
        postings.join(&postings.alias("other").select([col("id").alias("other")]), "id = other", JoinType::Inner),
        postings.cross_join(&table),
    ] {
        let query = plan.write_stream().format("noop").trigger(Trigger::available_now()).start();
        query.unwrap_or_else(|error| panic!("{plan:?}: {error}")).await_termination().unwrap();
    }
}

#[test]
fn event_time_runs_as_documented() {
    let session = session();
    let stream = MemoryStream::new(&session, "t TIMESTAMP, word STRING").to_df();
    stream.create_or_replace_temp_view("events");
    let marked = stream.with_watermark(col("t"), Duration::from_mins(10));
    let windows = marked.group_by((window("t", Duration::from_mins(5)), "word")).count();
    let sql = "SELECT window(t, '10 minutes', '5 minutes', '2 minutes') AS w, count(*) AS n FROM events GROUP BY 1";
    for (plan, mode) in [
        (marked.select("word"), OutputMode::Append),
        (windows.select(["window.start", "window.end", "word", "count"]), OutputMode::Append),
        (windows.select([window_time("window")]), OutputMode::Append),
        (session.sql(sql), OutputMode::Update),
        (stream.distinct(), OutputMode::Append),
        (stream.drop_duplicates(["word"]), OutputMode::Append),
        (marked.drop_duplicates_within_watermark(()), OutputMode::Append),
        (session.sql("SELECT DISTINCT word FROM events"), OutputMode::Append),
    ] {
        let query = plan.write_stream().format("noop").output_mode(mode).start().unwrap();
        query.process_all_available().unwrap();
        let late: DataFrame = query.late_rows();
        assert!(late.is_streaming());
        let status: Option<WatermarkStatus> = query.explain_watermark();
        assert_eq!(status.is_some(), query.watermark() == Some(std::time::SystemTime::UNIX_EPOCH));
        query.stop().unwrap();
    }
}

#[test]
fn every_documented_setting_is_known() {
    let session = session();
    for (key, value) in [
        ("millstream.parallelism", "2"),
        ("millstream.noDataEpochs.enabled", "true"),
        ("millstream.multipleWatermarkPolicy", "max"),
        ("millstream.watermark.idleTimeout", "30 seconds"),
        ("millstream.watermark.maxAhead", "off"),
        ("millstream.session.timeZone", "UTC"),
        ("millstream.ansi.enabled", "false"),
        ("millstream.minEpochsToRetain", "3"),
        ("millstream.memory.limit", "1g"),
        ("millstream.checkpointLocation", "memory://every-setting"),
    ] {
        session.set_config(key, value).unwrap();
    }
    assert!(session.set_config("millstream.paralelism", 2).unwrap_err().message().contains("did you mean"));
}

#[test]
fn the_session_reads_the_clock_it_was_given() {
    let clock = Arc::new(ManualClock::starting_at_millis(1_000));
    let session = Session::builder().clock(clock.clone()).build().unwrap();
    let now = session.sql("SELECT 1").select([current_timestamp().cast("string").alias("now")]);
    assert_eq!(now.filter("now = '1970-01-01 00:00:01'").count_rows().unwrap(), 1);
    clock.advance(Duration::from_secs(1));
    assert_eq!(now.filter("now = '1970-01-01 00:00:02'").count_rows().unwrap(), 1);
}

/// Passes every batch on.
#[derive(Clone)]
struct Passing;

impl Operator for Passing {
    fn output_schema(&self, inputs: &[SchemaRef]) -> Result<SchemaRef> {
        Ok(inputs[0].clone())
    }
    fn on_batch(&mut self, _port: usize, batch: Batch, output: &mut Output) -> Result<Flow> {
        output.batch(batch);
        Ok(Flow::Done)
    }
}

#[test]
fn a_topology_is_built_drawn_and_run() {
    let mut builder: TopologyBuilder = Topology::builder("by-hand");
    builder.output_mode(OutputMode::Complete);
    let lines = builder.source("lines", TextFiles::new("assets/lines"));
    let passed = builder.operator("pass", Passing).after(lines);
    let words = builder.operator("split", Explode::words("value", "word")).after(passed);
    let counts = builder.operator("count", CountBy::new("word")).partitioned_by(words, "word");
    builder.sink("nowhere", Noop).gathered_from(counts);
    let topology: Topology = builder.build().unwrap();
    assert!(topology.to_string().contains("by-hand") && topology.explain().contains("count"));
    assert!(topology.to_mermaid().contains("flowchart") && topology.to_dot().contains("digraph"));
    let query: StreamingQuery = session().run(topology, Trigger::available_now()).unwrap();
    query.await_termination().unwrap();
    assert_eq!(query.last_progress().unwrap().num_input_rows, 7);
}

#[test]
fn every_handle_can_be_cloned_and_sent_to_a_thread() {
    fn shared<T: Send + Sync + Clone + 'static>() {}
    shared::<Session>();
    shared::<SessionBuilder>();
    shared::<DataFrame>();
    shared::<GroupedData>();
    shared::<Expr>();
    shared::<DataFrameReader>();
    shared::<DataStreamReader>();
    shared::<DataFrameWriter>();
    shared::<DataStreamWriter>();
    shared::<StreamingQuery>();
    shared::<StreamingQueryManager>();
    shared::<StreamingQueryProgress>();
    shared::<StreamingQueryStatus>();
    shared::<MemoryStream>();
    shared::<Topology>();
    shared::<Trigger>();
    shared::<Error>();
}

/// An operator is a plain state machine: a test needs no runtime.
#[test]
fn an_operator_is_tested_without_a_runtime() {
    use millstream::operator::{Batch, Flow, Limit, LimitScope, Operator, Output};
    let mut limit = Limit::new(2, LimitScope::Stream);
    let mut output = Output::default();
    let rows = table(&session()).collect().unwrap().remove(0);
    for _ in 0..3 {
        assert_eq!(limit.on_batch(0, Batch::from(rows.clone()), &mut output).unwrap(), Flow::Done);
    }
    assert_eq!(
        output.take_batches().iter().map(millstream::arrow::record_batch::RecordBatch::num_rows).sum::<usize>(),
        2
    );
}

#[test]
fn what_a_spark_user_reaches_for_next_is_there() {
    let session = session();
    let frame = table(&session);
    assert_eq!(frame.select(("a", "s")).columns().unwrap(), ["a", "s"]);
    assert_eq!(frame.order_by(col("a").desc()).count_rows().unwrap(), 1);
    assert_eq!(frame.cross_join(&frame).count_rows().unwrap(), 1);
    assert_eq!(frame.group_by("a").mean("b").columns().unwrap(), ["a", "avg(b)"]);
    let (ids, names) = (vec![1, 2], ["x y"]);
    assert_eq!(frame.filter(col("a").isin(&ids).and(col("s").isin(names.iter()))).count_rows().unwrap(), 1);
}
