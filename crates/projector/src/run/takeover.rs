//! Takes the views over from the projector that held the lock before.

use std::{pin::pin, time::Duration};

use sqlx::{PgConnection, postgres::PgConnectOptions};
use tokio::time::timeout;
use views::checkpoint::Checkpoint;

use crate::{ProjectorError, checkpoint, schema};

/// How long a projector that takes over waits for its predecessor's last batch before it ends the
/// predecessor's session: one that is suspended amid a batch holds the checkpoint.
const LAST_BATCH_MAX: Duration = Duration::from_secs(5);

/// Raises the epoch, once the predecessor's last batch is committed or given up.
pub(super) async fn take_over(
    connection: &mut PgConnection,
    options: &PgConnectOptions,
) -> Result<Checkpoint, ProjectorError> {
    let session: i32 = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut *connection).await?;
    let mut taking_over = pin!(checkpoint::take_over(connection));
    loop {
        match timeout(LAST_BATCH_MAX, &mut taking_over).await {
            Ok(taken) => return Ok(taken?),
            Err(_) => schema::end_predecessors(options, session).await?,
        }
    }
}
