//! Histories of streams of every kind, built event by event.

use chrono::{DateTime, Utc};
use domain::{
    Entry, Event, Stream,
    identifier::{EventId, PrisonerNumber},
    nomis_contacts, prison, prisoner,
};
use event_log::{
    LogError,
    history::{self, StreamHistory},
};

/// The place of an event in the log, and its type.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EventPlace {
    pub(crate) position: u64,
    pub(crate) revision: u64,
    pub(crate) event_id: EventId,
    pub(crate) event_type: &'static str,
}

/// The history of a stream.
#[derive(Debug, Clone)]
pub(crate) enum AnyHistory {
    /// A case's.
    Case(prisoner::History),
    /// A prison's.
    Prison(prison::History),
    /// That of a person's contacts.
    Contacts(nomis_contacts::History),
}

impl AnyHistory {
    /// The history of a stream in which nothing has happened.
    pub(crate) fn new(stream: &Stream) -> Self {
        match stream {
            Stream::Prisoner(number) => Self::Case(prisoner::History::new(number.clone())),
            Stream::Prison(code) => Self::Prison(prison::History::new(code.clone())),
            Stream::Contacts(number) => Self::Contacts(nomis_contacts::History::new(number.clone())),
        }
    }

    /// Its stream.
    pub(crate) fn stream(&self) -> Stream {
        match self {
            Self::Case(history) => Stream::Prisoner(history.number().clone()),
            Self::Prison(history) => Stream::Prison(history.code().clone()),
            Self::Contacts(history) => Stream::Contacts(history.number().clone()),
        }
    }

    /// The history of its first `entries`.
    pub(crate) fn prefix(&self, entries: usize) -> Self {
        match self {
            Self::Case(history) => Self::Case(first_entries(history, entries)),
            Self::Prison(history) => Self::Prison(first_entries(history, entries)),
            Self::Contacts(history) => Self::Contacts(first_entries(history, entries)),
        }
    }

    /// The place of the entry with a revision.
    pub(crate) fn place_of(&self, revision: usize) -> EventPlace {
        fn place<E>(entry: &Entry<E>, event_type: impl FnOnce(&E) -> &'static str) -> EventPlace {
            let event_type = event_type(&entry.event);
            EventPlace { position: entry.position, revision: entry.revision, event_id: entry.event_id, event_type }
        }
        match self {
            Self::Case(history) => place(&history.entries()[revision], |event| event.type_name()),
            Self::Prison(history) => place(&history.entries()[revision], |event| event.type_name()),
            Self::Contacts(history) => place(&history.entries()[revision], |event| event.type_name()),
        }
    }

    /// Of a case that was merged into another, the surviving number.
    pub(crate) fn merged_into(&self) -> Option<PrisonerNumber> {
        match self {
            Self::Case(history) => history.retirement().map(|(_, survivor)| survivor.clone()),
            Self::Prison(_) | Self::Contacts(_) => None,
        }
    }

    /// How many entries it has, which is the revision of the next.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Case(history) => history.entries().len(),
            Self::Prison(history) => history.entries().len(),
            Self::Contacts(history) => history.entries().len(),
        }
    }

    /// When its last entry was recorded.
    fn recorded_at(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::Case(history) => history.last_recorded_at(),
            Self::Prison(history) => history.last_recorded_at(),
            Self::Contacts(history) => history.last_recorded_at(),
        }
    }

    /// Adds the entry that the log has next in this history's stream.
    ///
    /// # Errors
    /// [`LogError::Damaged`] where it is not the next: the log promises dense revisions, and
    /// recorded times that never run backwards in a stream.
    pub(crate) fn push(&mut self, entry: Entry<Event>) -> Result<(), LogError> {
        let is_due = entry.revision == self.len() as u64;
        if is_due && self.recorded_at().is_some_and(|before| entry.recorded_at < before) {
            let what = format!("recorded at {}, which is before the event that precedes it", entry.recorded_at);
            return Err(LogError::Damaged { position: entry.position, what });
        }
        match self {
            Self::Case(history) => history::push(history, entry),
            Self::Prison(history) => history::push(history, entry),
            Self::Contacts(history) => history::push(history, entry),
        }
    }
}

fn first_entries<H: StreamHistory>(history: &H, entries: usize) -> H {
    let mut first = H::new(history.key().clone());
    history.entries()[..entries].iter().cloned().for_each(|entry| first.push_entry(entry));
    first
}
