//! The program itself: how it serves, its tools, and the data that they read and write.

mod api_document;
mod api_examples;
mod browser;
mod command_line;
mod compose;
mod crash;
mod dates;
mod deploy;
mod dictionary;
mod door;
mod embedded_postgres;
mod generate;
mod generated_client;
mod help;
mod history;
mod hostile_files;
mod hostile_workbooks;
mod import;
mod import_compare;
mod import_files;
mod import_meaning;
mod import_runs;
mod import_undo;
mod kills;
mod limits;
mod nomis_contacts;
mod observability;
mod openapi;
mod pages;
mod recording;
mod refused_texts;
mod replay;
mod responsibility;
mod routes;
mod schemathesis;
mod secret_files;
mod serve;
mod tls;

use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};

use crate::support::DataDir;

/// Kills a process as `kill -9` does; `None` if there is no such process.
fn kill(pid: i32) -> Option<()> {
    signal::kill(Pid::from_raw(pid), Signal::SIGKILL).ok()
}

/// The process id of the Postgres server on a data directory, from its own file.
fn postmaster_pid(dir: &DataDir) -> Option<i32> {
    let content = std::fs::read_to_string(dir.path().join("postgres/postmaster.pid")).ok()?;
    content.lines().next()?.parse().ok()
}

/// The process of a Postgres server that answers a client. Its death makes the server recover.
fn client_process(postmaster: i32) -> Option<i32> {
    std::fs::read_dir("/proc").expect("the processes").find_map(|entry| {
        let process = entry.ok()?.path();
        let stat = std::fs::read_to_string(process.join("stat")).ok()?;
        let title = std::fs::read_to_string(process.join("cmdline")).ok()?;
        let parent = stat.rsplit_once(") ")?.1.split(' ').nth(1)?.to_owned();
        let is_client = parent == postmaster.to_string() && title.contains("[local]");
        is_client.then(|| process.file_name()?.to_str()?.parse().ok()).flatten()
    })
}
