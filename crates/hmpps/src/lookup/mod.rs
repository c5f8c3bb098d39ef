//! Look-ups: what other services of HMPPS know of a person, asked over HTTP.
//!
//! | question | module |
//! |---|---|
//! | which token goes with a request? | `token` |
//! | which requests are sent, how long and how often? | `client` |
//! | what do the services answer? | `records` |
//! | why was there no answer that can be used? | `failure` |
//!
//! Promises: a request goes below a configured address or nowhere, and so does the token; no
//! redirect is followed. Each request has a time limit and each answer a longest length. A failure
//! names a service and a kind, neither an address nor a person.

mod client;
mod failure;
mod records;
mod token;

pub use self::{
    client::{LookUpAddresses, LookUpClient, LookUpService},
    failure::LookUpError,
    records::{Absence, CaseRecord, PrisonerRecord, RecordedRosh, TierRecord, TierVersion, ToldDate},
    token::ClientCredentials,
};

/// The services that are asked, and how.
#[derive(Debug, Clone)]
pub struct LookUps {
    /// The client of the services.
    pub client: LookUpClient,
    /// The version of the tier service's answers; `None` for that of each message's link.
    pub tier_version: Option<TierVersion>,
}
