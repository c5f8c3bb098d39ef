//! The command side: load a stream, decide, append; and the HTTP API that takes commands in.
//!
//! | question | module |
//! |---|---|
//! | what is a request to record something, and what answers it? | [`request`] |
//! | how is it decided and recorded, once and only once? | [`service`] |
//! | how are streams loaded, many at a time, and kept? | `streams` |
//! | what was a key used for, in another stream? | `idempotency_keys` |
//! | what is recorded without anybody asking? | [`policies`] |
//! | how are two numbers of one person brought together? | `operations::merge` |
//! | how do a POM's cases go to another POM? | `operations::bulk` |
//! | how many commands came, and what became of them? | `metrics` |
//! | what does `POST …` take and answer? | `http` |
//!
//! Nothing but this crate appends to the log. It knows no view and no SQL; every rule that it applies is in `domain`.
//!
//! To add a command: the rule and its event in `domain`, one file with its body and handler in `http/`, one line in
//! the route table of `http/mod.rs`, its refusals in `tests/it/commands/`.

mod clock;
mod http;
mod idempotency_keys;
mod metrics;
mod obligations;
mod operations;
pub mod policies;
pub mod request;
mod service;
mod streams;

pub use clock::Clock;
pub use http::{openapi, router};
pub use operations::merge::MergeRequest;
pub use request::{Error, Outcome, Request};
pub use service::{Service, Settings};
