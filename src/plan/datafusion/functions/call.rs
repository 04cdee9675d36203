//! One call while it is built.
//!
//! Owns: the rows of the function tables and what every builder needs: argument types, implicit casts, DataFusion's
//! own functions. Does not own: any function.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::type_coercion::functions::fields_with_udf;
use datafusion::logical_expr::{Expr, ExprSchemable, ScalarUDF, lit};

use super::cast::{cast, to_engine_type};
use super::coerce::{common_type, timestamp};
use super::kernel::apply;
use super::plan_error;
use crate::error::{Error, Result};
use crate::types::{Zone, type_name};

/// Makes the expression of one call; the count of arguments has been checked.
pub(super) type Build = fn(&Call<'_>, Vec<Expr>) -> Result<Expr>;

/// A row of a function table.
pub(super) struct Function {
    /// Its names, in lower case.
    pub(super) names: &'static [&'static str],
    /// The fewest arguments.
    pub(super) least: usize,
    /// The most arguments.
    pub(super) most: usize,
    /// Makes the expression.
    pub(super) build: Build,
}

/// As many arguments as one likes.
pub(super) const MANY: usize = usize::MAX;

/// A row of a function table.
pub(super) const fn function(names: &'static [&'static str], least: usize, most: usize, build: Build) -> Function {
    Function { names, least, most, build }
}

impl Function {
    pub(super) fn check_count(&self, name: &str, given: usize) -> Result<()> {
        if (self.least..=self.most).contains(&given) {
            return Ok(());
        }
        let expected = match (self.least, self.most) {
            (least, most) if least == most => format!("{least}"),
            (least, MANY) => format!("at least {least}"),
            (least, most) => format!("{least} to {most}"),
        };
        Err(wrong_count(name, &expected, given))
    }
}

/// The error for a wrong number of arguments.
pub(super) fn wrong_count(name: &str, expected: &str, given: usize) -> Error {
    let noun = if expected.ends_with(" 1") || expected == "1" { "argument" } else { "arguments" };
    Error::plan(format!("function `{name}` takes {expected} {noun}, {given} given"))
}

/// The call that is being built: its name and the session it runs in.
pub(super) struct Call<'a> {
    /// The name as written, in lower case.
    pub(super) name: &'a str,
    /// The columns the arguments read.
    pub(super) schema: &'a DFSchema,
    /// The session's time zone.
    pub(super) zone: Zone,
    /// What cannot be computed is an error, not null.
    pub(super) ansi: bool,
    /// DataFusion's own functions by name.
    pub(super) shipped: &'a HashMap<String, Arc<ScalarUDF>>,
}

impl Call<'_> {
    /// The type of an argument.
    pub(super) fn type_of(&self, expr: &Expr) -> Result<DataType> {
        expr.get_type(self.schema).map_err(plan_error)
    }

    /// The types of all arguments.
    pub(super) fn types_of(&self, exprs: &[Expr]) -> Result<Vec<DataType>> {
        exprs.iter().map(|expr| self.type_of(expr)).collect()
    }

    /// An implicit cast.
    pub(super) fn cast(&self, expr: Expr, to: &DataType) -> Result<Expr> {
        let from = self.type_of(&expr)?;
        cast(expr, to, self.schema, self.zone, self.ansi, false)
            .map_err(|error| if from == *to { error } else { error.context(format!("function `{}`", self.name)) })
    }

    /// Implicit casts of all to one type.
    pub(super) fn cast_all(&self, exprs: Vec<Expr>, to: &DataType) -> Result<Vec<Expr>> {
        exprs.into_iter().map(|expr| self.cast(expr, to)).collect()
    }

    /// As STRING.
    pub(super) fn text(&self, expr: Expr) -> Result<Expr> {
        self.cast(expr, &DataType::Utf8View)
    }

    /// As INT.
    pub(super) fn int(&self, expr: Expr) -> Result<Expr> {
        self.cast(expr, &DataType::Int32)
    }

    /// As BIGINT.
    pub(super) fn long(&self, expr: Expr) -> Result<Expr> {
        self.cast(expr, &DataType::Int64)
    }

    /// As DOUBLE.
    pub(super) fn double(&self, expr: Expr) -> Result<Expr> {
        self.cast(expr, &DataType::Float64)
    }

    /// As DATE.
    pub(super) fn date(&self, expr: Expr) -> Result<Expr> {
        self.cast(expr, &DataType::Date32)
    }

    /// As TIMESTAMP.
    pub(super) fn timestamp(&self, expr: Expr) -> Result<Expr> {
        self.cast(expr, &timestamp())
    }

    /// All in the one type that holds them all.
    pub(super) fn unify(&self, exprs: Vec<Expr>) -> Result<(Vec<Expr>, DataType)> {
        let types = self.types_of(&exprs)?;
        let mut common = DataType::Null;
        for data_type in &types {
            common = common_type(&common, data_type).ok_or_else(|| self.mismatch(&types))?;
        }
        Ok((self.cast_all(exprs, &common)?, common))
    }

    /// The error for arguments of types the function has no meaning for.
    pub(super) fn mismatch(&self, types: &[DataType]) -> Error {
        let names: Vec<_> = types.iter().map(type_name).collect();
        Error::plan(format!(
            "function `{}` cannot be applied to {}; cast the arguments",
            self.name,
            names.join(" and ")
        ))
    }

    /// Calls the function DataFusion ships under `name`, arguments and result cast as both sides need.
    pub(super) fn shipped(&self, name: &str, args: Vec<Expr>) -> Result<Expr> {
        let Some(udf) = self.shipped.get(name) else {
            return Err(Error::internal(format!("DataFusion ships no function `{name}`")));
        };
        let refused = |error| plan_error(error).context(format!("function `{}`", self.name));
        let fields: Vec<FieldRef> =
            self.types_of(&args)?.into_iter().map(|data_type| Arc::new(Field::new("", data_type, true))).collect();
        let wanted = fields_with_udf(&fields, udf.as_ref()).map_err(refused)?;
        let args = args.into_iter().zip(&wanted).map(|(arg, field)| self.cast(arg, field.data_type()));
        to_engine_type(apply(Arc::clone(udf), args.collect::<Result<Vec<_>>>()?), self.schema)
            .map_err(|error| error.context(format!("function `{}`", self.name)))
    }
}

/// The value of a constant string argument; `None` when it is not constant, or null.
pub(super) fn constant_text(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Literal(value, _) => value.try_as_str().flatten(),
        _ => None,
    }
}

/// The value of a constant whole-number argument; `None` when it is not constant, or null.
pub(super) fn constant_integer(expr: &Expr) -> Option<i64> {
    match expr {
        Expr::Literal(ScalarValue::Int8(value), _) => value.map(i64::from),
        Expr::Literal(ScalarValue::Int16(value), _) => value.map(i64::from),
        Expr::Literal(ScalarValue::Int32(value), _) => value.map(i64::from),
        Expr::Literal(ScalarValue::Int64(value), _) => *value,
        _ => None,
    }
}

/// A constant string in the engine's layout.
pub(super) fn text_literal(value: &str) -> Expr {
    lit(ScalarValue::Utf8View(Some(value.to_string())))
}

/// Exactly these arguments; the table has checked their count.
pub(super) fn exactly<const N: usize>(args: Vec<Expr>) -> [Expr; N] {
    args.try_into()
        .unwrap_or_else(|args: Vec<Expr>| unreachable!("the table lets through {N} arguments, not {}", args.len()))
}

/// The first argument and, if given, the second.
pub(super) fn one_or_two(args: Vec<Expr>) -> (Expr, Option<Expr>) {
    let mut args = args.into_iter();
    let first = args.next().unwrap_or_default();
    (first, args.next())
}

/// The first two arguments and, if given, the third.
pub(super) fn two_or_three(args: Vec<Expr>) -> (Expr, Expr, Option<Expr>) {
    let mut args = args.into_iter();
    let (first, second) = (args.next().unwrap_or_default(), args.next().unwrap_or_default());
    (first, second, args.next())
}
