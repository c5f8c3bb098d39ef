//! The program tested from outside, as its users meet it. One program of tests: each part is a module.

mod answers;
mod commands;
mod compatible;
mod copy;
mod dictionary;
mod embedded_postgres;
mod event_log;
mod events;
mod generate;
mod history;
mod import;
mod known_at;
mod kurrentdb;
mod observability;
mod policies;
mod projections;
mod projector;
mod replay;
mod serve;
mod services;
mod stand_in;
mod support;
