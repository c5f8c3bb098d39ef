//! The program tested from outside, as its users meet it. One program of tests: each part is a module.

mod answers;
mod commands;
mod compatible;
mod embedded_postgres;
mod event_log;
mod import;
mod policies;
mod projector;
mod serve;
mod support;
