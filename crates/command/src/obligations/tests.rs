use domain::{
    Entry,
    event::RecordedBy,
    identifier::{CommandId, EventId},
    nomis_contacts::{NomisContactEvent, NomisContactFound},
    officer::{Pom, PomKind, PomStatus},
    prison::{PomStatusChanged, PrisonEvent, PrisonOmicDateCorrected},
    prisoner::{AllocationMade, Choice, Deallocated, DeallocationTrigger, PrisonerNumberMerged, PrisonerNumberRetired},
};
use event_log::Metadata;
use uuid::Uuid;

use super::*;

const NUMBER: &str = "A1234BC";

/// The index after lines such as `d02 given`, `d05 ended`, `d03 inactive`, `d04 active`: in the
/// order recorded, the day on which an event takes effect and the event.
fn index_after(lines: &str) -> ObligationIndex {
    let index = ObligationIndex::default();
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (day, event) = line.split_once(' ').expect("a day and an event");
        let at = format!("2026-01-{}T09:00:00Z", day.trim_start_matches('d')).parse().expect("an instant");
        index.observe(&stored_event(event, at));
    }
    index.mark_caught_up(1);
    index
}

fn stored_event(name: &str, effective_at: DateTime<Utc>) -> StoredEvent {
    stored_event_about(name, effective_at, staff_id(), &number())
}

/// As [`stored_event`], about another POM or another case.
pub(super) fn stored_event_about(
    name: &str,
    effective_at: DateTime<Utc>,
    staff_id: StaffId,
    number: &PrisonerNumber,
) -> StoredEvent {
    let pom = || Pom { staff_id, name: "Okafor, Grace".to_owned(), kind: PomKind::Prison, email: None };
    let status = |status| {
        Event::Prison(PrisonEvent::PomStatusChanged(PomStatusChanged {
            staff_id,
            status,
            returns_on: None,
            reason: None,
        }))
    };
    let event = match name {
        "given" => Event::Prisoner(PrisonerEvent::AllocationMade(AllocationMade {
            prison: prison(),
            pom: pom(),
            choice: Choice {
                tier: "C".parse().expect("a tier"),
                rosh_level: None,
                recommendation_policy: domain::prisoner::RecommendationPolicy::Tier,
                recommended_pom_kind: None,
                override_reasons: Vec::new(),
                suitability_detail: None,
                override_detail: None,
                note: None,
                nomis_booking_id: None,
            },
        })),
        "ended" => Event::Prisoner(PrisonerEvent::Deallocated(Deallocated {
            prison: Some(prison()),
            pom: Some(pom()),
            trigger: DeallocationTrigger::Manual,
            to_prison: None,
        })),
        "retired" => Event::Prisoner(PrisonerEvent::PrisonerNumberRetired(PrisonerNumberRetired {
            survivor: "A9999ZZ".parse().expect("a number"),
        })),
        "taken over" => Event::Prisoner(PrisonerEvent::PrisonerNumberMerged(Box::new(PrisonerNumberMerged {
            removed_number: number.clone(),
            history_ends_at: 0,
            held: domain::prisoner::MergedHoldings::default(),
        }))),
        "taken over with a role" => {
            Event::Prisoner(PrisonerEvent::PrisonerNumberMerged(Box::new(PrisonerNumberMerged {
                removed_number: "B1234BC".parse().expect("a number"),
                history_ends_at: 0,
                held: domain::prisoner::MergedHoldings {
                    prison: Some(prison()),
                    primary_pom: Some(pom()),
                    ..Default::default()
                },
            })))
        }
        "corrected to d05" => Event::Prison(PrisonEvent::PrisonOmicDateCorrected(PrisonOmicDateCorrected {
            go_live_date: chrono::NaiveDate::from_ymd_opt(2026, 1, 5).expect("a date"),
            go_live_date_before: chrono::NaiveDate::from_ymd_opt(2026, 1, 1).expect("a date"),
            reason: None,
        })),
        "contact" => Event::Contacts(NomisContactEvent::NomisContactFound(NomisContactFound {
            contact_id: Uuid::from_u128(7),
            prison: prison(),
            prisoner_number: number.clone(),
            staff_id: Some(staff_id),
            name: None,
            contact_type: "POM".to_owned(),
        })),
        "inactive" => status(PomStatus::Inactive),
        "active" => status(PomStatus::Active),
        other => panic!("no event is called {other}"),
    };
    let stream = match (&event, name) {
        (Event::Prison(_), _) => Stream::Prison(prison()),
        (Event::Contacts(_), _) => Stream::Contacts(number.clone()),
        (_, "taken over") => Stream::Prisoner("A9999ZZ".parse().expect("a number")),
        _ => Stream::Prisoner(number.clone()),
    };
    let recorded_by =
        RecordedBy { username: Some("SPO".parse().expect("a username")), client: "test".to_owned(), auth_source: None };
    let command_id = CommandId(Uuid::nil());
    StoredEvent {
        stream,
        metadata: Metadata::new(effective_at, recorded_by.clone(), command_id, String::new(), Uuid::nil(), None),
        entry: Entry {
            event_id: EventId(Uuid::nil()),
            revision: 0,
            position: 1,
            effective_at,
            recorded_at: effective_at,
            recorded_by,
            command_id,
            event,
        },
    }
}

fn number() -> PrisonerNumber {
    NUMBER.parse().expect("a number")
}

fn prison() -> PrisonCode {
    "LEI".parse().expect("a prison code")
}

fn staff_id() -> StaffId {
    StaffId::try_from(1).expect("a staff id")
}

#[track_caller]
fn check(lines: &str, expected: &[&str]) {
    let describe = |obligation: &Obligation| match obligation {
        Obligation::EndOfRole { prison, staff_id, number } => {
            format!("the end of POM {staff_id}'s role at {prison} on {number}")
        }
        Obligation::Merge { removed } => format!("the merge of {removed}"),
        Obligation::GoLiveReport { prison } => format!("the report on {prison}"),
    };
    let mut found: Vec<_> = index_after(lines).take().iter().map(describe).collect();
    found.sort();
    assert_eq!(found, expected, "after {lines}");
}

const END: &str = "the end of POM 1's role at LEI on A1234BC";

#[test]
fn a_corrected_go_live_date_and_an_earlier_allocation_after_it_are_reported() {
    check("d09 corrected to d05", &["the report on LEI"]);
    let index = index_after("d02 given\nd09 corrected to d05");
    assert_eq!(index.take().len(), 1);
    let at = |day: &str| format!("2026-01-{day}T09:00:00Z").parse().expect("an instant");
    index.observe(&stored_event("given", at("06")));
    assert_eq!(index.take(), []);
    index.observe(&stored_event("given", at("04")));
    assert_eq!(index.take(), [], "the report is under way");
    index.finish(&Obligation::GoLiveReport { prison: prison() });
    assert_eq!(index.take(), [Obligation::GoLiveReport { prison: prison() }]);
}

#[test]
fn each_role_of_an_inactive_pom_must_end() {
    check("d02 given", &[]);
    check("d02 given\n d03 inactive", &[END]);
    check("d03 inactive\n d04 given", &[END]);
    check("d02 given\n d03 ended\n d04 inactive", &[]);
    check("d02 given\n d03 inactive\n d03 ended", &[]);
    check("d02 given\n d03 inactive\n d03 ended\n d04 active\n d05 given", &[]);
    // Whatever is recorded after the status.
    check("d02 given\n d03 inactive\n d04 active", &[END]);
}

#[test]
fn a_backdated_event_loses_no_holder() {
    // A backdated status does not make a POM inactive who has become active since.
    check("d02 given\n d05 active\n d03 inactive", &[]);
    check("d02 given\n d05 inactive\n d03 active", &[END]);
    // The end of an earlier role leaves the present role.
    check("d06 given\n d02 given\n d03 ended\n d07 inactive", &[END]);
    check("d06 given\n d02 given\n d08 ended\n d07 inactive", &[]);
}

#[test]
fn the_merge_of_a_retired_number_must_be_completed() {
    check("d02 retired", &["the merge of A1234BC"]);
    check("d02 retired\n d02 taken over", &[]);
}

#[test]
fn no_obligation_is_given_out_before_the_log_has_been_read_to_its_end() {
    let index = index_after("d02 given\n d03 inactive");
    index.mark_behind();
    assert!(index.take().is_empty());
    index.mark_caught_up(2);
    assert_eq!(index.take().len(), 1);
    assert!(index.take().is_empty(), "an obligation was given out twice");
}

#[test]
fn an_obligation_that_arises_again_while_under_way_waits_until_it_is_finished() {
    let index = index_after("d02 given\n d03 inactive");
    let taken = index.take();
    index.observe(&stored_event("active", "2026-01-04T09:00:00Z".parse().expect("an instant")));
    index.observe(&stored_event("inactive", "2026-01-05T09:00:00Z".parse().expect("an instant")));
    assert_eq!((taken.len(), index.take()), (1, vec![]));
    index.finish(&taken[0]);
    assert_eq!(index.take(), taken);
}

/// So many events of which the index learns no more than that they are there.
fn recorded_events(count: usize) -> Vec<RecordedEvent> {
    let event = RecordedEvent {
        position: 1,
        stream: Stream::Prison(prison()),
        revision: 0,
        event_id: CommandId(Uuid::nil()).event_id(&Stream::Prison(prison()), 0),
        type_name: "PomStatusChanged".to_owned(),
        recorded_at: DateTime::UNIX_EPOCH,
        metadata: "{}".into(),
        data: "{}".into(),
    };
    vec![event; count]
}

#[test]
fn an_index_is_saved_between_batches_alone() {
    let index = ObligationIndex::default();
    assert!(index.snapshot().is_none());
    index.observe(&stored_event("given", DateTime::UNIX_EPOCH));
    assert!(index.snapshot().is_none());
    index.end_batch(&recorded_events(1));
    assert!(index.snapshot().is_some());
    index.observe(&stored_event("ended", DateTime::UNIX_EPOCH));
    assert!(index.snapshot().is_none());
}

#[test]
fn an_index_is_saved_after_the_first_catch_up_and_then_after_many_events() {
    let index = ObligationIndex::default();
    let is_due = || index.progress.borrow().is_save_due();
    index.mark_caught_up(0);
    assert!(!is_due() && !index.is_unsaved());
    index.end_batch(&recorded_events(3));
    assert!(is_due() && index.is_unsaved());
    let saved = index.snapshot().expect("no batch is under way");
    index.end_batch(&recorded_events(1));
    index.mark_saved(&saved);
    assert!(!is_due() && index.is_unsaved(), "the last event came after the snapshot");
    index.end_batch(&recorded_events(UNSAVED_EVENTS_MAX as usize - 2));
    assert!(!is_due());
    index.end_batch(&recorded_events(1));
    assert!(is_due());
}

#[tokio::test]
async fn a_contact_is_found_by_its_prison_and_its_id() {
    let index = index_after("d02 contact");
    let person = async |prison: &str, id| {
        let prison = prison.parse().expect("a prison code");
        index.person_of_contact(&prison, &Uuid::from_u128(id), 0).await.expect("read so far")
    };
    assert_eq!(person("LEI", 7).await, Some(number()));
    assert_eq!((person("MDI", 7).await, person("LEI", 8).await), (None, None));
}

#[tokio::test]
async fn cases_ever_held_lists_a_case_whose_role_has_ended() {
    let index = index_after("d02 given\n d03 ended");
    let cases = index.cases_ever_held(&prison(), staff_id(), 1).await.expect("read so far");
    assert_eq!(cases, [number()]);
}
