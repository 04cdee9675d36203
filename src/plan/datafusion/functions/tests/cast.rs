use super::{Bench, ansi_bench, bench};
use crate::types::Zone;

#[test]
fn strings_are_read_by_sparks_rules() {
    bench().check(&[
        ("cast(n, 'INT')", "7 | NULL | 1 | NULL"),
        ("cast(n, 'DOUBLE')", "7.0 | NULL | 1.5 | NULL"),
        ("cast(n, 'DECIMAL(4,1)')", "7.0 | NULL | 1.5 | NULL"),
        ("cast('300', 'TINYINT')", "NULL"),
        ("cast('yes', 'BOOLEAN')", "true"),
        ("cast('2024-02-30', 'DATE')", "NULL"),
        ("cast('2024-02', 'DATE')", "2024-02-01"),
        ("cast('2024-03-05T14:07:09+02:00', 'TIMESTAMP')", "2024-03-05 12:07:09"),
        ("cast('2024-03-05 14:07:09', 'TIMESTAMP_NTZ')", "2024-03-05 14:07:09"),
        ("cast(s, 'TIMESTAMP')", "NULL | NULL | NULL | NULL"),
        ("cast('1 day', 'INTERVAL')", "INTERVAL '1 00:00:00' DAY TO SECOND"),
        ("int('12')", "12"),
        ("bigint('12')", "12"),
    ]);
}

#[test]
fn values_are_shown_as_spark_shows_them() {
    bench().check(&[
        ("cast(d, 'STRING')", "2.5 | NaN | -0.0 | NULL"),
        ("cast(t, 'STRING')", "2024-03-05 14:07:09.012345 | 1969-12-31 23:59:59 | 2024-12-30 00:00:00 | NULL"),
        ("cast(dec, 'STRING')", "12.34 | -0.05 | 9.99 | NULL"),
        ("cast(b, 'STRING')", "true | false | NULL | NULL"),
        ("cast(day, 'STRING')", "2024-02-29 | 1970-01-01 | 2023-12-31 | NULL"),
        ("cast(array(1, NULL), 'STRING')", "[1, NULL]"),
        ("string(i)", "7 | -7 | 2147483647 | NULL"),
        ("cast(cast('abc', 'BINARY'), 'STRING')", "abc"),
    ]);
}

#[test]
fn numbers_wrap_saturate_and_are_cut() {
    bench().check(&[
        ("cast(i, 'TINYINT')", "7 | -7 | -1 | NULL"),
        ("cast(l, 'INT')", "-1 | 1 | 0 | NULL"),
        ("cast(d, 'INT')", "2 | 0 | 0 | NULL"),
        ("cast(1e20, 'INT')", "2147483647"),
        ("cast(-1e20, 'BIGINT')", "-9223372036854775808"),
        ("cast(dec, 'INT')", "12 | 0 | 9 | NULL"),
        ("cast(dec, 'DECIMAL(3,1)')", "12.3 | -0.1 | 10.0 | NULL"),
        ("cast(i, 'DECIMAL(3,1)')", "7.0 | -7.0 | NULL | NULL"),
        ("cast(b, 'INT')", "1 | 0 | NULL | NULL"),
        ("cast(j, 'BOOLEAN')", "true | true | false | NULL"),
        ("cast(dec, 'BOOLEAN')", "true | true | true | NULL"),
        ("cast(i, 'BIGINT')", "7 | -7 | 2147483647 | NULL"),
        ("cast(array(1, 2), 'ARRAY<STRING>')", "[1, 2]"),
        ("cast(struct(i, n), 'STRUCT<a: BIGINT, b: INT>')", "{7, 7} | {-7, NULL} | {2147483647, 1} | {NULL, NULL}"),
    ]);
}

#[test]
fn times_and_seconds_are_converted_both_ways() {
    bench().check(&[
        ("cast(t, 'BIGINT')", "1709647629 | -1 | 1735516800 | NULL"),
        ("cast(t, 'DOUBLE')", "1.709647629012345E9 | -1.0 | 1.7355168E9 | NULL"),
        ("cast(t, 'DECIMAL(20,3)')", "1709647629.012 | -1.000 | 1735516800.000 | NULL"),
        ("cast(i, 'TIMESTAMP')", "1970-01-01 00:00:07 | 1969-12-31 23:59:53 | 2038-01-19 03:14:07 | NULL"),
        ("cast(d, 'TIMESTAMP')", "1970-01-01 00:00:02.5 | NULL | 1970-01-01 00:00:00 | NULL"),
        ("cast(dec, 'TIMESTAMP')", "1970-01-01 00:00:12.34 | 1969-12-31 23:59:59.95 | 1970-01-01 00:00:09.99 | NULL"),
        ("cast(t, 'DATE')", "2024-03-05 | 1969-12-31 | 2024-12-30 | NULL"),
        ("cast(day, 'TIMESTAMP')", "2024-02-29 00:00:00 | 1970-01-01 00:00:00 | 2023-12-31 00:00:00 | NULL"),
    ]);
}

#[test]
fn times_are_read_shown_and_cut_in_the_zone() {
    let bench = Bench::new("+02:00".parse::<Zone>().unwrap(), false);
    bench.check(&[
        ("cast(u, 'STRING')", "2024-03-05 16:07:09 | 1970-01-01 02:00:00 | 2024-12-31 03:00:00 | NULL"),
        ("cast('1970-01-01 02:00:00', 'BIGINT')", "NULL"),
        ("cast(timestamp('1970-01-01 02:00:00'), 'BIGINT')", "0"),
        ("cast(timestamp('1970-01-01 23:00:00Z'), 'DATE')", "1970-01-02"),
        ("cast(cast(day, 'TIMESTAMP'), 'BIGINT')", "1709157600 | -7200 | 1703973600 | NULL"),
        ("cast(u, 'TIMESTAMP_NTZ')", "2024-03-05 16:07:09 | 1970-01-01 02:00:00 | 2024-12-31 03:00:00 | NULL"),
        (
            "cast(cast(u, 'TIMESTAMP_NTZ'), 'TIMESTAMP')",
            "2024-03-05 16:07:09 | 1970-01-01 02:00:00 | 2024-12-31 03:00:00 | NULL",
        ),
    ]);
}

#[test]
fn ansi_names_the_value_and_the_column() {
    ansi_bench().check_errors(&[
        ("cast(n, 'INT')", &["`x` of `n`", "INT", "try_cast"]),
        ("cast(d, 'INT')", &["`NaN` of `d`"]),
        ("cast(l, 'INT')", &["`9223372036854775807` of `l`"]),
        ("cast(upper(n), 'TIMESTAMP')", &["upper"]),
        ("cast('abc', 'DATE')", &["`abc`", "DATE"]),
    ]);
}

#[test]
fn pairs_without_meaning_are_refused_with_both_types() {
    bench().check_errors(&[
        ("cast(array(1), 'INT')", &["ARRAY<INT>", "to INT"]),
        ("cast(day, 'INT')", &["DATE", "INT"]),
        ("cast(b, 'TIMESTAMP')", &["BOOLEAN", "TIMESTAMP"]),
        ("cast(i, 'ARRAY<INT>')", &["INT", "ARRAY<INT>"]),
    ]);
}
