//! The status of a projector, and the reason why it stopped.

/// The status of a projector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// It has just been started.
    Starting,
    /// Another projector is active; this one takes over when that one ends.
    StandBy,
    /// It builds the views anew beside the serving ones, which stay as they are until it has
    /// finished.
    Rebuilding {
        /// The position that it has read the log to.
        position: u64,
        /// The position at which the log ended when the rebuild began.
        head: u64,
    },
    /// It follows the log.
    Running {
        /// The position that the views have come to.
        position: u64,
        /// How many cases and prisons the views leave out.
        streams_aside: usize,
    },
    /// It cannot reach the database or the log, or the views are of another log; it tries again by
    /// itself.
    Retrying {
        /// The error, with its causes.
        reason: String,
    },
    /// It met an event or rows that it cannot go on from. A person must act. Where it met rows, it
    /// goes on by itself once they are mended.
    Stopped {
        /// The error, with its position.
        reason: String,
    },
    /// It was told to end.
    Ended,
}

impl Status {
    /// Whether the views are being kept up, by this projector or by another one.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        match self {
            Self::StandBy | Self::Running { .. } => true,
            Self::Starting | Self::Rebuilding { .. } | Self::Retrying { .. } | Self::Stopped { .. } | Self::Ended => {
                false
            }
        }
    }
}

/// The projector met an event that it cannot go on from.
#[derive(Debug, thiserror::Error)]
#[error("project the event log: {reason}")]
pub struct FatalStop {
    /// The error, with its position.
    pub reason: String,
}
