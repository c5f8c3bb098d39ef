//! Maps the errors of the command side to problem documents.

use event_log::error_chain;
use http_api::{Problem, ProblemCode};

use crate::CommandError;

/// Every problem has one status and one stable code. Causes inside the ledger are logged here and
/// not sent.
impl From<CommandError> for Problem {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::Refused(refusal) => refusal.into(),
            CommandError::RevisionMismatch { stream, expected, actual } => {
                let actual =
                    actual.map_or_else(|| "nothing is recorded of it yet".to_owned(), |at| format!("it is at {at}"));
                Problem::new(
                    ProblemCode::RevisionMismatch,
                    format!("{stream} is not at revision {expected}: {actual}. Read it again, then decide again."),
                )
            }
            CommandError::KeyReused { command_id } => Problem::new(
                ProblemCode::IdempotencyKeyReused,
                format!(
                    "The Idempotency-Key {command_id} was used for another request. Use a new key for a new request."
                ),
            ),
            CommandError::Contended { stream } => Problem::new(
                ProblemCode::StreamContended,
                format!("Others kept recording on {stream}. Send the same again, with the same Idempotency-Key."),
            ),
            CommandError::NotCaughtUp => Problem::new(
                ProblemCode::PoliciesBehind,
                "Which cases the POM holds is still being read from the event log. Send the same again, with the same \
             Idempotency-Key.",
            ),
            CommandError::Unavailable(cause) => {
                tracing::warn!(error = %error_chain(&*cause), "the event store cannot be reached");
                Problem::new(
                    ProblemCode::EventStoreUnavailable,
                    "The event store cannot be reached. Send the same again, with the same Idempotency-Key.",
                )
            }
            CommandError::Broken(cause) => {
                tracing::error!(error = %error_chain(&*cause), "a command could not be recorded");
                Problem::internal()
            }
        }
    }
}
