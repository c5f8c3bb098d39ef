//! A queue of SQS, by AWS's own client.

use std::{collections::HashMap, sync::Arc, time::Duration};

use aws_config::BehaviorVersion;
use aws_sdk_sqs::{
    Client,
    config::{Region, retry::RetryConfig, timeout::TimeoutConfig},
    error::{BuildError, ProvideErrorMetadata, SdkError},
    types::{DeleteMessageBatchRequestEntry, Message, QueueAttributeName, SendMessageBatchRequestEntry},
};
use tokio::sync::OnceCell;

use crate::aws;

/// Messages of one answer: the most that SQS gives.
pub(crate) const MESSAGES_MAX: i32 = 10;

/// How long SQS waits for a message before it answers that there is none: the longest that it does.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(20);

/// For how long a received message is hidden from other consumers. A dead consumer's messages come
/// again after this time.
pub(crate) const HIDDEN_FOR: Duration = Duration::from_secs(60);

/// How long SQS may take for an answer for which it does not wait. Two tries fit between two times
/// at which a message is hidden.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);

/// The codes for a receipt by which nothing can be deleted any more, however often it is tried.
const SPENT_RECEIPT_CODES: [&str; 2] = ["ReceiptHandleIsInvalid", "InvalidParameterValue"];

/// Tries of a request, the first included.
const TRIES_MAX: u32 = 2;

/// A queue of SQS.
#[derive(Debug, Clone)]
pub struct Queue {
    client: Client,
    /// Waits for messages, so that it is more patient. It tries once: each further try could
    /// receive messages that nobody takes in, and the estate's queues count receipts.
    receiver: Client,
    /// The name of the queue, or its URL.
    name: String,
    url: Arc<OnceCell<String>>,
}

/// How many messages a queue has, as SQS counts them: approximately.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct QueueCounts {
    /// Those that can be received.
    pub(crate) visible: u64,
    /// Those that were received and are hidden.
    pub(crate) in_flight: u64,
}

/// SQS refuses, or does not answer. The text has kinds and codes alone: what AWS answers names
/// accounts and roles.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("SQS {0}")]
pub struct QueueError(String);

impl QueueError {
    fn unusable(what: &str) -> Self {
        Self(format!("gave an answer that cannot be used: {what}"))
    }
}

impl<E: ProvideErrorMetadata, R> From<SdkError<E, R>> for QueueError {
    fn from(error: SdkError<E, R>) -> Self {
        Self(aws::failure(&error))
    }
}

impl From<BuildError> for QueueError {
    fn from(_: BuildError) -> Self {
        Self("was not asked: the request lacks a member".to_owned())
    }
}

impl Queue {
    /// The queue with this name or URL. Region, endpoint and credentials come from where all
    /// programs that use AWS's client find theirs. Nothing is asked of SQS yet.
    pub async fn open(name: &str) -> Self {
        Self::open_in(name, None).await
    }

    /// As [`Self::open`], in a region of its own if one is named.
    pub async fn open_in(name: &str, region: Option<&str>) -> Self {
        let mut config = aws_config::defaults(BehaviorVersion::latest())
            .http_client(aws::https_client())
            .timeout_config(answering_within(ANSWER_TIME_MAX))
            .retry_config(RetryConfig::standard().with_max_attempts(TRIES_MAX));
        if let Some(region) = region {
            config = config.region(Region::new(region.to_owned()));
        }
        let config = config.load().await;
        let receiver = aws_sdk_sqs::config::Builder::from(&config)
            .timeout_config(answering_within(WAIT_MAX + ANSWER_TIME_MAX))
            .retry_config(RetryConfig::disabled())
            .build();
        let (client, receiver) = (Client::new(&config), Client::from_conf(receiver));
        Self { client, receiver, name: name.to_owned(), url: Arc::default() }
    }

    /// The name of the queue.
    pub(crate) fn name(&self) -> &str {
        self.name.rsplit('/').next().unwrap_or_default()
    }

    async fn url(&self) -> Result<&str, QueueError> {
        let find = async || {
            if self.name.contains("://") {
                return Ok(self.name.clone());
            }
            let found = self.client.get_queue_url().queue_name(&self.name).send().await?;
            found.queue_url.ok_or_else(|| QueueError::unusable("no URL of the queue"))
        };
        self.url.get_or_try_init(find).await.map(String::as_str)
    }

    /// Waits for messages, at most [`WAIT_MAX`], and receives some; perhaps none.
    pub(crate) async fn receive(&self, wait: Duration) -> Result<Vec<Message>, QueueError> {
        let received = self
            .receiver
            .receive_message()
            .queue_url(self.url().await?)
            .max_number_of_messages(MESSAGES_MAX)
            .wait_time_seconds(seconds(wait))
            .visibility_timeout(seconds(HIDDEN_FOR))
            .message_attribute_names("All")
            .send()
            .await?;
        Ok(received.messages.unwrap_or_default())
    }

    /// How many messages the queue has.
    pub(crate) async fn count(&self) -> Result<QueueCounts, QueueError> {
        let [visible, in_flight] = [
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
        ];
        let counting = self.client.get_queue_attributes().queue_url(self.url().await?);
        let counted = counting.attribute_names(visible.clone()).attribute_names(in_flight.clone()).send().await?;
        let count = |name| {
            let text = counted.attributes().and_then(|attributes| attributes.get(name));
            text.and_then(|text| text.parse().ok()).ok_or_else(|| QueueError::unusable("no count of messages"))
        };
        Ok(QueueCounts { visible: count(&visible)?, in_flight: count(&in_flight)? })
    }

    /// Sends the bodies and attributes of messages of another queue, at most [`MESSAGES_MAX`].
    /// Answers those that were sent, and why another one was not.
    pub(crate) async fn send(&self, messages: Vec<Message>) -> Result<(Vec<Message>, Option<QueueError>), QueueError> {
        let entries = messages.iter().enumerate().map(|(index, message)| {
            SendMessageBatchRequestEntry::builder()
                .id(index.to_string())
                .message_body(message.body.clone().unwrap_or_default())
                .set_message_attributes(message.message_attributes.clone())
                .build()
        });
        let entries = entries.collect::<Result<_, BuildError>>()?;
        let send = self.client.send_message_batch().queue_url(self.url().await?).set_entries(Some(entries));
        let answer = send.send().await?;
        let was_sent = |index: usize| answer.successful.iter().any(|sent| sent.id == index.to_string());
        let refusal = answer.failed.first().map(|failed| aws::shown_code(&failed.code));
        let refusal = refusal.map(|code| QueueError(format!("refuses a message: {code}")));
        let sent = messages.into_iter().enumerate().filter(|(index, _)| was_sent(*index)).map(|(_, message)| message);
        Ok((sent.collect(), refusal))
    }

    /// Hides a received message for this long from now on; for no time gives it back.
    pub(crate) async fn hide(&self, receipt: &str, time: Duration) -> Result<(), QueueError> {
        let hide = self.client.change_message_visibility().queue_url(self.url().await?).receipt_handle(receipt);
        hide.visibility_timeout(seconds(time)).send().await?;
        Ok(())
    }

    /// Deletes messages, at most [`MESSAGES_MAX`]; answers for each, in their order. One that is
    /// not deleted comes again.
    pub(crate) async fn delete(&self, receipts: &[String]) -> Vec<Result<(), QueueError>> {
        match self.delete_batch(receipts).await {
            Ok(failed) => (0..receipts.len()).map(|index| failed.get(&index).cloned().map_or(Ok(()), Err)).collect(),
            Err(error) => receipts.iter().map(|_| Err(error.clone())).collect(),
        }
    }

    /// Deletes messages; answers which were not deleted, by their places.
    async fn delete_batch(&self, receipts: &[String]) -> Result<HashMap<usize, QueueError>, QueueError> {
        let entries = receipts.iter().enumerate().map(|(index, receipt)| {
            DeleteMessageBatchRequestEntry::builder().id(index.to_string()).receipt_handle(receipt).build()
        });
        let entries = entries.collect::<Result<_, BuildError>>()?;
        let delete = self.client.delete_message_batch().queue_url(self.url().await?).set_entries(Some(entries));
        let deleted = delete.send().await?;
        let mut failed = HashMap::new();
        for entry in deleted.failed {
            let code = aws::shown_code(&entry.code);
            if SPENT_RECEIPT_CODES.contains(&code.as_str()) {
                tracing::warn!(code, "a message's receipt is spent: it will come again");
                continue;
            }
            let index = entry.id.parse().map_err(|_| QueueError::unusable("an entry that was not asked for"))?;
            failed.insert(index, QueueError(format!("did not delete a message: {code}")));
        }
        Ok(failed)
    }
}

/// The limits of one try. The limit of reading ends one whose server has vanished without a word.
fn answering_within(time: Duration) -> TimeoutConfig {
    TimeoutConfig::builder().connect_timeout(ANSWER_TIME_MAX).read_timeout(time).operation_attempt_timeout(time).build()
}

fn seconds(time: Duration) -> i32 {
    i32::try_from(time.as_secs()).unwrap_or(i32::MAX)
}
