//! A spreadsheet that a caller has uploaded: its state, and what is known of its rows.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use chrono::{DateTime, NaiveDate, Utc};
use domain::{
    Confinement,
    event::RecordedBy,
    identifier::{CommandId, PrisonCode},
    prison::Estate,
};
use event_log::lock;
use http_api::{QuotaShare, RequestClient};
use serde::Serialize;
use spreadsheets::{plan::ImportPlan, reader::ReadStop};
use tokio::sync::watch;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    record::ImportObserver,
    row_line::RowOutcome,
    sheet::{CaseSheet, SheetChoices},
    source::ImportSource,
};

/// How long an upload is kept after it was last asked for: long enough to look at a dry run with a
/// colleague. It has the rows of a prison, which must not lie about for a day.
pub const KEPT_FOR: Duration = Duration::from_hours(1);

/// The state of an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ImportState {
    /// The file is being read.
    Reading,
    /// The file is read, and nothing is recorded yet.
    Read,
    /// Its rows are being recorded.
    Recording,
    /// Every row was dealt with.
    Done,
    /// The file could not be read, or the recording could not go on.
    Failed,
    /// The recording was cancelled. The rows recorded until then stay.
    Cancelled,
}

/// The choices that a caller sends with a file.
#[derive(Debug, Clone)]
pub struct ImportChoices {
    /// How the file is read.
    pub sheet: SheetChoices,
    /// The prison's estate, for the case that it must join OMiC.
    pub estate: Estate,
    /// The prison's go-live date, for the same case.
    pub go_live: Option<NaiveDate>,
    /// Whether the prison may be one that the program's list of prisons lacks.
    pub unlisted_prison: bool,
    /// Whether the rows are recorded as soon as they are read.
    pub records_at_once: bool,
}

/// The caller that records, or would.
#[derive(Debug, Clone)]
pub struct ImportCaller {
    /// The user and the client, as events name them.
    pub recorded_by: RecordedBy,
    /// The prisons that it is confined to.
    pub confinement: Confinement,
}

/// An upload.
#[derive(Debug)]
pub struct Upload {
    /// Its id.
    pub id: Uuid,
    /// The prison whose cases it has.
    pub prison: PrisonCode,
    /// The name of the file, as events name it.
    pub file_name: String,
    /// When it came.
    pub uploaded_at: DateTime<Utc>,
    /// The caller that uploaded it.
    pub uploaded_by: RecordedBy,
    /// The prisons that the caller is confined to: the plan tells of no others.
    confinement: Confinement,
    /// The caller's choices.
    pub choices: ImportChoices,
    /// Ends the reading.
    pub stop: ReadStop,
    pub(crate) client: RequestClient,
    pub(crate) key: Mutex<Option<CommandId>>,
    /// Set once nothing may be recorded of it any more.
    is_forgotten: AtomicBool,
    last_used: Mutex<Instant>,
    stage: Mutex<Stage>,
    place: Mutex<Option<QuotaShare>>,
}

/// The state of an upload, with what is known in it.
#[derive(Debug, Clone)]
pub struct Stage {
    /// The state.
    pub state: ImportState,
    /// The rows, once they are read.
    pub read: Option<ReadUpload>,
    /// The recording that runs, or the last one.
    pub run: Option<Arc<RecordingRun>>,
    /// Why it failed, or how it was cancelled, in sentences.
    pub detail: Option<String>,
}

/// A file that was read, and its plan.
#[derive(Debug, Clone)]
pub struct ReadUpload {
    /// The sheet.
    pub sheet: Arc<CaseSheet>,
    /// The plan: made when the file was read or, once its rows are recorded, as it went.
    pub plan: Arc<ImportPlan>,
    /// The file and the run, which the events name.
    pub source: ImportSource,
    pub(crate) _cells: Arc<QuotaShare>,
}

impl Upload {
    /// An upload whose file is about to be read.
    pub(crate) fn new(
        prison: PrisonCode,
        file_name: String,
        uploaded_at: DateTime<Utc>,
        caller: &ImportCaller,
        choices: ImportChoices,
        client: RequestClient,
        place: QuotaShare,
    ) -> Self {
        Self {
            id: Uuid::new_v4(),
            prison,
            file_name,
            uploaded_at,
            uploaded_by: caller.recorded_by.clone(),
            confinement: caller.confinement.clone(),
            choices,
            stop: ReadStop::default(),
            client,
            key: Mutex::default(),
            is_forgotten: AtomicBool::new(false),
            last_used: Mutex::new(Instant::now()),
            stage: Mutex::new(Stage { state: ImportState::Reading, read: None, run: None, detail: None }),
            place: Mutex::new(Some(place)),
        }
    }

    /// The state now.
    #[must_use]
    pub fn stage(&self) -> Stage {
        lock(&self.stage).clone()
    }

    /// Changes the state, as one step.
    pub(crate) fn change_stage<T>(&self, change: impl FnOnce(&mut Stage) -> T) -> T {
        change(&mut lock(&self.stage))
    }

    /// Notes that it was asked for.
    pub(crate) fn touch(&self) {
        *lock(&self.last_used) = Instant::now();
    }

    /// How long nothing has asked for it.
    pub(crate) fn idle_for(&self) -> Duration {
        lock(&self.last_used).elapsed()
    }

    /// Whether a task works on it.
    pub(crate) fn is_at_work(&self) -> bool {
        matches!(lock(&self.stage).state, ImportState::Reading | ImportState::Recording)
    }

    /// Gives its place back, once it is forgotten: an answer that is being made may hold it longer.
    pub(crate) fn give_back_place(&self) {
        lock(&self.place).take();
    }

    /// Ends what works on it, unless it is being recorded: no recording begins any more. Answers
    /// whether it is not.
    pub(crate) fn forget(&self) -> bool {
        self.stop.stop();
        self.change_stage(|stage| {
            let is_recording = stage.state == ImportState::Recording;
            if !is_recording {
                self.is_forgotten.store(true, Ordering::Relaxed);
            }
            !is_recording
        })
    }

    /// Whether a reader who is confined so may see what it tells: it was planned for its uploader.
    pub(crate) fn is_shown_to(&self, reader: &Confinement) -> bool {
        match (self.confinement.prisons(), reader.prisons()) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(told), Some(own)) => told.is_subset(own),
        }
    }

    /// Whether it was recorded with this key.
    pub(crate) fn has_key(&self, key: CommandId) -> bool {
        *lock(&self.key) == Some(key)
    }

    /// Whether it is forgotten.
    pub(crate) fn is_forgotten(&self) -> bool {
        self.is_forgotten.load(Ordering::Relaxed)
    }

    /// Ends what works on it.
    pub(crate) fn cancel(&self) {
        self.stop.stop();
        if let Some(run) = &lock(&self.stage).run {
            run.cancel();
        }
    }
}

impl Stage {
    /// The outcome of a row that the plan records.
    #[must_use]
    pub fn outcome_if_due(&self, row: u32) -> RowOutcome {
        let is_recorded = self.state == ImportState::Done || self.run.as_ref().is_some_and(|run| run.has_recorded(row));
        if is_recorded { RowOutcome::Recorded } else { RowOutcome::WouldRecord }
    }
}

/// A recording while it runs.
#[derive(Debug, Default)]
pub struct RecordingRun {
    due: AtomicU64,
    recorded: Mutex<BTreeSet<u32>>,
    /// Rows that an earlier recording of the same upload has recorded.
    recorded_before: BTreeSet<u32>,
    is_cancelled: watch::Sender<bool>,
}

impl RecordingRun {
    /// A recording that goes on where an earlier one ended.
    pub(crate) fn after(earlier: Option<&Self>) -> Self {
        let recorded = |run: &Self| run.recorded_before.union(&lock(&run.recorded)).copied().collect();
        Self { recorded_before: earlier.map(recorded).unwrap_or_default(), ..Self::default() }
    }

    /// Waits until it is cancelled.
    pub(crate) async fn cancelled(&self) {
        // The sender is this run's own.
        let _ = self.is_cancelled.subscribe().wait_for(|is_cancelled| *is_cancelled).await;
    }

    /// How many rows are to be recorded.
    #[must_use]
    pub fn due(&self) -> u64 {
        self.due.load(Ordering::Relaxed)
    }

    /// How many rows are recorded.
    #[must_use]
    pub fn recorded(&self) -> usize {
        lock(&self.recorded).len()
    }

    fn has_recorded(&self, row: u32) -> bool {
        self.recorded_before.contains(&row) || lock(&self.recorded).contains(&row)
    }

    fn cancel(&self) {
        self.is_cancelled.send_replace(true);
    }
}

impl ImportObserver for RecordingRun {
    fn begin(&self, _: Uuid) {}

    fn add_due(&self, rows: u64) {
        self.due.fetch_add(rows, Ordering::Relaxed);
    }

    fn row_recorded(&self, row: u32) {
        lock(&self.recorded).insert(row);
    }

    fn is_cancelled(&self) -> bool {
        *self.is_cancelled.borrow()
    }
}
