//! Statements of readers, each within a time.
//!
//! Where a connection has fallen silent for good, as after its server's machine has gone, nothing says so. So whoever gets no
//! answer in time, or does not wait for it any more, has the connection closed: given back, the pool would wait for it.

use std::{io, time::Duration};

use sqlx::{PgConnection, PgPool, Postgres, pool::PoolConnection};
use tokio::time::timeout;

/// How long the server may take to answer a statement: far longer than the largest page takes on a busy machine.
pub(crate) const ANSWER_MAX: Duration = Duration::from_secs(20);

/// What the server answers to a statement on a connection of the pool.
pub(crate) async fn answered<T>(
    pool: &PgPool,
    statement: impl AsyncFnOnce(&mut PgConnection) -> Result<T, sqlx::Error>,
) -> Result<T, sqlx::Error> {
    let mut asked = Asked { connection: pool.acquire().await?, is_answered: false };
    let answer = in_time(statement(&mut asked.connection)).await?;
    asked.is_answered = true;
    Ok(answer)
}

/// Holds a statement to [`ANSWER_MAX`].
pub(crate) async fn in_time<T>(answer: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
    timeout(ANSWER_MAX, answer).await.unwrap_or_else(|_| Err(no_answer()))
}

/// That there was no answer in time.
pub(crate) fn no_answer() -> sqlx::Error {
    sqlx::Error::Io(io::ErrorKind::TimedOut.into())
}

/// A connection that a statement is under way on.
struct Asked {
    connection: PoolConnection<Postgres>,
    is_answered: bool,
}

impl Drop for Asked {
    fn drop(&mut self) {
        if !self.is_answered {
            self.connection.close_on_drop();
        }
    }
}
