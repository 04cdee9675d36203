//! What a checkpoint says, record by record.
//!
//! Owns: the meaning of the objects of a checkpoint. Does not own: their bytes (`codec`) or the order in which they are made
//! (`log`).

use serde::{Deserialize, Serialize};

use super::codec::Record;
use crate::connector::{Offset, Prepared};
use crate::error::{Error, Result};
use crate::protocol::{Epoch, EpochTime, Watermark};

/// How many key groups state is cut into, and the version of the hash that assigns them: both are for ever.
pub(super) const KEY_GROUPS: u16 = 256;
pub(super) const HASH_VERSION: u16 = 1;

/// `metadata`: made once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Metadata {
    /// The query's id, over all its runs.
    pub(crate) id: u128,
    pub(crate) key_groups: u16,
    pub(crate) hash_version: u16,
}

impl Record for Metadata {
    const KIND: u8 = 1;
    const VERSION: u16 = 1;
}

/// `runs/<generation>`: made by each run before it writes anything else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RunRecord {
    pub(crate) generation: u64,
    pub(crate) host: String,
    pub(crate) pid: u32,
    /// When it started, in microseconds since 1970-01-01T00:00:00Z.
    pub(crate) started_micros: i64,
    pub(crate) plan: PlanRecord,
}

impl Record for RunRecord {
    const KIND: u8 = 2;
    const VERSION: u16 = 1;
}

/// What of a query's plan its checkpoint depends on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PlanRecord {
    pub(crate) output_mode: String,
    /// `min` or `max` with watermark nodes, otherwise empty.
    pub(crate) watermark_policy: String,
    /// The names of the watermark nodes, in order.
    pub(crate) watermark_nodes: Vec<String>,
    /// What the sources say of themselves, in order.
    pub(crate) sources: Vec<String>,
    /// The operators with state, in order.
    pub(crate) operators: Vec<OperatorRecord>,
    pub(crate) sinks: Vec<String>,
}

/// An operator with state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OperatorRecord {
    /// For people: it may change.
    pub(crate) name: String,
    /// What its state means, by [`Operator::state_identity`](crate::operator::Operator::state_identity).
    pub(crate) identity: String,
    /// Rows come to instances by key, so that there may be another number of them after a restart.
    pub(crate) is_by_key: bool,
    pub(crate) parallelism: u32,
}

/// `offsets/<number>`: what is read between two commits; made before any of it is read, the last of it in an epoch without a
/// durable end excepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OffsetsRecord {
    pub(crate) number: u64,
    pub(crate) generation: u64,
    /// The epoch that ends with the commit of this number.
    pub(crate) epoch: Epoch,
    /// For each source, as JSON: the last row before, and the last row of the range.
    pub(crate) from: Vec<String>,
    pub(crate) to: Vec<String>,
    pub(crate) has_data: bool,
    /// What the range runs under if it runs again.
    pub(crate) watermark: WatermarkRecord,
    pub(crate) processing_micros: i64,
    /// Nothing that sources saved before this record is needed to restore them.
    pub(crate) is_base: bool,
    /// For each source.
    pub(crate) saved: Vec<SavedSource>,
    /// The newest commit whose rows the sinks are known to show.
    pub(crate) published: Option<u64>,
}

impl Record for OffsetsRecord {
    const KIND: u8 = 3;
    const VERSION: u16 = 1;
}

/// What a source saved.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct SavedSource {
    /// In a base record: everything before the range.
    pub(crate) base: Option<Vec<u8>>,
    /// The range itself.
    pub(crate) range: Option<Vec<u8>>,
}

/// A [`Watermark`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct WatermarkRecord {
    pub(crate) late_ms: i64,
    pub(crate) evict_ms: i64,
}

impl From<Watermark> for WatermarkRecord {
    fn from(watermark: Watermark) -> Self {
        Self { late_ms: watermark.late_ms, evict_ms: watermark.evict_ms }
    }
}

/// `commits/<number>`: the decision that the rows of `offsets/<number>` are in the state and in the output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CommitRecord {
    pub(crate) number: u64,
    pub(crate) generation: u64,
    pub(crate) epoch: Epoch,
    /// The checksum of the commit before; 0 in the first.
    pub(crate) previous: u64,
    /// For each source, as JSON: the last row that is in.
    pub(crate) to: Vec<String>,
    pub(crate) event_time: EventTimeRecord,
    /// For each operator with state, the files that make up its state, in the order in which they are restored.
    pub(crate) operators: Vec<Vec<StateFile>>,
    /// For each sink, the epochs to publish.
    pub(crate) sinks: Vec<Vec<SinkEpoch>>,
}

impl Record for CommitRecord {
    const KIND: u8 = 4;
    const VERSION: u16 = 1;
}

/// How far event time has come behind a commit.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct EventTimeRecord {
    /// The query's watermark, in milliseconds.
    pub(crate) global_ms: i64,
    /// What the state was cleaned by.
    pub(crate) evicted_ms: i64,
    /// For each watermark node, the highest time it saw, in milliseconds.
    pub(crate) nodes: Vec<Option<i64>>,
}

/// What a sink's writers prepared in one epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SinkEpoch {
    pub(crate) epoch: Epoch,
    pub(crate) prepared: Vec<Prepared>,
}

/// A file of state: an Arrow IPC stream, named for who wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StateFile {
    /// The number of the commit that came next when it was written.
    pub(crate) number: u64,
    pub(crate) generation: u64,
    /// Tells the files of one run apart.
    pub(crate) sequence: u64,
    pub(crate) instance: u32,
    pub(crate) kind: FileKind,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    pub(crate) checksum: u64,
}

/// What a file of state holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum FileKind {
    /// What one instance changed between two commits, or, at a higher level, between several.
    Changes { level: u8 },
    /// All of an operator's state.
    Base,
}

impl StateFile {
    /// Its name in the checkpoint, among the files of the operator with this place.
    pub(crate) fn name(&self, operator: usize) -> String {
        format!("state/{operator}/{}-{}-{}.arrow", self.number, self.generation, self.sequence)
    }
}

pub(super) fn offsets_to_text(offsets: &[Offset]) -> Vec<String> {
    offsets.iter().map(ToString::to_string).collect()
}

/// # Errors
/// When a text is no JSON.
pub(crate) fn offsets_from_text(texts: &[String]) -> Result<Vec<Offset>> {
    let parse = |text: &String| {
        serde_json::from_str(text)
            .map(Offset)
            .map_err(|error| Error::state(format!("the checkpoint holds the offset `{text}`: {error}")))
    };
    texts.iter().map(parse).collect()
}

impl OffsetsRecord {
    /// What its range runs under when it runs again.
    pub(crate) fn time(&self) -> EpochTime {
        let query = Watermark { late_ms: self.watermark.late_ms, evict_ms: self.watermark.evict_ms };
        EpochTime { query, here: None, processing_micros: self.processing_micros }
    }
}

#[cfg(test)]
mod tests {
    use super::super::codec::{decode, encode};
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
    }

    pub(crate) fn commit() -> CommitRecord {
        CommitRecord {
            number: 7,
            generation: 2,
            epoch: 9,
            previous: 5,
            to: vec!["3".to_string()],
            event_time: EventTimeRecord { global_ms: 20, evicted_ms: 10, nodes: vec![Some(30), None] },
            operators: vec![vec![StateFile {
                number: 7,
                generation: 2,
                sequence: 1,
                instance: 0,
                kind: FileKind::Changes { level: 0 },
                rows: 4,
                bytes: 100,
                checksum: 77,
            }]],
            sinks: vec![vec![SinkEpoch { epoch: 9, prepared: vec![Prepared(vec![1, 2])] }]],
        }
    }

    /// What version 1 of each record looks like on disk. When a record changes, its version goes up, the old bytes stay here and
    /// must still be read.
    #[test]
    fn the_bytes_of_version_1_are_frozen() {
        let metadata = Metadata { id: 1, key_groups: 256, hash_version: 1 };
        let bytes = encode(&metadata).unwrap();
        assert_eq!(hex(&bytes), METADATA_1);
        assert_eq!(decode::<Metadata>("metadata", &bytes).unwrap(), metadata);
        let bytes = encode(&commit()).unwrap();
        assert_eq!(hex(&bytes), COMMIT_1);
        assert_eq!(decode::<CommitRecord>("commits/7", &bytes).unwrap(), commit());
        let run = RunRecord {
            generation: 2,
            host: "h".to_string(),
            pid: 3,
            started_micros: 4,
            plan: PlanRecord {
                output_mode: "append".to_string(),
                watermark_policy: String::new(),
                watermark_nodes: Vec::new(),
                sources: vec!["S".to_string()],
                operators: vec![OperatorRecord {
                    name: "count".to_string(),
                    identity: "aggregate".to_string(),
                    is_by_key: true,
                    parallelism: 2,
                }],
                sinks: vec!["K".to_string()],
            },
        };
        let bytes = encode(&run).unwrap();
        assert_eq!(hex(&bytes), RUN_1);
        assert_eq!(decode::<RunRecord>("runs/2", &bytes).unwrap(), run);
        let offsets = OffsetsRecord {
            number: 7,
            generation: 2,
            epoch: 9,
            from: vec!["1".to_string()],
            to: vec!["3".to_string()],
            has_data: true,
            watermark: WatermarkRecord { late_ms: 1, evict_ms: 2 },
            processing_micros: 3,
            is_base: false,
            saved: vec![SavedSource { base: None, range: Some(vec![8]) }],
            published: Some(6),
        };
        let bytes = encode(&offsets).unwrap();
        assert_eq!(hex(&bytes), OFFSETS_1);
        assert_eq!(decode::<OffsetsRecord>("offsets/7", &bytes).unwrap(), offsets);
    }

    const METADATA_1: &str = "4d4c535401010014000000f50e0feaf1a55f9c0100000000000000000000000000000000010100";
    const COMMIT_1: &str = "4d4c5354040100c6000000bdc4a7d01ccaff9d0700000000000000020000000000000009000000000000000500000000000000010000000000000001000000000000003314000000000000000a000000000000000200000000000000011e000000000000000001000000000000000100000000000000070000000000000002000000000000000100000000000000000000000000000000040000000000000064000000000000004d00000000000000010000000000000001000000000000000900000000000000010000000000000002000000000000000102";
    const RUN_1: &str = "4d4c5354020100880000005271d7ddda5cb08602000000000000000100000000000000680300000004000000000000000600000000000000617070656e6400000000000000000000000000000000010000000000000001000000000000005301000000000000000500000000000000636f756e7409000000000000006167677265676174650102000000010000000000000001000000000000004b";
    const OFFSETS_1: &str = "4d4c535403010070000000be3809ba06cdd78a07000000000000000200000000000000090000000000000001000000000000000100000000000000310100000000000000010000000000000033010100000000000000020000000000000003000000000000000001000000000000000001010000000000000008010600000000000000";
}
