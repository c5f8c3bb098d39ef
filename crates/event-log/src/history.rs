//! Histories: the one place where stored events become the histories that `domain` folds and
//! decides on (rehydration of aggregates).
//!
//! Readers that want a case or a prison call [`read_case`], [`read_cases`] or [`read_prison`];
//! those that want persons' contacts in NOMIS call [`read_contacts`]. Readers that hold a stream's
//! events already call [`fold`]; those that meet a log's events one by one call [`push`].

use std::{fmt::Debug, hash::Hash};

use chrono::{DateTime, Utc};
use domain::{
    Entry, Event, Stream,
    event::MisplacedEvent,
    identifier::{PrisonCode, PrisonerNumber},
    nomis_contacts::{self, NomisContactEvent},
    prison::{self, PrisonEvent},
    prisoner::{self, PrisonerEvent},
};
use futures::{FutureExt as _, future::BoxFuture};

use crate::{EventLog, LogError, RecordedEvent, decode};

/// The history of a stream: of a case, of a prison or of a person's contacts.
pub trait StreamHistory: Debug + Send + Sync + Sized + 'static {
    /// Identifies the stream among those of its kind.
    type Key: Clone + Debug + Eq + Hash + Send + Sync + 'static;
    /// The events of this kind of stream.
    type Event: TryFrom<Event, Error = MisplacedEvent> + Into<Event> + Clone + Debug + Send + Sync + 'static;

    /// The history of a stream that has no events.
    fn new(key: Self::Key) -> Self;

    /// The stream that a key identifies.
    fn stream(key: &Self::Key) -> Stream;

    /// Identifies this history's stream.
    fn key(&self) -> &Self::Key;

    /// The entries, in the order recorded.
    fn entries(&self) -> &[Entry<Self::Event>];

    /// Adds the entry recorded next.
    ///
    /// # Panics
    /// If its revision is not the next. [`push`] checks that first.
    fn push_entry(&mut self, entry: Entry<Self::Event>);

    /// When the last entry was recorded.
    fn last_recorded_at(&self) -> Option<DateTime<Utc>> {
        self.entries().last().map(|entry| entry.recorded_at)
    }
}

impl StreamHistory for prisoner::History {
    type Key = PrisonerNumber;
    type Event = PrisonerEvent;

    fn new(number: PrisonerNumber) -> Self {
        Self::new(number)
    }

    fn stream(number: &PrisonerNumber) -> Stream {
        Stream::Prisoner(number.clone())
    }

    fn key(&self) -> &PrisonerNumber {
        self.number()
    }

    fn entries(&self) -> &[Entry<PrisonerEvent>] {
        self.entries()
    }

    fn push_entry(&mut self, entry: Entry<PrisonerEvent>) {
        self.push(entry);
    }
}

impl StreamHistory for prison::History {
    type Key = PrisonCode;
    type Event = PrisonEvent;

    fn new(code: PrisonCode) -> Self {
        Self::new(code)
    }

    fn stream(code: &PrisonCode) -> Stream {
        Stream::Prison(code.clone())
    }

    fn key(&self) -> &PrisonCode {
        self.code()
    }

    fn entries(&self) -> &[Entry<PrisonEvent>] {
        self.entries()
    }

    fn push_entry(&mut self, entry: Entry<PrisonEvent>) {
        self.push(entry);
    }
}

impl StreamHistory for nomis_contacts::History {
    type Key = PrisonerNumber;
    type Event = NomisContactEvent;

    fn new(number: PrisonerNumber) -> Self {
        Self::new(number)
    }

    fn stream(number: &PrisonerNumber) -> Stream {
        Stream::Contacts(number.clone())
    }

    fn key(&self) -> &PrisonerNumber {
        self.number()
    }

    fn entries(&self) -> &[Entry<NomisContactEvent>] {
        self.entries()
    }

    fn push_entry(&mut self, entry: Entry<NomisContactEvent>) {
        self.push(entry);
    }
}

/// Reads a case's own history, up to a position where one is given. A number of which nothing is
/// recorded has an empty history.
///
/// # Errors
/// [`LogError`], where the log cannot be read or holds what a case cannot have.
pub fn read_case(
    log: &dyn EventLog,
    number: PrisonerNumber,
    up_to: Option<u64>,
) -> BoxFuture<'_, Result<prisoner::History, LogError>> {
    async move { read_one(log, number, up_to).await }.boxed()
}

/// Reads a prison's history, as [`read_case`] does a case's.
///
/// # Errors
/// As [`read_case`].
pub fn read_prison(
    log: &dyn EventLog,
    code: PrisonCode,
    up_to: Option<u64>,
) -> BoxFuture<'_, Result<prison::History, LogError>> {
    async move { read_one(log, code, up_to).await }.boxed()
}

/// Reads the histories of several cases at once, in the order asked, as [`read_case`] does one's.
/// All of them are in memory together: callers must bound how many they ask for.
///
/// # Errors
/// As [`read_case`].
pub fn read_cases<'a>(
    log: &'a dyn EventLog,
    numbers: &'a [PrisonerNumber],
    up_to: Option<u64>,
) -> BoxFuture<'a, Result<Vec<prisoner::History>, LogError>> {
    async move { read_several(log, numbers, up_to).await }.boxed()
}

/// Reads the contacts in NOMIS of several persons at once, as [`read_cases`] does cases.
///
/// # Errors
/// As [`read_case`].
pub fn read_contacts<'a>(
    log: &'a dyn EventLog,
    numbers: &'a [PrisonerNumber],
    up_to: Option<u64>,
) -> BoxFuture<'a, Result<Vec<nomis_contacts::History>, LogError>> {
    async move { read_several(log, numbers, up_to).await }.boxed()
}

async fn read_several<H: StreamHistory>(
    log: &dyn EventLog,
    keys: &[H::Key],
    up_to: Option<u64>,
) -> Result<Vec<H>, LogError> {
    let streams: Vec<Stream> = keys.iter().map(H::stream).collect();
    let read = read_streams(log, &streams, up_to).await?;
    keys.iter().zip(&read).map(|(key, events)| fold(key.clone(), events)).collect()
}

async fn read_one<H: StreamHistory>(log: &dyn EventLog, key: H::Key, up_to: Option<u64>) -> Result<H, LogError> {
    let read = read_streams(log, &[H::stream(&key)], up_to).await?;
    fold(key, read.iter().flatten())
}

async fn read_streams(
    log: &dyn EventLog,
    streams: &[Stream],
    up_to: Option<u64>,
) -> Result<Vec<Vec<RecordedEvent>>, LogError> {
    match up_to {
        None => log.read_streams(streams).await,
        Some(position) => log.read_streams_to(streams, position).await,
    }
}

/// The history that a stream's events make, from its first event on.
///
/// # Errors
/// [`LogError::Damaged`], where an event cannot be read, is not the next or does not belong there.
pub fn fold<'e, H: StreamHistory>(
    key: H::Key,
    events: impl IntoIterator<Item = &'e RecordedEvent>,
) -> Result<H, LogError> {
    let mut history = H::new(key);
    for event in events {
        push(&mut history, decode(event)?.entry)?;
    }
    Ok(history)
}

/// Adds the entry that the log has next in this history's stream.
///
/// # Errors
/// [`LogError::Damaged`], where its revision is not the next or its event is one of another kind of
/// stream.
pub fn push<H: StreamHistory>(history: &mut H, entry: Entry<Event>) -> Result<(), LogError> {
    let (position, revision, due) = (entry.position, entry.revision, history.entries().len() as u64);
    if revision != due {
        let what = format!("revision {revision} of its stream where {due} is due");
        return Err(LogError::Damaged { position, what });
    }
    let entry = entry
        .try_map(H::Event::try_from)
        .map_err(|misplaced| LogError::Damaged { position, what: misplaced.to_string() })?;
    history.push_entry(entry);
    Ok(())
}

#[cfg(test)]
mod tests {
    use domain::{
        event::RecordedBy,
        identifier::{CommandId, StaffId},
        officer::PomStatus,
        prison::PomStatusChanged,
    };
    use uuid::Uuid;

    use super::*;

    fn entry(revision: u64) -> Entry<Event> {
        let now: DateTime<Utc> = "2026-03-01T09:00:00Z".parse().expect("an instant");
        let command_id = CommandId(Uuid::from_u128(1));
        Entry {
            event_id: command_id.event_id(&Stream::Prison("LEI".parse().expect("a prison code")), 0),
            revision,
            position: revision + 7,
            effective_at: now,
            recorded_at: now,
            recorded_by: RecordedBy {
                username: Some("HOMD_LEI".parse().expect("a username")),
                client: "tests".into(),
                auth_source: None,
            },
            command_id,
            event: Event::from(PrisonEvent::PomStatusChanged(PomStatusChanged {
                staff_id: StaffId::try_from(485_926).expect("a staff id"),
                status: PomStatus::Inactive,
                returns_on: None,
                reason: None,
            })),
        }
    }

    #[track_caller]
    fn assert_damaged<H: StreamHistory>(history: &mut H, entry: Entry<Event>, at: u64, says: &str) {
        let length = history.entries().len();
        let Err(LogError::Damaged { position, what }) = push(history, entry) else { panic!("no damage found") };
        assert_eq!((position, what.as_str()), (at, says));
        assert_eq!(history.entries().len(), length, "the history is left as it was");
    }

    #[test]
    fn a_revision_that_is_not_the_next_is_damage() {
        let mut prison = prison::History::new("LEI".parse().expect("a prison code"));
        push(&mut prison, entry(0)).expect("the first entry");
        assert_damaged(&mut prison, entry(0), 7, "revision 0 of its stream where 1 is due");
        assert_damaged(&mut prison, entry(2), 9, "revision 2 of its stream where 1 is due");
        push(&mut prison, entry(1)).expect("the next entry");
    }

    #[test]
    fn an_event_of_another_kind_of_stream_is_damage() {
        let mut case = prisoner::History::new("A1234BC".parse().expect("a prisoner number"));
        let says = "a `PomStatusChanged` does not belong in the stream of a case";
        assert_damaged(&mut case, entry(0), 7, says);
        let mut contacts = nomis_contacts::History::new("A1234BC".parse().expect("a prisoner number"));
        let says = "a `PomStatusChanged` does not belong in the contacts of a person";
        assert_damaged(&mut contacts, entry(0), 7, says);
    }
}
