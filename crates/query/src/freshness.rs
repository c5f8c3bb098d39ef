//! `Ledger-Position-At-Least`: an answer that includes the caller's own write, or a clear 503 after a bounded wait.
//!
//! Whoever waits takes part in one look-out: at most one of them asks how far the views have come, every few
//! milliseconds, and tells all the others. No one waits, no one asks. It asks the database that answers, so that it holds
//! for a read replica too, which hands on no notifications.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{Request, State as Extracted},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http_api::{
    Problem,
    headers::{LEDGER_POSITION_AT_LEAST, parse},
};
use sqlx::PgPool;
use tokio::{
    sync::{Mutex, watch},
    time::Instant,
};

use crate::{Error, State, present};

/// How long a caller is kept waiting. The views follow within milliseconds; who is this far behind is better told.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// The pause between two looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// For how long a look is trusted. Views that are lost, or restored from a backup, go back; so a look now and then, where
/// nobody has to wait for one.
const SEEN_LIFE: Duration = Duration::from_secs(1);

/// How far the views are known to have come.
#[derive(Clone)]
pub(crate) struct Freshness {
    inner: Arc<Inner>,
}

struct Inner {
    views: PgPool,
    seen: watch::Sender<Seen>,
    /// Held by whoever looks.
    look: Mutex<()>,
}

/// What the latest look has found.
#[derive(Clone, Copy)]
struct Seen {
    position: u64,
    at: Instant,
}

impl Seen {
    fn includes(self, position: u64) -> bool {
        self.position >= position && self.at.elapsed() < SEEN_LIFE
    }
}

impl Freshness {
    pub(crate) fn new(views: PgPool) -> Self {
        let nothing = Seen { position: 0, at: Instant::now() };
        Self { inner: Arc::new(Inner { views, seen: watch::Sender::new(nothing), look: Mutex::new(()) }) }
    }

    /// Takes in how far the views are, which may be less far than they were.
    pub(crate) fn saw(&self, position: u64) {
        self.inner.seen.send_if_modified(|seen| {
            let before = std::mem::replace(seen, Seen { position, at: Instant::now() });
            before.position != position || !before.includes(position)
        });
    }

    /// Waits until the views have come to `position`; false where they have not in time.
    pub(crate) async fn reached(&self, position: u64) -> Result<bool, Error> {
        self.reached_within(position, WAIT_MAX).await
    }

    /// The same, with a patience of one's own.
    pub(crate) async fn reached_within(&self, position: u64, patience: Duration) -> Result<bool, Error> {
        match tokio::time::timeout(patience, self.wait(position)).await {
            Ok(outcome) => outcome.map(|()| true),
            Err(_) => Ok(false),
        }
    }

    async fn wait(&self, position: u64) -> Result<(), Error> {
        let Inner { views, seen, look } = &*self.inner;
        let mut told = seen.subscribe();
        loop {
            if told.borrow_and_update().includes(position) {
                return Ok(());
            }
            tokio::select! {
                // The sender is in `self`, so it is there to the end.
                _ = told.changed() => {}
                _looking = look.lock() => {
                    let now_at = present::checkpoint::read(views).await?.position;
                    self.saw(now_at);
                    if now_at < position {
                        tokio::time::sleep(LOOK_INTERVAL).await;
                    }
                }
            }
        }
    }
}

/// Holds a request back until the views are as far as it asks.
pub(crate) async fn hold_back(Extracted(state): Extracted<State>, request: Request, next: Next) -> Response {
    let at_least = parse(request.headers(), &LEDGER_POSITION_AT_LEAST, "a position in the ledger", |text| {
        text.parse::<u64>().ok()
    });
    let reached = match at_least {
        Ok(None) => Ok(true),
        Ok(Some(position)) => state.freshness.reached(position).await.map_err(Problem::from),
        Err(problem) => Err(problem),
    };
    match reached {
        Ok(true) => next.run(request).await,
        Ok(false) => behind().into_response(),
        Err(problem) => problem.into_response(),
    }
}

/// That the views did not come far enough in time.
pub(crate) fn behind() -> Problem {
    Problem::unavailable(
        "views-behind",
        format!(
            "The views have not come to the position asked for within {} s. GET /projections says how far they are. \
             Please try again.",
            WAIT_MAX.as_secs()
        ),
    )
}
