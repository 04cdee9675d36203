//! Functions that choose among values.

use super::of_one_column;
use crate::expr::{Expr, ExprNode, IntoCondition, IntoExprs, IntoOperand};

/// The value where the condition holds; `CASE WHEN condition THEN value END`. Goes on with
/// [`Expr::when`] and [`Expr::otherwise`]; without the latter, null where no condition holds.
///
/// ```
/// use millstream::prelude::*;
///
/// let size = when("n > 100", "big").when("n > 10", "middle").otherwise("small");
/// assert_eq!(size.output_name(), "CASE WHEN n > 100 THEN big WHEN n > 10 THEN middle ELSE small END");
/// ```
#[track_caller]
pub fn when(condition: impl IntoCondition, value: impl IntoOperand) -> Expr {
    let branches = vec![(condition.into_condition(), value.into_operand())];
    Expr::new(ExprNode::Case { branches, otherwise: None })
}

/// The first of these columns that is not null.
#[track_caller]
pub fn coalesce(columns: impl IntoExprs) -> Expr {
    Expr::function("coalesce", columns.into_exprs())
}

/// The largest of these columns in each row; nulls are left out.
#[track_caller]
pub fn greatest(columns: impl IntoExprs) -> Expr {
    Expr::function("greatest", columns.into_exprs())
}

/// The smallest of these columns in each row; nulls are left out.
#[track_caller]
pub fn least(columns: impl IntoExprs) -> Expr {
    Expr::function("least", columns.into_exprs())
}

/// The column, or the value where the column is null.
#[track_caller]
pub fn nvl(column: impl Into<Expr>, value: impl IntoOperand) -> Expr {
    Expr::function("nvl", [column.into(), value.into_operand()])
}

/// The same as [`nvl`].
#[track_caller]
pub fn ifnull(column: impl Into<Expr>, value: impl IntoOperand) -> Expr {
    Expr::function("ifnull", [column.into(), value.into_operand()])
}

/// The column, or null where it equals the value.
#[track_caller]
pub fn nullif(column: impl Into<Expr>, value: impl IntoOperand) -> Expr {
    Expr::function("nullif", [column.into(), value.into_operand()])
}

of_one_column! {
    /// Whether a DOUBLE or FLOAT is not a number; false for null.
    isnan => "isnan";
    /// Whether it is null; never null itself.
    isnull => "isnull";
    /// Whether it is not null; never null itself.
    isnotnull => "isnotnull";
}
