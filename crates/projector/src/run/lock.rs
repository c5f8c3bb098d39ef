//! The lock that makes one projector the active one. It is held on a connection of its own:
//! Postgres lets go of it when that connection ends, or when the connection has been silent for the
//! lock's life.

use std::time::Duration;

use sqlx::{Connection as _, PgConnection, postgres::PgConnectOptions};
use tokio::{sync::watch, time::sleep};

use super::{Status, with_timeout};
use crate::{ProjectorError, schema};

/// How often a stand-by asks whether the lock is free, and the holder whether it still has it.
pub(super) const LOCK_INTERVAL: Duration = Duration::from_millis(500);

/// How long the lock's connection may take to answer before it counts as lost.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);

/// The lock's life: how long the holder may be silent before Postgres ends its connection, and the
/// lock with it. A process that is suspended keeps its connections, so nothing else would tell. It
/// must be longer than the holder takes to ask for the lock and to give it up as lost.
pub(super) const LOCK_LIFE: Duration = Duration::from_secs(10);

/// The lock, for as long as its connection lasts.
pub(super) struct ProjectorLock {
    connection: PgConnection,
}

impl ProjectorLock {
    /// Waits for the lock. Asks again and again rather than waiting inside Postgres: a statement
    /// that waits keeps its snapshot, which would keep Postgres from vacuuming for as long as the
    /// projector stands by.
    pub(super) async fn take(
        options: &PgConnectOptions,
        status: &watch::Sender<Status>,
    ) -> Result<Self, ProjectorError> {
        let life = [("idle_session_timeout", LOCK_LIFE.as_millis().to_string())];
        let options = options.clone().options(life);
        let mut connection = with_timeout(LOCK_TIMEOUT, PgConnection::connect_with(&options)).await?;
        loop {
            let request = sqlx::query_scalar("SELECT pg_try_advisory_lock(hashtextextended($1, 0))")
                .bind(schema::PROJECTING_LOCK)
                .fetch_one(&mut connection);
            let is_taken: bool = with_timeout(LOCK_TIMEOUT, request).await?;
            if is_taken {
                return Ok(Self { connection });
            }
            let stand_by = Status::StandBy;
            status.send_if_modified(|status| std::mem::replace(status, stand_by.clone()) != stand_by);
            sleep(LOCK_INTERVAL).await;
        }
    }

    /// Waits until the lock's connection answers no more.
    pub(super) async fn until_lost(&mut self) -> sqlx::Error {
        loop {
            sleep(LOCK_INTERVAL).await;
            if let Err(error) = with_timeout(LOCK_TIMEOUT, self.connection.ping()).await {
                return error;
            }
        }
    }
}
