//! Records each answer that shows rows in the access log, before it goes out.

use access_log::{AccessEntry, Reader, RecordingMode, Shown};
use axum::{
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use http_api::{
    AnswerRoom, Problem, ProblemCode,
    headers::{AuthenticatedCaller, CorrelationId},
    metrics::method_name,
};
use uuid::Uuid;

use crate::uploads::Imports;

/// Records a request whose answer shows a person's data. Where that must be and cannot, the answer
/// is a problem; and where there is no access log, nothing is asked of the imports.
pub(super) async fn record_read(State(imports): State<Imports>, request: Request, next: Next) -> Response {
    let Some(access_log) = imports.access_log() else {
        let detail = "Who reads a person's data is recorded, and this command service does not know where: its \
                      operator names the database of the views with --views.";
        return Problem::new(ProblemCode::AccessLogUnavailable, detail).into_response();
    };
    if access_log.mode() == RecordingMode::Off {
        return next.run(request).await;
    }
    let extensions = request.extensions();
    let route = extensions.get::<MatchedPath>().map(|route| route.as_str().to_owned());
    let caller = extensions.get::<AuthenticatedCaller>().map(|authenticated| &authenticated.caller);
    let entry = AccessEntry {
        at: imports.clock().now(),
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
    let room = extensions.get::<AnswerRoom>().cloned();
    let mut response = next.run(request).await;
    if let Some(room) = room {
        // An answer for which there is no room shows nothing.
        response = room.hold(response).await;
    }
    let shown = response.extensions_mut().remove::<Shown>().unwrap_or_default();
    if !shown.is_of_person() {
        return response;
    }
    let entry = AccessEntry { status: Some(response.status().as_u16()), shown, ..entry };
    match access_log.record(entry).await {
        Ok(()) => response,
        Err(not_kept) => {
            tracing::warn!(error = &not_kept as &dyn std::error::Error, "a read is refused, as it cannot be recorded");
            let detail = "Who reads a person's data is recorded, and that is not possible for now. Please try again.";
            Problem::new(ProblemCode::AccessLogUnavailable, detail).into_response()
        }
    }
}
