//! How followers are woken: one subscription for all of them, on a thread of its own.
//!
//! The client's subscription never yields again once the server has ended it with "OK": it goes round in circles, and a
//! time limit around it does not fire. It writes a line to its log on each round, though. So it runs on a thread where
//! such lines go to [`Rounds`], which counts them and, from a number on that no sound subscription reaches, ends the call by
//! unwinding; the thread then subscribes anew. What this cannot see, the followers do: they look by themselves, and one
//! that finds what was not announced has the thread replaced.

use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use kurrentdb::{Error, StreamPosition, SubscribeToAllOptions, SubscriptionEvent};
use tokio::{runtime, sync::watch, time::sleep};
use tracing::{
    Event, Metadata, Subscriber,
    span::{Attributes, Id, Record},
};

use crate::FOLLOW_POLL_INTERVAL;

use super::{
    Store,
    connection::{SILENCE_MAX, as_caller},
};

/// Lines of the client's log, without anything heard in between, from which on it is taken to go round in circles. A
/// lost connection makes three or four.
const ROUNDS_MAX: u32 = 100;

/// A thread is not replaced again before this: it needs a while to be connected.
const REPLACE_INTERVAL: Duration = Duration::from_secs(10);

/// What was heard of the log.
#[derive(Default)]
pub(super) struct Heard {
    /// How often there was a reason to look.
    pub(super) hints: u64,
    /// The highest position heard of.
    position: u64,
}

/// What was heard of the log, and the thread that hears it.
pub(super) struct Wakeups {
    heard: Arc<watch::Sender<Heard>>,
    store: Arc<Store>,
    listener: Mutex<Option<Listener>>,
}

/// One thread that listens.
struct Listener {
    began: Instant,
    is_over: Arc<AtomicBool>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

impl Wakeups {
    pub(super) fn new(store: Arc<Store>) -> Self {
        Self { heard: Arc::new(watch::Sender::new(Heard::default())), store, listener: Mutex::new(None) }
    }

    /// Says that this process has appended events, the last of them at this position.
    pub(super) fn wake(&self, position: u64) {
        hint(&self.heard, position);
    }

    /// Hears of the log from now on.
    pub(super) fn subscribe(&self) -> watch::Receiver<Heard> {
        let receiver = self.heard.subscribe();
        let mut listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner);
        listener.get_or_insert_with(|| self.listen());
        receiver
    }

    /// Says that a follower has found events by itself, the last of them at this position. Where nobody had heard of
    /// them, the thread that should have is replaced.
    pub(super) fn missed(&self, position: u64) {
        if self.heard.borrow().position >= position {
            return;
        }
        let mut listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner);
        if listener.as_ref().is_some_and(|listener| listener.began.elapsed() > REPLACE_INTERVAL) {
            tracing::warn!("the event store did not announce events up to position {position}: subscribing anew");
            *listener = Some(self.listen());
        }
    }

    fn listen(&self) -> Listener {
        let is_over = Arc::new(AtomicBool::new(false));
        let listening = Listening {
            heard: Arc::downgrade(&self.heard),
            store: Arc::downgrade(&self.store),
            is_over: Arc::clone(&is_over),
            rounds: Arc::default(),
        };
        let spawned = thread::Builder::new().name("kurrentdb-wakeups".to_owned()).spawn(move || listening.for_ever());
        if let Err(error) = spawned {
            // Followers look by themselves.
            tracing::error!(error = &error as &dyn std::error::Error, "cannot start a thread to be woken by");
        }
        Listener { began: Instant::now(), is_over }
    }
}

/// Passes on that the log has grown to this position, where that is news.
fn hint(heard: &watch::Sender<Heard>, position: u64) {
    heard.send_if_modified(|heard| {
        let is_news = position > heard.position;
        heard.position = heard.position.max(position);
        heard.hints += u64::from(is_news);
        is_news
    });
}

/// What a thread that listens knows. It keeps nothing alive: where nobody is left to be woken, it ends.
struct Listening {
    heard: Weak<watch::Sender<Heard>>,
    store: Weak<Store>,
    is_over: Arc<AtomicBool>,
    rounds: Arc<AtomicU32>,
}

impl Listening {
    /// Listens, again and again where the subscription ends. Followers look by themselves meanwhile.
    fn for_ever(self) {
        let lines = Rounds { rounds: Arc::clone(&self.rounds), is_over: Arc::clone(&self.is_over) };
        let dispatch = tracing::Dispatch::new(lines);
        while !self.is_over() {
            let listened =
                catch_unwind(AssertUnwindSafe(|| tracing::dispatcher::with_default(&dispatch, || self.once())));
            self.rounds.store(0, Ordering::Relaxed);
            if self.is_over() {
                return;
            }
            let why = match listened {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => error.to_string(),
                Err(_) => "the server has ended it".to_owned(),
            };
            tracing::warn!(
                "the subscription to the event store has ended: {why}; followers look every {} s until it works again",
                FOLLOW_POLL_INTERVAL.as_secs()
            );
            thread::sleep(FOLLOW_POLL_INTERVAL);
        }
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed) || self.store.strong_count() == 0
    }

    /// Listens until the subscription ends.
    fn once(&self) -> Result<(), Error> {
        let Some(store) = self.store.upgrade() else { return Ok(()) };
        let failed = |error: std::io::Error| Error::InitializationError(error.to_string());
        let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let client = store.connection.address().client_on(&runtime)?;
        // From its end on: what stands before, followers read.
        let options = SubscribeToAllOptions::default().position(StreamPosition::End).filter(store.filter());
        let options = as_caller!(store.connection.address(), options);
        drop(store);
        runtime.block_on(async {
            let mut subscription = client.subscribe_to_all(&options).await;
            let mut is_confirmed = false;
            loop {
                let event = tokio::select! {
                    event = subscription.next_subscription_event() => event?,
                    () = sleep(SILENCE_MAX), if !is_confirmed => return Err(Error::DeadlineExceeded),
                    () = self.over() => return Ok(()),
                };
                self.rounds.store(0, Ordering::Relaxed);
                let Some(heard) = self.heard.upgrade() else { return Ok(()) };
                match event {
                    SubscriptionEvent::EventAppeared(event) => hint(&heard, event.get_original_event().position.commit),
                    // What was appended before that was not heard: a reason to look.
                    SubscriptionEvent::Confirmed(_) => {
                        is_confirmed = true;
                        heard.send_modify(|heard| heard.hints += 1);
                    }
                    _ => {}
                }
            }
        })
    }

    /// Returns when there is nobody left to listen for.
    async fn over(&self) {
        while !self.is_over() {
            sleep(FOLLOW_POLL_INTERVAL).await;
        }
    }
}

/// Takes the lines that the client writes on the listening thread, instead of the program's log: that has its own line for
/// each end of a subscription.
struct Rounds {
    rounds: Arc<AtomicU32>,
    is_over: Arc<AtomicBool>,
}

impl Subscriber for Rounds {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= tracing::Level::WARN
    }

    fn event(&self, _: &Event<'_>) {
        let rounds = self.rounds.fetch_add(1, Ordering::Relaxed) + 1;
        if rounds >= ROUNDS_MAX || self.is_over.load(Ordering::Relaxed) {
            resume_unwind(Box::new("going round in circles"));
        }
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
