//! `/queue-admin`, as other services of HMPPS have it: what was given up goes back to its queue.

use axum::{
    Json,
    extract::State,
    http::{HeaderValue, header},
    response::{IntoResponse as _, Response},
};
use http_api::{Access, GuardedRouter, Problem, ProblemCode, problem::ProblemDocument};
use serde::Serialize;
use utoipa::{OpenApi, ToSchema};
use utoipa_axum::routes;

use crate::dead_letters::WatchedQueue;

/// Every route about queues. Where no queue is named, there is nothing to send back.
pub(crate) fn routes() -> GuardedRouter<Option<WatchedQueue>> {
    GuardedRouter::new(Description::openapi()).described(Access::Queues, routes!(retry_all_dead_letters))
}

#[derive(OpenApi)]
#[openapi(components(schemas(ProblemDocument)))]
struct Description;

/// The messages of one dead-letter queue that went back.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct RetriedDeadLetters {
    /// How many they were.
    messages_found_count: u64,
}

/// Sends the messages of HMPPS that were given up back to their queue.
///
/// One entry for each dead-letter queue, as other services of HMPPS answer. A message that was
/// recorded before it was given up is recorded once all the same.
#[utoipa::path(
    put, path = "/queue-admin/retry-all-dlqs", tag = "Messages of HMPPS",
    responses(
        (status = 200, description = "How many went back", body = Vec<RetriedDeadLetters>),
        (status = 500, description = "A fault inside the ledger", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "The queues are out of reach", body = ProblemDocument, content_type = "application/problem+json"),
    ),
)]
async fn retry_all_dead_letters(State(queue): State<Option<WatchedQueue>>) -> Result<Response, Problem> {
    let retried = match &queue {
        Some(queue) => queue.retry_dead_letters().await.map_err(|error| {
            tracing::warn!(%error, "messages that were given up could not go back to their queue");
            Problem::new(
                ProblemCode::MessagesUnavailable,
                "The queues of messages are out of reach for now. Please try again.",
            )
        })?,
        None => None,
    };
    let answer = retried.map(|messages_found_count| RetriedDeadLetters { messages_found_count });
    let mut response = Json(Vec::from_iter(answer)).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}
