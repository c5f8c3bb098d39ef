//! One subscription of the client, on a thread of its own.
//!
//! The client's subscription never yields again once the server has ended it with "OK": it goes round in circles, and a
//! time limit around it does not fire. It writes a line to its log on each round, though. So it runs on a thread where
//! such lines go to [`Rounds`], which counts them and, from a number on that no sound subscription reaches, ends the call by
//! unwinding.

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
    connection::{Address, SILENCE_MAX, as_caller},
    stored::StreamPrefix,
};

/// Lines of the client's log, without anything heard in between, from which on it is taken to go round in circles. A
/// lost connection makes three or four.
const ROUNDS_MAX: u32 = 100;

/// Whether a subscription is over: set when the one who keeps it drops it.
#[derive(Clone, Default)]
pub(crate) struct IsOver(Arc<AtomicBool>);

impl IsOver {
    pub(crate) fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Ends a subscription when it is dropped.
#[derive(Default)]
pub(crate) struct Keeper(IsOver);

impl Keeper {
    pub(crate) fn is_over(&self) -> IsOver {
        self.0.clone()
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}

/// What is subscribed to.
pub(crate) struct Subscription {
    pub(crate) address: Address,
    pub(crate) filter: SubscriptionFilter,
    /// What stands after it is heard.
    pub(crate) after: Position,
}

impl Subscription {
    /// Listens on the calling thread until `hear` has heard enough, it is over, or it ends by itself, and then says why.
    pub(crate) fn listen(
        self,
        is_over: &IsOver,
        hear: impl FnMut(SubscriptionEvent) -> ControlFlow<()>,
    ) -> Result<(), String> {
        let rounds = Rounds { rounds: AtomicU32::new(0).into(), is_over: is_over.clone() };
        let dispatch = tracing::Dispatch::new(rounds.clone());
        let listening = || tracing::dispatcher::with_default(&dispatch, || self.listen_with(&rounds, hear));
        match catch_unwind(AssertUnwindSafe(listening)) {
            Ok(ended) => ended.map_err(|error| error.to_string()),
            Err(panic) if panic.is::<RoundInCircles>() => Err("the server has ended it".to_owned()),
            Err(_) => Err("it has panicked".to_owned()),
        }
    }

    fn listen_with(
        self,
        rounds: &Rounds,
        mut hear: impl FnMut(SubscriptionEvent) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        let failed = |error: std::io::Error| Error::InitializationError(error.to_string());
        let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let client = self.address.client_on(&runtime)?;
        let options = SubscribeToAllOptions::default().position(place(self.after)).filter(self.filter);
        let options = as_caller!(self.address, options);
        runtime.block_on(async {
            let mut subscription = client.subscribe_to_all(&options).await;
            let mut is_confirmed = false;
            loop {
                let event = tokio::select! {
                    event = subscription.next_subscription_event() => event?,
                    () = sleep(SILENCE_MAX), if !is_confirmed => return Err(Error::DeadlineExceeded),
                    () = over(&rounds.is_over) => return Ok(()),
                };
                rounds.rounds.store(0, Ordering::Relaxed);
                is_confirmed = true;
                if hear(event).is_break() {
                    return Ok(());
                }
            }
        })
    }
}

/// Returns when it is over.
async fn over(is_over: &IsOver) {
    while !is_over.get() {
        sleep(FOLLOW_POLL_INTERVAL).await;
    }
}

/// A position as the client takes it: it has another word for the start.
pub(crate) fn place(position: Position) -> StreamPosition<Position> {
    if position.commit == 0 { StreamPosition::Start } else { StreamPosition::Position(position) }
}

/// A stretch of the log in which nothing of ours stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gap {
    /// Nothing stands after this position …
    pub(crate) after: u64,
    /// … and before this one.
    pub(crate) before: u64,
}

/// Learns from a subscription what it passes over.
///
/// It sends what is ours, and, after each so many events of anybody's, a checkpoint: everything of ours up to it was sent.
/// Some older servers sent one too early, ahead of events still on their way. So a checkpoint counts only once something
/// further was sent after it.
pub(crate) struct PassedOver {
    prefix: StreamPrefix,
    after: u64,
    checkpoint: Option<u64>,
}

impl PassedOver {
    /// For a subscription that begins where nothing of ours stands after a position.
    pub(crate) fn new(prefix: &StreamPrefix, after: u64) -> Self {
        Self { prefix: prefix.clone(), after, checkpoint: None }
    }

    /// Takes what the subscription has sent, and answers what is known by it.
    pub(crate) fn hear(&mut self, event: &SubscriptionEvent) -> Option<Gap> {
        match event {
            SubscriptionEvent::EventAppeared(event) => {
                let event = event.get_original_event();
                let gap = Gap { after: self.after, before: event.position.commit };
                let name = event.stream_id();
                if self.prefix.stream(name).is_some() || self.prefix.set_by(name).is_some() {
                    self.after = gap.before;
                    self.checkpoint = None;
                }
                Some(gap)
            }
            SubscriptionEvent::Checkpoint(Position { commit, .. }) => {
                let earlier = self.checkpoint.replace(*commit)?;
                (earlier < *commit).then_some(Gap { after: self.after, before: earlier })
            }
            _ => None,
        }
    }
}

/// What a subscription is unwound with.
struct RoundInCircles;

/// Takes the lines that the client writes on the listening thread, instead of the program's log: that has its own line for
/// each end of a subscription.
#[derive(Clone)]
struct Rounds {
    rounds: Arc<AtomicU32>,
    is_over: IsOver,
}

impl Subscriber for Rounds {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= tracing::Level::WARN
    }

    fn event(&self, _: &Event<'_>) {
        let rounds = self.rounds.fetch_add(1, Ordering::Relaxed) + 1;
        if rounds >= ROUNDS_MAX || self.is_over.get() {
            resume_unwind(Box::new(RoundInCircles));
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What is learnt from checkpoints, one after the other, after position 1.
    #[track_caller]
    fn check(checkpoints: &[(u64, Option<u64>)]) {
        let mut passed_over = PassedOver::new(&StreamPrefix::default(), 1);
        for &(commit, before) in checkpoints {
            let heard = passed_over.hear(&SubscriptionEvent::Checkpoint(Position { commit, prepare: commit }));
            assert_eq!(heard, before.map(|before| Gap { after: 1, before }), "at {commit}");
        }
    }

    #[test]
    fn a_checkpoint_counts_once_something_further_was_sent() {
        check(&[(10, None), (20, Some(10)), (20, None), (30, Some(20))]);
        // Some servers have sent such as were no positions, or not yet.
        check(&[(u64::MAX, None), (10, None), (20, Some(10))]);
        check(&[(40, None), (30, None), (50, Some(30))]);
    }
}
