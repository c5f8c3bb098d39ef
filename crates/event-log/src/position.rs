//! From a point in time to a place in the log.

use chrono::{DateTime, Utc};

use crate::{LogError, SharedLog};

/// The position of the last event that was recorded at or before an instant; 0 where there is none.
///
/// Recorded times never run backwards, so this is a search by halves: some 25 reads of one event for a log of 30 million.
/// Positions may have gaps.
///
/// # Errors
/// [`LogError`], where the log cannot be read.
pub async fn position_at(log: &SharedLog, instant: DateTime<Utc>) -> Result<u64, LogError> {
    // What is recorded later is at or after `end`; everything up to `found` is not.
    let (mut found, mut end) = (0, log.head().await?.saturating_add(1));
    let mut middle = end - 1;
    while found + 1 < end {
        let first_after = log.read_all(middle - 1, 1).await?.into_iter().next().filter(|event| event.position < end);
        match first_after {
            Some(event) if event.recorded_at <= instant => found = event.position,
            // Where there is a gap from the middle to the end, nothing stands after the middle.
            Some(_) | None => end = middle,
        }
        middle = found + (end - found).div_ceil(2);
    }
    Ok(found)
}
