//! A server that the ledger shares with clients that write much. Their events are searched once,
//! whatever happens meanwhile, and no event of the ledger between them is missed.

use std::time::Duration;

use event_log::{
    AppendReceipt, EventLog as _,
    ExpectedRevision::{Exact, NoStream},
    FollowerItem, LogError, RecordedEvent,
};
use event_log_kurrentdb::KurrentLog;
use futures::{FutureExt as _, StreamExt as _, future::join_all, stream::BoxStream};
use kurrentdb::{AppendToStreamOptions, Client, EventData, StreamMetadata, StreamMetadataBuilder};
use serde_json::json;
use tokio::{task::JoinHandle, time::timeout};
use uuid::Uuid;

use super::{append_nine, client, contract_event, log, made_up_data, positions, stream};
use crate::support::{StandIn, eventually, log_at, server_name};

/// Foreign events in one append.
const BATCH_EVENTS: usize = 5_000;

/// The number of foreign events that a read may search again: a few times the number after which
/// the server reports its progress.
const AGAIN_MAX: u64 = 5_000;

/// Writes so many foreign events.
async fn write_foreign_events(client: &Client, events: usize) {
    let mut left = events;
    while left > 0 {
        let batch = left.min(BATCH_EVENTS);
        let events = vec![EventData::binary("Foreign", "of others".into()); batch];
        client.append_to_stream("accounts", &AppendToStreamOptions::default(), events).await.expect("write");
        left -= batch;
    }
}

async fn set(client: &Client, stream: &str, settings: StreamMetadata) {
    client.set_stream_metadata(stream, &AppendToStreamOptions::default(), &settings).await.expect("set");
}

/// Limits the number of events a second that the server filters. 0 removes the limit.
async fn slow_down(client: &Client, events_per_second: u64) {
    let rate = EventData::json("Rate", &json!(events_per_second)).expect("an event");
    client.append_to_stream("$stand-in-search-rate", &AppendToStreamOptions::default(), rate).await.expect("write");
}

/// A server with nine events of the ledger and so many foreign events after them, with a limit on
/// filtering. Returns the run of the ledger's events and the answer to their last append too.
async fn slow_server(others: usize, events_per_second: u64) -> (StandIn, Client, (Uuid, AppendReceipt)) {
    let server = StandIn::start();
    let client = client(&server);
    let ours = append_nine(&log(&server)).await;
    write_foreign_events(&client, others).await;
    slow_down(&client, events_per_second).await;
    (server, client, ours)
}

/// Starts a task that searches for the end of the log, and waits until the search has begun.
async fn start_search(log: &KurrentLog, client: &Client) -> JoinHandle<u64> {
    let (log, before) = (log.clone(), searched_count(client).await);
    let looking = tokio::spawn(async move { head(&log).await });
    eventually("a look at the log's end", async || (searched_count(client).await > before).then_some(())).await;
    looking
}

/// The number of events that the server has searched so far.
async fn searched_count(client: &Client) -> u64 {
    made_up_data(client, "$stand-in-searched").await.as_u64().expect("a number")
}

/// Waits until a call no longer makes the server search the foreign events.
async fn wait_until_cheap(client: &Client, what: &str, ask: impl AsyncFn()) {
    eventually(&format!("{what} to be cheap"), async || {
        let before = searched_count(client).await;
        ask().await;
        (searched_count(client).await - before < AGAIN_MAX).then_some(())
    })
    .await;
}

async fn next_events(follower: &mut BoxStream<'static, Result<FollowerItem, LogError>>) -> Vec<RecordedEvent> {
    loop {
        if let FollowerItem::Events(events) = follower.next().await.expect("no end").expect("no error") {
            return events;
        }
    }
}

async fn head(log: &KurrentLog) -> u64 {
    log.head().await.expect("the head")
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_events_are_searched_once() {
    let server = StandIn::start();
    let (writer, client) = (log(&server), client(&server));
    let (run, last) = append_nine(&writer).await;
    let last = last.position;
    write_foreign_events(&client, 200_000).await;

    // New processes, each with another first call: the first call searches everything, the next
    // ones do not.
    let reading = log(&server);
    wait_until_cheap(&client, "reading", async || assert_eq!(positions(&reading, last).await, [0; 0])).await;
    assert_eq!(head(&reading).await, last);
    let asking = log(&server);
    wait_until_cheap(&client, "the head", async || assert_eq!(head(&asking).await, last)).await;
    let following = log(&server);
    let mut follower = following.follow_all(last);
    assert_eq!(follower.next().await.map(Result::unwrap), Some(FollowerItem::CaughtUp { position: last }));
    wait_until_cheap(&client, "following", async || {
        let mut other = following.follow_all(last);
        assert_eq!(other.next().await.map(Result::unwrap), Some(FollowerItem::CaughtUp { position: last }));
    })
    .await;

    // Later events are found in order, and the foreign events between them are searched once too.
    let mut written = Vec::new();
    for number in 9..12 {
        let next = writer.append(&stream(run, 0), Exact(number - 7), vec![contract_event(run, number as usize)]).await;
        written.push(next.expect("append").position);
        write_foreign_events(&client, 20_000).await;
    }
    for log in [&reading, &asking, &following] {
        assert_eq!(positions(log, last).await, written);
        assert_eq!(head(log).await, written[2]);
        wait_until_cheap(&client, "reading after the last", async || {
            assert_eq!(positions(log, written[2]).await, [0; 0])
        })
        .await;
        wait_until_cheap(&client, "the head", async || assert_eq!(head(log).await, written[2])).await;
    }
    let mut followed = Vec::new();
    while followed.len() < 3 {
        followed.extend(next_events(&mut follower).await.into_iter().map(|event| event.position));
    }
    assert_eq!(followed, written);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_ledger_does_not_search_all_foreign_events_each_time() {
    let server = StandIn::start();
    let (log, client) = (log(&server), client(&server));
    write_foreign_events(&client, 50_000).await;
    wait_until_cheap(&client, "reading", async || assert_eq!(positions(&log, 0).await, [0; 0])).await;
    wait_until_cheap(&client, "the head", async || assert_eq!(head(&log).await, 0)).await;
    let (_, last) = append_nine(&log).await;
    assert_eq!(positions(&log, 0).await.len(), 9);
    assert_eq!(head(&log).await, last.position);
}

/// Another caller has been waiting for the end since before.
#[tokio::test(flavor = "multi_thread")]
async fn the_head_is_no_older_than_the_call_that_asks_for_it() {
    let (server, client, (run, _)) = slow_server(20_000, 10_000).await;
    let (writer, log) = (log(&server), log(&server));
    let before = searched_count(&client).await;
    let asking = start_search(&log, &client).await;
    let next = writer.append(&stream(run, 0), Exact(2), vec![contract_event(run, 9)]).await.expect("append");
    let asked = join_all((0..20).map(|_| head(&log))).await;
    assert_eq!(asked, vec![next.position; 20]);
    assert!(asking.await.expect("no panic") < next.position, "it had looked past the end before");
    let looked_through = searched_count(&client).await - before;
    // Both searches, and the subscription that begins at the end of the first.
    assert!(looked_through < 3 * 20_000 + AGAIN_MAX, "{looked_through}: each of them looked");
}

/// A caller waits for the searches of earlier callers, but only while they are of use.
#[tokio::test(flavor = "multi_thread")]
async fn a_search_for_the_end_starts_again_after_events_seen_meanwhile() {
    const TAKES: Duration = Duration::from_secs(20);
    const RATE: u64 = 5_000;
    let (server, client, (run, _)) = slow_server((TAKES.as_secs() * RATE) as usize, RATE).await;
    let log = log(&server);
    let asking = start_search(&log, &client).await;
    let next = log.append(&stream(run, 0), Exact(2), vec![contract_event(run, 9)]).await.expect("append");
    let found = timeout(TAKES / 2, head(&log)).await.expect("an end that was just seen");
    assert_eq!((found, asking.await.expect("no panic")), (next.position, next.position));
}

/// The server is silent for longer than a read may be.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_search_succeeds() {
    let (server, _client, (run, last)) = slow_server(60_000, 8_000).await;
    let writer = log(&server);
    let (reading, following) = (log(&server), log(&server));
    let mut follower = following.follow_all(last.position);
    let (read, followed) = tokio::join!(positions(&reading, last.position), follower.next());
    assert_eq!(read, [0; 0]);
    assert_eq!(followed.map(Result::unwrap), Some(FollowerItem::CaughtUp { position: last.position }));

    // A new process finds an event of the ledger behind them too.
    let next = writer.append(&stream(run, 0), Exact(2), vec![contract_event(run, 9)]).await.expect("append");
    assert_eq!(positions(&log(&server), last.position).await, [next.position]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_that_was_cut_off_continues_where_it_was() {
    const EVENTS: u64 = 100_000;
    const RATE: u64 = 10_000;
    let server = StandIn::start();
    let proxy = server.proxy();
    let (log, client) = (log_at(&proxy.url()), client(&server));
    let (_, last) = append_nine(&log).await;
    write_foreign_events(&client, EVENTS as usize).await;
    slow_down(&client, RATE).await;
    let reading = tokio::spawn({
        let log = log.clone();
        async move { log.read_all(last.position, 10).await }
    });
    // Five seconds of the read, and more than half of all events.
    eventually("a search", async || (searched_count(&client).await > 5 * RATE + EVENTS * 6 / 10).then_some(())).await;
    proxy.refuse();
    proxy.cut();
    let read = reading.await.expect("no panic");
    assert!(matches!(read, Err(LogError::Unavailable(_))), "{read:?}");

    proxy.pass();
    slow_down(&client, 0).await;
    let before = searched_count(&client).await;
    assert_eq!(positions(&log, last.position).await, [0; 0]);
    // The task that wakes followers may have searched the rest as well.
    let looked_through = searched_count(&client).await - before;
    assert!(looked_through < EVENTS * 9 / 10, "{looked_through}");
}

/// The caller that began the search may be busy with something else. Other callers must not wait
/// for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_search_continues_when_its_caller_is_not_polled() {
    let (server, client, (_, last)) = slow_server(100_000, 10_000).await;
    let log = log(&server);
    let mut follower = log.follow_all(last.position);
    // More events than the five seconds of the read cover.
    eventually("a search", async || {
        assert!(follower.next().now_or_never().is_none(), "the server is silent");
        (searched_count(&client).await > 65_000).then_some(())
    })
    .await;
    assert_eq!(positions(&log, last.position).await, [0; 0]);
    assert_eq!(follower.next().await.map(Result::unwrap), Some(FollowerItem::CaughtUp { position: last.position }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_settings_among_foreign_events_is_noticed() {
    let server = StandIn::start();
    let (log, client) = (log(&server), client(&server));
    let (run, last) = append_nine(&log).await;
    let name = server_name(&stream(run, 0));
    let ask = async || assert_eq!(positions(&log, last.position).await, [0; 0]);
    write_foreign_events(&client, 20_000).await;
    wait_until_cheap(&client, "reading", ask).await;
    set(&client, &name, StreamMetadataBuilder::new().insert_custom_property("owner", "OMU").build()).await;
    write_foreign_events(&client, 20_000).await;
    wait_until_cheap(&client, "reading past harmless settings", ask).await;
    set(&client, &name, StreamMetadataBuilder::new().truncate_before(2).build()).await;
    write_foreign_events(&client, 20_000).await;
    for _ in 0..2 {
        let read = log.read_all(last.position, 10).await;
        assert!(matches!(read, Err(LogError::Damaged { .. })), "{read:?}");
    }
}

/// Some tasks follow and some read on from where they are, while events of the ledger and foreign
/// events alternate, subscriptions end silently and connections are cut.
#[tokio::test(flavor = "multi_thread")]
async fn no_event_of_the_ledger_is_missed_among_foreign_events() {
    const EVENTS: u64 = 60;
    let server = StandIn::start();
    let proxy = server.proxy();
    let (writer, client) = (log(&server), client(&server));
    let run = Uuid::new_v4();
    let reading = log_at(&proxy.url());
    let seeing = tokio::spawn(async move {
        let (mut seen, mut follower) = (Vec::new(), reading.follow_all(0));
        while seen.len() < EVENTS as usize {
            match follower.next().await {
                Some(Ok(FollowerItem::Events(events))) => seen.extend(events),
                Some(Ok(FollowerItem::CaughtUp { .. })) => {}
                Some(Err(LogError::Unavailable(_))) | None => {
                    follower = reading.follow_all(seen.last().map_or(0, |last: &RecordedEvent| last.position));
                }
                Some(Err(error)) => panic!("{error:?}"),
            }
        }
        seen
    });
    let paging = log(&server);
    let mut paged: Vec<RecordedEvent> = Vec::new();
    for number in 0..EVENTS {
        let expected = number.checked_sub(1).map_or(NoStream, Exact);
        let appended =
            writer.append(&stream(run, 0), expected, vec![contract_event(run, number as usize)]).await.expect("append");
        write_foreign_events(&client, (number as usize * 131) % 3_000).await;
        paged.extend(paging.read_all(paged.last().map_or(0, |last| last.position), 3).await.expect("read"));
        assert_eq!(head(&paging).await, appended.position);
        match number % 20 {
            7 => server.end_subscriptions(),
            14 => proxy.cut(),
            _ => {}
        }
    }
    let whole = log(&server).read_stream(&stream(run, 0), 0, 100).await.expect("read");
    assert_eq!(whole.len(), EVENTS as usize);
    assert_eq!(paged, whole);
    assert_eq!(seeing.await.expect("no panic"), whole);
}

/// The server pauses for longer than a read waits and for less than a search does.
#[tokio::test(flavor = "multi_thread")]
async fn an_idle_server_does_not_reset_the_position_of_a_log() {
    let server = StandIn::start();
    let (log, client) = (log(&server), client(&server));
    let (_, last) = append_nine(&log).await;
    write_foreign_events(&client, 50_000).await;
    wait_until_cheap(&client, "the head", async || assert_eq!(head(&log).await, last.position)).await;
    let before = searched_count(&client).await;
    server.pause();
    let asking = tokio::spawn(async move { head(&log).await });
    let read = eventually("a read", async || Some(unread_bytes(&server)).filter(|bytes| *bytes > 0)).await;
    // The read has waited for long enough when more is sent.
    eventually("a search", async || (unread_bytes(&server) > read + 100).then_some(())).await;
    server.resume();
    assert_eq!(asking.await.expect("no panic"), last.position);
    let again = searched_count(&client).await - before;
    assert!(again < AGAIN_MAX, "{again}");
}

/// The bytes that have come for a server and that it has not read.
fn unread_bytes(server: &StandIn) -> u64 {
    let port = server.address().rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok()).expect("a port");
    let sockets = std::fs::read_to_string("/proc/net/tcp").expect("the sockets");
    let unread = sockets.lines().skip(1).filter_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let (_, local_port) = fields[1].split_once(':')?;
        let is_connection = fields[3] == "01";
        let (_, unread) = fields[4].split_once(':').filter(|_| is_connection)?;
        (u16::from_str_radix(local_port, 16) == Ok(port)).then(|| u64::from_str_radix(unread, 16).ok()).flatten()
    });
    unread.sum()
}
