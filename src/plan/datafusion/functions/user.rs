//! Functions written by the user.
//!
//! Owns: calling a closure on columns of the types it declared, checking what it gives back, and turning its panic
//! into an error. Does not own: the names they are known by.

use std::any::Any;
use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::compute::cast as arrow_cast;
use arrow::datatypes::DataType;
use datafusion::common::{DFSchema, Result as PlanResult};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::call::wrong_count;
use super::cast::cast;
use super::kernel::{apply, through_datafusion};
use crate::error::{Error, Result};
use crate::expr::ScalarUdf;
use crate::types::{Zone, engine_type, type_name};

/// Calls the user's closure on these arguments, cast to the types it declared.
///
/// It is never evaluated while a query is planned, and once for each row: it counts as volatile. Strings come back as
/// `Utf8View`.
///
/// # Errors
/// When the count of arguments is wrong or one cannot be cast.
pub(crate) fn rust_udf(udf: &Arc<ScalarUdf>, args: Vec<Expr>, schema: &DFSchema) -> Result<Expr> {
    let types = udf.arguments();
    if types.len() != args.len() {
        return Err(wrong_count(udf.name(), &types.len().to_string(), args.len()));
    }
    let args = args.into_iter().zip(types).map(|(arg, to)| {
        cast(arg, to, schema, Zone::UTC, false, false)
            .map_err(|error| error.context(format!("function `{}`", udf.name())))
    });
    let args = args.collect::<Result<Vec<_>>>()?;
    let signature = Signature::user_defined(Volatility::Volatile);
    let function = UserFunction { udf: Arc::clone(udf), returns: engine_type(udf.returns()), signature };
    Ok(apply(ScalarUDF::new_from_impl(function), args))
}

#[derive(Debug)]
struct UserFunction {
    udf: Arc<ScalarUdf>,
    returns: DataType,
    signature: Signature,
}

/// Two functions are the same only if they are one closure.
impl PartialEq for UserFunction {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.udf, &other.udf)
    }
}

impl Eq for UserFunction {}

impl Hash for UserFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.udf).hash(state);
    }
}

impl ScalarUDFImpl for UserFunction {
    fn name(&self) -> &str {
        self.udf.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> PlanResult<Vec<DataType>> {
        Ok(arg_types.to_vec()) // rust_udf has cast them already
    }

    fn return_type(&self, _: &[DataType]) -> PlanResult<DataType> {
        Ok(self.returns.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> PlanResult<ColumnarValue> {
        let rows = args.number_rows;
        let columns = args.args.into_iter().map(|arg| arg.into_array(rows)).collect::<PlanResult<Vec<_>>>()?;
        let result = self.call(&columns, rows).map_err(through_datafusion)?;
        Ok(ColumnarValue::Array(result))
    }
}

impl UserFunction {
    fn call(&self, columns: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
        let name = self.udf.name();
        let result = catch_unwind(AssertUnwindSafe(|| self.udf.body()(columns)));
        let result =
            result.map_err(|panic| Error::user(format!("function `{name}` panicked: {}", text_of(&*panic))))?;
        let result = result.map_err(|error| {
            Error::user(format!("function `{name}` failed: {}", error.message())).with_source(error)
        })?;
        if result.data_type() != self.udf.returns() {
            let (declared, given) = (type_name(self.udf.returns()), type_name(result.data_type()));
            return Err(Error::user(format!(
                "function `{name}` returned {given}, but was declared to return {declared}"
            )));
        }
        let result = if columns.is_empty() && result.len() == 1 { repeated(&result, rows)? } else { result };
        if result.len() != rows {
            let given = result.len();
            return Err(Error::user(format!(
                "function `{name}` returned {given} rows for {rows}; return one for each"
            )));
        }
        Ok(arrow_cast(&result, &self.returns)?)
    }
}

/// A function without arguments cannot know how many rows there are: its one value is that of all rows.
fn repeated(one: &ArrayRef, rows: usize) -> Result<ArrayRef> {
    let same = arrow::array::UInt32Array::from_value(0, rows);
    Ok(arrow::compute::take(one, &same, None)?)
}

/// What a panic said.
fn text_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a message")
}
