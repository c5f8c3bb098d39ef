//! Loads streams that callers wait for, many in one read of the log.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use domain::Stream;
use event_log::{LogError, SharedLog, history::StreamHistory, lock};
use tokio::sync::{mpsc, oneshot};

use super::{CachedStream, LoadedStream, StreamCache};

/// Most streams in one read of the log; bounds the memory that a burst of commands on distinct
/// cases takes.
const LOAD_STREAMS_MAX: usize = 256;

/// The answer to a caller that waits for a stream.
pub(super) type LoadResult<H> = Result<Arc<CachedStream<H>>, Arc<LogError>>;

/// The callers that wait for each stream that is being loaded.
pub(super) type LoadRequests<H> = HashMap<<H as StreamHistory>::Key, Vec<oneshot::Sender<LoadResult<H>>>>;

/// Ends the wait of every caller when the loader ends, for whatever reason.
struct LoadRequestsGuard<H: StreamHistory>(Arc<Mutex<LoadRequests<H>>>);

impl<H: StreamHistory> Drop for LoadRequestsGuard<H> {
    fn drop(&mut self) {
        lock(&self.0).clear();
    }
}

/// Loads the streams in `queue` until the other end of it is dropped. While one read of the log is
/// under way, further keys gather in the queue and go into the next read, so that loads are grouped
/// without a timer.
pub(super) async fn load_streams<H: StreamHistory>(
    log: SharedLog,
    cache: StreamCache<H>,
    requests: Arc<Mutex<LoadRequests<H>>>,
    queue: mpsc::UnboundedReceiver<H::Key>,
) {
    // The queue closes before the guard clears the requests, as later variables are dropped first:
    // a caller that could still queue a key after that would wait for ever.
    let (requests, mut queue) = (LoadRequestsGuard(requests), queue);
    let mut keys = Vec::with_capacity(LOAD_STREAMS_MAX);
    while queue.recv_many(&mut keys, LOAD_STREAMS_MAX).await > 0 {
        // Callers that were answered together ask again together; the pause lets their keys travel
        // in one read.
        tokio::task::yield_now().await;
        while keys.len() < LOAD_STREAMS_MAX
            && let Ok(key) = queue.try_recv()
        {
            keys.push(key);
        }
        let streams: Vec<Stream> = keys.iter().map(H::stream).collect();
        let pages = log.read_streams(&streams).await.map_err(Arc::new);
        for (index, key) in keys.drain(..).enumerate() {
            let result = pages.as_ref().map_err(Arc::clone).and_then(|pages| {
                let mut loaded = LoadedStream::new(key.clone());
                loaded.extend(pages.get(index).map_or(&[], Vec::as_slice)).map_err(Arc::new)?;
                Ok(CachedStream::new(loaded))
            });
            if let Ok(stream) = &result {
                // Before the requests are removed, so that the next caller finds the stream in one
                // place or the other.
                cache.insert(key.clone(), Arc::clone(stream));
            }
            for request in lock(&requests.0).remove(&key).unwrap_or_default() {
                // A caller that went away needs no answer.
                let _ = request.send(result.clone());
            }
        }
    }
}
