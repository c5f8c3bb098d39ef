//! A projector at work, and what it says of itself.

use std::sync::Arc;

use event_log::SharedLog;
use event_log_postgres::PostgresLog;
use projector::{Settings, Status};
use sqlx::PgPool;
use tokio::{
    sync::{oneshot, watch},
    task::AbortHandle,
    time::timeout,
};

use super::{
    PATIENCE,
    held_log::{Gate, Read, Shortened},
};

/// A running projector; ends as if killed when dropped.
pub struct Watched {
    status: watch::Receiver<Status>,
    task: AbortHandle,
}

impl Watched {
    pub fn start(log: &SharedLog, views: &PgPool, settings: Settings) -> Self {
        let (sender, status) = watch::channel(Status::Starting);
        let task = tokio::spawn(run(log.clone(), views.clone(), settings, sender)).abort_handle();
        Self { status, task }
    }

    /// Starts a projector on views that are far behind, and sees it begin to rebuild them.
    pub async fn start_rebuilding(log: &SharedLog, views: &PgPool) -> Self {
        let log = Shortened::new(log);
        // Else a short rebuild might be over before anybody has seen it begin.
        log.let_pages_wait(true);
        let watched = Self::start(&log.shared(), views, Settings { rebuild_events_min: 0, ..Settings::default() });
        watched.until_status("a rebuild", |status| matches!(status, Status::Rebuilding { .. })).await;
        log.let_pages_wait(false);
        watched
    }

    /// Starts a projector like a process of its own, with one thread and with connections that nobody else uses, whose
    /// thread is held, and everything with it, when it reads the log so.
    pub async fn start_gated(database_url: &str, settings: Settings, read: Read) -> (Self, Gate) {
        let (sender, status) = watch::channel(Status::Starting);
        let (started, starting) = oneshot::channel();
        let url = database_url.to_owned();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let views = PgPool::connect(&url).await.expect("connect");
                let log: SharedLog = Arc::new(PostgresLog::connect(&views).await.expect("the log"));
                let gated = Shortened::new(&log);
                let gate = gated.hold(read);
                let task = tokio::spawn(run(gated.shared(), views, settings, sender));
                let _ = started.send((task.abort_handle(), gate));
                // Ended from outside, which is no failure.
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
    pub async fn until(self, wanted: u64) -> Self {
        self.until_status(
            &format!("position {wanted}"),
            |status| matches!(status, Status::Running { position } if *position >= wanted),
        )
        .await;
        self
    }

    /// Waits until it has stopped; answers its report.
    pub async fn until_stopped(self) -> String {
        match self.until_status("stopped", |status| matches!(status, Status::Stopped { .. })).await {
            Status::Stopped { reason } => reason,
            _ => unreachable!("the status waited for"),
        }
    }

    pub async fn until_status(&self, what: &str, wanted: impl FnMut(&Status) -> bool) -> Status {
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

impl Drop for Watched {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(log: SharedLog, views: PgPool, settings: Settings, status: watch::Sender<Status>) {
    // How it ended is in the status, too.
    let _ = projector::run(log, views, settings, status, std::future::pending()).await;
}
