//! A watch on the checkpoint: requests wait on it until the views have come far enough.
//!
//! The requests that wait share one reader: one of them reads the checkpoint, every few
//! milliseconds, and tells the others. While none waits, it is not read. The checkpoint is read
//! from the database that answers, so that this holds for a read replica too, which passes on no
//! notifications.

use std::{sync::Arc, time::Duration};

use sqlx::PgPool;
use tokio::{
    sync::{Mutex, watch},
    time::Instant,
};

use crate::{QueryError, present};

/// How long a caller is kept waiting. The views follow within milliseconds; a caller of views that
/// are this far behind should rather be told.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(5);

/// The pause between two readings.
const READ_INTERVAL: Duration = Duration::from_millis(5);

/// For how long a reading is trusted. Views that are lost, or restored from a backup, go back; so
/// the checkpoint is read now and then even where it was far enough.
const READING_LIFE: Duration = Duration::from_secs(1);

/// Watches how far the views have come; clones share the watch.
#[derive(Clone)]
pub(crate) struct CheckpointWatch {
    shared: Arc<CheckpointWatchInner>,
}

struct CheckpointWatchInner {
    views: PgPool,
    latest: watch::Sender<CheckpointReading>,
    /// Held by the request that reads the checkpoint.
    reader: Mutex<()>,
}

/// How far the views were.
#[derive(Clone, Copy)]
struct CheckpointReading {
    position: u64,
    at: Instant,
}

impl CheckpointReading {
    fn includes(self, position: u64) -> bool {
        self.position >= position && self.at.elapsed() < READING_LIFE
    }
}

impl CheckpointWatch {
    pub(crate) fn new(views: PgPool) -> Self {
        let latest = watch::Sender::new(CheckpointReading { position: 0, at: Instant::now() });
        Self { shared: Arc::new(CheckpointWatchInner { views, latest, reader: Mutex::new(()) }) }
    }

    /// Takes in how far the views are, which may be less far than they were.
    pub(crate) fn record(&self, position: u64) {
        self.shared.latest.send_if_modified(|latest| {
            let before = std::mem::replace(latest, CheckpointReading { position, at: Instant::now() });
            before.position != position || !before.includes(position)
        });
    }

    /// Waits until the views have come to `position`, at most [`WAIT_MAX`]; false where they have
    /// not.
    pub(crate) async fn wait_for(&self, position: u64) -> Result<bool, QueryError> {
        self.wait_for_within(position, WAIT_MAX).await
    }

    /// Waits until the views have come to `position`, at most `patience`; false where they have
    /// not.
    pub(crate) async fn wait_for_within(&self, position: u64, patience: Duration) -> Result<bool, QueryError> {
        match tokio::time::timeout(patience, self.wait(position)).await {
            Ok(outcome) => outcome.map(|()| true),
            Err(_) => Ok(false),
        }
    }

    async fn wait(&self, position: u64) -> Result<(), QueryError> {
        let CheckpointWatchInner { views, latest, reader } = &*self.shared;
        let mut readings = latest.subscribe();
        loop {
            if readings.borrow_and_update().includes(position) {
                return Ok(());
            }
            tokio::select! {
                // The sender is in `self`, so it is there to the end.
                _ = readings.changed() => {}
                _turn = reader.lock() => {
                    let now_at = present::checkpoint::read(views).await?.position;
                    self.record(now_at);
                    if now_at < position {
                        tokio::time::sleep(READ_INTERVAL).await;
                    }
                }
            }
        }
    }
}
