//! Extractors for bodies, path parameters and query parameters, which refuse a faulty one with a
//! problem that names the place.
//!
//! The types that they read must have `#[serde(deny_unknown_fields)]`, so that a misspelt field or
//! parameter is refused by name instead of counting as absent.

use std::{borrow::Cow, error::Error, iter::successors, time::Duration};

use axum::{
    extract::{
        FromRequest, FromRequestParts, Path, Query, RawPathParams, Request,
        path::ErrorKind,
        rejection::{BytesRejection, PathRejection},
    },
    http::{HeaderMap, StatusCode, Uri, header, request::Parts},
};
use domain::text::Excerpt;
use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;
use tokio::time::timeout;

use crate::{BODY_BYTES_MAX, Problem, ProblemCode, headers::whole_number, problem::Fault, request_limits::BodyRefused};

/// How long a body may take to come.
const BODY_TIME_MAX: Duration = Duration::from_secs(30);

/// A JSON body.
#[derive(Debug, Clone, Copy)]
pub struct JsonBody<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        require_json(request.headers())?;
        let bytes = body_bytes(request, state).await?;
        from_json(&bytes).map(Self)
    }
}

/// Reads a request's body.
///
/// # Errors
/// `body-too-large`, `body-slow`, `body-incomplete` where the connection broke, or that there is no
/// room for it.
pub async fn body_bytes<S: Send + Sync>(request: Request, state: &S) -> Result<axum::body::Bytes, Problem> {
    let Ok(body) = timeout(BODY_TIME_MAX, axum::body::Bytes::from_request(request, state)).await else {
        let seconds = BODY_TIME_MAX.as_secs();
        return Err(Problem::new(ProblemCode::BodySlow, format!("The body did not come within {seconds} seconds.")));
    };
    body.map_err(|rejection| match rejection {
        BytesRejection::FailedToBufferBody(rejection) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            Problem::new(
                ProblemCode::BodyTooLarge,
                format!("A request body has at most {BODY_BYTES_MAX} bytes. Please send it in several requests."),
            )
        }
        rejection => refusal_of_body(&rejection)
            .unwrap_or_else(|| Problem::new(ProblemCode::BodyIncomplete, "The request body ended before its end.")),
    })
}

/// The refusal that ended a body, if one did.
fn refusal_of_body(error: &(dyn Error + 'static)) -> Option<Problem> {
    let mut causes = successors(Some(error), |&error| error.source());
    causes.find_map(|error| error.downcast_ref().map(|BodyRefused(problem)| problem.clone()))
}

/// Refuses a body whose `Content-Type` is not JSON.
///
/// # Errors
/// `content-type-unsupported`.
pub fn require_json(headers: &HeaderMap) -> Result<(), Problem> {
    match media_type(headers).as_deref() {
        Some("application/json") => Ok(()),
        Some(other) if other.starts_with("application/") && other.ends_with("+json") => Ok(()),
        _ => Err(Problem::new(
            ProblemCode::ContentTypeUnsupported,
            "A request body is JSON; please send it with the header Content-Type: application/json.",
        )),
    }
}

/// The media type of a body as its `Content-Type` says it: in lower case, without parameters.
#[must_use]
pub fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    value.split(';').next().map(|value| value.trim().to_ascii_lowercase())
}

/// Reads JSON. A problem names the place of the mistake.
///
/// # Errors
/// `json-malformed`, `field-unknown`, `field-missing`, `identifier-invalid`, `date-invalid` or
/// `field-invalid`.
pub fn from_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().clone();
        json_problem(&path, &error.into_inner())
    })?;
    deserializer.end().map_err(|error| malformed_body_problem(&error))?;
    Ok(value)
}

fn malformed_body_problem(error: &serde_json::Error) -> Problem {
    Problem::new(ProblemCode::JsonMalformed, format!("The request body is not JSON: {error}."))
}

fn json_problem(path: &serde_path_to_error::Path, error: &serde_json::Error) -> Problem {
    if !error.is_data() {
        return malformed_body_problem(error);
    }
    let text = error.to_string();
    // Serde's text ends with a line and a column, which the pointer replaces.
    let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(text, _)| text);
    let mut pointer = pointer(path);
    let code = match Complaint::of(text) {
        Complaint::Unknown(field) => {
            enter(&mut pointer, field);
            ProblemCode::FieldUnknown
        }
        Complaint::Missing(field) => {
            enter(&mut pointer, field);
            ProblemCode::FieldMissing
        }
        Complaint::Identifier => ProblemCode::IdentifierInvalid,
        Complaint::Date => ProblemCode::DateInvalid,
        Complaint::Other => ProblemCode::FieldInvalid,
    };
    Problem::fault(code, Fault::pointer(pointer, in_words(text)))
}

/// A path as a JSON pointer in a URI fragment.
fn pointer(path: &serde_path_to_error::Path) -> String {
    let mut pointer = "#".to_owned();
    for segment in path {
        match segment {
            Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
            Segment::Map { key } => pointer.push_str(&format!("/{}", key.replace('~', "~0").replace('/', "~1"))),
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    pointer
}

/// Appends a field to a pointer, unless it ends in the field already.
fn enter(pointer: &mut String, field: &str) {
    let step = format!("/{}", field.replace('~', "~0").replace('/', "~1"));
    if !pointer.ends_with(&step) {
        pointer.push_str(&step);
    }
}

/// The kind of mistake that serde found. Serde gives nothing but a text, so this parses the text;
/// the tests pin each form.
enum Complaint<'a> {
    Unknown(&'a str),
    Missing(&'a str),
    Identifier,
    Date,
    Other,
}

impl<'a> Complaint<'a> {
    fn of(text: &'a str) -> Self {
        let quoted = |start: &str| text.strip_prefix(start)?.split('`').next();
        if let Some(field) = quoted("unknown field `") {
            Self::Unknown(field)
        } else if let Some(field) = quoted("missing field `") {
            Self::Missing(field)
        } else if let Some((value, kind)) = text.rsplit_once("` is not ")
            && value.starts_with('`')
            && (kind.starts_with("a ") || kind.starts_with("an "))
        {
            // The form of `domain::identifier::InvalidValue` and of
            // `domain::moment::InvalidMoment`. The value may hold anything, so the last such words
            // count.
            let is_moment = kind.starts_with("a date in ") || kind.starts_with("an instant in ");
            if is_moment { Self::Date } else { Self::Identifier }
        } else {
            Self::Other
        }
    }
}

const WRITE_A_UUID: &str = "write a UUID such as 0b5b2c5e-6e0a-4a0e-9c55-2a3c6d1f8e11";
const WRITE_A_WHOLE_NUMBER: &str = "write a whole number";
const WRITE_A_NUMBER: &str = "write a number such as 0.5";
const WRITE_A_TRUTH: &str = "write true or false";

/// Puts a library's complaint into words that a caller can act on. Complaints of this project's own
/// types are in such words already.
fn in_words(complaint: &str) -> Cow<'_, str> {
    if complaint.starts_with("UUID parsing failed") {
        return format!("not a UUID; {WRITE_A_UUID}").into();
    }
    if let Some(rest) = complaint.strip_prefix("invalid type: ").or_else(|| complaint.strip_prefix("invalid value: ")) {
        let (given, expected) = rest.rsplit_once(", expected ").unwrap_or((rest, ""));
        let given = given.replace('`', "");
        return format!("{} does not fit here; {}", Excerpt(&given), describe_expected(expected)).into();
    }
    if let Some(rest) = complaint.strip_prefix("unknown variant `") {
        let (given, known) = rest.rsplit_once("`, expected ").unwrap_or((rest, ""));
        let known = known.trim_start_matches("one of ").replace("` or `", "`, `");
        return format!("`{}` is not one of: {known}", Excerpt(given)).into();
    }
    if let Some(rest) = complaint.strip_prefix("unknown field `") {
        let known = rest.strip_suffix("`, there are no fields").map(|given| (given, ""));
        let (given, known) = known.or_else(|| rest.rsplit_once("`, expected ")).unwrap_or((rest, ""));
        let known = known.trim_start_matches("one of ").replace("` or `", "`, `");
        let known = if known.is_empty() { known } else { format!("; known are: {known}") };
        return format!("`{}` is not known here{known}", Excerpt(given)).into();
    }
    if let Some(field) = complaint.strip_prefix("missing field `").and_then(|rest| rest.split('`').next()) {
        return format!("`{field}` is missing and has to be given").into();
    }
    if let Some(field) = complaint.strip_prefix("duplicate field `").and_then(|rest| rest.split('`').next()) {
        return format!("`{field}` is given twice").into();
    }
    match complaint {
        "invalid digit found in string"
        | "cannot parse integer from empty string"
        | "number too large to fit in target type"
        | "number too small to fit in target type" => {
            format!("not a whole number that fits here; {WRITE_A_WHOLE_NUMBER}").into()
        }
        "provided string was not `true` or `false`" => format!("neither true nor false; {WRITE_A_TRUTH}").into(),
        other => other.into(),
    }
}

/// Puts a library's name for an expected type into words.
fn describe_expected(expected: &str) -> Cow<'_, str> {
    match expected {
        "a formatted UUID string" | "UUID" => WRITE_A_UUID.into(),
        "i64" | "u64" | "i32" | "u32" | "u16" | "u8" => WRITE_A_WHOLE_NUMBER.into(),
        "f64" | "f32" => WRITE_A_NUMBER.into(),
        "a boolean" => WRITE_A_TRUTH.into(),
        "a string" | "a borrowed string" => "write a text in quotes".into(),
        "a sequence" => "write an array".into(),
        // The types of `domain::moment` expect an example.
        example if example.contains(" such as ") => format!("write {example}").into(),
        other if other.starts_with("struct ") || other == "a map" => "write an object".into(),
        other => format!("expected is {other}").into(),
    }
}

/// Whether a text is a number with a plus sign, which `str::parse` and so serde would take as a
/// second spelling of the number. No parameter of another kind looks like it.
fn is_number_with_sign(text: &str) -> bool {
    text.strip_prefix('+').is_some_and(|number| whole_number::<u128>(number).is_some())
}

fn not_a_whole_number(text: &str) -> String {
    format!("`{}` is not a whole number that fits here; {WRITE_A_WHOLE_NUMBER}", Excerpt(text))
}

/// The parameters in a path.
#[derive(Debug, Clone, Copy)]
pub struct PathParams<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for PathParams<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        if let Ok(parameters) = RawPathParams::from_request_parts(parts, state).await
            && let Some((_, number)) = parameters.iter().find(|(_, value)| is_number_with_sign(value))
        {
            return Err(Problem::new(ProblemCode::IdentifierInvalid, format!("{}.", not_a_whole_number(number))));
        }
        match Path::from_request_parts(parts, state).await {
            Ok(Path(value)) => Ok(Self(value)),
            Err(PathRejection::FailedToDeserializePathParams(error)) => {
                let text = match error.into_kind() {
                    ErrorKind::DeserializeError { message, .. } | ErrorKind::Message(message) => {
                        in_words(&message).into_owned()
                    }
                    ErrorKind::ParseError { value, .. }
                    | ErrorKind::ParseErrorAtIndex { value, .. }
                    | ErrorKind::ParseErrorAtKey { value, .. } => not_a_whole_number(&value),
                    kind => kind.to_string(),
                };
                Err(Problem::new(ProblemCode::IdentifierInvalid, format!("{text}.")))
            }
            Err(rejection) => {
                tracing::error!(error = %rejection, "a route and its handler disagree about the path");
                Err(Problem::internal())
            }
        }
    }
}

/// The query parameters.
#[derive(Debug, Clone, Copy)]
pub struct Params<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Self::from_uri(&parts.uri)
    }
}

impl<T: DeserializeOwned> Params<T> {
    /// Reads the query of a URI.
    pub(crate) fn from_uri(uri: &Uri) -> Result<Self, Problem> {
        if let Ok(Query(parameters)) = Query::<Vec<(String, String)>>::try_from_uri(uri)
            && let Some((name, number)) = parameters.iter().find(|(_, value)| is_number_with_sign(value))
        {
            return Err(Problem::fault(
                ProblemCode::ParameterInvalid,
                Fault::parameter(name, not_a_whole_number(number)),
            ));
        }
        Query::try_from_uri(uri).map(|Query(value)| Self(value)).map_err(|rejection| {
            let text = rejection.source().map_or_else(|| rejection.to_string(), ToString::to_string);
            parameter_problem(&text)
        })
    }
}

/// The refusal of a parameter that an operation does not have.
#[must_use]
pub fn unknown_parameter(name: &str, known: &[&str]) -> Problem {
    let detail = format!("`{}` is not known here; known are: `{}`", Excerpt(name), known.join("`, `"));
    Problem::fault(ProblemCode::ParameterUnknown, Fault::parameter(name, detail))
}

/// `text` comes from `serde_path_to_error`: the parameter, a colon and the complaint, or the
/// complaint alone. The name of an unknown parameter may be any text.
fn parameter_problem(text: &str) -> Problem {
    let is_unknown = |&(at, words): &(usize, &str)| {
        let named = text[at + words.len()..].strip_prefix(&text[..at]);
        named.is_some_and(|rest| rest.starts_with('`'))
    };
    let unknown = text.match_indices(": unknown field `").find(is_unknown);
    let unknown = unknown.map(|(at, _)| (None, &text[at + ": ".len()..]));
    let (parameter, complaint) = unknown.unwrap_or_else(|| match text.split_once(": ") {
        Some((parameter, complaint)) if parameter.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') => {
            (Some(parameter), complaint)
        }
        _ => (None, text),
    });
    match Complaint::of(complaint) {
        Complaint::Unknown(name) => {
            Problem::fault(ProblemCode::ParameterUnknown, Fault::parameter(name, in_words(complaint)))
        }
        Complaint::Missing(name) => {
            Problem::fault(ProblemCode::ParameterMissing, Fault::parameter(name, in_words(complaint)))
        }
        Complaint::Identifier | Complaint::Date | Complaint::Other => Problem::fault(
            ProblemCode::ParameterInvalid,
            Fault::parameter(parameter.unwrap_or("query"), in_words(complaint)),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::{
        identifier::{PrisonerNumber, StaffId},
        moment::{Date, Instant},
    };
    use serde::Deserialize;
    use serde_json::json;

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    #[expect(dead_code, reason = "only whether it can be read is of interest")]
    struct Example {
        pom: Pom,
        number: Option<PrisonerNumber>,
        day: Option<Date>,
        effective_at: Option<Instant>,
        list: Option<Vec<Pom>>,
        id: Option<uuid::Uuid>,
        count: Option<u8>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    #[expect(dead_code, reason = "only whether it can be read is of interest")]
    struct Pom {
        staff_id: StaffId,
    }

    #[track_caller]
    fn check(body: &str, code: &str, pointer: Option<&str>) {
        let problem = from_json::<Example>(body.as_bytes()).expect_err("refused");
        let document = serde_json::to_value(problem.document()).expect("JSON");
        assert_eq!(document["code"], code, "{document}");
        assert_eq!(document["errors"][0]["pointer"], json!(pointer), "{document}");
    }

    #[test]
    fn a_body_is_refused_with_its_code_and_place() {
        check("{", "json-malformed", None);
        check(r#"{"pom":{"staffId":1}} x"#, "json-malformed", None);
        check(r#"{"pom":{"staffId":1},"nmuber":"A1234BC"}"#, "field-unknown", Some("#/nmuber"));
        check(r#"{"pom":{"staffId":1,"a/b":2}}"#, "field-unknown", Some("#/pom/a~1b"));
        check(r#"{"pom":{}}"#, "field-missing", Some("#/pom/staffId"));
        check("{}", "field-missing", Some("#/pom"));
        check(r#"{"pom":{"staffId":0}}"#, "identifier-invalid", Some("#/pom/staffId"));
        check(r#"{"pom":{"staffId":"1"}}"#, "field-invalid", Some("#/pom/staffId"));
        check(r#"{"pom":{"staffId":1},"number":"a1234bc"}"#, "identifier-invalid", Some("#/number"));
        check(
            r#"{"pom":{"staffId":1},"list":[{"staffId":1},{"staffId":-1}]}"#,
            "identifier-invalid",
            Some("#/list/1/staffId"),
        );
    }

    #[test]
    fn an_impossible_date_is_refused_as_a_date() {
        for day in ["2026-02-30", "2026-13-01", "yesterday", "2026-1-1", " 2026-01-01", "2026", "", "` is not a tier"] {
            check(&json!({"pom": {"staffId": 1}, "day": day}).to_string(), "date-invalid", Some("#/day"));
        }
        for instant in ["2026-02-30T00:00:00Z", "2026-01-01T25:00:00Z", "2026-01-01", "2026-01-01T00:00:00"] {
            let body = json!({"pom": {"staffId": 1}, "effectiveAt": instant}).to_string();
            check(&body, "date-invalid", Some("#/effectiveAt"));
        }
        for instant in ["1899-12-31T23:59:59Z", "2200-01-01T00:00:00Z", "-4800-01-01T00:00:00Z"] {
            let body = json!({"pom": {"staffId": 1}, "effectiveAt": instant}).to_string();
            check(&body, "date-invalid", Some("#/effectiveAt"));
        }
    }

    #[track_caller]
    fn check_words(body: &str, detail: &str) {
        assert_eq!(from_json::<Example>(body.as_bytes()).expect_err("refused").detail(), detail);
    }

    #[test]
    fn a_refusal_says_what_to_write() {
        check_words(
            r#"{"day":"2026-02-30"}"#,
            "#/day: `2026-02-30` is not a date in the years 1900 to 2199; write a date such as 2026-03-01.",
        );
        check_words(r#"{"day":1}"#, "#/day: integer 1 does not fit here; write a date such as 2026-03-01.");
        check_words(
            r#"{"effectiveAt":1}"#,
            "#/effectiveAt: integer 1 does not fit here; write an instant such as 2026-03-01T09:00:00Z.",
        );
        check_words(r#"{"id":"1"}"#, "#/id: not a UUID; write a UUID such as 0b5b2c5e-6e0a-4a0e-9c55-2a3c6d1f8e11.");
        check_words(r#"{"count":"1"}"#, "#/count: string \"1\" does not fit here; write a whole number.");
        check_words(r#"{"count":256}"#, "#/count: integer 256 does not fit here; write a whole number.");
        check_words(r#"{"pom":1}"#, "#/pom: integer 1 does not fit here; write an object.");
        check_words("{}", "#/pom: `pom` is missing and has to be given.");
        check_words(r#"{"pom":{"staff":1}}"#, "#/pom/staff: `staff` is not known here; known are: `staffId`.");
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "kebab-case", deny_unknown_fields)]
    #[expect(dead_code, reason = "only whether it can be read is of interest")]
    struct ExampleQuery {
        staff_id: Option<StaffId>,
        #[serde(default, deserialize_with = "crate::instant::optional_known_at")]
        known_at: Option<event_log::KnownAt>,
    }

    async fn check_query(query: &str, code: &str, parameter: &str) {
        let request = Request::builder().uri(format!("/x?{query}")).body(()).expect("a request");
        let refused =
            Params::<ExampleQuery>::from_request_parts(&mut request.into_parts().0, &()).await.expect_err("refused");
        let document = serde_json::to_value(refused.document()).expect("JSON");
        assert_eq!(document["code"], code, "{document}");
        assert_eq!(document["errors"][0]["parameter"], parameter, "{document}");
    }

    #[tokio::test]
    async fn a_query_is_refused_with_its_code_and_parameter() {
        check_query("kown-at=5", "parameter-unknown", "kown-at").await;
        check_query("a%3A%20b=5", "parameter-unknown", "a: b").await;
        check_query("staff-id=x", "parameter-invalid", "staff-id").await;
        check_query("staff-id=%2B5", "parameter-invalid", "staff-id").await;
        check_query("known-at=soon", "parameter-invalid", "known-at").await;
    }
}
