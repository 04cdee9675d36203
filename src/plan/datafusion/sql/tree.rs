//! Walks over unresolved expressions.
//!
//! Owns: finding and replacing parts of a select list, for aliases and ordinals.

use crate::expr::functions::is_aggregate_name;
use crate::expr::{Expr, ExprNode};

/// The expressions right under one.
fn children(expr: &Expr) -> Vec<&Expr> {
    match expr.node() {
        ExprNode::Function { args, filter, .. } => args.iter().chain(filter).collect(),
        ExprNode::Udf(_, args) => args.iter().collect(),
        ExprNode::Case { branches, otherwise } => {
            branches.iter().flat_map(|(condition, value)| [condition, value]).chain(otherwise).collect()
        }
        ExprNode::Cast { expr, .. }
        | ExprNode::Alias(expr, _)
        | ExprNode::Field(expr, _)
        | ExprNode::Sort { expr, .. } => vec![expr],
        ExprNode::Column(_)
        | ExprNode::Star(_)
        | ExprNode::Literal(_)
        | ExprNode::Sql(_)
        | ExprNode::Unsupported(_) => Vec::new(),
    }
}

/// Whether `is_it` holds for an expression or one inside of it.
fn any(expr: &Expr, is_it: &impl Fn(&Expr) -> bool) -> bool {
    is_it(expr) || children(expr).into_iter().any(|child| any(child, is_it))
}

/// Whether it holds an aggregate function.
pub(super) fn is_aggregate(expr: &Expr) -> bool {
    any(expr, &|part| matches!(part.node(), ExprNode::Function { name, .. } if is_aggregate_name(name)))
}

/// Whether it names a column for which `is_it` holds.
pub(super) fn has_column(expr: &Expr, is_it: impl Fn(&[String]) -> bool) -> bool {
    any(expr, &|part| matches!(part.node(), ExprNode::Column(parts) if is_it(parts)))
}

/// The same with another expression wherever `change` gives one.
pub(super) fn replaced(expr: &Expr, change: &impl Fn(&Expr) -> Option<Expr>) -> Expr {
    if let Some(other) = change(expr) {
        return other;
    }
    let again = |part: &Expr| replaced(part, change);
    let all = |parts: &[Expr]| parts.iter().map(again).collect();
    let node = match expr.node() {
        ExprNode::Function { name, args, distinct, filter } => ExprNode::Function {
            name: name.clone(),
            args: all(args),
            distinct: *distinct,
            filter: filter.as_ref().map(again),
        },
        ExprNode::Udf(udf, args) => ExprNode::Udf(udf.clone(), all(args)),
        ExprNode::Case { branches, otherwise } => ExprNode::Case {
            branches: branches.iter().map(|(condition, value)| (again(condition), again(value))).collect(),
            otherwise: otherwise.as_ref().map(again),
        },
        ExprNode::Cast { expr, to, null_on_error } => {
            ExprNode::Cast { expr: again(expr), to: to.clone(), null_on_error: *null_on_error }
        }
        ExprNode::Alias(expr, name) => ExprNode::Alias(again(expr), name.clone()),
        ExprNode::Field(expr, name) => ExprNode::Field(again(expr), name.clone()),
        ExprNode::Sort { expr, ascending, nulls_first } => {
            ExprNode::Sort { expr: again(expr), ascending: *ascending, nulls_first: *nulls_first }
        }
        ExprNode::Column(_)
        | ExprNode::Star(_)
        | ExprNode::Literal(_)
        | ExprNode::Sql(_)
        | ExprNode::Unsupported(_) => return expr.clone(),
    };
    Expr::with_location(node, expr.location())
}

/// The expression without the name it was given.
pub(super) fn unaliased(expr: &Expr) -> &Expr {
    match expr.node() {
        ExprNode::Alias(inner, _) => inner,
        _ => expr,
    }
}
