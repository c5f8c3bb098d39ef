//! How far a reader is behind the log, and whether it is this log that it has read.

use std::fmt;

use chrono::{DateTime, Utc};
use domain::identifier::EventId;

use crate::{LogError, PAGE_EVENTS_MAX, SharedLog};

/// How far a reader is behind the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Behind {
    /// Events that it has not seen, counted up to [`PAGE_EVENTS_MAX`]: positions may have gaps, so only reading tells.
    pub events: usize,
    /// When the first of them was recorded; none where there is none.
    pub since: Option<DateTime<Utc>>,
}

/// How far a reader is behind that has seen everything up to a position.
///
/// # Errors
/// [`LogError`], where the log cannot be read.
pub async fn behind(log: &SharedLog, position: u64) -> Result<Behind, LogError> {
    let missing = log.read_all(position, PAGE_EVENTS_MAX).await?;
    Ok(Behind { events: missing.len(), since: missing.first().map(|first| first.recorded_at) })
}

/// Whether more than so many events stand after a position. Reads them, as positions do not tell.
///
/// # Errors
/// [`LogError`], where the log cannot be read.
pub async fn has_more_than(log: &SharedLog, position: u64, events: u64) -> Result<bool, LogError> {
    let (mut after, mut found) = (position, 0);
    while found <= events {
        let page = log.read_all(after, PAGE_EVENTS_MAX).await?;
        let Some(last) = page.last() else { return Ok(false) };
        after = last.position;
        found += page.len() as u64;
    }
    Ok(true)
}

/// Whether the event that a reader has seen last stands in the log, and whether it is that one, where its id was kept. If not,
/// it was another log that the reader has seen.
///
/// # Errors
/// [`LogError`], where the log cannot be read.
pub async fn has_at(log: &SharedLog, position: u64, event_id: Option<EventId>) -> Result<bool, LogError> {
    let Some(before) = position.checked_sub(1) else { return Ok(true) };
    let next = log.read_all(before, 1).await?;
    Ok(next.first().is_some_and(|event| event.position == position && event_id.is_none_or(|id| id == event.event_id)))
}

impl fmt::Display for Behind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or_more = if self.events == PAGE_EVENTS_MAX { " or more" } else { "" };
        write!(f, "{}{or_more}", self.events)
    }
}
