//! A client of the program: JSON over HTTP.

use reqwest::{Method, StatusCode, header::HeaderMap};
use serde_json::Value;

/// A client of a running ledger: of one program, or of a command and a query service. For the two
/// services it routes requests as a gateway in front of them would.
#[derive(Debug, Clone)]
pub struct Client {
    base_url: String,
    /// The command service, where it is a service of its own.
    command_url: Option<String>,
    http: reqwest::Client,
}

/// Questions whose input is too long for a path and therefore comes in a body.
const QUESTIONS_WITH_A_BODY: [&str; 3] = ["/responsibilities", "/handover-dates", "/allocation/active"];

/// An answer of the program.
#[derive(Debug, Clone)]
pub struct HttpAnswer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// The body as it was sent.
    pub text: String,
    /// The body as JSON, or null where it is not JSON.
    pub body: Value,
}

impl HttpAnswer {
    /// The value of a header that was sent and is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// An HTTP client for anything.
pub fn http_client() -> reqwest::Client {
    // The program's dependencies enable TLS in the HTTP client without cryptography for it. An
    // error means that a provider is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::new()
}

impl Client {
    pub fn new(base_url: &str) -> Self {
        Self { base_url: base_url.to_owned(), command_url: None, http: http_client() }
    }

    /// A client that trusts the certificates of an authority, given in PEM, and no others.
    pub fn trusting(base_url: &str, authority: &[u8]) -> Self {
        let authority = reqwest::Certificate::from_pem(authority).expect("a certificate");
        let http = reqwest::Client::builder().tls_certs_only([authority]).build().expect("a client");
        Self { http, ..Self::new(base_url) }
    }

    /// A client that sends commands to another service.
    pub fn with_commands_to(self, command_url: &str) -> Self {
        Self { command_url: Some(command_url.to_owned()), ..self }
    }

    /// The URL of the service that handles a request.
    fn url_of(&self, method: &Method, path: &str) -> &str {
        let is_of_uploads = path.contains("/spreadsheets");
        let is_question = (*method == Method::GET || *method == Method::HEAD) && !is_of_uploads
            || QUESTIONS_WITH_A_BODY.iter().any(|question| path.split('?').next() == Some(question));
        self.command_url.as_deref().filter(|_| !is_question).unwrap_or(&self.base_url)
    }

    /// The URL for questions, such as `http://127.0.0.1:43211`.
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    pub async fn get(&self, path: &str) -> HttpAnswer {
        self.send(Method::GET, path, &[], None).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> HttpAnswer {
        self.send(Method::POST, path, &[], Some(body)).await
    }

    pub async fn put(&self, path: &str, body: &Value) -> HttpAnswer {
        self.send(Method::PUT, path, &[], Some(body)).await
    }

    /// Sends a request and panics if no answer arrives.
    pub async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: Option<&Value>) -> HttpAnswer {
        self.try_send(method.clone(), path, headers, body)
            .await
            .unwrap_or_else(|error| panic!("{method} {path} was not answered: {error:?}"))
    }

    /// Sends a request. An error means that no answer arrived.
    pub async fn try_send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> reqwest::Result<HttpAnswer> {
        let mut request = self.http.request(method.clone(), format!("{}{path}", self.url_of(&method, path)));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        read_answer(request).await
    }

    /// Uploads a file, and panics if no answer arrives.
    pub async fn upload(&self, path: &str, headers: &[(&str, &str)], file: impl Into<reqwest::Body>) -> HttpAnswer {
        let url = format!("{}{path}", self.url_of(&Method::POST, path));
        let mut request = self.http.post(url).header("Content-Type", "application/octet-stream").body(file);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        read_answer(request).await.unwrap_or_else(|error| panic!("{path} was not answered: {error:?}"))
    }
}

async fn read_answer(request: reqwest::RequestBuilder) -> reqwest::Result<HttpAnswer> {
    let response = request.send().await?;
    let (status, headers) = (response.status(), response.headers().clone());
    let text = response.text().await?;
    let body = serde_json::from_str(&text).unwrap_or(Value::Null);
    Ok(HttpAnswer { status, headers, text, body })
}
