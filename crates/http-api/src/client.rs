//! The client that a request counts for, where a limit holds for each client.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderName},
};
use ipnet::IpNet;

/// The addresses of one client with IPv6: a machine is commonly given as many.
const CLIENT_PREFIX_V6: u32 = 64;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// A client: the principal of a valid token, or else the network that the request came from. An
/// extension of each request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RequestClient {
    /// The user of the token, or the client of one without a user.
    Principal(Arc<str>),
    /// An address of IPv4, or the first of a /64 of IPv6.
    Network(IpAddr),
}

impl RequestClient {
    /// The client at an address, however the address is spelt.
    #[must_use]
    pub fn at(address: IpAddr) -> Self {
        Self::Network(match address.to_canonical() {
            IpAddr::V4(address) => address.into(),
            IpAddr::V6(address) => {
                let network = address.to_bits() >> (Ipv6Addr::BITS - CLIENT_PREFIX_V6);
                Ipv6Addr::from_bits(network << (Ipv6Addr::BITS - CLIENT_PREFIX_V6)).into()
            }
        })
    }
}

/// The address at the other end of the connection. The server must put it into the extensions of
/// each request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerAddress(pub IpAddr);

/// Proxies that are believed when they say for whose address they pass a request on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedProxies(Arc<[IpNet]>);

/// A text that is neither an address nor a range of addresses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is neither an address nor a range of addresses, such as 10.0.0.7 or 10.0.0.0/8")]
pub struct InvalidAddressRange(String);

impl TrustedProxies {
    /// The proxies at these addresses, or in these ranges as `10.0.0.0/8`. Empty texts count as
    /// none.
    ///
    /// # Errors
    /// [`InvalidAddressRange`].
    pub fn parse(ranges: &[String]) -> Result<Self, InvalidAddressRange> {
        let ranges = ranges.iter().map(|text| text.trim()).filter(|text| !text.is_empty());
        let read = |text: &str| text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        ranges
            .map(|text| read(text).map_err(|_| InvalidAddressRange(text.to_owned())))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Whether a trusted proxy has this address.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|range| range.contains(&address))
    }

    /// The client of a request that names no principal: at the peer's address, or, where that is a
    /// trusted proxy, at the last address in `X-Forwarded-For` that is none. Addresses before that
    /// are words of the client.
    pub(crate) fn client_of(&self, request: &Request) -> RequestClient {
        let peer = request.extensions().get().map_or(Ipv6Addr::UNSPECIFIED.into(), |&PeerAddress(peer)| peer);
        let forwarded = if self.contains(peer) { self.last_forwarded(request.headers()) } else { None };
        RequestClient::at(forwarded.unwrap_or(peer))
    }

    fn last_forwarded(&self, headers: &HeaderMap) -> Option<IpAddr> {
        let values: Vec<_> = headers.get_all(X_FORWARDED_FOR).iter().collect();
        let addresses = values.iter().rev().flat_map(|value| value.to_str().unwrap_or_default().rsplit(','));
        // A text that is no address hides whoever is behind it.
        addresses.map_while(parse_forwarded).find(|address| !self.contains(*address))
    }
}

/// The address in a part of `X-Forwarded-For`: some proxies add the port of the client.
fn parse_forwarded(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let with_port = || text.parse().ok().map(|address: SocketAddr| address.ip());
    text.parse().ok().or_else(with_port).or_else(|| bracketed().map(|address: Ipv6Addr| address.into()))
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn at(address: &str) -> RequestClient {
        RequestClient::at(address.parse().expect("an address"))
    }

    #[test]
    fn a_client_is_an_address_of_ipv4_or_a_64th_of_ipv6() {
        assert_eq!(at("::ffff:10.0.0.7"), at("10.0.0.7"));
        assert_ne!(at("10.0.0.8"), at("10.0.0.7"));
        assert_eq!(at("fd00:0:0:7::1"), at("fd00:0:0:7:ffff::2"));
        assert_ne!(at("fd00:0:0:7::1"), at("fd00:0:0:8::1"));
    }

    #[test]
    fn only_a_trusted_proxy_says_for_whom_it_asks() {
        let proxies = TrustedProxies::parse(&["10.0.0.0/8".to_owned(), "fd00::7".to_owned()]).expect("ranges");
        let client = |peer: &str, forwarded: &[&str]| {
            let mut request = Request::builder().uri("/cases");
            for value in forwarded {
                request = request.header(X_FORWARDED_FOR, *value);
            }
            let mut request = request.body(Body::empty()).expect("a request");
            request.extensions_mut().insert(PeerAddress(peer.parse().expect("an address")));
            proxies.client_of(&request)
        };
        for (peer, forwarded, expected) in [
            ("192.0.2.1", &["198.51.100.9"][..], "192.0.2.1"),
            ("10.0.0.7", &["203.0.113.5, 198.51.100.9"], "198.51.100.9"),
            ("10.0.0.7", &["203.0.113.5", "198.51.100.9"], "198.51.100.9"),
            ("::ffff:10.0.0.7", &["198.51.100.9"], "198.51.100.9"),
            ("fd00::7", &["2001:db8::1"], "2001:db8::1"),
            // Behind two proxies.
            ("10.0.0.7", &["203.0.113.5, 198.51.100.9, 10.0.0.8"], "198.51.100.9"),
            ("10.0.0.7", &[], "10.0.0.7"),
            ("10.0.0.7", &["10.0.0.8"], "10.0.0.7"),
            ("10.0.0.7", &["198.51.100.9, unknown"], "10.0.0.7"),
            ("10.0.0.7", &["203.0.113.7:4711"], "203.0.113.7"),
            ("10.0.0.7", &["203.0.113.7:4711, 10.0.0.8:80"], "203.0.113.7"),
            ("10.0.0.7", &["[2001:db8::1]:4711"], "2001:db8::1"),
            ("10.0.0.7", &["[2001:db8::1]"], "2001:db8::1"),
            ("10.0.0.7", &["203.0.113.7:port"], "10.0.0.7"),
        ] {
            assert_eq!(client(peer, forwarded), at(expected), "{peer} {forwarded:?}");
        }
        assert!(TrustedProxies::parse(&["10.0.0.0/33".to_owned()]).is_err());
        assert_eq!(TrustedProxies::parse(&[String::new()]), Ok(TrustedProxies::default()));
    }
}
