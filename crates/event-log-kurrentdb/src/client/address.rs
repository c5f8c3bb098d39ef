//! The address of a KurrentDB server: reading its URL.

use std::{fmt, net::Ipv6Addr, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use domain::text::Excerpt;
use tonic::metadata::{Ascii, MetadataValue};

use super::TlsSettings;

/// The port of a node whose port the URL does not give.
const PORT: u16 = 2113;

/// How often an idle connection is tried, and how long the server may take to answer, unless the
/// URL says otherwise.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// The longest that connecting to a node and its first answer may take, unless the URL says
/// otherwise.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(3);

/// URL schemes of KurrentDB, and of EventStoreDB, its former name.
pub(crate) const SCHEMES: [&str; 4] = ["kurrentdb", "kurrentdb+discover", "esdb", "esdb+discover"];

/// Settings that other clients of the server know and that change nothing here: the store always
/// asks the leader, and has time limits of its own.
const IGNORED: [&str; 4] = ["nodepreference", "maxdiscoverattempts", "discoveryinterval", "defaultdeadline"];

/// A URL that names no server. Does not repeat the URL, which may hold a password.
#[derive(Debug, thiserror::Error)]
#[error("the URL of the event store cannot be read: {what}")]
pub struct InvalidUrl {
    what: String,
}

/// The place of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    /// A name or an address, an IPv6 address without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

/// The server's nodes, and how they are connected to.
#[derive(Clone)]
pub(crate) struct ServerAddress {
    pub(crate) nodes: Vec<Node>,
    /// Whether the nodes are asked for the leader before one is used.
    pub(crate) is_cluster: bool,
    /// Absent where the connection is not encrypted.
    pub(crate) tls: Option<TlsSettings>,
    pub(crate) authorization: Option<MetadataValue<Ascii>>,
    /// The name of this client in the server's log.
    pub(crate) connection_name: MetadataValue<Ascii>,
    pub(crate) connect_time_max: Duration,
    pub(crate) keep_alive_interval: Option<Duration>,
    pub(crate) keep_alive_timeout: Option<Duration>,
}

impl ServerAddress {
    pub(crate) fn new(url: &str) -> Result<Self, InvalidUrl> {
        Self::read(url).map_err(|what| InvalidUrl { what })
    }

    fn read(url: &str) -> Result<Self, String> {
        let (scheme, rest) = url.split_once("://").ok_or("it has no `://`")?;
        if !SCHEMES.contains(&scheme) {
            return Err(format!("`{}` is none of {}", Excerpt(scheme), SCHEMES.join(", ")));
        }
        let host_at = rest.find(['/', '?']).unwrap_or(rest.len());
        let (path, query) = rest[host_at..].split_once('?').unwrap_or((&rest[host_at..], ""));
        // Values may contain an `@`, for example in file names.
        if path.contains('@')
            || query.split('&').filter_map(|pair| pair.split('=').next()).any(|name| name.contains('@'))
        {
            return Err(
                "an `@` follows its first `/` or `?`: in a user or password, write `%2F` and `%3F` for them".to_owned()
            );
        }
        if !matches!(path, "" | "/") {
            return Err("a path follows its nodes, and the server has none".to_owned());
        }
        let (user, nodes) = match rest[..host_at].rfind('@') {
            Some(at) => (Some(&rest[..at]), &rest[at + 1..host_at]),
            None => (None, &rest[..host_at]),
        };
        let nodes = nodes.split(',').map(node).collect::<Result<Vec<_>, _>>()?;
        let settings = UrlSettings::read(query)?;
        Ok(Self {
            is_cluster: nodes.len() > 1 || scheme.ends_with("+discover"),
            nodes,
            tls: settings.tls()?,
            authorization: user.map(authorization).transpose()?,
            connection_name: MetadataValue::try_from(settings.connection_name)
                .map_err(|_| "`connectionName` has a character that a header cannot hold")?,
            connect_time_max: settings.connect_time_max,
            keep_alive_interval: settings.keep_alive_interval,
            keep_alive_timeout: settings.keep_alive_timeout,
        })
    }
}

/// The settings in the query of a URL.
struct UrlSettings {
    is_encrypted: bool,
    verifies_certificates: bool,
    authorities_file: Option<String>,
    certificate_file: Option<String>,
    key_file: Option<String>,
    connection_name: String,
    connect_time_max: Duration,
    keep_alive_interval: Option<Duration>,
    keep_alive_timeout: Option<Duration>,
}

impl UrlSettings {
    fn read(query: &str) -> Result<Self, String> {
        let mut settings = Self {
            is_encrypted: true,
            verifies_certificates: true,
            authorities_file: None,
            certificate_file: None,
            key_file: None,
            connection_name: "allocation-ledger".to_owned(),
            connect_time_max: CONNECT_TIME_MAX,
            keep_alive_interval: Some(KEEP_ALIVE),
            keep_alive_timeout: Some(KEEP_ALIVE),
        };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value =
                percent_decode(value).ok_or_else(|| format!("a `%` in the value of `{}` is none", Excerpt(name)))?;
            match name.to_ascii_lowercase().as_str() {
                "tls" => settings.is_encrypted = switch(name, &value)?,
                "tlsverifycert" => settings.verifies_certificates = switch(name, &value)?,
                "tlscafile" => settings.authorities_file = Some(value),
                "usercertfile" => settings.certificate_file = Some(value),
                "userkeyfile" => settings.key_file = Some(value),
                "connectionname" => settings.connection_name = value,
                "gossiptimeout" => settings.connect_time_max = required(name, milliseconds(name, &value)?)?,
                "keepaliveinterval" => settings.keep_alive_interval = keep_alive(name, &value)?,
                "keepalivetimeout" => settings.keep_alive_timeout = keep_alive(name, &value)?,
                known if IGNORED.contains(&known) => {}
                _ => {
                    tracing::warn!("the URL of the event store has the setting `{}`, which is not known", Excerpt(name))
                }
            }
        }
        Ok(settings)
    }

    /// Answers nothing where connections are not encrypted. Files that are named are tried even
    /// then: a wrong one is a mistake.
    fn tls(&self) -> Result<Option<TlsSettings>, String> {
        let user_files = match (&self.certificate_file, &self.key_file) {
            (None, None) => None,
            (Some(certificate), Some(key)) => Some((certificate.clone(), key.clone())),
            _ => return Err("`userCertFile` and `userKeyFile` are needed both, or neither".to_owned()),
        };
        let (verifies_certificates, authorities_file) = (self.verifies_certificates, self.authorities_file.clone());
        let tls = TlsSettings { verifies_certificates, authorities_file, user_files };
        if self.is_encrypted || tls.authorities_file.is_some() || tls.user_files.is_some() {
            tls.client_config()?;
        }
        Ok(self.is_encrypted.then_some(tls))
    }
}

/// Does not repeat the text, which may hold a password whose `@` was forgotten.
fn node(text: &str) -> Result<Node, String> {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, after)) if address.parse::<Ipv6Addr>().is_ok() => (address, after),
        Some(_) => return Err("in brackets is no IPv6 address".to_owned()),
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let is_in_names = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':');
    if host.is_empty() || !host.bytes().all(is_in_names) {
        return Err("a node has no name, or one with a character that no name has".to_owned());
    }
    let port = if port.is_empty() { Some(PORT) } else { port.strip_prefix(':').and_then(|port| port.parse().ok()) };
    let port = port.ok_or("the port of a node is no number up to 65535; an `@` follows a password")?;
    Ok(Node { host: host.to_owned(), port })
}

/// The header for the user and password of a URL.
fn authorization(user: &str) -> Result<MetadataValue<Ascii>, String> {
    let (name, password) = user.split_once(':').unwrap_or((user, ""));
    let decoded = |text| percent_decode(text).ok_or("a `%` in its user or password is none");
    let basic = BASE64_STANDARD.encode(format!("{}:{}", decoded(name)?, decoded(password)?));
    let mut header = MetadataValue::try_from(format!("Basic {basic}")).map_err(|error| error.to_string())?;
    // Kept out of logs.
    header.set_sensitive(true);
    Ok(header)
}

fn switch(name: &str, value: &str) -> Result<bool, String> {
    value.to_ascii_lowercase().parse().map_err(|_| format!("`{name}` is `true` or `false`"))
}

/// A number of milliseconds; nothing for -1, which turns a setting off.
fn milliseconds(name: &str, value: &str) -> Result<Option<Duration>, String> {
    match value.parse::<i64>() {
        Ok(-1) => Ok(None),
        Ok(number @ 1..) => Ok(Some(Duration::from_millis(number.cast_unsigned()))),
        _ => Err(format!("`{name}` is a number of milliseconds, or -1 for none")),
    }
}

/// Other clients of the server take no less than their default either.
fn keep_alive(name: &str, value: &str) -> Result<Option<Duration>, String> {
    let given = milliseconds(name, value)?;
    if given.is_some_and(|given| given < KEEP_ALIVE) {
        tracing::warn!("`{name}` in the URL of the event store is less than 10000 ms, which are taken");
    }
    Ok(given.map(|given| given.max(KEEP_ALIVE)))
}

fn required(name: &str, duration: Option<Duration>) -> Result<Duration, String> {
    duration.ok_or_else(|| format!("`{name}` cannot be turned off: every wait has a limit"))
}

/// Decodes `%41` to `A`. Answers nothing where two hexadecimal digits do not follow a `%`, or where
/// the result is no text.
fn percent_decode(text: &str) -> Option<String> {
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
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, credentials: Option<&str>, nodes: &[(&str, u16)]) -> ServerAddress {
        let address = ServerAddress::new(url).unwrap_or_else(|error| panic!("{url}: {error}"));
        let expected = credentials.map(|user| format!("Basic {}", BASE64_STANDARD.encode(user)));
        let given = address.authorization.as_ref().map(|header| header.to_str().expect("a header"));
        assert_eq!(given, expected.as_deref(), "{url}");
        let named: Vec<_> = address.nodes.iter().map(|node| (node.host.as_str(), node.port)).collect();
        assert_eq!(named, nodes, "{url}");
        address
    }

    #[test]
    fn urls_are_read_as_the_server_documents_them() {
        let one = check("esdb://localhost", None, &[("localhost", 2113)]);
        assert!(!one.is_cluster && one.tls.is_some());
        let plain = check("kurrentdb://ledger:secret@db:99?tls=false", Some("ledger:secret"), &[("db", 99)]);
        assert!(plain.tls.is_none());
        let three = check("esdb://a:1,b:2,c?tls=false", None, &[("a", 1), ("b", 2), ("c", 2113)]);
        assert!(three.is_cluster);
        let cluster = check(
            "kurrentdb+discover://u:p%40s%3As%2f%25@cluster.local",
            Some("u:p@s:s/%"),
            &[("cluster.local", 2113)],
        );
        assert!(cluster.is_cluster && cluster.tls.is_some());
        let numbers =
            check("esdb://[::1]:5,[::2],10.0.0.1:6?tls=false", None, &[("::1", 5), ("::2", 2113), ("10.0.0.1", 6)]);
        assert_eq!(numbers.nodes[0].to_string(), "[::1]:5");
    }

    #[test]
    fn settings_in_a_url_override_the_defaults() {
        let usual = check("esdb://a", None, &[("a", 2113)]);
        assert_eq!((usual.connect_time_max, usual.keep_alive_interval), (CONNECT_TIME_MAX, Some(KEEP_ALIVE)));
        let set = check(
            "esdb://a/?GossipTimeout=7&keepAliveInterval=-1&keepalivetimeout=20000&connectionName=x%20y&nodePreference=random",
            None,
            &[("a", 2113)],
        );
        assert_eq!((set.connect_time_max, set.keep_alive_interval), (Duration::from_millis(7), None));
        assert_eq!(set.keep_alive_timeout, Some(Duration::from_secs(20)));
        assert_eq!(set.connection_name, "x y");
    }

    #[test]
    fn a_wrong_url_is_refused_without_repeating_its_password() {
        for url in [
            "localhost:2113",
            "http://u:secret@a",
            "esdb://u:secret%4@a",
            "esdb://u:secret@a:port",
            "esdb://",
            "esdb://u:secret@a,,b",
            "esdb://u:secret@a b",
            "esdb://user:secret:2113",
            "esdb://se:secret",
            "esdb://::1:secret",
            "esdb://[secret]:5",
            "esdb://[::1]secret",
            "esdb://u:secret@a/path",
            "esdb://u:secret@a?tls=perhaps",
            "esdb://u:secret@a?gossipTimeout=-1",
            "esdb://u:secret@a?keepAliveInterval=soon",
            "esdb://u:secret@a?userCertFile=/x",
            "esdb://u:secret@a?tlsCaFile=/nowhere/ca.pem",
        ] {
            let Err(error) = ServerAddress::new(url) else { panic!("{url} is accepted") };
            assert!(!error.to_string().contains("secret"), "{error}");
        }
        for url in ["esdb://u:12/secret@a", "esdb://u:/secret@a", "esdb://u:12?secret@a", "esdb://u:1/?2&secret@a?x=y"]
        {
            let Err(error) = ServerAddress::new(url) else { panic!("{url} is accepted") };
            let what = error.to_string();
            assert!(what.contains("`%2F` and `%3F`") && !what.contains("secret") && !what.contains('1'), "{what}");
        }
        check("esdb://u:secret@a?connectionName=x@y", Some("u:secret"), &[("a", 2113)]);
    }
}
