//! The responsible officer as time passes, by example: the table "Who is responsible" in
//! `docs/domain.md`.

use crate::case::check;

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
