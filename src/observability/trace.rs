//! The log of the actors: one line an event, in one grammar.
//!
//! Owns: the grammar, and which event has which level. Does not own: where lines go (the program's logger).
//!
//! ```text
//! line  = "query=" value " epoch=" (number | "-") " actor=" query/node[instance] " event=" word (" " key "=" value)*
//! value = as it is, or in quotes and escaped if it is empty or has spaces, quotes, "=" or control characters
//! ```
//!
//! | level   | events                                                     |
//! |---------|------------------------------------------------------------|
//! | `error` | a query failed                                             |
//! | `warn`  | an epoch stands still: who waits for whom; late rows       |
//! | `info`  | lifecycle, epochs, checkpoints, static tables read         |
//! | `debug` | watermarks, barriers, acknowledgements, snapshots, credits |
//! | `trace` | batches                                                    |
//!
//! Never the contents of rows. An event whose level is off costs one comparison.

use std::fmt;

use log::Level;

use super::watermark::WatermarkStatus;
use crate::checkpoint::{CommitRecord, Compacted, StateFile};
use crate::error::Error;
use crate::protocol::credit::Grant;
use crate::protocol::{BarrierKind, Epoch, Message};
use crate::task::EpochAck;

/// The target of all lines: `RUST_LOG=millstream::actor=debug`.
pub const TARGET: &str = "millstream::actor";

/// Which actor speaks. `Display`: `word-count/count[1]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ActorPath {
    /// The name of the query.
    pub query: String,
    /// The name of the node in the topology, or of a part of the query's machinery.
    pub node: String,
    /// Which of the node's instances, from 0.
    pub instance: usize,
}

impl ActorPath {
    /// The path of an instance of a node.
    pub fn new(query: &str, node: &str, instance: usize) -> Self {
        Self { query: query.to_string(), node: node.to_string(), instance }
    }
}

impl fmt::Display for ActorPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}[{}]", self.query, self.node, self.instance)
    }
}

/// A static table as it was read.
#[derive(Debug)]
pub(crate) struct LoadedTable<'a> {
    /// The node that reads it.
    pub(crate) node: &'a str,
    /// What it is called.
    pub(crate) table: &'a str,
    /// The rows that can be found in it.
    pub(crate) rows: usize,
    /// Memory held, in bytes.
    pub(crate) bytes: usize,
    /// How long reading and indexing took, in milliseconds.
    pub(crate) millis: i64,
}

/// A key and its value.
type Fact<'a> = (&'static str, &'a dyn fmt::Display);

/// An actor started or stopped, or something else happened once in its life.
pub(crate) fn lifecycle(path: &ActorPath, event: &str) {
    write(Level::Info, path, None, event, &[]);
}

/// An epoch or its checkpoint came to another step.
pub(crate) fn epoch(path: &ActorPath, epoch: Epoch, event: &str) {
    write(Level::Info, path, Some(epoch), event, &[]);
}

/// A static table was read, before the query's first epoch or, because it had changed, before another.
pub(crate) fn static_table_loaded(path: &ActorPath, epoch: Option<Epoch>, table: &LoadedTable<'_>) {
    let LoadedTable { node, table, rows, bytes, millis } = table;
    let facts: [Fact<'_>; 5] = [("node", node), ("table", table), ("rows", rows), ("bytes", bytes), ("ms", millis)];
    write(Level::Info, path, epoch, "static_table_loaded", &facts);
}

/// How much state came back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct RestoredState {
    pub(crate) files: u64,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
}

/// A run goes on where the commit `last` left off.
pub(crate) fn restored(path: &ActorPath, last: &CommitRecord, state: &RestoredState, generation: u64, millis: i64) {
    let facts: [Fact<'_>; 6] = [
        ("commit", &last.number),
        ("run", &generation),
        ("state_rows", &state.rows),
        ("files", &state.files),
        ("bytes", &state.bytes),
        ("ms", &millis),
    ];
    write(Level::Info, path, Some(last.epoch), "checkpoint_restored", &facts);
}

/// Files of an operator's state became fewer.
pub(crate) fn compacted(path: &ActorPath, operator: &str, compacted: &Compacted) {
    let bytes = |files: &[StateFile]| files.iter().map(|file| file.bytes).sum::<u64>();
    let (files, before, after) = (compacted.replaced.len(), bytes(&compacted.replaced), bytes(&compacted.result));
    let facts: [Fact<'_>; 4] =
        [("operator", &operator), ("files", &files), ("bytes_before", &before), ("bytes_after", &after)];
    write(Level::Debug, path, None, "state_compacted", &facts);
}

/// The query failed in this epoch.
pub(crate) fn failed(path: &ActorPath, epoch: Epoch, error: &Error) {
    let kind = format!("{:?}", error.kind());
    write(Level::Error, path, Some(epoch), "query_failed", &[("kind", &kind), ("error", error)]);
}

/// The epoch stands still; `story` says who waits for whom.
pub(crate) fn stalled(path: &ActorPath, epoch: Epoch, story: &str) {
    write(Level::Warn, path, Some(epoch), "stalled", &[("waits", &story)]);
}

/// Where the watermark stands after an epoch, and which node holds it there.
pub(crate) fn watermark(path: &ActorPath, epoch: Epoch, status: &WatermarkStatus) {
    let holder = status.nodes.iter().find(|node| node.decides).map_or("none", |node| &node.name);
    let facts: [Fact<'_>; 2] = [("watermark_ms", &status.watermark_ms), ("held_by", &holder)];
    write(Level::Debug, path, Some(epoch), "watermark_held", &facts);
}

/// Rows came too late.
pub(crate) fn late_rows(path: &ActorPath, epoch: Epoch, story: &str) {
    write(Level::Warn, path, Some(epoch), "late_rows", &[("story", &story)]);
}

/// The query holds more than it may.
pub(crate) fn memory(path: &ActorPath, epoch: Epoch, story: &str) {
    write(Level::Warn, path, Some(epoch), "over_memory_limit", &[("story", &story)]);
}

/// A task said that its part of an epoch is done.
pub(crate) fn acked(path: &ActorPath, ack: &EpochAck) {
    if !log::log_enabled!(target: TARGET, Level::Debug) {
        return;
    }
    let report = &ack.report;
    let dropped: u64 = report.dropped.iter().map(|(_, count)| count).sum();
    let facts: [Fact<'_>; 3] = [("rows_in", &report.rows_in), ("rows_out", &report.rows_out), ("dropped", &dropped)];
    write(Level::Debug, path, Some(ack.epoch), "epoch_acked", &facts);
    if let Some(snapshot) = &ack.snapshot {
        let rows: usize = snapshot.delta.changed.iter().map(|(rows, _)| rows.num_rows()).sum();
        write(Level::Debug, path, Some(ack.epoch), "snapshot_taken", &[("rows", &rows)]);
    }
}

/// A task sent a message of the stream to the task whose path is `to`.
pub(crate) fn sent(path: &ActorPath, to: &str, message: &Message) {
    let to: Fact<'_> = ("to", &to);
    match message {
        Message::Watermark(time) => {
            let (late, evict) = (time.here.map_or(0, |here| here.late_ms), time.here.map_or(0, |here| here.evict_ms));
            let facts: [Fact<'_>; 3] = [("watermark_ms", &evict), ("late_ms", &late), to];
            // Where no watermark node lies above, there is none to speak of.
            let facts = if time.here.is_some() { &facts[..] } else { &facts[2..] };
            write(Level::Debug, path, None, "watermark_sent", facts);
        }
        Message::Batch(batch) => {
            if log::log_enabled!(target: TARGET, Level::Trace) {
                let facts = [("rows", &batch.rows() as _), ("bytes", &batch.bytes() as _), to];
                write(Level::Trace, path, None, "batch_sent", &facts);
            }
        }
        Message::Barrier(barrier) => {
            let kind = match barrier.kind {
                BarrierKind::Light => "light",
                BarrierKind::Durable => "durable",
            };
            write(Level::Debug, path, Some(barrier.epoch), "barrier_sent", &[("kind", &kind as _), to]);
        }
        Message::End => write(Level::Debug, path, None, "end_sent", &[to]),
    }
}

/// A task gave credit back to a sender.
pub(crate) fn granted(path: &ActorPath, to: &str, grant: Grant) {
    let facts: [Fact<'_>; 3] = [("batches", &grant.batches), ("bytes", &grant.bytes), ("to", &to)];
    write(Level::Debug, path, None, "credit_granted", &facts);
}

fn write(level: Level, path: &ActorPath, epoch: Option<Epoch>, event: &str, facts: &[Fact<'_>]) {
    if log::log_enabled!(target: TARGET, level) {
        log::log!(target: TARGET, level, "{}", Line { path, epoch, event, facts });
    }
}

/// A line of the log.
struct Line<'a> {
    path: &'a ActorPath,
    epoch: Option<Epoch>,
    event: &'a str,
    facts: &'a [Fact<'a>],
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "query={}", Value(&self.path.query))?;
        match self.epoch {
            Some(epoch) => write!(f, " epoch={epoch}")?,
            None => f.write_str(" epoch=-")?,
        }
        write!(f, " actor={} event={}", Value(self.path), Value(&self.event))?;
        self.facts.iter().try_for_each(|(key, value)| write!(f, " {key}={}", Value(*value)))
    }
}

/// A value, quoted if it would break the line apart.
struct Value<'a>(&'a dyn fmt::Display);

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        let breaks = |letter: char| letter.is_whitespace() || letter.is_control() || matches!(letter, '"' | '=');
        if text.is_empty() || text.contains(breaks) { write!(f, "{text:?}") } else { f.write_str(&text) }
    }
}

/// Lets a repeated warning through once in a while, with the number of those held back in between.
#[derive(Debug, Clone)]
pub struct RateLimited {
    every_micros: i64,
    last_micros: Option<i64>,
    suppressed: u64,
}

impl RateLimited {
    /// At most one warning in so many microseconds.
    pub fn new(every_micros: i64) -> Self {
        Self { every_micros, last_micros: None, suppressed: 0 }
    }

    /// Whether to log now, at `now_micros` since 1970-01-01T00:00:00Z; the answer is how many were held back since the
    /// last.
    pub fn should_log(&mut self, now_micros: i64) -> Option<u64> {
        if self.last_micros.is_some_and(|last| now_micros.saturating_sub(last) < self.every_micros) {
            self.suppressed += 1;
            return None;
        }
        self.last_micros = Some(now_micros);
        Some(std::mem::take(&mut self.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(epoch: Option<Epoch>, event: &str, facts: &[Fact<'_>]) -> String {
        Line { path: &ActorPath::new("word-count", "count", 1), epoch, event, facts }.to_string()
    }

    #[test]
    fn a_line_names_query_epoch_actor_and_event_then_facts() {
        assert_eq!(
            line(Some(3), "barrier_sent", &[("kind", &"durable"), ("channel", &2)]),
            "query=word-count epoch=3 actor=word-count/count[1] event=barrier_sent kind=durable channel=2"
        );
        assert_eq!(line(None, "started", &[]), "query=word-count epoch=- actor=word-count/count[1] event=started");
    }

    #[test]
    fn a_value_that_would_break_the_line_is_quoted() {
        let facts: [Fact<'_>; 4] = [("a", &"no column `x`"), ("b", &"1=\"2\"\n3"), ("c", &""), ("d", &"é/x[1]")];
        let line = line(None, "failed", &facts);
        assert!(line.ends_with(r#" a="no column `x`" b="1=\"2\"\n3" c="" d=é/x[1]"#), "{line}");
    }

    #[test]
    fn names_with_spaces_are_quoted_too() {
        let path = ActorPath::new("my query", "count", 0);
        let line = Line { path: &path, epoch: None, event: "started", facts: &[] }.to_string();
        assert_eq!(line, r#"query="my query" epoch=- actor="my query/count[0]" event=started"#);
    }

    #[test]
    fn a_repeated_warning_comes_once_in_a_while_with_a_count() {
        let mut limited = RateLimited::new(10);
        let answers = [0, 1, 9, 10, 11, 30].map(|now| limited.should_log(now));
        assert_eq!(answers, [Some(0), None, None, Some(2), None, Some(1)]);
    }
}
