//! Reconciliation: finds where the ledger and the estate differ about a person, and records what
//! is safe to record. It closes what lost messages leave open.
//!
//! | question | module |
//! |---|---|
//! | what does the estate have of a person? | `estate` |
//! | how is that looked up? | `look_up` |
//! | where does it differ from the ledger, and what is safe? | `compare` |
//! | how is that recorded once? | `apply` |
//!
//! A difference is safe to close where the source says what happened, and where the case, with
//! that recorded, is as the source has it. All others are for a person.

mod apply;
mod compare;
mod estate;
mod look_up;
#[cfg(test)]
mod tests;

pub use apply::{DiscrepancyOutcome, Reconciler};
pub use compare::{Discrepancy, DiscrepancyKind, LedgerCase, Remedy, Resolution, compare};
pub use estate::{EstateManager, EstatePlace, EstateRecord, EstateTier, FieldProblem, SourceDate, Stay};
pub use look_up::{look_up_person, look_up_prison, look_up_probation};
