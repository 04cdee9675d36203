//! Queries: WITH, set operations, VALUES, ORDER BY and LIMIT, and what stands in FROM.
//!
//! Owns: every clause around SELECT. Does not own: the clauses of SELECT (`select`).

use std::panic::Location;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray};
use arrow::record_batch::RecordBatch;
use datafusion::sql::sqlparser::ast::{
    Expr as Parsed, Join, JoinConstraint, JoinOperator, LimitClause, ObjectName, OrderBy, OrderByExpr, OrderByKind,
    Query, SetExpr, SetOperator, SetQuantifier, TableAlias, TableFactor, TableWithJoins, Value, Values, With,
};

use super::expression::{Expressions, object_name, word};
use super::select::{self, ordinal, outputs};
use super::{Lowered, beyond};
use crate::error::{Error, Result};
use crate::expr::{Expr, ExprNode};
use crate::plan::logical::{JoinOn, JoinType, LogicalPlan, Relation, SetOperation};
use crate::types::IntoSchema;

/// Lowers queries, with the queries WITH has named so far.
#[derive(Debug, Clone)]
pub(super) struct Queries {
    location: &'static Location<'static>,
    named: Vec<(String, LogicalPlan)>,
}

impl Queries {
    pub(super) fn new(location: &'static Location<'static>) -> Self {
        Self { location, named: Vec::new() }
    }

    pub(super) fn plan(&self, relation: Relation) -> LogicalPlan {
        LogicalPlan::with_location(relation, self.location)
    }

    pub(super) fn expressions(&self) -> Expressions {
        Expressions::new(self.location)
    }

    /// The plan of a whole query.
    pub(super) fn query(&self, query: &Query) -> Lowered<LogicalPlan> {
        if !query.locks.is_empty() || query.for_clause.is_some() {
            return beyond("FOR UPDATE");
        }
        if !query.pipe_operators.is_empty() || query.settings.is_some() || query.format_clause.is_some() {
            return beyond(query.to_string());
        }
        let scope = match &query.with {
            Some(with) => self.with(with)?,
            None => self.clone(),
        };
        let keys = sort_keys(query.order_by.as_ref())?;
        let plan = match query.body.as_ref() {
            SetExpr::Select(select) => scope.select(select, keys)?,
            body => scope.sorted(scope.set(body)?, keys)?,
        };
        scope.limited(plan, query)
    }

    /// The same scope with the queries of a WITH.
    fn with(&self, with: &With) -> Lowered<Self> {
        if with.recursive {
            return beyond("WITH RECURSIVE");
        }
        let mut scope = self.clone();
        for table in &with.cte_tables {
            let (name, plan) = scope.aliased(scope.query(&table.query)?, &table.alias)?;
            scope.named.push((name, plan));
        }
        Ok(scope)
    }

    fn set(&self, set: &SetExpr) -> Lowered<LogicalPlan> {
        match set {
            SetExpr::Select(select) => self.select(select, &[]),
            SetExpr::Query(query) => self.query(query),
            SetExpr::Values(values) => self.values(values),
            SetExpr::Table(table) => beyond(table.to_string()),
            SetExpr::SetOperation { left, op, set_quantifier, right } => {
                self.set_operation(self.set(left)?, *op, *set_quantifier, self.set(right)?)
            }
            SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {
                Err(Error::plan("SQL: a query only reads; tables are written with write() and write_stream()").into())
            }
        }
    }

    fn set_operation(
        &self,
        left: LogicalPlan,
        operator: SetOperator,
        quantifier: SetQuantifier,
        right: LogicalPlan,
    ) -> Lowered<LogicalPlan> {
        let by_name =
            matches!(quantifier, SetQuantifier::ByName | SetQuantifier::AllByName | SetQuantifier::DistinctByName);
        let keeps_repeats = matches!(quantifier, SetQuantifier::All | SetQuantifier::AllByName);
        let operation = match operator {
            SetOperator::Union => {
                let union = self.plan(Relation::Union { left, right, by_name });
                return Ok(if keeps_repeats { union } else { self.distinct(union) });
            }
            SetOperator::Except | SetOperator::Minus => SetOperation::Except,
            SetOperator::Intersect => SetOperation::Intersect,
        };
        if keeps_repeats || by_name {
            return beyond(format!("{operator} {quantifier}"));
        }
        Ok(self.plan(Relation::SetOperation { left, right, operation }))
    }

    /// The rows without repeats.
    pub(super) fn distinct(&self, input: LogicalPlan) -> LogicalPlan {
        self.plan(Relation::Deduplicate { input, columns: Vec::new(), within_watermark: false })
    }

    /// Sorts by output columns: for queries that are no SELECT.
    fn sorted(&self, input: LogicalPlan, keys: &[OrderByExpr]) -> Lowered<LogicalPlan> {
        if keys.is_empty() {
            return Ok(input);
        }
        let outputs = outputs(&input);
        let mut lowered = Vec::with_capacity(keys.len());
        for key in keys {
            let expr = match (ordinal(&key.expr), &outputs) {
                (Some(place), Some(outputs)) => select::nth(outputs, place, "ORDER BY")?.clone(),
                (Some(place), None) => return beyond(format!("ORDER BY {place} behind `*`")),
                (None, _) => self.expressions().lower(&key.expr)?,
            };
            lowered.push(self.sort_key(expr, key));
        }
        Ok(self.plan(Relation::Sort { input, keys: lowered }))
    }

    /// Nulls are smallest unless the text says where they go.
    pub(super) fn sort_key(&self, expr: Expr, key: &OrderByExpr) -> Expr {
        let ascending = key.options.asc.unwrap_or(true);
        let nulls_first = key.options.nulls_first.unwrap_or(ascending);
        self.expressions().node(ExprNode::Sort { expr, ascending, nulls_first })
    }

    fn limited(&self, input: LogicalPlan, query: &Query) -> Lowered<LogicalPlan> {
        let (mut limit, mut skip) = (None, None);
        match &query.limit_clause {
            None => {}
            Some(LimitClause::LimitOffset { limit: count, offset, limit_by }) if limit_by.is_empty() => {
                (limit, skip) = (count.as_ref(), offset.as_ref().map(|offset| &offset.value));
            }
            Some(other) => return beyond(other.to_string()),
        }
        if let Some(fetch) = &query.fetch {
            if fetch.with_ties || fetch.percent || limit.is_some() {
                return beyond(fetch.to_string());
            }
            limit = fetch.quantity.as_ref();
        }
        if limit.is_none() && skip.is_none() {
            return Ok(input);
        }
        let count = limit.map(|count| whole_number(count, "LIMIT")).transpose()?;
        let offset = skip.map(|offset| whole_number(offset, "OFFSET")).transpose()?.unwrap_or(0);
        Ok(self.plan(Relation::Limit { input, count, offset }))
    }

    // Tables.

    /// What FROM reads, its tables side by side; one row where there is no FROM.
    pub(super) fn from(&self, tables: &[TableWithJoins]) -> Lowered<LogicalPlan> {
        let mut all: Option<LogicalPlan> = None;
        for table in tables {
            let right = self.joined(table)?;
            all = Some(match all {
                None => right,
                Some(left) => self.join(left, right, JoinOn::Cross, JoinType::Inner),
            });
        }
        all.map_or_else(|| Ok(self.one_row()?), Ok)
    }

    /// A table of one row, whose one column no query names.
    fn one_row(&self) -> Result<LogicalPlan> {
        let column: ArrayRef = Arc::new(BooleanArray::from(vec![true]));
        let batch = RecordBatch::try_from_iter([("(one row)", column)])?;
        Ok(self.plan(Relation::Rows(batch.schema().into_schema(), vec![batch])))
    }

    fn join(&self, left: LogicalPlan, right: LogicalPlan, on: JoinOn, kind: JoinType) -> LogicalPlan {
        self.plan(Relation::Join { left, right, on, kind })
    }

    fn joined(&self, table: &TableWithJoins) -> Lowered<LogicalPlan> {
        let first = self.factor(&table.relation)?;
        table.joins.iter().try_fold(first, |left, join| {
            let right = self.factor(&join.relation)?;
            let (on, kind) = self.condition(join)?;
            Ok(self.join(left, right, on, kind))
        })
    }

    fn condition(&self, join: &Join) -> Lowered<(JoinOn, JoinType)> {
        let (constraint, kind) = match &join.join_operator {
            JoinOperator::Join(on) | JoinOperator::Inner(on) | JoinOperator::CrossJoin(on) => (on, JoinType::Inner),
            JoinOperator::Left(on) | JoinOperator::LeftOuter(on) => (on, JoinType::Left),
            JoinOperator::Right(on) | JoinOperator::RightOuter(on) => (on, JoinType::Right),
            JoinOperator::FullOuter(on) => (on, JoinType::Full),
            JoinOperator::LeftSemi(on) | JoinOperator::Semi(on) => (on, JoinType::LeftSemi),
            JoinOperator::LeftAnti(on) | JoinOperator::Anti(on) => (on, JoinType::LeftAnti),
            _ => return beyond(join.to_string().trim()),
        };
        let on = match constraint {
            JoinConstraint::On(condition) => JoinOn::Condition(self.expressions().lower(condition)?),
            JoinConstraint::Using(columns) => JoinOn::Using(columns.iter().map(object_name).collect::<Result<_>>()?),
            JoinConstraint::Natural => return beyond("NATURAL JOIN"),
            JoinConstraint::None if kind == JoinType::Inner => JoinOn::Cross,
            JoinConstraint::None => {
                let message = format!("SQL: `{}` needs ON or USING", join.to_string().trim());
                return Err(Error::plan(message).into());
            }
        };
        Ok((on, kind))
    }

    fn factor(&self, factor: &TableFactor) -> Lowered<LogicalPlan> {
        match factor {
            TableFactor::Table { sample: Some(_), .. } | TableFactor::Derived { sample: Some(_), .. } => {
                beyond("TABLESAMPLE")
            }
            TableFactor::Table { name, alias, args: None, version: None, json_path: None, partitions, .. }
                if partitions.is_empty() =>
            {
                self.named_or_table(name, alias.as_ref())
            }
            TableFactor::Table { name, .. } => beyond(format!("the table function {name}")),
            TableFactor::Derived { lateral: true, .. } => beyond("a LATERAL subquery"),
            TableFactor::Derived { subquery, alias, .. } => self.maybe_aliased(self.query(subquery)?, alias.as_ref()),
            TableFactor::NestedJoin { table_with_joins, alias } => {
                self.maybe_aliased(self.joined(table_with_joins)?, alias.as_ref())
            }
            TableFactor::Pivot { .. } => beyond("PIVOT"),
            TableFactor::Unpivot { .. } => beyond("UNPIVOT"),
            other => beyond(other.to_string()),
        }
    }

    fn named_or_table(&self, name: &ObjectName, alias: Option<&TableAlias>) -> Lowered<LogicalPlan> {
        let table = self.table(&object_name(name)?);
        self.maybe_aliased(table, alias)
    }

    /// The query WITH has named so, or a table.
    fn table(&self, name: &str) -> LogicalPlan {
        let named = self.named.iter().rev().find(|(known, _)| known.eq_ignore_ascii_case(name));
        match named {
            Some((_, plan)) => plan.clone(),
            None => self.plan(Relation::Table(name.to_string())),
        }
    }

    fn maybe_aliased(&self, input: LogicalPlan, alias: Option<&TableAlias>) -> Lowered<LogicalPlan> {
        match alias {
            Some(alias) => Ok(self.aliased(input, alias)?.1),
            None => Ok(input),
        }
    }

    /// The name and the plan of `… AS name (column, …)`.
    fn aliased(&self, input: LogicalPlan, alias: &TableAlias) -> Lowered<(String, LogicalPlan)> {
        let name = word(&alias.name);
        let renamed = if alias.columns.is_empty() {
            input
        } else {
            let Some(outputs) = outputs(&input) else { return beyond(format!("column names for `*` in {alias}")) };
            if outputs.len() != alias.columns.len() {
                let (given, found) = (alias.columns.len(), outputs.len());
                return Err(Error::plan(format!("SQL: {alias} names {given} columns of {found}")).into());
            }
            let names = alias.columns.iter().map(|column| word(&column.name));
            let columns = outputs.into_iter().zip(names).map(|(output, name)| self.expressions().alias(output, name));
            self.plan(Relation::Project { input, columns: columns.collect() })
        };
        Ok((name.clone(), self.plan(Relation::Alias { input: renamed, name })))
    }

    // VALUES.

    /// One projection of one row for each row, united; the columns are `col1`, `col2`, …
    fn values(&self, values: &Values) -> Lowered<LogicalPlan> {
        let rows = values.rows.iter().map(|row| self.row(&row.content)).collect::<Lowered<Vec<_>>>()?;
        Ok(self.united(&rows))
    }

    fn row(&self, values: &[Parsed]) -> Lowered<LogicalPlan> {
        let expressions = self.expressions();
        let mut columns = Vec::with_capacity(values.len());
        for (place, value) in values.iter().enumerate() {
            columns.push(expressions.alias(expressions.lower(value)?, format!("col{}", place + 1)));
        }
        Ok(self.plan(Relation::Project { input: self.one_row()?, columns }))
    }

    /// A balanced tree, so that many rows make no deep plan.
    fn united(&self, rows: &[LogicalPlan]) -> LogicalPlan {
        if let [row] = rows {
            return row.clone();
        }
        let (left, right) = rows.split_at(rows.len() / 2);
        self.plan(Relation::Union { left: self.united(left), right: self.united(right), by_name: false })
    }
}

fn sort_keys(order_by: Option<&OrderBy>) -> Lowered<&[OrderByExpr]> {
    match order_by.map(|order_by| &order_by.kind) {
        None => Ok(&[]),
        Some(OrderByKind::Expressions(keys)) => Ok(keys),
        Some(OrderByKind::All(_)) => beyond("ORDER BY ALL"),
    }
}

fn whole_number(expr: &Parsed, clause: &str) -> Lowered<usize> {
    let Parsed::Value(value) = expr else { return beyond(format!("{clause} {expr}")) };
    let number = match &value.value {
        Value::Number(text, _) => text.parse().ok(),
        _ => None,
    };
    number.ok_or_else(|| Error::plan(format!("SQL: {clause} {expr} is not a whole number of rows")).into())
}
