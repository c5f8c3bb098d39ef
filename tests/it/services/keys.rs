//! One idempotency key at two command services whose log is on KurrentDB.

use std::sync::Arc;

use command::{Clock, CommandError, Request, Service, ServiceSettings};
use domain::{
    Confinement, Stream,
    identifier::CommandId,
    prisoner::{self, RecommendationPolicy},
};
use event_log::{AppendError, EventLog as _, ExpectedRevision, request_digest};
use futures::future::join_all;
use reqwest::Method;
use serde_json::json;
use uuid::Uuid;

use super::{service, tier};
use crate::support::{
    Client, HttpAnswer, Program, StandIn, TestDatabase, bare_database,
    builders::{manual_tier, new_event, recorded_by, tier_assigned},
    commands::new_key,
    eventually,
    ledger::{assert_recorded, assert_refused},
    log_at,
};

/// The metric that counts keys on two streams.
const COLLISIONS: &str = "ledger_idempotency_key_collisions_total";

async fn two_services(server: &StandIn) -> (TestDatabase, [Program; 2]) {
    let views = bare_database().await;
    let start = async || service("command", &server.url(), &views.url).await.into_ready().await;
    let services = [start().await, start().await];
    (views, services)
}

async fn assign_tier(client: &Client, number: &str, key: &str) -> HttpAnswer {
    let path = format!("/prisoners/{number}/tier");
    client.send(Method::POST, &path, &[("Idempotency-Key", key)], Some(&tier("B2"))).await
}

/// Waits until a service has read the log to its present end: it answers a bulk of all cases then.
async fn follow_to_end(client: &Client) {
    let bulk = json!({"fromStaffId": 1, "toStaffId": 2, "reason": "Leaving"});
    assert_eq!(client.post("/prisons/LEI/reallocations", &bulk).await.status, 200);
}

async fn collisions(client: &Client) -> usize {
    let metrics = client.get("/metrics").await.text;
    let count = metrics.lines().find_map(|line| line.strip_prefix(COLLISIONS)?.strip_prefix(' '));
    count.expect("the metric").parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_one_service_recorded_is_refused_by_the_other_and_after_a_restart_of_both() {
    let server = StandIn::start();
    let (views, [one, two]) = two_services(&server).await;
    let key = new_key();
    assert_recorded(&assign_tier(one.client(), "A0001AA", &key).await);
    follow_to_end(two.client()).await;
    assert_refused(&assign_tier(two.client(), "A0002AA", &key).await, 422, "idempotency-key-reused");
    for service in [&one, &two] {
        assert_eq!(collisions(service.client()).await, 0);
    }
    // One ends without warning, and one in order: that one saves its keys.
    one.kill();
    assert!(two.stop().await.success());
    let saved = log_at(&server.url()).load_snapshot("keys").await.expect("load").expect("saved keys");
    assert!(String::from_utf8_lossy(&saved.content).contains(&key));
    let three = service("command", &server.url(), &views.url).await;
    assert_refused(&assign_tier(three.client(), "A0002AA", &key).await, 422, "idempotency-key-reused");
    assert_eq!(assign_tier(three.client(), "A0001AA", &key).await.status, 200);
}

/// No call of one service waits for the other, so both may record it.
#[tokio::test(flavor = "multi_thread")]
async fn keys_that_two_services_recorded_for_two_cases_at_once_are_counted_and_then_refused() {
    const ROUNDS: usize = 20;
    let server = StandIn::start();
    let (_views, services) = two_services(&server).await;
    let mut recorded_twice = 0;
    for round in 0..ROUNDS {
        let key = new_key();
        let sent = services.iter().zip(["A", "B"]).map(|(service, letter)| {
            let (client, key) = (service.client(), &key);
            async move { assign_tier(client, &format!("{letter}{round:04}AA"), key).await }
        });
        let answers = join_all(sent).await;
        let recorded = answers.iter().filter(|answer| answer.status == 201).count();
        assert!(recorded > 0, "{answers:?}");
        recorded_twice += recorded - 1;
        for service in &services {
            follow_to_end(service.client()).await;
            let third = assign_tier(service.client(), &format!("C{round:04}AA"), &key).await;
            assert_refused(&third, 422, "idempotency-key-reused");
        }
        for (service, (letter, first)) in services.iter().zip(["A", "B"].into_iter().zip(&answers)) {
            if first.status == 201 {
                let again = assign_tier(service.client(), &format!("{letter}{round:04}AA"), &key).await;
                assert_eq!((again.status.as_u16(), &again.text), (200, &first.text));
            }
        }
    }
    for service in &services {
        eventually("the count of keys on two streams", async || {
            (collisions(service.client()).await == recorded_twice).then_some(())
        })
        .await;
    }
}

fn request(number: &str, command: prisoner::Command, command_id: CommandId) -> Request {
    Request {
        request_digest: request_digest("test", number, &command).into(),
        command: domain::Command::Prisoner(number.parse().expect("a number"), command),
        command_id,
        recorded_by: recorded_by("SPO"),
        correlation_id: command_id.0,
        causation_id: None,
        provenance: None,
        effective_at: None,
        if_match: None,
        confinement: Confinement::default(),
    }
}

/// The store cannot tell whether it took effect, so it keeps the key for that case.
#[tokio::test(flavor = "multi_thread")]
async fn the_key_of_an_append_that_failed_is_free_for_its_case_and_for_no_other() {
    let mut server = StandIn::start();
    let log = Arc::new(log_at(&server.url()));
    let settings = ServiceSettings { clock: Clock::system(), recommendation_policy: RecommendationPolicy::default() };
    let service = Service::new(log.clone(), settings);
    let [first, same_fact, refused] = std::array::from_fn(|_| CommandId(Uuid::new_v4()));
    let tier = || prisoner::Command::AssignTier(manual_tier("B2"));
    service.execute(request("A0001AA", tier(), first)).await.expect("record");
    server.kill();
    let stream = Stream::Prisoner("A0001AA".parse().expect("a number"));
    for key in [same_fact, refused] {
        let events = vec![new_event(&tier_assigned("A"))];
        let failed = log.append_with_key(&stream, ExpectedRevision::Exact(0), events, key).await;
        assert!(matches!(failed, Err(AppendError::Log(_))), "{failed:?}");
    }
    server.start_again();
    let answer = service.execute(request("A0001AA", tier(), same_fact)).await.expect("the same fact");
    assert_eq!((answer.is_repeated(), answer.last().entry.revision), (true, 0));
    let answer = service.execute(request("A0001AA", prisoner::Command::RemoveCoworker, refused)).await;
    assert!(matches!(answer, Err(CommandError::Refused(_))), "{answer:?}");
    for key in [same_fact, refused] {
        let other = service.execute(request("A0002AA", tier(), key)).await;
        assert!(matches!(other, Err(CommandError::KeyReused { .. })), "{other:?}");
    }
}
