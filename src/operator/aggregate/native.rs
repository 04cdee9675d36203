//! The native accumulators: running values as plain columns, one slot a group.
//!
//! Owns: what count, sum, avg, min and max do, and for which types they are native. Does not own: other functions and
//! types, which come in from `plan` behind the same traits.
//!
//! | function | arguments                                  | state                                 | result           |
//! |----------|--------------------------------------------|---------------------------------------|------------------|
//! | count    | none, or one of any type                   | count BIGINT                          | BIGINT, not null |
//! | sum      | TINYINT … BIGINT                           | sum BIGINT                            | BIGINT           |
//! | sum      | FLOAT, DOUBLE                              | sum DOUBLE                            | DOUBLE           |
//! | sum      | DECIMAL(p, s)                              | sum DECIMAL(38, s), `is_empty` BOOLEAN | DECIMAL(q, s)   |
//! | avg      | TINYINT … BIGINT, FLOAT, DOUBLE            | sum DOUBLE, count BIGINT              | DOUBLE           |
//! | min, max | numbers, BOOLEAN, DATE, timestamps, STRING | the value                             | as the argument  |
//!
//! q is p + 10, at most 38.
//!
//! Nulls are passed over; without other values the result is null. BIGINT sums wrap around, a decimal sum that does not
//! fit is null, NaN is the largest number, and -0.0 is below 0.0.

use std::cmp::Ordering;
use std::marker::PhantomData;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowNativeTypeOp, ArrowPrimitiveType, AsArray, BooleanArray, Decimal128Array, Float64Array,
    Int64Array, PrimitiveArray, StringViewArray,
};
use arrow::buffer::NullBuffer;
use arrow::compute::cast;
use arrow::datatypes::{
    ArrowNativeType, DECIMAL128_MAX_PRECISION, DataType, Date32Type, Decimal128Type, DecimalType, Field, FieldRef,
    Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType,
};

use super::{Accumulator, AccumulatorFactory, NativeFunction};
use crate::error::{Error, Result};

/// Makes the accumulators of one native function for one argument type.
#[derive(Debug, Clone)]
pub(super) struct NativeFactory {
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    Count,
    SumLong,
    SumDouble,
    /// Precision and scale of the result.
    SumDecimal(u8, i8),
    Avg,
    /// The values' type, and how a better one compares with the one at hand.
    Extreme(DataType, Ordering),
}

impl NativeFactory {
    /// The factory of `function` over an argument of this type; `None` is `count(*)`.
    ///
    /// # Errors
    /// When the function has no native form for the type.
    pub(super) fn new(function: NativeFunction, argument: Option<DataType>) -> Result<Self> {
        let kind = match (function, &argument) {
            (NativeFunction::Count, _) => Some(Kind::Count),
            (NativeFunction::Sum, Some(data_type)) => sum_kind(data_type),
            (NativeFunction::Avg, Some(data_type)) => {
                (is_integer(data_type) || is_float(data_type)).then_some(Kind::Avg)
            }
            (NativeFunction::Min, Some(data_type)) => extreme_kind(data_type, Ordering::Less),
            (NativeFunction::Max, Some(data_type)) => extreme_kind(data_type, Ordering::Greater),
            (NativeFunction::Sum | NativeFunction::Avg | NativeFunction::Min | NativeFunction::Max, None) => None,
        };
        let kind = kind.ok_or_else(|| {
            let argument = argument.map_or_else(|| "no argument".to_string(), |data_type| format!("type {data_type}"));
            Error::plan(format!("{function:?} has no native form for {argument}; cast the argument to another type"))
        })?;
        Ok(Self { kind })
    }
}

fn is_integer(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64)
}

fn is_float(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Float32 | DataType::Float64)
}

fn sum_kind(data_type: &DataType) -> Option<Kind> {
    match data_type {
        DataType::Decimal128(precision, scale) => {
            Some(Kind::SumDecimal(DECIMAL128_MAX_PRECISION.min(precision + 10), *scale))
        }
        number if is_integer(number) => Some(Kind::SumLong),
        number if is_float(number) => Some(Kind::SumDouble),
        _ => None,
    }
}

fn extreme_kind(data_type: &DataType, better: Ordering) -> Option<Kind> {
    let is_native = is_integer(data_type)
        || is_float(data_type)
        || matches!(
            data_type,
            DataType::Boolean
                | DataType::Date32
                | DataType::Timestamp(TimeUnit::Microsecond, _)
                | DataType::Decimal128(_, _)
                | DataType::Utf8View
        );
    is_native.then(|| Kind::Extreme(data_type.clone(), better))
}

impl AccumulatorFactory for NativeFactory {
    fn create(&self) -> Result<Box<dyn Accumulator>> {
        Ok(match &self.kind {
            Kind::Count => Box::new(Count::default()),
            Kind::SumLong => Box::new(Sum::<Int64Type>::default()),
            Kind::SumDouble => Box::new(Sum::<Float64Type>::default()),
            Kind::SumDecimal(precision, scale) => Box::new(DecimalSum::new(*precision, *scale)),
            Kind::Avg => Box::new(Avg::default()),
            Kind::Extreme(data_type, better) => extreme(data_type, *better)?,
        })
    }

    /// Not sums of DOUBLE, which rounding makes depend on the order, nor decimals with so many digits that 128 bits may
    /// not hold what rows add up to on the way.
    fn merges_in_any_order(&self) -> bool {
        match &self.kind {
            Kind::Count | Kind::SumLong | Kind::Extreme(..) => true,
            Kind::SumDecimal(precision, _) => *precision < DECIMAL128_MAX_PRECISION,
            Kind::SumDouble | Kind::Avg => false,
        }
    }

    fn identity(&self) -> String {
        let name = match &self.kind {
            Kind::Count => "count",
            Kind::SumLong | Kind::SumDouble | Kind::SumDecimal(..) => "sum",
            Kind::Avg => "avg",
            Kind::Extreme(_, Ordering::Less) => "min",
            Kind::Extreme(..) => "max",
        };
        name.to_string()
    }

    fn state_fields(&self) -> Vec<FieldRef> {
        let field = |name, data_type, nullable| Arc::new(Field::new(name, data_type, nullable));
        match &self.kind {
            Kind::Count => vec![field("count", DataType::Int64, false)],
            Kind::SumLong => vec![field("sum", DataType::Int64, true)],
            Kind::SumDouble => vec![field("sum", DataType::Float64, true)],
            Kind::SumDecimal(_, scale) => {
                let sum = DataType::Decimal128(DECIMAL128_MAX_PRECISION, *scale);
                vec![field("sum", sum, true), field("is_empty", DataType::Boolean, false)]
            }
            Kind::Avg => vec![field("sum", DataType::Float64, false), field("count", DataType::Int64, false)],
            Kind::Extreme(data_type, Ordering::Less) => vec![field("min", data_type.clone(), true)],
            Kind::Extreme(data_type, _) => vec![field("max", data_type.clone(), true)],
        }
    }

    fn output_type(&self) -> DataType {
        match &self.kind {
            Kind::Count | Kind::SumLong => DataType::Int64,
            Kind::SumDouble | Kind::Avg => DataType::Float64,
            Kind::SumDecimal(precision, scale) => DataType::Decimal128(*precision, *scale),
            Kind::Extreme(data_type, _) => data_type.clone(),
        }
    }
}

fn extreme(data_type: &DataType, better: Ordering) -> Result<Box<dyn Accumulator>> {
    fn of<T: ArrowPrimitiveType<Native: Canonical>>(data_type: &DataType, better: Ordering) -> Box<dyn Accumulator> {
        Box::new(Extreme::<T> { slots: Slots::default(), data_type: data_type.clone(), better })
    }
    Ok(match data_type {
        DataType::Boolean => Box::new(BooleanExtreme { numbers: of::<Int8Type>(&DataType::Int8, better) }),
        DataType::Int8 => of::<Int8Type>(data_type, better),
        DataType::Int16 => of::<Int16Type>(data_type, better),
        DataType::Int32 => of::<Int32Type>(data_type, better),
        DataType::Int64 => of::<Int64Type>(data_type, better),
        DataType::Float32 => of::<Float32Type>(data_type, better),
        DataType::Float64 => of::<Float64Type>(data_type, better),
        DataType::Date32 => of::<Date32Type>(data_type, better),
        DataType::Timestamp(TimeUnit::Microsecond, _) => of::<TimestampMicrosecondType>(data_type, better),
        DataType::Decimal128(_, _) => of::<Decimal128Type>(data_type, better),
        DataType::Utf8View => Box::new(TextExtreme { slots: Slots::default(), bytes: 0, better }),
        other => return Err(Error::internal(format!("min and max were planned natively for the type {other}"))),
    })
}

/// Values by group, and whether there is one yet.
#[derive(Debug)]
struct Slots<V> {
    values: Vec<V>,
    is_set: Vec<bool>,
}

impl<V> Default for Slots<V> {
    fn default() -> Self {
        Self { values: Vec::new(), is_set: Vec::new() }
    }
}

impl<V: Clone + Default> Slots<V> {
    fn grow(&mut self, groups: usize) {
        self.values.resize(groups, V::default());
        self.is_set.resize(groups, false);
    }

    fn clear(&mut self) {
        self.values.clear();
        self.is_set.clear();
    }

    fn bytes(&self) -> usize {
        self.values.capacity() * size_of::<V>() + self.is_set.capacity()
    }
}

impl<V: ArrowNativeType> Slots<V> {
    fn column<T: ArrowPrimitiveType<Native = V>>(&self, groups: &[u32]) -> PrimitiveArray<T> {
        let nulls: NullBuffer = groups.iter().map(|&group| self.is_set[group as usize]).collect();
        PrimitiveArray::new(gather(&self.values, groups).into(), Some(nulls).filter(|nulls| nulls.null_count() > 0))
    }
}

fn gather<V: Copy>(values: &[V], groups: &[u32]) -> Vec<V> {
    groups.iter().map(|&group| values[group as usize]).collect()
}

/// Calls `each` with the group and the value of every row that is not null.
#[inline]
fn each_value<T: ArrowPrimitiveType>(
    column: &PrimitiveArray<T>,
    groups: &[u32],
    mut each: impl FnMut(usize, T::Native),
) {
    match column.nulls().filter(|nulls| nulls.null_count() > 0) {
        None => {
            for (&value, &group) in column.values().iter().zip(groups) {
                each(group as usize, value);
            }
        }
        Some(nulls) => {
            for row in nulls.valid_indices() {
                each(groups[row] as usize, column.value(row));
            }
        }
    }
}

fn only(columns: &[ArrayRef]) -> Result<&ArrayRef> {
    columns.first().ok_or_else(|| Error::internal("an aggregate function got no column"))
}

fn second(columns: &[ArrayRef]) -> Result<&ArrayRef> {
    columns.get(1).ok_or_else(|| Error::internal("an aggregate function got one column of two"))
}

fn primitive<T: ArrowPrimitiveType>(column: &ArrayRef) -> Result<&PrimitiveArray<T>> {
    let wrong = || Error::internal(format!("an aggregate function got {} for {}", column.data_type(), T::DATA_TYPE));
    column.as_primitive_opt::<T>().ok_or_else(wrong)
}

#[derive(Debug, Default)]
struct Count {
    counts: Vec<i64>,
}

impl Accumulator for Count {
    fn grow(&mut self, groups: usize) {
        self.counts.resize(groups, 0);
    }

    fn update(&mut self, arguments: &[ArrayRef], groups: &[u32]) -> Result<()> {
        let nulls = arguments.first().and_then(Array::logical_nulls).filter(|nulls| nulls.null_count() > 0);
        match nulls {
            None => groups.iter().for_each(|&group| self.counts[group as usize] += 1),
            Some(nulls) => nulls.valid_indices().for_each(|row| self.counts[groups[row] as usize] += 1),
        }
        Ok(())
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[u32]) -> Result<()> {
        each_value::<Int64Type>(primitive(only(states)?)?, groups, |group, count| self.counts[group] += count);
        Ok(())
    }

    fn state(&mut self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.evaluate(groups)?])
    }

    fn evaluate(&mut self, groups: &[u32]) -> Result<ArrayRef> {
        Ok(Arc::new(Int64Array::from(gather(&self.counts, groups))))
    }

    fn clear(&mut self) {
        self.counts.clear();
    }

    fn bytes(&self) -> usize {
        self.counts.capacity() * size_of::<i64>()
    }
}

/// The sum of numbers widened to `T`: BIGINT, wrapping around, or DOUBLE.
struct Sum<T: ArrowPrimitiveType> {
    slots: Slots<T::Native>,
    number: PhantomData<fn(T)>,
}

impl<T: ArrowPrimitiveType> Default for Sum<T> {
    fn default() -> Self {
        Self { slots: Slots::default(), number: PhantomData }
    }
}

impl<T: ArrowPrimitiveType> Accumulator for Sum<T> {
    fn grow(&mut self, groups: usize) {
        self.slots.grow(groups);
    }

    fn update(&mut self, arguments: &[ArrayRef], groups: &[u32]) -> Result<()> {
        let wide = cast(only(arguments)?, &T::DATA_TYPE)?;
        let Slots { values, is_set } = &mut self.slots;
        each_value::<T>(primitive(&wide)?, groups, |group, value| {
            values[group] = values[group].add_wrapping(value);
            is_set[group] = true;
        });
        Ok(())
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[u32]) -> Result<()> {
        self.update(states, groups)
    }

    fn state(&mut self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.evaluate(groups)?])
    }

    fn evaluate(&mut self, groups: &[u32]) -> Result<ArrayRef> {
        Ok(Arc::new(self.slots.column::<T>(groups)))
    }

    fn clear(&mut self) {
        self.slots.clear();
    }

    fn bytes(&self) -> usize {
        self.slots.bytes()
    }
}

/// What a decimal sum has become.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Fill {
    #[default]
    Empty,
    Sum,
    Overflow,
}

/// The sum of decimals. Its state is Spark's: a sum; no values (0, `is_empty`); an overflow (null, not `is_empty`).
///
/// Sums grow beyond the result's precision as long as 128 bits hold them, so that only sums near 10³⁸ depend on the
/// order of rows.
struct DecimalSum {
    sums: Vec<i128>,
    fills: Vec<Fill>,
    precision: u8,
    scale: i8,
}

impl DecimalSum {
    fn new(precision: u8, scale: i8) -> Self {
        Self { sums: Vec::new(), fills: Vec::new(), precision, scale }
    }

    fn add(&mut self, group: usize, value: i128) {
        match (self.fills[group], self.sums[group].checked_add(value)) {
            (Fill::Overflow, _) => {}
            (Fill::Empty | Fill::Sum, Some(sum)) => (self.sums[group], self.fills[group]) = (sum, Fill::Sum),
            (Fill::Empty | Fill::Sum, None) => self.fills[group] = Fill::Overflow,
        }
    }

    fn column(&self, groups: &[u32], precision: u8, valid: impl Fn(usize) -> bool) -> Result<ArrayRef> {
        let nulls: NullBuffer = groups.iter().map(|&group| valid(group as usize)).collect();
        let sums = Decimal128Array::new(gather(&self.sums, groups).into(), Some(nulls));
        Ok(Arc::new(sums.with_precision_and_scale(precision, self.scale)?))
    }
}

impl Accumulator for DecimalSum {
    fn grow(&mut self, groups: usize) {
        self.sums.resize(groups, 0);
        self.fills.resize(groups, Fill::Empty);
    }

    fn update(&mut self, arguments: &[ArrayRef], groups: &[u32]) -> Result<()> {
        each_value::<Decimal128Type>(primitive(only(arguments)?)?, groups, |group, value| self.add(group, value));
        Ok(())
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[u32]) -> Result<()> {
        let sums = primitive::<Decimal128Type>(only(states)?)?;
        let wrong = || Error::internal("the second state of a decimal sum is no boolean");
        let is_empty = second(states)?.as_boolean_opt().ok_or_else(wrong)?;
        for (row, &group) in groups.iter().enumerate() {
            let group = group as usize;
            match (is_empty.value(row), sums.is_valid(row)) {
                (true, _) => {}
                (false, true) => self.add(group, sums.value(row)),
                (false, false) => self.fills[group] = Fill::Overflow,
            }
        }
        Ok(())
    }

    fn state(&mut self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        let is_empty = groups.iter().map(|&group| Some(self.fills[group as usize] == Fill::Empty));
        let is_empty = Arc::new(is_empty.collect::<BooleanArray>());
        let valid = |group: usize| self.fills[group] != Fill::Overflow;
        Ok(vec![self.column(groups, DECIMAL128_MAX_PRECISION, valid)?, is_empty])
    }

    fn evaluate(&mut self, groups: &[u32]) -> Result<ArrayRef> {
        let fits = |sum| Decimal128Type::is_valid_decimal_precision(sum, self.precision);
        let valid = |group: usize| self.fills[group] == Fill::Sum && fits(self.sums[group]);
        self.column(groups, self.precision, valid)
    }

    fn clear(&mut self) {
        self.sums.clear();
        self.fills.clear();
    }

    fn bytes(&self) -> usize {
        self.sums.capacity() * size_of::<i128>() + self.fills.capacity() * size_of::<Fill>()
    }
}

/// The mean: integers are summed as DOUBLE too, as Spark does.
#[derive(Debug, Default)]
struct Avg {
    sums: Vec<f64>,
    counts: Vec<i64>,
}

impl Accumulator for Avg {
    fn grow(&mut self, groups: usize) {
        self.sums.resize(groups, 0.0);
        self.counts.resize(groups, 0);
    }

    fn update(&mut self, arguments: &[ArrayRef], groups: &[u32]) -> Result<()> {
        let wide = cast(only(arguments)?, &DataType::Float64)?;
        each_value::<Float64Type>(primitive(&wide)?, groups, |group, value| {
            self.sums[group] += value;
            self.counts[group] += 1;
        });
        Ok(())
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[u32]) -> Result<()> {
        each_value::<Float64Type>(primitive(only(states)?)?, groups, |group, sum| self.sums[group] += sum);
        each_value::<Int64Type>(primitive(second(states)?)?, groups, |group, count| self.counts[group] += count);
        Ok(())
    }

    fn state(&mut self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        let sums = Float64Array::from(gather(&self.sums, groups));
        Ok(vec![Arc::new(sums), Arc::new(Int64Array::from(gather(&self.counts, groups)))])
    }

    #[expect(clippy::cast_precision_loss, reason = "Spark divides by the count as DOUBLE")]
    fn evaluate(&mut self, groups: &[u32]) -> Result<ArrayRef> {
        let mean = |group: usize| (self.counts[group] > 0).then(|| self.sums[group] / self.counts[group] as f64);
        Ok(Arc::new(groups.iter().map(|&group| mean(group as usize)).collect::<Float64Array>()))
    }

    fn clear(&mut self) {
        self.sums.clear();
        self.counts.clear();
    }

    fn bytes(&self) -> usize {
        self.sums.capacity() * size_of::<f64>() + self.counts.capacity() * size_of::<i64>()
    }
}

/// A number of which there is one form, so that comparing bits compares values.
trait Canonical: Copy {
    fn canonical(self) -> Self;
}

macro_rules! canonical {
    ($($native:ty => $form:expr;)*) => {$(
        impl Canonical for $native {
            #[inline]
            fn canonical(self) -> Self {
                $form(self)
            }
        }
    )*};
}

canonical! {
    i8 => std::convert::identity;
    i16 => std::convert::identity;
    i32 => std::convert::identity;
    i64 => std::convert::identity;
    i128 => std::convert::identity;
    f32 => |value: Self| if value.is_nan() { Self::NAN } else { value };
    f64 => |value: Self| if value.is_nan() { Self::NAN } else { value };
}

/// The smallest or largest of fixed-width values.
struct Extreme<T: ArrowPrimitiveType> {
    slots: Slots<T::Native>,
    data_type: DataType,
    better: Ordering,
}

impl<T: ArrowPrimitiveType<Native: Canonical>> Accumulator for Extreme<T> {
    fn grow(&mut self, groups: usize) {
        self.slots.grow(groups);
    }

    fn update(&mut self, arguments: &[ArrayRef], groups: &[u32]) -> Result<()> {
        let Slots { values, is_set } = &mut self.slots;
        each_value::<T>(primitive(only(arguments)?)?, groups, |group, value| {
            let value = value.canonical();
            if !is_set[group] || value.compare(values[group]) == self.better {
                values[group] = value;
                is_set[group] = true;
            }
        });
        Ok(())
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[u32]) -> Result<()> {
        self.update(states, groups)
    }

    fn state(&mut self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.evaluate(groups)?])
    }

    fn evaluate(&mut self, groups: &[u32]) -> Result<ArrayRef> {
        Ok(Arc::new(self.slots.column::<T>(groups).with_data_type(self.data_type.clone())))
    }

    fn clear(&mut self) {
        self.slots.clear();
    }

    fn bytes(&self) -> usize {
        self.slots.bytes()
    }
}

/// The smallest or largest boolean, as numbers 0 and 1.
struct BooleanExtreme {
    numbers: Box<dyn Accumulator>,
}

impl Accumulator for BooleanExtreme {
    fn grow(&mut self, groups: usize) {
        self.numbers.grow(groups);
    }

    fn update(&mut self, arguments: &[ArrayRef], groups: &[u32]) -> Result<()> {
        self.numbers.update(&[cast(only(arguments)?, &DataType::Int8)?], groups)
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[u32]) -> Result<()> {
        self.update(states, groups)
    }

    fn state(&mut self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.evaluate(groups)?])
    }

    fn evaluate(&mut self, groups: &[u32]) -> Result<ArrayRef> {
        Ok(cast(&self.numbers.evaluate(groups)?, &DataType::Boolean)?)
    }

    fn clear(&mut self) {
        self.numbers.clear();
    }

    fn bytes(&self) -> usize {
        self.numbers.bytes()
    }
}

/// The smallest or largest string by bytes; each group keeps its own copy.
struct TextExtreme {
    slots: Slots<String>,
    /// Capacity of the strings.
    bytes: usize,
    better: Ordering,
}

impl TextExtreme {
    fn offer(&mut self, group: usize, text: &str) {
        let (own, is_set) = (&mut self.slots.values[group], &mut self.slots.is_set[group]);
        if !*is_set || text.cmp(own.as_str()) == self.better {
            let before = own.capacity();
            own.clear();
            own.push_str(text);
            self.bytes += own.capacity() - before;
            *is_set = true;
        }
    }
}

impl Accumulator for TextExtreme {
    fn grow(&mut self, groups: usize) {
        self.slots.grow(groups);
    }

    fn update(&mut self, arguments: &[ArrayRef], groups: &[u32]) -> Result<()> {
        let column = only(arguments)?;
        let wrong = || Error::internal(format!("min or max of strings got {}", column.data_type()));
        let texts = column.as_string_view_opt().ok_or_else(wrong)?;
        for (text, &group) in texts.iter().zip(groups) {
            if let Some(text) = text {
                self.offer(group as usize, text);
            }
        }
        Ok(())
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[u32]) -> Result<()> {
        self.update(states, groups)
    }

    fn state(&mut self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.evaluate(groups)?])
    }

    fn evaluate(&mut self, groups: &[u32]) -> Result<ArrayRef> {
        let text = |group: usize| self.slots.is_set[group].then(|| self.slots.values[group].as_str());
        Ok(Arc::new(groups.iter().map(|&group| text(group as usize)).collect::<StringViewArray>()))
    }

    fn clear(&mut self) {
        self.slots.clear();
        self.bytes = 0;
    }

    fn bytes(&self) -> usize {
        self.slots.bytes() + self.bytes
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{BooleanArray, Float32Array, Int16Array, Int32Array, NullArray, TimestampMicrosecondArray};

    use super::*;

    /// Two groups: rows 0, 2, 4, … and rows 1, 3, 5, …; the second half of the rows comes by way of a partial state.
    fn run(function: NativeFunction, column: &ArrayRef) -> ArrayRef {
        let factory = NativeFactory::new(function, Some(column.data_type().clone())).unwrap();
        let groups: Vec<u32> = (0..u32::try_from(column.len()).unwrap()).map(|row| row % 2).collect();
        let half = column.len() / 2;
        let (mut first, mut second) = (factory.create().unwrap(), factory.create().unwrap());
        first.grow(2);
        second.grow(2);
        first.update(&[column.slice(0, half)], &groups[..half]).unwrap();
        second.update(&[column.slice(half, column.len() - half)], &groups[half..]).unwrap();
        let states = second.state(&[0, 1]).unwrap();
        let fields = factory.state_fields();
        assert!(states.iter().zip(&fields).all(|(state, field)| state.data_type() == field.data_type()));
        first.merge(&states, &[0, 1]).unwrap();
        first.grow(3);
        let result = first.evaluate(&[0, 1, 2]).unwrap();
        assert_eq!(result.data_type(), &factory.output_type());
        assert_eq!(&first.evaluate(&[0, 1, 2]).unwrap(), &result, "evaluating changes nothing");
        first.clear();
        first.grow(1);
        assert!(function == NativeFunction::Count || first.evaluate(&[0]).unwrap().is_null(0));
        result
    }

    fn check<A: Array + 'static, B: Array + 'static>(function: NativeFunction, column: A, expected: B) {
        let column: ArrayRef = Arc::new(column);
        assert_eq!(run(function, &column).as_ref(), &expected as &dyn Array, "{function:?} of {column:?}");
    }

    #[test]
    fn count_counts_rows_or_values() {
        let values = Int32Array::from(vec![Some(1), None, Some(3), None, None, None]);
        check(NativeFunction::Count, values, Int64Array::from(vec![2, 0, 0]));
        check(NativeFunction::Count, NullArray::new(4), Int64Array::from(vec![0, 0, 0]));
        let mut rows = NativeFactory::new(NativeFunction::Count, None).unwrap().create().unwrap();
        rows.grow(2);
        rows.update(&[], &[1, 1, 0]).unwrap();
        assert_eq!(rows.evaluate(&[0, 1]).unwrap().as_ref(), &Int64Array::from(vec![1, 2]) as &dyn Array);
    }

    #[test]
    fn integers_sum_to_bigint_and_wrap_around() {
        let values = Int16Array::from(vec![Some(1), None, Some(3), None, Some(-7), None]);
        check(NativeFunction::Sum, values, Int64Array::from(vec![Some(-3), None, None]));
        let values = Int64Array::from(vec![i64::MAX, 1, 1, 1]);
        check(NativeFunction::Sum, values, Int64Array::from(vec![Some(i64::MIN), Some(2), None]));
    }

    #[test]
    fn floats_sum_to_double() {
        let values = Float32Array::from(vec![Some(0.5), None, Some(0.25), None]);
        check(NativeFunction::Sum, values, Float64Array::from(vec![Some(0.75), None, None]));
    }

    fn decimals(values: Vec<Option<i128>>, precision: u8) -> Decimal128Array {
        Decimal128Array::from(values).with_precision_and_scale(precision, 2).unwrap()
    }

    #[test]
    fn decimals_sum_with_ten_more_digits_and_overflow_to_null() {
        let values = decimals(vec![Some(100), None, Some(250), None], 10);
        check(NativeFunction::Sum, values, decimals(vec![Some(350), None, None], 20));
        let most = 10_i128.pow(38) - 1;
        let values = decimals(vec![Some(most), Some(most), Some(1), Some(-1)], 38);
        check(NativeFunction::Sum, values, decimals(vec![None, Some(most - 1), None], 38));
        let values = decimals(vec![Some(most), Some(1), Some(most), Some(1), Some(-most), Some(1)], 38);
        check(NativeFunction::Sum, values, decimals(vec![None, Some(3), None], 38));
    }

    #[test]
    fn a_decimal_sum_may_pass_its_precision_and_come_back() {
        let most = 10_i128.pow(38) - 1;
        let values = decimals(vec![Some(most), Some(0), Some(1), Some(0), Some(-1), Some(0)], 38);
        check(NativeFunction::Sum, values, decimals(vec![Some(most), Some(0), None], 38));
    }

    #[test]
    fn the_mean_is_a_double() {
        let values = Int32Array::from(vec![Some(1), None, Some(2), None, None, None]);
        check(NativeFunction::Avg, values, Float64Array::from(vec![Some(1.5), None, None]));
    }

    #[test]
    fn nan_is_the_largest_number_whatever_its_sign() {
        let values = [f64::NAN, 1.0, -1.0, f64::INFINITY, f64::NEG_INFINITY, -f64::NAN];
        let column: ArrayRef = Arc::new(Float64Array::from(values.to_vec()));
        let most = run(NativeFunction::Max, &column);
        assert!(most.as_primitive::<Float64Type>().values()[..2].iter().all(|value| value.is_nan()));
        check(
            NativeFunction::Min,
            Float64Array::from(values.to_vec()),
            Float64Array::from(vec![Some(f64::NEG_INFINITY), Some(1.0), None]),
        );
    }

    #[test]
    fn extremes_keep_the_type_of_their_argument() {
        let zoned = |values: Vec<Option<i64>>| TimestampMicrosecondArray::from(values).with_timezone("UTC");
        check(
            NativeFunction::Max,
            zoned(vec![Some(-5), None, Some(7), None, None, None]),
            zoned(vec![Some(7), None, None]),
        );
        check(
            NativeFunction::Min,
            decimals(vec![Some(5), None, Some(-7), None], 10),
            decimals(vec![Some(-7), None, None], 10),
        );
        let booleans = || BooleanArray::from(vec![Some(true), None, Some(false), Some(true)]);
        check(NativeFunction::Min, booleans(), BooleanArray::from(vec![Some(false), Some(true), None]));
        check(NativeFunction::Max, booleans(), BooleanArray::from(vec![Some(true), Some(true), None]));
    }

    #[test]
    fn strings_compare_by_bytes() {
        let words =
            || StringViewArray::from(vec![Some("pear"), None, Some("a word longer than 12"), None, Some("é"), None]);
        check(NativeFunction::Min, words(), StringViewArray::from(vec![Some("a word longer than 12"), None, None]));
        check(NativeFunction::Max, words(), StringViewArray::from(vec![Some("é"), None, None]));
    }

    #[test]
    fn types_without_a_native_form_are_refused_by_name() {
        for (function, argument) in [
            (NativeFunction::Avg, Some(DataType::Decimal128(10, 2))),
            (NativeFunction::Sum, Some(DataType::Utf8View)),
            (NativeFunction::Min, Some(DataType::Utf8)),
            (NativeFunction::Max, None),
        ] {
            let error = NativeFactory::new(function, argument).unwrap_err();
            assert_eq!(error.kind(), crate::error::ErrorKind::Plan);
            assert!(error.message().contains(&format!("{function:?} has no native form")), "{error}");
        }
    }
}
