//! Functions over numbers.

use super::of_one_column;
use crate::expr::{Expr, IntoOperand};

of_one_column! {
    /// Without its sign, in the same type.
    abs => "abs";
    /// The next whole number up, as BIGINT.
    ceil => "ceil";
    /// The next whole number down, as BIGINT.
    floor => "floor";
    /// The square root as DOUBLE; not a number for negative ones.
    sqrt => "sqrt";
    /// e to the power of the column, as DOUBLE.
    exp => "exp";
    /// The natural logarithm as DOUBLE; null for zero and below.
    ln => "ln";
    /// The logarithm to the base of 10 as DOUBLE; null for zero and below.
    log10 => "log10";
    /// The logarithm to the base of 2 as DOUBLE; null for zero and below.
    log2 => "log2";
    /// -1.0, 0.0 or 1.0.
    signum => "signum";
}

/// Rounded half up to so many digits after the point, negative before it; the type stays.
#[track_caller]
pub fn round(column: impl Into<Expr>, digits: i32) -> Expr {
    Expr::function("round", [column.into(), digits.into_operand()])
}

/// The column to the power of a value, as DOUBLE.
#[track_caller]
pub fn pow(column: impl Into<Expr>, exponent: impl IntoOperand) -> Expr {
    Expr::function("pow", [column.into(), exponent.into_operand()])
}

/// The remainder with the sign of the divisor, so never negative for a positive one.
#[track_caller]
pub fn pmod(column: impl Into<Expr>, divisor: impl IntoOperand) -> Expr {
    Expr::function("pmod", [column.into(), divisor.into_operand()])
}
