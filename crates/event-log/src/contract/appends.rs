//! Promises about appends.

use domain::Stream;
use futures::future::join_all;

use crate::{
    APPEND_EVENTS_MAX, AppendError, AppendReceipt,
    ExpectedRevision::{self, Exact, NoStream},
    NewEvent, RecordedEvent, SharedLog,
};

use super::{
    BrokenPromise, ensure,
    run::{ContractRun, read_all},
};

/// Appends events that must conflict, and answers the actual revision that the store tells.
async fn conflict(
    log: &SharedLog,
    stream: &Stream,
    expected: ExpectedRevision,
    events: Vec<NewEvent>,
) -> Result<ExpectedRevision, BrokenPromise> {
    match log.append(stream, expected, events).await {
        Err(AppendError::Conflict { stream: named, expected: meant, actual }) => {
            ensure!(named == *stream && meant == expected, "a conflict on {stream} names {named} and {meant:?}");
            Ok(actual)
        }
        Err(other) => Err(other.into()),
        Ok(_) => Err(BrokenPromise(format!("an append to {stream} at {expected:?} succeeded"))),
    }
}

pub(super) async fn revisions(run: &ContractRun) -> Result<(), BrokenPromise> {
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

pub(super) async fn atomic(run: &ContractRun) -> Result<(), BrokenPromise> {
    let (log, stream) = (run.log(), run.stream().await?);
    let events = run.some_events(APPEND_EVENTS_MAX);
    let appended = log.append(&stream, NoStream, events.clone()).await?;
    ensure!(appended.events.len() == events.len(), "{} of {} events answered", appended.events.len(), events.len());
    conflict(log, &stream, NoStream, run.some_events(3)).await?;
    conflict(log, &stream, Exact(APPEND_EVENTS_MAX as u64), run.some_events(3)).await?;
    let read = log.read_stream(&stream, 0, 2 * APPEND_EVENTS_MAX).await?;
    same_events(&stream, 0, &events, &appended, &read)
}

/// Checks that the events read are those appended, as the append was answered.
fn same_events(
    stream: &Stream,
    first_revision: u64,
    events: &[NewEvent],
    appended: &AppendReceipt,
    read: &[RecordedEvent],
) -> Result<(), BrokenPromise> {
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

pub(super) async fn repeats(run: &ContractRun) -> Result<(), BrokenPromise> {
    let (log, stream) = (run.log(), run.stream().await?);
    let events = run.some_events(3);
    let first = log.append(&stream, NoStream, events.clone()).await?;
    let again = |answer: AppendReceipt| {
        let expected = AppendReceipt { repeated: true, ..first.clone() };
        if answer == expected { Ok(()) } else { Err(BrokenPromise(format!("first {first:?}, then {answer:?}"))) }
    };
    again(log.append(&stream, NoStream, events.clone()).await?)?;
    log.append(&stream, Exact(2), run.some_events(2)).await?;
    // By another process as well, and after the stream has moved on.
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

    // Several tries of one append at the same time, as a client that has timed out makes them.
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

pub(super) async fn counts(run: &ContractRun) -> Result<(), BrokenPromise> {
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

pub(super) async fn bytes(run: &ContractRun) -> Result<(), BrokenPromise> {
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
