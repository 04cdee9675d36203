//! Where a query's watermark stands, why, and what would move it.
//!
//! Owns: the words and the what-if lines. Does not own: the figures (`coordinator::WatermarkTracker`).

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::operator::EventTimes;
use crate::types::timestamp_text;

/// Where the watermark stands. `Display` tells it as a person would want to know it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WatermarkStatus {
    /// What the next epoch will run under, in milliseconds since 1970-01-01T00:00:00Z.
    pub watermark_ms: i64,
    /// Since when, in microseconds of processing time since 1970-01-01T00:00:00Z.
    pub since_micros: i64,
    /// The moment this was written down, in the same unit.
    pub now_micros: i64,
    /// Whether the highest node decides instead of the lowest.
    pub is_max_policy: bool,
    /// After how long without rows a node is left out, in milliseconds; `None` is never.
    pub idle_timeout_ms: Option<u64>,
    /// Each watermark node.
    pub nodes: Vec<WatermarkNodeStatus>,
}

/// One watermark node.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WatermarkNodeStatus {
    /// Its name in the topology.
    pub name: String,
    /// How far its watermark stays behind, in milliseconds.
    pub delay_ms: u64,
    /// The highest event time it saw, in milliseconds since 1970-01-01T00:00:00Z; `None` before the first row.
    pub max_event_time_ms: Option<i64>,
    /// What it allows the query's watermark to be, in the same unit.
    pub watermark_ms: i64,
    /// Whether it is left out because it had no rows for longer than the time-out.
    pub is_idle: bool,
    /// Whether the query's watermark is this node's: it holds the watermark.
    pub decides: bool,
    /// When it last saw a row, in microseconds of processing time.
    pub last_row_micros: i64,
    /// Rows with a time so far.
    pub rows: u64,
    /// Rows left out because their time was too far ahead of the clock.
    pub rows_ahead: u64,
    /// How many rows came how late: milliseconds behind the highest time known when they were judged, up to this bound, and a count.
    pub lateness: Vec<(i64, u64)>,
    /// For a few delays in milliseconds, the share of the rows that would have been late.
    pub what_if: Vec<(u64, f64)>,
}

/// Shares are shown for the node's own delay, for none, and for these multiples of its delay.
const FACTORS: [f64; 4] = [0.25, 0.5, 2.0, 4.0];

impl WatermarkNodeStatus {
    /// For `delay` and delays around it, the share of the rows in `times` that were at least that much behind.
    pub(crate) fn what_if(delay: Duration, times: &EventTimes) -> Vec<(u64, f64)> {
        if times.count == 0 {
            return Vec::new();
        }
        let own = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        let around = FACTORS.iter().map(|factor| delay.mul_f64(*factor)).map(|delay| delay.as_millis());
        let mut delays: Vec<u64> =
            around.map(|delay| u64::try_from(delay).unwrap_or(u64::MAX)).chain([0, own]).collect();
        delays.sort_unstable();
        delays.dedup();
        let late = |delay: u64| times.lateness.at_least(i64::try_from(delay).unwrap_or(i64::MAX).max(1));
        #[expect(clippy::cast_precision_loss, reason = "a share is an estimate")]
        let share = |delay: u64| (delay, late(delay) as f64 / times.count as f64);
        delays.into_iter().map(share).collect()
    }

    fn story(&self, now_micros: i64) -> String {
        let Some(max) = self.max_event_time_ms else {
            return format!("{} has seen no row and counts as 1970-01-01 00:00:00", self.name);
        };
        let ago = Span(now_micros.saturating_sub(self.last_row_micros) / 1000);
        let idle = if self.is_idle { ", idle and left out" } else { "" };
        let delay = Span(i64::try_from(self.delay_ms).unwrap_or(i64::MAX));
        format!(
            "{}: highest time {} - delay {delay} = {}; last row {ago} ago{idle}",
            self.name,
            at(max),
            at(self.watermark_ms)
        )
    }
}

impl fmt::Display for WatermarkStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held = Span(self.now_micros.saturating_sub(self.since_micros) / 1000);
        writeln!(f, "watermark {} (for {held})", at(self.watermark_ms))?;
        for node in &self.nodes {
            let mark = if node.decides { "*" } else { " " };
            writeln!(f, "{mark} {}", node.story(self.now_micros))?;
            if node.rows_ahead > 0 {
                writeln!(f, "    {} rows left out: their time is too far ahead of the clock", node.rows_ahead)?;
            }
            for (delay_ms, share) in &node.what_if {
                let delay = Span(i64::try_from(*delay_ms).unwrap_or(i64::MAX));
                let own = if *delay_ms == node.delay_ms { " (now)" } else { "" };
                writeln!(f, "    delay {delay} would find {:.2} % of {} rows late{own}", share * 100.0, node.rows)?;
            }
        }
        self.write_remedy(f)
    }
}

impl WatermarkStatus {
    /// What would move the watermark.
    fn write_remedy(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(holder) = self.nodes.iter().find(|node| node.decides) else { return Ok(()) };
        let name = &holder.name;
        match holder.max_event_time_ms {
            None => write!(f, "it moves when {name} gets its first row with an event time")?,
            Some(max) => write!(f, "it moves when {name} gets a row later than {}", at(max))?,
        }
        if self.nodes.len() > 1 && !self.is_max_policy && self.idle_timeout_ms.is_none() {
            write!(f, "; millstream.watermark.idleTimeout would leave a stream without rows out")?;
        }
        writeln!(f)
    }
}

fn at(millis: i64) -> String {
    timestamp_text(millis.saturating_mul(1000))
}

/// A length of time in milliseconds, in at most two units: `5 minutes 3 seconds`.
struct Span(i64);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units =
            [(86_400_000, "day"), (3_600_000, "hour"), (60_000, "minute"), (1000, "second"), (1, "millisecond")];
        let mut rest = self.0;
        let mut parts = Vec::new();
        for (length, unit) in units {
            let count = rest / length;
            rest %= length;
            if count != 0 && parts.len() < 2 {
                parts.push(format!("{count} {unit}{}", if count == 1 { "" } else { "s" }));
            }
        }
        f.write_str(if parts.is_empty() { "0 seconds".to_string() } else { parts.join(" ") }.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, max_event_time_ms: Option<i64>, decides: bool) -> WatermarkNodeStatus {
        WatermarkNodeStatus {
            name: name.to_string(),
            delay_ms: 10_000,
            max_event_time_ms,
            watermark_ms: max_event_time_ms.map_or(0, |max| max - 10_000),
            is_idle: false,
            decides,
            last_row_micros: 0,
            rows: 4,
            rows_ahead: 0,
            lateness: Vec::new(),
            what_if: vec![(10_000, 0.25)],
        }
    }

    #[test]
    fn the_story_names_who_holds_the_watermark_and_what_would_move_it() {
        let status = WatermarkStatus {
            watermark_ms: 0,
            since_micros: 0,
            now_micros: 63_000_000,
            is_max_policy: false,
            idle_timeout_ms: None,
            nodes: vec![node("clicks", Some(70_000), false), node("views", None, true)],
        };
        assert_eq!(
            status.to_string(),
            "watermark 1970-01-01 00:00:00 (for 1 minute 3 seconds)\n  \
             clicks: highest time 1970-01-01 00:01:10 - delay 10 seconds = 1970-01-01 00:01:00; last row 1 minute 3 seconds ago\n    \
             delay 10 seconds would find 25.00 % of 4 rows late (now)\n\
             * views has seen no row and counts as 1970-01-01 00:00:00\n    \
             delay 10 seconds would find 25.00 % of 4 rows late (now)\n\
             it moves when views gets its first row with an event time; millstream.watermark.idleTimeout would leave a stream without rows out\n"
        );
    }
}
