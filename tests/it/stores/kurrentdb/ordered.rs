//! Ordered appends: events of many streams in a given order, with many appends in flight. Whatever
//! happens to connections, nodes and the order that the server keeps, the log holds the first of
//! the events in their order, or the error says which event was overtaken.

use std::{collections::HashMap, sync::Arc, time::Duration};

use chrono::DateTime;
use event_log::{
    EventLog as _,
    ExpectedRevision::{self, Exact},
    LogError, OrderedError, OrderedEvent, SharedLog,
};
use event_log_kurrentdb::{KurrentLog, KurrentOrderedWriter};
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::{client, log, stream, write_foreign};
use crate::support::{
    Nodes, Proxy, StandIn, builders::contract_event, eventually, log_at, random_numbers::RandomNumbers, server_name,
    whole_log::read_recorded,
};

/// More than the writer has in flight.
const EVENTS: usize = 1_500;

/// Events of made-up streams, each at its place in its stream.
struct MadeUpEvents {
    run: Uuid,
    next_revisions: HashMap<u64, u64>,
    events: Vec<OrderedEvent>,
}

impl MadeUpEvents {
    fn new() -> Self {
        Self { run: Uuid::new_v4(), next_revisions: HashMap::new(), events: Vec::new() }
    }

    fn push(&mut self, stream_number: u64) {
        let number = self.events.len();
        let revision = self.next_revisions.entry(stream_number).or_default();
        let mut event = contract_event(self.run, number);
        // Between streams, the times in a copied log may run backwards.
        let seconds = (*revision * 10) as i64 + (number % 7) as i64;
        event.recorded_at = DateTime::from_timestamp(1_577_836_800 + seconds, 0).expect("a time");
        self.events.push(OrderedEvent { stream: stream(self.run, stream_number), revision: *revision, event });
        *revision += 1;
    }
}

/// Events of streams that take turns at random, often several of one stream in a row.
fn mixed_events(seed: u64) -> Vec<OrderedEvent> {
    let (mut made, mut random) = (MadeUpEvents::new(), RandomNumbers(seed));
    while made.events.len() < EVENTS {
        let stream = random.roll(300) as u64;
        for _ in 0..=random.one_of(&[0, 0, 0, 1, 2, 90]).min(EVENTS - 1 - made.events.len()) {
            made.push(stream);
        }
    }
    made.events
}

/// One event each of as many streams.
fn single_events() -> Vec<OrderedEvent> {
    let mut made = MadeUpEvents::new();
    (0..EVENTS as u64).for_each(|stream| made.push(stream));
    made.events
}

/// Checks that a log holds the first of these events in their order, and no others. Returns how
/// many.
async fn check_beginning(log: &KurrentLog, given: &[OrderedEvent]) -> usize {
    let found = read_recorded(log).await;
    assert!(found.len() <= given.len(), "{} events of {}", found.len(), given.len());
    for (index, (found, OrderedEvent { stream, revision, event })) in found.iter().zip(given).enumerate() {
        assert_eq!((&found.stream, found.revision), (stream, *revision), "event {index}");
        assert_eq!((found.event_id, found.recorded_at), (event.event_id, event.recorded_at), "event {index}");
        assert_eq!((&found.data, &found.metadata), (&event.data, &event.metadata), "event {index}");
    }
    found.len()
}

type Appending = JoinHandle<Result<Option<u64>, OrderedError>>;

/// Appends all events with a new writer in a task.
fn start_append(log: &KurrentLog, events: &[OrderedEvent]) -> Appending {
    let (log, events) = (log.clone(), events.to_vec());
    tokio::spawn(async move { KurrentOrderedWriter::new(&log).append(&events).await })
}

/// Waits until a log has more than so many events, or the appending has ended.
async fn wait_for_more(log: &KurrentLog, events: usize, appending: &Appending) {
    let log: SharedLog = Arc::new(log.clone());
    eventually("more events", async || {
        let has_more = event_log::has_more_than(&log, 0, events as u64).await.is_ok_and(|more| more);
        (has_more || appending.is_finished()).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ordered_append_keeps_the_order_of_all_streams() {
    let server = StandIn::start();
    let (log, events) = (log(&server), mixed_events(1));
    let mut writer = KurrentOrderedWriter::new(&log);
    let (first, rest) = events.split_at(700);
    writer.append(first).await.expect("append");
    let end = writer.append(rest).await.expect("append");
    assert_eq!(check_beginning(&log, &events).await, EVENTS);
    assert_eq!(end, Some(log.head().await.expect("the head")));
    assert_eq!(writer.append(&[]).await.expect("append"), None);

    // By the same writer and by another one, events that are there are passed over.
    for mut writer in [writer, KurrentOrderedWriter::new(&log), KurrentOrderedWriter::one_at_a_time(&log)] {
        assert_eq!(writer.append(&events).await.expect("append"), end);
        assert_eq!(check_beginning(&log, &events).await, EVENTS);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_connection_is_lost_the_log_holds_the_first_events() {
    let faults: [fn(&Proxy); 4] = [
        Proxy::cut,
        Proxy::reset,
        |proxy| proxy.lose_answer_bytes(50),
        |proxy| {
            proxy.swallow_answers();
            std::thread::sleep(Duration::from_millis(20));
            proxy.renew();
        },
    ];
    let server = StandIn::start();
    let proxy = server.proxy();
    let (direct, events) = (log(&server), mixed_events(2));
    let mut found = 0;
    for fault in faults.into_iter().cycle() {
        let appending = start_append(&log_at(&proxy.url()), &events);
        for _ in 0..4 {
            wait_for_more(&direct, found, &appending).await;
            fault(&proxy);
            found = check_beginning(&direct, &events).await;
        }
        let appended = appending.await.expect("a task");
        found = check_beginning(&direct, &events).await;
        match appended {
            Ok(_) => break,
            Err(OrderedError::Log(LogError::Unavailable(_))) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
    assert_eq!(found, EVENTS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_leader_leaves_the_first_events() {
    let nodes = Nodes::start().await;
    let (log, events) = (log_at(&nodes.url()), mixed_events(3));
    let mut resigned = 0;
    loop {
        let found = check_beginning(&log, &events).await;
        let appending = start_append(&log, &events);
        if resigned < 3 {
            wait_for_more(&log, found, &appending).await;
            resigned += 1;
            nodes.resign().await;
        }
        match appending.await.expect("a task") {
            Ok(_) => break,
            Err(OrderedError::Log(LogError::Unavailable(_))) => {}
            Err(error) => panic!("{error:?}"),
        }
        eventually("a leader that answers", async || log.head().await.ok()).await;
    }
    assert_eq!(check_beginning(&log, &events).await, EVENTS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_server_is_an_outage_that_leaves_the_first_events() {
    let server = StandIn::start();
    let proxy = server.proxy();
    let (direct, events) = (log(&server), single_events());
    let appending = start_append(&log_at(&proxy.url()), &events);
    wait_for_more(&direct, 0, &appending).await;
    proxy.freeze();
    let error = appending.await.expect("a task").expect_err("it is silent");
    assert!(matches!(error, OrderedError::Log(LogError::Unavailable(_))), "{error:?}");
    assert!(check_beginning(&direct, &events).await < EVENTS);
    proxy.renew();
    KurrentOrderedWriter::new(&log_at(&proxy.url())).append(&events).await.expect("append");
    assert_eq!(check_beginning(&direct, &events).await, EVENTS);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_conflict_nothing_more_is_sent_and_the_error_names_the_event() {
    let server = StandIn::start();
    let events = single_events();
    let in_the_way = &events[500];
    let foreign_run = Uuid::new_v4();
    log(&server)
        .append(&in_the_way.stream, ExpectedRevision::NoStream, vec![contract_event(foreign_run, 0)])
        .await
        .expect("append");

    let error = KurrentOrderedWriter::one_at_a_time(&log(&server)).append(&events).await.expect_err("a conflict");
    assert_names(&error, in_the_way);
    assert!(matches!(error, OrderedError::Revision { actual: Exact(0), .. }), "{error:?}");
    assert_eq!(read_recorded(&log(&server)).await.len(), 501);

    let error = KurrentOrderedWriter::new(&log(&server)).append(&events).await.expect_err("a conflict");
    assert_names(&error, in_the_way);
    let OrderedError::Overtaken { reason: Some(reason), .. } = error else { panic!("{error:?}") };
    assert!(matches!(*reason, OrderedError::Revision { revision: 0, actual: Exact(0), .. }), "{reason:?}");
    let found = read_recorded(&log(&server)).await.len();
    assert!(found <= 500 + 256, "{found}: it went on");
}

/// The event of another program is unreadable.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_another_program_in_the_way_is_named_with_the_first_event_overtaken() {
    let server = StandIn::start();
    let events = single_events();
    write_foreign(&client(&server), &server_name(&events[100].stream)).await;
    let error = KurrentOrderedWriter::new(&log(&server)).append(&events).await.expect_err("it is in the way");
    assert_names(&error, &events[100]);
    let OrderedError::Overtaken { reason: Some(reason), .. } = error else { panic!("{error:?}") };
    assert!(matches!(*reason, OrderedError::Log(LogError::Damaged { .. })), "{reason:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_changes_the_order_is_found_out() {
    let events = single_events();
    let server = StandIn::start_with_late_append(100);
    let error = KurrentOrderedWriter::new(&log(&server)).append(&events).await.expect_err("the order is lost");
    assert_names(&error, &events[99]);
    assert!(matches!(error, OrderedError::Overtaken { reason: None, .. }), "{error:?}");

    let server = StandIn::start_with_late_append(100);
    KurrentOrderedWriter::one_at_a_time(&log(&server)).append(&events).await.expect("append");
    assert_eq!(check_beginning(&log(&server), &events).await, EVENTS);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_the_server_does_not_take_ends_the_log_before_it() {
    let server = StandIn::start();
    let mut events = single_events();
    // The server takes a mebibyte.
    events[200].event.data = vec![b'1'; 1024 * 1024 - 300].into();
    events[400].event.data = vec![b'1'; 1024 * 1024].into();
    let error = KurrentOrderedWriter::new(&log(&server)).append(&events).await.expect_err("it is too large");
    assert_names(&error, &events[400]);
    assert!(matches!(error, OrderedError::TooLarge { bytes: 1_048_576.., .. }), "{error:?}");
    assert_eq!(check_beginning(&log(&server), &events).await, 400);
}

/// Checks that an error names an event by its stream and revision.
fn assert_names(error: &OrderedError, event: &OrderedEvent) {
    let said = error.to_string();
    assert!(said.contains(&server_name(&event.stream)), "{said}");
    assert!(said.contains(&format!("revision {}", event.revision)), "{said}");
}
