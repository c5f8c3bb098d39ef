//! Reading the idempotency keys at the log's end.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta};

use event_log::{Bookmark, LogError};

use crate::{
    client::{CallError, LogRead, NodeClient},
    event_format::recorded_event,
    keys::{self, KEPT, KEYS_MAX, RecordedKey},
    store::{Store, log_error},
    stream_names::StreamNames,
};

/// How far recorded times may run backwards along the log: a search for those of a day goes on for
/// as long beyond it.
const DISORDER_MAX: TimeDelta = TimeDelta::minutes(10);

impl Store {
    /// Reads the keys at the log's end, unless that was done.
    pub(crate) async fn ensure_keys(self: &Arc<Self>) -> Result<(), LogError> {
        if self.keys.is_complete() {
            return Ok(());
        }
        let _turn = self.keys.reading.lock().await;
        // Another caller may have read them meanwhile.
        if self.keys.is_complete() { Ok(()) } else { self.read_keys().await }
    }

    /// Reads the keys at the log's end: those of the last day, or those that are new.
    pub(crate) async fn learn_keys(self: &Arc<Self>) -> Result<(), LogError> {
        let _turn = self.keys.reading.lock().await;
        self.read_keys().await
    }

    async fn read_keys(self: &Arc<Self>) -> Result<(), LogError> {
        if self.keys.known_to().is_none() {
            self.restore_keys().await;
        }
        let known_to = self.keys.known_to().map(|known_to| known_to.position);
        let names = self.names().await?;
        let (keys, end) = self.read_last_keys(names, known_to).await.map_err(log_error)?;
        self.keys.learn(keys.into_iter().rev(), end, keys::now());
        Ok(())
    }

    /// Reads the log backward from its end, down to a position or beyond a day. Answers the keys,
    /// the last first, each with its position, and the log's last event.
    async fn read_last_keys(
        &self,
        names: &StreamNames,
        down_to: Option<u64>,
    ) -> Result<(Vec<(u64, RecordedKey)>, Bookmark), CallError> {
        let ask = async |client: NodeClient| {
            let reading = async {
                let read = LogRead::Backwards { count: u64::MAX, filter: Some(self.filter()) };
                let mut read = client.read_all(read).await?;
                let (mut keys, mut end, mut latest) = (Vec::new(), Bookmark::START, DateTime::UNIX_EPOCH);
                while keys.len() < KEYS_MAX
                    && let Some(event) = read.next().await?
                {
                    if !self.owns(&event) {
                        continue;
                    }
                    if down_to.is_some_and(|known| event.position.commit <= known) {
                        break;
                    }
                    let Ok((recorded, _)) = recorded_event(names, event) else { continue };
                    if end.position == 0 {
                        end = Bookmark::from(&recorded);
                    }
                    latest = latest.max(recorded.recorded_at);
                    if latest - recorded.recorded_at > KEPT + DISORDER_MAX {
                        break;
                    }
                    keys.extend(RecordedKey::of(&recorded).map(|key| (recorded.position, key)));
                }
                Ok((keys, end))
            };
            tokio::select! {
                read = reading => read,
                error = self.wait_until_unresponsive(&client) => Err(error),
            }
        };
        self.connection.call(ask).await
    }
}
