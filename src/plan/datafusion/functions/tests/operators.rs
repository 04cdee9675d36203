use super::{Bench, ansi_bench, bench};
use crate::types::Zone;

#[test]
fn arithmetic_widens_and_wraps_as_spark_does() {
    let bench = bench();
    bench.check(&[
        ("+(i, j)", "9 | -4 | 2147483647 | NULL"),
        ("+(i, i)", "14 | -14 | -2 | NULL"),
        ("+(l, 1)", "-9223372036854775808 | 2 | 1 | NULL"),
        ("-(i, l)", "-9223372036854775800 | -8 | 2147483647 | NULL"),
        ("*(i, 2.0)", "14.0 | -14.0 | 4.294967294E9 | NULL"),
        ("+(n, 1)", "8.0 | NULL | 2.5 | NULL"),
        ("-(i)", "-7 | 7 | -2147483647 | NULL"),
        ("negative(dec)", "-12.34 | 0.05 | -9.99 | NULL"),
        ("~(i)", "-8 | 6 | -2147483648 | NULL"),
        ("&(i, 3)", "3 | 1 | 3 | NULL"),
        ("|(j, 4)", "6 | 7 | 4 | NULL"),
        ("^(j, 1)", "3 | 2 | 1 | NULL"),
        ("shiftleft(j, 3)", "16 | 24 | 0 | NULL"),
    ]);
    assert_eq!(bench.type_of("+(i, j)"), "INT");
    assert_eq!(bench.type_of("+(i, l)"), "BIGINT");
    assert_eq!(bench.type_of("+(cast(i, 'FLOAT'), i)"), "FLOAT");
}

#[test]
fn division_is_double_and_null_by_zero() {
    let bench = bench();
    bench.check(&[
        ("/(i, j)", "3.5 | -2.3333333333333335 | NULL | NULL"),
        ("%(i, j)", "1 | -1 | NULL | NULL"),
        ("pmod(i, j)", "1 | 2 | NULL | NULL"),
        ("div(i, j)", "3 | -2 | NULL | NULL"),
        ("%(d, 2.0)", "0.5 | NaN | -0.0 | NULL"),
        ("/(7, 0)", "NULL"),
        ("try_divide(i, j)", "3.5 | -2.3333333333333335 | NULL | NULL"),
    ]);
    assert_eq!(bench.type_of("/(i, j)"), "DOUBLE");
    assert_eq!(bench.type_of("div(i, j)"), "BIGINT");
}

#[test]
fn decimals_stay_decimals_with_sparks_precision() {
    let bench = bench();
    bench.check(&[
        ("+(dec, 1)", "13.34 | 0.95 | 10.99 | NULL"),
        ("*(dec, dec)", "152.2756 | 0.0025 | 99.8001 | NULL"),
        ("/(dec, j)", "6.1700000000000 | -0.0166666666667 | NULL | NULL"),
        ("%(dec, 1.50m)", "0.34 | -0.05 | 0.99 | NULL"),
        ("pmod(dec, 1.50m)", "0.34 | 1.45 | 0.99 | NULL"),
        ("div(dec, 1.50m)", "8 | 0 | 6 | NULL"),
        ("+(dec, d)", "14.84 | NaN | 9.99 | NULL"),
        ("/(1.00m, 3.00m)", "0.333333"),
    ]);
    let types = [
        ("+(dec, 1)", "DECIMAL(11,2)"),
        ("*(dec, dec)", "DECIMAL(21,4)"),
        ("/(dec, j)", "DECIMAL(21,13)"),
        ("/(dec, l)", "DECIMAL(31,23)"),
        ("+(dec, l)", "DECIMAL(23,2)"),
    ];
    for (call, expected) in types {
        assert_eq!(bench.type_of(call), expected, "{call}");
    }
}

#[test]
fn ansi_makes_errors_of_overflow_and_division_by_zero() {
    let bench = ansi_bench();
    bench.check_errors(&[
        ("/(i, j)", &["division by zero", "`/`"]),
        ("%(i, j)", &["division by zero"]),
        ("div(i, j)", &["division by zero", "`div`"]),
        ("+(i, i)", &["overflow", "`+`"]),
        ("/(dec, j)", &["division by zero"]),
        ("element_at(array(1, 2), 3)", &["index 3", "2 items"]),
        ("cast(n, 'INT')", &["`x`", "`n`", "INT", "try_cast"]),
        ("+(n, 1)", &["`x`", "`n`"]),
        ("to_date(s, 'yyyy')", &["hello world", "yyyy"]),
    ]);
    bench.check(&[
        ("try_divide(i, j)", "3.5 | -2.3333333333333335 | NULL | NULL"),
        ("try_cast(n, 'DOUBLE')", "7.0 | NULL | 1.5 | NULL"),
        ("try_element_at(array(1, 2), 3)", "NULL"),
        ("coalesce(l, /(1, j))", "9.223372036854776E18 | 1.0 | 0.0 | NULL"),
    ]);
}

#[test]
fn comparisons_read_a_string_as_the_other_side() {
    bench().check(&[
        ("=(i, n)", "true | NULL | false | NULL"),
        ("<(n, 2)", "false | NULL | true | NULL"),
        ("<(d, n)", "true | NULL | true | NULL"),
        (">(t, '2024-03-05 14:00')", "true | false | true | NULL"),
        ("=(day, '1970-01-01')", "false | true | false | NULL"),
        (">=(t, day)", "true | false | true | NULL"),
        ("=(b, 'yes')", "true | false | NULL | NULL"),
        ("<=>(i, NULL)", "false | false | false | true"),
        ("<=>(i, i)", "true | true | true | true"),
        ("!=(i, 7)", "false | true | true | NULL"),
        ("=(s, '')", "false | true | false | NULL"),
        ("=(d, 0)", "false | false | true | NULL"),
        ("=(d, d)", "true | true | true | NULL"),
        (">(d, 1.0)", "true | true | false | NULL"),
        ("in(i, 7, '-7', NULL)", "true | true | NULL | NULL"),
        ("in(s, '', 'x')", "false | true | false | NULL"),
        ("between(i, -7, j)", "false | true | false | NULL"),
        ("<(cast('25 hours', 'INTERVAL'), cast('1 day', 'INTERVAL'))", "false"),
    ]);
    bench().check_errors(&[("=(array(1), 1)", &["`=`", "ARRAY<INT>", "INT"]), ("<(t, 5)", &["TIMESTAMP", "INT"])]);
}

#[test]
fn logic_is_kleenes() {
    bench().check(&[
        ("and(b, NULL)", "NULL | false | NULL | NULL"),
        ("or(b, NULL)", "true | NULL | NULL | NULL"),
        ("not(b)", "false | true | NULL | NULL"),
        ("istrue(b)", "true | false | false | false"),
        ("isnottrue(b)", "false | true | true | true"),
        ("isfalse(b)", "false | true | false | false"),
        ("isnotfalse(b)", "true | false | true | true"),
        ("isnull(i)", "false | false | false | true"),
        ("isnotnull(i)", "true | true | true | false"),
    ]);
    bench().check_errors(&[("and(i, b)", &["`and`", "INT"])]);
}

#[test]
fn times_move_by_intervals_and_differ_by_them() {
    bench().check(&[
        ("+(u, cast('1 hour', 'INTERVAL'))", "2024-03-05 15:07:09 | 1970-01-01 01:00:00 | 2024-12-31 02:00:00 | NULL"),
        ("-(u, cast('1 month', 'INTERVAL'))", "2024-02-05 14:07:09 | 1969-12-01 00:00:00 | 2024-11-30 01:00:00 | NULL"),
        ("+(day, cast('1 month', 'INTERVAL'))", "2024-03-29 | 1970-02-01 | 2024-01-31 | NULL"),
        ("+(date('2024-01-31'), cast('1 hour', 'INTERVAL'))", "2024-01-31 01:00:00"),
        ("+(day, 1)", "2024-03-01 | 1970-01-02 | 2024-01-01 | NULL"),
        ("-(day, 1)", "2024-02-28 | 1969-12-31 | 2023-12-30 | NULL"),
        ("=(-(u, t), cast('1 second', 'INTERVAL'))", "false | true | false | NULL"),
        (">(-(u, t), cast('24 hours', 'INTERVAL'))", "false | false | true | NULL"),
        ("=(-(day, date('1969-12-31')), cast('1 day', 'INTERVAL'))", "false | true | false | NULL"),
        ("=(*(cast('90 minutes', 'INTERVAL'), 2), cast('3 hours', 'INTERVAL'))", "true"),
        ("=(/(cast('3 hours', 'INTERVAL'), 2), cast('90 minutes', 'INTERVAL'))", "true"),
        ("=(-(cast('1 hour', 'INTERVAL')), cast('-1 hour', 'INTERVAL'))", "true"),
    ]);
    bench().check_errors(&[("+(t, 1)", &["`+`", "TIMESTAMP"]), ("+(b, 1)", &["`+`", "BOOLEAN"])]);
}

#[test]
fn months_are_counted_on_the_clock_of_the_zone() {
    // 23:30 on the last of February at +02:00 is 21:30 UTC.
    let bench = Bench::new("+02:00".parse::<Zone>().unwrap(), false);
    let march = "+(timestamp('2024-03-01 00:30:00'), nvl(cast('1 month', 'INTERVAL'), cast(s, 'INTERVAL')))";
    assert!(bench.text(march).starts_with("2024-04-01 00:30:00 | "));
}

#[test]
fn choices_take_the_first_that_is_there() {
    bench().check(&[
        ("coalesce(NULL, i, 5)", "7 | -7 | 2147483647 | 5"),
        ("nvl(n, 'none')", "7 | x |  1.5  | none"),
        ("ifnull(i, 1.5)", "7.0 | -7.0 | 2.147483647E9 | 1.5"),
        ("nullif(i, 7)", "NULL | -7 | 2147483647 | NULL"),
        ("nvl2(i, 'is', 'not')", "is | is | is | not"),
        ("if(b, i, j)", "7 | 3 | 0 | NULL"),
        ("greatest(i, j, 5)", "7 | 5 | 2147483647 | 5"),
        ("least(i, j)", "2 | -7 | 0 | NULL"),
        ("nanvl(d, 1)", "2.5 | 1.0 | -0.0 | NULL"),
        ("isnan(d)", "false | true | false | false"),
    ]);
}

#[test]
fn numbers_are_rounded_half_up_as_they_are_written() {
    let bench = bench();
    bench.check(&[
        ("round(2.675, 2)", "2.68"),
        ("round(-2.5)", "-3.0"),
        ("round(2.5)", "3.0"),
        ("bround(2.5)", "2.0"),
        ("bround(3.5)", "4.0"),
        ("bround(-2.5)", "-2.0"),
        ("round(1.005, 2)", "1.01"),
        ("round(0.285, 2)", "0.29"),
        ("round(d)", "3.0 | NaN | -0.0 | NULL"),
        ("round(dec, 1)", "12.3 | -0.1 | 10.0 | NULL"),
        ("bround(0.25m, 1)", "0.2"),
        ("bround(0.35m, 1)", "0.4"),
        ("bround(-0.25m, 1)", "-0.2"),
        ("round(i, -1)", "10 | -10 | -2147483646 | NULL"),
        ("ceil(d)", "3 | 0 | 0 | NULL"),
        ("floor(dec)", "12 | -1 | 9 | NULL"),
        ("ceil(dec)", "13 | 0 | 10 | NULL"),
        ("floor(i)", "7 | -7 | 2147483647 | NULL"),
        ("abs(i)", "7 | 7 | 2147483647 | NULL"),
        ("abs(dec)", "12.34 | 0.05 | 9.99 | NULL"),
        ("sign(i)", "1.0 | -1.0 | 1.0 | NULL"),
    ]);
    assert_eq!(bench.type_of("ceil(d)"), "BIGINT");
    assert_eq!(bench.type_of("floor(dec)"), "DECIMAL(9,0)");
    assert_eq!(bench.type_of("round(dec, 1)"), "DECIMAL(10,1)");
    bench.check_errors(&[("round(d, j)", &["`round`", "constant"])]);
}

#[test]
fn logarithms_of_what_has_none_are_null() {
    bench().check(&[
        ("ln(j)", "0.6931471805599453 | 1.0986122886681098 | NULL | NULL"),
        ("log(2, 8)", "3.0"),
        ("log10(100)", "2.0"),
        ("log2(-1)", "NULL"),
        ("sqrt(-1)", "NaN"),
        ("pow(j, 2)", "4.0 | 9.0 | 0.0 | NULL"),
        ("exp(0)", "1.0"),
        ("pi()", "3.141592653589793"),
    ]);
}
