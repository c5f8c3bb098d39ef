//! Messages as their publishers write them, and malformed ones.

use domain::prisoner::ReceptionReason;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::lookup::TierVersion;

const RELEASED: &str = "prisoner-offender-search.prisoner.released";
const RECEIVED: &str = "prisoner-offender-search.prisoner.received";
const MERGED: &str = "prison-offender-events.prisoner.merged";
const BOOKING_MOVED: &str = "prison-offender-events.prisoner.booking.moved";

const ID: &str = "63ba0b4b-0000-4000-8000-000000000001";

/// A notification of an event, as SNS wraps it.
fn wrapped(event_type: &str, event: &Value) -> Value {
    json!({
        "Type": "Notification", "MessageId": ID, "TopicArn": "arn:aws:sns:eu-west-2:000000000000:domain-events",
        "Message": event.to_string(), "Timestamp": "2024-10-11T11:00:20.000Z",
        "MessageAttributes": {"eventType": {"Type": "String", "Value": event_type}},
    })
}

fn read(event_type: &str, event: &Value) -> Result<Fact, String> {
    let read = Notification::read(&wrapped(event_type, event).to_string());
    read.map(|notification| notification.fact).map_err(|unreadable| unreadable.problem)
}

fn movement(number: &str, prison: &str) -> Movement {
    Movement {
        number: number.parse().expect("a number"),
        prison: prison.parse().expect("a prison"),
        at: "2024-10-11T11:00:19.013138859Z".parse().expect("an instant"),
    }
}

/// As prisoner search publishes it.
fn searched(reason: &str) -> Value {
    json!({
        "additionalInformation": {"nomsNumber": "A8473EA", "reason": reason, "prisonId": "SWI"},
        "occurredAt": "2024-10-11T12:00:19.013138859+01:00", "version": "1.0",
        "description": "A prisoner has been released from a prison with reason: released from prison",
        "detailUrl": "https://prisoner-search-dev.prison.service.justice.gov.uk/prisoner/A8473EA",
        "personReference": {"identifiers": [{"type": "NOMS", "value": "A8473EA"}]},
    })
}

#[test]
fn the_reasons_of_prisoner_search_say_what_happened() {
    let here = || movement("A8473EA", "SWI");
    for (reason, expected) in [
        ("RELEASED", Fact::Released(here())),
        ("TRANSFERRED", Fact::TransferredOut(here())),
        ("SENT_TO_COURT", Fact::Irrelevant),
        ("RELEASED_TO_HOSPITAL", Fact::Irrelevant),
        ("TEMPORARY_ABSENCE_RELEASE", Fact::Irrelevant),
    ] {
        assert_eq!(read(RELEASED, &searched(reason)), Ok(expected), "released: {reason}");
    }
    for (reason, expected) in [
        ("NEW_ADMISSION", Fact::Received(here(), ReceptionReason::NewAdmission)),
        ("READMISSION", Fact::Received(here(), ReceptionReason::Readmission)),
        ("READMISSION_SWITCH_BOOKING", Fact::Received(here(), ReceptionReason::ReadmissionSwitchBooking)),
        ("TRANSFERRED", Fact::Received(here(), ReceptionReason::Transferred)),
        ("RETURN_FROM_COURT", Fact::Irrelevant),
        ("TEMPORARY_ABSENCE_RETURN", Fact::Irrelevant),
        ("POST_MERGE_ADMISSION", Fact::Irrelevant),
    ] {
        assert_eq!(read(RECEIVED, &searched(reason)), Ok(expected), "received: {reason}");
    }
}

#[test]
fn merges_and_moved_bookings_name_two_numbers() {
    let [kept, removed] = ["A1234BC", "B1234BC"].map(|number| number.parse().expect("a number"));
    let merged = json!({
        "additionalInformation":
            {"bookingId": "1221664", "nomsNumber": "A1234BC", "removedNomsNumber": "B1234BC", "reason": "MERGE"},
        "occurredAt": "2024-10-14T10:40:37+01:00", "publishedAt": "2024-10-14T10:40:38.1+01:00", "version": 1,
    });
    let at = "2024-10-14T09:40:37Z".parse().expect("an instant");
    assert_eq!(read(MERGED, &merged), Ok(Fact::Merged { kept, removed, at }));
    let moved = json!({"additionalInformation": {
        "bookingId": 7, "movedFromNomsNumber": "B1234BC", "movedToNomsNumber": " a1234bc ",
    }});
    let [to, from] = ["A1234BC", "B1234BC"].map(|number| number.parse().expect("a number"));
    assert_eq!(read(BOOKING_MOVED, &moved), Ok(Fact::BookingMoved { from, to }));
}

/// As a probation service publishes it, about a case and perhaps a person.
fn in_delius(information: &Value, identifiers: &[(&str, &str)]) -> Value {
    let identifier = |(kind, value): &(&str, &str)| json!({"type": kind, "value": value});
    json!({
        "occurredAt": "2024-06-14T09:06:41.820888194+01:00", "version": 2, "description": "x",
        "detailUrl": "https://hmpps-tier.hmpps.service.justice.gov.uk/v3/crn/X777978/tier/56796cab",
        "additionalInformation": information,
        "personReference": {"identifiers": identifiers.iter().map(identifier).collect::<Vec<_>>()},
    })
}

#[test]
fn messages_of_delius_name_cases() {
    let crn = |text: &str| text.parse::<domain::identifier::Crn>().expect("a CRN");
    let changed = || Fact::InDelius(DeliusFact::RecordChanged { crn: crn("X777978") });
    let of_case = |information: Value| in_delius(&information, &[("PERSON", "7"), ("CRN", " x777978 ")]);
    let at = "2024-06-14T08:06:41.820888194Z".parse().expect("an instant");
    for (event_type, event, expected) in [
        (
            "tier.calculation.changed",
            of_case(json!({"calculationId": "56796cab"})),
            Fact::InDelius(DeliusFact::TierChanged { crn: crn("X777978"), version: Some(TierVersion::V3) }),
        ),
        ("OFFENDER_MANAGER_CHANGED", json!({"offenderId": 7, "crn": "X777978", "sourceId": 1}), changed()),
        ("OFFENDER_OFFICER_CHANGED", json!({"crn": "X777978"}), changed()),
        ("OFFENDER_DETAILS_CHANGED", json!({"crn": "X777978"}), changed()),
        ("person.community.manager.allocated", of_case(json!({"allocationId": "7"})), changed()),
        ("probation-case.registration.added", of_case(json!({"registerTypeCode": "RHRH"})), changed()),
        ("probation-case.registration.deleted", of_case(json!({})), changed()),
        ("probation-case.registration.updated", of_case(json!({"registerTypeCode": "MAPP"})), Fact::Irrelevant),
        (
            "probation-case.prison-identifier.added",
            in_delius(&json!({"bookingNumber": "45680A"}), &[("CRN", "X777978"), ("NOMS", "A1234BC")]),
            Fact::InDelius(DeliusFact::Matched {
                crn: crn("X777978"),
                number: "A1234BC".parse().expect("a number"),
                at,
            }),
        ),
        (
            "probation-case.merge.completed",
            of_case(json!({"sourceCRN": "X111111", "targetCRN": "X222222"})),
            Fact::InDelius(DeliusFact::Merged { source: crn("X111111"), target: crn("X222222"), at }),
        ),
        (
            "probation-case.unmerge.completed",
            of_case(json!({"reactivatedCRN": "X111111", "unmergedCRN": "X222222"})),
            Fact::InDelius(DeliusFact::Unmerged { reactivated: crn("X111111"), unmerged: crn("X222222") }),
        ),
        (
            "probation-case.deleted.gdpr",
            of_case(json!({})),
            Fact::InDelius(DeliusFact::Deleted { crn: crn("X777978") }),
        ),
    ] {
        assert_eq!(read(event_type, &event), Ok(expected), "{event_type}");
    }
}

#[test]
fn updates_of_prisoner_search_say_in_which_respects() {
    let update = |categories: Value| {
        let information = json!({"nomsNumber": "A1234AA", "categoriesChanged": categories});
        let event = json!({"additionalInformation": information, "occurredAt": "2024-06-14T09:06:41Z"});
        read("prisoner-offender-search.prisoner.updated", &event).expect("a fact")
    };
    for (categories, expected) in [
        (json!(["STATUS"]), Some((true, false))),
        (json!(["LOCATION", "SENTENCE"]), Some((false, true))),
        (json!(["SENTENCE", "STATUS"]), Some((true, true))),
        (json!(["LOCATION", 7]), None),
        (json!(null), None),
    ] {
        let read = match update(categories.clone()) {
            Fact::Updated(PrisonerUpdate { status, sentence, .. }) => Some((status, sentence)),
            other => (other != Fact::Irrelevant).then(|| panic!("{other:?}")),
        };
        assert_eq!(read, expected, "{categories}");
    }
}

#[test]
fn deletions_in_nomis_name_the_person() {
    let number = || "A1234AA".parse().expect("a number");
    let removed = json!({"additionalInformation": {"nomsNumber": "A1234AA"}});
    let retention = json!({
        "offenderIdDisplay": "A1234AA", "offenders": [{"offenderId": 1, "bookings": [{"offenderBookId": 11}]}],
    });
    for (event_type, event, reason) in [
        ("prisoner-offender-search.prisoner.removed", removed, DeletionReason::Removed),
        ("DATA_COMPLIANCE_DELETE-OFFENDER", retention, DeletionReason::Retention),
    ] {
        let expected = Fact::Deletion(Deletion { number: number(), reason });
        assert_eq!(read(event_type, &event), Ok(expected), "{event_type}");
        assert!(read(event_type, &json!({})).is_err(), "{event_type}");
    }
}

#[test]
fn messages_of_one_case_and_one_person_have_turns() {
    let keys = |event_type: &str, event: &Value| read(event_type, event).expect("a fact").turn_keys();
    let matched = in_delius(&json!({}), &[("CRN", "X777978"), ("NOMS", "A1234BC")]);
    assert_eq!(keys("probation-case.prison-identifier.added", &matched), ["A1234BC", "X777978"]);
    assert_eq!(keys("OFFENDER_MANAGER_CHANGED", &json!({"crn": "X777978"})), ["X777978"]);
    let merged = json!({"sourceCRN": "X111111", "targetCRN": "X222222"});
    assert_eq!(keys("probation-case.merge.completed", &in_delius(&merged, &[])), ["X111111", "X222222"]);
}

#[test]
fn a_message_of_delius_that_names_no_case_says_why_it_cannot_be_read() {
    for (event_type, event, expected) in [
        ("tier.calculation.changed", json!({}), "it has no CRN in personReference"),
        (
            "tier.calculation.changed",
            json!({"personReference": {"identifiers": [{"type": "CRN", "value": "7"}, 7]}}),
            "its CRN is `7`, which is none",
        ),
        ("OFFENDER_MANAGER_CHANGED", json!({"crn": 7}), "it has no crn"),
        ("OFFENDER_MANAGER_CHANGED", json!({"crn": "7"}), "its crn is `7`, which is no CRN"),
        ("probation-case.merge.completed", json!({}), "it has no sourceCRN"),
        (
            "probation-case.prison-identifier.added",
            in_delius(&json!({}), &[("CRN", "X777978")]),
            "it has no NOMS in personReference",
        ),
    ] {
        assert_eq!(read(event_type, &event), Err(expected.to_owned()), "{event_type} {event}");
    }
}

#[test]
fn the_attribute_says_the_type_and_the_body_where_there_is_none() {
    let mut envelope = wrapped(RELEASED, &json!({"eventType": "other", "additionalInformation": {}}));
    assert!(Notification::read(&envelope.to_string()).is_err());
    envelope["MessageAttributes"] = json!({});
    let read = Notification::read(&envelope.to_string()).expect("a type that is passed over");
    assert_eq!((read.event_type.as_str(), read.fact), ("other", Fact::Irrelevant));
    // A type that the ledger does not read may have any body.
    envelope = wrapped("tier.calculation.complete", &json!(7));
    assert_eq!(Notification::read(&envelope.to_string()).map(|read| read.fact), Ok(Fact::Irrelevant));
    envelope["Message"] = json!("{");
    assert_eq!(Notification::read(&envelope.to_string()).map(|read| read.fact), Ok(Fact::Irrelevant));
}

#[test]
fn a_message_that_cannot_be_read_says_why() {
    let without = |member: &str| {
        let mut event = searched("RELEASED");
        event["additionalInformation"].as_object_mut().expect("members").remove(member);
        event
    };
    let with = |pointer: &str, value: Value| {
        let mut event = searched("RELEASED");
        *event.pointer_mut(pointer).expect("a member") = value;
        event
    };
    for (event, expected) in [
        (without("reason"), "it has no reason in additionalInformation"),
        (without("prisonId"), "it has no prisonId in additionalInformation"),
        (without("nomsNumber"), "it has no nomsNumber in additionalInformation"),
        (with("/additionalInformation", json!([1])), "it has no reason in additionalInformation"),
        (with("/additionalInformation/nomsNumber", json!(7)), "it has no nomsNumber in additionalInformation"),
        (with("/additionalInformation/nomsNumber", json!("X1")), "its nomsNumber is `X1`, which is no prisoner number"),
        (with("/additionalInformation/prisonId", json!("L")), "its prisonId is `L`, which is no prison"),
        (
            with("/additionalInformation/reason", json!("ESCAPED")),
            "its reason is `ESCAPED`, which the ledger does not know",
        ),
        (with("/occurredAt", json!(1)), "it has no occurredAt"),
        (
            with("/occurredAt", json!("2024-10-11T12:00:19")),
            "its occurredAt is `2024-10-11T12:00:19`, which is no instant with an offset",
        ),
        (json!("text"), "its Message is no JSON object"),
    ] {
        assert_eq!(read(RELEASED, &event), Err(expected.to_owned()), "{event}");
    }
    for (body, expected) in [
        ("{", "the body of the message is not JSON"),
        ("{}", "the message has no MessageId of SNS: the subscription must not use raw message delivery"),
        (&format!(r#"{{"MessageId":"{ID}"}}"#), "the message names no eventType"),
    ] {
        let problem = Notification::read(body).expect_err("unreadable").problem;
        assert_eq!(problem, expected, "{body}");
    }
    let long = with("/additionalInformation/nomsNumber", json!("x".repeat(100_000)));
    assert!(read(RELEASED, &long).expect_err("no number").len() < 300);
}

/// Any JSON, with the names of members that a reader looks for.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        Just(Value::from("A1234BC")),
        Just(Value::from("RELEASED")),
    ];
    let names = prop::sample::select(vec![
        "additionalInformation",
        "nomsNumber",
        "reason",
        "prisonId",
        "occurredAt",
        "eventType",
        "removedNomsNumber",
        "personReference",
        "identifiers",
        "crn",
    ]);
    leaf.prop_recursive(3, 24, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((names.clone(), inner), 0..6).prop_map(|members| {
                Value::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
            }),
        ]
    })
}

proptest! {
    #[test]
    fn no_message_breaks_the_reader(body in ".{0,200}", event in any_json(), index in 0..READ_TYPES.len()) {
        let _ = Notification::read(&body);
        let _ = read(READ_TYPES[index], &event);
        let _ = Notification::read(&event.to_string());
    }
}
