//! Questions over HTTP: what the program answers after what was recorded.
//!
//! The program runs with all its roles on a real Postgres. Tests ask about times by `on`, so that
//! the answers do not depend on the day of the test run. Each question waits until the views
//! include everything recorded before it.

mod bodies;
mod compatible;
mod control_reports;
mod events;
mod freshness;
mod handovers;
mod history;
mod lists;
mod merge_chains;
mod merge_facts;
mod merged_numbers;
mod nomis_contacts;
mod period_statistics;
mod receptions;
mod refusals;
mod responsibility;
mod single_program;
mod suggestions;
mod unknown_prison;
