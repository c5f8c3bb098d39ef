//! How a sheet differs from the ledger, and the commands that record the differences: for the next
//! sheet of a prison whose cases the ledger has already.
//!
//! A case that the sheet lacks is never ended for that reason: a filter of the spreadsheet program,
//! or a typing error in its number, hides it as well.

use chrono::NaiveDate;
use domain::{
    Command, Refusal, Rule,
    identifier::{PrisonCode, PrisonerNumber},
    london,
    officer::Pom,
    prison,
    prisoner::{self, Allocate, AllocateWithTier, Release, TierAssigned, Transfer},
    tier::{Tier, TierSource},
};
use event_log::request_digest;
use serde_json::json;

use super::{
    planned_command::{ImportTerms, PlannedCommand, command_id, decide_with_reasons},
    row::{SheetCase, WaitingRow},
};

/// The reason of a reallocation that a sheet shows.
const REALLOCATION_REASON: &str = "as the prison's spreadsheet has it";

/// How a row differs from what the ledger has of its case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowDifference {
    /// It does not.
    None,
    /// No POM at the prison holds the case.
    New,
    /// A POM at the prison holds it, or it waits there: with another tier, or in the place of
    /// another POM.
    Changed {
        /// The tier in the ledger, where the row has another one.
        tier_before: Option<Tier>,
        /// The POM in the ledger, where the row has another one.
        pom_before: Option<Pom>,
    },
}

/// How a row differs from what the ledger has of its case.
#[must_use]
pub fn difference(case: &SheetCase, history: &prisoner::History, prison: &PrisonCode) -> RowDifference {
    let state = history.state();
    let Some(role) = state.primary_pom.filter(|role| role.prison == *prison && state.retired_into.is_none()) else {
        return RowDifference::New;
    };
    let tier_before = state.tier.map(|held| held.tier).filter(|held| !case.tier.includes(*held));
    let pom_before = Some(role.pom).filter(|pom| pom.staff_id != case.staff_id);
    match (&tier_before, &pom_before) {
        (None, None) => RowDifference::None,
        _ => RowDifference::Changed { tier_before, pom_before },
    }
}

/// How a row of a case without a POM differs from what the ledger has of its case: with the POM
/// before, where one holds it.
#[must_use]
pub fn waiting_difference(case: &WaitingRow, history: &prisoner::History, prison: &PrisonCode) -> RowDifference {
    let state = history.state();
    if state.prison.as_ref() != Some(prison) || state.left_at.is_some() || state.retired_into.is_some() {
        return RowDifference::New;
    }
    let held = state.tier.map(|held| held.tier);
    let tier_before = held.filter(|held| !case.tier.includes(*held));
    let pom_before = state.primary_pom.map(|role| role.pom);
    match (held, &tier_before, &pom_before) {
        (None, _, None) => RowDifference::New,
        (Some(_), None, None) => RowDifference::None,
        _ => RowDifference::Changed { tier_before, pom_before },
    }
}

/// A row beside the ledger, where the terms have the differences recorded.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum RowChange {
    /// No POM at the prison holds its case, or the terms leave differences alone: the row is
    /// planned as one of any import.
    NotHeld,
    /// The ledger has what it says.
    None,
    /// This command records the difference.
    Due(Box<PlannedCommand>),
}

/// The change that a row makes to what the ledger has of its case.
pub(super) fn change(
    case: &SheetCase,
    history: &prisoner::History,
    prison: &prison::History,
    terms: &ImportTerms,
) -> Result<RowChange, Refusal> {
    let Some(on) = terms.changes_on else { return Ok(RowChange::NotHeld) };
    let pom_before = match difference(case, history, &terms.prison) {
        RowDifference::New => return Ok(RowChange::NotHeld),
        RowDifference::None => return Ok(RowChange::None),
        RowDifference::Changed { pom_before, .. } => pom_before,
    };
    let context = context_on(on, prison, terms);
    let tier = tier_now(case.tier, history, terms);
    let planned = match pom_before {
        Some(_) => decide_with_reasons(history, &context, case, |reasons| {
            let (prison, staff_id) = (terms.prison.clone(), case.staff_id);
            prisoner::Command::AllocateWithTier(Box::new(AllocateWithTier {
                tier: TierAssigned { rosh_level: None, ..tier.clone() },
                allocate: Allocate { prison, staff_id, reasons },
                reallocation_reason: Some(REALLOCATION_REASON.to_owned()),
            }))
        })?,
        None => {
            let planned = prisoner::Command::AssignTier(tier);
            prisoner::decide(history, &planned, &context)?;
            planned
        }
    };
    let content = json!(["change", case.tier, case.staff_id, on]);
    Ok(RowChange::Due(Box::new(planned_command(history, &terms.prison, planned, on, &content))))
}

/// The change that a row of a case without a POM makes. The row ends no allocation: an empty cell
/// may be a mistake.
pub(super) fn waiting_change(
    case: &WaitingRow,
    history: &prisoner::History,
    prison: &prison::History,
    terms: &ImportTerms,
) -> Result<RowChange, Refusal> {
    let Some(on) = terms.changes_on else { return Ok(RowChange::NotHeld) };
    match waiting_difference(case, history, &terms.prison) {
        RowDifference::New => return Ok(RowChange::NotHeld),
        RowDifference::None => return Ok(RowChange::None),
        RowDifference::Changed { .. } => refuse_held(history)?,
    }
    let planned = prisoner::Command::AssignTier(tier_now(case.tier, history, terms));
    prisoner::decide(history, &planned, &context_on(on, prison, terms))?;
    let content = json!(["change", case.tier, null, on]);
    Ok(RowChange::Due(Box::new(planned_command(history, &terms.prison, planned, on, &content))))
}

/// Refuses a row without a POM for a case that a POM holds.
pub(super) fn refuse_held(history: &prisoner::History) -> Result<(), Refusal> {
    let Some(role) = history.state().primary_pom else { return Ok(()) };
    Err(Refusal::new(
        Rule::AlreadyAllocated,
        format!(
            "{} is allocated to {} (staff id {}) at {}, and the sheet names no POM. Deallocate the case first, or \
             leave the row out.",
            history.number(),
            role.pom.name,
            role.pom.staff_id,
            role.prison
        ),
    ))
}

fn context_on<'a>(on: NaiveDate, prison: &'a prison::History, terms: &ImportTerms) -> prisoner::Context<'a> {
    prisoner::Context {
        now: terms.now,
        effective_at: london::midnight(on),
        prison: Some(prison),
        recommendation_policy: terms.recommendation_policy,
    }
}

/// A tier that a sheet shows, beside the risk of serious harm that the ledger has.
fn tier_now(tier: Tier, history: &prisoner::History, terms: &ImportTerms) -> TierAssigned {
    TierAssigned {
        tier,
        rosh_level: history.state().tier.and_then(|held| held.rosh_level),
        source: TierSource::Manual,
        crn: None,
        prison: Some(terms.prison.clone()),
    }
}

/// How a case left the prison, as a person says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Departure {
    /// The case.
    pub number: PrisonerNumber,
    /// The London day.
    pub on: NaiveDate,
    /// The prison that the person went to; `None` for a release.
    pub to_prison: Option<PrisonCode>,
}

/// The command that records a departure.
///
/// # Errors
/// The rules refuse it.
pub fn plan_departure(
    departure: &Departure,
    history: &prisoner::History,
    terms: &ImportTerms,
) -> Result<PlannedCommand, Refusal> {
    let planned = match &departure.to_prison {
        Some(to_prison) => prisoner::Command::Transfer(Transfer { to_prison: to_prison.clone() }),
        None => prisoner::Command::Release(Release { prison: Some(terms.prison.clone()) }),
    };
    let context = prisoner::Context {
        now: terms.now,
        effective_at: london::midnight(departure.on),
        prison: None,
        recommendation_policy: terms.recommendation_policy,
    };
    prisoner::decide(history, &planned, &context)?;
    let content = json!(["departure", departure.to_prison, departure.on]);
    Ok(planned_command(history, &terms.prison, planned, departure.on, &content))
}

/// A command on a case as it is: the same change is another command once something else has been
/// recorded of the case.
fn planned_command(
    history: &prisoner::History,
    prison: &PrisonCode,
    planned: prisoner::Command,
    on: NaiveDate,
    content: &serde_json::Value,
) -> PlannedCommand {
    let number = history.number();
    let content = json!(["spreadsheet comparison", prison, number, history.revision(), content]);
    PlannedCommand {
        command: Command::Prisoner(number.clone(), planned),
        command_id: command_id(&content),
        request_digest: request_digest("spreadsheet-comparison", number.as_str(), &content),
        effective_at: london::midnight(on),
    }
}
