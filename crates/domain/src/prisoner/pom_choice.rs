//! The choice of a POM, as the events that give a primary role keep it (rule 5 in
//! `docs/domain.md`).

use serde::{Deserialize, Serialize};

use crate::{
    officer::PomKind,
    tier::{RoshLevel, Tier},
    words::words,
};

words! {
    /// A reason to choose a POM of another kind than the recommended one.
    OverrideReason {
        /// The prisoner has been assessed as suitable for the other kind; needs suitability detail.
        Suitability => "SUITABILITY",
        /// No available POM of the recommended kind.
        NoStaff => "NO_STAFF",
        /// The POM has worked with the prisoner before.
        Continuity => "CONTINUITY",
        /// Another reason; needs detail.
        Other => "OTHER",
    }
}

words! {
    /// How the recommended kind of POM is worked out; a setting of the ledger, kept on the event.
    #[derive(Default)]
    RecommendationPolicy {
        /// Tier A or B: probation POM; other tiers: prison POM.
        #[default]
        Tier => "TIER",
        /// Tier A, or RoSH very high or high: probation POM; RoSH unknown: none; else prison POM.
        Rosh => "ROSH",
    }
}

/// The choice of a POM, in the data of an allocation and of a reallocation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Choice {
    /// The case's tier at that moment.
    pub tier: Tier,
    /// The case's RoSH level at that moment, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rosh_level: Option<RoshLevel>,
    /// How the recommendation was worked out.
    pub recommendation_policy: RecommendationPolicy,
    /// The recommended kind of POM; absent where the policy has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recommended_pom_kind: Option<PomKind>,
    /// The reasons for this POM, in the order given; never empty if the kind is not the recommended
    /// one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub override_reasons: Vec<OverrideReason>,
    /// Detail for `SUITABILITY`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suitability_detail: Option<String>,
    /// Detail for `OTHER`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub override_detail: Option<String>,
    /// Note to the POM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// NOMIS booking, where a client of the first allocation API (2019) gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nomis_booking_id: Option<i64>,
}

impl Choice {
    /// Whether `kind` goes against the recommendation.
    #[must_use]
    pub fn is_override(&self, kind: PomKind) -> bool {
        self.recommended_pom_kind.is_some_and(|recommended| recommended != kind)
    }
}
