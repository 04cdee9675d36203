//! Reads cases and what Spark did with them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::Value;

/// A query, its input, and its epochs on Spark.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) rules: Vec<String>,
    pub(crate) inputs: BTreeMap<String, Input>,
    pub(crate) pipeline: Vec<Step>,
    pub(crate) mode: String,
    pub(crate) feed: Feed,
    pub(crate) config: BTreeMap<String, Value>,
    pub(crate) compare: Compare,
    pub(crate) expected: Vec<Epoch>,
}

/// An input: its columns and the rows of each step; a step of `None` adds nothing, not even an empty file.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Input {
    pub(crate) schema: String,
    /// Whether it is a static table, which has the rows of its only step from the start, instead of a stream.
    #[serde(default, rename = "static")]
    pub(crate) is_static: bool,
    pub(crate) steps: Vec<Option<Vec<Value>>>,
}

impl Case {
    /// The inputs that are streams, by name.
    pub(crate) fn streams(&self) -> impl Iterator<Item = (&String, &Input)> {
        self.inputs.iter().filter(|(_, input)| !input.is_static)
    }
}

/// When the rows come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Feed {
    /// A step once all before is processed.
    Steps,
    /// As files that are all there at the start, read one an epoch.
    Together,
}

/// What is compared besides epochs, rows and watermarks.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Compare {
    pub(crate) state_rows: bool,
    /// Why the result is another than Spark's, where it is meant to be.
    #[serde(default)]
    pub(crate) differs: Option<String>,
}

/// What one epoch did.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Epoch {
    pub(crate) batch: u64,
    pub(crate) watermark: Option<String>,
    pub(crate) rows: Vec<Value>,
    pub(crate) dropped: u64,
    pub(crate) state_rows: Vec<u64>,
}

/// One step of a pipeline.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Step {
    Read { input: String },
    WithWatermark { column: String, delay: String },
    Select { exprs: Vec<String> },
    Filter { condition: String },
    WithColumn { name: String, expr: String },
    Rename { from: String, to: String },
    Alias { name: String },
    Drop { columns: Vec<String> },
    Aggregate { keys: Vec<String>, aggs: Vec<String> },
    DropDuplicates { columns: Vec<String> },
    DropDuplicatesWithinWatermark { columns: Vec<String> },
    Distinct,
    Union { with: Vec<Step> },
    Limit { n: usize },
    Join { with: Vec<Step>, on: String, r#type: Kind },
}

/// A kind of join.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    Inner,
    Left,
    Right,
    Full,
    LeftSemi,
    LeftAnti,
}

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/parity/goldens")
}

/// The names of the files.
pub(crate) fn groups() -> BTreeSet<String> {
    let files = fs::read_dir(directory()).unwrap().map(|entry| entry.unwrap().path());
    files.map(|path| path.file_stem().unwrap().to_str().unwrap().to_string()).collect()
}

/// All cases of a file.
pub(crate) fn all(group: &str) -> Vec<Case> {
    let path = directory().join(format!("{group}.json"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The one case to run, if only one is.
pub(crate) fn asked_for() -> Option<String> {
    std::env::var("PARITY_CASE").ok().filter(|name| !name.is_empty())
}

/// The cases of a file that are to be run.
pub(crate) fn wanted(group: &str) -> Vec<Case> {
    let one = asked_for();
    all(group).into_iter().filter(|case| one.as_ref().is_none_or(|name| case.name == *name)).collect()
}
