//! Comparisons, logic and predicates.
//!
//! Owns: what the sides of a comparison are cast to and the predicates written as operators. Does not own:
//! arithmetic.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array};
use arrow::datatypes::{DataType, IntervalMonthDayNanoType};
use datafusion::logical_expr::expr::{InList, Like};
use datafusion::logical_expr::{Expr, Operator, binary_expr, lit};

use super::call::{Call, Function, MANY, constant_text, exactly, function, text_literal, two_or_three};
use super::coerce::{comparison_type, is_float, is_interval};
use super::kernel::{Kernel, call};
use crate::error::{Error, Result};

/// Microseconds of a day.
const DAY: i64 = 86_400_000_000;
/// A month in a comparison of intervals, which have no calendar to look at.
const DAYS_OF_A_MONTH: i64 = 30;

pub(super) const FUNCTIONS: &[Function] = &[
    function(&["=", "=="], 2, 2, |call, args| compare(call, Operator::Eq, exactly(args))),
    function(&["!=", "<>"], 2, 2, |call, args| compare(call, Operator::NotEq, exactly(args))),
    function(&["<"], 2, 2, |call, args| compare(call, Operator::Lt, exactly(args))),
    function(&["<="], 2, 2, |call, args| compare(call, Operator::LtEq, exactly(args))),
    function(&[">"], 2, 2, |call, args| compare(call, Operator::Gt, exactly(args))),
    function(&[">="], 2, 2, |call, args| compare(call, Operator::GtEq, exactly(args))),
    function(&["<=>", "equal_null"], 2, 2, |call, args| compare(call, Operator::IsNotDistinctFrom, exactly(args))),
    function(&["and"], 2, 2, |call, args| logic(call, Operator::And, exactly(args))),
    function(&["or"], 2, 2, |call, args| logic(call, Operator::Or, exactly(args))),
    function(&["not", "!"], 1, 1, |call, args| truth(call, exactly(args), Expr::Not)),
    function(&["isnull"], 1, 1, |_, args| Ok(Expr::IsNull(Box::new(one(args))))),
    function(&["isnotnull"], 1, 1, |_, args| Ok(Expr::IsNotNull(Box::new(one(args))))),
    function(&["istrue"], 1, 1, |call, args| truth(call, exactly(args), Expr::IsTrue)),
    function(&["isnottrue"], 1, 1, |call, args| truth(call, exactly(args), Expr::IsNotTrue)),
    function(&["isfalse"], 1, 1, |call, args| truth(call, exactly(args), Expr::IsFalse)),
    function(&["isnotfalse"], 1, 1, |call, args| truth(call, exactly(args), Expr::IsNotFalse)),
    function(&["between"], 3, 3, between),
    function(&["in"], 1, MANY, in_list),
    function(&["like"], 2, 3, |call, args| like(call, args, false)),
    function(&["ilike"], 2, 3, |call, args| like(call, args, true)),
];

fn one(args: Vec<Expr>) -> Expr {
    let [arg] = exactly(args);
    arg
}

fn compare(call: &Call<'_>, operator: Operator, [left, right]: [Expr; 2]) -> Result<Expr> {
    let types = [call.type_of(&left)?, call.type_of(&right)?];
    let Some(common) = comparison_type(&types[0], &types[1]) else { return Err(call.mismatch(&types)) };
    let (left, right) = (call.cast(left, &common)?, call.cast(right, &common)?);
    let (left, right) = match &common {
        common if is_float(common) => one_zero(left, right, common)?,
        common if is_interval(common) => (length(left), length(right)),
        _ => (left, right),
    };
    Ok(binary_expr(left, operator, right))
}

/// Arrow orders -0.0 before 0.0; adding 0.0 makes one of both. A constant other than zero cannot meet them.
fn one_zero(left: Expr, right: Expr, data_type: &DataType) -> Result<(Expr, Expr)> {
    let is_zero = |expr: &Expr| match expr {
        Expr::Literal(value, _) => Some(value.to_string().parse::<f64>().is_ok_and(|value| value == 0.0)),
        _ => None,
    };
    if is_zero(&left) == Some(false) || is_zero(&right) == Some(false) {
        return Ok((left, right));
    }
    let zero = datafusion::common::ScalarValue::new_zero(data_type).map_err(super::plan_error)?;
    let normalized = |expr: Expr| binary_expr(expr, Operator::Plus, lit(zero.clone()));
    Ok((normalized(left), normalized(right)))
}

fn logic(call: &Call<'_>, operator: Operator, [left, right]: [Expr; 2]) -> Result<Expr> {
    Ok(binary_expr(condition(call, left)?, operator, condition(call, right)?))
}

/// The argument as BOOLEAN; only strings are converted to it implicitly.
pub(super) fn condition(call: &Call<'_>, expr: Expr) -> Result<Expr> {
    let data_type = call.type_of(&expr)?;
    if comparison_type(&data_type, &DataType::Boolean) != Some(DataType::Boolean) {
        return Err(call.mismatch(&[data_type]));
    }
    call.cast(expr, &DataType::Boolean)
}

fn truth(call: &Call<'_>, [arg]: [Expr; 1], wrap: fn(Box<Expr>) -> Expr) -> Result<Expr> {
    Ok(wrap(Box::new(condition(call, arg)?)))
}

fn between(call: &Call<'_>, args: Vec<Expr>) -> Result<Expr> {
    let [value, low, high] = exactly(args);
    let above = compare(call, Operator::GtEq, [value.clone(), low])?;
    Ok(binary_expr(above, Operator::And, compare(call, Operator::LtEq, [value, high])?))
}

/// `value IN (…)`: all are cast to the one type each of them can be compared in.
fn in_list(call: &Call<'_>, args: Vec<Expr>) -> Result<Expr> {
    let types = call.types_of(&args)?;
    let mut common = types[0].clone();
    for data_type in &types[1..] {
        common = comparison_type(&common, data_type).ok_or_else(|| call.mismatch(&types))?;
    }
    let mut list = call.cast_all(args, &common)?;
    let value = Box::new(list.remove(0));
    Ok(Expr::InList(InList::new(value, list, false)))
}

fn like(call: &Call<'_>, args: Vec<Expr>, without_case: bool) -> Result<Expr> {
    let (value, pattern, escape) = two_or_three(args);
    let value = call.text(value)?;
    let pattern = match escape {
        None => call.text(pattern)?,
        Some(escape) => with_backslashes(&pattern, &escape)?,
    };
    Ok(Expr::Like(Like::new(false, Box::new(value), Box::new(pattern), None, without_case)))
}

/// The same pattern with backslashes in place of another escape character.
fn with_backslashes(pattern: &Expr, escape: &Expr) -> Result<Expr> {
    let (Some(pattern), Some(escape)) = (constant_text(pattern), constant_text(escape)) else {
        return Err(Error::plan("like with an ESCAPE needs a constant pattern and a constant escape character"));
    };
    let mut characters = escape.chars();
    let (Some(escape), None) = (characters.next(), characters.next()) else {
        return Err(Error::plan(format!("the escape of like must be one character, not `{escape}`")));
    };
    let mut text = String::new();
    let mut pattern = pattern.chars();
    while let Some(character) = pattern.next() {
        match character {
            character if character == escape => text.extend(std::iter::once('\\').chain(pattern.next())),
            '\\' => text.push_str("\\\\"),
            character => text.push(character),
        }
    }
    Ok(text_literal(&text))
}

fn length(interval: Expr) -> Expr {
    call(IntervalLength, DataType::Int64, vec![interval])
}

/// The microseconds of an interval, by which two are compared.
#[derive(Debug, PartialEq, Eq, Hash)]
struct IntervalLength;

impl Kernel for IntervalLength {
    fn name(&self) -> &'static str {
        "interval_length"
    }

    fn evaluate(&self, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        let intervals = arguments[0].as_primitive::<IntervalMonthDayNanoType>();
        let length: Int64Array = intervals.unary(|interval| {
            let days = i64::from(interval.months) * DAYS_OF_A_MONTH + i64::from(interval.days);
            days.saturating_mul(DAY).saturating_add(interval.nanoseconds / 1000)
        });
        Ok(Arc::new(length))
    }
}
