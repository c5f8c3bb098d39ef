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

use chrono::{DateTime, NaiveDate, Utc};
use domain::{
    Command, Entry, Refusal, Rule, Stream,
    event::RecordedBy,
    identifier::{CommandId, PrisonCode, PrisonerNumber, StaffId},
    london,
    officer::{PomKind, WorkingPattern},
    prison::{self, Estate, PomRegistered, PrisonJoinedOmic},
    prisoner::{
        self, Allocate, AllocateWithTier, ChoiceReasons, OverrideReason, RecommendationPolicy, TierAssigned,
        lineage::SurvivorChain,
    },
    tier::TierSource,
};
use event_log::request_digest;
use serde_json::json;
use uuid::Uuid;

use super::row::{DataRow, RowCase, RowProblem, SheetCase};
use poms::{Poms, commonest};

/// The namespace of the command ids of spreadsheet imports. It must never change: later imports
/// recognise earlier ones by it.
const NAMESPACE: Uuid = Uuid::from_u128(0x0f6d_7a52_8c1e_4f0b_b3a9_52e4_17c8_d902);

/// The override detail of imported cases whose POM is not of the recommended kind.
const OVERRIDE_DETAIL: &str = "as it stood in the prison's spreadsheet";

/// The settings of an import, beside the sheet.
#[derive(Debug, Clone)]
pub struct ImportTerms {
    /// The prison that holds the cases.
    pub prison: PrisonCode,
    /// The prison's estate, for the case that it must join OMiC.
    pub estate: Estate,
    /// The prison's go-live date, for the case that it must join OMiC; absent, the earliest date in
    /// the sheet.
    pub go_live: Option<NaiveDate>,
    /// Whether the prison may be one that the program's list of prisons lacks.
    pub unlisted_prison: bool,
    /// The policy that recommends a kind of POM.
    pub recommendation_policy: RecommendationPolicy,
    /// The current time.
    pub now: DateTime<Utc>,
    /// The user and the client that record.
    pub recorded_by: RecordedBy,
}

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

/// A command to be sent.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedCommand {
    /// The command itself.
    pub command: Command,
    /// The command's id.
    pub command_id: CommandId,
    /// The digest of the request, by which a repeat is recognised.
    pub request_digest: String,
    /// The effective time.
    pub effective_at: DateTime<Utc>,
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
    /// The commands of the prison and its roster, which must be sent first and in this order.
    pub prison_steps: Vec<PlannedCommand>,
    /// Every row of data, in the order of the sheet.
    pub rows: Vec<PlannedRow>,
}

/// Plans the outcome of every row.
#[must_use]
pub fn plan(rows: Vec<DataRow>, held: HeldHistories, terms: &ImportTerms) -> ImportPlan {
    let poms = Poms::new(&rows);
    let mut roster = PlannedRoster { history: held.prison, terms, steps: Vec::new() };
    let earliest = rows.iter().filter_map(DataRow::allocated).map(|case| case.allocated_on).min();
    let mut joined = None;
    let mut registrations = BTreeMap::new();
    if let Some(earliest) = earliest {
        if roster.history.roster().joined.is_none() {
            let new = PrisonJoinedOmic { go_live_date: terms.go_live.unwrap_or(earliest), estate: terms.estate };
            if roster.join(&new, earliest) {
                joined = Some(new);
            }
        }
        for (&staff_id, pom) in &poms.by_id {
            if !roster.history.roster().poms.contains_key(&staff_id)
                && let (Some(name), Some(kind)) = (commonest(&pom.names), commonest(&pom.kinds))
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
                    return PlannedRow::new(row, verdict, Vec::new());
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
            let warnings = poms.warnings(case, &roster.history);
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
        return ImportPlan { joined: None, registered: Vec::new(), prison_steps: Vec::new(), rows };
    }
    let mut prison_steps = roster.steps;
    let mut registered = Vec::new();
    for (staff_id, (pom, step)) in registrations {
        if needed.contains(&staff_id) {
            registered.push(pom);
            prison_steps.push(step);
        }
    }
    ImportPlan { joined, registered, prison_steps, rows }
}

/// The outcome of a case, with a roster that has everything that the import adds to it.
fn verdict(
    case: &SheetCase,
    history: Option<&prisoner::History>,
    prison: &prison::History,
    poms: &Poms,
    terms: &ImportTerms,
) -> Result<Verdict, Refusal> {
    let command_id = row_id(&terms.prison, case);
    let unheard_of = prisoner::History::new(case.prisoner_number.clone());
    let history = history.unwrap_or(&unheard_of);
    let former_id = former_row_id(&terms.prison, case).formerly_derived("allocation");
    let is_recorded = history.entries().iter().any(|entry| {
        // A caller may have used a former id as a key, and cannot call itself an import.
        entry.command_id == command_id
            || entry.command_id == former_id && entry.recorded_by.client == terms.recorded_by.client
    });
    if is_recorded {
        return Ok(Verdict::AlreadyRecorded);
    }
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
    let reasons = ChoiceReasons { note: case.note.clone(), ..ChoiceReasons::default() };
    let against_recommendation = ChoiceReasons {
        override_reasons: vec![OverrideReason::Other],
        override_detail: Some(OVERRIDE_DETAIL.to_owned()),
        ..reasons.clone()
    };
    let mut planned = command(reasons);
    let mut decided = prisoner::decide(history, &planned, &context);
    if decided.as_ref().is_err_and(|refusal| refusal.rule == Rule::OverrideReasonsNeeded) {
        planned = command(against_recommendation);
        decided = prisoner::decide(history, &planned, &context);
    }
    decided?;
    // Of the row alone, so that two imports of it at once send the same request.
    let request_digest =
        request_digest("spreadsheet-row", case.prisoner_number.as_str(), &row_content(&terms.prison, case));
    let command = Command::Prisoner(case.prisoner_number.clone(), planned);
    Ok(Verdict::Record(Box::new(PlannedCommand { command, command_id, request_digest, effective_at })))
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

/// The id of a row's command.
fn row_id(prison: &PrisonCode, case: &SheetCase) -> CommandId {
    command_id(&row_content(prison, case))
}

/// The id that the ids of a row's commands were derived from when the tier and the allocation were
/// commands of their own.
fn former_row_id(prison: &PrisonCode, case: &SheetCase) -> CommandId {
    CommandId(NAMESPACE).formerly_derived(&row_content(prison, case).to_string())
}

fn command_id(content: &serde_json::Value) -> CommandId {
    CommandId::of_content(NAMESPACE, &content.to_string())
}

/// The prison after the import: each planned command is decided and added to its history.
struct PlannedRoster<'a> {
    history: prison::History,
    terms: &'a ImportTerms,
    steps: Vec<PlannedCommand>,
}

impl PlannedRoster<'_> {
    /// Plans the move onto OMiC. Answers whether the rules allow it.
    fn join(&mut self, joined: &PrisonJoinedOmic, earliest: NaiveDate) -> bool {
        let from = earliest.min(joined.go_live_date);
        let command = match self.terms.unlisted_prison {
            true => prison::Command::JoinOmicUnlisted(joined.clone()),
            false => prison::Command::JoinOmic(joined.clone()),
        };
        let step = self.step("onboarding", command, joined, from);
        let Some(step) = step else { return false };
        self.steps.push(step);
        true
    }

    fn register(&mut self, registered: &PomRegistered, earliest: NaiveDate) -> Option<PlannedCommand> {
        self.step("poms", prison::Command::RegisterPom(registered.clone()), registered, earliest)
    }

    /// Plans a command that the prison's rules allow. If they refuse it, the rules for cases refuse
    /// the rows that need it, with their own sentence.
    fn step(
        &mut self,
        operation: &str,
        command: prison::Command,
        body: &impl serde::Serialize,
        from: NaiveDate,
    ) -> Option<PlannedCommand> {
        let code = self.history.code().clone();
        let effective_at = london::midnight(from);
        let context = prison::Context { now: self.terms.now, effective_at };
        let events = prison::decide(&self.history, &command, &context).ok()?;
        let command_id = command_id(&json!(["spreadsheet prison", operation, code, body, from]));
        for (index, event) in events.into_iter().enumerate() {
            self.history.push(Entry {
                event_id: command_id.event_id(&Stream::Prison(code.clone()), index),
                revision: self.history.entries().len() as u64,
                // The position is unknown before the append, and no rule looks at it.
                position: 0,
                effective_at,
                recorded_at: self.terms.now,
                recorded_by: self.terms.recorded_by.clone(),
                command_id,
                event,
            });
        }
        let request_digest = request_digest(operation, code.as_str(), &(body, effective_at));
        Some(PlannedCommand { command: Command::Prison(code, command), command_id, request_digest, effective_at })
    }

    fn kind_of(&self, staff_id: StaffId) -> Option<PomKind> {
        self.history.roster().poms.get(&staff_id).map(|pom| pom.kind)
    }
}
