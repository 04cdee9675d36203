use std::io::Write;
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};

use arrow::array::cast::AsArray;
use arrow::datatypes::TimestampMicrosecondType;

use super::*;
use crate::clock::ManualClock;

/// A peer, the source connected to it, and the source's word that it has news.
struct Line {
    peer: TcpStream,
    source: SocketSource,
    news: Receiver<()>,
}

fn options(port: u16) -> Options {
    let mut options = Options::new();
    options.set("host", "127.0.0.1");
    options.set("port", port);
    options
}

fn connected(options: impl FnOnce(&mut Options)) -> Line {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut all = self::options(listener.local_addr().unwrap().port());
    options(&mut all);
    let clock = Arc::new(ManualClock::starting_at_millis(5));
    let factory = SocketFactory::new(&all, clock).unwrap();
    let mut source = SocketSource::new(&factory, None).unwrap();
    let (wake, news) = channel();
    let wake = Mutex::new(wake);
    source.subscribe(SourceWaker::new(move || lock(&wake).send(()).unwrap_or_default()));
    assert_eq!(source.initial().unwrap(), Offset::from(-1));
    Line { peer: listener.accept().unwrap().0, source, news }
}

impl Line {
    /// Waits until the source can go to line `to`.
    fn wait_for(&mut self, from: i64, to: i64) {
        while self.source.latest(&from.into(), ReadLimit::Options).unwrap() != Offset::from(to) {
            self.news.recv().unwrap();
        }
    }

    fn wait_for_end(&mut self, from: i64) {
        while self.source.next_poll() != NextPoll::Ended {
            self.news.recv().unwrap();
            assert_eq!(self.source.latest(&from.into(), ReadLimit::Options).unwrap(), Offset::from(from));
        }
    }

    fn lines(&mut self, from: i64, to: i64) -> Vec<String> {
        let texts = |batch: RecordBatch| -> Vec<String> {
            batch.column(0).as_string_view().iter().map(|text| text.unwrap().to_string()).collect()
        };
        read(&mut self.source, from, to).into_iter().flat_map(texts).collect()
    }
}

fn read(source: &mut SocketSource, from: i64, to: i64) -> Vec<RecordBatch> {
    let mut batches = Vec::new();
    for mut reader in source.plan(&from.into(), &to.into(), 2).unwrap() {
        while let Some(batch) = reader.next().unwrap() {
            batches.push(batch);
        }
    }
    batches
}

#[test]
fn lines_are_delivered_once_by_ranges_of_their_numbers() {
    let mut line = connected(|_| {});
    line.peer.write_all(b"one\ntwo\r\nth").unwrap();
    line.wait_for(-1, 1);
    assert_eq!(line.lines(-1, 1), ["one", "two"]);
    assert_eq!(line.lines(0, 1), ["two"]);
    line.source.commit(&1.into()).unwrap();

    line.peer.write_all(b"ree\n\n").unwrap();
    line.wait_for(1, 3);
    assert_eq!(line.lines(1, 3), ["three", ""]);
    assert_eq!(line.lines(1, 1), Vec::<String>::new());
    let gone = line.source.plan(&0.into(), &3.into(), 1).map(|_| ()).unwrap_err();
    assert!(gone.message().contains("lines 1 to 3"), "{gone}");
    assert!(!line.source.replays());
}

#[test]
fn the_stream_ends_after_a_last_line_without_a_line_end() {
    let mut line = connected(|_| {});
    line.peer.write_all(b"a\nb").unwrap();
    line.peer.shutdown(Shutdown::Both).unwrap();
    line.wait_for(-1, 1);
    assert_eq!(line.lines(-1, 1), ["a", "b"]);
    line.wait_for_end(1);
}

#[test]
fn invalid_utf8_is_replaced_and_counted_by_lines() {
    let mut line = connected(|_| {});
    line.peer.write_all(b"g\xFFod\nfine\n\xC3\n\xFE\xFE\n").unwrap();
    line.wait_for(-1, 3);
    assert_eq!(line.lines(-1, 3), ["g\u{FFFD}od", "fine", "\u{FFFD}", "\u{FFFD}\u{FFFD}"]);
    assert_eq!(line.source.metrics()["invalidUtf8Lines"], 3);
}

#[test]
fn a_timestamp_column_has_the_time_the_line_was_read() {
    let mut line = connected(|options| options.set("includeTimestamp", true));
    line.peer.write_all(b"a\n").unwrap();
    line.wait_for(-1, 0);
    let batches = read(&mut line.source, -1, 0);
    assert_eq!(batches[0].schema(), line.source.schema());
    assert_eq!(batches[0].column(1).as_primitive::<TimestampMicrosecondType>().value(0), 5_000);
}

#[test]
fn only_the_projected_columns_are_read() {
    let mut all = options(1);
    all.set("includeTimestamp", true);
    let factory = SocketFactory::new(&all, Arc::new(ManualClock::default())).unwrap();
    let source = factory.open(Some(&[1])).unwrap();
    assert_eq!(source.schema().fields().len(), 1);
    assert_eq!(source.schema().field(0).name(), "timestamp");
}

#[test]
fn reading_pauses_while_too_much_is_uncommitted_and_goes_on_after_a_commit() {
    let mut line = connected(|_| {});
    let mut peer = line.peer.try_clone().unwrap();
    let text = format!("{}\n", "x".repeat(1023));
    let count = 64 * 1024;
    let writer = thread::spawn(move || (0..count).for_each(|_| peer.write_all(text.as_bytes()).unwrap()));
    let mut from = -1;
    while from < count - 1 {
        let to: i64 = parse_offset(&line.source.latest(&from.into(), ReadLimit::Options).unwrap(), "socket").unwrap();
        let waiting = lock(&line.source.shared.inbox).bytes;
        assert!(waiting <= MAX_WAITING_BYTES + 2 * BLOCK_BYTES, "{waiting}");
        if to == from {
            line.news.recv().unwrap();
            continue;
        }
        // Commits late, so that the limit is reached.
        let is_full = waiting > MAX_WAITING_BYTES || to == count - 1;
        if is_full {
            line.source.commit(&to.into()).unwrap();
            from = to;
        } else {
            line.news.recv().unwrap();
        }
    }
    writer.join().unwrap();
    assert_eq!(lock(&line.source.shared.inbox).bytes, 0);
}

#[test]
fn dropping_the_source_ends_its_thread() {
    let mut line = connected(|_| {});
    let (stream, thread) = line.source.connection.take().unwrap();
    line.source.connection = Some((stream, thread::spawn(|| {})));
    drop(line.source);
    thread.join().unwrap();
}

#[test]
fn a_refused_connection_names_the_address_and_the_remedy() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let factory = SocketFactory::new(&options(port), Arc::new(ManualClock::default())).unwrap();
    let error = factory.open(None).unwrap().initial().unwrap_err();
    assert_eq!(error.kind(), crate::error::ErrorKind::Connector);
    assert!(error.message().contains(&format!("127.0.0.1:{port}")), "{error}");
    assert!(error.message().contains(&format!("`nc -lk {port}`")), "{error}");
}

#[test]
fn a_broken_connection_is_an_error_once_its_lines_are_delivered() {
    let mut line = connected(|_| {});
    line.peer.write_all(b"a\n").unwrap();
    line.wait_for(-1, 0);
    line.source.shared.change(|inbox| inbox.end = Some(End::Failed(Error::connector("reset"))));
    assert_eq!(line.source.latest(&Offset::from(-1), ReadLimit::Options).unwrap(), Offset::from(0));
    assert_eq!(line.source.latest(&0.into(), ReadLimit::Options).unwrap_err().message(), "reset");
}

#[test]
fn a_restarted_query_counts_on_and_reports_the_lines_it_lost() {
    let mut line = connected(|_| {});
    assert!(line.source.plan(&4.into(), &9.into(), 1).unwrap().is_empty());
    line.source.commit(&9.into()).unwrap();
    assert_eq!(line.source.metrics()["lostLines"], 5);
    line.peer.write_all(b"next\n").unwrap();
    line.wait_for(9, 10);
    assert_eq!(line.lines(9, 10), ["next"]);
}

#[test]
fn planned_ranges_of_an_earlier_run_are_passed_over_also_when_new_lines_are_there_first() {
    let mut line = connected(|_| {});
    line.peer.write_all(b"new\n").unwrap();
    line.peer.write_all(b"newer\n").unwrap();
    line.peer.shutdown(Shutdown::Write).unwrap();
    while lock(&line.source.shared.inbox).read < 2 {
        line.news.recv().unwrap();
    }
    // The end is fixed at the committed offset, before the planned ranges run again.
    line.source.fix_end(&4.into()).unwrap();
    for (from, to) in [(4, 6), (6, 9)] {
        assert!(line.source.plan(&from.into(), &to.into(), 2).unwrap().is_empty());
        line.source.commit(&to.into()).unwrap();
    }
    assert_eq!(line.source.metrics()["lostLines"], 5);
    line.wait_for(9, 11);
    assert_eq!(line.lines(9, 11), ["new", "newer"]);
    line.source.commit(&11.into()).unwrap();
    line.wait_for_end(11);
}

#[test]
fn a_fixed_end_is_never_passed() {
    let mut line = connected(|_| {});
    line.peer.write_all(b"a\n").unwrap();
    line.wait_for(-1, 0);
    line.source.fix_end(&Offset::from(-1)).unwrap();
    line.peer.write_all(b"b\n").unwrap();
    while lock(&line.source.shared.inbox).read < 2 {
        line.news.recv().unwrap();
    }
    assert_eq!(line.source.latest(&Offset::from(-1), ReadLimit::Options).unwrap(), Offset::from(0));
}

#[test]
fn host_and_port_must_be_there() {
    let mut options = Options::new();
    options.set("host", "localhost");
    let error = SocketFactory::new(&options, Arc::new(ManualClock::default())).unwrap_err();
    assert!(error.message().contains("needs the option `port`"), "{error}");
    options.set("port", "99999");
    let error = SocketFactory::new(&options, Arc::new(ManualClock::default())).unwrap_err();
    assert!(error.message().contains("1 to 65535"), "{error}");
}
