//! How followers are woken: one subscription for all of them.
//!
//! It begins at our last event once somebody has come to the log's end, and tells what it passes over from there on, so that
//! nobody has the server look through what others have written more than once. When it ends, it is made anew. What it
//! cannot see, the followers do: they look by themselves, and one that finds what was not announced has it replaced.

use std::{
    ops::ControlFlow,
    sync::{Arc, Mutex, PoisonError, Weak},
    thread,
    time::{Duration, Instant},
};

use kurrentdb::SubscriptionEvent;
use tokio::sync::watch;

use event_log::{FOLLOW_POLL_INTERVAL, WakeUp};

use crate::{
    Store,
    subscription::{IsOver, Keeper, PassedOver, Subscription},
};

/// A thread is not replaced again before this: it needs a while to be connected.
const REPLACE_INTERVAL: Duration = Duration::from_secs(10);

/// What was heard of the log, and the thread that hears it.
pub(crate) struct Wakeups {
    heard: Arc<watch::Sender<WakeUp>>,
    store: Arc<Store>,
    listener: Mutex<Option<Listener>>,
}

/// One thread that listens.
struct Listener {
    began: Instant,
    _keeper: Keeper,
}

impl Wakeups {
    pub(crate) fn new(store: Arc<Store>) -> Self {
        Self { heard: Arc::new(watch::Sender::new(WakeUp::default())), store, listener: Mutex::new(None) }
    }

    /// Says that this process has appended events, the last of them at this position.
    pub(crate) fn wake(&self, position: u64) {
        hint(&self.heard, position);
    }

    /// What is heard of the log.
    pub(crate) fn subscribe(&self) -> watch::Receiver<WakeUp> {
        self.heard.subscribe()
    }

    /// Hears of the log from now on. For whoever has come to its end: before, there is nothing to be woken for, and the
    /// subscription would send what is being read.
    pub(crate) fn listen(&self) {
        let mut listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner);
        listener.get_or_insert_with(|| self.listener());
    }

    /// Says that a follower has found events by itself, the last of them at this position. Where nobody had heard of
    /// them, the thread that should have is replaced.
    pub(crate) fn missed(&self, position: u64) {
        if self.heard.borrow().position >= position {
            return;
        }
        let mut listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner);
        if listener.as_ref().is_some_and(|listener| listener.began.elapsed() > REPLACE_INTERVAL) {
            tracing::warn!("the event store did not announce events up to position {position}: subscribing anew");
            *listener = Some(self.listener());
        }
    }

    fn listener(&self) -> Listener {
        let keeper = Keeper::default();
        let listening = Listening {
            heard: Arc::downgrade(&self.heard),
            store: Arc::downgrade(&self.store),
            is_over: keeper.is_over(),
        };
        let spawned = thread::Builder::new().name("kurrentdb-wakeups".to_owned()).spawn(move || listening.for_ever());
        if let Err(error) = spawned {
            // Followers look by themselves.
            tracing::error!(error = &error as &dyn std::error::Error, "cannot start a thread to be woken by");
        }
        Listener { began: Instant::now(), _keeper: keeper }
    }
}

/// Passes on that the log has grown to this position, where that is news.
fn hint(heard: &watch::Sender<WakeUp>, position: u64) {
    heard.send_if_modified(|heard| {
        let is_news = position > heard.position;
        heard.position = heard.position.max(position);
        heard.hints += u64::from(is_news);
        is_news
    });
}

/// What a thread that listens knows. It keeps nothing alive: where nobody is left to be woken, it ends.
struct Listening {
    heard: Weak<watch::Sender<WakeUp>>,
    store: Weak<Store>,
    is_over: IsOver,
}

impl Listening {
    /// Listens, again and again where the subscription ends. Followers look by themselves meanwhile.
    fn for_ever(self) {
        while !self.is_over.get() {
            let Some(ended) = self.once() else { return };
            if self.is_over.get() {
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

    /// Listens until the subscription ends, from our last event on that was seen: what stands before, followers read. Nothing
    /// where there is nobody left.
    fn once(&self) -> Option<Result<(), String>> {
        let store = self.store.upgrade()?;
        let end = store.seen.end();
        let mut passed_over = PassedOver::new(&store.prefix, end);
        let address = store.connection.address().clone();
        let subscription = Subscription { address, filter: store.filter(), after: store.seen.place_after(end) };
        drop(store);
        Some(subscription.listen(&self.is_over, |event| {
            let (Some(heard), Some(store)) = (self.heard.upgrade(), self.store.upgrade()) else {
                return ControlFlow::Break(());
            };
            if let Some(gap) = passed_over.hear(&event) {
                store.seen.note_gap(gap);
            }
            match event {
                SubscriptionEvent::EventAppeared(event) if store.is_ours(&event) => {
                    hint(&heard, event.get_original_event().position.commit);
                }
                // What was appended before that was not heard: a reason to look.
                SubscriptionEvent::Confirmed(_) => heard.send_modify(|heard| heard.hints += 1),
                _ => {}
            }
            ControlFlow::Continue(())
        }))
    }
}
