//! The entry that brought about a role, which decides for how long the role is held.

use domain::{
    Entry,
    prisoner::{History, PomRole, PrisonerEvent, RoleOrigins},
};
use proptest::prelude::*;

use crate::{case::Case, merges::merge, properties::commands};

/// The revisions of the entries that brought about the primary and the co-working role.
fn origins(case: &Case) -> [Option<u64>; 2] {
    let state = case.history.state();
    let origin_of =
        |role: &Option<PomRole>| case.history.origins_of(role.as_ref()?).of_role.map(|entry| entry.revision);
    [origin_of(&state.primary_pom), origin_of(&state.coworking_pom)]
}

#[test]
fn a_role_originates_in_the_entry_that_gave_it() {
    let mut case = Case::new("B1234BC");
    case.read(
        "03-01 tier C LEI     | TierAssigned
         03-02 allocate 101   | AllocationMade
         03-03 cowork 103     | CoworkerAllocated
         03-04 tier D         | TierAssigned",
    );
    assert_eq!(origins(&case), [Some(1), Some(2)]);
    case.read("03-05 reallocate 102 because CONTINUITY | Reallocated");
    assert_eq!(origins(&case), [Some(4), Some(2)]);
    let mut survivor = Case::new("A1234BC");
    survivor.read("03-05 tier C | TierAssigned");
    merge(&mut survivor, &mut case, "03-07");
    assert_eq!(origins(&survivor), [Some(1), Some(1)], "the merge gave both");
}

#[test]
fn a_role_originates_in_the_void_of_its_end_and_in_no_other_void() {
    let mut case = Case::new("A1234BC");
    case.read(
        "03-01 tier C LEI   | TierAssigned
         03-02 allocate 101 | AllocationMade
         03-03 cowork 103   | CoworkerAllocated
         03-04 com Lee      | CommunityManagerAssigned
         03-05 void 3       | EntryVoided",
    );
    assert_eq!(origins(&case), [Some(1), Some(2)], "the void of another entry");
    case.read("03-06 uncowork | CoworkerDeallocated\n03-07 void 5 | EntryVoided");
    assert_eq!(origins(&case), [Some(1), Some(6)], "the void of the end of the other role");
    case.read("03-08 inactive 101 | Deallocated\n03-09 void 7 | EntryVoided");
    assert_eq!(origins(&case), [Some(8), Some(6)]);
}

/// The first of the last entries after each of which the history had a role, as it was known then.
fn origin_among_prefixes(history: &History, is_role: impl Fn(&PomRole) -> bool) -> Option<&Entry<PrisonerEvent>> {
    let has_role =
        |last: &&Entry<PrisonerEvent>| history.known_at_position(last.position).state().roles().any(&is_role);
    history.entries().iter().rev().take_while(has_role).last()
}

proptest! {
    #[test]
    fn origins_agree_with_what_was_known_at_each_position(commands in commands()) {
        let mut case = Case::new("A1234BC");
        for (effective_at, command) in commands {
            let _ = case.give(effective_at, &command);
            let history = &case.history;
            for role in history.state().roles() {
                let is_of_holder =
                    |held: &PomRole| held.pom.staff_id == role.pom.staff_id && held.prison == role.prison;
                let expected = RoleOrigins {
                    of_role: origin_among_prefixes(history, |held| is_of_holder(held) && held.given_by == role.given_by),
                    of_holder: origin_among_prefixes(history, is_of_holder),
                };
                prop_assert_eq!(history.origins_of(role), expected);
            }
        }
    }
}
