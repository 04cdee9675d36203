use std::io::Write;
use std::net::TcpListener;

use millstream::arrow::array::{ArrayRef, Int64Array};
use millstream::arrow::datatypes::DataType;
use millstream::prelude::*;

use crate::support::{assert_says, into_memory, message, numbers, rows, session, sorted, strings, text_stream};

#[test]
fn an_unknown_column_names_the_line_and_the_nearest_column() {
    let session = session(1);
    let people = session.sql("SELECT 1 AS userId, 'a' AS name");
    assert_says(
        &message(people.select(["usrId"]).schema()),
        &["no column `usrId`", "did you mean `userId`?", "bad_input.rs:"],
    );
    assert_says(&message(people.filter("nam = 'a'").schema()), &["no column `nam`", "did you mean `name`?"]);
}

#[test]
fn an_unknown_function_names_the_nearest_function() {
    let session = session(1);
    let error = message(session.sql("SELECT uper('a')").schema());
    assert_says(&error, &["no function `uper`", "did you mean `upper`?"]);
}

#[test]
fn unknown_formats_and_options_list_the_known_ones() {
    let session = session(1);
    assert_says(
        &message(session.read_stream().format("sockets").load().schema()),
        &["sockets", "did you mean `socket`?"],
    );
    let rate = session.read_stream().format("rate").option("rowPerSecond", 1).load();
    assert_says(&message(rate.schema()), &["rowPerSecond", "did you mean `rowsPerSecond`?", "bad_input.rs:"]);
    let lines = text_stream(&session).to_df();
    let console = lines.write_stream().format("console").option("numrow", 3);
    assert_says(&message(console.start()), &["numrow", "numRows"]);
    assert_says(&message(lines.write_stream().start()), &["nowhere to write to"]);
}

#[test]
fn a_wrong_type_names_the_types() {
    let session = session(1);
    let lines = text_stream(&session).to_df();
    assert_says(&message(lines.filter(col("value")).schema()), &["must be BOOLEAN", "STRING"]);
    assert_says(
        &message(lines.select([explode("value")]).schema()),
        &["explode needs an ARRAY", "STRING", "split it first"],
    );
    assert_says(&message(lines.select([col("value").cast("intt")]).schema()), &["intt"]);
    let count = message(lines.group_by("value").agg(("value", count_all())).select(["missing"]).schema());
    assert_says(&count, &["no column `missing`"]);
    assert_says(
        &message(lines.group_by(length("value")).agg(col("value")).schema()),
        &["neither grouped nor aggregated"],
    );
}

#[test]
fn wrong_sql_shows_where_it_is_wrong() {
    let session = session(1);
    assert_says(&message(session.sql("SELEC 1").schema()), &["SELEC"]);
    assert_says(&message(session.table("missing").schema()), &["no table or view `missing`"]);
}

const PEOPLE: &str = "id,age\n1,30\n2,old\n3\n4,40\n";

fn people_in_mode(mode: &str) -> (Result<()>, Vec<String>, StreamingQuery) {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("people.csv"), PEOPLE).unwrap();
    let session = session(2);
    let people = session.read_stream().schema("id INT, age INT").option("header", true).option("mode", mode);
    let people = people.csv(directory.path().to_string_lossy().into_owned());
    let query =
        people.write_stream().format("memory").query_name("people").trigger(Trigger::available_now()).start().unwrap();
    let outcome = query.await_termination();
    (outcome, sorted(&session.table("people")), query)
}

#[test]
fn a_malformed_row_becomes_nulls_and_is_counted() {
    let (outcome, people, query) = people_in_mode("PERMISSIVE");
    outcome.unwrap();
    assert_eq!(people, ["1|30", "2|NULL", "3|NULL", "4|40"]);
    assert_eq!(query.last_progress().unwrap().sources[0].metrics["malformedRows"], "2");
}

#[test]
fn a_malformed_row_is_dropped_and_counted() {
    let (outcome, people, query) = people_in_mode("DROPMALFORMED");
    outcome.unwrap();
    assert_eq!(people, ["1|30", "4|40"]);
    assert_eq!(query.last_progress().unwrap().sources[0].metrics["droppedMalformedRows"], "2");
}

#[test]
fn a_malformed_row_fails_the_query_and_is_named() {
    let (outcome, people, query) = people_in_mode("FAILFAST");
    assert_says(&message(outcome), &["people.csv", "3", "age", "old"]);
    assert!(people.is_empty(), "nothing of the epoch was committed");
    assert!(query.exception().is_some());
}

#[test]
fn bytes_that_are_not_utf8_are_replaced_and_counted() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let peer = std::thread::spawn(move || listener.accept().unwrap().0.write_all(b"good\nb\xffd\n").unwrap());
    let session = session(1);
    let lines = session.read_stream().format("socket").option("host", "127.0.0.1").option("port", port).load();
    let query = into_memory(&lines, "lines", OutputMode::Append);
    peer.join().unwrap();
    query.await_termination().unwrap();
    assert_eq!(rows(&session.table("lines")), ["good", "b\u{fffd}d"]);
    let counted: u64 = query.last_progress().unwrap().sources[0].metrics["invalidUtf8Lines"].parse().unwrap();
    assert_eq!(counted, 1);
}

#[test]
fn a_closed_port_is_named_with_the_remedy() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let session = session(1);
    let lines = session.read_stream().format("socket").option("host", "127.0.0.1").option("port", port).load();
    let error = message(lines.write_stream().format("noop").start());
    assert_says(&error, &[&port.to_string(), "nc -lk"]);
}

#[test]
fn a_missing_directory_is_named() {
    let session = session(1);
    let error = message(session.read_stream().text("/no/such/directory").write_stream().format("noop").start());
    assert_says(&error, &["/no/such/directory"]);
}

#[test]
fn a_panicking_function_fails_its_query_alone() {
    let session = session(2);
    session.register_udf(ScalarUdf::new("fragile", vec![DataType::Int64], DataType::Int64, |columns| {
        assert!(columns[0].is_empty(), "seven is too much");
        Ok(columns[0].clone())
    }));
    let stream = MemoryStream::new(&session, "n BIGINT");
    let failing = into_memory(&stream.to_df().select([expr("fragile(n)")]), "failing", OutputMode::Append);
    let healthy = into_memory(&stream.to_df(), "healthy", OutputMode::Append);
    stream.add_rows([numbers(&[7])]).unwrap();
    assert_says(&message(failing.process_all_available()), &["fragile", "panicked", "seven is too much"]);
    healthy.process_all_available().unwrap();
    assert_eq!(rows(&session.table("healthy")), ["7"]);
    assert!(!failing.is_active() && healthy.is_active());
    healthy.stop().unwrap();
}

#[test]
fn a_function_that_returns_too_few_rows_is_an_error() {
    let session = session(1);
    session.register_udf(ScalarUdf::new("short", vec![DataType::Int64], DataType::Int64, |_| {
        Ok(std::sync::Arc::new(Int64Array::from(Vec::<i64>::new())) as ArrayRef)
    }));
    let stream = MemoryStream::new(&session, "n BIGINT");
    let query = into_memory(&stream.to_df().select([expr("short(n)")]), "short", OutputMode::Append);
    stream.add_rows([numbers(&[1, 2])]).unwrap();
    assert_says(&message(query.process_all_available()), &["short"]);
}

#[test]
fn rows_that_do_not_fit_the_stream_are_refused_and_change_nothing() {
    let session = session(1);
    let stream = MemoryStream::new(&session, "n BIGINT");
    assert_says(&message(stream.add_rows([strings(&["x"])])), &["n", "BIGINT", "STRING"]);
    assert!(message(stream.add_rows([])).contains("1 columns"));
    let wrong = MemoryStream::new(&session, "n BIGGINT");
    assert_says(&message(wrong.to_df().schema()), &["BIGGINT", "did you mean `BIGINT`?", "bad_input.rs:"]);
}

#[test]
fn under_ansi_rules_a_bad_cast_fails_the_query_and_names_the_value() {
    let session = Session::builder().config("millstream.ansi.enabled", true).build().unwrap();
    let lines = text_stream(&session);
    let query = into_memory(&lines.to_df().select([col("value").cast("int")]), "numbers", OutputMode::Append);
    lines.add_rows([strings(&["12", "twelve"])]).unwrap();
    assert_says(&message(query.process_all_available()), &["twelve", "INT"]);
}

/// A source of a user's that panics where it is only asked for its counts.
#[derive(Clone)]
struct Fragile;

impl millstream::connector::Source for Fragile {
    fn schema(&self) -> millstream::arrow::datatypes::SchemaRef {
        std::sync::Arc::new(millstream::arrow::datatypes::Schema::empty())
    }
    fn description(&self) -> String {
        "Fragile".to_string()
    }
    fn initial(&mut self) -> Result<millstream::connector::Offset> {
        Ok(0.into())
    }
    fn latest(
        &mut self,
        _: &millstream::connector::Offset,
        _: millstream::connector::ReadLimit,
    ) -> Result<millstream::connector::Offset> {
        Ok(1.into())
    }
    fn plan(
        &mut self,
        _: &millstream::connector::Offset,
        _: &millstream::connector::Offset,
        _: usize,
    ) -> Result<Vec<Box<dyn millstream::connector::SplitReader>>> {
        Ok(Vec::new())
    }
    fn fix_end(&mut self, _: &millstream::connector::Offset) -> Result<()> {
        Ok(())
    }
    fn metrics(&self) -> std::collections::BTreeMap<String, u64> {
        panic!("no counts today")
    }
}

#[test]
fn a_source_that_panics_anywhere_fails_its_query_alone() {
    let session = session(1);
    let mut topology = Topology::builder("fragile");
    let rows = topology.source("rows", Fragile);
    topology.sink("print", Console::new().writer(std::sync::Arc::new(std::sync::Mutex::new(Vec::new())))).after(rows);
    let query = session.run(topology.build().unwrap(), Trigger::default()).unwrap();
    assert_says(&message(query.await_termination()), &["a source panicked", "no counts today"]);
    assert!(session.streams().active().is_empty());
}

#[test]
fn a_path_for_a_sink_without_one_is_refused() {
    let session = session(1);
    let lines = text_stream(&session).to_df();
    let writer = lines.write_stream().foreach_batch(|_, _| Ok::<(), Error>(()));
    assert_says(&message(writer.clone().start_path("/tmp/x")), &["only files have a path"]);
    assert_says(&message(writer.partition_by("value").start()), &["only files have a path"]);
}
