//! How far a reader is behind the log, and whether it is this log that it has read.

use std::fmt;

use chrono::{DateTime, Utc};
use domain::identifier::EventId;

use crate::{LogError, PAGE_EVENTS_MAX, RecordedEvent, SharedLog};

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

/// What a reader of a log remembers of the last event that it has seen, by which it tells that log from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastSeen {
    /// Its position; 0 before the first.
    pub position: u64,
    /// Its id, where that was kept.
    pub event_id: Option<EventId>,
    /// When it was recorded. The id alone does not tell: a command sent again to a log that was put back from a backup makes
    /// events with the same ids.
    pub recorded_at: Option<DateTime<Utc>>,
}

impl From<&RecordedEvent> for LastSeen {
    fn from(event: &RecordedEvent) -> Self {
        Self { position: event.position, event_id: Some(event.event_id), recorded_at: Some(event.recorded_at) }
    }
}

impl LastSeen {
    /// Nothing seen yet.
    pub const NOTHING: Self = Self { position: 0, event_id: None, recorded_at: None };

    /// Whether it stands in the log. If not, it was another log that the reader has seen.
    ///
    /// # Errors
    /// [`LogError`], where the log cannot be read.
    pub async fn is_in(self, log: &SharedLog) -> Result<bool, LogError> {
        if self.position == 0 {
            return Ok(true);
        }
        Ok(log.event_at(self.position).await?.is_some_and(|event| {
            self.event_id.is_none_or(|id| id == event.event_id)
                && self.recorded_at.is_none_or(|recorded_at| recorded_at == event.recorded_at)
        }))
    }
}

impl fmt::Display for Behind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or_more = if self.events == PAGE_EVENTS_MAX { " or more" } else { "" };
        write!(f, "{}{or_more}", self.events)
    }
}
