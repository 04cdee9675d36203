//! Aggregations: keys, aggregate calls, and the expressions around them.
//!
//! Owns: taking a select list such as `word, count(*) + 1` apart into the keys, the calls and a projection over both.

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Expr as TypedExpr, LogicalPlanBuilder};

use super::relations::{NewColumn, Resolved, Resolver, kept_qualifier, parsed};
use super::scope::{Scope, ScopeColumn};
use super::translated;
use super::windowing::WindowColumn;
use crate::error::{Error, Result};
use crate::expr::{Expr, ExprNode, functions::is_aggregate_name};
use crate::plan::Refusal;
use crate::plan::logical::Grouping;

/// Whether an expression holds an aggregate function.
pub(super) fn aggregates(expr: &Expr) -> bool {
    match expr.node() {
        ExprNode::Function { name, args, .. } => is_aggregate_name(name) || args.iter().any(aggregates),
        ExprNode::Udf(_, args) => args.iter().any(aggregates),
        ExprNode::Case { branches, otherwise } => {
            branches.iter().any(|(condition, value)| aggregates(condition) || aggregates(value))
                || otherwise.as_ref().is_some_and(aggregates)
        }
        ExprNode::Cast { expr, .. }
        | ExprNode::Alias(expr, _)
        | ExprNode::Field(expr, _)
        | ExprNode::Sort { expr, .. } => aggregates(expr),
        ExprNode::Sql(_) => {
            parsed(expr).is_ok_and(|parsed| !matches!(parsed.node(), ExprNode::Sql(_)) && aggregates(&parsed))
        }
        ExprNode::Column(_) | ExprNode::Star(_) | ExprNode::Literal(_) | ExprNode::Unsupported(_) => false,
    }
}

/// An aggregation while its output columns are taken apart.
struct Parts {
    keys: Vec<(TypedExpr, ScopeColumn)>,
    calls: Vec<(TypedExpr, String)>,
    window: Option<WindowColumn>,
}

impl Resolver<'_> {
    /// One row a group.
    pub(super) fn aggregate(
        &mut self,
        mut input: Resolved,
        grouping: Grouping,
        keys: &[Expr],
        columns: &[Expr],
        keys_in_output: bool,
        having: Option<&Expr>,
    ) -> Result<Resolved> {
        refuse_grouping_sets(&input, grouping)?;
        let mut parts = Parts { keys: Vec::new(), calls: Vec::new(), window: None };
        for key in keys {
            let key = parsed(key)?;
            let value = self.windowed(&mut input, &key, &mut parts)?;
            let (name, qualifier) = (key.output_name(), kept_qualifier(&key, &input.scope));
            let internal = self.internal(&name);
            parts.keys.push((value, ScopeColumn { qualifier, name, internal }));
        }
        if let Some(window) = &parts.window {
            window.show_in(&mut input);
        }
        let mut new: Vec<NewColumn> = Vec::new();
        if keys_in_output {
            for (_, key) in &parts.keys {
                new.push(NewColumn {
                    value: key.reference(),
                    name: key.name.clone(),
                    qualifier: key.qualifier.clone(),
                });
            }
        }
        for column in columns {
            let column = parsed(column)?;
            let value = self.over_groups(&mut input, &column, &mut parts)?;
            new.push(NewColumn { value, name: column.output_name(), qualifier: kept_qualifier(&column, &input.scope) });
        }
        let having = having.map(|having| self.over_groups(&mut input, &parsed(having)?, &mut parts)).transpose()?;
        let aggregated = Self::build(&input, grouping, &parts, having)?;
        self.project(&aggregated, new)
    }

    /// A typed expression with a column in place of the window it calls.
    fn windowed(&mut self, input: &mut Resolved, expr: &Expr, parts: &mut Parts) -> Result<TypedExpr> {
        let typed = self.expressions(input).resolve_with_window(expr)?;
        self.in_window(input, &mut parts.window, typed).map_err(|error| error.at(expr.location()))
    }

    /// An output expression with its keys and aggregate calls replaced by references to their columns.
    fn over_groups(&mut self, input: &mut Resolved, column: &Expr, parts: &mut Parts) -> Result<TypedExpr> {
        let typed = self.windowed(input, column, parts)?;
        let mut stray: Option<String> = None;
        let replaced = typed.transform_down(|node| {
            if let Some((_, key)) = parts.keys.iter().find(|(value, _)| *value == node) {
                return Ok(Transformed::new(key.reference(), true, TreeNodeRecursion::Jump));
            }
            if matches!(node, TypedExpr::AggregateFunction(_)) {
                let known = parts.calls.iter().find(|(call, _)| *call == node).map(|(_, name)| name.clone());
                let name = known.unwrap_or_else(|| {
                    let name = self.internal("agg");
                    parts.calls.push((node, name.clone()));
                    name
                });
                let reference = TypedExpr::Column(datafusion::common::Column::new_unqualified(name));
                return Ok(Transformed::new(reference, true, TreeNodeRecursion::Jump));
            }
            if let TypedExpr::Column(column) = &node {
                stray.get_or_insert_with(|| column.name.clone());
            }
            Ok(Transformed::no(node))
        });
        let replaced = replaced.map_err(translated)?.data;
        match stray {
            None => Ok(replaced),
            Some(internal) => {
                let own = input.scope.columns.iter().find(|own| own.internal == internal);
                // A window that only this expression calls for is no column of the input.
                let internal = internal.rsplit_once('#').map_or(internal.as_str(), |(name, _)| name);
                let name = own.map_or(internal, |own| &own.name);
                let remedy = format!("add it to group_by, or wrap it in first({name})");
                Err(Error::plan(format!("column `{name}` is neither grouped nor aggregated; {remedy}"))
                    .at(column.location()))
            }
        }
    }

    fn build(input: &Resolved, grouping: Grouping, parts: &Parts, having: Option<TypedExpr>) -> Result<Resolved> {
        let plain: Vec<TypedExpr> = parts.keys.iter().map(|(value, key)| value.clone().alias(&key.internal)).collect();
        let keys = match grouping {
            Grouping::Simple => plain,
            Grouping::Rollup => vec![datafusion::logical_expr::rollup(plain)],
            Grouping::Cube => vec![datafusion::logical_expr::cube(plain)],
        };
        let calls = parts.calls.iter().map(|(call, name)| call.clone().alias(name));
        let mut builder = LogicalPlanBuilder::from(input.plan.clone()).aggregate(keys, calls).map_err(translated)?;
        if let Some(having) = having {
            builder = builder.filter(having).map_err(translated)?;
        }
        let plan = builder.build().map_err(translated)?;
        let columns = parts.keys.iter().map(|(_, key)| key.clone()).collect();
        Ok(Resolved { plan, scope: Scope { columns }, is_streaming: input.is_streaming })
    }
}

fn refuse_grouping_sets(input: &Resolved, grouping: Grouping) -> Result<()> {
    match grouping {
        Grouping::Rollup if input.is_streaming => Err(Refusal::GroupingSets("rollup").into()),
        Grouping::Cube if input.is_streaming => Err(Refusal::GroupingSets("cube").into()),
        Grouping::Simple | Grouping::Rollup | Grouping::Cube => Ok(()),
    }
}
