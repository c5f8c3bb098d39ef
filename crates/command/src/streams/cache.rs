//! The cache of loaded streams: bounded in number and in bytes.

use std::sync::Arc;

use event_log::history::StreamHistory;
use quick_cache::{Weighter, sync::Cache};

use super::CachedStream;

/// The size of a cache.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CacheSize {
    /// About so many streams of usual length.
    streams: usize,
    bytes_max: u64,
}

/// Cases have some 7 kB each, which is ten entries. Those with long notes are fewer.
pub(crate) const CASES_CACHED: CacheSize = CacheSize { streams: 20_000, bytes_max: 128 * 1024 * 1024 };

/// There are about 120 prisons.
pub(crate) const PRISONS_CACHED: CacheSize = CacheSize { streams: 500, bytes_max: 32 * 1024 * 1024 };

/// Most persons have one contact, which an import records, and which is hardly asked about again.
pub(crate) const CONTACTS_CACHED: CacheSize = CacheSize { streams: 2_000, bytes_max: 8 * 1024 * 1024 };

/// By how many bytes a cached stream may grow until it is counted again.
const UNCOUNTED_GROWTH_BYTES: u64 = 4 * 1024;

/// Streams by their keys. The ones used least make room for others.
pub(super) struct StreamCache<H: StreamHistory>(Cache<H::Key, CountedStream<H>, CountedBytes>);

/// A stream with its bytes as they were counted last: what is cached must not change its weight.
struct CountedStream<H> {
    stream: Arc<CachedStream<H>>,
    bytes: u64,
}

impl<H> Clone for CountedStream<H> {
    fn clone(&self) -> Self {
        Self { stream: Arc::clone(&self.stream), bytes: self.bytes }
    }
}

#[derive(Clone)]
struct CountedBytes;

impl<K, H> Weighter<K, CountedStream<H>> for CountedBytes {
    fn weight(&self, _: &K, counted: &CountedStream<H>) -> u64 {
        counted.bytes
    }
}

impl<H: StreamHistory> StreamCache<H> {
    pub(super) fn new(size: CacheSize) -> Self {
        Self(Cache::with_weighter(size.streams, size.bytes_max, CountedBytes))
    }

    pub(super) fn get(&self, key: &H::Key) -> Option<Arc<CachedStream<H>>> {
        self.0.get(key).map(|counted| counted.stream)
    }

    pub(super) fn insert(&self, stream: Arc<CachedStream<H>>) {
        let (key, bytes) = {
            let loaded = stream.read();
            (loaded.history().key().clone(), loaded.bytes())
        };
        self.0.insert(key, CountedStream { stream, bytes });
    }

    /// Counts a stream again that has grown.
    pub(super) fn recount(&self, stream: &CachedStream<H>) {
        let (counted, bytes) = {
            let loaded = stream.read();
            (self.0.peek(loaded.history().key()), loaded.bytes())
        };
        if let Some(counted) = counted.filter(|counted| bytes > counted.bytes + UNCOUNTED_GROWTH_BYTES) {
            self.insert(counted.stream);
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::prisoner::History;

    use super::*;
    use crate::streams::LoadedStream;

    const BYTES_MAX: u64 = 1024 * 1024;

    fn stream(index: usize, bytes: u64) -> Arc<CachedStream<History>> {
        let mut loaded = LoadedStream::new(format!("A{index:04}BC").parse().expect("a number"));
        loaded.count_bytes(bytes);
        CachedStream::new(loaded)
    }

    #[test]
    fn long_streams_are_fewer_than_short_ones() {
        let cache = StreamCache::new(CacheSize { streams: 30, bytes_max: BYTES_MAX });
        let streams: Vec<_> = (0..100).map(|index| stream(index, 50_000)).collect();
        let count = |cache: &StreamCache<History>| {
            streams.iter().filter(|stream| cache.get(stream.read().history().key()).is_some()).count()
        };
        streams.iter().for_each(|stream| cache.insert(Arc::clone(stream)));
        let long = count(&cache);
        assert!((1..=20).contains(&long) && cache.0.weight() <= BYTES_MAX, "{long}");
        // One that grows pushes others out, and others are pushed out for it.
        let cached = streams.iter().rfind(|stream| cache.get(stream.read().history().key()).is_some());
        let cached = cached.expect("one that is cached");
        cached.write().count_bytes(700_000);
        cache.recount(cached);
        assert!(count(&cache) <= 7 && cache.0.weight() <= BYTES_MAX, "{}", count(&cache));
    }
}
