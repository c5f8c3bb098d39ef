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
    thread,
    time::{Duration, Instant},
};

use kurrentdb::SubscriptionEvent;
use tokio::sync::watch;

use event_log::{FOLLOW_POLL_INTERVAL, WakeUp, lock};

use crate::{
    gaps::GapTracker,
    store::Store,
    subscription::{StopFlag, Subscription, SubscriptionGuard},
};

/// How long a listening thread is kept before it may be replaced: it needs a while to connect.
const REPLACE_INTERVAL: Duration = Duration::from_secs(10);

/// The wake-ups of the followers, and the thread that hears of new events.
pub(crate) struct KurrentWakeups {
    /// The position is the highest that was announced.
    sender: Arc<watch::Sender<WakeUp>>,
    store: Arc<Store>,
    listener: Mutex<Option<Listener>>,
}

/// One thread that listens.
struct Listener {
    started_at: Instant,
    _guard: SubscriptionGuard,
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

    /// Starts to listen, unless a thread listens already. A reader that has come to the log's end
    /// calls this. Any earlier, the subscription would send the events that are still to be read.
    pub(crate) fn listen(&self) {
        lock(&self.listener).get_or_insert_with(|| self.start_listener());
    }

    /// Reports that a follower has found events by itself, the last of them at this position. Where
    /// the listening thread did not announce them, it is replaced.
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
        let guard = SubscriptionGuard::default();
        let thread = ListenerThread {
            sender: Arc::downgrade(&self.sender),
            store: Arc::downgrade(&self.store),
            stop: guard.stop_flag(),
        };
        let spawned = thread::Builder::new().name("kurrentdb-wakeups".to_owned()).spawn(move || thread.run());
        if let Err(error) = spawned {
            // The followers still look by themselves.
            tracing::error!(error = &error as &dyn std::error::Error, "cannot start a thread to be woken by");
        }
        Listener { started_at: Instant::now(), _guard: guard }
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

/// The state of the listening thread. It keeps nothing alive: the thread ends where no follower or
/// store is left.
struct ListenerThread {
    sender: Weak<watch::Sender<WakeUp>>,
    store: Weak<Store>,
    stop: StopFlag,
}

impl ListenerThread {
    /// Listens, and subscribes again whenever the subscription ends. Followers look by themselves
    /// meanwhile.
    fn run(self) {
        while !self.stop.is_set() {
            let Some(ended) = self.subscribe() else { return };
            if self.stop.is_set() {
                return;
            }
            let why = match ended {
                Ok(()) => continue,
                Err(why) => why,
            };
            tracing::warn!(
                "the subscription to the event store has ended: {why}; followers look every {} s until it works again",
                FOLLOW_POLL_INTERVAL.as_secs()
            );
            thread::sleep(FOLLOW_POLL_INTERVAL);
        }
    }

    /// Listens until the subscription ends, from the last event of the ledger that this process
    /// knows: followers read those before it. Answers nothing where the store or its followers are
    /// gone.
    fn subscribe(&self) -> Option<Result<(), String>> {
        let store = self.store.upgrade()?;
        let last_event = store.positions.last_event();
        let mut tracker = GapTracker::new(&store.prefix, last_event);
        let address = store.connection.address().clone();
        let after = store.positions.place_after(last_event);
        let subscription = Subscription { address, filter: store.filter(), after };
        drop(store);
        Some(subscription.listen(&self.stop, |event| {
            let (Some(sender), Some(store)) = (self.sender.upgrade(), self.store.upgrade()) else {
                return ControlFlow::Break(());
            };
            if let Some(gap) = tracker.observe(&event) {
                store.positions.note_gap(gap);
            }
            match event {
                SubscriptionEvent::EventAppeared(event) if store.owns(&event) => {
                    announce(&sender, event.get_original_event().position.commit);
                }
                // Events may have come before the subscription began: a reason to look.
                SubscriptionEvent::Confirmed(_) => sender.send_modify(|wake_up| wake_up.hints += 1),
                _ => {}
            }
            ControlFlow::Continue(())
        }))
    }
}
