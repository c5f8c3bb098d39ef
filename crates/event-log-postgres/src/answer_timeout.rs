//! The time limit of readers' statements.
//!
//! A connection may fall silent for good without any error, for example after its server's machine
//! is gone. So a statement that gets no answer in time closes its connection, and so does one that
//! is dropped before its answer: if it gave the connection back, the pool would wait for that
//! answer.

use std::{io, time::Duration};

use sqlx::{PgConnection, PgPool, Postgres, pool::PoolConnection};
use tokio::time::timeout;

/// How long the server may take to answer a statement: far longer than the largest page takes on a
/// busy machine.
pub(crate) const ANSWER_MAX: Duration = Duration::from_secs(20);

/// Runs a statement on a connection of the pool, within [`ANSWER_MAX`].
pub(crate) async fn with_timeout<T>(
    pool: &PgPool,
    statement: impl AsyncFnOnce(&mut PgConnection) -> Result<T, sqlx::Error>,
) -> Result<T, sqlx::Error> {
    let mut pending = PendingStatement { connection: pool.acquire().await?, is_answered: false };
    let answer = in_time(statement(&mut pending.connection)).await?;
    pending.is_answered = true;
    Ok(answer)
}

/// Limits a statement to [`ANSWER_MAX`].
pub(crate) async fn in_time<T>(answer: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
    timeout(ANSWER_MAX, answer).await.unwrap_or_else(|_| Err(no_answer()))
}

/// The error of a statement that got no answer in time.
pub(crate) fn no_answer() -> sqlx::Error {
    sqlx::Error::Io(io::ErrorKind::TimedOut.into())
}

/// A connection on which a statement is under way.
struct PendingStatement {
    connection: PoolConnection<Postgres>,
    is_answered: bool,
}

impl Drop for PendingStatement {
    fn drop(&mut self) {
        if !self.is_answered {
            self.connection.close_on_drop();
        }
    }
}
