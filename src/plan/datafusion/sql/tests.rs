//! SQL text beside the tree it becomes.

use super::*;

fn expression(text: &str) -> Result<Expr> {
    parse_expression(text, Location::caller())
}

/// The plan, or what is beyond and which tables it reads, or the error.
fn query(text: &str) -> String {
    match parse_query(text, Location::caller()) {
        Ok(SqlOutcome::Plan(plan)) => plan.to_string(),
        Ok(SqlOutcome::Beyond { construct, tables, .. }) => format!("beyond: {construct} over {tables:?}"),
        Err(error) => error.message().to_string(),
    }
}

fn all_are(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        assert_eq!(expression(text).unwrap().to_string(), *expected, "{text}");
    }
}

/// Each case is a query and the lines of its plan.
fn all_plans_are(cases: &[(&str, &[&str])]) {
    for (text, lines) in cases {
        assert_eq!(query(text).lines().collect::<Vec<_>>(), *lines, "{text}");
    }
}

#[test]
fn names_and_orders_are_kept() {
    all_are(&[
        ("a", "a"),
        ("T.x.y", "T.x.y"),
        ("`a b`.`c``d`", "a b.c`d"),
        ("*", "*"),
        ("t.*", "t.*"),
        ("a AS b", "a AS b"),
        ("a + 1 b;", "(a + 1) AS b"),
        ("a DESC", "a DESC NULLS LAST"),
        ("a ASC", "a ASC NULLS FIRST"),
        ("a nulls last", "a ASC NULLS LAST"),
        ("count(*) desc nulls first", "count(1) DESC NULLS FIRST"),
    ]);
    for name in
        ["timestamp", "date", "interval", "value", "key", "count", "user", "start", "end", "year", "window", "üx"]
    {
        assert!(matches!(expression(name).unwrap().node(), ExprNode::Column(parts) if *parts == [name]), "{name}");
    }
}

#[test]
fn operators_bind_as_in_spark() {
    all_are(&[
        ("1 + 2 * 3", "(1 + (2 * 3))"),
        ("a || b + 1", "(concat(a, b) + 1)"),
        ("'x' || a * 2", "concat(x, (a * 2))"),
        ("a div b * 2", "((a DIV b) * 2)"),
        ("a % 2 - -1", "((a % 2) - -1)"),
        ("- a * b", "((- a) * b)"),
        ("a -1", "(a - 1)"),
        ("a & b | c ^ ~d", "|(&(a, b), ^(c, ~(d)))"),
        ("a << 2", "shiftleft(a, 2)"),
        ("not a = b and !c or d", "(((NOT (a = b)) AND (NOT c)) OR d)"),
        ("a == b or a <> c", "((a = b) OR (a != c))"),
        ("a <=> b", "(a <=> b)"),
        ("a < b and b <= c", "((a < b) AND (b <= c))"),
        ("a = b is null", "((a = b) IS NULL)"),
        ("a is not null", "(a IS NOT NULL)"),
        ("a is true and b is not false", "(istrue(a) AND isnotfalse(b))"),
        ("a is not distinct from b and c", "((a <=> b) AND c)"),
        ("a is distinct from b + 1 or c", "((NOT (a <=> (b + 1))) OR c)"),
        ("a between 1 and 2 and b", "(between(a, 1, 2) AND b)"),
        ("a not between 1 and 2", "(NOT between(a, 1, 2))"),
        ("a in (1, 'x')", "(a IN (1, x))"),
        ("a not in (1)", "(NOT (a IN (1)))"),
        ("a like 'x%'", "a LIKE x%"),
        ("a not like 'x!%' escape '!'", "(NOT like(a, x!%, !))"),
        ("a ilike 'x' or a rlike 'y' or a not regexp 'z'", "((ilike(a, x) OR rlike(a, y)) OR (NOT rlike(a, z)))"),
        ("((a))", "a"),
    ]);
}

#[test]
fn a_long_chain_of_operators_is_no_deep_recursion() {
    let chain = vec!["a = 1"; 1000].join(" or ");
    assert!(expression(&chain).is_ok());
}

#[test]
fn constants_have_sparks_types_and_escapes() {
    let cases = [
        ("1", "Int(1)"),
        ("-2147483648", "Int(-2147483648)"),
        ("2147483648", "Long(2147483648)"),
        ("1L", "Long(1)"),
        ("1l", "Long(1)"),
        ("1.50", "Decimal(150, 3, 2)"),
        ("1e3", "Double(1000.0)"),
        ("1.5D", "Double(1.5)"),
        ("1.5bd", "Decimal(15, 2, 1)"),
        ("true", "Boolean(true)"),
        ("NULL", "Null"),
        ("'it''s'", "String(\"it's\")"),
        (r"'it\'s'", "String(\"it's\")"),
        ("'a' 'b'", "String(\"ab\")"),
        (r#""say ""hi""""#, r#"String("say \"hi\"")"#),
        (r"'\\s+'", r#"String("\\s+")"#),
        (r"r'\s+'", r#"String("\\s+")"#),
        ("X'1AF'", "Binary([1, 175])"),
        ("DATE '1970-01-31'", "Date(30)"),
        ("INTERVAL 1 HOUR", "Interval { months: 0, days: 0, micros: 3600000000 }"),
        ("interval '5' minute", "Interval { months: 0, days: 0, micros: 300000000 }"),
        ("interval 1 day 5 seconds", "Interval { months: 0, days: 1, micros: 5000000 }"),
        ("INTERVAL '1 hour 30 minutes'", "Interval { months: 0, days: 0, micros: 5400000000 }"),
        ("INTERVAL '0 00:05:00' DAY TO SECOND", "Interval { months: 0, days: 0, micros: 300000000 }"),
        ("interval '-1-2' year to month", "Interval { months: -14, days: 0, micros: 0 }"),
        ("interval -1 week", "Interval { months: 0, days: -7, micros: 0 }"),
    ];
    for (text, expected) in cases {
        match expression(text).unwrap().node() {
            ExprNode::Literal(literal) => assert_eq!(format!("{literal:?}"), expected, "{text}"),
            other => panic!("{text} is {other:?}"),
        }
    }
    all_are(&[
        ("1.5 d", "1.5 AS d"),
        ("interval 1 hour h", "INTERVAL 0 months 0 days 3600000000 microseconds AS h"),
        ("interval - 5", "(interval - 5)"),
        ("TIMESTAMP '2024-01-31 10:00:00'", "CAST(2024-01-31 10:00:00 AS TIMESTAMP)"),
        ("TIMESTAMP_NTZ '2024-01-31'", "CAST(2024-01-31 AS TIMESTAMP_NTZ)"),
        ("t <= s + interval 1 hour AND b", "((t <= (s + INTERVAL 0 months 0 days 3600000000 microseconds)) AND b)"),
    ]);
}

#[test]
fn functions_and_their_special_forms_are_calls() {
    all_are(&[
        ("Upper(a)", "upper(a)"),
        ("count(*)", "count(1)"),
        ("count(distinct a, b)", "count(DISTINCT a, b)"),
        ("sum(a) filter (where b > 1)", "sum(a) FILTER (WHERE (b > 1))"),
        ("first(a) ignore nulls", "first(a, true)"),
        ("last(a ignore nulls)", "last(a, true)"),
        ("current_timestamp", "current_timestamp()"),
        ("current_date()", "current_date()"),
        ("extract(year from t)", "date_part(YEAR, t)"),
        ("substring(x from 2 for 3)", "substring(x, 2, 3)"),
        ("substr(x, 2)", "substring(x, 2)"),
        ("position('a' in b)", "position(a, b)"),
        ("trim(both 'x' from a)", "trim(a, x)"),
        ("trim(trailing 'x' from a)", "rtrim(a, x)"),
        ("overlay(a placing b from 2)", "overlay(a, b, 2)"),
        ("ceil(a) + floor(b, 2)", "(ceil(a) + floor(b, 2))"),
        ("date_trunc('hour', t)", "date_trunc(hour, t)"),
        ("if(a, 1, 2)", "if(a, 1, 2)"),
        ("left(a, 2)", "left(a, 2)"),
        ("window(t, '10 minutes', '5 minutes', '2 minutes')", "window(t, 10 minutes, 5 minutes, 2 minutes)"),
        ("window(t, interval 10 minutes)", "window(t, INTERVAL 0 months 0 days 600000000 microseconds)"),
        (
            "session_window(t, case when a then '5 seconds' else '10 seconds' end).start",
            "session_window(t, CASE WHEN a THEN 5 seconds ELSE 10 seconds END).start",
        ),
        ("window_time(window)", "window_time(window)"),
        ("explode(split(value, ' ')) as word", "explode(split(value,  )) AS word"),
        ("struct(a, b + 1 as c, d + 1)", "named_struct(a, a, c, (b + 1), col3, (d + 1))"),
        ("array(1, 2)", "array(1, 2)"),
        ("map('k', 1)['k']", "getitem(map(k, 1), k)"),
        ("s.arr[i + 1]['k'].f", "getitem(getitem(s.arr, (i + 1)), k).f"),
        ("window(t, '1 day').end", "window(t, 1 day).end"),
        ("case when a then 1 else 2 end", "CASE WHEN a THEN 1 ELSE 2 END"),
        ("case a when 1 then 'x' end", "CASE WHEN (a = 1) THEN x END"),
        ("cast(a as decimal(10, 2))", "CAST(a AS DECIMAL(10,2))"),
        ("try_cast(a as int)", "TRY_CAST(a AS INT)"),
        ("a::int + 1", "(CAST(a AS INT) + 1)"),
        ("cast(a as map<string, array<struct<x: int>>>)", "CAST(a AS MAP<STRING, ARRAY<STRUCT<X: INT>>>)"),
    ]);
}

#[test]
fn a_wrong_expression_is_refused_with_its_place() {
    let cases = [
        ("a +", "SQL: Expected: an expression, found: EOF, in `a +`"),
        ("a b c", "SQL: Expected: EOF, found: c at Line: 1, Column: 5, in `a b c`"),
        ("'a", "SQL: Unterminated string literal at Line: 1, Column: 1, in `'a`"),
        ("DATE '2024-13-31'", "SQL: DATE '2024-13-31' is not a date; write it as yyyy-MM-dd"),
        ("TIMESTAMP 'soon'", "SQL: TIMESTAMP 'soon' is not a time; write it as yyyy-MM-dd HH:mm:ss"),
        (
            "a in (select 1)",
            "SQL: IN (subquery) cannot be part of an expression; only a whole query over static tables, given to \
             sql(…), can hold it",
        ),
    ];
    for (text, expected) in cases {
        let error = expression(text).unwrap_err();
        assert_eq!(error.message(), expected);
        assert!(error.location().is_some());
    }
    assert!(expression("interval '5 minuts'").unwrap_err().message().contains("did you mean `minute`?"));
}

#[test]
fn an_analytic_window_is_kept_by_its_text() {
    for text in ["rank() OVER (ORDER BY a)", "rank() over (order by a) + 1 as r"] {
        match expression(text).unwrap().node() {
            ExprNode::Unsupported(call) => assert_eq!(call, "rank() OVER (ORDER BY a)"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_select_is_a_projection_over_what_it_reads() {
    all_plans_are(&[
        ("select a, b + 1 as c from t where a > 1", &["Project [a, (b + 1) AS c]", "  Filter (a > 1)", "    Table t"]),
        ("select t.* from db.t", &["Project [t.*]", "  Table db.t"]),
        ("select distinct a from t;", &["Deduplicate []", "  Project [a]", "    Table t"]),
        ("select 1, 'a' as b", &["Project [1, a AS b]", "  Rows 1"]),
        ("select a from t limit 3 offset 2", &["Limit 3 offset 2", "  Project [a]", "    Table t"]),
        ("select a from t offset 2", &["Limit all offset 2", "  Project [a]", "    Table t"]),
        ("select a from t limit all", &["Project [a]", "  Table t"]),
        ("select /*+ broadcast(t) */ a from t", &["Project [a]", "  Table t"]),
        (
            "select w.word, id from t lateral view outer explode(xs) w as word where word <> ''",
            &[
                "Project [word, id]",
                "  Filter (word != )",
                "    Project [*, explode_outer(xs) AS word]",
                "      Table t",
            ],
        ),
    ]);
}

#[test]
fn from_joins_tables_queries_and_rows() {
    all_plans_are(&[
        (
            "select * from t, u as v",
            &["Project [*]", "  Join Inner Cross", "    Table t", "    Alias v", "      Table u"],
        ),
        (
            "select * from t left join u on t.a = u.a",
            &["Project [*]", "  Join Left Condition((t.a = u.a))", "    Table t", "    Table u"],
        ),
        (
            "select * from t join u using (a, `b c`)",
            &["Project [*]", "  Join Inner Using([\"a\", \"b c\"])", "    Table t", "    Table u"],
        ),
        (
            "select * from t left anti join u on t.a = u.a",
            &["Project [*]", "  Join LeftAnti Condition((t.a = u.a))", "    Table t", "    Table u"],
        ),
        ("select x.a from (select a from t) as x", &["Project [x.a]", "  Alias x", "    Project [a]", "      Table t"]),
        (
            "with x as (select a from t), y(b) as (select a from x) select b from y",
            &[
                "Project [b]",
                "  Alias y",
                "    Project [a AS b]",
                "      Project [a]",
                "        Alias x",
                "          Project [a]",
                "            Table t",
            ],
        ),
        (
            "select id from values (1, 'a'), (2, 'b') as v(id, w)",
            &[
                "Project [id]",
                "  Alias v",
                "    Project [col1 AS id, col2 AS w]",
                "      Union",
                "        Project [1 AS col1, a AS col2]",
                "          Rows 1",
                "        Project [2 AS col1, b AS col2]",
                "          Rows 1",
            ],
        ),
    ]);
}

#[test]
fn join_words_are_join_types() {
    let cases = [
        ("join", "Inner"),
        ("inner join", "Inner"),
        ("left outer join", "Left"),
        ("right join", "Right"),
        ("full outer join", "Full"),
        ("left semi join", "LeftSemi"),
        ("semi join", "LeftSemi"),
        ("anti join", "LeftAnti"),
    ];
    for (words, kind) in cases {
        let plan = query(&format!("select * from t {words} u on t.a = u.a"));
        assert!(plan.contains(&format!("Join {kind} Condition")), "{words}: {plan}");
    }
    assert!(query("select * from t cross join u").contains("Join Inner Cross"));
}

#[test]
fn groups_have_keys_by_name_place_or_alias() {
    all_plans_are(&[
        (
            "select word, count(*) from t group by word",
            &["Aggregate Simple by [word] show [word, count(1)]", "  Table t"],
        ),
        ("select word from t group by word", &["Aggregate Simple by [word] show [word]", "  Table t"]),
        ("select sum(a) + 1 from t", &["Aggregate Simple by [] show [(sum(a) + 1)]", "  Table t"]),
        ("select count(*) from t group by ()", &["Aggregate Simple by [] show [count(1)]", "  Table t"]),
        (
            "select upper(w) as u, max(a) from t group by 1",
            &["Aggregate Simple by [upper(w)] show [upper(w) AS u, max(a)]", "  Table t"],
        ),
        (
            "select upper(w) as u, max(a) from t group by u",
            &["Aggregate Simple by [upper(w)] show [upper(w) AS u, max(a)]", "  Table t"],
        ),
        (
            "select upper(w) as w, max(a) from t group by w",
            &["Aggregate Simple by [w] show [upper(w) AS w, max(a)]", "  Table t"],
        ),
        ("select a, max(b) from t group by all", &["Aggregate Simple by [a] show [a, max(b)]", "  Table t"]),
        (
            "select a, count(*) as n from t group by a having n > 5 and a > 1",
            &["Aggregate Simple by [a] show [a, count(1) AS n] having ((count(1) > 5) AND (a > 1))", "  Table t"],
        ),
        (
            "select a, b, count(*) from t group by rollup(a, b)",
            &["Aggregate Rollup by [a, b] show [a, b, count(1)]", "  Table t"],
        ),
        ("select a, count(*) from t group by a with cube", &["Aggregate Cube by [a] show [a, count(1)]", "  Table t"]),
        (
            "select window.start, count(*) from t group by window(ts, '10 minutes')",
            &["Aggregate Simple by [window(ts, 10 minutes)] show [window.start, count(1)]", "  Table t"],
        ),
    ]);
}

#[test]
fn rows_are_sorted_above_the_list_where_it_suffices_and_below_it_otherwise() {
    all_plans_are(&[
        (
            "select a, b as c from t order by 2 desc, a + 1",
            &["Sort [c DESC NULLS LAST, (a + 1) ASC NULLS FIRST]", "  Project [a, b AS c]", "    Table t"],
        ),
        (
            "select b as c from t order by b nulls last",
            &["Sort [c ASC NULLS LAST]", "  Project [b AS c]", "    Table t"],
        ),
        (
            "select a as b, b as a from t order by a",
            &["Sort [a ASC NULLS FIRST]", "  Project [a AS b, b AS a]", "    Table t"],
        ),
        ("select * from t order by b", &["Sort [b ASC NULLS FIRST]", "  Project [*]", "    Table t"]),
        (
            "select t.a, u.a from t, u order by 2, t.a",
            &[
                "Sort [u.a ASC NULLS FIRST, t.a ASC NULLS FIRST]",
                "  Project [t.a, u.a]",
                "    Join Inner Cross",
                "      Table t",
                "      Table u",
            ],
        ),
        (
            "select a as x from t order by x, b",
            &["Project [a AS x]", "  Sort [a ASC NULLS FIRST, b ASC NULLS FIRST]", "    Table t"],
        ),
        (
            "select a, count(*) from t group by a order by count(*) desc limit 1",
            &[
                "Limit 1 offset 0",
                "  Sort [count(1) DESC NULLS LAST]",
                "    Aggregate Simple by [a] show [a, count(1)]",
                "      Table t",
            ],
        ),
        (
            "select a, count(*) n from t group by a order by max(b), n",
            &[
                "Project [a, n]",
                "  Sort [(order 0) ASC NULLS FIRST, n ASC NULLS FIRST]",
                "    Aggregate Simple by [a] show [a, count(1) AS n, max(b) AS (order 0)]",
                "      Table t",
            ],
        ),
        (
            "select distinct a from t order by a",
            &["Sort [a ASC NULLS FIRST]", "  Deduplicate []", "    Project [a]", "      Table t"],
        ),
    ]);
}

#[test]
fn set_operations_drop_repeats_unless_all_are_wanted() {
    all_plans_are(&[
        (
            "select a from t union all select a from u",
            &["Union", "  Project [a]", "    Table t", "  Project [a]", "    Table u"],
        ),
        (
            "select t.a from t union (select b from u) order by 1",
            &[
                "Sort [a ASC NULLS FIRST]",
                "  Deduplicate []",
                "    Union",
                "      Project [t.a]",
                "        Table t",
                "      Project [b]",
                "        Table u",
            ],
        ),
        (
            "select a from t intersect select a from u",
            &["Intersect", "  Project [a]", "    Table t", "  Project [a]", "    Table u"],
        ),
        (
            "select a from t minus select a from u",
            &["Except", "  Project [a]", "    Table t", "  Project [a]", "    Table u"],
        ),
    ]);
}

#[test]
fn what_only_static_tables_can_run_is_named_with_its_tables() {
    let cases = [
        ("select rank() over (order by a) from t, s.u", "rank() OVER (ORDER BY a) over [\"t\", \"s.u\"]"),
        ("select a from t where a in (select a from u)", "IN (subquery) over [\"t\", \"u\"]"),
        ("select a from t where exists (select 1 from u)", "EXISTS (subquery) over [\"t\", \"u\"]"),
        ("with x as (select 1 from b) select (select 1 from x) from t", "a scalar subquery over [\"b\", \"t\"]"),
        ("select a from t qualify rank() over (order by a) = 1", "QUALIFY over [\"t\"]"),
        ("select * from t tablesample (10 percent)", "TABLESAMPLE over [\"t\"]"),
        ("select * from t natural join u", "NATURAL JOIN over [\"t\", \"u\"]"),
        ("select a from t except all select a from u", "EXCEPT ALL over [\"t\", \"u\"]"),
        ("select a from t group by a, grouping sets ((a))", "GROUPING SETS ((a)) over [\"t\"]"),
        ("select * except (a) from t", "* EXCEPT (a) over [\"t\"]"),
        ("select * from t order by 1", "ORDER BY 1 behind `*` over [\"t\"]"),
        ("select * from t lateral view posexplode(xs) p as i, x", "LATERAL VIEW posexplode(xs) p AS i, x over [\"t\"]"),
    ];
    for (text, expected) in cases {
        assert_eq!(query(text), format!("beyond: {expected}"), "{text}");
    }
}

#[test]
fn a_wrong_query_is_refused_with_the_remedy() {
    let cases = [
        ("select a form t", "SQL: Expected: EOF, found: t at Line: 1, Column: 15, in `select a form t`"),
        (
            "insert into t select 1",
            "SQL: INSERT is not a query; write a SELECT; tables are written with write() and write_stream()",
        ),
        ("select *", "SQL: `*` needs a FROM"),
        ("select a from t order by 3", "SQL: ORDER BY 3 is no place in the select list, which ends at 1"),
        ("select a, b from t group by 0", "SQL: GROUP BY 0 is no place in the select list, which ends at 2"),
        ("select * from t left join u", "SQL: `LEFT JOIN u` needs ON or USING"),
        ("with x(a, b) as (select a from t) select * from x", "SQL: x (a, b) names 2 columns of 1"),
        ("select a from t limit 'x'", "SQL: LIMIT 'x' is not a whole number of rows"),
        (
            "select distinct a from t order by b",
            "SQL: with SELECT DISTINCT, ORDER BY can use only what is selected; add the column to the list, or leave \
             DISTINCT out",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(query(text), expected, "{text}");
    }
}

#[test]
fn everything_built_from_text_has_the_line_of_the_text() {
    let here = Location::caller();
    let Ok(SqlOutcome::Plan(plan)) = parse_query("select a + 1 from t", here) else { panic!("not a plan") };
    assert_eq!(plan.location(), here);
    assert!(plan.relation().inputs().iter().all(|input| input.location() == here));
    let expr = expression("a + 1 as b").unwrap();
    let ExprNode::Alias(inner, _) = expr.node() else { panic!("{expr}") };
    assert_eq!(inner.location(), expr.location());
}
