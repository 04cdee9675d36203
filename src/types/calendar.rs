//! The proleptic Gregorian calendar, for years beyond those of `chrono`.
//!
//! Owns: days since 1970-01-01 to year, month and day, and back. Does not own: text.

/// Microseconds in a second.
pub(super) const MICROS_PER_SECOND: i64 = 1_000_000;
/// Microseconds in a day of 24 hours.
pub(super) const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;

/// The calendar repeats after so many days: 400 years, 97 of them leap years.
const CYCLE_DAYS: i64 = 400 * 365 + 97;
/// Days from 0000-03-01 to 1970-01-01.
const EPOCH: i64 = 719_468;

/// Days since 1970-01-01, or `None` when there is no such day.
pub(super) fn days_of(year: i64, month: i64, day: i64) -> Option<i64> {
    if !(1..=12).contains(&month) || day < 1 || day > month_length(year, month) {
        return None;
    }
    // Counted from March, so that the leap day is the last of its year and month lengths follow a line.
    let year = if month > 2 { year } else { year - 1 };
    let (cycle, year_of_cycle) = (year.div_euclid(400), year.rem_euclid(400));
    let leap_days = year_of_cycle / 4 - year_of_cycle / 100;
    Some(cycle * CYCLE_DAYS + year_of_cycle * 365 + leap_days + month_start((month + 9) % 12) + day - 1 - EPOCH)
}

/// Year, month and day of a number of days since 1970-01-01.
pub(super) fn date_of(days: i64) -> (i64, i64, i64) {
    let days = days + EPOCH;
    let (cycle, day_of_cycle) = (days.div_euclid(CYCLE_DAYS), days.rem_euclid(CYCLE_DAYS));
    // Each term takes out the leap days that came before: every 4 years, not every 100, the last of 400.
    let without_leap_days = day_of_cycle - day_of_cycle / 1_460 + day_of_cycle / 36_524 - day_of_cycle / 146_096;
    let year_of_cycle = without_leap_days / 365;
    let day_of_year = day_of_cycle - (year_of_cycle * 365 + year_of_cycle / 4 - year_of_cycle / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let month = (from_march + 2) % 12 + 1;
    let year = cycle * 400 + year_of_cycle + i64::from(month <= 2);
    (year, month, day_of_year - month_start(from_march) + 1)
}

/// Days before a month, both counted from March, 0 to 11.
fn month_start(from_march: i64) -> i64 {
    (153 * from_march + 2) / 5
}

fn month_length(year: i64, month: i64) -> i64 {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use chrono::{Datelike, NaiveDate};

    use super::*;

    #[test]
    fn days_and_dates_agree_with_chrono_and_each_other() {
        let epoch = NaiveDate::from_ymd_opt(1970, 1, 1).unwrap();
        for days in (-800_000..800_000).step_by(13).chain([-719_528, -719_162, 0, 11_016, 11_017, 47_540]) {
            let date = epoch + chrono::TimeDelta::days(days);
            let expected = (i64::from(date.year()), i64::from(date.month()), i64::from(date.day()));
            assert_eq!(date_of(days), expected);
            assert_eq!(days_of(expected.0, expected.1, expected.2), Some(days));
        }
    }

    #[test]
    fn each_day_of_a_cycle_has_its_own_date() {
        for days in 0..CYCLE_DAYS {
            let (year, month, day) = date_of(days);
            assert_eq!(days_of(year, month, day), Some(days));
        }
    }

    #[test]
    fn days_that_do_not_exist_have_no_number() {
        for (year, month, day) in
            [(2023, 2, 29), (1900, 2, 29), (2024, 4, 31), (2024, 0, 1), (2024, 13, 1), (2024, 1, 0)]
        {
            assert_eq!(days_of(year, month, day), None, "{year}-{month}-{day}");
        }
        assert!(days_of(2000, 2, 29).is_some());
    }
}
