//! The POM contacts that NOMIS has of a person, by example; and prisons' streams, which have none.

use chrono::{DateTime, Utc};
use domain::{
    Entry, Refusal, Stream,
    event::RecordedBy,
    identifier::{CommandId, PrisonCode, StaffId},
    nomis_contacts::{Command, ContactSeen, Context, History, decide},
};
use serde_json::Value;
use uuid::Uuid;

use crate::case::number;

const SAMPLES: &str = include_str!("../data/events.jsonl");

/// Decides a command that takes effect on a day, on a later day, and adds its events.
fn try_contact(history: &mut History, day: &str, command: &Command) -> Result<(), Refusal> {
    let effective_at: DateTime<Utc> = format!("{day}T09:00:00Z").parse().expect("an instant");
    let now = "2026-12-01T09:00:00Z".parse().expect("an instant");
    for event in decide(history, command, &Context { now, effective_at })? {
        let revision = history.entries().len() as u64;
        let command_id = CommandId(Uuid::from_u128(revision.into()));
        history.push(Entry {
            event_id: command_id.event_id(&Stream::Contacts(history.number().clone()), 0),
            revision,
            position: revision + 1,
            effective_at,
            recorded_at: now,
            recorded_by: RecordedBy { username: None, client: "tests".into(), auth_source: None },
            command_id,
            event,
        });
    }
    Ok(())
}

#[track_caller]
fn check(history: &mut History, day: &str, command: &Command, expected: &str) {
    let got = try_contact(history, day, command).map_err(|refusal| refusal.rule.code());
    assert_eq!(got.err().unwrap_or("recorded"), expected);
}

fn prison(code: &str) -> PrisonCode {
    code.parse().expect("a prison code")
}

fn seen(staff_id: Option<i64>, name: Option<&str>) -> ContactSeen {
    ContactSeen {
        prison: prison("LEI"),
        staff_id: staff_id.map(|id| StaffId::try_from(id).expect("a staff id")),
        name: name.map(Into::into),
        contact_type: "POM".into(),
    }
}

#[test]
fn a_contact_is_in_nomis_until_its_removal_is_confirmed() {
    let mut history = History::new(number("A1234BC"));
    let contact = seen(None, Some("Okafor, Grace"));
    let contact_id = contact.contact_id(history.number());
    let found = Command::RecordNomisContact(contact);
    let removed = Command::ConfirmNomisContactRemoval { prison: prison("LEI"), contact_id };
    for blank in [" ", "\u{feff}", "\u{202e}\u{115f}"] {
        let unnamed = Command::RecordNomisContact(seen(None, Some(blank)));
        check(&mut history, "2026-03-01", &unnamed, "contact-without-person");
    }
    check(&mut history, "2026-03-01", &removed, "nomis-contact-unknown");
    check(&mut history, "2026-03-02", &found, "recorded");
    check(&mut history, "2026-03-03", &found, "nomis-contact-known");
    let elsewhere = Command::ConfirmNomisContactRemoval { prison: prison("MDI"), contact_id };
    check(&mut history, "2026-03-04", &elsewhere, "nomis-contact-unknown");
    check(&mut history, "2026-03-04", &removed, "recorded");
    check(&mut history, "2026-03-05", &removed, "nomis-contact-unknown");
    check(&mut history, "2026-03-06", &found, "recorded");
    assert_eq!(history.contacts()[&contact_id].removed_at, None);
    check(&mut history, "2026-03-01", &removed, "nomis-contact-unknown");
    check(&mut history, "2026-03-01", &found, "recorded");
    let folded = History::from_entries(history.number().clone(), history.entries().to_vec());
    assert_eq!(folded, history);
}

#[test]
fn a_contact_is_the_same_by_its_person_prison_pom_and_type() {
    let (person, contact) = (number("A1234BC"), seen(None, Some("Okafor, Grace")));
    let id = contact.contact_id(&person);
    assert_eq!(seen(None, Some(" okafor, grace")).contact_id(&person), id);
    assert_eq!(id.to_string(), "afcf05ed-c15d-53ab-91a7-a7991e01da6d", "a published id");
    let others = [
        seen(Some(101), Some("Okafor, Grace")).contact_id(&person),
        contact.contact_id(&number("B1234BC")),
        ContactSeen { prison: prison("MDI"), ..contact.clone() }.contact_id(&person),
        ContactSeen { contact_type: "COPOM".into(), ..contact }.contact_id(&person),
    ];
    assert!(others.iter().all(|other| *other != id), "{others:?}");
}

#[test]
fn rule_13_a_contact_names_no_other_prisoner() {
    let mut history = History::new(number("A1234BC"));
    let text = || "complaint of B1234BC".to_owned();
    let contact = seen(None, Some("Okafor, Grace"));
    for named in
        [ContactSeen { name: Some(text()), ..contact.clone() }, ContactSeen { contact_type: text(), ..contact.clone() }]
    {
        check(&mut history, "2026-03-01", &Command::RecordNomisContact(named), "text-names-prisoner");
    }
    let own = ContactSeen { name: Some("POM of A1234BC".into()), ..contact };
    check(&mut history, "2026-03-01", &Command::RecordNomisContact(own), "recorded");
}

/// The members of the data of prisons' events, which are of staff. A text that a person writes
/// names no prisoner by rule 13, so no member can hold a number.
#[test]
fn no_member_of_a_prisons_event_is_made_for_a_prisoner() {
    let known = [
        "goLiveDate",
        "goLiveDateBefore",
        "estate",
        "reason",
        "staffId",
        "name",
        "kind",
        "workingPattern",
        "email",
        "status",
        "returnsOn",
    ];
    let samples = SAMPLES.lines().map(|line| serde_json::from_str::<Value>(line).expect("a line of JSON"));
    let mut of_prisons = samples.filter(|sample| sample["stream"].as_str().is_some_and(|of| of.starts_with("prison-")));
    let mut types = std::collections::BTreeSet::new();
    for sample in of_prisons.by_ref() {
        for member in sample["data"].as_object().expect("members").keys() {
            assert!(known.contains(&member.as_str()), "{member} of {sample}: may it hold a prisoner number?");
        }
        types.insert(sample["type"].as_str().expect("a type").to_owned());
    }
    let all: Vec<&str> = domain::prison::PrisonEvent::TYPE_NAMES.to_vec();
    assert!(all.iter().all(|name| types.contains(*name)), "no sample of one of {all:?}");
}
