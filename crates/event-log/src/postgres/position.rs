//! From a point in time to a place in the log.

use chrono::{DateTime, Utc};

use sqlx::PgPool;

use crate::LogError;

use super::read;

/// The position of the last event that was recorded at or before an instant; 0 where there is none.
///
/// Recorded times never run backwards, so this is a search by halves: some 25 reads of one event for a log of 30 million.
pub(super) async fn position_at(pool: &PgPool, instant: DateTime<Utc>) -> Result<u64, LogError> {
    // What is recorded later is at or after `end`; everything up to `found` is not.
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
