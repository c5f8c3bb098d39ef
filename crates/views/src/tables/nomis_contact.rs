//! Table `nomis_contact`: POM contacts seen in NOMIS.

use chrono::{DateTime, Utc};
use domain::{
    identifier::{PrisonCode, PrisonerNumber, StaffId},
    nomis_contacts::{Contact, History},
};
use uuid::Uuid;

use crate::{postgres_time::instant, table::table};

table! {
    /// POM contacts seen in NOMIS, which must be removed when a prison goes onto OMiC.
    NomisContactRow in nomis_contact, key (prisoner_number, contact_id) {
        /// Whose contact it is.
        prisoner_number: PrisonerNumber,
        /// Identifies the contact.
        contact_id: Uuid,
        /// Agency code.
        prison_code: PrisonCode,
        /// The contact's staff id, where NOMIS gives one.
        staff_id: Option<StaffId>,
        /// The contact's name, where NOMIS gives one.
        name: Option<String>,
        /// Contact type as NOMIS has it.
        contact_type: String,
        /// When it was last found (effective time).
        found_at: DateTime<Utc>,
        /// When its removal was confirmed (effective time); null while it is still in NOMIS.
        removed_at: Option<DateTime<Utc>>,
        /// Position in the log of the last event of the prisoner's contacts that the views include.
        position: u64,
    }
}

impl NomisContactRow {
    /// The rows of a person, by contact id.
    #[must_use]
    pub fn all_of(history: &History) -> Vec<Self> {
        let Some(last) = history.entries().last() else { return Vec::new() };
        let contacts = history.contacts().values();
        contacts.map(|contact| Self::of(history.number(), contact, last.position)).collect()
    }

    fn of(number: &PrisonerNumber, Contact { found, found_at, removed_at }: &Contact, position: u64) -> Self {
        Self {
            prisoner_number: number.clone(),
            contact_id: found.contact_id,
            prison_code: found.prison.clone(),
            staff_id: found.staff_id,
            name: found.name.clone(),
            contact_type: found.contact_type.clone(),
            found_at: instant(*found_at),
            removed_at: removed_at.map(instant),
            position,
        }
    }
}
