//! The idempotency keys of a day in a snapshot, so that the next start reads the log from there and
//! not a whole day of it.
//!
//! A cache: where it is missing, in another format, or of another log, the day is read.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use domain::identifier::{CommandId, EventId};
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;

use event_log::{Bookmark, LogError, Snapshot, error_chain};

use crate::{keys::RecordedKey, store::Store};

/// The snapshot's name.
pub(crate) const NAME: &str = "keys";

/// The number of the format. It rises with a change of [`SavedKeys`], or of which events have keys.
const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SavedKeys {
    format: u32,
    /// The last event up to which the keys are known.
    position: u64,
    event_id: Option<EventId>,
    recorded_at: Option<DateTime<Utc>>,
    /// Each key with the time of its use and the stream, in the order of their use.
    keys: Vec<(CommandId, DateTime<Utc>, String)>,
}

impl Store {
    /// Saves the keys of events, if there are new ones.
    pub(crate) async fn save_keys(self: &Arc<Self>) -> Result<(), LogError> {
        let store = Arc::clone(self);
        // There may be hundreds of thousands.
        let encoded = spawn_blocking(move || store.encode_unsaved_keys()).await;
        let Some(snapshot) = encoded.map_err(|error| LogError::Unavailable(error.into()))?? else { return Ok(()) };
        // Otherwise another service saves some, and may fail.
        if self.save_snapshot(NAME, &snapshot).await? {
            self.keys.mark_saved(snapshot.position);
        }
        Ok(())
    }

    fn encode_unsaved_keys(&self) -> Result<Option<Snapshot>, LogError> {
        let Some((keys, end)) = self.keys.unsaved() else { return Ok(None) };
        let keys = keys.into_iter().map(|RecordedKey { key, stream, at }| (key, at, stream)).collect();
        let Bookmark { position, event_id, recorded_at } = end;
        let saved = SavedKeys { format: FORMAT, position, event_id, recorded_at, keys };
        let content = serde_json::to_vec(&saved).map_err(|error| LogError::Unavailable(error.into()))?;
        Ok(Some(Snapshot { position, content: content.into() }))
    }

    /// Takes the keys that were saved, if they are of this log.
    pub(super) async fn restore_keys(self: &Arc<Self>) {
        match self.saved_keys().await {
            Ok(Some((keys, end))) => self.keys.restore(keys, end),
            Ok(None) => {}
            Err(error) => {
                let reason = error_chain(&error);
                tracing::warn!(reason, "the saved idempotency keys cannot be used: {reason}");
            }
        }
    }

    async fn saved_keys(self: &Arc<Self>) -> Result<Option<(Vec<RecordedKey>, Bookmark)>, LogError> {
        let Some(snapshot) = self.load_snapshot(NAME).await? else { return Ok(None) };
        let saved = serde_json::from_slice::<SavedKeys>(&snapshot.content).ok();
        let Some(saved) = saved.filter(|saved| saved.format == FORMAT) else {
            return Err(LogError::Unavailable("they are not in the format of this program".into()));
        };
        let SavedKeys { position, event_id, recorded_at, keys, .. } = saved;
        let end = Bookmark { position, event_id, recorded_at };
        if !self.event_at(position).await?.is_some_and(|event| end.marks(&event)) {
            return Err(LogError::Unavailable("they are of another log".into()));
        }
        let keys = keys.into_iter().map(|(key, at, stream)| RecordedKey { key, stream, at }).collect();
        Ok(Some((keys, end)))
    }
}
