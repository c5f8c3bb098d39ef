//! The limits on requests: how often a client may ask, and how much all and each of them may have
//! at work and in memory at a time.
//!
//! A request beyond a limit is refused at once, and work that was begun is finished. A client never
//! has more than half of what all share, so one alone keeps no other out.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes, HttpBody as _, to_bytes},
    extract::Request,
    response::{IntoResponse as _, Response},
};

use tokio::time::sleep;

use crate::{
    BODY_BYTES_MAX, ClientQuota, Problem, ProblemCode, RequestClient, TrustedProxies,
    client_quota::{QuotaExceeded, QuotaShare},
    rate_limit::RateLimit,
};

/// Most requests that are worked on at a time, some 50 kB each. Most of them wait for a store.
const AT_WORK_MAX: usize = 1_024;

/// Most bytes of request bodies that are read or worked on at a time.
const BODY_BYTES_AT_WORK_MAX: usize = 32 * 1024 * 1024;

/// Most bytes of answers that wait for their clients to take them.
const ANSWER_BYTES_WAITING_MAX: usize = 64 * 1024 * 1024;

/// A body or an answer up to this size is not counted: the connections bound how many there are.
const UNCOUNTED_BYTES_MAX: usize = 16 * 1024;

/// Most tokens in a second from one address that were not verified before. A verification takes
/// some 30 microseconds, and a client needs a new token once in an hour. Many people behind one
/// address may begin to work in the same moment.
const VERIFICATIONS_PER_SECOND: NonZeroU32 = NonZeroU32::MIN.saturating_add(99);
const VERIFICATIONS_AT_ONCE: NonZeroU32 = NonZeroU32::MIN.saturating_add(999);

const TWICE: NonZeroU32 = NonZeroU32::MIN.saturating_add(1);

/// Most refusals in a second that a client gets at once; further ones are held back.
const REFUSALS_PER_SECOND: NonZeroU32 = NonZeroU32::MIN.saturating_add(499);
const REFUSALS_AT_ONCE: NonZeroU32 = NonZeroU32::MIN.saturating_add(1_999);

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
    at_work: Arc<ClientQuota>,
    body_bytes: Arc<ClientQuota>,
    answer_bytes: Arc<ClientQuota>,
}

/// The place of a request among those at work.
pub(crate) struct WorkPlace {
    _at_work: QuotaShare,
    _body: Option<QuotaShare>,
}

/// An answer that waits to be taken. The server drops its bytes when the system has them all.
struct HeldAnswer {
    bytes: Bytes,
    _share: QuotaShare,
}

impl AsRef<[u8]> for HeldAnswer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

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
            at_work: ClientQuota::half_for_client(AT_WORK_MAX),
            body_bytes: ClientQuota::half_for_client(BODY_BYTES_AT_WORK_MAX),
            answer_bytes: ClientQuota::half_for_client(ANSWER_BYTES_WAITING_MAX),
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

    /// Holds the refusal of a request back, if the client gets very many: rubbish then takes little
    /// time from the requests of others.
    pub(crate) async fn hold_refusal(&self, client: &RequestClient) {
        if self.refusals.check(client).is_err() {
            sleep(REFUSAL_DELAY).await;
        }
    }

    /// Gives a request a place, with room for its body.
    pub(crate) fn begin_work(&self, client: &RequestClient, request: &Request) -> Result<WorkPlace, Problem> {
        let at_work = self.at_work.take(Some(client), 1).map_err(|exceeded| {
            busy(exceeded, "This client has more requests at work than one may. Please wait for their answers.")
        })?;
        let bytes = request.body().size_hint().upper().map_or(BODY_BYTES_MAX, as_usize);
        // A longer one is refused unread.
        let is_counted = (UNCOUNTED_BYTES_MAX + 1..=BODY_BYTES_MAX).contains(&bytes);
        let body = is_counted.then(|| self.body_bytes.take(Some(client), bytes)).transpose().map_err(|exceeded| {
            busy(exceeded, "This client sends more long bodies at a time than one may. Please wait for their answers.")
        })?;
        Ok(WorkPlace { _at_work: at_work, _body: body })
    }

    /// Counts an answer until the client has taken it. One for which there is no room becomes a
    /// refusal, unless it says what was recorded.
    pub(crate) async fn hold_answer(
        &self,
        client: &RequestClient,
        is_of_command: bool,
        response: Response,
    ) -> Response {
        let length = response.body().size_hint().exact().map(as_usize);
        let Some(bytes) = length.filter(|bytes| *bytes > UNCOUNTED_BYTES_MAX) else { return response };
        let share = if is_of_command {
            Ok(self.answer_bytes.take_anyway(client, bytes))
        } else {
            self.answer_bytes.take(Some(client), bytes)
        };
        let share = match share {
            Ok(share) => share,
            Err(exceeded) => {
                let detail =
                    "This client leaves more answers untaken than one may. Please read them, or ask for shorter pages.";
                return busy(exceeded, detail).into_response();
            }
        };
        let (parts, body) = response.into_parts();
        // A body of a known length is here already.
        let Ok(bytes) = to_bytes(body, usize::MAX).await else { return Problem::internal().into_response() };
        Response::from_parts(parts, Body::from(Bytes::from_owner(HeldAnswer { bytes, _share: share })))
    }
}

fn as_usize(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

fn rate_limited(detail: &str, wait: Duration) -> Problem {
    Problem::new(ProblemCode::RateLimited, detail).with_retry_after(wait)
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

    use axum::http::StatusCode;

    use super::*;

    fn clients() -> [RequestClient; 3] {
        [1, 2, 3].map(|last| RequestClient::at([127, 0, 0, last].into()))
    }

    fn limits() -> RequestLimits {
        RequestLimits::new(TrustedProxies::default(), None)
    }

    fn request(bytes: usize) -> Request {
        Request::new(Body::from(vec![b' '; bytes]))
    }

    #[test]
    fn work_beyond_what_there_is_room_for_is_refused_at_once() {
        let (limits, [one, two, three]) = (limits(), clients());
        let begin = |client, bytes| limits.begin_work(client, &request(bytes)).map_err(|problem| problem.code());
        for (at_a_time, bytes) in [(AT_WORK_MAX, 0), (BODY_BYTES_AT_WORK_MAX / BODY_BYTES_MAX, BODY_BYTES_MAX)] {
            let mut places = Vec::new();
            for client in [&one, &two] {
                places.extend((0..at_a_time / 2).map(|_| begin(client, bytes).unwrap_or_else(|code| panic!("{code}"))));
                assert_eq!(begin(client, bytes).err(), Some("rate-limited"));
            }
            assert_eq!(begin(&three, bytes).err(), Some("overloaded"));
            places.pop();
            assert!(begin(&three, bytes).is_ok());
        }
        assert!(begin(&one, BODY_BYTES_MAX + 1).is_ok(), "the reader of the body refuses it");
    }

    #[tokio::test]
    async fn refusals_are_held_back_where_a_client_gets_very_many() {
        let (limits, [one, two, _]) = (limits(), clients());
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
    async fn answers_count_until_they_are_taken_and_those_of_commands_always_come() {
        const LONG: usize = 4 * 1024 * 1024;
        let (limits, [one, two, three]) = (limits(), clients());
        let hold = async |client, is_of_command| {
            limits.hold_answer(client, is_of_command, Response::new(Body::from(vec![b' '; LONG]))).await
        };
        let mut held = Vec::new();
        for client in [&one, &two] {
            for _ in 0..ANSWER_BYTES_WAITING_MAX / 2 / LONG {
                held.push(hold(client, false).await);
            }
            let refused = hold(client, false).await;
            assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
            assert_eq!(refused.headers()["retry-after"], "1");
        }
        assert!(held.iter().all(|answer| answer.status() == StatusCode::OK));
        assert_eq!(hold(&three, false).await.status(), StatusCode::SERVICE_UNAVAILABLE);
        let of_command = hold(&three, true).await;
        let bytes = to_bytes(of_command.into_body(), usize::MAX).await.expect("a body");
        assert_eq!((bytes.len(), limits.answer_bytes.taken()), (LONG, ANSWER_BYTES_WAITING_MAX + LONG));
        drop((bytes, held));
        assert_eq!(limits.answer_bytes.taken(), 0);
        let short = limits.hold_answer(&three, false, Response::new(Body::from("here"))).await;
        assert_eq!((short.status(), limits.answer_bytes.taken()), (StatusCode::OK, 0));
    }
}
