//! Starts of the program, each in a process of its own: the time from the start of the process
//! until `/health/readiness` answers 200.
//!
//! A start on a new machine has an empty data directory and an empty home: the stores are servers
//! elsewhere, and whatever makes it fast has to be in them.

use std::{path::Path, time::Duration};

use allocation_ledger::temporary_directory::temporary_directory;
use anyhow::{Context as _, bail};
use command::policies;
use event_log::SharedLog;

use crate::{
    TEMPORARY,
    program::{self, ServingProcess},
};

/// The times of starts on new machines, with log and views in a server elsewhere.
#[derive(Debug, Clone, Copy)]
pub(super) struct NewMachineStarts {
    /// A command service that finds no snapshot of its policies: it reads the whole log, and leaves
    /// one.
    pub(super) command_from_log: Duration,
    /// A command service that finds the snapshot.
    pub(super) command: Duration,
    /// The single program, which finds the snapshot, too.
    pub(super) single: Duration,
}

/// Measures starts on new machines on a log that has no snapshot, and on which the policies have
/// nothing to do. `url` is that of the database of the log and the views.
///
/// # Errors
/// A start fails, the first one leaves no snapshot, or one leaves files.
pub(super) async fn measure_on_new_machines(log: &SharedLog, url: &str) -> anyhow::Result<NewMachineStarts> {
    let command_service = ["--role", "command", "--event-store", url];
    let command_from_log = on_new_machine(&command_service).await?;
    if log.load_snapshot(policies::SNAPSHOT).await.context("look for the snapshot")?.is_none() {
        bail!("the policies left no snapshot");
    }
    Ok(NewMachineStarts {
        command_from_log,
        command: on_new_machine(&command_service).await?,
        single: on_new_machine(&["--role", "all", "--event-store", url, "--views", url]).await?,
    })
}

async fn on_new_machine(arguments: &[&str]) -> anyhow::Result<Duration> {
    let machine = temporary_directory(TEMPORARY)?;
    let taken = time_until_ready(arguments, machine.path()).await?;
    if std::fs::read_dir(machine.path()).context("look for files of the program")?.next().is_some() {
        bail!("the program left files in its data directory, though its stores are elsewhere");
    }
    Ok(taken)
}

/// Measures the start of the single program with its Postgres, which must not run yet.
///
/// # Errors
/// The start fails.
pub(super) async fn measure_single_program(data_dir: &Path) -> anyhow::Result<Duration> {
    time_until_ready(&["--role", "all"], data_dir).await
}

/// Starts the program to serve, waits until it is ready, and ends it. Answers the time until it was
/// ready.
async fn time_until_ready(arguments: &[&str], data_dir: &Path) -> anyhow::Result<Duration> {
    let mut command = program::program()?;
    command.env("LEDGER_DATA_DIR", data_dir).env("HOME", data_dir).env_remove("XDG_DATA_HOME");
    let running = ServingProcess::start(command, arguments).await?;
    let taken = running.ready_after;
    running.end().await?;
    Ok(taken)
}
