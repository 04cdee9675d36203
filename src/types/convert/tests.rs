use std::collections::HashMap;

use arrow::array::{
    BinaryViewArray, Date64Array, DictionaryArray, FixedSizeListArray, Int32Array, LargeListArray, LargeStringArray,
    ListViewArray, MapBuilder, RunArray, StringArray, StringBuilder, StringViewArray, TimestampMillisecondArray,
    TimestampNanosecondArray, TimestampSecondArray, UInt64Array, new_null_array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::Int32Type;

use super::*;
use crate::types::{parse_type, type_name};

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true))).unwrap()
}

/// Converts to the engine and back to users; answers both columns.
fn there_and_back(array: ArrayRef) -> (ArrayRef, ArrayRef) {
    let engine = engine_batch(batch(vec![("c", array)])).unwrap();
    let user = user_batch(engine.clone()).unwrap();
    (Arc::clone(engine.column(0)), Arc::clone(user.column(0)))
}

#[test]
fn every_type_has_its_engine_type() {
    use DataType as T;
    let micros = |zone: Option<&str>| T::Timestamp(TimeUnit::Microsecond, zone.map(Into::into));
    let cases = [
        (T::Utf8, T::Utf8View),
        (T::LargeUtf8, T::Utf8View),
        (T::Utf8View, T::Utf8View),
        (T::FixedSizeBinary(3), T::Binary),
        (T::Timestamp(TimeUnit::Second, Some("+08:00".into())), micros(Some("UTC"))),
        (T::Timestamp(TimeUnit::Nanosecond, None), micros(None)),
        (T::UInt8, T::Int16),
        (T::UInt16, T::Int32),
        (T::UInt32, T::Int64),
        (T::UInt64, T::Decimal128(20, 0)),
        (T::Decimal64(9, 2), T::Decimal128(9, 2)),
        (T::Interval(IntervalUnit::YearMonth), T::Interval(IntervalUnit::MonthDayNano)),
        (T::Dictionary(Box::new(T::Int8), Box::new(T::LargeUtf8)), T::Utf8View),
        (T::new_fixed_size_list(T::UInt8, 2, false), T::new_list(T::Int16, false)),
        (T::Boolean, T::Boolean),
        (T::Time64(TimeUnit::Microsecond), T::Time64(TimeUnit::Microsecond)),
    ];
    for (from, expected) in cases {
        assert_eq!(engine_type(&from), expected, "{from}");
    }
}

#[test]
fn an_engine_type_is_its_own_engine_type_and_names_of_parts_do_not_matter() {
    let ours = parse_type("struct<a: array<string>, m: map<string, struct<b: timestamp>>>").unwrap();
    assert_eq!(engine_type(&ours), ours);
    let element = Arc::new(Field::new("element", DataType::Utf8, true));
    assert_eq!(engine_type(&DataType::List(element)), parse_type("array<string>").unwrap());
}

#[test]
fn nothing_is_copied_when_nothing_changes() {
    let given =
        batch(vec![("a", Arc::new(StringViewArray::from(vec!["x"]))), ("b", Arc::new(Int32Array::from(vec![1])))]);
    let engine = engine_batch(given.clone()).unwrap();
    assert!(Arc::ptr_eq(given.schema_ref(), engine.schema_ref()));
    let user = user_batch(engine.clone()).unwrap();
    assert!(Arc::ptr_eq(engine.column(1), user.column(1)));
    assert!(Arc::ptr_eq(user.column(0), user_batch(user.clone()).unwrap().column(0)));
}

#[test]
fn scalars_keep_their_values() {
    let text = there_and_back(Arc::new(LargeStringArray::from(vec![Some("a string longer than twelve"), None])));
    assert_eq!(text.1.as_string::<i32>(), &StringArray::from(vec![Some("a string longer than twelve"), None]));

    let words: DictionaryArray<Int32Type> = vec![Some("a"), None, Some("a")].into_iter().collect();
    assert_eq!(
        there_and_back(Arc::new(words)).0.as_string_view(),
        &StringViewArray::from(vec![Some("a"), None, Some("a")])
    );

    let runs: RunArray<Int32Type> = vec!["x", "x", "y"].into_iter().collect();
    assert_eq!(there_and_back(Arc::new(runs)).0.as_string_view(), &StringViewArray::from(vec!["x", "x", "y"]));

    let large = there_and_back(Arc::new(UInt64Array::from(vec![u64::MAX]))).0;
    assert_eq!(large.as_primitive::<arrow::datatypes::Decimal128Type>().value(0), i128::from(u64::MAX));

    let bytes = there_and_back(Arc::new(BinaryViewArray::from(vec![b"ab".as_slice()]))).0;
    assert_eq!(bytes.as_binary::<i32>().value(0), b"ab");

    let days = there_and_back(Arc::new(Date64Array::from(vec![86_400_000 * 3]))).0;
    assert_eq!(days.as_primitive::<arrow::datatypes::Date32Type>().value(0), 3);

    let half = new_null_array(&DataType::Float16, 1);
    assert_eq!(there_and_back(half).0.data_type(), &DataType::Float32);
}

#[test]
fn timestamps_keep_their_instant_and_are_cut_to_microseconds_towards_the_past() {
    let cases: [(ArrayRef, i64); 4] = [
        (Arc::new(TimestampSecondArray::from(vec![5]).with_timezone("+08:00")), 5_000_000),
        (Arc::new(TimestampMillisecondArray::from(vec![-5])), -5_000),
        (Arc::new(TimestampNanosecondArray::from(vec![1_999])), 1),
        (Arc::new(TimestampNanosecondArray::from(vec![-1]).with_timezone("UTC")), -1),
    ];
    for (array, expected) in cases {
        let engine = there_and_back(array).0;
        assert_eq!(engine.as_primitive::<arrow::datatypes::TimestampMicrosecondType>().value(0), expected);
    }
}

#[test]
fn a_timestamp_beyond_microseconds_is_an_error_with_the_column_and_a_null_is_not() {
    let bad = TimestampSecondArray::from(vec![i64::MAX]);
    let error = engine_batch(batch(vec![("t", Arc::new(bad))])).unwrap_err().to_string();
    assert!(error.starts_with("column `t`: "), "{error}");
    let nulls = TimestampSecondArray::new(vec![i64::MAX].into(), Some(NullBuffer::from(vec![false])));
    assert!(engine_batch(batch(vec![("t", Arc::new(nulls))])).unwrap().column(0).is_null(0));
}

fn strings() -> ArrayRef {
    Arc::new(StringArray::from(vec![Some("a"), Some("a word of some length"), None, Some("d")]))
}

#[test]
fn lists_of_every_kind_become_lists_of_the_engine() {
    let element = || Arc::new(Field::new("element", DataType::Utf8, true));
    let nulls = Some(NullBuffer::from(vec![true, true, false]));
    let large = LargeListArray::new(element(), OffsetBuffer::from_lengths([2, 2, 0]), strings(), nulls.clone());
    let (offsets, sizes) = (ScalarBuffer::from(vec![0, 2, 4]), ScalarBuffer::from(vec![2, 2, 0]));
    let view = ListViewArray::new(element(), offsets, sizes, strings(), nulls.clone());
    let list = ListArray::new(element(), OffsetBuffer::from_lengths([2, 2, 0]), strings(), nulls);
    let kinds: [ArrayRef; 3] = [Arc::new(list), Arc::new(large), Arc::new(view)];
    for array in kinds {
        let (engine, user) = there_and_back(array);
        assert_eq!(type_name(engine.data_type()), "ARRAY<STRING>");
        assert_eq!(engine.as_list::<i32>().values().data_type(), &DataType::Utf8View);
        let user = user.as_list::<i32>();
        assert_eq!(user.value(0).as_string::<i32>(), &StringArray::from(vec!["a", "a word of some length"]));
        assert_eq!(user.value(1).as_string::<i32>(), &StringArray::from(vec![None, Some("d")]));
        assert!(user.is_null(2));
    }
    let pairs = FixedSizeListArray::new(element(), 2, strings(), None);
    assert_eq!(there_and_back(Arc::new(pairs)).1.as_list::<i32>().value(1).len(), 2);
}

#[test]
fn a_slice_of_a_list_keeps_its_own_rows() {
    let element = Arc::new(Field::new("item", DataType::Utf8, true));
    let list = ListArray::new(element, OffsetBuffer::from_lengths([1, 2, 1]), strings(), None).slice(1, 1);
    let (_, user) = there_and_back(Arc::new(list));
    assert_eq!(user.len(), 1);
    assert_eq!(
        user.as_list::<i32>().value(0).as_string::<i32>(),
        &StringArray::from(vec![Some("a word of some length"), None])
    );
}

#[test]
fn structs_and_maps_are_converted_in_depth() {
    let inner = StructArray::from(vec![
        (Arc::new(Field::new("s", DataType::Utf8, true)), strings()),
        (
            Arc::new(Field::new("t", DataType::Timestamp(TimeUnit::Second, None), true)),
            Arc::new(TimestampSecondArray::from(vec![1, 2, 3, 4])) as ArrayRef,
        ),
    ]);
    let (engine, user) = there_and_back(Arc::new(inner));
    assert_eq!(type_name(engine.data_type()), "STRUCT<s: STRING, t: TIMESTAMP_NTZ>");
    assert_eq!(engine.as_struct().column(0).data_type(), &DataType::Utf8View);
    assert_eq!(user.as_struct().column(0).as_ref(), strings().as_ref());

    let mut map = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    map.keys().append_value("k");
    map.values().append_value("v");
    map.append(true).unwrap();
    map.append(false).unwrap();
    let (engine, user) = there_and_back(Arc::new(map.finish()));
    assert_eq!(engine.data_type(), &parse_type("map<string, string>").unwrap());
    assert_eq!(user.as_map().value(0).column(1).as_string::<i32>().value(0), "v");
    assert!(user.is_null(1));
}

#[test]
fn a_struct_without_fields_and_a_batch_without_columns_keep_their_rows() {
    let empty = StructArray::new_empty_fields(3, None);
    assert_eq!(there_and_back(Arc::new(empty)).1.len(), 3);
    let options = RecordBatchOptions::new().with_row_count(Some(3));
    let none = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options).unwrap();
    assert_eq!(engine_batch(none).unwrap().num_rows(), 3);
}

#[test]
fn metadata_stays() {
    let metadata: HashMap<_, _> = [("comment".to_string(), "x".to_string())].into();
    let field = Field::new("a", DataType::Utf8, false).with_metadata(metadata.clone());
    let schema = engine_schema(&Schema::new_with_metadata(vec![field], metadata.clone()));
    assert_eq!((schema.metadata(), schema.field(0).metadata()), (&metadata, &metadata));
    assert!(!schema.field(0).is_nullable());
}
