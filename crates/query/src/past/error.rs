//! Why a question about the past has no answer.

use event_log::KnownAtError;

use crate::QueryError;

/// Why a question about the past has no answer.
#[derive(Debug, thiserror::Error)]
pub enum PastError {
    /// The log does not reach the position yet: the caller's mistake.
    #[error("the log ends at position {head}: there is no position {position} yet")]
    Ahead {
        /// The position.
        position: u64,
        /// The log's end.
        head: u64,
    },
    /// The views did not come as far as the position in time. Trying again may help.
    #[error("the views have not come to the position")]
    ViewsBehind,
    /// An outage, damage or a bug.
    #[error(transparent)]
    Failure(#[from] QueryError),
}

impl From<KnownAtError> for PastError {
    fn from(error: KnownAtError) -> Self {
        match error {
            KnownAtError::Ahead { position, head } => Self::Ahead { position, head },
            KnownAtError::Log(error) => Self::Failure(error.into()),
        }
    }
}
