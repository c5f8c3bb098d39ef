//! Calendar dates of the policy and the instants at which they take effect: local midnight in `Europe/London`.

use chrono::{DateTime, LocalResult, NaiveDate, NaiveTime, TimeZone, Utc};
use chrono_tz::Europe::London;

/// The instant at which `date` begins in London, summer time included.
#[must_use]
pub fn midnight(date: NaiveDate) -> DateTime<Utc> {
    let local = date.and_time(NaiveTime::MIN);
    match London.from_local_datetime(&local) {
        LocalResult::Single(instant) | LocalResult::Ambiguous(instant, _) => instant.with_timezone(&Utc),
        // London has put its clocks forward at midnight in some past years (1968); the day then begins at 01:00.
        LocalResult::None => London
            .from_local_datetime(&(local + chrono::TimeDelta::hours(1)))
            .earliest()
            .map_or_else(|| local.and_utc(), |instant| instant.with_timezone(&Utc)),
    }
}

/// The calendar date in London at `instant`.
#[must_use]
pub fn date(instant: DateTime<Utc>) -> NaiveDate {
    instant.with_timezone(&London).date_naive()
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
    fn a_day_begins_at_local_midnight() {
        check("2026-01-15", "2026-01-15T00:00:00Z");
        check("2026-07-15", "2026-07-14T23:00:00Z");
        check("2026-03-29", "2026-03-29T00:00:00Z");
        check("2026-03-30", "2026-03-29T23:00:00Z");
        check("2026-10-25", "2026-10-24T23:00:00Z");
        check("2026-10-26", "2026-10-26T00:00:00Z");
    }
}
