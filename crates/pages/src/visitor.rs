//! The person who looks at a page.

use std::net::{IpAddr, Ipv4Addr};

use axum::{
    extract::FromRequestParts,
    http::request::Parts,
    response::{IntoResponse as _, Response},
};
use http_api::{InputEnd, PeerAddress, headers::CorrelationId};
use sign_on::Secret;

use crate::{Pages, page_frame::PersonInFrame, session::Session};

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
    /// The token for the API; `None` where there is no sign-on.
    pub(crate) access_token: Option<Secret>,
    /// The text that each form of the session carries.
    pub(crate) csrf: String,
    /// Where the person's browser is.
    pub(crate) peer: PeerAddress,
    /// Whether the browser has closed its side, which ends a stream.
    pub(crate) input_end: Option<InputEnd>,
    /// The request of the browser: those to the API belong to it.
    pub(crate) correlation_id: Option<CorrelationId>,
}

impl From<&Visitor> for PersonInFrame {
    fn from(visitor: &Visitor) -> Self {
        Self { name: visitor.name.clone(), csrf: visitor.access_token.as_ref().map(|_| visitor.csrf.clone()) }
    }
}

impl FromRequestParts<Pages> for Visitor {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, pages: &Pages) -> Result<Self, Self::Rejection> {
        let peer = parts.extensions.get().copied().unwrap_or(NO_PEER);
        let correlation_id = parts.extensions.get().copied();
        let input_end = parts.extensions.get().cloned();
        let session = Session::from_request_parts(parts, pages).await.map_err(|rejection| rejection.into_response())?;
        Ok(Self {
            name: session.user_name().to_owned(),
            access_token: session.access_token().cloned(),
            csrf: session.csrf().for_form().to_owned(),
            peer,
            correlation_id,
            input_end,
        })
    }
}
