//! Conditions as SQL text over two small streams `a` and `b`, and what is found in them.

use datafusion::logical_expr::{Join, JoinType, LogicalPlan as TypedPlan, LogicalPlanBuilder};

use super::super::expressions::ExpressionResolver;
use super::super::optimize::optimize_stream;
use super::super::relations::{Resolved, Resolver};
use super::super::with_deep_stack;
use super::*;
use crate::expr::ExprNode;
use crate::prelude::*;
use conditions::JoinParts;

/// The streams `a` and `b` that most conditions read: `t` is watermarked, `u` and the others are not.
const COLUMNS: &str = "id BIGINT, t TIMESTAMP, u TIMESTAMP, n BIGINT, word STRING, day DATE";

/// How the two sides are made of streams of those columns.
struct Bench {
    session: Session,
    left: DataFrame,
    right: DataFrame,
}

impl Bench {
    fn new(prepare: impl Fn(&DataFrame, &str) -> DataFrame) -> Self {
        Self::with(Session::builder(), prepare)
    }

    fn with(session: SessionBuilder, prepare: impl Fn(&DataFrame, &str) -> DataFrame) -> Self {
        let session = session.build().unwrap();
        let side = |name: &str| prepare(&MemoryStream::new(&session, COLUMNS).to_df(), name).alias(name);
        let (left, right) = (side("a"), side("b"));
        Self { session, left, right }
    }

    /// Both sides watermarked on `t`.
    fn watermarked() -> Self {
        Self::new(|stream, _| stream.with_watermark("t", "10 minutes"))
    }

    fn join(&self, kind: JoinType, condition: &str) -> Join {
        let plan = with_deep_stack(|| Ok(joined(&self.session, [&self.left, &self.right], kind, condition).plan));
        as_join(plan.unwrap())
    }

    /// The bounds as text, which have to be the same before and after optimisation.
    fn bounds(&self, condition: &str) -> String {
        let join = self.join(JoinType::Left, &format!("a.id = b.id AND {condition}"));
        let before = shown_bounds(&join);
        let optimized = with_deep_stack(|| optimize_stream(TypedPlan::Join(join)));
        assert_eq!(shown_bounds(&as_join(optimized.unwrap())), before, "after optimisation: {condition}");
        before
    }

    fn parts(&self, condition: &str) -> [String; 4] {
        shown_parts(&parts(&self.join(JoinType::Left, condition)))
    }
}

fn joined(session: &Session, sides: [&DataFrame; 2], kind: JoinType, condition: &str) -> Resolved {
    let context = session.plan_context();
    let mut resolver = Resolver::new(&context);
    let [left, right] = sides.map(|side| resolver.resolve(side.plan()).unwrap());
    let mut scope = left.scope.clone();
    scope.columns.extend(right.scope.columns.iter().cloned());
    let schema = left.plan.schema().join(right.plan.schema()).unwrap();
    let registry = &resolver.registry;
    let resolver = ExpressionResolver { scope: &scope, schema: &schema, registry, context: &context };
    let condition = resolver.condition(&Expr::new(ExprNode::Sql(condition.to_string()))).unwrap();
    let builder = LogicalPlanBuilder::from(left.plan).join_on(right.plan, kind, [condition]);
    Resolved { plan: builder.and_then(LogicalPlanBuilder::build).unwrap(), scope, is_streaming: true }
}

/// The topmost join of a plan.
fn as_join(plan: TypedPlan) -> Join {
    match plan {
        TypedPlan::Join(join) => join,
        other => as_join(other.inputs()[0].clone()),
    }
}

fn shown_bounds(join: &Join) -> String {
    let found = bounds(join, &parts(join));
    let side = |bound: &Option<SideBound>| match bound {
        None => "-".to_string(),
        Some(SideBound { value: BoundValue::Key(key), offset_ms }) => format!("key {key} {offset_ms}"),
        Some(SideBound { value: BoundValue::Column(name), offset_ms }) => {
            format!("{} {offset_ms}", crate::plan::datafusion::event_time::shown(name))
        }
    };
    format!("{} | {}", side(&found.left), side(&found.right))
}

/// Each class of conjuncts as text, without the numbers of internal names but with the sides they are of.
fn shown_parts(parts: &JoinParts) -> [String; 4] {
    let all = |exprs: &[datafusion::logical_expr::Expr]| {
        exprs.iter().map(|expr| plain(&expr.to_string())).collect::<Vec<_>>().join("; ")
    };
    let key = |key: &KeyPair| {
        let equals = if key.null_safe { "<=>" } else { "=" };
        format!("{} {equals} {}", plain(&key.left.to_string()), plain(&key.right.to_string()))
    };
    let keys: Vec<String> = parts.keys.iter().map(key).collect();
    [keys.join("; "), all(&parts.left_only), all(&parts.right_only), all(&parts.residual)]
}

/// `t#2` as `a.t` and `t#9` as `b.t`.
fn plain(text: &str) -> String {
    let columns = COLUMNS.split(", ").map(|column| column.split_once(' ').unwrap().0).enumerate();
    columns.fold(text.to_string(), |text, (place, name)| {
        let (left, right) = (place + 1, place + 8); // a table takes a number itself
        text.replace(&format!("{name}#{right}"), &format!("b.{name}"))
            .replace(&format!("{name}#{left}"), &format!("a.{name}"))
    })
}

#[test]
fn conjuncts_go_by_the_sides_they_read() {
    let bench = Bench::watermarked();
    let cases = [
        ("a.id = b.id", ["a.id = b.id", "", "", ""]),
        ("b.id = a.id", ["a.id = b.id", "", "", ""]),
        ("a.id <=> b.id", ["a.id <=> b.id", "", "", ""]),
        ("equal_null(b.id, a.id)", ["a.id <=> b.id", "", "", ""]),
        ("NOT (a.id != b.id)", ["a.id = b.id", "", "", ""]),
        ("a.id = b.id AND a.word = b.word", ["a.id = b.id; a.word = b.word", "", "", ""]),
        ("a.id + 1 = b.id * b.n", ["a.id + Int64(1) = b.id * b.n", "", "", ""]),
        ("a.id - b.id = 0", ["", "", "", "a.id - b.id = Int64(0)"]),
        ("a.id = b.id AND a.n > 1 AND b.n > 2", ["a.id = b.id", "a.n > Int64(1)", "b.n > Int64(2)", ""]),
        ("a.id = 5 AND b.id = 5", ["", "a.id = Int64(5)", "b.id = Int64(5)", ""]),
        ("a.id = a.n AND a.id = b.n", ["a.id = b.n", "a.id = a.n", "", ""]),
        ("a.n < b.n OR a.id = b.id", ["", "", "", "a.n < b.n OR a.id = b.id"]),
        ("a.n BETWEEN b.id AND b.n", ["", "", "", "a.n >= b.id; a.n <= b.n"]),
        ("a.n BETWEEN 1 AND b.n", ["", "a.n >= Int64(1)", "", "a.n <= b.n"]),
        ("a.n NOT BETWEEN b.id AND b.n", ["", "", "", "NOT a.n >= b.id AND a.n <= b.n"]),
        ("TRUE AND a.id = b.id", ["a.id = b.id", "", "", ""]),
        ("TRUE", ["", "", "", ""]),
        ("FALSE", ["", "", "", "Boolean(false)"]),
        ("a.t = b.t AND a.t < current_timestamp()", ["a.t = b.t", "", "", "a.t < current_timestamp()"]),
        ("a.t = b.t - (b.t - current_timestamp())", ["", "", "", "?"]),
        ("a.word IS NULL AND b.word IS NOT NULL", ["", "a.word IS NULL", "b.word IS NOT NULL", ""]),
    ];
    for (condition, mut expected) in cases {
        let found = bench.parts(condition);
        if expected[3] == "?" {
            assert_eq!(found[..3], expected[..3], "{condition}");
            expected[3] = &found[3];
        }
        assert_eq!(found, expected, "{condition}");
    }
}

#[test]
fn pairs_of_a_join_are_keys_by_its_rule_for_nulls() {
    use datafusion::common::{JoinConstraint, NullEquality};
    let join = Bench::watermarked().join(JoinType::Inner, "a.id = b.id AND a.n > b.n");
    let [keys, ..] = shown_parts(&parts(&join));
    assert_eq!(keys, "a.id = b.id");
    let key = parts(&join).keys.remove(0);
    for (null_equality, expected) in
        [(NullEquality::NullEqualsNothing, "a.id = b.id"), (NullEquality::NullEqualsNull, "a.id <=> b.id")]
    {
        let (left, right) = (join.left.clone(), join.right.clone());
        let on = vec![(key.left.clone(), key.right.clone())];
        let constraint = JoinConstraint::On;
        let join = Join::try_new(left, right, on, None, JoinType::Inner, constraint, null_equality, false).unwrap();
        assert_eq!(shown_parts(&parts(&join)), [expected, "", "", ""]);
    }
}

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

#[test]
fn ranges_bound_each_side_by_the_watermark_of_the_other() {
    let bench = Bench::watermarked();
    let cases = [
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
        // The lowest of several bounds.
        ("a.t > b.t - interval 1 hour AND a.t > b.t - interval 2 hours", "t -7200000 | -"),
        ("a.t > b.t - interval 2 hours AND a.t > b.t - interval 1 month", "t -7200000 | -"),
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
    for (condition, expected) in cases {
        assert_eq!(bench.bounds(condition), expected, "{condition}");
    }
}

#[test]
fn seconds_since_1970_are_times_less_what_casts_cut_off() {
    let bench = Bench::watermarked();
    let cases = [
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
    for (condition, expected) in cases {
        assert_eq!(bench.bounds(condition), expected, "{condition}");
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
    let time = super::super::expressions::timestamp_type();
    let udf = ScalarUdf::new("spark_cast", vec![time.clone()], time, |columns| Ok(columns[0].clone()));
    bench.session.register_udf(udf);
    assert_eq!(bench.bounds("spark_cast(a.t) > b.t"), "- | -");
}

#[test]
fn what_is_missing_is_said_with_the_columns_of_the_join() {
    let both = Bench::watermarked();
    let none = Bench::new(|stream, _| stream.select(["id", "u"]));
    let cases = [
        (&both, Side::Left, "add a range condition such as `left.t >= right.t - INTERVAL 1 HOUR`, or put"),
        (&both, Side::Right, "add a range condition such as `right.t >= left.t - INTERVAL 1 HOUR`, or put"),
        (
            &none,
            Side::Left,
            "call with_watermark(\"u\", delay) on the right side and add a range condition such as `left.u",
        ),
        (
            &none,
            Side::Right,
            "call with_watermark(\"u\", delay) on the left side and add a range condition such as `right.u",
        ),
    ];
    for (bench, side, expected) in cases {
        let join = bench.join(JoinType::Left, "a.id = b.id");
        let said = remedy(&join, side);
        assert!(said.starts_with(expected), "{said}");
    }
    let timeless = Bench::new(|stream, _| stream.select(["id"])).join(JoinType::Left, "a.id = b.id");
    assert!(remedy(&timeless, Side::Left).contains("`left.time >= right.time - INTERVAL 1 HOUR`"));
}
