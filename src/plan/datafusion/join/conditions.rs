//! The conjuncts of a join's condition by the sides they read.
//!
//! Owns: taking the condition apart, and finding the equalities between the sides. Does not own: what ranges say about time
//! (`bounds`).

use datafusion::common::{DFSchema, NullEquality, ScalarValue};
use datafusion::logical_expr::{BinaryExpr, Expr as TypedExpr, Join, Operator, binary_expr};

/// An equality between the sides: `left` reads the left input only, `right` the right one only.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::plan::datafusion) struct KeyPair {
    pub(in crate::plan::datafusion) left: TypedExpr,
    pub(in crate::plan::datafusion) right: TypedExpr,
    /// Null equals null.
    pub(in crate::plan::datafusion) null_safe: bool,
}

/// The conjuncts of a join's condition by what they read.
#[derive(Debug, Clone, PartialEq, Default)]
pub(in crate::plan::datafusion) struct JoinParts {
    pub(in crate::plan::datafusion) keys: Vec<KeyPair>,
    pub(in crate::plan::datafusion) left_only: Vec<TypedExpr>,
    pub(in crate::plan::datafusion) right_only: Vec<TypedExpr>,
    /// What reads both sides, no side, or has a value of its own for each pair.
    pub(in crate::plan::datafusion) residual: Vec<TypedExpr>,
}

/// Takes the condition of `join` apart; all parts together are as true as the whole. A literal TRUE is left out.
pub(in crate::plan::datafusion) fn parts(join: &Join) -> JoinParts {
    let sides = Sides { left: join.left.schema(), right: join.right.schema() };
    let mut parts = JoinParts::default();
    for conjunct in conjuncts(join) {
        sides.add(conjunct, &mut parts);
    }
    parts
}

/// What has to hold for a pair: the equalities of `join` and the conjuncts of its filter.
pub(in crate::plan::datafusion) fn conjuncts(join: &Join) -> Vec<TypedExpr> {
    let equal = match join.null_equality {
        NullEquality::NullEqualsNothing => Operator::Eq,
        NullEquality::NullEqualsNull => Operator::IsNotDistinctFrom,
    };
    let mut conjuncts = Vec::new();
    for (left, right) in &join.on {
        conjuncts.push(binary_expr(left.clone(), equal, right.clone()));
    }
    if let Some(filter) = &join.filter {
        split(filter, &mut conjuncts);
    }
    conjuncts
}

/// Adds the conjuncts of `condition`.
fn split(condition: &TypedExpr, conjuncts: &mut Vec<TypedExpr>) {
    match condition {
        TypedExpr::Alias(alias) => split(&alias.expr, conjuncts),
        TypedExpr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
            split(left, conjuncts);
            split(right, conjuncts);
        }
        TypedExpr::Between(between) if !between.negated => {
            let (value, low, high) = (&between.expr, &between.low, &between.high);
            conjuncts.push(binary_expr(value.as_ref().clone(), Operator::GtEq, low.as_ref().clone()));
            conjuncts.push(binary_expr(value.as_ref().clone(), Operator::LtEq, high.as_ref().clone()));
        }
        TypedExpr::Literal(ScalarValue::Boolean(Some(true)), _) => {}
        _ => conjuncts.push(turned(condition)),
    }
}

/// `NOT a < b` as `a >= b`, which is null for the same rows; anything else as it is.
fn turned(condition: &TypedExpr) -> TypedExpr {
    if let TypedExpr::Not(inner) = condition
        && let TypedExpr::BinaryExpr(BinaryExpr { left, op, right }) = inner.as_ref()
        && let Some(op) = op.negate()
    {
        return binary_expr(left.as_ref().clone(), op, right.as_ref().clone());
    }
    condition.clone()
}

/// Which sides an expression reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reads {
    Neither,
    Left,
    Right,
    Both,
}

struct Sides<'a> {
    left: &'a DFSchema,
    right: &'a DFSchema,
}

impl Sides<'_> {
    fn add(&self, conjunct: TypedExpr, parts: &mut JoinParts) {
        if conjunct.is_volatile() {
            parts.residual.push(conjunct);
            return;
        }
        match self.reads(&conjunct) {
            Reads::Left => parts.left_only.push(conjunct),
            Reads::Right => parts.right_only.push(conjunct),
            Reads::Neither => parts.residual.push(conjunct),
            Reads::Both => match self.key(&conjunct) {
                Some(key) => parts.keys.push(key),
                None => parts.residual.push(conjunct),
            },
        }
    }

    fn reads(&self, expr: &TypedExpr) -> Reads {
        let columns = expr.column_refs();
        let left = columns.iter().any(|column| self.left.has_column(column));
        let right = columns.iter().any(|column| self.right.has_column(column));
        match (left, right) {
            (false, false) => Reads::Neither,
            (true, false) => Reads::Left,
            (false, true) => Reads::Right,
            (true, true) => Reads::Both,
        }
    }

    fn key(&self, conjunct: &TypedExpr) -> Option<KeyPair> {
        let TypedExpr::BinaryExpr(BinaryExpr { left, op, right }) = conjunct else { return None };
        let null_safe = match op {
            Operator::Eq => false,
            Operator::IsNotDistinctFrom => true,
            _ => return None,
        };
        let (left, right) = match (self.reads(left), self.reads(right)) {
            (Reads::Left, Reads::Right) => (left, right),
            (Reads::Right, Reads::Left) => (right, left),
            _ => return None,
        };
        Some(KeyPair { left: left.as_ref().clone(), right: right.as_ref().clone(), null_safe })
    }
}
