//! Order: what is wrong with a sequence of events.

use std::collections::{BTreeMap, HashSet};

use domain::Stream;

use crate::RecordedEvent;

/// Finds what is wrong with events that should be the whole log after some position, in order.
/// Answers nothing where nothing is wrong.
#[must_use]
pub fn find_disorder(events: &[RecordedEvent]) -> Option<String> {
    let mut ids = HashSet::new();
    let mut last_of_streams: BTreeMap<&Stream, &RecordedEvent> = BTreeMap::new();
    let mut last: Option<&RecordedEvent> = None;
    for event in events {
        if let Some(last) = last
            && event.position <= last.position
        {
            return Some(format!("position {} follows position {}", event.position, last.position));
        }
        if !ids.insert(event.event_id) {
            return Some(format!("event {} stands twice, again at position {}", event.event_id, event.position));
        }
        let RecordedEvent { position, stream, revision, .. } = event;
        if let Some(before) = last_of_streams.insert(stream, event) {
            let next = before.revision + 1;
            if next != *revision {
                return Some(format!(
                    "revision {revision} of {stream} stands at position {position}, where {next} was next"
                ));
            }
            if event.recorded_at < before.recorded_at {
                return Some(format!("recorded time of {stream} runs backwards at position {position}"));
            }
        }
        last = Some(event);
    }
    None
}

/// Finds the first position whose event was recorded earlier than the event before it, over all
/// streams. A store with one writer at a time, such as the one in Postgres, promises that there is
/// none.
#[must_use]
pub fn find_earlier_time(events: &[RecordedEvent]) -> Option<u64> {
    events.windows(2).find(|pair| pair[1].recorded_at < pair[0].recorded_at).map(|pair| pair[1].position)
}
