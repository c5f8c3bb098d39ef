//! The way to the server: the official client, made anew where it has lost its node.
//!
//! The client ends for good when its first connection fails, and does not look for another node when the one it uses
//! dies. So every call goes through [`Connection::call`], which holds it to a time, tries again what is worth it, and
//! makes another client for that. Each client has a runtime of its own: what it leaves running ends with it.

use std::{
    error::Error as StdError,
    fmt,
    future::Future,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use futures::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};
use kurrentdb::{Authentication, Client, ClientSettings, Error, GrpcConnectionError};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use tokio::{
    runtime::Runtime,
    task::{JoinError, spawn_blocking},
    time::{sleep, timeout},
};

use crate::reach::why_unreached;

/// How long the server may stay silent within one try. What a call waits for is a small part of it on a server that is
/// well.
pub(crate) const SILENCE_MAX: Duration = Duration::from_secs(5);

/// Tries of one call. The first may meet a connection that was lost unnoticed, the second a node that is gone.
const TRIES_MAX: u32 = 3;

/// The pauses before a client is made anew grow from the first to the second while none gets through.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// What is set for the client where the URL does not say otherwise. The client waits one discovery interval before its
/// first call, however near the server is.
const DEFAULTS: [(&str, &str); 2] = [("discoveryInterval", "100"), ("connectionName", "allocation-ledger")];

/// Which node the client looks for, whatever the URL says. All reading is from the leader: what was acknowledged is then
/// seen at once, by everybody. Any other node would send each new client on to the leader, and end each subscription.
const NODE_PREFERENCE: &str = "nodePreference";

/// The schemes of URLs that name a KurrentDB server, or an EventStoreDB as it was called before.
pub(crate) const SCHEMES: [&str; 4] = ["kurrentdb", "kurrentdb+discover", "esdb", "esdb+discover"];

/// A URL that names no server. Does not repeat the URL, which may hold a password.
#[derive(Debug, thiserror::Error)]
#[error("the URL of the event store cannot be read: {what}")]
pub struct InvalidUrl {
    what: String,
}

/// Where the server is and who asks.
#[derive(Clone)]
pub(crate) struct Address {
    settings: ClientSettings,
    credentials: Option<Authentication>,
}

impl Address {
    pub(crate) fn new(url: &str) -> Result<Self, InvalidUrl> {
        let invalid = |what: &str| InvalidUrl { what: what.to_owned() };
        let (scheme, rest) = url.split_once("://").ok_or_else(|| invalid("it has no `://`"))?;
        if !SCHEMES.contains(&scheme) {
            return Err(invalid(&format!("`{scheme}` is none of {}", SCHEMES.join(", "))));
        }
        let host_at = rest.find(['/', '?']).unwrap_or(rest.len());
        let (path, query) = rest[host_at..].split_once('?').unwrap_or((&rest[host_at..], ""));
        // Values may hold one, such as names of files.
        if path.contains('@')
            || query.split('&').filter_map(|pair| pair.split('=').next()).any(|name| name.contains('@'))
        {
            return Err(invalid(
                "an `@` follows its first `/` or `?`: in a user or password, write `%2F` and `%3F` for them",
            ));
        }
        let (user, rest) = match rest[..host_at].rfind('@') {
            Some(at) => (Some(&rest[..at]), &rest[at + 1..]),
            None => (None, rest),
        };
        let (name, password) = user.map(|user| user.split_once(':').unwrap_or((user, ""))).unzip();
        let decoded =
            |text: &str| percent_decoded(text).ok_or_else(|| invalid("a `%` in its user or password is none"));
        let credentials = match (name, password) {
            (Some(name), Some(password)) => Some(Authentication::basic(decoded(name)?, decoded(password)?)),
            _ => None,
        };
        let (hosts, query) = rest.split_once('?').unwrap_or((rest, ""));
        // The client would take a password as it stands in the URL. Without one it can still ask who the nodes are.
        let user = user.filter(|user| !user.contains('%')).map(|user| format!("{user}@")).unwrap_or_default();
        let settings = format!("{scheme}://{user}{hosts}?{}", with_defaults(query));
        let settings = settings.parse::<ClientSettings>().map_err(|error| match error.error() {
            // The message is then the whole URL.
            Some(reason) => invalid(&reason.to_string()),
            None => invalid(error.message()),
        })?;
        check_files(&settings).map_err(|what| InvalidUrl { what })?;
        Ok(Self { settings, credentials })
    }
}

/// The query of a URL with [`DEFAULTS`] for what it does not say, and with the leader as [`NODE_PREFERENCE`].
fn with_defaults(query: &str) -> String {
    let is = |pair: &str, name: &str| pair.split('=').next().unwrap_or("").eq_ignore_ascii_case(name);
    let said = query.split('&').filter(|pair| !pair.is_empty() && !is(pair, NODE_PREFERENCE));
    let mut pairs: Vec<String> = said.map(str::to_owned).collect();
    let unsaid = DEFAULTS.iter().filter(|(name, _)| !query.split('&').any(|pair| is(pair, name)));
    pairs.extend(unsaid.chain([&(NODE_PREFERENCE, "leader")]).map(|(name, value)| format!("{name}={value}")));
    pairs.join("&")
}

/// Makes sure that the files which a URL names can be used, or says which cannot: the client does not, and panics at some.
fn check_files(settings: &ClientSettings) -> Result<(), String> {
    let (certificate, key) = settings.user_certificate().unzip();
    let check = |name: &str, path: Option<&String>, read: fn(&str) -> Result<(), Unusable>| match path {
        Some(path) => read(path).map_err(|why| format!("`{name}` names {path}: {why}")),
        None => Ok(()),
    };
    check("tlsCaFile", settings.tls_ca_file(), |path| {
        let mut authorities = RootCertStore::empty();
        certificates(path)?.into_iter().try_for_each(|certificate| Ok(authorities.add(certificate)?))
    })?;
    check("userCertFile", certificate, |path| certificates(path).map(drop))?;
    check("userKeyFile", key, |path| Ok(PrivateKeyDer::from_pem_file(path).map(drop)?))
}

/// Why a file cannot be used.
type Unusable = Box<dyn StdError>;

/// The certificates in a file, at least one.
fn certificates(path: &str) -> Result<Vec<CertificateDer<'static>>, Unusable> {
    let certificates = CertificateDer::pem_file_iter(path)?.collect::<Result<Vec<_>, _>>()?;
    if certificates.is_empty() { Err("no certificate in PEM is in it".into()) } else { Ok(certificates) }
}

/// Text with its `%41` read as `A`; none where a `%` is not followed by two hexadecimal digits.
fn percent_decoded(text: &str) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                (digit(bytes.next()?)? * 16 + digit(bytes.next()?)?) as u8
            }
            byte => byte,
        });
    }
    Some(decoded)
}

/// What every call to the server says: who asks, and that the leader must answer.
macro_rules! as_caller {
    ($address:expr, $options:expr) => {{
        let options = $options.requires_leader(true);
        match $address.credentials() {
            Some(credentials) => options.authenticated(credentials),
            None => options,
        }
    }};
}
pub(crate) use as_caller;

impl Address {
    pub(crate) fn credentials(&self) -> Option<Authentication> {
        self.credentials.clone()
    }

    /// A client with a runtime of its own. Takes its time, some of it to read the machine's certificates.
    fn connect(&self) -> Result<Session, Error> {
        let failed = |error: &dyn fmt::Display| Error::InitializationError(error.to_string());
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("kurrentdb-client")
            .enable_all()
            .build()
            .map_err(|error| failed(&error))?;
        let client = self.client_on(&runtime)?;
        let settings = self.settings.clone();
        let why_unreached = async move { why_unreached(&settings).await }.boxed().shared();
        Ok(Session { client, runtime: Some(runtime), why_unreached })
    }

    pub(crate) fn client_on(&self, runtime: &Runtime) -> Result<Client, Error> {
        Client::with_runtime_handle(runtime.handle().clone(), self.settings.clone())
            .map_err(|error| Error::InitializationError(error.to_string()))
    }
}

/// The way to the server, shared by everybody who uses one store.
pub(crate) struct Connection {
    address: Address,
    session: Mutex<Option<Making>>,
    /// Clients in a row that did not get through.
    failures: AtomicU32,
}

/// A session as it is made: by a task of its own, once for all who wait for it, and to its end also where none of them waits
/// so long.
type Making = Shared<BoxFuture<'static, Result<Arc<Session>, Error>>>;

/// One client, as long as it works.
struct Session {
    client: Client,
    /// Until the session is dropped.
    runtime: Option<Runtime>,
    /// Found out once for all who were waiting for it, if it has reached no node.
    why_unreached: Shared<BoxFuture<'static, String>>,
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Does not wait for it, which an async context must not.
            runtime.shutdown_background();
        }
    }
}

impl Connection {
    pub(crate) fn new(address: Address) -> Self {
        Self { address, session: Mutex::default(), failures: AtomicU32::default() }
    }

    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// Asks the server something, again on a new client where the connection was lost. Whoever asks must be able to ask
    /// the same twice, and must itself hold what it reads piece by piece to [`SILENCE_MAX`].
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
                    // A client that was sent on to the leader goes there by itself; once more says that it did not get
                    // there, or that there is none for now.
                    if matches!(error, Error::NotLeaderException(_)) && tries == 1 {
                        sleep(PAUSE_MIN).await;
                    } else {
                        self.give_up(&session);
                    }
                    // Silence took its time.
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
                // Also where the server refused: it was there.
                _ => {
                    self.failures.store(0, Ordering::Relaxed);
                    return answer;
                }
            }
        }
    }

    /// The client in use, or another one where that has failed.
    async fn session(&self) -> Result<Arc<Session>, Error> {
        let making = {
            let mut place = self.place();
            if place.as_ref().and_then(Shared::peek).is_some_and(Result::is_err) {
                *place = None;
            }
            place.get_or_insert_with(|| self.make()).clone()
        };
        making.await
    }

    fn make(&self) -> Making {
        let pause = match self.failures.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            failures => PAUSE_MAX.min(PAUSE_MIN * 2_u32.saturating_pow(failures.min(10) - 1)),
        };
        let address = self.address.clone();
        let made = tokio::spawn(async move {
            sleep(pause).await;
            spawn_blocking(move || address.connect().map(Arc::new)).await
        });
        made.map(|made| ended(made.and_then(|made| made))).boxed().shared()
    }

    /// Lets go of a client that has failed, unless somebody else has done so.
    fn give_up(&self, failed: &Arc<Session>) {
        let mut place = self.place();
        let made = place.as_ref().and_then(Shared::peek);
        if made.is_some_and(|made| made.as_ref().is_ok_and(|session| Arc::ptr_eq(session, failed))) {
            *place = None;
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn place(&self) -> MutexGuard<'_, Option<Making>> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Holds something to [`SILENCE_MAX`].
pub(crate) async fn in_time<T>(answer: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    timeout(SILENCE_MAX, answer).await.unwrap_or(Err(Error::DeadlineExceeded))
}

/// What came of a task.
pub(crate) fn ended<T>(task: Result<Result<T, Error>, JoinError>) -> Result<T, Error> {
    task.unwrap_or_else(|error| Err(Error::InitializationError(error.to_string())))
}

/// What an answer of [`Connection::call`] means to people, who read it in a log or on a terminal.
pub(crate) fn in_words(error: Error) -> Box<dyn StdError + Send + Sync> {
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

/// Whether asking again may help.
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

/// Whether the server was asked to read from a position within one of its records. It says so in words only, older
/// versions no more than that the read failed.
pub(crate) fn is_invalid_position(error: &Error) -> bool {
    let (Error::ServerError(what) | Error::Grpc { message: what, .. }) = error else { return false };
    let what = what.to_ascii_lowercase();
    ["invalid position", "invalidposition", "readallresult: error"].iter().any(|words| what.contains(words))
}

#[cfg(test)]
mod tests {
    use kurrentdb::NodePreference;

    use super::*;

    #[track_caller]
    fn check(url: &str, credentials: Option<(&str, &str)>, hosts: &[(&str, u32)]) -> Address {
        let address = Address::new(url).unwrap_or_else(|error| panic!("{url}: {error}"));
        let expected = credentials.map(|(name, password)| Authentication::basic(name.to_owned(), password.to_owned()));
        assert_eq!(address.credentials, expected, "{url}");
        let named: Vec<_> = address.settings.hosts().iter().map(|host| (host.host.as_str(), host.port)).collect();
        assert_eq!(named, hosts, "{url}");
        address
    }

    #[test]
    fn urls_are_read_as_the_server_documents_them() {
        check("esdb://localhost", None, &[("localhost", 2113)]);
        check("kurrentdb://ledger:secret@db:99?tls=false", Some(("ledger", "secret")), &[("db", 99)]);
        check("esdb://a:1,b:2,c:3?tls=false", None, &[("a", 1), ("b", 2), ("c", 3)]);
        let cluster = check(
            "kurrentdb+discover://u:p%40s%3As%2f%25@cluster.local",
            Some(("u", "p@s:s/%")),
            &[("cluster.local", 2113)],
        );
        assert!(cluster.settings.is_dns_discovery_enabled() && cluster.settings.is_secure_mode_enabled());
    }

    #[test]
    fn what_a_url_says_goes_before_what_is_usual() {
        let usual = check("esdb://a", None, &[("a", 2113)]).settings;
        assert_eq!(usual.discovery_interval(), Duration::from_millis(100));
        let said = check("esdb://a?DiscoveryInterval=7", None, &[("a", 2113)]).settings;
        assert_eq!(said.discovery_interval(), Duration::from_millis(7));
        let preferred = check("esdb://a?NodePreference=follower", None, &[("a", 2113)]).settings;
        assert_eq!(preferred.node_preference(), NodePreference::Leader, "not in this");
    }

    #[test]
    fn a_wrong_url_is_refused_without_repeating_its_password() {
        for url in ["localhost:2113", "http://u:secret@a", "esdb://u:secret%4@a", "esdb://u:secret@a:port", "esdb://"] {
            let Err(error) = Address::new(url) else { panic!("{url} is taken") };
            assert!(!error.to_string().contains("secret"), "{error}");
        }
        for url in ["esdb://u:12/secret@a", "esdb://u:/secret@a", "esdb://u:12?secret@a", "esdb://u:1/?2&secret@a?x=y"]
        {
            let Err(error) = Address::new(url) else { panic!("{url} is taken") };
            let what = error.to_string();
            assert!(what.contains("`%2F` and `%3F`") && !what.contains("secret") && !what.contains('1'), "{what}");
        }
        check("esdb://u:secret@a?connectionName=x@y", Some(("u", "secret")), &[("a", 2113)]);
    }
}
