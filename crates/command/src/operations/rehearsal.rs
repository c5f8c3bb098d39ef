//! Decides commands without recording them, so that a request of several commands can be refused as
//! a whole.

use domain::{
    Entry,
    identifier::{CommandId, PrisonerNumber},
    prisoner,
};
use uuid::Uuid;

use crate::{
    Error, Service,
    service::{DecidedEvents, RequestTimes},
};

/// Checks that commands to a case would be accepted one after the other, now.
///
/// # Errors
/// The error of the first command that would not be accepted.
pub(super) async fn rehearse(
    service: &Service,
    number: &PrisonerNumber,
    commands: &[prisoner::Command],
) -> Result<(), Error> {
    let case = service.case_now(number).await?;
    let mut history = case.read().history().clone();
    for command in commands {
        let roster = service.roster_for(command).await?;
        if let Some(roster) = &roster {
            service.refresh_prison(roster).await?;
        }
        let decided = service.decide_on_case(&history, roster.as_deref(), command, RequestTimes::default());
        let DecidedEvents { events, now, effective_at } = match decided {
            Ok(decided) => decided,
            Err(refusal) => return Err(service.name_last_survivor(number, refusal).await.into()),
        };
        for event in events {
            let revision = history.entries().len() as u64;
            history.push(Entry {
                // Only the log can assign these members, and no rule looks at them.
                event_id: CommandId(Uuid::nil()).event_id(0),
                command_id: CommandId(Uuid::nil()),
                position: u64::MAX,
                revision,
                effective_at,
                recorded_at: now,
                recorded_by: service.recorded_by(None, String::new()),
                event,
            });
        }
    }
    Ok(())
}
