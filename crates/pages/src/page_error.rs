//! The page that is shown where a question has no answer.

use askama::Template;
use axum::{
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
};

use crate::{
    api::{ApiError, ApiProblem},
    page_frame::{PageFrame, show_as},
};

/// Why a page cannot be shown.
#[derive(Debug)]
pub(crate) enum PageError {
    /// The API gave no answer.
    Api(ApiError),
    /// The address has a part that is none, in words.
    Address(String),
}

impl From<ApiError> for PageError {
    fn from(error: ApiError) -> Self {
        Self::Api(error)
    }
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage {
    frame: PageFrame,
    detail: String,
    advice: &'static str,
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        let (status, title, detail) = match self {
            Self::Api(ApiError::SignedOut) => return Redirect::to("/pages/sign-in").into_response(),
            Self::Api(ApiError::Refused(problem)) => {
                let ApiProblem { status, title, detail, .. } = *problem;
                let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                (status, title, detail)
            }
            Self::Api(ApiError::Unreadable) => {
                let detail = "The ledger gave an answer that this page cannot show.".to_owned();
                (StatusCode::BAD_GATEWAY, "Sorry, there is a problem with the service".to_owned(), detail)
            }
            Self::Address(detail) => (StatusCode::NOT_FOUND, "Page not found".to_owned(), detail),
        };
        let advice = match status.as_u16() {
            403 => "Ask your administrator for the role or the prison that you need.",
            404 => "Check what you typed. If it is right, the ledger has never heard of it.",
            429 => "Wait a moment, and load the page again.",
            status if status >= 500 => "Nothing was lost. Load the page again in a moment.",
            _ => "Go back, put it right, and try again.",
        };
        show_as(status, &ErrorPage { frame: PageFrame::open(title), detail, advice })
    }
}
