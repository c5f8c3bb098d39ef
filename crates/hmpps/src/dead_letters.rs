//! The queue with its dead-letter queue, which gets what the queue has handed out too often: how
//! many messages each has, and the way back.

use std::time::Duration;

use serde::Serialize;

use crate::queue::{Queue, QueueError};

/// How long SQS looks for messages on the dead-letter queue. Without a wait it looks in some of its
/// places alone.
const LOOK_FOR: Duration = Duration::from_secs(1);

/// A queue, and its dead-letter queue if one is named.
#[derive(Debug, Clone)]
pub struct WatchedQueue {
    pub(crate) queue: Queue,
    dead_letters: Option<Queue>,
}

/// The state of a queue and its dead-letter queue, in the words of other services of HMPPS. A count
/// is absent while SQS does not tell it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct QueueState {
    /// The name of the queue.
    pub queue_name: String,
    /// How many messages can be received.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messages_on_queue: Option<u64>,
    /// How many messages were received and are at work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messages_in_flight: Option<u64>,
    /// The name of the dead-letter queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dlq_name: Option<String>,
    /// `UP`, or `DOWN` while SQS tells nothing of the dead-letter queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dlq_status: Option<&'static str>,
    /// How many messages were given up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messages_on_dlq: Option<u64>,
}

impl WatchedQueue {
    /// The queues with these names or URLs. Region, endpoint and credentials come from where all
    /// programs that use AWS's client find theirs. Nothing is asked of SQS yet.
    pub async fn open(queue: &str, dead_letters: Option<&str>) -> Self {
        let queue = Queue::open(queue).await;
        let dead_letters = match dead_letters {
            Some(name) => Some(Queue::open(name).await),
            None => None,
        };
        Self { queue, dead_letters }
    }

    /// The state without the counts.
    pub(crate) fn uncounted(&self) -> QueueState {
        QueueState {
            queue_name: self.queue.name().to_owned(),
            messages_on_queue: None,
            messages_in_flight: None,
            dlq_name: self.dead_letters.as_ref().map(|queue| queue.name().to_owned()),
            dlq_status: None,
            messages_on_dlq: None,
        }
    }

    /// The state now.
    pub async fn state(&self) -> QueueState {
        let counted = self.queue.count().await.ok();
        let given_up = match &self.dead_letters {
            Some(queue) => Some(queue.count().await),
            None => None,
        };
        QueueState {
            messages_on_queue: counted.map(|counts| counts.visible),
            messages_in_flight: counted.map(|counts| counts.in_flight),
            dlq_status: given_up.as_ref().map(|counted| if counted.is_ok() { "UP" } else { "DOWN" }),
            messages_on_dlq: given_up.and_then(Result::ok).map(|counts| counts.visible),
            ..self.uncounted()
        }
    }

    /// Sends the messages of the dead-letter queue back to the queue: as many as are there now, so
    /// that one which is given up again at once waits for the next time. Answers how many went
    /// back; `None` where no dead-letter queue is named.
    ///
    /// # Errors
    /// SQS refuses or does not answer. Messages that went back by then are on the queue, perhaps
    /// twice.
    pub async fn retry_dead_letters(&self) -> Result<Option<u64>, QueueError> {
        let Some(dead_letters) = &self.dead_letters else { return Ok(None) };
        let there = dead_letters.count().await?.visible;
        let mut retried = 0;
        while retried < there {
            let messages = dead_letters.receive(LOOK_FOR).await?;
            let sent = if messages.is_empty() { messages } else { self.queue.send(messages).await?.0 };
            if sent.is_empty() {
                break;
            }
            retried += sent.len() as u64;
            let receipts: Vec<String> = sent.into_iter().filter_map(|message| message.receipt_handle).collect();
            dead_letters.delete(&receipts).await.into_iter().collect::<Result<(), _>>()?;
        }
        Ok(Some(retried))
    }
}
