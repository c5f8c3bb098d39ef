//! "The same fact again" of `docs/domain.md`, by example.

use domain::prisoner::find_same_fact;

use crate::{
    case::{Case, at, command},
    merges::merge,
};

/// The entry that says already what the command of a line would say on a day, or `new`.
fn same_fact(case: &Case, day: &str, words: &str) -> String {
    let words: Vec<&str> = words.split_whitespace().collect();
    let events = case.decide(at(day), &command(&words)).expect("a command that no rule forbids");
    let [event] = &events[..] else { panic!("{words:?} gives {} events", events.len()) };
    find_same_fact(&case.history, event, at(day)).map_or("new".to_owned(), |revision| revision.to_string())
}

#[test]
fn the_same_fact_again_is_found_at_or_after_the_entry_that_says_so() {
    let mut case = Case::new("A1234BC");
    case.read(
        "03-01 tier C LEI                           | TierAssigned
         03-02 com Lee                              | CommunityManagerAssigned
         03-03 plan recalled calculatedOn=2026-03-01 | HandoverPlanned
         03-04 override PRISON                      | ResponsibilityOverridden
         03-10 tier B LEI                           | TierAssigned
         03-20 tier C LEI                           | TierAssigned
         03-21 com Shah                             | CommunityManagerAssigned",
    );
    for (day, words, expected) in [
        ("03-01", "tier C LEI", "0"),
        ("03-05", "tier C LEI", "0"),
        ("02-28", "tier C LEI", "new"),
        ("03-05", "tier C", "new"),
        ("03-05", "tier C/HIGH LEI", "new"),
        ("03-10", "tier C LEI", "new"),
        ("03-22", "tier C LEI", "5"),
        ("03-02", "com Lee", "1"),
        ("03-01", "com Lee", "new"),
        ("03-21", "com Lee", "new"),
        ("03-22", "com Shah", "6"),
        ("03-22", "plan recalled calculatedOn=2026-03-22", "2"),
        ("03-22", "plan recalled earlyAllocation", "new"),
        ("03-22", "override PRISON", "3"),
        ("03-22", "override PROBATION", "new"),
    ] {
        assert_eq!(same_fact(&case, day, words), expected, "{day} {words}");
    }
}

#[test]
fn a_fact_that_ended_is_new_when_it_comes_again() {
    let mut case = Case::new("A1234BC");
    case.read(
        "03-01 tier C LEI      | TierAssigned
         03-02 com Lee         | CommunityManagerAssigned
         03-03 plan recalled   | HandoverPlanned
         03-04 override PRISON | ResponsibilityOverridden
         03-05 uncom           | CommunityManagerRemoved
         03-06 com Unallocated | CommunityManagerAssigned
         03-07 release         | Deallocated",
    );
    for (words, expected) in [
        ("com Lee", "new"),
        ("com Unallocated", "5"),
        ("plan recalled", "new"),
        ("override PRISON", "new"),
        // The person comes back to the prison.
        ("tier C LEI", "new"),
    ] {
        assert_eq!(same_fact(&case, "03-08", words), expected, "{words}");
    }
    case.read("03-08 void 4 | EntryVoided");
    assert_eq!(same_fact(&case, "03-05", "com Lee"), "1");
}

#[test]
fn a_fact_that_a_merge_brought_is_the_same_fact() {
    let mut removed = Case::new("B1234BC");
    removed.read("03-01 tier C LEI | TierAssigned\n03-02 com Lee | CommunityManagerAssigned");
    let mut survivor = Case::new("A1234BC");
    survivor.read("03-03 plan recalled | HandoverPlanned");
    merge(&mut survivor, &mut removed, "03-07");
    for (words, expected) in [("tier C LEI", "1"), ("com Lee", "1"), ("plan recalled", "0"), ("com Shah", "new")] {
        assert_eq!(same_fact(&survivor, "03-08", words), expected, "{words}");
    }
}
