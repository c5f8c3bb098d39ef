//! The ledger's side of an import: what it holds, and sending commands to it.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Once,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::Context as _;
use command::{CommandError, Outcome, Request, Service};
use domain::{
    Command, Confinement, Refusal, Rule, Stream,
    event::RecordedBy,
    identifier::{PrisonCode, PrisonerNumber},
    nomis_contacts, prison, prisoner,
};
use event_log::{
    SharedLog,
    history::{read_cases, read_contacts, read_prison},
};
use futures::{StreamExt as _, stream};
use spreadsheets::{
    plan::{HeldHistories, ImportPlan, PlannedCommand, PlannedRow, Verdict},
    row::RowProblem,
};
use uuid::Uuid;

use crate::source::ImportSource;

/// Streams in one read of the log; bounds the memory that a read takes.
pub const LOAD_STREAMS_MAX: usize = 256;

/// Cases recorded side by side. The log carries many appends in one commit, so this is what makes
/// an import fast; a case's own commands wait for one another. With more of them, neither kind of
/// event store was seen to get faster by much.
pub const CASES_AT_ONCE: usize = 256;

/// How often a file, or a departure, is planned while others keep recording what refuses a part of
/// the plan.
pub const PLANS_MAX: usize = 8;

/// Loads a prison.
///
/// # Errors
/// The log cannot be read.
pub async fn load_prison(log: &SharedLog, code: &PrisonCode) -> anyhow::Result<prison::History> {
    read_prison(&**log, code.clone(), None).await.context("read the prison's stream")
}

/// Loads cases, by reads of a bounded size.
///
/// # Errors
/// The log cannot be read.
pub async fn load_cases(log: &SharedLog, numbers: &[PrisonerNumber]) -> anyhow::Result<Vec<prisoner::History>> {
    let mut cases = Vec::with_capacity(numbers.len());
    for numbers in numbers.chunks(LOAD_STREAMS_MAX) {
        cases.extend(read_cases(&**log, numbers, None).await.context("read the cases' streams")?);
    }
    Ok(cases)
}

/// Loads the contacts in NOMIS of persons, by reads of a bounded size.
///
/// # Errors
/// The log cannot be read.
pub async fn load_contacts(
    log: &SharedLog,
    numbers: &BTreeSet<PrisonerNumber>,
) -> anyhow::Result<Vec<nomis_contacts::History>> {
    let numbers: Vec<PrisonerNumber> = numbers.iter().cloned().collect();
    let mut histories = Vec::with_capacity(numbers.len());
    for numbers in numbers.chunks(LOAD_STREAMS_MAX) {
        histories.extend(read_contacts(&**log, numbers, None).await.context("read the contacts' streams")?);
    }
    Ok(histories)
}

/// Loads a prison and cases, and the numbers that the cases go on under where they were merged.
///
/// # Errors
/// The log cannot be read.
pub async fn load(log: &SharedLog, code: &PrisonCode, numbers: &[PrisonerNumber]) -> anyhow::Result<HeldHistories> {
    let mut cases: HashMap<PrisonerNumber, prisoner::History> = HashMap::with_capacity(numbers.len());
    let mut unread: Vec<PrisonerNumber> = numbers.to_vec();
    while !unread.is_empty() {
        let histories = load_cases(log, &unread).await?;
        cases.extend(histories.into_iter().map(|history| (history.number().clone(), history)));
        let survivors = cases.values().filter_map(|case| Some(case.retirement()?.1));
        let unread_survivors: BTreeSet<_> =
            survivors.filter(|survivor| !cases.contains_key(*survivor)).cloned().collect();
        unread = unread_survivors.into_iter().collect();
    }
    Ok(HeldHistories { prison: load_prison(log, code).await?, cases })
}

/// Follows an import while it records.
pub trait ImportObserver: Sync {
    /// The run is about to record its first event.
    fn begin(&self, run: Uuid);
    /// So many further rows are to be recorded.
    fn add_due(&self, rows: u64);
    /// A row is recorded.
    fn row_recorded(&self, row: u32);
    /// Whether the import is to end before its next command.
    fn is_cancelled(&self) -> bool {
        false
    }
}

/// The import ended before its last row because it was cancelled. Rows recorded until then stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the import was cancelled")]
pub struct ImportCancelled;

/// Sends commands as one import.
pub struct ImportRecorder<'a> {
    service: &'a Service,
    recorded_by: RecordedBy,
    confinement: Confinement,
    source: ImportSource,
    observer: &'a dyn ImportObserver,
    begun: Once,
}

impl<'a> ImportRecorder<'a> {
    /// A recorder of events by this user and client; the events name the file and the run of
    /// `source`. The run ties together everything that it brought in: nothing that is computed from
    /// the file may, for the file has the numbers of other cases.
    #[must_use]
    pub fn new(
        service: &'a Service,
        recorded_by: RecordedBy,
        source: ImportSource,
        observer: &'a dyn ImportObserver,
    ) -> Self {
        Self { service, recorded_by, confinement: Confinement::default(), source, observer, begun: Once::new() }
    }

    /// The recorder for a caller that is confined to some prisons.
    #[must_use]
    pub fn confined_to(self, confinement: Confinement) -> Self {
        Self { confinement, ..self }
    }

    /// Tells the observer of the run, once: before the first command, so that a run that is
    /// interrupted can be undone.
    pub fn announce_run(&self) {
        self.begun.call_once(|| self.observer.begin(self.source.run()));
    }

    /// Sends one command, of a row where one is given.
    ///
    /// # Errors
    /// Those of the command side.
    pub async fn send(&self, step: PlannedCommand, row: Option<u32>) -> Result<Outcome, CommandError> {
        let request = Request {
            command: step.command,
            command_id: step.command_id,
            request_digest: step.request_digest.into(),
            recorded_by: self.recorded_by.clone(),
            correlation_id: self.source.run(),
            causation_id: None,
            provenance: Some(self.source.provenance(row)),
            effective_at: Some(step.effective_at),
            if_match: step.if_match,
            confinement: self.confinement.clone(),
        };
        self.service.execute(request).await
    }

    /// Records a file: plans it on what the ledger holds, and sends the commands. Where a rule
    /// refuses one, or a case has changed, others have recorded since the plan. The file is planned
    /// again then, so that it ends as if the import had begun after them. Answers the plan as it
    /// went.
    ///
    /// # Errors
    /// The store is out of reach or damaged, or the import was cancelled ([`ImportCancelled`]).
    /// Events recorded until then stay recorded, and the next run of the import knows them.
    pub async fn record<F: Future<Output = anyhow::Result<ImportPlan>> + Send>(
        &self,
        plan: impl Fn() -> F + Send + Sync,
    ) -> anyhow::Result<ImportPlan> {
        let mut recorded = self.record_plan(plan().await?).await?;
        let mut plans_left = PLANS_MAX - 1;
        while recorded.is_overtaken && plans_left > 0 {
            plans_left -= 1;
            recorded = recorded.merge_later(self.record_plan(plan().await?).await?);
        }
        Ok(recorded.plan)
    }

    /// Sends the commands of a plan: first those of the prison, then those of the rows.
    async fn record_plan(&self, mut plan: ImportPlan) -> anyhow::Result<RecordedPlan> {
        let is_new = |row: &&PlannedRow| matches!(row.verdict, Verdict::Record(_));
        let due = plan.rows.iter().filter(is_new).count();
        if due > 0 {
            self.announce_run();
        }
        self.observer.add_due(due as u64);
        for (sent, step) in plan.prison_steps.iter().enumerate() {
            if self.observer.is_cancelled() {
                return Err(ImportCancelled.into());
            }
            match self.send(step.clone(), None).await {
                Ok(_) => {}
                Err(CommandError::Refused(refusal)) => {
                    // The first step is the move onto OMiC, where there is one.
                    plan.joined = plan.joined.filter(|_| sent > 0);
                    let sent = &plan.prison_steps[..sent];
                    let count = |is_kind: fn(&prison::Command) -> bool| {
                        let commands = sent.iter().filter_map(|step| match &step.command {
                            Command::Prison(_, command) => Some(command),
                            Command::Prisoner(..) | Command::Contacts(..) => None,
                        });
                        commands.filter(|command| is_kind(command)).count()
                    };
                    plan.registered.truncate(count(|command| matches!(command, prison::Command::RegisterPom(_))));
                    plan.reactivated.truncate(count(|command| matches!(command, prison::Command::ChangePomStatus(_))));
                    let problem = RowProblem::from(refusal);
                    for row in plan.rows.iter_mut().filter(|row| is_new(&&**row)) {
                        row.verdict = Verdict::Refused(problem.clone());
                    }
                    return Ok(RecordedPlan { plan, is_overtaken: true });
                }
                Err(error) => return Err(explain_interruption(error)),
            }
        }
        // A row that is being sent when another fails comes to its own end, and counts.
        let is_ending = AtomicBool::new(false);
        let ends: Vec<RowEnd> =
            stream::iter(plan.rows).map(|row| self.record_row(row, &is_ending)).buffered(CASES_AT_ONCE).collect().await;
        let (mut rows, mut is_overtaken, mut is_whole) = (Vec::with_capacity(ends.len()), false, true);
        for end in ends {
            match end {
                RowEnd::Dealt(row) => rows.push(*row),
                RowEnd::Overtaken(row) => {
                    is_overtaken = true;
                    rows.push(*row);
                }
                RowEnd::Failed(error) => return Err(explain_interruption(error)),
                RowEnd::NotSent => is_whole = false,
            }
        }
        if !is_whole {
            return Err(ImportCancelled.into());
        }
        plan.rows = rows;
        Ok(RecordedPlan { plan, is_overtaken })
    }

    /// Sends the command of a row that has one, unless the import is ending.
    async fn record_row(&self, mut row: PlannedRow, is_ending: &AtomicBool) -> RowEnd {
        let Verdict::Record(step) = &row.verdict else { return RowEnd::Dealt(Box::new(row)) };
        if is_ending.load(Ordering::Relaxed) || self.observer.is_cancelled() {
            return RowEnd::NotSent;
        }
        match self.send((**step).clone(), Some(row.row.number)).await {
            Ok(outcome) if outcome.is_repeated() => row.verdict = Verdict::AlreadyRecorded,
            Ok(_) => self.observer.row_recorded(row.row.number),
            Err(CommandError::Refused(refusal)) => {
                row.verdict = Verdict::Refused(refusal.into());
                return RowEnd::Overtaken(Box::new(row));
            }
            Err(CommandError::RevisionMismatch { stream, .. }) => {
                row.verdict = Verdict::Refused(refuse_contended(&stream).into());
                return RowEnd::Overtaken(Box::new(row));
            }
            Err(error) => {
                is_ending.store(true, Ordering::Relaxed);
                return RowEnd::Failed(error);
            }
        }
        RowEnd::Dealt(Box::new(row))
    }
}

/// The end of a row.
enum RowEnd {
    /// It is as the plan says, or was recorded before.
    Dealt(Box<PlannedRow>),
    /// Another writer has made it illegal, or has changed the case that it was planned on.
    Overtaken(Box<PlannedRow>),
    /// The command side could not say.
    Failed(CommandError),
    /// The import ended before it.
    NotSent,
}

/// A plan as it went.
struct RecordedPlan {
    plan: ImportPlan,
    /// Whether others have recorded something since the plan that refuses a part of it.
    is_overtaken: bool,
}

impl RecordedPlan {
    /// The outcomes of both plans of one file: those recorded by either, and else the later ones.
    fn merge_later(self, later: Self) -> Self {
        let Self { plan: before, .. } = self;
        let Self { mut plan, is_overtaken } = later;
        plan.joined = before.joined.or(plan.joined);
        plan.registered = before.registered.into_iter().chain(plan.registered).collect();
        plan.reactivated = before.reactivated.into_iter().chain(plan.reactivated).collect();
        for (row, earlier) in plan.rows.iter_mut().zip(before.rows) {
            if matches!(earlier.verdict, Verdict::Record(_)) {
                *row = earlier;
            }
        }
        Self { plan, is_overtaken }
    }
}

/// The refusal of a change of a case that others changed each time that it was planned.
#[must_use]
pub fn refuse_contended(stream: &Stream) -> Refusal {
    Refusal::new(
        Rule::LaterEntryConflict,
        format!("{stream} is being changed by others, and this change was not recorded: run the same command again."),
    )
}

/// An import that could not go on, and what to do.
#[must_use]
pub fn explain_interruption(error: CommandError) -> anyhow::Error {
    anyhow::Error::new(error).context(
        "the import was interrupted: run the same command again, what is recorded already is not recorded twice",
    )
}
