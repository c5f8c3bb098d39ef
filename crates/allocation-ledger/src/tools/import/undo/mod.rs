//! `import undo`: takes back what one run of an import recorded.
//!
//! Nothing is deleted. Entries of cases are voided, last first, as far as nothing later depends on
//! them: the rules decide that. The entries of one command are one decision, and are voided
//! together or kept together. Where the policy of rule 7 has ended a role that they gave, its entry
//! is voided with them: voided alone, it would come back. A prison's entries cannot be voided. A
//! POM whom the run put on the roster, and whom no entry of a case names any more, becomes
//! `INACTIVE`; the go-live date stays. A row whose entries were voided can be imported again.
//!
//! Other writers go on meanwhile. Each void is decided on all that the case has when it is
//! appended, and each status on all that the prison has, and on all that the log has of the POM's
//! cases a moment before. So the undo of a case comes before or after another command on it, and
//! never between two events of it.
//!
//! An undo that was interrupted goes on when it is repeated, and its report is that of an undo that
//! was not: the ids of its commands tell which voids are its own.

mod cases;
mod given_roles;
mod poms;
mod report;
mod run_records;

use std::collections::{BTreeMap, BTreeSet};

use access_log::Shown;
use anyhow::{Context as _, bail};
use clap::Args;
use command::{Clock, CommandError, Outcome, Request, Service, ServiceSettings};
use domain::{
    Command, Confinement,
    event::RecordedBy,
    identifier::{CommandId, PrisonCode, PrisonerNumber},
    prison,
    prisoner::{self, RecommendationPolicy},
    text::Visible,
};
use event_log::{
    LogError, SharedLog,
    history::{read_case, read_cases, read_prison},
    request_digest,
};
use uuid::Uuid;

use self::{report::UndoReport, run_records::RunRecords};
use crate::{
    shared_settings, stdout,
    stores::LogStore,
    tools::{import::local_import::tell_wait, read_recording::record_read},
};

/// The namespace of the command ids of an undo. It must never change: an undo that was interrupted
/// goes on by it.
const NAMESPACE: Uuid = Uuid::from_u128(0x53c1_6e0b_2f7d_4c19_8a3e_b54d_90f2_6a17);

/// Most decisions on one command of the run or on one POM: each but the first comes after another
/// writer's change.
const DECISIONS_MAX: usize = 12;

/// The settings of `import undo`.
#[derive(Debug, Args)]
pub struct UndoSettings {
    /// The run, as the import names it on standard error, and `history` with each entry
    run: Uuid,
    /// Show what would be undone, and record nothing
    #[arg(long)]
    dry_run: bool,
    /// Report as JSON lines, one for each entry, POM, go-live date and contact
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    stores: shared_settings::StoreSettings,
    #[command(flatten)]
    recorder: shared_settings::RecorderSettings,
}

/// Undoes the run and reports.
///
/// # Errors
/// There is no such run, it is one of `import nomis-contacts`, or the ledger cannot be reached.
pub async fn run(settings: &UndoSettings) -> anyhow::Result<()> {
    let undo = async |store: &LogStore| {
        // First: a mistake in --views must not lose the report of what was voided.
        let access_log = store.access_log(&settings.stores)?;
        let report = undo(settings, store).await?;
        record_read(access_log.as_ref(), "import undo", Shown::prisoners(report.numbers())).await;
        Ok(report)
    };
    let report = if settings.dry_run {
        LogStore::with_existing(&settings.stores.log, undo).await?
    } else {
        LogStore::with_existing_to_write(&settings.stores.log, undo).await?
    };
    let mut out = stdout::lock();
    if settings.json {
        stdout::ignore_broken_pipe(report.write_json(&mut out))?;
    }
    match report.refusal() {
        Some(refusal) => bail!(refusal),
        None if settings.json => eprintln!("{}", Visible(&report.summary())),
        None => stdout::ignore_broken_pipe(report.write_text(&mut out))?,
    }
    Ok(())
}

async fn undo(settings: &UndoSettings, store: &LogStore) -> anyhow::Result<UndoReport> {
    let mut records = RunRecords::new(settings.run);
    records.read_on(&store.log).await?;
    let Some(provenance) = records.provenance.clone() else {
        bail!(
            "no event is of run {}: is it the run that the import named on standard error, or that `history` of a case \
             shows?",
            settings.run
        );
    };
    let mut report = UndoReport::new(settings.run, provenance, settings.dry_run);
    if records.is_of_contacts() {
        report.contacts = records.contacts;
        return Ok(report);
    }
    let _turns = if settings.dry_run {
        None
    } else {
        let turns = store.import_turns().take_all(&records.prisons, tell_wait).await?;
        // The run itself may have gone on until its turn ended.
        records.read_on(&store.log).await?;
        turns
    };
    // Before the first void: an undo must not end half-way because a prison cannot be read.
    let prisons = read_prisons(&store.log, &records.rosters).await?;
    let clock = Clock::system();
    let service_settings =
        ServiceSettings { clock: clock.clone(), recommendation_policy: RecommendationPolicy::default() };
    let undo = RunUndo {
        log: &store.log,
        service: Service::new(store.log.clone(), service_settings),
        clock,
        run: settings.run,
        recorded_by: settings.recorder.recorded_by(super::CLIENT),
        dry_run: settings.dry_run,
    };
    let interrupted = "the undo was interrupted: run the same command again, and it goes on where it ended";
    undo.record(records, prisons, &mut report).await.context(interrupted)?;
    Ok(report)
}

/// The undoing of a run.
struct RunUndo<'a> {
    log: &'a SharedLog,
    service: Service,
    clock: Clock,
    run: Uuid,
    recorded_by: RecordedBy,
    dry_run: bool,
}

impl RunUndo<'_> {
    /// Voids entries, makes POMs inactive, and notes the outcomes in the report.
    async fn record(
        &self,
        records: RunRecords,
        prisons: BTreeMap<PrisonCode, Readable<prison::History>>,
        report: &mut UndoReport,
    ) -> anyhow::Result<()> {
        let progress = super::progress_bar("voiding", records.cases.len() as u64);
        let entries = self.void_entries(&records.cases, &progress).await;
        progress.finish_and_clear();
        report.entries = entries?;
        let mut readable = BTreeMap::new();
        for (code, prison) in prisons {
            match prison {
                Ok(history) => drop(readable.insert(code, history)),
                Err(damage) => drop(report.damaged_prisons.insert(code, damage)),
            }
        }
        let joined =
            |code: &PrisonCode| Some((code.clone(), readable.get(code)?.roster().joined.as_ref()?.go_live_date));
        report.go_live_dates = records.joined.iter().filter_map(joined).collect();
        report.poms = self.deactivate_poms(&records.poms, &mut readable, &report.entries).await?;
        report.contacts = records.contacts;
        Ok(())
    }

    /// Sends a command of this undo, with an id that is made of this content.
    async fn send(
        &self,
        command: Command,
        content: &serde_json::Value,
        if_match: Option<u64>,
    ) -> Result<Outcome, CommandError> {
        let request = Request {
            request_digest: request_digest("import-undo", &self.run.to_string(), content).into(),
            command,
            command_id: command_id(content),
            recorded_by: self.recorded_by.clone(),
            correlation_id: self.run,
            causation_id: None,
            provenance: None,
            effective_at: None,
            if_match,
            confinement: Confinement::default(),
        };
        self.service.execute(request).await
    }
}

fn command_id(content: &serde_json::Value) -> CommandId {
    CommandId::of_content(NAMESPACE, &content.to_string())
}

/// The sentence of a command that recorded nothing. Only a store that is out of reach ends the
/// undo.
fn explain_kept(error: CommandError) -> anyhow::Result<String> {
    match error {
        CommandError::Refused(refusal) => Ok(refusal.sentence),
        error @ CommandError::Unavailable(_) => Err(error.into()),
        error @ (CommandError::RevisionMismatch { .. }
        | CommandError::KeyReused { .. }
        | CommandError::Contended { .. }
        | CommandError::NotCaughtUp
        | CommandError::Broken(_)) => {
            Ok(format!("It could not be recorded ({:#}). Undo the run again.", anyhow::Error::new(error)))
        }
    }
}

/// A history, or the sentence that it cannot be read.
type Readable<H> = Result<H, String>;

/// Takes damage for a sentence. Any other error is one of the store.
fn readable<H>(name: &str, read: Result<H, LogError>) -> anyhow::Result<Readable<H>> {
    match read {
        Ok(history) => Ok(Ok(history)),
        Err(damage @ LogError::Damaged { .. }) => Ok(Err(format!(
            "The entries of {name} cannot be read ({damage}). Have an operator look at the log, and undo the run again."
        ))),
        Err(error @ LogError::Unavailable(_)) => Err(error).with_context(|| format!("read the entries of {name}")),
    }
}

/// Reads cases in the order asked. Damage in one keeps no other from being read.
async fn read_readable_cases(
    log: &SharedLog,
    numbers: &[PrisonerNumber],
) -> anyhow::Result<Vec<(PrisonerNumber, Readable<prisoner::History>)>> {
    if let Ok(histories) = read_cases(&**log, numbers, None).await {
        return Ok(histories.into_iter().map(|history| (history.number().clone(), Ok(history))).collect());
    }
    let mut cases = Vec::with_capacity(numbers.len());
    for number in numbers {
        cases.push((number.clone(), read_readable_case(log, number).await?));
    }
    Ok(cases)
}

async fn read_readable_case(log: &SharedLog, number: &PrisonerNumber) -> anyhow::Result<Readable<prisoner::History>> {
    readable(number.as_str(), read_case(&**log, number.clone(), None).await)
}

async fn read_readable_prison(log: &SharedLog, code: &PrisonCode) -> anyhow::Result<Readable<prison::History>> {
    readable(code.as_str(), read_prison(&**log, code.clone(), None).await)
}

async fn read_prisons(
    log: &SharedLog,
    codes: &BTreeSet<PrisonCode>,
) -> anyhow::Result<BTreeMap<PrisonCode, Readable<prison::History>>> {
    let mut prisons = BTreeMap::new();
    for code in codes {
        prisons.insert(code.clone(), read_readable_prison(log, code).await?);
    }
    Ok(prisons)
}
