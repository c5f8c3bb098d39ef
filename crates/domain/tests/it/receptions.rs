//! Receptions, by example: "Waiting and overdue", rules 6 and 10 of `docs/domain.md`.

use chrono::{DateTime, Utc};
use domain::prisoner::{Reception, ReceptionReason, WaitingReason, allocations, find_same_fact, receptions};

use crate::{
    case::{Case, at, check, command},
    merges::merge,
};

fn waiting(case: &Case) -> Option<(String, DateTime<Utc>, WaitingReason)> {
    let state = case.history.state();
    state.waiting.map(|waiting| (state.prison.expect("waits somewhere").to_string(), waiting.since, waiting.reason))
}

fn received(prison: &str, since: &str) -> Option<(String, DateTime<Utc>, WaitingReason)> {
    Some((prison.to_owned(), at(since), WaitingReason::Received))
}

#[test]
fn a_case_waits_from_the_reception_or_the_first_tier_whichever_is_later() {
    for (page, expected) in [
        ("03-01 receive LEI | Received", None),
        ("03-01 receive LEI | Received\n03-04 tier C | TierAssigned", received("LEI", "03-04")),
        ("03-01 receive LEI | Received\n03-04 tier C LEI | TierAssigned", received("LEI", "03-04")),
        ("03-01 tier C | TierAssigned\n03-04 receive LEI | Received", received("LEI", "03-04")),
        ("03-01 tier C LEI | TierAssigned\n03-04 receive LEI | Received", received("LEI", "03-04")),
        // A message that comes late is backdated.
        ("03-04 tier C | TierAssigned\n03-01 receive LEI | Received", received("LEI", "03-04")),
        // A later tier, or a reception that is told once more, begins no wait anew.
        (
            "03-01 receive LEI | Received\n03-02 tier C | TierAssigned\n03-03 tier B | TierAssigned",
            received("LEI", "03-02"),
        ),
        (
            "03-01 tier C | TierAssigned\n03-05 receive LEI | Received\n03-04 receive LEI | Received",
            received("LEI", "03-04"),
        ),
        // The person waits where the last reception was.
        ("03-01 tier C MDI | TierAssigned\n03-04 receive LEI | Received", received("LEI", "03-04")),
        ("03-01 tier C TRN | TierAssigned\n03-04 receive OUT | Received", None),
    ] {
        let mut case = Case::new("A1234BC");
        case.read(page);
        assert_eq!(waiting(&case), expected, "{page}");
    }
}

#[test]
fn a_person_who_comes_back_is_in_custody_and_waits_again() {
    let mut case = Case::new("A1234BC");
    case.read(
        "03-01 receive LEI       | Received
         03-02 tier C            | TierAssigned
         03-03 allocate 101      | AllocationMade
         03-04 release           | Deallocated
         who 03-05               | NotInCustody: nobody
         03-06 receive MDI again | Received
         who 03-07               | CustodyOnly: POM nobody",
    );
    assert_eq!(waiting(&case), received("MDI", "03-06"));
    let reception = case.history.state().reception;
    assert_eq!(reception, Some(Reception { since: at("03-06"), reason: ReceptionReason::Readmission }));
}

#[test]
fn a_reception_ends_with_the_stay_at_the_prison() {
    for end in ["release", "legal-status", "transfer MDI", "transfer TRN", "receive MDI", "tier C MDI"] {
        let mut case = Case::new("A1234BC");
        case.read("03-01 receive LEI | Received\n03-02 tier C | TierAssigned");
        let words: Vec<&str> = end.split(' ').collect();
        case.give(at("03-03"), &command(&words)).expect(end);
        let since = case.history.state().reception.map(|reception| reception.since);
        assert_eq!(since, (end == "receive MDI").then(|| at("03-03")), "{end}");
    }
    let mut case = Case::new("A1234BC");
    case.read("03-01 receive LEI | Received\n03-02 tier C | TierAssigned\n03-03 allocate 101 at MDI | AllocationMade");
    assert_eq!(case.history.state().reception, None);
}

/// Of each allocation, the days from the reception, and whether it is the first since.
fn days_and_first(case: &Case) -> Vec<(Option<i32>, bool)> {
    let made = allocations(&case.history).into_iter();
    made.map(|of| (of.days_from_reception(), of.is_first_since_reception)).collect()
}

#[test]
fn the_first_allocation_since_a_reception_is_told_from_later_ones() {
    let mut case = Case::new("A1234BC");
    case.read(
        "03-02 receive LEI       | Received
         03-02 tier C            | TierAssigned
         03-05 allocate 101      | AllocationMade
         03-06 deallocate        | Deallocated
         03-07 allocate 103      | AllocationMade
         03-08 reallocate 101    | Reallocated
         03-09 receive LEI again | Received
         03-10 deallocate        | Deallocated
         03-11 allocate 103      | AllocationMade
         03-12 release           | Deallocated
         03-13 allocate 101      | AllocationMade
         03-14 release           | Deallocated
         03-15 receive LEI       | Received
         03-17 allocate 101      | AllocationMade
         03-18 release           | Deallocated
         03-19 receive LEI moved | Received
         03-20 allocate 101      | AllocationMade",
    );
    assert_eq!(
        days_and_first(&case),
        [
            (Some(3), true),
            (Some(5), false),
            (None, false),
            // A POM held the case at the reception.
            (Some(2), false),
            (None, false),
            (Some(2), true),
            // The person came from another prison.
            (Some(1), false),
        ]
    );
}

#[test]
fn a_reception_counts_once_and_not_where_it_was_an_error() {
    for (page, expected) in [
        ("03-01 receive LEI | Received\n03-05 receive LEI again | Received", vec!["03-01", "03-05"]),
        // The later one says what holds by then.
        ("03-05 receive LEI | Received\n03-04 receive LEI | Received", vec!["03-04"]),
        ("03-01 receive LEI | Received\n03-02 void 0 | EntryVoided", vec![]),
        (
            "03-01 receive LEI | Received\n03-02 release | Deallocated\n03-03 receive LEI | Received",
            vec!["03-01", "03-03"],
        ),
    ] {
        let mut case = Case::new("A1234BC");
        case.read(page);
        let days: Vec<_> = receptions(&case.history).into_iter().map(|(entry, _)| entry.effective_at).collect();
        assert_eq!(days, expected.into_iter().map(at).collect::<Vec<_>>(), "{page}");
    }
}

#[test]
fn an_allocation_that_a_merge_brings_is_the_first_since_its_reception() {
    let (mut kept, mut gone) = (Case::new("A1234BC"), Case::new("B1234BC"));
    gone.read("03-01 receive LEI | Received\n03-02 tier C | TierAssigned\n03-03 allocate 101 | AllocationMade");
    merge(&mut kept, &mut gone, "03-07");
    kept.read("03-08 deallocate | Deallocated\n03-09 allocate 103 | AllocationMade");
    assert_eq!(days_and_first(&kept), [(Some(8), false)]);
}

#[test]
fn an_allocation_that_ended_before_a_merge_is_the_first_since_its_reception() {
    const ALLOCATED: &str =
        "03-01 receive LEI | Received\n03-02 tier C | TierAssigned\n03-03 allocate 101 | AllocationMade";
    for (after, expected) in [
        ("03-05 deallocate | Deallocated", (Some(8), false)),
        ("03-05 inactive 101 | Deallocated", (Some(8), false)),
        ("03-05 deallocate | Deallocated\n03-06 receive LEI again | Received", (Some(3), true)),
        // The co-working POM keeps the case at its prison, so that it goes on waiting.
        (
            "03-04 cowork 103 | CoworkerAllocated\n03-05 inactive 101 | Deallocated\n03-06 receive LEI again | Received",
            (Some(3), true),
        ),
        ("03-05 release | Deallocated\n03-06 receive LEI | Received", (Some(3), true)),
    ] {
        let (mut kept, mut gone) = (Case::new("A1234BC"), Case::new("B1234BC"));
        gone.read(ALLOCATED);
        gone.read(after);
        merge(&mut kept, &mut gone, "03-07");
        kept.read("03-09 allocate 101 | AllocationMade");
        assert_eq!(days_and_first(&kept), [expected], "{after}");
    }
}

#[test]
fn rule_6_a_person_is_received_only_where_a_pom_holds_the_case() {
    check(
        "03-01 tier C LEI       | TierAssigned
         03-02 allocate 101     | AllocationMade
         03-03 receive MDI      | !case-at-another-prison
         03-03 receive LEI      | Received
         03-01 receive MDI      | Received
         03-04 release          | Deallocated
         03-05 receive MDI      | Received
         03-04 allocate 101     | !later-entry-conflict 5",
    );
    check("03-01 retire B1234BC | PrisonerNumberRetired\n03-02 receive LEI | !prisoner-number-retired");
    let mut held = Case::new("A1234BC");
    held.read("03-01 tier C LEI | TierAssigned\n03-02 allocate 101 | AllocationMade\n03-03 receive LEI | Received");
    assert_eq!(waiting(&held), None, "the POM has the case still");
    assert_eq!(held.history.state().primary_staff_id().map(|id| id.get()), Some(101));
}

#[test]
fn the_same_reception_again_is_found_and_another_is_not() {
    let mut case = Case::new("A1234BC");
    case.read("03-02 receive LEI | Received\n03-03 tier C | TierAssigned");
    let same = |case: &Case, day: &str, words: &[&str]| {
        let events = case.decide(at(day), &command(words)).expect("a command that no rule forbids");
        find_same_fact(&case.history, &events[0], at(day))
    };
    assert_eq!(same(&case, "03-05", &["receive", "LEI"]), Some(0));
    assert_eq!(same(&case, "03-01", &["receive", "LEI"]), None, "an earlier reception is news");
    assert_eq!(same(&case, "03-05", &["receive", "LEI", "again"]), None);
    assert_eq!(same(&case, "03-05", &["receive", "MDI"]), None);
    case.read("03-06 release | Deallocated");
    assert_eq!(same(&case, "03-07", &["receive", "LEI"]), None);
}

#[test]
fn rule_10_a_merge_takes_over_the_reception() {
    for (survivor, removed, expected) in [
        // The survivor has the tier, the removed number the reception: the wait begins with both.
        ("03-02 tier C | TierAssigned", "03-01 receive LEI | Received", received("LEI", "03-07")),
        ("03-01 receive LEI | Received", "03-02 tier C | TierAssigned", received("LEI", "03-07")),
        ("", "03-01 receive LEI | Received\n03-02 tier C | TierAssigned", received("LEI", "03-02")),
        ("03-02 tier C MDI | TierAssigned", "03-01 receive LEI | Received", received("MDI", "03-02")),
    ] {
        let (mut kept, mut gone) = (Case::new("A1234BC"), Case::new("B1234BC"));
        kept.read(survivor);
        gone.read(removed);
        merge(&mut kept, &mut gone, "03-07");
        assert_eq!(waiting(&kept), expected, "{survivor} / {removed}");
        let at_lei = expected.is_some_and(|(prison, ..)| prison == "LEI");
        let since = kept.history.state().reception.map(|reception| reception.since);
        assert_eq!(since, at_lei.then(|| at("03-01")), "{survivor} / {removed}");
    }
}
