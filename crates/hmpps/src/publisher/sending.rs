//! Sends messages, in the order of each person, once the views include them. Whatever refuses is
//! tried again until it does not.

use std::{collections::BTreeSet, time::Duration};

use event_log::error_chain;
use futures::{StreamExt as _, stream};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};
use sqlx::PgPool;
use tokio::time::{Instant, sleep};
use views::checkpoint;

use super::{
    Publication, Publisher, PublisherError, PublisherStatus, RETRY_PAUSE_MAX, RETRY_PAUSE_MIN, Topic,
    message::{MessageType, OutgoingMessage},
    topic::BATCH_MESSAGES_MAX,
};

/// Requests to the topic at once.
const REQUESTS_MAX: usize = 8;

/// The pause between two looks at the views.
const VIEWS_INTERVAL: Duration = Duration::from_millis(10);

/// How long the views may lag before the wait for them is reported. They follow within
/// milliseconds.
const VIEWS_PATIENCE: Duration = Duration::from_secs(2);

/// The counts of messages of one process.
#[derive(Default)]
pub(super) struct MessageCounts {
    published: Family<MessageCountLabels, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MessageCountLabels {
    r#type: &'static str,
    outcome: &'static str,
}

impl MessageCounts {
    pub(super) fn register(&self, registry: &mut Registry) {
        let help = "Messages for the estate, by type and by whether they were sent or, in shadow mode, not";
        registry.register("ledger_integration_published", help, self.published.clone());
    }

    fn count(&self, message_type: MessageType, outcome: &'static str) {
        self.published.get_or_create(&MessageCountLabels { r#type: message_type.name(), outcome }).inc();
    }
}

impl Publisher {
    /// Sends messages, and answers once the topic has all of them. In shadow mode they are counted.
    pub(super) async fn send(
        &self,
        mut messages: Vec<OutgoingMessage>,
        publication: Option<&Publication>,
    ) -> Result<(), PublisherError> {
        let Some(topic) = &self.topic else {
            messages.iter().for_each(|message| self.counts.count(message.message_type, "shadow"));
            return Ok(());
        };
        let Some(position) = messages.iter().map(|message| message.origin.position).max() else { return Ok(()) };
        self.wait_for_views(position, publication).await?;
        while !messages.is_empty() {
            let round = take_first_of_each_person(&mut messages);
            let batches = stream::iter(round.chunks(BATCH_MESSAGES_MAX).map(<[_]>::to_vec));
            let sent = batches.map(|batch| self.send_batch(topic, batch, publication));
            let outcomes: Vec<Result<(), PublisherError>> = sent.buffer_unordered(REQUESTS_MAX).collect().await;
            outcomes.into_iter().collect::<Result<(), _>>()?;
        }
        Ok(())
    }

    /// Sends messages until the topic has taken each of them.
    async fn send_batch(
        &self,
        topic: &Topic,
        mut batch: Vec<OutgoingMessage>,
        publication: Option<&Publication>,
    ) -> Result<(), PublisherError> {
        let mut pause = RETRY_PAUSE_MIN;
        let types: Vec<MessageType> = batch.iter().map(|message| message.message_type).collect();
        while let Err((left, error)) = topic.publish(batch).await {
            batch = left;
            self.report_wait(format!("the topic does not take messages: {}", error_chain(&error)), publication).await?;
            sleep(pause).await;
            pause = (pause * 2).min(RETRY_PAUSE_MAX);
        }
        types.into_iter().for_each(|message_type| self.counts.count(message_type, "sent"));
        Ok(())
    }

    /// Waits until all views that answer questions include a position.
    pub(super) async fn wait_for_views(
        &self,
        position: u64,
        publication: Option<&Publication>,
    ) -> Result<(), PublisherError> {
        for views in &self.views {
            self.wait_for(views, position, publication).await?;
        }
        Ok(())
    }

    async fn wait_for(
        &self,
        views: &PgPool,
        position: u64,
        publication: Option<&Publication>,
    ) -> Result<(), PublisherError> {
        let mut report_at = Instant::now() + VIEWS_PATIENCE;
        let mut pause = RETRY_PAUSE_MIN;
        loop {
            let now_at = match checkpoint::read(views).await {
                Ok(checkpoint) => checkpoint.position,
                // By hand: the person who asked decides.
                Err(error) if publication.is_none() => return Err(error.into()),
                Err(error) => {
                    let reason = error_chain(&error);
                    tracing::warn!(reason, "the views or a replica cannot be read: {reason}");
                    self.report_wait("the views or a replica cannot be read".to_owned(), publication).await?;
                    sleep(pause).await;
                    pause = (pause * 2).min(RETRY_PAUSE_MAX);
                    continue;
                }
            };
            if now_at >= position {
                return Ok(());
            }
            if Instant::now() >= report_at {
                let reason = format!("the views are at position {now_at}, and a message is of position {position}");
                self.report_wait(reason, publication).await?;
                report_at = Instant::now() + VIEWS_PATIENCE;
            }
            sleep(VIEWS_INTERVAL).await;
        }
    }

    /// Reports why nothing goes on, here and in the checkpoint if it is this one's.
    async fn report_wait(&self, reason: String, publication: Option<&Publication>) -> Result<(), PublisherError> {
        if !self.is_waiting() {
            tracing::warn!(reason, "no messages are published for now: {reason}");
        }
        if let Some(publication) = publication {
            publication.note_wait(&self.database, Some(&reason)).await?;
        }
        self.status.send_replace(PublisherStatus::Waiting(reason));
        Ok(())
    }
}

/// Takes the first message about each person, and leaves the others in their order.
fn take_first_of_each_person(messages: &mut Vec<OutgoingMessage>) -> Vec<OutgoingMessage> {
    let mut persons = BTreeSet::new();
    let (first, later) = std::mem::take(messages)
        .into_iter()
        .partition(|message: &OutgoingMessage| persons.insert(message.number.clone()));
    *messages = later;
    first
}
