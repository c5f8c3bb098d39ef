//! Rebuilds, verifications and exports of the views: begun, watched and cancelled.

use axum::{
    extract::{Path as PathPart, State},
    http::Method,
    response::{IntoResponse as _, Redirect, Response},
};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::{
    Pages,
    api::{ApiCommand, ApiError, ApiProblem, Path},
    page_error::PageError,
    sent_form::SentForm,
    views_page::show_refused,
    visitor::Visitor,
};

async fn send(pages: &Pages, sent: &SentForm, command: ApiCommand) -> Result<Response, PageError> {
    if !sent.is_of_session {
        let problem = ApiProblem::of_pages(403, "You have signed in again since you opened this page. Send it again.");
        return show_refused(pages, &sent.visitor, &problem).await;
    }
    match pages.api.send(&sent.visitor, &command).await {
        Ok(_) => Ok(Redirect::to("/pages/views#jobs").into_response()),
        Err(ApiError::Refused(problem)) => show_refused(pages, &sent.visitor, &problem).await,
        Err(error) => Err(error.into()),
    }
}

/// `POST /pages/views/jobs`: begins a job.
pub(crate) async fn begin_job(State(pages): State<Pages>, sent: SentForm) -> Result<Response, PageError> {
    let mut body = Map::new();
    for (member, name) in
        [("kind", "kind"), ("view", "view"), ("format", "format"), ("on", "on"), ("knownAt", "known-at")]
    {
        let text = sent.typed.text(name);
        if !text.is_empty() {
            body.insert(member.to_owned(), text.into());
        }
    }
    let command = ApiCommand {
        method: Method::POST,
        path: Path::new("/projections/jobs"),
        body: Value::Object(body),
        key: sent.typed.key(),
        revision: None,
    };
    send(&pages, &sent, command).await
}

/// `POST /pages/views/jobs/{id}/cancellation`: cancels a job.
pub(crate) async fn cancel_job(
    State(pages): State<Pages>,
    PathPart(id): PathPart<Uuid>,
    sent: SentForm,
) -> Result<Response, PageError> {
    let command = ApiCommand {
        method: Method::DELETE,
        path: Path::new(format!("/projections/jobs/{id}")),
        body: Value::Null,
        key: sent.typed.key(),
        revision: None,
    };
    send(&pages, &sent, command).await
}

/// `GET /pages/views/jobs/{id}/file`: the file of an export.
pub(crate) async fn take_file(
    State(pages): State<Pages>,
    visitor: Visitor,
    PathPart(id): PathPart<Uuid>,
) -> Result<Response, PageError> {
    Ok(pages.api.download(&visitor, Path::new(format!("/projections/jobs/{id}/file"))).await?)
}
