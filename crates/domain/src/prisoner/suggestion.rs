//! The POMs who may take a case that waits, the most suitable first ("Suggestions" in
//! `docs/domain.md`). It chooses none of them: a command does, and is decided on its own.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, btree_map::Entry},
};

use chrono::{DateTime, Utc};

use super::{allocate::require_on_omic, shared_refusals};
use crate::{
    Refusal,
    caseload::{CaseWeight, FullTimeLoad, TierWeights},
    identifier::{PrisonCode, PrisonerNumber, StaffId},
    officer::PomStatus,
    prison::{self, RosterPom},
    prisoner::{History, Recommendation, RecommendationPolicy, State, periods, recommend_kind},
};

/// The settings of suggestions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SuggestionSettings {
    /// How the recommended kind of POM is worked out.
    pub recommendation_policy: RecommendationPolicy,
    /// How much work a case is.
    pub tier_weights: TierWeights,
}

/// An allocation that is thought about.
#[derive(Debug, Clone, Copy)]
pub struct AllocationQuestion<'a> {
    /// The number of the case.
    pub number: &'a PrisonerNumber,
    /// The case at that instant.
    pub state: &'a State,
    /// The prison, with its roster.
    pub prison: &'a prison::History,
    /// The effective time of the allocation.
    pub at: DateTime<Utc>,
}

/// The POMs who may take a case.
#[derive(Debug, Clone, PartialEq)]
pub struct Suggestions {
    /// The recommended kind.
    pub recommendation: Recommendation,
    /// The weight of the case for its primary POM.
    pub case_weight: CaseWeight,
    /// The POMs, the most suitable first.
    pub poms: Vec<SuggestedPom>,
}

/// A POM who may take a case, with what the order follows from.
#[derive(Debug, Clone, PartialEq)]
pub struct SuggestedPom {
    /// The POM.
    pub pom: RosterPom,
    /// Whether the POM is of the recommended kind; `None` where none is recommended.
    pub is_recommended: Option<bool>,
    /// The last time that the POM held the case.
    pub held_before: Option<HeldBefore>,
    /// The weight of the POM's cases at the prison.
    pub caseload: CaseWeight,
    /// The load of the POM with this case.
    pub load: FullTimeLoad,
    /// One more than the POMs with a lower load.
    pub place_by_room: usize,
}

/// A time in which a POM held a case as its primary POM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldBefore {
    /// Where.
    pub prison: PrisonCode,
    /// From when.
    pub since: DateTime<Utc>,
    /// The first instant after it.
    pub until: DateTime<Utc>,
}

/// The POMs who may take a case (rules 1 and 4): those of the recommended kind first, of these the
/// ones who held it before, the last one first, then those with the lowest load. POMs who are equal
/// in all of that are in the order of their staff ids.
///
/// # Errors
/// The case may go to no POM: the prison is not on OMiC (rule 1), or the case has no tier (rule 2).
pub fn suggest_poms(
    AllocationQuestion { number, state, prison, at }: AllocationQuestion<'_>,
    caseloads: &BTreeMap<StaffId, CaseWeight>,
    mut held_before: BTreeMap<StaffId, HeldBefore>,
    settings: SuggestionSettings,
) -> Result<Suggestions, Refusal> {
    require_on_omic(prison.code(), Some(prison), at)?;
    let tier = state.tier.as_ref();
    let recommendation = tier.and_then(|_| recommend_kind(state, settings.recommendation_policy, at));
    let recommendation = recommendation.ok_or_else(|| shared_refusals::unknown_tier(number))?;
    let case_weight = settings.tier_weights.of_primary(tier.map(|tier| tier.tier));
    let has_role = |staff_id| state.roles().any(|role| role.pom.staff_id == staff_id);
    let may_take = |pom: &&RosterPom| pom.status == PomStatus::Active && !has_role(pom.staff_id);
    let roster = prison.roster_at(at);
    let mut poms: Vec<SuggestedPom> = roster
        .poms
        .values()
        .filter(may_take)
        .map(|pom| {
            let caseload = caseloads.get(&pom.staff_id).copied().unwrap_or_default();
            SuggestedPom {
                is_recommended: recommendation.kind.map(|kind| kind == pom.kind),
                held_before: held_before.remove(&pom.staff_id),
                caseload,
                load: (caseload + case_weight).load(pom.working_pattern),
                place_by_room: 0,
                pom: pom.clone(),
            }
        })
        .collect();
    poms.sort_by_key(|of| of.load);
    for index in 0..poms.len() {
        let place = poms.partition_point(|of| of.load < poms[index].load) + 1;
        poms[index].place_by_room = place;
    }
    poms.sort_by_key(|of| {
        let last_held = of.held_before.as_ref().map(|held| (held.until, held.since));
        (of.is_recommended == Some(false), Reverse(last_held), of.load, of.pom.staff_id)
    });
    Ok(Suggestions { recommendation, case_weight, poms })
}

/// The POMs who held a case before an instant, under any of its numbers, each with the last time.
#[must_use]
pub fn find_roles_before<'h>(
    histories: impl IntoIterator<Item = &'h History>,
    at: DateTime<Utc>,
) -> BTreeMap<StaffId, HeldBefore> {
    let mut found: BTreeMap<StaffId, HeldBefore> = BTreeMap::new();
    for period in histories.into_iter().flat_map(periods).filter(|period| period.from < at) {
        let Some(role) = period.state.primary_pom else { continue };
        let until = period.to.map_or(at, |to| to.min(at));
        let held = HeldBefore { prison: role.prison, since: role.since, until };
        match found.entry(role.pom.staff_id) {
            Entry::Vacant(place) => {
                place.insert(held);
            }
            Entry::Occupied(mut last) if (last.get().until, last.get().since) < (held.until, held.since) => {
                last.insert(held);
            }
            Entry::Occupied(_) => {}
        }
    }
    found
}
