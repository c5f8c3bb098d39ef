//! The connection to the server: a client of the node that leads, replaced where it was lost.
//!
//! Every call goes through [`ServerConnection::call`], which limits its time, tries again where
//! that can help, and looks for the leader anew for that.

use std::{
    error::Error as StdError,
    future::Future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use futures::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};
use tokio::{
    task::JoinError,
    time::{Instant, sleep, timeout, timeout_at},
};

use event_log::lock;

use crate::client::{CallError, LeaderAddress, Node, NodeClient, ServerAddress, connect_to_leader};

/// How long the server may be silent within one try. A healthy server needs a small part of it for
/// any call.
pub(crate) const SILENCE_MAX: Duration = Duration::from_secs(5);

/// Tries of one call. The first may meet a connection that was lost unnoticed, the second a node
/// that is gone.
const TRIES_MAX: u32 = 3;

/// The pauses before the leader is looked for again grow from the first to the second while none is
/// reached.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// How long a call waits for a connection where the last few could not be made: longer than the
/// pause, so that a server that has returned is met. Health probes wait for two seconds, perhaps
/// for a call after another one, and then want to hear the reason.
const AWAY_WAIT_MAX: Duration = Duration::from_millis(900);

/// Nodes that are kept: more than a cluster has.
const KNOWN_NODES_MAX: usize = 16;

/// The connection to the server, shared by all users of one store.
pub(crate) struct ServerConnection {
    address: ServerAddress,
    session: Mutex<Option<Arc<Session>>>,
    /// The nodes that others have named, to be asked for the leader besides those in the URL.
    known_nodes: Arc<Mutex<Vec<Node>>>,
    /// How many sessions in a row ended before the server answered a call.
    failures: AtomicU32,
    /// When and why the last of them failed.
    last_failure: Mutex<Option<(Instant, CallError)>>,
}

/// A client that a task is making. All callers that wait share it, and the task goes on to its end
/// where none of them waits so long.
struct Session(Shared<BoxFuture<'static, Result<NodeClient, CallError>>>);

impl ServerConnection {
    pub(crate) fn new(address: ServerAddress) -> Self {
        Self {
            address,
            session: Mutex::default(),
            known_nodes: Arc::default(),
            failures: AtomicU32::default(),
            last_failure: Mutex::default(),
        }
    }

    /// Calls the server, and again on a new session where the connection was lost. It must be safe
    /// to run `ask` twice. Where `ask` reads an answer piece by piece, it must limit each piece to
    /// [`SILENCE_MAX`] itself.
    pub(crate) async fn call<T, F>(&self, ask: impl Fn(NodeClient) -> F) -> Result<T, CallError>
    where
        F: Future<Output = Result<T, CallError>>,
    {
        let away = self.last_failure_while_away().map(|failure| (Instant::now() + AWAY_WAIT_MAX, failure));
        let mut tries = 0;
        let mut unreached = None;
        loop {
            tries += 1;
            let session = self.session();
            let connecting = session.0.clone();
            let connected = match &away {
                None => connecting.await,
                Some((deadline, failure)) => match timeout_at(*deadline, connecting).await {
                    Ok(connected) => connected,
                    // The session goes on connecting, for the calls to come.
                    Err(_) => return Err(failure.clone()),
                },
            };
            let answer = match connected {
                Ok(client) => ask(client).await,
                Err(error) => Err(error),
            };
            match &answer {
                Err(error) if error.is_outage() => {
                    tracing::debug!(error = error as &dyn StdError, "the event store did not answer try {tries}");
                    self.give_up(&session, error);
                    // A silent server has cost the time of two tries.
                    tries += u32::from(matches!(error, CallError::Silent));
                    let has_waited = away.as_ref().is_none_or(|(deadline, _)| Instant::now() >= *deadline);
                    if tries >= TRIES_MAX && has_waited {
                        return match (answer, unreached) {
                            // The node named a leader, and this is why that was not reached.
                            (Err(CallError::NotLeader(_)), Some(unreached)) => Err(unreached),
                            (answer, _) => answer,
                        };
                    }
                    if let CallError::Unreached(_) = error {
                        unreached = Some(error.clone());
                    }
                }
                // A refusal counts as well: the server was reached.
                _ => {
                    self.failures.store(0, Ordering::Relaxed);
                    return answer;
                }
            }
        }
    }

    /// The last failure, where so many sessions in a row have failed that the server is away.
    fn last_failure_while_away(&self) -> Option<CallError> {
        let is_away = self.failures.load(Ordering::Relaxed) >= TRIES_MAX;
        lock(&self.last_failure).as_ref().filter(|_| is_away).map(|(_, failure)| failure.clone())
    }

    /// A client of the leader, for a call that ends by itself when the connection is lost.
    pub(crate) async fn client(&self) -> Result<NodeClient, CallError> {
        self.call(async |client| Ok(client)).await
    }

    /// How another client reaches the leader.
    pub(crate) async fn leader(&self) -> Result<LeaderAddress, CallError> {
        self.address.of_leader(&self.client().await?.node)
    }

    fn session(&self) -> Arc<Session> {
        Arc::clone(lock(&self.session).get_or_insert_with(|| self.begin_session(None)))
    }

    /// Ends a session that has failed, unless another caller has done so. A node that does not lead
    /// has named the leader, which is gone to at once.
    fn give_up(&self, failed: &Arc<Session>, error: &CallError) {
        let mut session = lock(&self.session);
        if session.as_ref().is_some_and(|session| Arc::ptr_eq(session, failed)) {
            *lock(&self.last_failure) = Some((Instant::now(), error.clone()));
            self.failures.fetch_add(1, Ordering::Relaxed);
            *session = match error {
                CallError::NotLeader(Some(leader)) => Some(self.begin_session(Some(leader.clone()))),
                _ => None,
            };
        }
    }

    fn begin_session(&self, leader: Option<Node>) -> Arc<Session> {
        let pause = match self.failures.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            failures => {
                let since = lock(&self.last_failure).as_ref().map_or(Duration::ZERO, |(at, _)| at.elapsed());
                PAUSE_MAX.min(PAUSE_MIN * 2_u32.saturating_pow(failures.min(10) - 1)).saturating_sub(since)
            }
        };
        let (address, known_nodes) = (self.address.clone(), Arc::clone(&self.known_nodes));
        let connecting = tokio::spawn(async move {
            sleep(pause).await;
            let known = lock(&known_nodes).clone();
            let found = connect_to_leader(&address, leader.as_ref(), &known).await?;
            let mut known = lock(&known_nodes);
            // A node that was cut off from the others may name itself alone.
            let earlier = std::mem::replace(&mut *known, found.members);
            for node in earlier {
                if !known.contains(&node) && known.len() < KNOWN_NODES_MAX {
                    known.push(node);
                }
            }
            Ok(found.client)
        });
        Arc::new(Session(connecting.map(flatten_join).boxed().shared()))
    }
}

/// Limits an answer to [`SILENCE_MAX`].
pub(crate) async fn in_time<T>(answer: impl Future<Output = Result<T, CallError>>) -> Result<T, CallError> {
    timeout(SILENCE_MAX, answer).await.unwrap_or(Err(CallError::Silent))
}

/// The result of a task, where a task that panicked or was cancelled has failed.
pub(crate) fn flatten_join<T>(task: Result<Result<T, CallError>, JoinError>) -> Result<T, CallError> {
    task.unwrap_or_else(|error| Err(CallError::TaskEnded(error.to_string())))
}
