//! Days and times in the sentences of reports.

use chrono::{DateTime, NaiveDate, Utc};
use domain::london;

/// A day in words: `2 January 2020`.
#[must_use]
pub fn describe_day(date: NaiveDate) -> String {
    date.format("%-d %B %Y").to_string()
}

/// A time in words, by London's clocks: `2 January 2020, 10:00`. Midnight is the day alone, as days
/// of sheets take effect then.
#[must_use]
pub fn describe_moment(at: DateTime<Utc>) -> String {
    let day = london::date(at);
    if london::midnight(day) == at {
        return describe_day(day);
    }
    let clock = london::clock(at);
    let time = clock.split(' ').nth(1).unwrap_or_default();
    format!("{}, {time}", describe_day(day))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_that_of_londons_clocks_and_midnight_is_the_day() {
        for (at, words) in [
            ("2026-01-05T10:00:00Z", "5 January 2026, 10:00"),
            ("2026-07-05T09:00:00Z", "5 July 2026, 10:00"),
            ("2026-07-04T23:00:00Z", "5 July 2026"),
            ("2026-01-05T00:00:00Z", "5 January 2026"),
        ] {
            assert_eq!(describe_moment(at.parse().expect("an instant")), words);
        }
    }
}
