//! Receives messages from a queue, takes them in, and deletes them.
//!
//! Messages about one person are taken in one after the other, in the order in which they came; SQS
//! itself keeps no order, so a fact may come late and is then backdated. A message that is at work
//! is hidden from other consumers until it is deleted. While the event store or the database of the
//! parked messages is away, or takes nothing, or SQS deletes nothing, nothing is received: each
//! receipt counts, and the estate's queues give a message up after a few.

use std::{
    collections::{BTreeSet, HashMap},
    panic::AssertUnwindSafe,
    sync::Arc,
    time::Duration,
};

use aws_sdk_sqs::types::Message;
use event_log::{LogError, SharedLog};
use futures::{FutureExt as _, future::BoxFuture};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch},
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval_at, sleep},
};

use crate::{
    dead_letters::{QueueState, WatchedQueue},
    intake::Intake,
    notification::Notification,
    outage::Outage,
    queue::{HIDDEN_FOR, MESSAGES_MAX, Queue, QueueError, WAIT_MAX},
    schema::SCHEMA,
};

/// Most messages that are received and not yet deleted. Ten times as many as one answer of SQS has.
const AT_WORK_MAX: usize = 100;

/// How often a message at work is hidden anew: twice before it would show.
const HIDE_INTERVAL: Duration = Duration::from_secs(20);

/// The pause after a failure, doubled with each further one …
const RETRY_PAUSE_MIN: Duration = Duration::from_millis(100);
/// … up to this: an outage that ends is noticed soon after.
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(5);

/// How often the messages of the queue and of its dead-letter queue are counted.
const COUNT_INTERVAL: Duration = Duration::from_secs(10);

/// How often some of the messages that were passed over are decided again.
const SWEEP_INTERVAL: Duration = Duration::from_secs(10);

/// How a consumer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConsumerStatus {
    /// It has not received yet.
    Starting,
    /// It receives.
    Receiving,
    /// It receives nothing for now, and why.
    Waiting(Outage),
}

/// A consumer of a queue.
pub struct Consumer {
    queue: WatchedQueue,
    queue_state: watch::Sender<QueueState>,
    intake: Intake,
    log: SharedLog,
    status: watch::Sender<ConsumerStatus>,
    /// How many messages at work are tried again and again, because of an outage.
    retried: watch::Sender<usize>,
}

impl Consumer {
    /// A consumer of `queue` that records in `log` by `intake`.
    #[must_use]
    pub fn new(queue: WatchedQueue, intake: Intake, log: SharedLog) -> Self {
        let status = watch::channel(ConsumerStatus::Starting).0;
        let queue_state = watch::channel(queue.uncounted()).0;
        Self { queue, queue_state, intake, log, status, retried: watch::channel(0).0 }
    }

    /// The state of the queue and of its dead-letter queue, at most some seconds old.
    #[must_use]
    pub fn queue_state(&self) -> watch::Receiver<QueueState> {
        self.queue_state.subscribe()
    }

    /// How the consumer is, from now on.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<ConsumerStatus> {
        self.status.subscribe()
    }

    /// Prepares the schema of the parked messages, and receives until `stop`. Messages at work are
    /// then finished, or given back to the queue if the ledger cannot take them in now.
    pub fn run(self, stop: BoxFuture<'static, ()>) -> BoxFuture<'static, ()> {
        async move {
            let (to_delete, deletions) = mpsc::channel(AT_WORK_MAX);
            let deleting = tokio::spawn(delete_all(self.queue.queue.clone(), deletions));
            let consumer = Arc::new(self);
            tokio::select! {
                () = consumer.receive_all(&to_delete, stop) => {}
                () = consumer.count_all() => {}
                () = consumer.sweep_all() => {}
            }
            drop(to_delete);
            let _ = deleting.await;
        }
        .boxed()
    }

    /// Receives until `stop`, and then waits for the messages at work. One request at a time:
    /// several would change the order that SQS keeps as far as it can, and a late message may be
    /// one that a person has to look at.
    async fn receive_all(self: &Arc<Self>, to_delete: &mpsc::Sender<Deletion>, mut stop: BoxFuture<'static, ()>) {
        let (stopping, told_to_stop) = watch::channel(false);
        let room = Arc::new(Semaphore::new(AT_WORK_MAX));
        let mut at_work = JoinSet::new();
        let mut turns = Turns::default();
        let mut pause = RETRY_PAUSE_MIN;
        let mut is_prepared = false;
        loop {
            let received = tokio::select! {
                () = &mut stop => break,
                received = self.receive(&room, &mut is_prepared) => received,
            };
            while at_work.try_join_next().is_some() {}
            match received {
                Ok((messages, mut room)) => {
                    pause = RETRY_PAUSE_MIN;
                    // A message that was under way when an outage began does not end it.
                    if *self.retried.borrow() == 0 {
                        self.set_status(ConsumerStatus::Receiving);
                    }
                    turns.forget_finished();
                    for message in messages {
                        let permit = room.split(1);
                        let turn = turns.take(people(&message));
                        let (consumer, to_delete, told) = (Arc::clone(self), to_delete.clone(), told_to_stop.clone());
                        at_work.spawn(async move {
                            let _permit = permit;
                            let working = consumer.work(message, turn, &to_delete, told);
                            if AssertUnwindSafe(working).catch_unwind().await.is_err() {
                                // Its message shows again, and another try may be luckier.
                                tracing::error!("the work on a message ended with a bug: the panic before this line");
                            }
                        });
                    }
                }
                Err(outage) => {
                    self.set_status(ConsumerStatus::Waiting(outage));
                    tokio::select! {
                        () = &mut stop => break,
                        () = sleep(pause) => pause = (pause * 2).min(RETRY_PAUSE_MAX),
                    }
                }
            }
        }
        stopping.send_replace(true);
        while at_work.join_next().await.is_some() {}
    }

    /// Counts messages for ever. Those who look at the counts need not wait for SQS.
    async fn count_all(&self) {
        let mut ticks = interval_at(Instant::now(), COUNT_INTERVAL);
        loop {
            ticks.tick().await;
            self.queue_state.send_replace(self.queue.state().await);
        }
    }

    /// Decides again and again on messages that were passed over, whose people may be known by now.
    async fn sweep_all(&self) {
        let mut ticks = interval_at(Instant::now() + SWEEP_INTERVAL, SWEEP_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut after = String::new();
        loop {
            ticks.tick().await;
            // A store that is away is told of where messages are received.
            if *self.status.borrow() == ConsumerStatus::Receiving
                && let Ok(last) = self.intake.sweep(&after).await
            {
                after = last;
            }
        }
    }

    /// Receives messages, once there is room for them and the ledger can take them in. Answers the
    /// room with them.
    async fn receive(
        &self,
        room: &Arc<Semaphore>,
        is_prepared: &mut bool,
    ) -> Result<(Vec<Message>, OwnedSemaphorePermit), Outage> {
        // Room for a whole answer first, so that no message waits here unseen.
        let room = Arc::clone(room).acquire_many_owned(MESSAGES_MAX.unsigned_abs()).await;
        let room = room.expect("the semaphore is never closed");
        // Stores that can be read may take nothing: a message that is tried again says so.
        let _ = self.retried.subscribe().wait_for(|messages| *messages == 0).await;
        if !*is_prepared {
            SCHEMA.migrate_as_owner(self.intake.parked().database()).await?;
            *is_prepared = true;
        }
        self.check_stores().await?;
        // The first answer after a pause comes at once, so that its end is seen.
        let is_receiving = *self.status.borrow() == ConsumerStatus::Receiving;
        let wait = if is_receiving { WAIT_MAX } else { Duration::ZERO };
        Ok((self.queue.queue.receive(wait).await?, room))
    }

    /// Whether what is received now could be recorded or parked, as far as reading tells.
    async fn check_stores(&self) -> Result<(), Outage> {
        self.log.head().await.map_err(|error| match error {
            LogError::Unavailable(_) => Outage::EventLog("unavailable"),
            LogError::Damaged { .. } => Outage::EventLog("broken"),
        })?;
        Ok(self.intake.parked().check().await?)
    }

    fn set_status(&self, status: ConsumerStatus) {
        self.status.send_if_modified(|current| {
            let is_new = std::mem::discriminant(current) != std::mem::discriminant(&status);
            match &status {
                ConsumerStatus::Waiting(outage) if is_new => {
                    let reason = outage.to_string();
                    tracing::warn!(reason, "messages are not received for now: {reason}");
                }
                ConsumerStatus::Receiving if is_new => tracing::info!("receiving messages"),
                _ => {}
            }
            *current = status;
            is_new
        });
    }

    /// Takes a message in when its turn comes, and has it deleted. Keeps it hidden until it is.
    async fn work(
        &self,
        message: Message,
        mut turn: Turn,
        to_delete: &mpsc::Sender<Deletion>,
        told_to_stop: watch::Receiver<bool>,
    ) {
        let Some(receipt) = message.receipt_handle else { return };
        let (id, body) = (message.message_id.unwrap_or_default(), message.body.unwrap_or_default());
        let working = async {
            turn.begin().await;
            let is_taken_in = self.try_until_done(&told_to_stop, || self.intake.take_in(&id, &body)).await;
            drop(turn);
            is_taken_in && self.try_until_done(&told_to_stop, || delete(to_delete, &receipt)).await
        };
        let hiding = async {
            let mut ticks = interval_at(Instant::now() + HIDE_INTERVAL, HIDE_INTERVAL);
            loop {
                ticks.tick().await;
                if let Err(error) = self.queue.queue.hide(&receipt, HIDDEN_FOR).await {
                    tracing::warn!(%error, "a message at work could not be kept hidden, and may come twice");
                }
            }
        };
        let is_done = tokio::select! {
            is_done = working => is_done,
            () = hiding => false,
        };
        if !is_done {
            // It comes again, and is recorded once all the same.
            let _ = self.queue.queue.hide(&receipt, Duration::ZERO).await;
        }
    }

    /// Tries something until it is done, and lets nothing be received while it fails. False if the
    /// consumer is told to stop before.
    async fn try_until_done<T, F: Future<Output = Result<T, Outage>>>(
        &self,
        told_to_stop: &watch::Receiver<bool>,
        attempt: impl Fn() -> F,
    ) -> bool {
        let mut told_to_stop = told_to_stop.clone();
        let mut pause = RETRY_PAUSE_MIN;
        let mut retried = None;
        while let Err(outage) = attempt().await {
            retried.get_or_insert_with(|| RetriedNow::count(&self.retried));
            self.set_status(ConsumerStatus::Waiting(outage));
            tokio::select! {
                _ = told_to_stop.wait_for(|is_told| *is_told) => return false,
                () = sleep(pause) => pause = (pause * 2).min(RETRY_PAUSE_MAX),
            }
        }
        true
    }
}

/// A message that is to be deleted.
struct Deletion {
    receipt: String,
    answer: oneshot::Sender<Result<(), QueueError>>,
}

/// Has a message deleted, together with others.
async fn delete(to_delete: &mpsc::Sender<Deletion>, receipt: &str) -> Result<(), Outage> {
    let (answer, answered) = oneshot::channel();
    // The receiver is there until this consumer ends.
    let _ = to_delete.send(Deletion { receipt: receipt.to_owned(), answer }).await;
    Ok(answered.await.unwrap_or(Ok(()))?)
}

/// Deletes messages as they come, as many at once as have come.
async fn delete_all(queue: Queue, mut deletions: mpsc::Receiver<Deletion>) {
    let batch = usize::try_from(MESSAGES_MAX).unwrap_or(1);
    let mut waiting = Vec::with_capacity(batch);
    while deletions.recv_many(&mut waiting, batch).await > 0 {
        let (receipts, answers): (Vec<_>, Vec<_>) =
            waiting.drain(..).map(|Deletion { receipt, answer }| (receipt, answer)).unzip();
        for (answer, result) in answers.into_iter().zip(queue.delete(&receipts).await) {
            let _ = answer.send(result);
        }
    }
}

/// A message at work that is tried again, counted until it is dropped.
struct RetriedNow<'a>(&'a watch::Sender<usize>);

impl<'a> RetriedNow<'a> {
    fn count(messages: &'a watch::Sender<usize>) -> Self {
        messages.send_modify(|count| *count += 1);
        Self(messages)
    }
}

impl Drop for RetriedNow<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

/// The people that a message is about, by their numbers and those of their cases in Delius.
fn people(message: &Message) -> BTreeSet<String> {
    let read = Notification::read(message.body.as_deref().unwrap_or_default());
    read.map(|notification| notification.fact.turn_keys().into_iter().collect()).unwrap_or_default()
}

/// The turns of messages about the same people.
#[derive(Default)]
struct Turns {
    last: HashMap<String, oneshot::Receiver<()>>,
}

/// The turn of a message with each of the people that it is about: it begins when those before have
/// ended, and ends when it is dropped.
#[derive(Default)]
struct Turn {
    before: Vec<oneshot::Receiver<()>>,
    _ends: Vec<oneshot::Sender<()>>,
}

impl Turns {
    /// Takes all turns of a message at once, so that no two messages wait for each other.
    fn take(&mut self, people: BTreeSet<String>) -> Turn {
        let mut turn = Turn::default();
        for person in people {
            let (ends, ended) = oneshot::channel();
            turn.before.extend(self.last.insert(person, ended));
            turn._ends.push(ends);
        }
        turn
    }

    fn forget_finished(&mut self) {
        self.last.retain(|_, ended| matches!(ended.try_recv(), Err(oneshot::error::TryRecvError::Empty)));
    }
}

impl Turn {
    /// Waits for the turn to begin.
    async fn begin(&mut self) {
        for before in self.before.drain(..) {
            // An error says that the other turn has ended, however it did.
            let _ = before.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn people(numbers: &[&str]) -> BTreeSet<String> {
        numbers.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_message_about_two_people_has_its_turn_with_both_and_the_next_ones_after_it() {
        let mut turns = Turns::default();
        let mut first = turns.take(people(&["A1111AA"]));
        let mut merge = turns.take(people(&["B2222BB", "A1111AA", "A1111AA"]));
        let mut next = turns.take(people(&["B2222BB"]));
        let mut nobody = turns.take(BTreeSet::new());
        turns.forget_finished();
        assert!(first.begin().now_or_never().is_some());
        assert!(nobody.begin().now_or_never().is_some());
        // A turn that has been waited for is not waited for again, so each is asked at its end.
        let merging = merge.begin();
        tokio::pin!(merging);
        let following = next.begin();
        tokio::pin!(following);
        assert!((&mut merging).now_or_never().is_none());
        drop(first);
        assert!((&mut merging).now_or_never().is_some());
        assert!((&mut following).now_or_never().is_none());
    }

    #[test]
    fn two_merges_of_the_same_people_do_not_wait_for_each_other() {
        let mut turns = Turns::default();
        let mut first = turns.take(people(&["A1111AA", "B2222BB"]));
        let mut second = turns.take(people(&["B2222BB", "A1111AA"]));
        assert!(first.begin().now_or_never().is_some());
        drop(first);
        assert!(second.begin().now_or_never().is_some());
        drop(second);
        turns.forget_finished();
        assert!(turns.last.is_empty());
    }
}
