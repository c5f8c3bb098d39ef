//! Rule 7 of `docs/domain.md`: an inactive POM holds no cases.

use chrono::{DateTime, Utc};
use domain::{
    Command, Confinement, Rule,
    identifier::{EventId, PrisonCode, PrisonerNumber, StaffId},
    prison::InactiveStretch,
    prisoner::{self, EndPomRole},
};
use event_log::request_digest;
use serde_json::json;

use super::recorded_by;
use crate::{CommandError, Request, Service};

/// The event because of which a role must end, and when the end takes effect.
struct EndCause {
    event_id: EventId,
    since: DateTime<Utc>,
}

/// Ends the roles of a POM on a case that the POM held while inactive at that prison: where the end
/// of one brings back another from a merge, that one as well.
pub(super) async fn discharge(
    service: &Service,
    code: &PrisonCode,
    staff_id: StaffId,
    number: &PrisonerNumber,
) -> Result<(), CommandError> {
    let mut ended = None;
    while let Some(cause) = find_cause(service, code, staff_id, number).await?
        && ended != Some(cause.event_id)
    {
        ended = Some(cause.event_id);
        end_role(service, code, staff_id, number, cause).await?;
    }
    Ok(())
}

async fn end_role(
    service: &Service,
    code: &PrisonCode,
    staff_id: StaffId,
    number: &PrisonerNumber,
    cause: EndCause,
) -> Result<(), CommandError> {
    let part = number.as_str();
    let mut request = Request {
        command: Command::Prisoner(
            number.clone(),
            prisoner::Command::EndPomRole(EndPomRole { prison: code.clone(), staff_id }),
        ),
        command_id: cause.event_id.derive_command(part),
        request_digest: request_digest(
            "end-pom-role",
            number.as_str(),
            &json!({ "prison": code.as_str(), "staffId": staff_id.get() }),
        )
        .into(),
        recorded_by: recorded_by(),
        // Derived from the event, so that it is the same on every server.
        correlation_id: cause.event_id.derive_command("correlation").0,
        causation_id: Some(cause.event_id),
        provenance: None,
        effective_at: Some(cause.since),
        if_match: None,
        confinement: Confinement::default(),
    };
    let mut result = service.execute_own(request.clone(), cause.event_id, part).await;
    if result.as_ref().is_err_and(|error| error.is_refusal(Rule::PomNotHolder)) {
        // The role has ended meanwhile. Or it was not held at the time from which it should end.
        if find_cause(service, code, staff_id, number).await?.is_none() {
            return Ok(());
        }
        request.effective_at = None;
        result = service.execute_own(request, cause.event_id, part).await;
    }
    match result {
        // The case goes on under another number.
        Err(error) if error.is_refusal(Rule::PrisonerNumberRetired) => Ok(()),
        result => result.map(drop),
    }
}

/// Finds the event because of which the role must end; `None` if the POM does not hold the case, or
/// got it after the last time that the POM was inactive.
///
/// The POM's status counts as the log had it when each of the prison's events was recorded: a role
/// that was held while the status was `INACTIVE` ends, even if the POM has become active since.
///
/// The cause is the later of two events: the one that made the POM inactive, and the one that
/// brought about the role, such as a void, or the end of a role before a merge that then takes
/// another over. So a role that comes back, or that is given at the moment at which the POM becomes
/// inactive, is an obligation of its own.
async fn find_cause(
    service: &Service,
    code: &PrisonCode,
    staff_id: StaffId,
    number: &PrisonerNumber,
) -> Result<Option<EndCause>, CommandError> {
    let prison = service.prison_now(code).await?;
    let stretches = prison.read().history().inactive_stretches(staff_id);
    if stretches.is_empty() {
        return Ok(None);
    }
    let case = service.case_now(number).await?;
    let case = case.read();
    let state = case.history().state();
    let Some(role) = state.roles().find(|role| role.pom.staff_id == staff_id && role.prison == *code) else {
        return Ok(None);
    };
    let origins = case.history().origins_of(role);
    let is_held_in = |stretch: &&InactiveStretch| {
        stretch.ends_at.is_none_or(|end| origins.of_holder.is_none_or(|entry| entry.position < end))
    };
    let Some(stretch) = stretches.iter().find(is_held_in) else { return Ok(None) };
    let brought_about_later = origins.of_role.filter(|entry| entry.position > stretch.begins_at);
    let event_id = brought_about_later.map_or(stretch.cause, |entry| entry.event_id);
    Ok(Some(EndCause { event_id, since: stretch.since.max(case.history().held_here_since(role)) }))
}
