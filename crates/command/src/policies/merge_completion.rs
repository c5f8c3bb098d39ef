//! Rule 10 of `docs/domain.md`: a merge that a retirement began is completed, also if the caller's
//! request ended before that.

use domain::{Rule, identifier::PrisonerNumber};

use super::recorded_by;
use crate::{CommandError, Service, operations::merge::complete};

/// Lets the survivor take over a retired number, unless it has. Numbers that were merged in a
/// circle have no survivor, however often the policy tries, so it reports them once.
pub(super) async fn discharge(service: &Service, removed: &PrisonerNumber) -> Result<(), CommandError> {
    let case = service.case_now(removed).await?;
    let retired = case.read().history().retirement().map(|(entry, _)| (entry.position, entry.event_id));
    let Some((position, event_id)) = retired else { return Ok(()) };
    // Derived from the event, so that it is the same on every server.
    let correlation_id = event_id.derive_command("correlation").0;
    match complete(service, removed, &recorded_by(), correlation_id).await {
        Err(CommandError::Refused(refusal)) if refusal.rule == Rule::MergeCircle => {
            tracing::error!(
                position,
                code = refusal.rule.code(),
                "the merge that began at position {position} cannot be completed: it would close a circle"
            );
            Ok(())
        }
        result => result.map(drop),
    }
}
