//! The log as a feed: a filter of events, and pages of those that pass it.
//!
//! `GET /events` and the tool `replay` share this, so that a type, a prison and a case mean the
//! same to both.
//!
//! - Order is the log's: positions grow, and up to a page's position no event is missing.
//! - Every event that may pass is decoded before it is judged. One that cannot be decoded is an
//!   error, after all that precede it, and is never skipped.
//! - The search for a page is bounded: see [`SCAN_EVENTS_MAX`].

use std::{collections::BTreeSet, fmt, str::FromStr};

use access_log::Shown;
use domain::{
    Event, Stream,
    identifier::{PrisonCode, PrisonerNumber},
    text::Excerpt,
};
use event_log::{LogError, RecordedEvent, SharedLog, StoredEvent, decode};
use http_api::page::PAGE_BYTES_MAX;

use crate::{
    QueryError,
    past::{case_numbers, merge_partner},
};

/// Most events that the search for a page reads, whether they pass or not: some tenths of a second.
/// A page that is left short says where to go on.
pub const SCAN_EVENTS_MAX: usize = 20_000;

/// Events read at once in the search for a few among many.
const SCAN_PAGE_EVENTS: usize = 2_000;

/// The type of an event, of either kind of stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventType(&'static str);

impl FromStr for EventType {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let known = Event::type_names;
        known().find(|name| *name == text.trim()).map(Self).ok_or_else(|| {
            format!("`{}` is not a type of event; those are {}", Excerpt(text), known().collect::<Vec<_>>().join(", "))
        })
    }
}

/// Which events pass; those that meet every condition given.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    types: BTreeSet<EventType>,
    prison: Option<PrisonCode>,
    numbers: Option<BTreeSet<PrisonerNumber>>,
}

impl EventFilter {
    /// Events of these types, or of any where there is none; and, where a prison is given, those of
    /// its own stream, those of cases that name it, and those of contacts there.
    #[must_use]
    pub fn new(types: impl IntoIterator<Item = EventType>, prison: Option<PrisonCode>) -> Self {
        Self { types: types.into_iter().collect(), prison, numbers: None }
    }

    /// Of these, only those recorded under the numbers of one case: the number itself and those
    /// that were merged with it, in either direction. A merge that comes up later brings its number
    /// in from there on.
    ///
    /// # Errors
    /// The log is out of reach or damaged.
    pub async fn of_case(mut self, log: &SharedLog, number: &PrisonerNumber) -> Result<Self, QueryError> {
        self.numbers = Some(case_numbers(log, number).await?);
        Ok(self)
    }

    /// Whether every event passes.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.types.is_empty() && self.prison.is_none() && self.numbers.is_none()
    }

    /// The events between two positions that pass, for the access log: the first position is not
    /// among them, and the second is absent for a stream that goes on.
    #[must_use]
    pub fn shown(&self, after: u64, to: Option<u64>) -> Shown {
        let shown = Shown::events(self.to_string(), after, to);
        Shown { prisoners: self.numbers.clone().unwrap_or_default(), ..shown }
    }

    /// Decodes an event if it passes.
    ///
    /// # Errors
    /// [`LogError::Damaged`] where the event may pass and cannot be decoded.
    pub fn select(&mut self, recorded: &RecordedEvent) -> Result<Option<StoredEvent>, LogError> {
        if !self.is_of_case(recorded)? {
            return Ok(None);
        }
        if !self.types.is_empty() && !self.types.iter().any(|wanted| wanted.0 == recorded.type_name) {
            // An unknown type may be a damaged one that would pass.
            if recorded.type_name.parse::<EventType>().is_err() {
                decode(recorded)?;
            }
            return Ok(None);
        }
        if let (Some(prison), Stream::Prison(of)) = (&self.prison, &recorded.stream)
            && prison != of
        {
            return Ok(None);
        }
        let stored = decode(recorded)?;
        Ok(self.prison.as_ref().is_none_or(|prison| is_about(&stored, prison)).then_some(stored))
    }

    /// Whether an event is of the case asked for; learns of merges on the way.
    fn is_of_case(&mut self, recorded: &RecordedEvent) -> Result<bool, LogError> {
        let Some(numbers) = &mut self.numbers else { return Ok(true) };
        let Stream::Prisoner(number) = &recorded.stream else { return Ok(false) };
        let is_known = numbers.contains(number);
        // A number is retired before the other takes it in, so either event may be the first to
        // name a number of the case.
        let partner = merge_partner(recorded)?;
        Ok(match partner {
            Some(partner) if is_known => {
                numbers.insert(partner);
                true
            }
            Some(partner) if numbers.contains(&partner) => {
                numbers.insert(number.clone());
                true
            }
            Some(_) | None => is_known,
        })
    }

    /// Everything after a position, up to and with another, that was recorded under the case's
    /// numbers, without reading the rest of the log; in the log's order. `None` where the filter
    /// names no case.
    ///
    /// # Errors
    /// The log is out of reach or damaged.
    pub async fn of_case_alone(
        &self,
        log: &SharedLog,
        after: u64,
        to: u64,
    ) -> Result<Option<Vec<RecordedEvent>>, LogError> {
        let Some(numbers) = &self.numbers else { return Ok(None) };
        let streams: Vec<Stream> = numbers.iter().cloned().map(Stream::Prisoner).collect();
        let mut events: Vec<RecordedEvent> = log.read_streams(&streams).await?.into_iter().flatten().collect();
        events.retain(|event| event.position > after && event.position <= to);
        events.sort_by_key(|event| event.position);
        Ok(Some(events))
    }
}

/// The conditions, for the access log, which has the numbers of a case apart.
impl fmt::Display for EventFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.numbers.is_some() { "events of a case" } else { "events" })?;
        self.prison.iter().try_for_each(|prison| write!(f, " of {prison}"))?;
        self.types.iter().try_for_each(|wanted| write!(f, " {}", wanted.0))
    }
}

/// Whether an event is of a prison's own stream, of a case and names the prison, or of a contact
/// there.
fn is_about(stored: &StoredEvent, prison: &PrisonCode) -> bool {
    match (&stored.stream, &stored.entry.event) {
        (Stream::Prison(of), _) => of == prison,
        (_, Event::Prisoner(event)) => event.named_prisons().any(|named| named == prison),
        (_, Event::Contacts(event)) => event.contact().prison == *prison,
        (_, Event::Prison(_)) => false,
    }
}

/// A page of events that pass a filter.
#[derive(Debug)]
pub(crate) struct FeedPage {
    pub(crate) events: Vec<StoredEvent>,
    /// Every event up to here that passes is in this page or before it.
    pub(crate) position: u64,
    /// Whether the log went on after that.
    pub(crate) is_more: bool,
}

/// The room that is left on a page.
struct PageRoom {
    events: usize,
    bytes: usize,
}

impl PageRoom {
    fn is_full(&self) -> bool {
        self.events == 0 || self.bytes == 0
    }

    fn take(&mut self, event: &RecordedEvent) {
        self.events -= 1;
        self.bytes = self.bytes.saturating_sub(event.data.len() + event.metadata.len());
    }
}

/// At most `limit` of the events after a position that pass, and no more than fill
/// [`PAGE_BYTES_MAX`]. May hold fewer, or none, and yet not be the last: see [`SCAN_EVENTS_MAX`].
pub(crate) async fn page(
    log: &SharedLog,
    filter: &mut EventFilter,
    after: u64,
    head: u64,
    limit: usize,
) -> Result<FeedPage, LogError> {
    let room = PageRoom { events: limit, bytes: PAGE_BYTES_MAX };
    match filter.of_case_alone(log, after, head).await? {
        Some(of_case) => page_of_case(filter, &of_case, head, room),
        None => page_of_log(log, filter, after, head, room).await,
    }
}

fn page_of_case(
    filter: &mut EventFilter,
    of_case: &[RecordedEvent],
    head: u64,
    mut room: PageRoom,
) -> Result<FeedPage, LogError> {
    let mut events = Vec::new();
    let (_, selection) = select_events(filter, of_case, &mut room, &mut events);
    let position = match (selection, events.last()) {
        (Ok(()), Some(last)) if room.is_full() => last.entry.position,
        (Ok(()), _) => head,
        // A reader that goes on from here meets the damage.
        (Err(_), Some(last)) => last.entry.position,
        (Err(damage), None) => return Err(damage),
    };
    Ok(FeedPage { events, position, is_more: position < head })
}

async fn page_of_log(
    log: &SharedLog,
    filter: &mut EventFilter,
    after: u64,
    head: u64,
    mut room: PageRoom,
) -> Result<FeedPage, LogError> {
    let chunk = if filter.is_everything() { room.events } else { SCAN_PAGE_EVENTS };
    let (mut events, mut position, mut scanned) = (Vec::new(), after, 0);
    while position < head && !room.is_full() && scanned < SCAN_EVENTS_MAX {
        let read = match log.read_all(position, chunk.min(SCAN_EVENTS_MAX - scanned)).await {
            // The events before the damage are an answer; a reader that goes on from there meets
            // it.
            Err(LogError::Damaged { .. }) if position > after => break,
            read => read?,
        };
        if read.is_empty() {
            position = head;
            break;
        }
        scanned += read.len();
        let (judged, selection) = select_events(filter, &read, &mut room, &mut events);
        position = judged.unwrap_or(position);
        match selection {
            Ok(()) => {}
            Err(damage) if position == after => return Err(damage),
            Err(_) => break,
        }
    }
    // The log may have grown since its end was asked for.
    Ok(FeedPage { events, position, is_more: position < head })
}

/// Adds the events that pass to `events` as far as there is room. Returns the position of the last
/// event that was judged, and the error that ended it early.
fn select_events(
    filter: &mut EventFilter,
    recorded: &[RecordedEvent],
    room: &mut PageRoom,
    events: &mut Vec<StoredEvent>,
) -> (Option<u64>, Result<(), LogError>) {
    let mut judged = None;
    for event in recorded {
        if room.is_full() {
            break;
        }
        match filter.select(event) {
            Ok(Some(found)) => {
                room.take(event);
                events.push(found);
            }
            Ok(None) => {}
            Err(error) => return (judged, Err(error)),
        }
        judged = Some(event.position);
    }
    (judged, Ok(()))
}
