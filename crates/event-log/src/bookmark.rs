//! Bookmarks: a reader's last event, by which it tells its log from another one.

use chrono::{DateTime, Utc};
use domain::identifier::EventId;

use crate::{LogError, RecordedEvent, SharedLog};

/// The last event that a reader has read, as its checkpoint keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bookmark {
    /// Its position; 0 before the first event.
    pub position: u64,
    /// Its id, where the reader has kept it.
    pub event_id: Option<EventId>,
    /// When it was recorded. The id alone is not enough: a command that is sent again to a log that
    /// was put back from a backup makes events with the same ids.
    pub recorded_at: Option<DateTime<Utc>>,
}

impl From<&RecordedEvent> for Bookmark {
    fn from(event: &RecordedEvent) -> Self {
        Self { position: event.position, event_id: Some(event.event_id), recorded_at: Some(event.recorded_at) }
    }
}

impl Bookmark {
    /// The bookmark of a reader that has read nothing.
    pub const START: Self = Self { position: 0, event_id: None, recorded_at: None };

    /// Whether the event is in the log. If not, the reader has read another log.
    ///
    /// # Errors
    /// [`LogError`], where the log cannot be read.
    pub async fn is_in(self, log: &SharedLog) -> Result<bool, LogError> {
        if self.position == 0 {
            return Ok(true);
        }
        Ok(log.event_at(self.position).await?.is_some_and(|event| self.marks(&event)))
    }

    /// Whether this is the event.
    #[must_use]
    pub fn marks(self, event: &RecordedEvent) -> bool {
        self.position == event.position
            && self.event_id.is_none_or(|id| id == event.event_id)
            && self.recorded_at.is_none_or(|recorded_at| recorded_at == event.recorded_at)
    }
}
