//! Counts words of lines that arrive on a socket, and prints the running table at every trigger.
//!
//! Run:    cargo run --example word_count
//!         (feeds itself the lines of `assets/lines/rivers.txt` over a local socket and ends)
//! Live:   nc -lk 9999    in one terminal, then
//!         cargo run --example word_count -- --host localhost --port 9999    in another; Ctrl-C ends it
//! Prints: the words and how often each was seen, as tables headed `Batch: n`

use std::io::Write;
use std::net::TcpListener;

use millstream::prelude::*;

fn main() -> Result<()> {
    env_logger::init();
    let (host, port) = address_from_arguments().unwrap_or_else(embedded_feeder);

    let session = Session::builder().app_name("word-count").build()?;
    let lines = session.read_stream().format("socket").option("host", host).option("port", port).load();
    let words = lines.select([explode(split(col("value"), " ")).alias("word")]);
    let counts = words.group_by(["word"]).count().sort([col("count").desc(), col("word").asc()]);

    let query = counts
        .write_stream()
        .format("console")
        .option("numRows", 50)
        .output_mode(OutputMode::Complete)
        .query_name("word-count")
        .start()?;
    query.await_termination()
}

/// `--host H --port P`, if given.
fn address_from_arguments() -> Option<(String, u16)> {
    let arguments: Vec<String> = std::env::args().collect();
    let value = |name: &str| arguments.iter().skip_while(|argument| *argument != name).nth(1).cloned();
    let port = value("--port")?.parse().expect("--port is a number");
    Some((value("--host").unwrap_or_else(|| "localhost".to_string()), port))
}

/// Serves the embedded lines once on a local port and closes, which ends the stream.
fn embedded_feeder() -> (String, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free local port");
    let port = listener.local_addr().expect("the port just bound").port();
    std::thread::spawn(move || {
        let (mut peer, _) = listener.accept()?;
        peer.write_all(include_bytes!("../assets/lines/rivers.txt"))
    });
    ("127.0.0.1".to_string(), port)
}
