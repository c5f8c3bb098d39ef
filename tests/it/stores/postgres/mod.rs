//! The event log in Postgres: the contract of every store, the further promises of this one, and
//! its state after kills of the writing process and of the server.

mod crash;
mod keys;
mod ordered;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use event_log::{
    AppendError, EventLog as _,
    ExpectedRevision::{Exact, NoStream},
    FOLLOW_POLL_INTERVAL, FollowerItem, LogError, PAGE_EVENTS_MAX, SharedLog, contract,
};
use event_log_postgres::{PARTITION_EVENTS, PostgresLog, migrate};
use futures::{StreamExt as _, future::join_all};
use sqlx::{AssertSqlSafe, PgPool};
use tokio::time::timeout;
use uuid::Uuid;

use crate::support::{self, TestDatabase, builders::contract_event};

/// Small and large pages, which the store reads in two ways.
const PAGES: [usize; 2] = [10, PAGE_EVENTS_MAX];

async fn database_without_log() -> TestDatabase {
    let database = support::database().await;
    execute(&database.pool, "DROP SCHEMA IF EXISTS log CASCADE").await.expect("remove the template's log");
    database
}

/// A database with an empty log, and the log.
async fn empty_log() -> (TestDatabase, PostgresLog) {
    let database = support::database().await;
    migrate(&database.pool).await.expect("migrate");
    let log = PostgresLog::connect(&database.pool).await.expect("connect to the log");
    (database, log)
}

/// Fills a log with three events in three streams.
async fn append_three(log: &PostgresLog) -> Uuid {
    let run = Uuid::new_v4();
    for number in 0..3 {
        let stream = contract::made_up_stream(run, number as u64);
        log.append(&stream, NoStream, vec![contract_event(run, number)]).await.expect("append");
    }
    run
}

async fn execute(pool: &PgPool, statements: impl Into<String>) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(statements.into())).execute(pool).await.map(drop)
}

/// Ends every connection of the log.
async fn cut_connections(pool: &PgPool) {
    let all = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                WHERE datname = current_database() AND application_name LIKE 'allocation-ledger log %'";
    execute(pool, all).await.expect("end the connections");
}

/// Changes the log past the protection of the schema.
async fn damage(pool: &PgPool, statement: &str) {
    execute(pool, format!("SET LOCAL session_replication_role = replica; {statement}")).await.expect(statement);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_postgres_store_keeps_the_contract_of_every_store() {
    let (_database, log) = empty_log().await;
    let report = contract::check(&[Arc::new(log)], Uuid::new_v4()).await;
    assert!(report.held(), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_instances_on_one_database_keep_the_contract_together() {
    let (database, log) = empty_log().await;
    let other = PostgresLog::connect(&database.pool).await.expect("connect again");
    let handles: [SharedLog; 2] = [Arc::new(log), Arc::new(other)];
    let report = contract::check(&handles, Uuid::new_v4()).await;
    assert!(report.held(), "{report}");
    let head = handles[0].head().await.expect("the head");
    let (count, highest): (i64, i64) = sqlx::query_as("SELECT count(*), max(position) FROM log.event")
        .fetch_one(&database.pool)
        .await
        .expect("count the events");
    assert_eq!((count.cast_unsigned(), highest.cast_unsigned()), (head, head), "positions are dense");
}

#[tokio::test]
async fn concurrent_and_repeated_migrations_apply_each_step_once() {
    let database = database_without_log().await;
    for migrated in join_all((0..4).map(|_| migrate(&database.pool))).await {
        migrated.expect("migrate");
    }
    let log = PostgresLog::connect(&database.pool).await.expect("connect");
    append_three(&log).await;
    migrate(&database.pool).await.expect("migrate a log in use");
    assert_eq!(log.head().await.expect("the head"), 3);
}

#[tokio::test]
async fn a_database_without_a_log_is_refused() {
    let database = database_without_log().await;
    let refused = PostgresLog::connect(&database.pool).await;
    assert!(matches!(refused, Err(LogError::Unavailable(_))), "{refused:?}");
}

#[tokio::test]
async fn events_cannot_be_changed_or_removed() {
    let (database, log) = empty_log().await;
    append_three(&log).await;
    for statement in [
        "UPDATE log.event SET data = 'x' WHERE position = 2",
        "DELETE FROM log.event WHERE position = 2",
        "TRUNCATE log.event",
        "UPDATE log.event_from_0 SET data = 'x' WHERE position = 2",
        "DELETE FROM log.event_from_0 WHERE position = 2",
        "TRUNCATE log.event_from_0",
        "INSERT INTO log.event SELECT 4, stream, revision, event_id, type, recorded_at, metadata, data
           FROM log.event WHERE position = 2",
        "INSERT INTO log.head VALUES (7, now())",
    ] {
        let refused = execute(&database.pool, statement).await;
        let code = refused.as_ref().err().and_then(sqlx::Error::as_database_error).and_then(|error| error.code());
        assert!(code.as_deref().is_some_and(|code| code.starts_with("23")), "{statement}: {refused:?}");
    }
    assert_eq!(log.read_all(0, 10).await.expect("read the log").len(), 3);
}

#[tokio::test]
async fn analysts_see_bodies_as_json() {
    let (database, log) = empty_log().await;
    let run = Uuid::new_v4();
    let mut events = vec![contract_event(run, 0), contract_event(run, 1)];
    events[0].data = r#"{"prison":"LEI"}"#.into();
    events[1].data = r#"{"note":"\u0000"}"#.into();
    log.append(&contract::made_up_stream(run, 0), NoStream, events).await.expect("append");
    let shown: Vec<(Option<String>, Option<i32>)> = sqlx::query_as(
        "SELECT data ->> 'prison', (metadata ->> 'schemaVersion')::int FROM log.event_json ORDER BY position",
    )
    .fetch_all(&database.pool)
    .await
    .expect("read the view");
    assert_eq!(shown, [(Some("LEI".to_owned()), Some(1)), (None, Some(1))]);
}

#[tokio::test]
async fn the_next_partition_is_created_before_it_is_needed() {
    let (database, log) = empty_log().await;
    // As if nearly two partitions of events had been appended. The rows themselves are not needed.
    let head = 2 * PARTITION_EVENTS - 3;
    execute(&database.pool, format!("UPDATE log.head SET position = {head}")).await.expect("move the head");
    let (run, stream) = (Uuid::new_v4(), contract::made_up_stream(Uuid::new_v4(), 0));
    let mut expected = NoStream;
    for number in 0..6 {
        let appended = log.append(&stream, expected, vec![contract_event(run, number)]).await.expect("append");
        assert_eq!(appended.position, head + 1 + number as u64);
        expected = Exact(appended.revision);
    }
    let read = log.read_all(head, 10).await.expect("read over the bound");
    assert_eq!(read.len(), 6);
    assert_eq!(log.read_stream(&stream, 0, 10).await.expect("read the stream"), read);
    let partitions: Vec<String> = sqlx::query_scalar(
        "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'log.event'::regclass ORDER BY inhrelid",
    )
    .fetch_all(&database.pool)
    .await
    .expect("list the partitions");
    assert_eq!(
        partitions,
        [0, 10_000_000, 20_000_000, 30_000_000].map(|first| format!("log.event_from_{first}")),
        "the one in use and the one after it"
    );
}

#[tokio::test]
async fn a_commit_waits_for_the_disk_whatever_the_databases_settings() {
    let (database, _) = empty_log().await;
    execute(
        &database.pool,
        format!(
            "ALTER DATABASE {} SET synchronous_commit = off;
             ALTER DATABASE {0} SET default_transaction_isolation = 'repeatable read';
             CREATE TABLE public.witness (seen text);
             CREATE FUNCTION witness() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN
                 INSERT INTO public.witness VALUES (concat_ws(', ', current_setting('synchronous_commit'),
                                                              current_setting('transaction_isolation')));
                 RETURN new;
             END $$;
             CREATE TRIGGER witness BEFORE UPDATE ON log.head FOR EACH ROW EXECUTE FUNCTION witness()",
            database.name
        ),
    )
    .await
    .expect("set the database up badly");
    let log = PostgresLog::connect(&database.pool).await.expect("connect");
    append_three(&log).await;
    let seen: Vec<String> =
        sqlx::query_scalar("SELECT DISTINCT seen FROM witness").fetch_all(&database.pool).await.expect("the settings");
    assert_eq!(seen, ["on, read committed"]);
}

#[tokio::test]
async fn a_gap_is_damage_that_names_the_position() {
    let (database, log) = empty_log().await;
    append_three(&log).await;
    damage(&database.pool, "DELETE FROM log.event WHERE position = 2").await;
    for limit in PAGES {
        let read = log.read_all(0, limit).await.expect("read");
        assert_eq!(read.iter().map(|event| event.position).collect::<Vec<_>>(), [1], "what stands before the gap");
        let read = log.read_all(1, limit).await;
        assert!(matches!(read, Err(LogError::Damaged { position: 2, .. })), "{read:?}");
    }
    let mut follower = log.follow_all(0);
    let followed = follower.next().await;
    assert!(
        matches!(&followed, Some(Ok(FollowerItem::Events(events))) if events.len() == 1 && events[0].position == 1),
        "what stands before the gap: {followed:?}"
    );
    let followed = follower.next().await;
    assert!(matches!(followed, Some(Err(LogError::Damaged { position: 2, .. }))), "{followed:?}");
    assert!(follower.next().await.is_none(), "an error ends a follower");

    damage(&database.pool, "DELETE FROM log.event WHERE position = 3").await;
    for (after, limit) in [1, 2].into_iter().flat_map(|after| PAGES.map(|limit| (after, limit))) {
        let read = log.read_all(after, limit).await;
        assert!(matches!(read, Err(LogError::Damaged { .. })), "the end is missing, after {after}: {read:?}");
    }
}

#[tokio::test]
async fn a_missing_revision_is_damage_that_names_the_position() {
    let (database, log) = empty_log().await;
    let run = Uuid::new_v4();
    let stream = contract::made_up_stream(run, 0);
    log.append(&stream, NoStream, (0..3).map(|number| contract_event(run, number)).collect()).await.expect("append");
    damage(&database.pool, "DELETE FROM log.event WHERE position = 2").await;
    let read = log.read_stream(&stream, 0, 10).await;
    assert!(matches!(read, Err(LogError::Damaged { position: 3, .. })), "{read:?}");
    let read = log.read_streams(&[stream]).await;
    assert!(matches!(read, Err(LogError::Damaged { position: 3, .. })), "{read:?}");
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_damage_that_names_the_column() {
    let (database, log) = empty_log().await;
    append_three(&log).await;
    damage(&database.pool, "UPDATE log.event SET stream = 'keyworker-LEI' WHERE position = 2").await;
    for limit in PAGES {
        match log.read_all(1, limit).await {
            Err(LogError::Damaged { position: 2, what }) => assert!(what.contains("`stream`"), "{what}"),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_page_is_read_again_where_its_connection_was_cut() {
    let (database, log) = empty_log().await;
    append_three(&log).await;
    for limit in PAGES {
        let before = log.read_all(0, limit).await.expect("read");
        cut_connections(&database.pool).await;
        assert_eq!(log.read_all(0, limit).await.expect("read again"), before);
    }
}

#[tokio::test]
async fn a_cancelled_read_leaves_no_rows_for_the_next_one() {
    let (_database, log) = empty_log().await;
    append_three(&log).await;
    let whole = log.read_all(0, PAGE_EVENTS_MAX).await.expect("read");
    for micros in (0..3_000).step_by(100) {
        let _ = timeout(Duration::from_micros(micros), log.read_all(0, PAGE_EVENTS_MAX)).await;
        assert_eq!(log.read_all(0, PAGE_EVENTS_MAX).await.expect("read"), whole, "after {micros} µs");
    }
}

#[tokio::test]
async fn a_head_behind_the_events_is_damage_and_nothing_is_written() {
    let (database, log) = empty_log().await;
    let run = append_three(&log).await;
    execute(&database.pool, "UPDATE log.head SET position = 1").await.expect("move the head back");
    let appended = log.append(&contract::made_up_stream(run, 9), NoStream, vec![contract_event(run, 9)]).await;
    assert!(matches!(appended, Err(AppendError::Log(LogError::Damaged { .. }))), "{appended:?}");
    let count: i64 =
        sqlx::query_scalar("SELECT count(*) FROM log.event").fetch_one(&database.pool).await.expect("count");
    assert_eq!(count, 3);
}

#[tokio::test]
async fn a_missing_head_is_damage() {
    let (database, log) = empty_log().await;
    let run = append_three(&log).await;
    execute(&database.pool, "DELETE FROM log.head").await.expect("remove the head");
    let appended = log.append(&contract::made_up_stream(run, 9), NoStream, vec![contract_event(run, 9)]).await;
    assert!(matches!(appended, Err(AppendError::Log(LogError::Damaged { .. }))), "{appended:?}");
    let head = log.head().await;
    assert!(matches!(head, Err(LogError::Damaged { .. })), "{head:?}");
}

#[tokio::test]
async fn a_follower_from_beyond_the_end_fails_because_the_log_is_another() {
    let (_database, log) = empty_log().await;
    append_three(&log).await;
    let followed = log.follow_all(4).next().await;
    assert!(matches!(followed, Some(Err(LogError::Damaged { position: 4, .. }))), "{followed:?}");
}

#[tokio::test]
async fn a_follower_survives_the_loss_of_every_connection() {
    let (database, log) = empty_log().await;
    let mut follower = log.follow_all(0);
    assert_eq!(follower.next().await.expect("an item").expect("no error"), FollowerItem::CaughtUp { position: 0 });
    let run = Uuid::new_v4();
    for number in 0..6 {
        cut_connections(&database.pool).await;
        // Appends through another instance, so that only Postgres or a look of its own tells the
        // follower.
        let other = PostgresLog::connect(&database.pool).await.expect("connect");
        let stream = contract::made_up_stream(run, number);
        other.append(&stream, NoStream, vec![contract_event(run, number as usize)]).await.expect("append");
        let mut seen = Vec::new();
        while seen.is_empty() {
            let item = tokio::time::timeout(Duration::from_secs(20), follower.next()).await.expect("an item in time");
            match item.expect("a follower without end") {
                Ok(FollowerItem::Events(events)) => seen = events,
                Ok(FollowerItem::CaughtUp { .. }) => {}
                // The reader's connection was ended too: continue from where it was.
                Err(LogError::Unavailable(_)) => follower = log.follow_all(number),
                Err(error) => panic!("{error:?}"),
            }
        }
        assert_eq!(seen.iter().map(|event| event.position).collect::<Vec<_>>(), [number + 1]);
    }
}

/// Any client may notify on the channel. Whatever it sends, the next append must wake a follower in
/// another process.
#[tokio::test]
async fn a_stray_notification_does_not_end_the_wake_ups() {
    let (database, log) = empty_log().await;
    let other = PostgresLog::connect(&database.pool).await.expect("connect");
    let mut follower = log.follow_all(0);
    let run = Uuid::new_v4();
    let mut waits = Vec::new();
    for number in 0..6 {
        // Once the follower listens on the channel.
        if number == 1 {
            for stray in ["18446744073709551615", "0", "", "what?"] {
                execute(&database.pool, format!("NOTIFY allocation_ledger_log, '{stray}'")).await.expect("notify");
            }
        }
        let stream = contract::made_up_stream(run, number);
        other.append(&stream, NoStream, vec![contract_event(run, number as usize)]).await.expect("append");
        let begun = Instant::now();
        while !matches!(follower.next().await.expect("an item").expect("no error"), FollowerItem::Events(_)) {}
        waits.push(begun.elapsed());
        // It waits again.
        let waiting = tokio::time::timeout(Duration::from_millis(200), follower.next()).await;
        assert!(matches!(waiting, Err(_) | Ok(Some(Ok(FollowerItem::CaughtUp { .. })))), "{waiting:?}");
    }
    let fastest = waits[2..].iter().min().expect("waits");
    assert!(*fastest < FOLLOW_POLL_INTERVAL / 4, "a waiting follower saw events after {waits:?}");
}
