//! Times as Postgres and the readers of exports can hold them: in whole microseconds, in the years
//! 1 to 9999. Postgres and Parquet hold more, but Python does not. The ledger accepts no other
//! times; a stored event from before it refused them has the first or the last of these instead.
//!
//! Rows hold their times so, and compare equal to those that Postgres gives back.

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use domain::moment::normalise;

use crate::values::PeriodEnd;

/// The bounds of a period as Postgres can hold them; `None` for a period too short for it.
pub(crate) fn within_microseconds(
    from: DateTime<Utc>,
    to: Option<DateTime<Utc>>,
) -> Option<(DateTime<Utc>, PeriodEnd)> {
    let (from, to) = (instant(from), to.map(instant));
    to.is_none_or(|to| from < to).then_some((from, PeriodEnd(to)))
}

/// An instant as Postgres and the readers of exports can hold it.
pub(crate) fn instant(at: DateTime<Utc>) -> DateTime<Utc> {
    let begin = |day: NaiveDate| day.and_time(NaiveTime::MIN).and_utc();
    normalise(at).clamp(begin(EARLIEST_DAY), begin(LATEST_DAY))
}

/// A date as Postgres and the readers of exports can hold it.
pub(crate) fn day(date: NaiveDate) -> NaiveDate {
    date.clamp(EARLIEST_DAY, LATEST_DAY)
}

/// The first day of the year 1.
pub(crate) const EARLIEST_DAY: NaiveDate = match NaiveDate::from_ymd_opt(1, 1, 1) {
    Some(day) => day,
    None => NaiveDate::MIN,
};

/// The last day of the year 9999.
pub(crate) const LATEST_DAY: NaiveDate = match NaiveDate::from_ymd_opt(9_999, 12, 31) {
    Some(day) => day,
    None => NaiveDate::MAX,
};
