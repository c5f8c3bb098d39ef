//! The interface that case and prison histories share, so that one loader and one cache serve both.

use std::{fmt::Debug, hash::Hash};

use chrono::{DateTime, Utc};
use domain::{
    Entry, Event, Stream,
    identifier::{PrisonCode, PrisonerNumber},
    prison::{self, PrisonEvent},
    prisoner::{self, PrisonerEvent},
};

/// A history of `domain` that is folded from the events of one stream.
pub(crate) trait StreamHistory: Debug + Send + Sync + Sized + 'static {
    /// Identifies the case or the prison.
    type Key: Clone + Debug + Eq + Hash + Send + Sync + 'static;
    /// The events of such a stream.
    type Event: Clone + Debug + Send + Sync + 'static;

    fn new(key: Self::Key) -> Self;
    fn key(&self) -> &Self::Key;
    fn stream(key: &Self::Key) -> Stream;
    fn entries(&self) -> &[Entry<Self::Event>];
    fn push(&mut self, entry: Entry<Self::Event>);
    fn wrap(event: Self::Event) -> Event;
    /// The event, if it belongs to a stream of this kind.
    fn unwrap(event: Event) -> Option<Self::Event>;

    /// When the last entry was recorded. A later decision must not be recorded before it.
    fn last_recorded_at(&self) -> Option<DateTime<Utc>> {
        self.entries().last().map(|entry| entry.recorded_at)
    }
}

impl StreamHistory for prisoner::History {
    type Key = PrisonerNumber;
    type Event = PrisonerEvent;

    fn new(key: Self::Key) -> Self {
        Self::new(key)
    }
    fn key(&self) -> &Self::Key {
        self.number()
    }
    fn stream(key: &Self::Key) -> Stream {
        Stream::Prisoner(key.clone())
    }
    fn entries(&self) -> &[Entry<Self::Event>] {
        self.entries()
    }
    fn push(&mut self, entry: Entry<Self::Event>) {
        self.push(entry);
    }
    fn wrap(event: Self::Event) -> Event {
        Event::Prisoner(event)
    }
    fn unwrap(event: Event) -> Option<Self::Event> {
        match event {
            Event::Prisoner(event) => Some(event),
            Event::Prison(_) => None,
        }
    }
}

impl StreamHistory for prison::History {
    type Key = PrisonCode;
    type Event = PrisonEvent;

    fn new(key: Self::Key) -> Self {
        Self::new(key)
    }
    fn key(&self) -> &Self::Key {
        self.code()
    }
    fn stream(key: &Self::Key) -> Stream {
        Stream::Prison(key.clone())
    }
    fn entries(&self) -> &[Entry<Self::Event>] {
        self.entries()
    }
    fn push(&mut self, entry: Entry<Self::Event>) {
        self.push(entry);
    }
    fn wrap(event: Self::Event) -> Event {
        Event::Prison(event)
    }
    fn unwrap(event: Event) -> Option<Self::Event> {
        match event {
            Event::Prison(event) => Some(event),
            Event::Prisoner(_) => None,
        }
    }
}
