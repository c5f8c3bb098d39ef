//! The reasons for handover dates, and their labels.

use crate::words::words;

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
