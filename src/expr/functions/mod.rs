//! Functions that build expressions, under Spark's names.
//!
//! Owns: which arguments are columns (text is a name) and which are values (text is a string), and the methods and
//! operators of [`Expr`]. Does not own: what a function computes (`plan`). Unless said otherwise, the result is null
//! when an argument is null.

mod aggregate;
mod conditional;
mod methods;
mod number;
#[cfg(test)]
mod tests;
mod text;
mod time;

pub use aggregate::*;
pub use conditional::*;
pub use number::*;
pub use text::*;
pub use time::*;

use super::{CastTarget, Expr, ExprNode, IntoCondition, IntoExprs, IntoOperand};

/// Declares functions of one column: `rust_name => "spark_name"`.
macro_rules! of_one_column {
    ($($(#[$doc:meta])* $name:ident => $spark:literal;)*) => {$(
        $(#[$doc])*
        #[track_caller]
        pub fn $name(column: impl Into<crate::expr::Expr>) -> crate::expr::Expr {
            crate::expr::Expr::function($spark, [column.into()])
        }
    )*};
}
use of_one_column;

/// A column by name: `word`, `alias.word`, `struct.field`; matched without case. Backticks keep a dot in a name.
#[track_caller]
pub fn col(name: impl AsRef<str>) -> Expr {
    Expr::from(name.as_ref())
}

/// A constant. `lit("a")` is the string, `lit(None::<i32>)` is NULL.
#[track_caller]
pub fn lit(value: impl IntoOperand) -> Expr {
    value.into_operand()
}

/// One expression in SQL text, read at analysis: `expr("length(word) > 3 AS is_long")`.
#[track_caller]
pub fn expr(text: impl Into<String>) -> Expr {
    Expr::new(ExprNode::Sql(text.into()))
}

/// A function by its name: one registered with the session, or any of Spark's that has no Rust function here.
#[track_caller]
pub fn call_udf(name: impl AsRef<str>, arguments: impl IntoExprs) -> Expr {
    Expr::function(name.as_ref(), arguments.into_exprs())
}

/// The opposite of a condition; null stays null.
#[track_caller]
pub fn not(condition: impl IntoCondition) -> Expr {
    Expr::function("not", [condition.into_condition()])
}

/// A sort key, smallest first, nulls first.
#[track_caller]
pub fn asc(column: impl Into<Expr>) -> Expr {
    column.into().asc()
}

/// A sort key, largest first, nulls last.
#[track_caller]
pub fn desc(column: impl Into<Expr>) -> Expr {
    column.into().desc()
}

/// The value as another type, or null where it cannot be converted, whatever the session says.
#[track_caller]
pub fn try_cast(column: impl Into<Expr>, to: impl Into<CastTarget>) -> Expr {
    column.into().try_cast(to)
}

of_one_column! {
    /// One row for each item of an ARRAY, in a column named `col` unless it has an alias. Rows whose array is null or
    /// empty disappear. Stands in `select` only, once.
    explode => "explode";
    /// As [`explode`], but a null or empty array gives one row with null.
    explode_outer => "explode_outer";
    /// The number of items of an ARRAY or MAP as INT.
    size => "size";
}

/// The item of an ARRAY by its place, from 1, negative from the end; of a MAP by its key. Null when there is none.
#[track_caller]
pub fn element_at(column: impl Into<Expr>, place: impl IntoOperand) -> Expr {
    Expr::function("element_at", [column.into(), place.into_operand()])
}

/// Whether an ARRAY holds a value. Null when it does not but holds a null.
#[track_caller]
pub fn array_contains(column: impl Into<Expr>, value: impl IntoOperand) -> Expr {
    Expr::function("array_contains", [column.into(), value.into_operand()])
}

/// An ARRAY of columns of one type; null items are kept.
#[track_caller]
pub fn array(columns: impl IntoExprs) -> Expr {
    Expr::function("array", columns.into_exprs())
}

/// A STRUCT of columns; a field is named as its column or alias, or `col1`, `col2`, … by its place. Never null.
#[track_caller]
pub fn struct_(columns: impl IntoExprs) -> Expr {
    let columns = columns.into_exprs();
    let mut named = Vec::with_capacity(columns.len() * 2);
    for (place, column) in columns.iter().enumerate() {
        let (name, value) = struct_field(column, place);
        named.extend([lit(name), value]);
    }
    Expr::function("named_struct", named)
}

/// The name and the value of a field of `struct(…)`, counted from 0.
pub(crate) fn struct_field(column: &Expr, place: usize) -> (String, Expr) {
    match column.node() {
        ExprNode::Alias(value, name) => (name.clone(), value.clone()),
        ExprNode::Column(_) | ExprNode::Field(..) => (column.output_name(), column.clone()),
        _ => (format!("col{}", place + 1), column.clone()),
    }
}
