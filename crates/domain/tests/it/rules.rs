//! The rules of the domain design, by example; the number of the rule is in each test's name or
//! comment.

use std::collections::BTreeSet;

use domain::{
    Rule, Stream,
    identifier::{CommandId, EventId},
    prisoner::{
        Arrangements, Command, DeallocationTrigger, PrisonerEvent, RecommendationPolicy, VoidEntries, Waiting,
        WaitingReason,
    },
    tier::RoshLevel,
};
use uuid::Uuid;

use crate::case::{Case, at, check, command};

#[test]
fn rule_1_a_case_is_allocated_only_at_a_prison_on_omic_to_an_active_pom() {
    check(
        "03-01 tier C LEI            | TierAssigned
         03-02 allocate 101 at HDI   | !prison-not-on-omic
         06-01 allocate 101 at HDI   | AllocationMade
         06-02 deallocate            | Deallocated
         06-03 allocate 101 at BXI   | !prison-not-on-omic
         06-03 allocate 103 at HDI   | !pom-not-registered
         06-03 allocate 108          | !pom-not-active
         06-03 allocate 109          | !pom-not-active
         06-03 allocate 101          | AllocationMade
         06-04 cowork 109            | !pom-not-active
         06-04 cowork 999            | !pom-not-registered
         06-04 reallocate 108        | !pom-not-active",
    );
}

#[test]
fn rule_2_a_tier_comes_before_an_allocation() {
    check(
        "03-01 allocate 101 | !tier-unknown
         03-02 tier C       | TierAssigned
         03-01 allocate 101 | !tier-unknown
         03-02 allocate 101 | AllocationMade",
    );
}

#[test]
fn rule_3_allocate_needs_no_primary_and_reallocate_needs_another() {
    check(
        "03-01 tier C LEI            | TierAssigned
         03-02 reallocate 101        | !not-allocated
         03-02 allocate 101          | AllocationMade
         03-03 allocate 103          | !already-allocated
         03-03 reallocate 101        | !same-pom
         03-03 reallocate 103 at MDI | !case-at-another-prison
         03-03 reallocate 103 from 109 | !pom-not-holder
         03-03 reallocate 103 from 101 | Reallocated
         03-04 deallocate            | Deallocated
         03-05 deallocate            | !not-allocated",
    );
}

#[test]
fn a_tier_and_a_pom_in_one_request_are_recorded_both_or_neither() {
    check(
        "03-01 take C 999               | !pom-not-registered
         03-01 take B 101               | !override-reasons-needed
         03-01 take C 101               | TierAssigned AllocationMade
         03-02 take D 103               | !already-allocated
         03-02 take D 101 because asked | !same-pom
         03-02 take D 103 because asked | TierAssigned Reallocated
         03-03 take D 101 because asked | Reallocated
         03-04 tier C2                  | TierAssigned
         03-05 take C 103 because asked | Reallocated
         03-06 take C1 101 because asked | TierAssigned Reallocated
         03-02 take E 101 because asked | !later-entry-conflict 4",
    );
}

#[test]
fn a_tier_without_a_rosh_level_leaves_the_one_that_the_case_has() {
    let mut case = Case::new("A1234BC");
    case.give(at("03-01"), &command(&["tier", "B/HIGH"])).expect("a tier");
    let events = case.give(at("03-02"), &command(&["take", "D", "101"])).expect("an allocation");
    let PrisonerEvent::TierAssigned(assigned) = &events[0] else { panic!("{events:?}") };
    assert_eq!(assigned.rosh_level, Some(RoshLevel::High));
}

#[test]
fn rule_4_primary_and_coworker_are_different_people() {
    check(
        "03-01 tier C LEI     | TierAssigned
         03-01 cowork 103     | !not-allocated
         03-02 allocate 101   | AllocationMade
         03-03 uncowork       | !no-coworker
         03-03 cowork 101     | !pom-is-primary
         03-03 cowork 102     | CoworkerAllocated
         03-04 cowork 102     | !same-pom
         03-04 cowork 103     | CoworkerReallocated
         03-05 reallocate 103 | !pom-is-coworker
         03-06 uncowork       | CoworkerDeallocated
         03-07 reallocate 103 | Reallocated",
    );
}

#[test]
fn rule_4_when_the_primary_goes_and_a_coworker_stays_the_case_waits() {
    let mut case = Case::new("A1234BC");
    case.read(
        "03-01 tier C LEI    | TierAssigned
         03-02 allocate 101  | AllocationMade
         03-03 cowork 103    | CoworkerAllocated
         03-04 inactive 101  | Deallocated
         03-05 allocate 103  | !pom-is-coworker",
    );
    let state = case.history.state();
    assert_eq!(state.waiting, Some(Waiting { since: at("03-04"), reason: WaitingReason::PomInactive }));
    assert!(state.coworking_pom.is_some() && state.primary_pom.is_none());
    case.read(
        "03-06 inactive 101  | !pom-not-holder
         03-06 inactive 103  | CoworkerDeallocated",
    );
}

#[test]
fn rule_4_a_coworker_stays_behind_at_no_other_prison() {
    check(
        "03-01 tier C LEI         | TierAssigned
         03-02 allocate 101       | AllocationMade
         03-03 cowork 103         | CoworkerAllocated
         03-04 inactive 101       | Deallocated
         03-05 allocate 101 at MDI | !case-at-another-prison
         03-06 transfer MDI       | CoworkerDeallocated Deallocated
         03-07 allocate 101 at MDI | AllocationMade",
    );
}

#[test]
fn a_waiting_case_is_allocated_at_another_prison_without_a_transfer() {
    let mut case = Case::new("A1234BC");
    let prison = |case: &Case| case.history.state().prison.map(|prison| prison.to_string());
    case.read("03-01 tier C LEI | TierAssigned");
    assert_eq!(prison(&case).as_deref(), Some("LEI"));
    case.read("03-02 allocate 101 at MDI | AllocationMade");
    let state = case.history.state();
    assert_eq!((prison(&case).as_deref(), state.waiting), (Some("MDI"), None));
    // Whatever the case waits for.
    case.read("03-03 deallocate | Deallocated\n03-04 allocate 101 | AllocationMade");
    case.read("03-05 inactive 101 | Deallocated\n03-06 allocate 101 at MDI | AllocationMade");
    case.read("03-07 transfer LEI | Deallocated\n03-08 allocate 101 at MDI | AllocationMade");
    assert_eq!(prison(&case).as_deref(), Some("MDI"));
}

/// A tier that names another prison would leave the co-working POM behind, and the case could be
/// neither allocated nor transferred.
#[test]
fn rule_4_a_case_stays_where_a_pom_has_a_role() {
    let mut case = Case::new("A1234BC");
    case.read(
        "03-01 tier C LEI         | TierAssigned
         03-02 allocate 101       | AllocationMade
         03-03 cowork 103         | CoworkerAllocated
         03-04 tier B MDI         | TierAssigned
         03-05 inactive 101       | Deallocated
         03-06 tier C MDI         | TierAssigned",
    );
    let state = case.history.state();
    assert_eq!(state.prison.as_ref().map(|prison| prison.as_str()), Some("LEI"));
    assert_eq!(state.waiting, Some(Waiting { since: at("03-05"), reason: WaitingReason::PomInactive }));
    case.read(
        "03-07 allocate 101 at MDI | !case-at-another-prison
         03-07 allocate 101        | AllocationMade
         03-08 inactive 101        | Deallocated
         03-09 uncowork            | CoworkerDeallocated
         03-10 tier C MDI          | TierAssigned
         03-11 allocate 101 at MDI | AllocationMade",
    );
}

#[test]
fn rule_5_the_other_kind_of_pom_needs_reasons() {
    check(
        "03-01 tier A                                      | TierAssigned
         03-02 allocate 101                                | !override-reasons-needed
         03-02 allocate 101 because SUITABILITY            | !suitability-detail-needed
         03-02 allocate 101 because OTHER                  | !override-detail-needed
         03-02 allocate 101 because NO_STAFF OTHER         | !override-detail-needed
         03-02 allocate 101 because NO_STAFF SUITABILITY=x | AllocationMade
         03-03 reallocate 102                              | Reallocated
         03-04 reallocate 103                              | !override-reasons-needed
         03-04 reallocate 103 because CONTINUITY           | Reallocated",
    );
    // Neither can be seen, and no white space is among them.
    for blank in ["\u{feff}", "\u{202e}\u{2060}", "\u{3164}", "\u{e0041}"] {
        for reason in ["OTHER", "SUITABILITY"] {
            let code = format!("{}-detail-needed", if reason == "OTHER" { "override" } else { "suitability" });
            check(&format!("03-01 tier A | TierAssigned\n03-02 allocate 101 because {reason}={blank} | !{code}"));
        }
    }
    let long = "x".repeat(176);
    check(&format!("03-01 tier A | TierAssigned\n03-02 allocate 101 because OTHER={long} | !detail-too-long"));
    check(&format!("03-01 tier A | TierAssigned\n03-02 allocate 101 because OTHER={} | AllocationMade", &long[1..]));
}

#[test]
fn rule_5_by_tier_cases_of_a_and_b_are_for_a_probation_pom() {
    for (tier, recommended) in [("A", "102"), ("B3", "102"), ("C", "101"), ("G", "101")] {
        check(&format!("03-01 tier {tier} | TierAssigned\n03-02 allocate {recommended} | AllocationMade"));
    }
}

#[test]
fn rule_5_by_risk_cases_of_high_risk_are_for_a_probation_pom() {
    for (tier, pom, outcome) in [
        ("A/LOW", "102", "AllocationMade"),
        ("A", "101", "!override-reasons-needed"),
        ("D/VERY_HIGH", "102", "AllocationMade"),
        ("D/HIGH", "101", "!override-reasons-needed"),
        ("B/MEDIUM", "101", "AllocationMade"),
        ("B/LOW", "102", "!override-reasons-needed"),
        ("B", "101", "AllocationMade"),
        ("B", "102", "AllocationMade"),
    ] {
        let mut case = Case::new("A1234BC");
        case.policy = RecommendationPolicy::Rosh;
        case.read(&format!("03-01 tier {tier} | TierAssigned\n03-02 allocate {pom} | {outcome}"));
    }
}

#[test]
fn rule_5_immigration_cases_and_those_of_a_com_are_for_a_prison_pom() {
    check(
        "03-01 tier A                                  | TierAssigned
         03-02 plan immigrationCase                    | HandoverPlanned
         03-03 allocate 102                            | !override-reasons-needed
         03-03 allocate 101                            | AllocationMade",
    );
    check(
        "03-01 tier A               | TierAssigned
         03-02 override PROBATION   | ResponsibilityOverridden
         03-03 allocate 102         | !override-reasons-needed
         03-04 unoverride           | ResponsibilityOverrideRemoved
         03-05 allocate 102         | AllocationMade",
    );
}

#[test]
fn rule_6_release_ends_roles_plan_and_overrides() {
    let mut case = Case::new("A1234BC");
    case.read(
        "03-01 tier C LEI         | TierAssigned
         03-02 allocate 101       | AllocationMade
         03-03 cowork 103         | CoworkerAllocated
         03-03 com Lee            | CommunityManagerAssigned
         03-04 plan recalled      | HandoverPlanned
         03-05 override PRISON    | ResponsibilityOverridden
         03-06 release MDI        | !case-at-another-prison
         03-06 release LEI        | CoworkerDeallocated Deallocated
         03-07 release            | !nothing-changed",
    );
    let state = case.history.state();
    assert_eq!((state.prison, state.primary_pom, state.coworking_pom), (None, None, None));
    assert_eq!((state.arrangements, state.waiting), (Arrangements::default(), None));
}

#[test]
fn rule_6_a_release_keeps_the_prison_that_the_caller_named_and_ends_a_case_once() {
    let mut case = Case::new("A1234BC");
    case.read("03-01 tier C | TierAssigned\n03-20 release LEI | Deallocated");
    assert!(matches!(
        &case.history.entries()[1].event,
        PrisonerEvent::Deallocated(ended) if ended.prison.as_ref().is_some_and(|prison| prison.as_str() == "LEI")
    ));
    case.read(
        "03-10 release       | !later-entry-conflict 1
         03-21 release       | !nothing-changed
         03-22 plan recalled | HandoverPlanned
         03-23 release       | Deallocated",
    );
}

#[test]
fn rule_6_a_change_of_legal_status_ends_the_arrangements_of_an_unallocated_case() {
    let mut case = Case::new("A1234BC");
    case.read(
        "03-01 tier C LEI    | TierAssigned
         03-04 plan recalled | HandoverPlanned
         03-06 legal-status  | Deallocated",
    );
    let state = case.history.state();
    assert_eq!((state.prison, state.waiting), (None, None));
    assert_eq!(state.arrangements, Arrangements::default());
}

#[test]
fn rule_6_a_transfer_ends_both_roles_only() {
    let mut case = Case::new("A1234BC");
    case.read(
        "03-01 tier C LEI    | TierAssigned
         03-02 allocate 101  | AllocationMade
         03-03 cowork 103    | CoworkerAllocated
         03-04 plan recalled | HandoverPlanned
         03-05 transfer LEI  | !nothing-changed
         03-05 transfer MDI  | CoworkerDeallocated Deallocated
         03-06 allocate 101  | AllocationMade",
    );
    case.read("03-07 transfer MDI  | Deallocated");
    let state = case.history.state();
    assert_eq!(state.prison.as_ref().map(|prison| prison.as_str()), Some("MDI"));
    assert_eq!(state.waiting, Some(Waiting { since: at("03-07"), reason: WaitingReason::Transferred }));
    assert!(state.arrangements.handover_plan.is_some());
}

#[test]
fn rule_7_the_role_of_an_inactive_pom_ends_with_a_trigger_of_its_own() {
    let mut case = Case::new("A1234BC");
    case.read(
        "03-01 tier C LEI    | TierAssigned
         03-02 allocate 101  | AllocationMade
         03-03 inactive 103  | !pom-not-holder
         03-04 inactive 101  | Deallocated
         03-05 inactive 101  | !pom-not-holder",
    );
    assert!(matches!(
        &case.history.entries()[2].event,
        PrisonerEvent::Deallocated(ended) if ended.trigger == DeallocationTrigger::PomInactive
    ));
}

#[test]
fn rule_8_backdating_is_legal_where_the_whole_history_still_is() {
    check(
        "03-01 tier C LEI      | TierAssigned
         03-10 allocate 101    | AllocationMade
         03-20 reallocate 103  | Reallocated
         03-05 allocate 101    | !later-entry-conflict 1
         03-15 reallocate 103  | !later-entry-conflict 2
         03-15 deallocate      | !later-entry-conflict 2
         03-12 cowork 103      | !later-entry-conflict 2
         03-12 cowork 102      | CoworkerAllocated
         03-25 release         | CoworkerDeallocated Deallocated
         03-22 cowork 101      | !later-entry-conflict 4
         02-01 tier D          | TierAssigned
         03-25 com Lee         | CommunityManagerAssigned",
    );
}

#[test]
fn rule_8_a_void_takes_an_entry_out_of_the_past() {
    let mut case = Case::new("A1234BC");
    case.read(
        "03-01 tier C LEI      | TierAssigned
         03-10 allocate 101    | AllocationMade
         03-20 reallocate 103  | Reallocated
         03-21 void 1          | !later-entry-conflict 2
         03-21 void 7          | !entry-unknown
         03-21 void 2          | EntryVoided
         03-21 void 2          | !entry-already-voided
         03-21 void 3          | !entry-not-voidable
         who 03-20             | CustodyOnly: POM 101
         03-22 void 1          | EntryVoided
         who 03-20             | CustodyOnly: POM nobody
         03-23 allocate 103    | AllocationMade",
    );
    assert_eq!(case.history.voided_by(2), Some(3));
}

#[test]
fn rule_8_several_entries_are_voided_together_or_not_at_all() {
    let mut case = Case::new("A1234BC");
    case.read(
        "03-01 take C 101      | TierAssigned AllocationMade
         03-02 void 0          | !later-entry-conflict 1
         03-20 reallocate 103  | Reallocated
         03-21 void 0 1        | !later-entry-conflict 2
         03-21 void 1 7        | !entry-unknown
         03-21 void 0 1 2      | EntryVoided EntryVoided EntryVoided
         03-21 void 0 1        | !entry-already-voided
         03-22 void 3 4        | !entry-not-voidable
         who 03-20             | nothing
         03-23 take C 103      | TierAssigned AllocationMade",
    );
    let voided_by: Vec<_> = (0..3).map(|revision| case.history.voided_by(revision)).collect();
    assert_eq!(voided_by, [Some(5), Some(4), Some(3)], "the last entry first");
    let none = Command::VoidEntries(VoidEntries { revisions: BTreeSet::new(), reason: "a slip".into() });
    assert_eq!(case.give(at("03-24"), &none).map_err(|refusal| refusal.rule), Err(Rule::EntryUnknown));
}

#[test]
fn an_effective_time_is_not_in_the_future_nor_before_1900() {
    let mut case = Case::new("A1234BC");
    let long_ago = "1899-12-31T09:00:00Z".parse().expect("an instant");
    let refusal = case.give(long_ago, &command(&["tier", "C"]));
    assert_eq!(refusal.map_err(|refusal| refusal.rule), Err(Rule::EffectiveTimeTooEarly));
    let refusal = case.give(at("12-31") + chrono::TimeDelta::seconds(1), &command(&["tier", "C"]));
    assert_eq!(refusal.map_err(|refusal| refusal.rule), Err(Rule::EffectiveTimeInFuture));
}

#[test]
fn rule_9_each_case_of_a_bulk_reallocation_has_a_command_id_of_its_own() {
    let bulk = CommandId(Uuid::from_u128(1));
    assert_eq!(bulk.derive("A1234BC"), bulk.derive("A1234BC"), "a repeat does nothing twice");
    assert_ne!(bulk.derive("A1234BC"), bulk.derive("B1234BC"));
    assert_ne!(bulk.derive("A1234BC"), bulk);
}

#[test]
fn rule_11_the_events_of_one_command_id_have_the_same_ids_each_time() {
    let command_id = CommandId(Uuid::from_u128(1));
    let [case, other, prison] =
        ["prisoner-A1234BC", "prisoner-A1234BD", "prison-LEI"].map(|name| name.parse::<Stream>().expect("a stream"));
    assert_eq!(command_id.event_id(&case, 0), command_id.event_id(&case, 0));
    assert_ne!(command_id.event_id(&case, 0), command_id.event_id(&case, 1));
    assert_ne!(command_id.event_id(&case, 0), CommandId(Uuid::from_u128(2)).event_id(&case, 0));
    assert_ne!(command_id.event_id(&case, 0), command_id.event_id(&other, 0), "one key, two streams");
    assert_ne!(command_id.event_id(&case, 0), command_id.event_id(&prison, 0), "one key, two streams");
}

/// The event id of a cause, an import's name space and a key are all UUIDs that a caller knows.
#[test]
fn rule_11_commands_of_different_makers_have_different_ids_whatever_they_are_derived_from() {
    let known = Uuid::from_u128(1);
    let part = CommandId(known).derive("A1234BC");
    let policy = EventId(known).derive_command("A1234BC");
    let row = CommandId::of_content(known, "A1234BC");
    assert!(part != policy && policy != row && row != part, "{part} {policy} {row}");
}

#[test]
fn a_plan_that_cannot_be_worked_out_is_refused() {
    check("03-01 tier C | TierAssigned\n03-02 plan conditionalReleaseDate=2030-01-01 | !sentence-start-unknown");
}

#[test]
fn a_command_that_needs_a_case_refuses_an_unknown_number() {
    check(
        "03-01 release      | !prisoner-unknown
         03-01 transfer MDI | !prisoner-unknown
         03-01 legal-status | !prisoner-unknown
         03-01 void 0       | !entry-unknown",
    );
}

/// Its state is that of a case that nothing has happened to.
#[test]
fn a_case_that_has_nothing_left_is_known_all_the_same() {
    for end in ["release", "transfer MDI", "legal-status"] {
        check(&format!(
            "03-01 com Lee | CommunityManagerAssigned
             03-02 uncom   | CommunityManagerRemoved
             02-01 {end}   | !prisoner-unknown
             03-03 {end}   | Deallocated"
        ));
    }
}

#[test]
fn a_case_waits_from_its_tier_and_after_a_transfer() {
    let mut case = Case::new("A1234BC");
    let waiting = |case: &Case| {
        let state = case.history.state();
        state.waiting.map(|waiting| (state.prison.expect("waits somewhere").to_string(), waiting.since, waiting.reason))
    };
    case.read("03-01 tier C | TierAssigned");
    assert_eq!(waiting(&case), None);
    case.read("03-02 tier C LEI | TierAssigned\n03-03 tier B LEI | TierAssigned");
    assert_eq!(waiting(&case), Some(("LEI".into(), at("03-02"), WaitingReason::Received)));
    case.read("03-04 transfer MDI | Deallocated");
    assert_eq!(waiting(&case), Some(("MDI".into(), at("03-04"), WaitingReason::Transferred)));
    case.read("03-05 allocate 102 at MDI | AllocationMade");
    assert_eq!(waiting(&case), None);
    case.read("03-06 deallocate | Deallocated");
    assert_eq!(waiting(&case), Some(("MDI".into(), at("03-06"), WaitingReason::Deallocated)));
    // In transit a case waits nowhere. The prison that it comes to next received it by a transfer.
    for (day, transit) in [("03-07", "OUT"), ("03-08", "TRN")] {
        case.read(&format!("{day} transfer {transit} | Deallocated"));
        assert_eq!(waiting(&case), None, "{transit}");
    }
    case.read("03-09 tier C TRN | TierAssigned");
    assert_eq!(waiting(&case), None);
    case.read("03-10 transfer LEI | Deallocated");
    assert_eq!(waiting(&case), Some(("LEI".into(), at("03-10"), WaitingReason::Transferred)));
}
