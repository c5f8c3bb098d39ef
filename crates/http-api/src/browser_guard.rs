//! Refuses the requests that a browser sends for a page of another site.
//!
//! Any page in a browser on this machine can send requests to a loopback address, and a page whose
//! name is made to lead here (DNS rebinding) can read the answers. So a request names the ledger by
//! a name of its own, and a request that may record comes from no page of another origin. Other
//! programs send neither `Origin` nor `Sec-Fetch-Site`.

use std::{net::IpAddr, sync::Arc};

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version, header, uri::Authority},
};
use domain::text::Excerpt;

use crate::{Problem, ProblemCode, problem::Fault};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Paths that probes ask for by address. They show nothing about people and record nothing.
const PROBED: [&str; 5] = ["/health", "/health/", "/ping", "/info", "/metrics"];

/// The names and addresses under which clients reach the ledger, beside those of the loopback
/// address.
#[derive(Debug, Clone, Default)]
pub struct HostNames(Arc<[String]>);

impl HostNames {
    /// These names and addresses, without ports and brackets.
    #[must_use]
    pub fn new(names: impl IntoIterator<Item = String>) -> Self {
        Self(names.into_iter().filter(|name| !name.is_empty()).map(|name| name.to_ascii_lowercase()).collect())
    }

    fn has(&self, host: &str) -> bool {
        let is_loopback = match address_of(host) {
            Some(address) => address.to_canonical().is_loopback(),
            None => {
                let host = host.trim_end_matches('.').to_ascii_lowercase();
                host == "localhost" || host.ends_with(".localhost")
            }
        };
        is_loopback || self.is_configured(host)
    }

    fn is_configured(&self, host: &str) -> bool {
        let host = address_of(host)
            .map_or_else(|| host.trim_end_matches('.').to_ascii_lowercase(), |address| address.to_string());
        self.0.contains(&host)
    }
}

/// The address that a host is, which a URL has in brackets if it is one of IPv6.
fn address_of(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// The headers of an answer that does not have them itself. A browser may show it and nothing else,
/// keep no copy, and tell no other site where it was.
const SAFE_DEFAULTS: [(HeaderName, &str); 5] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'; \
         base-uri 'none'; form-action 'self'",
    ),
    // Another policy would make the forms of our own pages send `Origin: null`.
    (header::REFERRER_POLICY, "same-origin"),
    (header::CACHE_CONTROL, "no-store"),
];

/// Tells browsers what they may do with an answer.
pub(crate) fn add_safe_defaults(headers: &mut HeaderMap) {
    for (name, value) in SAFE_DEFAULTS {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
}

/// Whether probes ask for a path. They are answered whatever else the program refuses.
pub(crate) fn is_probed(path: &str) -> bool {
    PROBED.iter().any(|probed| path == *probed || probed.ends_with('/') && path.starts_with(probed))
}

/// Refuses a request to another host, and one that may record from a page of another origin.
pub(crate) fn refuse_foreign(names: &HostNames, request: &Request) -> Result<(), Problem> {
    let host = host_of(request)?;
    if let Some(host) = &host
        && !is_probed(request.uri().path())
        && !names.has(host.host())
    {
        return Err(Problem::new(
            ProblemCode::HostUnknown,
            format!(
                "This ledger is not known as {}. Use http://localhost, or have the operator add the name with --host.",
                Excerpt(host.host())
            ),
        ));
    }
    if [Method::GET, Method::HEAD, Method::OPTIONS].contains(request.method()) {
        return Ok(());
    }
    let headers = request.headers();
    let foreign_site = headers.get_all(SEC_FETCH_SITE).iter().any(|site| site == "cross-site");
    let foreign_origin =
        headers.get_all(header::ORIGIN).iter().find(|origin| !is_own(names, origin.as_bytes(), host.as_ref()));
    if foreign_site || foreign_origin.is_some() {
        let origin = foreign_origin.map(|origin| String::from_utf8_lossy(origin.as_bytes()).into_owned());
        return Err(Problem::new(
            ProblemCode::OriginForeign,
            format!(
                "A page of another site{} asked a browser for this. Only the ledger's own pages, and programs that are no \
                 browsers, may send such requests.",
                origin.map(|origin| format!(" ({})", Excerpt(&origin))).unwrap_or_default()
            ),
        ));
    }
    Ok(())
}

/// The host that a request is for: HTTP/1.1 needs one, and no two (RFC 9112, section 3.2). A target
/// that names a host goes before the header.
fn host_of(request: &Request) -> Result<Option<Authority>, Problem> {
    let refuse = |detail: &str| Problem::fault(ProblemCode::HeaderInvalid, Fault::header("host", detail.to_owned()));
    let given = only(request.headers(), &header::HOST).map_err(|()| refuse("it is there more than once; send one"))?;
    let given = match given {
        Some(text) => {
            Some(text.parse::<Authority>().map_err(|_| refuse("not a host; write a name, e.g. localhost:8080"))?)
        }
        None if request.version() == Version::HTTP_11 => {
            return Err(refuse(
                "it is missing, and HTTP/1.1 needs it; send the name that you ask, e.g. localhost:8080",
            ));
        }
        None => None,
    };
    Ok(request.uri().authority().cloned().or(given))
}

/// The value of a header that may be there once; text that is no text counts as an empty one.
fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, ()> {
    let mut values = headers.get_all(name).iter();
    let first = values.next().map(|value| value.to_str().unwrap_or_default());
    if values.next().is_some() { Err(()) } else { Ok(first) }
}

/// Whether an origin is that of the ledger's own pages: the host that the request is for, with its
/// port, or a configured name with the port of a gateway.
fn is_own(names: &HostNames, origin: &[u8], host: Option<&Authority>) -> bool {
    // `null` stands for a page that hides its origin.
    let Ok(Ok(origin)) = str::from_utf8(origin).map(str::parse::<Uri>) else { return false };
    let (Some(scheme), Some(authority)) = (origin.scheme_str(), origin.authority()) else { return false };
    let default_port = match scheme {
        "http" => 80,
        "https" => 443,
        _ => return false,
    };
    let port = |authority: &Authority| authority.port_u16().unwrap_or(default_port);
    let is_same =
        host.is_some_and(|host| host.host().eq_ignore_ascii_case(authority.host()) && port(host) == port(authority));
    is_same || names.is_configured(authority.host())
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    /// The code of the refusal of a request, `ok` where there is none.
    fn outcome(method: &str, path: &str, headers: &[(&str, &str)]) -> &'static str {
        let names = HostNames::new(["Ledger.example".to_owned(), "fd00::7".to_owned()]);
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        refuse_foreign(&names, &request.body(Body::empty()).expect("a request"))
            .map_or_else(|problem| problem.code(), |()| "ok")
    }

    #[test]
    fn a_request_names_one_host_and_that_is_the_ledgers() {
        for own in [
            "localhost",
            "LOCALHOST:8080",
            "127.0.0.1:8080",
            "127.9.9.9",
            "[::1]:8080",
            "a.localhost",
            "ledger.example",
            "LEDGER.example:443",
            "localhost.",
            "[fd00::7]:8080",
            "[fd00:0::7]",
        ] {
            assert_eq!(outcome("GET", "/cases", &[("host", own)]), "ok", "{own}");
        }
        for foreign in [
            "evil.example",
            "ledger.example.evil.example",
            "evil.example:8080",
            "10.0.0.7",
            "0.0.0.0",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "notlocalhost",
            "[::2]",
        ] {
            assert_eq!(outcome("GET", "/cases", &[("host", foreign)]), "host-unknown", "{foreign}");
            for probed in ["/health", "/health/liveness", "/ping", "/info", "/metrics"] {
                assert_eq!(outcome("GET", probed, &[("host", foreign)]), "ok", "{foreign} {probed}");
            }
        }
        for headers in [&[][..], &[("host", "localhost"), ("host", "localhost")], &[("host", "a b")], &[("host", "")]] {
            assert_eq!(outcome("GET", "/metrics", headers), "header-invalid", "{headers:?}");
        }
        assert_eq!(outcome("GET", "http://evil.example/cases", &[("host", "localhost")]), "host-unknown");
    }

    #[test]
    fn only_its_own_pages_and_no_browser_may_send_what_records() {
        let host = ("host", "localhost:8080");
        for own in ["http://localhost:8080", "https://ledger.example", "https://ledger.example:8443"] {
            assert_eq!(outcome("POST", "/cases", &[host, ("origin", own)]), "ok", "{own}");
        }
        for foreign in [
            "http://evil.example",
            "null",
            "",
            "http://localhost",
            "http://localhost:3000",
            "file://",
            "https://localhost:80",
            "http://ledger.example.evil.example",
        ] {
            for method in ["POST", "PUT", "PATCH", "DELETE"] {
                assert_eq!(outcome(method, "/cases", &[host, ("origin", foreign)]), "origin-foreign", "{foreign}");
            }
            assert_eq!(outcome("GET", "/cases", &[host, ("origin", foreign)]), "ok", "{foreign}");
        }
        assert_eq!(outcome("POST", "/cases", &[host, ("sec-fetch-site", "cross-site")]), "origin-foreign");
        for site in ["same-origin", "none"] {
            assert_eq!(outcome("POST", "/cases", &[host, ("sec-fetch-site", site)]), "ok", "{site}");
        }
    }
}
