use millstream::prelude::*;

use crate::support::{into_memory, rows, session, sorted, strings, text_stream};

/// SQL text and what it gives, by Spark's rules.
const CASES: &[(&str, &str)] = &[
    ("1 / 2", "0.5"),
    ("7 div 2", "3"),
    ("1 / 0", "NULL"),
    ("7 % 3", "1"),
    ("'2' + 1", "3.0"),
    ("NULL = NULL", "NULL"),
    ("NULL <=> NULL", "true"),
    ("'abc' LIKE 'a%'", "true"),
    ("upper('word')", "WORD"),
    ("length('小明')", "2"),
    ("substring('millstream', 5)", "stream"),
    ("substring('millstream', -6, 3)", "str"),
    ("concat('a', 'b', NULL)", "NULL"),
    ("concat_ws('-', 'a', NULL, 'b')", "a-b"),
    ("split('a,b,,', ',')", "[a, b, , ]"),
    ("split('a1b22c', '[0-9]+')", "[a, b, c]"),
    ("split('a,b,c', ',', 2)", "[a, b,c]"),
    ("element_at(array('a', 'b'), 1)", "a"),
    ("element_at(array('a', 'b'), -1)", "b"),
    ("element_at(array('a', 'b'), 3)", "NULL"),
    ("size(array(1, 2, 3))", "3"),
    ("CAST('12' AS INT)", "12"),
    ("CAST('twelve' AS INT)", "NULL"),
    ("CAST(1.9 AS INT)", "1"),
    ("CAST('2021-10-01 09:30:00' AS TIMESTAMP)", "2021-10-01T09:30:00Z"),
    ("CAST('2021-10-01' AS DATE) + INTERVAL 1 DAY", "2021-10-02"),
    ("CAST('2021-10-01 09:30:00' AS TIMESTAMP) + INTERVAL 1 HOUR", "2021-10-01T10:30:00Z"),
    ("date_format(TIMESTAMP '2021-10-01 09:30:00', 'yyyy/MM/dd HH:mm')", "2021/10/01 09:30"),
    ("to_timestamp('01.10.2021 09:30', 'dd.MM.yyyy HH:mm')", "2021-10-01T09:30:00Z"),
    ("hour(TIMESTAMP '2021-10-01 09:30:00')", "9"),
    ("regexp_extract('id-42', '([0-9]+)', 1)", "42"),
    ("coalesce(NULL, 'x')", "x"),
    ("CASE WHEN 1 > 2 THEN 'a' ELSE 'b' END", "b"),
    ("if(true, 1, 2)", "1"),
    ("1 BETWEEN 0 AND 2", "true"),
    ("3 IN (1, 2)", "false"),
    ("abs(-3)", "3"),
    ("round(2.5)", "3"),
    ("greatest(1, NULL, 3)", "3"),
    ("named_struct('a', 1).a", "1"),
];

#[test]
fn expressions_follow_sparks_rules_in_sql_text() {
    let session = session(1);
    let mut wrong = Vec::new();
    for (text, expected) in CASES {
        match session.sql(format!("SELECT {text} AS x")).collect() {
            Ok(batches) => {
                let found = crate::support::lines(&batches);
                if found != [*expected] {
                    wrong.push(format!("{text}: {found:?} instead of {expected:?}"));
                }
            }
            Err(error) => wrong.push(format!("{text}: {error}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The same expressions over a stream give the same values: no constant folding hides a difference.
#[test]
fn expressions_give_the_same_on_a_stream() {
    let session = session(1);
    let lines = text_stream(&session);
    let mut wrong = Vec::new();
    for (text, expected) in CASES {
        let frame = lines.to_df().select([expr(*text).alias("x")]);
        let query = into_memory(&frame, "found", OutputMode::Append);
        lines.add_rows([strings(&["row"])]).unwrap();
        match query.process_all_available() {
            Ok(()) => {
                let found = rows(&session.table("found"));
                if found.iter().any(|value| value != expected) {
                    wrong.push(format!("{text}: {found:?} instead of {expected:?}"));
                }
            }
            Err(error) => wrong.push(format!("{text}: {error}")),
        }
        query.stop().unwrap();
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn columns_are_found_without_case_and_keep_it() {
    let session = session(1);
    let frame = session.sql("SELECT 1 AS userId").select([col("USERID")]);
    assert_eq!(frame.schema().unwrap().field(0).name(), "USERID");
    assert_eq!(session.sql("SELECT UserId FROM (SELECT 1 AS userId)").count_rows().unwrap(), 1);
}

#[test]
fn explode_drops_empty_arrays_and_explode_outer_keeps_them() {
    let session = session(2);
    let lines = text_stream(&session);
    let lists = lines
        .to_df()
        .select((col("value"), expr("CASE WHEN value = 'none' THEN NULL ELSE split(value, ' ') END").alias("w")));
    let dropped = into_memory(&lists.select(("value", explode("w"))), "dropped", OutputMode::Append);
    let kept = into_memory(&lists.select(("value", explode_outer("w").alias("x"))), "kept", OutputMode::Append);
    lines.add_rows([strings(&["a b", "none"])]).unwrap();
    dropped.process_all_available().unwrap();
    kept.process_all_available().unwrap();
    assert_eq!(sorted(&session.table("dropped")), ["a b|a", "a b|b"]);
    assert_eq!(sorted(&session.table("kept")), ["a b|a", "a b|b", "none|NULL"]);
    assert_eq!(session.table("dropped").schema().unwrap().field(1).name(), "col");
    session.stop().unwrap();
}

#[test]
fn select_expr_with_column_drop_and_rename() {
    let session = session(1);
    let frame = session.sql("SELECT 1 AS a, 'x' AS b");
    let shaped = frame.with_column("c", col("a") + 1).with_column("A", lit(5)).drop("b").with_column_renamed("c", "d");
    assert_eq!(rows(&shaped), ["5|2"]);
    assert_eq!(shaped.schema().unwrap().field(1).name(), "d");
    assert_eq!(rows(&frame.select_expr(["a + 1 AS n", "upper(b)"])), ["2|X"]);
    assert_eq!(rows(&frame.select(["*"])), ["1|x"]);
}
