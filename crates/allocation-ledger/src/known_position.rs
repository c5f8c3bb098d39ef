//! The position of a point in what the ledger knew.

use chrono::{DateTime, Utc};
use command::Clock;
use event_log::{KnownAt, KnownAtError, SharedLog};

/// Why a point has no position.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PositionError {
    /// The instant lies ahead.
    #[error("{0} is not over yet: what will be known then is not known now")]
    NotOver(DateTime<Utc>),
    /// The position lies ahead, or the log cannot be read.
    #[error(transparent)]
    InLog(#[from] KnownAtError),
}

/// The position of a point, which must not lie ahead.
///
/// # Errors
/// [`PositionError`].
pub(crate) async fn position_of(log: &SharedLog, point: KnownAt) -> Result<u64, PositionError> {
    match point {
        KnownAt::Instant(instant) if instant > Clock::system().now() => Err(PositionError::NotOver(instant)),
        point => Ok(point.position(log).await?),
    }
}
