//! Filters that follow from the condition of a join, put in front of its inputs.
//!
//! Owns: which conditions an inner, semi or outer join implies for one of its sides: that a compared value is not null, and
//! what is said of an equal column. Does not own: how far down they go (`optimize`).
//!
//! Such a filter changes no result of the join, but it is part of the semantics: it goes below a watermark node, whose
//! watermark the rows that go do not move. Spark's optimizer does the same (its rule InferFiltersFromConstraints).

use std::collections::HashSet;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema};
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{
    BinaryExpr, Expr as TypedExpr, Join, JoinType as TypedJoin, LogicalPlan as TypedPlan, LogicalPlanBuilder, Operator,
};

use super::checks::is_streaming;
use super::event_time::{as_deduplicate, as_watermark};
use super::join::conjuncts;
use super::translated;
use crate::error::Result;

/// The plan with the filters that its joins of streams imply.
///
/// # Errors
/// When DataFusion refuses a filter.
pub(super) fn infer_filters(plan: TypedPlan) -> Result<TypedPlan> {
    let with_filters = plan.transform_up(|node| match &node {
        TypedPlan::Join(join) if is_streaming(&node) => inferred(join).map(Transformed::yes),
        _ => Ok(Transformed::no(node)),
    });
    Ok(with_filters.map_err(translated)?.data)
}

fn inferred(join: &Join) -> datafusion::common::Result<TypedPlan> {
    let (to_left, to_right) = match join.join_type {
        TypedJoin::Inner | TypedJoin::LeftSemi => (true, true),
        TypedJoin::Right => (true, false),
        TypedJoin::Left | TypedJoin::LeftAnti => (false, true),
        _ => (false, false),
    };
    let own = conjuncts(join);
    let mut all: Vec<TypedExpr> = constraints(&join.left);
    all.extend(constraints(&join.right));
    all.extend(own.iter().cloned());
    all.extend(transferred(&all));
    let mut new = join.clone();
    if to_left {
        new.left = filtered(&join.left, &all, &own)?.into();
    }
    if to_right {
        new.right = filtered(&join.right, &all, &own)?.into();
    }
    Ok(TypedPlan::Join(new))
}

/// What holds for every row of `plan`.
fn constraints(plan: &TypedPlan) -> Vec<TypedExpr> {
    match plan {
        TypedPlan::Filter(filter) => {
            let mut all = constraints(&filter.input);
            all.extend(split_conjunction(&filter.predicate).into_iter().cloned());
            all
        }
        TypedPlan::Projection(projection) => {
            let below = constraints(&projection.input);
            renamed(&below, projection.expr.iter().zip(projection.schema.columns()))
        }
        TypedPlan::Aggregate(aggregate) => {
            let below = constraints(&aggregate.input);
            renamed(&below, aggregate.group_expr.iter().zip(aggregate.schema.columns()))
        }
        TypedPlan::Join(join) => {
            let (mut left, right, own) = (constraints(&join.left), constraints(&join.right), conjuncts(join));
            match join.join_type {
                TypedJoin::Inner => left.into_iter().chain(right).chain(own).collect(),
                TypedJoin::LeftSemi => {
                    left.extend(own.into_iter().filter(|conjunct| reads_only(conjunct, join.left.schema())));
                    left
                }
                TypedJoin::Left | TypedJoin::LeftAnti => left,
                TypedJoin::Right => right,
                _ => Vec::new(),
            }
        }
        _ if as_watermark(plan).is_some() || as_deduplicate(plan).is_some() => {
            plan.inputs().into_iter().flat_map(constraints).collect()
        }
        _ => Vec::new(),
    }
}

/// Those conjuncts whose columns are all handed on, under their new names.
fn renamed<'a>(conjuncts: &[TypedExpr], columns: impl Iterator<Item = (&'a TypedExpr, Column)>) -> Vec<TypedExpr> {
    let mut names: Vec<(Column, Column)> = Vec::new();
    for (expr, new) in columns {
        let inner = if let TypedExpr::Alias(alias) = expr { alias.expr.as_ref() } else { expr };
        if let TypedExpr::Column(old) = inner {
            names.push((old.clone(), new));
        }
    }
    let new_name = |old: &Column| names.iter().find(|(name, _)| name == old).map(|(_, new)| new.clone());
    let kept =
        conjuncts.iter().filter(|conjunct| conjunct.column_refs().iter().all(|column| new_name(column).is_some()));
    kept.filter_map(|conjunct| replaced(conjunct, new_name)).collect()
}

fn replaced(expr: &TypedExpr, new: impl Fn(&Column) -> Option<Column>) -> Option<TypedExpr> {
    let replace = |node: TypedExpr| match &node {
        TypedExpr::Column(column) => match new(column) {
            Some(other) => Ok(Transformed::yes(TypedExpr::Column(other))),
            None => Ok(Transformed::no(node)),
        },
        _ => Ok(Transformed::no(node)),
    };
    expr.clone().transform_up(replace).ok().map(|replaced| replaced.data)
}

/// What is said of a column, said of a column that is equal to it.
fn transferred(conjuncts: &[TypedExpr]) -> Vec<TypedExpr> {
    let mut new = Vec::new();
    for equality in conjuncts {
        let TypedExpr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = equality else { continue };
        let (TypedExpr::Column(left), TypedExpr::Column(right)) = (left.as_ref(), right.as_ref()) else { continue };
        for (from, to) in [(left, right), (right, left)] {
            let others = conjuncts.iter().filter(|other| *other != equality && other.column_refs().contains(from));
            new.extend(others.filter_map(|other| replaced(other, |column| (column == from).then(|| to.clone()))));
        }
    }
    new
}

/// `plan` behind a filter of what is new for it among `all`. What the join itself says of one side goes there anyway.
fn filtered(plan: &TypedPlan, all: &[TypedExpr], own: &[TypedExpr]) -> datafusion::common::Result<TypedPlan> {
    let known = constraints(plan);
    let schema = plan.schema();
    let mut new: Vec<TypedExpr> = Vec::new();
    let mut columns = HashSet::new();
    for conjunct in all {
        not_null(conjunct, &mut columns);
    }
    let mut columns: Vec<Column> = columns.into_iter().collect();
    columns.sort();
    let not_nulls = columns.into_iter().map(|column| TypedExpr::Column(column).is_not_null());
    for conjunct in all.iter().cloned().chain(not_nulls) {
        let is_new = !known.contains(&conjunct) && !own.contains(&conjunct) && !new.contains(&conjunct);
        if is_new && !conjunct.is_volatile() && reads_only(&conjunct, schema) {
            new.push(conjunct);
        }
    }
    match conjunction(new) {
        None => Ok(plan.clone()),
        Some(predicate) => LogicalPlanBuilder::from(plan.clone()).filter(predicate)?.build(),
    }
}

/// Whether an expression reads columns, and of this schema only.
fn reads_only(expr: &TypedExpr, schema: &DFSchema) -> bool {
    let read = expr.column_refs();
    !read.is_empty() && read.iter().all(|column| schema.maybe_index_of_column(column).is_some())
}

/// The columns that cannot be null where `conjunct` is true.
fn not_null(conjunct: &TypedExpr, columns: &mut HashSet<Column>) {
    match conjunct {
        TypedExpr::IsNotNull(inner) => read_by(inner, columns),
        _ => read_by(conjunct, columns),
    }
}

/// The columns that cannot be null where `expr` is not. Inside an expression `IS NOT NULL` is never null, so it says nothing.
fn read_by(expr: &TypedExpr, columns: &mut HashSet<Column>) {
    match expr {
        TypedExpr::Column(column) => {
            columns.insert(column.clone());
        }
        TypedExpr::BinaryExpr(BinaryExpr { left, op, right }) if is_null_intolerant(*op) => {
            read_by(left, columns);
            read_by(right, columns);
        }
        TypedExpr::Not(inner) | TypedExpr::Negative(inner) => read_by(inner, columns),
        TypedExpr::Cast(cast) => read_by(&cast.expr, columns),
        TypedExpr::Alias(alias) => read_by(&alias.expr, columns),
        TypedExpr::ScalarFunction(function) if NULL_INTOLERANT.contains(&function.func.name()) => {
            function.args.iter().for_each(|argument| read_by(argument, columns));
        }
        _ => {}
    }
}

fn is_null_intolerant(op: Operator) -> bool {
    use Operator::{Divide, Eq, Gt, GtEq, Lt, LtEq, Minus, Modulo, Multiply, NotEq, Plus};
    matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq | Plus | Minus | Multiply | Divide | Modulo)
}

/// Functions of ours and of DataFusion's that are null if an argument is.
const NULL_INTOLERANT: &[&str] = &[
    "cast",
    "spark_cast",
    "upper",
    "lower",
    "trim",
    "ltrim",
    "rtrim",
    "btrim",
    "substring",
    "substr",
    "length",
    "character_length",
    "abs",
    "floor",
    "ceil",
    "round",
    "add_interval",
    "subtract_interval",
    "subtract_times",
    "multiply_interval",
    "divide_interval",
];
