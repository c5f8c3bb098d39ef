//! The answers of the services, as far as the ledger has a use for them. Members that are not
//! needed are not looked at; those that are needed and missing make an answer unusable.

use chrono::{DateTime, Datelike as _, NaiveDate, NaiveDateTime, Utc};
use domain::{
    handover::Facts,
    identifier::{Crn, PrisonerNumber},
    london, moment,
    officer::CommunityManager,
    text::Excerpt,
    tier::{RoshLevel, Tier},
};
use serde::{Deserialize, Deserializer, de::Error as _};

/// A version of the tier service's answers, which is a part of their path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TierVersion {
    /// A to D with a change level.
    V2,
    /// A to G.
    V3,
}

impl TierVersion {
    pub(super) const fn path(self) -> &'static str {
        match self {
            Self::V2 => "v2",
            Self::V3 => "v3",
        }
    }

    /// The version whose answers lie at an address, by its path alone: whatever else a message says
    /// of the place, it is not asked there.
    #[must_use]
    pub fn of_address(address: &str) -> Option<Self> {
        let url: reqwest::Url = address.trim().parse().ok()?;
        match url.path_segments()?.next()? {
            "v2" => Some(Self::V2),
            "v3" => Some(Self::V3),
            _ => None,
        }
    }
}

/// The tier of a case.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TierRecord {
    /// The tier.
    #[serde(rename = "tierScore", deserialize_with = "trimmed")]
    pub tier: Tier,
    /// When it was worked out.
    #[serde(rename = "calculationDate", deserialize_with = "local_instant")]
    pub calculated_at: DateTime<Utc>,
}

/// The record of a case in Delius.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CaseRecord {
    /// Its number.
    #[serde(deserialize_with = "trimmed")]
    pub crn: Crn,
    /// The person's number in NOMIS, if Delius knows it.
    #[serde(default, rename = "nomsId", deserialize_with = "trimmed_if_any")]
    pub number: Option<PrisonerNumber>,
    manager: ManagerRecord,
    #[serde(default)]
    rosh: Option<RoshRecord>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct ManagerRecord {
    #[serde(default)]
    name: NameRecord,
    #[serde(default)]
    email: Option<String>,
    #[serde(default)]
    team: TeamRecord,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
struct NameRecord {
    forename: Option<String>,
    surname: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct TeamRecord {
    description: Option<String>,
    local_delivery_unit: UnitRecord,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
struct UnitRecord {
    description: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct RoshRecord {
    #[serde(default)]
    level: Option<String>,
}

impl CaseRecord {
    /// The COM; `None` where none is named. Delius has a place holder, `Unallocated`, for a case
    /// that waits for one.
    #[must_use]
    pub fn community_manager(&self) -> Option<CommunityManager> {
        let ManagerRecord { name, email, team } = &self.manager;
        let text =
            |text: &Option<String>| text.as_deref().map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned);
        let names: Vec<String> = [&name.surname, &name.forename].into_iter().filter_map(text).collect();
        let is_place_holder = names.iter().any(|name| name.eq_ignore_ascii_case("Unallocated"));
        (!names.is_empty() && !is_place_holder).then(|| CommunityManager {
            name: names.join(", "),
            email: text(email),
            team: text(&team.description),
            ldu: text(&team.local_delivery_unit.description),
        })
    }

    /// The risk of serious harm.
    #[must_use]
    pub fn rosh(&self) -> RecordedRosh {
        let Some(RoshRecord { level }) = &self.rosh else { return RecordedRosh::None };
        let word = level.as_deref().unwrap_or_default().trim().to_ascii_uppercase();
        let known = RoshLevel::ALL.iter().copied().find(|level| level.word() == word);
        known.map_or(RecordedRosh::Unknown, RecordedRosh::Level)
    }
}

/// The risk of serious harm in a record of Delius.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordedRosh {
    /// There is none, or none any more.
    None,
    /// This.
    Level(RoshLevel),
    /// One of which the ledger knows nothing.
    Unknown,
}

/// The record of a person in prisoner search.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PrisonerRecord {
    /// The person's number.
    #[serde(rename = "prisonerNumber", deserialize_with = "trimmed")]
    pub number: PrisonerNumber,
    /// The prison where the person is; `OUT` and `TRN` where at none.
    #[serde(default)]
    pub prison_id: Option<String>,
    /// The legal status, e.g. `SENTENCED`.
    #[serde(default)]
    pub legal_status: Option<String>,
    /// The type of the last movement, e.g. `REL`, a release.
    #[serde(default)]
    pub last_movement_type_code: Option<String>,
    /// The reason for it, e.g. `HP`, a hospital.
    #[serde(default)]
    pub last_movement_reason_code: Option<String>,
    /// Whether the person serves the sentence in a hospital.
    #[serde(default)]
    pub restricted_patient: Option<bool>,
    /// An indeterminate sentence.
    #[serde(default)]
    pub indeterminate_sentence: Option<bool>,
    /// Recalled from licence.
    #[serde(default)]
    pub recall: Option<bool>,
    /// The day on which the sentence began.
    #[serde(default, deserialize_with = "date_as_told")]
    pub sentence_start_date: ToldDate,
    /// Tariff expiry date (TED).
    #[serde(default, deserialize_with = "date_as_told")]
    pub tariff_date: ToldDate,
    /// Parole eligibility date (PED).
    #[serde(default, deserialize_with = "date_as_told")]
    pub parole_eligibility_date: ToldDate,
    /// Conditional release date (CRD).
    #[serde(default, deserialize_with = "date_as_told")]
    pub conditional_release_date: ToldDate,
    /// Automatic release date (ARD).
    #[serde(default, deserialize_with = "date_as_told")]
    pub automatic_release_date: ToldDate,
}

/// A date of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ToldDate {
    /// The record says nothing of it.
    #[default]
    Untold,
    /// The record has it, or says that there is none.
    Told(Option<NaiveDate>),
}

impl ToldDate {
    /// This date in place of one that is held, where the record says anything of it.
    fn over(self, held: Option<NaiveDate>) -> Option<NaiveDate> {
        match self {
            Self::Untold => held,
            Self::Told(date) => date,
        }
    }
}

/// Where a person is who is in no prison and on the way to none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absence {
    /// Released.
    Released,
    /// Away for a time, or in a hospital, and serving on.
    Serving,
    /// The record does not say it in a way that is known.
    Unknown,
}

impl PrisonerRecord {
    /// Where the person is, if in no prison and on the way to none. Some who are out are serving
    /// still: above all those who went to a hospital.
    #[must_use]
    pub fn absence(&self) -> Option<Absence> {
        if self.prison_id.as_deref() != Some("OUT") {
            return None;
        }
        if self.restricted_patient == Some(true) {
            return Some(Absence::Serving);
        }
        let (movement, reason) = (self.last_movement_type_code.as_deref(), self.last_movement_reason_code.as_deref());
        Some(match (movement, reason) {
            (Some("REL"), Some("HP")) | (Some("TAP" | "CRT" | "TRN"), _) => Absence::Serving,
            (Some("REL"), Some(_)) => Absence::Released,
            _ => Absence::Unknown,
        })
    }

    /// Whether the legal status is one with which a person has POMs.
    #[must_use]
    pub fn is_in_scope(&self) -> bool {
        self.legal_status.as_deref().is_some_and(|status| IN_SCOPE.contains(&status))
    }

    /// Whether the legal status is one with which a person has no POM. An unknown one says nothing.
    #[must_use]
    pub fn is_out_of_scope(&self) -> bool {
        self.legal_status.as_deref().is_some_and(|status| status != "UNKNOWN" && !IN_SCOPE.contains(&status))
    }

    /// Sentence facts with those in place that prisoner search tells, and without a day on which
    /// they were calculated. A sentence began on some day, so that no record takes that away.
    #[must_use]
    pub fn facts_over(&self, held: &Facts) -> Facts {
        Facts {
            indeterminate: self.indeterminate_sentence.unwrap_or(held.indeterminate),
            recalled: self.recall.unwrap_or(held.recalled),
            sentence_start_date: self.sentence_start_date.over(None).or(held.sentence_start_date),
            tariff_date: self.tariff_date.over(held.tariff_date),
            parole_eligibility_date: self.parole_eligibility_date.over(held.parole_eligibility_date),
            conditional_release_date: self.conditional_release_date.over(held.conditional_release_date),
            automatic_release_date: self.automatic_release_date.over(held.automatic_release_date),
            calculated_on: None,
            ..held.clone()
        }
    }
}

/// The legal statuses with which a person has POMs.
const IN_SCOPE: [&str; 4] = ["SENTENCED", "INDETERMINATE_SENTENCE", "RECALL", "IMMIGRATION_DETAINEE"];

/// An identifier or a word, without blanks around it and in capital letters.
fn trimmed<'de, D: Deserializer<'de>, T: std::str::FromStr>(deserializer: D) -> Result<T, D::Error> {
    let text = String::deserialize(deserializer)?;
    let shown = || D::Error::custom(format!("`{}` is not what it should be", Excerpt(&text)));
    text.trim().to_ascii_uppercase().parse().map_err(|_| shown())
}

fn trimmed_if_any<'de, D: Deserializer<'de>, T: std::str::FromStr>(deserializer: D) -> Result<Option<T>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
    // Delius has texts there that are no number: such a case is of a person without one.
    Ok(text.trim().to_ascii_uppercase().parse().ok())
}

fn date_as_told<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ToldDate, D::Error> {
    Ok(ToldDate::Told(Option::<moment::Date>::deserialize(deserializer)?.map(Into::into)))
}

/// An instant. The tier service leaves out the offset: its clock is London's.
fn local_instant<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DateTime<Utc>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let text = text.trim();
    let local = match DateTime::parse_from_rfc3339(text) {
        Ok(instant) if moment::YEARS.contains(&instant.year()) => return Ok(instant.to_utc()),
        Ok(_) => return Err(D::Error::custom("an instant of another time")),
        Err(_) => text.parse::<NaiveDateTime>().map_err(|_| D::Error::custom("no instant"))?,
    };
    match moment::YEARS.contains(&local.year()) {
        true => Ok(london::instant(local)),
        false => Err(D::Error::custom("an instant of another time")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn record(manager: &Value) -> CaseRecord {
        let record = json!({"crn": "X123456", "nomsId": "A1234BC", "resourcing": "NORMAL", "manager": manager});
        serde_json::from_value(record).expect("a record")
    }

    #[test]
    fn a_com_is_named_as_the_ledger_names_officers() {
        let manager = json!({
            "code": "N07A001", "name": {"forename": "Jo", "middleName": null, "surname": "Bell"},
            "email": " jo.bell@example.com", "team":
                {"code": "N07T01", "description": "Leeds 1", "localDeliveryUnit": {"code": "L1", "description": "Leeds"}},
        });
        let expected = CommunityManager {
            name: "Bell, Jo".to_owned(),
            email: Some("jo.bell@example.com".to_owned()),
            team: Some("Leeds 1".to_owned()),
            ldu: Some("Leeds".to_owned()),
        };
        assert_eq!(record(&manager).community_manager(), Some(expected));
        for manager in [
            json!({"name": {"forename": "Unallocated", "surname": "Staff"}}),
            json!({"name": {"forename": "", "surname": "unallocated"}}),
            json!({"name": {"forename": " ", "surname": null}}),
            json!({}),
        ] {
            assert_eq!(record(&manager).community_manager(), None, "{manager}");
        }
    }

    #[test]
    fn a_tier_is_dated_by_its_calculation_on_the_clock_of_london() {
        let record = |tier: &str, at: &str| {
            let answer = json!({"tierScore": tier, "calculationId": "x", "calculationDate": at, "provisional": true});
            serde_json::from_value::<TierRecord>(answer).map(|record| (record.tier.to_string(), record.calculated_at))
        };
        let at = |text: &str| text.parse::<DateTime<Utc>>().expect("an instant");
        for (tier, text, expected) in [
            ("B2S", "2026-07-01T09:30:00.123456789", "2026-07-01T08:30:00.123456789Z"),
            ("D", "2026-01-15T09:30:00", "2026-01-15T09:30:00Z"),
            ("G", "2026-07-01T09:30:00Z", "2026-07-01T09:30:00Z"),
        ] {
            assert_eq!(record(tier, text).expect("a tier"), (tier.to_owned(), at(expected)), "{text}");
        }
        for (tier, text) in [
            ("H", "2026-01-15T09:30:00"),
            ("B2", "yesterday"),
            ("B2", "+99999-01-15T09:30:00"),
            ("", "2026-01-15T09:30:00"),
        ] {
            assert!(record(tier, text).is_err(), "{tier} {text}");
        }
    }

    #[test]
    fn the_path_of_a_link_says_the_version_and_its_host_says_nothing() {
        for (address, expected) in [
            ("https://hmpps-tier.hmpps.service.justice.gov.uk/v3/crn/X1/tier/1", Some(TierVersion::V3)),
            ("https://elsewhere.example/v2/crn/X1/tier/1", Some(TierVersion::V2)),
            ("https://hmpps-tier.hmpps.service.justice.gov.uk/crn/X1/tier/1", None),
            ("https://v3/", None),
            ("no link", None),
        ] {
            assert_eq!(TierVersion::of_address(address), expected, "{address}");
        }
    }

    #[test]
    fn no_risk_is_told_from_one_that_the_ledger_does_not_know() {
        for (rosh, expected) in [
            (json!(null), RecordedRosh::None),
            (json!({"level": " high "}), RecordedRosh::Level(RoshLevel::High)),
            (json!({"level": "EXTREME"}), RecordedRosh::Unknown),
            (json!({"level": null}), RecordedRosh::Unknown),
        ] {
            let record = json!({"crn": "X123456", "manager": {}, "rosh": rosh});
            let record: CaseRecord = serde_json::from_value(record).expect("a record");
            assert_eq!(record.rosh(), expected, "{rosh}");
        }
        assert_eq!(record(&json!({})).rosh(), RecordedRosh::None);
    }

    fn prisoner(members: &Value) -> PrisonerRecord {
        let mut record = json!({"prisonerNumber": "A1234BC", "prisonId": "OUT", "legalStatus": "SENTENCED"});
        record.as_object_mut().expect("members").extend(members.as_object().cloned().expect("members"));
        serde_json::from_value(record).expect("a record")
    }

    #[test]
    fn a_person_who_is_out_is_released_only_where_the_last_movement_says_so() {
        for (movement, expected) in [
            (json!({"lastMovementTypeCode": "REL", "lastMovementReasonCode": "CR"}), Absence::Released),
            (json!({"lastMovementTypeCode": "REL", "lastMovementReasonCode": "HP"}), Absence::Serving),
            (
                json!({"lastMovementTypeCode": "REL", "lastMovementReasonCode": "CR", "restrictedPatient": true}),
                Absence::Serving,
            ),
            (json!({"lastMovementTypeCode": "TAP", "lastMovementReasonCode": "C5"}), Absence::Serving),
            (json!({"lastMovementTypeCode": "CRT"}), Absence::Serving),
            (json!({"lastMovementTypeCode": "REL"}), Absence::Unknown),
            (json!({"lastMovementTypeCode": null}), Absence::Unknown),
            (json!({}), Absence::Unknown),
        ] {
            assert_eq!(prisoner(&movement).absence(), Some(expected), "{movement}");
        }
        assert_eq!(prisoner(&json!({"prisonId": "LEI", "lastMovementTypeCode": "REL"})).absence(), None);
    }

    #[test]
    fn a_date_of_which_a_record_says_nothing_stays() {
        let day = |text: &str| Some(text.parse::<NaiveDate>().expect("a date"));
        let held = Facts {
            sentence_start_date: day("2020-01-01"),
            tariff_date: day("2030-01-01"),
            conditional_release_date: day("2029-01-01"),
            ..Facts::default()
        };
        let facts = prisoner(&json!({"sentenceStartDate": null, "conditionalReleaseDate": null})).facts_over(&held);
        assert_eq!(facts, Facts { conditional_release_date: None, ..held });
    }

    #[test]
    fn a_number_that_is_none_is_of_a_person_without_one() {
        for number in [json!(null), json!(""), json!("none")] {
            let record: CaseRecord =
                serde_json::from_value(json!({"crn": "X123456", "nomsId": number, "manager": {}})).expect("a record");
            assert_eq!(record.number, None);
        }
        assert!(serde_json::from_value::<CaseRecord>(json!({"crn": "X123456"})).is_err(), "no manager at all");
        assert!(serde_json::from_value::<CaseRecord>(json!({"manager": {}})).is_err(), "no CRN");
    }
}
