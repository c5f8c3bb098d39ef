//! The servers of the estate that are asked over HTTP: which addresses may be asked, and the client
//! that asks them.

use std::net::IpAddr;

use reqwest::{ClientBuilder, Url, redirect::Policy};

/// A client over HTTPS, to be given its limits of time. It follows no redirect: what is asked comes
/// from the configured server, and a token goes there, or not at all.
pub fn server_client() -> ClientBuilder {
    // This fails where another part of the program has installed the same provider before.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().redirect(Policy::none())
}

/// Checks the address of a server. Only one on this machine may be asked without TLS: on the way
/// to another, keys could be changed and tokens read.
///
/// # Errors
/// Why it is no address to ask, in words that go after its setting.
pub fn check_server_address(address: &str) -> Result<(), String> {
    let url = Url::parse(address).map_err(|error| error.to_string())?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("it has a user or a password, which logs would show, and the server needs none".to_owned());
    }
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let is_here = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    if url.scheme() != "https" && !(url.scheme() == "http" && is_here) {
        return Err("it is no address of https, and only this machine is asked without TLS".to_owned());
    }
    Ok(())
}

/// An error with its causes, in one line. `reqwest` names the address in its own text.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_asked_without_tls() {
        for address in [
            "https://roles.example/users/NAME/caseloads",
            "http://127.0.0.1:9000/me/caseloads",
            "http://[::1]:9000/jwks",
            "http://localhost/jwks",
        ] {
            assert!(check_server_address(address).is_ok(), "{address}");
        }
        for address in [
            "http://roles.example/me",
            "http://10.0.0.1/jwks",
            "http://localhost.example/jwks",
            "ftp://localhost/",
            "file:///etc/passwd",
            "roles.example",
            "https://a:b@roles.example/",
        ] {
            assert!(check_server_address(address).is_err(), "{address}");
        }
    }
}
