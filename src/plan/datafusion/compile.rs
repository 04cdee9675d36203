//! Compiled expressions: what operators evaluate.
//!
//! Owns: binding `current_timestamp()` to the time of the epoch. It is compiled to a column that is put behind the
//! batch's own columns when the expression needs it, so evaluation stays a pure function of batch and time.

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, TimestampMicrosecondArray};
use arrow::datatypes::{Field, Schema};
use arrow::record_batch::RecordBatch;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema};
use datafusion::logical_expr::Expr as TypedExpr;
use datafusion::logical_expr::execution_props::ExecutionProps;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr};

use super::expressions::timestamp_type;
use super::functions::{CURRENT_TIMESTAMP, shifted_by_constant};
use super::translated;
use crate::error::Result;
use crate::operator::{EpochTime, Expression, ExpressionRef};

/// The column that holds the epoch's time; no user's column has an internal name like it.
const EPOCH_TIME: &str = "#epoch_time";

/// A typed expression ready to run on batches of one schema.
struct Compiled {
    physical: Arc<dyn PhysicalExpr>,
    /// Whether the expression asks for the epoch's time, as the column behind the batch's own.
    is_timed: bool,
}

/// Compiles `expr` for batches of `schema`.
///
/// # Errors
/// When DataFusion has no implementation for it.
pub(super) fn compile(expr: &TypedExpr, schema: &DFSchema) -> Result<ExpressionRef> {
    let (physical, is_timed) = physical(expr, schema)?;
    Ok(Arc::new(Compiled { physical, is_timed }))
}

fn physical(expr: &TypedExpr, schema: &DFSchema) -> Result<(Arc<dyn PhysicalExpr>, bool)> {
    let bound = expr.clone().transform_up(|node| match &node {
        TypedExpr::ScalarFunction(function) if function.func.name() == CURRENT_TIMESTAMP => {
            Ok(Transformed::yes(TypedExpr::Column(Column::new_unqualified(EPOCH_TIME))))
        }
        _ => match shifted_by_constant(&node, schema) {
            Some(shifted) => Ok(Transformed::no(shifted)),
            None => Ok(Transformed::no(node)),
        },
    });
    let bound = bound.map_err(translated)?;
    let (properties, planning) = (ExecutionProps::new(), PhysicalPlanningContext::default());
    if !bound.transformed {
        let physical = create_physical_expr(&bound.data, schema, &properties, &planning).map_err(translated)?;
        return Ok((physical, false));
    }
    let mut fields: Vec<Field> = schema.fields().iter().map(|field| field.as_ref().clone()).collect();
    fields.push(Field::new(EPOCH_TIME, timestamp_type(), false));
    let extended = DFSchema::try_from(Schema::new(fields)).map_err(translated)?;
    let physical = create_physical_expr(&bound.data, &extended, &properties, &planning).map_err(translated)?;
    Ok((physical, true))
}

impl Expression for Compiled {
    fn evaluate(&self, batch: &RecordBatch, time: EpochTime) -> Result<ArrayRef> {
        let rows = batch.num_rows();
        let value = if self.is_timed {
            self.physical.evaluate(&with_time(batch, time)?)
        } else {
            self.physical.evaluate(batch)
        };
        value.and_then(|value| value.into_array(rows)).map_err(translated)
    }
}

/// The batch with the epoch's time as its last column.
fn with_time(batch: &RecordBatch, time: EpochTime) -> Result<RecordBatch> {
    let times = TimestampMicrosecondArray::from_value(time.processing_micros, batch.num_rows()).with_timezone("UTC");
    let mut fields: Vec<Field> = batch.schema_ref().fields().iter().map(|field| field.as_ref().clone()).collect();
    fields.push(Field::new(EPOCH_TIME, times.data_type().clone(), false));
    let mut columns = batch.columns().to_vec();
    columns.push(Arc::new(times));
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

impl fmt::Debug for Compiled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.physical)
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::Int64Array;
    use arrow::datatypes::DataType;
    use datafusion::logical_expr::{col, lit};

    use super::*;

    #[test]
    fn an_expression_is_evaluated_for_each_row() {
        let schema = Schema::new(vec![Field::new("a#1", DataType::Int64, true)]);
        let typed = DFSchema::try_from(schema.clone()).unwrap();
        let column = col(Column::new_unqualified("a#1"));
        let compiled = compile(&(column + lit(1_i64)), &typed).unwrap();
        let batch =
            RecordBatch::try_new(Arc::new(schema), vec![Arc::new(Int64Array::from(vec![Some(1), None]))]).unwrap();
        let result = compiled.evaluate(&batch, EpochTime::default()).unwrap();
        assert_eq!(result.as_ref(), &Int64Array::from(vec![Some(2), None]) as &dyn Array);
    }
}
