//! The responsible officer as time passes, by example: the table "Who is responsible" in
//! `docs/domain.md`.

use domain::{
    officer::CommunityManager,
    prisoner::{Command, EntryVoided, PrisonerEvent, periods},
};

use crate::case::{Case, at, check, record};

#[test]
fn responsibility_follows_the_calendar() {
    check(
        "03-01 tier C LEI      | TierAssigned
         03-02 allocate 101    | AllocationMade
         03-03 plan indeterminate tariffDate=2027-06-15 openPrisonRulesApply prisonArrivalDate=2026-05-01 | HandoverPlanned
         who 02-28             | nothing
         who 03-01             | CustodyOnly: POM nobody
         who 04-30             | CustodyOnly: POM 101
         who 05-01             | CustodyWithCom: POM 101, COM nobody
         who 06-14             | CustodyWithCom: POM 101, COM nobody
         who 06-15             | Community: COM nobody, POM 101
         06-16 com Lee         | CommunityManagerAssigned
         who 06-17             | Community: COM Lee, POM 101
         06-18 override PRISON | ResponsibilityOverridden
         who 06-19             | CustodyWithCom: POM 101, COM Lee
         06-20 uncom           | CommunityManagerRemoved
         06-20 uncom           | !no-community-manager
         who 06-21             | CustodyOnly: POM 101
         06-22 override PROBATION other | !override-detail-needed
         06-22 override PROBATION | ResponsibilityOverridden
         who 06-23             | Community: COM nobody, POM 101
         06-24 unoverride      | ResponsibilityOverrideRemoved
         06-24 unoverride      | !no-responsibility-override
         who 06-25             | Community: COM nobody, POM 101",
    );
}

#[test]
fn no_officer_is_responsible_for_a_case_that_is_not_in_custody() {
    check(
        "03-01 tier C LEI      | TierAssigned
         03-02 allocate 101    | AllocationMade
         03-03 release         | Deallocated
         who 03-04             | NotInCustody: nobody
         03-05 com Lee         | CommunityManagerAssigned
         03-05 override PROBATION | ResponsibilityOverridden
         who 03-05             | NotInCustody: nobody
         03-06 tier C LEI      | TierAssigned
         who 03-07             | Community: COM Lee, POM nobody
         03-08 unoverride      | ResponsibilityOverrideRemoved
         03-09 allocate 101    | AllocationMade
         03-10 legal-status      | Deallocated
         who 03-11             | NotInCustody: nobody",
    );
}

#[test]
fn a_com_named_unallocated_is_no_com() {
    check(
        "03-01 tier C LEI         | TierAssigned
         03-02 plan recalled      | HandoverPlanned
         03-03 com Lee            | CommunityManagerAssigned
         who 03-03                | Community: COM Lee, POM nobody
         03-04 com Unallocated    | CommunityManagerAssigned
         who 03-04                | Community: COM nobody, POM nobody
         03-05 uncom              | !no-community-manager
         03-06 com unallocated    | CommunityManagerAssigned
         who 03-06                | Community: COM nobody, POM nobody",
    );
}

/// A COM of a team.
fn manager(name: &str, email: Option<&str>, team: &str) -> CommunityManager {
    CommunityManager { name: name.into(), email: email.map(Into::into), team: Some(team.into()), ldu: None }
}

#[test]
fn a_com_named_again_goes_on_and_a_new_team_changes_the_details_alone() {
    let mut case = Case::new("A1234BC");
    case.read("03-01 tier C LEI | TierAssigned\n03-02 plan recalled | HandoverPlanned");
    let lee = "lee@example.org";
    for (day, manager, since) in [
        ("03-03", manager("Lee", Some(lee), "North"), "03-03"),
        ("03-04", manager("Lee", Some(lee), "South"), "03-03"),
        ("03-05", manager("Lee", None, "South"), "03-05"),
        ("03-06", manager("Shah", None, "South"), "03-06"),
    ] {
        case.give(at(day), &Command::AssignCommunityManager(manager.clone())).expect("a COM");
        let state = case.history.state();
        let role = state.community_manager.expect("a COM");
        assert_eq!((role.manager, role.since), (manager, at(since)), "{day}");
        let periods = periods(&case.history);
        assert_eq!(periods.last().map(|last| (last.from, last.responsible_since)), Some((at(day), at(since))), "{day}");
    }
}

#[test]
fn an_override_that_a_removal_names_is_not_voided_although_an_earlier_one_is_in_effect() {
    let mut case = Case::new("A1234BC");
    case.read(
        "03-01 tier C LEI         | TierAssigned
         03-02 override PRISON    | ResponsibilityOverridden
         03-03 override PROBATION | ResponsibilityOverridden
         03-04 unoverride         | ResponsibilityOverrideRemoved
         03-05 void 2             | !later-entry-conflict 3",
    );
    let void = Command::Void(EntryVoided { revision: 2, reason: "A slip of the pen".to_owned() });
    let sentence = case.decide(at("03-05"), &void).expect_err("a later entry").sentence;
    assert!(sentence.contains("another than the one taken back: to PRISON"), "{sentence}");
}

/// Earlier programs recorded the same fact again.
#[test]
fn periods_in_which_nothing_changes_are_one_period() {
    let mut case = Case::new("A1234BC");
    case.read("03-01 tier C LEI | TierAssigned\n03-02 com Lee | CommunityManagerAssigned");
    let before = periods(&case.history);
    let again: Vec<PrisonerEvent> = case.history.entries().iter().map(|entry| entry.event.clone()).collect();
    record(&mut case.history, at("03-03"), &again);
    let after = periods(&case.history);
    let bounds = |periods: &[domain::prisoner::Period]| -> Vec<_> {
        periods.iter().map(|period| (period.from, period.to)).collect()
    };
    assert_eq!(bounds(&after), bounds(&before));
    assert_eq!(after.last().map(|last| last.from), Some(at("03-02")));
}
