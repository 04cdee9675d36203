//! `+ - * / % div` and the operators on bits.
//!
//! Owns: what types meet in them, overflow and division by zero. Does not own: decimals (`decimal`) and times
//! (`time`).

mod decimal;
mod time;

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array, Int64Array};
use arrow::compute::kernels::numeric;
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Expr, Operator, binary_expr, lit};

use super::call::{Call, Function, exactly, function};
use super::coerce::{is_decimal, is_float, is_integer, is_interval, is_text, is_time, number_type};
use super::kernel::{self, Kernel, two_numbers};
use super::plan_error;
use crate::error::{Error, Result};
use decimal::{DecimalOperator, decimal};

pub(super) use decimal::{quotient, rescaled};
pub(super) use time::days_later;
pub(in crate::plan::datafusion) use time::shifted_by_constant;

pub(super) const FUNCTIONS: &[Function] = &[
    function(&["+", "add"], 2, 2, |call, args| plus_or_minus(call, Operator::Plus, exactly(args))),
    function(&["-", "subtract"], 1, 2, minus),
    function(&["*", "multiply"], 2, 2, multiply),
    function(&["/", "divide"], 2, 2, divide),
    function(&["%", "mod"], 2, 2, |call, args| remainder(call, exactly(args), Sign::OfDividend)),
    function(&["pmod"], 2, 2, |call, args| remainder(call, exactly(args), Sign::Positive)),
    function(&["div"], 2, 2, integral_divide),
    function(&["negative"], 1, 1, minus),
    function(&["positive"], 1, 1, positive),
    function(&["&"], 2, 2, |call, args| bits(call, Operator::BitwiseAnd, exactly(args))),
    function(&["|"], 2, 2, |call, args| bits(call, Operator::BitwiseOr, exactly(args))),
    function(&["^"], 2, 2, |call, args| bits(call, Operator::BitwiseXor, exactly(args))),
    function(&["~", "bitwise_not"], 1, 1, bitwise_not),
    function(&["shiftleft", "<<"], 2, 2, |call, args| shift(call, Operator::BitwiseShiftLeft, exactly(args))),
    function(&["shiftright", ">>"], 2, 2, |call, args| shift(call, Operator::BitwiseShiftRight, exactly(args))),
];

fn plus_or_minus(call: &Call<'_>, operator: Operator, [left, right]: [Expr; 2]) -> Result<Expr> {
    let types = [call.type_of(&left)?, call.type_of(&right)?];
    if types.iter().any(|data_type| is_time(data_type) || is_interval(data_type)) {
        return time::plus_or_minus(call, operator, left, right);
    }
    numeric_operation(call, operator, left, right, &types)
}

fn numeric_operation(
    call: &Call<'_>,
    operator: Operator,
    left: Expr,
    right: Expr,
    types: &[DataType; 2],
) -> Result<Expr> {
    let Some(common) = number_type(&types[0], &types[1]) else { return Err(call.mismatch(types)) };
    if is_decimal(&common) {
        let operator = match operator {
            Operator::Plus => DecimalOperator::Add,
            Operator::Minus => DecimalOperator::Subtract,
            _ => DecimalOperator::Multiply,
        };
        return decimal(call, operator, left, right);
    }
    let (left, right) = (call.cast(left, &common)?, call.cast(right, &common)?);
    if call.ansi && is_integer(&common) {
        return Ok(kernel::call(Checked(operator), common, vec![left, right]));
    }
    Ok(binary_expr(left, operator, right)) // wraps around
}

fn minus(call: &Call<'_>, mut args: Vec<Expr>) -> Result<Expr> {
    let Some(right) = (if args.len() == 2 { args.pop() } else { None }) else {
        let [value] = exactly(args);
        return negative(call, value);
    };
    let [left] = exactly(args);
    plus_or_minus(call, Operator::Minus, [left, right])
}

fn negative(call: &Call<'_>, value: Expr) -> Result<Expr> {
    let data_type = call.type_of(&value)?;
    if is_interval(&data_type) {
        return time::scaled(call, value, lit(-1_i64), false);
    }
    let common = number_type(&data_type, &data_type).ok_or_else(|| call.mismatch(std::slice::from_ref(&data_type)))?;
    let value = call.cast(value, &common)?;
    if let Expr::Literal(constant, _) = &value
        && let Ok(negated) = constant.arithmetic_negate()
    {
        return Ok(lit(negated));
    }
    if call.ansi && is_integer(&common) {
        let zero = lit(ScalarValue::new_zero(&common).map_err(plan_error)?);
        return Ok(kernel::call(Checked(Operator::Minus), common, vec![zero, value]));
    }
    Ok(Expr::Negative(Box::new(value)))
}

fn positive(call: &Call<'_>, args: Vec<Expr>) -> Result<Expr> {
    let [value] = exactly(args);
    let data_type = call.type_of(&value)?;
    match number_type(&data_type, &data_type) {
        Some(number) => call.cast(value, &number),
        None if is_interval(&data_type) => Ok(value),
        None => Err(call.mismatch(&[data_type])),
    }
}

fn multiply(call: &Call<'_>, args: Vec<Expr>) -> Result<Expr> {
    let [left, right] = exactly(args);
    let types = [call.type_of(&left)?, call.type_of(&right)?];
    match (is_interval(&types[0]), is_interval(&types[1])) {
        (true, false) => time::scaled(call, left, right, false),
        (false, true) => time::scaled(call, right, left, false),
        _ => numeric_operation(call, Operator::Multiply, left, right, &types),
    }
}

/// `/`: DECIMAL of decimals, otherwise DOUBLE; null for a zero divisor.
fn divide(call: &Call<'_>, args: Vec<Expr>) -> Result<Expr> {
    let [left, right] = exactly(args);
    let types = [call.type_of(&left)?, call.type_of(&right)?];
    if is_interval(&types[0]) {
        return time::scaled(call, left, right, true);
    }
    let Some(common) = number_type(&types[0], &types[1]) else { return Err(call.mismatch(&types)) };
    if is_decimal(&common) {
        return decimal(call, DecimalOperator::Divide, left, right);
    }
    let args = vec![call.double(left)?, call.double(right)?];
    Ok(kernel::call(Divide { ansi: call.ansi }, DataType::Float64, args))
}

fn remainder(call: &Call<'_>, [left, right]: [Expr; 2], sign: Sign) -> Result<Expr> {
    let types = [call.type_of(&left)?, call.type_of(&right)?];
    let Some(common) = number_type(&types[0], &types[1]) else { return Err(call.mismatch(&types)) };
    if is_decimal(&common) {
        let operator = match sign {
            Sign::OfDividend => DecimalOperator::Remainder,
            Sign::Positive => DecimalOperator::PositiveRemainder,
        };
        return decimal(call, operator, left, right);
    }
    let wide = if is_float(&common) { DataType::Float64 } else { DataType::Int64 };
    let args = vec![call.cast(left, &wide)?, call.cast(right, &wide)?];
    call.cast(kernel::call(Remainder { sign, ansi: call.ansi }, wide, args), &common)
}

/// `div`: the whole quotient as BIGINT; null for a zero divisor.
fn integral_divide(call: &Call<'_>, args: Vec<Expr>) -> Result<Expr> {
    let [left, right] = exactly(args);
    let types = [call.type_of(&left)?, call.type_of(&right)?];
    let common = number_type(&types[0], &types[1]).filter(|common| !is_float(common) || types.iter().any(is_text));
    let Some(common) = common.or_else(|| types.iter().all(DataType::is_null).then_some(DataType::Int64)) else {
        return Err(call.mismatch(&types));
    };
    if is_decimal(&common) {
        let quotient = decimal(call, DecimalOperator::Quotient, left, right)?;
        return call.long(quotient);
    }
    let args = vec![call.long(left)?, call.long(right)?];
    Ok(kernel::call(IntegralDivide { ansi: call.ansi }, DataType::Int64, args))
}

fn bits(call: &Call<'_>, operator: Operator, [left, right]: [Expr; 2]) -> Result<Expr> {
    let types = [call.type_of(&left)?, call.type_of(&right)?];
    let common = if types.iter().any(is_text) { Some(DataType::Int64) } else { number_type(&types[0], &types[1]) };
    let Some(common) = common.filter(is_integer) else { return Err(call.mismatch(&types)) };
    Ok(binary_expr(call.cast(left, &common)?, operator, call.cast(right, &common)?))
}

fn bitwise_not(call: &Call<'_>, args: Vec<Expr>) -> Result<Expr> {
    let [value] = exactly(args);
    bits(call, Operator::BitwiseXor, [value, lit(-1_i8)])
}

fn shift(call: &Call<'_>, operator: Operator, [value, count]: [Expr; 2]) -> Result<Expr> {
    let data_type = call.type_of(&value)?;
    let width = if data_type == DataType::Int64 { DataType::Int64 } else { DataType::Int32 };
    if !is_integer(&data_type) {
        return Err(call.mismatch(&[data_type]));
    }
    Ok(binary_expr(call.cast(value, &width)?, operator, call.cast(count, &width)?))
}

fn division_by_zero(name: &str) -> Error {
    Error::data(format!("division by zero in `{name}`; use nullif(divisor, 0) to get null instead"))
}

/// Whole-number arithmetic that fails when the result does not fit.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Checked(Operator);

impl Kernel for Checked {
    fn name(&self) -> &'static str {
        match self.0 {
            Operator::Plus => "checked_add",
            Operator::Minus => "checked_subtract",
            _ => "checked_multiply",
        }
    }

    fn evaluate(&self, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        let (left, right) = (&arguments[0], &arguments[1]);
        let result = match self.0 {
            Operator::Plus => numeric::add(left, right),
            Operator::Minus => numeric::sub(left, right),
            _ => numeric::mul(left, right),
        };
        result.map_err(|error| {
            Error::data(format!("integer overflow in `{}`: {error}; cast the arguments to BIGINT or DECIMAL", self.0))
        })
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Divide {
    ansi: bool,
}

impl Kernel for Divide {
    fn name(&self) -> &'static str {
        "divide"
    }

    fn evaluate(&self, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        let (left, right) = (arguments[0].as_primitive::<Float64Type>(), arguments[1].as_primitive::<Float64Type>());
        let mut by_zero = false;
        let quotient: Float64Array = two_numbers(left, right, |left, right| {
            by_zero |= right == 0.0;
            (right != 0.0).then(|| left / right)
        });
        if by_zero && self.ansi { Err(division_by_zero("/")) } else { Ok(Arc::new(quotient)) }
    }
}

/// Which sign a remainder has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Sign {
    OfDividend,
    Positive,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Remainder {
    sign: Sign,
    ansi: bool,
}

impl Kernel for Remainder {
    fn name(&self) -> &'static str {
        match self.sign {
            Sign::OfDividend => "remainder",
            Sign::Positive => "pmod",
        }
    }

    fn evaluate(&self, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        let mut by_zero = false;
        let positive = self.sign == Sign::Positive;
        let result: ArrayRef = if let Some(left) = arguments[0].as_primitive_opt::<Int64Type>() {
            let right = arguments[1].as_primitive::<Int64Type>();
            let result: Int64Array = two_numbers(left, right, |left: i64, right: i64| {
                by_zero |= right == 0;
                let rest = if right == 0 { return None } else { left.wrapping_rem(right) };
                Some(if positive && rest < 0 { rest.wrapping_add(right).wrapping_rem(right) } else { rest })
            });
            Arc::new(result)
        } else {
            let (left, right) =
                (arguments[0].as_primitive::<Float64Type>(), arguments[1].as_primitive::<Float64Type>());
            let result: Float64Array = two_numbers(left, right, |left: f64, right: f64| {
                by_zero |= right == 0.0;
                let rest = if right == 0.0 { return None } else { left % right };
                Some(if positive && rest < 0.0 { (rest + right) % right } else { rest })
            });
            Arc::new(result)
        };
        if by_zero && self.ansi { Err(division_by_zero(self.name())) } else { Ok(result) }
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct IntegralDivide {
    ansi: bool,
}

impl Kernel for IntegralDivide {
    fn name(&self) -> &'static str {
        "div"
    }

    fn evaluate(&self, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        let (left, right) = (arguments[0].as_primitive::<Int64Type>(), arguments[1].as_primitive::<Int64Type>());
        let mut by_zero = false;
        let quotient: Int64Array = two_numbers(left, right, |left: i64, right: i64| {
            by_zero |= right == 0;
            (right != 0).then(|| left.wrapping_div(right))
        });
        if by_zero && self.ansi { Err(division_by_zero("div")) } else { Ok(Arc::new(quotient)) }
    }
}
