//! What conditions say about time.

use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch, TimestampMicrosecondArray, new_null_array};
use datafusion::logical_expr::{Join, JoinType};

use super::super::super::compile::compile;
use super::super::{bounds, parts, remedy};
use super::Bench;
use crate::operator::EpochTime;
use crate::operator::JoinSide;
use crate::prelude::*;

#[test]
fn an_event_time_among_the_keys_bounds_both_sides() {
    let both = Bench::watermarked();
    let left =
        Bench::new(|stream, name| if name == "a" { stream.with_watermark("t", "1 minute") } else { stream.clone() });
    let right =
        Bench::new(|stream, name| if name == "b" { stream.with_watermark("t", "1 minute") } else { stream.clone() });
    let none = Bench::new(|stream, _| stream.clone());
    let cases = [
        (&both, "a.t = b.t", "key 1 0 | key 1 0"),
        (&both, "b.t <=> a.t", "key 1 0 | key 1 0"),
        (&both, "a.t = b.u", "key 1 0 | key 1 0"),
        (&both, "a.u = b.u", "- | -"),
        // The left sides of all keys are looked at first.
        (&both, "a.u = b.t AND a.t = b.u", "key 2 0 | key 2 0"),
        (&both, "a.u = b.t", "key 1 0 | key 1 0"),
        // A key wins over ranges.
        (&both, "a.t = b.t AND a.t >= b.t - interval 1 hour AND a.t <= b.t + interval 1 hour", "key 1 0 | key 1 0"),
        // What is computed is no event time any more.
        (&both, "cast(a.t AS timestamp) = cast(b.t AS timestamp)", "- | -"),
        (&both, "a.t + interval 1 hour = b.u", "- | -"),
        (&both, "date_trunc('hour', a.t) = date_trunc('hour', b.t)", "- | -"),
        (&left, "a.t = b.t", "key 1 0 | key 1 0"),
        (&right, "a.t = b.t", "key 1 0 | key 1 0"),
        (&right, "a.t = b.u", "- | -"),
        (&none, "a.t = b.t", "- | -"),
    ];
    for (bench, condition, expected) in cases {
        assert_eq!(bench.bounds(condition), expected, "{condition}");
    }
}

#[test]
fn windows_among_the_keys_bound_both_sides() {
    let windowed = |stream: &DataFrame, _: &str| {
        let stream = stream.with_watermark("t", "10 minutes");
        stream.group_by([window("t", "5 minutes"), col("id")]).count()
    };
    let bench = Bench::new(windowed);
    assert_eq!(bench.bounds("a.window = b.window"), "key 1 0 | key 1 0");
    assert_eq!(bench.bounds("a.window.end >= b.window.end"), "- | -");
    let renamed = Bench::new(|stream, name| windowed(stream, name).select_expr(["window AS w", "id"]));
    assert_eq!(renamed.bounds("a.w = b.w"), "key 1 0 | key 1 0");
}

/// Comparisons of times, and when rows of the left and of the right side are freed.
const RANGES: &[(&str, &str)] = &[
    // Every orientation of one bound: `>=` waits a millisecond more.
    ("a.t >= b.t - interval 1 hour", "t -3600001 | -"),
    ("a.t > b.t - interval 1 hour", "t -3600000 | -"),
    ("b.t - interval 1 hour <= a.t", "t -3600001 | -"),
    ("b.t - interval 1 hour < a.t", "t -3600000 | -"),
    ("b.t <= a.t + interval 1 hour", "t -3600001 | -"),
    ("a.t + interval 1 hour > b.t", "t -3600000 | -"),
    ("interval 1 hour + a.t > b.t", "t -3600000 | -"),
    ("NOT (a.t < b.t - interval 1 hour)", "t -3600001 | -"),
    ("NOT (a.t <= b.t - interval 1 hour)", "t -3600000 | -"),
    // An upper bound of one side is a lower bound of the other.
    ("a.t <= b.t + interval 1 hour", "- | t -3600001"),
    ("a.t < b.t + interval 1 hour", "- | t -3600000"),
    ("b.t > a.t", "- | t 0"),
    ("a.t >= b.t", "t -1 | -"),
    ("a.t >= b.t AND a.t <= b.t + interval 1 hour", "t -1 | t -3600001"),
    ("a.t BETWEEN b.t AND b.t + interval 1 hour", "t -1 | t -3600001"),
    ("b.t BETWEEN a.t - interval 2 hours AND a.t + interval 1 hour", "t -3600001 | t -7200001"),
    ("a.t NOT BETWEEN b.t AND b.t + interval 1 hour", "- | -"),
    ("(a.t >= b.t OR a.n = b.n)", "- | -"),
    // Bounds in the future, negative intervals, both signs.
    ("a.t >= b.t + interval 1 hour", "t 3599999 | -"),
    ("a.t > b.t + interval '-1' hour", "t -3600000 | -"),
    ("a.t > b.t - interval '-1' hour", "t 3600000 | -"),
    ("a.t > b.t + (- interval 1 hour)", "t -3600000 | -"),
    ("a.t > b.t - interval 1 hour - interval 30 minutes", "t -5400000 | -"),
    ("a.t > b.t - (interval 1 hour - interval 30 minutes)", "t -1800000 | -"),
    ("a.t - interval 10 minutes > b.t - interval 1 hour", "t -3000000 | -"),
    ("a.t > b.t - interval 1 hour * 2", "t -7200000 | -"),
    ("a.t > b.t - 1.5 * interval 1 hour", "t -5400000 | -"),
    ("a.t > b.t - interval 1 hour / 4", "t -900000 | -"),
    ("a.t > b.t - interval 2 days", "t -172800000 | -"),
    // Parts of a millisecond are rounded down.
    ("a.t > b.t - interval 1 microsecond", "t -1 | -"),
    ("a.t > b.t + interval 1999 microseconds", "t 1 | -"),
    ("a.t >= b.t - interval 1001 microseconds", "t -3 | -"),
    // Months have no length.
    ("a.t > b.t - interval 1 month", "- | -"),
    ("a.t > b.t - interval 1 year", "- | -"),
    // Differences of times.
    ("b.t - a.t < interval 1 hour", "t -3600000 | -"),
    ("b.t - a.t <= interval 1 hour", "t -3600001 | -"),
    ("interval 1 hour >= b.t - a.t", "t -3600001 | -"),
    ("a.t - b.t >= - interval 1 hour", "t -3600001 | -"),
    ("-(a.t - b.t) < interval 1 hour", "t -3600000 | -"),
    ("a.t - b.t BETWEEN interval 0 seconds AND interval 1 hour", "t -1 | t -3600001"),
    ("a.t > a.t - (a.t - b.t) - interval 1 hour", "t -3600000 | -"),
    // Other columns of a side with an event time say nothing, nor do columns that are not event times.
    ("a.u > b.t", "- | -"),
    ("a.t > b.u", "- | -"),
    ("a.u > b.u", "- | -"),
    ("a.n > b.n", "- | -"),
    ("a.day > b.day", "- | -"),
    ("a.day > b.t", "- | -"),
    ("a.t > b.t + (a.t - b.t)", "- | -"),
    ("a.t > b.t + (a.t - a.u)", "- | -"),
    ("(a.t - b.t) * 2 > interval 1 hour", "- | -"),
    ("a.t != b.t", "- | -"),
    ("a.t > b.t - make_interval(0, 0, 0, 0, cast(a.n AS int))", "- | -"),
];

#[test]
fn ranges_bound_each_side_by_the_watermark_of_the_other() {
    let bench = Bench::watermarked();
    for (condition, expected) in RANGES {
        assert_eq!(bench.bounds(condition), *expected, "{condition}");
    }
}

/// The same for times as numbers.
const SECONDS: &[(&str, &str)] = &[
    ("cast(a.t AS double) > cast(b.t AS double) - 3600", "t -3600000 | -"),
    ("cast(a.t AS double) >= cast(b.t AS double) - 3600.5", "t -3600501 | -"),
    ("cast(a.t AS double) - cast(b.t AS double) > -3600", "t -3600000 | -"),
    ("cast(b.t AS double) < 3600 + cast(a.t AS double)", "t -3600000 | -"),
    ("cast(a.t AS double) > -(3600 - cast(b.t AS double))", "t -3600000 | -"),
    // Two floors: up to a second more.
    ("cast(a.t AS bigint) > cast(b.t AS bigint) - 3600", "t -3601000 | -"),
    ("cast(a.t AS bigint) >= cast(b.t AS bigint) - 3600", "t -3601001 | -"),
    ("cast(a.t AS bigint) - cast(b.t AS bigint) <= 3600", "- | t -3601001"),
    ("cast(a.t AS bigint) + 0.5 > cast(b.t AS bigint)", "t -1500 | -"),
    ("cast(a.t AS decimal(20, 6)) > cast(b.t AS decimal(20, 6)) - 1.25", "t -1250 | -"),
    ("cast(cast(a.t AS double) AS bigint) > cast(b.t AS double)", "t -1000 | -"),
    ("a.t > cast(cast(b.t AS bigint) - 60 AS timestamp)", "t -61000 | -"),
    ("a.t > cast(cast(b.t AS double) - 60 AS timestamp)", "t -60001 | -"),
    ("cast(a.t AS timestamp) > cast(b.t AS timestamp) - interval 1 minute", "t -60000 | -"),
    // INT wraps around, FLOAT and short decimals are too coarse, and a number is no time.
    ("cast(a.t AS int) > cast(b.t AS int) - 3600", "- | -"),
    ("cast(a.t AS float) > cast(b.t AS float) - 3600", "- | -"),
    ("cast(a.t AS decimal(20, 0)) > cast(b.t AS decimal(20, 0))", "- | -"),
    ("cast(a.t AS bigint) > b.n", "- | -"),
    ("a.t > cast(b.n AS timestamp)", "- | -"),
    ("cast(a.t AS string) > cast(b.t AS string)", "- | -"),
    ("cast(a.t AS date) > cast(b.t AS date)", "- | -"),
    ("cast(a.t AS bigint) > cast(b.t AS bigint) - 9223372036854775807", "- | -"),
    ("cast(a.t AS double) > cast(b.t AS double) - 1e300", "- | -"),
    ("cast(a.t AS double) > cast(b.t AS double) - double('NaN')", "- | -"),
    ("cast(a.t AS double) > cast(b.t AS double) - cast(null AS double)", "- | -"),
];

#[test]
fn seconds_since_1970_are_times_less_what_casts_cut_off() {
    let bench = Bench::watermarked();
    for (condition, expected) in SECONDS {
        assert_eq!(bench.bounds(condition), *expected, "{condition}");
    }
}

#[test]
fn the_lowest_of_several_bounds_counts() {
    let bench = Bench::watermarked();
    let cases = [
        ("a.t > b.t - interval 1 hour AND a.t > b.t - interval 2 hours", "t -7200000 | -"),
        ("a.t > b.t - interval 2 hours AND a.t > b.t - interval 1 month", "t -7200000 | -"),
        ("a.t >= b.t AND a.t > b.t - interval 1 microsecond AND b.t <= a.t", "t -1 | -"),
    ];
    for (condition, expected) in cases {
        assert_eq!(bench.bounds(condition), expected, "{condition}");
    }
}

/// Whether the filter of `join` lets through rows at these times on the side `own` and on the other, in microseconds.
fn matches(join: &Join, own: JoinSide, pairs: &[(i64, i64)]) -> bool {
    let schema = join.schema.as_ref();
    let sides = schema.fields().iter().enumerate().map(|(place, field)| {
        let is_left = place < join.left.schema().fields().len();
        if !field.name().starts_with("t#") {
            return new_null_array(field.data_type(), pairs.len());
        }
        let times = pairs.iter().map(|pair| if is_left == (own == JoinSide::Left) { pair.0 } else { pair.1 });
        Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC"))
    });
    let batch = RecordBatch::try_new(Arc::new(schema.as_arrow().clone()), sides.collect()).unwrap();
    let filter = compile(join.filter.as_ref().unwrap(), schema).unwrap();
    filter.evaluate(&batch, EpochTime::default()).unwrap().as_boolean().true_count() > 0
}

#[test]
fn no_row_that_is_freed_can_match_but_some_soon_after_do() {
    const MICROS: [i64; 9] = [0, 1, 500, 999, 1_000, 499_999, 500_500, 999_999, 1_000_000];
    let bench = Bench::watermarked();
    for (condition, _) in RANGES.iter().chain(SECONDS) {
        let join = bench.join(JoinType::Left, condition);
        let bounds = bounds(&join, &parts(&join));
        let sides = [JoinSide::Left, JoinSide::Right].into_iter().filter_map(|side| Some((side, bounds.of(side)?)));
        let moments =
            |(side, bound)| [1_700_000_000_000, 1_700_000_000_999, 12_345_678].map(|ms: i64| (side, bound, ms));
        for (own, bound, watermark_ms) in sides.flat_map(moments) {
            let freed = (watermark_ms + bound.offset_ms) * 1000;
            // The first time after the watermark, and some more.
            let others = MICROS.map(|micros| watermark_ms * 1000 + 1 + micros);
            let pairs =
                |owns: &[i64]| owns.iter().flat_map(|own| others.map(|other| (*own, other))).collect::<Vec<_>>();
            let before = MICROS.map(|micros| freed - micros);
            assert!(!matches(&join, own, &pairs(&before)), "{condition}: a row freed at {watermark_ms} matches");
            let after = MICROS.map(|micros| freed + 1 + 2 * micros);
            assert!(matches(&join, own, &pairs(&after)), "{condition}: rows stay too long");
        }
    }
}

#[test]
fn a_side_without_event_time_is_freed_by_any_of_its_times() {
    let bench =
        Bench::new(|stream, name| if name == "b" { stream.with_watermark("t", "1 minute") } else { stream.clone() });
    let cases = [
        ("a.t > b.t - interval 1 hour", "t -3600000 | -"),
        ("a.u > b.t - interval 1 hour", "u -3600000 | -"),
        ("a.u > b.t - interval 1 hour AND a.t > b.t - interval 2 hours", "t -7200000 | -"),
        // Nothing is late on the left side, so nothing frees the right one.
        ("a.t <= b.t", "- | -"),
        ("a.u > b.u", "- | -"),
    ];
    for (condition, expected) in cases {
        assert_eq!(bench.bounds(condition), expected, "{condition}");
    }
}

#[test]
fn conditions_are_understood_in_every_session() {
    let settings = [("millstream.ansi.enabled", "true"), ("millstream.session.timeZone", "+02:00")];
    for (key, value) in settings {
        let prepare = |stream: &DataFrame, _: &str| stream.with_watermark("t", "10 minutes");
        let bench = Bench::with(Session::builder().config(key, value), prepare);
        let cases = [
            ("a.t > b.t - interval 1 hour", "t -3600000 | -"),
            ("a.t > b.t - interval 1 hour * 2", "t -7200000 | -"),
            ("b.t - a.t <= interval 1 day", "t -86400001 | -"),
            ("a.t > a.t - (a.t - b.t) - interval 1 hour", "t -3600000 | -"),
            ("a.t > b.t - interval 1 month", "- | -"),
            ("cast(a.t AS bigint) > cast(b.t AS bigint) - 3600", "t -3601000 | -"),
            ("a.t > cast(cast(b.t AS bigint) - 60 AS timestamp)", "t -61000 | -"),
        ];
        for (condition, expected) in cases {
            assert_eq!(bench.bounds(condition), expected, "{key}: {condition}");
        }
    }
}

#[test]
fn a_function_of_the_users_is_not_mistaken_for_arithmetic() {
    let bench = Bench::watermarked();
    let time = super::super::super::expressions::timestamp_type();
    let udf = ScalarUdf::new("spark_cast", vec![time.clone()], time, |columns| Ok(columns[0].clone()));
    bench.session.register_udf(udf);
    assert_eq!(bench.bounds("spark_cast(a.t) > b.t"), "- | -");
}

#[test]
fn what_is_missing_is_said_with_the_columns_of_the_join() {
    let both = Bench::watermarked();
    let none = Bench::new(|stream, _| stream.select(["id", "u"]));
    let cases = [
        (&both, JoinSide::Left, "add a range condition such as `left.t >= right.t - INTERVAL 1 HOUR`, or put"),
        (&both, JoinSide::Right, "add a range condition such as `right.t >= left.t - INTERVAL 1 HOUR`, or put"),
        (
            &none,
            JoinSide::Left,
            "call with_watermark(\"u\", delay) on the right side and add a range condition such as `left.u",
        ),
        (
            &none,
            JoinSide::Right,
            "call with_watermark(\"u\", delay) on the left side and add a range condition such as `right.u",
        ),
    ];
    for (bench, side, expected) in cases {
        let join = bench.join(JoinType::Left, "a.id = b.id");
        let said = remedy(&join, side);
        assert!(said.starts_with(expected), "{said}");
    }
    let timeless = Bench::new(|stream, _| stream.select(["id"])).join(JoinType::Left, "a.id = b.id");
    assert!(remedy(&timeless, JoinSide::Left).contains("`left.time >= right.time - INTERVAL 1 HOUR`"));
}
