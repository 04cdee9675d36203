//! Example programs as real processes: what a user at a terminal sees.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![cfg(unix)]

mod kills;
mod trouble;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// An example that `cargo test` has built.
fn example(name: &str) -> Command {
    let tests = std::env::current_exe().unwrap();
    let directory: PathBuf = tests.parent().and_then(|deps| deps.parent()).unwrap().join("examples");
    Command::new(directory.join(name))
}

fn signal(child: &Child, name: &str) {
    let status = Command::new("kill").arg(format!("-{name}")).arg(child.id().to_string()).status().unwrap();
    assert!(status.success());
}

/// Starts the word count on a socket of this test, feeds it a line and reads until the line is counted.
fn counting() -> (Child, std::net::TcpStream, BufReader<std::process::ChildStdout>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let mut child =
        example("word_count").args(["--port", &port, "--host", "127.0.0.1"]).stdout(Stdio::piped()).spawn().unwrap();
    let (mut peer, _) = listener.accept().unwrap();
    peer.write_all(b"hello mill hello\n").unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("|hello|    2|") {
        line.clear();
        assert!(output.read_line(&mut line).unwrap() > 0, "the program ended before it counted");
    }
    (child, peer, output)
}

#[test]
fn interrupts_and_termination_end_a_waiting_program_cleanly() {
    for name in ["INT", "TERM"] {
        let (mut child, _peer, mut output) = counting();
        signal(&child, name);
        let mut rest = String::new();
        output.read_to_string(&mut rest).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0), "SIG{name}");
    }
}

#[test]
fn a_program_ends_by_itself_when_its_peer_closes() {
    let (mut child, mut peer, mut output) = counting();
    peer.write_all(b"again").unwrap();
    drop(peer);
    let mut rest = String::new();
    output.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("|again|    1|"), "the last line counts although it has no end: {rest}");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_closed_port_is_an_error_a_person_can_act_on() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let output = example("word_count").args(["--port", &port, "--host", "127.0.0.1"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains(&port) && said.contains("nc -lk") && said.contains("examples/word_count.rs:"), "{said}");
    assert!(!said.contains("panicked"), "{said}");
}
