//! Rule 10 of `docs/domain.md`, by example: a merge carries the case to the surviving number.

use domain::{
    identifier::PrisonCode,
    prisoner::{
        AllocationReference, Command, OfficerRole, PomRole, PrisonerEvent, ResponsibilityOverrideReason,
        ResponsibilityOverrideRemoved, ResponsibleService, RoleAllocation, Waiting, WaitingReason, merge_of, periods,
    },
};

use crate::case::{Case, at, check, command, number, record};

/// Merges `removed` into `survivor` as the two commands of a merge do.
pub fn merge(survivor: &mut Case, removed: &mut Case, day: &str) -> Vec<PrisonerEvent> {
    let retire = command(&["retire", survivor.history.number().as_str()]);
    let mut events = removed.give(at(day), &retire).expect("a merge is not refused");
    let merged = merge_of(&removed.history, removed.history.revision().expect("a retirement"));
    events.extend(survivor.give(at(day), &Command::CompleteMerge(Box::new(merged))).expect("nor completed in vain"));
    events
}

#[test]
fn rule_10_the_survivor_takes_over_what_it_has_none_of() {
    let mut removed = Case::new("B1234BC");
    removed.read(
        "03-01 tier A LEI        | TierAssigned
         03-02 allocate 102      | AllocationMade
         03-03 cowork 101        | CoworkerAllocated
         03-03 com Lee           | CommunityManagerAssigned
         03-04 plan recalled     | HandoverPlanned
         03-05 override PRISON   | ResponsibilityOverridden",
    );
    let mut survivor = Case::new("A1234BC");
    survivor.read("03-06 tier D | TierAssigned");
    let events: Vec<_> = merge(&mut survivor, &mut removed, "03-07").iter().map(PrisonerEvent::type_name).collect();
    assert_eq!(events, ["CoworkerDeallocated", "Deallocated", "PrisonerNumberRetired", "PrisonerNumberMerged"]);
    removed.read("03-08 tier B | !prisoner-number-retired");
    removed.read("03-06 tier B | !prisoner-number-retired");
    let state = survivor.history.state();
    assert_eq!(state.tier.as_ref().map(|tier| tier.tier.letter()), Some('D'), "the survivor keeps its own tier");
    assert_eq!(state.primary_staff_id().map(|id| id.get()), Some(102));
    assert_eq!(state.coworking_staff_id().map(|id| id.get()), Some(101));
    assert!(state.community_manager.is_some() && state.arrangements.handover_plan.is_some());
    survivor.read(
        "who 03-06 | CustodyOnly: POM nobody
         who 03-08 | CustodyWithCom: POM 102, COM Lee",
    );
    removed.read("who 03-08 | nothing");
}

#[test]
fn rule_10_a_case_that_had_left_custody_has_left_it_since_then() {
    // Earlier merges name the POM as the responsible role of such a case.
    for named in [None, Some(OfficerRole::Pom)] {
        let mut removed = Case::new("B1234BC");
        removed
            .read("03-01 tier C LEI | TierAssigned\n03-02 allocate 101 | AllocationMade\n03-03 release | Deallocated");
        removed.give(at("03-05"), &command(&["retire", "A1234BC"])).expect("a merge is not refused");
        let mut merged = merge_of(&removed.history, removed.history.revision().expect("a retirement"));
        let past = merged.held.past.as_mut().expect("a past");
        assert_eq!((past.responsible, past.responsible_since), (None, Some(at("03-03"))));
        past.responsible = named;
        let mut survivor = Case::new("A1234BC");
        survivor.give(at("03-05"), &Command::CompleteMerge(Box::new(merged))).expect("nor completed in vain");
        let periods = periods(&survivor.history);
        let last = periods.last().expect("a period");
        assert_eq!((last.responsibility.responsible, last.responsible_since), (None, at("03-03")), "{named:?}");
    }
}

#[test]
fn rule_10_pom_roles_are_taken_over_at_the_prison_of_the_survivor_alone() {
    let removed = || {
        let mut removed = Case::new("B1234BC");
        removed.read("03-01 tier C LEI | TierAssigned\n03-02 allocate 101 | AllocationMade\n03-03 cowork 103 | CoworkerAllocated");
        removed
    };
    for (survivor, prison, primary, coworking) in [
        ("03-04 tier C LEI | TierAssigned", "LEI", Some(101), Some(103)),
        ("", "LEI", Some(101), Some(103)),
        ("03-04 tier C     | TierAssigned", "LEI", Some(101), Some(103)),
        ("03-04 tier C MDI | TierAssigned\n03-05 release | Deallocated", "LEI", Some(101), Some(103)),
        ("03-04 tier C MDI | TierAssigned", "MDI", None, None),
        ("03-04 tier C MDI | TierAssigned\n03-05 allocate 101 at MDI | AllocationMade", "MDI", Some(101), None),
    ] {
        let mut case = Case::new("A1234BC");
        case.read(survivor);
        merge(&mut case, &mut removed(), "03-07");
        let state = case.history.state();
        assert_eq!(state.prison.as_ref().map(|prison| prison.as_str()), Some(prison), "{survivor}");
        assert_eq!(state.primary_staff_id().map(|id| id.get()), primary, "{survivor}");
        assert_eq!(state.coworking_staff_id().map(|id| id.get()), coworking, "{survivor}");
        assert_eq!(state.waiting.is_some(), primary.is_none(), "{survivor}");
        assert!(state.ever_allocated, "{survivor}");
    }
}

/// Without what had been, as the ledger recorded merges at first.
fn without_past(merged: &PrisonerEvent) -> PrisonerEvent {
    let PrisonerEvent::PrisonerNumberMerged(merged) = merged else { panic!("{merged:?} is no merge") };
    let mut merged = merged.clone();
    merged.held.past = None;
    PrisonerEvent::PrisonerNumberMerged(merged)
}

/// The history of a case that takes over, by a merge without its past, POM 101 at LEI, while it
/// waits at MDI, and is released from there as the rules of that time had it.
fn merged_by_earlier_rules() -> Case {
    let mut removed = Case::new("B1234BC");
    removed.read("03-01 tier C LEI | TierAssigned\n03-02 allocate 101 | AllocationMade");
    let released_from_lei = {
        let mut other = Case::new("C1234BC");
        other.read("03-01 tier C LEI | TierAssigned\n03-02 allocate 101 | AllocationMade");
        other.give(at("03-09"), &command(&["release"])).expect("a release")
    };
    let mut case = Case::new("A1234BC");
    case.read("03-04 tier C MDI | TierAssigned");
    let events = merge(&mut Case::new("D1234BC"), &mut removed, "03-07");
    record(&mut case.history, at("03-07"), &[without_past(events.last().expect("a merge"))]);
    record(&mut case.history, at("03-09"), &released_from_lei);
    case
}

#[test]
fn rule_10_a_merge_without_its_past_gives_the_roles_where_they_were() {
    let case = merged_by_earlier_rules();
    let before_release = case.history.state_at(at("03-08"));
    assert_eq!(before_release.primary_staff_id().map(|id| id.get()), Some(101));
    assert_eq!(before_release.prison.as_ref().map(|prison| prison.as_str()), Some("LEI"));
}

#[test]
fn rule_8_an_entry_that_was_recorded_by_other_rules_stops_no_earlier_entry() {
    let mut case = merged_by_earlier_rules();
    // By the rules of today nothing is there to be taken back.
    let removal = PrisonerEvent::ResponsibilityOverrideRemoved(ResponsibilityOverrideRemoved {
        responsible: ResponsibleService::Prison,
        reason: ResponsibilityOverrideReason::PrisonerHasBeenRecalled,
        detail: None,
    });
    record(&mut case.history, at("03-12"), &[removal]);
    case.read(
        "03-05 tier D      | TierAssigned
         03-13 com Lee     | CommunityManagerAssigned
         03-14 void 4      | EntryVoided
         03-14 void 0      | EntryVoided
         03-08 allocate 103 | !already-allocated
         03-08 deallocate   | !later-entry-conflict 2",
    );
}

#[test]
fn rule_10_a_merge_carries_since_when_and_why() {
    let mut removed = Case::new("C1234BC");
    removed.read(
        "03-01 tier C LEI       | TierAssigned
         03-02 allocate 101     | AllocationMade
         03-03 cowork 103       | CoworkerAllocated
         03-04 com Lee          | CommunityManagerAssigned",
    );
    let held = removed.history.state();
    // A chain: what the first merge carried, the second one carries on.
    let mut between = Case::new("B1234BC");
    merge(&mut between, &mut removed, "03-05");
    let mut survivor = Case::new("A1234BC");
    survivor.read("03-06 com Shah | CommunityManagerAssigned\n03-07 uncom | CommunityManagerRemoved");
    merge(&mut survivor, &mut between, "03-08");
    let state = survivor.history.state();
    let since = |role: &Option<PomRole>| role.as_ref().map(|role| role.since);
    assert_eq!(since(&state.primary_pom), Some(at("03-02")));
    assert_eq!(since(&state.coworking_pom), Some(at("03-03")));
    assert_eq!(state.community_manager, held.community_manager);
    let allocation = AllocationReference { prisoner_number: number("C1234BC"), revision: 1 };
    assert_eq!(state.primary_pom.map(|role| role.allocation), Some(RoleAllocation::TakenOver(allocation)));
    let periods = periods(&survivor.history);
    assert_eq!(periods.last().map(|last| last.responsible_since), Some(at("03-02")), "the POM had been responsible");

    let mut released = Case::new("B1234BC");
    released.read("03-01 tier C LEI | TierAssigned\n03-02 allocate 101 | AllocationMade\n03-03 release | Deallocated");
    let mut survivor = Case::new("A1234BC");
    survivor.read("03-04 tier C | TierAssigned");
    merge(&mut survivor, &mut released, "03-07");
    survivor.read("03-08 release | !nothing-changed");
    assert!(survivor.history.state().ever_allocated);
}

/// Case 17: the person was allocated and waits; the merge changes the number alone.
#[test]
fn rule_10_a_case_that_waits_goes_on_waiting_after_a_merge() {
    let mut removed = Case::new("B1234BC");
    removed
        .read("03-01 tier C LEI | TierAssigned\n03-02 allocate 101 | AllocationMade\n03-03 deallocate | Deallocated");
    let mut survivor = Case::new("A1234BC");
    survivor.read("03-05 tier C | TierAssigned");
    merge(&mut survivor, &mut removed, "03-07");
    let state = survivor.history.state();
    assert_eq!(state.waiting, Some(Waiting { since: at("03-03"), reason: WaitingReason::Deallocated }));
    assert!(state.ever_allocated);
}

/// Merges that were recorded before they carried the past.
#[test]
fn rule_10_a_merge_without_the_past_counts_from_itself() {
    let mut removed = Case::new("B1234BC");
    removed.read(
        "03-01 tier C LEI       | TierAssigned
         03-02 allocate 101     | AllocationMade
         03-06 retire A1234BC   | Deallocated PrisonerNumberRetired",
    );
    for (is_allocated, waiting) in [(true, None), (false, Some(WaitingReason::Merged))] {
        let mut survivor = Case::new("A1234BC");
        let mut merged = merge_of(&removed.history, 3);
        merged.held.past = None;
        merged.held.primary_pom = merged.held.primary_pom.filter(|_| is_allocated);
        survivor.give(at("03-07"), &Command::CompleteMerge(Box::new(merged))).expect("a merge is not refused");
        let state = survivor.history.state();
        assert_eq!(state.primary_pom.as_ref().map(|role| role.since), is_allocated.then(|| at("03-07")));
        assert_eq!(state.waiting, waiting.map(|reason| Waiting { since: at("03-07"), reason }));
        assert_eq!(state.ever_allocated, is_allocated);
    }
}

#[test]
fn rule_10_a_merge_leaves_no_pom_in_both_roles() {
    let mut removed = Case::new("B1234BC");
    removed.read("03-01 tier C LEI | TierAssigned\n03-02 allocate 103 | AllocationMade");
    let mut survivor = Case::new("A1234BC");
    survivor.read(
        "03-01 tier C LEI   | TierAssigned
         03-02 allocate 101 | AllocationMade
         03-03 cowork 103   | CoworkerAllocated
         03-04 inactive 101 | Deallocated",
    );
    merge(&mut survivor, &mut removed, "03-07");
    let state = survivor.history.state();
    assert_eq!(state.primary_staff_id().map(|id| id.get()), Some(103));
    assert_eq!(state.coworking_pom, None);
}

/// By a merge without its past, a case has a co-working POM at a prison that does not hold it.
#[test]
fn rule_10_a_role_at_a_prison_that_does_not_hold_the_case_is_carried_no_further() {
    let mut removed = Case::new("C1234BC");
    removed.read(
        "03-01 tier C LEI   | TierAssigned
         03-02 allocate 101 | AllocationMade
         03-03 cowork 103   | CoworkerAllocated
         03-04 inactive 101 | Deallocated",
    );
    let mut between = Case::new("B1234BC");
    between.read("03-04 tier C MDI | TierAssigned");
    let events = merge(&mut Case::new("D1234BC"), &mut removed, "03-07");
    record(&mut between.history, at("03-07"), &[without_past(events.last().expect("a merge"))]);
    let held = between.history.state();
    let prison = |prison: &PrisonCode| prison.to_string();
    assert_eq!(held.prison.as_ref().map(prison).as_deref(), Some("MDI"));
    assert_eq!(held.coworking_pom.as_ref().map(|role| prison(&role.prison)).as_deref(), Some("LEI"));
    let mut survivor = Case::new("A1234BC");
    merge(&mut survivor, &mut between, "03-08");
    let state = survivor.history.state();
    assert_eq!(state.prison.as_ref().map(prison).as_deref(), Some("MDI"));
    assert_eq!(state.coworking_pom, None);
}

#[test]
fn rule_10_a_number_is_not_merged_into_itself() {
    check("03-01 tier C | TierAssigned\n03-02 retire A1234BC | !merge-circle");
}
