//! A topic of SNS and a queue of SQS with its dead-letter queue, on `moto`: real servers over HTTP,
//! which keep everything in memory.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    sync::mpsc,
};

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use serde_json::{Value, json};

use super::{PATIENCE, eventually, http_client, python::python_with, watchdog::Watchdog};

const REGION: &str = "eu-west-2";

/// How often the queue hands a message out before the dead-letter queue gets it, as in the estate.
pub const RECEIVES_MAX: u32 = 3;

/// A topic with a queue. Dropping it ends the server.
pub struct Estate {
    url: String,
    http: reqwest::Client,
    topic: String,
    child: Child,
    watchdog: Watchdog,
}

/// The name of the queue.
pub const QUEUE: &str = "domain-events-queue";

/// The name of its dead-letter queue.
pub const DEAD_LETTERS: &str = "domain-events-dlq";

impl Estate {
    /// Starts a server; `None` where Python has no `moto`, outside CI.
    pub async fn start() -> Option<Self> {
        let python = python_with("moto.server")?;
        let mut child = Command::new(python)
            .args(["-m", "moto.server", "-H", "127.0.0.1", "-p", "0"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("start moto");
        let watchdog = Watchdog::new("kill -KILL \"$1\"", &[child.id().to_string().as_ref()]);
        let stderr = child.stderr.take().expect("its output");
        let (address_found, address) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if let Some(start) = line.find("http://127") {
                    let _ = address_found.send(line[start..].trim().to_owned());
                }
            }
        });
        let address = tokio::task::spawn_blocking(move || address.recv_timeout(PATIENCE)).await.expect("a thread");
        let url = address.expect("the address of moto");
        let mut estate = Self { url, http: http_client(), topic: String::new(), child, watchdog };
        estate.make_topic_and_queue().await;
        Some(estate)
    }

    async fn make_topic_and_queue(&mut self) {
        self.sqs("CreateQueue", json!({"QueueName": DEAD_LETTERS})).await;
        let dead_letters = format!("arn:aws:sqs:{REGION}:123456789012:{DEAD_LETTERS}");
        let redrive = json!({"deadLetterTargetArn": dead_letters, "maxReceiveCount": RECEIVES_MAX}).to_string();
        self.sqs("CreateQueue", json!({"QueueName": QUEUE, "Attributes": {"RedrivePolicy": redrive}})).await;
        let created = self.sns(&[("Action", "CreateTopic"), ("Name", "domain-events")]).await;
        let arn = created.split_once("<TopicArn>").and_then(|(_, rest)| rest.split_once("</TopicArn>"));
        self.topic = arn.expect("an ARN").0.to_owned();
        let queue = format!("arn:aws:sqs:{REGION}:123456789012:{QUEUE}");
        let topic = self.topic.clone();
        self.sns(&[("Action", "Subscribe"), ("TopicArn", &topic), ("Protocol", "sqs"), ("Endpoint", &queue)]).await;
    }

    /// The environment of a program that is to use this server, at a URL.
    pub fn environment_at(url: &str) -> [(&str, &str); 4] {
        [
            ("AWS_ENDPOINT_URL", url),
            ("AWS_REGION", REGION),
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
        ]
    }

    /// The environment of a program that is to use this server.
    pub fn environment(&self) -> [(&str, &str); 4] {
        Self::environment_at(&self.url)
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    fn queue_url(&self, name: &str) -> String {
        format!("{}/123456789012/{name}", self.url)
    }

    /// Asks SQS.
    async fn sqs(&self, action: &str, body: Value) -> Value {
        let request = self.http.post(&self.url).header("X-Amz-Target", format!("AmazonSQS.{action}"));
        let request = request.header(CONTENT_TYPE, "application/x-amz-json-1.0").header(AUTHORIZATION, signed("sqs"));
        let answer = request.body(body.to_string()).send().await.expect("SQS answers");
        let (status, text) = (answer.status(), answer.text().await.expect("its answer"));
        assert!(status.is_success(), "{action}: {status} {text}");
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// Asks SNS.
    async fn sns(&self, parameters: &[(&str, &str)]) -> String {
        let pairs = parameters.iter().map(|(name, value)| format!("{name}={}", percent_encoded(value)));
        let request = self.http.post(&self.url).header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        let request = request.header(AUTHORIZATION, signed("sns")).body(pairs.collect::<Vec<_>>().join("&"));
        let answer = request.send().await.expect("SNS answers");
        let (status, text) = (answer.status(), answer.text().await.expect("its answer"));
        assert!(status.is_success(), "{parameters:?}: {status} {text}");
        text
    }

    /// Publishes a domain event to the topic.
    pub async fn publish(&self, event: &Value) {
        let event_type = event["eventType"].as_str().expect("a type");
        self.sns(&[
            ("Action", "Publish"),
            ("TopicArn", &self.topic),
            ("Message", &event.to_string()),
            ("MessageAttributes.entry.1.Name", "eventType"),
            ("MessageAttributes.entry.1.Value.DataType", "String"),
            ("MessageAttributes.entry.1.Value.StringValue", event_type),
        ])
        .await;
    }

    /// Sends a body to the queue as it is.
    pub async fn send(&self, body: &str) {
        self.sqs("SendMessage", json!({"QueueUrl": self.queue_url(QUEUE), "MessageBody": body})).await;
    }

    /// Receives what can be received, as a consumer does that dies before it deletes.
    pub async fn receive_and_die(&self) {
        self.receive_and_die_on(QUEUE).await;
    }

    /// As [`Self::receive_and_die`], on another queue.
    pub async fn receive_and_die_on(&self, queue: &str) {
        let queue = self.queue_url(queue);
        let asked = json!({"QueueUrl": queue, "VisibilityTimeout": 0, "MaxNumberOfMessages": 10});
        self.sqs("ReceiveMessage", asked).await;
    }

    /// Shows a message again that was received from a queue.
    pub async fn show(&self, queue: &str, receipt: &str) {
        let body = json!({"QueueUrl": self.queue_url(queue), "ReceiptHandle": receipt, "VisibilityTimeout": 0});
        self.sqs("ChangeMessageVisibility", body).await;
    }

    /// The ARN of the topic.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// Makes a further queue.
    pub async fn make_queue(&self, name: &str) {
        self.sqs("CreateQueue", json!({"QueueName": name})).await;
    }

    /// Receives and deletes the messages that the queue has: their bodies.
    pub async fn take_messages(&self) -> Vec<Value> {
        let messages = self.take_messages_from(QUEUE).await;
        let texts = messages.iter().map(|message| message["Body"].as_str().expect("a body"));
        texts.map(|text| serde_json::from_str(text).expect("a notification")).collect()
    }

    /// Receives and deletes the messages that a queue has, with their attributes.
    pub async fn take_messages_from(&self, queue: &str) -> Vec<Value> {
        let (queue, mut taken) = (self.queue_url(queue), Vec::new());
        loop {
            let asked = json!({"QueueUrl": queue, "MaxNumberOfMessages": 10, "WaitTimeSeconds": 0,
                "MessageAttributeNames": ["All"]});
            let answer = self.sqs("ReceiveMessage", asked).await;
            let messages = answer["Messages"].as_array().cloned().unwrap_or_default();
            if messages.is_empty() {
                return taken;
            }
            let entries: Vec<Value> = messages
                .iter()
                .enumerate()
                .map(|(index, message)| json!({"Id": index.to_string(), "ReceiptHandle": message["ReceiptHandle"]}))
                .collect();
            self.sqs("DeleteMessageBatch", json!({"QueueUrl": queue, "Entries": entries})).await;
            taken.extend(messages);
        }
    }

    /// How many messages of a queue can be received, and how many are at work.
    async fn count(&self, queue: &str) -> (u64, u64) {
        let names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"];
        let asked = json!({"QueueUrl": self.queue_url(queue), "AttributeNames": names});
        let answer = self.sqs("GetQueueAttributes", asked).await;
        let count = |name: &str| answer["Attributes"][name].as_str().and_then(|text| text.parse::<u64>().ok());
        let [visible, hidden] = names.map(|name| count(name).expect("a count"));
        (visible, hidden)
    }

    /// How many messages the queue has, those at work included.
    pub async fn queued(&self) -> u64 {
        let (visible, hidden) = self.count(QUEUE).await;
        visible + hidden
    }

    /// How many messages the queue has handed out, and nobody has deleted or given back.
    pub async fn at_work(&self) -> u64 {
        self.count(QUEUE).await.1
    }

    /// How many messages were given up.
    pub async fn given_up(&self) -> u64 {
        let (visible, hidden) = self.count(DEAD_LETTERS).await;
        visible + hidden
    }

    /// Waits until the queue is empty.
    pub async fn wait_until_taken_in(&self) {
        eventually("an empty queue", async || (self.queued().await == 0).then_some(())).await;
    }
}

impl Drop for Estate {
    fn drop(&mut self) {
        // First, while the process id still belongs to this program.
        self.watchdog.dismiss();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The header by which moto knows for which of its services a request is.
fn signed(service: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential=test/20260101/{REGION}/{service}/aws4_request, SignedHeaders=host, Signature=0"
    )
}

fn percent_encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}
