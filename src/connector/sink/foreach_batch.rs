//! Hands each epoch's rows to a function of the user's.
//!
//! Owns: collecting an epoch and calling the function once. Does not own: making the rows a `DataFrame` (`writer`).
//!
//! The epoch is committed after the function has returned, so after a crash it can be called again with the same epoch.
//! With a checkpoint and sources that replay, an epoch that runs again has the same number and the same rows (for which reason a
//! trigger of continuous processing is refused), so that the function can make its results exactly-once:
//!
//! 1. keep the number of the last epoch written together with the results, changed in the same transaction;
//! 2. skip an epoch whose number is not above it. Its results are there, whole, or the number would not be.
//!
//! ```text
//! begin;
//! update progress set epoch = :epoch where query = 'orders' and epoch < :epoch;   -- no row changed: rollback and return
//! insert into results …;
//! commit;
//! ```
//!
//! One row of `progress` a query, keyed by a name that is the query's as long as its checkpoint is; a new checkpoint starts
//! with epoch 0 again and needs a new name. A target without transactions can do with writing to a place named by the epoch,
//! whole and in place of what is there. What the function does elsewhere, such as sending a message, happens at least once.

use std::fmt;
use std::mem;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;

use super::catch_panic;
use crate::connector::{Guarantee, Prepared, Sink, SinkContext, SinkWriter};
use crate::error::Result;

/// Takes the columns, the rows and the number of an epoch.
pub type BatchFunction = Arc<dyn Fn(SchemaRef, Vec<RecordBatch>, u64) -> Result<()> + Send + Sync>;

/// Calls a function once for every epoch, also for one without rows, in any output mode.
#[derive(Clone)]
pub struct ForeachBatch {
    function: BatchFunction,
}

impl ForeachBatch {
    /// Calls `function`; its error or panic fails the query with nothing of the epoch committed.
    pub fn new(function: BatchFunction) -> Self {
        Self { function }
    }
}

impl fmt::Debug for ForeachBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ForeachBatch")
    }
}

impl Sink for ForeachBatch {
    fn description(&self) -> String {
        "ForeachBatchSink".to_string()
    }

    fn needs_repeatable_epochs(&self) -> bool {
        true
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::AtLeastOnce
    }

    fn open(&self, context: &SinkContext) -> Result<Box<dyn SinkWriter>> {
        let schema = Arc::clone(&context.schema);
        Ok(Box::new(BatchWriter { function: Arc::clone(&self.function), schema, epoch: 0, rows: Vec::new() }))
    }
}

struct BatchWriter {
    function: BatchFunction,
    schema: SchemaRef,
    epoch: u64,
    rows: Vec<RecordBatch>,
}

impl SinkWriter for BatchWriter {
    fn begin(&mut self, epoch: u64) -> Result<()> {
        self.rows.clear();
        self.epoch = epoch;
        Ok(())
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.rows.push(batch.clone());
        Ok(())
    }

    fn prepare(&mut self) -> Result<Prepared> {
        let what = format!("foreach_batch in epoch {}", self.epoch);
        let (schema, rows) = (Arc::clone(&self.schema), mem::take(&mut self.rows));
        catch_panic(&what, || (self.function)(schema, rows, self.epoch))??;
        Ok(Prepared::default())
    }

    fn abort(&mut self) {
        self.rows.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use arrow::array::record_batch;
    use arrow::datatypes as arrow_schema; // the name by which record_batch! knows it

    use super::*;
    use crate::clock::lock;
    use crate::error::{Error, ErrorKind};
    use crate::protocol::OutputMode;

    fn open(
        function: impl Fn(SchemaRef, Vec<RecordBatch>, u64) -> Result<()> + Send + Sync + 'static,
    ) -> Box<dyn SinkWriter> {
        let schema = record_batch!(("n", Int64, [1])).unwrap().schema();
        let context = SinkContext::new("q", OutputMode::Append, schema);
        ForeachBatch::new(Arc::new(function)).open(&context).unwrap()
    }

    #[test]
    fn the_function_is_called_once_an_epoch_even_without_rows() {
        let calls = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&calls);
        let mut writer = open(move |schema, rows, epoch| {
            let count: usize = rows.iter().map(RecordBatch::num_rows).sum();
            lock(&log).push((schema.fields().len(), count, epoch));
            Ok(())
        });
        let batch = record_batch!(("n", Int64, [1, 2])).unwrap();
        writer.begin(0).unwrap();
        writer.write(&batch).unwrap();
        writer.write(&batch).unwrap();
        writer.prepare().unwrap();
        writer.begin(1).unwrap();
        writer.write(&batch).unwrap();
        writer.abort();
        writer.begin(1).unwrap();
        writer.prepare().unwrap();
        assert_eq!(*lock(&calls), [(1, 4, 0), (1, 0, 1)]);
    }

    #[test]
    fn an_error_fails_the_epoch_and_a_panic_becomes_one() {
        let mut writer = open(|_, _, epoch| panic!("boom {epoch}"));
        writer.begin(3).unwrap();
        let error = writer.prepare().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::User);
        assert_eq!(error.message(), "foreach_batch in epoch 3 panicked: boom 3");

        let mut writer = open(|_, _, _| Err(Error::connector("no disk")));
        writer.begin(4).unwrap();
        let error = writer.prepare().unwrap_err();
        assert_eq!((error.kind(), error.message()), (ErrorKind::Connector, "no disk"));
    }
}
