//! The contract: the promises that every store must keep, tried on a running store.
//!
//! The tests of this repository run it, and so may an operator who wants to check a server before
//! trusting it. A run tries each promise by itself and reports which were kept; it goes on after
//! one that was not.
//!
//! Use it only on a store that holds nothing of value: a run leaves streams of made-up prisoner
//! numbers behind, with events that no other part of the ledger can read, and a snapshot.
//!
//! | module | promises about |
//! |---|---|
//! | `appends` | optimistic concurrency, idempotent appends, exact bytes |
//! | `keys` | idempotency keys |
//! | `reads` | order, pages, several streams at once |
//! | `times` | recorded times, and the position at an instant |
//! | `following` | followers (subscriptions) |
//! | `snapshots` | snapshots, which are no events |
//! | `load` | many concurrent writers and followers |
//!
//! To add a promise: write an `async fn(&ContractRun) -> Result<(), BrokenPromise>` in one of these
//! modules, and give it its sentence in [`check`].

mod appends;
mod following;
mod keys;
mod load;
mod order;
mod reads;
mod run;
mod snapshots;
mod times;

use std::{fmt, time::Duration};

use futures::{FutureExt as _, future::BoxFuture};
use tokio::time::timeout;
use uuid::Uuid;

use crate::{AppendError, LogError, SharedLog, error_chain};

use run::ContractRun;

pub use order::{find_disorder, find_earlier_time};
pub use run::{made_up_event, made_up_event_id, made_up_stream};
pub use snapshots::snapshot_name;

/// How long one promise may take to try. One that takes longer counts as broken.
const PROMISE_TIME_MAX: Duration = Duration::from_secs(120);

/// The outcome of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContractReport {
    /// Every promise tried, in order.
    pub promises: Vec<Promise>,
}

impl ContractReport {
    /// Whether every promise held.
    #[must_use]
    pub fn held(&self) -> bool {
        self.promises.iter().all(|promise| promise.broken.is_none())
    }
}

impl fmt::Display for ContractReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for promise in &self.promises {
            match &promise.broken {
                None => writeln!(f, "held      {}", promise.name)?,
                Some(reason) => writeln!(f, "NOT HELD  {}: {reason}", promise.name)?,
            }
        }
        Ok(())
    }
}

/// One promise, tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Promise {
    /// The promise, as a sentence.
    pub name: &'static str,
    /// Why it was broken; absent where it was kept.
    pub broken: Option<String>,
}

/// Tries every promise. `handles` are one or more logs on the same store, as several processes
/// would have. `run` tells runs apart: streams and event ids are derived from it.
///
/// # Panics
/// Where `handles` is empty.
pub fn check(handles: &[SharedLog], run: Uuid) -> BoxFuture<'_, ContractReport> {
    async move {
        assert!(!handles.is_empty(), "a store to try is needed");
        let run = ContractRun::new(handles, run);
        let promises = vec![
            hold(
                "an append succeeds at the expected revision only, and a conflict says the actual one",
                appends::revisions(&run).boxed(),
            ),
            hold("the events of an append stand together or not at all", appends::atomic(&run).boxed()),
            hold("the same append again gets the first answer again", appends::repeats(&run).boxed()),
            hold("an append of no events, or of too many, is refused", appends::counts(&run).boxed()),
            hold("metadata and data come back byte for byte", appends::bytes(&run).boxed()),
            hold(
                "a key that was recorded on a stream is refused for any other request",
                keys::one_request(&run).boxed(),
            ),
            hold(
                "a key of a request that recorded nothing keeps its answer, and is refused for any other request",
                keys::without_events(&run).boxed(),
            ),
            hold("of requests that are sent at once with one key, one is recorded", keys::at_once(&run).boxed()),
            hold(
                "positions rise in the order of the answers, and the log reads in their order",
                reads::order(&run).boxed(),
            ),
            hold("a stream reads from any revision, with a limit", reads::stream_pages(&run).boxed()),
            hold("the log reads from any position, with a limit", reads::log_pages(&run).boxed()),
            hold(
                "streams read together come in the order asked; one that does not exist is empty",
                reads::many(&run).boxed(),
            ),
            hold(
                "recorded time never runs backwards in a stream, and is answered as it is kept",
                times::recorded_times(&run).boxed(),
            ),
            hold(
                "what was known at an instant ends before the first event recorded later",
                times::instants(&run).boxed(),
            ),
            hold(
                "a follower starts anywhere, sees everything after it, and says when it has caught up",
                following::follows(&run).boxed(),
            ),
            hold("a waiting follower is woken at once, whoever appends", following::wake_followers(&run).boxed()),
            hold(
                "the newest snapshot comes back byte for byte, and no reader of events meets it",
                snapshots::snapshots(&run).boxed(),
            ),
            hold("under concurrent load nothing is lost, doubled, reordered or skipped", load::load(&run).boxed()),
        ];
        let mut report = ContractReport { promises: Vec::with_capacity(promises.len()) };
        // One after the other: they share the log's positions and the machine, and a broken promise
        // must not break others.
        for promise in promises {
            report.promises.push(promise.await);
        }
        report
    }
    .boxed()
}

/// Why a promise was broken.
struct BrokenPromise(String);

impl From<AppendError> for BrokenPromise {
    fn from(error: AppendError) -> Self {
        Self(error_chain(&error))
    }
}

impl From<LogError> for BrokenPromise {
    fn from(error: LogError) -> Self {
        Self(error_chain(&error))
    }
}

/// Returns [`BrokenPromise`] with a reason unless a condition holds.
macro_rules! ensure {
    ($condition:expr, $($reason:tt)+) => {
        if !$condition {
            return Err(BrokenPromise(format!($($reason)+)));
        }
    };
}
use ensure;

async fn hold(name: &'static str, trial: BoxFuture<'_, Result<(), BrokenPromise>>) -> Promise {
    let broken = match timeout(PROMISE_TIME_MAX, trial).await {
        Ok(Ok(())) => None,
        Ok(Err(BrokenPromise(reason))) => Some(reason),
        Err(_) => Some(format!("not done after {} s", PROMISE_TIME_MAX.as_secs())),
    };
    Promise { name, broken }
}
