//! The rules of the allocation ledger, and nothing else.
//!
//! Everything here is a pure function of its arguments: no IO, no clock, no async runtime, no SQL,
//! no HTTP. Time comes in as a value. The reason for each answer of the ledger is here; how events
//! are kept, projected and served is for the other crates. `docs/domain.md` has the words, the
//! numbered rules and the tables.
//!
//! | question | module |
//! |---|---|
//! | what is a valid prisoner number, prison, staff id? | [`identifier`] |
//! | what may happen to a case, and what follows? | [`prisoner`] |
//! | what may happen to a prison's roster? | [`prison`] |
//! | which POM contacts does NOMIS have of a person? | [`nomis_contacts`] |
//! | how much work are a POM's cases? | [`caseload`] |
//! | when does a case go to the community? | [`handover`] |
//! | which officer is responsible at an instant? | [`prisoner::responsibility`] |
//! | which dates, instants and texts are taken from outside? | [`moment`], [`text`] |
//! | which words do events, answers and views use? | [`words`] |
//! | how does an HTTP API describe them? | `openapi`, a module of the feature of that name |
//! | why was a command turned away, and which rules are there? | [`refusal`], [`rule`] |
//! | which prisons are a caller's, and what may such a caller record? | [`confinement`] |

pub mod caseload;
pub mod command;
pub mod confinement;
mod effective_time;
pub mod event;
#[cfg(feature = "generators")]
pub mod generators;
pub mod handover;
pub mod identifier;
pub mod london;
pub mod moment;
mod named_prisoners;
pub mod nomis_contacts;
pub mod officer;
#[cfg(feature = "openapi")]
pub mod openapi;
pub mod prison;
pub mod prisoner;
pub mod refusal;
pub mod rule;
pub mod text;
pub mod tier;
pub mod words;

pub use command::Command;
pub use confinement::Confinement;
pub use effective_time::check_effective_at;
pub use event::{Entry, Event, Stream};
pub use refusal::Refusal;
pub use rule::Rule;
