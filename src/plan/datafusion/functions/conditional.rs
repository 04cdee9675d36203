//! Choices among values.
//!
//! Owns: `coalesce` and its kin, `if`, the greatest and the least. Does not own: `CASE`, which is no function.
//!
//! Under ANSI, where computing a value may fail, a choice is a `CASE` and later values are computed for the rows that
//! need them only. Otherwise all values are computed, each once.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Datum};
use arrow::compute::kernels::zip::zip;
use arrow::compute::{is_not_null, or};
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::Case;
use datafusion::logical_expr::{Expr, Operator, binary_expr, lit};

use super::call::{Call, Function, MANY, exactly, function};
use super::coerce::comparison_type;
use super::kernel::{self, Kernel};
use super::operators::condition;
use crate::error::Result;

pub(super) const FUNCTIONS: &[Function] = &[
    function(&["coalesce"], 1, MANY, coalesce),
    function(&["nvl", "ifnull"], 2, 2, coalesce),
    function(&["nvl2"], 3, 3, nvl2),
    function(&["nullif"], 2, 2, nullif),
    function(&["nullifzero"], 1, 1, |call, mut args| {
        args.push(lit(0_i32));
        nullif(call, args)
    }),
    function(&["zeroifnull"], 1, 1, |call, mut args| {
        args.push(lit(0_i32));
        coalesce(call, args)
    }),
    function(&["if", "iff"], 3, 3, choose),
    function(&["greatest"], 2, MANY, |call, args| extreme(call, args, "greatest")),
    function(&["least"], 2, MANY, |call, args| extreme(call, args, "least")),
    function(&["nanvl"], 2, 2, nanvl),
];

fn coalesce(call: &Call<'_>, args: Vec<Expr>) -> Result<Expr> {
    let (mut args, common) = call.unify(args)?;
    if args.len() == 1 {
        return Ok(args.remove(0));
    }
    if !call.ansi {
        return Ok(kernel::call(Coalesce, common, args));
    }
    let last = args.pop().map(Box::new);
    let branches = args.into_iter().map(|arg| (Box::new(arg.clone().is_not_null()), Box::new(arg)));
    Ok(Expr::Case(Case::new(None, branches.collect(), last)))
}

fn when(condition: Expr, value: Expr, otherwise: Expr) -> Expr {
    Expr::Case(Case::new(None, vec![(Box::new(condition), Box::new(value))], Some(Box::new(otherwise))))
}

fn nvl2(call: &Call<'_>, args: Vec<Expr>) -> Result<Expr> {
    let [test, value, otherwise] = exactly(args);
    let (values, _) = call.unify(vec![value, otherwise])?;
    let [value, otherwise] = exactly(values);
    Ok(when(test.is_not_null(), value, otherwise))
}

fn choose(call: &Call<'_>, args: Vec<Expr>) -> Result<Expr> {
    let [test, value, otherwise] = exactly(args);
    let (values, _) = call.unify(vec![value, otherwise])?;
    let [value, otherwise] = exactly(values);
    Ok(when(condition(call, test)?, value, otherwise))
}

fn nullif(call: &Call<'_>, args: Vec<Expr>) -> Result<Expr> {
    let types = call.types_of(&args)?;
    let [left, right] = exactly(args);
    let Some(common) = comparison_type(&types[0], &types[1]) else { return Err(call.mismatch(&types)) };
    if common == types[0] {
        let right = call.cast(right, &common)?;
        return call.shipped("nullif", vec![left, right]);
    }
    let equal = binary_expr(call.cast(left.clone(), &common)?, Operator::Eq, call.cast(right, &common)?);
    let null = ScalarValue::try_from(&types[0]).map_err(super::plan_error)?;
    Ok(when(equal, lit(null), left))
}

/// Nulls do not count; null only where all are.
fn extreme(call: &Call<'_>, args: Vec<Expr>, shipped: &str) -> Result<Expr> {
    let (args, _) = call.unify(args)?;
    call.shipped(shipped, args)
}

fn nanvl(call: &Call<'_>, args: Vec<Expr>) -> Result<Expr> {
    let args = call.cast_all(args, &DataType::Float64)?;
    call.shipped("nanvl", args)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Coalesce;

impl Kernel for Coalesce {
    fn name(&self) -> &'static str {
        "coalesce"
    }

    fn evaluate(&self, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        let mut result = Arc::clone(&arguments[0]);
        let mut known: BooleanArray = is_not_null(&result)?;
        for argument in &arguments[1..] {
            if known.false_count() == 0 {
                break;
            }
            let (old, new): (&dyn Datum, &dyn Datum) = (&result, argument);
            result = zip(&known, old, new)?;
            known = or(&known, &is_not_null(argument)?)?;
        }
        Ok(result)
    }
}
