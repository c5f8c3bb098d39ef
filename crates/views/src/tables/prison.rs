//! Table `prison`: one row a prison.

use chrono::NaiveDate;
use domain::{
    identifier::PrisonCode,
    prison::{Estate, History, Roster},
};

use crate::{postgres_time::day, table::table, values::word_columns};

table! {
    /// One row a prison that the ledger has heard of.
    PrisonRow in prison, key (prison_code) {
        /// Agency code, e.g. LEI.
        prison_code: PrisonCode,
        /// Revision of the last event of the prison that the views include.
        revision: u64,
        /// Position in the log of that event.
        position: u64,
        /// First London day on OMiC; null where the prison has not joined.
        go_live_date: Option<NaiveDate>,
        /// MENS_CLOSED, MENS_OPEN or WOMENS.
        estate: Option<Estate>,
    }
}

word_columns!(Estate);

impl PrisonRow {
    /// The row of a prison, where `roster` is what holds after all its entries; `None` while
    /// nothing is recorded of the prison.
    pub(crate) fn of(history: &History, roster: &Roster) -> Option<Self> {
        let last = history.entries().last()?;
        Some(Self {
            prison_code: history.code().clone(),
            revision: last.revision,
            position: last.position,
            go_live_date: roster.joined.as_ref().map(|joined| day(joined.go_live_date)),
            estate: roster.joined.as_ref().map(|joined| joined.estate),
        })
    }
}
