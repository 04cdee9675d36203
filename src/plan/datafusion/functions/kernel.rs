//! Column functions of our own in the shape DataFusion calls.
//!
//! Owns: the adapter from [`Kernel`] to a scalar function, constants as columns, rows to text columns. Does not own:
//! what any function computes.

use std::fmt;
use std::hash::Hash;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, Int32Array, PrimitiveArray, StringViewArray, StringViewBuilder,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Int32Type};
use datafusion::common::{DataFusionError, Result as PlanResult, ScalarValue};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use crate::error::{Error, Result};

/// A deterministic function from columns of equal length to one column of that length.
///
/// Two kernels that are equal compute the same; parameters known at planning (patterns, zones) are their fields.
pub(super) trait Kernel: fmt::Debug + Eq + Hash + Send + Sync + 'static {
    /// The name in plans and messages.
    fn name(&self) -> &str;

    /// Computes the column. Constant arguments arrive as columns too.
    fn evaluate(&self, arguments: &[ArrayRef]) -> Result<ArrayRef>;

    /// The call as plans show it, given the text of its arguments.
    fn label(&self, arguments: &str) -> String {
        format!("{}({arguments})", self.name())
    }
}

/// Calls `kernel`, whose result has the type `returns`.
pub(super) fn call<K: Kernel>(kernel: K, returns: DataType, arguments: Vec<Expr>) -> Expr {
    let signature = Signature::user_defined(Volatility::Immutable);
    apply(ScalarUDF::new_from_impl(KernelFunction { kernel, returns, signature }), arguments)
}

/// Calls a scalar function.
pub(super) fn apply(function: impl Into<Arc<ScalarUDF>>, arguments: Vec<Expr>) -> Expr {
    Expr::ScalarFunction(ScalarFunction::new_udf(function.into(), arguments))
}

/// Hands an error of ours through DataFusion, which gives it back as it was.
pub(super) fn through_datafusion(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct KernelFunction<K> {
    kernel: K,
    returns: DataType,
    signature: Signature,
}

impl<K: Kernel> ScalarUDFImpl for KernelFunction<K> {
    fn name(&self) -> &str {
        self.kernel.name()
    }

    fn display_name(&self, args: &[Expr]) -> PlanResult<String> {
        let args: Vec<_> = args.iter().map(ToString::to_string).collect();
        Ok(self.kernel.label(&args.join(", ")))
    }

    fn schema_name(&self, args: &[Expr]) -> PlanResult<String> {
        let args: Vec<_> = args.iter().map(|arg| arg.schema_name().to_string()).collect();
        Ok(self.kernel.label(&args.join(", ")))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> PlanResult<Vec<DataType>> {
        Ok(arg_types.to_vec()) // the registry has cast them already
    }

    fn return_type(&self, _: &[DataType]) -> PlanResult<DataType> {
        Ok(self.returns.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> PlanResult<ColumnarValue> {
        let constant = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if constant { 1 } else { args.number_rows };
        let columns = args.args.into_iter().map(|arg| arg.into_array(rows)).collect::<PlanResult<Vec<_>>>()?;
        let result = self.kernel.evaluate(&columns).map_err(through_datafusion)?;
        if constant {
            return ScalarValue::try_from_array(&result, 0).map(ColumnarValue::Scalar);
        }
        Ok(ColumnarValue::Array(result))
    }
}

/// The rows in which no argument is null; `None` when that is all of them.
pub(super) fn complete_rows(arguments: &[ArrayRef]) -> Option<NullBuffer> {
    arguments.iter().fold(None, |nulls, argument| NullBuffer::union(nulls.as_ref(), argument.logical_nulls().as_ref()))
}

/// Whether no argument is null in `row`, by the answer of [`complete_rows`].
pub(super) fn is_complete(rows: Option<&NullBuffer>, row: usize) -> bool {
    rows.is_none_or(|rows| rows.is_valid(row))
}

/// The argument as strings; the registry has cast it.
pub(super) fn texts(argument: &ArrayRef) -> &StringViewArray {
    argument.as_string_view()
}

/// The argument as INT; the registry has cast it.
pub(super) fn ints(argument: &ArrayRef) -> &Int32Array {
    argument.as_primitive::<Int32Type>()
}

/// A STRING column out of parts of other strings; rows with a null argument are null without a call of `part`.
pub(super) fn text_parts<'a>(arguments: &[ArrayRef], mut part: impl FnMut(usize) -> Option<&'a str>) -> ArrayRef {
    let complete = complete_rows(arguments);
    let rows = arguments.first().map_or(0, Array::len);
    let mut result = StringViewBuilder::with_capacity(rows);
    for row in 0..rows {
        result.append_option(if is_complete(complete.as_ref(), row) { part(row) } else { None });
    }
    Arc::new(result.finish())
}

/// A STRING column written row by row into a buffer that is used again; `false` from `write` makes the row null, and
/// rows with a null argument are null without a call of it.
pub(super) fn text_rows(arguments: &[ArrayRef], mut write: impl FnMut(usize, &mut String) -> bool) -> ArrayRef {
    let complete = complete_rows(arguments);
    let rows = arguments.first().map_or(0, Array::len);
    let mut result = StringViewBuilder::with_capacity(rows);
    let mut buffer = String::new();
    for row in 0..rows {
        buffer.clear();
        let written = is_complete(complete.as_ref(), row) && write(row, &mut buffer);
        result.append_option(written.then_some(buffer.as_str()));
    }
    Arc::new(result.finish())
}

/// An INT column computed row by row; rows with a null argument are null without a call of `value`.
pub(super) fn int_rows(arguments: &[ArrayRef], mut value: impl FnMut(usize) -> Option<i32>) -> ArrayRef {
    let complete = complete_rows(arguments);
    let rows = arguments.first().map_or(0, Array::len);
    let values = (0..rows).map(|row| if is_complete(complete.as_ref(), row) { value(row) } else { None });
    Arc::new(values.collect::<Int32Array>())
}

/// A column of numbers out of two, computed row by row; rows with a null argument are null without a call of `value`.
pub(super) fn two_numbers<A, B, O>(
    left: &PrimitiveArray<A>,
    right: &PrimitiveArray<B>,
    mut value: impl FnMut(A::Native, B::Native) -> Option<O::Native>,
) -> PrimitiveArray<O>
where
    A: ArrowPrimitiveType,
    B: ArrowPrimitiveType,
    O: ArrowPrimitiveType,
{
    left.iter().zip(right).map(|(left, right)| value(left?, right?)).collect()
}
