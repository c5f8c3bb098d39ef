//! The recommended kind of POM (rule 5 in `docs/domain.md`).

use chrono::{DateTime, Utc};

use crate::{
    officer::PomKind,
    prisoner::{OfficerRole, RecommendationPolicy, State, responsibility},
    words::words,
};

words! {
    /// The part of rule 5 that a recommendation follows from.
    RecommendationReason {
        /// It is an immigration case.
        ImmigrationCase => "IMMIGRATION_CASE",
        /// The COM is responsible.
        ComResponsible => "COM_RESPONSIBLE",
        /// The tier.
        Tier => "TIER",
        /// The tier and the risk of serious harm.
        Rosh => "ROSH",
        /// The risk of serious harm is not known, so that no kind is recommended.
        RoshUnknown => "ROSH_UNKNOWN",
    }
}

/// The recommended kind of POM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recommendation {
    /// The kind; `None` where the policy has none.
    pub kind: Option<PomKind>,
    /// The reason.
    pub reason: RecommendationReason,
}

/// The kind of POM that a policy recommends for a case at an instant; `None` where the case has no
/// tier to judge by.
#[must_use]
pub fn recommend_kind(state: &State, policy: RecommendationPolicy, at: DateTime<Utc>) -> Option<Recommendation> {
    use crate::tier::RoshLevel::{High, Low, Medium, VeryHigh};
    let because = |reason, kind| Some(Recommendation { kind, reason });
    if state.arrangements.handover_plan.as_ref().is_some_and(|plan| plan.facts.immigration_case) {
        return because(RecommendationReason::ImmigrationCase, Some(PomKind::Prison));
    }
    if responsibility(state, at).responsible == Some(OfficerRole::Com) {
        return because(RecommendationReason::ComResponsible, Some(PomKind::Prison));
    }
    let tier = state.tier.as_ref()?;
    let letter = tier.tier.letter();
    match policy {
        RecommendationPolicy::Tier if matches!(letter, 'A' | 'B') => {
            because(RecommendationReason::Tier, Some(PomKind::Probation))
        }
        RecommendationPolicy::Tier => because(RecommendationReason::Tier, Some(PomKind::Prison)),
        RecommendationPolicy::Rosh => match (letter, tier.rosh_level) {
            ('A', _) | (_, Some(VeryHigh | High)) => because(RecommendationReason::Rosh, Some(PomKind::Probation)),
            (_, Some(Medium | Low)) => because(RecommendationReason::Rosh, Some(PomKind::Prison)),
            (_, None) => because(RecommendationReason::RoshUnknown, None),
        },
    }
}
