//! Which key group a row's key belongs to, and which instance owns a key group.
//!
//! Owns: the stable hash of key columns, the split of hashes into key groups, the assignment of groups to instances.
//! Does not own: what the key columns are, who sends rows (`outbox`), tables of keys (`state`).
//!
//! The hash is frozen: state in checkpoints is cut by it, so a change would be another format. All arithmetic is on
//! `u64` and wraps around.
//!
//! ```text
//! mix(x):  x += 0x9E3779B97F4A7C15;  x = (x ^ x>>30) * 0xBF58476D1CE4E5B9
//!          x = (x ^ x>>27) * 0x94D049BB133111EB;  x ^ x>>31
//! step(h, word) = mix(h ^ word)
//! hash(row) = 0 stepped by the words of its columns, in order; so 0 without columns
//! ```
//!
//! | a value of                              | has the words                                                      |
//! |-----------------------------------------|--------------------------------------------------------------------|
//! | any type, null                          | `0x6E756C6C6E756C6C`, once                                         |
//! | BOOLEAN                                 | 0 or 1                                                             |
//! | integers, dates, times, timestamps, durations | the number Arrow stores, sign-extended to 64 bits            |
//! | FLOAT, DOUBLE                           | the bits as f64; -0.0 as 0.0, every NaN as `0x7FF8000000000000`    |
//! | decimals                                | the unscaled number in words of 64 bits, the lowest first           |
//! | strings, binary, in every layout        | XXH3-64 (seed 0) of the bytes                                      |
//! | intervals                               | months; or days, milliseconds; or months, days, nanoseconds        |
//! | lists, maps (lists of entries)          | the element count stepped by the hash of each element              |
//! | structs                                 | the hash of the fields as if they were columns                     |
//! | unions, run-end encoded                 | 0: equal keys still hash alike, but all in one group               |
//!
//! So equal numbers of different widths hash alike, and equal strings of different layouts do. The high byte of the
//! hash is the key group; hash tables index by the low bits, which stay free of that choice.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayAccessor, ArrayIter, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, OffsetSizeTrait,
    downcast_integer_array, downcast_temporal_array,
};
use arrow::buffer::NullBuffer;
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type, Float32Type, Float64Type, IntervalDayTime,
    IntervalDayTimeType, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit, IntervalYearMonthType, i256,
};
use xxhash_rust::xxh3::xxh3_64;

/// How many key groups there are: the unit in which state moves between instances.
pub const KEY_GROUPS: usize = 256;

const NULL_WORD: u64 = 0x6E75_6C6C_6E75_6C6C;
const NAN_WORD: u64 = 0x7FF8_0000_0000_0000;

/// The hash of each row of these columns, which are of one length. No columns give no hashes: there every row's is 0.
pub fn hash_rows(columns: &[ArrayRef]) -> Vec<u64> {
    let mut hashes = Vec::new();
    hash_rows_into(columns, &mut hashes);
    hashes
}

/// The hash of a row whose only key column is this text.
#[inline]
pub(crate) fn hash_text(text: &[u8]) -> u64 {
    step(0, xxh3_64(text))
}

/// As [`hash_rows`], into a vector that is emptied first.
pub fn hash_rows_into(columns: &[ArrayRef], hashes: &mut Vec<u64>) {
    hashes.clear();
    hashes.resize(columns.first().map_or(0, Array::len), 0);
    for column in columns {
        step_column(column.as_ref(), hashes);
    }
}

/// The key group of a row with this hash.
pub fn key_group(hash: u64) -> u8 {
    hash.to_be_bytes()[0]
}

/// The instance, of `parallelism` many, that owns this key group. `parallelism` is 1 to [`KEY_GROUPS`].
pub fn instance_of(group: u8, parallelism: usize) -> usize {
    usize::from(group) * parallelism / KEY_GROUPS
}

/// The key groups that this instance, of `parallelism` many, owns. `parallelism` is 1 to [`KEY_GROUPS`].
pub fn groups_of(instance: usize, parallelism: usize) -> Range<usize> {
    let first = |instance: usize| (instance * KEY_GROUPS).div_ceil(parallelism);
    first(instance)..first(instance + 1)
}

fn step(hash: u64, word: u64) -> u64 {
    let x = (hash ^ word).wrapping_add(0x9E37_79B9_7F4A_7C15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

fn step_column(column: &dyn Array, hashes: &mut [u64]) {
    downcast_integer_array!(
        column => step_cells(hashes, column.nulls(), column.values().iter().copied()),
        DataType::Utf8View => step_bytes(hashes, column.as_string_view().iter()),
        DataType::Utf8 => step_bytes(hashes, column.as_string::<i32>().iter()),
        DataType::LargeUtf8 => step_bytes(hashes, column.as_string::<i64>().iter()),
        DataType::BinaryView => step_bytes(hashes, column.as_binary_view().iter()),
        DataType::Binary => step_bytes(hashes, column.as_binary::<i32>().iter()),
        DataType::LargeBinary => step_bytes(hashes, column.as_binary::<i64>().iter()),
        DataType::FixedSizeBinary(_) => step_bytes(hashes, column.as_fixed_size_binary().iter()),
        DataType::Boolean => step_booleans(hashes, column.as_boolean()),
        DataType::Float16 => step_as(hashes, column, &DataType::Float32),
        DataType::Float32 => step_fixed::<Float32Type>(hashes, column),
        DataType::Float64 => step_fixed::<Float64Type>(hashes, column),
        DataType::Decimal32(_, _) => step_fixed::<Decimal32Type>(hashes, column),
        DataType::Decimal64(_, _) => step_fixed::<Decimal64Type>(hashes, column),
        DataType::Decimal128(_, _) => step_fixed::<Decimal128Type>(hashes, column),
        DataType::Decimal256(_, _) => step_fixed::<Decimal256Type>(hashes, column),
        DataType::Duration(_) => step_as(hashes, column, &DataType::Int64),
        DataType::Interval(IntervalUnit::YearMonth) => step_fixed::<IntervalYearMonthType>(hashes, column),
        DataType::Interval(IntervalUnit::DayTime) => step_fixed::<IntervalDayTimeType>(hashes, column),
        DataType::Interval(IntervalUnit::MonthDayNano) => step_fixed::<IntervalMonthDayNanoType>(hashes, column),
        _ => step_time_or_nested(column, hashes),
    );
}

fn step_time_or_nested(column: &dyn Array, hashes: &mut [u64]) {
    downcast_temporal_array!(
        column => step_cells(hashes, column.nulls(), column.values().iter().copied()),
        DataType::Struct(_) => step_structs(hashes, column.as_struct().columns(), column.nulls()),
        DataType::List(_) => {
            let list = column.as_list::<i32>();
            step_lists(hashes, list.values(), list.offsets(), list.nulls());
        }
        DataType::LargeList(_) => {
            let list = column.as_list::<i64>();
            step_lists(hashes, list.values(), list.offsets(), list.nulls());
        }
        DataType::FixedSizeList(_, _) => {
            let list = column.as_fixed_size_list();
            let width = usize::try_from(list.value_length()).unwrap_or(0);
            let offsets: Vec<usize> = (0..=list.len()).map(|row| row * width).collect();
            step_ranges(hashes, list.values(), &offsets, list.nulls());
        }
        DataType::Map(_, _) => {
            let map = column.as_map();
            let entries: ArrayRef = Arc::new(map.entries().clone());
            step_lists(hashes, &entries, map.offsets(), map.nulls());
        }
        DataType::Dictionary(_, values) => step_as(hashes, column, values),
        DataType::Null => hashes.iter_mut().for_each(|hash| *hash = step(*hash, NULL_WORD)),
        _ => step_opaque(hashes),
    );
}

/// Columns of which nothing is known but their place. Equal keys must hash alike, so all do.
fn step_opaque(hashes: &mut [u64]) {
    for hash in hashes {
        *hash = step(*hash, 0);
    }
}

/// For layouts that are another type in disguise.
fn step_as(hashes: &mut [u64], column: &dyn Array, data_type: &DataType) {
    match cast(column, data_type) {
        Ok(column) => step_column(column.as_ref(), hashes),
        Err(_) => step_opaque(hashes),
    }
}

fn step_fixed<T: ArrowPrimitiveType<Native: Cell>>(hashes: &mut [u64], column: &dyn Array) {
    let column = column.as_primitive::<T>();
    step_cells(hashes, column.nulls(), column.values().iter().copied());
}

fn some_nulls(nulls: Option<&NullBuffer>) -> Option<&NullBuffer> {
    nulls.filter(|nulls| nulls.null_count() > 0)
}

fn step_cells<C: Cell>(hashes: &mut [u64], nulls: Option<&NullBuffer>, cells: impl Iterator<Item = C>) {
    match some_nulls(nulls) {
        None => hashes.iter_mut().zip(cells).for_each(|(hash, cell)| *hash = cell.step(*hash)),
        Some(nulls) => {
            for ((hash, cell), valid) in hashes.iter_mut().zip(cells).zip(nulls) {
                *hash = if valid { cell.step(*hash) } else { step(*hash, NULL_WORD) };
            }
        }
    }
}

fn step_booleans(hashes: &mut [u64], column: &BooleanArray) {
    step_cells(hashes, column.nulls(), column.values().iter().map(u64::from));
}

fn step_bytes<A>(hashes: &mut [u64], cells: ArrayIter<A>)
where
    A: ArrayAccessor,
    A::Item: AsRef<[u8]>,
{
    for (hash, cell) in hashes.iter_mut().zip(cells) {
        *hash = step(*hash, cell.map_or(NULL_WORD, |bytes| xxh3_64(bytes.as_ref())));
    }
}

fn step_structs(hashes: &mut [u64], fields: &[ArrayRef], nulls: Option<&NullBuffer>) {
    let mut words = vec![0; hashes.len()];
    for field in fields {
        step_column(field.as_ref(), &mut words);
    }
    step_cells(hashes, nulls, words.into_iter());
}

fn step_lists<O: OffsetSizeTrait>(hashes: &mut [u64], values: &ArrayRef, offsets: &[O], nulls: Option<&NullBuffer>) {
    let offsets: Vec<usize> = offsets.iter().map(|offset| offset.as_usize()).collect();
    step_ranges(hashes, values, &offsets, nulls);
}

fn step_ranges(hashes: &mut [u64], values: &ArrayRef, offsets: &[usize], nulls: Option<&NullBuffer>) {
    let (Some(&first), Some(&last)) = (offsets.first(), offsets.last()) else { return };
    let elements = hash_rows(&[values.slice(first, last - first)]);
    let words = offsets.windows(2).map(|ends| {
        let elements = &elements[ends[0] - first..ends[1] - first];
        elements.iter().fold(elements.len() as u64, |word, element| step(word, *element))
    });
    step_cells(hashes, nulls, words);
}

/// A fixed-width value as the words it is hashed by.
trait Cell: Copy {
    fn step(self, hash: u64) -> u64;
}

macro_rules! signed_cells {
    ($($native:ty),*) => {$(
        impl Cell for $native {
            fn step(self, hash: u64) -> u64 {
                step(hash, i64::from(self).cast_unsigned())
            }
        }
    )*};
}

signed_cells!(i8, i16, i32, i64, u8, u16, u32);

impl Cell for u64 {
    fn step(self, hash: u64) -> u64 {
        step(hash, self)
    }
}

impl Cell for f64 {
    fn step(self, hash: u64) -> u64 {
        step(hash, float_word(self))
    }
}

impl Cell for f32 {
    fn step(self, hash: u64) -> u64 {
        f64::from(self).step(hash)
    }
}

impl Cell for u128 {
    #[expect(clippy::cast_possible_truncation, reason = "the two halves are wanted")]
    fn step(self, hash: u64) -> u64 {
        step(step(hash, self as u64), (self >> 64) as u64)
    }
}

impl Cell for i128 {
    fn step(self, hash: u64) -> u64 {
        self.cast_unsigned().step(hash)
    }
}

impl Cell for i256 {
    fn step(self, hash: u64) -> u64 {
        let (low, high) = self.to_parts();
        high.step(low.step(hash))
    }
}

impl Cell for IntervalDayTime {
    fn step(self, hash: u64) -> u64 {
        self.milliseconds.step(self.days.step(hash))
    }
}

impl Cell for IntervalMonthDayNano {
    fn step(self, hash: u64) -> u64 {
        self.nanoseconds.step(self.days.step(self.months.step(hash)))
    }
}

/// The bits by which floats are compared as keys: one zero, one NaN.
pub(crate) fn float_word(value: f64) -> u64 {
    if value.is_nan() {
        NAN_WORD
    } else if value == 0.0 {
        0
    } else {
        value.to_bits()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::*;
    use arrow::buffer::OffsetBuffer;
    use arrow::datatypes::{Field, Int32Type};
    use proptest::prelude::*;

    use super::*;

    fn hash<A: Array + 'static>(column: A) -> Vec<u64> {
        hash_rows(&[Arc::new(column)])
    }

    #[test]
    fn the_hash_is_frozen() {
        let vectors = [
            (hash(Int64Array::from(vec![0, 1])), vec![0xE220_A839_7B1D_CDAF, 0x910A_2DEC_8902_5CC1]),
            (hash(Int64Array::from(vec![Some(-1), None])), vec![0xE4D9_7177_1B65_2C20, 0x0A7F_B0C1_B3A8_D23E]),
            (hash(BooleanArray::from(vec![true])), vec![0x910A_2DEC_8902_5CC1]),
            (hash(Float64Array::from(vec![1.5])), vec![0xD6DA_B18E_1392_608A]),
            (hash(Decimal128Array::from(vec![-5])), vec![0xD641_C68F_BD3D_A027]),
            (hash(StringViewArray::from(vec!["", "a"])), vec![0x59B0_ED71_0B28_ABEE, 0xDBAC_1E87_5F4D_0340]),
            (hash(window()), vec![0x48F8_8074_9EC8_E1CC, 0x0A7F_B0C1_B3A8_D23E]),
            (hash(lists().slice(0, 2)), vec![0xFB3C_3B1E_B2E8_6348, 0xE220_A839_7B1D_CDAF]),
            (hash(lists().slice(2, 2)), vec![0x0A7F_B0C1_B3A8_D23E, 0x5775_264A_9A7E_1B09]),
        ];
        for (found, frozen) in vectors {
            assert_eq!(found, frozen, "{found:#X?}");
        }
        let two: [ArrayRef; 2] = [Arc::new(StringViewArray::from(vec!["a"])), Arc::new(Int32Array::from(vec![7]))];
        assert_eq!(hash_rows(&two), [0xB19B_3B4D_B137_85EF]);
        assert_eq!([xxh3_64(b""), xxh3_64(b"a")], [0x2D06_8005_38D3_94C2, 0xE6C6_32B6_1E96_4E1F]);
    }

    fn window() -> StructArray {
        let field = |name| Arc::new(Field::new(name, DataType::Int64, true));
        let column = |a, b| Arc::new(Int64Array::from(vec![a, b])) as ArrayRef;
        StructArray::try_new(
            vec![field("start"), field("end")].into(),
            vec![column(10, 1), column(20, 2)],
            Some(vec![true, false].into()),
        )
        .unwrap()
    }

    fn lists() -> ListArray {
        let rows = vec![Some(vec![Some(1), None]), Some(vec![]), None, Some(vec![Some(1)])];
        ListArray::from_iter_primitive::<Int32Type, _, _>(rows)
    }

    #[test]
    fn equal_values_hash_alike_in_every_width_and_layout() {
        let five = hash(Int64Array::from(vec![Some(5), None]));
        assert_eq!(hash(Int8Array::from(vec![Some(5), None])), five);
        assert_eq!(hash(UInt64Array::from(vec![Some(5), None])), five);
        assert_eq!(hash(TimestampMicrosecondArray::from(vec![Some(5), None]).with_timezone("UTC")), five);
        assert_eq!(hash(Int16Array::from(vec![-5])), hash(Date32Array::from(vec![-5])));

        let words = vec![Some("a"), None, Some(""), Some("longer than twelve bytes")];
        let expected = hash(StringViewArray::from(words.clone()));
        assert_eq!(hash(StringArray::from(words.clone())), expected);
        assert_eq!(hash(LargeStringArray::from(words.clone())), expected);
        assert_eq!(hash(words.iter().copied().collect::<DictionaryArray<Int32Type>>()), expected);
        let bytes: Vec<_> = words.iter().map(|word| word.map(str::as_bytes)).collect();
        assert_eq!(hash(BinaryArray::from(bytes.clone())), expected);
        assert_eq!(hash(BinaryViewArray::from(bytes)), expected);
    }

    #[test]
    fn a_text_by_itself_hashes_as_a_column_of_it() {
        for text in ["", "a", "longer than twelve bytes"] {
            assert_eq!([hash_text(text.as_bytes())].as_slice(), hash(StringViewArray::from(vec![text])));
        }
    }

    #[test]
    fn floats_have_one_zero_and_one_nan() {
        let negative_nan = f64::from_bits(0xFFF8_0000_0000_0001);
        let found = hash(Float64Array::from(vec![0.0, -0.0, f64::NAN, negative_nan, 0.5]));
        assert_eq!((found[0], found[2]), (found[1], found[3]));
        assert_eq!(hash(Float32Array::from(vec![-0.0, f32::NAN, 0.5])), [found[0], found[2], found[4]]);
    }

    #[test]
    fn nulls_differ_from_defaults_and_order_counts() {
        let found = hash(Int64Array::from(vec![Some(0), None]));
        assert_ne!(found[0], found[1]);
        let columns: [ArrayRef; 2] = [Arc::new(Int64Array::from(vec![1])), Arc::new(Int64Array::from(vec![2]))];
        let swapped = [columns[1].clone(), columns[0].clone()];
        assert_ne!(hash_rows(&columns), hash_rows(&swapped));
        assert!(hash_rows(&[]).is_empty());
    }

    #[test]
    fn slices_of_nested_columns_hash_as_their_rows_do() {
        for column in [Arc::new(lists()) as ArrayRef, Arc::new(window()), Arc::new(map())] {
            let all = hash_rows(std::slice::from_ref(&column));
            for start in 0..column.len() {
                assert_eq!(hash_rows(&[column.slice(start, 1)]), all[start..=start]);
            }
        }
    }

    fn map() -> MapArray {
        let entries = StructArray::from(vec![
            (
                Arc::new(Field::new("keys", DataType::Utf8, false)),
                Arc::new(StringArray::from(vec!["a", "b"])) as ArrayRef,
            ),
            (Arc::new(Field::new("values", DataType::Int32, true)), Arc::new(Int32Array::from(vec![1, 2]))),
        ]);
        let field = Arc::new(Field::new("entries", entries.data_type().clone(), false));
        MapArray::try_new(field, OffsetBuffer::new(vec![0, 1, 2].into()), entries, None, false).unwrap()
    }

    #[test]
    fn every_key_group_has_the_one_instance_that_lists_it() {
        for parallelism in 1..=KEY_GROUPS {
            let mut next = 0;
            for instance in 0..parallelism {
                let groups = groups_of(instance, parallelism);
                assert_eq!(groups.start, next);
                assert!(!groups.is_empty());
                next = groups.end;
                for group in groups {
                    assert_eq!(instance_of(u8::try_from(group).unwrap(), parallelism), instance);
                }
            }
            assert_eq!(next, KEY_GROUPS);
        }
    }

    proptest! {
        #[test]
        fn a_row_hashes_alike_whatever_rows_stand_beside_it(
            rows in prop::collection::vec((any::<Option<i32>>(), any::<Option<String>>()), 1..20),
        ) {
            let columns = |rows: &[(Option<i32>, Option<String>)]| -> [ArrayRef; 2] {
                let numbers: Int32Array = rows.iter().map(|row| row.0).collect();
                let words: StringViewArray = rows.iter().map(|row| row.1.as_deref()).collect();
                [Arc::new(numbers), Arc::new(words)]
            };
            let alone: Vec<u64> = rows.iter().flat_map(|row| hash_rows(&columns(std::slice::from_ref(row)))).collect();
            prop_assert_eq!(hash_rows(&columns(&rows)), alone);
        }
    }
}
