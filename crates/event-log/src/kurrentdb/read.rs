//! Every reading of events from the server, and telling what is missing from them.
//!
//! The server hides or drops events of a stream when somebody deletes or truncates it, and answers what is left as if it
//! were all. To the ledger that is damage: an event, once recorded, stays. It shows in a stream that does not begin with
//! its first event or leaves one out, and in the stream's settings, which are read along with the log.

use std::time::Duration;

use bytes::Bytes;
use domain::Stream;
use kurrentdb::{
    Client, Error, Position, ReadAllOptions, ReadStream, ReadStreamOptions, ResolvedEvent, StreamPosition,
    SubscriptionFilter,
};

use crate::{ExpectedRevision, LogError, PAGE_EVENTS_MAX, RecordedEvent};

use super::{
    Store,
    connection::{SILENCE_MAX, as_caller, in_time, in_time_of, is_invalid_position},
    seen::Revisions,
    stored::{AppendId, hides_events, recorded_event},
};

/// How long the server may search its log for our next event. It says nothing while it passes over those of others, some
/// hundred thousand a second; that its machine is gone, the connection itself finds out sooner.
const SEARCH_MAX: Duration = Duration::from_secs(60);

/// Events of the server, ours or not, that it looks through before it says how far it is.
const SEARCH_WINDOW_EVENTS: u32 = 1_000;

/// Revisions from here on are none: the server counts with signed numbers, and takes some of them for wishes.
pub(super) const REVISION_MAX: u64 = u32::MAX as u64;

/// Some events of the whole log, in order.
pub(super) struct Page {
    pub(super) events: Vec<RecordedEvent>,
    /// What comes after them.
    pub(super) next: Next,
}

/// What comes after a page.
pub(super) enum Next {
    /// Perhaps more events.
    Events,
    /// Nothing, when it was read.
    End,
    /// Damage.
    Damage(LogError),
}

/// What an error of the server means to a reader, apart from what is told from it before.
pub(super) fn log_error(error: Error) -> LogError {
    match error {
        Error::ResourceDeleted => deleted(0),
        error => LogError::Unavailable(Box::new(error)),
    }
}

impl Store {
    /// At most `limit` events of a stream, from a revision on.
    pub(super) async fn stream(
        &self,
        stream: &Stream,
        from_revision: u64,
        limit: usize,
    ) -> Result<Vec<RecordedEvent>, LogError> {
        let events = self.stream_appends(stream, from_revision, limit).await?;
        Ok(events.into_iter().map(|(event, _)| event).collect())
    }

    /// As [`Store::stream`], with the calls that wrote the events.
    pub(super) async fn stream_appends(
        &self,
        stream: &Stream,
        from_revision: u64,
        limit: usize,
    ) -> Result<Vec<(RecordedEvent, AppendId)>, LogError> {
        if limit == 0 || from_revision > REVISION_MAX {
            return Ok(Vec::new());
        }
        let options = ReadStreamOptions::default().max_count(limit.min(PAGE_EVENTS_MAX));
        let options = options.position(StreamPosition::Position(from_revision));
        let read = match self.read_stream(self.prefix.name(stream), &options).await {
            Ok(read) => read,
            Err(Error::ResourceNotFound) => {
                self.check_never_there(stream).await?;
                return Ok(Vec::new());
            }
            Err(Error::ResourceDeleted) => return Err(deleted(0)),
            Err(error) => return Err(log_error(error)),
        };
        let mut events: Vec<(RecordedEvent, AppendId)> = Vec::with_capacity(read.len());
        for (expected, event) in (from_revision..).zip(read) {
            let (event, append) = recorded_event(&self.prefix, own_event(event)?)?;
            let position = events.last().map_or(0, |(last, _)| last.position);
            if event.revision != expected || event.position <= position {
                return Err(LogError::Damaged {
                    position: event.position,
                    what: format!(
                        "revision {} of its stream stands here, where revision {expected} was to follow position {position}",
                        event.revision
                    ),
                });
            }
            self.seen.note(&event);
            events.push((event, append));
        }
        Ok(events)
    }

    async fn read_stream(&self, name: String, options: &ReadStreamOptions) -> Result<Vec<ResolvedEvent>, Error> {
        let options = as_caller!(self.connection.address(), options.clone());
        let ask = |client: Client| {
            let (name, options) = (name.clone(), &options);
            async move { collect(in_time(client.read_stream(name, options)).await?, PAGE_EVENTS_MAX, SILENCE_MAX).await }
        };
        self.connection.call(ask).await
    }

    /// Makes sure that a stream which the server does not have was not deleted, which it does not say by itself.
    async fn check_never_there(&self, stream: &Stream) -> Result<(), LogError> {
        match self.stream_settings(&self.prefix.name(stream)).await? {
            Some((settings, position)) if hides_events(&settings) => Err(deleted(position)),
            _ => Ok(()),
        }
    }

    /// The settings of a stream as somebody has last set them, and at which position.
    async fn stream_settings(&self, name: &str) -> Result<Option<(Bytes, u64)>, LogError> {
        let options = ReadStreamOptions::default().position(StreamPosition::End).backwards().max_count(1);
        match self.read_stream(format!("$${name}"), &options).await {
            Ok(read) => {
                Ok(read.into_iter().next().and_then(|set| set.event).map(|set| (set.data, set.position.commit)))
            }
            // The second is what a stream deleted for good leaves of its settings.
            Err(Error::ResourceNotFound | Error::ResourceDeleted) => Ok(None),
            Err(error) => Err(log_error(error)),
        }
    }

    /// The revision of a stream's last event.
    pub(super) async fn revision(&self, stream: &Stream) -> Result<ExpectedRevision, LogError> {
        let options = ReadStreamOptions::default().position(StreamPosition::End).backwards().max_count(1);
        match self.read_stream(self.prefix.name(stream), &options).await {
            Ok(read) => match read.into_iter().next() {
                Some(last) => {
                    let (last, _) = recorded_event(&self.prefix, own_event(last)?)?;
                    self.seen.note(&last);
                    Ok(ExpectedRevision::Exact(last.revision))
                }
                None => Ok(ExpectedRevision::NoStream),
            },
            Err(Error::ResourceNotFound) => self.check_never_there(stream).await.map(|()| ExpectedRevision::NoStream),
            Err(Error::ResourceDeleted) => Err(deleted(0)),
            Err(error) => Err(log_error(error)),
        }
    }

    /// At most `limit` events of the log after a position, and what comes after them.
    pub(super) async fn page(&self, after: u64, limit: usize, revisions: &mut Revisions) -> Result<Page, LogError> {
        let page = match self.page_from(after, after, limit, revisions).await? {
            Some(page) => page,
            // The position is not that of one of our events.
            None => self.page_after_gap(after, limit, revisions).await?,
        };
        self.seen.note_times(after, &page.events);
        Ok(page)
    }

    /// As [`Store::page`], after a position that is none of an event: mostly because somebody means to begin with the event
    /// at the position after it. Otherwise the way is found from an event known to stand before it.
    async fn page_after_gap(&self, after: u64, limit: usize, revisions: &mut Revisions) -> Result<Page, LogError> {
        if let Some(page) = self.page_from(after.saturating_add(1), after, limit, revisions).await? {
            return Ok(page);
        }
        if self.head().await? <= after {
            return Ok(Page { events: Vec::new(), next: Next::End });
        }
        let from = self.seen.before_position(after);
        let page = self.page_from(from, after, limit, revisions).await?;
        page.ok_or_else(|| LogError::Damaged { position: from, what: "the event that stood here is gone".to_owned() })
    }

    /// Reads from the event at position `from` on, 0 for the start, and answers those after `after`; nothing where no event
    /// of ours is at `from`.
    async fn page_from(
        &self,
        from: u64,
        after: u64,
        limit: usize,
        revisions: &mut Revisions,
    ) -> Result<Option<Page>, LogError> {
        let limit = limit.min(PAGE_EVENTS_MAX);
        let mut events: Vec<RecordedEvent> = Vec::new();
        let mut next = Next::Events;
        let mut from = Position { commit: from, prepare: from };
        let mut is_first = true;
        while events.len() < limit {
            let count = match from.commit < after {
                // On the way there whatever is read is passed over.
                true => PAGE_EVENTS_MAX,
                // Reading includes the event at the position, which is mostly known.
                false => limit - events.len() + usize::from(from.commit > 0),
            };
            let read = match self.read_all(from, count).await {
                // The server refuses a position within one of its records, and says so in words only.
                Err(error) if is_first && is_invalid_position(&error) => return Ok(None),
                read => read.map_err(log_error)?,
            };
            let is_end = read.len() < count;
            if is_first && from.commit > 0 && read.first().map(|first| position(first).commit) != Some(from.commit) {
                return Ok(None);
            }
            for event in read {
                let at = position(&event);
                let is_known = at.commit <= after || at <= from && !is_first;
                from = from.max(at);
                if is_known {
                    continue;
                }
                if events.len() == limit {
                    return Ok(Some(Page { events, next }));
                }
                is_first = false;
                match self.checked(event, revisions).await {
                    Ok(Some(event)) if event.position > after => events.push(event),
                    Ok(_) => {}
                    Err(error @ LogError::Damaged { .. }) => {
                        return Ok(Some(Page { events, next: Next::Damage(error) }));
                    }
                    Err(error) => return Err(error),
                }
            }
            is_first = false;
            if is_end {
                next = Next::End;
                break;
            }
        }
        Ok(Some(Page { events, next }))
    }

    /// At most `count` events of ours, and of what sets our streams, from a position on and including it.
    pub(super) async fn read_all(&self, from: Position, count: usize) -> Result<Vec<ResolvedEvent>, Error> {
        let filter = self.filter().add_prefix(format!("$${}", self.prefix));
        let options = ReadAllOptions::default().filter(filter).max_count(count);
        let options = match from.commit {
            0 => options.position(StreamPosition::Start),
            _ => options.position(StreamPosition::Position(from)),
        };
        self.read_all_with(as_caller!(self.connection.address(), options), count).await
    }

    async fn read_all_with(&self, options: ReadAllOptions, count: usize) -> Result<Vec<ResolvedEvent>, Error> {
        let ask = |client: Client| {
            let options = &options;
            async move { collect(in_time(client.read_all(options)).await?, count, SEARCH_MAX).await }
        };
        self.connection.call(ask).await
    }

    /// Our streams, by their prefix alone: the client's filter takes prefixes or an expression, and drops one of the two.
    pub(super) fn filter(&self) -> SubscriptionFilter {
        SubscriptionFilter::on_stream_name().add_prefix(self.prefix.to_string()).max(SEARCH_WINDOW_EVENTS)
    }

    /// An event read along the log, or nothing where it sets a stream without harm.
    async fn checked(
        &self,
        event: ResolvedEvent,
        revisions: &mut Revisions,
    ) -> Result<Option<RecordedEvent>, LogError> {
        let event = own_event(event)?;
        let position = event.position.commit;
        if let Some(name) = self.prefix.set_by(event.stream_id()) {
            return self.check_settings(name, &event.data, position).await.map(|()| None);
        }
        if self.prefix.stream(event.stream_id()).is_none() {
            return Ok(None);
        }
        let (event, _) = recorded_event(&self.prefix, event)?;
        revisions.accept(&event).map_err(|what| LogError::Damaged { position, what })?;
        self.seen.note(&event);
        Ok(Some(event))
    }

    /// Makes sure that settings met at a position hide no events, or did not for long: set back in time, nothing is lost.
    async fn check_settings(&self, name: &str, settings: &[u8], position: u64) -> Result<(), LogError> {
        if !hides_events(settings) {
            return Ok(());
        }
        match self.stream_settings(name).await? {
            Some((settings, _)) if !hides_events(&settings) => Ok(()),
            _ => Err(deleted(position)),
        }
    }

    /// The position of the log's last event, 0 where there is none.
    pub(super) async fn head(&self) -> Result<u64, LogError> {
        let mut count = 1;
        loop {
            let options = ReadAllOptions::default().position(StreamPosition::End).backwards();
            let options = as_caller!(self.connection.address(), options.filter(self.filter()).max_count(count));
            let read = self.read_all_with(options, count).await.map_err(log_error)?;
            let is_ours = |event: &&ResolvedEvent| {
                event.event.as_ref().is_some_and(|event| self.prefix.stream(event.stream_id()).is_some())
            };
            match read.iter().find(is_ours) {
                Some(last) => return Ok(position(last).commit),
                None if read.len() < count => return Ok(0),
                None => count *= 16,
            }
        }
    }
}

/// What the server answers to one reading, `count` events at most: where it filters, it ends its answer only when it has
/// found one more, which may never come. `silence_max` is how long it may take over the next event.
async fn collect(mut read: ReadStream, count: usize, silence_max: Duration) -> Result<Vec<ResolvedEvent>, Error> {
    let mut events = Vec::new();
    while events.len() < count
        && let Some(event) = in_time_of(silence_max, read.next()).await?
    {
        events.push(event);
    }
    Ok(events)
}

/// The event itself: nobody writes links to others into our streams.
fn own_event(event: ResolvedEvent) -> Result<kurrentdb::RecordedEvent, LogError> {
    let nothing = || LogError::Damaged { position: 0, what: "the server answers an event that is none".to_owned() };
    event.event.ok_or_else(nothing)
}

fn position(event: &ResolvedEvent) -> Position {
    event.event.as_ref().map_or_else(Position::start, |event| event.position)
}

fn deleted(position: u64) -> LogError {
    LogError::Damaged { position, what: "a stream was deleted or truncated on the server".to_owned() }
}
