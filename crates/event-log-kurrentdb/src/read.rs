//! Every reading of events from the server, and telling what is missing from them.
//!
//! The server hides or drops events of a stream when somebody deletes or truncates it, and answers what is left as if it
//! were all. To the ledger that is damage: an event, once recorded, stays. It shows in a stream that does not begin with
//! its first event or leaves one out, and in the stream's settings, which are read along with the log.
//!
//! Reading the log, the server says nothing while it passes over what others have written, which may be most of what it has.
//! So a read that hears nothing for a while goes on as a subscription, which tells how far it is: what it has passed over
//! is known from then on, whatever becomes of it.

use std::{ops::ControlFlow, sync::Arc, thread, time::Duration};

use bytes::Bytes;
use domain::Stream;
use kurrentdb::{
    Client, Error, Position, ReadAllOptions, ReadStreamOptions, ResolvedEvent, StreamPosition, SubscriptionEvent,
    SubscriptionFilter,
};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout},
};

use event_log::{ExpectedRevision, LogError, LogPage, PAGE_EVENTS_MAX, PageNext, RecordedEvent, StreamOrder};

use crate::{
    Store,
    connection::{SILENCE_MAX, as_caller, ended, in_time, in_words, is_invalid_position},
    seen::Revisions,
    stored::{AppendId, hides_events, recorded_event},
    subscription::{Keeper, PassedOver, Subscription, place},
};

/// How long a search goes on before a read is tried again from where it is: a server whose others never stop writing, and which
/// is too old to say that it has caught up, would have it go on for ever.
const SEARCH_MAX: Duration = Duration::from_secs(60);

/// Events of the server, ours or not, that it looks through before it says how far it is.
const SEARCH_WINDOW_EVENTS: u32 = 1_000;

/// Revisions from here on are none: the server counts with signed numbers, and takes some of them for wishes.
pub(crate) const REVISION_MAX: u64 = u32::MAX as u64;

/// Where reading the log begins.
#[derive(Clone, Copy)]
pub(crate) enum Start {
    /// At the start, for 0, or at an event of ours.
    Event(u64),
    /// At a position before which there is nothing to read.
    Gap(u64),
}

/// What comes after some of the log's events.
pub(crate) enum Then {
    /// Perhaps more, at once.
    More,
    /// Perhaps more, but nothing came for a while.
    Quiet,
    /// Nothing before this position.
    From(u64),
    /// Nothing, when it was read.
    End,
}

/// What an error of the server means to a reader, apart from what is told from it before.
pub(crate) fn log_error(error: Error) -> LogError {
    match error {
        Error::ResourceDeleted => deleted(0),
        error => LogError::Unavailable(in_words(error)),
    }
}

impl Store {
    /// At most `limit` events of a stream, from a revision on.
    pub(crate) async fn stream(
        &self,
        stream: &Stream,
        from_revision: u64,
        limit: usize,
    ) -> Result<Vec<RecordedEvent>, LogError> {
        let events = self.stream_appends(stream, from_revision, limit).await?;
        Ok(events.into_iter().map(|(event, _)| event).collect())
    }

    /// As [`Store::stream`], with the calls that wrote the events.
    pub(crate) async fn stream_appends(
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
        let mut order = StreamOrder::from_revision(from_revision);
        for event in read {
            let (event, append) = recorded_event(&self.prefix, own_event(event)?)?;
            order.accept(&event)?;
            self.seen.note(&event);
            events.push((event, append));
        }
        if from_revision == 0 && events.is_empty() {
            // It is there, and all of it is hidden.
            return Err(deleted(0));
        }
        Ok(events)
    }

    async fn read_stream(&self, name: String, options: &ReadStreamOptions) -> Result<Vec<ResolvedEvent>, Error> {
        let options = as_caller!(self.connection.address(), options.clone());
        let ask = |client: Client| {
            let (name, options) = (name.clone(), &options);
            async move {
                let (mut events, mut read) = (Vec::new(), in_time(client.read_stream(name, options)).await?);
                while let Some(event) = in_time(read.next()).await? {
                    events.push(event);
                }
                Ok(events)
            }
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
    pub(crate) async fn revision(&self, stream: &Stream) -> Result<ExpectedRevision, LogError> {
        let options = ReadStreamOptions::default().position(StreamPosition::End).backwards().max_count(1);
        match self.read_stream(self.prefix.name(stream), &options).await {
            Ok(read) => match read.into_iter().next() {
                Some(last) => {
                    let (last, _) = recorded_event(&self.prefix, own_event(last)?)?;
                    self.seen.note(&last);
                    Ok(ExpectedRevision::Exact(last.revision))
                }
                None => Err(deleted(0)),
            },
            Err(Error::ResourceNotFound) => self.check_never_there(stream).await.map(|()| ExpectedRevision::NoStream),
            Err(Error::ResourceDeleted) => Err(deleted(0)),
            Err(error) => Err(log_error(error)),
        }
    }

    /// At most `limit` events of the log after a position, and what comes after them.
    pub(crate) async fn page(
        self: &Arc<Self>,
        after: u64,
        limit: usize,
        revisions: &mut Revisions,
    ) -> Result<LogPage, LogError> {
        let page = self.page_after(after, limit, revisions).await?;
        self.seen.note_times(after, &page.events);
        Ok(page)
    }

    async fn page_after(
        self: &Arc<Self>,
        after: u64,
        limit: usize,
        revisions: &mut Revisions,
    ) -> Result<LogPage, LogError> {
        if let Some(before) = self.seen.gap_after(after) {
            if let Some(page) = self.page_from(Start::Gap(before), after, limit, revisions).await? {
                return Ok(page);
            }
            self.seen.forget_positions();
        }
        if let Some(page) = self.page_from(Start::Event(after), after, limit, revisions).await? {
            return Ok(page);
        }
        // The position is not that of one of our events: mostly because somebody means to begin with the event at the position
        // after it. Otherwise the way is found from an event known to stand before it.
        if let Some(page) = self.page_from(Start::Event(after.saturating_add(1)), after, limit, revisions).await? {
            return Ok(page);
        }
        if self.head().await? <= after {
            return Ok(LogPage { events: Vec::new(), next: PageNext::LogEnd });
        }
        let from = self.seen.before_position(after);
        let page = self.page_from(Start::Event(from), after, limit, revisions).await?;
        page.ok_or_else(|| LogError::Damaged { position: from, what: "the event that stood here is gone".to_owned() })
    }

    /// Reads from where it is said on, and answers what stands after `after`; nothing where it cannot be begun there.
    pub(crate) async fn page_from(
        self: &Arc<Self>,
        start: Start,
        after: u64,
        limit: usize,
        revisions: &mut Revisions,
    ) -> Result<Option<LogPage>, LogError> {
        let limit = limit.min(PAGE_EVENTS_MAX);
        let mut events: Vec<RecordedEvent> = Vec::new();
        let mut next = PageNext::MoreEvents;
        // Nothing of ours stands between the two.
        let (mut last, mut from) = match start {
            Start::Event(at) => (at, Position { commit: at, prepare: at }),
            Start::Gap(before) => (after, Position { commit: before, prepare: 0 }),
        };
        let mut is_first = true;
        let mut has_stalled = false;
        while events.len() < limit {
            let count = match from.commit < after {
                // On the way there whatever is read is passed over.
                true => PAGE_EVENTS_MAX,
                // Reading includes the event at the position, which is known where one is meant.
                false => limit - events.len() + usize::from(from.prepare > 0 && !(is_first && from.commit > after)),
            };
            let (read, then) = match self.read_all(last, from, count).await {
                // The server refuses a position within one of its records, and says so in words only.
                Err(error) if is_first && is_invalid_position(&error) => return Ok(None),
                read => read.map_err(log_error)?,
            };
            if is_first && let Start::Event(at @ 1..) = start {
                match read.first() {
                    Some(first) if position(first).commit == at => {
                        if self.is_ours(first) {
                            self.seen.note_position(at);
                        }
                    }
                    // The event would have been there at once: the server has stalled. Once more, of one that answers.
                    None if !matches!(then, Then::End) && self.is_at(at).await.map_err(log_error)? => {
                        if std::mem::replace(&mut has_stalled, true) {
                            return Err(log_error(Error::DeadlineExceeded));
                        }
                        continue;
                    }
                    _ => return Ok(None),
                }
            }
            for event in read {
                let at = position(&event);
                let is_known = at.commit <= after || at <= from && !is_first;
                from = from.max(at);
                if is_known {
                    last = last.max(at.commit);
                    continue;
                }
                if events.len() == limit {
                    return Ok(Some(LogPage { events, next }));
                }
                is_first = false;
                match self.checked(event, revisions).await {
                    Ok(Some(event)) => {
                        last = event.position;
                        events.push(event);
                    }
                    Ok(None) => self.seen.note_settled(at.commit),
                    Err(error @ LogError::Damaged { .. }) => {
                        return Ok(Some(LogPage { events, next: PageNext::Damage(error) }));
                    }
                    Err(error) => return Err(error),
                }
            }
            is_first = false;
            match then {
                Then::End => {
                    next = PageNext::LogEnd;
                    break;
                }
                Then::Quiet if !events.is_empty() => break,
                Then::From(before) => from = from.max(Position { commit: before, prepare: 0 }),
                Then::Quiet | Then::More => {}
            }
        }
        Ok(Some(LogPage { events, next }))
    }

    /// At most `count` events of ours, and of what sets our streams, from a position on and including it, and what comes after
    /// them. Between `last` and that position nothing stands that need be read.
    pub(crate) async fn read_all(
        self: &Arc<Self>,
        last: u64,
        from: Position,
        count: usize,
    ) -> Result<(Vec<ResolvedEvent>, Then), Error> {
        let options = ReadAllOptions::default().position(place(from)).filter(self.filter()).max_count(count);
        let options = &as_caller!(self.connection.address(), options);
        let ask = |client: Client| async move {
            let mut events = Vec::new();
            let then = match collect(&client, options, count, &mut events).await {
                Ok(then) => then,
                Err(Error::DeadlineExceeded) if events.last().is_some_and(|last| position(last) > from) => Then::Quiet,
                Err(Error::DeadlineExceeded) => Then::From(self.search(last, from).await?),
                Err(error) => return Err(error),
            };
            Ok((events, then))
        };
        self.connection.call(ask).await
    }

    /// Has the server look, from a position on, for what stands after `last`, and answers the position before which it found
    /// nothing. Whatever becomes of this, what it has passed over is known. A task of its own, as others wait for its end: who
    /// reads a stream of events may leave it alone in the middle.
    async fn search(self: &Arc<Self>, last: u64, from: Position) -> Result<u64, Error> {
        let store = Arc::clone(self);
        let searching = tokio::spawn(async move { store.search_alone(last, from).await });
        ended(searching.await)
    }

    async fn search_alone(&self, last: u64, from: Position) -> Result<u64, Error> {
        let searching = timeout(SILENCE_MAX, self.searching.lock()).await;
        // Who had to wait mostly looked for the same, be it that the other has not come to its end.
        if let Some(before) = self.seen.gap_after(last).filter(|before| *before > from.commit) {
            return Ok(before);
        }
        let Ok(_searching) = searching else { return Err(Error::DeadlineExceeded) };
        let (tell, mut told) = mpsc::unbounded_channel();
        let mut passed_over = PassedOver::new(&self.prefix, last);
        let hear = move |event| {
            let gap = passed_over.hear(&event);
            let is_at_end = matches!(event, SubscriptionEvent::EventAppeared(_) | SubscriptionEvent::CaughtUp(_));
            match gap.map_or(Ok(()), |gap| tell.send(gap)) {
                Ok(()) if !is_at_end => ControlFlow::Continue(()),
                _ => ControlFlow::Break(()),
            }
        };
        let address = self.connection.address().clone();
        let subscription = Subscription { address, filter: self.filter(), after: from };
        let keeper = Keeper::default();
        let is_over = keeper.is_over();
        thread::Builder::new()
            .name("kurrentdb-search".to_owned())
            .spawn(move || {
                if let Err(why) = subscription.listen(&is_over, hear) {
                    tracing::debug!("a search of the event store has ended: {why}");
                }
            })
            .map_err(|error| Error::InitializationError(error.to_string()))?;
        let mut passed = from.commit;
        let deadline = Instant::now() + SEARCH_MAX;
        while Instant::now() < deadline
            && let Ok(Some(gap)) = timeout(SILENCE_MAX, told.recv()).await
        {
            self.seen.note_gap(gap);
            passed = gap.before;
        }
        if passed > from.commit { Ok(passed) } else { Err(Error::DeadlineExceeded) }
    }

    /// Our streams and what sets them, by their prefixes alone: the client's filter takes prefixes or an expression, and drops
    /// one of the two.
    pub(crate) fn filter(&self) -> SubscriptionFilter {
        SubscriptionFilter::on_stream_name()
            .add_prefix(self.prefix.to_string())
            .add_prefix(format!("$${}", self.prefix))
            .max(SEARCH_WINDOW_EVENTS)
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

    /// Makes sure that the gap at whose beginning a reader begins still begins at an event of ours: the log is another otherwise,
    /// such as one that was put back from a copy, and what was known of its positions is forgotten.
    pub(crate) async fn check_gap(&self, after: u64) -> Result<(), LogError> {
        if self.seen.gap_after(after).is_some() && !self.is_at(after).await.map_err(log_error)? {
            self.seen.forget_positions();
        }
        Ok(())
    }

    /// Whether an event of ours is at a position; at the start, nothing need be. Whatever stands there, the server answers at
    /// once, for it is asked for without a filter: that it is silent says nothing of the event.
    pub(crate) async fn is_at(&self, at: u64) -> Result<bool, Error> {
        if at == 0 {
            return Ok(true);
        }
        let options = ReadAllOptions::default().position(place(Position { commit: at, prepare: at })).max_count(1);
        let options = &as_caller!(self.connection.address(), options);
        let ask = |client: Client| async move {
            let mut events = Vec::new();
            collect(&client, options, 1, &mut events).await.map(|_| events)
        };
        match self.connection.call(ask).await {
            Ok(read) => Ok(read.first().is_some_and(|first| position(first).commit == at && self.is_ours(first))),
            Err(error) if is_invalid_position(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn is_ours(&self, event: &ResolvedEvent) -> bool {
        event.event.as_ref().is_some_and(|event| self.prefix.stream(event.stream_id()).is_some())
    }
}

/// Reads at most `count` events of the log, each within a time, and says what comes after them. Where the server filters, it
/// ends its answer only when it has found one more, which may never come, and may not begin it before it has found the first.
pub(crate) async fn collect(
    client: &Client,
    options: &ReadAllOptions,
    count: usize,
    events: &mut Vec<ResolvedEvent>,
) -> Result<Then, Error> {
    let mut read = in_time(client.read_all(options)).await?;
    while events.len() < count {
        match in_time(read.next()).await? {
            Some(event) => events.push(event),
            None => return Ok(Then::End),
        }
    }
    Ok(Then::More)
}

/// The event itself: nobody writes links to others into our streams.
fn own_event(event: ResolvedEvent) -> Result<kurrentdb::RecordedEvent, LogError> {
    let nothing = || LogError::Damaged { position: 0, what: "the server answers an event that is none".to_owned() };
    event.event.ok_or_else(nothing)
}

pub(crate) fn position(event: &ResolvedEvent) -> Position {
    event.event.as_ref().map_or_else(Position::start, |event| event.position)
}

fn deleted(position: u64) -> LogError {
    LogError::Damaged { position, what: "a stream was deleted or truncated on the server".to_owned() }
}
