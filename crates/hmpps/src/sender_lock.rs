//! The lock that makes one publisher, or one sender to the audit queue, the active one. It is held
//! on a connection of its own: Postgres lets go of it when that connection ends, or has been silent
//! for the lock's life.

use std::time::Duration;

use sqlx::{Connection as _, PgConnection, PgPool};
use tokio::time::{sleep, timeout};

/// How often a stand-by asks whether the lock is free, and the holder whether it still has it.
const INTERVAL: Duration = Duration::from_millis(500);

/// How long the connection may take to answer before it counts as lost.
const TIMEOUT: Duration = Duration::from_secs(5);

/// How long the holder may be silent before Postgres ends its connection: a process that is
/// suspended keeps its connections, so nothing else would tell.
const LIFE: Duration = Duration::from_secs(10);

/// The lock, for as long as its connection lasts.
pub(crate) struct SenderLock {
    connection: PgConnection,
}

impl SenderLock {
    /// Waits for the lock of a name, and says through `stand_by` that another holds it.
    pub(crate) async fn take(database: &PgPool, name: &str, stand_by: impl Fn()) -> Result<Self, sqlx::Error> {
        let options = database.connect_options().as_ref().clone().application_name(name).options([
            ("idle_session_timeout", LIFE.as_millis().to_string().as_str()),
            // A machine that vanished says no goodbye.
            ("tcp_keepalives_idle", "3"),
            ("tcp_keepalives_interval", "1"),
            ("tcp_keepalives_count", "3"),
        ]);
        let mut connection = in_time(PgConnection::connect_with(&options)).await?;
        loop {
            let request = sqlx::query_scalar("SELECT pg_try_advisory_lock(hashtextextended($1, 0))");
            if in_time(request.bind(name).fetch_one(&mut connection)).await? {
                return Ok(Self { connection });
            }
            stand_by();
            sleep(INTERVAL).await;
        }
    }

    /// Waits until the lock's connection answers no more.
    pub(crate) async fn until_lost(&mut self) -> sqlx::Error {
        loop {
            sleep(INTERVAL).await;
            if let Err(error) = in_time(self.connection.ping()).await {
                return error;
            }
        }
    }
}

async fn in_time<T>(request: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
    timeout(TIMEOUT, request).await.unwrap_or_else(|_| Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())))
}
