//! The tools: every subcommand but `serve`, a module each.

pub(crate) mod access_log;
pub(crate) mod cases;
pub(crate) mod completions;
pub(crate) mod copy_log;
pub mod demo;
pub(crate) mod event_store;
pub(crate) mod export;
pub(crate) mod generate;
pub(crate) mod handover_dates;
pub(crate) mod health;
pub(crate) mod history;
pub(crate) mod import;
pub(crate) mod integration;
mod integration_status;
pub(crate) mod man;
pub(crate) mod prepare;
pub(crate) mod projections;
mod publishing;
mod read_recording;
pub(crate) mod reconcile;
pub(crate) mod replay;
pub(crate) mod responsibility;
pub(crate) mod token;
