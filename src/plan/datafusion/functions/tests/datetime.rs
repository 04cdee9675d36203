use super::{Bench, ansi_bench, bench};
use crate::types::Zone;

#[test]
fn parts_of_times_are_ints() {
    let bench = bench();
    bench.check(&[
        ("year(t)", "2024 | 1969 | 2024 | NULL"),
        ("quarter(t)", "1 | 4 | 4 | NULL"),
        ("month(day)", "2 | 1 | 12 | NULL"),
        ("day(day)", "29 | 1 | 31 | NULL"),
        ("dayofweek(day)", "5 | 5 | 1 | NULL"),
        ("weekday(day)", "3 | 3 | 6 | NULL"),
        ("dayofyear(day)", "60 | 1 | 365 | NULL"),
        ("weekofyear(t)", "10 | 1 | 1 | NULL"),
        ("hour(t)", "14 | 23 | 0 | NULL"),
        ("minute(t)", "7 | 59 | 0 | NULL"),
        ("second(t)", "9 | 59 | 0 | NULL"),
        ("hour(day)", "0 | 0 | 0 | NULL"),
        ("date_part('second', t)", "9.012345 | 59.000000 | 0.000000 | NULL"),
        ("extract('week', day)", "9 | 1 | 52 | NULL"),
        ("year('2024-05-06')", "2024"),
        ("monthname(day)", "Feb | Jan | Dec | NULL"),
        ("dayname(day)", "Thu | Thu | Sun | NULL"),
    ]);
    assert_eq!(bench.type_of("year(t)"), "INT");
    bench.check_errors(&[("year(i)", &["`year`", "INT"]), ("date_part('x', t)", &["field `x`"])]);
}

#[test]
fn parts_are_those_of_the_zone() {
    let bench = Bench::new("+10:00".parse::<Zone>().unwrap(), false);
    bench.check(&[
        ("hour(t)", "0 | 9 | 10 | NULL"),
        ("day(t)", "6 | 1 | 30 | NULL"),
        ("date_trunc('day', t)", "2024-03-06 00:00:00 | 1970-01-01 00:00:00 | 2024-12-30 00:00:00 | NULL"),
        (
            "date_format(t, 'yyyy-MM-dd HH:mm XXX')",
            "2024-03-06 00:07 +10:00 | 1970-01-01 09:59 +10:00 | 2024-12-30 10:00 +10:00 | NULL",
        ),
        ("unix_timestamp('1970-01-01 10:00:00')", "0"),
        ("from_unixtime(0)", "1970-01-01 10:00:00"),
        ("to_timestamp('01/02/2024', 'dd/MM/yyyy')", "2024-02-01 00:00:00"),
        ("current_timezone()", "+10:00"),
    ]);
}

#[test]
fn times_are_cut_to_the_begin_of_a_unit() {
    bench().check(&[
        ("date_trunc('YEAR', t)", "2024-01-01 00:00:00 | 1969-01-01 00:00:00 | 2024-01-01 00:00:00 | NULL"),
        ("date_trunc('quarter', t)", "2024-01-01 00:00:00 | 1969-10-01 00:00:00 | 2024-10-01 00:00:00 | NULL"),
        ("date_trunc('month', day)", "2024-02-01 00:00:00 | 1970-01-01 00:00:00 | 2023-12-01 00:00:00 | NULL"),
        ("date_trunc('week', t)", "2024-03-04 00:00:00 | 1969-12-29 00:00:00 | 2024-12-30 00:00:00 | NULL"),
        ("date_trunc('hour', t)", "2024-03-05 14:00:00 | 1969-12-31 23:00:00 | 2024-12-30 00:00:00 | NULL"),
        ("date_trunc('millisecond', t)", "2024-03-05 14:07:09.012 | 1969-12-31 23:59:59 | 2024-12-30 00:00:00 | NULL"),
        ("date_trunc('eon', t)", "NULL | NULL | NULL | NULL"),
        ("trunc(day, 'month')", "2024-02-01 | 1970-01-01 | 2023-12-01 | NULL"),
        ("trunc(day, 'hour')", "NULL | NULL | NULL | NULL"),
    ]);
}

#[test]
fn texts_become_times_by_pattern() {
    bench().check(&[
        ("to_timestamp('2024-03-05 14:07')", "2024-03-05 14:07:00"),
        ("to_timestamp('5.3.2024 14:07', 'd.M.yyyy HH:mm')", "2024-03-05 14:07:00"),
        ("to_timestamp(s, 'yyyy')", "NULL | NULL | NULL | NULL"),
        ("to_timestamp(i)", "1970-01-01 00:00:07 | 1969-12-31 23:59:53 | 2038-01-19 03:14:07 | NULL"),
        ("to_date('20240305', 'yyyyMMdd')", "2024-03-05"),
        ("to_date(t)", "2024-03-05 | 1969-12-31 | 2024-12-30 | NULL"),
        ("to_timestamp('2024', substring('yyyy!', 1, 4))", "2024-01-01 00:00:00"),
        ("date_format(t, 'dd.MM.yy')", "05.03.24 | 31.12.69 | 30.12.24 | NULL"),
        ("date_format('2024-03-05', 'EEEE')", "Tuesday"),
        ("unix_timestamp(u)", "1709647629 | 0 | 1735606800 | NULL"),
        ("unix_timestamp('05/1970', 'MM/yyyy')", "10368000"),
        ("from_unixtime(86400, 'yyyy-MM-dd')", "1970-01-02"),
    ]);
    bench().check_errors(&[("date_format(t, 'jj')", &["letter `j`"])]);
    ansi_bench().check(&[("try_to_timestamp('x', 'yyyy')", "NULL")]);
}

#[test]
fn days_and_months_are_counted_on() {
    bench().check(&[
        ("date_add(day, 1)", "2024-03-01 | 1970-01-02 | 2024-01-01 | NULL"),
        ("date_sub(day, 1)", "2024-02-28 | 1969-12-31 | 2023-12-30 | NULL"),
        ("date_add('2024-01-01', 31)", "2024-02-01"),
        ("datediff(t, day)", "5 | -1 | 365 | NULL"),
        ("add_months(day, 12)", "2025-02-28 | 1971-01-01 | 2024-12-31 | NULL"),
        ("add_months(day, -1)", "2024-01-29 | 1969-12-01 | 2023-11-30 | NULL"),
        ("last_day(day)", "2024-02-29 | 1970-01-31 | 2023-12-31 | NULL"),
        ("next_day(day, 'Mon')", "2024-03-04 | 1970-01-05 | 2024-01-01 | NULL"),
        ("next_day(day, 'xx')", "NULL | NULL | NULL | NULL"),
        ("months_between('1997-02-28 10:30:00', '1996-10-30')", "3.94959677"),
        ("months_between('2024-02-29', '2024-01-31')", "1.0"),
        ("make_date(2024, 2, j)", "2024-02-02 | 2024-02-03 | NULL | NULL"),
        ("make_timestamp(2024, 2, 3, 4, 5, 6.5)", "2024-02-03 04:05:06.5"),
        ("timestamp_seconds(1)", "1970-01-01 00:00:01"),
        ("timestamp_millis(1500)", "1970-01-01 00:00:01.5"),
        ("timestamp_micros(1)", "1970-01-01 00:00:00.000001"),
        ("unix_millis(u)", "1709647629000 | 0 | 1735606800000 | NULL"),
        ("unix_micros(timestamp('1970-01-01 00:00:01'))", "1000000"),
        ("unix_date(day)", "19782 | 0 | 19722 | NULL"),
        ("date_from_unix_date(1)", "1970-01-02"),
    ]);
}

#[test]
fn the_present_is_a_stand_in_that_cannot_be_evaluated() {
    let bench = bench();
    assert_eq!(bench.build("current_timestamp()").unwrap().schema_name().to_string(), "current_timestamp()");
    bench.check_errors(&[("now()", &["not replaced"]), ("current_date()", &["not replaced"])]);
}
