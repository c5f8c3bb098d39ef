//! Runs the program as a tool in a process of its own, and measures the time and the memory that a
//! user sees. The process is this program with [`AS_PROGRAM`] set, so that both are built the same.

use std::{
    path::Path,
    process::{ExitStatus, Stdio},
    time::{Duration, Instant},
};

use allocation_ledger::interrupt::{interruption, unless_interrupted};
use anyhow::{Context as _, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{
    process::{Child, Command},
    time::timeout,
};

use super::AS_PROGRAM;
use crate::GONE;

/// The pause between two looks at the memory of the process. The kernel keeps the peak, so only the
/// last moment is missed.
const LOOK: Duration = Duration::from_millis(20);

/// The measurements of a run.
#[derive(Debug, Clone, Copy)]
pub(super) struct ToolRun {
    /// The time from the start of the process to its end.
    pub(super) taken: Duration,
    /// The peak of resident memory, in KiB.
    pub(super) peak_kib: u64,
}

/// This program as `allocation-ledger`, which knows no ledger but the one that its arguments name.
pub(super) fn program() -> anyhow::Result<Command> {
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
pub(super) async fn end(child: &mut Child) -> anyhow::Result<ExitStatus> {
    if let Some(pid) = child.id() {
        // The process may have ended already, if the terminal's Ctrl-C reached it, too.
        let _ = kill(Pid::from_raw(i32::try_from(pid).context("a process id")?), Signal::SIGTERM);
    }
    Ok(child.wait().await?)
}

/// Runs a tool on the ledger in `data_dir`. The tool shows its own progress. If this program is
/// interrupted, it asks the tool to end and waits.
///
/// # Errors
/// The tool does not start, or fails.
pub(super) async fn run(arguments: &[&str], data_dir: &Path) -> anyhow::Result<ToolRun> {
    let what = arguments.join(" ");
    let started = Instant::now();
    let mut child = program()?
        .args(arguments)
        // The tool then prints its result on standard output, which is ignored.
        .arg("--json")
        .arg("--data-dir")
        .arg(data_dir)
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

/// Waits until a process ends. Answers its status and its peak memory in KiB.
async fn wait_with_peak(child: &mut Child, pid: u32) -> anyhow::Result<(ExitStatus, u64)> {
    let status = format!("/proc/{pid}/status");
    let mut peak_kib = 0;
    loop {
        match timeout(LOOK, child.wait()).await {
            Ok(exit) => return Ok((exit?, peak_kib)),
            Err(_not_yet) => peak_kib = peak_kib.max(resident_peak_kib(&status)),
        }
    }
}

/// `VmHWM` of a process in KiB; 0 if it has ended, or on a system without `/proc`.
fn resident_peak_kib(status: &str) -> u64 {
    let text = std::fs::read_to_string(status).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse().ok()).unwrap_or(0)
}
