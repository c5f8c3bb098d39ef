//! Points in time in a URL and on the command line.

use std::{borrow::Cow, str::FromStr};

use chrono::{DateTime, Days, NaiveDate, TimeDelta, Utc};
use domain::{
    london,
    moment::{Date, Instant, InvalidMoment},
    openapi::LondonDate,
};
use event_log::KnownAt;
use serde::{Deserialize, Deserializer, de};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        ObjectBuilder, RefOr, Type,
        schema::{AnyOfBuilder, Schema},
    },
};

use crate::headers::whole_number;

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
    type Err = InvalidMoment;
    fn from_str(text: &str) -> Result<Self, InvalidMoment> {
        let instant = match PointInTime::parse(text) {
            Some(PointInTime::Date(date)) => london::midnight(date),
            Some(PointInTime::Instant(instant)) => instant,
            None => {
                return Err(InvalidMoment::new(
                    text,
                    "a date or an instant",
                    "a date such as 2026-03-01 or an instant such as 2026-03-01T09:00:00Z",
                ));
            }
        };
        Ok(Self(instant))
    }
}

/// Reads from a query.
impl<'de> Deserialize<'de> for DateOrInstant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        with_offset_sign(&text).parse().map_err(de::Error::custom)
    }
}

impl PartialSchema for DateOrInstant {
    fn schema() -> RefOr<Schema> {
        Schema::from(AnyOfBuilder::new().item(LondonDate::schema()).item(Instant::schema()).build()).into()
    }
}

impl ToSchema for DateOrInstant {}

/// The schema of a point in what the ledger knew.
#[derive(Debug, Clone, Copy)]
pub struct KnownAtParam;

impl PartialSchema for KnownAtParam {
    fn schema() -> RefOr<Schema> {
        let position = ObjectBuilder::new()
            .schema_type(Type::Integer)
            .description(Some("A position in the ledger."))
            .minimum(Some(0_i64));
        let any = AnyOfBuilder::new().item(position).item(LondonDate::schema()).item(Instant::schema());
        Schema::from(any.build()).into()
    }
}

impl ToSchema for KnownAtParam {}

/// Reads a point in what the ledger knew. A London date is its last instant: what was known when
/// that day was over.
///
/// # Errors
/// [`InvalidMoment`], where it is neither a position nor a date or an instant.
pub fn parse_known_at(text: &str) -> Result<KnownAt, InvalidMoment> {
    if let Some(position) = whole_number(text) {
        return Ok(KnownAt::Position(position));
    }
    match PointInTime::parse(text) {
        Some(PointInTime::Date(date)) => {
            Ok(KnownAt::Instant(london::midnight(date + Days::new(1)) - TimeDelta::microseconds(1)))
        }
        Some(PointInTime::Instant(instant)) => Ok(KnownAt::Instant(instant)),
        None => Err(InvalidMoment::new(
            text,
            "a position, or a date or an instant",
            "a position such as 81233, a date such as 2026-03-01 or an instant such as 2026-03-01T09:00:00Z",
        )),
    }
}

/// Reads an optional `known-at` of a query, for `#[serde(default, deserialize_with)]`.
///
/// # Errors
/// As [`parse_known_at`].
pub fn optional_known_at<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<KnownAt>, D::Error> {
    let text = Option::<Cow<'_, str>>::deserialize(deserializer)?;
    text.map(|text| parse_known_at(&with_offset_sign(&text)).map_err(de::Error::custom)).transpose()
}

/// The `+` of an offset that was not escaped in a URL arrives as a blank. Only there it is mended;
/// any other blank makes the text invalid.
fn with_offset_sign(text: &str) -> Cow<'_, str> {
    match text.rsplit_once(' ') {
        Some((local, offset)) if local.contains('T') && offset.len() == "01:00".len() => {
            format!("{local}+{offset}").into()
        }
        _ => text.into(),
    }
}

enum PointInTime {
    Date(NaiveDate),
    Instant(DateTime<Utc>),
}

impl PointInTime {
    fn parse(text: &str) -> Option<Self> {
        let date = text.parse::<Date>().map(|date| Self::Date(date.into()));
        date.or_else(|_| text.parse::<Instant>().map(|instant| Self::Instant(instant.into()))).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, instant: &str) {
        let read: DateOrInstant = serde_json::from_value(serde_json::Value::from(text)).expect("a date or an instant");
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
            "1899-12-31",
            "2200-01-01",
            " 2026-07-01",
            "2026-7-1",
            "2026-07-01 09:30:00Z",
            "2026-07-01T09:30:00 1:00",
            "2026-07-01 09:30:00 01:00",
        ] {
            wrong.parse::<DateOrInstant>().expect_err(wrong);
            serde_json::from_value::<DateOrInstant>(wrong.into()).expect_err(wrong);
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
        for wrong in ["-1", "+5", "5 ", "", "18446744073709551616"] {
            parse_known_at(wrong).expect_err(wrong);
        }
    }
}
