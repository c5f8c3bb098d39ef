//! Promises about reading.

use crate::ExpectedRevision::{Exact, NoStream};

use super::{
    BrokenPromise, ensure,
    order::find_disorder,
    run::{ContractRun, read_all},
};

pub(super) async fn order(run: &ContractRun) -> Result<(), BrokenPromise> {
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
    if let Some(disorder) = find_disorder(&read) {
        return Err(BrokenPromise(disorder));
    }
    let read: Vec<u64> =
        read.iter().filter(|event| streams.contains(&event.stream)).map(|event| event.position).collect();
    ensure!(read == answered, "answered positions {answered:?}, read {read:?}");
    Ok(())
}

pub(super) async fn stream_pages(run: &ContractRun) -> Result<(), BrokenPromise> {
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

pub(super) async fn log_pages(run: &ContractRun) -> Result<(), BrokenPromise> {
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

pub(super) async fn many(run: &ContractRun) -> Result<(), BrokenPromise> {
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
