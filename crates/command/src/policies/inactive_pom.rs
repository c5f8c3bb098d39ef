//! Rule 7: a POM who is inactive holds no cases.

use chrono::{DateTime, Utc};
use domain::{
    Command,
    identifier::{EventId, PrisonCode, PrisonerNumber, StaffId},
    officer::PomStatus,
    prisoner::{self, EndPomRole, PrisonerEvent},
};
use event_log::request_digest;
use serde_json::json;

use super::{is_settled, recorded_by};
use crate::{Error, Request, Service};

/// Why a role has to end, and since when.
struct Cause {
    event_id: EventId,
    since: DateTime<Utc>,
}

/// Ends the role that a POM has on a case, where the POM is inactive at that prison.
pub(super) async fn discharge(
    service: &Service,
    code: &PrisonCode,
    staff_id: StaffId,
    number: &PrisonerNumber,
) -> Result<(), Error> {
    let Some(cause) = cause(service, code, staff_id, number).await? else { return Ok(()) };
    let request = Request {
        command: Command::Prisoner(
            number.clone(),
            prisoner::Command::EndPomRole(EndPomRole { prison: code.clone(), staff_id }),
        ),
        command_id: cause.event_id.derive_command(number.as_str()),
        request_digest: request_digest(
            "end-pom-role",
            number.as_str(),
            &json!({ "prison": code.as_str(), "staffId": staff_id.get() }),
        ),
        recorded_by: recorded_by(),
        // The same on every server that does this, like everything else about it.
        correlation_id: cause.event_id.derive_command("correlation").0,
        causation_id: Some(cause.event_id),
        effective_at: Some(cause.since),
        if_match: None,
    };
    let mut answer = service.execute(request.clone()).await;
    if matches!(&answer, Err(Error::Refused(refusal)) if refusal.code == "later-entry-conflict") {
        answer = service.execute(Request { effective_at: None, ..request }).await;
    }
    match answer {
        Ok(_) => Ok(()),
        Err(Error::Refused(refusal)) if is_settled(refusal.code) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Why the role has to end; `None` where the POM is not inactive or does not hold the case.
///
/// The cause is whichever came last of what made the POM inactive, what gave the role, and an entry voided since, so
/// that a role that comes back, or is given in the moment in which the POM becomes inactive, is a debt of its own.
async fn cause(
    service: &Service,
    code: &PrisonCode,
    staff_id: StaffId,
    number: &PrisonerNumber,
) -> Result<Option<Cause>, Error> {
    let prison = service.prison_now(code).await?;
    let (status_event, status_position, status_since) = {
        let known = prison.known();
        let Some(pom) = known.history().roster().poms.get(&staff_id).filter(|pom| pom.status == PomStatus::Inactive)
        else {
            return Ok(None);
        };
        let entries = known.history().entries();
        let position = entries.iter().find(|entry| entry.event_id == pom.status_event).map(|entry| entry.position);
        (pom.status_event, position, pom.status_since)
    };
    let case = service.case_now(number).await?;
    let known = case.known();
    let state = known.history().state();
    let Some(role) = [&state.primary_pom, &state.coworking_pom]
        .into_iter()
        .flatten()
        .find(|role| role.pom.staff_id == staff_id && role.prison == *code)
    else {
        return Ok(None);
    };
    let given = known.history().entries().iter().rev().find(|entry| match &entry.event {
        PrisonerEvent::EntryVoided(_) => true,
        PrisonerEvent::PrisonerNumberMerged(_) => {
            role.allocation_revision.is_none() && entry.effective_at == role.since
        }
        _ => role.allocation_revision == Some(entry.revision),
    });
    let event_id =
        given.filter(|entry| Some(entry.position) > status_position).map_or(status_event, |entry| entry.event_id);
    Ok(Some(Cause { event_id, since: status_since.max(role.since) }))
}
