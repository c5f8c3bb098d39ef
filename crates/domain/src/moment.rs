//! The dates and instants that the ledger takes from outside: from bodies, query parameters, files
//! and the command line. One spelling, one precision and one range for all of them, so that every
//! store, view and export can hold what is accepted.
//!
//! | | takes | refuses |
//! |---|---|---|
//! | [`Date`] | `2026-03-01` | signs, blanks, missing zeros, other separators |
//! | [`Instant`] | `2026-03-01T09:00:00Z`, with a fraction of a second, with an offset such as `+01:00` | a blank or `t` for the `T`, `z`, no offset, offsets beyond 23:59 |
//!
//! Both are in [`YEARS`]. An instant is cut to whole microseconds. A leap second, 23:59:60 UTC, is
//! the first second of the next day, as in POSIX time and in Postgres; second 60 of any other
//! minute is no instant.
//!
//! Stored events are read by [`normalise`] instead: a range or a spelling that is refused today
//! must not make an old event unreadable.

use std::{fmt, ops::RangeInclusive, str::FromStr};

use chrono::{DateTime, Datelike as _, NaiveDate, NaiveTime, TimeDelta, Timelike as _, Utc};
use serde::{Deserialize, Deserializer, Serialize, de};

use crate::text::Excerpt;

/// The years of valid dates and instants. One outside them is a slip, and not every reader of an
/// export could hold it.
pub const YEARS: RangeInclusive<i32> = 1900..=2199;

/// An example of a date, for sentences.
const DATE_EXAMPLE: &str = "a date such as 2026-03-01";

/// An example of an instant, for sentences.
const INSTANT_EXAMPLE: &str = "an instant such as 2026-03-01T09:00:00Z";

/// The error of a text that is not a point in time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not {what} in the years {} to {}; write {example}", Excerpt(.value), YEARS.start(), YEARS.end())]
pub struct InvalidMoment {
    value: String,
    what: &'static str,
    example: &'static str,
}

impl InvalidMoment {
    /// `what` and `example` are parts of the sentence: "a date", "a date such as 2026-03-01".
    #[must_use]
    pub fn new(value: &str, what: &'static str, example: &'static str) -> Self {
        Self { value: value.to_owned(), what, example }
    }
}

/// A London date in [`YEARS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Date(NaiveDate);

/// An instant in [`YEARS`], in whole microseconds and without a leap second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Instant(DateTime<Utc>);

impl From<Date> for NaiveDate {
    fn from(date: Date) -> Self {
        date.0
    }
}

impl From<Instant> for DateTime<Utc> {
    fn from(instant: Instant) -> Self {
        instant.0
    }
}

impl FromStr for Date {
    type Err = InvalidMoment;
    fn from_str(text: &str) -> Result<Self, InvalidMoment> {
        read_date(text.as_bytes())
            .filter(|date| YEARS.contains(&date.year()))
            .map(Self)
            .ok_or_else(|| InvalidMoment::new(text, "a date", DATE_EXAMPLE))
    }
}

impl FromStr for Instant {
    type Err = InvalidMoment;
    fn from_str(text: &str) -> Result<Self, InvalidMoment> {
        read_instant(text.as_bytes())
            .filter(|instant| YEARS.contains(&instant.year()))
            .map(Self)
            .ok_or_else(|| InvalidMoment::new(text, "an instant", INSTANT_EXAMPLE))
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An instant as every store and view can hold it: cut to whole microseconds, and a leap second
/// rolled over to the second after it.
#[must_use]
pub fn normalise(instant: DateTime<Utc>) -> DateTime<Utc> {
    // `chrono` counts a leap second as a second more of the second before it, which makes this
    // number that of the next second.
    DateTime::from_timestamp_micros(instant.timestamp_micros()).unwrap_or(instant)
}

/// Reads an instant of a stored event, for `#[serde(deserialize_with)]`: [`normalise`]d, in any
/// year.
///
/// # Errors
/// Those of the deserializer.
pub fn deserialize_stored<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DateTime<Utc>, D::Error> {
    DateTime::deserialize(deserializer).map(normalise)
}

/// The number that these ASCII digits write; at most nine of them.
fn digits(text: &[u8]) -> Option<u32> {
    text.iter().try_fold(0, |number, byte| byte.is_ascii_digit().then(|| number * 10 + u32::from(byte - b'0')))
}

fn read_date(text: &[u8]) -> Option<NaiveDate> {
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = text else { return None };
    let year = digits(&[*y1, *y2, *y3, *y4])?.try_into().ok()?;
    NaiveDate::from_ymd_opt(year, digits(&[*m1, *m2])?, digits(&[*d1, *d2])?)
}

fn read_instant(text: &[u8]) -> Option<DateTime<Utc>> {
    let (date, rest) = text.split_at_checked(10)?;
    let (time, rest) = rest.split_at_checked(9)?;
    let [b'T', h1, h2, b':', m1, m2, b':', s1, s2] = time else { return None };
    let (micros, offset) = read_fraction(rest)?;
    let second = digits(&[*s1, *s2])?;
    let is_leap = second == 60;
    let time = NaiveTime::from_hms_micro_opt(
        digits(&[*h1, *h2])?,
        digits(&[*m1, *m2])?,
        if is_leap { 59 } else { second },
        micros,
    )?;
    let instant = read_date(date)?.and_time(time).and_utc().checked_sub_signed(read_offset(offset)?)?;
    match (is_leap, instant.hour(), instant.minute()) {
        (true, 23, 59) => instant.checked_add_signed(TimeDelta::seconds(1)),
        (true, _, _) => None,
        (false, _, _) => Some(instant),
    }
}

/// The microseconds of a fraction of a second, if there is one, and the text after it.
fn read_fraction(text: &[u8]) -> Option<(u32, &[u8])> {
    let Some(fraction) = text.strip_prefix(b".") else { return Some((0, text)) };
    let len = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (fraction, rest) = fraction.split_at(len);
    let mut micros = *b"000000";
    for (digit, given) in micros.iter_mut().zip(fraction) {
        *digit = *given;
    }
    (len > 0).then_some(())?;
    Some((digits(&micros)?, rest))
}

fn read_offset(text: &[u8]) -> Option<TimeDelta> {
    if text == b"Z" {
        return Some(TimeDelta::zero());
    }
    let [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] = text else { return None };
    let (hours, minutes) = (digits(&[*h1, *h2])?, digits(&[*m1, *m2])?);
    if hours > 23 || minutes > 59 {
        return None;
    }
    let offset = TimeDelta::minutes((hours * 60 + minutes).into());
    Some(if *sign == b'+' { offset } else { -offset })
}

macro_rules! deserialize_from_text {
    ($($type:ty, $expected:ident;)+) => {$(
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct TextVisitor;

                impl de::Visitor<'_> for TextVisitor {
                    type Value = $type;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expected)
                    }

                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$type, E> {
                        text.parse().map_err(E::custom)
                    }
                }

                deserializer.deserialize_str(TextVisitor)
            }
        }
    )+};
}
deserialize_from_text!(
    Date, DATE_EXAMPLE;
    Instant, INSTANT_EXAMPLE;
);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check_instant(text: &str, expected: &str) {
        let read: Instant = text.parse().expect(text);
        assert_eq!(DateTime::from(read), expected.parse::<DateTime<Utc>>().expect("an instant"), "{text}");
    }

    #[test]
    fn an_instant_has_one_spelling_one_precision_and_one_range() {
        check_instant("2026-07-01T09:30:00Z", "2026-07-01T09:30:00Z");
        check_instant("2026-07-01T09:30:00.1Z", "2026-07-01T09:30:00.1Z");
        check_instant("2026-07-01T09:30:00.123456789012Z", "2026-07-01T09:30:00.123456Z");
        check_instant("2026-07-01T09:30:00+01:00", "2026-07-01T08:30:00Z");
        check_instant("2026-07-01T00:30:00-23:59", "2026-07-02T00:29:00Z");
        check_instant("2026-07-01T00:30:00-00:00", "2026-07-01T00:30:00Z");
        check_instant("1900-01-01T00:00:00Z", "1900-01-01T00:00:00Z");
        check_instant("2199-12-31T23:59:59.999999999Z", "2199-12-31T23:59:59.999999Z");
        for wrong in [
            "",
            "soon",
            "\0",
            "2026-07-01",
            "2026-07-01T09:30Z",
            "2026-07-01T09:30:00",
            "2026-07-01 09:30:00Z",
            "2026-07-01t09:30:00Z",
            "2026-07-01T09:30:00z",
            "2026-07-01T9:30:00Z",
            " 2026-07-01T09:30:00Z",
            "2026-07-01T09:30:00Z ",
            "2026-07-01T09:30:00.Z",
            "2026-07-01T09:30:00,5Z",
            "2026-07-01T09:30:00+0100",
            "2026-07-01T09:30:00+01",
            "2026-07-01T09:30:00 01:00",
            "2026-07-01T09:30:00+24:00",
            "2026-07-01T09:30:00+01:60",
            "2026-07-01T24:00:00Z",
            "2026-02-29T00:00:00Z",
            "1899-12-31T23:59:59.999999Z",
            "1900-01-01T00:30:00+01:00",
            "2200-01-01T00:00:00Z",
            "2199-12-31T23:30:00-01:00",
            "9999-12-31T23:59:59Z",
            "+262142-12-31T00:00:00Z",
            "-4800-01-01T00:00:00Z",
            "２026-07-01T09:30:00Z",
        ] {
            wrong.parse::<Instant>().expect_err(wrong);
        }
    }

    #[test]
    fn a_leap_second_is_the_first_second_of_the_next_day() {
        check_instant("2016-12-31T23:59:60Z", "2017-01-01T00:00:00Z");
        check_instant("2016-12-31T23:59:60.999999999Z", "2017-01-01T00:00:00.999999Z");
        check_instant("2017-01-01T08:59:60+09:00", "2017-01-01T00:00:00Z");
        for wrong in [
            "2016-12-31T23:59:61Z",
            "2016-12-31T23:58:60Z",
            "2016-12-31T12:59:60Z",
            "2016-12-31T23:59:60+01:00",
            "2199-12-31T23:59:60Z",
        ] {
            wrong.parse::<Instant>().expect_err(wrong);
        }
    }

    #[test]
    fn a_date_has_one_spelling_and_one_range() {
        for text in ["1900-01-01", "2024-02-29", "2026-03-01", "2199-12-31"] {
            assert_eq!(text.parse::<Date>().expect(text).to_string(), text);
        }
        for wrong in [
            "",
            " 2026-01-01",
            "2026-01-01 ",
            "2026-1-1",
            "2026-02-29",
            "2026-13-01",
            "2026-00-10",
            "01/03/2026",
            "2026/03/01",
            "20260301",
            "+2026-03-01",
            "-2026-03-01",
            "12026-03-01",
            "+262142-12-31",
            "0001-01-01",
            "1899-12-31",
            "2200-01-01",
            "9999-12-31",
            "2026-03-01T00:00:00Z",
            "２026-03-01",
        ] {
            wrong.parse::<Date>().expect_err(wrong);
        }
        let refused = "2026-13-01".parse::<Date>().expect_err("no date").to_string();
        assert_eq!(refused, "`2026-13-01` is not a date in the years 1900 to 2199; write a date such as 2026-03-01");
    }

    #[test]
    fn a_long_text_is_not_repeated_whole() {
        let refused = "9".repeat(10_000).parse::<Instant>().expect_err("no instant").to_string();
        assert!(refused.len() < 300, "{refused}");
    }

    #[test]
    fn a_stored_leap_second_is_rolled_over() {
        let stored: DateTime<Utc> = "2016-12-31T23:59:60.123456789Z".parse().expect("chrono reads it");
        assert_eq!(normalise(stored).to_rfc3339(), "2017-01-01T00:00:00.123456+00:00");
        let early: DateTime<Utc> = "1969-12-31T23:59:59.999999999Z".parse().expect("an instant");
        assert_eq!(normalise(early).to_rfc3339(), "1969-12-31T23:59:59.999999+00:00");
    }

    proptest! {
        #[test]
        fn an_instant_is_read_as_it_was_written(micros in -2_208_988_800_000_000..7_258_118_400_000_000_i64, offset in -1_439..1_440) {
            let instant = DateTime::from_timestamp_micros(micros).expect("an instant");
            let elsewhere = instant.with_timezone(&chrono::FixedOffset::east_opt(offset * 60).expect("an offset"));
            for text in [instant.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true), elsewhere.to_rfc3339()] {
                prop_assert_eq!(DateTime::from(text.parse::<Instant>().expect("an instant")), instant);
            }
        }

        #[test]
        fn an_accepted_text_is_in_range_and_no_other_text_is_accepted(text in "[0-9+-]{0,2}[12][0-9]{3}-[0-9]{2}-[0-9]{2}([Tt ][0-9]{2}:[0-9]{2}:[0-6][0-9](\\.[0-9]{0,12})?([Zz]|[+-][0-9]{2}:[0-9]{2}))?") {
            if let Ok(instant) = text.parse::<Instant>() {
                let instant = DateTime::from(instant);
                prop_assert!(YEARS.contains(&instant.year()));
                prop_assert_eq!(instant, normalise(instant));
                prop_assert!(instant.timestamp_subsec_nanos() < 1_000_000_000);
                prop_assert_eq!(normalise(DateTime::parse_from_rfc3339(&text).expect("RFC 3339").to_utc()), instant);
            }
            if let Ok(date) = text.parse::<Date>() {
                prop_assert_eq!(date.to_string(), text);
            }
        }
    }
}
