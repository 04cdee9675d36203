//! Unresolved expressions to typed ones.
//!
//! Owns: names, literals, function lookup and coercion. Does not own: what a function does (`functions`), or which
//! expressions may stand where (`relations`, `grouping`).

use std::sync::Arc;

use arrow::datatypes::{DataType, IntervalMonthDayNano, TimeUnit};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::expr::Case;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{Cast, Expr as TypedExpr, ExprSchemable};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;

use super::functions::{self, FunctionRegistry};
use super::scope::Scope;
use super::{sql, translated, windowing};
use crate::error::{Error, Result, suggestion};
use crate::expr::{CastTarget, Expr, ExprNode, Literal, is_explode};
use crate::plan::{PlanContext, Refusal};
use crate::types::{engine_type, parse_type};

/// Resolves expressions over one relation.
pub(super) struct ExpressionResolver<'a> {
    pub(super) scope: &'a Scope,
    pub(super) schema: &'a DFSchema,
    pub(super) registry: &'a FunctionRegistry,
    pub(super) context: &'a PlanContext,
}

impl ExpressionResolver<'_> {
    /// The typed form of `expr`, coerced; a STRING result is a `Utf8View`.
    ///
    /// # Errors
    /// What is wrong with it, at the line that built it.
    pub(super) fn resolve(&self, expr: &Expr) -> Result<TypedExpr> {
        without_window(self.resolve_with_window(expr)?, expr)
    }

    /// As [`resolve`](Self::resolve), for relations that can put a column in place of a window.
    ///
    /// # Errors
    /// As [`resolve`](Self::resolve).
    pub(super) fn resolve_with_window(&self, expr: &Expr) -> Result<TypedExpr> {
        let typed = self.typed(expr)?;
        self.normalized(typed).map_err(|error| error.at(expr.location()))
    }

    /// The typed form of a condition; anything but BOOLEAN is refused.
    ///
    /// # Errors
    /// As [`resolve`](Self::resolve).
    pub(super) fn condition(&self, expr: &Expr) -> Result<TypedExpr> {
        without_window(self.boolean(expr)?, expr)
    }

    fn boolean(&self, expr: &Expr) -> Result<TypedExpr> {
        let typed = self.resolve_with_window(expr)?;
        let data_type = typed.get_type(self.schema).map_err(|e| translated(e).at(expr.location()))?;
        match data_type {
            DataType::Boolean | DataType::Null => Ok(typed),
            other => {
                let found = crate::types::type_name(&other);
                Err(Error::plan(format!("a condition must be BOOLEAN, but `{expr}` is {found}")).at(expr.location()))
            }
        }
    }

    /// Coerces the arguments of all functions in `typed` and makes a STRING a `Utf8View`.
    fn normalized(&self, typed: TypedExpr) -> Result<TypedExpr> {
        let context = SimplifyContext::builder().with_schema(Arc::new(self.schema.clone())).build();
        let coerced = ExprSimplifier::new(context).coerce(typed, self.schema).map_err(translated)?;
        let data_type = coerced.get_type(self.schema).map_err(translated)?;
        let wanted = engine_type(&data_type);
        if wanted == data_type {
            return Ok(coerced);
        }
        Ok(TypedExpr::Cast(Cast::new(Box::new(coerced), wanted)))
    }

    fn typed(&self, expr: &Expr) -> Result<TypedExpr> {
        self.typed_node(expr).map_err(|error| error.at(expr.location()))
    }

    fn typed_node(&self, expr: &Expr) -> Result<TypedExpr> {
        match expr.node() {
            ExprNode::Column(parts) => self.column(parts),
            ExprNode::Literal(literal) => Ok(TypedExpr::Literal(scalar(literal), None)),
            ExprNode::Function { name, args, distinct, filter } => {
                self.function(name, args, *distinct, filter.as_ref())
            }
            ExprNode::Udf(udf, args) => functions::rust_udf(udf, self.all(args)?, self.schema),
            ExprNode::Case { branches, otherwise } => self.case(branches, otherwise.as_ref()),
            ExprNode::Cast { expr, to, null_on_error } => {
                let to = match to {
                    CastTarget::Text(text) => parse_type(text)?,
                    CastTarget::Type(data_type) => engine_type(data_type),
                };
                let (zone, ansi) = (self.context.zone, self.context.ansi);
                functions::written_cast(self.coerced(expr)?, &to, self.schema, zone, ansi, *null_on_error)
            }
            ExprNode::Alias(inner, _) => self.typed(inner),
            ExprNode::Field(inner, name) => self.field(self.typed(inner)?, name),
            ExprNode::Sql(text) => self.typed(&sql::parse_expression(text, expr.location())?),
            ExprNode::Star(_) => Err(Error::plan("`*` stands for columns only in select(…) and count(*)")),
            ExprNode::Sort { .. } => Err(Error::plan(format!("the order `{expr}` belongs into sort(…)"))),
            ExprNode::Unsupported(text) => Err(Refusal::AnalyticWindow(text.clone()).into()),
        }
    }

    /// The typed form with its functions' arguments coerced, so that its type can be asked.
    fn coerced(&self, expr: &Expr) -> Result<TypedExpr> {
        let context = SimplifyContext::builder().with_schema(Arc::new(self.schema.clone())).build();
        ExprSimplifier::new(context).coerce(self.typed(expr)?, self.schema).map_err(translated)
    }

    fn all(&self, exprs: &[Expr]) -> Result<Vec<TypedExpr>> {
        exprs.iter().map(|expr| self.coerced(expr)).collect()
    }

    fn column(&self, parts: &[String]) -> Result<TypedExpr> {
        let found = self.scope.lookup(parts)?;
        found.fields.iter().try_fold(found.column.reference(), |expr, field| self.field(expr, field))
    }

    fn field(&self, of: TypedExpr, name: &str) -> Result<TypedExpr> {
        let name = TypedExpr::Literal(ScalarValue::Utf8(Some(name.to_string())), None);
        let field = self.registry.scalar("getitem", vec![of, name], self.schema)?;
        field.ok_or_else(|| Error::internal("the function getitem is missing"))
    }

    fn case(&self, branches: &[(Expr, Expr)], otherwise: Option<&Expr>) -> Result<TypedExpr> {
        let when_then = |(condition, value): &(Expr, Expr)| {
            Ok((Box::new(self.boolean(condition)?), Box::new(self.coerced(value)?)))
        };
        let branches = branches.iter().map(when_then).collect::<Result<Vec<_>>>()?;
        let otherwise = otherwise.map(|value| self.coerced(value)).transpose()?.map(Box::new);
        Ok(TypedExpr::Case(Case::new(None, branches, otherwise)))
    }

    fn function(&self, name: &str, args: &[Expr], distinct: bool, filter: Option<&Expr>) -> Result<TypedExpr> {
        if is_explode(name) {
            return Err(Error::plan(format!(
                "{name}(…) must be a column of its own in select(…), not part of another"
            )));
        }
        if name.eq_ignore_ascii_case("monotonically_increasing_id") {
            return Err(Refusal::MonotonicId.into());
        }
        let counts_rows = name.eq_ignore_ascii_case("count")
            && (args.is_empty() || matches!(args, [star] if matches!(star.node(), ExprNode::Star(_))));
        let args =
            if counts_rows { vec![TypedExpr::Literal(ScalarValue::Int64(Some(1)), None)] } else { self.all(args)? };
        if let Some(udf) = self.context.catalog.udf(name) {
            return functions::rust_udf(&udf, args, self.schema);
        }
        let filter = filter.map(|filter| self.boolean(filter)).transpose()?;
        if !distinct
            && filter.is_none()
            && let Some(typed) = self.registry.scalar(name, args.clone(), self.schema)?
        {
            return Ok(typed);
        }
        self.registry.aggregate(name, args, distinct, filter, self.schema)?.ok_or_else(|| self.unknown_function(name))
    }

    fn unknown_function(&self, name: &str) -> Error {
        let known: Vec<String> = self.registry.names().into_iter().chain(self.context.catalog.udf_names()).collect();
        Error::plan(format!("no function `{name}`{}", suggestion(name, known.iter().map(String::as_str))))
    }
}

/// What `expr` became, unless there is a window in it.
fn without_window(typed: TypedExpr, expr: &Expr) -> Result<TypedExpr> {
    windowing::refuse(&typed).map_err(|error| error.at(expr.location()))?;
    Ok(typed)
}

fn scalar(literal: &Literal) -> ScalarValue {
    match literal {
        Literal::Null => ScalarValue::Null,
        Literal::Boolean(value) => ScalarValue::Boolean(Some(*value)),
        Literal::Int(value) => ScalarValue::Int32(Some(*value)),
        Literal::Long(value) => ScalarValue::Int64(Some(*value)),
        Literal::Float(value) => ScalarValue::Float32(Some(*value)),
        Literal::Double(value) => ScalarValue::Float64(Some(*value)),
        Literal::Decimal(value, precision, scale) => ScalarValue::Decimal128(Some(*value), *precision, *scale),
        Literal::String(value) => ScalarValue::Utf8(Some(value.clone())),
        Literal::Binary(value) => ScalarValue::Binary(Some(value.clone())),
        Literal::Date(days) => ScalarValue::Date32(Some(*days)),
        Literal::Timestamp(micros) => ScalarValue::TimestampMicrosecond(Some(*micros), Some("UTC".into())),
        Literal::Interval { months, days, micros } => {
            let nanos = micros.saturating_mul(1000);
            ScalarValue::IntervalMonthDayNano(Some(IntervalMonthDayNano::new(*months, *days, nanos)))
        }
    }
}

/// TIMESTAMP as the engine keeps it.
pub(super) fn timestamp_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}
