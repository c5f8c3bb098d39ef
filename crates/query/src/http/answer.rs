//! An answer and its headers: its position in the log, its entity tag, `no-store`, and the link to
//! the next page.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use access_log::Shown;
use axum::{
    extract::Request,
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http_api::{
    Problem,
    headers::{LEDGER_POSITION, LEDGER_STREAMS_ASIDE},
    page::{self, Cursor},
};
use serde::Serialize;

use crate::past::ListExtent;

/// A JSON answer that includes the log up to a position. It says whom it shows, so that no question
/// is answered past the access log.
#[derive(Debug)]
pub(crate) struct Answer<T> {
    position: Option<u64>,
    body: T,
    shown: Shown,
    tag: Option<String>,
    next: Option<HeaderValue>,
    streams_aside: Option<usize>,
}

impl<T: Serialize> Answer<T> {
    /// An answer that shows this data of persons, which the access log keeps.
    pub(crate) fn new(position: u64, body: T, shown: Shown) -> Self {
        Self { position: Some(position), ..Self::beside_ledger(body, shown) }
    }

    /// An answer that does not come from the ledger, and so has no position in it.
    pub(crate) fn beside_ledger(body: T, shown: Shown) -> Self {
        Self { position: None, body, shown, tag: None, next: None, streams_aside: None }
    }

    /// A list, which says how many cases and prisons the views leave out.
    pub(crate) fn list(ListExtent { position, streams_aside }: ListExtent, body: T, shown: Shown) -> Self {
        Self { streams_aside: Some(streams_aside), ..Self::new(position, body, shown) }
    }

    /// Sets the entity tag. Needed by an answer that says when it was asked, whose bytes are never
    /// the same twice.
    pub(crate) fn with_tag(mut self, tag: String) -> Self {
        self.tag = Some(tag);
        self
    }

    /// Links to the next page, if there is one.
    pub(crate) fn with_next(mut self, next: Option<&Cursor>, uri: &Uri) -> Self {
        self.next = next.and_then(|cursor| cursor.next_link(uri));
        self
    }

    /// [`Self::with_next`] for a list that is paged by position.
    pub(crate) fn with_next_after(mut self, next: Option<u64>, uri: &Uri) -> Self {
        self.next = next.and_then(|position| page::next_link(uri, position));
        self
    }
}

impl<T: Serialize> IntoResponse for Answer<T> {
    fn into_response(self) -> Response {
        let body = match serde_json::to_vec(&self.body) {
            Ok(body) => body,
            Err(error) => {
                tracing::error!(%error, "an answer is not JSON");
                return Problem::internal().into_response();
            }
        };
        // A hash in any case: proxies log tags, which may not name a person.
        let mut hasher = DefaultHasher::new();
        match &self.tag {
            Some(tag) => tag.hash(&mut hasher),
            None => {
                hasher.write(&body);
                // A client that gets a 304 keeps the headers that it has, so what they say counts.
                self.streams_aside.hash(&mut hasher);
                self.next.hash(&mut hasher);
            }
        }
        let tag = format!("W/\"{:016x}\"", hasher.finish());
        let mut headers = HeaderMap::with_capacity(6);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(position) = self.position {
            headers.insert(LEDGER_POSITION, HeaderValue::from(position));
        }
        if let Some(streams) = self.streams_aside {
            headers.insert(LEDGER_STREAMS_ASIDE, HeaderValue::from(streams));
        }
        if let Ok(tag) = HeaderValue::try_from(tag) {
            headers.insert(header::ETAG, tag);
        }
        if let Some(next) = self.next {
            headers.insert(header::LINK, next);
        }
        let mut response = (headers, body).into_response();
        if self.shown.is_of_person() {
            response.extensions_mut().insert(self.shown);
        }
        response
    }
}

/// Answers 304 without a body where the caller has the answer already.
pub(crate) async fn answer_not_modified(request: Request, next: Next) -> Response {
    let if_none_match = match *request.method() {
        Method::GET | Method::HEAD => request.headers().get(header::IF_NONE_MATCH).cloned(),
        _ => None,
    };
    let mut response = next.run(request).await;
    if let Some(if_none_match) = if_none_match.as_ref().and_then(|value| value.to_str().ok())
        && let Some(tag) = response.headers().get(header::ETAG).and_then(|value| value.to_str().ok())
        && is_match(if_none_match, tag)
    {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        *response.body_mut() = axum::body::Body::empty();
        response.headers_mut().remove(header::CONTENT_TYPE);
        response.headers_mut().remove(header::CONTENT_LENGTH);
    }
    response
}

/// Whether `If-None-Match` names the tag, by the weak comparison.
fn is_match(if_none_match: &str, tag: &str) -> bool {
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    if_none_match.trim() == "*" || if_none_match.split(',').any(|one| opaque(one) == opaque(tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_match_weakly() {
        assert!(is_match("W/\"1\"", "W/\"1\""));
        assert!(is_match("\"0\", \"1\"", "W/\"1\""));
        assert!(is_match("*", "W/\"1\""));
        assert!(!is_match("\"11\"", "W/\"1\""));
    }

    #[test]
    fn equal_answers_have_equal_tags() {
        let tag = |body: &str| {
            Answer::new(7, body.to_owned(), Shown::no_person()).into_response().headers()[header::ETAG].clone()
        };
        assert_eq!(tag("a"), tag("a"));
        assert_ne!(tag("a"), tag("b"));
    }
}
