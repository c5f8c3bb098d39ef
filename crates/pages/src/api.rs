//! How pages ask the ledger and record in it: by its HTTP API alone.

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use http_api::headers::CorrelationId;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use tower_service::Service as _;
use uuid::Uuid;

use crate::visitor::Visitor;

/// Most bytes of an answer that a page reads: a long history with its notes has some 2 MB.
const ANSWER_BYTES_MAX: usize = 32 * 1024 * 1024;

/// The client that the pages are for the API, where no token names one.
const CLIENT: &str = "allocation-ledger pages";

const POSITION: HeaderName = HeaderName::from_static("ledger-position");
const POSITION_AT_LEAST: HeaderName = HeaderName::from_static("ledger-position-at-least");
const STREAMS_ASIDE: HeaderName = HeaderName::from_static("ledger-streams-aside");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const CORRELATION_ID: HeaderName = HeaderName::from_static("x-correlation-id");
const RECORDED_BY: HeaderName = HeaderName::from_static("x-recorded-by");

/// The HTTP API of the ledger.
#[derive(Clone)]
pub struct LedgerApi(Router);

impl LedgerApi {
    /// The API of the same process, with all its middleware: rights, limits and the access log
    /// count for a page as for any client.
    #[must_use]
    pub fn in_process(api: Router) -> Self {
        Self(api)
    }

    /// Asks a question.
    pub(crate) async fn get<T: DeserializeOwned>(&self, asker: &Visitor, path: Path) -> Result<ApiAnswer<T>, ApiError> {
        let request = asker.request(Method::GET, &path);
        let (headers, bytes) = self.call(request.body(Body::empty())).await?;
        Ok(ApiAnswer {
            content: parse(&bytes)?,
            position: number(&headers, &POSITION),
            next: next_page(&headers),
            streams_aside: number(&headers, &STREAMS_ASIDE).unwrap_or(0),
        })
    }

    /// Asks a question, and passes the answer on as it is: a stream or a file.
    pub(crate) async fn pass_on(&self, asker: &Visitor, path: Path, accept: &'static str) -> Response {
        let Ok(mut request) = asker.request(Method::GET, &path).body(Body::empty()) else {
            return StatusCode::BAD_REQUEST.into_response();
        };
        request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static(accept));
        if let Some(input_end) = asker.input_end.clone() {
            request.extensions_mut().insert(input_end);
        }
        let Ok(response) = self.0.clone().call(request).await;
        response
    }

    /// Asks for a file: the API's answer as it is.
    pub(crate) async fn download(&self, asker: &Visitor, path: Path) -> Result<Response, ApiError> {
        let request = asker.request(Method::GET, &path).body(Body::empty()).map_err(|_| ApiError::Unreadable)?;
        let Ok(response) = self.0.clone().call(request).await;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(read(response).await.err().unwrap_or(ApiError::Unreadable))
    }

    /// Sends a file while it comes.
    pub(crate) async fn upload<T: DeserializeOwned>(
        &self,
        sender: &Visitor,
        path: Path,
        file: Body,
    ) -> Result<T, ApiError> {
        let request = sender.request(Method::POST, &path).header(header::CONTENT_TYPE, "application/octet-stream");
        let (_, bytes) = self.call(request.body(file)).await?;
        parse(&bytes)
    }

    /// Sends a command.
    pub(crate) async fn send(&self, sender: &Visitor, command: &ApiCommand) -> Result<Recorded, ApiError> {
        let mut request = sender
            .request(command.method.clone(), &command.path)
            .header(header::CONTENT_TYPE, "application/json")
            .header(IDEMPOTENCY_KEY, command.key.to_string());
        if let Some(revision) = command.revision {
            request = request.header(header::IF_MATCH, format!("\"{revision}\""));
        }
        let body = if command.body.is_null() { Body::empty() } else { Body::from(command.body.to_string()) };
        let (headers, bytes) = self.call(request.body(body)).await?;
        Ok(Recorded { position: number(&headers, &POSITION), answer: bytes })
    }

    async fn call(&self, request: Result<Request, axum::http::Error>) -> Result<(HeaderMap, Vec<u8>), ApiError> {
        let request = request.map_err(|error| {
            tracing::error!(error = %error, "a page has made a request that is none");
            ApiError::Unreadable
        })?;
        let Ok(response) = self.0.clone().call(request).await;
        read(response).await
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(bytes).map_err(|error| {
        tracing::error!(error = %error, "an answer of the API is not what the pages expect");
        ApiError::Unreadable
    })
}

async fn read(response: Response) -> Result<(HeaderMap, Vec<u8>), ApiError> {
    let (parts, body) = response.into_parts();
    let bytes = axum::body::to_bytes(body, ANSWER_BYTES_MAX).await.map_err(|_| ApiError::Unreadable)?;
    if parts.status.is_success() {
        return Ok((parts.headers, bytes.into()));
    }
    if parts.status == StatusCode::UNAUTHORIZED {
        return Err(ApiError::SignedOut);
    }
    let mut problem: ApiProblem = serde_json::from_slice(&bytes).map_err(|_| ApiError::Unreadable)?;
    problem.status = parts.status.as_u16();
    Err(ApiError::Refused(Box::new(problem)))
}

fn number(headers: &HeaderMap, name: &HeaderName) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.parse().ok()
}

/// The query of the next page, which a list names in its `Link`.
fn next_page(headers: &HeaderMap) -> Option<String> {
    let links = headers.get(header::LINK)?.to_str().ok()?;
    let next = links.split(',').find(|link| link.contains("rel=\"next\""))?;
    let address = next.split_once('<')?.1.split_once('>')?.0;
    let query = address.split_once('?')?.1;
    form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "after").map(|(_, after)| after.into_owned())
}

impl Visitor {
    /// A request as this visitor, who is named to the API as the visitor of any other client is.
    fn request(&self, method: Method, path: &Path) -> axum::http::request::Builder {
        let mut request = Request::builder()
            .method(method)
            .uri(path.text())
            .header(header::HOST, "localhost")
            .header(header::ACCEPT, "application/json")
            .header(header::USER_AGENT, CLIENT)
            .extension(self.peer);
        request = match &self.access_token {
            Some(token) => request.header(header::AUTHORIZATION, format!("Bearer {}", token.expose())),
            None => request.header(RECORDED_BY, self.name.as_str()),
        };
        if let Some(CorrelationId(id)) = self.correlation_id {
            request = request.header(CORRELATION_ID, id.to_string());
        }
        if let Some(position) = path.position_at_least {
            request = request.header(POSITION_AT_LEAST, position);
        }
        request
    }
}

/// A path of the API with its parameters.
#[derive(Debug, Clone)]
pub(crate) struct Path {
    path: String,
    query: Vec<(String, String)>,
    position_at_least: Option<u64>,
}

impl Path {
    /// A path, whose parts must be identifiers: they are written as they are.
    pub(crate) fn new(path: impl Into<String>) -> Self {
        Self { path: path.into(), query: Vec::new(), position_at_least: None }
    }

    /// Adds a parameter, if it has a value.
    pub(crate) fn with(mut self, name: &str, value: Option<&str>) -> Self {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            self.query.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    /// Waits for this position: the answer includes what was recorded just before.
    pub(crate) fn at_least(mut self, position: Option<u64>) -> Self {
        self.position_at_least = position;
        self
    }

    fn text(&self) -> String {
        if self.query.is_empty() {
            return self.path.clone();
        }
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(&self.query).finish();
        format!("{}?{query}", self.path)
    }
}

/// A command for the API.
#[derive(Debug, Clone)]
pub(crate) struct ApiCommand {
    pub(crate) method: Method,
    pub(crate) path: Path,
    /// Null where the command has no body.
    pub(crate) body: Value,
    /// Sent again, it is the same command.
    pub(crate) key: Uuid,
    /// The revision that the case must still have.
    pub(crate) revision: Option<u64>,
}

/// An answer to a question.
#[derive(Debug)]
pub(crate) struct ApiAnswer<T> {
    pub(crate) content: T,
    /// How far it reaches in the ledger.
    pub(crate) position: Option<u64>,
    /// Where the next page of a list begins.
    pub(crate) next: Option<String>,
    /// Streams that the views leave out.
    pub(crate) streams_aside: u64,
}

/// The outcome of a command.
#[derive(Debug)]
pub(crate) struct Recorded {
    /// Where in the ledger.
    pub(crate) position: Option<u64>,
    answer: Vec<u8>,
}

impl Recorded {
    /// Whether the answer has nothing in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.answer.is_empty()
    }

    /// The answer to the command.
    pub(crate) fn content<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        parse(&self.answer)
    }
}

/// Why the API gave no answer.
#[derive(Debug)]
pub(crate) enum ApiError {
    /// It refused, and says why.
    Refused(Box<ApiProblem>),
    /// The visitor's sign-on has ended.
    SignedOut,
    /// The answer is none that the pages know.
    Unreadable,
}

/// A refusal of the API (RFC 9457).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ApiProblem {
    #[serde(default)]
    pub(crate) status: u16,
    #[serde(default)]
    pub(crate) code: String,
    #[serde(default)]
    pub(crate) title: String,
    #[serde(default)]
    pub(crate) detail: String,
    #[serde(default)]
    pub(crate) errors: Vec<ApiFault>,
}

impl ApiProblem {
    /// A refusal of the pages themselves, in a sentence.
    pub(crate) fn of_pages(status: u16, detail: &str) -> Self {
        let (code, title) = (String::new(), String::new());
        Self { status, code, title, detail: detail.to_owned(), errors: Vec::new() }
    }
}

/// A part of a request that is at fault.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ApiFault {
    /// A JSON pointer into the body, as a fragment.
    pub(crate) pointer: Option<String>,
    pub(crate) parameter: Option<String>,
    pub(crate) detail: String,
}
