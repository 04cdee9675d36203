//! How long the rows of each side of a join can still match.
//!
//! Owns: finding what frees rows in the condition. Does not own: freeing them (the operator), or what to say where nothing
//! does (`remedy`).
//!
//! Rows at or before the watermark `W` are late. So rows whose key is a time up to `W` meet nothing any more. And if a
//! condition says `own >= other + c`, where `other` is the time of the other side, a row can still match only if its `own` is
//! after `W + c`. An upper bound, `own <= other + c`, frees nothing: `other` has no end.

use std::sync::Arc;

use datafusion::common::DFSchema;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{BinaryExpr, Expr as TypedExpr, Join, LogicalPlan as TypedPlan, Operator};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;

use super::super::event_time::{Marks, Shape, marks};
use super::conditions::{JoinParts, KeyPair};
use super::linear::{Linear, difference};
use crate::operator::JoinSide;

/// When rows of one side are freed: once the time in `value` is at or before the watermark + `offset_ms`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::plan::datafusion) struct SideBound {
    pub(in crate::plan::datafusion) value: BoundValue,
    pub(in crate::plan::datafusion) offset_ms: i64,
}

/// Where the time stands by which rows are freed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::plan::datafusion) enum BoundValue {
    /// The key pair with this number is an event time, or windows.
    Key(usize),
    /// This column (internal name) of the side, a TIMESTAMP.
    Column(String),
}

/// When rows of both sides are freed; `None` if never.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::plan::datafusion) struct JoinBounds {
    pub(in crate::plan::datafusion) left: Option<SideBound>,
    pub(in crate::plan::datafusion) right: Option<SideBound>,
}

impl JoinBounds {
    /// The bound of one side.
    pub(in crate::plan::datafusion) fn of(&self, side: JoinSide) -> Option<&SideBound> {
        match side {
            JoinSide::Left => self.left.as_ref(),
            JoinSide::Right => self.right.as_ref(),
        }
    }
}

/// Finds what bounds the sides of a join of two streams.
pub(in crate::plan::datafusion) fn bounds(join: &Join, parts: &JoinParts) -> JoinBounds {
    let (left, right) = (Input::of(&join.left), Input::of(&join.right));
    if let Some(key) = event_time_key(&parts.keys, &left, &right) {
        let bound = Some(SideBound { value: BoundValue::Key(key), offset_ms: 0 });
        return JoinBounds { left: bound.clone(), right: bound };
    }
    let Ok(both) = left.schema.join(right.schema) else { return JoinBounds { left: None, right: None } };
    let ranges: Vec<Range> = parts.residual.iter().filter_map(|conjunct| Range::read(conjunct, &both)).collect();
    JoinBounds { left: lowest(&ranges, &left, &right), right: lowest(&ranges, &right, &left) }
}

/// The lowest of what ranges over the event time say; where there are none, of those over another time of the side.
fn lowest(ranges: &[Range], own: &Input<'_>, other: &Input<'_>) -> Option<SideBound> {
    let bounds: Vec<(&str, i64)> = ranges.iter().filter_map(|range| range.bound(own, other)).collect();
    let is_event_time = |(name, _): &&(&str, i64)| own.is_event_time(name);
    let of_event_time = bounds.iter().filter(is_event_time).min_by_key(|(_, offset_ms)| *offset_ms);
    let (name, offset_ms) = of_event_time.or_else(|| bounds.iter().min_by_key(|(_, offset_ms)| *offset_ms))?;
    Some(SideBound { value: BoundValue::Column((*name).to_string()), offset_ms: *offset_ms })
}

/// One input and its event times.
struct Input<'a> {
    schema: &'a DFSchema,
    marks: Marks,
}

impl<'a> Input<'a> {
    fn of(plan: &'a TypedPlan) -> Self {
        Self { schema: plan.schema(), marks: marks(plan) }
    }

    fn has(&self, name: &str) -> bool {
        self.schema.has_column_with_unqualified_name(name)
    }

    /// Whether rows are late by this column.
    fn is_watermarked(&self, name: &str) -> bool {
        self.has(name) && self.marks.get(name).is_some_and(|mark| mark.delay.is_some() && mark.shape != Shape::Session)
    }

    /// Whether rows are late by this column, a TIMESTAMP.
    fn is_event_time(&self, name: &str) -> bool {
        self.is_watermarked(name) && self.marks.get(name).is_some_and(|mark| mark.shape == Shape::Time)
    }
}

/// The first key that is an event time: on the left side if on any.
fn event_time_key(keys: &[KeyPair], left: &Input<'_>, right: &Input<'_>) -> Option<usize> {
    let of_left = keys.iter().position(|key| column_of(&key.left).is_some_and(|name| left.is_watermarked(name)));
    of_left.or_else(|| keys.iter().position(|key| column_of(&key.right).is_some_and(|name| right.is_watermarked(name))))
}

fn column_of(expr: &TypedExpr) -> Option<&str> {
    match expr {
        TypedExpr::Alias(alias) => column_of(&alias.expr),
        TypedExpr::Column(column) => Some(&column.name),
        _ => None,
    }
}

/// A comparison of times: the difference is above zero, or not below it.
struct Range {
    difference: Linear,
    is_strict: bool,
}

impl Range {
    fn read(conjunct: &TypedExpr, schema: &DFSchema) -> Option<Self> {
        let simple = simplified(conjunct, schema);
        let TypedExpr::BinaryExpr(BinaryExpr { left, op, right }) = &simple else { return None };
        let (greater, less) = match op {
            Operator::Gt | Operator::GtEq => (left, right),
            Operator::Lt | Operator::LtEq => (right, left),
            _ => return None,
        };
        let is_strict = matches!(op, Operator::Gt | Operator::Lt);
        Some(Self { difference: difference(greater, less, schema)?, is_strict })
    }

    /// What `own - other + constant > 0` says about rows with `own`. The largest constant is the one that must be waited for;
    /// for `>=` a millisecond more, as Spark does.
    fn bound(&self, own: &Input<'_>, other: &Input<'_>) -> Option<(&str, i64)> {
        let [first, second] = self.difference.columns.as_slice() else { return None };
        let ((own_name, 1), (other_name, -1)) = (if first.1 > 0 { (first, second) } else { (second, first) }) else {
            return None;
        };
        if !own.has(own_name) || !other.is_event_time(other_name) {
            return None;
        }
        let offset_ms = (-self.difference.high).div_euclid(1000) - i128::from(!self.is_strict);
        Some((own_name, i64::try_from(offset_ms).ok()?))
    }
}

/// The conjunct as the optimizer leaves it, so that it says the same before and after: constants are computed.
fn simplified(conjunct: &TypedExpr, schema: &DFSchema) -> TypedExpr {
    let context = SimplifyContext::builder().with_schema(Arc::new(schema.clone())).build();
    ExprSimplifier::new(context).simplify(conjunct.clone()).unwrap_or_else(|_| conjunct.clone())
}
