//! Promises about followers (subscriptions).

use std::time::{Duration, Instant};

use futures::{StreamExt as _, stream::BoxStream};
use tokio::time::timeout;

use crate::{
    ExpectedRevision::{Exact, NoStream},
    FOLLOW_POLL_INTERVAL, FollowerItem, LogError, RecordedEvent,
};

use super::{
    BrokenPromise, ensure,
    order::find_disorder,
    run::{ContractRun, read_all},
};

/// How long a follower may take to give out an event that is recorded.
const FOLLOW_TIME_MAX: Duration = Duration::from_secs(20);

/// The next item of a follower; an error where none comes in time.
pub(super) async fn next(
    follower: &mut BoxStream<'static, Result<FollowerItem, LogError>>,
) -> Result<FollowerItem, BrokenPromise> {
    match timeout(FOLLOW_TIME_MAX, follower.next()).await {
        Ok(Some(item)) => Ok(item?),
        Ok(None) => Err(BrokenPromise("a follower ended without an error".to_owned())),
        Err(_) => Err(BrokenPromise(format!("a follower gave nothing for {} s", FOLLOW_TIME_MAX.as_secs()))),
    }
}

/// Follows up to a position, and including it. Answers the events, and the position at which the
/// follower first said that it had caught up with at least that.
async fn follow_to(
    follower: &mut BoxStream<'static, Result<FollowerItem, LogError>>,
    position: u64,
) -> Result<(Vec<RecordedEvent>, u64), BrokenPromise> {
    let mut seen: Vec<RecordedEvent> = Vec::new();
    loop {
        match next(follower).await? {
            FollowerItem::Events(events) => {
                ensure!(!events.is_empty(), "a follower gave no events, as events");
                seen.extend(events);
            }
            FollowerItem::CaughtUp { position: end } => {
                let last = seen.last().map_or(0, |event| event.position);
                ensure!(end >= last, "a follower that saw position {last} has caught up with {end}");
                if end >= position {
                    return Ok((seen, end));
                }
            }
        }
    }
}

pub(super) async fn follows(run: &ContractRun) -> Result<(), BrokenPromise> {
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
        if let Some(disorder) = find_disorder(&seen) {
            return Err(BrokenPromise(disorder));
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

pub(super) async fn wake_followers(run: &ContractRun) -> Result<(), BrokenPromise> {
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
            if let FollowerItem::Events(events) = next(&mut follower).await? {
                position = events.last().map_or(position, |event| event.position);
            }
        }
        waits.push(began.elapsed());
        // The follower must wait again, or it would find the next append by looking, not by being
        // woken.
        follow_to(&mut follower, appended.position).await?;
    }
    // The first may come before the store can wake the follower, and a busy machine may delay
    // several. A follower that is never woken would see each event at its next look.
    waits.sort_unstable();
    let median = waits[waits.len() / 2];
    ensure!(median < FOLLOW_POLL_INTERVAL / 2, "a waiting follower saw events after {waits:?}");
    Ok(())
}
