//! Functions over STRING. Places count letters from 1.

use super::of_one_column;
use crate::expr::{Expr, IntoExprs, IntoOperand};

of_one_column! {
    /// In lower case.
    lower => "lower";
    /// In upper case.
    upper => "upper";
    /// The first letter of each word in upper case, the others in lower case.
    initcap => "initcap";
    /// The number of letters as INT; of a BINARY, the number of bytes.
    length => "length";
    /// Without blanks at both ends.
    trim => "trim";
    /// Without blanks at the start.
    ltrim => "ltrim";
    /// Without blanks at the end.
    rtrim => "rtrim";
    /// Backwards; also the items of an ARRAY.
    reverse => "reverse";
}

/// Declares functions of a column and one value.
macro_rules! of_column_and_value {
    ($($(#[$doc:meta])* $name:ident($value:ident) => $spark:literal;)*) => {$(
        $(#[$doc])*
        #[track_caller]
        pub fn $name(column: impl Into<Expr>, $value: impl IntoOperand) -> Expr {
            Expr::function($spark, [column.into(), $value.into_operand()])
        }
    )*};
}

of_column_and_value! {
    /// Whether it begins with a text.
    starts_with(prefix) => "startswith";
    /// Whether it ends with a text.
    ends_with(suffix) => "endswith";
    /// Whether it holds a text.
    contains(part) => "contains";
    /// The place of the first occurrence of a text as INT; 0 when there is none.
    instr(part) => "instr";
    /// So many times in a row.
    repeat(times) => "repeat";
}

/// One after another; null when one of them is. Also joins ARRAYs.
#[track_caller]
pub fn concat(columns: impl IntoExprs) -> Expr {
    Expr::function("concat", columns.into_exprs())
}

/// One after another with a separator between; nulls are left out.
#[track_caller]
pub fn concat_ws(separator: &str, columns: impl IntoExprs) -> Expr {
    let mut arguments = vec![separator.into_operand()];
    arguments.extend(columns.into_exprs());
    Expr::function("concat_ws", arguments)
}

/// The parts between matches of a regular expression, as ARRAY of STRING; empty parts are kept.
#[track_caller]
pub fn split(column: impl Into<Expr>, pattern: &str) -> Expr {
    Expr::function("split", [column.into(), pattern.into_operand()])
}

/// As [`split`], into at most `limit` parts, the last of which holds the rest; 0 and below set no limit.
#[track_caller]
pub fn split_limit(column: impl Into<Expr>, pattern: &str, limit: i32) -> Expr {
    Expr::function("split", [column.into(), pattern.into_operand(), limit.into_operand()])
}

/// The part of so many letters that begins at a place from 1, negative from the end.
#[track_caller]
pub fn substring(column: impl Into<Expr>, place: impl IntoOperand, length: impl IntoOperand) -> Expr {
    Expr::function("substring", [column.into(), place.into_operand(), length.into_operand()])
}

/// With another text in place of every occurrence of one.
#[track_caller]
pub fn replace(column: impl Into<Expr>, from: impl IntoOperand, to: impl IntoOperand) -> Expr {
    Expr::function("replace", [column.into(), from.into_operand(), to.into_operand()])
}

/// The first match of a regular expression: its group of this number, or all of it for 0. Empty without a match.
#[track_caller]
pub fn regexp_extract(column: impl Into<Expr>, pattern: &str, group: i32) -> Expr {
    Expr::function("regexp_extract", [column.into(), pattern.into_operand(), group.into_operand()])
}

/// With another text in place of every match of a regular expression; `$1` in it is the first group.
#[track_caller]
pub fn regexp_replace(column: impl Into<Expr>, pattern: &str, to: &str) -> Expr {
    Expr::function("regexp_replace", [column.into(), pattern.into_operand(), to.into_operand()])
}

/// Filled up at the start with `fill`, or cut off, to so many letters.
#[track_caller]
pub fn lpad(column: impl Into<Expr>, length: i32, fill: &str) -> Expr {
    Expr::function("lpad", [column.into(), length.into_operand(), fill.into_operand()])
}

/// Filled up at the end with `fill`, or cut off, to so many letters.
#[track_caller]
pub fn rpad(column: impl Into<Expr>, length: i32, fill: &str) -> Expr {
    Expr::function("rpad", [column.into(), length.into_operand(), fill.into_operand()])
}
