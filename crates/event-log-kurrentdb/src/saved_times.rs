//! The time index in a snapshot, so that the first search for an instant in a process reads the log
//! from there and not from its start.
//!
//! A cache: where it is missing, damaged, in another format, or of another log, the log is read.
//! The snapshot is a digest of 16 bytes, and then [`SavedTimes`].

use std::sync::Arc;

use chrono::{DateTime, Utc};
use domain::identifier::EventId;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use event_log::{Bookmark, LogError, Snapshot, error_chain};

use crate::{
    store::Store,
    time_index::{LogTimes, TimeMarks},
};

/// The snapshot's name.
pub(crate) const NAME: &str = "times";

/// The number of the format. It rises with a change of [`SavedTimes`].
const FORMAT: u32 = 1;

/// The name space of the digests, made up for them.
const DIGESTS: Uuid = Uuid::from_u128(0x5f0d_1b6e_6c1f_4f0e_9a57_2b8c_3d41_7e90);

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SavedTimes {
    format: u32,
    /// The last event that the index knows.
    position: u64,
    event_id: Option<EventId>,
    recorded_at: Option<DateTime<Utc>>,
    times: TimeMarks,
}

impl Store {
    /// Takes the times that were saved, if they can be used, unless that was done. Where the server
    /// does not answer, this is tried again with the next search.
    pub(crate) async fn restore_times(self: &Arc<Self>) {
        if self.times.is_restored() {
            return;
        }
        match self.saved_times().await {
            Ok(Ok(saved)) => {
                if let Some(saved) = saved {
                    self.times.restore(saved);
                }
                self.times.mark_restored();
            }
            Ok(Err(reason)) => {
                tracing::warn!(reason, "the saved index of recorded times cannot be used: {reason}");
                self.times.mark_restored();
            }
            Err(error) => {
                let reason = error_chain(&error);
                tracing::warn!(reason, "the saved index of recorded times cannot be read: {reason}");
            }
        }
    }

    /// The times that were saved, or the reason why they cannot be used.
    async fn saved_times(self: &Arc<Self>) -> Result<Result<Option<LogTimes>, &'static str>, LogError> {
        let Some(snapshot) = self.load_snapshot(NAME).await? else { return Ok(Ok(None)) };
        let Some(saved) = decode(&snapshot) else {
            return Ok(Err("it is damaged, or not in the format of this program"));
        };
        let is_of_log = self.event_at(saved.end.position).await?.is_some_and(|event| saved.end.marks(&event));
        Ok(if is_of_log { Ok(Some(saved)) } else { Err("it is of another log") })
    }

    /// Saves the times, where they have at least so many events more than those that were saved.
    /// The next process can do without them, so a failure is only logged.
    pub(crate) async fn save_times(self: &Arc<Self>, events_min: usize) {
        if let Err(error) = self.try_to_save_times(events_min).await {
            let reason = error_chain(&error);
            tracing::warn!(reason, "the index of recorded times was not saved: {reason}");
        }
    }

    async fn try_to_save_times(self: &Arc<Self>, events_min: usize) -> Result<(), LogError> {
        let Some(times) = self.times.unsaved(events_min) else { return Ok(()) };
        // Where that is not newer than what another process has saved, the other is as good.
        self.save_snapshot(NAME, &encode(&times)?).await?;
        self.times.mark_saved(&times);
        Ok(())
    }
}

fn encode(times: &LogTimes) -> Result<Snapshot, LogError> {
    let Bookmark { position, event_id, recorded_at } = times.end;
    let saved = SavedTimes { format: FORMAT, position, event_id, recorded_at, times: times.marks.clone() };
    let body = serde_json::to_vec(&saved).map_err(|error| LogError::Unavailable(error.into()))?;
    let digest = Uuid::new_v5(&DIGESTS, &body);
    Ok(Snapshot { position, content: [digest.as_bytes(), &body[..]].concat().into() })
}

fn decode(snapshot: &Snapshot) -> Option<LogTimes> {
    let (digest, body) = snapshot.content.split_at_checked(16)?;
    if digest != Uuid::new_v5(&DIGESTS, body).as_bytes() {
        return None;
    }
    let saved = serde_json::from_slice(body).ok().filter(|saved: &SavedTimes| saved.format == FORMAT)?;
    let SavedTimes { position, event_id, recorded_at, times, .. } = saved;
    Some(LogTimes { end: Bookmark { position, event_id, recorded_at }, marks: times })
}
