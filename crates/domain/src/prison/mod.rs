//! A prison: its roster of POMs, its move onto OMiC, and the POM contacts that are still in NOMIS.
//!
//! The shape is that of [`crate::prisoner`]: [`decide`] and a fold that cannot fail ([`Roster`]),
//! over a [`History`] in two orders. A prison's entries cannot be voided; what was wrong is put
//! right by a further entry, backdated where it has to be.

mod command;
mod decide;
mod event;
mod history;
mod roster;

pub use command::{Command, CommandKind, ContactSeen};
pub use decide::{Context, decide};
pub use event::*;
pub use history::{History, InactiveStretch};
pub use roster::{Contact, Roster, RosterPeriod, RosterPom, roster_periods};
