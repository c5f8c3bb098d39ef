//! Table `reception`: one row a reception that was not voided.

use chrono::{DateTime, Utc};
use domain::{
    Entry,
    identifier::{PrisonCode, PrisonerNumber},
    prisoner::{self, History, PrisonerEvent, Received, ReceptionReason},
};

use crate::{postgres_time::instant, table::table, values::word_columns};

table! {
    /// One row a reception of a person at a prison, voided ones left out.
    ReceptionRow in reception, key (prisoner_number, revision) {
        /// NOMS number.
        prisoner_number: PrisonerNumber,
        /// Revision of the event in the case's stream.
        revision: u64,
        /// Where.
        prison: PrisonCode,
        /// When the person came in.
        received_at: DateTime<Utc>,
        /// When the ledger learnt of it.
        recorded_at: DateTime<Utc>,
        /// NEW_ADMISSION, READMISSION, READMISSION_SWITCH_BOOKING or TRANSFERRED.
        reason: ReceptionReason,
    }
}

word_columns!(ReceptionReason);

impl ReceptionRow {
    /// The rows of a case, by revision.
    #[must_use]
    pub fn all_of(history: &History) -> Vec<Self> {
        let receptions = prisoner::receptions(history).into_iter();
        let mut rows: Vec<Self> =
            receptions.map(|(entry, received)| Self::of(history.number(), entry, received)).collect();
        rows.sort_by_key(|row| row.revision);
        rows
    }

    fn of(number: &PrisonerNumber, entry: &Entry<PrisonerEvent>, received: &Received) -> Self {
        Self {
            prisoner_number: number.clone(),
            revision: entry.revision,
            prison: received.prison.clone(),
            received_at: instant(entry.effective_at),
            recorded_at: instant(entry.recorded_at),
            reason: received.reason,
        }
    }
}
