//! Table `nomis_contact`: POM contacts seen in NOMIS.

use chrono::{DateTime, Utc};
use domain::{
    identifier::{PrisonCode, PrisonerNumber, StaffId},
    prison::{Contact, History, Roster},
};
use uuid::Uuid;

use crate::{postgres_time::instant, table::table};

table! {
    /// POM contacts seen in NOMIS, which must be removed when a prison goes onto OMiC.
    NomisContactRow in nomis_contact, key (prison_code, contact_id) {
        /// Agency code.
        prison_code: PrisonCode,
        /// Identifies the contact within the prison.
        contact_id: Uuid,
        /// Whose contact it is.
        prisoner_number: PrisonerNumber,
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
    }
}

impl NomisContactRow {
    /// The rows of a prison, where `roster` is what holds after all its entries; by contact id.
    #[must_use]
    pub fn all_of(history: &History, roster: &Roster) -> Vec<Self> {
        let contacts = roster.contacts.iter();
        contacts.map(|(&id, contact)| Self::of(history.code(), id, contact)).collect()
    }

    fn of(code: &PrisonCode, contact_id: Uuid, contact: &Contact) -> Self {
        Self {
            prison_code: code.clone(),
            contact_id,
            prisoner_number: contact.found.prisoner_number.clone(),
            staff_id: contact.found.staff_id,
            name: contact.found.name.clone(),
            contact_type: contact.found.contact_type.clone(),
            found_at: instant(contact.found_at),
            removed_at: contact.removed_at.map(instant),
        }
    }
}
