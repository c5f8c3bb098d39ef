//! Runs the ledger's program in a process of its own, as a tool or to serve, and measures the time
//! and the memory that a user sees. The process is this program with [`AS_PROGRAM`] set, so that
//! both are built the same.

use std::{
    path::Path,
    process::{ExitStatus, Stdio},
    time::{Duration, Instant},
};

use allocation_ledger::{
    interrupt::{interruption, unless_interrupted},
    logs_and_traces::TOOL_LOG_FILTER,
};
use anyhow::{Context as _, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    time::{sleep, timeout},
};

use crate::{GONE, http::Connection, progress::spinner};

/// The variable that makes this program behave as `allocation-ledger`.
pub(crate) const AS_PROGRAM: &str = "BENCH_AS_PROGRAM";

/// The pause between two questions whether the program is ready.
const READY_LOOK: Duration = Duration::from_millis(5);

/// How long a start may take. A log of many million events is read in minutes.
const READY_MAX: Duration = Duration::from_secs(1_800);

/// The pause between two looks at the memory of the process. The kernel keeps the peak, so only the
/// last moment is missed.
const MEMORY_LOOK: Duration = Duration::from_millis(20);

/// The size of a national ledger: events in ten years, people in prison at a time, and prisons.
/// Smaller ledgers have fewer prisons of the same size.
const NATIONAL_EVENTS: u64 = 5_000_000;
const NATIONAL_PRISONERS: u64 = 88_000;
const NATIONAL_PRISONS: u64 = 120;

/// The arguments of the tool that makes up a ledger of about so many events.
pub(crate) fn generate_arguments(events: u64) -> [String; 5] {
    let share = |national: u64| (events * national / NATIONAL_EVENTS).max(1).to_string();
    let (prisoners, prisons) = (share(NATIONAL_PRISONERS), share(NATIONAL_PRISONS));
    ["generate".to_owned(), "--prisoners".to_owned(), prisoners, "--prisons".to_owned(), prisons]
}

/// The measurements of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ToolRun {
    /// The time from the start of the process to its end.
    pub(crate) taken: Duration,
    /// The peak of resident memory, in KiB.
    pub(crate) peak_kib: u64,
}

/// This program as `allocation-ledger`, which knows no ledger but the one that its arguments name.
pub(crate) fn program() -> anyhow::Result<Command> {
    let mut command = Command::new(std::env::current_exe().context("find this program")?);
    command
        .env(AS_PROGRAM, "1")
        // These variables would name another ledger.
        .env_remove("LEDGER_EVENT_STORE")
        .env_remove("LEDGER_VIEWS")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    Ok(command)
}

/// Asks a process to end, and waits until it has. A killed one would leave a server or unfinished
/// views behind.
async fn end(child: &mut Child) -> anyhow::Result<ExitStatus> {
    if let Some(pid) = child.id() {
        // The process may have ended already, if the terminal's Ctrl-C reached it, too.
        let _ = kill(Pid::from_raw(i32::try_from(pid).context("a process id")?), Signal::SIGTERM);
    }
    Ok(child.wait().await?)
}

/// Runs a tool on the ledger in `data_dir`, as [`run_tool`].
///
/// # Errors
/// The tool does not start, or fails.
pub(crate) async fn run(arguments: &[&str], data_dir: &Path) -> anyhow::Result<ToolRun> {
    let mut tool = program()?;
    tool.args(arguments).arg("--data-dir").arg(data_dir);
    run_tool(tool, &arguments.join(" ")).await
}

/// Runs a tool, named `what` in errors. The tool shows its own progress. If this program is
/// interrupted, it asks the tool to end and waits.
///
/// # Errors
/// The tool does not start, or fails.
pub(crate) async fn run_tool(mut tool: Command, what: &str) -> anyhow::Result<ToolRun> {
    let started = Instant::now();
    let mut child = tool
        // The tool then prints its result on standard output, which is ignored.
        .arg("--json")
        .stdout(Stdio::null())
        .spawn()
        .with_context(|| format!("start `{what}`"))?;
    let pid = child.id().with_context(|| format!("find the process of `{what}`"))?;
    let ended = unless_interrupted(wait_with_peak(&mut child, pid)).await;
    let Some((exit, peak_kib)) = ended.with_context(|| format!("wait for `{what}`"))? else {
        end(&mut child).await.with_context(|| format!("wait for `{what}`"))?;
        return Err(interruption(GONE));
    };
    if !exit.success() {
        bail!("`{what}` ended with {exit}");
    }
    Ok(ToolRun { taken: started.elapsed(), peak_kib })
}

/// A ledger that serves in a process of its own.
#[derive(Debug)]
pub(crate) struct ServingProcess {
    child: Child,
    /// `IP:PORT`.
    pub(crate) address: String,
    /// The time from the start of the process until `/health/readiness` answered 200.
    pub(crate) ready_after: Duration,
}

impl ServingProcess {
    /// Starts the program to serve with further arguments, and waits until it is ready.
    ///
    /// # Errors
    /// It ends before it is ready, or is not ready in time.
    pub(crate) async fn start(mut program: Command, arguments: &[&str]) -> anyhow::Result<Self> {
        let spinner = spinner("starting the program");
        let started = Instant::now();
        let mut child = program
            .args(["serve", "--listen", "127.0.0.1:0", "--log", TOOL_LOG_FILTER])
            .args(arguments)
            .stdout(Stdio::piped())
            // The terminal's Ctrl-C must not reach it: a second signal would end it before its
            // Postgres.
            .process_group(0)
            .spawn()
            .context("start `serve`")?;
        let ready = unless_interrupted(wait_until_ready(&mut child, started)).await;
        let ready_after = started.elapsed();
        spinner.finish_and_clear();
        let failure = match ready {
            Ok(Some(address)) => return Ok(Self { child, address, ready_after }),
            Ok(None) => interruption(GONE),
            Err(error) => error,
        };
        end(&mut child).await.context("end `serve`")?;
        Err(failure)
    }

    /// The resident memory of the program now, in KiB; 0 once it has ended, or on a system without
    /// `/proc`.
    pub(crate) fn resident_kib(&self) -> u64 {
        self.child.id().map_or(0, |pid| memory_kib(&format!("/proc/{pid}/status"), "VmRSS:"))
    }

    /// Ends the program in order.
    ///
    /// # Errors
    /// It fails.
    pub(crate) async fn end(mut self) -> anyhow::Result<()> {
        let exit = end(&mut self.child).await.context("end `serve`")?;
        if !exit.success() {
            bail!("`serve` ended with {exit}");
        }
        Ok(())
    }
}

/// Answers the address that the program listens on.
async fn wait_until_ready(child: &mut Child, started: Instant) -> anyhow::Result<String> {
    let stdout = child.stdout.take().context("read what `serve` prints")?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line).await.context("read what `serve` prints")?;
    let Some((_, address)) = line.trim().split_once("http://") else {
        bail!("`serve` ended before it listened");
    };
    let request = format!("GET /health/readiness HTTP/1.1\r\nHost: {address}\r\n\r\n");
    loop {
        let asked = async { Connection::open(address).await?.ask(&request).await.map(drop) };
        let Err(unready) = asked.await else { return Ok(address.to_owned()) };
        if let Some(exit) = child.try_wait().context("look whether `serve` runs")? {
            bail!("`serve` ended with {exit} before it was ready");
        }
        if started.elapsed() > READY_MAX {
            return Err(unready.context(format!("wait for `serve` to be ready, for {} s", READY_MAX.as_secs())));
        }
        sleep(READY_LOOK).await;
    }
}

/// Waits until a process ends. Answers its status and its peak memory in KiB.
async fn wait_with_peak(child: &mut Child, pid: u32) -> anyhow::Result<(ExitStatus, u64)> {
    let status = format!("/proc/{pid}/status");
    let mut peak_kib = 0;
    loop {
        match timeout(MEMORY_LOOK, child.wait()).await {
            Ok(exit) => return Ok((exit?, peak_kib)),
            Err(_not_yet) => peak_kib = peak_kib.max(memory_kib(&status, "VmHWM:")),
        }
    }
}

/// A size in the status of a process, in KiB; 0 if it has ended, or on a system without `/proc`.
fn memory_kib(status: &str, name: &str) -> u64 {
    let text = std::fs::read_to_string(status).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse().ok()).unwrap_or(0)
}
