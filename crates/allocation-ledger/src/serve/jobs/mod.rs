//! Rebuilds, verifications and exports of the views as jobs of a projector's service.
//!
//! One job is at work at a time, on a thread that may block. The last [`KEPT_MAX`] are kept in the
//! memory of the process: a restart ends the job at work, as Ctrl-C ends a command, and forgets all
//! of them. The work is that of the tools `projections rebuild`, `verify` and `export`.

mod document;
mod exported_file;
mod http;
mod request;
mod work;

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use access_log::AccessLog;
use chrono::{DateTime, Utc};
use command::Clock;
use domain::{event::RecordedBy, identifier::CommandId};
use event_log::{SharedLog, error_chain, lock};
use http_api::ClientQuota;
use sqlx::PgPool;
use tokio::{runtime::Handle, sync::watch};
use uuid::Uuid;

pub(super) use self::http::{openapi, router};

use self::{exported_file::ExportedFile, request::JobRequest, work::JobResult};
use super::shutdown::wait_for_flag;
use crate::progress::WorkProgress;

/// Jobs that are kept, the one at work included.
const KEPT_MAX: usize = 20;

/// How long the file of an export is kept.
const FILE_LIFE: Duration = Duration::from_secs(60 * 60);

/// Files that are taken at a time, and by one client. Each holds a piece of a file in memory.
const DOWNLOADS_MAX: (usize, usize) = (16, 2);

/// The jobs of a process; clones share everything.
#[derive(Clone)]
pub(super) struct Jobs(Arc<SharedJobs>);

struct SharedJobs {
    log: SharedLog,
    views: PgPool,
    access_log: AccessLog,
    kept: Mutex<VecDeque<Job>>,
    /// Whether one is at work.
    is_working: watch::Sender<bool>,
    downloads: Arc<ClientQuota>,
}

/// A job.
#[derive(Clone)]
struct Job {
    id: Uuid,
    /// The key of the request that began it.
    key: CommandId,
    request: JobRequest,
    requested_by: RecordedBy,
    begun_at: DateTime<Utc>,
    ended_at: Option<DateTime<Utc>>,
    state: JobState,
    progress: WorkProgress,
    /// The file of an export, while it is kept.
    file: Option<Arc<ExportedFile>>,
    /// Told to stop.
    cancel: watch::Sender<bool>,
}

/// The state of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
enum JobState {
    Running,
    Done(JobResult),
    Failed(String),
    Cancelled,
}

/// Why a job does not begin.
enum NotBegun {
    /// Another one is at work.
    Busy(Uuid),
    /// The key began another job.
    KeyReused(Uuid),
}

impl Jobs {
    /// No jobs yet.
    pub(super) fn new(log: SharedLog, views: PgPool, access_log: AccessLog) -> Self {
        let downloads = ClientQuota::new(DOWNLOADS_MAX.0, DOWNLOADS_MAX.1);
        let is_working = watch::channel(false).0;
        Self(Arc::new(SharedJobs { log, views, access_log, kept: Mutex::default(), is_working, downloads }))
    }

    /// Begins a job, or answers the one that the same request began before.
    fn begin(&self, key: CommandId, request: JobRequest, requested_by: RecordedBy) -> Result<Job, NotBegun> {
        let mut kept = lock(&self.0.kept);
        if let Some(earlier) = kept.iter().find(|job| job.key == key) {
            let is_same = earlier.request == request && earlier.requested_by == requested_by;
            return if is_same { Ok(earlier.clone()) } else { Err(NotBegun::KeyReused(earlier.id)) };
        }
        if let Some(working) = kept.iter().find(|job| job.state == JobState::Running) {
            return Err(NotBegun::Busy(working.id));
        }
        if matches!(request, JobRequest::Export(_)) {
            kept.iter_mut().for_each(|job| job.file = None);
        }
        let job = Job {
            id: Uuid::now_v7(),
            key,
            request,
            requested_by,
            begun_at: Clock::system().now(),
            ended_at: None,
            state: JobState::Running,
            progress: WorkProgress::BEGINNING,
            file: None,
            cancel: watch::channel(false).0,
        };
        kept.push_front(job.clone());
        kept.truncate(KEPT_MAX);
        self.0.is_working.send_replace(true);
        self.clone().start(&job);
        Ok(job)
    }

    /// Works on a job beside the requests.
    fn start(self, job: &Job) {
        let (id, request, mut cancel) = (job.id, job.request.clone(), job.cancel.subscribe());
        let (jobs, runtime) = (self.clone(), Handle::current());
        let working = tokio::task::spawn_blocking(move || {
            runtime.block_on(async {
                let outcome = tokio::select! {
                    outcome = work::run(&jobs.0.log, &jobs.0.views, &request, |progress| jobs.set_progress(id, progress)) => {
                        Some(outcome)
                    }
                    () = wait_for_flag(&mut cancel) => None,
                };
                if request.builds() && !matches!(outcome, Some(Ok(_)))
                    && let Err(error) = projector::drop_unfinished(&jobs.0.views).await
                {
                    tracing::warn!(error = %error_chain(&error), "what a job has half built is still there");
                }
                outcome
            })
        });
        tokio::spawn(async move {
            let (state, file) = match working.await {
                Ok(Some(Ok((result, file)))) => (JobState::Done(result), file),
                Ok(Some(Err(failure))) => (JobState::Failed(failure), None),
                Ok(None) => (JobState::Cancelled, None),
                Err(_) => (JobState::Failed("a fault inside the ledger".to_owned()), None),
            };
            self.end(id, state, file.map(Arc::new));
        });
    }

    fn end(&self, id: Uuid, state: JobState, file: Option<Arc<ExportedFile>>) {
        tracing::info!(job = %id, ?state, "a job has ended");
        let has_file = file.is_some();
        self.change(id, |job| {
            job.ended_at = Some(Clock::system().now());
            job.state = state;
            job.file = file;
            // Before the next one can begin.
            self.0.is_working.send_replace(false);
        });
        if has_file {
            let jobs = Arc::downgrade(&self.0);
            tokio::spawn(async move {
                tokio::time::sleep(FILE_LIFE).await;
                if let Some(jobs) = jobs.upgrade() {
                    Self(jobs).change(id, |job| job.file = None);
                }
            });
        }
    }

    fn set_progress(&self, id: Uuid, progress: WorkProgress) {
        self.change(id, |job| job.progress = progress);
    }

    fn change(&self, id: Uuid, change: impl FnOnce(&mut Job)) {
        if let Some(job) = lock(&self.0.kept).iter_mut().find(|job| job.id == id) {
            change(job);
        }
    }

    /// The jobs, the last one first.
    fn list(&self) -> Vec<Job> {
        lock(&self.0.kept).iter().cloned().collect()
    }

    fn find(&self, id: Uuid) -> Option<Job> {
        lock(&self.0.kept).iter().find(|job| job.id == id).cloned()
    }

    /// Tells the job at work to stop, and waits until it has.
    pub(super) async fn stop(&self) {
        let mut is_working = self.0.is_working.subscribe();
        for job in self.list() {
            job.cancel.send_replace(true);
        }
        // An error means that the sender is gone, and the jobs with it.
        let _ = is_working.wait_for(|is_working| !is_working).await;
    }
}
