//! The commands to a prison.

use chrono::NaiveDate;
use serde::Serialize;
use uuid::Uuid;

use crate::{
    command::commands,
    identifier::{PrisonCode, PrisonerNumber, StaffId},
    named_prisoners::{NamedText, named_text},
    prison::{PomDetailsChanged, PomRegistered, PomStatusChanged, PrisonJoinedOmic},
};

commands! {
    /// A command to a prison. Its effective time and its recorder travel beside it.
    commands: Command, kinds: CommandKind;

    /// Take the prison onto OMiC.
    JoinOmic(PrisonJoinedOmic),
    /// The same for a prison that the program's list of prisons lacks.
    JoinOmicUnlisted(PrisonJoinedOmic),
    /// Correct the go-live date.
    CorrectGoLiveDate(GoLiveCorrection),
    /// Put a POM on the roster.
    RegisterPom(PomRegistered),
    /// Change a POM's name, kind, working pattern or e-mail address.
    ChangePomDetails(PomDetailsChanged),
    /// Change a POM's status.
    ChangePomStatus(PomStatusChanged),
    /// A POM contact was seen in NOMIS.
    RecordNomisContact(ContactSeen),
    /// A contact seen before is gone from NOMIS.
    ConfirmNomisContactRemoval {
        /// The contact.
        contact_id: Uuid,
    },
}

impl Command {
    /// The free texts that the caller wrote.
    pub(super) fn texts(&self) -> Vec<NamedText<'_>> {
        let texts = match self {
            Self::JoinOmic(_) | Self::JoinOmicUnlisted(_) | Self::ConfirmNomisContactRemoval { .. } => [None, None],
            Self::CorrectGoLiveDate(correction) => [named_text("reason", correction.reason.as_ref()), None],
            Self::RegisterPom(pom) => [Some(("name", pom.name.as_str())), named_text("email", pom.email.as_ref())],
            Self::ChangePomDetails(pom) => {
                [named_text("name", pom.name.as_ref()), named_text("email", pom.email.as_ref())]
            }
            Self::ChangePomStatus(changed) => [named_text("reason", changed.reason.as_ref()), None],
            Self::RecordNomisContact(seen) => {
                [named_text("name", seen.name.as_ref()), Some(("contactType", seen.contact_type.as_str()))]
            }
        };
        texts.into_iter().flatten().collect()
    }

    /// The person in prison whose contact the command records, who is named in the texts for that.
    pub(super) fn prisoner(&self) -> Option<&PrisonerNumber> {
        match self {
            Self::RecordNomisContact(seen) => Some(&seen.prisoner_number),
            Self::JoinOmic(_)
            | Self::JoinOmicUnlisted(_)
            | Self::CorrectGoLiveDate(_)
            | Self::RegisterPom(_)
            | Self::ChangePomDetails(_)
            | Self::ChangePomStatus(_)
            | Self::ConfirmNomisContactRemoval { .. } => None,
        }
    }
}

/// Data of [`Command::CorrectGoLiveDate`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GoLiveCorrection {
    /// The right date.
    pub go_live_date: NaiveDate,
    /// The reason, in the words of the recorder.
    pub reason: Option<String>,
}

/// A POM contact as seen in NOMIS. It names the POM by staff id, by name, or by both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ContactSeen {
    /// The number of the prisoner whose contact it is.
    pub prisoner_number: PrisonerNumber,
    /// The contact's staff id.
    pub staff_id: Option<StaffId>,
    /// The contact's name.
    pub name: Option<String>,
    /// Contact type as NOMIS has it.
    pub contact_type: String,
}

impl ContactSeen {
    /// Identifies the contact within the prison: the same contact seen again has the same id. A
    /// staff id identifies a person better than a name, which is spelt in many ways, so the name
    /// counts only without a staff id.
    #[must_use]
    pub fn contact_id(&self, prison: &PrisonCode) -> Uuid {
        let who = match (self.staff_id, &self.name) {
            (Some(staff_id), _) => staff_id.to_string(),
            (None, Some(name)) => name.trim().to_lowercase(),
            (None, None) => String::new(),
        };
        // Fields are set apart by a character that none of them holds.
        let text = format!("{prison}\n{}\n{who}\n{}", self.prisoner_number, self.contact_type.trim().to_uppercase());
        Uuid::new_v5(&CONTACT_NAMESPACE, text.as_bytes())
    }
}

/// UUIDv5 namespace of contact ids; part of the published event format, never to be changed.
const CONTACT_NAMESPACE: Uuid = Uuid::from_u128(0x2f0c_0b9e_5d1b_4c56_9a77_6d1f_8b1e_4a01);
