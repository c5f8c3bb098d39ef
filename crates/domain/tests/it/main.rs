//! The rules of the domain, by example and by property.

mod case;
mod format;
mod handover;
mod properties;
mod roster;
mod rules;
