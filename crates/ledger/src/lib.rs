//! The program `allocation-ledger`: command line, wiring, embedded Postgres.

pub mod postgres;
