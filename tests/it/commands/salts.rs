//! The salt in each event's metadata: new for each try, and gone from every answer.

use std::collections::HashSet;

use command::Request;
use domain::{
    Command, Confinement,
    identifier::CommandId,
    prisoner::{self, TierAssigned},
    tier::TierSource,
};
use event_log::{NewEvent, RecordedEvent, request_digest};
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{
    builders::recorded_by,
    commands::{new_key, service_on},
    controlled_log::ControlledLog,
    ledger::{Ledger, OKAFOR, PRISON, SHAH, assert_recorded},
    whole_log::read_recorded,
};

/// The metadata without their salt, and the salt.
fn split_salt(metadata: &[u8]) -> (Value, String) {
    let mut metadata: Value = serde_json::from_slice(metadata).expect("JSON");
    let salt = metadata["salt"].take();
    (metadata, salt.as_str().expect("a salt").to_owned())
}

fn salts(events: &[RecordedEvent]) -> Vec<String> {
    events.iter().map(|event| split_salt(&event.metadata).1).collect()
}

#[tokio::test]
async fn each_event_has_a_salt_of_its_own_and_a_repeat_changes_none() {
    let ledger = Ledger::start().await;
    ledger.case("A0001AA", SHAH).await;
    ledger.tier("A0002AA").await;
    let coworker = json!({"prison": PRISON, "pom": {"staffId": OKAFOR}});
    assert_recorded(&ledger.client().post("/prisoners/A0001AA/co-workers", &coworker).await);
    // Of several events, on two cases.
    let (key, merge) = (new_key(), json!({"removedNumber": "A0001AA"}));
    let path = "/prisoners/A0002AA/merges";
    let merged = ledger.send(Method::POST, path, &key, &merge).await;
    assert_recorded(&merged);
    let log = ledger.log().await;
    let recorded = read_recorded(&*log).await;
    let salts = salts(&recorded);
    assert!(salts.iter().all(|salt| salt.len() == 43), "{salts:?}");
    assert_eq!(salts.iter().collect::<HashSet<_>>().len(), recorded.len(), "{salts:?}");

    let again = ledger.send(Method::POST, path, &key, &merge).await;
    assert_eq!((again.status.as_u16(), &again.text), (200, &merged.text));
    assert_eq!(read_recorded(&*log).await, recorded, "to the byte");
    assert!(!merged.text.contains("salt"), "{}", merged.text);
}

fn tier(command_id: CommandId, tier: &str) -> Request {
    let number = "A0001AA".parse().expect("a number");
    let command = prisoner::Command::AssignTier(TierAssigned {
        tier: tier.parse().expect("a tier"),
        rosh_level: None,
        source: TierSource::Manual,
        crn: None,
        prison: None,
    });
    Request {
        request_digest: request_digest("test", "A0001AA", &command).into(),
        command: Command::Prisoner(number, command),
        command_id,
        recorded_by: recorded_by("SPO"),
        correlation_id: Uuid::nil(),
        causation_id: None,
        provenance: None,
        effective_at: None,
        if_match: None,
        confinement: Confinement::default(),
    }
}

#[tokio::test]
async fn a_try_after_a_conflict_draws_another_salt() {
    let ledger = Ledger::start().await;
    let log = ControlledLog::new(&ledger.log().await);
    let service = service_on(log.shared());
    service.execute(tier(CommandId(Uuid::new_v4()), "A")).await.expect("recorded");
    // Another service, so that the first one knows the case as it was.
    service_on(ledger.log().await).execute(tier(CommandId(Uuid::new_v4()), "B")).await.expect("recorded");
    let command_id = CommandId(Uuid::new_v4());
    service.execute(tier(command_id, "C")).await.expect("recorded");

    let tries: Vec<NewEvent> = log.tried_events();
    let [_, conflicting, recorded] = &tries[..] else { panic!("{tries:?}") };
    assert_eq!(conflicting.event_id, recorded.event_id);
    let (lost, kept) = (split_salt(&conflicting.metadata).1, split_salt(&recorded.metadata).1);
    assert_ne!(lost, kept);
    let stored = read_recorded(&*log.shared()).await;
    assert_eq!(salts(&stored[stored.len() - 1..]), [kept]);
}
