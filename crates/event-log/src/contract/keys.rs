//! Promises about idempotency keys.

use domain::identifier::CommandId;
use futures::future::join_all;
use uuid::Uuid;

use crate::{
    AppendError,
    ExpectedRevision::{Exact, NoStream},
    KeySpending, NewEvent, SharedLog, SpentKey,
};

use super::{
    BrokenPromise, ensure,
    run::{ContractRun, now},
};

/// Requests that are sent at once with one key.
const REQUESTS_AT_ONCE: usize = 8;

fn new_key() -> CommandId {
    CommandId(Uuid::new_v4())
}

/// An event of a command that came with a key.
fn event_of(run: &ContractRun, key: CommandId) -> Vec<NewEvent> {
    let mut event = run.event();
    event.metadata = format!(r#"{{"commandId":"{key}","schemaVersion":1}}"#).into();
    vec![event]
}

async fn ensure_before(log: &SharedLog, key: CommandId, spent: SpentKey) -> Result<(), BrokenPromise> {
    let found = log.spent_key(key).await?;
    ensure!(found.as_ref() == Some(&spent), "a key that was spent on {spent:?} is said to be spent on {found:?}");
    for request in ["another request", spent.request.as_str()] {
        let given = SpentKey { request: request.to_owned(), answer: Some("another answer".to_owned()) };
        let answer = log.spend_key(key, given, now()).await?;
        ensure!(answer == KeySpending::Before(spent.clone()), "for {request}, a key of {spent:?} is {answer:?}");
    }
    Ok(())
}

async fn ensure_taken(
    run: &ContractRun,
    log: &SharedLog,
    key: CommandId,
    spent: &SpentKey,
) -> Result<(), BrokenPromise> {
    let stream = run.stream().await?;
    let answer = log.append_with_key(&stream, NoStream, event_of(run, key), key).await;
    ensure!(
        matches!(&answer, Err(AppendError::KeyTaken { spent: said }) if said == spent),
        "an append with a key of {spent:?} is answered {answer:?}"
    );
    ensure!(log.read_stream(&stream, 0, 1).await?.is_empty(), "an append with a key of another made an event");
    Ok(())
}

pub(super) async fn one_request(run: &ContractRun) -> Result<(), BrokenPromise> {
    let (log, stream, key) = (run.log(), run.stream().await?, new_key());
    ensure!(log.spent_key(key).await?.is_none(), "a new key is said to be spent");
    let events = event_of(run, key);
    // An append that lost spends no key.
    let lost = log.append_with_key(&run.stream().await?, Exact(3), event_of(run, key), key).await;
    ensure!(matches!(lost, Err(AppendError::Conflict { .. })), "an append elsewhere is answered {lost:?}");
    let first = log.append_with_key(&stream, NoStream, events.clone(), key).await?;
    let own = SpentKey::on_stream(&stream);
    ensure_taken(run, log, key, &own).await?;
    ensure_before(log, key, own.clone()).await?;
    // Its own stream is not refused: that one knows its commands itself.
    let again = log.append_with_key(&stream, NoStream, events, key).await?;
    ensure!(again.repeated && again.events == first.events, "first {first:?}, then {again:?}");
    log.append_with_key(&stream, Exact(0), event_of(run, key), key).await?;
    // A process that begins now, or one that asks the log.
    let other = run.other_log();
    other.learn_keys().await?;
    ensure_taken(run, other, key, &own).await?;
    ensure_before(other, key, own).await
}

pub(super) async fn without_events(run: &ContractRun) -> Result<(), BrokenPromise> {
    let (log, key) = (run.log(), new_key());
    let spent = SpentKey { request: "a digest".to_owned(), answer: Some(r#"{"moved":[]}"#.to_owned()) };
    let answer = log.spend_key(key, spent.clone(), now()).await?;
    ensure!(answer == KeySpending::First, "the first use of a key is answered {answer:?}");
    ensure_before(log, key, spent.clone()).await?;
    ensure_taken(run, log, key, &spent).await?;
    let changed = SpentKey { answer: Some(r#"{"moved":["A1234BC"]}"#.to_owned()), ..spent.clone() };
    log.replace_answer(key, SpentKey { request: "another digest".to_owned(), ..changed.clone() }).await?;
    ensure_before(log, key, spent).await?;
    log.replace_answer(key, changed.clone()).await?;
    ensure_before(log, key, changed).await
}

pub(super) async fn at_once(run: &ContractRun) -> Result<(), BrokenPromise> {
    let (log, key) = (run.log(), new_key());
    let mut streams = Vec::new();
    for _ in 0..REQUESTS_AT_ONCE {
        streams.push(run.stream().await?);
    }
    let appends = streams.iter().map(|stream| log.append_with_key(stream, NoStream, event_of(run, key), key));
    let mut recorded = 0;
    for answer in join_all(appends).await {
        match answer {
            Ok(_) => recorded += 1,
            Err(AppendError::KeyTaken { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    ensure!(recorded == 1, "of {REQUESTS_AT_ONCE} streams, {recorded} recorded with one key");
    let spends = (0..REQUESTS_AT_ONCE).map(|number| {
        let spent = SpentKey { request: format!("request {number}"), answer: None };
        log.spend_key(key, spent, now())
    });
    for answer in join_all(spends).await {
        ensure!(matches!(answer?, KeySpending::Before(_)), "a key of a stream was free for a request");
    }
    let mut events = 0;
    for stream in &streams {
        events += log.read_stream(stream, 0, 10).await?.len();
    }
    ensure!(events == 1, "{events} events were recorded with one key");
    Ok(())
}
