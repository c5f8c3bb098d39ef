//! The confirmation that a contact is gone from NOMIS. It names a contact of a prison, which is in
//! the stream of a person: the policies' index says whose.

use domain::{
    Confinement,
    identifier::{CommandId, PrisonCode, PrisonerNumber},
    nomis_contacts::{CommandKind, refuse_unknown_contact},
};
use uuid::Uuid;

use crate::{CommandError, Service};

/// The person whose contact it is.
///
/// # Errors
/// [`CommandError`]; `nomis-contact-unknown` where the prison never had such a contact, and
/// [`CommandError::KeyReused`] where the request's key was then spent on another one.
pub(crate) async fn find_person(
    service: &Service,
    prison: &PrisonCode,
    contact_id: Uuid,
    confinement: &Confinement,
    key: CommandId,
) -> Result<PrisonerNumber, CommandError> {
    let found = async {
        confinement.check_prison(prison)?;
        if let Some(number) = service.person_of_contact(prison, &contact_id).await? {
            return Ok(number);
        }
        Err(match service.spent_key(key).await? {
            Some(_) => CommandError::KeyReused { command_id: key },
            None => refuse_unknown_contact(prison, &contact_id).into(),
        })
    };
    let found = found.await;
    if let Err(error) = &found {
        service.count_failed(CommandKind::ConfirmNomisContactRemoval.name(), error);
    }
    found
}
