//! Finding the place of an instant in the log.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use event_log::{LogError, PAGE_EVENTS_MAX, PageNext};

use crate::{revisions::RevisionCheck, store::Store};

impl Store {
    /// The position of the last event before the first one that was recorded after an instant.
    ///
    /// Recorded times may run backwards for a moment, so the log is read up to a time after the
    /// instant, or to its end, and the [index](crate::time_index::TimeIndex) made on the way tells
    /// where to look closer.
    pub(crate) async fn position_at(self: &Arc<Self>, instant: DateTime<Utc>) -> Result<u64, LogError> {
        {
            let _turn = self.finding_instant.lock().await;
            let mut end = self.times.end();
            let mut revisions = RevisionCheck::after(end);
            while self.times.latest() <= instant {
                let page = self.page(end, PAGE_EVENTS_MAX, &mut revisions).await?;
                match (page.events.last(), page.next) {
                    (_, PageNext::LogEnd) => break,
                    (Some(last), _) => end = last.position,
                    (None, PageNext::Damage(error)) => return Err(error),
                    (None, PageNext::MoreEvents) => {}
                }
            }
        }
        let mut found = self.times.before_instant(instant);
        loop {
            let page = self.page(found, PAGE_EVENTS_MAX, &mut RevisionCheck::after(found)).await?;
            let earlier = page.events.iter().take_while(|event| event.recorded_at <= instant).count();
            found = earlier.checked_sub(1).map_or(found, |last| page.events[last].position);
            match page.next {
                _ if earlier < page.events.len() => return Ok(found),
                PageNext::LogEnd => return Ok(found),
                PageNext::Damage(error) => return Err(error),
                PageNext::MoreEvents => {}
            }
        }
    }
}
