//! Why projecting ended.

use event_log::{LogError, error_chain};
use views::checkpoint::REBUILD_FROM_THIS_LOG;

/// Why projecting ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The log cannot be read: out of reach, or damaged at a position.
    #[error("read the event log")]
    Log(#[from] LogError),
    /// The last event that the views include is not in the log: the views were built from another.
    #[error(
        "use the views, which are of another log than the one configured: the last event that they include, at position \
         {position}, does not stand in it; name their own log, or build them anew from the one configured with \
         {REBUILD_FROM_THIS_LOG}"
    )]
    OtherLog {
        /// The position that the views have come to.
        position: u64,
    },
    /// The views cannot be written.
    #[error("write the views")]
    Views(#[from] sqlx::Error),
    /// Another projector has taken the views over; nothing was written.
    #[error("write the views: another projector has taken them over from the one with epoch {epoch}")]
    Fenced {
        /// The epoch that is no longer in force.
        epoch: i64,
    },
    /// The connection that holds the projector's lock is gone, and the lock with it.
    #[error("keep the projector's lock")]
    LockLost(#[source] sqlx::Error),
}

impl Error {
    /// Whether trying again is useless until a person, or another version of the program, does
    /// something: at an event that cannot be read, or rows that Postgres refuses, which is a bug
    /// here.
    pub(crate) fn is_final(&self) -> bool {
        match self {
            Self::Log(LogError::Damaged { .. }) => true,
            Self::Views(sqlx::Error::Database(error)) => {
                error.code().is_some_and(|code| code.starts_with(DATA_EXCEPTION) || code.starts_with(INTEGRITY))
            }
            Self::Log(LogError::Unavailable(_))
            | Self::OtherLog { .. }
            | Self::Views(_)
            | Self::Fenced { .. }
            | Self::LockLost(_) => false,
        }
    }

    /// The error and its causes, in one line.
    pub(crate) fn report(&self) -> String {
        format!("failed to {}", error_chain(self))
    }
}

/// SQLSTATE class of values that do not fit.
const DATA_EXCEPTION: &str = "22";

/// SQLSTATE class of broken constraints.
const INTEGRITY: &str = "23";
