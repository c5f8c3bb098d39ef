//! A topic of SNS, by AWS's own client.

use std::time::Duration;

use super::message::OutgoingMessage;
use crate::aws;
use aws_config::{BehaviorVersion, timeout::TimeoutConfig};
use aws_sdk_sns::{
    Client,
    error::BuildError,
    types::{MessageAttributeValue, PublishBatchRequestEntry},
};

/// Messages of one request: the most that SNS takes.
pub(super) const BATCH_MESSAGES_MAX: usize = 10;

/// How long SNS may take for a request, and for all tries of one.
const TRY_TIMEOUT: Duration = Duration::from_secs(5);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);

/// A topic of SNS.
#[derive(Debug, Clone)]
pub struct Topic {
    client: Client,
    arn: String,
}

/// SNS refuses, or does not answer. The text has kinds and codes alone.
#[derive(Debug, Clone, thiserror::Error)]
#[error("SNS {0}")]
pub struct TopicError(String);

impl From<BuildError> for TopicError {
    fn from(_: BuildError) -> Self {
        Self("was not asked: the request lacks a member".to_owned())
    }
}

impl Topic {
    /// The topic with this ARN. Region, endpoint and credentials come from where all programs that
    /// use AWS's client find theirs. Nothing is asked of SNS yet.
    pub async fn open(arn: &str) -> Self {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(TRY_TIMEOUT)
            .operation_attempt_timeout(TRY_TIMEOUT)
            .operation_timeout(REQUEST_TIMEOUT)
            .build();
        let config =
            aws_config::defaults(BehaviorVersion::latest()).http_client(aws::https_client()).timeout_config(timeouts);
        Self { client: Client::new(&config.load().await), arn: arn.to_owned() }
    }

    /// Publishes at most [`BATCH_MESSAGES_MAX`] messages. Answers with those that the topic has
    /// not taken, in their order, and the reason of the first.
    pub(super) async fn publish(
        &self,
        messages: Vec<OutgoingMessage>,
    ) -> Result<(), (Vec<OutgoingMessage>, TopicError)> {
        let entries = messages.iter().enumerate().map(|(index, message)| entry(index, message)).collect();
        let entries = match entries {
            Ok(entries) => entries,
            Err(error) => return Err((messages, error)),
        };
        let request = self.client.publish_batch().topic_arn(&self.arn).set_publish_batch_request_entries(Some(entries));
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) => return Err((messages, TopicError(aws::failure(&error)))),
        };
        let taken: Vec<_> = answer.successful().iter().filter_map(|taken| taken.id.as_deref()?.parse().ok()).collect();
        let left = messages.into_iter().enumerate().filter(|(index, _)| !taken.contains(index));
        let left: Vec<_> = left.map(|(_, message)| message).collect();
        if left.is_empty() {
            return Ok(());
        }
        let code = answer.failed().first().map_or("no code".to_owned(), |failed| aws::shown_code(&failed.code));
        let error = TopicError(format!("has not taken {} messages: {code}", left.len()));
        Err((left, error))
    }
}

fn entry(index: usize, message: &OutgoingMessage) -> Result<PublishBatchRequestEntry, TopicError> {
    let attribute = |data_type: &str, value: String| {
        MessageAttributeValue::builder().data_type(data_type).string_value(value).build()
    };
    let entry = PublishBatchRequestEntry::builder()
        .id(index.to_string())
        .message(&message.body)
        .message_attributes("eventType", attribute("String", message.message_type.name().to_owned())?)
        .message_attributes("ledgerPosition", attribute("Number", message.origin.position.to_string())?)
        .message_attributes("traceparent", attribute("String", message.origin.traceparent.clone())?);
    Ok(entry.build()?)
}
