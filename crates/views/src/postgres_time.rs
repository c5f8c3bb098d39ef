//! Times as Postgres can hold them: in whole microseconds, and none before 4713 BC.
//!
//! Rows hold their times so, and compare equal to those that Postgres gives back.

use chrono::{DateTime, NaiveDate, NaiveTime, SubsecRound as _, Utc};

use crate::values::PeriodEnd;

/// The bounds of a period as Postgres can hold them; `None` for a period too short for it.
pub(crate) fn within_microseconds(
    from: DateTime<Utc>,
    to: Option<DateTime<Utc>>,
) -> Option<(DateTime<Utc>, PeriodEnd)> {
    let (from, to) = (instant(from), to.map(instant));
    to.is_none_or(|to| from < to).then_some((from, PeriodEnd(to)))
}

/// An instant as Postgres can hold it. Its latest instant is later than chrono's, so only the
/// earliest needs care.
pub(crate) fn instant(at: DateTime<Utc>) -> DateTime<Utc> {
    at.trunc_subsecs(6).max(EARLIEST_DAY.and_time(NaiveTime::MIN).and_utc())
}

/// A date as Postgres can hold it.
pub(crate) fn day(date: NaiveDate) -> NaiveDate {
    date.max(EARLIEST_DAY)
}

/// The first day of 4713 BC, which Postgres holds both as a date and as an instant.
pub(crate) const EARLIEST_DAY: NaiveDate = match NaiveDate::from_ymd_opt(-4712, 1, 1) {
    Some(day) => day,
    None => NaiveDate::MIN,
};
