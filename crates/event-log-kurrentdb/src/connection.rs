//! The connection to the server: the official client, replaced where it has lost its node.
//!
//! The client ends for good when its first connection fails, and does not look for another node
//! when the one it uses dies. So every call goes through [`ServerConnection::call`], which limits
//! its time, tries again where that can help, and makes a new client for that. Each client has a
//! runtime of its own, so that any task which it leaves running ends with it.

use std::{
    error::Error as StdError,
    future::Future,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use futures::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};
use kurrentdb::{Client, Error, GrpcConnectionError};
use tokio::{
    task::{JoinError, spawn_blocking},
    time::{sleep, timeout},
};

use event_log::lock;

use crate::address::{ClientSession, ServerAddress};

/// How long the server may be silent within one try. A healthy server needs a small part of it for
/// any call.
pub(crate) const SILENCE_MAX: Duration = Duration::from_secs(5);

/// Tries of one call. The first may meet a connection that was lost unnoticed, the second a node
/// that is gone.
const TRIES_MAX: u32 = 3;

/// The pauses before a new client is made grow from the first to the second while no client reaches
/// the server.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// The connection to the server, shared by all users of one store.
pub(crate) struct ServerConnection {
    address: ServerAddress,
    session: Mutex<Option<PendingSession>>,
    /// How many clients in a row did not reach the server.
    failures: AtomicU32,
}

/// A session that a task is making. All callers that wait share it, and the task goes on to its end
/// where none of them waits so long.
type PendingSession = Shared<BoxFuture<'static, Result<Arc<ClientSession>, Error>>>;

impl ServerConnection {
    pub(crate) fn new(address: ServerAddress) -> Self {
        Self { address, session: Mutex::default(), failures: AtomicU32::default() }
    }

    pub(crate) fn address(&self) -> &ServerAddress {
        &self.address
    }

    /// Calls the server, and again on a new client where the connection was lost. It must be safe
    /// to run `ask` twice. Where `ask` reads an answer piece by piece, it must limit each piece to
    /// [`SILENCE_MAX`] itself.
    pub(crate) async fn call<T, F>(&self, ask: impl Fn(Client) -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let mut tries = 0;
        loop {
            tries += 1;
            let session = self.session().await?;
            let answer = ask(session.client.clone()).await;
            match &answer {
                Err(error) if is_outage(error) => {
                    tracing::debug!(
                        error = error as &dyn std::error::Error,
                        "the event store did not answer try {tries}"
                    );
                    // The client follows a redirect to the leader by itself. A second such answer
                    // says that it did not reach the leader, or that there is none for now.
                    if matches!(error, Error::NotLeaderException(_)) && tries == 1 {
                        sleep(PAUSE_MIN).await;
                    } else {
                        self.give_up(&session);
                    }
                    // A silent server has cost the time of two tries.
                    tries += u32::from(matches!(error, Error::DeadlineExceeded));
                    if tries >= TRIES_MAX {
                        return match error {
                            Error::GrpcConnectionError(_) | Error::ConnectionClosed => {
                                let why = session.why_unreached.clone().await;
                                Err(Error::GrpcConnectionError(GrpcConnectionError::Grpc(why)))
                            }
                            _ => answer,
                        };
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

    /// Answers the client in use, or a new one where making that one failed.
    async fn session(&self) -> Result<Arc<ClientSession>, Error> {
        let making = {
            let mut place = self.place();
            if place.as_ref().and_then(Shared::peek).is_some_and(Result::is_err) {
                *place = None;
            }
            place.get_or_insert_with(|| self.make()).clone()
        };
        making.await
    }

    fn make(&self) -> PendingSession {
        let pause = match self.failures.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            failures => PAUSE_MAX.min(PAUSE_MIN * 2_u32.saturating_pow(failures.min(10) - 1)),
        };
        let address = self.address.clone();
        let made = tokio::spawn(async move {
            sleep(pause).await;
            spawn_blocking(move || address.connect().map(Arc::new)).await
        });
        made.map(|made| flatten_join(made.and_then(|made| made))).boxed().shared()
    }

    /// Drops a client that has failed, unless another caller has done so.
    fn give_up(&self, failed: &Arc<ClientSession>) {
        let mut place = self.place();
        let made = place.as_ref().and_then(Shared::peek);
        if made.is_some_and(|made| made.as_ref().is_ok_and(|session| Arc::ptr_eq(session, failed))) {
            *place = None;
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn place(&self) -> MutexGuard<'_, Option<PendingSession>> {
        lock(&self.session)
    }
}

/// Limits an answer to [`SILENCE_MAX`].
pub(crate) async fn in_time<T>(answer: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    timeout(SILENCE_MAX, answer).await.unwrap_or(Err(Error::DeadlineExceeded))
}

/// The result of a task, where a task that panicked or was cancelled has failed.
pub(crate) fn flatten_join<T>(task: Result<Result<T, Error>, JoinError>) -> Result<T, Error> {
    task.unwrap_or_else(|error| Err(Error::InitializationError(error.to_string())))
}

/// Describes an error of [`ServerConnection::call`] for a log or a terminal.
pub(crate) fn describe(error: Error) -> Box<dyn StdError + Send + Sync> {
    match error {
        Error::AccessDenied => {
            "access denied: are the user and the password in the URL right, and may this user read `$all`?".into()
        }
        Error::GrpcConnectionError(GrpcConnectionError::Grpc(why)) => why.into(),
        Error::NotLeaderException(leader) => {
            format!("the node does not lead, and its leader, {}:{}, was not reached", leader.host, leader.port).into()
        }
        error => error.into(),
    }
}

/// Whether the same call may succeed when it is tried again.
pub(crate) fn is_outage(error: &Error) -> bool {
    match error {
        Error::ServerError(_) | Error::Grpc { .. } => !is_invalid_position(error),
        Error::NotLeaderException(_)
        | Error::ConnectionClosed
        | Error::GrpcConnectionError(_)
        | Error::DeadlineExceeded => true,
        Error::InternalParsingError(_)
        | Error::AccessDenied
        | Error::ResourceAlreadyExists
        | Error::ResourceNotFound
        | Error::ResourceDeleted
        | Error::UnsupportedFeature
        | Error::InternalClientError
        | Error::InitializationError(_)
        | Error::IllegalStateError(_)
        | Error::WrongExpectedVersion { .. } => false,
    }
}

/// Whether the call failed because its position is within one of the server's records. The server
/// says so in words only; older versions say no more than that the read failed.
pub(crate) fn is_invalid_position(error: &Error) -> bool {
    let (Error::ServerError(what) | Error::Grpc { message: what, .. }) = error else { return false };
    let what = what.to_ascii_lowercase();
    ["invalid position", "invalidposition", "readallresult: error"].iter().any(|words| what.contains(words))
}
