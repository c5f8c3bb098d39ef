//! The event log: the port that every store implements, and the contract that each must pass.
//!
//! The log is the data; everything else in the ledger is derived from it. This crate knows how events are kept and
//! read, and nothing of what they mean beyond writing and reading their envelope ([`envelope`]). The stores are crates of
//! their own, `event-log-postgres` and `event-log-kurrentdb`; nothing but the program names them.

mod behind;
pub mod contract;
mod diagnostics;
pub mod envelope;
mod follow;
pub mod history;
mod known_at;
mod lock;
mod ordered;
mod port;
mod request_digest;
mod stream_order;

pub use behind::{Behind, LastSeen, behind, has_more_than};
pub use diagnostics::{EXPORTED, error_chain};
pub use envelope::{Metadata, StoredEvent, decode, encode};
pub use follow::{FOLLOW_POLL_INTERVAL, LogPage, PageNext, Pages, WakeUp, follow};
pub use known_at::{KnownAt, KnownAtError};
pub use lock::lock;
pub use ordered::{OrderedError, OrderedEvent};
pub use port::*;
pub use request_digest::request_digest;
pub use stream_order::StreamOrder;
