//! `import spreadsheet --compare` and `--apply`: a later sheet of a prison, against what the ledger
//! has by now.
//!
//! `--compare` lists the differences. `--apply` records those that rows say, and the departures
//! that rows or the user name. Any other case that the sheet lacks is listed, and stays as it is.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, HashMap},
    slice,
};

use anyhow::{Context as _, bail, ensure};
use chrono::NaiveDate;
use clap::Args;
use command::{CommandError, Service};
use domain::{
    Stream,
    identifier::{PrisonCode, PrisonerNumber},
    moment::Date,
    prisoner,
};
use event_log::{SharedLog, decode};
use futures::TryStreamExt as _;
use import::record::{ImportRecorder, PLANS_MAX, explain_interruption, load_cases, refuse_contended};
use indicatif::ProgressBar;
use spreadsheets::{
    compare::{
        Departure, RowsOfDeparture, describe_absence, find_departures, find_difference, find_waiting_difference, is_at,
        plan_departure,
    },
    day_words::describe_day,
    leaving::Leaving,
    plan::{HeldHistories, ImportPlan, PlannedRow, Verdict},
    row::RowCase,
};

use super::{
    compare_report::{ComparedCase, ComparisonReport, DifferenceOutcome},
    first_prison,
    local_import::{LocalImport, ShownProgress, tell_wait},
    report::NOTHING_RECORDED,
};
use crate::{shared_settings::identifier, stores::LogStore};

/// The settings of a comparison.
#[derive(Debug, Clone, Args)]
pub struct CompareSettings {
    /// List how the sheet differs from the ledger, and record nothing: which cases are new, gone,
    /// have another tier or another POM
    #[arg(long, conflicts_with = "apply")]
    compare: bool,
    /// Record those differences as of this day. New cases are recorded as of the date in their row.
    /// Cases that the sheet lacks stay as they are, but for those that a row says were released or
    /// transferred on a day, and those named with --released and --transferred
    #[arg(long, value_name = "DATE")]
    apply: Option<Date>,
    /// With --apply: a case that the sheet lacks was released on a day. May be given several times
    #[arg(long, value_name = "NUMBER=DATE", requires = "apply", value_parser = parse_release)]
    released: Vec<Departure>,
    /// With --apply: a case that the sheet lacks went to another prison on a day. May be given
    /// several times
    #[arg(long, value_name = "NUMBER=CODE@DATE", requires = "apply", value_parser = parse_transfer)]
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
    pub fn changes_on(&self) -> Option<NaiveDate> {
        self.apply.map(Into::into)
    }

    /// Refuses days in the future.
    ///
    /// # Errors
    /// There is one.
    pub fn check_days(&self, today: NaiveDate) -> anyhow::Result<()> {
        let applied = self.changes_on().map(|on| ("--apply", on));
        let released = self.released.iter().map(|departure| ("--released", departure.leaving.on));
        let transferred = self.transferred.iter().map(|departure| ("--transferred", departure.leaving.on));
        for (option, on) in applied.into_iter().chain(released).chain(transferred) {
            ensure!(
                on <= today,
                "{option} names {}, which must not be in the future; nothing was read or recorded",
                describe_day(on)
            );
        }
        Ok(())
    }

    /// The departures that the user names.
    fn departures(&self) -> impl Iterator<Item = &Departure> {
        self.released.iter().chain(&self.transferred)
    }
}

fn parse_release(text: &str) -> anyhow::Result<Departure> {
    let (number, on) = text.split_once('=').context("write the number, `=` and the day, e.g. A1234BC=2026-03-01")?;
    Ok(Departure { number: identifier(number)?, leaving: Leaving { on: parse_day(on)?, to_prison: None } })
}

fn parse_transfer(text: &str) -> anyhow::Result<Departure> {
    let parts = text.split_once('=').and_then(|(number, to)| Some((number, to.split_once('@')?)));
    let (number, (code, on)) =
        parts.context("write the number, `=`, the prison, `@` and the day, e.g. A1234BC=MDI@2026-03-01")?;
    let leaving = Leaving { on: parse_day(on)?, to_prison: Some(identifier(code)?) };
    Ok(Departure { number: identifier(number)?, leaving })
}

fn parse_day(text: &str) -> anyhow::Result<NaiveDate> {
    Ok(text.trim().parse::<Date>()?.into())
}

/// Compares a sheet with the ledger, and records the differences where that is asked for. Answers
/// the report, and the sentences after it.
///
/// # Errors
/// A departure is named of a case that is not gone, or the ledger cannot be reached.
pub async fn compare(
    settings: &CompareSettings,
    import: LocalImport<'_>,
) -> anyhow::Result<(ComparisonReport, Vec<String>)> {
    if import.dry_run || settings.changes_on().is_none() {
        let listed = async |store: Option<&LogStore>| Comparison::read(store, settings, &import).await?.list();
        return match LogStore::open_existing(&import.stores.log).await? {
            Some(store) => store.close_after(async |store| listed(Some(store)).await).await,
            None => listed(None).await,
        };
    }
    LogStore::with_existing_to_write(&import.stores.log, async |store| {
        let held = import.sheet.load(&store.log).await?;
        let import = import.with_go_live(held)?;
        let _turn = store.import_turns().take(&import.sheet.terms.prison, tell_wait).await?;
        let comparison = Comparison::read(Some(store), settings, &import).await?;
        comparison.check_departures()?;
        let service = Service::new(store.log.clone(), import.sheet.commands.clone());
        let bar = ProgressBar::hidden();
        let shown = ShownProgress(&bar);
        let recorder = import.sheet.recorder(&service, &shown);
        // Planned on what the report compares with: a case that has changed since is overtaken.
        let held = Some(comparison.held.clone());
        let plan = import.sheet.record(&store.log, held, &recorder).await?;
        let departures = comparison.record_departures(&store.log, &recorder).await?;
        Ok((comparison.report(Some(&plan), departures), import.closing_remarks(&plan)))
    })
    .await
}

/// The outcomes of departures by case.
type DepartureOutcomes = BTreeMap<PrisonerNumber, DifferenceOutcome>;

/// A sheet beside what the ledger has.
struct Comparison<'a> {
    settings: &'a CompareSettings,
    import: &'a LocalImport<'a>,
    /// The prison, and the cases of the sheet.
    held: HeldHistories,
    /// The cases that a POM at the prison holds, or that wait there.
    held_here: BTreeMap<PrisonerNumber, prisoner::History>,
    /// The other cases of which the user names, or rows say, that they have left.
    elsewhere: BTreeMap<PrisonerNumber, prisoner::History>,
    /// The cases that rows say have left.
    left: BTreeMap<PrisonerNumber, RowsOfDeparture>,
}

impl<'a> Comparison<'a> {
    /// Reads what the ledger has of the prison's cases, of the sheet's and of those that the user
    /// names. Records the read.
    async fn read(
        store: Option<&LogStore>,
        settings: &'a CompareSettings,
        import: &'a LocalImport<'a>,
    ) -> anyhow::Result<Self> {
        let prison = &import.sheet.terms.prison;
        let log = store.map(|store| &store.log);
        let (held, held_here) = match log {
            Some(log) => (import.sheet.load(log).await?, load_held_at(log, prison).await?),
            None => (HeldHistories::of_empty_ledger(prison), BTreeMap::new()),
        };
        let left = find_departures(&import.sheet.table.rows);
        let named = settings.departures().map(|departure| &departure.number);
        let numbers: BTreeSet<_> = named.chain(left.keys()).cloned().collect();
        let elsewhere: Vec<_> = numbers.into_iter().filter(|number| !held_here.contains_key(number)).collect();
        let histories = match log {
            Some(log) => load_cases(log, &elsewhere).await?,
            None => elsewhere.into_iter().map(prisoner::History::new).collect(),
        };
        let elsewhere: BTreeMap<PrisonerNumber, prisoner::History> =
            histories.into_iter().map(|history| (history.number().clone(), history)).collect();
        if let Some(store) = store {
            import.record_read(store, held.cases.keys().chain(held_here.keys()).chain(elsewhere.keys())).await?;
        }
        Ok(Self { settings, import, held, held_here, elsewhere, left })
    }

    /// The report without anything recorded: with what `--apply` would record, where it is given.
    fn list(&self) -> anyhow::Result<(ComparisonReport, Vec<String>)> {
        if self.settings.changes_on().is_none() {
            return Ok((self.report(None, self.recorded_before().collect()), Vec::new()));
        }
        first_prison::check_go_live(&self.held.prison, self.import.sheet.terms.go_live)?;
        self.check_departures()?;
        let plan = self.import.sheet.plan(self.held.clone());
        let mut outcomes = self.known_outcomes();
        for (departure, history) in self.due_departures() {
            let outcome = match plan_departure(&departure, history, &self.import.sheet.terms) {
                Ok(_) => DifferenceOutcome::WouldRecord,
                Err(refusal) => DifferenceOutcome::Refused(refusal.sentence),
            };
            outcomes.insert(departure.number, outcome);
        }
        let mut closing = self.import.closing_remarks(&plan);
        closing.push(NOTHING_RECORDED.to_owned());
        Ok((self.report(Some(&plan), outcomes), closing))
    }

    /// The differences of the rows, then the cases that are gone. Where a plan is given, each row
    /// has its outcome by the plan; the others are listed.
    fn report(&self, plan: Option<&ImportPlan>, mut departures: DepartureOutcomes) -> ComparisonReport {
        let (table, terms) = (self.import.sheet.table, &self.import.sheet.terms);
        let mut report = ComparisonReport::new(terms, &table.sheet);
        let planned_rows: HashMap<u32, &PlannedRow> =
            plan.iter().flat_map(|plan| plan.rows.iter().map(|planned| (planned.row.number, planned))).collect();
        for row in &table.rows {
            let planned_row = planned_rows.get(&row.number);
            let case = match &row.case {
                // The case has a line of its own below.
                Err(_) if row.left.is_some() => continue,
                Ok(case)
                    if self.find_contradiction(case.prisoner_number()).is_some()
                        && !planned_row.is_some_and(|planned| matches!(planned.verdict, Verdict::Record(_))) =>
                {
                    continue;
                }
                Ok(case) => case,
                Err(problem) => {
                    report.add_unreadable(row, problem);
                    continue;
                }
            };
            let outcome = match planned_row.map(|planned| &planned.verdict) {
                Some(Verdict::Record(_)) if self.import.dry_run => DifferenceOutcome::WouldRecord,
                Some(Verdict::Record(_)) => DifferenceOutcome::Recorded,
                Some(Verdict::AlreadyRecorded) => DifferenceOutcome::RecordedBefore,
                Some(Verdict::Refused(problem)) => DifferenceOutcome::Refused(problem.reason.clone()),
                None => DifferenceOutcome::Listed,
            };
            let warnings = planned_row.map_or(&row.doubts, |planned| &planned.warnings);
            let unheard_of = prisoner::History::new(case.prisoner_number().clone());
            let history = self.held.cases.get(case.prisoner_number()).unwrap_or(&unheard_of);
            let difference = match case {
                RowCase::Allocated(case) => find_difference(case, history, &terms.prison),
                RowCase::Waiting(case) => find_waiting_difference(case, history, &terms.prison),
            };
            match ComparedCase::of_row(row.number, case, difference, outcome, warnings) {
                Some(case) => report.cases.push(case),
                None => report.unchanged += 1,
            }
        }
        // Each case that rows or the user say has left has a line, wherever the ledger has it.
        let here = self.left.keys().filter_map(|number| self.held_here.get(number));
        let cases = self.gone().chain(here).chain(self.elsewhere.values());
        let left: BTreeMap<_, _> = cases.map(|case| (case.number(), case)).collect();
        let survivors = self.survivors_there();
        report.cases.extend(left.into_iter().map(|(number, case)| {
            let outcome = departures.remove(number).unwrap_or(DifferenceOutcome::Listed);
            self.describe_departure(case, outcome, &survivors)
        }));
        report
    }

    /// The line of a case that the sheet lacks, or that rows or the user say has left.
    fn describe_departure(
        &self,
        case: &prisoner::History,
        outcome: DifferenceOutcome,
        survivors: &BTreeSet<&PrisonerNumber>,
    ) -> ComparedCase {
        let (number, rows) = (case.number(), self.left.get(case.number()));
        let row = rows.map(|rows| rows.row);
        if let Some((rows, there)) = rows.zip(self.find_contradiction(number)) {
            let reason = format!(
                "{}, and row {there} has the case as one that is here: correct the row that is wrong",
                rows.says
            );
            return ComparedCase::contradictory(case, row, reason, outcome);
        }
        let is_here = self.held_here.contains_key(number);
        let is_gone = is_here && !survivors.contains(number) && rows.is_none_or(|rows| rows.row_there.is_none());
        let reason = rows.map(|rows| match &rows.leaving {
            _ if !is_here => format!("{}; {}", rows.says, describe_absence(case, &self.import.sheet.terms.prison)),
            _ if !is_gone => {
                format!("{}, and the sheet has the case under a number that was merged into it", rows.says)
            }
            Ok(_) => rows.says.clone(),
            Err(_) => format!(
                "{}. Say when and how it left, with --released NUMBER=DATE or --transferred NUMBER=CODE@DATE",
                rows.says
            ),
        });
        ComparedCase::gone(case, row, reason, outcome, is_gone)
    }

    /// The row that has a case as one that is here, where another row says that it has left.
    fn find_contradiction(&self, number: &PrisonerNumber) -> Option<u32> {
        let history = self.held_here.get(number).or_else(|| self.elsewhere.get(number));
        self.left.get(number)?.contradiction(history, &self.import.sheet.terms.prison)
    }

    /// The numbers of the rows that do not say that the person has left.
    fn numbers_there(&self) -> BTreeSet<&PrisonerNumber> {
        let there = self.import.sheet.table.rows.iter().filter(|row| row.left.is_none());
        there.filter_map(|row| row.prisoner_number.as_ref()).collect()
    }

    /// The numbers that merged numbers of the sheet go on under.
    fn survivors_there(&self) -> BTreeSet<&PrisonerNumber> {
        self.held.cases.values().filter_map(|case| Some(case.retirement()?.1)).collect()
    }

    /// The cases of the prison that the sheet lacks, or has among those who left.
    fn gone(&self) -> impl Iterator<Item = &prisoner::History> {
        let (there, survivors) = (self.numbers_there(), self.survivors_there());
        self.held_here.values().filter(move |case| !there.contains(case.number()) && !survivors.contains(case.number()))
    }

    /// Refuses departures that the user names of cases that are not gone from the sheet. One that
    /// is recorded already is none of them.
    fn check_departures(&self) -> anyhow::Result<()> {
        let (there, survivors) = (self.numbers_there(), self.survivors_there());
        let prison = &self.import.sheet.terms.prison;
        let mut named = BTreeSet::new();
        for departure in self.settings.departures() {
            let number = &departure.number;
            if !named.insert(number) {
                bail!("two departures of {number} are named: leave one out; nothing was recorded");
            }
            if there.contains(number) {
                bail!("{number} is not gone: the sheet has it; nothing was recorded");
            }
            if survivors.contains(number) {
                bail!(
                    "{number} is not gone: the sheet has it under a number that was merged into it; nothing was recorded"
                );
            }
            if let Some(history) = self.elsewhere.get(number)
                && !departure.leaving.is_recorded(history, prison)
            {
                bail!(
                    "{number} is not gone from {prison} on that day: {}; nothing was recorded",
                    describe_absence(history, prison)
                );
            }
        }
        Ok(())
    }

    /// The outcomes of the departures that the ledger has.
    fn recorded_before(&self) -> impl Iterator<Item = (PrisonerNumber, DifferenceOutcome)> {
        // A case may have come back since, and have a row as one that is here.
        let came_back = self.left.iter().filter(|(_, rows)| rows.row_there.is_some());
        let came_back = came_back.filter_map(|(number, _)| self.held_here.get(number));
        let is_recorded = |history: &&prisoner::History| {
            let departure = self.find_departure(history.number());
            departure.is_some_and(|departure| departure.leaving.is_recorded(history, &self.import.sheet.terms.prison))
        };
        let recorded = self.elsewhere.values().chain(came_back).filter(is_recorded);
        recorded.map(|history| (history.number().clone(), DifferenceOutcome::RecordedBefore))
    }

    /// The outcomes of departures that need no command: those recorded before, and rows with a
    /// wrong value.
    fn known_outcomes(&self) -> DepartureOutcomes {
        let named: BTreeSet<&PrisonerNumber> = self.settings.departures().map(|departure| &departure.number).collect();
        let wrong = self.gone().filter_map(|case| {
            let rows = self.left.get(case.number()).filter(|_| !named.contains(case.number()))?;
            let is_wrong = rows.leaving.as_ref().is_err_and(|unclear| unclear.is_wrong);
            is_wrong.then(|| (case.number().clone(), DifferenceOutcome::Refused(rows.says.clone())))
        });
        self.recorded_before().chain(wrong).collect()
    }

    /// The departure of a case that the user names, or else that rows say.
    fn find_departure(&self, number: &PrisonerNumber) -> Option<Departure> {
        let of_rows = || {
            let leaving = self.left.get(number)?.leaving.clone().ok()?;
            Some(Departure { number: number.clone(), leaving })
        };
        self.settings.departures().find(|departure| departure.number == *number).cloned().or_else(of_rows)
    }

    /// The departures to be recorded, with what was read of the case: those that the user names,
    /// and those that rows say of other cases.
    fn due_departures(&self) -> Vec<(Departure, &prisoner::History)> {
        self.gone().filter_map(|case| Some((self.find_departure(case.number())?, case))).collect()
    }

    /// Records the departures that the user or a row names. Answers the outcome of each.
    async fn record_departures(
        &self,
        log: &SharedLog,
        recorder: &ImportRecorder<'_>,
    ) -> anyhow::Result<DepartureOutcomes> {
        let mut outcomes = self.known_outcomes();
        for (departure, history) in self.due_departures() {
            let outcome = self.record_departure(log, recorder, &departure, history).await?;
            outcomes.insert(departure.number, outcome);
        }
        Ok(outcomes)
    }

    /// Records a departure. Where others have recorded on the case since it was read, it is read
    /// and planned again: an entry that they have may bring the case back.
    async fn record_departure(
        &self,
        log: &SharedLog,
        recorder: &ImportRecorder<'_>,
        departure: &Departure,
        history: &prisoner::History,
    ) -> anyhow::Result<DifferenceOutcome> {
        let (number, terms) = (&departure.number, &self.import.sheet.terms);
        // A departure that the user names is not of a row.
        let rows = self.left.get(number).filter(|rows| rows.leaving.as_ref() == Ok(&departure.leaving));
        let mut history = Cow::Borrowed(history);
        for _ in 0..PLANS_MAX {
            let step = match plan_departure(departure, &history, terms) {
                Ok(step) => step,
                Err(refusal) => return Ok(DifferenceOutcome::Refused(refusal.sentence)),
            };
            recorder.announce_run();
            match recorder.send(step, rows.map(|rows| rows.row)).await {
                Ok(_) => return Ok(DifferenceOutcome::Recorded),
                Err(CommandError::Refused(refusal)) => return Ok(DifferenceOutcome::Refused(refusal.sentence)),
                Err(CommandError::RevisionMismatch { .. }) => {}
                Err(error) => return Err(explain_interruption(error)),
            }
            let read = load_cases(log, slice::from_ref(number)).await?;
            history = Cow::Owned(read.into_iter().next().unwrap_or_else(|| prisoner::History::new(number.clone())));
            if departure.leaving.is_recorded(&history, &terms.prison) {
                return Ok(DifferenceOutcome::RecordedBefore);
            }
        }
        Ok(DifferenceOutcome::Refused(refuse_contended(&Stream::Prisoner(number.clone())).sentence))
    }
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
    for history in load_cases(log, &ever_here).await? {
        if is_at(&history, prison) {
            held_here.insert(history.number().clone(), history);
        }
    }
    Ok(held_here)
}
