//! How long rows of a join have to be kept.
//!
//! Owns: reading linear conditions over times. Does not own: the watermark's value, which is known at run time only.
//!
//! A row of the other side that is not late is above the watermark W. So from `own >= other + c` follows that a stored row at
//! or before `W + c - 1 ms` finds no partner any more, and from `own > other + c` one at or before `W + c`. An upper
//! limit of `own` says nothing about how long it has to wait. With several such conditions the lowest limit is taken (as
//! Spark's StreamingJoinHelper does), with an equality between event times that one, for both sides.

use arrow::datatypes::DataType;
use datafusion::common::{Column, DFSchema, ScalarValue};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    BinaryExpr, Expr as TypedExpr, ExprSchemable, Join, LogicalPlan as TypedPlan, Operator,
};

use super::conditions::JoinParts;
use crate::plan::datafusion::event_time::{Marks, Shape, marks};

/// When rows of one side are freed: once their time is at or before the watermark plus `offset_ms`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::plan::datafusion) struct SideBound {
    pub(in crate::plan::datafusion) value: BoundValue,
    pub(in crate::plan::datafusion) offset_ms: i64,
}

/// The time of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::plan::datafusion) enum BoundValue {
    /// The key with this number.
    Key(usize),
    /// The column with this internal name.
    Column(String),
}

/// What frees the rows of each side; `None` is nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::plan::datafusion) struct JoinBounds {
    pub(in crate::plan::datafusion) left: Option<SideBound>,
    pub(in crate::plan::datafusion) right: Option<SideBound>,
}

/// Derives the bounds of a join of streams.
pub(in crate::plan::datafusion) fn bounds(join: &Join, parts: &JoinParts) -> JoinBounds {
    let (left, right) = (marks(&join.left), marks(&join.right));
    let is_timed = |expr: &TypedExpr, marks: &Marks| match unaliased(expr) {
        TypedExpr::Column(column) => marks.get(&column.name).is_some_and(|mark| mark.delay.is_some()),
        _ => false,
    };
    let of_left = parts.keys.iter().position(|key| is_timed(&key.left, &left));
    let timed_key = of_left.or_else(|| parts.keys.iter().position(|key| is_timed(&key.right, &right)));
    if let Some(key) = timed_key {
        let bound = SideBound { value: BoundValue::Key(key), offset_ms: 0 };
        return JoinBounds { left: Some(bound.clone()), right: Some(bound) };
    }
    let sides = Sides { own: &join.left, own_marks: &left, other_marks: &right, schema: &join.schema_of_both() };
    let turned = Sides { own: &join.right, own_marks: &right, other_marks: &left, schema: sides.schema };
    JoinBounds { left: sides.bound(&parts.residual), right: turned.bound(&parts.residual) }
}

/// The columns of both inputs, also where the join itself puts out those of one.
trait SchemaOfBoth {
    fn schema_of_both(&self) -> DFSchema;
}

impl SchemaOfBoth for Join {
    fn schema_of_both(&self) -> DFSchema {
        self.left.schema().join(self.right.schema()).unwrap_or_else(|_| self.schema.as_ref().clone())
    }
}

fn unaliased(expr: &TypedExpr) -> &TypedExpr {
    if let TypedExpr::Alias(alias) = expr { unaliased(&alias.expr) } else { expr }
}

/// A side to be bounded by the other's watermark.
struct Sides<'a> {
    own: &'a TypedPlan,
    own_marks: &'a Marks,
    other_marks: &'a Marks,
    schema: &'a DFSchema,
}

impl Sides<'_> {
    /// What the conditions on the watermarked column say, or else those on another time of this side.
    fn bound(&self, conjuncts: &[TypedExpr]) -> Option<SideBound> {
        let bounds: Vec<_> = conjuncts.iter().filter_map(|conjunct| self.bound_of(conjunct)).collect();
        let is_watermarked = |column: &String| self.own_marks.get(column).is_some_and(|mark| mark.delay.is_some());
        let has_watermarked = bounds.iter().any(|(column, _)| is_watermarked(column));
        let usable = bounds.into_iter().filter(|(column, _)| !has_watermarked || is_watermarked(column));
        let lowest = usable.min_by_key(|(_, offset_ms)| *offset_ms);
        lowest.map(|(column, offset_ms)| SideBound { value: BoundValue::Column(column), offset_ms })
    }

    /// The own column and the offset of `own >= other + c` or `own > other + c`, however it is written.
    fn bound_of(&self, conjunct: &TypedExpr) -> Option<(String, i64)> {
        let TypedExpr::BinaryExpr(BinaryExpr { left, op, right }) = conjunct else { return None };
        let (greater, lesser, is_strict) = match op {
            Operator::Gt => (left, right, true),
            Operator::GtEq => (left, right, false),
            Operator::Lt => (right, left, true),
            Operator::LtEq => (right, left, false),
            _ => return None,
        };
        let scale = if compares_lengths(greater) || compares_lengths(lesser) { 1 } else { SECOND };
        let reading = Reading { schema: self.schema, micros_of_one: scale };
        let difference = reading.linear(greater)?.minus(&reading.linear(lesser)?)?;
        let [(first, first_times), (second, second_times)] = difference.terms.as_slice() else { return None };
        let (own, other) = match (first_times, second_times) {
            (1, -1) => (first, second),
            (-1, 1) => (second, first),
            _ => return None,
        };
        let is_own = self.own.schema().maybe_index_of_column(own).is_some();
        if !is_own || !self.is_other_watermark(other) {
            return None;
        }
        // own - other + constant, plus at most `above`, is 0 or more.
        let c = difference.constant.checked_add(difference.above)?.checked_neg()?;
        Some((own.name.clone(), c.div_euclid(1000) - i64::from(!is_strict)))
    }

    fn is_other_watermark(&self, column: &Column) -> bool {
        self.other_marks.get(&column.name).is_some_and(|mark| mark.delay.is_some() && mark.shape == Shape::Time)
    }
}

/// Microseconds of a second and of a day.
const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;

/// A sum of times and a constant, in microseconds. The value is between `below` and `above` off it.
#[derive(Debug, Clone, Default)]
struct Linear {
    terms: Vec<(Column, i64)>,
    constant: i64,
    /// Zero or negative.
    below: i64,
    /// Zero or positive.
    above: i64,
}

impl Linear {
    fn constant(constant: i64) -> Self {
        Self { constant, ..Self::default() }
    }

    fn plus(&self, other: &Self) -> Option<Self> {
        let mut sum = self.clone();
        for (column, times) in &other.terms {
            match sum.terms.iter_mut().find(|(known, _)| known == column) {
                Some((_, known)) => *known = known.checked_add(*times)?,
                None => sum.terms.push((column.clone(), *times)),
            }
        }
        sum.terms.retain(|(_, times)| *times != 0);
        sum.constant = sum.constant.checked_add(other.constant)?;
        sum.below = sum.below.checked_add(other.below)?;
        sum.above = sum.above.checked_add(other.above)?;
        Some(sum)
    }

    fn negated(&self) -> Option<Self> {
        Some(Self {
            terms: self.terms.iter().map(|(column, times)| (column.clone(), -times)).collect(),
            constant: self.constant.checked_neg()?,
            below: -self.above,
            above: -self.below,
        })
    }

    fn minus(&self, other: &Self) -> Option<Self> {
        self.plus(&other.negated()?)
    }
}

/// Whether intervals are compared, by their microseconds.
fn compares_lengths(expr: &TypedExpr) -> bool {
    matches!(unaliased(expr), TypedExpr::ScalarFunction(function) if function.func.name() == "interval_length")
}

/// Reads expressions over times; `None` for what is not linear.
struct Reading<'a> {
    schema: &'a DFSchema,
    /// Microseconds of the number 1: times as numbers are seconds, lengths of intervals microseconds.
    micros_of_one: i64,
}

impl Reading<'_> {
    fn linear(&self, expr: &TypedExpr) -> Option<Linear> {
        match expr {
            TypedExpr::Alias(alias) => self.linear(&alias.expr),
            TypedExpr::Column(column) => {
                let is_time = matches!(expr.get_type(self.schema).ok()?, DataType::Timestamp(..));
                is_time.then(|| Linear { terms: vec![(column.clone(), 1)], ..Linear::default() })
            }
            TypedExpr::Literal(value, _) => self.literal(value).map(Linear::constant),
            TypedExpr::Negative(inner) => self.linear(inner)?.negated(),
            TypedExpr::BinaryExpr(BinaryExpr { left, op: Operator::Plus, right }) => {
                self.linear(left)?.plus(&self.linear(right)?)
            }
            TypedExpr::BinaryExpr(BinaryExpr { left, op: Operator::Minus, right }) => {
                self.linear(left)?.minus(&self.linear(right)?)
            }
            TypedExpr::Cast(cast) => self.converted(&cast.expr, cast.field.data_type()),
            TypedExpr::ScalarFunction(function) => self.function(function, expr),
            _ => None,
        }
    }

    fn literal(&self, value: &ScalarValue) -> Option<i64> {
        match value {
            ScalarValue::IntervalMonthDayNano(Some(interval)) if interval.months == 0 => {
                i64::from(interval.days).checked_mul(DAY)?.checked_add(interval.nanoseconds.div_euclid(1000))
            }
            ScalarValue::TimestampMicrosecond(Some(micros), _) => Some(*micros),
            ScalarValue::Int8(Some(number)) => i64::from(*number).checked_mul(self.micros_of_one),
            ScalarValue::Int16(Some(number)) => i64::from(*number).checked_mul(self.micros_of_one),
            ScalarValue::Int32(Some(number)) => i64::from(*number).checked_mul(self.micros_of_one),
            ScalarValue::Int64(Some(number)) => number.checked_mul(self.micros_of_one),
            ScalarValue::Float32(Some(number)) => self.fraction(f64::from(*number)),
            ScalarValue::Float64(Some(number)) => self.fraction(*number),
            ScalarValue::Decimal128(Some(number), _, scale) => {
                let unit = 10_i128.checked_pow(u32::try_from(*scale).ok()?)?;
                i64::try_from(number.checked_mul(i128::from(self.micros_of_one))?.div_euclid(unit)).ok()
            }
            _ => None,
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "bounds are checked before the cast"
    )]
    fn fraction(&self, number: f64) -> Option<i64> {
        let micros = (number * self.micros_of_one as f64).floor();
        (micros.abs() < 9e18).then_some(micros as i64)
    }

    fn function(&self, function: &ScalarFunction, expr: &TypedExpr) -> Option<Linear> {
        match (function.func.name(), function.args.as_slice()) {
            ("cast" | "spark_cast", [inner]) => self.converted(inner, &expr.get_type(self.schema).ok()?),
            ("interval_length", [interval]) => self.linear(interval),
            ("subtract_times", [left, right]) => self.linear(left)?.minus(&self.linear(right)?),
            ("multiply_interval", [interval, TypedExpr::Literal(ScalarValue::Int64(Some(times)), _)]) => {
                let length = self.linear(interval)?;
                let is_constant = length.terms.is_empty();
                is_constant.then(|| length.constant.checked_mul(*times).map(Linear::constant))?
            }
            _ => None,
        }
    }

    /// A cast. A time as a whole number of seconds is rounded down.
    fn converted(&self, inner: &TypedExpr, to: &DataType) -> Option<Linear> {
        let from = inner.get_type(self.schema).ok()?;
        let value = self.linear(inner)?;
        let is_time = |data_type: &DataType| matches!(data_type, DataType::Timestamp(..));
        match (&from, to) {
            (from, to) if is_time(from) && is_time(to) => Some(value),
            (from, DataType::Float64 | DataType::Decimal128(..)) if is_time(from) && self.micros_of_one == SECOND => {
                Some(value)
            }
            (from, DataType::Int64) if is_time(from) && self.micros_of_one == SECOND => {
                Some(Linear { below: value.below.checked_sub(SECOND - 1)?, ..value })
            }
            (from, to) if is_number(from) && is_time(to) => Some(value),
            (from, DataType::Float64) if is_number(from) => Some(value),
            (DataType::Int8 | DataType::Int16 | DataType::Int32, DataType::Int64) => Some(value),
            (from, DataType::Decimal128(..)) if from.is_integer() => Some(value),
            _ => None,
        }
    }
}

fn is_number(data_type: &DataType) -> bool {
    data_type.is_numeric()
}
