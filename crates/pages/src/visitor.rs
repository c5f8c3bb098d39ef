//! The person who looks at a page.

use std::net::{IpAddr, Ipv4Addr};

use axum::{
    extract::FromRequestParts,
    http::{header, request::Parts},
    response::{IntoResponse, Redirect, Response},
};
use http_api::PeerAddress;

use crate::Pages;

/// The cookie that holds who was chosen where there is no sign-on.
pub(crate) const CHOSEN_PERSON: &str = "ledger-person";

/// A person to be where there is no sign-on: on a loopback address, to try the ledger out.
pub(crate) struct DemoPerson {
    pub(crate) username: &'static str,
    pub(crate) description: &'static str,
    /// The page that the person begins with.
    pub(crate) home: &'static str,
}

/// The persons to choose from.
pub(crate) const DEMO_PEOPLE: [DemoPerson; 3] = [
    DemoPerson {
        username: "HOMD_LEI",
        description: "Head of offender management: allocates the cases of a prison",
        home: "/pages/prisons",
    },
    DemoPerson { username: "AUDITOR", description: "Auditor: reads the full history of a case", home: "/pages/cases" },
    DemoPerson { username: "ANALYST", description: "Analyst: looks after the views", home: "/pages/views" },
];

/// The address that stands for a browser of which the server has told none.
const NO_PEER: PeerAddress = PeerAddress(IpAddr::V4(Ipv4Addr::LOCALHOST));

/// The person who looks at a page.
#[derive(Debug, Clone)]
pub(crate) struct Visitor {
    pub(crate) name: String,
    /// Where the person's browser is.
    pub(crate) peer: PeerAddress,
}

impl Visitor {
    /// The name for the API where there is no sign-on.
    pub(crate) fn recorded_by(&self) -> Option<&str> {
        Some(&self.name)
    }
}

impl FromRequestParts<Pages> for Visitor {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &Pages) -> Result<Self, Self::Rejection> {
        let peer = parts.extensions.get().copied().unwrap_or(NO_PEER);
        let cookies = parts.headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let chosen = cookies.flat_map(|cookies| cookies.split("; ")).filter_map(|cookie| cookie.split_once('='));
        let chosen = chosen.filter(|(name, _)| *name == CHOSEN_PERSON).map(|(_, value)| value).next();
        match chosen.and_then(|name| DEMO_PEOPLE.iter().find(|person| person.username == name)) {
            Some(person) => Ok(Self { name: person.username.to_owned(), peer }),
            None => Err(Redirect::to("/pages/people").into_response()),
        }
    }
}
