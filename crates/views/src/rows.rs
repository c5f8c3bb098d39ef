//! Which rows a case, a prison or a person's contacts have, given their history.
//!
//! Pure and without a clock: the same history gives the same rows.

#[cfg(test)]
mod tests;

use domain::{nomis_contacts, prison, prisoner};

use crate::{
    tables::{
        allocation::AllocationRow, case_period::CasePeriodRow, case_prison::CasePrisonRow,
        control_entry::ControlEntryRow, nomis_contact::NomisContactRow, pom_period::PomPeriodRow, prison::PrisonRow,
        prisoner_case::PrisonerCaseRow, reception::ReceptionRow,
    },
    view::{CaseRows, ContactRows, PrisonRows},
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
        reception: ReceptionRow::all_of(history),
        control_entry: ControlEntryRow::all_of(history),
    }
}

/// The rows of a prison.
#[must_use]
pub fn prison_rows(history: &prison::History) -> PrisonRows {
    let roster = history.roster();
    PrisonRows { prison: PrisonRow::of(history, roster), pom_period: PomPeriodRow::all_of(history) }
}

/// The rows of a person's contacts.
#[must_use]
pub fn contact_rows(history: &nomis_contacts::History) -> ContactRows {
    ContactRows { nomis_contact: NomisContactRow::all_of(history) }
}
