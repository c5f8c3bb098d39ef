//! What a column is for, by its heading: how strongly each field is named by a text, from 0 to [`CERTAIN`].
//!
//! Prisons head their columns in many ways. A heading is taken apart into words, and the words are looked at together:
//! an id of an officer is a staff id, an id of a prisoner is the prisoner's number, and `NOMIS ID` may be either, which
//! only the cells below it can tell (see [`super::layout`]).

use std::fmt;

/// What a column of a spreadsheet of allocations, or of NOMIS contacts, may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Field {
    /// The prisoner's number.
    PrisonerNumber,
    /// The case's tier.
    Tier,
    /// The POM's staff id.
    StaffId,
    /// The POM's name, or surname where there is a forename beside it.
    PomName,
    /// The POM's forename.
    PomForename,
    /// Prison or probation POM.
    PomKind,
    /// The date of the allocation.
    AllocatedOn,
    /// Comments.
    Note,
    /// The kind of a contact in NOMIS.
    ContactType,
}

impl Field {
    /// The name in `--map`, as the report's JSON has it too.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::PrisonerNumber => "prisonerNumber",
            Self::Tier => "tier",
            Self::StaffId => "staffId",
            Self::PomName => "pomName",
            Self::PomForename => "pomForename",
            Self::PomKind => "pomKind",
            Self::AllocatedOn => "allocatedOn",
            Self::Note => "note",
            Self::ContactType => "contactType",
        }
    }

    /// The code of a problem with it.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::PrisonerNumber => "prisoner-number",
            Self::Tier => "tier",
            Self::StaffId => "staff-id",
            Self::PomName => "pom-name",
            Self::PomForename => "pom-forename",
            Self::PomKind => "pom-kind",
            Self::AllocatedOn => "allocated-on",
            Self::Note => "note",
            Self::ContactType => "contact-type",
        }
    }

    /// What it is, in words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::PrisonerNumber => "prisoner number",
            Self::Tier => "tier",
            Self::StaffId => "staff id",
            Self::PomName => "POM's name",
            Self::PomForename => "POM's forename",
            Self::PomKind => "POM kind",
            Self::AllocatedOn => "date of allocation",
            Self::Note => "note",
            Self::ContactType => "contact type",
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words())
    }
}

/// The weight of a heading that means one field and nothing else.
pub const CERTAIN: u32 = 100;

/// From this weight on, a heading is believed even where the cells below it look like something else.
pub const TRUSTED: u32 = 85;

/// A heading as headings are compared: lower case, words apart, nothing else.
#[must_use]
pub fn normal(heading: &str) -> String {
    words(heading).join(" ")
}

/// How strongly `heading` names `field`.
#[must_use]
pub fn weight(field: Field, heading: &str) -> u32 {
    let words = words(heading);
    let text = words.join(" ");
    let text = text.as_str();
    let has = |wanted: &[&str]| words.iter().any(|word| wanted.contains(&word.as_str()));
    let phrase = |wanted: &str| format!(" {text} ").contains(&format!(" {wanted} "));
    let id = has(&["id", "ids", "no", "code", "ref"]);
    let alloc = has(&["allocated", "allocation", "alloc", "allocate", "assigned", "assignment"]);
    let when = has(&["date", "on", "since", "from", "when", "start", "started", "dated"]);
    // Of another person, another time, another event.
    let other_person =
        has(&["com", "coms", "community", "keyworker", "coworker", "coworking", "secondary", "second", "spo", "homd"])
            || phrase("key worker")
            || phrase("co worker")
            || phrase("co working");
    let other_time = has(&["previous", "prev", "former", "old", "past", "proposed", "next", "new"]);
    let other_date = has(&[
        "sentence",
        "sentenced",
        "release",
        "review",
        "reviewed",
        "end",
        "ended",
        "expiry",
        "deallocated",
        "unallocated",
        "transfer",
        "tariff",
        "parole",
        "hearing",
        "handover",
        "birth",
        "dob",
        "crd",
        "ard",
        "ped",
        "ted",
        "hdc",
        "hdced",
        "reception",
        "received",
        "arrival",
        "updated",
        "contact",
        "meeting",
        "oasys",
        "due",
        "target",
    ]);
    let officer =
        (has(&["pom", "poms", "os", "om", "supervisor", "staff", "officer", "manager", "caseworker", "employee"])
            || phrase("case worker"))
            && !other_person
            && !other_time;
    let kinds = has(&["prison"]) && has(&["probation"]) || has(&["pro"]) && has(&["po"]);
    let kind = has(&["type", "grade", "kind", "role", "band", "rank"]) || kinds;
    match field {
        Field::PrisonerNumber => match text {
            _ if officer || other_person || other_time => 0,
            "noms" | "noms no" | "noms id" | "nomsno" | "nomsid" | "noms number" | "prn" => CERTAIN,
            "nomis" | "nomis no" | "nomis id" | "nomisno" | "nomisid" | "p nomis no" | "p nomis id" | "p nomis"
            | "pnomis" => 75,
            "no" | "id" | "ref" => 40,
            "prisoner" | "offender" | "prisoners" | "offenders" | "inmate" | "prison" => 30,
            _ if has(&["prison", "prisoner", "prisoners", "offender", "offenders", "inmate", "noms"]) && id => CERTAIN,
            _ if has(&["nomis", "pnomis"]) && id => 60,
            _ => 0,
        },
        Field::Tier => match text {
            "tier" | "tiering" => CERTAIN,
            _ if !has(&["tier", "tiering", "tiers"]) || other_time || other_date || has(&["date", "by"]) => 0,
            _ if has(&["rosh", "risk"]) => 40,
            _ => 90,
        },
        Field::StaffId => match text {
            _ if other_person || other_time => 0,
            "nomis id" | "nomis no" | "nomisid" | "nomisno" => 75,
            "nomis" | "user id" => 60,
            "id" | "no" => 30,
            _ if has(&["payroll", "personnel", "collar"]) && id => 50,
            _ if officer && (id || has(&["nomis"])) && !has(&["cases", "of"]) => CERTAIN,
            "staffid" | "staffno" | "pomid" | "pomno" | "osid" => CERTAIN,
            _ => 0,
        },
        Field::PomForename => {
            if officer && has(&["forename", "forenames", "first", "firstname"]) {
                CERTAIN
            } else {
                0
            }
        }
        Field::PomName => match text {
            _ if !when && (phrase("allocated to") || phrase("assigned to") || phrase("alloc to")) => 85,
            _ if !officer
                || id
                || kind
                || when
                || has(&["email", "forename", "forenames", "first", "firstname", "comments", "notes", "contact"]) =>
            {
                0
            }
            "pom" | "poms" | "pom name" | "allocated pom" | "name of pom" | "prison offender manager" => CERTAIN,
            "os" | "os name" | "offender supervisor" => 95,
            _ if has(&["pom", "poms"]) => 90,
            _ if has(&["supervisor", "os"]) => 85,
            _ if phrase("offender manager") || has(&["om"]) => 75,
            _ if phrase("case manager") || has(&["name", "surname"]) => 70,
            _ => 55,
        },
        Field::PomKind => match text {
            _ if other_person || other_time => 0,
            _ if officer && kind => CERTAIN,
            _ if kinds => 90,
            "type" | "grade" | "kind" => 75,
            "role" | "service" | "employer" | "discipline" | "staff group" | "position" | "job title" | "band"
            | "rank" => 50,
            _ => 0,
        },
        Field::AllocatedOn => match text {
            _ if other_person || other_time || other_date => 0,
            _ if alloc && when => CERTAIN,
            _ if has(&["by", "to"]) => 0,
            _ if alloc && (words.len() == 1 || officer && has(&["allocated", "assigned", "allocation"])) => 70,
            _ if officer && when => 90,
            "start" | "started" | "start date" | "date started" | "date start" => 80,
            "from" | "date from" | "from date" | "since" | "effective from" | "effective date" => 65,
            "date" => 60,
            _ => 0,
        },
        Field::Note => match text {
            _ if has(&["date"]) => 0,
            "comments" | "comment" | "notes" | "note" | "remarks" | "remark" => CERTAIN,
            _ if has(&["comments", "comment", "notes", "note", "remarks", "remark", "observations"]) => 80,
            "further information"
            | "additional information"
            | "other information"
            | "further info"
            | "additional info"
            | "other info"
            | "information"
            | "info"
            | "details"
            | "any other information" => 60,
            _ => 0,
        },
        Field::ContactType => match text {
            "contact type" | "contacttype" | "type of contact" => CERTAIN,
            _ if has(&["contact", "relationship"]) && kind => CERTAIN,
            "relationship" | "contact" => 70,
            "type" | "role" | "kind" => 75,
            _ if officer && kind => 60,
            _ => 0,
        },
    }
}

/// The words of a heading, numbers of either spelling made one: `NOMS No.`, `NOMSNumber` and `noms  number` are the same.
fn words(heading: &str) -> Vec<String> {
    let mut spaced = String::with_capacity(heading.len() + 8);
    let mut before = ' ';
    let letters: Vec<char> = heading.chars().collect();
    for (index, &letter) in letters.iter().enumerate() {
        // `StaffId` and `NOMSNumber` are two words, `POMs` and `NOMIS` are one.
        let lower_follows = |distance: usize| letters.get(index + distance).is_some_and(|next| next.is_lowercase());
        let starts_word = before.is_lowercase() || before.is_uppercase() && lower_follows(1) && lower_follows(2);
        match letter {
            _ if letter.is_uppercase() && starts_word => {
                spaced.push(' ');
                spaced.extend(letter.to_lowercase());
            }
            _ if letter.is_alphanumeric() => spaced.extend(letter.to_lowercase()),
            '\'' | '’' => {}
            '#' => spaced.push_str(" no "),
            '&' => spaced.push_str(" and "),
            _ => spaced.push(' '),
        }
        before = letter;
    }
    spaced
        .split_whitespace()
        .map(|word| match word {
            "number" | "num" | "nos" | "numbers" | "nr" => "no",
            "identifier" => "id",
            "reference" => "ref",
            "dt" => "date",
            "tier1" => "tier",
            word => word,
        })
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOCATIONS: [Field; 8] = [
        Field::PrisonerNumber,
        Field::Tier,
        Field::StaffId,
        Field::PomName,
        Field::PomForename,
        Field::PomKind,
        Field::AllocatedOn,
        Field::Note,
    ];

    /// The field that each heading names the most strongly, `None` where it names none.
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
    fn usual_headings() {
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
        check(
            Some(Field::Tier),
            &["Tier", "TIER ", "Tiering", "Current tier", "Case tier", "Tier level", "Tier (A-D)"],
        );
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
            ],
        );
        check(Some(Field::Note), &["Comments", "Notes", "Remarks", "Comment", "Additional info", "OMU comments"]);
    }

    #[test]
    fn headings_of_something_else() {
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
            ],
        );
    }
}
