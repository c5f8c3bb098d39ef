//! Lag: how far a reader is behind the log.

use std::fmt;

use chrono::{DateTime, Utc};

use crate::{LogError, PAGE_EVENTS_MAX, SharedLog};

/// How far a reader is behind the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lag {
    /// Events that the reader has not read, counted up to [`PAGE_EVENTS_MAX`]. Positions may have
    /// gaps, so only reading tells.
    pub events: usize,
    /// When the first of them was recorded; absent where there is none.
    pub since: Option<DateTime<Utc>>,
}

impl Lag {
    /// Measures the lag of a reader that has read everything up to a position.
    ///
    /// # Errors
    /// [`LogError`], where the log cannot be read.
    pub async fn measure(log: &SharedLog, position: u64) -> Result<Self, LogError> {
        let missing = log.read_all(position, PAGE_EVENTS_MAX).await?;
        Ok(Self { events: missing.len(), since: missing.first().map(|first| first.recorded_at) })
    }
}

impl fmt::Display for Lag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or_more = if self.events == PAGE_EVENTS_MAX { " or more" } else { "" };
        write!(f, "{}{or_more}", self.events)
    }
}

/// Whether the log has more than this many events after a position. This reads them, because
/// positions do not tell.
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
