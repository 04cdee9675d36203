//! Spark's casts.
//!
//! Owns: which casts exist and when one of arrow's does the same. Does not own: the conversion of columns
//! ([`convert`]) or of single values (`types`).

mod convert;

use arrow::array::ArrayRef;
use arrow::compute::can_cast_types;
use arrow::datatypes::DataType;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::{Expr, ExprSchemable, cast as arrow_cast};

use super::call::{Call, Function, exactly, function};
use super::coerce::{is_binary, is_decimal, is_float, is_integer, is_number, is_text, is_time, timestamp};
use super::kernel::{self, Kernel};
use super::plan_error;
use crate::error::{Error, Result};
use crate::types::{Zone, engine_type, type_name};
use convert::Conversion;

/// Converts `expr` to the type `to` as Spark's `CAST` does.
///
/// Strings are read and times shown in `zone`. What cannot be converted is null, but an error that names the value
/// and the column when `ansi` holds and `null_on_error` (`try_cast`) does not. Constants are converted at once.
///
/// # Errors
/// When no value of the one type can be converted to the other, and for a bad constant under `ansi`.
pub(crate) fn cast(
    expr: Expr,
    to: &DataType,
    schema: &DFSchema,
    zone: Zone,
    ansi: bool,
    null_on_error: bool,
) -> Result<Expr> {
    let from = expr.get_type(schema).map_err(plan_error)?;
    if from == *to {
        return Ok(expr);
    }
    if !is_castable(&from, to) {
        return Err(Error::plan(format!("cannot cast {expr} from {} to {}", type_name(&from), type_name(to))));
    }
    let column = expr.schema_name().to_string();
    let conversion = Conversion { to: to.clone(), zone, strict: ansi && !null_on_error, column };
    if let Expr::Literal(value, _) = &expr {
        let one = conversion.column_of(&value.to_array().map_err(plan_error)?)?;
        return Ok(Expr::Literal(ScalarValue::try_from_array(&one, 0).map_err(plan_error)?, None));
    }
    if is_arrows_cast(&from, to) {
        return Ok(arrow_cast(expr, to.clone()));
    }
    Ok(kernel::call(SparkCast(conversion), to.clone(), vec![expr]))
}

/// A cast to the type a column has.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Same;

impl Kernel for Same {
    fn name(&self) -> &'static str {
        "cast"
    }

    fn evaluate(&self, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        Ok(arguments[0].clone())
    }
}

/// A cast that the user wrote: it makes an event-time column an ordinary one, even where it converts nothing.
///
/// # Errors
/// As [`cast`].
pub(crate) fn written_cast(
    expr: Expr,
    to: &DataType,
    schema: &DFSchema,
    zone: Zone,
    ansi: bool,
    null_on_error: bool,
) -> Result<Expr> {
    let converted = cast(expr, to, schema, zone, ansi, null_on_error)?;
    let is_event_time = matches!(converted, Expr::Column(_)) && crate::operator::is_event_time(to);
    Ok(if is_event_time { kernel::call(Same, to.clone(), vec![converted]) } else { converted })
}

/// The casts that are written as functions: `int(x)`.
pub(super) const FUNCTIONS: &[Function] = &[
    function(&["boolean"], 1, 1, |call, args| one(call, args, &DataType::Boolean)),
    function(&["tinyint"], 1, 1, |call, args| one(call, args, &DataType::Int8)),
    function(&["smallint"], 1, 1, |call, args| one(call, args, &DataType::Int16)),
    function(&["int"], 1, 1, |call, args| one(call, args, &DataType::Int32)),
    function(&["bigint"], 1, 1, |call, args| one(call, args, &DataType::Int64)),
    function(&["float"], 1, 1, |call, args| one(call, args, &DataType::Float32)),
    function(&["double"], 1, 1, |call, args| one(call, args, &DataType::Float64)),
    function(&["decimal"], 1, 1, |call, args| one(call, args, &DataType::Decimal128(10, 0))),
    function(&["string"], 1, 1, |call, args| one(call, args, &DataType::Utf8View)),
    function(&["binary"], 1, 1, |call, args| one(call, args, &DataType::Binary)),
    function(&["date"], 1, 1, |call, args| one(call, args, &DataType::Date32)),
    function(&["timestamp", "to_timestamp_ltz", "timestamp_seconds"], 1, 1, |call, args| one(call, args, &timestamp())),
];

fn one(call: &Call<'_>, args: Vec<Expr>, to: &DataType) -> Result<Expr> {
    let [arg] = exactly(args);
    call.cast(arg, to)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct SparkCast(Conversion);

impl Kernel for SparkCast {
    fn name(&self) -> &'static str {
        "spark_cast"
    }

    fn evaluate(&self, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        self.0.column_of(&arguments[0])
    }

    fn label(&self, argument: &str) -> String {
        format!("CAST({argument} AS {})", type_name(&self.0.to))
    }
}

/// Whether some value of type `from` can be converted to `to`.
pub(super) fn is_castable(from: &DataType, to: &DataType) -> bool {
    match (from, to) {
        (DataType::Null, _) => true,
        (from, to) if from == to || is_text(to) => true,
        (DataType::List(from), DataType::List(to)) | (DataType::Map(from, _), DataType::Map(to, _)) => {
            is_castable(from.data_type(), to.data_type())
        }
        (DataType::Struct(from), DataType::Struct(to)) => {
            from.len() == to.len() && from.iter().zip(to).all(|(a, b)| is_castable(a.data_type(), b.data_type()))
        }
        (from, to) if from.is_nested() || to.is_nested() => can_cast_types(from, to) && from.is_nested(),
        (from, to) if is_text(from) => !to.is_null(),
        (from, to) if is_time(from) && is_time(to) => true,
        (DataType::Timestamp(_, Some(_)), to) => is_number(to),
        (from, DataType::Timestamp(_, Some(_))) => is_number(from),
        (from, to) if is_time(from) || is_time(to) => false,
        (from, to) if is_binary(from) || is_binary(to) => is_binary(from) && is_binary(to),
        (from, to) => can_cast_types(from, to) || (is_decimal(from) && *to == DataType::Boolean),
    }
}

/// Whether arrow's own cast gives the same for every value, and never fails.
fn is_arrows_cast(from: &DataType, to: &DataType) -> bool {
    let width = |data_type: &DataType| data_type.primitive_width();
    match (from, to) {
        (DataType::Null, _) => true,
        (from, to) if is_text(from) => is_text(to) || is_binary(to),
        (from, to) if is_text(to) => is_integer(from) || *from == DataType::Boolean,
        (from, to) if is_integer(from) && is_integer(to) => width(from) < width(to),
        (from, to) if is_float(to) => is_integer(from) || is_float(from) || *from == DataType::Boolean,
        (DataType::Boolean, to) => is_integer(to),
        (from, DataType::Boolean) => is_integer(from) || is_float(from),
        (DataType::List(from), DataType::List(to)) => {
            from.data_type() == to.data_type() || is_arrows_cast(from.data_type(), to.data_type())
        }
        _ => false,
    }
}

/// Converts the result of a function of DataFusion's to the type the engine computes with; large unsigned integers,
/// which count something there, become BIGINT.
pub(super) fn to_engine_type(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    let from = expr.get_type(schema).map_err(plan_error)?;
    let to = if from == DataType::UInt64 { DataType::Int64 } else { engine_type(&from) };
    Ok(if from == to { expr } else { arrow_cast(expr, to) })
}
