use std::fs;
use std::path::Path;

use millstream::prelude::*;

use crate::support::{assert_says, into_memory, message, place, session, sorted, words};

fn path(directory: &Path) -> String {
    directory.to_string_lossy().into_owned()
}

#[test]
fn files_that_appear_while_a_query_runs_are_read_once() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("a.txt"), "one two\n").unwrap();
    let session = session(2);
    let lines = session.read_stream().text(path(directory.path()));
    let query = into_memory(&words(&lines), "words", OutputMode::Append);
    query.process_all_available().unwrap();
    place(&directory.path().join("b.txt"), "three\n");
    query.process_all_available().unwrap();
    query.process_all_available().unwrap();
    assert_eq!(sorted(&session.table("words")), ["one", "three", "two"]);
    query.stop().unwrap();
}

#[test]
fn a_stream_of_csv_is_written_as_json_and_read_back() {
    let (input, output) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(input.path().join("people.csv"), "id,name\n1,\"Ada, L.\"\n2,Grace\n").unwrap();
    let session = session(2);
    let people = session.read_stream().option("header", true).schema("id INT, name STRING").csv(path(input.path()));
    let writer = people.write_stream().format("json").trigger(Trigger::available_now());
    writer.start_path(path(output.path())).unwrap().await_termination().unwrap();
    let back = session.read().schema("id INT, name STRING").json(path(output.path()));
    assert_eq!(sorted(&back), ["1|Ada, L.", "2|Grace"]);
    let names = fs::read_dir(output.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert!(names.into_iter().all(|name| !name.starts_with('.')), "no temporary file is left");
}

#[test]
fn results_are_partitioned_into_directories() {
    let output = tempfile::tempdir().unwrap();
    let session = session(1);
    let stream = MemoryStream::new(&session, "city STRING, name STRING");
    let cities = crate::support::strings(&["London", "Rome"]);
    stream.add_rows([cities, crate::support::strings(&["Ada", "Bea"])]).unwrap();
    let writer = stream.to_df().write_stream().format("csv").partition_by("city").trigger(Trigger::once());
    writer.start_path(path(output.path())).unwrap().await_termination().unwrap();
    assert!(output.path().join("city=London").is_dir() && output.path().join("city=Rome").is_dir());
    let wrong = stream.to_df().write_stream().format("csv").partition_by("town");
    assert_says(&message(wrong.start_path(path(output.path()))), &["no column `town`"]);
}

#[test]
fn files_take_append_mode_only() {
    let output = tempfile::tempdir().unwrap();
    let session = session(1);
    let lines = crate::support::text_stream(&session).to_df();
    let counts = words(&lines).group_by("word").count();
    let writer = counts.write_stream().format("csv").output_mode(OutputMode::Complete);
    assert_says(&message(writer.start_path(path(output.path()))), &["append"]);
}
