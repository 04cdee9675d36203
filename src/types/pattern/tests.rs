use super::*;
use crate::error::ErrorKind;

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;

/// Tuesday 2024-03-05T14:07:09.012345Z.
const TUESDAY: i64 = 1_709_647_629_012_345;
/// Friday 2021-10-01T09:05:07.012345Z.
const FRIDAY: i64 = 1_633_079_107_012_345;

fn function(pattern: &str) -> Pattern {
    Pattern::of_function("date_format", pattern).unwrap()
}

fn source(pattern: &str) -> Pattern {
    Pattern::of_source("timestampFormat", pattern).unwrap()
}

fn read_by_source(pattern: &str, text: &str) -> Option<String> {
    let micros = source(pattern).timestamp(text.as_bytes(), Zone::default())?;
    Some(chrono::DateTime::from_timestamp_micros(micros)?.format("%Y-%m-%d %H:%M:%S%.f").to_string())
}

fn written_by_sink(pattern: &str, micros: i64, zone: &str) -> String {
    let mut out = String::new();
    Pattern::of_sink("timestampFormat", pattern).unwrap().write(micros, zone.parse().unwrap(), &mut out);
    out
}

fn written_by_function(pattern: &str, local_micros: i64, zone: &str) -> String {
    let mut out = String::new();
    assert!(function(pattern).write_local(local_micros, zone.parse().unwrap(), &mut out));
    out
}

#[test]
fn functions_write_times_by_javas_letters() {
    let cases = [
        ("yyyy-MM-dd HH:mm:ss", "2024-03-05 14:07:09"),
        ("yy/M/d h:m:s a", "24/3/5 2:7:9 PM"),
        ("yyyyMMdd'T'HHmmss.SSS", "20240305T140709.012"),
        ("EEE EEEE MMM MMMM", "Tue Tuesday Mar March"),
        ("D DDD Q QQQ QQQQ", "65 065 1 Q1 1st quarter"),
        ("k K SSSSSSSSS", "14 2 012345000"),
        ("X x XXX xxx Z z O", "Z +00 Z +00:00 +0000 UTC GMT"),
        ("'it''s' HH''", "it's 14'"),
        ("yyyy[-MM]", "2024-03"),
    ];
    for (pattern, expected) in cases {
        assert_eq!(written_by_function(pattern, TUESDAY, "UTC"), expected, "{pattern}");
    }
    let zones = "HH X XXX Z O ZZZZ ZZZZZ VV";
    let expected = "14 -0330 -03:30 -0330 GMT-3:30 GMT-03:30 -03:30 -03:30";
    assert_eq!(written_by_function(zones, TUESDAY, "-03:30"), expected);
}

#[test]
fn sinks_write_times_as_java_writes_them() {
    let cases = [
        ("yyyy-MM-dd'T'HH:mm:ss[.SSS][XXX]", "UTC", "2021-10-01T09:05:07.012Z"),
        ("yyyy-MM-dd'T'HH:mm:ss[.SSS][XXX]", "+05:30", "2021-10-01T14:35:07.012+05:30"),
        ("d.M.yy H:m:s SSSSSS", "UTC", "1.10.21 9:5:7 012345"),
        ("EEE EEEE MMM MMMM D", "UTC", "Fri Friday Oct October 274"),
        ("hh 'o''clock' a ''", "+06:00", "03 o'clock PM '"),
        ("X XX x xxx Z", "-01:00", "-01 -0100 -01 -01:00 -0100"),
        ("x Z", "UTC", "+00 +0000"),
        ("uuuu SSSSSSSSS", "UTC", "2021 012345000"),
        ("[yyyy", "UTC", "2021"),
        ("'''' {M}", "UTC", "'' {10}"),
    ];
    for (pattern, zone, expected) in cases {
        assert_eq!(written_by_sink(pattern, FRIDAY, zone), expected, "{pattern}");
    }
}

#[test]
fn years_of_five_digits_have_a_sign_in_functions_only() {
    let micros = 253_402_300_800 * SECOND;
    assert_eq!(written_by_function("yyyy-MM-dd ''''", micros, "UTC"), "+10000-01-01 '");
    assert_eq!(written_by_sink("yyyy-MM-dd", micros, "UTC"), "10000-01-01");
    assert_eq!(function("yyyy-MM-dd").timestamp(b"+10000-01-01", Zone::UTC), Some(micros));
    assert_eq!(source("yyyy-MM-dd").timestamp(b"+10000-01-01", Zone::UTC), None);
}

#[test]
fn times_beyond_the_calendar_are_their_number_in_files_and_nothing_in_functions() {
    let mut out = String::new();
    assert!(!function("yyyy").write_local(i64::MAX, Zone::UTC, &mut out));
    assert_eq!(out, "");
    assert_eq!(written_by_sink("yyyy", i64::MAX, "UTC"), i64::MAX.to_string());
}

#[test]
fn functions_read_times_back() {
    let second = TUESDAY - 12_345;
    let cases = [
        ("yyyy-MM-dd HH:mm:ss", "2024-03-05 14:07:09", Some(second)),
        ("yyyy-MM-dd HH:mm:ss.SSSSSS", "2024-03-05 14:07:09.012345", Some(TUESDAY)),
        ("yyyyMMddHHmmss", "20240305140709", Some(second)),
        ("d/M/yy h:mm:ss a", "5/3/24 2:07:09 pm", Some(second)),
        ("EEE, dd MMM yyyy HH:mm:ss Z", "Tue, 05 Mar 2024 15:07:09 +0100", Some(second)),
        ("yyyy-MM-dd'T'HH:mm:ssXXX", "2024-03-05T06:07:09-08:00", Some(second)),
        ("yyyy-MM-dd[ HH:mm]", "1970-01-02", Some(DAY)),
        ("yyyy-D", "1970-3", Some(2 * DAY)),
        ("HH:mm", "01:00", Some(3600 * SECOND)),
        ("yyyy-MM-dd", "2024-13-05", None),
        ("yyyy-MM-dd", "2024-3-5", None),
        ("yyyy-MM-dd", "2024-03-05 ", None),
        ("yyyy-MM-dd", "2023-02-29", None),
    ];
    for (pattern, text, expected) in cases {
        assert_eq!(function(pattern).timestamp(text.as_bytes(), Zone::UTC), expected, "{pattern} {text}");
    }
}

#[test]
fn sources_read_what_java_writes() {
    let table = [
        ("dd/MM/yyyy HH:mm", "31/12/2024 23:59", "2024-12-31 23:59:00"),
        ("yyyyMMddHHmmss", "20240102030405", "2024-01-02 03:04:05"),
        ("d.M.yy", "3.4.21", "2021-04-03 00:00:00"),
        ("yyyy-MM-dd'T'HH:mm:ss[.SSS][XXX]", "2024-01-02T03:04:05", "2024-01-02 03:04:05"),
        ("yyyy-MM-dd'T'HH:mm:ss[.SSS][XXX]", "2024-01-02T03:04:05.5+01:30", "2024-01-02 01:34:05.500"),
        ("yyyy-MM-dd'T'HH:mm:ss[.SSS][XXX]", "2024-01-02T03:04:05.123Z", "2024-01-02 03:04:05.123"),
        ("MMM d yyyy h:mm a", "Feb 29 2024 12:05 AM", "2024-02-29 00:05:00"),
        ("MMMM d yyyy h 'o''clock' a", "May 9 2024 1 o'clock pm", "2024-05-09 13:00:00"),
        ("HH:mm:ss.SSSSSS x", "01:02:03.000004 -05", "1970-01-01 06:02:03.000004"),
        ("uuuu Z", "2024 +0100", "2023-12-31 23:00:00"),
    ];
    for (pattern, text, expected) in table {
        assert_eq!(read_by_source(pattern, text).as_deref(), Some(expected), "{pattern} {text}");
    }
}

#[test]
fn text_that_does_not_fit_is_no_time_for_sources() {
    for (pattern, text) in [
        ("yyyy-MM-dd", "2024-02-30"),
        ("yyyy-MM-dd", "2024-1-02"),
        ("yyyy-MM-dd", "2024-01-02 "),
        ("hh a", "13 PM"),
        ("XXX", "+0100"),
        ("xxx", "Z"),
    ] {
        assert_eq!(read_by_source(pattern, text), None, "{pattern} {text}");
    }
}

#[test]
fn functions_read_more_leniently_than_sources() {
    let cases = [
        ("MMM yyyy", "FEB 1970", Some(31 * DAY), None),
        ("'T'HH", "t01", Some(3600 * SECOND), None),
        ("HHXXX", "01+1", Some(0), None),
        ("h", "12", Some(0), Some(12 * 3600 * SECOND)),
        ("HH a", "03 PM", Some(3 * 3600 * SECOND), Some(15 * 3600 * SECOND)),
        ("H", "001", Some(3600 * SECOND), None),
    ];
    for (pattern, text, lenient, strict) in cases {
        assert_eq!(function(pattern).timestamp(text.as_bytes(), Zone::UTC), lenient, "{pattern} {text}");
        assert_eq!(source(pattern).timestamp(text.as_bytes(), Zone::UTC), strict, "{pattern} {text}");
    }
}

#[test]
fn dates_ignore_the_time_of_day() {
    let pattern = Pattern::of_source("dateFormat", "dd.MM.yyyy[ HH:mm]").unwrap();
    assert_eq!(pattern.date(b"02.01.1970 10:00"), Some(1));
    assert_eq!(pattern.local_timestamp(b"01.01.1970 00:01"), Some(60_000_000));
}

#[test]
fn functions_refuse_patterns_without_meaning() {
    for (pattern, what) in [
        ("yyyy-bb", "letter `b` is not known; known letters are y u M L d D Q q E a H k K h m s S X x Z O z V,"),
        ("'x", "quote is not closed"),
        ("[yyyy", "`[` is not closed"),
        ("yyyy]", "has no `[`"),
        ("{yyyy", "`{` has no meaning"),
        ("HHH", "`H` cannot stand 3 times"),
    ] {
        let error = Pattern::of_function("date_format", pattern).unwrap_err();
        let message = error.message();
        assert_eq!(error.kind(), ErrorKind::Plan);
        assert!(message.contains(pattern) && message.contains(what) && message.contains("`date_format`"), "{message}");
    }
}

#[test]
fn options_refuse_letters_nobody_knows_and_open_quotes() {
    let of_sources = [
        ("yyyy-MM-dd VV", "letter `V` is not known; known letters are y u M L d a H h m s S X x Z,"),
        ("yyy", "`y` cannot stand 3 times"),
        ("ZZZZ", "`Z` cannot stand 4 times"),
        ("yyyy'T", "quote is not closed"),
        ("[yyyy", "`[` is not closed"),
        ("yyyy]", "has no `[`"),
    ];
    let of_sinks = [
        ("yyyy VV", "letter `V` is not known; known letters are y u M L d D E a H h m s S X x Z,"),
        ("ddd", "`d` cannot stand 3 times"),
        ("yyyy'T", "quote is not closed"),
    ];
    let errors = of_sources.map(|(pattern, what)| (Pattern::of_source("dateFormat", pattern).unwrap_err(), what));
    let more = of_sinks.map(|(pattern, what)| (Pattern::of_sink("dateFormat", pattern).unwrap_err(), what));
    for (error, what) in errors.into_iter().chain(more) {
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.message().contains(what) && error.message().contains("`dateFormat`"), "{error}");
    }
}
