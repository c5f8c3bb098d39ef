//! Plans a row of a case that no POM has: the case gets its tier, and waits at the prison.

use domain::{
    Command, Refusal, london, prison,
    prisoner::{self, PrisonerEvent, TierAssigned, find_same_fact},
    tier::TierSource,
};
use event_log::request_digest;
use serde_json::json;

use super::{ImportTerms, PlannedCommand, Verdict};
use crate::{
    attempt::{RowAttempt, find_attempt},
    compare::{RowChange, refuse_held, waiting_change},
    row::WaitingRow,
};

/// The outcome of a case that no POM has.
pub(super) fn verdict(
    case: &WaitingRow,
    history: Option<&prisoner::History>,
    prison: &prison::History,
    terms: &ImportTerms,
) -> Result<Verdict, Refusal> {
    let unheard_of = prisoner::History::new(case.prisoner_number.clone());
    let history = history.unwrap_or(&unheard_of);
    match waiting_change(case, history, prison, terms)? {
        RowChange::NotHeld => {}
        RowChange::None => return Ok(Verdict::AlreadyRecorded),
        RowChange::Due(planned) => return Ok(Verdict::Record(planned)),
    }
    let command_id = match attempt(case, history, terms) {
        RowAttempt::Recorded => return Ok(Verdict::AlreadyRecorded),
        RowAttempt::Due { command_id, .. } => command_id,
    };
    refuse_held(history)?;
    let state = history.state();
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
    let request_digest =
        request_digest("spreadsheet-waiting-row", case.prisoner_number.as_str(), &row_content(case, terms));
    let command = Command::Prisoner(case.prisoner_number.clone(), command);
    Ok(Verdict::Record(Box::new(PlannedCommand { command, command_id, request_digest, effective_at })))
}

/// The command that records a row, or that one has.
pub(super) fn attempt(case: &WaitingRow, history: &prisoner::History, terms: &ImportTerms) -> RowAttempt {
    find_attempt(history, &row_content(case, terms), |_| false)
}

/// The content of a row, from which its ids are derived: without the day of the import, so that the
/// next day's import of the row recognises it.
fn row_content(case: &WaitingRow, terms: &ImportTerms) -> serde_json::Value {
    json!(["spreadsheet waiting row", terms.prison, case.prisoner_number, case.tier, case.since])
}
