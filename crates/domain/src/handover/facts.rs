//! The facts that handover dates are worked out from, and what is worked out.

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use crate::words::words;

/// Sentence facts, all from NOMIS and supplied by the caller; London dates. Kept on the event as
/// they were given, so that a date can be explained years later.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Facts {
    /// An indeterminate sentence: life, or imprisonment for public protection.
    pub indeterminate: bool,
    /// The day on which the sentence began.
    pub sentence_start_date: Option<NaiveDate>,
    /// Tariff expiry date (TED).
    pub tariff_date: Option<NaiveDate>,
    /// Target hearing date (THD) of the parole board.
    pub target_hearing_date: Option<NaiveDate>,
    /// Parole eligibility date (PED).
    pub parole_eligibility_date: Option<NaiveDate>,
    /// Conditional release date (CRD).
    pub conditional_release_date: Option<NaiveDate>,
    /// Automatic release date (ARD).
    pub automatic_release_date: Option<NaiveDate>,
    /// A determinate sentence with parole. Kept as given; the rules look at the parole eligibility
    /// date.
    pub determinate_parole: bool,
    /// Another indeterminate sentence is still to be served.
    pub additional_indeterminate_sentence: bool,
    /// Recalled from licence.
    pub recalled: bool,
    /// An immigration case.
    pub immigration_case: bool,
    /// The parole board decided against release.
    pub parole_outcome_not_release: bool,
    /// MAPPA level 0 to 3, where known.
    pub mappa_level: Option<u8>,
    /// Early allocation to the community team was agreed.
    pub early_allocation: bool,
    /// In open conditions; chooses the reason.
    pub in_open_conditions: bool,
    /// The open-prison rules apply; chooses the start date.
    pub open_prison_rules_apply: bool,
    /// Held in the women's estate.
    pub womens_estate: bool,
    /// The day on which the category became open (women's estate).
    pub category_active_since: Option<NaiveDate>,
    /// The day of arrival at the open prison (men's estate).
    pub prison_arrival_date: Option<NaiveDate>,
    /// "Today" for the calculation; absent, the London date of the effective time.
    pub calculated_on: Option<NaiveDate>,
}

words! {
    /// The name of the release date that a plan counts back from.
    ReleaseDateName {
        /// Tariff expiry date.
        Ted => "TED",
        /// Target hearing date.
        Thd => "THD",
        /// Parole eligibility date.
        Ped => "PED",
        /// Automatic release date.
        Ard => "ARD",
        /// Conditional release date.
        Crd => "CRD",
    }
}

/// A release date and which one it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NamedDate {
    /// The name of the date.
    pub name: ReleaseDateName,
    /// London date.
    pub date: NaiveDate,
}

/// Where a handover plan puts a case on a day, in the order in which a case goes through them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PlannedPhase {
    /// The POM is responsible, alone.
    CustodyOnly,
    /// The POM is responsible, a COM supports.
    CustodyWithCom,
    /// The COM is responsible, the POM supports.
    Community,
}
