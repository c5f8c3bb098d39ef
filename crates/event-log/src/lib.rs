//! The event log: the port that every store implements, the stores, and the contract that each must pass.
//!
//! The log is the data; everything else in the ledger is derived from it. This crate knows how events are kept and
//! read, and nothing of what they mean beyond writing and reading their envelope ([`envelope`]).

mod behind;
pub mod contract;
pub mod envelope;
pub mod kurrentdb;
mod port;
pub mod postgres;

pub use behind::{Behind, LastSeen, behind, has_more_than};
pub use envelope::{Metadata, StoredEvent, decode, encode};
pub use kurrentdb::KurrentLog;
pub use port::*;
pub use postgres::PostgresLog;
