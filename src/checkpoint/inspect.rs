//! Looking at a checkpoint from outside: what it holds, whether it is whole.
//!
//! Reads only; the query may run meanwhile, though what it deletes while one looks is then missing.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use super::reader::{CheckpointReader, Commit};
use super::records::{PlanRecord, StateFile};
use super::state_table::StateTable;
use crate::connector::BatchTable;
use crate::error::{Error, Result};
use crate::store;
use crate::types::user_batch;

/// A checkpoint that somebody wants to look at.
///
/// ```
/// use millstream::checkpoint::Checkpoint;
/// use millstream::prelude::*;
///
/// let session = Session::builder().build()?;
/// let lines = MemoryStream::new(&session, "value STRING");
/// let query = lines.to_df().write_stream().format("noop").option("checkpointLocation", "memory://looked-at").start()?;
/// lines.add_rows([std::sync::Arc::new(millstream::arrow::array::StringArray::from(vec!["a"])) as _])?;
/// query.process_all_available()?;
/// query.stop()?;
///
/// let checkpoint = Checkpoint::open("memory://looked-at")?;
/// assert_eq!(checkpoint.commits()?.len(), 1);
/// assert!(checkpoint.verify()?.is_empty());
/// println!("{}", checkpoint.explain()?);
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Checkpoint {
    reader: CheckpointReader,
    location: String,
    id: u128,
}

/// A commit that is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CommitInfo {
    /// Its number; one more than that of the commit before.
    pub number: u64,
    /// The epoch that ended with it; a trigger of continuous processing commits some epochs only.
    pub epoch: u64,
    /// Which run of the query made it, from 1.
    pub run: u64,
    /// For each source, the last row that is in, as the source writes it.
    pub offsets: Vec<String>,
    /// The watermark behind it, in milliseconds since 1970-01-01T00:00:00Z; 0 without one.
    pub watermark_ms: i64,
    /// The operators with state.
    pub operators: Vec<OperatorInfo>,
}

/// The state of an operator as of a commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OperatorInfo {
    /// Its name in the topology of the run that made the commit.
    pub name: String,
    /// What its state means.
    pub identity: String,
    /// Files of its state.
    pub files: usize,
    /// Rows in them; a row that was changed counts once for each change.
    pub rows: u64,
    /// Bytes in them.
    pub bytes: u64,
}

impl Checkpoint {
    /// Looks at the checkpoint in `location`, which is what the query has as its `checkpointLocation`.
    ///
    /// # Errors
    /// When there is none, it cannot be read, or a newer version of this library made it.
    pub fn open(location: &str) -> Result<Self> {
        let reader = CheckpointReader::new(store::open(location)?);
        let metadata = reader.metadata()?;
        let nothing =
            || Error::state(format!("there is no checkpoint in `{location}`; give a query's checkpointLocation"));
        Ok(Self { id: metadata.ok_or_else(nothing)?.id, location: location.to_string(), reader })
    }

    /// The id of the query, which all its runs share.
    pub fn query_id(&self) -> uuid::Uuid {
        uuid::Uuid::from_u128(self.id)
    }

    /// The commits that are kept, oldest first.
    ///
    /// # Errors
    /// When a record cannot be read.
    pub fn commits(&self) -> Result<Vec<CommitInfo>> {
        self.reader.find()?.commits.iter().map(|commit| self.info(commit)).collect()
    }

    fn info(&self, Commit { record, .. }: &Commit) -> Result<CommitInfo> {
        let plan = self.reader.run(record.generation)?.plan;
        let operator = |(operator, files): (&super::records::OperatorRecord, &Vec<StateFile>)| OperatorInfo {
            name: operator.name.clone(),
            identity: operator.identity.clone(),
            files: files.len(),
            rows: files.iter().map(|file| file.rows).sum(),
            bytes: files.iter().map(|file| file.bytes).sum(),
        };
        Ok(CommitInfo {
            number: record.number,
            epoch: record.epoch,
            run: record.generation,
            offsets: record.to.clone(),
            watermark_ms: record.event_time.global_ms,
            operators: plan.operators.iter().zip(&record.operators).map(operator).collect(),
        })
    }

    /// Reads everything that the kept commits name, and says what is wrong; nothing if the query can go on.
    ///
    /// # Errors
    /// When the store does not answer.
    pub fn verify(&self) -> Result<Vec<String>> {
        let found = match self.reader.find() {
            Ok(found) => found,
            Err(error) => return Ok(vec![error.message().to_string()]),
        };
        let mut wrong = Vec::new();
        for commit in &found.commits {
            if let Err(error) = self.reader.run(commit.record.generation) {
                wrong.push(error.message().to_string());
            }
            for (operator, files) in commit.record.operators.iter().enumerate() {
                let problems = files.iter().filter_map(|file| self.reader.state(operator, file).err());
                wrong.extend(problems.map(|error| error.message().to_string()));
            }
        }
        wrong.sort();
        wrong.dedup();
        Ok(wrong)
    }

    /// All of this as text: the query, its plan, its commits, and what will run first.
    ///
    /// # Errors
    /// When a record cannot be read.
    pub fn explain(&self) -> Result<String> {
        let found = self.reader.find()?;
        let commits = self.commits()?;
        let mut lines = vec![format!("checkpoint {} of query {}", self.location, self.query_id())];
        if let Some(run) = self.reader.generations()?.last() {
            let run = self.reader.run(*run)?;
            let started = chrono::DateTime::from_timestamp_micros(run.started_micros).unwrap_or_default();
            lines.push(format!(
                "run {}: started {} by process {} on {}",
                run.generation,
                started.format("%Y-%m-%dT%H:%M:%S%.3fZ"),
                run.pid,
                run.host
            ));
            lines.extend(plan_lines(&run.plan));
        }
        for commit in &commits {
            lines.push(commit.to_string());
            lines.extend(commit.operators.iter().map(|operator| format!("  {operator}")));
        }
        match (&found.planned, found.last()) {
            (Some(planned), _) => lines.push(format!(
                "next: epoch {} runs again, from {} to {}",
                planned.epoch,
                planned.from.join(", "),
                planned.to.join(", ")
            )),
            (None, Some(last)) => lines.push(format!("next: epoch {}, from {}", last.epoch + 1, last.to.join(", "))),
            (None, None) => lines.push("next: epoch 0, from the beginning".to_string()),
        }
        Ok(lines.join("\n") + "\n")
    }

    /// The commits as JSON, for programs: an array of [`CommitInfo`].
    ///
    /// # Errors
    /// When a record cannot be read.
    pub fn to_json(&self) -> Result<String> {
        serde_json::to_string_pretty(&self.commits()?).map_err(|error| Error::internal(error.to_string()))
    }

    /// The rows in the files of an operator's state as of the newest commit, by the operator's place among those with state: what
    /// the format `statestore` reads.
    ///
    /// # Errors
    /// When there is no such operator or commit, or a file is missing or damaged.
    pub fn state(&self, operator: usize) -> Result<Vec<arrow::record_batch::RecordBatch>> {
        self.state_table(operator)?.read(None)?.into_iter().map(user_batch).collect()
    }

    pub(crate) fn state_table(&self, operator: usize) -> Result<Arc<StateTable>> {
        StateTable::new(&self.reader, &self.location, operator).map(Arc::new)
    }
}

fn plan_lines(plan: &PlanRecord) -> Vec<String> {
    let mut lines = vec![format!("output mode {}", plan.output_mode)];
    lines.extend(plan.sources.iter().map(|source| format!("source {source}")));
    lines.extend(plan.operators.iter().map(|operator| format!("operator {}: {}", operator.name, operator.identity)));
    lines.extend(plan.sinks.iter().map(|sink| format!("sink {sink}")));
    lines
}

impl fmt::Display for CommitInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, epoch, run, watermark_ms, .. } = self;
        write!(f, "commit {number}: epoch {epoch} of run {run}, offsets {}", self.offsets.join(", "))?;
        if *watermark_ms > 0 {
            let time = chrono::DateTime::from_timestamp_millis(*watermark_ms).unwrap_or_default();
            write!(f, ", watermark {}", time.format("%Y-%m-%dT%H:%M:%S%.3fZ"))?;
        }
        Ok(())
    }
}

impl fmt::Display for OperatorInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, files, rows, bytes, .. } = self;
        write!(f, "{name}: {rows} rows in {files} files, {bytes} bytes")
    }
}
