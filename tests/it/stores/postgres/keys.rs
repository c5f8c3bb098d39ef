//! Idempotency keys in Postgres: kept by day, from before an upgrade, and from a copy of a log.

use chrono::{TimeDelta, Utc};
use domain::identifier::CommandId;
use event_log::{KeySpending, NewEvent, OrderedEvent, SpentKey};
use event_log_postgres::PostgresOrderedWriter;

use super::*;
use crate::support::eventually;

/// An event of a command that came with a key, recorded so many hours ago.
fn keyed_event(run: Uuid, number: usize, key: CommandId, hours_ago: i64) -> NewEvent {
    let mut event = contract_event(run, number);
    event.metadata = format!(r#"{{"commandId":"{key}","schemaVersion":1}}"#).into();
    event.recorded_at = Utc::now() - TimeDelta::hours(hours_ago);
    NewEvent { recorded_at: chrono::SubsecRound::trunc_subsecs(event.recorded_at, 6), ..event }
}

fn new_keys<const N: usize>() -> [CommandId; N] {
    std::array::from_fn(|_| CommandId(Uuid::new_v4()))
}

/// The request that a key is spent on.
async fn request_of(log: &PostgresLog, key: CommandId) -> Option<String> {
    log.spent_key(key).await.expect("read").map(|spent| spent.request)
}

#[tokio::test]
async fn a_key_counts_today_and_tomorrow_and_old_keys_are_removed() {
    let (database, log) = empty_log().await;
    let keys = new_keys::<3>();
    let spent = |request: &str| SpentKey { request: request.to_owned(), answer: None };
    for (days, key) in keys.iter().enumerate() {
        log.spend_key(*key, spent("a request"), chrono::DateTime::UNIX_EPOCH).await.expect("spend");
        let age = format!("UPDATE log.idempotency_key SET day = day - {days} WHERE key = '{key}'");
        execute(&database.pool, age).await.expect("make the key older");
    }
    for (key, is_free) in keys.iter().zip([false, false, true]) {
        let stream = contract::made_up_stream(key.0, 0);
        let appended = log.append_with_key(&stream, NoStream, vec![contract_event(key.0, 0)], *key).await;
        assert_eq!(matches!(appended, Err(AppendError::KeyTaken { .. })), !is_free, "{appended:?}");
    }
    execute(&database.pool, "SELECT log.remove_old_keys()").await.expect("remove old keys");
    let days: Vec<bool> = sqlx::query_scalar("SELECT day >= current_date - 1 FROM log.idempotency_key")
        .fetch_all(&database.pool)
        .await
        .expect("the days");
    assert_eq!(days, [true; 3]);
}

/// Takes the database back to before the migration that brought the keys.
async fn undo_migration(database: &TestDatabase) {
    let undo = "DROP TRIGGER head_learns_keys ON log.head; DROP FUNCTION log.learn_keys_of_batch();
                DROP FUNCTION log.learn_keys(bigint, bigint); DROP TABLE log.idempotency_key;
                DROP FUNCTION log.append(text[], bigint[], bigint[], text[], bigint[], uuid[], text[], timestamptz[],
                                         bytea[], bytea[], bigint, uuid[], text[]);
                DROP FUNCTION log.remove_old_keys(); DROP FUNCTION log.spend_keys(uuid[], text[], text[], boolean[]);
                DELETE FROM log.migration WHERE version >= 6";
    execute(&database.pool, undo).await.expect("undo the migration");
}

/// The migration reads the keys of the last day from the events; so does a copy of a log, and a
/// service of the version before, which goes on while others are replaced.
#[tokio::test]
async fn keys_from_before_an_upgrade_and_of_a_copied_log_count() {
    let (database, log) = empty_log().await;
    let run = Uuid::new_v4();
    let [old, late, last] = new_keys();
    let of_the_ledger = last.derive("A1234BC");
    let used = [(old, 30), (late, 20), (last, 1), (of_the_ledger, 1)];
    let events = used.iter().enumerate().map(|(number, (key, hours_ago))| OrderedEvent {
        stream: contract::made_up_stream(run, number as u64),
        revision: 0,
        event: keyed_event(run, number, *key, *hours_ago),
    });
    let events: Vec<_> = events.collect();
    PostgresOrderedWriter::new(&database.pool).append(0, &events).await.expect("copy");
    let expected = [(old, None), (late, Some(&events[1])), (last, Some(&events[2])), (of_the_ledger, None)]
        .map(|(key, event)| (key, event.map(|event| event.stream.to_string())));
    for (key, expected) in &expected {
        assert_eq!(request_of(&log, *key).await, *expected, "copied");
    }
    undo_migration(&database).await;
    migrate(&database.pool).await.expect("upgrade");
    for (key, expected) in &expected {
        assert_eq!(request_of(&log, *key).await, *expected, "upgraded");
    }
}

/// It has locked the head in the former `log.append`, and its events are not there yet when the
/// migration reads those of the last day.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_of_the_version_before_that_waits_for_the_migration_keeps_its_keys() {
    let (database, log) = empty_log().await;
    undo_migration(&database).await;
    let (run, [first, second]) = (Uuid::new_v4(), new_keys());
    let events = [first, second].into_iter().enumerate().map(|(number, key)| OrderedEvent {
        stream: contract::made_up_stream(run, number as u64),
        revision: 0,
        event: keyed_event(run, number, key, 0),
    });
    let events: Vec<_> = events.collect();
    let mut writer = PostgresOrderedWriter::new(&database.pool);
    writer.append(0, &events[..1]).await.expect("append by the former function");
    // Stops the migration at the events, and the batch before it inserts its own.
    let mut holder = database.pool.begin().await.expect("begin");
    sqlx::query("LOCK TABLE log.event IN ACCESS EXCLUSIVE MODE").execute(&mut *holder).await.expect("lock");
    let waiting = async |count: i64| {
        eventually("sessions that wait for a lock", async || {
            let waiting = "SELECT count(*) FROM pg_stat_activity
                            WHERE datname = current_database() AND wait_event_type = 'Lock'";
            let waiting: i64 = sqlx::query_scalar(waiting).fetch_one(&database.pool).await.expect("count");
            (waiting == count).then_some(())
        })
        .await;
    };
    let pool = database.pool.clone();
    let migration = tokio::spawn(async move { migrate(&pool).await });
    waiting(1).await;
    let last = events[1..].to_vec();
    let batch = tokio::spawn(async move { writer.append(1, &last).await });
    waiting(2).await;
    holder.rollback().await.expect("let both go on");
    migration.await.expect("no panic").expect("migrate");
    assert_eq!(batch.await.expect("no panic").expect("append"), 2);
    for (key, event) in [first, second].into_iter().zip(&events) {
        assert_eq!(request_of(&log, key).await, Some(event.stream.to_string()));
    }
}

/// A day of many keys, and then days of few.
#[tokio::test]
async fn appends_remove_all_old_keys() {
    let (database, log) = empty_log().await;
    let old = "INSERT INTO log.idempotency_key (day, key, request)
               SELECT current_date - 3, gen_random_uuid(), 'old' FROM generate_series(1, 9000)";
    execute(&database.pool, old).await.expect("old keys");
    let [key] = new_keys();
    let stream = contract::made_up_stream(key.0, 0);
    for number in 0..6_u64 {
        let expected = number.checked_sub(1).map_or(NoStream, Exact);
        let events = vec![contract_event(key.0, number as usize)];
        log.append_with_key(&stream, expected, events, key).await.expect("append");
    }
    eventually("the end of the old keys", async || {
        let left = "SELECT count(*) FROM log.idempotency_key WHERE request = 'old'";
        let left: i64 = sqlx::query_scalar(left).fetch_one(&database.pool).await.expect("count");
        (left == 0).then_some(())
    })
    .await;
}

/// A session that was given up for each failure would try again at once.
#[tokio::test]
async fn a_removal_of_old_keys_that_fails_is_not_tried_again_with_each_append() {
    let (database, log) = empty_log().await;
    // A sequence keeps its numbers where the transaction fails.
    let fail = "CREATE SEQUENCE public.tries;
                CREATE OR REPLACE FUNCTION log.remove_old_keys(OUT removed bigint) LANGUAGE plpgsql AS $$
                BEGIN
                    PERFORM nextval('public.tries');
                    RAISE EXCEPTION 'no';
                END $$";
    execute(&database.pool, fail).await.expect("a function that fails");
    let [key] = new_keys();
    let stream = contract::made_up_stream(key.0, 0);
    for number in 0..6_u64 {
        let expected = number.checked_sub(1).map_or(NoStream, Exact);
        let events = vec![contract_event(key.0, number as usize)];
        log.append_with_key(&stream, expected, events, key).await.expect("append");
    }
    let tries: Option<i64> = sqlx::query_scalar("SELECT pg_sequence_last_value('public.tries')")
        .fetch_one(&database.pool)
        .await
        .expect("count the tries");
    assert_eq!(tries, Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_spent_while_others_append_and_old_keys_are_removed() {
    let (database, log) = empty_log().await;
    let other = PostgresLog::connect(&database.pool).await.expect("connect again");
    let old = "INSERT INTO log.idempotency_key (day, key, request)
               SELECT current_date - 3, gen_random_uuid(), 'old' FROM generate_series(1, 9000)";
    execute(&database.pool, old).await.expect("old keys");
    let run = Uuid::new_v4();
    let work = (0..300_usize).map(|number| {
        let log = if number % 2 == 0 { &log } else { &other };
        let pool = &database.pool;
        async move {
            let [key] = new_keys();
            match number % 3 {
                0 => {
                    let spent = SpentKey { request: number.to_string(), answer: None };
                    let answer = log.spend_key(key, spent, chrono::DateTime::UNIX_EPOCH).await;
                    assert_eq!(answer.expect("spend"), KeySpending::First);
                }
                1 => {
                    let stream = contract::made_up_stream(run, number as u64);
                    let events = vec![contract_event(run, number)];
                    log.append_with_key(&stream, NoStream, events, key).await.expect("append");
                }
                _ => execute(pool, "SELECT log.remove_old_keys()").await.expect("remove old keys"),
            }
        }
    });
    join_all(work).await;
    let (new, old): (i64, i64) = sqlx::query_as(
        "SELECT count(*) FILTER (WHERE request <> 'old'), count(*) FILTER (WHERE request = 'old')
           FROM log.idempotency_key",
    )
    .fetch_one(&database.pool)
    .await
    .expect("count the keys");
    assert_eq!((new, old), (200, 0));
}
