//! The idempotency key of a request that records nothing itself: the same fact again, a bulk, a
//! merge that was made already. The log keeps such a key with its answer. The key of a command is
//! spent by the append.
//!
//! The ids of the ledger's own commands are no keys, since no caller can send one.

use domain::identifier::CommandId;
use event_log::{KeySpending, LogError, SpentKey};

use crate::{CommandError, RequestDigest, Service};

impl Service {
    /// Spends a key on a request that records nothing itself, to be answered with `answer`. Answers
    /// what the key is spent on now: this, or what it was spent on before.
    pub(crate) async fn spend_key(
        &self,
        command_id: CommandId,
        request_digest: &RequestDigest,
        answer: String,
    ) -> Result<SpentKey, LogError> {
        let spent = SpentKey { request: request_digest.as_str().to_owned(), answer: Some(answer) };
        if command_id.is_of_the_ledger() {
            return Ok(spent);
        }
        match self.log().spend_key(command_id, spent.clone(), self.now()).await? {
            KeySpending::First => Ok(spent),
            KeySpending::Before(before) => Ok(before),
        }
    }

    /// The use of a key; `None` where it is free.
    pub(crate) async fn spent_key(&self, command_id: CommandId) -> Result<Option<SpentKey>, LogError> {
        if command_id.is_of_the_ledger() {
            return Ok(None);
        }
        self.log().spent_key(command_id).await
    }
}

/// The answer of a request, given the use of its key.
///
/// # Errors
/// [`CommandError::KeyReused`] where the key was spent on another request.
pub(crate) fn answer_of(
    spent: SpentKey,
    command_id: CommandId,
    request_digest: &RequestDigest,
) -> Result<String, CommandError> {
    let answer = spent.answer.filter(|_| request_digest.matches(&spent.request));
    answer.ok_or(CommandError::KeyReused { command_id })
}
