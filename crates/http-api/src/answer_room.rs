//! The room that an answer takes until its client has taken it.

use std::sync::Arc;

use axum::{
    body::{Body, Bytes, HttpBody as _, to_bytes},
    response::{IntoResponse as _, Response},
};

use crate::{Problem, QuotaShare, RequestClient, RequestLimits, request_limits::UNCOUNTED_BYTES_MAX};

/// Makes room for the answer to one request; an extension of the request.
#[derive(Clone)]
pub struct AnswerRoom {
    limits: Arc<RequestLimits>,
    client: RequestClient,
    is_of_command: bool,
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

/// An extension of an answer that is counted already.
#[derive(Clone)]
struct CountedAnswer;

impl AnswerRoom {
    pub(crate) fn new(limits: Arc<RequestLimits>, client: RequestClient, is_of_command: bool) -> Self {
        Self { limits, client, is_of_command }
    }

    /// Counts an answer until the client has taken it. One for which there is no room becomes a
    /// refusal, unless it says what was recorded. Every answer comes here in the end; a layer that
    /// must know what the client is told comes earlier, and an answer is counted once.
    pub async fn hold(&self, response: Response) -> Response {
        let length = response.body().size_hint().exact().map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        let is_counted = response.extensions().get::<CountedAnswer>().is_some();
        let Some(bytes) = length.filter(|bytes| *bytes > UNCOUNTED_BYTES_MAX && !is_counted) else { return response };
        let share = match self.limits.take_answer(&self.client, self.is_of_command, bytes) {
            Ok(share) => share,
            Err(problem) => return problem.into_response(),
        };
        let (mut parts, body) = response.into_parts();
        parts.extensions.insert(CountedAnswer);
        // A body of a known length is here already.
        let Ok(bytes) = to_bytes(body, usize::MAX).await else { return Problem::internal().into_response() };
        Response::from_parts(parts, Body::from(Bytes::from_owner(HeldAnswer { bytes, _share: share })))
    }
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;

    use super::*;
    use crate::{TrustedProxies, request_limits::ANSWER_BYTES_WAITING_MAX};

    /// As long as a long page may come: an eighth of all is two of them.
    const LONG: usize = ANSWER_BYTES_WAITING_MAX / 16;

    #[tokio::test]
    async fn answers_count_until_they_are_taken_and_those_of_commands_always_come() {
        let limits = Arc::new(RequestLimits::new(TrustedProxies::default(), None));
        let hold = async |client: u8, is_of_command, bytes: usize| {
            let client = RequestClient::at([127, 0, 0, client].into());
            let room = AnswerRoom::new(Arc::clone(&limits), client, is_of_command);
            let held = room.hold(Response::new(Body::from(vec![b' '; bytes]))).await;
            // As the door does to every answer.
            room.hold(held).await
        };
        let mut held = Vec::new();
        for client in 1..=8 {
            for _ in 0..ANSWER_BYTES_WAITING_MAX / 8 / LONG {
                held.push(hold(client, false, LONG).await);
            }
            let refused = hold(client, false, LONG).await;
            assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
            assert_eq!(refused.headers()["retry-after"], "1");
        }
        assert!(held.iter().all(|answer| answer.status() == StatusCode::OK));
        assert_eq!(hold(9, false, LONG).await.status(), StatusCode::SERVICE_UNAVAILABLE);
        let of_command = hold(9, true, LONG).await;
        let bytes = to_bytes(of_command.into_body(), usize::MAX).await.expect("a body");
        assert_eq!((bytes.len(), limits.answer_bytes_taken()), (LONG, ANSWER_BYTES_WAITING_MAX + LONG));
        drop((bytes, held));
        assert_eq!(limits.answer_bytes_taken(), 0);
        let short = hold(9, false, UNCOUNTED_BYTES_MAX).await;
        assert_eq!((short.status(), limits.answer_bytes_taken()), (StatusCode::OK, 0));

        // One that is longer than a client's part takes all of it.
        let alone = hold(9, false, ANSWER_BYTES_WAITING_MAX).await;
        assert_eq!((alone.status(), hold(9, false, LONG).await.status().as_u16()), (StatusCode::OK, 429));
        drop(alone);
        let before = hold(9, false, LONG).await;
        let refused = hold(9, false, ANSWER_BYTES_WAITING_MAX).await;
        assert_eq!((before.status().as_u16(), refused.status().as_u16()), (200, 429));
    }
}
