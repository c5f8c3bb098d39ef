//! Commands over HTTP: the events they record, the commands that are refused, and that nothing
//! is recorded twice.
//!
//! The program runs with its command role on a real Postgres.

mod bulk;
mod every_command;
mod first_allocation_api;
mod go_live;
mod history;
mod idempotency_keys;
mod log_in_postgres;
mod merges;
mod nomis_contacts;
mod one_decision;
mod one_person;
mod own_ids;
mod points_in_time;
mod policies;
mod problems;
mod refusals;
mod restarts;
mod salts;
mod same_fact;
mod servers;
mod tiers;
mod unreadable;
