//! The program as a tool in a process of its own: how long a user waits for it, and how much memory
//! it takes. The process is this very program with [`AS_PROGRAM`] set, so that both are built alike.

use std::{
    path::Path,
    process::{ExitStatus, Stdio},
    time::{Duration, Instant},
};

use allocation_ledger::interrupt::{interrupted, unless_interrupted};
use anyhow::{Context as _, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{
    process::{Child, Command},
    time::timeout,
};

use super::{AS_PROGRAM, GONE};

/// How often the memory of the process is looked at. Its peak is kept by the kernel, so only the last moment is missed.
const LOOK: Duration = Duration::from_millis(20);

/// What a run came to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ran {
    /// From the start of the process to its end.
    pub(super) taken: Duration,
    /// The most memory that was resident at a time.
    pub(super) peak_kib: u64,
}

/// Runs a tool on the ledger in `data_dir`. It shows its own progress. Where this program is interrupted it is asked to end,
/// and waited for: killed, it would leave a server behind, or views half built.
///
/// # Errors
/// It does not start, or does not succeed.
pub(super) async fn run(arguments: &[&str], data_dir: &Path) -> anyhow::Result<Ran> {
    let what = arguments.join(" ");
    let program = std::env::current_exe().context("find this program")?;
    let started = Instant::now();
    let mut child = Command::new(program)
        .args(arguments)
        .env(AS_PROGRAM, "1")
        // What it says when done goes to standard output then, and that is not looked at.
        .arg("--json")
        .arg("--data-dir")
        .arg(data_dir)
        // They would name another ledger.
        .env_remove("LEDGER_EVENT_STORE")
        .env_remove("LEDGER_VIEWS")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("start `{what}`"))?;
    let pid = child.id().with_context(|| format!("find the process of `{what}`"))?;
    let ended = unless_interrupted(watched(&mut child, pid)).await;
    let Some((exit, peak_kib)) = ended.with_context(|| format!("wait for `{what}`"))? else {
        // Gone already where the terminal's Ctrl-C has reached it, too.
        let _ = kill(Pid::from_raw(i32::try_from(pid).context("a process id")?), Signal::SIGTERM);
        child.wait().await.with_context(|| format!("wait for `{what}`"))?;
        return Err(interrupted(GONE));
    };
    if !exit.success() {
        bail!("`{what}` ended with {exit}");
    }
    Ok(Ran { taken: started.elapsed(), peak_kib })
}

/// Waits until a process ends; answers how, and the most memory that it had.
async fn watched(child: &mut Child, pid: u32) -> anyhow::Result<(ExitStatus, u64)> {
    let status = format!("/proc/{pid}/status");
    let mut peak_kib = 0;
    loop {
        match timeout(LOOK, child.wait()).await {
            Ok(exit) => return Ok((exit?, peak_kib)),
            Err(_not_yet) => peak_kib = peak_kib.max(resident_peak_kib(&status)),
        }
    }
}

/// `VmHWM` of a process; 0 where it has ended, or on a system without `/proc`.
fn resident_peak_kib(status: &str) -> u64 {
    let text = std::fs::read_to_string(status).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse().ok()).unwrap_or(0)
}
