//! The contract: what every store must hold, tried on a running one.
//!
//! Written once, for the tests of this repository and for an operator who wants to know of a server before trusting it.
//! A run tries each promise by itself and reports which held; it does not stop at the first that did not.
//!
//! Only for a store that holds nothing of value: a run leaves streams of made-up prisoner numbers behind, with events
//! that no other part of the ledger can read.
//!
//! To add a promise: write an `async fn(&Run) -> Result<(), Broken>` below, and give it its sentence in [`check`].

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    Stream,
    identifier::{CommandId, EventId},
};
use futures::{
    FutureExt as _, StreamExt as _,
    future::{BoxFuture, join_all},
    stream::BoxStream,
};
use tokio::{sync::watch, task::JoinHandle, time::timeout};
use uuid::Uuid;

use crate::{
    APPEND_EVENTS_MAX, AppendError, Appended,
    ExpectedRevision::{self, Exact, NoStream},
    FOLLOW_POLL_INTERVAL, Followed, LogError, NewEvent, RecordedEvent, SharedLog, error_chain,
};

/// How long one promise may take to try; one that takes longer is not held.
const PROMISE_TIME_MAX: Duration = Duration::from_secs(120);

/// How long a follower may leave an event that is there unseen.
const FOLLOW_TIME_MAX: Duration = Duration::from_secs(20);

/// Concurrent writers under load: one half on [`LOAD_HOT_STREAMS`], the other each on its own stream.
const LOAD_WRITERS: usize = 64;
const LOAD_HOT_STREAMS: usize = 4;
/// Appends of each writer; they have one, two and three events in turn.
const LOAD_APPENDS: usize = 30;

/// The outcome of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Every promise tried, in order.
    pub promises: Vec<Promise>,
}

impl Report {
    /// Whether every promise held.
    #[must_use]
    pub fn held(&self) -> bool {
        self.promises.iter().all(|promise| promise.broken.is_none())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for promise in &self.promises {
            match &promise.broken {
                None => writeln!(f, "held      {}", promise.name)?,
                Some(reason) => writeln!(f, "NOT HELD  {}: {reason}", promise.name)?,
            }
        }
        Ok(())
    }
}

/// One promise, tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Promise {
    /// What is promised, as a sentence.
    pub name: &'static str,
    /// Why it did not hold; absent where it did.
    pub broken: Option<String>,
}

/// Tries every promise. `handles` are one or more ways to the same store, as several processes would have. `run` tells
/// runs apart: streams and event ids are derived from it.
///
/// # Panics
/// Where `handles` is empty.
pub async fn check(handles: &[SharedLog], run: Uuid) -> Report {
    assert!(!handles.is_empty(), "a store to try is needed");
    let run = Run { handles: handles.to_vec(), id: run, streams: AtomicU64::new(0), events: AtomicUsize::new(0) };
    let promises = vec![
        hold(
            "an append succeeds at the expected revision only, and a conflict says the actual one",
            revisions(&run).boxed(),
        ),
        hold("the events of an append stand together or not at all", atomic(&run).boxed()),
        hold("the same append again gets the first answer again", repeats(&run).boxed()),
        hold("an append of no events, or of too many, is refused", counts(&run).boxed()),
        hold("metadata and data come back byte for byte", bytes(&run).boxed()),
        hold("positions rise in the order of the answers, and the log reads in their order", order(&run).boxed()),
        hold("a stream reads from any revision, with a limit", stream_pages(&run).boxed()),
        hold("the log reads from any position, with a limit", log_pages(&run).boxed()),
        hold("streams read together come in the order asked; one that does not exist is empty", many(&run).boxed()),
        hold(
            "recorded time never runs backwards in a stream, and is answered as it is kept",
            recorded_times(&run).boxed(),
        ),
        hold("what was known at an instant ends before the first event recorded later", instants(&run).boxed()),
        hold(
            "a follower starts anywhere, sees everything after it, and says when it has caught up",
            follows(&run).boxed(),
        ),
        hold("a waiting follower is woken at once, whoever appends", woken(&run).boxed()),
        hold("under concurrent load nothing is lost, doubled, reordered or skipped", load(&run).boxed()),
    ];
    let mut report = Report { promises: Vec::with_capacity(promises.len()) };
    // One after the other: they would share positions and the machine, and a reason should be the promise's own.
    for promise in promises {
        report.promises.push(promise.await);
    }
    report
}

/// What is wrong with events that should be the whole log, or the whole of it after some position, in order; none where
/// nothing is.
#[must_use]
pub fn disorder(events: &[RecordedEvent]) -> Option<String> {
    let mut ids = HashSet::new();
    let mut last_of_streams: BTreeMap<&Stream, &RecordedEvent> = BTreeMap::new();
    let mut last: Option<&RecordedEvent> = None;
    for event in events {
        if let Some(last) = last
            && event.position <= last.position
        {
            return Some(format!("position {} follows position {}", event.position, last.position));
        }
        if !ids.insert(event.event_id) {
            return Some(format!("event {} stands twice, again at position {}", event.event_id, event.position));
        }
        let RecordedEvent { position, stream, revision, .. } = event;
        if let Some(before) = last_of_streams.insert(stream, event) {
            let next = before.revision + 1;
            if next != *revision {
                return Some(format!(
                    "revision {revision} of {stream} stands at position {position}, where {next} was next"
                ));
            }
            if event.recorded_at < before.recorded_at {
                return Some(format!("recorded time of {stream} runs backwards at position {position}"));
            }
        }
        last = Some(event);
    }
    None
}

/// Where recorded time runs backwards along the log, all streams together. A store with one writer at a time, as that in
/// Postgres, promises that it never does.
#[must_use]
pub fn backwards(events: &[RecordedEvent]) -> Option<u64> {
    events.windows(2).find(|pair| pair[1].recorded_at < pair[0].recorded_at).map(|pair| pair[1].position)
}

/// Why a promise did not hold.
struct Broken(String);

impl From<AppendError> for Broken {
    fn from(error: AppendError) -> Self {
        Self(error_chain(&error))
    }
}

impl From<LogError> for Broken {
    fn from(error: LogError) -> Self {
        Self(error_chain(&error))
    }
}

/// Leaves with a reason unless a condition holds.
macro_rules! ensure {
    ($condition:expr, $($reason:tt)+) => {
        if !$condition {
            return Err(Broken(format!($($reason)+)));
        }
    };
}

async fn hold(name: &'static str, trial: BoxFuture<'_, Result<(), Broken>>) -> Promise {
    let broken = match timeout(PROMISE_TIME_MAX, trial).await {
        Ok(Ok(())) => None,
        Ok(Err(Broken(reason))) => Some(reason),
        Err(_) => Some(format!("not done after {} s", PROMISE_TIME_MAX.as_secs())),
    };
    Promise { name, broken }
}

/// One run of the contract.
struct Run {
    handles: Vec<SharedLog>,
    id: Uuid,
    /// Streams tried so far.
    streams: AtomicU64,
    /// Events made so far.
    events: AtomicUsize,
}

impl Run {
    fn log(&self) -> &SharedLog {
        &self.handles[0]
    }

    /// Another way to the store where there is one.
    fn other_log(&self) -> &SharedLog {
        &self.handles[self.handles.len() - 1]
    }

    fn handle(&self, number: usize) -> &SharedLog {
        &self.handles[number % self.handles.len()]
    }

    /// A stream that does not exist yet.
    async fn stream(&self) -> Result<Stream, Broken> {
        loop {
            let stream = made_up_stream(self.id, self.streams.fetch_add(1, Ordering::Relaxed));
            // Another run on this store may have used the number.
            if self.log().read_stream(&stream, 0, 1).await?.is_empty() {
                return Ok(stream);
            }
        }
    }

    fn event(&self) -> NewEvent {
        let number = self.events.fetch_add(1, Ordering::Relaxed);
        made_up_event(CommandId(self.id).event_id(number), now())
    }

    fn some_events(&self, count: usize) -> Vec<NewEvent> {
        (0..count).map(|_| self.event()).collect()
    }
}

#[expect(clippy::disallowed_methods, reason = "the contract makes events, as a recorder does")]
fn now() -> DateTime<Utc> {
    Utc::now()
}

/// Stream number `number` of a run, of some 175 million.
#[must_use]
pub fn made_up_stream(run: Uuid, number: u64) -> Stream {
    const NUMBERS: u64 = 26 * 10_000 * 26 * 26;
    // Runs start at places spread over all numbers and count up from there, so that one run never meets itself.
    let mut rest = ((run.as_u128() % u128::from(NUMBERS)) as u64 + number) % NUMBERS;
    let mut letter = || {
        let letter = char::from(b'A' + (rest % 26) as u8);
        rest /= 26;
        letter
    };
    let (first, second, third) = (letter(), letter(), letter());
    let number = format!("{first}{rest:04}{second}{third}");
    Stream::Prisoner(number.parse().expect("made in the format of a prisoner number"))
}

/// An event of no meaning.
#[must_use]
pub fn made_up_event(event_id: EventId, recorded_at: DateTime<Utc>) -> NewEvent {
    NewEvent {
        event_id,
        type_name: "ContractTried".to_owned(),
        recorded_at,
        metadata: r#"{"schemaVersion":1}"#.into(),
        data: format!(r#"{{"eventId":"{event_id}"}}"#).into(),
    }
}

/// Appends events that must be refused, and answers where the store says that the stream is.
async fn conflict(
    log: &SharedLog,
    stream: &Stream,
    expected: ExpectedRevision,
    events: Vec<NewEvent>,
) -> Result<ExpectedRevision, Broken> {
    match log.append(stream, expected, events).await {
        Err(AppendError::Conflict { stream: named, expected: meant, actual }) => {
            ensure!(named == *stream && meant == expected, "a conflict on {stream} names {named} and {meant:?}");
            Ok(actual)
        }
        Err(other) => Err(other.into()),
        Ok(_) => Err(Broken(format!("an append to {stream} at {expected:?} succeeded"))),
    }
}

async fn revisions(run: &Run) -> Result<(), Broken> {
    let (log, stream) = (run.log(), run.stream().await?);
    for expected in [Exact(0), Exact(4)] {
        let actual = conflict(log, &stream, expected, run.some_events(1)).await?;
        ensure!(actual == NoStream, "a stream that does not exist is said to be at {actual:?}");
    }
    let first = log.append(&stream, NoStream, run.some_events(2)).await?;
    ensure!(first.revision == 1, "two first events end at revision {}", first.revision);
    for expected in [NoStream, Exact(0), Exact(2), Exact(u64::MAX)] {
        let actual = conflict(log, &stream, expected, run.some_events(1)).await?;
        ensure!(actual == Exact(1), "a stream at revision 1 is said to be at {actual:?}");
    }
    let second = run.other_log().append(&stream, Exact(1), run.some_events(1)).await?;
    ensure!(second.revision == 2, "the third event is at revision {}", second.revision);
    ensure!(!first.repeated && !second.repeated, "a first append is said to be a repeat");
    Ok(())
}

async fn atomic(run: &Run) -> Result<(), Broken> {
    let (log, stream) = (run.log(), run.stream().await?);
    let events = run.some_events(APPEND_EVENTS_MAX);
    let appended = log.append(&stream, NoStream, events.clone()).await?;
    ensure!(appended.events.len() == events.len(), "{} of {} events answered", appended.events.len(), events.len());
    conflict(log, &stream, NoStream, run.some_events(3)).await?;
    conflict(log, &stream, Exact(APPEND_EVENTS_MAX as u64), run.some_events(3)).await?;
    let read = log.read_stream(&stream, 0, 2 * APPEND_EVENTS_MAX).await?;
    same_events(&stream, 0, &events, &appended, &read)
}

/// Whether the events read are those appended, as answered.
fn same_events(
    stream: &Stream,
    first_revision: u64,
    events: &[NewEvent],
    appended: &Appended,
    read: &[RecordedEvent],
) -> Result<(), Broken> {
    ensure!(read.len() == events.len(), "{} events stand in {stream}, of {} appended", read.len(), events.len());
    for (index, (event, (read, &(position, recorded_at)))) in
        events.iter().zip(read.iter().zip(&appended.events)).enumerate()
    {
        let expected = RecordedEvent {
            position,
            stream: stream.clone(),
            revision: first_revision + index as u64,
            event_id: event.event_id,
            type_name: event.type_name.clone(),
            recorded_at,
            metadata: event.metadata.clone(),
            data: event.data.clone(),
        };
        ensure!(*read == expected, "appended {expected:?}, read {read:?}");
    }
    let last = read.last().map(|event| (event.revision, event.position));
    let answered = Some((appended.revision, appended.position));
    ensure!(last == answered, "the last event is at {last:?}, answered {answered:?}");
    Ok(())
}

async fn repeats(run: &Run) -> Result<(), Broken> {
    let (log, stream) = (run.log(), run.stream().await?);
    let events = run.some_events(3);
    let first = log.append(&stream, NoStream, events.clone()).await?;
    let again = |answer: Appended| {
        let expected = Appended { repeated: true, ..first.clone() };
        if answer == expected { Ok(()) } else { Err(Broken(format!("first {first:?}, then {answer:?}"))) }
    };
    again(log.append(&stream, NoStream, events.clone()).await?)?;
    log.append(&stream, Exact(2), run.some_events(2)).await?;
    // Also by another process, and after the stream has moved on.
    again(run.other_log().append(&stream, NoStream, events.clone()).await?)?;

    let mut changed = events.clone();
    changed[2] = run.event();
    let mut turned = events.clone();
    turned.swap(0, 1);
    let mut longer = events.clone();
    longer.extend(run.some_events(3));
    for (what, events) in [
        ("other events", run.some_events(3)),
        ("events of which the last is another", changed),
        ("the same events in another order", turned),
        ("the same events and more", longer),
    ] {
        let actual = conflict(log, &stream, NoStream, events).await?;
        ensure!(actual == Exact(4), "{what}: a stream at revision 4 is said to be at {actual:?}");
    }
    let actual = conflict(log, &stream, Exact(0), events.clone()).await?;
    ensure!(actual == Exact(4), "the same events elsewhere: a stream at revision 4 is said to be at {actual:?}");

    // Two tries of one append at the same moment, as a client that lost patience makes them.
    let stream = run.stream().await?;
    let events = run.some_events(2);
    let tries = (0..8).map(|number| run.handle(number).append(&stream, NoStream, events.clone()));
    let mut answers = Vec::new();
    for answer in join_all(tries).await {
        answers.push(answer?);
    }
    let firsts = answers.iter().filter(|answer| !answer.repeated).count();
    ensure!(firsts == 1, "of 8 tries at a time, {firsts} are said to be the first");
    ensure!(answers.iter().all(|answer| answer.events == answers[0].events), "tries at a time differ: {answers:?}");
    let count = log.read_stream(&stream, 0, 100).await?.len();
    ensure!(count == 2, "8 tries of 2 events made {count}");
    Ok(())
}

async fn counts(run: &Run) -> Result<(), Broken> {
    let (log, stream) = (run.log(), run.stream().await?);
    for count in [0, APPEND_EVENTS_MAX + 1] {
        let answer = log.append(&stream, NoStream, run.some_events(count)).await;
        ensure!(
            matches!(answer, Err(AppendError::Count { count: said, .. }) if said == count),
            "an append of {count} events is answered {answer:?}"
        );
    }
    ensure!(log.read_stream(&stream, 0, 1).await?.is_empty(), "a refused append made events");
    Ok(())
}

async fn bytes(run: &Run) -> Result<(), Broken> {
    let (log, stream) = (run.log(), run.stream().await?);
    let start = log.head().await?;
    let long = format!(r#"{{"note":"{}"}}"#, "Ünïcödé ".repeat(20_000));
    let bodies = [
        "{}",
        r#"{"z":1,"a":2,"a":3}"#,
        "{ \"spaced\" :\t[ 1.0, 1, 1e0 ]\n}\n",
        r#"{"number":"9007199254740993","inexact":9007199254740993,"tiny":1e-400}"#,
        r#"{"nul":"\u0000","escaped":"\u00e9\/","plain":"é/","emoji":"👩‍👩‍👧","rtl":"שלום","bom":"\ufeff"}"#,
        r#"{"ключ":"значение","":null,"€uro":"\\u0000"}"#,
        &long,
    ];
    let mut events = run.some_events(2 * bodies.len());
    for (index, body) in bodies.iter().enumerate() {
        events[2 * index].data = (*body).to_owned().into();
        events[2 * index + 1].metadata = (*body).to_owned().into();
    }
    let appended = log.append(&stream, NoStream, events.clone()).await?;
    let last = appended.revision;
    same_events(&stream, 0, &events, &appended, &log.read_stream(&stream, 0, 100).await?)?;
    let paged = read_all(log, start).await?;
    let ours: Vec<_> = paged.into_iter().filter(|event| event.stream == stream && event.revision <= last).collect();
    same_events(&stream, 0, &events, &appended, &ours)
}

async fn order(run: &Run) -> Result<(), Broken> {
    let start = run.log().head().await?;
    let streams = [run.stream().await?, run.stream().await?, run.stream().await?];
    let mut answered = Vec::new();
    let mut expected = [NoStream; 3];
    for step in 0..30 {
        let which = step % streams.len();
        let events = run.some_events(1 + step % 2);
        let appended = run.handle(step).append(&streams[which], expected[which], events).await?;
        expected[which] = Exact(appended.revision);
        answered.extend(appended.events.iter().map(|event| event.0));
        let head = run.log().head().await?;
        ensure!(head >= appended.position, "the log ends at {head} after an answer of {}", appended.position);
    }
    ensure!(answered[0] > start, "an answer of position {} in a log that ended at {start}", answered[0]);
    ensure!(answered.is_sorted_by(|a, b| a < b), "positions answered do not rise: {answered:?}");
    let read = read_all(run.other_log(), start).await?;
    if let Some(disorder) = disorder(&read) {
        return Err(Broken(disorder));
    }
    let read: Vec<u64> =
        read.iter().filter(|event| streams.contains(&event.stream)).map(|event| event.position).collect();
    ensure!(read == answered, "answered positions {answered:?}, read {read:?}");
    Ok(())
}

/// The log after a position, to its end.
async fn read_all(log: &SharedLog, after: u64) -> Result<Vec<RecordedEvent>, Broken> {
    let mut events = Vec::new();
    let mut position = after;
    loop {
        let page = log.read_all(position, 1_000).await?;
        let Some(last) = page.last() else { return Ok(events) };
        position = last.position;
        events.extend(page);
    }
}

async fn stream_pages(run: &Run) -> Result<(), Broken> {
    let (log, stream) = (run.log(), run.stream().await?);
    ensure!(log.read_stream(&stream, 0, 10).await?.is_empty(), "a stream that does not exist has events");
    log.append(&stream, NoStream, run.some_events(7)).await?;
    for (from, limit, expected) in [
        (0, 100, 0..7),
        (0, 7, 0..7),
        (0, 3, 0..3),
        (3, 3, 3..6),
        (5, 100, 5..7),
        (6, 1, 6..7),
        (7, 9, 7..7),
        (99, 9, 0..0),
        (2, 0, 0..0),
    ] {
        let read: Vec<u64> = log.read_stream(&stream, from, limit).await?.iter().map(|event| event.revision).collect();
        let expected: Vec<u64> = expected.collect();
        ensure!(read == expected, "from revision {from}, at most {limit}: revisions {read:?} instead of {expected:?}");
    }
    Ok(())
}

async fn log_pages(run: &Run) -> Result<(), Broken> {
    let (log, stream) = (run.log(), run.stream().await?);
    let start = log.head().await?;
    log.append(&stream, NoStream, run.some_events(7)).await?;
    let events = read_all(log, start).await?;
    for event in &events {
        let found = log.event_at(event.position).await?;
        ensure!(found.as_ref() == Some(event), "at position {}: {found:?}", event.position);
    }
    ensure!(log.event_at(0).await?.is_none(), "an event stands at position 0");
    let whole: Vec<u64> = events.iter().map(|event| event.position).collect();
    ensure!(whole.len() >= 7, "{} events after 7 were appended", whole.len());
    for limit in [1, 2, 3, 7] {
        let mut paged = Vec::new();
        let mut position = start;
        while paged.len() < whole.len() {
            let page = log.read_all(position, limit).await?;
            ensure!(!page.is_empty() && page.len() <= limit, "a page of at most {limit} has {} events", page.len());
            position = page[page.len() - 1].position;
            paged.extend(page.iter().map(|event| event.position));
        }
        ensure!(paged.starts_with(&whole), "in pages of {limit}: {paged:?} instead of {whole:?}");
    }
    ensure!(log.read_all(start, 0).await?.is_empty(), "a page of at most 0 events has some");
    Ok(())
}

async fn many(run: &Run) -> Result<(), Broken> {
    let log = run.log();
    ensure!(log.read_streams(&[]).await?.is_empty(), "no streams asked, and some answered");
    let (one, none, two) = (run.stream().await?, run.stream().await?, run.stream().await?);
    // Written in turns, so that neither lies in one piece.
    for revision in 0..3 {
        let expected = if revision == 0 { NoStream } else { Exact(revision - 1) };
        log.append(&two, expected, run.some_events(1)).await?;
        log.append(&one, expected, run.some_events(1)).await?;
    }
    let asked = [two.clone(), none.clone(), one.clone(), none, two];
    let read = log.read_streams(&asked).await?;
    ensure!(read.len() == asked.len(), "{} streams asked, {} answered", asked.len(), read.len());
    for (stream, events) in asked.iter().zip(&read) {
        let alone = log.read_stream(stream, 0, 100).await?;
        ensure!(*events == alone, "{stream} read with others differs from {stream} read alone");
    }
    ensure!(read[0].len() == 3 && read[1].is_empty(), "{} and {} events", read[0].len(), read[1].len());
    // Up to each event's position, and one before it.
    for end in read[0].iter().chain(&read[2]).flat_map(|event| [event.position - 1, event.position]) {
        let to = log.read_streams_to(&asked, end).await?;
        for (all, events) in read.iter().zip(&to) {
            let expected: Vec<_> = all.iter().filter(|event| event.position <= end).collect();
            ensure!(events.iter().eq(expected), "to position {end} other events than those before it");
        }
    }
    Ok(())
}

async fn recorded_times(run: &Run) -> Result<(), Broken> {
    let (log, stream) = (run.log(), run.stream().await?);
    let now = now();
    let start = log.head().await?;
    let mut expected = NoStream;
    let mut answered = Vec::new();
    for (step, offset) in [0, 40, -3_600_000, 20, -1, 60].into_iter().enumerate() {
        let mut events = run.some_events(2);
        events[0].recorded_at = now + TimeDelta::milliseconds(offset);
        events[1].recorded_at = now + TimeDelta::milliseconds(offset - 500);
        let appended = run.handle(step).append(&stream, expected, events.clone()).await?;
        expected = Exact(appended.revision);
        for (event, (_, at)) in events.iter().zip(&appended.events) {
            let given = event.recorded_at.timestamp_micros();
            ensure!(at.timestamp_micros() >= given, "recorded at {at}, before the recorder's {}", event.recorded_at);
        }
        answered.extend(appended.events);
    }
    ensure!(answered.is_sorted_by_key(|event| event.1), "recorded times run backwards: {answered:?}");
    let read = read_all(run.other_log(), start).await?;
    if let Some(disorder) = disorder(&read) {
        return Err(Broken(disorder));
    }
    let read: Vec<_> =
        read.iter().filter(|event| event.stream == stream).map(|event| (event.position, event.recorded_at)).collect();
    ensure!(read == answered, "answered {answered:?}, read {read:?}");
    Ok(())
}

async fn instants(run: &Run) -> Result<(), Broken> {
    let (one, other) = (run.stream().await?, run.stream().await?);
    // Well ahead of all that was recorded before.
    let first = now() + TimeDelta::minutes(1);
    let mut expected = [NoStream; 2];
    for (step, offset) in [0, 30, 10, 10, 50, 40].into_iter().enumerate() {
        let mut events = run.some_events(2);
        for event in &mut events {
            event.recorded_at = first + TimeDelta::milliseconds(offset);
        }
        let stream = if step % 2 == 0 { &one } else { &other };
        let appended = run.handle(step).append(stream, expected[step % 2], events).await?;
        expected[step % 2] = Exact(appended.revision);
    }
    let events = read_all(run.log(), 0).await?;
    let mut instants: Vec<DateTime<Utc>> =
        events.iter().flat_map(|event| [event.recorded_at, event.recorded_at - TimeDelta::microseconds(1)]).collect();
    instants.sort_unstable();
    instants.dedup();
    // All around the events of this promise, and some of the others.
    let step = (instants.len() / 20).max(1);
    let some = instants.iter().copied().step_by(step).chain(instants.iter().rev().take(12).copied());
    for (number, instant) in some.chain([DateTime::UNIX_EPOCH, first + TimeDelta::days(1)]).enumerate() {
        let known = events.iter().take_while(|event| event.recorded_at <= instant);
        let expected = known.last().map_or(0, |last| last.position);
        let found = run.handle(number).position_at(instant).await?;
        ensure!(found == expected, "at {instant} the log is said to have ended at {found}, not at {expected}");
    }
    Ok(())
}

/// What a follower gives next, if it gives anything in good time.
async fn next(follower: &mut BoxStream<'static, Result<Followed, LogError>>) -> Result<Followed, Broken> {
    match timeout(FOLLOW_TIME_MAX, follower.next()).await {
        Ok(Some(item)) => Ok(item?),
        Ok(None) => Err(Broken("a follower ended without an error".to_owned())),
        Err(_) => Err(Broken(format!("a follower gave nothing for {} s", FOLLOW_TIME_MAX.as_secs()))),
    }
}

/// Follows up to, and with, a position. Answers the events seen and the position at which the follower first said that
/// it had caught up with at least that.
async fn follow_to(
    follower: &mut BoxStream<'static, Result<Followed, LogError>>,
    position: u64,
) -> Result<(Vec<RecordedEvent>, u64), Broken> {
    let mut seen: Vec<RecordedEvent> = Vec::new();
    loop {
        match next(follower).await? {
            Followed::Events(events) => {
                ensure!(!events.is_empty(), "a follower gave no events, as events");
                seen.extend(events);
            }
            Followed::CaughtUp { position: end } => {
                let last = seen.last().map_or(0, |event| event.position);
                ensure!(end >= last, "a follower that saw position {last} has caught up with {end}");
                if end >= position {
                    return Ok((seen, end));
                }
            }
        }
    }
}

async fn follows(run: &Run) -> Result<(), Broken> {
    let (log, stream) = (run.log(), run.stream().await?);
    let first = log.append(&stream, NoStream, run.some_events(5)).await?;
    let head = log.head().await?;
    let middle = first.events[2].0;
    let mut followers = Vec::new();
    for after in [0, middle, head] {
        let mut follower = log.follow_all(after);
        let (seen, end) = follow_to(&mut follower, head).await?;
        let read = read_all(run.other_log(), after).await?;
        ensure!(read.starts_with(&seen), "following after {after} differs from reading after {after}");
        ensure!(end >= head, "caught up with {end} where the log ends at {head}");
        if let Some(disorder) = disorder(&seen) {
            return Err(Broken(disorder));
        }
        followers.push(follower);
    }
    let second = run.other_log().append(&stream, Exact(first.revision), run.some_events(2)).await?;
    for follower in &mut followers {
        let (seen, _) = follow_to(follower, second.position).await?;
        let seen: Vec<u64> = seen.iter().filter(|event| event.stream == stream).map(|event| event.position).collect();
        let expected: Vec<u64> = second.events.iter().map(|event| event.0).collect();
        ensure!(seen == expected, "a follower that had caught up saw {seen:?} of {expected:?}");
    }
    Ok(())
}

async fn woken(run: &Run) -> Result<(), Broken> {
    let stream = run.stream().await?;
    let mut follower = run.log().follow_all(run.log().head().await?);
    let mut expected = NoStream;
    let mut waits = Vec::new();
    for step in 0..12 {
        let appended = run.handle(step).append(&stream, expected, run.some_events(1)).await?;
        let began = Instant::now();
        expected = Exact(appended.revision);
        let mut position = 0;
        while position < appended.position {
            if let Followed::Events(events) = next(&mut follower).await? {
                position = events.last().map_or(position, |event| event.position);
            }
        }
        waits.push(began.elapsed());
        // Until it waits again; the next append would else be found by looking, not by being woken.
        follow_to(&mut follower, appended.position).await?;
    }
    // The first may come before the store's way to wake the follower stands, and a machine may hiccup once.
    waits.sort_unstable();
    let slowest = waits[waits.len() - 3];
    ensure!(slowest < FOLLOW_POLL_INTERVAL / 4, "a waiting follower saw events after {waits:?}");
    Ok(())
}

/// Event id, stream, revision, position and recorded time, of an event that was acknowledged.
type Acknowledged = (EventId, Stream, u64, u64, DateTime<Utc>);

async fn load(run: &Run) -> Result<(), Broken> {
    let start = run.log().head().await?;
    let mut hot = Vec::new();
    for _ in 0..LOAD_HOT_STREAMS {
        hot.push(run.stream().await?);
    }
    let (done, _) = watch::channel(0);
    // Each of them takes what half of the writers' appends have: then half of the followers join.
    let half = LOAD_WRITERS * LOAD_APPENDS / 2;
    let (progress, mut half_done) = watch::channel(0_usize);

    let mut followers = vec![
        (start, collect(run.log().follow_all(start), done.subscribe())),
        (start, collect(run.other_log().follow_all(start), done.subscribe())),
    ];
    let mut writers = Vec::new();
    for number in 0..LOAD_WRITERS {
        let stream = match hot.get(number / 2 % LOAD_HOT_STREAMS) {
            Some(stream) if number % 2 == 0 => stream.clone(),
            _ => run.stream().await?,
        };
        let appends: Vec<Vec<NewEvent>> = (0..LOAD_APPENDS).map(|step| run.some_events(1 + step % 3)).collect();
        writers.push(Task::spawn(write(run.handle(number).clone(), stream, appends, progress.clone())));
    }
    drop(progress);
    // An error of a writer ends the wait as well, and is reported below.
    drop(half_done.wait_for(|appends| *appends >= half).await);
    let middle = run.log().head().await?;
    followers.push((start, collect(run.log().follow_all(start), done.subscribe())));
    followers.push((middle, collect(run.other_log().follow_all(middle), done.subscribe())));

    let mut acknowledged = Vec::new();
    for writer in writers {
        acknowledged.extend(writer.joined().await?);
    }
    acknowledged.sort_unstable_by_key(|event| event.3);
    let end = acknowledged.last().map_or(start, |event| event.3);
    done.send_replace(end);

    let read = read_all(run.log(), start).await?;
    compare("read", start, &read, &acknowledged)?;
    for (after, follower) in followers {
        compare("followed", after, &follower.joined().await?, &acknowledged)?;
    }
    let streams: Vec<Stream> =
        acknowledged.iter().map(|event| event.1.clone()).collect::<HashSet<_>>().into_iter().collect();
    for (stream, events) in streams.iter().zip(run.other_log().read_streams(&streams).await?) {
        let expected: Vec<_> = read.iter().filter(|event| event.stream == *stream).cloned().collect();
        ensure!(events == expected, "{stream} read by itself differs from {stream} in the log");
        ensure!(events[0].revision == 0, "{stream} begins at revision {}", events[0].revision);
    }
    Ok(())
}

/// A task that ends with whoever waits for it: a run that is given up leaves nobody behind who writes.
struct Task<T>(JoinHandle<Result<T, Broken>>);

impl<T: Send + 'static> Task<T> {
    fn spawn(work: impl Future<Output = Result<T, Broken>> + Send + 'static) -> Self {
        Self(tokio::spawn(work))
    }

    async fn joined(mut self) -> Result<T, Broken> {
        (&mut self.0).await.map_err(|error| Broken(error.to_string()))?
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Appends one after the other; where the stream has moved on, at where it is.
async fn write(
    log: SharedLog,
    stream: Stream,
    appends: Vec<Vec<NewEvent>>,
    progress: watch::Sender<usize>,
) -> Result<Vec<Acknowledged>, Broken> {
    let mut acknowledged = Vec::new();
    let mut expected = NoStream;
    for events in appends {
        let appended = loop {
            match log.append(&stream, expected, events.clone()).await {
                Ok(appended) => break appended,
                Err(AppendError::Conflict { actual, .. }) => {
                    ensure!(actual != expected, "a conflict at the expected revision {expected:?}");
                    expected = actual;
                }
                Err(error) => return Err(error.into()),
            }
        };
        ensure!(!appended.repeated, "a first append is said to be a repeat: {appended:?}");
        expected = Exact(appended.revision);
        let first = appended.revision + 1 - events.len() as u64;
        for ((event, revision), (position, at)) in events.into_iter().zip(first..).zip(appended.events) {
            acknowledged.push((event.event_id, stream.clone(), revision, position, at));
        }
        progress.send_modify(|appends| *appends += 1);
    }
    Ok(acknowledged)
}

/// Follows until the position that `done` will say.
fn collect(
    mut follower: BoxStream<'static, Result<Followed, LogError>>,
    mut done: watch::Receiver<u64>,
) -> Task<Vec<RecordedEvent>> {
    Task::spawn(async move {
        let mut seen: Vec<RecordedEvent> = Vec::new();
        let mut end = 0;
        while end == 0 || seen.last().map_or(0, |event| event.position) < end {
            tokio::select! {
                item = next(&mut follower) => {
                    if let Followed::Events(events) = item? {
                        seen.extend(events);
                    }
                }
                Ok(()) = done.changed() => end = *done.borrow(),
            }
        }
        Ok(seen)
    })
}

/// Whether the events seen after a position are in order and are, of the streams in question, those acknowledged.
fn compare(how: &str, after: u64, seen: &[RecordedEvent], acknowledged: &[Acknowledged]) -> Result<(), Broken> {
    if let Some(disorder) = disorder(seen) {
        return Err(Broken(format!("{how} after {after}: {disorder}")));
    }
    let streams: HashSet<&Stream> = acknowledged.iter().map(|event| &event.1).collect();
    let seen = seen.iter().filter(|event| streams.contains(&event.stream));
    let expected = acknowledged.iter().filter(|event| event.3 > after);
    let (mut seen_count, expected_count) = (0, expected.clone().count());
    for (seen, expected) in seen.zip(expected) {
        seen_count += 1;
        let found = (seen.event_id, seen.stream.clone(), seen.revision, seen.position, seen.recorded_at);
        ensure!(found == *expected, "{how} after {after}: acknowledged {expected:?}, found {found:?}");
    }
    ensure!(seen_count == expected_count, "{how} after {after}: {seen_count} of {expected_count} events");
    Ok(())
}
