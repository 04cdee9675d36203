//! `max_by(value, order)` and `min_by(value, order)`.
//!
//! Owns: the value that stands beside the largest or smallest order; rows whose order is null do not count, and of
//! equal orders the first one wins.

use std::cmp::Ordering;
use std::mem::size_of_val;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, make_comparator};
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{Accumulator, AggregateUDFImpl, Signature, Volatility};

/// The function.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct ExtremeBy {
    is_max: bool,
    value: DataType,
    order: DataType,
    signature: Signature,
}

impl ExtremeBy {
    /// `max_by`, or `min_by`, over arguments of these types.
    pub(super) fn new(is_max: bool, value: DataType, order: DataType) -> Self {
        Self { is_max, value, order, signature: Signature::any(2, Volatility::Immutable) }
    }
}

impl AggregateUDFImpl for ExtremeBy {
    fn name(&self) -> &'static str {
        if self.is_max { "max_by" } else { "min_by" }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.value.clone())
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let field = |part, data_type: &DataType| {
            Arc::new(Field::new(format_state_name(args.name, part), data_type.clone(), true))
        };
        Ok(vec![field("value", &self.value), field("order", &self.order)])
    }

    fn accumulator(&self, _: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let better = if self.is_max { Ordering::Greater } else { Ordering::Less };
        let (value, order) = (ScalarValue::try_from(&self.value)?, ScalarValue::try_from(&self.order)?);
        Ok(Box::new(Extreme { better, value, order }))
    }
}

/// The best row so far; its order is null when there was none.
#[derive(Debug)]
struct Extreme {
    better: Ordering,
    value: ScalarValue,
    order: ScalarValue,
}

impl Accumulator for Extreme {
    fn update_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        let (values, orders) = (&columns[0], &columns[1]);
        let compare = make_comparator(orders, orders, SortOptions::default())?;
        let known = (0..orders.len()).filter(|row| orders.is_valid(*row));
        let best = known.reduce(|best, row| if compare(row, best) == self.better { row } else { best });
        let Some(best) = best else { return Ok(()) };
        let order = ScalarValue::try_from_array(orders, best)?;
        if self.order.is_null() || order.partial_cmp(&self.order) == Some(self.better) {
            self.order = order.compacted();
            self.value = ScalarValue::try_from_array(values, best)?.compacted();
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.value.clone(), self.order.clone()])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(self.value.clone())
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.value.size() + self.order.size()
    }
}
