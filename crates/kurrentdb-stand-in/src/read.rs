//! Reads and subscriptions: pages of events, turned into the messages of an answer.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use kurrentdb_protocol::{
    AllStart, Checkpoint, EventPosition, FilterOption, PointReached, Position, ReadContent, ReadCount, ReadEvent,
    ReadFrom, ReadOptions, ReadResp, RecordedEvent, StreamIdentifier, StreamNotFound, StreamStart,
    SubscriptionConfirmation, Timestamp,
};
use tokio::{
    sync::{mpsc, watch},
    time::sleep,
};
use tonic::Status;
use uuid::Uuid;

use crate::{
    calls::{CALLS_STREAM, last_calls, note_call},
    clock,
    filter::{ReadFilter, SEARCHED_STREAM, charge_search, searched_count},
    log::Log,
    pace::Pace,
    requests::{not_given, stream_deleted, stream_name, uuid_from_server},
    streams::{AllStreams, EventRecord, StreamLookup},
};

/// Most events that are fetched at once.
const PAGE_EVENTS: usize = 512;

/// Most events that a live subscription may have to send without falling behind: as many as older
/// servers buffer for each.
const LIVE_EVENTS_MAX: usize = 32;

/// Most messages of an answer that wait for the client.
const ANSWER_BUFFER: usize = 64;

/// The messages of an answer, as they are made.
pub type AnswerReceiver = mpsc::Receiver<Result<ReadResp, Status>>;

/// Starts to answer a request. Subscriptions end without an error when `ends` changes. Reads of
/// `$all` give out at most `rate` events a second. An answer ends `late_end` after its last
/// message.
pub fn answer(
    log: Log,
    ends: watch::Receiver<()>,
    options: ReadOptions,
    rate: Option<NonZeroU32>,
    late_end: Duration,
) -> AnswerReceiver {
    let (messages, answer) = mpsc::channel(ANSWER_BUFFER);
    tokio::spawn(async move {
        let uuid_as_text = options.uuid_option.is_some_and(|option| option.text.is_some());
        let is_all = matches!(options.from, Some(ReadFrom::All(_)));
        let pace = rate.filter(|_| is_all).map(Pace::new);
        let out = AnswerSender { messages, uuid_as_text, pace };
        if let Err(status) = read(&log, ends, options, &out).await {
            // The client may be gone.
            let _ = out.messages.send(Err(status)).await;
        }
        sleep(late_end).await;
    });
    answer
}

async fn read(log: &Log, ends: watch::Receiver<()>, options: ReadOptions, out: &AnswerSender) -> Result<(), Status> {
    let filter = match options.filter.ok_or_else(|| not_given("a filter, or that there is none"))? {
        FilterOption::Filter(filter) => Some(ReadFilter::new(filter)?),
        FilterOption::NoFilter(()) => None,
    };
    let from = options.from.ok_or_else(|| not_given("stream or $all"))?;
    let is_forwards = options.direction == 0;
    let compatibility = options.control.map_or(0, |control| control.compatibility);
    match (from, options.count.ok_or_else(|| not_given("a count"))?) {
        (ReadFrom::Stream(stream), ReadCount::Count(count)) => {
            let name = stream_name(stream.stream)?;
            let start = stream.start.ok_or_else(|| not_given("a revision"))?;
            note_call("read", &name);
            read_stream(log, name, start, is_forwards, count, compatibility, out).await
        }
        (ReadFrom::All(all), ReadCount::Count(count)) => {
            let start = all.start.ok_or_else(|| not_given("a position"))?;
            note_call(if is_forwards { "read" } else { "read backwards" }, whole_log_from(&start));
            read_all(log, start, is_forwards, count, filter.as_ref(), out).await
        }
        (_, ReadCount::Subscription(())) if !is_forwards => {
            Err(Status::invalid_argument("there are no subscriptions that run backwards"))
        }
        (ReadFrom::Stream(stream), ReadCount::Subscription(())) => {
            let name = stream_name(stream.stream)?;
            let next = match stream.start.ok_or_else(|| not_given("a revision"))? {
                StreamStart::Start(()) => 0,
                // A subscription begins after the revision, unlike a read.
                StreamStart::Revision(revision) => revision.saturating_add(1),
                StreamStart::End(()) => log.read().events_of(&name).len() as u64,
            };
            subscribe(log, ends, SubscriptionCursor::Stream { name, next }, out).await
        }
        (ReadFrom::All(all), ReadCount::Subscription(())) => {
            let start = all.start.ok_or_else(|| not_given("a position"))?;
            note_call("subscribe", whole_log_from(&start));
            let (next, after) = {
                let streams = log.read();
                match start {
                    AllStart::Start(()) => (0, (0, 0)),
                    AllStart::End(()) => {
                        (streams.all().len(), streams.all().last().map_or((0, 0), |last| position_pair(last)))
                    }
                    AllStart::Position(position) => {
                        let after = checked_position(&streams, position)
                            .ok_or_else(|| Status::invalid_argument("Trying to read from an invalid position."))?;
                        (streams.all().partition_point(|event| position_pair(event) <= after), after)
                    }
                }
            };
            match filter {
                Some(filter) => subscribe_filtered(log, ends, next, after, &filter, out).await,
                None => subscribe(log, ends, SubscriptionCursor::All { next, after }, out).await,
            }
        }
    }
}

/// The whole log as the target of a call.
fn whole_log_from(start: &AllStart) -> &'static str {
    match start {
        AllStart::Start(()) => "$all from its start",
        AllStart::Position(_) | AllStart::End(()) => "$all",
    }
}

async fn read_stream(
    log: &Log,
    name: String,
    start: StreamStart,
    is_forwards: bool,
    count: u64,
    compatibility: u32,
    out: &AnswerSender,
) -> Result<(), Status> {
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let made_up = match name.as_str() {
        SEARCHED_STREAM => Some(searched_count().to_string()),
        CALLS_STREAM => Some(last_calls()),
        _ => None,
    };
    if let Some(data) = made_up {
        return out.send_event(&EventRecord::made_up(name, data)).await;
    }
    let found = match log.read().find(&name) {
        StreamLookup::Tombstoned => return Err(stream_deleted(&name)),
        StreamLookup::Missing => None,
        StreamLookup::Present(stream) => {
            let shown = stream.visible_events();
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
    filter: Option<&ReadFilter>,
    out: &AnswerSender,
) -> Result<(), Status> {
    // A read forwards includes the event at the position; a read backwards begins before it.
    let mut index = {
        let streams = log.read();
        match start {
            AllStart::Start(()) => 0,
            AllStart::End(()) => streams.all().len(),
            AllStart::Position(position) => {
                let position = checked_position(&streams, position).ok_or_else(|| {
                    // The error of a read has other words than that of a subscription.
                    let filtered = if filter.is_some() { "Filtered" } else { "" };
                    Status::unknown(format!("Unexpected {filtered}ReadAllResult: InvalidPosition"))
                })?;
                streams.all().partition_point(|event| position_pair(event) < position)
            }
        }
    };
    // A server stops a read whose client has gone, also where the read finds nothing to send.
    while count > 0 && !out.messages.is_closed() {
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
            charge_search(log, page.len()).await;
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

/// The place of a subscription.
#[derive(Debug)]
enum SubscriptionCursor {
    Stream {
        name: String,
        /// The revision of the next event to send.
        next: u64,
    },
    All {
        /// The index of the next event to send.
        next: usize,
        /// Events up to this position are left out, even those that are still to be written.
        after: (u64, u64),
    },
}

impl SubscriptionCursor {
    /// The place, for the messages about it.
    fn point(&self, streams: &AllStreams) -> PointReached {
        match self {
            Self::Stream { next, .. } => {
                let stream_revision = next.checked_sub(1).map(u64::cast_signed);
                PointReached { timestamp: Some(now()), stream_revision, position: None }
            }
            Self::All { next, .. } => {
                point_reached(next.checked_sub(1).map_or((0, 0), |last| position_pair(&streams.all()[last])))
            }
        }
    }

    /// The next events, if there are any. The cursor moves past them.
    fn next_page(&mut self, streams: &AllStreams) -> Result<Vec<Arc<EventRecord>>, Status> {
        match self {
            Self::Stream { name, next } => match streams.find(name) {
                StreamLookup::Tombstoned => Err(stream_deleted(name)),
                StreamLookup::Missing => Ok(Vec::new()),
                StreamLookup::Present(stream) => {
                    let shown = stream.visible_events();
                    let from = shown.partition_point(|event| event.revision < *next);
                    let page: Vec<_> = shown[from..].iter().take(PAGE_EVENTS).cloned().collect();
                    *next = page.last().map_or(*next, |event| event.revision + 1);
                    Ok(page)
                }
            },
            Self::All { next, after } => {
                let page = streams.all()[*next..].iter().take(PAGE_EVENTS);
                let page: Vec<_> =
                    page.inspect(|_| *next += 1).filter(|event| position_pair(event) > *after).cloned().collect();
                Ok(page)
            }
        }
    }
}

/// Sends the events that are there and those that come, until the client goes or the stream is
/// deleted for good. Ends without an error only when `ends` changes.
async fn subscribe(
    log: &Log,
    mut ends: watch::Receiver<()>,
    mut cursor: SubscriptionCursor,
    out: &AnswerSender,
) -> Result<(), Status> {
    let mut grown = log.growth();
    out.send_confirmation().await?;
    let mut is_live = false;
    loop {
        grown.borrow_and_update();
        let (reached, page) = {
            let streams = log.read();
            (cursor.point(&streams), cursor.next_page(&streams)?)
        };
        if page.is_empty() {
            if !is_live {
                is_live = true;
                out.send(ReadContent::CaughtUp(reached)).await?;
            }
            if !wait_for_more(&mut grown, &mut ends, out).await? {
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

/// As [`subscribe`], to the events that a filter lets pass, with the checkpoints that the server
/// sends.
///
/// While the subscription catches up, it reads pages. A page ends when the filter has looked at a
/// window of events, or has found enough of them. The checkpoint is the position of the last event
/// found; where none was found, it is the place at which the page began, with a prepare position of
/// 0. It is sent when at least an interval of events was looked at, and at the end. A live
/// subscription sends it after each interval, with the position of the last event.
async fn subscribe_filtered(
    log: &Log,
    mut ends: watch::Receiver<()>,
    mut next: usize,
    after: (u64, u64),
    filter: &ReadFilter,
    out: &AnswerSender,
) -> Result<(), Status> {
    let mut grown = log.growth();
    out.send_confirmation().await?;
    let (mut checkpoint, mut sent) = (after, (0, 0));
    loop {
        let (mut looked_at, mut page_start) = (0, checkpoint);
        while !out.messages.is_closed() {
            let page = filter.page(&log.read(), next);
            next += page.len();
            charge_search(log, page.len()).await;
            for event in page.iter().filter(|event| filter.matches(event) && position_pair(event) > checkpoint) {
                out.send_event(event).await?;
            }
            let found = page.iter().filter(|event| filter.matches(event)).map(|event| position_pair(event)).max();
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
        out.send(ReadContent::CaughtUp(point_reached(checkpoint))).await?;
        looked_at = 0;
        loop {
            grown.borrow_and_update();
            let page = log.read().all()[next..].to_vec();
            if page.len() > LIVE_EVENTS_MAX {
                out.send(ReadContent::FellBehind(point_reached(checkpoint))).await?;
                out.send_checkpoint(checkpoint, &mut sent).await?;
                break;
            }
            if page.is_empty() && !wait_for_more(&mut grown, &mut ends, out).await? {
                return Ok(());
            }
            for event in &page {
                if position_pair(event) <= checkpoint {
                    continue;
                }
                if filter.matches(event) {
                    out.send_event(event).await?;
                    checkpoint = position_pair(event);
                }
                looked_at += 1;
                if looked_at == filter.checkpoint_interval {
                    looked_at = 0;
                    checkpoint = position_pair(event);
                    out.send_checkpoint(checkpoint, &mut sent).await?;
                }
            }
            next += page.len();
        }
    }
}

/// Waits for more events. Answers false where the subscription must end without an error.
async fn wait_for_more(
    grown: &mut watch::Receiver<()>,
    ends: &mut watch::Receiver<()>,
    out: &AnswerSender,
) -> Result<bool, Status> {
    tokio::select! {
        changed = grown.changed() => changed.map(|()| true).map_err(|_| Status::unavailable("the server ends")),
        Ok(()) = ends.changed() => Ok(false),
        () = out.messages.closed() => Err(Status::cancelled("the client has gone")),
    }
}

/// A position as a pair, where a read may begin there: at the start, at an event, or beyond the
/// end.
fn checked_position(streams: &AllStreams, position: Position) -> Option<(u64, u64)> {
    let Position { commit_position, prepare_position } = position;
    let all = streams.all();
    let is_known = commit_position == 0
        || all.last().is_none_or(|last| last.position < commit_position)
        || all.binary_search_by_key(&commit_position, |event| event.position).is_ok();
    is_known.then_some((commit_position, prepare_position))
}

/// An event's commit and prepare position, which are compared in this order.
fn position_pair(event: &EventRecord) -> (u64, u64) {
    (event.position, event.position)
}

fn point_reached((commit_position, prepare_position): (u64, u64)) -> PointReached {
    let position = Some(Position { commit_position, prepare_position });
    PointReached { timestamp: Some(now()), stream_revision: None, position }
}

/// Sends the messages of an answer.
#[derive(Debug)]
struct AnswerSender {
    messages: mpsc::Sender<Result<ReadResp, Status>>,
    uuid_as_text: bool,
    pace: Option<Pace>,
}

impl AnswerSender {
    async fn send(&self, content: ReadContent) -> Result<(), Status> {
        let message = Ok(ReadResp { content: Some(content) });
        self.messages.send(message).await.map_err(|_| Status::cancelled("the client has gone"))
    }

    async fn send_event(&self, event: &EventRecord) -> Result<(), Status> {
        if let Some(pace) = &self.pace {
            pace.wait().await;
        }
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

    /// Sends a checkpoint, unless it was sent before.
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
