//! A queue of SQS. It hands a message out a few times before it gives it up. A received message
//! stays hidden until its consumer gives it back or [`QueueStandIn::show_hidden`] is called, so
//! that none waits for the end of its time.

use std::{
    collections::{BTreeMap, VecDeque},
    io, mem,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use axum::{Json, Router, body::Bytes, extract::State, http::HeaderMap};
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    sync::{Notify, Semaphore},
    time::timeout,
};

/// More requests for messages than are open at a time.
const REQUESTS_MAX: usize = 1_000;

/// A queue. It ends with the runtime that it was made in.
#[derive(Debug, Clone)]
pub struct QueueStandIn {
    /// The endpoint, for `AWS_ENDPOINT_URL`.
    pub url: String,
    receives_max: u32,
    messages: Arc<Mutex<QueuedMessages>>,
    arrived: Arc<Notify>,
    /// A permit for each request for messages that is open.
    requests: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct QueuedMessages {
    visible: VecDeque<QueuedMessage>,
    /// Those that were received, by their receipts.
    hidden: BTreeMap<u64, QueuedMessage>,
    given_up: Vec<QueuedMessage>,
    receipts: u64,
    holds_deletions: bool,
    refuses_deletions: bool,
    held_deletions: usize,
    /// How long each message that was deleted took since it was sent.
    latencies: Vec<Duration>,
}

#[derive(Debug)]
struct QueuedMessage {
    body: String,
    sent_at: Instant,
    receives: u32,
}

impl QueueStandIn {
    /// Serves a queue on loopback that hands each message out at most `receives_max` times.
    ///
    /// # Errors
    /// There is no free port.
    pub async fn serve(receives_max: u32) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let requests = Arc::new(Semaphore::new(REQUESTS_MAX));
        let queue = Self { url, receives_max, messages: Arc::default(), arrived: Arc::default(), requests };
        let router = Router::new().fallback(answer).with_state(queue.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(queue)
    }

    fn messages(&self) -> MutexGuard<'_, QueuedMessages> {
        self.messages.lock().expect("a lock")
    }

    /// Sends bodies to the queue, in their order.
    pub fn send_all(&self, bodies: impl IntoIterator<Item = String>) {
        let message = |body| QueuedMessage { body, sent_at: Instant::now(), receives: 0 };
        self.messages().visible.extend(bodies.into_iter().map(message));
        self.arrived.notify_waiters();
    }

    /// How many messages the queue has, those at work included.
    #[must_use]
    pub fn queued(&self) -> usize {
        let messages = self.messages();
        messages.visible.len() + messages.hidden.len()
    }

    /// How many messages can be received.
    #[must_use]
    pub fn visible(&self) -> usize {
        self.messages().visible.len()
    }

    /// Deletes nothing any more, or again, without an answer.
    pub fn hold_deletions(&self, holds: bool) {
        self.messages().holds_deletions = holds;
    }

    /// Refuses to delete anything from now on, or deletes again.
    pub fn refuse_deletions(&self, refuses: bool) {
        self.messages().refuses_deletions = refuses;
    }

    /// How often messages were received.
    #[must_use]
    pub fn receipts(&self) -> u64 {
        self.messages().receipts
    }

    /// How many deletions were asked for and held.
    #[must_use]
    pub fn held_deletions(&self) -> usize {
        self.messages().held_deletions
    }

    /// Whether a consumer asks for messages, or has asked and is gone since without this queue's
    /// knowing.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        self.requests.available_permits() < REQUESTS_MAX
    }

    /// Ends the time for which messages are hidden.
    pub fn show_hidden(&self) {
        let mut messages = self.messages();
        let shown = mem::take(&mut messages.hidden);
        messages.visible.extend(shown.into_values());
        self.arrived.notify_waiters();
    }

    /// Sends what was given up back to the queue; answers how many messages that were.
    pub fn retry_given_up(&self) -> usize {
        let mut messages = self.messages();
        let given_up = mem::take(&mut messages.given_up);
        let count = given_up.len();
        messages.visible.extend(given_up.into_iter().map(|message| QueuedMessage { receives: 0, ..message }));
        self.arrived.notify_waiters();
        count
    }

    /// How long messages took from their sending until their deletion: the 99th percentile since
    /// this was asked last.
    #[must_use]
    pub fn latency_p99(&self) -> Option<Duration> {
        let mut latencies = mem::take(&mut self.messages().latencies);
        latencies.sort_unstable();
        latencies.get(latencies.len() * 99 / 100).copied()
    }

    async fn receive(&self, asked: &Value) -> Value {
        let _request = self.requests.acquire().await;
        let most = asked["MaxNumberOfMessages"].as_u64().expect("a number");
        let wait = Duration::from_secs(asked["WaitTimeSeconds"].as_u64().expect("seconds"));
        let waiting = async {
            loop {
                let arrived = self.arrived.notified();
                let received = self.messages().receive(most, self.receives_max);
                if !received.is_empty() {
                    return received;
                }
                arrived.await;
            }
        };
        json!({"Messages": timeout(wait, waiting).await.unwrap_or_default()})
    }

    async fn delete(&self, asked: &Value) -> Value {
        let held = {
            let mut messages = self.messages();
            messages.held_deletions += usize::from(messages.holds_deletions);
            messages.holds_deletions
        };
        if held {
            std::future::pending::<()>().await;
        }
        self.messages().delete(asked)
    }
}

impl QueuedMessages {
    fn receive(&mut self, most: u64, receives_max: u32) -> Vec<Value> {
        let mut received = Vec::new();
        while (received.len() as u64) < most
            && let Some(message) = self.visible.pop_front()
        {
            if message.receives == receives_max {
                self.given_up.push(message);
                continue;
            }
            self.receipts += 1;
            let receipt = self.receipts.to_string();
            received.push(json!({"MessageId": receipt, "ReceiptHandle": receipt, "Body": message.body}));
            self.hidden.insert(self.receipts, QueuedMessage { receives: message.receives + 1, ..message });
        }
        received
    }

    /// Deletes messages. As at SQS, a receipt of an earlier time deletes nothing, and is no error.
    fn delete(&mut self, asked: &Value) -> Value {
        let entries = asked["Entries"].as_array().expect("entries");
        if self.refuses_deletions {
            let fault = |entry: &Value| json!({"Id": entry["Id"], "SenderFault": false, "Code": "InternalError"});
            return json!({"Successful": [], "Failed": entries.iter().map(fault).collect::<Value>()});
        }
        for entry in entries {
            if let Some(message) = self.hidden.remove(&receipt(entry)) {
                self.latencies.push(message.sent_at.elapsed());
            }
        }
        let deleted: Value = entries.iter().map(|entry| json!({"Id": entry["Id"]})).collect();
        json!({"Successful": deleted, "Failed": []})
    }

    fn hide(&mut self, asked: &Value) -> Value {
        if asked["VisibilityTimeout"] == 0 {
            self.visible.extend(self.hidden.remove(&receipt(asked)));
        }
        json!({})
    }

    fn counts(&self) -> Value {
        json!({"Attributes": {
            "ApproximateNumberOfMessages": self.visible.len().to_string(),
            "ApproximateNumberOfMessagesNotVisible": self.hidden.len().to_string(),
        }})
    }
}

fn receipt(asked: &Value) -> u64 {
    asked["ReceiptHandle"].as_str().and_then(|text| text.parse().ok()).expect("a receipt")
}

async fn answer(State(queue): State<QueueStandIn>, headers: HeaderMap, body: Bytes) -> Json<Value> {
    let asked: Value = serde_json::from_slice(&body).expect("JSON");
    let target = headers.get("x-amz-target").and_then(|target| target.to_str().ok()).expect("an action");
    Json(match target.trim_start_matches("AmazonSQS.") {
        "GetQueueUrl" => json!({"QueueUrl": format!("{}/queue", queue.url)}),
        "ReceiveMessage" => queue.receive(&asked).await,
        "DeleteMessageBatch" => queue.delete(&asked).await,
        "ChangeMessageVisibility" => queue.messages().hide(&asked),
        "GetQueueAttributes" => queue.messages().counts(),
        action => panic!("the stand-in knows no {action}"),
    })
}
