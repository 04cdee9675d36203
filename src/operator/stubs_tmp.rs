#![allow(missing_docs, unused_variables, clippy::all, clippy::pedantic)]
use super::*;
use crate::operator::aggregate::AggregateSpec;
use crate::protocol::OutputMode;
macro_rules! stub {
    ($name:ident) => {
        #[derive(Debug, Clone)]
        pub struct $name;
        impl Operator for $name {
            fn output_schema(&self, inputs: &[SchemaRef]) -> Result<SchemaRef> {
                Ok(inputs[0].clone())
            }
            fn on_batch(&mut self, _: usize, _: Batch, _: &mut Output) -> Result<Flow> {
                Ok(Flow::Done)
            }
        }
    };
}
stub!(Deduplicate);
stub!(DeduplicateWithin);
stub!(PartialSessions);
stub!(FinalSessions);
impl Deduplicate {
    pub fn new(keys: Vec<usize>, time: Option<usize>) -> Self {
        Self
    }
    pub fn with_exchanged_keys(self) -> Self {
        self
    }
}
impl DeduplicateWithin {
    pub fn new(keys: Vec<usize>, time: usize, delay: Duration) -> Self {
        Self
    }
    pub fn with_exchanged_keys(self) -> Self {
        self
    }
}
impl PartialSessions {
    pub fn new(spec: AggregateSpec, place: usize, judges: bool) -> Self {
        Self
    }
}
impl FinalSessions {
    pub fn new(spec: AggregateSpec, place: usize, w: bool, mode: OutputMode) -> Self {
        Self
    }
}
pub fn session_key_columns(spec: &AggregateSpec) -> Vec<usize> {
    vec![]
}
pub fn session_table(spec: AggregateSpec, place: usize, b: &[RecordBatch]) -> Result<Vec<RecordBatch>> {
    Ok(vec![])
}
