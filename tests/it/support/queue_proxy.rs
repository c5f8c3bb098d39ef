//! A way to a queue on which a test sees what is asked of SQS, and that may hold deletions back.

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, Uri},
    response::IntoResponse,
};
use serde_json::Value;
use tokio::net::TcpListener;

use super::{estate::Estate, http_client};

/// A way to a queue.
#[derive(Clone)]
pub struct QueueProxy {
    /// The URL of the way.
    pub url: String,
    queue: String,
    holds_deletions: bool,
    http: reqwest::Client,
    requests: Arc<Mutex<Vec<(String, Value)>>>,
}

impl QueueProxy {
    /// A way that passes everything on.
    pub async fn serve(estate: &Estate) -> Self {
        Self::serve_with(estate, false).await
    }

    /// A way on which deletions never arrive.
    pub async fn hold_deletions(estate: &Estate) -> Self {
        Self::serve_with(estate, true).await
    }

    async fn serve_with(estate: &Estate, holds_deletions: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("its address"));
        let queue = estate.url().to_owned();
        let proxy = Self { url, queue, holds_deletions, http: http_client(), requests: Arc::default() };
        let router = Router::new().fallback(pass).with_state(proxy.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        proxy
    }

    /// The bodies of the requests so far that ask for an action.
    pub fn requests(&self, action: &str) -> Vec<Value> {
        let requests = self.requests.lock().expect("a lock");
        requests.iter().filter(|(asked, _)| asked == action).map(|(_, body)| body.clone()).collect()
    }
}

async fn pass(State(proxy): State<QueueProxy>, uri: Uri, headers: HeaderMap, body: Bytes) -> impl IntoResponse {
    let target = headers.get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default();
    let action = target.rsplit('.').next().unwrap_or_default().to_owned();
    let is_deletion = action.starts_with("Delete");
    let asked = (action, serde_json::from_slice(&body).expect("JSON"));
    proxy.requests.lock().expect("a lock").push(asked);
    if is_deletion && proxy.holds_deletions {
        std::future::pending::<()>().await;
    }
    let mut request = proxy.http.post(format!("{}{uri}", proxy.queue)).body(body);
    for name in ["x-amz-target", "content-type", "authorization", "x-amz-date"] {
        request = headers.get(name).into_iter().fold(request, |request, value| request.header(name, value));
    }
    let answer = request.send().await.expect("moto answers");
    (answer.status(), answer.bytes().await.expect("its answer"))
}
