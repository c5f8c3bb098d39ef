//! The command side (the write model): load a stream, decide, append; and the HTTP API for
//! commands.
//!
//! | question | module |
//! |---|---|
//! | what are a request, its outcome and its errors? | [`request`] |
//! | how is a request decided and recorded exactly once? | `service` |
//! | how are streams loaded, many at a time, and cached? | `streams` |
//! | which request has an idempotency key, where it recorded nothing? | `idempotency_keys` |
//! | which requests take more than one command? | `operations` |
//! | which cases did a bulk have when it first came? | `started_bulk` |
//! | which commands follow from events without a caller? | [`policies`] |
//! | which of them are due? | `obligations` |
//! | how many commands came, and with which outcome? | `metrics` |
//! | what does `POST …` take and answer? | `http` |
//!
//! A module uses the ones below it: `http` and `policies` use `operations`, these use `service`,
//! `idempotency_keys` extends `service`, and that uses `streams`, `started_bulk` and `obligations`.
//!
//! No other crate appends commands' events to a log that serves. This crate knows no view and no
//! SQL; every rule that it applies is in `domain`.
//!
//! To add a command:
//!
//! 1. its rules and its event in `domain`;
//! 2. its name in `metrics.rs`, and in `service.rs` whether it needs a roster: the compiler asks
//!    for both;
//! 3. one file in `http/` with its body, its description and its handler, and one line in `routes`
//!    of `http/mod.rs`, which serves and describes it;
//! 4. its refusals in `tests/it/commands/`.

mod clock;
mod http;
mod idempotency_keys;
mod metrics;
mod obligations;
mod operations;
pub mod policies;
pub mod request;
mod service;
mod started_bulk;
mod streams;

pub use clock::Clock;
pub use http::{openapi, router};
pub use obligations::ContactNumbers;
pub use operations::merge::MergeRequest;
pub use request::{CommandError, Outcome, Request, RequestDigest};
pub use service::{Service, ServiceSettings};
