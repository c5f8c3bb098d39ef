//! The rules of the domain, by example and by property.

mod case;
mod crn;
mod documents;
mod format;
mod handover;
mod lineage;
mod merge_chains;
mod merges;
mod named_prisoners;
mod nomis_contacts;
mod origins;
mod properties;
mod receptions;
mod responsibility;
mod roster;
mod rules;
mod same_fact;
mod suggestions;
