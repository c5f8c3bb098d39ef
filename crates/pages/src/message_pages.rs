//! Messages of HMPPS that wait for a person.

use askama::Template;
use axum::{
    extract::{Path as PathPart, Query, State},
    http::{Method, StatusCode},
    response::{IntoResponse as _, Redirect, Response},
};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use crate::{
    Pages,
    api::{ApiAnswer, ApiCommand, ApiError, ApiProblem, Path},
    clocks::time,
    page_error::PageError,
    page_frame::{PageFrame, show_as},
    sent_form::SentForm,
    visitor::Visitor,
};

/// A message that waits.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ShownMessage {
    id: Uuid,
    event_type: Option<String>,
    parked_at: DateTime<Utc>,
    reason: String,
    tries: u32,
}

impl ShownMessage {
    fn why(&self) -> &str {
        match self.reason.as_str() {
            "UNREADABLE" => "It cannot be read",
            "REFUSED" => "A rule refuses what it says",
            "NEEDS_DECISION" => "A person must decide",
            "DELETION" => "The data was deleted in NOMIS or Delius",
            "FAILED" => "It failed again and again",
            other => other,
        }
    }

    fn parked(&self) -> String {
        time(self.parked_at)
    }
}

#[derive(Template)]
#[template(path = "messages.html")]
struct MessagesPage {
    frame: PageFrame,
    messages: Vec<ShownMessage>,
    next: Option<String>,
    csrf: String,
    error: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct MessagesQuery {
    after: Option<String>,
}

async fn show_page(
    pages: &Pages,
    visitor: &Visitor,
    after: Option<&str>,
    refusal: Option<&ApiProblem>,
) -> Result<Response, PageError> {
    let path = Path::new("/integration/parked").with("after", after);
    let messages: ApiAnswer<Vec<ShownMessage>> = pages.api.get(visitor, path).await?;
    let frame =
        PageFrame::new("Messages that wait", visitor).back("/pages/views", "views").with_errors(refusal.is_some());
    let status = refusal.and_then(|problem| StatusCode::from_u16(problem.status).ok()).unwrap_or(StatusCode::OK);
    let (next, csrf) = (messages.next, visitor.csrf.clone());
    let error = refusal.map(|problem| problem.detail.clone());
    Ok(show_as(status, &MessagesPage { frame, messages: messages.content, next, csrf, error }))
}

/// `GET /pages/messages`
pub(crate) async fn show_messages(
    State(pages): State<Pages>,
    visitor: Visitor,
    Query(query): Query<MessagesQuery>,
) -> Result<Response, PageError> {
    show_page(&pages, &visitor, query.after.as_deref(), None).await
}

/// `POST /pages/messages/{id}`: tries a message again, or dismisses it.
pub(crate) async fn decide_on_message(
    State(pages): State<Pages>,
    PathPart(id): PathPart<Uuid>,
    sent: SentForm,
) -> Result<Response, PageError> {
    if !sent.is_of_session {
        let problem = ApiProblem::of_pages(403, "You have signed in again since you opened this page. Choose again.");
        return show_page(&pages, &sent.visitor, None, Some(&problem)).await;
    }
    let message = format!("/integration/parked/{id}");
    let (method, path) = match sent.typed.step() {
        "dismiss" => (Method::DELETE, message),
        _ => (Method::POST, format!("{message}/retry")),
    };
    let command = ApiCommand { method, path: Path::new(path), body: Value::Null, key: Uuid::new_v4(), revision: None };
    match pages.api.send(&sent.visitor, &command).await {
        Ok(_) => Ok(Redirect::to("/pages/messages").into_response()),
        Err(ApiError::Refused(problem)) => show_page(&pages, &sent.visitor, None, Some(&problem)).await,
        Err(error) => Err(error.into()),
    }
}
