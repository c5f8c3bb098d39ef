//! `import spreadsheet --compare` and `--apply`: a later sheet of a prison, against what the ledger
//! has by now.
//!
//! `--compare` lists the differences. `--apply` records those that rows say, and the departures
//! that the user names. A case that the sheet lacks is listed, and stays as it is.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use anyhow::{Context as _, bail};
use clap::Args;
use command::CommandError;
use domain::{
    Stream,
    identifier::{PrisonCode, PrisonerNumber},
    moment::Date,
    prisoner,
};
use event_log::{SharedLog, decode, history::read_cases};
use futures::TryStreamExt as _;
use spreadsheets::{
    compare::{Departure, difference, plan_departure, waiting_difference},
    plan::{HeldHistories, ImportPlan, ImportTerms, PlannedRow, Verdict, plan},
    row::{CaseTable, DataRow, HAS_LEFT, RowCase},
};

use super::{
    compare_report::{ComparedCase, ComparisonReport, DifferenceOutcome},
    prison_code,
    record::{ImportRecorder, explain_interruption, load},
};

/// Streams in one read of the log; bounds the memory that a read takes.
const LOAD_STREAMS_MAX: usize = 256;

/// The settings of a comparison.
#[derive(Debug, Clone, Args)]
pub struct CompareSettings {
    /// List how the sheet differs from the ledger, and record nothing: which cases are new, gone,
    /// have another tier or another POM
    #[arg(long, conflicts_with = "apply")]
    compare: bool,
    /// Record those differences as of this day. New cases are recorded as of the date in their row.
    /// Cases that the sheet lacks stay as they are, but for those named with --released and
    /// --transferred
    #[arg(long, value_name = "DATE")]
    apply: Option<Date>,
    /// With --apply: a case that the sheet lacks was released on a day. May be given several times
    #[arg(long, value_name = "NUMBER=DATE", requires = "apply", value_parser = released)]
    released: Vec<Departure>,
    /// With --apply: a case that the sheet lacks went to another prison on a day. May be given
    /// several times
    #[arg(long, value_name = "NUMBER=CODE@DATE", requires = "apply", value_parser = transferred)]
    transferred: Vec<Departure>,
}

impl CompareSettings {
    /// Whether the sheet is to be compared instead of imported.
    #[must_use]
    pub fn is_comparison(&self) -> bool {
        self.compare || self.apply.is_some()
    }

    /// The day from which the differences hold, where they are to be recorded.
    #[must_use]
    pub fn changes_on(&self) -> Option<chrono::NaiveDate> {
        self.apply.map(Into::into)
    }

    /// The departures that the user names.
    fn departures(&self) -> impl Iterator<Item = &Departure> {
        self.released.iter().chain(&self.transferred)
    }
}

fn released(text: &str) -> anyhow::Result<Departure> {
    let (number, on) = text.split_once('=').context("write the number, `=` and the day, e.g. A1234BC=2026-03-01")?;
    Ok(Departure { number: prisoner_number(number)?, on: day(on)?, to_prison: None })
}

fn transferred(text: &str) -> anyhow::Result<Departure> {
    let parts = text.split_once('=').and_then(|(number, to)| Some((number, to.split_once('@')?)));
    let (number, (code, on)) =
        parts.context("write the number, `=`, the prison, `@` and the day, e.g. A1234BC=MDI@2026-03-01")?;
    Ok(Departure { number: prisoner_number(number)?, on: day(on)?, to_prison: Some(prison_code(code)?) })
}

fn prisoner_number(text: &str) -> anyhow::Result<PrisonerNumber> {
    Ok(text.trim().to_uppercase().parse()?)
}

fn day(text: &str) -> anyhow::Result<chrono::NaiveDate> {
    Ok(text.trim().parse::<Date>()?.into())
}

/// A sheet that is compared with the ledger.
pub struct Comparison<'a> {
    /// The wishes of the user.
    pub settings: &'a CompareSettings,
    /// The rows of the sheet.
    pub table: &'a CaseTable,
    /// The terms of the import.
    pub terms: &'a ImportTerms,
    /// The cases that a POM at the prison holds, or that wait there.
    held_here: BTreeMap<PrisonerNumber, prisoner::History>,
    /// The cases of the sheet, and the prison.
    held: HeldHistories,
}

impl<'a> Comparison<'a> {
    /// Reads what the ledger has of the prison's cases and of the sheet's.
    ///
    /// # Errors
    /// The log cannot be read.
    pub async fn read(
        log: Option<&SharedLog>,
        settings: &'a CompareSettings,
        table: &'a CaseTable,
        terms: &'a ImportTerms,
    ) -> anyhow::Result<Self> {
        let (held, held_here) = match log {
            Some(log) => {
                let held = load(log, &terms.prison, &numbers(table)).await?;
                (held, load_held_at(log, &terms.prison).await?)
            }
            None => (HeldHistories::of_empty_ledger(&terms.prison), BTreeMap::new()),
        };
        Ok(Self { settings, table, terms, held_here, held })
    }

    /// The differences; what would become of them where `plan` is given.
    #[must_use]
    pub fn report(&self, planned: Option<(&ImportPlan, Progress)>) -> ComparisonReport {
        let mut report = ComparisonReport::new(self.terms, &self.table.sheet);
        let planned_rows: HashMap<u32, &PlannedRow> = planned
            .iter()
            .flat_map(|(plan, _)| plan.rows.iter().map(|planned| (planned.row.number, planned)))
            .collect();
        for row in &self.table.rows {
            let planned_row = planned_rows.get(&row.number);
            let case = match &row.case {
                Ok(case) => case,
                // The case is listed as gone, if the ledger has it here.
                Err(problem) if problem.code == HAS_LEFT => continue,
                Err(problem) => {
                    report.add_unreadable(row, problem);
                    continue;
                }
            };
            let outcome = match (planned_row.map(|planned| &planned.verdict), planned.map(|(_, progress)| progress)) {
                (Some(Verdict::Record(_)), Some(Progress::Planned)) => DifferenceOutcome::WouldRecord,
                (Some(Verdict::Record(_)), _) => DifferenceOutcome::Recorded,
                (Some(Verdict::AlreadyRecorded), _) => DifferenceOutcome::RecordedBefore,
                (Some(Verdict::Refused(problem)), _) => DifferenceOutcome::Refused(problem.reason.clone()),
                (None, _) => DifferenceOutcome::Listed,
            };
            let warnings = planned_row.map_or(&row.doubts, |planned| &planned.warnings);
            let unheard_of = prisoner::History::new(case.prisoner_number().clone());
            let history = self.held.cases.get(case.prisoner_number()).unwrap_or(&unheard_of);
            let difference = match case {
                RowCase::Allocated(case) => difference(case, history, &self.terms.prison),
                RowCase::Waiting(case) => waiting_difference(case, history, &self.terms.prison),
            };
            match ComparedCase::of_row(row.number, case, difference, outcome, warnings) {
                Some(case) => report.cases.push(case),
                None => report.unchanged += 1,
            }
        }
        let left: HashMap<&PrisonerNumber, (u32, &str)> = self
            .table
            .rows
            .iter()
            .filter_map(|row| Some((row.prisoner_number.as_ref()?, (row.number, left_as_row_says(row)?))))
            .collect();
        report.cases.extend(self.gone().map(|case| ComparedCase::gone(case, left.get(case.number()).copied())));
        report
    }

    /// The cases of the prison that the sheet lacks, or has among those who left.
    fn gone(&self) -> impl Iterator<Item = &prisoner::History> {
        let there = self.table.rows.iter().filter(|row| left_as_row_says(row).is_none());
        let named: BTreeSet<&PrisonerNumber> = there.filter_map(|row| row.prisoner_number.as_ref()).collect();
        // A number that was merged names the case that it goes on under.
        let survivors = self.held.cases.values().filter_map(|case| Some(case.retirement()?.1));
        let survivors: BTreeSet<&PrisonerNumber> = survivors.collect();
        self.held_here.values().filter(move |case| !named.contains(case.number()) && !survivors.contains(case.number()))
    }

    /// Refuses departures of cases that are not gone from the sheet.
    ///
    /// # Errors
    /// There is one.
    pub fn check_departures(&self) -> anyhow::Result<()> {
        let gone: BTreeSet<&PrisonerNumber> = self.gone().map(prisoner::History::number).collect();
        let mut named = BTreeSet::new();
        for Departure { number, .. } in self.settings.departures() {
            if !gone.contains(number) {
                bail!(
                    "{number} is not gone: the sheet has it, or no POM at {} holds it; nothing was recorded",
                    self.terms.prison
                );
            }
            if !named.insert(number) {
                bail!("two departures of {number} are named: leave one out; nothing was recorded");
            }
        }
        Ok(())
    }

    /// The departures that the user names, and those that rows say of other cases.
    fn departures(&self) -> Vec<Departure> {
        let mut departures: Vec<Departure> = self.settings.departures().cloned().collect();
        let named: BTreeSet<PrisonerNumber> = departures.iter().map(|departure| departure.number.clone()).collect();
        let gone: BTreeSet<&PrisonerNumber> = self.gone().map(prisoner::History::number).collect();
        departures.extend(self.table.rows.iter().filter_map(|row| {
            let (number, on) = (row.prisoner_number.as_ref()?, row.released_on?);
            let is_open = gone.contains(number) && !named.contains(number);
            is_open.then(|| Departure { number: number.clone(), on, to_prison: None })
        }));
        departures
    }

    /// Plans the rows on what was read.
    #[must_use]
    pub fn plan(&self) -> ImportPlan {
        plan(self.table.rows.clone(), self.held.clone(), self.terms)
    }

    /// Records the departures that the user or a row names, and notes the outcome of each in the
    /// report.
    ///
    /// # Errors
    /// The store is out of reach or damaged.
    pub async fn record_departures(
        &self,
        recorder: Option<&ImportRecorder<'_>>,
        report: &mut ComparisonReport,
    ) -> anyhow::Result<()> {
        for departure in &self.departures() {
            let Some(history) = self.held_here.get(&departure.number) else { continue };
            let outcome = match (plan_departure(departure, history, self.terms), recorder) {
                (Err(refusal), _) => DifferenceOutcome::Refused(refusal.sentence),
                (Ok(_), None) => DifferenceOutcome::WouldRecord,
                (Ok(step), Some(recorder)) => match recorder.send(step, None).await {
                    Ok(_) => DifferenceOutcome::Recorded,
                    Err(CommandError::Refused(refusal)) => DifferenceOutcome::Refused(refusal.sentence),
                    Err(error) => return Err(explain_interruption(error)),
                },
            };
            report.set_departure(departure, outcome);
        }
        Ok(())
    }
}

/// The words of a row that says that the person has left.
fn left_as_row_says(row: &DataRow) -> Option<&str> {
    row.case.as_ref().err().filter(|problem| problem.code == HAS_LEFT).map(|problem| problem.reason.as_str())
}

/// How far a plan has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Nothing is recorded.
    Planned,
    /// Its commands were sent.
    Recorded,
}

/// The numbers of the rows that can be read.
fn numbers(table: &CaseTable) -> Vec<PrisonerNumber> {
    table.rows.iter().filter_map(|row| Some(row.case.as_ref().ok()?.prisoner_number().clone())).collect()
}

/// The cases that are at a prison: those that a POM there holds, and those that wait there.
async fn load_held_at(
    log: &SharedLog,
    prison: &PrisonCode,
) -> anyhow::Result<BTreeMap<PrisonerNumber, prisoner::History>> {
    let quoted = format!("\"{prison}\"");
    let mut ever_here = BTreeSet::new();
    let mut pages = log.read_pages(0, u64::MAX);
    while let Some(events) = pages.try_next().await.context("read the log")? {
        for recorded in &events {
            let Stream::Prisoner(number) = &recorded.stream else { continue };
            // Most events are of other prisons: they need not be decoded.
            let may_name_prison = std::str::from_utf8(&recorded.data).is_ok_and(|data| data.contains(&quoted));
            if may_name_prison
                && let domain::Event::Prisoner(event) = decode(recorded).context("read the log")?.entry.event
                && event.named_prisons().any(|named| named == prison)
            {
                ever_here.insert(number.clone());
            }
        }
    }
    let ever_here: Vec<_> = ever_here.into_iter().collect();
    let mut held_here = BTreeMap::new();
    for numbers in ever_here.chunks(LOAD_STREAMS_MAX) {
        for history in read_cases(&**log, numbers, None).await.context("read the cases' streams")? {
            let state = history.state();
            if state.prison.as_ref() == Some(prison) && state.left_at.is_none() && state.retired_into.is_none() {
                held_here.insert(history.number().clone(), history);
            }
        }
    }
    Ok(held_here)
}
