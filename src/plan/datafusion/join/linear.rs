//! Differences of times: expressions as sums of TIMESTAMP columns and a constant.
//!
//! Owns: which arithmetic and which casts are understood. Does not own: what a difference bounds (`bounds`).
//!
//! Times and intervals count in microseconds; numbers are seconds, as Spark's casts have it. Where a cast cuts something off,
//! the constant becomes a range. DOUBLE seconds are taken as exact: they are off by less than a microsecond until the
//! year 2242, and bounds are whole milliseconds.

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{BinaryExpr, Expr as TypedExpr, ExprSchemable, Operator, Volatility};

/// Microseconds of a second and of a day.
const SECOND: i128 = 1_000_000;
const DAY: i128 = 86_400 * SECOND;
/// Constants beyond this (73,000 years) might make the arithmetic of rows wrap around.
const MOST: i128 = 1 << 61;

/// `Σ factor × column + constant`, the constant somewhere from `low` to `high` microseconds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Linear {
    /// Internal names and their factors, none of them zero.
    pub(super) columns: Vec<(String, i64)>,
    pub(super) low: i128,
    pub(super) high: i128,
}

/// Reads `left - right` of a comparison; `None` if either side is not understood.
pub(super) fn difference(left: &TypedExpr, right: &TypedExpr, schema: &DFSchema) -> Option<Linear> {
    // Intervals are compared by their lengths in microseconds, beside which a plain number is one too.
    let unit = if is_length(left) || is_length(right) { 1 } else { SECOND };
    let reader = Reader { schema, unit };
    reader.read(left)?.plus(reader.read(right)?.times(-1)?)
}

fn is_length(expr: &TypedExpr) -> bool {
    own_function(expr).is_some_and(|function| function.func.name() == "interval_length")
}

/// The call that `expr` is, unless it is one of the user's functions, which may have any name.
fn own_function(expr: &TypedExpr) -> Option<&ScalarFunction> {
    match expr {
        TypedExpr::Alias(alias) => own_function(&alias.expr),
        TypedExpr::ScalarFunction(function) if function.func.signature().volatility == Volatility::Immutable => {
            Some(function)
        }
        _ => None,
    }
}

impl Linear {
    fn column(name: &str) -> Self {
        Self { columns: vec![(name.to_string(), 1)], ..Self::default() }
    }

    /// `count / parts` microseconds.
    fn constant(count: i128, parts: i128) -> Option<Self> {
        let low = count.div_euclid(parts);
        let high = low + i128::from(count.rem_euclid(parts) != 0);
        Self { columns: Vec::new(), low, high }.checked()
    }

    fn checked(self) -> Option<Self> {
        (self.low >= -MOST && self.high <= MOST).then_some(self)
    }

    fn plus(mut self, other: Self) -> Option<Self> {
        for (name, factor) in other.columns {
            match self.columns.iter_mut().find(|(own, _)| *own == name) {
                Some((_, own)) => *own = own.checked_add(factor)?,
                None => self.columns.push((name, factor)),
            }
        }
        self.columns.retain(|(_, factor)| *factor != 0);
        (self.low, self.high) = (self.low + other.low, self.high + other.high);
        self.checked()
    }

    fn times(mut self, factor: i64) -> Option<Self> {
        for (_, own) in &mut self.columns {
            *own = own.checked_mul(factor)?;
        }
        self.columns.retain(|(_, factor)| *factor != 0);
        let (low, high) = (self.low * i128::from(factor), self.high * i128::from(factor));
        (self.low, self.high) = (low.min(high), low.max(high));
        self.checked()
    }

    /// What a cast makes of it that takes away up to `below` and adds up to `above` microseconds.
    fn cut(mut self, below: i128, above: i128) -> Option<Self> {
        (self.low, self.high) = (self.low - below, self.high + above);
        self.checked()
    }
}

struct Reader<'a> {
    schema: &'a DFSchema,
    /// The microseconds of the number 1.
    unit: i128,
}

impl Reader<'_> {
    fn read(&self, expr: &TypedExpr) -> Option<Linear> {
        match expr {
            TypedExpr::Alias(alias) => self.read(&alias.expr),
            TypedExpr::Column(column) => matches!(self.type_of(expr)?, DataType::Timestamp(TimeUnit::Microsecond, _))
                .then(|| Linear::column(&column.name)),
            TypedExpr::Literal(value, _) => self.literal(value),
            TypedExpr::Negative(inner) => self.read(inner)?.times(-1),
            TypedExpr::BinaryExpr(BinaryExpr { left, op: Operator::Plus, right }) => self.sum(left, right, 1),
            TypedExpr::BinaryExpr(BinaryExpr { left, op: Operator::Minus, right }) => self.sum(left, right, -1),
            TypedExpr::Cast(cast) if is_number(&self.type_of(&cast.expr)?) => {
                self.converted(&cast.expr, cast.field.data_type())
            }
            _ => self.call(own_function(expr)?, expr),
        }
    }

    fn type_of(&self, expr: &TypedExpr) -> Option<DataType> {
        expr.get_type(self.schema).ok()
    }

    fn sum(&self, left: &TypedExpr, right: &TypedExpr, sign: i64) -> Option<Linear> {
        self.read(left)?.plus(self.read(right)?.times(sign)?)
    }

    fn literal(&self, value: &ScalarValue) -> Option<Linear> {
        let whole = |number: i64| Linear::constant(i128::from(number) * self.unit, 1);
        match value {
            ScalarValue::Int8(Some(number)) => whole(i64::from(*number)),
            ScalarValue::Int16(Some(number)) => whole(i64::from(*number)),
            ScalarValue::Int32(Some(number)) => whole(i64::from(*number)),
            ScalarValue::Int64(Some(number)) => whole(*number),
            ScalarValue::Float32(Some(number)) => self.fraction(f64::from(*number)),
            ScalarValue::Float64(Some(number)) => self.fraction(*number),
            ScalarValue::Decimal128(Some(number), _, scale) => {
                let parts = 10_i128.checked_pow(u32::try_from(*scale).ok()?)?;
                Linear::constant(number.checked_mul(self.unit)?, parts)
            }
            ScalarValue::TimestampMicrosecond(Some(micros), _) => Linear::constant(i128::from(*micros), 1),
            ScalarValue::IntervalMonthDayNano(Some(interval)) if interval.months == 0 => {
                let nanos = i128::from(interval.days) * DAY * 1000 + i128::from(interval.nanoseconds);
                Linear::constant(nanos, 1000)
            }
            _ => None,
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "the cast saturates, and what is so large is refused")]
    #[expect(clippy::cast_precision_loss, reason = "the unit is a million at most")]
    fn fraction(&self, number: f64) -> Option<Linear> {
        let micros = number * self.unit as f64;
        let (low, high) = (micros.floor() as i128, micros.ceil() as i128);
        if micros.is_nan() { None } else { Linear { columns: Vec::new(), low, high }.checked() }
    }

    fn call(&self, function: &ScalarFunction, expr: &TypedExpr) -> Option<Linear> {
        match (function.func.name(), function.args.as_slice()) {
            ("cast", [time]) => self.read(time),
            ("spark_cast", [value]) => self.converted(value, &self.type_of(expr)?),
            ("interval_length", [interval]) if self.unit == 1 => self.read(interval),
            ("checked_add" | "add_interval", [left, right]) => self.sum(left, right, 1),
            ("checked_subtract" | "subtract_interval" | "subtract_times", [left, right]) => self.sum(left, right, -1),
            ("decimal_add", [left, right]) if self.is_exact([left, right], expr)? => self.sum(left, right, 1),
            ("decimal_subtract", [left, right]) if self.is_exact([left, right], expr)? => self.sum(left, right, -1),
            ("multiply_interval", [interval, TypedExpr::Literal(ScalarValue::Int64(Some(factor)), _)]) => {
                self.read(interval)?.times(*factor)
            }
            _ => None,
        }
    }

    /// Whether a decimal has all the digits of those it is made of.
    fn is_exact(&self, from: [&TypedExpr; 2], to: &TypedExpr) -> Option<bool> {
        let scale = |expr: &TypedExpr| match self.type_of(expr)? {
            DataType::Decimal128(_, scale) => Some(scale),
            _ => None,
        };
        let [left, right] = from;
        Some(scale(left)?.max(scale(right)?) <= scale(to)?)
    }

    /// A cast between times and seconds, or from number to number. What overflows is null, which matches nothing; but INT and
    /// smaller wrap around, and FLOAT is too coarse for times.
    fn converted(&self, value: &TypedExpr, to: &DataType) -> Option<Linear> {
        use DataType::{Decimal128, Float64, Int64, Timestamp};
        let from = self.type_of(value)?;
        let value = if self.unit == SECOND { self.read(value)? } else { return None };
        let is_exact = match (&from, to) {
            (Timestamp(_, Some(_)), Int64) => return value.cut(SECOND - 1, 0),
            (Float64, Timestamp(_, Some(_))) => return value.cut(1, 1),
            (Float64 | Decimal128(..), Int64) => return value.cut(SECOND - 1, SECOND - 1),
            (Timestamp(_, Some(_)), Decimal128(_, scale)) => *scale >= 6,
            (Decimal128(_, scale), Timestamp(_, Some(_))) => *scale <= 6,
            (Decimal128(_, own), Decimal128(_, wanted)) => own <= wanted,
            (Int64, Decimal128(_, scale)) => *scale >= 0,
            (Int64, Timestamp(_, Some(_))) => true,
            (from, Float64) => is_number(from) || matches!(from, Timestamp(_, Some(_))),
            _ => false,
        };
        is_exact.then_some(value)
    }
}

fn is_number(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Int64 | DataType::Float64 | DataType::Decimal128(..))
}
