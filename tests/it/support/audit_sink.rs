//! A queue of SQS that keeps the messages that it takes: some at the first try, some later.

use std::sync::{Arc, Mutex, MutexGuard};

use axum::{
    Json, Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::random_numbers::RandomNumbers;

/// The queue.
#[derive(Clone)]
pub struct AuditSink {
    /// The address of SQS.
    pub server: String,
    state: Arc<Mutex<AuditSinkState>>,
}

struct AuditSinkState {
    /// By which it refuses.
    numbers: RandomNumbers,
    /// The bodies that were taken.
    taken: Vec<Value>,
    refused: usize,
    /// How many messages more are taken before the queue stops, amid a request.
    until_stop: Option<usize>,
}

impl AuditSink {
    /// Starts a queue. Of ten requests it fails one or so, and of ten messages it refuses two.
    pub async fn start(seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let server = format!("http://{}", listener.local_addr().expect("its address"));
        let state = AuditSinkState { numbers: RandomNumbers(seed), taken: Vec::new(), refused: 0, until_stop: None };
        let sink = Self { server, state: Arc::new(Mutex::new(state)) };
        let router = Router::new().fallback(take).with_state(sink.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        sink
    }

    /// The URL of the queue.
    pub fn url(&self) -> String {
        format!("{}/123456789012/audit", self.server)
    }

    fn state(&self) -> MutexGuard<'_, AuditSinkState> {
        self.state.lock().expect("a lock")
    }

    /// The bodies of the messages that were taken, in their order.
    pub fn taken(&self) -> Vec<Value> {
        self.state().taken.clone()
    }

    /// How many messages were refused.
    pub fn refused(&self) -> usize {
        self.state().refused
    }

    /// Takes so many messages more, and then stops amid the request: it answers neither that one
    /// nor a later one.
    pub fn stop_after(&self, messages: usize) {
        self.state().until_stop = Some(messages);
    }

    /// Whether it has stopped.
    pub fn has_stopped(&self) -> bool {
        self.state().until_stop == Some(0)
    }

    /// Takes messages and answers again.
    pub fn go_on(&self) {
        self.state().until_stop = None;
    }
}

async fn take(State(sink): State<AuditSink>, headers: HeaderMap, body: Bytes) -> (StatusCode, Json<Value>) {
    let target = headers.get("x-amz-target").and_then(|target| target.to_str().ok());
    assert_eq!(target, Some("AmazonSQS.SendMessageBatch"), "a sender may send, and nothing else");
    let asked: Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(asked["QueueUrl"], sink.url());
    let answer = sink.state().take(asked["Entries"].as_array().expect("entries"));
    match answer {
        Some(answer) => answer,
        // The answer never comes.
        None => std::future::pending().await,
    }
}

impl AuditSinkState {
    /// Takes the messages of a request; `None` where the queue has stopped.
    fn take(&mut self, entries: &[Value]) -> Option<(StatusCode, Json<Value>)> {
        if self.until_stop == Some(0) {
            return None;
        }
        if self.numbers.roll(10) < 1 {
            return Some((StatusCode::SERVICE_UNAVAILABLE, Json(json!({}))));
        }
        assert!((1..=10).contains(&entries.len()), "{} messages in a request", entries.len());
        let (mut successful, mut failed) = (Vec::new(), Vec::new());
        for entry in entries {
            if self.until_stop == Some(0) {
                return None;
            }
            if self.numbers.roll(10) < 2 {
                self.refused += 1;
                failed.push(json!({"Id": entry["Id"], "SenderFault": false, "Code": "InternalError"}));
                continue;
            }
            let event_type = json!({"DataType": "String", "StringValue": "hmpps-audit-event"});
            assert_eq!(entry["MessageAttributes"], json!({ "eventType": event_type }));
            let body = entry["MessageBody"].as_str().expect("a body");
            self.taken.push(serde_json::from_str(body).expect("JSON"));
            self.until_stop = self.until_stop.map(|left| left - 1);
            successful.push(json!({"Id": entry["Id"], "MessageId": "m", "MD5OfMessageBody": "d"}));
        }
        let answer = json!({"Successful": successful, "Failed": failed});
        (self.until_stop != Some(0)).then_some((StatusCode::OK, Json(answer)))
    }
}
