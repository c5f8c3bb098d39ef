//! Loads streams that callers wait for, many in one read of the log.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use domain::Stream;
use event_log::{LogError, SharedLog, history::StreamHistory, lock};
use futures::{StreamExt as _, stream};
use tokio::sync::{mpsc, oneshot};

use super::{CachedStream, LoadedStream, cache::StreamCache};

/// Most streams in one read of the log; bounds the memory that a burst of commands on distinct
/// cases takes.
const LOAD_STREAMS_MAX: usize = 256;

/// Most reads of the log at once. With one, a caller whose key came a moment late would wait for
/// two. A store that reads many streams in one query does best with few.
const READS_AT_ONCE_MAX: usize = 4;

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

/// Loads the streams in `queue` until the other end of it is dropped. Keys that come together go
/// into one read. So do those that gather in the queue while as many reads as may be are under way:
/// loads are grouped without a timer.
pub(super) async fn load_streams<H: StreamHistory>(
    log: SharedLog,
    cache: Arc<StreamCache<H>>,
    requests: Arc<Mutex<LoadRequests<H>>>,
    queue: mpsc::UnboundedReceiver<H::Key>,
) {
    // The queue closes before the guard clears the requests: it is dropped with the reads. A caller
    // that could still queue a key after that would wait for ever.
    let requests = LoadRequestsGuard(requests);
    let reads = stream::unfold(queue, async |mut queue| Some((next_keys(&mut queue).await?, queue)));
    reads.for_each_concurrent(READS_AT_ONCE_MAX, |keys| load(&log, &cache, &requests.0, keys)).await;
}

/// The keys of the next read. Nothing at the end of the queue.
async fn next_keys<K>(queue: &mut mpsc::UnboundedReceiver<K>) -> Option<Vec<K>> {
    let mut keys = Vec::new();
    if queue.recv_many(&mut keys, LOAD_STREAMS_MAX).await == 0 {
        return None;
    }
    // Callers that were answered together ask again together; the pause lets their keys travel in
    // one read.
    tokio::task::yield_now().await;
    while keys.len() < LOAD_STREAMS_MAX
        && let Ok(key) = queue.try_recv()
    {
        keys.push(key);
    }
    Some(keys)
}

/// Loads the streams of these keys in one read, and answers the callers that wait for them.
async fn load<H: StreamHistory>(
    log: &SharedLog,
    cache: &StreamCache<H>,
    requests: &Mutex<LoadRequests<H>>,
    keys: Vec<H::Key>,
) {
    let streams: Vec<Stream> = keys.iter().map(H::stream).collect();
    let pages = log.load_streams(&streams).await.map_err(Arc::new);
    for (index, key) in keys.into_iter().enumerate() {
        let result = pages.as_ref().map_err(Arc::clone).and_then(|pages| {
            let mut loaded = LoadedStream::new(key.clone());
            loaded.extend(pages.get(index).map_or(&[], Vec::as_slice)).map_err(Arc::new)?;
            Ok(CachedStream::new(loaded))
        });
        if let Ok(stream) = &result {
            // Before the requests are removed, so that the next caller finds the stream in one
            // place or the other.
            cache.insert(Arc::clone(stream));
        }
        for request in lock(requests).remove(&key).unwrap_or_default() {
            // A caller that went away needs no answer.
            let _ = request.send(result.clone());
        }
    }
}
