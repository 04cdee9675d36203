use std::io::Write;
use std::net::{TcpListener, TcpStream};

use millstream::prelude::*;

use crate::support::{into_memory, session, sorted, strings, text_stream, words};

/// A listening port and a thread that hands over the first connection.
fn listen() -> (u16, std::thread::JoinHandle<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    (port, std::thread::spawn(move || listener.accept().unwrap().0))
}

#[test]
fn words_of_a_socket_are_counted_until_the_peer_closes() {
    for parallelism in [1, 2, 4] {
        let (port, accepted) = listen();
        let session = session(parallelism);
        let lines = session.read_stream().format("socket").option("host", "127.0.0.1").option("port", port).load();
        let query = into_memory(&words(&lines).group_by(["word"]).count(), "counts", OutputMode::Complete);
        let mut peer = accepted.join().unwrap();
        peer.write_all("to be or\nnot to be\nthat is 问题".as_bytes()).unwrap();
        drop(peer);
        query.await_termination().unwrap();
        assert!(!query.is_active());
        assert_eq!(query.status().message, "Ended: the sources have nothing more to give");
        let expected = ["be|2", "is|1", "not|1", "or|1", "that|1", "to|2", "问题|1"];
        assert_eq!(sorted(&session.table("counts")), expected, "parallelism {parallelism}");
    }
}

#[test]
fn progress_tells_how_long_lines_took_from_the_socket_to_the_sink() {
    let (port, accepted) = listen();
    let session = session(2);
    let lines = session.read_stream().format("socket").option("host", "127.0.0.1").option("port", port).load();
    let counts = words(&lines).group_by(["word"]).count();
    let writer = counts.write_stream().format("memory").query_name("counts").output_mode(OutputMode::Update);
    let query = writer.trigger(Trigger::continuous("1 hour")).start().unwrap();
    let mut peer = accepted.join().unwrap();
    peer.write_all(b"to be or\nnot to be\n").unwrap();
    drop(peer);
    query.await_termination().unwrap();
    let progress = query.recent_progress();
    let measured: Vec<_> = progress.iter().filter_map(|progress| progress.latency_ms).collect();
    let last = measured.last().unwrap();
    assert!(last.min <= last.p50 && last.p50 <= last.p99 && last.p99 <= last.max, "{last:?}");
    assert!(progress.iter().any(|progress| progress.json().contains("\"latencyMs\":{\"rows\":")), "{progress:?}");
    // A source that does not know when its rows came is not measured.
    let memory = text_stream(&session);
    let query = into_memory(&words(&memory.to_df()).group_by("word").count(), "others", OutputMode::Update);
    memory.add_rows([strings(&["a b"])]).unwrap();
    query.process_all_available().unwrap();
    assert!(query.last_progress().unwrap().latency_ms.is_none());
    query.stop().unwrap();
}

#[test]
fn complete_mode_shows_the_whole_table_after_each_line() {
    let session = session(2);
    let lines = text_stream(&session);
    let query = into_memory(&words(&lines.to_df()).group_by("word").count(), "counts", OutputMode::Complete);
    lines.add_rows([strings(&["a b", "a"])]).unwrap();
    query.process_all_available().unwrap();
    assert_eq!(sorted(&session.table("counts")), ["a|2", "b|1"]);
    lines.add_rows([strings(&["c a"])]).unwrap();
    query.process_all_available().unwrap();
    assert_eq!(sorted(&session.table("counts")), ["a|3", "b|1", "c|1"]);
    query.stop().unwrap();
}

#[test]
fn update_mode_shows_the_words_touched_by_each_line() {
    let session = session(2);
    let lines = text_stream(&session);
    let query = into_memory(&words(&lines.to_df()).group_by("word").count(), "counts", OutputMode::Update);
    for line in ["a b", "a", "c a"] {
        lines.add_rows([strings(&[line])]).unwrap();
        query.process_all_available().unwrap();
    }
    assert_eq!(sorted(&session.table("counts")), ["a|1", "a|2", "a|3", "b|1", "c|1"]);
    query.stop().unwrap();
}

#[test]
fn append_mode_passes_rows_without_aggregation_once() {
    let session = session(2);
    let lines = text_stream(&session);
    let long = words(&lines.to_df()).filter("length(word) > 1");
    let query = into_memory(&long, "long", OutputMode::Append);
    lines.add_rows([strings(&["a bb", "ccc"])]).unwrap();
    lines.add_rows([strings(&["d ee"])]).unwrap();
    query.process_all_available().unwrap();
    assert_eq!(sorted(&session.table("long")), ["bb", "ccc", "ee"]);
    query.stop().unwrap();
}

#[test]
fn a_global_aggregation_shows_one_row_from_the_first_epoch_on() {
    let session = session(2);
    let lines = text_stream(&session);
    let counted = lines.to_df().filter("value = 'x'").agg((count_all().alias("n"), max("value").alias("top")));
    let query = into_memory(&counted, "totals", OutputMode::Complete);
    lines.add_rows([strings(&["y"])]).unwrap();
    query.process_all_available().unwrap();
    assert_eq!(sorted(&session.table("totals")), ["0|NULL"]);
    lines.add_rows([strings(&["x", "x"])]).unwrap();
    query.process_all_available().unwrap();
    assert_eq!(sorted(&session.table("totals")), ["2|x"]);
    query.stop().unwrap();
}
