//! The limits on requests: how often a client may ask, and how much all and each of them may have
//! at work and in memory at a time.
//!
//! A request beyond a limit is refused at once, and work that was begun is finished. A client has
//! an eighth of what all share, so it takes eight clients to keep the others out.

use std::{
    mem,
    num::NonZeroU32,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    BoxError,
    body::{Body, HttpBody as _},
    extract::Request,
};
use event_log::lock;
use futures::StreamExt as _;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::time::sleep;

use crate::{
    Access, BODY_BYTES_MAX, ClientQuota, Problem, ProblemCode, RequestClient, TrustedProxies,
    client_quota::{QuotaExceeded, QuotaShare},
    rate_limit::RateLimit,
};

/// Most requests that are worked on at a time, some 50 kB each. Most of them wait for a store.
const AT_WORK_MAX: usize = 4_096;

/// Most bytes of request bodies that are read or worked on at a time: a client's part has room for
/// two of the longest, also in chunks.
const BODY_BYTES_AT_WORK_MAX: usize = 40 * 1024 * 1024;

/// Most bytes of answers that wait for their clients to take them.
pub(crate) const ANSWER_BYTES_WAITING_MAX: usize = 80 * 1024 * 1024;

/// A body or an answer up to this size is not counted: the connections bound how many there are.
pub(crate) const UNCOUNTED_BYTES_MAX: usize = 16 * 1024;

/// Bytes that each chunk of a body takes in memory beside its own.
const CHUNK_OVERHEAD_BYTES: usize = 64;

/// Bytes of a body whose length is not known that are counted at once.
const COUNTED_AT_ONCE_BYTES: usize = 64 * 1024;

/// Most tokens in a second from one address that were not verified before. A verification takes
/// some 30 microseconds, and a client needs a new token once in an hour. Many people behind one
/// address may begin to work in the same moment.
const VERIFICATIONS_PER_SECOND: NonZeroU32 = NonZeroU32::MIN.saturating_add(99);
const VERIFICATIONS_AT_ONCE: NonZeroU32 = NonZeroU32::MIN.saturating_add(999);

const TWICE: NonZeroU32 = NonZeroU32::MIN.saturating_add(1);

/// Most refusals in a second that a client gets at once; further ones are held back.
const REFUSALS_PER_SECOND: NonZeroU32 = NonZeroU32::MIN.saturating_add(499);
const REFUSALS_AT_ONCE: NonZeroU32 = NonZeroU32::MIN.saturating_add(1_999);

/// The same of all clients together: an attacker may come from many addresses.
const ALL_REFUSALS_PER_SECOND: NonZeroU32 = NonZeroU32::MIN.saturating_add(1_999);
const ALL_REFUSALS_AT_ONCE: NonZeroU32 = NonZeroU32::MIN.saturating_add(7_999);

/// How long a refusal is held back. Over a connection a client has one request at a time, so its
/// connections then bring few.
const REFUSAL_DELAY: Duration = Duration::from_secs(1);

/// How long a client that has too much at work should wait, as most of it ends sooner.
const BUSY_WAIT: Duration = Duration::from_secs(1);

/// The limits on the requests of one process.
pub struct RequestLimits {
    proxies: TrustedProxies,
    rate: Option<RateLimit>,
    verifications: RateLimit,
    refusals: RateLimit,
    all_refusals: DefaultDirectRateLimiter,
    at_work: Arc<ClientQuota>,
    body_bytes: Arc<ClientQuota>,
    answer_bytes: Arc<ClientQuota>,
}

/// The place of a request among those at work.
pub(crate) struct WorkPlace {
    _at_work: QuotaShare,
    _body: Option<BodyShare>,
}

/// The room that a body takes, which grows while a body of unknown length comes.
type BodyShare = Arc<Mutex<QuotaShare>>;

/// Ends the reading of a body for which there is no room, with the answer to its request.
#[derive(Debug, thiserror::Error)]
#[error("there is no room for the body")]
pub(crate) struct BodyRefused(pub(crate) Problem);

impl RequestLimits {
    /// Limits that believe these proxies about their clients' addresses. A client may send so many
    /// requests a second, and twice as many at once; `None` for any number.
    #[must_use]
    pub fn new(proxies: TrustedProxies, requests_per_second: Option<NonZeroU32>) -> Self {
        Self {
            proxies,
            rate: requests_per_second.map(|requests| RateLimit::new(requests, requests.saturating_mul(TWICE))),
            verifications: RateLimit::new(VERIFICATIONS_PER_SECOND, VERIFICATIONS_AT_ONCE),
            refusals: RateLimit::new(REFUSALS_PER_SECOND, REFUSALS_AT_ONCE),
            all_refusals: RateLimiter::direct(
                Quota::per_second(ALL_REFUSALS_PER_SECOND).allow_burst(ALL_REFUSALS_AT_ONCE),
            ),
            at_work: ClientQuota::eighth_for_client(AT_WORK_MAX),
            body_bytes: ClientQuota::eighth_for_client(BODY_BYTES_AT_WORK_MAX),
            answer_bytes: ClientQuota::eighth_for_client(ANSWER_BYTES_WAITING_MAX),
        }
    }

    /// The client of a request that names no principal.
    pub(crate) fn client_of(&self, request: &Request) -> RequestClient {
        self.proxies.client_of(request)
    }

    /// Counts a request.
    pub(crate) fn check_rate(&self, client: &RequestClient) -> Result<(), Problem> {
        let Some(rate) = &self.rate else { return Ok(()) };
        rate.check(client)
            .map_err(|wait| rate_limited("This client sends more requests than one may. Please slow down.", wait))
    }

    /// Counts a token that has to be verified.
    pub(crate) fn check_verifications(&self, client: &RequestClient) -> Result<(), Problem> {
        self.verifications.check(client).map_err(|wait| {
            let detail =
                "More new tokens come from this address than one client needs. Please use a token until it expires.";
            rate_limited(detail, wait)
        })
    }

    /// Holds the refusal of a request back, if the client gets very many, or all clients do. So
    /// rubbish takes little time from the requests of others.
    pub(crate) async fn hold_refusal(&self, client: &RequestClient) {
        // Those of a client that are held back anyway leave room for those of others.
        if self.refusals.check(client).is_err() || self.all_refusals.check().is_err() {
            sleep(REFUSAL_DELAY).await;
        }
    }

    /// Gives a request a place, with room for its body. A body that does not tell its length is
    /// counted while it comes: a chunk for which there is no room ends it with [`BodyRefused`]. One
    /// that its handler keeps out of memory takes none.
    pub(crate) fn begin_work(
        &self,
        client: &RequestClient,
        request: &mut Request,
        access: Access,
    ) -> Result<WorkPlace, Problem> {
        let at_work = self.at_work.take(Some(client), 1).map_err(|exceeded| {
            busy(exceeded, "This client has more requests at work than one may. Please wait for their answers.")
        })?;
        let body = match request.body().size_hint().upper().map(as_usize) {
            _ if access.streams_body() => None,
            // A longer one is refused unread.
            Some(bytes) if (UNCOUNTED_BYTES_MAX + 1..=BODY_BYTES_MAX).contains(&bytes) => {
                let share = self.body_bytes.take(Some(client), bytes).map_err(refuse_body)?;
                Some(Arc::new(Mutex::new(share)))
            }
            Some(_) => None,
            None => Some(self.count_body(client, request)),
        };
        Ok(WorkPlace { _at_work: at_work, _body: body })
    }

    /// Has the chunks of a body counted when they come.
    fn count_body(&self, client: &RequestClient, request: &mut Request) -> BodyShare {
        let share = Arc::new(Mutex::new(self.body_bytes.empty_share(client)));
        let (counting, mut bytes) = (Arc::clone(&share), 0);
        let chunks = mem::take(request.body_mut()).into_data_stream().map(move |chunk| {
            let chunk = chunk?;
            bytes += chunk.len() + CHUNK_OVERHEAD_BYTES;
            if bytes > UNCOUNTED_BYTES_MAX {
                let counted = lock(&counting).grow_to(bytes.next_multiple_of(COUNTED_AT_ONCE_BYTES));
                counted.map_err(|exceeded| BodyRefused(refuse_body(exceeded)))?;
            }
            Ok::<_, BoxError>(chunk)
        });
        *request.body_mut() = Body::from_stream(chunks);
        share
    }

    /// Takes room for an answer. That of a command is never refused: it says what was recorded.
    pub(crate) fn take_answer(
        &self,
        client: &RequestClient,
        is_of_command: bool,
        bytes: usize,
    ) -> Result<QuotaShare, Problem> {
        if is_of_command {
            return Ok(self.answer_bytes.take_anyway(client, bytes));
        }
        // One that is longer than the client's part takes all of it, or it would never come.
        let counted = bytes.min(self.answer_bytes.client_max());
        self.answer_bytes.take(Some(client), counted).map_err(|exceeded| {
            let detail =
                "This client leaves more answers untaken than one may. Please read them, or ask for shorter pages.";
            busy(exceeded, detail)
        })
    }

    #[cfg(test)]
    pub(crate) fn answer_bytes_taken(&self) -> usize {
        self.answer_bytes.taken()
    }
}

fn as_usize(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

fn rate_limited(detail: &str, wait: Duration) -> Problem {
    Problem::new(ProblemCode::RateLimited, detail).with_retry_after(wait)
}

fn refuse_body(exceeded: QuotaExceeded) -> Problem {
    busy(exceeded, "This client sends more long bodies at a time than one may. Please wait for their answers.")
}

/// The refusal of work for which there is no room.
fn busy(exceeded: QuotaExceeded, by_client: &str) -> Problem {
    match exceeded {
        QuotaExceeded::ByClient => rate_limited(by_client, BUSY_WAIT),
        QuotaExceeded::ByAll => {
            let detail = "The service has as much at work as it can. Nothing was done. Please try again.";
            Problem::new(ProblemCode::Overloaded, detail).with_retry_after(BUSY_WAIT)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use axum::body::Bytes;

    use super::*;
    use crate::extract::body_bytes;

    /// Eight, who can have all between them, and one more.
    fn clients() -> [RequestClient; 9] {
        [1, 2, 3, 4, 5, 6, 7, 8, 9].map(|last| RequestClient::at([127, 0, 0, last].into()))
    }

    fn limits() -> RequestLimits {
        RequestLimits::new(TrustedProxies::default(), None)
    }

    fn request(bytes: usize) -> Request {
        Request::new(Body::from(vec![b' '; bytes]))
    }

    #[test]
    fn work_beyond_what_there_is_room_for_is_refused_at_once() {
        let (limits, clients) = (limits(), clients());
        let (last, others) = clients.split_last().expect("clients");
        let begin = |client, bytes| {
            limits.begin_work(client, &mut request(bytes), Access::Commands).map_err(|problem| problem.code())
        };
        for (at_a_time, bytes) in [(AT_WORK_MAX, 0), (32, BODY_BYTES_AT_WORK_MAX / 32)] {
            let mut places = Vec::new();
            for client in others {
                places.extend((0..at_a_time / 8).map(|_| begin(client, bytes).unwrap_or_else(|code| panic!("{code}"))));
                assert_eq!(begin(client, bytes).err(), Some("rate-limited"));
            }
            assert_eq!(begin(last, bytes).err(), Some("overloaded"));
            places.pop();
            assert!(begin(last, bytes).is_ok());
        }
        assert!(begin(last, BODY_BYTES_MAX + 1).is_ok(), "the reader of the body refuses it");
    }

    /// A request with a body of chunks, which tells no length.
    fn chunked_request(chunks: usize, chunk_bytes: usize) -> Request {
        let chunks = (0..chunks).map(move |_| Ok::<_, std::io::Error>(Bytes::from(vec![b' '; chunk_bytes])));
        Request::new(Body::from_stream(futures::stream::iter(chunks)))
    }

    #[tokio::test]
    async fn a_body_of_unknown_length_counts_as_it_comes() {
        let (limits, clients) = (limits(), clients());
        let one = &clients[0];
        let begin = |client, mut request| {
            let place = limits
                .begin_work(client, &mut request, Access::Commands)
                .unwrap_or_else(|problem| panic!("{problem:?}"));
            (place, request)
        };
        let read = async |request| body_bytes(request, &()).await.map_err(|problem| problem.code());
        let short = (0..100).map(|_| begin(one, chunked_request(10, 100))).collect::<Vec<_>>();
        let mut places = Vec::new();
        for (place, request) in short {
            assert_eq!(read(request).await.map(|bytes| bytes.len()), Ok(1_000));
            places.push(place);
        }
        assert_eq!(limits.body_bytes.taken(), 0);

        // Of many small chunks, each takes more memory than its bytes.
        let (place, request) = begin(one, chunked_request(10_000, 1));
        assert_eq!(read(request).await.map(|bytes| bytes.len()), Ok(10_000));
        assert!(limits.body_bytes.taken() >= 10_000 * CHUNK_OVERHEAD_BYTES, "{}", limits.body_bytes.taken());
        drop((place, places));

        let (mut places, mut codes) = (Vec::new(), Vec::new());
        for client in &clients {
            let refused = loop {
                let (place, request) = begin(client, chunked_request(19, 64 * 1024));
                match read(request).await {
                    Ok(_) => places.push(place),
                    Err(code) => break code,
                }
            };
            codes.push(refused);
            assert!(limits.body_bytes.taken() <= BODY_BYTES_AT_WORK_MAX);
        }
        assert_eq!(codes.split_last(), Some((&"overloaded", &["rate-limited"; 8][..])));
        drop(places);
        assert_eq!(limits.body_bytes.taken(), 0);
    }

    #[tokio::test]
    async fn an_upload_takes_no_room_of_the_bodies_in_memory() {
        let (limits, clients) = (limits(), clients());
        let mut request = chunked_request(200, 64 * 1024);
        let place = limits.begin_work(&clients[0], &mut request, Access::Uploads);
        assert!(place.is_ok());
        let bytes = axum::body::to_bytes(request.into_body(), usize::MAX).await.expect("the whole body");
        assert_eq!((bytes.len(), limits.body_bytes.taken()), (200 * 64 * 1024, 0));
    }

    #[tokio::test]
    async fn refusals_are_held_back_where_a_client_gets_very_many() {
        let (limits, [one, two, ..]) = (limits(), clients());
        let is_held = async |client| {
            let begun = Instant::now();
            limits.hold_refusal(client).await;
            begun.elapsed() >= REFUSAL_DELAY
        };
        let mut at_once = 0;
        while !is_held(&one).await {
            at_once += 1;
        }
        assert!((2_000..4_000).contains(&at_once), "{at_once}");
        assert!(!is_held(&two).await);
    }

    #[tokio::test]
    async fn refusals_are_held_back_where_all_clients_together_get_very_many() {
        let (limits, clients) = (limits(), clients());
        let mut at_once = 0;
        for client in clients.iter().cycle() {
            let begun = Instant::now();
            limits.hold_refusal(client).await;
            if begun.elapsed() >= REFUSAL_DELAY {
                break;
            }
            at_once += 1;
        }
        assert!((8_000..16_000).contains(&at_once), "{at_once}");
    }
}
