//! The reasons for which no message can be taken in for now, as kinds and codes.
//!
//! They are in the log and in `/health`, which asks for no token. Answers of stores and of SQS may
//! name a person, an account or a role, so none is repeated.

use command::CommandError;
use postgres_schema::SchemaError;

use crate::{lookup::LookUpError, queue::QueueError};

/// The reason for which a message can be neither recorded nor parked for now, or not be received.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Outage {
    /// The event log takes no events; the kind of the error (see [`CommandError::kind`]).
    #[error("the event log takes no events for now: {0}")]
    EventLog(&'static str),
    /// The database of the parked messages fails; the SQLSTATE, or the kind of the error.
    #[error("the database of the parked messages fails: {0}")]
    Database(String),
    /// The views, which are asked whose case a CRN is, fail; the SQLSTATE, or the kind of the
    /// error.
    #[error("the views fail, or may not be read: {0}")]
    Views(String),
    /// The schema of the parked messages is not as this program knows it.
    #[error("the schema `integration` is not prepared: run `allocation-ledger prepare`")]
    Unprepared,
    /// A service that is asked for what a message does not say fails.
    #[error("a look-up fails: {0}")]
    LookUp(#[from] LookUpError),
    /// SQS fails.
    #[error(transparent)]
    Queue(#[from] QueueError),
}

impl From<&CommandError> for Outage {
    fn from(error: &CommandError) -> Self {
        Self::EventLog(error.kind())
    }
}

impl From<sqlx::Error> for Outage {
    fn from(error: sqlx::Error) -> Self {
        let code = error.as_database_error().and_then(|refusal| refusal.code()).map(String::from);
        let kind = || match &error {
            sqlx::Error::PoolTimedOut => "timeout",
            sqlx::Error::Io(_) => "out of reach",
            _ => "no answer that can be used",
        };
        Self::Database(code.unwrap_or_else(|| kind().to_owned()))
    }
}

impl Outage {
    /// That of the views, by the error of a question to them.
    pub(crate) fn of_views(error: sqlx::Error) -> Self {
        match error.into() {
            Self::Database(code) => Self::Views(code),
            outage => outage,
        }
    }
}

impl From<SchemaError> for Outage {
    fn from(error: SchemaError) -> Self {
        match error {
            SchemaError::Database { source, .. } => source.into(),
            SchemaError::Migration { .. } | SchemaError::NotOwner { .. } => Self::Unprepared,
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::Stream;

    use super::*;

    #[test]
    fn an_outage_names_no_person() {
        let stream = Stream::Prisoner("A1234BC".parse().expect("a number"));
        let outage = Outage::from(&CommandError::Contended { stream });
        assert_eq!(outage.to_string(), "the event log takes no events for now: contended");
        let outage = Outage::from(sqlx::Error::Protocol("a row of A1234BC".to_owned()));
        assert_eq!(outage.to_string(), "the database of the parked messages fails: no answer that can be used");
    }
}
