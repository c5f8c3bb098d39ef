//! Why projecting ended.

use domain::Stream;
use event_log::{LogError, error_chain};
use views::checkpoint::REBUILD_FROM_THIS_LOG;

use crate::set_aside::{DataRefusal, STREAMS_ASIDE_MAX};

/// Why projecting ended.
#[derive(Debug, thiserror::Error)]
pub enum ProjectorError {
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
    /// Postgres refuses the rows of too many streams for them to be put aside.
    #[error(
        "write the views: Postgres refuses the rows of more than {STREAMS_ASIDE_MAX} cases and prisons, so the program or \
         the database is wrong; `projections status` lists those for which a projector has stopped, and it goes on once \
         no more than {STREAMS_ASIDE_MAX} are left"
    )]
    TooManyAside {
        /// The streams, of which one more is refused than may be aside, or several more.
        streams: Vec<Stream>,
    },
    /// A rebuild that no operator asked for would lose a stream that the serving views have.
    #[error(
        "write the views: Postgres refuses the new rows of a stream, from its `{event_type}` at position {position} on, \
         and the serving views have the stream; they are left as they are: go back to the program that made them, or \
         void that entry, or put the stream aside with `allocation-ledger projections rebuild`; `projections status` \
         names the stream"
    )]
    AsideInRebuild {
        /// The position of the event from which on the rows are refused.
        position: u64,
        /// The event's type.
        event_type: String,
    },
    /// Postgres takes the rows of each stream alone that it refused in a rebuild.
    #[error(
        "write the views: Postgres refused the rows of more than {STREAMS_ASIDE_MAX} cases and prisons in a rebuild, and \
         takes those of each alone"
    )]
    RefusedTogether,
    /// A view that was built alone does not fit beside the others.
    #[error(
        "write the view: Postgres takes the rows of other cases and prisons than in the serving views: rebuild all views"
    )]
    OtherStreamsAside,
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

impl ProjectorError {
    /// Whether trying again is useless until a person, or another version of the program, does
    /// something: at an event that cannot be read.
    pub(crate) fn is_final(&self) -> bool {
        match self {
            Self::Log(LogError::Damaged { .. }) | Self::OtherStreamsAside => true,
            Self::Views(error) => DataRefusal::of(error).is_some(),
            Self::Log(LogError::Unavailable(_))
            | Self::TooManyAside { .. }
            | Self::AsideInRebuild { .. }
            | Self::RefusedTogether
            | Self::OtherLog { .. }
            | Self::Fenced { .. }
            | Self::LockLost(_) => false,
        }
    }

    /// Whether events further on in the log, such as voids, may mend it.
    pub(crate) fn is_mended_by_events(&self) -> bool {
        matches!(self, Self::TooManyAside { .. } | Self::AsideInRebuild { .. })
    }

    /// The error and its causes, in one line.
    pub(crate) fn report(&self) -> String {
        format!("failed to {}", error_chain(self))
    }
}
