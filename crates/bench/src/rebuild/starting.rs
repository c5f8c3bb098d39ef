//! Starts of the program, each in a process of its own: the time from the start of the process
//! until `/health/readiness` answers 200.
//!
//! A start on a new machine has an empty data directory and an empty home: the stores are servers
//! elsewhere, and whatever makes it fast has to be in them.

use std::{
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use allocation_ledger::{
    interrupt::{interruption, unless_interrupted},
    logs_and_traces::TOOL_LOG_FILTER,
    temporary_directory::temporary_directory,
};
use anyhow::{Context as _, bail};
use command::policies;
use event_log::SharedLog;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Child,
    time::sleep,
};

use super::{spinner, tool};
use crate::{GONE, TEMPORARY, http::Connection};

/// The pause between two questions whether the program is ready.
const LOOK: Duration = Duration::from_millis(5);

/// How long a start may take. A log of many million events is read in minutes.
const READY_MAX: Duration = Duration::from_secs(1_800);

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
    let spinner = spinner("starting the program");
    let started = Instant::now();
    let mut child = tool::program()?
        .args(["serve", "--listen", "127.0.0.1:0", "--log", TOOL_LOG_FILTER])
        .args(arguments)
        .arg("--data-dir")
        .arg(data_dir)
        .env("HOME", data_dir)
        .env_remove("XDG_DATA_HOME")
        .stdout(Stdio::piped())
        // The terminal's Ctrl-C must not reach it: a second signal would end it before its
        // Postgres.
        .process_group(0)
        .spawn()
        .context("start `serve`")?;
    let ready = unless_interrupted(wait_until_ready(&mut child, started)).await;
    let taken = started.elapsed();
    let exit = tool::end(&mut child).await.context("end `serve`")?;
    spinner.finish_and_clear();
    match ready? {
        None => Err(interruption(GONE)),
        Some(()) if !exit.success() => bail!("`serve` ended with {exit}"),
        Some(()) => Ok(taken),
    }
}

async fn wait_until_ready(child: &mut Child, started: Instant) -> anyhow::Result<()> {
    let stdout = child.stdout.take().context("read what `serve` prints")?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line).await.context("read what `serve` prints")?;
    let Some((_, address)) = line.trim().split_once("http://") else {
        bail!("`serve` ended before it listened");
    };
    let request = format!("GET /health/readiness HTTP/1.1\r\nHost: {address}\r\n\r\n");
    loop {
        let asked = async { Connection::open(address).await?.ask(&request).await };
        let Err(unready) = asked.await else { return Ok(()) };
        if let Some(exit) = child.try_wait().context("look whether `serve` runs")? {
            bail!("`serve` ended with {exit} before it was ready");
        }
        if started.elapsed() > READY_MAX {
            return Err(unready.context(format!("wait for `serve` to be ready, for {} s", READY_MAX.as_secs())));
        }
        sleep(LOOK).await;
    }
}
