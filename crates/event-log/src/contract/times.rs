//! Promises about recorded times.

use chrono::{DateTime, TimeDelta, Utc};

use crate::ExpectedRevision::{Exact, NoStream};

use super::{
    BrokenPromise, ensure,
    order::find_disorder,
    run::{ContractRun, now, read_all},
};

pub(super) async fn recorded_times(run: &ContractRun) -> Result<(), BrokenPromise> {
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
    if let Some(disorder) = find_disorder(&read) {
        return Err(BrokenPromise(disorder));
    }
    let read: Vec<_> =
        read.iter().filter(|event| event.stream == stream).map(|event| (event.position, event.recorded_at)).collect();
    ensure!(read == answered, "answered {answered:?}, read {read:?}");
    Ok(())
}

pub(super) async fn instants(run: &ContractRun) -> Result<(), BrokenPromise> {
    let (one, other) = (run.stream().await?, run.stream().await?);
    // Later than all that was recorded before.
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
    // Every instant around the events of this promise, and some around the others.
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
