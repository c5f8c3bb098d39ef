//! Error answers: RFC 9457 problem documents that carry the members of the HMPPS `ErrorResponse`
//! too.
//!
//! A problem tells the caller what to do, and nothing of the inside; the code that handles an
//! internal error logs it. The `code` of a problem is stable and listed in `docs/api.md`.

use std::{borrow::Cow, time::Duration};

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use domain::{Refusal, Rule, identifier::InvalidValue, rule::RuleKind, text::Excerpt};
use event_log::LogError;
use serde::Serialize;
use utoipa::ToSchema;

use crate::headers::LEDGER_POSITION;

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
    code: Cow<'static, str>,
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
    pub pointer: Option<String>,
    /// Which path or query parameter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameter: Option<String>,
    /// Which header.
    #[serde(skip_serializing_if = "Option::is_none")]
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

/// The document that is sent; public for the OpenAPI description.
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
    instance: Option<&'a str>,
    /// Stable code of the kind of problem.
    code: &'a str,
    /// The parts of the request that are at fault.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [Fault],
    /// For `later-entry-conflict`: the revision of the entry in the way.
    #[serde(skip_serializing_if = "Option::is_none")]
    later_entry: Option<u64>,
    /// For `prisoner-number-retired`: the number to use instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    survivor: Option<&'a str>,
    /// HMPPS `ErrorResponse`: the code again.
    error_code: &'a str,
    /// HMPPS `ErrorResponse`: the detail again.
    user_message: &'a str,
    /// HMPPS `ErrorResponse`: the detail again; the faults are in `errors`.
    developer_message: &'a str,
    /// HMPPS `ErrorResponse`: where to read on.
    more_info: String,
}

impl Problem {
    /// A problem with a status, a code and a sentence.
    pub fn new(status: StatusCode, code: impl Into<Cow<'static, str>>, detail: impl Into<String>) -> Self {
        Self(Box::new(ProblemMembers {
            status,
            code: code.into(),
            detail: detail.into(),
            errors: Vec::new(),
            later_entry: None,
            survivor: None,
            instance: None,
            retry_after: None,
            position: None,
        }))
    }

    /// 400: the request cannot be read.
    pub fn bad_request(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    /// 400 for one faulty part of the request, whose own words serve as the problem's.
    #[must_use]
    pub fn fault(code: &'static str, fault: Fault) -> Self {
        let place = fault.pointer.as_deref().or(fault.parameter.as_deref()).or(fault.header.as_deref());
        let detail = match place {
            Some(place) => format!("{place}: {}.", fault.detail),
            None => format!("{}.", fault.detail),
        };
        Self::bad_request(code, detail).with_fault(fault)
    }

    /// 404: there is no such thing.
    pub fn not_found(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, detail)
    }

    /// 412: the caller insisted on a revision that is not the current one.
    pub fn precondition_failed(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::PRECONDITION_FAILED, code, detail)
    }

    /// 422: the request is understood and refused.
    pub fn unprocessable(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail)
    }

    /// 503 with `Retry-After`: trying the same again helps.
    pub fn unavailable(code: &'static str, detail: impl Into<String>) -> Self {
        let mut problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail);
        problem.0.retry_after = Some(RETRY_AFTER);
        problem
    }

    /// 500: a bug or damage. The answer does not name the cause, so the code that answers must have
    /// logged it.
    #[must_use]
    pub fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal-error",
            "Something went wrong in the ledger. It has been logged; the correlation id of this answer finds it.",
        )
    }

    /// Adds a part of the request that is at fault.
    #[must_use]
    pub fn with_fault(mut self, fault: Fault) -> Self {
        self.0.errors.push(fault);
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
    pub fn code(&self) -> Cow<'static, str> {
        self.0.code.clone()
    }

    /// The sentence.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    /// The document as it is sent.
    #[must_use]
    pub fn document(&self) -> ProblemDocument<'_> {
        let type_uri = format!("/problems/{}", self.0.code);
        ProblemDocument {
            title: title(&self.0.code),
            status: self.0.status.as_u16(),
            detail: &self.0.detail,
            instance: self.0.instance.as_deref(),
            code: &self.0.code,
            errors: &self.0.errors,
            later_entry: self.0.later_entry,
            survivor: self.0.survivor.as_deref(),
            error_code: &self.0.code,
            user_message: &self.0.detail,
            developer_message: &self.0.detail,
            more_info: type_uri.clone(),
            type_uri,
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let mut problem = Self::new(status(refusal.rule), refusal.rule.code(), refusal.sentence);
        problem.0.later_entry = refusal.later_entry;
        problem.0.survivor = refusal.survivor.map(String::from);
        problem
    }
}

/// The status of an answer to a command that breaks a rule.
fn status(rule: Rule) -> StatusCode {
    match rule.kind() {
        // The status that reading the case has.
        RuleKind::SubjectUnknown => StatusCode::NOT_FOUND,
        RuleKind::NotPermitted => StatusCode::UNPROCESSABLE_ENTITY,
    }
}

impl From<InvalidValue> for Problem {
    fn from(invalid: InvalidValue) -> Self {
        Self::bad_request("identifier-invalid", format!("{invalid}."))
    }
}

impl From<&LogError> for Problem {
    fn from(error: &LogError) -> Self {
        match error {
            LogError::Unavailable(_) => {
                Self::unavailable("event-store-unavailable", "The event store cannot be reached. Please try again.")
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

/// The kind of problem in words: its code, with the names that are written in capitals.
fn title(code: &str) -> String {
    let mut words: Vec<String> = code
        .split('-')
        .map(|word| match word {
            "pom" | "com" | "json" | "nomis" | "crn" => word.to_uppercase(),
            "omic" => "OMiC".to_owned(),
            word => word.to_owned(),
        })
        .collect();
    if let Some(first) = words.first_mut()
        && let Some(initial) = first.get(..1).map(str::to_uppercase)
    {
        first.replace_range(..1, &initial);
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
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
