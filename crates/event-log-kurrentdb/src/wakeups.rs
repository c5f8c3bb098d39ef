//! How followers are woken: one subscription for all of them.
//!
//! The subscription begins at the ledger's last event, once a reader has come to the log's end.
//! From there on it tells which [gaps](crate::gaps) it passes over, so that the server searches
//! what others have written only once. When the subscription ends, it is made anew. Followers look
//! by themselves as well, so it can lose no event; a follower that finds events which the
//! subscription did not announce has it replaced.

use std::{
    ops::ControlFlow,
    sync::{Arc, Mutex, Weak},
    time::{Duration, Instant},
};

use tokio::{sync::watch, task::JoinSet, time::sleep};

use event_log::{FOLLOW_POLL_INTERVAL, WakeUp, lock};

use crate::{
    client::{CallError, SubscriptionMessage},
    gaps::GapTracker,
    store::Store,
    subscription::subscribe,
};

/// How long a listening task is kept before it may be replaced: it needs a while to connect.
const REPLACE_INTERVAL: Duration = Duration::from_secs(10);

/// The wake-ups of the followers, and the task that hears of new events.
pub(crate) struct KurrentWakeups {
    /// The position is the highest that was announced.
    sender: Arc<watch::Sender<WakeUp>>,
    store: Arc<Store>,
    listener: Mutex<Option<Listener>>,
}

/// One task that listens. It ends when this is dropped.
struct Listener {
    started_at: Instant,
    _task: JoinSet<()>,
}

impl KurrentWakeups {
    pub(crate) fn new(store: Arc<Store>) -> Self {
        Self { sender: Arc::default(), store, listener: Mutex::new(None) }
    }

    /// Announces that this process has appended events, the last of them at this position.
    pub(crate) fn announce(&self, position: u64) {
        announce(&self.sender, position);
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<WakeUp> {
        self.sender.subscribe()
    }

    /// Starts to listen, unless a task listens already. A reader that has come to the log's end
    /// calls this. Any earlier, the subscription would send the events that are still to be read.
    pub(crate) fn listen(&self) {
        lock(&self.listener).get_or_insert_with(|| self.start_listener());
    }

    /// Reports that a follower has found events by itself, the last of them at this position. Where
    /// the listening task did not announce them, it is replaced.
    pub(crate) fn report_found(&self, position: u64) {
        if self.sender.borrow().position >= position {
            return;
        }
        let mut listener = lock(&self.listener);
        if listener.as_ref().is_some_and(|listener| listener.started_at.elapsed() > REPLACE_INTERVAL) {
            tracing::warn!("the event store did not announce events up to position {position}: subscribing anew");
            *listener = Some(self.start_listener());
        }
    }

    fn start_listener(&self) -> Listener {
        let mut task = JoinSet::new();
        task.spawn(listen(Arc::downgrade(&self.sender), Arc::downgrade(&self.store)));
        Listener { started_at: Instant::now(), _task: task }
    }
}

/// Wakes the followers where it is news that the log has grown to this position.
fn announce(sender: &watch::Sender<WakeUp>, position: u64) {
    sender.send_if_modified(|wake_up| {
        let is_news = position > wake_up.position;
        wake_up.position = wake_up.position.max(position);
        wake_up.hints += u64::from(is_news);
        is_news
    });
}

/// Listens, and subscribes again whenever the subscription ends. Followers look by themselves
/// meanwhile. This keeps nothing alive: it ends where no follower or store is left.
async fn listen(sender: Weak<watch::Sender<WakeUp>>, store: Weak<Store>) {
    while let Some(ended) = subscribe_once(&sender, &store).await {
        if let Err(why) = ended {
            tracing::warn!(
                "the subscription to the event store has ended: {why}; followers look every {} s until it works again",
                FOLLOW_POLL_INTERVAL.as_secs()
            );
            sleep(FOLLOW_POLL_INTERVAL).await;
        }
    }
}

/// Listens until the subscription ends, from the last event of the ledger that this process knows:
/// followers read those before it. Answers nothing where the store or its followers are gone.
async fn subscribe_once(sender: &Weak<watch::Sender<WakeUp>>, store: &Weak<Store>) -> Option<Result<(), CallError>> {
    let (connection, filter, mut tracker, after) = {
        let store = store.upgrade()?;
        let last_event = store.positions.last_event();
        let tracker = GapTracker::new(&store.names.prefix, last_event);
        (Arc::clone(&store.connection), store.filter(), tracker, store.positions.place_after(last_event))
    };
    let listening = subscribe(&connection, filter, after, |message| {
        let (Some(sender), Some(store)) = (sender.upgrade(), store.upgrade()) else { return ControlFlow::Break(()) };
        if let Some(gap) = tracker.observe(&message) {
            store.positions.note_gap(gap);
        }
        match message {
            SubscriptionMessage::Event(event) if store.owns(&event) => announce(&sender, event.position.commit),
            // Events may have come before the subscription began: a reason to look.
            SubscriptionMessage::Confirmed => sender.send_modify(|wake_up| wake_up.hints += 1),
            _ => {}
        }
        ControlFlow::Continue(())
    });
    Some(listening.await)
}
