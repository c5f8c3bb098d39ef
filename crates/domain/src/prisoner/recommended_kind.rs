//! The recommended kind of POM (rule 5 in `docs/domain.md`).

use crate::{
    officer::PomKind,
    prisoner::{Context, OfficerRole, RecommendationPolicy, State, responsibility},
};

/// The kind of POM that the policy in force recommends for a case; `None` where it recommends none.
pub(super) fn recommend_kind(state: &State, context: &Context<'_>) -> Option<PomKind> {
    let immigration_case = state.arrangements.handover_plan.as_ref().is_some_and(|plan| plan.facts.immigration_case);
    if immigration_case || responsibility(state, context.effective_at).responsible == Some(OfficerRole::Com) {
        return Some(PomKind::Prison);
    }
    let tier = state.tier.as_ref()?;
    match context.recommendation_policy {
        RecommendationPolicy::Tier if matches!(tier.tier.letter(), 'A' | 'B') => Some(PomKind::Probation),
        RecommendationPolicy::Tier => Some(PomKind::Prison),
        RecommendationPolicy::Rosh => {
            use crate::tier::RoshLevel::{High, Low, Medium, VeryHigh};
            match (tier.tier.letter(), tier.rosh_level) {
                ('A', _) | (_, Some(VeryHigh | High)) => Some(PomKind::Probation),
                (_, Some(Medium | Low)) => Some(PomKind::Prison),
                (_, None) => None,
            }
        }
    }
}
