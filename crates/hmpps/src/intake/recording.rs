//! Records what follows from a message, each command under an id of its own.

use chrono::{DateTime, Utc};
use command::{Clock, CommandError, MergeRequest, Outcome, Request, RequestDigest};
use domain::{
    Command, Confinement, Rule,
    event::RecordedBy,
    identifier::{CommandId, PrisonerNumber},
};
use event_log::{error_chain, request_digest};
use serde::Serialize;
use uuid::{Uuid, uuid};

use super::{Decision, Intake};
use crate::{
    outage::Outage,
    plan::{IntakeOutcome, MESSAGES_CLIENT, ParkReason, PassReason},
};

/// The name space of the ids of commands that messages make.
pub(super) const NAMESPACE: Uuid = uuid!("5c0b9a55-6d5e-4c8e-9b0a-1f1b5f0f2c55");

/// The operations of commands that a message may make of what it tells itself, one of them.
pub(super) const TOLD_OPERATIONS: [&str; 4] = ["receive", "release", "transfer", "merge"];

/// A command to the case of a number that a message makes.
pub(super) struct MessageCommand {
    pub(super) number: PrisonerNumber,
    /// Tells the command from the others of the message.
    pub(super) operation: &'static str,
    pub(super) command: domain::prisoner::Command,
    pub(super) at: Option<DateTime<Utc>>,
    /// Whether the message itself says all of it. A look-up may find another thing when the message
    /// comes again, and the command counts as the same all the same.
    pub(super) is_told: bool,
}

impl Intake {
    pub(super) async fn record(&self, message_id: Uuid, command: MessageCommand) -> Result<Decision, Outage> {
        let request = request(message_id, command);
        recorded(request.command_id, self.inner.service.execute(request).await)
    }

    pub(super) async fn merge(
        &self,
        message_id: Uuid,
        survivor: PrisonerNumber,
        removed_number: PrisonerNumber,
        at: Option<DateTime<Utc>>,
    ) -> Result<Decision, Outage> {
        let request = MergeRequest {
            command_id: command_id(message_id, "merge"),
            request_digest: digest("merge", &survivor, &(&removed_number, at)),
            survivor,
            removed_number,
            recorded_by: recorded_by(),
            correlation_id: message_id,
            effective_at: not_later_than_now(at),
            if_match: None,
            confinement: Confinement::default(),
        };
        recorded(request.command_id, self.inner.service.merge(request).await)
    }
}

/// The request by which a command of a message is executed.
pub(super) fn request(message_id: Uuid, command: MessageCommand) -> Request {
    let request_digest = digest_of(message_id, &command);
    let MessageCommand { number, operation, command, at, is_told: _ } = command;
    Request {
        command: Command::Prisoner(number, command),
        command_id: command_id(message_id, operation),
        request_digest,
        recorded_by: recorded_by(),
        correlation_id: message_id,
        causation_id: None,
        provenance: None,
        effective_at: not_later_than_now(at),
        if_match: None,
        confinement: Confinement::default(),
    }
}

/// The decision after a command of a message was executed. One that is repeated is the message's
/// own where the answer to its append was lost.
pub(super) fn recorded(command_id: CommandId, result: Result<Outcome, CommandError>) -> Result<Decision, Outage> {
    let is_own = |outcome: &Outcome| outcome.events().any(|event| event.entry.command_id == command_id);
    match result {
        Ok(outcome) if outcome.is_repeated() && !is_own(&outcome) => {
            Ok(Decision::Done(IntakeOutcome::PassedOver(PassReason::AlreadyHeld)))
        }
        Ok(_) => Ok(Decision::Done(IntakeOutcome::Recorded)),
        // The second: another consumer has removed the COM.
        Err(CommandError::Refused(refusal))
            if matches!(refusal.rule, Rule::NothingChanged | Rule::NoCommunityManager) =>
        {
            Ok(Decision::Done(IntakeOutcome::PassedOver(PassReason::AlreadyHeld)))
        }
        Err(error) => failed(error),
    }
}

pub(super) fn failed(error: CommandError) -> Result<Decision, Outage> {
    match error {
        // The case begins later than the message.
        CommandError::Refused(refusal) if refusal.rule == Rule::PrisonerUnknown => {
            Ok(Decision::Done(IntakeOutcome::PassedOver(PassReason::UnknownPerson)))
        }
        CommandError::Refused(refusal) => Ok(Decision::Park(ParkReason::Refused, refusal.sentence)),
        CommandError::Unavailable(_) | CommandError::Contended { .. } | CommandError::NotCaughtUp => {
            Err(Outage::from(&error))
        }
        CommandError::RevisionMismatch { .. } | CommandError::KeyReused { .. } | CommandError::Broken(_) => {
            let kind = error.kind();
            // The texts of the other kinds name a stream.
            let cause = match &error {
                CommandError::Broken(cause) => error_chain(&**cause),
                _ => kind.to_owned(),
            };
            tracing::error!(kind, cause, "a message could not be recorded");
            Ok(Decision::Park(
                ParkReason::Failed,
                format!("The ledger could not record it ({kind}): its log says why."),
            ))
        }
    }
}

/// The id of a command that a message makes.
pub(super) fn command_id(message_id: Uuid, operation: &str) -> CommandId {
    CommandId::of_content(NAMESPACE, &format!("{message_id} {operation}"))
}

/// The digest by which a command of a message is known again.
fn digest_of(message_id: Uuid, command: &MessageCommand) -> RequestDigest {
    let MessageCommand { number, operation, command, at, is_told } = command;
    match is_told {
        true => digest(operation, number, &(command, at)),
        false => digest(operation, number, &message_id),
    }
}

fn digest(operation: &str, number: &PrisonerNumber, content: &impl Serialize) -> RequestDigest {
    request_digest(operation, number.as_str(), content).into()
}

fn recorded_by() -> RecordedBy {
    RecordedBy {
        username: Some("HMPPS_DOMAIN_EVENTS".parse().expect("a username")),
        client: MESSAGES_CLIENT.to_owned(),
        auth_source: None,
    }
}

fn not_later_than_now(at: Option<DateTime<Utc>>) -> Option<DateTime<Utc>> {
    at.map(|at| at.min(Clock::system().now()))
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use domain::{officer::CommunityManager, prisoner};

    use super::*;

    fn com(name: &str, minute: i64, is_told: bool) -> MessageCommand {
        let manager = CommunityManager { name: name.to_owned(), email: None, team: None, ldu: None };
        MessageCommand {
            number: "A1234BC".parse().expect("a number"),
            operation: "name-community-manager",
            command: prisoner::Command::AssignCommunityManager(manager),
            at: Some(DateTime::UNIX_EPOCH + TimeDelta::minutes(minute)),
            is_told,
        }
    }

    /// Two consumers that have a message at once may find different things.
    #[test]
    fn a_command_by_a_look_up_is_the_same_whatever_is_found() {
        let id = Uuid::from_u128(7);
        let digest = |name, minute, is_told| format!("{:?}", digest_of(id, &com(name, minute, is_told)));
        assert_eq!(digest("Lee, Sam", 1, false), digest("Shah, Mo", 2, false));
        assert_ne!(digest("Lee, Sam", 1, true), digest("Lee, Sam", 2, true));
    }
}
