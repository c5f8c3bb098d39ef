//! Points in the log: how much of it an answer takes into account.

use event_log::{KnownAt, SharedLog};

use super::PastError;
use crate::QueryError;

/// Everything in the log up to a position, and nothing after it. An instant becomes a position
/// before anything is read, so that a whole answer is of one point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Point {
    pub(super) position: u64,
}

impl Point {
    /// The point that a caller names, or else the end of the log.
    pub(super) async fn of(log: &SharedLog, known_at: impl Into<Option<KnownAt>>) -> Result<Self, PastError> {
        let position = match known_at.into() {
            Some(known_at) => known_at.position(log).await?,
            None => log.head().await.map_err(QueryError::from)?,
        };
        Ok(Self { position })
    }
}
