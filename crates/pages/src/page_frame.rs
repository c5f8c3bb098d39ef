//! The frame of each page, and the headers of its answer.

use askama::Template;
use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{Html, IntoResponse as _, Response},
};

/// A page may show the style sheet, run the script and send its forms here, and nothing else: text
/// that became markup would do nothing.
const SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; \
                               connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The frame of a page.
pub(crate) struct PageFrame {
    /// The title, which begins the window's title, too.
    pub(crate) title: String,
    /// The person who looks, where one is known.
    pub(crate) person: Option<PersonInFrame>,
    /// The page above this one: its address and its name.
    pub(crate) back: Option<(String, String)>,
    /// Whether something that was typed is refused, which the window's title says first.
    pub(crate) has_errors: bool,
}

/// The person who looks, as each page says it.
pub(crate) struct PersonInFrame {
    pub(crate) name: String,
    /// The text that the form for signing out carries; `None` where there is no sign-on.
    pub(crate) csrf: Option<String>,
}

impl PageFrame {
    /// The frame of a page for a visitor.
    pub(crate) fn new(title: impl Into<String>, person: impl Into<PersonInFrame>) -> Self {
        Self { title: title.into(), person: Some(person.into()), back: None, has_errors: false }
    }

    /// The frame of a page for a visitor who is not known.
    pub(crate) fn open(title: impl Into<String>) -> Self {
        Self { title: title.into(), person: None, back: None, has_errors: false }
    }

    /// With a link back.
    pub(crate) fn back(mut self, address: impl Into<String>, name: impl Into<String>) -> Self {
        self.back = Some((address.into(), name.into()));
        self
    }

    /// As a page that shows what was refused.
    pub(crate) fn with_errors(mut self, has_errors: bool) -> Self {
        self.has_errors = has_errors;
        self
    }
}

/// A page with its headers.
pub(crate) fn show(page: &impl Template) -> Response {
    show_as(StatusCode::OK, page)
}

/// A page with its headers and this status.
pub(crate) fn show_as(status: StatusCode, page: &impl Template) -> Response {
    show_kept(status, page, "no-store")
}

/// A page with something that was typed. The browser may keep it, so that the back button loses
/// nothing.
pub(crate) fn show_typed(status: StatusCode, page: &impl Template) -> Response {
    show_kept(status, page, "private, no-cache")
}

fn show_kept(status: StatusCode, page: &impl Template, kept: &'static str) -> Response {
    let html = match page.render() {
        Ok(html) => html,
        Err(error) => {
            tracing::error!(error = %error, "a page cannot be made");
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
    };
    let headers = [
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(SECURITY_POLICY)),
        (header::CACHE_CONTROL, HeaderValue::from_static(kept)),
    ];
    (status, headers, Html(html)).into_response()
}
