//! The uploads of a command service: bounded in number and in size, and forgotten after a while.
//!
//! They are in the memory of the process alone; a file is removed once it is read. A restart
//! forgets them, and nothing is lost: the same file, uploaded again, goes on where the recording
//! ended, because the ids of its commands come from its rows.

use std::{
    collections::HashMap,
    fs::File,
    mem,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use access_log::AccessLog;
use anyhow::{Context as _, anyhow};
use chrono::NaiveDate;
use command::{Clock, CommandError, Service, ServiceSettings};
use domain::{
    Confinement,
    identifier::{CommandId, PrisonCode},
    london, prison,
};
use event_log::{LogError, SharedLog, error_chain, lock};
use http_api::{ClientQuota, Problem, ProblemCode, QuotaExceeded, QuotaShare, RequestClient, problem::Fault};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};
use spreadsheets::{
    plan::{ImportPlan, ImportTerms},
    reader,
    row::CaseTable,
};
use tokio::{
    sync::Semaphore,
    task::{JoinSet, spawn_blocking},
    time::interval,
};
use uuid::Uuid;

use crate::{
    http_words::in_words_of_http,
    record::{ImportCancelled, load_prison},
    sheet::FoundCases,
    sheet_import::{GoLiveConflict, SheetImport, check_go_live, is_prison_known},
    source::ImportSource,
    turn::ImportTurns,
    upload::{ImportCaller, ImportChoices, ImportState, KEPT_FOR, ReadUpload, RecordingRun, Stage, Upload},
};

/// Most uploads that are kept at a time. A file that is not read yet takes up to 64 MiB of disk.
const HELD_MAX: usize = 16;

/// Most of them of one client. A further one takes the place of the client's oldest that nothing
/// works on.
const HELD_BY_CLIENT_MAX: usize = 4;

/// Most filled cells of all uploads that are kept, some 150 bytes each with what was read in them:
/// two of the largest files that can be read, or some hundred of a prison's own.
const CELLS_MAX: usize = 2_000_000;

/// Most cells of one client: the largest file that can be read has as many.
const CELLS_BY_CLIENT_MAX: usize = 1_000_000;

/// Files read side by side, each by a process that may take 192 MiB.
const READ_AT_ONCE: usize = 2;

/// How often those that nobody asks for are forgotten.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);

/// How long a client should wait where there is no room.
const FULL_WAIT: Duration = Duration::from_secs(60);

/// The file in sentences.
const SHOWN: &str = "the file";

/// The sentence about a recording that ended before its last row.
const GOES_ON: &str = "The rows that say so are recorded; one that was being recorded at that moment may be, too. \
                       Record it again: it goes on where it ended, and nothing is recorded twice.";

/// The imports of a command service; clones share them.
#[derive(Clone)]
pub struct Imports(Arc<SharedImports>);

struct SharedImports {
    service: Service,
    log: SharedLog,
    settings: ServiceSettings,
    turns: ImportTurns,
    access_log: Option<AccessLog>,
    held: Mutex<HashMap<Uuid, Arc<Upload>>>,
    places: Arc<ClientQuota>,
    cells: Arc<ClientQuota>,
    reading: Semaphore,
    tasks: Mutex<JoinSet<()>>,
    ended: Family<EndLabels, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EndLabels {
    outcome: &'static str,
}

impl Imports {
    /// No uploads yet. Reads are recorded in the access log; `None` where there is none, and then
    /// no upload is taken.
    #[must_use]
    pub fn new(
        service: Service,
        log: SharedLog,
        settings: ServiceSettings,
        turns: ImportTurns,
        access_log: Option<AccessLog>,
    ) -> Self {
        Self(Arc::new(SharedImports {
            service,
            log,
            settings,
            turns,
            access_log,
            held: Mutex::default(),
            places: ClientQuota::new(HELD_MAX, HELD_BY_CLIENT_MAX),
            cells: ClientQuota::new(CELLS_MAX, CELLS_BY_CLIENT_MAX),
            reading: Semaphore::new(READ_AT_ONCE),
            tasks: Mutex::default(),
            ended: Family::default(),
        }))
    }

    /// Adds the counts to a registry.
    pub fn register_metrics(&self, registry: &mut Registry) {
        let help = "Uploaded spreadsheets, by how their reading or their recording ended";
        registry.register("ledger_spreadsheets", help, self.0.ended.clone());
    }

    /// Forgets uploads that nothing has asked for in a while, until told to stop. Then it ends what
    /// works on the others, and waits for that.
    pub async fn keep(self, stopped: impl Future<Output = ()>) {
        let mut sweeps = interval(SWEEP_INTERVAL);
        let sweeping = async {
            loop {
                sweeps.tick().await;
                self.sweep();
            }
        };
        tokio::select! {
            () = stopped => {}
            () = sweeping => {}
        }
        lock(&self.0.held).values().for_each(|upload| {
            upload.forget();
            upload.cancel();
        });
        let mut tasks = mem::take(&mut *lock(&self.0.tasks));
        while tasks.join_next().await.is_some() {}
    }

    /// Where reads of what uploads show are recorded.
    pub(crate) fn access_log(&self) -> Option<&AccessLog> {
        self.0.access_log.as_ref()
    }

    /// The clock of the command side.
    pub(crate) fn clock(&self) -> &Clock {
        &self.0.settings.clock
    }

    fn sweep(&self) {
        lock(&self.0.held).retain(|_, upload| upload.is_at_work() || upload.idle_for() < KEPT_FOR);
        let mut tasks = lock(&self.0.tasks);
        while tasks.try_join_next().is_some() {}
    }

    /// Takes a place for an upload of a client.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn take_place(&self, client: &RequestClient) -> Result<QuotaShare, Problem> {
        self.sweep();
        let take = || self.0.places.take(Some(client), 1);
        let taken = take().or_else(|exceeded| {
            let mut held = lock(&self.0.held);
            let own = held.values().filter(|upload| upload.client == *client && !upload.is_at_work());
            let oldest = own.max_by_key(|upload| upload.idle_for()).map(|upload| upload.id);
            let forgotten = oldest.and_then(|id| held.remove(&id)).ok_or(exceeded)?;
            forgotten.give_back_place();
            take()
        });
        taken.map_err(|exceeded| refuse_full(exceeded, "spreadsheets at work here"))
    }

    /// Refuses a prison that neither the program's list nor the ledger has.
    ///
    /// # Errors
    /// `prison-unknown`, or the log cannot be read.
    pub(crate) async fn check_prison(&self, prison: &PrisonCode, choices: &ImportChoices) -> Result<(), Problem> {
        let is_known = is_prison_known(&self.0.log, prison, choices.unlisted_prison).await;
        match is_known {
            Ok(true) => Ok(()),
            Ok(false) => Err(Problem::new(
                ProblemCode::PrisonUnknown,
                format!(
                    "{} Where the code is right and the list is older than the prison, send `unlisted-prison=true`.",
                    prison.unlisted_sentence()
                ),
            )),
            Err(error) => Err(problem_of(&error)),
        }
    }

    /// An upload of a prison, for a reader who is confined so.
    ///
    /// # Errors
    /// `import-unknown`, also where it tells of prisons that are not the reader's.
    pub(crate) fn find(&self, prison: &PrisonCode, id: Uuid, reader: &Confinement) -> Result<Arc<Upload>, Problem> {
        self.sweep();
        let is_shown = |upload: &&Arc<Upload>| upload.prison == *prison && upload.is_shown_to(reader);
        let upload = lock(&self.0.held).get(&id).filter(is_shown).cloned();
        let upload = upload.ok_or_else(|| {
            Problem::not_found(ProblemCode::ImportUnknown, format!("No spreadsheet {id} is kept for {prison}."))
        })?;
        upload.touch();
        Ok(upload)
    }

    /// Forgets an upload that no task works on, or cancels the task. Answers whether it is
    /// forgotten: of one that is being recorded its state says what was.
    pub(crate) fn remove(&self, upload: &Upload) -> bool {
        let is_forgotten = upload.forget();
        upload.cancel();
        if is_forgotten {
            lock(&self.0.held).remove(&upload.id);
            upload.give_back_place();
        }
        is_forgotten
    }

    /// Keeps an upload, and begins to read it.
    pub(crate) fn begin(&self, upload: Upload, file: File, caller: ImportCaller) -> Arc<Upload> {
        let upload = Arc::new(upload);
        lock(&self.0.held).insert(upload.id, Arc::clone(&upload));
        let (imports, reading) = (self.clone(), Arc::clone(&upload));
        lock(&self.0.tasks).spawn(async move {
            let read = imports.read(&reading, file, &caller).await;
            let ended = match read {
                Ok(read) => {
                    reading.change_stage(|stage| {
                        (stage.state, stage.read) = (ImportState::Read, Some(read));
                    });
                    "read"
                }
                Err(error) => {
                    let detail = describe_failure(&error);
                    reading.change_stage(|stage| {
                        (stage.state, stage.detail) = (ImportState::Failed, Some(detail));
                    });
                    "unreadable"
                }
            };
            imports.count(ended);
            reading.touch();
            if ended == "read" && reading.choices.records_at_once && !reading.is_forgotten() {
                // Why it cannot begin is in the state.
                if let Err(problem) = imports.begin_recording(&reading, caller, None, None) {
                    reading.change_stage(|stage| {
                        (stage.state, stage.detail) = (ImportState::Failed, Some(problem.detail().to_owned()));
                    });
                }
            }
        });
        upload
    }

    async fn read(&self, upload: &Upload, file: File, caller: &ImportCaller) -> anyhow::Result<ReadUpload> {
        let Upload { choices, prison, .. } = upload;
        let today = london::date(self.clock().now());
        let turn = self.0.reading.acquire().await.context("wait for other files that are read")?;
        let (name, stop, sheet_choices) = (upload.file_name.clone(), upload.stop.clone(), choices.sheet.clone());
        let found = spawn_blocking(move || {
            let stem = Path::new(&name).file_stem().unwrap_or_default().to_string_lossy();
            let file = reader::read_opened(file, SHOWN, &stem, &stop)?;
            FoundCases::find(file, SHOWN, sheet_choices, today)
        });
        let found = found.await.context("read the file")??;
        drop(turn);
        let held = if found.needs_roster() { Some(load_prison(&self.0.log, prison).await?) } else { None };
        let read = spawn_blocking(move || found.read(SHOWN, held.as_ref().map(prison::History::roster)));
        let sheet = read.await.context("read the rows")??;
        let cells = sheet.sheet.rows.iter().map(|row| row.cells.len()).sum::<usize>();
        let cells = self.0.cells.take(Some(&upload.client), cells.max(1)).map_err(|exceeded| {
            let whose = match exceeded {
                QuotaExceeded::ByAll => "The uploaded spreadsheets of all callers",
                QuotaExceeded::ByClient => "Your uploaded spreadsheets",
            };
            anyhow!("{whose} take more room than there is. Delete one that is not needed, or wait an hour")
        })?;
        let source = ImportSource::of_new_run(&upload.file_name, &sheet.sheet)?;
        let import = self.import(upload, &sheet.table, source.clone(), caller.clone(), choices.go_live);
        let held = import.load(&self.0.log).await?;
        check_go_live(&held.prison, choices.go_live).map_err(|conflict| anyhow!(refuse_go_live(prison, conflict)))?;
        let plan = Arc::new(import.plan(held));
        Ok(ReadUpload { sheet: Arc::new(sheet), plan, source, _cells: Arc::new(cells) })
    }

    /// Begins to record what an upload's plan records. Answers whether it does: a recording that
    /// runs, or is done, is not begun again.
    ///
    /// # Errors
    /// The file is not read, the key is that of another upload, or the prison joins OMiC by it and
    /// no go-live date was given.
    pub(crate) fn begin_recording(
        &self,
        upload: &Arc<Upload>,
        caller: ImportCaller,
        key: Option<CommandId>,
        go_live: Option<NaiveDate>,
    ) -> Result<bool, Problem> {
        let go_live = go_live.or(upload.choices.go_live);
        // No other recording takes the key meanwhile.
        let held = lock(&self.0.held);
        check_key(&held, upload, key)?;
        let begun = upload.change_stage(|stage| {
            if upload.is_forgotten() {
                let detail = "It was deleted, or the service is stopping. Upload it again: nothing is recorded twice.";
                return Err(Problem::new(ProblemCode::ImportNotReady, detail));
            }
            if matches!(stage.state, ImportState::Recording | ImportState::Done) {
                return Ok(None);
            }
            let Some(read) = stage.read.clone() else {
                let detail = match stage.state {
                    ImportState::Failed => "The file could not be read: correct it, and upload it again.",
                    _ => "The file is still being read. Record it once its state is READ.",
                };
                return Err(Problem::new(ProblemCode::ImportNotReady, detail));
            };
            check_go_live_given(&upload.prison, &read, go_live)?;
            let run = Arc::new(RecordingRun::after(stage.run.as_deref()));
            let begun = Stage {
                state: ImportState::Recording,
                read: Some(read.clone()),
                run: Some(Arc::clone(&run)),
                detail: None,
            };
            *stage = begun;
            Ok(Some((read, run)))
        })?;
        let Some((read, run)) = begun else { return Ok(false) };
        *lock(&upload.key) = key;
        drop(held);
        let (imports, upload) = (self.clone(), Arc::clone(upload));
        lock(&self.0.tasks).spawn(async move {
            let recorded = imports.record(&upload, &read, caller, go_live, &run).await;
            let (state, plan, detail) = match recorded {
                Ok(plan) => (ImportState::Done, Arc::new(plan), None),
                Err(error) if error.is::<ImportCancelled>() => {
                    (ImportState::Cancelled, Arc::clone(&read.plan), Some(format!("It was cancelled. {GOES_ON}")))
                }
                Err(error) => {
                    let detail = format!("{} {GOES_ON}", describe_failure(&error));
                    (ImportState::Failed, Arc::clone(&read.plan), Some(detail))
                }
            };
            imports.count(match state {
                ImportState::Done => "done",
                ImportState::Cancelled => "cancelled",
                _ => "failed",
            });
            upload.touch();
            upload.change_stage(|stage| {
                (stage.state, stage.detail, stage.read) = (state, detail, Some(ReadUpload { plan, ..read }));
            });
        });
        Ok(true)
    }

    async fn record(
        &self,
        upload: &Upload,
        read: &ReadUpload,
        caller: ImportCaller,
        go_live: Option<NaiveDate>,
        run: &RecordingRun,
    ) -> anyhow::Result<ImportPlan> {
        let _turn = tokio::select! {
            turn = self.0.turns.take(&upload.prison, |_| ()) => turn?,
            () = run.cancelled() => return Err(ImportCancelled.into()),
        };
        let import = self.import(upload, &read.sheet.table, read.source.clone(), caller, go_live);
        let held = import.load(&self.0.log).await?;
        let joins = check_go_live(&held.prison, go_live);
        joins.map_err(|conflict| anyhow!(refuse_go_live(&upload.prison, conflict)))?;
        import.record(&self.0.log, Some(held), &import.recorder(&self.0.service, run)).await
    }

    fn import<'a>(
        &self,
        upload: &Upload,
        table: &'a CaseTable,
        source: ImportSource,
        caller: ImportCaller,
        go_live: Option<NaiveDate>,
    ) -> SheetImport<'a> {
        SheetImport {
            table,
            terms: ImportTerms {
                prison: upload.prison.clone(),
                estate: upload.choices.estate,
                go_live,
                unlisted_prison: upload.choices.unlisted_prison,
                changes_on: None,
                recommendation_policy: self.0.settings.recommendation_policy,
                now: self.clock().now(),
                recorded_by: caller.recorded_by,
            },
            commands: self.0.settings.clone(),
            source,
            confinement: caller.confinement,
        }
    }

    fn count(&self, outcome: &'static str) {
        self.0.ended.get_or_create(&EndLabels { outcome }).inc();
    }
}

/// Refuses the key of another upload.
fn check_key(held: &HashMap<Uuid, Arc<Upload>>, upload: &Upload, key: Option<CommandId>) -> Result<(), Problem> {
    let is_taken = |key: &CommandId| held.values().any(|other| other.id != upload.id && other.has_key(*key));
    if let Some(command_id) = key.filter(is_taken) {
        return Err(CommandError::KeyReused { command_id }.into());
    }
    Ok(())
}

/// Refuses to take a prison onto OMiC with a date that no caller gave.
fn check_go_live_given(prison: &PrisonCode, read: &ReadUpload, go_live: Option<NaiveDate>) -> Result<(), Problem> {
    let (None, Some(joined)) = (go_live, &read.plan.joined) else { return Ok(()) };
    let name = prison.listed_name().map(|name| format!(" ({name})")).unwrap_or_default();
    let detail = format!(
        "{prison}{name} is new to this ledger: send with `goLiveDate` since when it works by OMiC. Allocations before \
         that day are refused; the earliest date in the sheet is {}",
        joined.go_live_date
    );
    Err(Problem::fault(ProblemCode::FieldMissing, Fault::pointer("#/goLiveDate", detail)))
}

fn refuse_go_live(prison: &PrisonCode, GoLiveConflict { known, given }: GoLiveConflict) -> String {
    format!(
        "{prison} has the go-live date {known} already, and {given} was sent: leave the date out, or correct it first, \
         with `PUT /prisons/{prison}/go-live-date`"
    )
}

/// The refusal of an upload for which there is no place.
pub(crate) fn refuse_full(exceeded: QuotaExceeded, what: &str) -> Problem {
    match exceeded {
        QuotaExceeded::ByClient => Problem::new(
            ProblemCode::RateLimited,
            format!("You have as many {what} as one caller may. Wait until one has ended, or cancel it."),
        ),
        QuotaExceeded::ByAll => Problem::new(
            ProblemCode::Overloaded,
            format!("There are as many {what} as there may be. Please try again."),
        ),
    }
    .with_retry_after(FULL_WAIT)
}

/// A failure of the stores as a problem.
fn problem_of(error: &anyhow::Error) -> Problem {
    match error.downcast_ref::<LogError>() {
        Some(error) => error.into(),
        None => {
            tracing::error!(error = %error_chain(error.as_ref()), "an import failed");
            Problem::internal()
        }
    }
}

/// Why a file was not read, or a recording could not go on, in a sentence. Causes inside
/// the ledger are logged and not shown.
fn describe_failure(error: &anyhow::Error) -> String {
    let is_outage = matches!(error.downcast_ref(), Some(LogError::Unavailable(_)))
        || matches!(error.downcast_ref(), Some(CommandError::Unavailable(_)));
    let is_of_store = error.is::<LogError>() || error.is::<CommandError>() || error.is::<sqlx::Error>();
    if is_outage || error.is::<sqlx::Error>() {
        tracing::warn!(error = %error_chain(error.as_ref()), "the event store cannot be reached by an import");
        return "The event store cannot be reached.".to_owned();
    }
    if is_of_store {
        tracing::error!(error = %error_chain(error.as_ref()), "an import could not go on");
        return "There was a fault inside the ledger; its log has the cause.".to_owned();
    }
    let text = in_words_of_http(&format!("{error:#}"));
    format!("This cannot be imported: {}.", text.trim_end_matches('.'))
}
