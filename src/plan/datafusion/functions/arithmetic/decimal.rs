//! Arithmetic of decimals.
//!
//! Owns: the precision and scale of every result, rounding half up, overflow. Does not own: which arguments meet as
//! decimals.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array};
use arrow::datatypes::{DataType, Decimal128Type, i256};
use datafusion::logical_expr::Expr;

use super::super::call::{Call, constant_integer};
use super::super::coerce::{bounded_decimal, decimal_of};
use super::super::kernel::{self, Kernel, complete_rows, is_complete};
use super::division_by_zero;
use crate::error::{Error, Result};

/// The digits after the point that a quotient has at least.
const LEAST_QUOTIENT_SCALE: i32 = 6;

/// What two decimals are put through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum DecimalOperator {
    Add,
    Subtract,
    Multiply,
    Divide,
    /// With the sign of the dividend.
    Remainder,
    /// Not negative for a positive divisor.
    PositiveRemainder,
    /// The whole quotient, cut.
    Quotient,
}

/// Applies `operator` to two numbers as decimals.
pub(super) fn decimal(call: &Call<'_>, operator: DecimalOperator, left: Expr, right: Expr) -> Result<Expr> {
    let (left, right) = (as_decimal(call, left)?, as_decimal(call, right)?);
    let types = [call.type_of(&left)?, call.type_of(&right)?];
    let (Some(a), Some(b)) = (decimal_of(&types[0]), decimal_of(&types[1])) else { return Err(call.mismatch(&types)) };
    let returns = operator.result_type(a, b);
    let (precision, scale) = decimal_of(&returns).unwrap_or(a);
    Ok(with_digits(call, operator, [left, right], (precision, scale)))
}

/// Divides two decimals to a result of this precision and scale.
pub(in super::super) fn quotient(call: &Call<'_>, sides: [Expr; 2], digits: (u8, i8)) -> Result<Expr> {
    let [left, right] = sides;
    let sides = [as_decimal(call, left)?, as_decimal(call, right)?];
    Ok(with_digits(call, DecimalOperator::Divide, sides, digits))
}

fn with_digits(call: &Call<'_>, operator: DecimalOperator, sides: [Expr; 2], (precision, scale): (u8, i8)) -> Expr {
    let arithmetic = DecimalArithmetic { operator, precision, scale, ansi: call.ansi };
    kernel::call(arithmetic, DataType::Decimal128(precision, scale), sides.into())
}

/// A constant integer becomes a decimal of just its digits, so that it does not widen the result.
fn as_decimal(call: &Call<'_>, expr: Expr) -> Result<Expr> {
    let data_type = call.type_of(&expr)?;
    let digits = constant_integer(&expr).and_then(|value| u8::try_from(value.unsigned_abs().to_string().len()).ok());
    let (precision, scale) = decimal_of(&data_type).unwrap_or((1, 0));
    let precision = if scale == 0 { digits.unwrap_or(precision) } else { precision };
    call.cast(expr, &DataType::Decimal128(precision, scale))
}

impl DecimalOperator {
    fn result_type(self, (p1, s1): (u8, i8), (p2, s2): (u8, i8)) -> DataType {
        let [p1, p2, s1, s2] = [i32::from(p1), i32::from(p2), i32::from(s1), i32::from(s2)];
        let widest = s1.max(s2);
        match self {
            Self::Add | Self::Subtract => bounded_decimal((p1 - s1).max(p2 - s2) + widest + 1, widest),
            Self::Multiply => bounded_decimal(p1 + p2 + 1, s1 + s2),
            Self::Divide => {
                let scale = (s1 + p2 + 1).max(LEAST_QUOTIENT_SCALE);
                bounded_decimal(p1 - s1 + s2 + scale, scale)
            }
            Self::Remainder | Self::PositiveRemainder => bounded_decimal((p1 - s1).min(p2 - s2) + widest, widest),
            Self::Quotient => bounded_decimal((p1 - s1 + s2).max(1), 0),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Add => "decimal_add",
            Self::Subtract => "decimal_subtract",
            Self::Multiply => "decimal_multiply",
            Self::Divide => "decimal_divide",
            Self::Remainder => "decimal_remainder",
            Self::PositiveRemainder => "decimal_pmod",
            Self::Quotient => "decimal_div",
        }
    }

    fn divides(self) -> bool {
        !matches!(self, Self::Add | Self::Subtract | Self::Multiply)
    }

    /// The unscaled result with `scale` digits after the point; `None` when it is beyond all bounds.
    fn apply(self, (left, s1): (i256, i32), (right, s2): (i256, i32), scale: i32) -> Option<i256> {
        let widest = s1.max(s2);
        let aligned = || Some((rescaled(left, s1, widest)?, rescaled(right, s2, widest)?));
        match self {
            Self::Add => aligned().and_then(|(left, right)| rescaled(left.checked_add(right)?, widest, scale)),
            Self::Subtract => aligned().and_then(|(left, right)| rescaled(left.checked_sub(right)?, widest, scale)),
            Self::Multiply => rescaled(left.checked_mul(right)?, s1 + s2, scale),
            Self::Divide => {
                let up = scale + s2 - s1;
                let left = left.checked_mul(power_of_ten(up.max(0))?)?;
                rounded_quotient(left, right.checked_mul(power_of_ten((-up).max(0))?)?)
            }
            Self::Remainder => aligned().and_then(|(left, right)| rescaled(left.checked_rem(right)?, widest, scale)),
            Self::PositiveRemainder => {
                let (left, right) = aligned()?;
                let rest = left.checked_rem(right)?;
                let rest = if rest < i256::ZERO { rest.checked_add(right)?.checked_rem(right)? } else { rest };
                rescaled(rest, widest, scale)
            }
            Self::Quotient => aligned().and_then(|(left, right)| left.checked_div(right)),
        }
    }
}

fn power_of_ten(exponent: i32) -> Option<i256> {
    i256::from_i128(10).checked_pow(u32::try_from(exponent).ok()?)
}

/// The same number with another count of digits after the point, rounded half up (away from zero).
pub(in super::super) fn rescaled(value: i256, from: i32, to: i32) -> Option<i256> {
    if from <= to {
        return value.checked_mul(power_of_ten(to - from)?);
    }
    rounded_quotient(value, power_of_ten(from - to)?)
}

fn rounded_quotient(left: i256, right: i256) -> Option<i256> {
    let quotient = left.checked_div(right)?;
    let rest = left.checked_rem(right)?.checked_abs()?;
    if rest < right.checked_abs()?.checked_sub(rest)? {
        return Some(quotient);
    }
    let away = if (left < i256::ZERO) == (right < i256::ZERO) { i256::ONE } else { i256::MINUS_ONE };
    quotient.checked_add(away)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct DecimalArithmetic {
    operator: DecimalOperator,
    precision: u8,
    scale: i8,
    ansi: bool,
}

impl Kernel for DecimalArithmetic {
    fn name(&self) -> &'static str {
        self.operator.name()
    }

    fn evaluate(&self, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        let complete = complete_rows(arguments);
        let sides = [arguments[0].as_primitive::<Decimal128Type>(), arguments[1].as_primitive::<Decimal128Type>()];
        let scales = sides.map(|side| i32::from(side.scale()));
        let bound = i256::from_i128(10_i128.checked_pow(u32::from(self.precision)).unwrap_or(i128::MAX));
        let mut values = Decimal128Array::builder(arguments[0].len());
        for row in 0..arguments[0].len() {
            if !is_complete(complete.as_ref(), row) {
                values.append_null();
                continue;
            }
            let [left, right] = sides.map(|side| i256::from_i128(side.value(row)));
            if self.operator.divides() && right == i256::ZERO {
                if self.ansi {
                    return Err(division_by_zero(self.name()));
                }
                values.append_null();
                continue;
            }
            let value = self.operator.apply((left, scales[0]), (right, scales[1]), i32::from(self.scale));
            let value = value.filter(|value| value.checked_abs().is_some_and(|size| size < bound));
            let value = value.and_then(i256::to_i128);
            if value.is_none() && self.ansi {
                return Err(Error::data(format!(
                    "decimal overflow in `{}`: the result has more than {} digits; cast the arguments to DOUBLE",
                    self.name(),
                    self.precision
                )));
            }
            values.append_option(value);
        }
        Ok(Arc::new(values.finish().with_precision_and_scale(self.precision, self.scale)?))
    }
}
