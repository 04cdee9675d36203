//! Numbers: rounding, roots, logarithms, angles.
//!
//! Owns: the functions of one or two doubles, and rounding of every kind of number. Does not own: operators.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array};
use arrow::datatypes::{DataType, Decimal128Type, Float64Type, Int64Type, i256};
use datafusion::logical_expr::{Expr, lit};

use super::arithmetic::rescaled;
use super::call::{Call, Function, constant_integer, exactly, function, one_or_two};
use super::coerce::{bounded_decimal, decimal_of, is_decimal, is_float, is_integer, is_text, number_type};
use super::kernel::{self, Kernel, two_numbers};
use crate::error::{Error, Result};

pub(super) const FUNCTIONS: &[Function] = &[
    function(&["abs"], 1, 1, abs),
    function(&["ceil", "ceiling"], 1, 1, |call, args| whole(call, args, Rounding::Up)),
    function(&["floor"], 1, 1, |call, args| whole(call, args, Rounding::Down)),
    function(&["round"], 1, 2, |call, args| round(call, args, Rounding::HalfUp)),
    function(&["bround"], 1, 2, |call, args| round(call, args, Rounding::HalfEven)),
    function(&["sign", "signum"], 1, 1, |call, args| unary(call, args, Unary::Sign)),
    function(&["sqrt"], 1, 1, |call, args| unary(call, args, Unary::Sqrt)),
    function(&["cbrt"], 1, 1, |call, args| unary(call, args, Unary::Cbrt)),
    function(&["exp"], 1, 1, |call, args| unary(call, args, Unary::Exp)),
    function(&["expm1"], 1, 1, |call, args| unary(call, args, Unary::ExpM1)),
    function(&["ln"], 1, 1, |call, args| unary(call, args, Unary::Ln)),
    function(&["log"], 1, 2, log),
    function(&["log2"], 1, 1, |call, args| unary(call, args, Unary::Log2)),
    function(&["log10"], 1, 1, |call, args| unary(call, args, Unary::Log10)),
    function(&["log1p"], 1, 1, |call, args| unary(call, args, Unary::Log1P)),
    function(&["rint"], 1, 1, |call, args| unary(call, args, Unary::Rint)),
    function(&["sin"], 1, 1, |call, args| unary(call, args, Unary::Sin)),
    function(&["cos"], 1, 1, |call, args| unary(call, args, Unary::Cos)),
    function(&["tan"], 1, 1, |call, args| unary(call, args, Unary::Tan)),
    function(&["cot"], 1, 1, |call, args| unary(call, args, Unary::Cot)),
    function(&["asin"], 1, 1, |call, args| unary(call, args, Unary::Asin)),
    function(&["acos"], 1, 1, |call, args| unary(call, args, Unary::Acos)),
    function(&["atan"], 1, 1, |call, args| unary(call, args, Unary::Atan)),
    function(&["sinh"], 1, 1, |call, args| unary(call, args, Unary::Sinh)),
    function(&["cosh"], 1, 1, |call, args| unary(call, args, Unary::Cosh)),
    function(&["tanh"], 1, 1, |call, args| unary(call, args, Unary::Tanh)),
    function(&["degrees"], 1, 1, |call, args| unary(call, args, Unary::Degrees)),
    function(&["radians"], 1, 1, |call, args| unary(call, args, Unary::Radians)),
    function(&["atan2"], 2, 2, |call, args| binary(call, args, Binary::Atan2)),
    function(&["hypot"], 2, 2, |call, args| binary(call, args, Binary::Hypot)),
    function(&["pow", "power"], 2, 2, |call, args| binary(call, args, Binary::Power)),
    function(&["isnan"], 1, 1, is_nan),
    function(&["pi"], 0, 0, |_, _| Ok(lit(std::f64::consts::PI))),
    function(&["e"], 0, 0, |_, _| Ok(lit(std::f64::consts::E))),
];

/// A function of one double.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Unary {
    Sign,
    Sqrt,
    Cbrt,
    Exp,
    ExpM1,
    Ln,
    Log2,
    Log10,
    Log1P,
    Rint,
    Sin,
    Cos,
    Tan,
    Cot,
    Asin,
    Acos,
    Atan,
    Sinh,
    Cosh,
    Tanh,
    Degrees,
    Radians,
}

impl Unary {
    /// The name in plans, and the function.
    fn parts(self) -> (&'static str, fn(f64) -> f64) {
        match self {
            Self::Sign => ("sign", |x| if x == 0.0 || x.is_nan() { x } else { x.signum() }),
            Self::Sqrt => ("sqrt", f64::sqrt),
            Self::Cbrt => ("cbrt", f64::cbrt),
            Self::Exp => ("exp", f64::exp),
            Self::ExpM1 => ("expm1", f64::exp_m1),
            Self::Ln => ("ln", f64::ln),
            Self::Log2 => ("log2", f64::log2),
            Self::Log10 => ("log10", f64::log10),
            Self::Log1P => ("log1p", f64::ln_1p),
            Self::Rint => ("rint", f64::round_ties_even),
            Self::Sin => ("sin", f64::sin),
            Self::Cos => ("cos", f64::cos),
            Self::Tan => ("tan", f64::tan),
            Self::Cot => ("cot", |x| x.tan().recip()),
            Self::Asin => ("asin", f64::asin),
            Self::Acos => ("acos", f64::acos),
            Self::Atan => ("atan", f64::atan),
            Self::Sinh => ("sinh", f64::sinh),
            Self::Cosh => ("cosh", f64::cosh),
            Self::Tanh => ("tanh", f64::tanh),
            Self::Degrees => ("degrees", f64::to_degrees),
            Self::Radians => ("radians", f64::to_radians),
        }
    }

    /// Logarithms of what has none are null.
    fn is_defined_at(self, x: f64) -> bool {
        match self {
            Self::Ln | Self::Log2 | Self::Log10 => x.is_nan() || x > 0.0,
            Self::Log1P => x.is_nan() || x > -1.0,
            _ => true,
        }
    }
}

impl Kernel for Unary {
    fn name(&self) -> &'static str {
        self.parts().0
    }

    fn evaluate(&self, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        let function = self.parts().1;
        let numbers = arguments[0].as_primitive::<Float64Type>();
        let result: Float64Array = numbers.unary_opt(|x| self.is_defined_at(x).then(|| function(x)));
        Ok(Arc::new(result))
    }
}

fn unary(call: &Call<'_>, args: Vec<Expr>, function: Unary) -> Result<Expr> {
    let args = call.cast_all(args, &DataType::Float64)?;
    Ok(kernel::call(function, DataType::Float64, args))
}

/// A function of two doubles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Binary {
    Atan2,
    Hypot,
    Power,
    /// The logarithm of the second to the base of the first.
    Log,
}

impl Kernel for Binary {
    fn name(&self) -> &'static str {
        match self {
            Self::Atan2 => "atan2",
            Self::Hypot => "hypot",
            Self::Power => "power",
            Self::Log => "log",
        }
    }

    fn evaluate(&self, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        let function: fn(f64, f64) -> Option<f64> = match self {
            Self::Atan2 => |y, x| Some(y.atan2(x)),
            Self::Hypot => |a, b| Some(a.hypot(b)),
            Self::Power => |base, exponent| Some(base.powf(exponent)),
            Self::Log => |base, x| (base > 0.0 && x > 0.0).then(|| x.ln() / base.ln()),
        };
        let (left, right) = (arguments[0].as_primitive::<Float64Type>(), arguments[1].as_primitive::<Float64Type>());
        let result: Float64Array = two_numbers(left, right, function);
        Ok(Arc::new(result))
    }
}

fn binary(call: &Call<'_>, args: Vec<Expr>, function: Binary) -> Result<Expr> {
    let args = call.cast_all(args, &DataType::Float64)?;
    Ok(kernel::call(function, DataType::Float64, args))
}

fn log(call: &Call<'_>, args: Vec<Expr>) -> Result<Expr> {
    if args.len() == 1 { unary(call, args, Unary::Ln) } else { binary(call, args, Binary::Log) }
}

/// The argument as a number and its type; strings are DOUBLE.
fn number(call: &Call<'_>, arg: Expr) -> Result<(Expr, DataType)> {
    let data_type = call.type_of(&arg)?;
    let Some(number) = number_type(&data_type, &data_type) else { return Err(call.mismatch(&[data_type])) };
    Ok((call.cast(arg, &number)?, number))
}

/// The smallest integer has no absolute value and stays as it is.
fn abs(call: &Call<'_>, args: Vec<Expr>) -> Result<Expr> {
    let [arg] = exactly(args);
    let (arg, data_type) = number(call, arg)?;
    if !is_integer(&data_type) {
        return call.shipped("abs", vec![arg]);
    }
    let wide = kernel::call(Abs { ansi: call.ansi }, DataType::Int64, vec![call.long(arg)?]);
    call.cast(wide, &data_type)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Abs {
    ansi: bool,
}

impl Kernel for Abs {
    fn name(&self) -> &'static str {
        "abs"
    }

    fn evaluate(&self, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        let numbers = arguments[0].as_primitive::<Int64Type>();
        if self.ansi && numbers.iter().flatten().any(|number| number == i64::MIN) {
            return Err(Error::data(format!("integer overflow in `abs`: {} has no absolute value", i64::MIN)));
        }
        let result: Int64Array = numbers.unary(i64::wrapping_abs);
        Ok(Arc::new(result))
    }
}

fn is_nan(call: &Call<'_>, args: Vec<Expr>) -> Result<Expr> {
    let args = call.cast_all(args, &DataType::Float64)?;
    Ok(kernel::call(IsNan, DataType::Boolean, args))
}

/// False for null.
#[derive(Debug, PartialEq, Eq, Hash)]
struct IsNan;

impl Kernel for IsNan {
    fn name(&self) -> &'static str {
        "isnan"
    }

    fn evaluate(&self, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        let numbers = arguments[0].as_primitive::<Float64Type>();
        let result: BooleanArray = numbers.iter().map(|number| Some(number.is_some_and(f64::is_nan))).collect();
        Ok(Arc::new(result))
    }
}

/// Which way a number goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Rounding {
    /// To the nearest, from the middle away from zero.
    HalfUp,
    /// To the nearest, from the middle to the even digit.
    HalfEven,
    Up,
    Down,
}

impl Rounding {
    fn name(self) -> &'static str {
        match self {
            Self::HalfUp => "round",
            Self::HalfEven => "bround",
            Self::Up => "ceil",
            Self::Down => "floor",
        }
    }
}

/// `ceil` and `floor`: BIGINT, or a DECIMAL without digits after the point.
fn whole(call: &Call<'_>, args: Vec<Expr>, rounding: Rounding) -> Result<Expr> {
    let [arg] = exactly(args);
    let (arg, data_type) = number(call, arg)?;
    let Some((precision, scale)) = decimal_of(&data_type).filter(|_| is_decimal(&data_type)) else {
        let rounded = if is_float(&data_type) {
            kernel::call(Round { rounding, digits: 0 }, DataType::Float64, vec![call.double(arg)?])
        } else {
            arg
        };
        return call.long(rounded);
    };
    let (precision, scale) = (i32::from(precision), i32::from(scale));
    let returns = bounded_decimal(precision - scale + i32::from(scale > 0), 0);
    Ok(kernel::call(RoundDecimal { rounding, digits: 0, returns: returns.clone() }, returns, vec![arg]))
}

/// `round` and `bround` to a constant count of digits after the point; the type stays, decimals lose digits.
fn round(call: &Call<'_>, args: Vec<Expr>, rounding: Rounding) -> Result<Expr> {
    let (arg, digits) = one_or_two(args);
    let digits = match digits {
        None => 0,
        Some(digits) => {
            let digits = if is_text(&call.type_of(&digits)?) { call.int(digits)? } else { digits };
            constant_integer(&digits).and_then(|digits| i32::try_from(digits).ok()).ok_or_else(|| {
                Error::plan(format!("the second argument of `{}` must be a constant whole number", call.name))
            })?
        }
    };
    let (arg, data_type) = number(call, arg)?;
    let Some((precision, scale)) = decimal_of(&data_type) else {
        let rounded = kernel::call(Round { rounding, digits }, DataType::Float64, vec![call.double(arg)?]);
        return call.cast(rounded, &data_type);
    };
    if scale == 0 && digits >= 0 && !is_decimal(&data_type) {
        return Ok(arg);
    }
    let (whole, kept) = (i32::from(precision) - i32::from(scale), digits.clamp(0, i32::from(scale)));
    let returns = bounded_decimal(whole.max(1 - digits) + kept + 1, kept);
    let decimal = call.cast(arg, &DataType::Decimal128(precision, scale))?;
    let rounded = kernel::call(RoundDecimal { rounding, digits, returns: returns.clone() }, returns, vec![decimal]);
    if is_decimal(&data_type) { Ok(rounded) } else { call.cast(rounded, &data_type) }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Round {
    rounding: Rounding,
    digits: i32,
}

impl Kernel for Round {
    fn name(&self) -> &'static str {
        self.rounding.name()
    }

    fn evaluate(&self, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        let numbers = arguments[0].as_primitive::<Float64Type>();
        let digits = self.digits;
        let result: Float64Array = match self.rounding {
            Rounding::Up => numbers.unary(f64::ceil),
            Rounding::Down => numbers.unary(f64::floor),
            Rounding::HalfUp => numbers.unary(|number| rounded_as_written(number, digits, false)),
            Rounding::HalfEven => numbers.unary(|number| rounded_as_written(number, digits, true)),
        };
        Ok(Arc::new(result))
    }

    fn label(&self, argument: &str) -> String {
        format!("{}({argument}, {})", self.name(), self.digits)
    }
}

/// Rounds the number as it is written, so that 2.675, which is a little less in binary, becomes 2.68.
fn rounded_as_written(number: f64, digits: i32, half_even: bool) -> f64 {
    let factor = 10_f64.powi(digits);
    let scaled = number * factor;
    // Beyond 2^52 a double has no fraction.
    if !scaled.is_finite() || scaled.abs() >= 4_503_599_627_370_496.0 || factor == 0.0 {
        return if factor == 0.0 { 0.0 } else { number };
    }
    let below = scaled.floor();
    let fraction = scaled - below;
    // The product is off by less than this; only near the middle does that matter.
    let is_middle = (fraction - 0.5).abs() <= scaled.abs() * f64::EPSILON;
    let rounded = match (is_middle, half_even) {
        (true, true) => below + below.rem_euclid(2.0),
        (true, false) if scaled < 0.0 => below,
        (true, false) => below + 1.0,
        (false, _) => scaled.round(),
    };
    // Dividing by a whole power of ten gives the double nearest to the decimal; multiplying by a fraction would not.
    if digits < 0 { rounded * 10_f64.powi(-digits) } else { rounded / factor }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct RoundDecimal {
    rounding: Rounding,
    /// After the point; negative before it.
    digits: i32,
    returns: DataType,
}

impl RoundDecimal {
    /// The unscaled number with the digits of the result.
    fn apply(&self, value: i256, from: i32, to: i32) -> Option<i256> {
        let digits = self.digits.min(from);
        let half_up = rescaled(value, from, digits)?;
        let back = rescaled(half_up, digits, from)?;
        let rounded = match self.rounding {
            Rounding::Up if back < value => half_up.checked_add(i256::ONE),
            Rounding::Down if back > value => half_up.checked_sub(i256::ONE),
            Rounding::HalfUp | Rounding::Up | Rounding::Down => Some(half_up),
            Rounding::HalfEven => {
                let distance = back.checked_sub(value)?;
                let unit = rescaled(i256::ONE, digits, from)?;
                let is_middle = distance.checked_abs()?.checked_mul(i256::from_i128(2))? == unit;
                let is_odd = half_up.checked_rem(i256::from_i128(2))? != i256::ZERO;
                let step = if value < i256::ZERO { i256::ONE } else { i256::MINUS_ONE };
                if is_middle && is_odd { half_up.checked_add(step) } else { Some(half_up) }
            }
        };
        rescaled(rounded?, digits, to)
    }
}

impl Kernel for RoundDecimal {
    fn name(&self) -> &'static str {
        self.rounding.name()
    }

    fn evaluate(&self, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        let numbers = arguments[0].as_primitive::<Decimal128Type>();
        let from = i32::from(numbers.scale());
        let (precision, to) = decimal_of(&self.returns).unwrap_or((numbers.precision(), 0));
        let round = |value| self.apply(i256::from_i128(value), from, i32::from(to))?.to_i128();
        let result = numbers.unary_opt::<_, Decimal128Type>(round);
        Ok(Arc::new(result.with_precision_and_scale(precision, to)?))
    }
    fn label(&self, argument: &str) -> String {
        format!("{}({argument}, {})", self.name(), self.digits)
    }
}
