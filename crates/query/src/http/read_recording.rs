//! Records each read of a person's data in the access log, before its answer goes out.
//!
//! An answer says whom it shows by a [`Shown`] in its extensions, which `Answer` puts there. A
//! number in the path counts too, where the answer is about it: a refusal tells something, too.

use access_log::{AccessEntry, AccessLog, Reader, RecordingMode, Shown};
use axum::{
    extract::{MatchedPath, RawPathParams, Request, State, rejection::RawPathParamsRejection},
    http::StatusCode,
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use http_api::{
    AnswerRoom, Problem, ProblemCode,
    headers::{AuthenticatedCaller, CorrelationId},
    metrics::method_name,
};
use uuid::Uuid;

use super::parameters::number_in;
use crate::QueryState;

/// A request while it is answered, for an answer that goes on after its head.
#[derive(Debug, Clone)]
pub(super) struct ReadInProgress {
    access_log: AccessLog,
    /// The entry without what the answer has.
    entry: AccessEntry,
}

impl ReadInProgress {
    fn new(state: &QueryState, request: &Request) -> Self {
        let extensions = request.extensions();
        let route = extensions.get::<MatchedPath>().map(|route| route.as_str().to_owned());
        let caller = extensions.get::<AuthenticatedCaller>().map(|authenticated| &authenticated.caller);
        let entry = AccessEntry {
            at: state.now(),
            id: Uuid::now_v7(),
            reader: Reader {
                username: caller.and_then(|caller| caller.user_name.clone()),
                client: caller.and_then(|caller| caller.client_id.clone()),
                auth_source: caller.and_then(|caller| caller.auth_source.clone()),
            },
            operation: route.unwrap_or_default().into(),
            method: Some(method_name(request.method())),
            status: None,
            correlation_id: extensions.get().map(|CorrelationId(id)| *id),
            shown: Shown::no_person(),
            lost: None,
        };
        Self { access_log: state.access_log.clone(), entry }
    }

    fn into_entry(self, status: StatusCode, shown: Shown) -> AccessEntry {
        AccessEntry { status: Some(status.as_u16()), shown, ..self.entry }
    }

    /// Records the end of a stream, with what it showed in all, in an entry of its own.
    pub(super) fn record_end(&self, shown: Shown) {
        let end = Self { entry: AccessEntry { id: Uuid::now_v7(), ..self.entry.clone() }, ..self.clone() };
        self.access_log.record_soon(end.into_entry(StatusCode::OK, shown));
    }
}

/// Records a request whose answer shows a person's data. Where that must be and cannot, the answer
/// is a problem.
pub(super) async fn record_read(
    State(state): State<QueryState>,
    path: Result<RawPathParams, RawPathParamsRejection>,
    mut request: Request,
    next: Next,
) -> Response {
    if state.access_log.mode() == RecordingMode::Off {
        return next.run(request).await;
    }
    let number = number_in(path);
    let reading = ReadInProgress::new(&state, &request);
    request.extensions_mut().insert(reading.clone());
    let room = request.extensions().get::<AnswerRoom>().cloned();
    let mut response = next.run(request).await;
    if let Some(room) = room {
        // An answer for which there is no room shows nothing.
        response = room.hold(response).await;
    }
    let mut shown = response.extensions_mut().remove::<Shown>().unwrap_or_default();
    let status = response.status();
    let is_about_number = status.is_success()
        || [StatusCode::NOT_MODIFIED, StatusCode::NOT_FOUND, StatusCode::UNPROCESSABLE_ENTITY].contains(&status);
    shown.prisoners.extend(number.filter(|_| is_about_number));
    if !shown.is_of_person() {
        return response;
    }
    match state.access_log.record(reading.into_entry(status, shown)).await {
        Ok(()) => response,
        Err(not_kept) => {
            tracing::warn!(error = &not_kept as &dyn std::error::Error, "a read is refused, as it cannot be recorded");
            let detail = "Who reads a person's data is recorded, and that is not possible for now. Please try again.";
            Problem::new(ProblemCode::AccessLogUnavailable, detail).into_response()
        }
    }
}
