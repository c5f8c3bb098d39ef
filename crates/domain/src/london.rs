//! Calendar dates of the policy and the instants at which they take effect: local midnight in
//! `Europe/London`.

use chrono::{DateTime, Datelike as _, LocalResult, NaiveDate, NaiveDateTime, NaiveTime, TimeZone, Utc};
use chrono_tz::Europe::London;

/// The first and the last year that is reckoned with. A stored date beyond them, from before
/// [`crate::moment`] refused it, is taken for a date of the first or the last, so that no calendar
/// or database is asked for more than it holds.
const YEARS: std::ops::RangeInclusive<i32> = 1..=9_999;

/// The instant at which `date` begins in London, summer time included.
#[must_use]
pub fn midnight(date: NaiveDate) -> DateTime<Utc> {
    let date = date.with_year(date.year().clamp(*YEARS.start(), *YEARS.end())).unwrap_or(date);
    instant(date.and_time(NaiveTime::MIN))
}

/// The instant at which London's clocks show a time; the first of two where they show it twice.
#[must_use]
pub fn instant(local: NaiveDateTime) -> DateTime<Utc> {
    match London.from_local_datetime(&local) {
        LocalResult::Single(instant) | LocalResult::Ambiguous(instant, _) => instant.with_timezone(&Utc),
        // The hour that is left out when the clocks go forward, as at midnight in some past years
        // (1968): the day then began at 01:00.
        LocalResult::None => London
            .from_local_datetime(&(local + chrono::TimeDelta::hours(1)))
            .earliest()
            .map_or_else(|| local.and_utc(), |instant| instant.with_timezone(&Utc)),
    }
}

/// The calendar date in London at `instant`.
#[must_use]
pub fn date(instant: DateTime<Utc>) -> NaiveDate {
    let instant = instant.with_year(instant.year().clamp(*YEARS.start(), *YEARS.end())).unwrap_or(DateTime::UNIX_EPOCH);
    instant.with_timezone(&London).date_naive()
}

/// The time on London's clocks at `instant`, to the minute, with the time zone: `2026-07-01 09:30
/// BST`.
#[must_use]
pub fn clock(instant: DateTime<Utc>) -> String {
    instant.with_timezone(&London).format("%Y-%m-%d %H:%M %Z").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(day: &str, begins: &str) {
        let day: NaiveDate = day.parse().expect("a date");
        let begins: DateTime<Utc> = begins.parse().expect("an instant");
        assert_eq!(midnight(day), begins);
        assert_eq!(date(begins), day);
        assert_eq!(date(begins - chrono::TimeDelta::microseconds(1)), day.pred_opt().expect("a day before"));
    }

    #[test]
    fn no_date_is_too_far_away() {
        // London was a minute and a quarter behind Greenwich before there was standard time, hence
        // the year before.
        assert_eq!(date(DateTime::<Utc>::MIN_UTC).year(), 0);
        assert_eq!(date(DateTime::<Utc>::MAX_UTC).year(), 9_999);
        assert_eq!(midnight(NaiveDate::MIN).year(), 1);
        assert_eq!(midnight(NaiveDate::MAX).year(), 9_999);
    }

    #[test]
    fn clocks_say_which_time_they_go_by() {
        let clock = |instant: &str| clock(instant.parse().expect("an instant"));
        assert_eq!(clock("2026-07-01T08:30:59Z"), "2026-07-01 09:30 BST");
        // The hour that comes twice.
        assert_eq!(clock("2026-10-25T00:30:00Z"), "2026-10-25 01:30 BST");
        assert_eq!(clock("2026-10-25T01:30:00Z"), "2026-10-25 01:30 GMT");
    }

    #[test]
    fn an_hour_that_clocks_leave_out_or_show_twice_is_an_instant_all_the_same() {
        let begins = |local: &str| instant(local.parse().expect("a time")).to_rfc3339();
        assert_eq!(begins("2026-03-29T01:30:00"), "2026-03-29T01:30:00+00:00");
        assert_eq!(begins("2026-10-25T01:30:00"), "2026-10-25T00:30:00+00:00");
    }

    #[test]
    fn a_day_begins_at_local_midnight() {
        check("2026-01-15", "2026-01-15T00:00:00Z");
        check("2026-07-15", "2026-07-14T23:00:00Z");
        check("2026-03-29", "2026-03-29T00:00:00Z");
        check("2026-03-30", "2026-03-29T23:00:00Z");
        check("2026-10-25", "2026-10-24T23:00:00Z");
        check("2026-10-26", "2026-10-26T00:00:00Z");
    }
}
