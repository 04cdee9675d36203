//! One aggregate call: which function, over what, under which name.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};

use super::AccumulatorFactory;
use super::native::NativeFactory;
use crate::error::Result;
use crate::operator::ExpressionRef;

/// The functions whose running values are plain columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NativeFunction {
    /// Rows whose argument is not null; without arguments, rows.
    Count,
    /// The sum of BIGINT or DOUBLE values; null without values. BIGINT wraps around as Spark's non-ANSI sum does.
    Sum,
    /// The mean of DOUBLE values; null without values.
    Avg,
    /// The smallest value.
    Min,
    /// The largest value.
    Max,
}

/// One aggregate call of an aggregation.
#[derive(Debug, Clone)]
pub struct AggregateCall {
    /// The name of its output column.
    pub name: String,
    /// The arguments as compiled expressions over the input.
    pub arguments: Vec<ExpressionRef>,
    /// Makes its running values.
    pub factory: Arc<dyn AccumulatorFactory>,
}

impl AggregateCall {
    /// A call of a native function over arguments of this type; `None` for `count(*)`.
    ///
    /// # Errors
    /// When the function has no native form for the type.
    pub fn native(
        name: impl Into<String>,
        function: NativeFunction,
        argument: Option<(ExpressionRef, DataType)>,
    ) -> Result<Self> {
        let (arguments, data_type) = argument.map_or((vec![], None), |(expr, data_type)| (vec![expr], Some(data_type)));
        let factory = Arc::new(NativeFactory::new(function, data_type)?);
        Ok(Self { name: name.into(), arguments, factory })
    }

    pub(super) fn output_field(&self) -> FieldRef {
        let data_type = self.factory.output_type();
        Arc::new(Field::new(&self.name, data_type, true))
    }
}
