//! The names and the text of what the functions build.

use std::time::Duration;

use super::*;

#[test]
fn an_expression_is_named_as_spark_names_it() {
    let cases = [
        (sum("x"), "sum(x)"),
        (count_all(), "count(1)"),
        (count("*"), "count(1)"),
        (count_distinct(["a", "b"]), "count(DISTINCT a, b)"),
        (count_if("a > 1"), "count_if(a > 1)"),
        (avg(col("a") * 2), "avg((a * 2))"),
        (col("a") + 1, "(a + 1)"),
        (1 - col("a"), "(1 - a)"),
        (&col("a") / &col("b"), "(a / b)"),
        (-col("a"), "(- a)"),
        (!col("a"), "(NOT a)"),
        (col("a").cast("timestamp"), "a"),
        ((col("a") + 1).cast("int"), "CAST((a + 1) AS INT)"),
        (try_cast("a", arrow::datatypes::DataType::Int32), "a"),
        (col("t.a"), "a"),
        (col("a").alias("b"), "b"),
        (col("s").field("f"), "f"),
        (col("a").eq("x").and(col("b").gt_eq(2)), "((a = x) AND (b >= 2))"),
        (col("a").lt(1).or("b"), "((a < 1) OR b)"),
        (col("a").eq_null_safe(None::<i32>), "(a <=> NULL)"),
        (col("a").is_null().not(), "(NOT (a IS NULL))"),
        (col("a").isin([1, 2]), "(a IN (1, 2))"),
        (col("a").between(1, 2), "between(a, 1, 2)"),
        (col("a").like("x%"), "a LIKE x%"),
        (col("a").get_item(0), "getitem(a, 0)"),
        (explode(split("value", " ")), "col"),
        (split("value", " "), "split(value,  )"),
        (split_limit("value", ",", 2), "split(value, ,, 2)"),
        (concat_ws("-", ("a", col("b"))), "concat_ws(-, a, b)"),
        (coalesce(("a", lit(0))), "coalesce(a, 0)"),
        (window("t", "5 minutes"), "window"),
        (session_window("t", "5 minutes"), "session_window"),
        (current_timestamp(), "current_timestamp()"),
        (date_trunc("hour", "t"), "date_trunc(hour, t)"),
        (lit("a"), "a"),
        (lit(1.0), "1.0"),
        (call_udf("F", ["a", "b"]), "f(a, b)"),
    ];
    for (expr, expected) in cases {
        assert_eq!(expr.output_name(), expected);
    }
}

#[test]
fn windows_keep_their_durations_as_given() {
    let minute = Duration::from_mins(1);
    let cases = [
        (window("t", "5 minutes"), "window(t, 5 minutes)"),
        (window_sliding("t", "5 minutes", minute), "window(t, 5 minutes, 60000000 microseconds)"),
        (
            window_sliding_from("t", "1 hour", minute, "-15 minutes"),
            "window(t, 1 hour, 60000000 microseconds, -15 minutes)",
        ),
        (session_window("t", col("gap")), "session_window(t, gap)"),
    ];
    for (expr, expected) in cases {
        assert_eq!(expr.to_string(), expected);
    }
}

#[test]
fn a_case_grows_branch_by_branch() {
    let case = when(col("a").gt(1), "x").when("b", "y");
    assert_eq!(case.to_string(), "CASE WHEN (a > 1) THEN x WHEN b THEN y END");
    assert_eq!(case.otherwise(col("c")).to_string(), "CASE WHEN (a > 1) THEN x WHEN b THEN y ELSE c END");
    assert_eq!(case.otherwise(1).otherwise(2).to_string(), format!("otherwise({}, 2)", case.otherwise(1)));
    assert_eq!(col("a").when("b", 1).to_string(), "when(a, b, 1)");
}

#[test]
fn a_struct_names_its_fields_as_its_columns() {
    let built = struct_(("a", col("t.b"), col("c").alias("d"), lit(1)));
    assert_eq!(built.to_string(), "named_struct(a, a, b, t.b, d, c, col4, 1)");
}

#[test]
fn sort_keys_put_nulls_where_spark_does() {
    let cases = [
        (asc("a"), "a ASC NULLS FIRST"),
        (desc("a"), "a DESC NULLS LAST"),
        (col("a").asc_nulls_last(), "a ASC NULLS LAST"),
        (col("a").desc_nulls_first(), "a DESC NULLS FIRST"),
    ];
    for (expr, expected) in cases {
        assert_eq!(expr.to_string(), expected);
    }
}

#[test]
fn an_expression_and_its_arguments_know_the_users_line() {
    let built = [
        (line!(), sum("x")),
        (line!(), col("a").eq(1)),
        (line!(), col("a") + 1),
        (line!(), -col("a")),
        (line!(), concat(["a", "b"])),
        (line!(), when("a", 1).otherwise(2)),
        (line!(), window("t", "5 minutes")),
        (line!(), desc("a")),
        (line!(), col("a").isin(["x"])),
    ];
    for (line, expr) in built {
        assert_eq!((expr.location().file(), expr.location().line()), (file!(), line), "{expr}");
        if let ExprNode::Function { args, .. } = expr.node() {
            assert!(args.iter().all(|arg| arg.location().line() == line), "{expr}");
        }
    }
}

#[test]
fn aggregate_names_are_known_in_any_case() {
    for name in ["count", "SUM", "Percentile", "listagg", "try_sum"] {
        assert!(is_aggregate_name(name), "{name}");
    }
    for name in ["upper", "greatest", "window", ""] {
        assert!(!is_aggregate_name(name), "{name}");
    }
}
