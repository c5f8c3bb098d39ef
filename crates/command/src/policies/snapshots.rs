//! The snapshot of the index in the event store: loaded at the start, saved now and then, and with
//! it the idempotency keys of a store that has them in memory.
//!
//! All command services on a log share one snapshot, and the newest stays.

use std::time::Duration;

use event_log::{LogError, error_chain};
use tokio::{
    task::spawn_blocking,
    time::{sleep, timeout},
};

use super::SNAPSHOT;
use crate::{CommandError, Service, obligations::UnusableSnapshot};

/// The shortest time between two snapshots, so that a log which is being filled is not slowed down.
const SAVE_PAUSE: Duration = Duration::from_secs(60);

/// The pause before the index is looked at again where it was within a batch.
const BATCH_PAUSE: Duration = Duration::from_millis(50);

/// How long the end of the program waits for the last snapshot. Without it, the next start reads
/// more of the log.
const END_WAIT_MAX: Duration = Duration::from_secs(5);

/// Takes the snapshot for the index, unless the index has events already. A snapshot that is
/// doubted is passed over: the policies then read the whole log.
///
/// # Errors
/// The log is out of reach, so that it is not known whether there is a snapshot.
pub(super) async fn restore(service: &Service) -> Result<(), CommandError> {
    let (index, log) = (service.obligations(), service.log());
    if index.position() > 0 {
        return Ok(());
    }
    let restored = match log.load_snapshot(SNAPSHOT).await {
        Ok(None) => return Ok(()),
        Ok(Some(snapshot)) => index.restore(&snapshot, log).await,
        Err(error) => Err(UnusableSnapshot::Log(error)),
    };
    match restored {
        Ok(position) => {
            tracing::info!(position, "the policies read the log from position {position}, where their snapshot ends");
        }
        Err(unusable) => {
            // Where the log does not answer either, the snapshot may be as good as ever.
            log.head().await?;
            let reason = error_chain(&unusable);
            tracing::warn!(reason, "the policies read the whole log, as their snapshot is not usable: {reason}");
        }
    }
    Ok(())
}

/// Saves the index whenever that is due.
pub(super) async fn keep_saved(service: &Service) {
    loop {
        service.obligations().wait_until_save_is_due().await;
        let pause = if save(service).await { SAVE_PAUSE } else { BATCH_PAUSE };
        sleep(pause).await;
    }
}

/// Saves the index for the next start, if it has events that the snapshot lacks.
pub(super) async fn save_at_end(service: &Service) {
    if service.obligations().is_unsaved() && timeout(END_WAIT_MAX, save(service)).await.is_err() {
        tracing::warn!(
            "the policies' snapshot was not saved within {} s: the next start reads more of the log",
            END_WAIT_MAX.as_secs()
        );
    }
}

/// Saves the index as it is. Answers whether it was a moment to do so.
async fn save(service: &Service) -> bool {
    let encoding = service.clone();
    // A large index takes a good part of a second.
    let Ok(Some(saved)) = spawn_blocking(move || encoding.obligations().snapshot()).await else { return false };
    let position = saved.snapshot.position;
    match service.log().save_snapshot(SNAPSHOT, &saved.snapshot).await {
        Ok(true) => {
            service.obligations().mark_saved(&saved);
            tracing::debug!(position, "the policies' index was saved as of position {position}");
        }
        // Another service's is newer, or is being saved. It may not be usable here, so it counts as
        // none, and this one is tried again.
        Ok(false) => tracing::debug!(position, "another service saved the policies' index"),
        Err(error) => report(position, &error, "the policies' index was"),
    }
    if let Err(error) = service.log().save_keys().await {
        report(position, &error, "the idempotency keys were");
    }
    true
}

fn report(position: u64, error: &LogError, what: &str) {
    let reason = error_chain(error);
    tracing::warn!(position, reason, "{what} not saved, so the next start reads more of the log: {reason}");
}
