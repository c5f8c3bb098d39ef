//! Table `pom_period`: the roster, period by period.

use chrono::{DateTime, NaiveDate, Utc};
use domain::{
    identifier::{PrisonCode, StaffId},
    officer::{PomKind, PomStatus, WorkingPattern},
    prison::{History, RosterPeriod, roster_periods},
};

use crate::{
    postgres_time::{day, within_microseconds},
    table::table,
    values::{PeriodEnd, word_columns},
};

table! {
    /// The roster: each POM of a prison, period by period.
    PomPeriodRow in pom_period, key (prison_code, staff_id, valid_from),
    check pom_period_order = "valid_from < valid_to" {
        /// Agency code.
        prison_code: PrisonCode,
        /// NOMIS staff id.
        staff_id: StaffId,
        /// First instant of the period.
        valid_from: DateTime<Utc>,
        /// First instant after the period; infinity while nothing ends it.
        valid_to: PeriodEnd,
        /// "Surname, Forename".
        name: String,
        /// PRISON or PROBATION.
        kind: PomKind,
        /// Work e-mail address.
        email: Option<String>,
        /// Share of full time, 0.1 to 1.0.
        working_pattern: WorkingPattern,
        /// ACTIVE, UNAVAILABLE or INACTIVE.
        status: PomStatus,
        /// For UNAVAILABLE: expected back on this London day.
        returns_on: Option<NaiveDate>,
        /// Why the status is as it is.
        reason: Option<String>,
    }
}

word_columns!(PomStatus);

impl PomPeriodRow {
    /// The rows of a prison, each POM's in order.
    #[must_use]
    pub fn all_of(history: &History) -> Vec<Self> {
        let periods = roster_periods(history).into_iter();
        periods.filter_map(|period| Self::of(history.code(), period)).collect()
    }

    fn of(code: &PrisonCode, period: RosterPeriod) -> Option<Self> {
        let (valid_from, valid_to) = within_microseconds(period.from, period.to)?;
        let pom = period.pom;
        Some(Self {
            prison_code: code.clone(),
            staff_id: pom.staff_id,
            valid_from,
            valid_to,
            name: pom.name,
            kind: pom.kind,
            email: pom.email,
            working_pattern: pom.working_pattern,
            status: pom.status,
            returns_on: pom.returns_on.map(day),
            reason: pom.reason,
        })
    }
}
