//! How a sheet differs from the ledger, and the commands that record the differences: for the next
//! sheet of a prison whose cases the ledger has already.
//!
//! A command of a comparison leads to what the sheet says now, or is refused: a legal one may be
//! overtaken by entries that the ledger has of a later time.
//!
//! A case that the sheet lacks is never ended for that reason: a filter of the spreadsheet program,
//! or a typing error in its number, hides it as well.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use domain::{
    Command, Refusal, Rule,
    identifier::{PrisonCode, PrisonerNumber},
    london,
    officer::Pom,
    prison,
    prisoner::{
        self, Allocate, AllocateWithTier, Deallocated, DeallocationTrigger, PrisonerEvent, Release, TierAssigned,
        Transfer,
    },
    tier::{Tier, TierSource},
};
use event_log::request_digest;
use serde_json::json;

use super::{
    day_words::{describe_day, describe_moment},
    later_entries::{advise_void, at_prison_since, check_tier_holds, describe_place, find_effective_time, refuse},
    leaving::{Leaving, UnclearLeaving},
    planned_command::{ImportTerms, PlannedCommand, command_id, decide_with_reasons, decision_time, foresee},
    row::{DataRow, SheetCase, WaitingRow},
};

/// The reason of a reallocation that a sheet shows.
const REALLOCATION_REASON: &str = "as the prison's spreadsheet has it";

/// The advice about a change that is too early.
const CHANGE_ADVICE: &str = "Give --apply that day or a later one, or leave the row out.";

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
pub fn find_difference(case: &SheetCase, history: &prisoner::History, prison: &PrisonCode) -> RowDifference {
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

/// Whether a case is at a prison: a POM there holds it, or it waits there.
#[must_use]
pub fn is_at(history: &prisoner::History, prison: &PrisonCode) -> bool {
    let state = history.state();
    state.prison.as_ref() == Some(prison) && state.left_at.is_none() && state.retired_into.is_none()
}

/// How a row of a case without a POM differs from what the ledger has of its case: with the POM
/// before, where one holds it.
#[must_use]
pub fn find_waiting_difference(case: &WaitingRow, history: &prisoner::History, prison: &PrisonCode) -> RowDifference {
    if !is_at(history, prison) {
        return RowDifference::New;
    }
    let state = history.state();
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
pub(super) fn plan_change(
    case: &SheetCase,
    history: &prisoner::History,
    prison: &prison::History,
    terms: &ImportTerms,
) -> Result<RowChange, Refusal> {
    let Some(on) = terms.changes_on else { return Ok(RowChange::NotHeld) };
    let pom_before = match find_difference(case, history, &terms.prison) {
        RowDifference::New => return Ok(RowChange::NotHeld),
        RowDifference::None => return Ok(RowChange::None),
        RowDifference::Changed { pom_before, .. } => pom_before,
    };
    let effective_at = find_effective_time(history, on);
    check_arrival(history, effective_at, &terms.prison)?;
    let context = context_at(effective_at, history, prison, terms);
    let tier = tier_now(case.tier, history, terms);
    let planned = match pom_before {
        Some(_) => decide_with_reasons(history, &context, case, |reasons| {
            let (prison, staff_id) = (terms.prison.clone(), case.staff_id);
            prisoner::Command::AllocateWithTier(Box::new(AllocateWithTier {
                tier: TierAssigned { rosh_level: None, ..tier.clone() },
                allocate: Allocate { prison, staff_id, reasons },
                reallocation_reason: Some(REALLOCATION_REASON.to_owned()),
            }))
        })
        // The rules may refuse it because of that newer POM: the reason names it.
        .map_err(|refusal| refuse_newer_pom(case, history, effective_at).unwrap_or(refusal))?,
        None => prisoner::Command::AssignTier(tier),
    };
    let after = foresee(history, &planned, &context, terms)?;
    check_pom_holds(case, &after, &terms.prison, effective_at)?;
    check_tier_holds(&after, case.tier, effective_at, CHANGE_ADVICE)?;
    let content = json!(["change", case.tier, case.staff_id, on]);
    Ok(RowChange::Due(Box::new(command_at_revision(history, &terms.prison, planned, effective_at, &content))))
}

/// Refuses a change of a time at which the case was not at the prison yet.
fn check_arrival(history: &prisoner::History, effective_at: DateTime<Utc>, prison: &PrisonCode) -> Result<(), Refusal> {
    match at_prison_since(history, prison) {
        Some(since) if since.effective_at > effective_at => Err(refuse(&format!(
            "By the ledger {} is at {prison} since {}, and a change from {} is of an earlier time. {CHANGE_ADVICE} {}",
            history.number(),
            describe_moment(since.effective_at),
            describe_moment(effective_at),
            advise_void(history, since.revision),
        ))),
        _ => Ok(()),
    }
}

/// Refuses a change after which the POM of the row does not hold the case at the prison.
fn check_pom_holds(
    case: &SheetCase,
    after: &prisoner::History,
    prison: &PrisonCode,
    effective_at: DateTime<Utc>,
) -> Result<(), Refusal> {
    let holder = after.state().primary_pom;
    if holder.is_some_and(|role| role.pom.staff_id == case.staff_id && role.prison == *prison) {
        return Ok(());
    }
    Err(refuse_newer_pom(case, after, effective_at).unwrap_or_else(|| {
        refuse(&format!(
            "By the ledger {}, so that staff id {} from {} does not hold now. {CHANGE_ADVICE}",
            describe_place(after, prison),
            case.staff_id,
            describe_moment(effective_at),
        ))
    }))
}

/// The refusal of a change of a time before the POM in the ledger took the case, where it is one.
fn refuse_newer_pom(case: &SheetCase, history: &prisoner::History, effective_at: DateTime<Utc>) -> Option<Refusal> {
    let role = history.state().primary_pom?;
    let since = history.held_here_since(&role);
    if since <= effective_at {
        return None;
    }
    Some(refuse(&format!(
        "The ledger has a newer POM of {}: {} (staff id {}) since {}, so that staff id {} from {} does not hold now. \
         {CHANGE_ADVICE} {}",
        history.number(),
        role.pom.name,
        role.pom.staff_id,
        describe_moment(since),
        case.staff_id,
        describe_moment(effective_at),
        advise_void(history, role.given_by),
    )))
}

/// The change that a row of a case without a POM makes. The row ends no allocation: an empty cell
/// may be a mistake.
pub(super) fn plan_waiting_change(
    case: &WaitingRow,
    history: &prisoner::History,
    prison: &prison::History,
    terms: &ImportTerms,
) -> Result<RowChange, Refusal> {
    let Some(on) = terms.changes_on else { return Ok(RowChange::NotHeld) };
    match find_waiting_difference(case, history, &terms.prison) {
        RowDifference::New => return Ok(RowChange::NotHeld),
        RowDifference::None => return Ok(RowChange::None),
        RowDifference::Changed { .. } => refuse_held(history)?,
    }
    let effective_at = find_effective_time(history, on);
    check_arrival(history, effective_at, &terms.prison)?;
    let planned = prisoner::Command::AssignTier(tier_now(case.tier, history, terms));
    let context = context_at(effective_at, history, prison, terms);
    let after = foresee(history, &planned, &context, terms)?;
    check_tier_holds(&after, case.tier, effective_at, CHANGE_ADVICE)?;
    let content = json!(["change", case.tier, null, on]);
    Ok(RowChange::Due(Box::new(command_at_revision(history, &terms.prison, planned, effective_at, &content))))
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

fn context_at<'a>(
    effective_at: DateTime<Utc>,
    history: &prisoner::History,
    prison: &'a prison::History,
    terms: &ImportTerms,
) -> prisoner::Context<'a> {
    prisoner::Context {
        now: decision_time(history, terms),
        effective_at,
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

/// A case that left the prison, as the user or a row says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Departure {
    /// The case.
    pub number: PrisonerNumber,
    /// When and how it left.
    pub leaving: Leaving,
}

impl Leaving {
    /// Whether the ledger has the departure of a case from a prison on its day.
    #[must_use]
    pub fn is_recorded(&self, history: &prisoner::History, prison: &PrisonCode) -> bool {
        let Self { on, to_prison } = self;
        let trigger = match to_prison {
            Some(_) => DeallocationTrigger::Transferred,
            None => DeallocationTrigger::Released,
        };
        history.in_effective_order().into_iter().any(|entry| {
            matches!(&entry.event, PrisonerEvent::Deallocated(Deallocated { prison: from, trigger: by, to_prison: to, .. })
                if from.as_ref() == Some(prison) && *by == trigger && to == to_prison)
                && london::date(entry.effective_at) == *on
        })
    }
}

/// The rows of a case that say that it has left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowsOfDeparture {
    /// The row, the first of several.
    pub row: u32,
    /// The words of the rows: `row 3 says released on 2 January 2020`.
    pub says: String,
    /// When and how the case left, where its rows agree on both.
    pub leaving: Result<Leaving, UnclearLeaving>,
    /// A row, the first of several, that has the case as one that is at the prison.
    pub row_there: Option<u32>,
}

impl RowsOfDeparture {
    /// The row that has the case as one that is at the prison, where the sheet contradicts itself:
    /// the departure is not one that the ledger has, after which the case may have come back.
    #[must_use]
    pub fn contradiction(&self, history: Option<&prisoner::History>, prison: &PrisonCode) -> Option<u32> {
        let is_recorded = match (&self.leaving, history) {
            (Ok(leaving), Some(history)) => leaving.is_recorded(history, prison),
            _ => false,
        };
        self.row_there.filter(|_| !is_recorded)
    }
}

/// The cases that rows say have left, by number. Several rows of a case are one where they agree;
/// else none of them says when and how the case left.
#[must_use]
pub fn find_departures(rows: &[DataRow]) -> BTreeMap<PrisonerNumber, RowsOfDeparture> {
    let mut rows_of: BTreeMap<&PrisonerNumber, Vec<&DataRow>> = BTreeMap::new();
    let mut there: BTreeMap<&PrisonerNumber, u32> = BTreeMap::new();
    for row in rows {
        match (&row.prisoner_number, &row.left) {
            (Some(number), Some(_)) => rows_of.entry(number).or_default().push(row),
            (Some(number), None) => {
                there.entry(number).or_insert(row.number);
            }
            (None, _) => {}
        }
    }
    let of_rows = |(number, rows): (&PrisonerNumber, Vec<&DataRow>)| {
        let mut left = rows.iter().filter_map(|row| Some((row.number, row.left.as_ref()?)));
        let (row, first) = left.clone().next()?;
        let agree = left.all(|(_, other)| other.leaving == first.leaving);
        let words = |row: &&DataRow| Some(format!("row {} {}", row.number, row.left.as_ref()?.says()));
        let (says, leaving) = match agree {
            true => (format!("row {row} {}", first.says()), first.leaving.clone()),
            false => {
                let says = rows.iter().filter_map(words).collect::<Vec<_>>().join(", and ");
                (says.clone(), Err(UnclearLeaving { says, is_wrong: false }))
            }
        };
        let row_there = there.get(number).copied();
        Some((number.clone(), RowsOfDeparture { row, says, leaving, row_there }))
    };
    rows_of.into_iter().filter_map(of_rows).collect()
}

/// The command that records a departure.
///
/// # Errors
/// The rules refuse it, or the ledger has the case at another place, or at the prison at a later
/// time.
pub fn plan_departure(
    departure: &Departure,
    history: &prisoner::History,
    terms: &ImportTerms,
) -> Result<PlannedCommand, Refusal> {
    let Leaving { on, to_prison } = &departure.leaving;
    let planned = match to_prison {
        Some(to_prison) => prisoner::Command::Transfer(Transfer { to_prison: to_prison.clone() }),
        None => prisoner::Command::Release(Release { prison: Some(terms.prison.clone()) }),
    };
    let effective_at = find_effective_time(history, *on);
    let context = prisoner::Context {
        now: decision_time(history, terms),
        effective_at,
        prison: None,
        recommendation_policy: terms.recommendation_policy,
    };
    let after = foresee(history, &planned, &context, terms)?;
    if !is_at(history, &terms.prison) {
        return Err(refuse(&format!(
            "By the ledger {}: {} leaves {} no more.",
            describe_place(history, &terms.prison),
            departure.number,
            terms.prison
        )));
    }
    // A tier that names the prison is legal after a departure, and brings the case back.
    if let Some(since) = at_prison_since(&after, &terms.prison) {
        return Err(refuse(&format!(
            "By the ledger {} is at {} on {}, which is after {}: a departure on that day does not hold. Give the day on \
             which the case left after that. {}",
            departure.number,
            terms.prison,
            describe_moment(since.effective_at),
            describe_day(*on),
            advise_void(&after, since.revision),
        )));
    }
    let content = json!(["departure", to_prison, on]);
    Ok(command_at_revision(history, &terms.prison, planned, effective_at, &content))
}

/// Why a case has not gone from the prison by a sheet that lacks it, as a sentence without its end.
#[must_use]
pub fn describe_absence(history: &prisoner::History, prison: &PrisonCode) -> String {
    if history.is_empty() {
        return format!("the ledger knows nothing of {}", history.number());
    }
    format!("by the ledger {}", describe_place(history, prison))
}

/// A command on a case as it is at a revision: the same change is another command once something
/// else has been recorded of the case.
fn command_at_revision(
    history: &prisoner::History,
    prison: &PrisonCode,
    planned: prisoner::Command,
    effective_at: DateTime<Utc>,
    content: &serde_json::Value,
) -> PlannedCommand {
    let number = history.number();
    let content = json!(["spreadsheet comparison", prison, number, history.revision(), content]);
    PlannedCommand {
        command: Command::Prisoner(number.clone(), planned),
        command_id: command_id(&content),
        request_digest: request_digest("spreadsheet-comparison", number.as_str(), &content),
        effective_at,
        if_match: history.revision(),
    }
}

#[cfg(test)]
mod tests;
