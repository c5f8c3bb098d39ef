//! A prison: its roster of POMs and its move onto OMiC. Its stream names no person in prison.
//!
//! The shape is that of [`crate::prisoner`]: [`decide`] and a fold that cannot fail ([`Roster`]),
//! over a [`History`] in two orders. A prison's entries cannot be voided; what was wrong is put
//! right by a further entry, backdated where it has to be.

mod command;
mod decide;
mod event;
mod go_live;
mod history;
mod listed;
mod roster;

pub use command::{Command, CommandKind, GoLiveCorrection};
pub use decide::{Context, decide};
pub use event::*;
pub use go_live::{EarlyAllocation, find_early_allocation, refuse_go_live_after};
pub use history::{History, InactiveStretch};
pub use listed::{Country, Establishment, LIST_DATE, establishments};
pub use roster::{Roster, RosterPeriod, RosterPom, roster_periods};
