//! Which rows a case or a prison has, given its history.
//!
//! Pure and without a clock: the same history gives the same rows.
//!
//! Postgres keeps whole microseconds and no time before 4713 BC. This module brings the values of
//! the log within that, so that the rows compare equal to those that Postgres gives back.

#[cfg(test)]
mod tests;

use chrono::{DateTime, NaiveDate, NaiveTime, SubsecRound as _, Utc};
use domain::{prison, prisoner};

use crate::{
    tables::{
        allocation::AllocationRow, case_period::CasePeriodRow, case_prison::CasePrisonRow,
        nomis_contact::NomisContactRow, pom_period::PomPeriodRow, prison::PrisonRow, prisoner_case::PrisonerCaseRow,
    },
    values::PeriodEnd,
    view::{CaseRows, PrisonRows},
};

/// The rows of a case.
#[must_use]
pub fn case_rows(history: &prisoner::History) -> CaseRows {
    let (case_prison, state) = CasePrisonRow::all_of(history);
    let prisoner_case = PrisonerCaseRow::of(history, state);
    let case_period = prisoner_case.iter().flat_map(|case| {
        let periods = prisoner::periods(history).into_iter();
        periods.filter_map(|period| CasePeriodRow::of(case, period))
    });
    CaseRows {
        case_period: case_period.collect(),
        prisoner_case,
        case_prison,
        allocation: AllocationRow::all_of(history),
    }
}

/// The rows of a prison.
#[must_use]
pub fn prison_rows(history: &prison::History) -> PrisonRows {
    let roster = history.roster();
    PrisonRows {
        prison: PrisonRow::of(history, roster),
        pom_period: PomPeriodRow::all_of(history),
        nomis_contact: NomisContactRow::all_of(history, roster),
    }
}

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
const EARLIEST_DAY: NaiveDate = match NaiveDate::from_ymd_opt(-4712, 1, 1) {
    Some(day) => day,
    None => NaiveDate::MIN,
};
