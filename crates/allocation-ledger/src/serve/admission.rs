//! The places of connections: how many there may be, of all clients and of one.

use std::{net::IpAddr, sync::Arc};

use http_api::{ClientQuota, QuotaShare, RequestClient, TrustedProxies};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};

/// Most connections. Idle, each takes some 30 kB.
const CONNECTIONS_MAX: usize = 10_000;

/// Most connections of one client that begin to speak TLS: each takes some milliseconds of a
/// processor, for which the requests of others wait.
const CLIENT_HANDSHAKES_MAX: usize = 128;

/// Files that are open besides connections: those of the stores, with room to spare.
const OTHER_FILES: u64 = 256;

/// The files that a process may have on each system (macOS: `OPEN_MAX`).
const OPEN_FILES_ALLOWED: u64 = 10_240;

/// Lets connections in, up to a number of all and of one client.
pub(super) struct Admission {
    places: Arc<ClientQuota>,
    /// Of those, the ones that begin to speak TLS.
    handshakes: Arc<ClientQuota>,
    /// Their connections are those of many clients.
    proxies: TrustedProxies,
    open: Gauge,
    refused: Counter,
}

impl Admission {
    /// As many connections as the system lets the program have files, up to [`CONNECTIONS_MAX`].
    pub(super) fn new(proxies: TrustedProxies) -> Arc<Self> {
        let files = raise_open_files();
        let room = usize::try_from(files - OTHER_FILES.min(files / 2)).unwrap_or(usize::MAX);
        let connections_max = room.clamp(2, CONNECTIONS_MAX);
        if connections_max < CONNECTIONS_MAX {
            tracing::warn!(
                files,
                connections_max,
                "this process may have {files} files open, so at most {connections_max} clients are connected at a time"
            );
        }
        let places = ClientQuota::eighth_for_client(connections_max);
        let handshakes = ClientQuota::new(connections_max, CLIENT_HANDSHAKES_MAX);
        Arc::new(Self { places, handshakes, proxies, open: Gauge::default(), refused: Counter::default() })
    }

    /// Shows the connections in a registry.
    pub(super) fn register_metrics(&self, registry: &mut Registry) {
        registry.register("http_connections_open", "Connections of clients", self.open.clone());
        registry.register("http_connections_refused", "Connections that were refused at once", self.refused.clone());
    }

    /// Counts a connection that the system has refused.
    pub(super) fn count_refused(&self) {
        self.refused.inc();
    }

    #[cfg(test)]
    pub(super) fn open(&self) -> i64 {
        self.open.get()
    }

    /// A place, unless all are taken, or those of the client; with TLS also one of those that begin
    /// to speak it.
    pub(super) fn admit(&self, address: IpAddr, begins_tls: bool) -> Option<ConnectionPlace> {
        let client = (!self.proxies.contains(address)).then(|| RequestClient::at(address));
        let take = |quota: &Arc<ClientQuota>| quota.take(client.as_ref(), 1);
        let shares = take(&self.places)
            .and_then(|share| Ok((share, begins_tls.then(|| take(&self.handshakes)).transpose()?)))
            .inspect_err(|_| {
                self.refused.inc();
            });
        let (share, handshake) = shares.ok()?;
        self.open.inc();
        Some(ConnectionPlace { open: self.open.clone(), _share: share, handshake })
    }
}

/// A connection's place; free again when dropped.
pub(super) struct ConnectionPlace {
    open: Gauge,
    _share: QuotaShare,
    /// Until TLS is spoken.
    handshake: Option<QuotaShare>,
}

impl ConnectionPlace {
    /// TLS is spoken now, or never.
    pub(super) fn end_handshake(&mut self) {
        self.handshake = None;
    }
}

impl Drop for ConnectionPlace {
    fn drop(&mut self) {
        self.open.dec();
    }
}

/// Lets the process have as many files open as the system allows. Answers how many.
fn raise_open_files() -> u64 {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return u64::MAX };
    // Some systems allow less than they say.
    let wanted = [hard, hard.min(OPEN_FILES_ALLOWED)].into_iter().filter(|wanted| *wanted > soft);
    wanted.into_iter().find(|wanted| setrlimit(Resource::RLIMIT_NOFILE, *wanted, hard).is_ok()).unwrap_or(soft)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_client_has_some_of_the_places_and_a_trusted_proxy_may_have_all() {
        let proxies = TrustedProxies::parse(&["127.0.0.3".to_owned()]).expect("an address");
        let admission = Admission::new(proxies);
        let [client, other, proxy] = [2, 1, 3].map(|last| IpAddr::from([127, 0, 0, last]));
        let admit = |address| admission.admit(address, false);
        let places: Vec<_> = (0..CONNECTIONS_MAX).map_while(|_| admit(client)).collect();
        assert_eq!(places.len(), admission.places.client_max());
        assert!(admit("::ffff:127.0.0.2".parse().expect("an address")).is_none());
        assert!(admit(other).is_some());
        let of_proxy: Vec<_> = (0..2 * CONNECTIONS_MAX).map_while(|_| admit(proxy)).collect();
        assert!(of_proxy.len() >= places.len() && admit(other).is_none(), "{}", of_proxy.len());
        drop((places, of_proxy));
        assert_eq!((admission.open.get(), admission.places.taken(), admission.refused.get()), (0, 0, 4));
    }

    #[test]
    fn one_client_begins_to_speak_tls_on_some_connections_at_a_time() {
        let admission = Admission::new(TrustedProxies::default());
        let [client, other] = [2, 1].map(|last| IpAddr::from([127, 0, 0, last]));
        let begin = |address| admission.admit(address, true);
        let mut places: Vec<_> = (0..CONNECTIONS_MAX).map_while(|_| begin(client)).collect();
        assert_eq!(places.len(), CLIENT_HANDSHAKES_MAX.min(admission.places.client_max()));
        assert_eq!(admission.places.taken(), places.len(), "a refused connection takes no place");
        assert!(begin(other).is_some());
        places.iter_mut().for_each(ConnectionPlace::end_handshake);
        assert_eq!(admission.handshakes.taken(), 0);
        if admission.places.client_max() > CLIENT_HANDSHAKES_MAX {
            assert!(begin(client).is_some());
        }
    }
}
