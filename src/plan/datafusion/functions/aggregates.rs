//! Aggregate functions.
//!
//! Owns: Spark's names, the types their arguments are cast to, and what `DISTINCT` means to them. Does not own: running
//! values; they are DataFusion's, or those of [`collect`](super::collect) and [`extreme`](super::extreme).

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DECIMAL128_MAX_SCALE, DataType, Field, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::{AggregateFunction, Case, NullTreatment};
use datafusion::logical_expr::type_coercion::functions::fields_with_udf;
use datafusion::logical_expr::{AggregateUDF, Expr, cast as arrow_cast, lit};

use super::arithmetic::quotient;
use super::call::{Call, exactly, one_or_two, text_literal, wrong_count};
use super::cast::to_engine_type;
use super::coerce::{is_decimal, is_float, is_number, number_type};
use super::collect::Collect;
use super::extreme::ExtremeBy;
use super::operators::condition;
use super::plan_error;
use crate::error::{Error, Result};

/// Spark's names.
pub(super) const NAMES: &[&str] = &[
    "count",
    "count_if",
    "sum",
    "try_sum",
    "avg",
    "mean",
    "try_avg",
    "min",
    "max",
    "min_by",
    "max_by",
    "first",
    "first_value",
    "any_value",
    "last",
    "last_value",
    "stddev",
    "std",
    "stddev_samp",
    "stddev_pop",
    "variance",
    "var_samp",
    "var_pop",
    "covar_samp",
    "covar_pop",
    "corr",
    "collect_list",
    "array_agg",
    "collect_set",
    "approx_count_distinct",
    "median",
    "percentile",
    "percentile_approx",
    "approx_percentile",
    "bool_and",
    "every",
    "bool_or",
    "some",
    "any",
    "bit_and",
    "bit_or",
    "bit_xor",
    "string_agg",
    "listagg",
];

/// One aggregate call while it is built.
#[derive(Clone)]
struct Aggregate<'a> {
    call: &'a Call<'a>,
    shipped: &'a HashMap<String, Arc<AggregateUDF>>,
    distinct: bool,
    filter: Option<Expr>,
}

/// The expression of an aggregate call; `None` when there is no such function.
pub(super) fn build(
    call: &Call<'_>,
    shipped: &HashMap<String, Arc<AggregateUDF>>,
    args: Vec<Expr>,
    distinct: bool,
    filter: Option<Expr>,
) -> Result<Option<Expr>> {
    if !NAMES.contains(&call.name) && !shipped.contains_key(call.name) {
        return Ok(None);
    }
    check_count(call.name, args.len())?;
    let filter = filter.map(|filter| condition(call, filter)).transpose()?;
    Aggregate { call, shipped, distinct, filter }.build(args).map(Some)
}

fn check_count(name: &str, given: usize) -> Result<()> {
    let (least, most, expected) = match name {
        "count" => return Ok(()),
        "first"
        | "first_value"
        | "any_value"
        | "last"
        | "last_value"
        | "approx_count_distinct"
        | "string_agg"
        | "listagg" => (1, 2, "1 to 2"),
        "max_by" | "min_by" | "covar_samp" | "covar_pop" | "corr" | "percentile" => (2, 2, "2"),
        "percentile_approx" | "approx_percentile" => (2, 3, "2 to 3"),
        name if NAMES.contains(&name) => (1, 1, "1"),
        _ => return Ok(()), // DataFusion counts the arguments of its own functions
    };
    if (least..=most).contains(&given) { Ok(()) } else { Err(wrong_count(name, expected, given)) }
}

impl Aggregate<'_> {
    fn build(self, args: Vec<Expr>) -> Result<Expr> {
        let call = self.call;
        match call.name {
            "count" => self.count(args),
            "count_if" => {
                let [test] = exactly(args);
                let test = condition(call, test)?;
                self.of("count", vec![present_if(test, lit(1_i32))])
            }
            "sum" | "try_sum" => self.sum(args),
            "avg" | "mean" | "try_avg" => self.average(args),
            "min" | "max" => self.min_or_max(args),
            "max_by" | "min_by" => {
                let types = call.types_of(&args)?;
                let by = ExtremeBy::new(call.name == "max_by", types[0].clone(), types[1].clone());
                Ok(self.plain().make(Arc::new(AggregateUDF::new_from_impl(by)), args, None))
            }
            "first" | "first_value" | "any_value" => self.first_or_last("first_value", args),
            "last" | "last_value" => self.first_or_last("last_value", args),
            "stddev" | "std" | "stddev_samp" => self.doubles("stddev", args),
            "variance" | "var_samp" => self.doubles("var", args),
            "stddev_pop" | "var_pop" | "covar_samp" | "covar_pop" | "corr" | "median" => self.doubles(call.name, args),
            "percentile" => self.doubles("percentile_cont", args),
            "percentile_approx" | "approx_percentile" => {
                let [value, share] = exactly(args.into_iter().take(2).collect());
                let (data_type, share) = (call.type_of(&value)?, call.double(share)?);
                let percentile = self.shipped("approx_percentile_cont", vec![value, share])?;
                if is_number(&data_type) { call.cast(percentile, &data_type) } else { Ok(percentile) }
            }
            "collect_list" | "array_agg" => self.collect(args, false),
            "collect_set" => self.collect(args, true),
            "string_agg" | "listagg" => {
                let (arg, separator) = one_or_two(args);
                let args = vec![arg, separator.unwrap_or_else(|| text_literal(""))];
                self.shipped("string_agg", args)
            }
            "approx_count_distinct" => self.approximate_count(args),
            "bool_and" | "every" => self.truths("bool_and", args),
            "bool_or" | "some" | "any" => self.truths("bool_or", args),
            name => self.shipped(name, args),
        }
    }

    /// The same call where repeats change nothing.
    fn plain(self) -> Self {
        Self { distinct: false, ..self }
    }

    fn make(self, function: Arc<AggregateUDF>, args: Vec<Expr>, nulls: Option<NullTreatment>) -> Expr {
        let filter = self.filter.map(Box::new);
        Expr::AggregateFunction(AggregateFunction::new_udf(function, args, self.distinct, filter, vec![], nulls))
    }

    /// DataFusion's function over arguments it takes as they are.
    fn of(self, name: &str, args: Vec<Expr>) -> Result<Expr> {
        let function = self.function(name)?;
        Ok(self.make(function, args, None))
    }

    fn function(&self, name: &str) -> Result<Arc<AggregateUDF>> {
        let function = self.shipped.get(name).cloned();
        function.ok_or_else(|| Error::internal(format!("DataFusion ships no aggregate function `{name}`")))
    }

    /// DataFusion's function, arguments and result cast as both sides need.
    fn shipped(self, name: &str, args: Vec<Expr>) -> Result<Expr> {
        let (call, function) = (self.call, self.function(name)?);
        let fields: Vec<FieldRef> =
            call.types_of(&args)?.into_iter().map(|data_type| Arc::new(Field::new("", data_type, true))).collect();
        let refused = |error| plan_error(error).context(format!("function `{}`", call.name));
        let wanted = fields_with_udf(&fields, function.as_ref()).map_err(refused)?;
        let args = args.into_iter().zip(&wanted).map(|(arg, field)| call.cast(arg, field.data_type()));
        let args = args.collect::<Result<Vec<_>>>()?;
        to_engine_type(self.make(function, args, None), call.schema)
    }

    fn doubles(self, name: &str, args: Vec<Expr>) -> Result<Expr> {
        let args = self.call.cast_all(args, &DataType::Float64)?;
        self.of(name, args)
    }

    fn truths(self, name: &str, args: Vec<Expr>) -> Result<Expr> {
        let [test] = exactly(args);
        let test = condition(self.call, test)?;
        self.plain().of(name, vec![test])
    }

    /// Rows in which no argument is null; all rows without arguments.
    fn count(self, mut args: Vec<Expr>) -> Result<Expr> {
        if args.len() < 2 {
            let arg = args.pop().unwrap_or_else(|| lit(1_i64));
            return self.of("count", vec![arg]);
        }
        let complete = args.iter().cloned().map(Expr::is_not_null).reduce(Expr::and).unwrap_or_else(|| lit(true));
        let counted = if self.distinct { self.pair(args)? } else { lit(1_i32) };
        self.of("count", vec![present_if(complete, counted)])
    }

    fn pair(&self, args: Vec<Expr>) -> Result<Expr> {
        let fields = args.into_iter().enumerate().flat_map(|(index, arg)| [lit(format!("col{}", index + 1)), arg]);
        self.call.shipped("named_struct", fields.collect())
    }

    /// BIGINT of integers, DECIMAL with ten digits more of decimals, otherwise DOUBLE.
    fn sum(self, args: Vec<Expr>) -> Result<Expr> {
        let [arg] = exactly(args);
        let arg = self.number(arg, |number| match number {
            number if is_decimal(&number) => number,
            number if is_float(&number) => DataType::Float64,
            _ => DataType::Int64,
        })?;
        self.of("sum", vec![arg])
    }

    /// DECIMAL of decimals, with four digits more after the point; otherwise DOUBLE.
    fn average(self, args: Vec<Expr>) -> Result<Expr> {
        let [arg] = exactly(args);
        let arg = self.number(arg, |number| if is_decimal(&number) { number } else { DataType::Float64 })?;
        let DataType::Decimal128(precision, scale) = self.call.type_of(&arg)? else {
            return self.of("avg", vec![arg]);
        };
        // DataFusion's own average of decimals cuts where Spark rounds.
        let digits = (DECIMAL128_MAX_PRECISION.min(precision + 4), DECIMAL128_MAX_SCALE.min(scale + 4));
        let (call, count) = (self.call, self.clone().of("count", vec![arg.clone()])?);
        quotient(call, [self.of("sum", vec![arg])?, count], digits)
    }

    fn number(&self, arg: Expr, to: impl Fn(DataType) -> DataType) -> Result<Expr> {
        let data_type = self.call.type_of(&arg)?;
        let number = number_type(&data_type, &data_type);
        let number = number.ok_or_else(|| self.call.mismatch(std::slice::from_ref(&data_type)))?;
        self.call.cast(arg, &to(number))
    }

    fn min_or_max(self, args: Vec<Expr>) -> Result<Expr> {
        let data_type = self.call.type_of(&args[0])?;
        if matches!(data_type, DataType::Map(..)) {
            return Err(self.call.mismatch(&[data_type]));
        }
        let name = self.call.name;
        self.plain().of(name, args)
    }

    fn first_or_last(self, name: &str, args: Vec<Expr>) -> Result<Expr> {
        let (arg, ignores_nulls) = one_or_two(args);
        let nulls = match ignores_nulls {
            None => None,
            Some(Expr::Literal(ScalarValue::Boolean(Some(ignores)), _)) => {
                ignores.then_some(NullTreatment::IgnoreNulls)
            }
            Some(_) => {
                return Err(Error::plan(format!("the second argument of `{}` must be true or false", self.call.name)));
            }
        };
        let function = self.function(name)?;
        Ok(self.plain().make(function, vec![arg], nulls))
    }

    fn collect(self, args: Vec<Expr>, is_set: bool) -> Result<Expr> {
        let data_type = self.call.type_of(&args[0])?;
        let is_set = is_set || self.distinct;
        if is_set && matches!(data_type, DataType::Map(..)) {
            return Err(self.call.mismatch(&[data_type]));
        }
        let function = Arc::new(AggregateUDF::new_from_impl(Collect::new(is_set)));
        Ok(self.plain().make(function, args, None))
    }

    /// DataFusion's sketch does not take floats, but the text of one is as good.
    fn approximate_count(self, args: Vec<Expr>) -> Result<Expr> {
        let (arg, _) = one_or_two(args);
        let data_type = self.call.type_of(&arg)?;
        let arg = if is_float(&data_type) { arrow_cast(arg, DataType::Utf8View) } else { arg };
        self.plain().shipped("approx_distinct", vec![arg])
    }
}

/// The value where the condition holds, otherwise null.
fn present_if(condition: Expr, value: Expr) -> Expr {
    Expr::Case(Case::new(None, vec![(Box::new(condition), Box::new(value))], None))
}
