//! Error answers: RFC 9457 problem documents that carry the members of the HMPPS `ErrorResponse`
//! too.
//!
//! A problem tells the caller what to do, and nothing of the inside; the code that handles an
//! internal error logs it. The `code` of a problem is one of the registry, [`ProblemCode`].

use std::time::Duration;

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use domain::{Refusal, identifier::InvalidValue, text::Excerpt};
use event_log::LogError;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{ProblemCode, headers::LEDGER_POSITION};

/// The media type of problem documents.
pub const CONTENT_TYPE: &str = "application/problem+json";

/// How long a caller should wait before it tries again after an outage.
pub const RETRY_AFTER: Duration = Duration::from_secs(1);

/// An error answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem(Box<ProblemMembers>);

/// Boxed, as a problem is the rare end of many a `Result`.
#[derive(Debug, Clone, PartialEq)]
struct ProblemMembers {
    status: StatusCode,
    code: ProblemCode,
    detail: String,
    errors: Vec<Fault>,
    later_entry: Option<u64>,
    survivor: Option<String>,
    instance: Option<String>,
    retry_after: Option<Duration>,
    position: Option<u64>,
}

/// A part of the request that is at fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Fault {
    /// Where in the body: a JSON pointer as a URI fragment, e.g. `#/pom/staffId`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub pointer: Option<String>,
    /// Which path or query parameter.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub parameter: Option<String>,
    /// Which header.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub header: Option<String>,
    /// The fault in words.
    pub detail: String,
}

impl Fault {
    /// A fault in the body.
    pub fn pointer(pointer: impl AsRef<str>, detail: impl Into<String>) -> Self {
        Self { pointer: Some(place(pointer)), parameter: None, header: None, detail: detail.into() }
    }

    /// A fault of a path or query parameter.
    pub fn parameter(name: impl AsRef<str>, detail: impl Into<String>) -> Self {
        Self { pointer: None, parameter: Some(place(name)), header: None, detail: detail.into() }
    }

    /// A fault of a header.
    pub fn header(name: impl AsRef<str>, detail: impl Into<String>) -> Self {
        Self { pointer: None, parameter: None, header: Some(place(name)), detail: detail.into() }
    }
}

/// A place in a request, which the caller may have made up.
fn place(name: impl AsRef<str>) -> String {
    Excerpt(name.as_ref()).to_string()
}

/// Why a request was not answered as asked: an RFC 9457 document with the members of the HMPPS
/// `ErrorResponse`.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Problem)]
pub struct ProblemDocument<'a> {
    /// Identifies the kind of problem: `/problems/` and the code.
    #[serde(rename = "type")]
    type_uri: String,
    /// The kind of problem in words.
    title: String,
    /// The HTTP status.
    status: u16,
    /// What is wrong and what to do, in a sentence.
    detail: &'a str,
    /// The path of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    instance: Option<&'a str>,
    /// Stable code of the kind of problem.
    #[schema(value_type = ProblemCode)]
    code: &'static str,
    /// The parts of the request that are at fault.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [Fault],
    /// For `later-entry-conflict`: the revision of the entry in the way.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    later_entry: Option<u64>,
    /// For `prisoner-number-retired`: the number to use instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    survivor: Option<&'a str>,
    /// HMPPS `ErrorResponse`: the code again.
    #[schema(value_type = ProblemCode)]
    error_code: &'static str,
    /// HMPPS `ErrorResponse`: the detail again.
    user_message: &'a str,
    /// HMPPS `ErrorResponse`: the detail again; the faults are in `errors`.
    developer_message: &'a str,
    /// HMPPS `ErrorResponse`: where to read on.
    more_info: String,
}

impl Problem {
    /// A problem with a code, whose status it has, and a sentence. A problem that passes says when
    /// to try again.
    pub fn new(code: impl Into<ProblemCode>, detail: impl Into<String>) -> Self {
        let code = code.into();
        let status = StatusCode::from_u16(code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self(Box::new(ProblemMembers {
            status,
            code,
            detail: detail.into(),
            errors: Vec::new(),
            later_entry: None,
            survivor: None,
            instance: None,
            retry_after: (status == StatusCode::SERVICE_UNAVAILABLE).then_some(RETRY_AFTER),
            position: None,
        }))
    }

    /// A problem with a code of any status, answered with 404: there is no such thing.
    pub fn not_found(code: impl Into<ProblemCode>, detail: impl Into<String>) -> Self {
        let mut problem = Self::new(code, detail);
        problem.0.status = StatusCode::NOT_FOUND;
        problem
    }

    /// A problem of one faulty part of the request, whose own words serve as the problem's.
    #[must_use]
    pub fn fault(code: ProblemCode, fault: Fault) -> Self {
        let place = fault.pointer.as_deref().or(fault.parameter.as_deref()).or(fault.header.as_deref());
        let detail = match place {
            Some(place) => format!("{place}: {}.", fault.detail),
            None => format!("{}.", fault.detail),
        };
        Self::new(code, detail).with_fault(fault)
    }

    /// 500: a bug or damage. The answer does not name the cause, so the code that answers must have
    /// logged it.
    #[must_use]
    pub fn internal() -> Self {
        Self::new(
            ProblemCode::InternalError,
            "Something went wrong in the ledger. It has been logged; the correlation id of this answer finds it.",
        )
    }

    /// Adds a part of the request that is at fault.
    #[must_use]
    pub fn with_fault(mut self, fault: Fault) -> Self {
        self.0.errors.push(fault);
        self
    }

    /// Says how long the caller should wait, rounded up to a second, before it tries again.
    #[must_use]
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        self.0.retry_after = Some(Duration::from_secs(wait.as_secs_f64().ceil().max(1.0) as u64));
        self
    }

    /// Adds the path of the request.
    #[must_use]
    pub fn with_instance(mut self, path: impl AsRef<str>) -> Self {
        self.0.instance = Some(place(path));
        self
    }

    /// Adds the position up to which the ledger was read for this answer.
    #[must_use]
    pub fn with_position(mut self, position: u64) -> Self {
        self.0.position = Some(position);
        self
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.0.code.code()
    }

    /// The sentence.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    /// The document as it is sent.
    #[must_use]
    pub fn document(&self) -> ProblemDocument<'_> {
        let code = self.0.code.code();
        let type_uri = format!("/problems/{code}");
        ProblemDocument {
            title: self.0.code.title(),
            status: self.0.status.as_u16(),
            detail: &self.0.detail,
            instance: self.0.instance.as_deref(),
            code,
            errors: &self.0.errors,
            later_entry: self.0.later_entry,
            survivor: self.0.survivor.as_deref(),
            error_code: code,
            user_message: &self.0.detail,
            developer_message: &self.0.detail,
            more_info: type_uri.clone(),
            type_uri,
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let mut problem = Self::new(refusal.rule, refusal.sentence);
        problem.0.later_entry = refusal.later_entry;
        problem.0.survivor = refusal.survivor.map(String::from);
        problem
    }
}

impl From<InvalidValue> for Problem {
    fn from(invalid: InvalidValue) -> Self {
        Self::new(ProblemCode::IdentifierInvalid, format!("{invalid}."))
    }
}

impl From<&LogError> for Problem {
    fn from(error: &LogError) -> Self {
        match error {
            LogError::Unavailable(_) => {
                Self::new(ProblemCode::EventStoreUnavailable, "The event store cannot be reached. Please try again.")
            }
            LogError::Damaged { .. } => Self::internal(),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        // A document of texts and numbers always makes JSON.
        let body = serde_json::to_vec(&self.document()).unwrap_or_default();
        let mut response =
            (self.0.status, [(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE))], body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(wait) = self.0.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs()));
        }
        if let Some(position) = self.0.position {
            headers.insert(LEDGER_POSITION, HeaderValue::from(position));
        }
        // The middleware takes it, adds the instance and counts the code.
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::Rule;
    use serde_json::json;

    #[test]
    fn a_refusal_is_understood_by_clients_of_both_kinds() {
        let refusal = Refusal::new(Rule::PomNotActive, "POM 485926 is unavailable at LEI.");
        let problem = Problem::from(refusal).with_instance("/prisoners/A1234BC/allocations");
        assert_eq!(
            serde_json::to_value(problem.document()).expect("JSON"),
            json!({
                "type": "/problems/pom-not-active",
                "title": "POM not active",
                "status": 422,
                "detail": "POM 485926 is unavailable at LEI.",
                "instance": "/prisoners/A1234BC/allocations",
                "code": "pom-not-active",
                "errorCode": "pom-not-active",
                "userMessage": "POM 485926 is unavailable at LEI.",
                "developerMessage": "POM 485926 is unavailable at LEI.",
                "moreInfo": "/problems/pom-not-active",
            })
        );
    }

    #[test]
    fn an_outage_says_when_to_come_back() {
        let error = LogError::Unavailable("gone".into());
        let response = Problem::from(&error).into_response();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[header::RETRY_AFTER], "1");
    }
}
