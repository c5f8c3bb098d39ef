//! The promise about load: many writers and followers at once.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use domain::{Stream, identifier::EventId};
use futures::stream::BoxStream;
use tokio::{sync::watch, task::JoinHandle};

use crate::{
    AppendError,
    ExpectedRevision::{Exact, NoStream},
    FollowerItem, LogError, NewEvent, RecordedEvent, SharedLog,
};

use super::{
    BrokenPromise, ensure,
    following::next,
    order::find_disorder,
    run::{ContractRun, read_all},
};

/// Concurrent writers. Half of them share [`LOAD_HOT_STREAMS`]; the others have a stream each.
const LOAD_WRITERS: usize = 64;
const LOAD_HOT_STREAMS: usize = 4;

/// Appends of each writer. They have one, two and three events in turn.
const LOAD_APPENDS: usize = 30;

/// The event id, stream, revision, position and recorded time of an event that was acknowledged.
type AcknowledgedEvent = (EventId, Stream, u64, u64, DateTime<Utc>);

pub(super) async fn load(run: &ContractRun) -> Result<(), BrokenPromise> {
    let start = run.log().head().await?;
    let mut hot = Vec::new();
    for _ in 0..LOAD_HOT_STREAMS {
        hot.push(run.stream().await?);
    }
    let (done, _) = watch::channel(0);
    // Half of the followers join when half of the appends are done.
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
        writers.push(AbortingTask::spawn(write(run.handle(number).clone(), stream, appends, progress.clone())));
    }
    drop(progress);
    // A writer that fails ends the wait as well. Its error is reported below.
    drop(half_done.wait_for(|appends| *appends >= half).await);
    let middle = run.log().head().await?;
    followers.push((start, collect(run.log().follow_all(start), done.subscribe())));
    followers.push((middle, collect(run.other_log().follow_all(middle), done.subscribe())));

    let mut acknowledged = Vec::new();
    for writer in writers {
        acknowledged.extend(writer.join().await?);
    }
    acknowledged.sort_unstable_by_key(|event| event.3);
    let end = acknowledged.last().map_or(start, |event| event.3);
    done.send_replace(end);

    let read = read_all(run.log(), start).await?;
    compare("read", start, &read, &acknowledged)?;
    for (after, follower) in followers {
        compare("followed", after, &follower.join().await?, &acknowledged)?;
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

/// A task that is aborted when it is dropped: a run that is given up must leave no writer behind.
struct AbortingTask<T>(JoinHandle<Result<T, BrokenPromise>>);

impl<T: Send + 'static> AbortingTask<T> {
    fn spawn(work: impl Future<Output = Result<T, BrokenPromise>> + Send + 'static) -> Self {
        Self(tokio::spawn(work))
    }

    async fn join(mut self) -> Result<T, BrokenPromise> {
        (&mut self.0).await.map_err(|error| BrokenPromise(error.to_string()))?
    }
}

impl<T> Drop for AbortingTask<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Appends one after the other. After a conflict it appends at the actual revision.
async fn write(
    log: SharedLog,
    stream: Stream,
    appends: Vec<Vec<NewEvent>>,
    progress: watch::Sender<usize>,
) -> Result<Vec<AcknowledgedEvent>, BrokenPromise> {
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

/// Follows until the position that `done` will hold.
fn collect(
    mut follower: BoxStream<'static, Result<FollowerItem, LogError>>,
    mut done: watch::Receiver<u64>,
) -> AbortingTask<Vec<RecordedEvent>> {
    AbortingTask::spawn(async move {
        let mut seen: Vec<RecordedEvent> = Vec::new();
        let mut end = 0;
        while end == 0 || seen.last().map_or(0, |event| event.position) < end {
            tokio::select! {
                item = next(&mut follower) => {
                    if let FollowerItem::Events(events) = item? {
                        seen.extend(events);
                    }
                }
                Ok(()) = done.changed() => end = *done.borrow(),
            }
        }
        Ok(seen)
    })
}

/// Checks that the events seen after a position are in order and, in these streams, are those
/// acknowledged.
fn compare(
    how: &str,
    after: u64,
    seen: &[RecordedEvent],
    acknowledged: &[AcknowledgedEvent],
) -> Result<(), BrokenPromise> {
    if let Some(disorder) = find_disorder(seen) {
        return Err(BrokenPromise(format!("{how} after {after}: {disorder}")));
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
