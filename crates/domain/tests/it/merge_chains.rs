//! Rule 10 of `docs/domain.md` by property: numbers that are merged one into the next, each with a
//! random past of its own, and with further entries between the merges.

use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    identifier::{PrisonCode, StaffId},
    officer::{CommunityManager, Pom},
    prisoner::{
        Command, History, OfficerRole, Period, PomRole, PrisonerNumberRetired, State, Waiting, WaitingReason,
        allocations, lineage::periods_before_merges, merge_of, period_at, periods,
    },
};
use proptest::{prelude::*, test_runner::TestCaseError};

use crate::{
    case::{Case, at},
    properties::{commands, shown},
};

/// The days between two merges of a chain.
const DAYS_BETWEEN: i64 = 40;

/// A role without the entry that gave it.
fn role(role: &Option<PomRole>) -> Option<(&Pom, &PrisonCode, DateTime<Utc>)> {
    role.as_ref().map(|role| (&role.pom, &role.prison, role.since))
}

/// The officer in the responsible role.
fn responsible(period: &Period) -> (Option<OfficerRole>, Option<StaffId>, Option<&CommunityManager>) {
    let role = period.responsibility.responsible;
    let com = period.state.community_manager.as_ref().map(|role| &role.manager);
    match role {
        None => (role, None, None),
        Some(OfficerRole::Pom) => (role, period.state.primary_staff_id(), None),
        Some(OfficerRole::Com) => (role, None, com),
    }
}

/// Gives a case commands that are no part of a merge, at times made of the given ones.
fn give_all(case: &mut Case, commands: &[(DateTime<Utc>, Command)], time: impl Fn(DateTime<Utc>) -> DateTime<Utc>) {
    for (effective_at, command) in commands {
        if !matches!(command, Command::Retire(_) | Command::CompleteMerge(_)) {
            let _ = case.give(time(*effective_at), command);
        }
    }
}

fn merge(survivor: &mut Case, removed: &mut Case, merged_at: DateTime<Utc>) {
    let retire = Command::Retire(PrisonerNumberRetired { survivor: survivor.history.number().clone() });
    removed.give(merged_at, &retire).expect("a merge is not refused");
    let merged = merge_of(&removed.history, removed.history.revision().expect("a retirement"));
    survivor.give(merged_at, &Command::CompleteMerge(Box::new(merged))).expect("a merge is not refused");
}

/// Checks that a case has after a merge, of all that an answer or a refusal looks at, what one of
/// the two had before it.
fn check_facts(own: &State, theirs: &State, both: &State, merged_at: DateTime<Utc>) -> Result<(), TestCaseError> {
    let primary = role(&both.primary_pom);
    prop_assert!(primary == role(&own.primary_pom) || primary == role(&theirs.primary_pom));
    prop_assert!(primary.is_some() || own.primary_pom.is_none());
    let coworker = role(&both.coworking_pom);
    prop_assert!([role(&own.coworking_pom), role(&theirs.coworking_pom), None].contains(&coworker));
    // Where the person and the prison fit, a co-working POM stays.
    if let Some(theirs) = &theirs.coworking_pom
        && own.coworking_pom.is_none()
        && both.prison.as_ref() == Some(&theirs.prison)
        && both.primary_staff_id() != Some(theirs.pom.staff_id)
    {
        prop_assert!(coworker.is_some());
    }
    let managers = [&own.community_manager, &theirs.community_manager];
    prop_assert!(managers.contains(&&both.community_manager));
    prop_assert!(both.waiting.is_none() || both.primary_pom.is_none() && both.prison.is_some());
    // A case that waited at its prison waits on from the same day, or has a POM now. One number may
    // bring the tier and the other the reception: then the wait begins with the merge.
    if both.primary_pom.is_none() && both.prison.is_some() {
        let kept = if own.prison.is_some() { own } else { theirs };
        let is_joined = both.reception.is_some() && both.tier.is_some() && both.coworking_pom.is_none();
        let begun = is_joined.then_some(Waiting { since: merged_at, reason: WaitingReason::Received });
        prop_assert_eq!(both.waiting, kept.waiting.or(begun));
    }
    prop_assert!([own.reception, theirs.reception, None].contains(&both.reception));
    prop_assert!([&own.prison, &theirs.prison].contains(&&both.prison));
    prop_assert!([&own.crn, &theirs.crn].contains(&&both.crn));
    prop_assert!(both.prison.is_some() || [own.left_at, theirs.left_at].contains(&both.left_at));
    prop_assert!(both.prison.is_some() || both.left_at.is_some() || own.left_at.or(theirs.left_at).is_none());
    prop_assert_eq!(both.ever_allocated, own.ever_allocated || theirs.ever_allocated);
    prop_assert!([&own.tier, &theirs.tier].contains(&&both.tier));
    prop_assert_eq!(
        &both.arrangements.handover_plan,
        &own.arrangements.handover_plan.clone().or(theirs.arrangements.handover_plan.clone())
    );
    Ok(())
}

/// Checks that the officer who is responsible after a merge has been so since the time that one of
/// the two numbers said.
fn check_responsible_since(
    before: [&[Period]; 2],
    after: &[Period],
    merged_at: DateTime<Utc>,
) -> Result<(), TestCaseError> {
    let last = period_at(after, merged_at).expect("the merge begins a period");
    let mut before = before.into_iter().filter_map(|periods| period_at(periods, merged_at));
    let since = before.find(|before| responsible(before) == responsible(last)).map(|before| before.responsible_since);
    prop_assert_eq!(last.responsible_since, since.unwrap_or(merged_at));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Whatever an answer or a refusal looks at: what a merged case says of the time before the
    /// merge is what the one or the other number said, along a chain of merges, too.
    #[test]
    fn a_merged_case_says_of_the_past_what_one_of_its_numbers_said(
        pasts in prop::collection::vec((commands(), commands()), 2..=4),
        days in 0..240i64,
    ) {
        let numbers = ["D1234BC", "C1234BC", "B1234BC", "A1234BC"];
        // Each number as it was before the merge that concerns it, and the retired ones.
        let mut alone: Vec<History> = Vec::new();
        let mut retired: Vec<(u64, History)> = Vec::new();
        let mut removed: Option<Case> = None;
        let mut merged_at = at("07-01");
        for (number, (before, between)) in numbers.iter().zip(&pasts) {
            let mut case = Case::new(number);
            give_all(&mut case, before, |time| time);
            alone.push(case.history.clone());
            if let Some(mut removed) = removed.take() {
                let (own, theirs) = (case.history.clone(), removed.history.clone());
                merge(&mut case, &mut removed, merged_at);
                check_facts(&own.state_at(merged_at), &theirs.state_at(merged_at), &case.history.state(), merged_at)?;
                let before = [&periods(&own)[..], &periods(&theirs)];
                check_responsible_since(before, &periods(&case.history), merged_at)?;
                alone.push(theirs);
                retired.push((retired.len() as u64, removed.history));
                let first = merged_at;
                // A void would change the past.
                let is_void = |command: &Command| matches!(command, Command::Void(_) | Command::VoidEntries(_));
                let between: Vec<_> = between.iter().filter(|(_, command)| !is_void(command)).cloned().collect();
                give_all(&mut case, &between, |time| first + TimeDelta::days((time - at("03-01")).num_days() % 35));
                merged_at += TimeDelta::days(DAYS_BETWEEN);
            }
            removed = Some(case);
        }
        let survivor = removed.expect("the last number").history;
        let last_merge = merged_at - TimeDelta::days(DAYS_BETWEEN);

        let instant = at("02-20") + TimeDelta::days(days);
        prop_assume!(instant < last_merge);
        let earlier = periods_before_merges(&survivor, retired.iter().map(|(position, history)| (*position, history)));
        let all: Vec<Period> = earlier.into_iter().map(|before| before.period).chain(periods(&survivor)).collect();
        let said: Vec<Vec<Period>> = alone.iter().map(periods).collect();
        match period_at(&all, instant) {
            Some(period) => {
                let agrees_with = |periods: &Vec<Period>| period_at(periods, instant).is_some_and(|other| {
                    (shown(&other.state), other.responsibility, other.responsible_since)
                        == (shown(&period.state), period.responsibility, period.responsible_since)
                });
                prop_assert!(said.iter().any(agrees_with), "at {}", instant);
            }
            None => prop_assert!(said.iter().all(|periods| period_at(periods, instant).is_none())),
        }
    }
}

/// A case that was allocated, waits, and goes through two merges.
fn waiting_case_through_a_chain() -> Case {
    let mut first = Case::new("C1234BC");
    first.read(
        "03-01 tier C LEI   | TierAssigned
         03-02 allocate 101 | AllocationMade
         03-03 cowork 103   | CoworkerAllocated
         03-04 com Lee      | CommunityManagerAssigned
         03-05 inactive 101 | Deallocated",
    );
    let mut between = Case::new("B1234BC");
    between.read("03-06 tier D | TierAssigned");
    crate::merges::merge(&mut between, &mut first, "03-07");
    let mut survivor = Case::new("A1234BC");
    crate::merges::merge(&mut survivor, &mut between, "03-08");
    survivor
}

#[test]
fn refusals_after_a_chain_of_merges_look_at_the_past_of_its_first_number() {
    waiting_case_through_a_chain().read(
        "03-09 allocate 103       | !pom-is-coworker
         03-09 allocate 101 at MDI | !case-at-another-prison
         03-09 release MDI        | !case-at-another-prison
         03-09 transfer LEI       | !nothing-changed
         03-09 reallocate 102     | !not-allocated
         03-09 uncom              | CommunityManagerRemoved
         03-09 uncowork           | CoworkerDeallocated
         03-10 allocate 103       | AllocationMade
         03-11 allocate 101       | !already-allocated
         03-12 release            | Deallocated
         03-13 release            | !nothing-changed",
    );
    let mut released = waiting_case_through_a_chain();
    released.read("03-12 release LEI | CoworkerDeallocated Deallocated");
    let mut last = Case::new("D1234BC");
    crate::merges::merge(&mut last, &mut released, "03-13");
    last.read("03-14 release | !nothing-changed");
}

#[test]
fn the_days_of_a_wait_count_from_before_a_chain_of_merges() {
    let mut case = waiting_case_through_a_chain();
    case.read("03-12 uncowork | CoworkerDeallocated\n03-15 allocate 101 | AllocationMade");
    let days: Vec<_> = allocations(&case.history).iter().map(|allocation| allocation.days_waited()).collect();
    assert_eq!(days, [Some(10)], "from 5 to 15 March");
    // The same COM named again has been named since the first number.
    case.read("03-16 com Lee | CommunityManagerAssigned");
    assert_eq!(case.history.state().community_manager.map(|role| role.since), Some(at("03-04")));
}
