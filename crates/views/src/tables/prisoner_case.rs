//! Table `prisoner_case`: one row a case.

use chrono::{DateTime, Utc};
use domain::{
    identifier::{Crn, PrisonerNumber},
    prisoner::{History, State},
};

use crate::{postgres_time::instant, table::table};

table! {
    /// One row a case that the ledger has heard of.
    PrisonerCaseRow in prisoner_case, key (prisoner_number) {
        /// NOMS number, e.g. A1234BC.
        prisoner_number: PrisonerNumber,
        /// Revision of the last event of the case that the views include.
        revision: u64,
        /// Position in the log of that event.
        position: u64,
        /// Number of the case in Delius, where known.
        crn: Option<Crn>,
        /// The surviving number, where this one was merged; follow it.
        merged_into: Option<PrisonerNumber>,
        /// Effective time of the earliest entry that stands, or of the earliest at all where every
        /// one is voided.
        first_effective_at: DateTime<Utc>,
        /// Whether the case has ever had a primary POM, voided entries left out.
        ever_allocated: bool,
    }
}

impl PrisonerCaseRow {
    /// The row of a case, where `state` is what holds after all its entries; `None` while nothing
    /// is recorded of the case.
    #[must_use]
    pub fn of(history: &History, state: State) -> Option<Self> {
        let last = history.entries().last()?;
        Some(Self {
            prisoner_number: history.number().clone(),
            revision: last.revision,
            position: last.position,
            crn: state.crn,
            merged_into: state.retired_into,
            first_effective_at: first_effective_at(history),
            ever_allocated: state.ever_allocated,
        })
    }
}

/// A case whose entries are all voided is as old as the earliest of them.
fn first_effective_at(history: &History) -> DateTime<Utc> {
    let in_effect = history.in_effective_order().first().map(|entry| entry.effective_at);
    let recorded = || history.entries().iter().map(|entry| entry.effective_at).min();
    instant(in_effect.or_else(recorded).unwrap_or_default())
}
