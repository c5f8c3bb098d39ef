//! Ordered appends: events of many streams in a given order, all of them or none.

use chrono::{DateTime, TimeDelta, Utc};
use event_log::{
    EventLog as _,
    ExpectedRevision::{self, Exact},
    OrderedError, OrderedEvent, contract,
};
use event_log_postgres::PostgresOrderedWriter;
use uuid::Uuid;

use super::{contract_event, empty_log};

/// An event of a made-up stream, recorded so many seconds after the start of 2020.
fn at(run: Uuid, stream: u64, revision: u64, seconds: i64) -> OrderedEvent {
    let mut event = contract_event(run, (stream * 100 + revision) as usize);
    event.recorded_at = DateTime::<Utc>::from_timestamp(1_577_836_800 + seconds, 0).expect("a time");
    OrderedEvent { stream: contract::made_up_stream(run, stream), revision, event }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ordered_append_keeps_the_order_given_or_appends_nothing() {
    let (database, log) = empty_log().await;
    let mut writer = PostgresOrderedWriter::new(&database.pool);
    let run = Uuid::new_v4();
    let first = [at(run, 1, 0, 1), at(run, 2, 0, 1), at(run, 1, 1, 2), at(run, 3, 0, 5)];
    assert_eq!(writer.append(0, &first).await.expect("append"), 4);

    let refused = |events: Vec<OrderedEvent>, after| {
        let mut writer = PostgresOrderedWriter::new(&database.pool);
        async move { writer.append(after, &events).await.expect_err("refused") }
    };
    let moved = refused(vec![at(run, 4, 0, 6)], 3).await;
    assert!(matches!(moved, OrderedError::Moved { after: 3, head: 4 }), "{moved}");
    let revision = refused(vec![at(run, 4, 0, 6), at(run, 1, 3, 6)], 4).await;
    assert!(matches!(revision, OrderedError::Revision { revision: 3, actual: Exact(1), .. }), "{revision}");
    let revision = refused(vec![at(run, 2, 1, 6), at(run, 2, 3, 6)], 4).await;
    assert!(matches!(revision, OrderedError::Revision { revision: 3, actual: ExpectedRevision::Exact(1), .. }));
    let backwards = refused(vec![at(run, 4, 0, 7), at(run, 4, 1, 6)], 4).await;
    assert!(matches!(backwards, OrderedError::RecordedTime { position: 6, .. }), "{backwards}");
    let mut fine = at(run, 4, 0, 7);
    fine.event.recorded_at += TimeDelta::nanoseconds(1);
    let fine = refused(vec![fine], 4).await;
    assert!(matches!(fine, OrderedError::RecordedTime { position: 5, .. }), "{fine}");

    let second = [at(run, 2, 1, 5), at(run, 4, 0, 9)];
    assert_eq!(writer.append(4, &second).await.expect("append"), 6);
    let given: Vec<_> = first.into_iter().chain(second).collect();
    let stands: Vec<_> = log.read_all(0, 100).await.expect("read").into_iter().collect();
    assert_eq!(stands.len(), given.len(), "what was refused left nothing");
    for ((position, stands), given) in (1..).zip(stands).zip(given) {
        assert_eq!((stands.position, &stands.stream, stands.revision), (position, &given.stream, given.revision));
        assert_eq!((stands.event_id, stands.recorded_at), (given.event.event_id, given.event.recorded_at));
        assert_eq!((stands.metadata, stands.data), (given.event.metadata, given.event.data));
    }
}

/// In a copied log, two streams may have times that run backwards. The times are kept, and the
/// knowledge at an instant ends before the first event recorded later.
#[tokio::test(flavor = "multi_thread")]
async fn an_ordered_append_takes_times_that_run_backwards_between_streams() {
    let (database, log) = empty_log().await;
    let mut writer = PostgresOrderedWriter::new(&database.pool);
    let run = Uuid::new_v4();
    let seconds = [1, 5, 3, 4, 6, 2, 7];
    let given: Vec<_> = (0..).zip(seconds).map(|(stream, seconds)| at(run, stream, 0, seconds)).collect();
    let end = writer.append(0, &given[..3]).await.expect("append");
    let end = writer.append(end, &given[3..]).await.expect("append");
    let stands = log.read_all(0, 100).await.expect("read");
    assert!(stands.iter().map(|event| event.recorded_at).eq(given.iter().map(|event| event.event.recorded_at)));
    for (second, expected) in [(0, 0), (1, 1), (2, 1), (3, 1), (4, 1), (5, 4), (6, 6), (7, 7)] {
        let instant = at(run, 0, 0, second).event.recorded_at;
        assert_eq!(log.position_at(instant).await.expect("a position"), expected, "at second {second}");
    }

    let mut next = contract_event(run, 9_000);
    next.recorded_at = given[0].event.recorded_at;
    let stream = contract::made_up_stream(run, 90);
    let appended = log.append(&stream, ExpectedRevision::NoStream, vec![next]).await.expect("append");
    assert_eq!(appended.events, [(end + 1, given[6].event.recorded_at)], "recorded after the latest");
}
