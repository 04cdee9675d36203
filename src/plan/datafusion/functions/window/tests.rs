use arrow::array::{Int64Array, IntervalMonthDayNanoArray, StringViewArray};
use datafusion::common::Column;
use proptest::prelude::*;

use super::super::FunctionRegistry;
use super::*;
use crate::types::Zone;

/// A column of each kind, under internal names.
fn schema() -> DFSchema {
    let window = window_of(&timestamp());
    let fields = [
        ("t#1", timestamp()),
        ("local#2", DataType::Timestamp(TimeUnit::Microsecond, None)),
        ("day#3", DataType::Date32),
        ("text#4", DataType::Utf8View),
        ("number#5", DataType::Int32),
        ("window#6", window),
        ("gap#7", INTERVAL),
    ];
    let fields = fields.map(|(name, data_type)| Field::new(name, data_type, true));
    DFSchema::from_unqualified_fields(fields.into_iter().collect(), [].into()).unwrap()
}

fn col(name: &str) -> Expr {
    Expr::Column(Column::new_unqualified(name))
}

fn interval(months: i32, days: i32, micros: i64) -> IntervalMonthDayNano {
    IntervalMonthDayNano::new(months, days, micros * 1000)
}

fn called(name: &str, args: Vec<Expr>) -> Result<Expr> {
    Ok(FunctionRegistry::new(Zone::UTC, false).scalar(name, args, &schema())?.unwrap())
}

fn refused(name: &str, args: Vec<Expr>) -> String {
    called(name, args).unwrap_err().message().to_string()
}

/// Size, slide and start of a call.
fn parameters(call: &Expr) -> [i64; 3] {
    let Expr::ScalarFunction(function) = call else { panic!("{call}") };
    assert!(windows_of(function).is_some());
    [1, 2, 3].map(|place| constant_integer(&function.args[place]).unwrap())
}

const MINUTE: i64 = 60_000_000;

fn times(values: &[Option<i64>]) -> TimestampMicrosecondArray {
    TimestampMicrosecondArray::from(values.to_vec()).with_timezone("UTC")
}

/// The windows of each time as pairs of start and end.
fn windows(values: &[Option<i64>], size: i64, slide: i64, start: i64) -> Vec<Option<Vec<(i64, i64)>>> {
    let lists = windows_of_times(&times(values), Windows::new(size, slide, start).unwrap()).unwrap();
    assert_eq!(lists.data_type(), &array_of(window_of(&timestamp())));
    let lists = lists.as_list::<i32>();
    lists.iter().map(|list| list.map(|list| pairs(&list).into_iter().flatten().collect())).collect()
}

fn pairs(windows: &ArrayRef) -> Vec<Option<(i64, i64)>> {
    let columns = windows.as_struct().columns();
    let part = |column: usize| columns[column].as_primitive::<TimestampMicrosecondType>().values();
    (0..windows.len()).map(|row| windows.is_valid(row).then(|| (part(0)[row], part(1)[row]))).collect()
}

fn sessions(values: &[Option<i64>], gaps: ArrayRef) -> Vec<Option<(i64, i64)>> {
    let column = SessionOfRow.evaluate(&[Arc::new(times(values)), gaps]).unwrap();
    assert_eq!(column.data_type(), &window_of(&timestamp()));
    pairs(&column)
}

#[test]
fn a_tumbling_window_holds_its_start_and_a_null_time_has_none() {
    assert_eq!(
        windows(&[Some(0), Some(9), None, Some(10), Some(-1), Some(-10)], 10, 10, 0),
        [
            Some(vec![(0, 10)]),
            Some(vec![(0, 10)]),
            None,
            Some(vec![(10, 20)]),
            Some(vec![(-10, 0)]),
            Some(vec![(-10, 0)])
        ]
    );
    assert_eq!(windows(&[], 10, 10, 0), []);
}

#[test]
fn sliding_windows_overlap_the_last_first() {
    assert_eq!(windows(&[Some(7)], 10, 5, 0), [Some(vec![(5, 15), (0, 10)])]);
    assert_eq!(
        windows(&[Some(3), Some(5), Some(-1)], 5, 3, 0),
        [Some(vec![(3, 8), (0, 5)]), Some(vec![(3, 8)]), Some(vec![(-3, 2)])]
    );
}

#[test]
fn windows_are_moved_by_their_start_in_both_directions() {
    assert_eq!(windows(&[Some(0), Some(2)], 10, 10, 2), [Some(vec![(-8, 2)]), Some(vec![(2, 12)])]);
    assert_eq!(windows(&[Some(7), Some(8)], 10, 10, -2), [Some(vec![(-2, 8)]), Some(vec![(8, 18)])]);
}

#[test]
fn windows_keep_the_type_of_the_time() {
    let times = TimestampMicrosecondArray::from(vec![1]);
    let lists = windows_of_times(&times, Windows::tumbling(10).unwrap()).unwrap();
    assert_eq!(lists.data_type(), &array_of(window_of(times.data_type())));
    let constant = |value: i64| Arc::new(Int64Array::from(vec![value])) as ArrayRef;
    let none: ArrayRef = Arc::new(times.slice(0, 0));
    let lists = WindowsOfTime.evaluate(&[none, constant(10), constant(10), constant(0)]).unwrap();
    assert_eq!((lists.len(), lists.data_type()), (0, &array_of(window_of(times.data_type()))));
}

#[test]
fn a_batch_that_makes_too_many_windows_is_refused_before_any_is_made() {
    let error = windows_of_times(&times(&vec![Some(0); 220_000]), Windows::new(10_000, 1, 0).unwrap()).unwrap_err();
    assert!(error.message().contains("use a longer slide"), "{error}");
}

proptest! {
    #[test]
    fn a_row_is_in_every_window_that_holds_its_time(
        values in proptest::collection::vec(proptest::option::of(-200_i64..200), 0..20),
        size in 1_i64..40,
        slide in 1_i64..40,
        start in -40_i64..40,
    ) {
        let slide = (slide - 1) % size + 1;
        let start = start % slide;
        let holding = |time: i64| {
            let starts = (-500..500).rev().map(|n| start + n * slide);
            starts.filter(|begin| (*begin..begin + size).contains(&time)).map(|begin| (begin, begin + size)).collect()
        };
        let expected: Vec<Option<Vec<_>>> = values.iter().map(|time| time.map(holding)).collect();
        prop_assert_eq!(windows(&values, size, slide, start), expected);
    }
}

#[test]
fn a_session_lasts_for_the_gap_of_its_row() {
    let texts = StringViewArray::from(vec![
        Some("5 microseconds"),
        Some("7 microseconds"),
        Some("5 microseconds"),
        Some("soon"),
        None,
        Some("0 seconds"),
        Some("-1 second"),
        Some("1 month"),
        Some("1 day"),
        Some("5 microseconds"),
    ]);
    let values = [Some(1), Some(2), Some(-3), Some(4), Some(5), Some(6), Some(7), Some(8), Some(9), None];
    let month = Some((8, 31 * DAY + 8));
    let expected = [Some((1, 6)), Some((2, 9)), Some((-3, 2)), None, None, None, None, month, Some((9, DAY + 9)), None];
    assert_eq!(sessions(&values, Arc::new(texts)), expected);
    let gaps = IntervalMonthDayNanoArray::from(vec![
        Some(interval(0, 0, 5)),
        Some(interval(0, 1, 0)),
        Some(interval(1, 0, 0)),
        Some(interval(0, 0, -5)),
        None,
    ]);
    let expected = [Some((1, 6)), Some((2, DAY + 2)), Some((-3, 31 * DAY - 3)), None, None];
    assert_eq!(sessions(&values[..5], Arc::new(gaps)), expected);
    let gaps = Int64Array::from(vec![Some(10), Some(0), Some(i64::MAX), None]);
    assert_eq!(sessions(&values[..4], Arc::new(gaps)), [Some((1, 11)), None, Some((-3, i64::MAX - 3)), None]);
}

#[test]
fn more_texts_than_are_kept_are_read_right() {
    let texts: Vec<String> = (0..40).map(|row| format!("{} microseconds", 1 + row % 11)).collect();
    let mut gaps = RecentGaps::default();
    let read: Vec<_> = texts.iter().map(|text| gaps.of(text).map(|gap| gap.micros)).collect();
    assert_eq!(read, (0..40).map(|row| Some(1 + row % 11)).collect::<Vec<_>>());
    assert!(gaps.known.len() <= RecentGaps::KEPT);
}

#[test]
fn the_time_of_a_window_is_the_last_it_holds() {
    let nulls = NullBuffer::from(vec![true, false, true]);
    let ends = TimestampMicrosecondArray::from(vec![10, 20, i64::MIN]);
    let window = window_column(ends.clone(), ends, &timestamp(), Some(nulls)).unwrap();
    let found = WindowTime.evaluate(&[Arc::new(window)]).unwrap();
    assert_eq!(found.as_ref(), &times(&[Some(9), None, Some(i64::MIN)]) as &dyn Array);
}

#[test]
fn lengths_are_texts_or_intervals_that_are_constant() {
    let minutes = |count| lit(ScalarValue::IntervalMonthDayNano(Some(interval(0, 0, count * MINUTE))));
    let cases = [
        (vec![lit("10 minutes")], [10, 10, 0]),
        (vec![lit("10 minutes"), lit("5 minutes")], [10, 5, 0]),
        (vec![lit("10 minutes"), lit("5 minutes"), lit("-2 minutes")], [10, 5, -2]),
        (vec![minutes(10), minutes(5), minutes(-4)], [10, 5, -4]),
        (vec![lit("1 day")], [1440, 1440, 0]),
        (vec![minutes(10) + minutes(20)], [30, 30, 0]),
    ];
    for (lengths, expected) in cases {
        let args = std::iter::once(col("t#1")).chain(lengths).collect();
        let call = called("Window", args).unwrap();
        assert_eq!(parameters(&call), expected.map(|minutes| minutes * MINUTE), "{call}");
    }
}

#[test]
fn bad_lengths_are_refused_by_name() {
    let cases = [
        (vec![lit("0 seconds")], "a size of 0 seconds"),
        (vec![lit("10 minutes"), lit("0 seconds")], "a slide of 0 seconds"),
        (vec![lit("10 minutes"), lit("-1 minute")], "a slide of -1 minutes"),
        (vec![lit("10 minutes"), lit("11 minutes")], "may not be longer than the size, 10 minutes"),
        (vec![lit("10 minutes"), lit("5 minutes"), lit("5 minutes")], "a start time of 5 minutes"),
        (vec![lit("10 minutes"), lit("5 minutes"), lit("-5 minutes")], "a start time of -5 minutes"),
        (vec![lit("1 month")], "the size of window(…) has months or years"),
        (vec![lit("1 day"), lit("1 day"), lit("1 year")], "the start time of window(…) has months or years"),
        (vec![lit("10 minuts")], "the size of window(…): `10 minuts` is not a length of time"),
        (vec![lit("10 minutes"), col("text#4")], "the slide of window(…) must be a constant"),
        (vec![lit(600)], "the size of window(…) must be a constant length of time; write for instance '10 minutes'"),
        (vec![lit(ScalarValue::Null)], "the size of window(…) must be a constant"),
        (vec![lit("2147483647 days")], "the size of window(…) is too long"),
        (vec![], "takes 2 to 4 arguments, 1 given"),
    ];
    for (lengths, expected) in cases {
        let said = refused("window", std::iter::once(col("t#1")).chain(lengths).collect());
        assert!(said.contains(expected), "`{said}` does not say `{expected}`");
    }
}

#[test]
fn the_time_is_a_timestamp_a_date_or_a_window() {
    let type_of =
        |name: &str| called("window", vec![col(name), lit("5 minutes")]).unwrap().get_type(&schema()).unwrap();
    assert_eq!(type_of("t#1"), window_of(&timestamp()));
    assert_eq!(type_of("day#3"), window_of(&timestamp()));
    assert_eq!(type_of("window#6"), window_of(&timestamp()));
    assert_eq!(type_of("local#2"), window_of(&DataType::Timestamp(TimeUnit::Microsecond, None)));
    let again = called("window", vec![col("window#6"), lit("5 minutes")]).unwrap();
    assert!(again.to_string().starts_with("window(window_time(window#6)"), "{again}");
    for (name, args) in [("window", vec![lit("5 minutes")]), ("session_window", vec![lit("5 minutes")])] {
        let said = refused(name, std::iter::once(col("text#4")).chain(args).collect());
        let expected = format!("{name}(…) needs a TIMESTAMP, but `text` is STRING");
        assert!(said.contains(&expected) && said.contains("cast(… as timestamp)"), "{said}");
    }
    let said = refused("window_time", vec![col("t#1")]);
    assert!(said.contains("window_time(…) needs a window, but `t` is TIMESTAMP"), "{said}");
}

#[test]
fn the_gap_of_a_session_may_differ_by_row() {
    let gap = |gap: Expr| match called("session_window", vec![col("t#1"), gap]).unwrap() {
        Expr::ScalarFunction(function) => function.args[1].clone(),
        other => panic!("{other}"),
    };
    assert_eq!(gap(lit("5 minutes")), lit(5 * MINUTE));
    assert_eq!(gap(lit("-5 minutes")), lit(-5 * MINUTE));
    assert_eq!(gap(lit(ScalarValue::IntervalMonthDayNano(Some(interval(0, 1, 1))))), lit(DAY + 1));
    let month = lit(ScalarValue::IntervalMonthDayNano(Some(interval(1, 0, 0))));
    assert_eq!(gap(lit("1 month")), month);
    assert_eq!(gap(lit(ScalarValue::Null)), lit(ScalarValue::Int64(None)));
    assert_eq!(gap(col("text#4")), col("text#4"));
    assert_eq!(gap(col("gap#7")), col("gap#7"));
    for (gap, expected) in [
        (lit("soon"), "the gap of session_window(…): `soon` is not a length of time"),
        (col("number#5"), "the gap of session_window(…) must be a length of time, but `number` is INT"),
    ] {
        let said = refused("session_window", vec![col("t#1"), gap]);
        assert!(said.contains(expected), "{said}");
    }
}

#[test]
fn a_mark_is_replaced_by_a_call_of_the_same_arguments() {
    let schema = schema();
    for (name, other, args) in [
        (WINDOW, WINDOWS, vec![col("t#1"), lit("10 minutes"), lit("5 minutes")]),
        (SESSION_WINDOW, SESSION_WINDOWS, vec![col("local#2"), col("text#4")]),
    ] {
        let mark = called(name, args).unwrap();
        let function = as_mark(&mark).unwrap();
        let Expr::ScalarFunction(call) = computed(function, &schema).unwrap() else { panic!("{mark}") };
        assert_eq!((call.func.name(), &call.args), (other, &function.args));
        assert_eq!(windows_of(&call).map(|(_, windows)| windows), windows_of(function).map(|(_, windows)| windows));
        let call = Expr::ScalarFunction(call);
        assert!(as_mark(&call).is_none());
        let (window, made) = (mark.get_type(&schema).unwrap(), call.get_type(&schema).unwrap());
        assert!(made == window || made == array_of(window));
    }
}
