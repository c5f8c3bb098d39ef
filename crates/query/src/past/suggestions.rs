//! Suggestions of a POM for a case that waits.
//!
//! The caseloads come from the views, with the position of the answer. The case, with the POMs who
//! held it before under any of its numbers, and the roster come from the log up to that position.
//! So a case that the views leave out has suggestions, too.

use std::{collections::BTreeMap, slice};

use chrono::{DateTime, Utc};
use domain::{
    Refusal,
    caseload::{CaseWeight, TierWeights},
    identifier::{PrisonCode, PrisonerNumber, StaffId},
    prisoner::{
        AllocationQuestion, History, State, Suggestions, find_roles_before, lineage::periods_before_merges, period_at,
        periods, suggest_poms,
    },
};
use event_log::KnownAt;
use views::{CasePeriodRow, PrisonerCaseRow};

use super::{
    ListExtent, PastError,
    case_at::case_before_merge,
    histories::{Histories, prison_history},
    lists::roster,
    point::Point,
};
use crate::{
    QueryState,
    present::{case::CaseAt, roster::PomCaseload},
};

/// A case, and the POMs who may take it at a prison.
pub(crate) struct CaseSuggestions {
    pub(crate) extent: ListExtent,
    /// The case; never damaged.
    pub(crate) case: CaseAt,
    /// The POMs; `None` where the case does not wait at the prison.
    pub(crate) suggestions: Option<Result<Suggestions, Refusal>>,
    /// The cases that each POM of the prison holds.
    pub(crate) caseloads: BTreeMap<StaffId, PomCaseload>,
}

/// The POMs who may take a case that waits at a prison.
///
/// # Errors
/// As for the roster of the prison.
pub(crate) async fn suggestions(
    state: &QueryState,
    prison: &PrisonCode,
    asked: &PrisonerNumber,
    at: DateTime<Utc>,
    known_at: Option<KnownAt>,
) -> Result<CaseSuggestions, PastError> {
    let (extent, poms) = roster(state, prison, at, known_at).await?;
    let caseloads = poms.into_iter().map(|(of, load)| (of.pom.staff_id, load)).collect();
    let mut answer = CaseSuggestions { extent, case: CaseAt::Unknown, suggestions: None, caseloads };
    let point = Point { position: extent.position };
    let mut histories = Histories::<History>::new(&state.log, point);
    histories.read_survivors(slice::from_ref(asked)).await?;
    let Some(number) = histories.answering_number(asked)? else { return Ok(answer) };
    let removed = histories.read_removed(asked).await?;
    let Some(survivor) = histories.get(&number) else { return Ok(answer) };
    let removed: Vec<(u64, &History)> =
        removed.iter().filter_map(|(merged_at, number)| Some((*merged_at, histories.get(number)?))).collect();
    let Some((case, then)) = case_and_state(survivor, &removed, at) else {
        answer.case = CaseAt::NotYet(number);
        return Ok(answer);
    };
    if then.waiting.is_some() && then.prison.as_ref() == Some(prison) {
        let settings = state.suggestions;
        let weights = answer.caseloads.iter().map(|(id, load)| (*id, load.weight(settings.tier_weights))).collect();
        let held_before = find_roles_before(removed.iter().map(|(_, history)| *history).chain([survivor]), at);
        let history = prison_history(&state.log, prison.clone(), point).await?;
        let question = AllocationQuestion { number: &number, state: &then, prison: &history, at };
        answer.suggestions = Some(suggest_poms(question, &weights, held_before, settings));
    }
    answer.case = CaseAt::Case(Box::new(case));
    Ok(answer)
}

/// A case and its state at an instant; `None` while nothing was known under any of its numbers.
fn case_and_state(
    survivor: &History,
    removed: &[(u64, &History)],
    at: DateTime<Utc>,
) -> Option<(CasePeriodRow, State)> {
    let own = survivor.before_retirement();
    if let Some(period) = period_at(&periods(&own), at) {
        let case = PrisonerCaseRow::of(survivor, survivor.state())?;
        return Some((CasePeriodRow::of(&case, period.clone())?, own.state_at(at)));
    }
    let before = periods_before_merges(survivor, removed.iter().copied()).into_iter();
    let mut then = before.filter(|before| period_at(slice::from_ref(&before.period), at).is_some());
    let then = then.next()?;
    Some((case_before_merge(survivor, &then)?, then.removed.state_at(at)))
}

impl PomCaseload {
    fn weight(&self, weights: TierWeights) -> CaseWeight {
        let letter = |tier: &Option<String>| tier.as_ref().and_then(|tier| tier.chars().next());
        let primary = self.primary.iter().map(|(tier, cases)| weights.of_primaries(letter(tier), *cases));
        let coworking = self.coworking.iter().map(|(tier, cases)| weights.of_coworking(letter(tier), *cases));
        primary.chain(coworking).sum()
    }
}
