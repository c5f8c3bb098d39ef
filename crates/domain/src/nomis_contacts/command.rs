//! The commands to the contacts of a person.

use serde::Serialize;
use uuid::Uuid;

use crate::{
    command::commands,
    identifier::{PrisonCode, PrisonerNumber, StaffId},
    named_prisoners::{NamedText, named_text},
};

commands! {
    /// A command to the contacts of a person. Its effective time and its recorder travel beside it.
    commands: Command, kinds: CommandKind;

    /// A POM contact was seen in NOMIS.
    RecordNomisContact(ContactSeen),
    /// A contact seen before is gone from NOMIS.
    ConfirmNomisContactRemoval {
        /// The prison of the contact.
        prison: PrisonCode,
        /// The contact.
        contact_id: Uuid,
    },
}

impl Command {
    /// The prison of the contact.
    #[must_use]
    pub fn prison(&self) -> &PrisonCode {
        match self {
            Self::RecordNomisContact(ContactSeen { prison, .. }) | Self::ConfirmNomisContactRemoval { prison, .. } => {
                prison
            }
        }
    }

    /// The free texts that the caller wrote.
    pub(super) fn texts(&self) -> Vec<NamedText<'_>> {
        match self {
            Self::RecordNomisContact(seen) => {
                let contact_type = Some(("contactType", seen.contact_type.as_str()));
                [named_text("name", seen.name.as_ref()), contact_type].into_iter().flatten().collect()
            }
            Self::ConfirmNomisContactRemoval { .. } => Vec::new(),
        }
    }
}

/// A POM contact as seen in NOMIS. It names the POM by staff id, by name, or by both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ContactSeen {
    /// The prison.
    pub prison: PrisonCode,
    /// The contact's staff id.
    pub staff_id: Option<StaffId>,
    /// The contact's name.
    pub name: Option<String>,
    /// Contact type as NOMIS has it.
    pub contact_type: String,
}

impl ContactSeen {
    /// Identifies the contact of this person: the same contact seen again has the same id. A staff
    /// id identifies a person better than a name, which is spelt in many ways, so the name counts
    /// only without a staff id.
    #[must_use]
    pub fn contact_id(&self, number: &PrisonerNumber) -> Uuid {
        let who = match (self.staff_id, &self.name) {
            (Some(staff_id), _) => staff_id.to_string(),
            (None, Some(name)) => name.trim().to_lowercase(),
            (None, None) => String::new(),
        };
        // Fields are set apart by a character that none of them holds.
        let text = format!("{}\n{number}\n{who}\n{}", self.prison, self.contact_type.trim().to_uppercase());
        Uuid::new_v5(&CONTACT_NAMESPACE, text.as_bytes())
    }
}

/// UUIDv5 namespace of contact ids; part of the published event format, never to be changed.
const CONTACT_NAMESPACE: Uuid = Uuid::from_u128(0x2f0c_0b9e_5d1b_4c56_9a77_6d1f_8b1e_4a01);
