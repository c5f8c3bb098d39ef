use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    Entry,
    event::RecordedBy,
    generators::case_commands,
    identifier::{CommandId, EventId, PrisonCode, PrisonerNumber},
    prisoner::{Command, CommandKind, Context, History, PrisonerEvent, RecommendationPolicy, decide},
};
use proptest::{prelude::*, sample::select};
use serde_json::{Value, json};
use uuid::Uuid;

use super::*;

const NUMBER: &str = "A1234BC";

fn at(day: i64) -> DateTime<Utc> {
    let first: DateTime<Utc> = "2026-03-01T09:00:00Z".parse().expect("an instant");
    first + TimeDelta::days(day)
}

fn prison() -> PrisonCode {
    "LEI".parse().expect("a prison")
}

fn number(text: &str) -> PrisonerNumber {
    text.parse().expect("a number")
}

fn push(case: &mut History, at: DateTime<Utc>, event: PrisonerEvent) {
    let revision = case.entries().len() as u64;
    case.push(Entry {
        event_id: EventId(Uuid::nil()),
        revision,
        position: revision + 1,
        effective_at: at,
        recorded_at: at,
        recorded_by: RecordedBy { username: None, client: "tests".to_owned(), auth_source: None },
        command_id: CommandId(Uuid::nil()),
        event,
    });
}

/// A case with events, each recorded on the day with its number.
fn case(of: &str, events: &[(&str, Value)]) -> History {
    let mut case = History::new(number(of));
    for (day, (type_name, data)) in (0..).zip(events) {
        push(&mut case, at(day), PrisonerEvent::deserialize_data(type_name, data.clone()).expect("an event"));
    }
    case
}

fn received(prison: &str) -> (&'static str, Value) {
    ("Received", json!({"prison": prison, "reason": "NEW_ADMISSION"}))
}

fn transferred(from: &str, to: &str) -> (&'static str, Value) {
    ("Deallocated", json!({"prison": from, "trigger": "TRANSFERRED", "toPrison": to}))
}

fn released(from: &str) -> (&'static str, Value) {
    ("Deallocated", json!({"prison": from, "trigger": "RELEASED"}))
}

fn tier(tier: &str) -> (&'static str, Value) {
    ("TierAssigned", json!({"tier": tier, "source": "MANUAL", "roshLevel": "HIGH", "crn": "X123456"}))
}

fn named(name: &str) -> (&'static str, Value) {
    ("CommunityManagerAssigned", json!({"name": name, "team": "North", "ldu": "Leeds"}))
}

/// A record with these members.
fn record(members: &Value) -> EstateRecord {
    read(members).expect("a record")
}

fn read(members: &Value) -> Result<EstateRecord, FieldProblem> {
    EstateRecord::read(|field| match (field, &members[field]) {
        ("prisonerNumber", Value::Null) => Some(NUMBER.to_owned()),
        (_, Value::Null) => None,
        (_, Value::String(text)) => Some(text.clone()),
        (_, other) => Some(other.to_string()),
    })
}

/// The differences in a few words.
fn in_words(members: &Value, case: &History, removed: &[History]) -> Vec<String> {
    let findings =
        compare(&prison(), &record(members), LedgerCase { case, removed, is_one_absent: false }, None, at(100));
    findings.iter().map(finding_in_words).collect()
}

fn finding_in_words(finding: &Discrepancy) -> String {
    let resolution = match &finding.resolution {
        Resolution::Leave(_) => "left".to_owned(),
        Resolution::Record(remedy) => {
            let since =
                remedy.since.map_or("now".to_owned(), |since| format!("{} {}", since.at.to_rfc3339(), since.field));
            format!("{} {since}", remedy.operation)
        }
    };
    format!("{} | {} | {} | {resolution}", finding.kind.word(), finding.ledger, finding.estate)
}

#[track_caller]
fn check(members: Value, events: &[(&str, Value)], expected: &[&str]) {
    assert_eq!(in_words(&members, &case(NUMBER, events), &[]), expected, "{members}");
}

#[test]
fn a_place_that_both_have_is_no_difference() {
    let here = [received("LEI"), tier("B2")];
    check(json!({"prisonId": "LEI"}), &here, &[]);
    // At court, or out for a day.
    check(json!({"prisonId": "LEI", "lastMovementTypeCode": "CRT", "inOutStatus": "OUT"}), &here, &[]);
    // No concern of the prison.
    check(json!({"prisonId": "MDI", "tier": "A"}), &[], &[]);
    check(json!({"prisonId": "OUT"}), &[received("LEI"), released("LEI")], &[]);
    check(json!({"prisonId": "OUT"}), &[received("MDI")], &[]);
}

#[test]
fn a_departure_is_closed_since_the_source_says_it() {
    let here = [received("LEI")];
    for time in ["2026-03-10T10:00:00", "2026-03-10 10:00:00"] {
        let moved = json!({"prisonId": "OUT", "lastMovementTypeCode": "REL", "lastMovementReasonCode": "CR",
            "lastMovementTime": time});
        check(moved, &here, &["RELEASED | at LEI | released | release 2026-03-10T10:00:00+00:00 lastMovementTime"]);
    }
    let undated = json!({"prisonId": "OUT", "lastMovementTypeCode": "REL", "restrictedPatient": false});
    check(undated, &here, &["RELEASED | at LEI | released | release now"]);
    let dated = json!({"prisonId": "MDI", "lastMovementTypeCode": "CRT", "lastMovementTime": "2026-06-12T10:00:00",
        "lastAdmissionDate": "2026-04-10"});
    let transfer = "HELD_ELSEWHERE | at LEI | at MDI | transfer 2026-04-09T23:00:00+00:00 lastAdmissionDate";
    check(dated, &here, &[transfer]);
    check(json!({"prisonId": "TRN"}), &here, &["HELD_ELSEWHERE | at LEI | in transit | transfer now"]);
    check(json!({"prisonId": "XXX"}), &here, &["HELD_ELSEWHERE | at LEI | at XXX | left"]);
}

#[test]
fn a_place_that_is_not_certain_is_left_to_a_person() {
    let here = [received("LEI")];
    let patient = |prison: &str| json!({"prisonId": "OUT", "restrictedPatient": true, "supportingPrisonId": prison});
    let finding = "UNCLEAR | at LEI | a restricted patient in hospital, supported by MDI | left";
    check(patient("MDI"), &here, &[finding]);
    check(patient("LEI"), &here, &[]);
    let untold = "UNCLEAR | at LEI | outside, and nothing says whether free or in hospital | left";
    check(json!({"prisonId": "OUT"}), &here, &[untold]);
    check(json!({"prisonId": "OUT", "lastMovementTypeCode": "REL"}), &here, &[untold]);
    let hospital = json!({"prisonId": "OUT", "lastMovementTypeCode": "REL", "lastMovementReasonCode": "HP"});
    check(hospital, &here, &["UNCLEAR | at LEI | outside, released to a hospital | left"]);
    let absent = json!({"prisonId": "OUT", "lastMovementTypeCode": "TAP"});
    check(absent, &here, &["UNCLEAR | at LEI | outside, by a movement of type `TAP` | left"]);
    check(json!({"prisonId": "ZZGHI"}), &here, &["UNCLEAR | at LEI | `ZZGHI` is no prison | left"]);
    let findings = compare(
        &prison(),
        &EstateRecord::absent(number(NUMBER)),
        LedgerCase { case: &case(NUMBER, &here), removed: &[], is_one_absent: false },
        None,
        at(100),
    );
    assert_eq!(findings.iter().map(finding_in_words).collect::<Vec<_>>(), ["ABSENT | at LEI | not there | left"]);
}

#[test]
fn an_arrival_is_a_reception_or_a_transfer() {
    let here = json!({"prisonId": "LEI", "lastMovementTypeCode": "ADM", "lastAdmissionDate": "2026-03-20"});
    let since = "2026-03-20T00:00:00+00:00 lastAdmissionDate";
    let unknown = format!("UNKNOWN | unknown | at LEI | receive {since}");
    check(here.clone(), &[], &[&unknown]);
    check(here.clone(), &[tier("B2")], &[&format!("HELD_HERE | at no prison | at LEI | receive {since}")]);
    let back = format!("HELD_HERE | left on 2026-03-02 | at LEI | receive {since}");
    check(here.clone(), &[received("MDI"), released("MDI")], &[&back]);
    let moved = format!("HELD_HERE | at MDI | at LEI | transfer {since}");
    check(here, &[received("MDI")], &[&moved]);
    let by_transfer = json!({"prisonId": "LEI", "lastMovementTypeCode": "CRT", "lastMovementTime": "2026-05-01T09:00:00",
        "lastAdmissionDate": "2026-03-20", "receptionDate": "2026-03-10"});
    let readmitted = format!("HELD_HERE | left on 2026-03-02 | at LEI | transfer {since}");
    check(by_transfer, &[received("MDI"), released("MDI")], &[&readmitted]);
}

#[test]
fn a_person_who_is_no_case_any_more_or_may_be_another_one_is_not_received() {
    let here = json!({"prisonId": "LEI", "lastMovementTypeCode": "ADM", "tier": "A"});
    let out_of_scope = ("Deallocated", json!({"prison": "LEI", "trigger": "LEGAL_STATUS_CHANGED"}));
    assert_eq!(
        in_words(&here, &case(NUMBER, &[received("LEI"), out_of_scope]), &[])[..1],
        ["TIER | none | A | assign-tier now"]
    );
    let unknown = History::new(number(NUMBER));
    let ledger = LedgerCase { case: &unknown, removed: &[], is_one_absent: true };
    let findings = compare(&prison(), &record(&here), ledger, None, at(100));
    assert_eq!(findings.iter().map(finding_in_words).collect::<Vec<_>>(), ["UNKNOWN | unknown | at LEI | left"]);
}

#[test]
fn an_entry_that_holds_from_later_is_not_overruled() {
    let released_at = |time: &str| json!({"prisonId": "OUT", "lastMovementTypeCode": "REL", "restrictedPatient": false, "lastMovementTime": time});
    let release = released_at("2026-03-01T10:00:00Z");
    check(release.clone(), &[received("MDI"), transferred("MDI", "LEI")], &["RELEASED | at LEI | released | left"]);
    let allocation = json!({"prison": "LEI", "pom": {"staffId": 101, "name": "Shah, Priya", "kind": "PRISON"},
        "tier": "B2", "recommendationPolicy": "TIER"});
    let allocated = [received("LEI"), tier("B2"), ("AllocationMade", allocation)];
    check(release, &allocated, &["RELEASED | at LEI, with Shah, Priya | released | left"]);
    check(released_at("2029-03-01T10:00:00Z"), &[received("LEI")], &["RELEASED | at LEI | released | left"]);
}

#[test]
fn an_entry_that_is_newer_than_the_picture_is_not_overruled() {
    let here = case(NUMBER, &[received("LEI"), tier("B2"), named("Bell, Jo")]);
    let record =
        record(&json!({"prisonId": "OUT", "lastMovementTypeCode": "REL", "restrictedPatient": false, "tier": "A",
        "managerSurname": "Lee"}));
    let left_by = |taken_at| {
        let findings = compare(
            &prison(),
            &record,
            LedgerCase { case: &here, removed: &[], is_one_absent: false },
            taken_at,
            at(100),
        );
        let left = findings.iter().filter(|finding| matches!(finding.resolution, Resolution::Leave(_)));
        left.map(|finding| finding.kind.word()).collect::<Vec<_>>()
    };
    assert_eq!(left_by(None), [""; 0]);
    assert_eq!(left_by(Some(at(2))), [""; 0]);
    assert_eq!(left_by(Some(at(2) - TimeDelta::seconds(1))), ["COM"]);
    assert_eq!(left_by(Some(at(1) - TimeDelta::seconds(1))), ["TIER", "COM"]);
    assert_eq!(left_by(Some(at(0) - TimeDelta::seconds(1))), ["RELEASED", "TIER", "COM"]);
}

#[test]
fn a_tier_is_compared_as_far_as_the_source_tells_it() {
    let case = [received("LEI"), tier("B2")];
    check(json!({"tier": "b2"}), &case, &[]);
    check(json!({"tier": "B"}), &case, &[]);
    check(json!({"tier": "B2S"}), &case, &["TIER | B2 | B2S | assign-tier now"]);
    let dated = json!({"tier": "A", "calculationDate": "2026-03-09T08:00:00.123456789+01:00", "crn": "X123456"});
    check(dated, &case, &["TIER | B2 | A | assign-tier 2026-03-09T07:00:00.123456+00:00 calculationDate"]);
    check(json!({"tier": "A", "calculationDate": "2026-03-01"}), &case, &["TIER | B2 | A | left"]);
    // Neither from before the case begins, nor before an entry that repeats an earlier tier.
    let older = json!({"tier": "A", "calculationDate": "2024-03-01"});
    check(older.clone(), &case[..1], &["TIER | none | A | assign-tier 2026-03-01T09:00:00+00:00 calculationDate"]);
    let repeated = ("TierAssigned", json!({"tier": "B2", "source": "DELIUS", "roshLevel": "HIGH"}));
    check(older, &[received("LEI"), repeated], &["TIER | B2 | A | assign-tier now"]);
    check(json!({"tier": "A", "crn": "X999999"}), &case, &["TIER | B2 | A | left"]);
    let record = record(&json!({"tier": "A"}));
    let findings = compare(
        &prison(),
        &record,
        LedgerCase { case: &super::tests::case(NUMBER, &case), removed: &[], is_one_absent: false },
        None,
        at(9),
    );
    let Resolution::Record(remedy) = &findings[0].resolution else { panic!("{findings:?}") };
    let Command::AssignTier(assigned) = &remedy.command else { panic!("{findings:?}") };
    let kept = serde_json::to_value(assigned).expect("JSON");
    assert_eq!(kept, json!({"tier": "A", "roshLevel": "HIGH", "source": "DELIUS", "crn": "X123456"}));
}

#[test]
fn a_com_is_compared_as_far_as_the_source_tells_them() {
    let case = [received("LEI"), named("Bell, Jo")];
    check(json!({"managerSurname": "BELL", "managerForename": "Jo"}), &case, &[]);
    check(json!({"managerForename": ""}), &case, &[]);
    let moved = json!({"managerSurname": "Bell", "managerForename": "Jo", "teamDescription": "South"});
    let finding = "COM | Bell, Jo, North, Leeds | Bell, Jo, South, Leeds | assign-community-manager now";
    check(moved, &case, &[finding]);
    let other = json!({"managerSurname": "Lee", "managerEmail": "lee@example.org"});
    let finding = "COM | Bell, Jo, North, Leeds | Lee, lee@example.org | assign-community-manager now";
    check(other, &case, &[finding]);
    let vacant = json!({"managerForename": "Unallocated", "managerSurname": "Staff"});
    check(vacant.clone(), &case, &["COM | Bell, Jo, North, Leeds | none | remove-community-manager now"]);
    check(vacant, &case[..1], &[]);
    check(json!({"managerSurname": "Lee"}), &case[..1], &["COM | none | Lee | assign-community-manager now"]);
}

#[test]
fn a_merge_is_left_to_a_person_and_all_else_waits_for_it() {
    let merged = json!({"prisonId": "LEI", "removedNomsNumber": "B2222BB; c3333cc", "tier": "A"});
    let here = case(NUMBER, &[received("LEI")]);
    let into = |survivor: &str| ("PrisonerNumberRetired", json!({"survivor": survivor}));
    let removed = [case("B2222BB", &[received("LEI")]), History::new(number("C3333CC"))];
    let finding = "MERGED | B2222BB is a case of its own, at LEI | B2222BB was merged into this number | left";
    assert_eq!(in_words(&merged, &here, &removed), [finding]);
    assert_eq!(in_words(&merged, &History::new(number(NUMBER)), &removed), [finding], "no second case");
    // Merged already, by way of another number.
    let removed = [case("B2222BB", &[into("C3333CC")]), case("C3333CC", &[into(NUMBER)])];
    assert_eq!(in_words(&merged, &here, &removed), ["TIER | none | A | assign-tier now"]);
    let removed = [case("B2222BB", &[into("D4444DD")])];
    let finding = "MERGED | B2222BB was merged into D4444DD | B2222BB was merged into this number | left";
    assert_eq!(in_words(&merged, &here, &removed), [finding]);
    let retired = case(NUMBER, &[received("LEI"), into("D4444DD")]);
    assert_eq!(in_words(&json!({"prisonId": "LEI"}), &retired, &[]), ["RETIRED | merged into D4444DD | at LEI | left"]);
    assert_eq!(in_words(&json!({"prisonId": "MDI"}), &retired, &[]), [""; 0]);
}

#[test]
fn a_member_that_cannot_be_read_is_told() {
    for (field, value) in [
        ("prisonerNumber", "A1"),
        ("removedNomsNumber", "B2222BB X"),
        ("removedNomsNumber", NUMBER),
        ("tier", "Z"),
        ("crn", "1"),
        ("calculationDate", "yesterday"),
        ("lastMovementTime", "01/03/2026"),
        ("lastAdmissionDate", "2026-02-30"),
        ("lastAdmissionDate", "9999-02-03T00:00:00"),
        ("restrictedPatient", "maybe"),
        ("managerSurname", "a\u{0}b"),
    ] {
        let mut members = json!({"prisonId": "OUT"});
        members[field] = json!(value);
        assert_eq!(read(&members).map_err(|problem| problem.field), Err(field), "{value}");
    }
    assert_eq!(read(&json!({"prisonerNumber": " "})).map_err(|problem| problem.field), Err("prisonerNumber"));
}

/// Commands that others send: those of which each keeps its effect, whatever the roster.
fn others_commands() -> impl Strategy<Value = Vec<(i64, Command)>> {
    let is_wanted = |kind| {
        matches!(
            kind,
            CommandKind::Receive
                | CommandKind::AssignTier
                | CommandKind::AssignCommunityManager
                | CommandKind::RemoveCommunityManager
                | CommandKind::Release
                | CommandKind::Transfer
                | CommandKind::Deallocate
                | CommandKind::Void
        )
    };
    prop::collection::vec((0..20_i64, case_commands(is_wanted)), 0..8)
}

fn records() -> impl Strategy<Value = Value> {
    let place = select(vec!["LEI", "MDI", "OUT", "TRN", "XXX", "ZZGHI", ""]);
    let movement = select(vec!["ADM", "TRN", "REL", "CRT", ""]);
    let time = select(vec!["", "2026-03-03T12:00:00Z", "2026-03-10", "2026-03-30T08:00:00", "2030-01-01"]);
    let tier = select(vec!["", "A", "B", "B2"]);
    let manager = select(vec!["", "Lee, Sam", "Unallocated", "Bell"]);
    (place, movement, time.clone(), time, tier, manager).prop_map(|(place, movement, time, admitted, tier, manager)| {
        json!({"prisonId": place, "lastMovementTypeCode": movement, "lastMovementTime": time,
            "lastAdmissionDate": admitted, "tier": tier, "calculationDate": time, "managerSurname": manager})
    })
}

proptest! {
    /// Whatever both sides have, recording what is safe leaves nothing safe to record.
    #[test]
    fn differences_that_are_closed_are_closed(commands in others_commands(), members in records()) {
        let mut case = History::new(number(NUMBER));
        let record_all = |case: &mut History, command: &Command, effective_at, now| {
            let policy = RecommendationPolicy::Tier;
            let context = Context { now, effective_at, prison: None, recommendation_policy: policy };
            let events = decide(case, command, &context).unwrap_or_default();
            let count = events.len();
            for event in events {
                push(case, effective_at, event);
            }
            count
        };
        for (day, command) in &commands {
            record_all(&mut case, command, at(*day), at(50));
        }
        let record = record(&members);
        let mut steps = 0;
        loop {
            let findings = compare(&prison(), &record, LedgerCase { case: &case, removed: &[], is_one_absent: false }, None, at(100));
            let remedy = findings.iter().find_map(|finding| match &finding.resolution {
                Resolution::Record(remedy) => Some(remedy),
                Resolution::Leave(_) => None,
            });
            let Some(Remedy { command, since, .. }) = remedy.map(|remedy| &**remedy) else { break };
            let effective_at = since.map_or(at(100), |since| since.at);
            prop_assert!(record_all(&mut case, command, effective_at, at(100)) > 0, "{findings:?}");
            steps += 1;
            prop_assert!(steps <= 3, "{findings:?} again and again");
        }
    }
}
