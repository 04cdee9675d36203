//! Several inputs, one output.
//!
//! Owns: that the inputs have the same columns. Does not own: merging watermarks and barriers (`protocol::gate`).

use std::sync::Arc;

use arrow::datatypes::{Field, FieldRef, Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};

use super::{Balance, Batch, Flow, Operator, OperatorContext, OperatorStats, Output};
use crate::error::{Error, Result};
use crate::types::type_name;

/// Passes the rows of all inputs on; columns are matched by position.
///
/// | input                             | output                                       | state | late rows     |
/// |-----------------------------------|----------------------------------------------|-------|---------------|
/// | rows with the same types by place | all rows, under the names of the first input | none  | not looked at |
///
/// The order between inputs is not fixed. A column is nullable if it is in any input.
#[derive(Debug, Clone)]
pub struct Union {
    ports: usize,
    schema: Option<SchemaRef>,
}

impl Union {
    /// A union of so many inputs.
    pub fn new(ports: usize) -> Self {
        Self { ports, schema: None }
    }
}

impl Operator for Union {
    fn output_schema(&self, inputs: &[SchemaRef]) -> Result<SchemaRef> {
        let [first, others @ ..] = inputs else { return Err(Error::plan("a union needs at least one input")) };
        if inputs.len() != self.ports {
            return Err(Error::plan(format!("this union takes {} inputs, not {}", self.ports, inputs.len())));
        }
        let mut fields: Vec<FieldRef> = first.fields().to_vec();
        for (port, other) in (1..).zip(others) {
            widen(&mut fields, other, port)?;
        }
        Ok(Arc::new(Schema::new_with_metadata(fields, first.metadata().clone())))
    }

    fn describe(&self) -> String {
        format!("{} inputs", self.ports)
    }

    fn open(&mut self, context: &OperatorContext) -> Result<()> {
        self.schema = Some(self.output_schema(&context.inputs)?);
        Ok(())
    }

    fn on_batch(&mut self, _: usize, batch: Batch, output: &mut Output) -> Result<Flow> {
        let unopened = || Error::internal("a union was used before it was opened");
        let schema = self.schema.as_ref().ok_or_else(unopened)?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.rows()));
        let columns = batch.records.columns().to_vec();
        output.batch(RecordBatch::try_new_with_options(schema.clone(), columns, &options)?);
        Ok(Flow::Done)
    }

    fn take_stats(&mut self) -> OperatorStats {
        OperatorStats { balance: Some(Balance::default()), ..OperatorStats::default() }
    }
}

/// Makes `fields` fit the rows of input `port` too.
fn widen(fields: &mut [FieldRef], other: &Schema, port: usize) -> Result<()> {
    if fields.len() != other.fields().len() {
        let (first, count) = (fields.len(), other.fields().len());
        let message =
            format!("union of {first} columns (input 0) with {count} (input {port}); select the same columns");
        return Err(Error::plan(message));
    }
    for (field, other) in fields.iter_mut().zip(other.fields()) {
        if field.data_type() != other.data_type() {
            return Err(differing(field, other, port));
        }
        if other.is_nullable() && !field.is_nullable() {
            *field = Arc::new(field.as_ref().clone().with_nullable(true));
        }
    }
    Ok(())
}

fn differing(field: &Field, other: &Field, port: usize) -> Error {
    let (name, own, theirs) = (field.name(), type_name(field.data_type()), type_name(other.data_type()));
    Error::plan(format!(
        "column `{name}` of a union is {own} in input 0 and {theirs} in input {port}; cast one of them"
    ))
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int32Array, Int64Array};

    use super::*;

    fn batch(name: &str, values: ArrayRef, nullable: bool) -> RecordBatch {
        RecordBatch::try_from_iter_with_nullable([(name, values, nullable)]).unwrap()
    }

    fn longs(name: &str, values: Vec<Option<i64>>, nullable: bool) -> RecordBatch {
        batch(name, Arc::new(Int64Array::from(values)), nullable)
    }

    #[test]
    fn rows_of_all_inputs_come_out_under_the_first_names() {
        let (left, right) = (longs("a", vec![Some(1)], false), longs("b", vec![None], true));
        let inputs = vec![left.schema(), right.schema()];
        let mut union = Union::new(2);
        let schema = union.output_schema(&inputs).unwrap();
        assert_eq!(schema.field(0).as_ref_parts(), ("a", true));
        union.open(&OperatorContext { name: "u".into(), instance: 0, parallelism: 1, inputs }).unwrap();
        let mut output = Output::default();
        for (port, records) in [(1, right), (0, left)] {
            assert_eq!(union.on_batch(port, records.into(), &mut output).unwrap(), Flow::Done);
        }
        let out: Vec<RecordBatch> = output.take().into_iter().map(|(_, batch)| batch.records).collect();
        let all = arrow::compute::concat_batches(&schema, &out).unwrap();
        assert_eq!(all, longs("a", vec![None, Some(1)], true));
    }

    trait Parts {
        fn as_ref_parts(&self) -> (&str, bool);
    }

    impl Parts for Field {
        fn as_ref_parts(&self) -> (&str, bool) {
            (self.name(), self.is_nullable())
        }
    }

    #[test]
    fn other_types_are_refused_by_column_type_and_input() {
        let ints = batch("b", Arc::new(Int32Array::from(vec![1])), true);
        let long = longs("a", vec![], true).schema();
        let error = Union::new(3).output_schema(&[long.clone(), long.clone(), ints.schema()]).unwrap_err();
        for part in ["`a`", "input 2", &type_name(&arrow::datatypes::DataType::Int32)] {
            assert!(error.message().contains(part), "{error}");
        }
    }

    #[test]
    fn another_number_of_columns_or_inputs_is_refused() {
        let (one, none) = (longs("a", vec![], true).schema(), Arc::new(Schema::empty()));
        assert!(Union::new(2).output_schema(&[one.clone(), none]).is_err());
        assert!(Union::new(2).output_schema(&[one]).is_err());
        assert!(Union::new(0).output_schema(&[]).is_err());
    }
}
