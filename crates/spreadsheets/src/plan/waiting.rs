//! Plans a row of a case that no POM has: the case gets its tier, and waits at the prison.

use chrono::{DateTime, Utc};
use domain::{
    Command, Refusal, london, prison,
    prisoner::{self, State, TierAssigned},
    tier::TierSource,
};
use event_log::request_digest;
use serde_json::json;

use super::{ImportTerms, PlannedCommand, Verdict};
use crate::{
    compare::{RowChange, plan_waiting_change, refuse_held},
    day_words::describe_day,
    later_entries::{check_tier_holds, refuse, refuse_moved_on},
    planned_command::foresee,
    row::WaitingRow,
    row_command::{RowAttempt, find_attempt},
};

/// The advice about a tier that a newer one replaces.
const TIER_ADVICE: &str = "Give the tier that the case has now, or leave the row out.";

/// The outcome of a case that no POM has.
pub(super) fn verdict(
    case: &WaitingRow,
    history: Option<&prisoner::History>,
    prison: &prison::History,
    terms: &ImportTerms,
) -> Result<Verdict, Refusal> {
    let unheard_of = prisoner::History::new(case.prisoner_number.clone());
    let history = history.unwrap_or(&unheard_of);
    match plan_waiting_change(case, history, prison, terms)? {
        RowChange::NotHeld => {}
        RowChange::None => return Ok(Verdict::AlreadyRecorded),
        RowChange::Due(planned) => return Ok(Verdict::Record(planned)),
    }
    let command_id = match attempt(case, history, terms) {
        RowAttempt::Recorded if terms.changes_on.is_some() => return Err(refuse_moved_on(history, &terms.prison)),
        RowAttempt::Recorded => return Ok(Verdict::AlreadyRecorded),
        RowAttempt::Due { command_id, .. } => command_id,
    };
    refuse_held(history)?;
    let state = history.state();
    if waits_so(&state, case, terms) {
        return Ok(Verdict::AlreadyRecorded);
    }
    let effective_at = london::midnight(case.since.unwrap_or_else(|| london::date(terms.now)));
    let command = prisoner::Command::AssignTier(TierAssigned {
        tier: case.tier,
        rosh_level: None,
        source: TierSource::Manual,
        crn: None,
        prison: Some(terms.prison.clone()),
    });
    let context = prisoner::Context {
        now: terms.now,
        effective_at,
        prison: Some(prison),
        recommendation_policy: terms.recommendation_policy,
    };
    // A tier is legal at any time. Whether the case waits depends on the later entries.
    let after = foresee(history, &command, &context, terms)?;
    if !waits_so(&after.state(), case, terms) {
        return Err(refuse_no_wait(case, &after, effective_at, terms));
    }
    let request_digest =
        request_digest("spreadsheet-waiting-row", case.prisoner_number.as_str(), &row_content(case, terms));
    let command = Command::Prisoner(case.prisoner_number.clone(), command);
    Ok(Verdict::Record(Box::new(PlannedCommand { command, command_id, request_digest, effective_at, if_match: None })))
}

/// The doubt about a row that takes a waiting case from another prison.
pub(super) fn other_prison_warning(
    verdict: &Verdict,
    history: &prisoner::History,
    terms: &ImportTerms,
) -> Option<String> {
    let state = history.state();
    let prison = state.prison.filter(|prison| *prison != terms.prison)?;
    matches!(verdict, Verdict::Record(_)).then(|| {
        format!("by the ledger {} waits at {prison}; the row has it wait at {}", history.number(), terms.prison)
    })
}

/// The command that records a row, or that one has.
pub(super) fn attempt(case: &WaitingRow, history: &prisoner::History, terms: &ImportTerms) -> RowAttempt {
    find_attempt(history, &row_content(case, terms))
}

/// The content of a row, from which its ids are derived: without the day of the import, so that the
/// next day's import of the row recognises it.
fn row_content(case: &WaitingRow, terms: &ImportTerms) -> serde_json::Value {
    json!(["spreadsheet waiting row", terms.prison, case.prisoner_number, case.tier, case.since])
}

/// Whether a case waits at the prison with the tier of its row.
fn waits_so(state: &State, case: &WaitingRow, terms: &ImportTerms) -> bool {
    state.waiting.is_some()
        && state.prison.as_ref() == Some(&terms.prison)
        && state.tier.as_ref().is_some_and(|held| case.tier.includes(held.tier))
}

/// The refusal of a row whose case does not wait although it has the row's tier: the sentence says
/// what the ledger holds of a later time.
fn refuse_no_wait(
    case: &WaitingRow,
    after: &prisoner::History,
    effective_at: DateTime<Utc>,
    terms: &ImportTerms,
) -> Refusal {
    let (number, prison) = (&case.prisoner_number, &terms.prison);
    let state = after.state();
    let from = describe_day(london::date(effective_at));
    let sentence = if let Some(left_at) = state.left_at {
        format!(
            "{number} was released, or left the scope of offender management, on {}, and so does not wait at {prison} \
             since {from}. If the person has come back, give the date of the return as the date of arrival; otherwise \
             leave the row out.",
            describe_day(london::date(left_at))
        )
    } else if state.prison.as_ref() != Some(prison) {
        let held_at = state.prison.as_ref().map_or("no prison", |held_at| held_at.as_str());
        format!(
            "By the ledger {number} is at {held_at}, and so does not wait at {prison} since {from}. If the person has \
             come to {prison} after that, give the day as the date of arrival; otherwise leave the row out."
        )
    } else if let Err(newer_tier) = check_tier_holds(after, case.tier, effective_at, TIER_ADVICE) {
        return newer_tier;
    } else {
        format!("By the ledger {number} is at {prison} and does not wait to be allocated. Leave the row out.")
    };
    refuse(&sentence)
}

#[cfg(test)]
mod tests;
