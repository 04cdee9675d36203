//! A sink that throws rows away, to run a query for its own sake.

use arrow::record_batch::RecordBatch;

use crate::connector::options::Options;
use crate::connector::{Guarantee, Prepared, Sink, SinkContext, SinkWriter};
use crate::error::Result;

/// Takes rows in any mode and keeps none.
#[derive(Debug, Clone, Copy, Default)]
pub struct Noop;

impl Noop {
    pub(super) fn from_options(options: &Options) -> Result<Self> {
        options.finish("the noop sink")?;
        Ok(Self)
    }
}

impl Sink for Noop {
    fn description(&self) -> String {
        "Noop".to_string()
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::AtLeastOnce
    }

    fn is_parallel(&self) -> bool {
        true
    }

    fn open(&self, _: &SinkContext) -> Result<Box<dyn SinkWriter>> {
        Ok(Box::new(*self))
    }
}

impl SinkWriter for Noop {
    fn begin(&mut self, _: u64) -> Result<()> {
        Ok(())
    }

    fn write(&mut self, _: &RecordBatch) -> Result<()> {
        Ok(())
    }

    fn prepare(&mut self) -> Result<Prepared> {
        Ok(Prepared::default())
    }

    fn abort(&mut self) {}

    fn takes_views(&self) -> bool {
        true
    }
}
