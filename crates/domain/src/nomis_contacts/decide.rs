//! From the past of a person's contacts and a command to a new event, or to a refusal.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Command, ContactSeen, History, NomisContactEvent, NomisContactFound, NomisContactRemovalConfirmed};
use crate::{
    Refusal, Rule, effective_time::check_effective_at, identifier::PrisonCode, named_prisoners::refuse_named_prisoners,
    text::is_blank,
};

/// The circumstances of a decision beside the contacts' own past.
#[derive(Debug, Clone, Copy)]
pub struct Context {
    /// The recorder's clock.
    pub now: DateTime<Utc>,
    /// The effective time of the command; a time later than `now` is refused.
    pub effective_at: DateTime<Utc>,
}

/// Decides a command: one event, or the first rule that says no.
///
/// A backdated command is judged by the contacts at its effective time. It cannot make a later
/// entry illegal (rule 8 in `docs/domain.md`): a later entry that then repeats what holds already
/// changes nothing.
///
/// # Errors
/// A [`Refusal`] with the code and the sentence of the rule.
pub fn decide(history: &History, command: &Command, context: &Context) -> Result<Vec<NomisContactEvent>, Refusal> {
    check_effective_at(context.effective_at, context.now)?;
    refuse_named_prisoners(command.texts(), |named| named == history.number())?;
    let contacts = history.contacts_at(context.effective_at);
    let in_nomis = |id: &Uuid| contacts.get(id).filter(|contact| contact.removed_at.is_none());
    let event = match command {
        Command::RecordNomisContact(seen) => {
            let found = found(history, seen)?;
            if in_nomis(&found.contact_id).is_some() {
                return Err(Refusal::new(
                    Rule::NomisContactKnown,
                    format!(
                        "This POM contact of {} at {} is already recorded as being in NOMIS.",
                        history.number(),
                        seen.prison
                    ),
                ));
            }
            NomisContactEvent::NomisContactFound(found)
        }
        Command::ConfirmNomisContactRemoval { prison, contact_id } => {
            let contact = in_nomis(contact_id).filter(|contact| contact.found.prison == *prison);
            let contact = contact.ok_or_else(|| refuse_unknown_contact(prison, contact_id))?.found.clone();
            NomisContactEvent::NomisContactRemovalConfirmed(NomisContactRemovalConfirmed { contact })
        }
    };
    Ok(vec![event])
}

fn found(history: &History, seen: &ContactSeen) -> Result<NomisContactFound, Refusal> {
    let number = history.number();
    if seen.staff_id.is_none() && seen.name.as_ref().is_none_or(|name| is_blank(name)) {
        return Err(Refusal::new(
            Rule::ContactWithoutPerson,
            format!("The POM contact of {number} names nobody. Give a staff id or a name."),
        ));
    }
    Ok(NomisContactFound {
        contact_id: seen.contact_id(number),
        prison: seen.prison.clone(),
        prisoner_number: number.clone(),
        staff_id: seen.staff_id,
        name: seen.name.clone(),
        contact_type: seen.contact_type.clone(),
    })
}

/// The refusal of the removal of a contact that is not recorded as being in NOMIS at a prison.
#[must_use]
pub fn refuse_unknown_contact(prison: &PrisonCode, contact_id: &Uuid) -> Refusal {
    Refusal::new(
        Rule::NomisContactUnknown,
        format!("No POM contact {contact_id} is recorded as being in NOMIS at {prison} at that time."),
    )
}
