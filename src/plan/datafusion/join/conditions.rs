//! The conjuncts of a join's condition by what they read.

use datafusion::common::{DFSchema, NullEquality, ScalarValue};
use datafusion::logical_expr::utils::split_conjunction_owned;
use datafusion::logical_expr::{Between, BinaryExpr, Expr as TypedExpr, Join, Operator};

/// An equality between the sides.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::plan::datafusion) struct KeyPair {
    /// Reads the left input only.
    pub(in crate::plan::datafusion) left: TypedExpr,
    /// Reads the right input only.
    pub(in crate::plan::datafusion) right: TypedExpr,
    /// Whether null equals null.
    pub(in crate::plan::datafusion) null_safe: bool,
}

/// A join's condition: all of these have to hold.
#[derive(Debug, Clone, Default, PartialEq)]
pub(in crate::plan::datafusion) struct JoinParts {
    pub(in crate::plan::datafusion) keys: Vec<KeyPair>,
    pub(in crate::plan::datafusion) left_only: Vec<TypedExpr>,
    pub(in crate::plan::datafusion) right_only: Vec<TypedExpr>,
    /// What reads both sides and is no key, and what reads neither.
    pub(in crate::plan::datafusion) residual: Vec<TypedExpr>,
}

/// Which inputs an expression reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reads {
    Nothing,
    Left,
    Right,
    Both,
}

fn reads(expr: &TypedExpr, left: &DFSchema, right: &DFSchema) -> Reads {
    let columns = expr.column_refs();
    let is_in = |schema: &DFSchema| columns.iter().any(|column| schema.maybe_index_of_column(column).is_some());
    match (is_in(left), is_in(right)) {
        (false, false) => Reads::Nothing,
        (true, false) => Reads::Left,
        (false, true) => Reads::Right,
        (true, true) => Reads::Both,
    }
}

/// Takes the condition of a join apart.
pub(in crate::plan::datafusion) fn parts(join: &Join) -> JoinParts {
    let (left, right) = (join.left.schema(), join.right.schema());
    let mut parts = JoinParts::default();
    for (own, other) in &join.on {
        let null_safe = join.null_equality == NullEquality::NullEqualsNull;
        parts.keys.push(KeyPair { left: own.clone(), right: other.clone(), null_safe });
    }
    for conjunct in join.filter.iter().cloned().flat_map(split_conjunction_owned).flat_map(ranges) {
        if let Some(key) = key(&conjunct, left, right) {
            parts.keys.push(key);
            continue;
        }
        match reads(&conjunct, left, right) {
            Reads::Left => parts.left_only.push(conjunct),
            Reads::Right => parts.right_only.push(conjunct),
            Reads::Nothing if is_true(&conjunct) => {}
            Reads::Nothing | Reads::Both => parts.residual.push(conjunct),
        }
    }
    parts
}

/// `BETWEEN` as its two comparisons.
fn ranges(conjunct: TypedExpr) -> Vec<TypedExpr> {
    match conjunct {
        TypedExpr::Between(Between { expr, negated: false, low, high }) => {
            vec![expr.as_ref().clone().gt_eq(*low), expr.lt_eq(*high)]
        }
        other => vec![other],
    }
}

fn is_true(expr: &TypedExpr) -> bool {
    matches!(expr, TypedExpr::Literal(ScalarValue::Boolean(Some(true)), _))
}

fn key(conjunct: &TypedExpr, left: &DFSchema, right: &DFSchema) -> Option<KeyPair> {
    let TypedExpr::BinaryExpr(BinaryExpr { left: own, op, right: other }) = conjunct else { return None };
    let null_safe = match op {
        Operator::Eq => false,
        Operator::IsNotDistinctFrom => true,
        _ => return None,
    };
    if conjunct.is_volatile() {
        return None;
    }
    let (own, other) = (own.as_ref().clone(), other.as_ref().clone());
    match (reads(&own, left, right), reads(&other, left, right)) {
        (Reads::Left, Reads::Right) => Some(KeyPair { left: own, right: other, null_safe }),
        (Reads::Right, Reads::Left) => Some(KeyPair { left: other, right: own, null_safe }),
        _ => None,
    }
}
