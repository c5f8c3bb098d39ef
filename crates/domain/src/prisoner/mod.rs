//! A case: one prisoner number, its history, and what may happen to it.
//!
//! [`decide`] turns a command into events or a refusal; [`State::apply`] folds events, and cannot
//! fail: a fact already happened. A [`History`] keeps the events in the order recorded and folds
//! them in the order in which they hold in the world, voided entries left out, so that a backdated
//! event changes the past as people lived it and never the past as the ledger knew it.
//!
//! To add an event:
//!
//! 1. `event.rs`: the variant with its data, the prisons that it names, the roles that it changes;
//! 2. `state.rs`: its effect on the state;
//! 3. `legality.rs`: the states that it may follow;
//! 4. `command.rs` and `decide.rs`: the command that makes it;
//! 5. `tools/history/entry.rs` in `allocation-ledger`: the event in words.
//!
//! The compiler asks for most of these. The tests ask for a generator of the command
//! (`generators.rs`) and a sample of the event (`tests/data/events.jsonl`), and the simulation's
//! for a case that has it.

mod allocation;
mod choice;
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
pub use choice::*;
pub use command::*;
pub use decide::{Context, DETAIL_LEN_MAX, NOTE_LEN_MAX, decide, merge_of};
pub use event::*;
pub use history::History;
pub use period::{Period, period_at, periods};
pub use refusals::refuse_self_merge;
pub use responsibility::{OfficerRole, Responsibility, responsibility};
pub use state::{ComRole, PomRole, State};
