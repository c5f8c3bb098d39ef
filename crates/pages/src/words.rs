//! The codes of the API in words.

/// The first of these words that a code has; the code itself where a later version has a new one.
fn word<'a>(words: &[(&str, &'a str)], code: &'a str) -> &'a str {
    words.iter().find(|(known, _)| *known == code).map_or(code, |(_, word)| word)
}

/// The phase of a case.
pub(crate) fn phase(code: &str) -> &str {
    word(
        &[
            ("CUSTODY_ONLY", "In custody, prison responsible"),
            ("CUSTODY_WITH_COM", "In custody, COM supporting"),
            ("COMMUNITY", "Community responsible"),
            ("NOT_IN_CUSTODY", "Not in custody"),
        ],
        code,
    )
}

/// The kind of a POM.
pub(crate) fn pom_kind(code: &str) -> &str {
    word(&[("PRISON", "Prison POM"), ("PROBATION", "Probation POM")], code)
}

/// The status of a POM.
pub(crate) fn pom_status(code: &str) -> &str {
    word(&[("ACTIVE", "Active"), ("UNAVAILABLE", "Unavailable"), ("INACTIVE", "Inactive")], code)
}

/// Risk of serious harm.
pub(crate) fn rosh(code: &str) -> &str {
    word(&[("VERY_HIGH", "Very high"), ("HIGH", "High"), ("MEDIUM", "Medium"), ("LOW", "Low")], code)
}

/// Why a case waits.
pub(crate) fn waiting_reason(code: &str) -> &str {
    word(
        &[
            ("RECEIVED", "Came into prison"),
            ("TRANSFERRED", "Came from another prison"),
            ("POM_INACTIVE", "POM became inactive"),
            ("DEALLOCATED", "Allocation ended"),
            ("MERGED", "Numbers were merged"),
        ],
        code,
    )
}

/// Why a handover plan has its dates.
pub(crate) fn plan_reason(code: &str) -> &str {
    word(
        &[
            ("determinate", "determinate sentence"),
            ("determinate_short", "determinate sentence with less than 10 months left"),
            ("determinate_parole", "determinate sentence with parole"),
            ("indeterminate", "indeterminate sentence"),
            ("indeterminate_open", "indeterminate sentence in open conditions"),
            ("early_allocation", "early allocation to the community"),
            ("recall_case", "recall"),
            ("recall_thd_over_12_months", "recall, parole hearing over 12 months away"),
            ("immigration_case", "immigration case"),
            ("release_date_unknown", "release date not known"),
            ("additional_isp", "another indeterminate sentence to serve"),
            ("thd_over_12_months", "parole hearing over 12 months away"),
            ("parole_mappa_2_3", "parole with MAPPA level 2 or 3"),
            ("com_responsibility", "community is responsible"),
        ],
        code,
    )
}

/// Why a POM of another kind was chosen: the policy's words.
pub(crate) const OVERRIDE_REASONS: [(&str, &str); 4] = [
    ("SUITABILITY", "Prisoner assessed as suitable for the other kind of POM despite tiering calculation"),
    ("NO_STAFF", "No available POM of the recommended kind"),
    ("CONTINUITY", "This POM has worked with the prisoner before"),
    ("OTHER", "Other reason"),
];

/// A reason for the choice of a POM.
pub(crate) fn override_reason(code: &str) -> &str {
    word(&OVERRIDE_REASONS, code)
}

/// Why responsibility was overridden.
pub(crate) const RESPONSIBILITY_REASONS: [(&str, &str); 5] = [
    ("LESS_THAN_10_MONTHS_TO_SERVE", "Less than 10 months left to serve"),
    ("COMMUNITY_TEAM_TO_WORK_WITH_OFFENDER", "Community team is to work with the prisoner"),
    ("PRISONER_HAS_BEEN_RECALLED", "Prisoner has been recalled"),
    ("PRISONER_MOVED_TO_OPEN_PRISON", "Prisoner has moved to an open prison"),
    ("OTHER", "Other reason"),
];

/// A reason for an override of responsibility.
pub(crate) fn responsibility_reason(code: &str) -> &str {
    word(&RESPONSIBILITY_REASONS, code)
}

/// The occasions on which a person asks that POM roles end.
pub(crate) const DEALLOCATION_TRIGGERS: [(&str, &str); 2] =
    [("MANUAL", "Allocation is to end, for another reason"), ("LEGAL_STATUS_CHANGED", "Legal status has changed")];

/// Why POM roles ended.
pub(crate) fn deallocation_trigger(code: &str) -> &str {
    word(
        &[
            ("RELEASED", "released"),
            ("TRANSFERRED", "moved to another prison"),
            ("POM_INACTIVE", "the POM became inactive"),
            ("LEGAL_STATUS_CHANGED", "legal status changed"),
            ("MERGED", "numbers were merged"),
            ("MANUAL", "ended by hand"),
        ],
        code,
    )
}

/// The kinds of establishment.
pub(crate) const ESTATES: [(&str, &str); 3] =
    [("MENS_CLOSED", "Men's, closed"), ("MENS_OPEN", "Men's, open"), ("WOMENS", "Women's")];

/// The field that a column of a spreadsheet was taken for.
pub(crate) fn sheet_field(code: &str) -> &str {
    word(
        &[
            ("prisonerNumber", "Prisoner number"),
            ("tier", "Tier"),
            ("staffId", "Staff id of the POM"),
            ("pomName", "Name of the POM"),
            ("pomForename", "Forename of the POM"),
            ("pomKind", "Kind of POM"),
            ("allocatedOn", "Date of allocation"),
            ("leftOn", "Date of leaving"),
            ("releasedOn", "Date of release"),
            ("transferredOn", "Date of transfer"),
            ("transferredTo", "Prison after a transfer"),
            ("arrivedOn", "Date of arrival"),
            ("note", "Note"),
        ],
        code,
    )
}

/// The occasions on which a person comes into a prison.
pub(crate) const RECEPTION_REASONS: [(&str, &str); 4] = [
    ("NEW_ADMISSION", "New admission"),
    ("READMISSION", "Readmission"),
    ("READMISSION_SWITCH_BOOKING", "Readmission on another booking"),
    ("TRANSFERRED", "From another prison"),
];

/// The occasion on which a person came into a prison.
pub(crate) fn reception_reason(code: &str) -> &str {
    word(&RECEPTION_REASONS, code)
}
