//! Finding the place of an instant in the log.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use event_log::{LogError, PAGE_EVENTS_MAX, PageNext};

use crate::{paging::PageReader, store::Store, time_index::MARK_EVENTS};

/// The events that a search must have added to the time index for it to be saved: they are read in
/// less than a second.
const SAVE_EVENTS_MIN: usize = 20_000;

impl Store {
    /// The position of the last event before the first one that was recorded after an instant.
    ///
    /// Recorded times may run backwards for a moment, so the log is read up to a time after the
    /// instant, or to its end, and the [index](crate::time_index::TimeIndex) made on the way tells
    /// where to look closer. The index begins with what an earlier process has saved of it.
    pub(crate) async fn position_at(self: &Arc<Self>, instant: DateTime<Utc>) -> Result<u64, LogError> {
        {
            let _turn = self.finding_instant.lock().await;
            self.restore_times().await;
            let mut end = self.times.end();
            let mut reader = PageReader::following(end);
            while self.times.latest() <= instant {
                let page = self.page(end, PAGE_EVENTS_MAX, &mut reader).await?;
                match (page.events.last(), page.next) {
                    (_, PageNext::LogEnd) => break,
                    (Some(last), _) => end = last.position,
                    (None, PageNext::Damage(error)) => return Err(error),
                    (None, PageNext::MoreEvents) => {}
                }
            }
            self.times.mark_restored();
            self.save_times(SAVE_EVENTS_MIN).await;
        }
        let mut found = self.times.before_instant(instant);
        loop {
            let page = self.page(found, MARK_EVENTS, &mut PageReader::after(found)).await?;
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
