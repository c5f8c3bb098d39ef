//! Removing the streams of a trial from a server.

use std::collections::BTreeSet;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use kurrentdb::{Client, Error, Position, StreamState, TombstoneStreamOptions};

use event_log::{LogError, PAGE_EVENTS_MAX};

use crate::{
    KurrentLog, STREAMS_READ_AT_ONCE,
    connection::{as_caller, in_time},
    read::{Then, log_error},
    stored::STREAM_DELETED,
};

/// Deletes every stream of a log for good that is not deleted yet, and answers how many there were. Only for a log that was made to try things
/// out: nobody can write to these streams again.
///
/// For good, that is with a tombstone, because their names are never used again: the server then drops all of their events
/// when it next scavenges. Of a stream deleted to be begun again it would keep the last event and the settings.
///
/// # Errors
/// [`LogError`], where the server does not do it.
pub async fn remove(log: &KurrentLog) -> Result<usize, LogError> {
    let store = &log.store;
    let (mut streams, mut deleted) = (BTreeSet::new(), BTreeSet::new());
    let mut from = Position::start();
    loop {
        let (read, then) = store.read_all(from.commit, from, PAGE_EVENTS_MAX).await.map_err(log_error)?;
        for event in &read {
            let event = event.get_original_event();
            from = event.position;
            // Its settings go with a stream; what else begins as ours do is left alone.
            if store.prefix.stream(event.stream_id()).is_none() {
                continue;
            }
            let streams = match event.event_type.as_str() {
                STREAM_DELETED => &mut deleted,
                _ => &mut streams,
            };
            streams.insert(event.stream_id().to_owned());
        }
        match then {
            Then::End => break,
            Then::From(before) => from = Position { commit: before, prepare: 0 },
            Then::More | Then::Quiet => {}
        }
    }
    streams.retain(|stream| !deleted.contains(stream));
    let count = streams.len();
    let options = TombstoneStreamOptions::default().stream_state(StreamState::Any);
    let options = &as_caller!(store.connection.address(), options);
    stream::iter(streams)
        .map(|name| async move {
            let ask = |client: Client| {
                let name = name.clone();
                async move { in_time(client.tombstone_stream(name, options)).await }
            };
            match store.connection.call(ask).await {
                // The answer to an earlier try was lost.
                Ok(_) | Err(Error::ResourceDeleted) => Ok(()),
                Err(error) => Err(log_error(error)),
            }
        })
        .buffer_unordered(STREAMS_READ_AT_ONCE)
        .try_collect::<()>()
        .await?;
    Ok(count)
}
