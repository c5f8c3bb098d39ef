//! The facts that handover dates are worked out from, and what is worked out.

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use crate::words::words;

/// Sentence facts, all from NOMIS and supplied by the caller; London dates. Kept on the event as
/// they were given, so that a date can be explained years later.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
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
    /// The reason for a plan's handover dates.
    HandoverReason {
        /// Determinate sentence.
        Determinate => "determinate",
        /// Determinate sentence, too short for a handover in custody.
        DeterminateShort => "determinate_short",
        /// Determinate sentence with parole.
        DeterminateParole => "determinate_parole",
        /// Indeterminate sentence.
        Indeterminate => "indeterminate",
        /// Indeterminate sentence, in open conditions.
        IndeterminateOpen => "indeterminate_open",
        /// Early allocation.
        EarlyAllocation => "early_allocation",
        /// Recall.
        RecallCase => "recall_case",
        /// Recall with a target hearing more than 12 months away.
        RecallThdOver12Months => "recall_thd_over_12_months",
        /// Immigration case.
        ImmigrationCase => "immigration_case",
        /// No release date known.
        ReleaseDateUnknown => "release_date_unknown",
        /// Another indeterminate sentence still to serve.
        AdditionalIsp => "additional_isp",
        /// Target hearing more than 12 months away.
        ThdOver12Months => "thd_over_12_months",
        /// Parole refused, MAPPA level 2 or 3.
        ParoleMappa23 => "parole_mappa_2_3",
        /// The COM is responsible by another decision.
        ComResponsibility => "com_responsibility",
    }
}

impl HandoverReason {
    /// The reason as the heads of offender management know it from "Manage POM cases".
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Determinate => "Determinate sentence more than 10 months",
            Self::DeterminateShort => "Determinate sentence 10 months or less",
            Self::DeterminateParole => "Parole",
            Self::Indeterminate => "Indeterminate",
            Self::IndeterminateOpen => "Indeterminate - Open conditions",
            Self::EarlyAllocation => "Early Allocation",
            Self::RecallCase => "Recall case",
            Self::RecallThdOver12Months | Self::ThdOver12Months => "Next parole hearing more than 12 months away",
            Self::ImmigrationCase => "Immigration Case",
            Self::ReleaseDateUnknown => "Release Date Unknown",
            Self::AdditionalIsp => "Additional ISP",
            Self::ParoleMappa23 => "Unsuccessful parole and Mappa 2/3",
            Self::ComResponsibility => "COM Responsibility",
        }
    }
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
pub struct NamedDate {
    /// The name of the date.
    pub name: ReleaseDateName,
    /// London date.
    pub date: NaiveDate,
}

words! {
    /// Where a case is between custody and community, on a day.
    Phase {
        /// The POM is responsible, alone.
        CustodyOnly => "CUSTODY_ONLY",
        /// The POM is responsible, a COM supports.
        CustodyWithCom => "CUSTODY_WITH_COM",
        /// The COM is responsible, the POM supports.
        Community => "COMMUNITY",
    }
}
