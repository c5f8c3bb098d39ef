//! The event log: the port that every store implements, and the contract that each must pass.
//!
//! The log is the data; everything else in the ledger is derived from it. This crate knows how
//! events are stored and read. Of their meaning it knows no more than how to encode and decode
//! them. The stores are crates of their own, `event-log-postgres` and `event-log-kurrentdb`; only
//! the programs name them.
//!
//! | module | what it holds |
//! |---|---|
//! | `port` | the [`EventLog`] trait: append, read, follow, snapshots |
//! | [`contract`] | the port's promises, tried on a running store |
//! | [`stored_event`] | encoding and decoding events |
//! | `salt` | random bytes that keep the digest of an event's line from telling the line |
//! | [`history`] | making histories of stored events |
//! | `known_at` | points in what the ledger knew |
//! | `follow` | followers (subscriptions), for all stores |
//! | `stream_order` | the order within one stream, for all stores |
//! | `ordered` | ordered append (copying a log): its events and errors |
//! | `bookmark` | a reader's last event |
//! | `lag` | how far a reader is behind |
//! | `request_digest` | telling a retry from another request |
//! | `error_chain`, `mutex` | helpers that the crates above share |
//!
//! # To add a store
//!
//! 1. Make a crate `event-log-NAME` that depends on this one, and implement [`EventLog`] for a
//!    handle that is cheap to clone.
//! 2. Answer [`AppendError::Conflict`] with the actual revision, and the first answer to a repeated
//!    append. Read a lost append back rather than guess.
//! 3. Report every event that is missing or out of order as [`LogError::Damaged`], after the events
//!    before it: [`StreamOrder`] checks one stream. Report everything that a later try may mend as
//!    [`LogError::Unavailable`].
//! 4. Implement [`Pages`] and follow with [`follow()`]. Send a [`WakeUp`] for each append of this
//!    process and, as far as the store can, of others.
//! 5. Keep snapshots where no reader of events meets them.
//! 6. Keep idempotency keys ([`SpentKey`]): in the transaction of the events, or in memory.
//! 7. Add an `OrderedWriter`, so that a log can be copied to the store.
//! 8. Run [`contract::check`] on it in `tests/it/stores`, with several handles and with processes
//!    that are killed.
//! 9. Name it in the program: its URLs, the commands `event-store check` and `copy`.

mod bookmark;
pub mod contract;
mod error_chain;
mod follow;
pub mod history;
mod known_at;
mod lag;
mod mutex;
mod ordered;
mod port;
mod request_digest;
mod salt;
pub mod stored_event;
mod stream_order;

pub use bookmark::Bookmark;
pub use error_chain::{EXPORTED, error_chain};
pub use follow::{FOLLOW_POLL_INTERVAL, LogPage, PageNext, Pages, WakeUp, follow};
pub use known_at::{KnownAt, KnownAtError};
pub use lag::{Lag, has_more_than};
pub use mutex::lock;
pub use ordered::{OrderedError, OrderedEvent};
pub use port::*;
pub use request_digest::request_digest;
pub use salt::{CheckedSalt, Salt};
pub use stored_event::{Metadata, Provenance, StoredEvent, decode, encode};
pub use stream_order::StreamOrder;
