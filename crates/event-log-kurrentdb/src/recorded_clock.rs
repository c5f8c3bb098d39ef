//! The recorded clock of this process: recorded times never run backwards.

use std::sync::Mutex;

use chrono::{DateTime, Utc};

use event_log::lock;

/// The latest recorded time that this process has read or written.
pub(crate) struct RecordedClock(Mutex<DateTime<Utc>>);

impl Default for RecordedClock {
    fn default() -> Self {
        Self(Mutex::new(DateTime::UNIX_EPOCH))
    }
}

impl RecordedClock {
    /// Answers the time given, or the latest so far where that is later. The answer is the latest
    /// from now on.
    pub(crate) fn advance_to(&self, time: DateTime<Utc>) -> DateTime<Utc> {
        let mut latest = lock(&self.0);
        *latest = time.max(*latest);
        *latest
    }
}
