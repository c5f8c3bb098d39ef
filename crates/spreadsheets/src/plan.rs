//! Plans an import: works out the commands from the sheet and from the ledger's histories, by the
//! rules that decide commands. Pure: a dry run ends here, and an import sends exactly these
//! commands.
//!
//! - The prison joins OMiC, and POMs new to its roster are registered, at London midnight of the
//!   earliest date in the sheet, so that every allocation in it is legal.
//! - A case gets its tier and its POM at London midnight of its date, by one command: a row that a
//!   rule refuses leaves no trace. A case that no POM has gets its tier alone, and waits since its
//!   date of arrival.
//! - The id of a command comes from the content of the row and not from its place. So an import
//!   recognises the same row in another file, and continues where an interrupted one ended.
//! - Where others have recorded since the plan was made, an import plans the rest again.

mod poms;
mod waiting;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use domain::{
    Command, Refusal,
    identifier::{PrisonCode, PrisonerNumber},
    london,
    officer::{PomKind, WorkingPattern},
    prison::{self, PomRegistered, PrisonJoinedOmic, RosterPom},
    prisoner::{self, Allocate, AllocateWithTier, ChoiceReasons, TierAssigned, lineage::SurvivorChain},
    tier::TierSource,
};
use event_log::request_digest;
use serde_json::json;

pub use super::planned_command::{ImportTerms, PlannedCommand};
use super::{
    compare::{RowChange, find_departures, plan_change},
    day_words::describe_moment,
    later_entries::{newest_tier, refuse_moved_on},
    planned_command::decide_with_reasons,
    planned_roster::{PlannedRoster, SheetPom},
    row::{DataRow, HAS_LEFT, RowCase, RowProblem, SheetCase},
    row_command::{RowAttempt, find_attempt, voided_warning},
};
use poms::Poms;

/// The ledger's histories of the prison and the cases in a sheet.
#[derive(Debug, Clone)]
pub struct HeldHistories {
    /// The prison.
    pub prison: prison::History,
    /// The cases in the sheet, including those unknown to the ledger.
    pub cases: HashMap<PrisonerNumber, prisoner::History>,
}

impl HeldHistories {
    /// The histories of an empty ledger.
    #[must_use]
    pub fn of_empty_ledger(prison: &PrisonCode) -> Self {
        Self { prison: prison::History::new(prison.clone()), cases: HashMap::new() }
    }
}

/// The outcome of a row.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// The row is recorded by this command.
    Record(Box<PlannedCommand>),
    /// An earlier import recorded it.
    AlreadyRecorded,
    /// The row is refused.
    Refused(RowProblem),
}

/// A row with its outcome.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedRow {
    /// The row.
    pub row: DataRow,
    /// The POM's kind, from the row, the other rows of the POM, or the roster.
    pub pom_kind: Option<PomKind>,
    /// The POM's name on the roster, as it is after the import.
    pub roster_name: Option<String>,
    /// The outcome.
    pub verdict: Verdict,
    /// Doubts that a person should look at, although the row is recorded.
    pub warnings: Vec<String>,
}

impl PlannedRow {
    /// A row with its outcome. A refused row has no warnings.
    fn new(row: DataRow, verdict: Verdict, warnings: Vec<String>) -> Self {
        let warnings = match verdict {
            Verdict::Refused(_) => Vec::new(),
            Verdict::Record(_) | Verdict::AlreadyRecorded => row.doubts.iter().cloned().chain(warnings).collect(),
        };
        Self { row, pom_kind: None, roster_name: None, verdict, warnings }
    }
}

/// The plan of an import.
#[derive(Debug, Clone, PartialEq)]
pub struct ImportPlan {
    /// The move onto OMiC, if the import records it.
    pub joined: Option<PrisonJoinedOmic>,
    /// POMs new to the roster.
    pub registered: Vec<PomRegistered>,
    /// POMs who became inactive when an import was undone, and are active again.
    pub reactivated: Vec<RosterPom>,
    /// The commands of the prison and its roster, which must be sent first and in this order.
    pub prison_steps: Vec<PlannedCommand>,
    /// Every row of data, in the order of the sheet.
    pub rows: Vec<PlannedRow>,
}

/// Plans the outcome of every row.
#[must_use]
pub fn plan(rows: Vec<DataRow>, held: HeldHistories, terms: &ImportTerms) -> ImportPlan {
    let rows = if terms.changes_on.is_some() { refuse_contradictions(rows, &held, &terms.prison) } else { rows };
    let poms = Poms::new(&rows);
    let mut roster = PlannedRoster { history: held.prison, terms, steps: Vec::new() };
    let earliest = rows.iter().filter_map(DataRow::allocated).map(|case| case.allocated_on).min();
    let earliest = earliest.map(|earliest| terms.changes_on.map_or(earliest, |on| earliest.min(on)));
    let mut joined = None;
    let mut registrations = BTreeMap::new();
    let of_sheet = poms.by_id.iter().map(|(&staff_id, pom)| SheetPom {
        staff_id,
        name: pom.names.commonest(),
        kind: pom.kinds.commonest().copied(),
    });
    let reactivations = roster.reactivate_undone(of_sheet);
    if let Some(earliest) = earliest {
        if roster.history.roster().joined.is_none() {
            let new = PrisonJoinedOmic { go_live_date: terms.go_live.unwrap_or(earliest), estate: terms.estate };
            if roster.join(&new, earliest) {
                joined = Some(new);
            }
        }
        for (&staff_id, pom) in &poms.by_id {
            if let Some((registered, step)) = pom.earliest.and_then(|from| roster.register_earlier(staff_id, from)) {
                registrations.insert(staff_id, (registered, step));
            } else if !roster.history.roster().poms.contains_key(&staff_id)
                && let (Some(name), Some(kind)) = (pom.names.commonest(), pom.kinds.commonest())
            {
                let registered = PomRegistered {
                    staff_id,
                    name: name.clone(),
                    kind: *kind,
                    working_pattern: WorkingPattern::FULL_TIME,
                    email: None,
                };
                if let Some(step) = roster.register(&registered, earliest) {
                    registrations.insert(staff_id, (registered, step));
                }
            }
        }
    }
    let rows: Vec<_> = rows
        .into_iter()
        .map(|row| {
            let case = match &row.case {
                Ok(RowCase::Allocated(case)) => case,
                Ok(RowCase::Waiting(case)) => {
                    let history = held.cases.get(&case.prisoner_number);
                    let verdict = match waiting::verdict(case, history, &roster.history, terms) {
                        Ok(verdict) => verdict,
                        Err(refusal) => {
                            Verdict::Refused(name_last_survivor(&case.prisoner_number, refusal, &held.cases).into())
                        }
                    };
                    let attempt = history.map(|history| (history, waiting::attempt(case, history, terms)));
                    let mut warnings: Vec<_> = earlier_record_warning(&verdict, attempt).into_iter().collect();
                    warnings.extend(history.and_then(|held| waiting::other_prison_warning(&verdict, held, terms)));
                    return PlannedRow::new(row, verdict, warnings);
                }
                Err(problem) => {
                    let verdict = Verdict::Refused(problem.clone());
                    return PlannedRow::new(row, verdict, Vec::new());
                }
            };
            let pom_kind =
                case.pom_kind.or_else(|| roster.kind_of(case.staff_id)).or_else(|| poms.kind_of(case.staff_id));
            let roster_name = roster.history.roster().poms.get(&case.staff_id).map(|pom| pom.name.clone());
            let history = held.cases.get(&case.prisoner_number);
            let verdict = match verdict(case, history, &roster.history, &poms, terms) {
                Ok(verdict) => verdict,
                Err(refusal) => {
                    Verdict::Refused(name_last_survivor(&case.prisoner_number, refusal, &held.cases).into())
                }
            };
            let mut warnings = poms.warnings(case, &roster.history);
            let attempt = history.map(|history| (history, attempt(case, history, terms)));
            warnings.extend(earlier_record_warning(&verdict, attempt));
            warnings.extend(history.and_then(|history| newer_tier_warning(&verdict, case, history)));
            PlannedRow { pom_kind, roster_name, ..PlannedRow::new(row, verdict, warnings) }
        })
        .collect();

    // Only needed commands are recorded: a POM whose rows are all refused is not registered.
    let needed: BTreeSet<_> = rows
        .iter()
        .filter(|planned| matches!(planned.verdict, Verdict::Record(_)))
        .filter_map(|planned| planned.row.allocated().map(|case| case.staff_id))
        .collect();
    if needed.is_empty() {
        return ImportPlan {
            joined: None,
            registered: Vec::new(),
            reactivated: Vec::new(),
            prison_steps: Vec::new(),
            rows,
        };
    }
    let mut prison_steps = roster.steps;
    let mut registered = Vec::new();
    for (staff_id, (pom, step)) in registrations {
        if needed.contains(&staff_id) {
            registered.push(pom);
            prison_steps.push(step);
        }
    }
    let mut reactivated = Vec::new();
    for (pom, steps) in reactivations {
        if needed.contains(&pom.staff_id) {
            reactivated.push(pom);
            prison_steps.extend(steps);
        }
    }
    ImportPlan { joined, registered, reactivated, prison_steps, rows }
}

/// The rows of a comparison, with those refused that have a case as one that is at the prison,
/// while another row says that it has left.
fn refuse_contradictions(mut rows: Vec<DataRow>, held: &HeldHistories, prison: &PrisonCode) -> Vec<DataRow> {
    let mut left = find_departures(&rows);
    left.retain(|number, rows| rows.contradiction(held.cases.get(number), prison).is_some());
    for row in rows.iter_mut().filter(|row| row.case.is_ok()) {
        if let Some(departure) = row.prisoner_number.as_ref().and_then(|number| left.get(number)) {
            row.case = Err(RowProblem {
                code: HAS_LEFT.to_owned(),
                column: None,
                value: None,
                reason: departure.says.clone(),
            });
        }
    }
    rows
}

/// The outcome of a case, with a roster that has everything that the import adds to it.
fn verdict(
    case: &SheetCase,
    history: Option<&prisoner::History>,
    prison: &prison::History,
    poms: &Poms,
    terms: &ImportTerms,
) -> Result<Verdict, Refusal> {
    let unheard_of = prisoner::History::new(case.prisoner_number.clone());
    let history = history.unwrap_or(&unheard_of);
    match plan_change(case, history, prison, terms)? {
        RowChange::NotHeld => {}
        RowChange::None => return Ok(Verdict::AlreadyRecorded),
        RowChange::Due(planned) => return Ok(Verdict::Record(planned)),
    }
    let content = row_content(&terms.prison, case);
    let command_id = match attempt(case, history, terms) {
        RowAttempt::Recorded if terms.changes_on.is_some() => return Err(refuse_moved_on(history, &terms.prison)),
        RowAttempt::Recorded => return Ok(Verdict::AlreadyRecorded),
        RowAttempt::Due { command_id, .. } => command_id,
    };
    if let Some(problem) = poms.registration_problem(case, prison) {
        return Ok(Verdict::Refused(problem));
    }
    let effective_at = london::midnight(case.allocated_on);
    let context = prisoner::Context {
        now: terms.now,
        effective_at,
        prison: Some(prison),
        recommendation_policy: terms.recommendation_policy,
    };
    let command = |reasons: ChoiceReasons| {
        prisoner::Command::AllocateWithTier(Box::new(AllocateWithTier {
            tier: TierAssigned {
                tier: case.tier,
                rosh_level: None,
                source: TierSource::Manual,
                crn: None,
                prison: Some(terms.prison.clone()),
            },
            allocate: Allocate { prison: terms.prison.clone(), staff_id: case.staff_id, reasons },
            reallocation_reason: None,
        }))
    };
    let planned = decide_with_reasons(history, &context, case, command)?;
    // Of the row alone, so that two imports of it at once send the same request.
    let request_digest = request_digest("spreadsheet-row", case.prisoner_number.as_str(), &content);
    let command = Command::Prisoner(case.prisoner_number.clone(), planned);
    Ok(Verdict::Record(Box::new(PlannedCommand { command, command_id, request_digest, effective_at, if_match: None })))
}

/// The command that records a row, or that one has.
fn attempt(case: &SheetCase, history: &prisoner::History, terms: &ImportTerms) -> RowAttempt {
    find_attempt(history, &row_content(&terms.prison, case))
}

/// The warning that a row that is recorded was recorded before, where it was.
fn earlier_record_warning(verdict: &Verdict, attempt: Option<(&prisoner::History, RowAttempt)>) -> Option<String> {
    match (verdict, attempt?) {
        (Verdict::Record(_), (history, RowAttempt::Due { voided: Some(revision), .. })) => {
            Some(voided_warning(history, revision))
        }
        _ => None,
    }
}

/// The warning that a newer tier in the ledger replaces that of the row.
fn newer_tier_warning(verdict: &Verdict, case: &SheetCase, history: &prisoner::History) -> Option<String> {
    let Verdict::Record(step) = verdict else { return None };
    let (newest, since) = newest_tier(history)?;
    let is_replaced = since.effective_at > step.effective_at && !case.tier.includes(newest);
    is_replaced.then(|| {
        format!(
            "the ledger has a newer tier, {newest} since {}: it holds now, and not that of this row",
            describe_moment(since.effective_at)
        )
    })
}

/// The refusal of a retired number with the number that takes commands: the survivor that it names
/// may have been merged itself.
fn name_last_survivor(
    number: &PrisonerNumber,
    refusal: Refusal,
    cases: &HashMap<PrisonerNumber, prisoner::History>,
) -> Refusal {
    let Some(survivor) = refusal.survivor.clone() else { return refusal };
    let survivor_of = |number: &PrisonerNumber| cases.get(number)?.retirement().map(|(_, survivor)| survivor.clone());
    match SurvivorChain::follow_all(survivor, survivor_of) {
        Ok(chain) => prisoner::refuse_retired_number(number, &chain.last().number),
        Err(_) => refusal,
    }
}

/// What a row says of its case, which is what its ids are derived from.
fn row_content(prison: &PrisonCode, case: &SheetCase) -> serde_json::Value {
    json!(["spreadsheet row", prison, case.prisoner_number, case.tier, case.staff_id, case.allocated_on, case.note])
}
