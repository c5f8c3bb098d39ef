//! Idempotency keys in the table `log.idempotency_key`. An append spends its key itself; here are
//! the keys of requests that record nothing, and the look at one key.

use domain::identifier::CommandId;
use sqlx::PgPool;
use tokio::sync::oneshot;

use event_log::{KeySpending, LogError, SpentKey};

use crate::{
    PostgresLog,
    answer_timeout::with_timeout,
    error::log_error,
    writer::{SpendRequest, WriterRequest},
    writer_has_ended,
};

impl PostgresLog {
    /// Spends a key on the writer's connection, whose settings make the answer durable.
    pub(crate) async fn spend(
        &self,
        key: CommandId,
        spent: SpentKey,
        replaces_answer: bool,
    ) -> Result<KeySpending, LogError> {
        let (answer, answered) = oneshot::channel();
        self.send(WriterRequest::Spend(SpendRequest { key: key.0, spent, replaces_answer, answer })).await?;
        answered.await.map_err(|_| writer_has_ended())?
    }
}

/// The use of a key, today or yesterday; or tomorrow, by a clock that was ahead.
pub(crate) async fn find(pool: &PgPool, key: CommandId) -> Result<Option<SpentKey>, LogError> {
    let statement = sqlx::query_as(
        "SELECT spent.request, spent.answer
           FROM log.idempotency_key AS spent,
                (SELECT (clock_timestamp() AT TIME ZONE 'UTC')::date AS today) AS clock
          WHERE spent.day = ANY (ARRAY[clock.today - 1, clock.today, clock.today + 1]) AND spent.key = $1
          ORDER BY spent.day
          LIMIT 1",
    )
    .bind(key.0);
    let row: Option<(String, Option<String>)> =
        with_timeout(pool, async |reader| statement.fetch_optional(reader).await)
            .await
            .map_err(|error| log_error(error, 0))?;
    Ok(row.map(|(request, answer)| SpentKey { request, answer }))
}
