//! What happens to rows that are not what the schema promises.
//!
//! Owns: the three modes and the list of bad rows of a batch. Does not own: what makes a row bad.

use arrow::array::BooleanArray;
use arrow::compute::filter_record_batch;
use arrow::record_batch::RecordBatch;

use super::Counters;
use crate::connector::options::Options;
use crate::error::{Error, Result};

/// What to do with a malformed row; Spark's option `mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Keep the row; what cannot be read is NULL.
    Permissive,
    /// Leave the row out.
    DropMalformed,
    /// Fail the query.
    FailFast,
}

impl Mode {
    /// Takes the option `mode`.
    ///
    /// # Errors
    /// When it is none of the three.
    pub(super) fn from_options(options: &Options) -> Result<Self> {
        Ok(match options.choice("mode", &["PERMISSIVE", "DROPMALFORMED", "FAILFAST"], "PERMISSIVE")? {
            "DROPMALFORMED" => Self::DropMalformed,
            "FAILFAST" => Self::FailFast,
            _ => Self::Permissive,
        })
    }
}

/// What is wrong with a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The row as a whole: it is not JSON, or has too few or too many values.
    Row,
    /// The value of the schema's column of this index.
    Column(usize),
}

/// The malformed rows of one batch.
#[derive(Debug, Default)]
pub(super) struct BadRows {
    /// By row; empty while no row is bad.
    is_bad: Vec<bool>,
    rows: usize,
    count: u64,
    first: Option<(usize, Fault)>,
}

impl BadRows {
    /// Starts a batch of `rows` rows.
    pub(super) fn new(rows: usize) -> Self {
        Self { rows, ..Self::default() }
    }

    /// Says that `row` is malformed; a row is counted once.
    pub(super) fn mark(&mut self, row: usize, fault: Fault) {
        self.is_bad.resize(self.rows, false);
        if !std::mem::replace(&mut self.is_bad[row], true) {
            self.count += 1;
        }
        if self.first.is_none_or(|(first, _)| row < first) {
            self.first = Some((row, fault));
        }
    }

    /// Whether `row` was marked.
    pub(super) fn contains(&self, row: usize) -> bool {
        self.is_bad.get(row).copied().unwrap_or(false)
    }

    /// Counts the bad rows and treats `batch` as `mode` says; `describe` says what is wrong with one.
    ///
    /// # Errors
    /// What `describe` says about the first bad row, when the mode is FAILFAST.
    pub(super) fn settle(
        self,
        batch: RecordBatch,
        mode: Mode,
        counters: &Counters,
        describe: impl FnOnce(usize, Fault) -> Error,
    ) -> Result<RecordBatch> {
        let Some((row, fault)) = self.first else { return Ok(batch) };
        Counters::add(&counters.malformed_rows, self.count);
        match mode {
            Mode::Permissive => Ok(batch),
            Mode::FailFast => Err(describe(row, fault)),
            Mode::DropMalformed => {
                Counters::add(&counters.dropped_malformed_rows, self.count);
                let is_good: BooleanArray = self.is_bad.iter().map(|is_bad| Some(!is_bad)).collect();
                Ok(filter_record_batch(&batch, &is_good)?)
            }
        }
    }
}

/// `text` for an error message, cut when it is long.
pub(super) fn excerpt(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    match text.char_indices().nth(100) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.into_owned(),
    }
}
