//! Whatever holds a message back: nothing is lost or skipped, and the ledger says so.

use std::collections::{BTreeMap, BTreeSet};

use aws_stand_in::TopicStandIn;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use sqlx::{PgPool, Postgres, Transaction};

use super::{ALLOCATION, PUBLIC_URL, published, publisher, publishing, received, wait_until_published};
use crate::support::{
    Proxy, bare_database,
    estate::Estate,
    eventually,
    ledger::{Ledger, NOVAK, PRISON, SHAH},
    questions::record,
    random_numbers::RandomNumbers,
    run,
};

/// Waits until the publisher says that it waits, and answers the reason.
async fn reason_of_wait(ledger: &Ledger) -> String {
    eventually("a publisher that waits", async || {
        let publisher = publisher(ledger).await;
        let is_waiting = publisher["details"]["state"] == "waiting";
        is_waiting.then(|| {
            assert_eq!(publisher["status"], "DEGRADED", "{publisher}");
            publisher["details"]["warning"].as_str().expect("a reason").to_owned()
        })
    })
    .await
}

/// Keeps the projector from writing the views, which can be read.
async fn hold_views(pool: &PgPool) -> Transaction<'static, Postgres> {
    let mut holding = pool.begin().await.expect("a transaction");
    sqlx::raw_sql("LOCK TABLE views.checkpoint IN SHARE MODE").execute(&mut *holding).await.expect("a lock");
    holding
}

#[tokio::test]
async fn no_message_goes_out_before_the_views_have_it() {
    let Some(estate) = Estate::start().await else { return };
    let ledger = publishing(&estate).await;
    ledger.tier("A1111AA").await;
    published(&ledger, &estate).await;
    let holding = hold_views(&ledger.database.pool).await;
    let views = ledger.event_count().await;
    ledger.allocate("A1111AA", SHAH).await;
    let reason = reason_of_wait(&ledger).await;
    let position = ledger.event_count().await;
    assert_eq!(reason, format!("the views are at position {views}, and a message is of position {position}"));
    assert_eq!(received(&estate).await, []);
    let stores = ledger.database.arguments();
    let stores: Vec<&str> = stores.iter().map(String::as_str).collect();
    let ran = run(&[&["integration", "status"], &stores[..]].concat()).await;
    assert!(ran.stdout.contains(&format!("The publisher waits: {reason}")), "{} {}", ran.stdout, ran.stderr);
    let metrics = ledger.client().get("/metrics").await.text;
    assert!(metrics.contains("ledger_publisher_waiting 1.0\n"), "{metrics}");
    holding.rollback().await.expect("let go of the views");
    let messages = published(&ledger, &estate).await;
    assert_eq!(messages.iter().map(|message| message.position).collect::<Vec<_>>(), [position]);
    let ran = run(&[&["integration", "status"], &stores[..]].concat()).await;
    assert!(!ran.stdout.contains("waits:"), "{}", ran.stdout);
}

/// How far the views were that answered.
fn answered_at(headers: &HeaderMap) -> u64 {
    headers["ledger-position"].to_str().expect("text").parse().expect("a position")
}

/// A consumer asks at once, while the projector is held now and then, beside commands.
#[tokio::test(flavor = "multi_thread")]
async fn no_consumer_is_answered_with_less_than_its_message_says() {
    let Some(estate) = Estate::start().await else { return };
    let ledger = publishing(&estate).await;
    let numbers: Vec<String> = (0..8).map(|index| format!("A{index:04}AA")).collect();
    for number in &numbers {
        ledger.case(number, SHAH).await;
    }
    let commands = async {
        for round in 0..4 {
            let holding = hold_views(&ledger.database.pool).await;
            for number in &numbers {
                let pom = if round % 2 == 0 { NOVAK } else { SHAH };
                let moved = json!({"prison": PRISON, "pom": {"staffId": pom}, "reason": "Leave"});
                record(&ledger, &format!("POST /prisoners/{number}/reallocations"), moved).await;
            }
            // By then a message would have overtaken the views, were it not held back.
            reason_of_wait(&ledger).await;
            holding.rollback().await.expect("let go of the views");
        }
    };
    let consumer = async {
        let (mut followed, mut last) = (BTreeSet::new(), Value::Null);
        while followed.len() < numbers.len() * 5 {
            for message in received(&estate).await.into_iter().filter(|message| message.event_type == ALLOCATION) {
                let answer = message.follow(&ledger).await;
                assert!(answered_at(&answer.headers) >= message.position, "{message:?} {}", answer.text);
                if followed.insert(message.position) {
                    last = message.event["additionalInformation"]["staffCode"].clone();
                }
            }
        }
        last
    };
    let ((), last) = tokio::time::timeout(crate::support::PATIENCE, async { tokio::join!(commands, consumer) })
        .await
        .expect("all messages");
    assert_eq!(last, SHAH);
}

#[tokio::test]
async fn a_replica_that_lags_holds_messages_back() {
    let Some(estate) = Estate::start().await else { return };
    let replica = bare_database().await;
    projector::migrate(&replica.pool).await.expect("views");
    let arguments = [
        &["--domain-events-topic", estate.topic(), "--public-url", PUBLIC_URL][..],
        &["--views-replica", &replica.url],
    ];
    let ledger = Ledger::start_all_roles_in(&estate.environment(), &arguments.concat()).await;
    wait_until_published(&ledger).await;
    ledger.tier("A1111AA").await;
    assert!(reason_of_wait(&ledger).await.starts_with("the views are at position 0"), "those of the replica");
    assert_eq!(received(&estate).await, []);
    // As far as the replica of the first views has come.
    let move_on = sqlx::query("UPDATE views.checkpoint SET position = $1").bind(i64::MAX);
    move_on.execute(&replica.pool).await.expect("the checkpoint");
    assert_eq!(published(&ledger, &estate).await.len(), 1);
}

/// It is waited for in place: the publisher neither begins again nor sends anything twice.
#[tokio::test]
async fn a_replica_that_cannot_be_reached_holds_messages_back_and_is_named() {
    let Some(estate) = Estate::start().await else { return };
    let replica = bare_database().await;
    projector::migrate(&replica.pool).await.expect("views");
    let move_on = sqlx::query("UPDATE views.checkpoint SET position = $1").bind(i64::MAX);
    move_on.execute(&replica.pool).await.expect("the checkpoint");
    let proxy = Proxy::to_postgres(&replica.url);
    let url = proxy.postgres_url(&replica.url);
    let arguments = ["--domain-events-topic", estate.topic(), "--public-url", PUBLIC_URL, "--views-replica", &url];
    let ledger = Ledger::start_all_roles_in(&estate.environment(), &arguments).await;
    wait_until_published(&ledger).await;
    let epoch = async || -> i64 {
        let read = sqlx::query_scalar("SELECT epoch FROM integration.publication");
        read.fetch_one(&ledger.database.pool).await.expect("the checkpoint")
    };
    let before = epoch().await;
    proxy.refuse();
    proxy.cut();
    ledger.tier("A1111AA").await;
    let reason = reason_of_wait(&ledger).await;
    assert_eq!(reason, "the views or a replica cannot be read");
    let stores = ledger.database.arguments();
    let stores: Vec<&str> = stores.iter().map(String::as_str).collect();
    let ran = run(&[&["integration", "status"], &stores[..]].concat()).await;
    assert!(ran.stdout.contains(&format!("The publisher waits: {reason}")), "{} {}", ran.stdout, ran.stderr);
    let metrics = ledger.client().get("/metrics").await.text;
    assert!(metrics.contains("ledger_publisher_waiting 1.0\n"), "{metrics}");
    assert_eq!(received(&estate).await, []);
    proxy.pass();
    assert_eq!(published(&ledger, &estate).await.len(), 1);
    assert_eq!(epoch().await, before);
}

#[tokio::test]
async fn a_topic_that_refuses_for_a_while_gets_everything_later() {
    let Some(estate) = Estate::start().await else { return };
    let proxy = Proxy::to(estate.url().strip_prefix("http://").expect("an address"));
    let url = proxy.url().replace("kurrentdb://", "http://").replace("?tls=false", "");
    let arguments = ["--domain-events-topic", estate.topic(), "--public-url", PUBLIC_URL];
    let ledger = Ledger::start_all_roles_in(&Estate::environment_at(&url), &arguments).await;
    wait_until_published(&ledger).await;
    proxy.refuse();
    proxy.cut();
    ledger.case("A1111AA", SHAH).await;
    ledger.case("A2222BB", NOVAK).await;
    let reason = reason_of_wait(&ledger).await;
    assert!(reason.starts_with("the topic does not take messages"), "{reason}");
    proxy.pass();
    let messages = published(&ledger, &estate).await;
    let told: Vec<_> = messages.iter().map(|message| (message.number(), message.event_type.as_str())).collect();
    let (phase, allocated) = (super::RESPONSIBILITY, ALLOCATION);
    assert_eq!(told, [("A1111AA", phase), ("A1111AA", allocated), ("A2222BB", phase), ("A2222BB", allocated)]);
    assert_eq!(publisher(&ledger).await["status"], "UP");

    // A topic that is not there refuses for as long as it is not.
    let Ledger { database, program } = ledger;
    assert!(program.stop().await.success());
    let missing = format!("{}-later", estate.topic());
    let arguments = ["--domain-events-topic", &missing, "--public-url", PUBLIC_URL];
    let ledger = Ledger::start_all_roles_on(database, &estate.environment(), &arguments).await;
    ledger.tier("A3333CC").await;
    let reason = reason_of_wait(&ledger).await;
    assert!(reason.starts_with("the topic does not take messages"), "{reason}");
}

/// A topic that takes some messages of a request and refuses others.
#[tokio::test(flavor = "multi_thread")]
async fn each_persons_messages_come_in_order_and_once_from_a_topic_that_refuses_some() {
    let mut numbers = RandomNumbers(7);
    let sink = TopicStandIn::serve(Some(Box::new(move || numbers.roll(10)))).await.expect("a port");
    let arguments = ["--domain-events-topic", "arn:aws:sns:eu-west-2:1:t", "--public-url", PUBLIC_URL];
    let ledger = Ledger::start_all_roles_in(&Estate::environment_at(&sink.url), &arguments).await;
    wait_until_published(&ledger).await;
    // They wait together, so that requests have many of them.
    let holding = hold_views(&ledger.database.pool).await;
    for index in 0..25 {
        let number = format!("A{index:04}AA");
        ledger.case(&number, SHAH).await;
        let moved = json!({"prison": PRISON, "pom": {"staffId": NOVAK}, "reason": "Leave"});
        record(&ledger, &format!("POST /prisoners/{number}/reallocations"), moved).await;
    }
    holding.rollback().await.expect("let go of the views");
    wait_until_published(&ledger).await;
    let taken = sink.taken();
    assert!(sink.refused() > 10, "{} refused", sink.refused());
    let mut positions: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for (position, text) in &taken {
        let event: Value = serde_json::from_str(text).expect("JSON");
        let number = event["personReference"]["identifiers"][0]["value"].as_str().expect("a number").to_owned();
        positions.entry(number).or_default().push(*position);
    }
    assert_eq!(positions.len(), 25);
    for (number, mut positions) in positions {
        // A request that was sent again.
        positions.dedup();
        assert_eq!(positions.len(), 3, "{number}");
        assert!(positions.is_sorted_by(|one, next| one < next), "{number}: {positions:?}");
    }
}
