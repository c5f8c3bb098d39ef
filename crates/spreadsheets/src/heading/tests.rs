//! The weights of headings that prisons use.

use super::*;

const ALLOCATIONS: [Field; 13] = [
    Field::PrisonerNumber,
    Field::Tier,
    Field::StaffId,
    Field::PomName,
    Field::PomForename,
    Field::PomKind,
    Field::AllocatedOn,
    Field::LeftOn,
    Field::ReleasedOn,
    Field::TransferredOn,
    Field::TransferredTo,
    Field::ArrivedOn,
    Field::Note,
];

/// Checks the field that each heading names most strongly; `None` means that it names no field.
#[track_caller]
fn check(expected: Option<Field>, headings: &[&str]) {
    for heading in headings {
        let found = ALLOCATIONS
            .into_iter()
            .rev()
            .max_by_key(|&field| weight(field, heading))
            .filter(|&field| weight(field, heading) > 0);
        assert_eq!(found, expected, "{heading}");
    }
}

#[test]
fn usual_headings_name_their_field() {
    check(
        Some(Field::PrisonerNumber),
        &[
            "NOMS No.",
            "NOMS",
            "Prison number",
            "Prison No",
            "Prisoner number",
            "Prisoner No.",
            "Offender No",
            "Offender number",
            "Offender ID",
            "prisonerNumber",
            "NOMSNumber",
            "Number",
            "No.",
            "NOMIS no",
            "P-NOMIS No",
            "PRN",
            "Inmate number",
        ],
    );
    check(Some(Field::Tier), &["Tier", "TIER ", "Tiering", "Current tier", "Case tier", "Tier level", "Tier (A-D)"]);
    check(
        Some(Field::StaffId),
        &[
            "Staff ID",
            "OS staff ID",
            "Staff no",
            "Staff number",
            "POM ID",
            "POM NOMIS ID",
            "POM staff no.",
            "staffId",
            "Officer ID",
            "Staff code",
            "Employee number",
            "User ID",
        ],
    );
    check(
        Some(Field::PomName),
        &[
            "POM",
            "Allocated POM",
            "POM name",
            "POM's name",
            "Offender Supervisor",
            "Offender Manager",
            "OS",
            "Name of POM",
            "Allocated to",
            "Current POM",
            "Primary POM",
            "Staff name",
            "Prison Offender Manager",
            "OM",
            "Responsible officer",
            "Allocated OS",
            "POM surname",
        ],
    );
    check(Some(Field::PomForename), &["POM forename", "POM first name"]);
    check(
        Some(Field::PomKind),
        &[
            "POM type",
            "Type",
            "Grade",
            "POM grade",
            "Kind",
            "POM kind",
            "Staff type",
            "Prison/Probation",
            "PO/PRO",
            "OM Prison/Probation",
            "POM (PRO or PO)",
            "POM role",
            "Role",
        ],
    );
    check(
        Some(Field::AllocatedOn),
        &[
            "Date allocated",
            "Allocated on",
            "Start",
            "Start date",
            "Allocation date",
            "Date of allocation",
            "Date assigned",
            "Allocated",
            "POM start date",
            "Date from",
            "Since",
            "Date POM allocated",
            "Date allocated to OM",
            "Date",
            "allocatedOn",
            "Alloc'd",
            "Date alloc'd",
            "Date given to POM",
            "POM since",
        ],
    );
    check(
        Some(Field::LeftOn),
        &[
            "Left",
            "Left on",
            "Date left",
            "Date out",
            "Deallocated",
            "Date deallocated",
            "End date",
            "leftOn",
            "Released / transferred",
            "Date released or transferred",
        ],
    );
    check(
        Some(Field::ReleasedOn),
        &["Released", "Released on", "Date released", "Discharged", "Date of discharge", "releasedOn"],
    );
    check(
        Some(Field::TransferredOn),
        &[
            "Transferred",
            "Transferred out",
            "Date transferred",
            "Date of transfer",
            "Transfer date",
            "Date transferred to",
            "transferredOn",
        ],
    );
    check(
        Some(Field::TransferredTo),
        &["Transferred to", "Prison transferred to", "Moved to", "Gone to", "transferredTo"],
    );
    check(
        Some(Field::ArrivedOn),
        &["Date of arrival", "Arrived", "Arrived on", "Received", "Date received", "Reception date", "Transferred in"],
    );
    check(Some(Field::Note), &["Comments", "Notes", "Remarks", "Comment", "Additional info", "OMU comments"]);
}

#[test]
fn other_headings_name_no_field() {
    check(
        None,
        &[
            "Surname",
            "Forename",
            "Name",
            "Location",
            "Cell",
            "Wing",
            "DOB",
            "Date of birth",
            "Sentence date",
            "Sentence start date",
            "CRD",
            "Release date",
            "COM",
            "Community Offender Manager",
            "Keyworker",
            "Key worker",
            "Previous POM",
            "RoSH",
            "Cat",
            "Tier review date",
            "Previous tier",
            "POM email",
            "Co-working POM",
            "COM email",
            "Date of last review",
            "Tariff date",
            "",
            "Handover date",
            "POM contact date",
            "Last updated",
            "Days left to serve",
            "Time left",
            "Planned release date",
            "Release date",
            "Transferred from",
            "Sentence end date",
            "Report received",
            "Receiving prison",
            "Destination",
        ],
    );
}

#[test]
fn characters_that_cannot_be_seen_are_no_part_of_a_heading() {
    check(Some(Field::PrisonerNumber), &["Prison\u{200b} number", "\u{feff}NOMS no", "NO\u{ad}MS no"]);
    check(Some(Field::StaffId), &["Staff\u{2060} id", "Staff\u{200e} id"]);
    check(Some(Field::AllocatedOn), &["Date allo\u{ad}cated"]);
}
