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
    page::{self, Cursor, PAGE_BYTES_MAX},
};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

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

/// An answer with a problem that shows this data of persons: its sentence names another number than
/// the one asked about, after a merge.
pub(super) fn problem_that_shows(problem: Problem, shown: Shown) -> Response {
    let mut response = problem.into_response();
    if shown.is_of_person() {
        response.extensions_mut().insert(shown);
    }
    response
}

fn no_json(error: &serde_json::Error) -> Problem {
    tracing::error!(%error, "an answer is not JSON");
    Problem::internal()
}

/// The rows of a page as JSON, and where the next page begins. Rows that do not fit into
/// [`PAGE_BYTES_MAX`] are left to the next page; `next` is where that begins if all of them fit.
pub(super) fn page_rows<'r, R, T: Serialize>(
    rows: &'r [R],
    next: Option<Cursor>,
    document: impl Fn(&'r R) -> T,
    cursor_after: impl Fn(&R) -> Cursor,
) -> Result<(Vec<Box<RawValue>>, Option<Cursor>), Problem> {
    let (mut documents, mut bytes) = (Vec::with_capacity(rows.len()), 0);
    for (index, row) in rows.iter().enumerate() {
        let document = to_raw_value(&document(row)).map_err(|error| no_json(&error))?;
        bytes += document.get().len();
        documents.push(document);
        if bytes >= PAGE_BYTES_MAX && index + 1 < rows.len() {
            return Ok((documents, Some(cursor_after(row))));
        }
    }
    Ok((documents, next))
}

impl<T: Serialize> IntoResponse for Answer<T> {
    fn into_response(self) -> Response {
        let body = match serde_json::to_vec(&self.body) {
            Ok(body) => body,
            Err(error) => return no_json(&error).into_response(),
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
    fn rows_beyond_the_bytes_of_a_page_are_on_the_next() {
        let rows: Vec<String> = (0..5).map(|index| index.to_string().repeat(PAGE_BYTES_MAX / 2)).collect();
        let last = Cursor::after(&"last");
        let page = |from: usize| {
            let page = page_rows(&rows[from..], Some(last.clone()), |row| row, |row| Cursor::after(&&row[..1]));
            let (documents, next) = page.expect("rows");
            (documents.len(), next.expect("a next page"))
        };
        assert_eq!(page(0), (2, Cursor::after(&"1")));
        assert_eq!(page(2), (2, Cursor::after(&"3")));
        assert_eq!(page(3), (2, last.clone()));
        assert_eq!(page(4), (1, last.clone()));
    }

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
