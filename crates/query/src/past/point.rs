//! Points in the log: how much of it an answer takes into account.

use event_log::{KnownAt, SharedLog};

use super::PastError;

/// Everything in the log up to a position, and nothing after it. An instant becomes a position
/// before anything is read, so that a whole answer is of one point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Point {
    pub(super) position: u64,
}

impl Point {
    /// All that the log has when it is read.
    pub(super) const LATEST: Self = Self { position: u64::MAX };

    /// The point that a caller names.
    pub(super) async fn of(log: &SharedLog, known_at: KnownAt) -> Result<Self, PastError> {
        Ok(Self { position: known_at.position(log).await? })
    }
}
