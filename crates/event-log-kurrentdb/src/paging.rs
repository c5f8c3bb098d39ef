//! Reading the whole log in pages, and telling what is missing from them.
//!
//! A page begins after a position, but the server reads only from the exact position of an event.
//! So a page tries several [starts](PageStart): behind a gap that is known to begin there, at the
//! event itself, at the event after it, and last at an event known to be before it.
//!
//! Settings of the ledger's streams are read along with its events: settings that hide events are
//! damage.

use std::sync::Arc;

use event_log::{LogError, LogPage, PAGE_EVENTS_MAX, PageNext, RecordedEvent};
use tokio::task::JoinSet;

use crate::{
    client::{CallError, ServerEvent, ServerPosition},
    event_format::recorded_event,
    log_reads::ReadEnd,
    retries::flatten_join,
    revisions::RevisionCheck,
    store::{Store, log_error},
    stream_names::StreamNames,
};

/// The state of one reader between its pages.
pub(crate) struct PageReader {
    revisions: RevisionCheck,
    reads_ahead: bool,
    ahead: Option<ReadAhead>,
}

/// Events that were read from the server, and whether the log goes on after them.
type EventsRead = (Vec<ServerEvent>, ReadEnd);

/// A read that is under way while its reader deals with the page before it.
struct ReadAhead {
    from: ServerPosition,
    count: usize,
    /// The task ends when this is dropped.
    reading: JoinSet<Result<EventsRead, CallError>>,
}

impl PageReader {
    /// A reader of one page after a position.
    pub(crate) fn after(position: u64) -> Self {
        Self { revisions: RevisionCheck::after(position), reads_ahead: false, ahead: None }
    }

    /// A reader of page after page: the server sends the next one while this one is decoded.
    pub(crate) fn following(position: u64) -> Self {
        Self { reads_ahead: true, ..Self::after(position) }
    }

    /// Begins to read what the next page needs, if that begins after the last of these events.
    fn read_ahead(&mut self, store: &Arc<Store>, (read, end): &EventsRead, limit: usize) {
        let (true, ReadEnd::More, Some(last)) = (self.reads_ahead, end, read.last()) else { return };
        let after = last.position.commit;
        let cursor = PageCursor::new(PageStart::Event(after), after);
        let (from, count) = (cursor.from, cursor.read_count(limit));
        let (store, mut reading) = (Arc::clone(store), JoinSet::new());
        reading.spawn(async move { store.read_all(after, from, count).await });
        self.ahead = Some(ReadAhead { from, count, reading });
    }

    /// The events that were read ahead from this place. Nothing where there are none, where the
    /// read failed, or where it met the log's end: the log may have grown since.
    async fn take_ahead(&mut self, from: ServerPosition, count: usize) -> Option<EventsRead> {
        let ahead = self.ahead.take().filter(|ahead| (ahead.from, ahead.count) == (from, count));
        let read = ahead?.reading.join_next().await?;
        flatten_join(read).ok().filter(|(_, end)| !matches!(end, ReadEnd::LogEnd))
    }
}

/// Where reading a page begins.
#[derive(Clone, Copy)]
pub(crate) enum PageStart {
    /// At an event of the ledger; at the log's start, for 0.
    Event(u64),
    /// At the end of a gap: no event of the ledger is between the position that the page begins
    /// after and this one.
    GapEnd(u64),
}

/// How far reading a page has come.
struct PageCursor {
    /// The page has the events after this position.
    after: u64,
    /// The position of the last event dealt with. No event that must be read is between it and
    /// `from`.
    last: u64,
    /// The next read begins here. It includes the event at this position.
    from: ServerPosition,
    /// Whether the event at `from` was dealt with.
    has_passed_from: bool,
}

impl PageCursor {
    fn new(start: PageStart, after: u64) -> Self {
        let (last, from) = match start {
            PageStart::Event(at) => (at, ServerPosition { commit: at, prepare: at }),
            PageStart::GapEnd(before) => (after, ServerPosition { commit: before, prepare: 0 }),
        };
        Self { after, last, from, has_passed_from: false }
    }

    /// How many events to read for `missing` events of the page.
    fn read_count(&self, missing: usize) -> usize {
        if self.from.commit < self.after {
            // All events up to `after` are passed over.
            return PAGE_EVENTS_MAX;
        }
        let has_event = self.from.prepare > 0;
        let is_known = self.has_passed_from || self.from.commit == self.after;
        missing + usize::from(has_event && is_known)
    }

    /// Moves on to an event that was read. Answers whether the event is a new one of the page.
    fn advance(&mut self, at: ServerPosition) -> bool {
        let is_known = at.commit <= self.after || (at <= self.from && self.has_passed_from);
        self.from = self.from.max(at);
        if is_known {
            self.last = self.last.max(at.commit);
        } else {
            self.has_passed_from = true;
        }
        !is_known
    }

    /// Moves on past a stretch that holds no event of the ledger.
    fn skip_to(&mut self, before: u64) {
        self.from = self.from.max(ServerPosition { commit: before, prepare: 0 });
    }
}

impl Store {
    /// Reads at most `limit` events of the log after a position.
    pub(crate) async fn page(
        self: &Arc<Self>,
        after: u64,
        limit: usize,
        reader: &mut PageReader,
    ) -> Result<LogPage, LogError> {
        let page = self.page_after(after, limit, reader).await?;
        self.times.note_page(after, &page.events);
        Ok(page)
    }

    async fn page_after(
        self: &Arc<Self>,
        after: u64,
        limit: usize,
        reader: &mut PageReader,
    ) -> Result<LogPage, LogError> {
        if let Some(before) = self.positions.gap_after(after) {
            if let Some(page) = self.page_from(PageStart::GapEnd(before), after, limit, reader).await? {
                return Ok(page);
            }
            self.forget_positions();
        }
        if let Some(page) = self.page_from(PageStart::Event(after), after, limit, reader).await? {
            return Ok(page);
        }
        // No event of the ledger is at this position. Most such callers want to begin with the
        // event at the position after it. For others the way leads from an event that is known to
        // be before it.
        let next = PageStart::Event(after.saturating_add(1));
        if let Some(page) = self.page_from(next, after, limit, reader).await? {
            return Ok(page);
        }
        if self.head().await? <= after {
            return Ok(LogPage { events: Vec::new(), next: PageNext::LogEnd });
        }
        let from = self.times.before_position(after);
        let page = self.page_from(PageStart::Event(from), after, limit, reader).await?;
        page.ok_or_else(|| LogError::Damaged { position: from, what: "the event that stood here is gone".to_owned() })
    }

    /// The event at a position, if there is one.
    pub(crate) async fn event_at(self: &Arc<Self>, position: u64) -> Result<Option<RecordedEvent>, LogError> {
        let Some(before) = position.checked_sub(1) else { return Ok(None) };
        // Read from its own position: the way from the event before it may be long.
        let start = PageStart::Event(position);
        let found = self.page_from(start, before, 1, &mut PageReader::after(before)).await?;
        let Some(page) = found else { return Ok(None) };
        match (page.events.into_iter().find(|event| event.position == position), page.next) {
            (None, PageNext::Damage(error)) => Err(error),
            (event, _) => Ok(event),
        }
    }

    /// Reads from a start on, and answers the events after `after`. Answers nothing where the page
    /// cannot begin there.
    pub(crate) async fn page_from(
        self: &Arc<Self>,
        start: PageStart,
        after: u64,
        limit: usize,
        reader: &mut PageReader,
    ) -> Result<Option<LogPage>, LogError> {
        let limit = limit.min(PAGE_EVENTS_MAX);
        let mut events: Vec<RecordedEvent> = Vec::new();
        if limit == 0 {
            return Ok(Some(LogPage { events, next: PageNext::MoreEvents }));
        }
        let names = self.names().await?;
        let mut cursor = PageCursor::new(start, after);
        let Some(first) = self.first_read(start, &cursor, limit, reader).await? else { return Ok(None) };
        reader.read_ahead(self, &first, limit);
        let (mut read, mut end) = first;
        let next = loop {
            for event in read {
                let at = event.position;
                if !cursor.advance(at) {
                    continue;
                }
                if events.len() == limit {
                    return Ok(Some(LogPage { events, next: PageNext::MoreEvents }));
                }
                match self.checked_event(names, event, &mut reader.revisions).await {
                    Ok(Some(event)) => {
                        cursor.last = event.position;
                        events.push(event);
                    }
                    Ok(None) => self.positions.note_harmless(at.commit),
                    Err(error @ LogError::Damaged { .. }) => {
                        return Ok(Some(LogPage { events, next: PageNext::Damage(error) }));
                    }
                    Err(error) => return Err(error),
                }
            }
            cursor.has_passed_from = true;
            match end {
                ReadEnd::LogEnd => break PageNext::LogEnd,
                ReadEnd::Quiet if !events.is_empty() => break PageNext::MoreEvents,
                ReadEnd::NothingBefore(before) => cursor.skip_to(before),
                ReadEnd::Quiet | ReadEnd::More => {}
            }
            if events.len() >= limit {
                break PageNext::MoreEvents;
            }
            let count = cursor.read_count(limit - events.len());
            (read, end) = self.read_all(cursor.last, cursor.from, count).await.map_err(log_error)?;
        };
        Ok(Some(LogPage { events, next }))
    }

    /// The first read of a page. Answers nothing where the page cannot begin at its start.
    async fn first_read(
        self: &Arc<Self>,
        start: PageStart,
        cursor: &PageCursor,
        limit: usize,
        reader: &mut PageReader,
    ) -> Result<Option<EventsRead>, LogError> {
        let (from, count) = (cursor.from, cursor.read_count(limit));
        let mut ahead = reader.take_ahead(from, count).await;
        let mut has_stalled = false;
        loop {
            let read = match ahead.take() {
                Some(read) => Ok(read),
                None => self.read_all(cursor.last, from, count).await,
            };
            let (read, end) = match read {
                // The server refuses a position within one of its records.
                Err(CallError::InvalidPosition) => return Ok(None),
                read => read.map_err(log_error)?,
            };
            let PageStart::Event(at @ 1..) = start else { return Ok(Some((read, end))) };
            match read.first() {
                Some(first) if first.position.commit == at => {
                    if self.owns(first) {
                        self.positions.note_event(at);
                    }
                    return Ok(Some((read, end)));
                }
                // The server would have sent this event at once, so it has stalled. One more read,
                // which may go to a node that answers.
                None if !matches!(end, ReadEnd::LogEnd) && self.is_at(at).await.map_err(log_error)? => {
                    if std::mem::replace(&mut has_stalled, true) {
                        return Err(log_error(CallError::Silent));
                    }
                }
                _ => return Ok(None),
            }
        }
    }

    /// Checks an event that was read along the log. Answers nothing where it is a harmless one that
    /// is not an event of the ledger.
    async fn checked_event(
        &self,
        names: &StreamNames,
        event: ServerEvent,
        revisions: &mut RevisionCheck,
    ) -> Result<Option<RecordedEvent>, LogError> {
        let position = event.position.commit;
        if let Some(name) = names.prefix.stream_of_settings(&event.stream) {
            return self.check_settings(name, &event.data, position).await.map(|()| None);
        }
        if !names.prefix.owns(&event.stream) {
            return Ok(None);
        }
        let (event, _) = recorded_event(names, event)?;
        revisions.accept(&event).map_err(|what| LogError::Damaged { position, what })?;
        self.note_event(&event);
        Ok(Some(event))
    }

    /// Checks that the gap behind which a reader begins still begins at an event of the ledger.
    /// Otherwise the server has another log, such as one that was put back from a backup, and all
    /// known positions are forgotten.
    pub(crate) async fn check_gap(&self, after: u64) -> Result<(), LogError> {
        if self.positions.gap_after(after).is_some() && !self.is_at(after).await.map_err(log_error)? {
            self.forget_positions();
        }
        Ok(())
    }
}
