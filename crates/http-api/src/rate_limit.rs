//! Limits on how often a client may ask.

use std::{convert::Infallible, num::NonZeroU32, sync::Arc, time::Duration};

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter, clock::Clock as _};
use quick_cache::sync::Cache;

use crate::RequestClient;

/// How many clients are remembered, some 200 bytes each. One that is forgotten, since others asked
/// more lately or more often, begins anew.
const CLIENTS_MAX: usize = 20_000;

/// So many requests a second for each client, and some at once: a bucket that fills steadily.
pub(crate) struct RateLimit {
    quota: Quota,
    clients: Cache<RequestClient, Arc<DefaultDirectRateLimiter>>,
}

impl RateLimit {
    pub(crate) fn new(per_second: NonZeroU32, at_once: NonZeroU32) -> Self {
        Self { quota: Quota::per_second(per_second).allow_burst(at_once), clients: Cache::new(CLIENTS_MAX) }
    }

    /// Counts a request of a client.
    ///
    /// # Errors
    /// How long the client must wait, where it has sent too many.
    pub(crate) fn check(&self, client: &RequestClient) -> Result<(), Duration> {
        let begin = || Ok::<_, Infallible>(Arc::new(RateLimiter::direct(self.quota)));
        let Ok(limiter) = self.clients.get_or_insert_with(client, begin);
        limiter.check().map_err(|too_early| too_early.wait_time_from(limiter.clock().now()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_asks_too_often_is_told_how_long_to_wait() {
        let [per_second, at_once] = [5, 10].map(|number| NonZeroU32::new(number).expect("not 0"));
        let limit = RateLimit::new(per_second, at_once);
        let [one, other] = [1, 2].map(|last| RequestClient::at([127, 0, 0, last].into()));
        let refused: Vec<_> = (0..100).filter_map(|_| limit.check(&one).err()).collect();
        assert!((80..=90).contains(&refused.len()), "{refused:?}");
        assert!(refused.iter().all(|wait| *wait <= Duration::from_millis(200)), "{refused:?}");
        assert_eq!(limit.check(&other), Ok(()));
    }

    #[test]
    fn the_clients_that_are_remembered_are_bounded() {
        let limit = RateLimit::new(NonZeroU32::MIN, NonZeroU32::MIN);
        for client in 0..3 * u32::try_from(CLIENTS_MAX).expect("a number") {
            let _ = limit.check(&RequestClient::at(std::net::Ipv4Addr::from_bits(client).into()));
        }
        assert!(limit.clients.len() <= CLIENTS_MAX, "{}", limit.clients.len());
    }
}
