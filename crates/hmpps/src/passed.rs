//! Messages that were passed over, and that an earlier one may give a meaning when it comes late.
//!
//! SQS keeps no order. A release of an unknown person says nothing, until the reception that came
//! before it is heard of; so does an arrival at the prison that holds the case, until the departure
//! from there is. Such messages are kept for as long as a message may be late. They are decided
//! again after each fact that is recorded of the person, and from time to time: the person may be
//! known by now without a message.

use chrono::{DateTime, Utc};
use domain::identifier::PrisonerNumber;
use sqlx::PgPool;

use crate::parked::within;

/// The messages that were passed over.
#[derive(Debug, Clone)]
pub(crate) struct PassedMessages {
    database: PgPool,
}

/// The most people whose messages are decided again at a time.
const SWEPT_NUMBERS: i64 = 100;

/// A message that was passed over.
pub(crate) struct PassedMessage {
    pub(crate) id: String,
    pub(crate) body: String,
}

impl PassedMessages {
    pub(crate) fn new(database: PgPool) -> Self {
        Self { database }
    }

    /// Keeps a message about these people. One without a time, a merge, counts as later than all
    /// facts about them: it is decided again after each, and after the movements that came with it.
    pub(crate) async fn keep(
        &self,
        id: &str,
        numbers: &[String],
        at: Option<DateTime<Utc>>,
        body: &str,
    ) -> Result<(), sqlx::Error> {
        const SQL: &str = "INSERT INTO integration.passed_message (number, occurred_at, id, body)
            SELECT DISTINCT number, coalesce($2::timestamptz, 'infinity'), $3, $4::bytea FROM unnest($1::text[]) AS number
            ON CONFLICT DO NOTHING";
        let keeping = sqlx::query(SQL).bind(numbers).bind(at).bind(id).bind(body.as_bytes());
        within(keeping.execute(&self.database)).await?;
        Ok(())
    }

    /// The kept messages about a person, in their order.
    pub(crate) async fn about(&self, number: &PrisonerNumber) -> Result<Vec<PassedMessage>, sqlx::Error> {
        const SQL: &str = "SELECT id, body FROM integration.passed_message WHERE number = $1 ORDER BY occurred_at, id";
        let finding = sqlx::query_as::<_, (String, Vec<u8>)>(SQL).bind(number.as_str());
        let found = within(finding.fetch_all(&self.database)).await?;
        Ok(found.into_iter().map(|(id, body)| PassedMessage::new(id, &body)).collect())
    }

    /// The kept messages about the next people after a number, with their numbers, in their order.
    pub(crate) async fn about_next(&self, after: &str) -> Result<Vec<(String, PassedMessage)>, sqlx::Error> {
        const SQL: &str = "SELECT number, id, body FROM integration.passed_message WHERE number IN (
                SELECT DISTINCT number FROM integration.passed_message WHERE number > $1 ORDER BY number LIMIT $2
            ) ORDER BY number, occurred_at, id";
        let finding = sqlx::query_as::<_, (String, String, Vec<u8>)>(SQL).bind(after).bind(SWEPT_NUMBERS);
        let found = within(finding.fetch_all(&self.database)).await?;
        Ok(found.into_iter().map(|(number, id, body)| (number, PassedMessage::new(id, &body))).collect())
    }

    /// Forgets messages of more than 14 days ago: that is the longest time for which SQS keeps one.
    pub(crate) async fn forget_old(&self) -> Result<(), sqlx::Error> {
        const SQL: &str = "DELETE FROM integration.passed_message WHERE passed_at < now() - interval '14 days'";
        within(sqlx::query(SQL).execute(&self.database)).await?;
        Ok(())
    }

    /// Forgets a message.
    pub(crate) async fn remove(&self, id: &str, numbers: &[String]) -> Result<(), sqlx::Error> {
        const SQL: &str = "DELETE FROM integration.passed_message WHERE number = ANY ($1) AND id = $2";
        within(sqlx::query(SQL).bind(numbers).bind(id).execute(&self.database)).await?;
        Ok(())
    }
}

impl PassedMessage {
    fn new(id: String, body: &[u8]) -> Self {
        Self { id, body: String::from_utf8_lossy(body).into_owned() }
    }
}
