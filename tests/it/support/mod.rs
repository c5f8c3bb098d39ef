//! What the tests stand on: a Postgres server, databases of their own, the program itself, a client.
//!
//! - [`database`]: an own database on the server that all tests of this process share.
//! - [`Topology`]: whether the ledger is one program or several services, and where its log is.
//! - [`EventStore`]: an own event store.
//! - [`DataDir`]: an own data directory, for tests that start the program or kill servers.
//! - [`Program`]: the real program, serving on a free port or run once as a tool.
//! - [`StandIn`]: a stand-in for a KurrentDB server, [`Nodes`]: for a cluster of them, and [`Proxy`] for what can happen on the way.
//! - [`Client`]: JSON over HTTP.
//! - [`ledger::Ledger`]: the command role over a database of its own, and cases to begin with.
//!
//! Nothing is left behind, however the tests end: see `watchdog`.

mod client;
mod data_dir;
mod database;
mod event_store;
pub mod held_log;
pub mod ledger;
mod program;
mod proxy;
pub mod random_ledger;
pub mod running_projector;
mod stand_in;
pub mod topology;
mod views;
mod watchdog;

use std::time::{Duration, Instant};

pub use client::{Answer, Client};
pub use data_dir::DataDir;
pub use database::{TestDatabase, bare_database, database};
pub use event_store::EventStore;
pub use program::{Program, Ran, Tool, run, run_in, run_with_input, spawn};
pub use proxy::Proxy;
pub use stand_in::{Nodes, StandIn};
pub use topology::Topology;
pub use views::{dump_view, dump_views};

/// How long anything may take before a test gives up on it. Generous: it is met only by a test that fails.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `condition` gives something.
#[track_caller]
pub fn eventually<T>(what: &str, condition: impl AsyncFnMut() -> Option<T>) -> impl Future<Output = T> {
    let caller = std::panic::Location::caller();
    wait(what.to_owned(), condition, caller)
}

async fn wait<T>(
    what: String,
    mut condition: impl AsyncFnMut() -> Option<T>,
    caller: &'static std::panic::Location<'static>,
) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(Instant::now() < deadline, "{caller}: waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
