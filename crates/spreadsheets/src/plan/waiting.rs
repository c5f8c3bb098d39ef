//! Plans a row of a case that no POM has: the case gets its tier, and waits at the prison.

use domain::{
    Command, Refusal, Rule, london, prison,
    prisoner::{self, PrisonerEvent, TierAssigned, find_same_fact},
    tier::TierSource,
};
use event_log::request_digest;
use serde_json::json;

use super::{ImportTerms, PlannedCommand, Verdict, command_id};
use crate::row::WaitingRow;

/// The outcome of a case that no POM has.
pub(super) fn verdict(
    case: &WaitingRow,
    history: Option<&prisoner::History>,
    prison: &prison::History,
    terms: &ImportTerms,
) -> Result<Verdict, Refusal> {
    // Without the day of the import, so that the next day's import of the row recognises it.
    let content = json!(["spreadsheet waiting row", terms.prison, case.prisoner_number, case.tier, case.since]);
    let command_id = command_id(&content);
    let unheard_of = prisoner::History::new(case.prisoner_number.clone());
    let history = history.unwrap_or(&unheard_of);
    if history.entries().iter().any(|entry| entry.command_id == command_id) {
        return Ok(Verdict::AlreadyRecorded);
    }
    let state = history.state();
    if let Some(role) = &state.primary_pom {
        return Err(Refusal::new(
            Rule::AlreadyAllocated,
            format!(
                "{} is allocated to {} (staff id {}) at {}, and the sheet names no POM. Deallocate the case first, or \
                 leave the row out.",
                case.prisoner_number, role.pom.name, role.pom.staff_id, role.prison
            ),
        ));
    }
    let is_here = state.prison.as_ref() == Some(&terms.prison) && state.waiting.is_some();
    if is_here && state.tier.as_ref().is_some_and(|held| case.tier.includes(held.tier)) {
        return Ok(Verdict::AlreadyRecorded);
    }
    let effective_at = london::midnight(case.since.unwrap_or_else(|| london::date(terms.now)));
    let assigned = TierAssigned {
        tier: case.tier,
        rosh_level: None,
        source: TierSource::Manual,
        crn: None,
        prison: Some(terms.prison.clone()),
    };
    if find_same_fact(history, &PrisonerEvent::TierAssigned(assigned.clone()), effective_at).is_some() {
        return Ok(Verdict::AlreadyRecorded);
    }
    let context = prisoner::Context {
        now: terms.now,
        effective_at,
        prison: Some(prison),
        recommendation_policy: terms.recommendation_policy,
    };
    let command = prisoner::Command::AssignTier(assigned);
    prisoner::decide(history, &command, &context)?;
    let request_digest = request_digest("spreadsheet-waiting-row", case.prisoner_number.as_str(), &content);
    let command = Command::Prisoner(case.prisoner_number.clone(), command);
    Ok(Verdict::Record(Box::new(PlannedCommand { command, command_id, request_digest, effective_at })))
}
