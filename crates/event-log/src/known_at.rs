//! Points in what the ledger knew, for questions "as known at".

use chrono::{DateTime, Utc};

use crate::{LogError, SharedLog};

/// A point in what the ledger knew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KnownAt {
    /// After the event at this position.
    Position(u64),
    /// After every event that was recorded at or before this instant.
    Instant(DateTime<Utc>),
}

/// The reason why a [`KnownAt`] is no point in a log.
#[derive(Debug, thiserror::Error)]
pub enum KnownAtError {
    /// The log does not reach the position yet, so the answer there is not known.
    #[error("the log ends at position {head}: there is no position {position} yet")]
    Ahead {
        /// The position.
        position: u64,
        /// The log's end.
        head: u64,
    },
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
}

impl KnownAt {
    /// The position of the last event that the ledger knew. An instant in the future, such as the
    /// end of today, is at the log's end.
    ///
    /// # Errors
    /// [`KnownAtError`].
    pub async fn position(self, log: &SharedLog) -> Result<u64, KnownAtError> {
        match self {
            Self::Instant(instant) => Ok(log.position_at(instant).await?),
            Self::Position(position) => {
                let head = log.head().await?;
                if position > head { Err(KnownAtError::Ahead { position, head }) } else { Ok(position) }
            }
        }
    }
}
