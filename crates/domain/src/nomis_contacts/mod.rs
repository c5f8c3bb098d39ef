//! The POM contacts that NOMIS has of one person in prison, at whichever prisons.
//!
//! They are a stream beside the person's case, of the same shape as [`crate::prisoner`]: [`decide`]
//! and a fold that cannot fail, over a [`History`]. A contact is no part of the case: it changes no
//! revision of it, and a person of whom nothing else is recorded has no case. A merge leaves the
//! contacts with the number that NOMIS had them under.

mod command;
mod decide;
mod event;
mod history;

pub use command::{Command, CommandKind, ContactSeen};
pub use decide::{Context, decide, refuse_unknown_contact};
pub use event::*;
pub use history::{Contact, History};
