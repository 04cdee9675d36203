//! Shapes of plans that go wrong easily: one source twice, columns nobody reads, names twice, views of views.

use std::fs;
use std::io::Write;
use std::net::TcpListener;

use millstream::prelude::*;

use crate::support::{into_memory, numbers, rows, session, sorted, strings, text_stream, words};

#[test]
fn a_stream_used_twice_is_one_source_that_feeds_both_places() {
    let session = session(2);
    let stream = MemoryStream::new(&session, "n BIGINT, s STRING");
    let small = stream.to_df().filter("n < 2").select(["s"]);
    let big = stream.to_df().filter("n >= 2").select([concat([col("s"), lit("!")]).alias("s")]);
    let query = into_memory(&small.union(&big).union(&small), "both", OutputMode::Append);
    stream.add_rows([numbers(&[1, 2]), strings(&["a", "b"])]).unwrap();
    query.process_all_available().unwrap();
    assert_eq!(sorted(&session.table("both")), ["a", "a", "b!"]);
    assert_eq!(query.last_progress().unwrap().num_input_rows, 2);
    assert_eq!(query.last_progress().unwrap().sources.len(), 1);
    query.stop().unwrap();
}

#[test]
fn a_frame_united_with_itself_doubles_its_rows() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("a.txt"), "x y\nz\n").unwrap();
    let session = session(2);
    let lines = session.read_stream().text(directory.path().to_string_lossy().into_owned());
    let twice = words(&lines).union(&words(&lines)).group_by("word").count();
    let writer = twice.write_stream().format("memory").query_name("twice").output_mode(OutputMode::Complete);
    writer.trigger(Trigger::available_now()).start().unwrap().await_termination().unwrap();
    assert_eq!(sorted(&session.table("twice")), ["x|2", "y|2", "z|2"]);
}

/// Counting rows reads no column at all.
#[test]
fn rows_are_counted_without_reading_a_column() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str, text: &str| {
        let path = directory.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_string_lossy().into_owned()
    };
    let session = session(2);
    let memory = text_stream(&session);
    memory.add_rows([strings(&["a", "b", "c"])]).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let peer = std::thread::spawn(move || listener.accept().unwrap().0.write_all(b"1\n2\n3\n").unwrap());
    let schema = "id INT, name STRING";
    let sources = [
        ("memory", memory.to_df()),
        ("text", session.read_stream().text(path("a.txt", "1\n2\n3\n"))),
        ("csv", session.read_stream().schema(schema).csv(path("a.csv", "1,a\n2,b\n3,c\n"))),
        ("json", session.read_stream().schema(schema).json(path("a.json", "{\"id\":1}\n{\"id\":2}\n{}\n"))),
        ("rate-micro-batch", session.read_stream().format("rate-micro-batch").option("rowsPerBatch", 3).load()),
    ];
    for (name, frame) in sources {
        let writer =
            frame.agg(count_all()).write_stream().format("memory").query_name("n").output_mode(OutputMode::Complete);
        writer.trigger(Trigger::available_now()).start().unwrap().await_termination().unwrap();
        assert_eq!(rows(&session.table("n")), ["3"], "{name}");
    }
    let socket = session.read_stream().format("socket").option("host", "127.0.0.1").option("port", port).load();
    let query = into_memory(&socket.agg(count_all()), "n", OutputMode::Complete);
    peer.join().unwrap();
    query.await_termination().unwrap();
    assert_eq!(rows(&session.table("n")), ["3"]);
}

#[test]
fn columns_of_one_name_live_side_by_side_until_one_is_asked_for() {
    let session = session(1);
    let lines = text_stream(&session);
    let doubled = lines.to_df().select((col("value"), upper("value").alias("value")));
    let query = into_memory(&doubled, "doubled", OutputMode::Append);
    lines.add_rows([strings(&["a"])]).unwrap();
    query.process_all_available().unwrap();
    assert_eq!(rows(&session.table("doubled")), ["a|A"]);
    query.stop().unwrap();
    let error = crate::support::message(doubled.select(["value"]).schema());
    crate::support::assert_says(&error, &["`value` is ambiguous"]);
}

#[test]
fn views_of_views_and_sql_over_streams() {
    let session = session(2);
    let lines = text_stream(&session);
    lines.to_df().create_or_replace_temp_view("lines");
    session.sql("SELECT explode(split(value, ' ')) AS word FROM lines").create_or_replace_temp_view("words");
    let counts = session.sql("SELECT w.word, count(*) AS n FROM words AS w WHERE w.word <> '' GROUP BY w.word");
    let query = into_memory(&counts, "counts", OutputMode::Update);
    lines.add_rows([strings(&["a  b a"])]).unwrap();
    query.process_all_available().unwrap();
    assert_eq!(sorted(&session.table("counts")), ["a|2", "b|1"]);
    query.stop().unwrap();
}

#[test]
fn an_epoch_whose_rows_are_all_filtered_shows_the_table_again_in_complete_mode() {
    let session = session(2);
    let lines = text_stream(&session);
    let counts = lines.to_df().filter("value <> 'skip'").group_by("value").count();
    let query = into_memory(&counts, "counts", OutputMode::Complete);
    for line in ["a", "skip"] {
        lines.add_rows([strings(&[line])]).unwrap();
        query.process_all_available().unwrap();
    }
    assert_eq!(rows(&session.table("counts")), ["a|1"]);
    assert_eq!(query.last_progress().unwrap().sink.num_output_rows, 1);
    query.stop().unwrap();
}

#[test]
fn a_limit_below_an_aggregation_holds_for_the_life_of_the_query() {
    let session = session(2);
    let stream = MemoryStream::new(&session, "n BIGINT");
    let query = into_memory(&stream.to_df().limit(5).agg(count_all()), "n", OutputMode::Complete);
    for _ in 0..3 {
        stream.add_rows([numbers(&[1, 2, 3])]).unwrap();
        query.process_all_available().unwrap();
    }
    assert_eq!(rows(&session.table("n")), ["5"]);
    query.stop().unwrap();
}

#[test]
fn a_union_of_tables_has_the_common_type() {
    let session = session(1);
    let union = session.sql("SELECT 1 AS a").union(&session.sql("SELECT 1.5D AS a"));
    assert_eq!(union.schema().unwrap().field(0).data_type(), &millstream::arrow::datatypes::DataType::Float64);
    assert_eq!(sorted(&union.select([col("a").cast("int")])), ["1", "1"]);
    let lines = text_stream(&session).to_df();
    let error = crate::support::message(lines.union(&lines.select([length("value").alias("value")])).schema());
    crate::support::assert_says(&error, &["`value` is STRING on one side and INT on the other", "cast one of them"]);
}

#[test]
fn a_column_is_added_beside_columns_of_one_name() {
    let session = session(1);
    let pair = session.sql("SELECT 1 AS id").join(&session.sql("SELECT 2 AS id"), true, JoinType::Inner);
    assert_eq!(rows(&pair.with_column("n", lit(3))), ["1|2|3"]);
    let lists = session.sql("SELECT 'a b' AS v").with_column("v", explode(split("v", " ")));
    assert_eq!(sorted(&lists), ["a", "b"]);
    assert_eq!(rows(&session.sql("SELECT 1 AS a, 2 AS b").drop([expr("a")])), ["2"]);
}
