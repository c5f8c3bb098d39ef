//! Suggestions of a POM: "Suggestions" in `docs/domain.md`.

use std::{cmp::Ordering, collections::BTreeMap};

use domain::{
    Refusal,
    caseload::CaseWeight,
    identifier::StaffId,
    officer::{PomKind, PomStatus, WorkingPattern},
    prison,
    prisoner::{
        AllocationQuestion, HeldBefore, RecommendationPolicy, SuggestionSettings, Suggestions, find_roles_before,
        suggest_poms,
    },
};
use proptest::prelude::*;

use crate::case::{Case, at, status, try_prison};

fn staff_id(id: i64) -> StaffId {
    id.try_into().expect("a staff id")
}

/// So many cases of tier D, each of weight 1.
fn cases(count: u64) -> CaseWeight {
    SuggestionSettings::default().tier_weights.of_primaries(Some('D'), count)
}

fn suggest(case: &Case, prison: &str, day: &str, loads: &[(i64, u64)]) -> Result<Suggestions, Refusal> {
    let loads = loads.iter().map(|(id, count)| (staff_id(*id), cases(*count))).collect();
    let question = AllocationQuestion {
        number: case.history.number(),
        state: &case.history.state_at(at(day)),
        prison: case.prisons.iter().find(|of| of.code().as_str() == prison).expect("a prison of the tests"),
        at: at(day),
    };
    let settings = SuggestionSettings { recommendation_policy: case.policy, ..SuggestionSettings::default() };
    suggest_poms(question, &loads, find_roles_before([&case.history], at(day)), settings)
}

/// Checks the order of the POMs of LEI on 1 May, or the code of the refusal. `loads` are cases of
/// weight 1.
#[track_caller]
fn check(page: &str, loads: &[(i64, u64)], expected: &str) {
    let mut case = Case::new("A1234BC");
    case.read(page);
    let got = match suggest(&case, "LEI", "05-01", loads) {
        Ok(found) => found.poms.iter().map(|of| of.pom.staff_id.to_string()).collect::<Vec<_>>().join(" "),
        Err(refusal) => format!("!{}", refusal.rule.code()),
    };
    assert_eq!(got, expected, "{page}");
}

#[test]
fn poms_of_the_recommended_kind_come_first_then_those_with_the_most_room() {
    check("03-01 tier A LEI | TierAssigned", &[], "102 104 101 103");
    check("03-01 tier C LEI | TierAssigned", &[], "101 103 102 104");
    check("03-01 tier A LEI | TierAssigned", &[(101, 2), (102, 7), (103, 1), (104, 6)], "104 102 103 101");
    check(
        "03-01 tier A LEI           | TierAssigned
         03-02 override PROBATION   | ResponsibilityOverridden",
        &[(101, 9), (103, 1)],
        "103 101 102 104",
    );
}

#[test]
fn a_pom_who_held_the_case_before_comes_first_of_a_kind_and_the_last_one_of_several() {
    let held = "03-01 tier C           | TierAssigned
                03-02 allocate 103     | AllocationMade
                03-03 reallocate 101   | Reallocated
                03-04 deallocate       | Deallocated";
    check(held, &[(101, 90), (103, 40)], "101 103 102 104");
    check(&format!("{held}\n03-05 tier A | TierAssigned"), &[(101, 90), (103, 40), (104, 1)], "102 104 101 103");
    // Held again, for a shorter time.
    let again = format!("{held}\n03-06 allocate 103 | AllocationMade\n03-07 deallocate | Deallocated");
    check(&again, &[(103, 90)], "103 101 102 104");
    // An allocation that was an error never was.
    let voided = "03-01 tier C LEI     | TierAssigned
                  03-02 allocate 103   | AllocationMade
                  03-03 void 1         | EntryVoided";
    check(voided, &[(103, 1)], "101 103 102 104");
}

#[test]
fn only_poms_who_may_take_the_case_are_suggested() {
    // 108 is unavailable and 109 inactive; 103 is the co-working POM who stayed.
    let coworker = "03-01 tier C             | TierAssigned
                    03-02 allocate 101       | AllocationMade
                    03-03 cowork 103         | CoworkerAllocated
                    03-04 inactive 101       | Deallocated";
    check(coworker, &[], "101 102 104");
    check("03-01 receive LEI | Received", &[], "!tier-unknown");
    let mut case = Case::new("A1234BC");
    case.read("03-01 tier C HDI | TierAssigned");
    let refused = suggest(&case, "HDI", "05-31", &[]).map_err(|refusal| refusal.rule.code());
    assert_eq!(refused.err(), Some("prison-not-on-omic"));
    assert_eq!(suggest(&case, "HDI", "06-01", &[]).map(|found| found.poms.len()), Ok(1));
}

#[test]
fn without_a_recommendation_the_kind_does_not_count() {
    let mut case = Case::new("A1234BC");
    case.policy = RecommendationPolicy::Rosh;
    case.read("03-01 tier B LEI | TierAssigned");
    let found = suggest(&case, "LEI", "05-01", &[(101, 3), (102, 2), (103, 1)]).expect("suggestions");
    let ids: Vec<i64> = found.poms.iter().map(|of| of.pom.staff_id.get()).collect();
    assert_eq!((found.recommendation.kind, ids), (None, vec![104, 103, 102, 101]));
    assert!(found.poms.iter().all(|of| of.is_recommended.is_none()));
}

/// A POM of a random roster: kind, tenths of full time, status, cases, days since the case was
/// held.
type RandomPom = (bool, u8, u8, u64, Option<u8>);

/// The order, written once more with fractions: whether a POM belongs before another.
fn belongs_before((id, a): (i64, &RandomPom), (other_id, b): (i64, &RandomPom), recommended: bool) -> bool {
    if (a.0 == recommended) != (b.0 == recommended) {
        return a.0 == recommended;
    }
    match (a.4, b.4) {
        (Some(days), Some(other)) if days != other => return days < other,
        (Some(_), None) => return true,
        (None, Some(_)) => return false,
        _ => {}
    }
    // The case itself is of tier D (1) or A (3).
    let weight = |cases: u64| cases + if recommended { 3 } else { 1 };
    match (weight(a.3) * u64::from(b.1)).cmp(&(weight(b.3) * u64::from(a.1))) {
        Ordering::Equal => id < other_id,
        order => order == Ordering::Less,
    }
}

proptest! {
    #[test]
    fn the_order_is_that_of_a_simpler_reading(
        poms in prop::collection::vec((any::<bool>(), 1..=10_u8, 0..4_u8, 0..12_u64, prop::option::of(1..4_u8)), 0..12),
        is_tier_a in any::<bool>(),
    ) {
        let mut case = Case::new("A1234BC");
        case.read(if is_tier_a { "03-01 tier A NMI | TierAssigned" } else { "03-01 tier D NMI | TierAssigned" });
        let mut prison = prison::History::new("NMI".parse().expect("a prison code"));
        let joined = prison::PrisonJoinedOmic {
            go_live_date: "2026-01-01".parse().expect("a date"),
            estate: prison::Estate::MensClosed,
        };
        try_prison(&mut prison, "2026-01-01", &prison::Command::JoinOmic(joined)).expect("it joins");
        let mut loads = BTreeMap::new();
        let mut held_before = BTreeMap::new();
        let by_id: BTreeMap<i64, RandomPom> = (1..).zip(poms).collect();
        for (id, (is_probation, tenths, of_status, count, days)) in &by_id {
            let registered = prison::PomRegistered {
                staff_id: staff_id(*id),
                name: format!("Surname{id}, Forename"),
                kind: if *is_probation { PomKind::Probation } else { PomKind::Prison },
                working_pattern: WorkingPattern::try_from(f64::from(*tenths) / 10.0).expect("a working pattern"),
                email: None,
            };
            try_prison(&mut prison, "2026-01-01", &prison::Command::RegisterPom(registered)).expect("registered");
            if *of_status > 1 {
                let left = if *of_status == 2 { PomStatus::Unavailable } else { PomStatus::Inactive };
                try_prison(&mut prison, "2026-01-02", &status(*id, left)).expect("a status");
            }
            loads.insert(staff_id(*id), cases(*count));
            if let Some(days) = days {
                let until = at("04-30") - chrono::TimeDelta::days(i64::from(*days));
                let held = HeldBefore { prison: prison.code().clone(), since: at("03-02"), until };
                held_before.insert(staff_id(*id), held);
            }
        }
        let state = case.history.state();
        let question = AllocationQuestion { number: case.history.number(), state: &state, prison: &prison, at: at("05-01") };
        let found = suggest_poms(question, &loads, held_before, SuggestionSettings::default()).expect("suggestions");
        let ids: Vec<i64> = found.poms.iter().map(|of| of.pom.staff_id.get()).collect();
        for pair in ids.windows(2) {
            let [before, after] = [pair[0], pair[1]].map(|id| (id, &by_id[&id]));
            prop_assert!(belongs_before(before, after, is_tier_a), "{before:?} is before {after:?}");
        }
        let mut suggested = ids;
        suggested.sort_unstable();
        let active: Vec<i64> = by_id.iter().filter(|(_, pom)| pom.2 < 2).map(|(id, _)| *id).collect();
        prop_assert_eq!(suggested, active);
    }
}
