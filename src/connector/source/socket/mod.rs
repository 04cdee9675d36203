//! Lines of text from a TCP connection.
//!
//! Owns: one connection a run and the thread that reads it. Does not own: keeping lines for a restart. What the peer
//! sent is kept until the epoch it belongs to ends and then gone, so lines in flight at a crash are lost.
//!
//! A run that continues numbers the lines of its own connection from where the earlier run ended. A range that the earlier
//! run planned and did not commit has no rows any more: it is read as empty, with a warning, and its lines are counted as
//! `lostLines`. So nothing comes twice, and the query goes on.
//!
//! The thread cuts what it reads into batches whose strings are views into the bytes read. It stops reading while
//! `MAX_WAITING_BYTES` wait for the end of their epoch, so a fast peer is slowed down by TCP instead of filling the memory.
//!
//! | | |
//! |---|---|
//! | columns | `value STRING`; with `includeTimestamp` also `timestamp TIMESTAMP`, when the line was read |
//! | offset  | the number of the last line, from 0; −1 before the first |
//! | line    | ends with `\n` or `\r\n`, or with the connection; invalid UTF-8 becomes U+FFFD and is counted |

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::io::{ErrorKind, Read};
use std::mem;
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use arrow::array::{ArrayRef, StringViewArray, TimestampMicrosecondArray, make_view};
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;

use super::{into_readers, parse_offset, project_batch, project_schema, regroup, timestamp_type};
use crate::clock::{Clock, lock};
use crate::connector::options::Options;
use crate::connector::{NextPoll, Offset, ReadLimit, Source, SourceFactory, SourceWaker, SplitReader};
use crate::error::{Error, Result};
use crate::observability::Arrival;
use crate::types::text_column;

/// The most bytes one read takes.
const BLOCK_BYTES: usize = 256 << 10;

/// Reading pauses while more than this waits for the end of its epoch.
const MAX_WAITING_BYTES: usize = 16 << 20;

/// A longer line fails the query: it is no text.
const MAX_LINE_BYTES: usize = 64 << 20;

/// Opens connections as the options say.
#[derive(Debug, Clone)]
pub struct SocketFactory {
    target: Target,
    clock: Arc<dyn Clock>,
}

#[derive(Debug, Clone)]
struct Target {
    host: String,
    port: u16,
    schema: SchemaRef,
}

impl SocketFactory {
    /// Reads the options `host`, `port` and `includeTimestamp`.
    ///
    /// # Errors
    /// When one is missing, bad or unknown.
    pub fn new(options: &Options, clock: Arc<dyn Clock>) -> Result<Self> {
        let what = "the socket source";
        let host = options.required("host", what)?.to_string();
        options.required("port", what)?;
        let port =
            options.parsed("port", "a port from 1 to 65535", |text| text.trim().parse().ok().filter(|n| *n > 0))?;
        let mut fields = vec![Field::new("value", DataType::Utf8View, true)];
        if options.flag("includeTimestamp", false)? {
            fields.push(Field::new("timestamp", timestamp_type(), true));
        }
        options.finish(what)?;
        let schema = Arc::new(Schema::new(fields));
        Ok(Self { target: Target { host, port: port.unwrap_or_default(), schema }, clock })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TextSocketSource[host: {}, port: {}]", self.host, self.port)
    }
}

impl SourceFactory for SocketFactory {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.target.schema)
    }

    fn description(&self) -> String {
        self.target.to_string()
    }

    fn open(&self, projection: Option<&[usize]>) -> Result<Box<dyn Source>> {
        Ok(Box::new(SocketSource::new(self, projection)?))
    }
}

/// What the reading thread leaves for the source.
#[derive(Default)]
struct Inbox {
    lines: VecDeque<Lines>,
    /// How many lines were read so far.
    read: i64,
    /// The bytes of `lines`.
    bytes: usize,
    end: Option<End>,
    invalid_lines: u64,
    is_closed: bool,
    waker: Option<SourceWaker>,
}

/// Lines that were read together.
struct Lines {
    /// How many lines were read before these.
    first: i64,
    rows: RecordBatch,
    bytes: usize,
    /// When they were read.
    read_micros: i64,
}

enum End {
    /// The peer closed the connection.
    Closed,
    Failed(Error),
}

#[derive(Default)]
struct Shared {
    inbox: Mutex<Inbox>,
    has_room: Condvar,
}

impl Shared {
    /// Waits until more may be read; false when nobody wants it any more.
    fn wait_for_room(&self) -> bool {
        let is_full = |inbox: &mut Inbox| inbox.bytes > MAX_WAITING_BYTES && !inbox.is_closed;
        let inbox = self.has_room.wait_while(lock(&self.inbox), is_full).unwrap_or_else(PoisonError::into_inner);
        !inbox.is_closed
    }

    /// Changes what is there, then tells the query.
    fn change(&self, change: impl FnOnce(&mut Inbox)) {
        let waker = {
            let mut inbox = lock(&self.inbox);
            change(&mut inbox);
            inbox.waker.clone()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn append(&self, rows: RecordBatch, bytes: usize, invalid_lines: u64, read_micros: i64) {
        let count = i64::try_from(rows.num_rows()).unwrap_or(i64::MAX);
        self.change(|inbox| {
            inbox.lines.push_back(Lines { first: inbox.read, rows, bytes, read_micros });
            inbox.read += count;
            inbox.bytes += bytes;
            inbox.invalid_lines += invalid_lines;
        });
    }

    /// What `look` says of all lines that were read together and of which some are in `from..to`.
    fn lines_of<T>(&self, from: i64, to: i64, look: impl Fn(&Lines, i64, i64) -> T) -> Vec<T> {
        let inbox = lock(&self.inbox);
        let first = inbox.lines.partition_point(|lines| lines.end() <= from);
        inbox.lines.range(first..).take_while(|lines| lines.first < to).map(|lines| look(lines, from, to)).collect()
    }

    /// The number of the line before which about `most` bytes follow line `from`: at least all that was read together with it.
    fn line_within(&self, from: i64, most: u64) -> i64 {
        let inbox = lock(&self.inbox);
        let first = inbox.lines.partition_point(|lines| lines.end() <= from);
        let mut bytes = 0;
        let mut lines = inbox.lines.range(first..);
        let full = lines.find(|lines| {
            bytes += lines.bytes as u64;
            bytes >= most
        });
        full.map_or(inbox.read, Lines::end)
    }

    /// Forgets the lines before number `line`.
    fn forget_before(&self, line: i64) {
        let mut inbox = lock(&self.inbox);
        while inbox.lines.front().is_some_and(|lines| lines.end() <= line) {
            inbox.bytes -= inbox.lines.pop_front().map_or(0, |lines| lines.bytes);
        }
        drop(inbox);
        self.has_room.notify_all();
    }

    fn close(&self) {
        lock(&self.inbox).is_closed = true;
        self.has_room.notify_all();
    }
}

impl Lines {
    fn end(&self) -> i64 {
        self.first + i64::try_from(self.rows.num_rows()).unwrap_or(i64::MAX)
    }

    /// The rows whose numbers are in `from..to`, if any.
    fn within(&self, from: i64, to: i64) -> Option<RecordBatch> {
        let (start, end) = (from.max(self.first), to.min(self.end()));
        let skip = usize::try_from(start - self.first).ok()?;
        let rows = usize::try_from(end - start).ok().filter(|rows| *rows > 0)?;
        Some(self.rows.slice(skip, rows))
    }
}

/// One run's connection.
struct SocketSource {
    target: Target,
    projection: Option<Vec<usize>>,
    schema: SchemaRef,
    clock: Arc<dyn Clock>,
    shared: Arc<Shared>,
    connection: Option<(TcpStream, JoinHandle<()>)>,
    /// The offset of this connection's first line; known once the query said where it continues.
    base: Option<i64>,
    /// The last offset handed out.
    delivered: i64,
    /// The offsets that this run's ranges may end at and that are not committed yet.
    handed_out: BTreeSet<i64>,
    /// Whether a range of this connection's lines was planned.
    has_planned: bool,
    fixed_end: Option<i64>,
    lost_lines: u64,
}

impl SocketSource {
    fn new(factory: &SocketFactory, projection: Option<&[usize]>) -> Result<Self> {
        Ok(Self {
            target: factory.target.clone(),
            projection: projection.map(<[usize]>::to_vec),
            schema: project_schema(&factory.target.schema, projection)?,
            clock: Arc::clone(&factory.clock),
            shared: Arc::default(),
            connection: None,
            base: None,
            delivered: -1,
            handed_out: BTreeSet::new(),
            has_planned: false,
            fixed_end: None,
            lost_lines: 0,
        })
    }

    /// Connects and starts the reading thread, once.
    fn connect(&mut self) -> Result<()> {
        if self.connection.is_some() {
            return Ok(());
        }
        let stream = self.open_stream()?;
        let own = stream.try_clone().map_err(|error| self.failed("keep the connection to", error))?;
        let reader = LineReader {
            stream: own,
            target: self.target.clone(),
            clock: Arc::clone(&self.clock),
            shared: Arc::clone(&self.shared),
            carry: Vec::new(),
        };
        let name = format!("socket {}:{}", self.target.host, self.target.port);
        let thread = thread::Builder::new().name(name).spawn(move || reader.run());
        let thread = thread.map_err(|error| self.failed("start a thread for", error))?;
        self.connection = Some((stream, thread));
        Ok(())
    }

    fn open_stream(&self) -> Result<TcpStream> {
        let Target { host, port, .. } = &self.target;
        TcpStream::connect((host.as_str(), *port)).map_err(|error| {
            let remedy = match error.kind() {
                ErrorKind::ConnectionRefused => format!("; start `nc -lk {port}` first"),
                _ => String::new(),
            };
            let text = format!("the socket source cannot connect to {host}:{port}: {error}{remedy}");
            Error::connector(text).with_source(error)
        })
    }

    fn failed(&self, what: &str, error: std::io::Error) -> Error {
        let Target { host, port, .. } = &self.target;
        Error::connector(format!("the socket source cannot {what} {host}:{port}: {error}")).with_source(error)
    }

    /// The newest offset after `from`.
    fn newest(&mut self, from: i64) -> Result<i64> {
        self.connect()?;
        let base = *self.base.get_or_insert(from + 1);
        let inbox = lock(&self.shared.inbox);
        let read = base + inbox.read - 1;
        let newest = self.fixed_end.map_or(read, |end| read.min(end)).max(from);
        match &inbox.end {
            Some(End::Failed(error)) if newest == from && self.fixed_end.is_none() => Err(error.clone()),
            _ => Ok(newest),
        }
    }

    /// Passes over a range of an earlier run, whose lines went down with the connection they came by. The lines of this
    /// connection come after it.
    fn skip(&mut self, from: i64, to: i64) {
        let lost = to - from;
        log::warn!("{lost} lines of {} were not committed when an earlier run ended, and are lost", self.target);
        self.lost_lines += u64::try_from(lost).unwrap_or(0);
        let base = self.base.map_or(to + 1, |base| base.max(to + 1));
        let shift = self.base.map_or(0, |old| base - old);
        self.base = Some(base);
        self.fixed_end = self.fixed_end.map(|end| end + shift);
    }

    /// The lines of this connection that lie after `from` up to and including `to`.
    fn rows(&self, base: i64, from: i64, to: i64) -> Result<Vec<RecordBatch>> {
        let parts = self.shared.lines_of(from + 1 - base, to + 1 - base, Lines::within);
        let batches: Vec<RecordBatch> = parts.into_iter().flatten().collect();
        let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
        if i64::try_from(rows).ok() != Some(to - from) {
            let text = format!(
                "lines {} to {to} of {} are not there any more: a socket cannot be read again",
                from + 1,
                self.target
            );
            return Err(Error::connector(text));
        }
        batches.into_iter().map(|batch| project_batch(batch, self.projection.as_deref())).collect()
    }
}

impl Source for SocketSource {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn description(&self) -> String {
        self.target.to_string()
    }

    fn initial(&mut self) -> Result<Offset> {
        self.connect()?;
        Ok(Offset::from(-1))
    }

    fn latest(&mut self, from: &Offset, limit: ReadLimit) -> Result<Offset> {
        let from: i64 = parse_offset(from, "socket")?;
        if let Some(base) = self.base.filter(|_| self.has_planned) {
            // What earlier epochs read is in their hands, and nobody asks for it again.
            self.shared.forget_before(from + 1 - base);
        }
        let mut latest = self.newest(from)?;
        if let (ReadLimit::Bytes(bytes), Some(base)) = (limit, self.base) {
            latest = latest.min(base - 1 + self.shared.line_within(from + 1 - base, bytes)).max(from);
        }
        self.delivered = latest;
        if latest > from && !self.has_planned {
            self.handed_out.insert(latest);
        }
        Ok(Offset::from(latest))
    }

    fn plan(&mut self, from: &Offset, to: &Offset, parallelism: usize) -> Result<Vec<Box<dyn SplitReader>>> {
        let (from, to): (i64, i64) = (parse_offset(from, "socket")?, parse_offset(to, "socket")?);
        if from == to {
            return Ok(Vec::new());
        }
        let Some(base) = self.base.filter(|_| self.has_planned || self.handed_out.contains(&to)) else {
            self.skip(from, to);
            return Ok(Vec::new());
        };
        self.has_planned = true;
        Ok(into_readers(regroup(self.rows(base, from, to)?)?, parallelism))
    }

    fn commit(&mut self, through: &Offset) -> Result<()> {
        let through: i64 = parse_offset(through, "socket")?;
        if let Some(base) = self.base {
            self.shared.forget_before(through + 1 - base);
        }
        self.handed_out = self.handed_out.split_off(&(through + 1));
        Ok(())
    }

    fn fix_end(&mut self, from: &Offset) -> Result<()> {
        let from: i64 = parse_offset(from, "socket")?;
        self.fixed_end = Some(self.newest(from)?);
        Ok(())
    }

    fn subscribe(&mut self, waker: SourceWaker) {
        lock(&self.shared.inbox).waker = Some(waker);
    }

    fn next_poll(&mut self) -> NextPoll {
        let inbox = lock(&self.shared.inbox);
        let is_through = self.base.is_some_and(|base| self.delivered >= base + inbox.read - 1);
        match inbox.end {
            Some(End::Closed) if is_through => NextPoll::Ended,
            _ => NextPoll::OnWake,
        }
    }

    fn replays(&self) -> bool {
        false
    }

    fn arrivals(&self, from: &Offset, to: &Offset) -> Vec<Arrival> {
        let (Ok(from), Ok(to)) = (parse_offset::<i64>(from, "socket"), parse_offset::<i64>(to, "socket")) else {
            return Vec::new();
        };
        let Some(base) = self.base else { return Vec::new() };
        self.shared.lines_of(from + 1 - base, to + 1 - base, |lines, from, to| Arrival {
            micros: lines.read_micros,
            rows: u64::try_from(to.min(lines.end()) - from.max(lines.first)).unwrap_or(0),
        })
    }

    fn never_blocks(&self) -> bool {
        true
    }

    fn metrics(&self) -> BTreeMap<String, u64> {
        let invalid_lines = lock(&self.shared.inbox).invalid_lines;
        BTreeMap::from([("invalidUtf8Lines".to_string(), invalid_lines), ("lostLines".to_string(), self.lost_lines)])
    }
}

/// Ends the reading thread, wherever it waits.
impl Drop for SocketSource {
    fn drop(&mut self) {
        self.shared.close();
        if let Some((stream, _)) = &self.connection {
            // An error means that the connection is gone already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// Reads one connection to its end, on a thread of its own.
struct LineReader {
    stream: TcpStream,
    target: Target,
    clock: Arc<dyn Clock>,
    shared: Arc<Shared>,
    /// The beginning of a line whose rest has not come.
    carry: Vec<u8>,
}

impl LineReader {
    fn run(mut self) {
        let end = match self.read_to_end() {
            Ok(()) => End::Closed,
            Err(error) => End::Failed(error),
        };
        self.shared.change(|inbox| inbox.end = Some(end));
    }

    fn read_to_end(&mut self) -> Result<()> {
        let mut block = vec![0; BLOCK_BYTES];
        while self.shared.wait_for_room() {
            match self.stream.read(&mut block) {
                Ok(0) if self.carry.is_empty() => break,
                Ok(0) => {
                    let last_line = mem::take(&mut self.carry);
                    self.append(last_line)?;
                    break;
                }
                Ok(bytes) => self.take(&block[..bytes])?,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    let text = format!("the connection of {} broke: {error}", self.target);
                    return Err(Error::connector(text).with_source(error));
                }
            }
        }
        Ok(())
    }

    /// Passes on whole lines and keeps the rest.
    fn take(&mut self, block: &[u8]) -> Result<()> {
        let lines_end = memchr::memrchr(b'\n', block).map_or(0, |end| end + 1);
        let (lines, rest) = block.split_at(lines_end);
        if !lines.is_empty() {
            let mut text = mem::take(&mut self.carry);
            text.extend_from_slice(lines);
            self.append(text)?;
        }
        self.carry.extend_from_slice(rest);
        if self.carry.len() > MAX_LINE_BYTES {
            let text = format!(
                "a line of {} is longer than {} MiB; does the peer send text?",
                self.target,
                MAX_LINE_BYTES >> 20
            );
            return Err(Error::data(text));
        }
        Ok(())
    }

    fn append(&mut self, text: Vec<u8>) -> Result<()> {
        let read_micros = self.clock.now_micros();
        let (text, invalid_lines) = into_utf8(text);
        let bytes = text.len();
        let lines = line_views(text)?;
        let mut columns: Vec<ArrayRef> = vec![Arc::new(lines)];
        if self.target.schema.fields().len() > 1 {
            let times = TimestampMicrosecondArray::from_value(read_micros, columns[0].len());
            columns.push(Arc::new(times.with_timezone("UTC")));
        }
        let rows = RecordBatch::try_new(Arc::clone(&self.target.schema), columns)?;
        let bytes = bytes + rows.num_rows() * size_of::<u128>();
        self.shared.append(rows, bytes, invalid_lines, read_micros);
        Ok(())
    }
}

/// Replaces what is no UTF-8 by U+FFFD; also answers the number of lines where that was needed.
fn into_utf8(bytes: Vec<u8>) -> (String, u64) {
    let bytes = match String::from_utf8(bytes) {
        Ok(text) => return (text, 0),
        Err(error) => error.into_bytes(),
    };
    let is_invalid = |line: &&[u8]| std::str::from_utf8(line).is_err();
    let invalid_lines = bytes.split(|byte| *byte == b'\n').filter(is_invalid).count();
    (String::from_utf8_lossy(&bytes).into_owned(), invalid_lines as u64)
}

/// The lines of `text` without their ends, as views into it.
#[expect(unsafe_code, reason = "the text was made UTF-8 when it was read")]
fn line_views(text: String) -> Result<StringViewArray> {
    let text = text.into_bytes();
    let ends = memchr::memchr_iter(b'\n', &text);
    let mut views: Vec<u128> = Vec::with_capacity(text.len() / 32 + 1);
    let mut start = 0;
    for end in ends {
        views.push(line_view(&text, start, end)?);
        start = end + 1;
    }
    if start < text.len() {
        views.push(line_view(&text, start, text.len())?);
    }
    // SAFETY: the text is UTF-8 and cut at line ends.
    unsafe { text_column(views, vec![Buffer::from_vec(text)], None) }
}

fn line_view(text: &[u8], start: usize, end: usize) -> Result<u128> {
    let line = &text[start..end];
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let offset = u32::try_from(start).map_err(|_| Error::internal("a block of lines is larger than 4 GiB"))?;
    Ok(make_view(line, 0, offset))
}

#[cfg(test)]
mod tests;
