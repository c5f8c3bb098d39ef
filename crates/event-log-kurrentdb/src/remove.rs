//! Removing the streams of a trial from a server.

use std::collections::BTreeSet;

use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, future::BoxFuture, stream};

use event_log::{LogError, PAGE_EVENTS_MAX};

use crate::{
    KurrentLog, STREAMS_READ_AT_ONCE,
    client::{CallError, NodeClient, ServerPosition},
    event_format::STREAM_DELETED,
    log_reads::ReadEnd,
    retries::in_time,
    saved_keys, saved_times,
    store::{Store, log_error},
};

/// The names of the snapshots that the store keeps for itself.
const OWN_SNAPSHOTS: [&str; 2] = [saved_keys::NAME, saved_times::NAME];

/// Deletes all streams of a log for good, the fingerprint of its naming key, and its snapshots of
/// these names, and answers how many streams of the log it has deleted. Only for a log that was
/// made for a trial: no later write to these streams can succeed.
///
/// Streams are deleted with a tombstone, because their names are never used again: the server then
/// drops all of their events when it next scavenges. Of a stream that is deleted without one it
/// would keep the last event and the settings.
///
/// # Errors
/// [`LogError`], where the server is out of reach or refuses.
pub fn remove<'a>(log: &'a KurrentLog, snapshots: &'a [&str]) -> BoxFuture<'a, Result<usize, LogError>> {
    async move {
        let store = &log.store;
        for name in OWN_SNAPSHOTS.iter().chain(snapshots) {
            store.remove_snapshot(name).await?;
        }
        store.tombstone(store.naming_key_stream()).await?;
        let (mut streams, mut deleted) = (BTreeSet::new(), BTreeSet::new());
        let mut from = ServerPosition::default();
        loop {
            let (read, end) = store.read_all(from.commit, from, PAGE_EVENTS_MAX).await.map_err(log_error)?;
            for event in &read {
                from = event.position;
                // The settings are deleted with their stream. Streams of others that begin with the
                // prefix are left alone.
                if !store.names.prefix.owns(&event.stream) {
                    continue;
                }
                let streams = match event.type_name.as_str() {
                    STREAM_DELETED => &mut deleted,
                    _ => &mut streams,
                };
                streams.insert(event.stream.clone());
            }
            match end {
                ReadEnd::LogEnd => break,
                ReadEnd::NothingBefore(before) => from = ServerPosition { commit: before, prepare: 0 },
                ReadEnd::More | ReadEnd::Quiet => {}
            }
        }
        streams.retain(|stream| !deleted.contains(stream));
        let count = streams.len();
        stream::iter(streams)
            .map(|name| store.tombstone(name))
            .buffer_unordered(STREAMS_READ_AT_ONCE)
            .try_collect::<()>()
            .await?;
        Ok(count)
    }
    .boxed()
}

impl Store {
    /// Deletes a stream for good, unless it is.
    pub(crate) async fn tombstone(&self, name: String) -> Result<(), LogError> {
        match self.connection.call(async |client: NodeClient| in_time(client.tombstone(&name)).await).await {
            // Also where an earlier try has deleted it, and its answer was lost.
            Ok(()) | Err(CallError::StreamDeleted) => Ok(()),
            Err(error) => Err(log_error(error)),
        }
    }
}
