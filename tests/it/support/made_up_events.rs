//! Events that only make a log longer.

use domain::{Event, Stream, identifier::CommandId};
use event_log::{APPEND_EVENTS_MAX, ExpectedRevision, Salt, encode};
use futures::{StreamExt as _, stream};
use uuid::Uuid;

use super::{
    builders::{metadata, now, tier_assigned},
    ledger::Ledger,
};

/// Tiers that no test asks for.
pub fn tiers(count: usize) -> Vec<Event> {
    vec![tier_assigned("D1"); count]
}

/// Appends events to the streams of made-up cases, straight to the log.
pub async fn append_to_made_up_cases(ledger: &Ledger, events: &[Event]) {
    let log = ledger.log().await;
    let appends = events.chunks(APPEND_EVENTS_MAX).enumerate().map(|(number, events)| {
        let log = log.clone();
        async move {
            let stream = Stream::Prisoner(format!("G{number:04}ZZ").parse().expect("a prisoner number"));
            let now = now();
            let metadata = metadata(now, "TEST", CommandId(Uuid::new_v4()));
            let encoded = |(index, event)| encode(&stream, event, index, &metadata, now, Salt::random());
            let events = events.iter().enumerate().map(encoded).collect();
            log.append(&stream, ExpectedRevision::NoStream, events).await.expect("append");
        }
    });
    // A few at a time: a server that is busy with all of them would answer the last one too late.
    stream::iter(appends).buffer_unordered(4).collect::<Vec<_>>().await;
}
