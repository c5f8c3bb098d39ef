//! Points in time as they are said in a URL.

use std::{borrow::Cow, str::FromStr};

use chrono::{DateTime, NaiveDate, SubsecRound, Utc};
use domain::london;
use serde::{Deserialize, Deserializer, de};

/// Why a text is not a point in time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{value}` is not a date {or_else}, e.g. 2026-03-01 or 2026-03-01T09:00:00Z")]
pub struct Invalid {
    value: String,
    or_else: &'static str,
}

/// An instant, or a London date that stands for its first instant: `2026-07-01` is 2026-06-30T23:00:00Z. So an answer
/// "on" a date is what held when the day began, after a handover planned for that day has taken place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct DateOrInstant(DateTime<Utc>);

impl DateOrInstant {
    /// The instant meant.
    #[must_use]
    pub fn instant(self) -> DateTime<Utc> {
        self.0
    }
}

impl FromStr for DateOrInstant {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        parse(text).map(Self).ok_or_else(|| Invalid { value: text.to_owned(), or_else: "or an instant" })
    }
}

/// A point in what the ledger knew: a position in the log, or an instant up to which things had been recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KnownAt {
    /// After the event at this position.
    Position(u64),
    /// After everything that was recorded at or before this instant. A date stands for its first instant.
    Instant(DateTime<Utc>),
}

impl FromStr for KnownAt {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        if let Ok(position) = text.parse() {
            return Ok(Self::Position(position));
        }
        parse(text)
            .map(Self::Instant)
            .ok_or_else(|| Invalid { value: text.to_owned(), or_else: "or an instant or a position" })
    }
}

fn parse(text: &str) -> Option<DateTime<Utc>> {
    if let Ok(date) = text.parse::<NaiveDate>() {
        return Some(london::midnight(date));
    }
    // The `+` of an offset that was not escaped in a URL arrives as a space.
    let text = text.replace(' ', "+");
    let instant = DateTime::parse_from_rfc3339(&text).ok()?.to_utc();
    // Views and events keep microseconds.
    Some(instant.trunc_subsecs(6))
}

impl<'de> Deserialize<'de> for DateOrInstant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<str>::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for KnownAt {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<str>::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

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
        for wrong in ["", "soon", "2026-02-30", "01/03/2026", "2026-07-01T09:30:00"] {
            wrong.parse::<DateOrInstant>().expect_err(wrong);
        }
    }

    #[test]
    fn a_number_is_a_position() {
        assert_eq!("81233".parse(), Ok(KnownAt::Position(81_233)));
        assert_eq!("2026-03-01".parse(), Ok(KnownAt::Instant("2026-03-01T00:00:00Z".parse().expect("an instant"))));
        "-1".parse::<KnownAt>().expect_err("negative");
    }
}
