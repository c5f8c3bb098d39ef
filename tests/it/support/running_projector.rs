//! A running projector and its status.

use std::sync::Arc;

use event_log::SharedLog;
use event_log_postgres::PostgresLog;
use futures::FutureExt as _;
use projector::{ProjectorSettings, Status};
use sqlx::PgPool;
use tokio::{
    sync::{oneshot, watch},
    task::AbortHandle,
    time::timeout,
};

use super::{
    PATIENCE,
    controlled_log::{ControlledLog, Gate, ReadKind},
};

/// A running projector. Dropping it ends it as a kill does.
pub struct RunningProjector {
    status: watch::Receiver<Status>,
    task: AbortHandle,
}

impl RunningProjector {
    pub fn start(log: &SharedLog, views: &PgPool, settings: ProjectorSettings) -> Self {
        let (sender, status) = watch::channel(Status::Starting);
        let task = tokio::spawn(run(log.clone(), views.clone(), settings, sender)).abort_handle();
        Self { status, task }
    }

    /// Starts a projector on views that are far behind, and waits until it has begun to rebuild
    /// them.
    pub async fn start_rebuilding(log: &SharedLog, views: &PgPool) -> Self {
        let log = ControlledLog::new(log);
        // Without this, a short rebuild might end before the test has seen it begin.
        log.let_pages_wait(true);
        let watched = Self::start(
            &log.shared(),
            views,
            ProjectorSettings { rebuild_events_min: 0, ..ProjectorSettings::default() },
        );
        watched.wait_for_status("a rebuild", |status| matches!(status, Status::Rebuilding { .. })).await;
        log.let_pages_wait(false);
        watched
    }

    /// Starts a projector as a process would run it: with one thread and connections of its own.
    /// Its thread is held when it reads the log in this way.
    pub async fn start_gated(database_url: &str, settings: ProjectorSettings, read: ReadKind) -> (Self, Gate) {
        let (sender, status) = watch::channel(Status::Starting);
        let (started, starting) = oneshot::channel();
        let url = database_url.to_owned();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let views = PgPool::connect(&url).await.expect("connect");
                let log: SharedLog = Arc::new(PostgresLog::connect(&views).await.expect("the log"));
                let gated = ControlledLog::new(&log);
                let gate = gated.hold(read);
                let task = tokio::spawn(run(gated.shared(), views, settings, sender));
                let _ = started.send((task.abort_handle(), gate));
                // Aborted by the test, which is no failure.
                let _ = task.await;
            });
        });
        let (task, gate) = starting.await.expect("a projector that starts");
        (Self { status, task }, gate)
    }

    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// Waits until the views include this position.
    pub async fn wait_for_position(self, wanted: u64) -> Self {
        self.wait_for_status(
            &format!("position {wanted}"),
            |status| matches!(status, Status::Running { position, .. } if *position >= wanted),
        )
        .await;
        self
    }

    /// Waits until it has stopped, and returns its report.
    pub async fn wait_for_stop(self) -> String {
        match self.wait_for_status("stopped", |status| matches!(status, Status::Stopped { .. })).await {
            Status::Stopped { reason } => reason,
            _ => unreachable!("the status waited for"),
        }
    }

    pub async fn wait_for_status(&self, what: &str, wanted: impl FnMut(&Status) -> bool) -> Status {
        let mut status = self.status.clone();
        match timeout(PATIENCE, status.wait_for(wanted)).await {
            Ok(Ok(found)) => found.clone(),
            Ok(Err(_)) => panic!("no more {what}; the projector has ended as {:?}", self.status()),
            Err(_) => panic!("waited in vain for {what}; the projector is {:?}", self.status()),
        }
    }

    /// Ends it wherever it is.
    pub fn drop_now(self) {}
}

impl Drop for RunningProjector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(log: SharedLog, views: PgPool, settings: ProjectorSettings, status: watch::Sender<Status>) {
    // The status has the result too.
    let _ = projector::run(log, views, settings, status, std::future::pending().boxed()).await;
}
