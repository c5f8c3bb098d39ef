//! A trial on an operator's servers: the database and the stream prefix that are made for it alone,
//! and removed again.

use anyhow::Context as _;
use event_log_kurrentdb::StreamPrefix;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, postgres::PgConnectOptions};
use uuid::Uuid;

use crate::stores;

/// A database that was made for a trial.
pub struct TrialDatabase {
    server: PgConnectOptions,
    server_url: String,
    name: String,
}

impl TrialDatabase {
    /// Makes a database for a trial of this kind on the server that `setting` names by a URL.
    ///
    /// # Errors
    /// It is no URL of a Postgres server, the server is out of reach, or its user may not make a
    /// database.
    pub async fn create(setting: &str, url: &str, kind: &str) -> anyhow::Result<Self> {
        let server = stores::connect_options(setting, url)?;
        // The events of a trial are of no use to a ledger, so they must not come near one.
        let name = format!("ledger_{kind}_{}", Uuid::new_v4().simple());
        let database = Self { server, server_url: url.to_owned(), name };
        let mut connection = database.connect(setting).await?;
        sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {}", database.name)))
            .execute(&mut connection)
            .await
            .context("make a database to try in: name a user who may (`ALTER ROLE … CREATEDB`)")?;
        Ok(database)
    }

    /// The URL of the database, with all parameters that the server's URL has.
    #[must_use]
    pub fn url(&self) -> String {
        // Of the databases that a URL names, the last one counts.
        let separator = if self.server_url.contains('?') { '&' } else { '?' };
        format!("{}{separator}dbname={}", self.server_url, self.name)
    }

    /// Drops the database, also while others are connected to it.
    ///
    /// # Errors
    /// The server is out of reach or refuses; the error says what to drop by hand.
    pub async fn remove(self) -> anyhow::Result<()> {
        let by_hand = || format!("drop the database {}, which was made to try in: drop it by hand", self.name);
        let mut connection = self.connect("the URL").await.with_context(by_hand)?;
        sqlx::query(AssertSqlSafe(format!("DROP DATABASE {} WITH (FORCE)", self.name)))
            .execute(&mut connection)
            .await
            .with_context(by_hand)?;
        Ok(())
    }

    async fn connect(&self, setting: &str) -> anyhow::Result<PgConnection> {
        let connected = PgConnection::connect_with(&self.server).await;
        connected.with_context(|| {
            format!("connect to the Postgres server that {setting} names: is it running, and the URL right?")
        })
    }
}

/// A prefix for the streams of a trial of this kind, which is not in use. It must not begin as that
/// of a ledger on the server does, which would take the streams for its own.
#[must_use]
pub fn stream_prefix(kind: &str, ledger: &StreamPrefix, run: Uuid) -> StreamPrefix {
    let begin = if ledger.to_string().chars().next() == kind.chars().next() { "trial" } else { kind };
    format!("{begin}-{}-", run.simple()).parse().expect("letters, digits and hyphens")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_does_not_take_the_streams_of_a_trial_for_its_own() {
        let run = Uuid::nil();
        for (ledger, begin) in [("ledger-", "check-0"), ("c", "trial-0"), ("checked-", "trial-0"), ("t", "check-0")] {
            let prefix = stream_prefix("check", &ledger.parse().expect("a prefix"), run).to_string();
            assert!(prefix.starts_with(begin) && !prefix.starts_with(ledger), "{ledger}: {prefix}");
        }
    }
}
