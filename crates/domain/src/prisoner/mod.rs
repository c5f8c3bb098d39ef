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
//! 3. `command.rs`: the command that makes it;
//! 4. `decide.rs`: the events of the command, and the states that the event may follow;
//! 5. `tools/history/entry.rs` in `allocation-ledger`: the event in words.
//!
//! The compiler asks for most of these. The tests ask for a generator of the command
//! (`generators.rs`) and a sample of the event (`tests/data/events.jsonl`).

mod allocate;
mod allocations_in_effect;
mod command;
mod decide;
mod event;
mod history;
pub mod lineage;
mod merge;
mod period;
mod pom_choice;
mod pom_role_rules;
mod recommended_kind;
mod responsibility;
mod role_origin;
mod same_fact;
mod shared_refusals;
mod state;
mod suggestion;
mod text_origin;
mod waiting;

pub use allocations_in_effect::{Allocation, allocations, receptions};
pub use command::*;
pub use decide::decide;
pub use event::*;
pub use history::History;
pub use merge::{AllocationReference, MergedPast, merge_of};
pub use period::{Period, period_at, periods};
pub use pom_choice::*;
pub use recommended_kind::{Recommendation, RecommendationReason, recommend_kind};
pub use responsibility::{OfficerRole, Phase, Responsibility, responsibility};
pub use role_origin::RoleOrigins;
pub use same_fact::find_same_fact;
pub use shared_refusals::{NOTE_LEN_MAX, refuse_closed_circle, refuse_retired_number, refuse_self_merge};
pub use state::{ComRole, PomRole, Reception, RoleAllocation, State};
pub use suggestion::{
    AllocationQuestion, HeldBefore, SuggestedPom, SuggestionSettings, Suggestions, find_roles_before, suggest_poms,
};
pub use waiting::{Waiting, WaitingReason};
