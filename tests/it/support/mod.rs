//! Everything that tests share: servers, databases, the program itself, clients and builders.
//!
//! - [`database`]: a database on the server that all tests of this process share.
//! - [`Topology`]: whether the ledger is one program or several services, and where its log is.
//! - [`EventStore`]: an event store that no other test uses.
//! - [`DataDir`]: a data directory, for tests that start the program or kill servers.
//! - [`Program`]: the real program, serving on a free port or run once as a tool.
//! - [`StandIn`]: a stand-in for a KurrentDB server; [`Nodes`]: a cluster of them; [`Proxy`]:
//!   faults of the network.
//! - [`service_cluster::ServiceCluster`]: the services of a ledger, each a process.
//! - [`command_load`], [`append_load`]: clients that write during faults, and checks of the log.
//! - [`exported_file`]: the contents of exported files; [`python`]: Python to read them with.
//! - [`Client`]: JSON over HTTP.
//! - [`ledger::Ledger`]: a running ledger, and cases to begin with;
//!   [`demonstration::Demonstration`]: one with the demonstration in it.
//! - [`whole_log`]: all events of a log.
//! - [`random_numbers`]: random numbers that a seed decides.
//! - [`raw_http`]: requests as bytes, from an address of the test's choice.
//! - [`tokens`]: tokens of the sign-on.
//! - [`hmpps_auth`]: the sign-on that people meet in a browser.
//! - [`estate`]: queues of HMPPS.
//! - [`queue`]: a queue as fast as memory; `aws_stand_in` has a topic, too.
//! - [`audit_sink`]: a queue that refuses some of the messages of the audit.
//! - [`fake_clock`]: the clock of one process.
//! - [`builders`]: values of the domain and events.
//! - [`workbook_file`]: workbooks with any content.
//!
//! Servers and files are removed however the tests end: see `watchdog`.

pub mod append_load;
pub mod audit_sink;
pub mod builders;
pub mod certificates;
pub mod checked_in;
mod client;
pub mod command_load;
pub mod commands;
pub mod controlled_log;
mod data_dir;
mod database;
pub mod demonstration;
pub mod estate;
mod event_store;
pub mod exported_file;
pub mod fake_clock;
pub mod hmpps_auth;
pub mod ledger;
pub mod look_up_services;
pub mod made_up_events;
mod program;
pub mod projections;
mod proxy;
pub mod python;
pub mod questions;
pub mod queue;
pub mod queue_proxy;
pub mod random_ledger;
pub mod random_numbers;
pub mod raw_http;
pub mod running_projector;
pub mod service_cluster;
pub mod snapshot;
mod stand_in;
pub mod tokens;
pub mod topology;
mod views;
mod watchdog;
pub mod whole_log;
pub mod workbook_file;

use std::time::{Duration, Instant};

pub use client::{Client, HttpAnswer, http_client};
pub use data_dir::DataDir;
pub use database::{TestDatabase, bare_database, database};
pub use event_store::EventStore;
pub use program::{Program, Tool, ToolOutput, run, run_in, run_on_terminal, run_with_input, run_within, spawn};
pub use proxy::Proxy;
pub use stand_in::{NAMING_KEY, Nodes, StandIn, log_at, log_with_key, server_name, server_name_of_generation};
pub use topology::Topology;
pub use views::{dump_view, dump_views};

/// The longest time that a test waits for anything. Generous, because only a failing test waits
/// that long.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Waits until `condition` gives a value.
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

/// Whether the machine has a program; reports that the test is left out where it does not.
#[track_caller]
pub fn has_program(name: &str) -> bool {
    let is_there = std::process::Command::new(name).arg("--version").output().is_ok();
    if !is_there {
        leave_out(&format!("this machine has no program `{name}`"));
    }
    is_there
}

/// Reports that a test cannot run and is left out. In CI, where the variable `CI` is set, panics
/// instead: a test that did not run must not count as passed.
#[track_caller]
pub fn leave_out(missing: &str) {
    assert!(std::env::var_os("CI").is_none(), "the test cannot run: {missing}");
    eprintln!("LEFT OUT: {missing}");
}
