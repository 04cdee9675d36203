#![allow(missing_docs, unused_variables, clippy::all, clippy::pedantic)]
use super::*;
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
