//! What an epoch did, in Spark's words and Spark's JSON.
//!
//! Owns: the names and the form of the JSON. Does not own: the numbers. As in Spark, a rate that is not known and a map
//! that is empty are left out.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use serde_json::Value;

use super::latency::LatencyStats;
use super::watermark::WatermarkNodeStatus;

/// What one committed epoch of a query did.
///
/// `Display` is the indented JSON.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StreamingQueryProgress {
    /// The query's id, which it keeps over restarts from the same checkpoint.
    pub id: String,
    /// The id of this start.
    pub run_id: String,
    /// The name the user gave.
    pub name: Option<String>,
    /// When the epoch began: ISO 8601, UTC, milliseconds, as `2026-01-01T00:00:00.000Z`.
    pub timestamp: String,
    /// The epoch's number, from 0.
    pub batch_id: u64,
    /// From the epoch's beginning to its commit, in milliseconds.
    pub batch_duration: i64,
    /// Rows read from all sources.
    pub num_input_rows: u64,
    /// Rows a second since the last epoch began.
    #[serde(skip_serializing_if = "is_unknown")]
    pub input_rows_per_second: Option<f64>,
    /// Rows a second while the epoch ran.
    #[serde(skip_serializing_if = "is_unknown")]
    pub processed_rows_per_second: Option<f64>,
    /// The steps of the epoch and what they took, in milliseconds.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub duration_ms: BTreeMap<String, i64>,
    /// `avg`, `max` and `min` of the event times read, and the `watermark` the epoch ran under: ISO 8601, UTC,
    /// milliseconds. See [`EventTimeStats`].
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub event_time: BTreeMap<String, String>,
    /// The operators with state, from the output down to the sources.
    pub state_operators: Vec<StateOperatorProgress>,
    /// The sources, in the order of the query.
    pub sources: Vec<SourceProgress>,
    /// The sink.
    pub sink: SinkProgress,
    /// The values of each observation, by its name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub observed_metrics: BTreeMap<String, BTreeMap<String, Value>>,
    /// Rows that were dropped, by reason. Not in Spark's JSON.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub dropped_rows: BTreeMap<String, u64>,
    /// Each operator's account of its rows, from the output down to the sources. Not in Spark's JSON.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub operator_rows: Vec<OperatorRows>,
    /// Each watermark node after the epoch: what holds the watermark where it is, how late rows came, and how many other delays
    /// would have found late. Not in Spark's JSON.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub watermark_nodes: Vec<WatermarkNodeStatus>,
    /// How long rows took from their source to the sink, in milliseconds, in the epochs since the last durable end, this one
    /// included; `None` where that is not known. Not in Spark's JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<LatencyStats>,
}

/// What one source did in an epoch.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceProgress {
    /// What it reads.
    pub description: String,
    /// Where the epoch began, exclusive of what came before; `None` for a source that had nothing to begin from.
    pub start_offset: Option<Value>,
    /// Where the epoch ended.
    pub end_offset: Option<Value>,
    /// The last offset known to exist.
    pub latest_offset: Option<Value>,
    /// Rows read.
    pub num_input_rows: u64,
    /// Rows a second since the last epoch began.
    #[serde(skip_serializing_if = "is_unknown")]
    pub input_rows_per_second: Option<f64>,
    /// Rows a second while the epoch ran.
    #[serde(skip_serializing_if = "is_unknown")]
    pub processed_rows_per_second: Option<f64>,
    /// The source's own counts.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: BTreeMap<String, String>,
}

/// What the sink did in an epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SinkProgress {
    /// What it writes to.
    pub description: String,
    /// Rows written.
    pub num_output_rows: u64,
}

/// The state of one operator after an epoch, summed over its instances.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StateOperatorProgress {
    /// Its name in the topology.
    pub operator_name: String,
    /// Rows of state held.
    pub num_rows_total: u64,
    /// Rows of state added or changed.
    pub num_rows_updated: u64,
    /// Rows of state removed.
    pub num_rows_removed: u64,
    /// Rows that came too late and were dropped.
    pub num_rows_dropped_by_watermark: u64,
    /// Memory held, in bytes.
    pub memory_used_bytes: u64,
    /// The operator's own counts: `numDroppedDuplicateRows`; of a join of streams what it holds of each side, `leftRows`,
    /// `leftBytes`, `rightRows`, `rightBytes`.
    pub custom_metrics: BTreeMap<String, u64>,
}

/// An operator's account of its rows in an epoch, summed over its instances and, around an exchange, both its halves:
/// `rows_in + rows_made = rows_out + rows_absorbed +` the sum of `rows_dropped`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OperatorRows {
    /// Its name in the topology.
    pub operator_name: String,
    /// Rows taken in.
    pub rows_in: u64,
    /// Rows put out.
    pub rows_out: u64,
    /// Rows put out that are not, one to one, rows taken in: results, copies for a second window.
    pub rows_made: u64,
    /// Rows that went into the state or into another row, or that the query did not want.
    pub rows_absorbed: u64,
    /// Rows dropped, by reason.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub rows_dropped: BTreeMap<String, u64>,
}

/// Whether a query is at work, and at what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StreamingQueryStatus {
    /// What the query does, in words.
    pub message: String,
    /// Whether there was data to be read at the last look.
    pub is_data_available: bool,
    /// Whether an epoch runs.
    pub is_trigger_active: bool,
}

/// The event times read in an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EventTimeStats {
    /// The lowest, in microseconds since 1970-01-01T00:00:00Z; `None` without rows, as for the next two.
    pub min_micros: Option<i64>,
    /// The highest, in microseconds since 1970-01-01T00:00:00Z.
    pub max_micros: Option<i64>,
    /// The mean, in microseconds since 1970-01-01T00:00:00Z.
    pub avg_micros: Option<i64>,
    /// The watermark the epoch ran under, in milliseconds since 1970-01-01T00:00:00Z; `None` for a query without.
    pub watermark_ms: Option<i64>,
}

impl EventTimeStats {
    /// The form progress shows: what is known, by Spark's names, in ISO 8601.
    pub fn to_map(&self) -> BTreeMap<String, String> {
        let watermark = self.watermark_ms.map(|millis| millis.saturating_mul(1000));
        [("avg", self.avg_micros), ("max", self.max_micros), ("min", self.min_micros), ("watermark", watermark)]
            .into_iter()
            .filter_map(|(name, micros)| micros.map(|micros| (name.to_string(), iso_time(micros))))
            .collect()
    }
}

impl StreamingQueryProgress {
    /// The progress as one line of JSON.
    pub fn json(&self) -> String {
        // Numbers and texts under text keys always have a JSON form.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The progress as indented JSON.
    pub fn pretty_json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }
}

impl fmt::Display for StreamingQueryProgress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.pretty_json())
    }
}

/// JSON has no NaN and no infinity.
#[expect(clippy::ref_option, reason = "serde hands the field by reference")]
fn is_unknown(rate: &Option<f64>) -> bool {
    !rate.is_some_and(f64::is_finite)
}

/// ISO 8601 in UTC with milliseconds. A time that chrono cannot hold is shown as 1970.
fn iso_time(micros: i64) -> String {
    let time = chrono::DateTime::from_timestamp_micros(micros).unwrap_or_default();
    time.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn progress() -> StreamingQueryProgress {
        let times = EventTimeStats {
            min_micros: Some(0),
            max_micros: Some(1_767_225_600_123_456),
            avg_micros: None,
            watermark_ms: Some(10_000),
        };
        StreamingQueryProgress {
            id: "a".into(),
            run_id: "b".into(),
            name: None,
            timestamp: iso_time(1_767_225_600_000_000),
            batch_id: 3,
            batch_duration: 12,
            num_input_rows: 6,
            input_rows_per_second: Some(f64::NAN),
            processed_rows_per_second: Some(500.0),
            duration_ms: [("triggerExecution".to_string(), 12)].into(),
            event_time: times.to_map(),
            state_operators: vec![StateOperatorProgress {
                operator_name: "count".into(),
                num_rows_total: 4,
                num_rows_updated: 2,
                num_rows_removed: 1,
                num_rows_dropped_by_watermark: 5,
                memory_used_bytes: 640,
                custom_metrics: [("numDroppedDuplicateRows".to_string(), 7)].into(),
            }],
            sources: vec![SourceProgress {
                description: "memory".into(),
                start_offset: None,
                end_offset: Some(json!({ "0": 9 })),
                latest_offset: Some(json!(9)),
                num_input_rows: 6,
                input_rows_per_second: None,
                processed_rows_per_second: Some(f64::INFINITY),
                metrics: BTreeMap::new(),
            }],
            sink: SinkProgress { description: "console".into(), num_output_rows: 2 },
            observed_metrics: [("seen".to_string(), [("rows".to_string(), json!(6))].into())].into(),
            dropped_rows: [("late".to_string(), 5)].into(),
            operator_rows: Vec::new(),
            latency_ms: None,
            watermark_nodes: Vec::new(),
        }
    }

    #[test]
    fn json_has_sparks_names_and_no_unknown_numbers() {
        let parsed: Value = serde_json::from_str(&progress().json()).unwrap();
        let expected = json!({
            "id": "a", "runId": "b", "name": null, "timestamp": "2026-01-01T00:00:00.000Z",
            "batchId": 3, "batchDuration": 12, "numInputRows": 6, "processedRowsPerSecond": 500.0,
            "durationMs": { "triggerExecution": 12 },
            "eventTime": {
                "max": "2026-01-01T00:00:00.123Z", "min": "1970-01-01T00:00:00.000Z",
                "watermark": "1970-01-01T00:00:10.000Z",
            },
            "stateOperators": [{
                "operatorName": "count", "numRowsTotal": 4, "numRowsUpdated": 2, "numRowsRemoved": 1,
                "numRowsDroppedByWatermark": 5, "memoryUsedBytes": 640,
                "customMetrics": { "numDroppedDuplicateRows": 7 },
            }],
            "sources": [{
                "description": "memory", "startOffset": null, "endOffset": { "0": 9 }, "latestOffset": 9,
                "numInputRows": 6,
            }],
            "sink": { "description": "console", "numOutputRows": 2 },
            "observedMetrics": { "seen": { "rows": 6 } },
            "droppedRows": { "late": 5 },
        });
        assert_eq!(parsed, expected);
    }

    #[test]
    fn fields_come_in_sparks_order_and_empty_maps_not_at_all() {
        let mut progress = progress();
        progress.dropped_rows.clear();
        progress.event_time.clear();
        progress.observed_metrics.clear();
        let json = progress.json();
        let order = ["\"id\"", "\"batchId\"", "\"durationMs\"", "\"stateOperators\"", "\"sources\"", "\"sink\""];
        let places: Vec<_> = order.iter().map(|name| json.find(name).unwrap()).collect();
        assert!(places.is_sorted(), "{json}");
        for absent in ["droppedRows", "eventTime", "observedMetrics", "metrics\":{}"] {
            assert!(!json.contains(absent), "{json}");
        }
    }

    #[test]
    fn display_is_the_indented_json() {
        let progress = progress();
        assert_eq!(progress.to_string(), progress.pretty_json());
        assert!(progress.to_string().starts_with("{\n  \"id\": \"a\",\n"));
    }

    #[test]
    fn status_has_sparks_names() {
        let message = "Waiting for data to arrive".to_string();
        let status = StreamingQueryStatus { message, is_data_available: false, is_trigger_active: true };
        let expected =
            json!({ "message": "Waiting for data to arrive", "isDataAvailable": false, "isTriggerActive": true });
        assert_eq!(serde_json::to_value(&status).unwrap(), expected);
    }
}
