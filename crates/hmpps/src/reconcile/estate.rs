//! A person as the estate has them: in the words of prisoner search, and of probation.

use std::str::FromStr;

use chrono::{DateTime, Datelike as _, NaiveDateTime, Utc};
use domain::{
    identifier::{Crn, PrisonCode, PrisonerNumber},
    london,
    moment::{Date, Instant, YEARS, normalise},
    officer::CommunityManager,
    text::{Excerpt, Text},
    tier::Tier,
};

/// The record that the estate has of a person. It says nothing of what is `None`.
#[derive(Debug, Clone, PartialEq)]
pub struct EstateRecord {
    /// The number.
    pub number: PrisonerNumber,
    /// The place.
    pub place: Option<EstatePlace>,
    /// The numbers that were merged into this one.
    pub removed_numbers: Vec<PrisonerNumber>,
    /// The number in Delius.
    pub crn: Option<Crn>,
    /// The tier.
    pub tier: Option<EstateTier>,
    /// The COM.
    pub manager: Option<EstateManager>,
}

/// The COM of a case.
#[derive(Debug, Clone, PartialEq)]
pub enum EstateManager {
    /// No COM has the case.
    Vacant,
    /// The COM.
    Named(CommunityManager),
}

/// The place of a person.
#[derive(Debug, Clone, PartialEq)]
pub enum EstatePlace {
    /// A prison, also of a person who is at court or out for a day.
    Prison(Stay),
    /// Between two prisons.
    InTransit(Option<SourceDate>),
    /// Outside, after a release.
    Released(Option<SourceDate>),
    /// A hospital, of a restricted patient, who serves a sentence still; with the prison that
    /// supports the person, if that is told.
    InHospital(Option<PrisonCode>),
    /// A place that means nothing certain for the case; the sentence says which.
    Unclear(String),
    /// The source does not have the person.
    Absent,
}

/// A stay at a prison.
#[derive(Debug, Clone, PartialEq)]
pub struct Stay {
    /// The prison.
    pub prison: PrisonCode,
    /// The beginning.
    pub since: Option<SourceDate>,
    /// Whether the person came from another prison.
    pub is_by_transfer: bool,
}

/// A tier.
#[derive(Debug, Clone, PartialEq)]
pub struct EstateTier {
    /// The tier.
    pub tier: Tier,
    /// The time of its calculation.
    pub since: Option<SourceDate>,
}

/// A time that the source says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceDate {
    /// The time.
    pub at: DateTime<Utc>,
    /// The member that says it.
    pub field: &'static str,
}

/// A member of a record that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct FieldProblem {
    /// The member.
    pub field: &'static str,
    /// The problem, as a part of a sentence.
    pub problem: String,
}

impl EstateRecord {
    /// The members that are read, in the words of prisoner search as far as it has them.
    pub const FIELDS: [&str; 19] = [
        "prisonerNumber",
        "prisonId",
        "lastMovementTypeCode",
        "lastMovementReasonCode",
        "lastMovementTime",
        "lastMovementDate",
        "lastAdmissionDate",
        "receptionDate",
        "restrictedPatient",
        "supportingPrisonId",
        "removedNomsNumber",
        "crn",
        "tier",
        "calculationDate",
        "managerSurname",
        "managerForename",
        "managerEmail",
        "teamDescription",
        "localDeliveryUnit",
    ];

    /// Those of [`Self::FIELDS`] that an extract of probation may say. Where a person is it does
    /// not know.
    pub const PROBATION_FIELDS: [&str; 9] = [
        "prisonerNumber",
        "crn",
        "tier",
        "calculationDate",
        "managerSurname",
        "managerForename",
        "managerEmail",
        "teamDescription",
        "localDeliveryUnit",
    ];

    /// The record of a person whom the source does not have.
    #[must_use]
    pub fn absent(number: PrisonerNumber) -> Self {
        Self { place: Some(EstatePlace::Absent), ..Self::empty(number) }
    }

    /// A record that says nothing.
    pub(super) fn empty(number: PrisonerNumber) -> Self {
        Self { number, place: None, removed_numbers: Vec::new(), crn: None, tier: None, manager: None }
    }

    /// Reads a record, of which `text_of` gives the text of each of [`Self::FIELDS`] that it has.
    ///
    /// # Errors
    /// The first member that cannot be read.
    pub fn read(text_of: impl Fn(&'static str) -> Option<String>) -> Result<Self, FieldProblem> {
        let members = RecordMembers { text_of };
        let number = members
            .parse("prisonerNumber")?
            .ok_or_else(|| FieldProblem { field: "prisonerNumber", problem: "it is missing".to_owned() })?;
        Ok(Self {
            place: members.place()?,
            removed_numbers: members.removed_numbers(&number)?,
            crn: members.parse("crn")?,
            tier: members.tier()?,
            manager: members.manager()?,
            ..Self::empty(number)
        })
    }

    /// Adds what another source says of the person, where this record says nothing.
    pub fn add(&mut self, other: Self) {
        let Self { number: _, place, removed_numbers, crn, tier, manager } = other;
        self.place = self.place.take().or(place);
        self.removed_numbers.extend(removed_numbers);
        self.crn = self.crn.take().or(crn);
        self.tier = self.tier.take().or(tier);
        self.manager = self.manager.take().or(manager);
    }

    /// The prison that has the person, if one has.
    #[must_use]
    pub fn prison(&self) -> Option<&PrisonCode> {
        match &self.place {
            Some(EstatePlace::Prison(stay)) => Some(&stay.prison),
            _ => None,
        }
    }
}

/// The members of a record by their names.
struct RecordMembers<F> {
    text_of: F,
}

impl<F: Fn(&'static str) -> Option<String>> RecordMembers<F> {
    /// A member that is not blank.
    fn text(&self, field: &'static str) -> Option<String> {
        (self.text_of)(field).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
    }

    /// A member that is a word or an identifier, in any case.
    fn word(&self, field: &'static str) -> Option<String> {
        self.text(field).map(|text| text.to_ascii_uppercase())
    }

    fn parse<T: FromStr<Err: ToString>>(&self, field: &'static str) -> Result<Option<T>, FieldProblem> {
        let parsed = self.word(field).map(|word| word.parse::<T>());
        parsed.transpose().map_err(|error| FieldProblem { field, problem: error.to_string() })
    }

    /// A text that the ledger may hold.
    fn line(&self, field: &'static str) -> Result<Option<String>, FieldProblem> {
        let line = self.text(field).map(Text::try_from).transpose();
        line.map(|line| line.map(String::from)).map_err(|error| FieldProblem { field, problem: error.to_string() })
    }

    /// A time: an instant, a time on London's clocks, or a date, which is its beginning.
    fn date(&self, field: &'static str) -> Result<Option<SourceDate>, FieldProblem> {
        let Some(text) = self.text(field) else { return Ok(None) };
        let read = || {
            if let Ok(instant) = text.parse::<Instant>() {
                return Some(instant.into());
            }
            if let Ok(date) = text.parse::<Date>() {
                return Some(london::midnight(date.into()));
            }
            let text = text.replacen(' ', "T", 1);
            text.parse::<NaiveDateTime>().ok().filter(|local| YEARS.contains(&local.year())).map(london::instant)
        };
        let at = read().ok_or_else(|| {
            let text = Excerpt(&text);
            let problem =
                format!("`{text}` is not a time; write 2026-03-01, 2026-03-01T09:00:00 or 2026-03-01T09:00:00Z");
            FieldProblem { field, problem }
        })?;
        Ok(Some(SourceDate { at: normalise(at), field }))
    }

    fn first_date(&self, fields: &[&'static str]) -> Result<Option<SourceDate>, FieldProblem> {
        let mut found = None;
        for field in fields {
            let date = self.date(field)?;
            found = found.or(date);
        }
        Ok(found)
    }

    fn place(&self) -> Result<Option<EstatePlace>, FieldProblem> {
        let Some(place) = self.word("prisonId") else { return Ok(None) };
        // Read in any case, so that no wrong value is passed over.
        let moved = self.first_date(&["lastMovementTime", "lastMovementDate"])?;
        let admitted = self.date("lastAdmissionDate")?;
        let received = self.date("receptionDate")?;
        let movement = self.word("lastMovementTypeCode");
        Ok(Some(match (place.as_str(), place.parse::<PrisonCode>()) {
            ("OUT", _) => self.outside(movement.as_deref(), moved)?,
            ("TRN", _) => EstatePlace::InTransit(moved),
            (_, Ok(prison)) => {
                // A movement to court or back is none into the prison.
                let arrived = moved.filter(|_| matches!(movement.as_deref(), Some("ADM" | "TRN")));
                let is_by_transfer = match (movement.as_deref(), admitted.zip(received)) {
                    (Some("TRN"), _) => true,
                    (Some("ADM"), _) | (_, None) => false,
                    (_, Some((admitted, received))) => admitted.at != received.at,
                };
                EstatePlace::Prison(Stay { prison, since: arrived.or(admitted), is_by_transfer })
            }
            (_, Err(_)) => EstatePlace::Unclear(format!("`{}` is no prison", Excerpt(&place))),
        }))
    }

    /// The place of a person who is at no prison. It is a release where the source says so, and
    /// that the person is no patient: one in hospital serves a sentence still.
    fn outside(&self, movement: Option<&str>, moved: Option<SourceDate>) -> Result<EstatePlace, FieldProblem> {
        let is_patient = match self.word("restrictedPatient").as_deref() {
            None => None,
            Some("FALSE" | "N" | "NO" | "0") => Some(false),
            Some("TRUE" | "Y" | "YES" | "1") => Some(true),
            Some(other) => {
                let problem = format!("`{}` is neither true nor false", Excerpt(other));
                return Err(FieldProblem { field: "restrictedPatient", problem });
            }
        };
        let reason = self.word("lastMovementReasonCode");
        let unclear = |place: &str| EstatePlace::Unclear(place.to_owned());
        Ok(match (movement, reason.as_deref(), is_patient) {
            (_, _, Some(true)) => {
                EstatePlace::InHospital(self.word("supportingPrisonId").and_then(|prison| prison.parse().ok()))
            }
            (None | Some("REL"), Some("HP"), _) => unclear("outside, released to a hospital"),
            (Some("REL"), reason, is_patient) if reason.is_some() || is_patient.is_some() => {
                EstatePlace::Released(moved)
            }
            (None | Some("REL"), ..) => unclear("outside, and nothing says whether free or in hospital"),
            (Some(other), ..) => EstatePlace::Unclear(format!("outside, by a movement of type `{}`", Excerpt(other))),
        })
    }

    fn removed_numbers(&self, number: &PrisonerNumber) -> Result<Vec<PrisonerNumber>, FieldProblem> {
        let field = "removedNomsNumber";
        let words = self.word(field).unwrap_or_default();
        let words = words.split(|c: char| c.is_whitespace() || c == ';' || c == ',').filter(|word| !word.is_empty());
        let numbers: Result<Vec<PrisonerNumber>, _> = words.map(str::parse).collect();
        let numbers = numbers.map_err(|error| FieldProblem { field, problem: error.to_string() })?;
        if numbers.contains(number) {
            return Err(FieldProblem { field, problem: "it is the number of the record itself".to_owned() });
        }
        Ok(numbers)
    }

    fn tier(&self) -> Result<Option<EstateTier>, FieldProblem> {
        let since = self.date("calculationDate")?;
        Ok(self.parse("tier")?.map(|tier| EstateTier { tier, since }))
    }

    fn manager(&self) -> Result<Option<EstateManager>, FieldProblem> {
        let names = [self.line("managerSurname")?, self.line("managerForename")?];
        let (email, team, ldu) =
            (self.line("managerEmail")?, self.line("teamDescription")?, self.line("localDeliveryUnit")?);
        let names: Vec<String> = names.into_iter().flatten().collect();
        // Delius has a case that waits for a COM under such a name.
        let is_vacant = names.iter().any(|name| name.eq_ignore_ascii_case("Unallocated"));
        let named = || EstateManager::Named(CommunityManager { name: names.join(", "), email, team, ldu });
        Ok(match is_vacant {
            true => Some(EstateManager::Vacant),
            false if names.is_empty() => None,
            false => Some(named()),
        })
    }
}
