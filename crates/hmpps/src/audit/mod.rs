//! Tells the audit service of HMPPS which commands were recorded and which reads were answered, as
//! messages on its queue.
//!
//! An outbox: commands come from the log, after a durable checkpoint; reads come from the access
//! log, which notes those that are not sent yet. One sender is active, the others stand by. No
//! request waits for any of this.
//!
//! Promises: whatever is away, nothing is skipped; a crash doubles messages and loses none; reads
//! do not wait for the log.

mod message;

use std::{collections::BTreeSet, convert::Infallible, time::Duration};

use access_log::{AuditCheckpoint, AuditPosition, mark_sent, read_unsent};
use aws_sdk_sqs::types::{Message, MessageAttributeValue};
use domain::identifier::EventId;
use event_log::{Bookmark, FollowerItem, LogError, RecordedEvent, SharedLog, error_chain};
use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};
use sqlx::PgPool;
use tokio::{
    sync::{Mutex, watch},
    time::sleep,
};

use self::message::AuditMessage;
use crate::{
    background_follower::BackgroundFollower,
    queue::{MESSAGES_MAX, Queue, QueueError},
    sender_lock::SenderLock,
};

/// The name of the lock of the active sender.
const LOCK_NAME: &str = "allocation-ledger audit sender";

/// Events whose messages are sent before the checkpoint moves.
const STEP_EVENTS_MAX: usize = 500;

/// The longest that the messages of one request may be together: somewhat less than the 256 KiB
/// that SQS takes, as their attributes count.
const BATCH_BYTES_MAX: usize = 250_000;

/// Requests to the queue at once, for commands and as many for reads.
const REQUESTS_MAX: usize = 4;

/// How often the access log is asked for further reads.
const READS_INTERVAL: Duration = Duration::from_secs(1);

/// The pause after a failure, doubled with each further one …
const RETRY_PAUSE_MIN: Duration = Duration::from_millis(100);
/// … up to this.
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(5);

/// How a sender is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuditState {
    /// Its role among several.
    pub role: AuditRole,
    /// Why its lanes wait, by [`Lane`].
    waits: [Option<String>; 3],
}

/// The role of a sender among several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AuditRole {
    /// It has not begun.
    #[default]
    Starting,
    /// Another sends.
    StandBy,
    /// It sends.
    Active,
}

impl AuditState {
    /// The reasons why it waits, if it does.
    #[must_use]
    pub fn waits_for(&self) -> Option<String> {
        let reasons: BTreeSet<&str> = self.waits.iter().flatten().map(String::as_str).collect();
        (!reasons.is_empty()).then(|| reasons.into_iter().collect::<Vec<_>>().join("; "))
    }
}

/// The parts of a sender that may wait without each other.
#[derive(Debug, Clone, Copy)]
enum Lane {
    /// Taking and keeping the lock.
    Lock,
    Commands,
    Reads,
}

impl Lane {
    /// The label of the metric.
    fn name(self) -> &'static str {
        match self {
            Self::Lock => "lock",
            Self::Commands => "command",
            Self::Reads => "read",
        }
    }
}

/// The reason why a sender starts again.
#[derive(Debug, thiserror::Error)]
enum AuditError {
    #[error("read the event log")]
    Log(#[from] LogError),
    #[error("reach the database of the access log")]
    Database(#[from] sqlx::Error),
    #[error(
        "the audit queue has had the commands up to position {position} of another log: `SELECT access.end_audit()` lets \
         it begin at the end of this one"
    )]
    OtherLog { position: u64 },
    #[error("another sender has taken over, or the checkpoint was deleted")]
    Fenced,
}

/// A sender of commands and reads to the audit service.
pub struct AuditSender {
    log: SharedLog,
    /// Where the access log is.
    database: PgPool,
    queue: Queue,
    /// The name of the ledger among other services.
    service: String,
    sent: Family<SentLabels, Counter>,
    state: watch::Sender<AuditState>,
    /// The reason that was noted last in the database, and by the sender of which epoch.
    noted: Mutex<(i64, Option<String>)>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SentLabels {
    kind: &'static str,
}

impl AuditSender {
    /// A sender of the commands in `log` and the reads in the access log of `database` to `queue`,
    /// in the name of a service.
    #[must_use]
    pub fn new(log: SharedLog, database: PgPool, queue: Queue, service: &str) -> Self {
        let state = watch::channel(AuditState::default()).0;
        let noted = Mutex::default();
        Self { log, database, queue, service: service.to_owned(), sent: Family::default(), state, noted }
    }

    /// How the sender is, from now on.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<AuditState> {
        self.state.subscribe()
    }

    /// Adds the counts of messages to a registry.
    pub fn register_metrics(&self, registry: &mut Registry) {
        let help = "Messages that the audit queue has taken, of commands and of reads";
        registry.register("ledger_audit_sent", help, self.sent.clone());
    }

    /// Sends until `stop`, whatever fails meanwhile.
    pub fn run(self, stop: BoxFuture<'static, ()>) -> BoxFuture<'static, ()> {
        async move {
            tokio::select! {
                () = stop => {}
                never = self.run_sessions() => match never {},
            }
        }
        .boxed()
    }

    async fn run_sessions(&self) -> Infallible {
        let mut pause = RETRY_PAUSE_MIN;
        loop {
            let Err(error) = self.session().await;
            let was_active = self.state.borrow().role == AuditRole::Active;
            pause = if was_active { RETRY_PAUSE_MIN } else { pause };
            self.state.send_modify(|state| state.role = AuditRole::Starting);
            self.report(Lane::Lock, &error, None).await;
            sleep(pause).await;
            pause = (pause * 2).min(RETRY_PAUSE_MAX);
        }
    }

    /// Waits for the lock and sends for as long as it holds.
    async fn session(&self) -> Result<Infallible, AuditError> {
        let stand_by = || {
            self.state.send_replace(AuditState { role: AuditRole::StandBy, ..AuditState::default() });
        };
        let mut lock = SenderLock::take(&self.database, LOCK_NAME, stand_by).await?;
        tokio::select! {
            biased;
            lost = lock.until_lost() => Err(lost.into()),
            failed = self.send_all() => failed,
        }
    }

    async fn send_all(&self) -> Result<Infallible, AuditError> {
        let checkpoint = self.take_over().await?;
        let (epoch, position) = (checkpoint.epoch, checkpoint.last.position);
        tracing::info!(position, "sending commands to the audit queue from position {position}, and reads");
        self.state.send_modify(|state| {
            state.role = AuditRole::Active;
            state.waits[Lane::Lock as usize] = None;
        });
        // A reason of the sender before is none of this one.
        self.note_wait(epoch).await;
        tokio::select! {
            fenced = self.send_commands(checkpoint) => Err(fenced),
            fenced = self.send_reads(epoch) => Err(fenced),
        }
    }

    /// The checkpoint, made at the log's end where there is none.
    async fn take_over(&self) -> Result<AuditCheckpoint, AuditError> {
        loop {
            if let Some(checkpoint) = AuditCheckpoint::take_over(&self.database).await? {
                return Ok(checkpoint);
            }
            let head = self.log.head().await?;
            let last = self.log.event_at(head).await?.as_ref().map_or(Bookmark::START, Bookmark::from);
            if AuditCheckpoint::begin(&self.database, position_of(last)).await? {
                tracing::info!(
                    position = last.position,
                    "nothing was sent to the audit queue before: it gets what is recorded after position {}, and the \
                     reads from now on",
                    last.position
                );
            }
        }
    }

    /// Sends the commands of the log, until another sender has taken over.
    async fn send_commands(&self, mut checkpoint: AuditCheckpoint) -> AuditError {
        let mut pause = RETRY_PAUSE_MIN;
        loop {
            let before = checkpoint.last.position;
            let Err(error) = self.follow_log(&mut checkpoint).await;
            if matches!(error, AuditError::Fenced) {
                return error;
            }
            pause = if checkpoint.last.position > before { RETRY_PAUSE_MIN } else { pause };
            self.report(Lane::Commands, &error, Some(checkpoint.epoch)).await;
            sleep(pause).await;
            pause = (pause * 2).min(RETRY_PAUSE_MAX);
        }
    }

    async fn follow_log(&self, checkpoint: &mut AuditCheckpoint) -> Result<Infallible, AuditError> {
        let AuditPosition { position, event_id, recorded_at } = checkpoint.last;
        let bookmark = Bookmark { position, event_id: event_id.map(EventId), recorded_at };
        if !bookmark.is_in(&self.log).await? {
            return Err(AuditError::OtherLog { position });
        }
        let mut follower = BackgroundFollower::start(&self.log, position);
        loop {
            match follower.next().await? {
                FollowerItem::Events(events) => {
                    for events in events.chunks(STEP_EVENTS_MAX) {
                        self.send_events(events, checkpoint).await?;
                    }
                }
                FollowerItem::CaughtUp { .. } => {
                    self.set_wait(Lane::Commands, None, Some(checkpoint.epoch)).await;
                }
            }
        }
    }

    /// Sends the messages of events, those before a damaged one too, and moves the checkpoint.
    async fn send_events(&self, events: &[RecordedEvent], checkpoint: &mut AuditCheckpoint) -> Result<(), AuditError> {
        let mut messages = Vec::with_capacity(events.len());
        let mut damage = None;
        for event in events {
            match AuditMessage::of_event(event, &self.service) {
                Ok(message) => messages.push(message),
                Err(error) => {
                    damage = Some(error);
                    break;
                }
            }
        }
        if let Some(last) = messages.len().checked_sub(1).and_then(|last| events.get(last)) {
            self.send(Lane::Commands, messages, checkpoint.epoch).await;
            if !checkpoint.advance(&self.database, position_of(last.into())).await? {
                return Err(AuditError::Fenced);
            }
        }
        damage.map_or(Ok(()), |error| Err(error.into()))
    }

    /// Sends the reads that are noted, until another sender has taken over or the checkpoint is
    /// gone: also the one that notices this while no command is recorded.
    async fn send_reads(&self, epoch: i64) -> AuditError {
        let mut pause = RETRY_PAUSE_MIN;
        loop {
            match self.send_some_reads(epoch).await {
                Err(AuditError::Fenced) => return AuditError::Fenced,
                Ok(true) => pause = RETRY_PAUSE_MIN,
                Ok(false) => {
                    self.set_wait(Lane::Reads, None, Some(epoch)).await;
                    sleep(READS_INTERVAL).await;
                }
                Err(error) => {
                    self.report(Lane::Reads, &error, Some(epoch)).await;
                    sleep(pause).await;
                    pause = (pause * 2).min(RETRY_PAUSE_MAX);
                }
            }
        }
    }

    /// Sends reads that are noted, and deletes their notes; false where there are none.
    async fn send_some_reads(&self, epoch: i64) -> Result<bool, AuditError> {
        let checkpoint = AuditCheckpoint::read(&self.database).await?;
        if checkpoint.is_none_or(|checkpoint| checkpoint.epoch != epoch) {
            return Err(AuditError::Fenced);
        }
        let entries = read_unsent(&self.database).await?;
        if entries.is_empty() {
            return Ok(false);
        }
        let messages = entries.iter().flat_map(|entry| AuditMessage::of_read(entry, &self.service)).collect();
        self.send(Lane::Reads, messages, epoch).await;
        let keys: Vec<_> = entries.iter().map(access_log::StoredAccess::key).collect();
        // Not from the start, which would send them again with each try.
        while let Err(error) = mark_sent(&self.database, &keys).await {
            self.report(Lane::Reads, &error.into(), Some(epoch)).await;
            sleep(RETRY_PAUSE_MAX).await;
        }
        Ok(true)
    }

    /// Sends messages, until the queue has taken each.
    async fn send(&self, lane: Lane, messages: Vec<AuditMessage>, epoch: i64) {
        let sending = stream::iter(batches(messages));
        sending.for_each_concurrent(REQUESTS_MAX, |batch| self.send_batch(lane, batch, epoch)).await;
        self.set_wait(lane, None, Some(epoch)).await;
    }

    async fn send_batch(&self, lane: Lane, mut batch: Vec<AuditMessage>, epoch: i64) {
        let mut pause = RETRY_PAUSE_MIN;
        loop {
            let count = batch.len();
            let refusal = match self.try_batch(&batch).await {
                Ok((sent, refusal)) => {
                    let mut places = 0..;
                    batch.retain(|_| places.next().is_none_or(|place| !sent.contains(&place)));
                    self.sent.get_or_create(&SentLabels { kind: lane.name() }).inc_by((count - batch.len()) as u64);
                    if batch.is_empty() {
                        return;
                    }
                    let refusal = refusal.map(|refusal| format!(": {refusal}"));
                    format!("the audit queue takes not all messages{}", refusal.unwrap_or_default())
                }
                Err(error) => format!("the audit queue takes no messages: {error}"),
            };
            if self.set_wait(lane, Some(refusal.clone()), Some(epoch)).await {
                tracing::warn!(kind = lane.name(), "{refusal}");
            }
            sleep(pause).await;
            pause = (pause * 2).min(RETRY_PAUSE_MAX);
        }
    }

    /// Sends messages once. Answers the places of those that the queue has taken, and why it has
    /// not taken another.
    async fn try_batch(&self, batch: &[AuditMessage]) -> Result<(BTreeSet<usize>, Option<QueueError>), QueueError> {
        let event_type = MessageAttributeValue::builder().data_type("String").string_value("hmpps-audit-event");
        let event_type = event_type.build()?;
        let message = |(place, message): (usize, &AuditMessage)| {
            let numbered = Message::builder().message_id(place.to_string()).body(&message.body);
            numbered.message_attributes("eventType", event_type.clone()).build()
        };
        let (sent, refusal) = self.queue.send(batch.iter().enumerate().map(message).collect()).await?;
        Ok((sent.iter().filter_map(|message| message.message_id.as_ref()?.parse().ok()).collect(), refusal))
    }

    /// Reports a failure, with the words of a store in the program's log alone: `/health` is open.
    async fn report(&self, lane: Lane, error: &AuditError, epoch: Option<i64>) {
        let reason = error_chain(error);
        tracing::warn!(reason, "the sender to the audit queue tries again: {reason}");
        self.set_wait(lane, Some(error.to_string()), epoch).await;
    }

    /// Sets why a lane waits, or that it does not, here and where `integration status` reads it.
    /// Answers whether that is new.
    async fn set_wait(&self, lane: Lane, reason: Option<String>, epoch: Option<i64>) -> bool {
        let is_changed = self.state.send_if_modified(|state| {
            let wait = &mut state.waits[lane as usize];
            let is_changed = *wait != reason;
            *wait = reason;
            is_changed
        });
        if let Some(epoch) = epoch {
            self.note_wait(epoch).await;
        }
        is_changed
    }

    /// Notes the reasons to wait where `integration status` reads them, unless they are noted. One
    /// lane after the other, so that the last note is of the last state.
    async fn note_wait(&self, epoch: i64) {
        let mut noted = self.noted.lock().await;
        let reason = (epoch, self.state.borrow().waits_for());
        // One that cannot be noted now is noted with the next look at the reads.
        if *noted != reason && AuditCheckpoint::note_wait(&self.database, epoch, reason.1.as_deref()).await.is_ok() {
            *noted = reason;
        }
    }
}

fn position_of(last: Bookmark) -> AuditPosition {
    AuditPosition { position: last.position, event_id: last.event_id.map(|id| id.0), recorded_at: last.recorded_at }
}

/// Messages by request: as many as SQS takes at once.
fn batches(messages: Vec<AuditMessage>) -> Vec<Vec<AuditMessage>> {
    let count_max = usize::try_from(MESSAGES_MAX).unwrap_or(1);
    let mut batches: Vec<Vec<AuditMessage>> = Vec::new();
    let mut bytes = 0;
    for message in messages {
        bytes += message.body.len();
        match batches.last_mut() {
            Some(batch) if batch.len() < count_max && bytes <= BATCH_BYTES_MAX => batch.push(message),
            _ => {
                bytes = message.body.len();
                batches.push(vec![message]);
            }
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_no_more_messages_or_bytes_than_sqs_takes() {
        let message = |len: usize| AuditMessage { body: "x".repeat(len) };
        let lengths = |messages: &[usize]| -> Vec<Vec<usize>> {
            let batches = batches(messages.iter().copied().map(message).collect());
            batches.iter().map(|batch| batch.iter().map(|message| message.body.len()).collect()).collect()
        };
        assert_eq!(lengths(&[]), Vec::<Vec<usize>>::new());
        assert_eq!(lengths(&[1; 21]), [vec![1; 10], vec![1; 10], vec![1]]);
        let half = BATCH_BYTES_MAX / 2;
        assert_eq!(lengths(&[half, half, 1, half + 1, half]), [vec![half, half], vec![1, half + 1], vec![half]]);
    }

    #[test]
    fn a_reason_to_wait_is_shown_once() {
        let mut state = AuditState::default();
        assert_eq!(state.waits_for(), None);
        state.waits = [None, Some("no queue".to_owned()), Some("no queue".to_owned())];
        assert_eq!(state.waits_for().as_deref(), Some("no queue"));
        state.waits[Lane::Lock as usize] = Some("no database".to_owned());
        assert_eq!(state.waits_for().as_deref(), Some("no database; no queue"));
    }
}
