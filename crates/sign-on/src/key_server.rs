//! The keys of the sign-on's server, fetched from its JWKS address and kept.
//!
//! - They are fetched at once and again every few minutes, so that a withdrawn key stops counting.
//! - A token that names an unknown key has them fetched, since the server may have changed its key
//!   a moment ago; but not more often than every few seconds, whatever tokens come.
//! - While the server cannot be reached, the keys that were fetched count on for a stated time.
//!   Before the first fetch and after that time, no token can be verified.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use crate::{
    KeySet,
    key_set::{KeyError, PublicKey},
    server::{check_server_address, server_client, with_causes},
};

/// How long a fetch may take.
const FETCH_TIME_MAX: Duration = Duration::from_secs(5);

/// How soon a fetch is repeated while no keys count.
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// How soon a fetch is repeated that failed while older keys count.
const RETRY: Duration = Duration::from_secs(30);

/// Longest JWKS that is read: the two keys of a rotation take less than 2 kB.
const JWKS_BYTES_MAX: usize = 256 * 1024;

/// How often keys are fetched, and how long they count.
#[derive(Debug, Clone, Copy)]
pub struct KeyTimes {
    /// How often the keys are fetched.
    pub refresh: Duration,
    /// How long to wait after a fetch before an unknown key leads to another.
    pub unknown_key: Duration,
    /// How long fetched keys count while the server cannot be reached.
    pub kept: Duration,
}

impl Default for KeyTimes {
    fn default() -> Self {
        Self {
            refresh: Duration::from_secs(5 * 60),
            unknown_key: Duration::from_secs(5),
            // A token of the sign-on holds for an hour, so those of before the outage can be used.
            kept: Duration::from_secs(60 * 60),
        }
    }
}

/// The keys of a server.
#[derive(Debug)]
pub struct KeyServer {
    url: String,
    times: KeyTimes,
    http: reqwest::Client,
    fetched: Mutex<Fetched>,
    /// Held during a fetch, so that there is one at a time.
    fetching: tokio::sync::Mutex<()>,
}

/// The outcome of the fetches so far.
#[derive(Debug, Default)]
struct Fetched {
    keys: Option<(Arc<KeySet>, Instant)>,
    /// The answer that the keys were read from.
    jwks: Vec<u8>,
    tried_at: Option<Instant>,
    failure: Option<String>,
}

/// Why keys could not be fetched.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("ask for the keys")]
    NoAnswer(#[source] reqwest::Error),
    #[error("the answer has the status {0}")]
    Status(reqwest::StatusCode),
    #[error("the answer has more than {JWKS_BYTES_MAX} bytes")]
    TooLong,
    #[error("read the keys")]
    Keys(#[source] KeyError),
}

impl KeyServer {
    /// Fetches the keys at this address from now on, in a task that ends when the value is dropped.
    ///
    /// # Errors
    /// The address is not one to ask for keys, or the client cannot be made.
    pub fn start(url: &str, times: KeyTimes) -> Result<Arc<Self>, String> {
        check_server_address(url)?;
        let http = server_client().timeout(FETCH_TIME_MAX).build().map_err(|error| error.to_string())?;
        let server = Arc::new(Self {
            url: url.to_owned(),
            times,
            http,
            fetched: Mutex::default(),
            fetching: tokio::sync::Mutex::default(),
        });
        tokio::spawn(refresh(Arc::downgrade(&server), times));
        Ok(server)
    }

    /// The keys that count now, or why there are none.
    pub(crate) fn keys(&self) -> Result<Arc<KeySet>, String> {
        let fetched = self.fetched();
        let failure = || fetched.failure.clone().unwrap_or_else(|| "they are being fetched".to_owned());
        match &fetched.keys {
            Some((keys, at)) if at.elapsed() < self.times.kept => Ok(Arc::clone(keys)),
            Some(_) => Err(format!(
                "the keys of the sign-on are too old to be used, and new ones cannot be fetched from {}: {}",
                self.url,
                failure()
            )),
            None => Err(format!("the keys of the sign-on have not been fetched yet from {}: {}", self.url, failure())),
        }
    }

    /// The key of this id, fetched again if it is unknown; `None` if the server does not have it.
    pub(crate) async fn find(&self, id: Option<&str>) -> Result<Option<Arc<PublicKey>>, String> {
        if let Some(key) = self.keys()?.find(id) {
            return Ok(Some(Arc::clone(key)));
        }
        self.fetch_if_due(self.times.unknown_key).await;
        if let Some(key) = self.keys()?.find(id) {
            return Ok(Some(Arc::clone(key)));
        }
        match &self.fetched().failure {
            // The server may have the key.
            Some(failure) => Err(format!(
                "the token names a key that may be new, and keys cannot be fetched from {}: {failure}",
                self.url
            )),
            None => Ok(None),
        }
    }

    async fn fetch_if_due(&self, pause: Duration) {
        let _turn = self.fetching.lock().await;
        let tried_at = self.fetched().tried_at;
        if tried_at.is_none_or(|at| at.elapsed() >= pause) {
            let result = self.fetch().await;
            let mut fetched = self.fetched();
            fetched.tried_at = Some(Instant::now());
            match result {
                Ok((keys, jwks)) => {
                    // The same keys go on, so that tokens that were verified with them stay so.
                    let same = fetched.keys.take().filter(|_| fetched.jwks == jwks);
                    let keys = same.map_or_else(|| Arc::new(keys), |(keys, _)| keys);
                    fetched.keys = Some((keys, Instant::now()));
                    fetched.jwks = jwks;
                    if fetched.failure.take().is_some() {
                        tracing::info!(
                            url = self.url,
                            "the keys of the sign-on can be fetched again from {}",
                            self.url
                        );
                    }
                }
                Err(error) => {
                    let reason = with_causes(&error);
                    if fetched.failure.is_none() {
                        tracing::warn!(
                            url = self.url,
                            reason,
                            "the keys of the sign-on cannot be fetched from {}: {reason}",
                            self.url
                        );
                    }
                    fetched.failure = Some(reason);
                }
            }
        }
    }

    /// The keys, and the answer that they were read from.
    async fn fetch(&self) -> Result<(KeySet, Vec<u8>), FetchError> {
        let mut response = self.http.get(&self.url).send().await.map_err(FetchError::NoAnswer)?;
        if response.status() != reqwest::StatusCode::OK {
            return Err(FetchError::Status(response.status()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(FetchError::NoAnswer)? {
            body.extend_from_slice(&chunk);
            if body.len() > JWKS_BYTES_MAX {
                return Err(FetchError::TooLong);
            }
        }
        let keys = KeySet::from_jwks(&body).map_err(FetchError::Keys)?;
        Ok((keys, body))
    }

    fn fetched(&self) -> MutexGuard<'_, Fetched> {
        // Nothing panics while it holds the lock.
        self.fetched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Fetches the keys of a server every so often, for as long as it is used.
async fn refresh(server: Weak<KeyServer>, times: KeyTimes) {
    loop {
        let Some(server_now) = server.upgrade() else { return };
        server_now.fetch_if_due(Duration::ZERO).await;
        let pause = match &*server_now.fetched() {
            Fetched { keys: None, .. } => FIRST_RETRY.min(times.refresh),
            Fetched { keys: Some((_, at)), .. } if at.elapsed() >= times.kept => FIRST_RETRY.min(times.refresh),
            Fetched { failure: Some(_), .. } => RETRY.min(times.refresh),
            Fetched { .. } => times.refresh,
        };
        drop(server_now);
        tokio::time::sleep(pause).await;
    }
}
