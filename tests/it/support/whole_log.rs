//! All events of a log, read page by page.

use event_log::{EventLog, PAGE_EVENTS_MAX, RecordedEvent, StoredEvent, decode};

/// Reads all events of a log, as the log returns them.
pub async fn read_recorded(log: &(impl EventLog + ?Sized)) -> Vec<RecordedEvent> {
    let mut events: Vec<RecordedEvent> = Vec::new();
    loop {
        let after = events.last().map_or(0, |event| event.position);
        let page = log.read_all(after, PAGE_EVENTS_MAX).await.expect("a page of the log");
        if page.is_empty() {
            return events;
        }
        events.extend(page);
    }
}

/// Reads and decodes all events of a log.
pub async fn read_stored(log: &(impl EventLog + ?Sized)) -> Vec<StoredEvent> {
    read_recorded(log).await.iter().map(|event| decode(event).expect("an event")).collect()
}
