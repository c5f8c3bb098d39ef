//! One subscription of the client, on a thread of its own.
//!
//! Once the server has ended a subscription with "OK", the client's subscription never yields
//! again: it loops for ever, and a time limit around it does not fire. It writes a line to its log
//! in each round of the loop, though. So it runs on a thread where these lines go to a
//! [`LoopDetector`], which counts them. From a count on that no sound subscription reaches, the
//! detector ends the call by unwinding.

use std::{
    ops::ControlFlow,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use kurrentdb::{Error, Position, StreamPosition, SubscribeToAllOptions, SubscriptionEvent, SubscriptionFilter};
use tokio::{runtime, time::sleep};
use tracing::{
    Event, Metadata, Subscriber,
    span::{Attributes, Id, Record},
};

use event_log::FOLLOW_POLL_INTERVAL;

use crate::{
    address::{ServerAddress, as_caller},
    connection::SILENCE_MAX,
};

/// Lines of the client's log in a row, with no event between them, at which the client counts as
/// looping. A lost connection makes three or four.
const ROUNDS_MAX: u32 = 100;

/// Whether a subscription must stop. It is set when the [`SubscriptionGuard`] is dropped.
#[derive(Clone, Default)]
pub(crate) struct StopFlag(Arc<AtomicBool>);

impl StopFlag {
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Stops a subscription when it is dropped.
#[derive(Default)]
pub(crate) struct SubscriptionGuard(StopFlag);

impl SubscriptionGuard {
    pub(crate) fn stop_flag(&self) -> StopFlag {
        self.0.clone()
    }
}

impl Drop for SubscriptionGuard {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}

/// A subscription to some of the server's events.
pub(crate) struct Subscription {
    pub(crate) address: ServerAddress,
    pub(crate) filter: SubscriptionFilter,
    /// The subscription has the events after this position.
    pub(crate) after: Position,
}

impl Subscription {
    /// Listens on the calling thread until `observe` breaks, the stop flag is set, or the
    /// subscription ends by itself. In the last case the error says why.
    pub(crate) fn listen(
        self,
        stop: &StopFlag,
        observe: impl FnMut(SubscriptionEvent) -> ControlFlow<()>,
    ) -> Result<(), String> {
        let detector = LoopDetector { rounds: AtomicU32::new(0).into(), stop: stop.clone() };
        let dispatch = tracing::Dispatch::new(detector.clone());
        let listening = || tracing::dispatcher::with_default(&dispatch, || self.listen_with(&detector, observe));
        match catch_unwind(AssertUnwindSafe(listening)) {
            Ok(ended) => ended.map_err(|error| error.to_string()),
            Err(panic) if panic.is::<LoopDetected>() => Err("the server has ended it".to_owned()),
            Err(_) => Err("it has panicked".to_owned()),
        }
    }

    fn listen_with(
        self,
        detector: &LoopDetector,
        mut observe: impl FnMut(SubscriptionEvent) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        let failed = |error: std::io::Error| Error::InitializationError(error.to_string());
        let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let client = self.address.client_on(&runtime)?;
        let options = SubscribeToAllOptions::default().position(stream_position(self.after)).filter(self.filter);
        let options = as_caller!(self.address, options);
        runtime.block_on(async {
            let mut subscription = client.subscribe_to_all(&options).await;
            let mut is_confirmed = false;
            loop {
                let event = tokio::select! {
                    event = subscription.next_subscription_event() => event?,
                    () = sleep(SILENCE_MAX), if !is_confirmed => return Err(Error::DeadlineExceeded),
                    () = wait_until_set(&detector.stop) => return Ok(()),
                };
                detector.rounds.store(0, Ordering::Relaxed);
                is_confirmed = true;
                if observe(event).is_break() {
                    return Ok(());
                }
            }
        })
    }
}

async fn wait_until_set(stop: &StopFlag) {
    while !stop.is_set() {
        sleep(FOLLOW_POLL_INTERVAL).await;
    }
}

/// A position as the client takes it, which has a value of its own for the start.
pub(crate) fn stream_position(position: Position) -> StreamPosition<Position> {
    if position.commit == 0 { StreamPosition::Start } else { StreamPosition::Position(position) }
}

/// The payload with which a looping subscription is unwound.
struct LoopDetected;

/// Takes the log lines that the client writes on the listening thread. They do not go to the
/// program's log, which has a line of its own for each end of a subscription.
#[derive(Clone)]
struct LoopDetector {
    rounds: Arc<AtomicU32>,
    stop: StopFlag,
}

impl Subscriber for LoopDetector {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= tracing::Level::WARN
    }

    fn event(&self, _: &Event<'_>) {
        let rounds = self.rounds.fetch_add(1, Ordering::Relaxed) + 1;
        if rounds >= ROUNDS_MAX || self.stop.is_set() {
            resume_unwind(Box::new(LoopDetected));
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
