//! One run of the contract: the logs, and the streams and events that it makes up.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use chrono::{DateTime, Utc};
use domain::{
    Stream,
    identifier::{CommandId, EventId},
};
use uuid::Uuid;

use crate::{NewEvent, RecordedEvent, SharedLog};

use super::BrokenPromise;

/// One run of the contract.
pub(super) struct ContractRun {
    handles: Vec<SharedLog>,
    id: Uuid,
    /// How many streams were made up so far.
    streams: AtomicU64,
    /// How many events were made up so far.
    events: AtomicUsize,
}

impl ContractRun {
    pub(super) fn new(handles: &[SharedLog], id: Uuid) -> Self {
        Self { handles: handles.to_vec(), id, streams: AtomicU64::new(0), events: AtomicUsize::new(0) }
    }

    pub(super) fn id(&self) -> Uuid {
        self.id
    }

    pub(super) fn log(&self) -> &SharedLog {
        &self.handles[0]
    }

    /// Another log on the store, where there is one.
    pub(super) fn other_log(&self) -> &SharedLog {
        &self.handles[self.handles.len() - 1]
    }

    pub(super) fn handle(&self, number: usize) -> &SharedLog {
        &self.handles[number % self.handles.len()]
    }

    /// A stream that does not exist yet.
    pub(super) async fn stream(&self) -> Result<Stream, BrokenPromise> {
        loop {
            let stream = made_up_stream(self.id, self.streams.fetch_add(1, Ordering::Relaxed));
            // Another run on this store may have used this number.
            if self.log().read_stream(&stream, 0, 1).await?.is_empty() {
                return Ok(stream);
            }
        }
    }

    pub(super) fn event(&self) -> NewEvent {
        let number = self.events.fetch_add(1, Ordering::Relaxed);
        made_up_event(made_up_event_id(self.id, number), now())
    }

    pub(super) fn some_events(&self, count: usize) -> Vec<NewEvent> {
        (0..count).map(|_| self.event()).collect()
    }
}

#[expect(clippy::disallowed_methods, reason = "the contract makes events, as a recorder does")]
pub(super) fn now() -> DateTime<Utc> {
    Utc::now()
}

/// Stream number `number` of a run, of some 175 million.
#[must_use]
pub fn made_up_stream(run: Uuid, number: u64) -> Stream {
    const NUMBERS: u64 = 26 * 10_000 * 26 * 26;
    // Runs start at places spread over all numbers and count up from there, so that one run never
    // meets itself.
    let mut rest = ((run.as_u128() % u128::from(NUMBERS)) as u64 + number) % NUMBERS;
    let mut letter = || {
        let letter = char::from(b'A' + (rest % 26) as u8);
        rest /= 26;
        letter
    };
    let (first, second, third) = (letter(), letter(), letter());
    let number = format!("{first}{rest:04}{second}{third}");
    Stream::Prisoner(number.parse().expect("made in the format of a prisoner number"))
}

/// The id of event number `number` of a run.
#[must_use]
pub fn made_up_event_id(run: Uuid, number: usize) -> EventId {
    CommandId(run).event_id(&made_up_stream(run, 0), number)
}

/// The type of events that mean nothing to the ledger.
const TYPE_NAME: &str = "ContractTried";

/// An event that means nothing to the ledger.
#[must_use]
pub fn made_up_event(event_id: EventId, recorded_at: DateTime<Utc>) -> NewEvent {
    NewEvent {
        event_id,
        type_name: TYPE_NAME.to_owned(),
        recorded_at,
        metadata: r#"{"schemaVersion":1}"#.into(),
        data: format!(r#"{{"eventId":"{event_id}"}}"#).into(),
    }
}

pub(super) fn is_made_up(event: &RecordedEvent) -> bool {
    event.type_name == TYPE_NAME
}

/// Reads the log after a position, to its end.
pub(super) async fn read_all(log: &SharedLog, after: u64) -> Result<Vec<RecordedEvent>, BrokenPromise> {
    let mut events = Vec::new();
    let mut position = after;
    loop {
        let page = log.read_all(position, 1_000).await?;
        let Some(last) = page.last() else { return Ok(events) };
        position = last.position;
        events.extend(page);
    }
}
