//! Reads and subscriptions: pages of events, turned into the messages of an answer.
//!
//! Two streams are none of the log's and for tests alone. An event written to [`SEARCH_RATE_STREAM`] says how many events a
//! filter looks at in a second, for a server whose log is large or whose disk is slow; [`SEARCHED_STREAM`] is read for how
//! many it has looked at.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use fancy_regex::Regex;
use prost::bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tonic::Status;
use uuid::Uuid;

use crate::{
    clock,
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

/// How many events a filter looks at for one page if it is not told, and how many it finds at most.
const FILTER_WINDOW_DEFAULT: u32 = 32;
const FILTER_FOUND_MAX: usize = 32;

/// How many events a filter looks at in a second: what the stream's last event says, a number; without it, as many as it can.
const SEARCH_RATE_STREAM: &str = "$stand-in-search-rate";

/// One event that says how many events filters have looked at, a number.
const SEARCHED_STREAM: &str = "$stand-in-searched";
static SEARCHED: AtomicU64 = AtomicU64::new(0);

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
            subscribe(log, ends, Cursor::Stream { name, next }, out).await
        }
        (ReadFrom::All(all), ReadCount::Subscription(())) => {
            let (next, after) = {
                let streams = log.read();
                match all.start.ok_or_else(|| not_given("a position"))? {
                    AllStart::Start(()) => (0, (0, 0)),
                    AllStart::End(()) => (streams.all().len(), streams.all().last().map_or((0, 0), |last| both(last))),
                    AllStart::Position(position) => {
                        let after = checked_position(&streams, position)
                            .ok_or_else(|| Status::invalid_argument("Trying to read from an invalid position."))?;
                        (streams.all().partition_point(|event| both(event) <= after), after)
                    }
                }
            };
            match filter {
                Some(filter) => subscribe_filtered(log, ends, next, after, &filter, out).await,
                None => subscribe(log, ends, Cursor::All { next, after }, out).await,
            }
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
    if name == SEARCHED_STREAM {
        return out.send_event(&searched_event()).await;
    }
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
        if filter.is_some() {
            look_at(log, page.len()).await;
        }
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
        match self {
            Self::Stream { next, .. } => {
                let stream_revision = next.checked_sub(1).map(u64::cast_signed);
                Reached { timestamp: Some(now()), stream_revision, position: None }
            }
            Self::All { next, .. } => reached(next.checked_sub(1).map_or((0, 0), |last| both(&streams.all()[last]))),
        }
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
async fn subscribe(log: &Log, mut ends: watch::Receiver<()>, mut cursor: Cursor, out: &Out) -> Result<(), Status> {
    let mut grown = log.grown();
    out.send_confirmation().await?;
    let mut is_live = false;
    loop {
        grown.borrow_and_update();
        let (reached, page) = {
            let streams = log.read();
            (cursor.reached(&streams), cursor.next_page(&streams)?)
        };
        if page.is_empty() {
            if !is_live {
                is_live = true;
                out.send(ReadContent::CaughtUp(reached)).await?;
            }
            if !more(&mut grown, &mut ends, out).await? {
                return Ok(());
            }
            continue;
        }
        if is_live && page.len() > LIVE_EVENTS_MAX {
            is_live = false;
            out.send(ReadContent::FellBehind(reached)).await?;
        }
        for event in page {
            out.send_event(&event).await?;
        }
    }
}

/// As [`subscribe`], to what a filter lets pass of all events, with checkpoints where the server sends them.
///
/// While it catches up, it reads pages: of so many events that are looked at, or fewer where enough of them are found. The
/// checkpoint is that of the last event found or, if none was, where the page began, of which the prepare position is 0. It is
/// sent after a page with which at least an interval of events was looked at, and at the end. Live, it is sent after each
/// interval, and is that of the last event.
async fn subscribe_filtered(
    log: &Log,
    mut ends: watch::Receiver<()>,
    mut next: usize,
    after: (u64, u64),
    filter: &Filter,
    out: &Out,
) -> Result<(), Status> {
    let mut grown = log.grown();
    out.send_confirmation().await?;
    let (mut checkpoint, mut sent) = (after, (0, 0));
    loop {
        let (mut looked_at, mut page_start) = (0, checkpoint);
        loop {
            let page = filter.page(&log.read(), next);
            next += page.len();
            look_at(log, page.len()).await;
            for event in page.iter().filter(|event| filter.matches(event) && both(event) > checkpoint) {
                out.send_event(event).await?;
            }
            let found = page.iter().filter(|event| filter.matches(event)).map(|event| both(event)).max();
            checkpoint = checkpoint.max(found.unwrap_or_default());
            if !page.is_empty() {
                checkpoint = checkpoint.max(page_start);
            }
            looked_at += page.len();
            let following = log.read().all().get(next).map(|event| event.position);
            let Some(following) = following else { break };
            page_start = (following, 0);
            if looked_at >= filter.checkpoint_interval {
                looked_at %= filter.checkpoint_interval;
                out.send_checkpoint(checkpoint, &mut sent).await?;
            }
        }
        out.send_checkpoint(checkpoint, &mut sent).await?;
        out.send(ReadContent::CaughtUp(reached(checkpoint))).await?;
        looked_at = 0;
        loop {
            grown.borrow_and_update();
            let page = log.read().all()[next..].to_vec();
            if page.len() > LIVE_EVENTS_MAX {
                out.send(ReadContent::FellBehind(reached(checkpoint))).await?;
                out.send_checkpoint(checkpoint, &mut sent).await?;
                break;
            }
            if page.is_empty() && !more(&mut grown, &mut ends, out).await? {
                return Ok(());
            }
            for event in &page {
                if both(event) <= checkpoint {
                    continue;
                }
                if filter.matches(event) {
                    out.send_event(event).await?;
                    checkpoint = both(event);
                }
                looked_at += 1;
                if looked_at == filter.checkpoint_interval {
                    looked_at = 0;
                    checkpoint = both(event);
                    out.send_checkpoint(checkpoint, &mut sent).await?;
                }
            }
            next += page.len();
        }
    }
}

/// Waits for more events; false where the subscription is to end well.
async fn more(grown: &mut watch::Receiver<()>, ends: &mut watch::Receiver<()>, out: &Out) -> Result<bool, Status> {
    tokio::select! {
        changed = grown.changed() => changed.map(|()| true).map_err(|_| Status::unavailable("the server ends")),
        Ok(()) = ends.changed() => Ok(false),
        () = out.messages.closed() => Err(Status::cancelled("the client has gone")),
    }
}

/// Takes the time, and the count, of a filter that looks at so many events.
async fn look_at(log: &Log, events: usize) {
    SEARCHED.fetch_add(events as u64, Ordering::Relaxed);
    let rate = log.read().written(SEARCH_RATE_STREAM).last().and_then(|event| serde_json::from_slice(&event.data).ok());
    if let Some(rate @ 1..) = rate {
        tokio::time::sleep(Duration::from_secs(events as u64) / rate).await;
    }
}

fn searched_event() -> Event {
    Event {
        position: 0,
        stream: SEARCHED_STREAM.to_owned(),
        revision: 0,
        id: Uuid::nil().into_bytes().to_vec(),
        event_type: "Searched".to_owned(),
        is_json: true,
        created: 0,
        custom_metadata: Bytes::new(),
        data: SEARCHED.load(Ordering::Relaxed).to_string().into(),
        ends_commit: true,
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

fn reached((commit_position, prepare_position): (u64, u64)) -> Reached {
    let position = Some(Position { commit_position, prepare_position });
    Reached { timestamp: Some(now()), stream_revision: None, position }
}

/// Which events of `$all` are sent.
#[derive(Debug)]
struct Filter {
    by_event_type: bool,
    pattern: Pattern,
    /// How many events are looked at for one page.
    window: usize,
    checkpoint_interval: usize,
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
        let window = options.window_max.unwrap_or(FILTER_WINDOW_DEFAULT) as usize;
        let checkpoint_interval = window * options.checkpoint_interval_multiplier as usize;
        if checkpoint_interval == 0 {
            return Err(Status::invalid_argument("a filter's window and checkpoint interval are not 0"));
        }
        Ok(Self { by_event_type, pattern, window, checkpoint_interval })
    }

    /// The events looked at for a page that begins at an index.
    fn page(&self, streams: &Streams, next: usize) -> Vec<Arc<Event>> {
        let mut found = 0;
        let events = streams.all()[next..].iter().take(self.window).take_while(|event| {
            let is_room = found < FILTER_FOUND_MAX;
            found += usize::from(self.matches(event));
            is_room
        });
        events.cloned().collect()
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

    async fn send_confirmation(&self) -> Result<(), Status> {
        let subscription_id = Uuid::new_v4().to_string();
        self.send(ReadContent::Confirmation(SubscriptionConfirmation { subscription_id })).await
    }

    /// None is sent twice.
    async fn send_checkpoint(&self, checkpoint: (u64, u64), sent: &mut (u64, u64)) -> Result<(), Status> {
        if checkpoint <= *sent {
            return Ok(());
        }
        *sent = checkpoint;
        let ((commit_position, prepare_position), timestamp) = (checkpoint, Some(now()));
        self.send(ReadContent::Checkpoint(Checkpoint { commit_position, prepare_position, timestamp })).await
    }
}

fn now() -> Timestamp {
    let now = clock::now();
    Timestamp { seconds: now.timestamp(), nanos: now.timestamp_subsec_nanos().cast_signed() }
}
