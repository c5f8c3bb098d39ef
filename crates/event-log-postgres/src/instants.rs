//! Finding the position in the log at an instant.

use chrono::{DateTime, Utc};

use sqlx::PgPool;

use event_log::LogError;

use crate::{answer_timeout::with_timeout, error::log_error, read};

/// Events before the position found by bisection that are searched for one recorded later.
const LOOK_BACK_EVENTS: u64 = 2_000;

/// The position of the event before the first one that was recorded after an instant; 0 where there
/// is none.
///
/// Recorded times never run backwards, so this bisects: some 25 reads of one event for a log of 30
/// million. Only in a log that was copied from another store may they run backwards for a moment,
/// so the events before the position found are searched for that.
pub(crate) async fn position_at(pool: &PgPool, instant: DateTime<Utc>) -> Result<u64, LogError> {
    let mut found = bisect(pool, instant).await?;
    while let Some(later) = first_later(pool, found, instant).await? {
        found = later - 1;
    }
    Ok(found)
}

/// A position whose event was recorded at or before an instant, while the event after it was
/// recorded later.
async fn bisect(pool: &PgPool, instant: DateTime<Utc>) -> Result<u64, LogError> {
    // Events up to `found` were recorded at or before the instant, those from `end` on later.
    let (mut found, mut end) = (0, read::head(pool).await?.saturating_add(1));
    let mut middle = end - 1;
    while found + 1 < end {
        match read::page(pool, middle - 1, 1).await?.events.first() {
            Some(event) if event.recorded_at <= instant => found = event.position,
            Some(_) | None => end = middle,
        }
        middle = found + (end - found).div_ceil(2);
    }
    Ok(found)
}

/// The first event recorded after an instant, of the [`LOOK_BACK_EVENTS`] up to a position.
async fn first_later(pool: &PgPool, position: u64, instant: DateTime<Utc>) -> Result<Option<u64>, LogError> {
    let statement = sqlx::query_scalar(
        "SELECT min(position) FROM log.event WHERE position > $1 AND position <= $2 AND recorded_at > $3",
    )
    .bind(position.saturating_sub(LOOK_BACK_EVENTS).cast_signed())
    .bind(position.cast_signed())
    .bind(instant);
    let first: Option<i64> = with_timeout(pool, async |reader| statement.fetch_one(reader).await)
        .await
        .map_err(|error| log_error(error, position))?;
    Ok(first.map(i64::cast_unsigned))
}
