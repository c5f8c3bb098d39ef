//! The number of a case in Delius: the one told last, by a tier or by itself.

use domain::prisoner::find_same_fact;

use crate::{
    case::{Case, at, command},
    merges::merge,
};

fn crn(case: &Case) -> Option<String> {
    case.history.state().crn.map(|crn| crn.to_string())
}

#[test]
fn a_case_has_the_crn_that_was_told_last() {
    let mut case = Case::new("A1234BC");
    case.read("03-01 tier C LEI | TierAssigned");
    assert_eq!(crn(&case), None);
    case.read("03-04 crn X222222 | CrnRecorded\n03-02 crn X111111 | CrnRecorded");
    assert_eq!(crn(&case).as_deref(), Some("X222222"), "the other one is backdated");
    case.read("03-05 tier B | TierAssigned\n03-06 release | Deallocated");
    assert_eq!(crn(&case).as_deref(), Some("X222222"), "neither a tier without a CRN nor a release ends it");
    case.read("03-07 void 1 | EntryVoided");
    assert_eq!(crn(&case).as_deref(), Some("X111111"));
}

#[test]
fn a_crn_changes_nothing_else_of_a_case() {
    let mut case = Case::new("A1234BC");
    case.read("03-01 tier C LEI | TierAssigned\n03-02 allocate 101 | AllocationMade");
    let mut before = case.history.state();
    case.read("03-03 crn X111111 | CrnRecorded");
    before.crn = case.history.state().crn;
    assert_eq!(case.history.state(), before);
}

#[test]
fn a_crn_that_a_case_has_is_the_same_fact() {
    let mut case = Case::new("A1234BC");
    case.read("03-02 crn X111111 | CrnRecorded\n03-05 crn X222222 | CrnRecorded");
    for (day, words, expected) in [
        ("03-01", ["crn", "X111111"], None),
        ("03-03", ["crn", "X111111"], Some(0)),
        ("03-06", ["crn", "X111111"], None),
        ("03-06", ["crn", "X222222"], Some(1)),
    ] {
        let events = case.decide(at(day), &command(&words)).expect("a command that no rule forbids");
        assert_eq!(find_same_fact(&case.history, &events[0], at(day)), expected, "{day} {words:?}");
    }
}

#[test]
fn a_merge_takes_a_crn_over_where_the_survivor_has_none() {
    let mut removed = Case::new("B1234BC");
    removed.read("03-01 crn X111111 | CrnRecorded");
    let mut survivor = Case::new("A1234BC");
    survivor.read("03-02 tier C LEI | TierAssigned");
    merge(&mut survivor, &mut removed, "03-03");
    assert_eq!(crn(&survivor).as_deref(), Some("X111111"));
    let mut other = Case::new("C1234BC");
    other.read("03-04 crn X333333 | CrnRecorded");
    merge(&mut survivor, &mut other, "03-05");
    assert_eq!(crn(&survivor).as_deref(), Some("X111111"));
}
