//! Idempotency keys on KurrentDB: from the log's end, from followers, and counted where two
//! processes recorded one.

use std::time::Duration;

use domain::identifier::CommandId;
use event_log::{KeySpending, NewEvent, Snapshot, SpentKey};
use futures::stream::BoxStream;
use tokio::time::timeout;

use super::*;
use crate::support::PATIENCE;

/// Waits for the next item; one that does not come fails the test.
async fn follow_on(followed: &mut BoxStream<'static, Result<FollowerItem, LogError>>) {
    let next = timeout(PATIENCE, followed.next()).await;
    next.expect("an item before patience ends").expect("a follower").expect("follow");
}

fn keyed_event(run: Uuid, number: usize, key: CommandId) -> Vec<NewEvent> {
    let mut event = contract_event(run, number);
    event.metadata = format!(r#"{{"commandId":"{key}","schemaVersion":1}}"#).into();
    vec![event]
}

/// Both processes know the log's end, and then record one key each at the same moment.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_recorded_on_two_streams_by_two_processes_is_counted_by_each() {
    let server = StandIn::start();
    let (one, two) = (log(&server), log(&server));
    let (run, key) = (Uuid::new_v4(), CommandId(Uuid::new_v4()));
    for log in [&one, &two] {
        log.learn_keys().await.expect("learn the keys");
    }
    for (number, log) in [&one, &two].into_iter().enumerate() {
        let events = keyed_event(run, number, key);
        log.append_with_key(&stream(run, number as u64), NoStream, events, key).await.expect("append");
    }
    for log in [&one, &two] {
        assert_eq!(log.key_collisions(), 0);
        let mut followed = log.follow_all(0);
        eventually("the key to be counted", async || {
            follow_on(&mut followed).await;
            (log.key_collisions() == 1).then_some(())
        })
        .await;
        assert_eq!(log.key_collisions(), 1);
    }
    // Each stream keeps its own, and a third is refused by all.
    for log in [&one, &two, &self::log(&server)] {
        let third = log.append_with_key(&stream(run, 2), NoStream, keyed_event(run, 2, key), key).await;
        assert!(matches!(third, Err(AppendError::KeyTaken { .. })), "{third:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_teaches_a_process_the_keys_of_others() {
    let server = StandIn::start();
    let (one, two) = (log(&server), log(&server));
    let (run, key) = (Uuid::new_v4(), CommandId(Uuid::new_v4()));
    two.learn_keys().await.expect("learn the keys");
    one.append_with_key(&stream(run, 0), NoStream, keyed_event(run, 0, key), key).await.expect("append");
    let mut followed = two.follow_all(0);
    let spent = eventually("the key", async || {
        follow_on(&mut followed).await;
        two.spent_key(key).await.expect("a key")
    })
    .await;
    assert_eq!(spent, SpentKey::on_stream(&stream(run, 0)));
    let given = SpentKey { request: "a request".to_owned(), answer: None };
    let answer = two.spend_key(key, given, chrono::DateTime::UNIX_EPOCH).await.expect("spend");
    assert_eq!(answer, KeySpending::Before(spent));
}

/// A key that no event has can be known from the snapshot alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_takes_the_saved_keys_unless_they_are_doubted_and_those_recorded_since() {
    let server = StandIn::start();
    let one = log(&server);
    let run = Uuid::new_v4();
    let [saved, of_no_event, later] = std::array::from_fn(|_| CommandId(Uuid::new_v4()));
    one.append_with_key(&stream(run, 0), NoStream, keyed_event(run, 0, saved), saved).await.expect("append");
    one.learn_keys().await.expect("learn the keys");
    one.save_keys().await.expect("save");
    let Snapshot { position, content } = one.load_snapshot("keys").await.expect("load").expect("saved keys");
    let mut content: Value = serde_json::from_slice(&content).expect("JSON");
    let mut key = content["keys"][0].clone();
    key[0] = json!(of_no_event);
    content["keys"].as_array_mut().expect("the keys").push(key);
    one.append_with_key(&stream(run, 1), NoStream, keyed_event(run, 1, later), later).await.expect("append");
    for (member, value, is_taken) in [
        ("format", content["format"].clone(), true),
        ("format", json!(2), false),
        ("keys", json!("of another form"), false),
        ("eventId", json!(Uuid::new_v4()), false),
        ("recordedAt", json!("2019-01-01T00:00:00Z"), false),
        ("position", json!(position + 1), false),
    ] {
        let mut content = content.clone();
        content[member] = value;
        let snapshot = Snapshot { position, content: content.to_string().into() };
        assert!(one.save_snapshot("keys", &snapshot).await.expect("save"));
        let next = log(&server);
        assert_eq!(next.spent_key(of_no_event).await.expect("a key").is_some(), is_taken, "{member}");
        for (number, key) in [saved, later].into_iter().enumerate() {
            let spent = next.spent_key(key).await.expect("a key");
            assert_eq!(spent, Some(SpentKey::on_stream(&stream(run, number as u64))), "{member}");
        }
    }
}

/// The saved keys are there a moment before those that were recorded since.
#[tokio::test(flavor = "multi_thread")]
async fn a_question_about_a_key_at_a_start_waits_for_the_keys_recorded_since_they_were_saved() {
    let server = StandIn::start();
    let (one, proxy, client) = (log(&server), server.proxy(), client(&server));
    let run = Uuid::new_v4();
    let [saved, later] = [CommandId(Uuid::new_v4()), CommandId(Uuid::new_v4())];
    one.append_with_key(&stream(run, 0), NoStream, keyed_event(run, 0, saved), saved).await.expect("append");
    one.learn_keys().await.expect("learn the keys");
    one.save_keys().await.expect("save");
    one.append_with_key(&stream(run, 1), NoStream, keyed_event(run, 1, later), later).await.expect("append");

    let next = log_at(&proxy.url());
    let reads_backwards = async || {
        let calls = made_up_data(&client, "$stand-in-calls").await;
        calls.as_array().expect("a list").iter().filter(|call| **call == json!("read backwards $all")).count()
    };
    let before = reads_backwards().await;
    proxy.delay(Duration::from_millis(500));
    let ask = async |key| next.spent_key(key).await.expect("a key").is_some();
    let late = async {
        eventually("a look at the log's end", async || (reads_backwards().await > before).then_some(())).await;
        ask(later).await
    };
    assert_eq!(tokio::join!(ask(saved), late), (true, true));
}
