//! Weighs headings: how strongly a text names each field, from 0 to [`CERTAIN`].
//!
//! Prisons head their columns in many ways. A heading is split into words, and the words are
//! weighed together: an id of an officer is a staff id, an id of a prisoner is the prisoner number,
//! and `NOMIS ID` may be either, which only the cells below it can tell (see [`super::layout`]).

mod leaving;
mod words;

use std::fmt;

use words::{contains_phrase, words};

/// A field that a column may hold, in a spreadsheet of allocations or a list of contacts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Field {
    /// The prisoner's number.
    PrisonerNumber,
    /// The case's tier.
    Tier,
    /// The POM's staff id.
    StaffId,
    /// The POM's name, or the surname if another column has the forename.
    PomName,
    /// The POM's forename.
    PomForename,
    /// Prison or probation POM.
    PomKind,
    /// The date of the allocation.
    AllocatedOn,
    /// The date on which the person left the prison, or came to have no POM there.
    LeftOn,
    /// The date on which the person was released.
    ReleasedOn,
    /// The date on which the person went to another prison.
    TransferredOn,
    /// The prison that the person went to.
    TransferredTo,
    /// The date on which the person came to the prison.
    ArrivedOn,
    /// Comments.
    Note,
    /// The kind of a contact in NOMIS.
    ContactType,
}

impl Field {
    /// The name of the field in `--map` and in the report's JSON.
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
            Self::LeftOn => "leftOn",
            Self::ReleasedOn => "releasedOn",
            Self::TransferredOn => "transferredOn",
            Self::TransferredTo => "transferredTo",
            Self::ArrivedOn => "arrivedOn",
            Self::Note => "note",
            Self::ContactType => "contactType",
        }
    }

    /// The code of a problem with the field.
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
            // One code for each date of leaving: programs knew the code before the ways were told
            // apart.
            Self::LeftOn | Self::ReleasedOn | Self::TransferredOn => "left-on",
            Self::TransferredTo => "transferred-to",
            Self::ArrivedOn => "arrived-on",
            Self::Note => "note",
            Self::ContactType => "contact-type",
        }
    }

    /// The field in words, for messages.
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
            Self::LeftOn => "date of leaving",
            Self::ReleasedOn => "date of release",
            Self::TransferredOn => "date of transfer",
            Self::TransferredTo => "prison after a transfer",
            Self::ArrivedOn => "date of arrival",
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

/// The weight of a heading that can mean one field only.
pub const CERTAIN: u32 = 100;

/// From this weight on a heading is believed even if the cells below it look like another field.
pub const TRUSTED: u32 = 85;

/// The form in which headings are compared: lower-case words, one space apart.
#[must_use]
pub fn normal(heading: &str) -> String {
    words(heading).join(" ")
}

/// The weight with which `heading` names `field`.
#[must_use]
pub fn weight(field: Field, heading: &str) -> u32 {
    Heading::new(heading).weight(field)
}

/// A heading with the traits that the weights of the fields look at.
#[derive(Debug, Clone)]
pub struct Heading {
    words: Vec<String>,
    /// The words, one space apart.
    text: String,
    /// An identifier of a person.
    id: bool,
    /// The act of allocating.
    allocation: bool,
    /// A time.
    when: bool,
    /// A person other than prisoner and primary POM.
    other_person: bool,
    /// A time other than the present.
    other_time: bool,
    /// A date of another event.
    other_date: bool,
    /// The primary POM.
    officer: bool,
    /// Both kinds of POM.
    both_kinds: bool,
    /// A kind of POM, or of contact.
    kind: bool,
}

const ID_WORDS: &[&str] = &["id", "ids", "no", "code", "ref"];
const ALLOCATION_WORDS: &[&str] = &["allocated", "allocation", "alloc", "allocd", "allocate", "assigned", "assignment"];
const TIME_WORDS: &[&str] = &["date", "on", "since", "from", "when", "start", "started", "dated"];
const OTHER_PERSON_WORDS: &[&str] =
    &["com", "coms", "community", "keyworker", "coworker", "coworking", "secondary", "second", "spo", "homd"];
const OTHER_TIME_WORDS: &[&str] = &["previous", "prev", "former", "old", "past", "proposed", "next", "new"];
const OTHER_DATE_WORDS: &[&str] = &[
    "sentence",
    "sentenced",
    "release",
    "review",
    "reviewed",
    "end",
    "ended",
    "expiry",
    "deallocated",
    "deallocation",
    "unallocated",
    "transfer",
    "transferred",
    "released",
    "discharge",
    "discharged",
    "left",
    "leaving",
    "departed",
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
    "arrived",
    "updated",
    "contact",
    "meeting",
    "oasys",
    "due",
    "target",
];
const ARRIVAL_WORDS: &[&str] = &["arrival", "arrived", "reception", "received"];
const NO_ARRIVAL_WORDS: &[&str] =
    &["sentence", "report", "oasys", "referral", "contact", "parole", "from", "by", "prison"];
const OFFICER_WORDS: &[&str] =
    &["pom", "poms", "os", "om", "supervisor", "staff", "officer", "manager", "caseworker", "employee"];
const KIND_WORDS: &[&str] = &["type", "grade", "kind", "role", "band", "rank"];

impl Heading {
    /// The weight with which the heading names `field`.
    #[must_use]
    pub fn weight(&self, field: Field) -> u32 {
        match field {
            Field::PrisonerNumber => self.prisoner_number(),
            Field::Tier => self.tier(),
            Field::StaffId => self.staff_id(),
            Field::PomName => self.pom_name(),
            Field::PomForename => self.pom_forename(),
            Field::PomKind => self.pom_kind(),
            Field::AllocatedOn => self.allocated_on(),
            Field::LeftOn | Field::ReleasedOn | Field::TransferredOn | Field::TransferredTo => self.leaving(field),
            Field::ArrivedOn => self.arrived_on(),
            Field::Note => self.note(),
            Field::ContactType => self.contact_type(),
        }
    }

    /// The heading in the form in which headings are compared.
    #[must_use]
    pub fn normal(&self) -> &str {
        &self.text
    }

    /// Reads a heading.
    #[must_use]
    pub fn new(heading: &str) -> Self {
        let words = words(heading);
        let text = words.join(" ");
        let has = |list: &[&str]| words.iter().any(|word| list.contains(&word.as_str()));
        let has_phrase = |phrase: &str| contains_phrase(&text, phrase);
        let other_person =
            has(OTHER_PERSON_WORDS) || has_phrase("key worker") || has_phrase("co worker") || has_phrase("co working");
        let other_time = has(OTHER_TIME_WORDS);
        let both_kinds = has(&["prison"]) && has(&["probation"]) || has(&["pro"]) && has(&["po"]);
        Self {
            id: has(ID_WORDS),
            allocation: has(ALLOCATION_WORDS),
            when: has(TIME_WORDS),
            other_date: has(OTHER_DATE_WORDS),
            officer: (has(OFFICER_WORDS) || has_phrase("case worker")) && !other_person && !other_time,
            kind: has(KIND_WORDS) || both_kinds,
            other_person,
            other_time,
            both_kinds,
            words,
            text,
        }
    }

    /// Whether the heading has one of these words.
    fn has(&self, list: &[&str]) -> bool {
        self.words.iter().any(|word| list.contains(&word.as_str()))
    }

    /// Whether the heading has these words in a row.
    fn has_phrase(&self, phrase: &str) -> bool {
        contains_phrase(&self.text, phrase)
    }

    fn prisoner_number(&self) -> u32 {
        match self.text.as_str() {
            _ if self.officer || self.other_person || self.other_time => 0,
            "noms" | "noms no" | "noms id" | "nomsno" | "nomsid" | "noms number" | "prn" => CERTAIN,
            "nomis" | "nomis no" | "nomis id" | "nomisno" | "nomisid" | "p nomis no" | "p nomis id" | "p nomis"
            | "pnomis" => 75,
            "no" | "id" | "ref" => 40,
            "prisoner" | "offender" | "prisoners" | "offenders" | "inmate" | "prison" => 30,
            _ if self.has(&["prison", "prisoner", "prisoners", "offender", "offenders", "inmate", "noms"])
                && self.id =>
            {
                CERTAIN
            }
            _ if self.has(&["nomis", "pnomis"]) && self.id => 60,
            _ => 0,
        }
    }

    fn tier(&self) -> u32 {
        match self.text.as_str() {
            "tier" | "tiering" => CERTAIN,
            _ if !self.has(&["tier", "tiering", "tiers"])
                || self.other_time
                || self.other_date
                || self.has(&["date", "by"]) =>
            {
                0
            }
            _ if self.has(&["rosh", "risk"]) => 40,
            _ => 90,
        }
    }

    fn staff_id(&self) -> u32 {
        match self.text.as_str() {
            _ if self.other_person || self.other_time => 0,
            "nomis id" | "nomis no" | "nomisid" | "nomisno" => 75,
            "nomis" | "user id" => 60,
            "id" | "no" => 30,
            _ if self.has(&["payroll", "personnel", "collar"]) && self.id => 50,
            _ if self.officer && (self.id || self.has(&["nomis"])) && !self.has(&["cases", "of"]) => CERTAIN,
            "staffid" | "staffno" | "pomid" | "pomno" | "osid" => CERTAIN,
            _ => 0,
        }
    }

    fn pom_forename(&self) -> u32 {
        if self.officer && self.has(&["forename", "forenames", "first", "firstname"]) { CERTAIN } else { 0 }
    }

    fn pom_name(&self) -> u32 {
        match self.text.as_str() {
            _ if !self.when
                && (self.has_phrase("allocated to")
                    || self.has_phrase("assigned to")
                    || self.has_phrase("alloc to")) =>
            {
                85
            }
            _ if !self.officer
                || self.id
                || self.kind
                || self.when
                || self.has(&[
                    "email",
                    "forename",
                    "forenames",
                    "first",
                    "firstname",
                    "comments",
                    "notes",
                    "contact",
                ]) =>
            {
                0
            }
            "pom" | "poms" | "pom name" | "allocated pom" | "name of pom" | "prison offender manager" => CERTAIN,
            "os" | "os name" | "offender supervisor" => 95,
            _ if self.has(&["pom", "poms"]) => 90,
            _ if self.has(&["supervisor", "os"]) => 85,
            _ if self.has_phrase("offender manager") || self.has(&["om"]) => 75,
            _ if self.has_phrase("case manager") || self.has(&["name", "surname"]) => 70,
            _ => 55,
        }
    }

    fn pom_kind(&self) -> u32 {
        match self.text.as_str() {
            _ if self.other_person || self.other_time => 0,
            _ if self.officer && self.kind => CERTAIN,
            _ if self.both_kinds => 90,
            "type" | "grade" | "kind" => 75,
            "role" | "service" | "employer" | "discipline" | "staff group" | "position" | "job title" | "band"
            | "rank" => 50,
            _ => 0,
        }
    }

    fn allocated_on(&self) -> u32 {
        match self.text.as_str() {
            _ if self.other_person || self.other_time || self.other_date => 0,
            _ if self.allocation && self.when => CERTAIN,
            _ if self.officer && self.when && self.has(&["given", "allocd"]) => 90,
            _ if self.has(&["by", "to"]) => 0,
            _ if self.allocation
                && (self.words.len() == 1 || self.officer && self.has(&["allocated", "assigned", "allocation"])) =>
            {
                70
            }
            _ if self.officer && self.when => 90,
            "start" | "started" | "start date" | "date started" | "date start" => 80,
            "from" | "date from" | "from date" | "since" | "effective from" | "effective date" => 65,
            "date" => 60,
            _ => 0,
        }
    }

    fn arrived_on(&self) -> u32 {
        match self.text.as_str() {
            _ if self.other_person || self.other_time || self.officer || self.has(NO_ARRIVAL_WORDS) => 0,
            "transferred in" | "date transferred in" | "transfer in" | "date in" => 80,
            _ if self.has(ARRIVAL_WORDS) && (self.words.len() == 1 || self.when) => 90,
            _ => 0,
        }
    }

    fn note(&self) -> u32 {
        match self.text.as_str() {
            _ if self.has(&["date"]) => 0,
            "comments" | "comment" | "notes" | "note" | "remarks" | "remark" => CERTAIN,
            _ if self.has(&["comments", "comment", "notes", "note", "remarks", "remark", "observations"]) => 80,
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
        }
    }

    fn contact_type(&self) -> u32 {
        match self.text.as_str() {
            "contact type" | "contacttype" | "type of contact" => CERTAIN,
            _ if self.has(&["contact", "relationship"]) && self.kind => CERTAIN,
            "relationship" | "contact" => 70,
            "type" | "role" | "kind" => 75,
            _ if self.officer && self.kind => 60,
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests;
