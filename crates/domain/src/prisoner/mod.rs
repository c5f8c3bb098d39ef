//! A case: one prisoner number, its history, and what may happen to it.
//!
//! [`decide`] turns a command into events or a refusal; [`State::apply`] folds events, and cannot
//! fail: a fact already happened. A [`History`] keeps the events in the order recorded and folds
//! them in the order in which they hold in the world, voided entries left out, so that a backdated
//! event changes the past as people lived it and never the past as the ledger knew it.
//!
//! To add an event: a variant and its data in `event.rs`, what it changes in `state.rs`, when it is
//! legal in `legality.rs`, the command that makes it in `command.rs` and `decide.rs`, a sample line
//! in the tests.

mod allocation;
mod command;
mod decide;
mod event;
mod history;
mod legality;
pub mod lineage;
mod period;
mod refusals;
mod responsibility;
mod state;

pub use allocation::{Allocation, allocations};
pub use command::*;
pub use decide::{Context, DETAIL_LEN_MAX, NOTE_LEN_MAX, decide, merge_of};
pub use event::*;
pub use history::History;
pub use period::{Period, period_at, periods};
pub use refusals::self_merge;
pub use responsibility::{OfficerRole, Responsibility, responsibility};
pub use state::{Arrangements, ComRole, PomRole, State};
