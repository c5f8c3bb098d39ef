//! The POM contacts that NOMIS has of residents when their prison joins OMiC.

use domain::{
    identifier::PrisonerNumber,
    nomis_contacts::{Command, ContactSeen, History},
};
use uuid::Uuid;

use crate::{
    record::recorded_by,
    sentence::after,
    world::{Action, World},
};

/// Records a contact that was seen in NOMIS. Most contacts are removed after the prison has joined
/// OMiC.
pub(crate) fn found(world: &mut World, prison: usize, number: &PrisonerNumber, seen: ContactSeen) {
    let contact = seen.contact_id(number);
    let mut history = History::new(number.clone());
    let is_recorded = record(world, prison, &mut history, "record-nomis-contact", &Command::RecordNomisContact(seen));
    if is_recorded && world.random.percent(93) {
        let day = after(world.prisons[prison].go_live, world.random.between(3, 90));
        let at = world.office_hours(day);
        world.contacts.insert(number.clone(), history);
        world.plan(at, Action::ContactGone { prison, number: number.clone(), contact });
    }
}

/// Confirms that a contact is gone from NOMIS.
pub(crate) fn gone(world: &mut World, prison: usize, number: &PrisonerNumber, contact_id: Uuid) {
    let Some(mut history) = world.contacts.remove(number) else { return };
    let command = Command::ConfirmNomisContactRemoval { prison: world.prisons[prison].code.clone(), contact_id };
    record(world, prison, &mut history, "confirm-nomis-contact-removal", &command);
}

/// Records a command on a person's contacts. Answers whether it was recorded.
fn record(world: &mut World, prison: usize, history: &mut History, operation: &str, command: &Command) -> bool {
    let target = format!("/prisons/{}/nomis-contacts", world.prisons[prison].code);
    let metadata = world.ask(operation, &target, recorded_by("NOMIS_EXTRACT", "allocation-ledger import"));
    world.recorder.on_contacts(history, command, &metadata).is_ok()
}
