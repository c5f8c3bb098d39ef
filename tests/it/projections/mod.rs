//! The views (read models, projections): kept up by the projector, rebuilt, verified and exported.
//!
//! The ledgers are random ones, made by the domain's rules. The tests compare the views as Postgres
//! writes their rows.

mod accepted_input;
mod as_of;
mod aside;
mod export;
mod jobs;
mod live;
mod rebuild;
mod rebuild_beside_service;
mod rebuild_killed;
mod status;
mod verify;
