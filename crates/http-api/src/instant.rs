//! Points in time in a URL.

use std::{borrow::Cow, ops::RangeInclusive, str::FromStr};

use chrono::{DateTime, Datelike as _, Days, NaiveDate, SubsecRound as _, TimeDelta, Utc};
use domain::london;
use event_log::KnownAt;
use serde::{Deserialize, Deserializer, de};

/// The years of valid dates and instants. One outside them is a slip, and some stores could not
/// hold it.
pub const YEARS: RangeInclusive<i32> = 1900..=2199;

/// The error of a text that is not a point in time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{value}` is not {what} in the years {} to {}; write {example}", YEARS.start(), YEARS.end())]
pub struct InvalidInstant {
    value: String,
    what: &'static str,
    example: &'static str,
}

/// An instant, or a London date, which means its first instant: `2026-07-01` is
/// 2026-06-30T23:00:00Z. So an answer "on" a date describes the start of the day, after a handover
/// planned for that day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct DateOrInstant(DateTime<Utc>);

impl DateOrInstant {
    /// The instant.
    #[must_use]
    pub fn instant(self) -> DateTime<Utc> {
        self.0
    }
}

impl FromStr for DateOrInstant {
    type Err = InvalidInstant;
    fn from_str(text: &str) -> Result<Self, InvalidInstant> {
        let instant = match parse(text) {
            Some(PointInTime::Date(date)) => london::midnight(date),
            Some(PointInTime::Instant(instant)) => instant,
            None => {
                return Err(InvalidInstant {
                    value: text.to_owned(),
                    what: "a date or an instant",
                    example: "a date such as 2026-03-01 or an instant such as 2026-03-01T09:00:00Z",
                });
            }
        };
        Ok(Self(instant))
    }
}

/// Reads a point in what the ledger knew. A London date is its last instant: what was known when
/// that day was over.
///
/// # Errors
/// [`InvalidInstant`], where it is neither a position nor a date or an instant.
pub fn parse_known_at(text: &str) -> Result<KnownAt, InvalidInstant> {
    if let Ok(position) = text.parse() {
        return Ok(KnownAt::Position(position));
    }
    match parse(text) {
        Some(PointInTime::Date(date)) => {
            Ok(KnownAt::Instant(london::midnight(date + Days::new(1)) - TimeDelta::microseconds(1)))
        }
        Some(PointInTime::Instant(instant)) => Ok(KnownAt::Instant(instant)),
        None => Err(InvalidInstant {
            value: text.to_owned(),
            what: "a position, or a date or an instant",
            example: "a position such as 81233, a date such as 2026-03-01 or an instant such as 2026-03-01T09:00:00Z",
        }),
    }
}

/// Reads an optional `known-at` of a query, for `#[serde(default, deserialize_with)]`.
///
/// # Errors
/// As [`parse_known_at`].
pub fn optional_known_at<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<KnownAt>, D::Error> {
    let text = Option::<Cow<'_, str>>::deserialize(deserializer)?;
    text.map(|text| parse_known_at(&text).map_err(de::Error::custom)).transpose()
}

/// A London date.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Date(pub NaiveDate);

impl FromStr for Date {
    type Err = InvalidInstant;
    fn from_str(text: &str) -> Result<Self, InvalidInstant> {
        match parse(text) {
            Some(PointInTime::Date(date)) => Ok(Self(date)),
            Some(PointInTime::Instant(_)) | None => {
                Err(InvalidInstant { value: text.to_owned(), what: "a date", example: "a date such as 2026-03-01" })
            }
        }
    }
}

/// Whether an instant lies in [`YEARS`].
#[must_use]
pub fn is_in_range(instant: DateTime<Utc>) -> bool {
    YEARS.contains(&instant.year())
}

enum PointInTime {
    Date(NaiveDate),
    Instant(DateTime<Utc>),
}

fn parse(text: &str) -> Option<PointInTime> {
    if let Ok(date) = text.parse::<NaiveDate>() {
        return YEARS.contains(&date.year()).then_some(PointInTime::Date(date));
    }
    // The `+` of an offset that was not escaped in a URL arrives as a space.
    let text = text.replace(' ', "+");
    // Views and events keep microseconds.
    let instant = DateTime::parse_from_rfc3339(&text).ok()?.to_utc().trunc_subsecs(6);
    is_in_range(instant).then_some(PointInTime::Instant(instant))
}

/// Reads an optional date of a body, for `#[serde(deserialize_with)]`.
pub(crate) fn optional_date<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<NaiveDate>, D::Error> {
    let text = Option::<Cow<'_, str>>::deserialize(deserializer)?;
    text.map(|text| text.parse().map(|Date(date)| date).map_err(de::Error::custom)).transpose()
}

macro_rules! deserialize_from_text {
    ($($type:ty),+) => {$(
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Cow::<str>::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }
    )+};
}
deserialize_from_text!(DateOrInstant, Date);

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, instant: &str) {
        let read: DateOrInstant = text.parse().expect("a date or an instant");
        assert_eq!(read.instant(), instant.parse::<DateTime<Utc>>().expect("an instant"));
    }

    #[test]
    fn a_date_is_its_first_instant_in_london() {
        check("2026-03-01", "2026-03-01T00:00:00Z");
        check("2026-07-01", "2026-06-30T23:00:00Z");
        check("2026-07-01T09:30:00Z", "2026-07-01T09:30:00Z");
        check("2026-07-01T09:30:00+01:00", "2026-07-01T08:30:00Z");
        check("2026-07-01T09:30:00 01:00", "2026-07-01T08:30:00Z");
        check("2026-07-01T09:30:00.1234567Z", "2026-07-01T09:30:00.123456Z");
        for wrong in [
            "",
            "soon",
            "2026-02-30",
            "01/03/2026",
            "2026-07-01T09:30:00",
            "1899-12-31",
            "2200-01-01",
            "+262142-12-31",
            "-4800-01-01",
            "9999-12-31T23:59:59Z",
            "\0",
        ] {
            wrong.parse::<DateOrInstant>().expect_err(wrong);
        }
    }

    #[test]
    fn known_at_takes_a_position_an_instant_or_the_end_of_a_day() {
        assert_eq!(parse_known_at("81233"), Ok(KnownAt::Position(81_233)));
        for (text, instant) in [
            ("2026-03-01", "2026-03-01T23:59:59.999999Z"),
            ("2026-07-01", "2026-07-01T22:59:59.999999Z"),
            ("2026-03-01T09:00:00Z", "2026-03-01T09:00:00Z"),
        ] {
            assert_eq!(parse_known_at(text), Ok(KnownAt::Instant(instant.parse().expect("an instant"))));
        }
        parse_known_at("-1").expect_err("negative");
    }
}
