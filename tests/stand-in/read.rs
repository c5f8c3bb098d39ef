//! Reads and subscriptions: pages of events, turned into the messages of an answer.

use std::sync::Arc;

use fancy_regex::Regex;
use tokio::sync::{mpsc, watch};
use tonic::Status;
use uuid::Uuid;

use crate::{
    log::Log,
    service::{self, not_given, uuid_from_server},
    streams::{Event, Found, Streams},
    wire::{
        AllStart, Checkpoint, EventPosition, FilterBy, FilterExpression, FilterOptions, Position, Reached, ReadContent,
        ReadCount, ReadEvent, ReadFrom, ReadOptions, ReadResp, RecordedEvent, StreamIdentifier, StreamNotFound,
        StreamStart, SubscriptionConfirmation, Timestamp,
    },
};

/// How many events are fetched at once.
const PAGE_EVENTS: usize = 512;

/// How many events a live subscription may have before it to be still live: as many as older servers keep for each.
const LIVE_EVENTS_MAX: usize = 32;

/// Where the server's filter looks for a checkpoint if it is not told.
const FILTER_WINDOW_DEFAULT: u32 = 32;

/// How many messages of an answer wait for the client.
const ANSWER_BUFFER: usize = 64;

/// The messages of an answer as they are made.
pub type Answer = mpsc::Receiver<Result<ReadResp, Status>>;

/// Starts to answer a request. Subscriptions end when `ends` says so, as if they had come to an end.
pub fn answer(log: Log, ends: watch::Receiver<()>, options: ReadOptions) -> Answer {
    let (messages, answer) = mpsc::channel(ANSWER_BUFFER);
    tokio::spawn(async move {
        let out = Out { messages, uuid_as_text: options.uuid_option.is_some_and(|option| option.text.is_some()) };
        if let Err(status) = read(&log, ends, options, &out).await {
            // A client that has gone is not told.
            let _ = out.messages.send(Err(status)).await;
        }
    });
    answer
}

async fn read(log: &Log, ends: watch::Receiver<()>, options: ReadOptions, out: &Out) -> Result<(), Status> {
    let filter = options.filter.map(Filter::new).transpose()?;
    let from = options.from.ok_or_else(|| not_given("stream or $all"))?;
    let is_forwards = options.direction == 0;
    let compatibility = options.control.map_or(0, |control| control.compatibility);
    match (from, options.count.ok_or_else(|| not_given("a count"))?) {
        (ReadFrom::Stream(stream), ReadCount::Count(count)) => {
            let name = service::stream_name(stream.stream)?;
            let start = stream.start.ok_or_else(|| not_given("a revision"))?;
            read_stream(log, name, start, is_forwards, count, compatibility, out).await
        }
        (ReadFrom::All(all), ReadCount::Count(count)) => {
            let start = all.start.ok_or_else(|| not_given("a position"))?;
            read_all(log, start, is_forwards, count, filter.as_ref(), out).await
        }
        (_, ReadCount::Subscription(())) if !is_forwards => {
            Err(Status::invalid_argument("there are no subscriptions that run backwards"))
        }
        (ReadFrom::Stream(stream), ReadCount::Subscription(())) => {
            let name = service::stream_name(stream.stream)?;
            let next = match stream.start.ok_or_else(|| not_given("a revision"))? {
                StreamStart::Start(()) => 0,
                // Exclusive, unlike a read's.
                StreamStart::Revision(revision) => revision.saturating_add(1),
                StreamStart::End(()) => log.read().written(&name).len() as u64,
            };
            subscribe(log, ends, Cursor::Stream { name, next }, None, out).await
        }
        (ReadFrom::All(all), ReadCount::Subscription(())) => {
            let cursor = {
                let streams = log.read();
                let (next, after) = match all.start.ok_or_else(|| not_given("a position"))? {
                    AllStart::Start(()) => (0, (0, 0)),
                    AllStart::End(()) => (streams.all().len(), (0, 0)),
                    AllStart::Position(position) => {
                        let after = checked_position(&streams, position)
                            .ok_or_else(|| Status::invalid_argument("Trying to read from an invalid position."))?;
                        (streams.all().partition_point(|event| both(event) <= after), after)
                    }
                };
                Cursor::All { next, after }
            };
            subscribe(log, ends, cursor, filter.as_ref(), out).await
        }
    }
}

async fn read_stream(
    log: &Log,
    name: String,
    start: StreamStart,
    is_forwards: bool,
    count: u64,
    compatibility: u32,
    out: &Out,
) -> Result<(), Status> {
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let found = match log.read().find(&name) {
        Found::Tombstoned => return Err(service::stream_deleted(&name)),
        Found::Missing => None,
        Found::There(stream) => {
            let shown = stream.shown();
            let events: Vec<_> = if is_forwards {
                let from = match start {
                    StreamStart::Start(()) => 0,
                    StreamStart::Revision(revision) => revision,
                    StreamStart::End(()) => u64::MAX,
                };
                let from = shown.partition_point(|event| event.revision < from);
                shown[from..].iter().take(count).cloned().collect()
            } else {
                let to = match start {
                    StreamStart::Start(()) => 0,
                    StreamStart::Revision(revision) => revision,
                    StreamStart::End(()) => u64::MAX,
                };
                let to = shown.partition_point(|event| event.revision <= to);
                shown[..to].iter().rev().take(count).cloned().collect()
            };
            Some((events, stream.last_revision()))
        }
    };
    let Some((events, last_revision)) = found else {
        let stream = Some(StreamIdentifier { stream_name: name });
        return out.send(ReadContent::StreamNotFound(StreamNotFound { stream })).await;
    };
    for event in &events {
        out.send_event(event).await?;
    }
    if compatibility >= 1 && is_forwards {
        out.send(ReadContent::LastStreamPosition(last_revision)).await?;
    }
    Ok(())
}

async fn read_all(
    log: &Log,
    start: AllStart,
    is_forwards: bool,
    mut count: u64,
    filter: Option<&Filter>,
    out: &Out,
) -> Result<(), Status> {
    // Forwards the event at the position is read, backwards the one before it.
    let mut index = {
        let streams = log.read();
        match start {
            AllStart::Start(()) => 0,
            AllStart::End(()) => streams.all().len(),
            AllStart::Position(position) => {
                let position = checked_position(&streams, position).ok_or_else(|| {
                    // A read says so in other words than a subscription.
                    let filtered = if filter.is_some() { "Filtered" } else { "" };
                    Status::unknown(format!("Unexpected {filtered}ReadAllResult: InvalidPosition"))
                })?;
                streams.all().partition_point(|event| both(event) < position)
            }
        }
    };
    while count > 0 {
        let page: Vec<_> = {
            let streams = log.read();
            let all = streams.all();
            if is_forwards {
                all[index..].iter().take(PAGE_EVENTS).cloned().collect()
            } else {
                all[..index].iter().rev().take(PAGE_EVENTS).cloned().collect()
            }
        };
        if page.is_empty() {
            break;
        }
        index = if is_forwards { index + page.len() } else { index - page.len() };
        for event in page.iter().filter(|event| filter.is_none_or(|filter| filter.matches(event))) {
            if count == 0 {
                break;
            }
            out.send_event(event).await?;
            count -= 1;
        }
    }
    Ok(())
}

/// How far a subscription has come.
#[derive(Debug)]
enum Cursor {
    Stream {
        name: String,
        /// The revision that is sent next.
        next: u64,
    },
    All {
        /// The index of the event that is sent next.
        next: usize,
        /// Events up to this position, which may still have to be written, are left out.
        after: (u64, u64),
    },
}

impl Cursor {
    /// What a subscription is told about where it stands.
    fn reached(&self, streams: &Streams) -> Reached {
        let (stream_revision, position) = match self {
            Self::Stream { next, .. } => (next.checked_sub(1).map(u64::cast_signed), None),
            Self::All { next, .. } => (None, next.checked_sub(1).map(|last| position_of(&streams.all()[last]))),
        };
        Reached { timestamp: Some(now()), stream_revision, position }
    }

    /// The events that follow, if there are any; the cursor moves behind them.
    fn next_page(&mut self, streams: &Streams) -> Result<Vec<Arc<Event>>, Status> {
        match self {
            Self::Stream { name, next } => match streams.find(name) {
                Found::Tombstoned => Err(service::stream_deleted(name)),
                Found::Missing => Ok(Vec::new()),
                Found::There(stream) => {
                    let shown = stream.shown();
                    let from = shown.partition_point(|event| event.revision < *next);
                    let page: Vec<_> = shown[from..].iter().take(PAGE_EVENTS).cloned().collect();
                    *next = page.last().map_or(*next, |event| event.revision + 1);
                    Ok(page)
                }
            },
            Self::All { next, after } => {
                let page = streams.all()[*next..].iter().take(PAGE_EVENTS);
                let page: Vec<_> = page.inspect(|_| *next += 1).filter(|event| both(event) > *after).cloned().collect();
                Ok(page)
            }
        }
    }
}

/// Sends what is there and what comes, until the client goes or the stream is deleted for good. Ends well only when it is
/// told to.
async fn subscribe(
    log: &Log,
    mut ends: watch::Receiver<()>,
    mut cursor: Cursor,
    filter: Option<&Filter>,
    out: &Out,
) -> Result<(), Status> {
    let mut grown = log.grown();
    let subscription_id = Uuid::new_v4().to_string();
    out.send(ReadContent::Confirmation(SubscriptionConfirmation { subscription_id })).await?;
    let mut is_live = false;
    let mut considered = 0;
    let mut checkpoint = None;
    loop {
        grown.borrow_and_update();
        let (reached, page) = {
            let streams = log.read();
            (cursor.reached(&streams), cursor.next_page(&streams)?)
        };
        if page.is_empty() {
            if !is_live {
                is_live = true;
                if filter.is_some() && checkpoint < reached.position.map(|position| position.commit_position) {
                    out.send_checkpoint(reached.position).await?;
                }
                out.send(ReadContent::CaughtUp(reached)).await?;
            }
            tokio::select! {
                changed = grown.changed() => changed.map_err(|_| Status::unavailable("the server ends"))?,
                Ok(()) = ends.changed() => return Ok(()),
                () = out.messages.closed() => return Err(Status::cancelled("the client has gone")),
            }
            continue;
        }
        if is_live && page.len() > LIVE_EVENTS_MAX {
            is_live = false;
            out.send(ReadContent::FellBehind(reached)).await?;
            if filter.is_some() {
                out.send_checkpoint(reached.position).await?;
            }
        }
        for event in page {
            if filter.is_none_or(|filter| filter.matches(&event)) {
                out.send_event(&event).await?;
            }
            considered += 1;
            if filter.is_some_and(|filter| considered % filter.checkpoint_interval == 0) {
                checkpoint = Some(event.position);
                out.send_checkpoint(Some(position_of(&event))).await?;
            }
        }
    }
}

/// A position as a pair, if it can be read from: the start, that of an event, or one that is still to come.
fn checked_position(streams: &Streams, position: Position) -> Option<(u64, u64)> {
    let Position { commit_position, prepare_position } = position;
    let all = streams.all();
    let is_known = commit_position == 0
        || all.last().is_none_or(|last| last.position < commit_position)
        || all.binary_search_by_key(&commit_position, |event| event.position).is_ok();
    is_known.then_some((commit_position, prepare_position))
}

/// An event's commit and prepare position, which are compared in that order.
fn both(event: &Event) -> (u64, u64) {
    (event.position, event.position)
}

/// Which events of `$all` are sent.
#[derive(Debug)]
struct Filter {
    by_event_type: bool,
    pattern: Pattern,
    checkpoint_interval: u64,
}

#[derive(Debug)]
enum Pattern {
    Regex(Regex),
    Prefixes(Vec<String>),
}

impl Filter {
    fn new(options: FilterOptions) -> Result<Self, Status> {
        let (by_event_type, expression) = match options.by.ok_or_else(|| not_given("what to filter by"))? {
            FilterBy::Stream(expression) => (false, expression),
            FilterBy::EventType(expression) => (true, expression),
        };
        let pattern = match expression {
            FilterExpression { regex, prefix } if regex.is_empty() => Pattern::Prefixes(prefix),
            FilterExpression { regex, .. } => {
                Pattern::Regex(Regex::new(&regex).map_err(|error| Status::invalid_argument(error.to_string()))?)
            }
        };
        let window = options.window_max.unwrap_or(FILTER_WINDOW_DEFAULT);
        let checkpoint_interval = u64::from(window) * u64::from(options.checkpoint_interval_multiplier);
        if checkpoint_interval == 0 {
            return Err(Status::invalid_argument("a filter's window and checkpoint interval are not 0"));
        }
        Ok(Self { by_event_type, pattern, checkpoint_interval })
    }

    fn matches(&self, event: &Event) -> bool {
        let text = if self.by_event_type { &event.event_type } else { &event.stream };
        match &self.pattern {
            Pattern::Regex(regex) => regex.is_match(text).unwrap_or(false),
            Pattern::Prefixes(prefixes) => prefixes.iter().any(|prefix| text.starts_with(prefix)),
        }
    }
}

/// Where the messages of an answer go.
#[derive(Debug)]
struct Out {
    messages: mpsc::Sender<Result<ReadResp, Status>>,
    uuid_as_text: bool,
}

impl Out {
    async fn send(&self, content: ReadContent) -> Result<(), Status> {
        let message = Ok(ReadResp { content: Some(content) });
        self.messages.send(message).await.map_err(|_| Status::cancelled("the client has gone"))
    }

    async fn send_event(&self, event: &Event) -> Result<(), Status> {
        let content_type = if event.is_json { "application/json" } else { "application/octet-stream" };
        let id = Uuid::from_slice(&event.id).expect("an id that was written as one");
        let metadata = [
            ("type", event.event_type.clone()),
            ("created", event.created.to_string()),
            ("content-type", content_type.to_owned()),
        ];
        let recorded = RecordedEvent {
            id: Some(uuid_from_server(id, self.uuid_as_text)),
            stream: Some(StreamIdentifier { stream_name: event.stream.clone() }),
            revision: event.revision,
            prepare_position: event.position,
            commit_position: event.position,
            metadata: metadata.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            custom_metadata: event.custom_metadata.clone(),
            data: event.data.clone(),
        };
        let position = Some(EventPosition::Commit(event.position));
        self.send(ReadContent::Event(ReadEvent { event: Some(recorded), position })).await
    }

    /// There is none to send before the first event.
    async fn send_checkpoint(&self, position: Option<Position>) -> Result<(), Status> {
        let Some(Position { commit_position, prepare_position }) = position else { return Ok(()) };
        let timestamp = Some(now());
        self.send(ReadContent::Checkpoint(Checkpoint { commit_position, prepare_position, timestamp })).await
    }
}

fn position_of(event: &Event) -> Position {
    Position { commit_position: event.position, prepare_position: event.position }
}

fn now() -> Timestamp {
    let now = chrono::Utc::now();
    Timestamp { seconds: now.timestamp(), nanos: now.timestamp_subsec_nanos().cast_signed() }
}
