//! The address of a KurrentDB server: reading its URL, and making clients of it.

use std::{error::Error as StdError, fmt};

use domain::text::Excerpt;
use futures::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};
use kurrentdb::{Authentication, Client, ClientSettings, Error};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use tokio::runtime::Runtime;

use crate::diagnose::diagnose_unreached;

/// Settings that the client gets where the URL does not give them. The client waits one discovery
/// interval before its first call, however near the server is.
const DEFAULTS: [(&str, &str); 2] = [("discoveryInterval", "100"), ("connectionName", "allocation-ledger")];

/// The setting that says which node the client looks for. It is always the leader, whatever the URL
/// says: every reader then sees an acknowledged event at once. Any other node would redirect each
/// new client to the leader, and end each subscription.
const NODE_PREFERENCE: &str = "nodePreference";

/// URL schemes of KurrentDB, and of EventStoreDB, its former name.
pub(crate) const SCHEMES: [&str; 4] = ["kurrentdb", "kurrentdb+discover", "esdb", "esdb+discover"];

/// A URL that names no server. Does not repeat the URL, which may hold a password.
#[derive(Debug, thiserror::Error)]
#[error("the URL of the event store cannot be read: {what}")]
pub struct InvalidUrl {
    what: String,
}

/// The server's nodes, and the credentials that calls use.
#[derive(Clone)]
pub(crate) struct ServerAddress {
    settings: ClientSettings,
    credentials: Option<Authentication>,
}

impl ServerAddress {
    pub(crate) fn new(url: &str) -> Result<Self, InvalidUrl> {
        let invalid = |what: &str| InvalidUrl { what: what.to_owned() };
        let (scheme, rest) = url.split_once("://").ok_or_else(|| invalid("it has no `://`"))?;
        if !SCHEMES.contains(&scheme) {
            return Err(invalid(&format!("`{}` is none of {}", Excerpt(scheme), SCHEMES.join(", "))));
        }
        let host_at = rest.find(['/', '?']).unwrap_or(rest.len());
        let (path, query) = rest[host_at..].split_once('?').unwrap_or((&rest[host_at..], ""));
        // Values may contain an `@`, for example in file names.
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
        let decoded = |text: &str| percent_decode(text).ok_or_else(|| invalid("a `%` in its user or password is none"));
        let credentials = match (name, password) {
            (Some(name), Some(password)) => Some(Authentication::basic(decoded(name)?, decoded(password)?)),
            _ => None,
        };
        let (hosts, query) = rest.split_once('?').unwrap_or((rest, ""));
        // The client does not decode a password in a URL. Without one, it can still ask for the
        // nodes.
        let user = user.filter(|user| !user.contains('%')).map(|user| format!("{user}@")).unwrap_or_default();
        let settings = format!("{scheme}://{user}{hosts}?{}", with_defaults(query));
        let settings = settings.parse::<ClientSettings>().map_err(|error| match error.error() {
            // In this case the message is the whole URL.
            Some(reason) => invalid(&reason.to_string()),
            None => invalid(error.message()),
        })?;
        check_files(&settings).map_err(|what| InvalidUrl { what })?;
        Ok(Self { settings, credentials })
    }
}

/// Adds to the query of a URL those [`DEFAULTS`] that it does not set, and sets
/// [`NODE_PREFERENCE`].
fn with_defaults(query: &str) -> String {
    let is = |pair: &str, name: &str| pair.split('=').next().unwrap_or("").eq_ignore_ascii_case(name);
    let kept = query.split('&').filter(|pair| !pair.is_empty() && !is(pair, NODE_PREFERENCE));
    let mut pairs: Vec<String> = kept.map(str::to_owned).collect();
    let missing = DEFAULTS.iter().filter(|(name, _)| !query.split('&').any(|pair| is(pair, name)));
    pairs.extend(missing.chain([&(NODE_PREFERENCE, "leader")]).map(|(name, value)| format!("{name}={value}")));
    pairs.join("&")
}

/// Checks that the files which a URL names are usable. The client does not check them, and panics
/// at some.
fn check_files(settings: &ClientSettings) -> Result<(), String> {
    let (certificate, key) = settings.user_certificate().unzip();
    let check = |name: &str, path: Option<&String>, read: fn(&str) -> Result<(), FileError>| match path {
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

/// The reason why a file cannot be used.
type FileError = Box<dyn StdError>;

/// Reads the certificates in a file; there must be at least one.
fn certificates(path: &str) -> Result<Vec<CertificateDer<'static>>, FileError> {
    let certificates = CertificateDer::pem_file_iter(path)?.collect::<Result<Vec<_>, _>>()?;
    if certificates.is_empty() { Err("no certificate in PEM is in it".into()) } else { Ok(certificates) }
}

/// Decodes `%41` to `A`. Answers nothing where two hexadecimal digits do not follow a `%`.
fn percent_decode(text: &str) -> Option<Vec<u8>> {
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

/// Adds to the options of a call the caller's credentials, and the demand that the leader answers.
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

impl ServerAddress {
    pub(crate) fn credentials(&self) -> Option<Authentication> {
        self.credentials.clone()
    }

    /// Makes a client with a runtime of its own. This blocks, some of the time to read the
    /// machine's certificates.
    pub(crate) fn connect(&self) -> Result<ClientSession, Error> {
        let failed = |error: &dyn fmt::Display| Error::InitializationError(error.to_string());
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("kurrentdb-client")
            .enable_all()
            .build()
            .map_err(|error| failed(&error))?;
        let client = self.client_on(&runtime)?;
        let settings = self.settings.clone();
        let why_unreached = async move { diagnose_unreached(&settings).await }.boxed().shared();
        Ok(ClientSession { client, runtime: Some(runtime), why_unreached })
    }

    pub(crate) fn client_on(&self, runtime: &Runtime) -> Result<Client, Error> {
        Client::with_runtime_handle(runtime.handle().clone(), self.settings.clone())
            .map_err(|error| Error::InitializationError(error.to_string()))
    }
}

/// A client and its runtime, which ends with it.
pub(crate) struct ClientSession {
    pub(crate) client: Client,
    /// Present until the session is dropped.
    runtime: Option<Runtime>,
    /// The reason why the client has reached no node. It is found once for all callers that wait.
    pub(crate) why_unreached: Shared<BoxFuture<'static, String>>,
}

impl Drop for ClientSession {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Waiting for the runtime to end is not allowed in an async context.
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use kurrentdb::NodePreference;

    use super::*;

    #[track_caller]
    fn check(url: &str, credentials: Option<(&str, &str)>, hosts: &[(&str, u32)]) -> ServerAddress {
        let address = ServerAddress::new(url).unwrap_or_else(|error| panic!("{url}: {error}"));
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
    fn settings_in_a_url_override_the_defaults_but_not_the_node_preference() {
        let usual = check("esdb://a", None, &[("a", 2113)]).settings;
        assert_eq!(usual.discovery_interval(), Duration::from_millis(100));
        let set = check("esdb://a?DiscoveryInterval=7", None, &[("a", 2113)]).settings;
        assert_eq!(set.discovery_interval(), Duration::from_millis(7));
        let preferred = check("esdb://a?NodePreference=follower", None, &[("a", 2113)]).settings;
        assert_eq!(preferred.node_preference(), NodePreference::Leader, "always the leader");
    }

    #[test]
    fn a_wrong_url_is_refused_without_repeating_its_password() {
        for url in ["localhost:2113", "http://u:secret@a", "esdb://u:secret%4@a", "esdb://u:secret@a:port", "esdb://"] {
            let Err(error) = ServerAddress::new(url) else { panic!("{url} is accepted") };
            assert!(!error.to_string().contains("secret"), "{error}");
        }
        for url in ["esdb://u:12/secret@a", "esdb://u:/secret@a", "esdb://u:12?secret@a", "esdb://u:1/?2&secret@a?x=y"]
        {
            let Err(error) = ServerAddress::new(url) else { panic!("{url} is accepted") };
            let what = error.to_string();
            assert!(what.contains("`%2F` and `%3F`") && !what.contains("secret") && !what.contains('1'), "{what}");
        }
        check("esdb://u:secret@a?connectionName=x@y", Some(("u", "secret")), &[("a", 2113)]);
    }
}
