//! Failures: why a question that is in order cannot be answered.

use std::sync::Arc;

use domain::prisoner::lineage::MergeCircle;
use event_log::LogError;
use http_api::health::Component;
use views::stream_aside::StreamAside;

/// An outage, damage, or a bug; never the caller's fault. Its message is logged, so it names no
/// person.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The views' database cannot answer.
    #[error("read the views")]
    Views(#[from] sqlx::Error),
    /// The event log cannot be read.
    #[error("read the event log")]
    Log(#[from] LogError),
    /// Merges go in a circle, which the rules refuse.
    #[error("merges go in a circle")]
    MergeCircle(#[from] MergeCircle),
    /// A statement failed that several look-ups shared.
    #[error(transparent)]
    Shared(Arc<QueryError>),
    /// The views leave out the case or the prison that is asked about.
    #[error("the views leave out what is asked about, from its `{}` at position {} on", .0.event_type, .0.position)]
    Aside(Box<StreamAside>),
    /// A view holds a value that it cannot hold.
    #[error(transparent)]
    Damaged(#[from] views::Damage),
}

impl From<QueryError> for Component {
    fn from(error: QueryError) -> Self {
        match &error {
            QueryError::Views(cause) if is_unprepared(cause) => Component::down(
                "waiting for the projector to prepare the views; or this login may not read them, not being in the role \
                 ledger_read",
            ),
            error => Component::failed(error),
        }
    }
}

/// Whether trying again may help: the server is out of reach, overloaded, starting or stopping,
/// took too long, or the views are about to be put in place.
pub(crate) fn is_outage(error: &sqlx::Error) -> bool {
    match error {
        error if is_unprepared(error) => true,
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        // Only the checkpoint is asked for as a row that must be there.
        | sqlx::Error::RowNotFound
        // A connection broke in mid-answer.
        | sqlx::Error::Protocol(_) => true,
        sqlx::Error::Database(error) => error.code().is_some_and(|code| {
            // Connection exceptions, insufficient resources, operator intervention, conflict with
            // recovery on a replica.
            ["08", "53", "57"].contains(&code.get(..2).unwrap_or_default()) || code == "40001"
        }),
        _ => false,
    }
}

/// Whether there are no views yet: neither their schema nor their tables.
pub(crate) fn is_unprepared(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| matches!(&*code, "3F000" | "42P01"))
}
